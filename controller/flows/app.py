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
    each(Network, fn)    the same, computed for each chassis by itself
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from controller.flows import presence
from controller.flows.flow import Item
from controller.flows.pipeline import APPS
from controller.model.records import Chassis, Network, Port, Record
from controller.model.view import View


@dataclass(frozen=True, slots=True)
class Scope:
    """A set of chassis: `of(view, key)`, derived."""

    of: Callable[[View, str], frozenset[str]]
    key: str


@dataclass(frozen=True, slots=True)
class Placement:
    """Every chassis of `scope` but `without`."""

    scope: Scope
    without: str | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """Which flows each record of `kind` wants, and where; `kind` None: one cell for the whole cloud.

    `apart` rules are computed for each chassis of their placement by itself.
    """

    kind: type[Record] | None
    compute: Callable[..., Iterator[Item]]
    place: Callable[[View, Any], Placement | None]
    apart: bool = False

    @property
    def name(self) -> str:
        """The name of the function that computes."""
        return self.compute.__name__


@dataclass(frozen=True, slots=True)
class App:
    """A feature of the network: a name, the second byte of its cookies, and its rules."""

    name: str
    number: int
    rules: tuple[Rule, ...]


def app(name: str, *rules: Rule) -> App:
    """An app by the number that `pipeline.APPS` gives it."""
    return App(name, APPS[name], rules)


def everywhere(compute: Callable[[View], Iterator[Item]]) -> Rule:
    """On every chassis."""
    return Rule(None, compute, lambda view, _: Placement(Scope(presence.everyone, "")))


def itself(kind: type[Chassis], compute: Callable[[View, Chassis], Iterator[Item]]) -> Rule:
    """On the chassis that the record is."""
    return Rule(kind, compute, lambda view, chassis: Placement(Scope(presence.only, chassis.id)))


def others(kind: type[Chassis], compute: Callable[[View, Chassis], Iterator[Item]]) -> Rule:
    """On every chassis but the one that the record is."""
    return Rule(kind, compute, lambda view, chassis: Placement(Scope(presence.everyone, ""), without=chassis.id))


def host(kind: type[Port], compute: Callable[[View, Port], Iterator[Item]]) -> Rule:
    """On the chassis the port is plugged into."""

    def place(view: View, port: Port) -> Placement | None:
        placed = presence.plugged(view, port.id)
        return Placement(Scope(presence.only, placed.chassis)) if placed else None

    return Rule(kind, compute, place)


def peers(kind: type[Port], compute: Callable[[View, Port], Iterator[Item]]) -> Rule:
    """On every chassis but the port's own where its network is present, while the port is attached."""

    def place(view: View, port: Port) -> Placement | None:
        placed = presence.attached(view, port.id)
        if placed is None:
            return None
        return Placement(Scope(presence.chassis_of_network, port.network_id), without=placed.chassis)

    return Rule(kind, compute, place)


def neighbours(kind: type[Port], compute: Callable[[View, Port], Iterator[Item]]) -> Rule:
    """On every chassis where the port's network is present, while the port is attached."""

    def place(view: View, port: Port) -> Placement | None:
        placed = presence.attached(view, port.id)
        return Placement(Scope(presence.chassis_of_network, port.network_id)) if placed else None

    return Rule(kind, compute, place)


def _network_present(view: View, network: Network) -> Placement:
    return Placement(Scope(presence.chassis_of_network, network.id))


def present(kind: type[Network], compute: Callable[[View, Network], Iterator[Item]]) -> Rule:
    """On every chassis where the network is present."""
    return Rule(kind, compute, _network_present)


def each(kind: type[Network], compute: Callable[[View, Network, str], Iterator[Item]]) -> Rule:
    """On every chassis where the network is present, computed for each by itself."""
    return Rule(kind, compute, _network_present, apart=True)
