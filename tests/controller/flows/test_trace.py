"""The interpreter, by hand: what a reader checks with a pencil. That Open vSwitch agrees is in `test_trace_ovs`."""

from __future__ import annotations

import pytest

from controller.flows import fields as f
from controller.flows import pipeline as p
from controller.flows.action import Conjunction, Output, Table, ToGroup, Translate, goto, resubmit
from controller.flows.conntrack import ANSWER, ESTABLISHED, INVALID, NEW, Connections
from controller.flows.flow import Flow, Group
from controller.flows.journey import follow, hosts
from controller.flows.match import ANY, Match
from controller.flows.packet import CONNTRACK, Packet, packet
from controller.flows.pipeline import DELIVER, DROP, DST, L2_BUM, NET, WHY, Why
from controller.flows.trace import Fate, Switch, trace
from controller.model.records import Address, Mac
from tests.cloud import Cloud, egress, group, hypervisor, ingress, network, port

A, B, C = (Mac(f"02:00:00:00:00:0{last}") for last in (1, 2, 3))
ADDRESS = {A: Address("10.0.0.1"), B: Address("10.0.0.2"), C: Address("10.0.0.3")}


@pytest.fixture
def web() -> Cloud:
    """Guests a and b on hv1, c on hv2, all in group web: they may send anything, and hear one another on TCP 80."""
    cloud = Cloud()
    cloud.commit(network("red", 100), group("web", egress(), ingress("tcp", 80, remote_group_id="web")))
    for name, mac in (("a", A), ("b", B), ("c", C)):
        cloud.commit(port(name, "red", mac, ADDRESS[mac], groups=["web"]))
    cloud.commit(hypervisor(1, "a", "b"), hypervisor(2, "c"))
    return cloud


def tcp(number: int, source: Mac, target: Mac, low: int, high: int) -> Packet:
    ends = (f.ETH_SRC(source), f.ETH_DST(target), f.IPV4_SRC(ADDRESS[source]), f.IPV4_DST(ADDRESS[target]))
    return packet(f.IN_PORT(number), *ends, f.TCP_SRC(low), f.TCP_DST(high))


def sctp(number: int, source: Mac, target: Mac, low: int, high: int) -> Packet:
    ends = (f.ETH_SRC(source), f.ETH_DST(target), f.IPV4_SRC(ADDRESS[source]), f.IPV4_DST(ADDRESS[target]))
    return packet(f.IN_PORT(number), *ends, f.SCTP_SRC(low), f.SCTP_DST(high))


def test_what_a_rule_allows_is_sent_and_its_answers_too(web: Cloud) -> None:
    switch, known = Switch.of(web.engine.desired("hv1")), Connections()
    there = trace(switch, tcp(10, A, B, 1000, 80), known)
    assert (there.fate, [end.port for end in there.sent]) == (Fate.SENT, [11])
    back = trace(switch, tcp(11, B, A, 80, 1000), known)
    assert (back.fate, [end.port for end in back.sent]) == (Fate.SENT, [10])


def test_what_no_rule_allows_is_dropped_with_the_reason(web: Cloud) -> None:
    denied = trace(Switch.of(web.engine.desired("hv1")), tcp(10, A, B, 1000, 81))
    assert (denied.fate, denied.whys) == (Fate.DROPPED, frozenset({Why.INGRESS_DENIED}))
    assert [hop.table.name for hop in denied.hops if hop.depth == 0][-3:] == ["in_rules", "in_done", "drop"]


def test_a_connection_whose_rule_is_gone_is_cut(web: Cloud) -> None:
    known = Connections()
    for sent in (tcp(10, A, B, 1000, 80), tcp(11, B, A, 80, 1000)):
        assert trace(Switch.of(web.engine.desired("hv1")), sent, known).fate is Fate.SENT
    web.commit(group("web", egress()))
    cut = trace(Switch.of(web.engine.desired("hv1")), tcp(10, A, B, 1000, 80), known)
    assert (cut.fate, cut.whys) == (Fate.DROPPED, frozenset({Why.INGRESS_CUT}))


@pytest.mark.parametrize("datapath", ["netdev", "system"])
def test_sctp_is_judged_by_its_ports_whether_conntrack_reads_them_or_not(web: Cloud, datapath: str) -> None:
    web.commit(group("web", egress(), ingress("sctp", 80)), hypervisor(1, "a", "b", datapath=datapath))
    known = hosts(web.model, web.standing)["hv1"].connections

    def fates(*sent: Packet) -> list[Fate]:
        switch = Switch.of(web.engine.desired("hv1"))
        return [trace(switch, each, known).fate for each in sent]

    there, back, another = sctp(10, A, B, 1000, 80), sctp(11, B, A, 80, 1000), sctp(10, A, B, 1000, 81)
    assert fates(there, back, another, there, back) == [Fate.SENT, Fate.SENT, Fate.DROPPED, Fate.SENT, Fate.SENT]
    told = known.look(1, sctp(10, A, B, 1000, 9))[f.CT_STATE]
    assert told == (ESTABLISHED if datapath == "netdev" else NEW), "in user space all of it is one connection"
    web.commit(group("web", egress()))
    assert fates(there, back) == [Fate.DROPPED, Fate.DROPPED]


def test_a_packet_is_followed_through_a_tunnel(web: Cloud) -> None:
    cloud = hosts(web.model, web.standing)
    journey = follow(cloud, "hv1", tcp(10, A, C, 1000, 80))
    assert [(leg.chassis, leg.trace.fate) for leg in journey.legs] == [("hv1", Fate.SENT), ("hv2", Fate.SENT)]
    assert [(arrival.chassis, arrival.interface) for arrival in journey.arrivals] == [("hv2", "tap-c")]
    assert journey.arrivals[0].packet == tcp(10, A, C, 1000, 80).bare


def test_broadcast_reaches_everybody_else_once(web: Cloud) -> None:
    web.commit(*(port(name, "red", mac, ADDRESS[mac], guarded=False) for name, mac in (("a", A), ("b", B), ("c", C))))
    sent = packet(f.IN_PORT(10), f.ETH_SRC(A), f.ETH_DST(f.BROADCAST), f.ETH_TYPE(0x88CC))
    journey = follow(hosts(web.model, web.standing), "hv1", sent)
    assert [arrival.interface for arrival in journey.arrivals] == ["tap-b", "tap-c"]
    assert [end.fate for end in journey.legs[0].trace.ends] == [Fate.WITHHELD, Fate.SENT, Fate.SENT]


def test_what_nobody_takes_is_lost() -> None:
    switch = Switch([Flow(L2_BUM, "flood", NET(7), (ToGroup(p.FLOOD.id(7), p.FLOOD),)), Group(p.FLOOD, 7, ())])
    for net in (7, 8):
        (end,) = trace(switch, packet(NET(net)), table=L2_BUM).ends
        assert (end.fate, end.table) == (Fate.LOST, L2_BUM)


ROUND = Table(
    100, "round", "Asks itself.", {"all": 1}, matches=frozenset({DST}), sets=frozenset({WHY}), nexts=frozenset({"round"}),
    outputs=True,
)  # fmt: skip


def test_a_loop_sends_nothing() -> None:
    switch = Switch([Flow(ROUND, "all", ANY, (Output(1), resubmit(ROUND)))])
    assert [end.fate for end in trace(switch, Packet({}), table=ROUND).ends] == [Fate.LOOPED]


def test_a_drop_says_why() -> None:
    flows = [Flow(DELIVER, "miss", ANY, (WHY.set(Why.NOT_HERE), goto(DROP))), Flow(DROP, "reason", WHY(Why.NOT_HERE))]
    traced = trace(Switch(flows), packet(DST(9)), table=DELIVER)
    assert (traced.fate, traced.whys) == (Fate.DROPPED, frozenset({Why.NOT_HERE}))


def test_of_several_conjunctions_that_match_the_lowest_is_taken() -> None:
    shares = [(p.DIRECTION(0), 1), (p.POLICY(4), 2)]
    clauses = [Flow(p.EVALUATE, "rule", match, (Conjunction(8, k, 2), Conjunction(5, k, 2))) for match, k in shares]
    verdicts = [Flow(p.EVALUATE, "rule", f.CONJ_ID(id), (WHY.set(id),)) for id in (5, 8)]
    met = Switch([*clauses, *verdicts]).match(p.EVALUATE, packet(p.POLICY(4)))
    assert met == verdicts[0]
    assert Switch([clauses[0], *verdicts]).match(p.EVALUATE, packet(p.POLICY(4))) is None


def test_a_wide_register_is_the_four_that_it_is_made_of() -> None:
    made = packet(p.NH6(Address("fd00::7")))
    assert made.values == {"reg12": 0xFD000000, "reg15": 7}
    assert made[p.NH6] == f.ipv6_number(Address("fd00::7"))


def test_conntrack_knows_what_was_committed() -> None:
    known = Connections()
    ask = packet(f.IPV4_SRC(ADDRESS[A]), f.IPV4_DST(ADDRESS[B]), f.ICMP_TYPE(8))
    echo = packet(f.IPV4_SRC(ADDRESS[B]), f.IPV4_DST(ADDRESS[A]), f.ICMP_TYPE(0))
    assert known.look(1, ask)[f.CT_STATE] == NEW
    assert known.look(1, echo)[f.CT_STATE] == INVALID
    known.commit(1, ask, [p.CT_GEN.set(5)])
    answered = known.look(1, echo)
    assert (answered[f.CT_STATE], answered[p.CT_GEN], answered[f.CT_TP_SRC]) == (ANSWER, 5, 8)
    assert known.look(2, echo)[f.CT_STATE] == INVALID


@pytest.mark.parametrize("protocol", [f.SCTP_SRC(40000) & f.SCTP_DST(5000), f.IPV4_PROTO(47)])
def test_without_ports_that_conntrack_reads_the_address_alone_is_translated(protocol: Match) -> None:
    """As `pat_packet` of Open vSwitch's lib/conntrack.c does; the answer is found, and so is every next packet."""
    known, seen = Connections(sctp_ports=False), Address("203.0.113.5")
    asked = packet(f.IPV4_SRC(ADDRESS[A]), f.IPV4_DST(ADDRESS[B]), protocol)
    begins = Translate(p.ZONE, p.L3_SNATTED, source=seen)
    for _ in range(2):
        there = known.translate(1, asked, begins)
        assert there.put(f.IPV4_SRC, asked[f.IPV4_SRC]).without(CONNTRACK) == asked
        assert there[f.IPV4_SRC] == f.ipv4_number(seen)
    back = there.without(CONNTRACK).put(f.IPV4_SRC, asked[f.IPV4_DST]).put(f.IPV4_DST, f.ipv4_number(seen))
    answer = known.translate(1, back, Translate(p.ZONE, p.L3_SNATTED))
    assert answer.without(CONNTRACK) == back.put(f.IPV4_DST, asked[f.IPV4_SRC])


def test_a_later_fragment_comes_back_with_its_datagram_which_is_remembered() -> None:
    known = Connections()
    whole = packet(f.IPV4_SRC(ADDRESS[A]), f.IPV4_DST(ADDRESS[B]), f.UDP_DST(53))
    later = whole.put(f.IPV4_FRAG, f.FRAGMENT)
    assert known.commit(1, later, [p.CT_GEN.set(5)])[p.CT_GEN] == 5
    assert known.look(1, later)[p.CT_GEN] == 0, "alone it makes no connection"
    assert known.commit(1, whole, [p.CT_GEN.set(6)])[p.CT_GEN] == 6
    assert known.look(1, later)[p.CT_GEN] == 6


def test_no_flow_sees_ports_of_a_fragment_but_the_first() -> None:
    switch = Switch([Flow(p.OUT_TRACK, "control", f.UDP_DST(67), (goto(p.L2_DISPATCH),))])
    whole = packet(f.UDP_DST(67))
    assert switch.match(p.OUT_TRACK, whole) is not None
    assert switch.match(p.OUT_TRACK, whole.put(f.IPV4_FRAG, 1)) is not None
    assert switch.match(p.OUT_TRACK, whole.put(f.IPV4_FRAG, f.FRAGMENT)) is None


def test_a_packet_is_written_as_open_vswitch_reads_it() -> None:
    seen = packet(f.IPV4_DST(ADDRESS[B]), f.UDP_DST(53), f.ct_state("+trk+new"), NET(7)).put(f.IPV4_FRAG, 1)
    assert str(seen) == "eth_type=0x800,nw_dst=10.0.0.2,nw_proto=17,ct_state=new|trk,ip_frag=first,udp_dst=53,reg6=0x7"
