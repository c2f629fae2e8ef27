"""What does not go with what there is: another time, or with another value, it may.

    WeftError
    └── Conflict                   a request that another time, or another value, may meet
        ├── Exists                 a unique value is taken
        ├── StaleRevision          the caller edits a version that is gone
        ├── PoolsOverlap           two allocation pools share addresses
        ├── MtuTooSmall            a subnet needs a larger MTU than its network has
        ├── SharedByOthers         a network cannot be taken from the projects that use it
        ├── CannotAutoAllocate     the cloud lacks what a project's network is made from
        ├── BindingExists          a port has a binding to the host already
        ├── AlreadyActive          a binding is active already
        ├── BindingFailed          a port cannot be on the host of a binding
        ├── AccessExists           an RBAC policy is there already
        ├── AccessInUse            an object cannot be taken from the projects that use it
        ├── NoGateway              a router has no gateway on the network of a floating IP
        ├── RangesOverlap          two ranges would hand out the same segments
        ├── ScopeOverlaps          two subnet pools of an address scope share addresses
        ├── MixedStates            stateful and stateless security groups on one port
        ├── PairsUnguarded         address pairs on a port without port security
        ├── Ambiguous              several records have the name
        ├── Unplugged              a port that is plugged in nowhere sends nothing
        ├── ForeignDevice          a port would be a router's without the router
        ├── UnsupportedOwner       the owner of a port does not let it change so
        └── DefaultExternalExists  another external network is the default one

What there is no more of is in `limits`.
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.errors.base import WeftError


class Conflict(WeftError):
    """Base of the refusals that a later or different request may not meet."""


class Exists(Conflict):
    """Raised when a value that must be unique is taken already."""

    def __init__(self, kind: str, what: str, by: str) -> None:
        super().__init__(f"{kind} with {what} exists already: {by}.")
        self.kind, self.what, self.by = kind, what, by


class StaleRevision(Conflict):
    """Raised when a request expects a revision of a record that is no longer the current one."""

    def __init__(self, kind: str, id: str, expected: int, found: int) -> None:
        super().__init__(f"{kind} {id} is at revision {found}, not at {expected}.")
        self.kind, self.id, self.expected, self.found = kind, id, expected, found


class PoolsOverlap(Conflict):
    """Raised when two allocation pools of a subnet share addresses."""

    def __init__(self, one: str, other: str, cidr: str) -> None:
        super().__init__(f"Found overlapping allocation pools: {one} {other} for subnet {cidr}.")
        self.one, self.other, self.cidr = one, other, cidr


class MtuTooSmall(Conflict):
    """Raised when a subnet needs a larger MTU (bytes) than its network has."""

    def __init__(self, network: str, least: int) -> None:
        super().__init__(f"MTU of {network} is not valid, subnet requires a minimum of {least}")
        self.network, self.least = network, least


class SharedByOthers(Conflict):
    """Raised when a network would no longer be shared with projects that have ports or subnets on it."""

    def __init__(self, network: str) -> None:
        super().__init__(
            f"Unable to reconfigure sharing settings for network {network}. Multiple projects are using it."
        )
        self.network = network


class CannotAutoAllocate(Conflict):
    """Raised when the cloud lacks what a project's network is made from by itself."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Deployment error: {reason}.")
        self.reason = reason


class BindingExists(Conflict):
    """Raised when a port has a binding to a host already."""

    def __init__(self, port: str, host: str) -> None:
        super().__init__(f"Binding for port {port} on host {host} already exists.")
        self.port, self.host = port, host


class AlreadyActive(Conflict):
    """Raised when a binding is activated that is active."""

    def __init__(self, port: str, host: str) -> None:
        super().__init__(f"Binding for port {port} on host {host} is already active.")
        self.port, self.host = port, host


class BindingFailed(Conflict):
    """Raised when a port cannot be on the host of a binding."""

    def __init__(self, port: str, host: str) -> None:
        super().__init__(f"Binding for port {port} on host {host} could not be created or updated.")
        self.port, self.host = port, host


class AccessExists(Conflict):
    """Raised when an RBAC policy is there already."""

    def __init__(self) -> None:
        super().__init__("An RBAC policy already exists with those values.")


class AccessInUse(Conflict):
    """Raised when an object would be taken from projects that use it."""

    def __init__(self, object_id: str, by: str) -> None:
        super().__init__(
            f"RBAC policy on object {object_id} cannot be removed because other objects depend on it.\nDetails: {by}"
        )
        self.object_id, self.by = object_id, by


class NoGateway(Conflict):
    """Raised when a router is to translate for a floating IP of a network that its gateway is not on."""

    def __init__(self, router: str, network: str) -> None:
        super().__init__(f"Router {router} has no gateway on external network {network}, where the floating IP is.")
        self.router, self.network = router, network


class RangesOverlap(Conflict):
    """Raised when a segment range would have segments of others."""

    def __init__(self, others: Sequence[str]) -> None:
        super().__init__(f"Network segment range overlaps with range(s) with id {', '.join(others)}")
        self.others = (*others,)


class ScopeOverlaps(Conflict):
    """Raised when two subnet pools of an address scope would share addresses."""

    def __init__(self) -> None:
        super().__init__(
            "Failed to associate address scope: subnetpools within an address scope must have unique prefixes."
        )


class MixedStates(Conflict):
    """Raised when a port would be in stateful and in stateless security groups."""

    def __init__(self) -> None:
        super().__init__(
            "Error Cannot apply both stateful and stateless security groups on the same port at the same time "
            "while attempting the operation."
        )


class PairsUnguarded(Conflict):
    """Raised when a port without port security would have address pairs."""

    def __init__(self) -> None:
        super().__init__("Port Security must be enabled in order to have allowed address pairs on a port.")


class Ambiguous(Conflict):
    """Raised when a record is asked for by a name that several have; of several kinds, `ids` say which each is."""

    def __init__(self, kind: str, name: str, ids: tuple[str, ...]) -> None:
        super().__init__(f"{len(ids)} {kind.lower()}s are named {name}: {', '.join(ids)}; say which by its id.")
        self.kind, self.name, self.ids = kind, name, ids


class Unplugged(Conflict):
    """Raised when something is asked of a port that only one that is plugged in can do."""

    def __init__(self, port: str, reason: str) -> None:
        super().__init__(f"Port {port} sends nothing: {reason}.")
        self.port, self.reason = port, reason


class ForeignDevice(Conflict):
    """Raised when a client would make a port an interface of a router without asking the router."""

    def __init__(self, device: str) -> None:
        super().__init__(
            f"The following device_id {device} is not owned by your project or matches another project router."
        )
        self.device = device


class UnsupportedOwner(Conflict):
    """Raised when the owner of a port does not let a client change it so."""

    def __init__(self, operation: str, owner: str, port: str) -> None:
        super().__init__(f"Operation {operation} is not supported for device_owner {owner} on port {port}.")
        self.operation, self.owner, self.port = operation, owner, port


class DefaultExternalExists(Conflict):
    """Raised when a second external network would be the default one."""

    def __init__(self, network: str) -> None:
        super().__init__(f"A default external network already exists: {network}.")
        self.network = network
