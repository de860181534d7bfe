"""The pages without a script, as HTML: the sale with its form, and what became of a click. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

from seckill.web.door.files import HTML, safe_headers
from seckill.web.door.http import Response
from seckill.web.door.orders import Names
from seckill.web.door.page.words import Words
from seckill.web.door.plain.reading import ANOTHER, Pressed
from seckill.web.door.showcase import Left, Showcase, state_of

POLICY = (
    b"default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
    b"frame-ancestors 'none'"
)
# Browsers send the form's origin only if the page may tell it; never its address.
HEADERS = [*safe_headers(POLICY, referrer=b"strict-origin"), (b"cache-control", b"no-store")]


@dataclass(frozen=True, slots=True)
class Told:
    """What a buyer is told: the name of its words, its tone, what stands for {n} in the words, and
    what is next: links and forms in HTML.
    """

    name: str
    tone: str = "wait"
    n: str = ""
    next: Sequence[str] = ()


def page(
    words: Words,
    title: str,
    parts: Sequence[str],
    *,
    status: int = 200,
    refresh_s: int | None = None,
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> Response:
    """A whole page, which loads itself again after `refresh_s`."""
    body = f"""<!doctype html>
<html lang="{words.code}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<link rel="icon" href="/buy/files/icon.svg">
<link rel="stylesheet" href="/buy/files/buy.css">
</head>
<body>
<main>
{"".join(parts)}</main>
</body>
</html>
"""
    again = [] if refresh_s is None else [(b"refresh", b"%d" % refresh_s)]
    return Response(status, body.encode(), HTML, [*HEADERS, *again, *headers])


def header(words: Words, name: str, seen: Showcase | None = None) -> str:
    """The top of a page: the sale's name, its state and the time until it opens."""
    top = ""
    clock = ""
    if seen is not None:
        state = state_of(seen.phase)
        top = f'<p class="phase">{escape(words[state])}</p>\n'
        if state == "soon" and seen.opens_at_ms is not None:
            left = _clock(words, max(0, seen.opens_at_ms - seen.now_ms))
            clock = f'<p class="clock">{escape(words["opensIn"])}{left}</p>\n'
    return f"<header>\n{top}<h1>{escape(name)}</h1>\n{clock}</header>\n"


def result(words: Words, told: Told) -> str:
    """The box that says how a click stands."""
    headline, detail = words.told(told.name)
    actions = "".join(told.next)
    return (
        f'<section class="result" role="status" data-tone="{told.tone}" data-name="{told.name}">\n'
        f'<p class="headline">{escape(headline)}</p>\n'
        f"<p>{escape(detail.replace('{n}', told.n))}</p>\n"
        f"{f'<div class=links>{actions}</div>' if actions else ''}</section>\n"
    )


def note(text: str) -> str:
    """A sentence below all else."""
    return f'<p class="note">{escape(text)}</p>\n'


def link(address: str, text: str) -> str:
    """A link that looks like a button."""
    return f'<a class="button other" href="{escape(address)}">{escape(text)}</a>'


def pay(address: str, text: str) -> str:
    """The link to where a hold is paid."""
    return f'<a class="button" rel="noreferrer" href="{escape(address)}">{escape(text)}</a>'


def until(words: Words, until_ms: int, now_ms: int) -> str:
    """When a hold ends. Nothing is known of the reader's zone: so in UTC, with what is left."""
    end = datetime.fromtimestamp(until_ms / 1000, UTC)
    minutes, seconds = divmod(-(-(until_ms - now_ms) // 1000), 60)
    return f"{end:%H:%M} UTC ({words['left'].replace('{n}', f'{minutes}:{seconds:02}')})"


def another(activity_id: int, text: str) -> str:
    """The button for a new click: without it the old one would only be asked again."""
    return (
        f'<form method="post" action="/buy/{activity_id}">'
        f'<button class="other" name="{ANOTHER}" value="1">{escape(text)}</button></form>'
    )


def again(activity_id: int, pressed: Pressed, text: str) -> str:
    """The button for the same click."""
    return (
        f'<form method="post" action="/buy/{activity_id}">{_key(pressed.page_key)}'
        f'<button class="other" name="item" value="{pressed.item}">{escape(text)}</button></form>'
    )


def items(words: Words, seen: Showcase, names: Names, key: str, *, open_to_buyer: bool) -> str:
    """The items, each with its button."""
    rows = "".join(
        _item(words, item, left, names.items, enabled=open_to_buyer) for item, left in _lefts(seen)
    )
    return (
        f'<form method="post" action="/buy/{seen.activity_id}">\n{_key(key)}\n'
        f'<ul class="items">\n{rows}</ul>\n</form>\n'
    )


def _item(words: Words, item: int, left: Left, names: Mapping[int, str], *, enabled: bool) -> str:
    name = escape(names.get(item) or f"{words['item']} {item}")
    able = "" if enabled and left is not Left.GONE else " disabled"
    return (
        f"<li><div><strong>{name}</strong>"
        f'<span class="{left}">{escape(words[left])}</span></div>'
        f'<button name="item" value="{item}" aria-label="{escape(words["buy"])}: {name}"{able}>'
        f"{escape(words['buy'])}</button></li>\n"
    )


def _lefts(seen: Showcase) -> list[tuple[int, Left]]:
    gone = state_of(seen.phase) == "sold_out"
    return [(item, Left.GONE if gone else left) for item, left in seen.items.items()]


def _key(key: str) -> str:
    return f'<input type="hidden" name="key" value="{key}">'


def _clock(words: Words, ms: int) -> str:
    seconds = -(-ms // 1000)
    days, rest = divmod(seconds, 86_400)
    told = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days}{words['days']}{told}" if days else told
