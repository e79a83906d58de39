"""A shop with a bug that is known by its number alone: to be found, and put right, by a learner.

A *place* is where a function stands, as a learner writes it: `goods.deduct_stock`,
`messaging.relay.Relay._mark_sent`, `web.orders._place`.
"""

import inspect
import re
import shutil
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from course.bugs.bug import Bug, shelf
from course.bugs.patching import bugs_in, find, read_fix
from course.bugs.running import Finding, look_for
from labkit.lab import Lab
from labkit.runtime.db.statements import Statement
from labkit.runtime.steps import Flow, Step

__all__ = ["Finding", "broken_lab", "code_of", "cured", "numbers", "places_of", "symptom"]

#: From the plain to the subtle. A number is a place in this list, so that it says nothing of the
#: name; what is added later goes to the end.
NUMBERED = (
    "compensation-without-claim",
    "key-looked-at-later",
    "not-sent-again",
    "settled-at-the-acknowledgement",
    "stock-checked-before",
    "balance-in-whole-yuan",
    "coupon-loses-its-owner",
    "cancel-overwrites-paid",
    "late-payment-is-kept",
    "empty-compensation-leaves-nothing",
)
_FOLDERS = ("labkit.shop.", "labkit.runtime.", "labkit.")


def numbers() -> range:
    """Return the numbers of the bugs."""
    return range(1, len(NUMBERED) + 1)


def broken_lab(number: int, home: Path, fixes: Mapping[str, str] | None = None) -> Lab:
    """Start a lab that has a bug; it lives as long as this process, or until its `down`.

    Args:
        number: of the bug.
        home: folder of the lab, which must not be up. What its processes are to know of the bug is
            written into a folder beside it.
        fixes: place → code that stands there instead, as `cured` takes it.

    Raises:
        LookupError: no bug has this number, or the product no such place.
        ValueError: a fix does not define what belongs to its place.
        SyntaxError: a fix is no Python.
    """
    bug, wanted = _numbered(number), read_fixes(fixes or {})
    beside = home.absolute().with_name(f"{home.name}.bug")
    shutil.rmtree(beside, ignore_errors=True)
    with bugs_in(beside, bug, fixes=wanted):
        return Lab.up(home)


def symptom(number: int) -> Finding:
    """Play what finds a bug, on a lab of its own: a cell of the crash matrix, or a story.

    Returns:
        Which was played (`by`), and what did not hold (`words`).

    Raises:
        LookupError: no bug has this number.
    """
    return look_for(_numbered(number))


def cured(number: int, fixes: Mapping[str, str]) -> Finding:
    """Play the same after a learner has put the bug right: nothing may break any more.

    Args:
        number: of the bug.
        fixes: place → code of the function that is to stand there, as
            `{"goods.deduct_stock": "def deduct_stock(tx, command): …"}`; it sees all that its
            module sees.

    Returns:
        What came of it; its `words` are empty where all held.

    Raises:
        LookupError: no bug has this number, or the product no such place.
        ValueError: a fix does not define what belongs to its place.
        SyntaxError: a fix is no Python.
    """
    return look_for(_numbered(number), read_fixes(fixes))


def code_of(number: int, place: str) -> str:
    """Return a function as it runs in the shop with a bug; elsewhere, as the product has it.

    Raises:
        LookupError: no bug has this number, or the product no such place.
    """
    where = _where(place)
    function = _numbered(number).patches.get(where) or find(where)[2]
    if isinstance(function, Step | Flow):
        function = function.function
    elif isinstance(function, Statement):
        function = function._build
    code = textwrap.dedent(inspect.getsource(inspect.unwrap(function)))
    module, _, path = where.partition(":")
    code = re.sub(r"^@\w+\.replaces\([^()]*\)\n", "", code)
    code = re.sub(r"^((?:async )?def|class) _\b", rf"\1 {path.rpartition('.')[2]}", code, count=1)
    own = module.rpartition(".")[2]
    return re.sub(rf"(?<![\w.]){own}\.", "", code)  # as it would read where it stands


def places_of(number: int) -> tuple[str, ...]:
    """Return where a bug is: what a learner is to find out.

    Raises:
        LookupError: no bug has this number.
    """
    return tuple(_place(where) for where in _numbered(number).patches)


def read_fixes(fixes: Mapping[str, str]) -> dict[str, Any]:
    """Return code by its place as a patch names it, each proven to define what it is to define.

    Raises:
        LookupError: the product has no such place.
        ValueError: a fix does not define what belongs to its place.
        SyntaxError: a fix is no Python.
    """
    wanted = {_where(place): code for place, code in fixes.items()}
    for where, code in wanted.items():
        read_fix(where, code)
    return wanted


def _numbered(number: int) -> Bug:
    if number not in numbers():
        raise LookupError(f"there is no bug {number}: there are 1 to {len(NUMBERED)}")
    return shelf()[NUMBERED[number - 1]]


def _place(where: str) -> str:
    folder = next(prefix for prefix in _FOLDERS if where.startswith(prefix))
    return where.removeprefix(folder).replace(":", ".")


def _where(place: str) -> str:
    """Return the place as a patch names it: `labkit.shop.goods:deduct_stock`."""
    parts = place.split(".")
    for folder in _FOLDERS:
        for size in reversed(range(1, len(parts))):  # the module goes as far as it can
            where = f"{folder}{'.'.join(parts[:size])}:{'.'.join(parts[size:])}"
            if _is_there(where):
                return where
    raise LookupError(f"{place}: nothing of that name is in the shop")


def _is_there(where: str) -> bool:
    try:
        find(where)
    except (ImportError, AttributeError):
        return False
    return True
