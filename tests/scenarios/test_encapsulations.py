"""VXLAN, Geneve and GRE networks of one segment number in one cloud, over IPv4 and over IPv6: three networks, not one.

         hv1                                       hv2
vxlan1 .1  geneve1 .1  gre1 .1          vxlan2 .2  geneve2 .2  gre2 .2       10.0.0.0/24, the same MACs
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from controller.flows.pipeline import TUNNEL_PORTS, Why
from mininet_scenarios.api import Json
from mininet_scenarios.frames import BROADCAST, token, udp, udp6, vxlan
from mininet_scenarios.hosts import Guest
from mininet_scenarios.lab import Lab, Network
from mininet_scenarios.machines import BRIDGE

SEGMENT, ABSENT_SEGMENT = 100, 101
TYPES = ("vxlan", "geneve", "gre")
ON_THE_WIRE = {"vxlan": "udp dst port 4789", "geneve": "udp dst port 6081", "gre": "ip proto 47 or ip6 proto 47"}
MTU = {4: {"vxlan": 1450, "geneve": 1450, "gre": 1458}, 6: {"vxlan": 1430, "geneve": 1430, "gre": 1438}}
UNDERLAY_MTU, ETHERNET, ICMP = 1500, 14, 28
NOBODY = {4: "192.0.2.99", 6: "2001:db8::99"}
VXLAN_PORT = 4789


@pytest.fixture(scope="module", params=[4, 6], ids=["over IPv4", "over IPv6"])
def version(request: pytest.FixtureRequest) -> int:
    """The IP version of the underlay."""
    number: int = request.param
    return number


@pytest.fixture(scope="module")
def lab(version: int) -> Iterator[Lab]:
    """Two hypervisors that offer every encapsulation."""
    with Lab(hypervisors=2, encaps=",".join(TYPES), underlay_ip_version=version) as lab:
        yield lab


@pytest.fixture(scope="module", autouse=True)
def networks(lab: Lab) -> dict[str, Network]:
    """The topology above."""
    segment: dict[str, Any] = {"provider:segmentation_id": SEGMENT}
    made = {type: lab.network(type, cidr="10.0.0.0/24", project="a", type=type, **segment) for type in TYPES}
    for type, network in made.items():
        for number in (1, 2):
            _guest(lab, f"{type}{number}", network, number)
    lab.converged()
    return made


def _guest(lab: Lab, name: str, network: Network, number: int) -> Guest:
    on, ip, mac = f"hv{min(number, 2)}", f"10.0.0.{number}", f"02:00:00:00:00:0{number}"
    return lab.guest(name, network=network, on=on, ip=ip, mac=mac)


def test_networks_of_one_segment_number_are_apart(lab: Lab) -> None:
    marks = {guest: token() for guest in lab.guests.values()}
    with lab.sniff() as heard:
        for guest, mark in marks.items():
            guest.tells(BROADCAST, mark)
    for guest, mark in marks.items():
        mate = guest.name.translate({ord("1"): "2", ord("2"): "1"})
        assert heard.copies(mark) == {mate: 1, "underlay": 1}, guest
        assert [(frame.tunnel, frame.vni) for frame in heard.at(lab.underlay) if mark in frame.raw] == [
            (guest.name[:-1], SEGMENT)
        ]
    lab.settles()


@pytest.mark.parametrize("type", TYPES)
def test_each_encapsulation_carries_its_network_and_nothing_else_does(lab: Lab, version: int, type: str) -> None:
    one, two, mark = lab.guests[f"{type}1"], lab.guests[f"{type}2"], token()
    others = [guest for guest in lab.guests.values() if guest not in (one, two)]
    with (
        lab.sniff(lab.underlay, what=ON_THE_WIRE[type]) as right,
        lab.sniff(lab.underlay, what=f"not ({ON_THE_WIRE[type]})") as wrong,
        lab.sniff(*others) as elsewhere,
    ):
        there, back = one.ping(two, count=3, mark=mark), two.ping(one, count=3, mark=mark)
        assert [there.wait().received, back.wait().received] == [3, 3]
    assert right.copies(mark) == {"underlay": 12}, "a question and an answer, three times, both ways"
    assert wrong.copies(mark) == {}
    assert elsewhere.copies(mark) == {}
    assert {frame.vni for frame in right.frames if mark in frame.raw} == {SEGMENT}
    assert {frame.outer[ETHERNET] >> 4 for frame in right.frames} == {version}
    lab.settles()


@pytest.mark.parametrize("type", TYPES)
def test_the_largest_packet_passes_whole_and_one_byte_more_does_not_leave(lab: Lab, version: int, type: str) -> None:
    one, two = lab.guests[f"{type}1"], lab.guests[f"{type}2"]
    mtu = next(row["mtu"] for row in lab.api.get("/v2.0/networks")["networks"] if row["name"] == type)
    assert mtu == MTU[version][type]

    def ping(size: int, mark: bytes, patience: str = "0.3") -> str:
        whole = ("-M", "do", "-s", f"{size - ICMP}")
        return one.run("ping", "-n", "-c", "1", "-W", patience, "-p", mark.hex(), *whole, two.ip, codes=(0, 1))

    fits, exceeds, forced = token(), token(), token()
    with lab.sniff() as heard:
        assert " 0% packet loss" in ping(mtu, fits, "2")
        assert f"mtu={mtu}" in ping(mtu + 1, exceeds)
        one.ip_batch(f"link set eth0 mtu {mtu + 1}")  # a guest that does not keep to its network's MTU
        try:
            assert " 100% packet loss" in ping(mtu + 1, forced)
        finally:
            one.ip_batch(f"link set eth0 mtu {mtu}")
    assert heard.copies(fits) == {two.name: 1, one.name: 1, "underlay": 2}
    sizes = {len(frame.outer) for frame in heard.at(lab.underlay) if fits in frame.raw}
    assert sizes == {ETHERNET + UNDERLAY_MTU}, "not a byte of the underlay is left unused"
    assert heard.copies(exceeds) == {}
    assert heard.copies(forced) == {}
    lab.settles()


def test_tunnels_are_taken_from_known_hypervisors_alone_for_networks_that_are_here(lab: Lab, version: int) -> None:
    hv1, hv2 = lab.hypervisors.values()
    nobody = (NOBODY[version], "02:00:00:00:00:99")
    somebody = (hv2.vtep, hv2.underlay_mac)  # with another MAC, Open vSwitch would take that for hv2's from now on
    vxlan1, vxlan2 = lab.guests["vxlan1"], lab.guests["vxlan2"]
    datagram = udp if version == 4 else udp6

    def forge(source: tuple[str, str], segment: int, mark: bytes) -> None:
        ip, mac = source
        for dst in (BROADCAST, vxlan1.mac):
            inner = vxlan(segment, udp(dst, vxlan2.mac, vxlan2.ip, NOBODY[4], 7, mark))
            lab.underlay.sends(hv1, datagram(hv1.underlay_mac, mac, ip, hv1.vtep, VXLAN_PORT, inner))

    known, unknown, astray = token(), token(), token()
    before = hv1.drops()
    with lab.sniff() as heard:
        forge(somebody, SEGMENT, known)
        forge(nobody, SEGMENT, unknown)
        forge(somebody, ABSENT_SEGMENT, astray)
    assert heard.copies(known) == {"vxlan1": 2}, "the forgery is good enough: a hypervisor's word is taken"
    assert heard.copies(unknown) == {}
    assert heard.copies(astray) == {}

    def counted() -> bool:
        more = hv1.drops() - before
        return (more[Why.UNKNOWN_VTEP], more[Why.UNKNOWN_VNI]) == (2, 2)

    lab.eventually("each is counted with its reason", counted, 5)
    lab.settles()


def test_a_hypervisor_that_lacks_an_encapsulation_carries_all_but_its_networks(
    lab: Lab, networks: dict[str, Network]
) -> None:
    hv1, hv2 = lab.hypervisors.values()
    vxlan1, vxlan2, geneve1, geneve2 = (lab.guests[name] for name in ("vxlan1", "vxlan2", "geneve1", "geneve2"))
    held, count = hv1.holds(), len(hv2.flows())
    pings = geneve1.ping(geneve2, interval_s=0.02)

    hv2.join({"weft-encap-type": "geneve,gre"})
    late = _guest(lab, "vxlan3", networks["vxlan"], 3)
    vxlan2.plugged = late.plugged = False  # as far as `lab.converged()` shall see
    lab.eventually("its guests are not carried", lambda: _failed(lab, vxlan2) and _failed(lab, late), 5)
    assert TUNNEL_PORTS["vxlan"] not in hv2.vsctl("list-ports", BRIDGE).split()
    vxlan1.knows(vxlan2.ip, vxlan2.mac)
    mark = token()
    with lab.sniff() as heard:
        for guest in (vxlan1, vxlan2, late):
            guest.tells(BROADCAST, mark)
            guest.tells(vxlan1.mac, mark)
            guest.tells(vxlan2.mac, mark)
        assert not vxlan1.pings(vxlan2)
    assert heard.copies(mark) == {}
    lab.settles()

    hv2.join()
    vxlan2.plugged = late.plugged = True
    lab.converged()
    assert _port(lab, late)["binding:vif_type"] == "ovs"
    assert vxlan1.pings(vxlan2)
    assert vxlan2.pings(late)
    lost = pings.stop().lost
    assert lost <= 3, "other networks carry on; that links come may cost user-space Open vSwitch a packet"
    lab.dismiss(late)
    assert (hv1.holds(), len(hv2.flows())) == (held, count)  # hv2's new tunnel port has another number
    lab.settles()


def _port(lab: Lab, guest: Guest) -> Json:
    found: Json = lab.api.get(f"/v2.0/ports/{guest.port_id}")["port"]
    return found


def _failed(lab: Lab, guest: Guest) -> bool:
    port = _port(lab, guest)
    if (port["status"], port["binding:vif_type"]) != ("DOWN", "binding_failed"):
        return False
    assert port["binding:vif_details"] == {"reason": "hypervisor hv2 offers encapsulations (geneve, gre), not vxlan"}
    return True
