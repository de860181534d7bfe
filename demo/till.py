"""The demo shop's pretend payment page: pay, fail, or go away. No money moves.

It shows what a shop's server does: it tells the door, waits for the answer, and believes it.
"""

import json
import re
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from html import escape
from typing import Any

is_ticket = re.compile(r"[A-Za-z0-9_-]{83}", re.ASCII).fullmatch
# Seconds that the shop waits for the settler, and for any answer at all.
WAIT_S, LIMIT_S = 10, 20.0
EN = {
    "title": "Pretend payment",
    "ask": "No money moves here. What becomes of your payment?",
    "paid": "Pay",
    "failed": "The card is refused",
    "away": "Go away without paying",
    "back": "Back to the sale",
    "done": "The shop told the door: {result}. The door says: {state}.",
    "late": "Too late: something else had become of it. A real shop voids the payment now.",
    "wrong": "The door did not take it ({status}): {detail}. A real shop tries again.",
}
ZH = {
    "title": "模拟付款",
    "ask": "此处不会真正扣款。请选择付款结果：",
    "paid": "付款成功",
    "failed": "付款失败",
    "away": "不付款，直接离开",
    "back": "返回抢购页",
    "done": "商城上报：{result}。系统返回：{state}。",
    "late": "付款逾期：该订单已有其他结果。真实商城此时应撤销授权。",
    "wrong": "系统未受理（{status}）：{detail}。真实商城应重试。",
}
# The words of the API, for people.
STATES_ZH = {
    "failed": "付款失败",
    "held": "待付款",
    "paid": "已付款",
    "expired": "超时未付",
    "cancelled": "已取消",
}
STYLE = """
:root { color-scheme: light dark }
body { font: 1rem/1.6 system-ui, "PingFang SC", "Noto Sans CJK SC", sans-serif;
  max-width: 30rem; margin: 3rem auto; padding: 0 1rem }
button, a { display: block; width: 100%; box-sizing: border-box; min-height: 3rem;
  margin: .75rem 0; padding: .6rem; text-align: center; font: inherit; font-weight: 700;
  border: 1px solid currentColor; border-radius: .6rem; background: none; color: inherit;
  text-decoration: none; cursor: pointer }
"""


@dataclass(frozen=True)
class Till:
    """`door` is the door's address, `key` one of its payment keys."""

    door: str
    key: str = field(repr=False)

    def page(self, ticket: str, sale: str, *, chinese: bool) -> str:
        """The page to pay on. `sale` is the address of the buyers' page."""
        words = ZH if chinese else EN
        buttons = "".join(
            f'<button name="result" value="{result}">{words[result]}</button>'
            for result in ("paid", "failed")
        )
        return _html(
            words["title"],
            f'<p>{words["ask"]}</p><form method="post" action="/pay">'
            f'<input type="hidden" name="ticket" value="{escape(ticket)}">{buttons}</form>'
            f'<a href="{escape(sale)}">{words["away"]}</a>',
            chinese=chinese,
        )

    def settle(self, ticket: str, result: str, sale: str, *, chinese: bool) -> str:
        """Tell the door, and show what it says."""
        words = ZH if chinese else EN
        status, told = self._report(ticket, result)
        if status not in (200, 202):
            text = words["wrong"].format(status=status, detail=told.get("detail", ""))
        else:
            named = STATES_ZH if chinese else {}
            result, state = (named.get(word, word) for word in (result, told["state"]))
            text = words["done"].format(result=result, state=state)
            text += words["late"] if told["too_late"] else ""
        return _html(
            words["title"],
            f'<p>{escape(text)}</p><a href="{escape(sale)}">{words["back"]}</a>',
            chinese=chinese,
        )

    def _report(self, ticket: str, result: str) -> tuple[int, dict[str, Any]]:
        request = urllib.request.Request(
            f"{self.door}/v1/tickets/{ticket}/payment",
            json.dumps({"result": result, "reference": f"pretend-{ticket[-8:]}"}).encode(),
            {
                "Authorization": f"Bearer {self.key}",
                "Content-Type": "application/json",
                "Prefer": f"wait={WAIT_S}",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, json.load(refused)
        except OSError as away:
            return 0, {"detail": str(away)}


def _html(title: str, body: str, *, chinese: bool) -> str:
    lang = "zh-CN" if chinese else "en"
    return (
        f'<!doctype html><html lang="{lang}"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # Without it a browser asks for one, and tells that there is none.
        '<link rel="icon" href="data:,">'
        f"<title>{title}</title><style>{STYLE}</style><h1>{title}</h1>{body}</html>"
    )
