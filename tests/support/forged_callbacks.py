"""Callbacks made by hand, signed by whom one likes: the platform's rules worked out once more."""

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

if TYPE_CHECKING:
    from tests.support.history import History

Fields = dict[str, str]
FOREIGN = rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Forger:
    """Signs with the platform's own key, read from the home, or with any other.

    Args:
        home: of the lab.
        history: of which payments are told.
    """

    def __init__(self, home: Path, history: "History") -> None:
        self._keys, self._history = home / "keys", history

    def notice(self, pay_id: int | None, **changed: str) -> Fields:
        """Return the platform's notice of a trade as paid now, changed and then signed."""
        [trade] = self._history.tables.rows(
            "platform", "SELECT * FROM platform_trade WHERE out_trade_no = :pay_id", pay_id=pay_id
        )
        fields = {
            "app_id": "2026000100000001",
            "notify_id": "4711",
            "notify_time": "2026-01-01 00:00:00",
            "notify_type": "trade_status_sync",
            "out_trade_no": str(pay_id),
            "trade_no": str(trade["trade_no"]),
            "trade_status": "TRADE_SUCCESS",
            "total_amount": str(trade["total_amount"]),
            "subject": trade["subject"],
        }
        return self.signed(fields | changed)

    def signed(self, fields: Fields, by: str = "platform") -> Fields:
        """Fields with their signature, by `platform`, `merchant` or somebody `foreign`."""
        key: Any = FOREIGN
        if by != "foreign":
            key = load_pem_private_key((self._keys / f"{by}.pem").read_bytes(), None)
        pairs = sorted(
            (name, text)
            for name, text in fields.items()
            if text and name not in ("sign", "sign_type")
        )
        text = "&".join(f"{name}={value}" for name, value in pairs)
        sign = base64.b64encode(key.sign(text.encode(), PKCS1v15(), SHA256())).decode()
        return {**fields, "sign_type": "RSA2", "sign": sign}

    def send(self, fields: Fields) -> httpx.Response:
        """Call the shop back."""
        return self._history.http.post(f"{self._history.pay_web}/pay/callback", data=fields)
