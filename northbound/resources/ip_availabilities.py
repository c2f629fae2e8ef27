"""`/v2.0/network-ip-availabilities` (api-ref, "Network IP availability and usage stats"): networks, as how many
addresses they have and how many of these ports hold.

Of a list that asks for an IP version, only the subnets of that version are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

from controller.model.addresses import block, number, ranges
from controller.model.records import Network, Port, Subnet
from northbound.resources import schemas, values
from northbound.resources.attributes import Attribute, Collection, Filter, Scene, Test, equal, indexed
from northbound.resources.schemas import INTEGER, OBJECT, STRING, list_of, table
from northbound.resources.values import Json


@dataclass(frozen=True, slots=True)
class Counts:
    """Addresses of a subnet, or of several: those of its CIDR, those of its pools, and how many of each are held."""

    total: int = 0
    pooled: int = 0
    used: int = 0
    used_pooled: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(one + another for one, another in zip(astuple(self), astuple(other), strict=True)))

    def shown(self) -> dict[str, Json]:
        """As clients see it; a subnet without pools has all that its CIDR has."""
        return {
            "used_ips": self.used,
            "total_ips": self.pooled or self.total,
            "ip_availability_details": {
                "total_ips_in_subnet": self.total,
                "total_ips_in_allocation_pool": self.pooled,
                "used_ips_in_subnet": self.used,
                "used_ips_in_allocation_pool": self.used_pooled,
            },
        }


def _counted(scene: Scene, network: Network) -> list[tuple[Subnet, Counts]]:
    """The subnets of a network with their counts, worked out once an answer."""
    found = scene.memo.get(network.id)
    if not isinstance(found, list):
        wanted = [values.integer(each) for each in scene.filters.get("ip_version", (4, 6))]
        subnets = [each for each in scene.rows.where(Subnet, network_id=network.id) if each.ip_version in wanted]
        found = scene.memo[network.id] = [(subnet, _counts(scene, subnet)) for subnet in subnets]
    return found


def _counts(scene: Scene, subnet: Subnet) -> Counts:
    net, pools = block(subnet.cidr), ranges(subnet.allocation_pools)
    held = [
        number(ip.ip_address)
        for port in scene.rows.where(Port, subnets=subnet.id)
        for ip in port.fixed_ips
        if ip.subnet_id == subnet.id
    ]
    size = net.last - net.first + 1
    return Counts(
        total=size - 2 if net.version == 4 and size > 2 else size,
        pooled=sum(high - low + 1 for low, high in pools),
        used=len(held),
        used_pooled=sum(any(low <= each <= high for low, high in pools) for each in held),
    )


def _sum(scene: Scene, network: Network) -> dict[str, Json]:
    return sum((counts for _, counts in _counted(scene, network)), Counts()).shown()


def _by_subnet(scene: Scene, network: Network) -> Json:
    return [
        {
            "subnet_id": subnet.id,
            "ip_version": subnet.ip_version,
            "cidr": subnet.cidr,
            "subnet_name": subnet.name,
            **counts.shown(),
        }
        for subnet, counts in _counted(scene, network)
    ]


def _of_version(given: Sequence[str]) -> Test:
    """Networks that have a subnet of the version."""
    for each in given:
        values.integer(each)
    return bool


def _total(name: str, schema: schemas.Schema) -> Attribute[Network, object]:
    return Attribute(name=name, schema=schema, show=lambda scene, network: _sum(scene, network)[name])


_BY_SUBNET = table(
    ("subnet_id", "ip_version", "cidr", "subnet_name", "used_ips", "total_ips", "ip_availability_details"),
    subnet_id=schemas.UUID,
    ip_version=INTEGER,
    cidr=STRING,
    subnet_name=STRING,
    used_ips=INTEGER,
    total_ips=INTEGER,
    ip_availability_details=OBJECT,
)

IP_AVAILABILITIES: Collection[Network] = Collection(
    "network_ip_availability",
    Network,
    (
        Attribute(
            name="network_id",
            field="id",
            schema=schemas.UUID,
            filter=Filter(
                equal(), lambda rows, ids: [each for each in (rows.get(Network, id) for id in {*ids}) if each]
            ),
        ),
        Attribute(
            name="network_name",
            field="name",
            schema=STRING,
            filter=Filter(equal(), indexed(Network, "name")),
        ),
        *(
            Attribute(
                name=name,
                schema=STRING,
                show=lambda _, network: network.project_id,
                filter=Filter(equal(), indexed(Network, "project_id")),
            )
            for name in ("project_id", "tenant_id")
        ),
        Attribute(name="subnet_ip_availability", schema=list_of(_BY_SUBNET), show=_by_subnet),
        _total("used_ips", INTEGER),
        _total("total_ips", INTEGER),
        _total("ip_availability_details", OBJECT),
        Attribute(name="ip_version", show=_by_subnet, hidden=True, filter=Filter(_of_version)),
    ),
    plural="network_ip_availabilities",
    key="network_id",
)
