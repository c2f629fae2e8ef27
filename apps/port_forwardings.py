"""Port forwardings: TCP or UDP ports of a floating IP that stand for ports of guests, at their router's gateway.

    in   L3_DNAT ─> conntrack ─> L3_DNATTED      by the port; answers, errors and later fragments by their connection
    out  L3_SNAT ─> conntrack ─> L3_SNATTED      with the floating IP's own MAC address

Conntrack translates in the zone of the router, as it does what guests begin: of what a guest sends from a port, only
conntrack knows whether it is an answer. A connection remembers what forwards it (FORWARDING), and passes, both ways, as
long as that stands as it was. A guest behind the same router comes as the gateway, so that answers pass it, too.

Limit: only the first fragment of a datagram has a port, so no connection begins with one in fragments.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from controller.flows.action import Translate, Untrack, goto
from controller.flows.app import app, forwarded, forwarding, translating
from controller.flows.fields import (
    CT_ZONE,
    ETH_SRC,
    IPV4_DST,
    IPV4_SRC,
    TCP_DST,
    UDP_DST,
    cover,
    ct_state,
)
from controller.flows.flow import Flow
from controller.flows.hops import AWAY, redirect
from controller.flows.match import Match
from controller.flows.pipeline import (
    FORWARDING,
    L3_DNAT,
    L3_DNATTED,
    L3_ROUTE,
    L3_SNAT,
    L3_SNATTED,
    NET,
    NET_IN,
    REDIRECTED,
    RTR,
    TURNED,
    ZONE,
)
from controller.flows.ways_out import gateway_translation, own_address, zone_of
from controller.model.records import FloatingIp, Port, PortForwarding, Router
from controller.model.view import View

PORTS = {"tcp": TCP_DST, "udp": UDP_DST}


def known(view: View, floating: FloatingIp, chassis: str) -> Iterator[Flow]:
    """What is for no port that is forwarded may be of a connection; and what guests send there comes as the gateway."""
    address = own_address(view, floating.router_id)
    zone = zone_of(view, chassis, gateway_translation(view, floating.router_id))
    if floating.port_id or zone is None or address is None:
        return
    at, tag = RTR(view.tag("router", floating.router_id)), view.tag("network", floating.floating_network_id)
    outer, asked = floating.floating_ip_address, (Untrack(), ZONE.set(zone))
    yield Flow(L3_DNAT, "known", at & NET_IN(tag) & IPV4_DST(outer), (*asked, Translate(ZONE, L3_DNATTED)))
    if not view.need(Router, floating.router_id).enable_snat:
        out = Translate(ZONE, L3_SNATTED, source=address)
        yield Flow(L3_SNAT, "hairpin", at & NET(tag) & REDIRECTED(1) & IPV4_DST(outer), (*asked, out))


def forward(view: View, forwarding: PortForwarding, chassis: str) -> Iterator[Flow]:
    """What comes for its ports, and all else of the connections that this begins."""
    floating = view.get(FloatingIp, forwarding.floatingip_id)
    if floating is None:
        return
    port, address = view.get(Port, floating.floating_port_id), own_address(view, floating.router_id)
    zone = zone_of(view, chassis, gateway_translation(view, floating.router_id))
    if port is None or zone is None or address is None:
        return
    at, tag = RTR(view.tag("router", floating.router_id)), view.tag("network", floating.floating_network_id)
    number, asked = name(floating, forwarding), (Untrack(), ZONE.set(zone))
    mark, writes = FORWARDING(number), (FORWARDING.set(number),)
    for match, ports in ways(forwarding):
        into = Translate(ZONE, L3_DNATTED, destination=forwarding.internal_ip_address, ports=ports, writes=writes)
        yield Flow(
            L3_DNAT, "forwarded", at & NET_IN(tag) & IPV4_DST(floating.floating_ip_address) & match, (*asked, into)
        )
    ours = at & CT_ZONE(zone) & mark
    yield Flow(L3_DNATTED, "forwarded", ours & ct_state("+trk+dnat"), (TURNED.set(1), goto(L3_ROUTE)))
    out = (ETH_SRC.set(port.mac_address), *AWAY)
    yield Flow(L3_SNATTED, "forwarded", ours & NET(tag) & ct_state("+trk+snat"), out)
    answers = at & NET(tag) & REDIRECTED(1) & IPV4_SRC(forwarding.internal_ip_address)
    answered = (*asked, Translate(ZONE, L3_SNATTED))
    yield Flow(L3_SNAT, "turned", answers & IPV4_DST(address), answered)
    if not view.need(Router, floating.router_id).enable_snat:
        yield Flow(L3_SNAT, "answer", answers, answered)


def turn(view: View, forwarding: PortForwarding, chassis: str) -> Iterator[Flow]:
    """What a guest answers to another one behind its router goes to the gateway, as whom that one came."""
    floating = view.get(FloatingIp, forwarding.floatingip_id)
    if floating is None:
        return
    address, router = own_address(view, floating.router_id), RTR(view.tag("router", floating.router_id))
    if address is not None:
        net = NET(view.tag("network", floating.floating_network_id))
        answers = router & net & REDIRECTED(0) & IPV4_SRC(forwarding.internal_ip_address) & IPV4_DST(address)
        yield Flow(L3_SNAT, "turned", answers, redirect(view, floating.router_id, chassis))


def ways(forwarding: PortForwarding) -> Iterator[tuple[Match, tuple[int, int] | None]]:
    """How its ports are told, and which ports they become; None for their own."""
    field = PORTS[forwarding.protocol]
    first, last = forwarding.external_port_first, forwarding.external_port_last
    to = forwarding.internal_port_first
    if first == to and last == forwarding.internal_port_last:
        yield from ((field(*block), None) for block in cover(first, last))
    elif to == forwarding.internal_port_last:
        yield from ((field(*block), (to, to)) for block in cover(first, last))
    else:
        yield from ((field(port), (to + port - first,) * 2) for port in range(first, last + 1))


def name(floating: FloatingIp, forwarding: PortForwarding) -> int:
    """A number for what is forwarded where; another one as soon as any of that is another."""
    ports = (
        getattr(forwarding, f"{side}_port_{end}") for side in ("external", "internal") for end in ("first", "last")
    )
    ends = (floating.floating_ip_address, forwarding.internal_port_id, forwarding.internal_ip_address)
    said = "/".join(map(str, (forwarding.protocol, *ends, *ports)))
    return int.from_bytes(sha256(said.encode()).digest()[:4]) or 1


APP = app(
    "port_forwardings",
    translating(FloatingIp, known),
    forwarding(PortForwarding, forward),
    forwarded(PortForwarding, turn),
)
