"""The profile `shop` of compose.yaml, started through the SDK as Docker Compose would."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import yaml
from docker import DockerClient
from docker.models.containers import Container
from pydantic import BaseModel, ConfigDict

from labkit.settings import Settings
from labkit.stack.containers import compose_file, stack
from labkit.stack.containers.compose_file import Health
from labkit.stack.containers.create import OURS, PROJECT, SERVICE
from labkit.stack.supervisor import ports
from labkit.waiting import wait_until
from tests.support.containers.stacks import IMAGES

READY_SECONDS = 240  # ten Pythons begin at once, beside whatever else the machine does
_SECOND = 10**9


class Described(BaseModel):
    """One service of the profile; a key that is not known here would not be tried out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    profiles: list[Literal["shop"]]
    image: str
    build: dict[str, str] = {}
    command: list[str]
    environment: dict[str, str] = {}
    init: bool
    user: str
    read_only: bool
    cap_drop: list[str]
    security_opt: list[str]
    tmpfs: list[str]
    volumes: list[str]
    mem_limit: str
    restart: str
    ports: list[str] = []
    depends_on: dict[str, dict[str, str]]
    healthcheck: Health | None = None


class Shop:
    """The containers of one profile.

    Args:
        docker: where.
        settings: of the stack beside which it runs, on a network of their own.
    """

    def __init__(self, docker: DockerClient, settings: Settings) -> None:
        self._docker = docker
        self._project = settings.containers_name
        first = ports.free(3)
        self.orders, self.payments, self.cashier = (
            f"http://127.0.0.1:{port}" for port in range(first, first + 3)
        )
        services = compose_file._fill_in(
            yaml.safe_load(compose_file._text()),
            {
                **compose_file._values(settings),
                **IMAGES,
                "LABKIT_ORDER_WEB_PORT": str(first),
                "LABKIT_PAY_WEB_PORT": str(first + 1),
                "LABKIT_CASHIER_PORT": str(first + 2),
            },
        )["services"]
        self.described = {
            name: Described.model_validate(service)
            for name, service in services.items()
            if "profiles" in service
        }

    def init(self) -> Container:
        """Run what comes before the services, to its end."""
        made = self.make("init", 1)
        made.start()
        assert made.wait()["StatusCode"] == 0, made.logs().decode()
        return made

    def start(self, name: str, number: int = 1, **changes: Any) -> Container:
        """Start one container of a service, perhaps changed; it is not ready yet."""
        made = self.make(name, number, **changes)
        made.start()
        return made

    def container(self, name: str) -> Container:
        """The first container of a service, as it is now."""
        return self._docker.containers.get(f"{self._project}-{name}-1")

    def copy_home(self, volume: str, *names: str) -> None:
        """Move some files of the home to another volume, as on another machine."""
        shared = self.described["init"].volumes[0]
        self._docker.containers.run(
            self.described["init"].image,
            [f"cd /from; cp -r {' '.join(names)} /home/shop/lab"],
            entrypoint=["bash", "-c"],
            remove=True,
            volumes=[
                f"{self._project}_{shared.partition(':')[0]}:/from:ro",
                f"{self.volume(volume)}:/home/shop/lab",
            ],
        )

    def volume(self, name: str) -> str:
        """Make a volume of this project's, where it is not there; its full name."""
        labels = {OURS: self._project}
        made = self._docker.volumes.create(f"{self._project}_{name}", labels=labels)
        return str(made.name)

    def make(self, name: str, number: int, **changes: Any) -> Container:
        """Make one container, as the file says, perhaps changed."""
        service = self.described[name].model_copy(update=changes)
        network = f"{self._project}_default"
        alias = self._docker.api.create_endpoint_config(aliases=[name])
        return self._docker.containers.create(
            service.image,
            service.command,
            name=f"{self._project}-{name}-{number}",
            labels={OURS: self._project, PROJECT: self._project, SERVICE: name},
            network=network,
            networking_config={network: alias},
            environment=service.environment,
            init=service.init,
            user=service.user,
            read_only=service.read_only,
            cap_drop=service.cap_drop,
            security_opt=service.security_opt,
            tmpfs=dict.fromkeys(service.tmpfs, ""),
            volumes=[f"{self._project}_{volume}" for volume in service.volumes],
            mem_limit=service.mem_limit,
            restart_policy={"Name": service.restart},
            ports=_published(service),
            healthcheck=_health(service),
        )


@contextmanager
def running(docker: DockerClient, settings: Settings) -> Iterator[Shop]:
    """The shop for a block, up and ready; whatever it made goes."""
    try:
        stack.up(settings, print)
        shop = Shop(docker, settings)
        shop.volume("shop")
        shop.init()
        made = [shop.start(name) for name in shop.described if name != "init"]
        for container in made:
            ready(container)
        yield shop
    finally:
        stack.down(settings, volumes=True)


def ready(container: Container) -> None:
    """Wait until a container's own health check is content."""

    def healthy() -> bool:
        container.reload()
        return bool(container.attrs["State"].get("Health", {}).get("Status") == "healthy")

    wait_until(healthy, f"{container.name} is healthy:\n{container.logs(tail=5)!r}", READY_SECONDS)


def _published(service: Described) -> dict[str, Any]:
    parts = [port.split(":") for port in service.ports]
    return {f"{inside}/tcp": (host, int(outside)) for host, outside, inside in parts}


def _health(service: Described) -> dict[str, Any] | None:
    check = service.healthcheck
    if check is None:
        return None
    return {
        "test": check.test,
        "retries": check.retries,
        "interval": int(check.interval.rstrip("s")) * _SECOND,
        "timeout": int(check.timeout.rstrip("s")) * _SECOND,
    }
