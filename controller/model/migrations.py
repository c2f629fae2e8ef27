"""What a store of an older release lacks, in terms of records: each function goes from one schema to the next.

They change records as requests do, by the same functions, so that a migrated store is one that today's requests could
have made. Limit: they read the records of today; who renames an attribute puts a migration of bare rows before them.
"""

from __future__ import annotations

import time
from dataclasses import replace

from controller.model import bindings, security
from controller.model.records import FLOATING, GATEWAY, TRUSTED, Binding, Port
from controller.model.store import Transaction


def guard(tx: Transaction) -> None:
    """1 to 2: a port is in the default group of its project, or trusted; a claim has a conntrack zone."""
    now = int(time.time())
    for port in tx.all(Port):
        security.settle(tx, None, tx.put(_guarded(tx, port, now)))
    for port_id in sorted({binding.port_id for binding in tx.all(Binding)}):
        bindings.rezone(tx, port_id)


def disown(tx: Transaction) -> None:
    """2 to 3: ports that say that they are a router's gateway, or a floating IP's, were never made by one."""
    for port in tx.all(Port):
        if port.device_owner in (GATEWAY, FLOATING) and port.device_id:
            tx.put(replace(port, device_id=""))


def _guarded(tx: Transaction, port: Port, now: int) -> Port:
    if port.device_owner.startswith(TRUSTED):
        return replace(port, port_security_enabled=False)
    return replace(port, security_groups=(security.default_group(tx, port.project_id, now).id,))
