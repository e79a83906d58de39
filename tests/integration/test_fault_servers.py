"""Each fault of a server is met, told as 503 or 202, and undone: nothing is lost, or poison."""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labkit import cli
from labkit.faults import NotReached, Reach
from labkit.lab import Lab
from labkit.runtime.db.tables import DEAD
from labkit.shop.wiring import SERVICES
from labkit.waiting import wait_until
from tests.support.history import History
from tests.support.storyline import placed, quick_lab

pytestmark = pytest.mark.slow

ALL = {"coupon": True, "money_paid": 7_00, "goods_number": 2}
HONEST = {200, 202, 503}


@pytest.fixture(scope="module")
def running_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Of one lab, whose ids run out soon after its registry."""
    with quick_lab(tmp_path_factory.mktemp("lab") / "home", LABKIT_WORKER_RESERVE="1") as lab:
        yield lab


def met(history: History, reach: Reach, *, says: str = "") -> None:
    """Place orders until the fault was met, and one is answered 503, for a reason if given."""

    def refused() -> bool:
        answered = history.place(money_paid=1)
        return bool(reach.times) and answered.status == 503 and says in answered.message

    wait_until(refused, f"the fault is met, and an order is told so: {says}", timeout=30)


def whole(lab: Lab, history: History) -> None:
    """All settles within 30 s, no message is called poison or was tried twice, orders go on."""
    lab.settle(30)
    assert {answer.status for answer in history.answers} <= HONEST
    assert not [answer.message for answer in history.answers if "\n" in answer.message]
    query = "SELECT tries, status FROM trade_mq_consumer_log"
    inboxes = [
        row
        for name, service in SERVICES.items()
        if service.handlers
        for row in history.tables.rows(name, query)
    ]
    assert inboxes, "no message was looked at"
    assert all(row["status"] != DEAD and row["tries"] <= 1 for row in inboxes)
    placed(history, money_paid=1)


@pytest.mark.parametrize(
    ("fault", "service"),
    [
        ("away", "goods"),
        ("away", "order"),
        ("away", "all"),
        ("locked", "goods"),
        ("full", "goods"),
        ("full", "order"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all three")
def test_a_database(lab: Lab, history: History, fault: str, service: str) -> None:
    """It is away, locked or full while an order is placed, and while one is to be given back."""
    mine = placed(history, **ALL)
    breaks: Callable[[str], Any] = getattr(lab.faults, f"database_{fault}")
    with breaks(service) as reach:
        cancelled = history.cancel(mine.order_id).status_code
        assert cancelled == (200 if service == "goods" else 503)
        met(history, reach)
    if cancelled == 503:
        wait_until(lambda: history.cancel(mine.order_id).status_code == 200, "it is cancelled")
    whole(lab, history)


@pytest.mark.parametrize("service", ["pay", "platform", "log"])
def test_a_database_as_an_order_is_paid(lab: Lab, history: History, service: str) -> None:
    """Paid when it is back, or logged when it is back: once."""
    mine = placed(history, money_paid=1)
    with lab.faults.database_away(service) as reach:
        if service == "log":
            history.pay(mine.order_id)
        else:
            assert history.create(mine.order_id).status in (202, 503)
        wait_until(lambda: reach.times, f"{service} misses its database")
    if service != "log":
        wait_until(lambda: history.pay(mine.order_id).open, "it is paid", timeout=30)
    whole(lab, history)


def test_the_broker_is_away_and_stands_still(lab: Lab, history: History) -> None:
    """Orders are placed and cancelled all the same; what they tell each other waits."""
    for breaks in (lab.faults.broker_away, lab.faults.broker_paused):
        mine = placed(history, money_paid=1)
        with breaks() as reach:
            placed(history, money_paid=1)
            assert history.cancel(mine.order_id).status_code == 200
            wait_until(lambda reach=reach: reach.times, "the broker is missed")
        whole(lab, history)


def test_the_registry_is_away(lab: Lab, history: History) -> None:
    """Calls go to who was there last, until there are no ids; no message burns a try for that."""
    mine = [placed(history, money_paid=1) for _ in range(3)]
    with lab.faults.registry_away() as reach:
        met(history, reach, says="no time for ids could be reserved")
        for answer in mine:
            assert history.cancel(answer.order_id).status_code in (200, 503)
    for answer in mine:
        wait_until(
            lambda answer=answer: history.cancel(answer.order_id).status_code in (200, 409),
            "cancelled",
        )
    whole(lab, history)


def test_all_at_once(lab: Lab, history: History) -> None:
    """Faults are put into each other, and each is undone by itself."""
    mine = placed(history, **ALL)
    with lab.faults.database_away("goods") as database:
        wait_until(lambda: database.times, "goods misses its database")
        with lab.faults.broker_away() as broker, lab.faults.registry_away() as registry:
            cancelled = history.cancel(mine.order_id).status_code
            met(history, registry)
            wait_until(lambda: broker.times, "the broker is missed")
        with lab.faults.database_locked("order") as locked:
            met(history, locked)
    if cancelled == 503:
        wait_until(lambda: history.cancel(mine.order_id).status_code == 200, "it is cancelled")
    whole(lab, history)


def test_nobody_needed_it(lab: Lab, history: History) -> None:
    """A block in which the shop missed nothing proves nothing, and says so."""
    placed(history)
    for breaks in (lab.faults.broker_paused, lambda: lab.faults.database_locked("log")):
        with pytest.raises(NotReached), breaks():
            placed(history)


def test_a_service_that_was_killed_while_its_database_was_away(lab: Lab, history: History) -> None:
    """It comes up without, and answers 503 until the file is there."""
    mine = placed(history, **ALL)
    with lab.faults.database_away("user") as reach:
        assert history.cancel(mine.order_id).status_code == 200
        met(history, reach)
        lab.faults.kill("user")
        met(history, reach, says="unable to open database file")
    whole(lab, history)


def test_a_tool_says_which_database_is_away(
    lab: Lab,
    history: History,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`labkit stuck`, `check` and `settle`: one line with its name and what to do, exit code 1."""
    placed(history)
    with lab.faults.database_away("goods") as reach:
        wait_until(lambda: reach.times, "goods misses its database")
        for word in ("stuck", "check", "settle"):
            monkeypatch.setattr(sys, "argv", ["labkit", word, "--home", str(lab.home.folder)])
            capsys.readouterr()
            with pytest.raises(SystemExit) as error:
                cli.main()
            assert error.value.code == 1
            message = capsys.readouterr().err
            assert message.startswith(
                "labkit: the database of goods does not answer (unable to open"
            )
            assert "labkit down and labkit up" in message
            assert message.count("\n") == 1


def test_what_an_embedded_lab_has_not_is_said(lab: Lab, history: History) -> None:
    """No container, no such service: one line, and nothing is broken."""
    for breaks in (
        lab.faults.server_killed,
        lab.faults.server_paused,
        lab.faults.server_slow,
        lab.faults.server_cut,
    ):
        with pytest.raises(ValueError, match="there is no mysql in an embedded lab") as error:
            breaks("mysql").__enter__()
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="nobody has no database; order, goods"):
        lab.faults.database_away("nobody").__enter__()
    placed(history, **ALL)
