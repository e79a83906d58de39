"""The number of processes of each service: people ask for it, and it is checked in one place."""

from collections.abc import Mapping

#: The embedded broker, as the supervisor calls it: a process of the lab, and none of its services.
BROKER = "broker"
_MAX_INSTANCES = 9


def parse_instances(text: str) -> dict[str, int]:
    """Parse `goods=2,user=2`.

    Raises:
        ValueError: an unknown service, or no number from 1 to 9; says what there is.
    """
    instances = {}
    for pair in filter(None, text.split(",")):
        name, _, number = pair.partition("=")
        instances[name] = _check(name, int(number) if number.isdecimal() else number, pair)
    return instances


def check_instances(instances: Mapping[str, object]) -> dict[str, int]:
    """Return the same numbers, if a lab can have them.

    Args:
        instances: service → how many.

    Raises:
        ValueError: an unknown service, or no number from 1 to 9; says what there is.
    """
    return {name: _check(name, number, f"{name}={number}") for name, number in instances.items()}


def _check(name: str, number: object, text: str) -> int:
    from labkit.shop.wiring import SERVICES  # seldom asked for, and long to import

    if name not in SERVICES or type(number) is not int or not 1 <= number <= _MAX_INSTANCES:
        raise ValueError(
            f"'{text}': write SERVICE=1 to {_MAX_INSTANCES}; services are {', '.join(SERVICES)}"
        )
    return number
