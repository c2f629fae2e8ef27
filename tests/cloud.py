"""A small cloud for tests: records in, flow text out. The engine under it is the real one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from apps import APPS
from controller.flows.app import App
from controller.flows.engine import Delta, Engine
from controller.flows.pipeline import patch_port, probe_port
from controller.flows.standing import Standing
from controller.model import bindings, security
from controller.model.bindings import Claim, Hypervisor
from controller.model.records import (
    FLOATING,
    GATEWAY,
    Address,
    AddressGroup,
    AddressPair,
    Cidr,
    FixedIp,
    FloatingIp,
    HostRoute,
    Mac,
    Neighbour,
    Network,
    Port,
    PortForwarding,
    Router,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
)
from controller.model.store import Change, Model, Transaction
from controller.model.view import View
from controller.southbound import translations

Work = Callable[[Transaction], object]


class Cloud:
    """A model, an engine over it, and the changes that people and hypervisors make."""

    def __init__(self, apps: Sequence[App] = APPS) -> None:
        self.model = Model()
        self.engine = Engine(self.model, apps)
        self.delta: Mapping[str, Delta] = {}

    def commit(self, *works: Work) -> None:
        """Make one change; `delta` is then the difference of each switch."""
        tx = Transaction(self.model)
        for work in works:
            work(tx)
        change = Change(self.model.revision + 1, "req-test", tx.writes())
        self.model.apply(change)
        self.delta = self.engine.update([change])
        zones = translations.due(View(self.model, self.engine))
        if zones is not None:
            delta = self.delta
            self.commit(zones)
            self.delta = {name: {**delta.get(name, {}), **self.delta.get(name, {})} for name in {*delta, *self.delta}}

    def standing(self, chassis: str) -> Standing:
        """What one switch should hold, to look packets up in."""
        return Standing(self.engine, chassis)

    def flows(self, chassis: str, app: str | None = None) -> list[str]:
        """The text of what one switch should hold (of one app, if named), sorted."""
        numbers = {one.number for one in APPS if app in (None, one.name)}
        entries = self.engine.desired(chassis).values()
        return sorted(str(entry.item) for entry in entries if entry.app in numbers)

    def sent(self, chassis: str) -> list[str]:
        """The text of the last difference of one switch, `-` before what goes."""
        delta = self.delta.get(chassis, {})
        return sorted(str(entry.item) if entry else f"- {key[0]}" for key, entry in delta.items())


def network(id: str, vni: int | None, type: str = "vxlan", **more: Any) -> Work:
    """A network and its tag."""

    def work(tx: Transaction) -> None:
        tx.put(Network(id=id, network_type=type, segmentation_id=vni, **more))
        tx.tag("network", id)

    return work


def wire(id: str, vlan: int | None, physical: str = "physnet1", **more: Any) -> Work:
    """A VLAN network of a physical network, or (`vlan` is None) the flat one, and their tags."""

    def work(tx: Transaction) -> None:
        type = "flat" if vlan is None else "vlan"
        tx.put(Network(id=id, network_type=type, segmentation_id=vlan, physical_network=physical, mtu=1500, **more))
        tx.tag("network", id)
        tx.tag("physical", physical)

    return work


def port(
    id: str,
    network: str,
    mac: str,
    *addresses: str,
    groups: Sequence[str] = (),
    pairs: Sequence[tuple[str, str]] = (),
    guarded: bool = True,
    on: Mapping[str, str] | None = None,
    **more: Any,
) -> Work:
    """A port and its tag, made or changed; `pairs` are (MAC, address) that it may use beside its own.

    Its addresses are on one subnet that need not be there, or (`on`) on those that are named.
    """
    new = Port(
        id=id,
        network_id=network,
        mac_address=Mac(mac),
        fixed_ips=(
            *(FixedIp(f"{network}-subnet", Address(address)) for address in addresses),
            *(FixedIp(subnet, Address(address)) for subnet, address in (on or {}).items()),
        ),
        port_security_enabled=guarded,
        security_groups=tuple(groups),
        allowed_address_pairs=tuple(AddressPair(Mac(mac), Cidr(address)) for mac, address in pairs),
        **more,
    )

    def work(tx: Transaction) -> None:
        old = tx.get(Port, id)
        tx.put(new)
        tx.tag("port", id)
        security.settle(tx, old, new)

    return work


def no_port(id: str) -> Work:
    """The port is deleted."""

    def work(tx: Transaction) -> None:
        old = tx.need(Port, id)
        tx.delete(Port, id)
        tx.untag("port", id)
        security.settle(tx, old, None)

    return work


def heard(network: str, address: str, mac: str, port: str) -> Work:
    """A port said that it holds an address at a MAC address."""

    def work(tx: Transaction) -> None:
        tx.put(
            Neighbour(
                id=f"{network}/{address}",
                network_id=network,
                address=Address(address),
                mac_address=Mac(mac),
                port_id=port,
                sequence=tx.next("neighbour"),
            )
        )

    return work


Allowed = Mapping[str, Any]
"""Attributes of a security group rule."""


def egress(protocol: str | None = None, first: int | None = None, last: int | None = None, **more: Any) -> Allowed:
    """What a group's ports may send: `egress("tcp", 80)`, `egress("icmp", 8, 0)`, `egress(remote_group_id="web")`."""
    alone = first is not None and last is None and protocol not in ("icmp", "icmpv6")
    ends = {"port_range_min": first, "port_range_max": first if alone else last}
    return {"direction": "egress", "ethertype": "IPv4", "protocol": protocol, **ends, **more}


def ingress(protocol: str | None = None, first: int | None = None, last: int | None = None, **more: Any) -> Allowed:
    """What a group's ports may receive, in the words of `egress`."""
    return {**egress(protocol, first, last, **more), "direction": "ingress"}


def group(id: str, *rules: Allowed, stateful: bool = True) -> Work:
    """A security group with exactly these rules, made or changed."""
    wanted = {
        rule.id: rule
        for rule in (
            SecurityGroupRule(id=f"{id}: {sorted(allowed.items())}", security_group_id=id, **allowed)
            for allowed in rules
        )
    }

    def work(tx: Transaction) -> None:
        old = tx.get(SecurityGroup, id)
        tx.put(SecurityGroup(id=id, stateful=stateful) if old is None else replace(old, stateful=stateful))
        held = {rule.id: rule for rule in tx.where(SecurityGroupRule, security_group_id=id)}
        for name in sorted(wanted.keys() - held.keys()):
            security.add_rule(tx, wanted[name])
        for name in sorted(held.keys() - wanted.keys()):
            security.remove_rule(tx, held[name])

    return work


def address_group(id: str, *addresses: str) -> Work:
    """An address group with exactly these blocks, made or changed."""

    def work(tx: Transaction) -> None:
        old, blocks = tx.get(AddressGroup, id), tuple(Cidr(address) for address in addresses)
        if old is None:
            tx.put(AddressGroup(id=id, addresses=blocks))
        else:
            security.put_addresses(tx, old, replace(old, addresses=blocks))

    return work


def subnet(id: str, network: str, cidr: str, gateway: str | None = None) -> Work:
    """A subnet of a network."""
    made = Subnet(
        id=id,
        network_id=network,
        ip_version=6 if ":" in cidr else 4,
        cidr=Cidr(cidr),
        gateway_ip=None if gateway is None else Address(gateway),
        allocation_pools=(),
    )
    return lambda tx: tx.put(made)


def router(id: str, *routes: tuple[str, str], **more: Any) -> Work:
    """A router and its tag, made or changed; `routes` are (destination, next hop)."""
    made = Router(id=id, routes=tuple(HostRoute(Cidr(to), Address(by)) for to, by in routes), **more)

    def work(tx: Transaction) -> None:
        tx.put(made)
        tx.tag("router", id)

    return work


def gateway(id: str, router: str, network: str, mac: str, **addresses: str) -> Work:
    """The port of a router's gateway, with an address on each of some subnets; the router has `external_network_id`."""
    made = Port(
        id=id,
        network_id=network,
        mac_address=Mac(mac),
        fixed_ips=tuple(FixedIp(subnet, Address(address)) for subnet, address in addresses.items()),
        device_id=router,
        device_owner=GATEWAY,
        port_security_enabled=False,
    )

    def work(tx: Transaction) -> None:
        tx.put(made)
        tx.tag("port", id)

    return work


def floating_ip(
    id: str, network: str, mac: str, address: str, router: str = "", port: str = "", fixed: str = ""
) -> Work:
    """A floating IP and its port `fip-ID`, made or changed; for an address of a port of a router's, or for none."""
    holder = Port(
        id=f"fip-{id}",
        network_id=network,
        mac_address=Mac(mac),
        fixed_ips=(FixedIp(f"{network}4", Address(address)),),
        device_id=id,
        device_owner=FLOATING,
        port_security_enabled=False,
    )
    made = FloatingIp(
        id=id,
        floating_network_id=network,
        floating_ip_address=Address(address),
        floating_port_id=holder.id,
        router_id=router,
        port_id=port,
        fixed_ip_address=Address(fixed) if fixed else None,
    )

    def work(tx: Transaction) -> None:
        tx.put(holder)
        tx.tag("port", holder.id)
        tx.put(made)

    return work


def forwarding(
    id: str, floating: str, protocol: str, external: tuple[int, int], port: str, address: str, internal: tuple[int, int]
) -> Work:
    """A port forwarding: ports of a floating IP, from the first to the last, stand for those of a port's address."""
    made = PortForwarding(
        id=id,
        floatingip_id=floating,
        internal_port_id=port,
        internal_ip_address=Address(address),
        protocol=protocol,
        external_port_first=external[0],
        external_port_last=external[1],
        internal_port_first=internal[0],
        internal_port_last=internal[1],
    )
    return lambda tx: tx.put(made)


def no_forwarding(id: str) -> Work:
    """There is none, or not any more."""

    def work(tx: Transaction) -> None:
        if tx.get(PortForwarding, id) is not None:
            tx.delete(PortForwarding, id)

    return work


def interface(id: str, router: str, network: str, mac: str, **addresses: str) -> Work:
    """A router's port on a network, with an address on each of some subnets."""
    made = Port(
        id=id,
        network_id=network,
        mac_address=Mac(mac),
        fixed_ips=tuple(FixedIp(subnet, Address(address)) for subnet, address in addresses.items()),
        device_id=router,
        device_owner="network:router_interface",
        port_security_enabled=False,
    )

    def work(tx: Transaction) -> None:
        tx.put(made)
        tx.tag("port", id)

    return work


def turned(port: str, *, up: bool) -> Work:
    """A port is administratively up, or down."""
    return lambda tx: tx.put(replace(tx.need(Port, port), admin_state_up=up))


def hypervisor(
    number: int,
    *plugged: str,
    encaps: tuple[str, ...] = ("vxlan", "geneve"),
    first: int = 10,
    datapath: str = "netdev",
    physical: tuple[str, ...] = (),
    priority: int | None = None,
    watches: tuple[int, ...] = (),
    zone: str = "nova",
) -> Work:
    """Hypervisor `hvN` at 192.0.2.N whose interfaces `tap-ID` are plugged; their OpenFlow ports count from `first`.

    It maps a bridge to each of some physical networks; the ports to these count from 5. It watches the gateways on
    some others; the port by which it watches `hvM` is 90 + M.
    """
    seen = Hypervisor(
        system_id=f"hv{number}",
        hostname=f"host{number}",
        encap_ip=Address(f"192.0.2.{number}"),
        encap_types=encaps,
        bridge="br-int",
        datapath_type=datapath,
        bridge_mappings=tuple((name, f"br-{name}") for name in physical),
        gateway_priority=priority,
        availability_zone=zone,
        datapath_id=number,
        claims=tuple(Claim(f"tap-{id}", id) for id in plugged),
    )
    tunnels = [(f"weft-{encap}", index) for index, encap in enumerate(encaps, start=1)]
    wires = [(patch_port(name), index) for index, name in enumerate(physical, start=5)]
    probes = [(probe_port(f"hv{other}"), 90 + other) for other in watches]
    guests = [(f"tap-{id}", first + index) for index, id in enumerate(plugged)]

    def work(tx: Transaction) -> None:
        bindings.observe(tx, seen)
        bindings.observe_links(tx, seen.system_id, dict(tunnels + wires + probes + guests))

    return work
