"""What the model promises of senders: whom they may reach at all, and as whom they may speak.

Written from the API's definitions (api-ref, "Networks", "Routers", "Floating IPs", "Allowed address pairs") and from
what port security promises (`docs/architecture.md`), without a look at how any app does it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Final

from controller.flows.attachment import is_interface, joins
from controller.flows.fields import link_local
from controller.model.records import (
    FLOATING,
    GATEWAY,
    Mac,
    Network,
    Port,
    Router,
)
from controller.model.segments import PHYSICAL
from controller.model.view import View
from controller.prove.cloud import Cloud
from controller.prove.sets import Set, union
from controller.prove.values import block, number_of

IPV4, ARP, IPV6 = 0x0800, 0x0806, 0x86DD
ICMP, ICMP6, UDP = 1, 58, 17
ECHO = 8
SOLICITATION, ADVERTISEMENT = 135, 136
_UNADDRESSED: Final = (131, 133, 143)
"""ICMPv6 that a guest sends before it has an address (RFC 4861 section 4.1, RFC 3590)."""
TAG: Final = 0x1000
FIRST, LATER = 1, 3
"""ip_frag of the first fragment of a datagram, and of the others (ovs-fields(7))."""


class Promise:
    """What the model of a cloud says about its senders, as sets of packets."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud, self.space = cloud, cloud.space
        self.view = View(cloud.rows)
        self._allowed: dict[str, Set] = {}

    # ---- who is joined with whom ------------------------------------------------------------------------------

    @cached_property
    def joined(self) -> dict[str, str]:
        """By network, one name for all that routers join."""
        parents: dict[str, str] = {}

        def find(name: str) -> str:
            while parents.setdefault(name, name) != name:
                name = parents[name]
            return name

        for network in self.cloud.rows.all(Network):
            find(network.id)
        for port in self.cloud.rows.all(Port):
            if is_interface(port) and joins(self.view, port):
                parents[find(port.network_id)] = find(f"router {port.device_id}")
        return {name: find(name) for name in [*parents]}

    @cached_property
    def _outside(self) -> dict[str, set[str]]:
        """By name of what is joined, the external networks that its routers lead to, or that are among it."""
        found: dict[str, set[str]] = defaultdict(set)
        for router in self.cloud.rows.all(Router):
            if router.external_network_id and router.admin_state_up:
                found[self.joined.get(f"router {router.id}", f"router {router.id}")].add(router.external_network_id)
        for network in self.cloud.rows.all(Network):
            if network.external:
                found[self.joined[network.id]].add(network.id)
        return found

    def allowed(self, network_id: str) -> Set:
        """What may reach a network, of all that anybody sends."""
        known = self._allowed.get(network_id)
        if known is None:
            known = self._allowed[network_id] = union(self._may_reach(network_id), self.space.nothing)
        return known

    def _may_reach(self, network_id: str) -> Iterator[Set]:
        mine = self.joined.get(network_id, network_id)
        outside = self._outside.get(mine, set())
        members = {name for name, each in self.joined.items() if each == mine}
        yield self.cloud.senders(each for each in self.cloud.origins if each.network_id in members)
        yield from self._from_wires(members)
        for external in outside:
            others = {
                name
                for name, each in self.joined.items()
                if each != mine and external in self._outside.get(each, set())
            }
            come = self.cloud.senders(each for each in self.cloud.origins if each.network_id in others)
            come = come | union(self._from_wires(others), self.space.nothing)
            yield come if external in members else come & self._public(external)

    def _from_wires(self, networks: Iterable[str]) -> Iterator[Set]:
        """What physical hosts on the wires of networks send."""
        for name in networks:
            network = self.cloud.rows.get(Network, name)
            if network is not None and network.network_type in PHYSICAL:
                senders = [each for each in self.cloud.origins if each.physical == network.physical_network]
                yield self.cloud.senders(senders) & self.space.is_("vlan_tci", *tag_of(network))

    def _public(self, external: str) -> Set:
        """What is for addresses of an external network, or is routed there as it is."""
        routers = self.cloud.rows.where(Router, external_network_id=external)
        if any(not router.enable_snat for router in routers):
            return self.space.everything
        holders = [
            port
            for port in self.cloud.rows.where(Port, network_id=external)
            if port.device_owner in (GATEWAY, FLOATING)
        ]
        addresses = [block(ip.ip_address) for port in holders for ip in port.fixed_ips]
        found = [self.space.is_("nw_dst", value, mask) for sort, value, mask in addresses if sort == "ip4"]
        asked = self.space.is_("nw_proto", ICMP) & self.space.is_("tp_src", ECHO) & self._inner(routers)
        ipv4 = union(found, self.space.nothing) | asked
        return self.space.is_("eth_type", IPV6) | (self.space.is_("eth_type", IPV4) & ipv4)

    def _inner(self, routers: Iterable[Router]) -> Set:
        """The addresses of routers inside, which they answer for whoever asks: to whom it says that it is."""
        ports = [port for router in routers for port in self.cloud.rows.where(Port, device_id=router.id)]
        addresses = [block(ip.ip_address) for port in ports for ip in port.fixed_ips]
        found = [self.space.is_("nw_dst", value, mask) for sort, value, mask in addresses if sort == "ip4"]
        return union(found, self.space.nothing)

    # ---- as whom they may speak -------------------------------------------------------------------------------

    @cached_property
    def forged(self) -> Set:
        """What ports with port security may not send."""
        return union(self._forged(), self.space.nothing)

    def _forged(self) -> Iterator[Set]:
        for origin in self.cloud.followed:
            port = self.cloud.rows.get(Port, origin.port_id) if origin.port_id else None
            if port is not None and port.port_security_enabled:
                yield self.cloud.sent_by(origin) & ~self.own(port)

    def own(self, port: Port) -> Set:
        """What a port may send, as far as it says who sends it."""
        space = self.space
        macs = [*dict.fromkeys((port.mac_address, *(pair.mac_address for pair in port.allowed_address_pairs)))]
        held: list[tuple[Mac, str]] = [(port.mac_address, ip.ip_address) for ip in port.fixed_ips]
        held += [(pair.mac_address, pair.ip_address) for pair in port.allowed_address_pairs]
        held += [(mac, link_local(mac)) for mac in macs]
        ipv4, arp, ipv6 = [], [self._arp_probe(port, mac) for mac in macs], [self._unaddressed6(macs)]
        for mac, address in held:
            sort, value, mask = block(address)
            sender = space.is_("eth_src", number_of(mac))
            if sort == "ip4":
                ipv4.append(sender & space.is_("nw_src", value, mask))
                arp.append(self._arp(port, mac) & space.is_("nw_src", value, mask))
            else:
                ipv6.append(sender & space.is_("ipv6_src", value, mask) & self._neighbourly(macs, held))
        ipv4.append(self._dhcp() & union((space.is_("eth_src", number_of(mac)) for mac in macs), space.nothing))
        return ~self._rogue & union(
            (
                space.is_("eth_type", family) & union(sets, space.nothing)
                for family, sets in ((IPV4, ipv4), (ARP, arp), (IPV6, ipv6))
            ),
            space.nothing,
        )

    @cached_property
    def _rogue(self) -> Set:
        """What only DHCP servers and routers send, or what hides what it is, as a first fragment of nothing but IPv6
        options does (RFC 7610, RFC 6105, RFC 7112, RFC 7113)."""
        space = self.space
        udp = space.is_("nw_proto", UDP)
        dhcp = [udp & space.is_("tp_src", one) & space.is_("tp_dst", other) for one, other in ((67, 68), (547, 546))]
        families = (IPV4, IPV6)
        servers = [space.is_("eth_type", family) & each for family, each in zip(families, dhcp, strict=True)]
        icmp = space.is_("eth_type", IPV6) & space.is_("nw_proto", ICMP6)
        routers = [icmp & space.is_("tp_src", each) for each in (134, 137)]
        unread = (udp & space.is_("tp_src", 0) & space.is_("tp_dst", 0)) | (icmp & space.is_("tp_src", 0))
        routers.append(space.is_("eth_type", IPV6) & space.is_("ip_frag", FIRST) & unread)
        return union((*servers, *routers, space.is_("eth_type", IPV6) & space.is_("nw_proto", 0)), space.nothing)

    def _arp(self, port: Port, mac: Mac) -> Set:
        """ARP in which a MAC address of a port's speaks, from that or from the port's own."""
        senders = {number_of(mac), number_of(port.mac_address)}
        spoken = union((self.space.is_("eth_src", each) for each in senders), self.space.nothing)
        return spoken & self.space.is_("arp_sha", number_of(mac))

    def _arp_probe(self, port: Port, mac: Mac) -> Set:
        """A question of somebody who has no address yet (RFC 5227)."""
        return self._arp(port, mac) & self.space.is_("nw_proto", 1) & self.space.is_("nw_src", 0)

    def _dhcp(self) -> Set:
        space = self.space
        ports = space.is_("tp_src", 68) & space.is_("tp_dst", 67)
        return space.is_("nw_src", 0) & space.is_("nw_proto", UDP) & ports

    def _unaddressed6(self, macs: Iterable[Mac]) -> Set:
        space = self.space
        types = [space.is_("tp_src", each) for each in _UNADDRESSED]
        asks = space.is_("tp_src", SOLICITATION) & self._options("arp_sha", macs)
        senders = union((space.is_("eth_src", number_of(mac)) for mac in macs), space.nothing)
        what = union((*types, asks), space.nothing)
        return senders & space.is_("ipv6_src", 0) & space.is_("nw_proto", ICMP6) & what

    def _options(self, slot: str, macs: Iterable[Mac]) -> Set:
        return union((self.space.is_(slot, each) for each in (0, *map(number_of, macs))), self.space.nothing)

    def _neighbourly(self, macs: Iterable[Mac], held: Iterable[tuple[Mac, str]]) -> Set:
        """Neighbour discovery that gives away no others' addresses."""
        space = self.space
        icmp = space.is_("nw_proto", ICMP6)
        asks, tells = (icmp & space.is_("tp_src", each) for each in (SOLICITATION, ADVERTISEMENT))
        told = []
        for mac, address in held:
            sort, value, mask = block(address)
            if sort == "ip6":
                told.append(space.is_("nd_target", value, mask) & self._options("arp_tha", [mac]))
        return (~asks | self._options("arp_sha", macs)) & (~tells | union(told, space.nothing))


def tag_of(network: Network) -> tuple[int, int]:
    """The VLAN tag of a network of a wire, as vlan_tci, and the bits that say so."""
    if network.segmentation_id:
        return TAG | network.segmentation_id, 0x1FFF
    return 0, TAG
