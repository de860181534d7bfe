"""The words of a verdict, in the language that is active: one line for a page, a terminal, the API.

Owns no threshold: see `verdict`.
"""

from django.utils.translation import gettext as _

from seckill.monitoring.verdict import State, Verdict


def in_words(verdict: Verdict, now_ms: int) -> str:
    """One line: what the lane does, for how long already, and what waits. `now_ms`: its clock."""
    parts = [_headline(verdict, now_ms)]
    if verdict.unstored_ms:
        parts.append(
            _("no order is stored for %(for)s: %(n)s wait in Redis")
            % {"for": span(verdict.unstored_ms), "n": f"{verdict.waiting:,}"}
        )
    if verdict.unsettled is not None:
        parts.append(
            _("no settler runs: payments wait in Kafka, unpaid holds stay (%(n)s)")
            % {"n": f"{verdict.unsettled:,}"}
        )
    return "; ".join(parts)


def span(ms: int) -> str:
    """A duration in two units at most."""
    s = max(0, round(ms / 1000))
    if s < 60:
        return _("%(n)s s") % {"n": s}
    if s < 3600:
        return _("%(n)s min %(m)s s") % {"n": s // 60, "m": f"{s % 60:02}"}
    if s < 86400:
        return _("%(n)s h %(m)s min") % {"n": s // 3600, "m": f"{s % 3600 // 60:02}"}
    return _("%(n)s d %(m)s h") % {"n": s // 86400, "m": f"{s % 86400 // 3600:02}"}


def _headline(verdict: Verdict, now_ms: int) -> str:
    sentences = {
        State.FENCED: _("Fenced (%(word)s)%(held)s: nothing is decided, %(lag)s"),
        State.NOT_LOADED: _("Nothing is loaded in Redis: nothing is decided, %(lag)s"),
        State.STOPPED: _("Stopped%(held)s: %(lag)s, nothing is decided"),
        State.NO_CONSUMER: _("No consumer runs%(held)s: what comes now waits in Kafka"),
        State.PARTLY: _(
            "Partly stopped%(held)s: %(silent)s of %(consumers)s consumers give no sign, %(lag)s"
        ),
        State.BEHIND: _("Selling, but behind%(held)s: %(rate)s/s, %(lag)s"),
        State.SELLING: _("Selling%(held)s: %(rate)s/s, %(lag)s"),
        State.QUIET: _("Open, but nobody asks%(held)s: %(lag)s"),
        State.PAUSED: _("Paused%(held)s: buyers are refused, units left: %(left)s"),
        State.BEFORE: _("Before the opening: in %(opens)s, with %(left)s on sale"),
        State.CLOSED: _("Closed%(held)s: the window has ended, units left: %(left)s"),
        State.SOLD_OUT: _("Sold out%(held)s: %(sold)s sold, none left, %(lag)s"),
        State.FINISHED: _("Finished%(held)s: %(sold)s sold, %(left)s left"),
        State.NO_SALE: _("Nothing is on sale here: set the stock to begin"),
    }
    return sentences[verdict.state] % {
        "held": _held(verdict),
        "word": verdict.word,
        "lag": _lag(verdict.lag),
        "rate": "–" if verdict.rate is None else f"{verdict.rate:,.0f}",
        "left": f"{verdict.left:,}",
        "sold": f"{verdict.sold:,}",
        "silent": verdict.silent,
        "consumers": verdict.consumers,
        "opens": span((verdict.opens_at_ms or now_ms) - now_ms),
    }


def _held(verdict: Verdict) -> str:
    """A clause that begins with a space, or nothing if it is not known."""
    if verdict.held_ms is None:
        return ""
    clause = _(" for more than %(span)s") if verdict.longer else _(" for %(span)s")
    return clause % {"span": span(verdict.held_ms)}


def _lag(lag: int | None) -> str:
    if lag is None:
        return _("what waits in Kafka is not known")
    return _("%(n)s wait in Kafka") % {"n": f"{lag:,}"} if lag else _("nothing waits")
