"""A notice on the wire: its signed parameters, and the merchant's answer.

The failpoints that make the platform misbehave act here: a third party is not to be trusted.
"""

import asyncio
from functools import cache

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from labkit.payment_api import keys
from labkit.payment_api.http import Poster
from labkit.payment_api.signing import signed
from labkit.payment_platform.messages import Notice

_TIME = "%Y-%m-%d %H:%M:%S"


def params_of(notice: Notice) -> dict[str, str]:
    """Return the unsigned parameters of a notice, as Alipay names them."""
    paid = notice.pay_time.strftime(_TIME) if notice.pay_time else ""
    return {
        "app_id": keys.APP_ID,
        "charset": "utf-8",
        "gmt_payment": paid,
        "notify_id": str(notice.notify_id),
        "notify_time": notice.now.strftime(_TIME),
        "notify_type": "trade_status_sync",
        "out_trade_no": str(notice.out_trade_no),
        "subject": notice.subject,
        "total_amount": str(notice.total_amount),
        "trade_no": str(notice.trade_no),
        "trade_status": notice.trade_status,
        "version": "1.0",
    }


async def compose(notice: Notice, key: RSAPrivateKey, verb: str) -> dict[str, str]:
    """Sign the parameters of a notice; wrongly, if an armed failpoint asks for it.

    Args:
        notice: to be sent.
        key: the platform's.
        verb: `wrong_amount` signs a wrong amount, `forge` signs with a foreign key, `alter` changes
            the amount after the signing; any other does nothing.
    """
    params = params_of(notice)
    wrong = {"total_amount": str(notice.total_amount + 1)}
    if verb == "wrong_amount":
        return signed(key, params | wrong)
    if verb == "forge":
        return signed(await asyncio.to_thread(_foreign_key), params)
    return signed(key, params) | (wrong if verb == "alter" else {})


async def post(poster: Poster, url: str, params: dict[str, str]) -> str:
    """Send a notice.

    Returns:
        The answer in place of `success`; empty if it was `success`.
    """
    try:
        status, body = await poster.post(url, params)
    except OSError as error:
        return f"no answer: {error or type(error).__name__}"
    if status != 200 or body.strip() != b"success":
        return f"answered {status} {body[:100]!r}, not 200 success"
    return ""


@cache
def _foreign_key() -> RSAPrivateKey:
    return keys.new()
