"""`/openapi.json` says what the API does: whatever a client makes of it, no answer is other than it says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from northbound.resources import COLLECTIONS
from tests.northbound.served import Client, serving

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
SOAK = os.environ.get("WEFT_HYPOTHESIS_PROFILE") == "soak"
EXAMPLES = 10_000 if SOAK else 300
"""How many requests there are in all."""


@pytest.fixture(scope="module")
def api() -> Iterator[Client]:
    with serving() as client:
        yield client


def test_every_collection_is_described_with_what_it_has(api: Client) -> None:
    paths = api.get("/openapi.json")["paths"]
    for each in COLLECTIONS:
        path = "/v2.0/" + each.path.replace("{within}", "{parent_id}")
        assert paths[path].keys() == {"get", *(["post"] if each.create else [])}
        verbs = {"get": True, "put": each.update, "delete": each.delete}
        assert paths[f"{path}/{{id}}"].keys() == {verb for verb, there in verbs.items() if there}


def test_the_document_is_valid_openapi(api: Client) -> None:
    document = api.get("/openapi.json")
    schemathesis.openapi.from_dict(document).validate()
    names = [each["operationId"] for path in document["paths"].values() for each in path.values()]
    assert len(names) == len(set(names)) > 30


def test_every_attribute_says_what_it_takes_and_what_is_seen_of_it() -> None:
    every = [(each, attribute) for each in COLLECTIONS for attribute in each.attributes]
    unseen = {
        f"{each.name}.{attribute.name}" for each, attribute in every if not attribute.hidden and not attribute.gives
    }
    unsaid = {f"{each.name}.{one.name}" for each, one in every if (one.post or one.put) and not one.takes}
    assert (unseen, unsaid) == (set(), set())


def test_what_is_asked_as_described_is_answered_as_described(api: Client) -> None:
    """Requests that follow the schemas, and requests that break them."""
    schema: Any = schemathesis.openapi.from_url(f"{api.url}/openapi.json")
    operations = [each.ok() for each in schema.get_all_operations()]
    failures: list[str] = []
    each_budget, asked, rounds = max(1, -(-EXAMPLES // (2 * len(operations)))), 0, 0
    while rounds == 0 or (SOAK and asked < EXAMPLES):  # some operations have few requests that differ
        for operation in operations:
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                asked += ask(operation.as_strategy(generation_mode=mode), each_budget, failures)
        rounds += 1
    print(f"{asked} requests in {rounds} rounds")
    assert failures == []


def ask(cases: Any, budget: int, failures: list[str]) -> int:
    """Make requests; how many were made."""
    asked = count()

    @given(case=cases)
    @settings(
        max_examples=budget,
        deadline=None,
        database=None,
        derandomize=not SOAK,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def run(case: Any) -> None:
        next(asked)
        try:
            case.call_and_validate(checks=CHECKS)
        except AssertionError as error:
            failures.append(f"{case.method} {case.path}: {error}")
        except schemathesis.errors.FailureGroup as group:
            failures.append(f"{case.method} {case.path}: {group} {case.as_curl_command()}")

    run()
    return next(asked)
