"""What a store of an older release lacks: each function goes from one schema to the next.

Most change records as requests do, by the same functions, so that a migrated store is one that today's requests could
have made. They read the records of today, so `ROWS`, which make bare rows what those are, go before any of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid5

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


NAMESPACE = UUID("0b5f8a52-3f38-4d5c-9c61-6f0b3c0d9d3e")
"""Of ids that migrations give (RFC 4122, section 4.3)."""

Row = tuple[str, dict[str, Any]]
"""A kind, and the values of one of its records."""


def share(kind: str, row: dict[str, Any]) -> Iterator[Row]:
    """2 to 3: that a network is shared, or leads outside, is said by RBAC policies."""
    if kind == "Network" and row.pop("shared", False):
        yield _policy(row, "access_as_shared")
    if kind == "Network" and row.get("external"):
        yield _policy(row, "access_as_external")
    yield kind, row


def _policy(network: dict[str, Any], action: str) -> Row:
    """One for everybody, which has the same id each time it is made."""
    id = str(uuid5(NAMESPACE, f"{network['id']}/{action}"))
    given = {"object_type": "network", "object_id": network["id"], "action": action, "target_project": "*"}
    return "RbacPolicy", {"id": id, "project_id": network["project_id"], **given}


ROWS: tuple[Callable[[str, dict[str, Any]], Iterator[Row]], ...] = (share,)
"""Each turns a row of any older schema into the rows of today; of today's it makes the same."""
