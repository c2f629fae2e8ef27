"""Routers: guests of networks that a router joins reach each other, hypervisor to hypervisor; no router is a machine."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from ipaddress import ip_network

import pytest

from controller.flows.pipeline import Why
from mininet_scenarios.frames import icmpv6, ipv4, nd_mark, tcp, token, udp, udp6
from mininet_scenarios.hosts import Guest
from mininet_scenarios.lab import Lab, Network
from tests.frames import error

pytestmark = pytest.mark.scenario

CIDRS = {"red": ("10.0.0.0/24", "fd00:a::/64"), "blue": ("10.0.1.0/24", "fd00:b::/64")}


@pytest.fixture(scope="module")
def routed() -> Iterator[Lab]:
    """Networks red and blue, dual stack, on one router; red1, blue1 on hv1, red2, blue2 on hv2; hv3 has nobody."""
    with Lab(hypervisors=3) as lab:
        networks = {
            name: lab.network(name, cidr=cidr, project="a", type=type, gateways=True)
            for (name, cidr), type in zip(CIDRS.items(), ("vxlan", "geneve"), strict=True)
        }
        lab.router("r", *networks.values(), project="a")
        for number, (name, network) in enumerate(networks.items()):
            for host in (1, 2):
                lab.guest(
                    f"{name}{host}",
                    network=network,
                    on=f"hv{host}",
                    ip=(f"10.0.{number}.{10 + host}", f"fd00:{'ab'[number]}::{10 + host}"),
                    mac=f"02:00:00:00:0{number}:0{host}",
                )
        lab.converged()
        yield lab


def others(lab: Lab, *but: Guest) -> list[Guest]:
    return [guest for guest in lab.guests.values() if guest not in but]


def test_everybody_reaches_everybody_by_both_families(routed: Lab) -> None:
    for one in routed.guests.values():
        for other in others(routed, one):
            assert [one.pings(ip) for ip in other.ips] == [True, True], f"{one} to {other}"
    routed.settles()


def test_a_routed_packet_crosses_the_underlay_once(routed: Lab) -> None:
    red1, blue2, mark = routed.guests["red1"], routed.guests["blue2"], token()
    assert red1.pings(blue2)
    with routed.sniff() as heard:
        assert red1.ping(blue2.ip, count=1, mark=mark).wait().lost == 0
    assert heard.copies(mark) == {"underlay": 2, "blue2": 1, "red1": 1}, "a question and its answer"
    (question, answer) = [frame for frame in heard.at(routed.underlay) if mark in frame.raw]
    segments = {question.vni, answer.vni}
    networks = {row["name"]: row["provider:segmentation_id"] for row in routed.api.get("/v2.0/networks")["networks"]}
    assert segments == {networks["blue"], networks["red"]}, "each in the network of its receiver"
    routed.settles()


def test_one_hop_is_one_less(routed: Lab) -> None:
    red1 = routed.guests["red1"]
    for target, hops in ((routed.guests["red2"], 64), (routed.guests["blue1"], 63), (routed.guests["blue2"], 63)):
        for ip in target.ips:
            said = red1.run("ping", "-n", "-c", "1", "-W", "2", ip)
            assert re.search(r"(?:ttl|hlim)=(\d+)", said)[1] == str(hops), said  # type: ignore[index]
    routed.settles()


def test_every_address_of_a_router_answers_on_the_guests_own_hypervisor(routed: Lab) -> None:
    with routed.sniff(routed.underlay, what="udp or proto gre") as heard:
        for guest in routed.guests.values():
            for ip in ("10.0.0.1", "10.0.1.1", "fd00:a::1", "fd00:b::1"):
                assert guest.pings(ip), f"{guest} to {ip}"
    assert [frame for frame in heard.frames if frame.vni] == []
    routed.settles()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("ping -n -c 1 -W 2 -t 1 10.0.1.12", "From 10.0.0.1 icmp_seq=1 Time to live exceeded"),
        ("ping -n -c 1 -W 2 -t 1 fd00:b::12", "From fd00:a::1 icmp_seq=1 Time exceeded: Hop limit"),
        ("ping -n -c 1 -W 2 10.0.1.99", "From 10.0.0.1 icmp_seq=1 Destination Host Unreachable"),
        ("ping -n -c 1 -W 2 fd00:b::99", "From fd00:a::1 icmp_seq=1 Destination unreachable: Address unreachable"),
        ("ping -n -c 1 -W 2 192.0.2.77", "From 10.0.0.1 icmp_seq=1 Destination Net Unreachable"),
        ("ping -n -c 1 -W 2 2001:db8::1", "From fd00:a::1 icmp_seq=1 Destination unreachable: No route"),
    ],
)
def test_a_router_tells_its_sender_what_is_wrong(routed: Lab, command: str, said: str) -> None:
    answer = routed.guests["red1"].run(*command.split(), codes=(1,))
    assert said in answer, answer
    routed.settles()


def test_a_router_listens_to_nobody(routed: Lab) -> None:
    red1 = routed.guests["red1"]
    for ip in ("10.0.0.1", "fd00:a::1"):
        program = (
            "import socket, sys; s = socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET, "
            "socket.SOCK_DGRAM); s.settimeout(2); s.connect((sys.argv[1], 9)); s.send(b'x'); s.recv(1)"
        )
        said = red1.run("python3", "-c", program, ip, codes=(1,))
        assert "ConnectionRefusedError" in said, said
    routed.settles()


def test_a_router_forwards_nothing_of_nobody_nor_to_a_group(routed: Lab) -> None:
    red1, blue2, mark = routed.guests["red1"], routed.guests["blue2"], token()
    (row,) = routed.api.get("/v2.0/routers?name=r")["routers"]
    router, everything = f"/v2.0/routers/{row['id']}", {"0.0.0.0/0": blue2.ip, "::/0": blue2.address(6)}
    ports = routed.api.get(f"/v2.0/ports?device_id={row['id']}&network_id={red1.network_id}")["ports"]
    routes = [{"destination": to, "nexthop": by} for to, by in everything.items()]
    routed.api.put(router, {"router": {"routes": routes}})
    routed.change(blue2, port_security_enabled=False, security_groups=[])
    routed.converged()
    with routed.sniff(blue2) as heard:
        for port in ports:
            macs = port["mac_address"], red1.mac
            red1.sends(
                udp(*macs, "0.0.0.0", blue2.ip, 67, mark, from_port=68),  # port security lets a DHCP client send this
                icmpv6(*macs, "::", blue2.address(6), 133, bytes(4) + nd_mark(mark)),
                *(udp(*macs, red1.ip, to, 7, mark) for to in ("239.1.1.1", "255.255.255.255", "127.0.0.1", "0.0.0.0")),
                *(udp6(*macs, red1.address(6), to, 7, mark) for to in ("ff05::1", "::1", "::")),
            )
    assert heard.copies(mark) == {}
    known = token()
    with routed.sniff(blue2) as heard:
        for port in ports:
            red1.sends(udp(port["mac_address"], red1.mac, red1.ip, "192.0.2.9", 7, known))
    assert heard.copies(known) == {"blue2": len(ports)}, "by the same route, to an address of somebody's"
    routed.api.put(router, {"router": {"routes": []}})
    routed.change(blue2, port_security_enabled=True, security_groups=[routed.default_group("a")["id"]])
    routed.settles()


def test_a_router_that_is_down_passes_nothing_and_leaves_no_flow(routed: Lab) -> None:
    red1, blue2 = routed.guests["red1"], routed.guests["blue2"]
    (router,) = routed.api.get("/v2.0/routers?name=r")["routers"]
    before = {name: set(hypervisor.flows()) for name, hypervisor in routed.hypervisors.items()}
    assert red1.pings(blue2)
    routed.api.put(f"/v2.0/routers/{router['id']}", {"router": {"admin_state_up": False}})
    routed.converged()
    assert not red1.pings(blue2)
    assert not red1.pings("10.0.0.1")
    assert red1.pings(routed.guests["red2"]), "one's own network is no matter of routers"
    dump = routed.hypervisors["hv1"].ofctl("dump-flows", "br-int", "table=27")
    assert len([line for line in dump.splitlines() if "nw_dst" in line or "ipv6_dst" in line]) == 0
    routed.api.put(f"/v2.0/routers/{router['id']}", {"router": {"admin_state_up": True}})
    routed.converged()
    assert red1.pings(blue2)
    assert {name: set(hypervisor.flows()) for name, hypervisor in routed.hypervisors.items()} == before
    routed.settles()


def test_a_hypervisor_that_nobody_needs_has_no_route(routed: Lab) -> None:
    dump = routed.hypervisors["hv3"].ofctl("dump-flows", "br-int", "table=27")
    assert "nw_dst" not in dump
    assert "ipv6_dst" not in dump
    routed.settles()


def test_without_its_interface_a_network_is_cut_off(routed: Lab) -> None:
    red1, blue1 = routed.guests["red1"], routed.guests["blue1"]
    (router,) = routed.api.get("/v2.0/routers?name=r")["routers"]
    blue = next(guest for guest in (blue1,)).network_id
    subnets = [row for row in routed.api.get(f"/v2.0/subnets?network_id={blue}")["subnets"]]
    for subnet in subnets:
        routed.api.put(f"/v2.0/routers/{router['id']}/remove_router_interface", {"subnet_id": subnet["id"]})
    routed.converged()
    assert [red1.pings(ip) for ip in blue1.ips] == [False, False]
    for subnet in subnets:
        routed.api.put(f"/v2.0/routers/{router['id']}/add_router_interface", {"subnet_id": subnet["id"]})
    routed.converged()
    assert [red1.pings(ip) for ip in blue1.ips] == [True, True]
    routed.settles()


def test_a_third_network_is_known_where_it_is_reached_for_as_long_as_it_is(routed: Lab) -> None:
    """Green, with a guest on hv3 alone: all reach all; nothing of it is left when the router has left it."""
    (router,) = routed.api.get("/v2.0/routers?name=r")["routers"]
    green = routed.network("green", cidr=("10.0.2.0/24", "fd00:c::/64"), project="a", gateways=True)
    green3 = routed.guest("green3", network=green, on="hv3", ip=("10.0.2.13", "fd00:c::13"), mac="02:00:00:00:02:03")
    routed.converged()
    before = {name: hypervisor.holds() for name, hypervisor in routed.hypervisors.items()}
    routed.join(router, *green.subnets)
    routed.converged()
    for guest in others(routed, green3):
        assert [guest.pings(ip) for ip in green3.ips] == [True, True]
        assert [green3.pings(ip) for ip in guest.ips] == [True, True]
    near, far = routed.guests["red1"], routed.guests["blue2"]
    mark = token()
    with routed.sniff(*routed.guests.values()) as heard:
        assert near.ping(far.ip, count=1, mark=mark).wait().lost == 0
    assert heard.copies(mark) == {"red1": 1, "blue2": 1}, "hv3 hears nothing of what is between others"
    routed.part(router, *green.subnets)
    routed.converged()
    assert not near.pings(green3, count=1)
    assert {name: hypervisor.holds() for name, hypervisor in routed.hypervisors.items()} == before
    routed.dismiss(green3)
    routed.settles()


def test_two_tenants_routers_may_have_the_same_networks() -> None:
    with Lab(hypervisors=2) as lab:
        guests: dict[str, list[Guest]] = {}
        for number, project in enumerate(("a", "b")):
            left, right = (
                lab.network(f"{project}{n}", cidr=f"10.0.{n}.0/24", project=project, gateways=True) for n in (0, 1)
            )
            lab.router(project, left, right, project=project)
            guests[project] = [
                lab.guest(
                    f"{project}{n}",
                    network=network,
                    on=f"hv{n + 1}",
                    ip=f"10.0.{n}.10",
                    mac=f"02:00:00:00:0{number}:1{n}",
                )
                for n, network in enumerate((left, right))
            ]
        lab.converged()
        for project, other in (("a", "b"), ("b", "a")):
            mark = token()
            with lab.sniff(*guests[other]) as heard:
                assert guests[project][0].ping("10.0.1.10", count=2, mark=mark).wait().lost == 0
            assert heard.copies(mark) == {}
        lab.settles()


def attach(lab: Lab, router: str, network: Network, last: int) -> str:
    """Give a router an address on each subnet of a network, by its last number; the MAC of its interface."""
    fixed = [{"subnet_id": subnet.id, "ip_address": str(ip_network(subnet.cidr)[last])} for subnet in network.subnets]
    wanted = {"network_id": network.id, "fixed_ips": fixed, "project_id": "a"}
    port = lab.api.post("/v2.0/ports", {"port": wanted})["port"]
    lab.api.put(f"/v2.0/routers/{router}/add_router_interface", {"port_id": port["id"]})
    return str(port["mac_address"])


# ---- a chain of routers ---------------------------------------------------------------------------------------

NARROW = 1300
"""The MTU of the network between the first two routers; of all others it is 1450."""


@pytest.fixture(scope="module")
def chain() -> Iterator[Lab]:
    """Three routers in a row, each with a route to what is behind the next, for both families.

    near on hv1 is at one end; far on hv2 and beside on hv1 are at the other.
    """
    with Lab(hypervisors=2) as lab:
        nets = {
            n: lab.network(
                f"n{n}", cidr=(f"10.0.{n}.0/24", f"fd00:{n}::/64"), project="a", gateways=True,
                mtu=NARROW if n == 1 else 1450,
            )
            for n in (0, 1, 2, 9)
        }  # fmt: skip
        one, two, three = (lab.router(f"r{n}", project="a")["id"] for n in (1, 2, 3))
        for router, net, last in ((one, 0, 1), (one, 1, 1), (two, 1, 2), (two, 2, 2), (three, 2, 3), (three, 9, 1)):
            attach(lab, router, nets[net], last)
        for router, ways in ((one, ((9, 1, 2),)), (two, ((9, 2, 3), (0, 1, 1))), (three, ((0, 2, 2),))):
            routes(
                lab,
                router,
                *((f"10.0.{to}.0/24", f"10.0.{by}.{last}") for to, by, last in ways),
                *((f"fd00:{to}::/64", f"fd00:{by}::{last}") for to, by, last in ways),
            )
        for name, net, host, last in (("near", 0, 1, 10), ("far", 9, 2, 10), ("beside", 9, 1, 11)):
            mac = f"02:00:00:00:0{net}:{last}"
            lab.guest(
                name, network=nets[net], on=f"hv{host}", ip=(f"10.0.{net}.{last}", f"fd00:{net}::{last}"), mac=mac
            )
        lab.converged()
        yield lab


def test_a_chain_of_three_routers_is_passed_in_one_go(chain: Lab) -> None:
    near, far, mark = chain.guests["near"], chain.guests["far"], token()
    assert near.pings(far)
    with chain.sniff(chain.underlay) as heard:
        assert near.ping(far.ip, count=1, mark=mark).wait().lost == 0
    assert heard.copies(mark) == {"underlay": 2}
    for ip in far.ips:
        said = near.run("ping", "-n", "-c", "1", ip)
        assert re.search(r"(?:ttl|hlim)=61\b", said), said
    chain.settles()


@pytest.mark.parametrize(
    ("sender", "target", "hops"),
    [
        ("near", "10.0.9.10", ["10.0.0.1", "10.0.1.2", "10.0.2.3", "10.0.9.10"]),
        ("near", "fd00:9::11", ["fd00::1", "fd00:1::2", "fd00:2::3", "fd00:9::11"]),
        ("far", "10.0.0.10", ["10.0.9.1", "10.0.2.2", "10.0.1.1", "10.0.0.10"]),
        ("far", "fd00::10", ["fd00:9::1", "fd00:2::2", "fd00:1::1", "fd00::10"]),
        ("near", "10.0.1.2", ["10.0.0.1", "10.0.1.2"]),
        ("near", "10.0.9.99", ["10.0.0.1", "10.0.1.2", "10.0.2.3", "10.0.2.3 !H"]),
        ("near", "fd00:9::99", ["fd00::1", "fd00:1::2", "fd00:2::3", "fd00:2::3 !H"]),
        ("near", "192.0.2.77", ["10.0.0.1", "10.0.0.1 !N"]),
        ("near", "2001:db8::1", ["fd00::1", "fd00::1 !N"]),
    ],
)
def test_traceroute_sees_every_router(chain: Lab, sender: str, target: str, hops: list[str]) -> None:
    said = chain.guests[sender].run("traceroute", "-n", "-q", "1", "-N", "1", "-w", "2", target)
    head, *lines = (re.sub(r"  [\d.]+ ms", "", line) for line in said.splitlines())
    assert head.startswith(f"traceroute to {target} ({target}), 30 hops max, ")
    assert lines == [f"{number:2}  {hop}" for number, hop in enumerate(hops, start=1)], said


# ---- several next hops ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def forked() -> Iterator[tuple[Lab, set[str]]]:
    """Near and far, and between them one router and then either of two; a on hv1 in near, z on hv2 in far.

    With the lab, the MACs by which the two are on far. On the network between are two appliances, on hv2 and hv3.
    """
    with Lab(hypervisors=3) as lab:
        near, middle, far = (
            lab.network(name, cidr=f"10.0.{n}.0/24", project="a", gateways=True)
            for n, name in enumerate(("near", "middle", "far"))
        )
        first, left, right = (lab.router(name, project="a")["id"] for name in ("first", "left", "right"))
        attach(lab, first, near, 1)
        for last, router in enumerate((first, left, right), start=1):
            attach(lab, router, middle, last)
        macs = {attach(lab, left, far, 1), attach(lab, right, far, 2)}
        routes(lab, first, *(("10.0.2.0/24", f"10.0.1.{last}") for last in (2, 3)))
        for router in (left, right):
            routes(lab, router, ("10.0.0.0/24", "10.0.1.1"))
        for name, network, ip, host in (("a", near, "10.0.0.10", 1), ("z", far, "10.0.2.10", 2)):
            lab.guest(name, network=network, on=f"hv{host}", ip=ip, mac=f"02:00:00:00:00:0{host}")
        for host in (2, 3):
            ip, mac = f"10.0.1.{10 + host}", f"02:00:00:00:01:0{host}"
            lab.guest(
                f"appliance{host}", network=middle, on=f"hv{host}", ip=ip, mac=mac,
                port_security_enabled=False, security_groups=[],
            )  # fmt: skip
        lab.converged()
        yield lab, macs


def routes(lab: Lab, router: str, *wanted: tuple[str, str]) -> None:
    """Give a router these routes, and no others."""
    given = [{"destination": destination, "nexthop": nexthop} for destination, nexthop in wanted]
    lab.api.put(f"/v2.0/routers/{router}", {"router": {"routes": given}})


PORTS = range(2000, 2064)


def taken(lab: Lab) -> list[set[str]]:
    """By which routers, by their MACs, the packets of each of many TCP connections from a come to z.

    Of UDP Open vSwitch hashes no ports (flow.c, `flow_hash_symmetric_l4`): between two hosts all of it goes one way.
    """
    a, z = lab.guests["a"], lab.guests["z"]
    with lab.sniff(z, what="tcp and src host 10.0.0.10") as heard:
        assert a.reaches(z, "tcp", *PORTS, patience_s=5) == {*PORTS}
    found = defaultdict[bytes, list[str]](list)
    for frame in heard.frames:
        found[frame.raw[34:38]].append(frame.src)
    assert all(len(macs) > 2 for macs in found.values()), "more than a packet each"
    return [{*macs} for macs in found.values()]


def test_connections_spread_over_all_next_hops_and_each_keeps_to_its_own(forked: tuple[Lab, set[str]]) -> None:
    lab, macs = forked
    assert lab.guests["a"].pings(lab.guests["z"])
    found = taken(lab)
    assert len(found) == len(PORTS)
    assert {len(each) for each in found} == {1}
    shares = Counter(mac for (mac,) in found)
    assert shares.keys() == macs
    assert min(shares.values()) > len(PORTS) // 8, "about half of them each"
    lab.settles()


def test_when_a_next_hop_goes_all_take_the_other(forked: tuple[Lab, set[str]]) -> None:
    lab, _ = forked
    (first,) = lab.api.get("/v2.0/routers?name=first")["routers"]
    routes(lab, first["id"], ("10.0.2.0/24", "10.0.1.3"))
    lab.converged()
    assert len(set().union(*taken(lab))) == 1
    assert "type=select" not in lab.hypervisors["hv1"].groups()
    routes(lab, first["id"], *(("10.0.2.0/24", f"10.0.1.{last}") for last in (2, 3)))
    lab.converged()
    assert len(set().union(*taken(lab))) == 2
    lab.settles()


def routers(lab: Lab, *names: str, up: bool) -> None:
    """Turn routers up or down."""
    for name in names:
        (router,) = lab.api.get(f"/v2.0/routers?name={name}")["routers"]
        lab.api.put(f"/v2.0/routers/{router['id']}", {"router": {"admin_state_up": up}})
    lab.converged()


def test_a_router_that_is_down_is_no_next_hop(forked: tuple[Lab, set[str]]) -> None:
    lab, _ = forked
    a, z = lab.guests["a"], lab.guests["z"]
    assert len(set().union(*taken(lab))) == 2
    routers(lab, "right", up=False)
    assert len(set().union(*taken(lab))) == 1, "and not one connection is lost: z answers by left"
    routers(lab, "left", up=False)
    said = a.run("ping", "-n", "-c", "1", "-W", "2", z.ip, codes=(1,))
    assert "From 10.0.0.1 icmp_seq=1 Destination Host Unreachable" in said, said
    routers(lab, "left", "right", up=True)
    assert len(set().union(*taken(lab))) == 2
    lab.settles()


def shared(lab: Lab) -> dict[str, int]:
    """How many of many connections from a, to where the appliances lead, come to each of these; each to one alone."""
    a, mark = lab.guests["a"], token()
    (port,) = (row for row in lab.api.get("/v2.0/ports")["ports"] if row["fixed_ips"][0]["ip_address"] == "10.0.0.1")
    ends = (port["mac_address"], a.mac), "10.0.0.10", "10.0.7.7", 6
    frames = [ipv4(*ends, tcp("10.0.0.10", "10.0.7.7", (source, 80), 1, 2, mark)) for source in PORTS]
    appliances = [guest for name, guest in lab.guests.items() if name.startswith("appliance")]
    with lab.sniff(*appliances) as heard:
        a.sends(*frames)
    assert len({frame.raw[34:36] for frame in heard.frames if mark in frame.raw}) == sum(heard.copies(mark).values())
    return heard.copies(mark)


def test_an_appliance_that_is_not_there_is_no_next_hop(forked: tuple[Lab, set[str]]) -> None:
    """Unplugged, down, its hypervisor forgotten; and when none is there, senders are told."""
    lab, _ = forked
    two, three, every = lab.guests["appliance2"], lab.guests["appliance3"], len(PORTS)
    (first,) = lab.api.get("/v2.0/routers?name=first")["routers"]
    more = [{"destination": "10.0.7.0/24", "nexthop": guest.ip} for guest in (two, three)]
    lab.api.put(f"/v2.0/routers/{first['id']}/add_extraroutes", {"router": {"routes": more}})
    lab.converged()
    assert min(shared(lab).values()) > every // 8
    assert sum(shared(lab).values()) == every

    two.unplug()
    lab.converged()
    assert shared(lab) == {"appliance3": every}
    two.plug()
    lab.change(three, admin_state_up=False)
    lab.converged()
    assert shared(lab) == {"appliance2": every}
    lab.change(three, admin_state_up=True)
    lab.converged()
    assert len(shared(lab)) == 2

    hv3 = lab.hypervisors["hv3"]
    hv3.leave()
    lab.eventually("hv3 is gone", lambda: not lab.chassis()["hv3"]["connected"], 10)
    lab.eventually("its database is gone", lambda: not lab.chassis()["hv3"]["database_connected"], 10)
    three.plugged = False
    lab.controller.weft("chassis", "delete", "hv3")
    lab.converged()
    assert shared(lab) == {"appliance2": every}
    two.unplug()
    lab.converged()
    said = lab.guests["a"].run("ping", "-n", "-c", "1", "-W", "2", "10.0.7.7", codes=(1,))
    assert "From 10.0.0.1 icmp_seq=1 Destination Host Unreachable" in said, said

    two.plug()
    hv3.revive()
    three.plugged = True
    lab.converged()
    assert len(shared(lab)) == 2
    lab.api.put(f"/v2.0/routers/{first['id']}/remove_extraroutes", {"router": {"routes": more}})
    lab.settles()


# ---- sizes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("sender", "target"), [("near", "far"), ("far", "near"), ("near", "beside"), ("beside", "near")]
)
def test_tcp_finds_the_size_of_the_narrowest_network_and_does_not_stall(
    chain: Lab, sender: str, target: str, version: int
) -> None:
    """Two routers away, or one: whichever comes before the narrow network tells."""
    one, other = chain.guests[sender], chain.guests[target]
    for guest in (one, other):
        forget_sizes(guest)
    assert one.pings(other.address(version))
    with chain.sniff(one, what="icmp[0] == 3" if version == 4 else "icmp6 and ip6[40] == 2") as heard:
        done = one.transfers(other, 8, version=version)
    print(f"IPv{version} {sender} to {target}: {done}, no stall of a second: {done.longest_stall_s < 1}")
    assert done.bytes == 8 << 20
    assert done.longest_stall_s < 1
    tells = {"near": {4: "10.0.0.1", 6: "fd00::1"}}.get(sender, {4: "10.0.2.2", 6: "fd00:2::2"})
    told = [error(frame.raw) for frame in heard.frames]
    assert {(each and each.address, each and each.mtu) for each in told} == {(tells[version], NARROW)}
    assert f"mtu {NARROW}" in one.run("ip", "route", "get", other.address(version))
    chain.settles()


@pytest.mark.parametrize("version", [4, 6])
def test_large_datagrams_come_through_once_the_size_is_known(chain: Lab, version: int) -> None:
    near, far = chain.guests["near"], chain.guests["far"]
    for one, other in ((near, far), (far, near)):
        forget_sizes(one)
        header = 28 if version == 4 else 48
        ask = ("ping", "-n", "-c", "1", "-W", "2", "-M", "do", "-s", str(1450 - header), other.address(version))
        one.run(*ask, codes=(1,))
    assert near.reaches(far, "udp", 9000, version=version, size=8000, patience_s=3) == {9000}
    chain.settles()


def test_of_large_datagrams_a_sender_of_ipv6_learns(chain: Lab) -> None:
    near, far = chain.guests["near"], chain.guests["far"]
    forget_sizes(near)
    assert near.pings(far.address(6))
    assert near.reaches(far, "udp", 9001, version=6, size=8000, patience_s=1) == set(), "the first was too large"
    assert f"mtu {NARROW}" in near.run("ip", "route", "get", far.address(6))
    chain.settles()


def forget_sizes(guest: Guest) -> None:
    """Forget what routers have told of sizes."""
    for family in ("-4", "-6"):
        guest.run("ip", family, "route", "flush", "cache")


@pytest.fixture(scope="module")
def narrowing() -> Iterator[Lab]:
    """Networks wide (1450 bytes) and narrow (1300), dual stack, on one router; w on hv1, n on hv2."""
    with Lab(hypervisors=2) as lab:
        wide = lab.network("wide", cidr=CIDRS["red"], project="a", gateways=True)
        narrow = lab.network("narrow", cidr=CIDRS["blue"], project="a", gateways=True, mtu=1300)
        lab.router("r", wide, narrow, project="a")
        lab.guest("w", network=wide, on="hv1", ip=("10.0.0.11", "fd00:a::11"), mac="02:00:00:00:00:01")
        lab.guest("n", network=narrow, on="hv2", ip=("10.0.1.12", "fd00:b::12"), mac="02:00:00:00:00:02")
        lab.converged()
        yield lab


@pytest.mark.parametrize(
    ("target", "header", "said"),
    [
        ("10.0.1.12", 28, "From 10.0.0.1 icmp_seq=1 Frag needed and DF set (mtu = 1300)"),
        ("fd00:b::12", 48, "From fd00:a::1 icmp_seq=1 Packet too big: mtu=1300"),
    ],
)
def test_a_sender_learns_the_size_of_the_next_network(narrowing: Lab, target: str, header: int, said: str) -> None:
    w = narrowing.guests["w"]

    def asks(size: int, *options: str, codes: tuple[int, ...] = (0,)) -> str:
        return w.run("ping", "-n", "-c", "1", "-W", "2", *options, "-s", str(size - header), target, codes=codes)

    assert " 0% packet loss" in asks(1300, "-M", "do"), "the largest that fits"
    answer = asks(1301, "-M", "do", codes=(1,))
    assert said in answer, answer
    assert "mtu 1300" in w.run("ip", "route", "get", target), "and keeps it"
    assert " 0% packet loss" in asks(1420), "so it cuts its packets itself"
    w.run("ip", "-6" if ":" in target else "-4", "route", "flush", "cache")
    narrowing.settles()


def test_what_may_be_cut_is_dropped_counted_and_told_to_nobody(narrowing: Lab) -> None:
    w, hv1 = narrowing.guests["w"], narrowing.hypervisors["hv1"]
    before, told = hv1.drops(), too_big(narrowing)

    def asks(size: int) -> str:
        return w.run("ping", "-n", "-c", "1", "-W", "2", "-M", "dont", "-s", str(size), "10.0.1.12", codes=(1,))

    with narrowing.sniff(narrowing.guests["n"], what="icmp") as heard:
        assert "From" not in asks(1400) + asks(2000)
    assert heard.frames == [], "nor the second fragment: the receiver's conntrack waits for the first"
    wanted = Counter({Why.TOO_BIG: 1, Why.FRAGMENT_TOO_BIG: 1})
    narrowing.eventually("a count of each", lambda: hv1.drops() - before >= wanted, 5)
    assert w.pings("10.0.1.12")
    narrowing.eventually("of what was measured that which fits to be counted", lambda: hv1.drops()[Why.TOO_BIG] > 2, 5)
    assert too_big(narrowing) == told + 1, "but not told: that is none that was dropped"
    narrowing.settles()


def too_big(lab: Lab) -> int:
    """How many packets an operator is told to have been too big."""
    found = lab.api.get("/v1/drops?chassis=hv1")["drops"]
    return sum(each["packets"] for each in found if each["reason"] == "TOO_BIG")


def test_between_networks_of_one_size_nothing_is_measured(routed: Lab) -> None:
    for hypervisor in routed.hypervisors.values():
        assert "check_pkt_larger" not in hypervisor.ofctl("dump-flows", "br-int", "table=31")
