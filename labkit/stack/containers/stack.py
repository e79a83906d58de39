"""MySQL, Apache Kafka and ZooKeeper in containers, as compose.yaml describes them.

What is up already is adopted, whether labkit or Docker Compose started it. Only what labkit made,
which a label says, is ever made anew or removed.
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

__all__ = ["DockerUnusable", "ServerAddresses", "down", "up", "usable"]


@dataclass(frozen=True)
class ServerAddresses:
    """Where the containers' servers answer.

    Attributes:
        mysql: SQLAlchemy URL of MySQL's root.
        broker: `host:port` of Kafka.
        zookeeper: `host:port` of ZooKeeper.
    """

    mysql: str
    broker: str
    zookeeper: str


def up(settings: Settings, progress: Callable[[str], None]) -> ServerAddresses:
    """Have all servers up and ready.

    Args:
        settings: name, network, images, ports and password.
        progress: is told, line by line, what takes time.

    Raises:
        DockerUnusable: with one line for people; what this call started is stopped again.
    """
    with engine.connect() as docker:
        project = Project(docker, settings, progress)
        project.check()
        for image in engine.missing(docker, project.images()):
            engine.pull(docker, image, progress)
        return _addresses_of(project.up())


def down(settings: Settings, *, volumes: bool) -> list[str]:
    """Stop and remove what labkit made under the name in the settings.

    Args:
        settings: its name.
        volumes: whether all data go too.

    Returns:
        The names of what was removed.

    Raises:
        DockerUnusable: no engine answers.
    """
    with engine.connect() as docker:
        return Project(docker, settings, lambda _: None).down(volumes=volumes)


def usable(settings: Settings) -> str | None:
    """Why `up` would fail, or take long to pull images, in one line; None where it would not."""
    try:
        with engine.connect() as docker:
            project = Project(docker, settings, lambda _: None)
            project.check()
            if lacking := engine.missing(docker, project.images()):
                return f"no image {', '.join(lacking)}: labkit up --stack containers pulls them"
    except DockerUnusable as why:
        return str(why)
    return None


def _addresses_of(found: Mapping[str, Container]) -> ServerAddresses:
    """Read off the containers themselves: one that was adopted may have settings of its own."""
    address = {name: one.labels[ADDRESS] for name, one in found.items()}
    host, _, port = address["mysql"].rpartition(":")
    environment = dict(line.split("=", 1) for line in found["mysql"].attrs["Config"]["Env"])
    mysql = URL.create(
        "mysql+pymysql", "root", environment["MYSQL_ROOT_PASSWORD"], host, int(port), database=""
    )
    return ServerAddresses(
        mysql=mysql.render_as_string(hide_password=False),
        broker=address["kafka"],
        zookeeper=address["zookeeper"],
    )
