"""The reference is whole: what it lacks (a command, a table, a setting …) is a failure."""

from pathlib import Path

import pytest
import typer

from labkit.cli import (  # noqa: F401  # they register
    benching,
    breaking,
    crashing,
    looking,
    ordering,
    reconciling,
    running,
    serving,
    simulating,
    tour,
)
from labkit.cli.base import app
from labkit.faults import VERBS, Verb
from labkit.faults.points import catalogue
from labkit.matrix import SCENARIOS
from labkit.matrix.plan import UNREACHABLE
from labkit.matrix.scenario import Scenario
from labkit.ops.invariants.check import INVARIANTS
from labkit.ops.reader import HOMES_OF
from labkit.runtime.injection.boundaries import BOUNDARIES
from labkit.settings import Settings, bounds_of
from labkit.sim.stories import STORIES

ROOT = Path(__file__).parents[3]
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented_with_an_example(name: str) -> None:
    """A command stands in the reference, and its help ends with an example of itself."""
    assert f"| `labkit {name}` |" in REFERENCE
    assert f"Example: `labkit {name}" in (COMMANDS[name].help or "")


@pytest.mark.parametrize("name", HOMES_OF)
def test_every_table_is_documented(name: str) -> None:
    """A table stands in the reference with the databases that have it."""
    homes = HOMES_OF[name][0] if len(HOMES_OF[name]) == 1 else "every"
    assert f"| `{name}` | {homes} |" in REFERENCE


@pytest.mark.parametrize("invariant", INVARIANTS, ids=lambda invariant: invariant.name)
def test_every_invariant_is_documented(invariant: object) -> None:
    """An invariant stands in the reference with its sentence."""
    assert f"| {invariant.name} |" in REFERENCE  # type: ignore[attr-defined]
    assert invariant.summary in REFERENCE  # type: ignore[attr-defined]


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_every_failpoint_boundary_is_documented(boundary: str) -> None:
    """A boundary stands in the reference with everything that it can be made to do."""
    (line,) = [line for line in REFERENCE.splitlines() if line.startswith(f"| `{boundary}` |")]
    assert all(action in line for action in BOUNDARIES[boundary])


@pytest.mark.parametrize("name", STORIES)
def test_every_story_of_the_twin_is_documented(name: str) -> None:
    """A story can be chosen by its name, which stands in the reference."""
    assert f"`{name}`" in REFERENCE.partition("## Every order of events")[2].partition("\n## ")[0]


@pytest.mark.parametrize("verb", VERBS.values(), ids=lambda verb: verb.name)
def test_every_verb_is_documented(verb: Verb) -> None:
    """A fault stands in the reference as the command line is given it, with its sentence."""
    usage = verb.usage.replace("|", "\\|")
    assert f"| `{usage}` | {verb.summary} |" in REFERENCE


def test_the_readme_and_the_reference_count_the_verbs() -> None:
    """The number in the README is that of the verbs, and the reference's table has no other row."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"[{len(VERBS)} verbs](docs/reference.md#faults-as-verbs)" in readme
    table = REFERENCE.partition("## Faults as verbs")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    assert len(rows) == len(VERBS)


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda scenario: scenario.name)
def test_every_scenario_is_documented(scenario: Scenario) -> None:
    """A scenario of the crash matrix stands in the reference with its sentence."""
    assert f"| `{scenario.name}` | {scenario.summary} |" in REFERENCE


def test_the_readme_says_how_big_the_matrix_is() -> None:
    """How many stories there are, and how many failpoints they reach."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    reached = len(catalogue()) - len(UNREACHABLE)
    assert f"{len(SCENARIOS)} stories with a kill −9 at each of the {reached} points" in readme


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented(name: str) -> None:
    """A setting stands in the reference under its variable, with its default and its bounds."""
    default = Settings.model_fields[name].default
    shown = default or "none" if isinstance(default, str) else f"{default:g}"
    bounds = bounds_of(Settings.model_fields[name])
    between = f"{bounds[0]:.12g} – {bounds[1]:.12g}" if bounds else "–"
    assert f"| `LABKIT_{name.upper()}` | {shown} | {between} |" in REFERENCE


def test_the_readme_lists_every_notebook() -> None:
    """A notebook stands in the README's table of the course."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    notebooks = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
    assert notebooks
    assert [book.name for book in notebooks if f"(notebooks/{book.name})" not in readme] == []


def test_every_folder_of_the_package_is_explained() -> None:
    """A newcomer finds each folder of labkit, and of its runtime, in Contributing's table."""
    table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    folders = [path.parent for path in (ROOT / "labkit").glob("*/__init__.py")]
    assert [path.name for path in folders if f"`labkit/{path.name}/`" not in table] == []
    rooms = [path.parent.name for path in (ROOT / "labkit" / "runtime").glob("*/__init__.py")]
    assert [name for name in rooms if f"{name}/`" not in table] == []
