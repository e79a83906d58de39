"""One settings object: an environment variable `LABKIT_…` over a default that fits a laptop."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


def _share(text: Any) -> Any:
    return {"on": 1, "off": 0}.get(text, text)


_Port = Annotated[int, Field(ge=0, le=65_533)]


class Settings(BaseSettings):
    """Times are seconds unless the name says otherwise. `labkit up` keeps them in the home.

    Attributes:
        stack: the ground of a notebook's lab; `labkit up` is told its own, or takes this one.
        broker: `host:port` of a Kafka to use (more with commas between); empty: the lab starts its
            own, in memory.
        mysql: SQLAlchemy URL of a MySQL server, of a user who may make schemas and users there;
            empty: each service has an SQLite file.
        zookeeper: `host:port[,host:port…]` of a ZooKeeper to use as registry; empty: a folder of
            the home is.
        pay_web: URL of the pay web, for the platform's callbacks; services that `labkit serve`
            starts need it, `labkit up` finds its own.
        platform: URL at which the pay service reaches the payment platform; the same.
        containers_name: of the containers' project: two with different names never meet; empty:
            compose.yaml's.
        containers_network: empty: a network of their own, with ports published on 127.0.0.1;
            `host`: no network, each server listens on 127.0.0.1 itself. Kafka then also takes the
            two ports after its own.
        mysql_image, kafka_image, zookeeper_image: what to start instead of the images that
            compose.yaml names.
        mysql_port, kafka_port, zookeeper_port: of 127.0.0.1; 0: the usual one.
        mysql_password: of MySQL's root in the container, when it is made; empty: compose.yaml's.
        call_timeout: what one call between services has.
        flow_timeout: what placing an order has before it is answered 202.
        unconfirmed_deadline: age (wall clock) at which an unconfirmed order is cancelled.
        unpaid_order_ttl: age (lab clock) at which an unpaid order is cancelled.
        sweep_interval: how often the order service looks for both.
        outbox_lease: how long a row belongs to the process that wrote or claimed it.
        audit_delay: from the broker's acknowledgement to asking the subscribers what they lack.
        check_first: from opening a payment to asking the platform about it, where no callback came;
            it doubles up to check_max. Refunds are tried again in the same way.
        retry_first: delay before the first retry of a failed event; it doubles up to retry_max.
        retry_limit: tries before an event is given up as dead.
        partitions: of each topic at the broker, made at the first start: no more instances of one
            service can consume at a time.
        group_session: after this silence the broker gives a consumer's partitions to another.
        worker_reserve: how far ahead of use the time of ids is reserved, on disk or in ZooKeeper.
        queue_limit: how many orders, steps or calls may wait at one place; the next is refused.
        tracing: share of the requests that are traced, 0 to 1; `on` and `off` are 1 and 0.
    """

    model_config = SettingsConfigDict(env_prefix="LABKIT_", frozen=True)

    stack: Literal["auto", "embedded", "containers"] = "embedded"
    broker: str = ""
    mysql: str = ""
    zookeeper: str = ""
    pay_web: str = ""
    platform: str = ""
    containers_name: str = Field(default="", pattern="^([a-z0-9][a-z0-9_-]*)?$")
    containers_network: Literal["", "host"] = ""
    mysql_image: str = ""
    kafka_image: str = ""
    zookeeper_image: str = ""
    mysql_port: _Port = 0
    kafka_port: _Port = 0
    zookeeper_port: _Port = 0
    mysql_password: str = ""
    call_timeout: float = 1.0
    flow_timeout: float = 4.0
    unconfirmed_deadline: float = 6.0
    unpaid_order_ttl: float = 900.0
    sweep_interval: float = 0.5
    outbox_lease: float = 2.0
    audit_delay: float = 1.0
    check_first: float = 1.0
    check_max: float = 15.0
    retry_first: float = 0.2
    retry_max: float = 30.0
    retry_limit: int = 8
    partitions: Annotated[int, Field(ge=1)] = 4
    group_session: float = 3.0
    worker_reserve: float = 5.0
    queue_limit: int = 1000
    tracing: Annotated[float, BeforeValidator(_share), Field(ge=0, le=1)] = 0.0
