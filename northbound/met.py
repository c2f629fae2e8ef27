"""A packet as it came to a table, the flow that it met there, and what of the model that is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from controller.flows import fields as f
from controller.flows import pipeline as p
from controller.flows.flow import Flow
from controller.flows.match import Field, Set
from controller.flows.packet import Packet
from controller.model.records import Address, Bundle, Chassis, Network, Port, Router, SecurityGroupRule
from controller.model.store import Rows
from northbound.admission import Began, fitting, named, remotes, tagged

IPV6: Final = 0x86DD


@dataclass(frozen=True, slots=True)
class Facts:
    """What a hop is about, by ids of the API; None, or empty, what it is not about.

    `rules` admitted the packet, `nat` is an address that it was given (by "source" or "destination"), `mtu` is of the
    network that it goes on to.
    """

    port: str | None = None
    network: str | None = None
    router: str | None = None
    rules: tuple[str, ...] = ()
    nat: Mapping[str, str] | None = None
    mtu: int | None = None


@dataclass(frozen=True, slots=True)
class Met:
    """A packet as it came to a table, and the flow that it met there."""

    rows: Rows
    packet: Packet
    flow: Flow

    @property
    def reason(self) -> str:
        """The reason of the flow."""
        return self.flow.reason

    def written(self, field: Field[int]) -> int:
        """What the flow writes into a field; 0 if nothing."""
        writes = (each for each in self.flow.actions if isinstance(each, Set) and each.field is field)
        return next((write.value for write in writes), 0)

    def port(self, key: int) -> str:
        """A port by its key."""
        port: Port | None = tagged(self.rows, Port, "port", key)
        return named("port", port.id, port.name) if port else f"port with key {key}"

    def network(self, key: int) -> str:
        """A network by its key."""
        network = self.network_of(key)
        return named("network", network.id, network.name) if network else f"network with key {key}"

    def network_of(self, key: int) -> Network | None:
        """The same, as it is in the model."""
        found: Network | None = tagged(self.rows, Network, "network", key)
        return found

    def router(self) -> str:
        """The router that the packet is at."""
        key = self.packet[p.RTR]
        router: Router | None = tagged(self.rows, Router, "router", key)
        return named("router", router.id, router.name) if router else f"router with key {key}"

    def hypervisor(self, ipv4: Field[Address], ipv6: Field[Address]) -> str:
        """The hypervisor whose tunnel address is in one of two fields."""
        field = ipv6 if self.packet[ipv6] else ipv4
        address = field.show(self.packet[field])
        found = self.rows.where(Chassis, encap_ip=address)
        return f"{found[0].id} ({address})" if found else address

    def admitting(self, number: int) -> tuple[Bundle | None, tuple[SecurityGroupRule, ...]]:
        """A bundle, by its number, and those of its rules that allow the packet; None is one that is gone."""
        bundle: Bundle | None = tagged(self.rows, Bundle, "bundle", number)
        if bundle is None:
            return None, ()
        return bundle, fitting(self.rows, bundle, remotes(self.rows, bundle), tuple_of(self.packet))

    @property
    def facts(self) -> Facts:
        """What this is about."""
        port: Port | None = tagged(self.rows, Port, "port", self._port())
        network = self.network_of(self.written(p.NET) or self.packet[p.NET])
        at = self.written(p.RTR) or self.packet[p.RTR] if self.flow.table in _ROUTING else 0
        router: Router | None = tagged(self.rows, Router, "router", at)
        way = (self.flow.table, self.reason)
        rules = self.admitting(self.packet[_ADMITTING[way]])[1] if way in _ADMITTING else ()
        carries = self.flow.table in _CARRYING and self.packet[f.TUN_ID] not in p.TRANSITS.values()
        return Facts(
            port=port.id if port else None,
            network=network.id if network else None,
            router=router.id if router else None,
            rules=tuple(rule.id for rule in rules),
            nat=self._nat(),
            mtu=network.mtu if network and carries else None,
        )

    def _port(self) -> int:
        """The key of the port that it is about: where the packet is from, or for, or whose rules are asked."""
        table = self.flow.table
        if table in _CHECKING:
            return self.packet[p.CHECKED]
        if table in _SENDING:
            return self.packet[p.SRC]
        return self.packet[p.DST] if table is p.DELIVER else self.written(p.SRC) or self.written(p.DST)

    def _nat(self) -> Mapping[str, str] | None:
        """What conntrack has just translated the packet to."""
        if self.reason not in _TRANSLATED:
            return None
        if self.flow.table is p.L3_SNATTED:
            return {"source": tuple_of(self.packet).source}
        return {"destination": tuple_of(self.packet).destination} if self.flow.table is p.L3_DNATTED else None


_SENDING: Final = frozenset({p.PORT_SECURITY, p.ADDRESS_SECURITY})
_CHECKING: Final = frozenset({p.OUT_TRACK, p.OUT_RULES, p.OUT_DONE, p.IN_TRACK, p.IN_RULES, p.IN_DONE})
_ROUTING: Final = frozenset(
    {p.L3_IN, p.L3_DNAT, p.L3_DNATTED, p.L3_ROUTE, p.L3_SNAT, p.L3_SNATTED, p.L3_OUT, p.L3_MTU, p.TRANSIT, p.GATED}
)
_CARRYING: Final = frozenset({p.L3_ROUTE, p.TUNNEL, p.PHYSICAL, p.DELIVER})
_TRANSLATED: Final = frozenset({"floating", "forwarded", "translated"})
_ADMITTING: Final = {
    **{(table, why): p.WHY for table in (p.OUT_DONE, p.IN_DONE) for why in ("stateless", "opened", "unread")},
    **{(table, "known"): p.CT_BUNDLE for table in (p.OUT_RULES, p.IN_RULES)},
}
"""Where the number of the bundle stands that admitted a packet, by table and reason."""


def is_ipv6(packet: Packet) -> bool:
    """Is it IPv6?"""
    return packet[f.ETH_TYPE] == IPV6


def tuple_of(packet: Packet) -> Began:
    """The tuple of a packet of IP."""
    headers = f.PACKET6 if is_ipv6(packet) else f.PACKET4
    number = packet[headers.proto]
    low, high = (packet[of[number]] if number in of else None for of in (headers.low, headers.high))
    source, destination = (field.show(packet[field]) for field in (headers.source, headers.destination))
    return Began(number, source, destination, low, high)
