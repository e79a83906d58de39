"""The payment platform for tests: its steps on a database in memory, or all of it, served."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from sqlalchemy import Engine

from labkit.home import Home
from labkit.payment_api import keys
from labkit.payment_api.http import HttpPoster
from labkit.payment_api.signing import read_form
from labkit.payment_platform import notices, process, trades
from labkit.payment_platform.api import Api
from labkit.payment_platform.messages import CashierTrade, OpenTrade
from labkit.payment_platform.tables import PLATFORM_TABLES, metadata
from labkit.runtime.clock import LabClock, wall_ms
from labkit.runtime.db.engines import open_engine
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.registry.files import FolderRegistry, ReservedFile
from labkit.runtime.registry.ids import IdMaker
from labkit.runtime.registry.leases import ReservingLease
from labkit.runtime.steps import Step
from labkit.settings import Settings
from labkit.shop.pay.messages import CreateTrade
from labkit.web.platform_client import PlatformClient

NOON = datetime(2026, 1, 1, 12)
MINUTE = timedelta(minutes=1)
AWAY = "http://127.0.0.1:9/callback"  # nobody listens there
#: Making keys takes a while, so all tests have the same.
PLATFORM_KEY, MERCHANT_KEY, FOREIGN_KEY = keys.new(), keys.new(), keys.new()

Rows = dict[str, list[dict[str, Any]]]


def rows_of(engine: Engine) -> Rows:
    """All rows of all the platform's tables."""
    with engine.begin() as connection:
        return {
            table.name: [dict(row._mapping) for row in connection.execute(table.select())]
            for table in PLATFORM_TABLES
        }


def rows_at(home: Home) -> Rows:
    """The same of a home's database, from outside."""
    engine = open_engine(home.database_url("platform"), "BEGIN")
    try:
        return rows_of(engine)
    finally:
        engine.dispose()


class Bank:
    """The platform's database in memory, with a lab clock that stands still at noon."""

    def __init__(self, folder: Path) -> None:
        self.engine = open_engine("sqlite://")
        self.clock = LabClock(folder / "clock.json")
        self.clock.stop(NOON)
        self._ids = IdMaker(ReservingLease(ReservedFile(folder / "0.reserved"), 0, 60_000), wall_ms)
        with self.engine.begin() as connection:
            metadata.create_all(connection)

    def run(self, step: Step[Any, Any], command: Any) -> Any:
        """Run a step and commit, notices included."""
        with self.engine.begin() as connection:
            tx = Transaction(connection, self.clock.now(), wall_ms(), self._ids, Settings())
            answer = step(tx, command)
            notices.write(tx)
        return answer

    def rows(self) -> Rows:
        """All rows of all tables."""
        return rows_of(self.engine)

    def open(self, number: int = 1, amount: int = 5000) -> CashierTrade:
        """Open a trade that can be paid for a minute."""
        trade: CashierTrade = self.run(trades.create_trade, asked(self.clock, number, amount)).data
        return trade


def asked(clock: LabClock, number: int = 1, amount: int = 5000) -> OpenTrade:
    """Return the request for a trade that can be paid for a minute."""
    return OpenTrade(
        out_trade_no=number,
        token=f"token-{number}",
        subject="华为P30",
        total_amount=amount,
        time_expire=clock.now() + MINUTE,
        notify_url=AWAY,
    )


@dataclass
class Merchant:
    """A merchant: a web server that keeps every notice and answers as it is told to."""

    answers: list[bytes] = field(default_factory=list)  # then `success` for ever
    notices: list[dict[str, str]] = field(default_factory=list)
    hangs: bool = False
    url: str = ""

    def numbers(self) -> list[int]:
        """The numbers of the trades that were told of, in the order of their arrival."""
        return [int(params["out_trade_no"]) for params in self.notices]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
                self.notices.append(read_form(await reader.readexactly(int(length))))
                if self.hangs:
                    await asyncio.Event().wait()
                answer = self.answers.pop(0) if self.answers else b"200 success"
                status, _, body = answer.partition(b" ")
                writer.write(
                    b"HTTP/1.1 %s x\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@asynccontextmanager
async def listening(merchant: Merchant) -> AsyncIterator[Merchant]:
    """A merchant that listens."""
    server = await asyncio.start_server(merchant.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    merchant.url = f"http://{host}:{port}/pay/callback"
    try:
        yield merchant
    finally:
        server.close()


@dataclass
class Served:
    """A platform that runs, the merchant's client for it, and anybody's."""

    home: Home
    api: Api
    client: PlatformClient
    http: httpx.AsyncClient
    told_at: str

    @property
    def clock(self) -> LabClock:
        """The lab clock, from outside."""
        return LabClock(self.home.clock_file)

    def client_of(self, notify_url: str = AWAY, seconds: float = 10) -> PlatformClient:
        """Another client, which is told elsewhere or waits no longer."""
        return _client(self.api.url, notify_url, seconds)

    def asked(self, number: int = 1, amount: int = 5000) -> CreateTrade:
        """Send the shop's request."""
        return CreateTrade(
            order_id=number + 100,
            pay_id=number,
            subject="华为P30",
            total_amount=amount,
            time_expire=self.clock.now() + MINUTE,
        )


def make_home(folder: Path) -> Home:
    """A home with keys, the platform's database, and a lab clock that stands still."""
    home = Home(folder / "home").make()
    home.keys.mkdir(exist_ok=True)
    for name, key in ((keys.PLATFORM, PLATFORM_KEY), (keys.MERCHANT, MERCHANT_KEY)):
        keys.write(home.keys, name, key)
    engine = open_engine(home.database_url("platform"))
    with engine.begin() as connection:
        metadata.create_all(connection)
    engine.dispose()
    LabClock(home.clock_file).stop(NOON)
    return home


@asynccontextmanager
async def served(home: Home, notify_url: str = AWAY) -> AsyncIterator[Served]:
    """The platform in this process, on a port of its own.

    Args:
        home: as `make_home` made it.
        notify_url: which the client gives.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    url = "http://{}:{}".format(*listener.getsockname())
    api = process.assemble(home, Settings(), FolderRegistry(home.registry), url, 1)
    telling = asyncio.create_task(api.notifier.run())
    config = uvicorn.Config(
        process.make_app(api), lifespan="off", log_level="warning", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    client = _client(url, notify_url, 10)
    try:
        async with httpx.AsyncClient(trust_env=False, base_url=url, timeout=20) as http:
            yield Served(home, api, client, http, notify_url)
    finally:
        await client.close()
        telling.cancel()
        server.should_exit = True
        await serving
        await asyncio.to_thread(api.database.close)


def _client(url: str, notify_url: str, seconds: float) -> PlatformClient:
    public = PLATFORM_KEY.public_key()
    return PlatformClient(
        url, keys.APP_ID, MERCHANT_KEY, public, notify_url, HttpPoster(8, seconds)
    )
