"""The way of a packet through several switches: what one sends is what the other gets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.flows import fields as f
from controller.flows.journey import Arrival, Journey, follow, hosts
from controller.flows.match import Match
from controller.flows.packet import packet
from controller.flows.pipeline import HOP, L3_ROUTE, NET, Why
from controller.flows.trace import Fate
from controller.model.records import Address, Mac
from tests.cloud import Cloud, hypervisor, interface, network, port, router, subnet, wire

RED, BLUE = Mac("02:00:00:00:0a:01"), Mac("02:00:00:00:0a:02")
BLUE_KEY = 2
VM1, VM2 = Mac("02:00:00:00:00:01"), Mac("02:00:00:00:00:02")


@pytest.fixture
def cloud() -> Cloud:
    """vm1 of red on hv1, vm2 of blue on hv2, and router r between the networks."""
    cloud = Cloud()
    cloud.commit(network("red", 100), network("blue", 200, mtu=1300), router("r"))
    cloud.commit(subnet("red4", "red", "10.0.0.0/24", "10.0.0.254"), subnet("red6", "red", "fd00::/64", "fd00::fe"))
    cloud.commit(subnet("blue4", "blue", "10.1.0.0/24", "10.1.0.254"), subnet("blue6", "blue", "fd01::/64", "fd01::fe"))
    cloud.commit(interface("r-red", "r", "red", RED, red4="10.0.0.254", red6="fd00::fe"))
    cloud.commit(interface("r-blue", "r", "blue", BLUE, blue4="10.1.0.254", blue6="fd01::fe"))
    cloud.commit(port("vm1", "red", VM1, "10.0.0.1", "fd00::1", guarded=False))
    cloud.commit(port("vm2", "blue", VM2, "10.1.0.2", "fd01::2", guarded=False))
    cloud.commit(hypervisor(1, "vm1"), hypervisor(2, "vm2"))
    return cloud


def journey(cloud: Cloud, *ip: Match, length: int = 0) -> Journey:
    """Of what vm1 sends to its router."""
    sent = replace(packet(f.IN_PORT(10), f.ETH_SRC(VM1), f.ETH_DST(RED), *ip), length=length)
    return follow(hosts(cloud.model, cloud.standing), "hv1", sent)


V4 = (f.IPV4_SRC(Address("10.0.0.1")), f.IPV4_DST(Address("10.1.0.2")), f.UDP_DST(9))
V6 = (f.IPV6_SRC(Address("fd00::1")), f.IPV6_DST(Address("fd01::2")), f.UDP6_DST(9))


@pytest.mark.parametrize("ip", [(*V4, f.TTL(64)), (*V6, f.HOP_LIMIT(64))], ids=["IPv4", "IPv6"])
def test_a_packet_is_routed_where_it_starts_and_crosses_once(cloud: Cloud, ip: tuple[Match, ...]) -> None:
    found = journey(cloud, *ip)
    assert [leg.chassis for leg in found.legs] == ["hv1", "hv2"]
    here, there = ({hop.table for hop in leg.trace.hops} for leg in found.legs)
    assert {HOP, L3_ROUTE} <= here
    assert not {HOP, L3_ROUTE} & there
    (sent,) = found.legs[0].trace.sent
    assert (sent.packet[f.TUN_ID], sent.packet[NET]) == (200, BLUE_KEY)
    (arrival,) = found.arrivals
    assert (arrival.chassis, arrival.interface, found.lost) == ("hv2", "tap-vm2", ())
    assert arrival.packet == packet(f.ETH_SRC(BLUE), f.ETH_DST(VM2), *ip).put(f.TTL, 63)


def test_an_echo_request_to_a_router_comes_back(cloud: Cloud) -> None:
    ip = (f.IPV4_SRC(Address("10.0.0.1")), f.IPV4_DST(Address("10.1.0.254")), f.ICMP_TYPE(8), f.TTL(1))
    found = journey(cloud, *ip)
    (arrival,) = found.arrivals
    assert (arrival.chassis, arrival.interface) == ("hv1", "tap-vm1")
    assert arrival.packet == packet(
        f.ETH_SRC(RED), f.ETH_DST(VM1), f.IPV4_SRC(Address("10.1.0.254")), f.IPV4_DST(Address("10.0.0.1")),
        f.ICMP_TYPE(0), f.TTL(255),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("ip", "why"),
    [
        ((*V4, f.TTL(1)), Why.TTL_EXCEEDED),
        ((V4[0], f.IPV4_DST(Address("192.0.2.7")), f.TTL(9)), Why.NO_ROUTE),
        ((V4[0], f.IPV4_DST(Address("10.1.0.77")), f.TTL(9)), Why.NO_NEIGHBOUR),
        ((V4[0], f.IPV4_DST(Address("10.0.0.254")), f.TTL(9)), Why.ROUTER_ADDRESS),
    ],
    ids=lambda value: value.name if isinstance(value, Why) else "",
)
def test_what_its_sender_is_told_of_goes_to_the_controller(cloud: Cloud, ip: tuple[Match, ...], why: Why) -> None:
    found = journey(cloud, *ip)
    assert [leg.trace.fate for leg in found.legs] == [Fate.PUNTED]
    assert found.legs[0].trace.whys == {why}


@pytest.mark.parametrize(
    ("length", "ip", "fate", "whys"),
    [
        (1314, (*V4, f.TTL(9)), Fate.SENT, set()),
        (1315, (*V4, f.TTL(9)), Fate.PUNTED, {Why.TOO_BIG}),
        (1314, (*V6, f.HOP_LIMIT(9)), Fate.SENT, set()),
        (1315, (*V6, f.HOP_LIMIT(9)), Fate.PUNTED, {Why.TOO_BIG}),
        (1315, (*V4[:2], f.IPV4_FRAG(1), f.TTL(9)), Fate.DROPPED, {Why.FRAGMENT_TOO_BIG}),
        (1315, (*V4[:2], f.IPV4_FRAG(3), f.TTL(9)), Fate.DROPPED, {Why.FRAGMENT_TOO_BIG}),
    ],
)
def test_a_packet_is_as_large_as_its_next_network_bears(
    cloud: Cloud, length: int, ip: tuple[Match, ...], fate: Fate, whys: set[Why]
) -> None:
    found = journey(cloud, *ip, length=length)
    assert found.legs[0].trace.fate is fate
    assert found.legs[0].trace.whys == whys


def test_of_several_next_hops_the_first_is_followed(cloud: Cloud) -> None:
    cloud.commit(port("vm3", "blue", "02:00:00:00:00:03", "10.1.0.3", guarded=False), hypervisor(2, "vm2", "vm3"))
    cloud.commit(router("r", ("192.0.2.0/24", "10.1.0.3"), ("192.0.2.0/24", "10.1.0.2")))
    ip = (V4[0], f.IPV4_DST(Address("192.0.2.9")), f.UDP_DST(9))
    found = journey(cloud, *ip, f.TTL(64))
    assert found.arrivals == (Arrival("hv2", "tap-vm2", packet(f.ETH_SRC(BLUE), f.ETH_DST(VM2), *ip, f.TTL(63))),)
    assert found.lost == ()


# ---- physical networks ----------------------------------------------------------------------------------------


@pytest.fixture
def wired() -> Cloud:
    """w1 and w2 of VLAN 101, on hv1 and hv2; hv3 is on the wire, too, and has nobody there."""
    cloud = Cloud()
    cloud.commit(wire("wired", 101))
    for number, name in enumerate(("w1", "w2"), start=1):
        cloud.commit(port(name, "wired", f"02:00:00:00:00:0{number}", f"10.5.0.{number}", guarded=False))
        cloud.commit(hypervisor(number, name, physical=("physnet1",)))
    cloud.commit(hypervisor(3, physical=("physnet1",)))
    return cloud


@pytest.mark.parametrize(
    ("to", "chassis", "arrived"),
    [
        (VM2, ["hv1", "hv2"], ["tap-w2"]),
        (Mac("02:00:00:00:00:77"), ["hv1"], ["wp-physnet1"]),
        (Mac("ff:ff:ff:ff:ff:ff"), ["hv1", "hv2"], ["wp-physnet1", "tap-w2"]),
    ],
    ids=["a guest", "nobody here", "everybody"],
)
def test_a_frame_on_a_wire_comes_to_who_takes_it_and_else_to_the_wire(
    wired: Cloud, to: Mac, chassis: list[str], arrived: list[str]
) -> None:
    sent = packet(f.IN_PORT(10), f.ETH_SRC(VM1), f.ETH_DST(to), f.IPV4_SRC(Address("10.5.0.1")), f.UDP_DST(9))
    found = follow(hosts(wired.model, wired.standing), "hv1", sent)
    assert [leg.chassis for leg in found.legs] == chassis
    assert [arrival.interface for arrival in found.arrivals] == arrived
    for arrival in found.arrivals:
        assert arrival.packet[f.VLAN_TCI] == (0x1065 if arrival.physical else 0)
        assert arrival.physical == ("physnet1" if arrival.interface == "wp-physnet1" else "")
