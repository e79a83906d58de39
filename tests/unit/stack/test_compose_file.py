"""compose/compose.yaml as people start it, and as labkit reads it."""

import re
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from labkit.settings import Settings
from labkit.stack.containers import compose_file
from labkit.stack.containers.compose_file import Service
from labkit.stack.supervisor.service_process import PROCESSES
from labkit.stack.supervisor.standalone import NEEDED

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "compose" / "compose.yaml").read_text()
FILE = yaml.safe_load(TEXT)
SERVICES = compose_file.read(Settings()).services
#: Set where the containers have this machine's network, and by nobody else.
OF_HOST_NETWORK = {"LABKIT_LISTEN", "LABKIT_KAFKA_INSIDE_PORT", "LABKIT_KAFKA_CONTROLLER_PORT"}
#: Of the profile `shop`, which Compose alone starts: for people.
OF_THE_SHOP = {
    "LABKIT_SHOP_IMAGE",
    "LABKIT_ORDER_WEB_PORT",
    "LABKIT_PAY_WEB_PORT",
    "LABKIT_CASHIER_PORT",
}
SHOP = {name: process for name, process in FILE["services"].items() if "profiles" in process}


def test_every_variable_of_the_file_is_a_setting() -> None:
    """A variable of the file can be set in the same way for Compose and for labkit."""
    variables = set(re.findall(r"\$\{(\w+)", TEXT)) - {"LABKIT_"}
    settings = {f"LABKIT_{name.upper()}" for name in Settings.model_fields}
    assert variables > OF_HOST_NETWORK | OF_THE_SHOP
    assert variables - OF_HOST_NETWORK - OF_THE_SHOP <= settings


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_whole(name: str) -> None:
    """Pinned image, a limit, a volume that is declared, and a port of this machine alone."""
    service = SERVICES[name]
    assert re.fullmatch(r"[a-z/]+:\d+\.\d+\.\d+", service.image)
    assert service.mem_limit
    assert all(volume.split(":")[0] in FILE["volumes"] for volume in service.volumes)
    assert all(port.startswith("127.0.0.1:") for port in service.ports)
    assert service.labels["io.labkit.address"] == f"127.0.0.1:{service.port}"
    assert str(service.port) in service.healthcheck.test[-1]


def test_settings_stand_for_variables() -> None:
    """A setting goes wherever the file names it, and `$$` is a dollar."""
    project = compose_file.read(Settings(mysql_port=3307, mysql_password="it's ${odd}"))
    mysql = project.services["mysql"]
    assert (project.name, mysql.port) == ("labkit", 3307)
    assert "--port=3307" in (mysql.command or [])
    assert mysql.environment["MYSQL_ROOT_PASSWORD"] == "it's ${odd}"
    assert '"$MYSQL_ROOT_PASSWORD"' in mysql.healthcheck.test[-1]


def test_on_the_host_network_all_listen_on_the_loopback() -> None:
    """No server can be reached from another machine, and Kafka's ports follow each other."""
    services = compose_file.read(Settings(containers_network="host", kafka_port=9192)).services
    everything = str([service.model_dump() for service in services.values()])
    assert "0.0.0.0" not in everything
    assert services["kafka"].listens == [9192, 9193, 9194]


def test_what_labkit_would_not_do_is_refused() -> None:
    """A key that only Compose understands would make the two differ: it is an error."""
    described = SERVICES["kafka"].model_dump()
    with pytest.raises(ValidationError, match="privileged"):
        Service.model_validate(described | {"privileged": True})


def test_a_profile_is_left_to_compose() -> None:
    """A container that starts only on demand is not among the services."""
    assert set(SERVICES) == set(FILE["services"]) - set(SHOP)


def test_the_shop_is_whole() -> None:
    """Every kind of process has a container that serves it, and no other port than of localhost."""
    serving = {
        service["command"][1] for service in SHOP.values() if service["command"][0] == "serve"
    }
    assert serving == set(PROCESSES) == set(SHOP) - {"init"}
    ports = [port for service in SHOP.values() for port in service.get("ports", [])]
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_init_is_told_all_that_it_needs() -> None:
    """Its variables are settings, and none that services cannot do without is missing."""
    settings = {name.removeprefix("LABKIT_").lower() for name in SHOP["init"]["environment"]}
    assert settings == set(NEEDED)
    assert settings <= set(Settings.model_fields)
