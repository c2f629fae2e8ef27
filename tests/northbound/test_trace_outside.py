"""Traces to the outside and from it: literally what `weft trace` prints of gateways, floating IPs and port forwardings."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

import pytest

from controller.errors import Invalid, NotFound, WeftError
from controller.flows.pipeline import Why
from controller.model.store import MemoryJournal, Store
from controller.southbound.fleet import Fleet
from northbound import tracing, why
from northbound.sending import question
from tests.apps.outside import FLOATING_MAC, GATE_MAC, RED_MAC
from tests.cloud import (
    Cloud,
    Work,
    floating_ip,
    forwarding,
    gateway,
    hypervisor,
    interface,
    network,
    port,
    router,
    subnet,
    wire,
)
from tests.northbound.test_archive import IN_STEP, held

WIRED_MAC = "02:00:00:00:0a:02"
FAR, NEAR = "203.0.113.9", "172.24.0.1"
TOLD = {
    "outside", "classify", "tunnel", "transit", "gated", "l3_in", "l3_dnat", "l3_dnatted", "l3_route", "l3_snat",
    "l3_snatted", "physical", "deliver",
}  # fmt: skip
"""The tables that these tests are about."""


@pytest.fixture
def cloud() -> Cloud:
    """Guests of red without port security: vm1 on hv1, vm2 on hv2, vm4 on hv4, which is on no wire.

    Red's router has its gateway on ext, on hv2, or else on hv3. fd00:1::/64 is red's, too, and ext has fd00:e::/64.
    """
    cloud = Cloud()
    cloud.commit(lambda tx: tx.tag("physical", "phys"))
    cloud.commit(network("red", 100), network("ext", None, "flat", physical_network="phys", external=True, mtu=1500))
    cloud.commit(subnet("red4", "red", "10.0.0.0/24", "10.0.0.254"), subnet("red6", "red", "fd00:1::/64", "fd00:1::fe"))
    cloud.commit(subnet("ext4", "ext", "172.24.0.0/24", NEAR), subnet("ext6", "ext", "fd00:e::/64", "fd00:e::1"))
    cloud.commit(*(vm(number) for number in (1, 2, 4)))
    cloud.commit(
        hypervisor(1, "vm1", physical=("phys",), watches=(2, 3)),
        hypervisor(2, "vm2", physical=("phys",), priority=20, watches=(3,)),
        hypervisor(3, physical=("phys",), priority=10, watches=(2,)),
        hypervisor(4, "vm4", watches=(2, 3)),
    )
    cloud.commit(red_router())
    cloud.commit(interface("r-red", "r", "red", RED_MAC, red4="10.0.0.254", red6="fd00:1::fe"))
    cloud.commit(gateway("r-ext", "r", "ext", GATE_MAC, ext4="172.24.0.10", ext6="fd00:e::10"))
    return cloud


def vm(number: int) -> Work:
    return port(
        f"vm{number}", "red", f"02:00:00:00:00:0{number}", guarded=False,
        on={"red4": f"10.0.0.{number}", "red6": f"fd00:1::{number}"},
    )  # fmt: skip


def red_router(**more: object) -> Work:
    return router("r", external_network_id="ext", **more)


def floating(number: int | None) -> Work:
    """The floating IP 172.24.0.100 stands for vmN, or for nobody."""
    return floating_ip(
        "f", "ext", FLOATING_MAC, "172.24.0.100", "r" if number else "", f"vm{number}" if number else "",
        f"10.0.0.{number}" if number else "",
    )  # fmt: skip


def forwards(cloud: Cloud) -> None:
    """172.24.0.100 has port forwardings to vm1."""
    cloud.commit(floating_ip("f", "ext", FLOATING_MAC, "172.24.0.100", "r"))
    cloud.commit(forwarding("web", "f", "tcp", (8080, 8080), "vm1", "10.0.0.1", (80, 80)))


def told(cloud: Cloud, sender: str, target: str, away: Set[str] = frozenset(), **more: object) -> list[str]:
    """What is printed, of the tables that are meant, once the neighbour's MAC is known."""
    asked = question({"from": sender, "to": target, **more})
    lines = [*tracing.text(tracing.as_json(tracing.trace(cloud.model, cloud.standing, asked, away)))]
    begun = [number for number, line in enumerate(lines) if " sends " in line]
    way = (line for line in lines[begun[0] : -1] if not line.startswith(" "))
    return [*(line for line in way if line.split()[1] in TOLD), lines[-1]]


def test_by_the_gateway_on_another_hypervisor_under_its_address(cloud: Cloud) -> None:
    assert told(cloud, "vm1", FAR, proto="tcp", dport=80) == [
        "hv1 classify         port vm1 on network red sends tcp 49152 > 80 from 10.0.0.1 to 203.0.113.9",
        "hv1 l3_in            at router r, from network red",
        "hv1 l3_route         static route 0.0.0.0/0, to network ext",
        "hv1 l3_snat          to the gateway of router r, the best that is alive",
        "hv1 tunnel           by geneve to the gateway on hv2 (192.0.2.2)",
        "hv2 transit          to the outside for router r",
        "hv2 gated            this hypervisor is the gateway of router r",
        "hv2 l3_route         static route 0.0.0.0/0, to network ext",
        "hv2 l3_snat          router r translates what goes to network ext: conntrack zone 57344",
        "hv2 l3_snatted       now from 172.24.0.10: tcp 49152 > 80",
        "hv2 physical         to physical network phys, untagged",
        "delivered to physical network phys",
    ]


def test_why_says_to_which_physical_network_it_was_delivered(cloud: Cloud) -> None:
    """Whether a host there has that address, nobody here knows."""
    fleet = Fleet(Store(MemoryJournal(), cloud.model), cloud.engine)
    for number in (1, 2, 3, 4):
        fleet.remember(f"hv{number}", replace(IN_STEP, datapath_id=number), held(cloud, f"hv{number}"))
    asked = question({"from": "vm1", "to": FAR})
    assert [*why.told(why.why(fleet, asked))][-1] == "delivered to physical network phys"


def test_for_machines_a_hop_says_what_it_was_translated_to(cloud: Cloud) -> None:
    asked = question({"from": "vm1", "to": FAR})
    hops = tracing.as_json(tracing.trace(cloud.model, cloud.standing, asked))["hops"]
    assert [(hop["table"], hop["nat"]) for hop in hops if hop["nat"]] == [("l3_snatted", {"source": "172.24.0.10"})]
    assert [(hop["chassis"], hop["table"], hop["network"]) for hop in hops if hop["mtu"]] == [
        ("hv1", "l3_route", "ext"),
        ("hv2", "l3_route", "ext"),
        ("hv2", "physical", "ext"),
    ], "not the tunnel to the gateway, which bears less"


def test_where_the_gateway_is_the_senders_own_hypervisor_no_tunnel_is_taken(cloud: Cloud) -> None:
    assert told(cloud, "vm2", NEAR)[3:] == [
        "hv2 l3_snat          to the gateway of router r, the best that is alive",
        "hv2 l3_snat          router r translates what goes to network ext: conntrack zone 57344",
        "hv2 l3_snatted       now from 172.24.0.10: icmp type 8 code 0",
        "hv2 physical         to physical network phys, untagged",
        "delivered to physical network phys",
    ]


def test_a_gateway_that_is_not_connected_is_passed_over(cloud: Cloud) -> None:
    assert told(cloud, "vm1", FAR, {"hv2"})[4:7] == [
        "hv1 tunnel           by geneve to the gateway on hv3 (192.0.2.3)",
        "hv3 transit          to the outside for router r",
        "hv3 gated            this hypervisor is the gateway of router r",
    ]
    assert told(cloud, "vm1", FAR, {"hv2", "hv3"})[-2:] == [
        "hv1 l3_snat          to the gateway of router r, the best that is alive",
        f"dropped: NO_GATEWAY {Why.NO_GATEWAY.sentence}",
    ]
    (answers,) = {line[:3] for line in told(cloud, FAR, "172.24.0.10", {"hv2"}, proto="udp", dport=1)[:-1]}
    assert answers == "hv3"


def test_by_ipv6_untranslated_through_the_gateway(cloud: Cloud) -> None:
    assert told(cloud, "vm1", "2001:db8::9", proto="udp", dport=53)[2:] == [
        "hv1 l3_route         static route ::/0, to network ext",
        "hv1 l3_snat          to the gateway of router r, the best that is alive",
        "hv1 tunnel           by geneve to the gateway on hv2 (192.0.2.2)",
        "hv2 transit          to the outside for router r",
        "hv2 gated            this hypervisor is the gateway of router r",
        "hv2 l3_route         static route ::/0, to network ext",
        "hv2 l3_snat          router r does not translate it: it goes out under its own address",
        "hv2 physical         to physical network phys, untagged",
        "delivered to physical network phys",
    ]
    assert told(cloud, "2001:db8::9", "fd00:1::1", proto="udp", dport=53) == [
        "hv2 classify         from physical network phys",
        "hv2 gated            this hypervisor is the gateway of router r",
        "hv2 l3_in            at router r, from network ext",
        "hv2 l3_route         connected route fd00:1::/64, to network red, MTU 1450",
        "hv2 tunnel           by vxlan segment 100 to hv1 (192.0.2.1), MTU 1450",
        "hv1 deliver          out of tap-vm1: port vm1",
        "delivered",
    ]


@pytest.fixture
def wired(cloud: Cloud) -> Cloud:
    """The same, and w1 on hv1 on VLAN 101 of the outside's wire, which has packets of 1,500 bytes and the same router."""
    cloud.commit(wire("wired", 101, "phys"), subnet("wired4", "wired", "10.1.0.0/24", "10.1.0.254"))
    cloud.commit(subnet("wired6", "wired", "fd00:2::/64", "fd00:2::fe"))
    cloud.commit(
        port("w1", "wired", "02:00:00:00:01:01", guarded=False, on={"wired4": "10.1.0.1", "wired6": "fd00:2::1"})
    )
    cloud.commit(hypervisor(1, "vm1", "w1", physical=("phys",), watches=(2, 3)))
    cloud.commit(interface("r-wired", "r", "wired", WIRED_MAC, wired4="10.1.0.254", wired6="fd00:2::fe"))
    return cloud


def test_what_no_tunnel_to_the_gateway_bears_is_told_to_its_sender(wired: Cloud) -> None:
    assert told(wired, "w1", FAR, size=1450)[-1] == "delivered to physical network phys"
    for target in (FAR, "2001:db8::9"):
        assert told(wired, "w1", target, size=1451)[3:] == [
            "hv1 l3_snat          to the gateway of router r, the best that is alive",
            "hv1 tunnel           the tunnel to the gateway on hv2 (192.0.2.2) bears no packet of this size",
            f"dropped: TRANSIT_TOO_BIG {Why.TRANSIT_TOO_BIG.sentence}",
        ]
    wired.commit(hypervisor(1, "vm1", "w1", physical=("phys",), priority=30, watches=(2, 3)))
    assert told(wired, "w1", FAR, size=1500)[-1] == "delivered to physical network phys", "from here it needs no tunnel"


def test_what_comes_from_outside_goes_to_a_vlan_of_the_same_wire(wired: Cloud) -> None:
    assert told(wired, "2001:db8::9", "w1", size=1500)[2:] == [
        "hv2 l3_in            at router r, from network ext",
        "hv2 l3_route         connected route fd00:2::/64, to network wired",
        "hv2 physical         to physical network phys, on VLAN 101",
        "hv1 classify         from physical network phys",
        "hv1 deliver          out of tap-w1: port w1",
        "delivered",
    ]


def test_without_snat_in_and_out_under_its_own_address(cloud: Cloud) -> None:
    assert told(cloud, FAR, "10.0.0.1")[-2:] == [
        "hv2 l3_dnat          nobody outside begins a connection to who is behind router r: it translates (enable_snat)",
        f"dropped: NO_CONNECTION {Why.NO_CONNECTION.sentence}",
    ]
    cloud.commit(red_router(enable_snat=False))
    assert told(cloud, "vm2", FAR)[3:6] == [
        "hv2 l3_snat          to the gateway of router r, the best that is alive",
        "hv2 l3_snat          router r does not translate it: it goes out under its own address",
        "hv2 physical         to physical network phys, untagged",
    ]
    assert told(cloud, FAR, "10.0.0.1")[-3:] == [
        "hv2 tunnel           by vxlan segment 100 to hv1 (192.0.2.1), MTU 1450",
        "hv1 deliver          out of tap-vm1: port vm1",
        "delivered",
    ]


def test_by_a_floating_ip_out_of_the_guests_own_hypervisor_and_in(cloud: Cloud) -> None:
    cloud.commit(floating(1))
    assert told(cloud, "vm1", FAR)[2:] == [
        "hv1 l3_route         static route 0.0.0.0/0, to network ext",
        "hv1 l3_snat          10.0.0.1 has a floating IP on network ext: conntrack zone 57344 translates",
        "hv1 l3_snatted       now from 172.24.0.100: icmp type 8 code 0",
        "hv1 physical         to physical network phys, untagged",
        "delivered to physical network phys",
    ]
    came = [
        "hv1 classify         from physical network phys",
        "hv1 l3_in            at router r, from network ext",
        "hv1 l3_dnat          172.24.0.100 is a floating IP: conntrack zone 57344 translates",
        "hv1 l3_dnatted       now for 10.0.0.1: icmp type 8 code 0",
        "hv1 l3_route         connected route 10.0.0.0/24, to network red, MTU 1450",
        "hv1 deliver          out of tap-vm1: port vm1",
        "delivered",
    ]
    for sender in (FAR, NEAR):
        for target in ("172.24.0.100", "vm1"):
            assert told(cloud, sender, target) == came


def test_by_a_floating_ip_that_is_centralized(cloud: Cloud) -> None:
    cloud.commit(floating(4))
    assert told(cloud, "vm4", FAR)[3:] == [
        "hv4 l3_snat          to the gateway of router r, the best that is alive",
        "hv4 tunnel           by geneve to the gateway on hv2 (192.0.2.2)",
        "hv2 transit          to the outside for router r",
        "hv2 gated            this hypervisor is the gateway of router r",
        "hv2 l3_route         static route 0.0.0.0/0, to network ext",
        "hv2 l3_snat          10.0.0.4 has a floating IP on network ext: conntrack zone 57345 translates",
        "hv2 l3_snatted       now from 172.24.0.100: icmp type 8 code 0",
        "hv2 physical         to physical network phys, untagged",
        "delivered to physical network phys",
    ]
    assert told(cloud, FAR, "172.24.0.100") == [
        "hv2 classify         from physical network phys",
        "hv2 gated            this hypervisor is the gateway of router r",
        "hv2 l3_in            at router r, from network ext",
        "hv2 l3_dnat          172.24.0.100 is a floating IP: conntrack zone 57345 translates",
        "hv2 l3_dnatted       now for 10.0.0.4: icmp type 8 code 0",
        "hv2 l3_route         connected route 10.0.0.0/24, to network red, MTU 1450",
        "hv2 tunnel           by vxlan segment 100 to hv4 (192.0.2.4), MTU 1450",
        "hv4 deliver          out of tap-vm4: port vm4",
        "delivered",
    ]


def test_to_ones_own_floating_ip_and_back_in(cloud: Cloud) -> None:
    cloud.commit(floating(1))
    assert told(cloud, "vm1", "172.24.0.100", proto="tcp", dport=80)[3:8] == [
        "hv1 l3_snat          10.0.0.1 has a floating IP on network ext: conntrack zone 57344 translates",
        "hv1 l3_snatted       now from 172.24.0.100: tcp 49152 > 80",
        "hv1 l3_in            at router r, from network ext",
        "hv1 l3_dnat          172.24.0.100 is a floating IP: conntrack zone 57344 translates",
        "hv1 l3_dnatted       now for 10.0.0.1: tcp 49152 > 80",
    ]


def test_by_a_port_forwarding(cloud: Cloud) -> None:
    forwards(cloud)
    assert told(cloud, FAR, "172.24.0.100", proto="tcp", dport=8080)[3:] == [
        "hv2 l3_dnat          tcp 49152 > 8080 to 172.24.0.100 is forwarded: conntrack zone 57344 translates",
        "hv2 l3_dnatted       now for 10.0.0.1: tcp 49152 > 80",
        "hv2 l3_route         connected route 10.0.0.0/24, to network red, MTU 1450",
        "hv2 tunnel           by vxlan segment 100 to hv1 (192.0.2.1), MTU 1450",
        "hv1 deliver          out of tap-vm1: port vm1",
        "delivered",
    ]
    assert told(cloud, FAR, "172.24.0.100", proto="tcp", dport=8081)[3:] == [
        "hv2 l3_dnat          conntrack zone 57344 is asked whose connection it is of",
        "hv2 l3_dnatted       of no connection that is known here",
        f"dropped: NO_CONNECTION {Why.NO_CONNECTION.sentence}",
    ]


def test_what_is_for_the_gateway_itself(cloud: Cloud) -> None:
    assert told(cloud, FAR, "172.24.0.10")[-2:] == [
        "hv2 physical         to physical network phys, untagged",
        "delivered to physical network phys",
    ], "the reply"
    assert told(cloud, FAR, "172.24.0.10", proto="tcp", dport=22)[2:] == [
        "hv2 l3_in            at router r, from network ext",
        "hv2 l3_dnat          conntrack zone 57344 is asked whose connection it is of",
        "hv2 l3_dnatted       of no connection that is known here: for router r itself",
        f"dropped: ROUTER_ADDRESS {Why.ROUTER_ADDRESS.sentence}",
    ]
    assert told(cloud, "vm1", "172.24.0.10", proto="tcp", dport=22)[3:] == [
        "hv1 l3_snat          172.24.0.10 is an address of router r",
        f"dropped: ROUTER_ADDRESS {Why.ROUTER_ADDRESS.sentence}",
    ]
    assert told(cloud, "vm1", FAR, source="172.24.0.10")[3:] == [
        "hv1 l3_snat          172.24.0.10 is an address of router r: nobody behind it has that",
        f"dropped: OUTER_ADDRESS {Why.OUTER_ADDRESS.sentence}",
    ]


def test_a_host_asks_for_who_it_sends_to(cloud: Cloud) -> None:
    cloud.commit(floating(1))

    def asked(sender: str, target: str) -> list[str]:
        answer = tracing.trace(cloud.model, cloud.standing, question({"from": sender, "to": target}))
        return [line for line in tracing.text(tracing.as_json(answer)) if " neigh_reply " not in line][:3]

    assert asked(FAR, "172.24.0.100") == [
        "    outside          203.0.113.9 on network ext asks by ARP who has 172.24.0.100",
        "    outside          203.0.113.9 on network ext sends icmp type 8 code 0 from 203.0.113.9 to 172.24.0.100",
        "hv1 classify         from physical network phys",
    ]
    assert asked("fd00:e::77", "vm1") == [
        "    outside          fd00:e::77 on network ext asks by ND who has fd00:e::10",
        "hv2 gated            this hypervisor is the gateway that answers for fd00:e::10",
        "    outside          fd00:e::77 on network ext sends icmpv6 type 128 code 0 from fd00:e::77 to fd00:1::1",
    ]
    nobody = f"dropped: NO_ANSWER {tracing.NOBODYS[1]}"
    assert asked(NEAR, "172.24.0.99")[1:] == [nobody]
    assert asked(NEAR, "10.9.9.9") == [f"dropped: NO_GATEWAY {tracing.UNSENT[1]}"]


@pytest.mark.parametrize(
    ("asked", "error", "says"),
    [
        ({"from": "172.24.0.10", "to": "vm1"}, Invalid, "172.24.0.10 is an address of port r-ext: say that it sends"),
        (
            {"from": FAR, "to": "198.51.100.7"},
            Invalid,
            "203.0.113.9 is on no physical network, and no external network",
        ),
        ({"from": FAR, "to": "fd00:1::1"}, Invalid, "fd00:1::1 is not of the IP version of 203.0.113.9"),
        ({"from": "224.0.0.1", "to": "vm1"}, Invalid, "224.0.0.1 is not the address of one receiver"),
        ({"from": FAR, "to": "nobody"}, NotFound, "Port nobody could not be found."),
        ({"from": NEAR, "to": "172.24.0.100", "size": 1501}, Invalid, "packets of network ext have 1500 bytes at most"),
    ],
)
def test_what_cannot_be_asked_of_a_host_is_refused_in_a_sentence(
    cloud: Cloud, asked: dict[str, object], error: type[WeftError], says: str
) -> None:
    with pytest.raises(error) as refused:
        tracing.trace(cloud.model, cloud.standing, question(asked))
    assert says in str(refused.value)


def test_a_floating_ip_at_a_router_behind_which_others_are_leads_through_all_of_them(cloud: Cloud) -> None:
    """Red is behind an inner router; the outer one, which has the gateway, and the floating IP, is by transit alone."""
    cloud.commit(network("between", 101), subnet("between4", "between", "10.1.0.0/24", "10.1.0.254"))
    cloud.commit(router("inner", ("0.0.0.0/0", "10.1.0.254")))
    cloud.commit(router("outer", ("10.0.0.0/24", "10.1.0.1"), external_network_id="ext"))
    cloud.commit(interface("r-red", "inner", "red", RED_MAC, red4="10.0.0.254"))
    cloud.commit(interface("inner-between", "inner", "between", "02:00:00:00:0b:01", between4="10.1.0.1"))
    cloud.commit(interface("outer-between", "outer", "between", "02:00:00:00:0b:02", between4="10.1.0.254"))
    cloud.commit(gateway("outer-ext", "outer", "ext", "02:00:00:00:0b:03", ext4="172.24.0.20"))
    cloud.commit(floating_ip("f", "ext", FLOATING_MAC, "172.24.0.100", "outer", "vm1", "10.0.0.1"))
    assert told(cloud, "vm1", FAR, proto="tcp", dport=80)[1:] == [
        "hv1 l3_in            at router inner, from network red",
        "hv1 l3_route         static route 0.0.0.0/0, to network between",
        "hv1 l3_in            at router outer, from network between",
        "hv1 l3_route         static route 0.0.0.0/0, to network ext",
        "hv1 l3_snat          10.0.0.1 has a floating IP on network ext: conntrack zone 57344 translates",
        "hv1 l3_snatted       now from 172.24.0.100: tcp 49152 > 80",
        "hv1 physical         to physical network phys, untagged",
        "delivered to physical network phys",
    ]
    assert told(cloud, FAR, "172.24.0.100", proto="tcp", dport=80)[1:] == [
        "hv1 l3_in            at router outer, from network ext",
        "hv1 l3_dnat          172.24.0.100 is a floating IP: conntrack zone 57344 translates",
        "hv1 l3_dnatted       now for 10.0.0.1: tcp 49152 > 80",
        "hv1 l3_route         static route 10.0.0.0/24, to network between, MTU 1450",
        "hv1 l3_in            at router inner, from network between",
        "hv1 l3_route         connected route 10.0.0.0/24, to network red",
        "hv1 deliver          out of tap-vm1: port vm1",
        "delivered",
    ]
