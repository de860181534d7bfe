"""Each command that README or docs show is run here, as it stands there, or listed with a reason.

One set of services, which the README's own tutorial starts and ends.
"""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from devstack.stack import Stack
from seckill.config.layers import BASE_DIR
from tests.helpers.servers import free_port
from tests.helpers.shown_commands import Shell, commands, plain, script

README = (BASE_DIR / "README.md").read_text(encoding="utf-8")
CHINESE = (BASE_DIR / "README.zh-CN.md").read_text(encoding="utf-8")
PAGES = [BASE_DIR / "README.md", BASE_DIR / "README.zh-CN.md", BASE_DIR / "CONTRIBUTING.md"]
PAGES += sorted((BASE_DIR / "docs").rglob("*.md"))

# They change the sale, so they run one after the other.
ACTS = [
    "manage.py activity set 1 --user-limit 2",
    "manage.py activity set 1 --opens-at 2026-11-11T20:00+08:00",
    "manage.py set_stock 1001:10",
    "manage.py add_stock 1001:5",
    "manage.py add_stock 1001:10",
    "manage.py pause",
    "manage.py resume",
    "manage.py finish",
    "manage.py reopen",
    "manage.py sync_from_db",
    "manage.py activity create --stock 1001:10",
    "manage.py set_stock 1001:1000 --activity-id 2",
    "manage.py activity set 1 --hold 600",
    'manage.py activity create --name "First sale" --hold 600 --stock 1001:5',
    "manage.py dead_letters replay --requests",
    "manage.py dead_letters replay --settlements",
    "manage.py dead_letters replay --records --yes",
    """manage.py dead_letters dismiss --unreadable --note "the old program's\"""",
    "manage.py recover --apply",
    "manage.py recover --apply --from-kafka",
    "manage.py recover --apply --accept-oversell",
]
# They only look, so they run beside each other.
LOOKS = [
    "manage.py activity list",
    "manage.py activity show 1",
    "manage.py activity show N",
    "manage.py audit",
    "manage.py audit --all",
    "manage.py audit --kafka",
    "manage.py audit --kafka --json",
    "manage.py config_reference",
    "manage.py dead_letters list",
    "manage.py dead_letters show SOURCE:PARTITION:OFFSET",
    "manage.py devstack env",
    "manage.py devstack status",
    "manage.py lanes",
    "manage.py recover",
    "manage.py recover --from-kafka",
    "manage.py report",
    "manage.py report --output sale.html",
    "manage.py run_loadgen --list-profiles",
    "manage.py status",
    "manage.py status --json",
    "manage.py status --once",
    "make help",
]
# They run until they are told to stop. The words that show that they do their work.
SERVING = {
    "manage.py audit --watch 5": "clean",
    "manage.py run_consumer": "assigned partitions",
    "manage.py run_consumer --stock 1001:100,1002:50 --consumers 2": "assigned partitions",
    "manage.py run_loadgen": "sent",
    "manage.py run_loadgen --rate 20000 --user-count 200000": "sent",
    "manage.py run_events": "publishing",
    "manage.py run_log_worker": "log worker",
    "manage.py run_settler": "assigned partitions",
}
WEB = "manage.py run_control_api"
CALLS = [
    'curl -H "X-API-Key: $KEY" localhost:3000/status',
    """curl -H "X-API-Key: $KEY" localhost:3000/set_stock -d '{"value": {"1001": 10}}'""",
    'curl -H "X-API-Key: $KEY" -X POST localhost:3000/finish_activity',
    'curl -H "X-API-Key: $KEY" -X POST localhost:3000/sync_from_db',
]
ACCOUNTS = ["manage.py create_admin", "manage.py create_api_key NAME"]


def _commands_of(script: str) -> list[str]:
    return commands(f"```sh\n{script}\n```\n")


def _in_english(text: str) -> str:
    return text.replace("第一场", "First sale")


TUTORIAL = _commands_of(script(README, "Your first sale"))

# Only named, without what they need to run: above they stand whole.
MENTIONED = {
    "manage.py run_consumer --stock",
    "manage.py activity create",
    "manage.py activity set",
    "manage.py activity show",
    "manage.py audit --watch",
    "manage.py dead_letters replay",
}
# What begins so is not run here, and why.
NOT_RUN = {
    "make ": "targets have a job of their own in CI, or are what runs this test",
    "python -m pytest": "runs tests, as this is one",
    "python -m tests.helpers.orders_at_scale": "ten million rows: minutes and gigabytes",
    "python -m tests.helpers.seasons_at_scale": "the same",
    "manage.py run_loadgen --http": "needs a door: tests/integration/loadgen/test_loadgen_http.py",
    "manage.py compare_answers": "needs the answers of a run at a door: the same file",
    "manage.py bench": "starts services of its own, minutes: tests/integration/bench",
    "manage.py runserver": "Django's own; the same pages as run_control_api",
    "manage.py run_loadgen --profile": "a rehearsal, minutes",
    "manage.py run_loadgen --requests": "a measurement: run by hand for the figures beside it",
    "manage.py run_loadgen --processes": "minutes on several cores: tests/integration/loadgen",
    "manage.py run_consumer --drain-limit-s": "a mention: test_commands has it",
    "manage.py run_settler --drain-limit-s": "a mention: as run_consumer's",
    "manage.py wait": "for scripts: test_json has it",
    "manage.py healthy": "needs a worker on this host: integration/telemetry/test_healthy has it",
    "manage.py seasons": "changes the table of orders for good: faults/test_seasons",
    "kafka-topics.sh ": "Kafka's own: makes a topic",
    "helm ": "needs a cluster: tests/chart renders what it would install",
    "manage.py dead_letters dismiss": "needs an overlap: test_two_masters, test_dead_letters",
    "st run": "the contract fuzzer takes minutes: test_contract runs its phases",
    "curl -H \"X-API-Key: $KEY\" localhost:3000/v1/activities -d": "test_create_on_sale has it",
    "manage.py create_api_key": "asks for a name: test_control_commands has it",
    "manage.py run_sale --sandbox": "serves until Ctrl-C: test_run_sale",
    "manage.py create_buyer_token": "needs a key of the shop: test_create_buyer_token has it",
    "manage.py report --language": "test_report has both languages",
    "manage.py run_webhooks": "needs an address of the shop: test_webhooks runs it",
    "manage.py run_door": "needs secrets of the shop: test_door runs it",
    "psql ": "PostgreSQL's own program: test_backups",
    "pg_": "PostgreSQL's own programs: test_backups",
    "redis-cli ": "Redis's own program: test_backups",
    "systemctl ": "no systemd here: test_systemd, test_backups",
    "systemd-analyze ": "test_systemd",
    "tar ": "test_backups",
    "docker ": "no engine here: test_compose, test_image",
    "kcat ": "another project's program",
    "kafka-transactions.sh ": "Kafka's own, against a producer that hangs",
    "kafka-acls.sh ": "Kafka's own; integration/secured gives the same rights",
    "manage.py run_events --from-now": "the first start of a publisher: test_publisher has it",
    "manage.py devstack up --": "services of its own: integration/secured, faults/test_brokers",
    'eval "$(manage.py devstack env --for': "needs such services: integration/secured",
    "manage.py activity create 1 --lane": "needs a lane in the file: integration/lanes",
    "manage.py activity create --lane": "needs a lane in the file: integration/lanes",
    "manage.py run_loadgen --lane": "needs a lane in the file: faults/test_lanes",
    "manage.py run_loadgen --split": "needs a split sale: integration/lanes/test_split_load",
    "manage.py run_consumer --lane": "needs a lane in the file: faults/test_lanes",
    "manage.py run_log_worker --lane": "needs a lane in the file: faults/test_lanes",
    "manage.py activity split": "needs a lane in the file: faults/test_split",
    "manage.py activity balance": "needs a split sale: faults/test_split",
    "manage.py run_sale --lanes": "starts services of its own: integration/demo",
}  # fmt: skip

NO_REQUEST = """
import os; from confluent_kafka import Producer
to = Producer({"bootstrap.servers": os.environ["SECKILL_BROKERS"]})
to.produce("seckill_requests", "x", partition=0); to.flush()
"""


def shown() -> dict[str, str]:
    """{command: the page that shows it}."""
    return {
        command: page.relative_to(BASE_DIR).as_posix()
        for page in PAGES
        for command in commands(_in_english(page.read_text(encoding="utf-8")))
    }


def test_every_command_is_run_or_listed() -> None:
    run = {plain(c) for c in (*TUTORIAL, *ACTS, *LOOKS, *SERVING, WEB, *CALLS, *ACCOUNTS)}
    found = {c: page for c, page in shown().items() if c not in MENTIONED}
    left = {c: page for c, page in found.items() if c not in run and not c.startswith((*NOT_RUN,))}
    assert not left, "\n".join(f"{page}: {c}" for c, page in left.items())
    assert [c for c in run if c not in found] == [], "run, and shown nowhere"
    assert [c for c in NOT_RUN if not any(f.startswith(c) for f in found)] == [], "shown nowhere"


def test_the_check_can_fail() -> None:
    text = "`manage.py recover --apply` `recover --now` `recover`\n\n    curl -X \\\n      a  # b\n"
    text += "    python - <<'END'\n    make this\n    END\n\n```sh\ncd x && psql -c y &\n```\n"
    wanted = ["psql -c y", "curl -X a", "python - <<'END'"]
    assert commands(text) == [*wanted, "manage.py recover --apply", "manage.py recover --now"]


def test_both_readmes_show_the_same_first_sale() -> None:
    ours, theirs = TUTORIAL, _commands_of(script(CHINESE, "第一场自己的秒杀"))
    assert [c for c in ours if c[:8] != "python -"] == [_in_english(c) for c in theirs]


@pytest.fixture(scope="module")
def first_sale(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shell, str]]:
    """A shell in which the README's first sale has been gone through, and what it said."""
    folder = tmp_path_factory.mktemp("reader")
    shell = Shell(folder, SECKILL_DEVSTACK=str(folder / "the services"))
    *lines, last = script(README, "Your first sale").rstrip().splitlines()
    assert plain(last) == "manage.py devstack down"
    try:
        code, said = shell.run("\n".join(lines))
        assert code == 0, said
        shell.keep(shell.run("manage.py devstack env")[1])
        yield shell, said
        assert shell.run(last)[0] == 0
    finally:
        Stack(folder / "the services").remove()


def test_the_first_sale_says_what_the_readme_says(first_sale: tuple[Shell, str]) -> None:
    _, said = first_sale
    for line in script(README, "Your first sale").splitlines():
        claim = re.search(r"  # ((?:accepted|stored|clean).*)", line)
        for words in claim[1].split(", ") if claim else ():
            assert words in said


def test_acts(first_sale: tuple[Shell, str]) -> None:
    shell, _ = first_sale
    for act in ACTS:
        _must(shell, act)


def test_calls_of_the_api(first_sale: tuple[Shell, str]) -> None:
    shell, _ = first_sale
    key = [_must(shell, account) for account in ACCOUNTS][-1].split()[-1]
    shell.environment |= {"KEY": key, "SECKILL_PORT": str(free_port())}
    _serves(shell, WEB, "admin ", CALLS)


def test_workers(first_sale: tuple[Shell, str]) -> None:
    shell, _ = first_sale
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda each: _serves(shell, *each), SERVING.items()))


def test_looks(first_sale: tuple[Shell, str]) -> None:
    shell, _ = first_sale
    # A message that is no request: there is something parked to be looked at.
    _must(shell, f".venv/bin/python -c '{NO_REQUEST}' && manage.py run_consumer --drain")
    origin = re.search(r"[\w-]{36}:0:\d+", _must(shell, "manage.py dead_letters list"))
    assert origin
    places = {"SOURCE:PARTITION:OFFSET": origin[0], " N": " 1"}
    looks = [re.sub("|".join(places), lambda m: places[m[0]], look) for look in LOOKS]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda look: _must(shell, look), looks))
    assert "</html>" in (shell.place / "sale.html").read_text(encoding="utf-8")


def _must(shell: Shell, command: str) -> str:
    code, said = shell.run(command)
    assert code == 0, f"{command}\n{said}"
    assert "Traceback" not in said, f"{command}\n{said}"
    return said


def _serves(shell: Shell, command: str, words: str, calls: list[str] | None = None) -> None:
    """It comes to its work, answers these calls, and ends well when it is told to."""
    process = shell.start(f"exec {command}")
    said: list[str] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if words in line:
                break
        for call in calls or ():
            at = call.replace("localhost:3000", f"127.0.0.1:{shell.environment['SECKILL_PORT']}")
            _must(shell, at.replace("curl ", "curl --silent --show-error --fail ", 1))
    finally:
        process.send_signal(signal.SIGINT)
        try:
            said.append(process.communicate(timeout=120)[0])
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
    assert words in "".join(said), f"{command}\n{''.join(said)}"
    assert process.returncode == 0, f"{command}\n{''.join(said)}"
