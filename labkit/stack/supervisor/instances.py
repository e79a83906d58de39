"""How many processes each service has: asked for by people, checked in one place."""

from collections.abc import Mapping
from typing import Any

from labkit.shop.wiring import SERVICES

#: The embedded broker, as the supervisor calls it: a process of the lab, and none of its services.
BROKER = "broker"
_MOST = 9


def parse_instances(text: str) -> dict[str, int]:
    """Read `goods=2,user=2`.

    Raises:
        ValueError: an unknown service, or no number from 1 to 9; says what there is.
    """
    pairs = [part.partition("=") for part in text.split(",") if part]
    return check_instances(
        {name: int(number) if number.isdecimal() else number for name, _, number in pairs}
    )


def check_instances(instances: Mapping[str, Any]) -> dict[str, int]:
    """The same numbers, if they can be had.

    Args:
        instances: service → how many.

    Raises:
        ValueError: an unknown service, or no number from 1 to 9; says what there is.
    """
    for name, number in instances.items():
        if name not in SERVICES or type(number) is not int or not 1 <= number <= _MOST:
            known = ", ".join(SERVICES)
            raise ValueError(f"'{name}={number}': write SERVICE=1 to {_MOST}; services are {known}")
    return dict(instances)
