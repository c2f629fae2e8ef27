"""`/v2.0/network-segment-ranges` (api-ref, "Network Segment Ranges"): what networks are numbered from.

What the configuration has is there as `default` ranges, which nobody changes by requests. What others have beside them
takes effect on the next network (`segments`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from uuid import UUID, uuid5

from controller.errors import BadRange, DefaultRangeStays, RangeInUse, RangesOverlap, Senseless
from controller.model.records import Network, NetworkSegmentRange
from controller.model.segments import TYPES
from controller.model.store import Rows, Transaction
from northbound.resources import segments, values
from northbound.resources.attributes import (
    Ask,
    Attribute,
    Body,
    Collection,
    Filter,
    Scene,
    Settings,
    equal,
    indexed,
    need,
)
from northbound.resources.schemas import BOOLEAN, INTEGER, STRING, list_of, nullable
from northbound.resources.segments import Segment
from northbound.resources.standard import common
from northbound.resources.values import Json

MOST_AVAILABLE = 4096
"""How many free numbers are named of a range: all VLANs, and not the millions that tunnels have."""

NUMBERED = tuple(name for name, type in TYPES.items() if type.numbered)
NAMESPACE = UUID("5d0b5b5e-3b0c-4a55-8f0e-0b6b8c2a7f11")
"""Of the ids of the configuration's ranges (RFC 4122, section 4.3)."""

TYPE: Attribute[NetworkSegmentRange, str] = Attribute(
    name="network_type",
    parse=values.choice(NUMBERED, values.text(32)),
    post=True,
    field="network_type",
    filter=Filter(equal(), indexed(NetworkSegmentRange, "network_type")),
)
PHYSICAL: Attribute[NetworkSegmentRange, str] = Attribute(
    name="physical_network",
    parse=values.text(64),
    post=True,
    default="",
    field="physical_network",
    filter=Filter(equal()),
)
SHARED: Attribute[NetworkSegmentRange, bool] = Attribute(
    name="shared", parse=values.boolean, post=True, default=True, field="shared", filter=Filter(equal(values.boolean))
)


def _bound(name: str) -> Attribute[NetworkSegmentRange, int]:
    return Attribute(
        name=name, parse=values.integer, post=True, put=True, field=name, filter=Filter(equal(values.integer))
    )


def create(tx: Transaction, body: Body, ask: Ask) -> NetworkSegmentRange:
    """A shared range is nobody's. Raises Senseless, BadRange, RangesOverlap."""
    made = NetworkSegmentRange(**ask.stamp(), **body.fields)
    made = replace(
        made,
        project_id="" if made.shared else made.project_id,
        physical_network=made.physical_network if TYPES[made.network_type].physical else "",
    )
    if not (made.shared or made.project_id):
        raise _senseless("if NetworkSegmentRange is not shared, it must have a project_id")
    if TYPES[made.network_type].physical and not made.physical_network:
        raise _senseless(
            f"Network type {made.network_type} requires 'physical_network' to be specified while creating new range"
        )
    _check(tx, made, ask.settings)
    return tx.insert(made)


def _senseless(reason: str) -> Senseless:
    return Senseless("network_segment_range", reason)


def _check(tx: Transaction, made: NetworkSegmentRange, settings: Settings) -> None:
    """Raises BadRange, RangesOverlap."""
    first, last = _limits(made.network_type, settings)
    for number in (made.minimum, made.maximum):
        if not first <= number <= last:
            reason = f"{number} is not a valid {made.network_type} identifier"
            raise BadRange(made.network_type, made.minimum, made.maximum, reason)
    if made.maximum < made.minimum:
        word = "VLAN" if made.network_type == "vlan" else "tunnel"
        reason = f"End of {word} range is less than start of {word} range"
        raise BadRange(made.network_type, made.minimum, made.maximum, reason)
    overlapped = [
        each.id
        for each in segments.ranges_of(tx, made.network_type)
        if not each.default and each.id != made.id and each.physical_network == made.physical_network
        if made.minimum <= each.maximum and each.minimum <= made.maximum
    ]
    if overlapped:
        raise RangesOverlap(overlapped)


def _limits(type: str, settings: Settings) -> tuple[int, int]:
    return (TYPES[type].first, TYPES[type].last) if TYPES[type].physical else settings.segments


def update(
    tx: Transaction, old: NetworkSegmentRange, new: NetworkSegmentRange, _: Body, ask: Ask
) -> NetworkSegmentRange:
    """No network is left out. Raises DefaultRangeStays, RangeInUse, BadRange, RangesOverlap."""
    _check_not_default(old)
    _check(tx, new, ask.settings)
    if any(not new.minimum <= number <= new.maximum for number, _ in _used(tx, old)):
        raise RangeInUse(old.id)
    return ask.save(tx, old, new)


def delete(tx: Transaction, old: NetworkSegmentRange, _: Ask) -> None:
    """Raises DefaultRangeStays, RangeInUse."""
    _check_not_default(old)
    if any(True for _ in _used(tx, old)):
        raise RangeInUse(old.id)
    tx.delete(NetworkSegmentRange, old.id)


def _check_not_default(old: NetworkSegmentRange) -> None:
    """Raises DefaultRangeStays."""
    if old.default:
        raise DefaultRangeStays(old.id)


def _used(rows: Rows, each: NetworkSegmentRange) -> Iterator[tuple[int, str]]:
    """The numbers of a range that networks have, with whose these are."""
    physical = each.physical_network or None
    if each.maximum - each.minimum < MOST_AVAILABLE:
        for number in range(each.minimum, each.maximum + 1):
            if (network := segments.user(rows, Segment(each.network_type, physical, number))) is not None:
                yield number, network.project_id
        return
    for network in rows.all(Network):
        number = network.segmentation_id or 0
        alike = (network.network_type, network.physical_network) == (each.network_type, physical)
        if alike and each.minimum <= number <= each.maximum:
            yield number, network.project_id


def _used_told(scene: Scene, each: NetworkSegmentRange) -> Json:
    return {str(number): project for number, project in sorted(_used(scene.rows, each))}


def _available(scene: Scene, each: NetworkSegmentRange) -> Json:
    physical, rows = each.physical_network or None, scene.rows
    numbers = range(each.minimum, each.maximum + 1)
    free = (number for number in numbers if not segments.user(rows, Segment(each.network_type, physical, number)))
    return [*islice(free, MOST_AVAILABLE)]


def prepare(tx: Transaction, _: str, ask: Ask) -> None:
    """Have the configuration's ranges in the list, and none that it had before."""
    wanted = {made.id: made for made in _defaults(ask)}
    for type in NUMBERED:
        for each in tx.where(NetworkSegmentRange, network_type=type):
            if each.default and wanted.pop(each.id, None) is None:
                tx.delete(NetworkSegmentRange, each.id)
    for made in wanted.values():
        tx.insert(made)


def _defaults(ask: Ask) -> Iterator[NetworkSegmentRange]:
    for type, pool in segments.defaults(ask.settings):
        if pool.first <= pool.last:
            yield NetworkSegmentRange(
                id=str(uuid5(NAMESPACE, f"{type}/{pool.physical}/{pool.first}/{pool.last}")),
                revision_number=1,
                created_at=ask.now,
                updated_at=ask.now,
                network_type=type,
                physical_network=pool.physical or "",
                minimum=pool.first,
                maximum=pool.last,
                default=True,
            )


def provide(tx: Transaction, old: NetworkSegmentRange, ask: Ask) -> None:
    """One that the configuration has no more is not there. Raises NotFound."""
    prepare(tx, "", ask)
    need(tx, NetworkSegmentRange, old.id)


def _owned(each: Attribute[NetworkSegmentRange, object]) -> Attribute[NetworkSegmentRange, object]:
    """What is everybody's is nobody's."""
    if each.name not in ("project_id", "tenant_id"):
        return each
    return replace(each, show=lambda _, record: record.project_id or None, schema=nullable(STRING))


NETWORK_SEGMENT_RANGES: Collection[NetworkSegmentRange] = Collection(
    "network_segment_range",
    NetworkSegmentRange,
    (
        *map(_owned, common(NetworkSegmentRange)),
        Attribute(name="default", field="default", schema=BOOLEAN, filter=Filter(equal(values.boolean))),
        SHARED,
        TYPE,
        PHYSICAL,
        _bound("minimum"),
        _bound("maximum"),
        Attribute(name="used", schema={"type": "object", "additionalProperties": STRING}, show=_used_told),
        Attribute(name="available", schema=list_of(INTEGER), show=_available),
    ),
    create,
    update,
    delete,
    prepare=prepare,
    provide=provide,
)
