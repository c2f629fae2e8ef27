"""Gateways: how a router's packets get to the outside, by one hypervisor of several that stand by, and what comes back.

What a router sends to its external network goes through a tunnel to the best of its gateways that is alive, or leaves
here if that is this hypervisor (group GATEWAYS). Whether one is alive hypervisors find out for themselves: by BFD on a
port of its own (`presence.Watched`), whose probes the gateway's flows send back (ALIVE), so that a switch without flows
is dead. Every gateway knows which are better than it, and while one of them is alive it takes no packet, answers no
question for the router's addresses on the wire, and drops what comes for them (group GATE): so one of them does, and
with no controller either.

Only hypervisors on the wire of the external network may be gateways. Limits: an external network that is an overlay
has none. A wire that is cut while its hypervisor is alive is not noticed.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.flows.action import Action, Bounce, Move, ToGroup, Turn, goto, resubmit
from controller.flows.app import app, at_gateways, crossing, everywhere, outside, routing
from controller.flows.attachment import physical_network
from controller.flows.fields import (
    ARP_REQUEST,
    ARP_TPA,
    ETH_DST,
    ICMP_TYPE,
    ICMPV6_TYPE,
    IPV4_DST,
    IPV4_FRAG,
    IPV4_SRC,
    IPV6_DST,
    ND_SOLICITATION,
    ND_TARGET,
    TUN_DST,
    TUN_ID,
    TUN_IPV6_DST,
    TUN_IPV6_SRC,
    TUN_SRC,
    UDP_DST,
    link_local,
    tunnel_to,
)
from controller.flows.flow import Bucket, Flow, Group, Item
from controller.flows.hops import (
    AT_ROUTER,
    ECHO_REPLY,
    ECHO_REQUEST,
    ECHO_REQUEST6,
    FRAGMENTS,
    LOOK,
    leave,
    receiver,
    redirect,
    reply4,
    reply6,
    route,
    trap,
)
from controller.flows.match import ANY, Match
from controller.flows.pipeline import (
    ALIVE,
    BFD_PORT,
    DROP,
    ENCAP,
    ENCAPS,
    FROM_PHYS,
    FROM_TUN,
    GATE,
    GATED,
    GATEWAYS,
    HOP,
    L2_LOOKUP,
    L3_IN,
    L3_ROUTE,
    L3_SNAT,
    NEIGH,
    NEIGH_HIT,
    NEIGH_REPLY,
    NET,
    NET_IN,
    NH4,
    NH6,
    PHYS_OUT,
    PROBED,
    PROBES,
    REDIRECTED,
    RTR,
    SERVICE,
    STANDBY,
    TOO_BIG,
    TRANSIT,
    TRANSITS,
    TRAP,
    TUNNEL,
    TUNNEL_PORTS,
    TURNED,
    VNI,
    WHY,
    Why,
    patch_port,
    probe_port,
    router_mac,
)
from controller.flows.presence import Watched, way
from controller.flows.ways_out import gateway_port, gateways
from controller.model.records import Address, Link, Port, Router, Subnet
from controller.model.view import View

# ---- what is the same for all routers -------------------------------------------------------------------------


def manners(view: View) -> Iterator[Flow]:
    """Probes are sent back; and what becomes of a packet behind the gate of its router."""
    for encap, code in ENCAPS.items():
        probe = ENCAP(code) & TUN_ID(PROBES[encap]) & UDP_DST(BFD_PORT)
        yield Flow(VNI, "probe", probe, (TUN_ID.set(PROBED[encap]), goto(ALIVE)))
        yield Flow(VNI, "transit", ENCAP(code) & TUN_ID(TRANSITS[encap]), (goto(TRANSIT),))
    back = (Move(TUN_SRC, TUN_DST), Move(TUN_IPV6_SRC, TUN_IPV6_DST), Bounce())
    yield Flow(ALIVE, "answer", ANY, back)
    here = STANDBY(1) & FROM_PHYS(0) & REDIRECTED(0)
    yield Flow(GATED, "elsewhere", here, (STANDBY.set(0), goto(PHYS_OUT)))
    yield Flow(GATED, "standby", STANDBY(1), (WHY.set(Why.STANDBY), goto(DROP)))
    for asked in (ARP_REQUEST, ND_SOLICITATION):
        yield Flow(GATED, "asked", NEIGH_HIT(1) & FROM_PHYS(1) & asked, (resubmit(NEIGH_REPLY),))
    yield Flow(GATED, "redirected", REDIRECTED(1), (goto(L3_ROUTE),))
    yield Flow(GATED, "from_wire", FROM_PHYS(1), (*AT_ROUTER, goto(HOP)))
    yield Flow(GATED, "come", ANY, (goto(HOP),))
    yield Flow(TUNNEL, "fragment", TOO_BIG(1) & IPV4_FRAG(*FRAGMENTS), (WHY.set(Why.FRAGMENT_TOO_BIG), goto(DROP)))
    yield Flow(TUNNEL, "too_big", TOO_BIG(1), (WHY.set(Why.TRANSIT_TOO_BIG), goto(TRAP)))


# ---- wherever a router is -------------------------------------------------------------------------------------


def way_out(view: View, router: Router) -> Iterator[Flow]:
    """What a router sends to its external network, and how it answers its guests for its addresses there."""
    port = gateway_port(view, router.id)
    if port is None:
        return
    at, net = RTR(view.tag("router", router.id)), NET(view.tag("network", port.network_id))
    for subnet in view.where(Subnet, network_id=port.network_id):
        onward = (*leave(view, port, receiver(subnet.ip_version)), goto(L3_SNAT))
        yield route(view, router.id, "connected", subnet.cidr, onward)
    for address in addresses(port):
        yield from answers(at, address)
        if ":" not in address:
            own = (WHY.set(Why.ROUTER_ADDRESS), goto(TRAP))
            yield Flow(L3_SNAT, "own_address", at & net & IPV4_DST(address), own)
            outer = (WHY.set(Why.OUTER_ADDRESS), goto(DROP))
            yield Flow(L3_SNAT, "outer_address", at & net & IPV4_SRC(address), outer)
    yield Flow(L3_SNAT, "untranslated", at & net & REDIRECTED(1), (WHY.set(Why.NOT_TRANSLATED), goto(DROP)))


def answers(at: Match, address: Address) -> Iterator[Flow]:
    """A router answers echo requests for an address. Of IPv4 the rest may be for whom it is translated."""
    if ":" in address:
        own = at & IPV6_DST(address)
        yield Flow(L3_IN, "echo", own & ICMPV6_TYPE(ECHO_REQUEST6), reply6(address))
        yield Flow(L3_IN, "own_address", own, trap(Why.ROUTER_ADDRESS))
    else:
        yield Flow(L3_IN, "echo", at & IPV4_DST(address) & ICMP_TYPE(ECHO_REQUEST), reply4(address))


def addresses(port: Port) -> list[Address]:
    """The addresses of a router's gateway."""
    return [ip.ip_address for ip in port.fixed_ips]


def ways(view: View, router: Router, chassis: str) -> Iterator[Item]:
    """From one hypervisor to the gateways, the best first. What none can take is dropped, if any tunnel is there."""
    port = gateway_port(view, router.id)
    if port is None:
        return
    key, net, buckets = view.tag("router", router.id), view.tag("network", port.network_id), list[Bucket]()
    leaves = RTR(key) & NET(net) & REDIRECTED(0)
    onward = redirect(view, router.id, chassis)
    yield Flow(L3_SNAT, "redirect", leaves, onward)
    if (back := redirect(view, router.id, chassis, back=port.network_id)) != onward:  # by way of a floating IP's MAC
        yield Flow(L3_SNAT, "returned", leaves & NET_IN(net), back)
    for gateway in view.derive(gateways, router.id):
        if gateway == chassis:
            buckets += leaving(view, port, chassis)
            break
        if (to := view.derive(way, (chassis, gateway))) and (watch := watched(view, chassis, to)):
            passed = (ETH_DST.set(router_mac(key)), TUN_ID.set(TRANSITS[to.encap]), ENCAP.set(ENCAPS[to.encap]))
            buckets.append(Bucket((tunnel_to(to.vtep), *passed, resubmit(TUNNEL)), watch))
    for watch in always_alive(view, chassis):
        buckets.append(Bucket((WHY.set(Why.NO_GATEWAY), resubmit(DROP)), watch))
    yield Group(GATEWAYS, key, tuple(buckets))


def leaving(view: View, port: Port, chassis: str) -> Iterator[Bucket]:
    """To the outside from here."""
    physical = physical_network(view, port.network_id)
    link = view.get(Link, f"{chassis}/{patch_port(physical)}") if physical else None
    if link is not None:
        yield Bucket((REDIRECTED.set(1), TOO_BIG.set(0), resubmit(L3_SNAT)), link.ofport)


def watched(view: View, chassis: str, gateway: Watched) -> int | None:
    """The OpenFlow port that knows whether a gateway is alive; None until there is one."""
    link = view.get(Link, f"{chassis}/{probe_port(gateway.chassis)}")
    return link.ofport if link else None


def always_alive(view: View, chassis: str) -> list[int]:
    """A port that is alive as long as the switch is: its tunnel port, of which nobody watches the other end."""
    links = (view.get(Link, f"{chassis}/{name}") for name in TUNNEL_PORTS.values())
    return [link.ofport for link in links if link is not None][:1]


# ---- at gateways ----------------------------------------------------------------------------------------------


def gateway(view: View, router: Router, chassis: str) -> Iterator[Item]:
    """What comes to a gateway: from other hypervisors, and from the wire."""
    port = gateway_port(view, router.id)
    if port is None:
        return
    key, net = view.tag("router", router.id), NET(view.tag("network", port.network_id))
    at, ask = RTR(key), ToGroup(GATE.id(key), GATE)
    yield gate(view, router, chassis)
    come = (RTR.set(key), REDIRECTED.set(1), FROM_TUN.set(0), Turn(), ask)  # it may leave by that tunnel port again
    yield Flow(TRANSIT, "router", ETH_DST(router_mac(key)), come)
    yield Flow(L2_LOOKUP, "router", net & ETH_DST(port.mac_address) & FROM_TUN(0), (RTR.set(key), ask))
    for address in addresses(port):
        if ":" not in address:
            own = at & net & NET_IN(net.tests[0].value) & TURNED(1) & IPV4_SRC(address)
            yield Flow(L3_SNAT, "own_answer", own & ICMP_TYPE(ECHO_REPLY), LOOK)
    for address in local_too(port):
        yield Flow(SERVICE, "outside", net & FROM_PHYS(1) & asks(address), (*known(port, address), ask))


def gate(view: View, router: Router, chassis: str) -> Group:
    """Is it this hypervisor's turn? Not while a better gateway is alive, or nobody here knows whether it is."""
    ranked = view.derive(gateways, router.id)
    ways = [view.derive(way, (chassis, better)) for better in ranked[: ranked.index(chassis)]]
    watches = [watched(view, chassis, to) if to else None for to in ways]
    standby, here = (STANDBY.set(1), resubmit(GATED)), (resubmit(GATED),)
    buckets = [Bucket(standby, watch) for watch in watches if watch is not None]
    last = standby if None in watches else here
    buckets += [Bucket(last, watch) for watch in always_alive(view, chassis)]
    return Group(GATE, view.tag("router", router.id), tuple(buckets))


def asks(address: Address) -> Match:
    """Who holds an address?"""
    return ND_TARGET(address) if ":" in address else ARP_REQUEST & ARP_TPA(address)


def known(port: Port, address: Address) -> tuple[Action, ...]:
    """As if NEIGH had been asked for an address of the gateway's, and had known it."""
    here = NH6.set(address) if ":" in address else NH4.set(address)
    return (here, ETH_DST.set(port.mac_address), NEIGH_HIT.set(1))


def local_too(port: Port) -> list[Address]:
    """The addresses of a router's gateway, with the link-local one if it has any of IPv6."""
    fixed = addresses(port)
    return [*fixed, link_local(port.mac_address)] if any(":" in address for address in fixed) else fixed


# ---- on the external network ----------------------------------------------------------------------------------


def neighbour(view: View, router: Router) -> Iterator[Flow]:
    """Where the external network is, everybody here knows the MAC of the gateway's addresses."""
    port = gateway_port(view, router.id)
    for address in local_too(port) if port else ():
        net = NET(view.tag("network", router.external_network_id))
        here = NH6(address) if ":" in address else NH4(address)
        if port is not None:
            yield Flow(NEIGH, "neighbour", net & here, (ETH_DST.set(port.mac_address), NEIGH_HIT.set(1)))


APP = app(
    "gateways",
    everywhere(manners),
    routing(Router, way_out),
    crossing(Router, ways),
    at_gateways(Router, gateway),
    outside(Router, neighbour),
)
