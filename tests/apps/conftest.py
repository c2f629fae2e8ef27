"""Two hypervisors, one network, three guests: enough for every app."""

from __future__ import annotations

import pytest

from tests.cloud import Cloud, hypervisor, network, port


@pytest.fixture
def cloud() -> Cloud:
    """Network red (key 1, VXLAN 100) with vm1 and vm2 on hv1 and vm3 on hv2 (keys 1, 2, 3)."""
    cloud = Cloud()
    cloud.commit(network("red", 100))
    cloud.commit(port("vm1", "red", "02:00:00:00:00:01", "10.0.0.1"))
    cloud.commit(port("vm2", "red", "02:00:00:00:00:02", "10.0.0.2"))
    cloud.commit(port("vm3", "red", "02:00:00:00:00:03", "10.0.0.3", "fd00::3"))
    cloud.commit(hypervisor(1, "vm1", "vm2"))
    cloud.commit(hypervisor(2, "vm3"))
    return cloud
