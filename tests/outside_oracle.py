"""The judge of ways out by the model alone: where may this packet come to, and as whom does it come? No flow is read.

Written from what Neutron's API says of external gateways, floating IPs and port forwardings, and from RFC 3022, with as
little cleverness as there can be: every question looks at every port, subnet and route. It shares no code with the apps.
Security groups and port security are the matter of `tests.oracle`, what routers are of `tests.routing_oracle`.

It remembers connections as a real gateway would, so that answers find their way back. Each packet has one end. Limits:
routes have one next hop; nobody is told of errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from ipaddress import ip_address, ip_network

from controller.flows.pipeline import Why
from controller.model import bindings
from controller.model.bindings import Placed
from controller.model.records import (
    Chassis,
    Drained,
    FloatingIp,
    Neighbour,
    Network,
    Port,
    PortForwarding,
    Router,
    Subnet,
    Tag,
)
from controller.model.store import Rows
from tests.oracle import WHOLE, Message, Oracle, forged, is_attached, is_icmp_answer, is_up
from tests.routing_oracle import ANSWER_HOPS, ECHO, Way, holds, interfaces, is_guest, ways

MOST_GATEWAYS = 4
TUNNEL_MTU = 1450
EVERYWHERE = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}


def doors(rows: Rows, router: Router | None = None) -> list[Port]:
    """The ports by which routers, or one of them, are on networks of guests."""
    return [port for port in interfaces(rows, router) if port.device_owner == "network:router_interface"]


@dataclass(frozen=True, slots=True)
class End:
    """Where a packet comes to, and what it is there: a guest's port, or the wire of a network; or why to nobody."""

    receiver: str | None = None
    wire: str | None = None
    came: Message | None = None
    why: Why | None = None


@dataclass(frozen=True, slots=True)
class At:
    """A packet on a hypervisor; `answered`: it is what a router answered, or let in."""

    chassis: str
    answered: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """A connection that a zone translates: how it began, and how the other side sees it; what forwards it."""

    began: Message
    seen: Message
    forwarding: str = ""


@dataclass(slots=True)
class Outside:
    """Every connection there ever was, of guests' ports and of whoever translates. Hypervisors that are `away` are dead
    as gateways."""

    rows: Rows
    away: frozenset[str] = frozenset()
    guests: Oracle = field(default_factory=Oracle)
    known: dict[tuple[str, str], list[Known]] = field(default_factory=dict)

    # Where packets begin

    def sent(self, message: Message) -> End:
        """By a guest."""
        port = self.rows.get(Port, message.sender)
        assert port is not None
        if not is_up(self.rows, port):
            return End(why=Why.ADMIN_DOWN)
        why = forged(port, message) or self.guests.half(self.rows, port, message, "egress")[0]
        if why is not None:
            return End(why=why)
        return self.onto(port.network_id, message, At(self.placed(port)), port)

    def came(self, network: str, message: Message, sender: str = "") -> End:
        """On the wire of a network, from a host there, or from a hypervisor: whose frame is it?"""
        physical = self.physical(network)
        assert physical is not None
        for port in [each for each in self.rows.all(Port) if each.network_id == network]:
            if port.mac_address != message.target_mac:
                continue
            place = self.place_on_wire(port)
            if place is None or place == sender or physical not in self.wires(place):
                continue
            if is_guest(self.rows, port):
                return self.deliver(port, self.unmasked(message))
            return self.at(self.router_of(port), network, message, At(place))
        return End(wire=network, came=message)

    def place_on_wire(self, port: Port, here: str = "") -> str | None:
        """The one hypervisor that takes what comes on the wire for a port's MAC, as one hypervisor sees it."""
        if is_guest(self.rows, port):
            return self.placed(port)
        if port.device_owner == "network:floatingip":
            (floating,) = [each for each in self.rows.all(FloatingIp) if each.floating_port_id == port.id]
            places = self.translated(floating)
            return places[0] if self.is_distributed(floating) and places else self.active(places, here)
        router = self.rows.get(Router, port.device_id)
        if router is None:
            return None
        if port.device_owner == "network:router_gateway":
            return self.active(self.gateways(router), here)
        return self.servant(port.network_id) if port in doors(self.rows, router) else None

    # On a network

    def onto(self, network: str, message: Message, at: At, sender: Port | None = None) -> End:
        """A hypervisor sends it on a network, for a MAC; `sender` is the guest that begins it."""
        physical = self.physical(network)
        port = next(
            (
                each
                for each in self.rows.all(Port)
                if each.network_id == network and each.mac_address == message.target_mac
            ),
            None,
        )
        if port is not None and sender is not None and port.id == sender.id:
            return End(why=Why.OWN_MAC)
        if port is not None and is_guest(self.rows, port) and (not physical or self.placed(port) == at.chassis):
            return self.deliver(port, message, sender, at)
        if port is not None and port.device_owner == "network:router_interface":
            router = self.rows.get(Router, port.device_id)
            if router is not None and port in doors(self.rows, router):
                return self.at(router, network, message, at)
        if port is not None and self.is_outer(port) and self.place_on_wire(port, at.chassis) == at.chassis:
            return self.at(self.router_of(port), network, message, at)
        if physical is None:
            return End(why=Why.UNKNOWN_UNICAST)
        if physical not in self.wires(at.chassis):
            return End(why=Why.NO_PHYSICAL)
        return self.came(network, self.masked(network, message, at.chassis), at.chassis)

    def deliver(self, port: Port, message: Message, sender: Port | None = None, at: At | None = None) -> End:
        """To a guest, if its security groups let it in."""
        why, _ = self.guests.half(self.rows, port, message, "ingress")
        return End(why=why) if why is not None else End(receiver=port.id, came=message)

    def masked(self, network: str, message: Message, chassis: str) -> Message:
        """On a wire a router's interface has the MAC of its hypervisor, and of itself."""
        for port in doors(self.rows):
            if port.network_id == network and port.mac_address == message.source_mac:
                numbers = (self.tag("chassis", chassis), self.tag("port", port.id))
                digits = f"1e{numbers[0]:04x}{numbers[1]:06x}"
                return replace(message, source_mac=bytes.fromhex(digits).hex(":"))
        return message

    def unmasked(self, message: Message) -> Message:
        """And guests see the interface's own."""
        interface = self.interface_behind(message.source_mac)
        return replace(message, source_mac=interface.mac_address) if interface else message

    def interface_behind(self, mac: str) -> Port | None:
        """The interface that a MAC of a wire stands for."""
        if not mac.startswith("1e:"):
            return None
        number = int(mac.replace(":", "")[6:], 16)
        return next(port for port in doors(self.rows) if self.tag("port", port.id) == number)

    # At a router

    def at(self, router: Router, network: str, message: Message, at: At) -> End:
        """Is it for the router itself, has it a hop left, is it for somebody inside by another address?"""
        outer, target = self.gateway_port(router), ip_address(message.target)
        echo = message.icmp is not None and message.low == ECHO[message.protocol][0]
        inner = any(holds(port, target, network) for port in doors(self.rows, router))
        gate = outer is not None and message.target in {ip.ip_address for ip in outer.fixed_ips}
        if (inner or gate) and echo:
            swapped = replace(message, source=message.target, target=message.source, hops=ANSWER_HOPS)
            answer = replace(swapped, low=ECHO[message.protocol][1])
            return self.route(router, network, answer, replace(at, answered=True))
        if inner or (gate and message.version == 6):
            return End(why=Why.ROUTER_ADDRESS)
        if message.hops <= 1:
            return End(why=Why.TTL_EXCEEDED)
        message = replace(message, hops=message.hops - 1)
        if outer is not None and network == outer.network_id and message.version == 4:
            into = self.into(router, message, at)
            if isinstance(into, Why):
                return End(why=into)
            if into is not None:
                return self.route(router, network, into, replace(at, answered=True))
        return self.route(router, network, message, at)

    def into(self, router: Router, message: Message, at: At) -> Message | Why | None:
        """What came from outside as it is inside; None if it is not translated."""
        zone, mine = (at.chassis, router.id), self.outer_address(router)
        for floating in self.rows.all(FloatingIp):
            if floating.floating_ip_address != message.target or floating.router_id != router.id:
                continue
            if floating.port_id and at.chassis in self.translated(floating):
                assert floating.fixed_ip_address is not None
                return self.translate((at.chassis, floating.id), message, target=floating.fixed_ip_address)
            for each in self.rows.all(PortForwarding):
                first, last = each.external_port_first, each.external_port_last
                named = {"tcp": 6, "udp": 17}[each.protocol] == message.protocol
                if each.floatingip_id == floating.id and named and first <= message.high <= last and mine:
                    size = each.internal_port_last - each.internal_port_first
                    port = each.internal_port_first + (message.high - first if size else 0)
                    return self.translate(zone, message, each.internal_ip_address, port, each.id)
            if not floating.port_id and mine:
                return self.through(zone, message) or self.unknown(message, Why.NO_CONNECTION)
        if message.target == mine:
            return self.through(zone, message) or self.unknown(message, Why.ROUTER_ADDRESS)
        return Why.NO_CONNECTION if router.enable_snat else None

    def route(self, router: Router, network: str, message: Message, at: At) -> End:
        """By the longest prefix; the outside is a subnet as others are, and all else."""
        found = [way for way in self.ways(router) if ip_address(message.target) in way.block]
        if not found:
            return End(why=Why.NO_ROUTE)
        best = max(found, key=lambda way: (way.block.prefixlen, way.connected))
        by, hop = best.interface, best.nexthop or message.target
        message = replace(message, source_mac=by.mac_address)
        if by.device_owner != "network:router_gateway" or message.version == 6:
            if by.device_owner == "network:router_gateway":
                gateway = self.gateway_for(router, message, at)
                if isinstance(gateway, Why):
                    return End(why=gateway)
                at = gateway
            return self.leave(by.network_id, message, hop, at)
        return self.out(router, network, by, message, hop, at)

    def out(self, router: Router, network: str, by: Port, message: Message, hop: str, at: At) -> End:
        """IPv4 to the outside: under a floating IP, or the gateway's address, or its own."""
        mine, here = self.outer_address(router), at
        floating = self.floating_of(router, message.source)
        if floating is None or at.chassis not in self.translated(floating) or not self.is_distributed(floating):
            if message.source == mine and network == by.network_id and at.answered:
                return self.leave(by.network_id, message, hop, at)
            behind = self.is_forwarded(router, message.source) or floating is not None
            turned = behind and message.target == mine
            if message.target == mine and not turned:
                return End(why=Why.ROUTER_ADDRESS)
            if message.source == mine:
                return End(why=Why.OUTER_ADDRESS)
            gateway = self.gateway_for(router, message, at)
            if isinstance(gateway, Why):
                return End(why=gateway)
            here = gateway
        zone = (here.chassis, router.id)
        if floating is not None and here.chassis in self.translated(floating):
            came = self.translate((here.chassis, floating.id), message, source=floating.floating_ip_address)
            mac = self.mac(floating)
            why: Message | Why = came
            if isinstance(came, Message):
                why = replace(came, source_mac=mac)
            return End(why=why) if isinstance(why, Why) else self.leave(by.network_id, why, hop, here)
        answer = self.through(zone, message)
        if answer is not None:
            forwarded = self.forwards(zone, message)
            answer = replace(answer, source_mac=self.mac(forwarded)) if forwarded else answer
            return self.leave(by.network_id, answer, hop, here)
        if message.target == mine and router.enable_snat:
            return End(why=Why.NOT_TRANSLATED)
        hairpin = self.is_forwarding(router, message.target)
        if router.enable_snat or hairpin:
            assert mine is not None
            sent = self.translate(zone, message, source=mine)
            return End(why=sent) if isinstance(sent, Why) else self.leave(by.network_id, sent, hop, here)
        if self.is_forwarded(router, message.source) and is_icmp_answer(message):
            return End(why=Why.NOT_TRACKED)
        return self.leave(by.network_id, message, hop, here)

    def gateway_for(self, router: Router, message: Message, at: At) -> At | Why:
        """Where a router's packets leave for the outside; no tunnel there bears more than `TUNNEL_MTU`."""
        ranked = self.gateways(router)
        mine = ranked[: ranked.index(at.chassis) + 1] if at.chassis in ranked else ranked
        alive = [each for each in mine if each not in self.away or each == at.chassis]
        if not alive:
            return Why.NO_GATEWAY
        if alive[0] == at.chassis:
            return at
        return Why.TRANSIT_TOO_BIG if message.size > TUNNEL_MTU else replace(at, chassis=alive[0])

    def leave(self, network: str, message: Message, hop: str, at: At) -> End:
        """To a next hop whose MAC is known, if the packet fits."""
        mac, found = self.neighbour(network, hop), self.rows.get(Network, network)
        assert found is not None
        if mac is None:
            return End(why=Why.NO_NEIGHBOUR)
        if message.size > found.mtu:
            cuttable = message.version == 4 and message.fragment != WHOLE
            return End(why=Why.FRAGMENT_TOO_BIG if cuttable else Why.TOO_BIG)
        return self.onto(network, replace(message, target_mac=mac), at)

    # Translation

    def translate(
        self,
        zone: tuple[str, str],
        message: Message,
        target: str = "",
        port: int = 0,
        forwarding: str = "",
        source: str = "",
    ) -> Message | Why:
        """As the connection of a packet says, which may begin here."""
        found = self.through(zone, message)
        if found is not None:
            return found
        if is_icmp_answer(message):
            return Why.NOT_TRACKED
        seen = replace(message, target=target or message.target, source=source or message.source)
        if port and port != message.high:
            seen = replace(seen, high=port)
        self.known.setdefault(zone, []).append(Known(message, seen, forwarding))
        return seen

    def unknown(self, message: Message, why: Why) -> Why:
        """Why nothing comes of what is of no connection that is known."""
        return Why.NOT_TRACKED if is_icmp_answer(message) else why

    def through(self, zone: tuple[str, str], message: Message) -> Message | None:
        """Of a known connection, in either direction."""
        for each in self.known.get(zone, []):
            if each.began.same(message):
                return self.like(message, each.seen)
            back = each.seen.answer("")
            if back.same(message):
                return self.like(message, each.began.answer(""))
        return None

    def forwards(self, zone: tuple[str, str], message: Message) -> FloatingIp | None:
        """The floating IP whose port forwarding began a packet's connection."""
        for each in self.known.get(zone, []):
            found = self.rows.get(PortForwarding, each.forwarding)
            if found is not None and each.seen.answer("").same(message):
                return self.rows.get(FloatingIp, found.floatingip_id)
        return None

    def like(self, message: Message, other: Message) -> Message:
        """With the addresses and ports of another."""
        return replace(message, source=other.source, target=other.target, low=other.low, high=other.high)

    # What there is

    def ways(self, router: Router) -> Iterator[Way]:
        """Everything that a router knows."""
        outer = self.gateway_port(router)
        yield from ways(self.rows, router)
        if outer is None:
            return
        subnets = [each for each in self.rows.all(Subnet) if each.network_id == outer.network_id]
        yield from (Way(ip_network(each.cidr), outer) for each in subnets)
        blocks = set()
        for route in router.routes:
            blocks.add(ip_network(route.destination))
            if any(ip_address(route.nexthop) in ip_network(subnet.cidr) for subnet in subnets):
                yield Way(ip_network(route.destination), outer, route.nexthop)
        for ip in outer.fixed_ips:
            subnet = self.rows.get(Subnet, ip.subnet_id)
            if subnet and subnet.gateway_ip and EVERYWHERE[subnet.ip_version] not in blocks:
                blocks.add(EVERYWHERE[subnet.ip_version])
                yield Way(EVERYWHERE[subnet.ip_version], outer, subnet.gateway_ip)

    def neighbour(self, network: str, address: str) -> str | None:
        """The MAC of who holds an address of a network: a guest, a router, a floating IP, or a host that was heard."""
        for port in [each for each in self.rows.all(Port) if each.network_id == network]:
            there = is_guest(self.rows, port) or port in doors(self.rows)
            there |= self.is_outer(port) and self.is_somewhere(port)
            if there and address in {ip.ip_address for ip in port.fixed_ips}:
                return port.mac_address
        heard = self.rows.get(Neighbour, f"{network}/{address}")
        return heard.mac_address if heard else None

    def is_outer(self, port: Port) -> bool:
        """Is it a gateway's, or a floating IP's?"""
        return port.device_owner in ("network:router_gateway", "network:floatingip")

    def is_somewhere(self, port: Port) -> bool:
        """Is there a gateway, or does a floating IP stand for somebody?"""
        floating = [each for each in self.rows.all(FloatingIp) if each.floating_port_id == port.id]
        return bool(self.translated(floating[0]) if floating else self.gateways(self.router_of(port)))

    def router_of(self, port: Port) -> Router:
        """The router that takes what is for a port."""
        floating = [each for each in self.rows.all(FloatingIp) if each.floating_port_id == port.id]
        router = self.rows.get(Router, floating[0].router_id if floating else port.device_id)
        assert router is not None
        return router

    def gateway_port(self, router: Router) -> Port | None:
        """Its port on the external network."""
        found = (each for each in self.rows.all(Port) if each.device_id == router.id)
        return next((each for each in found if each.device_owner == "network:router_gateway"), None)

    def outer_address(self, router: Router) -> str | None:
        """The IPv4 address under which guests go out."""
        port = self.gateway_port(router)
        found = [ip.ip_address for ip in port.fixed_ips if ":" not in ip.ip_address] if port else []
        return found[0] if found else None

    def gateways(self, router: Router) -> list[str]:
        """The hypervisors that may take a router's packets outside, the best first."""
        port = self.gateway_port(router)
        if port is None or not router.admin_state_up or not is_up(self.rows, port):
            return []
        physical, hints = self.physical(port.network_id), router.availability_zone_hints
        able = [
            each
            for each in self.rows.all(Chassis)
            if each.gateway_priority is not None
            and physical in self.wires(each.id)
            and self.rows.get(Drained, each.id) is None
            and (not hints or each.availability_zone in hints)
        ]
        lots = {each.id: sha256(f"{router.id}/{each.id}".encode()).hexdigest() for each in able}
        ranked = sorted(able, key=lambda each: (-(each.gateway_priority or 0), lots[each.id]))
        return [each.id for each in ranked][:MOST_GATEWAYS]

    def active(self, ranked: list[str], here: str = "") -> str | None:
        """The best that is alive, as one hypervisor sees it: it is alive itself."""
        return next((each for each in ranked if each not in self.away or each == here), None)

    def translated(self, floating: FloatingIp) -> list[str]:
        """Where a floating IP is translated: at its guest's hypervisor if that is on the wire, else at gateways."""
        router = self.rows.get(Router, floating.router_id)
        if router is None or not router.admin_state_up or router.external_network_id != floating.floating_network_id:
            return []
        if not floating.port_id:
            forwards = any(each.floatingip_id == floating.id for each in self.rows.all(PortForwarding))
            return self.gateways(router) if forwards else []
        port = self.rows.get(Port, floating.port_id)
        if port is None or not is_attached(self.rows, port):
            return []
        place = self.placed(port)
        return [place] if self.is_distributed(floating) else self.gateways(router)

    def is_distributed(self, floating: FloatingIp) -> bool:
        """Is the guest's hypervisor on the wire?"""
        port = self.rows.get(Port, floating.port_id)
        if port is None or not is_attached(self.rows, port):
            return False
        return self.physical(floating.floating_network_id) in self.wires(self.placed(port))

    def floating_of(self, router: Router, source: str) -> FloatingIp | None:
        """The floating IP that stands for an address behind a router."""
        for each in self.rows.all(FloatingIp):
            if each.router_id == router.id and each.port_id and each.fixed_ip_address == source:
                return each if self.translated(each) else None
        return None

    def is_forwarding(self, router: Router, address: str) -> bool:
        """Is it a floating IP of a router, whose guests must not answer others behind it directly?"""
        found = [each for each in self.rows.all(FloatingIp) if each.router_id == router.id]
        return address in {each.floating_ip_address for each in found if each.port_id or self.translated(each)}

    def is_forwarded(self, router: Router, address: str) -> bool:
        """Is it an address that port forwardings of a router lead to?"""
        ids = {each.id for each in self.rows.all(FloatingIp) if each.router_id == router.id}
        return any(
            each.floatingip_id in ids and each.internal_ip_address == address for each in self.rows.all(PortForwarding)
        )

    def mac(self, floating: FloatingIp) -> str:
        """The MAC of a floating IP."""
        port = self.rows.get(Port, floating.floating_port_id)
        assert port is not None
        return port.mac_address

    def servant(self, network: str) -> str | None:
        """The hypervisor that is the router to the hosts of a wire."""
        physical, found = self.physical(network), []
        for each in self.rows.all(Chassis):
            if physical in self.wires(each.id):
                lot = sha256(f"{network}/{each.id}".encode()).digest()
                priority = -1 if each.gateway_priority is None else each.gateway_priority
                found.append((self.rows.get(Drained, each.id) is None, priority, lot, each.id))
        return max(found)[-1] if found else None

    def physical(self, network: str) -> str | None:
        """The physical network that a network is on."""
        found = self.rows.get(Network, network)
        return found.physical_network if found else None

    def wires(self, chassis: str) -> set[str]:
        """The physical networks that a hypervisor is on."""
        found = self.rows.get(Chassis, chassis)
        return {physical for physical, _ in found.bridge_mappings} if found else set()

    def placed(self, port: Port) -> str:
        """Where an attached port is."""
        place = bindings.place(self.rows, port)
        assert isinstance(place, Placed)
        return place.chassis

    def tag(self, space: str, id: str) -> int:
        """The number that stands for something."""
        found = self.rows.get(Tag, f"{space}/{id}")
        assert found is not None
        return found.number
