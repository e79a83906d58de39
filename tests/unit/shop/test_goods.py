"""Stock: taken once and never below zero, given back once and exactly as much as was taken."""

import pytest

from labkit.shop import goods
from labkit.shop.codes import Code
from labkit.shop.messages import DeductStock, FindGoods, OrderCancelled, OrderReturned
from tests.support.store import PRICE, STOCK, OpenStore, Store, outstanding

ORDER = 1001
LOG = "trade_goods_number_log"


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    """Goods 1 with ten pieces."""
    return open_store("goods")


def take(pieces: int, order_id: int = ORDER, goods_id: int = 1) -> DeductStock:
    return DeductStock(order_id=order_id, goods_id=goods_id, goods_number=pieces)


def stock(store: Store) -> int:
    return store.row("trade_goods", goods_id=1)["goods_number"]


def test_goods_are_found_as_they_are(store: Store) -> None:
    """A query gives stock and price as they are now, and unknown goods are refused."""
    goods_ = store.run(goods.find_goods, FindGoods(goods_id=1))
    assert (goods_.data.goods_number, goods_.data.goods_price) == (STOCK, PRICE)
    assert store.run(goods.find_goods, FindGoods(goods_id=9)).code == Code.GOODS_MISSING


def test_pieces_are_taken_with_their_log(store: Store) -> None:
    """A deduction lowers the stock, writes the log row and records the amount."""
    assert store.run(goods.deduct_stock, take(3)).success

    assert stock(store) == STOCK - 3
    logged = store.row(LOG, order_id=ORDER)
    assert (logged["goods_id"], logged["direction"], logged["goods_number"]) == (1, "deduct", 3)
    assert store.outcome("deduct_stock", ORDER) == ("applied", 3)


def test_the_last_piece_may_be_sold_and_no_more(store: Store) -> None:
    """The stock goes down to zero; one piece more is refused, and only the refusal is written."""
    assert store.run(goods.deduct_stock, take(STOCK)).success
    before = store.business()

    refused = store.run(goods.deduct_stock, take(1, order_id=1002))

    assert refused.code == Code.STOCK_SHORT
    assert "1002" in refused.message
    assert stock(store) == 0
    assert store.business() == before
    assert store.outcome("deduct_stock", 1002) == ("refused", 0)


def test_a_refusal_stands_when_the_stock_has_come_back(store: Store) -> None:
    """Asked again when pieces have come back, a refused deduction is still refused: it is final."""
    store.run(goods.deduct_stock, take(STOCK))
    store.run(goods.deduct_stock, take(1, order_id=1002))
    store.run(goods.return_stock, OrderCancelled(order_id=ORDER))

    assert store.run(goods.deduct_stock, take(1, order_id=1002)).code == Code.STOCK_SHORT
    assert stock(store) == STOCK


def test_unknown_goods_are_refused(store: Store) -> None:
    """Pieces of goods that do not exist cannot be taken."""
    assert not store.run(goods.deduct_stock, take(1, goods_id=9)).success
    assert stock(store) == STOCK


def test_what_was_taken_is_given_back_with_its_log(store: Store) -> None:
    """A compensation gives back the recorded pieces and says so in the log."""
    store.run(goods.deduct_stock, take(3))
    store.run(goods.deduct_stock, take(2, order_id=1002))

    store.run(goods.return_stock, OrderCancelled(order_id=ORDER))

    assert stock(store) == STOCK - 2
    assert [row["direction"] for row in store.rows(LOG, order_id=ORDER)] == ["deduct", "return"]
    assert outstanding(store, ORDER) == 0
    assert outstanding(store, 1002) == 2
    assert store.outcome("deduct_stock", ORDER) == ("undone", 3)


def test_cancelled_and_returned_give_back_once_together(store: Store) -> None:
    """Two different events about one order give its pieces back once, not twice."""
    store.run(goods.deduct_stock, take(3))
    store.run(goods.return_stock, OrderCancelled(order_id=ORDER))
    before = store.everything()

    store.run(goods.return_stock, OrderReturned(order_id=ORDER))

    assert store.everything() == before
    assert stock(store) == STOCK


@pytest.mark.parametrize("pieces", [0, -1, -STOCK])
def test_no_order_mints_stock(store: Store, pieces: int) -> None:
    """A number of zero or below never raises the stock: it is no number of pieces at all."""
    before = store.business()
    with pytest.raises(ValueError, match="goods_number"):
        store.run(goods.deduct_stock, take(pieces))
    assert store.business() == before
