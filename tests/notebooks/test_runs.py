"""The notebooks run and show what they showed: strict nbval, alone, twice, in another order."""

import json
from pathlib import Path

import pytest

from tests.support.course import HERE, NOTEBOOKS, copy_to, read, run_strictly

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_to(tmp_path_factory.mktemp("course"))


@pytest.mark.parametrize("name", HERE)
def test_a_notebook_alone(folder: Path, name: str) -> None:
    """Each notebook, with nothing run before it, gives exactly the outputs that it keeps."""
    run_strictly(folder, [name])


@pytest.mark.slow
def test_again_in_the_other_order(folder: Path) -> None:
    """Run once more over the homes that they left, and last first, they give the same."""
    run_strictly(folder, HERE[::-1])


def test_another_output_is_seen(tmp_path: Path) -> None:
    """The comparison is alive: a notebook whose kept output is not what it gives now fails."""
    kept = {
        "output_type": "execute_result",
        "execution_count": 1,
        "metadata": {},
        "data": {"text/plain": "3"},
    }
    cell = {
        "cell_type": "code",
        "id": "sum",
        "metadata": {},
        "execution_count": 1,
        "source": "1 + 1",
        "outputs": [kept],
    }
    notebook = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "cells": [cell],
        "metadata": read(NOTEBOOKS[0])["metadata"],
    }
    (tmp_path / "sum.ipynb").write_text(json.dumps(notebook))
    with pytest.raises(AssertionError, match="outputs differ"):
        run_strictly(tmp_path, ["sum.ipynb"])
