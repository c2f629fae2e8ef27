"""What a proof wants to leave a cloud, and to come in, is what the judge of ways out by the model says.

That one says it of one packet, and of gateways that are alive or not; a proof of all packets, by each hypervisor that may
be the gateway, and of what leaves another hypervisor than its sender's by anybody who may have sent it, from any MAC
address. So both are asked for all of these together.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from random import Random
from typing import NamedTuple

from hypothesis import event, given, settings
from hypothesis import strategies as st

from controller.model.records import Network, Port
from controller.prove.cloud import Cloud as Proved
from controller.prove.outside import Outcome, Outside
from controller.prove.promise import Promise, tag_of
from controller.prove.values import number_of
from controller.prove.wanted import Wanted
from tests.cloud import Cloud
from tests.controller.prove.clouds import held
from tests.controller.prove.packets import alone
from tests.oracle import Message
from tests.outside_oracle import Outside as Judge
from tests.test_outside_differential import AWAY, World


class Came(NamedTuple):
    """Where a packet comes to (an external network, or a port), and as what; MAC addresses only of what leaves."""

    where: str
    source: int
    target: int
    high: int
    macs: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class Court:
    """A cloud, and what a proof of it wants."""

    cloud: Cloud
    proof: Proved = field(init=False)
    wanted: Wanted = field(init=False)
    outside: Outside = field(init=False)
    told: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.proof = Proved(self.cloud.model, held(self.cloud))
        self.wanted = Wanted(self.proof, Promise(self.proof))
        self.outside = Outside(self.wanted)

    def agrees(self, on: str, message: Message) -> None:
        """About one packet that begins on a network, if the proof asks about it."""
        external = next((each for each in self.wanted.externals.networks if each.id == on), None)
        if message.sender in self.proof.by_port and external is None:
            self.leaves(on, message)
        elif not message.sender and external is not None:
            self.comes(external, message)

    def leaves(self, on: str, message: Message) -> None:
        """Of a guest."""
        packet, space = alone(self.proof, self.proof.by_port[message.sender], message), self.proof.space
        if packet & self.outside.asked_out(on) == space.nothing:
            return
        anybodys = self.proof.algebra.forgotten(packet)
        wanted = {
            became(message, to, outcome)
            for (_, to, _), outcomes in self.outside.leaving(on).items()
            for outcome in outcomes
            if outcome.packets & anybodys != space.nothing
        }
        names = {each.id for each in self.wanted.externals.networks}
        there = [port for port in self.cloud.model.where(Port, network_id=on) if port.id in self.proof.by_port]
        sent = [message, *(replace(message, sender=port.id, source_mac=port.mac_address) for port in there)]
        ends = [Judge(self.cloud.model, away).sent(each) for away in {*AWAY} for each in sent]
        said = {
            of(end.wire, end.came, (number_of(end.came.source_mac), number_of(end.came.target_mac)))
            for end in ends
            if end.came is not None and end.wire in names
        }
        assert wanted == said, (on, message)
        self.told["leaves" if said else "does not leave"] += 1

    def comes(self, external: Network, message: Message) -> None:
        """Of a host of an external network, to guests elsewhere."""
        (origin,) = [each for each in self.proof.origins if each.physical == external.physical_network]
        space, crowd = self.proof.space, f"/{external.physical_network}"
        packet = alone(self.proof, origin, message, tag_of(external)[0])
        if packet & self.outside.asked_in(external) == space.nothing:
            return
        anybodys = self.proof.algebra.forgotten(packet)
        names = {(at.chassis, at.ofport): id for id, at in self.proof.by_port.items()}
        there = {port.id for port in self.cloud.model.where(Port, network_id=external.id)}
        wanted = {
            became(message, names[chassis, port], outcome)._replace(macs=(0, 0))
            for (chassis, port, by, _), outcomes in self.outside.arriving.items()
            for outcome in outcomes
            if by == crowd and outcome.packets & anybodys != space.nothing
        }
        ends = [Judge(self.cloud.model, away).came(external.id, message) for away in {*AWAY}]
        said = {
            of(end.receiver, end.came)
            for end in ends
            if end.came is not None and end.receiver and end.receiver not in there
        }
        assert wanted == said, (external.id, message)
        self.told["comes" if said else "does not come"] += 1


def became(message: Message, where: str, outcome: Outcome) -> Came:
    """A packet as an outcome would have it."""
    becomes = dict(outcome.becomes)
    ends = (int(ip_address(end)) for end in (message.source, message.target))
    source, target = (becomes.get(slot, end) for slot, end in zip(("nw_src", "nw_dst"), ends, strict=True))
    macs = (becomes.get("eth_src", 0), becomes.get("eth_dst", 0))
    return Came(where, source, target, becomes.get("tp_dst", message.high), macs)


def of(where: str | None, came: Message, macs: tuple[int, int] = (0, 0)) -> Came:
    """A packet as the judge has it."""
    assert where is not None
    return Came(where, int(ip_address(came.source)), int(ip_address(came.target)), came.high, macs)


@settings(max_examples=max(4, settings().max_examples // 30))
@given(st.randoms(use_true_random=True), st.integers(0, 3))
def test_what_is_wanted_of_any_ways_out_is_what_the_judge_by_the_model_says(chance: Random, changes: int) -> None:
    cloud, world = Cloud(), World(chance)
    cloud.commit(*world.begin())
    for _ in range(changes):
        cloud.commit(*world.change())
    court = Court(cloud)
    for _ in range(60):
        on, message = world.message(cloud)
        court.agrees(on, replace(message, size=100))
    for what in court.told:
        event(what)
