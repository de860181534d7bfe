"""The report of a sale as one HTML page: no script, no network; for light, dark, paper and phones.

In the language and the time zone that are active.
"""

from html import escape

from django.utils.translation import get_language
from django.utils.translation import gettext as _

from seckill.report import judgements, sections
from seckill.report.charts import number
from seckill.report.data import SaleReport, outcomes
from seckill.report.parts import Frame, milliseconds, moment, seconds
from seckill.report.style import STYLE


def render(report: SaleReport, frame: Frame | None = None) -> str:
    """The whole file."""
    frame = frame or Frame()
    number_of = report.activity.activity_id
    title = (
        _("%(name)s (activity %(id)s)") % {"name": frame.name, "id": number_of}
        if frame.name
        else _("Flash sale, activity %(id)s") % {"id": number_of}
    )
    body = (
        _cards(report, frame), sections.lanes(report), sections.stock(report),
        sections.outcomes_over_time(report, frame),
        sections.latency(report), sections.backlog(report), sections.sell_out(report),
        judgements.fairness(report), judgements.lost_sales(report),
        judgements.audit(report, frame),
    )  # fmt: skip
    icon = '<link rel="icon" href="data:,">' if frame.back else ""
    back = f'<p><a href="{escape(frame.back, quote=True)}">← {_("Desk")}</a></p>'
    footer = _(
        "Made at %(at)s from Redis, PostgreSQL and Kafka; all figures are of this moment. A sale "
        "is what happened since its statistics were last reset to zero."
    )
    if report.parts:
        footer = _(
            "Made at %(at)s from the Redis of each lane, PostgreSQL and Kafka; all figures of one "
            "lane are of one moment. A sale is what happened since its statistics were last reset "
            "to zero."
        )
    footer %= {"at": moment(report.made_at_ms)}
    return (
        f'<!doctype html>\n<html lang="{escape(get_language() or "en")}">'
        '<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"{icon}<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>"
        f"<main>{back if frame.back else ''}<h1>{escape(title)}</h1>"
        f'<p class="sub">{escape(_when(report))}</p>\n{_part(frame)}'
        + "\n".join(body)
        + f"<footer>{escape(footer)}</footer></main></body></html>\n"
    )


def _part(frame: Frame) -> str:
    """That the page is not of the whole sale, with the way to the one that is."""
    if not frame.part:
        return ""
    way = _("The whole sale")
    link = f' <a href="{escape(frame.whole, quote=True)}">{way}</a>'
    return f'<p class="warn">{escape(frame.part)}{link if frame.whole else ""}</p>'


def _when(report: SaleReport) -> str:
    over = {"finished": _("over: finished"), "sold_out": _("over: sold out")}
    state = _("still running") if report.running else over.get(report.activity.over or "", "")
    begin = report.begin_ms
    if begin is None:
        nothing = _("no request yet")
        return f"{nothing} · {state}"
    began = _("began at %(at)s") % {"at": moment(begin)}
    if report.parts:
        lanes = _("lanes %(lanes)s") % {"lanes": ", ".join(part.lane for part in report.parts)}
        return f"{began} · {state} · {lanes}"
    return f"{began} · {state} · {_('version')} {report.activity.version}"


def _cards(report: SaleReport, frame: Frame) -> str:
    activity = report.activity
    counts = outcomes(report)
    total = sum(counts.values())
    left = activity.left
    # Of this sale only: the units ever put on sale include earlier sales.
    offered = left + activity.units_sold
    p99 = activity.latency.percentile(0.99)
    lost = activity.expired_with_stock
    cards = [
        (_("requests"), number(total), "", ""),
        (_("accepted"), number(activity.success), "", ""),
        (_("users"), number(report.users), "", _("Users with an accepted request.")),
        (_("of %(n)s units left") % {"n": number(offered)}, number(left), "", ""),
        (_("sold out after"), _sold_out_after(report), "", ""),
        (_("latency p99"), "–" if p99 is None else milliseconds(p99), "",
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
    return seconds(max(at for at in last if at is not None) - begin)


def _jumped(report: SaleReport) -> str:
    winners = sum(f.winners for f in report.fairness)
    if not winners:
        return "–"
    return f"{100 * sum(f.jumped for f in report.fairness) / winners:.2f} %"


def _verdict(report: SaleReport, frame: Frame) -> tuple[str, str]:
    if report.audit is None:
        return (frame.proof or _("not run"), "" if frame.proof else "warn")
    return (_("clean"), "good") if report.audit.clean else (_("VIOLATED"), "bad")
