"""The composition root: which process runs what."""

from labkit.payment_platform.wiring import PLATFORM
from labkit.shop.wiring import SERVICES
from labkit.stack.supervisor import run_services
from labkit.stack.supervisor.service_process import PROCESSES, WEBS, load


def test_every_service_of_the_wiring_has_a_process() -> None:
    """The table has a line for each, in the order of the wiring, and the platform after them."""
    assert tuple(PROCESSES) == (*SERVICES, PLATFORM.name)


def test_a_service_without_a_contract_serves_http() -> None:
    """Only those with a socket run anything else than the services that take calls."""
    webs = {name for name, service in SERVICES.items() if service.contract is None}
    assert set(WEBS) == webs | {PLATFORM.name}
    others = {name for name in SERVICES if load(name) is not run_services.run_service}
    assert others == webs | {"pay"}
