"""Every path below the API answers problem+json: what does not exist, wrong methods, bugs."""

import gzip
from typing import Any

import pytest
import redis
from django.test import Client

pytestmark = pytest.mark.django_db


def said(answer: Any, status: int) -> Any:
    """The problem of an answer."""
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json")
    problem = answer.json()
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    return problem


@pytest.mark.parametrize(
    "path", ["/v1", "/v1/", "/v1/none", "/v1/status/", "/v1/activities/1/none", "/status/x"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_path_that_is_not_there_is_404(http: Client, path: str, method: str) -> None:
    answer = http.generic(method, path, headers={"Accept": "text/html"})
    assert f"{method} {path}" in said(answer, 404)["detail"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/activities/1/pause", "POST"),
        ("DELETE", "/v1/activities/1", "GET, PATCH"),
        ("OPTIONS", "/v1/status", "GET"),
        ("POST", "/status", "GET"),
        ("GET", "/set_stock", "POST"),
        ("PUT", "/healthz", "GET"),
    ],
)
def test_a_wrong_method_is_405_and_names_the_right_ones(
    http: Client, key: str, method: str, path: str, allowed: str
) -> None:
    answer = http.generic(method, path, headers={"X-API-Key": key})
    assert allowed in said(answer, 405)["detail"]
    assert sorted(answer["Allow"].split(", ")) == sorted(allowed.split(", "))


def test_a_problem_is_not_called_compressed_like_the_page_that_it_replaces(http: Client) -> None:
    answer = http.get("/v1/none", headers={"Accept": "text/html", "Accept-Encoding": "gzip"})
    if answer.get("Content-Encoding") == "gzip":
        answer.content = gzip.decompress(answer.content)
    said(answer, 404)


def test_a_host_that_is_not_ours_is_400(http: Client, key: str) -> None:
    answer = http.get("/v1/journal", headers={"X-API-Key": key, "Host": "elsewhere.example"})
    assert "SECKILL_ALLOWED_HOSTS" in said(answer, 400)["detail"]


def test_a_bug_is_500_and_tells_nothing_of_it(
    http: Client, key: str, monkeypatch: pytest.MonkeyPatch, redis_client: "redis.Redis"
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr("seckill.web.api.v1.lookups.look", broken)
    answer = http.get("/v1/status", headers={"X-API-Key": key})
    assert "journal" in said(answer, 500)["detail"]
    assert "secret" not in answer.content.decode()


def test_head_is_answered_where_get_is(http: Client, key: str, redis_client: "redis.Redis") -> None:
    answer = http.head("/v1/journal", headers={"X-API-Key": key})
    assert (answer.status_code, answer.content) == (200, b"")
    assert http.head("/v1/journal").status_code == 401


def test_pages_for_people_stay_pages(http: Client) -> None:
    answer = http.get("/nothing", headers={"Accept": "text/html"})
    assert (answer.status_code, answer["Content-Type"]) == (404, "text/html; charset=utf-8")
