"""The whole table of a small cloud, as a reviewer reads it. `make golden` rewrites it; the difference is reviewed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.cloud import Cloud, egress, group, hypervisor, ingress, network, port

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.fixture
def tenants() -> Cloud:
    """Two tenants with equal addresses and MACs, on VXLAN and on Geneve, over two hypervisors.

    Red's ports are in a group as a project's default one is; blue's first is under no group, its second unguarded.
    """
    cloud = Cloud()
    cloud.commit(hypervisor(1, "red1", "red2", "blue1"), hypervisor(2, "red3", "blue3"))
    for name, vni, type in (("red", 100, "vxlan"), ("blue", 200, "geneve")):
        cloud.commit(network(name, vni, type))
    both = ("IPv4", "IPv6")
    hear_one_another = [ingress(remote_group_id="red", ethertype=version) for version in both]
    cloud.commit(group("red", *(egress(ethertype=version) for version in both), *hear_one_another))
    how: dict[str, dict[str, Any]] = {"blue1": {}, "blue2": {}, "blue3": {"guarded": False}}
    for name in ("red", "blue"):
        for last in (1, 2, 3):
            made = how.get(f"{name}{last}", {"groups": ["red"]})
            cloud.commit(port(f"{name}{last}", name, f"02:00:00:00:00:0{last}", f"10.0.0.{last}", **made))
    return cloud


@pytest.mark.parametrize("chassis", ["hv1", "hv2"])
def test_golden_two_tenants(tenants: Cloud, chassis: str) -> None:
    golden = GOLDEN / f"two_tenants.{chassis}.flows"
    flows = "\n".join([*tenants.flows(chassis), ""])
    if os.environ.get("WEFT_GOLDEN") == "write":
        golden.write_text(flows)
    assert flows == golden.read_text()


def test_golden_tables_share_what_they_can(tenants: Cloud) -> None:
    one, other = set(tenants.flows("hv1")), set(tenants.flows("hv2"))
    assert len(one & other) > len(one | other) // 3
