"""Answers to the exercises that look right and are not."""

#: exercise → an answer that looks right and is not.
WRONG = {
    "lost_message": """
        def lost_message():  # a topic that nobody sends to: it never happens
            return "sim1/paid/1/0/broker.order_paid#1=lose"
        """,
    "give_back": '''
        def give_back():  # gives back what the log says, without claiming it
            return """
        def return_balance(tx, event):
            row = tx.first(_deducted(event.order_id))
            if row is None:
                return
            tx.expect_update(_return(row.user_id, 1_23))
            _log_money(tx, row.user_id, event.order_id, AccountLogType.REFUNDED, 1_23)
        """
        ''',
    "endpoint_of": """
        def endpoint_of(registry, service):  # reads the address of a dead process too
            import json
            return json.loads((registry.folder / f"{service}.1.json").read_text())["endpoint"]
        """,
    "balance_from": """
        def balance_from(log):  # forgets that a refund comes back
            return 900_00 - log.query("money_log_type == '1 paid'")["use_money"].sum()
        """,
    "pay_amount": """
        def pay_amount(price, number, money_paid, coupon_paid):  # charges no shipping
            return price * number - money_paid - coupon_paid
        """,
    "buy_outright": """
        def buy_outright(lab):  # leaves the coupon's 20.00 to pay
            return lab.order(money_paid=4980_00)
        """,
    "click_sixteen_times": """
        def click_sixteen_times(lab):  # sixteen orders, each with a key of its own
            return [lab.order() for _ in range(16)]
        """,
    "fail_with_two_messages": """
        def fail_with_two_messages(lab):  # fails, but its message is sent once
            with lab.faults.armed("order.confirm_pre_order.before_commit", "refuse"):
                return lab.order(money_paid=100_00)
        """,
    "order_while_goods_dies": """
        def order_while_goods_dies(lab):  # dies before the commit, which is harmless
            with lab.faults.armed("goods.deduct_stock.before_commit", "crash"):
                return lab.order()
        """,
    "first_to_fail": """
        def first_to_fail():  # stock is taken by then
            return "coupon.use_coupon.before_commit"
        """,
    "handle": """
        def handle(shop, event_id):  # remembers in a transaction of its own, and then dies
            new = shop.execute("INSERT OR IGNORE INTO inbox VALUES (?)", [event_id]).rowcount
            shop.commit()
            if new:
                shop.execute("UPDATE stock SET pieces = pieces + 2")
                shop.commit()
        """,
    "lacking": """
        def lacking(outbox, inbox):  # forgets that every group must have it, not just one
            known = set(inbox["event_id"])
            return {(row.event_id, group) for row in outbox.itertuples()
                    for group in row.groups.split(",") if row.event_id not in known}
        """,
    "lose_the_answer": """
        def lose_the_answer():  # loses the question, so that nothing is taken
            return "order.deduct_balance.before_call"
        """,
    "is_genuine": """
        def is_genuine(key, params):  # forgets to sort, and to leave out what is empty
            import base64
            from cryptography.exceptions import InvalidSignature
            kept = {k: v for k, v in params.items() if k not in ("sign", "sign_type")}
            text = "&".join(f"{k}={v}" for k, v in kept.items())
            try:
                signature = base64.b64decode(params.get("sign", ""))
                key.verify(signature, text.encode(), PKCS1v15(), SHA256())
            except InvalidSignature:
                return False
            return True
        """,
    "true_letter_wrong_content": """
        def true_letter_wrong_content(pay_id):  # alters the amount after the signing
            return sign(PLATFORM, callback_of(pay_id)) | {"total_amount": "1"}
        """,
    "callback_before_the_answer": """
        def callback_before_the_answer():  # the answer comes late, and nobody has paid
            return "platform.create_trade.before_answer", "delay:0.2"
        """,
    "differences": """
        def differences(there, here):  # looks at what is in the bill, and at nothing else
            return {number: "amount differs" if number in here else "missing here"
                    for number in there if here.get(number) != there[number]}
        """,
    "held": """
        def held(bill):  # takes what went back for money that came
            return sum(int(line.split(",")[4]) for line in bill.splitlines()[1:])
        """,
    "send_a_refund_twice": """
        def send_a_refund_twice():  # late, but once
            return "pay.refund_trade.before_call", "delay:0.2"
        """,
    "react": """
        def react(order, event):  # the first wins, and a payment that comes too late is dropped
            if order["status"] == "unpaid" and event in ("callback", "second callback", "query"):
                order.update(status="paid", points=4880)
            elif order["status"] == "unpaid" and event != "refund answer":
                order.update(status="cancelled", stock=999)
        """,
    "accepted_and_undone": """
        def accepted_and_undone(lab):  # the order service hears of the payment before the cancel
            order_id = lab.order().order_id
            lab.pay(order_id)
            lab.settle()
            lab.cancel(order_id)
            return order_id
        """,
    "pieces_out": """
        def pieces_out():  # forgets what came back
            return "SELECT order_id, SUM(goods_number) FROM trade_goods_number_log " \
                   "WHERE direction = 'deduct' GROUP BY order_id"
        """,
    "partition_of": """
        def partition_of(key, partitions):  # keeps the highest bit
            from kafka.partitioner.default import murmur2
            return murmur2(key) % partitions
        """,
    "two_copies_or_none": """
        def two_copies_or_none():  # all that are in sync, and that is one
            return "all", 1
        """,
    "end_paid": """
        def end_paid():  # the share of all 720, where two of five events end the order
            return 120 * 3 // 5
        """,
    "fix_2": """
        def fix_2():  # takes before it looks at the claim
            return {"goods.deduct_stock": shops.code_of(2, "goods.deduct_stock")}
        """,
    "fix_3": """
        def fix_3():  # takes over what was sent already
            return {"messaging.outbox.claim_unsent": (
                "def claim_unsent(tx, _command):\\n"
                "    return _claim(tx, SENT)"
            )}
        """,
    "fix_4": """
        def fix_4():  # believes the acknowledgement
            place = "messaging.relay.Relay._mark_sent"
            return {place: shops.code_of(4, place)}
        """,
    "fix_5": """
        def fix_5():  # asks whether the stock is below zero already
            return {"goods._deduct": (
                "def _deduct(goods_id, pieces):\\n"
                "    left = (goods.c.goods_id == goods_id) & (goods.c.goods_number >= 0)\\n"
                "    less = goods.c.goods_number - pieces\\n"
                "    return update(goods).where(left).values(goods_number=less)"
            )}
        """,
    "fix_6": """
        def fix_6():  # takes whole yuan
            return {"users.deduct_balance": shops.code_of(6, "users.deduct_balance")}
        """,
    "fix_7": """
        def fix_7():  # makes the coupon as it was when it was new
            return {"coupons._restore": shops.code_of(7, "coupons._restore")}
        """,
    "fix_8": """
        def fix_8():  # cancels what is paid, and nothing else
            return {"order.statements.cancel": (
                "def cancel(order_id, old, reason):\\n"
                "    paid = order.c.pay_status != PayStatus.UNPAID\\n"
                "    mine = (order.c.order_id == order_id) & paid\\n"
                "    ended = {'order_status': OrderStatus.CANCELLED, 'cancel_reason': reason}\\n"
                "    return update(order).where(mine).values(ended)"
            )}
        """,
    "fix_9": """
        def fix_9():  # refuses the payment, and keeps the money
            place = "pay.steps._accept_or_refund"
            return {place: shops.code_of(9, place)}
        """,
    "fix_10": """
        def fix_10():  # leaves nothing where it found nothing
            return {"db.operations.undo": shops.code_of(10, "db.operations.undo")}
        """,
    "remember": """
        def remember(name, step):  # notes it where a dead process loses it
            done = set()
            def once(shop):
                if name not in done:
                    step(shop)
            return once
        """,
    "another_place": """
        def another_place():  # dies before goods is asked at all
            return "order.save_pre_order.after_commit"
        """,
    "killed_on_the_line": """
        def killed_on_the_line(lab):  # the order service dies, and the web asks it again
            with lab.faults.armed("order.confirm_pre_order.after_commit", "crash"):
                return lab.order()
        """,
    "pay_without_broker": """
        def pay_without_broker(lab):  # looks when the broker is back, and all is told
            order_id = lab.order().order_id
            with lab.faults.broker_away() as reach:
                lab.pay(order_id)
                lab.until(lambda: reach.times > 0, timeout=60)
            lab.settle(timeout=60)
            told = lab.tables("trade_mq_producer").query("topic == 'paid'")
            return order_id, told["status"].iloc[-1]
        """,
    "still_works": """
        def still_works():  # thinks that a cancel calls the pay service
            return {"place"}
        """,
    "take_one": """
        def take_one(read, swap):  # goes home when somebody else was quicker
            seen = read()
            return seen > 0 and swap(seen, seen - 1)
        """,
    "payment": """
        def payment():  # asks whether there is something, not whether there is enough
            return ("UPDATE trade_user SET user_money = user_money - :amount "
                    "WHERE user_id = :user_id AND user_money > 0")
        """,
    "in_order": """
        def in_order(calls, names):  # sees who calls whom directly, and nothing behind it
            from graphlib import TopologicalSorter
            wanted = {name: set(calls[name]) & set(names) for name in names}
            return list(TopologicalSorter(wanted).static_order())
        """,
    "with_reason": """
        def with_reason(fields):  # overwrites the reason that 1.1 gave
            return {**fields, "reason": "no reason is known"}
        """,
    "sort_changes": """
        def sort_changes():  # thinks that whoever ignores a new field can do without an old one
            both, breaking = "both ways", "breaking"
            return {"A": both, "B": both, "C": breaking, "D": both, "E": both, "F": both}
        """,
}
