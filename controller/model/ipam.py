"""Which addresses a port gets: allocated inside the commit that makes or changes the port.

An address is taken exactly while a port of its network lists it: the unique index `Port.reservations` is the only
truth, so nothing can leak or be given twice. What is kept beside it only makes finding a free one cheap:

    pools of a subnet   |####..##|........................|      # held by a port    . free
                                 ^ cursor: how many were fresh once
    line of a subnet    released, released, ...                  oldest first

Every free address is ahead of the cursor, or waits in line, or both. An allocation takes the next fresh one, or the
first in line when nothing fresh is left or more than `RESTING` wait; whatever turns out to be taken is stepped over
for good. So an allocation costs O(1) amortised, in a /8 and in a /64, near exhaustion too, and an address rests before
another guest gets it. New pools start over.

SLAAC and stateless DHCPv6 subnets have no such state: a port's address there follows from its MAC address.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from controller.errors import AddressInUse, ForeignAddress, FormedAddress, Inconsistent, NoAddress, NoService, NotFound
from controller.model.addresses import address_of, block, eui64, number, ranges, version
from controller.model.records import FLOATING, ROUTER_INTERFACES, Address, Counter, FixedIp, Port, Released, Subnet
from controller.model.store import Rows, Transaction

RESTING = 256
"""How many released addresses of a subnet rest while there are fresh ones; more would only fill the store."""

AUTOMATIC = frozenset({"slaac", "dhcpv6-stateless"})

CHOOSERS = ROUTER_INTERFACES | {FLOATING}
"""The owners of ports whose addresses never follow from their MAC addresses."""


def is_automatic(subnet: Subnet) -> bool:
    """Whether ports get their addresses here by SLAAC or stateless DHCPv6."""
    return subnet.ipv6_address_mode in AUTOMATIC or subnet.ipv6_ra_mode in AUTOMATIC


@dataclass(frozen=True, slots=True)
class Wanted:
    """One entry of a request's `fixed_ips`: a subnet, an address, or both."""

    subnet_id: str | None = None
    address: Address | None = None


def assign(
    tx: Transaction, port: Port, wanted: Sequence[Wanted] | None, versions: Sequence[int] = (4, 6)
) -> tuple[FixedIp, ...]:
    """The addresses that `port` shall hold; what `port.fixed_ips` lists it holds already and may keep.

    `wanted` None asks for one address of each IP version in `versions` that the network has, an empty one for none.
    Addresses on SLAAC subnets come on top. The caller writes the port, then calls `release` with the old one.
    Raises Inconsistent, FormedAddress, ForeignAddress, NotFound, AddressInUse, NoAddress, NoService.
    """
    if wanted is not None and not wanted and not port.fixed_ips:
        return ()
    subnets = _subnets(tx, port)
    chosen: list[FixedIp] = []
    if wanted is None:
        for family in versions:
            pooled = [each for each in subnets if each.ip_version == family and not is_automatic(each)]
            if pooled:
                chosen.append(_allocate(tx, port, pooled, chosen))
    else:
        _explicit(tx, port, wanted, subnets, chosen)
        _anywhere(tx, port, wanted, subnets, chosen)
    if port.device_owner not in CHOOSERS:
        _automatic(tx, port, subnets, chosen)
    return tuple(chosen)


def serves(subnet: Subnet, owner: str) -> bool:
    """Whether ports of an owner may draw from a subnet; DHCP serves all of them."""
    return not subnet.service_types or owner in subnet.service_types or owner == "network:dhcp"


def _subnets(tx: Transaction, port: Port) -> list[Subnet]:
    """Those that the port may draw from, and has addresses of: first those that are for its owner. Raises NoService."""
    every = tx.where(Subnet, network_id=port.network_id)
    found = [each for each in every if serves(each, port.device_owner) or each.id in port.subnets]
    if every and not found:
        raise NoService(port.network_id, port.device_owner)
    return sorted(found, key=lambda each: (not each.service_types, each.ordinal))


def chosen(rows: Rows, port: Port) -> tuple[Wanted, ...]:
    """What a port holds, without what follows from its MAC address: what it keeps with another one."""
    return tuple(
        Wanted(ip.subnet_id, ip.ip_address)
        for ip in port.fixed_ips
        if port.device_owner in CHOOSERS
        or (subnet := rows.get(Subnet, ip.subnet_id)) is None
        or not is_automatic(subnet)
    )


def _explicit(
    tx: Transaction, port: Port, wanted: Sequence[Wanted], subnets: Sequence[Subnet], chosen: list[FixedIp]
) -> None:
    """Addresses asked for by name go first, so that none is given to another entry."""
    for each in wanted:
        if each.address is None:
            continue
        subnet = _subnet(tx, port, each, subnets)
        if (
            is_automatic(subnet)
            and port.device_owner not in CHOOSERS
            and each.address != eui64(subnet.cidr, port.mac_address)
        ):
            raise FormedAddress(each.address, subnet.id)
        _claim(tx, port, FixedIp(subnet.id, each.address), chosen)


def _anywhere(
    tx: Transaction, port: Port, wanted: Sequence[Wanted], subnets: Sequence[Subnet], chosen: list[FixedIp]
) -> None:
    """Entries that name a subnet only keep an address that the port has there, or get one."""
    held = [ip for ip in port.fixed_ips if ip not in chosen]
    for each in wanted:
        if each.address is not None:
            continue
        subnet = _subnet(tx, port, each, subnets)
        if is_automatic(subnet) and port.device_owner not in CHOOSERS:
            continue
        kept = next((ip for ip in held if ip.subnet_id == subnet.id), None)
        if kept is None:
            chosen.append(_allocate(tx, port, [subnet], chosen))
        else:
            held.remove(kept)
            chosen.append(kept)


def _automatic(tx: Transaction, port: Port, subnets: Sequence[Subnet], chosen: list[FixedIp]) -> None:
    for subnet in subnets:
        if is_automatic(subnet):
            ip = FixedIp(subnet.id, eui64(subnet.cidr, port.mac_address))
            if ip not in chosen:
                _claim(tx, port, ip, chosen)


def _subnet(tx: Transaction, port: Port, wanted: Wanted, subnets: Sequence[Subnet]) -> Subnet:
    """The subnet that an entry names or that its address is of."""
    if not subnets:
        raise Inconsistent("IP allocation requires subnets for network")
    if wanted.subnet_id is None and wanted.address is None:
        raise Inconsistent("IP allocation requires subnet_id or ip_address")
    for subnet in subnets:
        if wanted.subnet_id in (None, subnet.id) and (
            wanted.address is None or _fits(subnet, wanted.address, port.device_owner)
        ):
            return subnet
    if wanted.subnet_id is None:
        raise ForeignAddress(str(wanted.address))
    if any(subnet.id == wanted.subnet_id for subnet in subnets):
        raise ForeignAddress(str(wanted.address), wanted.subnet_id)
    if tx.get(Subnet, wanted.subnet_id) is None:
        raise NotFound("Subnet", wanted.subnet_id)
    raise Inconsistent(
        f"Failed to create port on network {port.network_id}, because fixed_ips included invalid subnet "
        f"{wanted.subnet_id}"
    )


def _fits(subnet: Subnet, address: Address, owner: str) -> bool:
    """Whether a port may hold `address`; a router may hold the anycast address of IPv6."""
    net, value = block(subnet.cidr), number(address)
    if not net.holds(version(address), value):
        return False
    return net.low <= value <= net.high or (net.version == 6 and (owner == "" or owner.startswith("network:router_")))


def _claim(tx: Transaction, port: Port, ip: FixedIp, chosen: list[FixedIp]) -> None:
    holder = holder_of(tx, port.network_id, ip.ip_address)
    if any(other.ip_address == ip.ip_address for other in chosen) or holder not in (None, port.id):
        raise AddressInUse(ip.subnet_id, ip.ip_address)
    chosen.append(ip)


def holder_of(rows: Rows, network_id: str, address: Address) -> str | None:
    """The id of the port that holds an address on a network."""
    for port in rows.where(Port, reservations=(network_id, address)):
        return port.id
    return None


def _allocate(tx: Transaction, port: Port, subnets: Sequence[Subnet], chosen: Sequence[FixedIp]) -> FixedIp:
    """An address of the first subnet that has one. Raises NoAddress."""
    for subnet in subnets:
        for address in _candidates(tx, subnet):
            ip = FixedIp(subnet.id, address)
            if ip not in chosen and holder_of(tx, subnet.network_id, address) is None:
                return ip
    raise NoAddress(port.network_id)


def _candidates(tx: Transaction, subnet: Subnet) -> Iterator[Address]:
    """Addresses of the pools that may be free; each one drawn is gone from the cursor's way or from the line."""
    if _waiting(tx, subnet.id) > RESTING:
        yield from _released(tx, subnet)
    yield from _fresh(tx, subnet)
    yield from _released(tx, subnet)


def _fresh(tx: Transaction, subnet: Subnet) -> Iterator[Address]:
    cursor = f"ipam/{subnet.id}"
    at = _value(tx, cursor)
    skip = at
    for low, high in ranges(subnet.allocation_pools):
        for value in range(low + skip, high + 1):
            at += 1
            tx.put(Counter(id=cursor, value=at))
            yield address_of(subnet.ip_version, value)
        skip = max(0, skip - (high - low + 1))


def _released(tx: Transaction, subnet: Subnet) -> Iterator[Address]:
    while _waiting(tx, subnet.id):
        id = f"{subnet.id}/{tx.next(f'reused/{subnet.id}')}"
        address = tx.need(Released, id).address
        tx.delete(Released, id)
        yield address


def _waiting(rows: Rows, subnet_id: str) -> int:
    return _value(rows, f"released/{subnet_id}") - _value(rows, f"reused/{subnet_id}")


def _value(rows: Rows, counter: str) -> int:
    found = rows.get(Counter, counter)
    return 0 if found is None else found.value


def release(tx: Transaction, old: Port) -> None:
    """Let what `old` held and no port holds any more be allocated again; called after the port was written."""
    for ip in old.fixed_ips:
        subnet = tx.get(Subnet, ip.subnet_id)
        if subnet is None or holder_of(tx, old.network_id, ip.ip_address) is not None:
            continue
        queued = tx.where(Released, subnet_id=subnet.id, address=ip.ip_address)
        if not queued and _is_behind(tx, subnet, number(ip.ip_address)):
            place = tx.next(f"released/{subnet.id}")
            tx.put(Released(id=f"{subnet.id}/{place}", subnet_id=subnet.id, address=ip.ip_address))


def _is_behind(rows: Rows, subnet: Subnet, value: int) -> bool:
    """Whether the cursor has passed an address: it will not come back to it."""
    before = 0
    for low, high in ranges(subnet.allocation_pools):
        if low <= value <= high:
            return before + value - low < _value(rows, f"ipam/{subnet.id}")
        before += high - low + 1
    return False


def forget(tx: Transaction, subnet_id: str) -> None:
    """Start over: the subnet has other pools, or is gone."""
    for place in range(_value(tx, f"reused/{subnet_id}") + 1, _value(tx, f"released/{subnet_id}") + 1):
        tx.delete(Released, f"{subnet_id}/{place}")
    for counter in (f"ipam/{subnet_id}", f"released/{subnet_id}", f"reused/{subnet_id}"):
        tx.discard(Counter, counter)
