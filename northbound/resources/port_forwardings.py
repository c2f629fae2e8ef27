"""`/v2.0/floatingips/ID/port_forwardings` (api-ref, "Floating IPs port forwarding", with its port ranges).

TCP or UDP ports of a floating IP stand for ports of fixed addresses behind one router. A floating IP that has any
stands for nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from controller.errors import AlreadyAssociated, HasFloatingIp, NotFound, NoWayOut, Senseless
from controller.model import translations
from controller.model.records import Address, FixedIp, FloatingIp, Port, PortForwarding
from controller.model.store import Rows, Transaction
from northbound.resources import associations, values
from northbound.resources.attributes import Ask, Attribute, Body, Collection, Filter, Source, equal, need, one
from northbound.resources.schemas import STRING, UUID
from northbound.resources.standard import PROJECT
from northbound.resources.values import Json

PROTOCOLS = ("tcp", "udp")
"""What has ports that a router translates."""

Range = tuple[int, int]


def _port(name: str, of: Callable[[PortForwarding], Range]) -> Attribute[PortForwarding, int | None]:
    """One port; nothing when there are several."""

    def show(_: object, forwarding: PortForwarding) -> Json:
        first, last = of(forwarding)
        return first if first == last else None

    return Attribute(
        name=name,
        parse=values.or_none(values.port),
        post=True,
        put=True,
        default=None,
        show=show,
        filter=Filter(equal(values.integer)) if name == "external_port" else None,
        sort=name == "external_port",
    )


def _range(name: str, of: Callable[[PortForwarding], Range]) -> Attribute[PortForwarding, Range | None]:
    return Attribute(
        name=name,
        parse=values.or_none(values.port_range),
        post=True,
        put=True,
        default=None,
        schema=STRING,
        show=lambda _, forwarding: _said(of(forwarding)),
        filter=Filter(equal(_range_or_text)) if name == "external_port_range" else None,
        sort=name == "external_port_range",
    )


def _said(ports: Range) -> str:
    return f"{ports[0]}:{ports[1]}"


def _range_or_text(given: str) -> str:
    """A filter's value: a range as it is shown, or what cannot match."""
    try:
        return _said(values.port_range(given))
    except values.Unfit:
        return given


def _external(forwarding: PortForwarding) -> Range:
    return forwarding.external_port_first, forwarding.external_port_last


def _internal(forwarding: PortForwarding) -> Range:
    return forwarding.internal_port_first, forwarding.internal_port_last


EXTERNAL, EXTERNALS = _port("external_port", _external), _range("external_port_range", _external)
INTERNAL, INTERNALS = _port("internal_port", _internal), _range("internal_port_range", _internal)
ADDRESS: Attribute[PortForwarding, Address] = Attribute(
    name="internal_ip_address", parse=values.address, post=True, put=True, field="internal_ip_address"
)
PORT: Attribute[PortForwarding, str] = Attribute(
    name="internal_port_id",
    parse=values.uuid,
    post=True,
    put=True,
    field="internal_port_id",
    filter=Filter(equal()),
    sort=True,
    names=one(Port),
)


def create(tx: Transaction, body: Body, ask: Ask) -> PortForwarding:
    """Raises Senseless, NotFound, HasFloatingIp, AlreadyAssociated."""
    floating_ip = tx.need(FloatingIp, ask.within)
    external, internal = _asked(body, EXTERNAL, EXTERNALS), _asked(body, INTERNAL, INTERNALS)
    for ports, name in ((external, EXTERNAL.name), (internal, INTERNAL.name)):
        if ports is None:
            raise _senseless(f"Either {name} or {name}_range must be specified")
    fields = {**body.fields, "project_id": floating_ip.project_id}
    made = PortForwarding(**ask.stamp(), **fields, floatingip_id=floating_ip.id, **_ports(external, internal))
    return tx.insert(_checked(tx, floating_ip, made, ask))


def update(tx: Transaction, old: PortForwarding, new: PortForwarding, body: Body, ask: Ask) -> PortForwarding:
    """Raises Senseless, NotFound, HasFloatingIp."""
    new = replace(new, **_ports(_asked(body, EXTERNAL, EXTERNALS), _asked(body, INTERNAL, INTERNALS)))
    if new.internal_port_id != old.internal_port_id and ADDRESS not in body:
        new = replace(new, internal_ip_address=_ipv4(tx.need(Port, new.internal_port_id))[0].ip_address)
    if new == old:
        return old
    floating_ip = tx.need(FloatingIp, old.floatingip_id)
    if replace(new, description=old.description) != old:
        translations.sever(tx, floating_ip, old)
    return ask.save(tx, old, _checked(tx, floating_ip, new, ask))


def _asked(
    body: Body, one: Attribute[PortForwarding, int | None], several: Attribute[PortForwarding, Range | None]
) -> Range | None:
    """The ports that a body names, as one or as a range. Raises Senseless."""
    port, ports = body[one], body[several]
    if port is not None and ports not in (None, (port, port)):
        raise _senseless(f"{one.name} {port} is not the {several.name} {_said(ports)}")
    return (port, port) if port is not None else ports


def _ports(external: Range | None, internal: Range | None) -> dict[str, Any]:
    """The record's attributes for the ports that were named."""
    found: dict[str, Any] = {}
    for name, ports in (("external", external), ("internal", internal)):
        if ports is not None:
            found |= {f"{name}_port_first": ports[0], f"{name}_port_last": ports[1]}
    return found


def _checked(tx: Transaction, floating_ip: FloatingIp, forwarding: PortForwarding, ask: Ask) -> PortForwarding:
    """A port forwarding that can be; its floating IP is at the router then.

    Raises Senseless, NotFound, HasFloatingIp, AlreadyAssociated.
    """
    _check_ports(tx, forwarding)
    port = tx.need(Port, forwarding.internal_port_id)
    for other in tx.where(FloatingIp, port_id=port.id):
        raise HasFloatingIp(other.floating_ip_address, other.id, port.id, forwarding.internal_ip_address)
    if floating_ip.port_id:
        raise AlreadyAssociated(
            floating_ip.floating_ip_address,
            floating_ip.id,
            port.id,
            forwarding.internal_ip_address,
            floating_ip.floating_network_id,
        )
    router_id = _way_out(tx, floating_ip, port, forwarding.internal_ip_address)
    if floating_ip.router_id not in ("", router_id):
        raise _senseless(
            f"The Floating IP {floating_ip.id} had been set on router {floating_ip.router_id}, the internal Neutron "
            f"port {port.id} can not reach it"
        )
    ask.touch(tx, replace(floating_ip, router_id=router_id))
    return forwarding


def _check_ports(tx: Transaction, forwarding: PortForwarding) -> None:
    """No other stands for the same, or is stood for by the same. Raises Senseless."""
    external, internal = _external(forwarding), _internal(forwarding)
    if internal[0] != internal[1] and internal[1] - internal[0] != external[1] - external[0]:
        raise _senseless(
            "Invalid ranges of internal and/or external ports. The relation between internal and external ports must "
            "be N-N or 1-N"
        )
    inside = [
        other
        for other in tx.where(PortForwarding, internal_port_id=forwarding.internal_port_id)
        if other.internal_ip_address == forwarding.internal_ip_address
    ]
    _check_apart(forwarding, inside, INTERNALS.name, _internal)
    _check_apart(
        forwarding, tx.where(PortForwarding, floatingip_id=forwarding.floatingip_id), EXTERNALS.name, _external
    )


def _check_apart(
    forwarding: PortForwarding, others: Sequence[PortForwarding], name: str, of: Callable[[PortForwarding], Range]
) -> None:
    first, last = of(forwarding)
    for other in others:
        low, high = of(other)
        if other.id != forwarding.id and other.protocol == forwarding.protocol and first <= high and low <= last:
            raise _senseless(
                f"There is a port collision with the {name}. The following ranges collide: {_said((low, high))} and "
                f"{_said((first, last))}"
            )


def _way_out(tx: Transaction, floating_ip: FloatingIp, port: Port, address: Address) -> str:
    """The id of the router between a floating IP and an address of a port. Raises Senseless, NotFound."""
    candidates = _ipv4(port)
    inside = next((ip.subnet_id for ip in candidates if ip.ip_address == address), None)
    if inside is None:
        held = [{"subnet_id": ip.subnet_id, "ip_address": ip.ip_address} for ip in candidates]
        raise _senseless(
            f"Requested internal IP address {address} is not suitable for internal neutron port {port.id}, as its "
            f"fixed_ips are {held}"
        )
    try:
        return associations.way_out(tx, port, inside, floating_ip.floating_network_id)
    except NoWayOut:
        raise _senseless(
            f"External network {floating_ip.floating_network_id} is not reachable from subnet {inside}. Cannot set "
            f"Port forwarding for port {port.id} with Floating IP {floating_ip.id}"
        ) from None


def _ipv4(port: Port) -> list[FixedIp]:
    """The addresses of a port that can be stood for. Raises Senseless when there is none."""
    found = [ip for ip in port.fixed_ips if ":" not in ip.ip_address]
    if not found:
        raise _senseless(f"Requested internal port {port.id} must allocate an IPv4 address at least")
    return found


def _senseless(reason: str) -> Senseless:
    return Senseless("port_forwarding", reason)


def delete(tx: Transaction, forwarding: PortForwarding, ask: Ask) -> None:
    """Its floating IP can stand for a port again when it was the last one."""
    associations.remove_forwarding(tx, forwarding, ask)


def _all(rows: Rows, floating_ip: str) -> Sequence[PortForwarding]:
    need(rows, FloatingIp, floating_ip)
    return rows.where(PortForwarding, floatingip_id=floating_ip)


def _one(rows: Rows, floating_ip: str, id: str) -> PortForwarding:
    need(rows, FloatingIp, floating_ip)
    found = need(rows, PortForwarding, id)
    if found.floatingip_id != floating_ip:
        raise NotFound("PortForwarding", id)
    return found


PORT_FORWARDINGS: Collection[PortForwarding] = Collection(
    "port_forwarding",
    PortForwarding,
    (
        Attribute(name="id", field="id", schema=UUID, filter=Filter(equal()), sort=True),
        *(
            Attribute(name=name, parse=PROJECT, post=True, default="", field="project_id", hidden=True)
            for name in ("project_id", "tenant_id")
        ),
        Attribute(
            name="description",
            parse=values.text(1024),
            post=True,
            put=True,
            default="",
            field="description",
            filter=Filter(equal()),
        ),
        Attribute(
            name="protocol",
            parse=values.choice(PROTOCOLS, values.text(40)),
            post=True,
            put=True,
            field="protocol",
            filter=Filter(equal()),
            sort=True,
        ),
        EXTERNAL,
        EXTERNALS,
        INTERNAL,
        INTERNALS,
        ADDRESS,
        PORT,
    ),
    create,
    update,
    delete,
    elsewhere=Source(_all, _one),
    path="floatingips/{within}/port_forwardings",
    whole=FloatingIp,
)
