"""The services of one folder as a whole: up, down, status, and each one alone.

Owns the folder's lock, the order of steps, and for whom the services run. What a single server
needs is in its own module.

`up(owner_pid=...)` starts services that end with that process, however it ends. Services that were
already running keep running. A plain `up` makes everything that runs stay.
"""

import shutil
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from devstack import preflight
from devstack.certificates import keep_certificates
from devstack.endpoints import NAMES, DevstackError, Endpoints
from devstack.kafka import Kafka, settle_controllers
from devstack.lock import folder_lock
from devstack.postgres import Postgres
from devstack.process import Process, process_of
from devstack.service import Say, Service, ServiceStatus
from devstack.spawn import Record
from devstack.state import (
    State,
    keep_door_secrets,
    keep_secret_files,
    keep_site_key,
    read_endpoints,
)
from devstack.valkey import Valkey
from devstack.valkey_cluster import form_cluster, settle_cluster
from devstack.watch import start_watcher, stop_watchers

T = TypeVar("T")


def silent(_: str) -> None:
    """For callers that want no output."""


class Stack:
    """Kafka, Valkey and PostgreSQL of one folder. All methods raise DevstackError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    def up(
        self,
        say: Say = silent,
        *,
        wait_s: float = 90,
        owner_pid: int | None = None,
        ports: dict[str, int] | None = None,
        secured: bool = False,
        brokers: int = 0,
        masters: int = 0,
        replicas: int = 0,
    ) -> Endpoints:
        """Start what does not answer, and return the addresses of all three.

        wait_s: seconds for each server from its start to its first answer, without downloads.
        owner_pid: what this call starts ends with that process; None: it runs until `down`.
        ports: ports to use instead of free ones, by service name.
        secured, brokers, masters and replicas of a Valkey cluster: how a new folder is made; False
        and 0 take an old one as it is.
        """
        owner = None if owner_pid is None else _living(owner_pid)
        preflight.check_platform()
        preflight.check_user()
        preflight.check_folder(self.folder)
        with folder_lock(self.folder, say) as lock:
            state = State.load_or_make(
                *(self.folder,),
                secured=secured, brokers=brokers, masters=masters, replicas=replicas,
            )  # fmt: skip
            if state.copied:
                self._forget_processes(state)
            keep_site_key(self.folder)
            keep_door_secrets(self.folder)
            if state.secured:
                keep_certificates(self.folder)
                keep_secret_files(state)
            settle_controllers(state)
            services = _services_of(self.folder, state)
            if any(service.record() is None for service in services):
                preflight.check_disk(self.folder)
            for service in services:
                # Checked before anything starts, because a start may take half a minute.
                if service.name in (ports or {}) and service.record() is None:
                    state.settle_port(service.name, fixed=(ports or {})[service.name])
            if state.masters:
                settle_cluster(state, [s for s in services if s.record() is None], ports or {})
            if owner is not None:
                start_watcher(self.folder, owner, lock)
            self._ensure(services, _in_turn(say), lock, wait_s, owner, ports or {})
            if state.masters:
                form_cluster(state, say, wait_s)
            for service in services:
                record = service.record()
                # Without an owner the services stay. An owner that is gone owns nothing.
                if record and record.owner and (owner is None or not record.owner.alive()):
                    service.own(record, owner)
            endpoints = state.endpoints()
        if endpoints is None:
            raise DevstackError("the services run, but their ports are not known.")
        return endpoints

    def down(self, say: Say = silent, *, owner: Process | None = None) -> None:
        """Stop all that runs, or with `owner` only what runs for that process."""
        if not self.folder.is_dir():
            return
        with folder_lock(self.folder, say):
            if not self._is_copy():
                stop_watchers(self.folder, owner)
            running = [
                (service, record)
                for service in self._services()
                if (record := service.record()) and (owner is None or record.owner == owner)
            ]
            spoken = _in_turn(say)

            def stop(pair: tuple[Service, Record]) -> None:
                service, record = pair
                began = time.monotonic()
                service.stop(record)
                spoken(f"{service.name}: stopped in {time.monotonic() - began:.1f} s")

            _all_of(stop, running)
            for service in self._services() if owner is None else ():
                service.sweep()
            if not running:
                say("nothing to stop")

    def remove(self, say: Say = silent) -> None:
        """Stop everything and remove the folder with all data, and PostgreSQL's room elsewhere."""
        self.down(say)
        if not self.folder.is_dir():
            return
        with folder_lock(self.folder, say):
            state = State.load(self.folder)
            if state is not None:
                Postgres(self.folder, state).remove_data()
            shutil.rmtree(self.folder)
        say(f"removed {self.folder}")

    def status(self) -> list[ServiceStatus]:
        """The status of each service, by a real request."""
        services = self._services()
        if not services:
            return [ServiceStatus(name, "down", None, None, "never started") for name in NAMES]
        return [service.status() for service in services]

    def endpoints(self, command: str | None = None) -> Endpoints | None:
        """The addresses, None when the services were never up. They may be down.

        See `State.endpoints` for `command`.
        """
        return read_endpoints(self.folder, command)

    def start(self, name: str, say: Say = silent, *, wait_s: float = 90) -> None:
        """Start one service if it does not answer, with the owner that it had before."""
        with folder_lock(self.folder, say) as lock:
            service = self._service(name)
            before = None if service.state.copied else Record.read(service.record_file)
            owner = before.owner if before and before.owner and before.owner.alive() else None
            self._ensure([service], say, lock, wait_s, owner, {})

    def stop(self, name: str, say: Say = silent) -> None:
        """Stop one service as `down` does."""
        with folder_lock(self.folder, say):
            service = self._service(name)
            record = service.record()
            if record is not None:
                service.stop(record)

    def kill(self, name: str, sig: int = signal.SIGKILL) -> None:
        """Send a signal to one server's process; after SIGKILL wait until it is gone."""
        record = self._service(name).record()
        if record is None:
            raise DevstackError(f"{name} is not running.")
        record.process.signal(sig)
        if sig == signal.SIGKILL:
            record.process.gone_within(5)

    def pid(self, name: str) -> int | None:
        """The process id of one server, None when it is not running."""
        record = self._service(name).record()
        return None if record is None else record.process.pid

    def _is_copy(self) -> bool:
        state = State.load(self.folder)
        return state is not None and state.copied

    def _services(self) -> list[Service]:
        state = State.load(self.folder)
        return [] if state is None else _services_of(self.folder, state)

    def _service(self, name: str) -> Service:
        for service in self._services():
            if service.name == name:
                return service
        if name in NAMES:
            raise DevstackError(f"{self.folder}: the services were never started: `devstack up`.")
        raise DevstackError(f"no service {name!r}; there are {', '.join(NAMES)}.")

    def _ensure(
        self,
        services: list[Service],
        say: Say,
        lock: int,
        wait_s: float,
        owner: Process | None,
        ports: dict[str, int],
    ) -> None:
        """Start all at once. On cancel, or on failure with an owner, stop what was started."""
        cancelled = threading.Event()
        begun: list[Service] = []

        def ensure(service: Service) -> None:
            if service.ensure(
                say,
                lock=lock,
                wait_s=wait_s,
                owner=owner,
                fixed_port=ports.get(service.name),
                cancelled=cancelled,
            ):
                begun.append(service)

        try:
            _all_of(ensure, services, cancelled)
        except BaseException as wrong:
            if owner is not None or not isinstance(wrong, DevstackError):
                for service in begun:
                    record = service.record()
                    if record is not None:
                        service.stop(record)
            raise

    def _forget_processes(self, state: State) -> None:
        """Remove process files that were copied with the folder: they belong to the original."""
        for file in (*self.folder.glob("*/process.json"), *self.folder.glob("watch-*.json")):
            file.unlink()
        state.save()
        state.copied = False


def _services_of(folder: Path, state: State) -> list[Service]:
    nodes = [Kafka(folder, state, node) for node in range(1, state.brokers + 1)]
    valkeys = [Valkey(folder, state, name) for name in state.valkeys()]
    return [*nodes, *valkeys, Postgres(folder, state)]


def _living(pid: int) -> Process:
    found = process_of(pid)
    if found is None:
        raise DevstackError(f"there is no process {pid} that services could be started for.")
    return found


def _in_turn(say: Say) -> Say:
    """`say` for several threads, one line at a time."""
    guard = threading.Lock()

    def spoken(text: str) -> None:
        with guard:
            say(text)

    return spoken


def _all_of(
    work: Callable[[T], None], things: list[T], cancelled: threading.Event | None = None
) -> None:
    """Do the work for all at once; raise all failures in one DevstackError."""
    if not things:
        return
    with ThreadPoolExecutor(len(things)) as pool:
        try:
            futures = [pool.submit(work, thing) for thing in things]
            failures = [wrong for future in futures if (wrong := future.exception())]
        except BaseException:
            # After Ctrl-C the threads must not keep waiting.
            if cancelled is not None:
                cancelled.set()
            raise
    for failure in failures:
        if not isinstance(failure, DevstackError):
            raise failure
    if failures:
        raise DevstackError("\n".join(str(failure) for failure in failures))
