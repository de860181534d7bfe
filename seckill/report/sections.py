"""The report's sections about what happened: stock, outcomes, latency, backlog, sell-out."""

from django.utils.translation import gettext as _

from seckill.formats.outcomes import Outcome
from seckill.lane.status import Histogram
from seckill.report import charts
from seckill.report.charts import Line, number
from seckill.report.data import SaleReport, outcomes
from seckill.report.parts import (
    Frame,
    clock,
    item_name,
    milliseconds,
    no_history,
    seconds,
    section,
    table,
)
from seckill.report.series import over_time, percentiles, rates

# Items that get their own line; the others share one.
LINES = 7
# What the table of lanes adds up.
SUMS = ("loaded", "sold", "left", "requests", "accepted", "users")
# Outcomes that a chart always draws in the same colour.
COLOUR = {
    Outcome.ACCEPTED: 2, Outcome.SOLD_OUT: 1, Outcome.OVER: 7, Outcome.EXPIRED: 3,
    Outcome.LIMIT: 5, Outcome.NOT_OPEN: 4, Outcome.UNKNOWN_ITEM: 6,
    Outcome.REPEATED: 0,
}  # fmt: skip


def lanes(report: SaleReport) -> str:
    """The parts of a sale over several lanes; "" for any other."""
    if not report.parts:
        return ""
    shown: list[tuple[str, str, list[int]]] = [
        (part.lane, str(part.activity_id), [getattr(part, name) for name in SUMS])
        for part in report.parts
    ]
    sums = [
        sum(column)
        for column in zip(*(figures for _lane, _activity, figures in shown), strict=True)
    ]
    shown.append((_("all lanes"), "", sums))
    rows = [(lane, activity, *map(number, figures)) for lane, activity, figures in shown]
    head = (
        "", _("activity"), _("ever put on sale"), _("ever sold"), _("left"), _("requests"),
        _("accepted"), _("users"),
    )  # fmt: skip
    way = _("%(n)s units are on their way between lanes, on sale in none of them.")
    told = way % {"n": number(report.on_the_way)}
    note = _(
        "Each user is served by one lane. All other figures of this report are of all lanes "
        "together."
    )
    return section(
        _("Lanes"),
        table(head, rows) + (f'<p class="warn">{told}</p>' if report.on_the_way else ""),
        note,
    )


def stock(report: SaleReport) -> str:
    """The units left of each item over time."""
    if not report.moments:
        return section(_("Stock"), no_history())
    shown = list(report.activity.items)[:LINES]
    chart = [
        Line(item_name(item), over_time(report, lambda a, i=item: a.left.get(i, 0)), n)  # type: ignore[misc]
        for n, item in enumerate(shown)
    ]
    if len(report.activity.items) > len(shown):
        chart.append(
            Line(
                _("%(n)s other items together") % {"n": len(report.activity.items) - len(shown)},
                over_time(report, lambda a: a.units_left - sum(a.left.get(i, 0) for i in shown)),
                LINES,
            )
        )
    return section(
        _("Stock over time"), charts.lines(_("Units left of each item"), chart), _("Units left.")
    )


def outcomes_over_time(report: SaleReport, frame: Frame) -> str:
    """The outcomes: how many, and when."""
    counts = outcomes(report)
    total = sum(counts.values())
    if not total:
        nothing = _("No request was decided yet.")
        return section(_("Outcomes"), f"<p>{nothing}</p>")
    rows = [
        (frame.outcome_text(name), number(n), f"{100 * n / total:.2f} %")
        for name, n in counts.items()
    ]
    shares = table((_("outcome"), _("requests"), _("share")), rows)
    chart = []
    for outcome, colour in COLOUR.items():
        if counts.get(outcome.name):
            points = rates(report.moments, outcome.name)
            chart.append(Line(frame.outcome_text(outcome.name), points, colour))
    drawn = (
        charts.areas(_("Requests per second by outcome"), chart) if report.moments else no_history()
    )
    return section(_("Outcomes over time"), drawn, _("Requests decided per second.")) + shares


def latency(report: SaleReport) -> str:
    """How long buyers waited, in all and over time."""
    found = report.activity.latency
    if not found.count:
        return ""
    shares = (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999))
    row = [milliseconds(found.percentile(share) or 0.0) for _name, share in shares]
    figures = table(
        ("", *(name for name, _share in shares), _("longest")),
        [(_("all requests"), *row, milliseconds(found.percentile(1.0) or 0.0))],
    )
    chart = [
        Line(name, percentiles(report.moments, share), colour)
        for colour, (name, share) in enumerate((("p50", 0.5), ("p95", 0.95), ("p99", 0.99)))
    ]
    by_second = charts.lines(_("Latency by second"), chart, " s") if report.moments else ""
    bars = charts.bars(_("Requests by latency"), _bins(found))
    return section(
        _("Latency"),
        figures + by_second + bars,
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
        bins.append((milliseconds(high), count))
        low = high
        if low > max(latency.buckets):
            break
    first = next(i for i, (_label, n) in enumerate(bins) if n)
    return bins[first:]


def backlog(report: SaleReport) -> str:
    """What waited in Kafka and in Redis. Empty without a history."""
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
    return section(_("Backlog"), charts.lines(_("Lag and waiting records"), chart))


def sell_out(report: SaleReport) -> str:
    """When each item was sold out."""
    begin = report.begin_ms
    rows = []
    for story in report.items:
        gone = story.sold_out_ms
        after = seconds(gone - begin) if gone is not None and begin is not None else "–"
        rows.append(
            (
                item_name(story.item_id),
                number(story.loaded),
                number(story.loaded - story.left),
                number(story.left),
                "–" if gone is None else clock(gone),
                after,
            )
        )
    head = (
        "", _("ever put on sale"), _("ever sold"), _("left"), _("last unit sold at"), _("after"),
    )  # fmt: skip
    return section(_("Sell-out of each item"), table(head, rows), _("To the second."))
