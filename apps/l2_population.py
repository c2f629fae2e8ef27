"""L2 population: every switch knows where every MAC of its networks is; no switch learns, nothing unknown is flooded.

A known unicast frame goes to one place. Broadcast and multicast go to every member exactly once: head-end copies, one
a hypervisor that has members, and there one a member; what came through a tunnel never goes into one again. On a
physical network one copy goes to the wire, and what came from there stays here.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import ceil

from controller.flows.action import ToGroup, goto, resubmit
from controller.flows.app import app, each, everywhere, homes, host, peers
from controller.flows.attachment import attached, members, physical_network
from controller.flows.fields import CONTROL_GROUP, ETH_DST, GROUP_BIT, tunnel_to
from controller.flows.flow import Bucket, Flow, Group
from controller.flows.holding import pair_macs
from controller.flows.match import ANY
from controller.flows.pipeline import (
    ARRIVED,
    DROP,
    DST,
    FLOOD,
    FROM_PHYS,
    FROM_TUN,
    IN_PORT,
    L2_BUM,
    L2_DISPATCH,
    L2_LOOKUP,
    NET,
    PART,
    PART_COPIES,
    PARTS,
    PHYS_OUT,
    SRC,
    TUN_OUT,
    TURNED,
    WHY,
    Why,
)
from controller.flows.presence import members_of_network
from controller.model.records import Address, Chassis, Network, Port
from controller.model.view import View


def dispatch(view: View) -> Iterator[Flow]:
    """One receiver or many."""
    yield Flow(L2_DISPATCH, "control", CONTROL_GROUP, (WHY.set(Why.CONTROL_MULTICAST), goto(DROP)))
    yield Flow(L2_DISPATCH, "many", GROUP_BIT, (goto(L2_BUM),))
    yield Flow(L2_DISPATCH, "one", ANY, (goto(L2_LOOKUP),))


def local(view: View, port: Port) -> Iterator[Flow]:
    """A frame for the port, on its own hypervisor."""
    if attached(view, port.id) is None:
        return
    key, net = view.tag("port", port.id), NET(view.tag("network", port.network_id))
    here = net & ETH_DST(port.mac_address)
    yield Flow(L2_LOOKUP, "local", here, (DST.set(key), goto(IN_PORT)))
    yield Flow(L2_LOOKUP, "own_mac", here & SRC(key) & TURNED(0), (WHY.set(Why.OWN_MAC), goto(DROP)))
    for mac in pair_macs(view, port):
        yield Flow(L2_LOOKUP, "local_pair", net & ETH_DST(mac), (DST.set(key), goto(IN_PORT)))


def remote(view: View, port: Port) -> Iterator[Flow]:
    """A frame for the port, anywhere else: to its hypervisor, unless the wire leads there (`apps.physical`)."""
    placed = attached(view, port.id)
    vtep = placed and view.need(Chassis, placed.chassis).encap_ip
    if vtep and physical_network(view, port.network_id) is None:
        net, onward = NET(view.tag("network", port.network_id)), (tunnel_to(vtep), goto(TUN_OUT))
        yield Flow(L2_LOOKUP, "remote", net & ETH_DST(port.mac_address), onward)
        for mac in pair_macs(view, port):
            yield Flow(L2_LOOKUP, "remote_pair", net & ETH_DST(mac), onward)


def flood(view: View, network: Network) -> Iterator[Flow]:
    """Broadcast and multicast on the network."""
    tag = view.tag("network", network.id)
    yield Flow(L2_BUM, "flood", NET(tag), (ToGroup(FLOOD.id(tag), FLOOD),))
    came = FROM_TUN(1) if physical_network(view, network.id) is None else FROM_PHYS(1)
    yield Flow(L2_BUM, "arrived", NET(tag) & came, (ToGroup(ARRIVED.id(tag), ARRIVED),))


def copies(view: View, network: Network, chassis: str) -> Iterator[Group]:
    """Who gets a copy, seen from one hypervisor; a switch never gives one to the port a frame came from."""
    tag = view.tag("network", network.id)
    here = [_here(key) for key in sorted(members(view, network.id, chassis))]
    there = [*onward(view, network.id, chassis)]
    if len(here) + len(there) > PART_COPIES:
        first, second = parts(tag, 0, here), parts(tag, ceil(len(here) / PART_COPIES), there)
        yield from first
        yield from second
        here = [Bucket((ToGroup(part.id, PART),)) for part in first]
        there = [Bucket((ToGroup(part.id, PART),)) for part in second]
    yield Group(FLOOD, tag, (*here, *there))
    yield Group(ARRIVED, tag, tuple(here))


def onward(view: View, network_id: str, chassis: str) -> Iterator[Bucket]:
    """A copy for each other hypervisor that has members; on a physical network one, which all of them hear.

    One that was installed anew under another name has the address of what it was, and gets one.
    """
    if physical_network(view, network_id) is not None:
        yield Bucket((resubmit(PHYS_OUT),))
        return
    others = sorted(members_of_network(view, network_id) - {chassis})
    vteps = dict.fromkeys(view.need(Chassis, name).encap_ip for name in others)
    for vtep in vteps:
        if vtep and vtep != view.need(Chassis, chassis).encap_ip:
            yield _there(vtep)


@lru_cache(maxsize=8192)
def _here(key: int) -> Bucket:
    """A copy for a member: one object for all the groups that have it, as they come and go."""
    return Bucket((DST.set(key), resubmit(IN_PORT)))


@lru_cache(maxsize=8192)
def _there(vtep: Address) -> Bucket:
    """A copy for a hypervisor."""
    return Bucket((tunnel_to(vtep), resubmit(TUN_OUT)))


def parts(tag: int, start: int, copies: list[Bucket]) -> list[Group]:
    """More copies than one group holds, as groups of their own, numbered from `start`. Raises OverflowError."""
    cut = [tuple(copies[at : at + PART_COPIES]) for at in range(0, len(copies), PART_COPIES)]
    if start + len(cut) > PARTS:
        raise OverflowError(f"no network can have more than {PARTS * PART_COPIES} members on one hypervisor")
    return [Group(PART, tag * PARTS + number, part) for number, part in enumerate(cut, start)]


APP = app(
    "l2_population",
    everywhere(dispatch),
    host(Port, local),
    peers(Port, remote),
    homes(Network, flood),
    each(Network, copies),
)
