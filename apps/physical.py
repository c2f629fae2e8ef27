"""Physical networks: how the frames of flat and VLAN networks leave to the wire and come from it.

    wire ─> CLASSIFY ─> VLAN (the tag, if any, names the network and goes) ─> SERVICE ─> as a guest's, but unguarded
    PHYS_OUT (the tag comes) ─> PHYSICAL ─> wire

A physical network has a number (PHYS), so VLAN and PHYS_OUT hold no port number and are computed once for the fleet;
port numbers stand in CLASSIFY and PHYSICAL alone. What a guest sends to nobody here goes to the wire, where physical
hosts and all other hypervisors are; what comes from there to nobody here is dropped, and nothing that came from there
goes back.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.flows.app import app, everywhere, itself, present, wired
from controller.flows.fields import IN_PORT, UNTAGGED, VLAN_ID
from controller.flows.flow import Flow, Output, PopVlan, PushVlan, Turn, goto, resubmit
from controller.flows.pipeline import (
    CLASSIFY,
    DROP,
    FROM_PHYS,
    L2_DISPATCH,
    L2_LOOKUP,
    NET,
    PHYS,
    PHYS_OUT,
    PHYSICAL,
    SERVICE,
    TURNED,
    VLAN,
    WHY,
    Why,
    patch_port,
)
from controller.flows.presence import physical_network
from controller.model.records import Chassis, Link, Network, Tag
from controller.model.view import View


def horizon(view: View) -> Iterator[Flow]:
    """What came from the wire is no guest's, and does not go back unless it was turned around."""
    yield Flow(SERVICE, "wire", FROM_PHYS(1), (goto(L2_DISPATCH),))
    back = FROM_PHYS(1) & TURNED(0)
    yield Flow(PHYS_OUT, "split_horizon", back, (WHY.set(Why.BACK_TO_WIRE), goto(DROP)))
    yield Flow(PHYSICAL, "turned", TURNED(1), (Turn(), TURNED.set(0), resubmit(PHYSICAL)))


def ends(view: View, chassis: Chassis) -> Iterator[Flow]:
    """The ports of one hypervisor to physical networks that any network is on, in and out."""
    for physical, _ in chassis.bridge_mappings:
        link = view.get(Link, f"{chassis.id}/{patch_port(physical)}")
        tag = view.get(Tag, f"physical/{physical}")
        if link is not None and tag is not None:
            came = (PHYS.set(tag.number), FROM_PHYS.set(1), goto(VLAN))
            yield Flow(CLASSIFY, "physical", IN_PORT(link.ofport), came)
            yield Flow(PHYSICAL, "port", PHYS(tag.number), (Output(link.ofport),))


def segment(view: View, network: Network) -> Iterator[Flow]:
    """The network's frames on the wire: with its tag, or untagged."""
    if network.physical_network is None:
        return
    net, phys = view.tag("network", network.id), view.tag("physical", network.physical_network)
    if network.segmentation_id is None:
        yield Flow(VLAN, "segment", PHYS(phys) & UNTAGGED, (NET.set(net), goto(SERVICE)))
        yield Flow(PHYS_OUT, "segment", NET(net), (PHYS.set(phys), goto(PHYSICAL)))
        return
    tagged = VLAN_ID(network.segmentation_id)
    yield Flow(VLAN, "segment", PHYS(phys) & tagged, (PopVlan(), NET.set(net), goto(SERVICE)))
    tag = (PushVlan(), VLAN_ID.set(network.segmentation_id), PHYS.set(phys))
    yield Flow(PHYS_OUT, "segment", NET(net), (*tag, goto(PHYSICAL)))


def elsewhere(view: View, network: Network) -> Iterator[Flow]:
    """Who is not here is on the wire; also where there is none, which PHYS_OUT tells."""
    if physical_network(view, network.id) is not None:
        absent = NET(view.tag("network", network.id)) & FROM_PHYS(0)
        yield Flow(L2_LOOKUP, "wire", absent, (goto(PHYS_OUT),))
        turned = NET(view.tag("network", network.id)) & TURNED(1) & FROM_PHYS(1)
        yield Flow(L2_LOOKUP, "wire", turned, (goto(PHYS_OUT),))


APP = app(
    "physical",
    everywhere(horizon),
    itself(Chassis, ends),
    wired(Network, segment),
    present(Network, elsewhere),
)
