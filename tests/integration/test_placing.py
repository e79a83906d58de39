"""Placing an order (下单) over HTTP: what changes in which table, and what changes nothing."""

import json
from concurrent.futures import ThreadPoolExecutor

from labkit.lab import Lab
from labkit.lab.lab import START
from labkit.waiting import wait_until
from tests.support.db import Row
from tests.support.history import History
from tests.support.row_diff import KEPT, changes

NOW = f"{START}.000000"  # business time stands still


def test_an_order_changes_exactly_what_it_should(history: History) -> None:
    """With coupon and balance: every row of every table before and after, to the cent."""
    before = history.tables.everything()
    answered = history.place(goods_number=2, coupon=True, money_paid=100_00, key="k")
    assert (answered.status, answered.code, answered.name) == (200, 1, "SUCCESS")
    changed = changes(before, history.tables.everything())
    order_id, body = answered.order_id, answered.body
    user_id, goods_id, coupon_id = body["user_id"], body["goods_id"], body["coupon_id"]

    operations = {
        name: sorted((row["operation"], row["outcome"], row["amount"]) for row in rows)
        for name, rows in changed.items()
        if name.endswith("trade_operation")
    }
    assert operations == {
        "order.trade_operation": [
            ("confirm_order", "applied", 0),
            ("save_pre_order", "applied", 10_000_00),
        ],
        "goods.trade_operation": [("deduct_stock", "applied", 2)],
        "coupon.trade_operation": [("use_coupon", "applied", 20_00)],
        "user.trade_operation": [("deduct_balance", "applied", 100_00)],
    }
    (kept,) = changed.pop(KEPT)
    assert (kept["user_id"], kept["idempotency_key"], kept["order_id"]) == (user_id, "k", order_id)
    assert {name: rows for name, rows in changed.items() if name not in operations} == {
        "order.trade_order": [
            {
                **body,
                "order_id": order_id,
                "order_status": 1,
                "pay_status": 0,
                "shipping_status": 0,
                "goods_amount": 10_000_00,
                "coupon_paid": 20_00,
                "pay_amount": 9_880_00,
                "add_time": NOW,
                "confirm_time": NOW,
                "pay_time": None,
                "cancel_time": None,
                "cancel_reason": None,
                "refund_time": None,
            }
        ],
        "goods.trade_goods": [history.goods[goods_id] | {"goods_number": 997}],
        "goods.trade_goods_number_log": [
            {
                "goods_id": goods_id,
                "order_id": order_id,
                "direction": "deduct",
                "goods_number": 2,
                "log_time": NOW,
            }
        ],
        "coupon.trade_coupon": [
            history.coupons[coupon_id] | {"is_used": 1, "order_id": order_id, "used_time": NOW}
        ],
        "coupon.trade_coupon_log": [
            {
                "coupon_id": coupon_id,
                "order_id": order_id,
                "direction": "use",
                "user_id": user_id,
                "coupon_price": 20_00,
                "log_time": NOW,
            }
        ],
        "user.trade_user": [history.users[user_id] | {"user_money": 800_00}],
        "user.trade_user_money_log": [
            {
                "user_id": user_id,
                "order_id": order_id,
                "money_log_type": 1,
                "use_money": 100_00,
                "create_time": NOW,
            }
        ],
    }


def test_a_plain_order_touches_neither_coupon_nor_user(history: History) -> None:
    """Without coupon and balance, the coupon and user databases stay as they are."""
    before = history.tables.everything()
    assert history.place().placed
    changed = changes(before, history.tables.everything())
    assert {name.partition(".")[0] for name in changed} == {"order", "goods"}


def test_shipping_is_free_above_100_yuan_and_charged_below(history: History) -> None:
    """Exactly 100.00 of goods pays 10.00, a cent more pays none; and the fee is in the amount."""
    for price, number, fee in (
        (100_00, 1, 10_00),
        (100_01, 1, 0),
        (50_00, 2, 10_00),
        (50_01, 2, 0),
        (1, 1, 10_00),
    ):
        history.tables.write("goods", "UPDATE trade_goods SET goods_price = :price", price=price)
        figures = {"goods_price": price, "goods_number": number}
        wrong = history.place(
            **figures, shipping_fee=10_00 - fee, order_amount=price * number + fee
        )
        assert wrong.code == 10002, wrong
        right = history.place(**figures, shipping_fee=fee, order_amount=price * number + fee)
        assert right.placed, right
        order = history.http.get(f"/order/{right.order_id}").json()["data"]
        assert order["pay_amount"] == price * number + fee


def test_the_last_piece_is_sold(lab: Lab, history: History) -> None:
    """As many as are there can be bought, down to none; then stock is short."""
    lab.reset(stock=3)
    history.begin()
    assert history.place(goods_number=4).code == 20003
    assert history.place(goods_number=2).placed
    assert history.place(goods_number=1).placed
    assert history.place(goods_number=1).code == 20003
    assert history.tables.rows("goods", "SELECT goods_number FROM trade_goods") == [
        {"goods_number": 0}
    ]


def test_an_order_with_nothing_left_to_pay_is_paid(lab: Lab, history: History) -> None:
    """Balance and coupon cover it all: paid at confirm, `paid` goes out, and no point is earned."""
    lab.reset(balance=5_000_00)
    history.begin()
    answered = history.place(coupon=True, money_paid=4_980_00)
    assert answered.placed
    lab.settle()
    order = history.http.get(f"/order/{answered.order_id}").json()["data"]
    paid = (order["order_status"], order["pay_status"], order["pay_amount"], order["pay_time"])
    assert paid == (1, 2, 0, START.isoformat())
    (sent,) = history.tables.rows("order", "SELECT topic, body, status FROM trade_mq_producer")
    assert (sent["topic"], sent["status"]) == ("paid", 2)
    event = {
        "order_id": answered.order_id,
        "pay_id": answered.order_id,
        "user_id": answered.body["user_id"],
        "pay_amount": 0,
    }
    assert json.loads(sent["body"]) == event
    users = history.tables.rows("user", "SELECT user_money, user_score FROM trade_user")
    assert users == [{"user_money": 20_00, "user_score": 100}]


def test_ids_are_strings_in_answers_and_either_in_requests(history: History) -> None:
    """JavaScript cannot hold 64 bits: answers carry strings, requests may; figures are numbers."""
    body = history.body(coupon=True)
    texts = {name: str(value) for name, value in body.items() if name.endswith("_id")}
    answered = history.send({**body, **texts}, "k")
    assert answered.placed
    assert history.send(body, "k").order_id == answered.order_id  # the same request, parsed
    order = history.http.get(f"/order/{answered.order_id}").json()["data"]
    ids = {name: value for name, value in order.items() if name.endswith("_id")}
    assert ids == {**texts, "order_id": str(answered.order_id)}
    figures = ("goods_number", "goods_price", "shipping_fee", "order_amount", "money_paid")
    assert {type(order[name]) for name in figures} == {int}
    cancelled = history.cancel(answered.order_id).json()["data"]
    assert cancelled == {"order_id": str(answered.order_id)}


def test_an_unknown_order_is_404(history: History) -> None:
    """To find, cancel or return what is not there is 404, with a `Result` that names the id."""
    user_id = history.place().body["user_id"]
    for order_id in (1, user_id, 2**63 - 1):
        for method, path in (
            ("GET", f"/order/{order_id}"),
            ("POST", f"/order/{order_id}/cancel"),
            ("POST", f"/order/{order_id}/return"),
        ):
            body = None if method == "GET" else {"user_id": user_id}
            response = history.http.request(method, path, json=body)
            result = response.json()
            assert (response.status_code, result["code"]) == (404, 10006), result
            assert str(order_id) in result["message"]
            assert result["data"] is None


def orders(history: History) -> list[Row]:
    return history.tables.rows("order", "SELECT order_id FROM trade_order")


def test_an_undecided_order_is_202_until_it_is_decided(lab: Lab, history: History) -> None:
    """While an order is unconfirmed nobody sees it: asked for, cancelled or returned it is 202."""
    body = history.body(money_paid=1)
    with (
        lab.faults.armed("order.deduct_balance.after_call", "delay:2"),
        ThreadPoolExecutor(1) as pool,
    ):
        placing = pool.submit(history.send, body)
        rows = wait_until(lambda: orders(history), "a pre-order is saved")
        order_id = rows[0]["order_id"]
        find = history.http.get(f"/order/{order_id}")
        for response in (find, history.cancel(order_id), history.give_back(order_id)):
            assert response.status_code == 202, response.text
            assert response.json()["data"] == {"order_id": str(order_id)}
            assert int(response.headers["Retry-After"]) >= 1
    assert placing.result().order_id == order_id
    assert history.http.get(f"/order/{order_id}").status_code == 200


TEXTS = (
    "上海市浦东新区世纪大道100号",
    "'; DROP TABLE trade_order; --",
    "🏠 “quoted” \\ %s",
    "שלום <b>&amp;</b>",
    "é" * 200,
    "𠮷" * 250,
)


def test_chinese_and_any_other_text_survives(history: History) -> None:
    """Legal text comes back as it was sent, in UTF-8, and never means anything else."""
    for text in TEXTS:
        answered = history.place(address=text, consignee=text[:64])
        assert answered.placed, answered
        response = history.http.get(f"/order/{answered.order_id}")
        assert response.headers["content-type"] == "application/json"
        listed = json.loads(response.content.decode("utf-8"))["data"]
        assert (listed["address"], listed["consignee"]) == (answered.mark, text[:64])
