"""The API keeps what its documentation says: schemathesis, in this process, all of its checks."""

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
import schemathesis
from django.core.wsgi import get_wsgi_application
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as fuzz
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.failures import FailureGroup

from devstack.endpoints import Endpoints
from seckill.control.control import Control

pytestmark = pytest.mark.django_db(transaction=True)

EXAMPLES = 8
NO_INPUT = ("/healthz", "/readyz", "/v1/status", "/v1/audit")
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
    faults: dict[str, str] = {}
    for result in document.get_all_operations():
        operation = result.ok()

        @fuzz(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            if "Idempotency-Key" in case.headers and mode is GenerationMode.POSITIVE:
                # It names one act; that its second use is refused has tests of its own.
                case.headers["Idempotency-Key"] = uuid.uuid4().hex
            # In this process nobody unpacks an answer.
            plain = {"X-API-Key": key, "Accept-Encoding": "identity"}
            case.call_and_validate(headers=plain)

        try:
            ask()
        except Unsatisfiable:
            # An operation without any input: none of it can be wrong.
            assert operation.label in (
                "GET /healthz",
                "GET /readyz",
                "GET /v1/status",
                "GET /v1/audit",
            )
        except FailureGroup as fault:
            faults[operation.label] = str(fault)
    assert not faults, "\n\n".join(f"{label}: {fault}" for label, fault in faults.items())
