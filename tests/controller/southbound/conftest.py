"""What tests of the southbound share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.controller.southbound.switches import OpenVSwitch


@pytest.fixture(scope="module")
def ovs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenVSwitch]:
    ovs = OpenVSwitch(tmp_path_factory.mktemp("ovs"))
    yield ovs
    ovs.stop()
