"""What the API says of ways out is what packets do.

hv1  near .11, cable (VLAN)  on the wire          world   203.0.113.1, 2001:db8:e::1, on the wire
hv2                          the best gateway     printer .50, on the VLAN of the same wire
hv3                          the next best
hv4  away .14                not on the wire

near has two addresses, .11 and .12; near and away may both hold .100. All have IPv6, too.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from functools import partial
from ipaddress import ip_address

import pytest

from mininet_scenarios.api import Json
from mininet_scenarios.captures import Frame, advertises
from mininet_scenarios.errors import Refused
from mininet_scenarios.frames import IPV4, REQUEST, arp, solicitation, token
from mininet_scenarios.hosts import Guest, Host
from mininet_scenarios.lab import Lab

OWN, FLOATING, OTHER = "203.0.113.9", "203.0.113.50", "203.0.113.51"
WORLD6, OWN6, FAR6 = "2001:db8:e::1", "2001:db8:e::9", "2001:db8:f::9"
SECOND, VIP = "10.0.0.12", "10.0.0.100"
SOON_S = 5.0


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """The topology above; a guest lets everybody in."""
    options = ("--flat-networks", "physnet1", "--vlan-ranges", "physnet1:101:102", "--gateway-hold", "1")
    with Lab(hypervisors=4, serve=options) as lab:
        physical = lab.physical("physnet1", on=("hv1", "hv2", "hv3"))
        lab.gateways(None, 20, 10, None)
        world = lab.host("world", on=physical, ip=("203.0.113.1/24", f"{WORLD6}/64"), mac="02:00:00:00:0e:01")
        world.sysctl("ipv6/conf/lo/disable_ipv6", 0)
        world.ip_batch(f"addr add {FAR6}/128 dev lo")
        out = lab.external("out", physical=physical, cidr=("203.0.113.0/24", "2001:db8:e::/64"))
        red = lab.network("red", cidr=("10.0.0.0/24", "fd00:1::/64"), project="a", gateways=True)
        wired = lab.network("wired", cidr=("10.0.1.0/24", "fd00:2::/64"), project="a", type="vlan", gateways=True)
        lab.way_out(lab.router("edge", red, wired, project="a"), out, OWN, OWN6)
        for address in (FLOATING, OTHER):
            lab.floating_ip(out, address, project_id="a")
        pair = [{"ip_address": VIP}]
        for name, on, last, more in (("near", "hv1", 11, (SECOND,)), ("away", "hv4", 14, ())):
            ips, mac = (f"10.0.0.{last}", *more, f"fd00:1::{last}"), f"02:00:00:00:00:{last}"
            lab.guest(name, network=red, on=on, ip=ips, mac=mac, allowed_address_pairs=pair)
        lab.guest("cable", network=wired, on="hv1", ip=("10.0.1.21", "fd00:2::21"), mac="02:00:00:00:01:21")
        lab.host(
            "printer", on=physical, vlan=wired.segment, ip=("10.0.1.50/24", "fd00:2::50/64"), mac="02:00:00:00:01:50",
            gateways=("10.0.1.1", "fd00:2::1"),
        )  # fmt: skip
        world.ip_batch(*(f"route add {cidr} via {OWN6}" for cidr in ("fd00:1::/64", "fd00:2::/64")))
        for ethertype in ("IPv4", "IPv6"):
            lab.rule(lab.default_group("a"), ethertype=ethertype)
        lab.converged()
        lab.gateways_alive()
        yield lab


def floating(lab: Lab, address: str = FLOATING) -> Json:
    found: Json = lab.api.get(f"/v2.0/floatingips?floating_ip_address={address}")["floatingips"][0]
    return found


def associated(lab: Lab, guest: Guest | None, address: str = FLOATING, **attributes: object) -> Json:
    """Let the floating IP stand for a guest until the API says that it does; where it is translated then."""
    lab.associate(floating(lab, address), guest, **({"fixed_ip_address": guest.ip} if guest else {}) | attributes)
    expected = "ACTIVE" if guest else "DOWN"
    lab.eventually(f"A floating IP that is {expected}", lambda: floating(lab, address)["status"] == expected, SOON_S)
    found: Json = lab.api.get(f"/v1/floatingips/{floating(lab, address)['id']}")["floatingip"]
    if guest:
        lab.announced(lab.physicals["physnet1"], address, found["active"], SOON_S)
    return found


def ranked(lab: Lab) -> tuple[list[str], str | None]:
    """The gateways of the router, and the one that is active."""
    router = lab.api.get(f"/v1/routers/{lab.api.get('/v2.0/routers?name=edge')['routers'][0]['id']}")["router"]
    return router["gateways"], router["active"]


def known_as(lab: Lab, guest: Host, target: str = "203.0.113.1", source: str = "") -> set[str]:
    """Who a guest is to those whom it asks outside, from one of its addresses, twice."""
    world = lab.hosts["world"]
    with lab.sniff(world, what="icmp[icmptype] == icmp-echo or icmp6[0] == 128") as heard:
        assert guest.ping(target, count=2, patience_s=2, source=source).wait().lost == 0, f"{guest} to {target}"
    return {source_of(frame) for frame in heard.at(world)}


def source_of(frame: Frame) -> str:
    """From whom a packet is."""
    raw = frame.untagged.raw
    return str(ip_address(raw[26:30] if frame.untagged.ethertype == IPV4 else raw[22:38]))


def reached(lab: Lab, address: str = FLOATING) -> set[str]:
    """Who hears what is sent to a floating IP from outside."""
    world: Host = lab.hosts["world"]
    mark = token()
    with lab.sniff(*lab.guests.values()) as heard:
        world.ping(address, count=2, mark=mark).wait()
    return set(heard.copies(mark))


def only(lab: Lab, guest: Guest) -> bool:
    """Is that guest the one who hears it?"""
    return reached(lab) == {guest.name}


def test_a_floating_ip_is_where_the_api_says_and_reaches_whom_it_stands_for_once_it_is_active(lab: Lab) -> None:
    near, away = lab.guests["near"], lab.guests["away"]
    for guest, binding, chassis in ((near, "distributed", ["hv1"]), (away, "centralized", ["hv2", "hv3"])):
        where = associated(lab, guest)
        assert (where["binding"], where["chassis"], where["active"]) == (binding, chassis, chassis[0])
        lab.eventually(f"{guest.name} that is reached alone", partial(only, lab, guest), SOON_S)
        assert known_as(lab, guest) == {FLOATING}
        other = away if guest is near else near
        assert known_as(lab, other) == {OWN}
    where = associated(lab, None)
    assert (where["binding"], where["chassis"], where["active"]) == (None, [], None)
    assert reached(lab) == set()
    assert known_as(lab, away) == {OWN}
    lab.settles()


def test_a_hypervisor_that_is_drained_passes_nothing_to_the_outside(lab: Lab) -> None:
    near, world = lab.guests["near"], lab.hosts["world"]
    assert ranked(lab) == (["hv2", "hv3"], "hv2")
    for drained, expected in ((True, ["hv3"]), (False, ["hv2", "hv3"])):
        lab.api.put("/v1/chassis/hv2", {"gateway": not drained})
        lab.converged()
        lab.gateways_alive()
        lab.converged()  # that it has recovered is a change, too
        assert ranked(lab) == (expected, expected[0])
        lab.eventually("A way out", lambda: near.ping(world.ip, count=1).wait().lost == 0, SOON_S)
        mark = token()
        with lab.sniff(lab.underlay) as heard:
            assert near.ping(world.ip, count=3, mark=mark).wait().lost == 0
        ends = {frame.outer[30:34] for frame in heard.at(lab.underlay) if mark in frame.raw}
        assert lab.hypervisors[expected[0]].vtep in {socket.inet_ntoa(end) for end in ends}
        assert len(ends) == 2, "there and back by one gateway"
        assert near.pings(WORLD6)
        assert nd_answers(lab) == {f"physnet1 from {expected[0]}": 3}
    lab.settles()


def nd_answers(lab: Lab) -> dict[str, int]:
    """Who answers three questions for the gateway's IPv6 address, and how often."""
    world, wire = lab.hosts["world"], lab.physicals["physnet1"]
    with lab.sniff(*(wire.at(each) for each in lab.hypervisors.values() if each.mapped)) as heard:
        world.sends(*(solicitation(world.mac, WORLD6, OWN6, b"") for _ in range(3)))
        time.sleep(0.2)
    return heard.copies(lambda frame: advertises(OWN6)(frame) and frame.dst == world.mac)


# ---- floating IPs of several addresses, and of one that moves -------------------------------------------------


def test_two_floating_ips_stand_for_two_addresses_of_one_port(lab: Lab) -> None:
    near, world = lab.guests["near"], lab.hosts["world"]
    for address, fixed in ((FLOATING, near.ip), (OTHER, SECOND)):
        associated(lab, near, address, fixed_ip_address=fixed)
    for address, fixed in ((FLOATING, near.ip), (OTHER, SECOND)):
        assert known_as(lab, near, source=fixed) == {address}
        with lab.sniff(near, what=f"icmp[icmptype] == icmp-echo and dst host {fixed}") as heard:
            assert world.pings(address)
        assert len(heard.frames) == 3, f"{address} is {fixed}"
    with pytest.raises(Refused) as refused:
        lab.associate(floating(lab), near, fixed_ip_address=SECOND)
    assert refused.value.status == 409

    lab.associate(floating(lab, OTHER), None)
    lab.eventually("a floating IP that is nobody's", lambda: floating(lab, OTHER)["status"] == "DOWN", SOON_S)
    associated(lab, near, fixed_ip_address=SECOND)
    associated(lab, near, OTHER, fixed_ip_address=near.ip)
    for address, fixed in ((OTHER, near.ip), (FLOATING, SECOND)):
        assert known_as(lab, near, source=fixed) == {address}
        assert world.pings(address)
    associated(lab, None, OTHER)
    assert known_as(lab, near) == {OWN}
    assert known_as(lab, near, source=SECOND) == {FLOATING}
    associated(lab, None)
    lab.settles()


def test_a_floating_ip_of_a_virtual_address_follows_who_announces_it(lab: Lab) -> None:
    near, away, world = lab.guests["near"], lab.guests["away"], lab.hosts["world"]
    (red,) = lab.api.get("/v2.0/networks?name=red")["networks"]
    (subnet,) = lab.api.get(f"/v2.0/subnets?network_id={red['id']}&ip_version=4")["subnets"]
    fixed = [{"subnet_id": subnet["id"], "ip_address": VIP}]
    wanted = {"network_id": red["id"], "project_id": "a", "fixed_ips": fixed, "name": "vip"}
    port = lab.api.post("/v2.0/ports", {"port": wanted})["port"]
    lab.associate(floating(lab), None, port_id=port["id"])
    time.sleep(0.2)
    assert floating(lab)["status"] == "DOWN", "nobody holds the address"
    assert reached(lab) == set()
    for holder, other, binding in ((away, near, "centralized"), (near, away, "distributed")):
        other.ip_batch(f"addr flush to {VIP}")
        holder.ip_batch(f"addr add {VIP}/24 dev eth0")
        announced = time.monotonic()
        holder.sends(*(arp(REQUEST, holder.mac, VIP, VIP) for _ in range(2)))
        lab.eventually(
            f"{holder.name} that is reached", lambda: world.ping(FLOATING, count=1, patience_s=0.1).wait().lost == 0, 2
        )
        print(f"a floating IP followed a virtual address in {time.monotonic() - announced:.2f} s")
        assert only(lab, holder)
        lab.eventually("a floating IP that is ACTIVE", lambda: floating(lab)["status"] == "ACTIVE", SOON_S)
        where = lab.api.get(f"/v1/floatingips/{floating(lab)['id']}")["floatingip"]
        assert where["binding"] == binding
        assert known_as(lab, holder, source=VIP) == {FLOATING}
        time.sleep(max(0.0, announced + 2 - time.monotonic()))  # an address that has just moved stays for 1 s
    assert known_as(lab, near) == {OWN}
    near.ip_batch(f"addr flush to {VIP}")
    lab.associate(floating(lab), None)
    lab.api.delete(f"/v2.0/ports/{port['id']}")
    lab.settles()


# ---- IPv6, and VLANs behind a gateway -------------------------------------------------------------------------


def test_ipv6_goes_out_and_comes_in_by_the_gateway_as_it_is(lab: Lab) -> None:
    world = lab.hosts["world"]
    inside = (lab.guests["near"], lab.guests["away"], lab.guests["cable"], lab.hosts["printer"])
    macs = {port["mac_address"] for port in lab.api.get("/v2.0/ports?device_owner=network:router_interface")["ports"]}
    with lab.sniff(lab.physicals["physnet1"]) as heard:
        for each in inside:
            own = each.address(6)
            for target in (WORLD6, FAR6):
                assert known_as(lab, each, target) == {own}
            assert world.pings(own), each
            assert each.reaches(world, "tcp", 80, version=6) == {80}
            assert world.reaches(each, "tcp", 80, version=6) == {80}
            for one, other in ((world, each), (each, world)):
                one.run("ping", "-n", "-c", "2", "-i", "0.1", "-W", "1", "-s", "8000", other.address(6), codes=(0, 1))
                assert one.reaches(other, "udp", 5001, version=6, size=8000) == {5001}, "what fits is known"
    found = [frame for frame in heard.at(lab.physicals["physnet1"]) if frame.nd is None and frame.arp is None]
    to_hosts = [frame for frame in found if frame.untagged.dst != lab.hosts["world"].mac and frame.vlan]
    assert len(to_hosts) > 10
    assert {frame.src for frame in to_hosts} & macs == set(), "the MAC of a router is never on a wire"
    lab.settles()


def test_ipv6_errors_and_sizes_are_told_both_ways(lab: Lab) -> None:
    world, near, away, cable = lab.hosts["world"], *(lab.guests[name] for name in ("near", "away", "cable"))
    for host in (world, near):
        host.run("ip", "-6", "route", "flush", "cache")
    for host, command, says in (
        (near, f"ping -n -c 1 -W 2 -t 1 {FAR6}", "From fd00:1::1 icmp_seq=1 Time exceeded: Hop limit"),
        (world, f"ping -n -c 1 -W 2 -t 1 {near.address(6)}", f"From {OWN6} icmp_seq=1 Time exceeded: Hop limit"),
        (world, f"ping -n -c 1 -W 2 -t 1 {cable.address(6)}", f"From {OWN6} icmp_seq=1 Time exceeded: Hop limit"),
        (
            world,
            f"ping -n -c 1 -W 2 -M do -s 1452 {near.address(6)}",
            f"From {OWN6} icmp_seq=1 Packet too big: mtu=1450",
        ),
        (
            world,
            f"ping -n -c 1 -W 2 -M do -s 1452 {away.address(6)}",
            f"From {OWN6} icmp_seq=1 Packet too big: mtu=1450",
        ),
        (world, "ping -n -c 1 -W 4 fd00:1::99", f"From {OWN6} icmp_seq=1 Destination unreachable: Address unreachable"),
        (near, "ping -n -c 1 -W 4 2001:db8:e::77", "Destination unreachable: Address unreachable"),
    ):
        answer = host.run(*command.split(), codes=(1,))
        assert says in answer, f"{command}\n{answer}"
    for host in (world, near):
        host.run("ip", "-6", "route", "flush", "cache")
    assert world.refused(near.address(6), size=8)
    assert near.refused(FAR6, size=8)
    lab.settles()


def test_what_a_wide_network_sends_by_a_gateway_elsewhere_is_told_what_fits(lab: Lab) -> None:
    """A VLAN bears more than the tunnel to the gateway: TCP does not stall."""
    world, cable, printer = lab.hosts["world"], lab.guests["cable"], lab.hosts["printer"]
    for family in ("-4", "-6"):
        cable.run("ip", family, "route", "flush", "cache")
    for host, gateways in ((cable, ("10.0.1.1", "fd00:2::1")), (printer, ("10.0.1.1", "fd00:2::1"))):
        for target, size, says in (
            (world.ip, 1472, f"From {gateways[0]} icmp_seq=1 Frag needed and DF set (mtu = 1450)"),
            (WORLD6, 1452, f"From {gateways[1]} icmp_seq=1 Packet too big: mtu=1450"),
        ):
            command = ("ping", "-n", "-W", "2", "-M", "do", "-s")
            if host is cable:
                said = host.run(*command, str(size), "-c", "1", target, codes=(1,))
                assert says in said, said
            assert " 0% packet loss" in host.run(*command, str(size - 50), "-c", "1", target, codes=(0, 1))
        for version in (4, 6):
            host.transfers(world, 1, version=version, patience_s=5)
    for family in ("-4", "-6"):
        cable.run("ip", family, "route", "flush", "cache")
    lab.settles()


# ---- without translation --------------------------------------------------------------------------------------


def test_without_snat_guests_go_out_as_they_are_and_floating_ips_still_stand_for_theirs(lab: Lab) -> None:
    near, away, cable, world = (*(lab.guests[name] for name in ("near", "away", "cable")), lab.hosts["world"])
    (edge,) = lab.api.get("/v2.0/routers?name=edge")["routers"]
    way = edge["external_gateway_info"]
    world.ip_batch(f"route add 10.0.0.0/23 via {OWN}")
    assert not world.pings(away), "while it translates, nobody outside begins"
    lab.api.put(f"/v2.0/routers/{edge['id']}", {"router": {"external_gateway_info": {**way, "enable_snat": False}}})
    associated(lab, near)
    lab.converged()
    for each in (away, cable, lab.hosts["printer"]):
        assert known_as(lab, each) == {each.ip}
        assert world.pings(each), f"{each}, from outside"
        assert world.reaches(each, "tcp", 80) == {80}
        assert each.reaches(world, "tcp", 80) == {80}
    assert known_as(lab, near) == {FLOATING}
    assert world.pings(FLOATING)
    assert world.reaches(near, "tcp", 80, by=FLOATING) == {80}
    assert away.pings(FLOATING)
    answer = world.run("ping", "-n", "-c", "1", "-W", "2", "-M", "do", "-s", "1472", away.ip, codes=(1,))
    assert "Frag needed and DF set (mtu = 1450)" in answer, answer
    lab.api.put(f"/v2.0/routers/{edge['id']}", {"router": {"external_gateway_info": {**way, "enable_snat": True}}})
    lab.converged()
    lab.eventually("translation", lambda: known_as(lab, away) == {OWN}, SOON_S)
    assert not world.pings(away)
    world.ip_batch("route del 10.0.0.0/23")
    world.run("ip", "-4", "route", "flush", "cache")
    associated(lab, None)
    lab.settles()


# ---- what is foretold -----------------------------------------------------------------------------------------


def test_what_traces_foretell_happens(lab: Lab) -> None:
    associated(lab, lab.guests["near"])
    associated(lab, lab.guests["away"], OTHER)
    lab.converged()
    world, guests = lab.hosts["world"], [*lab.guests.values()]
    targets = (world.ip, WORLD6, FAR6, FLOATING, OTHER, OWN, OWN6, "203.0.113.77", "10.0.1.50", "198.51.100.1")
    asked = [(each, each.name, target) for each in guests for target in targets]
    inward = (FLOATING, OTHER, OWN, OWN6, "203.0.113.77", "fd00:1::11", "fd00:2::21", "fd00:1::99")
    asked += [(world, WORLD6 if ":" in target else world.ip, target) for target in inward]
    pings = [host.ping(target, count=2) for host, _, target in asked]
    happened = {(name, target): ping.wait().lost == 0 for (_, name, target), ping in zip(asked, pings, strict=True)}
    for (name, target), arrived in happened.items():
        answer = lab.api.post("/v1/trace", {"from": name, "to": target})
        # what is for an address outside that nobody has is seen off by the trace
        nobody = answer["physical_network"] and target in ("203.0.113.77", "198.51.100.1")
        assert (answer["fate"] == "delivered" and not nobody) == arrived, (name, target, answer)
    assert len({*happened.values()}) == 2
    weft = lab.controller.weft
    way = weft("trace", "--from", "away", "--to", FLOATING, "--proto", "tcp", "--dport", "80").splitlines()
    assert [line.split()[0] for line in way if " l3_snatted " in line or " l3_dnatted " in line] == ["hv2", "hv1"]
    assert way[-1] == "delivered"
    back = weft("trace", "--from", world.ip, "--to", OTHER, "--proto", "udp", "--dport", "53").splitlines()
    assert [line for line in back if line.startswith("hv2") and "is a floating IP" in line]
    assert back[-1] == "delivered"
    for address in (FLOATING, OTHER):
        associated(lab, None, address)
    lab.settles()
