"""A router between VLANs of a physical network and an overlay; physical hosts on the VLANs use it for their gateway.

         hv1            hv2            hv3         physnet1
red      r1 .11         r2 .12                     rh .50     VLAN 101   10.0.1.0/24, fd00:1::/64
blue                    b2 .12                     bh .50     VLAN 102   10.0.2.0/24, fd00:2::/64
over     o1 .11                        o3 .13                 VXLAN      10.0.3.0/24, fd00:3::/64
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from itertools import permutations

import pytest

from mininet_scenarios.captures import Frame, answers_for, asks_for
from mininet_scenarios.frames import BROADCAST, IPV4, IPV6, REQUEST, arp, token, udp
from mininet_scenarios.hosts import Host
from mininet_scenarios.lab import Lab, Network
from mininet_scenarios.machines import Physical

NUMBERS = {"red": 1, "blue": 2, "over": 3}
WHERE = {"r1": "hv1", "r2": "hv2", "b2": "hv2", "o1": "hv1", "o3": "hv3"}
NAMES = {"r": "red", "b": "blue", "o": "over"}
CHASSIS_MAC = re.compile(r"1e:00:0\d:[0-9a-f:]{8}")


def ips(number: int, last: int) -> tuple[str, str]:
    return (f"10.0.{number}.{last}", f"fd00:{number}::{last}")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """The topology above, of one project, whose guests hear whoever is inside."""
    with Lab(hypervisors=3, serve=("--vlan-ranges", "physnet1:101:102")) as lab:
        physical = lab.physical("physnet1")
        networks: dict[str, Network] = {}
        for name, number in NUMBERS.items():
            cidr, type = (f"10.0.{number}.0/24", f"fd00:{number}::/64"), "vxlan" if name == "over" else "vlan"
            networks[name] = lab.network(name, cidr=cidr, project="a", type=type, gateways=True)
        assert [network.segment for network in networks.values()][:2] == [101, 102]
        lab.router("r", *networks.values(), project="a")
        for guest, on in WHERE.items():
            network, last = networks[NAMES[guest[0]]], 10 + int(guest[1])
            number = NUMBERS[network.name]
            lab.guest(guest, network=network, on=on, ip=ips(number, last), mac=f"02:00:00:00:0{number}:{last}")
        for name in ("red", "blue"):
            number = NUMBERS[name]
            four, six = ips(number, 50)
            gateways, mac = ips(number, 1), f"02:00:00:00:0{number}:50"
            wanted = (f"{four}/24", f"{six}/64")
            lab.host(f"{name[0]}h", on=physical, vlan=100 + number, ip=wanted, mac=mac, gateways=gateways)
        group = lab.default_group("a")
        lab.rule(group, prefix="10.0.0.0/8")
        lab.rule(group, ethertype="IPv6", prefix="fc00::/7")
        lab.converged()
        yield lab


@pytest.fixture(scope="module")
def wire(lab: Lab) -> Physical:
    """The physical network."""
    return lab.physicals["physnet1"]


@pytest.fixture(scope="module")
def routers(lab: Lab) -> dict[str, str]:
    """The MAC addresses of the router, by its addresses."""
    ports = lab.api.get("/v2.0/ports?device_owner=network:router_interface")["ports"]
    return {ip["ip_address"]: port["mac_address"] for port in ports for ip in port["fixed_ips"]}


def everybody(lab: Lab) -> dict[str, Host]:
    return {**lab.guests, **lab.hosts}


def packets(frame: Frame) -> bool:
    """Is it IP, and no neighbour discovery?"""
    return frame.untagged.ethertype in (IPV4, IPV6) and frame.nd is None


def test_everybody_reaches_everybody_by_the_router(lab: Lab, wire: Physical, routers: dict[str, str]) -> None:
    pairs = [(one, two) for one, two in permutations(everybody(lab).values(), 2) if one.name[0] != two.name[0]]
    with lab.sniff(wire) as heard:
        for sender in everybody(lab).values():  # one after the other: of those who want one address at once, four wait
            firsts = {ip: sender.ping(ip, count=1) for one, two in pairs if one is sender for ip in two.ips}
            lost = [ip for ip, ping in firsts.items() if ping.wait().lost]
            assert lost == [], f"{sender}: not even the first packet to a physical host is lost"
        pings = [(str(one), ip, one.ping(ip, count=2)) for one, two in pairs for ip in two.ips]
        assert {(one, ip): ping.wait().received for one, ip, ping in pings} == {
            (str(one), ip): 2 for one, two in pairs for ip in two.ips
        }
    sources = {frame.src for frame in heard.at(wire) if packets(frame)}
    assert sources & set(routers.values()) == set(), "no packet bears a MAC address of the router's"
    assert {source for source in sources if CHASSIS_MAC.fullmatch(source)}
    assert wire.moves() == 0
    lab.settles()


def test_what_was_routed_comes_to_a_guest_from_the_router(lab: Lab, routers: dict[str, str]) -> None:
    r2, mark = lab.guests["r2"], token()
    with lab.sniff(r2) as heard:
        for name in ("o1", "o3", "b2"):
            assert lab.guests[name].ping(r2.ip, count=1, mark=mark).wait().lost == 0
    assert {frame.src for frame in heard.at(r2) if mark in frame.raw} == {routers["10.0.1.1"]}
    lab.settles()


def test_a_packet_between_wires_crosses_once_each_way(lab: Lab, wire: Physical) -> None:
    mark = token()
    with lab.sniff(wire, lab.underlay) as heard:
        assert lab.guests["r1"].ping(lab.guests["b2"].ip, count=1, mark=mark).wait().lost == 0
    found = [(frame.vlan, frame.src[:2]) for frame in heard.at(wire) if mark in frame.raw]
    assert found == [(102, "1e"), (101, "1e")], "routed where it began, there and back"
    assert heard.copies(mark) == {"physnet1": 2}
    lab.settles()


def test_one_hypervisor_is_the_router_to_physical_hosts(lab: Lab, wire: Physical, routers: dict[str, str]) -> None:
    for host, number in ((lab.hosts["rh"], 1), (lab.hosts["bh"], 2)):
        four, _ = ips(number, 1)
        host.forgets()
        jacks = [wire.at(hypervisor) for hypervisor in lab.hypervisors.values()]
        with lab.sniff(*jacks) as heard:
            assert host.pings(four)
        assert list(heard.copies(answers_for(four)).values()) == [1]
        (servant,) = {name for name, frames in heard.by_place.items() if any(map(answers_for(four), frames))}
        assert routers[four] in host.run("ip", "neigh", "show", four)
        place = wire.learnt()[100 + number, routers[four]]
        assert servant == f"physnet1 from {place}"
        assert heard.copies(lambda frame: frame.src == routers[four]).keys() == {servant}  # noqa: B023
    lab.settles()


def test_the_router_answers_physical_hosts_and_tells_them_what_is_wrong(lab: Lab) -> None:
    rh = lab.hosts["rh"]
    assert [rh.pings(ip) for ip in ips(1, 1)] == [True, True]
    assert [rh.pings(ip) for ip in ips(3, 1)] == [True, True], "its address on another network, too"
    for command, said in (
        ("ping -n -c 1 -W 2 -t 1 10.0.3.11", "From 10.0.1.1 icmp_seq=1 Time to live exceeded"),
        ("ping -n -c 1 -W 2 -t 1 fd00:3::11", "From fd00:1::1 icmp_seq=1 Time exceeded: Hop limit"),
        ("ping -n -c 1 -W 2 192.0.2.77", "From 10.0.1.1 icmp_seq=1 Destination Net Unreachable"),
        ("ping -n -c 1 -W 4 10.0.2.99", "From 10.0.1.1 icmp_seq=1 Destination Host Unreachable"),
        ("ping -n -c 1 -W 2 -M do -s 1472 10.0.3.11", "From 10.0.1.1 icmp_seq=1 Frag needed and DF set (mtu = 1450)"),
        ("ping -n -c 1 -W 2 -M do -s 1452 fd00:3::11", "From fd00:1::1 icmp_seq=1 Packet too big: mtu=1450"),
    ):
        answer = rh.run(*command.split(), codes=(1,))
        assert said in answer, answer
    for ip in lab.guests["o1"].ips:
        assert " 0% packet loss" in rh.run("ping", "-n", "-c", "1", "-W", "2", "-s", "4000", ip), "it cuts to size now"
    for family in ("-4", "-6"):
        rh.run("ip", family, "route", "flush", "cache")
    lab.settles()


def test_a_next_hop_that_nobody_is_is_sought_and_told_to_who_wants_it(lab: Lab, wire: Physical) -> None:
    o1 = lab.guests["o1"]
    with lab.sniff(wire, *lab.guests.values()) as heard:
        answer = o1.run("ping", "-n", "-c", "1", "-W", "4", "10.0.1.98", codes=(1,))
    assert "From 10.0.3.1 icmp_seq=1 Destination Host Unreachable" in answer, answer
    asked = [frame for frame in heard.at(wire) if asks_for("10.0.1.98")(frame)]
    assert len(asked) == 3
    assert {frame.arp and frame.arp.sender_ip for frame in asked} == {"0.0.0.0"}, "in nobody's name"
    assert {frame.vlan for frame in asked} == {101}
    lab.settles()


def test_a_physical_host_that_gets_another_mac_is_followed(lab: Lab) -> None:
    rh, o3 = lab.hosts["rh"], lab.guests["o3"]
    assert o3.pings(rh)
    before = rh.mac
    rh.ip_batch("link set eth0 address 02:00:00:00:01:51")
    rh.mac = "02:00:00:00:01:51"
    rh.routes(ips(1, 1))
    rh.sends(arp(REQUEST, rh.mac, rh.ip, rh.ip))
    lab.eventually("an answer", lambda: o3.ping(rh, count=1, patience_s=0.5).wait().lost == 0, 5)
    rh.ip_batch(f"link set eth0 address {before}")
    rh.mac = before
    rh.routes(ips(1, 1))
    rh.sends(arp(REQUEST, rh.mac, rh.ip, rh.ip))
    lab.eventually("an answer", lambda: o3.ping(rh, count=1, patience_s=0.5).wait().lost == 0, 5)
    lab.settles()


def test_a_controller_that_dies_costs_no_routed_packet_and_sends_no_flow(lab: Lab) -> None:
    pairs = [("rh", "o3"), ("o1", "bh"), ("b2", "o1")]
    pings = [everybody(lab)[one].ping(everybody(lab)[other]) for one, other in pairs]
    for ping in pings:
        ping.first_reply(5)
    lab.controller.kill()
    time.sleep(1.0)
    lab.controller.start()
    lab.converged()
    assert [ping.stop().lost for ping in pings] == [0, 0, 0]
    assert {row["flow_mods"] for row in lab.chassis().values()} == {0}
    lab.settles()


def test_a_hypervisor_s_own_frame_that_comes_back_is_dropped(lab: Lab, wire: Physical) -> None:
    hv1, mark = lab.hypervisors["hv1"], token()
    key = next(int(mac[6:8], 16) for (_, mac), at in wire.learnt().items() if mac.startswith("1e:") and at == "hv1")
    frame = udp(BROADCAST, f"1e:00:{key:02x}:00:00:01", "10.0.1.66", "10.0.1.255", 7, mark)
    with lab.sniff(*lab.guests.values()) as heard:
        wire.sends(hv1, frame[:12] + b"\x81\0\0\x65" + frame[12:])
    assert heard.copies(mark) == {}
    lab.settles()


def test_the_next_hypervisor_serves_when_one_is_drained(lab: Lab, wire: Physical, routers: dict[str, str]) -> None:
    rh, (four, _) = lab.hosts["rh"], ips(1, 1)
    assert rh.pings(lab.guests["o3"])
    before = wire.learnt()[101, routers[four]]
    lab.api.put(f"/v1/chassis/{before}", {"gateway": False})
    lab.converged()
    lab.eventually("another place", lambda: wire.learnt().get((101, routers[four])) not in (None, before), 5)
    assert rh.pings(lab.guests["o3"])
    lab.api.put(f"/v1/chassis/{before}", {"gateway": True})
    lab.converged()
    lab.eventually("its first place", lambda: wire.learnt().get((101, routers[four])) == before, 5)
    assert rh.pings(lab.guests["o3"])
    lab.settles()
