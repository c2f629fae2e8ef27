"""Tunnels: how a network's frames travel between hypervisors, and from whom they are taken.

The encapsulation and the segment of a frame name its network, on every hypervisor alike: VXLAN 100 and Geneve 100 are
two networks. OpenFlow port numbers differ from host to host; they stand in CLASSIFY and TUNNEL alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.flows.action import Output, goto
from controller.flows.app import app, everywhere, itself, others, present
from controller.flows.fields import IN_PORT, TUN_ID, tunnel_from
from controller.flows.flow import Flow
from controller.flows.pipeline import (
    CLASSIFY,
    DROP,
    ENCAP,
    ENCAPS,
    FROM_TUN,
    L2_DISPATCH,
    NET,
    NO_SEGMENT,
    TUN_OUT,
    TUNNEL,
    TUNNEL_PORTS,
    VNI,
    VTEP,
    WHY,
    Why,
)
from controller.model.records import Chassis, Link, Network
from controller.model.view import View


def ends(view: View, chassis: Chassis) -> Iterator[Flow]:
    """The tunnel ports of one hypervisor, in and out."""
    for encap, code in ENCAPS.items():
        link = view.get(Link, f"{chassis.id}/{TUNNEL_PORTS[encap]}")
        if link is not None:
            came = (FROM_TUN.set(1), ENCAP.set(code), goto(VTEP))
            yield Flow(CLASSIFY, "tunnel", IN_PORT(link.ofport), came)
            yield Flow(TUNNEL, "port", ENCAP(code), (Output(link.ofport),))


def peer(view: View, chassis: Chassis) -> Iterator[Flow]:
    """What a hypervisor sends through a tunnel is taken by all others."""
    if chassis.encap_ip is not None:
        yield Flow(VTEP, "peer", tunnel_from(chassis.encap_ip), (goto(VNI),))


def segment(view: View, network: Network) -> Iterator[Flow]:
    """The network's segment, in and out."""
    code = ENCAPS.get(network.network_type)
    if code is None or network.segmentation_id is None:
        return
    tag = view.tag("network", network.id)
    vni = network.segmentation_id
    yield Flow(VNI, "segment", ENCAP(code) & TUN_ID(vni), (NET.set(tag), goto(L2_DISPATCH)))
    yield Flow(TUN_OUT, "segment", NET(tag), (TUN_ID.set(vni), ENCAP.set(code), goto(TUNNEL)))


def path(view: View) -> Iterator[Flow]:
    """What hypervisors send ahead to each other is for no guest."""
    yield Flow(VNI, "path", TUN_ID(NO_SEGMENT), (WHY.set(Why.PATH), goto(DROP)))


def split_horizon(view: View) -> Iterator[Flow]:
    """Nothing that came through a tunnel leaves through one."""
    yield Flow(TUN_OUT, "split_horizon", FROM_TUN(1), (WHY.set(Why.SPLIT_HORIZON), goto(DROP)))


APP = app(
    "tunnels",
    itself(Chassis, ends),
    others(Chassis, peer),
    present(Network, segment),
    everywhere(path),
    everywhere(split_horizon),
)
