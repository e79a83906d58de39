"""The evolution of messages: how releases that run beside each other read what the other writes.

Nine of ten upgrades that fail do so between two neighbouring releases (Zhang et al., "Understanding
and Detecting Software Upgrade Failures in Distributed Systems", SOSP 2021). So a message is read
tolerantly: a field that is not known is kept, and passed on. What has its default is not written at
all, so that both releases write, and hash, the same request alike.

A change that an older reader must not overlook gives its message a new `version`. An older message
is then brought up to date by upcasters, which the wiring lists; a later one is refused as
`FromTheFuture`, and waits for the release that knows it.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from labkit.results import Message

M = TypeVar("M", bound=Message)
#: Makes the fields of the next version from those of the one before.
Upcast = Callable[[Mapping[str, Any]], Mapping[str, Any]]
#: Message → version → what makes the next version of it.
Upcasts = Mapping[type[Message], Mapping[int, Upcast]]

_VERSION, _FIRST = "version", 1


class FromTheFuture(ValueError):
    """A message is of a later release, which changed its meaning; this release must not guess."""


def write(message: Message) -> str:
    """Return a message as the JSON that travels: without defaults, and without version 1."""
    text = message.model_dump_json(exclude_defaults=True)
    if message.version == _FIRST:
        return text
    return f'{{"{_VERSION}":{message.version}{"" if text == "{}" else ","}{text[1:]}'


def read(kind: type[M], text: str | bytes, upcasts: Upcasts | None = None) -> M:
    """Read a message that this release or a neighbouring one has written.

    Args:
        kind: of the message.
        text: its JSON.
        upcasts: bring older versions up to date.

    Raises:
        FromTheFuture: its version is later than the one that is known here.
        ValueError: it is no such message.
    """
    if kind.version == _FIRST:
        try:
            message = kind.model_validate_json(text)
        except ValidationError:
            if _version_of(text) == _FIRST:
                # names what is not known, too: it may be what another release calls the missing
                return kind.model_validate_json(text, extra="forbid")
        else:
            if _VERSION not in (message.model_extra or {}):
                return message
    return kind.model_validate_json(json.dumps(_up_to_date(kind, text, upcasts or {})))


def _version_of(text: str | bytes) -> int:
    fields = json.loads(text)
    version = fields.get(_VERSION, _FIRST) if isinstance(fields, dict) else _FIRST
    return version if type(version) is int and version >= _FIRST else _FIRST


def _up_to_date(kind: type[Message], text: str | bytes, upcasts: Upcasts) -> Mapping[str, Any]:
    """Return the fields of a message in the version that is known here."""
    version, fields = _version_of(text), dict(json.loads(text))
    fields.pop(_VERSION, None)
    if version > kind.version:
        raise FromTheFuture(
            f"version {version} of {kind.__name__} is of a later release, and this one knows "
            f"{kind.version}: it waits for the upgrade"
        )
    for older in range(version, kind.version):
        upcast = upcasts.get(kind, {}).get(older)
        if upcast is None:
            raise ValueError(f"nothing makes version {older + 1} of {kind.__name__} from {older}")
        fields = dict(upcast(fields))
    return fields
