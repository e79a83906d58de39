"""Links in the pages lead somewhere: files, names in a file, other pages and headings."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from labkit.faults.points import catalogue
from labkit.runtime.injection.boundaries import BOUNDARIES

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
_PATH = r"(?:labkit|course|bench|tests)/[\w/]+\.py"
_NAMES = r"`[\w.]+`(?:(?:, | and )`[\w.]+`)*"
#: A name stands with its file as "`name` in `path`", "`name`, an operation of …" does not count.
_NAMED_IN = re.compile(rf"({_NAMES}) (?:in|of) `({_PATH})`(?: and in `({_PATH})`)?")
_PATH_FIRST = re.compile(rf"`({_PATH})`: ({_NAMES})")

pytestmark = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def test_every_file_is_there(page: Path) -> None:
    """Each Python file and each folder of the project that a page names exists."""
    text = _text_of(page)
    named = re.findall(rf"`({_PATH}|(?:labkit|course|bench|tests|compose|data)/[\w/.-]*)`", text)
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_name_is_in_its_file(page: Path) -> None:
    """Each function, class or constant that a page names with a file is defined there."""
    text = _text_of(page)
    cited = [(names, path) for names, *paths in _NAMED_IN.findall(text) for path in paths if path]
    cited += [(names, path) for path, names in _PATH_FIRST.findall(text)]
    missing = [
        f"{name} in {path}"
        for names, path in cited
        for name in re.findall(r"`([\w.]+)`", names)
        if name not in _defined_in(ROOT / path)
    ]
    assert missing == []


def test_every_link_leads_somewhere(page: Path) -> None:
    """Each link to another page leads to a file, and to a heading where it names one."""
    for target, heading in re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]*))?\)", _text_of(page)):
        file = (page.parent / target) if target else page
        assert file.exists(), target
        if heading:
            assert heading in _headings_of(file), f"{target}#{heading}"


def test_every_failpoint_is_in_the_catalogue(page: Path) -> None:
    """Each failpoint that a page names can be armed."""
    boundaries = "|".join(BOUNDARIES)
    named = set(re.findall(rf"\b([a-z-]+\.\w+\.(?:{boundaries}))\b", _text_of(page)))
    assert named <= catalogue().keys()


@cache
def _text_of(page: Path) -> str:
    """Return a page with each paragraph on one line, so that no name is parted from its file."""
    return re.sub(r"\n(?=[^\n|#>-])[ \t]*", " ", page.read_text(encoding="utf-8"))


@cache
def _defined_in(path: Path) -> frozenset[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{member}" for member in map(_name_of, node.body) if member}
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {name for name in map(_name_of, targets) if name}
    return frozenset(names)


def _name_of(node: ast.AST) -> str:
    if isinstance(node, ast.AnnAssign):
        return _name_of(node.target)
    return str(getattr(node, "name", getattr(node, "id", getattr(node, "attr", ""))))


@cache
def _headings_of(page: Path) -> frozenset[str]:
    """Return the anchors of a page's headings, made as GitHub makes them."""
    headings = re.findall(r"(?m)^#+ (.*)$", page.read_text(encoding="utf-8"))
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return frozenset(heading.replace(" ", "-") for heading in plain)
