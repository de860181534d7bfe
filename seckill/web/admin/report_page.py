"""The report of a sale as a page of the admin: the same as `manage.py report`, in bounded time.

It reads fewer messages of the topic, and takes the last audit's verdict instead of running one.
"""

import hashlib
from base64 import b64encode

from csp.decorators import csp_update
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.translation import gettext as _

from seckill.audit.verdict import LastAudit, read_last_audit
from seckill.config.layers import load
from seckill.config.sections import Server
from seckill.errors import NoSuchActivity, RedisAway
from seckill.formats.advice import in_lane
from seckill.lane.keys import Lane
from seckill.models import Activity
from seckill.report.data import collect
from seckill.report.page import render
from seckill.report.parts import Frame
from seckill.report.style import STYLE
from seckill.web.admin.desk_texts import outcome_text
from seckill.web.shared import services

# Messages of the topic that a page reads: about two seconds.
MESSAGES = 100_000
# An audit older than this (ms) says little about the present.
OLD_MS = 5 * 60_000
# The page's one style block, which the content policy would refuse.
HASH = "'sha256-" + b64encode(hashlib.sha256(STYLE.encode()).digest()).decode() + "'"


def page(request: HttpRequest, activity_id: int, *, admin: ModelAdmin) -> HttpResponseBase:
    """The report; back to the list with a message if there is nothing to report."""
    if not admin.has_view_permission(request):
        raise PermissionDenied
    activity = Activity.objects.filter(pk=activity_id).first()
    if activity is None:
        raise Http404
    lane = Lane.named(activity.lane)
    try:
        client = services.redis_client(lane.name)
        server = load(Server, lane=lane.name)
        report = collect(client, server, activity_id, lane, messages=MESSAGES, with_audit=False)
        proof = in_lane(proof_text(read_last_audit(client, lane), report.made_at_ms), lane.name)
    except (NoSuchActivity, RedisAway) as why:
        text = _("There is no report of activity %(id)s: %(why)s") % {"id": activity_id, "why": why}
        messages.warning(request, text)
        return HttpResponseRedirect(reverse("admin:seckill_activity_changelist"))
    back = reverse("admin:seckill_activity_desk", args=[activity_id])
    answer = HttpResponse(render(report, Frame(activity.name, outcome_text, back, proof)))
    answer["Cache-Control"] = "private, no-store"
    return csp_update({"style-src": [HASH]})(lambda _request: answer)(request)


def proof_text(last: LastAudit | None, now_ms: int) -> str:
    """The last audit's verdict with its age; an old one says what to do. "" if there is none."""
    if last is None:
        return ""
    age_ms = max(0, now_ms - last.at_ms)
    age = _("%(n)s s") % {"n": age_ms // 1000}
    if age_ms >= 120_000:
        age = _("%(n)s min") % {"n": age_ms // 60_000}
    if last.clean is None:
        return _("could not check, %(age)s ago: %(why)s") % {"age": age, "why": last.finding}
    if not last.clean:
        return _("VIOLATED, %(age)s ago: %(why)s") % {"age": age, "why": last.finding}
    if age_ms > OLD_MS:
        return _("clean, but %(age)s old: run it again (manage.py audit)") % {"age": age}
    return _("clean, %(age)s ago") % {"age": age}
