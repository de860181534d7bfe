"""The door's limits: rates by GCRA, places to wait, and whose call it is."""

import random
from collections import Counter

import pytest

from seckill.config.addresses import networks
from seckill.config.sections import Door
from seckill.web.callers import UNREADABLE, Callers
from seckill.web.door.limits import Limits, Places, Rates


def test_a_burst_then_an_even_rate() -> None:
    rates = Rates(rate=4, burst=3)
    assert [rates.check("a", 100.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.25]
    # What was refused has not counted: it waits no longer for having asked.
    assert rates.check("a", 100.125) == 0.125
    assert rates.check("a", 100.25) == 0.0
    assert rates.check("a", 100.25) == 0.25
    # Another caller, and the same after a while, have the whole burst.
    for caller, now in (("b", 100.25), ("a", 101.25)):
        assert [rates.check(caller, now) for _ in range(4)] == [0.0, 0.0, 0.0, 0.25]


def test_no_limit() -> None:
    rates = Rates(rate=0, burst=1)
    assert not any(rates.check("a", 0.0) for _ in range(1_000))
    assert len(rates) == 0


@pytest.mark.parametrize(("rate", "burst"), [(5.0, 20), (0.5, 1), (200.0, 1000)])
def test_random_calls_never_pass_the_rate_and_burst(rate: float, burst: int) -> None:
    rng, rates, now, passed = random.Random(7), Rates(rate, burst), 0.0, []
    for _ in range(20_000):
        now += (
            rng.expovariate(rate * 3) if rng.random() < 0.99 else rng.uniform(0, 2 * burst / rate)
        )
        wait_s = rates.check("a", now)
        assert wait_s >= 0
        if not wait_s:
            passed.append(now)
        else:
            # The time that is told is true: until then it is refused, from then on it is not.
            assert rates.check("a", now + wait_s * 0.9) > 0
    assert len(passed) > burst
    for n in range(len(passed)):
        # Calls in any stretch of time.
        last = min(n + 3 * burst, len(passed) - 1)
        assert last - n + 1 <= burst + rate * (passed[last] - passed[n]) + 1e-6


def test_what_is_remembered_is_bounded() -> None:
    # One that is even again is forgotten when others come.
    rates = Rates(rate=1, burst=10)
    for n in range(1_000):
        rates.check(n, float(n))
    assert len(rates) <= 3
    # At the bound the longest silent one goes, although it was not even.
    rates = Rates(rate=1, burst=1, remembered=2)
    for caller in ("a", "b", "a", "c"):
        rates.check(caller, 0.0)
    assert len(rates) == 2
    assert rates.check("a", 0.0) == 1.0
    assert rates.check("b", 0.0) == 0.0


def test_places() -> None:
    places = Places(2)
    assert [places.enter("a") for _ in range(3)] == [True, True, False]
    assert places.enter("b")
    places.leave("a")
    assert [places.enter("a") for _ in range(2)] == [True, False]
    for caller in ("a", "a", "b"):
        places.leave(caller)
    assert len(places) == 0
    unlimited = Places(0)
    assert all(unlimited.enter("a") for _ in range(100))
    with pytest.raises(KeyError):
        places.leave("a")


def test_random_waiting_leaves_nothing_behind() -> None:
    section = Door(waiting_per_user=2, waiting_per_address=3)
    limits, rng, inside = Limits.of(section), random.Random(7), list[tuple[int, str]]()
    for _ in range(5_000):
        if rng.random() < 0.55:
            who = (rng.randint(1, 5), rng.choice(["", "x", "y"]))
            users, callers = Counter(u for u, _ in inside), Counter(c for _, c in inside)
            may = users[who[0]] < 2 and (not who[1] or callers[who[1]] < 3)
            assert limits.enter(*who) == may
            if may:
                inside.append(who)
        elif inside:
            limits.leave(*inside.pop(rng.randrange(len(inside))))
        assert limits.waiting == len(inside)
    for who in inside:
        limits.leave(*who)
    assert len(limits.waiting_users) == len(limits.waiting_addresses) == 0


def test_users_and_addresses_have_limits_of_their_own() -> None:
    section = Door(user_rate=1, user_burst=1, address_rate=1, address_burst=2)
    limits = Limits.of(section)
    assert limits.of_user(1) == 0.0
    assert limits.of_user(1) > 0.0
    assert limits.of_user(2) == 0.0
    assert [limits.of_address("192.0.2.1") for _ in range(2)] == [0.0, 0.0]
    assert limits.of_address("192.0.2.1") > 0.0
    assert not any(limits.of_address("") for _ in range(10))


CALLERS = Callers(networks("10.0.0.0/8,2001:db8:ffff::/48,::1"))


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "caller"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        ("::ffff:192.0.2.1", "", "192.0.2.1"),
        ("2001:db8::1:2:3:4", "", "2001:db8::/64"),
        ("2001:db8:0:0:9:9:9:9", "", "2001:db8::/64"),
        ("2001:db8:0:1::1", "", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "", "fe80::/64"),
        # A stranger may write into the header what it likes.
        ("192.0.2.1", "198.51.100.1", "192.0.2.1"),
        ("192.0.2.1", "10.0.0.1", "192.0.2.1"),
        # A proxy adds the address that it sees, at the right.
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.3, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.1,10.0.0.2 , 10.0.0.3", "198.51.100.1"),
        ("::ffff:10.0.0.1", "2001:db8::7, 2001:db8:ffff::1", "2001:db8::/64"),
        ("::1", "198.51.100.1:55555", "198.51.100.1"),
        ("::1", "[2001:db8::7]:443", "2001:db8::/64"),
        ("::1", "[2001:db8::7]", "2001:db8::/64"),
        # Only proxies are known.
        ("10.0.0.1", "", ""),
        ("10.0.0.1", "10.0.0.2, ::1", ""),
        # What cannot be read is one caller, not a way around the limit.
        ("10.0.0.1", "198.51.100.1, unknown", UNREADABLE),
        ("10.0.0.1", "198.51.100.1,", UNREADABLE),
        ("10.0.0.1", " ", UNREADABLE),
        ("10.0.0.1", "198.51.100.1, \udcff", UNREADABLE),
        ("", "198.51.100.1", UNREADABLE),
    ],
)
def test_whose_call_it_is(peer: str, forwarded_for: str, caller: str) -> None:
    assert CALLERS.caller(peer, forwarded_for) == caller


def test_loopback_is_a_proxy_as_the_section_stands() -> None:
    callers = Limits.of(Door()).callers
    assert callers.caller("127.0.0.1") == ""
    assert callers.caller("127.0.0.1", "198.51.100.1") == "198.51.100.1"
