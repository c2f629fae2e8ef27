"""Which segment a network gets: the one that was asked for, or a free one; a small declaration a type of network.

Refusals are those of Neutron's type drivers (neutron, `plugins/ml2/drivers`). Numbers are handed out round-robin, so
that one is long unused before another network has it. A project's networks are numbered from its own ranges, and from
what is everybody's when these are used up; nobody else's networks get what is in a project's range, unless they ask
for it (`network_segment_ranges`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from controller.errors import Inconsistent, NoSegment, PhysicalInUse, SegmentInUse, VlanInUse, WeftError
from controller.model.records import Network, NetworkSegmentRange
from controller.model.segments import IPV6_MORE, TYPES
from controller.model.store import Rows, Transaction
from northbound.resources.attributes import Settings


@dataclass(frozen=True, slots=True)
class Segment:
    """What carries a network, or what of it a client asked for."""

    type: str
    physical: str | None = None
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Pool:
    """Numbers that may be handed out on one physical network; of an overlay, anywhere."""

    first: int
    last: int
    physical: str | None = None


@dataclass(frozen=True, slots=True)
class Driver:
    """How the networks of a type are numbered.

    `check` refuses what nobody could have, `pools` are what a number is taken from when none was asked for, `taken` is
    the refusal of a segment that another network has. Raises Inconsistent.
    """

    check: Callable[[Rows, Segment, Settings], None]
    pools: Callable[[Segment, Settings], Sequence[Pool]]
    taken: Callable[[Segment, str], WeftError]


def chosen(tx: Transaction, wanted: Segment, settings: Settings, project_id: str) -> Segment:
    """The segment of a project's new network.

    Raises Inconsistent, SegmentInUse, VlanInUse, PhysicalInUse, NoSegment.
    """
    driver = DRIVERS.get(wanted.type)
    if driver is None:
        raise Inconsistent(f"network_type value '{wanted.type}' not supported")
    driver.check(tx, wanted, settings)
    if wanted.number is None and TYPES[wanted.type].numbered:
        for line, pools in _lines(tx, wanted, driver.pools(wanted, settings), project_id):
            if (found := _free(tx, line, wanted.type, pools)) is not None:
                return found
        raise NoSegment(wanted.type)
    if (holder := _holder(tx, wanted)) is not None:
        raise driver.taken(wanted, holder)
    return wanted


def _lines(
    rows: Rows, wanted: Segment, default: Sequence[Pool], project_id: str
) -> Iterator[tuple[str, Sequence[Pool]]]:
    """What a segment may be taken from, the first first: the pools, and the name of the line that they stand in."""
    ranges = [each for each in ranges_of(rows, wanted.type) if not each.default]
    suiting = [each for each in ranges if wanted.physical in (None, each.physical_network)]
    line = "/".join(filter(None, ("segment", wanted.type, wanted.physical)))
    if own := [pool_of(each) for each in suiting if not each.shared and each.project_id == project_id]:
        yield f"{line}/of/{project_id}", own
    others = [pool_of(each) for each in ranges if not each.shared and each.project_id != project_id]
    common = [*default]
    for each in suiting:
        if each.shared:
            common += _without([pool_of(each)], common)
    yield line, _without(common, others)


def ranges_of(rows: Rows, type: str) -> Sequence[NetworkSegmentRange]:
    """The ranges that networks of a type are numbered from beside the configuration's own, oldest first."""
    return sorted(rows.where(NetworkSegmentRange, network_type=type), key=lambda each: (each.created_at, each.id))


def pool_of(each: NetworkSegmentRange) -> Pool:
    """What a range hands out."""
    return Pool(each.minimum, each.maximum, each.physical_network or None)


def defaults(settings: Settings) -> Iterator[tuple[str, Pool]]:
    """What networks are numbered from by the configuration alone, with the type of each."""
    for type, declared in TYPES.items():
        if declared.numbered:
            yield from ((type, pool) for pool in DRIVERS[type].pools(Segment(type), settings))


def _without(pools: Sequence[Pool], taken: Sequence[Pool]) -> list[Pool]:
    """What is left of pools when others have theirs."""
    left = [*pools]
    for each in taken:
        left = [piece for pool in left for piece in _cut(pool, each)]
    return [pool for pool in left if pool.first <= pool.last]


def _cut(pool: Pool, taken: Pool) -> Sequence[Pool]:
    if pool.physical != taken.physical or taken.last < pool.first or pool.last < taken.first:
        return (pool,)
    return (
        Pool(pool.first, taken.first - 1, pool.physical),
        Pool(taken.last + 1, pool.last, pool.physical),
    )


def _free(tx: Transaction, line: str, type: str, pools: Sequence[Pool]) -> Segment | None:
    """The next free one, round-robin through all pools."""
    size = sum(pool.last - pool.first + 1 for pool in pools)
    for _ in range(size):
        segment = _at(pools, (tx.next(line) - 1) % size, type)
        if _holder(tx, segment) is None:
            return segment
    return None


def _at(pools: Sequence[Pool], place: int, type: str) -> Segment:
    for pool in pools:
        size = pool.last - pool.first + 1
        if place < size:
            return Segment(type, pool.physical, pool.first + place)
        place -= size
    raise IndexError(place)


def _holder(rows: Rows, segment: Segment) -> str | None:
    found = user(rows, segment)
    return f"network {found.id}" if found else None


def user(rows: Rows, segment: Segment) -> Network | None:
    """The network that has a segment."""
    found = rows.where(
        Network, network_type=segment.type, physical_network=segment.physical, segmentation_id=segment.number
    )
    return found[0] if found else None


def most(segment_type: str, physical: str | None, settings: Settings) -> int:
    """The largest MTU that a network can have, in bytes."""
    type = TYPES[segment_type]
    if type.physical:
        return dict(settings.physical_network_mtus).get(physical or "", settings.underlay_mtu)
    return settings.underlay_mtu - type.overhead - (IPV6_MORE if settings.underlay_ip_version == 6 else 0)


# ---- overlays -------------------------------------------------------------------------------------------------


def _check_overlay(_: Rows, wanted: Segment, settings: Settings) -> None:
    low, high = settings.segments
    if wanted.physical:
        raise Inconsistent(f"provider:physical_network specified for {wanted.type} network")
    if wanted.number is not None and not low <= wanted.number <= high:
        raise Inconsistent(f"segmentation_id out of range ({low} through {high})")


def _overlay_pools(_: Segment, settings: Settings) -> Sequence[Pool]:
    return [Pool(*settings.segments)]


OVERLAY: Final = Driver(
    _check_overlay, _overlay_pools, lambda segment, holder: SegmentInUse(segment.number or 0, holder)
)


# ---- VLANs ----------------------------------------------------------------------------------------------------


def _check_vlan(rows: Rows, wanted: Segment, settings: Settings) -> None:
    if wanted.physical is None:
        if wanted.number is not None:
            raise Inconsistent("segmentation_id requires physical_network for VLAN provider network")
        return
    known = {pool.physical for pool in _vlans(settings, wanted.physical)}
    if wanted.physical not in known.union(each.physical_network for each in ranges_of(rows, wanted.type)):
        raise Inconsistent(f"physical_network '{wanted.physical}' unknown for VLAN provider network")
    first, last = TYPES["vlan"].first, TYPES["vlan"].last
    if wanted.number is not None and not first <= wanted.number <= last:
        raise Inconsistent(f"segmentation_id out of range ({first} through {last})")


def _vlan_pools(wanted: Segment, settings: Settings) -> Sequence[Pool]:
    """Without a physical network, those of all."""
    return [pool for pool in _vlans(settings, wanted.physical) if wanted.physical in (None, pool.physical)]


def _vlans(settings: Settings, physical: str | None) -> Iterator[Pool]:
    """Where the operator named none, all VLANs of the physical network that is asked for."""
    if physical is not None and not settings.vlan_ranges:
        yield Pool(TYPES["vlan"].first, TYPES["vlan"].last, physical)
    yield from (Pool(first, last, named) for named, first, last in settings.vlan_ranges)


VLAN: Final = Driver(
    _check_vlan, _vlan_pools, lambda segment, holder: VlanInUse(segment.number or 0, segment.physical or "", holder)
)


# ---- flat networks --------------------------------------------------------------------------------------------


def _check_flat(_: Rows, wanted: Segment, settings: Settings) -> None:
    if not wanted.physical:
        raise Inconsistent("physical_network required for flat provider network")
    if not settings.flat_networks:
        raise Inconsistent("Flat provider networks are disabled")
    if ANY not in settings.flat_networks and wanted.physical not in settings.flat_networks:
        raise Inconsistent(f"physical_network '{wanted.physical}' unknown for flat provider network")
    if wanted.number:
        raise Inconsistent("segmentation_id prohibited for flat provider network")


ANY: Final = "*"
"""Stands for all physical networks."""

FLAT: Final = Driver(_check_flat, lambda *_: (), lambda segment, holder: PhysicalInUse(segment.physical or "", holder))

DRIVERS: Final[Mapping[str, Driver]] = {
    "vxlan": OVERLAY, "geneve": OVERLAY, "gre": OVERLAY, "vlan": VLAN, "flat": FLAT,
}  # fmt: skip
