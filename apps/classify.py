"""Classification: which port, and so which network, a guest's frame belongs to.

A frame that carries a VLAN tag, or comes while its port or network is down, is dropped with that reason. Frames from
tunnels are classified in `tunnels`; no other table gives a frame its network.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.flows.app import app, host
from controller.flows.fields import IN_PORT, UNTAGGED
from controller.flows.flow import Flow, goto
from controller.flows.pipeline import CLASSIFY, DROP, NET, SERVICE, SRC, WHY, Why
from controller.flows.presence import attached, ofport
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
    yield Flow(CLASSIFY, "guest", came & UNTAGGED, (SRC.set(src), NET.set(net), goto(SERVICE)))
    yield Flow(CLASSIFY, "tagged", came, (WHY.set(Why.TAGGED), goto(DROP)))


APP = app("classify", host(Port, guest))
