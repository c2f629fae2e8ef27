"""What cannot go, change or be made, because something else has it or needs it.

    WeftError
    └── InUse                           a record that others still need
        ├── AddressInUse                another port of the network has the address
        ├── MacInUse                    another port of the network has the MAC address
        ├── SegmentInUse                another network has the segment
        ├── VlanInUse                   another network has the VLAN
        ├── PhysicalInUse               a physical network has its flat network already
        ├── GatewayInPool               a gateway would be handed out to ports
        ├── RangeInUse                  networks are numbered from a range
        ├── DefaultStays                a project's default security group cannot go
        ├── DefaultKeepsName            a project's default security group cannot get another name
        ├── DefaultExists               a project cannot have a second default security group
        ├── RuleExists                  a security group has the rule already
        ├── DefaultRuleExists           new security groups are born with the rule already
        ├── RepeatedRule                one security group rule twice in a request
        ├── GroupsRemain                port security cannot go before the security groups of the port
        ├── PortInUse                   the port is another device's
        ├── OwnedPort                   the port is a router's
        ├── InterfaceInUseByRoute       routes go by the interface
        ├── InterfaceInUseByFloatingIp  floating IPs stand for addresses behind the interface
        ├── ExternalInUse               an external network has gateways or floating IPs
        ├── RouterGatewayInUse          floating IPs need a router's gateway
        ├── AlreadyAssociated           an address has a floating IP of the same external network
        ├── AssociatedByOthers          a port has a floating IP of another project
        ├── ForwardingsRemain           a floating IP has port forwardings
        ├── HasFloatingIp               a port that forwardings should lead to has a floating IP
        └── GatewayInUse                a router has the gateway address of a subnet

A value that must be unique and is taken is `Exists`, in `conflicts`.
"""

from __future__ import annotations

from controller.errors.base import WeftError


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
