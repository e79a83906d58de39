"""The cashier page: one template, with its style and script inside, and a policy that allows both.

Nothing else can run or load in it: the Content-Security-Policy names the two by their hashes.
"""

import hashlib
from base64 import b64encode
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from labkit.payment_api.trade_status import TradeStatus
from labkit.payment_platform.messages import CashierTrade
from labkit.payment_platform.texts import PLATFORM, WORDS, moment, yuan
from labkit.results import Result
from labkit.shop.codes import Code

_FOLDER = Path(__file__).parent / "pages"
_PROBLEMS = {Code.PAYMENT_NOT_FOUND: "unknown", Code.DEPENDENCY_AWAY: "away"}


class Page:
    """Renders the page.

    Attributes:
        headers: of every answer of the cashier.
    """

    def __init__(self) -> None:
        style, script = (_read("cashier.css"), _read("cashier.js"))
        self.headers = {
            "Cache-Control": "no-store",
            "Content-Security-Policy": _policy(style, script),
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        pages = Environment(
            loader=FileSystemLoader(_FOLDER),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        pages.globals.update(style=Markup(style), script=Markup(script))  # ours: not escaped
        pages.globals.update(platform=PLATFORM, languages=WORDS, yuan=yuan, moment=moment)
        self._template = pages.get_template("cashier.html")

    def render(self, result: Result[CashierTrade], language: str, path: str, query: str) -> str:
        """Render the page as HTML.

        Args:
            result: with the trade, or the reason why there is none.
            language: of the page.
            path: of the trade's page.
            query: of its forms: the language, if the user chose it.
        """
        trade = result.data
        state = state_of(trade) if trade else _PROBLEMS.get(Code(result.code), "refused")
        return self._template.render(
            state=state,
            trade=trade,
            language=language,
            words=WORDS[language],
            path=path,
            query=query,
        )


def state_of(trade: CashierTrade) -> str:
    """Return the state that the page shows: waiting, paid, closed (by someone), or expired."""
    if trade.trade_status == TradeStatus.TRADE_SUCCESS:
        return "paid"
    if (trade.close_time or trade.now) >= trade.time_expire:
        return "expired"
    return "waiting" if trade.trade_status == TradeStatus.WAIT_BUYER_PAY else "closed"


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
