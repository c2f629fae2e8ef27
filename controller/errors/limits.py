"""What is used up, and what would be more than a project may have.

    Conflict
    ├── OverQuota              a project would have more than it may
    │   ├── PoolQuotaExceeded  a project would have more of a subnet pool than it may
    │   └── TooManyRoutes      a router would have more routes than it may
    └── Exhausted              a pool has nothing left to give
        ├── NoAddress          the subnets of a network are full
        │   └── NoService      no subnet of a network is for the owner of the port
        ├── NoPrefix           a subnet pool has no room for a subnet
        ├── NoSegment          every segment of a network type is taken
        └── NoMac              no free MAC address was found for a port

What is used up may be given back: both are conflicts, not bad requests.
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.errors.conflicts import Conflict


class OverQuota(Conflict):
    """Raised when a project would have more resources of these names than it may."""

    def __init__(self, resources: Sequence[str], said: str = "") -> None:
        super().__init__(said or f"Quota exceeded for resources: {[*resources]}.")
        self.resources = resources


class PoolQuotaExceeded(OverQuota):
    """Raised when a project would have more of a subnet pool than it may."""

    def __init__(self) -> None:
        super().__init__((), "Per-project subnet pool prefix quota exceeded.")


class TooManyRoutes(OverQuota):
    """Raised when a router would have more routes than it may."""

    def __init__(self, router: str, most: int) -> None:
        super().__init__(("router_route",))
        self.router, self.most = router, most


class Exhausted(Conflict):
    """Raised when a pool (addresses of a subnet, segments, tags) has nothing left to give."""

    def __init__(self, pool: str, id: str, said: str = "") -> None:
        super().__init__(said or f"No more {pool} available in {id}.")
        self.pool, self.id = pool, id


class NoAddress(Exhausted):
    """Raised when no subnet that a port may use has a free address in its pools."""

    def __init__(self, network: str, said: str = "") -> None:
        super().__init__("addresses", network, said or f"No more IP addresses available on network {network}.")


class NoService(NoAddress):
    """Raised when no subnet of a network is for ports of an owner."""

    def __init__(self, network: str, owner: str) -> None:
        said = f"No valid service subnet for the given device owner, network {network}, service type {owner}."
        super().__init__(network, said)
        self.owner = owner


class NoPrefix(Exhausted):
    """Raised when a subnet pool has no room for a subnet."""

    def __init__(self, pool: str, reason: str) -> None:
        super().__init__("prefixes", pool, f"Failed to allocate subnet: {reason}.")
        self.reason = reason


class NoSegment(Exhausted):
    """Raised when every segment of a network type is taken."""

    def __init__(self, network_type: str) -> None:
        said = "Unable to create the network. No project network is available for allocation."
        super().__init__("segments", network_type, said)


class NoMac(Exhausted):
    """Raised when no free MAC address was found for a port."""

    def __init__(self, network: str) -> None:
        super().__init__("MAC addresses", network, f"Unable to generate unique mac on network {network}.")
