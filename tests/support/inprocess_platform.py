"""The payment platform in one process, behind the contract that the pay service knows."""

import secrets
from typing import Any

from labkit.payment_api.trade_status import TradeStatus
from labkit.payment_platform import messages as pm
from labkit.payment_platform import refunds, trades
from labkit.results import Result
from labkit.runtime.steps import Step
from labkit.shop.codes import Code
from labkit.shop.pay import messages as p
from tests.support.inprocess import InProcessShop

NOTIFY = "http://shop/pay/callback"


class InProcessPlatform:
    """The platform's steps behind the contract that the pay service knows.

    Args:
        shop: runs the steps.
    """

    def __init__(self, shop: InProcessShop) -> None:
        self._shop = shop

    async def create_trade(self, command: p.CreateTrade) -> Result[p.TradeFound]:
        """Open a trade, or give the one that there is."""
        return self._found(
            trades.create_trade,
            pm.OpenTrade(
                out_trade_no=command.pay_id,
                token=secrets.token_urlsafe(16),
                notify_url=NOTIFY,
                subject=command.subject,
                total_amount=command.total_amount,
                time_expire=command.time_expire,
            ),
        )

    async def query_trade(self, query: p.AskTrade) -> Result[p.TradeFound]:
        """Return the state of a trade."""
        return self._found(trades.query_trade, pm.FindTrade(out_trade_no=query.pay_id))

    async def close_trade(self, command: p.AskTrade) -> Result[p.TradeFound]:
        """Close a trade."""
        return self._found(trades.close_trade, pm.FindTrade(out_trade_no=command.pay_id))

    async def refund_trade(self, command: p.RefundTrade) -> Result[p.TradeRefunded]:
        """Give money back."""
        request = pm.Refund(
            out_trade_no=command.pay_id,
            out_request_no=command.refund_id,
            refund_amount=command.amount,
        )
        answer = self._ask(refunds.refund_trade, request)
        if not answer.success:
            return Result[p.TradeRefunded].refused(Code(answer.code), answer.message)
        done = {"pay_id": command.pay_id, "refund_id": command.refund_id}
        return Result[p.TradeRefunded].ok(p.TradeRefunded(**done, amount=command.amount))

    def _found(self, step: Step[Any, Any], command: Any) -> Result[p.TradeFound]:
        answer = self._ask(step, command)
        if answer.code == Code.PAYMENT_NOT_FOUND:
            missing = p.TradeFound(
                pay_id=command.out_trade_no, trade_status=TradeStatus.TRADE_NOT_EXIST
            )
            return Result[p.TradeFound].ok(missing)
        if not answer.success:
            return Result[p.TradeFound].refused(Code(answer.code), answer.message)
        trade = answer.data
        return Result[p.TradeFound].ok(
            p.TradeFound(
                pay_id=int(trade.out_trade_no),
                trade_no=trade.trade_no,
                trade_status=trade.trade_status,
                total_amount=trade.total_amount,
                cashier_url=f"http://platform/cashier/{trade.token}",
            )
        )

    def _ask(self, step: Step[Any, Any], command: Any) -> Result[Any]:
        answer: Result[Any] = self._shop.run("platform", step, command)
        return answer
