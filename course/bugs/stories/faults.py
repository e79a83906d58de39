"""Stories of faults: a failing neighbour, a full disk, a held row, clashing ids, a new wiring."""

from contextlib import suppress

from course.bugs.stories.story import IS_DECIDED, story
from labkit.faults import NotReached, points
from labkit.matrix.context import ScenarioContext
from labkit.matrix.customer import Placed, Unexpected
from labkit.matrix.scenario import IS_CANCELLED, IS_PAID, IS_PLACED, Script
from labkit.ops.drive import ManualAction
from labkit.runtime.registry.ids import SEQUENCE_BITS, WORKERS
from tests.support import audited, full_disk, on_mysql, repeated_ids

_MANY = 10**6


@story("neighbour", "a message that fails again and again holds up no other of its service")
def neighbour(context: ScenarioContext) -> Script:
    """Let the user service fail to give a balance back, and add points all the same."""
    failing, paid = (context.customer.order(money_paid=1_00) for _ in range(2))
    url = context.customer.open_cashier(paid)
    home, fault = context.lab.home, "user.return_balance.before_commit"
    yield
    points.arm(home, fault, "refuse", _MANY)
    context.customer.cancel(failing)
    context.customer.wait_until(lambda: points.remaining(home, fault) < _MANY, "a message fails")
    context.customer.press(url)
    context.customer.wait_until(
        lambda: "user" in context.inbox_rows("paid", paid),
        "the user service adds points, though another message fails",
    )
    points.disarm(home, fault)
    for event_id, _status in {context.inbox_rows("order_cancel", failing).get("user", (0, 0))}:
        context.drive(f"user.{event_id}", ManualAction.RETRY)
    return {failing: IS_CANCELLED, paid: IS_PAID}


@story("two-id-makers", "the ids of two services that run at the same time bear two numbers")
def two_id_makers(context: ScenarioContext) -> Script:
    """Ids of two processes, which repeat where both make one in one millisecond as one worker."""
    yield
    order = context.customer.order(money_paid=1_00)
    context.customer.open_cashier(order)
    ids = [int(str(order.order_id)), int(context.customer.find_payment(order)["pay_id"])]
    workers = {number >> SEQUENCE_BITS & (WORKERS - 1) for number in ids}
    if len(workers) == 1:
        raise Unexpected(f"two services make ids as the same worker: {ids}, both by {workers}")
    return {order: IS_PLACED}


@story("disk-full", "a lab's disk is full for a while, and a service is killed meanwhile")
def disk_full(context: ScenarioContext) -> Script:  # noqa: ARG001  # it needs a lab on a small disk
    """Order on a lab of its own, which must neither die nor err."""
    yield
    _must_hold(full_disk.tell_on_a_small_disk())
    return {}


@story("slow-and-full", "goods is slow and can write to no file for a while, and then it can again")
def slow_and_full(context: ScenarioContext) -> Script:
    """Meet a service with two faults at once: it goes on when both are mended."""
    yield
    faults, placed = context.lab.faults, list[Placed]()
    with faults.slow("goods", 0.05):
        placed.append(context.customer.place_once(money_paid=1_00))
        with suppress(NotReached), faults.database_full("goods"):  # it may have ended before
            placed += [context.customer.place_once(money_paid=1_00) for _ in range(2)]

    def is_placed() -> bool:
        placed.append(context.customer.place_once(money_paid=1_00))
        return placed[-1].status == 200

    context.customer.wait_until(
        is_placed, "an order is placed after goods was slow and its disk full"
    )
    return dict.fromkeys(placed, IS_DECIDED) | {placed[-1]: IS_PLACED}


@story("rows-held", "on MySQL a row of the goods is held, and then one of the users")
def rows_held(context: ScenarioContext) -> Script:  # noqa: ARG001  # it needs a lab on MySQL
    """Hold a row on a lab of its own: a step that needs no held row goes on."""
    yield
    _must_hold(on_mysql.tell(on_mysql.hold_rows))
    return {}


@story("long-cause", "on MySQL a message comes whose error fits no column")
def long_cause(context: ScenarioContext) -> Script:  # noqa: ARG001  # it needs a lab on MySQL
    """Hold up a message on a lab of its own: those behind it are handled."""
    yield
    _must_hold(on_mysql.tell(on_mysql.send_long_cause))
    return {}


story("another-message", "a message is sent under an id under which a group has another one")(
    repeated_ids.another_message
)
story("clock-back-at-birth", "the clock of a process steps back before it has made an id")(
    repeated_ids.clock_back_at_birth
)
story("locked-while-sent", "a service's database is locked as its message comes")(
    audited.locked_while_sent
)
story("wired-later", "a message that an earlier release wrote is addressed to who came later")(
    audited.wired_later
)
story("wired-meanwhile", "a message is addressed to one more group while it is being settled")(
    audited.wired_meanwhile
)


def _must_hold(wrong: str) -> None:
    """Say what did not hold in a lab of the story's own."""
    if wrong:
        raise Unexpected(wrong)
