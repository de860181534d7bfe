"""The report of a sale as a page of the admin: the same as `manage.py report`, in bounded time.

It reads fewer messages of the topic, and takes the last audit's verdict instead of running one.
"""

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from typing import TYPE_CHECKING

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
from seckill.control.part_rows import parts_of
from seckill.errors import NoSuchActivity, RedisAway
from seckill.formats.advice import in_lane
from seckill.lane.keys import Lane
from seckill.models import Activity
from seckill.report.page import render
from seckill.report.parts import Frame, part_text
from seckill.report.style import STYLE
from seckill.report.whole import report_of
from seckill.web.admin.desk_texts import outcome_text
from seckill.web.shared import services

if TYPE_CHECKING:
    import redis

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
    lanes = [part.lane for part in parts_of(activity_id)] or [activity.lane]
    why: object = ", ".join(services.away_text(lane) for lane in lanes if not _answers(lane))
    if not why:
        try:
            report = report_of(
                activity_id, activity.lane, _open_lane, messages=MESSAGES, with_audit=False
            )
            proof = _proofs(lanes, report.made_at_ms)
        except NoSuchActivity as unknown:
            why = unknown
        except RedisAway:
            why = _("Redis is away")
    if why:
        text = _("There is no report of activity %(id)s: %(why)s") % {"id": activity_id, "why": why}
        messages.warning(request, text)
        return HttpResponseRedirect(reverse("admin:seckill_activity_changelist"))
    part = part_text(activity)
    frame = Frame(
        activity.name,
        outcome_text,
        reverse("admin:seckill_activity_desk", args=[activity_id]),
        proof,
        part,
        reverse("admin:seckill_activity_report", args=[activity.part_of]) if part else "",
    )
    answer = HttpResponse(render(report, frame))
    answer["Cache-Control"] = "private, no-store"
    return csp_update({"style-src": [HASH]})(lambda _request: answer)(request)


def _open_lane(lane: str) -> tuple["redis.Redis", Server]:
    return services.redis_client(lane), load(Server, lane=lane)


def _answers(lane: str) -> bool:
    try:
        services.redis_now_ms(lane)
    except RedisAway:
        return False
    return True


def _proofs(lanes: Sequence[str], now_ms: int) -> str:
    """The last verdict on each lane; "" if there is none. Raises RedisAway."""
    found = {}
    for name in lanes:
        last = read_last_audit(services.redis_client(name), Lane.named(name))
        found[name] = in_lane(proof_text(last, now_ms), name)
    if len(lanes) == 1 or not any(found.values()):
        return found[lanes[0]]
    return "; ".join(
        _("Lane %(lane)s: %(text)s") % {"lane": name, "text": text or _("not run")}
        for name, text in found.items()
    )


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
