"""The whole lab on MySQL: its server dies and hangs under load, and nothing is lost or doubled."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from sqlalchemy import make_url

from labkit.faults import VERBS, list_standing, mend
from labkit.lab import Lab
from labkit.stack.supervisor import launch
from labkit.waiting import wait_until
from tests.support.history import History
from tests.support.mysqld import Server
from tests.support.storyline import FAIL, placed, quick_lab, remembered


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, mysql: Server) -> Iterator[Lab]:
    with quick_lab(tmp_path_factory.mktemp("lab") / "home", LABKIT_MYSQL=mysql.url) as lab:
        yield lab


@pytest.fixture
def history(lab: Lab) -> Iterator[History]:
    """Remembers the answers; afterwards all must settle, and be as the answers say."""
    with remembered(lab) as history:
        yield history


@contextmanager
def killed(mysql: Server) -> Iterator[None]:
    mysql.kill()
    yield
    mysql.start()


@contextmanager
def paused(mysql: Server) -> Iterator[None]:
    mysql.pause()
    yield
    mysql.resume()


def test_every_way_of_an_order(lab: Lab, history: History) -> None:
    """Placed and paid; failing at confirm; cancelled; returned with its money: all on MySQL."""
    urls = launch.status(lab.home)["databases"].values()
    assert {make_url(url).get_backend_name() for url in urls} == {"mysql"}
    paid = placed(history, coupon=True, money_paid=1_00)
    history.pay(paid.order_id)
    with lab.faults.armed(FAIL, "refuse"):
        assert history.place(money_paid=2_00).refused
    cancelled, returned = placed(history, money_paid=3_00), placed(history, money_paid=4_00)
    history.cancel(cancelled.order_id)
    history.pay(returned.order_id)
    lab.settle()
    history.give_back(returned.order_id)
    lab.settle(timeout=60)
    assert sorted(lab.tables("trade_order")["order_status"]) == [
        "1 confirmed",
        "2 cancelled",
        "2 cancelled",
        "4 returned",
    ]


@pytest.mark.parametrize("gone", [killed, paused])
def test_the_server_goes_under_load(
    history: History, mysql: Server, gone: Callable[[Server], AbstractContextManager[None]]
) -> None:
    """Kill −9, or a hang: orders are refused meanwhile, and placed again when it is back."""

    def refused() -> bool:
        return history.place().status in (0, 202, 503)

    with history.buying(clients=4, money_paid=1) as answers:
        wait_until(lambda: sum(answer.placed for answer in answers) > 10, "orders are being placed")
        with gone(mysql):
            wait_until(refused, "orders are refused", timeout=30)
        wait_until(lambda: history.place().placed, "orders are placed again", timeout=30)
    history.pay(placed(history).order_id)


@pytest.mark.parametrize("fault", ["row_held user 1", "database_locked user"])
def test_what_is_held_is_listed_and_let_go(lab: Lab, history: History, fault: str) -> None:
    """Clearing all faults ends the connection that holds the row, in whatever process it is."""
    lab.reset(users=1, balance=10**6)
    history.begin()
    name, *arguments = fault.split()
    with getattr(lab.faults, name)(*VERBS[name].parse(arguments)) as held:
        wait_until(lambda: not history.place(money_paid=1).placed and held.times, "it is met", 60)
        assert [row["fault"] for row in list_standing(lab.home)] == [fault]
        assert mend(lab.home, everything=True) == [fault]
        wait_until(lambda: history.place(money_paid=1).placed, "it is let go", 60)
    assert list_standing(lab.home) == []


def test_what_was_there_is_there_at_the_next_start(
    lab: Lab, history: History, mysql: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lab that comes up again in its home finds its schemas as they were."""
    before = placed(history).order_id
    lab.settle()
    launch.down(lab.home)
    monkeypatch.setenv("LABKIT_MYSQL", mysql.url)
    Lab.up(lab.home.folder)
    assert str(before) in set(map(str, lab.tables("trade_order", raw=True)["order_id"]))


def test_a_reset_that_dies_in_the_middle_is_begun_anew(
    lab: Lab, mysql: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its helper is killed when some schemas are new and some are not: none is served like that."""
    lab.faults.arm("helper.seed_database.after_work", "crash")
    with pytest.raises(RuntimeError, match="killed by signal 9"):
        lab.reset()
    wait_until(lambda: not launch.is_up(lab.home), "the lab is down")
    monkeypatch.setenv("LABKIT_MYSQL", mysql.url)
    again = Lab.up(lab.home.folder)
    assert again.tables("trade_order").empty
    assert placed(History(lab.home.folder), coupon=True).order_id
    again.settle()
    assert set(again.check()["held"]) == {"yes"}
