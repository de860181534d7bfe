"""Ten million orders: how long the admin's lists, filters, searches and the export take.

    eval "$(.venv/bin/python manage.py devstack env)"
    .venv/bin/python -m tests.helpers.orders_at_scale --rows 10000000

Makes a database of its own on the server of SECKILL_PG_DSN, fills it with one INSERT, asks the
admin for its pages through Django's own client, prints the times, and drops the database.
"""

import argparse
import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

DATABASE = "orders_at_scale"
# How often each page is asked for; the middle time counts.
REPEATS = 5
SOURCE = "11111111-2222-3333-4444-555555555555"
# Orders of five items in two activities, 40,000 a minute, every third with a request id.
FILL = """
INSERT INTO seckill_record (user_id, activity_id, item_id, quantity, cost_ms, status, ts, source,
  partition, "offset", request_id, version)
SELECT 1 + (g::bigint * 7919) %% 4000000, 1 + g %% 2, 1001 + g %% 5, 1 + g %% 3, g %% 300,
  'success', now() - (%(rows)s - g) * interval '1.5 milliseconds', %(source)s, g %% 8, g,
  CASE WHEN g %% 3 = 0 THEN 'r-' || g END, 1 FROM generate_series(1, %(rows)s) g
"""


@contextmanager
def database(dsn: str) -> Iterator[str]:
    """The address of an empty database, which goes afterwards."""
    with psycopg.connect(dsn, autocommit=True) as server:
        server.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        server.execute(f"CREATE DATABASE {DATABASE}")
    try:
        yield dsn.rpartition("/")[0] + "/" + DATABASE
    finally:
        with psycopg.connect(dsn, autocommit=True) as server:
            server.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")


def middle_ms(call: Callable[[], object]) -> float:
    """The middle of several times, in ms; the first call, which warms up, does not count."""
    times = []
    for _ in range(REPEATS + 1):
        began = time.perf_counter()
        call()
        times.append((time.perf_counter() - began) * 1000)
    return sorted(times[1:])[REPEATS // 2]


def measure(rows: int) -> None:
    """Ask for each page and print its time."""
    from django.contrib.auth.models import User
    from django.test import Client

    from seckill.models import Activity, Item

    for activity in (1, 2):
        Activity.objects.create(pk=activity)
        for item in range(1001, 1006):
            Item.objects.create(activity_id=activity, item_id=item, allocation=rows)
    browser = Client()
    browser.force_login(User.objects.create_superuser("scale"))
    orders = "/admin/seckill/record/"

    def ask(address: str) -> int:
        answer = browser.get(orders + address)
        assert answer.status_code == 200, (address, answer.status_code)
        return len(answer.context["cl"].result_list)

    from django.utils import timezone

    day = timezone.now().strftime("%Y-%m-%d")
    pages = {
        "first page": "",
        "page 100": "?p=100",
        "by activity": "?activity=2",
        "by item": "?item=1-1001",
        "by activity, last hour": "?activity=1&last=60",
        "an hour of today, by item": f"?item=2-1002&ts_from_0={day}&ts_to_0={day}",
        "a period that ended long ago": "?ts_to_0=2020-01-01",
        "search: a user": "?q=4242",
        "search: a request id": "?q=r-9999",
        "search: nothing found": "?q=nobody",
    }
    for name, address in pages.items():
        found = ask(address)
        print(f"{name:32} {middle_ms(lambda a=address: ask(a)):8.1f} ms   {found} rows", flush=True)
    export(browser, orders + "export/", "export: all")
    export(browser, orders + "export/?item=1-1001", "export: one item")


def export(browser: object, address: str, name: str) -> None:
    """Read a whole export, and print rows/s and how the memory grew."""
    began = time.perf_counter()
    answer = browser.get(address)  # type: ignore[attr-defined]
    lines = size = 0
    first = grown_from = 0.0
    for chunk in answer.streaming_content:
        first = first or time.perf_counter() - began
        lines += chunk.count(b"\n")
        size += len(chunk)
        grown_from = grown_from or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    took = time.perf_counter() - began
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - grown_from) / 1024
    print(
        f"{name:32} {lines - 1:,} rows, {size / 1e6:,.0f} MB in {took:,.1f} s = "
        f"{lines / took:,.0f} rows/s; first byte after {first * 1000:.0f} ms; "
        f"memory +{grown:.1f} MB",
        flush=True,
    )


def main() -> None:
    """Fill, measure, drop."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    rows = parser.parse_args().rows
    with database(os.environ["SECKILL_PG_DSN"]) as dsn:
        os.environ["SECKILL_PG_DSN"] = dsn
        os.environ["DJANGO_SETTINGS_MODULE"] = "seckill_project.settings"
        import django
        from django.core.management import call_command
        from django.db import connection
        from django.test.utils import setup_test_environment

        django.setup()
        setup_test_environment()
        call_command("migrate", verbosity=0)
        began = time.perf_counter()
        with connection.cursor() as cursor:
            cursor.execute(FILL, {"rows": rows, "source": SOURCE})
            cursor.execute("VACUUM ANALYZE seckill_record")
            print(f"{rows:,} orders in {time.perf_counter() - began:.0f} s", flush=True)
        measure(rows)
        connection.close()


if __name__ == "__main__":
    main()
