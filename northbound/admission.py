"""Which rules admit what: the bundle that a flow or a connection names, those of its rules that fit, and the words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from controller.model.protocols import NUMBERS, ports, protocol_number, type_and_code
from controller.model.records import AddressGroup, Bundle, Port, SecurityGroup, SecurityGroupRule, Tag
from controller.model.store import Rows


@dataclass(frozen=True, slots=True)
class Began:
    """The tuple in which a connection began.

    `low` and `high` are source and destination port, or ICMP type and code; None where the protocol has neither.
    """

    protocol: int
    source: str
    destination: str
    low: int | None
    high: int | None

    @property
    def unread(self) -> bool:
        """Are these ports of SCTP that conntrack did not read? Then the connection may be of any (`flows.fields`)."""
        return self.protocol == NUMBERS["sctp"] and self.high == 0


@dataclass(frozen=True, slots=True)
class Remotes:
    """Whom a bundle is about: addresses, and blocks of them."""

    addresses: frozenset[str]
    blocks: tuple[IPv4Network | IPv6Network, ...]

    def __contains__(self, address: str) -> bool:
        return address in self.addresses or any(ip_address(address) in block for block in self.blocks)


def tagged(rows: Rows, kind: type[Any], space: str, number: int) -> Any:
    """The record that a tag in a flow stands for; None of what is gone, and of 0."""
    found = rows.where(Tag, space=space, number=number) if number else ()
    return rows.get(kind, found[0].id.partition("/")[2]) if found else None


def remotes(rows: Rows, bundle: Bundle) -> Remotes | None:
    """Whom a bundle is about; None is everybody."""
    if bundle.remote_group_id is not None:
        members = rows.where(Port, groups=bundle.remote_group_id)
        named = frozenset[str]().union(*(port.addresses for port in members))
    elif bundle.remote_address_group_id is not None:
        group = rows.get(AddressGroup, bundle.remote_address_group_id)
        named = frozenset(group.addresses if group else ())
    elif bundle.remote_ip_prefix is not None:
        named = frozenset({bundle.remote_ip_prefix})
    else:
        return None
    return Remotes(named, tuple(ip_network(each, strict=False) for each in named if "/" in each))


def fitting(rows: Rows, bundle: Bundle, about: Remotes | None, began: Began) -> tuple[SecurityGroupRule, ...]:
    """The rules of a bundle that allow a connection as they are now."""
    remote = began.destination if bundle.direction == "egress" else began.source
    if about is not None and remote not in about:
        return ()
    return tuple(rule for rule in rows.where(SecurityGroupRule, bundle=bundle.id) if _serves(rule, began))


def _serves(rule: SecurityGroupRule, began: Began) -> bool:
    if protocol_number(rule) not in (None, began.protocol):
        return False
    between, (type, code) = ports(rule), type_and_code(rule)
    if between is not None:
        return began.high is not None and (began.unread or between[0] <= began.high <= between[1])
    return type in (None, began.low) and code in (None, began.high)


def remote_of(bundle: Bundle) -> str:
    """Whom a bundle is about, as the API names them."""
    return bundle.remote_group_id or bundle.remote_address_group_id or bundle.remote_ip_prefix or "any"


def admitted(rows: Rows, bundle: Bundle | None, rules: Sequence[SecurityGroupRule]) -> str:
    """By what something is allowed: `ingress allowed by security group "web" ID, from anybody: rule ID (tcp 80)`.

    `rules` are those of the bundle that fit; None is a bundle that is gone.
    """
    if bundle is None:
        return "allowed by rules that are gone"
    group = _named(rows, SecurityGroup, "security group", bundle.security_group_id)
    said = ", ".join(map(_rule, rules)) or "no rule of these fits it now"
    return f"{bundle.direction} allowed by {group}, {_remote(rows, bundle)}: {said}"


def _remote(rows: Rows, bundle: Bundle) -> str:
    """Whom a bundle is about."""
    preposition = "to" if bundle.direction == "egress" else "from"
    if bundle.remote_group_id is not None:
        return f"{preposition} members of {_named(rows, SecurityGroup, 'security group', bundle.remote_group_id)}"
    if bundle.remote_address_group_id is not None:
        return f"{preposition} {_named(rows, AddressGroup, 'address group', bundle.remote_address_group_id)}"
    return f"{preposition} {bundle.remote_ip_prefix or 'anybody'}"


def _named(rows: Rows, kind: type[SecurityGroup] | type[AddressGroup], word: str, id: str) -> str:
    found = rows.get(kind, id)
    return named(word, id, found.name if found else "")


def _rule(rule: SecurityGroupRule) -> str:
    between, (type, code) = ports(rule), type_and_code(rule)
    service = rule.protocol or "any protocol"
    if between is not None:
        service += f" {between[0]}" if between[0] == between[1] else f" {between[0]}-{between[1]}"
    if type is not None:
        service += f" type {type}" + ("" if code is None else f" code {code}")
    return f"rule {rule.id} ({service})"


def named(kind: str, id: str, name: str) -> str:
    """An API object in words: its kind, its name if it has one, its id."""
    return f'{kind} "{name}" {id}' if name else f"{kind} {id}"
