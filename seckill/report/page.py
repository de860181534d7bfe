"""The report of a sale as one HTML page: no script, no network; for light, dark, paper and phones.

In the language and the time zone that are active.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from itertools import pairwise

from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from seckill.audit.checks import (
    FOUNDATIONS,
    INVARIANTS,
    NEVER_DROPPED,
    NEVER_LOST,
    NEVER_OVERSOLD,
    NEVER_TWICE,
)
from seckill.formats.outcomes import Outcome
from seckill.formats.times import moment_text
from seckill.lane.status import Histogram
from seckill.report import charts
from seckill.report.charts import Line, number
from seckill.report.data import SaleReport, outcomes
from seckill.telemetry.history import ActivitySample, Sample

# Items that get their own line; the others share one.
LINES = 7
# Outcomes that a chart always draws in the same colour.
COLOUR = {
    Outcome.ACCEPTED: 2, Outcome.SOLD_OUT: 1, Outcome.OVER: 7, Outcome.EXPIRED: 3,
    Outcome.LIMIT: 5, Outcome.NOT_OPEN: 4, Outcome.UNKNOWN_ITEM: 6,
    Outcome.REPEATED: 0,
}  # fmt: skip

STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--dim:#5c6670;--rule:#dfe3e8;--card:#f5f7f9;
--good:#1a7f37;--bad:#c1121f;--warn:#9a6700;
--c0:#3a6ea5;--c1:#e07b00;--c2:#2e8b57;--c3:#d1495b;--c4:#2a9d9d;--c5:#8e5ea2;--c6:#8d6a52;--c7:#c9a100}
@media (prefers-color-scheme:dark){:root{--bg:#14171a;--fg:#e8eaed;--dim:#9aa4ae;--rule:#2e343b;
--card:#1d2126;--good:#4cc36a;--bad:#ff6b6b;--warn:#e3b341;
--c0:#79aee0;--c1:#ffa94d;--c2:#5fcf8f;--c3:#ff8093;--c4:#5fd3d3;--c5:#c39bd9;--c6:#c4a086;--c7:#f0d050}}
@media print{:root{color-scheme:light;--bg:#fff;--fg:#000;--dim:#444;--rule:#bbb;--card:#f3f3f3;
--good:#1a7f37;--bad:#c1121f;--warn:#7a5200;
--c0:#3a6ea5;--c1:#e07b00;--c2:#2e8b57;--c3:#d1495b;--c4:#2a9d9d;--c5:#8e5ea2;--c6:#8d6a52;--c7:#c9a100}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
section,svg,tr,.legend{break-inside:avoid}h2{break-after:avoid}.scroll{overflow:visible}}
@page{margin:14mm}
*{box-sizing:border-box}
body{margin:0 auto;max-width:860px;padding:28px 24px 48px;background:var(--bg);color:var(--fg);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
h1{font-size:26px;margin:0}h2{font-size:18px;margin:36px 0 8px}
p{margin:6px 0}.dim,.sub{color:var(--dim)}.sub{margin:2px 0 18px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(165px,1fr));gap:10px}
.card{background:var(--card);border-radius:10px;padding:12px 14px}
.card b{display:block;font-size:23px;line-height:1.2;font-variant-numeric:tabular-nums}
.card span{color:var(--dim);font-size:13px}
.card small{color:var(--dim);display:block;font-size:12px;line-height:1.35;margin-top:4px}
.narrow{display:none}a{color:var(--c0)}
@media screen and (max-width:600px){.wide{display:none}.narrow{display:block}
body{padding:20px 16px 40px}}
.good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}
svg{width:100%;height:auto;margin-top:6px}
svg text{fill:var(--dim);font-size:11.5px;font-family:inherit;font-variant-numeric:tabular-nums}
.grid{stroke:var(--rule);stroke-width:1}.line{fill:none;stroke-width:2;stroke-linejoin:round}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:2px 16px;margin:2px 0 0;padding:0;
font-size:13px;color:var(--dim)}
.legend i{display:inline-block;width:10px;height:10px;border-radius:2px;margin-right:6px}
table{margin-top:10px;border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto}
th,td{padding:5px 10px;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap}
th{color:var(--dim);font-weight:600;font-size:13px}
th:first-child,td:first-child,thead td{text-align:left;padding-left:0}
footer{margin-top:40px;color:var(--dim);font-size:13px}
""" + "".join(
    f".s{n}{{stroke:var(--c{n})}}.f{n}{{fill:var(--c{n});background:var(--c{n})}}" for n in range(8)
)


@dataclass(frozen=True)
class Frame:
    """What the page says beyond the figures: the activity's name, outcomes in words, a way back.

    `proof` is the verdict of an audit that somebody else has run, if the report has none.
    """

    name: str = ""
    outcome_text: Callable[[str], str] = str
    back: str = ""
    proof: str = ""


def render(report: SaleReport, frame: Frame | None = None) -> str:
    """The whole file."""
    frame = frame or Frame()
    number_of = report.activity.activity_id
    title = (
        _("%(name)s (activity %(id)s)") % {"name": frame.name, "id": number_of}
        if frame.name
        else _("Flash sale, activity %(id)s") % {"id": number_of}
    )
    sections = (
        _cards(report, frame), _stock(report), _outcomes(report, frame), _latency(report),
        _queues(report), _items(report), _fairness(report), _lost(report), _audit(report, frame),
    )  # fmt: skip
    icon = '<link rel="icon" href="data:,">' if frame.back else ""
    back = f'<p><a href="{escape(frame.back, quote=True)}">← {_("Desk")}</a></p>'
    footer = _(
        "Made at %(at)s from Redis, PostgreSQL and Kafka; all figures are of this moment. A sale "
        "is what happened since its statistics were last reset to zero."
    ) % {"at": _moment(report.made_at_ms)}
    return (
        f'<!doctype html>\n<html lang="{escape(get_language() or "en")}">'
        '<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"{icon}<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>"
        f"<main>{back if frame.back else ''}<h1>{escape(title)}</h1>"
        f'<p class="sub">{escape(_when(report))}</p>\n'
        + "\n".join(sections)
        + f"<footer>{escape(footer)}</footer></main></body></html>\n"
    )


def _when(report: SaleReport) -> str:
    over = {"finished": _("over: finished"), "sold_out": _("over: sold out")}
    state = _("still running") if report.running else over.get(report.activity.over or "", "")
    begin = report.begin_ms
    if begin is None:
        nothing = _("no request yet")
        return f"{nothing} · {state}"
    began = _("began at %(at)s") % {"at": _moment(begin)}
    return f"{began} · {state} · {_('version')} {report.activity.version}"


def _cards(report: SaleReport, frame: Frame) -> str:
    activity = report.activity
    counts = outcomes(report)
    total = sum(counts.values())
    left = sum(item.left for item in activity.items.values())
    # Of this sale only: the units ever put on sale include earlier sales.
    offered = left + activity.units_sold
    p99 = activity.latency.percentile(0.99)
    lost = activity.expired_with_stock
    cards = [
        (_("requests"), number(total), "", ""),
        (_("accepted"), number(activity.success), "", ""),
        (_("of %(n)s units left") % {"n": number(offered)}, number(left), "", ""),
        (_("sold out after"), _sold_out_after(report), "", ""),
        (_("latency p99"), "–" if p99 is None else _ms(p99), "",
         _("99 of 100 buyers had their answer by then.")),
        (_("lost sales"), number(lost), "warn" if lost else "good",
         _("Requests that expired while units were left: these buyers could have been served.")),
        (_("jumped the queue"), _jumped(report), "",
         _("Winners who arrived later than somebody who got nothing.")),
        (_("audit"), *_verdict(report, frame), ""),
    ]  # fmt: skip
    return '<div class="cards">' + "".join(
        f'<div class="card"><b class="{look}">{escape(value)}</b><span>{escape(name)}</span>'
        + (f"<small>{escape(why)}</small>" if why else "")
        + "</div>"
        for name, value, look, why in cards
    ) + "</div>"  # fmt: skip


def _sold_out_after(report: SaleReport) -> str:
    begin = report.begin_ms
    last = [story.sold_out_ms for story in report.items]
    if begin is None or not last or any(at is None for at in last):
        return _("not yet") if report.running else "–"
    return _seconds(max(at for at in last if at is not None) - begin)


def _jumped(report: SaleReport) -> str:
    winners = sum(f.winners for f in report.fairness)
    if not winners:
        return "–"
    return f"{100 * sum(f.jumped for f in report.fairness) / winners:.2f} %"


def _verdict(report: SaleReport, frame: Frame) -> tuple[str, str]:
    if report.audit is None:
        return (frame.proof or _("not run"), "" if frame.proof else "warn")
    return (_("clean"), "good") if report.audit.clean else (_("VIOLATED"), "bad")


def _stock(report: SaleReport) -> str:
    if not report.moments:
        return _section(_("Stock"), _no_history())
    shown = list(report.activity.items)[:LINES]
    chart = [
        Line(_item(item), _over(report, lambda a, i=item: a.left.get(i, 0)), n)  # type: ignore[misc]
        for n, item in enumerate(shown)
    ]
    if len(report.activity.items) > len(shown):
        chart.append(
            Line(
                _("%(n)s other items together") % {"n": len(report.activity.items) - len(shown)},
                _over(report, lambda a: a.units_left - sum(a.left.get(i, 0) for i in shown)),
                LINES,
            )
        )
    return _section(
        _("Stock over time"), charts.lines(_("Units left of each item"), chart), _("Units left.")
    )


def _outcomes(report: SaleReport, frame: Frame) -> str:
    counts = outcomes(report)
    total = sum(counts.values())
    if not total:
        nothing = _("No request was decided yet.")
        return _section(_("Outcomes"), f"<p>{nothing}</p>")
    rows = [
        (frame.outcome_text(name), number(n), f"{100 * n / total:.2f} %")
        for name, n in counts.items()
    ]
    table = _table((_("outcome"), _("requests"), _("share")), rows)
    chart = []
    for outcome, colour in COLOUR.items():
        if counts.get(outcome.name):
            points = _rates(report.moments, outcome.name)
            chart.append(Line(frame.outcome_text(outcome.name), points, colour))
    drawn = (
        charts.areas(_("Requests per second by outcome"), chart)
        if report.moments
        else _no_history()
    )
    return _section(_("Outcomes over time"), drawn, _("Requests decided per second.")) + table


def _latency(report: SaleReport) -> str:
    latency = report.activity.latency
    if not latency.count:
        return ""
    shares = (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999))
    row = [_ms(latency.percentile(share) or 0.0) for _name, share in shares]
    table = _table(
        ("", *(name for name, _share in shares), _("longest")),
        [(_("all requests"), *row, _ms(latency.percentile(1.0) or 0.0))],
    )
    chart = [
        Line(name, _percentiles(report.moments, share), colour)
        for colour, (name, share) in enumerate((("p50", 0.5), ("p95", 0.95), ("p99", 0.99)))
    ]
    over_time = charts.lines(_("Latency by second"), chart, " s") if report.moments else ""
    bars = charts.bars(_("Requests by latency"), _bins(latency))
    return _section(
        _("Latency"),
        table + over_time + bars,
        _(
            "From the buyer's request to its decision, including the wait in Kafka. Lines: latency "
            "over time. Bars: number of requests up to the latency below the bar."
        ),
    )


def _bins(latency: Histogram) -> list[tuple[str, float]]:
    bins: list[tuple[str, float]] = []
    low = 0
    for power in range(40):
        high = 2**power
        count = sum(n for lower, n in latency.buckets.items() if low <= lower < high)
        bins.append((_ms(high), count))
        low = high
        if low > max(latency.buckets):
            break
    first = next(i for i, (_label, n) in enumerate(bins) if n)
    return bins[first:]


def _queues(report: SaleReport) -> str:
    if not report.moments:
        return ""
    begin = report.moments[0].at_ms
    lag = [
        ((m.at_ms - begin) / 1000, float(sum(m.lag.values())))
        for m in report.moments
        if m.lag is not None
    ]
    waiting = [((m.at_ms - begin) / 1000, float(m.waiting)) for m in report.moments]
    chart = [
        Line(_("requests in Kafka, not decided"), lag, 0),
        Line(_("accepted records, not yet in PostgreSQL"), waiting, 5),
    ]
    return _section(_("Backlog"), charts.lines(_("Lag and waiting records"), chart))


def _items(report: SaleReport) -> str:
    begin = report.begin_ms
    rows = []
    for story in report.items:
        gone = story.sold_out_ms
        after = _seconds(gone - begin) if gone is not None and begin is not None else "–"
        rows.append(
            (
                _item(story.item_id),
                number(story.loaded),
                number(story.loaded - story.left),
                number(story.left),
                "–" if gone is None else _clock(gone),
                after,
            )
        )
    head = (
        "", _("ever put on sale"), _("ever sold"), _("left"), _("last unit sold at"), _("after"),
    )  # fmt: skip
    return _section(_("Sell-out of each item"), _table(head, rows), _("To the second."))


def _fairness(report: SaleReport) -> str:
    note = _(
        "If N requests won an item, then in strict order of arrival in Kafka the first N requests "
        "would have won it. A winner that arrived after the N-th request jumped the queue, by the "
        "time between the two. Each partition is decided in order, so a request can overtake only "
        "requests of other partitions. Arrival is the message's timestamp in Kafka. The sender "
        "sets it, unless the topic uses LogAppendTime."
    )
    if report.fairness_reason and not report.fairness:
        told = _("Not judged: %(why)s.") % {"why": report.fairness_reason}
        return _section(_("Fairness"), f"<p>{escape(told)}</p>", note)
    rows = [
        (
            _item(f.item_id),
            number(f.requests),
            number(f.winners),
            number(f.jumped),
            f"{100 * f.share:.2f} %",
            _ms(f.median_ms) if f.jumped else "–",
            _ms(f.longest_ms) if f.jumped else "–",
        )
        for f in report.fairness
    ]
    head = (
        "", _("requests"), _("winners"), _("jumped"), _("share"), _("by (median)"), _("by (most)"),
    )  # fmt: skip
    read = _("Judged from %(n)s of %(all)s messages.") % {
        "n": number(report.messages_read),
        "all": number(report.messages),
    }
    return _section(_("Fairness"), _table(head, rows) + f'<p class="dim">{read}</p>', note)


def _lost(report: SaleReport) -> str:
    count = report.activity.expired_with_stock
    expired = report.activity.timeouts
    note = _(
        "A request that waits longer than the timeout expires. If units were left at that moment, "
        "the buyer wanted to buy and was not served: a lost sale."
    )
    if not count:
        text = _("No request expired while stock was left.")
    else:
        text = _(
            "%(expired)s requests expired, %(lost)s of them while stock was left. More consumers "
            "or a longer timeout would have served these buyers."
        ) % {"expired": number(expired), "lost": number(count)}
    return _section(_("Lost sales"), f'<p class="{"warn" if count else ""}">{text}</p>', note)


def _audit(report: SaleReport, frame: Frame) -> str:
    if report.audit is None:
        why = report.audit_reason or _("it was not requested")
        told = frame.proof or _("Not run: %(why)s.") % {"why": why}
        return _section(
            _("Audit"), f'<p class="{"" if frame.proof else "warn"}">{escape(told)}</p>'
        )
    audit = report.audit
    broken = {finding.invariant for finding in audit.findings}
    names = {
        NEVER_OVERSOLD: _("never oversold"),
        NEVER_LOST: _("never lost"),
        NEVER_TWICE: _("never twice"),
        NEVER_DROPPED: _("never a silent drop"),
        FOUNDATIONS: _("the foundations hold"),
    }
    violated, holds = _("VIOLATED"), _("holds")
    rows = [
        (
            names[name],
            f'<span class="bad">{violated}</span>'
            if name in broken
            else f'<span class="good">{holds}</span>',
        )
        for name in INVARIANTS
    ]
    table = _table((_("promise"), ""), rows, raw=True)
    findings = "".join(
        f'<p class="bad">{escape(f.invariant)}: {escape(f.culprit)}: {escape(f.explanation)}</p>'
        for f in audit.findings[:10]
    )
    text = _(
        "%(checks)s checks over %(messages)s messages, %(stored)s stored and %(waiting)s waiting "
        "records: units put on sale %(loaded)s = left %(left)s + sold %(sold)s."
    ) % {
        "checks": number(audit.checks),
        "messages": number(audit.messages),
        "stored": number(audit.records_stored),
        "waiting": number(audit.records_waiting),
        "loaded": number(audit.units_loaded),
        "left": number(audit.units_left),
        "sold": number(audit.units_sold),
    }
    note = _("Of the whole lane, with all its activities, since its start.")
    return _section(_("Audit"), table + findings + f"<p>{text}</p>", note)


def _over(report: SaleReport, value: Callable[[ActivitySample], int]) -> list[tuple[float, float]]:
    begin = report.moments[0].at_ms
    number_of = report.activity.activity_id
    return [
        ((moment.at_ms - begin) / 1000, float(value(moment.activities[number_of])))
        for moment in report.moments
    ]


def _rates(moments: Sequence[Sample], outcome: str) -> list[tuple[float, float]]:
    """Requests per second between each two samples."""
    points = [(0.0, 0.0)]
    for before, after in pairwise(moments):
        seconds = (after.at_ms - before.at_ms) / 1000
        grown = _count(after, outcome) - _count(before, outcome)
        points.append(((after.at_ms - moments[0].at_ms) / 1000, max(0.0, grown / seconds)))
    return points


def _percentiles(moments: Sequence[Sample], share: float) -> list[tuple[float, float]]:
    """The latency percentile, in s, between each two samples that have decisions between them."""
    points = []
    for before, after in pairwise(moments):
        grown = Histogram(
            {
                bucket: count - activity_before.cost_ms.get(bucket, 0)
                for number_of, activity in after.activities.items()
                for activity_before in (before.activities[number_of],)
                for bucket, count in activity.cost_ms.items()
                if count > activity_before.cost_ms.get(bucket, 0)
            }
        )
        value = grown.percentile(share)
        if value is not None:
            points.append(((after.at_ms - moments[0].at_ms) / 1000, value / 1000))
    return points


def _count(sample: Sample, outcome: str) -> int:
    return sum(activity.outcomes.get(outcome, 0) for activity in sample.activities.values())


def _section(title: str, body: str, note: str = "") -> str:
    told = f'<p class="dim">{escape(note)}</p>' if note else ""
    return f"<section><h2>{escape(title)}</h2>{told}{body}</section>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, raw: bool = False) -> str:
    cells = "".join(
        f'<th scope="col">{escape(name)}</th>' if name else "<td></td>" for name in head
    )
    body = "".join(
        "<tr>" + "".join(f"<td>{cell if raw else escape(cell)}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    # With a thead, browsers print the header again on each page of a long table.
    table = f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"
    # A table that is scrolled to the side can be reached by keyboard.
    return f'<div class="scroll" tabindex="0">{table}</div>'


def _no_history() -> str:
    text = _("No history yet: manage.py run_consumer writes it while it runs.")
    return f'<p class="dim">{text}</p>'


def _item(item: int) -> str:
    return _("item %(id)s") % {"id": item}


def _ms(value: float) -> str:
    return f"{value / 1000:,.1f} s" if value >= 1_000 else f"{number(round(value, 1))} ms"


def _seconds(ms: int) -> str:
    return f"{max(0, ms) / 1000:,.0f} s"


def _moment(ms: int) -> str:
    return moment_text(datetime.fromtimestamp(ms / 1000, UTC), timezone.get_current_timezone())


def _clock(ms: int) -> str:
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    return moment.astimezone(timezone.get_current_timezone()).strftime("%H:%M:%S")
