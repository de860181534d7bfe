"""The report of a sale as one HTML page: no script, no network; for light, dark and paper."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from itertools import pairwise

from seckill.audit.checks import INVARIANTS
from seckill.formats.outcomes import Outcome
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
.good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}
svg{display:block;width:100%;height:auto;margin-top:6px}
svg text{fill:var(--dim);font-size:11.5px;font-family:inherit;font-variant-numeric:tabular-nums}
.grid{stroke:var(--rule);stroke-width:1}.line{fill:none;stroke-width:2;stroke-linejoin:round}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:2px 16px;margin:2px 0 0;padding:0;
font-size:13px;color:var(--dim)}
.legend i{display:inline-block;width:10px;height:10px;border-radius:2px;margin-right:6px}
table{margin-top:10px;border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto}
th,td{padding:5px 10px;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap}
th{color:var(--dim);font-weight:600;font-size:13px}
th:first-child,td:first-child{text-align:left;padding-left:0}
footer{margin-top:40px;color:var(--dim);font-size:13px}
""" + "".join(
    f".s{n}{{stroke:var(--c{n})}}.f{n}{{fill:var(--c{n});background:var(--c{n})}}" for n in range(8)
)


def render(report: SaleReport) -> str:
    """The whole file."""
    title = f"Flash sale, activity {report.activity.activity_id}"
    sections = (
        _cards(report), _stock(report), _outcomes(report), _latency(report), _queues(report),
        _items(report), _fairness(report), _lost(report), _audit(report),
    )  # fmt: skip
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>"
        f'<h1>{escape(title)}</h1><p class="sub">{escape(_when(report))}</p>\n'
        + "\n".join(sections)
        + f"<footer>Made {_moment(report.made_at_ms)} by manage.py report from Redis, PostgreSQL"
        " and Kafka. A sale is what happened since its statistics were last reset to zero. Times"
        " are UTC.</footer></body></html>\n"
    )


def _when(report: SaleReport) -> str:
    state = "still running" if report.running else f"over: {report.activity.over}".replace("_", " ")
    begin = report.begin_ms
    if begin is None:
        return f"no request yet · {state}"
    return f"began {_moment(begin)} · {state} · version {report.activity.version}"


def _cards(report: SaleReport) -> str:
    activity = report.activity
    counts = outcomes(report)
    total = sum(counts.values())
    left = sum(item.left for item in activity.items.values())
    # Of this sale only: the units ever put on sale include earlier sales.
    offered = left + activity.units_sold
    p99 = activity.latency.percentile(0.99)
    cards = [
        ("requests", number(total), ""),
        ("accepted", number(activity.success), ""),
        (f"of {number(offered)} units left", number(left), ""),
        ("sold out after", _sold_out_after(report), ""),
        ("latency p99", "–" if p99 is None else _ms(p99), ""),
        ("lost sales", number(activity.expired_with_stock),
         "warn" if activity.expired_with_stock else "good"),
        ("jumped the queue", _jumped(report), ""),
        ("audit", *_verdict(report)),
    ]  # fmt: skip
    return '<div class="cards">' + "".join(
        f'<div class="card"><b class="{look}">{escape(value)}</b><span>{escape(name)}</span></div>'
        for name, value, look in cards
    ) + "</div>"  # fmt: skip


def _sold_out_after(report: SaleReport) -> str:
    begin = report.begin_ms
    last = [story.sold_out_ms for story in report.items]
    if begin is None or not last or any(at is None for at in last):
        return "not yet" if report.running else "–"
    return _seconds(max(at for at in last if at is not None) - begin)


def _jumped(report: SaleReport) -> str:
    winners = sum(f.winners for f in report.fairness)
    if not winners:
        return "–"
    return f"{100 * sum(f.jumped for f in report.fairness) / winners:.2f} %"


def _verdict(report: SaleReport) -> tuple[str, str]:
    if report.audit is None:
        return ("not run", "warn")
    return ("clean", "good") if report.audit.clean else ("VIOLATED", "bad")


def _stock(report: SaleReport) -> str:
    if not report.moments:
        return _section("Stock", _no_history())
    shown = list(report.activity.items)[:LINES]
    chart = [
        Line(f"item {item}", _over(report, lambda a, i=item: a.left.get(i, 0)), n)  # type: ignore[misc]
        for n, item in enumerate(shown)
    ]
    if len(report.activity.items) > len(shown):
        chart.append(
            Line(
                f"{len(report.activity.items) - len(shown)} other items together",
                _over(report, lambda a: a.units_left - sum(a.left.get(i, 0) for i in shown)),
                LINES,
            )
        )
    return _section(
        "Stock over time", charts.lines("Units left of each item", chart), "Units left."
    )


def _outcomes(report: SaleReport) -> str:
    counts = outcomes(report)
    total = sum(counts.values())
    if not total:
        return _section("Outcomes", "<p>No request was decided yet.</p>")
    rows = [(name, number(n), f"{100 * n / total:.2f} %") for name, n in counts.items()]
    table = _table(("outcome", "requests", "share"), rows)
    chart = []
    for outcome, colour in COLOUR.items():
        if counts.get(outcome.name):
            points = _rates(report.moments, outcome.name)
            chart.append(Line(outcome.name, points, colour))
    drawn = (
        charts.areas("Requests per second by outcome", chart) if report.moments else _no_history()
    )
    return _section("Outcomes over time", drawn, "Requests decided per second.") + table


def _latency(report: SaleReport) -> str:
    latency = report.activity.latency
    if not latency.count:
        return ""
    shares = (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999))
    row = [_ms(latency.percentile(share) or 0.0) for _, share in shares]
    table = _table(
        ("", *(name for name, _ in shares), "longest"),
        [("all requests", *row, _ms(latency.percentile(1.0) or 0.0))],
    )
    chart = [
        Line(name, _percentiles(report.moments, share), colour)
        for colour, (name, share) in enumerate((("p50", 0.5), ("p95", 0.95), ("p99", 0.99)))
    ]
    over_time = charts.lines("Latency by second", chart, " s") if report.moments else ""
    bars = charts.bars("Requests by latency", _bins(latency))
    return _section(
        "Latency",
        table + over_time + bars,
        "From the buyer's request to its decision, including the wait in Kafka. Lines: latency "
        "over time. Bars: number of requests up to the latency below the bar.",
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
    first = next(i for i, (_, n) in enumerate(bins) if n)
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
        Line("requests in Kafka, not decided", lag, 0),
        Line("accepted records, not yet in PostgreSQL", waiting, 5),
    ]
    return _section("Backlog", charts.lines("Lag and waiting records", chart))


def _items(report: SaleReport) -> str:
    begin = report.begin_ms
    rows = []
    for story in report.items:
        gone = story.sold_out_ms
        after = _seconds(gone - begin) if gone is not None and begin is not None else "–"
        rows.append(
            (
                f"item {story.item_id}",
                number(story.loaded),
                number(story.loaded - story.left),
                number(story.left),
                "–" if gone is None else _clock(gone),
                after,
            )
        )
    head = ("", "ever put on sale", "ever sold", "left", "last unit sold at", "after")
    return _section("Sell-out of each item", _table(head, rows), "To the second.")


def _fairness(report: SaleReport) -> str:
    note = (
        "If N requests won an item, then in strict order of arrival in Kafka the first N requests "
        "would have won it. A winner that arrived after the N-th request jumped the queue, by the "
        "time between the two. Each partition is decided in order, so a request can overtake only "
        "requests of other partitions. Arrival is the message's timestamp in Kafka. The sender "
        "sets it, unless the topic uses LogAppendTime."
    )
    if report.fairness_reason and not report.fairness:
        return _section("Fairness", f"<p>Not judged: {escape(report.fairness_reason)}.</p>", note)
    rows = [
        (
            f"item {f.item_id}",
            number(f.requests),
            number(f.winners),
            number(f.jumped),
            f"{100 * f.share:.2f} %",
            _ms(f.median_ms) if f.jumped else "–",
            _ms(f.longest_ms) if f.jumped else "–",
        )
        for f in report.fairness
    ]
    head = ("", "requests", "winners", "jumped", "share", "by (median)", "by (most)")
    read = f"Judged from {number(report.messages_read)} of {number(report.messages)} messages."
    return _section("Fairness", _table(head, rows) + f'<p class="dim">{read}</p>', note)


def _lost(report: SaleReport) -> str:
    count = report.activity.expired_with_stock
    expired = report.activity.timeouts
    if not count:
        text = "No request expired while stock was left."
    else:
        text = (
            f"{number(expired)} requests expired, {number(count)} of them while stock was left. "
            "More consumers or a longer timeout would have served these buyers."
        )
    return _section("Lost sales", f'<p class="{"warn" if count else ""}">{text}</p>')


def _audit(report: SaleReport) -> str:
    if report.audit is None:
        reason = report.audit_reason or "it was not requested"
        return _section("Audit", f'<p class="warn">Not run: {escape(reason)}.</p>')
    audit = report.audit
    broken = {finding.invariant for finding in audit.findings}
    rows = [
        (name, '<span class="bad">VIOLATED</span>' if name in broken
         else '<span class="good">holds</span>')
        for name in INVARIANTS
    ]  # fmt: skip
    table = _table(("invariant", ""), rows, raw=True)
    findings = "".join(
        f'<p class="bad">{escape(f.invariant)}: {escape(f.culprit)}: {escape(f.explanation)}</p>'
        for f in audit.findings[:10]
    )
    text = (
        f"<p>{number(audit.checks)} checks over {number(audit.messages)} messages, "
        f"{number(audit.records_stored)} stored and {number(audit.records_waiting)} waiting "
        f"records: units put on sale {number(audit.units_loaded)} = left "
        f"{number(audit.units_left)} + sold {number(audit.units_sold)}.</p>"
    )
    return _section("Audit", table + findings + text, "Of the whole lane, since its start.")


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
    cells = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{cell if raw else escape(cell)}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    # With a thead, browsers print the header again on each page of a long table.
    table = f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll">{table}</div>'


def _no_history() -> str:
    return '<p class="dim">No history yet: manage.py run_consumer writes it while it runs.</p>'


def _ms(value: float) -> str:
    return f"{value / 1000:,.1f} s" if value >= 1_000 else f"{number(round(value, 1))} ms"


def _seconds(ms: int) -> str:
    return f"{max(0, ms) / 1000:,.0f} s"


def _moment(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _clock(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%H:%M:%S")
