"""Floating IPs: an address of an external network that stands for one of a guest's.

Where the guest is, if that hypervisor is on the wire, the floating IP is: who asks for it is answered there alone,
there it is translated both ways, and nothing of it passes a gateway. Else the gateway of the guest's router does all
that (`ways_out.translated`). It follows whoever holds the address it stands for. Conntrack translates, in a zone of its
own, so that fragments and what ICMP errors quote come out right, and so that nothing of who had it before is known.

    out  L3_SNAT ─> conntrack ─> L3_SNATTED: with the floating IP's own MAC address
    in   L2_LOOKUP ─> HOP ─> L3_IN ─> L3_DNAT ─> conntrack ─> L3_DNATTED ─> L3_ROUTE

A guest that sends to a floating IP of another, or to its own, does both here, one behind the other.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.flows.action import ToGroup, Translate, Untrack, goto, resubmit
from controller.flows.app import app, floating, leading, led, translating
from controller.flows.fields import ARP_REQUEST, ARP_TPA, CT_ZONE, ETH_DST, ETH_SRC, IPV4_DST, IPV4_SRC, ct_state
from controller.flows.flow import Flow
from controller.flows.hops import AT_ROUTER, AWAY, redirect
from controller.flows.pipeline import (
    FROM_PHYS,
    FROM_TUN,
    GATE,
    HOP,
    L2_LOOKUP,
    L3_DNAT,
    L3_DNATTED,
    L3_ROUTE,
    L3_SNAT,
    L3_SNATTED,
    NEIGH,
    NEIGH_HIT,
    NEIGH_REPLY,
    NET,
    NET_IN,
    NH4,
    REDIRECTED,
    RTR,
    SERVICE,
    TURNED,
    ZONE,
)
from controller.flows.ways_out import Translated, floating_translation, gateway_translation, own_address, zone_of
from controller.flows.ways_out import translated as whereabouts
from controller.model.records import FloatingIp, Port, Router
from controller.model.view import View


def answer(view: View, floating: FloatingIp, chassis: str) -> Iterator[Flow]:
    """What is for the floating IP comes here: who asks for it is answered, its frames are at its router."""
    port = view.get(Port, floating.floating_port_id)
    if port is None:
        return
    key, net = view.tag("router", floating.router_id), NET(view.tag("network", floating.floating_network_id))
    where: Translated = view.derive(whereabouts, floating.id)
    gate = ToGroup(GATE.id(key), GATE)
    known = (NH4.set(floating.floating_ip_address), ETH_DST.set(port.mac_address), NEIGH_HIT.set(1))
    asked = net & FROM_PHYS(1) & ARP_REQUEST & ARP_TPA(floating.floating_ip_address)
    yield Flow(SERVICE, "outside", asked, (*known, goto(NEIGH_REPLY) if where.distributed else gate))
    come = (RTR.set(key), *AT_ROUTER, resubmit(HOP)) if where.distributed else (RTR.set(key), gate)
    yield Flow(L2_LOOKUP, "router", net & ETH_DST(port.mac_address) & FROM_TUN(0), come)


def translate(view: View, floating: FloatingIp, chassis: str) -> Iterator[Flow]:
    """To and from the address that it stands for."""
    port, zone = view.get(Port, floating.floating_port_id), zone_of(view, chassis, floating_translation(floating))
    inner, outer = floating.fixed_ip_address, floating.floating_ip_address
    if port is None or zone is None or inner is None:
        return
    at, tag = RTR(view.tag("router", floating.router_id)), view.tag("network", floating.floating_network_id)
    net, where = NET(tag), view.derive(whereabouts, floating.id)
    here = at & net if where.distributed else at & net & REDIRECTED(1)
    out = Translate(ZONE, L3_SNATTED, source=outer)
    yield Flow(L3_SNAT, "floating", here & IPV4_SRC(inner), (Untrack(), ZONE.set(zone), out))
    done = at & net & CT_ZONE(zone) & ct_state("+trk+snat") & IPV4_SRC(outer)
    yield Flow(L3_SNATTED, "floating", done, (ETH_SRC.set(port.mac_address), *AWAY))
    into = Translate(ZONE, L3_DNATTED, destination=inner)
    yield Flow(L3_DNAT, "floating", at & NET_IN(tag) & IPV4_DST(outer), (Untrack(), ZONE.set(zone), into))
    come = at & CT_ZONE(zone) & ct_state("+trk+dnat") & IPV4_DST(inner)
    yield Flow(
        L3_DNATTED, "translated", come, (TURNED.set(1), goto(L3_ROUTE))
    )  # perhaps to who sent it, or to the wire


def hairpin(view: View, floating: FloatingIp, chassis: str) -> Iterator[Flow]:
    """What guests behind a router that does not translate send to a floating IP of its own comes as the gateway: so
    answers pass by the floating IP again, and not straight to who sent it."""
    router, address = view.get(Router, floating.router_id), own_address(view, floating.router_id)
    zone = zone_of(view, chassis, gateway_translation(view, floating.router_id))
    if router is None or router.enable_snat or address is None or zone is None:
        return
    at, net = RTR(view.tag("router", router.id)), NET(view.tag("network", floating.floating_network_id))
    sent = at & net & REDIRECTED(1) & IPV4_DST(floating.floating_ip_address)
    out = Translate(ZONE, L3_SNATTED, source=address)
    yield Flow(L3_SNAT, "hairpin", sent, (Untrack(), ZONE.set(zone), out))


def turn(view: View, floating: FloatingIp, chassis: str) -> Iterator[Flow]:
    """What a guest answers to another one behind its router, who came as the gateway, goes to the gateway, too."""
    address, inner = own_address(view, floating.router_id), floating.fixed_ip_address
    if address is None or inner is None:
        return
    at = RTR(view.tag("router", floating.router_id)) & NET(view.tag("network", floating.floating_network_id))
    answers = at & REDIRECTED(0) & IPV4_SRC(inner) & IPV4_DST(address)
    yield Flow(L3_SNAT, "turned", answers, redirect(view, floating.router_id, chassis))


def neighbour(view: View, floating: FloatingIp) -> Iterator[Flow]:
    """Where the external network is, everybody here knows the floating IP's MAC address."""
    port = view.get(Port, floating.floating_port_id)
    if port is not None:
        here = NET(view.tag("network", floating.floating_network_id)) & NH4(floating.floating_ip_address)
        yield Flow(NEIGH, "neighbour", here, (ETH_DST.set(port.mac_address), NEIGH_HIT.set(1)))


APP = app(
    "floating_ips",
    translating(FloatingIp, answer),
    translating(FloatingIp, translate),
    leading(FloatingIp, hairpin),
    led(FloatingIp, turn),
    floating(FloatingIp, neighbour),
)
