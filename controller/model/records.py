"""The records: everything Weft knows, as frozen values.

A record is one row of the model. What people ask for (networks, subnets, ports) and what hypervisors report
(chassis, bindings, links) are records alike; flows are a pure function of them. A record names the
attributes it is found by in `INDEXES`; unique ones in `UNIQUE`. A kind with `DURABLE = False` lives in memory
only: it is reported anew by its source after every start.

Addresses are canonical text: `Mac` is lower case with colons, `Address` is what `netaddr` prints. They are parsed
at the edge and trusted inside.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from ipaddress import ip_network
from operator import attrgetter
from typing import ClassVar, NewType, TypeVar

from controller.model.protocols import number

Mac = NewType("Mac", str)
Address = NewType("Address", str)
Cidr = NewType("Cidr", str)

Index = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One row of the model; `id` is unique within its kind."""

    INDEXES: ClassVar[tuple[Index, ...]] = ()
    UNIQUE: ClassVar[tuple[Index, ...]] = ()
    DURABLE: ClassVar[bool] = True

    id: str


R = TypeVar("R", bound=Record)

INCIDENTAL = frozenset({"name", "description", "tags", "revision_number", "updated_at"})
"""The attributes of a resource that are for people alone: nothing that a switch holds follows from them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource(Record):
    """What a person made through the API: owned, named, counted in revisions and dated.

    `revision_number` counts the changes of this record (api-ref, standard-attr-revisions); times are
    seconds since the epoch. `tags` are in order.
    """

    project_id: str = ""
    name: str = ""
    description: str = ""
    revision_number: int = 0
    created_at: int = 0
    updated_at: int = 0
    tags: tuple[str, ...] = ()


def differ_incidentally(old: Record | None, new: Record | None) -> bool:
    """Is one resource the other, but for what is for people alone?"""
    if not isinstance(old, Resource) or type(old) is not type(new):
        return False
    essence = _ESSENCES.get(type(old)) or _ESSENCES.setdefault(type(old), _essence(old))
    return bool(essence(old) == essence(new))


_ESSENCES: dict[type[Resource], attrgetter[object]] = {}


def _essence(resource: Resource) -> attrgetter[object]:
    """The attributes of its kind from which something may follow."""
    return attrgetter(*(each.name for each in fields(resource) if each.name not in INCIDENTAL))


@dataclass(frozen=True, slots=True, kw_only=True)
class Network(Resource):
    """An L2 broadcast domain of one tenant, carried by one segment.

    `segmentation_id` is the number of it that frames bear: that of a tunnel, or of a VLAN; None of a flat network. An
    `external` one is where routers have their gateways, and floating IPs their addresses; at most one of these
    `is_default`.
    """

    INDEXES = (("project_id",), ("name",), ("physical_network",), ("external",), ("is_default",))
    UNIQUE = (("network_type", "physical_network", "segmentation_id"),)

    network_type: str
    segmentation_id: int | None
    physical_network: str | None = None
    admin_state_up: bool = True
    mtu: int = 1450
    port_security_enabled: bool = True
    dns_domain: str = ""
    availability_zone_hints: tuple[str, ...] = ()
    external: bool = False
    is_default: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSegmentRange(Resource):
    """The numbers from `minimum` to `maximum` that networks of a type are numbered from: those of its project, which
    nobody else gets then, or of all if it is `shared`.

    A `default` one is the operator's own, as the configuration has it. `physical_network` is "" of a tunnel's.
    """

    INDEXES = (("project_id",), ("name",), ("network_type",))

    network_type: str
    minimum: int
    maximum: int
    physical_network: str = ""
    shared: bool = True
    default: bool = False


@dataclass(frozen=True, slots=True)
class Pool:
    """A range of addresses to allocate from, both ends included."""

    start: Address
    end: Address


@dataclass(frozen=True, slots=True)
class HostRoute:
    """A route that DHCP hands to guests."""

    destination: Cidr
    nexthop: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet(Resource):
    """A block of addresses on a network; ports draw from a network's subnets in the order of `ordinal`.

    `subnetpool_id` is the pool that it was cut from, "" if from none. With `service_types` only ports of these owners
    draw from it.
    """

    INDEXES = (("network_id",), ("project_id",), ("name",), ("subnetpool_id",))

    network_id: str
    ip_version: int
    cidr: Cidr
    gateway_ip: Address | None
    allocation_pools: tuple[Pool, ...]
    ordinal: int = 0
    enable_dhcp: bool = True
    dns_nameservers: tuple[Address, ...] = ()
    host_routes: tuple[HostRoute, ...] = ()
    ipv6_ra_mode: str | None = None
    ipv6_address_mode: str | None = None
    subnetpool_id: str = ""
    service_types: tuple[str, ...] = ()
    dns_publish_fixed_ip: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressScope(Resource):
    """Where an address means one thing alone: the prefixes of its subnet pools are apart."""

    INDEXES = (("project_id",), ("name",))

    ip_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SubnetPool(Resource):
    """Prefixes that subnets are cut from (api-ref, "Subnet pools"); the lengths are bits.

    `default_quota` is how much of it one project may have: addresses in IPv4, /64s in IPv6, None for all.
    """

    INDEXES = (("project_id",), ("name",), ("address_scope_id",))
    UNIQUE = (("default_of",),)

    ip_version: int
    prefixes: tuple[Cidr, ...]
    default_prefixlen: int
    min_prefixlen: int
    max_prefixlen: int
    default_quota: int | None = None
    address_scope_id: str | None = None
    is_default: bool = False

    @property
    def default_of(self) -> frozenset[int]:
        """The IP version whose default pool this is."""
        return frozenset({self.ip_version}) if self.is_default else frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class RbacPolicy(Resource):
    """Lets a project use an object of another (api-ref, "RBAC Policies"); EVERYBODY is all projects.

    That an object is shared is nowhere else (see `controller.model.sharing`).
    """

    INDEXES = (("project_id",), ("object_id",), ("target_project",))
    UNIQUE = (("object_id", "action", "target_project"),)

    object_type: str
    object_id: str
    action: str
    target_project: str


EVERYBODY = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota(Resource):
    """How many resources of each name a project may have, where that is not the default; the id is the project's."""

    limits: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class FixedIp:
    """An address that a port holds on a subnet."""

    subnet_id: str
    ip_address: Address


@dataclass(frozen=True, slots=True)
class AddressPair:
    """An address, or a block of them, that a port may use beside its own, and the MAC address it goes with."""

    mac_address: Mac
    ip_address: Address | Cidr


@dataclass(frozen=True, slots=True)
class DhcpOption:
    """An option that DHCP hands to the guest of a port, by the name that dnsmasq knows it by."""

    opt_name: str
    opt_value: str
    ip_version: int


TRUSTED = "network:"
"""What the owner of a port that cannot attack its network begins with (neutron-lib, `is_port_trusted`)."""

UNGUARDED = ""
"""The policy of a port without port security: nothing is filtered."""

CLOSED = "none"
"""The policy of a port with port security and no security group: nothing is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Port(Resource):
    """A guest's attachment to a network.

    `host` is the API's `binding:host_id`: None when no client ever set it, "" when a client unbound the port,
    else the system-id or hostname the port is restricted to. `profile` is the API's `binding:profile`, as JSON text.
    """

    INDEXES = (
        ("network_id",), ("project_id",), ("name",), ("device_id",), ("subnets",), ("mac_address",),
        ("groups",), ("policy",), ("joined",),
    )  # fmt: skip
    UNIQUE = (("network_id", "mac_address"), ("reservations",))

    network_id: str
    mac_address: Mac
    fixed_ips: tuple[FixedIp, ...] = ()
    admin_state_up: bool = True
    device_id: str = ""
    device_owner: str = ""
    host: str | None = None
    vnic_type: str = "normal"
    profile: str = "{}"
    port_security_enabled: bool = True
    security_groups: tuple[str, ...] = ()
    allowed_address_pairs: tuple[AddressPair, ...] = ()
    extra_dhcp_opts: tuple[DhcpOption, ...] = ()
    dns_name: str = ""
    dns_domain: str = ""
    propagate_uplink_status: bool = True
    ip_allocation: str = "immediate"

    @property
    def groups(self) -> frozenset[str]:
        """The security groups that the port is a member of."""
        return frozenset(self.security_groups)

    @property
    def policy(self) -> str:
        """The id of the `Policy` that the port is under, or UNGUARDED."""
        if not self.port_security_enabled:
            return UNGUARDED
        return ",".join(sorted(self.groups)) or CLOSED

    @property
    def addresses(self) -> frozenset[Address | Cidr]:
        """What a group that the port is in stands for: its addresses, and those of its address pairs."""
        fixed: frozenset[Address | Cidr] = frozenset(ip.ip_address for ip in self.fixed_ips)
        return fixed | {pair.ip_address for pair in self.allowed_address_pairs}

    @property
    def subnets(self) -> frozenset[str]:
        """The subnets this port holds addresses of."""
        return frozenset(ip.subnet_id for ip in self.fixed_ips)

    @property
    def joined(self) -> frozenset[str]:
        """The same of an interface of a router: the subnets that it joins to the router."""
        return self.subnets if self.device_owner in ROUTER_INTERFACES else frozenset()

    @property
    def reservations(self) -> frozenset[tuple[str, Address]]:
        """What no other port of the network may hold: its addresses."""
        return frozenset((self.network_id, ip.ip_address) for ip in self.fixed_ips)


@dataclass(frozen=True, slots=True, kw_only=True)
class Router(Resource):
    """What joins networks; its interfaces are ports whose `device_id` it is, its addresses theirs.

    `routes` are those beside its own subnets (api-ref, "Routers", extraroute). `distributed` and `ha` are kept for
    clients: every router here is both. `external_network_id` is the network of its gateway, or "": the gateway's
    addresses are those of the port that it has there (GATEWAY). With `enable_snat` guests without a floating IP go out
    under the gateway's IPv4 address.
    """

    INDEXES = (("project_id",), ("name",), ("external_network_id",))

    admin_state_up: bool = True
    distributed: bool = False
    ha: bool = False
    routes: tuple[HostRoute, ...] = ()
    external_network_id: str = ""
    enable_snat: bool = True
    availability_zone_hints: tuple[str, ...] = ()


ROUTER_INTERFACES = frozenset(
    f"network:{owner}"
    for owner in (
        "router_interface",
        "ha_router_replicated_interface",
        "router_interface_distributed",
        "router_centralized_snat",
    )
)
"""The `device_owner` of ports that are interfaces of routers (neutron-lib, constants)."""

GATEWAY = "network:router_gateway"
"""The `device_owner` of the port that holds the gateway's addresses of the router that is its `device_id`."""

FLOATING = "network:floatingip"
"""The `device_owner` of the port that holds the address, and the MAC address, of the floating IP that is its
`device_id`."""

ROUTED = ROUTER_INTERFACES | {GATEWAY, FLOATING}
"""The `device_owner` of ports that are nobody's guests: routers alone answer for their addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatingIp(Resource):
    """An IPv4 address of an external network that stands for one address of a port, or for none (api-ref, "Floating
    IPs").

    `floating_port_id` is the port that holds the address (FLOATING): it has no project. `router_id` is the router that
    translates, "" while the floating IP is associated with no port and has no port forwardings; `port_id` and
    `fixed_ip_address` are whom it is associated with. With port forwardings it has a router, but neither of these.
    """

    INDEXES = (
        ("floating_network_id",), ("floating_ip_address",), ("floating_port_id",), ("router_id",), ("port_id",),
        ("project_id",),
    )  # fmt: skip
    UNIQUE = (("floating_network_id", "floating_ip_address"), ("association",))

    floating_network_id: str
    floating_ip_address: Address
    floating_port_id: str
    router_id: str = ""
    port_id: str = ""
    fixed_ip_address: Address | None = None
    dns_name: str = ""
    dns_domain: str = ""

    @property
    def association(self) -> frozenset[tuple[str, str, Address]]:
        """What no other floating IP may stand for: one address of a port, seen from one external network."""
        if self.fixed_ip_address is None:
            return frozenset()
        return frozenset({(self.floating_network_id, self.port_id, self.fixed_ip_address)})


@dataclass(frozen=True, slots=True, kw_only=True)
class PortForwarding(Resource):
    """TCP or UDP ports of a floating IP that stand for ports of a fixed address (api-ref, "Floating IPs port
    forwarding").

    Both ranges include their ends. They are of one size, each port standing for the one in its place, or the internal
    one is a single port. Its project is that of its floating IP.
    """

    INDEXES = (("floatingip_id",), ("internal_port_id",), ("project_id",))

    floatingip_id: str
    protocol: str
    external_port_first: int
    external_port_last: int
    internal_port_first: int
    internal_port_last: int
    internal_ip_address: Address
    internal_port_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityGroup(Resource):
    """What its ports may send and receive: whatever any of its rules allows.

    Every project has one `default` group. `narrowed` and `members_narrowed` are the generations in which the rules, and
    the addresses of the members, last became fewer: what was allowed before is judged again (see
    `controller.model.security`).
    """

    INDEXES = (("project_id",), ("name",))
    UNIQUE = (("default_of",),)

    stateful: bool = True
    default: bool = False
    narrowed: int = 0
    members_narrowed: int = 0

    @property
    def default_of(self) -> frozenset[str]:
        """The project whose default group this is."""
        return frozenset({self.project_id}) if self.default else frozenset()


ANYBODY = frozenset({"0.0.0.0/0", "::/0"})
"""The prefixes that say no more than none."""


@lru_cache(1 << 13)
def _block(prefix: str) -> Cidr | None:
    """A block without host bits; None for all addresses."""
    network = ip_network(prefix, strict=False)
    return Cidr(str(network)) if network.prefixlen else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityGroupRule(Resource):
    """One thing that a group allows (api-ref, "Security group rules"); attributes that are None allow all.

    `protocol` is a name or a number as text. For ICMP `port_range_min` is the type and `port_range_max` the code.
    """

    INDEXES = (
        ("security_group_id",), ("project_id",), ("remote_group_id",), ("remote_address_group_id",), ("bundle",),
        ("meaning",),
    )  # fmt: skip

    security_group_id: str
    direction: str
    ethertype: str
    protocol: str | None = None
    port_range_min: int | None = None
    port_range_max: int | None = None
    remote_ip_prefix: str | None = None
    remote_group_id: str | None = None
    remote_address_group_id: str | None = None

    @property
    def normalized_cidr(self) -> Cidr | None:
        """`remote_ip_prefix` without host bits; None when that is every address."""
        return None if self.remote_ip_prefix is None else _block(self.remote_ip_prefix)

    @property
    def bundle(self) -> str:
        """The id of the `Bundle` that the rule is of."""
        remote = self.remote_group_id or self.remote_address_group_id or self.normalized_cidr or "any"
        what = "all" if self.protocol is None else "some"
        return f"{self.security_group_id}/{self.direction}/{self.ethertype}/{what}/{remote}"

    @property
    def meaning(self) -> tuple[str | int | None, ...]:
        """What makes two rules the same to Neutron: a protocol is its number, everybody is no prefix."""
        return (
            self.security_group_id,
            self.direction,
            self.ethertype,
            number(self.protocol, self.ethertype),
            self.port_range_min,
            self.port_range_max,
            None if self.remote_ip_prefix in ANYBODY else self.remote_ip_prefix,
            self.remote_group_id,
            self.remote_address_group_id,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultSecurityGroupRule(Resource):
    """A rule that new groups are born with (api-ref, "Security group default rules"): every project's `default` group,
    the others, or both. The remote group PARENT is the new group itself.

    Until somebody changes them they are those of `controller.model.security`, and in no store.
    """

    direction: str
    ethertype: str
    protocol: str | None = None
    port_range_min: int | None = None
    port_range_max: int | None = None
    remote_ip_prefix: str | None = None
    remote_group_id: str | None = None
    remote_address_group_id: str | None = None
    used_in_default_sg: bool
    used_in_non_default_sg: bool


PARENT = "PARENT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle(Record):
    """The rules of one group that share direction, IP version and whom they are about; all for any protocol, or none.

    Its tag is the conjunction that they are in flows.
    """

    INDEXES = (("security_group_id",), ("remote_group_id",), ("remote_address_group_id",))

    security_group_id: str
    direction: str
    ethertype: str
    any_protocol: bool
    remote_ip_prefix: Cidr | None = None
    remote_group_id: str | None = None
    remote_address_group_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy(Record):
    """A set of security groups that some ports are under; the id is that of the groups, in order, or CLOSED."""

    INDEXES = (("members",),)

    groups: tuple[str, ...]

    @property
    def members(self) -> frozenset[str]:
        """The same groups, to be found by any of them."""
        return frozenset(self.groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressGroup(Resource):
    """Blocks of addresses that rules may name; `narrowed` is the generation in which they last became fewer."""

    INDEXES = (("project_id",), ("name",))

    addresses: tuple[Cidr, ...] = ()
    narrowed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoTopology(Resource):
    """A network that was made because its project asked for one, and the router that leads outside; the id is the
    project's. It goes with the network."""

    INDEXES = (("network_id",),)

    network_id: str
    router_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chassis(Record):
    """A hypervisor, by its OVS `system-id`, as its own database describes it.

    `bridge_mappings` are (physical network, bridge) where there is such a bridge. `problem` is one sentence on why it
    cannot carry traffic, or some of it, or "", `advice` one on what is wrong with it though it does, or "". One that is
    `alone` has no database and no tunnels (`weft serve --no-ovsdb`): its id is that of its datapath, and networks end
    at its bridge. `underlay_mtu` is what the network carries that its tunnels go by, in bytes.
    """

    INDEXES = (("hostname",), ("encap_ip",))

    hostname: str = ""
    encap_ip: Address | None = None
    encap_types: tuple[str, ...] = ()
    bridge: str = "br-int"
    datapath_type: str = ""
    bridge_mappings: tuple[tuple[str, str], ...] = ()
    gateway_priority: int | None = None
    problem: str = ""
    advice: str = ""
    alone: bool = False
    availability_zone: str = "nova"
    underlay_mtu: int = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentNote(Record):
    """What an operator says of an agent that a chassis is shown as (`northbound.resources.agents`), by its id."""

    INDEXES = (("chassis",),)

    chassis: str
    description: str = ""
    admin_state_up: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained(Record):
    """A chassis that an operator wants no gateway to be active on (`PUT /v1/chassis`); the id is the chassis's.

    It stays while the chassis comes and goes.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovering(Record):
    """A chassis that may be a gateway since a moment ago, or whose switch came back without flows: it is the last.

    The id is the chassis's.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class PortBinding(Resource):
    """A host that a guest may be on next: a binding that waits. The `active` one is the port's own, and never stored.

    The id is `port/host`.
    """

    INDEXES = (("port_id",),)

    port_id: str
    host: str
    vnic_type: str = "normal"
    profile: str = "{}"
    active: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding(Record):
    """A claim: the interface of a chassis that says it is a port's (`external_ids:iface-id`).

    The id is `chassis/interface`. `sequence` grows with every new claim anywhere, so of several claims on one
    port the newest is the greatest; a `superseded` one lost its port to a newer claim and stays without it
    until its own row changes. The port need not exist yet. `row` is the UUID of the interface's row, which a database
    keeps over restarts; "" while it is not known. `zone` is the conntrack zone that the port has here, to itself; 0
    when the hypervisor has none left.
    """

    INDEXES = (("port_id",), ("chassis",))
    UNIQUE = (("zones",),)

    chassis: str
    interface: str
    port_id: str
    attached_mac: str = ""
    row: str = ""
    sequence: int = 0
    superseded: bool = False
    zone: int = 0

    @property
    def zones(self) -> frozenset[tuple[str, int]]:
        """What no other binding may have."""
        return frozenset({(self.chassis, self.zone)}) if self.zone else frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantine(Record):
    """A conntrack zone that was given back and may still hold connections; the id is `chassis/zone`."""

    INDEXES = (("chassis",),)

    chassis: str
    zone: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Severed(Record):
    """Connections that a hypervisor is to forget, of a zone that others are of, too: what began to ports of an IPv4
    address, from the first to the last. The id is `chassis/zone/number`."""

    INDEXES = (("chassis",),)

    chassis: str
    zone: int
    protocol: str
    address: Address
    port_first: int
    port_last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation(Record):
    """A conntrack zone in which a hypervisor translates addresses for `what`, and for nothing else.

    The id is `chassis/what`. `what` is a router and the address of its gateway, or a floating IP and what it stands
    for: who is associated anew is somebody else here, and finds no connections of those before.
    """

    INDEXES = (("chassis",), ("whose",))
    UNIQUE = (("zones",),)

    chassis: str
    what: str
    zone: int

    @property
    def zones(self) -> frozenset[tuple[str, int]]:
        """What no other translation may have."""
        return frozenset({(self.chassis, self.zone)})

    @property
    def whose(self) -> str:
        """The id of the router, or the floating IP."""
        return self.what.split("/")[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Link(Record):
    """An OpenFlow port of a chassis's integration bridge, as its switch reports it; id is `chassis/interface`."""

    INDEXES = (("chassis",),)
    DURABLE = False

    chassis: str
    interface: str
    ofport: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour(Record):
    """An address that a guest said it holds, where the model alone does not say who does; the id is `network/address`.

    It counts while its port may hold it (`controller.flows.presence`). Without a `port_id` it is a physical host's, on
    the wire of its network. `sequence` grows with every change: of several that go with one MAC address, the newest
    says where that is.
    """

    INDEXES = (("port_id",), ("network_id", "mac_address"), ("network_id", "port_id"))

    network_id: str
    address: Address
    mac_address: Mac
    port_id: str
    sequence: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag(Record):
    """A small stable integer that stands for a long id in flows; the id is `space/long id`."""

    UNIQUE = (("space", "number"),)

    space: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter(Record):
    """The last number given out of a sequence."""

    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Released(Record):
    """An address that waits to be allocated again (`controller.model.ipam`); the id is `subnet/place in line`."""

    UNIQUE = (("subnet_id", "address"),)

    subnet_id: str
    address: Address


KINDS: tuple[type[Record], ...] = (
    Network, NetworkSegmentRange, Subnet, AddressScope, SubnetPool, AutoTopology, RbacPolicy, Quota,
    Port, PortBinding, Router, FloatingIp, PortForwarding,
    SecurityGroup, SecurityGroupRule, DefaultSecurityGroupRule, Bundle, Policy, AddressGroup,
    Chassis, AgentNote, Drained, Recovering, Binding, Translation, Quarantine, Severed, Link, Neighbour,
    Tag, Counter, Released,
)  # fmt: skip
