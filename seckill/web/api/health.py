"""Health probes: whether the process is alive, and whether the system is ready."""

import time

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from ninja import Router

from seckill.lane.keys import Lane
from seckill.monitoring import readiness
from seckill.web.api.problems import Problem, problem
from seckill.web.api.schemas import HealthOut, ReadyOut
from seckill.web.shared import services

router = Router(tags=["health"])

# An address over its limit gets the last answer, if that is at most so many seconds old.
KEPT_S = 2.0
# When this process last checked, and what it found.
_last: list[tuple[float, readiness.Readiness]] = []


@router.get("/healthz", auth=None, response=HealthOut, summary="Whether the process answers")
def healthz(request: HttpRequest) -> HealthOut:
    """Needs no credential, returns no data and asks no service."""
    return HealthOut(status="alive")


@router.get(
    "/readyz",
    auth=None,
    response={200: ReadyOut, 503: Problem},
    summary="Whether the system can decide, settle and store",
)
def readyz(request: HttpRequest) -> ReadyOut | HttpResponse:
    """Ready means, for every configured lane: Redis and PostgreSQL answer, a sale is loaded and not
    fenced, and known kinds of workers are alive, with a settler while there are holds. With 503,
    `errors` names each part that is not ready. An address over its rate limit gets an answer that
    is up to two seconds old."""
    found = _look(request)
    if found.ready:
        return ReadyOut(can_decide=True, can_settle=True, can_store=True)
    parts = [
        (f"{verb}.{part}", why)
        for verb, missing in found.missing.items()
        for part, why in missing.items()
    ]
    return problem(503, f"cannot {' or '.join(found.missing)}: {parts[0][1]}", parts)


def _look(request: HttpRequest) -> readiness.Readiness:
    """What is not ready. Never a 429: that would take a load balancer's backend out of service.

    Probes have their own bucket, so that probes and calls do not use up each other's limit.
    """
    bucket = f"probe:{services.address_of(request)}"
    verdict = services.count_call([bucket], settings.RATE_LIMIT, settings.RATE_BURST)
    if verdict is not None and not verdict.allowed and _last:
        at, found = _last[0]
        if time.monotonic() - at < KEPT_S:
            return found
    found = readiness.of_all(
        {
            name: readiness.look(services.redis_client(name), Lane.named(name))
            for name in settings.LANES
        }
    )
    _last[:] = [(time.monotonic(), found)]
    return found
