"""What the door is compared with: a plain Django view that decides and stores each click by itself.

    python -m bench.plain_view PORT REDIS_URL PG_DSN SECRET

One script call and one INSERT a click, as the projects do that this one is compared with. It
verifies the buyer's token as well. No middleware but the one that tells lengths, so that
connections stay open: it is as fast as it can be.
"""

import json
import logging
import sys
from pathlib import Path

import django
import jwt
import redis
import waitress
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.db import connection
from django.http import HttpRequest, JsonResponse
from django.urls import path

from devstack.endpoints import HOST
from seckill.config.addresses import django_database

THREADS = 16
SCRIPT = (Path(__file__).parent / "one_request.lua").read_text(encoding="utf-8")
STOCK, RECORDS, ITEM = "bench:stock", "bench:records", "1001"
TABLE = """
CREATE TABLE IF NOT EXISTS bench_order (
    id bigserial PRIMARY KEY, user_id bigint NOT NULL, item_id bigint NOT NULL,
    quantity bigint NOT NULL, click text NOT NULL UNIQUE, at timestamptz NOT NULL DEFAULT now())
"""
INSERT = "INSERT INTO bench_order (user_id, item_id, quantity, click) VALUES (%s, %s, %s, %s)"

urlpatterns: list[object] = []


def main() -> None:
    """Serve until killed."""
    port, redis_url, pg_dsn, secret = sys.argv[1:5]
    settings.configure(
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
        DATABASES={"default": {**django_database(pg_dsn), "CONN_MAX_AGE": None}},
        SECRET_KEY="bench",
    )
    django.setup()
    client = redis.Redis.from_url(redis_url)
    client.hset(STOCK, ITEM, 10**9)
    decide = client.register_script(SCRIPT)
    with connection.cursor() as cursor:
        cursor.execute(TABLE)

    def click(request: HttpRequest) -> JsonResponse:
        token = request.headers["Authorization"].partition(" ")[2]
        user = int(jwt.decode(token, secret, algorithms=["HS256"])["sub"])
        [(item, quantity)] = json.loads(request.body)["items"].items()
        accepted = decide(keys=[STOCK, RECORDS], args=[user, 0, item, quantity])
        if accepted:
            with connection.cursor() as cursor:
                key = request.headers["Idempotency-Key"]
                cursor.execute(INSERT, (user, item, quantity, f"{user}-{key}"))
        return JsonResponse({"state": "accepted" if accepted else "refused"})

    urlpatterns.append(path("v1/requests", click))
    # It tells of each click that waits for a thread.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    waitress.serve(
        WSGIHandler(),
        host=HOST,
        port=int(port),
        threads=THREADS,
        connection_limit=2000,
    )


if __name__ == "__main__":
    main()
