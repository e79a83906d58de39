"""How many instances are asked for, as people write it."""

import pytest

from labkit.stack.supervisor.instances import parse_instances


def test_numbers_are_read() -> None:
    """Services by name, each with a number; nothing asks for nothing."""
    assert parse_instances("goods=2,order-web=9") == {"goods": 2, "order-web": 9}
    assert parse_instances("") == {}


@pytest.mark.parametrize(
    "wrong", ["platform=2", "goods=0", "goods=10", "goods", "goods=-1", "goods=²"]
)
def test_what_cannot_be_had_is_refused(wrong: str) -> None:
    """With what was written, and what could have been."""
    with pytest.raises(
        ValueError, match="write SERVICE=1 to 9; services are order, goods"
    ) as error:
        parse_instances(f"user=2,{wrong}")
    assert str(error.value).startswith(f"'{wrong}': ")
