"""How much a project may have: counted and checked inside the commit that makes more, so no two requests exceed it.

What there is is counted by the index of a kind, in no time. What belongs to no project is not counted: under
`--auth none` that is everything whose maker names none. What the controller itself makes for a project (its default
security group, the interfaces of its routers) counts, but is not refused, as in Neutron.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from controller.errors import OverQuota
from controller.model.records import (
    FloatingIp,
    Network,
    Port,
    Quota,
    RbacPolicy,
    Record,
    Router,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
    SubnetPool,
)
from controller.model.store import Rows, Transaction

UNLIMITED = -1

MOST = 2**31 - 1
"""The largest limit there is (neutron-lib, `DB_INTEGER_MAX_VALUE`)."""


class Counts(Protocol):
    """Anything that counts records by an index: the replica, or a transaction over it."""

    def count(self, kind: type[Record], *, project_id: str) -> int: ...


@dataclass(frozen=True, slots=True)
class Counted:
    """A name that has a quota, what is counted under it, if anything is, and its limit by default."""

    kind: type[Record] | None
    limit: int


COUNTED: Mapping[str, Counted] = {
    "network": Counted(Network, 100),
    "subnet": Counted(Subnet, 100),
    "subnetpool": Counted(SubnetPool, UNLIMITED),
    "port": Counted(Port, 500),
    "router": Counted(Router, 10),
    "router_route": Counted(None, 30),
    "floatingip": Counted(FloatingIp, 50),
    "security_group": Counted(SecurityGroup, 10),
    "security_group_rule": Counted(SecurityGroupRule, 100),
    "rbac_policy": Counted(RbacPolicy, 10),
}
"""By name, as Neutron's configuration has them; `router_route` is how many routes each router may have."""


def defaults(chosen: Mapping[str, int]) -> dict[str, int]:
    """The limits of a project that has none of its own; `chosen` is what the operator says."""
    return {name: chosen.get(name, each.limit) for name, each in COUNTED.items()}


def limits(rows: Rows, project_id: str, chosen: Mapping[str, int]) -> dict[str, int]:
    """The limits of a project."""
    quota = rows.get(Quota, project_id)
    return {**defaults(chosen), **(dict(quota.limits) if quota else {})}


def used(rows: Counts, project_id: str, name: str) -> int:
    """How many of a name a project has."""
    kind = COUNTED[name].kind
    return rows.count(kind, project_id=project_id) if kind else 0


def check(tx: Transaction, project_id: str, name: str, more: int, chosen: Mapping[str, int]) -> None:
    """A project may have so many more. Raises OverQuota."""
    if name not in COUNTED or not project_id:
        return
    limit = limits(tx, project_id, chosen)[name]
    if limit > UNLIMITED and used(tx, project_id, name) + more > limit:
        raise OverQuota((name,))
