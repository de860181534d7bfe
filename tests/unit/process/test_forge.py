"""What starts the tests' commands: each is a process of its own, as if Python had started it."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from seckill.config.layers import BASE_DIR
from seckill.process import exit_codes
from tests.helpers.forge import Forge, key_of

# Waits for a signal with an exit code of its own; says where it is and what it was given.
WAITING = """
import os, signal, sys
print(os.getpid() == os.getsid(0), os.getcwd(), sys.argv, os.environb[b"ODD"], flush=True)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
while True:
    signal.pause()
"""
# Its child has 200 MB for a moment.
LARGE = """
import subprocess, sys
subprocess.run([sys.executable, "-c", "bytes(range(1, 201)) * 1_048_576"], check=True)
"""
ODD = os.fsdecode(b"\xff\xe6\x8a\xa2")


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    return {**os.environ, "SECKILL_CONFIG": os.devnull, "PYTHONUNBUFFERED": "1", "ODD": ODD}


@pytest.fixture(scope="module")
def forge(environment: dict[str, str]) -> Iterator[Forge]:
    forge = Forge(environment, BASE_DIR)
    yield forge
    forge.close()


def test_a_command_says_its_words_and_its_exit_code(
    forge: Forge, environment: dict[str, str]
) -> None:
    running = [forge.start(words, environment) for words in (["nonsense"], ["version"])]
    wrong, right = [(command.communicate(60)[0], command.returncode) for command in running]
    assert wrong[1] == exit_codes.USAGE
    assert "Unknown command: 'nonsense'" in wrong[0]
    assert right == ("0.1.0\n", 0)


def test_it_is_a_process_of_its_own(
    forge: Forge, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    project = tmp_path_factory.mktemp("project")
    (project / "manage.py").write_text(WAITING)
    other = Forge(environment, project)
    commands = [other.start([ODD, str(n)], {"ODD": ODD}) for n in range(2)]
    for number, command in enumerate(commands):
        words = [str(project / "manage.py"), ODD, str(number)]
        told = f"True {project} {words!r} {os.fsencode(ODD)!r}\n"
        assert command.stdout.readline() == told
        assert command.poll() is None
    commands[0].terminate()
    os.killpg(commands[1].pid, signal.SIGKILL)
    assert [command.wait(60) for command in commands] == [7, -signal.SIGKILL]
    assert [command.communicate(60)[0] for command in commands] == ["", ""]
    other.close()


def test_the_memory_of_a_child_is_seen_however_short_it_lived(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "manage.py").write_text(LARGE)
    forge = Forge(environment, tmp_path)
    command = forge.start([], environment)
    assert (command.communicate(60)[0], command.returncode) == ("", 0)
    assert 200 <= command.peak_mb < 250
    forge.close()


def test_what_python_reads_at_its_start_tells_forges_apart() -> None:
    one = key_of({"PYTHONWARNINGS": "error", "LC_ALL": "C", "SECKILL_PORT": "1"})
    assert one == key_of({"PYTHONWARNINGS": "error", "LC_ALL": "C", "SECKILL_PORT": "2"})
    assert one != key_of({"PYTHONWARNINGS": "error", "LC_ALL": "C.UTF-8", "SECKILL_PORT": "1"})


def test_what_it_died_of_is_told(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    spoilt = tmp_path_factory.mktemp("spoilt")
    (spoilt / "yaml.py").write_text("raise ImportError('no yaml today')")
    forge = Forge({**environment, "PYTHONPATH": str(spoilt)}, BASE_DIR)
    with pytest.raises(RuntimeError, match="no yaml today"):
        forge.start(["version"], environment)
    forge.close()
