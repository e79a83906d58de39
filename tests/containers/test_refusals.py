"""A reason why containers cannot be used is one line, and nothing is left running."""

import multiprocessing
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from docker import DockerClient

from labkit.settings import Settings
from labkit.stack.containers import compose_file, engine, stack
from labkit.stack.containers.create import PROJECT
from labkit.stack.containers.project import check_memory
from labkit.stack.containers.stack import DockerUnusable
from tests.containers.conftest import OwnStack
from tests.support.containers.registry import registry


def refusal(settings: Settings) -> str:
    """The line with which `up` refuses; checked to be one."""
    with pytest.raises(DockerUnusable) as refused:
        stack.up(settings, print)
    line = str(refused.value)
    assert "\n" not in line
    return line


def made(docker: DockerClient, settings: Settings, *, alive: bool = False) -> list[str | None]:
    mine = {"label": f"{PROJECT}={settings.containers_name}"}
    return [container.name for container in docker.containers.list(all=not alive, filters=mine)]


def test_nothing_stands_in_the_way(own_stack: OwnStack) -> None:
    """Where the engine, the images and the ports are there, `usable` has no reason against it."""
    assert stack.obstacle(own_stack()) is None


def test_the_engine_is_not_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker is installed and nobody listens: the line says how to start it."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    assert "is not running" in refusal(Settings())
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(f"{tmp_path}/docker.sock")
        assert "systemctl start docker" in refusal(Settings())
    assert stack.obstacle(Settings()) == refusal(Settings())


def test_docker_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No engine and no program: the line says what to install."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "install Docker" in refusal(Settings())


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody without rights")
def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that we may not open: the line says which group to join."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{tmp_path}/docker.sock")
        listening.listen()
        assert "usermod -aG docker" in as_nobody(_usable)


def test_an_engine_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody accepts and never answers: not waited for longer than a few seconds."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(f"{tmp_path}/docker.sock")
        mute.listen()
        assert "no Docker engine answers" in refusal(Settings())


def test_no_image_and_no_registry(docker: DockerClient, own_stack: OwnStack) -> None:
    """The line names the image and says how to make one; nothing was started."""
    settings = own_stack().model_copy(update={"mysql_image": "127.0.0.1:1/mysql:8"})
    line = refusal(settings)
    assert "127.0.0.1:1/mysql:8" in line
    assert "compose/offline/build" in line
    assert "127.0.0.1:1/mysql:8" in (stack.obstacle(settings) or "")
    assert not made(docker, settings)


def test_an_image_is_pulled_with_progress(docker: DockerClient) -> None:
    """A missing image comes from its registry, and its progress is reported."""
    progress: list[str] = []
    with registry() as host:
        image = f"{host}/tiny:1"
        assert engine.missing(docker, [image]) == [image]
        engine.pull(docker, image, progress.append)
    try:
        assert engine.missing(docker, [image]) == []
        assert progress[0] == f"pulling {image}"
        assert progress[-1] == f"pulling {image}: 1 of 1 layers"
    finally:
        docker.images.remove(image)


@pytest.mark.parametrize("service", ["mysql", "kafka", "zookeeper"])
def test_a_port_is_taken(docker: DockerClient, own_stack: OwnStack, service: str) -> None:
    """The line names the port and the setting that moves it; nothing was started."""
    settings = own_stack()
    port = getattr(settings, f"{service}_port")
    with socket.create_server(("127.0.0.1", port)):
        line = refusal(settings)
        assert stack.obstacle(settings) == line
    assert f"port {port}" in line
    assert f"LABKIT_{service.upper()}_PORT=" in line
    assert not made(docker, settings)


def test_every_port_of_kafka_is_looked_at(own_stack: OwnStack) -> None:
    """Without a network of its own Kafka takes three ports; one that is taken would kill it."""
    settings = own_stack()
    for port in range(settings.kafka_port, settings.kafka_port + 3):
        with socket.create_server(("127.0.0.1", port)):
            assert f"port {port}, which kafka wants" in refusal(settings)


def test_a_server_that_dies_at_its_start(docker: DockerClient, own_stack: OwnStack) -> None:
    """Its last words are in the line, and what was started beside it is stopped."""
    settings = own_stack()
    line = refusal(settings.model_copy(update={"zookeeper_image": settings.kafka_image}))
    assert line.startswith("zookeeper stopped at its start (")
    assert "process.roles" in line
    assert not made(docker, settings, alive=True)


def test_a_name_that_somebody_has(docker: DockerClient, own_stack: OwnStack) -> None:
    """A container of the same name that is not ours stays, and is named."""
    settings = own_stack()
    foreign = docker.containers.create(
        settings.mysql_image, name=f"{settings.containers_name}-mysql-1"
    )
    try:
        assert f"{settings.containers_name}-mysql-1" in refusal(settings)
        stack.down(settings, volumes=True)
        foreign.reload()
    finally:
        foreign.remove(v=True)


def test_another_password_than_the_data_have(
    own_stack: OwnStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that never lets its health check in: the line holds what it said."""
    settings = own_stack()
    stack.up(settings, print)
    monkeypatch.setattr("labkit.stack.containers.project._READY_S", 5)
    line = refusal(settings.model_copy(update={"mysql_password": "another"}))
    assert line.startswith("mysql is not ready after 5 s")
    assert "Access denied" in line


def test_too_little_memory(docker: DockerClient) -> None:
    """Limits that this machine cannot hold: the line says what there is and what is wanted."""
    described = compose_file.read(Settings()).services
    greedy = {
        name: service.model_copy(update={"mem_limit": "8000g"})
        for name, service in described.items()
    }
    with pytest.raises(DockerUnusable, match="may take 24000"):
        check_memory(docker, greedy)


def _usable() -> str:
    return stack.obstacle(Settings()) or ""


def as_nobody(work: Callable[[], str]) -> str:
    """Return what a function answers to somebody without any rights."""

    def answer() -> None:
        os.setuid(65534)
        channel.send(work())

    heard, channel = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=answer)
    child.start()
    child.join()
    return str(heard.recv())
