"""On a wire: what guests on a physical network, and physical hosts, ask and tell each other; and the routers they use.

A guest's question for an address of an attached port is answered by its switch, as on an overlay (`apps.arp`,
`apps.nd`); every other goes to the wire and to the guests here, and what they and physical hosts tell reaches guests as
it is. A question from the wire for a guest's address is answered by the switch of the guest's own hypervisor, and by no
other.

To physical hosts a router is on one hypervisor (`presence.servant`): it alone answers for the router's addresses, and
routes what comes for its MAC address, which nobody else sends from. What is routed to them comes from wherever it
began.

Where physical hosts are is asked when a packet is to be routed to one: by the hypervisor that routes it, under its
chassis MAC and in nobody's name (as a probe, RFC 5227), so that nothing else is learnt from the question. What is
answered becomes a `Neighbour`, which is asked again and again whether it still is, and followed when it announces
another MAC address.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.flows.action import Move, goto, resubmit
from controller.flows.app import app, homes, itself, on_wire, serving
from controller.flows.attachment import JOINTS, audience, interfaces, jack, joins, physical_network
from controller.flows.fields import (
    ARP,
    ARP_OP,
    ARP_REQUEST,
    ARP_SHA,
    ARP_SPA,
    ARP_TPA,
    ETH_DST,
    ND_ADVERTISEMENT,
    ND_SOLICITATION,
    ND_TARGET,
    ND_TARGET_ADVERTISED,
    ND_TLL,
    link_local,
)
from controller.flows.flow import Flow
from controller.flows.frames import NO_MAC, REPLY, Statement, announcement, own_source, question, read, tagged
from controller.flows.holding import may_be_on_wire
from controller.flows.hops import AT_ROUTER
from controller.flows.pipeline import (
    ASKED,
    FROM_PHYS,
    HOP,
    L2_DISPATCH,
    L2_LOOKUP,
    NEIGH,
    NEIGH_HIT,
    NEIGH_REPLY,
    NET,
    NH4,
    NH6,
    PATCHED,
    RTR,
    SERVICE,
    TRAP,
    WHY,
    Why,
    chassis_mac,
)
from controller.flows.presence import chassis_on_wire, servant
from controller.flows.punted import Heard, Outcome, Punted, Said, Sought
from controller.model.records import Address, Chassis, Drained, Link, Mac, Neighbour, Network, Port, Record
from controller.model.view import View

ASK4 = (ASKED.set(1), Move(ARP_TPA, NH4), resubmit(NEIGH), resubmit(NEIGH_REPLY))
ASK6 = (ASKED.set(1), Move(ND_TARGET, NH6), resubmit(NEIGH), resubmit(NEIGH_REPLY))
"""Look the address up, then turn the question around."""


def onward(view: View, network: Network) -> Iterator[Flow]:
    """What guests ask of addresses that nobody here knows, and what they tell, goes to the wire."""
    if physical_network(view, network.id) is None:
        return
    net, onward = NET(view.tag("network", network.id)), (goto(L2_DISPATCH),)
    for asked in (ARP_REQUEST, ND_SOLICITATION):
        yield Flow(NEIGH_REPLY, "wire_unknown", net & asked, onward)
    for told in (ARP, ND_ADVERTISEMENT):
        yield Flow(SERVICE, "wire_told", net & told, onward)


def served(view: View, network: str, router: str) -> Iterator[Flow]:
    """What comes from the wire for a router is for it here; what it sends may go back to where it came from."""
    if physical_network(view, network) is None:
        return
    came = FROM_PHYS(1) & NET(view.tag("network", network))
    come = (RTR.set(view.tag("router", router)), *AT_ROUTER, resubmit(HOP))
    for port in interfaces(view, network, router):
        yield Flow(L2_LOOKUP, "router", came & ETH_DST(port.mac_address), come)
        for address in local_too(port):
            if ":" in address:
                yield Flow(SERVICE, "wire_asks", came & ND_TARGET(address), ASK6)
            else:
                yield Flow(SERVICE, "wire_asks", came & ARP_REQUEST & ARP_TPA(address), ASK4)


def local_too(port: Port) -> list[Address]:
    """The addresses of a port, with the link-local one if it has any of IPv6."""
    fixed = [ip.ip_address for ip in port.fixed_ips]
    return [*fixed, link_local(port.mac_address)] if any(":" in address for address in fixed) else fixed


# ---- physical hosts -------------------------------------------------------------------------------------------


def known(view: View, neighbour: Neighbour) -> Iterator[Flow]:
    """The MAC address of a physical host."""
    net, address = NET(view.tag("network", neighbour.network_id)), neighbour.address
    here = NH6(address) if ":" in address else NH4(address)
    yield Flow(NEIGH, "heard", net & here & ASKED(0), (ETH_DST.set(neighbour.mac_address), NEIGH_HIT.set(1)))


def moved(view: View, neighbour: Neighbour) -> Iterator[Flow]:
    """What a physical host tells of itself is heard if it is news."""
    came, address = FROM_PHYS(1) & NET(view.tag("network", neighbour.network_id)), neighbour.address
    told = ND_TARGET_ADVERTISED(address) if ":" in address else ARP_SPA(address)
    at = ND_TLL if ":" in address else ARP_SHA
    yield Flow(SERVICE, "wire_known", came & told & at(neighbour.mac_address), (goto(L2_DISPATCH),))
    yield Flow(SERVICE, "wire_moved", came & told, (WHY.set(Why.TOLD), resubmit(TRAP), goto(L2_DISPATCH)))


def answers(view: View, chassis: Chassis) -> Iterator[Flow]:
    """What is answered to a hypervisor's own questions is heard, and goes no further."""
    if chassis.bridge_mappings:
        own = ETH_DST(chassis_mac(view.tag("chassis", chassis.id)))
        for answer in (ARP_OP(REPLY), ND_ADVERTISEMENT):
            yield Flow(SERVICE, "wire_answers", own & answer, (WHY.set(Why.TOLD), goto(TRAP)))


def next_hop(view: View, punted: Punted) -> Iterator[Outcome]:
    """A router wants the MAC address of a next hop on a wire: all that are on it are asked."""
    network = view.tagged("network", punted.net)
    if network is None or not may_be_on_wire(view, network, punted.next_hop):
        return
    if asked := tuple(ask(view, network, punted.next_hop, punted.chassis)):
        yield Sought(network, punted.next_hop, asked, punted.resumed)


def ask(view: View, network: str, address: Address, chassis: str = "", to: Mac | None = None) -> Iterator[Said]:
    """Ask on a wire who holds an address, from a chassis if it is there, else from another; `to` a MAC, or to all."""
    there = view.derive(chassis_on_wire, network)
    asker = chassis if chassis in there else min(there, default="")
    if not asker:
        return
    own = chassis_mac(view.tag("chassis", asker))
    frame = question(address, own_source(address, own), own, to)
    yield from say(view, network, asker, frame)
    if to is None:
        yield from (Said(name, ports, frame) for name, ports in audience(view, network) if name == asker)


def say(view: View, network_id: str, chassis: str, frame: bytes) -> Iterator[Said]:
    """A frame on a network's wire, from a chassis."""
    out = jack(view, chassis, network_id)
    if out is not None:
        number, vlan = out
        yield Said(chassis, (number,), tagged(frame, vlan))


def hear(view: View, punted: Punted) -> Iterator[Outcome]:
    """A physical host tells where it is; what the model gives to others it cannot be."""
    said, network = read(punted.frame), view.tagged("network", punted.net)
    if punted.source or network is None or not isinstance(said, Statement) or not is_ones(said.mac):
        return
    if may_be_on_wire(view, network, said.address):
        yield Heard(network, said.address, said.mac, "", said.unasked)


def is_ones(mac: Mac) -> bool:
    """Is it the MAC address of one interface?"""
    return int(mac.replace(":", ""), 16) != 0 and not int(mac[:2], 16) & 1


def prove(view: View, neighbour: Neighbour) -> Iterator[Said]:
    """Ask a physical host whether it still is where it was; or, when nobody knows, all of them who it is."""
    if not neighbour.port_id:
        to = None if neighbour.mac_address == NO_MAC else neighbour.mac_address
        yield from ask(view, neighbour.network_id, neighbour.address, to=to)


# ---- announcements --------------------------------------------------------------------------------------------


def herald_interface(view: View, _: Record | None, new: Record | None) -> Iterator[Said]:
    """The interface of a router that appears or changes, to the physical hosts of its network."""
    if isinstance(new, Port) and joins(view, new):
        yield from announce(view, new)


def herald_chassis(view: View, old: Record | None, new: Record | None) -> Iterator[Said]:
    """Routers of which another chassis may be the servant now."""
    mappings = {mapping for each in (old, new) if isinstance(each, Chassis) for mapping in each.bridge_mappings}
    for physical, _ in sorted(mappings):
        for network in view.where(Network, physical_network=physical):
            for router in sorted(view.gather(JOINTS, network.id)):
                for port in interfaces(view, network.id, router):
                    yield from announce(view, port)


def herald_drained(view: View, old: Record | None, new: Record | None) -> Iterator[Said]:
    """The same, when one is drained, or is so no more."""
    drained = new or old
    if drained is not None:
        yield from herald_chassis(view, None, view.get(Chassis, drained.id))


def herald_link(view: View, _: Record | None, new: Record | None) -> Iterator[Said]:
    """The same, when a switch comes to a wire."""
    if isinstance(new, Link) and new.interface.startswith(PATCHED):
        yield from herald_chassis(view, None, view.get(Chassis, new.chassis))


def announce(view: View, port: Port) -> Iterator[Said]:
    """An interface of a router, by the chassis that serves its wire, so that switches there know where it is."""
    chassis = view.derive(servant, port.network_id)
    for address in local_too(port) if chassis else ():
        yield from say(view, port.network_id, chassis or "", announcement(address, port.mac_address, router=True))


APP = app(
    "wire",
    homes(Network, onward),
    serving(served),
    on_wire(known),
    on_wire(moved, chassis_on_wire),
    itself(Chassis, answers),
    answers={Why.NO_NEIGHBOUR: next_hop, Why.TOLD: hear},
    heralds={Port: herald_interface, Chassis: herald_chassis, Drained: herald_drained, Link: herald_link},
    prove=prove,
)
