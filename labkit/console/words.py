"""The texts of the console, in English and Chinese."""

import time
from collections.abc import Mapping

from labkit.ops.pending_item import PendingItem
from labkit.runtime.clock import wall_ms

#: language → its texts. `kind_*` says what is wrong with a stuck item, given its service.
WORDS: dict[str, dict[str, str]] = {
    "en": {
        "tag": "en",
        "name": "English",
        "title": "Operator console",
        "languages": "Language",
        "as_of": "as of {0}",
        "lost": "No contact with the console. What you see may be old; trying again.",
        "no_script": "This page does not refresh itself without JavaScript.",
        "look_again": "Look again",
        "well": "Nothing is stuck",
        "stuck_1": "1 thing is stuck",
        "stuck_n": "{0} things are stuck",
        "dead_1": "1 dead letter",
        "dead_n": "{0} dead letters",
        "tile_stuck": "waiting or failed",
        "tile_dead": "dead letters",
        "tile_orders": "orders being decided",
        "tile_payments": "payments open",
        "tile_messages": "messages on their way",
        "stuck": "Waiting or failed",
        "stuck_none": "Nothing waits, nothing failed.",
        "dead": "Dead letters",
        "dead_none": "Nothing was given up.",
        "more": "and {0} more, older ones first",
        "order": "Order",
        "no_order": "no order",
        "cause": "Cause",
        "no_cause": "It has not failed: nobody has looked after it.",
        "tries": "Tries",
        "next": "Next try",
        "next_now": "{0}, now",
        "next_in": "{0}, in {1} s",
        "next_late": "{0} should have tried {1} s ago: is it up?",
        "next_none": "nobody, until you do something",
        "next_self": "the order service decides it by itself",
        "retry": "Retry now",
        "give_up": "Give up",
        "take_back": "Take back",
        "services": "Services",
        "service": "Process",
        "state": "State",
        "since": "Since",
        "state_up": "up",
        "state_down": "down",
        "state_starting": "starting",
        "state_held": "kept down",
        "state_paused": "stands still",
        "away": "The database of {0} does not answer.",
        "faults": "Faults armed",
        "faults_none": "No failpoint is armed.",
        "times": "{0} ×",
        "after": ", after {0} more",
        "flight": "In flight",
        "flight_none": "No order is being decided, no payment is open.",
        "what_undecided": "being decided",
        "what_unpaid": "waits for its user to pay",
        "invariants": "Invariants",
        "checked": "checked at {0}",
        "checking": "being checked",
        "hold_all": "all {0} hold",
        "broken_n": "{0} of {1} broken",
        "rows": "rows: {0}",
        "held_n": "{0} hold; rows looked at by all: {1}",
        "held": "holds",
        "broken": "broken",
        "done": "What you did",
        "did_ok": "Done: {0}.",
        "did_no": "That did not work: {0}.",
        "away_check": "The invariants could not be looked at.",
        "trace": "Trace of order {0}",
        "trace_none": "This order left no trace. Orders are traced where the lab was started with "
        "LABKIT_TRACING=on, as a notebook does.",
        "back": "Back to the console",
        "from": "From",
        "to": "To",
        "text": "What",
        "refused_title": "This console is not open to you",
        "refused_text": "Open it by its whole address, with the token: labkit status prints it. "
        "After every labkit up it is another one.",
        "name_title": "This console answers under another address",
        "name_text": "It answers at http://127.0.0.1:{0}/ and http://localhost:{0}/ alone, so that "
        "no page elsewhere can reach it under a name of its own. Through a tunnel, keep the port's "
        "number: ssh -L {0}:127.0.0.1:{0} and the machine's name. Then open the whole address that "
        "labkit status prints.",
        "method_title": "Nothing was changed",
        "method_text": "This was not sent by a button of the console. "
        "Go back and press the button there.",
        "missing_title": "There is no such page",
        "missing_text": "The address may be cut off or mistyped.",
        "enter_title": "One moment",
        "enter_text": "Go to the console",
        "kind_undecided": "The order is not decided in time",
        "kind_unhandled": "{0} could not handle it",
        "kind_unsent": "{0} could not send it",
        "kind_unsettled": "{0} sent it, and not everybody has it",
        "kind_dead_in": "{0} gave it up",
        "kind_dead_out": "{0} sends it no more",
        "kind_paid_there": "Paid at the platform, not known here",
        "kind_not_closed": "Closed here, perhaps not at the platform",
        "kind_not_asked": "Not paid, and nobody asks the platform",
        "kind_not_refunded": "The platform has not given the money back",
        "kind_dead_payment": "Nobody asks the platform about it",
        "kind_dead_refund": "Nobody sends it to the platform",
        "thing_order": "Order",
        "thing_payment": "Payment",
        "thing_refund": "Refund",
        "topic_order_cancel": "Message: order cancelled",
        "topic_order_return": "Message: order returned",
        "topic_paid": "Message: order paid",
        "topic_refunded": "Message: refund made",
        "topic_dead_letter": "Message: dead letter",
    },
    "zh": {
        "tag": "zh-CN",
        "name": "中文",
        "title": "运维控制台",
        "languages": "语言",
        "as_of": "{0} 的状态",
        "lost": "无法连接控制台，页面内容可能已过时，正在重试。",
        "no_script": "未启用 JavaScript，页面不会自动刷新。",
        "look_again": "重新查看",
        "well": "没有卡住的任务",
        "stuck_1": "有 1 项卡住",
        "stuck_n": "有 {0} 项卡住",
        "dead_1": "1 条死信",
        "dead_n": "{0} 条死信",
        "tile_stuck": "等待或失败",
        "tile_dead": "死信",
        "tile_orders": "处理中的订单",
        "tile_payments": "待支付",
        "tile_messages": "在途消息",
        "stuck": "等待或失败",
        "stuck_none": "没有等待或失败的任务。",
        "dead": "死信",
        "dead_none": "没有被放弃的任务。",
        "more": "另有 {0} 项，较早的在前",
        "order": "订单",
        "no_order": "无订单",
        "cause": "原因",
        "no_cause": "尚未失败，只是一直没有服务处理它。",
        "tries": "已尝试",
        "next": "下次尝试",
        "next_now": "{0}，现在",
        "next_in": "{0}，{1} 秒后",
        "next_late": "{0} 本应在 {1} 秒前重试：它在运行吗？",
        "next_none": "不再自动尝试，等待人工处理",
        "next_self": "由订单服务自行处理",
        "retry": "立即重试",
        "give_up": "放弃",
        "take_back": "取回",
        "services": "服务",
        "service": "进程",
        "state": "状态",
        "since": "开始时间",
        "state_up": "运行中",
        "state_down": "已停止",
        "state_starting": "启动中",
        "state_held": "保持停止",
        "state_paused": "已暂停",
        "away": "{0} 的数据库没有响应。",
        "faults": "已设置的故障",
        "faults_none": "没有设置故障点。",
        "times": "{0} 次",
        "after": "，先放行 {0} 次",
        "flight": "处理中",
        "flight_none": "没有处理中的订单，也没有待支付的付款。",
        "what_undecided": "正在处理",
        "what_unpaid": "等待用户支付",
        "invariants": "不变式",
        "checked": "检查于 {0}",
        "checking": "正在检查",
        "hold_all": "{0} 条全部成立",
        "broken_n": "{1} 条中有 {0} 条不成立",
        "rows": "{0} 行",
        "held_n": "{0} 条成立，共检查 {1} 行",
        "held": "成立",
        "broken": "不成立",
        "done": "操作记录",
        "did_ok": "已完成：{0}。",
        "did_no": "操作失败：{0}。",
        "away_check": "无法检查不变式。",
        "trace": "订单 {0} 的链路",
        "trace_none": "该订单没有链路记录。"
        "需以 LABKIT_TRACING=on 启动实验环境（notebook 中默认开启）。",
        "back": "返回控制台",
        "from": "从",
        "to": "到",
        "text": "内容",
        "refused_title": "您无权打开此控制台",
        "refused_text": "请使用带令牌的完整地址打开，可运行 labkit status 查看。"
        "每次 labkit up 之后令牌都会更换。",
        "name_title": "此控制台使用另一个地址",
        "name_text": "它只在 http://127.0.0.1:{0}/ 和 http://localhost:{0}/ 应答，"
        "以免其他网页用自己的域名访问它。通过隧道访问时请保持端口号不变："
        "ssh -L {0}:127.0.0.1:{0} 加主机名，然后打开 labkit status 显示的完整地址。",
        "method_title": "未做任何更改",
        "method_text": "该请求并非来自控制台的按钮。请返回控制台，再点击其中的按钮。",
        "missing_title": "没有这个页面",
        "missing_text": "网址可能不完整或有误。",
        "enter_title": "请稍候",
        "enter_text": "进入控制台",
        "kind_undecided": "订单未能按时处理完",
        "kind_unhandled": "{0} 服务处理失败",
        "kind_unsent": "{0} 服务发送失败",
        "kind_unsettled": "{0} 服务已发送，但并非所有消费者都已收到",
        "kind_dead_in": "{0} 服务已放弃处理",
        "kind_dead_out": "{0} 服务不再发送",
        "kind_paid_there": "平台已收款，本店尚不知道",
        "kind_not_closed": "本店已关闭，平台可能未关闭",
        "kind_not_asked": "尚未付款，也无人向平台查询",
        "kind_not_refunded": "平台尚未退款",
        "kind_dead_payment": "不再向平台查询",
        "kind_dead_refund": "不再向平台发送",
        "thing_order": "订单",
        "thing_payment": "付款",
        "thing_refund": "退款",
        "topic_order_cancel": "消息：订单已取消",
        "topic_order_return": "消息：订单已退货",
        "topic_paid": "消息：订单已支付",
        "topic_refunded": "消息：已退款",
        "topic_dead_letter": "消息：死信",
    },
}
_LATE_SECONDS = 2
_SUBJECTS = {"undecided": "order", "not_refunded": "refund", "dead_refund": "refund"}


def title_of(item: PendingItem, words: Mapping[str, str]) -> str:
    """Return what a stuck item is, in a few words."""
    topic = item.get("topic")
    if topic:
        return words.get(f"topic_{topic}", topic)
    return words[f"thing_{_SUBJECTS.get(item['kind'], 'payment')}"]


def problem_of(item: PendingItem, words: Mapping[str, str]) -> str:
    """Return what is wrong with a stuck item."""
    return words[f"kind_{item['kind']}"].format(service_of(item))


def next_try(item: PendingItem, words: Mapping[str, str]) -> str:
    """Return which service tries a stuck item again, and when."""
    if item["kind"] == "undecided":
        return words["next_self"]
    due = item["next_try"]
    if due is None:
        return words["next_none"]
    seconds = round((due - wall_ms()) / 1000)
    if seconds < -_LATE_SECONDS:
        return words["next_late"].format(service_of(item), -seconds)
    name = "next_in" if seconds > 0 else "next_now"
    return words[name].format(service_of(item), seconds)


def buttons(item: PendingItem) -> tuple[str, ...]:
    """Return the actions that a person can take on a stuck item."""
    if item["kind"] == "undecided":
        return ()
    return ("retry", "take_back" if item["kind"].startswith("dead") else "give_up")


def service_of(item: PendingItem) -> str:
    """Return the service whose item it is."""
    return item["id"].partition(".")[0]


def clock(seconds: float) -> str:
    """Show a time of the wall clock in this machine's zone."""
    return time.strftime("%H:%M:%S", time.localtime(seconds))
