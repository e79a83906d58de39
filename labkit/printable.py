"""Text from data, made safe for whatever shows it.

A terminal obeys control characters, and both terminals and browsers obey the marks that turn the
direction of writing: with them, an address that a client sent could clear an operator's screen, or
make a row show what it does not hold. They are written out, as `\\x1b`; the rest stays as it is.
"""

import re
import unicodedata

_OBEYED = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"  # parts of words in some scripts, and of emoji
_LINES = "\n\t"


def printable(text: str, *, lines: bool = False) -> str:
    """Return a text with everything written out that a terminal would obey.

    Args:
        text: from data of any origin.
        lines: whether line breaks and tabs stay, as in a log.
    """
    if text.isprintable():
        return text
    kept = _JOINERS + (_LINES if lines else "")
    return "".join(
        letter if letter in kept or not _is_obeyed(letter) else _written_out(letter)
        for letter in text
    )


def printable_json(text: str) -> str:
    """Return JSON that means the same, with everything escaped that a terminal would obey."""
    return re.sub(r"[^\n -~]", _json_escape, text)


def _json_escape(match: re.Match[str]) -> str:
    letter = match[0]
    if letter in _JOINERS or not _is_obeyed(letter):
        return letter
    units = letter.encode("utf-16-be", errors="surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def _is_obeyed(letter: str) -> bool:
    return unicodedata.category(letter) in _OBEYED


def _written_out(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
