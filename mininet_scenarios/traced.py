"""Does Open vSwitch go the way that Weft foretells? Packets drawn from a lab, asked of both, stage by stage.

`weft trace --ofproto` says of each hypervisor on the way, from one visit to conntrack to the next, what `ofproto/trace`
is asked and what it should show: every table with the priority met, every output, visit to conntrack and to the
controller, and every bit of the packet at last. The question for a MAC (ARP, ND) is a way of its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from random import Random
from typing import Final

from mininet_scenarios.api import Api, Json
from mininet_scenarios.errors import Refused, Unsettled
from mininet_scenarios.hosts import Host
from mininet_scenarios.machines import Hypervisor
from mininet_scenarios.ofproto import Control, Seen, controlled, numbers, read

PATIENCE_S: Final = 10.0
TRIES: Final = 3
"""How often a packet is asked about before a disagreement is one: what guests say of addresses may change meanwhile."""
_AGAIN_S: Final = 0.3
NOBODYS: Final = ("192.0.2.77", "2001:db8:77::1")
"""Addresses that no scenario gives to anybody."""
_PORTS: Final = (7, 22, 53, 67, 80, 80, 81, 443, 1000, 5432, 49152)
_KINDS: Final = ("icmp", "icmp", "tcp", "tcp", "udp", "sctp", "47")
_UNSEEN: Final = frozenset({
    "tun_id", "tun_src", "tun_dst", "tun_ipv6_src", "tun_ipv6_dst", "nd_reserved", "nd_options_type",
})  # fmt: skip
"""What Open vSwitch does not always print: of a tunnel either the addresses or the id."""
_NONSENSE: Final = frozenset({400, 404, 409})
"""What a question is answered that makes no sense: there is no way to an address of that version, for instance."""


@dataclass(frozen=True, slots=True)
class Ends:
    """Who may send something in a lab, each with its addresses, and what may be sent to."""

    senders: Sequence[tuple[str, Sequence[str]]]
    targets: Sequence[str]

    def draw(self, chance: Random) -> Json:
        """A packet, as `weft trace` is asked about it: mostly an honest one."""
        sender, addresses = chance.choice(self.senders)
        own = chance.choice(addresses)
        there = [each for each in self.targets if (":" in each) == (":" in own) and each not in addresses]
        asked: Json = {"from": sender, "to": chance.choice(there), "proto": chance.choice(_KINDS), "ofproto": True}
        if asked["proto"] in ("tcp", "udp", "sctp"):
            asked |= {"dport": chance.choice(_PORTS), "sport": chance.choice(_PORTS)}
        elif asked["proto"] == "icmp" and chance.random() < 0.3:
            asked |= {"type": chance.choice((0, 3, 8, 13, 128, 129, 133, 134, 136)), "code": chance.choice((0, 1))}
        if chance.random() < 0.1:
            asked["source"] = chance.choice(there)
        if chance.random() < 0.1:
            asked["ttl"] = chance.choice((1, 2, 255))
        if chance.random() < 0.2:
            asked["size"] = chance.choice((600, 1280, 1400, 1450, 1500))
        return asked


def ends(api: Api, hosts: Sequence[Host]) -> Ends:
    """Guests that are there, and machines on physical networks; every address that anybody has, and some of nobody."""
    ports = api.get("/v2.0/ports")["ports"]
    addresses = {port["id"]: [fixed["ip_address"] for fixed in port["fixed_ips"]] for port in ports}
    ports.sort(key=lambda port: (port["name"], addresses[port["id"]]))  # ids and MACs are others in each run
    guests = [port["id"] for port in ports if port["status"] == "ACTIVE" and port["device_owner"][:8] != "network:"]
    floating = [each["floating_ip_address"] for each in api.get("/v2.0/floatingips")["floatingips"]]
    outside = [ip for host in hosts for ip in host.ips]
    there = dict.fromkeys((*NOBODYS, *(ip for some in addresses.values() for ip in some), *sorted(floating), *outside))
    senders = [(id, addresses[id]) for id in guests if addresses[id]] + [(ip, [ip]) for ip in outside]
    return Ends(senders, [*there])


@dataclass(slots=True)
class Comparison:
    """Traces of both over the hypervisors of a lab; `packets` and `stages` count what was compared."""

    api: Api
    hypervisors: Mapping[str, Hypervisor]
    packets: int = 0
    stages: int = 0
    _controls: dict[str, Control] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Comparison:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def draw(self, drawn: Ends, chance: Random, packets: int, most_s: float) -> None:
        """Compare so many packets, or as many as there is time for. Raises Unsettled."""
        end = time.monotonic() + most_s
        for _ in range(2 * packets if drawn.senders else 0):
            if self.packets == packets or time.monotonic() > end:
                break
            self.compare(drawn.draw(chance))

    def compare(self, asked: Json) -> None:
        """Both agree about a packet. Raises Unsettled."""
        for tries in range(TRIES):
            try:
                stages = self.api.post("/v1/trace", asked)["ofproto"]
            except Refused as refused:
                if refused.status in _NONSENSE:
                    return
                raise
            told = next(filter(None, map(self._difference, stages)), "")
            if not told:
                self.packets += 1
                self.stages += len(stages)
                return
            if tries + 1 < TRIES:
                time.sleep(_AGAIN_S)
        raise Unsettled(f"Weft and Open vSwitch differ about {asked}\n{told}")

    def _difference(self, stage: Json) -> str:
        if stage["chassis"] not in self.hypervisors:
            return ""
        method, _, packet, actions = stage["command"]
        bridge = self.hypervisors[stage["chassis"]].bridge  # which a controller without OVSDB is not told
        if stage["buckets"]:
            packet += ",dp_hash=1"  # else it would go round for one first
        seen = self._control(stage["chassis"]).ask(method, bridge, packet, actions)
        return difference({**stage, "bridge": bridge}, seen)

    def _control(self, chassis: str) -> Control:
        if chassis not in self._controls:
            path = self.hypervisors[chassis].control
            self._controls[chassis] = self._stack.enter_context(controlled(path, PATIENCE_S))
        return self._controls[chassis]


def difference(stage: Json, text: str) -> str:
    """What Open vSwitch shows otherwise than a stage of `weft trace --ofproto` says; "" if it agrees.

    That takes one bucket of a group that chooses or fails over. Where another one was taken, the rest is not compared.
    """
    seen = read(text, stage["length"], stage["bridge"])
    if any(_took_another(seen, id, bucket) for id, bucket in stage["buckets"].items()):
        return ""
    for what, said, shown in _compared(stage, seen):
        if said != shown:
            return f"{stage['chassis']}: {what} foretold {said}\nseen {shown}\n{stage['command']}\n{text}"
    return ""


def _took_another(seen: Seen, group: str, bucket: int) -> bool:
    return f"group:{group}\n" in seen.text and seen.buckets.get(int(group)) != bucket


def _compared(stage: Json, seen: Seen) -> Iterator[tuple[str, object, object]]:
    yield "tables", [tuple(visit) for visit in stage["visits"]], [*seen.visits]
    yield "outputs", stage["outputs"], [*seen.outputs]
    shown = [[kind, *map(hex, told)] for kind, told in seen.effects if kind != "output"]
    if stage["alike"]:
        yield "effects", [kind for kind, *_ in stage["effects"]], [kind for kind, *_ in shown]
        return
    yield "effects", stage["effects"], shown
    unseen = _UNSEEN - seen.packet.keys()
    foretold = {name: value for name, value in numbers(stage["packet"]).items() if name not in unseen}
    yield "packet", foretold, {name: value for name, value in seen.packet.items() if name != "dp_hash"}
