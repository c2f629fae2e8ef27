"""Probes as bytes: they are what was traced, marked, of the size that was asked for, and with checksums that hold."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import Invalid
from controller.flows import fields as f
from controller.flows.fields import PACKET4, PACKET6
from controller.flows.frames import checksum
from controller.flows.packet import Packet, packet
from controller.flows.probe import DSCP, MARK_BYTES, _crc32c, frame
from controller.model.records import Address, Mac

MARK = b"weft0123456789ab"
assert len(MARK) == MARK_BYTES
HEADER = {1: 8, 58: 8, 6: 20, 17: 8, 132: 36, 47: 0}
PORTS = st.integers(0, 0xFFFF)


def sent(six: bool, number: int, low: int, high: int, size: int) -> Packet:
    headers = PACKET6 if six else PACKET4
    source, destination = ("fd00::1", "fd00::2") if six else ("10.0.0.1", "10.0.0.2")
    parts = [
        f.IN_PORT(7),
        f.ETH_SRC(Mac("02:00:00:00:00:01")),
        f.ETH_DST(Mac("02:00:00:00:00:02")),
        headers.proto(number),
        headers.source(Address(source)),
        headers.destination(Address(destination)),
        (f.HOP_LIMIT if six else f.TTL)(64),
    ]
    if number in headers.low:
        parts += [headers.low[number](low), headers.high[number](high)]
    return Packet(packet(*parts).values, size + 14 if size else 14)


@given(six=st.booleans(), number=st.sampled_from([1, 6, 17, 132, 47]), low=PORTS, high=PORTS, size=st.integers(0, 1500))
def test_a_probe_is_the_packet_that_was_traced(six: bool, number: int, low: int, high: int, size: int) -> None:
    number = 58 if six and number == 1 else number
    if number in (1, 58):
        low, high = low & 0xFF, high & 0xFF
    least = (40 if six else 20) + HEADER[number] + MARK_BYTES
    if 0 < size < least:
        with pytest.raises(Invalid, match=f"a probe has {least} bytes at least"):
            frame(sent(six, number, low, high, size), MARK)
        return
    made = frame(sent(six, number, low, high, size), MARK)
    assert made[:14].hex() == "020000000002020000000001" + ("86dd" if six else "0800")
    whole = made[14:]
    assert len(whole) == (size - (size - least) % 4 * (number == 132) if size else least)
    assert whole.count(MARK) == 1
    header, segment = whole[: 40 if six else 20], whole[40 if six else 20 :]
    if six:
        first, length, proto, hops = struct.unpack("!IHBB", header[:8])
        assert (first >> 28, first >> 22 & 0x3F, length, proto, hops) == (6, DSCP, len(segment), number, 64)
        pseudo = header[8:] + struct.pack("!II", len(segment), number)
    else:
        assert (header[0], header[1] >> 2, header[8], header[9]) == (0x45, DSCP, 64, number)
        assert int.from_bytes(header[2:4]) == len(whole)
        assert checksum(header) == b"\0\0"
        pseudo = header[12:] + struct.pack("!BBH", 0, number, len(segment))
    match number:
        case 1:
            assert (segment[0], segment[1], checksum(segment)) == (low, high, b"\0\0")
        case 58:
            assert (segment[0], segment[1], checksum(pseudo + segment)) == (low, high, b"\0\0")
        case 6 | 17:
            assert (struct.unpack("!HH", segment[:4]), checksum(pseudo + segment)) == ((low, high), b"\0\0")
        case 132:
            summed = int.from_bytes(segment[8:12], "little")
            assert struct.unpack("!HH", segment[:4]) == (low, high)
            assert _crc32c(segment[:8] + bytes(4) + segment[12:]) == summed


def test_the_checksum_of_sctp_is_that_of_its_definition() -> None:
    """RFC 3720, B.4, and the check value of CRC-32C."""
    assert _crc32c(b"123456789") == 0xE3069283
    assert _crc32c(bytes(32)) == 0x8A9136AA
