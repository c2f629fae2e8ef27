"""Conntrack zones in which hypervisors translate addresses: handed out here, and given back.

Each has one alone: the gateway of a router on a hypervisor, and what a floating IP stands for, there. So connections of
different tenants may bear the same addresses, and those of somebody who lost a floating IP are nobody's at once. A zone
that is given back is emptied before another may have it, as those of ports are (`controller.model.bindings`).
"""

from __future__ import annotations

from controller.model.records import Quarantine, Translation
from controller.model.store import Transaction

FIRST, LAST = 57_344, 64_511
"""The zones there are for it on one hypervisor; ports have those below, `bindings.ZONES`."""


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
