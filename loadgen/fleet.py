"""One load from several processes, for rates that one process cannot send.

Owns the processes and their common start. Each sends its share of the requests at their intended
times and counts them; `loadgen.report` adds the counts up. If a process dies, the others go on, and
the report says so.
"""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from loadgen.buyers import Kind
from loadgen.parts import Targets, open_targets
from loadgen.plan import Load
from loadgen.report import Lateness, Report, Tally, report_of
from loadgen.sender import FLUSH_STOPPED_S, LEAD_S, PROGRESS_S, Progress, Stop, send
from seckill.config.sections import Client
from seckill.errors import BrokerAway
from seckill.process.exit_codes import SECOND_SIGNAL
from seckill.process.shutdown import Shutdown, leave_ctrl_c_to_the_parent, start_child
from seckill.process.streams import prepare

NOTHING = Progress(0.0, 0, 0, 0, 0, 0, False, "")
READY = "ready"


@dataclass
class _Sender:
    """A process and its messages so far: READY, Progress a few times per second, its Tally.

    Any other text is the reason why it cannot start.
    """

    process: BaseProcess
    pipe: Connection
    progress: Progress = NOTHING
    tally: Tally | None = None
    ready: bool = False
    asked_to_stop: bool = False

    def listen(self) -> None:
        """Receive its next message. If the process is gone, its last message counts."""
        try:
            told = self.pipe.recv()
        except EOFError:
            self.process.join()
            self.tally = _tally_of_the_dead(self.progress, self.process.exitcode)
            return
        if isinstance(told, Tally):
            self.tally = told
        elif isinstance(told, Progress):
            self.progress = told
        elif told == READY:
            self.ready = True
        else:
            raise BrokerAway(told)


def run(
    client: Client,
    load: Load,
    processes: int,
    shutdown: Stop,
    on_progress: Callable[[Progress], None],
    targets: Targets | None = None,
) -> Report:
    """Send a load from several processes, as `sender.run` does. `client.topic` must exist.

    Raises BrokerAway if a process cannot reach Kafka at the start; nothing was sent then.
    """
    context = multiprocessing.get_context("spawn")
    senders: list[_Sender] = []
    try:
        for part in range(processes):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_work,
                args=(client, load.share(part, processes), theirs, targets),
                name=f"buyers-{part + 1}",
                daemon=True,
            )
            start_child(process)
            theirs.close()
            senders.append(_Sender(process, ours))
        _listen_until(senders, lambda s: s.ready or s.tally is not None, shutdown)
        # In the future, so that the message reaches all processes before it.
        start_at = time.time() + LEAD_S
        for sender in senders:
            if sender.tally is None:
                sender.pipe.send(start_at)
        told = -PROGRESS_S

        def tell() -> None:
            nonlocal told
            if time.monotonic() - told >= PROGRESS_S:
                on_progress(_sum([s.progress for s in senders], load.requests))
                told = time.monotonic()

        _listen_until(senders, lambda s: s.tally is not None, shutdown, tell)
        on_progress(_sum([s.progress for s in senders], load.requests))
    finally:
        for sender in senders:
            sender.process.terminate()
            sender.pipe.close()
        for sender in senders:
            sender.process.join(2 * FLUSH_STOPPED_S)
            sender.process.kill()
    return report_of(load, client.topic, [s.tally for s in senders if s.tally is not None])


def _listen_until(
    senders: Sequence[_Sender],
    done: Callable[[_Sender], bool],
    shutdown: Stop,
    tell: Callable[[], None] = lambda: None,
) -> None:
    while waited := {s.pipe: s for s in senders if not done(s)}:
        for pipe in multiprocessing.connection.wait(list(waited), PROGRESS_S):
            waited[pipe].listen()  # type: ignore[index]
        tell()
        for sender in senders if shutdown.requested else ():
            if not sender.asked_to_stop:
                sender.process.terminate()
                sender.asked_to_stop = True


def _sum(parts: Sequence[Progress], total: int) -> Progress:
    return Progress(
        elapsed_s=max(p.elapsed_s for p in parts),
        total=total,
        due=sum(p.due for p in parts),
        sent=sum(p.sent for p in parts),
        delivered=sum(p.delivered for p in parts),
        failed=sum(p.failed for p in parts),
        blocked=any(p.blocked for p in parts),
        last_error=next((p.last_error for p in parts if p.last_error), ""),
    )


def _tally_of_the_dead(last: Progress, code: int | None) -> Tally:
    """At least one request counts as unacknowledged, because its last actions are unknown."""
    return Tally(
        sent=last.sent,
        delivered=last.delivered,
        failed=last.failed,
        unacknowledged=max(1, last.sent - last.delivered - last.failed),
        seconds=last.elapsed_s,
        blocked_seconds=0.0,
        lateness=Lateness(),
        kinds={kind.name.lower(): 0 for kind in Kind},
        stopped=False,
        last_error=f"a sending process ended with code {code}; it may have sent more",
    )


def _work(client: Client, load: Load, pipe: Connection, targets: Targets | None) -> None:
    """The child process: connect, report READY, wait for the start, send, report the tally."""
    leave_ctrl_c_to_the_parent()
    prepare()
    with Shutdown(signal.SIGTERM, second_exits=False) as shutdown:
        threading.Thread(target=_stop_with_parent, args=(shutdown,), daemon=True).start()
        try:
            producer = open_targets(client, targets)
        except BrokerAway as away:
            pipe.send(str(away).removeprefix("Kafka is away: "))
            return
        try:
            pipe.send(READY)
            start_at = pipe.recv()
            pipe.send(send(load, producer, shutdown, pipe.send, start_at))
        except (EOFError, BrokenPipeError):
            shutdown.request()
        finally:
            producer.close()


def _stop_with_parent(shutdown: Shutdown) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        if shutdown.requested:
            os._exit(SECOND_SIGNAL)
        shutdown.request()
