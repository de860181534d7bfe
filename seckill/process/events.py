"""The events that are logged: an id to search for, and what it means.

docs/monitoring.md repeats the list; a test compares it with the page and with every logging call.
The text of a message may change, its event may not. At most one line per batch, never per request.
"""

from typing import Any

EVENTS = {
    "said": "a line of a command's output; with --log-format json these lines are events too",
    "held": "nothing is decided, and why; logged at once, then every ten seconds",
    "going-on": "a service answers again, or a hold has ended",
    "redis-away": "Redis does not answer, or accepts no writes for now",
    "kafka-away": "Kafka does not answer; it is tried again",
    "webhook-gone": "a webhook's receiver answered 410: nothing is posted there any more",
    "event-parked": "a webhook's receiver did not take an event: it is a dead letter",
    "service-away": "a service that a step needs does not answer; the step is tried again",
    "stopping": "a stop was requested while a service was away or deciding was on hold",
    "assigned": "the partitions of a consumer have changed",
    "topic-replaced": "the topic was deleted and created again: it is a new source",
    "time-unit": "request times are in seconds or microseconds instead of milliseconds",
    "offsets-lost": "offsets that hold no requests are counted as skipped, and why",
    "holds-stay": "holds are due and do not expire, and why; their units come back later",
    "strangers": "the consumer group has members that are not consumers of this system",
    "lane-rebuilt": "recover has rebuilt the lane; a partition goes on at its stored position",
    "commit-unanswered": "the last commit had no answer; the next consumer skips what is decided",
    "commit-refused": "Kafka refuses to move the group; the positions in Redis have moved",
    "fenced": "Redis is older than what was decided: the lane is fenced",
    "not-leading": "this consumer's Redis does not lead the lane: nothing is decided there",
    "leading": "a Redis leads the lane from now on, in a new term",
    "overlap": "records of a Redis that does not lead become dead records",
    "ids-skipped": "the id sequence was behind the stored rows; storing goes on after them",
    "not-compared": "Redis could not be compared with PostgreSQL now; the sale goes on",
    "cannot-unpack": "this Kafka client cannot unpack a batch; the other client takes over",
    "dead-letters-wait": "messages that are not requests could not be parked yet",
    "dead-letters-lost": "dead letters that Kafka never took are given up; their origins are named",
    "records-parked": "records that PostgreSQL refuses are parked",
    "audit-violated": "the audit that a log worker runs by itself found a broken promise",
    "child-ended": "a consumer process ended; it is started again",
    "lane-ended": "the worker of one of several lanes ended; it is started again, the others go on",
    "lane-killed": "workers of several lanes did not stop in time and were killed",
    "child-killed": "a consumer process did not stop in time and was killed",
    "parent-gone": "the parent process of a consumer is gone; the consumer stops",
    "no-heartbeat": "a heartbeat could not be written; the work goes on without it",
    "no-audit": "a log worker could not audit now; the last verdict grows old and says so",
    "no-sample": "the history has a gap; the sale goes on",
    "no-hashes": "static files cannot be collected: browsers keep them for a minute alone",
    "no-lag": "the lag is unknown for now",
    "metrics-away": "a scrape could not read Redis",
    "web-503": "a page or an API call was answered 503: a service is away",
    "connections-refused": "one address holds too many connections; some were refused or closed",
    "not-counted": "API calls pass without the rate limit: Redis is away",
    "door-bug": "a fault in the buyers' door; the buyer is told to ask again",
    "door-no-answers": "a door cannot read the board; requests are taken, buyers wait",
    "door-ended": "one of several door processes ended; it is started again",
    "door-killed": "door processes did not stop in time and were killed",
    "door-topic": "a door could not ask which topic this is; it asks again",
    "door-trust": "a door could not ask PostgreSQL what it knows of the lane; it asks again",
    "door-flush": "the last requests of a door were not acknowledged in time",
    "library": "a message of a Kafka library",
}


def event(name: str, **fields: Any) -> dict[str, Any]:
    """`extra` for a logging call: the event, and extra fields for JSON logs."""
    return {"event": name, "fields": fields}
