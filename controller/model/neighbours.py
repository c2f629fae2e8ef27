"""What guests say of addresses, as records: written when it is news, removed when it is true no more.

Whether a port may hold what it says is not asked here: a `Neighbour` whose port may not counts for nothing
(`controller.flows.presence`).
"""

from __future__ import annotations

from typing import Final

from controller.model.records import Address, Mac, Neighbour
from controller.model.store import Transaction

MOST: Final = 64
"""How many addresses one port is believed to hold beside those that the model gives it: each costs flows everywhere."""
MOST_ON_WIRE: Final = 4096
"""How many addresses of physical hosts are known on one network."""


def remember(tx: Transaction, network_id: str, address: Address, mac: Mac, port_id: str) -> Neighbour | None:
    """Write down that a port, or a physical host, holds an address; None when there are as many as there may be."""
    id = f"{network_id}/{address}"
    old = tx.get(Neighbour, id)
    if old is not None and (old.mac_address, old.port_id) == (mac, port_id):
        return old
    held = tx.where(Neighbour, network_id=network_id, port_id=port_id)
    if (old is None or old.port_id != port_id) and len(held) >= (MOST if port_id else MOST_ON_WIRE):
        return None
    return tx.put(
        Neighbour(
            id=id,
            network_id=network_id,
            address=address,
            mac_address=mac,
            port_id=port_id,
            sequence=tx.next("neighbour"),
        )
    )


def forget(tx: Transaction, neighbour: Neighbour) -> None:
    """Remove a neighbour, unless it has become another meanwhile."""
    if tx.get(Neighbour, neighbour.id) == neighbour:
        tx.delete(Neighbour, neighbour.id)
