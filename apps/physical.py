"""Physical networks: how the frames of flat and VLAN networks leave to the wire and come from it.

    wire ─> CLASSIFY ─> VLAN (the tag, if any, names the network and goes) ─> SERVICE ─> as a guest's, but unguarded
    PHYS_OUT (the tag comes) ─> PHYSICAL ─> wire

A physical network has a number (PHYS), so VLAN and PHYS_OUT hold no port number and are computed once for the fleet;
port numbers stand in CLASSIFY and PHYSICAL alone. What a guest sends to nobody here goes to the wire, where physical
hosts and all other hypervisors are; what comes from there to nobody here is dropped, and nothing that came from there
goes back.

What a router sends to a wire comes from every hypervisor that routes, so it does not bear the router's MAC address,
which switches there would find in several places: each hypervisor has one of its own for each interface of a router
(`pipeline.chassis_mac`), and where such a frame comes from the wire, it is the router's again.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.flows.action import Action, Output, PopVlan, PushVlan, Turn, goto, resubmit
from controller.flows.app import app, bridging, everywhere, itself, present, wired
from controller.flows.attachment import interfaces, physical_network
from controller.flows.fields import ETH_SRC, IN_PORT, UNTAGGED, VLAN_ID
from controller.flows.flow import Flow
from controller.flows.match import Match
from controller.flows.pipeline import (
    CHASSIS,
    CHASSIS_MACS,
    CLASSIFY,
    DROP,
    FROM_PHYS,
    INTERFACES,
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
    chassis_mac,
    patch_port,
)
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
            yield from end(view.tag("chassis", chassis.id), tag.number, link.ofport)


def end(chassis: int, physical: int, ofport: int) -> Iterator[Flow]:
    """One of them, by the keys of both and its OpenFlow port."""
    came = (PHYS.set(physical), FROM_PHYS.set(1), goto(VLAN))
    yield Flow(CLASSIFY, "physical", IN_PORT(ofport), came)
    own = ETH_SRC(chassis_mac(chassis), CHASSIS_MACS)
    yield Flow(CLASSIFY, "looped", IN_PORT(ofport) & own, (WHY.set(Why.WIRE_LOOP), goto(DROP)))
    yield Flow(PHYSICAL, "port", PHYS(physical), (Output(ofport),))
    routed = PHYS(physical) & ETH_SRC(chassis_mac(0), CHASSIS_MACS)
    yield Flow(PHYSICAL, "routed", routed, (CHASSIS.set(chassis), Output(ofport)))


def segment(view: View, network: Network) -> Iterator[Flow]:
    """The network's frames on the wire: with its tag, or untagged."""
    if network.physical_network is None:
        return
    net, phys = view.tag("network", network.id), view.tag("physical", network.physical_network)
    match, untag = told(view, network)
    yield Flow(VLAN, "segment", match, (*untag, NET.set(net), goto(SERVICE)))
    id = network.segmentation_id
    tag: tuple[Action, ...] = () if id is None else (PushVlan(), VLAN_ID.set(id))
    yield Flow(PHYS_OUT, "segment", NET(net), (*tag, PHYS.set(phys), goto(PHYSICAL)))


def told(view: View, network: Network) -> tuple[Match, tuple[PopVlan, ...]]:
    """How a network's frames are told on its wire, and what of that goes."""
    wire = PHYS(view.tag("physical", network.physical_network or ""))
    if network.segmentation_id is None:
        return wire & UNTAGGED, ()
    return wire & VLAN_ID(network.segmentation_id), (PopVlan(),)


def elsewhere(view: View, network: Network) -> Iterator[Flow]:
    """Who is not here is on the wire; also where there is none, which PHYS_OUT tells."""
    if physical_network(view, network.id) is not None:
        absent = NET(view.tag("network", network.id)) & FROM_PHYS(0)
        yield Flow(L2_LOOKUP, "wire", absent, (goto(PHYS_OUT),))


def routed(view: View, network_id: str, router: str) -> Iterator[Flow]:
    """What a router sent by its interfaces on a network: to the wire, and from it, by whichever hypervisor."""
    if physical_network(view, network_id) is None:
        return
    network = view.need(Network, network_id)
    net, (wire, untag) = view.tag("network", network_id), told(view, network)
    for port in interfaces(view, network_id, router):
        sent = chassis_mac(0, view.tag("port", port.id))
        out = NET(net) & ETH_SRC(port.mac_address) & FROM_PHYS(0)
        yield Flow(L2_LOOKUP, "routed", out, (ETH_SRC.set(sent), goto(PHYS_OUT)))
        named: tuple[Action, ...] = (NET.set(net), ETH_SRC.set(port.mac_address), goto(SERVICE))
        yield Flow(VLAN, "routed", wire & ETH_SRC(sent, INTERFACES), (*untag, *named))


APP = app(
    "physical",
    everywhere(horizon),
    itself(Chassis, ends),
    wired(Network, segment),
    present(Network, elsewhere),
    bridging(routed),
)
