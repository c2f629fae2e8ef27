"""`weft prove --live`: what is not sent, and why; and how it is told what became of the rest."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from controller.model.store import MemoryJournal, Store
from controller.prove.proof import Met, Violation
from controller.southbound.fleet import Fleet
from northbound import attempts, verdict
from tests.controller.prove.clouds import added, cloud, proven

MADE = cloud()
FLEET = Fleet(Store(MemoryJournal(), MADE.model), MADE.engine)
(AGAINST,) = (
    each
    for each in proven(MADE, hv1=added("table=36,priority=300,reg6=0x1,reg1=0x1 actions=output:12"), followed=20).violations
    if each.claim == "isolation"
)  # fmt: skip
"""What vm1 sends to whomever, b1 gets."""


def told(*against: Violation) -> list[str]:
    """Why each is not sent: none of their hypervisors is connected."""
    found = asyncio.run(attempts.made(FLEET, against, {}))
    assert {each["sent"] for each in found} == {False}
    return [each["trouble"].removeprefix("not sent: ") for each in found]


def altered(**values: int) -> Violation:
    """The same with other headers."""
    return replace(AGAINST, values={**AGAINST.values, **values})


def learning(actions: str, **values: int) -> Violation:
    return replace(altered(**values), way=(*AGAINST.way, Met("hv1", 0, f"table=0 actions={actions}", 0x77)))


def test_a_packet_is_as_its_sender_would_send_it_to_who_gets_it() -> None:
    assert AGAINST.packet == (
        "in_port=10,eth_src=02:00:00:00:00:01,eth_dst=02:00:00:00:00:01,tcp,nw_src=10.0.0.1,nw_dst=10.0.0.1,nw_ttl=64,"
        "tcp_src=1024,tcp_dst=80,tcp_flags=0x2"
    )
    assert (AGAINST.ofport, AGAINST.chassis, AGAINST.end) == (10, "hv1", 12)
    assert (AGAINST.marked, AGAINST.rounds) == (True, False)


@pytest.mark.parametrize(
    ("against", "reason"),
    [
        (AGAINST, "hv1 is disconnected: its switch is not connected."),
        (altered(vlan_tci=0x1007), "hv1 is disconnected: its switch is not connected."),
        (replace(AGAINST, sender_chassis="", sender="physical network p"), "physical network p is outside, and only"),
        (replace(AGAINST, claim="zone"), "in which zone conntrack looks it up, nobody but conntrack sees"),
        (replace(AGAINST, how=True), "it may arrive as something else, or by another of several ways"),
        (replace(AGAINST, rounds=None), "its way was not worked out"),
        (replace(AGAINST, rounds=True), "it would go round and round"),
        (replace(AGAINST, claim="loop"), "it would go round and round"),
        (altered(eth_type=0x0806), "the mark of a probe is in IP, and this is something else"),
        (altered(ip_frag=1), "the mark of a probe is in IP, and this is a fragment"),
        (altered(eth_type=0x86DD, nw_proto=44), "the mark of a probe is in IP, and this has an extension header"),
        (altered(eth_type=0x86DD, nw_proto=58, tp_src=134), "the mark of a probe is in IP, and this is discovery"),
        (altered(tcp_flags=0), "the mark of a probe is in IP, and this has no flag of TCP"),
        (replace(AGAINST, marked=False), "the mark of a probe is in IP, and with it, this would not be against"),
        (learning("NORMAL"), "hv1 is disconnected: its switch is not connected."),
        (learning("NORMAL", eth_src=0x020000000002), "a flow on its way would learn from it a wrong place"),
        (learning("learn(table=9)", eth_src=0x020000000002), "a flow on its way would learn from it a wrong place"),
    ],
)
def test_what_cannot_or_should_not_be_sent_is_told(against: Violation, reason: str) -> None:
    assert told(against)[0].startswith(reason)


@pytest.mark.parametrize(
    ("tested", "shown", "marked"),
    [
        ("nw_tos=0", "", False),
        ("nw_tos=4", ",nw_tos=4", False),
        ("ip_dscp=0x01", ",nw_tos=4", False),
        ("ip_ecn=0x01", ",nw_tos=1", False),
        ("nw_ecn=0", "", True),
        ("ip_dscp=0x2f", ",nw_tos=191", True),
    ],
)
def test_a_packet_of_which_a_flow_tells_the_mark_is_not_marked(tested: str, shown: str, marked: bool) -> None:
    """What bears the mark meets another flow: to send it would show nothing."""
    fault = added(f"table=36,priority=300,ip,{tested},reg6=0x1,reg1=0x1 actions=output:12")
    (found,) = (each for each in proven(MADE, hv1=fault, followed=20).violations if each.claim == "isolation")
    assert (found.packet.partition("nw_ttl=64")[2].partition(",tcp")[0], found.marked) == (shown, marked)


def test_a_packet_that_goes_round_is_known_to() -> None:
    fault = added(
        "table=36,priority=300,reg6=0x1,reg1=0x1 actions=output:12,resubmit(,38)",
        "table=38,priority=9 actions=resubmit(,38)",
    )
    found = [each for each in proven(MADE, hv1=fault, followed=20).violations if each.claim == "isolation"]
    assert [each.rounds for each in found] == [True]
    assert told(*found) == ["it would go round and round"]


@pytest.mark.parametrize(
    ("live", "words"),
    [
        ({"trouble": "not sent: it would go round and round"}, "not sent: it would go round and round"),
        (
            {"real": True, "left": {"packets": 1, "bytes": 300}},
            "sent: left hv1 by tap-b1, whose counter has one packet more, of its 300 bytes: as proven",
        ),
        (
            {"real": None, "left": {"packets": 3, "bytes": 900}},
            "sent: 3 packets left hv1 by tap-b1 meanwhile, of which it may be one: nobody can tell",
        ),
        (
            {"real": False, "left": {"packets": 1, "bytes": 60}},
            "sent: found at no end, and not left hv1 by tap-b1: NOT so, or no more",
        ),
        (
            {"real": False, "seen": [{"chassis": "hv1", "table": "drop", "words": "UNKNOWN_UNICAST"}]},
            "sent: found on hv1, table drop, UNKNOWN_UNICAST: NOT so, or no more",
        ),
        ({"real": True}, "sent: found at no end: as proven"),
    ],
)
def test_what_became_of_it_is_a_sentence(live: dict[str, Any], words: str) -> None:
    left = live.get("left")
    counted = left and {"chassis": "hv1", "interface": "tap-b1", "frame_bytes": 300, **left}
    found = {"trouble": None, "seen": [], "real": None, **live, "left": counted}
    assert verdict.happened({"live": found}) == words


@pytest.mark.parametrize(
    ("packets", "bytes", "left"),
    [(0, 0, False), (1, 300, True), (1, 304, True), (1, 60, False), (4, 700, None), (4, 240, False)],
)
def test_a_counter_tells_a_frame_by_its_length(packets: int, bytes: int, left: bool | None) -> None:
    assert attempts.Left("tap-b1", packets, bytes).has(300) is left
