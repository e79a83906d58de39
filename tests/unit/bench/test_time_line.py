"""The time line of an order: what was when, in the middle of many orders."""

import json
from pathlib import Path

import pytest

from bench import time_line
from labkit.ops.trace.reading import read_spans

_MS = 1_000_000


def _write(folder: Path, orders: list[list[dict[str, object]]]) -> None:
    lines = [json.dumps({"service": "order-web", "instance": "order-web-1", "pid": 1})]
    for number, spans in enumerate(orders):
        for place, span in enumerate(spans):
            own = {"span": f"{number * 100 + place:016x}", "trace": f"{number:032x}", "parent": ""}
            lines.append(json.dumps({**own, **span}))
    (folder / "order-web-1.jsonl").write_text("\n".join(lines))


def _order(began: int, lasted: float, call: float, status: int = 200) -> list[dict[str, object]]:
    end = began + int(lasted * _MS)
    called = began + 1 * _MS
    return [
        {"name": "POST /order/confirm", "kind": "http", "began": began, "ended": end}
        | {"status": status},
        {"name": "open_order", "kind": "call", "peer": "order", "began": called}
        | {"ended": called + int(call * _MS)},
    ]


def test_each_part_is_the_middle_of_all_orders(tmp_path: Path) -> None:
    """Three orders were placed; one was refused, and one is still on its way: they do not count."""
    going_on = _order(9, 5, 1)
    del going_on[1]["ended"]
    orders = [_order(5, 10, 2), _order(77, 20, 3), _order(8, 90, 4), _order(3, 1, 1, 422), going_on]
    _write(tmp_path, orders)
    placed = list(time_line._placed(read_spans(tmp_path)))
    assert len(placed) == 3
    line = time_line.TimeLine(8, 100.0, len(placed), time_line._middle(placed))
    assert [(part.what, part.began, part.lasted) for part in line.parts] == [
        ("order-web: POST /order/confirm", 0.0, 20.0),
        ("order-web → order: open_order", 1.0, 3.0),
    ]
    request, call = time_line.as_rows(line)
    assert request["when"] == "█" * 40
    assert call == {
        "part": "order-web → order: open_order",
        "from ms": "1.0",
        "ms": "3.0",
        "served ms": "",
        "when": "··██████",
    }


def test_a_call_says_how_long_the_other_side_was_at_it(tmp_path: Path) -> None:
    """The rest of a call is the way there and back, and the queues on it."""
    order = _order(0, 10, 8)
    order.append({"name": "open_order", "kind": "serve", "parent": f"{1:016x}"})
    order[-1] |= {"began": 2 * _MS, "ended": 5 * _MS}
    _write(tmp_path, [order])
    (parts,) = time_line._placed(read_spans(tmp_path))
    assert [part.served for part in parts] == [0.0, pytest.approx(3.0)]
