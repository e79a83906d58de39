"""Days on which services of a lab go from release to release while customers buy."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import text

from labkit.lab import Lab
from labkit.shop.states import OrderStatus
from labkit.stack.releases.order import deploy_order
from labkit.stack.supervisor import launch
from labkit.waiting import wait_until
from tests.support.history import History
from tests.support.storyline import placed


def releases(lab: Lab) -> dict[str, list[str]]:
    """Service → the releases of its processes."""
    found: dict[str, list[str]] = {name: [] for name in deploy_order()}
    for process in launch.status(lab.home)["services"]:
        if process["name"] in found:
            found[process["name"]].append(str(process.get("release")))
    return found


def all_run(lab: Lab, release: str) -> bool:
    """One process of each service, and each of this release."""
    return releases(lab) == {name: [release] for name in deploy_order()}


@contextmanager
def bought(history: History) -> Iterator[None]:
    """Customers buy during a block, before it begins and when it is over, too."""
    with history.buying(clients=3, money_paid=1_00) as answers:
        wait_until(lambda: any(answer.placed for answer in answers), "orders are placed")
        yield
        before = len(answers)
        wait_until(
            lambda: any(answer.placed for answer in answers[before:]), "orders are placed still"
        )


def live_a_day(lab: Lab) -> None:
    """1.0 → 1.1 → 1.2 → 1.1 while customers buy, pay and return: nothing of it is lost or dead."""
    history = History(lab.home.folder)
    order, returned = placed(history, money_paid=5_000_00), []
    for number in ("1.1", "1.2", "1.1"):
        with bought(history):
            lab.upgrade(to=number)
            assert all_run(lab, number)
            assert history.give_back(order.order_id).status_code == 200
            returned.append(order.order_id)
            order = placed(history, money_paid=5_000_00)
    lab.settle(timeout=90)
    assert not len(lab.stuck(raw=True))
    check = lab.check()
    assert set(check["held"]) == {"yes"}, check[check["held"] != "yes"]
    with lab.database("order") as connection:
        query = text("SELECT order_id, order_status FROM trade_order")
        states = dict(connection.execute(query).tuples().all())
    told = {each.order_id for each in history.answers if each.placed}
    assert {states.get(each) for each in told - {*returned}} == {OrderStatus.CONFIRMED}
    assert {states.get(each) for each in returned} == {OrderStatus.RETURNED}
