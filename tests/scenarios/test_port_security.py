"""Port security on real switches: a guest sends with its own addresses, or is heard by nobody, and told why.

             hv1                              hv2
    web .11     bare .12 (no group)     far .13    open .14 (no port security)     10.0.0.0/24, fd00:1::/64

`web` and `far` are in the default group, which lets all out: whatever of web's passes port security is heard by `open`.
"""

from __future__ import annotations

from typing import Any

import pytest

from controller.flows.pipeline import Why
from mininet_scenarios.lab import Lab, Network
from mininet_scenarios.nodes import Guest
from mininet_scenarios.probe import (
    ALL_NODES,
    ALL_NODES_MAC,
    BROADCAST,
    EXPERIMENTAL,
    REPLY,
    REQUEST,
    VLAN,
    Frame,
    advertisement,
    arp,
    ethernet,
    halved,
    icmpv6,
    mld_report,
    nd_mark,
    solicitation,
    tagged,
    token,
    udp,
    udp6,
)

UNUSED, GATEWAY, NOBODY = "10.0.0.99", "10.0.0.1", "0.0.0.0"
UNUSED6, PREFIX = "fd00:1::99", "fd00:1::"
STRANGE, VIRTUAL, VIRTUAL_IP = "02:00:00:00:00:77", "00:00:5e:00:01:0a", "10.0.0.100"
DHCP_SERVERS, DHCP_SERVERS_MAC = "ff02::1:2", "33:33:00:01:00:02"
SERVER, CLIENT, SERVER6, CLIENT6 = 67, 68, 547, 546
ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT, REDIRECT = 133, 134, 137
ANYWHERE, PORT = "255.255.255.255", 7
SERVICE_VLAN = 0x88A8  # IEEE 802.1ad
LONG = 200  # marks in a datagram that needs two fragments
RATE_S = 0.0005
STREAM_S = 1.0


@pytest.fixture(scope="module", autouse=True)
def red(lab: Lab) -> Network:
    """The topology above."""
    red = lab.network("red", cidr=("10.0.0.0/24", f"{PREFIX}/64"), project="red")
    more: dict[str, dict[str, Any]] = {
        "web": {"on": "hv1"},
        "bare": {"on": "hv1", "security_groups": []},
        "far": {"on": "hv2"},
        "open": {"on": "hv2", "port_security_enabled": False},
    }
    for number, (name, attributes) in enumerate(more.items(), 11):
        ips, mac = (f"10.0.0.{number}", f"{PREFIX}{number}"), f"02:00:00:00:00:{number}"
        lab.guest(name, network=red, ip=ips, mac=mac, **attributes)
    lab.converged()
    return red


@pytest.fixture
def web(lab: Lab) -> Guest:
    """A guest in its project's default group, on hv1."""
    return lab.guests["web"]


@pytest.fixture
def bare(lab: Lab) -> Guest:
    """A guest that no rule allows anything, on hv1."""
    return lab.guests["bare"]


@pytest.fixture
def far(lab: Lab) -> Guest:
    """A guest in its project's default group, on hv2."""
    return lab.guests["far"]


@pytest.fixture
def open_(lab: Lab) -> Guest:
    """A guest without port security, on hv2."""
    return lab.guests["open"]


def local(guest: Guest) -> str:
    """The link-local address of its MAC."""
    return f"fe80::ff:fe00:{guest.mac[-2:].lstrip('0')}"


def datagram(guest: Guest, mark: bytes, *, mac: str = "", ip: str = "", to: str = BROADCAST) -> bytes:
    """A datagram of a guest's, or of whom it pretends to be."""
    return udp(to, mac or guest.mac, ip or guest.ip, ANYWHERE, PORT, mark)


def datagram6(guest: Guest, mark: bytes, ip: str = "") -> bytes:
    """The same over IPv6."""
    return udp6(ALL_NODES_MAC, guest.mac, ip or guest.address(6), ALL_NODES, PORT, mark)


def offer(guest: Guest, mark: bytes, to: str = BROADCAST) -> bytes:
    """What a DHCP server sends."""
    return udp(to, guest.mac, guest.ip, ANYWHERE, CLIENT, mark, from_port=SERVER)


def offer6(guest: Guest, mark: bytes, to: Guest) -> bytes:
    """What a DHCPv6 server sends."""
    return udp6(to.mac, guest.mac, local(guest), local(to), CLIENT6, mark, from_port=SERVER6)


def router(guest: Guest, type: int, mark: bytes) -> bytes:
    """A message of a router's, or for one (RFC 4861 section 4)."""
    targets = bytes(32) if type == REDIRECT else bytes(8) if type == ROUTER_ADVERTISEMENT else b""
    return icmpv6(ALL_NODES_MAC, guest.mac, local(guest), ALL_NODES, type, bytes(4) + targets + nd_mark(mark))


def of_others(web: Guest, far: Guest, mark: bytes) -> dict[Why, list[bytes]]:
    """What web must not send, by the reason for which it is dropped."""
    own6, their6 = web.address(6), far.address(6)
    own_datagram = udp(BROADCAST, web.mac, web.ip, ANYWHERE, PORT, mark)

    def ask(src: str, told: str = "") -> bytes:
        return solicitation(web.mac, src, UNUSED6, mark, told)

    def tell(target: str, src: str = "", told: str = "") -> bytes:
        return advertisement(ALL_NODES_MAC, web.mac, ALL_NODES, target, mark, src=src, told=told)

    return {
        Why.SPOOFED_MAC: [
            *(datagram(web, mark, mac=mac) for mac in (far.mac, STRANGE, VIRTUAL, BROADCAST, "00:00:00:00:00:00")),
            datagram(web, mark, mac=far.mac, ip=far.ip),
            arp(REQUEST, web.mac, web.ip, UNUSED, mark, src=far.mac),
            udp6(ALL_NODES_MAC, far.mac, their6, ALL_NODES, PORT, mark),
            solicitation(far.mac, their6, UNUSED6, mark),
            udp(BROADCAST, STRANGE, NOBODY, ANYWHERE, SERVER, mark, from_port=CLIENT),
            ethernet(BROADCAST, far.mac, EXPERIMENTAL, mark),
        ],
        Why.SPOOFED_IPV4: [
            *(datagram(web, mark, ip=ip) for ip in (far.ip, GATEWAY, UNUSED, NOBODY, ANYWHERE, "127.0.0.1", "10.0.0.0")),
            datagram(web, mark, ip=far.ip, to=far.mac),
            *halved(datagram(web, LONG * mark, ip=far.ip)),
            udp(BROADCAST, web.mac, far.ip, ANYWHERE, SERVER, mark, from_port=CLIENT),
            udp(BROADCAST, web.mac, NOBODY, ANYWHERE, CLIENT, mark, from_port=CLIENT),
        ],
        Why.SPOOFED_IPV6: [
            *(datagram6(web, mark, ip) for ip in (their6, local(far), UNUSED6, "::", "::1", "fd00:2::11")),
            icmpv6(far.mac, web.mac, their6, own6, 128, bytes(4) + mark),
            tell(their6),
            udp6(DHCP_SERVERS_MAC, web.mac, "::", DHCP_SERVERS, SERVER6, mark, from_port=CLIENT6),
        ],
        Why.SPOOFED_ARP: [
            *(arp(op, web.mac, ip, UNUSED, mark) for op in (REQUEST, REPLY, 3) for ip in (far.ip, GATEWAY, UNUSED)),
            arp(REQUEST, web.mac, far.ip, far.ip, mark),
            *(arp(op, far.mac, ip, UNUSED, mark, src=web.mac) for op in (REQUEST, REPLY) for ip in (web.ip, far.ip)),
            arp(REQUEST, far.mac, NOBODY, UNUSED, mark, src=web.mac),
            arp(REPLY, web.mac, NOBODY, UNUSED, mark),
        ],
        Why.SPOOFED_ND: [
            *(ask(src, told=far.mac) for src in (own6, local(web), "::")),
            *(ask(src) for src in (their6, local(far), UNUSED6)),
            *(tell(target, src=own6) for target in (their6, local(far), UNUSED6)),
            *(tell(target, src=own6, told=far.mac) for target in (own6, local(web))),
        ],
        Why.ETHERTYPE: [
            ethernet(BROADCAST, web.mac, type, mark + own_datagram[14:])
            for type in (0x88CC, 0x8847, 0x888E, 0x9100, EXPERIMENTAL, 0x0026)
        ],
        Why.TAGGED: [tagged(own_datagram, vlan, type) for vlan in (0, 1, 100, 4095) for type in (VLAN, SERVICE_VLAN)],
        Why.ROGUE_DHCP: [
            *(offer(web, mark, to) for to in (BROADCAST, far.mac)),
            udp(BROADCAST, web.mac, far.ip, ANYWHERE, CLIENT, mark, from_port=SERVER),
            offer6(web, mark, far),
        ],
        Why.ROGUE_RA: [router(web, ROUTER_ADVERTISEMENT, mark), router(web, REDIRECT, mark)],
    }  # fmt: skip


SPOOFED = (Why.SPOOFED_MAC, Why.SPOOFED_IPV4, Why.SPOOFED_IPV6, Why.SPOOFED_ARP, Why.SPOOFED_ND,
           Why.ETHERTYPE, Why.TAGGED, Why.ROGUE_DHCP, Why.ROGUE_RA)  # fmt: skip


class Dropped:
    """What hv1 drops for a reason of port security from now on."""

    def __init__(self, lab: Lab) -> None:
        self._lab, self._hypervisor = lab, lab.hypervisors["hv1"]
        self._before = self._hypervisor.drops()

    def since(self) -> dict[Why, int]:
        """How many frames, by reason."""
        more = self._hypervisor.drops() - self._before
        return {why: more[why] for why in SPOOFED if more[why]}

    def are(self, **expected: int) -> None:
        """Wait until exactly these are counted."""
        wanted = {Why[name]: count for name, count in expected.items()}
        self._lab.eventually(f"drops {expected}", lambda: self.since() == wanted, 5)


# What a guest sends ---------------------------------------------------------------------------------------------------


def test_what_a_guest_sends_with_its_own_addresses_is_heard(lab: Lab, web: Guest, open_: Guest) -> None:
    dropped, mark = Dropped(lab), token()
    with lab.sniff(open_) as heard:
        web.sends(
            datagram(web, mark),
            datagram6(web, mark),
            datagram6(web, mark, local(web)),
            udp(BROADCAST, web.mac, NOBODY, ANYWHERE, SERVER, mark, from_port=CLIENT),
            mld_report(web.mac, local(web), mark),
        )
    assert heard.copies(mark) == {"open": 5}
    dropped.are()
    lab.settles()


@pytest.mark.parametrize("why", SPOOFED, ids=lambda why: why.name)
def test_what_a_guest_may_not_send_is_heard_by_nobody_and_counted(lab: Lab, web: Guest, far: Guest, why: Why) -> None:
    dropped, mark = Dropped(lab), token()
    frames = of_others(web, far, mark)[why]
    assert all(mark in frame for frame in frames)
    with lab.sniff() as heard:
        web.sends(*frames)
    assert heard.copies(mark) == {}
    assert heard.copies(lambda frame: frame.arp or frame.nd) == {}, "nobody is answered, either"
    dropped.are(**{why.name: len(frames)})
    lab.settles()


def test_in_two_fragments_a_guest_may_send_no_more_than_in_one(lab: Lab, web: Guest, far: Guest, open_: Guest) -> None:
    dropped, allowed = Dropped(lab), token()
    with lab.sniff(open_) as heard:
        for frame in (datagram(web, LONG * allowed), datagram6(web, LONG * allowed)):
            web.sends(*halved(frame))
    assert heard.copies(allowed) == {"open": 4}, "fragments as such are not what is dropped"

    mark = token()
    with lab.sniff() as heard:
        for frame in (offer(web, LONG * mark), offer(web, LONG * mark, open_.mac), offer6(web, LONG * mark, open_)):
            web.sends(*halved(frame))
    assert heard.copies(mark) == {}
    dropped.are(ROGUE_DHCP=3)
    lab.settles()


def test_without_port_security_all_of_that_is_heard(lab: Lab, far: Guest, open_: Guest) -> None:
    mark = token()
    frames = [frame for frames in of_others(open_, far, mark).values() for frame in frames]
    answered = [
        frame
        for frame in frames
        if Frame(frame).arp or Frame(frame).nd or Frame(frame).ethertype in (VLAN, SERVICE_VLAN)
    ]
    lab.change(far, port_security_enabled=False, security_groups=[])
    lab.converged()
    with lab.sniff(far) as heard:
        open_.sends(*frames)
    assert heard.copies(mark) == {"far": len(frames) - len(answered)}, "all that the switch does not answer or refuse"
    lab.change(far, port_security_enabled=True, security_groups=[lab.default_group("red")["id"]])
    lab.settles()
