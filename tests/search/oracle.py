"""The oracle: what is true of a sale, from what anybody outside could know, and nothing else.

It knows the topic's messages, what the script answered to each of them at the time, what operators
put on sale and ordered, the rows of PostgreSQL and what waits or is parked. It knows no product:
no Redis, no positions, no counters. `Oracle.judge` says what does not hold.

A sale may be lost with Redis: what was accepted and stood nowhere else is then *undone*, and has to
be decided again. What is undone has no claim on a row; what stands has one, and takes its units.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from tests.search.facts import (
    ACCEPTED,
    NO_LIMIT,
    REFUSED,
    SKIPPED,
    Asked,
    Evidence,
    Kind,
    Place,
    Terms,
    Verdicts,
    Violation,
)
from tests.search.servers import Row


class Oracle:
    """One sale of one activity."""

    def __init__(self) -> None:
        self.asked: dict[Place, Asked] = {}
        self.terms = Terms()
        # Acts whose end nobody knows.
        self.uncertain = False
        self._now = 0
        self._twice: list[Violation] = []
        # Rows that a stranger has put there: they are no orders, and take units all the same.
        self.strangers: set[Row] = set()
        # Units of rows at their places, by place and item: sold, also while PostgreSQL is older.
        self._adopted: dict[tuple[Place, int], int] = {}
        # What a set_stock puts on sale whose script may still come.
        self._late: dict[int, int] | None = None

    # What happens, told by the machine.

    def ask(self, place: Place, user: int, wanted: dict[int, int] | None) -> None:
        """A message is in the topic."""
        self.asked[place] = Asked(user, wanted)

    def answer(self, place: Place, outcome: str, *, ruling: bool) -> None:
        """The script has decided it; `ruling`: on the server that decides for the lane."""
        asked = self.asked.get(place)
        if asked is None:
            return
        if not ruling:
            # It may be told to the buyer, and is never stored.
            return
        asked.promised |= outcome == ACCEPTED
        if outcome == SKIPPED:
            asked.skipped = not asked.outcome or asked.undone
            return
        if asked.decided and not asked.undone:
            self._twice.append(Violation(
                Kind.TWICE, f"{place} was {asked.outcome}, and is {outcome} with no loss between"
            ))  # fmt: skip
        self._now += 1
        asked.outcome, asked.undone, asked.at, asked.skipped = outcome, False, self._now, False
        asked.evicted = False
        asked.decided += 1
        asked.limit, asked.ended = self.terms.limit, self.terms.ended

    def verdicts(self) -> Verdicts:
        """What has been refused by now: a copy of Redis brings it back."""
        return frozenset(p for p, a in self.asked.items() if a.outcome == REFUSED and not a.undone)

    def lose_redis(
        self, evidence: Evidence, back: Verdicts = frozenset(), *, key: bool = False
    ) -> int:
        """Redis has lost something: what is accepted and stands nowhere any more is undone.

        `back` was refused when the copy was made that came back. `key`: one key alone was lost.
        """
        complete = _complete(self.asked, evidence)
        undone = 0
        for place, asked in self.asked.items():
            asked.decided = 0
            asked.gone |= asked.told and asked.undone
            if asked.claims and place not in complete:
                asked.undone, asked.evicted = True, key
                undone += 1
            if asked.undone and place in back:
                asked.outcome, asked.undone = REFUSED, False
        return undone

    def act(self, name: str, value: Any, evidence: Evidence, *, certain: bool) -> None:
        """An operator's act was done, or (not `certain`) perhaps."""
        terms = self.terms
        if not certain:
            self.uncertain = True
        if name in ("set_stock", "add_stock"):
            standing = self._gone(evidence) if name == "set_stock" else terms.allowed
            put = {item: standing.get(item, 0) + units for item, units in value.items()}
            for item, units in put.items():
                terms.allowed[item] = units if certain else max(units, terms.allowed.get(item, 0))
            self._late = None if certain else dict(value)
            if name == "set_stock":
                terms.finished = False
        elif name == "limit":
            limit = NO_LIMIT if value is None else value
            terms.limit = limit if certain else max(limit, terms.limit)
        elif name in ("finished", "paused", "closed"):
            setattr(terms, name, value if certain else value and getattr(terms, name))

    def arrive(self, name: str, value: Any, evidence: Evidence) -> None:
        """An act whose sender had given up was done now: set_stock counts from this moment."""
        if name == "set_stock" and self._late == value:
            standing = self._gone(evidence)
            for item, units in value.items():
                allowed = self.terms.allowed.get(item, 0)
                self.terms.allowed[item] = max(allowed, standing.get(item, 0) + units)

    def tell_lost(self) -> None:
        """The product has told that accepted orders are lost."""
        for asked in self.asked.values():
            asked.told |= asked.undone

    def forgive(self) -> None:
        """The product has told what it sold against its terms: it need not tell it for ever."""
        for asked in self.asked.values():
            asked.limit, asked.ended = NO_LIMIT, ""

    def accept(self, evidence: Evidence) -> None:
        """A person puts on sale what was sold above that."""
        units = self.standing(evidence)
        stored: dict[int, int] = defaultdict(int)
        for row in evidence.rows:
            stored[row.item] += row.quantity
        for item in units.keys() | stored.keys():
            most = max(units.get(item, 0), stored[item])
            self.terms.allowed[item] = max(self.terms.allowed.get(item, 0), most)

    # What is true.

    def standing(self, evidence: Evidence) -> dict[int, int]:
        """{item: units} that somebody has to have, or has a row of."""
        complete = _lines(evidence.rows).keys() | _complete(self.asked, evidence)
        units: dict[int, int] = defaultdict(int)
        for place, asked in self.asked.items():
            if asked.wanted and (asked.claims or (asked.promised and place in complete)):
                for item, quantity in asked.wanted.items():
                    units[item] += quantity
        return units

    def _gone(self, evidence: Evidence) -> dict[int, int]:
        """{item: units} that are sold, as Redis and the tables have it."""
        units = self.standing(evidence)
        for asked in self.asked.values():
            if asked.wanted and asked.undone and asked.evicted:
                for item, quantity in asked.wanted.items():
                    units[item] += quantity
        rows = [row for row in evidence.rows if row in self.strangers]
        for row in rows:
            units[row.item] += row.quantity
        there = {((row.partition, row.offset), row.item) for row in rows}
        for (place, item), quantity in {**self._adopted, **self._at_strangers(evidence)}.items():
            asked = self.asked.get(place)
            owed = asked is not None and (asked.claims or asked.promised)
            if not owed and (place, item) not in there:
                units[item] += quantity
        return units

    def _at_strangers(self, evidence: Evidence) -> dict[tuple[Place, int], int]:
        """{(place, item): units} of rows at strangers' places, theirs or from the topic."""
        return {
            ((row.partition, row.offset), row.item): row.quantity
            for row in evidence.rows
            if self._is_taken(row)
        }

    def _is_taken(self, row: Row) -> bool:
        """Whether a stranger's row stood at its place: taken for accepted, sold as well."""
        return any((row.partition, row.offset) == (r.partition, r.offset) for r in self.strangers)

    def left(self, evidence: Evidence, item: int) -> int:
        """Units that may still be sold."""
        return self.terms.allowed.get(item, 0) - self._gone(evidence).get(item, 0)

    def judge(self, evidence: Evidence, *, all_up: bool) -> list[Violation]:
        """What does not hold, the worst first. `all_up`: nobody has a reason to wait."""
        self._adopted |= self._at_strangers(evidence)
        found = [*self._oversold(evidence), *self._lost(evidence), *self._twice]
        found += [*self._invented(evidence.rows), *self._terms(evidence)]
        if all_up:
            found += self._waiting(evidence)
        return found

    def _oversold(self, evidence: Evidence) -> Iterable[Violation]:
        stored: dict[int, int] = defaultdict(int)
        for row in evidence.rows:
            stored[row.item] += row.quantity
        standing = self.standing(evidence)
        for item in sorted(stored.keys() | standing.keys()):
            allowed = self.terms.allowed.get(item, 0)
            if max(stored[item], standing.get(item, 0)) > allowed:
                yield Violation(
                    Kind.OVERSOLD,
                    f"item {item}: {allowed} units were put on sale, {stored[item]} are in rows, "
                    f"{standing.get(item, 0)} are sold",
                )

    def _lost(self, evidence: Evidence) -> Iterable[Violation]:
        complete = _complete(self.asked, evidence)
        lost = [p for p, asked in self.asked.items() if asked.claims and p not in complete]
        if lost:
            yield Violation(
                Kind.LOST, f"accepted, and neither stored nor parked nor waiting: {sorted(lost)}"
            )

    def _invented(self, rows: list[Row]) -> Iterable[Violation]:
        # What a stranger has stored is taken for accepted, and comes back from the topic as that.
        for row in rows:
            asked = self.asked.get((row.partition, row.offset))
            if row in self.strangers or (asked is not None and self._is_taken(row)):
                continue
            if asked is None or not asked.promised:
                yield Violation(Kind.TWICE, f"a row that nobody was promised: {row}")

    def _terms(self, evidence: Evidence) -> Iterable[Violation]:
        bought: dict[int, int] = defaultdict(int)
        rows = _lines(evidence.rows)
        decided = sorted(self.asked.items(), key=lambda pair: pair[1].at)
        for place, asked in decided:
            if not asked.wanted or not (asked.claims or (asked.promised and place in rows)):
                continue
            bought[asked.user] += sum(asked.wanted.values())
            if bought[asked.user] > max(asked.limit, self.terms.limit):
                yield Violation(
                    Kind.LIMIT,
                    f"user {asked.user} has {bought[asked.user]} units with {place}, under a "
                    f"limit of {asked.limit}",
                )
            if asked.ended:
                yield Violation(
                    Kind.AFTER_END, f"{place} was accepted while the sale was {asked.ended}"
                )

    def _waiting(self, evidence: Evidence) -> Iterable[Violation]:
        # Also what came late, as a row or as a parked line, after a loss.
        there = _lines(evidence.rows).keys() | _complete(self.asked, evidence)
        # A row proves that all before it was decided, whoever has put it there.
        proved: dict[int, int] = defaultdict(int)
        for row in self.strangers:
            proved[row.partition] = max(proved[row.partition], row.offset)
        waiting = [
            p
            for p, a in self.asked.items()
            if (not a.outcome or a.undone)
            and not a.gone
            and p not in there
            and p[1] >= proved[p[0]]
        ]
        skipped = [p for p in waiting if self.asked[p].skipped]
        if skipped:
            yield Violation(Kind.DROPPED, f"never decided, and counted as skipped: {skipped}")
        if len(waiting) > len(skipped):
            rest = sorted(set(waiting) - set(skipped))
            yield Violation(Kind.WAITS, f"all is up, and nobody decides them: {rest}")

    def waits(self, evidence: Evidence) -> bool:
        """Whether any message has no answer."""
        return bool(list(self._waiting(evidence)))


def _lines(rows: Iterable[Row]) -> Mapping[Place, list[Row]]:
    lines: dict[Place, list[Row]] = defaultdict(list)
    for row in rows:
        lines[row.partition, row.offset].append(row)
    return lines


def _complete(asked: Mapping[Place, Asked], evidence: Evidence) -> set[Place]:
    """Requests of which every line is stored as it was asked for, or waits, or is parked."""
    stored = {
        (row.partition, row.offset, row.item): (row.user, row.quantity) for row in evidence.rows
    }
    return {
        place
        for place, one in asked.items()
        if one.wanted
        and all(
            stored.get((*place, item)) == (one.user, quantity) or (*place, item) in evidence.kept
            for item, quantity in one.wanted.items()
        )
    }
