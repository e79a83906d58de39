"""Topics that only another release knows: its own code makes and removes them at the broker."""

from collections.abc import Iterable
from importlib import import_module
from types import ModuleType

from labkit.home import Home
from labkit.stack.releases import program
from labkit.stack.releases.notes import releases_of
from labkit.stack.releases.release import Release, own


def make_all(home: Home) -> None:
    """Make the topics of every release that a service of the lab is of, ours among them.

    Raises:
        BrokerUnusable: consumers cannot join a group there with the session of the settings.
        KafkaError: the broker is away, or refuses.
        RuntimeError: another release cannot make its topics.
    """
    _topics().make_topics(home)
    for release in _others(home):
        make(home, release)


def make(home: Home, release: Release) -> None:
    """Make the topics of a release at the lab's broker.

    Raises:
        RuntimeError: it cannot; says why.
    """
    _run(home, release, "make")


def remove_all(home: Home) -> None:
    """Remove the topics of every release that a service of the lab is of, ours among them."""
    _topics().remove_topics(home)
    for release in _others(home):
        _run(home, release, "remove")


def _others(home: Home) -> Iterable[Release]:
    return {release for release in releases_of(home).values() if release != own()}


def _run(home: Home, release: Release, work: str) -> None:
    if not (release.package / "stack" / "releases" / "topics.py").is_file():
        return  # an older labkit has unpacked it, whose releases have no topics but ours
    try:
        program.run(__name__, release, {"home": str(home.folder), "work": work})
    except RuntimeError as error:
        text = f"release {release.number} cannot {work} its topics: {error}"
        raise RuntimeError(text) from None


def main() -> None:
    """Do what the input says, as the release that runs this process."""
    spec = program.read_spec()
    work = {"make": _topics().make_topics, "remove": _topics().remove_topics}[spec["work"]]
    work(Home(spec["home"]))


def _topics() -> ModuleType:
    """Return our own, with the client of a broker: an upgrade needs neither in its own process."""
    return import_module("labkit.stack.setup.topics")


if __name__ == "__main__":
    main()
