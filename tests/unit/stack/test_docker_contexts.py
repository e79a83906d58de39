"""Docker's settings are somebody else's: whatever they say, it is one line and no traceback."""

import hashlib
import json
from pathlib import Path

import pytest

from labkit.stack.setup.backends import Stack, choose, remove


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Docker's folder of settings, which names a context."""
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text('{"currentContext": "desktop-linux"}')
    return tmp_path


def context(config: Path, text: str) -> None:
    """Write what describes the context."""
    folder = config / "contexts/meta" / hashlib.sha256(b"desktop-linux").hexdigest()
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(text)


def refusals() -> list[str]:
    """Return what `auto` gives as its reason, and how containers are refused and removed."""
    chosen = choose(Stack.auto, lambda _: None)
    assert chosen.stack is Stack.embedded
    lines = [chosen.reason.removeprefix("auto: ")]
    for ask in (lambda: choose(Stack.containers, lambda _: None), lambda: remove(volumes=False)):
        with pytest.raises(RuntimeError) as refused:
            ask()
        lines.append(str(refused.value))
    return lines


def test_a_context_that_is_gone() -> None:
    """As after Docker Desktop was removed: `auto` goes without, and says what to do."""
    for text in refusals():
        assert "desktop-linux, is not there any more: docker context use default" in text
        assert "\n" not in text


@pytest.mark.parametrize("text", ["{not json", "[]", '{"Name": "desktop-linux"}', ""])
def test_a_context_that_cannot_be_read(config: Path, text: str) -> None:
    """A file of settings that is broken, or not what it should be."""
    context(config, text)
    for line in refusals():
        assert "\n" not in line


def test_a_context_whose_engine_is_gone(config: Path) -> None:
    """It is read, and nobody answers where it says."""
    ends = {"docker": {"Host": f"unix://{config}/docker.sock", "SkipTLSVerify": False}}
    context(config, json.dumps({"Name": "desktop-linux", "Metadata": {}, "Endpoints": ends}))
    for line in refusals():
        assert "\n" not in line


@pytest.mark.parametrize("where", ["ssh://nobody@127.0.0.1", "nonsense", "tcp://:0", "npipe:////"])
def test_an_engine_that_cannot_be_spoken_to(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """DOCKER_HOST says what this machine cannot use, or what nobody can."""
    monkeypatch.setenv("DOCKER_HOST", where)
    for line in refusals():
        assert "\n" not in line
