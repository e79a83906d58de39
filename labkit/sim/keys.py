"""Simulated key pairs: an HMAC in place of RSA, which would take most of a life's time."""

import hashlib
import hmac
from typing import cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey


class _Key:
    """Both halves of a pair."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def sign(self, data: bytes, *_how: object) -> bytes:
        """Sign some bytes."""
        return hmac.digest(self._secret, data, hashlib.sha256)

    def verify(self, signature: bytes, data: bytes, *_how: object) -> None:
        """Verify a signature.

        Raises:
            InvalidSignature: it is not the owner's over these bytes.
        """
        if not hmac.compare_digest(signature, self.sign(data)):
            raise InvalidSignature

    def public_key(self) -> "_Key":
        """Return the public half."""
        return self


def private(owner: str) -> RSAPrivateKey:
    """Return the private key of an owner."""
    return cast(RSAPrivateKey, _Key(owner.encode()))


def public(owner: str) -> RSAPublicKey:
    """Return the public key of an owner."""
    return cast(RSAPublicKey, _Key(owner.encode()))
