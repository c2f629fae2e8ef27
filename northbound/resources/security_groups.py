"""`/v2.0/security-groups` (api-ref, "Security groups").

A group is born with rules that let its ports send anything. Every project has a group called `default`, made when it is
first needed: it keeps its name, and only an administrator can remove it, until it is needed again.
"""

from __future__ import annotations

from controller.errors import DefaultExists, DefaultKeepsName, DefaultStays, InUse
from controller.model import quotas, security, sharing
from controller.model.records import Port, SecurityGroup, SecurityGroupRule
from controller.model.store import Transaction
from northbound.resources import values
from northbound.resources.attributes import Ask, Attribute, Body, Collection, Renderer, Scene
from northbound.resources.schemas import list_of, says
from northbound.resources.security_group_rules import SECURITY_GROUP_RULES, prepare
from northbound.resources.standard import common, flag, shared
from northbound.resources.values import Json

_RULE = Renderer(SECURITY_GROUP_RULES)


@says({"type": "string", "maxLength": 255})
def _name(value: Json) -> str:
    """Anything but the name of the default group, in any case. Raises DefaultExists."""
    name = values.string(value)
    if name.lower() == "default":
        raise DefaultExists
    return name


STATEFUL: Attribute[SecurityGroup, bool] = flag("stateful", True)


SHARED: Attribute[SecurityGroup, bool] = shared()


def _rules(scene: Scene, group: SecurityGroup) -> Json:
    return [_RULE.all(scene, rule) for rule in scene.rows.where(SecurityGroupRule, security_group_id=group.id)]


def create(tx: Transaction, body: Body, ask: Ask) -> SecurityGroup:
    """Its project gets its default group first. Raises OverQuota."""
    group = SecurityGroup(**ask.stamp(), **body.fields)
    security.default_group(tx, group.project_id, ask.now)
    rules = len(security.templates_of(tx, group))
    quotas.check(tx, group.project_id, "security_group_rule", rules, ask.settings.quotas)
    return security.make_group(tx, group)


def update(tx: Transaction, old: SecurityGroup, new: SecurityGroup, body: Body, ask: Ask) -> SecurityGroup:
    """Raises DefaultKeepsName, InUse."""
    if new.stateful != old.stateful:
        _check_unused(tx, old)
    if old.default and "name" in body.given:
        raise DefaultKeepsName(old.id)
    return ask.save(tx, old, new)


def delete(tx: Transaction, group: SecurityGroup, ask: Ask) -> None:
    """Rules of other groups that name it go with it. Raises InUse, DefaultStays."""
    _check_unused(tx, group)
    if group.default and not ask.is_admin:
        raise DefaultStays(group.id)
    naming = {rule.security_group_id for rule in tx.where(SecurityGroupRule, remote_group_id=group.id)}
    security.remove_group(tx, group)
    sharing.forget(tx, group)
    for id in sorted(naming - {group.id}):
        ask.touch(tx, tx.need(SecurityGroup, id))


def _check_unused(tx: Transaction, group: SecurityGroup) -> None:
    """No port is in the group. Raises InUse."""
    if tx.holds(Port, groups=group.id):
        raise InUse("SecurityGroup", group.id, "a port", f"Security Group {group.id} in use.")


SECURITY_GROUPS: Collection[SecurityGroup] = Collection(
    "security_group",
    SecurityGroup,
    (
        *common(SecurityGroup, name=_name),
        STATEFUL,
        SHARED,
        Attribute(name="security_group_rules", schema=list_of({"type": "object"}), show=_rules),
    ),
    create,
    update,
    delete,
    prepare=prepare,
)
