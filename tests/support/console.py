"""The console alone: its real routes on a real socket, over the databases of a home without a lab.

What is stuck there is written into the tables, and no service answers at any desk: enough for the
page and its protection. Whole labs are in `tests/browser/test_console_in_a_lab.py`.
"""

import socket
import threading
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from labkit.console.guard import Guard
from labkit.console.site import make_app
from labkit.console.watch import Watch
from labkit.home import Home
from labkit.ops.reader import DATABASES
from labkit.runtime.clock import wall_ms
from labkit.runtime.db.engines import open_engine
from labkit.runtime.db.tables import DEAD, WAITING, inbox
from labkit.settings import Settings
from labkit.waiting import wait_until
from tests.support.cashier_server import NOON
from tests.support.states import state_in_json

TOKEN = "t" * 43


class Console:
    """A console on a socket of its own.

    Args:
        folder: for its home.
    """

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "home").make()
        self.home.settings_file.write_text(Settings(tracing=1).model_dump_json())
        self.say()
        for service, tables in DATABASES.items():
            engine = open_engine(self.home.database_url(service))
            for table in tables:
                table.create(engine)
            engine.dispose()
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        self.base = f"http://127.0.0.1:{self.port}"
        self.address = f"{self.base}/?token={TOKEN}"
        self.guard = Guard(TOKEN, self.port)
        self._watch = Watch(self.home)
        app = make_app(self.home, self.guard, self._watch)
        config = uvicorn.Config(app, lifespan="off", log_level="warning", access_log=False)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), daemon=True)
        self._thread.start()
        wait_until(lambda: self._server.started, "the console is served")

    def say(self, **services: str) -> None:
        """Write into the supervisor's state which services are how, as `goods="down"`."""
        processes = [
            {"name": name, "instance": 1, "pid": None, "endpoint": None, "state": state}
            for name, state in services.items()
        ]
        self.home.state_file.write_text(state_in_json(services=processes))

    def stick(self, event_id: int, cause: str, *, dead: bool = False, **other: Any) -> None:
        """Put an event into the inbox of goods that could not be handled."""
        row = {
            "group_name": "goods",
            "event_id": event_id,
            "topic": "order_cancel",
            "tag": "x",
            "msg_key": "1001",
            "body": "{}",
            "body_hash": "h",
            "tries": 3,
            "add_time": NOON,
            "status": DEAD if dead else WAITING,
            "next_try": wall_ms() + 60_000,
            "last_error": cause,
            **other,
        }
        self._write(inbox.insert().values(**row))

    def await_shown(self, text: str) -> None:
        """Wait until a page shows a text: on a busy machine the first look takes long."""
        with httpx.Client(base_url=self.base, trust_env=False) as client:
            client.get("/", params={"token": TOKEN})
            wait_until(lambda: text in client.get("/").text, f"the page shows {text}", timeout=60)

    def free(self, event_id: int) -> None:
        """Settle one event."""
        self._write(inbox.delete().where(inbox.c.event_id == event_id))

    def clear(self) -> None:
        """Settle all events."""
        self._write(inbox.delete())

    def close(self) -> None:
        """Stop serving."""
        self._server.should_exit = True
        self._thread.join()
        self._watch.close()

    def _write(self, statement: Any) -> None:
        engine = open_engine(self.home.database_url("goods"))
        with engine.begin() as connection:
            connection.execute(statement)
        engine.dispose()
