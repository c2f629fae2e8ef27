"""The values that tell packets apart: those of flows and groups, and those of the model, which flows may lack."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_network

from controller.flows.fields import cover, link_local
from controller.model.records import (
    AddressGroup,
    Chassis,
    FloatingIp,
    Neighbour,
    Port,
    PortForwarding,
    Router,
    SecurityGroupRule,
    Subnet,
)
from controller.model.store import Rows
from controller.prove.atoms import SORTS, Gathered
from controller.prove.rules import Action, Apart, Group, Rule, Test, Track, Write
from controller.prove.sets import WIDTHS


def gathered(
    rows: Rows, rules: Iterable[Rule], groups: Iterable[Group], ports: Iterable[int]
) -> dict[str, Gathered]:  # fmt: skip
    """By sort: all values that anything is tested for, or that are written."""
    found: dict[str, Gathered] = {}
    for slot, sort in SORTS.items():
        found.setdefault(sort, Gathered(WIDTHS[slot]))
    acted: dict[int, tuple[Action, ...]] = {}
    for rule in rules:
        for test in rule.tests:
            _take(found, test)
        acted[id(rule.actions)] = rule.actions
    for actions in acted.values():
        _written(found, actions)
    for group in groups:
        for bucket in group.buckets:
            _written(found, bucket)
    for number in ports:
        found["in_port"].exact.add(number)
    for sort, value, mask in (*_WELL_KNOWN, *_model(rows)):
        found[sort].take(value, mask)
    return found


def _take(found: dict[str, Gathered], test: Test) -> None:
    if sort := SORTS.get(test.slot):
        found[sort].take(test.value, test.mask)


def _written(found: dict[str, Gathered], actions: Iterable[Action]) -> None:
    for action in actions:
        if isinstance(action, Write):
            for test in action.tests:
                if test.mask == (1 << WIDTHS[test.slot]) - 1:
                    _take(found, test)
        elif isinstance(action, Apart):
            _written(found, action.actions)
        elif isinstance(action, Track):
            _written(found, action.exec)


_MOST_PORTS = 1024
_FULL48, _FULL128 = (1 << 48) - 1, (1 << 128) - 1
_BLOCKS4 = ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3")
_BLOCKS6 = ("::/16", "ff00::/8", "fe80::/10")
_WELL_KNOWN = (
    ("mac", _FULL48, _FULL48), ("mac", 1 << 40, 1 << 40), ("mac", 0x0180C2000000, 0xFFFFFFFFFFF0),
    ("mac", 0x1E << 40, 0xFF << 40),
    *(("ip4", int(ip_network(each).network_address), int(ip_network(each).netmask)) for each in _BLOCKS4),
    *(("ip6", int(ip_network(each).network_address), int(ip_network(each).netmask)) for each in _BLOCKS6),
    ("flags", 0x02, 0xFFF), ("flags", 0x12, 0x12), ("flags", 0x02, 0x02), ("flags", 0x04, 0x04),
    *(("type", each, 0xFFFF) for each in (0x0800, 0x0806, 0x86DD, 0x8035)),
    *(("protocol", each, 0xFF) for each in (1, 2, 6, 17, 47, 58, 132)),
    *(("port", each, 0xFFFF) for each in (0, 8, 13, 15, 14, 16, 67, 68, 128, 129, *range(130, 138), 143, 546, 547)),
)  # fmt: skip


def _model(rows: Rows) -> Iterator[tuple[str, int, int]]:
    """MAC addresses, addresses and blocks, ports of rules, ends of tunnels."""
    for port in rows.all(Port):
        yield "mac", number_of(port.mac_address), _FULL48
        yield "ip6", int(ip_address(link_local(port.mac_address))), _FULL128
        for ip in port.fixed_ips:
            yield block(ip.ip_address)
        for pair in port.allowed_address_pairs:
            yield "mac", number_of(pair.mac_address), _FULL48
            yield block(pair.ip_address)
    for subnet in rows.all(Subnet):
        yield block(subnet.cidr)
    for floating in rows.all(FloatingIp):
        yield block(floating.floating_ip_address)
    for forwarding in rows.all(PortForwarding):
        yield from (("port", *each) for each in cover(forwarding.external_port_first, forwarding.external_port_last))
        size = forwarding.internal_port_last - forwarding.internal_port_first
        moved = size and forwarding.internal_port_first != forwarding.external_port_first
        for at in range(size + 1) if moved and size < _MOST_PORTS else (0,):
            yield "port", forwarding.internal_port_first + at, 0xFFFF
            yield "port", forwarding.external_port_first + at, 0xFFFF
    for router in rows.all(Router):
        yield from (block(each) for route in router.routes for each in (route.destination, route.nexthop))
    for heard in rows.all(Neighbour):
        yield "mac", number_of(heard.mac_address), _FULL48
        yield block(heard.address)
    for group in rows.all(AddressGroup):
        yield from map(block, group.addresses)
    for rule in rows.all(SecurityGroupRule):
        if rule.remote_ip_prefix is not None:
            yield block(rule.remote_ip_prefix)
        if rule.port_range_min is not None and rule.port_range_max is not None:
            yield from (("port", *each) for each in cover(rule.port_range_min, rule.port_range_max))
    for chassis in rows.all(Chassis):
        if chassis.encap_ip is not None:
            sort, value, mask = block(chassis.encap_ip)
            yield "vtep4" if sort == "ip4" else "vtep6", value, mask


def number_of(text: str) -> int:
    """A MAC address as a number."""
    return int(text.replace(":", ""), 16)


def block(text: str) -> tuple[str, int, int]:
    """The sort of an address or a block of them, its value and its mask."""
    network = ip_network(text, strict=False)
    return "ip4" if network.version == 4 else "ip6", int(network.network_address), int(network.netmask)
