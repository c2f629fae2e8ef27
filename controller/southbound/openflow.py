"""Flows and groups as OpenFlow 1.4 bytes, in the very form in which Open vSwitch reads them back.

A dump can therefore be compared with what should be there byte by byte, undecoded: a restart sends nothing, and a
flow that was altered by hand is seen. The form is that of OVS 3.1. os-ken is not needed to run: it is the second
opinion of the tests.

    match, instructions    see `oxm`, `actions` and `forms`
    cookie                 0xA7 (8 bits) | app (8) | BLAKE2b of table, priority, match and instructions (48)

`messages` has the rest of the protocol. Limits: only what `controller.flows` declares; a field or action that `oxm` and
`actions` do not know raises Undeclared. Sections, and names like ofp_match, are those of the OpenFlow Switch
Specification 1.4.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from operator import lshift
from struct import Struct
from typing import Final, NamedTuple, cast

from controller.errors import Oversized
from controller.flows.flow import Bucket, Flow, Group
from controller.flows.match import ANY
from controller.flows.pipeline import OWNER
from controller.southbound.actions import encode_actions
from controller.southbound.forms import fitting, spelled, template
from controller.southbound.messages import (
    OFPMP_FLOW,
    OFPMP_GROUP_DESC,
    OFPP_ANY,
    OFPT_FLOW_MOD,
    OFPT_GROUP_MOD,
    VERSION,
    malformed,
    message,
    multipart_request,
)
from controller.southbound.oxm import encode_match, tests_text


class EncodedFlow(NamedTuple):
    """A flow as it stands in a flow-mod and in a dump.

    `body` is a whole padded ofp_match, and behind it, from `start` on, whole instructions.
    """

    table: int
    priority: int
    body: bytes
    start: int
    cookie: int

    @classmethod
    def of(cls, table: int, priority: int, match: bytes, instructions: bytes, cookie: int) -> EncodedFlow:
        """The flow with this match and these instructions."""
        return cls(table, priority, match + instructions, len(match), cookie)

    @property
    def match(self) -> bytes:
        """What it matches."""
        return self.body[: self.start]

    @property
    def instructions(self) -> bytes:
        """What it does."""
        return self.body[self.start :]

    @property
    def key(self) -> tuple[int, int, bytes]:
        """What no two flows of one switch share."""
        table, priority, body, start, _ = self
        return (table, priority, body[:start])

    @property
    def text(self) -> str:
        """Its cookie and key for an operator: values are hexadecimal, fields that Weft does not use are numbers."""
        head = f"cookie={self.cookie:#x},table={self.table},priority={self.priority}"
        return ",".join((head, *tests_text(self.match)))


@dataclass(frozen=True, slots=True)
class EncodedGroup:
    """A group as it stands in a group-mod and in a group description."""

    id: int
    type: int
    buckets: bytes


# ---- flows ----------------------------------------------------------------------------------------------------

_OFPFC_DELETE_STRICT: Final = 4  # ofp_flow_mod_command
_OFPG_ANY: Final = 0xFFFFFFFF
_FLOW_ADD: Final = Struct("!HHIQ8xBx4xH12s4x")
_FLOW_DELETE: Final = Struct("!HHI8x8xBB4xH12s4x")
"""A header, and a flow-mod up to its match (section 7.3.4.2). Zeros are: no mask of cookies, OFPFC_ADD, no time-outs,
no flags, no importance."""
_FLOW_MOD_BYTES: Final = 48
_HEAD: Final = VERSION << 8 | OFPT_FLOW_MOD
_ANY: Final = b"\xff" * 12  # no packet, any port, any group

_OWNED: Final = OWNER << 56
_number: Final = int.from_bytes
_set: Final = object.__setattr__
_tuple: Final = tuple.__new__  # a NamedTuple's own constructor takes twice as long


_ONCE: Final = object()
"""The memo of a flow that was encoded once."""


def encode_flow(flow: Flow, app: int) -> EncodedFlow:
    """The bytes of a flow of one app (a number of `pipeline.APPS`).

    They are remembered with the flow once it is encoded for the second time: most are held by one switch alone, and the
    bytes would be three times as large as the flow.

    Raises Undeclared for what the encoder does not know, Oversized when the flow's actions fit into no message.
    """
    known = flow.memo
    if known is not None and isinstance(known, EncodedFlow) and known.cookie >> 48 & 0xFF == app:
        return known
    table, priority, seed, base, shifts, fixed, size, start = template(flow.form)
    content = sum(map(lshift, flow.numbers, shifts), base)
    if size and content & fixed == base:
        body = content.to_bytes(size)
    else:
        body, start = spelled(flow)
    hasher = seed.copy()
    hasher.update(body)
    made = _tuple(EncodedFlow, (table, priority, body, start, _OWNED | app << 48 | _number(hasher.digest())))
    _set(flow, "memo", made if known is not None else _ONCE)
    return made


def flow_add(xid: int, flow: EncodedFlow) -> bytes:
    """The message that adds a flow, or gives the one with its key these instructions and this cookie.

    A modification would keep the old cookie (section 6.4).
    """
    table, priority, body, _, cookie = flow
    return _FLOW_ADD.pack(_HEAD, _FLOW_MOD_BYTES + len(body), xid, cookie, table, priority, _ANY) + body


def flow_delete(xid: int, table: int, priority: int, match: bytes) -> bytes:
    """The message that removes the one flow with this key, if it is there."""
    length = _FLOW_MOD_BYTES + len(match)
    return _FLOW_DELETE.pack(_HEAD, length, xid, table, _OFPFC_DELETE_STRICT, priority, _ANY) + match


# ---- dumps of flows -------------------------------------------------------------------------------------------

_OFPTT_ALL: Final = 0xFF
_FLOW_STATS_REQUEST: Final = Struct("!B3xII4xQQ")
_FLOW_STATS: Final = Struct("!HBx8xH10xQ16xHH")  # up to the length of the match
_FLOW_STATS_BYTES: Final = 48  # up to the match
_MATCH_BYTES: Final = 8  # of the shortest one


def flow_dump_request(xid: int) -> bytes:
    """Which flows have you? (Section 7.3.5, OFPMP_FLOW.)"""
    wanted = _FLOW_STATS_REQUEST.pack(_OFPTT_ALL, OFPP_ANY, _OFPG_ANY, 0, 0)
    return multipart_request(OFPMP_FLOW, xid, wanted + encode_match(ANY))


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
        yield EncodedFlow(table, priority, payload[match:after], instructions - match, cookie)
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
    fit = fitting(buckets, _GROUP_MOD_BYTES)
    if fit < len(buckets):
        raise Oversized(f"The group {kind.name} {group.id:#x}", "buckets", len(buckets), fit)
    type = _OFPGT_FF if kind.fails_over else _OFPGT_SELECT if kind.chooses else _OFPGT_ALL
    return EncodedGroup(group.id, type, b"".join(buckets))


def _bucket(bucket: Bucket, weight: int) -> bytes:
    """No group is watched (ofp_bucket); only one that chooses may have weights, which here are all alike.

    The bytes are remembered with the bucket: it is of more groups than one, and of those that come after these.
    """
    known = cast("tuple[int, bytes] | None", bucket.memo)
    if known is not None and known[0] == weight:
        return known[1]
    actions = encode_actions(bucket.actions)
    watched = OFPP_ANY if bucket.watch is None else bucket.watch
    made = _BUCKET.pack(_BUCKET.size + len(actions), weight, watched, _OFPG_ANY) + actions
    _set(bucket, "memo", (weight, made))
    return made


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
