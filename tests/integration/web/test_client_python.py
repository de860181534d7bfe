"""A Python client, generated from /openapi.json, makes a sale, steers it and reads it."""

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Manage
from tests.helpers.sale import SOURCE, body
from tests.helpers.shop import Shop
from tests.helpers.web_server import Served, serve

NAME = "generated_seckill_client"


@pytest.fixture
def served(shop: Shop, manage: Manage) -> Served:
    """A web process on the shop's services."""
    return serve(manage)


@pytest.fixture
def generated(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Imports a module of the client by its name."""
    command = [
        *(sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"),
        *("--path", str(served.document(tmp_path)), "--output-path", str(tmp_path / NAME)),
    ]
    # The generator formats what it has written with the ruff that it finds.
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PATH": tools}
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "WARNING" not in said.upper(), said
    monkeypatch.syspath_prepend(str(tmp_path))
    yield lambda name: importlib.import_module(f"{NAME}.{name}")
    for name in [name for name in sys.modules if name.partition(".")[0] == NAME]:
        del sys.modules[name]


def test_a_sale_from_its_creation_to_its_orders(generated: Any, served: Served, shop: Shop) -> None:
    models = generated("models")
    client = generated("client").AuthenticatedClient(
        served.url, served.key, prefix="", auth_header_name="X-API-Key", timeout=60
    )
    with client as open_client:

        def call(group: str, name: str, **values: Any) -> Any:
            return generated(f"api.{group}.{name}").sync_detailed(client=open_client, **values)

        made = call(
            "activities",
            "create_activity",
            body=models.CreateBody(
                name="Night", user_limit=2, stock=models.CreateBodyStockType0.from_dict({"1001": 1})
            ),
            idempotency_key="night-1",
        )
        assert made.status_code == 201
        activity = made.parsed.activity_id
        assert made.parsed.new.to_dict() == {"name": "Night", "user_limit": 2, "1001": 1}
        stock = models.SetBodyValue.from_dict({"1001": 2})
        act = call("acts", "set_stock", activity_id=activity, body=models.SetBody(value=stock))
        assert act.parsed.new.to_dict() == {"1001": 2}
        stale = call(
            "acts",
            "add_stock",
            activity_id=activity,
            body=models.AddBody(
                value=models.AddBodyValue.from_dict({"1001": 1}), expected_version=0
            ),
        )
        assert (stale.status_code, stale.parsed.version) == (409, act.parsed.version)
        for name, paused in (("pause", True), ("resume", False)):
            call("acts", name, activity_id=activity, body=models.ActBody(note="a client"))
            shown = call("activities", "show_activity", activity_id=activity).parsed
            assert (shown.live.paused, shown.name) == (paused, "Night")

        shop.buy(body(7, request_id="mine"), body(8), body(9))
        shop.store()
        orders = call("lookups", "list_orders", activity_id=activity, limit=1)
        more = call("lookups", "list_orders", activity_id=activity, before=orders.parsed.next_)
        assert [o.user_id for o in (*orders.parsed.orders, *more.parsed.orders)] == [8, 7]
        order = orders.parsed.orders[0]
        assert isinstance(order.decided_at, datetime)
        until = datetime(2020, 1, 1, tzinfo=UTC)
        assert call("lookups", "list_orders", until=until).parsed.orders == []
        assert call("lookups", "show_order", order_id=order.order_id).parsed == order
        asked = models.ResultsBody(
            messages=[models.MessageIn(partition=0, offset=n) for n in range(4)],
            request_ids=["mine"],
        )
        results = call("lookups", "read_results", body=asked).parsed
        assert results.source == SOURCE
        assert [r.state for r in (*results.messages, *results.request_ids)] == [
            *("accepted", "accepted", "refused", "waiting", "accepted")
        ]
        state = call("lookups", "show_status").parsed
        assert [(one.activity_id, one.why, one.sold) for one in state.activities] == [
            (activity, "sold_out", 2)
        ]
        journal = call("lookups", "list_journal", activity_id=activity).parsed.journal
        acts = ["resume", "pause", "add_stock", "set_stock", "create_activity"]
        assert [row.act for row in journal] == acts
        assert call("activities", "show_activity", activity_id=77).parsed.detail
