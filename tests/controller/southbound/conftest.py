"""What tests of the southbound share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.controller.southbound.hypervisors import Host
from tests.controller.southbound.switches import OpenVSwitch


@pytest.fixture(scope="module")
def ovs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenVSwitch]:
    ovs = OpenVSwitch(tmp_path_factory.mktemp("ovs"))
    yield ovs
    ovs.stop()


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Callable[[], Host]]:
    started: list[Host] = []

    def start() -> Host:
        started.append(Host(tmp_path / f"hv{len(started) + 1}"))
        return started[-1]

    yield start
    for host in started:
        host.stop()


@pytest.fixture
def host(hosts: Callable[[], Host]) -> Host:
    return hosts()
