"""Flows and groups as OpenFlow 1.4 bytes, in the very form in which Open vSwitch reads them back.

A dump can therefore be compared with what should be there byte by byte, undecoded: a restart sends nothing, and a
flow that was altered by hand is seen. The form is that of OVS 3.1: fields in the order of its `nx_put_raw`, whole
fields set by OFPAT_SET_FIELD, some bits by NXAST_REG_LOAD (ovs-actions(7)). `messages` has the rest of the protocol.
os-ken is not needed to run: it is the second opinion of the tests.

    match          ofp_match header (4) | OXM (4 + 1..32)... | zeros up to a multiple of 8
    instructions   apply-actions (8) | action (a multiple of 8)... | goto-table (8); either may be absent
    cookie         0xA7 (8 bits) | app (8) | BLAKE2b of table, priority, match and instructions (48)

Limits: only what `controller.flows` declares; a field or action that is not in the tables below raises Undeclared.
Sections, and names like ofp_match, are those of the OpenFlow Switch Specification 1.4.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import accumulate
from operator import lshift
from struct import Struct, error
from typing import Any, Final, NamedTuple

from controller.errors import SouthboundError, Undeclared
from controller.flows.fields import ipv4_number
from controller.flows.flow import (
    Action,
    Bounce,
    Bucket,
    Commit,
    Conjunction,
    DecrementTtl,
    Field,
    Flow,
    Goto,
    Group,
    GroupKind,
    Match,
    Measure,
    Move,
    Output,
    PopVlan,
    Punt,
    PushVlan,
    Resubmit,
    Set,
    Table,
    Test,
    ToGroup,
    Track,
    Translate,
    Turn,
    Untrack,
    match_text,
)
from controller.flows.pipeline import OWNER
from controller.southbound.messages import (
    BUNDLED,
    MAX_MESSAGE,
    OFPMP_FLOW,
    OFPMP_GROUP_DESC,
    OFPP_ANY,
    OFPP_CONTROLLER,
    OFPP_IN_PORT,
    OFPT_FLOW_MOD,
    OFPT_GROUP_MOD,
    VERSION,
    malformed,
    message,
    multipart_request,
)


class Oversized(SouthboundError):
    """Raised when a group has more buckets, or a flow more actions, than fit into one OpenFlow message."""

    def __init__(self, what: str, parts: str, count: int, fit: int) -> None:
        super().__init__(f"{what} has {count} {parts}, and one OpenFlow message holds {fit}.")
        self.what, self.parts, self.count, self.fit = what, parts, count, fit


class EncodedFlow(NamedTuple):
    """A flow as it stands in a flow-mod and in a dump: a whole padded ofp_match, whole instructions."""

    table: int
    priority: int
    match: bytes
    instructions: bytes
    cookie: int

    @property
    def key(self) -> tuple[int, int, bytes]:
        """What no two flows of one switch share."""
        return (self.table, self.priority, self.match)

    @property
    def text(self) -> str:
        """Its cookie and key for an operator: values are hexadecimal, fields that Weft does not use are numbers."""
        head = f"cookie={self.cookie:#x},table={self.table},priority={self.priority}"
        return ",".join((head, *_tests_text(self.match)))


@dataclass(frozen=True, slots=True)
class EncodedGroup:
    """A group as it stands in a group-mod and in a group description."""

    id: int
    type: int
    buckets: bytes


# ---- fields ---------------------------------------------------------------------------------------------------

_OXM: Final = 0x8000  # OFPXMC_OPENFLOW_BASIC
_NXM0: Final = 0x0000  # the classes of nicira-ext.h
_NXM1: Final = 0x0001
_ERICSSON: Final = 0x1000  # the class of ERICOXM_OF_ICMPV6_ND_*, meta-flow.h
_HAS_MASK: Final = 1 << 8


@dataclass(frozen=True, slots=True)
class _Wire:
    """How a field is written: `test` in a match and a set-field, `move` in register moves and loads.

    Each is an OXM header without mask. A field without `move` can only be tested. `size` is the length of a value in
    bytes, `full` the mask that is written as no mask.
    """

    test: int
    move: int | None
    size: int
    full: int
    maskable: bool


def _wire(
    size: int, test: tuple[int, int], move: tuple[int, int] | None, *, maskable: bool = True, full: int | None = None
) -> _Wire:
    def header(kind: tuple[int, int]) -> int:
        return kind[0] << 16 | kind[1] << 9 | size

    whole = (1 << 8 * size) - 1
    return _Wire(header(test), None if move is None else header(move), size, full or whole, maskable)


_WIRES: Final[Mapping[str, _Wire]] = {
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

_PLACES: Final = {name: (place, 8 * wire.size) for place, (name, wire) in enumerate(_WIRES.items())}
_BY_PLACE: Final = tuple(_WIRES.items())
_SPLIT: Final = {"xxreg3": ("reg12", "reg13", "reg14", "reg15")}
"""What OVS writes as four fields in a match, the most significant first; a set or a move takes it whole."""
_OFPMT_OXM: Final = 1
_ZEROS: Final = bytes(8)


def encode_match(match: Match) -> bytes:
    """A whole ofp_match (section 7.2.2), padded; parts of one register become one field. Raises Undeclared."""
    # For each field one number: its value, and in as many lower bits its mask: so parts can be ORed together.
    found: dict[int, int] = {}
    for field, value, mask in match.tests:
        wire, shift = field.wire, field.shift
        if wire in _SPLIT:
            for n, part in enumerate(reversed(_SPLIT[wire])):
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
    if mask == wire.full:
        return (wire.test << bits | masked >> bits).to_bytes(4 + wire.size)
    if not mask:
        return b""
    if not wire.maskable or mask & ~wire.full:
        raise Undeclared("The encoder", f"the mask {mask:#x} of", name)
    header = (wire.test | _HAS_MASK) + wire.size  # the length counts the mask too
    return (header << 2 * bits | masked).to_bytes(4 + 2 * wire.size)


_NAMES: Final = {wire.test >> 9: name for name, wire in _WIRES.items()}


def _tests_text(match: bytes) -> Iterator[str]:
    """Each test of an ofp_match. What a switch sent need not make sense: no byte of it raises."""
    at, end = 4, min(len(match), int.from_bytes(match[2:4]))
    while at + 4 <= end:
        header = int.from_bytes(match[at : at + 4])
        size = header & 0xFF
        value = match[at + 4 : at + 4 + size]
        parts = (value[: size // 2], value[size // 2 :]) if header & _HAS_MASK else (value,)
        name = _NAMES.get(header >> 9, f"oxm_{header >> 16:x}_{header >> 9 & 0x7F}")
        shown = (str(int.from_bytes(part)) if name == "in_port" else "0x" + part.hex() for part in parts)
        yield f"{name}={'/'.join(shown)}"
        at += 4 + size


# ---- actions --------------------------------------------------------------------------------------------------

_OFPAT_OUTPUT: Final = 0  # ofp_action_type
_OFPAT_PUSH_VLAN: Final = 17
_OFPAT_POP_VLAN: Final = 18
_OFPAT_GROUP: Final = 22
_OFPAT_DEC_NW_TTL: Final = 24
_OFPAT_SET_FIELD: Final = 25
_OFPAT_EXPERIMENTER: Final = 0xFFFF
_NX: Final = 0x00002320  # NX_VENDOR_ID
_NXAST_REG_MOVE: Final = 6  # nx_action_subtype
_NXAST_REG_LOAD: Final = 7
_NXAST_RESUBMIT_TABLE: Final = 14
_NXAST_CONJUNCTION: Final = 34
_NXAST_CT: Final = 35
_NXAST_NAT: Final = 36
_NXAST_CT_CLEAR: Final = 43
_NXAST_CHECK_PKT_LARGER: Final = 49
_NX_CT_F_COMMIT: Final = 1
_NX_CT_RECIRC_NONE: Final = 0xFF
_OFPP_IN_PORT_16: Final = 0xFFF8  # the in_port of NXAST_RESUBMIT_TABLE has 16 bits; this one means: unchanged

_OUTPUT: Final = Struct("!HHIH6x")
_GROUP: Final = Struct("!HHI")
_DEC_NW_TTL: Final = Struct("!HH4x")
_PUSH_VLAN: Final = Struct("!HHH2x")
_POP_VLAN: Final = Struct("!HH4x")
_VLAN: Final = 0x8100
_NXM_OF_IN_PORT: Final = 2
"""The header of the 16 bits of in_port that an action may write: class 0, field 0."""
_SET_FIELD: Final = Struct("!HHI")
_REG_MOVE: Final = Struct("!HHIHHHHII")
_REG_LOAD: Final = Struct("!HHIHHIQ")
_RESUBMIT: Final = Struct("!HHIHHB3x")
_CONJUNCTION: Final = Struct("!HHIHBBI")
_CT: Final = Struct("!HHIHHIHB5x")
_CT_CLEAR: Final = Struct("!HHIH6x")
_NAT: Final = Struct("!HHIH2xHH")
_NX_NAT_F_SRC: Final = 1
_NX_NAT_F_DST: Final = 2
_NX_NAT_RANGE_IPV4_MIN: Final = 1
_NX_NAT_RANGE_PROTO_MIN: Final = 16
_NX_NAT_RANGE_PROTO_MAX: Final = 32
_CHECK_PKT_LARGER: Final = Struct("!HHIHHHI6x")


def _movable(name: str) -> tuple[_Wire, int]:
    wire = _WIRES.get(name)
    if wire is None or wire.move is None:
        raise Undeclared("The encoder", "setting or moving", name)
    return wire, wire.move


def _set(action: Set) -> bytes:
    """The whole field: OFPAT_SET_FIELD; some bits: NXAST_REG_LOAD, which alone can do that in OpenFlow 1.4."""
    field = action.field
    wire, move = _movable(field.wire)
    if field.partial:
        span = field.shift << 6 | field.bits - 1
        return _REG_LOAD.pack(_OFPAT_EXPERIMENTER, 24, _NX, _NXAST_REG_LOAD, span, move, action.value)
    if wire.full.bit_length() < 8 * wire.size:
        raise Undeclared("The encoder", "setting all of", field.wire)
    length = 8 + wire.size + 7 & ~7
    head = _SET_FIELD.pack(_OFPAT_SET_FIELD, length, wire.test)
    return head + action.value.to_bytes(wire.size) + _ZEROS[: length - 8 - wire.size]


def _move(action: Move) -> bytes:
    source, target = action.source, action.target
    bits = target.bits or target.width
    if bits != (source.bits or source.width):
        raise Undeclared("The encoder", f"a move of another width than {source.name} to", target.name)
    spans = source.shift, target.shift, _movable(source.wire)[1], _movable(target.wire)[1]
    return _REG_MOVE.pack(_OFPAT_EXPERIMENTER, 24, _NX, _NXAST_REG_MOVE, bits, *spans)


def _output(action: Output) -> bytes:
    return _OUTPUT.pack(_OFPAT_OUTPUT, 16, action.port, 0)


def _bounce(_action: Bounce) -> bytes:
    return _OUTPUT.pack(_OFPAT_OUTPUT, 16, OFPP_IN_PORT, 0)


def _punt(action: Punt) -> bytes:
    return _OUTPUT.pack(_OFPAT_OUTPUT, 16, OFPP_CONTROLLER, action.max_bytes)


def _decrement_ttl(_action: DecrementTtl) -> bytes:
    return _DEC_NW_TTL.pack(_OFPAT_DEC_NW_TTL, 8)


def _push_vlan(_action: PushVlan) -> bytes:
    return _PUSH_VLAN.pack(_OFPAT_PUSH_VLAN, 8, _VLAN)


def _pop_vlan(_action: PopVlan) -> bytes:
    return _POP_VLAN.pack(_OFPAT_POP_VLAN, 8)


def _measure(action: Measure) -> bytes:
    target = action.target
    span = target.shift, _movable(target.wire)[1]
    return _CHECK_PKT_LARGER.pack(_OFPAT_EXPERIMENTER, 24, _NX, _NXAST_CHECK_PKT_LARGER, action.bytes, *span)


def _turn(_action: Turn) -> bytes:
    return _REG_LOAD.pack(_OFPAT_EXPERIMENTER, 24, _NX, _NXAST_REG_LOAD, 15, _NXM_OF_IN_PORT, 0)


def _to_group(action: ToGroup) -> bytes:
    return _GROUP.pack(_OFPAT_GROUP, 8, action.id)


def _resubmit(action: Resubmit) -> bytes:
    number = action.table.number
    return _RESUBMIT.pack(_OFPAT_EXPERIMENTER, 16, _NX, _NXAST_RESUBMIT_TABLE, _OFPP_IN_PORT_16, number)


def _conjunction(action: Conjunction) -> bytes:
    """Dimensions count from 0 here, and from 1 in text."""
    k, n = action.k - 1, action.n
    return _CONJUNCTION.pack(_OFPAT_EXPERIMENTER, 16, _NX, _NXAST_CONJUNCTION, k, n, action.id)


def _ct(zone: Field[int], flags: int, table: int, nested: bytes) -> bytes:
    """struct nx_action_conntrack (ofp-actions.c), and the actions in it."""
    _, move = _movable(zone.wire)
    span = zone.shift << 6 | (zone.bits or zone.width) - 1
    length = _CT.size + len(nested)
    return _CT.pack(_OFPAT_EXPERIMENTER, length, _NX, _NXAST_CT, flags, move, span, table) + nested


def _track(action: Track) -> bytes:
    return _ct(action.zone, 0, action.table.number, b"")


def _commit(action: Commit) -> bytes:
    return _ct(action.zone, _NX_CT_F_COMMIT, _NX_CT_RECIRC_NONE, b"".join(map(_encode_action, action.writes)))


def _translate(action: Translate) -> bytes:
    """A `ct` with struct nx_action_nat in it (ofp-actions.c); what is written comes behind."""
    nat = _nat(action)
    writes = b"".join(map(_encode_action, action.writes))
    return _ct(action.zone, _NX_CT_F_COMMIT if action.begins else 0, action.table.number, nat + writes)


def _nat(action: Translate) -> bytes:
    """One address, IPv4; the first port, and the last if it is another one."""
    flags = present = 0
    values = b""
    if address := action.source or action.destination:
        flags = _NX_NAT_F_SRC if action.source else _NX_NAT_F_DST
        present, values = _NX_NAT_RANGE_IPV4_MIN, ipv4_number(address).to_bytes(4)
    first, last = action.ports or (None, None)
    if first is not None and last is not None:
        present, values = present | _NX_NAT_RANGE_PROTO_MIN, values + first.to_bytes(2)
        if last != first:
            present, values = present | _NX_NAT_RANGE_PROTO_MAX, values + last.to_bytes(2)
    length = _NAT.size + len(values) + 7 & ~7
    head = _NAT.pack(_OFPAT_EXPERIMENTER, length, _NX, _NXAST_NAT, flags, present)
    return (head + values).ljust(length, b"\0")


def _untrack(_action: Untrack) -> bytes:
    return _CT_CLEAR.pack(_OFPAT_EXPERIMENTER, 16, _NX, _NXAST_CT_CLEAR)


_ACTIONS: Final[Mapping[type[Any], Callable[[Any], bytes]]] = {
    Set: _set,
    Move: _move,
    Output: _output,
    Bounce: _bounce,
    ToGroup: _to_group,
    Resubmit: _resubmit,
    Track: _track,
    Commit: _commit,
    Translate: _translate,
    Untrack: _untrack,
    DecrementTtl: _decrement_ttl,
    Measure: _measure,
    Turn: _turn,
    Punt: _punt,
    PushVlan: _push_vlan,
    PopVlan: _pop_vlan,
    Conjunction: _conjunction,
}


def _encode_action(action: Action) -> bytes:
    encode = _ACTIONS.get(type(action))
    if encode is None:
        raise Undeclared("The encoder", "action", str(action))
    try:
        return encode(action)
    except (error, OverflowError):
        raise Undeclared("The encoder", "a number in", str(action)) from None


def encode_actions(actions: Iterable[Action]) -> bytes:
    """Actions as a packet-out takes them. Raises Undeclared for what the encoder does not know."""
    return b"".join(map(_encode_action, actions))


# ---- flows ----------------------------------------------------------------------------------------------------

_OFPIT_GOTO_TABLE: Final = 1  # ofp_instruction_type
_OFPIT_APPLY_ACTIONS: Final = 4
_GOTO_TABLE: Final = Struct("!HHB3x")
_APPLY_ACTIONS: Final = Struct("!HH4x")

_OFPFC_ADD: Final = 0  # ofp_flow_mod_command
_OFPFC_DELETE_STRICT: Final = 4
_NO_BUFFER: Final = 0xFFFFFFFF
_OFPG_ANY: Final = 0xFFFFFFFF
_FLOW_MOD: Final = Struct("!BBHIQQBBHHHIIIHH")  # the header, and all up to the match

_PLACE: Final = Struct("!BH")
_HASHER: Final = blake2b(digest_size=6)


def encode_flow(flow: Flow, app: int) -> EncodedFlow:
    """The bytes of a flow of one app (a number of `pipeline.APPS`), remembered with the flow.

    Raises Undeclared for what the encoder does not know, Oversized when the flow's actions fit into no message.
    """
    known = flow.memo
    if isinstance(known, EncodedFlow) and known.cookie >> 48 & 0xFF == app:
        return known
    content, start = _formed(flow) or _spelled(flow)
    hasher = _HASHER.copy()
    hasher.update(content)
    cookie = OWNER << 56 | app << 48 | int.from_bytes(hasher.digest())
    made = EncodedFlow(flow.table.number, flow.priority, content[_PLACE.size : start], content[start:], cookie)
    flow.remember(made)
    return made


def _spelled(flow: Flow) -> tuple[bytes, int]:
    """What of a flow its cookie hashes: table and priority, match, instructions; and where the last begin."""
    match = encode_match(flow.match)
    head = _PLACE.pack(flow.table.number, flow.priority) + match
    return head + _instructions(flow, len(match)), len(head)


def _instructions(flow: Flow, match_length: int) -> bytes:
    """Apply-actions, then goto-table; none for a flow that does nothing, which is a drop."""
    actions = flow.actions
    goto = b""
    if actions and isinstance(actions[-1], Goto):
        goto = _GOTO_TABLE.pack(_OFPIT_GOTO_TABLE, 8, actions[-1].table.number)
        actions = actions[:-1]
    if not actions:
        return goto
    parts = [_encode_action(action) for action in actions]
    taken = _FLOW_MOD.size + match_length + _APPLY_ACTIONS.size + len(goto)
    applied = _joined(parts, taken, flow)
    return _APPLY_ACTIONS.pack(_OFPIT_APPLY_ACTIONS, _APPLY_ACTIONS.size + len(applied)) + applied + goto


def _joined(parts: list[bytes], taken: int, owner: Flow | Group) -> bytes:
    """All parts, if they fit into a message beside `taken` bytes, and that message into a bundle."""
    joined = b"".join(parts)
    room = MAX_MESSAGE - BUNDLED - taken
    if len(joined) <= room:
        return joined
    fit = sum(end <= room for end in accumulate(map(len, parts)))
    if isinstance(owner, Group):
        raise Oversized(f"The group {owner.kind.name} {owner.id:#x}", "buckets", len(parts), fit)
    place = f"table={owner.table.number},priority={owner.priority}"
    raise Oversized(f"The flow {place},{match_text(owner.match)}", "actions", len(parts), fit)


def flow_add(xid: int, flow: EncodedFlow) -> bytes:
    """The message that adds a flow, or gives the one with its key these instructions and this cookie.

    A modification would keep the old cookie (section 6.4).
    """
    table, priority, match, instructions, cookie = flow
    return _flow_mod(xid, _OFPFC_ADD, cookie, table, priority, match + instructions)


def flow_delete(xid: int, table: int, priority: int, match: bytes) -> bytes:
    """The message that removes the one flow with this key, if it is there."""
    return _flow_mod(xid, _OFPFC_DELETE_STRICT, 0, table, priority, match)


def _flow_mod(xid: int, command: int, cookie: int, table: int, priority: int, body: bytes) -> bytes:
    """No mask of cookies, no time-outs, no packet, any port and group, no flags, no importance (ofp_flow_mod)."""
    head = _FLOW_MOD.pack(
        VERSION, OFPT_FLOW_MOD, _FLOW_MOD.size + len(body), xid,
        cookie, 0, table, command, 0, 0, priority, _NO_BUFFER, OFPP_ANY, _OFPG_ANY, 0, 0,
    )  # fmt: skip
    return head + body


# ---- flows of one form ----------------------------------------------------------------------------------------

_Kind = Field[Any] | Table | GroupKind | type[Output] | Action
"""What an action is but for its number: the field of a Set, the table of a Goto, the kind of a ToGroup."""


@dataclass(frozen=True, slots=True)
class _Form:
    """How all flows are written that differ in nothing but numbers: by one addition, in about half the time.

    The content of a flow is itself a number, of `size` bytes: `base` if all that may differ is 0, plus each number that
    the flow has, shifted to its place. `fixed` are the bits where no number may reach. `start` is where instructions
    begin. A form is not written down here but found, by spelling out flows with all bits of one number set.
    """

    base: int
    shifts: tuple[int, ...]
    fixed: int
    size: int
    start: int


def _formed(flow: Flow) -> tuple[bytes, int] | None:
    """As `_spelled`; None for a flow that has no form, or a number that is too large for it."""
    tests = flow.match.tests
    fields, values, masks = zip(*tests, strict=True) if tests else ((), (), ())
    numbers: list[int] = [*values]
    kinds: list[_Kind] = []
    for action in flow.actions:
        if isinstance(action, Goto):
            kinds.append(action.table)
        elif isinstance(action, Set):
            kinds.append(action.field)
            numbers.append(action.value)
        elif isinstance(action, Output):
            kinds.append(Output)
            numbers.append(action.port)
        elif isinstance(action, ToGroup):
            kinds.append(action.kind)
            numbers.append(action.id)
        elif isinstance(action, Conjunction | Translate):
            return None  # hardly two flows would have one form
        else:
            kinds.append(action)
    form = _form(flow.table, flow.reason, fields, masks, tuple(kinds))
    if form is None:
        return None
    content = sum(map(lshift, numbers, form.shifts), form.base)
    return (content.to_bytes(form.size), form.start) if content & form.fixed == form.base else None


@lru_cache(1 << 12)
def _form(
    table: Table, reason: str, fields: tuple[Field[Any], ...], masks: tuple[int, ...], kinds: tuple[_Kind, ...]
) -> _Form | None:
    """The form of the flows of a table that test these fields and do these things; None if a number has several places.

    Raises what encoding one of them raises.
    """
    tops = [*masks, *(top for kind in kinds if (top := _top(kind)))]

    def spelled(numbers: Sequence[int]) -> tuple[bytes, int]:
        left = iter(numbers)
        tests = tuple(Test(field, next(left), mask) for field, mask in zip(fields, masks, strict=True))
        actions = tuple(_action(kind, next(left) if _top(kind) else 0) for kind in kinds)
        return _spelled(Flow(table, reason, Match(tests), actions))

    bare, start = spelled([0] * len(tops))
    base = int.from_bytes(bare)
    fixed = (1 << 8 * len(bare)) - 1
    shifts = []
    for at, top in enumerate(tops):
        full, _ = spelled([top if other == at else 0 for other in range(len(tops))])
        place = int.from_bytes(full) ^ base
        shift = _zeros(place) - _zeros(top)
        if place != top << max(shift, 0):
            return None
        fixed &= ~place
        shifts.append(shift)
    return _Form(base, tuple(shifts), fixed, len(bare), start)


def _zeros(number: int) -> int:
    """How many bits that are 0 a number ends in; none for 0."""
    return max((number & -number).bit_length() - 1, 0)


def _top(kind: _Kind) -> int:
    """All the bits of the number in an action of this kind; 0 when it has none."""
    if isinstance(kind, Field):
        return kind.full
    return 0xFFFFFFFF if kind is Output or isinstance(kind, GroupKind) else 0


def _action(kind: _Kind, number: int) -> Action:
    match kind:
        case Field():
            return Set(kind, number)
        case Table():
            return Goto(kind)
        case GroupKind():
            return ToGroup(number, kind)
        case type():
            return Output(number)
    return kind


# ---- dumps of flows -------------------------------------------------------------------------------------------

_OFPTT_ALL: Final = 0xFF
_FLOW_STATS_REQUEST: Final = Struct("!B3xII4xQQ")
_FLOW_STATS: Final = Struct("!HBx8xH10xQ16xHH")  # up to the length of the match
_FLOW_STATS_BYTES: Final = 48  # up to the match
_MATCH_BYTES: Final = 8  # of the shortest one


def flow_dump_request(xid: int) -> bytes:
    """Which flows have you? (Section 7.3.5, OFPMP_FLOW.)"""
    wanted = _FLOW_STATS_REQUEST.pack(_OFPTT_ALL, OFPP_ANY, _OFPG_ANY, 0, 0)
    return multipart_request(OFPMP_FLOW, xid, wanted + encode_match(Match()))


def skim_flows(payload: bytes) -> Iterator[EncodedFlow]:
    """The flows in the payload of one flow dump reply, undecoded. Raises Malformed."""
    unpack, at, end = _FLOW_STATS.unpack_from, 0, len(payload)
    while at + _FLOW_STATS_BYTES + _MATCH_BYTES <= end:
        length, table, priority, cookie, _, match_length = unpack(payload, at)
        match = at + _FLOW_STATS_BYTES
        instructions = match + (match_length + 7 & ~7)
        after = at + length
        if not match < instructions <= after <= end:
            raise malformed(f"a flow of {length} bytes with a match of {match_length} has {end - at} bytes")
        yield EncodedFlow(table, priority, payload[match:instructions], payload[instructions:after], cookie)
        at = after
    if at != end:
        raise malformed(f"a flow ends after {end - at} bytes")


# ---- groups ---------------------------------------------------------------------------------------------------

_OFPGC_ADD: Final = 0  # ofp_group_mod_command
_OFPGC_MODIFY: Final = 1
_OFPGC_DELETE: Final = 2
_OFPGC_ADD_OR_MOD: Final = 0x8000  # Open vSwitch's own since 2.6 (openflow-1.1.h)
_OFPGT_ALL: Final = 0
_OFPGT_SELECT: Final = 1
_OFPGT_FF: Final = 3
_GROUP_MOD: Final = Struct("!HBxI")
_BUCKET: Final = Struct("!HHII4x")
_GROUP_MOD_BYTES: Final = 8 + _GROUP_MOD.size  # up to the buckets
_GROUP_DESC: Final = Struct("!HBxI")


def encode_group(group: Group) -> EncodedGroup:
    """The bytes of a group. Raises Oversized when its buckets fit into no message."""
    kind = group.kind
    buckets = [_bucket(bucket, weight=int(kind.chooses)) for bucket in group.buckets]
    type = _OFPGT_FF if kind.fails_over else _OFPGT_SELECT if kind.chooses else _OFPGT_ALL
    return EncodedGroup(group.id, type, _joined(buckets, _GROUP_MOD_BYTES, group))


def _bucket(bucket: Bucket, weight: int) -> bytes:
    """No group is watched (ofp_bucket); only one that chooses may have weights, which here are all alike."""
    actions = encode_actions(bucket.actions)
    watched = OFPP_ANY if bucket.watch is None else bucket.watch
    return _BUCKET.pack(_BUCKET.size + len(actions), weight, watched, _OFPG_ANY) + actions


def group_add(xid: int, group: EncodedGroup) -> bytes:
    """The message that adds a group whose id is free."""
    return _group_mod(xid, _OFPGC_ADD, group)


def group_modify(xid: int, group: EncodedGroup) -> bytes:
    """The message that gives a group other buckets."""
    return _group_mod(xid, _OFPGC_MODIFY, group)


def group_put(xid: int, group: EncodedGroup) -> bytes:
    """The message that makes a group what `group` says, whether it is there or not; Open vSwitch only."""
    return _group_mod(xid, _OFPGC_ADD_OR_MOD, group)


def group_delete(xid: int, id: int) -> bytes:
    """The message that removes a group, if it is there, and every flow that points to it (OFPGC_DELETE)."""
    return _group_mod(xid, _OFPGC_DELETE, EncodedGroup(id, _OFPGT_ALL, b""))


def _group_mod(xid: int, command: int, group: EncodedGroup) -> bytes:
    return message(OFPT_GROUP_MOD, xid, _GROUP_MOD.pack(command, group.type, group.id) + group.buckets)


def group_desc_request(xid: int) -> bytes:
    """Which groups have you? (Section 7.3.5, OFPMP_GROUP_DESC.)"""
    return multipart_request(OFPMP_GROUP_DESC, xid)


def skim_groups(payload: bytes) -> Iterator[EncodedGroup]:
    """The groups in the payload of one group description reply, undecoded. Raises Malformed."""
    at, end = 0, len(payload)
    while at + _GROUP_DESC.size <= end:
        length, kind, id = _GROUP_DESC.unpack_from(payload, at)
        after = at + length
        if length < _GROUP_DESC.size or after > end:
            raise malformed(f"a group of {length} bytes has {end - at} bytes")
        yield EncodedGroup(id, kind, payload[at + _GROUP_DESC.size : after])
        at = after
    if at != end:
        raise malformed(f"a group ends after {end - at} bytes")
