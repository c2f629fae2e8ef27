"""`/v2.0/floatingips` (api-ref, "Floating IPs", fip-port-details, expose-port-forwarding-in-fip,
floating-ip-router-writable).

A floating IP holds an IPv4 address of an external network by a port that nobody owns, and stands for one address of one
port, for none, or for what its port forwardings lead to (`port_forwardings`).
"""

from __future__ import annotations

from dataclasses import replace

from controller.errors import AlreadyAssociated, ForwardingsRemain, NoExternalAddress, NoGateway, Senseless
from controller.model.ipam import Wanted
from controller.model.records import Address, FixedIp, FloatingIp, Network, Port, PortForwarding, Router, Subnet
from controller.model.store import Transaction
from northbound.resources import associations, dns, ports, values
from northbound.resources.attributes import Ask, Attribute, Body, Collection, Filter, Scene, equal, indexed, one
from northbound.resources.schemas import STRING, list_of, nullable
from northbound.resources.standard import common, network_of
from northbound.resources.values import Json

DHCP = "network:dhcp"
"""The owner of the ports that Neutron serves no floating IP (neutron, `is_fip_serviced`)."""

NETWORK: Attribute[FloatingIp, str] = network_of(FloatingIp, "floating_network_id")
ADDRESS: Attribute[FloatingIp, Address | None] = Attribute(
    name="floating_ip_address",
    parse=values.or_none(values.address),
    post=True,
    default=None,
    show=lambda _, floating_ip: floating_ip.floating_ip_address,
    filter=Filter(
        equal(values.address_or_text),
        lambda rows, given: [
            found
            for address in {values.address_or_text(each) for each in given}
            for found in rows.where(FloatingIp, floating_ip_address=address)
        ],
    ),
    sort=True,
)
SUBNET: Attribute[FloatingIp, str | None] = Attribute(
    name="subnet_id", parse=values.or_none(values.uuid), post=True, default=None, hidden=True
)
PORT: Attribute[FloatingIp, str | None] = Attribute(
    name="port_id",
    parse=values.or_none(values.uuid),
    post=True,
    put=True,
    default=None,
    show=lambda _, floating_ip: floating_ip.port_id or None,
    filter=Filter(equal(), indexed(FloatingIp, "port_id")),
    names=one(Port),
)
FIXED: Attribute[FloatingIp, Address | None] = Attribute(
    name="fixed_ip_address",
    parse=values.or_none(values.address),
    post=True,
    put=True,
    default=None,
    show=lambda _, floating_ip: floating_ip.fixed_ip_address,
    filter=Filter(equal(values.address_or_text)),
    sort=True,
)
ROUTER: Attribute[FloatingIp, str | None] = Attribute(
    name="router_id",
    parse=values.or_none(values.uuid),
    post=True,
    put=True,
    default=None,
    show=lambda _, floating_ip: floating_ip.router_id or None,
    filter=Filter(equal(), indexed(FloatingIp, "router_id")),
    sort=True,
    names=one(Router),
)


def create(tx: Transaction, body: Body, ask: Ask) -> FloatingIp:
    """Raises NotFound, Senseless, NoExternalAddress, NoMac, PortForwards, AlreadyAssociated, NoWayOut, NoGateway, and
    what `ipam.assign` raises."""
    network = tx.need(Network, body[NETWORK])
    if not network.external:
        raise Senseless("floatingip", f"Network {network.id} is not a valid external network")
    if not any(subnet.ip_version == 4 for subnet in tx.where(Subnet, network_id=network.id)):
        raise Senseless("floatingip", f"Network {network.id} does not contain any IPv4 subnet")
    subnet, address = body[SUBNET], body[ADDRESS]
    wanted = [Wanted(subnet, address)] if subnet or address else None
    port = ports.make_floating(tx, ask.id, network, wanted, ask)
    held = _ipv4(port)
    if not held:
        raise NoExternalAddress(network.id)
    floating_ip = FloatingIp(
        **ask.stamp(), **body.fields, floating_ip_address=held[0].ip_address, floating_port_id=port.id
    )
    tx.tag("floatingip", floating_ip.id)
    return tx.insert(_associated(tx, floating_ip, body, ask))


def update(tx: Transaction, old: FloatingIp, new: FloatingIp, body: Body, ask: Ask) -> FloatingIp:
    """To change nothing lets go of the port, as when there was nothing else to change (neutron,
    `_check_and_get_fip_assoc`).

    Raises NotFound, Senseless, PortForwards, ForwardingsRemain, AlreadyAssociated, NoWayOut, NoGateway.
    """
    return ask.save(tx, old, _associated(tx, new, body, ask) if body.given else _alone(tx, new))


def _associated(tx: Transaction, floating_ip: FloatingIp, body: Body, ask: Ask) -> FloatingIp:
    """What it stands for once it is as was asked; what was not mentioned stays."""
    port_id, address = body[PORT], body[FIXED]
    if ROUTER in body and PORT not in body and floating_ip.port_id:  # the same, by another router
        port_id, address = floating_ip.port_id, floating_ip.fixed_ip_address
    if port_id is None:
        for attribute in (FIXED, ROUTER):
            if body[attribute] is not None:
                raise _senseless(f"{attribute.name} cannot be specified without a port_id")
        return _alone(tx, floating_ip) if PORT in body else floating_ip
    associations.check_forwards_nothing(tx, port_id)
    port = tx.need(Port, port_id)
    ip = _stood_for(floating_ip, port, address, ask)
    router_id = _router(tx, body[ROUTER], port, ip, floating_ip.floating_network_id)
    made = replace(floating_ip, port_id=port.id, fixed_ip_address=ip.ip_address, router_id=router_id)
    for key in made.association:
        if any(other.id != made.id for other in tx.where(FloatingIp, association=key)):
            raise AlreadyAssociated(made.floating_ip_address, made.id, port.id, ip.ip_address, made.floating_network_id)
    if associations.forwards(tx, made):
        raise ForwardingsRemain(made.id)
    return made


def _router(tx: Transaction, chosen: str | None, port: Port, ip: FixedIp, network_id: str) -> str:
    """The id of the router that translates: the one that was chosen, which routes may lead to by way of others, or that
    which joins the port's subnet to the floating IP's network. Raises NoGateway, NoWayOut, NotFound."""
    if chosen is None:
        return associations.way_out(tx, port, ip.subnet_id, network_id)
    if tx.need(Router, chosen).external_network_id != network_id:
        raise NoGateway(chosen, network_id)
    return chosen


def _alone(tx: Transaction, floating_ip: FloatingIp) -> FloatingIp:
    """It stands for no port; with port forwardings it stays at its router."""
    router_id = floating_ip.router_id if associations.forwards(tx, floating_ip) else ""
    return replace(floating_ip, port_id="", fixed_ip_address=None, router_id=router_id)


def _stood_for(floating_ip: FloatingIp, port: Port, address: Address | None, ask: Ask) -> FixedIp:
    """The address of a port that was named, or the only one that it can be. Raises Senseless."""
    if port.project_id != floating_ip.project_id and not ask.is_admin:
        raise _senseless(
            f"Cannot process floating IP association with Port {port.id}, since that port is owned by a different "
            "project"
        )
    if port.device_owner == DHCP:
        raise _senseless(f"Port {port.id} is unable to be assigned a floating IP")
    if address is not None:
        return _held(port, address)
    candidates = _ipv4(port)
    if not candidates:
        raise _senseless(f"Cannot add floating IP to port {port.id} that has no fixed IPv4 addresses")
    if len(candidates) > 1:
        raise _senseless(
            f"Port {port.id} has multiple fixed IPv4 addresses.  Must provide a specific IPv4 address when assigning a "
            "floating IP"
        )
    return candidates[0]


def _held(port: Port, address: Address) -> FixedIp:
    if ":" in address:
        raise _senseless(f"Cannot process floating IP association with {address}, since that is not an IPv4 address")
    for ip in port.fixed_ips:
        if ip.ip_address == address:
            return ip
    raise _senseless(f"Port {port.id} does not have fixed ip {address}")


def _senseless(reason: str) -> Senseless:
    return Senseless("floatingip", reason)


def _ipv4(port: Port) -> list[FixedIp]:
    return [ip for ip in port.fixed_ips if ":" not in ip.ip_address]


def delete(tx: Transaction, floating_ip: FloatingIp, _: Ask) -> None:
    """Raises ForwardingsRemain."""
    associations.remove_floating_ip(tx, floating_ip)


def _details(scene: Scene, floating_ip: FloatingIp) -> Json:
    """The port that it stands for."""
    port = scene.rows.get(Port, floating_ip.port_id)
    if port is None:
        return None
    return {
        "name": port.name,
        "network_id": port.network_id,
        "mac_address": port.mac_address,
        "admin_state_up": port.admin_state_up,
        "status": scene.wiring.port_status(port),
        "device_id": port.device_id,
        "device_owner": port.device_owner,
    }


def _forwarded(scene: Scene, floating_ip: FloatingIp) -> Json:
    """Its port forwardings in short; a range of ports has no place here (Neutron, `_extend_floatingip_dict`)."""
    found: list[Json] = []
    for each in scene.rows.where(PortForwarding, floatingip_id=floating_ip.id):
        told: dict[str, Json] = {
            "id": each.id,
            "protocol": each.protocol,
            "internal_port_id": each.internal_port_id,
            "internal_ip_address": each.internal_ip_address,
        }
        if each.external_port_first == each.external_port_last:
            told["external_port"] = each.external_port_first
        if each.internal_port_first == each.internal_port_last:
            told["internal_port"] = each.internal_port_first
        found.append(told)
    return found


FLOATING_IPS: Collection[FloatingIp] = Collection(
    "floatingip",
    FloatingIp,
    (
        *common(FloatingIp, name=None),
        NETWORK,
        ADDRESS,
        SUBNET,
        ROUTER,
        PORT,
        FIXED,
        dns.FLOATING_NAME,
        dns.FLOATING_DOMAIN,
        Attribute(
            name="status",
            schema=STRING,
            show=lambda scene, floating_ip: scene.wiring.floatingip_status(floating_ip),
            filter=Filter(equal()),
            sort=True,
        ),
        Attribute(name="port_details", schema=nullable({"type": "object"}), show=_details),
        Attribute(name="port_forwardings", schema=list_of({"type": "object"}), show=_forwarded),
    ),
    create,
    update,
    delete,
)
