"""MySQL, Apache Kafka and ZooKeeper in containers, as compose.yaml describes them.

Servers that are up already are adopted, whether labkit or Docker Compose started them. Only what
labkit made, which a label says, is ever made anew or removed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from docker.models.containers import Container
from sqlalchemy import URL

from labkit.settings import Settings
from labkit.stack.containers import engine
from labkit.stack.containers.compose_file import ADDRESS
from labkit.stack.containers.engine import DockerUnusable
from labkit.stack.containers.project import Project

__all__ = ["DockerUnusable", "ServerAddresses", "down", "obstacle", "up"]


@dataclass(frozen=True)
class ServerAddresses:
    """The addresses of the servers in containers.

    Attributes:
        mysql: SQLAlchemy URL of MySQL's root.
        broker: `host:port` of Kafka.
        zookeeper: `host:port` of ZooKeeper.
    """

    mysql: str
    broker: str
    zookeeper: str


def up(settings: Settings, on_progress: Callable[[str], None]) -> ServerAddresses:
    """Start all servers, and return when they are ready.

    Args:
        settings: name, network, images, ports and password.
        on_progress: called, line by line, with what takes time.

    Raises:
        DockerUnusable: with one line for people; what this call started is stopped again.
    """
    with engine.connect() as docker:
        project = Project(docker, settings, on_progress)
        project.check()
        for image in engine.missing(docker, project.images()):
            engine.pull(docker, image, on_progress)
        return _addresses_of(project.up())


def down(settings: Settings, *, volumes: bool) -> list[str]:
    """Stop and remove what labkit made under the name in the settings.

    Args:
        settings: its name.
        volumes: whether to remove all data too.

    Returns:
        The names of what was removed.

    Raises:
        DockerUnusable: no engine answers.
    """
    with engine.connect() as docker:
        return Project(docker, settings, lambda _: None).down(volumes=volumes)


def obstacle(settings: Settings) -> str | None:
    """Return why `up` would fail, or take long to pull images, in one line; else None."""
    try:
        with engine.connect() as docker:
            project = Project(docker, settings, lambda _: None)
            project.check()
            if lacking := engine.missing(docker, project.images()):
                return f"no image {', '.join(lacking)}: labkit up --stack containers pulls them"
    except DockerUnusable as error:
        return str(error)
    return None


def _addresses_of(containers: Mapping[str, Container]) -> ServerAddresses:
    """Read the addresses off the containers: one that was adopted may have its own settings."""
    address = {name: container.labels[ADDRESS] for name, container in containers.items()}
    host, _, port = address["mysql"].rpartition(":")
    environment = dict(line.split("=", 1) for line in containers["mysql"].attrs["Config"]["Env"])
    mysql = URL.create(
        "mysql+pymysql", "root", environment["MYSQL_ROOT_PASSWORD"], host, int(port), database=""
    )
    return ServerAddresses(
        mysql=mysql.render_as_string(hide_password=False),
        broker=address["kafka"],
        zookeeper=address["zookeeper"],
    )
