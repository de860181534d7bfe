"""The project's own workers as child processes, for `run_sale`.

Each is `manage.py` with its arguments, in its own session: Ctrl-C reaches only the parent, which
decides the order of the stop. When the parent is gone, however it ended, the pipe on a worker's
standard input closes, and the worker stops. Knows nothing of what the workers do.
"""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

# Seconds that a worker has for a clean stop.
STOP_S = 25.0


class Crew:
    """Workers by name, started in order and stopped in reverse order."""

    def __init__(self, project: Path, logs: Path, environment: dict[str, str]) -> None:
        self._project = project
        self.folder = logs
        self._environment = environment
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        self._arguments: dict[str, tuple[str, ...]] = {}
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, *arguments: str) -> None:
        """Start `manage.py` with these arguments; its output goes to `<name>.log`."""
        self._arguments[name] = arguments
        with self.log(name).open("ab") as log:
            self._workers[name] = subprocess.Popen(
                [sys.executable, "manage.py", *arguments, "--stop-with-stdin"],
                cwd=self._project,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def log(self, name: str) -> Path:
        """The file with a worker's output."""
        return self.folder / f"{name}.log"

    def ended(self) -> dict[str, int]:
        """{name: exit code} of workers that have ended on their own since the last call."""
        ended = {}
        for name, worker in list(self._workers.items()):
            code = worker.poll()
            if code is not None:
                ended[name] = code
                del self._workers[name]
        return ended

    def running(self) -> set[str]:
        """Names of the workers that run."""
        return {name for name, worker in self._workers.items() if worker.poll() is None}

    def pid(self, name: str) -> int:
        """A running worker's process id. Raises KeyError."""
        return self._workers[name].pid

    def restart(self, name: str) -> None:
        """Start a worker again as it was."""
        self.start(name, *self._arguments[name])

    def stop(self) -> None:
        """Stop all workers one after the other, the last one first."""
        for name, worker in reversed(list(self._workers.items())):
            if worker.poll() is None:
                worker.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    worker.wait(STOP_S)
            if worker.poll() is None:
                worker.kill()
                worker.wait()
            if worker.stdin is not None:
                worker.stdin.close()
            del self._workers[name]


def worker_environment(endpoints: dict[str, str]) -> dict[str, str]:
    """This process's environment with the embedded services' addresses."""
    return {**os.environ, **endpoints, "PYTHONUNBUFFERED": "1"}
