"""Three judges of ways out agree: the model alone, our interpreter, a real Open vSwitch (`tests.test_differential`).

Overlays, VLANs and flat networks on four hypervisors, of which some are on wires and some may be gateways, alive or
dead; routers with gateways, that translate or do not, floating IPs of guests here and there, port forwardings; and all
of it changes. Guests send, and hosts of the wires, each packet by a conversation: it is answered, and sent again.
Every packet is judged by the oracle, followed from switch to switch by the interpreter, and then traced by Open vSwitch,
stage by stage, told what conntrack would say.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from random import Random

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from controller.flows import fields as f
from controller.flows.attachment import ofport
from controller.flows.conntrack import Connections
from controller.flows.fields import HOP_LIMIT, PACKET4, PACKET6, TTL
from controller.flows.journey import Host, Journey, arrive, follow, hosts
from controller.flows.match import Match
from controller.flows.packet import Packet, packet
from controller.flows.trace import Fate
from controller.model.records import ROUTED, Address, Mac, Network, Port
from controller.model.view import View
from tests.cloud import (
    Cloud,
    Work,
    egress,
    floating_ip,
    forwarding,
    gateway,
    group,
    heard,
    hypervisor,
    ingress,
    interface,
    network,
    no_forwarding,
    port,
    router,
    subnet,
)
from tests.open_vswitch import OpenVSwitch, same_throughout
from tests.oracle import Message
from tests.outside_oracle import End, Outside
from tests.routing_oracle import ECHO
from tests.test_routing_differential import ETHERNET_BYTES, mac_of, told

PHYSICAL = {"hv1": ("phys", "more"), "hv2": ("phys",), "hv3": ("phys", "more"), "hv4": ()}
"""The wires that each hypervisor is on; hv2 and hv3 may be gateways."""
SUBNETS = {
    "a0": {"a0-4": "10.0.0.0/24", "a0-6": "fd00:a0::/64"},
    "a1": {"a1-4": "10.0.1.0/24", "a1-6": "fd00:a1::/64"},
    "a2": {"a2-4": "10.0.2.0/24", "a2-6": "fd00:a2::/64"},
    "b0": {"b0-4": "10.0.0.0/24", "b0-6": "fd00:b0::/64"},
    "ext": {"ext4": "172.24.0.0/24", "ext4'": "172.24.1.0/24", "ext6": "fd00:e0::/64"},
    "exu": {"exu4": "172.25.0.0/24"},
}
GUESTS = {
    "g0": ("a0", "hv1"), "g1": ("a0", "hv2"), "g2": ("a0", "hv3"), "g3": ("a0", "hv4"), "g4": ("a1", "hv1"),
    "g5": ("a1", "hv2"), "g6": ("a2", "hv3"), "g7": ("b0", "hv1"), "g8": ("b0", "hv4"), "g9": ("ext", "hv2"),
}  # fmt: skip
"""The network and the hypervisor of each."""
OUTSIDERS = {
    "ext": ("172.24.0.1", "172.24.1.1", "fd00:e0::1", "172.24.0.2"),
    "exu": ("172.25.0.1",), "a1": ("10.0.1.50", "fd00:a1::50"), "a2": ("10.0.2.50",),
}  # fmt: skip
"""Hosts of wires, whose MACs are known; the first of each IP version leads further."""
FAR = {4: ("203.0.113.9", "198.51.100.7"), 6: ("2001:db8::9",)}
JOINED = {"ra": ("a0", "a1", "a2"), "rb": ("b0",)}
FLOATING = {"f0": ("ext", "172.24.0.100"), "f1": ("ext", "172.24.1.101"), "f2": ("ext", "172.24.0.102"),
            "f3": ("exu", "172.25.0.103"), "f4": ("ext", "172.24.0.104")}  # fmt: skip
FORWARDS = {"p0": ("tcp", (8080, 8080), "g0", (8000, 8000)), "p1": ("udp", (6000, 6003), "g3", (7000, 7003)),
            "p2": ("tcp", (2000, 2100), "g4", (2222, 2222))}  # fmt: skip
HOPS = (1, 2, 2, 3, *[64] * 9)
SIZES = (100, 100, 100, 1300, 1301, 1400, 1450, 1451, 1500, 1500)
_PORTS = itertools.cycle(range(20_000, 60_000))


def own(name: str) -> dict[str, str]:
    """A guest's addresses, by subnet."""
    on, number = GUESTS[name][0], 10 + int(name[1])
    return {id: cidr.rpartition("0/" if "." in cidr else "/")[0] + str(number) for id, cidr in SUBNETS[on].items()}


def of_version(addresses: Mapping[str, str], version: int) -> str:
    """The first address of an IP version."""
    return next(address for address in addresses.values() if (":" in address) == (version == 6))


# ---- what may be drawn ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class World:
    """What there is, and how it changes, by chance: one thing at a time."""

    chance: Random
    mtus: dict[str, int] = field(default_factory=dict)
    outer: dict[str, str] = field(default_factory=dict)
    """The external network of each router, "" for none."""

    def begin(self) -> Iterator[Work]:
        """Everything, for the first time."""
        yield lambda tx: (tx.tag("physical", "phys"), tx.tag("physical", "more"))
        yield group("open", egress(), egress(ethertype="IPv6"), ingress(), ingress(ethertype="IPv6"))
        yield group("shut", egress(), egress(ethertype="IPv6"))
        for name, type, vlan, physical in (
            ("a0", "vxlan", 100, None), ("a1", "vlan", 101, "phys"), ("a2", "vlan", 102, "more"),
            ("b0", "geneve", 200, None), ("ext", "flat", None, "phys"), ("exu", "vlan", 300, "more"),
        ):  # fmt: skip
            self.mtus[name] = self.chance.choice((1450, 1450, 1300) if physical is None else (1500, 1500, 1400))
            external = name.startswith("ex")
            yield network(name, vlan, type, physical_network=physical, external=external, mtu=self.mtus[name])
            for id, cidr in SUBNETS[name].items():
                yield subnet(id, name, cidr, cidr.partition("0/" if "." in cidr else "/")[0] + "1")
        for number in (1, 2, 3, 4):
            yield self.hypervisor(number)
        for name in JOINED:
            yield from self.change_router(name)
            for on in JOINED[name]:
                held = {
                    id: cidr.rpartition("0/" if "." in cidr else "/")[0] + "254" for id, cidr in SUBNETS[on].items()
                }
                yield interface(f"{name}-{on}", name, on, mac_of(f"{name}-{on}"), **held)
        for name in GUESTS:
            yield self.change_guest(name)
        for on, addresses in OUTSIDERS.items():
            yield from (heard(on, address, mac_of(address), "") for address in addresses)
        for name in FLOATING:
            yield self.change_floating(name)
        for id in FORWARDS:
            yield self.change_forwarding(id)

    def hypervisor(self, number: int) -> Work:
        """One of the four, with its guests; the better gateway is hv2."""
        plugged = [guest for guest, (_, place) in GUESTS.items() if place == f"hv{number}"]
        watches = tuple(each for each in (2, 3) if each != number)
        priority = {2: 20, 3: 10}.get(number)
        return hypervisor(number, *plugged, physical=PHYSICAL[f"hv{number}"], priority=priority, watches=watches)

    def change(self) -> list[Work]:
        """One thing becomes another."""
        match self.chance.choice(("router", "router", "guest", "floating", "floating", "floating", "forwarding")):
            case "router":
                return [*self.change_router(self.chance.choice([*JOINED]))]
            case "guest":
                return [self.change_guest(self.chance.choice([*GUESTS]))]
            case "floating":
                return [self.change_floating(self.chance.choice([*FLOATING]))]
            case _:
                return [self.change_forwarding(self.chance.choice([*FORWARDS]))]

    def often(self, share: float) -> bool:
        """Yes, in so many cases of one."""
        return self.chance.random() < share

    def change_router(self, name: str) -> Iterator[Work]:
        """With a gateway on one network or the other, translating or not, up or down, and with a route or two."""
        if name not in self.outer:
            self.outer[name] = self.chance.choice(("ext", "ext", "exu"))
        on = self.outer[name]
        routes = [("198.51.100.0/24", self.chance.choice(OUTSIDERS[on][:1] + OUTSIDERS["a1"][:1]))] * self.often(0.3)
        yield router(name, *routes, external_network_id=on, enable_snat=self.often(0.6), admin_state_up=self.often(0.9))
        held = {"ext4": "172.24.0.", "ext6": "fd00:e0::"} if on == "ext" else {"exu4": "172.25.0."}
        last = "10" if name == "ra" else "20"
        yield gateway(f"{name}-gw", name, on, mac_of(f"{name}-gw"), **{id: start + last for id, start in held.items()})

    def change_guest(self, name: str) -> Work:
        """A guest that is guarded or not, up or not."""
        guarded = self.often(0.5)
        groups = [self.chance.choice(("open", "open", "open", "shut"))] if guarded else []
        up = self.often(0.95)
        on = GUESTS[name][0]
        return port(name, on, mac_of(name), on=own(name), groups=groups, guarded=guarded, admin_state_up=up)

    def change_floating(self, name: str) -> Work:
        """It stands for a guest behind a router that leads there, or for nobody; the last one is for port forwardings."""
        on, address = FLOATING[name]
        if name == "f4":
            return floating_ip(name, on, mac_of(name), address, "ra" if self.outer["ra"] == on else "")
        taken = (int(name[1]), int(name[1]) + 4)  # so that no guest has two
        routers = {each: joined for each, joined in JOINED.items() if self.outer[each] == on}
        able = [
            guest
            for guest, (network, _) in GUESTS.items()
            if int(guest[1]) in taken and any(network in joined for joined in routers.values())
        ]
        if not able or self.often(0.2):
            return floating_ip(name, on, mac_of(name), address)
        guest = self.chance.choice(able)
        by = next(each for each, joined in routers.items() if GUESTS[guest][0] in joined)
        return floating_ip(name, on, mac_of(name), address, by, guest, of_version(own(guest), 4))

    def change_forwarding(self, id: str) -> Work:
        """It is there, or not."""
        protocol, external, guest, internal = FORWARDS[id]
        if self.outer["ra"] != "ext" or self.often(0.2):
            return no_forwarding(id)
        return forwarding(id, "f4", protocol, external, guest, of_version(own(guest), 4), internal)

    # Packets

    def message(self, cloud: Cloud) -> tuple[str, Message]:
        """Whose network it begins on, and a packet; of a host of a wire the sender is ""."""
        version = self.chance.choice((4, 4, 4, 6))
        return self.from_guest(cloud, version) if self.often(0.65) else self.from_wire(cloud, version)

    def from_guest(self, cloud: Cloud, version: int) -> tuple[str, Message]:
        """To its router, mostly, or to somebody on its network."""
        sender = self.chance.choice([*GUESTS])
        on, source = GUESTS[sender][0], of_version(own(sender), version)
        target = self.chance.choice([each for each in self.targets(version) if each != source])
        near = [each for each in cloud.model.all(Port) if each.network_id == on and each.id != sender]
        macs = [each.mac_address for each in near if target in {ip.ip_address for ip in each.fixed_ips}]
        macs = macs or [each.mac_address for each in near if each.device_owner in ROUTED]
        hosts = [mac_of(address) for address in OUTSIDERS.get(on, ())]
        return on, self.drawn(sender, mac_of(sender), macs or hosts, source, target, self.mtus[on])

    def from_wire(self, cloud: Cloud, version: int) -> tuple[str, Message]:
        """To whoever is there, or is reached from there."""
        on = self.chance.choice([each for each in OUTSIDERS if version == 4 or each in ("ext", "a1")])
        near = [each for each in OUTSIDERS[on] if (":" in each) == (version == 6)]
        host = self.chance.choice(near)
        far = on.startswith("ex") and host == near[0] and self.often(0.4)
        source = self.chance.choice(FAR[version]) if far else host
        target = self.chance.choice([each for each in self.targets(version) if each != source])
        ports = [each for each in cloud.model.all(Port) if each.network_id == on]
        macs = [each.mac_address for each in ports if target in {ip.ip_address for ip in each.fixed_ips}]
        macs = macs or [each.mac_address for each in ports if each.device_owner in ROUTED]
        macs = macs or [each.mac_address for each in ports]
        return on, self.drawn("", mac_of(host), macs, source, target, self.mtus[on])

    def drawn(self, sender: str, mac: str, macs: Sequence[str], source: str, target: str, mtu: int) -> Message:
        """A packet of some protocol and size, with some hops left."""
        version = 6 if ":" in source else 4
        protocol = self.chance.choice((17, 17, 6, 6, 1 if version == 4 else 58))
        low, high = next(_PORTS), self.chance.choice((1080, 8080, 6001, 2050))
        if protocol in ECHO:
            low, high = ECHO[protocol][0], 0
        return Message(
            sender=sender,
            source_mac=mac,
            target_mac=self.chance.choice(macs),
            source=source,
            target=target,
            protocol=protocol,
            low=low,
            high=high,
            hops=self.chance.choice(HOPS),
            size=min(mtu, self.chance.choice(SIZES)),
        )

    def targets(self, version: int) -> list[str]:
        """Where to: guests, the outside, floating IPs, routers, nobody."""
        guests = [of_version(own(guest), version) for guest in GUESTS]
        outside = [each for addresses in OUTSIDERS.values() for each in addresses]
        floating = [address for _, address in FLOATING.values()] * 3
        routers = ["172.24.0.10", "172.24.0.20", "172.25.0.10", "10.0.0.254", "fd00:e0::10", "fd00:a0::254"]
        nobody = ["172.24.0.77", "10.0.0.99", "10.0.1.99", "fd00:e0::77"]
        found = [*guests, *guests, *outside, *FAR[version], *FAR[version], *floating, *routers, *nobody]
        return [each for each in found if (":" in each) == (version == 6)]


# ---- the judges -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Case:
    """A packet at a switch, and what that knew of its connection, for Open vSwitch to judge."""

    chassis: str
    packet: Packet
    known: Connections


@dataclass(slots=True)
class Court:
    """A cloud, which gateways are dead, and what is still to be judged."""

    cloud: Cloud = field(default_factory=Cloud)
    away: frozenset[str] = frozenset()
    cases: list[Case] = field(default_factory=list)
    verdicts: Counter[str] = field(default_factory=Counter)

    def change(self, *works: Work) -> None:
        """Commit."""
        self.cloud.commit(*works)
        assert (self.cloud.engine.failures, self.cloud.engine.conflicts) == ({}, {})

    def converse(self, on: str, message: Message) -> None:
        """A packet is sent, answered if it comes to anybody, and sent again: the judges agree to each."""
        found = hosts(self.cloud.model, self.cloud.standing, self.away)
        oracle = Outside(self.cloud.model, self.away)
        said = self.send(found, oracle, on, message)
        self.tally(message, said)
        answer = self.answered(oracle, said)
        if answer is not None:
            back = self.send(found, oracle, *answer)
            self.verdicts["answered" if back.came else "unanswered"] += 1
            self.send(found, oracle, on, message)

    def send(self, found: Mapping[str, Host], oracle: Outside, on: str, message: Message) -> End:
        """Oracle and interpreter agree; what the interpreter saw is kept for Open vSwitch."""
        said = oracle.sent(message) if message.sender else oracle.came(on, message)
        before = {name: deepcopy(host.connections) for name, host in found.items()}
        if message.sender:
            number = ofport(View(self.cloud.model), message.sender)
            assert number is not None
            journey = follow(found, GUESTS[message.sender][1], framed(message, f.IN_PORT(number)))
        else:
            made = self.cloud.model.get(Network, on)
            assert made is not None
            assert made.physical_network is not None
            vlan = f.UNTAGGED if made.segmentation_id is None else f.VLAN_ID(made.segmentation_id)
            journey = arrive(found, made.physical_network, framed(message, vlan))
        ours = outcome(message, journey, self.cloud)
        assert ours == said, f"\n{on} {message}\n{said}\n{ours}\n{told(journey)}"
        seen = set()
        for leg in journey.legs:
            if leg.chassis not in seen:  # what it knew before it was there a second time is not kept
                self.cases.append(Case(leg.chassis, leg.trace.hops[0].packet, before[leg.chassis]))
            seen.add(leg.chassis)
        return said

    def answered(self, oracle: Outside, said: End) -> tuple[str, Message] | None:
        """What the receiver of a packet sends back, and on which network."""
        if said.came is None or (said.came.icmp and said.came.low != ECHO[said.came.protocol][0]):
            return None
        answer = replace(said.came.answer(said.receiver or ""), hops=64)
        if said.receiver:
            return GUESTS[said.receiver][0], answer
        assert said.wire is not None
        router = oracle.interface_behind(answer.target_mac)
        return said.wire, replace(answer, target_mac=router.mac_address) if router else answer

    def tally(self, message: Message, said: End) -> None:
        """What it came to, in words."""
        self.verdicts[said.why.name if said.why else "to a guest" if said.receiver else "to a wire"] += 1
        if said.came:
            ends = ("source", "target", "high")
            changed = [end for end in ends if getattr(said.came, end) != getattr(message, end)]
            self.verdicts[f"another {' and '.join(changed) or 'nothing'}"] += 1

    def appeal(self, judge: OpenVSwitch) -> None:
        """Open vSwitch agrees to everything since the last change."""
        for name, host in hosts(self.cloud.model, self.cloud.standing, self.away).items():
            cases = [case for case in self.cases if case.chassis == name]
            if cases:
                judge.load(entry.item for entry in self.cloud.engine.desired(name).values())
                judge.kill(host.dead)
            for case in cases:
                same_throughout(judge, host.switch, case.packet, case.known, dead=host.dead)
        self.cases.clear()


def framed(message: Message, *came: Match) -> Packet:
    """The message as a switch sees it."""
    headers, hops = (PACKET4, TTL) if message.version == 4 else (PACKET6, HOP_LIMIT)
    parts = [*came, f.ETH_SRC(Mac(message.source_mac)), f.ETH_DST(Mac(message.target_mac))]
    parts += [headers.proto(message.protocol), hops(message.hops)]
    parts += [headers.source(Address(message.source)), headers.destination(Address(message.target))]
    parts += [headers.low[message.protocol](message.low), headers.high[message.protocol](message.high)]
    return Packet(packet(*parts).values, message.size + ETHERNET_BYTES)


def outcome(message: Message, journey: Journey, cloud: Cloud) -> End:
    """A journey in the oracle's words."""
    assert not journey.lost
    for arrival in journey.arrivals:
        came = unframed(message, arrival.packet)
        if not arrival.physical:
            return End(receiver=arrival.interface.removeprefix("tap-"), came=came)
        vlan = arrival.packet[f.VLAN_TCI] & 0xFFF or None
        (on,) = [
            each.id
            for each in cloud.model.where(Network, physical_network=arrival.physical)
            if each.segmentation_id == vlan
        ]
        return End(wire=on, came=came)
    (end,) = [end for leg in journey.legs for end in leg.trace.ends if end.fate is not Fate.SENT]
    return End(why=end.why)


def unframed(message: Message, at: Packet) -> Message:
    """A packet in the words of messages."""
    headers = PACKET4 if message.version == 4 else PACKET6
    return replace(
        message,
        source_mac=f.ETH_SRC.show(at[f.ETH_SRC]),
        target_mac=f.ETH_DST.show(at[f.ETH_DST]),
        source=headers.source.show(at[headers.source]),
        target=headers.destination.show(at[headers.destination]),
        low=at[headers.low[message.protocol]],
        high=at[headers.high[message.protocol]],
        hops=at[TTL],
    )


AWAY = (frozenset[str](), frozenset[str](), frozenset({"hv2"}), frozenset({"hv3"}), frozenset({"hv2", "hv3"}))


def judged(court: Court, chance: Random, rounds: int, packets: int) -> Iterator[None]:
    """Conversations, changes, more conversations; a pause after each round."""
    world = World(chance)
    court.change(*world.begin())
    for _ in range(rounds):
        court.away = chance.choice(AWAY)
        for _ in range(packets):
            court.converse(*world.message(court.cloud))
        yield
        for _ in range(chance.randrange(1, 4)):
            court.change(*world.change())


@pytest.mark.ovs
@settings(max_examples=max(5, settings().max_examples // 25))  # each is some 30 packets, and takes a second
@given(st.randoms(use_true_random=True), st.integers(1, 2))
def test_the_model_the_interpreter_and_open_vswitch_lead_outside_alike(
    open_vswitch: OpenVSwitch, chance: Random, rounds: int
) -> None:
    """Packets go out and come in; then things change, and others do."""
    court = Court()
    for _ in judged(court, chance, rounds, packets=8):
        court.appeal(open_vswitch)
    open_vswitch.kill(frozenset())
    for verdict in court.verdicts:
        event(verdict)


def test_what_is_drawn_comes_to_everything() -> None:
    """Or these worlds are too dull to judge by."""
    seen: Counter[str] = Counter()
    for seed in range(4):
        court = Court()
        for _ in judged(court, Random(seed), rounds=2, packets=40):
            court.cases.clear()
        seen += court.verdicts
    wanted = {
        "to a guest", "to a wire", "answered", "another nothing", "another source", "another target",
        "another target and high", "another source and target", "NO_CONNECTION", "NO_GATEWAY", "NO_NEIGHBOUR",
        "ROUTER_ADDRESS", "TTL_EXCEEDED", "TOO_BIG", "TRANSIT_TOO_BIG", "NO_PHYSICAL", "INGRESS_DENIED",
    }  # fmt: skip
    assert wanted <= set(seen), sorted(wanted - set(seen))
