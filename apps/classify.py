"""Classification: which port, and so which network, a guest's frame belongs to.

A frame that carries a VLAN tag, or comes while its port or network is down, is dropped with that reason. Frames from
tunnels are classified in `tunnels`; no other table gives a frame its network. What the hypervisor's own conntrack said
of a frame before it came here is forgotten first.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.flows.action import Untrack, goto, resubmit
from controller.flows.app import app, everywhere, host
from controller.flows.attachment import attached, ofport
from controller.flows.fields import IN_PORT, UNTAGGED, ct_state
from controller.flows.flow import Flow
from controller.flows.pipeline import CLASSIFY, DROP, NET, PORT_SECURITY, SRC, WHY, Why
from controller.model.records import Port
from controller.model.view import View


def guest(view: View, port: Port) -> Iterator[Flow]:
    """Frames from the port's interface are the port's."""
    number = ofport(view, port.id)
    if number is None:
        return
    came = IN_PORT(number)
    if attached(view, port.id) is None:
        yield Flow(CLASSIFY, "admin_down", came, (WHY.set(Why.ADMIN_DOWN), goto(DROP)))
        return
    src, net = view.tag("port", port.id), view.tag("network", port.network_id)
    yield Flow(CLASSIFY, "guest", came & UNTAGGED, (SRC.set(src), NET.set(net), goto(PORT_SECURITY)))
    yield Flow(CLASSIFY, "tagged", came, (WHY.set(Why.TAGGED), goto(DROP)))


def tracked(view: View) -> Iterator[Flow]:
    """An interface that is also used by the hypervisor itself hands over frames that its conntrack has seen."""
    yield Flow(CLASSIFY, "tracked", ct_state("+trk"), (Untrack(), resubmit(CLASSIFY)))


APP = app("classify", everywhere(tracked), host(Port, guest))
