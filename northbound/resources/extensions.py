"""The extensions of the Networking API that work here, under Neutron's aliases; clients look before they ask."""

from __future__ import annotations

from northbound.resources.values import Json

# Alias, name, what it adds.
_IMPLEMENTED = (
    ("address-group", "Address group", "Blocks of addresses, by name."),
    ("allowed-address-pairs", "Allowed Address Pairs", "What a port may use beside its own addresses."),
    ("binding", "Port Binding", "Where a port is plugged, and how."),
    ("empty-string-filtering", "Empty String Filtering Extension", "Filters for attributes that are empty."),
    ("dvr", "Distributed Virtual Router", "Whether a router is in every hypervisor: every one is."),
    (
        "ext-gw-mode",
        "Neutron L3 Configurable external gateway mode",
        "Whether a router translates addresses at its gateway.",
    ),
    ("external-net", "Neutron external network", "Networks that lead outside."),
    ("extraroute", "Neutron Extra Route", "Routes of a router beside its own subnets."),
    ("extraroute-atomic", "Atomically add/remove extra routes", "Routes added and removed by themselves."),
    ("filter-validation", "Filter parameters validation", "Unknown filters are refused."),
    (
        "expose-port-forwarding-in-fip",
        "Expose Floating IP port forwardings",
        "The port forwardings of a floating IP, shown with it.",
    ),
    ("fip-port-details", "Floating IP Port Details Extension", "The port that a floating IP stands for."),
    ("floating-ip-port-forwarding", "Floating IP Port Forwarding", "Ports of a floating IP that lead to ports inside."),
    (
        "floating-ip-port-forwarding-description",
        "Floating IP Port Forwarding new attribute description",
        "A description of every port forwarding.",
    ),
    (
        "floating-ip-port-forwarding-detail",
        "Floating IP port forwarding detail",
        "Ids and internal ports in the port forwardings that are shown with a floating IP.",
    ),
    (
        "floating-ip-port-forwarding-port-ranges",
        "Floating IP Port Forwarding support port ranges",
        "Port forwardings of many ports.",
    ),
    ("floatingip-pools", "Floating IP Pools Extension", "The subnets that floating IPs come from."),
    ("ip-substring-filtering", "IP address substring filtering", "Ports by a part of their address."),
    ("l3-ha", "HA Router extension", "Whether a router outlives a hypervisor: every one does."),
    (
        "l3-port-ip-change-not-allowed",
        "Prevent L3 router ports IP address change extension",
        "IPv4 addresses of a router's interfaces stay.",
    ),
    ("net-mtu", "Network MTU", "The MTU of a network."),
    ("net-mtu-writable", "Network MTU (writable)", "The MTU of a network can be lowered."),
    ("pagination", "Pagination support", "Lists in pages."),
    ("port-mac-address-regenerate", "Neutron Port MAC address regenerate", "A new MAC address for null."),
    ("port-security", "Port Security", "Ports that may use their own addresses alone."),
    ("port-security-groups-filtering", "Port filtering on security groups", "Ports by their security groups."),
    ("project-id", "project_id field enabled", "project_id beside tenant_id."),
    ("provider", "Provider Network", "The segment that carries a network."),
    ("router", "Neutron L3 Router", "Routers between networks."),
    (
        "router-admin-state-down-before-update",
        "Enforce Router's Admin State Down Before Update Extension",
        "A router is down before it is another sort of router.",
    ),
    ("revision-if-match", "If-Match constraints based on revision_number", "Changes of a known revision only."),
    ("security-group", "security-group", "What ports may send and receive."),
    (
        "security-groups-normalized-cidr",
        "Normalized CIDR field for security group rules",
        "The prefix of a rule without host bits.",
    ),
    (
        "security-groups-remote-address-group",
        "Remote address group id field for security group rules",
        "Rules that name an address group.",
    ),
    (
        "security-groups-rules-belongs-to-default-sg",
        "Security group rule belongs to the project's default security group",
        "Whether a rule is of a default group.",
    ),
    (
        "security-groups-shared-filtering",
        "Security group filtering on the shared field",
        "Security groups by whether they are shared.",
    ),
    (
        "subnet-external-network",
        "Subnet belongs to an external network",
        "Whether the network of a subnet is external.",
    ),
    ("sorting", "Sorting support", "Lists in an order."),
    ("standard-attr-description", "standard-attr-description", "A description of every resource."),
    ("standard-attr-revisions", "Resource revision numbers", "How often a resource changed."),
    ("standard-attr-timestamp", "Resource timestamps", "When a resource was made and changed."),
    ("vlan-transparent", "Vlantransparent", "Whether a network carries VLAN tags of its guests: none does."),
    ("stateful-security-group", "Stateful security group", "Groups with and without connection tracking."),
)


def _extension(alias: str, name: str, description: str) -> Json:
    updated = "2026-01-01T00:00:00-00:00"
    return {"alias": alias, "name": name, "description": description, "updated": updated, "links": []}


EXTENSIONS: dict[str, Json] = {row[0]: _extension(*row) for row in _IMPLEMENTED}
