"""The messages around flows and groups: as the specification draws them, as os-ken reads them, and hostile ones."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from os_ken.ofproto import ofproto_parser, ofproto_protocol

from controller.errors import Malformed
from controller.southbound import messages, openflow

OSKEN = ofproto_protocol.ProtocolDesc(messages.VERSION)

XID = st.integers(0, 0xFFFFFFFF)


def osken_message(data: bytes) -> Any:
    version, kind, length, xid = messages.header(data)
    assert (version, length) == (messages.VERSION, len(data))
    return ofproto_parser.msg(OSKEN, version, kind, length, xid, data)


def osken_bytes(name: str, *args: object, **named: object) -> bytes:
    """A message that os-ken wrote."""
    message = getattr(OSKEN.ofproto_parser, name)(OSKEN, *args, **named)
    message.set_xid(7)
    message.serialize()
    return bytes(message.buf)


# ---- what we say ----------------------------------------------------------------------------------------------


def test_a_greeting_offers_version_1_4_alone() -> None:
    greeting = messages.hello(3)
    assert greeting.hex(" ", -4) == "05000010 00000003 00010008 00000020"
    assert messages.hello_versions(greeting[8:]) == {5}
    (element,) = osken_message(greeting).elements
    assert element.versions == [5]


@pytest.mark.parametrize(
    ("ours", "osken"),
    [
        (messages.features_request(7), osken_bytes("OFPFeaturesRequest")),
        (messages.barrier_request(7), osken_bytes("OFPBarrierRequest")),
        (messages.read_first_fragments(7), osken_bytes("OFPSetConfig", flags=3, miss_send_len=128)),
        (messages.echo_request(7, b"weft"), osken_bytes("OFPEchoRequest", data=b"weft")),
        (messages.echo_reply(7, b"weft"), osken_bytes("OFPEchoReply", data=b"weft")),
        (messages.port_desc_request(7), osken_bytes("OFPPortDescStatsRequest")),
        (openflow.flow_dump_request(7), osken_bytes("OFPFlowStatsRequest")),
        (openflow.group_desc_request(7), osken_bytes("OFPGroupDescStatsRequest")),
        (messages.bundle_open(7, 9), osken_bytes("OFPBundleCtrlMsg", 9, 0, 3, [])),
        (messages.bundle_commit(7, 9), osken_bytes("OFPBundleCtrlMsg", 9, 4, 3, [])),
    ],
)
def test_a_request_is_the_one_that_osken_writes(ours: bytes, osken: bytes) -> None:
    assert ours == osken


def test_a_message_in_a_bundle_takes_over_the_bundles_xid() -> None:
    inner = messages.barrier_request(1)
    assert messages.bundle_add(0xABCD, 9, inner).hex(" ", -4) == (
        "05220018 0000abcd 00000009 00000003 05140008 0000abcd"
    )


def test_many_of_them_differ_from_what_another_switch_is_told_in_their_numbers_alone() -> None:
    inner = [messages.barrier_request(1), messages.echo_request(2, b"twelve bytes"), messages.barrier_request(3)]
    shared = [messages.bundle_add(0, 0, each) for each in inner]
    wanted = zip((0xFFFFFFFE, 0xFFFFFFFF, 0), inner, strict=True)
    assert messages.bundle_adds(0xFFFFFFFE, 9, shared) == b"".join(
        messages.bundle_add(xid, 9, each) for xid, each in wanted
    )
    assert messages.bundle_adds(5, 1, []) == b""


def test_constants_are_the_specifications() -> None:
    names = [name for name in vars(messages) if name.startswith("OFP")]
    assert len(names) > 30
    assert {name: getattr(messages, name) for name in names} == {name: getattr(OSKEN.ofproto, name) for name in names}


# ---- what we hear ---------------------------------------------------------------------------------------------


def port(number: int, name: bytes, config: int = 0, state: int = 0, properties: bytes = b"") -> bytes:
    fixed = (
        number.to_bytes(4) + (40 + len(properties)).to_bytes(2) + bytes(2) + bytes.fromhex("0200000000fe") + bytes(2)
    )
    return fixed + name.ljust(16, b"\0") + config.to_bytes(4) + state.to_bytes(4) + properties


@pytest.mark.parametrize(
    ("body", "versions"),
    [
        ("", set()),
        ("0001 0008 00000032", {1, 4, 5}),
        ("0001 000c 00000000 00000001 00000000", {32}),
        ("0001 0006 ffff 0000", set()),
        ("7777 0008 ffffffff  0001 0008 00000020", {5}),
        ("7777 0005 ff 000000  0001 0008 00000020", {5}),
        ("0001 0004", set()),
    ],
)
def test_versions_are_read_from_a_greeting(body: str, versions: set[int]) -> None:
    assert messages.hello_versions(bytes.fromhex(body)) == versions


@pytest.mark.parametrize("body", ["00", "0001 00", "0001 0000", "0001 0003", "0001 0009 00000032"])
def test_a_greeting_that_lies_is_malformed(body: str) -> None:
    with pytest.raises(Malformed):
        messages.hello_versions(bytes.fromhex(body))


def test_features_are_read() -> None:
    body = bytes.fromhex("00000000000000a1 00000100 fe 01 0000 0000004f 00000000")
    assert messages.decode_features(body) == messages.Features(0xA1, 256, 254, 1, 0x4F)


def test_ports_are_read_past_properties_nobody_knows() -> None:
    ethernet = bytes.fromhex("0000 0020") + bytes(28)
    payload = port(1, b"tap01", properties=ethernet) + port(messages.OFPP_LOCAL, b"br-int", config=1, state=1)
    assert messages.decode_ports(payload) == (
        messages.PortDesc(1, "tap01", "02:00:00:00:00:fe", 0, 0),
        messages.PortDesc(messages.OFPP_LOCAL, "br-int", "02:00:00:00:00:fe", 1, 1),
    )


@pytest.mark.parametrize(
    ("raw", "name"),
    [(b"", ""), (b"sixteen-letters!", "sixteen-letters!"), (b"a\0b", "a"), (b"\xc3\xa9", "é"), (b"a\xff", r"a\xff")],
)
def test_a_port_may_have_any_name(raw: bytes, name: str) -> None:
    assert messages.decode_ports(port(1, raw))[0].name == name


@pytest.mark.parametrize("length", [0, 39, 41, 0xFFFF])
def test_a_port_that_lies_about_its_length_is_malformed(length: int) -> None:
    payload = port(1, b"tap01")
    with pytest.raises(Malformed):
        messages.decode_ports(payload[:4] + length.to_bytes(2) + payload[6:])


def counted(number: int, packets: int, sent: int, length: int = 80) -> bytes:
    """The counters of a port (section 7.3.5.6), with one that nobody knows behind them."""
    head = struct.pack("!H2xIIIQQQQ", length, number, 5, 6, 7, packets, 8, sent)
    return head + bytes(max(0, length - len(head)))


def test_what_left_by_ports_is_read() -> None:
    assert messages.port_stats_request(9, 3)[8:].hex() == "0004000000000000" + "0000000300000000"
    payload = counted(3, 11, 1300) + counted(messages.OFPP_LOCAL, 0, 0, 88)
    assert messages.decode_port_stats(payload) == {3: (11, 1300), messages.OFPP_LOCAL: (0, 0)}
    for length in (0, 47, 81):
        with pytest.raises(Malformed):
            messages.decode_port_stats(length.to_bytes(2) + payload[2:80])


def test_a_port_status_tells_what_happened_to_whom() -> None:
    reason, found = messages.decode_port_status(bytes.fromhex("01 00000000000000") + port(4, b"tap04", state=1))
    assert (reason, found.number, found.name, found.state) == (messages.OFPPR_DELETE, 4, "tap04", 1)


def test_a_multipart_reply_says_whether_more_follow() -> None:
    assert messages.decode_multipart(bytes.fromhex("0001 0001 00000000 aa")) == (messages.OFPMP_FLOW, True, b"\xaa")
    assert messages.decode_multipart(bytes.fromhex("000d 0000 00000000")) == (messages.OFPMP_PORT_DESC, False, b"")


def test_an_answer_about_a_bundle_is_read() -> None:
    assert messages.decode_bundle_control(bytes.fromhex("00000009 0005 0003")) == (9, messages.OFPBCT_COMMIT_REPLY)


def test_an_error_keeps_the_message_it_is_about() -> None:
    error = messages.decode_error(bytes.fromhex("0004 0009") + messages.barrier_request(7))
    assert (error.type, error.code) == (4, 9)
    assert messages.header(error.data).xid == 7


@pytest.mark.parametrize("length", range(8))
def test_half_a_header_is_malformed(length: int) -> None:
    with pytest.raises(Malformed):
        messages.header(messages.barrier_request(7)[:length])
    with pytest.raises(Malformed):
        messages.header(bytes([5, 20, 0, length, 0, 0, 0, 7]))


DECODERS: list[Callable[[bytes], object]] = [
    messages.header,
    messages.hello_versions,
    messages.decode_features,
    messages.decode_multipart,
    messages.decode_ports,
    messages.decode_port_stats,
    messages.decode_port_status,
    messages.decode_bundle_control,
    messages.decode_error,
]
SAMPLES = [
    messages.hello(1),
    messages.hello(1)[8:],
    bytes(24),
    port(1, b"tap01") * 2,
    bytes(8) + port(1, b"tap01"),
    bytes.fromhex("0004 0009") + messages.barrier_request(7),
]


@given(st.sampled_from(SAMPLES), st.binary(max_size=64), st.data())
def test_no_bytes_make_a_decoder_raise_anything_but_malformed(good: bytes, noise: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(good)))
    for decode in DECODERS:
        for body in (noise, good[:at], good[:at] + noise, good[:at] + noise + good[at + len(noise) :]):
            with contextlib.suppress(Malformed):
                decode(body)


# ---- names of errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type", "code", "name"),
    [
        (4, 9, "OFPET_BAD_MATCH/OFPBMC_BAD_PREREQ"),
        (13, 5, "OFPET_TABLE_FEATURES_FAILED/OFPTFFC_EPERM"),
        (13, 3, "OFPET_TABLE_FEATURES_FAILED/3"),
        (17, 13, "OFPET_BUNDLE_FAILED/OFPBFC_MSG_FAILED"),
        (6, 99, "OFPET_GROUP_MOD_FAILED/99"),
        (99, 3, "99/3"),
        (0xFFFF, 15, "OFPET_EXPERIMENTER/NXBAC_BAD_CONJUNCTION"),
        (0xFFFF, 999, "OFPET_EXPERIMENTER/999"),
    ],
)
def test_an_error_has_the_specifications_name(type: int, code: int, name: str) -> None:
    assert messages.error_name(type, code) == name


OSKEN_ERRORS = {name: value for name, value in vars(OSKEN.ofproto).items() if name.startswith("OFP")}
OSKEN_LACKS = {"OFPFMFC_IS_SYNC": 10}


@pytest.mark.parametrize("type", range(18))
def test_osken_knows_the_same_errors(type: int) -> None:
    names = [messages.error_name(type, code).split("/") for code in range(64)]
    codes = {name: code for code, (_, name) in enumerate(names) if not name.isdecimal()}
    (kind,) = {kind for kind, _ in names}
    assert OSKEN_ERRORS[kind] == type
    prefix = next(iter(codes)).partition("_")[0]
    known = {name: value for name, value in OSKEN_ERRORS.items() if name.startswith(f"{prefix}_")}
    assert codes.items() - known.items() <= OSKEN_LACKS.items()
    assert known.items() <= codes.items()
