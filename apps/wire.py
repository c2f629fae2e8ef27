"""Neighbours on a wire: what guests on a physical network, and physical hosts, ask and tell each other.

A guest's question for an address of an attached port is answered by its switch, as on an overlay (`apps.arp`,
`apps.nd`); every other goes to the wire and to the guests here, and what they and physical hosts tell reaches guests as
it is. A question from the wire for a guest's address is answered by the switch of the guest's own hypervisor, and by no
other.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.flows.app import app, homes
from controller.flows.fields import ARP, ARP_REQUEST, ND_ADVERTISEMENT, ND_SOLICITATION
from controller.flows.flow import Flow, goto
from controller.flows.pipeline import L2_DISPATCH, NEIGH_REPLY, NET, SERVICE
from controller.flows.presence import physical_network
from controller.model.records import Network
from controller.model.view import View


def onward(view: View, network: Network) -> Iterator[Flow]:
    """What guests ask of addresses that nobody here knows, and what they tell, goes to the wire."""
    if physical_network(view, network.id) is None:
        return
    net, onward = NET(view.tag("network", network.id)), (goto(L2_DISPATCH),)
    for question in (ARP_REQUEST, ND_SOLICITATION):
        yield Flow(NEIGH_REPLY, "wire_unknown", net & question, onward)
    for told in (ARP, ND_ADVERTISEMENT):
        yield Flow(SERVICE, "wire_told", net & told, onward)


APP = app("wire", homes(Network, onward))
