"""One settings object: an environment variable `LABKIT_…` over a default that fits a laptop."""

import json
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict


def _share(value: object) -> object:
    return {"on": 1, "off": 0}.get(value, value) if isinstance(value, str) else value


_DAY, _YEAR = 86_400, 365 * 86_400
_Port = Annotated[int, Field(ge=0, le=65_533)]
_Timeout = Annotated[float, Field(ge=0.05, le=600)]
_Interval = Annotated[float, Field(ge=0.02, le=3600)]
_Lease = Annotated[float, Field(ge=0.1, le=3600)]
_Delay = Annotated[float, Field(ge=0.001, le=_DAY)]


class CannotSet(ValueError):
    """A setting has an invalid value; the message names both, and the valid values."""


class Settings(BaseSettings):
    """The settings of a lab, which `labkit up` keeps in its home. Times are in seconds.

    Attributes:
        stack: the stack of a notebook's lab, and of `labkit up` without `--stack`.
        broker: `host:port` of a Kafka to use (more with commas between); empty: the lab starts its
            own, in memory.
        mysql: SQLAlchemy URL of a MySQL server, of a user who may make schemas and users there;
            empty: each service has an SQLite file.
        zookeeper: `host:port[,host:port…]` of a ZooKeeper to use as registry; empty: the
            registry is a folder of the home.
        pay_web: URL of the pay web, for the platform's callbacks; services that `labkit serve`
            starts need it, `labkit up` finds its own.
        platform: URL at which the pay service reaches the payment platform; needed likewise.
        containers_name: name of the containers' project; projects with different names share
            nothing; empty: the name in compose.yaml.
        containers_network: empty: a network of their own, with ports published on 127.0.0.1;
            `host`: no network, each server listens on 127.0.0.1 itself. Kafka then also takes the
            two ports after its own.
        mysql_image, kafka_image, zookeeper_image: images to start instead of those that
            compose.yaml names.
        mysql_port, kafka_port, zookeeper_port: ports on 127.0.0.1; 0: the usual one.
        mysql_password: password of MySQL's root, for a new container; empty: that in compose.yaml.
        call_timeout: timeout of one call between services.
        flow_timeout: time to place an order before the answer is 202.
        unconfirmed_deadline: age (wall clock) at which an unconfirmed order is cancelled.
        unpaid_order_ttl: age (lab clock) at which an unpaid order is cancelled.
        sweep_interval: interval at which the order service looks for both.
        outbox_lease: time for which a row belongs to the process that wrote or claimed it.
        audit_delay: time from the broker's acknowledgement until the groups are asked what
            they lack.
        check_first: time from the opening of a payment until the platform is asked about it, where
            no callback came; it doubles up to check_max. Refunds are tried again in the same way.
        retry_first: delay before the first retry of a failed event; it doubles up to retry_max.
        retry_limit: tries before an event is given up as dead.
        message_retention: age (wall clock) at which messages that are settled go from the tables
            of outbox and inbox; 0: never.
        partitions: partitions of each topic, made at the first start: no more instances of one
            service can consume at a time.
        group_session: silence after which the broker gives a consumer's partitions to another.
        worker_reserve: time ahead of use for which ids are reserved, on disk or in ZooKeeper.
        queue_limit: orders, steps or calls that may wait at one place; the next is refused.
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
    call_timeout: _Timeout = 1.0
    flow_timeout: _Timeout = 4.0
    unconfirmed_deadline: Annotated[float, Field(ge=0.1, le=_DAY)] = 6.0
    unpaid_order_ttl: Annotated[float, Field(ge=1, le=10 * _YEAR)] = 900.0
    sweep_interval: _Interval = 0.5
    outbox_lease: _Lease = 2.0
    audit_delay: _Interval = 1.0
    check_first: _Delay = 1.0
    check_max: _Delay = 15.0
    retry_first: _Delay = 0.2
    retry_max: _Delay = 30.0
    retry_limit: Annotated[int, Field(ge=1, le=1_000_000)] = 8
    message_retention: Annotated[float, Field(ge=0, le=10 * _YEAR)] = 0.0
    partitions: Annotated[int, Field(ge=1, le=100)] = 4
    group_session: Annotated[float, Field(ge=0.3, le=1800)] = 3.0
    worker_reserve: _Lease = 5.0
    queue_limit: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    tracing: Annotated[float, BeforeValidator(_share), Field(ge=0, le=1)] = 0.0

    def __init__(self, **values: Any) -> None:
        """Read the environment; a keyword takes precedence over it.

        Raises:
            CannotSet: a setting has an invalid value.
        """
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise CannotSet("; ".join(map(_describe, error.errors()))) from None

    @classmethod
    def from_file(cls, kept: bytes) -> "Settings":
        """Read what `for_file` has made, whatever the environment is now.

        What only a later labkit knows is passed over.

        Args:
            kept: JSON.

        Raises:
            ValueError: it is no JSON, or a setting in it has an invalid value.
        """
        read = json.loads(kept)
        if not isinstance(read, dict):
            raise ValueError("no settings stand there")
        defaults = {name: field.default for name, field in cls.model_fields.items()}
        return cls(**{name: read.get(name, default) for name, default in defaults.items()})

    def for_file(self) -> str:
        """Return the settings as JSON, without what is as by default.

        An earlier release, which may run some of the services, refuses a setting that it does not
        know.
        """
        return self.model_dump_json(exclude_defaults=True)


def bounds_of(field: FieldInfo) -> tuple[float, float] | None:
    """Return the least and the largest value of a number; None for a text."""
    bounds = {
        name: getattr(bound, name)
        for bound in field.metadata
        for name in ("ge", "le")
        if hasattr(bound, name)
    }
    return (bounds["ge"], bounds["le"]) if bounds else None


def _describe(error: ErrorDetails) -> str:
    """Return what is wrong with one setting, for people."""
    name = str(error["loc"][0]).lower()
    field = Settings.model_fields[name]
    setting = f"LABKIT_{name.upper()}={error['input']}"
    if bounds := bounds_of(field):
        kind = "a whole number" if field.annotation is int else "a number"
        return f"{setting}: it must be {kind} from {bounds[0]:.12g} to {bounds[1]:.12g}"
    return f"{setting}: {error['msg'][0].lower()}{error['msg'][1:]}"
