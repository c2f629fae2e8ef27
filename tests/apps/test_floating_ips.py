"""A floating IP is where its guest is, or at the gateways, and nowhere else."""

from __future__ import annotations

import pytest

from tests.apps.outside import FLOATING_MAC, add_floating, add_outside
from tests.cloud import Cloud, hypervisor

COME = "eth_dst=02:00:00:00:0e:64,reg0=0x0/0x1,reg6=0x2 actions=set_field:0x1->reg7"
KNOWN = f"set_field:0xac180064->reg4,set_field:{FLOATING_MAC}->eth_dst,load:0x1->NXM_NX_REG0[5]"
ASKS = "table=8,priority=140,arp,arp_op=1,arp_tpa=172.24.0.100,reg0=0x2/0x2,reg6=0x2"
NEIGHBOUR = (
    f"table=30,priority=100,reg4=0xac180064,reg6=0x2 actions=set_field:{FLOATING_MAC}->eth_dst,load:0x1->NXM_NX_REG0[5]"
)


def ways(zone: int, came: str = "") -> list[str]:
    """To and from 10.0.0.1, translated in a zone; what goes out `came` by a tunnel, perhaps."""
    asked, at = f"ct_clear,load:{zone:#x}->NXM_NX_REG3[0..15]", f"ct_zone={zone}"
    return [
        f"table=25,priority=120,ip,nw_dst=172.24.0.100,reg7=0x1,reg9=0x2 actions={asked},ct(commit,table=26,zone=NXM_NX_REG3[0..15],nat(dst=10.0.0.1))",
        f"table=26,priority=100,ip,nw_dst=10.0.0.1,ct_state=+trk+dnat,{at},reg7=0x1 actions=load:0x1->NXM_NX_REG0[20],goto_table:27",
        f"table=29,priority=130,ip,nw_src=10.0.0.1,{came}reg6=0x2,reg7=0x1 actions={asked},ct(commit,table=33,zone=NXM_NX_REG3[0..15],nat(src=172.24.0.100))",
        f"table=33,priority=100,ip,nw_src=172.24.0.100,ct_state=+trk+snat,{at},reg6=0x2,reg7=0x1 actions=set_field:{FLOATING_MAC}->eth_src,load:0x0->NXM_NX_REG0[2],resubmit(,30),resubmit(,31)",
    ]


@pytest.fixture
def cloud() -> Cloud:
    """172.24.0.100 stands for vm1, which is on hv1; hv2 and hv3 may be its router's gateway."""
    cloud = Cloud()
    add_outside(cloud)
    add_floating(cloud)
    return cloud


def test_it_is_translated_and_answered_for_where_its_guest_is(cloud: Cloud) -> None:
    assert sorted(cloud.flows("hv1", "floating_ips")) == sorted([
        *ways(57344), NEIGHBOUR,
        f"table=36,priority=100,{COME},load:0x0->NXM_NX_REG0[1],load:0x1->NXM_NX_REG0[20],resubmit(,23)",
        f"{ASKS} actions={KNOWN},goto_table:9",
    ])  # fmt: skip


def test_elsewhere_its_mac_address_is_known_and_nothing_else(cloud: Cloud) -> None:
    for chassis in ("hv2", "hv3"):
        assert cloud.flows(chassis, "floating_ips") == [NEIGHBOUR]


def test_of_a_guest_off_the_wire_it_is_at_the_gateways_behind_their_gate(cloud: Cloud) -> None:
    cloud.commit(hypervisor(1, "vm1", watches=(2, 3)))
    assert cloud.flows("hv1", "floating_ips") == []
    for chassis in ("hv2", "hv3"):
        assert sorted(cloud.flows(chassis, "floating_ips")) == sorted([
            *ways(57345, "reg0=0x4/0x4,"), NEIGHBOUR,
            f"table=36,priority=100,{COME},group:1073741825",
            f"{ASKS} actions={KNOWN},group:1073741825",
        ])  # fmt: skip


def test_whoever_has_it_next_has_another_zone(cloud: Cloud) -> None:
    add_floating(cloud, "vm2", "10.0.0.2")
    assert cloud.flows("hv1", "floating_ips") == []
    (into,) = [flow for flow in cloud.flows("hv2", "floating_ips") if flow.startswith("table=25,")]
    assert into.endswith(
        "load:0xe001->NXM_NX_REG3[0..15],ct(commit,table=26,zone=NXM_NX_REG3[0..15],nat(dst=10.0.0.2))"
    )


def test_one_that_stands_for_nobody_is_nobodys(cloud: Cloud) -> None:
    before = cloud.flows("hv1")
    add_floating(cloud, "", "")
    assert not any(FLOATING_MAC in flow or "172.24.0.100" in flow for flow in cloud.flows("hv1"))
    add_floating(cloud)
    assert sorted(flow.replace("0xe001", "0xe000").replace("57345", "57344") for flow in cloud.flows("hv1")) == sorted(
        before
    )
