"""RSA2, the signature of Alipay (支付宝): RSA-SHA256 over the sorted parameters.

Both sides sign with it: the merchant its requests, the platform its answers and notices.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

SIGN_TYPE = "RSA2"
_NOT_SIGNED = ("sign", "sign_type")
_MAX_PARAMETERS = 64
#: What would read as another parameter: {"a": "1&b=2"} must not have the signature of {a: 1, b: 2}.
_SMUGGLED = re.compile(r"&[^&=]*=")


def canonical(params: Mapping[str, str]) -> str:
    """Return the text that is signed: sorted `key=value` pairs with `&` between.

    It leaves out `sign`, `sign_type` and parameters with an empty value.

    Raises:
        ValueError: other parameters would give the same text, so that it could not be trusted.
    """
    pairs = sorted((k, v) for k, v in params.items() if v and k not in _NOT_SIGNED)
    for key, value in pairs:
        if not key or "&" in key or "=" in key or _SMUGGLED.search(value):
            raise ValueError(f"the parameter {key[:64]!r} holds what reads as another parameter")
    return "&".join(f"{key}={value}" for key, value in pairs)


def sign(key: RSAPrivateKey, params: Mapping[str, str]) -> str:
    """Sign the parameters, in base64.

    Raises:
        ValueError: as `canonical`.
    """
    signature = key.sign(canonical(params).encode(), PKCS1v15(), SHA256())
    return base64.b64encode(signature).decode()


def signed(key: RSAPrivateKey, params: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters with their `sign_type` and `sign`.

    Raises:
        ValueError: as `canonical`.
    """
    return {**params, "sign_type": SIGN_TYPE, "sign": sign(key, params)}


def verify(key: RSAPublicKey, params: Mapping[str, str]) -> bool:
    """Return True if the owner of the key signed exactly these parameters.

    The library compares, in a time that does not depend on how much of the signature is right.
    """
    text = params.get("sign", "")
    try:
        signature = base64.b64decode(text, validate=True)
        key.verify(signature, canonical(params).encode(), PKCS1v15(), SHA256())
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    # one signature has one spelling, though base64 would let the last letter vary
    return params.get("sign_type") == SIGN_TYPE and base64.b64encode(signature).decode() == text


def read_form(body: bytes) -> dict[str, str]:
    """Parse a form, in which each parameter may stand once.

    Args:
        body: as it came, percent-encoded UTF-8.

    Raises:
        ValueError: no form, no UTF-8, more than 64 parameters, or one of them repeated.
    """
    pairs = parse_qsl(
        body.decode("ascii"),
        keep_blank_values=True,
        strict_parsing=bool(body),
        errors="strict",
        max_num_fields=_MAX_PARAMETERS,
    )
    params = dict(pairs)
    if len(params) != len(pairs):
        raise ValueError("a parameter is repeated")
    return params
