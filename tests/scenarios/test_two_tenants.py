"""Two tenants with the same subnet, addresses and MACs: each is a network of its own."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest

from mininet_scenarios import two_networks
from mininet_scenarios.captures import answers_for, within
from mininet_scenarios.frames import BROADCAST, EXPERIMENTAL, IPV4, IPV6, VLAN, ethernet, token, udp
from mininet_scenarios.lab import Lab
from mininet_scenarios.two_networks import CIDR, KINDS, MEMBERS, UNUSED, Kind

RED = {member.name for member in MEMBERS if member.tenant == "red"}


@pytest.fixture(scope="module", params=[True, False], ids=["guarded", "unguarded"])
def guarded(request: pytest.FixtureRequest) -> bool:
    """Have the ports port security, or may guests send whatever they like?"""
    answer: bool = request.param
    return answer


@pytest.fixture(scope="module", params=["vxlan", "geneve"])
def lab(request: pytest.FixtureRequest, guarded: bool) -> Iterator[Lab]:
    """A lab with the topology of `two_networks`, once in each encapsulation."""
    with Lab(hypervisors=2) as lab:
        two_networks.build(lab, request.param, guarded)
        yield lab


def test_each_guest_reaches_its_own_tenant_and_nobody_else(lab: Lab) -> None:
    rows = list(two_networks.reachability(lab))
    assert len(rows) == len(MEMBERS)
    assert [row for row in rows if not row.right] == []
    lab.settles()


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_frame_is_heard_once_where_it_must_and_nowhere_else(lab: Lab, kind: Kind, guarded: bool) -> None:
    assert two_networks.who_hears(lab, kind)[kind] == two_networks.must_hear(kind, guarded)
    lab.settles()


def test_arp_for_a_known_address_is_answered_where_it_is_asked(lab: Lab) -> None:
    rows = list(two_networks.neighbours(lab))
    assert [row for row in rows if not row.right] == []
    lab.settles()


def test_guests_that_know_nobody_find_each_other_without_one_arp_frame_on_the_wire(lab: Lab) -> None:
    red1, red3 = lab.guests["red1"], lab.guests["red3"]
    red1.forgets()
    red3.forgets()
    with lab.sniff() as heard:
        assert red1.pings(red3)
    assert heard.copies(within(CIDR)) == {"red1": 1, "red3": 1}
    assert heard.copies(answers_for(red3.ip)) == {"red1": 1}
    assert heard.copies(answers_for(red1.ip)) == {"red3": 1}
    assert heard.at(lab.underlay), "the pings themselves were on the wire"
    lab.settles()


def frames_of_any_kind(mark: bytes) -> Iterator[bytes]:
    """Frames red1 might make, and some that no honest guest makes."""
    draw = random.Random(2)
    me = "02:00:00:00:00:11"
    mates = [member.mac for member in MEMBERS]
    reserved = [f"01:80:c2:00:00:{last:02x}" for last in (0, 1, 2, 3, 0x0E, 0x20)]
    groups = ["01:00:5e:00:00:01", "33:33:00:00:00:01", "33:33:ff:00:00:13", "01:1b:19:00:00:00", "03:00:00:00:00:01"]
    strangers = ["02:00:00:00:00:99", "00:00:00:00:00:00", "fe:ff:ff:ff:ff:ff", me]
    types = [IPV4, IPV6, 0x0806, VLAN, 0x88A8, 0x8847, 0x88CC, 0x888E, 0x8035, 0x0026, 0x05DC, EXPERIMENTAL, 0xFFFF]
    for dst in (BROADCAST, *mates, *groups, *reserved, *strangers):
        for ethertype in types:
            noise = draw.randbytes(draw.randrange(0, 80))
            yield ethernet(dst, me, ethertype, mark + noise)
    for src in ("02:00:00:00:00:13", "02:00:00:00:00:77", BROADCAST):
        yield ethernet(BROADCAST, src, EXPERIMENTAL, mark)
    for segment in range(1, 300):  # a tunnel header of the guest's own making, to where tunnels end
        for vtep in ("192.0.2.11", "192.0.2.12"):
            inner = ethernet(BROADCAST, me, EXPERIMENTAL, mark)
            vxlan = b"\x08\0\0\0" + segment.to_bytes(3, "big") + b"\0" + inner
            yield udp(BROADCAST, me, "10.0.0.11", vtep, 4789, vxlan)


def test_nothing_a_tenant_sends_reaches_another_tenant(lab: Lab) -> None:
    red, mark = lab.guests["red1"], token()
    segment = {row["name"]: row["provider:segmentation_id"] for row in lab.api.get("/v2.0/networks")["networks"]}
    frames = list(frames_of_any_kind(mark))
    with lab.sniff() as heard:
        for start in range(0, len(frames), 50):  # no faster than user-space OVS takes them
            red.sends(*frames[start : start + 50])
            time.sleep(0.05)
    copies = heard.copies(mark)
    assert copies.keys() <= (RED - {"red1"}) | {"underlay"}, "the other tenant heard something"
    assert copies["red2"] > 50, "the tenant's own guests hear what is for them"
    assert {frame.vni for frame in heard.at(lab.underlay) if mark in frame.raw} == {segment["red"]}
    assert max(copies.values()) <= len(frames), "no frame was multiplied"
    lab.settles()


def test_both_tenants_flood_at_once_and_hear_only_themselves(lab: Lab) -> None:
    marks = {member.name: token() for member in MEMBERS}
    frames = {m.name: [udp(BROADCAST, m.mac, m.ip, UNUSED, 7, marks[m.name])] * 50 for m in MEMBERS}
    with lab.sniff() as heard:
        for name, burst in frames.items():
            lab.guests[name].sends(*burst)
    for member in MEMBERS:
        copies = heard.copies(marks[member.name])
        assert copies == {name: 50 * count for name, count in two_networks.everyone(member).items()}
    lab.settles()
