"""What floating IPs and port forwardings stand for, whoever changes the ports, routers and networks they go by.

A floating IP is at the router that joins the subnet of what it stands for to the floating IP's network. So that this
stays true, neither the interface nor the gateway goes while a floating IP needs it; a port that goes takes its
associations and the port forwardings to it along.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from controller.errors import (
    AssociatedByOthers,
    ForwardingsRemain,
    InterfaceInUseByFloatingIp,
    NoWayOut,
    PortForwards,
    Senseless,
)
from controller.model import ipam, translations
from controller.model.records import Address, FloatingIp, Port, PortForwarding, Router, Subnet
from controller.model.store import Transaction
from northbound.resources.attributes import Ask


def way_out(tx: Transaction, port: Port, subnet_id: str, network_id: str) -> str:
    """The id of the router that joins a subnet of `port` to an external network, of several the subnet's gateway.

    Raises NoWayOut, NotFound.
    """
    subnet = tx.need(Subnet, subnet_id)
    found = []
    for door in tx.where(Port, joined=subnet.id):
        router = tx.get(Router, door.device_id)
        if router is not None and router.external_network_id == network_id:
            is_gateway = any(ip.ip_address == subnet.gateway_ip for ip in door.fixed_ips)
            found.append((not is_gateway, door.id, router.id))
    if not found:
        raise NoWayOut(network_id, subnet.id, port.id)
    return min(found)[2]


def forwards(tx: Transaction, floating_ip: FloatingIp) -> bool:
    """Whether a floating IP has port forwardings."""
    return tx.holds(PortForwarding, floatingip_id=floating_ip.id)


def check_forwards_nothing(tx: Transaction, port_id: str) -> None:
    """No port forwarding leads to a port: a floating IP would answer for it. Raises PortForwards."""
    if tx.holds(PortForwarding, internal_port_id=port_id):
        raise PortForwards(port_id)


def check_needless(tx: Transaction, router: Router, gone: Iterable[str]) -> None:
    """No floating IP stands for an address of the subnets that a router leaves. Raises InterfaceInUseByFloatingIp."""
    left = set(gone)
    for floating_ip in tx.where(FloatingIp, router_id=router.id):
        for port_id, address in _targets(tx, floating_ip):
            port = tx.get(Port, port_id)
            for ip in port.fixed_ips if port else ():
                if ip.ip_address == address and ip.subnet_id in left:
                    raise InterfaceInUseByFloatingIp(router.id, ip.subnet_id)


def _targets(tx: Transaction, floating_ip: FloatingIp) -> Iterable[tuple[str, Address]]:
    """The ports, and the addresses of theirs, that a floating IP stands for."""
    if floating_ip.fixed_ip_address is not None:
        yield floating_ip.port_id, floating_ip.fixed_ip_address
    for each in tx.where(PortForwarding, floatingip_id=floating_ip.id):
        yield each.internal_port_id, each.internal_ip_address


def follow(tx: Transaction, old: Port, new: Port, ask: Ask) -> None:
    """A port has other addresses: those with a floating IP stay, port forwardings to others go. Raises Senseless."""
    if old.fixed_ips == new.fixed_ips:
        return
    kept = {ip.ip_address for ip in new.fixed_ips}
    if any(each.fixed_ip_address not in kept for each in tx.where(FloatingIp, port_id=new.id)):
        raise Senseless(
            "port",
            f"Cannot update the fixed_ips of the port {new.id}, because its original fixed_ip has been associated to "
            "a floating ip",
        )
    _forward_only(tx, new.id, kept, ask)


def leave(tx: Transaction, port: Port, ask: Ask) -> None:
    """A port goes, and nothing stands for it any more. Raises AssociatedByOthers."""
    for floating_ip in tx.where(FloatingIp, port_id=port.id):
        if not ask.is_admin and floating_ip.project_id != ask.project_id:
            raise AssociatedByOthers(port.id)
        ask.save(tx, floating_ip, replace(floating_ip, port_id="", fixed_ip_address=None, router_id=""))
    _forward_only(tx, port.id, (), ask)


def _forward_only(tx: Transaction, port_id: str, kept: Collection[Address], ask: Ask) -> None:
    for each in tx.where(PortForwarding, internal_port_id=port_id):
        if each.internal_ip_address not in kept:
            remove_forwarding(tx, each, ask)


def remove_forwarding(tx: Transaction, forwarding: PortForwarding, ask: Ask) -> None:
    """Its floating IP is at no router when it was the last one."""
    tx.delete(PortForwarding, forwarding.id)
    floating_ip = tx.need(FloatingIp, forwarding.floatingip_id)
    translations.sever(tx, floating_ip, forwarding)
    router_id = floating_ip.router_id if forwards(tx, floating_ip) else ""
    ask.touch(tx, replace(floating_ip, router_id=router_id))


def remove_floating_ip(tx: Transaction, floating_ip: FloatingIp) -> None:
    """Its address can be given to others. Raises ForwardingsRemain."""
    if forwards(tx, floating_ip):
        raise ForwardingsRemain(floating_ip.id)
    tx.delete(FloatingIp, floating_ip.id)
    tx.untag("floatingip", floating_ip.id)
    port = tx.need(Port, floating_ip.floating_port_id)
    tx.delete(Port, port.id)
    tx.untag("port", port.id)
    ipam.release(tx, port)


def remove_idle(tx: Transaction, network_id: str) -> None:
    """A network goes, and the floating IPs that nobody uses with it (Neutron, `delete_disassociated_floatingips`)."""
    for floating_ip in tx.where(FloatingIp, floating_network_id=network_id):
        if not floating_ip.router_id:
            remove_floating_ip(tx, floating_ip)
