"""A service that is started by itself: where it listens, and what it says where it cannot."""

from pathlib import Path

import pytest

from labkit.files import write_whole
from labkit.home import Home
from labkit.runtime.rpc.address import LOOPBACK, Address
from labkit.settings import Settings
from labkit.stack.supervisor import launch, standalone
from labkit.state import Phase
from tests.support.states import state_in_json


@pytest.mark.parametrize(
    ("place", "address"),
    [
        (LOOPBACK, "127.0.0.1:4711"),
        (Address("10.0.0.7:7000"), "10.0.0.7:4711"),
        (Address("0.0.0.0:7000"), "a-container:4711"),
        (Address("0.0.0.0:7000", "shop.example:443"), "shop.example:443"),
    ],
)
def test_others_are_told_an_address_that_leads_here(
    place: Address, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is told to call 0.0.0.0: the machine's name stands for it, or what was said."""
    monkeypatch.setattr("socket.gethostname", lambda: "a-container")
    assert place.endpoint(4711) == address


@pytest.mark.parametrize("listen", ["7000", "0.0.0.0", ":7000", "0.0.0.0:http"])
def test_an_address_that_is_none(listen: str) -> None:
    """The line shows what was given, and what one looks like."""
    with pytest.raises(ValueError, match=f"'{listen}': .* looks like 0.0.0.0:7000"):
        _ = Address(listen).port


def test_init_names_what_is_missing(tmp_path: Path) -> None:
    """One line names all variables that are not set, and nothing is made."""
    with pytest.raises(RuntimeError, match=r"LABKIT_MYSQL, .*LABKIT_PLATFORM must say"):
        standalone.init(Home(tmp_path / "home"), Settings(broker="kafka:9092"))
    assert not (tmp_path / "home").exists()


def test_a_home_that_was_not_founded(tmp_path: Path) -> None:
    """A service that comes too early says what is missing, and makes no secret of its own."""
    with pytest.raises(RuntimeError, match=r"lacks secret, .*lab.json: labkit init makes them"):
        standalone.serve(Home(tmp_path), "order", 0, LOOPBACK)
    assert list(tmp_path.iterdir()) == []


def test_no_supervisor_in_a_home_for_services(tmp_path: Path) -> None:
    """`labkit up` there would put the schemas aside under the services that use them."""
    home = Home(tmp_path).make()
    write_whole(home.state_file, state_in_json(phase=Phase.FOUNDED))
    with pytest.raises(RuntimeError, match="labkit serve: name another home"):
        launch.up(home)


def test_no_such_service(tmp_path: Path) -> None:
    """The line names all that there are."""
    with pytest.raises(ValueError, match=r"orders: .* service; order, .*platform are"):
        standalone.serve(Home(tmp_path), "orders", 0, LOOPBACK)


def test_each_instance_has_a_number_of_its_own(tmp_path: Path) -> None:
    """The first free one, for as long as the process lives; another service counts by itself."""
    home = Home(tmp_path).make()
    assert [standalone._number(home, "order") for _ in range(3)] == [1, 2, 3]
    assert standalone._number(home, "goods") == 1
