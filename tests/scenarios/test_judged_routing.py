"""The fourth judge of routing: real packets on real Open vSwitch come where the oracle says, and senders are told.

Eight guests of two projects that have the same addresses, on two hypervisors. A world is routers drawn at random, over
the API: interfaces, chains, routes with several next hops, that overlap, that lead to guests and to nobody; and it
changes while it is judged. The oracle is asked about the very model the controller has, in its store; every guest is
listened to: what arrives, arrives there alone, from the MAC of the last router, with as many hops less as it passed
routers; and errors come to their sender alone, from the right address, with the right MTU. Every packet is sent twice:
of a connection both take the same next hop.

Every packet is made here: the guests have no addresses, so no kernel says anything of its own.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from random import Random

import pytest

from controller.flows.fields import link_local
from controller.model.records import Mac
from controller.model.store import Model
from controller.southbound.packet_in import BURST, PORT_BURST, PORT_PER_SECOND, RESERVE
from mininet_scenarios.api import Json
from mininet_scenarios.captures import Frame
from mininet_scenarios.errors import Refused
from mininet_scenarios.frames import token
from mininet_scenarios.hosts import Guest
from mininet_scenarios.lab import Lab, Network
from mininet_scenarios.machines import Hypervisor
from tests.frames import error, frame, hops
from tests.oracle import Message
from tests.routing_oracle import ECHO, End, Told, ends
from tests.scenarios.judging import drops, hear, is_one, model, seeds

SEEDS = (1, 2, 3)
SOAK_S = 300.0
ROUNDS, SENT = 3, 32
"""How often a world is judged, changing in between; and how many packets are sent each time, of each two copies."""
MTUS = {"a0": 1450, "a1": 1300, "a2": 1450, "a3": 1400, "b0": 1450, "b1": 1400}
"""Networks, whose first letter is their project's; those of one number have the same addresses."""
PLACES = (("a0", "hv1"), ("a0", "hv2"), ("a1", "hv2"), ("a2", "hv1"), ("a3", "hv2"), ("a3", "hv1"), ("b0", "hv1"),
          ("b1", "hv2"))  # fmt: skip
"""The network and the hypervisor of each guest."""
ROUTERS = {"a": 4, "b": 1}
HOPS = (1, 2, 2, 3, *[64] * 8)
SIZES = (100, 100, 100, 1300, 1301, 1400, 1401, 1450)
ODD = ("0.0.0.0/0", "10.0.0.0/8", "10.0.2.0/25", "192.0.2.0/24", "::/0", "fd00::/16", "fd00:2::/65", "2001:db8::/32")
SEEN = {"arrived", "NO_ROUTE", "NO_NEIGHBOUR", "TTL_EXCEEDED", "ROUTER_ADDRESS", "TOO_BIG", "told", "over several"}
"""What the worlds come to between them, or they are too dull to judge by."""
_PORTS = itertools.cycle(range(20_000, 60_000))
"""Source ports and ICMP identifiers: every packet begins a connection."""


def address(network: str, version: int, last: int) -> str:
    """An address on a network; the last ones of its subnet are below 250."""
    number = network[1]
    return str(ip_network(f"10.0.{number}.0/24" if version == 4 else f"fd00:{number}::/64")[last])


# ---- worlds ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class World:
    """Routers, by chance, between networks and guests that stay."""

    lab: Lab
    chance: Random
    networks: Mapping[str, Network]
    guests: Sequence[Guest]
    routers: dict[str, tuple[str, list[str]]] = field(default_factory=dict)
    """The networks that each router joins, by its id, and its project."""
    interfaces: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    """By MAC: the router, the network, and the last number of the interface's addresses."""

    def begin(self) -> None:
        """Everything, for the first time."""
        for project, count in ROUTERS.items():
            for number in range(1, count + 1):
                made = self.lab.router(f"{project}{number}", project=project)
                mine = [name for name in self.networks if name[0] == project]
                joined = self.chance.sample(mine, min(len(mine), self.chance.choice((2, 3, 3))))
                self.routers[made["id"]] = (project, joined)
                for name in joined:
                    self.join(made["id"], name, number)
        for router in self.routers:
            self.reroute(router)

    def end(self) -> None:
        """Leave nothing behind."""
        for router in self.routers:
            path = f"/v2.0/routers/{router}"
            self.lab.api.put(path, {"router": {"routes": []}})
            for port in self.lab.api.get(f"/v2.0/ports?device_id={router}")["ports"]:
                self.lab.api.put(f"{path}/remove_router_interface", {"port_id": port["id"]})
            self.lab.api.delete(path)
        for guest in self.guests:
            self.lab.change(guest, admin_state_up=True)

    def often(self, share: float) -> bool:
        """Yes, in so many cases of one."""
        return self.chance.random() < share

    def join(self, router: str, name: str, last: int) -> None:
        """A router on a network, with an address of each IP version, or of one."""
        versions = self.chance.choice(((4, 6), (4, 6), (4, 6), (4, 6), (4, 6), (4, 6), (4,), (6,)))
        subnets = [self.networks[name].of(address(name, version, last)) for version in versions]
        fixed = [{"subnet_id": subnet.id, "ip_address": address(name, version, last)}
                 for subnet, version in zip(subnets, versions, strict=True)]  # fmt: skip
        wanted = {"network_id": self.networks[name].id, "fixed_ips": fixed, "project_id": name[0]}
        port: Json = self.lab.api.post("/v2.0/ports", {"port": wanted})["port"]
        self.lab.api.put(f"/v2.0/routers/{router}/add_router_interface", {"port_id": port["id"]})
        self.interfaces[port["mac_address"]] = (router, name, last)

    def reroute(self, router: str) -> None:
        """Other routes: to far networks by routers that are near, and odd ones by anybody; a wrong one is refused."""
        project, joined = self.routers[router]
        routers = [(name, last) for other, name, last in self.interfaces.values() if other != router and name in joined]
        guests = [(name, 10 + number) for number, (name, _) in enumerate(PLACES) if name in joined]
        anybody = [*routers, *guests, *((name, 99) for name in joined)]
        beyond = [name for name in self.networks if name[0] == project and name not in joined]
        far = [self.cidr(name, version) for name in beyond for version in (4, 6)] + self.chance.sample(ODD, 1)
        wanted = {way for to in far if self.often(0.9) for way in self.route(to, routers, (1, 2, 2))}
        odd = self.chance.sample(ODD, self.chance.randrange(3))
        wanted |= {way for to in odd for way in self.route(to, anybody, (1, 2, 3))}
        for to, by in sorted(wanted):
            body = {"router": {"routes": [{"destination": to, "nexthop": by}]}}
            with suppress(Refused):  # by a subnet of the other version alone
                self.lab.api.put(f"/v2.0/routers/{router}/add_extraroutes", body)

    def route(self, to: str, by: Sequence[tuple[str, int]], counts: Sequence[int]) -> list[tuple[str, str]]:
        """To a block, by one or several."""
        version = 6 if ":" in to else 4
        chosen = self.chance.sample(by, min(len(by), self.chance.choice(counts)))
        return [(to, address(name, version, last)) for name, last in chosen]

    def cidr(self, name: str, version: int) -> str:
        """The subnet of a network."""
        return self.networks[name].of(address(name, version, 1)).cidr

    def change(self) -> str:
        """One thing becomes another; what."""
        what = self.chance.choice(("routes", "routes", "router", "interface", "guest"))
        router = self.chance.choice([*self.routers])
        if what == "routes":
            self.lab.api.put(f"/v2.0/routers/{router}", {"router": {"routes": []}})
            self.reroute(router)
        elif what == "router":
            self.lab.api.put(f"/v2.0/routers/{router}", {"router": {"admin_state_up": self.often(0.5)}})
        elif what == "guest":
            self.lab.change(self.chance.choice(self.guests), admin_state_up=self.often(0.5))
        else:
            (port, *_) = self.lab.api.get(f"/v2.0/ports?device_id={router}")["ports"]
            self.lab.api.put(f"/v2.0/ports/{port['id']}", {"port": {"admin_state_up": self.often(0.5)}})
        return what

    def packets(self) -> list[Packet]:
        """As many as `SENT`, and of no port, and no switch, more than are answered within half a second: each is sent
        twice."""
        found: list[Packet] = []
        senders: Counter[Guest] = Counter()
        switches: Counter[Hypervisor] = Counter()
        while len(found) < SENT:
            packet = self.packet()
            sender, switch = packet.sender, packet.sender.hypervisor
            if 2 * senders[sender] < PORT_BURST / 2 and 2 * switches[switch] < BURST - RESERVE:
                found.append(packet)
                senders[sender] += 1
                switches[switch] += 1
        return found

    def packet(self) -> Packet:
        """From a guest to a router, as a guest sends it."""
        sender = self.chance.choice(self.guests)
        on = network_of(sender)
        version = self.chance.choice((4, 6))
        protocol = self.chance.choice((17, 17, 6, 1 if version == 4 else 58))
        number = next(_PORTS)
        low, high = (ECHO[protocol][0], 0) if protocol in ECHO else (number, 80)
        macs = [mac for mac, (_, name, _) in self.interfaces.items() if name == on] or [self.guests[0].mac]
        message = Message(
            sender=sender.port_id,
            source_mac=sender.mac,
            target_mac=self.chance.choice(macs),
            source=sender.address(version),
            target=self.target(on, version),
            protocol=protocol,
            low=low,
            high=high,
            hops=self.chance.choice(HOPS),
            size=min(MTUS[on], self.chance.choice(SIZES)),
            whole=self.often(0.8),
        )
        return Packet(sender, message, number)

    def target(self, on: str, version: int) -> str:
        """Where to: a guest, a router, nobody."""
        guests = [guest.address(version) for guest in self.guests if network_of(guest) != on]
        routers = [address(name, version, last) for _, name, last in self.interfaces.values()]
        local = [str(link_local(Mac(mac))) for mac, (_, name, _) in self.interfaces.items() if name == on]
        far = ["192.0.2.77", "10.0.2.99", "10.0.1.255"] if version == 4 else ["2001:db8::1", "fd00:2::99", *local]
        return self.chance.choice(self.chance.choice((guests, guests, guests, guests, guests, routers, far)) or far)


def network_of(guest: Guest) -> str:
    """The name of a guest's network."""
    return guest.name[:2]


# ---- the court ------------------------------------------------------------------------------------------------


Heard = tuple[str, Told | tuple[str, int]]
"""By the port that heard: an error; or the packet itself, from which MAC, and with how many hops left."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet, and its copy."""

    sender: Guest
    message: Message
    number: int
    marks: tuple[bytes, bytes] = field(default_factory=lambda: (token(), token()))

    def frames(self) -> list[bytes]:
        """Both as they are sent."""
        return [frame(self.message, mark, self.number) for mark in self.marks]


@dataclass(slots=True)
class Court:
    """Asks the oracle, sends, and listens."""

    lab: Lab
    verdicts: Counter[str] = field(default_factory=Counter)
    disagreements: list[str] = field(default_factory=list)

    def judge(self, rows: Model, packets: Sequence[Packet], case: str) -> None:
        """Each of these packets, sent at once, comes to an end that the oracle knows, and its copy to the same.

        Beside one that was to be heard of and was not stands what the switches dropped and handed over meanwhile.
        """
        said = [{replace(end, passed=()) for end in ends(rows, packet.message)} for packet in packets]
        guests = self.lab.guests.values()
        sent = {guest: [raw for each in packets if each.sender is guest for raw in each.frames()] for guest in guests}
        marks = {mark for packet in packets for mark in packet.marks}
        expected = 2 * sum(all(end.receiver or end.told for end in each) for each in said)
        before = drops(self.lab)
        heard = hear(guests, sent, marks, expected)
        if len(heard) < expected:
            time.sleep(1.1)  # counters of drops are a second late
            case = f"{case}; drops {drops(self.lab) - before}"
        for packet, each in zip(packets, said, strict=True):
            first, second = ([self.end(place, raw) for place, raw in heard.get(mark, [])] for mark in packet.marks)
            if first != second or first not in [audible(packet, end) for end in each]:
                self.disagreements.append(f"{case}\n  {packet}\n  oracle: {each}\n  heard: {first}, {second}")
            self.verdicts.update(words for end in each for words in verdict(end))
            self.verdicts["over several"] += len(each) > 1

    def end(self, place: str, heard: Frame) -> Heard:
        """What was heard, and where: an error, or the packet itself, or a router's answer."""
        port = self.lab.guests[place].port_id
        return port, error(heard.raw) or (heard.src, hops(heard.raw))


def audible(packet: Packet, end: End) -> list[Heard]:
    """What is heard of an end."""
    if end.receiver is not None:
        return [(end.receiver, (end.mac, end.hops))]
    return [(packet.sender.port_id, end.told)] if end.told else []


def verdict(end: End) -> list[str]:
    """An end in words."""
    return [end.why.name if end.why else "arrived", *(["told"] if end.told else [])]


def try_world(lab: Lab, networks: Mapping[str, Network], seed: int) -> Court:
    """One world from its beginning to its end."""
    court, chance = Court(lab), Random(seed)
    world = World(lab, chance, networks, [*lab.guests.values()])
    world.begin()
    changes = ["nothing yet"]
    for number in range(ROUNDS):
        lab.converged()
        court.judge(model(lab), world.packets(), f"seed {seed}, round {number} after {', '.join(changes)}")
        time.sleep(PORT_BURST / 2 / PORT_PER_SECOND)  # until as many are answered again
        changes = [world.change() for _ in range(chance.randrange(1, 4))]
    world.end()
    return court


@pytest.fixture(scope="module")
def networks(lab: Lab) -> dict[str, Network]:
    """All networks, and the guests on them, who have addresses in what they send alone.

    They are guarded: else any might hold the address that a router looks for, and would be asked first.
    """
    found = {
        name: lab.network(
            name, cidr=[f"10.0.{name[1]}.0/24", f"fd00:{name[1]}::/64"], project=name[0], mtu=mtu,
            type="vxlan" if mtu == 1450 else "geneve",
        )
        for name, mtu in MTUS.items()
    }  # fmt: skip
    groups = {project: lab.group("open", project=project) for project in ROUTERS}
    for each in groups.values():
        for ethertype in ("IPv4", "IPv6"):
            lab.rule(each, ethertype=ethertype)
    for number, (name, on) in enumerate(PLACES):
        ip, mac = [address(name, version, 10 + number) for version in (4, 6)], f"02:00:00:00:00:{10 + number}"
        wide_open = [groups[name[0]]["id"]]
        guest = lab.guest(f"{name}-{number}", network=found[name], on=on, ip=ip, mac=mac, security_groups=wide_open)
        guest.ip_batch("addr flush dev eth0")
        guest.sysctl("ipv6/conf/eth0/disable_ipv6", 1)
    return found


@pytest.mark.timeout(SOAK_S + 120)
def test_packets_come_where_the_oracle_says_and_senders_are_told(lab: Lab, networks: dict[str, Network]) -> None:
    verdicts: Counter[str] = Counter()
    for seed in seeds(SEEDS, SOAK_S):
        court = try_world(lab, networks, seed)
        print(f"seed {seed}: {dict(court.verdicts)}")
        assert court.disagreements == [], "\n".join(court.disagreements)
        verdicts += court.verdicts
    assert is_one() or set(verdicts) >= SEEN
    assert " ERROR " not in lab.controller.log.read_text()
    lab.settles()
