"""Rolling upgrades: the processes of a service are replaced one by one, under load.

First all databases are expanded, and topics made that are new. Then, service by service and process
by process, one of the new release is started, answers a real call, and an old one may finish and
leave. When the last one of a service is new, its rows are migrated. On trouble the processes of the
old release come back. The way back is the same, without the migrations: what a release adds stays,
and the release before does not notice.

Whoever runs this may be killed at any moment: the next `upgrade` looks at what is there, and goes
on from it.
"""

import os
from collections.abc import Callable, Collection, Sequence

from labkit.files import take_lock
from labkit.home import Home
from labkit.stack.migrations.revisions import Phase, ReleaseNumber, parse_release
from labkit.stack.releases import topics
from labkit.stack.releases.draining import await_taken, newest_event
from labkit.stack.releases.order import deploy_order
from labkit.stack.releases.release import Release, installed
from labkit.stack.releases.schema import (
    STATEFUL,
    Schema,
    forget_migration,
    migrate,
    schema_of,
)
from labkit.stack.supervisor import control, health
from labkit.state import Phase as LabPhase
from labkit.state import ServiceStatus, label_of
from labkit.waiting import poll_until

_LOCK_S = 2.0
_HEALTHY_S, _AGAIN_S = 60.0, 0.05

Progress = Callable[[str], None]


class UpgradeFailed(RuntimeError):
    """A service could not be taken to a release, and is where it was; the message says why."""


class LabGone(RuntimeError):
    """The lab went down in the midst of an upgrade."""


def upgrade(
    home: Home,
    release: Release,
    on_progress: Progress,
    services: Collection[str] = (),
    *,
    contract: bool = False,
) -> None:
    """Take services of a lab that is up to a release.

    Args:
        home: where the lab lives.
        release: the release, unpacked in the home.
        on_progress: called with each thing that is done.
        services: their names; all if none is named.
        contract: then drop what only earlier releases use: there is no way back after it.

    Raises:
        UpgradeFailed: one cannot be taken there, and is where it was; those before it stay.
        RuntimeError: somebody else upgrades services of this lab.
        ValueError: there is no such service, or the release is not next to one that runs.
    """
    names = _ordered(services)
    lock = take_lock(home.upgrade_lock_file, _LOCK_S)
    if lock is None:
        raise RuntimeError(f"another upgrade of {home.folder} is under way: wait for its end")
    try:
        rolling = _Rolling(home, release, on_progress)
        rolling.run(names)
        if contract:
            rolling.contract(names)
    finally:
        os.close(lock)


class _Rolling:
    """Takes services to a release; the arguments are those of `upgrade`."""

    def __init__(self, home: Home, release: Release, on_progress: Progress) -> None:
        self._home = home
        self._release = release
        self._on_progress = on_progress
        self._birth = home.state().get("supervisor_birth")

    def run(self, names: Sequence[str]) -> None:
        """Take services to the release, in the order of a deployment."""
        for name in deploy_order():  # all of them: every database is expanded, and read by all
            self._check_neighbours(name)
        ahead = [name for name in names if self._is_ahead(name)]
        for name in ahead:
            self._check_way_back(name)
        if ahead:
            for name in reversed(names[names.index(ahead[0]) :]):
                if name in ahead:
                    self._roll(name)
                self._drain(name)  # also where an earlier try has rolled it back
        else:
            for name in STATEFUL:
                self._expand(name)
            topics.make(self._home, self._release)
        for name in names:
            if name not in ahead:
                self._roll(name)
                self._migrate(name)

    def contract(self, names: Sequence[str]) -> None:
        """Drop what only earlier releases use; every process is of this one by now."""
        for name in names:
            schema = self._schema(name)
            if schema and (revision := schema.own_revision(Phase.CONTRACT)):
                self._on_progress(f"{name}: contract its database ({revision})")
                migrate(self._home, self._release, {name: revision})

    # the database

    def _schema(self, name: str) -> Schema | None:
        return schema_of(self._home, name, self._release) if name in STATEFUL else None

    def _expand(self, name: str) -> None:
        schema = self._schema(name)
        if schema and schema.lacks:
            self._on_progress(f"{name}: expand its database ({schema.lacks})")
            migrate(self._home, self._release, {name: schema.lacks})
        elif schema and schema.complaint:
            raise UpgradeFailed(schema.complaint)

    def _migrate(self, name: str) -> None:
        schema = self._schema(name)
        if schema and (revision := schema.own_revision(Phase.MIGRATE)):
            self._on_progress(f"{name}: migrate its rows ({revision})")
            migrate(self._home, self._release, {name: revision})

    def _check_way_back(self, name: str) -> None:
        schema = self._schema(name)
        if schema and schema.complaint:
            raise UpgradeFailed(schema.complaint)

    # the processes

    def _roll(self, name: str) -> None:
        """Replace the processes of a service; on trouble, bring the old ones back."""
        old = [process for process in self._processes(name) if self._is_other(process)]
        if not old:
            self._note(name, self._release)
            return
        earlier = installed(self._home, str(old[0].get("release")))
        if name in STATEFUL:  # what the earlier release writes is to be migrated, again
            forget_migration(self._home, name, min(earlier, self._release, key=_number))
        try:
            self._replace(name, self._release)
        except LabGone:
            raise
        except (RuntimeError, OSError) as error:
            self._on_progress(f"{name}: back to {earlier.number}, because {error}")
            self._replace(name, earlier)
            text = f"{name} stays at release {earlier.number}: {error}"
            raise UpgradeFailed(text) from error
        self._note(name, self._release)

    def _replace(self, name: str, release: Release) -> None:
        """Replace the processes that are not of a release, one by one."""
        number = str(release.number)
        while old := [each for each in self._processes(name) if each.get("release") != number]:
            if len(self._of_release(name, number)) < self._wanted(name):
                self._on_progress(f"{name}: start one of release {number}")
                control.tell(self._home, "start", name=name, release=number)
            for each in self._of_release(name, number):  # also one that an earlier try has started
                self._await_answer(label_of(each))
            leaving = label_of(old[0])
            self._on_progress(f"{leaving}: finish and leave")
            control.tell(self._home, "retire", label=leaving)

    def _await_answer(self, label: str) -> None:
        """Wait until a process answers a real call; end it where it does not.

        Raises:
            RuntimeError: it does not answer; says why.
        """
        problem = ""

        def answers() -> bool:
            nonlocal problem
            problem = health.ask_one(self._home, label).problem
            return not problem

        if not poll_until(answers, _HEALTHY_S, _AGAIN_S):
            control.tell(self._home, "retire", label=label)
            raise RuntimeError(problem)

    def _drain(self, name: str) -> None:
        """Wait until others have handled what a service has told them by a later release."""
        if name in STATEFUL:
            self._on_progress(f"{name}: wait until others have taken what it told them")
            await_taken(self._home, name, newest_event(self._home, name))

    def _note(self, name: str, release: Release) -> None:
        control.tell(self._home, "note_release", name=name, release=str(release.number))

    # looking

    def _processes(self, name: str) -> list[ServiceStatus]:
        """Return the processes of a service.

        Raises:
            LabGone: the lab is another one than at the beginning, or goes down.
        """
        state = self._home.state()
        if state.get("phase") != LabPhase.UP or state.get("supervisor_birth") != self._birth:
            text = "the lab went down meanwhile"
            raise LabGone(f"{text}: labkit up, then run the same upgrade again")
        return [each for each in state["services"] if each["name"] == name]

    def _of_release(self, name: str, number: str) -> list[ServiceStatus]:
        return [each for each in self._processes(name) if each.get("release") == number]

    def _wanted(self, name: str) -> int:
        return self._home.state().get("instances", {}).get(name, 1)

    def _is_other(self, process: ServiceStatus) -> bool:
        return process.get("release") != str(self._release.number)

    def _releases(self, name: str) -> Sequence[ReleaseNumber]:
        return [parse_release(str(each.get("release"))) for each in self._processes(name)]

    def _is_ahead(self, name: str) -> bool:
        return max(self._releases(name), default=self._release.number) > self._release.number

    def _check_neighbours(self, name: str) -> None:
        for running in self._releases(name):
            if not running.is_next_to(self._release.number):
                between = "the releases between them" if running < self._release.number else "those"
                raise ValueError(
                    f"{name} is at release {running}, and {self._release.number} runs beside its "
                    f"neighbours only: go through {between} first"
                )


def _ordered(services: Collection[str]) -> list[str]:
    """Return services in the order of a deployment.

    Raises:
        ValueError: there is no such service; says which there are.
    """
    known = deploy_order()
    for name in services:
        if name not in known:
            raise ValueError(f"{name}: there is no such service; there are {', '.join(known)}")
    return [name for name in known if name in services or not services]


def _number(release: Release) -> ReleaseNumber:
    return release.number
