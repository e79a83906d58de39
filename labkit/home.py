"""The home: the one folder in which a lab lives, and where everything in it lies."""

import hashlib
import os
import re
import secrets
import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from labkit.files import broken, making_sense_of, read_object, write_whole
from labkit.settings import Settings
from labkit.state import LabState, is_state

#: Beside the clock file of a home: what its wall clock is tied to.
WALL_FILE = "wall.json"
#: What `labkit status` names; what does not exist is null.
ENDPOINTS = ("order-web", "pay-web", "platform", "console", "broker", "registry")
DATABASES = ("order", "goods", "coupon", "user", "pay", "log", "platform")
#: What a system puts into a folder that nobody uses.
_OF_THE_SYSTEM = {"lost+found", ".DS_Store"}
#: What a secret or a token may consist of: it travels in headers and in addresses.
_SECRET = re.compile(r"[A-Za-z0-9_-]+")
_SECRET_BYTES = 32


class NotAHome(ValueError):
    """A folder holds what no lab has put there; the message says what to do."""


@dataclass(frozen=True)
class SchemaNotes:
    """The notes of a home about its schemas on a MySQL server.

    Attributes:
        urls: service → URL of its schema, the password included.
        filled: whether all of them hold the first data, or what became of it.
        used: whether the lab uses them now; else each service has a file.
    """

    urls: Mapping[str, str] = field(default_factory=dict)
    filled: bool = False
    used: bool = False


class Home:
    """Paths of one lab; two homes never touch each other.

    Args:
        folder: where the lab lives; one that `make` makes is readable by its owner alone.
    """

    def __init__(self, folder: Path | str = ".lab") -> None:
        self.folder = Path(folder).absolute()
        self.databases = self.folder / "databases"
        self.schemas_file = self.folder / "schemas.json"
        self.registry = self.folder / "registry"
        self.consumers = self.folder / "consumers"  # those who want to be woken
        self.faults = self.folder / "faults"
        self.keys = self.folder / "keys"
        self.logs = self.folder / "logs"
        self.traces = self.folder / "traces"
        #: Releases of the shop that were unpacked, and which of them each service runs.
        self.releases = self.folder / "releases"
        self.releases_file = self.folder / "releases.json"
        self.state_file = self.folder / "lab.json"
        self.settings_file = self.folder / "settings.json"
        self.clock_file = self.folder / "clock.json"
        self.wall_file = self.folder / WALL_FILE
        self.secret_file = self.folder / "secret"
        #: What clients asked and were answered, where that is kept.
        self.history_file = self.folder / "history.jsonl"
        self.console_token_file = self.folder / "console-token"
        #: What a fault fills the disk with.
        self.filling_file = self.folder / "disk-full"
        #: Notes of what a fault broke, and how it is undone.
        self.standing = self.folder / "standing"
        self.lock_file = self.folder / "supervisor.lock"
        self.databases_lock_file = self.folder / "databases.lock"
        #: Held by whoever changes the databases as a whole, and by whoever upgrades services.
        self.migrations_lock_file = self.folder / "migrations.lock"
        self.upgrade_lock_file = self.folder / "upgrade.lock"

    def make(self) -> "Home":
        """Make the folders and the secret, where they are not there yet.

        Raises:
            NotAHome: the folder holds something, and is no lab's.
            OSError: the folder cannot be made or written (no permission, disk full).
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self.secret_file.exists():  # it comes first: what lies beside it is a lab's
            self._refuse_if_foreign()
            write_whole(self.secret_file, secrets.token_urlsafe(_SECRET_BYTES))
        own = (self.databases, self.registry, self.consumers, self.faults, self.logs, self.traces)
        for folder in own:
            if not folder.is_symlink():  # a fault has put it out of reach
                folder.mkdir(mode=0o700, exist_ok=True)
        return self

    def _refuse_if_foreign(self) -> None:
        draft = f"{self.secret_file.name}.*.draft"  # a killed `make` leaves it
        foreign = [
            path.name
            for path in self.folder.iterdir()
            if path.name not in _OF_THE_SYSTEM and not path.match(draft)
        ]
        if foreign:
            text = f"{self.folder} holds {min(foreign)} and is no lab's"
            raise NotAHome(f"{text}: name another home with --home")

    @property
    def option(self) -> str:
        """Return the option of a command that names this home, as it can be typed into a shell."""
        return f"--home {shlex.quote(str(self.folder))}"

    @property
    def secret(self) -> str:
        """Return the secret that calls between this lab's processes carry; others are refused.

        Raises:
            ValueError: somebody else wrote to its file; says which file, and what to do.
        """
        text = self.secret_file.read_bytes().decode(errors="replace")
        if not _SECRET.fullmatch(text):
            raise broken(self.secret_file)
        return text

    @property
    def mark(self) -> str:
        """Return the mark that tells this lab's data from another's, where they share a server."""
        return hashlib.sha256(self.secret.encode()).hexdigest()[:8]

    def settings(self) -> Settings:
        """Read the settings of the lab, as `labkit up` or `labkit init` wrote them down.

        Raises:
            ValueError: somebody else wrote to their file; says which file, and what to do.
        """
        with making_sense_of(self.settings_file):
            return Settings.from_file(self.settings_file.read_bytes())

    def keep_settings(self, settings: Settings) -> None:
        """Write the settings of the lab down."""
        write_whole(self.settings_file, settings.for_file())

    def console_token(self) -> str:
        """Return the token of the operator console; make one where none, or a spoilt one, is there.

        It outlives a restart, so that the page that an operator has open stays good.
        """
        with suppress(FileNotFoundError):
            text = self.console_token_file.read_bytes().decode(errors="replace")
            if _SECRET.fullmatch(text) and len(text) >= _SECRET_BYTES:
                return text
        token = secrets.token_urlsafe(_SECRET_BYTES)
        write_whole(self.console_token_file, token)
        return token

    def database_url(self, service: str) -> str:
        """Return the SQLAlchemy URL of a service's own database."""
        return self.schemas().get(service) or sqlite_url(self.databases, service)

    def schemas(self) -> Mapping[str, str]:
        """Map each service to the URL of its MySQL schema; empty where each has a file."""
        notes = self.schema_notes()
        return notes.urls if notes.used else {}

    def filled(self) -> bool:
        """Return True if all databases are there, with their first data or what became of it."""
        notes = self.schema_notes()
        if notes.used and notes.urls:
            return notes.filled
        files = (self.databases / f"{name}.sqlite" for name in DATABASES)
        return all(os.path.lexists(file) for file in files)  # one may be out of reach

    def schema_notes(self) -> SchemaNotes:
        """Read the notes about schemas on a MySQL server; blank ones where there are none."""
        with making_sense_of(self.schemas_file):
            return SchemaNotes(**(read_object(self.schemas_file) or {}))

    def state(self) -> LabState:
        """Read the state that the supervisor last wrote; empty where no lab ever ran.

        Raises:
            ValueError: somebody else wrote to it; says which file, and what to do.
        """
        state = read_object(self.state_file)
        if state is not None and not is_state(state, ENDPOINTS, DATABASES):
            raise broken(self.state_file)
        return cast(LabState, state or {})


def sqlite_url(folder: Path, service: str) -> str:
    """Return the SQLAlchemy URL of a service's SQLite file in a folder of any name.

    What means something in a URL (`?`, `#`, `%`) is escaped, as in a folder `what next?`.
    """
    # Half a second, which a command that opens no database need not wait.
    from sqlalchemy import URL

    url = URL.create("sqlite", database=str(folder / f"{service}.sqlite"))
    return url.render_as_string(hide_password=False)
