"""One Idempotency-Key is one order, however often it is sent, whatever dies in between."""

from concurrent.futures import ThreadPoolExecutor

from labkit.lab import Lab
from labkit.waiting import wait_until
from tests.support.history import Answered, History

ASIDE = "order.deduct_stock.after_call"  # the flow is under way and holds up nobody else here


def until_decided(history: History, answered: Answered) -> Answered:
    """Send the same again as long as the shop says that it cannot tell yet."""

    def again() -> Answered | None:
        answer = history.send(answered.body, answered.key)
        return answer if is_final(answer) else None

    return answered if is_final(answered) else wait_until(again, "the shop can tell", timeout=30)


def is_final(answered: Answered) -> bool:
    return answered.status not in (0, 202, 503)


def test_sent_16_times_at_once_it_is_one_order(history: History) -> None:
    """All are told the same order id; later the same answer comes again, word for word."""
    body = history.body(coupon=True, money_paid=1_00)
    answers = history.send_all([body] * 16, clients=16, key="k")
    answers = [until_decided(history, answer) for answer in answers]
    assert {(answer.status, answer.order_id) for answer in answers} == {(200, answers[0].order_id)}
    assert history.send(body, "k") == answers[0]
    assert len(history.tables.rows("order", "SELECT * FROM trade_order")) == 1


def test_another_request_under_the_key_is_refused(history: History) -> None:
    """409 with the key and the order it stands for; and the first answer still stands."""
    first = history.place(key="k")
    assert first.placed
    for change in ({"money_paid": 1}, {"address": "上海"}, {"coupon_id": 1}, {"goods_id": 7}):
        other = history.send({**first.body, **change}, "k")
        assert (other.status, other.name) == (409, "IDEMPOTENCY_KEY_REUSED")
        assert "'k'" in other.message
        history.answers.remove(other)  # its request bears the mark of the first
    assert history.send(first.body, "k") == first


def test_the_key_is_the_users_own(lab: Lab, history: History) -> None:
    """The same key of another user is another order; another key too; no key is always new."""
    lab.reset(users=2)
    history.begin()
    orders = [
        history.place(key="k", user_id=1),
        history.place(key="k", user_id=2),
        history.place(key="K", user_id=1),
        history.place(user_id=1),
        history.place(user_id=1),
    ]
    assert all(order.placed for order in orders)
    assert len({order.order_id for order in orders}) == 5


def test_any_printable_key_does(history: History) -> None:
    """1 to 128 printable ASCII characters; blanks inside and quotes are part of it."""
    for key in ("x" * 128, "a b", "'; --", '"%s"', "~"):
        first = history.place(key=key)
        assert first.placed
        assert history.send(first.body, key) == first


def test_after_the_order_service_was_killed_it_is_the_same_order(
    lab: Lab, history: History
) -> None:
    """Killed with −9 while 16 wait under one key: all hear of one order, now and later."""
    body = history.body(coupon=True, money_paid=1_00)
    with lab.faults.armed(ASIDE, "crash"):
        answers = history.send_all([body] * 16, clients=16, key="k")
    answers = [until_decided(history, answer) for answer in answers]
    decided = {(answer.status, answer.code) for answer in answers}
    assert len(decided) == 1, decided  # placed, or cancelled by the sweeper: the same for all
    later = history.send(body, "k")
    lab.faults.kill("order")
    assert until_decided(history, history.send(body, "k")) == later


def test_a_placed_order_outlives_the_order_service(lab: Lab, history: History) -> None:
    """Killed after the commit and before the answer: asked again, the order is there."""
    with lab.faults.armed("order.confirm_pre_order.after_commit", "crash"):
        first = history.place(key="k")
    answered = until_decided(history, first)
    assert answered.placed
    if first.order_id:
        assert first.order_id == answered.order_id


def test_while_it_runs_a_second_waits_and_gets_202_with_the_same_id(
    lab: Lab, history: History
) -> None:
    """Two under one key wait the time of the flow; both may ask for the order that they name."""
    body = history.body()
    with lab.faults.armed(ASIDE, "delay:5"), ThreadPoolExecutor(2) as pool:
        first, second = pool.map(history.send, [body] * 2, ["k"] * 2)
    assert (first.status, second.status) == (202, 202)
    assert first.order_id == second.order_id
    answered = until_decided(history, second)
    assert answered.order_id in (first.order_id, None)  # None: it was cancelled for being late
    answer = history.http.get(f"/order/{first.order_id}")
    assert answer.json()["data"]["order_status"] == (1 if answered.placed else 2)


def test_a_refusal_is_kept(lab: Lab, history: History) -> None:
    """A 422 is final: asked again when it could be placed, it is refused in the same words."""
    lab.reset(stock=1)
    history.begin()
    refused = history.place(key="k", goods_number=2)
    assert refused.code == 20003
    history.tables.write("goods", "UPDATE trade_goods SET goods_number = 2")
    again = history.send(refused.body, "k")
    history.tables.write("goods", "UPDATE trade_goods SET goods_number = 1")
    assert again == refused


def test_a_refusal_to_save_is_kept(lab: Lab, history: History) -> None:
    """A 422 is final also where the order could not be saved, and now it can."""
    with lab.faults.armed("order.save_pre_order.before_commit", "refuse"):
        refused = history.place(key="k")
    assert (refused.status, refused.name) == (422, "ORDER_SAVE_FAILED")
    assert history.send(refused.body, "k") == refused


def test_an_absent_dependency_is_not_kept(lab: Lab, history: History) -> None:
    """While goods is down: 503 with Retry-After, at once and not a hang; back, 200 by the same key.

    The other services answer on, and who asks for goods is told which service is away.
    """
    body = history.body(coupon=True)
    with lab.faults.killed("goods"):
        for _ in range(2):
            response = history.http.post(
                "/order/confirm", json=body, headers={"Idempotency-Key": "k"}
            )
            assert response.status_code == 503
            assert int(response.headers["Retry-After"]) >= 1
            assert "goods" in response.json()["message"]
        refused = history.send(body, "k")
        assert (refused.status, refused.name) == (503, "DEPENDENCY_AWAY")
    assert until_decided(history, refused).placed


def test_while_the_order_service_is_away_it_is_503(lab: Lab, history: History) -> None:
    """No order id, so nothing was saved: 503; under the same key it is placed later."""
    with lab.faults.killed("order"):
        away = history.place(key="k")
        assert (away.status, away.order_id) == (503, None)
        assert history.http.get("/order/1").status_code == 503
    assert until_decided(history, away).placed
