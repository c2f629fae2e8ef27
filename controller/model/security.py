"""What follows in the model from a change of ports, groups and rules: bundles, policies, generations.

Rules of a group that share direction, IP version and remote are one `Bundle`; ports that are in the same groups are
under one `Policy`. Both are records with a tag each (`bundle`, `policy`), so that flows name them by numbers that last,
and exist as long as a rule, or a port, needs them.

A change that allows less gives the group whose rules or members it concerns the next number of the sequence
`generation`; a change that allows more does not. Connections remember the policy and the generation that they were
allowed under, and are judged again when either is another (`apps.security_groups`). A group's number only grows, so
none comes back; that there are 2^28 of them is stated in `controller.flows.pipeline`.

All functions run inside a commit. What a port is under, and who its groups' members are, is followed by `settle`: it is
called after every write of a port.
"""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid4, uuid5

from controller.model import bindings
from controller.model.records import (
    CLOSED,
    PARENT,
    UNGUARDED,
    AddressGroup,
    Bundle,
    Cidr,
    Counter,
    DefaultSecurityGroupRule,
    Policy,
    Port,
    SecurityGroup,
    SecurityGroupRule,
)
from controller.model.store import Rows, Transaction


def make_group(tx: Transaction, group: SecurityGroup) -> SecurityGroup:
    """Insert a group with the rules that it is born with (`templates`). Raises Exists."""
    made = tx.insert(group)
    for template in templates_of(tx, group):
        if _holds(tx, template):
            add_rule(tx, _born_with(group, template))
    return made


def templates_of(rows: Rows, group: SecurityGroup) -> list[DefaultSecurityGroupRule]:
    """What a group is born with."""
    return [
        each for each in templates(rows) if (each.used_in_default_sg if group.default else each.used_in_non_default_sg)
    ]


def _holds(rows: Rows, template: DefaultSecurityGroupRule) -> bool:
    """Whether what a template names is there still."""
    group, addresses = template.remote_group_id, template.remote_address_group_id
    named = group is None or group == PARENT or rows.get(SecurityGroup, group) is not None
    return named and (addresses is None or rows.get(AddressGroup, addresses) is not None)


def _born_with(group: SecurityGroup, template: DefaultSecurityGroupRule) -> SecurityGroupRule:
    return SecurityGroupRule(
        id=str(uuid4()),
        project_id=group.project_id,
        revision_number=1,
        created_at=group.created_at,
        updated_at=group.created_at,
        security_group_id=group.id,
        direction=template.direction,
        ethertype=template.ethertype,
        protocol=template.protocol,
        port_range_min=template.port_range_min,
        port_range_max=template.port_range_max,
        remote_ip_prefix=template.remote_ip_prefix,
        remote_group_id=group.id if template.remote_group_id == PARENT else template.remote_group_id,
        remote_address_group_id=template.remote_address_group_id,
    )


def _template(direction: str, ethertype: str, remote: str | None, said: str) -> DefaultSecurityGroupRule:
    return DefaultSecurityGroupRule(
        id=str(uuid5(NAMESPACE, f"{direction}/{ethertype}")),
        description=said,
        direction=direction,
        ethertype=ethertype,
        remote_group_id=remote,
        used_in_default_sg=True,
        used_in_non_default_sg=remote is None,
    )


NAMESPACE = UUID("8e0e0fd4-7d0a-4d53-9a25-6a0f6f0b8f0e")
"""Of the ids of the templates that nobody has changed (RFC 4122, section 4.3)."""

BORN_WITH = tuple(
    _template(*each)
    for each in (
        ("egress", "IPv4", None, "Legacy default SG rule for egress traffic"),
        ("egress", "IPv6", None, "Legacy default SG rule for egress traffic"),
        ("ingress", "IPv4", PARENT, "Legacy default SG rule for ingress traffic"),
        ("ingress", "IPv6", PARENT, "Legacy default SG rule for ingress traffic"),
    )
)
"""A group's ports may send anything; by a default group's own rules they hear one another, too (as Neutron's)."""

_CHANGED = "default-security-group-rules"
"""The counter that is there once somebody has changed them."""


def templates(rows: Rows) -> tuple[DefaultSecurityGroupRule, ...]:
    """The rules that new groups are born with."""
    return BORN_WITH if rows.get(Counter, _CHANGED) is None else rows.all(DefaultSecurityGroupRule)


def keep_templates(tx: Transaction) -> None:
    """Have the templates in the store, to change them there."""
    if tx.get(Counter, _CHANGED) is None:
        tx.next(_CHANGED)
        for template in BORN_WITH:
            tx.insert(template)


def default_group(tx: Transaction, project_id: str, now: int) -> SecurityGroup:
    """The default group of a project, made now (seconds since the epoch) if it has none."""
    for found in tx.where(SecurityGroup, default_of=project_id):
        return found
    return make_group(
        tx,
        SecurityGroup(
            id=str(uuid4()),
            name="default",
            description="Default security group",
            project_id=project_id,
            default=True,
            revision_number=1,
            created_at=now,
            updated_at=now,
        ),
    )


def add_rule(tx: Transaction, rule: SecurityGroupRule) -> SecurityGroupRule:
    """Insert a rule of a group that exists. Raises Exists."""
    if tx.get(Bundle, rule.bundle) is None:
        tx.put(
            Bundle(
                id=rule.bundle,
                security_group_id=rule.security_group_id,
                direction=rule.direction,
                ethertype=rule.ethertype,
                any_protocol=rule.protocol is None,
                remote_ip_prefix=rule.normalized_cidr,
                remote_group_id=rule.remote_group_id,
                remote_address_group_id=rule.remote_address_group_id,
            )
        )
        tx.tag("bundle", rule.bundle)
    return tx.insert(rule)


def remove_rule(tx: Transaction, rule: SecurityGroupRule) -> None:
    """Delete a rule; what it allowed is judged again. Raises NotFound."""
    _drop(tx, rule)
    group = tx.need(SecurityGroup, rule.security_group_id)
    tx.put(replace(group, narrowed=tx.next("generation")))


def _drop(tx: Transaction, rule: SecurityGroupRule) -> None:
    """Delete a rule, and its bundle if it was the last of it."""
    tx.delete(SecurityGroupRule, rule.id)
    if not tx.holds(SecurityGroupRule, bundle=rule.bundle):
        tx.delete(Bundle, rule.bundle)
        tx.untag("bundle", rule.bundle)


def remove_group(tx: Transaction, group: SecurityGroup) -> None:
    """Delete a group that no port is in: its rules, and those of other groups that name it, go with it."""
    for rule in tx.where(SecurityGroupRule, security_group_id=group.id):
        _drop(tx, rule)
    for rule in tx.where(SecurityGroupRule, remote_group_id=group.id):
        remove_rule(tx, rule)
    tx.delete(SecurityGroup, group.id)


def put_addresses(tx: Transaction, old: AddressGroup, new: AddressGroup) -> AddressGroup:
    """Write an address group that had other addresses; if some are gone, what they were allowed is judged again."""
    if not set(old.addresses) <= set(new.addresses):
        new = replace(new, narrowed=tx.next("generation"))
    return tx.put(new)


def settle(tx: Transaction, old: Port | None, new: Port | None) -> None:
    """Follow a port that is made (`old` None), changed or deleted (`new` None), once it is written."""
    before = UNGUARDED if old is None else old.policy
    after = UNGUARDED if new is None else new.policy
    if after not in (UNGUARDED, before) and tx.get(Policy, after) is None:
        tx.put(Policy(id=after, groups=() if after == CLOSED else tuple(after.split(","))))
        tx.tag("policy", after)
    if before not in (UNGUARDED, after) and not tx.holds(Port, policy=before):
        tx.delete(Policy, before)
        tx.untag("policy", before)
    if old is not None:
        _narrow(tx, old, new)
        if new is None or (_tracked(tx, before) and not _tracked(tx, after)):
            bindings.rezone(tx, old.id)


def _tracked(tx: Transaction, policy: str) -> bool:
    """Do ports under a policy have connections?"""
    if policy in (UNGUARDED, CLOSED):
        return policy == CLOSED
    group = tx.get(SecurityGroup, policy.partition(",")[0])
    return group is None or group.stateful


def _narrow(tx: Transaction, old: Port, new: Port | None) -> None:
    """A new generation for the members of every group that stands for fewer addresses now."""
    for id in old.groups:
        kept: frozenset[str | Cidr] = frozenset() if new is None or id not in new.groups else new.addresses
        if not old.addresses <= kept and tx.holds(Bundle, remote_group_id=id):
            group = tx.get(SecurityGroup, id)
            if group is not None:
                tx.put(replace(group, members_narrowed=tx.next("generation")))
