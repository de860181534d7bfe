"""The report's sections that judge: fairness, lost sales, the audit's verdict."""

from html import escape

from django.utils.translation import gettext as _

from seckill.audit.checks import (
    FOUNDATIONS,
    INVARIANTS,
    NEVER_DROPPED,
    NEVER_LOST,
    NEVER_OVERSOLD,
    NEVER_TWICE,
)
from seckill.report.charts import number
from seckill.report.data import SaleReport
from seckill.report.parts import Frame, item_name, milliseconds, section, table


def fairness(report: SaleReport) -> str:
    """Who got nothing although somebody who arrived later won."""
    note = _(
        "If N requests won an item, then in strict order of arrival in Kafka the first N requests "
        "would have won it. A winner that arrived after the N-th request jumped the queue, by the "
        "time between the two. Each partition is decided in order, so a request can overtake only "
        "requests of other partitions. Arrival is the message's timestamp in Kafka. The sender "
        "sets it, unless the topic uses LogAppendTime."
    )
    if report.parts:
        note += " " + _(
            "A user is served by one lane: who came early to a lane that was sold out may have "
            "lost to somebody who came later to another."
        )
    if report.fairness_reason and not report.fairness:
        told = _("Not judged: %(why)s.") % {"why": report.fairness_reason}
        return section(_("Fairness"), f"<p>{escape(told)}</p>", note)
    rows = [
        (
            item_name(f.item_id),
            number(f.requests),
            number(f.winners),
            number(f.jumped),
            f"{100 * f.share:.2f} %",
            milliseconds(f.median_ms) if f.jumped else "–",
            milliseconds(f.longest_ms) if f.jumped else "–",
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
    return section(_("Fairness"), table(head, rows) + f'<p class="dim">{read}</p>', note)


def lost_sales(report: SaleReport) -> str:
    """Requests that expired while units were left."""
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
    return section(_("Lost sales"), f'<p class="{"warn" if count else ""}">{text}</p>', note)


def audit(report: SaleReport, frame: Frame) -> str:
    """The audit's verdict on each promise, and what it found."""
    if report.audit is None:
        why = report.audit_reason or _("it was not requested")
        told = frame.proof or _("Not run: %(why)s.") % {"why": why}
        return section(_("Audit"), f'<p class="{"" if frame.proof else "warn"}">{escape(told)}</p>')
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
    promises = table((_("promise"), ""), rows, raw=True)
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
    if report.parts:
        note = _("Of all lanes of the sale, with all their activities, since their start.")
    return section(_("Audit"), promises + findings + f"<p>{text}</p>", note)
