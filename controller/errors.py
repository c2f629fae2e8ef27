"""Every error Weft raises on purpose, as facts rather than sentences.

    WeftError
    ├── BadRequest              a request that would be wrong at any time
    │   ├── Invalid             an attribute holds what it may not hold
    │   ├── Unreadable          the body or the query is not what the API speaks
    │   ├── UnknownAttributes   the resource has no such attributes
    │   ├── MissingAttribute    a resource cannot be made without it
    │   ├── ReadOnlyAttribute   it is not the client's to set
    │   ├── Inconsistent        each value is fine, together or in this cloud they are not
    │   ├── ForeignAddress      an address outside the subnets it should be of
    │   ├── BadPool             an allocation pool that is no range of its subnet's version
    │   └── PoolOutOfBounds     an allocation pool reaches out of its subnet
    ├── NotFound                no such record
    ├── InUse                   a record that others still need
    │   ├── AddressInUse        another port of the network has the address
    │   ├── MacInUse            another port of the network has the MAC address
    │   ├── SegmentInUse        another network has the segment
    │   └── GatewayInPool       a gateway would be handed out to ports
    ├── Conflict
    │   ├── Exists              a unique value is taken
    │   ├── StaleRevision       the caller edits a version that is gone
    │   ├── PoolsOverlap        two allocation pools share addresses
    │   ├── MtuTooSmall         a subnet needs a larger MTU than its network has
    │   ├── SharedByOthers      a network cannot be taken from the projects that use it
    │   └── Exhausted           a pool has nothing left to give
    │       ├── NoAddress       the subnets of a network are full
    │       ├── NoSegment       every segment of a network type is taken
    │       └── NoMac           no free MAC address was found for a port
    ├── Unavailable             the store cannot be read or written just now
    ├── FlowError               a programmer's error, raised when a flow is built
    │   ├── ConflictingMatch    one field tested for two values
    │   └── Undeclared          a table was asked for what it did not declare
    └── SouthboundError
        ├── Disconnected        the peer is gone
        ├── Malformed           the peer sent what its protocol does not allow
        ├── Rejected            a switch refused a message
        └── OvsdbError          an OVSDB operation failed

HTTP statuses live in `northbound.faults` alone.
"""

from __future__ import annotations


class WeftError(Exception):
    """Base of all errors raised on purpose; `str()` of each is one sentence for an operator."""


class BadRequest(WeftError):
    """Base of the refusals that do not depend on what else exists or when."""


class Invalid(BadRequest):
    """Raised when an attribute holds what it may not hold."""

    def __init__(self, attribute: str, reason: str) -> None:
        super().__init__(f"Invalid input for {attribute}. Reason: {reason}.")
        self.attribute, self.reason = attribute, reason


class Unreadable(BadRequest):
    """Raised when a body or a query is not what the API speaks."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UnknownAttributes(BadRequest):
    """Raised when a resource has no attributes of these names."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__(f"Unrecognized attribute(s) '{', '.join(names)}'")
        self.names = names


class MissingAttribute(BadRequest):
    """Raised when a resource cannot be made without an attribute that was not given."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Failed to parse request. Required attribute '{name}' not specified")
        self.name = name


class ReadOnlyAttribute(BadRequest):
    """Raised when an attribute may not be set: not at all, or not after its resource was made."""

    def __init__(self, name: str, create: bool) -> None:
        if create:
            super().__init__(f"Attribute '{name}' not allowed in POST")
        else:
            super().__init__(f"Cannot update read-only attribute {name}")
        self.name, self.create = name, create


class Inconsistent(BadRequest):
    """Raised when each value is fine, but not together with the others or not in this cloud."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Invalid input for operation: {reason}.")
        self.reason = reason


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


class NotFound(WeftError):
    """Raised when a record that a request names does not exist."""

    def __init__(self, kind: str, id: str) -> None:
        super().__init__(f"{kind} {id} could not be found.")
        self.kind, self.id = kind, id


class InUse(WeftError):
    """Raised when a record cannot go or change because others need it."""

    def __init__(self, kind: str, id: str, by: str, said: str = "") -> None:
        stop = ":" if kind == "Subnet" else "."  # as Neutron writes it
        super().__init__(said or f"Unable to complete operation on {kind.lower()} {id}{stop} {by}.")
        self.kind, self.id, self.by = kind, id, by


class AddressInUse(InUse):
    """Raised when another port of the network has the address."""

    def __init__(self, network: str, address: str) -> None:
        by = f"The IP address {address} is in use"
        super().__init__("Network", network, by, f"Unable to complete operation for network {network}. {by}.")
        self.address = address


class MacInUse(InUse):
    """Raised when another port of the network has the MAC address."""

    def __init__(self, network: str, mac: str) -> None:
        by = f"The mac address {mac} is in use"
        super().__init__("Network", network, by, f"Unable to complete operation for network {network}. {by}.")
        self.mac = mac


class SegmentInUse(InUse):
    """Raised when another network has the segment."""

    def __init__(self, segment: int, by: str) -> None:
        said = f"Unable to create the network. The tunnel ID {segment} is in use."
        super().__init__("Segment", str(segment), by, said)
        self.segment = segment


class GatewayInPool(InUse):
    """Raised when a subnet's gateway would be handed out to ports."""

    def __init__(self, gateway: str, start: str, end: str) -> None:
        by = f"allocation pool {start}-{end}"
        super().__init__("Gateway", gateway, by, f"Gateway ip {gateway} conflicts with {by}.")
        self.gateway, self.start, self.end = gateway, start, end


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


class Exhausted(Conflict):
    """Raised when a pool (addresses of a subnet, segments, tags) has nothing left to give."""

    def __init__(self, pool: str, id: str, said: str = "") -> None:
        super().__init__(said or f"No more {pool} available in {id}.")
        self.pool, self.id = pool, id


class NoAddress(Exhausted):
    """Raised when no subnet that a port may use has a free address in its pools."""

    def __init__(self, network: str) -> None:
        super().__init__("addresses", network, f"No more IP addresses available on network {network}.")


class NoSegment(Exhausted):
    """Raised when every segment of a network type is taken."""

    def __init__(self, network_type: str) -> None:
        said = "Unable to create the network. No project network is available for allocation."
        super().__init__("segments", network_type, said)


class NoMac(Exhausted):
    """Raised when no free MAC address was found for a port."""

    def __init__(self, network: str) -> None:
        super().__init__("MAC addresses", network, f"Unable to generate unique mac on network {network}.")


class Unavailable(WeftError):
    """Raised when the store cannot make a change durable; nothing of the change happened."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The store is unavailable: {reason}.")
        self.reason = reason


class FlowError(WeftError):
    """Base of a programmer's errors in flows; raised at construction, never at run time of a switch."""


class ConflictingMatch(FlowError):
    """Raised when two halves of a match test one field for different values."""

    def __init__(self, field: str, one: str, other: str) -> None:
        super().__init__(f"{field} cannot be both {one} and {other}.")
        self.field, self.one, self.other = field, one, other


class Undeclared(FlowError):
    """Raised when a flow asks a table for a match, set, jump or priority it did not declare."""

    def __init__(self, place: str, what: str, name: str) -> None:
        super().__init__(f"{place} does not declare {what} {name}.")
        self.place, self.what, self.name = place, what, name


class SouthboundError(WeftError):
    """Base of the errors of switches and of their databases."""


class Disconnected(SouthboundError):
    """Raised when the connection to a peer is gone or silent for too long."""

    def __init__(self, peer: str, reason: str) -> None:
        super().__init__(f"{peer} is disconnected: {reason}.")
        self.peer, self.reason = peer, reason


class Malformed(SouthboundError):
    """Raised when a peer sent bytes that its protocol does not allow."""

    def __init__(self, peer: str, reason: str) -> None:
        super().__init__(f"{peer} sent what cannot be read: {reason}.")
        self.peer, self.reason = peer, reason


class Rejected(SouthboundError):
    """Raised when a switch answers a message with an OpenFlow error (type and code, OpenFlow 1.4.1 section 7.5.4)."""

    def __init__(self, what: str, type: int, code: int) -> None:
        super().__init__(f"The switch refused {what} with error {type}/{code}.")
        self.what, self.type, self.code = what, type, code


class OvsdbError(SouthboundError):
    """Raised when an OVSDB operation fails (RFC 7047 section 4.1.3)."""

    def __init__(self, operation: str, error: str, details: str = "") -> None:
        super().__init__(f"OVSDB operation {operation} failed: {error}" + (f" ({details})" if details else "") + ".")
        self.operation, self.error, self.details = operation, error, details
