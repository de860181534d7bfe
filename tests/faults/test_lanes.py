"""The workers of two lanes, each with processes of its own, or all below one parent.

Both lanes sell at once, each is killed once, and both audits are clean.
"""

import json
import os
import signal
import urllib.request

from seckill.lane.client import connect
from seckill.lane.keys import Lane
from seckill.models import Record
from seckill.telemetry.heartbeats import Kind, read_workers
from tests.conftest import wait_until
from tests.faults.command import stop
from tests.faults.lanes import REQUESTS, UNITS, Lanes
from tests.helpers.commands import DEAD_REDIS, Ended
from tests.helpers.messages import send
from tests.helpers.sale import body
from tests.helpers.servers import free_port


def test_two_lanes_sell_at_once_and_each_is_killed_once(two: Lanes) -> None:
    for lane in two.names:
        two.create(lane, UNITS[lane])
    told = two.run("sync_from_db", "--activity-id", "2", code=1)
    assert "activity 2 is in lane north, and this is lane main" in told
    listed = two.run("activity", "list")
    assert "activity 2 | lane north | on sale | version 1 | left 900" in listed
    assert "no lane 'nort'; known: main, north" in two.run("status", "--lane", "nort", code=2)

    # Found by the activity; asked for in another lane, it is told at once.
    two.run("wait", "--activity-id", "2", "--until", "opened", "--timeout-s", "60")
    wrong = ("--activity-id", "2", "--until", "opened", "--timeout-s", "600", "--lane", "main")
    told = two.run("wait", *wrong, code=1)
    assert "activity 2 is in lane north, and this is lane main" in told

    consumers = [two.consumer(name) for name in two.names]
    log_workers = [two.log_worker(name) for name in two.names]
    crowds = [two.load(name) for name in two.names]
    wait_until(lambda: min(two.decided()) > 300, 60, "both decide")
    # The consumers of one lane and the log worker of the other.
    for victim in (consumers[1], log_workers[0]):
        for process in victim.group():
            process.send_signal(signal.SIGKILL)
        victim.process.wait()
    two.consumer("north")
    two.log_worker("main")
    for crowd in crowds:
        ended = Ended(crowd)
        assert ended.code == 0, ended.output
    # In the wrong topic: nobody gets it, and it is counted.
    send(two.server.brokers, two.server.topic, [body(999_999, activity_id=2)])
    wait_until(lambda: two.decided() == [REQUESTS + 1, REQUESTS], 120, "both have decided all")
    assert [two.look(lane).no_such_activity for lane in two.names] == [1, 0]

    prove_sold_out(two)
    shown = two.listed()
    assert [(row["activities"], row["decided"]) for row in shown.values()] == [
        (1, REQUESTS + 1),
        (1, REQUESTS),
    ]
    address, password = place_and_password(two.urls["north"])
    assert shown["north"]["node"] == address
    assert password not in str(shown) + two.run("lanes")


def place_and_password(url: str) -> tuple[str, str]:
    """Of an address redis://:password@host:port/0."""
    user, _, place = url.removeprefix("redis://").partition("@")
    return place.partition("/")[0], user.rpartition(":")[2]


def prove_sold_out(two: Lanes) -> None:
    """Both lanes have sold all, and the audit is clean."""
    report = two.prove()
    assert report["units_sold"] == sum(UNITS.values())
    assert {lane: report["lanes"][lane]["units_sold"] for lane in two.names} == UNITS
    assert Record.objects.filter(activity_id=2).count() == UNITS["north"]


def test_one_parent_works_in_both_lanes_and_one_of_them_is_killed(two: Lanes) -> None:
    for lane in two.names:
        two.create(lane, UNITS[lane])
    told = two.run("run_consumer", "--lane", "all", "--stock", "1001:5", code=2)
    assert "--stock is of one lane, and this command works in main, north" in told
    assert "no lane 'nort'" in two.run("run_settler", "--lane", "main", "--lane", "nort", code=2)
    both, port = ("--lane", "main", "--lane", "north"), free_port()
    consumers = two.start(
        *("run_consumer", *both, "--status-interval", "0.5", "--session-timeout-ms", "6000"),
        *("--metrics-port", str(port)),
    )
    log_workers = two.start(
        *("run_log_worker", "--lane", "all", "--log-format", "json", "--status-interval", "1")
    )
    for lane in ("main", "north"):
        consumers.wait_for(rf"^{lane}: deciding", 60)
    crowds = [two.load(name) for name in two.names]
    with connect(two.urls["north"]) as north:
        wait_until(lambda: two.look("north").decided > 300, 60, "north decides")
        [parent] = [w for w in read_workers(north, Lane.named("north")) if w.kind is Kind.PARENT]
        os.kill(int(parent.id.rpartition(":")[2]), signal.SIGKILL)
        consumers.wait_for("lane north ended with code -9", 30)
        for crowd in crowds:
            ended = Ended(crowd)
            assert ended.code == 0, ended.output
        two.wait_for_all()
        wait_until(lambda: consumers.count("^north: deciding") == 2, 60, "north is there again")

        def beats() -> bool:
            seen = read_workers(north, Lane.named("north"))
            return any(w.kind is Kind.PARENT and w.id != parent.id for w in seen)

        wait_until(beats, 30, "its heart beats")
    assert two.run("healthy", "consumer", *both).count(" of consumer on ") == 2
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        shown = answer.read().decode()
    assert shown.count("# TYPE seckill_requests_total counter\n") == 1
    for lane in two.names:
        sold = f'activity="{two.activity(lane)}",lane="{lane}",outcome="ACCEPTED"'
        assert f"seckill_requests_total{{{sold}}} {UNITS[lane]}.0" in shown
        consumers.wait_for(rf"^{lane}: \[status\] .*1001", 30)
    assert consumers.count("^main: deciding") == 1
    assert {json.loads(line).get("lane") for line in log_workers.lines} == {None, "main", "north"}
    stop(consumers, log_workers)
    two.run("run_consumer", "--lane", "all", "--drain")
    prove_sold_out(two)


def test_a_lane_whose_redis_is_away_stops_no_other(two: Lanes) -> None:
    two.variables["SECKILL_LANE_NORTH_REDIS_URL"] = DEAD_REDIS
    two.run("run_consumer", "--stock", "1001:5", "--drain")
    send(two.server.brokers, two.server.topic, [body(n) for n in range(1, 6)])
    consumers = two.start("run_consumer", "--lane", "all", "--connect-timeout-s", "1")
    consumers.wait_for("^north: CommandError: Redis", 60)
    consumers.wait_for("lane north ended with code 3; .* the others go on", 10)
    two.run("run_log_worker", "--drain")
    two.run("wait", "--until", "sold-out", "--timeout-s", "60")
    # It was asked again.
    wait_until(lambda: consumers.count("lane north ended") > 1, 60, "it is started again")
    stop(consumers)
    # Nothing is left when each has ended by itself, and the code is that of the one that failed.
    told = two.run("run_log_worker", "--lane", "all", "--drain", "--connect-timeout-s", "1", code=3)
    assert "lane north: its lines say why" in told
    assert Record.objects.filter(activity_id=1).count() == 5
