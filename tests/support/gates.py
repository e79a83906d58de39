"""Flows of the pay service, stopped before each step and on both ways to the platform and back.

A test lets one of them go on at a time, so that any question can be overtaken by any other.
"""

from collections.abc import Callable, Coroutine, Generator
from typing import Any

from labkit.payment_api.trade_status import TradeStatus
from labkit.runtime.errors import Unknown
from labkit.runtime.steps import Step
from labkit.shop.pay import flows, polling, retries
from labkit.shop.pay import messages as p
from labkit.shop.states import PaymentState, RefundState
from tests.support.payworld import PayWorld


class _Gate:
    """Where a flow stops until it is let through."""

    def __await__(self) -> Generator[None]:
        yield


class Actor:
    """A flow that goes on to its next gate when it is told to.

    Attributes:
        steps: how often it went on.
        request: what it has asked the platform and was not evaluated there yet.
        answer: what the platform said last, on its way or arrived.
        result: of the flow, once it has ended.
        is_over: whether it has.
        is_cut_off: whether answers of the platform are lost.
    """

    def __init__(
        self, world: PayWorld, flow: Callable[["Actor"], Coroutine[Any, Any, Any]]
    ) -> None:
        self._world = world
        self.steps, self.is_over, self.is_cut_off = 0, False, False
        self.request: tuple[str, Any] | None = None
        self.answer: Any = None
        self.result: Any = None
        self.settings, self.platform_key = world.shop.settings, world.shop.platform_key
        self.orders, self.goods = world.shop.orders, world.shop.goods
        self.platform = _Platform(self)
        self._flow = flow(self)
        self.go_on()

    def go_on(self) -> None:
        """Run to the next gate, or to the end."""
        self.steps += 1
        try:
            self._flow.send(None)
        except StopIteration as end:
            self.is_over, self.result = True, end.value

    def die(self) -> None:
        """Never go on; what it asked the platform may still arrive there."""
        self._flow.close()

    async def run(self, step: Step[Any, Any], command: Any) -> Any:
        """Run a step on the pay database, once it is let through."""
        await _Gate()
        return self._world.run("pay", step, command)

    async def ask(self, method: str, command: Any) -> Any:
        """Ask the platform: the question takes its time, and so does the answer."""
        self.request = (method, command)
        await _Gate()
        self.answer = await getattr(self._world.shop.platform, method)(command)
        self.request = None
        await _Gate()
        if self.is_cut_off:
            raise Unknown("the answer was lost")
        return self.answer


class _Platform:
    """The platform's contract, with a gate on each way."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor

    def __getattr__(self, method: str) -> Any:
        return lambda command: self._actor.ask(method, command)


class Meeting:
    """One order whose payment is being opened, and all that meets over it.

    Args:
        world: with its databases.
        who: names of what meets: `create`, `check`, `second check`, `cancel`, `pay`, `callback`,
            `give up`, `loss` (of the answers to the checks that are under way).

    Attributes:
        left: the names of those who have something to do still.
    """

    def __init__(self, world: PayWorld, who: tuple[str, ...]) -> None:
        self._world = world
        for store in world.stores.values():
            store.wait_by_the_wall(0.001)  # a millisecond has but so many ids
        self.order_id = world.place()
        self._create = Actor(world, self._open)
        self._create.go_on()  # the payment is saved
        self._row = world.stores["pay"].row("trade_pay", order_id=self.order_id)
        self.pay_id = self._row["pay_id"]
        self._checks = {name: Actor(world, _check) for name in who if "check" in name}
        self._actors = {"create": self._create, **self._checks}
        self.left = list(who)

    async def _open(self, actor: Actor) -> Any:
        return await flows.create_payment(actor, p.CreatePayment(order_id=self.order_id))

    def let(self, name: str) -> None:
        """Let somebody go on by one gate."""
        if name not in self._actors:
            self._befall(name)
            self.left.remove(name)
            return
        actor = self._actors[name]
        if name in self._checks and actor.steps == 1:
            self._world.stores["pay"].wait_by_the_wall(0.01)  # all is due
        actor.go_on()
        if actor.is_over:
            self.left.remove(name)
        if name == "create" and actor.is_over and actor.result.success:
            assert self.row["is_paid"] == PaymentState.OPEN, (
                "a cashier is named for what is not open"
            )

    def _befall(self, name: str) -> None:
        if name == "cancel":
            self._world.cancel(self.order_id)
            self._world.deliver(self._world.undelivered())
        elif name == "pay" and self.trade:
            self._world.press(self.pay_id)
        elif name == "callback":
            self._world.call_back(self.pay_id)
        elif name == "loss":
            for check in self._checks.values():
                check.is_cut_off = check.steps > 1
        elif name == "give up":
            self.by_hand("give_up")

    def by_hand(self, verb: str) -> None:
        """Do by hand what a person does with the payment."""
        self._world.by_hand(verb, self.pay_id)

    @property
    def row(self) -> Any:
        """The payment."""
        return self._world.stores["pay"].row("trade_pay", pay_id=self.pay_id)

    @property
    def trade(self) -> str:
        """The state of its trade; empty where there is none."""
        rows = self._world.stores["platform"].rows("platform_trade", out_trade_no=self.pay_id)
        return rows[0]["trade_status"] if rows else ""

    def state(self) -> tuple[Any, ...]:
        """Return all that decides about what comes."""
        row = self.row
        turn = row["next_check"] and row["next_check"] <= self._world.stores["pay"].wall_ms()
        payment = (row["is_paid"], turn, row["tries"], row["last_error"], self.trade)
        actors = [
            (actor.steps, actor.is_cut_off, actor.answer and actor.answer.data.trade_status)
            for actor in self._actors.values()
        ]
        return (*self.left, *payment, *actors)

    def is_known(self) -> bool:
        """Return True if what may be paid at the platform is asked about, known or given up; and
        nobody asks about what is paid."""
        row = self.row
        is_quiet = row["next_check"] is row["last_error"] is None
        if row["is_paid"] == PaymentState.PAID:
            return is_quiet
        ended = self.trade in ("", TradeStatus.TRADE_CLOSED) and row["is_paid"] != PaymentState.OPEN
        return ended or not is_quiet

    def crash(self) -> None:
        """The pay service dies; once all has settled, what it had asked arrives at last."""
        late = [asking.request for asking in self._actors.values() if asking.request]
        for actor in self._actors.values():
            actor.die()
        self._settle()
        for method, command in late:
            self._world.do(getattr(self._world.shop.platform, method)(command))
            assert self.is_known(), "a request that came late opened what nobody asks about"
        self._settle()

    def _settle(self) -> None:
        if "give up" not in self.left and self.row["next_check"] is None and self.row["last_error"]:
            self.by_hand("take_back")
        self._world.settle()

    def agrees(self) -> bool:
        """Return True if both sides agree where money is, and an ended order keeps none."""
        there, here = self._world.money()
        ended = self._world.stores["order"].row("trade_order", order_id=self.order_id)[
            "cancel_time"
        ]
        refunds = self._world.stores["pay"].rows("trade_refund", pay_id=self.pay_id)
        made = all(refund["state"] == RefundState.REFUNDED for refund in refunds)
        row = self.row
        closed = self.trade != TradeStatus.WAIT_BUYER_PAY and row["is_paid"] != PaymentState.OPEN
        quiet = (
            row["is_paid"] == PaymentState.OPEN or row["next_check"] is row["last_error"] is None
        )
        return there == here and made and quiet and (not ended or (there == 0 and closed))

    def forget(self) -> None:
        """Remove all that is left of it, for the next one."""
        for service, tables in {
            "pay": ("trade_pay", "trade_refund", "trade_operation"),
            "platform": ("platform_trade", "platform_refund", "platform_notice"),
        }.items():
            for table in tables:
                self._world.empty(service, table)


async def _check(actor: Actor) -> None:
    """Claim what is due, and ask about it."""
    for due in await actor.run(retries.claim_check, p.DueQuery(limit=1)):
        await polling._check(actor, due)


def explore(world: PayWorld, who: tuple[str, ...]) -> tuple[int, int]:
    """Let them meet in every order, and have the pay service die in every state.

    Returns:
        How many states there were, and how many ends.
    """
    states, ends, paths = set(), 0, [()]
    while paths:
        path = paths.pop()
        meeting = Meeting(world, who)
        for name in path:
            meeting.let(name)
            assert meeting.is_known(), path
        if (state := meeting.state()) not in states:
            states.add(state)
            ends += not meeting.left
            paths += [(*path, name) for name in meeting.left]
            meeting.crash()
            assert meeting.is_known(), (path, "crash")
            assert meeting.agrees(), (path, meeting.row, meeting.trade)
        meeting.forget()
    return len(states), ends
