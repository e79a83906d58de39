"""`containers.up`: what runs is what compose.yaml says, and what is up already is adopted."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from docker import DockerClient
from docker.utils import parse_bytes

from labkit.lab import Lab
from labkit.settings import Settings
from labkit.stack.containers import stack as containers
from labkit.stack.containers.create import PROJECT, SERVICE
from labkit.stack.containers.stack import ServerAddresses
from tests.containers.conftest import OwnStack
from tests.support.containers.holding import held, put
from tests.support.containers.stacks import Backend, environment

FILE = yaml.safe_load((Path(__file__).parents[2] / "compose" / "compose.yaml").read_text())
SERVICES = ("mysql", "kafka", "zookeeper")
PUT = ([7], [b"7"], b"7")


def container(docker: DockerClient, settings: Settings, service: str) -> dict[str, Any]:
    attributes: dict[str, Any] = Backend(docker, settings.containers_name, service).container.attrs
    return attributes


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.usefixtures("backends")
def test_what_runs_is_what_the_file_says(
    docker: DockerClient, stack: Settings, service: str
) -> None:
    """Every plain value of the file is found on the container by the engine's own account."""
    described, runs = FILE["services"][service], container(docker, stack, service)
    environment = dict(line.split("=", 1) for line in runs["Config"]["Env"])
    plain = {name: text for name, text in described["environment"].items() if "$" not in text}
    assert plain.items() <= environment.items()
    flags = {flag for flag in described.get("command", []) if "$" not in flag}
    assert flags <= set(runs["Config"]["Cmd"])
    assert runs["HostConfig"]["Memory"] == parse_bytes(described["mem_limit"])
    (mount,) = [
        mounted for mounted in runs["Mounts"] if mounted["Name"].startswith(stack.containers_name)
    ]
    assert f"{mount['Name'].split('_')[-1]}:{mount['Destination']}" == described["volumes"][0]
    assert runs["Config"]["Healthcheck"]["Retries"] == described["healthcheck"]["retries"]
    assert (
        runs["Config"]["Healthcheck"]["Interval"]
        == 5 * 10**9
        == runs["Config"]["Healthcheck"]["Timeout"]
    )


def test_each_answers_its_own_clients_at_once(backends: ServerAddresses) -> None:
    """When `up` returns, the servers take a table, a topic and a node without a second try."""
    put(backends)
    assert held(backends) == PUT


def test_what_is_up_is_adopted(
    docker: DockerClient, stack: Settings, backends: ServerAddresses
) -> None:
    """A second `up` finds the same containers, and says so."""
    before = [container(docker, stack, service)["Id"] for service in SERVICES]
    progress: list[str] = []
    assert containers.up(stack, progress.append) == backends
    assert sorted(progress) == sorted(f"{service} is up already" for service in SERVICES)
    assert [container(docker, stack, service)["Id"] for service in SERVICES] == before


def test_what_stands_still_goes_on(
    stack: Settings, mysql: Backend, kafka: Backend, zookeeper: Backend
) -> None:
    """A server that was paused, killed or stopped is the same container afterwards, and ready."""
    before = [backend.container.id for backend in (mysql, kafka, zookeeper)]
    mysql.pause()
    kafka.kill()
    zookeeper.container.stop()
    containers.up(stack, print)
    assert [backend.container.id for backend in (mysql, kafka, zookeeper)] == before
    assert {backend.container.status for backend in (mysql, kafka, zookeeper)} == {"running"}


def test_what_compose_started_is_adopted_and_left(
    docker: DockerClient, own_stack: OwnStack
) -> None:
    """A container that Docker Compose made is used as it is; going down leaves it."""
    settings = own_stack()
    name = settings.containers_name
    foreign = docker.containers.run(
        settings.zookeeper_image,
        detach=True,
        network_mode="host",
        name=f"{name}-zookeeper-1",
        environment={
            "ZOO_SERVERS": f"server.1=localhost:1:2;127.0.0.1:{settings.zookeeper_port}",
            "ZOO_ADMINSERVER_ENABLED": "false",
        },
        labels={
            PROJECT: name,
            SERVICE: "zookeeper",
            "io.labkit.address": f"127.0.0.1:{settings.zookeeper_port}",
        },
    )
    try:
        backends = containers.up(settings, print)
        assert backends.zookeeper == f"127.0.0.1:{settings.zookeeper_port}"
        removed = containers.down(settings, volumes=True)
        assert f"{name}-mysql-1" in removed
        assert foreign.name not in removed
        foreign.reload()
        assert foreign.status == "running"
    finally:
        foreign.remove(force=True, v=True)


def test_a_change_of_settings_makes_only_that_anew(
    docker: DockerClient, own_stack: OwnStack
) -> None:
    """Another port for Kafka: another container for Kafka, with all that it held."""
    settings = own_stack()
    put(containers.up(settings, print))
    before = {service: container(docker, settings, service)["Id"] for service in SERVICES}
    moved = settings.model_copy(update={"kafka_port": settings.mysql_port + 10})
    backends = containers.up(moved, print)
    after = {service: container(docker, settings, service)["Id"] for service in SERVICES}
    assert {service for service in SERVICES if after[service] != before[service]} == {"kafka"}
    assert backends.broker == f"127.0.0.1:{moved.kafka_port}"
    assert held(backends) == PUT


def test_data_survive_unless_they_shall_go(docker: DockerClient, own_stack: OwnStack) -> None:
    """Going down keeps all that the servers hold; going down with volumes leaves nothing."""
    settings = own_stack()
    put(containers.up(settings, print))
    containers.down(settings, volumes=False)
    assert held(containers.up(settings, print)) == PUT
    containers.down(settings, volumes=True)
    mine = {"label": f"{PROJECT}={settings.containers_name}"}
    assert not docker.containers.list(all=True, filters=mine)
    assert not docker.volumes.list(filters=mine)
    assert not docker.networks.list(filters=mine)


def test_stacks_of_two_names_never_meet(
    docker: DockerClient, stack: Settings, backends: ServerAddresses, own_stack: OwnStack
) -> None:
    """Going down takes what was made under one name, and nothing of another's."""
    other = own_stack()
    assert containers.up(other, print) != backends
    containers.down(other, volumes=True)
    assert containers.up(stack, print) == backends
    assert {container(docker, stack, service)["State"]["Status"] for service in SERVICES} == {
        "running"
    }


def test_a_session_that_kafka_refuses_is_said(
    stack: Settings, backends: ServerAddresses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lab whose consumers could join no group does not come up: one line says what to set."""
    for name, value in environment(stack).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LABKIT_GROUP_SESSION", "0.6")
    with pytest.raises(RuntimeError, match="shorter than 1 s: set LABKIT_GROUP_SESSION=1") as error:
        Lab.up(tmp_path / "home")
    assert backends.broker in str(error.value)
    assert "\n" not in str(error.value)
