"""Where networks meet the outside: gateways, floating IPs, and the zones that they translate in. All derived."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NamedTuple

from controller.flows.attachment import MAPPED, attached, physical_network
from controller.flows.holding import holder
from controller.model.records import (
    GATEWAY,
    Address,
    Chassis,
    Drained,
    FloatingIp,
    Network,
    Port,
    PortForwarding,
    Recovering,
    Router,
    Translation,
)
from controller.model.translations import translation_id
from controller.model.view import Relation, View


def _exits(view: View, chassis: Chassis) -> Iterator[tuple[str, Exit]]:
    wanted = chassis.gateway_priority is not None and view.get(Drained, chassis.id) is None
    if wanted and chassis.encap_ip and not chassis.problem:
        for physical, _ in chassis.bridge_mappings:
            yield (
                physical,
                Exit(
                    view.get(Recovering, chassis.id) is not None,
                    chassis.gateway_priority or 0,
                    chassis.id,
                    chassis.availability_zone,
                ),
            )


def _routers_outside(view: View, router: Router) -> Iterator[tuple[str, str]]:
    for chassis in view.derive(gateways, router.id):
        yield router.external_network_id, chassis


def _floating_outside(view: View, floating: FloatingIp) -> Iterator[tuple[str, str]]:
    for chassis in view.derive(translated, floating.id).chassis:
        yield floating.floating_network_id, chassis


def _router_zones(view: View, router: Router) -> Iterator[tuple[str, tuple[str, str]]]:
    what = gateway_translation(view, router.id)
    for chassis in view.derive(gateways, router.id) if what else ():
        if what and view.get(Translation, translation_id(chassis, what)) is None:
            yield "", (chassis, what)


def _floating_zones(view: View, floating: FloatingIp) -> Iterator[tuple[str, tuple[str, str]]]:
    what = floating_translation(floating)
    for chassis in view.derive(translated, floating.id).chassis if floating.port_id else ():
        if view.get(Translation, translation_id(chassis, what)) is None:
            yield "", (chassis, what)


def _idle(view: View, translation: Translation) -> Iterator[tuple[str, str]]:
    if not view.derive(is_translated, (translation.chassis, translation.what)):
        yield "", translation.id


class Exit(NamedTuple):
    """A chassis that may be a gateway."""

    recovers: bool
    priority: int
    chassis: str
    zone: str


EXITS: Relation[str, Exit] = Relation("exits", Chassis, _exits)
"""By physical network: the chassis that routers may have their gateways on."""
ROUTERS_OUTSIDE: Relation[str, str] = Relation("routers_outside", Router, _routers_outside)
FLOATING_OUTSIDE: Relation[str, str] = Relation("floating_outside", FloatingIp, _floating_outside)
"""By external network: the chassis where routers, or floating IPs, meet it."""
ROUTER_ZONES: Relation[str, tuple[str, str]] = Relation("router_zones", Router, _router_zones)
FLOATING_ZONES: Relation[str, tuple[str, str]] = Relation("floating_zones", FloatingIp, _floating_zones)
"""Under "": where, and for what, a zone to translate in is still to be handed out."""
IDLE: Relation[str, str] = Relation("idle", Translation, _idle)
"""The translations, under "", that nobody needs any more."""
MOST_GATEWAYS: Final = 4
"""So many hypervisors stand by for one router: each holds all that its router reaches."""


def gateways(view: View, router_id: str) -> tuple[str, ...]:
    """The chassis that take a router's packets to the outside, the best first; none while there is no way out.

    They are ranked by `weft-gateway-priority`; of one priority each router has another order, so that routers are
    spread over them. One that has just come, or come back, is behind the others for a while (`Recovering`). A router
    with `availability_zone_hints` has those of these zones alone, and none if they have none (Neutron, OVN driver,
    `get_candidates_for_scheduling`).
    """
    router = view.get(Router, router_id)
    port = gateway_port(view, router_id)
    if router is None or not router.admin_state_up or port is None or not port.admin_state_up:
        return ()
    network = view.get(Network, router.external_network_id)
    physical = physical_network(view, router.external_network_id)
    if network is None or not network.admin_state_up or physical is None:
        return ()
    zones = router.availability_zone_hints
    exits = [each for each in view.gather(EXITS, physical) if not zones or each.zone in zones]
    found = sorted((each.recovers, -each.priority, _spread(router_id, each.chassis), each.chassis) for each in exits)
    return tuple(chassis for *_, chassis in found[:MOST_GATEWAYS])


def _spread(router_id: str, chassis: str) -> str:
    return sha256(f"{router_id}/{chassis}".encode()).hexdigest()


def gateway_chassis(view: View, router_id: str) -> frozenset[str]:
    """The same, in no order."""
    return frozenset(view.derive(gateways, router_id))


def gateway_port(view: View, router_id: str) -> Port | None:
    """The port that holds the addresses of a router on its external network."""
    found = (port for port in view.where(Port, device_id=router_id) if port.device_owner == GATEWAY)
    return next(found, None)


def own_address(view: View, router_id: str) -> Address | None:
    """The IPv4 address of a router on its external network, under which guests go out."""
    port = gateway_port(view, router_id)
    found = (ip.ip_address for ip in port.fixed_ips if ":" not in ip.ip_address) if port else ()
    return next(iter(found), None)


@dataclass(frozen=True, slots=True)
class Translated:
    """Where a floating IP is translated, the best first: on its guest's own hypervisor (`distributed`), or, if that is
    not on the wire, at the gateways of its router. Nowhere, while nobody has it."""

    chassis: tuple[str, ...] = ()
    distributed: bool = False


def translated(view: View, floating_id: str) -> Translated:
    """Where a floating IP is translated now; it follows whoever holds the address that it stands for (`holder`)."""
    floating = view.get(FloatingIp, floating_id)
    router = view.get(Router, floating.router_id) if floating else None
    if floating is None or router is None or not router.admin_state_up:
        return Translated()
    if router.external_network_id != floating.floating_network_id:
        return Translated()
    if not floating.port_id:
        forwards = view.where(PortForwarding, floatingip_id=floating_id)
        return Translated(view.derive(gateways, router.id)) if forwards else Translated()
    port = view.get(Port, floating.port_id)
    held = holder(view, port.network_id, floating.fixed_ip_address) if port and floating.fixed_ip_address else None
    placed = attached(view, held.id) if held else None
    if placed is None:
        return Translated()
    physical = physical_network(view, floating.floating_network_id)
    if physical is not None and placed.chassis in view.gather(MAPPED, physical):
        return Translated((placed.chassis,), distributed=True)
    return Translated(view.derive(gateways, router.id))


def floating_chassis(view: View, floating_id: str) -> frozenset[str]:
    """The chassis where a floating IP is translated, or may be."""
    return frozenset(view.derive(translated, floating_id).chassis)


def gateway_translation(view: View, router_id: str) -> str | None:
    """What the connections of a router are remembered as at its gateways; None while it translates nothing.

    Another address of the gateway's would be another translation, and so is it if guests go out untranslated.
    """
    router, address = view.get(Router, router_id), own_address(view, router_id)
    if router is None or address is None:
        return None
    return f"router/{router.id}/{address}" if router.enable_snat else f"router/{router.id}/{address}/routed"


def floating_translation(floating: FloatingIp) -> str:
    """What the connections of a floating IP are remembered as, as long as it stands for the same."""
    return f"floatingip/{floating.id}/{floating.router_id}/{floating.port_id}/{floating.fixed_ip_address}"


def is_translated(view: View, place: tuple[str, str]) -> bool:
    """Is anything translated on a chassis that is remembered as this?"""
    chassis, what = place
    kind, id, *_ = what.split("/")
    if kind == "router":
        return chassis in view.derive(gateways, id) and what == gateway_translation(view, id)
    floating = view.get(FloatingIp, id)
    if floating is None or not floating.port_id or what != floating_translation(floating):
        return False
    return chassis in view.derive(translated, id).chassis


def zone_of(view: View, chassis: str, what: str | None) -> int | None:
    """The conntrack zone in which a chassis translates for something; None until it has one."""
    found = view.get(Translation, translation_id(chassis, what)) if what else None
    return found.zone if found else None
