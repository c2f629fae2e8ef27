"""VLAN and flat networks of one physical network, with physical hosts on it: guests live there as on any switch.

         hv1              hv2              hv3          physnet1
red      r1 .11  r2 .12   r3 .13                        rh .50        VLAN 101   10.0.0.0/24, fd00:1::/64
blue     b1 .11           b3 .13           b4 .14       bh .50        VLAN 102   the same, the same MACs
flat     f1 .11                            f4 .14       fh .50        no tag     the same
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import permutations
from typing import Any

import pytest

from controller.flows.pipeline import Why
from mininet_scenarios.api import Json
from mininet_scenarios.captures import Frame, advertises, answers_for, asks_for, solicits
from mininet_scenarios.frames import BROADCAST, REPLY, REQUEST, advertisement, arp, token, udp
from mininet_scenarios.hosts import Guest, Host
from mininet_scenarios.lab import Lab
from mininet_scenarios.machines import BRIDGE, Jack, Physical

CIDRS = ("10.0.0.0/24", "fd00:1::/64")
VLANS: dict[str, int | None] = {"red": 101, "blue": 102, "flat": None}
WHERE = {"r1": "hv1", "r2": "hv1", "r3": "hv2", "b1": "hv1", "b3": "hv2", "b4": "hv3", "f1": "hv1", "f4": "hv3"}
NETWORK = {"r": "red", "b": "blue", "f": "flat"}
UNUSED, UNUSED6 = "10.0.0.99", "fd00:1::99"


def mac(last: int) -> str:
    return f"02:00:00:00:00:{last}"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """The topology above; guests hear the others of their project, and the physical host."""
    with Lab(hypervisors=3, serve=("--vlan-ranges", "physnet1")) as lab:
        physical = lab.physical("physnet1")
        for name, vlan in VLANS.items():
            asked: dict[str, Any] = {"provider:physical_network": "physnet1"}
            if vlan is not None:
                asked["provider:segmentation_id"] = vlan
            network = lab.network(name, cidr=CIDRS, project=name, type="flat" if vlan is None else "vlan", **asked)
            assert (network.mtu, network.segment) == (1500, vlan)
            for guest, on in WHERE.items():
                if NETWORK[guest[0]] == name:
                    last = 10 + int(guest[1])
                    ips = (f"10.0.0.{last}", f"fd00:1::{last}")
                    lab.guest(guest, network=network, on=on, ip=ips, mac=mac(last))
            ips = ("10.0.0.50/24", "fd00:1::50/64")
            lab.host(f"{name[0]}h", on=physical, vlan=vlan, ip=ips, mac=mac(50))
            group = lab.default_group(name)
            lab.rule(group, prefix="10.0.0.50/32")
            lab.rule(group, ethertype="IPv6", prefix="fd00:1::50/128")
            lab.rule(group, ethertype="IPv6", prefix="fe80::/10")
        lab.converged()
        yield lab


@pytest.fixture(scope="module")
def wire(lab: Lab) -> Physical:
    """The physical network."""
    return lab.physicals["physnet1"]


def somebody(lab: Lab, name: str) -> list[Host]:
    """Everybody on a network, by its first letter."""
    return [each for each in (*lab.guests.values(), *lab.hosts.values()) if each.name[0] == name[0]]


def trunks(lab: Lab) -> list[Jack]:
    """Where hypervisors are plugged in; physical hosts are on ports of one VLAN, and send without a tag."""
    return [lab.physicals["physnet1"].at(hypervisor) for hypervisor in lab.hypervisors.values()]


def tags(frames: list[Frame], mark: bytes) -> set[int | None]:
    """The VLANs of the frames with a mark."""
    return {frame.vlan for frame in frames if mark in frame.raw}


# ---- who reaches whom -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VLANS)
def test_everybody_on_a_wire_reaches_everybody_there_under_its_tag(lab: Lab, wire: Physical, name: str) -> None:
    mark = token()
    with lab.sniff(*trunks(lab)) as heard:
        pairs = [(one, two, ip) for one, two in permutations(somebody(lab, name), 2) for ip in two.ips]
        pings = [(str(one), ip, one.ping(ip, count=2, mark=mark)) for one, _, ip in pairs]
        assert {(one, ip): ping.wait().received for one, ip, ping in pings} == {
            (str(one), ip): 2 for one, _, ip in pairs
        }
    assert tags(heard.frames, mark) == {VLANS[name]}
    assert wire.moves() == 0, "no MAC address came from two places"
    lab.settles()


@pytest.mark.parametrize("name", ["r1", "r3", "b4", "f1", "rh", "fh"])
def test_broadcast_is_heard_once_by_all_of_its_network_and_once_on_the_wire(lab: Lab, name: str) -> None:
    sender, mark = next(each for each in somebody(lab, name) if each.name == name), token()
    with lab.sniff() as heard, lab.sniff(*trunks(lab)) as tagged:
        sender.tells(BROADCAST, mark)
    expected = {str(each): 1 for each in somebody(lab, name) if each != sender} | {"physnet1": 1}
    assert heard.copies(mark) == expected, "not on the tunnels' underlay, nor back at its sender, nor elsewhere"
    assert tags(tagged.frames, mark) == ({VLANS[NETWORK[name[0]]]} if isinstance(sender, Guest) else set())
    lab.settles()


def test_a_frame_for_nobody_goes_to_the_wire_from_a_guest_and_nowhere_from_there(lab: Lab) -> None:
    r1, rh, mark, back = lab.guests["r1"], lab.hosts["rh"], token(), token()
    with lab.sniff() as heard:
        r1.tells(mac(77), mark)
        rh.tells(mac(78), back)
    assert heard.copies(mark) == {"physnet1": 1, "rh": 1}, "the wire's switch floods it: no other hypervisor takes it"
    assert heard.copies(back) == {"physnet1": 1}
    lab.settles()


def test_the_largest_packet_of_the_wire_passes_whole(lab: Lab) -> None:
    r1, rh = lab.guests["r1"], lab.hosts["rh"]
    for size, target in ((1472, rh.ip), (1452, rh.ips[1])):
        assert " 0% packet loss" in r1.run("ping", "-n", "-c", "1", "-W", "2", "-M", "do", "-s", str(size), target)
    lab.settles()


# ---- neighbours -----------------------------------------------------------------------------------------------


def test_guests_that_know_nobody_find_each_other_without_asking_on_the_wire(lab: Lab) -> None:
    r1, r3 = lab.guests["r1"], lab.guests["r3"]
    for target, asks, answers in (
        (r3.ip, asks_for(r3.ip), answers_for(r3.ip)),
        (r3.ips[1], solicits(r3.ips[1]), advertises(r3.ips[1])),
    ):
        r1.forgets()
        with lab.sniff() as heard:
            assert r1.pings(target)
        assert (heard.copies(asks), heard.copies(answers)) == ({}, {"r1": 1})
    lab.settles()


def test_a_physical_host_is_asked_on_the_wire_and_answers_itself(lab: Lab) -> None:
    r1, rh = lab.guests["r1"], lab.hosts["rh"]
    for target, asks, answers in (
        (rh.ip, asks_for(rh.ip), answers_for(rh.ip)),
        (rh.ips[1], solicits(rh.ips[1]), advertises(rh.ips[1])),
    ):
        r1.forgets()
        with lab.sniff() as heard:
            assert r1.pings(target)
        assert heard.copies(asks) == {"physnet1": 1, "rh": 1, "r2": 1, "r3": 1}, "all of the network, each once"
        assert heard.copies(answers) == {"physnet1": 1, "r1": 1}
    lab.settles()


def test_a_guest_is_answered_for_to_the_wire_once_and_by_its_own_hypervisor(lab: Lab) -> None:
    rh, r3 = lab.hosts["rh"], lab.guests["r3"]
    for target, asks, answers in (
        (r3.ip, asks_for(r3.ip), answers_for(r3.ip)),
        (r3.ips[1], solicits(r3.ips[1]), advertises(r3.ips[1])),
    ):
        rh.forgets()
        with lab.sniff() as heard, lab.sniff(*trunks(lab)) as tagged:
            assert rh.pings(target)
        assert heard.copies(asks) == {"physnet1": 1, "r1": 1, "r2": 1}, "not r3 itself: its switch answers"
        assert heard.copies(answers) == {"physnet1": 1, "rh": 1}
        assert tagged.copies(answers) == {"physnet1 from hv2": 1}
        assert {frame.vlan for frame in tagged.frames if answers(frame)} == {101}
    lab.settles()


def test_nobody_answers_for_an_address_that_nobody_has(lab: Lab) -> None:
    for asker in (lab.guests["r1"], lab.hosts["rh"]):
        with lab.sniff() as heard:
            assert not asker.pings(UNUSED)
            assert not asker.pings(UNUSED6)
        assert "physnet1" in heard.copies(asks_for(UNUSED))
        assert "physnet1" in heard.copies(solicits(UNUSED6))
        assert heard.copies(answers_for(UNUSED)) == heard.copies(advertises(UNUSED6)) == {}
    lab.settles()


def test_an_address_that_is_taken_is_not_found_free_on_either_side(lab: Lab) -> None:
    r1, r3, rh = lab.guests["r1"], lab.guests["r3"], lab.hosts["rh"]
    assert not r1.finds_free(rh.ip)
    assert not rh.finds_free(r3.ip)
    assert not rh.finds_free(r1.ip)
    assert r1.finds_free(r1.ip), "its own"
    assert rh.finds_free(UNUSED)
    lab.settles()


def test_what_a_physical_host_announces_reaches_guests_and_what_a_guest_announces_the_wire(lab: Lab) -> None:
    rh, r1, marks = lab.hosts["rh"], lab.guests["r1"], [token() for _ in range(4)]
    for sender, said in ((rh, marks[:2]), (r1, marks[2:])):
        four, six = said
        with lab.sniff() as heard:
            sender.sends(
                arp(REQUEST, sender.mac, sender.ip, sender.ip, four),
                arp(REPLY, sender.mac, sender.ip, sender.ip, four),
                advertisement("33:33:00:00:00:01", sender.mac, "ff02::1", sender.ips[1], six),
            )
        others = {str(each) for each in somebody(lab, "red") if each != sender} | {"physnet1"}
        assert heard.copies(four) == dict.fromkeys(others, 2)
        assert heard.copies(six) == dict.fromkeys(others, 1)
    lab.settles()


# ---- who may ---------------------------------------------------------------------------------------------------


def test_a_guest_speaks_on_the_wire_with_its_own_addresses_alone(lab: Lab) -> None:
    r1, mark = lab.guests["r1"], token()
    with lab.sniff() as heard:
        r1.sends(
            udp(BROADCAST, mac(50), r1.ip, "255.255.255.255", 7, mark),
            udp(BROADCAST, r1.mac, "10.0.0.50", "255.255.255.255", 7, mark),
            arp(REPLY, r1.mac, "10.0.0.50", "10.0.0.50", mark),
            arp(REQUEST, r1.mac, "10.0.0.50", "10.0.0.50", mark),
            advertisement("33:33:00:00:00:01", r1.mac, "ff02::1", "fd00:1::50", mark),
        )
    assert heard.copies(mark) == {}
    lab.settles()


def test_a_physical_host_is_let_in_by_rules_alone_and_answered_without(lab: Lab) -> None:
    r3, rh = lab.guests["r3"], lab.hosts["rh"]
    closed = lab.group("closed", project="red")
    lab.regroup(r3, closed)
    lab.converged()
    assert [rh.pings(ip) for ip in r3.ips] == [False, False]
    assert [r3.pings(ip) for ip in rh.ips] == [True, True], "what it began is answered"
    rule = lab.rule(closed, protocol="tcp", ports=80, prefix="10.0.0.0/24")
    lab.converged()
    r3.listens(80)
    talk = rh.talks(r3, 80)
    lab.eventually("a conversation", talk.heard, 5)
    lab.remove(rule)
    lab.converged()
    r3.hangs_up()
    rh.hangs_up()
    lab.regroup(r3, lab.default_group("red"))
    lab.converged()
    assert rh.pings(r3)
    lab.settles()


# ---- what goes wrong -------------------------------------------------------------------------------------------


def test_a_controller_that_dies_and_comes_back_costs_no_packet_and_sends_no_flow(lab: Lab) -> None:
    pings = [lab.hosts["rh"].ping(lab.guests["r3"].ips[1]), lab.guests["f1"].ping(lab.hosts["fh"])]
    for ping in pings:
        ping.first_reply(5)
    lab.controller.kill()
    time.sleep(1.0)
    lab.hosts["rh"].forgets()
    assert lab.hosts["rh"].pings(lab.guests["r1"]), "nobody else is needed for a new neighbour"
    lab.controller.start()
    lab.converged()
    assert [ping.stop().lost for ping in pings] == [0, 0]
    assert {row["flow_mods"] for row in lab.chassis().values()} == {0}
    lab.settles()


def test_a_switch_that_restarts_has_its_wire_again(lab: Lab) -> None:
    hv1 = lab.hypervisors["hv1"]
    held = hv1.holds()
    hv1.restart_switch()
    lab.eventually("what it held", lambda: hv1.holds() == held, 15)
    lab.converged()
    assert lab.guests["r1"].pings(lab.hosts["rh"])
    assert lab.hosts["fh"].pings(lab.guests["f1"])
    lab.settles()


def test_a_patch_port_that_is_deleted_is_back_and_carries_traffic(lab: Lab) -> None:
    hv1, r1, rh = lab.hypervisors["hv1"], lab.guests["r1"], lab.hosts["rh"]
    for bridge, port in ((BRIDGE, "wp-physnet1"), ("br-physnet1", "wb-physnet1")):
        hv1.vsctl("del-port", bridge, port)
        lab.eventually("the port", lambda: port in hv1.vsctl("list-ports", bridge).split(), 5)  # noqa: B023
        lab.eventually("traffic through it", lambda: r1.ping(rh, count=1).wait().lost == 0, 5)
    lab.settles()


def test_a_hypervisor_without_the_mapping_carries_nothing_of_the_wire(lab: Lab) -> None:
    hv3, b4, f4, mark = lab.hypervisors["hv3"], lab.guests["b4"], lab.guests["f4"], token()
    count = len(hv3.flows())
    hv3.vsctl("remove", "Open_vSwitch", ".", "external_ids", "weft-bridge-mappings")
    b4.plugged = f4.plugged = False  # as far as `lab.converged()` shall see
    lab.eventually("its guests are not carried", lambda: _failed(lab, b4) and _failed(lab, f4), 5)
    lab.converged()
    assert "wp-physnet1" not in hv3.vsctl("list-ports", BRIDGE).split()
    assert "wb-physnet1" not in hv3.vsctl("list-ports", "br-physnet1").split()
    assert [flow for flow in hv3.flows() if "push_vlan" in flow or "pop_vlan" in flow] == []
    with lab.sniff() as heard:
        b4.tells(BROADCAST, mark)
        f4.tells(BROADCAST, mark)
    assert heard.copies(mark) == {}
    b4.plugged = f4.plugged = True
    hv3.join()
    lab.converged()
    assert lab.hosts["bh"].pings(b4)
    assert len(hv3.flows()) == count
    lab.settles()


def _failed(lab: Lab, guest: Guest) -> bool:
    port: Json = lab.api.get(f"/v2.0/ports/{guest.port_id}")["port"]
    if (port["status"], port["binding:vif_type"]) != ("DOWN", "binding_failed"):
        return False
    reason = "hypervisor hv3 maps bridges (none), none to physical network physnet1"
    assert port["binding:vif_details"] == {"reason": reason}
    return True


def test_a_mapped_bridge_that_is_not_there_is_the_hypervisor_s_problem_and_nobody_else_s(lab: Lab) -> None:
    hv3 = lab.hypervisors["hv3"]
    hv3.vsctl("set", "Open_vSwitch", ".", "external_ids:weft-bridge-mappings=physnet1:br-physnet1,other:br-other")
    wanted = "weft-bridge-mappings maps other to br-other, which is no bridge: run `ovs-vsctl add-br br-other`"
    lab.eventually("a problem", lambda: wanted in lab.chassis()["hv3"]["problem"], 5)
    assert lab.hosts["bh"].pings(lab.guests["b4"])
    hv3.join()
    lab.converged()
    assert lab.chassis()["hv3"]["problem"] == ""
    lab.settles()


def test_what_comes_on_a_vlan_that_is_no_network_here_is_counted(lab: Lab) -> None:
    hv1 = lab.hypervisors["hv1"]
    before, mark = hv1.drops(), token()
    with lab.sniff(*lab.guests.values()) as heard:
        lab.physicals["physnet1"].sends(hv1, *_tagged(103, mark))
    assert heard.copies(mark) == {}
    lab.eventually("a count", lambda: (hv1.drops() - before)[Why.UNKNOWN_VLAN] >= 2, 5)
    lab.settles()


def _tagged(vlan: int, mark: bytes) -> Iterator[bytes]:
    for dst in (BROADCAST, mac(11)):
        frame = udp(dst, mac(66), "10.0.0.66", "10.0.0.11", 7, mark)
        yield frame[:12] + b"\x81\0" + vlan.to_bytes(2, "big") + frame[12:]
