"""`/v2.0/auto-allocated-topology/PROJECT` (api-ref, "Auto allocated topology"): a network that leads outside, for a
project that has none. Whoever asks for it has it: it is made then, from the default external network and the default
subnet pools. `?fields=dry-run` asks whether that could be done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

from controller.errors import BadRequest, CannotAutoAllocate, NoPrefix, NotFound, Senseless
from controller.model.records import AutoTopology, Network, Router, Subnet, SubnetPool
from controller.model.store import Rows, Transaction
from northbound.resources import networks, routers, subnets
from northbound.resources.attributes import Ask, Attribute, Body, Collection, R, Source, read_body
from northbound.resources.interfaces import interfaces
from northbound.resources.schemas import STRING, UUID
from northbound.resources.values import Json

DRY_RUN = "dry-run"
"""The field that asks only whether it could be done."""


def _one(rows: Rows, _: str, project_id: str) -> AutoTopology:
    """Every project has one, as soon as somebody asks."""
    return rows.get(AutoTopology, project_id) or AutoTopology(id=project_id, project_id=project_id, network_id="")


def provide(tx: Transaction, topology: AutoTopology, ask: Ask) -> Json:
    """Make it, unless it is there or is only asked about. Raises CannotAutoAllocate, Senseless."""
    project_id = topology.project_id
    if DRY_RUN in ask.fields:
        _outside(tx)
        if not _pools(tx, ask):
            raise CannotAutoAllocate("No default subnetpools defined")
        return {"id": "dry-run=pass", "project_id": project_id}
    if ask.fields:
        raise Senseless("auto_allocate", "Unrecognized field")
    if not project_id:
        raise Senseless("auto_allocate", "No project")
    if not topology.network_id:
        outside = _outside(tx)
        inside = _make_network(tx, project_id, ask)
        router = _make_router(tx, project_id, outside, inside, ask)
        tx.insert(AutoTopology(id=project_id, project_id=project_id, network_id=inside.id, router_id=router.id))
    return None


def _outside(tx: Transaction) -> Network:
    for network in tx.where(Network, is_default=True):
        return network
    raise CannotAutoAllocate("No default router:external network")


def _pools(tx: Transaction, ask: Ask) -> list[SubnetPool]:
    found = (subnets.default_pool(tx, version, ask) for version in (4, 6))
    return [pool for pool in found if pool is not None]


def _make_network(tx: Transaction, project_id: str, ask: Ask) -> Network:
    network = _make(tx, networks.NETWORKS, project_id, ask, name="auto_allocated_network")
    pools = _pools(tx, ask)
    try:
        for pool in pools:
            _make(
                tx,
                subnets.SUBNETS,
                project_id,
                ask,
                name=f"auto_allocated_subnet_v{pool.ip_version}",
                network_id=network.id,
                ip_version=pool.ip_version,
                subnetpool_id=pool.id,
            )
    except (BadRequest, NotFound, NoPrefix):
        pools = []
    if not pools:
        raise CannotAutoAllocate("Unable to provide project private network")
    return network


def _make_router(tx: Transaction, project_id: str, outside: Network, inside: Network, ask: Ask) -> Router:
    way: Json = {"network_id": outside.id}
    try:
        router = _make(tx, routers.ROUTERS, project_id, ask, name="auto_allocated_router", external_gateway_info=way)
        for subnet in tx.where(Subnet, network_id=inside.id):
            routers.add_interface({"subnet_id": subnet.id})(tx, tx.need(Router, router.id), ask)
    except BadRequest:
        raise CannotAutoAllocate("Unable to provide external connectivity") from None
    return router


def _make(tx: Transaction, collection: Collection[R], project_id: str, ask: Ask, **attributes: Json) -> R:
    """A resource with an id of its own."""
    body = read_body(collection, attributes, True, project_id)
    create: Callable[[Transaction, Body, Ask], Any] | None = collection.create
    assert create is not None
    made: R = create(tx, body, replace(ask, id=str(uuid4())))
    return made


def delete(tx: Transaction, topology: AutoTopology, ask: Ask) -> None:
    """All of it, as far as it is there. Raises InUse, InterfaceInUseByFloatingIp."""
    router = tx.get(Router, topology.router_id)
    if router is not None:
        for port in interfaces(tx, router):
            routers.remove_interface({"port_id": port.id})(tx, tx.need(Router, router.id), ask)
        routers.delete(tx, tx.need(Router, router.id), ask)
    network = tx.get(Network, topology.network_id)
    if network is not None:
        networks.delete(tx, network, ask)


AUTO_TOPOLOGIES: Collection[AutoTopology] = Collection(
    "auto_allocated_topology",
    AutoTopology,
    (
        Attribute(name="id", schema=UUID, show=lambda _, topology: topology.network_id),
        Attribute(name="project_id", field="project_id", schema=STRING),
        Attribute(name="tenant_id", schema=STRING, show=lambda _, topology: topology.project_id),
    ),
    delete=delete,
    provide=provide,
    mine="None",
    elsewhere=Source(lambda rows, _: rows.all(AutoTopology), _one),
    plural="auto_allocated_topologies",
    path="auto-allocated-topology",
    key="project_id",
)
