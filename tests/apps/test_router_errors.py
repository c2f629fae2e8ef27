"""What routers tell senders: frames in, frames out. os-ken, which knows nothing of us, writes and reads the frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from os_ken.lib.packet import ethernet, icmp, icmpv6, ipv4, ipv6, packet, packet_utils, tcp, udp

from apps import APPS
from apps.router_errors import APP, ERRORS4, ERRORS6, tell
from controller.flows.pipeline import TRAPS, Why
from controller.flows.punted import Punted, Reply
from controller.model.view import View
from controller.southbound.packet_in import answers_of
from tests.cloud import Cloud, interface, network, port, router, subnet, turned

VM, RED, BLUE = "02:00:00:00:00:01", "02:00:00:00:0a:01", "02:00:00:00:0a:02"
PAIR = "02:00:00:00:00:99"
IN_PORT = 17
DONT_FRAGMENT = 2
"""The flags of an IPv4 header (RFC 791 section 3.1)."""


def joined() -> Cloud:
    """vm of red, on two subnets of each version; router r between red and blue."""
    cloud = Cloud()
    cloud.commit(network("red", 100), network("blue", 200, mtu=1300), network("grey", 300), router("r"))
    for name, on, cidr in (
        ("red4", "red", "10.0.0.0/24"), ("red4b", "red", "10.0.1.0/24"), ("red6", "red", "fd00::/64"),
        ("blue4", "blue", "10.1.0.0/24"), ("blue31", "blue", "10.3.0.0/31"),
    ):  # fmt: skip
        cloud.commit(subnet(name, on, cidr))
    cloud.commit(interface("r-red", "r", "red", RED, red4="10.0.0.254", red4b="10.0.1.254", red6="fd00::fe"))
    cloud.commit(interface("r-blue", "r", "blue", BLUE, blue4="10.1.0.254", blue31="10.3.0.0"))
    cloud.commit(port("vm", "red", VM, "10.0.0.1", "10.0.1.1", "fd00::1", pairs=[(PAIR, "10.0.0.96/28")]))
    return cloud


VIEW = View(joined().model)
PORT, ROUTER, ON_RED, ON_BLUE, ON_GREY = (
    VIEW.tag(space, id)
    for space, id in (("port", "vm"), ("router", "r"), ("network", "red"), ("network", "blue"), ("network", "grey"))
)


def written(*layers: Any) -> bytes:
    """A frame from the guest to its router."""
    ethertype = 0x86DD if any(isinstance(layer, ipv6.ipv6) for layer in layers) else 0x0800
    made = packet.Packet(protocols=[ethernet.ethernet(RED, VM, ethertype), *layers])
    made.serialize()
    return bytes(made.data)


def v4(*above: Any, source: str = "10.0.0.1", target: str = "10.1.0.77", **more: Any) -> bytes:
    """An IPv4 packet; of UDP unless told otherwise."""
    proto = {icmp.icmp: 1, tcp.tcp: 6, udp.udp: 17}.get(type(above[0]) if above else udp.udp, 17)
    head = ipv4.ipv4(src=source, dst=target, **{"proto": proto, "ttl": 7, **more})
    return written(head, *(above or (udp.udp(1000, 9), b"question" * 4)))


def v6(*above: Any, source: str = "fd00::1", target: str = "2001:db8::77", **more: Any) -> bytes:
    """An IPv6 packet; of UDP unless told otherwise."""
    nxt = {icmpv6.icmpv6: 58, tcp.tcp: 6, udp.udp: 17}.get(type(above[0]) if above else udp.udp, 17)
    head = ipv6.ipv6(src=source, dst=target, **{"nxt": nxt, "hop_limit": 7, **more})
    return written(head, *(above or (udp.udp(1000, 9), b"question" * 4)))


def punted(frame: bytes, why: Why = Why.NO_ROUTE) -> Punted:
    return Punted(why, IN_PORT, PORT, ROUTER, ON_RED, ON_BLUE, frame)


def told(frame: bytes, why: Why = Why.NO_ROUTE) -> list[Reply]:
    return replies(punted(frame, why))


def replies(punted: Punted) -> list[Reply]:
    return [answer for answer in tell(VIEW, punted) if isinstance(answer, Reply)]


@dataclass(frozen=True, slots=True)
class Error:
    """An ICMP error as os-ken reads it."""

    link: tuple[str, str]
    ends: tuple[str, str]
    type: int
    code: int
    mtu: int
    quoted: bytes


def error(replies: Sequence[Reply]) -> Error:
    """The one reply, if lengths and checksums are right (RFC 791, RFC 792, RFC 4443 section 2.3)."""
    (reply,) = replies
    assert reply.port == IN_PORT
    read = packet.Packet(reply.frame)
    link = read.get_protocol(ethernet.ethernet)
    ip = read.get_protocol(ipv4.ipv4) or read.get_protocol(ipv6.ipv6)
    if ip.version == 4:
        assert (ip.total_length, ip.header_length, ip.offset, ip.flags) == (len(reply.frame) - 14, 5, 0, 0)
        assert packet_utils.checksum(reply.frame[14:34]) == 0
        assert len(reply.frame) <= 14 + 576
        message = reply.frame[34:]
        assert packet_utils.checksum(message) == 0
        assert ip.tos == 0xC0, "RFC 1812 section 4.3.2.5"
    else:
        message = reply.frame[54:]
        assert (ip.payload_length, len(reply.frame) <= 14 + 1280) == (len(message), True)
        assert packet_utils.checksum_ip(ip, len(message), message) == 0
    assert (ip.proto if ip.version == 4 else ip.nxt) == (1 if ip.version == 4 else 58)
    assert (ip.ttl if ip.version == 4 else ip.hop_limit) == 64
    return Error(
        (link.src, link.dst), (ip.src, ip.dst), message[0], message[1], int.from_bytes(message[4:8]), message[8:]
    )


# ---- what is told ---------------------------------------------------------------------------------------------

SAID4 = {
    Why.TTL_EXCEEDED: (11, 0, 0), Why.NO_ROUTE: (3, 0, 0), Why.NO_NEIGHBOUR: (3, 1, 0), Why.ROUTER_ADDRESS: (3, 3, 0),
    Why.TOO_BIG: (3, 4, 1300),
}  # fmt: skip
SAID6 = {
    Why.TTL_EXCEEDED: (3, 0, 0), Why.NO_ROUTE: (1, 0, 0), Why.NO_NEIGHBOUR: (1, 3, 0), Why.ROUTER_ADDRESS: (1, 4, 0),
    Why.TOO_BIG: (2, 0, 1300),
}  # fmt: skip
"""Type, code, and the MTU of the next hop (RFC 1191 section 4, RFC 4443 section 3.2)."""


@pytest.mark.parametrize("why", APP.answers)
def test_a_sender_is_told_by_the_interface_that_its_packet_came_to(why: Why) -> None:
    frame = v4(flags=DONT_FRAGMENT)
    assert error(told(frame, why)) == Error((RED, VM), ("10.0.0.254", "10.0.0.1"), *SAID4[why], frame[14:])
    frame = v6()
    assert error(told(frame, why)) == Error((RED, VM), ("fd00::fe", "fd00::1"), *SAID6[why], frame[14:])


def test_somebody_answers_for_every_reason_to_hand_a_packet_over() -> None:
    assert set(APP.answers) == set(ERRORS4) == set(ERRORS6)
    assert set(answers_of(APPS)) == set(TRAPS)


def test_a_sender_is_told_by_an_address_of_its_own_subnet() -> None:
    assert error(told(v4(source="10.0.1.1"))).ends == ("10.0.1.254", "10.0.1.1")


def test_a_sender_of_another_subnet_is_told_too() -> None:
    assert error(told(v4(source="192.0.2.9"))).ends == ("10.0.0.254", "192.0.2.9")


def test_who_holds_an_address_by_a_pair_is_told_at_the_pairs_mac() -> None:
    assert error(told(v4(source="10.0.0.99"))).link == (RED, PAIR)


def test_a_sender_behind_another_router_is_told_by_the_network_between() -> None:
    found = error(replies(replace(punted(v4()), net_in=ON_BLUE)))
    assert (found.link, found.ends) == ((BLUE, VM), ("10.1.0.254", "10.0.0.1"))


@pytest.mark.parametrize(
    ("frame", "header", "most"), [(v4, 20 + 8, 576), (v6, 40 + 8, 1280)], ids=["RFC 1812 4.3.2.3", "RFC 4443 2.4 (c)"]
)
def test_as_much_is_quoted_as_an_error_may_bear(frame: Any, header: int, most: int) -> None:
    long = frame(udp.udp(1000, 9), bytes(range(256)) * 6)
    assert error(told(long)).quoted == long[14:][: most - header]


def test_what_pads_a_frame_is_not_quoted() -> None:
    assert error(told(v4() + bytes(18))).quoted == v4()[14:]
    assert error(told(v6() + bytes(18))).quoted == v6()[14:]


@pytest.mark.parametrize(
    "frame",
    [
        v4(tcp.tcp(1000, 80)),
        v4(icmp.icmp(8, 0, data=icmp.echo(1, 1, b"?"))),
        v4(b"", proto=47),
        v4(flags=1),
        v6(tcp.tcp(1000, 80)),
        v6(icmpv6.icmpv6(128, 0, data=icmpv6.echo(1, 1, b"?"))),
        v6(b"", nxt=59),
        v6(udp.udp(1, 2), ext_hdrs=[ipv6.hop_opts(17, 0, data=[ipv6.option(1, 4, bytes(4))])], nxt=0),
        v6(udp.udp(1, 2), ext_hdrs=[ipv6.fragment(17, offset=0, more=1)], nxt=44),
        v4(target="10.3.0.1"),
        v4(target="10.0.0.254"),
    ],
    ids=["TCP", "echo", "nothing inside", "first fragment", "TCP6", "echo6", "nothing inside 6", "hop-by-hop",
         "first fragment 6", "/31", "the router"],
)  # fmt: skip
def test_senders_are_told_of_all_else(frame: bytes) -> None:
    error(told(frame, Why.TTL_EXCEEDED))


# ---- what nobody is told of -----------------------------------------------------------------------------------

ABOUT_ERRORS = {
    **{f"ICMP error {type}": v4(bytes([type, *bytes(7)]), proto=1) for type in (3, 4, 5, 11, 12)},
    **{f"ICMPv6 error {type}": v6(bytes([type, *bytes(7)]), nxt=58) for type in (1, 2, 3, 4, 100, 127, 137)},
    "ICMPv6 error behind options": v6(
        bytes([1, *bytes(7)]),
        nxt=0,
        ext_hdrs=[ipv6.hop_opts(58, 0, data=[ipv6.option(1, 4, bytes(4))])],
    ),
}
ABOUT_FRAGMENTS = {
    "IPv4 fragment": v4(offset=185, flags=1),
    "last IPv4 fragment": v4(offset=185),
    "IPv6 fragment": v6(udp.udp(1, 2), ext_hdrs=[ipv6.fragment(17, offset=185, more=1)], nxt=44),
}
ABOUT_GROUPS = {
    **{f"to {target}": v4(target=target) for target in ("255.255.255.255", "224.0.0.1", "10.0.0.255", "10.1.0.255")},
    "to ff02::1": v6(target="ff02::1"),
    "link-layer broadcast": b"\xff" * 6 + v4()[6:],
    "link-layer multicast": bytes.fromhex("333300000001") + v6()[6:],
}
TO_NO_HOST = {
    **{
        f"from {source}": v4(source=source)
        for source in ("0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "10.0.0.255")
    },
    **{f"from {source}": v6(source=source) for source in ("::", "::1", "ff02::1")},
}
OF_ITS_OWN = {
    "from its own address": v4(source="10.0.0.254"),
    "from another of its own": v4(source="10.1.0.254"),
    "from its own IPv6 address": v6(source="fd00::fe"),
}
UNSOUND = {
    "wrong checksum": v4()[:24] + bytes(2) + v4()[26:],
    "IPv4 of version 5": v4()[:14] + b"\x55" + v4()[15:],
    "IPv6 of version 4": v6()[:14] + b"\x40" + v6()[15:],
    "header of 16 bytes": v4()[:14] + b"\x44" + v4()[15:],
    "total shorter than the header": v4(total_length=19),
    "ICMP without a type": v4(icmp.icmp(8, 0, data=icmp.echo(1, 1)))[:34],
    "ICMPv6 without a type": v6(icmpv6.icmpv6(128, 0, data=icmpv6.echo(1, 1)))[:54],
    "headers that are cut": v6(b"\x3a\xff", nxt=0),
    "ARP": v4()[:12] + b"\x08\x06" + v4()[14:],
}


@pytest.mark.parametrize(
    "frame",
    (rules := ABOUT_ERRORS | ABOUT_FRAGMENTS | ABOUT_GROUPS | TO_NO_HOST | OF_ITS_OWN | UNSOUND).values(),
    ids=rules.keys(),
)
@pytest.mark.parametrize("why", APP.answers)
def test_nobody_is_told(frame: bytes, why: Why) -> None:
    assert told(frame, why) == []


@pytest.mark.parametrize(
    "frame",
    [v4(icmp.icmp(8, 0, data=icmp.echo(1, 1))), v6(icmpv6.icmpv6(129, 0, data=icmpv6.echo(1, 1))), v6(b"", nxt=59)],
)
def test_a_router_tells_of_no_port_where_there_are_no_ports(frame: bytes) -> None:
    assert told(frame, Why.ROUTER_ADDRESS) == []


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (v4(b"x" * 40, proto=47), (3, 2, 0)),
        (v4(b"x" * 40, proto=132), (3, 2, 0)),
        (v6(b"x" * 40, nxt=50), (4, 1, 6)),
        (v6(b"x" * 40, ext_hdrs=[ipv6.hop_opts(nxt=47, data=[ipv6.option(1, 4, bytes(4))])], nxt=0), (4, 1, 40)),
    ],
    ids=["GRE", "SCTP", "ESP", "GRE behind options"],
)
def test_a_router_tells_of_a_protocol_that_it_does_not_speak(frame: bytes, said: tuple[int, int, int]) -> None:
    found = error(told(frame, Why.ROUTER_ADDRESS))
    assert (found.type, found.code, found.mtu) == said


@pytest.mark.parametrize("flags", [0, 1])
def test_who_lets_routers_cut_a_packet_is_not_told_that_it_is_too_large(flags: int) -> None:
    assert told(v4(flags=flags), Why.TOO_BIG) == []


def test_nobody_is_told_the_size_of_a_network_that_is_gone() -> None:
    assert [*tell(VIEW, replace(punted(v6(), Why.TOO_BIG), net=99))] == []


def test_an_interface_that_is_down_tells_nothing() -> None:
    cloud = joined()
    assert [*tell(View(cloud.model), punted(v4()))] != []
    cloud.commit(turned("r-red", up=False))
    assert [*tell(View(cloud.model), punted(v4()))] == []


def test_what_is_gone_meanwhile_tells_nobody() -> None:
    packet = punted(v4())
    for gone in (
        replace(packet, source=99),
        replace(packet, source=0),
        replace(packet, router=99),
        replace(packet, net_in=99),
        replace(packet, net_in=ON_GREY),
    ):
        assert [*tell(VIEW, gone)] == []
    assert [*tell(VIEW, replace(punted(v6()), net_in=ON_BLUE))] == [], "that interface has no IPv6"


# ---- anything -------------------------------------------------------------------------------------------------

FRAMES = [
    *rules.values(),
    v4(),
    v6(),
    v4(tcp.tcp(1, 2)),
    v6(udp.udp(1, 2), ext_hdrs=[ipv6.fragment(17, more=1)], nxt=44),
]


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """A frame with some bytes changed, and cut somewhere."""
    frame = bytearray(draw(st.sampled_from(FRAMES)))
    for at, byte in draw(st.dictionaries(st.integers(0, len(frame) - 1), st.integers(0, 255), max_size=4)).items():
        frame[at] = byte
    return bytes(frame[: draw(st.integers(0, len(frame)) | st.just(len(frame)))])


@given(mangled() | st.binary(max_size=100), st.sampled_from([*APP.answers]))
def test_whatever_a_guest_sends_the_answer_is_an_error_or_none(frame: bytes, why: Why) -> None:
    for reply in told(frame, why):
        assert error([reply]).quoted == frame[14:][: len(error([reply]).quoted)]


@pytest.mark.parametrize("frame", FRAMES, ids=range(len(FRAMES)))
def test_a_frame_may_be_cut_anywhere(frame: bytes) -> None:
    for length in range(len(frame)):
        told(frame[:length], Why.TTL_EXCEEDED)
