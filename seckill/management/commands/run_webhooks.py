"""`manage.py run_webhooks`: post events to addresses of the shop."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from django.core.management.base import CommandParser

from seckill.broker.opening import open_consumer, open_producer
from seckill.broker.topics import Topics
from seckill.config.layers import load
from seckill.config.sections import Webhooks as Section
from seckill.errors import BrokerAway
from seckill.events.cloud_event import events_topic
from seckill.events.hook import Hook
from seckill.events.letters import DeadEvents, read_dead, read_event
from seckill.events.targets import Target, targets_of
from seckill.events.webhooks import Webhooks
from seckill.lane.keys import Lane
from seckill.management import base
from seckill.management.arguments import add_section_flags, add_supervision_flag, section_flags
from seckill.monitoring.metrics import serve_metrics
from seckill.process.logs import configure_logging, speaker
from seckill.process.shutdown import Shutdown
from seckill.process.startup import Stopped, wait_for
from seckill.telemetry.heartbeats import Heart, Kind

# Seconds for one attempt to reach Kafka.
KAFKA_ATTEMPT_S = 5.0


class Command(base.Command):
    """Parse, build, run."""

    _say: Callable[[str], None]

    help = (
        "Post the events of topic `<topic>.events` to the addresses of the configuration, signed "
        "as Standard Webhooks, at least once each, in order for each user. What an address does "
        "not take for --give-up-s becomes a dead letter in `<topic>.events.dead`. Runs until "
        "SIGTERM or Ctrl-C, then ends the posts on their way and exits 0; a second signal exits at "
        "once with 130."
    )
    examples = (
        "",
        "--drain",
        "--dead-letters --give-up-s 60    # post those again that were given up",
    )
    codes = {**base.WORKER}

    def add_arguments(self, parser: CommandParser) -> None:
        """The parameters of section `webhooks`, and flags for one start only."""
        parser.add_argument("--drain", action="store_true", help="end when all is posted")
        parser.add_argument(
            "--dead-letters",
            action="store_true",
            help="post the dead letters that there are now, each once more, and end; what is not "
            "taken is a dead letter again",
        )
        add_supervision_flag(parser)
        add_section_flags(parser, Section)

    def handle(self, *args: Any, **options: Any) -> None:
        """Wait for the services, run."""
        with Shutdown() as shutdown, ExitStack() as ends:
            if options["stop_with_stdin"]:
                shutdown.watch_stdin()
            section = load(Section, section_flags(options, Section))
            configure_logging(section.log_format)
            self._say = speaker(self.stdout, section.log_format, "run_webhooks")
            targets, lane = targets_of(section), Lane()
            ends.enter_context(
                serve_metrics(section.metrics_host, section.metrics_port, section.redis_url, lane)
            )
            dead_events = DeadEvents(section, open_producer)
            ends.callback(dead_events.close)
            again = options["dead_letters"]
            topic = dead_events.topic if again else events_topic(section.topic)
            limit_s = section.connect_timeout
            try:
                upto = wait_for(lambda: self._ends(section, topic), limit_s, shutdown, self._say)
            except Stopped:
                self._say("stopped before it started")
                return
            if again and not any(upto.values()):
                self._say(f"{topic} holds no dead letters")
                return
            heart = Heart(section.redis_url, lane, Kind.WEBHOOKS)
            ends.callback(heart.close)
            hooks = [self._hook(each, section, topic, dead_events, again=again) for each in targets]
            names = ", ".join(target.name for target in targets)
            self._say(f"posting {topic} to {names} on {section.kafka_client}")
            webhooks = Webhooks(
                hooks,
                partial(self._lag, section, topic, upto if again else None),
                shutdown,
                section.status_interval,
                self._say,
                lambda all_: heart.beat(
                    all_.total("delivered") + all_.total("dead"),
                    all_.hold,
                    delivered=all_.total("delivered"),
                    failed=all_.total("failed"),
                    dead=all_.total("dead"),
                    behind=all_.behind,
                ),
            )
            asyncio.run(webhooks.run(drain=options["drain"] or again))

    def _hook(
        self, target: Target, section: Section, topic: str, dead_events: DeadEvents, *, again: bool
    ) -> Hook:
        return Hook(
            target,
            lambda: open_consumer(section.consumer(topic, _group_end(target, again=again))),
            partial(read_dead, webhook=target.name) if again else read_event,
            dead_events,
            post_limit_s=section.post_limit_s,
            give_up_s=section.give_up_s,
            concurrency=section.concurrency,
        )

    def _ends(self, section: Section, topic: str) -> dict[int, int]:
        """The topic's ends. Makes the topic of events, as `run_events` does, if it is missing."""
        with Topics(section, min(KAFKA_ATTEMPT_S, max(1.0, section.connect_timeout))) as topics:
            topics.ensure(section.topic)
            partitions = len(topics.partitions(section.topic))
            if not partitions:
                raise BrokerAway(f"topic {section.topic} has no partitions yet")
            topics.ensure(events_topic(section.topic), partitions)
            return topics.end_offsets(topic)

    def _lag(self, section: Section, topic: str, upto: dict[int, int] | None, hook: Hook) -> int:
        """Messages that a hook has not committed, below `upto` if it is given."""
        group = section.consumer(topic, _group_end(hook.target, again=upto is not None)).group_id
        with Topics(section) as topics:
            ends = topics.end_offsets(topic) if upto is None else upto
            oldest = topics.start_offsets(topic)
            done = topics.committed(group, topic)
        return sum(
            max(0, end - max(done[p].offset if p in done else 0, oldest.get(p, 0)))
            for p, end in ends.items()
        )


def _group_end(target: Target, *, again: bool) -> str:
    return target.name + (".dead" if again else "")
