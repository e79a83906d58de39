"""The span log of one process: its spans as lines of JSON in the home, for the lab to draw.

A span is written when it begins and again when it ends, straight to the system: so a process that
is killed leaves behind what it was doing. What cannot be written, as on a full disk, is lost: no
order fails because of its picture.
"""

import json
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import StatusCode, format_span_id, format_trace_id

#: A file that has grown to this many bytes becomes the old one, and the old one is deleted.
_MAX_BYTES = 8_000_000
OLD = ".old"


class SpanLog(SpanProcessor):
    """Writes the spans of one process.

    Args:
        folder: the folder of the logs; the file is named after the process.
        service: name of the service.
        instance: number of the instance.
    """

    def __init__(self, folder: Path, service: str, instance: int) -> None:
        folder.mkdir(exist_ok=True)
        label = f"{service}-{instance}"
        self._file = folder / f"{label}.jsonl"
        self._who = {"service": service, "instance": label, "pid": os.getpid()}
        self._lock = threading.Lock()
        self._descriptor = self._open()
        self._size = os.fstat(self._descriptor).st_size

    def on_start(self, span: ReadableSpan, parent_context: Context | None = None) -> None:  # noqa: ARG002
        """Write a span that begins."""
        self._write(span)

    def on_end(self, span: ReadableSpan) -> None:
        """Write a span that has ended."""
        self._write(span)

    def _write(self, span: ReadableSpan) -> None:
        line = (json.dumps(self._who | _record(span)) + "\n").encode()
        with self._lock, suppress(OSError):
            if self._size > _MAX_BYTES:
                self._rotate()
            self._size += os.write(self._descriptor, line)

    def _open(self) -> int:
        return os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def _rotate(self) -> None:
        """Begin a new file; the old one stays open until then, so its descriptor stays ours."""
        with suppress(FileNotFoundError):  # it was rotated before, and no new one could be made
            self._file.replace(self._file.with_suffix(OLD))
        before, self._descriptor, self._size = self._descriptor, self._open(), 0
        os.close(before)


def _record(span: ReadableSpan) -> dict[str, object]:
    """Return what the lab draws of a span: its name, its order, and its outcome."""
    attributes: Mapping[str, object] = dict(span.attributes or {})
    own = {key[7:]: value for key, value in attributes.items() if key.startswith("labkit.")}
    return {
        "trace": format_trace_id(span.context.trace_id),
        "span": format_span_id(span.context.span_id),
        "parent": format_span_id(span.parent.span_id) if span.parent else "",
        "name": span.name,
        "kind": "http",
        "status": attributes.get("http.response.status_code", 0),
        "failed": span.status.status_code is StatusCode.ERROR,
        "began": span.start_time,
        "ended": span.end_time,
        **own,
    }
