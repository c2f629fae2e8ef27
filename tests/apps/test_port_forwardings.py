"""Ports of a floating IP lead to guests' ports, at the gateways; each connection remembers by which forwarding."""

from __future__ import annotations

import re

import pytest

from controller.model.records import Address, PortForwarding
from tests.apps.outside import FLOATING_MAC, add_outside
from tests.cloud import Cloud, Work, floating_ip, router


def forwarding(protocol: str, outer: tuple[int, int], inner: tuple[int, int], *, id: str = "w") -> Work:
    """Ports of the floating IP stand for ports of vm1."""
    made = PortForwarding(
        id=id,
        project_id="",
        floatingip_id="f",
        protocol=protocol,
        external_port_first=outer[0],
        external_port_last=outer[1],
        internal_port_first=inner[0],
        internal_port_last=inner[1],
        internal_ip_address=Address("10.0.0.1"),
        internal_port_id="vm1",
    )
    return lambda tx: tx.put(made)


@pytest.fixture
def cloud() -> Cloud:
    """172.24.0.100 is at router r and stands for nobody; its TCP port 8080 is vm1's port 80."""
    cloud = Cloud()
    add_outside(cloud)
    cloud.commit(floating_ip("f", "ext", FLOATING_MAC, "172.24.0.100", "r"), forwarding("tcp", (8080, 8080), (80, 80)))
    return cloud


ASKED = "ct_clear,load:0xe000->NXM_NX_REG3[0..15]"
NUMBER = "11f7d804"
MARK = f"ct_label=0x{NUMBER}000000000000000000000000/0xffffffff000000000000000000000000"
KNOWN = f"table=25,priority=115,ip,nw_dst=172.24.0.100,reg7=0x1,reg9=0x2 actions={ASKED},ct(table=26,zone=NXM_NX_REG3[0..15],nat)"
TO_GATEWAY = (
    "table=29,priority=117,ip,nw_src=10.0.0.1,nw_dst=172.24.0.10,reg0=0x0/0x4,reg6=0x2,reg7=0x1 actions=group:268435457"
)
BACK = f"table=29,priority=117,ip,nw_src=10.0.0.1,nw_dst=172.24.0.10,reg0=0x4/0x4,reg6=0x2,reg7=0x1 actions={ASKED},ct(table=33,zone=NXM_NX_REG3[0..15],nat)"


def test_a_gateway_translates_in_the_routers_zone_and_marks_the_connection(cloud: Cloud) -> None:
    for chassis in ("hv2", "hv3"):
        assert sorted(cloud.flows(chassis, "port_forwardings")) == sorted([
            KNOWN, TO_GATEWAY, BACK,
            f"table=25,priority=130,ip,nw_dst=172.24.0.100,nw_proto=6,tcp_dst=8080,reg7=0x1,reg9=0x2 actions={ASKED},ct(commit,table=26,zone=NXM_NX_REG3[0..15],nat(dst=10.0.0.1:80),exec(load:0x{NUMBER}->NXM_NX_CT_LABEL[96..127]))",
            f"table=26,priority=100,ct_state=+trk+dnat,ct_zone=57344,reg7=0x1,{MARK} actions=load:0x1->NXM_NX_REG0[20],goto_table:27",
            f"table=33,priority=100,ct_state=+trk+snat,ct_zone=57344,reg6=0x2,reg7=0x1,{MARK} actions=set_field:{FLOATING_MAC}->eth_src,load:0x0->NXM_NX_REG0[2],resubmit(,30),resubmit(,31)",
        ])  # fmt: skip


def test_where_no_gateway_is_answers_to_the_gateway_go_there(cloud: Cloud) -> None:
    assert cloud.flows("hv1", "port_forwardings") == [TO_GATEWAY]


def into(cloud: Cloud) -> set[tuple[str, str]]:
    """Which ports lead where: (tcp_dst or udp_dst, the translation)."""
    found = (re.search(r"((?:tcp|udp)_dst=\S+?),.*(nat\(dst=[^)]+\))", flow) for flow in cloud.flows("hv2"))
    return {(way[1], way[2]) for way in found if way}


def test_a_range_onto_itself_is_as_few_flows_as_cover_it(cloud: Cloud) -> None:
    cloud.commit(forwarding("udp", (7000, 7003), (7000, 7003)))
    assert into(cloud) == {("udp_dst=7000/65532", "nat(dst=10.0.0.1)")}


def test_a_range_onto_one_port_is_as_few(cloud: Cloud) -> None:
    cloud.commit(forwarding("tcp", (2000, 2002), (22, 22)))
    assert into(cloud) == {("tcp_dst=2000/65534", "nat(dst=10.0.0.1:22)"), ("tcp_dst=2002", "nat(dst=10.0.0.1:22)")}


def test_a_range_onto_another_one_is_a_flow_a_port(cloud: Cloud) -> None:
    cloud.commit(forwarding("udp", (5000, 5002), (6000, 6002)))
    assert into(cloud) == {(f"udp_dst={5000 + n}", f"nat(dst=10.0.0.1:{6000 + n})") for n in range(3)}


def test_one_that_is_changed_is_another_and_its_connections_are_cut(cloud: Cloud) -> None:
    def marks() -> set[str]:
        return set(
            re.findall(r"ct_label=0x([0-9a-f]+)0{24}/0xf{8}0{24}", "".join(cloud.flows("hv2", "port_forwardings")))
        )

    assert marks() == {NUMBER}
    cloud.commit(forwarding("tcp", (8080, 8080), (81, 81)))
    assert len(marks()) == 1
    assert marks() != {NUMBER}
    cloud.commit(forwarding("tcp", (8080, 8080), (80, 80)))
    assert marks() == {NUMBER}, "as long as nothing of it is another, so is its number"


def test_one_that_goes_takes_its_flows_and_no_others(cloud: Cloud) -> None:
    cloud.commit(forwarding("udp", (53, 53), (53, 53), id="dns"))
    both = set(cloud.flows("hv2", "port_forwardings"))
    cloud.commit(lambda tx: tx.delete(PortForwarding, "w"))
    left = set(cloud.flows("hv2", "port_forwardings"))
    assert left < both
    assert into(cloud) == {("udp_dst=53", "nat(dst=10.0.0.1)")}
    assert {KNOWN, TO_GATEWAY, BACK} < left


def test_behind_a_router_that_does_not_translate_answers_are(cloud: Cloud) -> None:
    cloud.commit(router("r", external_network_id="ext", enable_snat=False))
    flows, asked = cloud.flows("hv2", "port_forwardings"), ASKED.replace("0xe000", "0xe001")
    translated = f"reg0=0x4/0x4,reg6=0x2,reg7=0x1 actions={asked},ct"
    assert {
        f"table=29,priority=105,ip,nw_src=10.0.0.1,{translated}(table=33,zone=NXM_NX_REG3[0..15],nat)",
        f"table=29,priority=107,ip,nw_dst=172.24.0.100,{translated}(commit,table=33,zone=NXM_NX_REG3[0..15],nat(src=172.24.0.10))",
    } <= {*flows}
