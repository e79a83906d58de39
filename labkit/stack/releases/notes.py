"""The notes of a home about which release each of its services runs."""

import json
from collections.abc import Mapping

from labkit.files import making_sense_of, read_object, write_whole
from labkit.home import Home
from labkit.stack.migrations.revisions import parse_release
from labkit.stack.releases.release import Release, installed, own


def releases_of(home: Home) -> Mapping[str, Release]:
    """Return the release of each service that does not run the release of its supervisor.

    Raises:
        ValueError: somebody else wrote to the notes, or a release is not in the home any more;
            says what to do.
    """
    with making_sense_of(home.releases_file):
        noted = read_object(home.releases_file) or {}
        for number in noted.values():
            parse_release(number)
    releases = {service: installed(home, number) for service, number in noted.items()}
    return {service: release for service, release in releases.items() if release != own()}


def note(home: Home, service: str, release: Release) -> None:
    """Note that a service runs a release from now on; only the supervisor does so."""
    noted = {**releases_of(home), service: release}
    numbers = {name: str(each.number) for name, each in noted.items() if each != own()}
    write_whole(home.releases_file, json.dumps(numbers, indent=1), durable=True)
