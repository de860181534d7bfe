"""The workers of two lanes, each with processes of its own, or all below one parent.

Both lanes sell at once, each is killed once, and both audits are clean.
"""

import json
import os
import signal
import urllib.request

import redis

from seckill.lane.client import connect
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane
from seckill.models import Record
from seckill.telemetry.heartbeats import Kind, read_workers
from tests.conftest import wait_until
from tests.faults.command import stop
from tests.faults.two_lanes import NORTH, REQUESTS, UNITS, TwoLanes
from tests.helpers.commands import DEAD_REDIS, Ended
from tests.helpers.messages import send
from tests.helpers.sale import body
from tests.helpers.servers import free_port


def test_two_lanes_sell_at_once_and_each_is_killed_once(
    two: TwoLanes, redis_client: "redis.Redis"
) -> None:
    two.run("activity", "create", "1", "--stock", f"1001:{UNITS[1]}")
    two.run("activity", "create", "2", "--stock", f"1001:{UNITS[2]}", "--lane", "north")
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

    flags = ("--status-interval", "0.5", "--session-timeout-ms", "6000")
    consumers = [two.start("run_consumer", *flags)]
    consumers.append(two.start("run_consumer", "--lane", "north", *flags))
    log_workers = [two.start("run_log_worker"), two.start("run_log_worker", "--lane", "north")]
    crowds = [two.load(1, "main"), two.load(2, "north")]
    with connect(two.variables["SECKILL_LANE_NORTH_REDIS_URL"]) as north:
        lanes = ((redis_client, Lane()), (north, NORTH))

        def decided() -> list[int]:
            return [read_lane(client, lane).decided for client, lane in lanes]

        wait_until(lambda: min(decided()) > 300, 60, "both decide")
        # The consumers of one lane and the log worker of the other.
        for victim in (consumers[1], log_workers[0]):
            for process in victim.group():
                process.send_signal(signal.SIGKILL)
            victim.process.wait()
        two.start("run_consumer", "--lane", "north", *flags)
        two.start("run_log_worker")
        for crowd in crowds:
            ended = Ended(crowd)
            assert ended.code == 0, ended.output
        # In the wrong topic: nobody gets it, and it is counted.
        send(two.server.brokers, two.server.topic, [body(999_999, activity_id=2)])
        wait_until(lambda: decided() == [REQUESTS + 1, REQUESTS], 120, "both have decided all")
        assert [read_lane(client, lane).no_such_activity for client, lane in lanes] == [1, 0]

    two.wait_for_all()
    two.prove()
    shown = json.loads(two.run("lanes", "--json"))["lanes"]
    assert [(row["lane"], row["activities"], row["decided"]) for row in shown] == [
        ("main", 1, REQUESTS + 1),
        ("north", 1, REQUESTS),
    ]
    password = two.variables["SECKILL_LANE_NORTH_REDIS_URL"].split("@")[0].rpartition(":")[2]
    assert password not in str(shown) + two.run("lanes")


def test_one_parent_works_in_both_lanes_and_one_of_them_is_killed(
    two: TwoLanes, redis_client: "redis.Redis"
) -> None:
    two.run("activity", "create", "1", "--stock", f"1001:{UNITS[1]}")
    two.run("activity", "create", "2", "--stock", f"1001:{UNITS[2]}", "--lane", "north")
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
    crowds = [two.load(1, "main"), two.load(2, "north")]
    with connect(two.variables["SECKILL_LANE_NORTH_REDIS_URL"]) as north:
        wait_until(lambda: read_lane(north, NORTH).decided > 300, 60, "north decides")
        [parent] = [w for w in read_workers(north, NORTH) if w.kind is Kind.PARENT]
        os.kill(int(parent.id.rpartition(":")[2]), signal.SIGKILL)
        consumers.wait_for("lane north ended with code -9", 30)
        for crowd in crowds:
            ended = Ended(crowd)
            assert ended.code == 0, ended.output
        two.wait_for_all()
    wait_until(lambda: consumers.count("^north: deciding") == 2, 60, "north is there again")
    assert two.run("healthy", "consumer", *both).count(" of consumer on ") == 2
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        shown = answer.read().decode()
    assert shown.count("# TYPE seckill_requests_total counter\n") == 1
    for lane, activity in (("main", 1), ("north", 2)):
        sold = f'activity="{activity}",lane="{lane}",outcome="ACCEPTED"'
        assert f"seckill_requests_total{{{sold}}} {UNITS[activity]}.0" in shown
        consumers.wait_for(rf"^{lane}: \[status\] .*1001", 30)
    assert consumers.count("^main: deciding") == 1
    assert {json.loads(line).get("lane") for line in log_workers.lines} == {None, "main", "north"}
    stop(consumers, log_workers)
    two.run("run_consumer", "--lane", "all", "--drain")
    two.prove()


def test_a_lane_whose_redis_is_away_stops_no_other(two: TwoLanes) -> None:
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
