"""The lab's own ears: a silence that nobody could have heard would prove nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from mininet_scenarios.errors import Deaf
from mininet_scenarios.probe import (
    BROADCAST,
    EXPERIMENTAL,
    REQUEST,
    VLAN,
    Arp,
    Ear,
    Frame,
    Heard,
    arp,
    asks_for,
    ethernet,
    send,
    udp,
)
from mininet_scenarios.processes import private_network, run

ONE, TWO = "02:00:00:00:00:01", "02:00:00:00:00:02"
INNER = ethernet(TWO, ONE, EXPERIMENTAL, b"inner")


@pytest.mark.parametrize(
    ("port", "header", "tunnel"),
    [
        (4789, "0800000000abcd00", "vxlan"),
        (6081, "000065580abcde00", "geneve"),
        (6081, "024065580abcde00" + "0102800100000000", "geneve"),  # 8 bytes of options
    ],
)
def test_a_tunnelled_frame_is_heard_as_the_tenant_sent_it(port: int, header: str, tunnel: str) -> None:
    outer = udp(TWO, ONE, "192.0.2.11", "192.0.2.12", port, bytes.fromhex(header) + INNER)
    frame = Frame(outer).unwrapped()
    assert (frame.raw, frame.tunnel) == (INNER, tunnel)
    assert frame.vni == (0xABCD if tunnel == "vxlan" else 0x0ABCDE)


def test_other_datagrams_are_left_as_they_are() -> None:
    frame = Frame(udp(TWO, ONE, "192.0.2.11", "192.0.2.12", 53, b"question"))
    assert frame.unwrapped() is frame


def test_arp_is_read_and_counted_by_place() -> None:
    frame = Frame(arp(REQUEST, ONE, "10.0.0.1", "10.0.0.2"))
    assert frame.arp == Arp(REQUEST, ONE, "10.0.0.1", "00:00:00:00:00:00", "10.0.0.2")
    heard = Heard({"vm1": [], "vm2": [frame, frame]})
    assert heard.copies(asks_for("10.0.0.2")) == {"vm2": 2}
    assert heard.copies(asks_for("10.0.0.1")) == {}
    assert heard.copies(b"inner") == {}


@pytest.fixture
def wire() -> Iterator[tuple[str, str]]:
    """Two ends of a wire, in a private network."""
    with private_network():
        run("ip", "link", "add", "one", "type", "veth", "peer", "name", "two")
        for end in ("one", "two"):
            with open(f"/proc/sys/net/ipv6/conf/{end}/disable_ipv6", "w") as setting:
                setting.write("1")
            run("ip", "link", "set", end, "up")
        yield "one", "two"


@pytest.mark.scenario
def test_an_ear_hears_every_byte_that_arrives_and_nothing_that_leaves(wire: tuple[str, str]) -> None:
    one, two = wire
    tagged = ethernet(BROADCAST, ONE, VLAN, b"\x00\x64" + EXPERIMENTAL.to_bytes(2, "big") + b"tagged")
    sent = [INNER, tagged, arp(REQUEST, ONE, "10.0.0.1", "10.0.0.2")]
    here, there, only_arp = (
        Ear("one", os.getpid(), [one]),
        Ear("two", os.getpid(), [two]),
        Ear("arp", os.getpid(), [two], "arp"),
    )
    send(os.getpid(), one, sent)
    assert [frame.raw for frame in there.frames()] == sent
    assert [frame.raw for frame in only_arp.frames()] == sent[2:]
    assert here.frames() == []
    for ear in (here, there, only_arp):
        ear.close()


@pytest.mark.scenario
def test_an_ear_that_missed_a_frame_says_so(wire: tuple[str, str]) -> None:
    one, two = wire
    ear = Ear("two", os.getpid(), [two])
    burst = [ethernet(BROADCAST, ONE, EXPERIMENTAL, bytes(1400))] * 1000
    for _ in range(20):
        send(os.getpid(), one, burst)
    with pytest.raises(Deaf):
        ear.frames()
    ear.close()
