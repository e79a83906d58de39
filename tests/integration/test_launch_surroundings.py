"""`labkit up` does not mind its surroundings: proxy variables, and files in the folder."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.home import Home
from labkit.lab import Lab
from labkit.ops import drive
from labkit.runtime.rpc.tool_client import is_well, run_beside
from labkit.shop.codes import Code
from labkit.stack.supervisor import launch

pytestmark = pytest.mark.slow

NOBODY = "http://127.0.0.1:9"
PROXIES = dict.fromkeys(("http_proxy", "https_proxy", "grpc_proxy", "all_proxy"), NOBODY)
SHADOWS = ("platform", "kafka", "queue", "grpc", "secrets", "sqlalchemy")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A lab that was started with proxies in its environment, in a folder full of shadows."""
    folder = tmp_path_factory.mktemp("course")
    for name in SHADOWS:
        (folder / f"{name}.py").write_text("raise SystemExit('a file of the learner')")
    environment = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}
    command = [sys.executable, "-m", "labkit"]
    for words in (["up", "--stack", "embedded"], ["order"]):
        done = subprocess.run(
            [*command, *words, "--home", "home"],
            cwd=folder,
            env={**environment, **PROXIES},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done
    yield folder / "home"
    launch.down(Home(folder / "home"))


def test_the_folder_and_its_proxies_are_ignored(home: Path) -> None:
    """A lab in such a folder came up and took an order, which reaches four services."""
    assert launch.is_up(Home(home))


def test_a_tool_reaches_services_past_its_proxies(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notebook whose environment names proxies calls services, webs and platform directly."""
    monkeypatch.delenv("no_proxy", raising=False)
    for name, value in PROXIES.items():
        monkeypatch.setenv(name, value)
    lab = Lab(Home(home))
    goods = next(
        process for process in launch.status(lab.home)["services"] if process["name"] == "goods"
    )
    assert run_beside(is_well(goods["endpoint"], "goods", lab.home.secret))
    outcome = run_beside(drive.retry(lab.home, "goods.383026413512351744"))
    assert outcome.code != Code.DEPENDENCY_AWAY, outcome.message
    order = lab.order()
    assert lab.pay(str(order.order_id)).status == 200
    lab.settle()
