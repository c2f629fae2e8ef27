"""Which prefix a subnet gets from its subnet pool: cut inside the commit that makes the subnet.

A prefix is taken exactly while a subnet of the pool has it; nothing else is kept. What is free is what is left of the
pool's prefixes, as few and as large blocks as that can be; the smallest that is large enough is cut from its beginning
(as Neutron's `SubnetAllocator`), so that large ones stay whole. A cut costs O(n) for n subnets of the pool.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import collapse_addresses, ip_network
from typing import Any

from controller.errors import (
    BadPrefixes,
    ForeignScope,
    ManyPools,
    ManyScopes,
    NoPrefix,
    PoolQuotaExceeded,
    PoolStays,
    PrefixesStay,
    PrefixRefused,
    ScopeOverlaps,
)
from controller.model.addresses import Block, address_of, block, version
from controller.model.records import Address, AddressScope, Cidr, Subnet, SubnetPool
from controller.model.store import Rows, Transaction

BITS = {4: 32, 6: 128}
"""How long an address is, and a prefix at the most."""

SHORTEST = {4: 8, 6: 64}
"""The shortest prefix that a pool gives unless it says otherwise."""

UNIT = {4: 32, 6: 64}
"""What quotas of a pool are counted in: blocks of this prefix length."""


def merged(prefixes: Iterable[Cidr]) -> tuple[Cidr, ...]:
    """The same addresses as few blocks, in order. Raises BadPrefixes when there are none, or of both versions."""
    networks: Any = [ip_network(each) for each in prefixes]
    if not networks:
        raise BadPrefixes.none()
    if len({each.version for each in networks}) > 1:
        raise BadPrefixes.mixed()
    return tuple(Cidr(str(each)) for each in collapse_addresses(networks))


def without(prefixes: Sequence[Cidr], gone: Iterable[Cidr]) -> tuple[Cidr, ...]:
    """What is left of prefixes, as few blocks, in order."""
    return tuple(str_of(each) for each in _left([block(each) for each in prefixes], [block(each) for each in gone]))


def str_of(each: Block) -> Cidr:
    """A block as text."""
    return Cidr(str(each))


def _left(blocks: Sequence[Block], taken: Sequence[Block]) -> Iterator[Block]:
    """What is left of blocks without others, in order."""
    holes = sorted((each.first, each.last) for each in taken)
    for each in sorted(blocks, key=lambda each: each.first):
        at = each.first
        for first, last in holes:
            if last < at or first > each.last:
                continue
            yield from _blocks(each.version, at, first - 1)
            at = last + 1
        yield from _blocks(each.version, at, each.last)


def _blocks(family: int, first: int, last: int) -> Iterator[Block]:
    """A range as few blocks, in order."""
    bits = BITS[family]
    while first <= last:
        size = (first & -first).bit_length() - 1 if first else bits
        size = min(size, (last - first + 1).bit_length() - 1)
        yield Block(family, bits - size, first, first + (1 << size) - 1)
        first += 1 << size


def overlap(some: Iterable[Cidr], others: Iterable[Cidr]) -> bool:
    """Whether two sets of prefixes share addresses."""
    against = [block(each) for each in others]
    return any(
        one.version == other.version and one.first <= other.last and other.first <= one.last
        for one in map(block, some)
        for other in against
    )


def check_bounds(pool: SubnetPool) -> None:
    """The lengths of prefixes that a pool gives fit one another. Raises BadPrefixes."""
    for name, length, bound, limit in (
        ("min_prefixlen", pool.min_prefixlen, "max_prefixlen", pool.max_prefixlen),
        ("max_prefixlen", pool.max_prefixlen, "ip_version_max", BITS[pool.ip_version]),
        ("default_prefixlen", pool.default_prefixlen, "max_prefixlen", pool.max_prefixlen),
    ):
        if length > limit:
            raise BadPrefixes.out_of_bounds(name, length, bound, limit)
    if pool.default_prefixlen < pool.min_prefixlen:
        raise BadPrefixes.out_of_bounds(
            "default_prefixlen", pool.default_prefixlen, "min_prefixlen", pool.min_prefixlen
        )


def check_scope(rows: Rows, pool: SubnetPool, scope: AddressScope) -> None:
    """A pool, as it shall be, fits an address scope. Raises ForeignScope, ManyScopes, ScopeOverlaps."""
    if pool.ip_version != scope.ip_version:
        raise ForeignScope(pool.id, scope.id, scope.ip_version)
    for network in {subnet.network_id for subnet in rows.where(Subnet, subnetpool_id=pool.id)}:
        beside = rows.where(Subnet, network_id=network)
        if any(each.ip_version == pool.ip_version and each.subnetpool_id != pool.id for each in beside):
            raise ManyScopes
    others = [each for each in rows.where(SubnetPool, address_scope_id=scope.id) if each.id != pool.id]
    if any(overlap(pool.prefixes, other.prefixes) for other in others):
        raise ScopeOverlaps


def grown(pool: SubnetPool, prefixes: Iterable[Cidr]) -> tuple[Cidr, ...]:
    """Other prefixes of a pool, which keeps those it had. Raises PrefixesStay, BadPrefixes."""
    wanted = tuple(prefixes)
    if without(pool.prefixes, wanted):
        raise PrefixesStay("Existing prefixes must be a subset of the new prefixes")
    return merged(wanted)


def shrunk(rows: Rows, pool: SubnetPool, gone: Sequence[Cidr]) -> tuple[Cidr, ...]:
    """The prefixes of a pool without some. Raises PrefixesStay, BadPrefixes."""
    if not overlap(pool.prefixes, gone):
        return pool.prefixes
    if overlap((subnet.cidr for subnet in rows.where(Subnet, subnetpool_id=pool.id)), gone):
        raise PrefixesStay("One or more the prefixes to be removed is in use by a subnet.")
    return merged(without(pool.prefixes, gone))


def check_onboarding(rows: Rows, pool: SubnetPool, subnets: Iterable[Subnet]) -> None:
    """Subnets can become some of a pool. Raises PoolStays."""
    taken = [subnet.cidr for subnet in rows.where(Subnet, subnetpool_id=pool.id)]
    for subnet in subnets:
        if overlap([subnet.cidr], taken):
            where = f"{subnet.id}: {subnet.cidr} conflicts with allocated prefixes in subnet pool {pool.id}"
            raise PoolStays(f"Onboarding subnet {where}")


def allocate(
    tx: Transaction, pool: SubnetPool, project_id: str, length: int, cidr: Cidr | None, gateway: Address | None
) -> Cidr:
    """A prefix for a subnet of a project: the one that is asked for, the one around a gateway, or any of a length.

    Raises PrefixRefused, PoolQuotaExceeded, NoPrefix.
    """
    if length > pool.max_prefixlen:
        raise PrefixRefused(length, "maximum", pool.max_prefixlen)
    if length < pool.min_prefixlen:
        raise PrefixRefused(length, "minimum", pool.min_prefixlen)
    subnets = tx.where(Subnet, subnetpool_id=pool.id)
    _check_quota(pool, [subnet for subnet in subnets if subnet.project_id == project_id], length)
    free = list(_left([block(each) for each in pool.prefixes], [block(subnet.cidr) for subnet in subnets]))
    if cidr is None and gateway is not None and version(gateway) == pool.ip_version:
        cidr = Cidr(str(block(Cidr(f"{gateway}/{length}"))))
    if cidr is None:
        return _cut(pool, free, length)
    wanted = block(cidr)
    if not any(each.holds(wanted.version, wanted.first) and each.prefix <= wanted.prefix for each in free):
        raise NoPrefix(pool.id, "Cannot allocate requested subnet from the available set of prefixes")
    return cidr


def _check_quota(pool: SubnetPool, held: Iterable[Subnet], length: int) -> None:
    """Raises PoolQuotaExceeded."""
    if pool.default_quota:
        lengths = [length, *(block(subnet.cidr).prefix for subnet in held)]
        if sum(2.0 ** (UNIT[pool.ip_version] - each) for each in lengths) > pool.default_quota:
            raise PoolQuotaExceeded


def _cut(pool: SubnetPool, free: Iterable[Block], length: int) -> Cidr:
    """Raises NoPrefix."""
    for each in sorted(free, key=lambda each: -each.prefix):
        if each.prefix <= length:
            return Cidr(f"{address_of(each.version, each.first)}/{length}")
    raise NoPrefix(pool.id, f"Insufficient prefix space to allocate subnet size /{length}")


def check_network(rows: Rows, network_id: str, family: int, pool: SubnetPool | None) -> None:
    """The subnets of a network that are of one IP version stay in one pool, or in one address scope. Raises ManyPools,
    ManyScopes."""
    beside = [each for each in rows.where(Subnet, network_id=network_id) if each.ip_version == family]
    scope = scope_of(rows, network_id, family)
    if scope is not None:
        if pool is not None and pool.address_scope_id != scope:
            raise ManyScopes
        if pool is not None:
            return
    if any(each.subnetpool_id != (pool.id if pool else "") for each in beside):
        raise ManyPools


def scope_of(rows: Rows, network_id: str, family: int) -> str | None:
    """The address scope of a network's subnets of an IP version."""
    for subnet in rows.where(Subnet, network_id=network_id):
        if subnet.subnetpool_id and subnet.ip_version == family:
            pool = rows.get(SubnetPool, subnet.subnetpool_id)
            return None if pool is None else pool.address_scope_id
    return None
