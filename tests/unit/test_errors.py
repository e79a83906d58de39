"""What is none of the code's is one line; what is keeps its traceback."""

from pathlib import Path

import httpx
import pytest
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.exc import OperationalError

from labkit.cli.errors import in_words
from labkit.home import Home

ASKED = httpx.Request("POST", "http://127.0.0.1:1/order")


@pytest.mark.parametrize(
    "error",
    [
        httpx.ReadTimeout("timed out", request=ASKED),
        httpx.ConnectError("refused", request=ASKED),
        httpx.RemoteProtocolError("it hung up\nand went"),
        OperationalError("SELECT 1", {}, Exception("unable to open\ndatabase file")),
        PermissionError(13, "Permission denied", "/a\x1b[2J"),
        ValueError("two\nlines"),
    ],
)
def test_what_is_away_is_one_line(error: Exception) -> None:
    """A web that hangs, a database that is gone, a folder that is not ours: told, in a line."""
    said = in_words(error)
    assert said
    assert said.isprintable()
    assert "SELECT" not in said


def test_a_setting_that_is_wrong_is_one_line() -> None:
    """Pydantic says it in five."""
    with pytest.raises(ValidationError) as wrong:
        TypeAdapter(int).validate_python("many")
    said = in_words(wrong.value)
    assert said
    assert said.isprintable()


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    """What the code did not think of is not hidden."""
    assert in_words(KeyError("order")) is None
    assert in_words(AttributeError("x")) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7"])
@pytest.mark.parametrize("name", ["state_file", "schemas_file"])
def test_a_broken_file_of_the_home_is_named(tmp_path: Path, name: str, text: str) -> None:
    """Half a file, or another one: which it is is said."""
    home = Home(tmp_path).make()
    file: Path = getattr(home, name)
    file.write_text(text)
    with pytest.raises(ValueError, match=f"the file {file} is broken"):
        home.state() if name == "state_file" else home.schemas()
