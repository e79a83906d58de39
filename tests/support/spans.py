"""Spans as the processes of a lab write them, and the lines that are drawn from them."""

import json
import random
from pathlib import Path
from typing import Any

from labkit.ops.trace.draw import draw
from labkit.runtime.telemetry.span_log import SpanLog

ORDER = "383026413512351744"
_WHO = {
    "service": lambda service: service,
    "instance": lambda service: f"{service}-1",
    "pid": lambda _service: 2**22 + 1,
}
_LATER = ("ended", "outcome", "status", "failed")


class SpanWriter:
    """Makes spans as the processes of a lab do, with a clock that moves at random."""

    def __init__(self, pace: random.Random) -> None:
        self.spans: list[dict[str, Any]] = []
        self._pace, self._now = pace, 10**18

    def tick(self) -> int:
        self._now += self._pace.randrange(1, 10**9)
        return self._now

    def begin(self, kind: str, service: str, name: str, parent: Any = None, **about: Any) -> Any:
        span = {
            "trace": parent["trace"] if parent else f"{len(self.spans):032x}",
            "kind": kind,
            "span": f"{self._pace.getrandbits(64):016x}",
            "parent": parent["span"] if parent else "",
            "service": service,
            "instance": f"{service}-1",
            "pid": 2**22 + 1,
            "name": name,
            "status": 0,
            "failed": False,
            "began": self.tick(),
            "ended": None,
            **about,
        }
        self.spans.append(span)
        return span

    def end(self, span: Any, outcome: str = "SUCCESS", **about: Any) -> Any:
        span.update(ended=self.tick(), outcome=outcome, **about)
        return span

    def call(self, caller: Any, service: str, name: str, outcome: str = "SUCCESS") -> Any:
        call = self.begin("call", caller["service"], name, caller, peer=service)
        self.end(self.begin("serve", service, name, call), outcome)
        return self.end(call, outcome)

    def step(self, flow: Any, name: str, outcome: str = "SUCCESS") -> Any:
        return self.end(self.begin("step", flow["service"], name, flow), outcome)

    def message(self, step: Any, *handlers: tuple[str, str], topic: str = "order_cancel") -> None:
        send = self.end(self.begin("send", step["service"], topic, step, event_id="7"))
        for service, handler in self._pace.sample(handlers, len(handlers)):
            self.end(self.begin("receive", service, handler, send, event_id="7"))

    def request(self, name: str = "POST /order/confirm", **about: Any) -> Any:
        return self.begin("http", "order-web", name, **about)

    def flow(self, request: Any) -> tuple[Any, Any]:
        call = self.begin("call", "order-web", "confirm_order", request, peer="order")
        return call, self.begin("serve", "order", "confirm_order", call, order_id=ORDER)


def draw_lines(writer: SpanWriter, folder: Path, seed: int = 0) -> list[str]:
    """Draw the lines of several files, in any order."""
    shuffled = random.Random(seed).sample(writer.spans, len(writer.spans))
    for service in {span["service"] for span in shuffled}:
        who = {key: _WHO[key](service) for key in _WHO}
        log = SpanLog(folder, who["instance"], json.dumps(who))
        for span in (span for span in shuffled if span["service"] == service):
            first = {key: span[key] for key in span if key not in (*_WHO, *_LATER)}
            log.write(json.dumps({key: first[key] for key in ("span", *first)}))
            if span["ended"]:
                log.write(json.dumps({key: span[key] for key in ("span", *_LATER) if key in span}))
    picture = draw(folder, ORDER, lambda text: text.replace(ORDER, "O1"))
    return repr(picture).splitlines()
