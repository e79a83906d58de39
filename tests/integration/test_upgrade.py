"""Upgrades: services go from release to release under load, and back; whoever does it may die."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import psutil
import pytest
from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from labkit.files import take_lock
from labkit.home import Home
from labkit.lab import Lab
from labkit.stack.releases import draining
from labkit.stack.releases.unpack import find
from labkit.stack.setup.brokers import broker_config_of
from labkit.stack.supervisor import control, launch
from labkit.waiting import wait_until
from tests.support.db import labkit
from tests.support.deploying import all_run, bought, live_a_day, releases
from tests.support.history import History
from tests.support.processes import gone, processes
from tests.support.releases import unpacked
from tests.support.storyline import placed, quick_lab

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

#: Nobody reads what an unfit release would say, and each of its calls must end soon.
TIMES = {"LABKIT_GROUP_SESSION": "1.5", "LABKIT_OUTBOX_LEASE": "1", "LABKIT_RETRY_LIMIT": "8"}
#: Imported by each service process: whatever replaces it is an unfit release.
STARTED_FROM = "labkit/stack/supervisor/run_services.py"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with quick_lab(tmp_path / "home", **TIMES) as lab:
        lab.reset(stock=100_000, balance=10**12, coupons=300)
        yield lab


def all_is_well(lab: Lab, history: History) -> None:
    """Every answer is true, nothing is dead or stuck, and all invariants hold."""
    lab.settle()
    history.check()
    assert not len(lab.stuck(raw=True))
    check = lab.check()
    assert set(check["held"]) == {"yes"}, check[check["held"] != "yes"]


def test_a_day_of_releases_under_load(lab: Lab) -> None:
    """1.0 → 1.1 → 1.2 → 1.1 while customers buy, pay and return: nothing of it is lost or dead."""
    live_a_day(lab)


def test_what_the_release_before_wrote_can_be_read(lab: Lab) -> None:
    """An order of 1.0 is shown by 1.1 and 1.2, and a retry gets its first answer from each."""
    history = History(lab.home.folder)
    first = placed(history, key="the-first")
    before = history.find(first.order_id).json()
    for number in ("1.1", "1.2"):
        lab.upgrade(to=number)
        now = history.find(first.order_id).json()["data"]
        assert {name: now[name] for name in before["data"]} == before["data"]
        again = history.send(first.body, "the-first")
        assert (again.status, again.order_id) == (200, first.order_id)
    all_is_well(lab, history)


def test_the_webs_stay_strict(lab: Lab) -> None:
    """1.0 refuses a gift note, and changes nothing; 1.1 takes it, and logs it once."""
    noted = History(lab.home.folder).body(money_paid=1_00) | {"gift_note": "生日快乐"}
    url = f"{launch.status(lab.home)['endpoints']['order-web']}/order/confirm"

    def ask() -> int:
        return httpx.post(url, json=noted, headers={"Idempotency-Key": "a-gift"}).status_code

    assert ask() == 400
    lab.upgrade(to="1.1")
    assert [ask(), ask()] == [200, 200]
    lab.settle()
    done = labkit("tables", "trade_order_gift_log", "--json", home=lab.home.folder)
    assert done.stdout.count("生日快乐") == 1
    assert set(lab.check()["held"]) == {"yes"}


def test_an_unfit_release_goes_back(lab: Lab, tmp_path: Path) -> None:
    """Its processes die at the start: the service stays where it was, and orders are placed."""
    unfit = unpacked(tmp_path, "1.1")
    with (unfit / STARTED_FROM).open("a") as file:
        file.write('\nraise ImportError("this release lacks a library")\n')
    history = History(lab.home.folder)
    before = processes(lab.home.folder)
    with bought(history):
        with pytest.raises(RuntimeError, match=r"goods stays at release 1\.0.*lacks a library"):
            lab.upgrade(to=str(unfit))
        assert all_run(lab, "1.0")
    assert processes(lab.home.folder) == before
    all_is_well(lab, history)


def test_a_release_that_does_not_answer_goes_back(lab: Lab, tmp_path: Path) -> None:
    """It starts, and fails the first real call: the same."""
    unfit = unpacked(tmp_path, "1.1")
    handlers = unfit / "labkit/runtime/messaging/admin_handlers.py"
    handlers.write_text(handlers.read_text().replace("def table(self", "def table_(self"))
    with pytest.raises(RuntimeError, match=r"goods stays at release 1\.0"):
        lab.upgrade("goods", to=str(unfit))
    assert all_run(lab, "1.0")


@pytest.mark.parametrize("lines", [1, 4, 11])
def test_the_upgrade_is_killed_and_run_again(lab: Lab, lines: int) -> None:
    """Killed with -9 after some of its steps, it is run again, and ends as if it never was."""
    history = History(lab.home.folder)
    command = [sys.executable, "-m", "labkit", "upgrade", "--to", "1.1"]
    with bought(history):
        with subprocess.Popen(
            [*command, "--home", str(lab.home.folder)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        ) as upgrade:
            assert upgrade.stdout
            for _ in range(lines):
                assert upgrade.stdout.readline()
            upgrade.kill()
        assert not all_run(lab, "1.1")
        lab.upgrade(to="1.1")
        assert all_run(lab, "1.1")
    all_is_well(lab, history)


@pytest.mark.parametrize("number", ["1.1", "1.0"])
def test_the_lab_dies_in_the_midst_of_a_roll(lab: Lab, number: str) -> None:
    """The supervisor is killed with -9 while services go to a release, or back from it."""
    history = History(lab.home.folder)
    home = lab.home.folder
    if number == "1.0":
        lab.upgrade(to="1.1")
    history.place_all([{"money_paid": 1_00}] * 10, clients=4)
    command = [sys.executable, "-m", "labkit", "upgrade", "--to", number, "--home", str(home)]
    before = processes(home)
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as upgrade:
        assert upgrade.stdout
        for _ in range(7):
            assert upgrade.stdout.readline()
        os.kill(before["supervisor"], signal.SIGKILL)
        _, errors = upgrade.communicate()
    assert upgrade.returncode == 1
    assert b"Traceback" not in errors
    wait_until(lambda: gone(before), "all are gone")
    assert labkit("up", "--stack", "embedded", home=home).returncode == 0
    assert labkit("upgrade", "--to", number, home=home).returncode == 0
    try:
        assert all_run(lab, number)
        assert labkit("settle", home=home).returncode == 0
        again = History(home)
        assert placed(again)
        done = labkit("check", home=home)
        assert done.returncode == 0, done.stdout
        assert all(history.find(each.order_id) for each in history.answers if each.placed)
    finally:
        labkit("down", home=home)


def test_what_is_refused_changes_nothing(lab: Lab) -> None:
    """Each refusal is one line that says what to do, and no process is replaced."""
    before = processes(lab.home.folder)
    for to, words in {
        "1.2": "go through the releases between them first",
        "1.7": "there are 1.0, 1.1, 1.2",
        "x": "write one like 1.1",
        "/": "holds no release",
    }.items():
        done = labkit("upgrade", "--to", to, home=lab.home.folder)
        assert done.returncode == 1
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
    done = labkit("upgrade", "platform", "--to", "1.1", home=lab.home.folder)
    assert "there is no such service" in done.stderr
    assert processes(lab.home.folder) == before


def test_no_service_goes_ahead_of_its_neighbours_by_two(lab: Lab) -> None:
    """1.2 expands every database: it is refused while any service is of 1.0."""
    lab.upgrade("goods", to="1.1")
    before = processes(lab.home.folder)
    done = labkit("upgrade", "goods", "--to", "1.2", home=lab.home.folder)
    assert "is at release 1.0" in done.stderr
    assert processes(lab.home.folder) == before


def test_nothing_else_is_started_or_ended_meanwhile(lab: Lab) -> None:
    """`reset` and `scale` are refused while services are upgraded, and change nothing."""
    history, home = History(lab.home.folder), lab.home.folder
    order = placed(history, money_paid=1_00)
    lock = take_lock(lab.home.upgrade_lock_file)
    assert lock is not None
    for words in (["reset"], ["scale", "goods=2"]):
        done = labkit(*words, home=home)
        assert done.returncode == 1
        assert "services are being upgraded just now" in done.stderr
    os.close(lock)
    assert history.find(order.order_id).status_code == 200
    assert releases(lab)["goods"] == ["1.0"]


def test_an_unfit_release_is_replaced_by_a_better_one(lab: Lab, tmp_path: Path) -> None:
    """Nobody runs it, so that another one of its number takes its place."""
    unfit = unpacked(tmp_path, "1.1")
    good = (unfit / STARTED_FROM).read_text()
    (unfit / STARTED_FROM).write_text(f"{good}\nraise ImportError\n")
    with pytest.raises(RuntimeError, match=r"goods stays at release 1\.0"):
        lab.upgrade("goods", to=str(unfit))
    (unfit / STARTED_FROM).write_text(good)
    lab.upgrade("goods", to=str(unfit))
    assert releases(lab)["goods"] == ["1.1"]
    (unfit / STARTED_FROM).write_text(f"{good}\n# another one\n")
    done = labkit("upgrade", "user", "--to", str(unfit), home=lab.home.folder)
    assert "services run another release 1.1" in done.stderr


def test_a_process_that_does_not_answer_is_found_by_the_next_try(lab: Lab, tmp_path: Path) -> None:
    """An upgrade that was killed has started it: nobody leaves before it answers."""
    unfit = unpacked(tmp_path, "1.1")
    handlers = unfit / "labkit/runtime/messaging/admin_handlers.py"
    answers = "        return self._database.ask(inbox.find_missing, query, expires)\n"
    assert answers in handlers.read_text()
    handlers.write_text(handlers.read_text().replace(answers, "        raise RuntimeError\n"))
    find(lab.home, str(unfit))
    control.tell(lab.home, "start", name="log", release="1.1")
    with pytest.raises(RuntimeError, match=r"log stays at release 1\.0"):
        lab.upgrade("log", to="1.1")
    assert releases(lab)["log"] == ["1.0"]


def test_two_steps_back_are_refused(lab: Lab) -> None:
    """1.2 has written what 1.0 cannot read: from 1.1, to which it went back, there is no way on."""
    for number in ("1.1", "1.2", "1.1"):
        lab.upgrade(to=number)
    before = processes(lab.home.folder)
    done = labkit("upgrade", "--to", "1.0", home=lab.home.folder)
    assert "is of release 1.2, too late for 1.0" in done.stderr
    assert processes(lab.home.folder) == before


def test_there_is_no_way_back_after_a_contract(lab: Lab) -> None:
    """1.1 is refused before any process is replaced; 1.2 goes on, also after a reset."""
    for number in ("1.1", "1.2"):
        lab.upgrade(to=number)
    home = lab.home.folder
    done = labkit("upgrade", "--to", "1.2", "--contract", home=home)
    assert "order: contract its database (1.2_contract)" in done.stdout
    before = processes(home)
    done = labkit("upgrade", "--to", "1.1", home=home)
    assert "there is no way back to 1.1" in done.stderr
    assert processes(home) == before

    history = History(home)
    assert placed(history, money_paid=1_00)
    lab.settle()
    assert labkit("check", home=home).returncode == 0
    lab.reset()
    assert all_run(lab, "1.2")
    lab.upgrade(to="1.1")  # what was contracted is gone
    assert all_run(lab, "1.1")


def test_what_is_written_after_a_way_back_is_migrated_again(lab: Lab) -> None:
    """1.0 writes an order when 1.1 has migrated: it is whole in 1.2, also when that contracts."""
    history = History(lab.home.folder)
    for number in ("1.1", "1.0"):
        lab.upgrade(to=number)
    order = placed(history, money_paid=1_00)
    for number in ("1.1", "1.2"):
        lab.upgrade(to=number)
    lab.upgrade(to="1.2", contract=True)
    assert history.find(order.order_id).json()["data"]["consignee"] == order.body["consignee"]
    lab.settle()
    assert set(lab.check()["held"]) == {"yes"}


def test_a_home_of_a_later_release_is_refused(tmp_path: Path) -> None:
    """1.2 made it: 1.0 does not touch it, and says so in a line."""
    later, home = unpacked(tmp_path, "1.2"), tmp_path / "home"
    up = [sys.executable, "-P", "-m", "labkit", "up", "--stack", "embedded", "--home", str(home)]
    down = [*up[:4], "down", "--home", str(home)]
    environment = {**os.environ, "PYTHONPATH": str(later)}
    subprocess.run(up, env=environment, check=True)
    subprocess.run(down, env=environment, check=True)
    done = labkit("up", "--stack", "embedded", home=home)
    assert done.returncode == 1
    assert "is contracted for release 1.2" in done.stderr
    assert done.stderr.count("\n") == 1
    assert launch.status(Home(home))["supervisor"] is None


def test_a_later_release_says_what_it_does_to_a_home(tmp_path: Path) -> None:
    """`labkit up` of 1.1 expands what 1.0 made, and says so first; 1.0 can use it again."""
    later, home = unpacked(tmp_path, "1.1"), tmp_path / "home"
    assert labkit("up", "--stack", "embedded", home=home).returncode == 0
    assert labkit("down", home=home).returncode == 0
    up = [sys.executable, "-P", "-m", "labkit", "up", "--stack", "embedded", "--home", str(home)]
    environment = {**os.environ, "PYTHONPATH": str(later)}
    done = subprocess.run(up, env=environment, check=True, capture_output=True, text=True)
    words = "the database of order is of release 1.0: it is expanded for 1.1 (1.1_expand)"
    assert words in " ".join(done.stdout.split())
    down = [*up[:4], "down", "--home", str(home)]
    subprocess.run(down, env=environment, check=True)
    assert labkit("up", "--stack", "embedded", home=home).returncode == 0
    assert labkit("down", home=home).returncode == 0


def test_a_release_that_is_gone_is_named(lab: Lab) -> None:
    """A home does not come up whose service runs a release that was removed, and says which."""
    lab.upgrade("goods", to="1.1")
    home = lab.home.folder
    lab.down()
    shutil.move(home / "releases" / "1.1", home / "elsewhere")
    done = labkit("up", "--stack", "embedded", home=home)
    assert done.returncode == 1
    assert "release 1.1 is not in" in done.stderr
    shutil.move(home / "elsewhere", home / "releases" / "1.1")
    assert labkit("up", "--stack", "embedded", home=home).returncode == 0
    assert releases(lab)["goods"] == ["1.1"]
    assert labkit("down", home=home).returncode == 0


def test_no_way_back_while_a_forgotten_event_waits(tmp_path: Path) -> None:
    """Its sender holds it no more, and its group cannot handle it yet: 1.1 could never read it."""
    times = {**TIMES, "LABKIT_MESSAGE_RETENTION": "1", "LABKIT_RETRY_LIMIT": "1000"}
    with quick_lab(tmp_path / "home", **times) as lab:
        lab.reset(stock=100_000, balance=10**12, coupons=300)
        lab.upgrade(to="1.1")
        lab.upgrade(to="1.2")
        tables = History(lab.home.folder).tables
        order = lab.order().order_id
        lab.pay(order)
        lab.settle()
        fault = "user.take_points_back.before_commit"
        lab.faults.arm(fault, "refuse", times=1_000_000)
        lab.return_order(order)
        there = "SELECT count(*) AS n FROM trade_mq_producer WHERE topic = 'refunded'"
        went = "SELECT messages FROM trade_mq_forgotten WHERE part = 'outbox'"
        wait_until(
            lambda: (
                tables.rows("pay", went)[0]["messages"] and not tables.rows("pay", there)[0]["n"]
            ),
            "pay has forgotten that it told of the refund",
            timeout=120,
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(draining, "_TAKEN_S", 3.0)
            with pytest.raises(RuntimeError, match="events of pay are not handled yet"):
                lab.upgrade(to="1.1")
        lab.faults.disarm(fault)
        lab.upgrade(to="1.1")
        lab.settle()
        assert set(lab.check()["held"]) == {"yes"}


def test_a_topic_that_is_new_is_made(lab: Lab, tmp_path: Path) -> None:
    """Before the first process that tells or hears of it; and again by a broker that forgot it."""
    release = unpacked(tmp_path, "1.1")
    messages, wiring = (release / "labkit/shop" / f"{name}.py" for name in ("messages", "wiring"))
    event = 'class OrderPraised(Event):\n    topic: ClassVar[str] = "praised"\n'
    messages.write_text(f"{messages.read_text()}\n\n{event}")
    known = "(OrderCancelled, OrderReturned, OrderPaid, OrderRefunded, DeadLetter)"
    text = wiring.read_text()
    assert text.count(known) == 1
    text = text.replace(known, known.replace("DeadLetter", "OrderPraised, DeadLetter"))
    imported = "import OrderCancelled,"
    wiring.write_text(text.replace(imported, imported.replace("import", "import OrderPraised,")))
    assert "praised" not in topics_of(lab)
    lab.upgrade(to=str(release))
    assert "praised" in topics_of(lab)
    lab.faults.kill("broker-1")
    wait_until(lambda: "praised" in topics_of(lab), "the new broker has the topic", timeout=60)
    history = History(lab.home.folder)
    placed(history)
    all_is_well(lab, history)


def topics_of(lab: Lab) -> set[str]:
    """The topics at the broker; none while it is away."""
    try:
        with closing(KafkaAdminClient(**broker_config_of(lab.home).common)) as admin:
            return set(admin.list_topics())
    except KafkaError:
        return set()


def test_several_processes_of_a_service_are_replaced_one_by_one(lab: Lab) -> None:
    """As many as before are there in the end, and never fewer on the way."""
    lab.scale(goods=3)
    history = History(lab.home.folder)
    with bought(history):
        lines = lab.upgrade("goods", to="1.1")
    assert releases(lab)["goods"] == ["1.1"] * 3
    steps = ["start one of release 1.1", "finish and leave"] * 3
    assert lines[0] == "order: expand its database (1.1_expand)"
    assert [line.partition(": ")[2] for line in lines[1:]] == steps
    alive = psutil.Process(launch.status(lab.home)["supervisor"]).children()
    assert len(alive) == len(launch.status(lab.home)["services"]) + 1  # and the console
    all_is_well(lab, history)
