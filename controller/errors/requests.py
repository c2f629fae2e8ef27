"""What is asked wrongly: requests that would be wrong at any time, whatever else exists.

    WeftError
    └── BadRequest              a request that would be wrong at any time
        ├── Invalid             an attribute holds what it may not hold
        ├── Unreadable          the body or the query is not what the API speaks
        ├── OtherProject        what is made would belong to somebody else
        ├── UnknownAttributes   the resource has no such attributes
        ├── MissingAttribute    a resource cannot be made without it
        ├── ReadOnlyAttribute   it is not the client's to set
        ├── Inconsistent        each value is fine, together or in this cloud they are not
        ├── NoTransparency      a network cannot carry its guests' VLAN tags
        ├── BadRange            a range that networks of its type cannot be numbered from
        ├── DefaultRangeStays   a range of the configuration cannot be changed by requests
        ├── UsedAlready         a quota below what the project has
        ├── NoProject           it is not known which project asks
        ├── BadAction           an RBAC policy that allows what its object does not know
        ├── NoGroupsUnguarded   security groups on a port without port security
        ├── PairWithoutAddress  an address pair that has no address
        ├── RepeatedPair        one address pair twice
        ├── TooManyPairs        more address pairs than a port may have
        ├── SegmentsBesides     a network's segment named twice
        ├── TooManyOptions      a subnet would tell guests of more than there may be
        ├── Senseless           a request to a resource that makes no sense
        │   └── BadRouter       a request to a router that makes no sense
        ├── InvalidRoutes       routes that a router could not follow
        ├── SubnetMismatch      a port that is not on the subnet named beside it
        ├── RouterAddressStays  an IPv4 address that an interface of a router would lose or get
        ├── AddressesPresent    an address group has the addresses already
        ├── NoExternalAddress   an external network gave a floating IP no IPv4 address
        └── PortForwards        port forwardings lead to a port that would get a floating IP

Those about addresses and what they are taken from are in `addressing`, those about security group rules in `rules`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from controller.errors.base import WeftError


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


class OtherProject(BadRequest):
    """Raised when a caller who is no administrator would make something for another project."""

    def __init__(self) -> None:
        super().__init__(
            "Specifying 'project_id' or 'tenant_id' other than the authenticated project in request requires admin "
            "privileges"
        )


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


class NoTransparency(BadRequest):
    """Raised when a network should carry VLAN tags of its guests: their ports are untagged."""

    def __init__(self) -> None:
        super().__init__("Backend does not support VLAN Transparency.")


class BadRange(BadRequest):
    """Raised when networks of a type cannot be numbered from a range; `fault` is Neutron's name for what is wrong."""

    def __init__(self, type: str, first: int, last: int, reason: str) -> None:
        self.fault, word = (
            ("NetworkVlanRangeError", "VLAN") if type == "vlan" else ("NetworkTunnelRangeError", "tunnel")
        )
        super().__init__(f"Invalid network {word} range: '{first}:{last}' - {reason}.")


class DefaultRangeStays(BadRequest):
    """Raised when a request would change a segment range that the configuration has."""

    def __init__(self, id: str) -> None:
        said = f"Network Segment Range {id} is a default segment range which could not be updated or deleted."
        super().__init__(said)
        self.id = id


class UsedAlready(BadRequest):
    """Raised when a project's quota would be less than what it has."""

    def __init__(self, resource: str, limit: int, used: int) -> None:
        super().__init__(f"Quota limit {limit} for {resource} must be greater than or equal to already used {used}")
        self.resource, self.limit, self.used = resource, limit, used


class NoProject(BadRequest):
    """Raised when a request speaks for no project and must."""

    def __init__(self) -> None:
        super().__init__("Tenant-id was missing from quota request.")


class BadAction(BadRequest):
    """Raised when an RBAC policy would allow what objects of its type do not know."""

    def __init__(self, action: str, object_type: str, known: tuple[str, ...]) -> None:
        super().__init__(f"Invalid action '{action}' for object type '{object_type}'. Valid actions: {known}")
        self.action, self.object_type, self.known = action, object_type, known


class NoGroupsUnguarded(BadRequest):
    """Raised when a port without port security is put into security groups."""

    def __init__(self) -> None:
        super().__init__(
            "Port security must be enabled and port must have an IP address in order to use security groups."
        )


class PairWithoutAddress(BadRequest):
    """Raised when an address pair has no address."""

    def __init__(self) -> None:
        super().__init__("AllowedAddressPair must contain ip_address")


class RepeatedPair(BadRequest):
    """Raised when a port is given an address pair twice."""

    def __init__(self, mac: str, address: str) -> None:
        super().__init__(f"Request contains duplicate address pair: mac_address {mac} ip_address {address}.")
        self.mac, self.address = mac, address


class TooManyPairs(BadRequest):
    """Raised when a port is given more address pairs than it may have."""

    def __init__(self, most: int) -> None:
        super().__init__(f"The number of allowed address pair exceeds the maximum {most}.")
        self.most = most


class SegmentsBesides(BadRequest):
    """Raised when a network is asked for with its segment named twice."""

    def __init__(self) -> None:
        super().__init__("Segments and provider values cannot both be set.")


class TooManyOptions(BadRequest):
    """Raised when a subnet would tell guests of more than there may be."""

    def __init__(self, subnet: str, what: str, most: int) -> None:
        super().__init__(f"Unable to complete operation for {subnet}. The number of {what} exceeds the limit {most}.")
        self.subnet, self.what, self.most = subnet, what, most


class Senseless(BadRequest):
    """Raised when a request to a resource makes no sense."""

    def __init__(self, resource: str, reason: str) -> None:
        super().__init__(f"Bad {resource} request: {reason}.")
        self.resource, self.reason = resource, reason


class BadRouter(Senseless):
    """Raised when a request to a router makes no sense."""

    def __init__(self, reason: str) -> None:
        super().__init__("router", reason)


class InvalidRoutes(BadRequest):
    """Raised when a router could not follow its routes, given as clients give them."""

    def __init__(self, routes: Sequence[Mapping[str, str]], reason: str) -> None:
        super().__init__(f"Invalid format for routes: {[*routes]}, {reason}")
        self.routes, self.reason = routes, reason


class SubnetMismatch(BadRequest):
    """Raised when a port is not on the subnet that a request names beside it."""

    def __init__(self, port: str, subnet: str) -> None:
        super().__init__(f"Subnet on port {port} does not match the requested subnet {subnet}.")
        self.port, self.subnet = port, subnet


class RouterAddressStays(BadRequest):
    """Raised when the IPv4 addresses of a router's interface would change."""

    def __init__(self, port: str) -> None:
        super().__init__(f"IP updates for port {port} are not allowed")
        self.port = port


class AddressesPresent(BadRequest):
    """Raised when addresses are added to an address group that has them."""

    def __init__(self, addresses: tuple[str, ...], group: str) -> None:
        super().__init__(f"Addresses {[*addresses]} already exist in the address group {group}.")
        self.addresses, self.group = addresses, group


class NoExternalAddress(BadRequest):
    """Raised when an external network gave a floating IP no IPv4 address."""

    def __init__(self, network: str) -> None:
        super().__init__(f"Unable to find any IP address on external network {network}.")
        self.network = network


class PortForwards(BadRequest):
    """Raised when a port would get a floating IP that port forwardings lead to."""

    def __init__(self, port: str) -> None:
        super().__init__(
            f"Cannot associate floating IP to port {port} because it already has a Port Forwarding binding."
        )
        self.port = port
