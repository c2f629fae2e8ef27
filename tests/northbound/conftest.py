"""What tests of the API share: one that is served, where everybody is an administrator, and a network in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.northbound.served import Client, serving


@pytest.fixture
def api() -> Iterator[Client]:
    """An API of its own, with its defaults and an empty store."""
    with serving() as client:
        yield client


@pytest.fixture
def red(api: Client) -> str:
    """The id of a network that nothing is on yet."""
    return str(api.make("network", name="red")["id"])
