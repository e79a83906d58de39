"""Reports about a lab as frames: its invariants, stuck items, processes, wiring and bills."""

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter

from labkit.home import Home
from labkit.lab.display.frames import Table
from labkit.lab.lab_tables import LabTables
from labkit.ops.invariants import check as invariants
from labkit.ops.pending_item import PendingItem
from labkit.ops.reader import Reader
from labkit.ops.reconcile import ReconciledLine
from labkit.shop.wiring import SERVICES
from labkit.stack.releases import newest
from labkit.stack.releases.release import own
from labkit.stack.supervisor import launch, ports
from labkit.stack.supervisor.instances import BROKER

_RECONCILED = ["kind", "order", "payment", "at the platform", "in the shop", "found", "done"]


def invariants_report(home: Home, reader: Reader, alias: Callable[[str], str]) -> Table:
    """Check the invariants; a column for the breaches is there only where one is broken."""
    summaries = {invariant.name: invariant.summary for invariant in invariants.INVARIANTS}
    results = newest.check(home, reader)
    rows = [
        {
            "invariant": result["name"],
            "held": "yes" if result["held"] else "NO",
            "rows": result["looked_at"],
            "what must be true": summaries.get(result["name"], "of a later release"),
        }
        for result in results
    ]
    if not all(result["held"] for result in results):
        for row, result in zip(rows, results, strict=True):
            row["broken by"] = alias("; ".join(result["broken"])) or "–"
    return Table.of(rows)


def in_flight_report(items: Iterable[PendingItem], alias: Callable[[str], str]) -> Table:
    """List items in flight, with their orders."""
    rows = [{"what": item["what"], "order": alias(str(item["order"]))} for item in items]
    return Table.of(rows, ["what", "order"])


def stuck_report(items: Sequence[PendingItem], alias: Callable[[str], str], *, raw: bool) -> Table:
    """List stuck items with their causes; `raw` adds ids, tries and next tries."""
    if raw:
        return Table.of(items, ["id", "what", "order", "cause", "tries", "next_try"])
    rows = [
        {
            "what": item["what"],
            "order": alias(str(item["order"])),
            "cause": alias(item["cause"] or "–"),
        }
        for item in items
    ]
    return Table.of(rows, ["what", "order", "cause"])


def services_report(home: Home) -> Table:
    """List the processes of a lab, the broker first, each with its database."""
    state = launch.status(home)
    rows = [
        {
            "process": process["name"],
            "state": process["state"],
            "database": process["name"] if state["databases"].get(process["name"]) else "–",
        }
        for process in state["services"]
    ]
    releases = [process.get("release") for process in state["services"]]
    if {*releases} - {None, str(own().number)}:
        rows = [{**row, "release": each or "–"} for row, each in zip(rows, releases, strict=True)]
    broker = state["endpoints"]["broker"]
    if broker and rows[0]["process"] != BROKER:  # the lab uses a broker that it has not started
        up = "up" if ports.answers(broker) else "down"
        rows.insert(0, {**dict.fromkeys(rows[0], "–"), "process": BROKER, "state": up})
    return Table.of(rows)


def wiring_report() -> Table:
    """List each topic with its consumer groups and their handlers."""
    rows = [
        {"topic": event.topic, "group": service.name, "handler": handler.name}
        for service in SERVICES.values()
        for event, handler in service.handlers.items()
    ]
    return Table.of(sorted(rows, key=itemgetter("topic")))


def reconciliation_report(lines: Iterable[ReconciledLine], tables: LabTables) -> Table:
    """List the payments and refunds of a day, as the platform and the shop have them."""
    tables.load_names()
    rows = [
        {
            "kind": reconciled.line.kind.value,
            "order": tables.format("order_id", reconciled.line.order_id),
            "payment": tables.format("pay_id", reconciled.line.pay_id),
            "at the platform": tables.format("", reconciled.line.there),
            "in the shop": tables.format("", reconciled.line.here),
            "found": reconciled.line.verdict.value,
            "done": str(reconciled.repair or "–"),
        }
        for reconciled in lines
    ]
    return Table.of(rows, _RECONCILED)
