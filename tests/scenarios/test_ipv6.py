"""IPv6 on two tenants with the same prefix, addresses and MACs: neighbour discovery is answered in the switch.

         hv1                         hv2
red1  ::11  red2 ::12           red3 ::13         fd00:1::/64, MACs 02:00:00:00:00:<last two digits>
            blue2 ::12      blue1 ::11            the same
"""

from __future__ import annotations

import ipaddress
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from controller.flows.pipeline import Why
from mininet_scenarios.captures import Frame, Heard, advertises, solicits
from mininet_scenarios.frames import (
    ALL_NODES,
    ALL_NODES_MAC,
    advertisement,
    icmpv6,
    mld_report,
    nd_mark,
    solicitation,
    token,
)
from mininet_scenarios.hosts import Guest
from mininet_scenarios.lab import Lab
from mininet_scenarios.processes import inside

PREFIX, UNUSED = "fd00:1::", "fd00:1::99"
WHERE = {"red1": "hv1", "red2": "hv1", "red3": "hv2", "blue1": "hv2", "blue2": "hv1"}
RED = ("red1", "red2", "red3")
ECHO_REQUEST, ROUTER_SOLICITATION, MLD_REPORT = 128, 133, 143
ND = "icmp6 and (icmp6[0] == 135 or icmp6[0] == 136)"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """The topology above."""
    with Lab(hypervisors=2) as lab:
        cidrs = ("10.0.0.0/24", f"{PREFIX}/64")
        networks = {name: lab.network(name, cidr=cidrs, project=name) for name in ("red", "blue")}
        for name, on in WHERE.items():
            ips = (f"10.0.0.1{name[-1]}", f"{PREFIX}1{name[-1]}")
            lab.guest(name, network=networks[name[:-1]], on=on, ip=ips, mac=f"02:00:00:00:00:1{name[-1]}")
        for tenant in networks:  # a default group knows its members by their fixed addresses alone
            lab.rule(lab.default_group(tenant), ethertype="IPv6", prefix="fe80::/10")
        lab.converged()
        yield lab


def global_ip(guest: Guest) -> str:
    return guest.ips[1]


def link_local(guest: Guest) -> str:
    """As the guest's own kernel made it."""
    words = guest.run("ip", "-6", "-o", "addr", "show", "dev", "eth0", "scope", "link").split()
    return words[words.index("inet6") + 1].partition("/")[0]


def flags(guest: Guest, address: str) -> list[str]:
    """What the guest's kernel says of an address of its own: `tentative`, `dadfailed`."""
    return guest.run("ip", "-6", "-o", "addr", "show", "dev", "eth0", "to", address).split()


def pairs(lab: Lab) -> list[tuple[Guest, Guest]]:
    """Every two guests of a tenant, both ways: on one hypervisor and across."""
    guests = lab.guests.values()
    return [(one, two) for one in guests for two in guests if one != two and one.network_id == two.network_id]


def test_guests_reach_their_own_tenant_by_any_address_of_theirs(lab: Lab) -> None:
    asked = [(one, target) for one, two in pairs(lab) for target in (two.ip, global_ip(two), f"{link_local(two)}%eth0")]
    pings = [(one, target, one.ping(target, count=3)) for one, target in asked]
    assert {(str(one), target): ping.wait().received for one, target, ping in pings} == {
        (str(one), target): 3 for one, target in asked
    }
    lab.settles()


def test_two_tenants_with_the_same_addresses_never_meet(lab: Lab) -> None:
    red1, red2, blue2 = (lab.guests[name] for name in ("red1", "red2", "blue2"))
    marks = {guest.name: token() for guest in (red1, blue2)}
    with lab.sniff(*lab.guests.values()) as heard:
        pings = [
            red1.ping(global_ip(red2), count=3, mark=marks["red1"]),
            blue2.ping(global_ip(lab.guests["blue1"]), count=3, mark=marks["blue2"]),
            red1.ping(f"{link_local(red2)}%eth0", count=3, mark=marks["red1"]),
        ]
        assert [ping.wait().received for ping in pings] == [3, 3, 3]
        assert not blue2.pings(f"{PREFIX}13"), "the other tenant alone has this address"
    assert heard.copies(marks["red1"]) == {"red1": 6, "red2": 6}
    assert heard.copies(marks["blue2"]) == {"blue1": 3, "blue2": 3}
    assert heard.copies(lambda frame: (nd := frame.nd) and nd.target == f"{PREFIX}13") == {}, "nor anybody for it"
    lab.settles()


def test_guests_that_know_nobody_find_each_other_without_one_nd_frame_on_the_wire(lab: Lab) -> None:
    red1, red2, red3 = (lab.guests[name] for name in RED)
    for mate in (red2, red3):
        for address in (global_ip(mate), link_local(mate)):
            red1.forgets()
            mate.forgets()
            with lab.sniff() as heard:
                assert red1.pings(f"{address}%eth0" if address.startswith("fe80") else address)
            assert heard.copies(solicits(address)) == {}
            assert heard.copies(advertises(address)) == {red1.name: 1}
            nd = heard.copies(lambda frame: frame.nd)
            assert nd.keys() <= {red1.name, mate.name}, "another guest, or the wire, heard neighbour discovery"
            assert ("underlay" in heard.copies(lambda frame: frame.vni)) == (mate is red3), "the pings themselves"
    lab.settles()


def test_a_solicitation_is_answered_once_where_it_was_asked(lab: Lab) -> None:
    local = {guest: link_local(guest) for guest in lab.guests.values()}
    expected = {}
    with lab.sniff(what=f"({ND}) or udp") as heard:
        for one, two in pairs(lab):
            for source, target in ((global_ip(one), global_ip(two)), (local[one], local[two]), ("::", local[two])):
                mark = token()
                one.sends(solicitation(one.mac, source, target, mark))
                to = (ALL_NODES_MAC, ALL_NODES, "20000000") if source == "::" else (one.mac, source, "60000000")
                expected[mark] = [(one.name, two.mac, target, *to, two.mac)]
    assert {mark: list(answers(heard, mark)) for mark in expected} == expected
    lab.settles()


def answers(heard: Heard, mark: bytes) -> Iterator[tuple[str, ...]]:
    """Who heard what: sender, address, receiver and its address, flags (RFC 4861 section 4.4), link-layer address."""
    for place, frames in heard.by_place.items():
        for frame in frames:
            if mark in frame.raw and (nd := frame.nd):
                flags, mac = frame.raw[58:62].hex(), frame.raw[80:86].hex(":")
                yield place, frame.src, nd.src, frame.dst, nd.dst, flags, mac


def test_nobody_hears_who_asks_for_an_address_that_nobody_has(lab: Lab) -> None:
    red1, hv1 = lab.guests["red1"], lab.hypervisors["hv1"]
    mark, before = token(), hv1.drops()
    with lab.sniff() as heard:
        red1.sends(solicitation(red1.mac, global_ip(red1), UNUSED, mark))
        red1.sends(solicitation(red1.mac, "::", UNUSED, mark))
        assert not red1.pings(UNUSED, count=1)
    assert heard.copies(mark) == {}
    assert heard.copies(lambda frame: frame.nd) == {}
    lab.eventually("a count of each", lambda: (hv1.drops() - before)[Why.ND_UNKNOWN] >= 3, 5)
    lab.settles()


@pytest.mark.parametrize("holder", ["red2", "red3"])
def test_an_address_that_another_port_holds_is_found_duplicate(lab: Lab, holder: str) -> None:
    red1, held = lab.guests["red1"], global_ip(lab.guests[holder])
    red1.sysctl("ipv6/conf/eth0/accept_dad", 1)
    with lab.sniff(what=f"({ND}) or udp") as heard:
        red1.ip_batch(f"addr add {held}/128 dev eth0")
        try:
            lab.eventually("the duplicate is found", lambda: "dadfailed" in flags(red1, held), 8)
        finally:
            red1.ip_batch(f"addr del {held}/128 dev eth0")
            red1.sysctl("ipv6/conf/eth0/accept_dad", 0)
    assert heard.copies(advertises(held)) == {"red1": 1}
    assert [(nd.dst, frame.dst) for frame in heard.at(red1) if (nd := frame.nd)] == [(ALL_NODES, ALL_NODES_MAC)]
    assert red1.pings(held), "and its holder was not disturbed"
    lab.settles()


@pytest.mark.parametrize("name", RED)
def test_an_address_of_ones_own_is_not(lab: Lab, name: str) -> None:
    guest = lab.guests[name]
    own = global_ip(guest)
    guest.sysctl("ipv6/conf/eth0/accept_dad", 1)
    with lab.sniff(what=f"({ND}) or udp") as heard:
        guest.ip_batch(f"addr del {own}/64 dev eth0", f"addr add {own}/64 dev eth0")
        assert "tentative" in flags(guest, own), "it looks for duplicates"
        try:
            lab.eventually("the address is usable", lambda: "tentative" not in flags(guest, own), 8)
        finally:
            guest.sysctl("ipv6/conf/eth0/accept_dad", 0)
    assert "dadfailed" not in flags(guest, own)
    assert heard.copies(lambda frame: frame.nd) == {}
    mate = lab.guests["red2" if name != "red2" else "red1"]
    assert guest.pings(global_ip(mate))
    lab.settles()


def test_multicast_that_is_no_neighbour_discovery_reaches_each_member_once(lab: Lab) -> None:
    red1 = lab.guests["red1"]
    mac, local = red1.mac, link_local(red1)
    marks = {name: token() for name in ("listener", "router", "everybody", "application")}
    router = bytes(4) + nd_mark(marks["router"])
    with lab.sniff() as heard:
        red1.sends(
            mld_report(mac, local, marks["listener"]),
            icmpv6("33:33:00:00:00:02", mac, local, "ff02::2", ROUTER_SOLICITATION, router),
            icmpv6(ALL_NODES_MAC, mac, global_ip(red1), ALL_NODES, ECHO_REQUEST, bytes(4) + marks["everybody"]),
            icmpv6("33:33:00:00:00:fb", mac, local, "ff02::fb", ECHO_REQUEST, bytes(4) + marks["application"]),
        )
    to_groups = Heard({place: [f for f in frames if f.dst[:5] == "33:33"] for place, frames in heard.by_place.items()})
    once = {"red2": 1, "red3": 1, "underlay": 1}
    expected = dict.fromkeys(marks, once) | {"router": {"underlay": 1}}  # who has port security is no router
    assert {name: to_groups.copies(mark) for name, mark in marks.items()} == expected
    echoes = heard.copies(lambda frame: marks["everybody"] in frame.raw and frame.dst == red1.mac)
    assert echoes == {}, (
        "answers by others than who was asked (a group) are of no connection, and stateful groups drop them"
    )
    lab.settles()


def test_a_guest_that_joins_a_group_tells_every_member(lab: Lab) -> None:
    red1, group = lab.guests["red1"], ipaddress.ip_address("ff02::1234").packed
    red1.sysctl("ipv6/conf/eth0/mldv2_unsolicited_report_interval", 50)  # ms, in which its kernel says it again
    with (
        lab.sniff(what="ip6[6] == 0 or udp") as heard,
        inside(red1.pid),
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as listener,
    ):
        index = socket.if_nametoindex("eth0").to_bytes(4, sys.byteorder)
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group + index)
        time.sleep(0.3)
    reports = heard.copies(lambda frame: group in frame.raw and frame.raw[62] == MLD_REPORT)
    assert reports.keys() == {"red2", "red3", "underlay"}
    assert len(set(reports.values())) == 1, "every member heard as many"
    lab.settles()


def test_advertisements_of_guests_are_dropped_but_their_announcements(lab: Lab) -> None:
    red1, red2, red3 = (lab.guests[name] for name in RED)
    hv1, mark = lab.hypervisors["hv1"], token()
    before = hv1.drops()
    to_one = ((red2.mac, global_ip(red2)), (red3.mac, global_ip(red3)))
    mine, theirs = (global_ip(red1), link_local(red1)), (global_ip(red3), UNUSED)
    frames = [advertisement(mac, red1.mac, dst, target, mark) for target in mine for mac, dst in to_one]
    others = [
        advertisement(mac, red1.mac, dst, target, mark)
        for target in theirs
        for mac, dst in ((ALL_NODES_MAC, ALL_NODES), *to_one)
    ]
    announcements = [advertisement(ALL_NODES_MAC, red1.mac, ALL_NODES, target, mark) for target in mine]
    with lab.sniff() as heard, closing(red3.ear()) as ear:
        came = list[Frame]()
        red1.sends(*frames, *others, *announcements)

        def passed_on() -> bool:
            came.extend(ear.frames())
            return {frame.nd.target for frame in came if frame.nd} >= {*mine}

        lab.eventually("what the controller passes on", passed_on, 5)
    assert heard.copies(mark) == {}
    for target in mine:
        assert heard.copies(advertises(target)) == {"red2": 1, "red3": 1}

    def counted() -> bool:
        more = hv1.drops() - before
        return (more[Why.ND_UNASKED], more[Why.SPOOFED_IPV6]) == (len(frames), len(others))

    lab.eventually("a count of each, and of those of others' addresses", counted, 5)
    lab.settles()


def test_neighbours_find_each_other_while_the_controller_is_dead(lab: Lab) -> None:
    red1, red3 = lab.guests["red1"], lab.guests["red3"]
    lab.controller.kill()
    try:
        for guest in (red1, red3):
            guest.forgets()
        with lab.sniff() as heard:
            assert red1.pings(global_ip(red3))
            assert red3.pings(f"{link_local(red1)}%eth0")
        assert heard.copies(lambda frame: frame.nd).keys() == {"red1", "red3"}
    finally:
        lab.controller.start()
    lab.settles()
