"""What an app is: data. Rules say which flows a record wants and where they belong; nothing says when.

    APP = app("l2_population", host(Port, local), peers(Port, remote), each(Network, members))

A rule is pure: `compute(view, record)` yields flows, clauses and groups (`compute(view, record, chassis)` for
`each`). It never adds, removes or updates: the engine subtracts.

Placements:

    everywhere(fn)       every chassis; `fn(view)`, once for the fleet
    itself(Chassis, fn)  the chassis that the record is
    others(Chassis, fn)  every chassis but the one that the record is
    host(Port, fn)       the chassis the port is plugged into
    peers(Port, fn)      every other chassis where the port's network is present
    neighbours(Port, fn) every chassis where the port's network is present, its own too
    present(Network, fn) every chassis where the network is present
    joined(Port, fn)     the same, of the network of a port that is a router's interface, while the router is up
    routing(Router, fn)  every chassis where any network of the router is present, while it is up
    crossing(Router, fn) the same, computed for each chassis by itself
    at_gateways(Router, fn) every chassis that may be the router's gateway, computed for each by itself
    outside(Router, fn)  every chassis where the external network of the router is present
    translating(FloatingIp, fn) every chassis where the floating IP is translated, computed for each by itself
    floating(FloatingIp, fn) every chassis where the external network of the floating IP is present
    wired(Network, fn)   those of them that are on the wire of the network's physical network
    bridging(fn)         those of them, for each (network, router) that is on it and up: `fn(view, network, router)`
    serving(fn)          the one of them that is the router to physical hosts, likewise
    homes(Network, fn)   every chassis that has an attached port of the network
    each(Network, fn)    the same, computed for each chassis by itself
    under(Policy, fn)    every chassis where a port is under the policy
    guarding(Bundle, fn) every chassis where a port is in the bundle's, or rule's, security group
    remotes(RELATION, fn) the same, for each (bundle, address) of a relation: `fn(view, bundle_id, address)`
    on_wire(fn)          every chassis where the network is present of a `Neighbour` that is a physical host
    reaching(RELATION, fn) every chassis where a network is present, for each (network, value): `fn(view, id, value)`

`host`, `peers` and `neighbours` of a `Neighbour` are those of its port, while that may hold its address.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from controller.flows import attachment, holding, presence, ways_out
from controller.flows.flow import Item
from controller.flows.pipeline import APPS, Why
from controller.flows.punted import Outcome, Punted, Said
from controller.model.bindings import Placed
from controller.model.records import (
    Bundle,
    Chassis,
    FloatingIp,
    Neighbour,
    Network,
    Policy,
    Port,
    PortForwarding,
    Record,
    Router,
    SecurityGroupRule,
)
from controller.model.view import Relation, View

Kind = type[Record] | Relation[Any, Any] | None
"""What a rule has a cell for: each record of a kind, each fact (key, value) of a relation, or the whole cloud."""


About = Callable[[Any], bool]
"""Whether a record may want anything, as far as it alone tells."""
Gate = Callable[[View, str], Hashable]
"""A derived value of a record's id without which it wants nothing."""


class Scope(NamedTuple):
    """A set of chassis: `of(view, key)`, derived."""

    of: Callable[[View, str], frozenset[str]]
    key: str


class Placement(NamedTuple):
    """Every chassis of `scope` but `without`."""

    scope: Scope
    without: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """Which flows each record, or fact, of `kind` wants, and where.

    `place` gets the record, or the fact's key. `apart` rules are computed for each chassis of their placement by
    itself. A record that `about` is false of, or whose `gate`, a derived value of its id, is false, wants none: there
    is no cell for it, which would have to be run, and kept, for nothing.
    """

    kind: Kind
    compute: Callable[..., Iterator[Item]]
    place: Callable[[View, Any], Placement | None]
    apart: bool = False
    about: About | None = None
    gate: Gate | None = None

    @property
    def name(self) -> str:
        """The name of the function that computes."""
        return self.compute.__name__


Answer = Callable[[View, Punted], Iterator[Outcome]]
"""What comes of a packet that a switch handed over; pure, as rules are."""
Prove = Callable[[View, Neighbour], Iterator[Said]]
"""What asks whoever is known to hold an address whether it still does."""
Herald = Callable[[View, Record | None, Record | None], Iterator[Said]]
"""What guests are told of a record that was one and is another, once the flows for it stand; pure, too."""


@dataclass(frozen=True, slots=True)
class App:
    """A feature of the network: a name, the second byte of its cookies, and its rules."""

    name: str
    number: int
    rules: tuple[Rule, ...]
    answers: Mapping[Why, Answer] = field(default_factory=dict)
    heralds: Mapping[type[Record], Herald] = field(default_factory=dict)
    prove: Prove | None = None


def app(
    name: str,
    *rules: Rule,
    answers: Mapping[Why, Answer] | None = None,
    heralds: Mapping[type[Record], Herald] | None = None,
    prove: Prove | None = None,
) -> App:
    """An app by the number that `pipeline.APPS` gives it.

    `answers` to packets that switches hand over, by reason; `heralds` of changes, by the kind of what is changed.
    """
    return App(name, APPS[name], rules, answers or {}, heralds or {}, prove)


def everywhere(compute: Callable[[View], Iterator[Item]]) -> Rule:
    """On every chassis."""
    return Rule(None, compute, lambda view, _: Placement(Scope(presence.everyone, "")))


def itself(kind: type[Chassis], compute: Callable[[View, Chassis], Iterator[Item]]) -> Rule:
    """On the chassis that the record is."""
    return Rule(kind, compute, lambda view, chassis: Placement(Scope(presence.only, chassis.id)))


def others(kind: type[Chassis], compute: Callable[[View, Chassis], Iterator[Item]]) -> Rule:
    """On every chassis but the one that the record is."""
    return Rule(kind, compute, lambda view, chassis: Placement(Scope(presence.everyone, ""), without=chassis.id))


Guest = TypeVar("Guest", Port, Neighbour)


def _attached(view: View, guest: Port | Neighbour) -> Placed | None:
    """Where a port is attached, or the port that holds an address."""
    held = isinstance(guest, Neighbour)
    return holding.held_at(view, guest.id) if held else attachment.attached(view, guest.id)


def _gate(kind: type[Port] | type[Neighbour]) -> Gate | None:
    """A port that is plugged in nowhere wants nothing."""
    return attachment.plugged_into if issubclass(kind, Port) else None


def host(kind: type[Guest], compute: Callable[[View, Guest], Iterator[Item]], *, about: About | None = None) -> Rule:
    """On the chassis the port is plugged into."""

    def place(view: View, guest: Port | Neighbour) -> Placement | None:
        held = isinstance(guest, Neighbour)
        placed = holding.held_at(view, guest.id) if held else attachment.plugged(view, guest.id)
        return Placement(Scope(presence.only, placed.chassis)) if placed else None

    return Rule(kind, compute, place, about=about, gate=_gate(kind))


def peers(kind: type[Guest], compute: Callable[[View, Guest], Iterator[Item]]) -> Rule:
    """On every chassis but the port's own where its network is present, while the port is attached."""

    def place(view: View, guest: Port | Neighbour) -> Placement | None:
        placed = _attached(view, guest)
        if placed is None:
            return None
        return Placement(Scope(presence.chassis_of_network, guest.network_id), without=placed.chassis)

    return Rule(kind, compute, place, gate=_gate(kind))


def neighbours(
    kind: type[Guest], compute: Callable[[View, Guest], Iterator[Item]], *, about: About | None = None
) -> Rule:
    """On every chassis where the port's network is present, while the port is attached."""

    def place(view: View, guest: Port | Neighbour) -> Placement | None:
        placed = _attached(view, guest)
        return Placement(Scope(presence.chassis_of_network, guest.network_id)) if placed else None

    return Rule(kind, compute, place, about=about, gate=_gate(kind))


def _network_present(view: View, network: Network) -> Placement:
    return Placement(Scope(presence.chassis_of_network, network.id))


def present(kind: type[Network], compute: Callable[[View, Network], Iterator[Item]]) -> Rule:
    """On every chassis where the network is present."""
    return Rule(kind, compute, _network_present)


def wired(kind: type[Network], compute: Callable[[View, Network], Iterator[Item]]) -> Rule:
    """On every chassis where the network is present that is on the wire of its physical network."""
    return Rule(kind, compute, lambda view, network: Placement(Scope(presence.chassis_on_wire, network.id)))


def homes(kind: type[Network], compute: Callable[[View, Network], Iterator[Item]]) -> Rule:
    """On every chassis that has an attached port of the network."""
    return Rule(kind, compute, _network_homes)


def _network_homes(view: View, network: Network) -> Placement:
    return Placement(Scope(presence.members_of_network, network.id))


def joined(kind: type[Port], compute: Callable[[View, Port], Iterator[Item]]) -> Rule:
    """On every chassis where the port's network is present, if a router is on it by the port, and all of these up."""

    def place(view: View, port: Port) -> Placement | None:
        if not attachment.joins(view, port):
            return None
        return Placement(Scope(presence.chassis_of_network, port.network_id))

    return Rule(kind, compute, place, about=attachment.is_interface)


def bridging(compute: Callable[[View, str, str], Iterator[Item]]) -> Rule:
    """On every chassis where a network is present that is on its wire, for each router that is on the network."""
    return Rule(attachment.JOINTS, compute, lambda view, joint: Placement(Scope(presence.chassis_on_wire, joint)))


def serving(compute: Callable[[View, str, str], Iterator[Item]]) -> Rule:
    """The same, on the one of them that is the router to physical hosts."""
    return Rule(attachment.JOINTS, compute, lambda view, joint: Placement(Scope(presence.chassis_that_serves, joint)))


def routing(kind: type[Router], compute: Callable[[View, Router], Iterator[Item]]) -> Rule:
    """On every chassis where any network of the router is present, while it is up."""
    return Rule(kind, compute, lambda view, router: Placement(Scope(presence.chassis_of_network, router.id)))


def crossing(kind: type[Router], compute: Callable[[View, Router, str], Iterator[Item]]) -> Rule:
    """The same, computed for each chassis by itself."""
    return Rule(
        kind, compute, lambda view, router: Placement(Scope(presence.chassis_of_network, router.id)), apart=True
    )


def at_gateways(kind: type[Router], compute: Callable[[View, Router, str], Iterator[Item]]) -> Rule:
    """On every chassis that may be the router's gateway, computed for each by itself."""
    return Rule(kind, compute, lambda view, router: Placement(Scope(ways_out.gateway_chassis, router.id)), apart=True)


def outside(kind: type[Router], compute: Callable[[View, Router], Iterator[Item]]) -> Rule:
    """On every chassis where the external network of the router is present, while the router is up."""

    def place(view: View, router: Router) -> Placement | None:
        if not view.derive(ways_out.gateways, router.id):
            return None
        return Placement(Scope(presence.chassis_of_network, router.external_network_id))

    return Rule(kind, compute, place)


def translating(kind: type[FloatingIp], compute: Callable[[View, FloatingIp, str], Iterator[Item]]) -> Rule:
    """On every chassis where the floating IP is translated, computed for each by itself."""

    def place(view: View, floating: FloatingIp) -> Placement:
        return Placement(Scope(ways_out.floating_chassis, floating.id))

    return Rule(kind, compute, place, apart=True)


def led(kind: type[FloatingIp], compute: Callable[[View, FloatingIp, str], Iterator[Item]]) -> Rule:
    """On every chassis where any network of the floating IP's router is present, while gateways translate it, computed
    for each by itself."""

    def place(view: View, floating: FloatingIp) -> Placement | None:
        where = view.derive(ways_out.translated, floating.id)
        if not floating.port_id or where.distributed or not where.chassis:
            return None
        return Placement(Scope(presence.chassis_of_network, floating.router_id))

    return Rule(kind, compute, place, apart=True)


def leading(kind: type[FloatingIp], compute: Callable[[View, FloatingIp, str], Iterator[Item]]) -> Rule:
    """On every chassis that may be the gateway of the floating IP's router, computed for each by itself."""

    def place(view: View, floating: FloatingIp) -> Placement | None:
        return Placement(Scope(ways_out.gateway_chassis, floating.router_id)) if floating.port_id else None

    return Rule(kind, compute, place, apart=True)


def forwarding(kind: type[PortForwarding], compute: Callable[[View, PortForwarding, str], Iterator[Item]]) -> Rule:
    """On every chassis where the floating IP of a port forwarding is translated, computed for each by itself."""

    def place(view: View, forwarding: PortForwarding) -> Placement:
        return Placement(Scope(ways_out.floating_chassis, forwarding.floatingip_id))

    return Rule(kind, compute, place, apart=True)


def forwarded(kind: type[PortForwarding], compute: Callable[[View, PortForwarding, str], Iterator[Item]]) -> Rule:
    """On every chassis where any network of its router is present, while it works, computed for each by itself."""

    def place(view: View, forwarding: PortForwarding) -> Placement | None:
        floating = view.get(FloatingIp, forwarding.floatingip_id)
        if floating is None or not view.derive(ways_out.floating_chassis, floating.id):
            return None
        return Placement(Scope(presence.chassis_of_network, floating.router_id))

    return Rule(kind, compute, place, apart=True)


def floating(kind: type[FloatingIp], compute: Callable[[View, FloatingIp], Iterator[Item]]) -> Rule:
    """On every chassis where the external network of the floating IP is present, while it is translated anywhere."""

    def place(view: View, floating: FloatingIp) -> Placement | None:
        if not view.derive(ways_out.floating_chassis, floating.id):
            return None
        return Placement(Scope(presence.chassis_of_network, floating.floating_network_id))

    return Rule(kind, compute, place)


def each(kind: type[Network], compute: Callable[[View, Network, str], Iterator[Item]]) -> Rule:
    """On every chassis that has an attached port of the network, computed for each by itself."""
    return Rule(kind, compute, _network_homes, apart=True)


def under(kind: type[Policy], compute: Callable[[View, Policy], Iterator[Item]]) -> Rule:
    """On every chassis where a port is under the policy."""
    return Rule(kind, compute, lambda view, policy: Placement(Scope(presence.chassis_of_policy, policy.id)))


def guarding(kind: type[Bundle] | type[SecurityGroupRule], compute: Callable[[View, Any], Iterator[Item]]) -> Rule:
    """On every chassis where a port is in the record's security group."""
    return Rule(
        kind, compute, lambda view, record: Placement(Scope(presence.chassis_of_group, record.security_group_id))
    )


def remotes(relation: Relation[str, str], compute: Callable[[View, str, str], Iterator[Item]]) -> Rule:
    """On every chassis where a port is in the security group of the bundle that is the fact's key."""

    def place(view: View, bundle: str) -> Placement:
        return Placement(Scope(presence.chassis_of_group, view.need(Bundle, bundle).security_group_id))

    return Rule(relation, compute, place)


def on_wire(
    compute: Callable[[View, Neighbour], Iterator[Item]],
    chassis: Callable[[View, str], frozenset[str]] = presence.chassis_of_network,
) -> Rule:
    """On every chassis where the network is present of a physical host; or others that its network has."""

    def place(view: View, neighbour: Neighbour) -> Placement | None:
        if neighbour.port_id or not holding.stands(view, neighbour.id):
            return None
        return Placement(Scope(chassis, neighbour.network_id))

    return Rule(Neighbour, compute, place)


def reaching(relation: Relation[str, str], compute: Callable[[View, str, str], Iterator[Item]]) -> Rule:
    """On every chassis where the network that is the fact's key is present."""
    return Rule(relation, compute, lambda view, network: Placement(Scope(presence.chassis_of_network, network)))
