"""Who may do what: Neutron's default rules by their own names, as one table (neutron, `conf/policies`).

    create_port                 may this caller make a port?
    create_port:mac_address     and give it this attribute, if the body does?
    get_port                    does it see that port?
    get_port:binding:host_id    and that attribute?

A rule is a predicate of the caller and of what is asked about. What a caller does not see is not there: it is 404, as
what does not exist. What it sees and may not change is 403. Nobody but an administrator is refused what the table
does not name: `test_policy` states that it names every verb of every collection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from controller.errors import Forbidden, NotFound, OtherProject
from controller.model import sharing
from controller.model.records import EVERYBODY, Network, Port, Resource, SecurityGroup, Subnet
from controller.model.store import Rows
from northbound.auth import Caller
from northbound.resources import COLLECTIONS
from northbound.resources.attributes import Body, Collection, Operation
from northbound.resources.values import Json


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked about: a record as it is, or what a body would make of it. `given` are parsed values."""

    rows: Rows
    record: Resource | None = None
    given: Mapping[str, object] = field(default_factory=dict)

    def value(self, name: str) -> Any:
        """An attribute, as it would be."""
        return self.given[name] if name in self.given else getattr(self.record, name, None)

    @property
    def project_id(self) -> str:
        """Whose it is; what has no owner is nobody's."""
        owner = self.record.project_id if self.record is not None else self.given.get("project_id")
        return str(owner or "")

    @property
    def network(self) -> Network | None:
        """The network it is on, or is."""
        if isinstance(self.record, Network):
            return self.record
        id = self.value("network_id")
        return self.rows.get(Network, id) if isinstance(id, str) else None


Rule = Callable[[Caller, Target], bool]


def either(*rules: Rule) -> Rule:
    """Any of them."""
    return lambda caller, target: any(rule(caller, target) for rule in rules)


def both(one: Rule, other: Rule) -> Rule:
    """One and the other."""
    return lambda caller, target: one(caller, target) and other(caller, target)


def role(name: str) -> Rule:
    """The caller has a role, in whatever project."""
    return lambda caller, _: name in caller.roles


def owner(name: str) -> Rule:
    """The caller has a role in the project whose the target is."""
    return lambda caller, target: name in caller.roles and caller.speaks_for(target.project_id)


def network_owner(name: str) -> Rule:
    """The caller has a role in the project whose the target's network is."""

    def owns(caller: Caller, target: Target) -> bool:
        network = target.network
        return network is not None and name in caller.roles and caller.speaks_for(network.project_id)

    return owns


def group_owner(name: str) -> Rule:
    """The caller has a role in the project whose the rule's security group is."""

    def owns(caller: Caller, target: Target) -> bool:
        group = target.rows.get(SecurityGroup, str(target.value("security_group_id")))
        return group is not None and name in caller.roles and caller.speaks_for(group.project_id)

    return owns


def shared_network(caller: Caller, target: Target) -> bool:
    """The target's network is shared with the caller."""
    return target.network is not None and sharing.is_shared(target.rows, target.network.id, caller.project_id)


def external_network(caller: Caller, target: Target) -> bool:
    """The target's network is the caller's way outside."""
    return target.network is not None and sharing.leads_outside(target.rows, target.network.id, caller.project_id)


def shared(caller: Caller, target: Target) -> bool:
    """The target itself is shared with the caller."""
    return target.record is not None and sharing.is_shared(target.rows, target.record.id, caller.project_id)


def not_everybody(caller: Caller, target: Target) -> bool:
    """The policy is for one project."""
    return bool(target.value("target_tenant") != EVERYBODY)


def guest(caller: Caller, target: Target) -> bool:
    """The port is not one that Neutron itself would own."""
    return not str(target.value("device_owner") or "").startswith("network:")


ADMIN: Final = role("admin")
SERVICE: Final = role("service")
READER: Final = role("reader")
ADMIN_OR_SERVICE: Final = either(ADMIN, SERVICE)
MEMBER: Final = either(ADMIN, owner("member"))
MANAGER: Final = either(ADMIN, owner("manager"))
OWN: Final = either(ADMIN, owner("reader"))
NET_MEMBER: Final = either(ADMIN_OR_SERVICE, network_owner("member"))
NET_OR_SHARED: Final = either(NET_MEMBER, shared_network)

RULES: Final[Mapping[str, Rule]] = {
    "create_network": MEMBER,
    "get_network": either(OWN, SERVICE, shared_network, external_network),
    "update_network": MEMBER,
    "delete_network": MEMBER,
    **{
        f"{verb}_network:{name}": ADMIN
        for verb in ("create", "update")
        for name in ("shared", "router:external", "is_default")
    },
    **{
        f"{verb}_network:{name}": ADMIN
        for verb in ("create", "update")
        for name in ("provider:network_type", "provider:physical_network", "provider:segmentation_id")
    },
    "create_network:segments": ADMIN,
    "create_subnet": either(ADMIN, network_owner("member")),
    "get_subnet": either(OWN, SERVICE, network_owner("reader"), shared_network, external_network),
    "update_subnet": either(MEMBER, network_owner("member")),
    "delete_subnet": either(MEMBER, network_owner("member")),
    "create_subnetpool": MEMBER,
    **{f"{name}_subnetpool:is_default": ADMIN for name in ("create", "update")},
    "create_subnetpool:shared": ADMIN,
    "get_subnetpool": either(OWN, shared),
    "update_subnetpool": MEMBER,
    "delete_subnetpool": MEMBER,
    **{action: MEMBER for action in ("onboard_network_subnets", "add_prefixes", "remove_prefixes")},
    "create_address_scope": MEMBER,
    "get_address_scope": either(OWN, shared),
    "update_address_scope": MEMBER,
    **{f"{verb}_address_scope:shared": ADMIN for verb in ("create", "update")},
    "delete_address_scope": MEMBER,
    "create_rbac_policy": MEMBER,
    "get_rbac_policy": OWN,
    "update_rbac_policy": MEMBER,
    **{f"{verb}_rbac_policy:target_tenant": either(ADMIN, not_everybody) for verb in ("create", "update")},
    "delete_rbac_policy": MEMBER,
    "get_agent": ADMIN,
    "update_agent": ADMIN,
    "delete_agent": ADMIN,
    "get_availability_zone": READER,
    "get_network_ip_availability": ADMIN_OR_SERVICE,
    **{f"{verb}_network_segment_range": ADMIN for verb in ("create", "get", "update", "delete")},
    "get_quota": OWN,
    "update_quota": ADMIN,
    "delete_quota": ADMIN,
    "create_port": NET_OR_SHARED,
    "create_port:device_id": either(MEMBER, SERVICE),
    "create_port:device_owner": either(guest, NET_MEMBER),
    "create_port:mac_address": NET_MEMBER,
    "create_port:fixed_ips": NET_OR_SHARED,
    "create_port:fixed_ips:ip_address": NET_MEMBER,
    "create_port:fixed_ips:subnet_id": NET_OR_SHARED,
    "create_port:port_security_enabled": NET_MEMBER,
    "create_port:binding:host_id": ADMIN_OR_SERVICE,
    "create_port:binding:profile": ADMIN_OR_SERVICE,
    "create_port:binding:vnic_type": either(MEMBER, SERVICE),
    "create_port:allowed_address_pairs": NET_MEMBER,
    "get_port": either(OWN, SERVICE, network_owner("reader")),
    "update_port": either(MEMBER, SERVICE),
    "update_port:device_id": either(MEMBER, SERVICE),
    "update_port:device_owner": either(guest, NET_MEMBER),
    "update_port:mac_address": either(ADMIN_OR_SERVICE, network_owner("manager")),
    "update_port:fixed_ips": NET_MEMBER,
    "update_port:fixed_ips:ip_address": NET_MEMBER,
    "update_port:fixed_ips:subnet_id": NET_OR_SHARED,
    "update_port:port_security_enabled": NET_MEMBER,
    "update_port:binding:host_id": ADMIN_OR_SERVICE,
    "update_port:binding:profile": ADMIN_OR_SERVICE,
    "update_port:binding:vnic_type": either(MEMBER, SERVICE),
    "update_port:allowed_address_pairs": NET_MEMBER,
    "delete_port": either(MEMBER, SERVICE, network_owner("member")),
    "get_port_binding": ADMIN_OR_SERVICE,
    **{rule: SERVICE for rule in ("create_port_binding", "update_port_binding", "delete_port_binding", "activate")},
    "get_auto_allocated_topology": OWN,
    "delete_auto_allocated_topology": MEMBER,
    "create_router": MEMBER,
    "get_router": OWN,
    "update_router": MEMBER,
    "delete_router": MEMBER,
    **{f"{verb}_router:{name}": ADMIN for verb in ("create", "update") for name in ("distributed", "ha")},
    **{
        f"{verb}_router:external_gateway_info:{name}": ADMIN
        for verb in ("create", "update")
        for name in ("enable_snat", "external_fixed_ips")
    },
    **{
        action: MEMBER
        for action in ("add_router_interface", "remove_router_interface", "add_extraroutes", "remove_extraroutes")
    },
    "create_floatingip": MEMBER,
    "create_floatingip:floating_ip_address": MANAGER,
    "get_floatingip": OWN,
    "update_floatingip": MEMBER,
    "delete_floatingip": MEMBER,
    "get_floatingip_pool": both(READER, external_network),
    "create_floatingip_port_forwarding": MEMBER,
    "get_floatingip_port_forwarding": OWN,
    "update_floatingip_port_forwarding": MEMBER,
    "delete_floatingip_port_forwarding": MEMBER,
    "create_security_group": MEMBER,
    "get_security_group": either(OWN, shared),
    "update_security_group": MEMBER,
    "delete_security_group": MEMBER,
    "create_security_group_rule": either(ADMIN, group_owner("member")),
    "get_security_group_rule": either(OWN, group_owner("reader")),
    "update_security_group_rule": either(ADMIN, group_owner("member")),
    "delete_security_group_rule": either(ADMIN, group_owner("member")),
    "create_default_security_group_rule": ADMIN,
    "get_default_security_group_rule": READER,
    "delete_default_security_group_rule": ADMIN,
    "create_address_group": MEMBER,
    "get_address_group": either(OWN, shared),
    "update_address_group": MEMBER,
    "delete_address_group": MEMBER,
    "add_addresses": MEMBER,
    "remove_addresses": MEMBER,
}
"""By Neutron's names. `binding:profile` is an administrator's, too, as it was before Neutron had the service role. What
Neutron has a rule for and never asks about (`create_subnet:service_types`) is not here."""

UNSEEN_TO_CHANGE: Final = frozenset({"update_address_group"})
"""What is not there for those whom it is shared with, when they try to change it (neutron, `PolicyHook`, which has not
fetched `shared` then)."""

SEEN: Final[Mapping[str, Callable[[Caller], bool]]] = {
    **{
        f"get_network:provider:{name}": lambda caller: caller.is_admin
        for name in ("network_type", "physical_network", "segmentation_id")
    },
    **{
        f"get_port:binding:{name}": lambda caller: caller.is_admin or "service" in caller.roles
        for name in ("vif_type", "vif_details", "host_id", "profile")
    },
    **{f"get_router:{name}": lambda caller: caller.is_admin for name in ("distributed", "ha")},
}
"""Who sees an attribute, whosever the record is. For others it sorts no list, and narrows it to their own alone."""

NAMED_BY_OPERATIONS: Final[Mapping[str, type[Resource]]] = {
    "network_id": Network,
    "port_id": Port,
    "subnet_id": Subnet,
}
"""What the bodies of operations name."""

_NAMES: Final = {collection.kind: collection.name for collection in reversed(COLLECTIONS)}
"""By kind; what several collections show is called as in the first."""


def subject(collection: Collection[Any]) -> str:
    """What rules call the resources of a collection: parts are named after what they are part of, too."""
    return f"{_NAMES[collection.whole]}_{collection.name}" if collection.whole else collection.name


_GETTERS: Final = {collection.kind: f"get_{subject(collection)}" for collection in reversed(COLLECTIONS)}


@dataclass(frozen=True, slots=True)
class Policy:
    """The table, but for the rules that an operator has `changed`, which hold for administrators, too."""

    changed: Mapping[str, Rule] = field(default_factory=dict)

    def sees(self, caller: Caller, collection: Collection[Any], rows: Rows, record: Resource) -> bool:
        """Is the record there at all, for this caller?"""
        return self._allows(f"get_{subject(collection)}", caller, Target(rows, record))

    def hidden(self, caller: Caller, collection: Collection[Any], rows: Rows) -> frozenset[str]:
        """The attributes of a collection that the caller does not see; the same for all its records."""
        prefix = f"get_{subject(collection)}:"
        rules = [rule for rule in {**SEEN, **self.changed} if rule.startswith(prefix)]
        names = (rule.removeprefix(prefix) for rule in rules if not self._shows(rule, caller, rows))
        return frozenset(name for name in names if name in collection.table)

    def _shows(self, rule: str, caller: Caller, rows: Rows) -> bool:
        if rule in self.changed:
            return self.changed[rule](caller, Target(rows))
        return caller.is_admin or SEEN[rule](caller)

    def check_create(self, caller: Caller, collection: Collection[Any], rows: Rows, body: Body, raw: Json) -> None:
        """Raises Forbidden, NotFound."""
        if not caller.is_admin:
            _check_owner(caller, body)
        given = [name for name in body.given if body.given[name] != collection.table[name].default]
        self._check_references(caller, rows, collection, body)
        self._check(caller, Target(rows, None, body.given), f"create_{subject(collection)}", given, raw)

    def check_update(
        self, caller: Caller, collection: Collection[Any], rows: Rows, old: Resource, body: Body, raw: Json
    ) -> None:
        """Raises Forbidden; NotFound for what the caller does not see."""
        self.check_seen(caller, collection, rows, old)
        self._check_references(caller, rows, collection, body)
        action = f"update_{subject(collection)}"
        if action in UNSEEN_TO_CHANGE and not (caller.is_admin or caller.speaks_for(old.project_id)):
            raise NotFound(type(old).__name__, old.id)
        self._check(caller, Target(rows, old, body.given), action, body.given, raw)

    def check_delete(self, caller: Caller, collection: Collection[Any], rows: Rows, old: Resource) -> None:
        """Raises Forbidden; NotFound for what the caller does not see."""
        self.check_seen(caller, collection, rows, old)
        self._check(caller, Target(rows, old), f"delete_{subject(collection)}", (), None)

    def check_operation(
        self,
        caller: Caller,
        collection: Collection[Any],
        rows: Rows,
        old: Resource,
        operation: Operation[Any],
        given: Mapping[str, Json],
    ) -> None:
        """What has no rule of its own is a change, or a look. Raises Forbidden; NotFound for what the caller does not
        see, or names and does not see."""
        self.check_seen(caller, collection, rows, old)
        if self._has(operation.path) or operation.method != "GET":
            rule = operation.path if self._has(operation.path) else f"update_{subject(collection)}"
            self._check(caller, Target(rows, old), rule, (), None)
        for name, kind in NAMED_BY_OPERATIONS.items():
            if isinstance(id := given.get(name), str):
                self.check_named(caller, rows, kind, id)

    def check_seen(self, caller: Caller, collection: Collection[Any], rows: Rows, record: Resource) -> None:
        """Raises NotFound."""
        if not self.sees(caller, collection, rows, record):
            raise NotFound(type(record).__name__, record.id)

    def check_named(self, caller: Caller, rows: Rows, kind: type[Resource], id: str) -> None:
        """A record that a request names must be there for the caller. Raises NotFound.

        What is nowhere is told an administrator by who needs it, in words of its own.
        """
        record = rows.get(kind, id)
        there = self._allows(_GETTERS[kind], caller, Target(rows, record)) if record is not None else caller.is_admin
        if not there:
            raise NotFound(kind.__name__, id)

    def _check_references(self, caller: Caller, rows: Rows, collection: Collection[Any], body: Body) -> None:
        """What a body names must be there for the caller. Raises NotFound."""
        for name, value in body.given.items():
            for kind, id in collection.table[name].names(value):
                self.check_named(caller, rows, kind, id)

    def _check(self, caller: Caller, target: Target, action: str, given: Iterable[str], raw: Json) -> None:
        """Raises Forbidden, naming the rules as Neutron does: the action's, and the attribute's if that is it."""
        if caller.is_admin and not self.changed:
            return
        if not self._allows(action, caller, target):
            raise Forbidden((action,))
        for name in given:
            for rule in (f"{action}:{name}", *_inner(f"{action}:{name}", raw, name)):
                if self._has(rule) and not self._allows(rule, caller, target):
                    raise Forbidden((action, rule))

    def _has(self, rule: str) -> bool:
        return rule in RULES or rule in self.changed

    def _allows(self, rule: str, caller: Caller, target: Target) -> bool:
        if rule in self.changed:
            return self.changed[rule](caller, target)
        return caller.is_admin or RULES[rule](caller, target)


def _check_owner(caller: Caller, body: Body) -> None:
    """What is made belongs to who makes it; a service makes it for others. Raises OtherProject."""
    owner = body.given.get("project_id")
    if owner is not None and not caller.speaks_for(str(owner)) and "service" not in caller.roles:
        raise OtherProject


def _inner(rule: str, raw: Json, name: str) -> Iterator[str]:
    """The rules of an attribute's own attributes, as far as they were given."""
    value = raw.get(name) if isinstance(raw, dict) else None
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, dict):
            yield from (f"{rule}:{key}" for key in each)
