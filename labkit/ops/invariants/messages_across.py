"""Invariants across databases: messages, from an outbox to the inboxes."""

from labkit.ops.invariants.kinds import across, number_of
from labkit.shop.wiring import GROUPS

_SAME = " AND ".join(f"o.{column} = i.{column}" for column in ("topic", "tag", "msg_key", "body"))
#: The version and the trace of a traceparent; the rest is the span, which each process makes.
_SAME_TRACE = "substr(o.trace, 1, 35) IS substr(i.trace, 1, 35)"


def _arrived(group: str) -> str:
    topics = [topic for topic, groups in GROUPS.items() if group in groups]
    return f"""SELECT 'event ' || o.event_id || ' is settled and not in {group}' AS breach
        FROM outbox o LEFT JOIN "{group}".trade_mq_consumer_log i ON i.event_id = o.event_id
         AND i.group_name = '{group}'
        WHERE o.status = 2 AND o.topic IN ({", ".join(f"'{topic}'" for topic in topics)})
          AND ',' || o.groups || ',' LIKE '%,{group},%' AND i.event_id IS NULL"""


def _addressed(groups: tuple[str, ...]) -> str:
    """Write SQL that is true of a message to exactly these groups, in any order."""
    named = (f" AND ',' || groups || ',' LIKE '%,{group},%'" for group in groups)
    return f"(length(groups) = {len(','.join(groups))}{''.join(named)})"


_ADDRESSED = " ".join(f"WHEN '{topic}' THEN {_addressed(of)}" for topic, of in GROUPS.items())

ACROSS = (
    across(
        "settled events arrived",
        "Every settled event has an inbox row in each group that must have it.",
        """SELECT coalesce(
             sum(length(groups) - length(replace(groups, ',', '')) + (groups <> '')), 0)
           FROM outbox WHERE status = 2""",
        "\nUNION ALL\n".join(
            map(_arrived, sorted({group for groups in GROUPS.values() for group in groups}))
        ),
    ),
    across(
        "events come from an outbox",
        "Every event that was handled stands in the outbox of the service that sent it, or did.",
        f"SELECT {number_of('inbox')}",
        """SELECT 'event ' || event_id || ' was never sent' AS breach FROM inbox
           WHERE event_id NOT IN (SELECT event_id FROM outbox)
             AND event_id > (SELECT max(horizon) FROM forgotten)""",
    ),
    across(
        "messages arrive as they were told",
        "What a group was handed of an event is what the outbox says, to the letter.",
        f"SELECT {number_of('inbox')}",
        f"""SELECT 'event ' || i.event_id || ' is another one in the inbox of ' || i.service
             AS breach FROM outbox o JOIN inbox i ON i.event_id = o.event_id 
             WHERE NOT ({_SAME} AND {_SAME_TRACE})""",
    ),
    across(
        "messages are addressed to who handles them",
        "Every event is addressed to groups that handle its topic, and to all that have it.",
        f"SELECT {number_of('outbox')}",
        f"""SELECT 'event ' || event_id || ' is addressed to ' || groups AS breach FROM outbox
            WHERE NOT CASE topic {_ADDRESSED} ELSE 0 END""",
    ),
)
