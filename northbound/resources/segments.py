"""Which segment a network gets: the one that was asked for, or a free one; a small declaration a type of network.

Refusals are those of Neutron's type drivers (neutron, `plugins/ml2/drivers`). Numbers are handed out round-robin, so
that one is long unused before another network has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from controller.errors import Inconsistent, NoSegment, PhysicalInUse, SegmentInUse, VlanInUse, WeftError
from controller.model.records import Network
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

    check: Callable[[Segment, Settings], None]
    pools: Callable[[Segment, Settings], Sequence[Pool]]
    taken: Callable[[Segment, str], WeftError]


def chosen(tx: Transaction, wanted: Segment, settings: Settings) -> Segment:
    """The segment of a new network. Raises Inconsistent, SegmentInUse, VlanInUse, PhysicalInUse, NoSegment."""
    driver = DRIVERS.get(wanted.type)
    if driver is None:
        raise Inconsistent(f"network_type value '{wanted.type}' not supported")
    driver.check(wanted, settings)
    if wanted.number is None and TYPES[wanted.type].numbered:
        return _free(tx, wanted, driver.pools(wanted, settings))
    if (holder := _holder(tx, wanted)) is not None:
        raise driver.taken(wanted, holder)
    return wanted


def _free(tx: Transaction, wanted: Segment, pools: Sequence[Pool]) -> Segment:
    """The next free one, round-robin through all pools. Raises NoSegment."""
    size = sum(pool.last - pool.first + 1 for pool in pools)
    line = "/".join(filter(None, ("segment", wanted.type, wanted.physical)))
    for _ in range(size):
        segment = _at(pools, (tx.next(line) - 1) % size, wanted.type)
        if _holder(tx, segment) is None:
            return segment
    raise NoSegment(wanted.type)


def _at(pools: Sequence[Pool], place: int, type: str) -> Segment:
    for pool in pools:
        size = pool.last - pool.first + 1
        if place < size:
            return Segment(type, pool.physical, pool.first + place)
        place -= size
    raise IndexError(place)


def _holder(rows: Rows, segment: Segment) -> str | None:
    found = rows.where(
        Network, network_type=segment.type, physical_network=segment.physical, segmentation_id=segment.number
    )
    return f"network {found[0].id}" if found else None


def most(segment_type: str, physical: str | None, settings: Settings) -> int:
    """The largest MTU that a network can have, in bytes."""
    type = TYPES[segment_type]
    if type.physical:
        return dict(settings.physical_network_mtus).get(physical or "", settings.underlay_mtu)
    return settings.underlay_mtu - type.overhead - (IPV6_MORE if settings.underlay_ip_version == 6 else 0)


# ---- overlays -------------------------------------------------------------------------------------------------


def _check_overlay(wanted: Segment, settings: Settings) -> None:
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


def _check_vlan(wanted: Segment, settings: Settings) -> None:
    if wanted.physical is None:
        if wanted.number is not None:
            raise Inconsistent("segmentation_id requires physical_network for VLAN provider network")
        return
    if wanted.physical not in {pool.physical for pool in _vlans(settings, wanted.physical)}:
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


def _check_flat(wanted: Segment, settings: Settings) -> None:
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
