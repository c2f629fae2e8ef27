"""ARP and neighbour discovery: os-ken, which knows nothing of us, reads what we write and writes what we read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from os_ken.lib.packet import arp, ethernet, icmpv6, ipv6, packet, packet_utils

from controller.flows.frames import Question, Statement, announcement, answer, question, read
from controller.model.addresses import unpacked
from controller.model.records import Address, Mac

ALICE, BOB = Mac("02:00:00:00:00:0a"), Mac("02:00:00:00:00:0b")
ALL = "ff:ff:ff:ff:ff:ff"

v4, v6 = (st.binary(min_size=size, max_size=size).filter(any).map(unpacked) for size in (4, 16))
macs = st.binary(min_size=6, max_size=6).map(lambda octets: Mac(octets.hex(":")))
pairs = st.tuples(v4, v4) | st.tuples(v6, v6)


def read_arp(frame: bytes) -> tuple[tuple[str, str], int, tuple[str, str], tuple[str, str]]:
    """The frame's link, operation, sender and target, as os-ken has them."""
    found = packet.Packet(frame)
    link, body = found.get_protocol(ethernet.ethernet), found.get_protocol(arp.arp)
    ends = (body.src_mac, body.src_ip), (body.dst_mac, body.dst_ip)
    return (link.src, link.dst), body.opcode, *ends


def read_nd(frame: bytes) -> tuple[tuple[str, str], tuple[str, str], int, str, int, str]:
    """The frame's link, addresses, type, target, flags and told link-layer address, as os-ken has them."""
    found = packet.Packet(frame)
    link, ip, message = (found.get_protocol(kind) for kind in (ethernet.ethernet, ipv6.ipv6, icmpv6.icmpv6))
    assert (ip.hop_limit, message.code, ip.payload_length) == (255, 0, len(frame) - 54)
    assert packet_utils.checksum_ip(ip, ip.payload_length, frame[54:]) == 0
    said = message.data
    return (link.src, link.dst), (ip.src, ip.dst), message.type_, said.dst, said.res, said.option.hw_src


def test_a_question_by_arp() -> None:
    frame = question(Address("10.0.0.9"), Address("10.0.0.1"), ALICE)
    nobody = "00:00:00:00:00:00"
    assert read_arp(frame) == ((ALICE, ALL), 1, (ALICE, "10.0.0.1"), (nobody, "10.0.0.9"))
    frame = question(Address("10.0.0.9"), Address("10.0.0.1"), ALICE, to=BOB)
    assert read_arp(frame)[0] == (ALICE, BOB)


def test_a_question_by_neighbour_discovery() -> None:
    frame = question(Address("fd00::12:3456"), Address("fd00::1"), ALICE)
    group = ("33:33:ff:12:34:56", "ff02::1:ff12:3456")
    assert read_nd(frame) == ((ALICE, group[0]), ("fd00::1", group[1]), 135, "fd00::12:3456", 0, ALICE)
    frame = question(Address("fd00::12:3456"), Address("fd00::1"), ALICE, to=BOB)
    assert read_nd(frame)[:2] == ((ALICE, BOB), ("fd00::1", "fd00::12:3456"))


def test_an_answer_goes_to_who_asked() -> None:
    asked = Question(Address("10.0.0.9"), Address("10.0.0.1"), ALICE)
    assert read_arp(answer(asked, BOB)) == ((BOB, ALICE), 2, (BOB, "10.0.0.9"), (ALICE, "10.0.0.1"))
    asked = Question(Address("fd00::9"), Address("fd00::1"), ALICE)
    assert read_nd(answer(asked, BOB)) == ((BOB, ALICE), ("fd00::9", "fd00::1"), 136, "fd00::9", 3, BOB)
    asked = Question(Address("fd00::9"), Address("::"), ALICE)
    everybody = ("33:33:00:00:00:01", "ff02::1")
    assert read_nd(answer(asked, BOB)) == ((BOB, everybody[0]), ("fd00::9", everybody[1]), 136, "fd00::9", 1, BOB)


def test_an_announcement_goes_to_everybody() -> None:
    frame = announcement(Address("10.0.0.9"), BOB)
    assert read_arp(frame) == ((BOB, ALL), 1, (BOB, "10.0.0.9"), ("00:00:00:00:00:00", "10.0.0.9"))
    link, ends = (BOB, "33:33:00:00:00:01"), ("fd00::9", "ff02::1")
    for router, flags in ((False, 1), (True, 5)):
        frame = announcement(Address("fd00::9"), BOB, router=router)
        assert read_nd(frame) == (link, ends, 136, "fd00::9", flags, BOB), "override; and that it is a router"


@given(pairs, macs, macs)
def test_what_is_written_is_read(ends: tuple[Address, Address], asker: Mac, holder: Mac) -> None:
    address, source = ends
    if address != source:  # or else it would be an announcement
        asked = Question(address, source, asker)
        assert read(question(address, source, asker)) == asked
        assert read(answer(asked, holder)) == Statement(address, holder, unasked=False)
    assert read(announcement(address, holder)) == Statement(address, holder, unasked=True)


@pytest.mark.parametrize("operation", [1, 2])
def test_both_kinds_of_gratuitous_arp_are_announcements(operation: int) -> None:
    link = ethernet.ethernet(ALL, ALICE, 0x0806)
    body = arp.arp(opcode=operation, src_mac=BOB, src_ip="10.0.0.9", dst_mac=BOB, dst_ip="10.0.0.9")
    made = packet.Packet(protocols=[link, body])
    made.serialize()
    assert read(bytes(made.data)) == Statement(Address("10.0.0.9"), BOB, unasked=True)


def advertised(flags: int = 1, option: object = None, **more: int) -> bytes:
    """An advertisement of fd00::9 as os-ken writes it."""
    link, ip = ethernet.ethernet(ALICE, BOB, 0x86DD), ipv6.ipv6(src="fd00::9", dst="fd00::1", nxt=58, hop_limit=255)
    for name, value in more.items():
        setattr(ip, name, value)
    said = icmpv6.nd_neighbor(res=flags, dst="fd00::9", option=option)
    made = packet.Packet(protocols=[link, ip, icmpv6.icmpv6(icmpv6.ND_NEIGHBOR_ADVERT, 0, 0, said)])
    made.serialize()
    return bytes(made.data)


def test_without_an_option_it_is_at_the_mac_that_the_frame_came_from() -> None:
    assert read(advertised()) == Statement(Address("fd00::9"), BOB, unasked=True)
    other = icmpv6.nd_option_tla(hw_src=ALICE)
    assert read(advertised(flags=3, option=other)) == Statement(Address("fd00::9"), ALICE, unasked=False)


@pytest.mark.parametrize(
    "frame",
    [
        advertised(hop_limit=254),
        advertised()[:60],
        advertised()[:70] + b"!" + advertised()[71:],
        advertised(option=icmpv6.nd_option_tla(hw_src=ALICE))[:-8] + bytes([2, 0]) + bytes(6),
        advertised(option=icmpv6.nd_option_tla(hw_src=ALICE))[:-8] + bytes([2, 9]) + bytes(6),
        question(Address("10.0.0.9"), Address("10.0.0.1"), ALICE)[:41],
    ],
    ids=["from afar", "cut", "damaged", "an option of no length", "an option that is cut", "cut ARP"],
)
def test_what_is_not_sound_says_nothing(frame: bytes) -> None:
    assert read(frame) is None


@given(st.binary(max_size=120), st.integers(0, 90))
def test_no_bytes_raise_anything(noise: bytes, at: int) -> None:
    for sound in (advertised(), question(Address("10.0.0.9"), Address("10.0.0.1"), ALICE)):
        for frame in (noise, sound[:14] + noise, sound[:at] + noise + sound[at + len(noise) :]):
            read(frame)
