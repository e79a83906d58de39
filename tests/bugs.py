"""Bugs put into the shop from outside: no line of the product knows of them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

#: Runs first in every Python that is started, and so in the supervisor, which all services come of.
_FIRST = "sitecustomize.py"


@contextmanager
def bug(folder: Path, code: str) -> Iterator[None]:
    """Have every lab that is started in a block run with a bug.

    Args:
        folder: where it is written down.
        code: Python that puts it in.
    """
    folder.mkdir()
    (folder / _FIRST).write_text(code)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        yield


#: A step whose key is claimed and not heeded: asked again, it takes again.
NOT_IDEMPOTENT = """
from labkit.shop import goods
from labkit.runtime.operations import claim
from labkit.results import Result

def deduct_stock(tx, command):
    operation = claim(tx, "deduct_stock", command)
    tx.change(goods._take(command.goods_id, command.goods_number))
    if operation.earlier:
        return operation.earlier
    goods._log(tx, command.goods_id, command.order_id, goods.DEDUCT, command.goods_number)
    return operation.apply(amount=command.goods_number)

object.__setattr__(goods.deduct_stock, "function", deduct_stock)
"""

#: An outbox of which nobody sends what a process that died has left in it.
NOT_SENT_AGAIN = """
from sqlalchemy import update
from labkit.runtime import outbox, tables

real = outbox.claim_unsent.function

def claim_unsent(tx, command):
    new = (tables.outbox.c.status == tables.UNSENT) & (tables.outbox.c.tries == 0)
    tx.execute(update(tables.outbox).where(new).values(next_try=2**60))
    return real(tx, command)

object.__setattr__(outbox.claim_unsent, "function", claim_unsent)
"""
