"""The evolution of messages: how releases that run beside each other read what the other writes.

Nine of ten upgrades that fail do so between two neighbouring releases (Zhang et al., "Understanding
and Detecting Software Upgrade Failures in Distributed Systems", SOSP 2021). So a request or an
event is read tolerantly: a field that is not known is kept, and passed on by flows. A step is given
only what is known: nothing else gets into its tables, or into the hash that tells a retry from
another request. A field that has its default is not written at all.

A change that an older reader must not overlook gives the message a new `version`. An older message
is then brought up to date by upcasters, which the wiring lists; a later one is refused as
`FromTheFuture`, and waits for the release that knows it.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from labkit.results import Message

A = TypeVar("A")
M = TypeVar("M", bound=Message)
#: Makes the fields of the next version from those of the one before.
Upcast = Callable[[Mapping[str, Any]], Mapping[str, Any]]
#: Message → version → what makes the next version of it.
Upcasts = Mapping[type[Message], Mapping[int, Upcast]]

_VERSION, _FIRST = "version", 1
#: What comes of JSON that is of another shape than its reader, or an upcaster, takes for granted.
_MISSHAPEN = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


class FromTheFuture(ValueError):
    """A message is of a later release, which changed its meaning; this release must not guess."""


def write(message: Message) -> str:
    """Return a request or an event as the JSON that travels, with its version from 2 on."""
    if message.version == _FIRST:
        return message.meaning()
    return json.dumps({_VERSION: message.version, **json.loads(message.meaning())})


def read(kind: type[M], text: str | bytes, upcasts: Upcasts | None = None) -> M:
    """Read a request or an event that this release or a neighbouring one has written.

    Args:
        kind: of the message.
        text: its JSON.
        upcasts: bring older versions up to date.

    Raises:
        FromTheFuture: its version is later than the one that is known here.
        ValueError: it is no such message.
    """
    said = '"version"' in text if isinstance(text, str) else b'"version"' in text
    if said or kind.version != _FIRST:
        try:
            text = json.dumps(_up_to_date(kind, json.loads(text), upcasts or {}))
        except FromTheFuture:
            raise
        except _MISSHAPEN as error:
            raise ValueError(f"this is no {kind.__name__}: {error!r}") from error
    try:
        return kind.model_validate_json(text)
    except ValidationError:
        # names what is not known, too: it may be what another release calls the missing
        return kind.model_validate_json(text, extra="forbid")


def known(command: A) -> A:
    """Return a command without the fields that this release does not know, at any depth."""
    if not (isinstance(command, Message) and command.says_more()):
        return command
    return type(command).model_validate_json(command.model_dump_json(), extra="ignore")


def _up_to_date(kind: type[Message], fields: object, upcasts: Upcasts) -> Mapping[str, Any]:
    """Return the fields of a message in the version that is known here."""
    if not isinstance(fields, dict):
        raise TypeError("it is no object")
    version = fields.pop(_VERSION, _FIRST)
    if type(version) is not int or version < _FIRST:
        raise ValueError(f"{version!r} is no version")
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
