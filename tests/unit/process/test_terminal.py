"""Standard streams whose reader goes away."""

import os
import signal
import subprocess
import sys

import pytest

from seckill.config.layers import BASE_DIR

# Much more than a pipe holds.
LONG = "for n in range(200_000): sys.stdout.write('a line of text\\n')"
CLEANED = "try:\n  {}\nfinally:\n  sys.stderr.write('cleaned up\\n')"
IN_A_THREAD = (
    "import threading, time; go = threading.Thread(target=lambda: [sys.stdout.write('x' * 99)"
    " for n in range(99_999)]); go.start(); go.join(); sys.stdout.write('the end')"
)


def first_line(script: str, *, unread: str = "stdout") -> tuple[int, str]:
    """Exit code and the other stream of a script, of whose one stream a byte is read."""
    program = (
        "import sys; sys.argv=['manage.py']\n"
        "from seckill.process.streams import prepare, ReaderGone, end_as_unread\n"
        "prepare()\n"
        "try:\n" + "".join(f"  {line}\n" for line in script.splitlines()) + "except ReaderGone:\n"
        "  end_as_unread()\n"
    )
    return read_a_byte(["-c", program], unread)


def read_a_byte(arguments: list[str], unread: str) -> tuple[int, str]:
    """Exit code and the other stream of a Python, of whose one stream a byte is read."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=BASE_DIR,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": "1", "SECKILL_CONFIG": os.devnull},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    gone, kept = process.stdout, process.stderr
    if unread == "stderr":
        gone, kept = kept, gone
    gone.read(1)
    gone.close()
    with kept:
        text = kept.read().decode()
    return process.wait(60), text


@pytest.mark.parametrize("script", [LONG, IN_A_THREAD])
def test_the_process_ends_as_by_sigpipe_and_says_nothing(script: str) -> None:
    assert first_line(script) == (-signal.SIGPIPE, "")


def test_what_must_be_cleaned_up_is_cleaned_up() -> None:
    assert first_line(CLEANED.format(LONG)) == (-signal.SIGPIPE, "cleaned up\n")


def test_standard_error_without_a_reader_ends_nothing() -> None:
    script = LONG.replace("stdout", "stderr") + "\nsys.stdout.write('to the end')"
    assert first_line(script, unread="stderr") == (0, "to the end")


def test_a_command_whose_reader_goes_away_ends_so_too() -> None:
    dry = ["manage.py", "run_loadgen", "--dry-run", "100000"]
    assert read_a_byte(dry, "stdout") == (-signal.SIGPIPE, "")
