"""On a wire: what its guests and physical hosts ask and tell, and the one hypervisor that is the router to them."""

from __future__ import annotations

import pytest

from apps.wire import hear, herald_chassis, herald_drained, herald_interface, herald_link, next_hop, prove
from controller.flows.frames import NO_MAC, Question, Statement, announcement, answer, question, read, tagged
from controller.flows.pipeline import Why
from controller.flows.punted import Heard, Punted, Resumed, Said, Sought
from controller.model.addresses import packed
from controller.model.records import Address, Chassis, Drained, Link, Mac, Neighbour, Port
from controller.model.view import View
from tests.cloud import Cloud, Work, heard, hypervisor, interface, network, port, router, subnet, turned, wire

GATE, HOST, OTHER = Mac("02:00:00:00:0a:01"), Mac("02:00:00:00:00:50"), Mac("02:00:00:00:00:51")
FOUR, SIX = "10.0.0.254", "fd00::fe"
LOCAL = "fe80::ff:fe00:a01"


@pytest.fixture
def cloud() -> Cloud:
    """VLAN 101 (network red, key 1) with vm1 on hv1 and vm2 on hv2; router r is on it, and hv1 serves it. hv3 is not on
    that wire."""
    made = Cloud()
    made.commit(wire("red", 101), network("over", 100))
    made.commit(subnet("red4", "red", "10.0.0.0/24", FOUR), subnet("red6", "red", "fd00::/64"))
    made.commit(*(port(f"vm{n}", "red", f"02:00:00:00:00:0{n}", on={"red4": f"10.0.0.{n}"}) for n in (1, 2)))
    made.commit(best(1), on_wire(2), hypervisor(3))
    made.commit(router("r"), interface("i", "r", "red", GATE, red4=FOUR, red6=SIX))
    return made


def on_wire(number: int, **more: object) -> Work:
    return hypervisor(number, f"vm{number}", physical=("physnet1",), **more)  # type: ignore[arg-type]


def best(number: int) -> Work:
    return on_wire(number, priority=9)


def flows(cloud: Cloud, chassis: str) -> list[str]:
    """What the app has on a switch."""
    return cloud.flows(chassis, "wire")


ASKED4 = "load:0x1->NXM_NX_REG0[4],move:NXM_OF_ARP_TPA[]->NXM_NX_REG4[],resubmit(,30),resubmit(,9)"
ASKED6 = "load:0x1->NXM_NX_REG0[4],move:NXM_NX_ND_TARGET[]->NXM_NX_XXREG3[],resubmit(,30),resubmit(,9)"
SERVED = [
    "table=36,priority=100,eth_dst=02:00:00:00:0a:01,reg0=0x2/0x2,reg6=0x1 "
    "actions=set_field:0x1->reg7,load:0x0->NXM_NX_REG0[1],load:0x1->NXM_NX_REG0[20],resubmit(,23)",
    f"table=8,priority=135,arp,arp_op=1,arp_tpa=10.0.0.254,reg0=0x2/0x2,reg6=0x1 actions={ASKED4}",
    f"table=8,priority=135,ipv6,nw_proto=58,icmpv6_type=135,nd_target=fd00::fe,reg0=0x2/0x2,reg6=0x1 actions={ASKED6}",
    f"table=8,priority=135,ipv6,nw_proto=58,icmpv6_type=135,nd_target={LOCAL},reg0=0x2/0x2,reg6=0x1 actions={ASKED6}",
]
"""What makes a hypervisor the router to physical hosts."""


def answers(number: int) -> list[str]:
    """How what is told to a hypervisor itself is heard."""
    return [
        f"table=8,priority=145,eth_dst=1e:00:0{number}:00:00:00,arp,arp_op=2 actions=set_field:0x2f->reg8,goto_table:60",
        f"table=8,priority=145,eth_dst=1e:00:0{number}:00:00:00,ipv6,nw_proto=58,icmpv6_type=136 "
        "actions=set_field:0x2f->reg8,goto_table:60",
    ]


ONWARD = [
    "table=8,priority=95,arp,reg6=0x1 actions=goto_table:20",
    "table=8,priority=95,ipv6,nw_proto=58,icmpv6_type=136,reg6=0x1 actions=goto_table:20",
    "table=9,priority=95,arp,arp_op=1,reg6=0x1 actions=goto_table:20",
    "table=9,priority=95,ipv6,nw_proto=58,icmpv6_type=135,reg6=0x1 actions=goto_table:20",
]


# ---- flows ----------------------------------------------------------------------------------------------------


def test_one_hypervisor_answers_and_routes_for_physical_hosts(cloud: Cloud) -> None:
    assert flows(cloud, "hv1") == [*SERVED, *answers(1), *ONWARD]
    assert flows(cloud, "hv2") == [*answers(2), *ONWARD]
    assert flows(cloud, "hv3") == []
    cloud.commit(lambda tx: tx.put(Drained(id="hv1")))
    assert flows(cloud, "hv1") == [*answers(1), *ONWARD]
    assert flows(cloud, "hv2") == [*SERVED, *answers(2), *ONWARD]


@pytest.mark.parametrize("undone", [turned("i", up=False), router("r", admin_state_up=False)])
def test_a_router_that_is_not_on_the_network_now_is_nobodys(cloud: Cloud, undone: Work) -> None:
    cloud.commit(undone)
    assert flows(cloud, "hv1") == [*answers(1), *ONWARD]


def test_a_physical_host_is_known_and_heard_of_wherever_its_wire_is(cloud: Cloud) -> None:
    before = {name: flows(cloud, name) for name in ("hv1", "hv2")}
    cloud.commit(heard("red", "10.0.0.50", HOST, ""), heard("red", "fd00::50", HOST, ""))
    for name in ("hv1", "hv2"):
        assert sorted({*flows(cloud, name)} - {*before[name]}) == [
            "table=30,priority=80,reg0=0x0/0x10,reg4=0xa000032,reg6=0x1 "
            "actions=set_field:02:00:00:00:00:50->eth_dst,load:0x1->NXM_NX_REG0[5]",
            "table=30,priority=80,reg0=0x0/0x10,reg6=0x1,xxreg3=0xfd000000000000000000000000000050 "
            "actions=set_field:02:00:00:00:00:50->eth_dst,load:0x1->NXM_NX_REG0[5]",
            "table=8,priority=133,arp,arp_spa=10.0.0.50,reg0=0x2/0x2,reg6=0x1 "
            "actions=set_field:0x2f->reg8,resubmit(,60),goto_table:20",
            "table=8,priority=133,ipv6,nw_proto=58,icmpv6_type=136,nd_target=fd00::50,reg0=0x2/0x2,reg6=0x1 "
            "actions=set_field:0x2f->reg8,resubmit(,60),goto_table:20",
            "table=8,priority=134,arp,arp_spa=10.0.0.50,arp_sha=02:00:00:00:00:50,reg0=0x2/0x2,reg6=0x1 "
            "actions=goto_table:20",
            "table=8,priority=134,ipv6,nw_proto=58,icmpv6_type=136,nd_target=fd00::50,nd_tll=02:00:00:00:00:50,"
            "reg0=0x2/0x2,reg6=0x1 actions=goto_table:20",
        ]
    assert flows(cloud, "hv3") == []


# ---- packets --------------------------------------------------------------------------------------------------


def handed(cloud: Cloud, why: Why, frame: bytes, chassis: str = "hv2", nexthop: str = "", by: str = "") -> Punted:
    """What a switch hands over on red, of a port or of the wire."""
    net, source = View(cloud.model).tag("network", "red"), View(cloud.model).tag("port", by) if by else 0
    octets = packed(Address(nexthop)) if nexthop else b""
    words = [int.from_bytes(octets[at : at + 4]) for at in range(0, len(octets), 4)]
    registers = dict(zip((4,) if len(words) == 1 else (12, 13, 14, 15), words, strict=False))
    return Punted(why, 5, source, 1, net, net, frame, registers, chassis)


def sought(cloud: Cloud, nexthop: str, chassis: str = "hv2") -> Sought | None:
    """What is asked for a next hop."""
    found = [*next_hop(cloud.engine.view(), handed(cloud, Why.NO_NEIGHBOUR, b"packet", chassis, nexthop))]
    assert len(found) <= 1
    return found[0] if found and isinstance(found[0], Sought) else None


def test_a_next_hop_is_asked_for_on_the_wire_and_of_guests_there_in_nobodys_name(cloud: Cloud) -> None:
    for nexthop, source in (("10.0.0.77", "0.0.0.0"), ("fd00::77", "fe80::1c00:2ff:fe00:0")):
        found = sought(cloud, nexthop)
        assert found is not None
        assert (found.network_id, found.address) == ("red", nexthop)
        own = Mac("1e:00:02:00:00:00")
        frame = question(Address(nexthop), Address(source), own)
        assert found.questions == (Said("hv2", (5,), tagged(frame, 101)), Said("hv2", (10,), frame))
        assert read(frame) == Question(Address(nexthop), Address(source), own)
        onward = found.then(HOST)
        assert isinstance(onward, Resumed)
        assert onward.frame == b"packet"


def test_who_is_not_on_the_wire_lets_another_ask(cloud: Cloud) -> None:
    found = sought(cloud, "10.0.0.77", "hv3")
    assert found is not None
    assert {said.chassis for said in found.questions} == {"hv1"}


@pytest.mark.parametrize("nexthop", ["10.0.0.1", FOUR, SIX, LOCAL, "10.9.0.9"])
def test_what_the_model_gives_to_somebody_or_no_subnet_has_is_not_asked_for(cloud: Cloud, nexthop: str) -> None:
    assert sought(cloud, nexthop) is None


def told(cloud: Cloud, frame: bytes, by: str = "") -> list[object]:
    """What is heard of a frame from the wire."""
    return [*hear(cloud.engine.view(), handed(cloud, Why.TOLD, frame, by=by))]


def test_what_a_physical_host_tells_of_itself_is_believed(cloud: Cloud) -> None:
    asked = Question(Address("10.0.0.50"), Address("0.0.0.0"), Mac("1e:00:02:00:00:00"))
    assert told(cloud, answer(asked, HOST)) == [Heard("red", Address("10.0.0.50"), HOST, "", unasked=False)]
    for address in ("10.0.0.50", "fd00::50"):
        frame = announcement(Address(address), OTHER)
        assert told(cloud, frame) == [Heard("red", Address(address), OTHER, "", unasked=True)]


@pytest.mark.parametrize("address", ["10.0.0.1", "10.0.0.2", FOUR, SIX, LOCAL, "10.9.0.9"])
def test_what_is_told_of_addresses_of_others_is_not(cloud: Cloud, address: str) -> None:
    assert told(cloud, announcement(Address(address), HOST)) == []


def test_nor_is_what_bears_no_macs_of_interfaces_asks_or_comes_from_a_guest(cloud: Cloud) -> None:
    for mac in (NO_MAC, Mac("ff:ff:ff:ff:ff:ff"), Mac("01:00:5e:00:00:01")):
        assert told(cloud, announcement(Address("10.0.0.50"), mac)) == []
    assert told(cloud, question(Address("10.0.0.50"), Address("10.0.0.51"), HOST)) == []
    assert told(cloud, announcement(Address("10.0.0.50"), HOST), by="vm2") == []
    assert told(cloud, b"") == []


def test_a_physical_host_is_asked_whether_it_is_still_there_and_anybody_when_nobody_is_known(cloud: Cloud) -> None:
    def proved(mac: Mac, port: str = "") -> list[Said]:
        cloud.commit(heard("red", "10.0.0.50", mac, port))
        (neighbour,) = cloud.model.all(Neighbour)
        return [*prove(cloud.engine.view(), neighbour)]

    own = Mac("1e:00:01:00:00:00")
    alone = question(Address("10.0.0.50"), Address("0.0.0.0"), own, HOST)
    assert alone[:6] == bytes.fromhex(HOST.replace(":", ""))
    assert proved(HOST) == [Said("hv1", (5,), tagged(alone, 101))]
    everybody = question(Address("10.0.0.50"), Address("0.0.0.0"), own)
    assert proved(NO_MAC) == [Said("hv1", (5,), tagged(everybody, 101)), Said("hv1", (10,), everybody)]
    assert proved(HOST, "vm1") == [], "a guest is asked by another app"


# ---- announcements --------------------------------------------------------------------------------------------


def announced(found: list[Said]) -> list[tuple[str, str]]:
    """Who announces which addresses, all of them at the router's MAC and on the VLAN."""
    told = [(said.chassis, read(said.frame[:12] + said.frame[16:])) for said in found]
    assert {said.ports for said in found} <= {(5,)}
    assert {said.frame[12:16].hex() for said in found} <= {"81000065"}
    assert all(isinstance(each, Statement) and each.mac == GATE and each.unasked for _, each in told)
    return [(chassis, each.address) for chassis, each in told if each is not None]


def everything(chassis: str) -> list[tuple[str, str]]:
    return [(chassis, address) for address in (FOUR, SIX, LOCAL)]


def test_a_router_that_comes_to_a_wire_is_announced_by_who_serves_it(cloud: Cloud) -> None:
    view, interfaces = cloud.engine.view(), cloud.model.get(Port, "i")
    assert announced([*herald_interface(view, None, interfaces)]) == everything("hv1")
    assert [*herald_interface(view, interfaces, None)] == []
    assert [*herald_interface(view, None, cloud.model.get(Port, "vm1"))] == []
    cloud.commit(turned("i", up=False))
    assert [*herald_interface(cloud.engine.view(), None, cloud.model.get(Port, "i"))] == []


def test_whoever_serves_a_wire_from_now_on_announces_its_routers(cloud: Cloud) -> None:
    first = cloud.model.get(Chassis, "hv2")
    cloud.commit(on_wire(2, priority=20))
    view = cloud.engine.view()
    assert announced([*herald_chassis(view, first, cloud.model.get(Chassis, "hv2"))]) == everything("hv2")
    assert [*herald_chassis(view, None, cloud.model.get(Chassis, "hv3"))] == [], "who is on no wire changes nothing"
    drained = Drained(id="hv2")
    cloud.commit(lambda tx: tx.put(drained))
    assert announced([*herald_drained(cloud.engine.view(), None, drained)]) == everything("hv1")
    cloud.commit(lambda tx: tx.delete(Drained, "hv2"))
    assert announced([*herald_drained(cloud.engine.view(), drained, None)]) == everything("hv2")


def test_a_switch_that_comes_to_a_wire_has_its_routers_announced(cloud: Cloud) -> None:
    view = cloud.engine.view()
    links = {link.interface: link for link in cloud.model.where(Link, chassis="hv1")}
    assert announced([*herald_link(view, None, links["wp-physnet1"])]) == everything("hv1")
    assert [*herald_link(view, None, links["tap-vm1"])] == []
    assert [*herald_link(view, links["wp-physnet1"], None)] == []
