"""MySQL says of a refused insert that some key is taken, and `insert_once` asks which."""

from sqlalchemy.exc import IntegrityError

from tests.mysql.conftest import OpenRunner
from tests.support import mysql_steps
from tests.support.asking import submit

ORDER = 1001


def test_another_key_is_an_error(open_runner: OpenRunner) -> None:
    """The key that is named is passed over; an order id that another request has is an error,
    alone and in a group, and whoever stands beside it is done."""
    database, store = open_runner("order")
    done = [
        submit(database, mysql_steps.note_request, ("k", ORDER + number)) for number in range(3)
    ]
    assert [future.result(timeout=60) for future in done] == [True, False, False]

    wanted = [("a", ORDER + 7), ("b", ORDER), ("c", ORDER + 8)]
    first, repeats, last = (
        submit(database, mysql_steps.note_request, request) for request in wanted
    )
    assert (first.result(timeout=60), last.result(timeout=60)) == (True, True)
    assert isinstance(repeats.exception(timeout=60), IntegrityError)
    keys = sorted(row["idempotency_key"] for row in store.rows("trade_order_request"))
    assert keys == ["a", "c", "k"]
