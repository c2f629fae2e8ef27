"""Three judges of security groups and port security agree: the model alone, our interpreter, a real Open vSwitch.

Each is asked about the same packets, over histories of changes and of connections that outlive them. What they share is
the model; the oracle reads no flow, the interpreter no model, and Open vSwitch is told only what conntrack would say.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from controller.flows import fields as f
from controller.flows.conntrack import Connections
from controller.flows.fields import PACKET4, PACKET6
from controller.flows.journey import Host, Journey, follow, hosts
from controller.flows.packet import Packet, packet
from controller.flows.presence import ofport
from controller.flows.trace import Switch
from controller.model.records import Address, Mac
from controller.model.view import View
from tests.cloud import Allowed, Cloud, Work, address_group, egress, group, hypervisor, ingress, network, port
from tests.open_vswitch import OpenVSwitch, same_throughout
from tests.oracle import FIRST, LATER, QUERIES, WHOLE, Judgement, Message, Oracle

pytestmark = pytest.mark.ovs

NAMES = ("vm1", "vm2", "vm3", "vm4", "away")
MACS = {name: f"02:00:00:00:00:0{number}" for number, name in enumerate(NAMES, start=1)}
V4 = {name: f"10.0.0.{number}" for number, name in enumerate(NAMES, start=1)}
V6 = {name: f"fd00::{number}" for number, name in enumerate(NAMES, start=1)}
SHARED, STRANGER = "02:00:00:00:00:99", "02:00:00:00:00:66"
HOMES = {1: ("vm1", "vm2"), 2: ("vm3", "vm4")}
STATEFUL, STATELESS, LISTS = ("web", "app"), ("bare", "plain"), ("list4", "list6")

BLOCKS4 = ("10.0.0.0/30", "10.0.0.3/32", "10.9.0.0/24", "0.0.0.0/1", "0.0.0.0/0")
BLOCKS6 = ("fd00::/126", "fd00::3/128", "fe80::/10", "::/1", "::/0")
PAIRS = ((SHARED, "10.9.0.0/24"), (SHARED, "10.9.0.7"), (MACS["vm1"], "10.9.0.8"), (SHARED, "fd00:9::/64"))
SOURCES = {4: ("10.9.0.7", "10.0.0.250", "0.0.0.0"), 6: ("fd00:9::1", "fd00::250", "::", "fe80::ff:fe00:1")}

OUT = [egress(), egress(ethertype="IPv6")]
INTO = [
    ingress(remote_group_id="web"),
    ingress(ethertype="IPv6", remote_group_id="web"),
    ingress("udp"),
    ingress("tcp"),
    ingress("sctp", 80, 80),
]


# ---- what may be drawn ----------------------------------------------------------------------------------------


@st.composite
def rules(draw: st.DrawFn) -> Allowed:
    """One rule, as the API lets it be."""
    six = draw(st.booleans())
    about = draw(st.sampled_from(["all", "tcp", "udp", "icmp", "sctp", "gre", "dccp"]))
    ends: tuple[int | None, int | None] = (None, None)
    if about in ("tcp", "udp", "sctp", "dccp") and draw(st.booleans()):
        ends = draw(st.sampled_from([(80, 80), (79, 90), (1, 1023), (1, 65535), (1000, 1000)]))
    if about == "icmp":
        ends = draw(st.sampled_from([(None, None), (128 if six else 8, None), (128 if six else 8, 0), (3, 1)]))
    remotes: list[dict[str, Any]] = [{}, {"remote_address_group_id": LISTS[six]}]
    remotes += [{"remote_group_id": id} for id in STATEFUL + STATELESS]
    remotes += [{"remote_ip_prefix": block} for block in (BLOCKS6 if six else BLOCKS4)]
    way, remote = egress if draw(st.booleans()) else ingress, draw(st.sampled_from(remotes))
    return way(None if about == "all" else about, *ends, ethertype="IPv6" if six else "IPv4", **remote)


def groups(names: Sequence[str] = STATEFUL + STATELESS) -> st.SearchStrategy[Work]:
    """A group with some rules, in place of those that it had; it is open wide more often than not."""
    some = st.lists(rules(), max_size=5)
    opened = st.sampled_from([[*OUT, *INTO], [*OUT, *INTO], OUT, OUT, INTO, []])
    return st.builds(
        lambda id, more, all: group(id, *more, *all, stateful=id in STATEFUL), st.sampled_from(names), some, opened
    )


def ports(names: Sequence[str] = NAMES) -> st.SearchStrategy[Work]:
    """A port with some groups, all of one kind, and some address pairs."""
    kinds = (STATEFUL, STATEFUL, STATEFUL, STATELESS)
    some = st.one_of(
        *(st.lists(st.sampled_from(kind), min_size=1, max_size=2, unique=True) for kind in kinds), st.just([])
    )
    return st.builds(
        lambda id, groups, pairs, guarded, up: port(
            id, "red", MACS[id], V4[id], V6[id], groups=groups if guarded else (), pairs=pairs if guarded else (),
            guarded=guarded, admin_state_up=up,
        ),
        st.sampled_from(names), some, st.lists(st.sampled_from(PAIRS), max_size=2, unique=True),
        st.sampled_from([True] * 5 + [False]), st.sampled_from([True] * 11 + [False]),
    )  # fmt: skip


lists = st.builds(lambda blocks: address_group(LISTS[0], *blocks), st.sets(st.sampled_from(BLOCKS4)).map(sorted)) | (
    st.builds(lambda blocks: address_group(LISTS[1], *blocks), st.sets(st.sampled_from(BLOCKS6)).map(sorted))
)
changes = groups() | ports() | lists


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """One packet from a guest to another, honest more often than not."""
    version = draw(st.sampled_from([4, 6]))
    sender, target = draw(st.permutations(NAMES[:4]))[:2]
    target = draw(st.sampled_from([target] * 11 + ["away"]))
    own = (V4 if version == 4 else V6)[sender]
    protocol = draw(st.sampled_from([6, 6, 17, 1 if version == 4 else 58, 132, 47, 33]))
    low = high = 0
    if protocol in (6, 17, 132):
        low, high = draw(st.sampled_from([(1000, 80), (1000, 81), (80, 1000), (1000, 1024), (68, 67), (67, 68)]))
    if protocol in QUERIES:
        asked, answered = [*QUERIES[protocol]], [*QUERIES[protocol].values()]
        low, high = draw(st.sampled_from([*asked * 2, *answered, 3, 130, 133, 134])), draw(st.sampled_from([0, 0, 1]))
    return Message(
        sender=sender,
        source_mac=draw(st.sampled_from([MACS[sender]] * 18 + [SHARED, STRANGER])),
        target_mac=draw(st.sampled_from([MACS[target]] * 18 + [SHARED, STRANGER, MACS[sender]])),
        source=draw(st.sampled_from([own] * 18 + [*SOURCES[version]])),
        target=(V4 if version == 4 else V6)[target],
        protocol=protocol,
        low=low,
        high=high,
        fragment=draw(st.sampled_from([WHOLE] * 9 + [FIRST, LATER])),
    )


@dataclass(frozen=True, slots=True)
class Round:
    """Changes, then packets: by the number of a conversation, there or back."""

    changes: Sequence[Work]
    packets: Sequence[tuple[int, bool]]


rounds = st.builds(
    Round, st.lists(changes, max_size=2), st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=2, max_size=8)
)


@st.composite
def beginnings(draw: st.DrawFn) -> list[Work]:
    """Every group and port there is."""
    made = [group(name, stateful=name in STATEFUL) for name in STATEFUL + STATELESS]
    made += [address_group(LISTS[0], "10.0.0.0/30"), address_group(LISTS[1], "fd00::/126")]
    made += [draw(groups([name])) for name in STATEFUL + STATELESS]
    return made + [draw(ports([name])) for name in NAMES]


# ---- the judges -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Court:
    """A cloud, and what each judge remembers of it."""

    cloud: Cloud = field(default_factory=Cloud)
    oracle: Oracle = field(default_factory=Oracle)
    hosts: dict[str, Host] = field(default_factory=dict)
    cases: list[tuple[str, Switch, Packet, Connections, frozenset[int]]] = field(default_factory=list)

    def change(self, *works: Work) -> None:
        """Commit, and look at every switch anew; conntrack forgets nothing."""
        self.cloud.commit(*works)
        assert (self.cloud.engine.failures, self.cloud.engine.conflicts) == ({}, {})
        before, self.hosts = self.hosts, hosts(self.cloud.model, self.cloud.engine.desired)
        for name, old in before.items():
            self.hosts[name] = replace(self.hosts[name], connections=old.connections)

    def send(self, message: Message) -> None:
        """Oracle and interpreter agree; what the interpreter saw is kept for Open vSwitch."""
        chassis = next(f"hv{number}" for number, names in HOMES.items() if message.sender in names)
        said = self.oracle.judge(self.cloud.model, message)
        before = {name: deepcopy(host.connections) for name, host in self.hosts.items()}
        came = self.packet(message)
        journey = follow(self.hosts, chassis, came)
        assert outcome(journey) == expected(said), f"\n{message}\n{said}\n{told(journey)}"
        event(f"{said.why.name if said.why else 'arrived'}")
        either = frozenset(self.tag(rule.bundle) for rule in said.rules)
        for leg in journey.legs:
            start = leg.trace.hops[0].packet
            self.cases.append((leg.chassis, self.hosts[leg.chassis].switch, start, before[leg.chassis], either))

    def tag(self, bundle: str) -> int:
        """The number that flows know a bundle by."""
        return View(self.cloud.model).tag("bundle", bundle)

    def packet(self, message: Message) -> Packet:
        """The message as a switch sees it."""
        number = ofport(View(self.cloud.model), message.sender)
        assert number is not None
        headers = PACKET4 if message.version == 4 else PACKET6
        proto = headers.proto(message.protocol)
        parts = [f.IN_PORT(number), f.ETH_SRC(Mac(message.source_mac)), f.ETH_DST(Mac(message.target_mac)), proto]
        parts += [headers.source(Address(message.source)), headers.destination(Address(message.target))]
        if message.protocol in headers.low and message.fragment != LATER:
            parts += [headers.low[message.protocol](message.low), headers.high[message.protocol](message.high)]
        return packet(*parts).put(f.IPV4_FRAG, message.fragment)

    def appeal(self, judge: OpenVSwitch) -> None:
        """Open vSwitch agrees to everything since the last change."""
        for chassis in self.hosts:
            cases = [case for case in self.cases if case[0] == chassis]
            if cases:
                judge.load(entry.item for entry in self.cloud.engine.desired(chassis).values())
            for _, switch, came, known, either in cases:
                same_throughout(judge, switch, came, known, either=either)
        self.cases.clear()


def outcome(journey: Journey) -> tuple[list[str], list[str]]:
    """Where a message arrived, and why it did not."""
    arrived = [arrival.interface for arrival in journey.arrivals]
    ends = [end for leg in journey.legs for end in leg.trace.ends]
    assert not journey.lost
    return arrived, [end.why.name if end.why else end.fate.name for end in ends if end.port is None]


def expected(said: Judgement) -> tuple[list[str], list[str]]:
    """The same, as the oracle has it."""
    return [f"tap-{said.receiver}"] if said.receiver else [], [said.why.name] if said.why else []


def told(journey: Journey) -> str:
    """A journey to read, when the judges disagree."""
    return "\n".join(
        f"{leg.chassis} {'  ' * hop.depth}{hop.table!r} {hop.met}" for leg in journey.legs for hop in leg.trace.hops
    )


@given(
    st.sampled_from(["netdev", "system"]), beginnings(), st.lists(messages(), min_size=3, max_size=3),
    st.lists(rounds, min_size=1, max_size=4),
)  # fmt: skip
def test_the_model_the_interpreter_and_open_vswitch_judge_alike(
    open_vswitch: OpenVSwitch,
    datapath: str,
    beginning: list[Work],
    conversations: list[Message],
    history: list[Round],
) -> None:
    court = Court()
    court.change(network("red", 100), *beginning)
    court.change(*(hypervisor(number, *names, datapath=datapath) for number, names in HOMES.items()))
    begun = Round((), [(number, back) for number in range(len(conversations)) for back in (False, True)])
    for one in (begun, *history):
        for change in one.changes:
            court.change(change)
        for number, back in one.packets:
            there = conversations[number]
            receiver = next((name for name in NAMES[:4] if MACS[name] == there.target_mac), None)
            court.send(there if not back or receiver is None else there.answer(receiver))
        court.appeal(open_vswitch)
