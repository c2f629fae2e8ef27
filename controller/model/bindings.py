"""Which interface of which hypervisor is a port: claims are recorded here, and decided here.

A hypervisor claims a port by `external_ids:iface-id` on an interface of its integration bridge. Claims are records, so
they outlive the controller; re-asserting an unchanged row after a reconnect is no new claim, and another row that says
the same is one. Of two claims on one port the newer change wins, and the older stays without the port until its own row
changes; but of two interfaces of one hypervisor the one that stays has it: what was seen at once came in no order.

A claim has a conntrack zone of its own on its hypervisor. One that is given back is quarantined until the switch has
forgotten its connections; numbers are handed out round-robin, so that it is long before one is used again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import is_not
from typing import Final

from controller.model.records import (
    Address,
    AgentNote,
    Binding,
    Chassis,
    Drained,
    Link,
    Network,
    Port,
    Quarantine,
    Recovering,
    Severed,
    Translation,
)
from controller.model.segments import PHYSICAL
from controller.model.store import Rows, Transaction

ZONES = 57_343
"""Conntrack zones that ports may have on one hypervisor: 1 to this. Zone 0 is the host's own."""
LOT = 128
"""So many claims that are told at once are recorded at once."""


@dataclass(frozen=True, slots=True)
class Claim:
    """An interface row that carries an iface-id; `row` is its UUID, "" where there is no database."""

    interface: str
    port_id: str
    attached_mac: str = ""
    row: str = ""


@dataclass(frozen=True, slots=True)
class Hypervisor:
    """What one hypervisor's database says of it, parsed; a whole picture, never a difference.

    `problem` is one sentence for the operator when a key is missing or senseless, so that nothing of it can be used, or
    "". `lacks` tells of mapped bridges that cannot be used, which the rest can do without; `advice` tells of
    what is wrong with it though it works, or "". `datapath_id` is that of the integration bridge, None while there is
    none yet. An `alone` one has no database (see `Chassis`).
    """

    system_id: str
    hostname: str
    encap_ip: Address | None
    encap_types: tuple[str, ...]
    bridge: str
    datapath_type: str
    bridge_mappings: tuple[tuple[str, str], ...]
    gateway_priority: int | None
    datapath_id: int | None
    claims: tuple[Claim, ...]
    problem: str = ""
    lacks: str = ""
    advice: str = ""
    alone: bool = False
    availability_zone: str = "nova"
    underlay_mtu: int = 1500


@dataclass(frozen=True, slots=True)
class Attendance:
    """Whether the switch of a hypervisor is connected, since when, and when it was last: in seconds since the epoch,
    None when it was not since the controller started."""

    alive: bool = False
    since: float | None = None
    seen: float | None = None


def interface_name(port_id: str) -> str:
    """The name by which an interface is a port where no database says so: `tap` and 11 characters of the id."""
    return f"tap{port_id[:11]}"


OWN_PORT: Final = 0xFFFFFFFE
"""The OpenFlow port of a bridge itself (OFPP_LOCAL, section 7.2.1)."""


def alone(datapath_id: int, ports: Mapping[str, int]) -> Hypervisor:
    """A switch without a database, by the OpenFlow ports of its interfaces: these claim the ports whose
    `interface_name` they bear, and the one that is its own is called as its bridge is."""
    return Hypervisor(
        system_id=f"{datapath_id:016x}",
        hostname="",
        encap_ip=None,
        encap_types=(),
        bridge=next((name for name, number in ports.items() if number == OWN_PORT), ""),
        datapath_type="",
        bridge_mappings=(),
        gateway_priority=None,
        datapath_id=datapath_id,
        claims=tuple(Claim(name, name) for name in ports if name.startswith("tap") and len(name) == 14),
        alone=True,
    )


def observe(tx: Transaction, seen: Hypervisor, recorded: Sequence[Claim] | None = None) -> Sequence[Claim]:
    """Record what a hypervisor's database says of it: its chassis, and its claims where their rows changed.

    Answers the claims that are recorded now, all but those that found no zone. Who says next time which these are
    (`recorded`) has only what differs looked at.
    """
    known = tx.get(Chassis, seen.system_id)
    now = tx.put(
        Chassis(
            id=seen.system_id,
            hostname=seen.hostname,
            encap_ip=seen.encap_ip,
            encap_types=seen.encap_types,
            bridge=seen.bridge,
            datapath_type=seen.datapath_type,
            bridge_mappings=seen.bridge_mappings,
            gateway_priority=seen.gateway_priority,
            problem=" ".join(filter(None, (seen.problem, seen.lacks))),
            advice=seen.advice,
            alone=seen.alone,
            availability_zone=seen.availability_zone,
            underlay_mtu=seen.underlay_mtu,
        )
    )
    tx.tag("chassis", seen.system_id)
    if now.gateway_priority is not None and (known is None or known.gateway_priority is None):
        recover(tx, now.id)
    claims, gone = _news(tx, seen, recorded)
    for claim in claims:
        old = tx.get(Binding, f"{seen.system_id}/{claim.interface}")
        if old is None or _differs(old, claim):
            _claim(tx, seen.system_id, claim)
        elif old.row != claim.row or not old.zone:  # an older store's record lacks both
            tx.put(replace(old, row=claim.row, zone=old.zone or _free_zone(tx, seen.system_id)))
    for interface in gone:
        if (binding := tx.get(Binding, f"{seen.system_id}/{interface}")) is not None:
            _quarantine(tx, binding)
            tx.delete(Binding, binding.id)
    zoneless = {claim for claim in claims if not tx.need(Binding, f"{seen.system_id}/{claim.interface}").zone}
    return tuple(claim for claim in seen.claims if claim not in zoneless) if zoneless else seen.claims


def portions(rows: Rows, seen: Hypervisor, recorded: Sequence[Claim] | None) -> Iterator[Hypervisor]:
    """What is seen of a hypervisor as if interfaces had been plugged in one lot after the other, those of a network
    together; in the end as it is.

    So switches are told of the first while what follows from the next is computed. Of whom nobody knows what is
    recorded, everything is told at once.
    """
    news = [] if recorded is None else _difference(seen, recorded)[0]
    if recorded is not None and len(news) > LOT:
        told = {claim.interface: claim for claim in recorded}
        news.sort(key=lambda claim: port.network_id if (port := rows.get(Port, claim.port_id)) else "")
        for at in range(LOT, len(news), LOT):
            told.update((claim.interface, claim) for claim in news[at - LOT : at])
            yield replace(seen, claims=tuple(told.values()))
    yield seen


def _news(tx: Transaction, seen: Hypervisor, recorded: Sequence[Claim] | None) -> tuple[Sequence[Claim], list[str]]:
    """The claims to look at, and the interfaces that claim nothing any more."""
    if recorded is None:
        claiming = {claim.interface for claim in seen.claims}
        held = [binding.interface for binding in tx.where(Binding, chassis=seen.system_id)]
        return seen.claims, [interface for interface in held if interface not in claiming]
    return _difference(seen, recorded)


def _difference(seen: Hypervisor, recorded: Sequence[Claim]) -> tuple[list[Claim], list[str]]:
    """The claims that are not recorded, and the interfaces of which others are; nearly all are the same objects."""
    start = _alike(seen.claims, recorded)
    end = _alike(seen.claims[:start:-1], recorded[:start:-1])
    here, before = (claims[start : len(claims) - end] for claims in (seen.claims, recorded))
    stale = {claim.interface: claim for claim in before}
    news = [claim for claim in here if stale.get(claim.interface) != claim]
    return news, sorted(stale.keys() - {claim.interface for claim in here})


def _alike(some: Sequence[Claim], others: Sequence[Claim]) -> int:
    """How many of them, from the first on, are the very same objects."""
    differ = [*map(is_not, some, others)]
    return differ.index(True) if True in differ else len(differ)


def _differs(old: Binding, claim: Claim) -> bool:
    """Is it another claim than the recorded one? Which row an older store's record is of, nobody knows."""
    another_row = bool(old.row and claim.row) and old.row != claim.row
    return another_row or (old.port_id, old.attached_mac) != (claim.port_id, claim.attached_mac)


def _claim(tx: Transaction, chassis: str, claim: Claim) -> None:
    binding = Binding(
        id=f"{chassis}/{claim.interface}",
        chassis=chassis,
        interface=claim.interface,
        port_id=claim.port_id,
        attached_mac=claim.attached_mac,
        row=claim.row,
        sequence=tx.next("claim"),
    )
    if (old := tx.get(Binding, binding.id)) is not None:
        _quarantine(tx, old)
    for other in tx.where(Binding, port_id=claim.port_id):
        if other.chassis != chassis and claim.row and other.row == claim.row:  # its hypervisor has another name now
            _quarantine(tx, other)
            tx.delete(Binding, other.id)
    port = tx.get(Port, claim.port_id)
    if port is None or _may_be_on(port, tx.need(Chassis, chassis)):
        for other in tx.where(Binding, port_id=claim.port_id):
            if other.chassis != chassis and not other.superseded:
                tx.put(_rezoned(tx, replace(other, superseded=True)))
    tx.put(replace(binding, zone=_free_zone(tx, chassis)))


def rezone(tx: Transaction, port_id: str) -> None:
    """Let a port's connections be forgotten wherever it is plugged: each claim on it gets another zone."""
    for binding in _claims(tx, port_id):
        tx.put(_rezoned(tx, binding))


def _rezoned(tx: Transaction, binding: Binding) -> Binding:
    _quarantine(tx, binding)
    return replace(binding, zone=_free_zone(tx, binding.chassis))


def _quarantine(tx: Transaction, binding: Binding) -> None:
    if binding.zone:
        name = f"{binding.chassis}/{binding.zone}"
        tx.put(Quarantine(id=name, chassis=binding.chassis, zone=binding.zone))


def _free_zone(tx: Transaction, chassis: str) -> int:
    """A zone that nobody has on a chassis; 0 when there is none."""
    for _ in range(ZONES):
        zone = (tx.next(f"zone/{chassis}") - 1) % ZONES + 1
        if not tx.where(Binding, zones=(chassis, zone)) and tx.get(Quarantine, f"{chassis}/{zone}") is None:
            return zone
    return 0


def _claims(rows: Rows, port_id: str) -> tuple[Binding, ...]:
    """The claims on a port; by name where no database says more."""
    return rows.where(Binding, port_id=port_id) or rows.where(Binding, port_id=interface_name(port_id))


def _may_be_on(port: Port, chassis: Chassis) -> bool:
    """Whether `binding:host_id` lets a port be there; a claim from elsewhere takes it from nobody."""
    return not port.host or port.host in (chassis.id, chassis.hostname)


def forget(tx: Transaction, chassis: str) -> None:
    """Remove a chassis, its claims and its links, and that it is drained. Raises NotFound."""
    tx.delete(Chassis, chassis)
    recovered(tx, chassis)
    tx.untag("chassis", chassis)
    drain(tx, chassis, False)
    for kind in (AgentNote, Binding, Link, Quarantine, Severed, Translation):
        for record in tx.where(kind, chassis=chassis):
            tx.delete(kind, record.id)


def drain(tx: Transaction, chassis: str, drained: bool) -> None:
    """Have no gateway be active on a chassis, or let them again."""
    if drained:
        tx.put(Drained(id=chassis))
    elif tx.get(Drained, chassis) is not None:
        tx.delete(Drained, chassis)
        recover(tx, chassis)


def recover(tx: Transaction, chassis: str) -> None:
    """Let a chassis be the last among gateways for a while, until all know whether it is alive."""
    if tx.get(Recovering, chassis) is None:
        tx.put(Recovering(id=chassis))


def recovered(tx: Transaction, chassis: str) -> None:
    """Let it be ranked as it is wanted."""
    tx.discard(Recovering, chassis)


def observe_links(
    tx: Transaction, chassis: str, ofports: Mapping[str, int], recorded: Mapping[str, int] | None = None
) -> None:
    """Record the OpenFlow ports of a chassis: those of all interfaces, by name, that its switch reports.

    `recorded` are those that were recorded of it last, if that is known.
    """
    if recorded is None:
        recorded = {link.interface: link.ofport for link in tx.where(Link, chassis=chassis)}
    for name in sorted(recorded.keys() - ofports.keys()):
        tx.discard(Link, f"{chassis}/{name}")
    for name, number in sorted(ofports.items() - recorded.items()):
        tx.put(Link(id=f"{chassis}/{name}", chassis=chassis, interface=name, ofport=number))


NOT_PLUGGED = "no hypervisor has an interface with this port's id as iface-id"


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a port is: its chassis, its interface and its conntrack zone there."""

    chassis: str
    interface: str
    zone: int


@dataclass(frozen=True, slots=True)
class Unplaced:
    """Why a port that is claimed is nowhere, in one sentence; `failed` when Neutron calls that `binding_failed`."""

    reason: str
    failed: bool = False


def hindrance(chassis: Chassis, network: Network) -> str:
    """Why the ports of a network cannot be on a chassis, or ""; one that is alone shares them with no other."""
    if chassis.alone:
        return ""
    if network.network_type in PHYSICAL:
        if any(physical == network.physical_network for physical, _ in chassis.bridge_mappings):
            return ""
        maps = ", ".join(f"{physical}:{bridge}" for physical, bridge in chassis.bridge_mappings) or "none"
        return f"hypervisor {chassis.id} maps bridges ({maps}), none to physical network {network.physical_network}"
    if chassis.encap_ip is not None and network.network_type in chassis.encap_types:
        return ""
    encaps = ", ".join(chassis.encap_types) or "none"
    return f"hypervisor {chassis.id} offers encapsulations ({encaps}), not {network.network_type}"


def place(rows: Rows, port: Port) -> Placed | Unplaced:
    """Where `port` is plugged, by the claims on it, the host it is restricted to and what it can carry."""
    found = _claims(rows, port.id)
    claims = [binding for binding in found if not binding.superseded]
    if found and not claims:
        lost = max(found, key=lambda binding: binding.sequence)
        return Unplaced(
            f"{lost.interface} of hypervisor {lost.chassis} lost this port to a newer claim, which is gone; "
            "plug it anew to have it back"
        )
    if not claims:
        return Unplaced(NOT_PLUGGED)
    homes = [(claim, chassis) for claim in claims if (chassis := rows.get(Chassis, claim.chassis))]
    if not homes:
        return Unplaced(f"hypervisor {claims[0].chassis} is not registered")
    if claims[0].port_id != port.id and not any(chassis.alone for _, chassis in homes):
        return Unplaced(NOT_PLUGGED)
    if port.host == "":
        return Unplaced("binding:host_id is empty: an API client unbound the port")
    allowed = [(claim, chassis) for claim, chassis in homes if _may_be_on(port, chassis)]
    if not allowed:
        return Unplaced(f"plugged on {homes[0][1].id}, but binding:host_id restricts it to {port.host}")
    claim, chassis = max(allowed, key=lambda home: home[0].sequence)
    network = rows.get(Network, port.network_id)
    if network is None:
        return Unplaced(f"network {port.network_id} does not exist")
    if why := hindrance(chassis, network):
        return Unplaced(why, failed=True)
    if not claim.zone:
        return Unplaced(f"hypervisor {chassis.id} has no conntrack zone left: it holds {ZONES} interfaces")
    return Placed(chassis.id, claim.interface, claim.zone)
