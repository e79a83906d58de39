"""The cashier alone: the platform's real routes and steps, a database file, and a real socket."""

import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from sqlalchemy import func, select, text

from labkit.payment_platform import notices
from labkit.payment_platform.cashier import add_routes
from labkit.payment_platform.messages import CashierToken, CashierTrade, OpenTrade
from labkit.payment_platform.tables import metadata, notice, trade
from labkit.payment_platform.trades import create_trade, give_up_trade, pay_trade
from labkit.payment_platform.wiring import PLATFORM
from labkit.runtime.clock import LabClock, wall_ms
from labkit.runtime.db.database import Database
from labkit.runtime.db.engines import open_engine
from labkit.runtime.db.job import TransactionDefaults
from labkit.runtime.injection.failpoints import Failpoints, FailpointStore
from labkit.runtime.registry.files import ReservedFile
from labkit.runtime.registry.ids import IdMaker
from labkit.runtime.registry.leases import ReservingLease
from labkit.runtime.wiring import failpoints_of
from labkit.settings import Settings
from labkit.waiting import wait_until
from tests.support.asking import submit

NOON = datetime(2026, 1, 1, 12)
PAY_WITHIN = timedelta(minutes=15)


class Till:
    """Opens trades and serves their pages, by a lab clock that stands still at noon.

    Args:
        folder: for the database, the clock and the faults.
    """

    def __init__(self, folder: Path) -> None:
        self.clock = LabClock(folder / "clock.json")
        self.clock.stop(NOON)
        self.faults = FailpointStore(folder)
        url = f"sqlite:///{folder / 'platform.sqlite'}"
        self._engine = open_engine(url)
        metadata.create_all(self._engine)
        self._database = Database(url, self._context(folder))
        self._numbers = count(1)
        app = FastAPI(openapi_url=None, redirect_slashes=False)
        add_routes(app, self._database)
        self._serve(app)

    def opened(self, subject: str = "华为P30 × 1", cents: int = 88_00) -> CashierTrade:
        """A trade that waits to be paid."""
        opening = OpenTrade(
            out_trade_no=next(self._numbers),
            token=secrets.token_urlsafe(32),
            subject=subject,
            total_amount=cents,
            time_expire=self.clock.now() + PAY_WITHIN,
            notify_url="http://shop",
        )
        return self._run(create_trade, opening)

    def paid(self, **wanted: Any) -> CashierTrade:
        """A trade that was paid."""
        return self._run(pay_trade, CashierToken(token=self.opened(**wanted).token))

    def closed(self, **wanted: Any) -> CashierTrade:
        """A trade that was given up."""
        return self._run(give_up_trade, CashierToken(token=self.opened(**wanted).token))

    def expired(self, **wanted: Any) -> CashierTrade:
        """A trade whose time is over, and nobody has closed it."""
        opened = self.opened(**wanted)
        self.clock.advance(PAY_WITHIN)
        return opened

    def address(self, target: CashierTrade, language: str = "") -> str:
        """Of the trade's page."""
        return f"{self.base}/cashier/{target.token}" + (f"?lang={language}" if language else "")

    def status(self, target: CashierTrade) -> str:
        """Return the state of a trade, by its row."""
        query = select(trade.c.trade_status).where(trade.c.token == target.token)
        with self._engine.begin() as connection:
            return connection.execute(query).scalar_one()

    def notice_count(self, target: CashierTrade) -> int:
        """How many notices the merchant will get about the trade: one for each time it ended."""
        query = select(func.count()).where(notice.c.out_trade_no == int(target.out_trade_no))
        with self._engine.begin() as connection:
            return connection.execute(query).scalar_one()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Keep the database from answering, for a block."""
        self._rename(trade.name, "gone")
        try:
            yield
        finally:
            self._rename("gone", trade.name)

    def close(self) -> None:
        """Stop serving."""
        self._server.should_exit = True
        self._thread.join()
        self._database.close()
        self._engine.dispose()

    def _rename(self, old: str, new: str) -> None:
        with self._engine.begin() as connection:
            connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))

    def _run(self, step: Any, command: Any) -> CashierTrade:
        result = submit(self._database, step, command).result(timeout=20)
        assert result.data, result.message
        return result.data

    def _context(self, folder: Path) -> TransactionDefaults:
        return TransactionDefaults(
            service=PLATFORM.name,
            clock=self.clock,
            settings=Settings(),
            ids=IdMaker(ReservingLease(ReservedFile(folder / "0.reserved"), 0, 60_000), wall_ms),
            failpoints=Failpoints(folder, "platform-1", failpoints_of(PLATFORM)),
            write_outbox=notices.write,
            committed=lambda _told: None,
        )

    def _serve(self, app: FastAPI) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._server = uvicorn.Server(
            uvicorn.Config(app, lifespan="off", log_level="warning", access_log=False)
        )
        self._thread = threading.Thread(target=self._server.run, args=([listener],), daemon=True)
        self._thread.start()
        wait_until(lambda: self._server.started, "the cashier is served")
