"""One line for each same trouble: when it begins, at growing intervals, and when it has ended."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from labkit.runtime import logs
from labkit.runtime.logs import CalmHandler
from labkit.stack.supervisor import logfiles
from tests.support.small_disk import fill, on_a_small_disk


class Log:
    """A logger whose handler's time is moved by hand.

    Attributes:
        now: seconds.
        logger: to log with.
        handler: to tick.
    """

    def __init__(self, file: Path) -> None:
        self.now = 0.0
        self._file = file
        self._descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.handler = CalmHandler(self._descriptor, ticking=False, now=lambda: self.now)
        self.logger = logging.Logger("labkit.runtime.messaging.relay")
        self.logger.addHandler(self.handler)

    def lines(self) -> list[str]:
        return self._file.read_text().splitlines()

    def close(self) -> None:
        os.close(self._descriptor)

    def pass_time(self, seconds: float, meeting: str = "", step: float = 0.25) -> None:
        """Let time pass, in which something may be met again and again."""
        end = self.now + seconds
        while self.now < end:
            self.now += step
            if meeting:
                self.logger.warning(meeting)
            self.handler.tick()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = Log(tmp_path / "order-1.log")
    yield log
    log.close()


def test_an_hour_of_the_same(log: Log) -> None:
    """Fourteen thousand times the same is a handful of lines, and the last counts them all."""
    log.pass_time(3600, "the database is away")
    log.pass_time(20)
    lines = log.lines()
    assert len(lines) < 15, lines
    assert "WARNING labkit.runtime.messaging.relay: the database is away" in lines[0]
    assert "over: the database is away (came 14400 times since " in lines[-1]
    assert sum(len(line) for line in lines) < 2_000


def test_the_intervals_grow_and_each_line_says_how_many_came(log: Log) -> None:
    """Told at once, after 10 s, 20 s more, 40 s more."""
    texts = []
    while len(texts) < 4:
        log.pass_time(0.25, "no broker answers")
        if len(log.lines()) > len(texts):
            texts.append(log.now)
    assert texts == [0.25, 10.25, 30.25, 70.25]
    assert "no broker answers (80 more, 121 since " in log.lines()[2]


def test_what_differs_in_numbers_alone_is_the_same_trouble(log: Log) -> None:
    """An event's id, a port, a count; another cause is another trouble."""
    for number in range(100):
        log.logger.warning("%d events of order wait: port %d", number, 40_000 + number)
    log.logger.warning("1 events of order wait: KafkaTimeout")
    assert len(log.lines()) == 2


def test_it_begins_again(log: Log) -> None:
    """A problem that had ended is logged again when it comes again; a single one needs no end."""
    for _ in range(2):
        log.logger.error("goods is away")
        log.pass_time(30)
    assert [line.rpartition(": ")[2] for line in log.lines()] == ["goods is away"] * 2


def test_a_defect_has_its_traceback_once(log: Log) -> None:
    """Where it is, is told at the first time; not at each restart of the trouble."""
    for _ in range(3):
        for _ in range(20):
            _log_a_defect(log.logger)
        log.pass_time(30)
    assert sum("ZeroDivisionError" in line and "again: " in line for line in log.lines()) == 6
    assert log.lines().count("Traceback (most recent call last):") == 1


def test_a_database_that_is_away_is_one_line(log: Log) -> None:
    """Neither a traceback nor SQLAlchemy's statement, values and link; as an argument, too."""
    error = _away()
    log.logger.warning("retries of goods pause: %s", error)
    try:
        raise error
    except DBAPIError:
        log.logger.exception("the relay of order will look again")
    away = "OperationalError: unable to open database file"
    assert [line.partition("relay: ")[2] for line in log.lines()] == [
        f"retries of goods pause: {away}",
        f"the relay of order will look again: {away}",
    ]


def test_a_thousand_different_troubles_are_bounded(log: Log) -> None:
    """Texts that never repeat are told apart up to a number, and then by who says them."""
    for number in range(5_000):
        log.logger.warning("%s", "x" * number)
    assert len(log.lines()) <= logs._MAX_TROUBLES + 1
    assert max(map(len, log.lines())) < 1_200


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is full")
def test_a_log_that_cannot_be_written_costs_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """On a full disk a line is lost, and nothing is said about that anywhere else."""
    log = Log(Path("/dev/full"))
    log.pass_time(100, "no room")
    _log_a_defect(log.logger)
    log.close()
    assert capfd.readouterr() == ("", "")


@on_a_small_disk
def test_what_began_on_a_full_disk_is_told_when_there_is_room(disk: Path) -> None:
    """With its count, at once when it comes again; its end is told then, if it does not."""
    log = Log(disk / "order-1.log")
    filled = fill(disk)
    log.pass_time(5, "no room", step=1)
    filled.unlink()
    log.logger.warning("no room")
    log.pass_time(20)
    texts = [line.partition("no room")[2] for line in log.lines()]
    assert [line.partition(" since")[0] for line in texts] == [" (5 more, 6", " (came 6 times"]
    log.close()


def test_the_end_is_told_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread sees to it, for as long as there is a trouble."""
    monkeypatch.setattr(logs, "_QUIET_S", 0.0)
    file = (tmp_path / "log").open("ab")
    handler = CalmHandler(file.fileno())
    for _ in range(2):
        handler.handle(logging.makeLogRecord({"msg": "away", "levelname": "WARNING"}))
    assert handler._ticker
    handler._ticker.join()
    assert "over: away (came 2 times" in (tmp_path / "log").read_text()
    file.close()


def test_a_file_that_has_grown_is_cut(tmp_path: Path) -> None:
    """A writer that holds it open writes on at its end; the last lines are there, each whole."""
    file = tmp_path / "broker-1.log"
    with file.open("ab", buffering=0) as writer:
        for number in range(40_000):
            writer.write(b"line %020d\n" % number)
        logfiles.shorten(tmp_path)
        writer.write(b"the next\n")
    lines = file.read_text().splitlines()
    assert file.stat().st_size <= logfiles.KEPT_BYTES + 100
    assert lines[-2:] == [f"line {39_999:020}", "the next"]
    assert all(len(line) == 25 for line in lines[:-1])


def test_a_short_file_stays(tmp_path: Path) -> None:
    """A log that has not grown too long is not touched."""
    (tmp_path / "order-1.log").write_text("a line\n")
    logfiles.shorten(tmp_path)
    assert (tmp_path / "order-1.log").read_text() == "a line\n"


def _log_a_defect(logger: logging.Logger) -> None:
    try:
        _ = 1 // 0
    except ZeroDivisionError:
        logger.exception("the relay will look again")


def _away() -> DBAPIError:
    engine = create_engine("sqlite:////nowhere/at/all.sqlite")
    with pytest.raises(DBAPIError) as raised, engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    return raised.value
