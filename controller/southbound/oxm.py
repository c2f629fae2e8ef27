"""Fields and matches as OpenFlow 1.4 bytes, in the very form in which Open vSwitch reads them back.

    match          ofp_match header (4) | OXM (4 + 1..32)... | zeros up to a multiple of 8

Fields stand in the order of `nx_put_raw` of Open vSwitch 3.1. Limits: a field that is not in `WIRES` raises Undeclared.
Sections are those of the OpenFlow Switch Specification 1.4.1; a class or field that it does not have is named by the
file of Open vSwitch that has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from controller.errors import Undeclared
from controller.flows.match import Match

_OXM: Final = 0x8000  # OFPXMC_OPENFLOW_BASIC
_NXM0: Final = 0x0000  # the classes of nicira-ext.h
_NXM1: Final = 0x0001
_EXPERIMENTER: Final = 0xFFFF  # section 7.2.3.8: behind the header, whose field this is
_ONF: Final = 0x4F4E4600
_ERICSSON: Final = 0x1000  # the class of ERICOXM_OF_ICMPV6_ND_*, meta-flow.h
_HAS_MASK: Final = 1 << 8


@dataclass(frozen=True, slots=True)
class Wire:
    """How a field is written: `test` in a match and a set-field, `move` in register moves and loads.

    Each is an OXM header without mask. A field without `move` can only be tested. `size` is the length of a value in
    bytes, `full` the mask that is written as no mask. An experimenter's field has `whose` behind the header.
    """

    test: int
    move: int | None
    size: int
    full: int
    maskable: bool
    whose: bytes = b""


def _wire(
    size: int, test: tuple[int, int], move: tuple[int, int] | None, *, maskable: bool = True, full: int | None = None
) -> Wire:
    def header(kind: tuple[int, int]) -> int:
        return kind[0] << 16 | kind[1] << 9 | size

    whole = (1 << 8 * size) - 1
    return Wire(header(test), None if move is None else header(move), size, full or whole, maskable)


WIRES: Final[Mapping[str, Wire]] = {
    "conj_id": _wire(4, (_NXM1, 37), None, maskable=False),
    "in_port": _wire(4, (_OXM, 0), None, maskable=False),
    "eth_src": _wire(6, (_OXM, 4), (_NXM0, 2)),
    "eth_dst": _wire(6, (_OXM, 3), (_NXM0, 1)),
    "eth_type": _wire(2, (_OXM, 5), None, maskable=False),
    # OXM has no TCI: its low 13 bits are the field VLAN_VID, which is OFPVID_NONE = 0 for a frame without a tag.
    "vlan_tci": _wire(2, (_OXM, 6), (_NXM0, 4), full=0x1FFF),
    "nw_src": _wire(4, (_OXM, 11), (_NXM0, 7)),
    "nw_dst": _wire(4, (_OXM, 12), (_NXM0, 8)),
    "ipv6_src": _wire(16, (_OXM, 26), (_NXM1, 19)),
    "ipv6_dst": _wire(16, (_OXM, 27), (_NXM1, 20)),
    "ip_frag": _wire(1, (_NXM1, 26), None, full=3),
    "nw_ttl": _wire(1, (_NXM1, 29), (_NXM1, 29), maskable=False),
    "nw_proto": _wire(1, (_OXM, 10), None, maskable=False),
    "tcp_src": _wire(2, (_OXM, 13), (_NXM0, 9)),
    "tcp_dst": _wire(2, (_OXM, 14), (_NXM0, 10)),
    "tcp_flags": Wire(_EXPERIMENTER << 16 | 42 << 9 | 6, None, 2, 0xFFFF, maskable=True, whose=_ONF.to_bytes(4)),
    "udp_src": _wire(2, (_OXM, 15), (_NXM0, 11)),
    "udp_dst": _wire(2, (_OXM, 16), (_NXM0, 12)),
    "sctp_src": _wire(2, (_OXM, 17), (_OXM, 17)),
    "sctp_dst": _wire(2, (_OXM, 18), (_OXM, 18)),
    "icmp_type": _wire(1, (_OXM, 19), (_NXM0, 13), maskable=False),
    "icmp_code": _wire(1, (_OXM, 20), (_NXM0, 14), maskable=False),
    "icmpv6_type": _wire(1, (_OXM, 29), (_NXM1, 21), maskable=False),
    "icmpv6_code": _wire(1, (_OXM, 30), (_NXM1, 22), maskable=False),
    "nd_reserved": _wire(4, (_ERICSSON, 1), (_ERICSSON, 1), maskable=False),
    "nd_target": _wire(16, (_OXM, 31), (_NXM1, 23)),
    "nd_options_type": _wire(1, (_ERICSSON, 2), (_ERICSSON, 2), maskable=False),
    "nd_sll": _wire(6, (_OXM, 32), (_NXM1, 24)),
    "nd_tll": _wire(6, (_OXM, 33), (_NXM1, 25)),
    "arp_op": _wire(2, (_OXM, 21), (_NXM0, 15), maskable=False),
    "arp_spa": _wire(4, (_OXM, 22), (_NXM0, 16)),
    "arp_tpa": _wire(4, (_OXM, 23), (_NXM0, 17)),
    "arp_sha": _wire(6, (_OXM, 24), (_NXM1, 17)),
    "arp_tha": _wire(6, (_OXM, 25), (_NXM1, 18)),
    "tun_id": _wire(8, (_OXM, 38), (_NXM1, 16)),
    "tun_src": _wire(4, (_NXM1, 31), (_NXM1, 31)),
    "tun_dst": _wire(4, (_NXM1, 32), (_NXM1, 32)),
    "tun_ipv6_src": _wire(16, (_NXM1, 109), (_NXM1, 109)),
    "tun_ipv6_dst": _wire(16, (_NXM1, 110), (_NXM1, 110)),
    **{f"reg{n}": _wire(4, (_NXM1, n), (_NXM1, n)) for n in range(16)},
    "xxreg3": _wire(16, (_NXM1, 114), (_NXM1, 114)),
    "ct_state": _wire(4, (_NXM1, 105), None),
    "ct_zone": _wire(2, (_NXM1, 106), None, maskable=False),
    "ct_mark": _wire(4, (_NXM1, 107), (_NXM1, 107)),
    "ct_label": _wire(16, (_NXM1, 108), (_NXM1, 108)),
    "ct_nw_src": _wire(4, (_NXM1, 120), None),
    "ct_nw_dst": _wire(4, (_NXM1, 121), None),
    "ct_ipv6_src": _wire(16, (_NXM1, 122), None),
    "ct_ipv6_dst": _wire(16, (_NXM1, 123), None),
    "ct_nw_proto": _wire(1, (_NXM1, 119), None, maskable=False),
    "ct_tp_src": _wire(2, (_NXM1, 124), None),
    "ct_tp_dst": _wire(2, (_NXM1, 125), None),
}
"""Every field by its name in ovs-fields(7), in the order in which OVS writes a match."""

_PLACES: Final = {name: (place, 8 * wire.size) for place, (name, wire) in enumerate(WIRES.items())}
_BY_PLACE: Final = tuple(WIRES.items())
SPLIT: Final = {"xxreg3": ("reg12", "reg13", "reg14", "reg15")}
"""What OVS writes as four fields in a match, the most significant first; a set or a move takes it whole."""
_OFPMT_OXM: Final = 1
_ZEROS: Final = bytes(8)


def encode_match(match: Match) -> bytes:
    """A whole ofp_match (section 7.2.2), padded; parts of one register become one field. Raises Undeclared."""
    # For each field one number: its value, and in as many lower bits its mask: so parts can be ORed together.
    found: dict[int, int] = {}
    for field, value, mask in match.tests:
        wire, shift = field.wire, field.shift
        if wire in SPLIT:
            for n, part in enumerate(reversed(SPLIT[wire])):
                word = value >> 32 * n & 0xFFFFFFFF
                found[_PLACES[part][0]] = word << 32 | mask >> 32 * n & 0xFFFFFFFF
            continue
        try:
            place, bits = _PLACES[wire]
        except KeyError:
            raise Undeclared("The encoder", "field", wire) from None
        found[place] = found.get(place, 0) | (value << bits | mask) << shift
    oxms = b"".join([_oxm(place, found[place]) for place in sorted(found)])
    length = 4 + len(oxms)
    return (_OFPMT_OXM << 16 | length).to_bytes(4) + oxms + _ZEROS[: -length % 8]


def _oxm(place: int, masked: int) -> bytes:
    name, wire = _BY_PLACE[place]
    bits = 8 * wire.size
    mask = masked & (1 << bits) - 1
    if mask == wire.full and not wire.whose:
        return (wire.test << bits | masked >> bits).to_bytes(4 + wire.size)
    if not mask:
        return b""
    if not wire.maskable or mask & ~wire.full:
        raise Undeclared("The encoder", f"the mask {mask:#x} of", name)
    header = (wire.test | _HAS_MASK) + wire.size  # the length counts the mask too
    if wire.whose:
        return header.to_bytes(4) + wire.whose + masked.to_bytes(2 * wire.size)
    return (header << 2 * bits | masked).to_bytes(4 + 2 * wire.size)


_NAMES: Final = {wire.test >> 9: name for name, wire in WIRES.items()}


_DSCP, _ECN = (0x8000 << 7 | number for number in (8, 9))
_TOLD: Final = {**_NAMES, _DSCP: "ip_dscp", _ECN: "ip_ecn"}
"""What others test for, too, and Weft only tells (section 7.2.3.7)."""


def tests_of(match: bytes) -> Iterator[tuple[str, int, int]]:
    """Field, value and mask of each test of an ofp_match, but for fields that Weft does not use. No byte raises."""
    at, end = 4, min(len(match), int.from_bytes(match[2:4]))
    while at + 4 <= end:
        header = int.from_bytes(match[at : at + 4])
        size = header & 0xFF
        found = match[at + 4 : at + 4 + size]
        if (name := _NAMES.get(header >> 9)) is not None:
            half = size // 2 if header & _HAS_MASK else size
            mask = int.from_bytes(found[half:]) if header & _HAS_MASK else WIRES[name].full
            yield name, int.from_bytes(found[:half]), mask
        at += 4 + size


def tests_text(match: bytes) -> Iterator[str]:
    """Each test of an ofp_match. What a switch sent need not make sense: no byte of it raises."""
    at, end = 4, min(len(match), int.from_bytes(match[2:4]))
    while at + 4 <= end:
        header = int.from_bytes(match[at : at + 4])
        size = header & 0xFF
        value = match[at + 4 : at + 4 + size][4 if header >> 16 == _EXPERIMENTER else 0 :]
        parts = (value[: len(value) // 2], value[len(value) // 2 :]) if header & _HAS_MASK else (value,)
        name = _TOLD.get(header >> 9, f"oxm_{header >> 16:x}_{header >> 9 & 0x7F}")
        shown = (str(int.from_bytes(part)) if name == "in_port" else "0x" + part.hex() for part in parts)
        yield f"{name}={'/'.join(shown)}"
        at += 4 + size
