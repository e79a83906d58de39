"""Whatever goes wrong is told in a line or two; a fault of ours keeps its traceback in a file."""

import json
import tempfile
from pathlib import Path

import httpx
import pytest
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.exc import OperationalError

from labkit.cli.errors import explain, report
from labkit.home import Home
from labkit.stack.supervisor.status import EMPTY_STATUS
from tests.support.states import state_in_json

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
    message = explain(error)
    assert message
    assert message.isprintable()
    assert "SELECT" not in message


def test_a_setting_that_is_wrong_is_one_line() -> None:
    """Pydantic says it in five."""
    with pytest.raises(ValidationError) as wrong:
        TypeAdapter(int).validate_python("many")
    message = explain(wrong.value)
    assert message
    assert message.isprintable()


def test_a_fault_of_ours_keeps_its_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected error is told in two lines, and its traceback lies in a file."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    error = KeyError("order\nof nobody")
    error.add_note("of test_errors.py")
    assert report(error) == 1
    output = capsys.readouterr().err
    (file,) = tmp_path.iterdir()
    assert output.splitlines() == [
        "labkit: a fault of labkit's own: KeyError: 'order\\nof nobody'",
        f"please report it with what is in {file}",
    ]
    assert "of test_errors.py" in file.read_text()


def test_a_fault_of_ours_is_told_where_no_file_can_be(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk, say."""
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    assert report(AttributeError("x")) == 1
    assert capsys.readouterr().err.splitlines() == [
        "labkit: a fault of labkit's own, please report it: AttributeError: x"
    ]


@pytest.mark.parametrize("name", EMPTY_STATUS)
def test_a_state_that_lacks_something_is_broken(tmp_path: Path, name: str) -> None:
    """Nobody meets a KeyError of it later."""
    home = Home(tmp_path).make()
    whole = json.loads(state_in_json())
    home.state_file.write_text(json.dumps(whole))
    assert home.state() == whole
    home.state_file.write_text(json.dumps({key: whole[key] for key in whole if key != name}))
    with pytest.raises(ValueError, match=f"the file {home.state_file} is broken"):
        home.state()
    home.state_file.write_text(json.dumps(whole | {name: 7}))
    with pytest.raises(ValueError, match="is broken"):
        home.state()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7"])
@pytest.mark.parametrize("name", ["state_file", "schemas_file"])
def test_a_broken_file_of_the_home_is_named(tmp_path: Path, name: str, text: str) -> None:
    """Half a file, or another one: the error says which."""
    home = Home(tmp_path).make()
    file: Path = getattr(home, name)
    file.write_text(text)
    with pytest.raises(ValueError, match=f"the file {file} is broken"):
        home.state() if name == "state_file" else home.schemas()
