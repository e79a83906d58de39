"""A home works in a folder of any name."""

import stat
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from labkit.cli.base import at
from labkit.home import DATABASES, Home, NotAHome
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
    """What `labkit status` prints as the URL of a database opens that one, and nothing beside."""
    home = Home(tmp_path / name).make()
    for service in DATABASES:
        engine = create_engine(home.database_url(service))
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE seen (number INTEGER)"))
        engine.dispose()
    found = sorted(file.name for file in home.databases.iterdir())
    assert found == sorted(f"{service}.sqlite" for service in DATABASES)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert files(home.databases) == {service: home.database_url(service) for service in DATABASES}


def test_a_message_names_a_home_as_a_shell_reads_it() -> None:
    """What to type next can be copied: a space in a folder's name is quoted."""
    assert at(Path("my lab")) == " --home 'my lab'"
    assert at(Path(".lab")) == ""


def test_a_folder_of_somebody_elses_databases_is_no_home(tmp_path: Path) -> None:
    """What lies there would be removed when the lab is filled: it is refused, and stays."""
    theirs = tmp_path / "databases" / "thesis.sqlite"
    theirs.parent.mkdir()
    theirs.write_text("two years of work")
    with pytest.raises(NotAHome, match="holds databases and is no lab's: name another home"):
        launch.up(Home(tmp_path))
    assert theirs.read_text() == "two years of work"
    assert [one.name for one in tmp_path.iterdir()] == ["databases"]


def test_a_folder_with_anybodys_files_is_no_home(tmp_path: Path) -> None:
    """As `/tmp` or `~`: it is refused, and neither its mode nor what lies there changes."""
    tmp_path.chmod(0o755)
    (tmp_path / "letter").write_text("dear")
    with pytest.raises(NotAHome, match=rf"{tmp_path} holds letter and is no lab's"):
        Home(tmp_path).make()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert [one.name for one in tmp_path.iterdir()] == ["letter"]


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
