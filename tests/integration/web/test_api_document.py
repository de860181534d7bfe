"""/openapi.json as generators of clients read it: valid, named, with examples that are true."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

pytestmark = pytest.mark.django_db


@pytest.fixture
def document(http: Client) -> Any:
    """The document as it is served."""
    return http.get("/openapi.json").json()


def operations(document: Any) -> Iterator[tuple[str, Any]]:
    """Each operation with its name for people."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def contents(operation: Any) -> Iterator[tuple[str, Any]]:
    """The request's and each answer's body, with its media type."""
    yield from operation.get("requestBody", {}).get("content", {}).items()
    for response in operation["responses"].values():
        yield from response["content"].items()


def test_the_document_is_valid_openapi(document: Any) -> None:
    assert document["openapi"].startswith("3.1.")
    faults = [
        f"{'/'.join(map(str, fault.absolute_path))}: {fault.message}"
        for fault in OpenAPIV31SpecValidator(document).iter_errors()
    ]
    assert not faults


def test_operations_have_short_names_of_their_own(document: Any) -> None:
    names = [operation["operationId"] for _label, operation in operations(document)]
    assert len(set(names)) == len(names) > 20
    assert [name for name in names if not re.fullmatch(r"[a-z_]{5,30}", name)] == []
    assert {"set_stock", "original_set_stock", "list_orders"} <= set(names)
    assert document["servers"][0]["url"] == "/"
    known = {tag["name"] for tag in document["tags"]}
    assert {tag for _label, one in operations(document) for tag in one["tags"]} == known


def test_ids_are_numbers_and_cursors_are_texts(document: Any) -> None:
    kinds = {
        parameter["name"]: parameter["schema"]["type"]
        for _label, operation in operations(document)
        for parameter in operation["parameters"]
    }
    assert (kinds["activity_id"], kinds["user_id"], kinds["limit"]) == ("integer",) * 3
    assert (kinds["after"], kinds["before"]) == ("string", "string")


def test_each_body_has_an_example_that_its_schema_takes(document: Any) -> None:
    for label, operation in operations(document):
        for kind, content in contents(operation):
            schema = {**content["schema"], "components": document["components"]}
            faults = list(Draft202012Validator(schema).iter_errors(content["example"]))
            assert not faults, (label, kind, content["example"])


def test_each_refusal_says_what_it_means_to_the_caller(document: Any) -> None:
    for label, operation in operations(document):
        for status, response in operation["responses"].items():
            if int(status) < 400:
                assert list(response["content"]) == ["application/json"], label
                continue
            assert response["content"]["application/problem+json"]["example"]["status"] == int(
                status
            )
            assert response["description"].endswith("."), (label, status)
            assert ("Retry-After" in response.get("headers", {})) == (status in ("429", "503"))


def test_what_a_sender_may_leave_out_has_no_default(document: Any) -> None:
    # Generators for TypeScript would make each such member one that must be sent.
    for name in ("CreateBody", "SetBody", "ActBody", "ResultsBody"):
        schema = document["components"]["schemas"][name]
        optional = set(schema["properties"]) - set(schema.get("required", []))
        assert optional
        assert not [part for part in optional if "default" in schema["properties"][part]]
