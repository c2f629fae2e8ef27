"""The resources of the Networking API v2.0: one table of attributes each. This is the one list of them."""

from __future__ import annotations

from typing import Any

from northbound.resources.address_groups import ADDRESS_GROUPS
from northbound.resources.address_scopes import ADDRESS_SCOPES
from northbound.resources.agents import AGENTS
from northbound.resources.attributes import Collection
from northbound.resources.auto_topologies import AUTO_TOPOLOGIES
from northbound.resources.availability_zones import AVAILABILITY_ZONES
from northbound.resources.default_rules import DEFAULT_RULES
from northbound.resources.floating_ip_pools import FLOATING_IP_POOLS
from northbound.resources.floating_ips import FLOATING_IPS
from northbound.resources.ip_availabilities import IP_AVAILABILITIES
from northbound.resources.network_segment_ranges import NETWORK_SEGMENT_RANGES
from northbound.resources.networks import NETWORKS
from northbound.resources.port_bindings import PORT_BINDINGS
from northbound.resources.port_forwardings import PORT_FORWARDINGS
from northbound.resources.ports import PORTS
from northbound.resources.quotas import QUOTAS
from northbound.resources.rbac_policies import RBAC_POLICIES
from northbound.resources.routers import ROUTERS
from northbound.resources.security_group_rules import SECURITY_GROUP_RULES
from northbound.resources.security_groups import SECURITY_GROUPS
from northbound.resources.subnetpools import SUBNETPOOLS
from northbound.resources.subnets import SUBNETS

COLLECTIONS: tuple[Collection[Any], ...] = (
    NETWORKS,
    SUBNETS,
    SUBNETPOOLS,
    ADDRESS_SCOPES,
    PORTS,
    PORT_BINDINGS,
    ROUTERS,
    FLOATING_IPS,
    PORT_FORWARDINGS,
    FLOATING_IP_POOLS,
    SECURITY_GROUPS,
    SECURITY_GROUP_RULES,
    ADDRESS_GROUPS,
    RBAC_POLICIES,
    AUTO_TOPOLOGIES,
    QUOTAS,
    AGENTS,
    AVAILABILITY_ZONES,
    IP_AVAILABILITIES,
    DEFAULT_RULES,
    NETWORK_SEGMENT_RANGES,
)
