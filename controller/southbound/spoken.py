"""Flows and groups of a dump as the lines that `ovs-ofctl` prints: of others, and of ours that somebody altered.

What is not in the tables here is said by its number (`action_0xffff_2320_63(...)`), never left out. What a switch sent
need not make sense: what cannot be read to its end is said so, and no byte raises.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from controller.southbound.openflow import EncodedFlow, EncodedGroup
from controller.southbound.oxm import WIRES, tests_text

_NUMBER: Final = int.from_bytes
_NX: Final = 0x2320
_PORTS: Final[Mapping[int, str]] = {
    0xFFFFFFF8: "IN_PORT", 0xFFFFFFFA: "NORMAL", 0xFFFFFFFB: "FLOOD", 0xFFFFFFFC: "ALL", 0xFFFFFFFE: "LOCAL",
}  # fmt: skip
_CONTROLLER: Final = 0xFFFFFFFD
_BY_TEST: Final = {wire.test >> 9: name for name, wire in WIRES.items()}
_BY_MOVE: Final = {wire.move >> 9: name for name, wire in WIRES.items() if wire.move is not None} | {0: "in_port"}
_TYPES: Final = {0: "all", 1: "select", 2: "indirect", 3: "fast_failover"}
_ADDRESSES: Final = {"nw_src", "nw_dst", "arp_spa", "arp_tpa", "tun_src", "tun_dst", "ct_nw_src", "ct_nw_dst"}
_MACS: Final = {"eth_src", "eth_dst", "arp_sha", "arp_tha", "nd_sll", "nd_tll"}


def flow_text(flow: EncodedFlow) -> str:
    """A line of `dump-flows`."""
    head = f"cookie={flow.cookie:#x}, table={flow.table}, priority={flow.priority}"
    tests = (_shown_test(test) for test in tests_text(flow.match))
    return f"{','.join((head, *tests))} actions={','.join(_instructions(flow.instructions)) or 'drop'}"


def group_text(group: EncodedGroup) -> str:
    """A line of `dump-groups`."""
    parts = [f"group_id={group.id},type={_TYPES.get(group.type, group.type)}"]
    at, content = 0, group.buckets
    while at + 16 <= len(content):
        length = max(16, _NUMBER(content[at : at + 2]))
        parts.append(f"bucket=actions={','.join(_actions(content[at + 16 : at + length])) or 'drop'}")
        at += length
    return ",".join(parts)


def _shown_test(test: str) -> str:
    """A test with its value as its field is written."""
    name, _, values = test.partition("=")
    if name in _ADDRESSES or name in _MACS or name.startswith(("ipv6", "nd_target", "tun_ipv6", "ct_ipv6")):
        return f"{name}={'/'.join(_value(name, bytes.fromhex(each[2:])) for each in values.split('/'))}"
    if name == "vlan_tci" and "/" not in values:  # a VLAN_VID, whose low 13 bits are those of the TCI
        return f"{test}/0x1fff"
    return test


def _value(name: str, value: bytes) -> str:
    if len(value) == 6:
        return value.hex(":")
    if (len(value) == 16 and "ip" in name) or (len(value) == 16 and name.startswith("nd")):
        return socket.inet_ntop(socket.AF_INET6, value)
    return socket.inet_ntoa(value) if name in _ADDRESSES and len(value) == 4 else "0x" + value.hex()


def _instructions(content: bytes) -> Iterator[str]:
    at, onward = 0, ""
    while at + 8 <= len(content):
        kind, length = _NUMBER(content[at : at + 2]), max(8, _NUMBER(content[at + 2 : at + 4]))
        body = content[at + 4 : at + length]
        if kind == 1:
            onward = f"goto_table:{body[0]}"
        elif kind == 4:
            yield from _actions(body[4:])
        elif kind == 3:
            yield f"write_actions({','.join(_actions(body[4:]))})"
        elif kind == 6:
            yield f"meter:{_NUMBER(body[:4])}"
        else:
            yield f"instruction_{kind}({body.hex()})"
        at += length
    if onward:
        yield onward


def _actions(content: bytes) -> Iterator[str]:
    at = 0
    while at + 8 <= len(content):
        kind, length = _NUMBER(content[at : at + 2]), max(8, _NUMBER(content[at + 2 : at + 4]))
        body = content[at + 4 : at + length]
        try:
            yield _action(kind, body)
        except (IndexError, KeyError, ValueError):
            yield f"action_{kind:#x}({body.hex()})"
        at += length


def _action(kind: int, body: bytes) -> str:
    if kind == 0:
        port = _NUMBER(body[:4])
        return f"CONTROLLER:{_NUMBER(body[4:6])}" if port == _CONTROLLER else _PORTS.get(port, f"output:{port}")
    if kind == 17:
        return f"push_vlan:{_NUMBER(body[:2]):#06x}"
    if kind == 18:
        return "pop_vlan"
    if kind == 22:
        return f"group:{_NUMBER(body[:4])}"
    if kind == 24:
        return "dec_ttl"
    if kind == 25:
        return _set_field(body)
    if kind == 0xFFFF and _NUMBER(body[:4]) == _NX:
        return _NICIRA[_NUMBER(body[4:6])](body[6:])
    raise KeyError(kind)


def _set_field(body: bytes) -> str:
    header = _NUMBER(body[:4])
    name, size = _BY_TEST[header >> 9], header & 0xFF
    if header & 1 << 8:
        half = size // 2
        return f"set_field:{_value(name, body[4 : 4 + half])}/{_value(name, body[4 + half : 4 + size])}->{name}"
    return f"set_field:{_value(name, body[4 : 4 + size])}->{name}"


def _register(header: int, first: int, bits: int) -> str:
    """Some bits of a field; of one that nobody here knows its number."""
    return f"{_BY_MOVE[header >> 9]}[{first}..{first + bits - 1}]"


def _move(body: bytes) -> str:
    bits, source, target = (_NUMBER(body[at : at + 2]) for at in (0, 2, 4))
    return f"move:{_register(_NUMBER(body[6:10]), source, bits)}->{_register(_NUMBER(body[10:14]), target, bits)}"


def _load(body: bytes) -> str:
    span = _NUMBER(body[:2])
    header = _NUMBER(body[2:6])
    if header >> 9 == 0:
        return "load:0->NXM_OF_IN_PORT[]"
    return f"load:{_NUMBER(body[6:14]):#x}->{_register(header, span >> 6, (span & 63) + 1)}"


def _resubmit(body: bytes) -> str:
    port = _NUMBER(body[:2])
    return f"resubmit({'' if port == 0xFFF8 else port},{body[2]})"


def _conjunction(body: bytes) -> str:
    return f"conjunction({_NUMBER(body[2:6])},{body[0] + 1}/{body[1]})"


def _ct(body: bytes) -> str:
    flags, header, span, table = _NUMBER(body[:2]), _NUMBER(body[2:6]), _NUMBER(body[6:8]), body[8]
    parts = ["commit"] if flags & 1 else []
    parts += [f"table={table}"] if table != 0xFF else []
    parts.append(f"zone={_register(header, span >> 6, (span & 63) + 1) if header else span}")
    inner = [*_actions(body[14:])]
    parts += [each for each in inner if each.startswith("nat")]
    writes = [each for each in inner if not each.startswith("nat")]
    return f"ct({','.join((*parts, *([f'exec({chr(44).join(writes)})'] if writes else [])))})"


def _nat(body: bytes) -> str:
    flags, present = _NUMBER(body[2:4]), _NUMBER(body[4:6])
    if not flags & 3:
        return "nat"
    at, words = 6, f"{'src' if flags & 1 else 'dst'}="
    for bit, size in ((1, 4), (2, 4), (4, 16), (8, 16)):
        if present & bit:
            family = socket.AF_INET if size == 4 else socket.AF_INET6
            words += ("-" if bit in (2, 8) else "") + socket.inet_ntop(family, body[at : at + size])
            at += size
    for bit, sign in ((16, ":"), (32, "-")):
        if present & bit:
            words += sign + str(_NUMBER(body[at : at + 2]))
            at += 2
    return f"nat({words})"


def _larger(body: bytes) -> str:
    size, first, header = _NUMBER(body[:2]), _NUMBER(body[2:4]), _NUMBER(body[4:8])
    return f"check_pkt_larger({size})->{_register(header, first, 1)}"


_NICIRA: Final[Mapping[int, Callable[[bytes], str]]] = {
    6: _move,
    7: _load,
    14: _resubmit,
    34: _conjunction,
    35: _ct,
    36: _nat,
    42: lambda body: f"clone({','.join(_actions(body[6:]))})",
    43: lambda _: "ct_clear",
    49: _larger,
    8: lambda _: "note:",
    18: lambda _: "dec_ttl",
    20: lambda _: "CONTROLLER:65535",
    37: lambda _: "CONTROLLER:65535",
}
"""By subtype (nx_action_subtype, Open vSwitch ofp-actions.c); bodies begin behind it."""
