"""The texts that the desk's script fills in. Owns no layout and no figures."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from seckill.web.shared.away_page import POSTGRES, REDIS, what_it_means


def outcome_text(name: str) -> str:
    """An outcome's name for people: the same in chart, table and legend."""
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
        "REPEATED": _("repeated click"),
    }
    return names[name]


def watch_texts(request: HttpRequest) -> dict[str, Any]:
    """What a page that asks again and again says of that. Its script fills in `{n}`."""
    return {
        "login": f"{reverse('admin:login')}?next={request.path}",
        "live": _("live"),
        "stale": _("figures are {n} old"),
        "connecting": _("connecting"),
        "web_away": _("The web process does not answer"),
        "web_away_text": _(
            "The sale goes on in Redis. These figures are old; the page retries automatically."
        ),
        "service_away": _("{n} is away"),
        "means": {
            service: _(
                "%(meaning)s These figures are old until then; the page retries automatically."
            )
            % {"meaning": what_it_means(service)}
            for service in (REDIS, POSTGRES)
        },
        # Where to see current figures until then.
        "look": {POSTGRES: "manage.py status"},
        "logged_out": _("You are logged out"),
        "logged_out_text": _("Log in again to keep watching."),
        "log_in": _("Log in"),
        "forbidden": _("You may not look at activities"),
        "forbidden_text": _("Ask an administrator to add you to the group observers."),
        "back": _("The desk is live again."),
        "seconds": _("{n} s"),
        "minutes": _("{n} min {m} s"),
        "hours": _("{n} h {m} min"),
        "days": _("{n} d {m} h"),
    }


def script_texts() -> dict[str, Any]:
    """The texts of the desk's script, which fills in `{n}`."""
    return {
        "run": _("Run:"),
        "never": _("never run"),
        "activity": _("activity {n}"),
        "this_page": _("this page"),
        "without": _("without {n}"),
        "on_the_way": _("{n} on the way between lanes"),
        "ago": _("{n} ago"),
        "alive": _("alive"),
        "stuck": _("no progress"),
        "silent": _("silent"),
        "set": _("Set"),
        "add": _("Add"),
        "no_workers": _("No worker has sent a heartbeat within the last hour."),
        "no_items": _("This activity has no loaded items."),
        "no_acts": _("No acts yet."),
        "unknown": _("not known"),
        "when": _("when"),
        "item": _("item {n}"),
        "opens": _("opens in {n}"),
        "closes": _("closes in {n}"),
        "limit": _("{n} units per user"),
        "hold": _("held for {n}"),
        "version": _("version {n}"),
        "in_kafka": _("in Kafka"),
        "fullest": _("fullest partition"),
        "waiting": _("waiting for PostgreSQL"),
        "of": _("of {n}"),
        "of_sold": _("of {n} sold"),
        "stored": _("{n} stored"),
    }
