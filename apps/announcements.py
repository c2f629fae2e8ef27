"""Announcements: the wire is told where an address of the outside is now (RFC 5227 section 3, RFC 4861 section 7.2.6).

Where a floating IP is translated from now on, there it is announced, and nowhere else; of a router's gateways the first
announces the router's addresses. A gateway that takes over because a better one is dead says nothing: that is not for
the controller to do, which may be dead, too. Its first packet tells the switches on the wire.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.flows.app import app
from controller.flows.attachment import jack
from controller.flows.frames import announcement, tagged
from controller.flows.punted import Said
from controller.flows.ways_out import gateway_port, gateways
from controller.flows.ways_out import translated as whereabouts
from controller.model.records import (
    Address,
    Chassis,
    Drained,
    FloatingIp,
    Mac,
    Network,
    Port,
    PortForwarding,
    Record,
    Recovering,
    Router,
    Translation,
)
from controller.model.view import View

TIMES = 3
"""How often each is told, a second apart: the first may be lost."""


def translated(view: View, old: Record | None, new: Record | None) -> Iterator[Said]:
    """Something is translated on a chassis from now on."""
    if not isinstance(new, Translation):
        return
    kind, id, *_ = new.what.split("/")
    floating = view.get(FloatingIp, id)
    if kind == "router":
        yield from gateway(view, id, new.chassis)
    elif floating is not None:
        yield from floats(view, floating, new.chassis)


def forwarded(view: View, old: Record | None, new: Record | None) -> Iterator[Said]:
    """A floating IP has a port forwarding, which its router's gateway translates: perhaps its first."""
    floating = view.get(FloatingIp, new.floatingip_id) if isinstance(new, PortForwarding) and old is None else None
    if floating is not None:
        yield from floats(view, floating)


def floats(view: View, floating: FloatingIp, chassis: str | None = None) -> Iterator[Said]:
    """Where a floating IP is, if that is this chassis, or whichever it is."""
    port = view.get(Port, floating.floating_port_id)
    for first in view.derive(whereabouts, floating.id).chassis[:1] if port else ():
        if port and chassis in (None, first):
            address, mac = floating.floating_ip_address, port.mac_address
            yield from told(view, first, floating.floating_network_id, address, mac)


def ranked(view: View, old: Record | None, new: Record | None) -> Iterator[Said]:
    """Hypervisors are wanted as gateways otherwise than before: whoever is the first now may be another one."""
    if isinstance(old, Chassis) and isinstance(new, Chassis) and wanted(old) == wanted(new):
        return
    for network in view.where(Network, external=True):
        for router in view.where(Router, external_network_id=network.id):
            for first in view.derive(gateways, router.id)[:1]:
                yield from gateway(view, router.id, first)


def wanted(chassis: Chassis) -> tuple[object, ...]:
    """What a hypervisor's rank among gateways follows from."""
    named = (chassis.gateway_priority, chassis.availability_zone)
    return (*named, chassis.bridge_mappings, bool(chassis.problem), chassis.encap_ip)


def gateway(view: View, router: str, chassis: str) -> Iterator[Said]:
    """The addresses of a router's gateway, if it is there first, and floating IPs that it translates."""
    port = gateway_port(view, router)
    if port is None or view.derive(gateways, router)[:1] != (chassis,):
        return
    for ip in port.fixed_ips:
        yield from told(view, chassis, port.network_id, ip.ip_address, port.mac_address)
    for floating in view.where(FloatingIp, router_id=router):
        if not view.derive(whereabouts, floating.id).distributed:
            yield from floats(view, floating, chassis)


def told(view: View, chassis: str, network: str, address: Address, mac: Mac) -> Iterator[Said]:
    """To the wire of a network, an address is at a MAC address."""
    out = jack(view, chassis, network)
    if out is not None:
        number, vlan = out
        yield Said(chassis, (number,), tagged(announcement(address, mac, router=":" in address), vlan), TIMES)


APP = app(
    "announcements",
    heralds={
        Translation: translated,
        PortForwarding: forwarded,
        Drained: ranked,
        Recovering: ranked,
        Chassis: ranked,
    },
)
