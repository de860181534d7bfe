"""The embedded services themselves: real servers, real signals, in a folder of the test's own.

Nothing here uses the stack that the other tests share: these tests kill servers.
"""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from redis.backoff import NoBackoff
from redis.retry import Retry

from devstack import preflight
from devstack.endpoints import NAMES, DevstackError, Endpoints
from devstack.kafka import Kafka
from devstack.service import ServiceStatus
from devstack.stack import Stack
from devstack.state import PORT_RANGE, State, read_endpoints
from devstack.valkey import Valkey

PROJECT = Path(__file__).resolve().parents[3]
ANSWER_S = 80


def wait_until(predicate: Callable[[], bool], timeout: float, what: str) -> None:
    limit = time.monotonic() + timeout
    while not predicate():
        assert time.monotonic() < limit, f"not within {timeout} s: {what}"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Three running services, below a folder with a space in its name."""
    own = Stack(tmp_path_factory.mktemp("a sale") / ".devstack")
    try:
        # Two commands at the same moment: one starts, the other finds everything running.
        said: list[str] = []
        ups = [threading.Thread(target=own.up, args=[said.append]) for _ in range(2)]
        for each in ups:
            each.start()
        for each in ups:
            each.join()
        assert sum(" up on 127.0.0.1" in line and "already" not in line for line in said) == 3, said
        assert sum("already up" in line for line in said) == 3, said
        yield own
    finally:
        own.remove()
    assert not own.folder.exists()


@pytest.fixture(scope="module")
def addresses(own: Stack) -> Endpoints:
    found = own.endpoints()
    assert found is not None
    return found


def pids(own: Stack) -> dict[str, int]:
    found = {name: own.pid(name) for name in NAMES}
    assert None not in found.values(), found
    return {name: pid for name, pid in found.items() if pid}


def states(own: Stack) -> dict[str, str]:
    return {each.name: each.state for each in own.status()}


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def at_work_below(folder: Path) -> list[psutil.Process]:
    """Living processes that work in this folder, or that have it on their command line."""
    found = []
    for each in psutil.process_iter():
        try:
            below = each.cwd().startswith(str(folder)) or str(folder) in " ".join(each.cmdline())
            if below and each.pid != os.getpid() and each.status() != psutil.STATUS_ZOMBIE:
                found.append(each)
        except psutil.Error:
            continue
    return found


class KafkaMark:
    """A message in a topic of its own, written before a fault and read after it."""

    def __init__(self, addresses: Endpoints) -> None:
        self.client: dict[str, str | int | float | bool] = {"bootstrap.servers": addresses.brokers}

    def write(self, value: str) -> None:
        admin = AdminClient(self.client)
        for made in admin.create_topics([NewTopic(value, 1, 1)]).values():
            made.result(ANSWER_S)
        producer = Producer(self.client)
        producer.produce(value, value.encode(), partition=0)
        assert producer.flush(ANSWER_S) == 0

    def read(self, value: str) -> str | None:
        consumer = Consumer(self.client | {"group.id": value, "enable.auto.commit": False})
        try:
            consumer.assign([TopicPartition(value, 0, 0)])
            message = consumer.poll(ANSWER_S)
            body = None if message is None or message.error() else message.value()
            return None if body is None else body.decode()
        finally:
            consumer.close()


class ValkeyMark:
    def __init__(self, addresses: Endpoints) -> None:
        self.url = addresses.redis_url

    def write(self, value: str) -> None:
        with redis.Redis.from_url(self.url) as client:
            client.set("mark", value)

    def read(self, value: str) -> str | None:
        with redis.Redis.from_url(self.url, decode_responses=True) as client:
            found = client.get("mark")
            assert found is None or isinstance(found, str)
            return found


class PostgresMark:
    def __init__(self, addresses: Endpoints) -> None:
        self.dsn = addresses.pg_dsn

    def write(self, value: str) -> None:
        with psycopg.connect(self.dsn) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS mark (value text)")
            connection.execute("INSERT INTO mark VALUES (%s)", [value])

    def read(self, value: str) -> str | None:
        with psycopg.connect(self.dsn) as connection:
            row = connection.execute("SELECT value FROM mark WHERE value = %s", [value]).fetchone()
            return None if row is None else row[0]


MARKS: dict[str, Callable[[Endpoints], KafkaMark | ValkeyMark | PostgresMark]] = {
    "kafka": KafkaMark,
    "valkey": ValkeyMark,
    "postgres": PostgresMark,
}


def test_up_again_changes_nothing(own: Stack, addresses: Endpoints) -> None:
    before = pids(own)
    assert own.up() == addresses
    assert pids(own) == before
    assert states(own) == dict.fromkeys(NAMES, "up")


def test_ports_keep_out_of_the_way_of_outgoing_connections(own: Stack) -> None:
    ports = State.load_or_make(own.folder).ports.values()
    assert len(set(ports)) == 4
    assert all(PORT_RANGE[0] <= port <= PORT_RANGE[1] for port in ports)


def test_listens_on_loopback_alone(own: Stack) -> None:
    for name, pid in pids(own).items():
        listening = [
            each.laddr.ip
            for each in psutil.Process(pid).net_connections()
            if each.status == "LISTEN"
        ]
        assert listening, name
        assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}, name


def test_passwords_are_asked_for_and_kept_private(own: Stack, addresses: Endpoints) -> None:
    state = State.load_or_make(own.folder)
    with (
        redis.Redis(port=state.ports["valkey"], retry=Retry(NoBackoff(), 0)) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()
    wrong = addresses.pg_dsn.replace(state.passwords["postgres"], "wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)
    for secret in state.passwords.values():
        assert secret not in repr(addresses)
        for process in at_work_below(own.folder):
            assert secret not in " ".join(process.cmdline())
    for file in ("state.json", "valkey/valkey.conf"):
        assert stat.S_IMODE((own.folder / file).stat().st_mode) == 0o600


def test_durable_settings(addresses: Endpoints) -> None:
    with redis.Redis.from_url(addresses.redis_url, decode_responses=True) as client:
        settings = client.config_get("append*", "save", "maxmemory-policy")
    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "always"
    assert settings["maxmemory-policy"] == "noeviction"
    with psycopg.connect(addresses.pg_dsn) as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
            assert connection.execute(f"SHOW {setting}").fetchone() == ("on",)


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_server_is_seen_and_repaired_with_its_data(
    own: Stack, addresses: Endpoints, name: str
) -> None:
    before = pids(own)
    mark = MARKS[name](addresses)
    mark.write(f"kept-{name}")

    own.kill(name)
    assert is_gone(before[name])
    assert states(own) == dict.fromkeys(NAMES, "up") | {name: "down"}
    assert own.pid(name) is None

    # The same addresses: clients come back by themselves.
    assert own.up() == addresses
    after = pids(own)
    assert {each for each in NAMES if after[each] != before[each]} == {name}
    assert mark.read(f"kept-{name}") == f"kept-{name}"


def test_a_server_that_hangs_is_not_called_up(own: Stack) -> None:
    own.kill("valkey", signal.SIGSTOP)
    try:
        assert states(own)["valkey"] == "not answering"
    finally:
        own.kill("valkey", signal.SIGCONT)
    wait_until(lambda: states(own)["valkey"] == "up", ANSWER_S, "valkey answers again")


def test_another_port_when_the_remembered_one_was_taken(own: Stack, addresses: Endpoints) -> None:
    mark = ValkeyMark(addresses)
    mark.write("moves along")
    port = State.load_or_make(own.folder).ports["valkey"]
    own.stop("valkey")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        with pytest.raises(DevstackError, match=f"port {port} .* is taken"):
            own.up(ports={"valkey": port})
        own.start("valkey")
    moved = own.endpoints()
    assert moved is not None
    assert moved.redis_url != addresses.redis_url
    assert ValkeyMark(moved).read("") == "moves along"
    own.stop("valkey")
    assert own.up(ports={"valkey": port}) == addresses


def test_a_start_that_fails_says_why(own: Stack) -> None:
    own.stop("valkey")
    manifest = own.folder / "valkey/data/appendonlydir/appendonly.aof.manifest"
    good = manifest.read_text()
    manifest.write_text("nonsense\n")
    try:
        with pytest.raises(DevstackError, match="ended while starting") as caught:
            own.up()
        assert str(own.folder / "valkey/valkey.log") in str(caught.value)
        assert "AOF manifest" in str(caught.value)
        assert states(own) == dict.fromkeys(NAMES, "up") | {"valkey": "down"}
    finally:
        manifest.write_text(good)
        own.up()


def test_a_copy_of_the_folder_is_another_stack(own: Stack, tmp_path: Path) -> None:
    before = pids(own)
    copy = Stack(tmp_path / "copy")
    # What tells of processes and ports, without the data.
    copy.folder.mkdir()
    shutil.copy(own.folder / "state.json", copy.folder)
    for name in NAMES:
        (copy.folder / name).mkdir()
        shutil.copy(own.folder / name / "process.json", copy.folder / name)
    assert states(copy) == dict.fromkeys(NAMES, "down")
    copy.down()
    assert pids(own) == before


def test_command(own: Stack, addresses: Endpoints) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "manage.py", "devstack", *arguments]
        command += ["--folder", str(own.folder)]
        return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)

    printed = run("env").stdout
    shell = subprocess.run(
        ["/bin/sh", "-c", f'{printed}\nprintf %s "$SECKILL_PG_DSN"'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shell.stdout == addresses.pg_dsn
    assert run("status").returncode == 0
    own.kill("valkey")
    seen = run("status")
    assert seen.returncode == 1
    assert "valkey    down" in seen.stdout
    repaired = run("up")
    assert repaired.returncode == 0, repaired.stderr
    assert states(own)["valkey"] == "up"


OWNER = """
import os, sys, time
from pathlib import Path
from devstack.stack import Stack
print(Stack(Path(sys.argv[1])).up(owner_pid=os.getpid()).brokers, flush=True)
time.sleep(600)
"""


def test_the_death_of_the_owner_ends_what_ran_for_it(own: Stack, tmp_path: Path) -> None:
    ours = pids(own)
    other = Stack(tmp_path / "owned by a process" / ".devstack")
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, other.folder], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    ) as owner:
        try:
            assert owner.stdout is not None
            brokers = owner.stdout.readline().strip()
            theirs = pids(other)
            # Two stacks side by side, in nobody's way.
            assert brokers == getattr(other.endpoints(), "brokers", None)
            assert not set(theirs.values()) & set(ours.values())

            owner.kill()
            owner.wait()
            wait_until(lambda: all(map(is_gone, theirs.values())), 120, "the servers end")
            wait_until(lambda: not at_work_below(other.folder), 120, "nothing is left running")
            assert states(other) == dict.fromkeys(NAMES, "down")
            assert pids(own) == ours
        finally:
            owner.kill()
            other.remove()


def test_what_ran_before_survives_a_later_owner(own: Stack) -> None:
    before = pids(own)
    own.kill("valkey")
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    with subprocess.Popen(sleeper) as owner:
        own.up(owner_pid=owner.pid)
        valkey = pids(own)["valkey"]
        owner.kill()
    wait_until(lambda: is_gone(valkey), 120, "the one that it started ends")
    assert own.pid("kafka") == before["kafka"]
    assert own.pid("postgres") == before["postgres"]
    own.up()


def test_unsupported_machine_names_the_other_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(preflight.platform, "system", lambda: "Windows")
    with pytest.raises(DevstackError, match=r"no embedded services for Windows.*docker compose up"):
        Stack(tmp_path / "no").up()
    assert not (tmp_path / "no").exists()


def test_full_disk_is_said_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(
        preflight.shutil, "disk_usage", lambda _: usage._replace(free=1_500_000_000)
    )
    with pytest.raises(DevstackError, match=r"too full: 1\.5 GB free, 2\.0 GB needed"):
        Stack(tmp_path / "full").up()
    assert states(Stack(tmp_path / "full")) == dict.fromkeys(NAMES, "down")


def test_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DevstackError, match="cannot be used for the services' data"):
        Stack(tmp_path / "file" / "below").up()


def test_endpoints_of_a_folder_that_has_none(tmp_path: Path) -> None:
    assert read_endpoints(tmp_path / "nothing") is None
    (tmp_path / "state.json").write_text("{")
    assert read_endpoints(tmp_path) is None
    with pytest.raises(DevstackError, match=r"state\.json is spoilt"):
        Stack(tmp_path).status()


def test_core_needs_no_django() -> None:
    program = (
        "import sys, devstack.stack, devstack.watcher\n"
        "assert not [name for name in sys.modules if name.split('.')[0] == 'django']\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=True)


def test_down_leaves_no_process_and_keeps_the_addresses(own: Stack, addresses: Endpoints) -> None:
    running = pids(own)
    own.down()
    assert all(is_gone(pid) for pid in running.values())
    wait_until(lambda: not at_work_below(own.folder), 60, "nothing is left running")
    assert states(own) == dict.fromkeys(NAMES, "down")
    assert own.endpoints() == addresses
    said: list[str] = []
    own.down(said.append)
    assert said == ["nothing to stop"]
    with pytest.raises(DevstackError, match="kafka is not running"):
        own.kill("kafka")


def test_status_of_a_server_that_is_not_there(tmp_path: Path) -> None:
    state = State(tmp_path, {"kafka": 1, "valkey": 1}, {"valkey": "x"})
    for service in (Kafka(tmp_path, state), Valkey(tmp_path, state, "valkey")):
        assert service.status() == ServiceStatus(service.name, "down", None, 1, "")
