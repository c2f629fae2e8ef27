"""`/v2.0/ports/ID/bindings` (api-ref, "Port binding"): the hosts that a guest may be on, for its live migration.

The active binding is the port's own (`binding:host_id` and what goes with it); the others wait, and one of them takes
its place by `activate`. Only ports of guests have several.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from controller.errors import AlreadyActive, BindingExists, BindingFailed, NotFound, Senseless
from controller.model.records import Port, PortBinding
from controller.model.store import Rows, Transaction
from northbound.resources import values
from northbound.resources.attributes import (
    Ask,
    Attribute,
    Body,
    Change,
    Collection,
    Filter,
    Operation,
    Source,
    equal,
    need,
)
from northbound.resources.ports import Bound, bind, expected
from northbound.resources.schemas import OBJECT, STRING, one_of
from northbound.resources.standard import PROJECT
from northbound.resources.values import Json

GUESTS = ("compute:", "manila:")
"""How the owners of ports that can have several bindings are called."""


def _port(rows: Rows, id: str) -> Port:
    """Raises NotFound, Senseless."""
    port = need(rows, Port, id)
    if not port.device_owner.startswith(GUESTS):
        raise Senseless("port", f"Invalid port {id}. Operation only valid on compute and shared filesystem ports")
    return port


def _active(rows: Rows, port: Port) -> PortBinding:
    host = bind(rows, port).host
    return PortBinding(
        id=f"{port.id}/{host}",
        project_id=port.project_id,
        port_id=port.id,
        host=host,
        vnic_type=port.vnic_type,
        profile=port.profile,
        active=True,
    )


def _all(rows: Rows, port_id: str) -> Sequence[PortBinding]:
    return (_active(rows, _port(rows, port_id)), *rows.where(PortBinding, port_id=port_id))


def _find(rows: Rows, port_id: str, host: str) -> PortBinding | None:
    return next((each for each in _all(rows, port_id) if each.host == host), None)


def _need(rows: Rows, port_id: str, host: str) -> PortBinding:
    found = _find(rows, port_id, host)
    if found is None:
        raise _absent(port_id, host)
    return found


def _absent(port_id: str, host: str) -> NotFound:
    return NotFound("PortBinding", host, f"Binding for port {port_id} for host {host} could not be found.")


def _vif(rows: Rows, binding: PortBinding) -> Bound:
    """How the guest is plugged there, or would be."""
    port = need(rows, Port, binding.port_id)
    return bind(rows, port) if binding.active else expected(rows, port, binding.host)


def _checked(rows: Rows, binding: PortBinding) -> PortBinding:
    """A binding to a host that the port can be on. Raises BindingFailed."""
    port = need(rows, Port, binding.port_id)
    if expected(rows, port, binding.host).vif_type == "binding_failed":
        raise BindingFailed(binding.port_id, binding.host)
    return binding


def create(tx: Transaction, body: Body, ask: Ask) -> PortBinding:
    """Raises NotFound, Senseless, BindingExists, BindingFailed."""
    port = _port(tx, ask.within)
    if _find(tx, port.id, body[HOST]) is not None:
        raise BindingExists(port.id, body[HOST])
    fields = {**body.fields, "project_id": port.project_id}
    binding = PortBinding(**{**ask.stamp(), **fields, "id": f"{port.id}/{body[HOST]}"}, port_id=port.id)
    ask.touch(tx, port)
    return tx.insert(_checked(tx, binding))


def update(tx: Transaction, old: PortBinding, new: PortBinding, body: Body, ask: Ask) -> PortBinding:
    """A profile that is not named is cleared, as by Neutron. Raises BindingExists, BindingFailed."""
    port = _port(tx, old.port_id)
    if new.host != old.host and _find(tx, port.id, new.host) is not None:
        raise BindingExists(port.id, new.host)
    changed = replace(new, id=f"{port.id}/{new.host}", profile=body[PROFILE])
    if changed == old:
        return old
    _checked(tx, changed)
    if old.active:
        return _place(tx, port, changed, ask)
    ask.touch(tx, port)
    tx.delete(PortBinding, old.id)
    return tx.insert(changed)


def _place(tx: Transaction, port: Port, binding: PortBinding, ask: Ask) -> PortBinding:
    """Have the port be where a binding says."""
    changed = replace(port, host=binding.host, vnic_type=binding.vnic_type, profile=binding.profile)
    return _active(tx, ask.touch(tx, changed))


def delete(tx: Transaction, binding: PortBinding, ask: Ask) -> None:
    """Without its active binding a port is nowhere, until it is bound anew."""
    port = _port(tx, binding.port_id)
    if binding.active:
        ask.touch(tx, replace(port, host="", profile="{}"))
    else:
        tx.delete(PortBinding, binding.id)
        ask.touch(tx, port)


def _activate(_: str, __: Mapping[str, Json]) -> Change[PortBinding]:
    def activate(tx: Transaction, binding: PortBinding, ask: Ask) -> PortBinding:
        """Raises AlreadyActive, BindingFailed."""
        if binding.active:
            raise AlreadyActive(binding.port_id, binding.host)
        port = _port(tx, binding.port_id)
        before = _active(tx, port)
        tx.delete(PortBinding, _checked(tx, binding).id)
        if before.host:
            tx.insert(replace(before, active=False))
        return _place(tx, port, binding, ask)

    return activate


HOST: Attribute[PortBinding, str] = Attribute(
    name="host", parse=values.given_name, post=True, put=True, field="host", filter=Filter(equal())
)
PROFILE: Attribute[PortBinding, str] = Attribute(
    name="profile",
    parse=values.profile,
    post=True,
    put=True,
    default="{}",
    field="profile",
    show=lambda _, binding: json.loads(binding.profile),
)

PORT_BINDINGS: Collection[PortBinding] = Collection(
    "binding",
    PortBinding,
    (
        HOST,
        Attribute(
            name="vif_type",
            schema=STRING,
            show=lambda scene, binding: _vif(scene.rows, binding).vif_type,
            filter=Filter(equal()),
        ),
        Attribute(
            name="vif_details",
            schema=OBJECT,
            show=lambda scene, binding: _vif(scene.rows, binding).details,
        ),
        Attribute(
            name="vnic_type",
            parse=values.choice(("normal",), values.text(64)),
            post=True,
            put=True,
            default="normal",
            field="vnic_type",
            filter=Filter(equal()),
        ),
        PROFILE,
        Attribute(
            name="status",
            schema=one_of(["ACTIVE", "INACTIVE"], STRING),
            show=lambda _, binding: "ACTIVE" if binding.active else "INACTIVE",
            filter=Filter(equal()),
        ),
        *(
            Attribute(name=name, parse=PROJECT, post=True, default="", field="project_id", hidden=True)
            for name in ("project_id", "tenant_id")
        ),
    ),
    create,
    update,
    delete,
    operations=(Operation("PUT", "activate", _activate, bare=True),),
    elsewhere=Source(_all, _need),
    path="ports/{within}/bindings",
    whole=Port,
    key="host",
)
