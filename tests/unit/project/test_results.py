"""The one shape of every answer, and the catalogue of codes."""

import pytest
from pydantic import ValidationError

from labkit.results import Message, Result
from labkit.runtime.codes import RuntimeCode
from labkit.shop.codes import Code


class Data(Message):
    """Something handed over."""

    order_id: int


def test_codes_are_unique() -> None:
    """No number stands for two things: an enumeration would make the second an alias."""
    assert len(Code.__members__) == len({int(code) for code in Code})


def test_codes_come_in_families() -> None:
    """Success is 1, a bad request -1, everything else five digits whose first is the family."""
    families = {
        int(code) // 10_000 for code in Code if code not in (Code.SUCCESS, Code.BAD_REQUEST)
    }
    assert (int(Code.SUCCESS), int(Code.BAD_REQUEST)) == (1, -1)
    assert families == {1, 2, 3, 4, 5, 6, 7}


def test_the_three_payment_codes_differ() -> None:
    """Not found, already paid and pay error are told apart."""
    assert len({Code.PAYMENT_NOT_FOUND, Code.PAYMENT_ALREADY_PAID, Code.PAYMENT_ERROR}) == 3


@pytest.mark.parametrize("code", Code)
def test_every_code_has_a_status(code: Code) -> None:
    """Each code is answered with one of the statuses that clients know, never 500."""
    assert code.status in {200, 202, 400, 404, 409, 422, 503}
    assert (code.status == 200) == (code is Code.SUCCESS)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (Code.SUCCESS, 200),
        (Code.ORDER_UNDECIDED, 202),
        (Code.BAD_REQUEST, 400),
        (Code.ORDER_NOT_FOUND, 404),
        (Code.ORDER_STATUS_UPDATE_FAILED, 409),
        (Code.IDEMPOTENCY_KEY_REUSED, 409),
        (Code.STOCK_SHORT, 422),
        (Code.ORDER_CANCELLED, 422),
        (Code.DEPENDENCY_AWAY, 503),
    ],
)
def test_status_by_kind(code: Code, status: int) -> None:
    """Undecided, malformed, unknown, wrong state, broken rule and absent service differ; and only
    what would be answered the same for ever may be stored."""
    assert code.status == status
    assert code.is_final == (status in (200, 422))


@pytest.mark.parametrize("code", RuntimeCode)
def test_the_runtime_speaks_with_codes_of_the_catalogue(code: RuntimeCode) -> None:
    """A client who knows the shop's catalogue knows a refusal of the runtime, status included."""
    listed = Code[code.name]
    assert (listed, listed.status) == (code, code.status)


def test_an_answer_says_its_code_by_number_and_name() -> None:
    """Success and refusal carry number and name of the same code, and the data."""
    ok = Result[Data].ok(Data(order_id=7))
    assert (ok.success, ok.code, ok.name, ok.data) == (True, 1, "SUCCESS", Data(order_id=7))
    refusal = Result[Data].refused(Code.STOCK_SHORT, "why")
    assert (refusal.success, refusal.code, refusal.name, refusal.message) == (
        False,
        20003,
        "STOCK_SHORT",
        "why",
    )


def test_an_answer_survives_the_wire() -> None:
    """Written as JSON and read again it is the same, with a 64-bit id unharmed."""
    sent = Result[Data].ok(Data(order_id=2**63 - 1), "done")
    assert Result[Data].model_validate_json(sent.model_dump_json()) == sent


def test_messages_are_frozen_and_keep_what_they_do_not_know() -> None:
    """A message cannot be changed; a field of another release is kept, and written again."""
    with pytest.raises(ValidationError, match="frozen"):
        Data(order_id=1).order_id = 2
    later = Data.model_validate_json('{"order_id":1,"unknown":2}')
    assert later.model_dump_json() == '{"order_id":1,"unknown":2}'
