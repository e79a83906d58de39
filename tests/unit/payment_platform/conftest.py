"""Fixtures of the cashier's tests."""

from collections.abc import Iterator

import httpx
import pytest

from tests.support.cashier_server import Till


@pytest.fixture(scope="module")
def till(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Till]:
    """A cashier on a real socket, for all tests of this file."""
    till = Till(tmp_path_factory.mktemp("till"))
    yield till
    till.close()


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    """A client that follows nothing and remembers nothing."""
    with httpx.Client(timeout=20, trust_env=False) as client:
        yield client
