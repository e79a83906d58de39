"""Stories of much at once: large calls that travel together, and an answer that all wait behind."""

import socket
from contextlib import ExitStack
from urllib.parse import urlencode, urlsplit

from labkit.faults import points
from labkit.matrix.context import ScenarioContext
from labkit.matrix.customer import Unexpected
from labkit.matrix.scenario import IS_PAID, Script
from labkit.stack.supervisor import launch
from tests.support.forged_callbacks import Forger
from tests.support.history import History

_ASKED, _TELLS = "pay.query_trade.after_call", "platform.notify.before_notify"
_SLOW_SECONDS = 45.0  # longer than anybody waits for the other payment
_FOR_EVER = 10**6
#: Of one flood, which comes while the pay service stands still, so that all of it waits together.
_CALLBACKS, _LOOK_UP_EVERY = 130, 2
#: In JSON each of these letters takes six bytes: a call is far longer than its request.
_LARGE = "\x01" * 60_000
_FLOODS = 6


def slow_answer(context: ScenarioContext) -> Script:
    """Delay the platform's answer about one payment, and let no callback tell of another."""
    slow, other = (context.customer.order(money_paid=1_00) for _ in range(2))
    yield
    context.inject(_ASKED, f"delay:{_SLOW_SECONDS}")
    first = context.customer.open_cashier(slow)
    context.customer.wait_until(
        lambda: not context.unspent_faults(), "an answer about the first payment is on its way"
    )
    points.arm(context.lab.home, _TELLS, "refuse", _FOR_EVER)
    context.customer.press(context.customer.open_cashier(other))
    context.customer.wait_until_paid(other)
    points.disarm(context.lab.home, _TELLS)
    context.customer.press(first)
    context.customer.wait_until_paid(slow)
    return {slow: IS_PAID, other: IS_PAID}


def large_callbacks(context: ScenarioContext) -> Script:
    """Send large callbacks, genuine ones, and look a payment up among them."""
    order = context.customer.order(money_paid=1_00)
    context.customer.pay(order)
    pay_id = int(context.customer.find_payment(order)["pay_id"])
    home = context.lab.home.folder
    forger = Forger(home, History(home))
    callbacks = [_large(forger, pay_id, number) for number in range(_CALLBACKS)]
    yield
    for _ in range(_FLOODS):
        _flood(context, callbacks, pay_id)
    return {order: IS_PAID}


def _flood(context: ScenarioContext, callbacks: list[str], pay_id: int) -> None:
    """Let callbacks wait for the pay service, and a look-up of a payment among them.

    Raises:
        Unexpected: a message was too long, which broke the line for all that travelled with it.
    """
    place = urlsplit(launch.status(context.lab.home)["endpoints"]["pay-web"])
    requests = [_request("POST /pay/callback", form) for form in callbacks]
    for number in range(0, len(callbacks), _LOOK_UP_EVERY):
        requests.insert(number, _request(f"GET /pay/{pay_id}"))
    with ExitStack() as stack:
        with context.lab.faults.paused("pay"):
            lines = [
                stack.enter_context(_send(place.hostname or "", place.port or 0, request))
                for request in requests
            ]
        answers = [_answer(line) for line in lines]
    broken = [answer for answer in answers if "a message may have" in answer]
    if broken:
        raise Unexpected(f"who came with large callbacks is answered: {broken[0]}")


def _large(forger: Forger, pay_id: int, number: int) -> str:
    """Make a callback of which no other says the same, as a form."""
    text = f"{number}{_LARGE}"
    fields = forger.notice(pay_id, body=text)
    return urlencode({**fields, "body": ""}).replace("body=", f"body={text}")


def _request(what: str, form: str = "") -> bytes:
    head = (
        f"{what} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(form)}\r\n\r\n"
    )
    return (head + form).encode()


def _send(host: str, port: int, request: bytes) -> socket.socket:
    """Send a request; its answer is read later."""
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * len(request))
    line.connect((host, port))
    line.settimeout(30)
    line.sendall(request)
    return line


def _answer(line: socket.socket) -> str:
    with line.makefile("rb") as answer:
        return answer.read().decode().partition("\r\n\r\n")[2]
