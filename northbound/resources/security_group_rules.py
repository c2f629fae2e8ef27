"""`/v2.0/security-group-rules` (api-ref, "Security group rules").

What a rule says is refused, or put in its canonical form, as Neutron does it (neutron, `db/securitygroups_db`): a range
of all ports is no range, ICMP in IPv6 is ICMPv6 by whatever name. Of a rule only the description can be changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import netaddr

from controller.errors import (
    BadIcmp,
    BadPort,
    BadPortRange,
    BadPrefix,
    ForeignPrefix,
    ForeignProtocol,
    ManyGroups,
    ManyProjects,
    ManyRemotes,
    NoIcmpType,
    NoPorts,
    NoProtocol,
    RepeatedRule,
    RuleExists,
    UnknownEthertype,
    UnknownProtocol,
)
from controller.model import security
from controller.model.addresses import version
from controller.model.protocols import NUMBERS, ONLY_IPV6, WITH_PORTS, WITH_TYPES, number, protocol_number
from controller.model.records import AddressGroup, Cidr, Resource, SecurityGroup, SecurityGroupRule
from controller.model.store import Transaction
from northbound.resources import values
from northbound.resources.attributes import Ask, Attribute, Body, Collection, Filter, Scene, equal, indexed, one
from northbound.resources.schemas import BLOCK, BOOLEAN, DIGITS, INTEGER, STRING, nullable, one_of, says
from northbound.resources.standard import common
from northbound.resources.values import Json

ETHERTYPES = ("IPv4", "IPv6")

EVERY_PORT = (1, 65535)


@says({"type": ["string", "integer", "null"]}, nullable(STRING))
def _protocol(value: Json) -> str | None:
    """A name in lower case, or a number as text; None is any."""
    if value is None:
        return None
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    name = text.lower()
    if name == "any":
        return None
    if name in NUMBERS:
        return name
    if text.isascii() and text.isdigit() and len(text) < 4 and int(text) < 256:
        return str(int(text))
    raise UnknownProtocol(str(value)[: values.ECHO], str((None, "any", *NUMBERS)))


@says({"type": "string", "pattern": "^[iI][pP][vV][46]$"}, one_of(ETHERTYPES, STRING))
def _ethertype(value: Json) -> str:
    for ethertype in ETHERTYPES:
        if isinstance(value, str) and value.lower() == ethertype.lower():
            return ethertype
    raise UnknownEthertype(str(value)[: values.ECHO])


@says(nullable({"anyOf": [{"type": "integer", "minimum": 0, "maximum": 65535}, DIGITS]}), nullable(INTEGER))
def _port(value: Json) -> int | None:
    """A port, or what is a type or a code in ICMP."""
    if value is None:
        return None
    if isinstance(value, int | float | str):
        try:
            port = int(value)
        except (ValueError, OverflowError):
            port = -1
        if 0 <= port <= 65535:
            return port
    raise BadPort(str(value)[: values.ECHO])


@says(nullable(STRING))
def _prefix(value: Json) -> str | None:
    """A block of addresses with its length, its host bits as they are; what is empty is none."""
    if not value:
        return None
    if isinstance(value, str) and not any(each.isspace() for each in value):
        try:
            return str(netaddr.IPNetwork(value))
        except (ValueError, TypeError, netaddr.AddrFormatError):
            pass
    raise BadPrefix(str(value)[: values.ECHO])


@says(nullable(STRING))
def _id(value: Json) -> str | None:
    """Of something that must exist; what is empty is none."""
    return values.string(value) if value else None


def _filter(name: str, parse: Callable[[str], object]) -> Filter[SecurityGroupRule]:
    has_index = (name,) in SecurityGroupRule.INDEXES
    return Filter(equal(parse), indexed(SecurityGroupRule, name) if has_index else None)


def _remote(name: str, kind: type[Resource]) -> Attribute[SecurityGroupRule, str | None]:
    return Attribute(
        name=name,
        parse=_id,
        post=True,
        default=None,
        field=name,
        filter=_filter(name, str),
        sort=True,
        names=one(kind),
    )


def _range(name: str) -> Attribute[SecurityGroupRule, int | None]:
    return Attribute(
        name=name, parse=_port, post=True, default=None, field=name, filter=_filter(name, _port), sort=True
    )


def _normalized(_: Scene, rule: SecurityGroupRule) -> Json:
    return None if rule.remote_ip_prefix is None else str(netaddr.IPNetwork(rule.remote_ip_prefix).cidr)


def _of_default(scene: Scene, rule: SecurityGroupRule) -> Json:
    group = scene.rows.get(SecurityGroup, rule.security_group_id)
    return group is not None and group.default


def together(bodies: Sequence[Body]) -> None:
    """The rules of one request are of one group and one project, each once. Raises ManyGroups, ManyProjects,
    RepeatedRule, and what a rule is refused for."""
    rules = [_said(body) for body in bodies]
    if len({rule.security_group_id for rule in rules}) > 1:
        raise ManyGroups
    if len({rule.project_id for rule in rules}) > 1:
        raise ManyProjects
    if len({rule.meaning for rule in rules}) < len(rules):
        raise RepeatedRule


def create(tx: Transaction, body: Body, ask: Ask) -> SecurityGroupRule:
    """Raises NotFound, RuleExists, and what a rule is refused for."""
    rule = replace(_said(body), **ask.stamp())
    if rule.remote_group_id is not None:
        tx.need(SecurityGroup, rule.remote_group_id)
    if rule.remote_address_group_id is not None:
        tx.need(AddressGroup, rule.remote_address_group_id)
    group = tx.need(SecurityGroup, rule.security_group_id)
    for other in tx.where(SecurityGroupRule, meaning=rule.meaning):
        raise RuleExists(other.id)
    ask.touch(tx, group)
    return security.add_rule(tx, rule)


def _said(body: Body) -> SecurityGroupRule:
    """What a client wants, in its canonical form, but for who and when. Raises a kind of BadRule."""
    return checked(SecurityGroupRule(id="", **body.fields))


def checked(rule: SecurityGroupRule) -> SecurityGroupRule:
    """A rule in its canonical form. Raises a kind of BadRule."""
    rule = _canonical(rule)
    _check_range(rule)
    if rule.remote_ip_prefix is not None and f"IPv{version(Cidr(rule.remote_ip_prefix))}" != rule.ethertype:
        raise ForeignPrefix(rule.ethertype, rule.remote_ip_prefix)
    if rule.protocol is not None and rule.ethertype == "IPv4" and number(rule.protocol, rule.ethertype) in ONLY_IPV6:
        raise ForeignProtocol(rule.ethertype, rule.protocol)
    remotes = (rule.remote_ip_prefix, rule.remote_group_id, rule.remote_address_group_id)
    if sum(remote is not None for remote in remotes) > 1:
        raise ManyRemotes
    return rule


def _canonical(rule: SecurityGroupRule) -> SecurityGroupRule:
    """All ports are none; the legacy names and the number of ICMP are those of ICMPv6 in IPv6."""
    if (rule.port_range_min, rule.port_range_max) == EVERY_PORT:
        rule = replace(rule, port_range_min=None, port_range_max=None)
    if rule.ethertype == "IPv6" and rule.protocol in ("icmp", "icmpv6"):
        return replace(rule, protocol="ipv6-icmp")
    if rule.ethertype == "IPv6" and rule.protocol == "1":
        return replace(rule, protocol="58")
    return rule


def _check_range(rule: SecurityGroupRule) -> None:
    low, high = rule.port_range_min, rule.port_range_max
    if low is None and high is None:
        return
    protocol = protocol_number(rule)
    if protocol is None:
        raise NoProtocol
    if protocol in WITH_PORTS:
        _check_ports(low, high)
    elif protocol in WITH_TYPES:
        _check_icmp(low, high)
    else:
        raise NoPorts(protocol)


def _check_ports(low: int | None, high: int | None) -> None:
    if 0 in (low, high):
        raise BadPort("0")
    if low is None or high is None or low > high:
        raise BadPortRange(low, high)


def _check_icmp(type: int | None, code: int | None) -> None:
    for value, field, attribute in ((type, "type", "port_range_min"), (code, "code", "port_range_max")):
        if value is not None and value > 255:
            raise BadIcmp(field, attribute, value)
    if type is None and code is not None:
        raise NoIcmpType(code)


def update(tx: Transaction, old: SecurityGroupRule, new: SecurityGroupRule, _: Body, ask: Ask) -> SecurityGroupRule:
    """Another description."""
    return ask.save(tx, old, new)


def delete(tx: Transaction, rule: SecurityGroupRule, ask: Ask) -> None:
    """What it allowed is allowed no more, to connections that are there already either."""
    security.remove_rule(tx, rule)
    ask.touch(tx, tx.need(SecurityGroup, rule.security_group_id))


def prepare(tx: Transaction, project_id: str, ask: Ask) -> None:
    """A project finds its default group in every list."""
    if project_id:
        security.default_group(tx, project_id, ask.now)


SECURITY_GROUP_RULES: Collection[SecurityGroupRule] = Collection(
    "security_group_rule",
    SecurityGroupRule,
    (
        *common(SecurityGroupRule, name=None, tagged=False),
        Attribute(
            name="security_group_id",
            parse=values.text(36),
            post=True,
            field="security_group_id",
            filter=_filter("security_group_id", str),
            sort=True,
            names=one(SecurityGroup),
        ),
        Attribute(
            name="direction",
            parse=values.choice(("ingress", "egress"), values.text(16)),
            post=True,
            field="direction",
            filter=_filter("direction", str),
            sort=True,
        ),
        Attribute(
            name="ethertype",
            parse=_ethertype,
            post=True,
            default="IPv4",
            field="ethertype",
            filter=_filter("ethertype", _ethertype),
            sort=True,
        ),
        Attribute(
            name="protocol",
            parse=_protocol,
            post=True,
            default=None,
            field="protocol",
            filter=_filter("protocol", _protocol),
            sort=True,
        ),
        _range("port_range_min"),
        _range("port_range_max"),
        Attribute(
            name="remote_ip_prefix",
            parse=_prefix,
            post=True,
            default=None,
            field="remote_ip_prefix",
            filter=_filter("remote_ip_prefix", _prefix),
            sort=True,
        ),
        _remote("remote_group_id", SecurityGroup),
        _remote("remote_address_group_id", AddressGroup),
        Attribute(name="normalized_cidr", schema=nullable(BLOCK), show=_normalized, filter=Filter(equal()), sort=True),
        Attribute(name="belongs_to_default_sg", schema=BOOLEAN, show=_of_default, filter=Filter(equal(values.boolean))),
    ),
    create,
    update,
    delete,
    together=together,
    prepare=prepare,
)
