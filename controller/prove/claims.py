"""What is claimed of a cloud, and what is against it: of everything that could be sent, what should not become what it
does. Nothing against a claim is a proof of it, over the flows that switches hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from controller.flows.pipeline import CHECKED, TABLES, ZONE
from controller.model.bindings import Placed, place
from controller.model.records import Network, Port
from controller.model.translations import FIRST
from controller.prove.cloud import Cloud, Origin, Survey
from controller.prove.conntrack import BELIEVED, TRANSLATED
from controller.prove.promise import Promise, tag_of
from controller.prove.rules import Test
from controller.prove.sets import Set, Value, union
from controller.prove.states import HOST, State

K = TypeVar("K")

TENANTS: Final = "isolation"
SPOOFING: Final = "spoofing"
LOOPS: Final = "loop"
HOLES: Final = "hole"
ASTRAY: Final = "astray"
ONLY: Final = "reaches"
ZONES: Final = "zone"
LOCAL: Final = 0xFFFFFFFE
"""The port of a bridge itself (OFPP_LOCAL, section 7.2.1)."""
_TRANSLATING: Final = Test(ZONE.wire, FIRST, FIRST)
"""The zones of translations begin where the first bits of a zone are 1."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Packets that are against a claim: what is wrong with them, and where they ended.

    `end` is the chassis and the port by which they left, or None where they did not leave. `how`: it may be about as
    what, or by which of several ways, they arrive, rather than whether they do.
    """

    claim: str
    sentence: str
    packets: Set
    chassis: str
    end: int | None = None
    receiver: Origin | None = None
    how: bool = False


def suspicions(cloud: Cloud, promise: Promise, survey: Survey) -> Iterator[Suspicion]:
    """Everything that is against what every cloud claims."""
    yield from _strayed(cloud, promise, survey)
    yield from _wired(cloud, promise, survey)
    yield from _forged(cloud, promise, survey)
    yield from _unending(cloud, survey)
    yield from _holes(cloud, survey)
    yield from _zones(cloud, promise, survey)


def _all(states: Iterable[State], nothing: Set) -> Set:
    return union((state.packets for state in states), nothing)


def _strayed(cloud: Cloud, promise: Promise, survey: Survey) -> Iterator[Suspicion]:
    nothing = cloud.space.nothing
    for each in survey.arrived:
        receiver = cloud.guest(each.chassis, each.port)
        port = cloud.rows.get(Port, receiver.port_id) if receiver and receiver.port_id else None
        come = _all(each.states, nothing)
        if port is None:
            number = "LOCAL" if each.port == LOCAL else f"number {each.port}"
            name = cloud.hosts[each.chassis].ports.get(each.port, number)
            if come != nothing:
                sentence = f"it leaves by port {name} of {each.chassis}, which is no port of this cloud"
                yield Suspicion(TENANTS, sentence, come, each.chassis, each.port, receiver)
            continue
        wrong = come & ~cloud.and_stand_ins(promise.allowed(port.network_id))
        if wrong != nothing:
            sentence = f"it reaches port {port.id} of network {port.network_id}, which nothing joins to its sender"
            yield Suspicion(TENANTS, sentence, wrong, each.chassis, each.port, receiver)


def _wired(cloud: Cloud, promise: Promise, survey: Survey) -> Iterator[Suspicion]:
    nothing = cloud.space.nothing
    for each in survey.wired:
        physical = cloud.hosts[each.chassis].wires[each.port]
        networks = [one for one in cloud.rows.all(Network) if one.physical_network == physical]
        for state in each.states:
            left = state
            for network in networks:
                tag = Test("vlan_tci", *tag_of(network))
                wrong = cloud.algebra.narrowed(state, tag).packets & ~cloud.and_stand_ins(promise.allowed(network.id))
                left = cloud.algebra.less(left, tag)
                if wrong != nothing:
                    what = f"network {network.id} on physical network {physical}"
                    sentence = f"it reaches {what}, which nothing joins to its sender"
                    yield Suspicion(TENANTS, sentence, wrong, each.chassis, each.port)
            if left.packets != nothing:
                sentence = f"it reaches physical network {physical} with the tag of no network"
                yield Suspicion(TENANTS, sentence, left.packets, each.chassis, each.port)


def _forged(cloud: Cloud, promise: Promise, survey: Survey) -> Iterator[Suspicion]:
    for (name, port), packets in _by(cloud, (((name, port), state) for name, port, state in survey.emitted)):
        if (wrong := packets & cloud.and_stand_ins(promise.forged)) != cloud.space.nothing:
            sentence = f"it leaves {name} though its sender has port security, and not these addresses"
            yield Suspicion(SPOOFING, sentence, wrong, name, port)


def _unending(cloud: Cloud, survey: Survey) -> Iterator[Suspicion]:
    believed = cloud.algebra.value
    surely = [(name, state) for name, state in survey.looped if believed(state, BELIEVED) != TRANSLATED]
    for name, packets in _by(cloud, surely):
        yield Suspicion(LOOPS, f"it goes round and round, at last on {name}", packets, name)


def _holes(cloud: Cloud, survey: Survey) -> Iterator[Suspicion]:
    names = {table.number: table.name for table in TABLES}
    for (name, table), packets in _by(cloud, (((name, table), state) for name, table, state in survey.lost)):
        where = f"table {table} ({names.get(table, 'of nobody')}) on {name}"
        yield Suspicion(HOLES, f"no flow is for it in {where}: nothing becomes of it", packets, name)
    for name, packets in _by(cloud, survey.astray):
        yield Suspicion(ASTRAY, f"it goes from {name} into a tunnel of which nobody has the other end", packets, name)


def _zones(cloud: Cloud, promise: Promise, survey: Survey) -> Iterator[Suspicion]:
    """What goes to conntrack while a port's groups are asked, and not in the zone that is the port's alone."""
    algebra, nothing = cloud.algebra, cloud.space.nothing
    wrong: dict[tuple[str, str], list[Set]] = {}
    own: dict[str, list[tuple[str, int, int]]] = {}
    for origin in cloud.by_port.values():
        port = cloud.rows.get(Port, origin.port_id)
        placed = place(cloud.rows, port) if port else None
        if isinstance(placed, Placed):
            key = promise.view.tag("port", origin.port_id)
            own.setdefault(origin.chassis, []).append((origin.port_id, key, placed.zone))
    right: dict[tuple[Value, ...], Set] = {}
    for state in survey.tracked:
        slots = tuple(algebra.value(state, slot) for slot in (HOST, CHECKED.wire, ZONE.wire))
        if slots not in right:
            right[slots] = ~_astray(cloud, own, state)
        if state.packets & ~right[slots] == nothing:
            continue
        for name, here in cloud.places(state):
            for id, key, zone in own.get(name, ()):
                mine = algebra.narrowed(here, Test(CHECKED.wire, key, CHECKED.full))
                left = algebra.less(algebra.less(mine, Test(ZONE.wire, zone, ZONE.full)), _TRANSLATING)
                if left.packets != nothing:
                    wrong.setdefault((name, id), []).append(left.packets)
    for (name, id), sets in wrong.items():
        sentence = f"on {name} port {id}'s connections are not looked up in the conntrack zone that is its own"
        yield Suspicion(ZONES, sentence, union(sets, nothing), name, receiver=cloud.by_port[id])


def _astray(cloud: Cloud, own: Mapping[str, Sequence[tuple[str, int, int]]], state: State) -> Set:
    """The packets, of all there are, that are a port's and in no zone of its own, where a state says so."""
    algebra = cloud.algebra
    found = []
    for name, ports in own.items():
        at = algebra.tested(state, Test(HOST, cloud.hosts[name].number, -1))[0]
        for _, key, zone in ports:
            mine = at & algebra.tested(state, Test(CHECKED.wire, key, CHECKED.full))[0]
            found.append(mine & algebra.tested(state, Test(ZONE.wire, zone, ZONE.full))[1])
    return union(found, cloud.space.nothing) & algebra.tested(state, _TRANSLATING)[1]


def _by(cloud: Cloud, found: Iterable[tuple[K, State]]) -> Iterator[tuple[K, Set]]:
    """The packets of states by where they were, if there are any."""
    places: dict[K, list[Set]] = {}
    for at, state in found:
        places.setdefault(at, []).append(state.packets)
    for at, sets in places.items():
        if (packets := union(sets, cloud.space.nothing)) != cloud.space.nothing:
            yield at, packets


def reaching(cloud: Cloud, survey: Survey, target: Origin, only: Iterable[Origin]) -> Iterator[Suspicion]:
    """What reaches a port, and is of none of these senders."""
    others = ~cloud.and_stand_ins(cloud.senders(only))
    for each in survey.arrived:
        if (each.chassis, each.port) == (target.chassis, target.ofport):
            wrong = _all(each.states, cloud.space.nothing) & others
            if wrong != cloud.space.nothing:
                sentence = f"it reaches port {target.port_id}, and its sender is none of those that may"
                yield Suspicion(ONLY, sentence, wrong, each.chassis, each.port, target)
