"""The texts of the cashier page, in English and Chinese."""

from datetime import datetime

PLATFORM = "Labkit Pay"
#: Language → its texts. `*_title` names the state in the browser's tab, `*_text` says what to do.
WORDS = {
    "en": {
        "tag": "en",
        "name": "English",
        "languages": "Language",
        "merchant_name": "Labkit Shop",
        "merchant": "Merchant",
        "subject": "What is bought",
        "amount": "Amount",
        "out_trade_no": "Merchant order number",
        "trade_no": "Transaction number",
        "time_expire": "Pay before",
        "pay_time": "Paid at",
        "pay": "Pay",
        "give_up": "Give up",
        "give_up_hint": "Giving up closes this payment. No money is taken.",
        "look_again": "Look again",
        "open": "Open the payment page",
        "lab": "This cashier belongs to a lab for learning: no real money moves.",
        "time": "{0.day} {0:%B %Y, %H:%M}\u00a0UTC",
        "waiting_title": "Confirm your payment",
        "paid_title": "Paid",
        "paid_text": "The payment went through. You can close this page.",
        "closed_title": "Payment closed",
        "closed_text": "No money was taken. You can close this page. "
        "To pay after all, go back to the shop and begin a new payment there.",
        "expired_title": "The time to pay is over",
        "expired_text": "No money was taken. You can close this page. "
        "To buy after all, go back to the shop and place the order again.",
        "unknown_title": "There is no such payment",
        "unknown_text": "The address may be cut off or mistyped. "
        "Go back to the shop and open the payment from there.",
        "away_title": "The cashier cannot answer right now",
        "away_text": "Nothing is lost, and you cannot pay twice. "
        "Wait a moment, then look again: the page will say whether it is paid.",
        "refused_title": "Nothing was changed",
        "refused_text": "This request did not come from a button of the payment page. "
        "Open the page and press the button there.",
    },
    "zh": {
        "tag": "zh-CN",
        "name": "中文",
        "languages": "语言",
        "merchant_name": "Labkit 商城",
        "merchant": "商户",
        "subject": "商品",
        "amount": "金额",
        "out_trade_no": "商户订单号",
        "trade_no": "交易号",
        "time_expire": "付款截止时间",
        "pay_time": "付款时间",
        "pay": "付款",
        "give_up": "放弃付款",
        "give_up_hint": "放弃后，本次交易将关闭，不会扣款。",
        "look_again": "重新查看",
        "open": "打开付款页面",
        "lab": "本收银台仅用于教学实验，不涉及真实资金。",
        "time": "{0.year}年{0.month}月{0.day}日 {0:%H:%M}\u00a0UTC",
        "waiting_title": "确认付款",
        "paid_title": "付款成功",
        "paid_text": "款项已支付，您可以关闭本页面。",
        "closed_title": "交易已关闭",
        "closed_text": "未扣款，您可以关闭本页面。如仍需付款，请返回商城重新发起付款。",
        "expired_title": "付款已超时",
        "expired_text": "未扣款，您可以关闭本页面。如仍需购买，请返回商城重新下单。",
        "unknown_title": "没有这笔交易",
        "unknown_text": "网址可能不完整或有误。请返回商城，从那里重新打开付款页面。",
        "away_title": "收银台暂时无法响应",
        "away_text": "数据不会丢失，也不会重复扣款。请稍候再重新查看，页面会显示是否已付款。",
        "refused_title": "未做任何更改",
        "refused_text": "该请求并非来自付款页面上的按钮。请打开付款页面，再点击其中的按钮。",
    },
}
_DEFAULT = "en"


def choose_language(accepted: str) -> str:
    """Choose the page's language by a browser's Accept-Language header."""
    weights = {_DEFAULT: 0.0}
    for part in accepted.split(","):
        tag, _, weight = part.partition(";")
        language = tag.strip().lower().partition("-")[0]
        if language in WORDS:
            weights[language] = max(weights.get(language, 0.0), _weight(weight))
    return max(weights, key=weights.__getitem__)


def _weight(text: str) -> float:
    name, _, number = text.replace(" ", "").partition("=")
    try:
        return float(number) if name == "q" else 1.0
    except ValueError:
        return 0.0


def yuan(cents: int) -> str:
    """Format an amount for people."""
    return f"¥{cents // 100}.{cents % 100:02}"


def moment(time: datetime, language: str) -> str:
    """Format a business time for people; without seconds, and with its zone."""
    return WORDS[language]["time"].format(time)
