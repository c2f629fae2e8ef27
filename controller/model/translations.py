"""Conntrack zones in which hypervisors translate addresses: handed out here, and given back.

Each has one alone: the gateway of a router on a hypervisor, and what a floating IP stands for, there. So connections of
different tenants may bear the same addresses, and those of somebody who lost a floating IP are nobody's at once. A zone
that is given back is emptied before another may have it, as those of ports are (`controller.model.bindings`). Of a
router's zone, in which many have connections, those of a port forwarding that goes are forgotten alone.
"""

from __future__ import annotations

from controller.model.records import FloatingIp, PortForwarding, Quarantine, Severed, Translation
from controller.model.store import Transaction

FIRST, LAST = 57_344, 64_511
"""The zones there are for it on one hypervisor; ports have those below, `bindings.ZONES`."""
MOST_PORTS = 256
"""How many ports of one port forwarding are severed: for each a switch looks at all connections that it has."""


def translation_id(chassis: str, what: str) -> str:
    """The id of the `Translation` for something on a chassis."""
    return f"{chassis}/{what}"


def allot(tx: Transaction, chassis: str, what: str) -> Translation | None:
    """The zone in which a chassis translates for something, handed out on first use; None when none is left."""
    found = tx.get(Translation, translation_id(chassis, what))
    if found is not None:
        return found
    count = LAST - FIRST + 1
    for _ in range(count):
        zone = FIRST + (tx.next(f"translation/{chassis}") - 1) % count
        if not tx.holds(Translation, zones=(chassis, zone)) and tx.get(Quarantine, f"{chassis}/{zone}") is None:
            made = Translation(id=translation_id(chassis, what), chassis=chassis, what=what, zone=zone)
            return tx.put(made)
    return None


def release(tx: Transaction, translation_id: str) -> None:
    """Give a zone back, if it is still held: its connections are to be forgotten."""
    found = tx.get(Translation, translation_id)
    if found is not None:
        tx.delete(Translation, found.id)
        tx.put(Quarantine(id=f"{found.chassis}/{found.zone}", chassis=found.chassis, zone=found.zone))


def sever(tx: Transaction, floating_ip: FloatingIp, forwarding: PortForwarding) -> None:
    """A port forwarding is gone, or another: its connections are to be forgotten. Of more than `MOST_PORTS` ports they
    are not: flows have cut them, and they go when their time is over."""
    first, last = forwarding.external_port_first, forwarding.external_port_last
    if last - first >= MOST_PORTS:
        return
    for each in tx.where(Translation, whose=floating_ip.router_id):
        tx.put(
            Severed(
                id=f"{each.chassis}/{each.zone}/{tx.next('severed')}",
                chassis=each.chassis,
                zone=each.zone,
                protocol=forwarding.protocol,
                address=floating_ip.floating_ip_address,
                port_first=first,
                port_last=last,
            )
        )
