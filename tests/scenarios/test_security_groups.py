"""What security groups let through, and what not: real packets, on one hypervisor and between two, IPv4 and IPv6."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from mininet_scenarios.captures import Frame, Heard, sent_by
from mininet_scenarios.frames import IPV4, datagram, halved, icmp, ipv4, sctp, tcp, token, udp, udp6
from mininet_scenarios.guarded import Cast, allow_both, gather, zones
from mininet_scenarios.hosts import Guest
from mininet_scenarios.lab import Lab
from mininet_scenarios.processes import wait_until
from mininet_scenarios.sockets import Outcome

VERSIONS = (4, 6)


@pytest.fixture(scope="module")
def cast(lab: Lab) -> Cast:
    """Four guests, each in group `out`."""
    return gather(lab)


@dataclass(frozen=True, slots=True)
class Strays:
    """Fragments that are sent and never followed by the rest, and whoever hears one of them."""

    sent_at: float
    heard: Heard
    listen_no_more: Callable[[], None]


@pytest.fixture(scope="module")
def strays(lab: Lab, cast: Cast) -> Iterator[Strays]:
    """Eight of IPv4 from `a`, and eight of IPv6. Everybody listens, beside all other tests, until told to stop."""
    a, b, _c, _d = cast
    mark = token()
    # where the mark stands first: behind the headers of IPv4 and IPv6, and behind those and a tunnel's
    ours = " or ".join(f"ether[{at}:4] = {int.from_bytes(mark[:4])}" for at in (34, 62, 84, 112))
    with ExitStack() as stack:
        heard = stack.enter_context(lab.sniff(what=ours))
        for version, make in ((4, udp), (6, udp6)):
            frame = make(b.mac, a.mac, a.address(version), b.address(version), 7, mark * 250)
            a.sends(*(halved(frame)[1] for _ in range(8)))
        yield Strays(time.monotonic(), heard, stack.close)


@pytest.mark.usefixtures("strays")  # they age meanwhile
def test_members_of_the_default_group_hear_one_another_and_nobody_else(lab: Lab, cast: Cast) -> None:
    a, b, c, d = cast
    default = lab.default_group("red")
    cast.under(a=default, b=default, c=default)
    for version in VERSIONS:
        with lab.sniff(d) as heard:
            for other in (b, c):
                assert a.pings(other.address(version))
                assert a.reaches(other, "tcp", 1, 65535, version=version) == {1, 65535}
                assert other.reaches(a, "udp", 9, version=version) == {9}
        assert heard.copies(sent_by(a, b, c)) == {}, "a third port hears nothing of it"
        assert a.calls(b, 9, version=version) is Outcome.REFUSED, "a member says itself that nobody listens"
        with lab.sniff(a, b, c) as heard:
            assert d.reaches(a, "tcp", 80, version=version) == set()
            assert d.reaches(c, "udp", 9, version=version) == set()
            assert not d.pings(b.address(version))
        assert heard.copies(sent_by(d)) == {}
    lab.settles()


def test_members_of_a_default_group_whose_own_rules_are_gone_are_strangers(lab: Lab, cast: Cast) -> None:
    default = lab.default_group("lonely")
    own = [rule for rule in default["security_group_rules"] if rule["remote_group_id"]]
    cast.under(a=default, b=default, c=default)
    assert cast.a.pings(cast.b)
    for rule in own:
        lab.remove(rule)
    lab.converged()
    with lab.sniff(cast.b, cast.c) as heard:
        for other in (cast.b, cast.c):
            for version in VERSIONS:
                assert cast.a.reaches(other, "tcp", 80, version=version) == set()
    assert heard.copies(sent_by(cast.a)) == {}
    lab.settles()


def test_a_port_without_groups_is_closed_both_ways_but_gets_addresses(lab: Lab, cast: Cast) -> None:
    a, b, c, _d = cast
    open_to_all = lab.group("open", project="red")
    allow_both(lab, open_to_all)
    cast.under(a=(), b=open_to_all, c=open_to_all)
    mark = token()
    with lab.sniff() as heard:
        for other in (b, c):
            for version in VERSIONS:
                assert a.reaches(other, "tcp", 80, version=version) == set()
                assert other.reaches(a, "udp", 80, version=version) == set()
        discover = ipv4(("ff:ff:ff:ff:ff:ff", a.mac), "0.0.0.0", "255.255.255.255", 17, datagram(68, 67, mark))
        a.sends(discover)
    ours = sent_by(a, b, c)
    assert [frame for frame in heard.at(a) if ours(frame)] == []
    assert heard.copies(lambda frame: frame.src == a.mac and ours(frame) and mark not in frame.raw) == {}
    assert heard.copies(mark) == {"underlay": 1, "b": 1, "c": 1}, "DHCP needs no rule of the client's"
    assert not a.finds_free(b.ip), "the switch answers ARP"
    lab.settles()


@pytest.mark.parametrize("place", ["b", "c"])
def test_who_may_send_anything_is_heard_only_where_a_rule_lets_it_in(lab: Lab, cast: Cast, place: str) -> None:
    """Case SG01: what the sender's egress rules remembered is nothing to the receiver, on one hypervisor either."""
    other = {guest.name: guest for guest in cast}[place]
    cast.under()
    with lab.sniff(cast.a, other) as heard:
        for version in VERSIONS:
            assert cast.a.reaches(other, "tcp", 80, version=version) == set()
            assert cast.a.reaches(other, "tcp", 80, version=version, patience_s=0.5) == set(), "nor the second time"
            assert other.reaches(cast.a, "udp", 80, version=version) == set()
    assert heard.copies(sent_by(cast.a, other)) == {}
    lab.settles()


def test_a_rule_for_a_group_lets_its_members_in_wherever_they_are(lab: Lab, cast: Cast) -> None:
    """Case SG31: of the group `clients`, nobody is on the first hypervisor at first."""
    a, b, c, d = cast
    clients, web = lab.group("clients", project="red"), lab.group("web", project="red")
    allow_both(lab, web, protocol="tcp", ports=80, remote=clients)
    cast.under(b=web, c=clients, d=web)
    for version in VERSIONS:
        assert c.reaches(b, "tcp", 80, 81, version=version) == {80}
        assert c.reaches(d, "tcp", 80, 81, version=version) == {80}
        assert a.reaches(b, "tcp", 80, version=version) == set()
        assert b.reaches(c, "tcp", 80, version=version) == set(), "the rule is about one direction"
    cast.under(a=clients, b=web, d=web)
    for version in VERSIONS:
        assert a.reaches(b, "tcp", 80, version=version) == {80}
        assert a.reaches(d, "tcp", 80, version=version) == {80}
        assert c.reaches(b, "tcp", 80, version=version) == set()
    lab.settles()


def test_egress_rules_say_where_a_port_may_send(lab: Lab, cast: Cast) -> None:
    a, b, c, d = cast
    narrow = lab.group("narrow", project="red", born=False)
    lab.rule(narrow, "egress", protocol="tcp", ports=(80, 90), prefix="10.0.0.2/31")
    lab.rule(narrow, "egress", ethertype="IPv6", protocol="udp", ports=53, prefix="fd00::3/128")
    anyone = lab.group("anyone", project="red")
    allow_both(lab, anyone)
    cast.under(a=narrow, b=anyone, c=anyone, d=anyone)
    with lab.sniff() as heard:
        assert a.reaches(b, "tcp", 79, 80, 90, 91) == {80, 90}
        assert a.reaches(c, "tcp", 79, 80, 90, 91) == {80, 90}
        assert a.reaches(c, "udp", 52, 53, 54, version=6) == {53}
    assert set(heard.copies(sent_by(a))) == {"b", "c", "underlay"}
    with lab.sniff() as heard:
        assert a.reaches(d, "tcp", 80) == set()
        assert a.reaches(b, "udp", 53, version=6) == set()
        assert not a.pings(b)
    assert heard.copies(sent_by(a)) == {}, "what may not be sent does not leave the hypervisor"
    lab.settles()


def test_port_ranges_are_exact_and_overlapping_rules_add_up(lab: Lab, cast: Cast) -> None:
    """Cases SG21, SG22, SG37: prefixes inside one another, groups and ranges that overlap."""
    a, b, c, d = cast
    clients, web = lab.group("clients", project="red"), lab.group("web", project="red")
    lab.rule(web, protocol="tcp", ports=(1000, 1999))
    lab.rule(web, protocol="tcp", ports=1)
    lab.rule(web, protocol="tcp", ports=65535)
    lab.rule(web, protocol="tcp", ports=(80, 85), prefix="10.0.0.0/30")
    lab.rule(web, protocol="tcp", ports=(83, 90), prefix="10.0.0.1/32")
    lab.rule(web, protocol="tcp", ports=22, remote=clients)
    lab.rule(web, protocol="udp", ports=22, prefix="10.0.0.0/8")
    cast.under(a=(clients, cast.out), b=web, d=web)
    edges = (1, 2, 999, 1000, 1999, 2000, 65534, 65535)
    own = (22, 79, 80, 84, 85, 86, 90, 91)
    for other in (b, d):
        assert a.reaches(other, "tcp", *edges, *own) == {1, 1000, 1999, 65535, 22, 80, 84, 85, 86, 90}
        assert c.reaches(other, "tcp", *edges, *own) == {1, 1000, 1999, 65535, 80, 84, 85}
        assert c.reaches(other, "udp", 21, 22, 80) == {22}
    lab.settles()


def test_an_address_in_a_group_and_in_an_address_group_counts_for_both(lab: Lab, cast: Cast) -> None:
    """Case SG32: taking it out of one leaves the other as it was."""
    a, b, c, d = cast
    clients, web = lab.group("clients", project="red"), lab.group("web", project="red")
    listed = lab.address_group("listed", "10.0.0.1/32", "fd00::/126", project="red")
    lab.rule(web, protocol="tcp", ports=80, remote=clients)
    allow_both(lab, web, protocol="tcp", ports=(80, 81), address_group=listed)
    cast.under(a=clients, b=web, d=web)
    for other in (b, d):
        assert a.reaches(other, "tcp", 80, 81) == {80, 81}
        assert a.reaches(other, "tcp", 80, 81, version=6) == {80, 81}
        assert c.reaches(other, "tcp", 81) == set()
    lab.api.put(f"/v2.0/address-groups/{listed['id']}/remove_addresses", {"addresses": ["10.0.0.1/32"]})
    lab.converged()
    for other in (b, d):
        assert a.reaches(other, "tcp", 80, 81) == {80}
    lab.api.put(f"/v2.0/address-groups/{listed['id']}/add_addresses", {"addresses": ["10.0.0.1/32"]})
    cast.under(b=web, d=web)
    for other in (b, d):
        assert a.reaches(other, "tcp", 80, 81) == {80, 81}
        assert a.reaches(other, "tcp", 80, 81, version=6) == {80, 81}
    lab.settles()


def test_a_member_counts_with_its_allowed_address_pairs(lab: Lab, cast: Cast) -> None:
    """Case SG30: a whole block, too; and case SG07: no longer, once the pair is gone."""
    a, b, c, _d = cast
    clients, web = lab.group("clients", project="red"), lab.group("web", project="red")
    lab.rule(web, protocol="udp", ports=80, remote=clients)
    cast.under(a=clients, b=web, c=web)
    mark = token()

    def send(address: str) -> None:
        for other in (b, c):
            a.sends(udp(other.mac, a.mac, address, other.ip, 80, mark))

    with lab.sniff() as heard:
        send("10.0.0.200")
    assert heard.copies(mark) == {}
    lab.change(a, allowed_address_pairs=[{"ip_address": "10.0.0.128/25"}])
    lab.converged()
    with lab.sniff() as heard:
        send("10.0.0.200")
        send("10.0.0.127")
    assert heard.copies(mark) == {"b": 1, "c": 1, "underlay": 1}
    lab.change(a, allowed_address_pairs=[])
    lab.converged()
    with lab.sniff() as heard:
        send("10.0.0.200")
    assert heard.copies(mark) == {}
    lab.settles()


def test_icmp_is_allowed_by_type_and_code(lab: Lab, cast: Cast) -> None:
    """Case SG24: by its type alone, by type and code, and ICMPv6 by any of its names."""
    a, b, c, _d = cast
    web = lab.group("web", project="red")
    echo4 = lab.rule(web, protocol="icmp", ports=(8, 0))
    lab.rule(web, protocol="icmpv6", ethertype="IPv6", port_range_min=128)
    cast.under(b=web, c=web)
    stamp = token()
    for other in (b, c):
        assert a.pings(other)
        assert a.pings(other.address(6))
        with lab.sniff(other) as heard:
            a.sends_raw(other, socket.IPPROTO_ICMP, icmp(13, 0, bytes(16) + stamp))
        assert heard.copies(stamp) == {}
    lab.remove(echo4)
    lab.rule(web, protocol="icmp", ports=(8, 1))
    lab.rule(web, protocol="icmp", port_range_min=13)
    lab.converged()
    for other in (b, c):
        assert not a.pings(other)
        with lab.sniff(other) as heard:
            a.sends_raw(other, socket.IPPROTO_ICMP, icmp(13, 0, bytes(16) + stamp))
        assert heard.copies(stamp) == {other.name: 1}
    lab.rule(web, protocol="icmp")
    lab.converged()
    for other in (b, c):
        assert a.pings(other)
    lab.settles()


BY_NUMBER = (0x2F, 50, 51, 59, 103, 112, 136)  # GRE, ESP, AH, nothing after IPv6, PIM, VRRP, UDP-Lite


@pytest.mark.parametrize("version", VERSIONS)
def test_protocols_are_allowed_by_number(lab: Lab, cast: Cast, version: int) -> None:
    """Case SG25; 59 is case SG27."""
    a, b, c, _d = cast
    web, ethertype = lab.group("web", project="red"), f"IPv{version}"
    allowed = [number for number in BY_NUMBER if number in (47, 50, 112, 136) or (number, version) == (59, 6)]
    for number in allowed:
        lab.rule(web, ethertype=ethertype, protocol=number)
    cast.under(b=web, c=web)
    marks = {number: token() for number in BY_NUMBER if (number, version) not in ((51, 6), (59, 4))}
    for other in (b, c):
        with lab.sniff(other) as heard:
            for number, mark in marks.items():
                a.sends_raw(other, number, bytes(8) + mark, version=version)
        assert [number for number, mark in marks.items() if heard.copies(mark)] == allowed
    lab.settles()


def sctp_heard(lab: Lab, version: int, sender: Guest, target: Guest, *ports: tuple[int, int]) -> list[tuple[int, int]]:
    """Which packets of SCTP arrive, by source and destination port."""
    marks = {pair: token() for pair in ports}
    with lab.sniff(target) as heard:
        for pair, mark in marks.items():
            sender.sends_raw(target, socket.IPPROTO_SCTP, sctp(*pair, mark), version=version)
    return [pair for pair, mark in marks.items() if heard.copies(mark)]


@pytest.mark.parametrize("version", VERSIONS)
def test_sctp_is_allowed_by_its_ports(lab: Lab, cast: Cast, version: int) -> None:
    """Case SG26: conntrack in user space takes all SCTP between two guests for one connection, but the rules do not."""
    a, b, c, _d = cast
    web = lab.group("web", project="red")
    rule = lab.rule(web, ethertype=f"IPv{version}", protocol="sctp", ports=(3000, 3010))
    cast.under(a=web, b=web, c=web)
    began = ((a, b), (c, a))
    for one, other in began:
        there = [(40000, 2999), (40000, 3000), (40001, 3010), (40001, 3011)]
        assert sctp_heard(lab, version, one, other, *there) == [(40000, 3000), (40001, 3010)]
        back = [(2999, 40000), (3000, 40000), (3010, 40001), (3011, 40001)]
        assert sctp_heard(lab, version, other, one, *back) == [(3000, 40000), (3010, 40001)]
        assert sctp_heard(lab, version, one, other, *there) == [(40000, 3000), (40001, 3010)], "another port is another"
        mark = token()
        with lab.sniff(one, what="icmp or icmp6") as heard:
            one.sends_raw(other, socket.IPPROTO_SCTP, sctp(40000, 3000, mark), version=version)
        speaks = Path("/proc/sys/net/sctp").exists()  # a kernel that does not says so, by an error about the packet
        assert speaks or heard.copies(mark) == {one.name: 1}
        marks = {port: token() for port in (3005, 3011)}
        with lab.sniff(other) as heard:
            for port, mark in marks.items():
                one.sends_raw(other, socket.IPPROTO_SCTP, sctp(40002, port, mark + bytes(2000) + mark), version=version)
        assert {port: heard.copies(mark) for port, mark in marks.items()} == {3005: {other.name: 2}, 3011: {}}
    told = lab.controller.weft("conn", "hv1", "-", stdin="\n".join(lab.hypervisors["hv1"].connections()))
    assert rule["id"] in told
    lab.remove(rule)
    lab.converged()
    for one, other in began:
        assert sctp_heard(lab, version, one, other, (40000, 3000)) == []
        assert sctp_heard(lab, version, other, one, (3000, 40000)) == []
    lab.rule(web, ethertype=f"IPv{version}", protocol="sctp")
    lab.converged()
    for one, other in began:
        assert sctp_heard(lab, version, one, other, (40000, 2999)) == [(40000, 2999)], "all ports"
        assert sctp_heard(lab, version, other, one, (2999, 40000)) == [(2999, 40000)]
    lab.settles()


@pytest.mark.parametrize("option", [socket.IPV6_HOPOPTS, socket.IPV6_DSTOPTS])
def test_what_is_behind_extension_headers_is_filtered_as_any_other(lab: Lab, cast: Cast, option: int) -> None:
    """Case SG27."""
    a, b, c, _d = cast
    web = lab.group("web", project="red")
    lab.rule(web, ethertype="IPv6", protocol="tcp", ports=80)
    lab.rule(web, ethertype="IPv6", protocol="udp", ports=53)
    cast.under(b=web, c=web)
    padding = {option: bytes((0, 0, 1, 4, 0, 0, 0, 0))}  # RFC 8200 section 4.2, PadN
    for other in (b, c):
        with lab.sniff(other) as heard:
            assert a.reaches(other, "tcp", 79, 80, version=6, options=padding) == {80}
            assert a.reaches(other, "udp", 53, 54, version=6, options=padding) == {53}
        arrived = [frame for frame in heard.at(other) if sent_by(a)(frame)]
        assert all(frame.raw[20] in (0, 60) for frame in arrived), "they did bear the header"
    lab.settles()


@pytest.fixture(scope="module")
def roomy(lab: Lab) -> None:
    """Room for 5,000 fragments, the most that user space can hold, instead of 1,000: denied ones are held for 15 s."""
    for hypervisor in lab.hypervisors.values():
        hypervisor.appctl("dpctl/ipf-set-max-nfrags", "5000")


@pytest.mark.usefixtures("roomy")
@pytest.mark.parametrize("version", VERSIONS)
def test_fragments_go_with_their_datagram(lab: Lab, cast: Cast, version: int) -> None:
    """Case SG19: not one fragment of a denied datagram arrives, all of an allowed one do, and so do the answers."""
    a, b, c, _d = cast
    web = lab.group("web", project="red")
    lab.rule(web, ethertype=f"IPv{version}", protocol="udp", ports=(5000, 5099))
    cast.under(b=web, c=web)
    for other in (b, c):
        with lab.sniff(other) as heard:
            for first in range(6000, 6100, 10):  # ten at once are as much as a queue of the guest's wire holds
                denied = a.reaches(other, "udp", *range(first, first + 10), version=version, size=8000, patience_s=0.1)
                assert denied == set()
        assert heard.copies(sent_by(a)) == {}
        for first in range(5000, 5100, 10):
            allowed = a.reaches(other, "udp", *range(first, first + 10), version=version, size=8000)
            assert allowed == set(range(first, first + 10))
    lab.settles()


@pytest.mark.usefixtures("roomy")
def test_no_fragment_of_a_denied_datagram_comes_back_behind_what_is_remembered(lab: Lab, cast: Cast) -> None:
    """Conntrack of user space gives back 32 packets at once. Of datagrams that are whole at once the rest comes back
    with whatever it is asked about next: their own later fragments, which the rule for another port would let in.
    """
    a, b, c, _d = cast
    free, web = lab.group("free", project="red", stateful=False), lab.group("web", project="red")
    allow_both(lab, web, protocol="udp", ports=5000)
    rules = allow_both(lab, web, protocol="udp", ports=6000)
    cast.under(a=free, b=web, c=web)

    def heard_of(port: int, count: int) -> dict[tuple[str, int], int]:
        """How many fragments of so many datagrams arrived, by receiver and IP version."""
        found = {(other.name, version): burst(other, version, port, count) for other in (b, c) for version in VERSIONS}
        return {place: copies for place, copies in found.items() if copies}

    def burst(other: Guest, version: int, port: int, count: int) -> int:
        make = partial(udp if version == 4 else udp6, other.mac, a.mac, a.address(version), other.address(version))
        mark, ends, heard = token(), (token(), token()), list[Frame]()
        halves = [halved(make(port, mark * 250, from_port=7000 + n), n) for n in range(count)]

        def lacking(end: bytes) -> str:
            heard.extend(ear.frames())
            return "" if any(end in frame.raw for frame in heard) else f"{len(heard)} frames were heard"

        with closing(other.ear()) as ear:
            with other.hypervisor.at_a_standstill():
                a.sends(*(first for first, _ in halves), *(last for _, last in halves))
                time.sleep(0.05)
            for end in ends:  # what comes last goes to conntrack, too, and so is the rest given back
                a.sends(make(5000, end))
                wait_until("What was sent last", partial(lacking, end), 10)
        return sum(mark in frame.raw for frame in heard)

    for _ in range(2):
        assert heard_of(6000, 16) == {(name, version): 32 for name in "bc" for version in VERSIONS}
    for rule in rules:
        lab.remove(rule)
    lab.converged()
    for port in (6000, 6001, 6001):  # of known connections, and of new ones
        assert heard_of(port, 32) == {}
    lab.settles()


@pytest.mark.usefixtures("roomy")
def test_fragments_without_a_first_one_or_that_overlap_go_nowhere(lab: Lab, cast: Cast) -> None:
    """Case SG20."""
    a, b, c, _d = cast
    web = lab.group("web", project="red")
    lab.rule(web, protocol="udp", ports=5000)
    cast.under(b=web, c=web)
    mark = token()
    more, half = 0x2000, 1200
    whole = datagram(40000, 5000, (mark * 300)[: 2 * half - 8])
    for n, other in enumerate((b, c)):
        macs, path = (other.mac, a.mac), (a.ip, other.ip, 17)

        def part(ident: int, start: int, end: int, last: bool = False, n: int = n) -> bytes:
            flags = start // 8 | (0 if last else more)
            return ipv4(macs, *path, whole[start:end], ident=ident * 2 + n, fragment=flags)  # noqa: B023

        with lab.sniff(other) as heard:
            a.sends(part(1, half, 2 * half, last=True))
            a.sends(part(2, 0, half), part(2, half - 400, 2 * half - 400, last=True))
        assert heard.copies(mark) == {}
        with lab.sniff(other) as heard:
            a.sends(part(3, 0, half), part(3, half, 2 * half, last=True))
        assert heard.copies(mark) == {other.name: 2}, "both halves of a whole one"
    lab.settles()


def offset(frame: Frame) -> int:
    """Where in its datagram a fragment begins."""
    if frame.ethertype == IPV4:
        return (int.from_bytes(frame.raw[20:22]) & 0x1FFF) * 8
    return int.from_bytes(frame.raw[56:58]) & 0xFFF8


@pytest.mark.usefixtures("roomy")
def test_a_stateless_receiver_judges_each_fragment_for_itself(lab: Lab, cast: Cast) -> None:
    """By address and protocol alone those that have no ports. Of IPv6 they are of protocol 44 to Open vSwitch.

    That a stateful sender's were together in conntrack, on the same hypervisor, makes no difference.
    """
    a, b, c, _d = cast
    bare = lab.group("bare", project="red", stateful=False)
    allow_both(lab, bare, protocol="udp", ports=5000)
    half = len(halved(udp(b.mac, a.mac, a.ip, b.ip, 5000, bytes(2000)))[0]) - 34

    def heard_of(port: int) -> dict[tuple[str, int], list[int]]:
        """Where the fragments began that arrived, by receiver and IP version."""
        marks = {(guest.name, version): token() for guest in (b, c) for version in VERSIONS}
        with lab.sniff(b, c) as heard:
            for other in (b, c):
                for version, make in ((4, udp), (6, udp6)):
                    ends = (other.mac, a.mac, a.address(version), other.address(version))
                    a.sends(*halved(make(*ends, port, (marks[other.name, version] * 250))))
        return {
            (name, version): sorted(offset(frame) for frame in heard.at(name) if mark in frame.raw)
            for (name, version), mark in marks.items()
        }

    for sender in (cast.out, lab.group("free", project="red", stateful=False)):
        cast.under(a=sender, b=bare, c=bare)
        whole, first, later = [0, half], [0], [half]
        assert heard_of(5000) == {(name, 4): whole for name in "bc"} | {(name, 6): first for name in "bc"}
        assert heard_of(6000) == {(name, 4): later for name in "bc"} | {(name, 6): [] for name in "bc"}
    lab.rule(bare, ethertype="IPv6", protocol="ipv6-frag", prefix=f"{a.address(6)}/128")
    lab.converged()
    assert heard_of(5000) == {(name, version): whole for name in "bc" for version in VERSIONS}
    lab.settles()


@pytest.mark.usefixtures("roomy")
def test_fragments_do_not_make_a_port_remember_what_it_never_sent(lab: Lab, cast: Cast) -> None:
    """Conntrack of user space gives back 32 packets at once. Fragments that find no room come back with the next that
    it is asked about, here `b`'s own, as if `b` had sent them; the rules that let `b` send let them in."""
    a, b, c, _d = cast
    free = lab.group("free", project="red", stateful=False)
    cast.under(a=free, c=free)
    macs, path, ports = (b.mac, a.mac), (a.ip, b.ip), (5000, 5000)
    mark, half = token(), 1200
    segment = tcp(*path, ports, 1000, 0x10, mark * 296, ack=1)

    def part(ident: int, start: int, data: bytes, more: bool = True) -> bytes:
        return ipv4(macs, *path, 6, data, ident=ident, fragment=start // 8 | 0x2000 * more)

    with lab.sniff(b) as heard:
        for ident in range(100, 220, 20):
            a.sends(*(part(ident + n, 0, segment[:half]) for n in range(2)))
            time.sleep(0.05)
            crowd = (part(ident + 3, 2 * half + 80 * n, bytes(80)) for n in range(30))  # too small to be held
            a.sends(*crowd, *(part(ident + n, half, segment[half:], more=False) for n in range(2)))
            for _ in range(2):
                time.sleep(0.05)
                b.sends(udp(c.mac, b.mac, b.ip, c.ip, 7, token()))
        a.sends(ipv4(macs, *path, 6, tcp(*path, ports, 1000 + len(segment), 0x10, mark, ack=1)))
    assert heard.copies(mark) == {}
    assert [line for line in b.hypervisor.connections() if f"orig=(src={a.ip},dst={b.ip},sport=5000" in line] == []
    lab.settles()


def test_without_port_security_nothing_is_filtered_and_nothing_remembered(lab: Lab, cast: Cast) -> None:
    """Case SG46."""
    a, b, c, d = cast
    cast.under()
    for guest in (a, b, c):
        lab.change(guest, security_groups=[], port_security_enabled=False)
    lab.converged()
    for hypervisor in lab.hypervisors.values():
        hypervisor.forget_connections()
    for version in VERSIONS:
        for other in (b, c):
            assert a.reaches(other, "tcp", 80, version=version) == {80}
            assert other.reaches(a, "udp", 80, version=version, size=3000) == {80}
    with lab.sniff() as heard:
        mark = token()
        a.sends(udp(b.mac, "02:00:00:00:00:99", "10.9.9.9", b.ip, 9, mark))
    assert heard.copies(mark) == {"b": 1}, "it may be whoever it says"
    for hypervisor in lab.hypervisors.values():
        assert zones(hypervisor, a, b, c) == {}
    assert a.reaches(d, "tcp", 80) == set(), "a guarded one still guards itself"
    for guest in (a, b, c):
        lab.change(guest, port_security_enabled=True)
    cast.under()
    for other in (b, c):
        assert a.reaches(other, "tcp", 80) == set()
    lab.settles()


def test_stateless_groups_remember_nothing_and_judge_answers_by_rules(lab: Lab, cast: Cast) -> None:
    """Case SG50."""
    a, b, c, _d = cast
    client = lab.group("client", project="red", stateful=False)
    web = lab.group("web", project="red", stateful=False)
    allow_both(lab, web, protocol="tcp", ports=80)
    cast.under(a=client, b=web, c=web)
    for hypervisor in lab.hypervisors.values():
        hypervisor.forget_connections()
    for version in VERSIONS:
        for other in (b, c):
            with lab.sniff(a, other) as heard:
                assert a.reaches(other, "tcp", 80, 81, version=version) == set()
            assert heard.copies(sent_by(a, other)).keys() == {other.name}, "asked it is; the answer finds no rule"
    answers = allow_both(lab, client, protocol="tcp", ports=(32768, 60999))
    lab.converged()
    for version in VERSIONS:
        for other in (b, c):
            assert a.reaches(other, "tcp", 80, 81, version=version) == {80}
    for hypervisor in lab.hypervisors.values():
        assert zones(hypervisor, a, b, c) == {}
    for rule in answers:
        lab.remove(rule)
    lab.converged()
    assert a.reaches(c, "tcp", 80) == set()
    lab.settles()


def test_a_connection_names_the_rule_that_allowed_it(lab: Lab, cast: Cast) -> None:
    """Case SG58: by the number in its ct_label, which `weft conn` reads."""
    a, b, _c, _d = cast
    web = lab.group("web", project="red")
    rule = lab.rule(web, protocol="tcp", ports=80, prefix="10.0.0.0/24")
    other = lab.rule(web, protocol="tcp", ports=81, prefix="10.0.0.0/25")
    cast.under(b=web)
    for hypervisor in lab.hypervisors.values():
        hypervisor.forget_connections()
    assert a.reaches(b, "tcp", 80) == {80}
    told = lab.controller.weft("conn", "hv1", "-", stdin="\n".join(lab.hypervisors["hv1"].connections()))
    assert rule["id"] in told
    assert other["id"] not in told
    lab.settles()


def test_a_port_that_is_gone_leaves_no_connection_behind(lab: Lab, cast: Cast) -> None:
    """Case SG46: its zone is emptied; what others remember of it in theirs is their own."""
    a, b, _c, _d = cast
    web = lab.group("web", project="red")
    lab.rule(web, protocol="tcp", ports=80)
    cast.under(b=web)
    for hypervisor in lab.hypervisors.values():
        hypervisor.forget_connections()
    guest = lab.guest(
        "e", network=cast.network, on="hv1", ip="10.0.0.5", mac="02:00:00:00:00:05", security_groups=[web["id"]]
    )
    lab.converged()
    assert a.reaches(b, "tcp", 80) == {80}
    others = zones(a.hypervisor, a, b)
    assert a.reaches(guest, "tcp", 80) == {80}
    own = zones(a.hypervisor, a, guest).keys() - others.keys()
    assert len(own) == 1
    lab.dismiss(guest)
    lab.eventually("An empty zone", lambda: not own & zones(a.hypervisor, a, guest).keys(), 5)
    assert zones(a.hypervisor, a, b) == others
    lab.settles()


def test_fragments_whose_time_is_over_are_heard_by_nobody(lab: Lab, cast: Cast, strays: Strays) -> None:
    """Conntrack of user space holds them for 15 s, and then gives them back with whatever it is asked about next."""
    a, b, _c, _d = cast
    default = lab.default_group("red")
    cast.under(a=default, b=default)
    time.sleep(max(0.0, strays.sent_at + 16 - time.monotonic()))
    for version in VERSIONS:
        assert a.reaches(b, "tcp", 80, version=version) == b.reaches(a, "udp", 80, version=version) == {80}
    strays.listen_no_more()
    assert strays.heard.frames == []
    lab.settles()
