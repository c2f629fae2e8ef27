"""Addresses that only guests know: an appliance's, behind a port without port security, and virtual ones that move.

              hv1                                        hv2
    client .11                                                                       red,  10.0.0.0/24, fd00:a::/64
    near .21    one .31 (pairs)                far .22    two .32 (pairs)            blue, 10.0.1.0/24, fd00:b::/64
                                               box .41 (no port security)

A router joins the two. `one` and `two` share the virtual addresses .100 and ::100, and another at the MAC of a virtual
router. `box` forwards what is for 10.9.0.0/16 and fd00:9::/64, as addresses of its own that the model knows, or not.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest

from mininet_scenarios.captures import Frame, advertises, answers_for, asks_for, solicits
from mininet_scenarios.frames import ALL_NODES, ALL_NODES_MAC, IPV4, REPLY, REQUEST, advertisement, arp, token, udp
from mininet_scenarios.hosts import Guest
from mininet_scenarios.lab import Lab
from mininet_scenarios.pings import Replies

pytestmark = pytest.mark.scenario

VIP, VIP6 = "10.0.1.100", "fd00:b::100"
VIRTUAL, VIRTUAL_IP, VIRTUAL_IP6 = "00:00:5e:00:01:01", "10.0.1.101", "fd00:b::101"
HIDDEN = ("10.0.1.99", "fd00:b::99")
"""Addresses of box that the model does not know."""
BEHIND = ("10.9.0.1", "fd00:9::1")
"""Addresses behind box."""
NESTED = "02:00:00:00:42:42"
NEW_MAC = "02:00:00:00:aa:aa"
FOLLOWS_S = 2.0
FLOOD_S = 3.0
ND = "arp or (icmp6 and (icmp6[0] == 135 or icmp6[0] == 136))"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """The topology above."""
    with Lab(hypervisors=2) as lab:
        red, blue = (
            lab.network(name, cidr=(f"10.0.{n}.0/24", f"fd00:{'ab'[n]}::/64"), project="a", gateways=True, type=type)
            for n, (name, type) in enumerate((("red", "geneve"), ("blue", "vxlan")))
        )
        lab.router("r", red, blue, project="a")
        pairs = [{"ip_address": ip} for ip in (VIP, VIP6)]
        pairs += [{"ip_address": ip, "mac_address": VIRTUAL} for ip in (VIRTUAL_IP, VIRTUAL_IP6)]
        open_to_all = {"port_security_enabled": False, "security_groups": []}
        for name, network, last, host, more in (
            ("client", red, 11, 1, {}), ("near", blue, 21, 1, {}), ("far", blue, 22, 2, {}),
            ("one", blue, 31, 1, {"allowed_address_pairs": pairs}), ("two", blue, 32, 2, {"allowed_address_pairs": pairs}),
            ("box", blue, 41, 2, open_to_all),
        ):  # fmt: skip
            n = (red, blue).index(network)
            ips = (f"10.0.{n}.{last}", f"fd00:{'ab'[n]}::{last}")
            lab.guest(name, network=network, on=f"hv{host}", ip=ips, mac=f"02:00:00:00:0{n}:{last}", **more)
        box = lab.guests["box"]
        for key in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            box.sysctl(key, 1)
        box.ip_batch(*(f"addr add {ip} dev eth0 nodad" for ip in BEHIND))
        box.ip_batch(*(f"addr add {ip}/{64 if ':' in ip else 24} dev eth0 nodad" for ip in HIDDEN))
        for ethertype, prefix in (("IPv4", "0.0.0.0/0"), ("IPv6", "::/0")):
            lab.rule(lab.default_group("a"), ethertype=ethertype, prefix=prefix)
        lab.converged()
        yield lab


def routes(lab: Lab, *nexthops: str) -> None:
    """Give the router a route to what is behind box by each of these, and no other."""
    (row,) = lab.api.get("/v2.0/routers?name=r")["routers"]
    wanted = [{"destination": "fd00:9::/64" if ":" in to else "10.9.0.0/16", "nexthop": to} for to in nexthops]
    lab.api.put(f"/v2.0/routers/{row['id']}", {"router": {"routes": wanted}})
    lab.converged()


def watchers(lab: Lab) -> list[Guest]:
    """Who wants the virtual addresses: through the router, here and there."""
    return [lab.guests[name] for name in ("client", "near", "far")]


def takes(guest: Guest, *addresses: str) -> None:
    """Have a guest take virtual addresses, and announce them as keepalived does: by ARP and ND, more than once."""
    guest.ip_batch(*(f"addr add {ip}/{64 if ':' in ip else 24} dev eth0 nodad" for ip in addresses))
    guest.sends(*(announced(ip, guest.mac) for _ in range(2) for ip in addresses))


def announced(ip: str, mac: str) -> bytes:
    """A gratuitous ARP request, or an unsolicited advertisement."""
    return advertisement(ALL_NODES_MAC, mac, ALL_NODES, ip, token()) if ":" in ip else arp(REQUEST, mac, ip, ip)


def loses(guest: Guest, *addresses: str) -> None:
    """Take virtual addresses from a guest, which says nothing of it."""
    guest.ip_batch(*(f"addr del {ip}/{64 if ':' in ip else 24} dev eth0" for ip in addresses))


def soon(lab: Lab, guest: Guest, ip: str) -> None:
    """Wait until an address answers: of what nobody had, nobody is asked for 5 s."""
    lab.eventually(f"an answer to {guest} from {ip}", lambda: guest.pings(ip, count=1), 8)


def longest_gap(replies: Replies) -> float:
    """For how long no answer came, at the longest; in seconds."""
    return max(later - earlier for earlier, later in pairwise(sorted(replies.at.values())))


def test_an_appliance_is_a_next_hop_by_addresses_that_are_known_and_that_are_not(lab: Lab) -> None:
    client, near, box = (lab.guests[name] for name in ("client", "near", "box"))
    for nexthops in (box.ips, HIDDEN):
        routes(lab, *nexthops)
        for ip in BEHIND:
            assert client.ping(ip, count=3).wait().lost == 0, f"{ip} by {nexthops}, of which nobody knew where it was"
    for ip in HIDDEN:
        assert near.pings(ip), ip
        with lab.sniff(what=ND) as heard:
            near.forgets()
            assert near.pings(ip), ip
        assert [*heard.copies(lambda _: True)] == ["near"], "its own switch answers, and nobody is asked"
    lab.settles()


def told(guest: Guest, *targets: str) -> str:
    """What a guest is told of the first ping to each of some addresses, all at once."""
    pings = " & ".join(f"ping -n -c 1 -W 4 {target}" for target in targets)
    return guest.run("sh", "-c", f"{pings} & wait")


def test_only_who_may_hold_an_address_is_asked(lab: Lab) -> None:
    client, near = lab.guests["client"], lab.guests["near"]
    free, shared = ("10.0.1.98", "fd00:b::98"), (VIRTUAL_IP, VIRTUAL_IP6)
    with lab.sniff(what=ND) as heard:
        said = told(client, *free, *shared)
        for ip in (*free, *shared):
            assert not near.pings(ip, count=1)
    for ip in free:
        assert heard.copies(asks(ip)) == {"box": 3}, "three times for the router; within 5 s nobody is asked again"
    for ip in shared:
        assert heard.copies(asks(ip)) == {"one": 3, "two": 3}
    assert said.count("Destination Host Unreachable") == 2, said
    assert said.count("Destination unreachable: Address unreachable") == 2, said
    lab.settles()


def asks(ip: str) -> Callable[[Frame], bool]:
    """A test for questions about an address."""
    return solicits(ip) if ":" in ip else asks_for(ip)


def test_who_has_a_virtual_address_and_did_not_say_so_is_found(lab: Lab) -> None:
    near, client, two = (lab.guests[name] for name in ("near", "client", "two"))
    two.ip_batch(f"addr add {VIP}/24 dev eth0", f"addr add {VIP6}/64 dev eth0 nodad")
    for ip in (VIP, VIP6):
        assert client.pings(ip)
        assert near.pings(ip)
    loses(two, VIP, VIP6)
    lab.settles()


def test_virtual_addresses_follow_who_announces_them(lab: Lab) -> None:
    one, two = lab.guests["one"], lab.guests["two"]
    takes(one, VIP, VIP6)
    for each in watchers(lab):
        for ip in (VIP, VIP6):
            soon(lab, each, ip)
    pings = {(str(each), ip): each.ping(ip, interval_s=0.02) for each in watchers(lab) for ip in (VIP, VIP6)}
    time.sleep(0.5)
    loses(one, VIP, VIP6)
    with lab.sniff(one, two, what="icmp or icmp6") as heard:
        takes(two, VIP, VIP6)
        time.sleep(2.5)
    silences = {who: longest_gap(ping.stop()) for who, ping in pings.items()}
    assert max(silences.values()) < FOLLOWS_S, silences
    late = max(frame.at for frame in heard.frames) - 0.5
    assert [frame for frame in heard.at(one) if frame.at > late and echo(frame)] == [], "nothing goes to who had it"
    assert [frame for frame in heard.at(two) if frame.at > late and echo(frame)] != []
    lab.settles()


def echo(frame: Frame) -> bool:
    """Is it an echo request?"""
    return frame.raw[34 if frame.ethertype == IPV4 else 54] == (8 if frame.ethertype == IPV4 else 128)


def test_who_may_not_hold_an_address_is_not_believed(lab: Lab) -> None:
    near, far, box = (lab.guests[name] for name in ("near", "far", "box"))
    liars, others = (near, box), (VIP, VIP6, *far.ips, "10.0.1.1", "fd00:b::1")
    before = {name: set(hypervisor.flows()) for name, hypervisor in lab.hypervisors.items()}
    pings = [far.ping(ip, interval_s=0.02) for ip in (VIP, VIP6)]

    def is_lie(frame: Frame) -> bool:
        told = frame.arp.sender_ip if frame.arp else frame.nd.target if frame.nd else ""
        return frame.src in {liar.mac for liar in liars} and told in others

    with lab.sniff(what=ND) as heard:
        for liar in liars:
            for ip in others:
                liar.sends(announced(ip, liar.mac), announced(ip, liar.mac))
                if ":" not in ip:
                    liar.sends(arp(REPLY, liar.mac, ip, ip), arp(REPLY, liar.mac, ip, near.ip))
        time.sleep(1.5)
    assert heard.copies(is_lie) == {}
    assert [ping.stop().lost for ping in pings] == [0, 0]
    assert {name: set(hypervisor.flows()) for name, hypervisor in lab.hypervisors.items()} == before
    lab.settles()


def test_a_virtual_mac_is_where_it_was_announced_last(lab: Lab) -> None:
    near, far, one, two, box = (lab.guests[name] for name in ("near", "far", "one", "two", "box"))

    def reached(mac: str = VIRTUAL) -> dict[str, int]:
        mark = token()
        with lab.sniff(*lab.guests.values()) as heard:
            for each in (near, far):
                each.tells(mac, mark)
        return heard.copies(mark)

    assert reached() == reached(NESTED) == {}
    box.sends(announced("10.0.1.42", NESTED))
    for holder in (one, two, one):
        holder.sends(*(announced(ip, VIRTUAL) for ip in (VIRTUAL_IP, VIRTUAL_IP6)))
        lab.eventually(f"frames that come to {holder} alone", lambda: reached() == {str(holder): 2}, FOLLOWS_S)  # noqa: B023
        with lab.sniff(near) as heard:
            near.sends(arp(REQUEST, near.mac, near.ip, VIRTUAL_IP))
        assert [frame.src for frame in heard.at(near) if answers_for(VIRTUAL_IP)(frame)] == [VIRTUAL]
    assert reached(NESTED) == {"box": 2}, "a machine behind box"
    lab.settles()


def test_a_controller_that_is_killed_forgets_nobody_and_moves_no_flow(lab: Lab) -> None:
    flows = {name: hypervisor.flows() for name, hypervisor in lab.hypervisors.items()}
    pings = [each.ping(ip, interval_s=0.02) for each in watchers(lab) for ip in (VIP, VIP6, *BEHIND)]
    with ExitStack() as stack:
        said = [stack.enter_context(hypervisor.openflow()) for hypervisor in lab.hypervisors.values()]
        lab.controller.kill()
        time.sleep(0.5)
        lab.controller.start()
        lab.converged()
        time.sleep(1)
    assert [ping.stop().lost for ping in pings] == [0] * len(pings)
    assert {kind for each in said for kind in each if "MOD" in kind or "BUNDLE" in kind} == set()
    assert {name: set(hypervisor.flows()) for name, hypervisor in lab.hypervisors.items()} == {
        name: set(each) for name, each in flows.items()
    }
    lab.settles()


def test_a_port_that_is_down_has_no_virtual_address(lab: Lab) -> None:
    near, one, two = (lab.guests[name] for name in ("near", "one", "two"))
    assert near.pings(VIP)
    lab.change(two, admin_state_up=False)
    lab.converged()
    assert not near.pings(VIP)
    one.ip_batch(f"addr add {VIP}/24 dev eth0")
    near.forgets()
    soon(lab, near, VIP)  # from the other, who is asked
    lab.change(two, admin_state_up=True)
    lab.converged()
    with lab.sniff(one, two, what="icmp") as heard:
        assert near.pings(VIP)
    assert heard.copies(echo) == {"one": 3}
    loses(one, VIP)
    loses(two, VIP, VIP6)
    lab.settles()


def test_guests_learn_the_new_mac_of_their_router(lab: Lab) -> None:
    near, far, client = (lab.guests[name] for name in ("near", "far", "client"))
    (row,) = lab.api.get("/v2.0/routers?name=r")["routers"]
    ports = lab.api.get(f"/v2.0/ports?device_id={row['id']}&network_id={near.network_id}")["ports"]
    gateways = [ip for port in ports for ip in port["fixed_ips"]]
    assert [client.pings(ip) for ip in (*near.ips, *far.ips)] == [True] * 4, "so that all know the router"
    routes(lab)
    for subnet in {ip["subnet_id"] for ip in gateways}:
        lab.api.put(f"/v2.0/routers/{row['id']}/remove_router_interface", {"subnet_id": subnet})
    wanted = {"network_id": near.network_id, "fixed_ips": gateways, "mac_address": NEW_MAC, "project_id": "a"}
    port = lab.api.post("/v2.0/ports", {"port": wanted})["port"]
    with lab.sniff(what=ND) as heard:
        lab.api.put(f"/v2.0/routers/{row['id']}/add_router_interface", {"port_id": port["id"]})
        lab.converged()
        lab.eventually("guests that know it", lambda: all(NEW_MAC in known(each) for each in (near, far)), 5)
    everybody = dict.fromkeys(("near", "far", "one", "two", "box"), 1)
    addresses = [*(ip["ip_address"] for ip in gateways), "fe80::ff:fe00:aaaa"]
    assert len(addresses) == 3
    for ip in addresses:
        said = advertises(ip) if ":" in ip else asks_for(ip)
        assert heard.copies(said) == everybody, f"{ip}: once each, and nothing on the underlay"
    assert [client.pings(ip) for ip in (*near.ips, *far.ips)] == [True] * 4, "and their answers go to the new one"
    lab.settles()


def known(guest: Guest) -> str:
    """Whom a guest's kernel knows on its network."""
    return guest.run("ip", "neigh", "show", "dev", "eth0")


FLOOD = """
import socket, sys, time
sending = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sending.bind(("eth0", 0))
frames = [bytes.fromhex(frame) for frame in sys.argv[2:]]
sent, end = 0, time.time() + float(sys.argv[1])
while time.time() < end:
    for frame in frames * 10:
        try:
            sent += sending.send(frame) > 0
        except OSError:
            pass  # its queue is full
print(sent)
"""


def cpu_s(pid: int) -> float:
    """The CPU time that a process has taken, in seconds (proc(5), /proc/pid/stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def test_a_flood_to_next_hops_that_nobody_has_is_nobody_elses_matter(lab: Lab) -> None:
    """As fast as a guest can, to one address, to one that somebody might have, and to a hundred of these."""
    client, near, far, one, two = (lab.guests[name] for name in ("client", "near", "far", "one", "two"))
    (row,) = lab.api.get("/v2.0/routers?name=r")["routers"]
    (port, *_) = lab.api.get(f"/v2.0/ports?device_id={row['id']}&network_id={client.network_id}")["ports"]
    takes(one, VIP)
    soon(lab, near, VIP)
    targets = ("10.0.0.98", *(f"10.0.1.{last}" for last in range(120, 220)))
    frames = [udp(port["mac_address"], client.mac, client.ip, target, 9, b"flood") for target in targets]
    daemon = lab.controller.daemon
    assert daemon is not None
    pings = [near.ping(target, interval_s=0.02) for target in (far, "10.0.1.1", VIP)]
    with ThreadPoolExecutor() as pool:
        before, began = cpu_s(daemon.pid), time.monotonic()
        flood = pool.submit(client.run, "python3", "-c", FLOOD, str(FLOOD_S), *(frame.hex() for frame in frames))
        time.sleep(FLOOD_S / 3)
        said = near.run("ping", "-n", "-c", "1", "-W", "1", "192.0.2.77", codes=(1,))
        assert "Destination Net Unreachable" in said, said
        loses(one, VIP)
        takes(two, VIP)
        rate = int(flood.result()) / FLOOD_S
        taken = (cpu_s(daemon.pid) - before) / (time.monotonic() - began)
    *lost, moved = [ping.stop() for ping in pings]
    print(f"{rate:.0f} packets/s: controller {taken:.3f} CPU s/s")
    assert [each.lost for each in lost] == [0, 0]
    assert longest_gap(moved) < FOLLOWS_S
    assert rate > 10_000
    assert taken < 0.25, f"{taken:.3f} CPU s/s at {rate:.0f} packets/s"
    loses(two, VIP)
    lab.settles()
