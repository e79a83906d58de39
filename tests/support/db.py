"""A lab from outside, with nothing of labkit imported: its command line and its raw tables."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, inspect, text
from sqlalchemy.pool import NullPool

Row = dict[str, Any]


Done = subprocess.CompletedProcess[str]


def labkit(*words: str | Path, home: Path | None = None, **environment: str) -> Done:
    """Run a command of the command line, as `labkit("fault", "--clear", home=home)`."""
    command = [sys.executable, "-m", "labkit", *map(str, words)]
    if home:
        command += ["--home", str(home)]
    env = {**os.environ, "COLUMNS": "300", **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=240, env=env)


@cache  # a lab keeps its ports where it can; after it came up anew: ask_status.cache_clear()
def ask_status(home: Path) -> Row:
    """Return what `labkit status --json` prints."""
    done = labkit("status", "--json", home=home)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Tables:
    """The databases of a lab, read and written raw, by the URLs that `labkit status` prints."""

    def __init__(self, urls: Mapping[str, str | None]) -> None:
        self._engines = {
            name: create_engine(url, poolclass=NullPool) for name, url in urls.items() if url
        }

    def copy_to(self, folder: Path) -> "Tables":
        """Copies of the databases as they are now, for who wants to spoil them."""
        for name in self._engines:
            self.write(name, "VACUUM INTO :file", file=str(folder / name))
        return Tables({name: f"sqlite:///{folder / name}" for name in self._engines})

    def rows(self, database: str, sql: str, **values: Any) -> list[Row]:
        with self._engines[database].connect() as connection:
            return [_plain(row) for row in connection.execute(text(sql), values)]

    def write(self, database: str, sql: str, **values: Any) -> int:
        """Change a table behind the shop's back; returns how many rows changed."""
        with self._engines[database].connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            return connection.execute(text(sql), values).rowcount

    def everything(self) -> dict[str, list[Row]]:
        """Every row of every table, to see what changed, or that nothing did."""
        by_service = {}
        for name, engine in self._engines.items():
            with engine.connect() as connection:
                for table in inspect(connection).get_table_names():
                    rows = connection.execute(text(f"SELECT * FROM {table}"))
                    by_service[f"{name}.{table}"] = [_plain(row) for row in rows]
        return by_service


def _plain(row: Any) -> Row:
    """A row with its times as SQLite keeps them, whatever the database."""
    return {
        name: f"{value:%Y-%m-%d %H:%M:%S.%f}" if isinstance(value, datetime) else value
        for name, value in row._mapping.items()
    }
