"""The messages of an OpenFlow 1.4 session: greeting, liveness, features, ports, bundles, errors, what others do.

What stands in tables and groups is in `openflow`. Functions named after a message build it whole, header included;
`decode_*` take a body, that is a message without its first 8 bytes, and raise `Malformed` when it is cut or lies
about its lengths, and nothing else. Bytes only: sockets, answers and time-outs are `switch`'s.

Sections are those of the OpenFlow Switch Specification 1.4.1; NX errors are Open vSwitch's own (ofp-errors.h).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from struct import Struct, error
from typing import Final, NamedTuple

from controller.errors import Malformed

VERSION: Final = 5
"""OpenFlow 1.4, the only version that is spoken (section 7.1)."""

MAX_MESSAGE: Final = 0xFFFF
"""The longest message, in bytes: its length is a 16-bit number."""

# Section 7.1: ofp_type.
OFPT_HELLO: Final = 0
OFPT_ERROR: Final = 1
OFPT_ECHO_REQUEST: Final = 2
OFPT_ECHO_REPLY: Final = 3
OFPT_EXPERIMENTER: Final = 4
OFPT_FEATURES_REQUEST: Final = 5
OFPT_FEATURES_REPLY: Final = 6
OFPT_SET_CONFIG: Final = 9
OFPT_PACKET_IN: Final = 10
OFPT_FLOW_REMOVED: Final = 11
OFPT_PACKET_OUT: Final = 13
OFPT_PORT_STATUS: Final = 12
OFPT_FLOW_MOD: Final = 14
OFPT_GROUP_MOD: Final = 15
OFPT_MULTIPART_REQUEST: Final = 18
OFPT_MULTIPART_REPLY: Final = 19
OFPT_BARRIER_REQUEST: Final = 20
OFPT_BARRIER_REPLY: Final = 21
OFPT_SET_ASYNC: Final = 28
OFPT_REQUESTFORWARD: Final = 32
OFPT_BUNDLE_CONTROL: Final = 33
OFPT_BUNDLE_ADD_MESSAGE: Final = 34

# Section 7.3.5: ofp_multipart_type.
OFPMP_FLOW: Final = 1
OFPMP_PORT_STATS: Final = 4
OFPMP_GROUP_DESC: Final = 7
OFPMP_METER_CONFIG: Final = 10
OFPMP_PORT_DESC: Final = 13
OFPMP_FLOW_MONITOR: Final = 16
OFPMPF_REPLY_MORE: Final = 1

# Section 7.3.5.15: ofp_flow_update_event, and of ofp_flow_monitor_flags those that are asked for.
OFPFME_INITIAL: Final = 0
OFPFME_ADDED: Final = 1
OFPFME_REMOVED: Final = 2
OFPFME_MODIFIED: Final = 3
OFPFME_ABBREV: Final = 4
OFPFME_PAUSED: Final = 5
OFPFME_RESUMED: Final = 6
_OFPFMF_CHANGES: Final = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4  # ADD, REMOVED, MODIFY, INSTRUCTIONS
_OFPFMC_ADD: Final = 0

# Section 7.3.10: ofp_async_config_prop_type; section 7.4.6: ofp_requestforward_reason.
_OFPACPT_REQUESTFORWARD: Final = (10, 11)  # as a slave, as a master or equal
_OFPRFR_GROUP_MOD: Final = 0
OFPG_ALL: Final = 0xFFFFFFFC
OFPG_ANY: Final = 0xFFFFFFFF
_OFPTT_ALL: Final = 0xFF

# Section 7.3.9: ofp_bundle_ctrl_type and ofp_bundle_flags.
OFPBCT_OPEN_REQUEST: Final = 0
OFPBCT_OPEN_REPLY: Final = 1
OFPBCT_COMMIT_REQUEST: Final = 4
OFPBCT_COMMIT_REPLY: Final = 5
OFPBF_ATOMIC: Final = 1
OFPBF_ORDERED: Final = 2
_BUNDLE_FLAGS: Final = OFPBF_ATOMIC | OFPBF_ORDERED

# Section 7.4.3: ofp_port_reason. Section 7.2.1: ofp_port_config, ofp_port_state, ofp_port_no.
OFPPR_ADD: Final = 0
OFPPR_DELETE: Final = 1
OFPPR_MODIFY: Final = 2
OFPPC_PORT_DOWN: Final = 1
OFPPS_LINK_DOWN: Final = 1
OFPP_CONTROLLER: Final = 0xFFFFFFFD
OFPP_IN_PORT: Final = 0xFFFFFFF8
OFPP_LOCAL: Final = 0xFFFFFFFE
OFPP_ANY: Final = 0xFFFFFFFF

_HEADER: Final = Struct("!BBHI")
_HELLO_ELEMENT: Final = Struct("!HH")
_OFPHET_VERSIONBITMAP: Final = 1
_MULTIPART: Final = Struct("!HH4x")
_FEATURES: Final = Struct("!QIBB2xI4x")
_PORT: Final = Struct("!IH2x6s2x16sII")
_PORT_NUMBER: Final = Struct("!I4x")
_PORT_STATS: Final = Struct("!H2xI8x8xQ8xQ")  # up to tx_bytes
_CONFIG: Final = Struct("!HH")
_METER_ID: Final = Struct("!I4x")
_METER_CONFIG: Final = Struct("!HHI")
_OFPM_ALL: Final = 0xFFFFFFFF
_OFPC_FRAG_NX_MATCH: Final = 3  # ovs-ofctl(8), set-frags: nx-match
_OFP_DEFAULT_MISS_SEND_LEN: Final = 128
_OFPMT_OXM: Final = 1
_PORT_REASON: Final = Struct("!B7x")
_BUNDLE_CONTROL: Final = Struct("!IHH")
_BUNDLED: Final = Struct("!BBHII2xH")  # a header, and what a bundle's message has before the message in it
_NUMBERS: Final = Struct("!II")  # a header's xid, and the bundle's id behind it
_XID: Final = Struct("!I")
_ERROR: Final = Struct("!HH")
_FLOW_MONITOR: Final = Struct("!IIIHBBHH4x")  # with a match of everything
_FLOW_UPDATE: Final = Struct("!HH")
_FLOW_UPDATE_SHORT: Final = 8
_FLOW_UPDATE_FULL: Final = Struct("!HHBxHHH4xQHH")  # with the head of the match
_FLOW_UPDATE_MATCH: Final = 24  # where the match begins
_MATCH_BYTES: Final = 8  # of the shortest one
_ASYNC_PROPERTY: Final = Struct("!HHI")
_GROUP_MOD: Final = Struct("!HBxI")
_NX: Final = 0x00002320
_NXT_CT_FLUSH_ZONE: Final = 29
_CT_FLUSH_ZONE: Final = Struct("!II6xH")
_NXT_CT_FLUSH: Final = 32
_CT_FLUSH: Final = Struct("!IIB7x HH4x HH10xH4s4x HHH2x HHH2x")  # nested in NXT_CT_ORIG_TUPLE: an address, a port
_NXT_CT_ORIG_TUPLE, _NXT_CT_ZONE_ID = 0, 2
_NXT_CT_TUPLE_DST, _NXT_CT_TUPLE_DST_PORT = 1, 3
_IPV4_MAPPED: Final = 0xFFFF  # RFC 4291 section 2.5.5.2

_PACKET_IN: Final = Struct("!IHBBQHH")  # with the head of the match
_PACKET_OUT: Final = Struct("!IIH6x")
_OUTPUT: Final = Struct("!HHIH6x")
_NO_BUFFER: Final = 0xFFFFFFFF
_OXM_IN_PORT: Final = 0x80000004
_NXM_REGISTER: Final = 0x00010004  # nicira-ext.h, NXM_NX_REG0
_OXM_FIELD: Final = 0x7F << 9
_REGISTERS: Final = 16

BUNDLED: Final = _BUNDLED.size
"""How many bytes a bundle wraps around a message."""


def malformed(reason: str) -> Malformed:
    """The error of a decoder: it does not know which switch it reads."""
    return Malformed("The switch", reason)


def _read(layout: Struct, data: bytes | bytearray, at: int, what: str) -> tuple[int, ...]:
    """The numbers of a layout. Raises Malformed when the data ends within it."""
    try:
        return layout.unpack_from(data, at)
    except error:
        raise malformed(f"{what} ends after {len(data) - at} of {layout.size} bytes") from None


def message(kind: int, xid: int, body: bytes = b"") -> bytes:
    """A whole message of type `kind`."""
    return _HEADER.pack(VERSION, kind, _HEADER.size + len(body), xid) + body


class Header(NamedTuple):
    """The first 8 bytes of every message (section 7.1); `length` counts them too."""

    version: int
    type: int
    length: int
    xid: int


def header(data: bytes | bytearray) -> Header:
    """The header that `data` starts with."""
    found = Header(*_read(_HEADER, data, 0, "a header"))
    if found.length < _HEADER.size:
        raise malformed(f"a message of {found.length} bytes is shorter than its own header")
    return found


def hello(xid: int) -> bytes:
    """A greeting whose version bitmap holds 1.4 alone (section 7.5.1): without it a switch may choose another."""
    element = _HELLO_ELEMENT.pack(_OFPHET_VERSIONBITMAP, _HELLO_ELEMENT.size + 4)
    return message(OFPT_HELLO, xid, element + (1 << VERSION).to_bytes(4))


def hello_versions(body: bytes) -> frozenset[int]:
    """The versions in a greeting's bitmap; none when it has no bitmap, and its header's version is the highest."""
    versions: set[int] = set()
    at = 0
    while at < len(body):
        kind, length = _read(_HELLO_ELEMENT, body, at, "a hello element")
        element = body[at + _HELLO_ELEMENT.size : at + length]
        if length < _HELLO_ELEMENT.size or at + length > len(body):
            raise malformed(f"a hello element claims {length} bytes of {len(body) - at}")
        if kind == _OFPHET_VERSIONBITMAP:
            words = [int.from_bytes(element[word : word + 4]) for word in range(0, len(element) - 3, 4)]
            versions |= {32 * n + bit for n, word in enumerate(words) for bit in range(32) if word >> bit & 1}
        at += _padded(length)
    return frozenset(versions)


def _padded(length: int) -> int:
    return length + 7 & ~7


def echo_request(xid: int, payload: bytes = b"") -> bytes:
    """Are you there? (Section 7.5.2.)"""
    return message(OFPT_ECHO_REQUEST, xid, payload)


def echo_reply(xid: int, payload: bytes = b"") -> bytes:
    """The answer to the echo request with this xid and payload (section 7.5.3)."""
    return message(OFPT_ECHO_REPLY, xid, payload)


def features_request(xid: int) -> bytes:
    """Who are you? (Section 7.3.1.)"""
    return message(OFPT_FEATURES_REQUEST, xid)


@dataclass(frozen=True, slots=True)
class Features:
    """What a switch says of itself (section 7.3.1)."""

    datapath_id: int
    n_buffers: int
    n_tables: int
    auxiliary_id: int
    capabilities: int


def decode_features(body: bytes) -> Features:
    """The body of a features reply."""
    return Features(*_read(_FEATURES, body, 0, "a features reply"))


def read_first_fragments(xid: int) -> bytes:
    """Let flows see ports, and types of ICMP, in the first fragment of a datagram, which bears them (section 7.3.2).

    Unless told so, Open vSwitch takes them for 0 in every fragment, and what is to be dropped by them passes in two.
    """
    return message(OFPT_SET_CONFIG, xid, _CONFIG.pack(_OFPC_FRAG_NX_MATCH, _OFP_DEFAULT_MISS_SEND_LEN))


def barrier_request(xid: int) -> bytes:
    """Answer when everything before this is done (section 7.3.7)."""
    return message(OFPT_BARRIER_REQUEST, xid)


def multipart_request(kind: int, xid: int, body: bytes = b"") -> bytes:
    """A request of multipart type `kind` (section 7.3.5)."""
    return message(OFPT_MULTIPART_REQUEST, xid, _MULTIPART.pack(kind, 0) + body)


class Multipart(NamedTuple):
    """One message of a multipart reply: `more` follow when it is true; `payload` is what `skim_*` and such read."""

    type: int
    more: bool
    payload: bytes


def decode_multipart(body: bytes) -> Multipart:
    """The body of a multipart reply."""
    kind, flags = _read(_MULTIPART, body, 0, "a multipart reply")
    return Multipart(kind, bool(flags & OFPMPF_REPLY_MORE), body[_MULTIPART.size :])


def port_desc_request(xid: int) -> bytes:
    """Which ports have you? (Section 7.3.5, OFPMP_PORT_DESC.)"""
    return multipart_request(OFPMP_PORT_DESC, xid)


@dataclass(frozen=True, slots=True)
class PortDesc:
    """A port of a switch (section 7.2.1); `mac` is written with colons."""

    number: int
    name: str
    mac: str
    config: int
    state: int


def decode_ports(payload: bytes) -> tuple[PortDesc, ...]:
    """The payload of one port description reply."""
    ports = []
    at = 0
    while at < len(payload):
        port, length = _port(payload, at)
        ports.append(port)
        at += length
    return tuple(ports)


def decode_port_status(body: bytes) -> tuple[int, PortDesc]:
    """The body of a port status message (section 7.4.3): what happened (OFPPR_*), and the port now."""
    (reason,) = _read(_PORT_REASON, body, 0, "a port status")
    port, _ = _port(body, _PORT_REASON.size)
    return reason, port


def _port(data: bytes, at: int) -> tuple[PortDesc, int]:
    try:
        number, length, mac, name, config, state = _PORT.unpack_from(data, at)
    except error:
        raise malformed(f"a port ends after {len(data) - at} of {_PORT.size} bytes") from None
    if not _PORT.size <= length <= len(data) - at:
        raise malformed(f"port {number} claims {length} bytes of {len(data) - at}")
    text = name.partition(b"\0")[0].decode(errors="backslashreplace")
    return PortDesc(number, text, mac.hex(":"), config, state), length


def port_stats_request(xid: int, port: int) -> bytes:
    """What did you count at this port? (Section 7.3.5.6, OFPMP_PORT_STATS.)"""
    return multipart_request(OFPMP_PORT_STATS, xid, _PORT_NUMBER.pack(port))


class Transmitted(NamedTuple):
    """What a switch has sent out of a port since that is there."""

    packets: int
    bytes: int


def decode_port_stats(payload: bytes) -> dict[int, Transmitted]:
    """The payload of one reply, by port."""
    found = {}
    at = 0
    while at < len(payload):
        length, port, packets, sent = _read(_PORT_STATS, payload, at, "the counters of a port")
        if not _PORT_STATS.size <= length <= len(payload) - at:
            raise malformed(f"the counters of port {port} claim {length} bytes of {len(payload) - at}")
        found[port] = Transmitted(packets, sent)
        at += length
    return found


def meter_config_request(xid: int) -> bytes:
    """Which meters have you? (Section 7.3.5.13, OFPMP_METER_CONFIG.)"""
    return multipart_request(OFPMP_METER_CONFIG, xid, _METER_ID.pack(_OFPM_ALL))


@dataclass(frozen=True, slots=True)
class Meter:
    """A meter of a switch, with its bands undecoded (section 7.3.4.5)."""

    id: int
    flags: int
    bands: bytes


def decode_meters(payload: bytes) -> tuple[Meter, ...]:
    """The payload of one meter configuration reply."""
    meters = []
    at = 0
    while at < len(payload):
        length, flags, id = _read(_METER_CONFIG, payload, at, "a meter")
        if not _METER_CONFIG.size <= length <= len(payload) - at:
            raise malformed(f"meter {id} claims {length} bytes of {len(payload) - at}")
        meters.append(Meter(id, flags, payload[at + _METER_CONFIG.size : at + length]))
        at += length
    return tuple(meters)


def flow_monitor_request(xid: int, monitor_id: int) -> bytes:
    """Tell from now on whenever a flow of any table changes (section 7.3.5.15)."""
    everything = (OFPP_ANY, OFPG_ANY, _OFPFMF_CHANGES, _OFPTT_ALL, _OFPFMC_ADD, _OFPMT_OXM, 4)
    return multipart_request(OFPMP_FLOW_MONITOR, xid, _FLOW_MONITOR.pack(monitor_id, *everything))


class FlowUpdate(NamedTuple):
    """What a flow monitor tells (section 7.3.5.15): an event, and the flow if the event is one of others' doing.

    Of OFPFME_ABBREV (our own doing) and of OFPFME_PAUSED and OFPFME_RESUMED only the event is said.
    """

    event: int
    table: int = 0
    priority: int = 0
    cookie: int = 0
    match: bytes = b""
    instructions: bytes = b""


def decode_flow_updates(payload: bytes) -> tuple[FlowUpdate, ...]:
    """The payload of one flow monitor reply."""
    updates = []
    at = 0
    while at < len(payload):
        length, event = _read(_FLOW_UPDATE, payload, at, "a flow update")
        if event > OFPFME_RESUMED:
            raise malformed(f"a flow update of unknown kind {event}")
        full = event <= OFPFME_MODIFIED
        least = _FLOW_UPDATE_MATCH + _MATCH_BYTES if full else _FLOW_UPDATE_SHORT
        if not least <= length <= len(payload) - at:
            raise malformed(f"a flow update of kind {event} claims {length} bytes of {len(payload) - at}")
        updates.append(_flow_update(payload[at : at + length]) if full else FlowUpdate(event))
        at += length
    return tuple(updates)


def _flow_update(data: bytes) -> FlowUpdate:
    _, event, table, _, _, priority, cookie, kind, match_bytes = _FLOW_UPDATE_FULL.unpack_from(data)
    instructions = _FLOW_UPDATE_MATCH + _padded(match_bytes)
    if kind != _OFPMT_OXM or match_bytes < 4 or instructions > len(data):
        raise malformed(f"a flow update of {len(data)} bytes has a match of type {kind} and {match_bytes} bytes")
    return FlowUpdate(event, table, priority, cookie, data[_FLOW_UPDATE_MATCH:instructions], data[instructions:])


def forward_group_mods(xid: int) -> bytes:
    """Tell from now on whenever somebody else changes a group (sections 7.3.10 and 7.4.6).

    What is not named stays as it is in Open vSwitch: it goes on telling of ports.
    """
    reasons = 1 << _OFPRFR_GROUP_MOD
    wanted = [_ASYNC_PROPERTY.pack(role, _ASYNC_PROPERTY.size, reasons) for role in _OFPACPT_REQUESTFORWARD]
    return message(OFPT_SET_ASYNC, xid, b"".join(wanted))


def decode_request_forward(body: bytes) -> int | None:
    """The body of a request forward message (section 7.4.6): the group somebody changed, OFPG_ALL for all of them.

    None when it is about no group, but a meter.
    """
    inner = header(body)
    if inner.length != len(body):
        raise malformed(f"a forwarded message of {inner.length} bytes has {len(body)}")
    if inner.type != OFPT_GROUP_MOD:
        return None
    _, _, id = _read(_GROUP_MOD, body, _HEADER.size, "a forwarded group-mod")
    return id


def ct_flush_zone(xid: int, zone: int) -> bytes:
    """Forget all connections in a conntrack zone: Open vSwitch's own since 2.6 (nicira-ext.h, struct nx_zone_id)."""
    return message(OFPT_EXPERIMENTER, xid, _CT_FLUSH_ZONE.pack(_NX, _NXT_CT_FLUSH_ZONE, zone))


def ct_flush(xid: int, zone: int, protocol: int, address: bytes, port: int) -> bytes:
    """Forget the connections of a zone that began to a port of an IPv4 address: Open vSwitch's own since 3.1
    (nicira-ext.h, struct nx_ct_flush)."""
    to = (_NXT_CT_TUPLE_DST, 20, _IPV4_MAPPED, address, _NXT_CT_TUPLE_DST_PORT, 8, port)
    body = (protocol, _NXT_CT_ORIG_TUPLE, 40, *to, _NXT_CT_ZONE_ID, 8, zone)
    return message(OFPT_EXPERIMENTER, xid, _CT_FLUSH.pack(_NX, _NXT_CT_FLUSH, *body))


class PacketIn(NamedTuple):
    """A packet that a flow handed over: its cookie, where it came in, what its registers held, its first bytes, and of
    how many."""

    cookie: int
    in_port: int
    registers: Mapping[int, int]
    frame: bytes
    length: int = 0


def decode_packet_in(body: bytes) -> PacketIn:
    """The body of a packet-in (section 7.4.1); of what it matches the port it came by, and registers."""
    _, length, _, _, cookie, kind, match_bytes = _read(_PACKET_IN, body, 0, "a packet-in")
    end = _PACKET_IN.size - 4 + match_bytes
    frame = _PACKET_IN.size - 4 + _padded(match_bytes) + 2
    if kind != _OFPMT_OXM or match_bytes < 4 or frame > len(body):
        raise malformed(f"a packet-in of {len(body)} bytes has a match of type {kind} and {match_bytes} bytes")
    if len(body) - frame > length:
        raise malformed(f"a packet-in has {len(body) - frame} bytes of a packet of {length}")
    in_port, registers = 0, {}
    for header, value in _oxms(body, _PACKET_IN.size, end):
        if header == _OXM_IN_PORT:
            in_port = value
        elif header & ~_OXM_FIELD == _NXM_REGISTER and header >> 9 & 0x7F < _REGISTERS:
            registers[header >> 9 & 0x7F] = value
    return PacketIn(cookie, in_port, registers, body[frame:], length)


def _oxms(data: bytes, at: int, end: int) -> Iterator[tuple[int, int]]:
    """The fields of a match (section 7.2.2.2): header, and what follows it."""
    while at < end:
        header = int.from_bytes(data[at : at + 4])
        after = at + 4 + (header & 0xFF)
        if after > end:
            raise malformed(f"a field claims {after - at} bytes of {end - at}")
        yield header, int.from_bytes(data[at + 4 : after])
        at = after


def packet_out(xid: int, actions: bytes, frame: bytes, in_port: int = OFPP_CONTROLLER) -> bytes:
    """Have a switch do something with a frame, as if it had come by a port, or from the controller (section 7.3.7)."""
    return message(OFPT_PACKET_OUT, xid, _PACKET_OUT.pack(_NO_BUFFER, in_port, len(actions)) + actions + frame)


def bundle_open(xid: int, bundle_id: int) -> bytes:
    """Open a bundle that is applied whole, in order, or not at all (section 7.3.9)."""
    return _bundle_control(xid, bundle_id, OFPBCT_OPEN_REQUEST)


def bundle_commit(xid: int, bundle_id: int) -> bytes:
    """Apply a bundle (section 7.3.9)."""
    return _bundle_control(xid, bundle_id, OFPBCT_COMMIT_REQUEST)


def _bundle_control(xid: int, bundle_id: int, kind: int) -> bytes:
    return message(OFPT_BUNDLE_CONTROL, xid, _BUNDLE_CONTROL.pack(bundle_id, kind, _BUNDLE_FLAGS))


def bundle_add(xid: int, bundle_id: int, inner: bytes) -> bytes:
    """Put a message into a bundle; it gets the bundle message's xid, as section 7.3.9.6 asks."""
    length = BUNDLED + len(inner)
    head = _BUNDLED.pack(VERSION, OFPT_BUNDLE_ADD_MESSAGE, length, xid, bundle_id, _BUNDLE_FLAGS)
    return b"".join((head, inner[:4], xid.to_bytes(4), inner[8:]))


def bundle_adds(xid: int, bundle_id: int, added: Sequence[bytes]) -> bytearray:
    """Such messages one behind the other, in this bundle, with their own xids from `xid` on."""
    data = bytearray().join(added)
    at = 0
    for each in added:
        _NUMBERS.pack_into(data, at + 4, xid, bundle_id)
        _XID.pack_into(data, at + BUNDLED + 4, xid)
        at += len(each)
        xid = xid + 1 & 0xFFFFFFFF
    return data


def decode_bundle_control(body: bytes) -> tuple[int, int]:
    """The body of an answer about a bundle: its id, and which answer (OFPBCT_*)."""
    bundle_id, kind, _ = _read(_BUNDLE_CONTROL, body, 0, "a bundle control")
    return bundle_id, kind


@dataclass(frozen=True, slots=True)
class ErrorMessage:
    """A refusal (section 7.5.4); its xid is the refused message's, of which `data` holds at least 64 bytes.

    When `type` is OFPET_EXPERIMENTER, `code` is the experimenter's type, and `data` begins with its 4-byte id.
    """

    type: int
    code: int
    data: bytes


def decode_error(body: bytes) -> ErrorMessage:
    """The body of an error message."""
    kind, code = _read(_ERROR, body, 0, "an error message")
    return ErrorMessage(kind, code, body[_ERROR.size :])


def error_name(type: int, code: int) -> str:
    """An error as the specification names it, `OFPET_BAD_MATCH/OFPBMC_BAD_PREREQ`; unknown parts are numbers."""
    if type == OFPET_EXPERIMENTER:
        return f"OFPET_EXPERIMENTER/{_NX_ERRORS.get(code, code)}"
    name, prefix, codes = _ERRORS.get(type, (str(type), "", ""))
    known = dict(enumerate(codes.split())).get(code, _FREE)
    return f"{name}/{code}" if known == _FREE else f"{name}/{prefix}{known}"


OFPET_EXPERIMENTER: Final = 0xFFFF

_FREE: Final = "-"  # a code that the specification gives to nothing

# Section 7.5.4: ofp_error_type, the prefix of its codes, and the codes from 0 up.
_ERRORS: Final[dict[int, tuple[str, str, str]]] = {
    0: ("OFPET_HELLO_FAILED", "OFPHFC_", "INCOMPATIBLE EPERM"),
    1: (
        "OFPET_BAD_REQUEST", "OFPBRC_",
        "BAD_VERSION BAD_TYPE BAD_MULTIPART BAD_EXPERIMENTER BAD_EXP_TYPE EPERM BAD_LEN BUFFER_EMPTY"
        " BUFFER_UNKNOWN BAD_TABLE_ID IS_SLAVE BAD_PORT BAD_PACKET MULTIPART_BUFFER_OVERFLOW"
        " MULTIPART_REQUEST_TIMEOUT MULTIPART_REPLY_TIMEOUT",
    ),
    2: (
        "OFPET_BAD_ACTION", "OFPBAC_",
        "BAD_TYPE BAD_LEN BAD_EXPERIMENTER BAD_EXP_TYPE BAD_OUT_PORT BAD_ARGUMENT EPERM TOO_MANY BAD_QUEUE"
        " BAD_OUT_GROUP MATCH_INCONSISTENT UNSUPPORTED_ORDER BAD_TAG BAD_SET_TYPE BAD_SET_LEN BAD_SET_ARGUMENT",
    ),
    3: (
        "OFPET_BAD_INSTRUCTION", "OFPBIC_",
        "UNKNOWN_INST UNSUP_INST BAD_TABLE_ID UNSUP_METADATA UNSUP_METADATA_MASK BAD_EXPERIMENTER BAD_EXP_TYPE"
        " BAD_LEN EPERM DUP_INST",
    ),
    4: (
        "OFPET_BAD_MATCH", "OFPBMC_",
        "BAD_TYPE BAD_LEN BAD_TAG BAD_DL_ADDR_MASK BAD_NW_ADDR_MASK BAD_WILDCARDS BAD_FIELD BAD_VALUE BAD_MASK"
        " BAD_PREREQ DUP_FIELD EPERM",
    ),
    5: (
        "OFPET_FLOW_MOD_FAILED", "OFPFMFC_",
        "UNKNOWN TABLE_FULL BAD_TABLE_ID OVERLAP EPERM BAD_TIMEOUT BAD_COMMAND BAD_FLAGS CANT_SYNC BAD_PRIORITY"
        " IS_SYNC",
    ),
    6: (
        "OFPET_GROUP_MOD_FAILED", "OFPGMFC_",
        "GROUP_EXISTS INVALID_GROUP WEIGHT_UNSUPPORTED OUT_OF_GROUPS OUT_OF_BUCKETS CHAINING_UNSUPPORTED"
        " WATCH_UNSUPPORTED LOOP UNKNOWN_GROUP CHAINED_GROUP BAD_TYPE BAD_COMMAND BAD_BUCKET BAD_WATCH EPERM",
    ),
    7: ("OFPET_PORT_MOD_FAILED", "OFPPMFC_", "BAD_PORT BAD_HW_ADDR BAD_CONFIG BAD_ADVERTISE EPERM"),
    8: ("OFPET_TABLE_MOD_FAILED", "OFPTMFC_", "BAD_TABLE BAD_CONFIG EPERM"),
    9: ("OFPET_QUEUE_OP_FAILED", "OFPQOFC_", "BAD_PORT BAD_QUEUE EPERM"),
    10: ("OFPET_SWITCH_CONFIG_FAILED", "OFPSCFC_", "BAD_FLAGS BAD_LEN EPERM"),
    11: ("OFPET_ROLE_REQUEST_FAILED", "OFPRRFC_", "STALE UNSUP BAD_ROLE"),
    12: (
        "OFPET_METER_MOD_FAILED", "OFPMMFC_",
        "UNKNOWN METER_EXISTS INVALID_METER UNKNOWN_METER BAD_COMMAND BAD_FLAGS BAD_RATE BAD_BURST BAD_BAND"
        " BAD_BAND_VALUE OUT_OF_METERS OUT_OF_BANDS",
    ),
    13: ("OFPET_TABLE_FEATURES_FAILED", "OFPTFFC_", "BAD_TABLE BAD_METADATA - - - EPERM"),
    14: (
        "OFPET_BAD_PROPERTY", "OFPBPC_",
        "BAD_TYPE BAD_LEN BAD_VALUE TOO_MANY DUP_TYPE BAD_EXPERIMENTER BAD_EXP_TYPE BAD_EXP_VALUE EPERM",
    ),
    15: ("OFPET_ASYNC_CONFIG_FAILED", "OFPACFC_", "INVALID UNSUPPORTED EPERM"),
    16: (
        "OFPET_FLOW_MONITOR_FAILED", "OFPMOFC_",
        "UNKNOWN MONITOR_EXISTS INVALID_MONITOR UNKNOWN_MONITOR BAD_COMMAND BAD_FLAGS BAD_TABLE_ID BAD_OUT",
    ),
    17: (
        "OFPET_BUNDLE_FAILED", "OFPBFC_",
        "UNKNOWN EPERM BAD_ID BUNDLE_EXIST BUNDLE_CLOSED OUT_OF_BUNDLES BAD_TYPE BAD_FLAGS MSG_BAD_LEN MSG_BAD_XID"
        " MSG_UNSUP MSG_CONFLICT MSG_TOO_MANY MSG_FAILED TIMEOUT BUNDLE_IN_PROGRESS",
    ),
}  # fmt: skip

# Open vSwitch's own errors in OpenFlow 1.4, by the type of an experimenter error (ofp-errors.h).
_NX_ERRORS: Final[dict[int, str]] = {
    2: "NXBRC_NXM_INVALID",
    3: "NXBRC_NXM_BAD_TYPE",
    4: "NXBRC_MUST_BE_ZERO",
    5: "NXBRC_BAD_REASON",
    9: "NXBRC_FM_BAD_EVENT",
    10: "NXBRC_UNENCODABLE_ERROR",
    11: "NXBAC_MUST_BE_ZERO",
    12: "NXFMFC_HARDWARE",
    13: "NXFMFC_BAD_TABLE_ID",
    15: "NXBAC_BAD_CONJUNCTION",
    16: "NXTTMFC_BAD_COMMAND",
    17: "NXTTMFC_BAD_OPT_LEN",
    18: "NXTTMFC_BAD_FIELD_IDX",
    19: "NXTTMFC_TABLE_FULL",
    20: "NXTTMFC_ALREADY_MAPPED",
    21: "NXTTMFC_DUP_ENTRY",
    22: "OFPBFC_BAD_VERSION",
    23: "NXQOFC_QUEUE_ERROR",
    34: "NXR_NOT_SUPPORTED",
    35: "NXR_STALE",
    36: "NXST_NOT_CONFIGURED",
    37: "NXFMFC_INVALID_TLV_FIELD",
    38: "NXTTMFC_INVALID_TLV_DEL",
    39: "NXBAC_BAD_HEADER_TYPE",
    40: "NXBAC_UNKNOWN_ED_PROP",
    41: "NXBAC_BAD_ED_PROP",
    42: "NXBAC_CT_DATAPATH_SUPPORT",
    43: "NXBMC_CT_DATAPATH_SUPPORT",
    44: "NXTFFC_DUP_TABLE",
}
