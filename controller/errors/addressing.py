"""What is asked wrongly of addresses, of the pools and prefixes they come from, and of address scopes.

    BadRequest
    ├── ForeignAddress    an address outside the subnets it should be of
    ├── BadPool           an allocation pool that is no range of its subnet's version
    ├── PoolOutOfBounds   an allocation pool reaches out of its subnet
    ├── BadPrefixes       prefixes that no subnet pool can have
    ├── PrefixesStay      a subnet pool would lose prefixes that it needs
    ├── PoolStays         a subnet pool cannot change so
    ├── PoolHolds         a subnet pool still has subnets
    ├── ForeignScope      an address scope that a subnet pool cannot be of
    ├── ScopeStaysShared  an address scope would no longer be shared
    ├── PrefixRefused     a subnet of a size that its pool does not give
    ├── ManyPools         the subnets of a network would be of several pools
    ├── ManyScopes        the subnets of a network would be of several address scopes
    ├── NoServiceType     a subnet for what is no owner of ports
    └── FormedAddress     another address of an automatic subnet than the one that a port forms itself

A pool that has nothing left to give is in `limits`, an address that another port has in `use`.
"""

from __future__ import annotations

from typing import Self

from controller.errors.requests import BadRequest


class ForeignAddress(BadRequest):
    """Raised when an address is not of the subnet, or of any subnet of the network, that it should be of."""

    def __init__(self, address: str, subnet: str | None = None) -> None:
        where = "any of the subnets on the specified network" if subnet is None else "the specified subnet"
        super().__init__(f"IP address {address} is not a valid IP for {where}.")
        self.address, self.subnet = address, subnet


class BadPool(BadRequest):
    """Raised when an allocation pool ends before it starts, or is not of its subnet's IP version."""

    def __init__(self, start: str, end: str) -> None:
        super().__init__(f"The allocation pool {start}-{end} is not valid.")
        self.start, self.end = start, end


class PoolOutOfBounds(BadRequest):
    """Raised when an allocation pool reaches out of the addresses of its subnet."""

    def __init__(self, start: str, end: str, cidr: str) -> None:
        super().__init__(f"The allocation pool {start}-{end} spans beyond the subnet cidr {cidr}.")
        self.start, self.end, self.cidr = start, end, cidr


class BadPrefixes(BadRequest):
    """Raised when a subnet pool cannot have such prefixes; `fault` is Neutron's name for why."""

    def __init__(self, fault: str, said: str) -> None:
        super().__init__(said)
        self.fault = fault

    @classmethod
    def none(cls) -> Self:
        """There are none."""
        return cls("EmptySubnetPoolPrefixList", "Empty subnet pool prefix list.")

    @classmethod
    def mixed(cls) -> Self:
        """They are of both IP versions."""
        return cls("PrefixVersionMismatch", "Cannot mix IPv4 and IPv6 prefixes in a subnet pool.")

    @classmethod
    def out_of_bounds(cls, name: str, length: int, bound: str, limit: int) -> Self:
        """A length (in bits) is beyond another one."""
        return cls("IllegalSubnetPoolPrefixBounds", f"Illegal prefix bounds: {name}={length}, {bound}={limit}.")


class PrefixesStay(BadRequest):
    """Raised when a subnet pool would lose prefixes that it needs."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Illegal update to prefixes: {reason}.")
        self.reason = reason


class PoolStays(BadRequest):
    """Raised when a subnet pool cannot change so."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Illegal subnetpool update : {reason}.")
        self.reason = reason


class PoolHolds(BadRequest):
    """Raised when a subnet pool would be deleted that subnets were cut from."""

    def __init__(self) -> None:
        super().__init__("Unable to delete subnet pool: Subnet pool has existing allocations.")


class ForeignScope(BadRequest):
    """Raised when a subnet pool cannot be of an address scope: not the project's, or of another IP version."""

    def __init__(self, pool: str, scope: str, version: int | None = None) -> None:
        cannot = f"cannot be associated with address scope {scope}."
        if version is not None:
            cannot = f"cannot associate with address scope {scope} because subnetpool ip_version is not {version}."
        super().__init__(f"Illegal subnetpool association: subnetpool {pool} {cannot}")
        self.pool, self.scope, self.version = pool, scope, version


class ScopeStaysShared(BadRequest):
    """Raised when an address scope would no longer be shared."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"Unable to update address scope {scope} : Shared address scope can't be unshared.")
        self.scope = scope


class PrefixRefused(BadRequest):
    """Raised when a subnet would have a prefix that is longer, or shorter (`bound`), than its pool gives."""

    def __init__(self, length: int, bound: str, limit: int) -> None:
        super().__init__(f"Unable to allocate subnet with prefix length {length}, {bound} allowed prefix is {limit}.")
        self.length, self.bound, self.limit = length, bound, limit


class ManyPools(BadRequest):
    """Raised when the subnets of a network would be of several subnet pools."""

    def __init__(self) -> None:
        super().__init__("Subnets hosted on the same network must be allocated from the same subnet pool.")


class ManyScopes(BadRequest):
    """Raised when the subnets of a network would be of several address scopes."""

    def __init__(self) -> None:
        super().__init__(
            "Subnets of the same address family hosted on the same network must all participate in the same address "
            "scope."
        )


class NoServiceType(BadRequest):
    """Raised when a subnet would be for what is no owner of ports, or no text."""

    def __init__(self, service_type: str, text: bool = True) -> None:
        why = "does not correspond to a valid device owner" if text else "is not a string"
        super().__init__(f"Subnet service type {service_type} {why}.")
        self.service_type, self.text = service_type, text


class FormedAddress(BadRequest):
    """Raised when a port is given another address of an automatic subnet than the one that it forms itself."""

    def __init__(self, address: str, subnet: str) -> None:
        super().__init__(
            f"IPv6 address {address} cannot be directly assigned to a port on subnet {subnet} as the subnet is "
            "configured for automatic addresses"
        )
        self.address, self.subnet = address, subnet
