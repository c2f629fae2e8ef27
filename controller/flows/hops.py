"""What routers do to packets, whichever app has them do it: pass them on, answer echo requests, have errors told."""

from __future__ import annotations

from typing import Final

from controller.flows.action import Action, Measure, Move, ToGroup, Untrack, goto, resubmit
from controller.flows.attachment import JOINTS
from controller.flows.fields import (
    ETH_SRC,
    HOP_LIMIT,
    ICMP_TYPE,
    ICMPV6_TYPE,
    IPV4_DST,
    IPV4_SRC,
    IPV6_DST,
    IPV6_SRC,
    TTL,
    within,
)
from controller.flows.flow import Flow
from controller.flows.match import Set
from controller.flows.pipeline import (
    FROM_PHYS,
    GATEWAYS,
    L3_OUT,
    L3_ROUTE,
    NEIGH,
    NEIGH_HIT,
    NET,
    NET_IN,
    NH4,
    NH6,
    REDIRECTED,
    RTR,
    TOO_BIG,
    TRAP,
    TURNED,
    WHY,
    Why,
)
from controller.flows.presence import mtu, tunnel_mtu
from controller.model.records import Address, Cidr, Port
from controller.model.view import View

ECHO_REQUEST, ECHO_REPLY = 8, 0
ECHO_REQUEST6, ECHO_REPLY6 = 128, 129
HOPS_OF_ANSWERS: Final = 255
ETHERNET_BYTES: Final = 14
"""How much longer a frame is than its packet."""
FRAGMENTS: Final = (1, 1)
"""ip_frag, and its mask, of all fragments."""
Way = tuple[Action, ...]
"""What is done to a packet for its next hop."""
AT_ROUTER: Way = (FROM_PHYS.set(0), TURNED.set(1))
"""A packet that came from a wire, and is at a router now, may leave to that wire, as from whoever sends it on."""
LOOK: Way = (resubmit(NEIGH), goto(L3_OUT))
"""Find the next hop's MAC."""
AWAY: Way = (REDIRECTED.set(0), resubmit(NEIGH), resubmit(L3_OUT))
"""The same behind conntrack (L3_SNATTED)."""


def redirect(view: View, router: str, chassis: str, *, back: str = "") -> Way:
    """From a chassis to the gateway of a router. If packets may come to the router that a tunnel does not bear, from a
    VLAN, they are measured first (TUNNEL); a bucket of a group cannot do that: it may hold but what action sets may.
    `back` is the external network for what came by that."""
    most, networks = tunnel_mtu(view, chassis), (back,) if back else view.gather(JOINTS, router)
    wide = max((view.derive(mtu, network) for network in networks), default=0) > most
    measured = (Measure(most + ETHERNET_BYTES, TOO_BIG),) if wide else ()
    return (*measured, ToGroup(GATEWAYS.id(view.tag("router", router)), GATEWAYS))


def route(view: View, router: str, kind: str, destination: Cidr, onward: Way) -> Flow:
    """What is for `destination` goes one hop on; of `kind` is the rank among routes to one block."""
    field = IPV6_DST if ":" in destination else IPV4_DST
    match = RTR(view.tag("router", router)) & within(field, destination)
    return Flow(L3_ROUTE, f"{kind}_{destination.partition('/')[2]}", match, onward)


def leave(view: View, port: Port, hop: Action) -> Way:
    """Leave by an interface, to the next hop that `hop` sets."""
    net = NET.set(view.tag("network", port.network_id))
    return (hop, net, ETH_SRC.set(port.mac_address), NEIGH_HIT.set(0))


def receiver(version: int) -> Move:
    """The next hop is the receiver itself."""
    return Move(IPV6_DST, NH6) if version == 6 else Move(IPV4_DST, NH4)


def by(nexthop: Address) -> Set:
    """The next hop is this."""
    return NH6.set(nexthop) if ":" in nexthop else NH4.set(nexthop)


def trap(why: Why) -> Way:
    """Let the sender be told, by the interface that the packet came to."""
    return (Move(NET, NET_IN), WHY.set(why), goto(TRAP))


def reply4(address: Address) -> Way:
    """Answer an echo request for an address, by a route (RFC 1122 section 3.2.2.6)."""
    return (
        Untrack(),
        Move(IPV4_SRC, IPV4_DST),
        IPV4_SRC.set(address),
        ICMP_TYPE.set(ECHO_REPLY),
        TTL.set(HOPS_OF_ANSWERS),
        TURNED.set(1),
        Move(NET, NET_IN),
        goto(L3_ROUTE),
    )


def reply6(address: Address) -> Way:
    """The same of IPv6."""
    return (*echo6(address), TURNED.set(1), Move(NET, NET_IN), goto(L3_ROUTE))


def echo6(address: Address) -> Way:
    """Turn an echo request for an address around (RFC 4443 section 4.2)."""
    return (
        Untrack(),
        Move(IPV6_SRC, IPV6_DST),
        IPV6_SRC.set(address),
        ICMPV6_TYPE.set(ECHO_REPLY6),
        HOP_LIMIT.set(HOPS_OF_ANSWERS),
    )
