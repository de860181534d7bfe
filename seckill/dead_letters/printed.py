"""Parked letters for people and programs: counts, limits, the newest letters."""

import time
from typing import Any

from rich.markup import escape

from seckill.dead_letters.reader import MANY_DEAD, Letter, Pile
from seckill.dead_letters.writer import MAX_VALUE_BYTES, RETENTION_BYTES, SEGMENT_BYTES, dead_topic
from seckill.process.console import Console
from seckill.process.printable import preview, printable

# Reasons that are printed. --json has more of them.
SHOWN_REASONS = 20


def piles_json(requests: Pile, settlements: Pile, records: Pile) -> dict[str, Any]:
    """All piles in plain types. A stable format: keys are only ever added."""
    return {
        "schema": 1,
        **{
            name: {
                "topic": dead_topic(pile.topic),
                "limit_bytes": RETENTION_BYTES + SEGMENT_BYTES,
                "limit_body_bytes": MAX_VALUE_BYTES,
                **_pile_json(pile),
            }
            for name, pile in (("requests", requests), ("settlements", settlements))
        },
        "records": {"table": "seckill_deadrecord", "limit_bytes": None, **_pile_json(records)},
    }


def print_piles(requests: Pile, settlements: Pile, records: Pile, console: Console) -> None:
    """Print the piles, each with its limit; settlements only if there are any."""
    for name, pile in (("requests", requests), ("settlements", settlements)):
        if pile is settlements and not pile.letters:
            continue
        _print_pile(
            f"INVALID {name} in topic {dead_topic(pile.topic)}",
            pile,
            f"limit: {RETENTION_BYTES >> 20} MB of disk and a segment of {SEGMENT_BYTES >> 20} MB, "
            f"30 days; the oldest go first ({pile.removed:,} are gone). The first "
            f"{MAX_VALUE_BYTES >> 10} KB of a body are kept; the whole message stays in "
            f"{pile.topic}",
            console,
        )
    alarm = ""
    if records.letters > MANY_DEAD:
        alarm = f" MORE THAN {MANY_DEAD:,}: find what refuses them."
    _print_pile(
        "accepted records that are not rows, in table seckill_deadrecord",
        records,
        "limit: none but PostgreSQL's disk: they are accepted orders, none is ever dropped "
        f"({records.removed:,} more are settled or dismissed).{alarm}",
        console,
    )


def _print_pile(title: str, pile: Pile, limit: str, console: Console) -> None:
    console.print(f"[bold]{title}[/bold]: {pile.letters:,}, {pile.bytes:,} bytes")
    console.print(f"  {limit}")
    for reason, count in pile.reasons.most_common(SHOWN_REASONS):
        console.print(f"  {count:>10,}  {escape(printable(reason[:200]))}")
    if not pile.newest:
        return
    console.print("  the newest letters, the latest at the end:")
    for letter in pile.newest:
        mark = " (replayed)" if letter.origin in pile.replayed else ""
        odd = f" ({letter.odd})" if letter.odd else ""
        reason = escape(printable(letter.reason[:100] + odd))
        size = f"{letter.size:,} bytes"
        origin = escape(printable(origin_text(letter)))
        console.print(f"  {origin}{mark}  {when_text(letter.at_ms)}  {size}  {reason}")
        console.print(f"      {escape(preview(letter.body, 120))}")


def _pile_json(pile: Pile) -> dict[str, Any]:
    return {
        "letters": pile.letters,
        "bytes": pile.bytes,
        "removed": pile.removed,
        "replayed": len(pile.replayed),
        "reasons": dict(pile.reasons.most_common()),
        "newest": [letter.as_json(letter.origin in pile.replayed) for letter in pile.newest],
    }


def origin_text(letter: Letter) -> str:
    """The letter's number, where it came from, and which item of it."""
    item = f" item {letter.item_id}" if letter.item_id else ""
    number = f"number {letter.number} ({letter.dead}) " if letter.number else ""
    return number + (letter.origin or "(origin unknown)") + item


def when_text(at_ms: int | None) -> str:
    """A moment in local time."""
    if at_ms is None:
        return "-"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_ms / 1000))
