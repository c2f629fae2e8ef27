"""Addresses, CIDRs and allocation pools as integers and as canonical text.

Text is what `netaddr` prints; it is parsed here without netaddr, which takes tens of microseconds a value.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_network
from itertools import pairwise

from controller.errors import BadPool, GatewayInPool, PoolOutOfBounds, PoolsOverlap
from controller.model.records import Address, Cidr, Mac, Pool


def packed(address: Address) -> bytes:
    """An address as packets bear it: 4 or 16 octets."""
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def unpacked(octets: bytes) -> Address:
    """The address that 4 or 16 octets are, as canonical text."""
    return Address(socket.inet_ntop(socket.AF_INET if len(octets) == 4 else socket.AF_INET6, octets))


def number(address: Address) -> int:
    """An address as an integer."""
    return int.from_bytes(packed(address))


def address_of(version: int, value: int) -> Address:
    """An integer as canonical text, which is what `netaddr` prints."""
    return unpacked(value.to_bytes(4 if version == 4 else 16))


@dataclass(frozen=True, slots=True)
class Block:
    """A CIDR as integers; `low` and `high` are its first and last address that a host may have."""

    version: int
    prefix: int
    first: int
    last: int

    @property
    def low(self) -> int:
        """In IPv6 the first address is the routers' anycast address (RFC 4291, 2.6.1)."""
        return self.first if self.last - self.first < (3 if self.version == 4 else 1) else self.first + 1

    @property
    def high(self) -> int:
        """In IPv4 the last address is the broadcast address, but not below 4 addresses (RFC 3021)."""
        return self.last - 1 if self.version == 4 and self.last - self.first >= 3 else self.last

    def holds(self, version: int, value: int) -> bool:
        """Whether an address lies in here."""
        return version == self.version and self.first <= value <= self.last

    def __str__(self) -> str:
        return f"{address_of(self.version, self.first)}/{self.prefix}"


@lru_cache(maxsize=8192)
def block(cidr: Cidr) -> Block:
    """A CIDR's integers; host bits are dropped. Raises ValueError."""
    net = ip_network(cidr, strict=False)
    return Block(net.version, net.prefixlen, int(net.network_address), int(net.broadcast_address))


@lru_cache(maxsize=8192)
def ranges(pools: tuple[Pool, ...]) -> tuple[tuple[int, int], ...]:
    """The first and last address of each pool, as integers."""
    return tuple((number(pool.start), number(pool.end)) for pool in pools)


def default_gateway(cidr: Cidr) -> Address | None:
    """The first host address; none in a subnet of one address."""
    net = block(cidr)
    return None if net.first == net.last else address_of(net.version, net.first + 1)


def default_pools(cidr: Cidr, gateway: Address | None) -> tuple[Pool, ...]:
    """All host addresses but the gateway."""
    net = block(cidr)
    hole = number(gateway) if gateway is not None and version(gateway) == net.version else net.high + 1
    if not net.low <= hole <= net.high:
        ranges = [(net.low, net.high)]
    else:
        ranges = [(net.low, hole - 1), (hole + 1, net.high)]
    return tuple(
        Pool(address_of(net.version, low), address_of(net.version, high)) for low, high in ranges if low <= high
    )


def version(address: str) -> int:
    """4 or 6, of an address or a CIDR."""
    return 6 if ":" in address else 4


def check_pools(cidr: Cidr, pools: Sequence[Pool], gateway: Address | None) -> None:
    """Pools lie in their subnet, apart from one another and from the gateway.

    Raises BadPool, PoolOutOfBounds, PoolsOverlap, GatewayInPool.
    """
    net = block(cidr)
    for pool in pools:
        if {version(pool.start), version(pool.end)} != {net.version} or number(pool.end) < number(pool.start):
            raise BadPool(pool.start, pool.end)
        if number(pool.start) < net.low or number(pool.end) > net.high:
            raise PoolOutOfBounds(pool.start, pool.end, cidr)
    ordered = sorted(pools, key=lambda pool: number(pool.start))
    for one, other in pairwise(ordered):
        if number(other.start) <= number(one.end):
            raise PoolsOverlap(f"{one.start}-{one.end}", f"{other.start}-{other.end}", cidr)
    if gateway is None or version(gateway) != net.version:
        return
    for pool in pools:
        if number(pool.start) <= number(gateway) <= number(pool.end):
            raise GatewayInPool(gateway, pool.start, pool.end)


def eui64(cidr: Cidr, mac: Mac) -> Address:
    """The address a guest forms from its MAC address (RFC 4291, appendix A)."""
    octets = bytes.fromhex(mac.replace(":", ""))
    interface = bytes((octets[0] ^ 2, *octets[1:3], 0xFF, 0xFE, *octets[3:]))
    return address_of(6, block(cidr).first | int.from_bytes(interface, "big"))
