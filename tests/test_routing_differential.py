"""Three judges of routing agree: the model alone, our interpreter, a real Open vSwitch (`tests.test_differential`).

Topologies are drawn: networks of different MTUs, subnets of both versions with and without gateways, routers in chains
and rings, extra routes that overlap and have several next hops, in two projects that have the same addresses; and they
change. Every packet is judged by the oracle, followed from switch to switch by the interpreter, through every next hop
that its connection might take, and then traced by Open vSwitch, stage by stage. What the controller answers to packets
that are handed to it is written by the apps from real frames, and read again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from ipaddress import ip_network
from random import Random

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from apps import APPS, router_errors
from controller.flows import fields as f
from controller.flows.attachment import ofport
from controller.flows.conntrack import Connections
from controller.flows.fields import HOP_LIMIT, PACKET4, PACKET6, TTL
from controller.flows.flow import Flow, Group
from controller.flows.journey import Host, Journey, follow, hosts
from controller.flows.match import Field, Set
from controller.flows.packet import Packet, packet
from controller.flows.pipeline import NET, NET_IN, RTR, SRC
from controller.flows.punted import Punted, Reply
from controller.flows.trace import End as Ended
from controller.flows.trace import Fate
from controller.model.records import Address, Chassis, Mac
from controller.model.view import View
from controller.southbound.packet_in import answers_of
from tests.cloud import (
    Cloud,
    Work,
    egress,
    group,
    hypervisor,
    ingress,
    interface,
    network,
    port,
    router,
    subnet,
    turned,
)
from tests.frames import error, frame
from tests.open_vswitch import Choosing, OpenVSwitch, same_throughout
from tests.oracle import FIRST, LATER, WHOLE, Message
from tests.routing_oracle import ECHO, End, Told, ends, reached

ETHERNET_BYTES = 14
NETWORKS = {"a0": "a", "a1": "a", "a2": "a", "a3": "a", "b0": "b", "b1": "b"}
"""Each with its project; networks of one number have the same addresses."""
ROUTERS = {"r0": "a", "r1": "a", "r2": "a", "r3": "a", "s0": "b"}
MTUS = (1450, 1450, 1450, 1400, 1300)
SIZES = (100, 1300, 1301, 1400, 1401, 1450)
PLACES = {1: ("g0", "g1", "g2", "g3", "g4"), 2: ("g5", "g6", "g7", "g8")}
"""The guests of each hypervisor; a third one has none."""
HOPS = (0, 1, 1, 2, 2, 3, 8, 9, 64, 64, 64, 64, 64, 64, 64)
ODD = (
    "0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/22", "10.0.2.1/32", "10.0.1.128/25", "10.1.0.0/28", "192.0.2.0/24",
    "::/0", "fd00::/16", "fd00:0:0:2::1/128", "fd00:0:1::/64", "2001:db8::/32",
)  # fmt: skip
"""Destinations that overlap, with subnets and with one another."""
HASHES = range(1, 4)
"""Some of the values that a connection's hash may have."""


def cidrs(network: str) -> dict[str, str]:
    """The subnets that a network may have, by id; every other one has no gateway."""
    number = int(network[1])
    one, two = ("fd00::/64", "fd00:0:1::/64") if number == 0 else (f"fd00:0:0:{number}::/64", f"fd00:0:1:{number}::/64")
    return {
        f"{network}-4": f"10.0.{number}.0/24", f"{network}-6": one,
        f"{network}-4'": f"10.1.{number}.0/28", f"{network}-6'": two,
    }  # fmt: skip


def within(cidr: str, last: int) -> str:
    """An address of a subnet, as text that is canonical."""
    return str(ip_network(cidr)[last])


# ---- what may be drawn ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class World:
    """Two projects' networks, routers and guests, and how they change, by chance: one thing at a time."""

    chance: Random
    guests: dict[str, str] = field(default_factory=dict)
    """The network of each."""
    interfaces: dict[str, tuple[str, str, dict[str, str]]] = field(default_factory=dict)
    """Of each the router, the network and the addresses, by subnet."""
    mtus: dict[str, int] = field(default_factory=dict)

    def begin(self) -> Iterator[Work]:
        """Everything, for the first time."""
        yield group("open", egress(), egress(ethertype="IPv6"), ingress(), ingress(ethertype="IPv6"))
        yield group("shut", egress(), egress(ethertype="IPv6"))
        for name in NETWORKS:
            yield self.change_network(name, up=True)
            for number, (id, cidr) in enumerate(cidrs(name).items()):
                yield subnet(id, name, cidr, None if number % 2 else within(cidr, 1))
        for name in ROUTERS:
            yield router(name)
            mine = [each for each, project in NETWORKS.items() if project == ROUTERS[name]]
            for each in self.chance.sample(mine, min(len(mine), self.chance.choice([1, 2, 2, 3, 3]))):
                yield from self.join(name, each)
        for number, name in enumerate(name for names in PLACES.values() for name in names):
            self.guests[name] = self.chance.choice([*NETWORKS, "a0", "a1", "a2", "a3"])
            yield self.change_guest(name, number)
        for name in ROUTERS:
            yield self.change_routes(name)

    def change(self) -> Work:
        """One thing becomes another."""
        name = self.chance.choice([*ROUTERS])
        match self.chance.choice(["routes", "routes", "routes", "router", "interface", "network", "guest", "guest"]):
            case "routes":
                return self.change_routes(name)
            case "router":
                return self.change_routes(name, up=self.often(0.6))
            case "interface" if self.interfaces:
                return turned(self.chance.choice([*self.interfaces]), up=self.often(0.6))
            case "network":
                return self.change_network(self.chance.choice([*NETWORKS]), up=self.often(0.7))
            case _:
                number = self.chance.randrange(len(self.guests))
                return self.change_guest([*self.guests][number], number)

    def often(self, share: float) -> bool:
        """Yes, in so many cases of one."""
        return self.chance.random() < share

    def change_network(self, name: str, *, up: bool) -> Work:
        """Another MTU, another kind."""
        type, mtu = "vxlan" if name < "b" else "geneve", self.chance.choice(MTUS)
        self.mtus[name] = mtu
        return network(name, 100 + [*NETWORKS].index(name), type, mtu=mtu, admin_state_up=up)

    def join(self, router: str, network: str) -> Iterator[Work]:
        """A router on some subnets of a network: those of IPv6 by one interface, each of IPv4 by one of its own."""
        ids = [id for id in cidrs(network) if self.often(0.45 if id.endswith("'") else 0.9)]
        last = 1 + [*ROUTERS].index(router)
        held = {id: within(cidrs(network)[id], last) for id in ids}
        apart = [{id: held[id]} for id in ids if ":" not in held[id]]
        for number, addresses in enumerate([*apart, {id: held[id] for id in ids if ":" in held[id]}]):
            if addresses:
                id = f"{router}-{network}-{number}"
                self.interfaces[id] = (router, network, addresses)
                yield interface(id, router, network, mac_of(id), **addresses)

    def change_routes(self, name: str, *, up: bool = True) -> Work:
        """Other routes, mostly to all that is further away, and any; and the router is up or down."""
        far = (
            [cidr for each in ("a0", "a1", "a2", "a3") for cidr in [*cidrs(each).values()][:2]]
            if self.often(0.6)
            else []
        )
        routes = {route for to in far if self.often(0.8) for route in self.route(to, self.routers_by(name), (1, 1, 2))}
        odd = [self.chance.choice(ODD) for _ in range(self.chance.randrange(3))]
        routes |= {route for to in odd for route in self.route(to, self.anybody_by(name), (1, 2, 3))}
        return router(name, *sorted(routes), admin_state_up=up)

    def route(self, to: str, nexthops: list[str], counts: Sequence[int]) -> Iterator[tuple[str, str]]:
        """To a block, by one or several of these; seldom of another IP version."""
        any_version = self.often(0.1)
        hops = [hop for hop in nexthops if any_version or (":" in hop) == (":" in to)]
        return ((to, by) for by in self.chance.sample(hops, min(len(hops), self.chance.choice(counts))))

    def routers_by(self, name: str) -> list[str]:
        """The addresses of other routers on a router's networks."""
        joined = {on for router, on, _ in self.interfaces.values() if router == name}
        others = [held for router, on, held in self.interfaces.values() if router != name and on in joined]
        return sorted(address for held in others for address in held.values())

    def anybody_by(self, name: str) -> list[str]:
        """Those, and guests, and nobody, and what is on none of its subnets."""
        joined = {on for router, on, _ in self.interfaces.values() if router == name}
        near = {address for on in sorted(joined) for address in self.addresses(on)}
        return sorted({*near, *self.routers_by(name), "10.9.9.9", "fd00:9::9"})

    def addresses(self, network: str) -> Iterator[str]:
        """The addresses that there may be on a network: of routers, of guests, of nobody."""
        for _, on, held in self.interfaces.values():
            if on == network:
                yield from held.values()
        for number, (_, on) in enumerate(self.guests.items()):
            if on == network:
                yield from (within(cidr, 10 + number) for cidr in [*cidrs(network).values()][:2])
        yield from (within(cidr, 9) for cidr in cidrs(network).values())

    def change_guest(self, name: str, number: int) -> Work:
        """A guest that is guarded or not, up or not, and may use an address beside its own."""
        on = self.guests[name]
        own = [within(cidr, 10 + number) for cidr in [*cidrs(on).values()][:2]]
        guarded = self.often(0.3)
        pairs = [(mac_of("pair"), within(cidrs(on)[f"{on}-4"], 9))] if guarded and self.often(0.3) else []
        groups = [self.chance.choice(["open", "open", "shut"])] if guarded else []
        up = self.often(0.9)
        return port(name, on, mac_of(name), *own, groups=groups, pairs=pairs, guarded=guarded, admin_state_up=up)

    def message(self) -> Message:
        """A packet from a guest, mostly to a router's MAC."""
        routed = [guest for guest, on in self.guests.items() if on in {each[1] for each in self.interfaces.values()}]
        sender = self.chance.choice([*self.guests, *routed, *routed])
        on, number = self.guests[sender], [*self.guests].index(sender)
        version = self.chance.choice([4, 4, 6])
        protocol = self.chance.choice([17, 17, 6, 1 if version == 4 else 58, 1 if version == 4 else 58, 47])
        low = high = 0
        if protocol in (6, 17):
            low, high = 1000, 80
        if protocol in ECHO:
            low = self.chance.choice([ECHO[protocol][0]] * 5 + [ECHO[protocol][1], 3 if version == 4 else 1, 5, 137])
        macs = [mac_of(id) for id, (_, network, _) in self.interfaces.items() if network == on]
        if not macs or self.often(0.07):
            macs = ["02:00:00:00:00:99", *(mac_of(guest) for guest, network in self.guests.items() if network == on)]
        fragment = WHOLE if protocol == 6 or self.often(0.9) else self.chance.choice([FIRST, LATER])
        return Message(
            sender=sender,
            source_mac=mac_of(sender),
            target_mac=self.chance.choice(macs),
            source=self.target(version) if self.often(0.05) else self.own(sender, number, version),
            target=self.target(version),
            protocol=protocol,
            low=low,
            high=high,
            fragment=fragment,
            hops=self.chance.choice(HOPS),
            size=min(self.mtus[on], self.chance.choice(SIZES if fragment != WHOLE else (100, 100, *SIZES))),
            whole=self.often(0.7),
        )

    def own(self, sender: str, number: int, version: int) -> str:
        """A guest's own address; sometimes its link-local one."""
        if version == 6 and self.often(0.1):
            return str(f.link_local(Mac(mac_of(sender))))
        return within(cidrs(self.guests[sender])[f"{self.guests[sender]}-{version}"], 10 + number)

    def target(self, version: int) -> str:
        """Where to: somebody's address, nobody's, all of a subnet, one that no router forwards to."""
        there = [within(cidrs(on)[f"{on}-{version}"], 10 + n) for n, on in enumerate(self.guests.values())] * 3
        there += [address for network in NETWORKS for address in self.addresses(network)]
        far = {4: ["192.0.2.77", "10.0.1.255", "10.1.2.15", "127.0.0.1", "0.0.0.0", "239.1.1.1"],
               6: ["2001:db8::1", "::1", "::", "ff05::1", "fe80::1"]}[version]  # fmt: skip
        far += [str(f.link_local(Mac(mac_of(id)))) for id in self.interfaces] if self.often(0.3) else []
        wanted = there if self.often(0.85) else far
        return self.chance.choice([address for address in wanted if (":" in address) == (version == 6)])


def mac_of(name: str) -> str:
    """One for each name."""
    return f"02:{sha256(name.encode()).digest()[:5].hex(':')}"


# ---- the judges -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Case:
    """A packet at a switch, for Open vSwitch to judge."""

    chassis: str
    packet: Packet
    either: frozenset[int]


@dataclass(slots=True)
class Court:
    """A cloud, and what is still to be judged in it."""

    cloud: Cloud = field(default_factory=Cloud)
    hosts: dict[str, Host] = field(default_factory=dict)
    cases: list[Case] = field(default_factory=list)

    def change(self, *works: Work) -> None:
        """Commit, and look at every switch anew."""
        self.cloud.commit(*works)
        assert (self.cloud.engine.failures, self.cloud.engine.conflicts) == ({}, {})
        self.hosts = hosts(self.cloud.model, self.cloud.standing)
        self.see_presence()

    def see_presence(self) -> None:
        """Each switch holds the flows of the networks and routers that its guests reach: all of them, and of no other."""
        for chassis in self.cloud.model.all(Chassis):
            items = [entry.item for entry in self.cloud.engine.desired(chassis.id).values()]
            networks, routers = reached(self.cloud.model, chassis)
            view = View(self.cloud.model)
            here = {view.tag("network", id) for id in networks}, {view.tag("router", id) for id in routers}
            assert (used(items, NET), used(items, RTR)) == here, chassis.id

    def send(self, message: Message) -> None:
        """Oracle and interpreter agree; what the interpreter saw is kept for Open vSwitch."""
        chassis = next(f"hv{number}" for number, names in PLACES.items() if message.sender in names)
        said = ends(self.cloud.model, message)
        journeys = [*every(self.hosts, chassis, self.packet(message))]
        found = {self.outcome(message, journey) for journey in journeys}
        assert found == {plain(end) for end in said}, f"\n{message}\n{said}\n{found}\n" + "\n".join(map(told, journeys))
        for end in said:
            event(f"{end.why.name if end.why else 'arrived'} after {len(end.passed)} of {len(said)}")
        for journey in journeys:
            for leg in journey.legs:
                self.cases.append(Case(leg.chassis, leg.trace.hops[0].packet, frozenset()))

    def outcome(self, message: Message, journey: Journey) -> End:
        """A journey in the oracle's words, but for the routers that were passed."""
        assert not journey.lost
        for arrival in journey.arrivals:
            at = arrival.packet
            return End(arrival.interface.removeprefix("tap-"), f.ETH_SRC.show(at[f.ETH_SRC]), at[TTL])
        (end,) = [end for leg in journey.legs for end in leg.trace.ends if end.fate is not Fate.SENT]
        return End(why=end.why, told=self.answer(message, end) if end.fate is Fate.PUNTED else None)

    def answer(self, message: Message, end: Ended) -> Told | None:
        """What the controller sends of a packet that was handed to it."""
        assert end.why is not None
        at, headers = end.packet, PACKET4 if message.version == 4 else PACKET6
        now = replace(
            message,
            source=headers.source.show(at[headers.source]),
            target=headers.destination.show(at[headers.destination]),
            low=at[headers.low[message.protocol]] if message.icmp else message.low,
        )
        punted = Punted(end.why, at[f.IN_PORT], at[SRC], at[RTR], at[NET_IN], at[NET], frame(now, b"mark"))
        view = View(self.cloud.model)
        said = [each for answer in answers_of(APPS)[end.why] for each in answer(view, punted)]
        replies = [each for each in said if isinstance(each, Reply)]
        assert len(replies) <= 1
        assert {reply.port for reply in replies} <= {ofport(View(self.cloud.model), message.sender)}
        return error(replies[0].frame) if replies else None

    def packet(self, message: Message) -> Packet:
        """The message as a switch sees it."""
        number = ofport(View(self.cloud.model), message.sender)
        assert number is not None
        headers, hops = (PACKET4, TTL) if message.version == 4 else (PACKET6, HOP_LIMIT)
        parts = [f.IN_PORT(number), f.ETH_SRC(Mac(message.source_mac)), f.ETH_DST(Mac(message.target_mac))]
        parts += [headers.proto(message.protocol), hops(message.hops)]
        parts += [headers.source(Address(message.source)), headers.destination(Address(message.target))]
        if message.protocol in headers.low and message.fragment != LATER:
            parts += [headers.low[message.protocol](message.low), headers.high[message.protocol](message.high)]
        made = packet(*parts).put(f.IPV4_FRAG, message.fragment)
        return Packet(made.values, message.size + ETHERNET_BYTES)

    def appeal(self, judge: OpenVSwitch) -> None:
        """Open vSwitch agrees to everything since the last change, whatever the hash of a connection is."""
        for chassis in self.hosts:
            cases = {(str(case.packet), case.packet.length): case for case in self.cases if case.chassis == chassis}
            if cases:
                judge.load(entry.item for entry in self.cloud.engine.desired(chassis).values())
            for case in cases.values():
                for hash in HASHES:
                    came = case.packet.put_whole("dp_hash", hash)
                    if not same_throughout(judge, self.hosts[chassis].switch, came, Connections()):
                        break
        self.cases.clear()


def used(items: Iterable[Flow | Group], register: Field[int]) -> set[int]:
    """The values that flows test or set a register to; 0 is of nobody."""
    flows = [item for item in items if isinstance(item, Flow)]
    tested = {test.value for flow in flows for test in flow.match.tests if test.field is register}
    written = {
        each.value for flow in flows for each in flow.actions if isinstance(each, Set) and each.field is register
    }
    return (tested | written) - {0}


def every(
    cloud: Mapping[str, Host], chassis: str, sent: Packet, chosen: Mapping[int, int] | None = None
) -> Iterator[Journey]:
    """The journeys of a packet, by every next hop that it might take."""
    chosen = chosen or {}
    fresh = {
        name: replace(host, switch=Choosing(host.switch, chosen), connections=Connections())
        for name, host in cloud.items()
    }
    journey = follow(fresh, chassis, sent)
    met = [
        hop.met for leg in journey.legs for hop in leg.trace.hops if isinstance(hop.met, Group) and hop.met.kind.chooses
    ]
    undecided = next((group for group in met if group.id not in chosen), None)
    if undecided is None:
        yield journey
        return
    group = cloud[chassis].switch.group(undecided.id)
    assert group is not None
    for number in range(len(group.buckets)):
        yield from every(cloud, chassis, sent, {**chosen, undecided.id: number})


def plain(end: End) -> End:
    """An end without the routers that were passed."""
    return replace(end, passed=())


def told(journey: Journey) -> str:
    """A journey to read, when the judges disagree."""
    return "\n".join(
        f"{leg.chassis} {'  ' * hop.depth}{hop.table!r} {hop.met}" for leg in journey.legs for hop in leg.trace.hops
    )


@pytest.mark.ovs
@given(st.randoms(use_true_random=True), st.integers(1, 2))
def test_the_model_the_interpreter_and_open_vswitch_route_alike(
    open_vswitch: OpenVSwitch, chance: Random, rounds: int
) -> None:
    """Packets are sent through routers; then things change, and others are."""
    court, world = Court(), World(chance)
    court.change(*world.begin(), *(hypervisor(number, *names) for number, names in PLACES.items()), hypervisor(3))
    for _ in range(rounds):
        for _ in range(12):
            court.send(world.message())
        court.appeal(open_vswitch)
        for _ in range(chance.randrange(1, 4)):
            court.change(world.change())


def test_what_is_drawn_comes_to_everything() -> None:
    """Or these worlds are too dull to judge by: every end there is, by several routers, over several next hops."""
    seen: Counter[str] = Counter()
    for seed in range(40):
        cloud, world = Cloud(apps=()), World(Random(seed))
        cloud.commit(*world.begin(), *(hypervisor(number, *names) for number, names in PLACES.items()))
        for _ in range(25):
            for end in (found := ends(cloud.model, world.message())):
                seen[end.why.name if end.why else "arrived"] += 1
                seen[f"told of {end.why.name}" if end.why and end.told else ""] += 1
                seen[f"arrived by {len(end.passed)} of {len(found)}" if end.receiver else ""] += 1
    wanted = {why.name for why in router_errors.APP.answers} - {"TRANSIT_TOO_BIG"}  # nobody has a gateway here
    wanted |= {f"told of {name}" for name in wanted}
    wanted |= {"arrived", "ROUTER_LOOP", "MARTIAN", "LINK_LOCAL", "FRAGMENT_TOO_BIG", "INGRESS_DENIED"}
    wanted |= {f"arrived by {routers} of {ends}" for routers in (1, 2, 3) for ends in (1, 2)}
    assert wanted <= set(seen), sorted(wanted - set(seen))
