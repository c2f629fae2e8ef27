"""What a switch counts: packets and bytes of each of its flows (OpenFlow 1.4.1, section 7.3.5.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Final

from controller.flows.match import Match
from controller.southbound.messages import OFPMP_FLOW, malformed, multipart_request
from controller.southbound.oxm import encode_match

EVERY_TABLE: Final = 0xFF  # OFPTT_ALL
_ANY: Final = 0xFFFFFFFF  # OFPP_ANY, OFPG_ANY
_REQUEST: Final = Struct("!B3xII4xQQ")
_STATS: Final = Struct("!HBx8xH10xQQQHH")
"""Length, table, priority, cookie, packets, bytes; then the match, of which this is type and length."""
_MATCH_AT: Final = 48


@dataclass(frozen=True, slots=True)
class Count:
    """What one flow has counted since it was added, or since its switch started."""

    table: int
    priority: int
    match: bytes
    cookie: int
    packets: int
    bytes: int


def counts_request(xid: int, table: int) -> bytes:
    """How much did the flows of a table, or of all, count?"""
    return multipart_request(OFPMP_FLOW, xid, _REQUEST.pack(table, _ANY, _ANY, 0, 0) + encode_match(Match()))


def skim_counts(payload: bytes) -> Iterator[Count]:
    """The counts in the payload of one reply. Raises Malformed."""
    at, end = 0, len(payload)
    while at + _STATS.size <= end:
        length, table, priority, cookie, packets, counted, _, match_length = _STATS.unpack_from(payload, at)
        match_end = _MATCH_AT + (match_length + 7 & ~7)
        if not match_end <= length <= end - at:
            raise malformed(f"a flow of {length} bytes with a match of {match_length} has {end - at} bytes")
        yield Count(table, priority, payload[at + _MATCH_AT : at + match_end], cookie, packets, counted)
        at += length
    if at != end:
        raise malformed(f"a flow ends after {end - at} bytes")
