"""Translation at gateways: guests without a floating IP go out under the IPv4 address of their router's gateway.

    L3_SNAT ─> conntrack ─> L3_SNATTED      a connection begins as the gateway's, or it goes nowhere
    L3_DNAT ─> conntrack ─> L3_DNATTED      answers, and ICMP errors about connections, find their way back

Conntrack translates in a zone of the router's own (`model.translations`). What it could not give another source (all
ports taken, or the identifier of an echo request) is dropped, and so is what already bears the address: Open vSwitch
3.1 aborts over a translation that changes nothing. From outside nobody behind the router is reached but by a connection
that began there; without translation (`enable_snat` false), and by IPv6, which is never translated, everybody is, and
security groups decide. What is for the gateway's address and of no connection is for the router itself.

Limits: user space's conntrack translates no identifiers of ICMP, so of two guests that ask one address by echo requests
of one identifier at once the second is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.flows.action import Translate, Untrack, goto
from controller.flows.app import app, at_gateways, everywhere, routing
from controller.flows.fields import CT_ZONE, IPV4, IPV4_DST, IPV6, ct_state
from controller.flows.flow import Flow
from controller.flows.hops import AWAY, LOOK
from controller.flows.pipeline import (
    DROP,
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
    TRAP,
    TURNED,
    WHY,
    ZONE,
    Why,
)
from controller.flows.ways_out import gateway_port, gateway_translation, own_address, zone_of
from controller.model.records import Router
from controller.model.view import View


def doubtful(view: View) -> Iterator[Flow]:
    """What conntrack cannot follow goes nowhere, unless it could be translated: a segment of TCP that is out of its
    connection's window. To judge that is for the ends, and for their security groups (`apps.security_groups`)."""
    for table in (L3_DNATTED, L3_SNATTED):
        yield Flow(table, "unknown", ct_state("+trk+inv"), (WHY.set(Why.NOT_TRACKED), goto(DROP)))


def inside(view: View, router: Router) -> Iterator[Flow]:
    """Nobody outside begins a connection to somebody behind a router that translates."""
    port = gateway_port(view, router.id)
    if port is not None and router.enable_snat:
        came = RTR(view.tag("router", router.id)) & NET_IN(view.tag("network", port.network_id))
        yield Flow(L3_DNAT, "inside", came & IPV4, (WHY.set(Why.NO_CONNECTION), goto(DROP)))


def gateway(view: View, router: Router, chassis: str) -> Iterator[Flow]:
    """What a gateway does with what leaves by it, and with what comes for its address."""
    port, address = gateway_port(view, router.id), own_address(view, router.id)
    if port is None:
        return
    at, tag = RTR(view.tag("router", router.id)), view.tag("network", port.network_id)
    leaves = at & NET(tag) & REDIRECTED(1)
    onward = (REDIRECTED.set(0), *LOOK)
    yield Flow(L3_SNAT, "routed", leaves & IPV6, onward)
    if not router.enable_snat:
        yield Flow(L3_SNAT, "routed", leaves & IPV4, onward)
    zone = zone_of(view, chassis, gateway_translation(view, router.id))
    if address is None or zone is None:
        return
    ours, asked = at & CT_ZONE(zone), (Untrack(), ZONE.set(zone))
    if router.enable_snat:
        out = Translate(ZONE, L3_SNATTED, source=address)
        yield Flow(L3_SNAT, "translate", leaves & IPV4, (*asked, out))
    else:
        yield Flow(L3_SNATTED, "routed", ours & NET(tag) & ct_state("+trk+new-inv"), AWAY)
    come = at & NET_IN(tag) & IPV4_DST(address)
    yield Flow(L3_DNAT, "own_address", come, (*asked, Translate(ZONE, L3_DNATTED)))
    begun = ours & FORWARDING(0)
    yield Flow(L3_SNATTED, "translated", begun & NET(tag) & ct_state("+trk+snat"), AWAY)
    turned = (TURNED.set(1), goto(L3_ROUTE))  # perhaps to who sent it, or to where it came from
    yield Flow(L3_DNATTED, "translated", begun & ct_state("+trk+dnat"), turned)
    own = (Untrack(), WHY.set(Why.ROUTER_ADDRESS), goto(TRAP))
    yield Flow(L3_DNATTED, "own_address", at & IPV4_DST(address), own)


APP = app("snat", everywhere(doubtful), routing(Router, inside), at_gateways(Router, gateway))
