"""What is not there.

    WeftError
    └── NotFound             no such record
        ├── AddressesAbsent  an address group does not have the addresses
        ├── NoInterface      the router has no such interface
        └── NoWayOut         no router joins a subnet to an external network

It says so as Neutron does, which has a sentence of its own for many kinds.
"""

from __future__ import annotations

from controller.errors.base import WeftError

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
