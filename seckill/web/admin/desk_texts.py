"""The words of the desk that its script fills in. Owns no layout and no figure."""

from typing import Any

from django.utils.translation import gettext as _

from seckill.web.shared.away_page import POSTGRES, REDIS, what_it_means


def outcome_text(name: str) -> str:
    """What an outcome is called for people; the same word in chart, table and legend."""
    names = {
        "ACCEPTED": _("accepted"),
        "OVER": _("sale over"),
        "SOLD_OUT": _("sold out"),
        "EXPIRED": _("expired"),
        "LIMIT": _("over the limit"),
        "NOT_OPEN": _("not open"),
        "UNKNOWN_ITEM": _("unknown item"),
        "NO_SUCH_ACTIVITY": _("no such activity"),
        "INVALID": _("invalid"),
    }
    return names[name]


def script_texts() -> dict[str, Any]:
    """What the page's script says by itself. `{n}` is filled in by it."""
    return {
        "live": _("live"),
        "stale": _("figures are {n} old"),
        "connecting": _("connecting"),
        "web_away": _("The web process does not answer"),
        "web_away_text": _(
            "The sale goes on in Redis without it. These figures are old; the page tries again by "
            "itself."
        ),
        "service_away": _("{n} is away"),
        "means": {
            service: _(
                "%(meaning)s These figures are old until it is back; the page tries by itself."
            )
            % {"meaning": what_it_means(service)}
            for service in (REDIS, POSTGRES)
        },
        # Where the figures of now are meanwhile.
        "look": {POSTGRES: "manage.py status"},
        "logged_out": _("You are logged out"),
        "logged_out_text": _("Log in again to go on watching."),
        "log_in": _("Log in"),
        "forbidden": _("You may not look at activities"),
        "forbidden_text": _("Ask an administrator for the group observers."),
        "back": _("The desk is live again."),
        "run": _("Run:"),
        "never": _("never run"),
        "ago": _("{n} ago"),
        "alive": _("alive"),
        "stuck": _("no progress"),
        "silent": _("silent"),
        "set": _("Set"),
        "add": _("Add"),
        "no_workers": _("No worker was heard of within the last hour."),
        "no_items": _("Nothing of this activity is loaded."),
        "unknown": _("not known"),
        "partition": _("partition {n}"),
        "others": _("other items"),
        "item": _("item {n}"),
        "opens": _("opens in {n}"),
        "closes": _("closes in {n}"),
        "limit": _("{n} units per user"),
        "version": _("version {n}"),
        "waiting": _("waiting for PostgreSQL"),
        "of": _("of {n}"),
        "seconds": _("{n} s"),
        "minutes": _("{n} min {m} s"),
        "hours": _("{n} h {m} min"),
        "days": _("{n} d {m} h"),
    }
