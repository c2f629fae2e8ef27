"""Every error Weft raises on purpose, as facts rather than sentences.

    WeftError
    ├── BadRequest              a request that would be wrong at any time
    │   ├── Invalid             an attribute holds what it may not hold
    │   ├── OtherProject        what is made would belong to somebody else
    │   ├── Unreadable          the body or the query is not what the API speaks
    │   ├── UnknownAttributes   the resource has no such attributes
    │   ├── MissingAttribute    a resource cannot be made without it
    │   ├── ReadOnlyAttribute   it is not the client's to set
    │   ├── Inconsistent        each value is fine, together or in this cloud they are not
    │   ├── NoTransparency      a network cannot carry its guests' VLAN tags
    │   ├── Senseless           a request to a resource that makes no sense
    │   │   └── BadRouter           one to a router
    │   ├── InvalidRoutes       routes that a router could not follow
    │   ├── SubnetMismatch      a port that is not on the subnet named beside it
    │   ├── RouterAddressStays  an IPv4 address that an interface of a router would lose or get
    │   ├── ForeignAddress      an address outside the subnets it should be of
    │   ├── BadPrefixes         prefixes that no subnet pool can have
    │   ├── PrefixesStay        a subnet pool would lose prefixes that it needs
    │   ├── PoolStays           a subnet pool cannot change so
    │   ├── PoolHolds           a subnet pool still has subnets
    │   ├── ForeignScope        an address scope that a subnet pool cannot be of
    │   ├── ScopeStaysShared    an address scope would no longer be shared
    │   ├── PrefixRefused       a subnet of a size that its pool does not give
    │   ├── ManyPools           the subnets of a network would be of several pools
    │   ├── ManyScopes          the subnets of a network would be of several address scopes
    │   ├── NoServiceType       a subnet for what is no owner of ports
    │   ├── UsedAlready         a quota below what the project has
    │   ├── NoProject           it is not known which project asks
    │   ├── BadRange            a range that networks of its type cannot be numbered from
    │   ├── DefaultRangeStays   a range of the configuration cannot be changed by requests
    │   ├── BadAction           an RBAC policy that allows what its object does not know
    │   ├── BadPool             an allocation pool that is no range of its subnet's version
    │   ├── PoolOutOfBounds     an allocation pool reaches out of its subnet
    │   ├── BadRule             a security group rule that means nothing
    │   │   ├── UnknownProtocol     no IP protocol has that name or number
    │   │   ├── UnknownEthertype    neither IPv4 nor IPv6
    │   │   ├── BadPort             no port has that number
    │   │   ├── BadPortRange        a range without one of its ends, or that ends before it starts
    │   │   ├── NoProtocol          ports of no protocol
    │   │   ├── NoPorts             ports of a protocol that has none
    │   │   ├── BadIcmp             no ICMP type or code has that number
    │   │   ├── NoIcmpType          an ICMP code of no type
    │   │   ├── ForeignProtocol     a protocol of IPv6 in a rule for IPv4
    │   │   ├── BadPrefix           no block of addresses
    │   │   ├── ForeignPrefix       a block of the other IP version
    │   │   ├── ManyRemotes         more than one of prefix, group and address group
    │   │   ├── ManyGroups          rules of several groups in one request
    │   │   └── ManyProjects        rules of several projects in one request
    │   ├── NoGroupsUnguarded   security groups on a port without port security
    │   ├── PairWithoutAddress  an address pair that has no address
    │   ├── RepeatedPair        one address pair twice
    │   ├── TooManyPairs        more address pairs than a port may have
    │   ├── AddressesPresent    an address group has the addresses already
    │   ├── NoExternalAddress   an external network gave a floating IP no IPv4 address
    │   └── PortForwards        port forwardings lead to a port that would get a floating IP
    ├── NotFound                no such record
    │   ├── NoInterface         the router has no such interface
    │   ├── NoWayOut            no router joins a subnet to an external network
    │   └── AddressesAbsent     an address group does not have the addresses
    ├── InUse                   a record that others still need
    │   ├── PortInUse           the port is another device's
    │   ├── OwnedPort           the port is a router's
    │   ├── InterfaceInUseByRoute  routes go by the interface
    │   ├── InterfaceInUseByFloatingIp  floating IPs stand for addresses behind the interface
    │   ├── ExternalInUse       an external network has gateways or floating IPs
    │   ├── RouterGatewayInUse  floating IPs need a router's gateway
    │   ├── AlreadyAssociated   an address has a floating IP of the same external network
    │   ├── AssociatedByOthers  a port has a floating IP of another project
    │   ├── ForwardingsRemain   a floating IP has port forwardings
    │   ├── HasFloatingIp       a port that forwardings should lead to has a floating IP
    │   ├── GatewayInUse        a router has the gateway address of a subnet
    │   ├── AddressInUse        another port of the network has the address
    │   ├── MacInUse            another port of the network has the MAC address
    │   ├── SegmentInUse        another network has the segment
    │   ├── VlanInUse           another network has the VLAN
    │   ├── PhysicalInUse       a physical network has its flat network already
    │   ├── GatewayInPool       a gateway would be handed out to ports
    │   ├── RangeInUse          networks are numbered from a range
    │   ├── DefaultStays        a project's default security group cannot go
    │   ├── DefaultKeepsName    nor get another name
    │   ├── DefaultExists       nor can there be a second one
    │   ├── RuleExists          a security group has the rule already
    │   ├── DefaultRuleExists   new security groups are born with the rule already
    │   ├── RepeatedRule        one security group rule twice in a request
    │   └── GroupsRemain        port security cannot go before the security groups of the port
    ├── Conflict
    │   ├── Exists              a unique value is taken
    │   ├── StaleRevision       the caller edits a version that is gone
    │   ├── PoolsOverlap        two allocation pools share addresses
    │   ├── MtuTooSmall         a subnet needs a larger MTU than its network has
    │   ├── AccessExists        an RBAC policy is there already
    │   ├── AccessInUse         an object cannot be taken from the projects that use it
    │   ├── NoGateway           a router has no gateway on the network of a floating IP
    │   ├── RangesOverlap       two ranges would hand out the same segments
    │   ├── ScopeOverlaps       two subnet pools of an address scope share addresses
    │   ├── OverQuota           a project would have more than it may
    │   │   ├── PoolQuotaExceeded   of one subnet pool
    │   │   └── TooManyRoutes       routes of a router
    │   ├── SharedByOthers      a network cannot be taken from the projects that use it
    │   ├── MixedStates         stateful and stateless security groups on one port
    │   ├── PairsUnguarded      address pairs on a port without port security
    │   ├── Ambiguous           several records have the name
    │   ├── Unplugged           a port that is plugged in nowhere sends nothing
    │   ├── ForeignDevice       a port would be a router's without the router
    │   ├── UnsupportedOwner    the owner of a port does not let it change so
    │   ├── DefaultExternalExists  another external network is the default one
    │   └── Exhausted           a pool has nothing left to give
    │       ├── NoAddress       the subnets of a network are full
    │       │   └── NoService   none of them is for the owner of the port
    │       ├── NoPrefix        a subnet pool has no room for a subnet
    │       ├── NoSegment       every segment of a network type is taken
    │       └── NoMac           no free MAC address was found for a port
    ├── CannotListen            an address is taken, or not this machine's
    ├── Unauthorized            nobody knows who asks
    ├── Forbidden               the caller may not do that
    ├── Throttled               too many requests of callers that nobody knows
    ├── IdentityUnavailable     whoever knows the callers does not answer
    ├── Unavailable             the store cannot be read or written just now
    ├── Unproven                a proof could not be made
    ├── BadDump                 a flow or group in a dump that cannot be read
    ├── BadArchive              a file is none of `weft bundle`, or is damaged
    ├── FlowError               a programmer's error, raised when a flow is built
    │   ├── ConflictingMatch    one field tested for two values
    │   └── Undeclared          a table was asked for what it did not declare
    └── SouthboundError
        ├── Disconnected        the peer is gone
        ├── Malformed           the peer sent what its protocol does not allow
        ├── Rejected            a switch refused a message
        ├── Oversized           a flow or group fits into no message
        └── OvsdbError          an OVSDB operation failed

HTTP statuses live in `northbound.faults` alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self


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


class BadRule(BadRequest):
    """Base of the refusals of security group rules that mean nothing."""


class UnknownProtocol(BadRule):
    """Raised when no IP protocol has the name or number; `known` are the names."""

    def __init__(self, protocol: str, known: str = "") -> None:
        super().__init__(
            f"Security group rule protocol {protocol} not supported. Only protocol values {known} and integer "
            "representations [0 to 255] are supported."
        )
        self.protocol, self.known = protocol, known


class UnknownEthertype(BadRule):
    """Raised when a rule is for neither IPv4 nor IPv6."""

    def __init__(self, ethertype: str) -> None:
        super().__init__(
            f"Security group rule for ethertype '{ethertype}' not supported. Allowed values are ['IPv4', 'IPv6']."
        )
        self.ethertype = ethertype


class BadPort(BadRule):
    """Raised when no port has the number."""

    def __init__(self, port: str) -> None:
        super().__init__(f"Invalid value for port {port}")
        self.port = port


class BadPortRange(BadRule):
    """Raised when a range of ports lacks one of its ends, or ends before it starts."""

    def __init__(self, low: int | None, high: int | None) -> None:
        super().__init__("For TCP/UDP protocols, port_range_min must be <= port_range_max")
        self.low, self.high = low, high


class NoProtocol(BadRule):
    """Raised when a rule has ports but no protocol that they are of."""

    def __init__(self) -> None:
        super().__init__("Must also specify protocol if port range is given.")


class NoPorts(BadRule):
    """Raised when a rule has ports but its protocol has none."""

    def __init__(self, protocol: int) -> None:
        super().__init__(
            f"Ports cannot be specified for protocol {protocol}. "
            "Ports are only supported for DCCP, SCTP, TCP, UDP, UDPLITE."
        )
        self.protocol = protocol


class BadIcmp(BadRule):
    """Raised when no ICMP type or code (`field`) has the number."""

    def __init__(self, field: str, attribute: str, value: int) -> None:
        super().__init__(f"Invalid value for ICMP {field} ({attribute}) {value}. It must be 0 to 255.")
        self.field, self.attribute, self.value = field, attribute, value


class NoIcmpType(BadRule):
    """Raised when a rule has an ICMP code but no type that it is of."""

    def __init__(self, code: int) -> None:
        super().__init__(f"ICMP code (port-range-max) {code} is provided but ICMP type (port-range-min) is missing.")
        self.code = code


class ForeignProtocol(BadRule):
    """Raised when a protocol does not exist in the IP version of its rule."""

    def __init__(self, ethertype: str, protocol: str) -> None:
        super().__init__(f"Invalid ethertype {ethertype} for protocol {protocol}.")
        self.ethertype, self.protocol = ethertype, protocol


class BadPrefix(BadRule):
    """Raised when a prefix is no block of addresses."""

    def __init__(self, prefix: str) -> None:
        super().__init__(f"Invalid CIDR {prefix} given as IP prefix.")
        self.prefix = prefix


class ForeignPrefix(BadRule):
    """Raised when a prefix is not of the IP version of its rule."""

    def __init__(self, ethertype: str, cidr: str) -> None:
        super().__init__(f"Conflicting value ethertype {ethertype} for CIDR {cidr}")
        self.ethertype, self.cidr = ethertype, cidr


class ManyRemotes(BadRule):
    """Raised when a rule names more than one of prefix, security group and address group."""

    def __init__(self) -> None:
        super().__init__("Only one of remote_ip_prefix or remote_group_id or remote_address_group_id may be provided.")


class ManyGroups(BadRule):
    """Raised when the rules of one request are of several security groups."""

    def __init__(self) -> None:
        super().__init__("Only allowed to update rules for one security profile at a time")


class ManyProjects(BadRule):
    """Raised when the rules of one request are of several projects."""

    def __init__(self) -> None:
        super().__init__("Multiple project_ids in bulk security group rule create not allowed")


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


class FormedAddress(BadRequest):
    """Raised when a port is given another address of an automatic subnet than the one that it forms itself."""

    def __init__(self, address: str, subnet: str) -> None:
        super().__init__(
            f"IPv6 address {address} cannot be directly assigned to a port on subnet {subnet} as the subnet is "
            "configured for automatic addresses"
        )
        self.address, self.subnet = address, subnet


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


_ABSENT = {
    "SecurityGroup": "Security group {} does not exist",
    "SecurityGroupRule": "Security group rule {} does not exist",
    "DefaultSecurityGroupRule": "Default Security Group rule {} does not exist",
    "AddressGroup": "Address group {} could not be found.",
    "AddressScope": "Address scope {} could not be found.",
    "SubnetPool": "Subnet pool {} could not be found.",
    "NetworkSegmentRange": "Network Segment Range {} could not be found.",
    "RbacPolicy": "RBAC policy of type unknown with ID {} not found",
    "TenantQuota": "Quota for project {} could not be found.",
    "Router": "Router {} could not be found",
    "FloatingIp": "Floating IP {} could not be found",
    "PortForwarding": "Port Forwarding {} could not be found.",
}
"""As Neutron writes it; of most kinds by their names."""


class NotFound(WeftError):
    """Raised when a record that a request names does not exist."""

    def __init__(self, kind: str, id: str, said: str = "") -> None:
        super().__init__(said or _ABSENT.get(kind, f"{kind} {{}} could not be found.").format(id))
        self.kind, self.id = kind, id


class AddressesAbsent(NotFound):
    """Raised when addresses are taken from an address group that does not have them."""

    def __init__(self, addresses: tuple[str, ...], group: str) -> None:
        said = f"Addresses {[*addresses]} not found in the address group {group}."
        super().__init__("Addresses", group, said)
        self.addresses, self.group = addresses, group


class NoInterface(NotFound):
    """Raised when a router has no interface that is this port, or is on this subnet."""

    def __init__(self, router: str, port: str = "", subnet: str = "") -> None:
        lacks = f"does not have an interface with id {port}" if port else f"has no interface on subnet {subnet}"
        super().__init__("RouterInterface", port or subnet, f"Router {router} {lacks}")
        self.router, self.port, self.subnet = router, port, subnet


class NoWayOut(NotFound):
    """Raised when no router joins the subnet of a port to an external network."""

    def __init__(self, network: str, subnet: str, port: str) -> None:
        said = (
            f"External network {network} is not reachable from subnet {subnet}.  Therefore, cannot associate Port "
            f"{port} with a Floating IP."
        )
        super().__init__("ExternalGatewayForFloatingIP", network, said)
        self.network, self.subnet, self.port = network, subnet, port


class InUse(WeftError):
    """Raised when a record cannot go or change because others need it."""

    def __init__(self, kind: str, id: str, by: str, said: str = "") -> None:
        stop = ":" if kind == "Subnet" else "."  # as Neutron writes it
        super().__init__(said or f"Unable to complete operation on {kind.lower()} {id}{stop} {by}.")
        self.kind, self.id, self.by = kind, id, by


class AddressInUse(InUse):
    """Raised when another port has an address of a subnet."""

    def __init__(self, subnet: str, address: str) -> None:
        said = f"IP address {address} already allocated in subnet {subnet}"
        super().__init__("Subnet", subnet, "another port", said)
        self.subnet, self.address = subnet, address


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


class VlanInUse(InUse):
    """Raised when another network has the VLAN of a physical network."""

    def __init__(self, vlan: int, physical: str, by: str) -> None:
        said = f"Unable to create the network. The VLAN {vlan} on physical network {physical} is in use."
        super().__init__("VLAN", str(vlan), by, said)
        self.vlan, self.physical = vlan, physical


class PhysicalInUse(InUse):
    """Raised when a physical network has its flat network already."""

    def __init__(self, physical: str, by: str) -> None:
        said = f"Unable to create the flat network. Physical network {physical} is in use."
        super().__init__("Physical network", physical, by, said)
        self.physical = physical


class GatewayInPool(InUse):
    """Raised when a subnet's gateway would be handed out to ports."""

    def __init__(self, gateway: str, start: str, end: str) -> None:
        by = f"allocation pool {start}-{end}"
        super().__init__("Gateway", gateway, by, f"Gateway ip {gateway} conflicts with {by}.")
        self.gateway, self.start, self.end = gateway, start, end


class RangeInUse(InUse):
    """Raised when a segment range would lose segments that networks have."""

    def __init__(self, id: str) -> None:
        by = "one or more project networks"
        said = f"Network Segment Range {id} is referenced by {by}."
        super().__init__("NetworkSegmentRange", id, by, said)


class DefaultStays(InUse):
    """Raised when a project's default security group would be deleted."""

    def __init__(self, group: str) -> None:
        said = "Insufficient rights for removing default security group."
        super().__init__("SecurityGroup", group, "its project", said)


class DefaultKeepsName(InUse):
    """Raised when a project's default security group would be renamed."""

    def __init__(self, group: str) -> None:
        super().__init__("SecurityGroup", group, "its project", "Updating default security group not allowed.")


class DefaultExists(InUse):
    """Raised when a second security group would be called `default`."""

    def __init__(self) -> None:
        said = "Default security group already exists."
        super().__init__("SecurityGroup", "default", "the default security group", said)


class RuleExists(InUse):
    """Raised when a security group has a rule already."""

    def __init__(self, rule: str) -> None:
        said = f"Security group rule already exists. Rule id is {rule}."
        super().__init__("SecurityGroupRule", rule, "its security group", said)


class DefaultRuleExists(InUse):
    """Raised when new security groups are born with a rule already."""

    def __init__(self, rule: str) -> None:
        said = f"Default Security group rule already exists. Rule id is {rule}."
        super().__init__("DefaultSecurityGroupRule", rule, "new security groups", said)


class RepeatedRule(InUse):
    """Raised when a request has a rule twice."""

    def __init__(self) -> None:
        super().__init__("SecurityGroupRule", "", "the request", "Duplicate Security Group Rule in POST.")


class GroupsRemain(InUse):
    """Raised when port security would be turned off for a port in security groups."""

    def __init__(self, port: str) -> None:
        said = (
            "Port has security group associated. Cannot disable port security or IP address until security group "
            "is removed."
        )
        super().__init__("Port", port, "its security groups", said)


class PortInUse(InUse):
    """Raised when a port that is to be a router's is another device's already."""

    def __init__(self, port: str, network: str, device: str) -> None:
        by = f"Port already has an attached device {device}"
        super().__init__("Port", port, by, f"Unable to complete operation on port {port} for network {network}. {by}.")
        self.device = device


class OwnedPort(InUse):
    """Raised when a port is a router's, and so not to be deleted by itself."""

    def __init__(self, port: str, owner: str) -> None:
        by = f"has device owner {owner}"
        super().__init__("ServicePort", port, by, f"Port {port} cannot be deleted directly via the port API: {by}.")
        self.owner = owner


class InterfaceInUseByRoute(InUse):
    """Raised when a router's routes go by an interface that it should lose."""

    def __init__(self, router: str, subnet: str) -> None:
        said = (
            f"Router interface for subnet {subnet} on router {router} cannot be deleted, "
            "as it is required by one or more routes."
        )
        super().__init__("RouterInterface", subnet, "one or more routes", said)
        self.router, self.subnet = router, subnet


class InterfaceInUseByFloatingIp(InUse):
    """Raised when floating IPs stand for addresses of a subnet that a router would leave."""

    def __init__(self, router: str, subnet: str) -> None:
        said = (
            f"Router interface for subnet {subnet} on router {router} cannot be deleted, "
            "as it is required by one or more floating IPs."
        )
        super().__init__("RouterInterface", subnet, "one or more floating IPs", said)
        self.router, self.subnet = router, subnet


class ExternalInUse(InUse):
    """Raised when a network with gateways of routers or floating IPs would no longer be external."""

    def __init__(self, network: str) -> None:
        said = (
            f"External network {network} cannot be updated to be made non-external, "
            "since it has existing gateway ports."
        )
        super().__init__("ExternalNetwork", network, "gateway ports", said)


class RouterGatewayInUse(InUse):
    """Raised when a router would lose the gateway to a network that its floating IPs are of."""

    def __init__(self, router: str, network: str) -> None:
        said = (
            f"Gateway cannot be updated for router {router}, since a gateway to external network {network} is "
            "required by one or more floating IPs."
        )
        super().__init__("RouterExternalGateway", router, "one or more floating IPs", said)
        self.router, self.network = router, network


class AlreadyAssociated(InUse):
    """Raised when a floating IP would stand for an address that has one of the same network, or while it is taken."""

    def __init__(self, address: str, floating_ip: str, port: str, fixed: str, network: str) -> None:
        said = (
            f"Cannot associate floating IP {address} ({floating_ip}) with port {port} using fixed IP {fixed}, as that "
            f"fixed IP already has a floating IP on external network {network}."
        )
        super().__init__("FloatingIP", floating_ip, f"port {port}", said)
        self.address, self.port, self.fixed, self.network = address, port, fixed, network


class AssociatedByOthers(InUse):
    """Raised when a caller would delete a port that has a floating IP of another project."""

    def __init__(self, port: str) -> None:
        said = f"Unable to complete the operation on port {port} because the port still has an associated floating IP."
        super().__init__("Port", port, "a floating IP", said)


class ForwardingsRemain(InUse):
    """Raised when a floating IP with port forwardings would go, or stand for one address."""

    def __init__(self, floating_ip: str) -> None:
        said = f"Floating IP {floating_ip} in use by Port Forwarding resources."
        super().__init__("FloatingIP", floating_ip, "port forwardings", said)


class HasFloatingIp(InUse):
    """Raised when port forwardings would lead to a port that has a floating IP."""

    def __init__(self, address: str, floating_ip: str, port: str, fixed: str) -> None:
        said = (
            f"Cannot create port forwarding to floating IP {address} ({floating_ip}) with port {port} using fixed IP "
            f"{fixed}, as that port already has a binding floating IP."
        )
        super().__init__("Port", port, f"floating IP {floating_ip}", said)
        self.address, self.floating_ip, self.fixed = address, floating_ip, fixed


class GatewayInUse(InUse):
    """Raised when a subnet would get another gateway while a router has the address of this one."""

    def __init__(self, gateway: str, port: str) -> None:
        said = f"Current gateway ip {gateway} already in use by port {port}. Unable to update."
        super().__init__("Gateway", gateway, f"port {port}", said)
        self.gateway, self.port = gateway, port


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


class OverQuota(Conflict):
    """Raised when a project would have more resources of these names than it may."""

    def __init__(self, resources: Sequence[str], said: str = "") -> None:
        super().__init__(said or f"Quota exceeded for resources: {[*resources]}.")
        self.resources = resources


class PoolQuotaExceeded(OverQuota):
    """Raised when a project would have more of a subnet pool than it may."""

    def __init__(self) -> None:
        super().__init__((), "Per-project subnet pool prefix quota exceeded.")


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
    """Raised when a record is asked for by a name that several have."""

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


class Unauthorized(WeftError):
    """Raised when a request shows no token, or none that is known."""

    def __init__(self) -> None:
        super().__init__("The request you have made requires authentication.")


class Forbidden(WeftError):
    """Raised when a caller sees what it may not change so; `rules` are those of `northbound.policy` that were asked."""

    def __init__(self, rules: tuple[str, ...]) -> None:
        said = " and ".join(f"rule:{rule}" for rule in rules)
        super().__init__(f"({said}) is disallowed by policy" if len(rules) > 1 else f"{said} is disallowed by policy")
        self.rules = rules


class Throttled(WeftError):
    """Raised when more requests without a known token come from one address than are looked at."""

    def __init__(self, wait: int) -> None:
        super().__init__(
            f"Too many requests without a valid token came from this address: try again in {wait} s, with one."
        )
        self.wait = wait


class IdentityUnavailable(WeftError):
    """Raised when it cannot be found out who asks."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The identity service is unavailable: {reason}.")
        self.reason = reason


class Unavailable(WeftError):
    """Raised when the store cannot make a change durable; nothing of the change happened."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The store is unavailable: {reason}.")
        self.reason = reason


class Unproven(WeftError):
    """Raised when a proof could not be made."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Nothing could be proven: {reason}")
        self.reason = reason


class BadDump(WeftError):
    """Raised when a line of a dump is no flow or group as Open vSwitch tells them."""

    def __init__(self, line: str, reason: str) -> None:
        super().__init__(f"This is no flow or group as Open vSwitch tells them ({reason}): {line}")
        self.line, self.reason = line, reason


class BadArchive(WeftError):
    """Raised when a file is no archive of `weft bundle`, or a part of it cannot be read."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path} cannot be used: {reason}.")
        self.path, self.reason = path, reason


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


class CannotListen(WeftError):
    """Raised when the controller cannot listen where an option says it should."""

    def __init__(self, option: str, address: str, reason: str) -> None:
        super().__init__(f"Weft cannot listen on {address} (option --{option}): {reason}.")
        self.option, self.address, self.reason = option, address, reason


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


class Oversized(SouthboundError):
    """Raised when a group has more buckets, or a flow more actions, than fit into one OpenFlow message."""

    def __init__(self, what: str, parts: str, count: int, fit: int) -> None:
        super().__init__(f"{what} has {count} {parts}, and one OpenFlow message holds {fit}.")
        self.what, self.parts, self.count, self.fit = what, parts, count, fit


class OvsdbError(SouthboundError):
    """Raised when an OVSDB operation fails (RFC 7047 section 4.1.3)."""

    def __init__(self, operation: str, error: str, details: str = "") -> None:
        super().__init__(f"OVSDB operation {operation} failed: {error}" + (f" ({details})" if details else "") + ".")
        self.operation, self.error, self.details = operation, error, details
