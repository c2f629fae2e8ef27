"""Port security on real switches: a guest sends with its own addresses, or is heard by nobody, and told why.

             hv1                              hv2
    web .11     bare .12 (no group)     far .13    open .14 (no port security)     10.0.0.0/24, fd00:1::/64

`web` and `far` are in the default group, which lets all out: whatever of web's passes port security is heard by `open`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event, Thread
from typing import Any, Self

import pytest

from controller.flows.pipeline import Why
from controller.southbound.neighbours import LIFE_S
from mininet_scenarios.captures import Frame, Heard, answers_for
from mininet_scenarios.frames import (
    ALL_NODES,
    ALL_NODES_MAC,
    BROADCAST,
    EXPERIMENTAL,
    REPLY,
    REQUEST,
    VLAN,
    advertisement,
    arp,
    ethernet,
    halved,
    hidden,
    icmpv6,
    mld_report,
    nd_mark,
    solicitation,
    tagged,
    token,
    udp,
    udp6,
)
from mininet_scenarios.hosts import Guest
from mininet_scenarios.lab import Lab, Network

UNUSED, GATEWAY, NOBODY = "10.0.0.99", "10.0.0.1", "0.0.0.0"
UNUSED6, PREFIX = "fd00:1::99", "fd00:1::"
STRANGE, VIRTUAL, VIRTUAL_IP = "02:00:00:00:00:77", "00:00:5e:00:01:0a", "10.0.0.100"
DHCP_SERVERS, DHCP_SERVERS_MAC = "ff02::1:2", "33:33:00:01:00:02"
SERVER, CLIENT, SERVER6, CLIENT6 = 67, 68, 547, 546
ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT, REDIRECT = 133, 134, 137
ANYWHERE, PORT = "255.255.255.255", 7
SERVICE_VLAN = 0x88A8  # IEEE 802.1ad
LONG = 200  # marks in a datagram that needs two fragments
PER_SECOND = 1500
CACHED_S = 0.5
"""How long Open vSwitch may take to bring cached decisions in line with flows that it has acknowledged."""


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
        return {why: more[why] for why in (*SPOOFED, Why.HIDDEN) if more[why]}

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


def test_no_fragment_hides_what_its_datagram_is(lab: Lab, web: Guest, far: Guest, open_: Guest) -> None:
    stateless = lab.group("stateless", project="red", stateful=False)  # conntrack would refuse these by itself
    lab.regroup(web, stateless)
    lab.converged()
    dropped = Dropped(lab)
    with lab.sniff(open_, what="ip6 proto 44") as heard:
        for frame in (offer6(web, LONG * token(), open_), router(web, ROUTER_ADVERTISEMENT, token())):
            web.sends(hidden(frame)[0], hidden(frame, cut=True)[0])
    assert heard.frames == [], "the second is nothing without the first"
    dropped.are(HIDDEN=4)
    lab.regroup(web, lab.default_group("red"))
    lab.api.delete(f"/v2.0/security-groups/{stateless['id']}")
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


# What every guest may, and what none may --------------------------------------------------------------------------


def test_a_guest_without_any_rule_finds_its_dhcp_server_and_nothing_else(lab: Lab, bare: Guest, open_: Guest) -> None:
    asked, asked6, soliciting = token(), token(), token()
    answers = {name: token() for name in ("broadcast", "unicast", "v6", "router")}
    denied, hidden = token(), token()
    with lab.sniff() as heard:
        bare.sends(
            udp(BROADCAST, bare.mac, NOBODY, ANYWHERE, SERVER, asked, from_port=CLIENT),
            udp6(DHCP_SERVERS_MAC, bare.mac, local(bare), DHCP_SERVERS, SERVER6, asked6, from_port=CLIENT6),
            router(bare, ROUTER_SOLICITATION, soliciting),
            datagram(bare, denied),
            datagram(bare, denied, to=open_.mac),
            datagram6(bare, denied),
        )
        open_.sends(
            offer(open_, answers["broadcast"]),
            offer(open_, answers["unicast"], bare.mac),
            offer6(open_, answers["v6"], bare),
            router(open_, ROUTER_ADVERTISEMENT, answers["router"]),
            datagram(open_, hidden, to=bare.mac),
            datagram6(open_, hidden),
        )
    for mark in (asked, asked6, soliciting):
        assert heard.copies(mark) == {"open": 1, "underlay": 1}, (
            "it asks whom it does not know, and no guest hears that"
        )
    assert {name: heard.copies(mark) for name, mark in answers.items()} == {
        "broadcast": {"web": 1, "bare": 1, "far": 1, "underlay": 1},
        "unicast": {"bare": 1, "underlay": 1},
        "v6": {"bare": 1, "underlay": 1},
        "router": {"web": 1, "bare": 1, "far": 1, "underlay": 1},
    }
    assert heard.copies(denied) == {}
    assert heard.copies(hidden) == {"underlay": 2}, "the hypervisor of who is not to hear it drops it"
    assert not bare.pings(open_, count=1)
    lab.settles()


def test_who_listens_to_which_group_is_heard_by_everybody_whatever_the_rules(lab: Lab, bare: Guest) -> None:
    dropped, marks = Dropped(lab), {source: token() for source in (local(bare), "::")}
    with lab.sniff() as heard:
        bare.sends(*(mld_report(bare.mac, source, mark) for source, mark in marks.items()))
    for mark in marks.values():
        assert heard.copies(mark) == {"web": 1, "far": 1, "open": 1, "underlay": 1}
    dropped.are()
    lab.settles()


@pytest.mark.parametrize("type", [130, 131, 132, 143])
def test_who_listens_tells_groups_and_no_single_guest(lab: Lab, bare: Guest, far: Guest, type: int) -> None:
    mark = token()
    with lab.sniff(far) as heard:
        for source, target in ((local(bare), local(far)), (bare.address(6), far.address(6))):
            bare.sends(icmpv6(far.mac, bare.mac, source, target, type, bytes(20) + mark, hops=1))
    assert heard.copies(mark) == {}, "bare has no rule, so it talks to nobody"
    lab.settles()


def test_duplicates_are_found_and_nobody_hears_of_what_is_known(
    lab: Lab, web: Guest, bare: Guest, far: Guest, open_: Guest
) -> None:
    dropped, asked = Dropped(lab), set[tuple[str, object]]()
    for guest in (web, bare):
        with lab.sniff() as heard:
            for ip in (guest.ip, far.ip, UNUSED):
                guest.sends(arp(REQUEST, guest.mac, NOBODY, ip))
            for ip in (guest.address(6), local(guest), far.address(6), local(far), UNUSED6):
                guest.sends(solicitation(guest.mac, "::", ip, token()))
        told = [frame.arp.sender_ip if frame.arp else frame.nd and frame.nd.target for frame in heard.at(guest)]
        assert told == [far.ip, far.address(6), local(far)], (
            "others' addresses are taken; its own and unused ones are not"
        )
        asked |= {
            (place, frame.arp.target_ip if frame.arp else frame.nd and frame.nd.target)
            for place, frames in heard.by_place.items()
            for frame in frames
            if place != guest.name and (frame.arp or frame.nd)
        }
    assert asked == {(open_.name, UNUSED), (open_.name, UNUSED6)}, "who might have them, without port security"
    dropped.are()
    lab.settles()


# Allowed address pairs ------------------------------------------------------------------------------------------------


def pair(lab: Lab, guest: Guest, *pairs: tuple[str, str]) -> None:
    """Let a guest use these addresses (with a MAC, or "" for its own), and no others beside those of its port."""
    wanted = [{"ip_address": ip, **({"mac_address": mac} if mac else {})} for ip, mac in pairs]
    lab.change(guest, allowed_address_pairs=wanted)
    lab.converged()


@pytest.mark.parametrize(
    ("allowed", "inside", "outside"),
    [
        (VIRTUAL_IP, [VIRTUAL_IP], ["10.0.0.101", GATEWAY]),
        ("10.9.0.0/24", ["10.9.0.0", "10.9.0.255"], ["10.8.255.255", "10.9.1.0", VIRTUAL_IP]),
        ("0.0.0.0/0", [VIRTUAL_IP, GATEWAY, "192.0.2.99"], []),
        ("fd00:1::100", ["fd00:1::100"], ["fd00:1::101", "fe80::100"]),
        ("fd00:9::/64", ["fd00:9::", "fd00:9::ffff:ffff:ffff:ffff"], ["fd00:9:0:1::", "fd00:8::ffff"]),
        ("2000::/3", ["2001:db8::1", "3fff::1"], ["fd00:9::1", "fe80::99"]),
    ],
)
def test_an_address_pair_lets_exactly_its_addresses_through(
    lab: Lab, web: Guest, open_: Guest, allowed: str, inside: list[str], outside: list[str]
) -> None:
    def heard_of(addresses: list[str], mac: str = "") -> list[str]:
        marks = {ip: token() for ip in addresses}
        with lab.sniff(open_) as heard:
            for ip, mark in marks.items():
                web.sends(datagram6(web, mark, ip) if ":" in ip else datagram(web, mark, ip=ip, mac=mac))
        return [ip for ip, mark in marks.items() if heard.copies(mark) == {"open": 1}]

    own = web.address(6 if ":" in allowed else 4)
    assert heard_of([own, *inside, *outside]) == [own]
    pair(lab, web, (allowed, ""))
    assert heard_of([own, *inside, *outside]) == [own, *inside]
    assert heard_of([inside[0]], mac=STRANGE) == ([inside[0]] if ":" in allowed else []), "with no other MAC"
    pair(lab, web)
    assert heard_of([own, *inside, *outside]) == [own], "what was allowed and is not is blocked at once"
    lab.settles()


def test_a_virtual_router_speaks_from_its_virtual_mac_and_is_reached_there(
    lab: Lab, web: Guest, far: Guest, open_: Guest
) -> None:
    """VRRP (RFC 5798 sections 7.3 and 8.1.2): the virtual MAC in ARP, from itself or from the port's own."""
    held = lab.hypervisors["hv1"].holds()
    speaks = [arp(REQUEST, VIRTUAL, VIRTUAL_IP, VIRTUAL_IP, src=mac) for mac in (VIRTUAL, web.mac)]
    speaks.append(arp(REPLY, VIRTUAL, VIRTUAL_IP, UNUSED))
    lies = [
        arp(REQUEST, VIRTUAL, web.ip, UNUSED),
        arp(REQUEST, web.mac, VIRTUAL_IP, UNUSED),
        arp(REQUEST, far.mac, VIRTUAL_IP, UNUSED, src=VIRTUAL),
    ]
    for is_allowed in (False, True, False):
        pair(lab, web, *([(VIRTUAL_IP, VIRTUAL)] if is_allowed else []))
        dropped, mark, to_it = Dropped(lab), token(), token()
        with lab.sniff() as heard:
            web.sends(datagram(web, mark, mac=VIRTUAL, ip=VIRTUAL_IP), *speaks, *lies)
            far.sends(datagram(far, to_it, to=VIRTUAL), arp(REQUEST, far.mac, far.ip, VIRTUAL_IP))
        if is_allowed:
            assert heard.copies(mark) == {"far": 1, "open": 1, "underlay": 1}
            assert heard.copies(to_it) == {"web": 1, "underlay": 1}
            assert heard.copies(answers_for(VIRTUAL_IP)) == {"far": 1}
            dropped.are(SPOOFED_ARP=3)
        else:
            assert heard.copies(mark) == heard.copies(to_it) == heard.copies(answers_for(VIRTUAL_IP)) == {}
            dropped.are(SPOOFED_MAC=5, SPOOFED_ARP=2)
            time.sleep(LIFE_S + 0.5)  # until then far would be answered when the address is announced in the next round
    assert lab.hypervisors["hv1"].holds() == held
    lab.settles()


# On and off -------------------------------------------------------------------------------------------------------


class Stream:
    """Numbered frames, some PER_SECOND, while used as a context manager; `sent` is how many they were."""

    def __init__(self, guest: Guest, frame: Callable[[bytes], bytes]) -> None:
        self.mark, self.sent = token(), 0
        self._guest, self._frame, self._ending = guest, frame, Event()
        self._thread = Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        start = time.monotonic()
        while not self._ending.wait(0.01):
            due = int((time.monotonic() - start) * PER_SECOND)
            numbers = range(self.sent, due)
            self._guest.sends(*(self._frame(self.mark + number.to_bytes(4, "big")) for number in numbers))
            self.sent = due

    def numbers(self, heard: Heard, place: object) -> list[int]:
        """The numbers that a place heard, in order."""
        raws = (frame.raw.partition(self.mark) for frame in heard.at(place))
        return [int.from_bytes(rest[:4], "big") for _, found, rest in raws if found]

    def after(self, heard: Heard, when: float) -> dict[str, int]:
        """Who heard how many of these frames after a time."""
        return Heard(
            {place: [frame for frame in frames if frame.at > when] for place, frames in heard.by_place.items()}
        ).copies(self.mark)


def test_port_security_goes_on_and_off_under_traffic_without_a_leak_and_without_a_loss(
    lab: Lab, web: Guest, far: Guest, open_: Guest
) -> None:
    default = lab.default_group("red")["id"]
    spoofs = Stream(web, lambda mark: datagram(web, mark, ip=UNUSED, to=open_.mac))
    speaks = Stream(web, lambda mark: datagram(web, mark, to=open_.mac))
    with lab.sniff() as heard, spoofs, speaks:
        began = time.time()
        time.sleep(0.5)
        off = time.time()
        lab.change(web, port_security_enabled=False, security_groups=[])
        lab.acknowledged()
        time.sleep(0.5)
        asked = time.time()
        lab.change(web, port_security_enabled=True, security_groups=[default])
        lab.acknowledged()
        on = time.time()
        time.sleep(1.0)
        rate = spoofs.sent / (time.time() - began)
    leaked = spoofs.numbers(heard, open_)
    last = max(frame.at for frame in heard.at(open_) if spoofs.mark in frame.raw)
    print(f"{rate:.0f} spoofed frames a second, {len(leaked)} while off; the last {last - on:+.3f} s from `on`")
    assert rate > 1000
    assert min(frame.at for frame in heard.frames if spoofs.mark in frame.raw) > off, "none before it is off"
    assert last > asked - 0.1, "there was something to stop"
    assert spoofs.after(heard, on + CACHED_S) == {}
    assert heard.copies(spoofs.mark).keys() == {"open", "underlay"}
    assert speaks.numbers(heard, open_) == list(range(speaks.sent)), "what is allowed before and after is never lost"
    lab.settles()


def test_a_port_without_port_security_has_no_connections(lab: Lab, web: Guest, open_: Guest) -> None:
    hv1, port = lab.hypervisors["hv1"], 7777

    def connections() -> int:
        return hv1.appctl("dpctl/dump-conntrack").count(f"dport={port}")

    web.reaches(open_, "udp", port)
    assert connections() == 1
    lab.change(web, port_security_enabled=False, security_groups=[])
    lab.converged()
    lab.eventually("its connections are forgotten", lambda: connections() == 0, 5)
    assert web.reaches(open_, "udp", port)
    assert connections() == 0
    lab.change(web, port_security_enabled=True, security_groups=[lab.default_group("red")["id"]])
    lab.settles()


def test_what_the_network_itself_owns_is_not_filtered(lab: Lab, red: Network, bare: Guest, far: Guest) -> None:
    owned = {"device_owner": "network:dhcp"}
    server = lab.guest("dhcp", network=red, on="hv1", ip="10.0.0.2", mac="02:00:00:00:00:02", **owned)  # type: ignore[arg-type]
    lab.converged()
    assert not lab.api.get(f"/v2.0/ports/{server.port_id}")["port"]["port_security_enabled"]
    marks = {name: token() for name in ("asked", "offered", "routed", "other")}
    with lab.sniff() as heard:
        bare.sends(udp(BROADCAST, bare.mac, NOBODY, ANYWHERE, SERVER, marks["asked"], from_port=CLIENT))
        server.sends(
            offer(server, marks["offered"], bare.mac),
            router(server, ROUTER_ADVERTISEMENT, marks["routed"]),
            datagram(server, marks["other"], ip=UNUSED),
        )
    assert {name: heard.copies(mark) for name, mark in marks.items()} == {
        "asked": {"dhcp": 1, "open": 1, "underlay": 1},
        "offered": {"bare": 1},
        "routed": {"web": 1, "bare": 1, "far": 1, "open": 1, "underlay": 1},
        "other": {"open": 1, "underlay": 1},
    }
    lab.dismiss(server)
    lab.settles()


def test_a_network_says_whether_its_new_ports_have_port_security(lab: Lab) -> None:
    blue = lab.network("blue", cidr="10.0.0.0/24", project="blue", port_security_enabled=False)

    def made(number: int, **more: Any) -> Guest:
        ip, mac = f"10.0.0.{number}", f"02:00:00:00:00:{number}"
        return lab.guest(f"blue{number}", network=blue, on=f"hv{1 + number % 2}", ip=ip, mac=mac, **more)

    def spoofers(*guests: Guest) -> list[Guest]:
        marks = {guest: token() for guest in guests}
        with lab.sniff(ear) as heard:
            for guest, mark in marks.items():
                guest.sends(datagram(guest, mark, ip=UNUSED))
        return [guest for guest, mark in marks.items() if heard.copies(mark)]

    ear, first, asked = made(21), made(22), made(23, port_security_enabled=True)
    lab.converged()
    assert spoofers(first, asked) == [first]
    lab.api.put(f"/v2.0/networks/{blue.id}", {"network": {"port_security_enabled": True}})
    later = made(24)
    lab.converged()
    assert spoofers(first, asked, later) == [first], "ports that are there stay as they are"
    for guest in (ear, first, asked, later):
        lab.dismiss(guest)
    lab.api.delete(f"/v2.0/networks/{blue.id}")
    lab.settles()
