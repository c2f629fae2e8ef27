"""Neighbours that only guests know: the flows by which they are sought, heard and known, and what packets come to."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from apps.neighbours import APP, OURS, hear, herald, next_hop, prove, seek
from controller.flows.action import actions_text
from controller.flows.frames import Question, Statement, announcement, answer, question, read
from controller.flows.pipeline import NET, NET_IN, RTR, SRC, WHY, Why
from controller.flows.punted import Announced, Heard, Punted, Reply, Resumed, Said, Sought
from controller.model.addresses import packed
from controller.model.records import Address, Mac, Neighbour, Port
from controller.model.view import View
from tests.cloud import Cloud, Work, heard, hypervisor, interface, network, port, router, subnet

VIP, VIRTUAL = "10.0.0.100", "00:00:5e:00:01:01"
SHARED = [(VIRTUAL, VIP), (VIRTUAL, "fd00::100")]
GATE, WORLD = "02:00:00:00:0a:01", "02:00:00:00:0a:02"


def vm(number: int, **more: object) -> Work:
    """vmN of red at 10.0.0.N and fd00::N."""
    addresses = (f"10.0.0.{number}", f"fd00::{number}")
    return port(f"vm{number}", "red", f"02:00:00:00:00:0{number}", *addresses, **more)  # type: ignore[arg-type]


@pytest.fixture
def cloud() -> Cloud:
    """Network red (key 1), dual stack, with vm1 on hv1 and vm2, vm3 on hv2 (keys 1 to 3), nobody with an open address."""
    made = Cloud()
    made.commit(network("red", 100), subnet("red4", "red", "10.0.0.0/24"), subnet("red6", "red", "fd00::/64"))
    made.commit(*map(vm, (1, 2, 3)), hypervisor(1, "vm1"), hypervisor(2, "vm2", "vm3"))
    return made


def flows(cloud: Cloud, chassis: str) -> list[str]:
    """What the app has on a switch."""
    return cloud.flows(chassis, "neighbours")


# ---- flows ----------------------------------------------------------------------------------------------------


def test_where_the_model_says_who_holds_what_nothing_is_heard(cloud: Cloud) -> None:
    cloud.commit(vm(1, pairs=SHARED))
    assert flows(cloud, "hv1") == flows(cloud, "hv2") == []


def test_an_address_that_two_share_is_sought_and_heard_wherever_its_network_is(cloud: Cloud) -> None:
    cloud.commit(vm(1, pairs=SHARED[:1]), vm(2, pairs=SHARED[:1]))
    assert (
        flows(cloud, "hv1")
        == flows(cloud, "hv2")
        == [
            "table=8,priority=97,arp,arp_op=2,arp_spa=10.0.0.100,reg6=0x1 actions=set_field:0x2f->reg8,goto_table:60",
            "table=9,priority=97,arp,arp_op=1,arp_tpa=10.0.0.100,reg6=0x1 actions=set_field:0x2e->reg8,goto_table:60",
        ]
    )
    cloud.commit(vm(2))
    assert flows(cloud, "hv1") == flows(cloud, "hv2") == []


@pytest.mark.parametrize(
    ("change", "arp", "nd"),
    [
        (vm(1, pairs=[(VIRTUAL, "10.9.0.0/16"), (VIRTUAL, "fd09::/16")]), "=10.9.0.0/255.255.0.0", "=fd09::/ffff::"),
        (vm(1, guarded=False), "", ""),
    ],
    ids=["a block", "no port security"],
)
def test_so_are_all_addresses_that_one_port_may_hold(cloud: Cloud, change: Work, arp: str, nd: str) -> None:
    cloud.commit(change)
    spa, tpa, target = (
        f",{name}{block}" if block else ""
        for name, block in zip(("arp_spa", "arp_tpa", "nd_target"), (arp, arp, nd), strict=True)
    )
    assert flows(cloud, "hv2") == [
        f"table=8,priority=97,arp,arp_op=2{spa},reg6=0x1 actions=set_field:0x2f->reg8,goto_table:60",
        f"table=8,priority=97,ipv6,nw_proto=58,icmpv6_type=136{target},reg6=0x1 actions=set_field:0x2f->reg8,goto_table:60",
        f"table=9,priority=97,arp,arp_op=1{tpa},reg6=0x1 actions=set_field:0x2e->reg8,goto_table:60",
        f"table=9,priority=97,ipv6,nw_proto=58,icmpv6_type=135{target},reg6=0x1 actions=set_field:0x2e->reg8,goto_table:60",
    ]


def test_who_was_heard_is_known_and_reached_and_its_announcements_are_passed_on(cloud: Cloud) -> None:
    cloud.commit(vm(2, guarded=False), heard("red", "10.0.0.77", "02:99:00:00:00:77", "vm2"))
    known = [
        "table=30,priority=80,reg4=0xa00004d,reg6=0x1 actions=set_field:02:99:00:00:00:77->eth_dst,load:0x1->NXM_NX_REG0[5]",
        "table=36,priority=80,eth_dst=02:99:00:00:00:77,reg6=0x1 actions=set_field:192.0.2.2->tun_dst,goto_table:52",
        "table=8,priority=120,arp,arp_op=1,arp_spa=0.0.0.0,arp_tpa=10.0.0.77,reg6=0x1 actions=set_field:0x2e->reg8,goto_table:60",
        "table=8,priority=130,eth_dst=ff:ff:ff:ff:ff:ff,arp,arp_op=1,arp_spa=10.0.0.77,arp_tpa=10.0.0.77,reg6=0x1 "
        "actions=set_field:0x2f->reg8,resubmit(,60),goto_table:37",
        "table=8,priority=130,eth_dst=ff:ff:ff:ff:ff:ff,arp,arp_op=2,arp_spa=10.0.0.77,arp_tpa=10.0.0.77,reg6=0x1 "
        "actions=set_field:0x2f->reg8,resubmit(,60),goto_table:37",
    ]  # fmt: skip
    assert [flow for flow in flows(cloud, "hv1") if "priority=97" not in flow] == known
    known[1] = "table=36,priority=80,eth_dst=02:99:00:00:00:77,reg6=0x1 actions=set_field:0x2->reg2,goto_table:43"
    assert [flow for flow in flows(cloud, "hv2") if "priority=97" not in flow] == known


def test_the_same_by_neighbour_discovery(cloud: Cloud) -> None:
    cloud.commit(vm(2, guarded=False), heard("red", "fd00::77", "02:00:00:00:00:02", "vm2"))
    assert [flow for flow in flows(cloud, "hv1") if "priority=97" not in flow] == [
        "table=30,priority=80,reg6=0x1,xxreg3=0xfd000000000000000000000000000077 "
        "actions=set_field:02:00:00:00:00:02->eth_dst,load:0x1->NXM_NX_REG0[5]",
        "table=8,priority=120,ipv6,nw_proto=58,ipv6_src=::,icmpv6_type=135,nd_target=fd00::77,reg6=0x1 "
        "actions=set_field:0x2e->reg8,goto_table:60",
        "table=8,priority=130,eth_dst=33:33:00:00:00:01,ipv6,nw_proto=58,icmpv6_type=136,nd_target=fd00::77,reg6=0x1 "
        "actions=set_field:0x2f->reg8,resubmit(,60),goto_table:37",
    ]  # fmt: skip


def test_what_a_pair_names_nobody_without_port_security_announces(cloud: Cloud) -> None:
    cloud.commit(vm(1, pairs=SHARED), vm(2, pairs=SHARED), vm(3, guarded=False), heard("red", VIP, VIRTUAL, "vm2"))
    announced = [flow for flow in flows(cloud, "hv2") if "priority=130" in flow]
    assert len(announced) == 2
    assert all("reg0=0x0/0x40" in flow for flow in announced)


def test_a_virtual_mac_is_at_one_port_the_last_that_was_heard(cloud: Cloud) -> None:
    cloud.commit(vm(1, pairs=SHARED), vm(2, pairs=SHARED))

    def at(chassis: str) -> list[str]:
        return [flow.partition("actions=")[2] for flow in flows(cloud, chassis) if "table=36" in flow]

    seen = []
    for address, who in ((VIP, "vm1"), ("fd00::100", "vm1"), (VIP, "vm2"), ("fd00::100", "vm2")):
        cloud.commit(heard("red", address, VIRTUAL, who))
        seen.append((at("hv1"), at("hv2")))
    here, there = "set_field:0x{}->reg2,goto_table:43", "set_field:192.0.2.{}->tun_dst,goto_table:52"
    first, second = ([here.format(1)], [there.format(1)]), ([there.format(2)], [here.format(2)])
    assert seen == [first, first, second, second]
    assert cloud.engine.conflicts == {}


def test_a_neighbour_whose_port_may_not_hold_its_address_is_nowhere(cloud: Cloud) -> None:
    cloud.commit(vm(2, guarded=False), heard("red", "10.0.0.77", "02:99:00:00:00:77", "vm2"))
    cloud.commit(vm(2))
    assert flows(cloud, "hv1") == flows(cloud, "hv2") == []


def test_another_neighbour_is_its_own_cells_and_its_own_flows(cloud: Cloud) -> None:
    cloud.commit(vm(2, guarded=False), heard("red", "10.0.0.77", "02:00:00:00:00:02", "vm2"))
    cloud.commit(heard("red", "10.0.0.78", "02:00:00:00:00:02", "vm2"))
    names = ("neighbours.known", "neighbours.local", "neighbours.remote", "wire.known", "wire.moved")
    assert set(cloud.engine.log) <= {f"{name}[red/10.0.0.{last}]" for name in names for last in (77, 78)}
    assert len(cloud.delta["hv1"]) == len(cloud.delta["hv2"]) == 4


# ---- packets --------------------------------------------------------------------------------------------------


@pytest.fixture
def joined(cloud: Cloud) -> Cloud:
    """The same; red is joined to blue by router r; vm2 is without port security, vm1 and vm3 share the virtual ones."""
    cloud.commit(network("blue", 200), router("r"), subnet("blue4", "blue", "10.1.0.0/24"))
    cloud.commit(interface("gate", "r", "red", GATE, red4="10.0.0.254", red6="fd00::fe"))
    cloud.commit(interface("world", "r", "blue", WORLD, blue4="10.1.0.254"))
    cloud.commit(port("far", "blue", "02:00:00:00:01:09", "10.1.0.9"), hypervisor(1, "vm1", "far"))
    cloud.commit(vm(1, pairs=SHARED), vm(2, guarded=False), vm(3, pairs=SHARED))
    return cloud


def handed(cloud: Cloud, why: Why, frame: bytes, by: str, on: str = "red", nexthop: str = "") -> Punted:
    """What a switch hands over of a frame of a guest."""
    view = View(cloud.model)
    values = {SRC: view.tag("port", by), NET: view.tag("network", on), WHY: int(why)}
    if nexthop:
        values |= {RTR: view.tag("router", "r"), NET_IN: view.tag("network", "blue")}
    registers = {int(field.wire.removeprefix("reg")): value for field, value in values.items()}
    words = struct.unpack(f"!{len(packed(Address(nexthop))) // 4}I", packed(Address(nexthop))) if nexthop else ()
    registers |= dict(zip((4,) if len(words) == 1 else (12, 13, 14, 15), words, strict=False))
    return Punted(
        why, 10, values[SRC], values.get(RTR, 0), values.get(NET_IN, 0), values[NET], frame, registers
    )  # fmt: skip


def asked(cloud: Cloud, address: str, by: str, source: str, mac: str) -> Sought | None:
    """What comes of a guest's question, asked from an address and a MAC address."""
    frame = question(Address(address), Address(source), Mac(mac))
    found = [*seek(cloud.engine.view(), handed(cloud, Why.SOUGHT, frame, by))]
    assert len(found) <= 1
    return found[0] if found and isinstance(found[0], Sought) else None


def places(sought: Sought | None) -> list[tuple[str, tuple[int, ...]]]:
    """Whom it asks."""
    return [(said.chassis, said.ports) for said in sought.questions] if sought else []


def test_only_who_may_hold_an_address_is_asked_and_never_who_asks(joined: Cloud) -> None:
    for address, by, whom in (
        ("10.0.0.77", "vm1", [("hv2", (10,))]),
        ("fd00::77", "vm1", [("hv2", (10,))]),
        ("10.0.0.77", "vm2", []),
        (VIP, "vm2", [("hv1", (10,)), ("hv2", (11,))]),
        (VIP, "vm1", [("hv2", (11,))]),
        ("10.0.0.3", "vm1", []),
        ("10.0.0.254", "vm1", []),
    ):
        source = "fd00::1" if ":" in address else "10.0.0.1"
        assert places(asked(joined, address, by, source, "02:00:00:00:00:01")) == whom, (address, by)


@pytest.mark.parametrize(
    ("address", "by", "source", "mac", "name"),
    [
        ("10.0.0.77", "vm1", "10.0.0.1", "02:00:00:00:00:01", ("10.0.0.1", "02:00:00:00:00:01")),
        (VIP, "vm2", "10.0.0.2", "02:00:00:00:00:02", ("10.0.0.2", "02:00:00:00:00:02")),
        (VIP, "vm2", "10.0.0.2", "02:00:00:00:00:66", ("0.0.0.0", "02:00:00:00:00:02")),
        (VIP, "vm2", "10.0.0.1", "02:00:00:00:00:02", ("0.0.0.0", "02:00:00:00:00:02")),
        ("fd00::100", "vm2", "fd00::2", "02:00:00:00:00:02", ("fe80::ff:fe00:2", "02:00:00:00:00:02")),
        ("fd00::77", "vm1", "::", "02:00:00:00:00:01", ("fe80::ff:fe00:1", "02:00:00:00:00:01")),
    ],
    ids=["guarded", "true", "a lie about the MAC", "a lie about the address", "ND", "ND probe"],
)
def test_others_are_asked_in_the_name_of_who_asks_unless_that_is_a_lie(
    joined: Cloud, address: str, by: str, source: str, mac: str, name: tuple[str, str]
) -> None:
    sought = asked(joined, address, by, source, mac)
    assert sought is not None
    frames = {said.frame for said in sought.questions}
    assert {read(frame) for frame in frames} == {Question(Address(address), Address(name[0]), Mac(name[1]))}


def test_who_asked_is_told_and_who_would_take_an_address_hears_from_its_holder(joined: Cloud) -> None:
    sought = asked(joined, "10.0.0.77", "vm1", "10.0.0.1", "02:00:00:00:00:01")
    assert sought is not None
    told = Question(Address("10.0.0.77"), Address("10.0.0.1"), Mac("02:00:00:00:00:01"))
    assert sought.then(Mac(VIRTUAL)) == Reply(10, answer(told, Mac(VIRTUAL)))
    assert not sought.anew
    joined.commit(heard("red", VIP, VIRTUAL, "vm3"))
    sought = asked(joined, VIP, "vm1", "0.0.0.0", "02:00:00:00:00:01")
    assert sought is not None
    assert (sought.anew, places(sought)) == (True, [("hv2", (11,))])
    assert asked(joined, VIP, "vm3", "0.0.0.0", "02:00:00:00:00:03") is None, "its own"


def test_a_router_asks_from_its_interface_on_the_subnet_and_the_packet_goes_on_where_it_was(joined: Cloud) -> None:
    for nexthop, source, ethertype in (("10.0.0.77", "10.0.0.254", "0800"), ("fd00::77", "fd00::fe", "86dd")):
        frame = bytes(12) + bytes.fromhex(ethertype) + b"packet"
        punted = handed(joined, Why.NO_NEIGHBOUR, frame, "far", nexthop=nexthop)
        (sought,) = next_hop(joined.engine.view(), punted)
        assert isinstance(sought, Sought)
        assert (sought.network_id, sought.address, places(sought)) == ("red", nexthop, [("hv2", (10,))])
        (said,) = sought.questions
        assert read(said.frame) == Question(Address(nexthop), Address(source), Mac(GATE))
        then = sought.then(Mac(VIRTUAL))
        assert isinstance(then, Resumed)
        assert (then.in_port, then.frame) == (10, frame)
        done = actions_text(then.actions)
        assert done.endswith(f"set_field:{VIRTUAL}->eth_dst,load:0x1->NXM_NX_REG0[5],resubmit(,31)")
        assert {f"set_field:{value:#x}->reg{number}" for number, value in punted.registers.items()} <= {
            *done.split(",")
        }


def test_a_router_asks_nobody_for_an_address_that_nobody_may_hold(joined: Cloud) -> None:
    joined.commit(vm(2))
    punted = handed(joined, Why.NO_NEIGHBOUR, bytes(12) + b"\x08\x00", "far", nexthop="10.0.0.77")
    assert [*next_hop(joined.engine.view(), punted)] == []


def said(cloud: Cloud, frame: bytes, by: str) -> Heard | None:
    """What comes of what a guest tells."""
    found = [*hear(cloud.engine.view(), handed(cloud, Why.TOLD, frame, by))]
    return found[0] if found and isinstance(found[0], Heard) else None


def test_who_may_hold_an_address_is_believed_and_nobody_else(joined: Cloud) -> None:
    for address, mac, by, believed in (
        ("10.0.0.77", "02:99:00:00:00:77", "vm2", True),
        ("fd00::77", "02:00:00:00:00:02", "vm2", True),
        ("10.0.0.77", "02:00:00:00:00:01", "vm1", False),
        (VIP, VIRTUAL, "vm1", True),
        (VIP, VIRTUAL, "vm2", False),
        (VIP, "02:00:00:00:00:01", "vm1", False),
        ("10.0.0.3", "02:00:00:00:00:02", "vm2", False),
        ("10.0.0.254", "02:00:00:00:00:02", "vm2", False),
        ("10.0.0.77", "02:00:00:00:00:03", "vm2", False),
        ("10.0.0.77", "03:00:00:00:00:02", "vm2", False),
        ("10.0.0.77", "00:00:00:00:00:00", "vm2", False),
        *((ip, "02:00:00:00:00:02", "vm2", False) for ip in ("0.0.0.0", "127.0.0.1", "224.0.0.9", "::1", "ff02::9")),
    ):
        found = said(joined, announcement(Address(address), Mac(mac)), by)
        news = announcement(Address(address), Mac(mac))
        wanted = Heard("red", Address(address), Mac(mac), by, unasked=True, frame=news) if believed else None
        assert found == wanted, (address, mac, by)


def test_what_was_asked_for_is_no_news_nor_is_what_the_switch_has_passed_on(joined: Cloud) -> None:
    asked = Question(Address("10.0.0.77"), Address("10.0.0.254"), Mac(GATE))
    found = said(joined, answer(asked, Mac("02:00:00:00:00:02")), "vm2")
    assert found == Heard("red", Address("10.0.0.77"), Mac("02:00:00:00:00:02"), "vm2", unasked=False)
    joined.commit(heard("red", VIP, VIRTUAL, "vm3"))
    found = said(joined, announcement(Address(VIP), Mac(VIRTUAL)), "vm1")
    assert found == Heard("red", Address(VIP), Mac(VIRTUAL), "vm1", unasked=True)


def test_an_announcement_that_no_flow_knew_is_heard_like_any_other(joined: Cloud) -> None:
    frame = announcement(Address(VIP), Mac(VIRTUAL))
    assert [*seek(joined.engine.view(), handed(joined, Why.SOUGHT, frame, "vm1"))] == [
        Heard("red", Address(VIP), Mac(VIRTUAL), "vm1", unasked=True, frame=frame)
    ]


def test_packets_of_who_is_gone_or_is_elsewhere_come_to_nothing(joined: Cloud) -> None:
    view, frame = joined.engine.view(), announcement(Address(VIP), Mac(VIRTUAL))
    good = handed(joined, Why.TOLD, frame, "vm1")
    for bad in (
        replace(good, source=99),
        replace(good, net=99),
        replace(good, net=View(joined.model).tag("network", "blue")),
    ):
        assert [*hear(view, bad), *seek(view, bad)] == []
    assert [*next_hop(view, replace(good, router=99))] == []
    for frame in (b"", bytes(60), question(Address(VIP), Address("10.0.0.1"), Mac(VIRTUAL))):
        assert [*hear(view, replace(good, frame=frame))] == []


@pytest.mark.parametrize(("address", "source"), [("10.0.0.77", "10.0.0.254"), ("fd00::77", "fd00::fe")])
def test_who_is_known_is_asked_in_a_routers_name_or_else_in_ours(joined: Cloud, address: str, source: str) -> None:
    mac = Mac("02:99:00:00:00:77")
    joined.commit(heard("red", address, mac, "vm2"))

    def proof() -> Said:
        view = joined.engine.view()
        (asks,) = prove(view, view.need(Neighbour, f"red/{address}"))
        return asks

    asks = proof()
    assert (asks.chassis, asks.ports, asks.frame[:6].hex(":")) == ("hv2", (10,), mac)
    assert read(asks.frame) == Question(Address(address), Address(source), Mac(GATE))
    joined.commit(lambda tx: tx.delete(Port, "gate"))
    own = "fe80::c77:65ff:fe66:7400" if ":" in address else "0.0.0.0"
    assert read(proof().frame) == Question(Address(address), Address(own), OURS)


def test_who_is_gone_is_asked_nothing(joined: Cloud) -> None:
    joined.commit(heard("red", "10.0.0.77", "02:99:00:00:00:77", "vm2"), hypervisor(2, "vm3"))
    view = joined.engine.view()
    assert [*prove(view, view.need(Neighbour, "red/10.0.0.77"))] == []


# ---- routers --------------------------------------------------------------------------------------------------


def told(cloud: Cloud, before: Port | None) -> dict[str, list[tuple[str, tuple[int, ...]]]]:
    """Which addresses are announced, and to whom, as the interface on red becomes what it is."""
    found: dict[str, list[tuple[str, tuple[int, ...]]]] = {}
    view = cloud.engine.view()
    now = view.get(Port, "gate")
    for each in herald(view, before, now):
        spoken = read(each.frame)
        assert isinstance(spoken, Statement)
        assert now is not None
        assert (spoken.mac, spoken.unasked) == (now.mac_address, True)
        found.setdefault(spoken.address, []).append((each.chassis, each.ports))
    return found


EVERYBODY = [("hv1", (10,)), ("hv2", (10, 11))]


def test_all_guests_of_a_network_are_told_of_a_new_interface(joined: Cloud) -> None:
    addresses = ("10.0.0.254", "fd00::fe", "fe80::ff:fe00:a01")
    assert told(joined, None) == dict.fromkeys(addresses, EVERYBODY)
    before = View(joined.model).need(Port, "gate")
    assert told(joined, replace(before, device_owner="", device_id="")) == dict.fromkeys(addresses, EVERYBODY)
    assert told(joined, replace(before, mac_address=Mac(VIRTUAL))) == dict.fromkeys(addresses, EVERYBODY)


def test_and_of_a_new_address_alone(joined: Cloud) -> None:
    before = View(joined.model).need(Port, "gate")
    assert told(joined, before) == {}
    assert told(joined, replace(before, name="other", fixed_ips=before.fixed_ips[1:])) == {"10.0.0.254": EVERYBODY}


@pytest.mark.parametrize(
    "change",
    [router("r", admin_state_up=False), network("red", 100, admin_state_up=False), lambda tx: tx.delete(Port, "gate")],
    ids=["router down", "network down", "gone"],
)
def test_nobody_is_told_of_an_interface_that_is_none(joined: Cloud, change: Work) -> None:
    joined.commit(change)
    assert told(joined, None) == {}


def test_a_guest_that_is_new_announces_itself(joined: Cloud) -> None:
    view = joined.engine.view()
    assert [*herald(view, None, view.need(Port, "vm1"))] == []
    assert set(APP.heralds) == {Port}


def test_all_others_are_told_of_a_guest_whose_addresses_change(joined: Cloud) -> None:
    view = joined.engine.view()
    now = view.need(Port, "vm1")

    def said(before: Port) -> list[tuple[str, tuple[int, ...], Address, Mac]]:
        spoken = [(each, read(each.frame)) for each in herald(view, before, now)]
        return [
            (each.chassis, each.ports, about.address, about.mac)
            for each, about in spoken
            if isinstance(about, Statement)
        ]

    assert said(replace(now, name="before")) == []
    first = now.fixed_ips[0].ip_address
    everybody_else = [("hv2", (10, 11), first, now.mac_address)]
    assert said(replace(now, fixed_ips=now.fixed_ips[1:])) == everybody_else
    assert [each for each in said(replace(now, mac_address=Mac(VIRTUAL))) if each[2] == first] == everybody_else
    joined.commit(hypervisor(1))
    assert [*herald(joined.engine.view(), replace(now, mac_address=Mac(VIRTUAL)), now)] == [], "it is nowhere"


@pytest.mark.parametrize("address", ["10.0.0.1", "fd00::1", "fe80::ff:fe00:1"])
def test_what_a_guest_announces_of_itself_is_passed_on_if_it_is_true(cloud: Cloud, address: str) -> None:
    frame, lie = (announcement(Address(address), Mac(mac)) for mac in ("02:00:00:00:00:01", VIRTUAL))

    def comes_of(frame: bytes, by: str) -> list[object]:
        return [*hear(cloud.engine.view(), handed(cloud, Why.TOLD, frame, by))]

    assert comes_of(frame, "vm1") == [Announced("red", Address(address), "vm1", frame)]
    assert comes_of(frame, "vm2") == []
    assert comes_of(lie, "vm1") == []
