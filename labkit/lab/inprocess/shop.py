"""A whole shop in one process, to try what would take too long on the real one (彩排).

Steps, flows and event handlers are the shop's own. Their surroundings are replaced: databases in
memory, clocks and messages that the caller moves, and a platform at which every trade is paid.
"""

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar, cast

from labkit.payment_api import keys
from labkit.payment_api.trade_status import TradeStatus
from labkit.results import Result
from labkit.runtime.clock import wall_ms
from labkit.runtime.db.engines import open_engine
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.messaging import outbox
from labkit.runtime.messaging.inbox import Delivery, guarded
from labkit.runtime.registry.ids import IdMaker
from labkit.runtime.steps import Flow, Step
from labkit.settings import Settings
from labkit.shop.pay import messages as p
from labkit.shop.tables import TABLES
from labkit.shop.wiring import GROUPS, NAMES, SERVICES
from labkit.stack.setup.seeds import Seeds, files, seed

A = TypeVar("A")
C = TypeVar("C")

START = datetime(2026, 1, 5, 9, 0)


class InProcessShop:
    """The shop's services on the first data, with their clocks, ids and platform.

    Attributes:
        now: business time.
        wall_ms: the wall clock.
        key: the platform's private key.
        platform: the platform.
        services: name → service.
    """

    def __init__(self) -> None:
        self.now, self.wall_ms = START, wall_ms()
        self.key = keys.new()
        self.platform = _Platform()
        self.ids = IdMaker(_Lease(), lambda: self.wall_ms)
        self._delivered: set[int] = set()
        with TemporaryDirectory() as folder:
            seed(files(Path(folder)), Seeds(), START)
            self.services: dict[str, Any] = {
                name: _Service(self, name, Path(folder) / f"{name}.sqlite") for name in TABLES
            }

    def save(self) -> None:
        """Set the state to which `restore` goes back."""
        for service in self.services.values():
            service.query("SAVEPOINT saved")

    def restore(self) -> None:
        """Go back to the state of `save`, but for the wall clock."""
        self.now = START
        self.platform.refunds.clear()
        self._delivered.clear()
        for service in self.services.values():
            service.query("ROLLBACK TO saved")

    async def deliver(self, *, newest_first: bool = False) -> int:
        """Deliver each new message to each group that must have it.

        Returns:
            The number of messages.
        """
        messages = [
            row
            for service in self.services.values()
            for row in service.query("SELECT * FROM trade_mq_producer")
            if row["event_id"] not in self._delivered
        ]
        for row in sorted(messages, key=itemgetter("event_id"), reverse=newest_first):
            self._delivered.add(row["event_id"])
            for group in row["groups"].split(","):
                await self.services[group].handle(row)
        return len(messages)


class _Service:
    """One service as its flows see it, on a database in memory."""

    def __init__(self, shop: InProcessShop, name: str, seeds: Path) -> None:
        self._shop, self._wired = shop, SERVICES[name]
        self._connection = open_engine("sqlite://").connect()
        self._write_outbox = outbox.event_writer(GROUPS)
        self.settings, self.platform = Settings(), shop.platform
        self.platform_key = shop.key.public_key()
        self._database = cast(sqlite3.Connection, self._connection.connection.dbapi_connection)
        with closing(sqlite3.connect(seeds)) as seeded:
            seeded.backup(self._database)
        self._connection.begin()  # and never ended, so that all can be rolled back

    def __getattr__(self, name: str) -> "_Peer":
        contract = self._wired.calls.get(name)
        if contract is None:
            raise AttributeError(name)
        return _Peer(self._shop.services[NAMES[contract]])

    async def run(self, step: Step[C, A], command: C) -> A:
        """Run a step; its writes stay until `restore`."""
        shop = self._shop
        tx = Transaction(self._connection, shop.now, shop.wall_ms, shop.ids, self.settings)
        answer = step(tx, command)
        self._write_outbox(tx)
        return answer

    async def answer(self, method: str, command: object) -> object:
        """Answer a call of another service."""
        function = self._wired.methods[method]
        if isinstance(function, Flow):
            return await function.function(self, command)
        return await self.run(function, command)

    def query(self, sql: str) -> list[sqlite3.Row]:
        """Return the rows that a query selects."""
        cursor = self._database.cursor()
        cursor.row_factory = sqlite3.Row
        return list(cursor.execute(sql))

    async def handle(self, row: sqlite3.Row) -> None:
        """Handle a message, through the inbox."""
        event = next(handler for handler in self._wired.handlers if handler.topic == row["topic"])
        delivery = Delivery(
            group=self._wired.name,
            event_id=row["event_id"],
            topic=row["topic"],
            tag=row["tag"],
            key=row["msg_key"],
            body=row["body"],
        )
        await self.run(guarded(self._wired.handlers[event], event), delivery)


class _Lease:
    """A worker lease for the only process that makes ids here."""

    worker = 0

    def reserve(self, until_ms: int) -> int:
        return until_ms


class _Peer:
    """Another service, with its methods as a caller calls them."""

    def __init__(self, service: _Service) -> None:
        self._service = service

    def __getattr__(self, method: str) -> Callable[[object], Awaitable[object]]:
        return lambda command: self._service.answer(method, command)


class _Platform:
    """A platform at which every trade is paid; it makes each refund once."""

    def __init__(self) -> None:
        self.refunds: dict[int, int] = {}
        self._amounts: dict[int, int] = {}

    async def create_trade(self, command: p.CreateTrade) -> Result[p.TradeFound]:
        self._amounts[command.pay_id] = command.total_amount
        return self._trade(command.pay_id, TradeStatus.WAIT_BUYER_PAY)

    async def query_trade(self, query: p.AskTrade) -> Result[p.TradeFound]:
        return self._trade(query.pay_id, TradeStatus.TRADE_SUCCESS)

    close_trade = query_trade  # too late to close it

    async def refund_trade(self, command: p.RefundTrade) -> Result[p.TradeRefunded]:
        self.refunds[command.refund_id] = command.amount
        return Result[p.TradeRefunded].ok(
            p.TradeRefunded(
                pay_id=command.pay_id, refund_id=command.refund_id, amount=command.amount
            )
        )

    def _trade(self, pay_id: int, status: str) -> Result[p.TradeFound]:
        return Result[p.TradeFound].ok(
            p.TradeFound(
                pay_id=pay_id,
                trade_no="1",
                trade_status=status,
                total_amount=self._amounts[pay_id],
                cashier_url="",
            )
        )
