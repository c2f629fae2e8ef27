"""Two tenants with the same addresses on two hypervisors: each guest reaches its own tenant's, and nobody else's.

              hv1                       hv2
        red1  .11   red2 .12      red3  .13          10.0.0.0/24, MACs 02:00:00:00:00:<last byte of the address>
                    blue2 .12     blue1 .11  blue3 .13      the same subnet, the same addresses, the same MACs

Twins share a hypervisor (red2 and blue2, red3 and blue3) and are apart (red1 and blue1); each tenant has a pair on one
hypervisor and pairs across. What must be seen follows from `MEMBERS` alone, and is asked with real packets: the
tests and `make demo` ask the same questions.

    python -m mininet_scenarios.two_networks [--type vxlan|geneve] [--unguarded] [--cli]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from mininet_scenarios.captures import Arp, asks_for
from mininet_scenarios.frames import BROADCAST, EXPERIMENTAL, REPLY, REQUEST, arp, ethernet, token, udp
from mininet_scenarios.lab import Lab, Network
from mininet_scenarios.machines import open_cli
from mininet_scenarios.rows import Row, concluded, show

CIDR = "10.0.0.0/24"
UNUSED, STRANGE = "10.0.0.99", "02:00:00:00:00:77"
TENANTS = ("red", "blue")
_PINGS = 3


@dataclass(frozen=True, slots=True)
class Member:
    """A guest of the topology."""

    name: str
    tenant: str
    on: str
    last: int

    @property
    def ip(self) -> str:
        """Its address; its twin of the other tenant has the same."""
        return f"10.0.0.{self.last}"

    @property
    def mac(self) -> str:
        """Its MAC; its twin of the other tenant has the same."""
        return f"02:00:00:00:00:{self.last}"

    @property
    def mates(self) -> tuple[Member, ...]:
        """The other guests of its tenant."""
        return tuple(member for member in MEMBERS if member.tenant == self.tenant and member != self)


MEMBERS = (
    Member("red1", "red", "hv1", 11),
    Member("red2", "red", "hv1", 12),
    Member("red3", "red", "hv2", 13),
    Member("blue1", "blue", "hv2", 11),
    Member("blue2", "blue", "hv1", 12),
    Member("blue3", "blue", "hv2", 13),
)

Copies = Mapping[str, int]


def nobody(sender: Member) -> Copies:
    """Expected of frames that nobody may hear."""
    return {}


def one(sender: Member) -> Copies:
    """Expected of frames to the first mate: one copy there, and one on the wire if it is on another hypervisor."""
    mate = sender.mates[0]
    return {mate.name: 1, **({"underlay": 1} if mate.on != sender.on else {})}


def everyone(sender: Member) -> Copies:
    """Expected of frames to all: one copy at each mate, one on the wire for each other hypervisor that has mates."""
    far = {mate.on for mate in sender.mates} - {sender.on}
    return {mate.name: 1 for mate in sender.mates} | ({"underlay": len(far)} if far else {})


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of frame: how a member makes one with a mark in it, and who must hear it; `forbidden` by port security."""

    name: str
    frame: Callable[[Member, bytes], bytes]
    hearers: Callable[[Member], Copies]
    forbidden: bool = False

    def __str__(self) -> str:
        return self.name


def _other(to: str) -> Callable[[Member, bytes], bytes]:
    """Neither IP nor ARP."""
    return lambda m, mark: ethernet(to, m.mac, EXPERIMENTAL, mark)


KINDS = (
    # to an address that is not the mate's, or its kernel would send the mark back in an ICMP error
    Kind("UDP to a mate", lambda m, mark: udp(m.mates[0].mac, m.mac, m.ip, UNUSED, 7, mark), one),
    Kind("UDP broadcast", lambda m, mark: udp(BROADCAST, m.mac, m.ip, "255.255.255.255", 7, mark), everyone),
    Kind("IPv4 multicast", lambda m, mark: udp("01:00:5e:00:00:fb", m.mac, m.ip, "224.0.0.251", 5353, mark), everyone),
    Kind("UDP to an unknown MAC", lambda m, mark: udp("02:00:00:00:00:99", m.mac, m.ip, UNUSED, 7, mark), nobody),
    Kind("UDP to itself", lambda m, mark: udp(m.mac, m.mac, m.ip, UNUSED, 7, mark), nobody),
    Kind("ARP for an unused address", lambda m, mark: arp(REQUEST, m.mac, m.ip, UNUSED, mark=mark), nobody),
    Kind("ARP for its own address", lambda m, mark: arp(REQUEST, m.mac, m.ip, m.ip, mark=mark), nobody),
    Kind("ARP probe for its own address", lambda m, mark: arp(REQUEST, m.mac, "0.0.0.0", m.ip, mark=mark), nobody),
    Kind("UDP as a mate", lambda m, mark: udp(BROADCAST, m.mac, m.mates[0].ip, UNUSED, 7, mark), everyone, True),
    Kind("UDP from a strange MAC", lambda m, mark: udp(BROADCAST, STRANGE, m.ip, UNUSED, 7, mark), everyone, True),
    Kind("other ethertype to a mate", lambda m, mark: ethernet(m.mates[0].mac, m.mac, EXPERIMENTAL, mark), one, True),
    Kind("other ethertype, broadcast", _other(BROADCAST), everyone, True),
    Kind("other ethertype, multicast", _other("03:00:00:00:00:01"), everyone, True),
    Kind("other ethertype to an unknown MAC", _other("02:00:00:00:00:99"), nobody, True),
    Kind("other ethertype to itself", lambda m, mark: ethernet(m.mac, m.mac, EXPERIMENTAL, mark), nobody, True),
)


def build(lab: Lab, type: str = "vxlan", guarded: bool = True) -> dict[str, Network]:
    """Make the two networks over HTTP, start and plug their guests, and wait until all is wired.

    `guarded` networks have port security, as networks have by default: a guest is in its project's default group.
    """
    networks = {
        tenant: lab.network(tenant, cidr=CIDR, project=f"project-{tenant}", type=type, port_security_enabled=guarded)
        for tenant in TENANTS
    }
    for member in MEMBERS:
        lab.guest(member.name, network=networks[member.tenant], on=member.on, ip=member.ip, mac=member.mac)
    lab.converged()
    return networks


def who_hears(lab: Lab, *kinds: Kind) -> dict[Kind, dict[str, Copies]]:
    """Let every member send one frame of each kind while everybody listens: the copies heard of each, by sender."""
    marks = {(kind, sender): token() for kind in kinds for sender in MEMBERS}
    with lab.sniff() as heard:
        for (kind, sender), mark in marks.items():
            lab.guests[sender.name].sends(kind.frame(sender, mark))
    return {kind: {sender.name: heard.copies(marks[kind, sender]) for sender in MEMBERS} for kind in kinds}


def must_hear(kind: Kind, guarded: bool = True) -> dict[str, Copies]:
    """What `who_hears` must find of a kind."""
    hearers = nobody if guarded and kind.forbidden else kind.hearers
    return {sender.name: hearers(sender) for sender in MEMBERS}


def reachability(lab: Lab) -> Iterator[Row]:
    """Every member pings every address: the tenant's own guests must hear it and answer, and no other."""
    addresses = [*sorted({member.ip for member in MEMBERS}), UNUSED]
    marks = {(sender, ip): token() for sender in MEMBERS for ip in addresses if ip != sender.ip}
    guests = [lab.guests[member.name] for member in MEMBERS]
    with lab.sniff(*guests, what="icmp[icmptype] == icmp-echo") as heard:
        pings = {
            (sender, ip): lab.guests[sender.name].ping(ip, count=_PINGS, mark=mark)
            for (sender, ip), mark in marks.items()
        }
        replies = {key: ping.wait() for key, ping in pings.items()}
    for sender in MEMBERS:
        expected, seen = [], []
        for ip in addresses:
            if ip != sender.ip:
                mate = next((mate.name for mate in sender.mates if mate.ip == ip), None)
                answers = replies[sender, ip].received
                expected.append(_ponged(ip, {mate: _PINGS} if mate else {}, _PINGS if mate else 0))
                seen.append(_ponged(ip, heard.copies(marks[sender, ip]), answers))
        yield Row.equal(f"{sender.name} pings", ", ".join(expected), ", ".join(seen))


def _ponged(ip: str, copies: Copies, answers: int) -> str:
    """`.12 red2` when red2 heard each ping once and each was answered; the counts when it is not so simple."""
    last = ip[ip.rindex(".") :]
    if not copies and not answers:
        return f"{last} nobody"
    if list(copies.values()) == [_PINGS] and answers == _PINGS:
        return f"{last} {next(iter(copies))}"
    return f"{last} ({_told(copies)}, {answers} answers)"


def frames(lab: Lab, guarded: bool) -> Iterator[Row]:
    """Frames of every kind: exactly one copy at each place that must hear it, none anywhere else."""
    for kind, seen in who_hears(lab, *KINDS).items():
        expected = must_hear(kind, guarded)
        wrong = [f"; {name}: {_told(seen[name])}" for name in seen if seen[name] != expected[name]]
        yield Row.equal(f"{kind}, from each guest", _sums(expected), _sums(seen) + "".join(wrong))


def neighbours(lab: Lab) -> Iterator[Row]:
    """ARP for known addresses is answered where it is asked; nobody is told that an own or unused address is taken."""
    right, leaked, wrong = 0, 0, ""
    for sender in MEMBERS:
        guest = lab.guests[sender.name]
        with lab.sniff() as heard:
            guest.sends(*(arp(REQUEST, sender.mac, sender.ip, mate.ip) for mate in sender.mates))
        answers = Counter(said for frame in heard.at(guest) if (said := frame.arp))
        expected = Counter(Arp(REPLY, mate.mac, mate.ip, sender.mac, sender.ip) for mate in sender.mates)
        right += (answers & expected).total()
        wrong += "".join(f"; {sender.name} heard {said}" for said in (answers - expected).elements())
        leaked += sum(sum(heard.copies(asks_for(mate.ip)).values()) for mate in sender.mates)
    pairs = sum(len(sender.mates) for sender in MEMBERS)
    yield Row.equal("ARP for each mate's address: right answers", f"{pairs}", f"{right}{wrong}")
    yield Row.equal("ARP for each mate's address: heard elsewhere, or on the wire", "0", f"{leaked}")
    red1 = lab.guests["red1"]
    addresses = (red1.ip, "10.0.0.12", "10.0.0.13", UNUSED)
    with ThreadPoolExecutor() as pool:
        probes = dict(zip(addresses, pool.map(red1.finds_free, addresses), strict=True))
    free = [ip for ip, is_free in probes.items() if is_free]
    yield Row.equal(f"{red1} probes {', '.join(probes)}: free are", f"{red1.ip}, {UNUSED}", ", ".join(free))


def questions(lab: Lab, guarded: bool = True) -> Iterator[Row]:
    """Everything that must be seen in this topology, asked one after the other."""
    yield from reachability(lab)
    yield from frames(lab, guarded)
    yield from neighbours(lab)


@dataclass(frozen=True, slots=True)
class FirstReply:
    """How long a new port took, in seconds from the API call."""

    created_s: float
    replied_s: float


def first_reply(lab: Lab, network: Network, name: str = "new", last: int = 50) -> FirstReply:
    """Make a port for a guest that waits for it on hv2 and pings red1 all the time, and see when it is answered.

    The clock runs from the call of `POST /v2.0/ports`; naming the port on the interface (ovs-vsctl) is part of it.
    Both guests know each other's MAC, so that no kernel's ARP timer is measured.
    """
    red1 = lab.guests["red1"]
    ip, mac = f"10.0.0.{last}", f"02:00:00:00:00:{last}"
    guest = lab.machine(name, network=network, on="hv2", ip=ip, mac=mac)
    guest.hypervisor.plug(guest.tap)
    guest.knows(red1.ip, red1.mac)
    red1.knows(ip, mac)
    ping = guest.ping(red1, interval_s=0.002)
    try:
        start = time.time()
        port = lab.port(name, network=network, ip=ip, mac=mac)
        created = time.time()
        guest.claim(port["id"])
        return FirstReply(created - start, ping.first_reply(10) - start)
    finally:
        ping.stop()


def _told(copies: Copies) -> str:
    return " ".join(f"{name}×{count}" for name, count in sorted(copies.items())) or "nobody"


def _sums(copies: Mapping[str, Copies]) -> str:
    """Copies by all senders, added up by where they were heard."""
    tenant = {member.name: member.tenant for member in MEMBERS}
    sums = dict.fromkeys(("mates", "wire", "sender", "others"), 0)
    for sender, by_place in copies.items():
        for place, count in by_place.items():
            if place == "underlay":
                kind = "wire"
            elif place == sender:
                kind = "sender"
            else:
                kind = "mates" if tenant.get(place) == tenant[sender] else "others"
            sums[kind] += count
    return ", ".join(f"{kind} {count}" for kind, count in sums.items())


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the topology, ask everything (or open Mininet's CLI), and end with 1 when something was wrong."""
    parser = argparse.ArgumentParser(prog="two_networks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--type", choices=("vxlan", "geneve"), default="vxlan", help="encapsulation (vxlan)")
    parser.add_argument("--unguarded", action="store_true", help="without port security and security groups")
    parser.add_argument("--cli", action="store_true", help="open Mininet's CLI instead of asking")
    options = parser.parse_args(arguments)

    def play() -> list[Row]:
        with Lab(hypervisors=2) as lab:
            guarded = not options.unguarded
            build(lab, options.type, guarded)
            if options.cli:
                open_cli(lab.net)
                return []
            rows = list(questions(lab, guarded))
            print(show(rows))
            lab.settles()
            return rows

    return concluded(play)


if __name__ == "__main__":
    sys.exit(main())
