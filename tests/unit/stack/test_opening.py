"""The files with which the course opens without installing: a dev container, and Binder."""

import json
import os
import re
import tomllib
from pathlib import Path

import yaml
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[3]
CONTAINER = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text("utf-8"))
BINDER = ROOT / ".binder"
PYTHONS = SpecifierSet(
    tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["requires-python"]
)
#: The Pythons that CI tests with.
TESTED = {
    step["python"]
    for step in yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))[
        "jobs"
    ]["test"]["strategy"]["matrix"]["include"]
}


def fits(version: str) -> bool:
    return version in PYTHONS and version in TESTED


def test_both_have_a_python_that_is_tested() -> None:
    """The image of the dev container and Binder's runtime.txt name one that labkit allows."""
    image = re.fullmatch(
        r"mcr\.microsoft\.com/devcontainers/python:([\d.]+)-\w+", CONTAINER["image"]
    )
    runtime = re.fullmatch(r"python-(\d+\.\d+)\n", (BINDER / "runtime.txt").read_text("utf-8"))
    assert image
    assert runtime
    assert fits(image[1])
    assert fits(runtime[1])


def test_the_dev_container_is_made_by_make() -> None:
    """The target is one of the Makefile, and what it makes is what the editor is told to use."""
    target = CONTAINER["postCreateCommand"].removeprefix("make ")
    makefile = (ROOT / "Makefile").read_text("utf-8").replace("$(VENV)", ".venv")
    assert f"\n{target}: " in makefile
    interpreter = CONTAINER["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"]
    assert interpreter.endswith("/.venv/bin/python")
    assert "/.venv/bin:" in CONTAINER["remoteEnv"]["PATH"]


def test_what_the_dev_container_opens_is_there() -> None:
    """The notebook that it opens first, and the ports that the profile `shop` publishes."""
    assert all(
        (ROOT / name).exists() for name in CONTAINER["customizations"]["codespaces"]["openFiles"]
    )
    compose = (ROOT / "compose" / "compose.yaml").read_text("utf-8")
    published = set(map(int, re.findall(r"_PORT:-(\d+)\}:7000", compose)))
    assert len(published) == 3
    assert published < set(CONTAINER["forwardPorts"])
    assert set(CONTAINER["portsAttributes"]) == {str(port) for port in CONTAINER["forwardPorts"]}


def test_binder_installs_the_lock_and_then_labkit() -> None:
    """Its requirements are the lock alone, so that every hash is checked; labkit comes after it."""
    lines = (BINDER / "requirements.txt").read_text("utf-8").splitlines()
    (lock,) = [line.removeprefix("-r ") for line in lines if not line.startswith("#")]
    assert (BINDER / lock).resolve() == ROOT / "requirements-dev.lock"
    script = BINDER / "postBuild"
    assert os.access(script, os.X_OK)
    assert script.read_text("utf-8").startswith("#!/bin/bash\n")
    assert "--no-deps --no-build-isolation --editable ." in script.read_text("utf-8")


def test_binder_passes_the_conda_environment_over() -> None:
    """Nothing in its folder has conda solve for versions of its own, or the lock passed over."""
    assert {path.name for path in BINDER.iterdir()} == {
        "requirements.txt",
        "runtime.txt",
        "postBuild",
    }
    assert not (ROOT / "binder").exists()  # Binder refuses two folders
