"""`/v2.0/availability_zones` (api-ref, "Availability zones"), and the hints of networks and routers that name them.

A zone is what hypervisors say that they are in (`weft-availability-zone`). Networks are everywhere in it, and routers,
too; a hint of a router says where its gateway may be.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from controller.errors import Inconsistent, NotFound
from controller.model.records import Chassis, Network, Resource, Router
from controller.model.store import Rows
from northbound.resources import values
from northbound.resources.attributes import Attribute, Collection, Filter, Scene, Source, equal
from northbound.resources.schemas import STRING, list_of, one_of, says
from northbound.resources.values import Json

MOST_HINTS = 255
"""The most characters that hints may have as JSON (neutron-lib, `AZ_HINTS_DB_LEN`)."""

Z = TypeVar("Z", Network, Router)

RESOURCES = ("network", "router")


@dataclass(frozen=True, slots=True, kw_only=True)
class AvailabilityZone(Resource):
    """A zone for one sort of resource; the id is both."""

    resource: str
    chassis: tuple[str, ...]


def _all(rows: Rows, _: str) -> Iterator[AvailabilityZone]:
    members: dict[str, list[str]] = {}
    for chassis in rows.all(Chassis):
        members.setdefault(chassis.availability_zone, []).append(chassis.id)
    for name, chassis_ids in sorted(members.items()):
        for resource in RESOURCES:
            yield AvailabilityZone(id=f"{name}/{resource}", name=name, resource=resource, chassis=tuple(chassis_ids))


def _one(rows: Rows, _: str, name: str) -> AvailabilityZone:
    """Raises NotFound."""
    for zone in _all(rows, ""):
        if zone.name == name:
            return zone
    raise NotFound("AvailabilityZone", name)


@says(list_of({"type": "string", "maxLength": 64}, uniqueItems=True, maxItems=3), list_of(STRING))
def _hints(value: Json) -> tuple[str, ...]:
    """Names of zones, each once. Raises Inconsistent."""
    parsed = values.texts(value)
    if len(json.dumps(parsed)) > MOST_HINTS:
        raise Inconsistent("Too many availability_zone_hints specified")
    return parsed


def check(rows: Rows, hints: Iterable[str]) -> None:
    """There are such zones. Raises NotFound."""
    known = {chassis.availability_zone for chassis in rows.all(Chassis)} if hints else set()
    for hint in hints:
        if hint not in known:
            raise NotFound("AvailabilityZone", hint)


def _present(scene: Scene) -> frozenset[str]:
    """The zones that hypervisors are in, worked out once an answer."""
    found = scene.memo.get("zones")
    if not isinstance(found, frozenset):
        found = scene.memo["zones"] = frozenset(each.availability_zone for each in scene.rows.all(Chassis))
    return found


def _where(scene: Scene, resource: Network | Router) -> Json:
    """The zones that a resource is in: where there are hypervisors, among those that it was made for."""
    zones, hints = _present(scene), resource.availability_zone_hints
    return [*sorted(zones.intersection(hints) if hints else zones)]


def _state(scene: Scene, zone: AvailabilityZone) -> str:
    alive = any(scene.wiring.attendance(chassis).alive for chassis in zone.chassis)
    return "available" if alive else "unavailable"


def zones(_: type[Z], sort: bool) -> tuple[Attribute[Z, object], ...]:
    """What networks and routers say of zones."""
    hints: Attribute[Z, tuple[str, ...]] = Attribute(
        name="availability_zone_hints",
        parse=_hints,
        post=True,
        default=(),
        field="availability_zone_hints",
        show=lambda _, resource: [*resource.availability_zone_hints],
        sort=sort,
    )
    return hints, Attribute(name="availability_zones", schema=list_of(STRING), show=_where)


AVAILABILITY_ZONES: Collection[AvailabilityZone] = Collection(
    "availability_zone",
    AvailabilityZone,
    (
        Attribute(name="name", field="name", schema=STRING, filter=Filter(equal()), sort=True),
        Attribute(name="resource", field="resource", schema=one_of(RESOURCES, STRING), filter=Filter(equal())),
        Attribute(
            name="state", schema=one_of(("available", "unavailable"), STRING), show=_state, filter=Filter(equal())
        ),
    ),
    elsewhere=Source(_all, _one),
    path="availability_zones",
    key="name",
)
