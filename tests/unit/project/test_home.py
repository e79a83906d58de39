"""A home works in a folder of any name."""

import stat
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from labkit.cli.base import at
from labkit.home import DATABASES, Home, NotAHome
from labkit.settings import Settings
from labkit.stack.setup.seeds import files
from labkit.stack.supervisor import launch

#: Each holds what means something to a URL, a shell, a pattern or a format.
NAMES = (
    "a b",
    "what next?",
    "a%41b",
    "100%",
    "%s",
    "a#b",
    "a@b:c",
    "[x]",
    "中文",
    "'q\"",
    "{0}",
    "-x",
    "trail ",
    "a&b=c;d",
    "*",
    "~",
    "$HOME",
    "a\\b",
    "n\nl",
    "x" * 200,
)


@pytest.mark.parametrize("name", NAMES)
def test_a_database_lies_in_its_home_whatever_its_name(tmp_path: Path, name: str) -> None:
    """A URL that `labkit status` prints opens that database, and nothing beside."""
    home = Home(tmp_path / name).make()
    for service in DATABASES:
        engine = create_engine(home.database_url(service))
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE seen (number INTEGER)"))
        engine.dispose()
    names = sorted(file.name for file in home.databases.iterdir())
    assert names == sorted(f"{service}.sqlite" for service in DATABASES)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert files(home.databases) == {service: home.database_url(service) for service in DATABASES}


def test_a_message_names_a_home_as_a_shell_reads_it() -> None:
    """A command to type next can be copied: a space in a folder's name is quoted."""
    assert at(Path("my lab")) == " --home 'my lab'"
    assert at(Path(".lab")) == ""


@pytest.mark.parametrize("text", ["", "two\nlines", "a secret", "geheimnüs", "\0"])
def test_a_secret_that_no_call_can_carry_is_named(tmp_path: Path, text: str) -> None:
    """The line says which file is wrong, long before a header is refused with it."""
    home = Home(tmp_path).make()
    assert home.make().secret == home.secret_file.read_text()
    home.secret_file.write_text(text)
    with pytest.raises(ValueError, match=f"the file {home.secret_file} is broken"):
        _ = home.secret
    with pytest.raises(ValueError, match=f"the file {home.secret_file} is broken"):
        _ = home.mark


@pytest.mark.parametrize("text", ["", "short", "x" * 43 + "\n", "é" * 43])
def test_a_spoilt_console_token_is_replaced(tmp_path: Path, text: str) -> None:
    """Nobody is let in with an empty or guessable token; a good one stays over restarts."""
    home = Home(tmp_path).make()
    token = home.console_token()
    assert len(token) == 43
    assert home.console_token() == token == home.console_token_file.read_text()
    home.console_token_file.write_text(text)
    renewed = home.console_token()
    assert len(renewed) == 43
    assert renewed not in (token, text)
    assert home.console_token_file.read_text() == renewed


@pytest.mark.parametrize("text", ["", "{", "[]", '{"tracing": "much"}'])
def test_settings_are_read_or_their_file_is_named(tmp_path: Path, text: str) -> None:
    """There is one reader of them, which says where they are broken."""
    home = Home(tmp_path).make()
    home.settings_file.write_text(Settings(tracing=1, partitions=7).model_dump_json())
    assert home.settings() == Settings(tracing=1, partitions=7)
    home.settings_file.write_text(text)
    with pytest.raises(ValueError, match=f"the file {home.settings_file} is broken"):
        home.settings()


def test_a_folder_of_somebody_elses_databases_is_no_home(tmp_path: Path) -> None:
    """A file that filling the lab would remove is refused, and stays."""
    foreign = tmp_path / "databases" / "thesis.sqlite"
    foreign.parent.mkdir()
    foreign.write_text("two years of work")
    with pytest.raises(NotAHome, match="holds databases and is no lab's: name another home"):
        launch.up(Home(tmp_path))
    assert foreign.read_text() == "two years of work"
    assert [path.name for path in tmp_path.iterdir()] == ["databases"]


def test_a_folder_with_anybodys_files_is_no_home(tmp_path: Path) -> None:
    """As `/tmp` or `~`: it is refused, and neither its mode nor what lies there changes."""
    tmp_path.chmod(0o755)
    (tmp_path / "letter").write_text("dear")
    with pytest.raises(NotAHome, match=rf"{tmp_path} holds letter and is no lab's"):
        Home(tmp_path).make()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert [path.name for path in tmp_path.iterdir()] == ["letter"]


def test_a_folder_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    """An empty one becomes a home; what is made in it is for its owner alone."""
    tmp_path.chmod(0o755)
    (tmp_path / "secret.17.draft").write_text("of who was killed while it made this home")
    home = Home(tmp_path).make()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    for path in (home.databases, home.registry, home.faults, home.logs, home.traces):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE(home.secret_file.stat().st_mode) == 0o600
    assert Home(tmp_path / "new" / "home").make().folder.stat().st_mode & 0o777 == 0o700
    assert home.make() is home
