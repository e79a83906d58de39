"""A service and its database are parted: others go on, and nothing is lost when they meet again."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import make_url

from labkit.files import write_whole
from labkit.lab import Lab
from labkit.waiting import wait_until
from tests.support.containers.cable import Cable
from tests.support.containers.loading import ALL, cancel
from tests.support.containers.stacks import Backend
from tests.support.history import History
from tests.support.storyline import placed

pytestmark = pytest.mark.timeout(900)


@contextmanager
def on_a_cable(lab: Lab, service: str, server: Backend) -> Iterator[Cable]:
    """Route one service's database connection over a cable of its own, for a block."""
    cable, schemas = Cable(server.address), lab.home.schemas_file.read_text()
    url = make_url(lab.home.database_url(service))
    write_whole(
        lab.home.schemas_file,
        schemas.replace(f"{url.port}/{url.database}", f"{cable.port}/{url.database}"),
    )
    lab.faults.kill(service)
    wait_until(lambda: cable.taken, f"{service} is on the cable")
    try:
        yield cable
    finally:
        cable.join()
        write_whole(lab.home.schemas_file, schemas)
        lab.faults.kill(service)
        cable.close()


def test_a_service_is_parted_from_its_database(
    lab: Lab, history: History, servers: dict[str, Backend]
) -> None:
    """Nothing passes between the coupon service and its schema: orders with a coupon are told 503
    in time, those without are placed, and a coupon that is to come back comes when they meet."""
    mine, wanted = placed(history, **ALL), {"coupon_id": 2}
    with on_a_cable(lab, "coupon", servers["mysql"]) as cable:
        placed(history, **wanted)
        cable.part()
        with history.buying(2, money_paid=1) as answers:
            wait_until(lambda: history.place(coupon_id=3).status == 503, "a coupon is refused")
            cancel(history, mine)
            so_far = len(answers)
            wait_until(lambda: len(answers) > so_far + 10, "others go on")
            assert cable.held > 0
            assert {answer.status for answer in history.place_all([{"coupon_id": 4}] * 2, 2)} <= {
                202,
                503,
            }
            cable.join()
            placed(history, coupon_id=5)
        assert sum(answer.placed for answer in answers) > 10
        lab.settle(timeout=60)
