"""Where each network is: on which chassis a guest can reach it, by routers, too. All derived, nothing stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

from controller.flows.attachment import (
    GROUPS,
    HOMES,
    JOINTS,
    LISTED_ADDRESSES,
    MAPPED,
    MEMBER_ADDRESSES,
    MEMBERS,
    PAIRS,
    POLICIES,
    REGISTERED,
    is_taken,
    physical_network,
)
from controller.flows.holding import CANDIDATES, LAPSED, OPEN, neighbour_id, stands
from controller.flows.ways_out import (
    EXITS,
    FLOATING_OUTSIDE,
    FLOATING_ZONES,
    IDLE,
    ROUTER_ZONES,
    ROUTERS_OUTSIDE,
    gateways,
)
from controller.model.records import Address, Chassis, Drained, Network, Router, Subnet
from controller.model.segments import IPV6_MORE, TYPES
from controller.model.view import Relation, View


def _servants(view: View, chassis: Chassis) -> Iterator[tuple[str, Servant]]:
    drained = view.get(Drained, chassis.id) is not None
    priority = -1 if chassis.gateway_priority is None else chassis.gateway_priority
    for physical, _ in chassis.bridge_mappings:
        yield physical, Servant(not drained, priority, chassis.id)


def _watched(view: View, router: Router) -> Iterator[tuple[str, Watched]]:
    ranked = view.derive(gateways, router.id)
    for chassis in view.derive(chassis_of_network, router.id) if ranked else ():
        for other in ranked:
            if other != chassis and (found := view.derive(way, (chassis, other))):
                yield chassis, found


def _unmet(view: View, subnet: Subnet) -> Iterator[tuple[str, tuple[str, Address]]]:
    network = view.get(Network, subnet.network_id)
    if network is None or not network.external or subnet.gateway_ip is None:
        return
    at = (network.id, subnet.gateway_ip)
    if not stands(view, neighbour_id(*at)) and not is_taken(view, *at) and view.derive(chassis_on_wire, network.id):
        yield "", at


class Servant(NamedTuple):
    """A chassis that may serve the hosts of a physical network, the better the greater; `willing` unless drained."""

    willing: bool
    priority: int
    chassis: str


SERVANTS: Relation[str, Servant] = Relation("servants", Chassis, _servants)
"""By physical network: the chassis that map a bridge to it, with what they are ranked by."""
UNMET: Relation[str, tuple[str, Address]] = Relation("unmet", Subnet, _unmet)
"""Under "": the next hops of external networks that are on a wire, and that nobody is known to hold."""


@dataclass(frozen=True, slots=True, order=True)
class Watched:
    """A gateway that others have to know dead or alive, and how they reach it: an encapsulation, an address."""

    chassis: str
    encap: str
    vtep: Address


WATCHED: Relation[str, Watched] = Relation("watched", Router, _watched)
"""By chassis: the gateways that it has to watch, since it depends on them, or stands by for them, or will."""


def only(view: View, chassis: str) -> frozenset[str]:
    """One chassis."""
    return frozenset({chassis})


def everyone(view: View, _: str) -> frozenset[str]:
    """Every registered chassis."""
    return view.gather(REGISTERED, "")


def members_of_network(view: View, network_id: str) -> frozenset[str]:
    """The chassis that have an attached port of the network."""
    return view.gather(HOMES, network_id)


def reach(view: View, joint: str) -> frozenset[str]:
    """A network, or a router, and all networks and routers that it reaches."""
    found, ahead = {joint}, [joint]
    while ahead:
        fresh = view.gather(JOINTS, ahead.pop()) - found
        found |= fresh
        ahead += fresh
    return frozenset(found)


def chassis_of_network(view: View, joint: str) -> frozenset[str]:
    """The chassis that have an attached port of a network, or of any that is reached from it through routers.

    The same of a router. Those that serve the physical hosts of any of these networks are among them. Where routers
    have their gateways, all of that is, too, and the external network; and that is where floating IPs meet it.
    """
    reached = view.derive(reach, joint)
    found = [frozenset(each for network in reached if (each := view.derive(servant, network)) is not None)]
    found += [view.gather(HOMES, each) for each in reached]
    found += [frozenset(view.derive(gateways, each)) for each in reached]
    found += [view.gather(relation, joint) for relation in (ROUTERS_OUTSIDE, FLOATING_OUTSIDE)]
    return frozenset[str]().union(*found)


def servant(view: View, network_id: str) -> str | None:
    """The one chassis on the wire of a network that is its routers to physical hosts; None where no router is.

    It is the best by `weft-gateway-priority`; of several alike each network has another, so that the work is spread.
    """
    physical = physical_network(view, network_id)
    if physical is None or not view.gather(JOINTS, network_id):
        return None
    ranked = sorted(view.gather(SERVANTS, physical), key=lambda each: (*each[:2], _lot(network_id, each.chassis)))
    return ranked[-1].chassis if ranked else None


def _lot(network_id: str, chassis: str) -> bytes:
    return sha256(f"{network_id}/{chassis}".encode()).digest()


def chassis_that_serves(view: View, network_id: str) -> frozenset[str]:
    """The same, as a set."""
    found = view.derive(servant, network_id)
    return frozenset() if found is None else frozenset({found})


def chassis_on_wire(view: View, network_id: str) -> frozenset[str]:
    """Those of `chassis_of_network` that are on the wire of the network; none of an overlay's."""
    physical = physical_network(view, network_id)
    if physical is None:
        return frozenset()
    mapped = view.gather(MAPPED, physical)
    return view.derive(chassis_of_network, network_id) & mapped


def way(view: View, ends: tuple[str, str]) -> Watched | None:
    """How one chassis reaches another: by the first encapsulation that both have."""
    here, there = (view.get(Chassis, end) for end in ends)
    if here is None or there is None or there.encap_ip is None:
        return None
    common = [type for type in here.encap_types if type in there.encap_types]
    return Watched(there.id, min(common), there.encap_ip) if common else None


def mtu(view: View, network_id: str) -> int:
    """How many bytes a packet may have on a network."""
    return view.need(Network, network_id).mtu


def tunnel_mtu(view: View, chassis_id: str) -> int:
    """How many bytes a packet may have to go by a tunnel of a chassis, whichever."""
    chassis = view.need(Chassis, chassis_id)
    most = max((TYPES[encap].overhead for encap in chassis.encap_types), default=0)
    return chassis.underlay_mtu - most - (IPV6_MORE if ":" in (chassis.encap_ip or "") else 0)


def chassis_of_policy(view: View, policy: str) -> frozenset[str]:
    """The chassis that have an attached port under the policy."""
    return view.gather(POLICIES, policy)


def chassis_of_group(view: View, group_id: str) -> frozenset[str]:
    """The chassis that have an attached port in the security group."""
    return view.gather(GROUPS, group_id)


RELATIONS: tuple[Relation[Any, Any], ...] = (
    HOMES, MEMBERS, JOINTS, MAPPED, SERVANTS, REGISTERED, PAIRS, POLICIES, GROUPS, MEMBER_ADDRESSES, LISTED_ADDRESSES,
    OPEN, CANDIDATES, LAPSED, UNMET, EXITS, ROUTERS_OUTSIDE, FLOATING_OUTSIDE, WATCHED, ROUTER_ZONES, FLOATING_ZONES,
    IDLE,
)  # fmt: skip
"""Every relation there is; the engine keeps each up to date."""
