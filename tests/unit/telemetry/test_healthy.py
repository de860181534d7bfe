"""The verdict over heartbeats: whose count, and how long a process may be silent."""

import os
import subprocess
import sys

from seckill.config.layers import BASE_DIR
from seckill.management.commands.healthy import SECTION_OF
from seckill.telemetry.healthy import WORKERS, age_s, judge
from seckill.telemetry.heartbeats import Kind, Worker

HOST = "seckill-consumer-0"
# Runs the probe against a port where nobody listens, and names what it imported.
PROBE = """
import sys
sys.argv = ["manage.py", "healthy", "consumer", "--redis-url", "redis://127.0.0.1:1"]
import manage
try:
    manage.main()
except SystemExit as ended:
    print(ended.code, *sorted({name.partition(".")[0] for name in sys.modules}))
    print("models" if "django.db.models" in sys.modules else "no models")
"""


def heard(kind: Kind, pid: int, silent_ms: int, host: str = HOST, detail: str = "") -> Worker:
    return Worker(kind, f"{host}:{pid}", 0, 0, 0, silent_ms, detail, {})


def well(*workers: Worker, name: str = "consumer", ages: dict[int, float] | None = None) -> bool:
    ages = dict.fromkeys((7, 8, 9), 1000.0) if ages is None else ages
    return judge(workers, name, 30, HOST, ages.get).well


def test_every_kind_belongs_to_one_worker() -> None:
    assert sorted(kind for kinds in WORKERS.values() for kind in kinds) == sorted(Kind)
    assert set(SECTION_OF) == set(WORKERS)


def test_all_processes_of_a_worker_must_speak() -> None:
    parent, child = heard(Kind.PARENT, 7, 500), heard(Kind.CONSUMER, 8, 700)
    assert well(parent, child)
    assert not well(parent, heard(Kind.CONSUMER, 8, 30_001))
    assert not well(heard(Kind.PARENT, 7, 30_001), child)


def test_others_do_not_count() -> None:
    own = heard(Kind.PARENT, 7, 500)
    assert well(own, heard(Kind.LOG_WORKER, 8, 60_000), heard(Kind.PARENT, 9, 60_000, "another"))
    assert not well(heard(Kind.PARENT, 7, 500, "another"))
    assert not well()


def test_what_an_earlier_process_left_does_not_count() -> None:
    own, left = heard(Kind.PARENT, 7, 500), heard(Kind.CONSUMER, 8, 60_000)
    # It is gone; or its number belongs to a younger process by now.
    assert well(own, left, ages={7: 1000.0})
    assert well(own, left, ages={7: 1000.0, 8: 20.0})
    assert not well(own, left, ages={7: 1000.0, 8: 60.0})
    assert not well(left, ages={})


def test_the_reason_is_told() -> None:
    silent = heard(Kind.LOG_WORKER, 7, 42_000, detail="PostgreSQL is away")
    told = judge([silent], "log-worker", 30, HOST, {7: 100.0}.get).why
    assert "log_worker seckill-consumer-0:7 is silent for 42 s" in told
    assert "PostgreSQL is away" in told
    assert "still starting" in judge([], "door", 30, HOST, {}.get).why


def test_age_of_a_process() -> None:
    age = age_s(os.getpid())
    assert age is not None
    assert age >= 0
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert age_s(ended.pid) is None


def test_it_starts_without_django() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        cwd=BASE_DIR, env={**os.environ, "SECKILL_CONFIG": os.devnull},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    first, modules, models = done.stdout.strip().splitlines()
    assert first.startswith("unknown: Redis is away")
    assert modules.split()[0] == "0"
    assert not {"seckill_project", "ninja", "unfold", "kafka", "uvicorn"} & set(modules.split())
    assert models == "no models"
