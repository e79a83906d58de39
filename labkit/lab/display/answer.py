"""Answers as a notebook shows them: status, code and message, with short names for ids."""

from collections.abc import Callable

import httpx

from labkit.printable import printable
from labkit.results import Result


class Answer:
    """The answer of the shop, or of the payment platform, to one request.

    Args:
        response: of the web or the cashier.
        alias: replaces ids in a text by short names.

    Attributes:
        status: the HTTP status.
        result: the `Result`.
    """

    def __init__(self, response: httpx.Response, alias: Callable[[str], str]) -> None:
        self.status = response.status_code
        self.result = Result[dict[str, object]].model_validate_json(response.text)
        self._alias = alias

    @property
    def order_id(self) -> str | None:
        """Return the order's id, where the answer names one."""
        return self._named("order_id")

    @property
    def pay_id(self) -> str | None:
        """Return the payment's id (`out_trade_no` at the platform), where the answer names one."""
        return self._named("pay_id") or self._named("out_trade_no")

    @property
    def cashier_url(self) -> str | None:
        """Return the address of the cashier page, where the answer names one."""
        return self._named("cashier_url")

    def _named(self, field: str) -> str | None:
        value = (self.result.data or {}).get(field)
        return None if value is None else str(value)

    def __repr__(self) -> str:
        text = f"{self.status} {self.result.name}: {self._alias(self.result.message)}"
        return printable(text)
