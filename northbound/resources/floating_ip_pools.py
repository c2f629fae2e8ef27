"""`/v2.0/floatingip_pools` (api-ref, "Floating IP pools"): where floating IPs come from.

A pool is an IPv4 subnet of an external network, as its users see it: it is called theirs, whosever it is.
"""

from __future__ import annotations

from collections.abc import Iterable

from controller.errors import NotFound
from controller.model.records import Network, Subnet
from controller.model.store import Rows
from northbound.resources.attributes import Attribute, Collection, Source
from northbound.resources.schemas import BLOCK, STRING, UUID


def _all(rows: Rows, _: str) -> Iterable[Subnet]:
    for network in rows.where(Network, external=True):
        for subnet in rows.where(Subnet, network_id=network.id):
            if subnet.ip_version == 4:
                yield subnet


def _one(rows: Rows, _: str, id: str) -> Subnet:
    """A pool goes by its subnet's id. Raises NotFound."""
    for subnet in _all(rows, ""):
        if subnet.id == id:
            return subnet
    raise NotFound("FloatingIpPool", id)


FLOATING_IP_POOLS: Collection[Subnet] = Collection(
    "floatingip_pool",
    Subnet,
    (
        Attribute(name="subnet_id", field="id", schema=UUID),
        Attribute(name="subnet_name", field="name", schema=STRING),
        Attribute(name="network_id", field="network_id", schema=UUID),
        Attribute(name="cidr", field="cidr", schema=BLOCK),
        Attribute(name="project_id", schema=STRING, show=lambda scene, _: scene.project_id),
    ),
    elsewhere=Source(_all, _one),
    path="floatingip_pools",
    key="subnet_id",
)
