"""The pipeline: every table in packet order, every register bit, every number that appears in a flow, by name.

The path of a frame (`docs/pipeline.md` is generated from this module):

    guest ──> CLASSIFY ─> PORT_SECURITY ─> ADDRESS_SECURITY ─> ND_SECURITY ─> SERVICE ─> OUT_PORT ─┐
                                                    ARP, ND: LINK_SECURITY, NEIGH, NEIGH_REPLY     │ guarded: conntrack
      ┌────────────── OUT_DONE <── EVALUATE <── OUT_RULES <── OUT_TRACK <─────────────────────────┘
      └─> L2_DISPATCH ──┬─> L2_LOOKUP ──┬─> IN_PORT ─> IN_TRACK ─> IN_RULES ─> EVALUATE ─> IN_DONE ─> DELIVER ─> guest
                        └─> L2_BUM ─────┤ (a copy a member)
                              ^         ├─> HOP ─> L3_IN ─> L3_DNAT ─> L3_ROUTE ─> L3_SNAT ─> L3_OUT ─> L2_LOOKUP
    underlay ─> CLASSIFY ─> VTEP ─> VNI ┤ (to L2_DISPATCH) ├─> TUN_OUT ─> TUNNEL ─> underlay     every drop ─> DROP
    wire ─> CLASSIFY ─> VLAN ─> SERVICE ┘                  └─> PHYS_OUT ─> PHYSICAL ─> wire

Where a router meets the outside, from its guests' hypervisors by its gateway, and back:

    L3_ROUTE ─> L3_SNAT ─(group GATEWAYS)─> TUNNEL ─> underlay ─> VNI ─> TRANSIT ─(group GATE)─> GATED ─> L3_ROUTE
                   ├─ at the gateway; a floating IP, where its guest is: conntrack ─> L3_SNATTED (NEIGH) ─> L3_OUT
    wire ─> SERVICE (ARP, ND for its addresses), L2_LOOKUP ─(group GATE)─> GATED ─> NEIGH_REPLY
                                                    HOP ─> L3_IN ─> L3_DNAT: conntrack ─> L3_DNATTED ─> L3_ROUTE

Registers:

    reg0  31    26 24  21      20   19 16 15 14 13 12 10 9  8  7     6         5   4     3       2          1         0
         |........|ENCAP|TOO_BIG|TURNED|HOPS|WHOSE|GUARD|DIR|VERD|AGAIN|UNCHECKED|HIT|ASKED|STANDBY|REDIRECTED|
                    FROM_PHYS|FROM_TUN|
    reg1  SRC      key of the port a frame came from; 0 = another hypervisor or nobody
    reg2  DST      key of the port a frame goes to
    reg3  PHYS     key of a physical network, in the upper 16 bits
          ZONE     conntrack zone of the port that is checked, or of who is translated, in the lower 16
    reg4  NH4      IPv4 address whose MAC is wanted
    reg5  GEN      generation of the policy in force (28 bits)
    reg6  NET      key of the network a frame is on; set by CLASSIFY, VNI, VLAN and, to another, by routes alone
    reg7  RTR      key of the router that a packet is at
    reg8  WHY      what decided last: the bundle that allows, or the reason of a drop
    reg9  NET_IN   key of the network by which a packet came to that router
    reg10 CHECKED  key of the port whose security groups are asked
    reg11 POLICY   key of the set of security groups that the port is under
    reg12 NH6      IPv6 address whose MAC is wanted, to reg15 (xxreg3)

What a connection is remembered with (a zone is one port's, on one hypervisor):

    ct_mark   27..0 CT_GEN
    ct_label  127..96 FORWARDING | 95..64 CT_OPENER | 63..32 CT_POLICY | 31..0 CT_BUNDLE

Cookies: 0xA7 (8 bits) | app (8 bits) | hash of table, priority, match and instructions (48 bits).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntEnum
from hashlib import sha256
from typing import Any, Final

from controller.flows import fields as f
from controller.flows.action import GroupKind, Table
from controller.flows.fields import ipv4_number, ipv6_number, mac_text
from controller.flows.match import Field, register
from controller.model.records import Address, Mac


def _same(value: int) -> int:
    return value


FROM_TUN: Field[int] = register("from_tun", "reg0", 0, 1)
FROM_PHYS: Field[int] = register("from_phys", "reg0", 1, 1)
REDIRECTED: Field[int] = register("redirected", "reg0", 2, 1)
STANDBY: Field[int] = register("standby", "reg0", 3, 1)
ASKED: Field[int] = register("asked", "reg0", 4, 1)
NEIGH_HIT: Field[int] = register("neigh_hit", "reg0", 5, 1)
UNCHECKED: Field[int] = register("unchecked", "reg0", 6, 1)
AGAIN: Field[int] = register("again", "reg0", 7, 1)
VERDICT: Field[int] = register("verdict", "reg0", 8, 2)
DIRECTION: Field[int] = register("direction", "reg0", 10, 1)
GUARD: Field[int] = register("guard", "reg0", 12, 2)
WHOSE: Field[int] = register("whose", "reg0", 14, 2)
HOPS: Field[int] = register("hops", "reg0", 16, 4)
TURNED: Field[int] = register("turned", "reg0", 20, 1)
TOO_BIG: Field[int] = register("too_big", "reg0", 21, 1)
ENCAP: Field[int] = register("encap", "reg0", 24, 3)
SRC: Field[int] = register("src", "reg1")
DST: Field[int] = register("dst", "reg2")
NH4: Field[Address] = Field("nh4", "reg4", 32, ipv4_number, hex)
NET: Field[int] = register("net", "reg6")
RTR: Field[int] = register("rtr", "reg7")
WHY: Field[int] = register("why", "reg8", few=True)
NET_IN: Field[int] = register("net_in", "reg9")
ZONE: Field[int] = register("zone", "reg3", 0, 16)
PHYS: Field[int] = register("phys", "reg3", 16, 16)
GEN: Field[int] = register("gen", "reg5", 0, 28)
CHECKED: Field[int] = register("checked", "reg10")
POLICY: Field[int] = register("policy", "reg11")
CT_GEN: Field[int] = register("ct_gen", "ct_mark", 0, 28)
CT_BUNDLE: Field[int] = Field("ct_bundle", "ct_label", 128, _same, hex, 0, 32)
CT_POLICY: Field[int] = Field("ct_policy", "ct_label", 128, _same, hex, 32, 32)
CT_OPENER: Field[int] = Field("ct_opener", "ct_label", 128, _same, hex, 64, 32)
FORWARDING: Field[int] = Field("forwarding", "ct_label", 128, _same, hex, 96, 32)
NH6: Field[Address] = Field("nh6", "xxreg3", 128, ipv6_number, hex)

REGISTERS: Final[tuple[tuple[Field[Any], str], ...]] = (
    (FROM_TUN, "the frame came through a tunnel"),
    (FROM_PHYS, "the frame came from a physical network"),
    (REDIRECTED, "the packet is for the outside, and this hypervisor is to take it there"),
    (STANDBY, "another hypervisor is the gateway now, as far as this one can see"),
    (ASKED, "the MAC is asked for by ARP or ND: for what physical hosts hold, they answer themselves"),
    (NEIGH_HIT, "NEIGH knows the address; its MAC is in eth_dst"),
    (UNCHECKED, "the sender has no port security: its addresses may be anybody's"),
    (ENCAP, "encapsulation of the tunnel, see ENCAPS"),
    (SRC, "key of the port the frame came from, 0 when it came from elsewhere"),
    (DST, "key of the port the frame goes to"),
    (NH4, "IPv4 address whose MAC is wanted"),
    (NET, "key of the network the frame is on; set by CLASSIFY, VNI, VLAN and routes (L3_ROUTE, groups of kind ECMP)"),
    (RTR, "key of the router that the packet is at"),
    (NET_IN, "key of the network by which the packet came to that router"),
    (HOPS, "how many routers the packet has passed on this hypervisor"),
    (TURNED, "a router answered: the packet may leave by the port that it came by"),
    (TOO_BIG, "the packet is larger than the network it is routed to bears"),
    (WHY, "what decided last: the bundle of rules that allows, or the reason of the drop"),
    (AGAIN, "the fragment came back behind `ct(commit)`, and is judged as if it had not"),
    (VERDICT, "what the security groups say, see Verdict"),
    (DIRECTION, "whose rules are asked: 0 egress, 1 ingress"),
    (GUARD, "how the port is guarded, see Guard"),
    (WHOSE, "whose the fragment is that conntrack gave back, see Whose"),
    (ZONE, "conntrack zone of the port that is checked, or of the router or floating IP that is translated"),
    (PHYS, "key of the physical network that the frame came from, or goes to"),
    (GEN, "generation of the policy in force"),
    (CHECKED, "key of the port whose security groups are asked"),
    (POLICY, "key of the set of security groups that this port is under"),
    (NH6, "IPv6 address whose MAC is wanted"),
)

CONNECTION: Final[tuple[tuple[Field[Any], str], ...]] = (
    (CT_GEN, "generation of the policy when the connection was last judged"),
    (CT_BUNDLE, "the bundle of rules that allowed it"),
    (CT_POLICY, "the policy that it was judged under"),
    (CT_OPENER, "key of the port that began it, 0 when that was not on this hypervisor"),
    (FORWARDING, "number of the port forwarding that it was begun by, as that was"),
)
"""What conntrack keeps of a connection for us, in ct_mark and ct_label.

A port has 2^28 generations: a connection would have to stay idle through as many narrowed groups of the whole cloud,
longer than any timeout of conntrack, to be taken for a current one.
"""


class Verdict(IntEnum):
    """What the security groups of a port say of a packet."""

    DENIED = 0
    ALLOWED = 1
    CURRENT = 2
    """Its connection was allowed under this very policy and generation."""
    ANEW = 3
    """So was it, and one end has just begun another in its place."""


class Guard(IntEnum):
    """How a port is guarded."""

    UNKNOWN = 0
    """Not programmed (yet): nothing passes."""
    OFF = 1
    STATEFUL = 2
    STATELESS = 3


class Whose(IntEnum):
    """Whose a fragment is that conntrack gave back."""

    UNASKED = 0
    OWN = 1
    """The checked port's, on its way."""
    FOREIGN = 2


EGRESS, INGRESS = 0, 1
"""Values of DIRECTION."""

ENCAPS: Final[Mapping[str, int]] = {"vxlan": 1, "geneve": 2, "gre": 3}
TUNNEL_PORTS: Final[Mapping[str, str]] = {"vxlan": "weft-vxlan", "geneve": "weft-geneve", "gre": "weft-gre"}
"""The name of the one flow-based tunnel port a hypervisor has for an encapsulation."""
NO_SEGMENT: Final = 0
"""The segment of no network, of any encapsulation: of frames between hypervisors themselves (`southbound.paths`)."""


TRANSITS: Final[Mapping[str, int]] = {"vxlan": 0xFFFFFF, "geneve": 0xFFFFFF, "gre": 0xFFFFFFFF}
"""The segment, which is no network's, of packets on their way to the gateway of a router; eth_dst says which router."""
PROBES: Final[Mapping[str, int]] = {encap: number - 1 for encap, number in TRANSITS.items()}
"""The segment in which hypervisors ask whether a gateway is alive,"""
PROBED: Final[Mapping[str, int]] = {encap: number - 2 for encap, number in TRANSITS.items()}
"""and in which they are answered: with what they sent, and by flows, so that no switch without flows is alive."""
BFD_PORT: Final = 3784
"""What they send to (RFC 5881 section 4)."""


PROBING: Final = "wg-"
"""What the names of ports begin with that know whether a gateway is alive."""


def probe_port(chassis: str) -> str:
    """The port of an integration bridge that knows whether the gateways on another hypervisor are alive."""
    return PROBING + sha256(chassis.encode()).hexdigest()[:10]


def router_mac(key: int) -> Mac:
    """The MAC address that stands for a router on the way to its gateway; no interface has it."""
    return Mac(f"02:57:45:{key >> 16:02x}:{key >> 8 & 0xFF:02x}:{key & 0xFF:02x}")


PATCHED: Final = "wp-"
"""What the names of ports to mapped bridges begin with; those of the ends on such bridges with `PATCHED_BACK`."""
PATCHED_BACK: Final = "wb-"
_LABEL: Final = 12
"""How many characters follow: an interface has 15 at the most."""


def patch_port(physical: str) -> str:
    """The port of an integration bridge that leads to the bridge mapped to a physical network."""
    return PATCHED + _label(physical)


def patch_port_back(physical: str) -> str:
    """Its other end, on that bridge."""
    return PATCHED_BACK + _label(physical)


def _label(physical: str) -> str:
    """The name itself, if it is short and plain; else its start, and of its hash enough to tell it from others."""
    if re.fullmatch(rf"[A-Za-z0-9_.-]{{1,{_LABEL - 1}}}", physical):
        return physical
    start = re.sub(r"[^A-Za-z0-9_.-]", "", physical)[: _LABEL - 9]
    return f"{start}-{sha256(physical.encode()).hexdigest()[:8]}".rjust(_LABEL, "x")


CHASSIS: Field[int] = Field("chassis", "eth_src", 48, _same, hex, 24, 16)
"""The part of a chassis MAC that says whose it is (`chassis_mac`)."""
CHASSIS_MACS: Final = 0xFFFFFF000000
"""The mask of that part, and of what all chassis MACs begin with."""
INTERFACES: Final = 0xFF0000FFFFFF
"""The mask of all but that part."""


def chassis_mac(chassis: int, interface: int = 0) -> Mac:
    """From which a chassis, by its key, sends to a wire what a router's interface, by its port's key, sent.

    Without an interface, what it sends in its own name. Locally administered (IEEE 802, section 8.4).
    """
    return mac_text(0x1E << 40 | chassis << 24 | interface)


class Why(IntEnum):
    """Why a frame is dropped: one counter each in table DROP."""

    UNKNOWN_PORT = 1
    TAGGED = 2
    ADMIN_DOWN = 3
    UNKNOWN_VTEP = 4
    UNKNOWN_VNI = 5
    ARP_UNKNOWN = 6
    OWN_ADDRESS = 7
    ARP_UNASKED = 8
    CONTROL_MULTICAST = 9
    UNKNOWN_UNICAST = 10
    OWN_MAC = 11
    NO_MEMBERS = 12
    NOT_HERE = 13
    SPLIT_HORIZON = 14
    NO_SEGMENT = 15
    NO_TUNNEL = 16
    ND_UNKNOWN = 17
    ND_UNASKED = 18
    SPOOFED_MAC = 19
    SPOOFED_ARP = 20
    SPOOFED_IPV4 = 21
    SPOOFED_IPV6 = 22
    SPOOFED_ND = 23
    ETHERTYPE = 24
    ROGUE_DHCP = 25
    ROGUE_RA = 26
    NOT_TRACKED = 27
    EGRESS_UNGUARDED = 28
    EGRESS_DENIED = 29
    EGRESS_CUT = 30
    INGRESS_UNGUARDED = 31
    INGRESS_DENIED = 32
    INGRESS_CUT = 33
    ROUTER_LOOP = 34
    LINK_LOCAL = 35
    TTL_EXCEEDED = 36
    ROUTER_ADDRESS = 37
    NO_ROUTE = 38
    NO_NEIGHBOUR = 39
    TOO_BIG = 40
    FRAGMENT_TOO_BIG = 41
    MARTIAN = 42
    HIDDEN = 43
    FOREIGN_FRAGMENT = 44
    PATH = 45
    SOUGHT = 46
    TOLD = 47
    UNKNOWN_VLAN = 48
    NO_PHYSICAL = 49
    BACK_TO_WIRE = 50
    WIRE_LOOP = 51
    NO_TRANSIT = 60
    STANDBY = 61
    NO_GATEWAY = 62
    NO_CONNECTION = 63
    NOT_TRANSLATED = 64
    OUTER_ADDRESS = 65
    TRANSIT_TOO_BIG = 66

    @property
    def sentence(self) -> str:
        """What happened, for an operator."""
        return _SENTENCES[self]


_SENTENCES: Final[Mapping[Why, str]] = {
    Why.UNKNOWN_PORT: "came from an interface that is no port of Weft's on this hypervisor",
    Why.TAGGED: "carried a VLAN tag, and the port is untagged",
    Why.ADMIN_DOWN: "came from a port that is, or whose network is, administratively down",
    Why.UNKNOWN_VTEP: "came through a tunnel from an address that is no hypervisor of this cloud",
    Why.UNKNOWN_VNI: "came through a tunnel for a network that is not present here",
    Why.ARP_UNKNOWN: "asked by ARP for an address that no attached port of the network holds",
    Why.OWN_ADDRESS: "asked by ARP or ND for the sender's own address (a probe for duplicates; silence is the answer)",
    Why.ARP_UNASKED: "was an ARP message other than a request: the switch answers all requests itself",
    Why.CONTROL_MULTICAST: "was for 01:80:c2:00:00:0x, which no bridge forwards (IEEE 802.1D section 7.12.6)",
    Why.UNKNOWN_UNICAST: "was for a MAC that no attached port of the network holds",
    Why.OWN_MAC: "was for the sender's own MAC",
    Why.NO_MEMBERS: "was broadcast or multicast on a network that has no members here",
    Why.NOT_HERE: "was for a port that is not plugged into this hypervisor",
    Why.SPLIT_HORIZON: "came through a tunnel and would have left through one again",
    Why.NO_SEGMENT: "was to leave by tunnel on a network that has no segment",
    Why.ND_UNKNOWN: "asked by ND for an address that no attached port of the network holds",
    Why.ND_UNASKED: "was a neighbour advertisement: the switch answers all solicitations itself",
    Why.SPOOFED_MAC: "bore a source MAC that is neither its port's nor of its allowed address pairs",
    Why.SPOOFED_ARP: "was ARP with a sender that is neither its port's nor of its allowed address pairs",
    Why.SPOOFED_IPV4: "bore an IPv4 source that its port, with this MAC, does not hold",
    Why.SPOOFED_IPV6: "bore an IPv6 source that its port, with this MAC, does not hold",
    Why.SPOOFED_ND: "was neighbour discovery that gave away another's address or link-layer address",
    Why.ETHERTYPE: "was neither ARP nor IP: a guarded port may send nothing else",
    Why.ROGUE_DHCP: "was a message of a DHCP server, from a guest",
    Why.ROGUE_RA: "was a router advertisement or a redirect, from a guest",
    Why.NOT_TRACKED: "conntrack could make nothing of: no connection can have it (+inv)",
    Why.EGRESS_UNGUARDED: "came from a port whose security groups are not programmed here",
    Why.EGRESS_DENIED: "no egress rule of its port's security groups allows",
    Why.EGRESS_CUT: "was of a connection that the security groups of its port no longer allow",
    Why.INGRESS_UNGUARDED: "was for a port whose security groups are not programmed here",
    Why.INGRESS_DENIED: "no ingress rule of the receiving port's security groups allows",
    Why.INGRESS_CUT: "was of a connection that the security groups of the receiving port no longer allow",
    Why.ROUTER_LOOP: "would have passed more routers than one hypervisor lets it",
    Why.LINK_LOCAL: "was for, or from, a link-local address: no router forwards that (RFC 4291 section 2.5.6)",
    Why.TTL_EXCEEDED: "had no hop left at a router",
    Why.ROUTER_ADDRESS: "was for an address of a router, which answers nothing but echo requests",
    Why.NO_ROUTE: "was for an address that its router knows no way to",
    Why.NO_NEIGHBOUR: "was routed to an address that nobody is known to hold: who may is asked, else the sender told",
    Why.TOO_BIG: "was routed to a network that bears no packet of its size",
    Why.FRAGMENT_TOO_BIG: "was an IPv4 fragment too large for the network it was routed to (what fits is counted too)",
    Why.MARTIAN: "was for, or from, an address of a group, of nobody or of the host itself: no router forwards that",
    Why.HIDDEN: "was a first fragment that does not say what the datagram is (RFC 7112): a guest sends none",
    Why.UNKNOWN_VLAN: "came from a physical network on a VLAN, or untagged, that is no network present here",
    Why.NO_PHYSICAL: "was to leave to a physical network that this hypervisor maps no bridge to (weft-bridge-mappings)",
    Why.WIRE_LOOP: "came back from a physical network with this hypervisor's own MAC address: a loop of that network's",
    Why.BACK_TO_WIRE: "came from a physical network and would have left to it again",
    Why.FOREIGN_FRAGMENT: "was a fragment of somebody else, which conntrack gave back with this port's",
    Why.PATH: "was sent ahead by a hypervisor, to find the way before anybody needs it",
    Why.NO_TRANSIT: "came through a tunnel for a router whose gateway is not on this hypervisor",
    Why.STANDBY: "was for a router's gateway, and another hypervisor is that now",
    Why.NO_GATEWAY: "was for the outside, and no hypervisor is alive that takes it there (weft-gateway-priority)",
    Why.NO_CONNECTION: "came from outside for addresses behind a router, and no connection of theirs is known",
    Why.NOT_TRANSLATED: "found no free port, or identifier, of the address under which it was to go out",
    Why.TRANSIT_TOO_BIG: "was larger than the tunnel to its router's gateway bears, on another hypervisor",
    Why.OUTER_ADDRESS: "bore an address of its router's gateway as its source: nobody behind it has that",
    Why.SOUGHT: "asked by ARP or ND for an address of which only its holder can tell: whoever may hold it is asked",
    Why.TOLD: "told by ARP or ND of an address that its port may hold: it is believed",
    Why.NO_TUNNEL: "was to leave by an encapsulation this hypervisor has no tunnel port for",
}

PART: Final = GroupKind(
    "part", 6 << 28, "some of the copies of a network that has more members than one group holds",
    sets=frozenset({DST, f.TUN_DST, f.TUN_IPV6_DST}), nexts=frozenset({"in_port", "tun_out", "phys_out"}),
)  # fmt: skip
FLOOD: Final = GroupKind(
    "flood", 3 << 28, "a copy to every member of a network: here, and one a hypervisor elsewhere, or one to the wire",
    sets=PART.sets, nexts=PART.nexts, groups=frozenset({PART}),
)  # fmt: skip
ARRIVED: Final = GroupKind(
    "arrived", 5 << 28, "a copy to every member of a network on this hypervisor",
    sets=frozenset({DST}), nexts=frozenset({"in_port"}), groups=frozenset({PART}),
)  # fmt: skip
ECMP: Final = GroupKind(
    "ecmp", 2 << 28, "one of the next hops of a route that has several, the same for all of a connection",
    sets=frozenset({NET, NH4, NH6, NEIGH_HIT, f.ETH_SRC}), nexts=frozenset({"l3_ecmp"}), chooses=True,
)  # fmt: skip
GATEWAYS: Final = GroupKind(
    "gateways", 1 << 28, "to the best gateway of a router that is alive, which may be here",
    sets=frozenset({REDIRECTED, ENCAP, TOO_BIG, WHY, f.ETH_DST, f.TUN_ID, f.TUN_DST, f.TUN_IPV6_DST}),
    nexts=frozenset({"l3_snat", "tunnel", "drop"}), fails_over=True,
)  # fmt: skip
GATE: Final = GroupKind(
    "gate", 4 << 28, "is this hypervisor the gateway of a router now? It is not while a better one is alive",
    sets=frozenset({STANDBY}), nexts=frozenset({"gated"}), fails_over=True,
)  # fmt: skip
GROUP_KINDS: Final[tuple[GroupKind, ...]] = (FLOOD, ARRIVED, PART, ECMP, GATEWAYS, GATE)

PART_COPIES: Final = 1000
"""How many copies one group makes; an OpenFlow message of 64 KiB holds some 1,300."""
PARTS: Final = 16
"""How many parts the copies of a network may have: the last four bits of a part's number, behind the network's key."""

ECMP_ROUTES: Final = 16
"""How many routes of a router may have several next hops: the last four bits of a group's number, behind its key."""

MAX_HOPS: Final = 8
"""How many routers a packet may pass on one hypervisor, where all of its routing is done."""

ROUTE_PRIORITIES: Final[Mapping[str, int]] = {
    f"{kind}_{length}": 100 + 4 * length + rank
    for length in range(129)
    for rank, kind in enumerate(("static", "connected"))
}
"""By the length of the prefix; a subnet of the router's own goes before a route to the same block."""

_GUARDED: Final[frozenset[Field[Any]]] = frozenset({
    GUARD, f.ETH_TYPE, f.IPV4_PROTO, f.UDP_SRC, f.UDP_DST, f.IPV6_PROTO, f.UDP6_SRC, f.UDP6_DST, f.ICMPV6_TYPE,
    f.IPV6_SRC, f.IPV6_DST, f.HOP_LIMIT,
})  # fmt: skip
_DONE_MATCHES: Final = frozenset({
    GUARD, VERDICT, AGAIN, f.CT_STATE, f.ETH_TYPE, f.CT_PROTO4, f.CT_PROTO6, f.CT_TP_DST, f.IPV4_PROTO, f.IPV6_PROTO,
    f.TCP_FLAGS, f.TCP6_FLAGS,
})  # fmt: skip
_DONE_SETS: Final = frozenset({WHY, WHOSE, AGAIN, VERDICT, DIRECTION})
_JUDGED: Final[Mapping[str, int]] = {
    "anew": 130, "forgotten": 120, "known": 110, "doubted": 105, "stateless": 100, "again": 97, "unread": 95,
    "opened": 90, "judged_again": 90, "related": 90, "cut": 80, "miss": 0,
}  # fmt: skip
_BACK: Final[Mapping[str, int]] = {
    "foreign": 140, "fragment": 130, "lost": 127, "anew": 125, "doubted": 120, "again": 115, "kept": 110,
    "known": 100, "new": 90, "miss": 0,
}  # fmt: skip
_BACK_MATCHES: Final = frozenset({
    WHOSE, VERDICT, f.CT_STATE, f.ETH_TYPE, f.IPV4_FRAG, f.IPV6_FRAG, f.IPV4_PROTO, f.IPV6_PROTO, f.TCP_FLAGS,
    f.TCP6_FLAGS,
})  # fmt: skip
_REMEMBERED: Final = frozenset({CT_GEN, CT_BUNDLE, CT_POLICY, CT_OPENER})

_ASKED_ANEW: Final = frozenset({CHECKED, DIRECTION, VERDICT, GUARD, WHOSE, AGAIN, ZONE, POLICY, GEN, WHY})
CLASSIFY: Final = Table(
    0, "classify", "Who sent this frame? Sets SRC and NET of a guest, ENCAP of a tunnel, PHYS of a physical network.",
    {
        "tracked": 200, "looped": 110, "guest": 100, "tunnel": 100, "physical": 100, "admin_down": 100, "tagged": 90,
        "miss": 0,
    },
    matches=frozenset({f.IN_PORT, f.VLAN_TCI, f.CT_STATE, f.ETH_SRC}),
    sets=frozenset({SRC, NET, FROM_TUN, ENCAP, FROM_PHYS, PHYS, WHY}),
    nexts=frozenset({"classify", "vtep", "vlan", "port_security", "drop"}),
)  # fmt: skip
VTEP: Final = Table(
    1, "vtep", "Only hypervisors of this cloud may send through tunnels.",
    {"peer": 100, "miss": 0},
    matches=frozenset({f.TUN_SRC, f.TUN_IPV6_SRC}), sets=frozenset({WHY}), nexts=frozenset({"vni", "drop"}),
)  # fmt: skip
VNI: Final = Table(
    2, "vni", "The network of a frame from a tunnel, by encapsulation and segment; or what else hypervisors exchange.",
    {"path": 110, "segment": 100, "transit": 100, "probe": 100, "miss": 0},
    matches=frozenset({ENCAP, f.TUN_ID, f.ETH_TYPE, f.IPV4_PROTO, f.UDP_DST}), sets=frozenset({NET, f.TUN_ID, WHY}),
    nexts=frozenset({"l2_dispatch", "transit", "alive", "drop"}),
)  # fmt: skip
VLAN: Final = Table(
    3, "vlan", "The network of a frame from a physical network, by its VLAN tag, which is taken off, or by its lack.",
    {"routed": 110, "segment": 100, "miss": 0},
    matches=frozenset({PHYS, f.VLAN_TCI, f.VLAN_ID, f.ETH_SRC}), sets=frozenset({NET, f.ETH_SRC, WHY}),
    nexts=frozenset({"service", "drop"}),
)  # fmt: skip
PORT_SECURITY: Final = Table(
    4, "port_security", "May this port send with this MAC?",
    {"unguarded": 110, "own_mac": 100, "miss": 0},
    matches=frozenset({SRC, f.ETH_SRC}), sets=frozenset({UNCHECKED, WHY}),
    nexts=frozenset({"address_security", "service", "drop"}),
)  # fmt: skip
ADDRESS_SECURITY: Final = Table(
    5, "address_security", "May it send with this address? DHCP clients may; nobody here is a DHCP server or a router.",
    {
        "rogue": 120, "probe": 110, "own_address": 100, "unaddressed": 100, "spoofed_nd": 20, "spoofed": 10, "miss": 0,
    },
    matches=frozenset({
        SRC, f.ETH_SRC, f.ETH_TYPE, f.ARP_OP, f.ARP_SPA, f.ARP_SHA, f.IPV4_SRC, f.IPV4_PROTO,
        f.IPV6_SRC, f.IPV6_PROTO, f.ICMPV6_TYPE, f.UDP_SRC, f.UDP_DST, f.UDP6_SRC, f.UDP6_DST,
        f.IPV6_FRAG,
    }),
    sets=frozenset({f.ETH_SRC, WHY}), nexts=frozenset({"nd_security", "link_security", "service", "drop"}),
)  # fmt: skip
ND_SECURITY: Final = Table(
    6, "nd_security", "Which link-layer address does it tell others by neighbour discovery, if any?",
    {"unsaid": 110, "told": 100, "other": 0},
    matches=frozenset({f.ETH_TYPE, f.IPV6_PROTO, f.ICMPV6_TYPE, f.ND_SLL, f.ND_TLL}),
    sets=frozenset({f.ETH_SRC}), nexts=frozenset({"link_security", "service"}),
)  # fmt: skip
LINK_SECURITY: Final = Table(
    7, "link_security", "May this port tell others that link-layer address, now in eth_src, and of what it advertises?",
    {"own_target": 110, "spoofed_target": 105, "own_mac": 100, "spoofed": 10, "miss": 0},
    matches=frozenset({
        SRC, f.ETH_SRC, f.ETH_TYPE, f.IPV6_PROTO, f.ICMPV6_TYPE, f.ND_TARGET_ADVERTISED, f.ND_TLL,
    }),
    sets=frozenset({WHY}), nexts=frozenset({"service", "drop"}),
)  # fmt: skip
SERVICE: Final = Table(
    8, "service", "What the switch answers itself: ARP and IPv6 neighbour discovery. What guests tell is heard.",
    {
        "wire_answers": 145, "outside": 140, "wire_asks": 135, "wire_known": 134, "wire_moved": 133, "announced": 130,
        "wire": 125, "probed": 120, "own_announced": 115, "own_address": 110, "arp_request": 100,
        "nd_solicitation": 100, "told": 97, "wire_told": 95,
        "unasked": 90, "other": 0,
    },
    matches=frozenset({
        SRC, NET, FROM_PHYS, UNCHECKED, f.ETH_DST, f.ETH_TYPE, f.ARP_OP, f.ARP_SPA, f.ARP_SHA, f.ARP_TPA, f.IPV6_PROTO,
        f.IPV6_SRC, f.IPV6_DST, f.ICMPV6_TYPE, f.ND_TARGET, f.ND_TARGET_ADVERTISED, f.ND_TLL,
    }),
    sets=frozenset({NH4, NH6, ASKED, NEIGH_HIT, f.ETH_DST, WHY}),
    nexts=frozenset({"neigh", "neigh_reply", "out_port", "l2_dispatch", "own_arp", "l2_bum", "trap", "drop"}),
    groups=frozenset({GATE}),
)  # fmt: skip
NEIGH_REPLY: Final = Table(
    9, "neigh_reply", "Turns a request into the reply when NEIGH knew the address.",
    {
        "probe_reply": 110, "wire_reply": 105, "arp_reply": 100, "nd_reply": 100, "sought": 97, "told": 97,
        "wire_unknown": 95, "nd_unknown": 90, "miss": 0,
    },
    matches=frozenset({
        NEIGH_HIT, NET, FROM_PHYS, f.ETH_TYPE, f.ARP_OP, f.ARP_SPA, f.ARP_TPA, f.IPV6_PROTO, f.ICMPV6_TYPE, f.IPV6_SRC,
        f.ND_TARGET,
    }),
    sets=frozenset({
        TURNED,
        f.ETH_DST, f.ETH_SRC, f.ARP_OP, f.ARP_SPA, f.ARP_TPA, f.ARP_SHA, f.ARP_THA,
        f.IPV6_SRC, f.IPV6_DST, f.HOP_LIMIT, f.ICMPV6_TYPE, f.ND_RESERVED, f.ND_OPTIONS_TYPE, WHY,
    }),
    nexts=frozenset({"nd_reply", "l2_dispatch", "phys_out", "trap", "drop"}), outputs=True,
)  # fmt: skip
ND_REPLY: Final = Table(
    10, "nd_reply", "The link-layer half of an advertisement: nd_tll exists only once the type says so.",
    {"wire_to_all": 115, "to_all": 110, "wire_to_one": 105, "to_one": 100},
    matches=frozenset({FROM_PHYS, f.ETH_TYPE, f.IPV6_PROTO, f.ICMPV6_TYPE, f.IPV6_DST}),
    sets=frozenset({TURNED, f.ETH_DST, f.ETH_SRC, f.ND_TLL}), nexts=frozenset({"phys_out"}), outputs=True,
)  # fmt: skip
OUT_PORT: Final = Table(
    11, "out_port", "Egress: which security groups is the sender under?",
    {"ask": 0},
    sets=_ASKED_ANEW, nexts=frozenset({"port_policy", "out_track"}),
)  # fmt: skip
OUT_TRACK: Final = Table(
    12, "out_track", "Egress: to conntrack, in the port's own zone; or past it.",
    {"control": 110, "guard": 100, "miss": 0},
    matches=_GUARDED, sets=frozenset({WHY}), nexts=frozenset({"evaluate", "out_done", "l2_dispatch", "drop"}),
    tracks=frozenset({"out_rules"}),
)  # fmt: skip
OUT_RULES: Final = Table(
    13, "out_rules", "Egress: a new connection is judged; a known one only if the policy is another than it was.",
    _BACK, matches=_BACK_MATCHES, sets=frozenset({WHOSE, WHY, VERDICT, AGAIN}),
    nexts=frozenset({
        "given_back", "generation", "recall", "evaluate", "out_rules", "out_done", "l2_dispatch", "drop",
    }),
)  # fmt: skip
EVALUATE: Final = Table(
    14, "evaluate", "Subroutine: does any rule of POLICY allow this, in DIRECTION? Conjunctions, all at one priority.",
    {"all": 60, "rule": 50},
    matches=frozenset({
        DIRECTION, POLICY, f.CONJ_ID, f.ETH_TYPE, f.CT_STATE, f.CT_NW_SRC, f.CT_NW_DST, f.CT_IPV6_SRC, f.CT_IPV6_DST,
        f.CT_PROTO4, f.CT_PROTO6, f.CT_TP_SRC, f.CT_TP_DST, f.IPV4_FRAG, f.IPV6_FRAG,
        f.IPV4_SRC, f.IPV4_DST, f.IPV4_PROTO, f.IPV6_SRC, f.IPV6_DST, f.IPV6_PROTO, f.ICMP_TYPE, f.ICMP_CODE,
        f.ICMPV6_TYPE, f.ICMPV6_CODE, f.TCP_DST, f.TCP6_DST, f.UDP_DST, f.UDP6_DST,
        f.SCTP_SRC, f.SCTP6_SRC, f.SCTP_DST, f.SCTP6_DST,
    }),
    sets=frozenset({VERDICT, WHY}),
)  # fmt: skip
OUT_DONE: Final = Table(
    15, "out_done", "Egress: remember the connection with what allowed it, or drop.",
    _JUDGED, matches=_DONE_MATCHES, sets=_DONE_SETS, nexts=frozenset({"out_done", "l2_dispatch", "drop"}),
    tracks=frozenset({"out_rules"}), commits=_REMEMBERED,
)  # fmt: skip
PORT_POLICY: Final = Table(
    16, "port_policy", "Subroutine: the conntrack zone and the policy of port CHECKED.",
    {"port": 100},
    matches=frozenset({CHECKED}), sets=frozenset({ZONE, POLICY, GUARD}), nexts=frozenset({"generation"}),
)  # fmt: skip
GENERATION: Final = Table(
    17, "generation", "Subroutine: the generation of POLICY, and whether it asks conntrack.",
    {"policy": 100},
    matches=frozenset({POLICY}), sets=frozenset({GEN, GUARD}),
)  # fmt: skip
RECALL: Final = Table(
    18, "recall", "Subroutine: was this connection judged under POLICY as it is now? Else judge it, by who began it.",
    {"current": 110, "reply": 100, "stale": 0},
    matches=frozenset({POLICY, DIRECTION, f.CT_STATE, CT_POLICY, CT_GEN}),
    sets=frozenset({VERDICT, DIRECTION}), nexts=frozenset({"evaluate"}),
)  # fmt: skip
GIVEN_BACK: Final = Table(
    19, "given_back", "Subroutine: is this fragment, that conntrack gave back, of port CHECKED, in DIRECTION?",
    {"own": 100},
    matches=frozenset({CHECKED, DIRECTION, f.CT_ZONE, f.ETH_SRC, f.ETH_DST}), sets=frozenset({WHOSE}),
)  # fmt: skip
L2_DISPATCH: Final = Table(
    20, "l2_dispatch", "One receiver or many?",
    {"control": 110, "many": 100, "one": 0},
    matches=frozenset({f.ETH_DST}), sets=frozenset({WHY}), nexts=frozenset({"l2_lookup", "l2_bum", "drop"}),
)  # fmt: skip
NEIGH: Final = Table(
    30, "neigh", "Subroutine: the MAC of address NH4 or NH6 on NET, into eth_dst.",
    {"neighbour": 100, "pair": 90, "heard": 80},
    matches=frozenset({NET, NH4, NH6, ASKED}), sets=frozenset({f.ETH_DST, NEIGH_HIT}),
)  # fmt: skip
TRANSIT: Final = Table(
    21, "transit", "Whose packet is it that another hypervisor sends to the outside by the gateway here?",
    {"router": 100, "miss": 0},
    matches=frozenset({f.ETH_DST}), sets=frozenset({RTR, REDIRECTED, FROM_TUN, WHY}), nexts=frozenset({"drop"}),
    groups=frozenset({GATE}),
)  # fmt: skip
GATED: Final = Table(
    22, "gated", "Behind the gate of a router: the gateway goes on; on standby only what is from here may pass, to it.",
    {"elsewhere": 130, "standby": 120, "asked": 110, "redirected": 100, "from_wire": 90, "come": 0},
    matches=frozenset({STANDBY, FROM_PHYS, REDIRECTED, NEIGH_HIT, f.ETH_TYPE, f.ARP_OP, f.IPV6_PROTO, f.ICMPV6_TYPE}),
    sets=frozenset({STANDBY, FROM_PHYS, TURNED, WHY}),
    nexts=frozenset({"neigh_reply", "hop", "l3_route", "phys_out", "drop"}),
)  # fmt: skip
HOP: Final = Table(
    23, "hop", "Counts the routers that a packet passes here: two that send it to each other do not keep it.",
    {"hop": 100, "miss": 0},
    matches=frozenset({HOPS}), sets=frozenset({HOPS, NH4, NH6, WHY}), nexts=frozenset({"l3_in", "drop"}),
)  # fmt: skip
L3_IN: Final = Table(
    24, "l3_in", "At a router: is this for the router itself, and has it a hop left?",
    {"martian": 130, "echo": 120, "own_address": 110, "link_local": 100, "expired": 90, "hop": 10, "through": 0},
    matches=frozenset({
        RTR, NET, f.ETH_TYPE, f.IPV4_SRC, f.IPV4_DST, f.IPV4_PROTO, f.ICMP_TYPE, f.TTL, f.IPV6_SRC,
        f.IPV6_DST,
        f.IPV6_PROTO, f.ICMPV6_TYPE, f.HOP_LIMIT, f.IPV4_FRAG, f.IPV6_FRAG,
    }),
    sets=frozenset({
        NET_IN, TURNED, WHY, f.ETH_SRC, f.ETH_DST, f.IPV4_SRC, f.IPV4_DST, f.ICMP_TYPE, f.TTL,
        f.IPV6_SRC, f.IPV6_DST, f.ICMPV6_TYPE, f.HOP_LIMIT,
    }),
    nexts=frozenset({"l3_dnat", "l3_route", "l2_lookup", "trap", "drop"}),
)  # fmt: skip
L3_DNAT: Final = Table(
    25, "l3_dnat", "What comes from outside: for a floating IP, or an answer? Else nothing behind a router is reached.",
    {"forwarded": 130, "floating": 120, "known": 115, "own_address": 110, "inside": 100, "other": 0},
    matches=frozenset({RTR, NET_IN, f.ETH_TYPE, f.IPV4_DST, f.IPV4_PROTO, f.TCP_DST, f.UDP_DST}),
    sets=frozenset({ZONE, WHY}),
    nexts=frozenset({"l3_dnatted", "l3_route", "drop"}), tracks=frozenset({"l3_dnatted"}), translates=True,
    commits=frozenset({FORWARDING}),
)  # fmt: skip
L3_DNATTED: Final = Table(
    26, "l3_dnatted", "Behind conntrack: what was translated goes on; else it is for the gateway itself, or nobody.",
    {"forwarded": 100, "translated": 100, "unknown": 95, "own_address": 90, "miss": 0},
    matches=frozenset({RTR, f.ETH_TYPE, f.CT_STATE, f.CT_ZONE, FORWARDING, f.IPV4_DST}), sets=frozenset({TURNED, WHY}),
    nexts=frozenset({"l3_route", "trap", "drop"}),
)  # fmt: skip
L3_ROUTE: Final = Table(
    27, "l3_route", "The longest prefix of the router: the next network and the next hop on it.",
    {**ROUTE_PRIORITIES, "miss": 0},
    matches=frozenset({RTR, f.ETH_TYPE, f.IPV4_DST, f.IPV6_DST}),
    sets=frozenset({NET, NH4, NH6, NEIGH_HIT, f.ETH_SRC, WHY}), nexts=frozenset({"l3_snat", "trap"}),
    groups=frozenset({ECMP}),
)  # fmt: skip
L3_ECMP: Final = Table(
    28, "l3_ecmp", "Of several next hops one is chosen: on as if there were no other.",
    {"chosen": 0},
    nexts=frozenset({"l3_snat"}),
)  # fmt: skip
L3_SNAT: Final = Table(
    29, "l3_snat", "What goes to the outside: under a floating IP, by the gateway, and there under its address.",
    {
        "floating": 130, "own_answer": 120, "turned": 117, "own_address": 115, "outer_address": 110, "hairpin": 107,
        "answer": 105, "translate": 100, "routed": 95, "returned": 92, "redirect": 90, "untranslated": 90, "other": 0,
    },
    matches=frozenset({
        RTR, NET, NET_IN, REDIRECTED, TURNED, f.ETH_TYPE, f.IPV4_SRC, f.IPV4_DST, f.IPV4_PROTO, f.ICMP_TYPE,
    }),
    sets=frozenset({REDIRECTED, TOO_BIG, ZONE, WHY}),
    nexts=frozenset({"neigh", "l3_out", "trap", "drop"}), groups=frozenset({GATEWAYS}),
    tracks=frozenset({"l3_snatted"}), translates=True,
)  # fmt: skip
L3_OUT: Final = Table(
    31, "l3_out", "Is the next hop known? Where networks bear more than the next, the packet is measured.",
    {"measured": 110, "known": 100, "miss": 0},
    matches=frozenset({NEIGH_HIT, NET}), sets=frozenset({TOO_BIG, WHY}),
    nexts=frozenset({"l3_mtu", "l2_lookup", "trap"}),
)  # fmt: skip
L3_MTU: Final = Table(
    32, "l3_mtu", "Does the next network bear a packet of this size? A switch can cut none.",
    {"fragment": 110, "too_big": 100, "fits": 0},
    matches=frozenset({TOO_BIG, f.ETH_TYPE, f.IPV4_FRAG}), sets=frozenset({WHY}),
    nexts=frozenset({"l2_lookup", "trap", "drop"}),
)  # fmt: skip
L3_SNATTED: Final = Table(
    33, "l3_snatted", "Behind conntrack: only what bears an address of the outside now goes there.",
    {"floating": 100, "forwarded": 100, "translated": 100, "unknown": 95, "routed": 90, "miss": 0},
    matches=frozenset({RTR, NET, f.ETH_TYPE, f.CT_STATE, f.CT_ZONE, FORWARDING, f.IPV4_SRC}),
    sets=frozenset({REDIRECTED, f.ETH_SRC, WHY}),
    nexts=frozenset({"neigh", "l3_out", "drop"}),
)  # fmt: skip
OWN_ARP: Final = Table(
    34, "own_arp", "ARP about the only address that the sender holds: does it look for another holder, or announce it?",
    {"probe": 100, "announced": 0},
    matches=frozenset({f.ETH_TYPE, f.ARP_OP, f.ARP_SPA}), sets=frozenset({WHY}), nexts=frozenset({"trap", "drop"}),
)  # fmt: skip
L2_LOOKUP: Final = Table(
    36, "l2_lookup", "Where is the holder of this MAC? Here, behind which hypervisor, on the wire, or a router.",
    {
        "own_mac": 110, "local": 100, "remote": 100, "router": 100, "local_pair": 90, "remote_pair": 90,
        "local_heard": 80, "remote_heard": 80, "routed": 20, "wire": 10, "miss": 0,
    },
    matches=frozenset({NET, SRC, FROM_TUN, FROM_PHYS, TURNED, f.ETH_DST, f.ETH_SRC}),
    sets=frozenset({DST, RTR, FROM_PHYS, TURNED, f.ETH_SRC, f.TUN_DST, f.TUN_IPV6_DST, WHY}),
    nexts=frozenset({"in_port", "tun_out", "phys_out", "hop", "drop"}), groups=frozenset({GATE}),
)  # fmt: skip
L2_BUM: Final = Table(
    37, "l2_bum", "Broadcast and multicast: one copy a member, none back into a tunnel or to the wire.",
    {"arrived": 110, "flood": 100, "miss": 0},
    matches=frozenset({NET, FROM_TUN, FROM_PHYS}), sets=frozenset({WHY}), nexts=frozenset({"drop"}),
    groups=frozenset({FLOOD, ARRIVED}),
)  # fmt: skip
IN_PORT: Final = Table(
    43, "in_port", "Ingress: which security groups is the receiver under?",
    {"ask": 0},
    sets=_ASKED_ANEW, nexts=frozenset({"port_policy", "in_track"}),
)  # fmt: skip
IN_TRACK: Final = Table(
    44, "in_track", "Ingress: to conntrack, in the port's own zone; or past it.",
    {"control": 110, "guard": 100, "miss": 0},
    matches=_GUARDED, sets=frozenset({WHY}), nexts=frozenset({"evaluate", "in_done", "deliver", "drop"}),
    tracks=frozenset({"in_rules"}),
)  # fmt: skip
IN_RULES: Final = Table(
    45, "in_rules", "Ingress: a new connection is judged; a known one only if the policy is another than it was.",
    _BACK, matches=_BACK_MATCHES, sets=frozenset({WHOSE, WHY, VERDICT, AGAIN}),
    nexts=frozenset({
        "given_back", "generation", "recall", "evaluate", "in_rules", "in_done", "deliver", "drop",
    }),
)  # fmt: skip
IN_DONE: Final = Table(
    46, "in_done", "Ingress: remember the connection with what allowed it, or drop.",
    _JUDGED, matches=_DONE_MATCHES, sets=_DONE_SETS, nexts=frozenset({"in_done", "deliver", "drop"}),
    tracks=frozenset({"in_rules"}), commits=_REMEMBERED,
)  # fmt: skip
DELIVER: Final = Table(
    50, "deliver", "Out of the interface of port DST.",
    {"turned": 110, "port": 100, "miss": 0},
    matches=frozenset({DST, TURNED}), sets=frozenset({TURNED, WHY}),
    nexts=frozenset({"deliver", "drop"}), outputs=True,
)  # fmt: skip
ALIVE: Final = Table(
    51, "alive", "Sends a probe back to the hypervisor that it came from.",
    {"answer": 0},
    sets=frozenset({f.TUN_DST, f.TUN_IPV6_DST}), outputs=True,
)  # fmt: skip
TUN_OUT: Final = Table(
    52, "tun_out", "The segment of NET, for a frame that goes to another hypervisor.",
    {"split_horizon": 200, "segment": 100, "miss": 0},
    matches=frozenset({NET, FROM_TUN}), sets=frozenset({f.TUN_ID, ENCAP, WHY}),
    nexts=frozenset({"tunnel", "drop"}),
)  # fmt: skip
TUNNEL: Final = Table(
    53, "tunnel", "Out of this hypervisor's tunnel port for ENCAP.",
    {"fragment": 120, "too_big": 110, "port": 100, "miss": 0},
    matches=frozenset({ENCAP, TOO_BIG, f.ETH_TYPE, f.IPV4_FRAG}), sets=frozenset({WHY}),
    nexts=frozenset({"trap", "drop"}), outputs=True,
)  # fmt: skip
PHYS_OUT: Final = Table(
    54, "phys_out", "The physical network of NET, and its VLAN tag, for a frame that goes to the wire.",
    {"split_horizon": 200, "segment": 100, "miss": 0},
    matches=frozenset({NET, FROM_PHYS, TURNED}), sets=frozenset({PHYS, f.VLAN_ID, WHY}),
    nexts=frozenset({"physical", "drop"}),
)  # fmt: skip
PHYSICAL: Final = Table(
    55, "physical", "Out of this hypervisor's port to physical network PHYS.",
    {"turned": 110, "routed": 105, "port": 100, "miss": 0},
    matches=frozenset({PHYS, TURNED, f.ETH_SRC}), sets=frozenset({TURNED, CHASSIS, WHY}),
    nexts=frozenset({"physical", "drop"}), outputs=True,
)  # fmt: skip
TRAP: Final = Table(
    60, "trap", "To the controller, which answers what a switch cannot and hears guests; one counter a reason.",
    {"reason": 100},
    matches=frozenset({WHY}), outputs=True,
)  # fmt: skip
DROP: Final = Table(
    62, "drop", "The end of every dropped frame: one flow, and so one counter, a reason.",
    {"reason": 100},
    matches=frozenset({WHY}),
)  # fmt: skip

TABLES: Final[tuple[Table, ...]] = (
    CLASSIFY, VTEP, VNI, VLAN, PORT_SECURITY, ADDRESS_SECURITY, ND_SECURITY, LINK_SECURITY, SERVICE, NEIGH_REPLY,
    ND_REPLY, OUT_PORT, OUT_TRACK, OUT_RULES, EVALUATE, OUT_DONE, PORT_POLICY, GENERATION, RECALL, GIVEN_BACK,
    L2_DISPATCH, TRANSIT, GATED, HOP, L3_IN, L3_DNAT, L3_DNATTED, L3_ROUTE, L3_ECMP, L3_SNAT, NEIGH, L3_OUT, L3_MTU,
    L3_SNATTED, OWN_ARP, L2_LOOKUP, L2_BUM,
    IN_PORT, IN_TRACK, IN_RULES, IN_DONE, DELIVER, ALIVE, TUN_OUT, TUNNEL, PHYS_OUT, PHYSICAL, TRAP, DROP,
)  # fmt: skip

TRAPS: Final[tuple[Why, ...]] = (
    Why.TTL_EXCEEDED, Why.ROUTER_ADDRESS, Why.NO_ROUTE, Why.NO_NEIGHBOUR, Why.TOO_BIG,
    Why.TRANSIT_TOO_BIG, Why.SOUGHT, Why.TOLD,
)  # fmt: skip
"""The reasons that end in TRAP, not in DROP: the sender may be told (`apps.routing`), or heard (`apps.neighbours`)."""

TRAP_BYTES: Final = 1294
"""How much of a frame the controller needs: what an error about it may quote (RFC 4443 section 2.4).

Open vSwitch, which has kept no buffers since 2.7, hands over all of it.
"""

MISSES: Final[Mapping[Table, Why]] = {
    CLASSIFY: Why.UNKNOWN_PORT,
    VTEP: Why.UNKNOWN_VTEP,
    VNI: Why.UNKNOWN_VNI,
    VLAN: Why.UNKNOWN_VLAN,
    PORT_SECURITY: Why.SPOOFED_MAC,
    ADDRESS_SECURITY: Why.ETHERTYPE,
    LINK_SECURITY: Why.SPOOFED_ND,
    NEIGH_REPLY: Why.ARP_UNKNOWN,
    OUT_TRACK: Why.EGRESS_UNGUARDED,
    OUT_RULES: Why.NOT_TRACKED,
    OUT_DONE: Why.EGRESS_DENIED,
    L2_LOOKUP: Why.UNKNOWN_UNICAST,
    L2_BUM: Why.NO_MEMBERS,
    TRANSIT: Why.NO_TRANSIT,
    L3_DNATTED: Why.NO_CONNECTION,
    L3_SNATTED: Why.NOT_TRANSLATED,
    HOP: Why.ROUTER_LOOP,
    IN_TRACK: Why.INGRESS_UNGUARDED,
    IN_RULES: Why.NOT_TRACKED,
    IN_DONE: Why.INGRESS_DENIED,
    DELIVER: Why.NOT_HERE,
    TUN_OUT: Why.NO_SEGMENT,
    TUNNEL: Why.NO_TUNNEL,
    PHYS_OUT: Why.NO_PHYSICAL,
    PHYSICAL: Why.NO_PHYSICAL,
}
"""What it means to match nothing in a table; tables not named here always match, or are subroutines."""

OWNER: Final = 0xA7
"""The first byte of every cookie of ours."""

PROBE_COOKIE: Final = 0x5745_4654 << 32
"""Of flows that catch probes, which come and go without anybody's wish: no cookie of ours; the table is in the low
bits."""

APPS: Final[Mapping[str, int]] = {
    "drops": 1,
    "classify": 2,
    "tunnels": 3,
    "arp": 4,
    "l2_population": 5,
    "delivery": 6,
    "nd": 7,
    "port_security": 8,
    "security_groups": 9,
    "routing": 10,
    "router_errors": 11,
    "neighbours": 12,
    "physical": 13,
    "wire": 14,
    "gateways": 20,
    "snat": 21,
    "floating_ips": 22,
    "announcements": 23,
    "port_forwardings": 24,
}
"""The second byte of a cookie. A number is never given to another app."""
