"""A history of clients' requests and their answers, kept in the lab's home.

It is kept where the home has the file (`Lab.up(history=True)` makes it). A request is recorded
before it is sent and its answer when it has come, each as a line of JSON that is appended in one
write. So a client may be killed at any moment: a request without an answer is one whose answer is
unknown, and a torn line is skipped. A reset empties the file.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import uuid4

from pydantic import ValidationError

from labkit.home import Home
from labkit.shop.messages import PlaceOrder

if TYPE_CHECKING:
    import httpx

#: An object of JSON.
_Json: TypeAlias = dict[str, Any]


class RequestKind(StrEnum):
    """Kinds of requests of a client."""

    PLACE = "place"
    FIND = "find"
    CANCEL = "cancel"
    RETURN = "return"
    OPEN_PAYMENT = "open_payment"
    FIND_PAYMENT = "find_payment"
    PAY = "pay"
    GIVE_UP = "give-up"


#: Requests that change nothing.
READ_ONLY = (RequestKind.FIND, RequestKind.FIND_PAYMENT)


@dataclass(frozen=True)
class Exchange:
    """One request, and the answer that its client got.

    Attributes:
        kind: of the request.
        number: of the request, which no other one has.
        subject: the order, the payment, or the cashier's address that the request was about.
        key: the Idempotency-Key.
        body: of the request.
        status: of the HTTP answer; 0 where the answer is unknown.
        code: in the answer, of the catalogue.
        name: of that code.
        message: in the answer.
        data: in the answer.
    """

    kind: RequestKind
    number: str
    subject: str = ""
    key: str | None = None
    body: Mapping[str, object] = field(default_factory=dict)
    status: int = 0
    code: int = 0
    name: str = ""
    message: str = ""
    data: Mapping[str, object] = field(default_factory=dict)

    @property
    def user_id(self) -> int | None:
        """Return the user, where the request names one."""
        return _as_id(self.body.get("user_id"))

    @property
    def order_id(self) -> int | None:
        """Return the order, where the answer or the request names one."""
        is_about_order = self.kind not in (
            RequestKind.PLACE,
            RequestKind.FIND_PAYMENT,
            RequestKind.PAY,
            RequestKind.GIVE_UP,
        )
        return _as_id(self.data.get("order_id") or (self.subject if is_about_order else None))

    @property
    def pay_id(self) -> int | None:
        """Return the payment, where the answer or the request names one; the platform's too."""
        answered = self.data.get("pay_id") or self.data.get("out_trade_no")
        is_about_payment = self.kind is RequestKind.FIND_PAYMENT
        return _as_id(answered or (self.subject if is_about_payment else None))

    @property
    def request(self) -> str:
        """Return a text that two exchanges share if and only if their requests are the same."""
        body = json.dumps(dict(self.body), sort_keys=True, ensure_ascii=False)
        return f"{self.key} {body}" if self.key else self.number

    @property
    def request_hash(self) -> str | None:
        """Return the hash under which the shop keeps the request; None where it cannot be one."""
        try:
            request = PlaceOrder.model_validate({"coupon_id": None, **self.body})
        except ValidationError:
            return None
        if request.model_extra:  # the web refuses what it does not know
            return None
        return request.digest()


class History:
    """The history of one home.

    Args:
        home: of the lab.
    """

    def __init__(self, home: Home) -> None:
        self._path = home.history_file

    @property
    def is_recording(self) -> bool:
        """Return True if requests and answers are recorded."""
        return self._path.exists()

    def start(self) -> None:
        """Record requests and answers from now on, in all processes."""
        self._path.touch(mode=0o600)

    def exchanges(self) -> list[Exchange]:
        """Read all requests, each with its answer; none where none is recorded."""
        exchanges: dict[str, Exchange] = {}
        for line in self._lines():
            number = line.pop("number", "")
            if "ask" in line:
                exchanges[number] = Exchange(RequestKind(line.pop("ask")), number, **line)
            elif number in exchanges:  # else the request was sent before a reset
                exchanges[number] = Exchange(**{**vars(exchanges[number]), **line})
        return list(exchanges.values())

    def record(
        self, kind: RequestKind, send: "Callable[[], httpx.Response]", **details: object
    ) -> "httpx.Response":
        """Send a request; where a history is kept, record it before, and its answer afterwards.

        Args:
            kind: of the request.
            send: sends the request.
            details: `subject`, `key` and `body` of the exchange.

        Raises:
            OSError: the request cannot be recorded; it was not sent.
        """
        if not self.is_recording:
            return send()
        number = uuid4().hex
        self._append({"ask": kind, "number": number, **details})
        response = send()
        with suppress(OSError):  # then the answer stays unknown
            self._append({"number": number, **_read(response)})
        return response

    def _append(self, line: Mapping[str, object]) -> None:
        """Append a line in one write; it begins with a line feed, which ends a torn line."""
        text = f"\n{json.dumps(line, ensure_ascii=False, default=str)}\n".encode()
        with suppress(FileNotFoundError):  # it is not kept any more
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND)
            try:
                if os.write(descriptor, text) < len(text):
                    raise OSError(f"{self._path}: a line was torn; is the disk full?")
            finally:
                os.close(descriptor)

    def _lines(self) -> Iterator[_Json]:
        with suppress(FileNotFoundError), self._path.open("rb") as file:
            for line in filter(bytes.strip, file):
                with suppress(ValueError):  # a torn line, which a client that died left
                    yield json.loads(line)


def _read(response: "httpx.Response") -> _Json:
    """Read an answer; where it is no `Result`, only the status counts."""
    try:
        result = response.json()
        fields = {name: result[name] for name in ("code", "name", "message")}
        return {"status": response.status_code, **fields, "data": result["data"] or {}}
    except (ValueError, KeyError, TypeError):
        return {"status": response.status_code}


def _as_id(value: object) -> int | None:
    """Return an id as a number; None where it can be none."""
    text = str(value)
    return int(text) if text.isdecimal() and int(text) < 1 << 63 else None
