"""A TypeScript client, generated from /openapi.json, makes a sale, steers it and reads it.

`make test-clients` installs what is locked in typescript/package-lock.json, which needs Node and
its registry. Not part of `make test`, which needs neither.
"""

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Manage
from tests.helpers.sale import body
from tests.helpers.shop import Shop
from tests.helpers.web_server import Served, serve

FOLDER = Path(__file__).parent / "typescript"


@pytest.fixture
def served(shop: Shop, manage: Manage) -> Served:
    """A web process on the shop's services."""
    return serve(manage)


def run(*command: str, **variables: str) -> str:
    """What a tool of the folder says; its failure is the test's."""
    done = subprocess.run(
        command,
        cwd=FOLDER,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_sale_from_its_creation_to_its_orders(served: Served, shop: Shop, tmp_path: Path) -> None:
    shop.control.set_stock(7, {1001: 1})
    shop.buy(body(7, activity_id=7, request_id="mine"), body(8, activity_id=7))
    shop.store()
    built = FOLDER / "built"
    built.mkdir(exist_ok=True)
    tools = FOLDER / "node_modules" / ".bin"
    document = str(served.document(tmp_path))
    run(str(tools / "openapi-typescript"), document, "-o", str(built / "schema.d.ts"))
    # Wrong names and types of the program fail here.
    run(str(tools / "tsc"))
    said = run("node", str(built / "sale.js"), SECKILL_URL=served.url, SECKILL_KEY=served.key)
    assert said.splitlines()[-1] == "done"
    journal = shop.control.status().activities
    assert sorted(journal) == [7, 8]
