"""The files that say what labkit needs say the same: pyproject.toml, environment.yml, the locks."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))["dependencies"]

# What pip may read in a lock: name==version, perhaps a marker, then one hash or more.
LOCKED = re.compile(
    r"^(?P<name>[a-z0-9._-]+)==(?P<version>[^ ]+)( ; [^\\]+)?"
    r"( \\\n    --hash=sha256:[0-9a-f]{64})+",
    re.MULTILINE,
)


def bounds(lines: list[str]) -> dict[str, SpecifierSet]:
    """Name and version bounds of each requirement."""
    requirements = [Requirement(line) for line in lines]
    return {canonicalize_name(each.name): each.specifier for each in requirements}


def needed(*extras: str) -> dict[str, SpecifierSet]:
    """Return what pyproject.toml asks for: the core, these extras, what builds labkit itself."""
    lines = PROJECT["dependencies"] + PYPROJECT["dependency-groups"]["build"]
    return bounds(lines + [line for extra in extras for line in EXTRAS[extra]])


def locked(lock: str) -> list[tuple[str, str]]:
    """Name and version of each entry of a lock; two where the version depends on the Python."""
    text = (ROOT / lock).read_text("utf-8")
    return [(each["name"], each["version"]) for each in LOCKED.finditer(text)]


def test_conda_asks_for_the_same_versions() -> None:
    """A package in both environment.yml and pyproject.toml has the same bounds in both."""
    conda = bounds([each for each in CONDA if isinstance(each, str)])
    expected = needed(*EXTRAS) | {"python": SpecifierSet(PROJECT["requires-python"])}

    unknown_to_pyproject = conda.keys() - expected.keys() - {"pip"}
    assert not unknown_to_pyproject
    assert conda.keys() & expected.keys(), "the comparison would be about nothing"
    assert {name: conda[name] for name in conda if name != "pip"} == {
        name: expected[name] for name in conda if name != "pip"
    }


def test_conda_provides_all_that_the_course_needs() -> None:
    """Each dependency of the core and of the extra `lab` comes from conda or from pip."""
    provided = set(bounds([each for each in CONDA if isinstance(each, str)]))
    [pip_section] = [each["pip"] for each in CONDA if isinstance(each, dict)]
    for line in pip_section:
        if editable := re.fullmatch(r"-e \.\[([a-z,]+)\]", line):
            provided |= needed(*editable[1].split(",")).keys()
        else:
            provided.add(canonicalize_name(Requirement(line).name))

    assert not bounds(PROJECT["dependencies"] + EXTRAS["lab"]).keys() - provided


@pytest.mark.parametrize(
    ("lock", "extras"), [("requirements.lock", ()), ("requirements-dev.lock", ("lab", "dev"))]
)
def test_lock_names_every_dependency(lock: str, extras: tuple[str, ...]) -> None:
    """Each dependency of pyproject.toml is in the lock, in a version that its bounds allow."""
    entries = locked(lock)
    for name, allowed in needed(*extras).items():
        versions = [version for locked_name, version in entries if locked_name == name]
        assert versions, f"{name} is not in {lock}: run make lock"
        assert all(version in allowed for version in versions), f"{name} {versions} in {lock}"


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_lock_is_versions_and_hashes_and_nothing_else(lock: str) -> None:
    """Every entry has a hash, and no line says where packages come from: no index, no path."""
    text = (ROOT / lock).read_text("utf-8")
    without_comments = re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE)
    assert LOCKED.sub("", without_comments).split() == []
    assert "://" not in text


def test_both_locks_agree() -> None:
    """The tour runs on what the tests run on: the large lock holds all of the small one."""
    assert set(locked("requirements.lock")) <= set(locked("requirements-dev.lock"))
