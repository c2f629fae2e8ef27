"""`/v2.0/rbac-policies` (api-ref, "RBAC Policies"): which projects may use an object of another."""

from __future__ import annotations

import uuid
from dataclasses import replace

from controller.errors import AccessExists, BadAction, Inconsistent
from controller.model import sharing
from controller.model.records import EVERYBODY, Network, RbacPolicy
from controller.model.store import Transaction
from northbound.resources import values
from northbound.resources.attributes import Ask, Attribute, Body, Collection, Filter, equal, indexed, need
from northbound.resources.schemas import STRING, UUID, one_of, says
from northbound.resources.standard import common
from northbound.resources.values import Json


@says(one_of([*sharing.SHAREABLE], STRING))
def _object_type(value: Json) -> str:
    name = str(value).strip().lower()
    if name not in sharing.SHAREABLE:
        raise Inconsistent(f"'{str(value)[: values.ECHO]}' is not a valid RBAC object type")
    return name


@says({"anyOf": [UUID, {"const": EVERYBODY}]}, STRING)
def _target(value: Json) -> str:
    """The id of a project, or EVERYBODY."""
    if isinstance(value, str):
        if value == EVERYBODY:
            return value
        try:
            uuid.UUID(value)
        except ValueError:
            pass
        else:
            return value
    said = str(value)[: values.ECHO]
    raise Inconsistent(f"'{said}' is not a valid target project ID; expected a UUID or '*'")


OBJECT_TYPE: Attribute[RbacPolicy, str] = Attribute(
    name="object_type", parse=_object_type, post=True, field="object_type", filter=Filter(equal())
)
OBJECT: Attribute[RbacPolicy, str] = Attribute(
    name="object_id",
    parse=values.uuid,
    post=True,
    field="object_id",
    filter=Filter(equal(), indexed(RbacPolicy, "object_id")),
)
ACTION: Attribute[RbacPolicy, str] = Attribute(
    name="action", parse=values.string, post=True, field="action", filter=Filter(equal())
)
TARGET: Attribute[RbacPolicy, str] = Attribute(
    name="target_tenant",
    parse=_target,
    post=True,
    put=True,
    field="target_project",
    filter=Filter(equal(), indexed(RbacPolicy, "target_project")),
)


def create(tx: Transaction, body: Body, ask: Ask) -> RbacPolicy:
    """Raises BadAction, NotFound, Inconsistent, AccessExists."""
    policy = RbacPolicy(**ask.stamp(), **body.fields)
    shareable = sharing.SHAREABLE[policy.object_type]
    if policy.action not in shareable.actions:
        raise BadAction(policy.action, policy.object_type, (*shareable.actions,))
    _check_owned(tx, policy, ask)
    sharing.check_scope(tx, policy)
    _check_new(tx, policy)
    made = tx.insert(policy)
    _follow(tx, policy, ask)
    return made


def _follow(tx: Transaction, policy: RbacPolicy, ask: Ask) -> None:
    """A network is external while somebody may have gateways there; whom it is shared with counts as a change of it."""
    if policy.object_type == "network":
        network = tx.need(Network, policy.object_id)
        external = sharing.is_external(tx, network.id)
        ask.touch(tx, replace(network, external=external, is_default=network.is_default and external))


def _check_owned(tx: Transaction, policy: RbacPolicy, ask: Ask) -> None:
    """Raises NotFound, Inconsistent."""
    record = need(tx, sharing.SHAREABLE[policy.object_type].kind, policy.object_id)
    if not (ask.is_admin or record.project_id == ask.project_id):
        plural = "networks" if policy.object_type == "network" else "objects"
        raise Inconsistent(f"Only admins can manipulate policies on {plural} they do not own")


def _check_new(tx: Transaction, policy: RbacPolicy) -> None:
    """Raises AccessExists."""
    same = {"object_id": policy.object_id, "action": policy.action, "target_project": policy.target_project}
    if any(other.id != policy.id for other in tx.where(RbacPolicy, **same)):
        raise AccessExists


def update(tx: Transaction, old: RbacPolicy, new: RbacPolicy, _: Body, ask: Ask) -> RbacPolicy:
    """For another project. Raises AccessInUse, AccessExists, Inconsistent."""
    _check_owned(tx, old, ask)
    sharing.check_needless(tx, old, new.target_project)
    _check_new(tx, new)
    made = ask.save(tx, old, new)
    if made is not old:
        _follow(tx, made, ask)
    return made


def delete(tx: Transaction, policy: RbacPolicy, ask: Ask) -> None:
    """Raises AccessInUse."""
    sharing.check_needless(tx, policy)
    tx.delete(RbacPolicy, policy.id)
    _follow(tx, policy, ask)


RBAC_POLICIES: Collection[RbacPolicy] = Collection(
    "rbac_policy",
    RbacPolicy,
    (
        *common(RbacPolicy, name=None, described=False, dated=False, tagged=False),
        OBJECT_TYPE,
        OBJECT,
        ACTION,
        TARGET,
    ),
    create,
    update,
    delete,
    plural="rbac_policies",
)
