"""Acts that count what is sold while holds come back: no unit is put on sale twice."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import override_settings

from seckill.audit.audit import audit
from seckill.control.control import Control
from seckill.control.loading import Loader
from seckill.errors import Refused
from seckill.models import Activity, Settlement
from seckill.postgres import sold
from seckill.web.shared import services
from tests.helpers import settling
from tests.helpers.sale import body, buyers_of, stock
from tests.helpers.settling import cancelled, make_due, paid, settle
from tests.helpers.shop import Shop


@pytest.fixture
def holding(shop: Shop) -> Shop:
    """Ten units; eight holds, half of them stored."""
    Activity.objects.create(id=1, hold_s=600)
    shop.control.set_stock(1, {1001: 10})
    shop.buy(*(body(user) for user in range(1, 5)))
    shop.store()
    shop.buy(*(body(user) for user in range(5, 9)))
    return shop


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[int], object], most: int) -> None:
    """After Redis is read and before the list is: `act`, with the number of the count."""
    plain, counts = sold.waiting, [0]

    def interrupted(*arguments: Any) -> Any:
        if counts[0] < most:
            counts[0] += 1
            act(counts[0])
        return plain(*arguments)

    monkeypatch.setattr(sold, "waiting", interrupted)


def expire_one(shop: Shop) -> Callable[[int], object]:
    def act(number: int) -> None:
        make_due(shop.client, number - 1)
        assert settling.expire(shop.client).expired == 1

    return act


def test_a_sync_counts_what_came_back(holding: Shop) -> None:
    settle(holding.client, paid(0, 1), cancelled(1, 2), cancelled(6, 7))
    make_due(holding.client, 2)
    settling.expire(holding.client)
    holding.client.hset("{seckill:logs}:1:stock", "1001", 1)
    act = holding.control.sync_from_db(1)
    assert (act.new, stock(holding.client)) == ({"1001": 5}, {1001: 5})
    holding.clean()


def test_a_hold_that_expires_while_a_sync_counts_comes_back_once(
    holding: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(monkeypatch, expire_one(holding), 2)
    holding.control.sync_from_db(1)
    assert stock(holding.client) == {1001: 4}
    holding.clean()


def test_a_sync_gives_up_while_holds_expire_all_the_time(
    holding: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seckill.control.loading.COUNTS", 2)
    meanwhile(monkeypatch, expire_one(holding), 2)
    with pytest.raises(Refused, match="expire right now"):
        holding.control.sync_from_db(1)
    assert stock(holding.client) == {1001: 4}


def test_what_is_given_back_while_a_sync_counts_comes_back_once(
    holding: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(monkeypatch, lambda _: settle(holding.client, cancelled(0, 1), cancelled(7, 8)), 1)
    holding.control.sync_from_db(1)
    assert stock(holding.client) == {1001: 4}
    holding.clean()


@pytest.mark.parametrize("gives_back", [False, True])
def test_a_limit_on_a_running_sale_forgives_what_was_given_back(
    holding: Shop, gives_back: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has expired only if the settlers are set so."""
    settle(holding.client, cancelled(0, 1))
    make_due(holding.client, 1)
    settling.expire(holding.client, expired_gives_back=gives_back)
    monkeypatch.setattr(services, "redis_client", lambda *_lane: holding.client)
    with override_settings(EXPIRED_GIVES_BACK=gives_back):
        services.control("anna").configure_fields(1, user_limit=3)
    assert buyers_of(holding.client) == dict.fromkeys(range(3 if gives_back else 2, 9), 1)
    holding.clean()


@pytest.mark.parametrize("during", ["_stage", "_stage_buyers"])
def test_a_hold_that_expires_while_a_first_limit_is_set_is_forgiven_once(
    holding: Shop, during: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """User 1 has two holds, and one of them expires once the buyers are being counted."""
    holding.buy(body(1))
    expired: list[int] = []
    plain = getattr(Loader, during)

    def interrupted(*arguments: Any) -> Any:
        if not expired:
            make_due(holding.client, 0)
            expired.append(settling.expire(holding.client, expired_gives_back=True).expired)
        return plain(*arguments)

    monkeypatch.setattr(Loader, during, interrupted)
    control = Control(holding.client, "olga", holding.lane, expired_gives_back=True)
    control.configure_fields(1, user_limit=3)
    assert expired == [1]
    assert buyers_of(holding.client) == dict.fromkeys(range(1, 9), 1)
    holding.clean()


def test_a_first_limit_gives_up_while_forgiven_holds_expire_all_the_time(
    holding: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seckill.control.loading.COUNTS", 2)
    meanwhile(monkeypatch, expire_one(holding), 2)
    control = Control(holding.client, "olga", holding.lane, expired_gives_back=True)
    with pytest.raises(Refused, match="expire right now"):
        control.configure_fields(1, user_limit=3)
    # The same again sets it.
    control.configure_fields(1, user_limit=3)
    assert buyers_of(holding.client) == dict.fromkeys(range(1, 9), 1)


@pytest.mark.parametrize("setting", [False, True])
def test_the_setting_may_change_while_holds_expire(holding: Shop, setting: bool) -> None:
    """Each expiry says whether it gave the limit back, so the setting of today decides nothing."""
    control = Control(holding.client, "olga", holding.lane, expired_gives_back=setting)
    control.configure_fields(1, user_limit=3)
    settle(holding.client, cancelled(0, 1))
    for offset, gives_back in ((1, False), (2, True), (4, True), (6, False)):
        make_due(holding.client, offset)
        assert settling.expire(holding.client, expired_gives_back=gives_back).expired == 1
        if offset == 2:
            holding.store()
    known = buyers_of(holding.client)
    assert known == dict.fromkeys((2, 4, 6, 7, 8), 1)
    holding.clean()
    # Counted again: from the rows and the list, and from the rows alone.
    for _ in range(2):
        control.configure_fields(1, user_limit=None)
        control.configure_fields(1, user_limit=3)
        assert buyers_of(holding.client) == known
        holding.clean()
        holding.store()
    # The audit knows it exactly: a user more, as if one expiry had not been forgiven.
    holding.client.hset("{seckill:logs}:1:buyers", "3", 1)
    [finding] = audit(holding.client, holding.lane).findings
    assert finding.explanation.startswith("Redis has 6 buyers, the records 5")


@pytest.mark.parametrize("setting", [False, True])
def test_what_expired_before_expiries_said_it_goes_by_the_setting(
    holding: Shop, setting: bool
) -> None:
    make_due(holding.client, 1, 2)
    settling.expire(holding.client, expired_gives_back=setting)
    holding.store()
    assert Settlement.objects.update(forgiven=None) == 2
    control = Control(holding.client, "olga", holding.lane, expired_gives_back=setting)
    control.configure_fields(1, user_limit=3)
    forgiven = {2, 3} if setting else set()
    assert buyers_of(holding.client) == {user: 1 for user in range(1, 9) if user not in forgiven}
    # The audit does not know the setting.
    holding.clean()
