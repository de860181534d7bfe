"""Read marks: up to which moment all that Kafka had acknowledged is settled.

A mark is a question that was asked: at this time of Redis's clock, Kafka's end of a partition was
asked for, and was this. Once all before that end is settled, whatever Kafka acknowledged before
that time is settled. Marks wait here until then, so a backlog delays the expiry, and no more.
"""

from dataclasses import dataclass, field

from seckill.lane.holds import ReadMark

# Marks that wait for one partition. Beyond this every second one is dropped.
MOST = 64


@dataclass
class Marks:
    """The marks that wait, by (source, partition) of the settle topic."""

    _waiting: dict[tuple[str, int], list[ReadMark]] = field(default_factory=dict)

    def add(self, place: tuple[str, int], mark: ReadMark) -> None:
        """A new question, later than the last one."""
        waiting = self._waiting.setdefault(place, [])
        waiting.append(mark)
        if len(waiting) > MOST:
            del waiting[1::2]

    def reached(self, place: tuple[str, int], position: int) -> ReadMark | None:
        """The latest mark that this position has reached; None if there is none yet.

        It stays the first that waits, so that a call that failed can be repeated.
        """
        waiting = self._waiting.get(place, [])
        for at in reversed(range(len(waiting))):
            if waiting[at].end <= position:
                # It says all that earlier ones would say.
                del waiting[:at]
                return waiting[0]
        return None

    def keep(self, places: set[tuple[str, int]]) -> None:
        """Forget what waits for any other partition: the topic was replaced."""
        self._waiting = {p: marks for p, marks in self._waiting.items() if p in places}
