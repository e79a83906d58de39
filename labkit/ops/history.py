"""What clients asked a lab and what they were told, kept in its home for who wants to compare.

It is kept where the home has the file (`Lab.up(history=True)` makes it). A request is noted before
it is sent, its answer when it has come, each as a line of JSON that is appended in one write. So a
client may be killed at any moment: a request without an answer is one of whose answer nothing is
known, and a line that was torn is passed over. A reset empties the file.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pydantic import ValidationError

from labkit.home import Home
from labkit.shop.messages import PlaceOrder

if TYPE_CHECKING:
    import httpx


class Ask(StrEnum):
    """What a client can ask."""

    PLACE = "place"
    FIND = "find"
    CANCEL = "cancel"
    RETURN = "return"
    OPEN_PAYMENT = "open_payment"
    FIND_PAYMENT = "find_payment"
    PAY = "pay"
    GIVE_UP = "give-up"


#: What changes nothing.
LOOKING = (Ask.FIND, Ask.FIND_PAYMENT)


@dataclass(frozen=True)
class Told:
    """One request, and what its client was told.

    Attributes:
        ask: what was asked.
        number: of the request, which nothing else bears.
        subject: the order, the payment, or the cashier's address that it was about.
        key: the Idempotency-Key.
        body: what was asked for.
        status: of the HTTP answer; 0 where no answer is known.
        code: that was answered, of the catalogue.
        name: of that code.
        message: that was answered.
        data: that was answered.
    """

    ask: Ask
    number: str
    subject: str = ""
    key: str | None = None
    body: Mapping[str, Any] = field(default_factory=dict)
    status: int = 0
    code: int = 0
    name: str = ""
    message: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def user_id(self) -> int | None:
        """Who asked, where the request says so."""
        return _whole(self.body.get("user_id"))

    @property
    def order_id(self) -> int | None:
        """The order, where the answer or the request names one."""
        of_order = self.ask not in (Ask.PLACE, Ask.FIND_PAYMENT, Ask.PAY, Ask.GIVE_UP)
        return _whole(self.data.get("order_id") or (self.subject if of_order else None))

    @property
    def pay_id(self) -> int | None:
        """The payment, where the answer or the request names one; the platform's word differs."""
        named = self.data.get("pay_id") or self.data.get("out_trade_no")
        return _whole(named or (self.subject if self.ask is Ask.FIND_PAYMENT else None))

    @property
    def request(self) -> str:
        """What two requests have in common if and only if they are one and the same."""
        same = json.dumps(dict(self.body), sort_keys=True, ensure_ascii=False)
        return f"{self.key} {same}" if self.key else self.number

    @property
    def request_hash(self) -> str | None:
        """The hash under which the shop keeps the request; None where it cannot be one."""
        try:
            asked = PlaceOrder.model_validate({"coupon_id": None, **self.body})
        except ValidationError:
            return None
        return hashlib.sha256(asked.model_dump_json().encode()).hexdigest()


class History:
    """The history of one home.

    Args:
        home: whose file it is.
    """

    def __init__(self, home: Home) -> None:
        self._path = home.history_file

    @property
    def is_kept(self) -> bool:
        """Whether requests and answers are noted."""
        return self._path.exists()

    def keep(self) -> None:
        """Note requests and answers from now on, whoever the client is."""
        self._path.touch(mode=0o600)

    def told(self) -> list[Told]:
        """Read all that was asked, each request with its answer; nothing where none is kept."""
        asked: dict[str, Told] = {}
        for line in self._lines():
            number = line.pop("number", "")
            if "ask" in line:
                asked[number] = Told(Ask(line.pop("ask")), number, **line)
            elif number in asked:  # else it was asked before a reset
                asked[number] = Told(**{**vars(asked[number]), **line})
        return list(asked.values())

    def note(
        self, ask: Ask, send: "Callable[[], httpx.Response]", **about: str | dict[str, Any] | None
    ) -> "httpx.Response":
        """Send a request; where a history is kept, note it before and its answer afterwards.

        Args:
            ask: what is asked.
            send: sends the request.
            about: `subject`, `key` and `body`, as `Told` has them.

        Raises:
            OSError: the request cannot be noted; it was not sent.
        """
        if not self.is_kept:
            return send()
        number = uuid4().hex
        self._append({"ask": ask, "number": number, **about})
        response = send()
        with suppress(OSError):  # then no answer is known
            self._append({"number": number, **_read(response)})
        return response

    def _append(self, line: Mapping[str, Any]) -> None:
        """Append a line in one write, also behind one that was torn."""
        text = f"\n{json.dumps(line, ensure_ascii=False, default=str)}\n".encode()
        with suppress(FileNotFoundError):  # it is not kept any more
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND)
            try:
                if os.write(descriptor, text) < len(text):
                    raise OSError(f"{self._path}: a line was torn; is the disk full?")
            finally:
                os.close(descriptor)

    def _lines(self) -> Iterator[dict[str, Any]]:
        with suppress(FileNotFoundError), self._path.open("rb") as file:
            for line in filter(bytes.strip, file):
                with suppress(ValueError):  # a part of a line, which a client that died left
                    yield json.loads(line)


def _read(response: "httpx.Response") -> dict[str, Any]:
    """Read an answer; of what is none of the shop's only the status counts."""
    try:
        result = response.json()
        told = {name: result[name] for name in ("code", "name", "message")}
        return {"status": response.status_code, **told, "data": result["data"] or {}}
    except (ValueError, KeyError, TypeError):
        return {"status": response.status_code}


def _whole(value: Any) -> int | None:
    """Return an id as a number; None where it can be none."""
    text = str(value)
    return int(text) if text.isdecimal() and int(text) < 1 << 63 else None
