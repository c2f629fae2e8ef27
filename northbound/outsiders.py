"""Hosts of physical networks that nobody here runs, as senders of traced packets: where they are, and how they begin.

A host is told by its address. It is on the network of a wire that has a subnet with that address; one that is on none
is somewhere behind the external network by which its target is reached. What is not on its network it sends to the
router there that leads to it, as somebody must have told it (a static route), else to its subnet's gateway.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from controller.errors import Invalid
from controller.model.addresses import block
from controller.model.records import GATEWAY, ROUTER_INTERFACES, Address, FloatingIp, Network, Port, Router, Subnet
from controller.model.store import Rows
from northbound.sending import Outsider, Question, Way, find_port, one_receiver, parsed, source_of


def outsider_of(rows: Rows, asked: Question) -> Outsider | None:
    """The host that an address is; None if the sender is a port. Raises Invalid, NotFound, Ambiguous."""
    if parsed(asked.sender) is None:
        return None
    address = one_receiver("from", asked.sender)
    target = target_of(rows, asked, address)
    near = [network for network in _on_wires(rows, address) if _holds(rows, network, address)]
    leading = [*_leading(rows, target)]
    network = next((each for each in near if each in leading), None) or next(iter(near or leading), None)
    if network is None or network.physical_network is None:
        raise Invalid("from", f"{address} is on no physical network, and no external network leads from it to {target}")
    if owners := rows.where(Port, reservations=(network.id, address)):
        raise Invalid("from", f"{address} is an address of port {owners[0].id}: say that it sends")
    return Outsider(network, network.physical_network, address)


def target_of(rows: Rows, asked: Question, address: Address) -> Address:
    """The address that is meant; of a port its floating IP, else its own. Raises as `outsider_of`."""
    if parsed(asked.target) is not None:
        target = one_receiver("to", asked.target)
        if (":" in target) != (":" in address):
            raise Invalid("to", f"{target} is not of the IP version of {address}")
        return target
    port = find_port(rows, asked.target)
    floating = [each.floating_ip_address for each in rows.where(FloatingIp, port_id=port.id)]
    own = [ip.ip_address for ip in port.fixed_ips]
    for found in (*floating, *own):
        if (":" in found) == (":" in address):
            return found
    raise Invalid("to", f"port {asked.target} has no address of the IP version of {address}")


def way_in(rows: Rows, outsider: Outsider, asked: Question) -> Way:
    """How its packet begins. Raises as `outsider_of`."""
    target = target_of(rows, asked, outsider.address)
    version = 6 if ":" in target else 4
    subnets = [each for each in rows.where(Subnet, network_id=outsider.network.id) if each.ip_version == version]
    home = next((each for each in subnets if _is_in(outsider.address, each)), None)
    gateways = [each.gateway_ip for each in subnets if each.gateway_ip]
    source = source_of(asked, version) or outsider.address
    asker = outsider.address if home or not gateways else gateways[0]
    if any(_is_in(target, each) for each in subnets):
        return Way(source, target, target, asker)
    default = home.gateway_ip if home and home.gateway_ip != outsider.address else None
    return Way(source, target, next(_routers(rows, outsider.network, target), default), asker)


def _routers(rows: Rows, network: Network, target: Address) -> Iterator[Address]:
    """The addresses of routers on a network that lead to an address."""
    for port in rows.where(Port, network_id=network.id):
        if port.device_owner == GATEWAY or port.device_owner in ROUTER_INTERFACES:
            joined = [each for each in rows.where(Port, device_id=port.device_id) if each.id != port.id]
            subnets = [rows.get(Subnet, ip.subnet_id) for each in joined for ip in each.fixed_ips]
            if any(subnet and _is_in(target, subnet) for subnet in subnets):
                yield from (ip.ip_address for ip in port.fixed_ips if (":" in ip.ip_address) == (":" in target))


def _on_wires(rows: Rows, address: Address) -> Iterator[Network]:
    """The networks of physical networks that have a subnet with an address."""
    found = (rows.get(Network, subnet.network_id) for subnet in rows.all(Subnet) if _is_in(address, subnet))
    return (network for network in found if network is not None and network.physical_network is not None)


def _holds(rows: Rows, network: Network, address: Address) -> bool:
    """May somebody of a network have an address?"""
    return any(_is_in(address, subnet) for subnet in rows.where(Subnet, network_id=network.id))


def _leading(rows: Rows, target: Address) -> Iterator[Network]:
    """The external networks by which an address is reached from outside."""
    for network in rows.where(Network, external=True):
        if network.physical_network is None:
            continue
        ways = [
            port
            for router in rows.where(Router, external_network_id=network.id)
            for port in rows.where(Port, device_id=router.id)
            if port.device_owner != GATEWAY
        ]
        inside = (rows.get(Subnet, ip.subnet_id) for port in ways for ip in port.fixed_ips)
        if _holds(rows, network, target) or any(subnet and _is_in(target, subnet) for subnet in inside):
            yield network


def _is_in(address: Address, subnet: Subnet) -> bool:
    ip = ip_address(address)
    return block(subnet.cidr).holds(ip.version, int(ip))
