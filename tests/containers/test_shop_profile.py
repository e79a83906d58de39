"""The shop in containers, one for each service, as `docker compose --profile shop up` starts it."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from docker import DockerClient
from docker.models.containers import Container
from docker.utils import parse_bytes

from labkit.shop.codes import Code
from labkit.shop.order.pricing import shipping_fee
from labkit.stack.setup.seeds import first_data
from labkit.stack.supervisor.service_process import PROCESSES
from labkit.waiting import wait_until
from tests.support.containers.shop import READY_SECONDS, Shop, ready, running
from tests.support.containers.stacks import own_settings

pytestmark = pytest.mark.timeout(900)
GOODS, USER = first_data("goods")[0], first_data("users")[0]
PUBLISHED = {"order-web", "pay-web", "platform"}
PAID = 2


@pytest.fixture(scope="module")
def shop(docker: DockerClient) -> Iterator[Shop]:
    """The whole profile, on a network of its own and with ports of 127.0.0.1."""
    settings = own_settings().model_copy(update={"containers_network": ""})
    with running(docker, settings) as started:
        yield started


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=15, trust_env=False) as client:
        yield client


def place(http: httpx.Client, shop: Shop, key: str) -> dict[str, Any]:
    """Place an order, and say what came of it; the same key is the same order."""
    price = GOODS["goods_price"]
    body = {
        "user_id": USER["user_id"],
        "goods_id": GOODS["goods_id"],
        "goods_number": 1,
        "goods_price": price,
        "shipping_fee": shipping_fee(price),
        "coupon_id": None,
        "order_amount": price + shipping_fee(price),
        "money_paid": 0,
        "address": "北京",
        "consignee": "刘备",
    }
    try:
        answer = http.post(
            f"{shop.orders}/order/confirm", json=body, headers={"Idempotency-Key": key}
        )
    except httpx.HTTPError as error:
        return {"success": False, "message": repr(error)}
    return dict(answer.json())


def confirmed(http: httpx.Client, shop: Shop, key: str) -> str:
    """Ask under one key until the order is confirmed; place another where it is refused for good.

    Returns:
        Its id.
    """
    answers: list[dict[str, Any]] = []

    def done() -> str | None:
        refused = sum(answer.get("code") == Code.ORDER_CANCELLED for answer in answers)
        answers.append(place(http, shop, f"{key}-{refused}"))
        return answers[-1]["data"]["order_id"] if answers[-1]["success"] else None

    return str(wait_until(done, f"order {key} is confirmed", READY_SECONDS))


def labkit(container: Container, *command: str) -> str:
    """Return the output of a labkit command inside a container; it must succeed."""
    answer = container.exec_run(["labkit", *command])
    assert answer.exit_code == 0, answer.output.decode()
    return str(answer.output.decode())


def held(shop: Shop) -> list[str]:
    """Let everything settle; the invariants that do not hold."""
    order = shop.container("order")
    labkit(order, "settle", "--timeout", "120")
    return [
        load["name"] for load in json.loads(labkit(order, "check", "--json")) if not load["held"]
    ]


def kill(container: Container) -> None:
    """Kill −9 the service: all processes but the first, which the kernel protects from inside.

    `docker kill` would not do: the engine does not start again what it killed itself.
    """
    container.exec_run(["bash", "-c", "kill -9 -1"])


def test_an_order_is_placed_and_paid_from_outside(shop: Shop, http: httpx.Client) -> None:
    """Through the published ports alone; the callback comes on the network of the containers."""
    order = confirmed(http, shop, "outside")
    opened = http.post(f"{shop.payments}/pay/createPayment", json={"order_id": order}).json()
    cashier = opened["data"]["cashier_url"]
    assert cashier.startswith(f"{shop.cashier}/cashier/")
    assert http.post(f"{cashier}/pay").json()["success"]

    def paid() -> bool:
        answer = http.get(f"{shop.orders}/order/{order}").json()
        return bool(answer["data"]["pay_status"] == PAID)

    wait_until(paid, f"order {order} is paid", READY_SECONDS)


def test_a_service_can_do_little(shop: Shop) -> None:
    """No root, no rights, nothing to write to but its home, a limit, no port but three."""
    look = "id -u; touch /opt/labkit/x /home/shop/x 2>&1; grep CapBnd /proc/self/status"
    for name in PROCESSES:
        container = shop.container(name)
        output = container.exec_run(["bash", "-c", look]).output.decode()
        assert output.startswith("1000\n")
        assert output.count("Read-only file system") == 2
        assert output.split()[-1].strip("0") == ""
        host = container.attrs["HostConfig"]
        assert host["Memory"] == parse_bytes(shop.described[name].mem_limit)
        bound = [
            port["HostIp"] for ports in (host["PortBindings"] or {}).values() for port in ports
        ]
        assert bound == (["127.0.0.1"] if name in PUBLISHED else [])


def test_what_init_makes_is_made_once(shop: Shop, http: httpx.Client) -> None:
    """A second `up` runs init beside living services: no order is lost, and the next is placed."""
    order = confirmed(http, shop, "before-init")
    shop.container("init").remove()
    shop.init()
    assert confirmed(http, shop, "before-init") == order
    confirmed(http, shop, "after-init")


def test_only_init_knows_the_password_of_root(shop: Shop) -> None:
    """No file of the home, which the services share, holds it; theirs reach one schema each."""
    (home,) = shop.described["init"].volumes
    secret = shop.described["init"].environment["LABKIT_MYSQL"]
    grep = ["grep", "-rlF", secret.removeprefix("mysql+pymysql://"), home.partition(":")[2]]
    answer = shop.container("order").exec_run(grep)
    assert (answer.exit_code, answer.output) == (1, b"")


def test_killed_services_come_back_and_orders_go_on(shop: Shop, http: httpx.Client) -> None:
    """The engine starts them again; orders under way end once, the next succeed, all holds."""
    for name in ("goods", "order", "order-web"):
        victim = shop.container(name)
        restarts = victim.attrs["RestartCount"]
        place(http, shop, f"{name} 0")
        kill(victim)
        orders = [confirmed(http, shop, f"{name} {number}") for number in range(3)]
        assert len(set(orders)) == 3
        ready(victim)
        assert victim.attrs["RestartCount"] == restarts + 1
    assert held(shop) == []


def test_two_instances_on_one_home(shop: Shop, http: httpx.Client) -> None:
    """As --scale order=2 has it: each has its number, and one goes on without the other."""
    ready(shop.start("order", 2))
    look = ["bash", "-c", "cat /home/shop/lab/registry/order.*.json"]
    entries = shop.container("order-web").exec_run(look).output
    assert b'"instance": 1' in entries
    assert b'"instance": 2' in entries
    shop.container("order").kill()  # for good: the engine starts nothing again that it killed
    for number in range(3):
        confirmed(http, shop, f"alone {number}")
    shop.container("order").start()
    ready(shop.container("order"))


def test_an_instance_on_a_copy_of_the_home(shop: Shop, http: httpx.Client) -> None:
    """As on another machine: five files are enough for it to find all, and to be found."""
    shop.copy_home("elsewhere", "secret", "settings.json", "schemas.json", "lab.json", "keys")
    command = [*shop.described["goods"].command, "--instance", "2"]
    ready(shop.start("goods", 2, command=command, volumes=["elsewhere:/home/shop/lab"]))
    shop.container("goods").kill()
    for number in range(3):
        confirmed(http, shop, f"elsewhere {number}")
    assert held(shop) == []
