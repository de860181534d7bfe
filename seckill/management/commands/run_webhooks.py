"""`manage.py run_webhooks`: post events to addresses of the shop."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

from django.core.management.base import CommandParser

from seckill.broker.opening import open_consumer, open_producer
from seckill.broker.topics import Topics, open_topics
from seckill.config.sections import Webhooks as Section
from seckill.events.cloud_event import events_topic
from seckill.events.hook import Hook
from seckill.events.letters import DeadEvents, read_dead, read_event
from seckill.events.targets import Target, targets_of
from seckill.events.webhooks import Webhooks
from seckill.management import base
from seckill.management.worker import WorkerCommand, working
from seckill.telemetry.heartbeats import Heart, Kind


class Command(WorkerCommand[Section]):
    """Parse, build, run."""

    kind = Section
    ends_by = ("dead_letters",)
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
        super().add_arguments(parser)

    def work(self, options: dict[str, Any]) -> None:
        """Wait for the services, run."""
        with working(self, "run_webhooks", Section, options) as started:
            section, say = started.section, started.say
            targets = targets_of(section)
            dead_events = DeadEvents(section, open_producer)
            started.ends.callback(dead_events.close)
            again = options["dead_letters"]
            topic = dead_events.topic if again else events_topic(section.topic)
            upto = started.wait_for(lambda: self._ends(section, topic))
            if again and not any(upto.values()):
                say(f"{topic} holds no dead letters")
                return
            heart = Heart(section.redis_url, started.lane, Kind.WEBHOOKS)
            started.ends.callback(heart.close)
            hooks = [self._hook(each, section, topic, dead_events, again=again) for each in targets]
            names = ", ".join(target.name for target in targets)
            say(f"posting {topic} to {names} on {section.kafka_client}")
            webhooks = Webhooks(
                hooks,
                partial(self._lag, section, topic, upto if again else None),
                started.shutdown,
                section.status_interval,
                say,
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
        with open_topics(section) as topics:
            topics.ensure_beside(events_topic(section.topic), section.topic)
            return topics.end_offsets(topic)

    def _lag(
        self, section: Section, topic: str, upto: dict[int, int] | None, hooks: Sequence[Hook]
    ) -> int:
        """Messages that hooks have not committed, below `upto` if it is given."""
        groups = [
            section.consumer(topic, _group_end(hook.target, again=upto is not None)).group_id
            for hook in hooks
        ]
        with Topics(section) as topics:
            ends = topics.end_offsets(topic) if upto is None else upto
            oldest = topics.start_offsets(topic)
            done = [topics.committed(group, topic) for group in groups]
        return sum(
            max(0, end - max(by[p].offset if p in by else 0, oldest.get(p, 0)))
            for by in done
            for p, end in ends.items()
        )


def _group_end(target: Target, *, again: bool) -> str:
    return target.name + (".dead" if again else "")
