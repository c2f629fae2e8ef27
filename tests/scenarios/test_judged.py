"""The fourth judge of security groups: real packets on real Open vSwitch arrive exactly when the oracle allows them.

Six guests of two projects that have the same addresses, on two hypervisors. A world is groups drawn at random, over the
API, and conversations between guests that are begun, answered and go on while the groups change. The oracle is asked
about the very model the controller has, in its store; the receiver's interface is listened to, and so is everybody
else's: what arrives, arrives there alone.

Every packet is made here: the guests have no addresses, so no kernel says anything of its own.

`make test` tries the same few worlds every time; `make soak` new ones for five minutes. WEFT_JUDGED_SEED=N tries one.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from http import HTTPStatus
from operator import itemgetter
from random import Random

import pytest

from controller.model.store import Model
from mininet_scenarios.api import Json
from mininet_scenarios.errors import Refused
from mininet_scenarios.frames import icmp, icmpv6, ipv4, tcp, tcp6, token, udp, udp6
from mininet_scenarios.hosts import Guest
from mininet_scenarios.lab import Lab
from tests.oracle import QUERIES, Judgement, Message, Oracle
from tests.scenarios.judging import drops, hear, is_one, model, seeds

SEEDS = (1, 2, 3, 4)
SOAK_S = 300.0
ROUNDS, BEGUN = 3, 24
"""How often a world is judged, changing in between; and how many conversations begin each time."""
REMEMBERED_S = 20.0
"""How long a silent conversation is surely in conntrack: an unanswered SYN for 30 s (lib/conntrack-tp.c, TCP_OPENING)."""

ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
SYN, ACK = 0x02, 0x10
PLACES = {"red": ("hv1", "hv1", "hv2", "hv2"), "blue": ("hv1", "hv2")}
KINDS = {"web": True, "app": True, "bare": False}
"""The groups of each project, and whether they are stateful."""
BLOCKS = {
    4: ("10.0.0.0/30", "10.0.0.2/31", "10.0.0.1/32", "10.0.0.4/32", "0.0.0.0/1", "128.0.0.0/1"),
    6: ("fd00::/126", "fd00::2/127", "fd00::1/128", "fd00::4/128", "8000::/1", "::/1"),
}
EVERYWHERE = {4: "0.0.0.0/0", 6: "::/0"}
SEEN = {"arrived", "EGRESS_DENIED", "INGRESS_DENIED", "EGRESS_CUT", "INGRESS_CUT", "NOT_TRACKED"}
"""What the worlds come to between them, or they are too dull to judge by."""
PORTS = (78, 79, 80, 80, 81, 91, 1023, 1024, 65535)
RANGES = ((80, 80), (80, 80), (79, 90), (1, 1023), (1024, 65535), (81, 4095), (65535, 65535))
_PORTS = itertools.cycle(range(20_000, 60_000))
"""Source ports and ICMP identifiers, so far apart that conntrack takes no conversation for an earlier one."""


# ---- worlds ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Project:
    """A project: its guests, and what it has now of groups, their rules, and lists of addresses."""

    name: str
    guests: tuple[Guest, ...]
    groups: dict[str, Json] = field(default_factory=dict)
    rules: list[Json] = field(default_factory=list)
    lists: list[Json] = field(default_factory=list)


@dataclass(slots=True)
class World:
    """The groups of all projects, by chance, and how they change: one thing at a time."""

    lab: Lab
    chance: Random
    projects: Sequence[Project]

    def begin(self) -> None:
        """Everything, for the first time."""
        for project in self.projects:
            name = project.name
            project.lists = [self.lab.address_group("list", *self.blocks(), project=name) for _ in range(2)]
            for kind, stateful in KINDS.items():
                made = self.lab.group(kind, project=name, stateful=stateful, born=self.often(0.7))
                project.groups[kind] = made
                born = self.lab.api.get(f"/v2.0/security-groups/{made['id']}")["security_group"]["security_group_rules"]
                project.rules += sorted(born, key=itemgetter("ethertype"))  # ids are drawn by the API
            for _ in range(18):
                self.add(project)
            for guest in project.guests:
                self.regroup(project, guest)

    def end(self) -> None:
        """Leave nothing behind; deleting a group deletes the rules that name it."""
        for project in self.projects:
            for guest in project.guests:
                self.lab.change(guest, port_security_enabled=True, security_groups=[])
            for group in project.groups.values():
                self.lab.api.delete(f"/v2.0/security-groups/{group['id']}")
            for one in project.lists:
                self.lab.api.delete(f"/v2.0/address-groups/{one['id']}")
            project.groups, project.rules, project.lists = {}, [], []

    def often(self, share: float) -> bool:
        """Yes, in so many cases of one."""
        return self.chance.random() < share

    def blocks(self) -> list[str]:
        """What a list of addresses may hold."""
        return [block for blocks in BLOCKS.values() for block in self.chance.sample(blocks, 2)]

    def change(self, used: Set[str]) -> str:
        """One thing becomes another, in one project; what. Rules that were of use go before others."""
        project = self.chance.choice(self.projects)
        what = self.chance.choice(("rule goes", "rule goes", "rule comes", "list", "guest", "guest"))
        rules = [rule for rule in project.rules if rule["id"] in used] or project.rules
        if what == "rule goes" and rules:
            rule = self.chance.choice(rules)
            project.rules.remove(rule)
            self.lab.remove(rule)
        elif what == "guest":
            self.regroup(project, self.chance.choice(project.guests))
        elif what == "list":
            self.relist(self.chance.choice(project.lists))
        else:
            self.add(project)
        return f"{what} ({project.name})"

    def relist(self, one: Json) -> None:
        """Other addresses in a list."""
        path = f"/v2.0/address-groups/{one['id']}"
        held = self.lab.api.get(path)["address_group"]["addresses"]
        self.lab.api.put(f"{path}/remove_addresses", {"addresses": held})
        self.lab.api.put(f"{path}/add_addresses", {"addresses": self.blocks()})

    def regroup(self, project: Project, guest: Guest) -> None:
        """A guest in other groups, all of one kind, or in none; or not guarded at all."""
        stateful = self.often(0.65)
        kinds = [kind for kind, is_stateful in KINDS.items() if is_stateful == stateful]
        count = self.chance.choice((0, *[1] * 5, *[2] * 4))
        wanted = self.chance.sample(kinds, min(count, len(kinds)))
        guarded = self.often(0.93)
        ids = [project.groups[kind]["id"] for kind in wanted if guarded]
        self.lab.change(guest, port_security_enabled=guarded, security_groups=ids)

    def add(self, project: Project) -> None:
        """One rule more, unless there is one like it."""
        try:
            project.rules.append(self.rule(project))
        except Refused as refused:
            if refused.status != HTTPStatus.CONFLICT:
                raise

    def rule(self, project: Project) -> Json:
        """A rule, as the API lets it be."""
        version = self.chance.choice((4, 6))
        protocol = self.chance.choice((None, "tcp", "tcp", "udp", "udp", "icmp", "icmpv6" if version == 6 else "icmp"))
        ends: tuple[int | None, int | None] = (None, None)
        if protocol in ("tcp", "udp") and self.often(0.85):
            ends = self.chance.choice(RANGES)
        if protocol in ("icmp", "icmpv6"):
            asks, answers = (8, 0) if version == 4 else (128, 129)
            ends = self.chance.choice(((None, None), (asks, None), (asks, 0), (answers, None), (3, 1)))
        remotes: list[dict[str, object]] = [{}, {"prefix": EVERYWHERE[version]}]
        remotes += [{"prefix": block} for block in self.chance.sample(BLOCKS[version], 3)]
        remotes += [{"address_group": one} for one in project.lists]
        remotes += [{"remote": one} for one in project.groups.values()]
        return self.lab.rule(
            project.groups[self.chance.choice(list(KINDS))],
            self.chance.choice(("ingress", "ingress", "egress")),
            ethertype=f"IPv{version}",
            protocol=protocol,
            port_range_min=ends[0],
            port_range_max=ends[1],
            **self.chance.choice(remotes),  # type: ignore[arg-type]
        )


# ---- conversations --------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class Conversation:
    """What two guests say to each other, as their kernels would: TCP goes on only when both ends have heard."""

    caller: Guest
    called: Guest
    first: Message
    number: int
    """The caller's port, or the identifier of its echo requests."""
    at: float = field(default_factory=time.monotonic)
    rung: bool = False
    """Has its SYN arrived in this round?"""
    connected: bool = False

    def there(self) -> Packet:
        """What the caller sends."""
        self.at, self.rung = time.monotonic(), False
        return Packet(self, self.caller, self.called, self.first, ACK if self.connected else SYN)

    def back(self) -> Packet | None:
        """What the called one sends, if anything."""
        if self.first.protocol == TCP and not (self.connected or self.rung):
            return None
        message, flags = self.first.answer(self.called.port_id), ACK if self.connected else SYN | ACK
        return Packet(self, self.called, self.caller, message, flags)

    def hear(self, flags: int) -> None:
        """A packet arrived; only those of TCP have flags that matter."""
        self.rung |= flags == SYN
        self.connected |= flags == SYN | ACK


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet of a conversation; its mark is in no other."""

    of: Conversation
    sender: Guest
    receiver: Guest
    message: Message
    flags: int
    mark: bytes = field(default_factory=token)

    def frame(self) -> bytes:
        """It as it is sent."""
        said = self.message
        macs, ends, pair = (said.target_mac, said.source_mac), (said.source, said.target), (said.low, said.high)
        if said.protocol == TCP:
            sequence, ack = 1000 + (self.flags == ACK), 1001 if self.flags & ACK else 0
            if said.version == 6:
                return tcp6(*macs, *ends, pair, sequence, self.flags, self.mark, ack=ack)
            return ipv4(macs, *ends, TCP, tcp(*ends, pair, sequence, self.flags, self.mark, ack=ack))
        if said.protocol == UDP:
            return (udp if said.version == 4 else udp6)(*macs, *ends, said.high, self.mark, from_port=said.low)
        echo = self.of.number.to_bytes(2, "big") + bytes(2) + self.mark
        if said.version == 6:
            return icmpv6(*macs, *ends, said.low, echo, hops=64)
        return ipv4(macs, *ends, ICMP, icmp(said.low, said.high, echo))

    def __str__(self) -> str:
        number = f"flags {self.flags:#x}" if self.message.protocol == TCP else f"number {self.of.number}"
        return f"{self.sender} to {self.receiver}, called by {self.of.caller}: {self.message}, {number}"


def begin(chance: Random, projects: Sequence[Project]) -> Conversation:
    """Some guest calls another of its project."""
    guests = chance.choice(projects).guests
    version = chance.choice((4, 6))
    caller, called = chance.sample(guests, 2)
    protocol = chance.choice((TCP, TCP, UDP, UDP, ICMP if version == 4 else ICMPV6))
    number = next(_PORTS)
    low, high = (8 if version == 4 else 128, 0) if protocol in QUERIES else (number, chance.choice(PORTS))
    source, target = caller.address(version), called.address(version)
    first = Message(caller.port_id, caller.mac, called.mac, source, target, protocol, low, high)
    return Conversation(caller, called, first, number)


def current(talks: Sequence[Conversation]) -> list[Conversation]:
    """Those that conntrack surely remembers; and of echo requests of one guest to another only the first.

    The oracle knows no identifiers, by which conntrack tells those from one another.
    """
    kept: dict[object, Conversation] = {}
    for talk in talks:
        if time.monotonic() - talk.at < REMEMBERED_S:
            kept.setdefault(talk.first, talk)
    return list(kept.values())


# ---- the court ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Court:
    """Asks the oracle, sends, and listens."""

    lab: Lab
    oracle: Oracle = field(default_factory=Oracle)
    verdicts: Counter[str] = field(default_factory=Counter)
    disagreements: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    """The rules that have allowed anything."""

    def judge(self, rows: Model, packets: Sequence[Packet], case: str) -> None:
        """Each of these packets, sent at once, arrives where the oracle says, and nowhere else.

        Beside one that was allowed and not heard stands what the switches dropped meanwhile, by flows and without.
        """
        said = [self.oracle.judge(rows, packet.message) for packet in packets]
        before = drops(self.lab)
        heard = self.send(packets, sum(each.receiver is not None for each in said))
        if any(each.receiver and packet.mark not in heard for packet, each in zip(packets, said, strict=True)):
            time.sleep(1.1)  # counters of drops are a second late
            case = f"{case}; drops {drops(self.lab) - before}"
        names = {guest.port_id: name for name, guest in self.lab.guests.items()}
        for packet, judgement in zip(packets, said, strict=True):
            places = heard.get(packet.mark, [])
            self.verdicts[judgement.why.name if judgement.why else "arrived"] += 1
            if places != ([names[judgement.receiver]] if judgement.receiver else []):
                self.disagreements.append(told(case, packet, judgement, places))
            if packet.receiver.name in places:
                packet.of.hear(packet.flags)
            self.used |= {rule.id for rule in judgement.rules}

    def send(self, packets: Sequence[Packet], expected: int) -> Mapping[bytes, list[str]]:
        """Send them all, and listen at every guest: who heard which mark, a name for each time."""
        guests = self.lab.guests.values()
        sent = {guest: [packet.frame() for packet in packets if packet.sender is guest] for guest in guests}
        heard = hear(guests, sent, {packet.mark for packet in packets}, expected)
        return {mark: [place for place, _ in found] for mark, found in heard.items()}


def told(case: str, packet: Packet, judgement: Judgement, places: Sequence[str]) -> str:
    """A disagreement, to read and to try again."""
    rules = ", ".join(rule.id for rule in judgement.rules)
    why = judgement.why.name if judgement.why else f"allowed by {rules or 'nothing'}"
    return f"{case}\n  {packet}\n  oracle: {why}\n  heard by: {', '.join(places) or 'nobody'}"


def try_world(lab: Lab, projects: Sequence[Project], seed: int) -> Court:
    """One world from its beginning to its end."""
    court, chance = Court(lab), Random(seed)
    world = World(lab, chance, projects)
    world.begin()
    talks: list[Conversation] = []
    changes = ["nothing yet"]
    for number in range(ROUNDS):
        lab.converged()
        rows, case = model(lab), f"seed {seed}, round {number} after {', '.join(changes)}"
        talks = current([*talks, *(begin(chance, projects) for _ in range(BEGUN))])
        court.judge(rows, [talk.there() for talk in talks], case)
        court.judge(rows, [packet for talk in talks if (packet := talk.back())], case)
        changes = [world.change(court.used) for _ in range(chance.randrange(1, 4))]
    world.end()
    return court


@pytest.fixture(scope="module")
def projects(lab: Lab) -> tuple[Project, ...]:
    """Two projects with the same addresses; their guests have them in what they send alone."""
    return tuple(project(lab, name) for name in PLACES)


def project(lab: Lab, name: str) -> Project:
    """The guests of a project, in no group."""
    network = lab.network(name, cidr=["10.0.0.0/24", "fd00::/64"], project=name)
    guests = []
    for number, on in enumerate(PLACES[name], start=1):
        guest = lab.guest(
            f"{name}{number}",
            network=network,
            on=on,
            ip=[f"10.0.0.{number}", f"fd00::{number}"],
            mac=f"02:00:00:00:00:0{number}",
            security_groups=[],
        )
        guest.ip_batch("addr flush dev eth0")
        guest.sysctl("ipv6/conf/eth0/disable_ipv6", 1)
        guests.append(guest)
    return Project(name, tuple(guests))


@pytest.mark.timeout(SOAK_S + 120)
def test_packets_arrive_exactly_when_the_oracle_allows_them(lab: Lab, projects: tuple[Project, ...]) -> None:
    verdicts: Counter[str] = Counter()
    for seed in seeds(SEEDS, SOAK_S):
        court = try_world(lab, projects, seed)
        print(f"seed {seed}: {dict(court.verdicts)}")
        assert court.disagreements == [], "\n".join(court.disagreements)
        verdicts += court.verdicts
    assert is_one() or set(verdicts) >= SEEN
    assert " ERROR " not in lab.controller.log.read_text()
    lab.settles()
