"""What a store of an older release lacks: each function goes from one schema to the next.

Most change records as requests do, by the same functions, so that a migrated store is one that today's requests could
have made. They read the records of today, so `ROWS`, which make bare rows what those are, go before any of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

from controller.model import bindings, security
from controller.model.records import TRUSTED, Binding, Port
from controller.model.store import Transaction


def guard(tx: Transaction) -> None:
    """1 to 2: a port is in the default group of its project, or trusted; a claim has a conntrack zone."""
    now = int(time.time())
    for port in tx.all(Port):
        security.settle(tx, None, tx.put(_guarded(tx, port, now)))
    for port_id in sorted({binding.port_id for binding in tx.all(Binding)}):
        bindings.rezone(tx, port_id)


def _guarded(tx: Transaction, port: Port, now: int) -> Port:
    if port.device_owner.startswith(TRUSTED):
        return replace(port, port_security_enabled=False)
    return replace(port, security_groups=(security.default_group(tx, port.project_id, now).id,))


Row = tuple[str, dict[str, Any]]
"""A kind, and the values of one of its records."""


def share(kind: str, row: dict[str, Any]) -> Iterator[Row]:
    """2 to 3: a network is shared by an RBAC policy."""
    shared = kind == "Network" and row.pop("shared", False)
    yield kind, row
    if shared:
        yield (
            "RbacPolicy",
            {
                "id": str(uuid4()),
                "project_id": row["project_id"],
                "object_type": "network",
                "object_id": row["id"],
                "action": "access_as_shared",
                "target_project": "*",
            },
        )


ROWS: tuple[Callable[[str, dict[str, Any]], Iterator[Row]], ...] = (share,)
"""Each turns a row of any older schema into the rows of today; of today's it makes the same."""
