"""Three judges of security groups and port security agree: the model alone, our interpreter, a real Open vSwitch.

Each is asked about the same packets, over histories of changes and of connections that outlive them. What they share is
the model; the oracle reads no flow, the interpreter no model, and Open vSwitch is told only what conntrack would say.

`make test` draws 25 histories, some 1,300 packets; `make soak` a thousand, some 54,000, in about ten minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from controller.flows import fields as f
from controller.flows.attachment import ofport
from controller.flows.conntrack import Connections
from controller.flows.fields import PACKET4, PACKET6
from controller.flows.journey import Host, Journey, follow, hosts
from controller.flows.packet import Packet, packet
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

EDGES = [(1000, 78), (1000, 81), (1000, 91), (1000, 1024), (1000, 4096), (80, 1000), (68, 67), (67, 68)]
EVERYBODY = [egress(), egress(ethertype="IPv6")]


# ---- what may be drawn ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class World:
    """The groups, lists and ports there are, and how they change, by chance: one thing at a time."""

    chance: Random
    rules: dict[str, list[Allowed]] = field(default_factory=dict)
    blocks: dict[str, list[str]] = field(default_factory=dict)
    ports: dict[str, dict[str, Any]] = field(default_factory=dict)

    def begin(self) -> Iterator[Work]:
        """Everything, for the first time."""
        for name in STATEFUL + STATELESS:
            yield group(name, stateful=name in STATEFUL)
        for name in LISTS:
            self.blocks[name] = []
            yield self.change_list(name)
        for name in STATEFUL + STATELESS:
            self.rules[name] = [self.rule() for _ in range(self.chance.randrange(3, 12))]
            self.rules[name] += EVERYBODY if self.often(0.9) else []
            yield self.group(name)
        for name in NAMES:
            self.ports[name] = {"groups": (), "pairs": (), "guarded": True, "admin_state_up": True}
            self.change_groups(name)
            yield self.change_port(name)

    def change(self) -> Work:
        """One thing becomes another."""
        what = self.chance.random()
        if what < 0.6:
            return self.change_group(self.chance.choice(STATEFUL + STATEFUL + STATELESS))
        return (
            self.change_list(self.chance.choice(LISTS)) if what < 0.8 else self.change_port(self.chance.choice(NAMES))
        )

    def often(self, share: float) -> bool:
        """Yes, in so many cases of one."""
        return self.chance.random() < share

    def rule(self) -> Allowed:
        """One rule, as the API lets it be."""
        six = self.often(0.3)
        about = self.chance.choice(["all", "tcp", "tcp", "udp", "icmp", "sctp", "gre", "dccp"])
        ends: tuple[int | None, int | None] = (None, None)
        if about in ("tcp", "udp", "sctp", "dccp") and self.often(0.8):
            ends = self.chance.choice([(80, 80), (79, 90), (1, 1023), (1, 65535), (1000, 1000), (81, 0xFFF)])
        if about == "icmp":
            ends = self.chance.choice([(None, None), (128 if six else 8, None), (128 if six else 8, 0), (3, 1)])
        remotes: list[dict[str, Any]] = [{}] * 3 + [{"remote_address_group_id": LISTS[six]}] * 2
        remotes += [{"remote_group_id": id} for id in STATEFUL + STATELESS]
        remotes += [{"remote_ip_prefix": block} for block in self.chance.sample(BLOCKS6 if six else BLOCKS4, 2)]
        way = egress if self.often(0.2) else ingress
        ethertype = "IPv6" if six else "IPv4"
        return way(None if about == "all" else about, *ends, ethertype=ethertype, **self.chance.choice(remotes))

    def group(self, name: str) -> Work:
        """A group as it is now."""
        return group(name, *self.rules[name], stateful=name in STATEFUL)

    def change_group(self, name: str) -> Work:
        """One rule goes, or one more comes."""
        rules = self.rules[name]
        if rules and self.often(0.6):
            rules.remove(self.chance.choice(rules))
        else:
            rules.append(self.rule())
        return self.group(name)

    def change_list(self, name: str) -> Work:
        """Other blocks in an address group."""
        blocks = BLOCKS4 if name == LISTS[0] else BLOCKS6
        self.blocks[name] = self.chance.sample(blocks, self.chance.randrange(len(blocks)))
        return address_group(name, *self.blocks[name])

    def change_groups(self, name: str) -> None:
        """A port is in other groups, all of one kind."""
        kind = STATEFUL if self.often(0.8) else STATELESS
        self.ports[name]["groups"] = tuple(self.chance.sample(kind, self.chance.choice([0, *[1] * 6, 2, 2])))

    def change_port(self, name: str) -> Work:
        """A port is in other groups, has other pairs, is guarded or not, up or down."""
        port_, what = self.ports[name], self.chance.random()
        if what < 0.4:
            self.change_groups(name)
        elif what < 0.8:
            port_["pairs"] = tuple(self.chance.sample(PAIRS, self.chance.randrange(3)))
        port_["guarded"] = self.often(0.92)
        port_["admin_state_up"] = self.often(0.96)
        kept = port_ if port_["guarded"] else {**port_, "groups": (), "pairs": ()}
        return port(name, "red", MACS[name], V4[name], V6[name], **kept)

    def message(self) -> Message:
        """One packet from a guest to another, mostly an honest one."""
        version = self.chance.choice([4, 4, 4, 6])
        own = V4 if version == 4 else V6
        sender, target = self.chance.sample(NAMES[:4], 2)
        target = target if self.often(0.95) else "away"
        protocol = self.chance.choice([6, 6, 6, 17, 17, 1 if version == 4 else 58, 132, 47, 33])
        low = high = 0
        if protocol in (6, 17, 132):
            low, high = self.chance.choice([(1000, 80)] * 8 + EDGES)
        if protocol in QUERIES:
            low = self.chance.choice([*QUERIES[protocol]] * 3 + [*QUERIES[protocol].values(), 3, 130, 133, 134])
            high = self.chance.choice([0, 0, 1])
        return Message(
            sender=sender,
            source_mac=MACS[sender] if self.often(0.94) else self.chance.choice([SHARED, STRANGER]),
            target_mac=MACS[target] if self.often(0.94) else self.chance.choice([SHARED, STRANGER, MACS[sender]]),
            source=own[sender] if self.often(0.94) else self.chance.choice(SOURCES[version]),
            target=own[target],
            protocol=protocol,
            low=low,
            high=high,
            fragment=WHOLE if self.often(0.85) else self.chance.choice([FIRST, LATER]),
        )


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
        before, self.hosts = self.hosts, hosts(self.cloud.model, self.cloud.standing)
        for name, old in before.items():
            self.hosts[name] = replace(self.hosts[name], connections=old.connections)

    def send(self, message: Message) -> None:
        """Oracle and interpreter agree; what the interpreter saw is kept for Open vSwitch."""
        chassis = next(f"hv{number}" for number, names in HOMES.items() if message.sender in names)
        said = self.oracle.judge(self.cloud.model, message)
        before = {name: deepcopy(host.connections) for name, host in self.hosts.items()}
        came = self.packet(message)
        journey = follow(self.hosts, chassis, came)
        arrived, whys = outcome(journey)
        heard, expected_whys = expected(said)
        # in its own zone a port's ingress rules may have been asked, or its egress rules have answered for them
        to_itself = (said.receiver, said.why) == (None, None)
        agreed = arrived == heard and (to_itself or whys == expected_whys)
        assert agreed, f"\n{message}\n{said}\n{told(journey)}"
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


@settings(max_examples=max(25, settings().max_examples // 5))  # each is some 54 packets, and takes half a second
@given(st.sampled_from(["netdev", "system"]), st.randoms(use_true_random=True), st.integers(2, 4))
def test_the_model_the_interpreter_and_open_vswitch_judge_alike(
    open_vswitch: OpenVSwitch, datapath: str, chance: Random, rounds: int
) -> None:
    """A few conversations begin and are answered; then things change, and they go on."""
    court, world = Court(), World(chance)
    court.change(network("red", 100), *world.begin())
    court.change(*(hypervisor(number, *names, datapath=datapath) for number, names in HOMES.items()))
    conversations = [world.message() for _ in range(6)]
    for _ in range(rounds):
        for there in conversations:
            for message in (there, answer(there), there):
                court.send(message)
        court.appeal(open_vswitch)
        for _ in range(chance.randrange(1, 4)):
            court.change(world.change())


def answer(message: Message) -> Message:
    """What the receiver of a message sends back, if any guest is."""
    receiver = next((name for name in NAMES[:4] if MACS[name] == message.target_mac), None)
    return message.answer(receiver) if receiver else message
