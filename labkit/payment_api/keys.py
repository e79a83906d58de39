"""The key pairs of platform and merchant: made once, readable by their owner alone.

In production each side makes its own and hands over the public half. Here both lie in one home; a
reset keeps them.
"""

from pathlib import Path
from typing import cast

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from labkit.files import locked, write_whole

#: The merchant's number at the platform (商户号).
APP_ID = "2026000100000001"
PLATFORM, MERCHANT = OWNERS = "platform", "merchant"
_BITS = 2048


def make(folder: Path) -> None:
    """Make the missing pairs, under a lock.

    Args:
        folder: of the keys: `NAME.pem` is private, `NAME.pub` public.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    with locked(folder / "lock"):
        for name in OWNERS:
            if not (folder / f"{name}.pem").exists():
                write(folder, name, new())


def new() -> RSAPrivateKey:
    """Generate a private key, which holds its public half."""
    return rsa.generate_private_key(public_exponent=65537, key_size=_BITS)


def private(folder: Path, name: str) -> RSAPrivateKey:
    """Load the private key of `PLATFORM` or `MERCHANT`: for its owner alone."""
    text = (folder / f"{name}.pem").read_bytes()
    return cast(RSAPrivateKey, load_pem_private_key(text, password=None))


def public(folder: Path, name: str) -> RSAPublicKey:
    """Load the public key of `PLATFORM` or `MERCHANT`, with which the other side verifies."""
    return cast(RSAPublicKey, load_pem_public_key((folder / f"{name}.pub").read_bytes()))


def write(folder: Path, name: str, key: RSAPrivateKey) -> None:
    """Write both halves of a pair, each readable by its owner alone."""
    public_text = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    private_text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_whole(folder / f"{name}.pub", public_text.decode(), durable=True)
    write_whole(folder / f"{name}.pem", private_text.decode(), durable=True)  # last: both are there
