"""A whole shop in one process, to try what would take too long on the real one (彩排).

Steps, flows and event handlers are the shop's own. What lies around them is not: databases in
memory, clocks and messages that move when they are told to, and a platform that has the money.
"""

import sqlite3
from contextlib import closing
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

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
from labkit.shop import pay_messages as p
from labkit.shop.tables import TABLES
from labkit.shop.wiring import GROUPS, NAMES, SERVICES
from labkit.stack.setup.seeds import Seeds, files, seed

START = datetime(2026, 1, 5, 9, 0)


class InProcessShop:
    """The shop's services with the first data, and what they share.

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
        self._carried: set[int] = set()
        with TemporaryDirectory() as folder:
            seed(files(Path(folder)), Seeds(), START)
            self.services: dict[str, Any] = {
                name: _Service(self, name, Path(folder) / f"{name}.sqlite") for name in TABLES
            }

    def keep(self) -> None:
        """Remember how everything is now."""
        for service in self.services.values():
            service.query("SAVEPOINT kept")

    def restore(self) -> None:
        """Make everything as it was when `keep` was called, but for the wall clock."""
        self.now = START
        self.platform.refunds.clear()
        self._carried.clear()
        for service in self.services.values():
            service.query("ROLLBACK TO kept")

    async def carry(self, *, newest_first: bool = False) -> int:
        """Bring each message that was not carried yet to each group that must have it.

        Returns:
            How many messages there were.
        """
        found = [
            row
            for service in self.services.values()
            for row in service.query("SELECT * FROM trade_mq_producer")
            if row["event_id"] not in self._carried
        ]
        for row in sorted(found, key=itemgetter("event_id"), reverse=newest_first):
            self._carried.add(row["event_id"])
            for group in row["groups"].split(","):
                await self.services[group].hear(row)
        return len(found)


class _Service:
    """One service as its flows see it, on a database in memory."""

    def __init__(self, shop: InProcessShop, name: str, seeds: Path) -> None:
        self._shop, self._wired = shop, SERVICES[name]
        self._connection = open_engine("sqlite://").connect()
        self._write_outbox = outbox.writer(GROUPS)
        self.settings, self.platform = Settings(), shop.platform
        self.platform_key = shop.key.public_key()
        self._database = cast(sqlite3.Connection, self._connection.connection.dbapi_connection)
        with closing(sqlite3.connect(seeds)) as seeded:
            seeded.backup(self._database)
        self._connection.begin()  # and never ended, so that all can be taken back

    def __getattr__(self, name: str) -> "_Others":
        contract = self._wired.calls.get(name)
        if contract is None:
            raise AttributeError(name)
        return _Others(self._shop.services[NAMES[contract]])

    async def run(self, step: Step[Any, Any], command: Any) -> Any:
        """Run a step; what it wrote stays until it is taken back."""
        shop = self._shop
        tx = Transaction(self._connection, shop.now, shop.wall_ms, shop.ids, self.settings)
        answer = step(tx, command)
        self._write_outbox(tx)
        return answer

    async def answer(self, method: str, command: Any) -> Any:
        """Do what another service asks for."""
        function = self._wired.methods[method]
        if isinstance(function, Flow):
            return await function.function(self, command)
        return await self.run(function, command)

    def query(self, sql: str) -> list[sqlite3.Row]:
        """The rows that a query finds."""
        cursor = self._database.cursor()
        cursor.row_factory = sqlite3.Row
        return list(cursor.execute(sql))

    async def hear(self, row: sqlite3.Row) -> None:
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
    """Nobody else makes ids here."""

    worker = 0

    def reserve(self, until_ms: int) -> int:
        return until_ms


class _Others:
    """Another service, as a caller knows it."""

    def __init__(self, service: _Service) -> None:
        self._service = service

    def __getattr__(self, method: str) -> Any:
        return lambda command: self._service.answer(method, command)


class _Platform:
    """The platform: it has the money of every trade, and gives it back once for each refund."""

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
