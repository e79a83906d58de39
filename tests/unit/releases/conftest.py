"""The example releases, unpacked once."""

from pathlib import Path

import pytest

from tests.support.releases import RELEASES, unpacked


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("releases")
    return {number: unpacked(folder, number) for number in RELEASES}
