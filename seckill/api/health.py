"""Probes of those who run the system: is the process alive, is the system ready."""

from django.http import HttpRequest, HttpResponse
from ninja import Router

from seckill import readiness, web
from seckill.api.problems import Problem, problem
from seckill.api.schemas import HealthOut, ReadyOut

router = Router(tags=["health"])


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
    are alive, PostgreSQL answers. With 503, `errors` names each part that is not ready."""
    found = readiness.look(web.redis_client())
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
