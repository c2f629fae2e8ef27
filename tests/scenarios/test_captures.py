"""The lab's own ears: a silence that nobody could have heard would prove nothing."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from mininet_scenarios.captures import Arp, Ear, Frame, Heard, asks_for, send
from mininet_scenarios.errors import Deaf
from mininet_scenarios.frames import BROADCAST, EXPERIMENTAL, REQUEST, VLAN, arp, ethernet, icmp, ipv4, udp
from mininet_scenarios.pings import Ping
from mininet_scenarios.processes import private_network, run, wait_until

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


@pytest.fixture
def answers(wire: tuple[str, str]) -> Iterator[Callable[[int], list[bytes]]]:
    """Waits for so many pings from `one` to 10.0.0.2, which nobody answers, and has the answers to them."""
    one, two = wire
    run("ip", "link", "set", one, "address", ONE)
    run("ip", "addr", "add", "10.0.0.1/24", "dev", one)
    run("ip", "neigh", "add", "10.0.0.2", "lladdr", TWO, "dev", one, "nud", "permanent")
    ear = Ear("two", os.getpid(), [two], "icmp")
    heard: list[Frame] = []

    def wait(count: int) -> list[bytes]:
        def lacking() -> str:
            heard.extend(ear.frames())
            return "" if len(heard) >= count else f"{len(heard)} came"

        wait_until(f"{count} pings", lacking, 5, 0.001)
        return [ipv4((ONE, TWO), "10.0.0.2", "10.0.0.1", 1, icmp(0, 0, frame.raw[38:])) for frame in heard]

    yield wait
    ear.close()


@pytest.mark.scenario
def test_the_last_of_several_pings_is_waited_for_as_long_as_the_first(
    wire: tuple[str, str], answers: Callable[[int], list[bytes]]
) -> None:
    _, two = wire
    ping = Ping(os.getpid(), "10.0.0.2", count=3)
    send(os.getpid(), two, answers(1)[:1])
    last = answers(3)[1:]
    time.sleep(0.4)
    send(os.getpid(), two, last)
    replies = ping.wait()
    assert (replies.sent, replies.lost, replies.duplicates) == (3, 0, 0)


@pytest.mark.scenario
def test_pings_that_are_stopped_are_waited_for(wire: tuple[str, str], answers: Callable[[int], list[bytes]]) -> None:
    _, two = wire
    ping = Ping(os.getpid(), "10.0.0.2", interval_s=0.02)
    answers(5)
    answer = threading.Timer(0.2, lambda: send(os.getpid(), two, answers(5)))
    answer.start()
    replies = ping.stop()
    answer.join()
    assert replies.sent >= 5
    assert replies.lost == 0


@pytest.mark.scenario
def test_what_is_not_answered_is_lost_and_what_is_answered_twice_is_told(
    wire: tuple[str, str], answers: Callable[[int], list[bytes]]
) -> None:
    _, two = wire
    began = time.monotonic()
    ping = Ping(os.getpid(), "10.0.0.2", count=3, patience_s=0.3)
    first, _, last = answers(3)
    strange = ipv4((ONE, TWO), "10.0.0.3", "10.0.0.1", 1, first[34:])
    send(os.getpid(), two, [strange, last, last, last])
    replies = ping.wait()
    assert (replies.sent, replies.lost, replies.duplicates) == (3, 2, 2), "an answer of somebody else's is none"
    assert replies.at.keys() == {3}
    assert 0.3 < time.monotonic() - began < 1
