"""The exercises: the check takes the solution, refuses a wrong one, and bears an untouched stub."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.notebooks.wrong_answers import WRONG
from tests.support.course import (
    HERE,
    NOTEBOOKS,
    code,
    copy_to,
    read,
    run_strictly,
    solution,
    source,
)

# notebook 11 starts a lab for each answer, and plays a story there
pytestmark = pytest.mark.timeout(1500)
CELL_SECONDS = 300


@pytest.mark.slow
@pytest.mark.parametrize("name", HERE)
def test_checks_tell_right_from_wrong(name: str, tmp_path: Path) -> None:
    """An untouched stub is not solved, a wrong answer is told why, the solution passes."""
    folder = copy_to(tmp_path)
    cells = code(name, "setup")
    for number, (stub, check) in enumerate(_exercises(name), 1):
        cells += [
            stub,
            _cell(source(check), f"Exercise {number} is not solved yet.\n"),
            _cell(_plain(WRONG[_name(stub)])),
            _cell(_complaint(check), "the check complains\n"),
            _cell(solution(name)),
            _cell(_first_words(check), f"Exercise {number} is solved\n"),
        ]
    cells += code(name, "teardown")
    for at, cell in enumerate(cells, 1):
        cell["execution_count"] = at  # without one, nothing is compared
        cell["id"] = f"cell-{at}"
    (folder / name).write_text(json.dumps({**read(name), "cells": cells}))
    run_strictly(folder, [name], CELL_SECONDS)


def test_every_exercise_is_whole() -> None:
    """Every stub has a check, a hint, a solution and a wrong answer that this file tries."""
    stubs = [_name(stub) for name in NOTEBOOKS for stub, _ in _exercises(name)]
    assert sorted(stubs) == sorted(WRONG)
    for name in NOTEBOOKS:
        assert len(_exercises(name)) >= 2
        solved = {
            node.name
            for node in ast.parse(solution(name)).body
            if isinstance(node, ast.FunctionDef)
        }
        assert {_name(stub) for stub, _ in _exercises(name)} <= solved


def _exercises(name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return list(zip(code(name, "exercise"), code(name, "check"), strict=True))


def _name(stub: dict[str, Any]) -> str:
    match = re.match(r"def (\w+)\(", source(stub))
    assert match, source(stub)
    return match[1]


def _plain(text: str) -> str:
    return re.sub(r"(?m)^ {8}", "", text).strip()


def _complaint(check: dict[str, Any]) -> str:
    """The check, where only that it complains counts; and it must say something to a person."""
    return (
        f"try:\n    exec({source(check)!r})\nexcept AssertionError as complaint:\n"
        f"    assert str(complaint)\n    print('the check complains')"
    )


def _first_words(check: dict[str, Any]) -> str:
    return (
        f"from contextlib import redirect_stdout\nfrom io import StringIO\n\n"
        f"with redirect_stdout(StringIO()) as said:\n    exec({source(check)!r})\n"
        f"print(said.getvalue()[:len('Exercise 1 is solved')])"
    )


def _cell(text: str, prints: str = "") -> dict[str, Any]:
    stream = {"name": "stdout", "output_type": "stream", "text": prints}
    return {
        "cell_type": "code",
        "metadata": {},
        "source": text,
        "outputs": [stream] if prints else [],
    }
