"""`python devstack/bootstrap.py`: makes the virtual environment of this checkout, once.

It runs before anything is installed, with whatever Python the user has. So it uses only the
standard library, and nothing that an old Python cannot parse. It reports what cannot work before it
starts.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from typing import NoReturn

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(HERE, ".venv")
LOCK = os.path.join(HERE, "requirements.lock")
STAMP = os.path.join(VENV, "installed")
OLDEST = (3, 11)
# The environment takes 0.5 GB; the first start of the services takes as much again.
NEEDED_GB = 2
# What pip says when it reaches nobody.
NO_NETWORK = (
    "connection broken by",
    "(from versions: none)",
    "Could not connect to",
    "Cannot connect to proxy",
    "Temporary failure in name resolution",
    "Network is unreachable",
)


def fail(message: str) -> NoReturn:
    """End with one message for a person."""
    sys.exit("setup: " + message)


def check() -> None:
    """Exit with a message if the setup cannot work here."""
    if sys.version_info < OLDEST:
        fail(
            "Python %d.%d or later is needed, this is %s.\n"
            "Name another one: make run PYTHON=python3.11" % (OLDEST + (platform.python_version(),))
        )
    sys.path.insert(0, HERE)
    from devstack import endpoints, preflight

    try:
        preflight.check_platform()
    except endpoints.DevstackError as wrong:
        fail(str(wrong))
    if not os.access(HERE, os.W_OK):
        fail("%s cannot be written to; make a copy of the project that is yours." % HERE)
    free = shutil.disk_usage(HERE).free / 1e9
    if free < NEEDED_GB:
        fail("%.1f GB are free here, %d GB are needed." % (free, NEEDED_GB))


def wanted() -> str:
    """The stamp of an up-to-date environment: the Python version and a hash of the lock file."""
    with open(LOCK, "rb") as lock:
        return "%s %s" % (sys.version_info[:2], hashlib.sha256(lock.read()).hexdigest())


def installed() -> bool:
    """Whether the environment is up to date."""
    try:
        with open(STAMP) as stamp:
            return stamp.read() == wanted()
    except OSError:
        return False


def unreachable(output: str) -> bool:
    """Whether a step failed because it reached nobody."""
    return any(sign in output for sign in NO_NETWORK)


def run(*command: str) -> None:
    """Run a step; its output is shown only when it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0 and unreachable(done.stdout):
        fail(
            "no network or no proxy: the package index cannot be reached. Setup needs it once.\n"
            "Behind a proxy set HTTPS_PROXY; behind a mirror name it in PIP_INDEX_URL."
        )
    if done.returncode != 0:
        tail = "\n  ".join(done.stdout.strip().splitlines()[-12:])
        fail("`%s` failed:\n  %s" % (" ".join(command[:4]), tail))


def main() -> None:
    """Make the environment, unless it is up to date."""
    if installed():
        return
    check()
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        fail("this Python has no venv module; on Debian or Ubuntu: apt install python3-venv")
    began = time.monotonic()
    if os.path.islink(VENV):
        fail(".venv is a link, and setup would empty what it points to; remove the link")
    print("setup: installing the locked dependencies into .venv (once, about a minute)", flush=True)
    run(sys.executable, "-m", "venv", "--clear", VENV)
    python = os.path.join(VENV, "bin", "python")
    run(
        *(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--no-input", "--require-hashes", "-r", LOCK),
    )
    with open(STAMP, "w") as stamp:
        stamp.write(wanted())
    print("setup: done in %.0f s" % (time.monotonic() - began), flush=True)


if __name__ == "__main__":
    main()
