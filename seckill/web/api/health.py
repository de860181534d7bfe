"""Probes of those who run the system: is the process alive, is the system ready."""

import time

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from ninja import Router

from seckill.monitoring import readiness
from seckill.web.api.problems import Problem, problem
from seckill.web.api.schemas import HealthOut, ReadyOut
from seckill.web.shared import services

router = Router(tags=["health"])

# Seconds for which the last answer is good for an address that asks more often than its share.
KEPT_S = 2.0
# When this process looked last, and what it found.
_last: list[tuple[float, readiness.Readiness]] = []


@router.get("/healthz", auth=None, response=HealthOut, summary="Whether the process answers")
def healthz(request: HttpRequest) -> HealthOut:
    """No credential, no data, and no service is asked."""
    return HealthOut(status="alive")


@router.get(
    "/readyz",
    auth=None,
    response={200: ReadyOut, 503: Problem},
    summary="Whether the system can decide and store",
)
def readyz(request: HttpRequest) -> ReadyOut | HttpResponse:
    """Redis answers, a sale is loaded and not fenced, consumers and log workers that were heard of
    are alive, PostgreSQL answers. With 503, `errors` names each part that is not ready. An address
    that asks more often than its share of calls gets an answer of up to two seconds ago."""
    found = _look(request)
    if found.ready:
        return ReadyOut(can_decide=True, can_store=True)
    verbs = [
        verb
        for verb, missing in (("decide", found.cannot_decide), ("store", found.cannot_store))
        if missing
    ]
    parts = [
        (f"{verb}.{part}", why)
        for verb, missing in (("decide", found.cannot_decide), ("store", found.cannot_store))
        for part, why in missing.items()
    ]
    return problem(503, f"cannot {' or '.join(verbs)}: {parts[0][1]}", parts)


def _look(request: HttpRequest) -> readiness.Readiness:
    """What is not ready. Never a refusal: it would be one for the balancer that all come through.

    Its bucket is its own, so that probes and calls do not take from each other.
    """
    bucket = f"probe:{services.address_of(request)}"
    verdict = services.count_call([bucket], settings.RATE_LIMIT, settings.RATE_BURST)
    if verdict is not None and not verdict.allowed and _last:
        at, found = _last[0]
        if time.monotonic() - at < KEPT_S:
            return found
    found = readiness.look(services.redis_client(), services.lane())
    _last[:] = [(time.monotonic(), found)]
    return found
