"""Invariants within every service's database: operations, outbox and inbox."""

from labkit.ops.invariants.kinds import Local, from_json

_ROWS = """SELECT (SELECT count(*) FROM trade_mq_consumer_log)
                + (SELECT count(*) FROM trade_mq_producer)"""
_ORDER_STEPS = (
    "('confirm_order', 'cancel_failed', 'cancel_expired', 'cancel_unpaid', "
    "'cancel_by_user', 'return_order')"
)
_CODE, _MESSAGE = from_json("p.result", "code"), from_json("p.result", "message")

WITHIN = (
    Local(
        "operations have ended",
        "Every claimed operation is one of its service, and has an outcome and its answer.",
        "",
        "SELECT count(*) FROM trade_operation",
        f"""SELECT p.order_id, p.operation, p.outcome FROM trade_operation p
           WHERE p.result IS NOT CASE
             WHEN p.outcome NOT IN ('applied', 'undone', 'blocked', 'refused') THEN NULL
             WHEN p.outcome = 'blocked' THEN ''
             WHEN p.outcome = 'refused' THEN '{{"success":false,"code":' || {_CODE}
               || ',"name":"' || (SELECT name FROM catalogue WHERE final AND code = {_CODE}
                                  AND code <> 1)
               || '","message":' || json_quote({_MESSAGE}) || ',"data":null}}'
             WHEN p.operation IN {_ORDER_STEPS} THEN
               '{{"success":true,"code":1,"name":"SUCCESS","message":"done","data":{{"order_id":'
               || p.order_id || '}}}}'
             ELSE '{{"success":true,"code":1,"name":"SUCCESS","message":"done","data":null}}' END
           UNION ALL
           SELECT order_id, operation, outcome FROM trade_operation
           WHERE operation NOT IN (
                SELECT operation FROM known_operation WHERE service = {{service}})
              OR outcome NOT IN ('applied', 'undone') AND amount <> 0 OR amount < 0
              OR (outcome = 'blocked') <> (body_hash = '')
              OR (outcome = 'refused' AND {from_json("result", "message")}
                  NOT LIKE 'order ' || order_id || ': %')""",
    ),
    Local(
        "messages end or say why",
        "Every message is on its way, or has ended and says when, or failed and says why.",
        "",
        _ROWS,
        """SELECT group_name, event_id, status FROM trade_mq_consumer_log
           WHERE status NOT IN (0, 1, 2) OR (status = 1) <> (done_time IS NOT NULL)
              OR (status <> 1 AND last_error IS NULL) OR tries < 0 OR next_try < 0
              OR (status = 1 AND last_error NOT LIKE 'put aside%')
           UNION ALL SELECT 'outbox', event_id, status FROM trade_mq_producer
           WHERE status NOT IN (0, 1, 2, 3) OR (status = 2) <> (settled_time IS NOT NULL)
              OR (status IN (1, 2) AND sent_time IS NULL) OR tries < 0 OR next_try <= 0
              OR (status = 0 AND tries = 0 AND sent_time IS NOT NULL)
              OR (status = 2 AND last_error IS NOT NULL) OR (status = 3 AND last_error IS NULL)""",
        poison=True,
    ),
    Local(
        "nothing is given up",
        "No event is dead: somebody would have to drive it by hand (labkit stuck).",
        "",
        _ROWS,
        """SELECT group_name, event_id, last_error FROM trade_mq_consumer_log WHERE status = 2
           UNION ALL SELECT 'outbox', event_id, last_error FROM trade_mq_producer
           WHERE status = 3""",
        poison=True,
    ),
    Local(
        "messages are what their service tells",
        "Every message in an outbox is of a topic of its service, and about the order it names.",
        "",
        "SELECT count(*) FROM trade_mq_producer",
        f"""SELECT m.event_id, m.topic FROM trade_mq_producer m
           LEFT JOIN sends s ON s.service = {{service}} AND s.topic = m.topic AND s.tag = m.tag
           WHERE s.topic IS NULL OR CASE
             WHEN m.topic IN ('order_cancel', 'order_return')
               THEN m.body <> '{{"order_id":' || m.msg_key || '}}'
             ELSE ({from_json("m.body", "order_id")}) IS NOT CAST(m.msg_key AS INTEGER) END""",
    ),
    Local(
        "handled messages are for their group",
        "Every message in an inbox is for the service it lies in, and has the hash of its body.",
        "",
        "SELECT count(*) FROM trade_mq_consumer_log",
        """SELECT i.event_id, i.topic, i.group_name FROM trade_mq_consumer_log i
           LEFT JOIN handles h ON h.service = {service} AND h.topic = i.topic
           WHERE h.topic IS NULL OR i.group_name <> {service}
              OR i.body_hash <> sha256(i.body)
              OR (i.status = 1 AND i.next_try = 0
                  AND (i.tries <> 1 OR i.add_time <> i.done_time))""",
    ),
    Local(
        "dead letters are told",
        "Every event that a group gave up is told to the dead letters, and each of them is of one.",
        "",
        _ROWS,
        f"""SELECT i.event_id, i.topic FROM trade_mq_consumer_log i
           WHERE i.status = 2 AND i.event_id NOT IN (
             SELECT {from_json("body", "event_id")} FROM trade_mq_producer
             WHERE topic = 'dead_letter' AND json_valid(body))
           UNION ALL
           SELECT m.event_id, m.topic FROM trade_mq_producer m
           LEFT JOIN trade_mq_consumer_log i
             ON i.event_id = {from_json("m.body", "event_id")}
            AND i.group_name = {from_json("m.body", "group")}
           WHERE m.topic = 'dead_letter' AND ((i.event_id IS NULL
                 AND coalesce({from_json("m.body", "event_id")}, 1 << 62) > {{horizon}})
              OR (i.body = {from_json("m.body", "body")}
                  AND (m.msg_key <> CASE WHEN i.msg_key GLOB '*[^0-9]*' THEN '0' ELSE i.msg_key END
                       OR i.topic <> {from_json("m.body", "source")})))""",
        poison=True,
    ),
    Local(
        "what is forgotten is noted",
        "Each service notes how many settled messages went, in how many rounds, and up to which.",
        "",
        "SELECT count(*) FROM trade_mq_forgotten",
        """SELECT part, last_event, rounds, messages FROM trade_mq_forgotten
           WHERE part NOT IN ('outbox', 'inbox') OR rounds < 0 OR messages < rounds
              OR last_event > horizon OR (rounds = 0) <> (messages = 0)
              OR (rounds = 0) <> (last_event = 0) OR (rounds = 0) <> (horizon = 0)
           UNION ALL
           SELECT 'parts', count(*), 0, 0 FROM trade_mq_forgotten HAVING count(*) <> 2""",
    ),
)
