"""Neighbours that only guests know: whose addresses the model does not say, and virtual ones that move between ports.

An address is *open* when the model does not say who holds it: one of a pair that several ports share, or in a pair that
is a block, or any that no port has, to a port without port security. What such a port tells of it by ARP or neighbour
discovery (port security has let it pass) is heard by the controller and becomes a `Neighbour`; from then on switches
answer for the address, route to it, and know where its MAC address is.

    a router, or a guest, wants it        SOUGHT, NO_NEIGHBOUR   those who may hold it are asked, and nobody else
    its holder answers, or announces it   TOLD                   believed; the newest announcement wins
    it is announced, and known            to all the network at once (L2_BUM), so that guests follow without us

On a wire what is asked and told goes its way as among physical hosts, and is only heard (`apps.wire`).

Addresses that the model gives to a port are never open: what guests say of them is not heard, and passed on only to
announce one's own, by the controller (`apps.arp`, `apps.nd`).

The interface of a router that appears, or changes its addresses, is announced to the guests of its network, who may
remember another; and so is an attached guest whose addresses, or whose MAC address, the API changes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import partial
from ipaddress import ip_address, ip_network
from typing import Final

from controller.flows import frames
from controller.flows.action import goto, resubmit
from controller.flows.app import app, host, neighbours, peers, reaching
from controller.flows.attachment import (
    JOINTS,
    PAIRS,
    attached,
    audience,
    contains,
    is_interface,
    joins,
    ofport,
    physical_network,
)
from controller.flows.fields import (
    ARP_OP,
    ARP_REQUEST,
    ARP_SPA,
    ARP_TPA,
    BROADCAST,
    ETH_DST,
    IPV6_SRC,
    ND_TARGET,
    ND_TARGET_ADVERTISED,
    link_local,
    tunnel_to,
    within,
)
from controller.flows.flow import Flow
from controller.flows.frames import (
    NO_MAC,
    NOBODY4,
    NOBODY6,
    Question,
    Statement,
    announcement,
    answer,
    own_source,
    question,
)
from controller.flows.holding import (
    OPEN,
    Candidate,
    candidates,
    held_at,
    holder,
    holder_of_mac,
    may_hold,
    neighbour_id,
    pair_addresses,
)
from controller.flows.match import ANY, Match
from controller.flows.pipeline import (
    DST,
    FROM_PHYS,
    IN_PORT,
    L2_BUM,
    L2_DISPATCH,
    L2_LOOKUP,
    NEIGH,
    NEIGH_HIT,
    NEIGH_REPLY,
    NET,
    NH4,
    NH6,
    SERVICE,
    TRAP,
    TUN_OUT,
    UNCHECKED,
    WHY,
    Why,
)
from controller.flows.punted import Announced, Heard, Outcome, Punted, Reply, Said, Sought
from controller.model.records import Address, Chassis, Mac, Neighbour, Port, Record, Subnet
from controller.model.view import View

OURS: Final = Mac("0e:77:65:66:74:00")
"""The controller's own MAC address, from which it asks where no router could; no guest is ever told of it."""
NOBODYS: Final = tuple(map(ip_network, ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "::/127", "ff00::/8")))
"""What no host has for its own: nobody's, the host itself, groups, all hosts."""


# ---- what switches ask and hear -------------------------------------------------------------------------------


def open_block(view: View, network_id: str, block: str) -> Iterator[Flow]:
    """Whoever wants an open address that nobody is known to hold waits; whoever tells of one is heard."""
    if "/" not in block and len(view.gather(PAIRS, (network_id, Address(block)))) < 2:
        return  # its one port holds it (`arp.neighbour`, `nd.neighbour`)
    net = NET(view.tag("network", network_id))
    if ":" in block:
        wanted, told = within(ND_TARGET, block), within(ND_TARGET_ADVERTISED, block)
    else:
        wanted, told = ARP_REQUEST & within(ARP_TPA, block), ARP_OP(frames.REPLY) & within(ARP_SPA, block)
    if physical_network(view, network_id) is None:
        yield Flow(NEIGH_REPLY, "sought", net & wanted, (WHY.set(Why.SOUGHT), goto(TRAP)))
        yield Flow(SERVICE, "told", net & told, (WHY.set(Why.TOLD), goto(TRAP)))
        return
    hear = (WHY.set(Why.TOLD), resubmit(TRAP), goto(L2_DISPATCH))
    yield Flow(SERVICE, "told", net & told, hear)
    if ":" not in block and "/" not in block:
        announced = ARP_REQUEST & ARP_SPA(Address(block)) & ARP_TPA(Address(block))
        yield Flow(NEIGH_REPLY, "told", net & announced, hear)


def known(view: View, neighbour: Neighbour) -> Iterator[Flow]:
    """The MAC address of an address; who announces it is heard by all, and who would take it hears from its holder."""
    net, six = NET(view.tag("network", neighbour.network_id)), ":" in neighbour.address
    here = NH6(neighbour.address) if six else NH4(neighbour.address)
    yield Flow(NEIGH, "heard", net & here, (ETH_DST.set(neighbour.mac_address), NEIGH_HIT.set(1)))
    hear = (WHY.set(Why.TOLD), resubmit(TRAP), goto(L2_BUM))
    named = bool(view.gather(PAIRS, (neighbour.network_id, neighbour.address)))
    on_wire = physical_network(view, neighbour.network_id) is not None
    guests = (UNCHECKED(0) if named else ANY) & (FROM_PHYS(0) if on_wire else ANY)
    for announced in announcements(neighbour.address):
        yield Flow(SERVICE, "announced", net & guests & announced, hear)
    if not on_wire:
        yield Flow(SERVICE, "probed", net & probe(neighbour.address), (WHY.set(Why.SOUGHT), goto(TRAP)))


def announcements(address: Address) -> Iterator[Match]:
    """Gratuitous ARP for an address, or an advertisement of it to all nodes."""
    if ":" in address:
        yield ND_TARGET_ADVERTISED(address) & ETH_DST(frames.ALL_NODES_MAC)
    else:
        for operation in (frames.REQUEST, frames.REPLY):
            yield ARP_OP(operation) & ARP_SPA(address) & ARP_TPA(address) & ETH_DST(BROADCAST)


def probe(address: Address) -> Match:
    """What asks whether an address is free."""
    if ":" in address:
        return ND_TARGET(address) & IPV6_SRC(NOBODY6)
    return ARP_REQUEST & ARP_TPA(address) & ARP_SPA(NOBODY4)


def local(view: View, neighbour: Neighbour) -> Iterator[Flow]:
    """A frame for its MAC address, on its own hypervisor."""
    if is_at(view, neighbour):
        onward = (DST.set(view.tag("port", neighbour.port_id)), goto(IN_PORT))
        yield Flow(L2_LOOKUP, "local_heard", to(view, neighbour), onward)


def remote(view: View, neighbour: Neighbour) -> Iterator[Flow]:
    """A frame for its MAC address, anywhere else, unless the wire leads there."""
    placed = held_at(view, neighbour.id) if is_at(view, neighbour) else None
    vtep = placed and view.need(Chassis, placed.chassis).encap_ip
    if vtep and physical_network(view, neighbour.network_id) is None:
        yield Flow(L2_LOOKUP, "remote_heard", to(view, neighbour), (tunnel_to(vtep), goto(TUN_OUT)))


def is_at(view: View, neighbour: Neighbour) -> bool:
    """Is its port where its MAC address was heard last, and is that MAC address not the port's own?"""
    port = view.need(Port, neighbour.port_id)
    at = holder_of_mac(view, neighbour.network_id, neighbour.mac_address)
    return port.mac_address != neighbour.mac_address and at == port.id


def to(view: View, neighbour: Neighbour) -> Match:
    """Frames for its MAC address."""
    return NET(view.tag("network", neighbour.network_id)) & ETH_DST(neighbour.mac_address)


# ---- what comes of it -----------------------------------------------------------------------------------------


def seek(view: View, punted: Punted) -> Iterator[Outcome]:
    """A guest wants an open address; or announces one that nobody was known to hold."""
    said, asker = frames.read(punted.frame), guest(view, punted)
    if asker is None or said is None:
        return
    if isinstance(said, Statement):
        yield from hear(view, punted)
        return
    others = [each for each in candidates(view, asker.network_id, said.address) if each.port_id != asker.id]
    frame = question(said.address, *sender(view, asker, said))
    then = partial(reply, punted.in_port, said)
    if others:
        yield Sought(asker.network_id, said.address, asking(others, frame), then, anew=said.is_probe)


def sender(view: View, asker: Port, said: Question) -> tuple[Address, Mac]:
    """In whose name others are asked: of who asks if that is true, so that a lie gets into nobody's memory."""
    if ":" in said.address:
        return link_local(asker.mac_address), asker.mac_address
    own = holder(view, asker.network_id, said.source)
    if own == asker and (asker.port_security_enabled or said.mac == asker.mac_address):
        return said.source, said.mac
    return NOBODY4, asker.mac_address


def reply(in_port: int, asked: Question, mac: Mac) -> Reply:
    """Tell who asked."""
    return Reply(in_port, answer(asked, mac))


def next_hop(view: View, punted: Punted) -> Iterator[Outcome]:
    """A router wants its next hop, and asks from its own interface there; on a wire others do (`apps.wire`)."""
    network, router = view.tagged("network", punted.net), view.tagged("router", punted.router)
    if network is None or router is None or physical_network(view, network) is not None:
        return
    address = punted.next_hop
    own = interface(view, [router], network, address)
    may = [*candidates(view, network, address)]
    if own and may:
        yield Sought(network, address, asking(may, question(address, *own)), punted.resumed)


def interface(view: View, routers: Iterable[str], network: str, address: Address) -> tuple[Address, Mac] | None:
    """From which address and MAC address a router asks on a network: those on the subnet of what is asked for first."""
    found = [
        (not contains(view.need(Subnet, ip.subnet_id).cidr, address), ip.ip_address, port.mac_address)
        for router in routers
        for port in view.where(Port, device_id=router)
        if port.network_id == network and joins(view, port)
        for ip in port.fixed_ips
        if (":" in ip.ip_address) == (":" in address)
    ]
    return min(found)[1:] if found else None


def asking(candidates: Iterable[Candidate], frame: bytes) -> tuple[Said, ...]:
    """The same question to several ports."""
    ports = defaultdict[str, list[int]](list)
    for each in candidates:
        ports[each.chassis].append(each.ofport)
    return tuple(Said(chassis, tuple(sorted(numbers)), frame) for chassis, numbers in sorted(ports.items()))


def hear(view: View, punted: Punted) -> Iterator[Outcome]:
    """A guest tells where an address is: it is believed if it may hold it, and passed on if it is known to."""
    said, teller = frames.read(punted.frame), guest(view, punted)
    if not isinstance(said, Statement) or teller is None or not is_hosts(said.address) or not is_ones(said.mac):
        return
    network = teller.network_id
    if may_hold(view, teller, said.address, said.mac):
        passed_on = punted.frame[0] & 1 and held_at(view, neighbour_id(network, said.address)) is not None
        told = passed_on or physical_network(view, network) is not None
        news = announcement(said.address, said.mac) if said.unasked and not told else b""
        yield Heard(network, said.address, said.mac, teller.id, said.unasked, news)
    elif said.unasked and (said.address, said.mac) in {*own_addresses(view, teller)}:
        yield Announced(network, said.address, teller.id, announcement(said.address, said.mac))


def own_addresses(view: View, port: Port) -> Iterator[tuple[Address, Mac]]:
    """The addresses that the model gives a port, each with the MAC address that it is at."""
    yield from ((address, port.mac_address) for address in local_too(port))
    yield from pair_addresses(view, port)


def guest(view: View, punted: Punted) -> Port | None:
    """The port that a packet came from, if it is on the network that the packet is on."""
    id, network = view.tagged("port", punted.source), view.tagged("network", punted.net)
    port = None if id is None else view.get(Port, id)
    return port if port and port.network_id == network else None


def is_hosts(address: Address) -> bool:
    """Is it an address that one host may have?"""
    return not any(ip_address(address) in block for block in NOBODYS)


def is_ones(mac: Mac) -> bool:
    """Is it the MAC address of one interface?"""
    return mac != NO_MAC and not int(mac[:2], 16) & 1


def prove(view: View, neighbour: Neighbour) -> Iterator[Said]:
    """Ask whoever is known to hold an address whether it still does."""
    placed, number = held_at(view, neighbour.id), ofport(view, neighbour.port_id)
    if placed is None or number is None:
        return
    routers = sorted(view.gather(JOINTS, neighbour.network_id))
    own = interface(view, routers, neighbour.network_id, neighbour.address)
    source = own or (own_source(neighbour.address, OURS), OURS)
    yield Said(placed.chassis, (number,), question(neighbour.address, *source, to=neighbour.mac_address))


# ---- routers, and guests that change --------------------------------------------------------------------------


def herald(view: View, old: Record | None, new: Record | None) -> Iterator[Said]:
    """The addresses that a router's interface, or an attached guest, has anew, to all guests of its network.

    A guest that is plugged in announces itself, or nobody knew it before.
    """
    if not isinstance(new, Port):
        return
    before = old if isinstance(old, Port) else None
    router = joins(view, new)
    if not router and (before is None or attached(view, new.id) is None):
        return
    known = set(local_too(before)) if before and is_same(before, new) else set()
    fresh = [address for address in local_too(new) if address not in known]
    own, number = attached(view, new.id), ofport(view, new.id)
    for chassis, ports in audience(view, new.network_id) if fresh else ():
        others = tuple(port for port in ports if own is None or (chassis, port) != (own.chassis, number))
        if others:
            yield from (Said(chassis, others, announcement(each, new.mac_address, router=router)) for each in fresh)


def is_same(old: Port, new: Port) -> bool:
    """Was it that interface, or that guest's, before?"""
    if is_interface(old) != is_interface(new) or old.mac_address != new.mac_address:
        return False
    return not is_interface(new) or old.device_id == new.device_id


def local_too(port: Port) -> list[Address]:
    """The addresses of a port on a network, with the link-local one if it has any of IPv6."""
    fixed = [ip.ip_address for ip in port.fixed_ips]
    return [*fixed, link_local(port.mac_address)] if any(":" in address for address in fixed) else fixed


APP = app(
    "neighbours",
    reaching(OPEN, open_block),
    neighbours(Neighbour, known),
    host(Neighbour, local),
    peers(Neighbour, remote),
    answers={Why.SOUGHT: seek, Why.TOLD: hear, Why.NO_NEIGHBOUR: next_hop},
    heralds={Port: herald},
    prove=prove,
)
