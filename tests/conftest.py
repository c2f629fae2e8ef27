"""How hard the property tests search: `WEFT_HYPOTHESIS_PROFILE` is `default` or `soak`.

`default` draws the same few examples every time, so that a red run is red again; `soak` draws thousands of new ones
and remembers those that failed. A test that sets its own `max_examples` escapes both.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.open_vswitch import OpenVSwitch

settings.register_profile(
    "default",
    max_examples=25,
    stateful_step_count=20,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "soak",
    max_examples=5_000,
    stateful_step_count=50,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("WEFT_HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(scope="session")
def open_vswitch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenVSwitch]:
    """A real Open vSwitch to trace packets through, with the OpenFlow ports that `tests.cloud.hypervisor` gives out."""
    with OpenVSwitch(tmp_path_factory.mktemp("judge")).running([1, 2, 5, 6, *range(10, 20), *range(91, 95)]) as judge:
        yield judge
