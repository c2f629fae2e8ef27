"""On a wire: what guests on a physical network, and physical hosts, ask and tell each other; and the routers they use.

A guest's question for an address of an attached port is answered by its switch, as on an overlay (`apps.arp`,
`apps.nd`); every other goes to the wire and to the guests here, and what they and physical hosts tell reaches guests as
it is. A question from the wire for a guest's address is answered by the switch of the guest's own hypervisor, and by no
other.

To physical hosts a router is on one hypervisor (`presence.servant`): it alone answers for the router's addresses, and
routes what comes for its MAC address, which nobody else sends from. What is routed to them comes from wherever it
began.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.flows.app import app, homes, serving
from controller.flows.fields import (
    ARP,
    ARP_REQUEST,
    ARP_TPA,
    ETH_DST,
    ND_ADVERTISEMENT,
    ND_SOLICITATION,
    ND_TARGET,
    link_local,
)
from controller.flows.flow import Flow, Move, goto, resubmit
from controller.flows.pipeline import (
    FROM_PHYS,
    HOP,
    L2_DISPATCH,
    L2_LOOKUP,
    NEIGH,
    NEIGH_REPLY,
    NET,
    NH4,
    NH6,
    RTR,
    SERVICE,
    TURNED,
)
from controller.flows.presence import interfaces, physical_network
from controller.model.records import Address, Network, Port
from controller.model.view import View

ASK4 = (Move(ARP_TPA, NH4), resubmit(NEIGH), resubmit(NEIGH_REPLY))
ASK6 = (Move(ND_TARGET, NH6), resubmit(NEIGH), resubmit(NEIGH_REPLY))
"""Look the address up, then turn the question around."""


def onward(view: View, network: Network) -> Iterator[Flow]:
    """What guests ask of addresses that nobody here knows, and what they tell, goes to the wire."""
    if physical_network(view, network.id) is None:
        return
    net, onward = NET(view.tag("network", network.id)), (goto(L2_DISPATCH),)
    for question in (ARP_REQUEST, ND_SOLICITATION):
        yield Flow(NEIGH_REPLY, "wire_unknown", net & question, onward)
    for told in (ARP, ND_ADVERTISEMENT):
        yield Flow(SERVICE, "wire_told", net & told, onward)


def served(view: View, network: str, router: str) -> Iterator[Flow]:
    """What comes from the wire for a router is for it here; what it sends may go back to where it came from."""
    if physical_network(view, network) is None:
        return
    came = FROM_PHYS(1) & NET(view.tag("network", network))
    come = (RTR.set(view.tag("router", router)), FROM_PHYS.set(0), TURNED.set(1), resubmit(HOP))
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


APP = app("wire", homes(Network, onward), serving(served))
