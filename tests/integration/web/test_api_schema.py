"""The API keeps what its documentation says: schemathesis, in this process, all of its checks."""

from datetime import UTC, datetime
from typing import Any

import pytest
import redis
import schemathesis
from django.core.wsgi import get_wsgi_application
from hypothesis import strategies as st
from schemathesis import GenerationMode

from devstack.endpoints import Endpoints
from seckill.control.control import Control
from tests.helpers.described import ask_everything

pytestmark = pytest.mark.django_db(transaction=True)

EXAMPLES = 8
NO_INPUT = ("GET /healthz", "GET /readyz")
# RFC 3339 allows the year 0 and moments beyond it; a sale has none of them.
MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(9998, 1, 1), timezones=st.just(UTC)).map(
    lambda moment: moment.isoformat()
)
schemathesis.openapi.format("date-time", MOMENTS)


@pytest.fixture
def document(stack: Endpoints, redis_client: "redis.Redis", settings: Any) -> Any:
    """The documentation, with the application behind it."""
    settings.RATE_LIMIT = 0
    return schemathesis.openapi.from_wsgi("/openapi.json", get_wsgi_application())


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_the_api_keeps_what_its_documentation_says(
    document: Any, key: str, control: Control, mode: GenerationMode
) -> None:
    control.set_stock(1, {1001: 10})
    # In this process nobody unpacks an answer.
    plain = {"X-API-Key": key, "Accept-Encoding": "identity"}
    ask_everything(document, mode, plain, examples=EXAMPLES, no_input=NO_INPUT)
