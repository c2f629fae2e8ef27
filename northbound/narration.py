"""The way of a packet in logical words: ports, networks, routers, security groups instead of keys and registers.

What a table did is told by the flow that was met there; a table of which an operator need not know is not mentioned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from controller.flows import fields as f
from controller.flows import pipeline as p
from controller.flows.action import Goto, Table, ToGroup
from controller.flows.conntrack import ANSWER, ESTABLISHED
from controller.flows.fields import ICMP4, ICMP6, SCTP, TCP, UDP
from controller.flows.flow import Flow
from controller.flows.journey import Journey
from controller.flows.packet import Packet
from controller.flows.pipeline import Guard, Why
from controller.model.bindings import Placed, place
from controller.model.records import (
    Address,
    Network,
    Port,
    Router,
    SecurityGroup,
    Tag,
)
from controller.model.store import Rows
from northbound.admission import Began, admitted, named, tagged
from northbound.met import Facts, Met, is_ipv6, tuple_of


@dataclass(frozen=True, slots=True)
class Step:
    """What happened to a packet in a table of a hypervisor: in words, and what of the API it was about."""

    chassis: str
    table: str
    words: str
    facts: Facts


def narrate(rows: Rows, journey: Journey) -> Iterator[Step]:
    """Each thing that happened, in order."""
    for leg in journey.legs:
        for hop in leg.trace.hops:
            if not isinstance(hop.met, Flow):
                continue
            met = Met(rows, hop.packet, hop.met)
            if words := _words(met):
                yield Step(leg.chassis, hop.table.name, words, met.facts)


def outside(network: Network, address: Address, sent: Packet) -> Step:
    """What a host of a physical network does, on no hypervisor."""
    words = f"{address} on {named('network', network.id, network.name)} {_message(sent)}"
    return Step("", "outside", words, Facts(network=network.id))


def _words(met: Met) -> str:
    if (tell := TOLD.get((met.flow.table, met.reason))) is not None:
        return tell(met)
    return "drops it" if any(isinstance(action, Goto) and action.table is p.DROP for action in met.flow.actions) else ""


# ---- the packet -----------------------------------------------------------------------------------------------

ARP, IPV6, SOLICITATION = 0x0806, 0x86DD, 135
_PROTOCOLS: Final[Mapping[int, str]] = {ICMP4: "icmp", ICMP6: "icmpv6", TCP: "tcp", UDP: "udp", SCTP: "sctp"}


def _message(packet: Packet) -> str:
    """What a packet is, as a guest sends it."""
    if _is_request(packet):
        return f"asks {_request(packet)}"
    began = tuple_of(packet)
    return f"sends {_service(packet)} from {began.source} to {began.destination}"


def _is_request(packet: Packet) -> bool:
    """Does it ask for a neighbour's MAC?"""
    return _is_arp(packet) or (packet[f.IPV6_PROTO] == ICMP6 and packet[f.ICMPV6_TYPE] == SOLICITATION)


def _is_arp(packet: Packet) -> bool:
    return packet[f.ETH_TYPE] == ARP


def _request(packet: Packet) -> str:
    if _is_arp(packet):
        return f"by ARP who has {f.ARP_TPA.show(packet[f.ARP_TPA])}"
    return f"by ND who has {f.ND_TARGET.show(packet[f.ND_TARGET])}"


def _service(packet: Packet) -> str:
    began = tuple_of(packet)
    name = _PROTOCOLS.get(began.protocol, f"protocol {began.protocol}")
    if began.protocol in (ICMP4, ICMP6):
        return f"{name} type {began.low} code {began.high}"
    return name if began.low is None else f"{name} {began.low} > {began.high}"


# ---- in and out of hypervisors --------------------------------------------------------------------------------


def _guest(met: Met) -> str:
    return f"{met.port(met.written(p.SRC))} on {met.network(met.written(p.NET))} {_message(met.packet)}"


def _down(met: Met) -> str:
    return "its port, or the network, is administratively down"


def _peer(met: Met) -> str:
    return f"by tunnel from {met.hypervisor(f.TUN_SRC, f.TUN_IPV6_SRC)}"


def _segment(met: Met) -> str:
    return f"{_carrier(met.packet)} is {met.network(met.written(p.NET))}"


def _carrier(packet: Packet) -> str:
    encap = next((name for name, code in p.ENCAPS.items() if code == packet[p.ENCAP]), "?")
    return f"{encap} segment {packet[f.TUN_ID]}"


def _tunnel(met: Met) -> str:
    if met.packet[f.TUN_ID] in p.TRANSITS.values():
        encap = next((name for name, code in p.ENCAPS.items() if code == met.packet[p.ENCAP]), "?")
        return f"by {encap} to the gateway on {met.hypervisor(f.TUN_DST, f.TUN_IPV6_DST)}"
    network = met.network_of(met.packet[p.NET])
    mtu = f", MTU {network.mtu}" if network else ""
    return f"by {_carrier(met.packet)} to {met.hypervisor(f.TUN_DST, f.TUN_IPV6_DST)}{mtu}"


def _wire(met: Met) -> str:
    return f"from {_physical(met, met.written(p.PHYS))}"


def _vlan(met: Met) -> str:
    tag = met.packet[f.VLAN_TCI] & 0xFFF
    routed = ", routed by another hypervisor" if met.reason == "routed" else ""
    return f"{f'VLAN {tag}' if tag else 'untagged'} is {met.network(met.written(p.NET))}{routed}"


def _to_wire(met: Met) -> str:
    network = met.network_of(met.packet[p.NET])
    tag = f"on VLAN {network.segmentation_id}" if network and network.segmentation_id else "untagged"
    return f"to {_physical(met, met.packet[p.PHYS])}, {tag}"


def _physical(met: Met, key: int) -> str:
    found = met.rows.where(Tag, space="physical", number=key)
    return f"physical network {found[0].id.partition('/')[2]}" if found else f"physical network with key {key}"


def _asked_on_wire(met: Met) -> str:
    return (
        f"the model does not say who of {met.network(met.packet[p.NET])} has {_wanted(met.packet)}: all there are asked"
    )


def _elsewhere(met: Met) -> str:
    return f"{f.ETH_DST.show(met.packet[f.ETH_DST])} is nobody's on this hypervisor: out to the physical network"


def _delivered(met: Met) -> str:
    port: Port | None = tagged(met.rows, Port, "port", met.packet[p.DST])
    placed = place(met.rows, port) if port else None
    return f"out of {placed.interface}: {met.port(met.packet[p.DST])}" if isinstance(placed, Placed) else ""


# ---- what the switch answers, and who may send what -----------------------------------------------------------


def _wanted(packet: Packet) -> str:
    """The address whose MAC is wanted, and the MAC, if NEIGH knew it."""
    return f.ipv4_text(packet[p.NH4]) if packet[p.NH4] else f.IPV6_DST.show(packet[p.NH6])


def _answered(met: Met) -> str:
    return f"the switch answers: {_wanted(met.packet)} is at {f.ETH_DST.show(met.packet[f.ETH_DST])}"


def _unanswered(met: Met) -> str:
    return f"nobody who is attached to {met.network(met.packet[p.NET])} has {_wanted(met.packet)}"


def _sought(met: Met) -> str:
    return f"nobody is known to have {_wanted(met.packet)} on {met.network(met.packet[p.NET])}, but somebody may"


def _unguarded(met: Met) -> str:
    return "" if _is_request(met.packet) else "no port security: it may send with any address"


def _own(met: Met) -> str:
    return "" if _is_request(met.packet) else f"{_sender(met.packet)} are its own, or of its allowed address pairs"


def _spoofed(met: Met) -> str:
    return f"{_sender(met.packet)} are not its own together, nor of its allowed address pairs"


def _sender(packet: Packet) -> str:
    return f"MAC {f.ETH_SRC.show(packet[f.ETH_SRC])} and address {tuple_of(packet).source}"


# ---- security groups ------------------------------------------------------------------------------------------


def _past(met: Met) -> str:
    """Past conntrack, or to it."""
    match met.packet[p.GUARD]:
        case Guard.OFF:
            return f"{met.port(met.packet[p.CHECKED])} has no port security: any packet may pass"
        case Guard.STATELESS:
            return f"{met.port(met.packet[p.CHECKED])} is under stateless security groups: conntrack is not asked"
        case _:
            return ""


def _control(met: Met) -> str:
    return "needs no rule: DHCP, router discovery and MLD always pass"


def _new(met: Met) -> str:
    return f"conntrack zone {met.packet[p.ZONE]}: taken for a new connection"


def _known(met: Met) -> str:
    zone = f"conntrack zone {met.packet[p.ZONE]}"
    if met.packet[f.CT_STATE] & _ANSWER:
        return f"{zone}: an answer, to what went out by a known connection"
    return f"{zone}: of a known connection; {_by(met, met.packet[p.CT_BUNDLE])}"


_ANSWER: Final = ANSWER & ~ESTABLISHED
"""The flag of conntrack that tells the two directions of a connection apart."""


def _allowed(met: Met) -> str:
    return _by(met, met.packet[p.WHY])


def _by(met: Met, number: int) -> str:
    """The rules of a bundle, by its number, that allow a packet."""
    return admitted(met.rows, *met.admitting(number))


def _denied(met: Met) -> str:
    port: Port | None = tagged(met.rows, Port, "port", met.packet[p.CHECKED])
    found = [met.rows.get(SecurityGroup, id) for id in (port.security_groups if port else ())]
    groups = ", ".join(named("security group", group.id, group.name) for group in found if group)
    return f"no {_way(met)} rule of {met.port(met.packet[p.CHECKED])} allows it: {groups or 'no security group'}"


def _way(met: Met) -> str:
    return "ingress" if met.packet[p.DIRECTION] == p.INGRESS else "egress"


# ---- switching and routing ------------------------------------------------------------------------------------


def _here(met: Met) -> str:
    return f"{f.ETH_DST.show(met.packet[f.ETH_DST])} is {met.port(met.written(p.DST))}, on this hypervisor"


def _nobody(met: Met) -> str:
    return f"no attached port of {met.network(met.packet[p.NET])} has {f.ETH_DST.show(met.packet[f.ETH_DST])}"


def _through(met: Met) -> str:
    return f"at {met.router()}, from {met.network(met.packet[p.NET])}"


def _echo(met: Met) -> str:
    return f"{met.router()} answers the echo request itself"


def _own_of_router(met: Met) -> str:
    return f"{tuple_of(met.packet).destination} is an address of {met.router()}"


def _route(met: Met) -> str:
    """The route, and the network it leads to, with its MTU if that is smaller."""
    kind, _, length = met.reason.partition("_")
    field = f.IPV6_DST if is_ipv6(met.packet) else f.IPV4_DST
    prefix = next((test.value for test in met.flow.match.tests if test.field is field), 0)
    if any(isinstance(action, ToGroup) for action in met.flow.actions):
        return f"{kind} route {field.show(prefix)}/{length}, to one of its next hops; here the first is followed"
    come, go = met.network_of(met.packet[p.NET_IN]), met.network_of(met.written(p.NET))
    narrow = come is not None and go is not None and go.mtu < come.mtu
    mtu = f", MTU {go.mtu}" if narrow and go else ""
    return f"{kind} route {field.show(prefix)}/{length}, to {met.network(met.written(p.NET))}{mtu}"


def _no_route(met: Met) -> str:
    return f"{met.router()} has no route to {tuple_of(met.packet).destination}"


def _next_hop(met: Met) -> str:
    return f"next hop {_wanted(met.packet)} is at {f.ETH_DST.show(met.packet[f.ETH_DST])}"


# ---- to the outside, and from it ------------------------------------------------------------------------------


def _transit(met: Met) -> str:
    key = met.written(p.RTR)
    router: Router | None = tagged(met.rows, Router, "router", key)
    return f"to the outside for {named('router', router.id, router.name) if router else f'router with key {key}'}"


def _gate(met: Met) -> str:
    """What a hypervisor that may be the gateway does with what comes for it."""
    if met.reason == "elsewhere":
        return f"another hypervisor is the gateway of {met.router()}: out to the physical network"
    if met.reason == "asked":
        return f"this hypervisor is the gateway that answers for {_wanted(met.packet)}"
    if met.reason == "standby":
        return f"another hypervisor is the gateway of {met.router()}"
    return f"this hypervisor is the gateway of {met.router()}"


def _floating_in(met: Met) -> str:
    address = tuple_of(met.packet).destination
    return f"{address} is a floating IP: conntrack zone {met.written(p.ZONE)} translates"


def _forwarded(met: Met) -> str:
    began = tuple_of(met.packet)
    asked = f"conntrack zone {met.written(p.ZONE)} translates"
    return f"{_service(met.packet)} to {began.destination} is forwarded: {asked}"


def _come(met: Met) -> str:
    """For an address under which connections were begun, perhaps."""
    return f"conntrack zone {met.written(p.ZONE)} is asked whose connection it is of"


def _stranger(met: Met) -> str:
    return f"nobody outside begins a connection to who is behind {met.router()}: it translates (enable_snat)"


def _dnatted(met: Met) -> str:
    return f"now for {tuple_of(met.packet).destination}: {_service(met.packet)}"


def _unknown_outside(met: Met) -> str:
    own = f": for {met.router()} itself" if met.reason == "own_address" else ""
    return f"of no connection that is known here{own}"


def _floating_out(met: Met) -> str:
    where = met.network(met.packet[p.NET])
    return (
        f"{tuple_of(met.packet).source} has a floating IP on {where}: conntrack zone {met.written(p.ZONE)} translates"
    )


def _translate(met: Met) -> str:
    where = met.network(met.packet[p.NET])
    return f"{met.router()} translates what goes to {where}: conntrack zone {met.written(p.ZONE)}"


def _answer_out(met: Met) -> str:
    return f"perhaps it answers what a port forwarding let in: conntrack zone {met.written(p.ZONE)} is asked"


def _turned_out(met: Met) -> str:
    """To the gateway's address from whom a port forwarding leads to."""
    return _redirect(met) if any(isinstance(each, ToGroup) for each in met.flow.actions) else _answer_out(met)


def _untranslated(met: Met) -> str:
    return f"{met.router()} does not translate it: it goes out under its own address"


def _redirect(met: Met) -> str:
    return f"to the gateway of {met.router()}, the best that is alive"


def _of_gateway(met: Met) -> str:
    """What is from, or for, the address under which all others go out."""
    began = tuple_of(met.packet)
    if met.reason == "own_address":
        return f"{began.destination} is an address of {met.router()}"
    return f"{began.source} is an address of {met.router()}: nobody behind it has that"


def _snatted(met: Met) -> str:
    return f"now from {tuple_of(met.packet).source}: {_service(met.packet)}"


def _not_translated(met: Met) -> str:
    return f"{tuple_of(met.packet).source} got no address of the outside: it does not go there"


def _too_big(met: Met) -> str:
    network = met.network_of(met.packet[p.NET])
    most = f" of more than {network.mtu} bytes" if network else " of this size"
    return f"{met.network(met.packet[p.NET])} bears no packet{most}"


def _too_big_to_tunnel(met: Met) -> str:
    return f"the tunnel to the gateway on {met.hypervisor(f.TUN_DST, f.TUN_IPV6_DST)} bears no packet of this size"


def _trapped(met: Met) -> str:
    """Whom the router tells of it (`apps.router_errors`), or who is asked (`apps.neighbours`)."""
    why = met.packet[p.WHY]
    if why == Why.SOUGHT:
        return "whoever may have it is asked"
    if why == Why.TOLD:
        return "the controller hears of it"
    began = tuple_of(met.packet)
    if _is_error(began) or (why == Why.ROUTER_ADDRESS and began.protocol not in (TCP, UDP)):
        return "the router tells nobody"
    unless_cut = ", if it said that no router may cut it (DF)" if why in _SIZES and not is_ipv6(met.packet) else ""
    first = "asks whoever may have it, else " if why == Why.NO_NEIGHBOUR else ""
    return f"the router {first}tells the sender, by ICMP{unless_cut}"


_SIZES: Final = frozenset({Why.TOO_BIG, Why.TRANSIT_TOO_BIG})


def _is_error(began: Began) -> bool:
    """Is it an error or a redirect? Nobody is told of those."""
    if began.protocol == ICMP6:
        return began.low in _ERRORS6
    return began.protocol == ICMP4 and began.low not in _ASKING


_ASKING: Final = frozenset({0, 8, 13, 14, 15, 16, 17, 18})
"""The types of ICMP that are neither."""
_ERRORS6: Final = frozenset({*range(128), 137})
"""The types of ICMPv6 that are."""


# ---- the list -------------------------------------------------------------------------------------------------


TOLD: Final[Mapping[tuple[Table, str], Callable[[Met], str]]] = {
    (p.CLASSIFY, "guest"): _guest,
    (p.CLASSIFY, "admin_down"): _down,
    (p.CLASSIFY, "physical"): _wire,
    (p.VLAN, "segment"): _vlan,
    (p.VLAN, "routed"): _vlan,
    (p.NEIGH_REPLY, "wire_unknown"): _asked_on_wire,
    (p.L2_LOOKUP, "wire"): _elsewhere,
    (p.PHYSICAL, "port"): _to_wire,
    (p.PHYSICAL, "routed"): _to_wire,
    (p.VTEP, "peer"): _peer,
    (p.VNI, "segment"): _segment,
    (p.PORT_SECURITY, "unguarded"): _unguarded,
    (p.ADDRESS_SECURITY, "own_address"): _own,
    (p.ADDRESS_SECURITY, "spoofed"): _spoofed,
    (p.NEIGH_REPLY, "arp_reply"): _answered,
    (p.NEIGH_REPLY, "nd_reply"): _answered,
    (p.NEIGH_REPLY, "wire_reply"): _answered,
    (p.NEIGH_REPLY, "nd_unknown"): _unanswered,
    (p.NEIGH_REPLY, "sought"): _sought,
    (p.NEIGH_REPLY, "miss"): _unanswered,
    (p.OUT_TRACK, "guard"): _past,
    (p.IN_TRACK, "guard"): _past,
    (p.OUT_TRACK, "control"): _control,
    (p.IN_TRACK, "control"): _control,
    (p.OUT_RULES, "new"): _new,
    (p.IN_RULES, "new"): _new,
    (p.OUT_RULES, "known"): _known,
    (p.IN_RULES, "known"): _known,
    (p.OUT_DONE, "stateless"): _allowed,
    (p.IN_DONE, "stateless"): _allowed,
    (p.OUT_DONE, "opened"): _allowed,
    (p.IN_DONE, "opened"): _allowed,
    (p.OUT_DONE, "unread"): _allowed,
    (p.IN_DONE, "unread"): _allowed,
    (p.OUT_DONE, "miss"): _denied,
    (p.IN_DONE, "miss"): _denied,
    (p.L2_LOOKUP, "local"): _here,
    (p.L2_LOOKUP, "local_pair"): _here,
    (p.L2_LOOKUP, "local_heard"): _here,
    (p.L2_LOOKUP, "miss"): _nobody,
    (p.L3_IN, "hop"): _through,
    (p.L3_IN, "through"): _through,
    (p.L3_IN, "martian"): _through,
    (p.L3_IN, "expired"): _through,
    (p.L3_IN, "link_local"): _through,
    (p.L3_IN, "echo"): _echo,
    (p.L3_IN, "own_address"): _own_of_router,
    (p.L3_ROUTE, "miss"): _no_route,
    **{(p.L3_ROUTE, reason): _route for reason in p.ROUTE_PRIORITIES},
    (p.TRANSIT, "router"): _transit,
    **{(p.GATED, reason): _gate for reason in ("elsewhere", "standby", "asked", "redirected", "from_wire", "come")},
    (p.L3_DNAT, "forwarded"): _forwarded,
    (p.L3_DNAT, "floating"): _floating_in,
    (p.L3_DNAT, "known"): _come,
    (p.L3_DNAT, "own_address"): _come,
    (p.L3_DNAT, "inside"): _stranger,
    (p.L3_DNATTED, "forwarded"): _dnatted,
    (p.L3_DNATTED, "translated"): _dnatted,
    (p.L3_DNATTED, "own_address"): _unknown_outside,
    (p.L3_DNATTED, "miss"): _unknown_outside,
    (p.L3_SNAT, "floating"): _floating_out,
    (p.L3_SNAT, "turned"): _turned_out,
    (p.L3_SNAT, "own_address"): _of_gateway,
    (p.L3_SNAT, "outer_address"): _of_gateway,
    (p.L3_SNAT, "hairpin"): _translate,
    (p.L3_SNAT, "answer"): _answer_out,
    (p.L3_SNAT, "translate"): _translate,
    (p.L3_SNAT, "routed"): _untranslated,
    (p.L3_SNAT, "redirect"): _redirect,
    (p.L3_SNATTED, "floating"): _snatted,
    (p.L3_SNATTED, "forwarded"): _snatted,
    (p.L3_SNATTED, "translated"): _snatted,
    (p.L3_SNATTED, "routed"): _untranslated,
    (p.L3_SNATTED, "miss"): _not_translated,
    (p.L3_SNAT, "untranslated"): _not_translated,
    (p.L3_OUT, "known"): _next_hop,
    (p.L3_OUT, "measured"): _next_hop,
    (p.L3_MTU, "too_big"): _too_big,
    (p.L3_OUT, "miss"): _unanswered,
    (p.DELIVER, "port"): _delivered,
    (p.TUNNEL, "too_big"): _too_big_to_tunnel,
    (p.TUNNEL, "port"): _tunnel,
    (p.TRAP, "reason"): _trapped,
}
"""By table and reason. Other flows that drop are told in two words, and no others at all."""
