"""Tables as people read them: short names in order of birth, and marks at what changed."""

from datetime import datetime

from labkit.lab.display.aliases import Aliases
from labkit.lab.display.columns import (
    CODE_LABELS,
    ROW_KEYS,
    SHOWN_COLUMNS,
    SORT_ORDER,
    STATUS_LABELS,
)
from labkit.lab.display.frames import Difference, Table, frame
from labkit.ops.reader import DATABASES, Rows
from labkit.payment_platform import tables as platform
from labkit.runtime.db.tables import metadata as runtime_metadata
from labkit.shop.states import (
    LogDirection,
    OrderStatus,
    PayLogDirection,
    PaymentState,
    PayStatus,
    RefundState,
)
from labkit.shop.tables import metadata
from labkit.shop.wiring import SERVICES

FIRST, SECOND = 383_000_000_000_000_001, 383_000_000_000_000_002
MOBILE = {"user_name": "刘备", "user_score": 0}


def users(**money: int) -> Rows:
    """Rows of trade_user: u1=100 is user 1 with 100 cents."""
    return [
        {"user_id": int(name[1:]), "user_money": cents, **MOBILE} for name, cents in money.items()
    ]


def difference(before: Rows, after: Rows) -> Difference:
    aliases = Aliases()
    old = frame("trade_user", before, aliases)
    return Difference("trade_user", old, frame("trade_user", after, aliases))


def marks(change: Difference) -> list[str]:
    return [line[0] for line in change.lines()[1:]]


def test_ids_are_named_in_order_of_birth() -> None:
    """The older id is 1, in whatever order the rows come, and letters count apart."""
    aliases = Aliases()
    aliases.add([{"order_id": SECOND, "user_id": 9}, {"order_id": FIRST, "user_id": 5}])
    assert [aliases.format("order_id", id_) for id_ in (FIRST, SECOND)] == ["O1", "O2"]
    assert [aliases.format("user_id", id_) for id_ in (5, 9)] == ["U1", "U2"]


def test_a_name_once_given_stays() -> None:
    """An id shown as O1 is O1 for ever; later ids get later names."""
    aliases = Aliases()
    aliases.add([{"order_id": SECOND}])
    aliases.add([{"order_id": SECOND + 1}, {"order_id": SECOND}])
    assert aliases.format("order_id", SECOND) == "O1"
    assert aliases.format("order_id", SECOND + 1) == "O2"


def test_nothing_is_shown_as_a_dash() -> None:
    """No coupon, no time, and the opening row's order 0 read as nothing."""
    aliases = Aliases()
    assert [
        aliases.format(*column) for column in (("coupon_id", None), ("order_id", 0), ("x", None))
    ] == (["–"] * 3)
    assert aliases.format("goods_number", 0) == 0
    assert aliases.format("add_time", datetime(2026, 1, 2, 3, 4, 5, 678)) == "01-02 03:04:05"


def test_texts_get_names_for_ids_and_keep_their_numbers() -> None:
    """An order in a message reads O1; amounts and small seeded ids stay what they are."""
    aliases = Aliases()
    aliases.add([{"order_id": FIRST, "user_id": 1, "goods_id": 2}])
    assert aliases.replace(f"order {FIRST}: 12 pieces of user 1, goods 2") == (
        "order O1: 12 pieces of user 1, goods 2"
    )
    assert aliases.replace(f"{FIRST}0 is another") == f"{FIRST}0 is another"


def test_the_key_of_a_message_reads_like_its_order() -> None:
    """A message's key is its order's short name, and something else where it is no order's."""
    aliases = Aliases()
    aliases.add([{"order_id": FIRST}])
    assert aliases.format("msg_key", str(FIRST)) == "O1"
    assert aliases.format("msg_key", "12") == "12"


def test_the_platforms_names_for_ours_read_like_ours() -> None:
    """A payment, a refund and a trade have one short name each, on whichever side they stand."""
    aliases = Aliases()
    aliases.add([{"pay_id": FIRST, "trade_no": None}, {"pay_id": SECOND, "trade_no": "17"}])
    aliases.add([{"refund_id": SECOND + 1}])
    aliases.add([{"out_trade_no": SECOND, "trade_no": 17, "notify_id": 5}])
    assert aliases.format("pay_id", SECOND) == aliases.format("out_trade_no", SECOND) == "P2"
    assert aliases.format("trade_no", "17") == aliases.format("trade_no", 17) == "T1"
    assert aliases.format("out_request_no", SECOND + 1) == "R1"
    assert [aliases.format(*column) for column in (("trade_no", None), ("notify_id", 5))] == [
        "–",
        "N1",
    ]
    assert aliases.replace(f"payment {SECOND}, refund {SECOND + 1}") == "payment P2, refund R1"


def test_an_operation_about_a_payment_bears_its_name() -> None:
    """A payment under order_id reads P1, whichever was learned first."""
    aliases = Aliases()
    aliases.add([{"pay_id": SECOND, "order_id": FIRST}])
    aliases.add([{"order_id": FIRST}, {"order_id": SECOND}])
    assert [aliases.format("order_id", id_) for id_ in (FIRST, SECOND)] == ["O1", "P1"]


def test_an_order_with_nothing_left_to_pay_is_its_own_payment() -> None:
    """Its payment has the order's id, and so the order's name; the next payment is still P1."""
    aliases = Aliases()
    aliases.add([{"order_id": FIRST}])
    aliases.add([{"order_id": FIRST, "pay_id": FIRST}, {"order_id": FIRST, "pay_id": SECOND}])
    assert [aliases.format("pay_id", id_) for id_ in (FIRST, SECOND)] == ["O1", "P1"]


def test_codes_have_words_and_rows_an_order() -> None:
    """A status reads as number and word, and rows stand in the order of their key."""
    rows = [
        {
            **dict.fromkeys(SHOWN_COLUMNS["trade_order"], 0),
            "order_id": id_,
            "user_id": 1,
            "order_status": 2,
        }
        for id_ in (SECOND, FIRST)
    ]
    shown = frame("trade_order", rows, Aliases())
    assert list(shown["order_id"]) == ["O1", "O2"]
    assert set(shown["order_status"]) == {"2 cancelled"}
    assert set(shown["pay_status"]) == {"0 unpaid"}


def test_new_changed_and_gone_rows_are_marked() -> None:
    """+ new, ~ changed with old → new, - gone; an unchanged row bears no mark."""
    change = difference(users(u1=1, u2=2, u3=3), users(u1=1, u2=20, u4=4))
    by_user = {line[1]: line for line in change.lines()[1:]}
    assert {user: line[0].strip() for user, line in by_user.items()} == {
        "U1": "",
        "U2": "~",
        "U3": "-",
        "U4": "+",
    }
    assert by_user["U2"][3] == "2 → 20"
    assert change.changed


def test_nothing_changed_is_said() -> None:
    """A table that a step left alone has no marks and its caption says so; an empty one too."""
    change = difference(users(u1=1), users(u1=1))
    assert not change.changed
    assert marks(change) == [" "]
    assert "unchanged" in change.caption()
    assert "no rows" in difference([], []).text()


def test_from_nothing_and_to_nothing() -> None:
    """The first rows of an empty table are new, and the last ones gone."""
    assert marks(difference([], users(u1=1))) == ["+"]
    assert marks(difference(users(u1=1), [])) == ["-"]


def test_html_marks_in_text_and_escapes() -> None:
    """The marks stand in the page as text, not as colour alone, and data is no markup."""
    bold = [{"user_id": 1, "user_name": "<b>刘备</b>", "user_money": 1, "user_score": 0}]
    page = difference([], bold).html()
    assert "+" in page
    assert "&lt;b&gt;刘备" in page
    assert "<b>刘备" not in page


def test_columns_line_up_with_chinese_names() -> None:
    """Chinese letters are two wide: the next column still begins under its header."""
    header, row = difference([], users(u1=7)).text().splitlines()[1:]
    assert header.index("user_money") == row.index("7") + 2


def test_every_table_code_and_operation_can_be_shown() -> None:
    """Each table has columns and a key that exist, each code a word, each operation a place."""
    tables = {table.name: table for tables in DATABASES.values() for table in tables}
    assert (
        SHOWN_COLUMNS.keys()
        == ROW_KEYS.keys()
        == tables.keys()
        == {*metadata.tables, *runtime_metadata.tables, *platform.metadata.tables}
    )
    for name, table in tables.items():
        assert {*SHOWN_COLUMNS[name], *ROW_KEYS[name]} <= {*table.columns.keys(), "service"}
    assert set(OrderStatus) == CODE_LABELS["order_status"].keys()
    assert set(PayStatus) == CODE_LABELS["pay_status"].keys()
    assert set(PaymentState) == CODE_LABELS["is_paid"].keys()
    assert set(RefundState) == CODE_LABELS["state"].keys()
    assert STATUS_LABELS.keys() == {"trade_mq_producer", "trade_mq_consumer_log"}
    assert set(SORT_ORDER["service"]) == {name for name in SERVICES if SERVICES[name].contract}
    assert set(SORT_ORDER["direction"]) == {
        LogDirection.OPENING,
        LogDirection.DEDUCT,
        LogDirection.USE,
        LogDirection.RETURN,
        PayLogDirection.PAID,
        PayLogDirection.REFUNDED,
    }


def test_a_frame_holds_whole_numbers_beside_nothing() -> None:
    """A 64-bit id beside None stays that id, and does not become a float near it."""
    table = Table.of([{"order_id": FIRST}, {"order_id": None}], ["order_id", "coupon_id"])
    assert table["order_id"].tolist() == [FIRST, None]
    assert table.query("order_id == @FIRST").shape == (1, 2)


def test_a_frame_of_ids_and_fractions_shows_the_ids_whole() -> None:
    """In HTML a row's cells are its own: no fraction in one column makes a float of an id."""
    table = Table.of([{"order_id": FIRST, "seconds": 0.5}])
    assert str(FIRST) in table._repr_html_()
    assert str(FIRST) in repr(table)


def test_a_frame_of_whole_numbers_can_be_computed_with() -> None:
    """A frame does what a learner does with it: sums, comparisons, the order of its rows."""
    table = Table.of([{"user_id": 2, "money": 70}, {"user_id": 1, "money": 30}])
    assert table["money"].sum() == 100
    assert table.query("money > 50")["user_id"].item() == 2
    assert table.sort_values("user_id")["money"].tolist() == [30, 70]
