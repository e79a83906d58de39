"""Running something in a process of its own, so that what it breaks is broken there alone."""

import multiprocessing
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def apart(work: Callable[..., T], *arguments: object) -> T:
    """Return what a function returns in a process that is forked for it."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(work, arguments)
