"""Data on a terminal: shown as it is, obeyed by nobody, and whole."""

import json

import pytest
from rich.console import Console

from labkit.cli.display import show_table
from labkit.lab.display import html
from labkit.ops.trace.diagram import CALL, Diagram, Line
from labkit.printable import printable, printable_json

ID = 383_026_413_512_351_744
#: Each means something to what shows it: Rich, an emoji code, HTML, Mermaid.
BRACKETS = ("[/]", "[red]3号楼", "a[b]", "[/x]", "[link=x]y[/link]", ":warning:", "<b>&amp;")
#: Text → as it is shown: a terminal would clear its screen, write on its title, turn the line.
OBEYED = {
    "\x1b[2J": r"\x1b[2J",
    "\x9b0m": r"\x9b0m",
    "a\u202eb": r"a\u202eb",
    "\r\x08": r"\r\x08",
    "\x1b]0;x\x07": r"\x1b]0;x\x07",
    "\u2028": r"\u2028",
    "\ud800": r"\ud800",
}


def screen(width: int) -> Console:
    return Console(width=width, markup=False, emoji=False, highlight=False, color_system=None)


def shown(rows: list[dict[str, object]], width: int = 400, title: str = "t") -> str:
    console = screen(width)
    with console.capture() as capture:
        show_table(console, title, rows, tuple(rows[0]))
    return capture.get()


@pytest.mark.parametrize("text", BRACKETS)
def test_a_table_shows_brackets_as_they_are(text: str) -> None:
    """In a cell, in a title and in the name of a column: none of it is markup."""
    assert shown([{text: text}], title=text).count(text) == 3


@pytest.mark.parametrize("text", OBEYED)
def test_what_a_terminal_obeys_is_written_out(text: str) -> None:
    """In a table, in a line, in HTML and in JSON, which means the same as before."""
    assert OBEYED[text] in shown([{"address": text}])
    assert printable(text) == OBEYED[text]
    assert OBEYED[text] in html.table("", ["address"], [[text]])
    escaped = printable_json(json.dumps({"address": text}, ensure_ascii=False))
    assert escaped.isprintable()
    assert json.loads(escaped) == {"address": text}


def test_letters_of_all_scripts_stay() -> None:
    """Chinese, accents, emoji that are joined, and a line break where lines are asked for."""
    for text in ("三号楼, 北京　路", "Łódź", "👩‍💻", "می‌خواهم"):
        assert printable(text) == text
    assert printable("a\n\tb", lines=True) == "a\n\tb"
    assert printable("a\nb") == r"a\nb"


def test_a_pipe_gets_every_row_whole() -> None:
    """However many columns there are and however long one is, a row is one line."""
    row: dict[str, object] = {f"column_{number}": f"{ID + number} " * 9 for number in range(40)}
    lines = shown([row], width=100_000).splitlines()
    assert any(all(str(cell).strip() in line for cell in row.values()) for line in lines)


@pytest.mark.parametrize("width", [80, 100, 160])
def test_a_narrow_screen_breaks_no_id_and_names_what_it_hides(width: int) -> None:
    """A column that fits is whole; every other column is named."""
    row: dict[str, object] = {f"order_id_of_{number}": ID + number for number in range(23)}
    text = shown([row], width)
    fits = sum(str(cell) in text for cell in row.values())
    assert 1 <= fits < len(row)
    assert f"not shown: {', '.join(list(row)[fits:])} (" in text
    assert max(map(len, text.splitlines()[:-1])) <= width


def test_a_long_text_is_folded_and_not_cut() -> None:
    """A cause of a hundred words fits on a narrow screen, over many lines."""
    words = [f"word{number}" for number in range(100)]
    text = shown([{"id": ID, "cause": " ".join(words)}], 80)
    assert str(ID) in text
    assert all(word in text for word in words)


def test_a_diagram_takes_text_for_text() -> None:
    """Neither an entity, a comment, a tag nor the end of the fence gets into Mermaid's text."""
    cause = "a;b #lt; %% x <img src=x> ```\n```\x1b[2J"
    drawn = Diagram(cause, ["order", "goods"], [Line("order", CALL, "goods", cause)]).mermaid
    texts = "\n".join(line for line in drawn.splitlines()[1:])
    assert not set("#%;<`\x1b") & set(texts)
    assert texts.count("goods: ") == 2  # once in the description, once as the arrow's text
