"""Routing: packets pass routers on the hypervisor of their sender, all of them, and cross the underlay once.

A frame for the MAC of a router's interface is at that router: it answers echo requests, passes on what has a hop left
and a route, and tells the sender of what it does not (the controller writes those errors, `TRAP`). The next hop's MAC
is known from the model, or from its holder (`NEIGH`, `apps.neighbours`). If the next hop is another router, the packet
is at that one next.

    L2_LOOKUP ─> HOP ─> L3_IN ─> L3_DNAT ─> L3_ROUTE ─> L3_SNAT ─(NEIGH)─> L3_OUT (─> L3_MTU) ─> L2_LOOKUP

Of several routes to one destination each connection takes one, by a hash (ECMP): the first `ECMP_ROUTES` destinations
of a router that have several; of others the first next hop is taken alone.

On the way to an external network, and from it, addresses are translated (`apps.snat`, `apps.floating_ips`), and packets
leave by a gateway (`apps.gateways`): L3_DNAT, L3_SNAT.

Routers have tables of their own (RTR), so their subnets may be the same as those of others. A hypervisor has the flows
of routers whose networks its guests reach, and of no others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from ipaddress import ip_address, ip_network

from controller.flows.action import DecrementTtl, Measure, Move, Punt, ToGroup, Turn, goto, resubmit
from controller.flows.app import app, everywhere, joined, routing
from controller.flows.attachment import joins, physical_network
from controller.flows.fields import (
    ETH_DST,
    ETH_SRC,
    HOP_LIMIT,
    ICMP_TYPE,
    ICMPV6_TYPE,
    IPV4,
    IPV4_DST,
    IPV4_FRAG,
    IPV4_SRC,
    IPV6,
    IPV6_DST,
    IPV6_SRC,
    TTL,
    link_local,
    within,
)
from controller.flows.flow import Bucket, Flow, Group, Item
from controller.flows.holding import is_down
from controller.flows.hops import (
    ECHO_REQUEST,
    ECHO_REQUEST6,
    ETHERNET_BYTES,
    FRAGMENTS,
    LOOK,
    Way,
    by,
    echo6,
    leave,
    receiver,
    reply4,
    reply6,
    route,
    trap,
)
from controller.flows.match import ANY
from controller.flows.pipeline import (
    DELIVER,
    DROP,
    ECMP,
    ECMP_ROUTES,
    FROM_PHYS,
    FROM_TUN,
    HOP,
    HOPS,
    L2_LOOKUP,
    L3_DNAT,
    L3_ECMP,
    L3_IN,
    L3_MTU,
    L3_OUT,
    L3_ROUTE,
    L3_SNAT,
    MAX_HOPS,
    NEIGH,
    NEIGH_HIT,
    NET,
    NET_IN,
    NH4,
    NH6,
    RTR,
    TOO_BIG,
    TRAP,
    TRAP_BYTES,
    TRAPS,
    TURNED,
    WHY,
    Why,
)
from controller.flows.presence import mtu
from controller.flows.ways_out import gateway_port
from controller.model.records import Address, Cidr, HostRoute, Port, Router, Subnet
from controller.model.view import View

LINK_LOCAL = "fe80::/10"
EVERYWHERE = {4: Cidr("0.0.0.0/0"), 6: Cidr("::/0")}
MARTIANS = ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "::/16", "ff00::/8")
"""Of nobody, of the host itself, of groups: never forwarded (RFC 1812 section 5.3.7, RFC 4291 sections 2.5.2, 2.5.3).

Groups are routed by those who know their members, which nobody here does. The blocks are wide so that a switch's cached
decisions read few bits of an address.
"""


# ---- what is the same at all routers --------------------------------------------------------------------------


def manners(view: View) -> Iterator[Flow]:
    """What every router does to every packet."""
    for passed in range(MAX_HOPS):
        afresh = (NH4.set(Address("0.0.0.0")), NH6.set(Address("::")))  # a next hop may be of another IP version
        yield Flow(HOP, "hop", HOPS(passed), (HOPS.set(passed + 1), *afresh, goto(L3_IN)))
    for field in (IPV6_SRC, IPV6_DST):
        yield Flow(L3_IN, "link_local", within(field, LINK_LOCAL), (WHY.set(Why.LINK_LOCAL), goto(DROP)))
    for block in MARTIANS:
        for field in (IPV6_SRC, IPV6_DST) if ":" in block else (IPV4_SRC, IPV4_DST):
            yield Flow(L3_IN, "martian", within(field, block), (WHY.set(Why.MARTIAN), goto(DROP)))
    for hops in (TTL, HOP_LIMIT):
        for left in (0, 1):
            yield Flow(L3_IN, "expired", hops(left), trap(Why.TTL_EXCEEDED))
    for family in (IPV4, IPV6):
        yield Flow(L3_IN, "hop", family, (Move(NET, NET_IN), DecrementTtl(), goto(L3_DNAT)))
    yield Flow(L3_IN, "through", ANY, (Move(NET, NET_IN), goto(L3_ROUTE)))
    yield Flow(L3_DNAT, "other", ANY, (goto(L3_ROUTE),))
    yield Flow(L3_ROUTE, "miss", ANY, (WHY.set(Why.NO_ROUTE), goto(TRAP)))
    yield Flow(L3_ECMP, "chosen", ANY, (goto(L3_SNAT),))
    yield Flow(L3_SNAT, "other", ANY, LOOK)
    yield Flow(L3_OUT, "known", NEIGH_HIT(1), (goto(L2_LOOKUP),))
    yield Flow(L3_OUT, "miss", ANY, (WHY.set(Why.NO_NEIGHBOUR), goto(TRAP)))
    yield Flow(L3_MTU, "fragment", TOO_BIG(1) & IPV4_FRAG(*FRAGMENTS), (WHY.set(Why.FRAGMENT_TOO_BIG), goto(DROP)))
    yield Flow(L3_MTU, "too_big", TOO_BIG(1), (WHY.set(Why.TOO_BIG), goto(TRAP)))
    yield Flow(L3_MTU, "fits", ANY, (goto(L2_LOOKUP),))
    yield Flow(DELIVER, "turned", TURNED(1), (Turn(), TURNED.set(0), resubmit(DELIVER)))
    for why in TRAPS:
        yield Flow(TRAP, "reason", WHY(why), (Punt(TRAP_BYTES),))


# ---- interfaces -----------------------------------------------------------------------------------------------


def interface(view: View, port: Port) -> Iterator[Flow]:
    """A router's interface: its MAC, its addresses, and the way to its subnets."""
    router, net = RTR(view.tag("router", port.device_id)), NET(view.tag("network", port.network_id))
    come = (RTR.set(router.numbers[0]), resubmit(HOP))
    here = FROM_TUN(0) if physical_network(view, port.network_id) is None else FROM_PHYS(0)
    yield Flow(L2_LOOKUP, "router", net & ETH_DST(port.mac_address) & here, come)
    for address in [ip.ip_address for ip in port.fixed_ips]:
        yield from (answer6 if ":" in address else answer4)(view, port, address)
    yield from answer_local(view, port)
    for id in dict.fromkeys(ip.subnet_id for ip in port.fixed_ips):
        yield connected(view, port, view.need(Subnet, id))


def answer4(view: View, port: Port, address: Address) -> Iterator[Flow]:
    """Who knows the address, and what it answers."""
    router, net = RTR(view.tag("router", port.device_id)), NET(view.tag("network", port.network_id))
    yield Flow(NEIGH, "neighbour", net & NH4(address), (ETH_DST.set(port.mac_address), NEIGH_HIT.set(1)))
    own = router & IPV4_DST(address)
    yield Flow(L3_IN, "echo", own & ICMP_TYPE(ECHO_REQUEST), reply4(address))
    yield Flow(L3_IN, "own_address", own, trap(Why.ROUTER_ADDRESS))


def answer6(view: View, port: Port, address: Address) -> Iterator[Flow]:
    """Who knows the address, and what it answers."""
    router, net = RTR(view.tag("router", port.device_id)), NET(view.tag("network", port.network_id))
    yield Flow(NEIGH, "neighbour", net & NH6(address), (ETH_DST.set(port.mac_address), NEIGH_HIT.set(1)))
    own = router & IPV6_DST(address)
    yield Flow(L3_IN, "echo", own & ICMPV6_TYPE(ECHO_REQUEST6), reply6(address))
    yield Flow(L3_IN, "own_address", own, trap(Why.ROUTER_ADDRESS))


def answer_local(view: View, port: Port) -> Iterator[Flow]:
    """The link-local address: it is one on its own network alone (RFC 4007), and what it answers is never routed."""
    if not any(":" in ip.ip_address for ip in port.fixed_ips):
        return
    router, net = RTR(view.tag("router", port.device_id)), NET(view.tag("network", port.network_id))
    address = link_local(port.mac_address)
    yield Flow(NEIGH, "neighbour", net & NH6(address), (ETH_DST.set(port.mac_address), NEIGH_HIT.set(1)))
    back = (Move(ETH_SRC, ETH_DST), ETH_SRC.set(port.mac_address), TURNED.set(1), goto(L2_LOOKUP))
    own = router & net & IPV6_DST(address)
    yield Flow(L3_IN, "echo", own & ICMPV6_TYPE(ECHO_REQUEST6), (*echo6(address), *back))
    yield Flow(L3_IN, "own_address", own, trap(Why.ROUTER_ADDRESS))


# ---- routes ---------------------------------------------------------------------------------------------------


def connected(view: View, port: Port, subnet: Subnet) -> Flow:
    """To a subnet of the router's own: the next hop is the receiver."""
    onward = (*leave(view, port, receiver(subnet.ip_version)), goto(L3_SNAT))
    return route(view, port.device_id, "connected", subnet.cidr, onward)


def routes(view: View, router: Router) -> Iterator[Item]:
    """By the router's own routes, to next hops on its subnets; others of them lead nowhere and are not there. What
    they leave goes to the outside.

    Of several next hops those that are down are left out. If all are, the way stays, and ends at its next hop: nobody.
    """
    at, found = interfaces(view, router), defaultdict[Cidr, list[tuple[bool, Way]]](list)
    outer = gateway_port(view, router.id)
    for each in (*sorted(router.routes, key=lambda route: route.nexthop), *defaults(view, router, outer)):
        if (port := towards(view, [*at, outer] if outer else at, each)) is not None:
            down = is_down(view, port.network_id, each.nexthop)
            found[each.destination].append((down, leave(view, port, by(each.nexthop))))
    ways = {to: [way for down, way in hops if not down] or [hops[0][1]] for to, hops in found.items()}
    several = sorted(destination for destination, alive in ways.items() if len(alive) > 1)[:ECMP_ROUTES]
    for destination, (first, *_) in ways.items():
        if destination not in several:
            yield route(view, router.id, "static", destination, (*first, goto(L3_SNAT)))
    for place, destination in enumerate(several):
        group = choice(view.tag("router", router.id) * ECMP_ROUTES + place, ways[destination])
        yield group
        yield route(view, router.id, "static", destination, (ToGroup(group.id, ECMP),))


def defaults(view: View, router: Router, outer: Port | None) -> Iterator[HostRoute]:
    """All else goes to the gateways of the subnets that a router has addresses of on its external network."""
    given = {each.destination for each in router.routes}
    for ip in outer.fixed_ips if outer else ():
        subnet = view.need(Subnet, ip.subnet_id)
        everywhere = EVERYWHERE[subnet.ip_version]
        if subnet.gateway_ip and everywhere not in given:
            given.add(everywhere)
            yield HostRoute(everywhere, subnet.gateway_ip)


def choice(number: int, ways: Sequence[Way]) -> Group:
    """One of several ways, the same for all of a connection (RFC 2992).

    Open vSwitch hashes addresses, protocol, and ports of TCP and SCTP (flow.c, `flow_hash_symmetric_l4`).
    """
    return Group(ECMP, number, tuple(Bucket((*way, resubmit(L3_ECMP))) for way in ways))


def interfaces(view: View, router: Router) -> list[Port]:
    """The ports by which a router is on networks now."""
    return [port for port in view.where(Port, device_id=router.id) if joins(view, port)]


def towards(view: View, ports: Sequence[Port], wanted: HostRoute) -> Port | None:
    """The interface on whose subnet the next hop of a route is."""
    for port in ports:
        for ip in port.fixed_ips:
            if ip_address(wanted.nexthop) in ip_network(view.need(Subnet, ip.subnet_id).cidr):
                return port
    return None


# ---- sizes ----------------------------------------------------------------------------------------------------


def measured(view: View, router: Router) -> Iterator[Flow]:
    """What leaves for a network is measured if packets come to the router by one that bears more."""
    outer = gateway_port(view, router.id)
    ports = (*interfaces(view, router), *([outer] if outer else ()))
    sizes = {port.network_id: view.derive(mtu, port.network_id) for port in ports}
    for network, most in sizes.items():
        if most < max(sizes.values()):
            known = NEIGH_HIT(1) & NET(view.tag("network", network))
            yield Flow(L3_OUT, "measured", known, (Measure(most + ETHERNET_BYTES, TOO_BIG), goto(L3_MTU)))


APP = app("routing", everywhere(manners), joined(Port, interface), routing(Router, routes), routing(Router, measured))
