"""Whose eyes see what: an object is its project's, and of those it is shared with by an `RbacPolicy`.

The attribute `shared` of objects is no record of its own: it says whether a policy shares the object with whoever asks.
A network is external while a policy lets anybody have gateways there; who may is said by these policies alone. A policy
stays while somebody needs it: who would lose the object must not be using it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from controller.errors import AccessInUse, Inconsistent, SharedByOthers
from controller.model.records import (
    EVERYBODY,
    AddressGroup,
    AddressScope,
    Network,
    Port,
    RbacPolicy,
    Resource,
    Router,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
    SubnetPool,
)
from controller.model.store import Rows, Transaction

SHARED = "access_as_shared"
EXTERNAL = "access_as_external"

Users = Callable[[Rows, str], set[str]]
"""The projects that use an object."""


@dataclass(frozen=True, slots=True)
class Shareable:
    """A kind of objects that can be shared, and who uses one by each of the actions that policies may allow."""

    kind: type[Resource]
    actions: Mapping[str, Users]


def _owners(kind: type[Resource], index: str) -> Users:
    return lambda rows, id: {each.project_id for each in rows.where(kind, **{index: id})}


SHAREABLE: Mapping[str, Shareable] = {
    "network": Shareable(
        Network, {SHARED: _owners(Port, "network_id"), EXTERNAL: _owners(Router, "external_network_id")}
    ),
    "security_group": Shareable(SecurityGroup, {SHARED: _owners(Port, "groups")}),
    "address_group": Shareable(AddressGroup, {SHARED: _owners(SecurityGroupRule, "remote_address_group_id")}),
    "address_scope": Shareable(AddressScope, {SHARED: _owners(SubnetPool, "address_scope_id")}),
    "subnetpool": Shareable(SubnetPool, {SHARED: _owners(Subnet, "subnetpool_id")}),
}
"""By the `object_type` of policies."""

_TYPES: Mapping[type[Resource], str] = {each.kind: name for name, each in SHAREABLE.items()}


def is_shared(rows: Rows, object_id: str, project_id: str) -> bool:
    """Whether an object is shared with a project, or with all."""
    return _allows(rows, object_id, project_id, SHARED)


def leads_outside(rows: Rows, network_id: str, project_id: str) -> bool:
    """Whether a project may have gateways on a network, and so sees it."""
    return _allows(rows, network_id, project_id, EXTERNAL)


def _allows(rows: Rows, object_id: str, project_id: str, action: str) -> bool:
    targets = (EVERYBODY, project_id)
    return any(policy.action == action and policy.target_project in targets for policy in _policies(rows, object_id))


def visible(rows: Rows, project_id: str, record: Resource) -> bool:
    """Whether a project sees a record: its own, what is shared with it, the subnets of networks that it sees, and the
    ports of networks that are its own."""
    if record.project_id == project_id != "":
        return True
    match record:
        case Subnet():
            network = rows.get(Network, record.network_id)
            return network is not None and visible(rows, project_id, network)
        case Port():
            network = rows.get(Network, record.network_id)
            return network is not None and network.project_id == project_id != ""
        case SecurityGroupRule():
            group = rows.get(SecurityGroup, record.security_group_id)
            return group is not None and group.project_id == project_id != ""
        case Network():
            return is_shared(rows, record.id, project_id) or leads_outside(rows, record.id, project_id)
        case _:
            return is_shared(rows, record.id, project_id)


def _policies(rows: Rows, object_id: str) -> tuple[RbacPolicy, ...]:
    return rows.where(RbacPolicy, object_id=object_id)


def share(tx: Transaction, record: Resource, action: str = SHARED) -> None:
    """Share an object with everybody, in the name of its project."""
    if not _with_all(tx, record.id, action):
        tx.insert(
            RbacPolicy(
                id=str(uuid4()),
                project_id=record.project_id,
                object_type=_TYPES[type(record)],
                object_id=record.id,
                action=action,
                target_project=EVERYBODY,
            )
        )


def unshare(tx: Transaction, record: Resource, users: set[str]) -> None:
    """Share an object no more with everybody, of whom `users` use it. Raises SharedByOthers."""
    for policy in _with_all(tx, record.id, SHARED):
        if _losing(tx, policy, record, users):
            raise SharedByOthers(record.name)
        tx.delete(RbacPolicy, policy.id)


def is_external(rows: Rows, network_id: str) -> bool:
    """Whether anybody may have gateways on a network."""
    return any(policy.action == EXTERNAL for policy in _policies(rows, network_id))


def close(tx: Transaction, network: Network) -> None:
    """Let nobody have gateways on a network any more."""
    for policy in _policies(tx, network.id):
        if policy.action == EXTERNAL:
            tx.delete(RbacPolicy, policy.id)


def forget(tx: Transaction, record: Resource) -> None:
    """Remove the policies of an object that is gone."""
    for policy in _policies(tx, record.id):
        tx.delete(RbacPolicy, policy.id)


def check_scope(rows: Rows, policy: RbacPolicy) -> None:
    """Whom a subnet pool is shared with has its address scope, too. Raises Inconsistent."""
    pool = rows.get(SubnetPool, policy.object_id)
    if pool is None or pool.address_scope_id is None:
        return
    targets = (EVERYBODY, policy.target_project)
    if not any(each.target_project in targets for each in _policies(rows, pool.address_scope_id)):
        reason = "target project doesn't have access to associated address scope"
        raise Inconsistent(f"Failed to create RBAC policy on object {pool.id} because {reason}.")


def check_needless(rows: Rows, policy: RbacPolicy, target: str = "") -> None:
    """Nobody needs a policy who would not have its object by another, or by this one for `target`.

    Raises AccessInUse.
    """
    shareable = SHAREABLE[policy.object_type]
    record: Any = rows.get(shareable.kind, policy.object_id)
    if record is None or target in (EVERYBODY, policy.target_project):
        return
    if policy.action == EXTERNAL and policy.target_project == EVERYBODY and record.is_default:
        raise AccessInUse(record.id, "Default external networks must be shared to everyone.")
    users = shareable.actions[policy.action](rows, record.id)
    if _losing(rows, policy, record, users - {target}):
        raise AccessInUse(record.id, _reason(policy, record))


def _reason(policy: RbacPolicy, record: Resource) -> str:
    """What Neutron says of a policy that is needed: each kind of objects says something else."""
    if policy.action == EXTERNAL:
        return "There are routers attached to this network that depend on this policy for access."
    if isinstance(record, Network):
        return str(SharedByOthers(record.id))
    return f"project_id={policy.target_project}"


def _losing(rows: Rows, policy: RbacPolicy, record: Resource, users: set[str]) -> set[str]:
    """Which of the projects would lose the object without the policy; nobody is no project."""
    others = {
        each.target_project
        for each in _policies(rows, record.id)
        if each.action == policy.action and each.target_project != policy.target_project
    }
    if EVERYBODY in others:
        return set()
    concerned = users if policy.target_project == EVERYBODY else users & {policy.target_project}
    return concerned - others - {record.project_id, ""}


def _with_all(rows: Rows, object_id: str, action: str) -> tuple[RbacPolicy, ...]:
    return rows.where(RbacPolicy, object_id=object_id, action=action, target_project=EVERYBODY)
