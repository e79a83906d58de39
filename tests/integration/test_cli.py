"""The command line: starting, stopping, what it says of a home, and what it says when it fails."""

import json
import socket
import stat
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from labkit.home import Home
from tests.support.db import ask_status, labkit
from tests.support.history import History

ENDPOINTS = {"order-web", "pay-web", "platform", "console", "broker", "registry"}
ACTIONS = {"crash", "refuse", "delay", "stall", "duplicate", "lose"}
NOTICES = {"reorder", "alter", "wrong_amount", "forge", "early"}
DATABASES = {"order", "goods", "coupon", "user", "pay", "log", "platform"}
PROCESSES = [
    "broker",
    "coupon",
    "goods",
    "goods",
    "log",
    "order",
    "order-web",
    "pay",
    "pay-web",
    "platform",
    "user",
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home in which a lab was brought up by the command line, with two goods services."""
    home = tmp_path_factory.mktemp("cli") / "new" / "home"
    up = labkit("up", "--instances", "goods=2", "--stack", "embedded", home=home)
    assert up.returncode == 0, up.stderr
    assert "the lab is up: embedded stack" in up.stdout
    yield home
    assert labkit("down", home=home).returncode == 0


def status(home: Path) -> dict[str, Any]:
    ask_status.cache_clear()
    return ask_status(home)


def complaint(done: "subprocess.CompletedProcess[str]") -> str:
    """Return the message of a command that failed: one line, exit code 1, no traceback."""
    assert done.returncode == 1, done
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("labkit: "), done.stderr
    assert done.stdout == ""
    return done.stderr


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_status_says_what_runs(home: Path) -> None:
    """Stack, endpoints, databases, services, supervisor: in the fixed shape, and all true."""
    report = status(home)
    assert list(report) == ["stack", "home", "endpoints", "databases", "services", "supervisor"]
    assert (report["stack"], report["home"]) == ("embedded", str(home))
    assert report["endpoints"].keys() == ENDPOINTS
    assert report["databases"].keys() == DATABASES
    assert all(report["databases"].values())
    for process in report["services"]:
        assert process.keys() == {"name", "instance", "pid", "endpoint", "state", "release"}
        assert process["state"] == "up"
        assert process["release"] == (None if process["name"] in ("broker", "platform") else "1.0")
        host, _, port = process["endpoint"].removeprefix("http://").rpartition(":")
        assert host == "127.0.0.1"
        socket.create_connection((host, int(port)), timeout=5).close()
    assert sorted(row["name"] for row in report["services"]) == PROCESSES
    assert sorted(row["instance"] for row in report["services"] if row["name"] == "goods") == [1, 2]
    assert alive(report["supervisor"])
    for end, path in (("order-web", "order/1"), ("pay-web", "pay/1"), ("platform", "cashier/x")):
        assert httpx.get(f"{report['endpoints'][end]}/{path}").status_code == 404
    assert Path(report["endpoints"]["registry"]).is_dir()
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_the_console_is_told_to_who_may_read_the_home(home: Path) -> None:
    """`status` prints an address that opens it; its token is kept for the owner alone."""
    address = status(home)["endpoints"]["console"]
    assert address in labkit("status", home=home).stdout
    token = home / "console-token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert stat.S_IMODE((home / "lab.json").stat().st_mode) == 0o600
    assert address.endswith(f"/?token={token.read_text()}")
    with httpx.Client(trust_env=False) as browser:
        assert browser.get(address).status_code == 200
        assert "goods-2" in browser.get(address.partition("?")[0]).text
    assert httpx.get(address.partition("?")[0]).status_code == 403
    for line in psutil.process_iter(["cmdline"]):
        assert token.read_text() not in " ".join(line.info["cmdline"] or [])


def test_a_database_that_is_away_is_told_in_one_line(tmp_path: Path) -> None:
    """No server answers: each command that looks says so, and what to do; no traceback."""
    home = Home(tmp_path / "home").make()
    urls = dict.fromkeys(DATABASES, "mysql+pymysql://x:y@127.0.0.1:1/z")
    home.schemas_file.write_text(json.dumps({"urls": urls, "filled": True, "used": True}))
    for command in ("stuck", "check", "settle", "tables"):
        message = complaint(labkit(command, home=home.folder))
        assert "does not answer" in message
        assert "labkit status" in message


def test_a_second_up_says_that_it_is_up(home: Path) -> None:
    """Nothing is started twice, not even by two at once."""
    before = status(home)
    with ThreadPoolExecutor(2) as pool:
        for up in pool.map(lambda _: labkit("up", home=home), range(2)):
            assert up.returncode == 0, up.stderr
            assert "the lab is up already" in up.stdout
    assert status(home) == before


@pytest.mark.timeout(900)
def test_down_and_up_again(home: Path) -> None:
    """Down stops every process and keeps the data; up finds it, on other ports where need be."""
    history = History(home)
    placed = history.place(key="k")
    before = status(home)
    down = labkit("down", home=home)
    assert (down.returncode, down.stdout) == (0, "the lab is down\n")
    pids = [before["supervisor"], *(process["pid"] for process in before["services"])]
    assert not [pid for pid in pids if alive(pid)]
    stopped = status(home)
    assert (stopped["supervisor"], stopped["databases"]) == (None, before["databases"])
    assert {
        (process["pid"], process["endpoint"], process["state"]) for process in stopped["services"]
    } == {(None, None, "down")}
    assert stopped["endpoints"]["order-web"] is None
    assert labkit("down", home=home).stdout == "no lab was up\n"
    assert labkit("check", home=home).returncode == 0  # the data can be looked at

    port = before["endpoints"]["order-web"].rpartition(":")[2]
    with socket.create_server(("127.0.0.1", int(port))):
        assert labkit("up", home=home).returncode == 0
    after = status(home)
    assert after["endpoints"]["order-web"] != before["endpoints"]["order-web"]
    again = History(home)
    again.answers.append(again.send(placed.body, "k"))
    assert again.answers[-1] == placed


def test_a_home_that_never_ran(tmp_path: Path) -> None:
    """Status is null where nothing exists; other commands say how to start; nothing is made."""
    home = tmp_path / "never"
    report = status(home)
    assert (report["stack"], report["home"], report["services"]) == (None, str(home), [])
    assert report["supervisor"] is None
    assert report["endpoints"] == dict.fromkeys(ENDPOINTS)
    assert report["databases"] == dict.fromkeys(DATABASES)
    for command in ("reset", "order", "check", "settle"):
        assert f"labkit up --home {home}" in complaint(labkit(command, home=home)), command
    assert labkit("down", home=home).stdout == "no lab was up\n"
    assert not home.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["up", "--instances", "goods=x"], "'goods=x': write SERVICE=1 to 9"),
        (["up", "--instances", "platform=2"], "'platform=2': write SERVICE=1 to 9; services are"),
        (["down", "--volumes"], "--volumes goes with --containers"),
        (["fault", "goods.nothing.before_commit", "crash"], "list them with: labkit failpoints"),
        (["fault", "goods.deduct_stock.before_commit", "explode"], "can crash, refuse, delay"),
        (["fault", "goods.deduct_stock.before_commit", "delay"], "delay:2.5"),
        (["fault", "goods.deduct_stock.before_commit"], "labkit fault NAME ACTION"),
        (["fault"], "labkit fault --clear"),
        (["retry", "goods.17"], "labkit stuck"),
        (["retry", "nonsense"], "labkit stuck"),
        (["give-up", "goods.17"], "event 17 is not here"),
        (["take-back", "pay.17"], "17 waits for nobody in pay"),
        (["retry", "order.outbox.17"], "labkit stuck"),
        (["logs", "nothing"], "there are: "),
        (["tables", "nothing"], "trade_order"),
    ],
)
def test_a_mistake_is_told_in_one_line_that_says_what_to_do(
    home: Path, words: list[str], message: str
) -> None:
    """An impossible command is one line on standard error, with exit code 1."""
    assert message in complaint(labkit(*words, home=home))


def test_without_an_engine_containers_are_refused_and_auto_takes_the_other(tmp_path: Path) -> None:
    """Containers are refused in one line and nothing is made; `auto` comes up and says why so."""
    home, nowhere = tmp_path / "home", {"DOCKER_HOST": f"unix://{tmp_path}/nobody.sock"}
    assert "Docker" in complaint(labkit("up", "--stack", "containers", home=home, **nowhere))
    assert not home.exists()
    up = labkit("up", home=home, **nowhere)
    try:
        assert "the lab is up: embedded stack (auto: " in up.stdout, up
        assert status(home)["stack"] == "embedded"
    finally:
        assert labkit("down", home=home).returncode == 0


def test_a_home_that_cannot_be_is_told_in_one_line(tmp_path: Path) -> None:
    """Where a file lies in the way, the line names it and another way."""
    file = tmp_path / "file"
    file.write_text("in the way")
    for home, command in ((file, "up"), (file, "failpoints"), (file / "below", "up")):
        assert str(home) in complaint(labkit(command, home=home)), command


def test_an_order_from_the_command_line(home: Path) -> None:
    """Placed over HTTP and shown; a refusal is exit code 1 and the shop's own words."""
    placed = labkit(
        "order", "--number", "2", "--coupon", "--balance", "100", "--key", "o", home=home
    )
    assert placed.returncode == 0, placed.stderr
    assert "HTTP 200 SUCCESS" in placed.stdout
    assert "9979.00" in placed.stdout or "997900" in placed.stdout  # what is left to pay
    refused = labkit("order", "--number", "1000", home=home)
    assert (refused.returncode, refused.stderr) == (1, "")
    assert "HTTP 422 STOCK_SHORT" in refused.stdout


def test_tables_and_logs_are_shown(home: Path) -> None:
    """Raw rows as JSON, by name or all; the last lines of one process or of each."""
    listed = json.loads(labkit("tables", "--json", home=home).stdout)
    assert {"trade_order", "trade_user", "trade_coupon", "trade_mq_producer"} <= listed.keys()
    assert [row["goods_name"] for row in listed["trade_goods"]] == ["华为P30"]
    shown = labkit("tables", "trade_goods", home=home).stdout
    assert "华为P30" in shown
    assert "trade_user" not in shown
    no_order = ("--order", str(2**63))
    assert labkit("tables", "trade_order", *no_order, home=home).stdout == "trade_order: nothing\n"
    logs = labkit("logs", "--lines", "1", home=home).stdout
    for process in ("order-1", "goods-1", "goods-2", "order-web-1", "broker", "supervisor"):
        assert process in logs


def test_failpoints_are_listed_even_before_a_start(tmp_path: Path) -> None:
    """Every boundary of every service, with what can be made to happen there."""
    done = labkit("failpoints", "--json", home=tmp_path / "never")
    listed = json.loads(done.stdout)
    assert len(listed) == len({point["name"] for point in listed}) > 100
    for row in listed:
        assert {"name", "service", "boundary", "actions", "hits"} <= row.keys()
        assert row["name"].startswith(f"{row['service']}.")
        assert row["name"].endswith(f".{row['boundary']}")
        assert set(row["actions"]) <= ACTIONS | (NOTICES if row["service"] == "platform" else set())
        assert row["hits"] == 0
    assert {point["service"] for point in listed} == {*PROCESSES, "supervisor", "helper"} - {
        "broker"
    }
