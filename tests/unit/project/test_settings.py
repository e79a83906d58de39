"""Every setting has bounds: what is beyond them is refused in a line, and what is not, works."""

import math
from pathlib import Path

import pytest
from typer.testing import CliRunner

from labkit.cli import base, breaking, crashing, looking  # noqa: F401  # they register
from labkit.cli.base import app
from labkit.lab.clock import Clock
from labkit.runtime.clock import LabClock
from labkit.settings import CannotSet, Settings, bounds_of

NUMBERS = {
    name: field for name, field in Settings.model_fields.items() if field.annotation in (int, float)
}
ODD = ("nan", "inf", "-inf", "-1", "0", "1e300", "1e12", "", "many")


@pytest.mark.parametrize("text", ODD)
@pytest.mark.parametrize("name", NUMBERS)
def test_an_odd_number_is_refused(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line names the variable, its value and its bounds."""
    variable, bounds = f"LABKIT_{name.upper()}", bounds_of(NUMBERS[name])
    assert bounds, f"{name} has no bounds"
    monkeypatch.setenv(variable, text)
    if (text, bounds[0]) == ("0", 0):
        assert getattr(Settings(), name) == 0
        return
    with pytest.raises(CannotSet) as refused:
        Settings()
    least, most = (f"{bound:.12g}" for bound in bounds)
    assert str(refused.value).startswith(f"{variable}={text}: it must be a")
    assert str(refused.value).endswith(f"number from {least} to {most}")


@pytest.mark.parametrize("name", NUMBERS)
def test_the_bounds_themselves_and_the_default_are_within(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both can be set, and what is set by nobody can be."""
    bounds = bounds_of(NUMBERS[name])
    assert bounds
    for bound in bounds:
        monkeypatch.setenv(f"LABKIT_{name.upper()}", f"{bound:.12g}")
        assert getattr(Settings(), name) == bound
    assert bounds[0] <= NUMBERS[name].default <= bounds[1]


def test_two_wrong_settings_are_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both, so that nobody must come twice; a text that is none of a few as well."""
    monkeypatch.setenv("LABKIT_CALL_TIMEOUT", "nan")
    monkeypatch.setenv("LABKIT_STACK", "cloud")
    with pytest.raises(CannotSet) as refused:
        Settings()
    assert str(refused.value) == (
        "LABKIT_STACK=cloud: input should be 'auto', 'embedded' or 'containers'; "
        "LABKIT_CALL_TIMEOUT=nan: it must be a number from 0.05 to 600"
    )


@pytest.mark.parametrize(
    "words",
    [
        ["break", "paused", "goods", "--for"],
        ["settle", "--timeout"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("text", ["nan", "inf", "-1", "1e300", "", "long"])
def test_seconds_of_the_command_line(words: list[str], text: str) -> None:
    """Refused before anything is done."""
    result = CliRunner().invoke(app, [*words, text])
    assert result.exit_code == 2
    assert "is no number from 0 to 2592000" in result.output


@pytest.mark.parametrize("text", ["delay:nan", "delay:inf", "delay:-1", "delay:", "crash:1"])
def test_seconds_of_an_action(text: str, tmp_path: Path) -> None:
    """The crash matrix refuses them before it plays anything."""
    result = CliRunner().invoke(app, ["matrix", "--action", text, "--home", str(tmp_path)])
    assert isinstance(result.exception, ValueError)
    assert "only a delay or a stall has seconds" in str(result.exception)


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -1.0, 1e300])
def test_seconds_that_the_lab_clock_cannot_go_forward_by(seconds: float, tmp_path: Path) -> None:
    """A ValueError in each case, which says what cannot be."""
    clock = Clock(LabClock(tmp_path / "clock.json"))
    with pytest.raises(ValueError, match="the lab clock goes"):
        clock.advance(seconds=seconds)
