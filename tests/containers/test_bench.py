"""The bench on containers measures what it says, and leaves no container behind."""

from pathlib import Path

import pytest
from docker import DockerClient

from bench.measures import Pace
from bench.on_containers import Bench
from labkit.settings import Settings
from labkit.stack.containers.create import OURS
from tests.support.containers.stacks import environment

pytestmark = pytest.mark.timeout(900)
#: As short as it goes: what is measured says nothing, but all of it is measured.
MOMENT = Pace(
    warm=0, load=0.3, floor=0, idle=0.1, ups=1, rounds=1, failing=0, kills=0, orders_before=0
)


def test_every_figure_is_measured(
    tmp_path: Path, stack: Settings, docker: DockerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each name once and each with a value; the servers that it had are gone, with their data."""
    for name, value in environment(stack).items():
        monkeypatch.setenv(name, value)
    before = _labels(docker)
    figures = list(Bench(tmp_path, MOMENT, lambda _: None).run())
    names = [figure.name for figure in figures]
    assert len(names) == len(set(names))
    assert [figure.name for figure in figures if figure.value is None] == []
    by_name = {figure.name: figure for figure in figures}
    assert by_name["orders, 64 clients"].target == ">=400"
    for process in ("order", "mysql", "kafka", "zookeeper"):
        assert f"CPU of an order, {process}" in by_name
    for server in ("MySQL", "Kafka"):
        assert by_name[f"{server} killed: orders acknowledged"].value
        assert by_name[f"{server} killed: of them lost"].value == 0
    assert _labels(docker) == before


def _labels(docker: DockerClient) -> set[str]:
    """Of all that labkit made there."""
    ours = {"label": OURS}
    made = [*docker.containers.list(all=True, filters=ours), *docker.volumes.list(filters=ours)]
    labels = [
        resource.labels if hasattr(resource, "labels") else resource.attrs["Labels"]
        for resource in made
    ]
    return {label[OURS] for label in labels if label[OURS].startswith("labkit-bench")}
