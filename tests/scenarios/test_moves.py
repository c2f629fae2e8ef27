"""A port that moves takes all its flows along; what is deleted, unbound or gone leaves nothing on any switch."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator

import pytest

from mininet_scenarios.captures import Ear, Frame, send
from mininet_scenarios.frames import BROADCAST, REPLY, REQUEST, arp, token, udp
from mininet_scenarios.hosts import Guest
from mininet_scenarios.lab import Lab, Network, Place
from tests.scenarios.churn import Churn

MAC, IP = "02:00:00:00:00:77", "10.0.0.77"
LOST_S = 2.0
_FIRST_FLOOD, _FIRST_ARRIVED = 3 << 28, 5 << 28  # group ids, see controller.flows.pipeline


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Three hypervisors, so that a move is seen from where it starts, from where it ends and from elsewhere."""
    with Lab(hypervisors=3) as lab:
        yield lab


@pytest.fixture(scope="module")
def red(lab: Lab) -> Network:
    """A network with a guest on every hypervisor."""
    red = lab.network("red", cidr="10.0.0.0/24", project="a")
    for number in (1, 2, 3):
        lab.guest(f"red{number}", network=red, on=f"hv{number}", ip=f"10.0.0.{number}", mac=f"02:00:00:00:00:0{number}")
    lab.converged()
    return red


@pytest.fixture
def peers(lab: Lab, red: Network) -> list[Guest]:
    """The guests that stay where they are."""
    return [lab.guests[f"red{number}"] for number in (1, 2, 3)]


def held(lab: Lab, hypervisor: str) -> set[str]:
    """All flows and groups of one hypervisor, to be compared."""
    return lab.hypervisors[hypervisor].holds()


def all_held(lab: Lab) -> dict[str, set[str]]:
    """Those of every hypervisor."""
    return {name: held(lab, name) for name in lab.hypervisors}


def mentions(lab: Lab, text: str) -> dict[str, list[str]]:
    """The flows that mention something, by hypervisor; those without any are left out."""
    found = {name: sorted(flow for flow in flows if text in flow) for name, flows in all_held(lab).items()}
    return {name: flows for name, flows in found.items() if flows}


def hearers(lab: Lab, sender: Guest, dst: str) -> set[str]:
    """Who hears a frame that a guest sends to a MAC; the wire apart."""
    mark = token()
    with lab.sniff() as heard:
        sender.tells(dst, mark)
    return heard.copies(mark).keys() - {"underlay"}


# Moves ---------------------------------------------------------------------------------------------------------------


def vtep(lab: Lab, hypervisor: str) -> str:
    """A hypervisor's tunnel address as Open vSwitch prints it when it is loaded."""
    return "load:0x" + "".join(f"{int(part):02x}" for part in lab.hypervisors[hypervisor].vtep.split(".")) + "->"


@pytest.mark.parametrize("overlap", [False, True], ids=["unplugged-first", "plugged-first"])
def test_a_guest_that_is_plugged_elsewhere_is_back_at_once_and_leaves_no_flow_behind(
    lab: Lab, red: Network, peers: list[Guest], overlap: bool
) -> None:
    nobody = all_held(lab)
    port = lab.port("moving", network=red, ip=IP, mac=MAC)
    here, there = (
        lab.machine(f"on-{on}", network=red, on=on, ip=IP, mac=MAC, port_id=port["id"]) for on in ("hv1", "hv2")
    )
    here.plug()
    lab.converged()
    at_first = all_held(lab)
    for source, target in ((here, there), (there, here)):
        pings = [peer.ping(IP, interval_s=0.01) for peer in peers]
        for ping in pings:
            ping.first_reply(5)
        moved = time.time()
        if overlap:
            target.plug()
            source.unplug()
        else:
            source.unplug()
            target.plug()
        lab.converged()
        time.sleep(max(0.0, moved + LOST_S + 0.3 - time.time()))
        for peer, ping in zip(peers, pings, strict=True):
            replies = ping.stop()
            times = sorted(replies.at.values())
            gap_s = max(after - before for before, after in itertools.pairwise(times))
            print(f"{peer} lost {replies.lost} of {replies.sent}, and heard nothing for {gap_s:.2f} s")
            assert gap_s < LOST_S
            assert times[-1] > moved + LOST_S, "it is answered at the end"
            assert replies.duplicates == 0
        old, new = source.hypervisor.name, target.hypervisor.name
        for name, flows in mentions(lab, f"dl_dst={MAC}").items():
            remote = [flow for flow in flows if "TUN_IPV4_DST" in flow]
            assert [flow for flow in remote if vtep(lab, old) in flow] == [], f"{name} still sends to {old}"
            assert len(remote) == (name != new), "where it is, it is local"
        assert hearers(lab, peers[2], MAC) == {target.name}
        lab.settles()
    assert all_held(lab).keys() == at_first.keys()
    assert {name: len(flows) for name, flows in all_held(lab).items()} == {
        name: len(flows) for name, flows in at_first.items()
    }
    for guest in (here, there):
        lab.dismiss(guest)
    assert all_held(lab) == nobody
    lab.settles()


# Several interfaces of one guest -------------------------------------------------------------------------------------


class Vif:
    """One more interface of a guest, with a port of its own."""

    def __init__(self, lab: Lab, guest: Guest, name: str, network: Network, ip: str, mac: str) -> None:
        self._lab, self.guest, self.name, self.ip, self.mac = lab, guest, name, ip, mac
        self.hypervisor = guest.hypervisor
        self.port_id: str = lab.port(f"{guest}-{name}", network=network, ip=ip, mac=mac)["id"]
        self.tap = f"tap{self.port_id[:11]}"
        lab.net.addLink(guest, guest.hypervisor, intfName1=name, intfName2=self.tap)
        guest.ip_batch(
            f"link set {name} address {mac} mtu {network.mtu}",
            f"link set {name} up",
            f"addr add {ip}/24 dev {name} nodad",
            # What has this address leaves by this interface, or its port would be taken for a spoofer's.
            f"rule add from {ip} table {ip.rpartition('.')[2]}",
            f"route add {network.subnets[0].cidr} dev {name} table {ip.rpartition('.')[2]}",
        )
        guest.run("ethtool", "-K", name, "tx", "off")
        self.hypervisor.sysctl(f"ipv4/conf/{self.tap}/arp_ignore", 8)
        self.hypervisor.ip_batch(f"link set {self.tap} up")
        self.hypervisor.plug_for(self.tap, self.port_id, mac)

    def __str__(self) -> str:
        return f"{self.guest}-{self.name}"

    def ear(self, expression: str = "") -> Ear:
        """A capture of what arrives."""
        return Ear(str(self), self.guest.pid, (self.name,), expression)

    def is_active(self) -> bool:
        """Whether its port is wired."""
        return bool(self._lab.api.get(f"/v2.0/ports/{self.port_id}")["port"]["status"] == "ACTIVE")

    def tells(self, mac: str, mark: bytes) -> None:
        """Send a mark to a MAC, as `Guest.tells` does."""
        send(self.guest.pid, self.name, [udp(mac, self.mac, self.ip, "255.255.255.255", 7, mark)])


def test_each_interface_of_a_guest_is_on_its_own_network(lab: Lab, red: Network, peers: list[Guest]) -> None:
    blue = lab.network("blue", cidr="10.1.0.0/24", project="a", type="geneve")
    mate = lab.guest("blue3", network=blue, on="hv3", ip="10.1.0.3", mac="02:00:00:00:01:03")
    lab.converged()
    before = all_held(lab)
    multi = lab.guest("multi", network=red, on="hv1", ip="10.0.0.60", mac="02:00:00:00:00:60")
    in_blue = Vif(lab, multi, "eth1", blue, "10.1.0.60", "02:00:00:00:00:60")  # the MAC of its twin on another network
    second = Vif(lab, multi, "eth2", red, "10.0.0.61", "02:00:00:00:00:61")
    for vif in (in_blue, second):
        lab.eventually(f"{vif} is wired", vif.is_active, 10)
    lab.converged()
    assert multi.pings(peers[1])
    assert peers[2].pings(multi)
    assert multi.pings(mate)
    assert mate.pings("10.1.0.60")
    assert peers[1].pings("10.0.0.61")

    places: tuple[Place, ...] = (lab.underlay, *peers, mate, multi, in_blue, second)
    marks = {str(vif): token() for vif in (multi, in_blue, second)}
    with lab.sniff(*places) as heard:
        for sender in (multi, in_blue, second):
            sender.tells(BROADCAST, marks[str(sender)])
    assert heard.copies(marks["multi"]) == {"red1": 1, "red2": 1, "red3": 1, "multi-eth2": 1, "underlay": 2}
    assert heard.copies(marks["multi-eth2"]) == {"red1": 1, "red2": 1, "red3": 1, "multi": 1, "underlay": 2}
    assert heard.copies(marks["multi-eth1"]) == {"blue3": 1, "underlay": 1}
    lab.settles()

    for vif in (in_blue, second):
        lab.api.delete(f"/v2.0/ports/{vif.port_id}")
        vif.hypervisor.unplug(vif.tap)
    lab.converged()
    assert multi.pings(peers[1])
    lab.dismiss(multi)
    assert all_held(lab) == before
    lab.dismiss(mate)
    lab.api.delete(f"/v2.0/networks/{blue.id}")
    lab.settles()


# What goes -----------------------------------------------------------------------------------------------------------


def test_a_deleted_port_leaves_nothing_on_any_switch(lab: Lab, red: Network, peers: list[Guest]) -> None:
    before = all_held(lab)
    guest = lab.guest("brief", network=red, on="hv2", ip="10.0.0.70", mac="02:00:00:00:00:70")
    lab.converged()
    assert peers[0].pings(guest)
    assert mentions(lab, guest.mac).keys() == lab.hypervisors.keys()
    lab.api.delete(f"/v2.0/ports/{guest.port_id}")
    lab.converged()
    assert all_held(lab) == before
    assert hearers(lab, guest, BROADCAST) == set()
    assert hearers(lab, peers[1], guest.mac) == set()
    lab.dismiss(guest)
    lab.settles()


def gratuitous(frame: Frame) -> bool:
    """Does it announce an address?"""
    return (said := frame.arp) is not None and said.sender_ip == said.target_ip


def test_an_address_that_another_guest_has_now_is_found_there_at_once(
    lab: Lab, red: Network, peers: list[Guest]
) -> None:
    gone = lab.guest("gone", network=red, on="hv2", ip="10.0.0.71", mac="02:00:00:00:00:71")
    lab.converged()
    assert all(peer.pings(gone) for peer in peers)
    lab.dismiss(gone)
    anew = lab.guest("anew", network=red, on="hv3", ip="10.0.0.71", mac="02:00:00:00:00:72")
    lab.converged()
    with lab.sniff() as heard:
        anew.sends(arp(REQUEST, anew.mac, anew.ip, anew.ip), arp(REPLY, anew.mac, anew.ip, anew.ip))
        lab.eventually("an answer to all", lambda: all(peer.pings(anew, count=1) for peer in peers), 2)
    assert heard.copies(gratuitous) == {"red1": 1, "red2": 1, "red3": 1}

    anew.mac = "02:00:00:00:00:73"
    lab.change(anew, mac_address=anew.mac)
    anew.ip_batch(f"link set eth0 address {anew.mac}")
    lab.converged()
    # each knew another one, and would believe it for 15 s and more
    lab.eventually("an answer to all", lambda: all(peer.pings(anew, count=1) for peer in peers), 4)
    lab.dismiss(anew)
    lab.settles()


def network_key(lab: Lab, hypervisor: str, segment: int) -> int:
    """By which number flows of one hypervisor know a network of a segment."""
    outward = re.compile(rf" table=52 .*reg6=(0x[0-9a-f]+) actions=load:{segment:#x}->NXM_NX_TUN_ID")
    (key,) = {found[1] for flow in lab.hypervisors[hypervisor].flows() if (found := outward.search(flow))}
    return int(key, 16)


def of_network(lab: Lab, key: int) -> dict[str, list[str]]:
    """The flows and groups of a network, by hypervisor; those without any are left out."""
    flow = re.compile(rf"\breg6={key:#x}\b|load:{key:#x}->NXM_NX_REG6\b")
    groups = re.compile(rf"\bgroup(?:_id=|:)(?:{_FIRST_FLOOD + key}|{_FIRST_ARRIVED + key})\b")
    found = {
        name: sorted(line for line in lines if flow.search(line) or groups.search(line))
        for name, lines in all_held(lab).items()
    }
    return {name: lines for name, lines in found.items() if lines}


@pytest.mark.parametrize("how", ["unplugged", "deleted"])
def test_a_hypervisor_without_ports_of_a_network_holds_nothing_of_it(lab: Lab, red: Network, how: str) -> None:
    before = all_held(lab)
    green = lab.network("green", cidr="10.0.0.0/24", project="b")
    segment = lab.api.get(f"/v2.0/networks/{green.id}")["network"]["provider:segmentation_id"]
    assert all_held(lab) == before, "a network that is nowhere costs nobody anything"
    first, last = (
        lab.guest(f"green{n}", network=green, on=f"hv{n}", ip=f"10.0.0.{n}", mac=f"02:00:00:00:00:0{n}") for n in (1, 2)
    )
    lab.converged()
    assert first.pings(last)
    key = network_key(lab, "hv1", segment)
    assert of_network(lab, key).keys() == {"hv1", "hv2"}
    assert held(lab, "hv3") == before["hv3"]

    for guest, left in ((first, {"hv2"}), (last, set[str]())):
        if how == "unplugged":
            guest.unplug()
        else:
            lab.api.delete(f"/v2.0/ports/{guest.port_id}")
        lab.converged()
        assert of_network(lab, key).keys() == left
        assert held(lab, guest.hypervisor.name) == before[guest.hypervisor.name]
        lab.settles()
    assert all_held(lab) == before
    for guest in (first, last):
        lab.dismiss(guest)
    lab.api.delete(f"/v2.0/networks/{green.id}")
    lab.settles()


# Where a client wants it ---------------------------------------------------------------------------------------------


def test_a_port_is_only_where_its_client_lets_it_be(lab: Lab, red: Network, peers: list[Guest]) -> None:
    guest = lab.guest("choosy", network=red, on="hv1", ip="10.0.0.80", mac="02:00:00:00:00:80", plug=False)
    lab.converged()
    nowhere = all_held(lab)
    guest.plug()
    lab.converged()
    wired = all_held(lab)

    def restricted_to(host: str, works: bool) -> None:
        port = lab.api.put(f"/v2.0/ports/{guest.port_id}", {"port": {"binding:host_id": host}})["port"]
        guest.plugged = works  # it always has an interface; that is for `converged` to know
        lab.converged()
        assert port["binding:host_id"] == host
        assert all_held(lab) == (wired if works else nowhere), f"binding:host_id={host!r}"
        assert hearers(lab, peers[1], guest.mac) == ({"choosy"} if works else set())
        assert hearers(lab, guest, BROADCAST) == ({"red1", "red2", "red3"} if works else set())
        lab.settles()

    for host, works in (
        ("hv1", True),
        ("hv2", False),
        ("hv1.lab", True),
        ("hv2.lab", False),
        ("", False),
        ("hv1", True),
        ("nobody", False),
        ("hv1.lab", True),
    ):
        restricted_to(host, works)
    lab.controller.kill()
    lab.controller.start()
    lab.converged()
    assert all_held(lab) == wired
    lab.settles()
    lab.dismiss(guest)


# Everything at once --------------------------------------------------------------------------------------------------


def test_two_hundred_steps_of_churn_end_as_they_should() -> None:
    """The same ones every time; `make soak` draws others for ten minutes."""
    with Lab(hypervisors=3) as lab:
        churn = Churn(lab, seed=1)
        churn.run(steps=200)
        assert [row for row in churn.rows() if not row.right] == []
