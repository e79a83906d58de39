"""An answer as a notebook shows it: status, code and message, with short names for ids."""

from collections.abc import Callable
from typing import Any

import httpx

from labkit.printable import printable
from labkit.results import Result


class Answer:
    """What the shop, or the payment platform, answered to one request.

    Args:
        response: as it came.
        alias: puts short names in place of ids.

    Attributes:
        status: the HTTP status.
        result: the `Result`.
    """

    def __init__(self, response: httpx.Response, alias: Callable[[str], str]) -> None:
        self.status = response.status_code
        self.result = Result[Any].model_validate_json(response.text)
        self._alias = alias

    @property
    def order_id(self) -> str | None:
        """The order, where the answer names one."""
        return self._named("order_id")

    @property
    def pay_id(self) -> str | None:
        """The payment, where the answer names one; the platform calls it `out_trade_no`."""
        return self._named("pay_id") or self._named("out_trade_no")

    @property
    def cashier_url(self) -> str | None:
        """Where the payment is paid, where the answer says it."""
        return self._named("cashier_url")

    def _named(self, field: str) -> str | None:
        data: dict[str, str] = self.result.data or {}
        return data.get(field)

    def __repr__(self) -> str:
        text = f"{self.status} {self.result.name}: {self._alias(self.result.message)}"
        return printable(text)
