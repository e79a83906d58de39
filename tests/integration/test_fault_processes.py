"""Wrong clocks and processes that come back: ids never repeat, deadlines are early or late."""

from collections.abc import Iterator

import pytest

from labkit.faults import NotReached
from labkit.faults.standing_verbs import WITH_STEPS
from labkit.lab import Lab
from labkit.runtime.clock import wall_ms
from labkit.runtime.injection.standing import FaultBook
from labkit.runtime.registry.ids import SEQUENCE_BITS, WORKERS, made_at_ms
from labkit.stack.supervisor import launch
from labkit.waiting import wait_until
from tests.integration.test_takeover import IDS
from tests.support.breaking import broken, trade
from tests.support.storyline import FAIL, Teller, placed, quick_lab

pytestmark = pytest.mark.slow

DUE = "SELECT next_try FROM trade_mq_consumer_log WHERE status = 0"
RETURN = "goods.return_stock.before_commit"


@pytest.fixture(scope="module")
def teller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Teller]:
    """On a lab whose broker settles groups of two, and whose leases are short."""
    times = {"LABKIT_GROUP_SESSION": "1.5", "LABKIT_WORKER_RESERVE": "0.5"}
    with quick_lab(tmp_path_factory.mktemp("lab") / "home", **times) as lab:
        yield Teller(lab)


@pytest.fixture(autouse=True)
def _no_id_twice(teller: Teller) -> Iterator[None]:
    """Whatever was done to a clock or a process: afterwards no id is there twice."""
    yield
    made = ids(teller)
    assert len(made) > 1
    assert len(made) == len(set(made))


def test_a_clock_that_is_behind_makes_no_ids(teller: Teller) -> None:
    """Order's clock steps back by seconds: it refuses rather than repeat ids, and goes on at once
    when the clock is right again. What needs no new ids goes on meanwhile."""
    before = placed(teller.history)
    with broken(teller, ("clock_stepped", ("order", -5.0))) as (reach,):
        earlier = ids(teller)
        answer = teller.history.place()
        assert answer.status == 503
        assert reach.times > 0
        assert ids(teller) == earlier
        assert teller.history.http.get(f"/order/{before.order_id}").status_code == 200
    placed(teller.history)


def test_ids_wait_for_a_small_step(teller: Teller) -> None:
    """Back by 50 ms: ids wait for that time, and nobody notices."""
    with broken(teller, ("clock_stepped", ("order", -0.05))) as (reach,):
        trade(teller)
        assert reach.times > 0


def test_a_clock_that_is_ahead_makes_ids_of_the_future(teller: Teller) -> None:
    """Order's clock is ahead by two seconds: its ids are of a time to come; when it is right again
    ids are refused until that time has come, and then made."""
    with broken(teller, ("clock_stepped", ("order", 2.0))) as (reach,):
        trade(teller)
        assert reach.times > 0
        assert made_at_ms(max(ids(teller))) > wall_ms() + 500
    newest = max(ids(teller))
    assert placed(teller.history).order_id > newest
    teller.check()


def test_a_deadline_stored_by_a_wrong_clock_is_late(teller: Teller) -> None:
    """Goods' clock is ahead by seconds as a handler fails: its next try is late by so much, is
    looked for by the right clock, and comes."""
    lab, history = teller.lab, teller.history
    with lab.faults.clock_stepped("goods", 3.0), lab.faults.armed(RETURN, "refuse"):
        lab.faults.arm(FAIL, "refuse")
        assert history.place().refused
        wait_until(lambda: history.tables.rows("goods", DUE), "the message is kept")
        assert history.tables.rows("goods", DUE)[0]["next_try"] > wall_ms() + 1500
    teller.check()


def test_all_clocks_step_at_once(teller: Teller) -> None:
    """As when a laptop wakes: every process that writes by its clock is ahead by as much."""
    with broken(teller, ("clock_stepped", ("all", 2.0))) as (reach,):
        stepped = {rule.target for rule in FaultBook(teller.lab.home.faults).standing()}
        trade(teller)
        assert reach.times > 0
        assert made_at_ms(max(ids(teller))) > wall_ms() + 500
    assert stepped == {f"{name}-1" for name in WITH_STEPS}
    assert placed(teller.history)
    teller.check()


def test_a_wrong_clock_that_nobody_reads_is_not_reached(teller: Teller) -> None:
    """The clock of the payment log is wrong while nothing is paid: that proves nothing."""
    nothing = pytest.raises(NotReached, match="log-1 wrote nothing")
    with nothing, teller.lab.faults.clock_stepped("log", 60):
        placed(teller.history)
    web = pytest.raises(ValueError, match="no service with a database")
    with web, teller.lab.faults.clock_stepped("order-web", 1):
        pass


def test_a_zombie_comes_back_as_itself(teller: Teller) -> None:
    """An instance of order stands still past its leases, the other one goes on, and it comes back:
    as the same process, and under no worker number under which the other made ids meanwhile."""
    lab, history = teller.lab, teller.history
    with lab.faults.zombie("order") as reach:
        pid, before = pid_of(lab, "order-1"), ids(teller)
        trade(teller)
        lab.settle()
        assert reach.times > 0
        other_workers = workers(set(ids(teller)) - set(before))
    assert (pid_of(lab, "order-1"), pid_of(lab, "order-2")) == (pid, None)
    before = ids(teller)
    placed(history)
    own_workers = workers(set(ids(teller)) - set(before))
    assert other_workers
    assert own_workers
    assert own_workers.isdisjoint(other_workers)
    teller.check()


def test_a_zombie_that_nobody_replaced_is_not_reached(teller: Teller) -> None:
    """Nothing was to be done while it hung: its return proves nothing."""
    nothing = pytest.raises(NotReached, match="no other coupon did anything")
    with nothing, teller.lab.faults.zombie("coupon"):
        pass


def ids(teller: Teller) -> list[int]:
    """Every id that order has made."""
    return [row["id"] for row in teller.history.tables.rows("order", IDS)]


def workers(made: set[int]) -> set[int]:
    """The worker numbers under which ids were made."""
    return {number >> SEQUENCE_BITS & WORKERS - 1 for number in made}


def pid_of(lab: Lab, process: str) -> int | None:
    """The process that is called so; None where there is none."""
    named = {
        f"{row['name']}-{row['instance']}": row["pid"]
        for row in launch.status(lab.home)["services"]
    }
    return named.get(process)
