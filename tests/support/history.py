"""A history check that trusts nobody: what clients were answered, against what the tables say.

    history = History(home)                       # reads the opening stock, balances and coupons
    history.place(goods_number=2, key="k")        # one order, recorded with its answer
    history.place_all([{}] * 300, clients=300)    # many at once
    history.pay(order_id)                         # createPayment, and the cashier's button
    with history.buying(clients=4, coupon=True):  # load in the background, while the block breaks
        ...
    history.check()                               # after settling: AssertionError with all breaches

Prices, fees and totals are worked out here once more, the tables are read raw (comparison.py), and
each request bears a mark of its own in its address, so that an order is matched with what was asked
for by its content and not by an id that the shop made. Only the rules about what was told are those
of labkit itself (labkit/ops/invariants/answers.py), which tests/integration/test_history.py proves.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from labkit.ops.history import Exchange, RequestKind
from tests.support.comparison import CANCELLED, RETURNED, breaches
from tests.support.db import Row, Tables, ask_status
from tests.support.payment_client import Payer

ANSWERED_WITHIN = 10.0  # seconds; a request without an answer by then hangs: a breach


@dataclass(frozen=True)
class Answered:
    """One request, and what its client was answered; status 0 is a transport error."""

    body: Row
    key: str | None
    status: int = 0
    code: int = 0
    name: str = ""
    message: str = ""
    order_id: int | None = None

    @property
    def mark(self) -> str:
        return self.body["address"]

    @property
    def placed(self) -> bool:
        return self.status == 200

    @property
    def refused(self) -> bool:
        return 400 <= self.status < 500

    @property
    def hung(self) -> bool:
        return self.name.endswith("Timeout")


class History(Payer):
    """Places orders on a lab, pays them, and remembers every answer.

    Attributes:
        answers: what was answered to each request to place an order.
        ended: order id → the wishes to end it: HTTP status (0: no answer), state wished for.
        asked: what was told of orders otherwise.
        unpaid_may_expire: set it when the lab clock is advanced past the time to pay.
        paid_by_others: set it where somebody else presses the buttons too.
        goods, users, coupons: the rows at the opening, by id.
    """

    def __init__(self, home: Path) -> None:
        self.tables = Tables(ask_status(home)["databases"])
        self._endpoint = ask_status(home)["endpoints"]["order-web"]
        self.pay_web = ask_status(home)["endpoints"]["pay-web"]
        self._of_thread = threading.local()
        self._marks = count(1)
        self.begin()

    def begin(self) -> None:
        """Forget all, and read the opening amounts: at the start, and after a reset."""
        self.answers: list[Answered] = []
        self.ended: dict[int, list[tuple[int, int]]] = defaultdict(list)
        self.asked: list[Exchange] = []
        self.unpaid_may_expire = self.paid_by_others = False
        self.forget_payments()
        self.goods = self._opening("goods", "trade_goods", "goods_id")
        self.users = self._opening("user", "trade_user", "user_id")
        self.coupons = self._opening("coupon", "trade_coupon", "coupon_id")

    @property
    def http(self) -> httpx.Client:
        """A client of this thread's own: a pool that 300 threads share would be the bottleneck."""
        mine = self._of_thread
        if not hasattr(mine, "client"):
            mine.client = httpx.Client(
                base_url=self._endpoint, timeout=ANSWERED_WITHIN, trust_env=False, verify=False
            )
        return mine.client

    def body(self, *, coupon: bool = False, **wanted: Any) -> Row:
        """A request with figures of our own; any field can be given.

        Args:
            coupon: whether the user's first coupon is used, be it used already or not.
            wanted: fields of the request; the figures follow the goods and their number.
        """
        first = self.goods[min(self.goods)]
        goods = self.goods.get(int(wanted.get("goods_id", 0)), first)
        user_id = int(wanted.get("user_id", min(self.users)))
        amount = goods["goods_price"] * wanted.get("goods_number", 1)
        fee = 0 if amount > 100_00 else 10_00
        mine = [coupon_id for coupon_id, row in self.coupons.items() if row["user_id"] == user_id]
        body = {
            "user_id": user_id,
            "goods_id": goods["goods_id"],
            "goods_number": 1,
            "goods_price": goods["goods_price"],
            "shipping_fee": fee,
            "order_amount": amount + fee,
            "money_paid": 0,
            "coupon_id": mine[0] if coupon else None,
            "address": "北京",
            "consignee": "刘备",
        }
        body |= wanted
        return body | {"address": f"{body['address']} #{next(self._marks)}"}

    def place(self, *, key: str | None = None, **wanted: Any) -> Answered:
        """Place an order that nobody placed before."""
        return self.send(self.body(**wanted), key)

    def send(self, body: Row, key: str | None = None) -> Answered:
        """Send a request of `body`, again perhaps under its key, and remember the answer."""
        request = Answered(body, key)
        try:
            headers = {"Idempotency-Key": key} if key else {}
            response = self.http.post("/order/confirm", json=body, headers=headers)
        except httpx.TransportError as error:
            answered = replace(request, name=type(error).__name__)
        else:
            answered = read(request, response)
        self.answers.append(answered)
        return answered

    def send_all(
        self, bodies: Sequence[Row], clients: int, key: str | None = None
    ) -> list[Answered]:
        """Send many requests, so many at once, all under one key or each under none."""
        with ThreadPoolExecutor(clients) as pool:
            return list(pool.map(lambda body: self.send(body, key), bodies))

    def place_all(self, wanted: Sequence[Row], clients: int) -> list[Answered]:
        """Place many orders, so many at once."""
        return self.send_all([self.body(**order) for order in wanted], clients)

    @contextmanager
    def buying(self, clients: int, **wanted: Any) -> Iterator[list[Answered]]:
        """Keep so many clients placing orders while the block runs.

        The block begins after the first answer, and is handed the growing list of answers. Of a
        `count` each order takes the next.
        """
        stop, first = threading.Event(), threading.Event()

        def buy() -> None:
            while not stop.is_set():
                self.place(
                    **{
                        name: next(value) if isinstance(value, count) else value
                        for name, value in wanted.items()
                    }
                )
                first.set()

        with ThreadPoolExecutor(clients) as pool:
            running = [pool.submit(buy) for _ in range(clients)]
            try:
                assert first.wait(3 * ANSWERED_WITHIN), "no client was answered"
                yield self.answers
            finally:
                stop.set()
        for future in running:
            future.result()

    def cancel(self, order_id: int | str | None, user_id: int | None = None) -> httpx.Response:
        """Cancel an order, as the first user if nobody else is named."""
        return self._end(order_id, user_id, RequestKind.CANCEL, CANCELLED)

    def give_back(self, order_id: int | str | None, user_id: int | None = None) -> httpx.Response:
        """Return an order, as the first user if nobody else is named."""
        return self._end(order_id, user_id, RequestKind.RETURN, RETURNED)

    def find(self, order_id: int | str | None) -> httpx.Response:
        """Look an order up, and remember what was told."""
        response = self.http.get(f"/order/{order_id}")
        self._remember(RequestKind.FIND, order_id, {}, response)
        return response

    def _end(
        self, order_id: Any, user_id: int | None, kind: RequestKind, state: int
    ) -> httpx.Response:
        body = {"user_id": str(user_id or min(self.users))}
        status = 0
        try:
            response = self.http.post(f"/order/{order_id}/{kind}", json=body)
            status = response.status_code
        finally:
            self.ended[int(order_id)].append((status, state))
        self._remember(kind, order_id, body, response)
        return response

    def _remember(
        self, kind: RequestKind, order_id: Any, body: Row, response: httpx.Response
    ) -> None:
        texts = {name: response.json()[name] for name in ("code", "name", "message")}
        number, data = f"asked {len(self.asked)}", response.json()["data"] or {}
        answer = Exchange(
            kind, number, str(order_id), None, body, response.status_code, **texts, data=data
        )
        self.asked.append(answer)

    def exchanges(self) -> list[Exchange]:
        """Return all requests and answers, as labkit's own history would have them."""
        placed = [
            Exchange(
                RequestKind.PLACE,
                f"{number} {answer.mark}",
                "",
                answer.key,
                answer.body,
                answer.status,
                answer.code,
                answer.name,
                answer.message,
                {"order_id": answer.order_id},
            )
            for number, answer in enumerate(self.answers)
        ]
        return [*placed, *self.asked, *self.told_of_payments()]

    def check(self) -> Counter[int]:
        """Compare all answers with the tables, once all has settled.

        Returns:
            How many answers were looked at, by status.

        Raises:
            AssertionError: with what does not fit; or there was no answer to look at.
        """
        assert self.answers, "the history check looked at no answer: it proves nothing"
        broken = list(breaches(self))
        looked_at = Counter(answer.status for answer in self.answers)
        by_status = ", ".join(
            f"{number} × {status}" for status, number in sorted(looked_at.items())
        )
        print(f"history: {len(self.answers)} answers looked at ({by_status})")
        listed = "\n  ".join(broken[:20])
        assert not broken, f"{len(broken)} breaches after {by_status}:\n  {listed}"
        return looked_at

    def _opening(self, database: str, table: str, key: str) -> dict[int, Row]:
        return {row[key]: row for row in self.tables.rows(database, f"SELECT * FROM {table}")}


def read(request: Answered, response: httpx.Response) -> Answered:
    """Read an answer, which must be a `Result`, whatever it says, and never a 500."""
    result = response.json()
    assert response.status_code != 500, result
    assert set(result) == {"success", "code", "name", "message", "data"}, result
    assert result["success"] == (response.status_code == 200) == (result["code"] == 1), result
    order_id = (result["data"] or {}).get("order_id")
    assert order_id is None or isinstance(order_id, str), "64-bit ids are strings in answers"
    return replace(
        request,
        status=response.status_code,
        code=result["code"],
        name=result["name"],
        message=result["message"],
        order_id=order_id and int(order_id),
    )
