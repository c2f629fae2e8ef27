"""Our interpreter and a real Open vSwitch agree: on every table visited, every write, every copy sent."""

from __future__ import annotations

from functools import reduce
from itertools import product
from operator import and_

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.flows import fields as f
from controller.flows import pipeline as p
from controller.flows.action import Conjunction, Table
from controller.flows.conntrack import Connections
from controller.flows.flow import Flow, FlowKey
from controller.flows.packet import Packet, packet
from controller.flows.trace import Switch
from controller.model.records import Address, Mac
from tests.cloud import Cloud, hypervisor, interface, network, port, router, subnet
from tests.open_vswitch import OpenVSwitch, same, same_throughout

pytestmark = pytest.mark.ovs

MACS = [Mac(f"02:00:00:00:00:0{last}") for last in range(1, 6)]
EVERYBODY = [Mac("ff:ff:ff:ff:ff:ff"), Mac("33:33:00:00:00:01"), Mac("01:80:c2:00:00:0e")]
V4 = [Address(f"10.0.0.{last}") for last in range(6)]
V6 = [Address(text) for text in ("::", "fd00::1", "fd00::3", "fe80::ff:fe00:1", "fe80::ff:fe00:3", "ff02::1")]


def two_networks() -> Cloud:
    """Red, guarded and not, over two hypervisors; blue with the same addresses beside it."""
    cloud = Cloud()
    cloud.commit(network("red", 100), network("blue", 200, "geneve"))
    cloud.commit(port("r1", "red", MACS[0], V4[1], "fd00::1", pairs=[(MACS[4], "10.0.0.4/30")]))
    cloud.commit(port("r2", "red", MACS[1], V4[2], guarded=False))
    cloud.commit(port("r3", "red", MACS[2], V4[3], "fd00::3"))
    cloud.commit(port("b1", "blue", MACS[0], V4[1], guarded=False), port("b2", "blue", MACS[1], admin_state_up=False))
    cloud.commit(hypervisor(1, "r1", "r2", "b1", "b2"), hypervisor(2, "r3"))
    return cloud


CLOUD = two_networks()
SWITCH = Switch.of(CLOUD.engine.desired("hv1"))

macs = st.sampled_from(MACS)
link = st.builds(
    lambda came, source, target: packet(f.IN_PORT(came), f.ETH_SRC(source), f.ETH_DST(target)),
    st.sampled_from([1, 2, 10, 11, 12, 13, 14]), macs, st.sampled_from(MACS + EVERYBODY),
)  # fmt: skip
tunnelled = st.builds(
    lambda peer, vni: packet(f.TUN_SRC(peer), f.TUN_DST(Address("192.0.2.1")), f.TUN_ID(vni)),
    st.sampled_from([Address("192.0.2.2"), Address("192.0.2.9")]), st.sampled_from([100, 200, 300]),
)  # fmt: skip
arp = st.builds(
    lambda op, sha, spa, tha, tpa: packet(f.ARP_OP(op), f.ARP_SHA(sha), f.ARP_SPA(spa), f.ARP_THA(tha), f.ARP_TPA(tpa)),
    st.sampled_from([1, 1, 1, 2]), macs, st.sampled_from(V4), macs, st.sampled_from(V4),
)  # fmt: skip
solicitation = st.builds(
    lambda source, target, sll: packet(
        f.IPV6_SRC(source), f.IPV6_DST(Address("ff02::1")), f.ND_TARGET(target), f.ND_SLL(sll), f.HOP_LIMIT(255)
    ),
    st.sampled_from(V6), st.sampled_from(V6), macs,
)  # fmt: skip
advertisement = st.builds(
    lambda source, target, tll: packet(f.IPV6_SRC(source), f.ND_TARGET_ADVERTISED(target), f.ND_TLL(tll)),
    st.sampled_from(V6), st.sampled_from(V6), macs,
)  # fmt: skip
ipv4 = st.builds(
    lambda source, target, ports: packet(f.IPV4_SRC(source), f.IPV4_DST(target), f.UDP_SRC(ports[0]), f.UDP_DST(ports[1])),
    st.sampled_from(V4), st.sampled_from(V4), st.sampled_from([(68, 67), (67, 68), (1000, 80)]),
)  # fmt: skip
other = st.sampled_from([packet(f.ETH_TYPE(0x88CC)), packet(f.ICMPV6_TYPE(134), f.IPV6_SRC(V6[1]))])


@st.composite
def frames(draw: st.DrawFn) -> Packet:
    """What a guest of the cloud, or somebody behind a tunnel, may send."""
    outer = draw(link)
    inner = draw(arp | solicitation | advertisement | ipv4 | other)
    around = draw(tunnelled) if outer[f.IN_PORT] < 10 else Packet({})
    return Packet({**outer.values, **inner.values, **around.values})


@given(frames())
def test_any_frame_goes_the_same_way(open_vswitch: OpenVSwitch, frame: Packet) -> None:
    open_vswitch.load(entry.item for entry in CLOUD.engine.desired("hv1").values())
    same_throughout(open_vswitch, SWITCH, frame, Connections())


# ---- routers --------------------------------------------------------------------------------------------------

ROUTERS = {
    "r-red": Mac("02:00:00:00:0a:01"), "r-blue": Mac("02:00:00:00:0a:02"), "s-blue": Mac("02:00:00:00:0b:02"),
    "s-green": Mac("02:00:00:00:0b:03"),
}  # fmt: skip
ROUTED4 = [Address(text) for text in (
    "10.0.0.1", "10.0.0.254", "10.1.0.1", "10.1.0.2", "10.1.0.77", "10.1.0.253", "10.1.0.254", "10.2.0.3", "10.2.0.254",
    "10.3.0.1", "192.0.2.77",
)]  # fmt: skip
ROUTED6 = [Address(text) for text in (
    "fd00::1", "fd00::fe", "fd01::1", "fd01::2", "fd01::77", "fe80::ff:fe00:1", "fe80::ff:fe00:a01", "2001:db8::1",
)]  # fmt: skip


def three_networks() -> Cloud:
    """Red and blue on router r, blue and green on router s; each router knows the other's far network."""
    cloud = Cloud()
    cloud.commit(network("red", 100), network("blue", 200, "geneve"), network("green", 300))
    for number, (name, gateway) in enumerate((("red", "254"), ("blue", "254"), ("green", "254"))):
        cloud.commit(subnet(f"{name}4", name, f"10.{number}.0.0/24", f"10.{number}.0.{gateway}"))
        cloud.commit(subnet(f"{name}6", name, f"fd0{number}::/64", f"fd0{number}::fe"))
    cloud.commit(router("r", ("10.2.0.0/24", "10.1.0.253")), router("s", ("0.0.0.0/0", "10.1.0.254")))
    for name, of, on, last in (("r-red", "r", "red", 254), ("r-blue", "r", "blue", 254), ("s-blue", "s", "blue", 253),
                               ("s-green", "s", "green", 254)):  # fmt: skip
        number = ["red", "blue", "green"].index(on)
        addresses = {f"{on}4": f"10.{number}.0.{last}", f"{on}6": f"fd0{number}::{'fe' if last == 254 else 'fd'}"}
        cloud.commit(interface(name, of, on, ROUTERS[name], **addresses))
    cloud.commit(port("r1", "red", MACS[0], "10.0.0.1", "fd00::1", guarded=False))
    cloud.commit(port("b1", "blue", MACS[1], "10.1.0.1", "fd01::1"))
    cloud.commit(port("b2", "blue", MACS[2], "10.1.0.2", "fd01::2", guarded=False))
    cloud.commit(port("g3", "green", MACS[3], "10.2.0.3", "fd02::3", guarded=False))
    cloud.commit(hypervisor(1, "r1", "b1"), hypervisor(2, "b2", "g3"))
    return cloud


THREE_NETWORKS = three_networks()
ROUTED_SWITCH = Switch.of(THREE_NETWORKS.engine.desired("hv1"))

hops = st.sampled_from([0, 1, 2, 3, 64])
above4 = st.sampled_from([f.ICMP_TYPE(8), f.ICMP_TYPE(0), f.UDP_DST(9), f.IPV4_PROTO(47)]).map(packet)
above6 = st.sampled_from([f.ICMPV6_TYPE(128), f.ICMPV6_TYPE(1), f.UDP6_DST(9)]).map(packet)
to_routers = st.builds(
    lambda came, target: packet(f.IN_PORT(came), f.ETH_SRC(MACS[came - 10]), f.ETH_DST(target)),
    st.sampled_from([10, 11]), st.sampled_from([*ROUTERS.values(), MACS[1]]),
)  # fmt: skip
between4 = st.builds(
    lambda source, target, left: packet(f.IPV4_SRC(source), f.IPV4_DST(target), f.TTL(left)),
    st.sampled_from(ROUTED4), st.sampled_from(ROUTED4), hops,
)  # fmt: skip
between6 = st.builds(
    lambda source, target, left: packet(f.IPV6_SRC(source), f.IPV6_DST(target), f.HOP_LIMIT(left)),
    st.sampled_from(ROUTED6), st.sampled_from(ROUTED6), hops,
)  # fmt: skip


@st.composite
def routed_frames(draw: st.DrawFn) -> Packet:
    """What a guest may send to a router."""
    inner, above = draw(st.tuples(between4, above4) | st.tuples(between6, above6))
    return Packet({**draw(to_routers).values, **inner.values, **above.values})


@given(routed_frames())
def test_any_packet_goes_the_same_way_through_routers(open_vswitch: OpenVSwitch, frame: Packet) -> None:
    open_vswitch.load(entry.item for entry in THREE_NETWORKS.engine.desired("hv1").values())
    same_throughout(open_vswitch, ROUTED_SWITCH, frame, Connections())


# ---- conjunctions ---------------------------------------------------------------------------------------------

PRIORITIES = range(1, 8)
MIXED = Table(
    100, "mixed", "Conjunctions and other flows, over and under one another.", {str(each): each for each in PRIORITIES},
    matches=frozenset({p.SRC, p.DST, p.NET, f.CONJ_ID}), sets=frozenset({p.WHY}),
)  # fmt: skip


@st.composite
def mixtures(draw: st.DrawFn) -> list[Flow]:
    """Flows of few fields and values: at each priority one conjunction, its verdict, and a flow for other packets."""
    part = st.tuples(st.sampled_from([p.SRC, p.DST, p.NET]), st.sampled_from([(0, 3), (1, 3), (0, 1), (1, 1), (2, 2)]))
    found: dict[FlowKey, Flow] = {}
    for priority in PRIORITIES:
        n = draw(st.integers(2, 3))
        flows = [Flow(MIXED, str(priority), f.CONJ_ID(priority), (p.WHY.set(priority),))]
        for tests in draw(st.lists(st.lists(part, min_size=1, max_size=2, unique_by=lambda one: one[0]), max_size=5)):
            match = reduce(and_, (field(*test) for field, test in tests))
            shares = tuple(Conjunction(priority, k, n) for k in sorted(draw(st.sets(st.integers(1, n), min_size=1))))
            flows.append(Flow(MIXED, str(priority), match, shares))
        if draw(st.booleans()):
            field, test = draw(part)
            flows.append(Flow(MIXED, str(priority), field(*test), (p.WHY.set(100 + priority),)))
        found.update((flow.key, flow) for flow in flows)
    return [*found.values()]


@given(mixtures())
def test_conjunctions_are_found_as_open_vswitch_finds_them(open_vswitch: OpenVSwitch, flows: list[Flow]) -> None:
    open_vswitch.load(flows)
    switch = Switch(flows)
    for source, target, net in product(range(4), range(4), range(2)):
        same(open_vswitch, switch, packet(f.IN_PORT(10), p.SRC(source), p.DST(target), p.NET(net)), MIXED)
