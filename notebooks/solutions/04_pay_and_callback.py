"""Solutions to the exercises of notebook 04. Try them yourself first."""


def is_genuine(key, params):
    """Whether the owner of this public key signed exactly these parameters."""
    import base64
    import binascii

    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    kept = {k: v for k, v in params.items() if v and k not in ("sign", "sign_type")}
    text = "&".join(f"{k}={kept[k]}" for k in sorted(kept))
    try:
        signature = base64.b64decode(params.get("sign", ""), validate=True)
        key.verify(signature, text.encode(), PKCS1v15(), SHA256())
    except (InvalidSignature, binascii.Error):
        return False
    return True


def true_letter_wrong_content(pay_id):
    """A callback that the platform has signed, and that the shop must refuse.

    `sign`, `PLATFORM` and `callback_of` are the notebook's. Another merchant's `app_id`, or a
    payment that there is not, would do as well.
    """
    return sign(PLATFORM, callback_of(pay_id, total_amount="1"))  # noqa: F821


def callback_before_the_answer():
    """A failpoint and its action, as a pair.

    The trade is paid and the callback sent before the platform answers `create`. It finds the row,
    because that was committed first. The buyer's page says, when it opens, that all is paid.
    """
    return "platform.create_trade.before_answer", "early"
