"""`/v2.0/default-security-group-rules` (api-ref, "Security group default rules"): what new groups are born with.

They say what rules say, but of no group yet. A change concerns groups that are made from then on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from controller.errors import DefaultRuleExists, NotFound
from controller.model import security
from controller.model.records import PARENT, AddressGroup, DefaultSecurityGroupRule, SecurityGroup, SecurityGroupRule
from controller.model.store import Rows, Transaction
from northbound.resources import values
from northbound.resources.attributes import Ask, Attribute, Body, Collection, Filter, Source, equal
from northbound.resources.schemas import UUID
from northbound.resources.security_group_rules import SECURITY_GROUP_RULES, checked
from northbound.resources.standard import PROJECT, common

_AS_RULES = (
    "direction", "ethertype", "protocol", "port_range_min", "port_range_max", "remote_ip_prefix", "remote_group_id",
    "remote_address_group_id",
)  # fmt: skip


def _as_rule(name: str) -> Attribute[Any, object]:
    """The attribute of that name of rules: read, kept and shown alike, but without an index."""
    same: Attribute[Any, object] = SECURITY_GROUP_RULES.table[name]
    return replace(same, filter=same.filter and Filter(same.filter.test))


def _use(name: str) -> Attribute[DefaultSecurityGroupRule, bool]:
    return Attribute(name=name, parse=values.boolean, post=True, field=name, filter=Filter(equal(values.boolean)))


def _need(rows: Rows, _: str, id: str) -> DefaultSecurityGroupRule:
    """Raises NotFound."""
    for template in security.templates(rows):
        if template.id == id:
            return template
    raise NotFound("DefaultSecurityGroupRule", id)


def create(tx: Transaction, body: Body, ask: Ask) -> DefaultSecurityGroupRule:
    """Raises NotFound, DefaultRuleExists, and what a rule is refused for."""
    rule = _rule(DefaultSecurityGroupRule(**ask.stamp(), **body.fields))
    template = DefaultSecurityGroupRule(
        **ask.stamp(), **{**body.fields, **{name: getattr(rule, name) for name in _AS_RULES}}
    )
    if template.remote_group_id not in (None, PARENT):
        tx.need(SecurityGroup, str(template.remote_group_id))
    if template.remote_address_group_id is not None:
        tx.need(AddressGroup, template.remote_address_group_id)
    for other in security.templates(tx):
        if _uses(other) & _uses(template) and _rule(other).meaning == rule.meaning:
            raise DefaultRuleExists(other.id)
    security.keep_templates(tx)
    return tx.insert(template)


def _rule(template: DefaultSecurityGroupRule) -> SecurityGroupRule:
    """What a template says, in its canonical form. Raises a kind of BadRule."""
    said = {name: getattr(template, name) for name in _AS_RULES}
    return checked(SecurityGroupRule(id="", security_group_id="", **said))


def _uses(template: DefaultSecurityGroupRule) -> set[str]:
    return {name for name in ("used_in_default_sg", "used_in_non_default_sg") if getattr(template, name)}


def delete(tx: Transaction, template: DefaultSecurityGroupRule, _: Ask) -> None:
    """New groups are born without it."""
    security.keep_templates(tx)
    tx.delete(DefaultSecurityGroupRule, template.id)


DEFAULT_RULES: Collection[DefaultSecurityGroupRule] = Collection(
    "default_security_group_rule",
    DefaultSecurityGroupRule,
    (
        *(
            each
            for each in common(DefaultSecurityGroupRule, name=None, dated=False, tagged=False)
            if each.name == "description"
        ),
        Attribute(name="id", field="id", schema=UUID, sort=True, filter=Filter(equal())),
        Attribute(name="tenant_id", parse=PROJECT, post=True, default="", hidden=True),
        *map(_as_rule, _AS_RULES),
        _use("used_in_default_sg"),
        _use("used_in_non_default_sg"),
    ),
    create,
    delete=delete,
    elsewhere=Source(lambda rows, _: security.templates(rows), _need),
)
