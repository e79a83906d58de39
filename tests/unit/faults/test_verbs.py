"""Faults as verbs: mended whatever happens, honest about what was met, and read from text."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from labkit.cli import base, breaking  # noqa: F401  # it registers
from labkit.cli.base import app
from labkit.faults import VERBS, Faults, NotReached, Reach
from labkit.faults.verb import verb
from labkit.home import Home
from labkit.runtime.injection.standing import FaultBook, FaultKind, StandingFault, StandingFaults


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home in which nothing runs."""
    return Home(tmp_path / "home").make()


@pytest.fixture
def faults(home: Home) -> Faults:
    """Its faults."""
    return Faults(home)


def meet_all(home: Home) -> None:
    """Meet every rule that stands, as a process of the lab would."""
    for rule in FaultBook(home.faults).standing():
        StandingFaults(home.faults).hit(rule)


def test_it_is_mended_and_then_not_reached(home: Home, faults: Faults) -> None:
    """A fault that nothing met is mended first, and then reported."""
    with pytest.raises(NotReached, match="slow: nobody asked goods"), faults.slow("goods", 1):
        assert len(FaultBook(home.faults).standing()) == 1
    assert FaultBook(home.faults).standing() == []


def test_an_exception_goes_through_and_all_is_mended(home: Home, faults: Faults) -> None:
    """An error in the block is what is raised, not that the fault was not reached."""
    with pytest.raises(KeyError, match="mine"), faults.slow("goods", 1), faults.late("paid", 1):
        raise KeyError("mine")
    assert FaultBook(home.faults).standing() == []


def test_verbs_are_nested(home: Home, faults: Faults) -> None:
    """Three at once, one of them twice; each counts for itself, and each is mended at its end."""
    with faults.slow("goods", 1) as outer, faults.cut("order", "goods") as cut:
        meet_all(home)
        with faults.slow("goods", 2) as inner, faults.duplicated("paid") as twice:
            meet_all(home)
        assert len(FaultBook(home.faults).standing()) == 3
    assert FaultBook(home.faults).standing() == []
    assert [fault.times for fault in (outer, cut, inner, twice)] == [2, 4, 1, 1]


def test_a_failpoint_says_how_often_it_acted(faults: Faults) -> None:
    """Never: also after it was disarmed, which leaves nothing that would act."""
    nothing = pytest.raises(NotReached, match=r"^armed: the failpoint goods")
    with nothing, faults.armed("goods.deduct_stock.before_commit", "refuse", 3) as reach:
        assert reach.times == 0
    assert reach.times == 0


@pytest.mark.parametrize(
    ("name", "texts", "arguments"),
    [
        ("slow", ["goods", "0.5"], ["goods", 0.5]),
        ("cut", ["order", "goods"], ["order", "goods"]),
        ("cut", ["order", "goods", "back", "refused"], ["order", "goods", "back", "refused"]),
        ("armed", ["x", "crash", "3"], ["x", "crash", 3]),
    ],
)
def test_arguments_are_read_from_text(name: str, texts: list[str], arguments: list[object]) -> None:
    """Words, numbers and choices, the last ones left out where they may be."""
    assert VERBS[name].parse(texts) == arguments


@pytest.mark.parametrize(
    ("name", "texts", "says"),
    [
        ("slow", ["goods"], "write: labkit break slow SERVICE SECONDS"),
        ("slow", ["goods", "1", "2"], "write: labkit break slow SERVICE SECONDS"),
        ("slow", ["goods", "long"], "seconds is a number, not 'long'"),
        ("armed", ["x", "crash", "1.5"], "times is a whole number, not '1.5'"),
        ("cut", ["a", "b", "up"], "way is one of both, there, back, not 'up'"),
    ],
)
def test_what_cannot_be_read_is_said(name: str, texts: list[str], says: str) -> None:
    """One line that says how it is written."""
    with pytest.raises(ValueError, match="^" + says.replace("|", r"\|")):
        VERBS[name].parse(texts)


@pytest.mark.parametrize("seconds", [-1, 3601, float("nan"), float("inf")])
def test_seconds_are_some_and_not_for_ever(faults: Faults, seconds: float) -> None:
    """No fault lasts longer than an hour a time, or for no number of seconds."""
    with pytest.raises(ValueError, match="seconds are 0 to 3600"), faults.slow("goods", seconds):
        pass


def test_a_verb_needs_a_sentence_and_arguments_with_types() -> None:
    """The command line shows what the declaration says, and nothing else."""

    class Mine:
        @verb
        def shaken(self, table: str, often: int = 2) -> Iterator[Reach]:
            """A table is shaken.

            Args:
                table: which.
                often: how often.
            """
            yield Reach(lambda: len(table) * often, "there is no table")

    removed = VERBS.pop("shaken")
    assert (removed.usage, removed.summary) == ("shaken TABLE [OFTEN]", "A table is shaken.")
    with Mine().shaken("abc") as reach:
        assert reach.times == 6
    with pytest.raises(NotReached, match="shaken: there is no table"), Mine().shaken(""):
        pass


def command(*words: str | Path) -> tuple[int, str]:
    """Exit code and output of the command line, or what it is refused with."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    return done.exit_code, f"{done.output}{done.exception or ''}"


def test_the_command_lists_every_fault_with_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """`labkit break` alone; nothing of it is taken for the terminal's own marks."""
    monkeypatch.setattr(base.console, "width", 300)  # so that no line is folded
    code, output = command("break")
    assert code == 0
    for registered in VERBS.values():
        assert f" {registered.usage} " in output


def test_the_command_refuses_what_is_no_fault_and_a_home_without_a_lab(home: Home) -> None:
    """One line says which faults there are, or how a lab is started."""
    code, output = command("break", "cutt", "order", "goods", "--home", home.folder)
    assert code == 1
    assert output.startswith("cutt: there is no such fault; there are ")
    code, output = command("break", "slow", "goods", "1", "--home", home.folder)
    assert (code, "no lab is up in" in output) == (1, True)


def test_clear_takes_up_what_a_killed_command_left(home: Home) -> None:
    """A command that is killed with −9 mends nothing; `labkit fault --clear` does."""
    FaultBook(home.faults).add(StandingFault(FaultKind.SLOW, "goods", 3600))
    assert command("fault", "--clear", "--home", home.folder)[0] == 0
    assert FaultBook(home.faults).standing() == []
