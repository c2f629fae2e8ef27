"""The pipeline: every table in packet order, every register bit, every number that appears in a flow, by name.

The path of a frame (`docs/pipeline.md` is generated from this module):

    guest ──> CLASSIFY ──> SERVICE ──> L2_DISPATCH ──┬─> L2_LOOKUP ──┬──────────────> DELIVER ──> guest
                             │ ARP, ND                └─> L2_BUM ────┤ (a copy a member)
                             └─> NEIGH ─> NEIGH_REPLY ──> guest      └─> TUN_OUT ──> TUNNEL ──> underlay
    underlay ──> CLASSIFY ──> VTEP ──> VNI ──> L2_DISPATCH          every drop ──> DROP, with its reason in WHY

Registers:

    reg0  31      26 24          5        0
         |..........|ENCAP|......|HIT|....|FROM_TUN|
    reg1  SRC    key of the port a frame came from; 0 = another hypervisor or nobody
    reg2  DST    key of the port a frame goes to
    reg4  NH4    IPv4 address whose MAC is wanted
    reg6  NET    key of the network a frame is on; set by CLASSIFY and VNI alone
    reg8  WHY    reason of a drop
    reg12 NH6    IPv6 address whose MAC is wanted, to reg15 (xxreg3)

Cookies: 0xA7 (8 bits) | app (8 bits) | hash of table, priority, match and instructions (48 bits).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final

from controller.flows import fields as f
from controller.flows.fields import ipv4_number, ipv6_number
from controller.flows.flow import Field, GroupKind, Table, register
from controller.model.records import Address

FROM_TUN: Field[int] = register("from_tun", "reg0", 0, 1)
NEIGH_HIT: Field[int] = register("neigh_hit", "reg0", 5, 1)
ENCAP: Field[int] = register("encap", "reg0", 24, 3)
SRC: Field[int] = register("src", "reg1")
DST: Field[int] = register("dst", "reg2")
NH4: Field[Address] = Field("nh4", "reg4", 32, ipv4_number, hex)
NET: Field[int] = register("net", "reg6")
WHY: Field[int] = register("why", "reg8")
NH6: Field[Address] = Field("nh6", "xxreg3", 128, ipv6_number, hex)

REGISTERS: Final[tuple[tuple[Field[Any], str], ...]] = (
    (FROM_TUN, "the frame came through a tunnel"),
    (NEIGH_HIT, "NEIGH knows the address; its MAC is in eth_dst"),
    (ENCAP, "encapsulation of the tunnel, see ENCAPS"),
    (SRC, "key of the port the frame came from, 0 when it came from elsewhere"),
    (DST, "key of the port the frame goes to"),
    (NH4, "IPv4 address whose MAC is wanted"),
    (NET, "key of the network the frame is on; only CLASSIFY and VNI set it"),
    (WHY, "reason of the drop"),
    (NH6, "IPv6 address whose MAC is wanted"),
)

ENCAPS: Final[Mapping[str, int]] = {"vxlan": 1, "geneve": 2, "gre": 3}
TUNNEL_PORTS: Final[Mapping[str, str]] = {"vxlan": "weft-vxlan", "geneve": "weft-geneve", "gre": "weft-gre"}
"""The name of the one flow-based tunnel port a hypervisor has for an encapsulation."""


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
    Why.NO_TUNNEL: "was to leave by an encapsulation this hypervisor has no tunnel port for",
}

PART: Final = GroupKind(
    "part", 6 << 28, "some of the copies of a network that has more members than one group holds",
    sets=frozenset({DST, f.TUN_DST, f.TUN_IPV6_DST}), nexts=frozenset({"deliver", "tun_out"}),
)  # fmt: skip
FLOOD: Final = GroupKind(
    "flood", 3 << 28, "a copy to every member of a network: here, and one a hypervisor elsewhere",
    sets=PART.sets, nexts=PART.nexts, groups=frozenset({PART}),
)  # fmt: skip
ARRIVED: Final = GroupKind(
    "arrived", 5 << 28, "a copy to every member of a network on this hypervisor",
    sets=frozenset({DST}), nexts=frozenset({"deliver"}), groups=frozenset({PART}),
)  # fmt: skip
GROUP_KINDS: Final[tuple[GroupKind, ...]] = (FLOOD, ARRIVED, PART)

PART_COPIES: Final = 1000
"""How many copies one group makes; an OpenFlow message of 64 KiB holds some 1,300."""
PARTS: Final = 16
"""How many parts the copies of a network may have: the last four bits of a part's number, behind the network's key."""

CLASSIFY: Final = Table(
    0, "classify", "Who sent this frame? Sets SRC and NET of a guest, ENCAP of a tunnel.",
    {"guest": 100, "tunnel": 100, "admin_down": 100, "tagged": 90, "miss": 0},
    matches=frozenset({f.IN_PORT, f.VLAN_TCI}), sets=frozenset({SRC, NET, FROM_TUN, ENCAP, WHY}),
    nexts=frozenset({"vtep", "service", "drop"}),
)  # fmt: skip
VTEP: Final = Table(
    1, "vtep", "Only hypervisors of this cloud may send through tunnels.",
    {"peer": 100, "miss": 0},
    matches=frozenset({f.TUN_SRC, f.TUN_IPV6_SRC}), sets=frozenset({WHY}), nexts=frozenset({"vni", "drop"}),
)  # fmt: skip
VNI: Final = Table(
    2, "vni", "The network of a frame from a tunnel, by encapsulation and segment.",
    {"segment": 100, "miss": 0},
    matches=frozenset({ENCAP, f.TUN_ID}), sets=frozenset({NET, WHY}), nexts=frozenset({"l2_dispatch", "drop"}),
)  # fmt: skip
SERVICE: Final = Table(
    8, "service", "What the switch answers itself: ARP and IPv6 neighbour discovery.",
    {"own_address": 110, "arp_request": 100, "nd_solicitation": 100, "unasked": 90, "other": 0},
    matches=frozenset({SRC, f.ETH_TYPE, f.ARP_OP, f.ARP_TPA, f.IPV6_PROTO, f.ICMPV6_TYPE, f.ND_TARGET}),
    sets=frozenset({NH4, NH6, WHY}), nexts=frozenset({"neigh", "neigh_reply", "l2_dispatch", "drop"}),
)  # fmt: skip
NEIGH_REPLY: Final = Table(
    9, "neigh_reply", "Turns a request into the reply when NEIGH knew the address.",
    {"probe_reply": 110, "arp_reply": 100, "nd_reply": 100, "nd_unknown": 90, "miss": 0},
    matches=frozenset({NEIGH_HIT, f.ETH_TYPE, f.ARP_OP, f.IPV6_PROTO, f.ICMPV6_TYPE, f.IPV6_SRC}),
    sets=frozenset({
        f.ETH_DST, f.ETH_SRC, f.ARP_OP, f.ARP_SPA, f.ARP_TPA, f.ARP_SHA, f.ARP_THA,
        f.IPV6_SRC, f.IPV6_DST, f.HOP_LIMIT, f.ICMPV6_TYPE, f.ND_RESERVED, f.ND_OPTIONS_TYPE, WHY,
    }),
    nexts=frozenset({"nd_reply", "drop"}), outputs=True,
)  # fmt: skip
ND_REPLY: Final = Table(
    10, "nd_reply", "The link-layer half of an advertisement: nd_tll exists only once the type says so.",
    {"to_all": 110, "to_one": 100},
    matches=frozenset({f.ETH_TYPE, f.IPV6_PROTO, f.ICMPV6_TYPE, f.IPV6_DST}),
    sets=frozenset({f.ETH_DST, f.ETH_SRC, f.ND_TLL}), outputs=True,
)  # fmt: skip
L2_DISPATCH: Final = Table(
    20, "l2_dispatch", "One receiver or many?",
    {"control": 110, "many": 100, "one": 0},
    matches=frozenset({f.ETH_DST}), sets=frozenset({WHY}), nexts=frozenset({"l2_lookup", "l2_bum", "drop"}),
)  # fmt: skip
NEIGH: Final = Table(
    30, "neigh", "Subroutine: the MAC of address NH4 or NH6 on NET, into eth_dst.",
    {"neighbour": 100},
    matches=frozenset({NET, NH4, NH6}), sets=frozenset({f.ETH_DST, NEIGH_HIT}),
)  # fmt: skip
L2_LOOKUP: Final = Table(
    36, "l2_lookup", "Where is the holder of this MAC? Here, or behind which hypervisor.",
    {"own_mac": 110, "local": 100, "remote": 100, "miss": 0},
    matches=frozenset({NET, SRC, f.ETH_DST}), sets=frozenset({DST, f.TUN_DST, f.TUN_IPV6_DST, WHY}),
    nexts=frozenset({"deliver", "tun_out", "drop"}),
)  # fmt: skip
L2_BUM: Final = Table(
    37, "l2_bum", "Broadcast and multicast: one copy a member, none back into a tunnel.",
    {"arrived": 110, "flood": 100, "miss": 0},
    matches=frozenset({NET, FROM_TUN}), sets=frozenset({WHY}), nexts=frozenset({"drop"}),
    groups=frozenset({FLOOD, ARRIVED}),
)  # fmt: skip
DELIVER: Final = Table(
    50, "deliver", "Out of the interface of port DST.",
    {"port": 100, "miss": 0},
    matches=frozenset({DST}), sets=frozenset({WHY}), nexts=frozenset({"drop"}), outputs=True,
)  # fmt: skip
TUN_OUT: Final = Table(
    52, "tun_out", "The segment of NET, for a frame that goes to another hypervisor.",
    {"split_horizon": 200, "segment": 100, "miss": 0},
    matches=frozenset({NET, FROM_TUN}), sets=frozenset({f.TUN_ID, ENCAP, WHY}),
    nexts=frozenset({"tunnel", "drop"}),
)  # fmt: skip
TUNNEL: Final = Table(
    53, "tunnel", "Out of this hypervisor's tunnel port for ENCAP.",
    {"port": 100, "miss": 0},
    matches=frozenset({ENCAP}), sets=frozenset({WHY}), nexts=frozenset({"drop"}), outputs=True,
)  # fmt: skip
DROP: Final = Table(
    62, "drop", "The end of every dropped frame: one flow, and so one counter, a reason.",
    {"reason": 100},
    matches=frozenset({WHY}),
)  # fmt: skip

TABLES: Final[tuple[Table, ...]] = (
    CLASSIFY, VTEP, VNI, SERVICE, NEIGH_REPLY, ND_REPLY, L2_DISPATCH, NEIGH, L2_LOOKUP, L2_BUM,
    DELIVER, TUN_OUT, TUNNEL, DROP,
)  # fmt: skip

MISSES: Final[Mapping[Table, Why]] = {
    CLASSIFY: Why.UNKNOWN_PORT,
    VTEP: Why.UNKNOWN_VTEP,
    VNI: Why.UNKNOWN_VNI,
    NEIGH_REPLY: Why.ARP_UNKNOWN,
    L2_LOOKUP: Why.UNKNOWN_UNICAST,
    L2_BUM: Why.NO_MEMBERS,
    DELIVER: Why.NOT_HERE,
    TUN_OUT: Why.NO_SEGMENT,
    TUNNEL: Why.NO_TUNNEL,
}
"""What it means to match nothing in a table; tables not named here always match, or are subroutines."""

OWNER: Final = 0xA7
"""The first byte of every cookie of ours."""

APPS: Final[Mapping[str, int]] = {
    "drops": 1,
    "classify": 2,
    "tunnels": 3,
    "arp": 4,
    "l2_population": 5,
    "delivery": 6,
    "nd": 7,
}
"""The second byte of a cookie. A number is never given to another app."""
