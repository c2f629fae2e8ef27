"""What a switch counts, as it says it: the bytes of a reply, and a real Open vSwitch's own."""

from __future__ import annotations

from struct import pack

import pytest

from controller.errors import Malformed
from controller.flows.pipeline import WHY, Why
from controller.southbound.counts import Count, skim_counts
from controller.southbound.oxm import encode_match

MATCH = encode_match(WHY(Why.TAGGED))


def stats(
    table: int, cookie: int, packets: int, counted: int, match: bytes = MATCH, length: int | None = None
) -> bytes:
    """One flow of a reply (section 7.3.5.2, struct ofp_flow_stats)."""
    size = 48 + len(match) if length is None else length
    return pack("!HBxIIHHHHHxxQQQ", size, table, 1, 0, 100, 0, 0, 0, 0, cookie, packets, counted) + match


def test_each_flow_of_a_reply_has_its_count() -> None:
    payload = stats(62, 0xA7, 3, 180) + stats(60, 0xA8, 0, 0)
    assert [*skim_counts(payload)] == [Count(62, 100, MATCH, 0xA7, 3, 180), Count(60, 100, MATCH, 0xA8, 0, 0)]
    assert [*skim_counts(b"")] == []


@pytest.mark.parametrize("payload", [stats(1, 1, 1, 1)[:-1], stats(1, 1, 1, 1, length=8), stats(1, 1, 1, 1) + b"\0"])
def test_a_reply_that_lies_about_lengths_is_refused(payload: bytes) -> None:
    with pytest.raises(Malformed):
        list(skim_counts(payload))
