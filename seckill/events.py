"""The events that are logged: an id that can be searched, and what it means.

docs/monitoring.md repeats the list; a test holds the page and every call of a logger to it. A
message may be worded anew, its event stays. At most a line a batch, never a line a request.
"""

from typing import Any

EVENTS = {
    "said": "a command tells what it does; with --log-format json its lines are events too",
    "held": "nothing is decided, and why; told at once, then every ten seconds",
    "going-on": "what was away or held answers again",
    "redis-away": "Redis does not answer, or takes nothing for now",
    "kafka-away": "Kafka does not answer; asked again",
    "service-away": "a service that a step needs does not answer; the step is tried again",
    "stopping": "a stop was asked for while something was away or held",
    "assigned": "the partitions of a consumer have changed",
    "topic-replaced": "the topic was deleted and made again: a new source",
    "time-unit": "requests come with times in seconds or microseconds, not milliseconds",
    "offsets-lost": "offsets that bring no requests are counted as skipped, and why",
    "strangers": "members of the consumers' group that are none of ours",
    "lane-rebuilt": "the lane was rebuilt by recover; a partition goes on at its stored position",
    "commit-unanswered": "the last commit had no answer; the next consumer skips what is decided",
    "commit-refused": "Kafka refuses to move the group; the positions in Redis have moved",
    "fenced": "Redis is older than what was decided: the lane is fenced",
    "not-leading": "this consumer's Redis does not lead the lane: nothing is decided there",
    "leading": "a Redis leads the lane from now on, in a new term",
    "overlap": "records of a Redis that does not lead are kept apart, and not stored",
    "ids-skipped": "ids of stored records were behind their rows; storing goes on behind them",
    "not-compared": "Redis could not be compared with PostgreSQL now; the sale goes on",
    "cannot-unpack": "a batch that this Kafka client cannot unpack; the other client takes over",
    "dead-letters-wait": "messages that are no requests could not be parked yet",
    "dead-letters-lost": "dead letters that Kafka never took are given up, with their origins",
    "records-parked": "records that PostgreSQL refuses are parked",
    "child-ended": "a consumer process ended; it is started again",
    "child-killed": "a consumer process did not stop in time",
    "parent-gone": "the parent of a consumer is gone; it stops",
    "no-heartbeat": "a heartbeat could not be written; the work goes on without",
    "no-sample": "the history has a gap; the sale goes on without",
    "no-lag": "the lag is not known now",
    "metrics-away": "a scrape could not read Redis",
    "web-503": "a page or an answer was 503: a service is away",
    "connections-refused": "connections of one address that holds too many, or that made room",
    "not-counted": "calls of the API are let through uncounted: Redis is away",
    "library": "what a Kafka library tells",
}


def event(name: str, **fields: Any) -> dict[str, Any]:
    """`extra` for a logger's call: the event, and fields that JSON has beside it."""
    return {"event": name, "fields": fields}
