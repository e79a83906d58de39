"""The rules for notebooks, as tests: what a reader may rely on in every one of them."""

import re
from itertools import pairwise
from statistics import median

import pytest

from tests.support.course import FOLDER, NOTEBOOKS, Cell, code, prose, read, source

pytestmark = pytest.mark.parametrize("name", NOTEBOOKS)

_FENCED = re.compile(r"(?ms)^```.*?^```")


def test_one_title_and_no_skipped_levels(name: str) -> None:
    """One H1, on top, with the notebook's number; headings never skip a level."""
    levels = [
        len(match[1])
        for text in prose(name)
        for match in re.finditer(r"(?m)^(#+) ", _FENCED.sub("", text))
    ]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert prose(name)[0].startswith(f"# {name[:2]} ")
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_opening_and_closing(name: str) -> None:
    """It opens with question, objectives and minutes; it closes with key points and exercises."""
    opening, *following = prose(name)
    assert re.search(r"\*\*Question\.\*\* .*\?", opening)
    assert len(re.findall(r"(?m)^- ", opening)) >= 3
    assert re.search(r"\*\*Time\.\*\* About \d+ minutes", opening)
    headings = [match for text in following for match in re.findall(r"(?m)^## (.*)", text)]
    assert headings[-3:] == ["Key points", "Exercises", "Stop the shop"]


def test_starts_and_stops_by_itself(name: str) -> None:
    """The first cell starts a lab in a home of the notebook's own, the last one stops it."""
    first, *_, last = code(name)
    assert f'lab = Lab.up(".labs/{name[:2]}")\nlab.reset()' in source(first)
    assert source(last) == "lab.down()"


def test_cells_are_short_and_prose_is_not(name: str) -> None:
    """Median three lines, fifteen at most; eight words of prose or more for a line of code."""
    lines = [
        len([line for line in source(cell).splitlines() if line.strip()]) for cell in code(name)
    ]
    words = len(re.findall(r"\w+", " ".join(_FENCED.sub("", text) for text in prose(name))))
    assert median(lines) <= 3
    assert max(lines) <= 15
    assert words >= 8 * sum(lines), f"{words} words for {sum(lines)} lines"


def test_outputs_are_kept(name: str) -> None:
    """Every code cell was run, in order, without error and without a warning."""
    assert [cell["execution_count"] for cell in code(name)] == list(range(1, len(code(name)) + 1))
    kinds = {
        (output["output_type"], output.get("name"))
        for cell in code(name)
        for output in cell["outputs"]
    }
    assert kinds <= {("execute_result", None), ("stream", "stdout")}


def test_outputs_are_the_same_everywhere(name: str) -> None:
    """No path, port, process or 64-bit id of one machine stands in an output."""
    shown = "\n".join(text for cell in code(name) for text in _texts(cell))
    first_data = ("345963634385633280", "345959443973935104", "345988230098857984")
    for number in re.findall(r"\d{15,}", shown):
        assert number in first_data
    for foreign in (
        r"(?<![\w.])/(?:home|root|tmp|Users|var|private)\b",
        r"127\.0\.0\.1",
        r"0x[0-9a-f]{6}",
    ):
        assert not re.search(foreign, shown), foreign


def test_predict_then_see(name: str) -> None:
    """Whatever a cell shows, a text stands right before it; only a check follows its stub."""
    cells = read(name)["cells"]
    for before, cell in pairwise(cells):
        if cell.get("outputs") and "check" not in cell["metadata"].get("tags", []):
            assert before["cell_type"] == "markdown", source(cell)


def test_claims_are_asserted(name: str) -> None:
    """In every section that shows something, an assert says it again."""
    sections: list[list[Cell]] = [[]]
    for cell in read(name)["cells"]:
        if cell["cell_type"] == "markdown" and re.search(r"(?m)^## ", source(cell)):
            sections.append([])
        if cell["cell_type"] == "code":
            sections[-1].append(cell)
    for cells in sections:
        shows = any(cell["outputs"] for cell in cells)
        assert not shows or any("assert " in source(cell) for cell in cells), source(cells[0])


def test_pictures_say_what_they_show(name: str) -> None:
    """Every diagram has a title and a description for who cannot see it, every image a text."""
    text = "\n".join(prose(name))
    diagrams = re.findall(r"(?ms)^```mermaid\n(.*?)^```", text)
    assert diagrams
    for diagram in diagrams:
        assert re.search(r"accTitle: \S", diagram)
        assert re.search(r"accDescr: \S.{40}", diagram)
    assert "![](" not in text
    assert not re.search(r"<img(?![^>]*alt=\"[^\"])", text)


def test_hints_are_folded(name: str) -> None:
    """Each exercise has one hint, which is shown only to who asks for it."""
    for text in prose(name):
        folded = len(
            re.findall(r"<details>\n<summary>Hint</summary>\n\n.*?\n\n</details>", text, re.S)
        )
        assert folded == len(re.findall(r"(?m)^### Exercise", text))


def test_links_lead_somewhere(name: str) -> None:
    """Every notebook, solution and module of labkit that a text names is there."""
    text = "\n".join(prose(name))
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (FOLDER / target).exists(), target
    for target in re.findall(r"`(solutions/\w+\.py)`", text):
        assert (FOLDER / target).exists(), target
    for target in re.findall(r"`(?:labkit/)?((?:shop|runtime)/\w+\.py|results\.py)`", text):
        assert (FOLDER.parent / "labkit" / target).exists(), target


def _texts(cell: Cell) -> list[str]:
    problems = []
    for output in cell["outputs"]:
        data = output.get("data", {"text/plain": output.get("text", "")})
        problems += ["".join(text) for text in data.values()]
    return problems
