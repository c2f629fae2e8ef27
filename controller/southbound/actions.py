"""Actions as OpenFlow 1.4 bytes, in the very form in which Open vSwitch reads them back: whole fields are set by
OFPAT_SET_FIELD, some bits by NXAST_REG_LOAD (ovs-actions(7)).

Limits: an action, or a field to be set or moved, that is not in the tables below and in `oxm` raises Undeclared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from struct import Struct, error
from typing import Any, Final

from controller.errors import Undeclared
from controller.flows.action import (
    Action,
    Apart,
    Bounce,
    Commit,
    Conjunction,
    DecrementTtl,
    Measure,
    Move,
    Output,
    PopVlan,
    Punt,
    PushVlan,
    Resubmit,
    ToGroup,
    Track,
    Translate,
    Turn,
    Untrack,
)
from controller.flows.fields import ipv4_number
from controller.flows.match import Field, Set
from controller.southbound.messages import OFPP_CONTROLLER, OFPP_IN_PORT
from controller.southbound.oxm import WIRES, Wire

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
_NXAST_CLONE: Final = 42
_NXAST_CT_CLEAR: Final = 43
_NXAST_CHECK_PKT_LARGER: Final = 49
_NX_CT_F_COMMIT: Final = 1
_NX_CT_F_FORCE: Final = 2
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
_CLONE: Final = Struct("!HHIH6x")
_CT_CLEAR: Final = Struct("!HHIH6x")
_NAT: Final = Struct("!HHIH2xHH")
_NX_NAT_F_SRC: Final = 1
_NX_NAT_F_DST: Final = 2
_NX_NAT_RANGE_IPV4_MIN: Final = 1
_NX_NAT_RANGE_PROTO_MIN: Final = 16
_NX_NAT_RANGE_PROTO_MAX: Final = 32
_CHECK_PKT_LARGER: Final = Struct("!HHIHHHI6x")


def _movable(name: str) -> tuple[Wire, int]:
    wire = WIRES.get(name)
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
    return head + action.value.to_bytes(wire.size) + bytes(length - 8 - wire.size)


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
    flags = _NX_CT_F_COMMIT | _NX_CT_F_FORCE * action.force
    return _ct(action.zone, flags, action.table.number, encode_actions(action.writes))


def _apart(action: Apart) -> bytes:
    nested = encode_actions(action.actions)
    return _CLONE.pack(_OFPAT_EXPERIMENTER, _CLONE.size + len(nested), _NX, _NXAST_CLONE) + nested


def _translate(action: Translate) -> bytes:
    """A `ct` with struct nx_action_nat in it (ofp-actions.c); what is written comes behind."""
    inner = _nat(action) + encode_actions(action.writes)
    return _ct(action.zone, _NX_CT_F_COMMIT if action.begins else 0, action.table.number, inner)


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
    Apart: _apart,
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


def encode_actions(actions: Iterable[Action]) -> bytes:
    """Actions one behind another. Raises Undeclared."""
    return b"".join(map(encode_action, actions))


def encode_action(action: Action) -> bytes:
    """One action, padded to a multiple of 8 bytes. Raises Undeclared."""
    encode = _ACTIONS.get(type(action))
    if encode is None:
        raise Undeclared("The encoder", "action", str(action))
    try:
        return encode(action)
    except (error, OverflowError):
        raise Undeclared("The encoder", "a number in", str(action)) from None
