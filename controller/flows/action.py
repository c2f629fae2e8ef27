"""What becomes of a packet: actions, and the tables and kinds of groups, which declare what may be done where.

`str()` of an action is what ovs-ofctl(8) reads. A table declares what may be matched, set and jumped to, a kind of
groups what its buckets may do; whether an action keeps to that is checked when a flow or a group is built (`flow`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from controller.errors import Undeclared
from controller.flows.match import Field, Set, span
from controller.model.records import Address


@dataclass(frozen=True, slots=True)
class Move:
    """Copy one field into another of the same width."""

    source: Field[Any]
    target: Field[Any]

    def __str__(self) -> str:
        return f"move:{span(self.source)}->{span(self.target)}"


@dataclass(frozen=True, slots=True)
class Output:
    """Send the packet out of an OpenFlow port."""

    port: int

    def __str__(self) -> str:
        return f"output:{self.port}"


@dataclass(frozen=True, slots=True)
class Bounce:
    """Send the packet back out of the port it came in by (OFPP_IN_PORT)."""

    def __str__(self) -> str:
        return "in_port"


@dataclass(frozen=True, slots=True)
class ToGroup:
    """Hand the packet to a group."""

    id: int
    kind: GroupKind

    def __str__(self) -> str:
        return f"group:{self.id}"


@dataclass(frozen=True, slots=True)
class Resubmit:
    """Look the packet up in another table, then go on here."""

    table: Table

    def __str__(self) -> str:
        return f"resubmit(,{self.table.number})"


@dataclass(frozen=True, slots=True)
class Track:
    """Look the packet's connection up in the zone that `zone` holds, and go on in `table` with what is known of it.

    The actions behind this one go on without (ovs-actions(7), ct).
    """

    zone: Field[int]
    table: Table

    def __str__(self) -> str:
        return f"ct(table={self.table.number},zone={span(self.zone)})"


@dataclass(frozen=True, slots=True)
class Commit:
    """Remember the packet's connection in the zone that `zone` holds, with `writes` to its mark and label, and go on in
    `table` with what is known of it.

    `force`: what is known of it in the other direction is forgotten first (ovs-actions(7), ct).

    Never without a table: in user space Open vSwitch before 3.2.6, 3.3.5, 3.4.3 and 3.5.1 adds fragments of others to
    what it remembers (lib/ipf.c, ipf_postprocess_conntrack), and what stood behind `ct` would be done with them, too.
    """

    zone: Field[int]
    writes: tuple[Set | Move, ...]
    table: Table
    force: bool = False

    def __str__(self) -> str:
        force, exec = ",force" * self.force, f",exec({actions_text(self.writes)})" if self.writes else ""
        return f"ct(commit{force},table={self.table.number},zone={span(self.zone)}{exec})"


@dataclass(frozen=True, slots=True)
class Apart:
    """Do this with a copy: what becomes of that is nothing to the packet (ovs-actions(7), clone).

    The datapath makes a copy only if there is something to do after this.
    """

    actions: tuple[Action, ...]

    def __str__(self) -> str:
        return f"clone({actions_text(self.actions)})"


@dataclass(frozen=True, slots=True)
class Translate:
    """Look the packet's connection up in the zone that `zone` holds, translate it, and go on in `table`.

    A connection that is known is translated as it was begun, both ways, and so are the ICMP errors about it. One that
    is new begins here, with another `source` or `destination`, and one of `ports` in the place of its own; with
    neither address it does not begin. It may not begin as what it was before: Open vSwitch 3.1 would abort.
    """

    zone: Field[int]
    table: Table
    source: Address | None = None
    destination: Address | None = None
    ports: tuple[int, int] | None = None
    writes: tuple[Set | Move, ...] = ()

    @property
    def begins(self) -> bool:
        """May a connection begin here?"""
        return self.source is not None or self.destination is not None

    def __str__(self) -> str:
        ports = "" if self.ports is None else ":" + "-".join(map(str, dict.fromkeys(self.ports)))
        nat = f"nat(src={self.source}{ports})" if self.source else f"nat(dst={self.destination}{ports})"
        place = f"table={self.table.number},zone={span(self.zone)}"
        kept = f",exec({actions_text(self.writes)})" if self.writes else ""
        return f"ct(commit,{place},{nat}{kept})" if self.begins else f"ct({place},nat)"


@dataclass(frozen=True, slots=True)
class Untrack:
    """Forget what conntrack said of the packet."""

    def __str__(self) -> str:
        return "ct_clear"


@dataclass(frozen=True, slots=True)
class DecrementTtl:
    """One hop: TTL or hop limit less by one (ovs-actions(7), dec_ttl)."""

    def __str__(self) -> str:
        return "dec_ttl"


@dataclass(frozen=True, slots=True)
class Measure:
    """Write into one bit whether the frame is longer than this: `check_pkt_larger` (ovs-actions(7)).

    Open vSwitch translates what follows twice, and counts every packet for the flows of both ways.
    """

    bytes: int
    target: Field[int]

    def __str__(self) -> str:
        return f"check_pkt_larger({self.bytes})->{span(self.target)}"


@dataclass(frozen=True, slots=True)
class Turn:
    """Let the packet go out by the port it came in by, which else no output does (ovs-fields(7), in_port)."""

    def __str__(self) -> str:
        return "load:0->NXM_OF_IN_PORT[]"


@dataclass(frozen=True, slots=True)
class Punt:
    """Hand at least the first `max_bytes` of the packet to the controller, with its registers."""

    max_bytes: int

    def __str__(self) -> str:
        return f"CONTROLLER:{self.max_bytes}"


@dataclass(frozen=True, slots=True)
class PushVlan:
    """Put a VLAN tag on the frame, of which the VLAN is yet to be written (IEEE 802.1Q)."""

    def __str__(self) -> str:
        return "push_vlan:0x8100"


@dataclass(frozen=True, slots=True)
class PopVlan:
    """Take the frame's outermost VLAN tag off."""

    def __str__(self) -> str:
        return "pop_vlan"


@dataclass(frozen=True, slots=True)
class Conjunction:
    """This flow is dimension `k` of `n` of a conjunctive match (ovs-fields(7), Conjunctive Match Fields)."""

    id: int
    k: int
    n: int

    def __post_init__(self) -> None:
        if not 1 <= self.k <= self.n or not 2 <= self.n <= 64:
            raise Undeclared("A conjunction", "dimension", f"{self.k}/{self.n}")

    def __str__(self) -> str:
        return f"conjunction({self.id},{self.k}/{self.n})"


@dataclass(frozen=True, slots=True)
class Goto:
    """End here and go on in a later table."""

    table: Table

    def __str__(self) -> str:
        return f"goto_table:{self.table.number}"


Action = (
    Set
    | Move
    | Output
    | Bounce
    | ToGroup
    | Resubmit
    | Track
    | Commit
    | Apart
    | Translate
    | Untrack
    | DecrementTtl
    | Measure
    | Turn
    | Punt
    | PushVlan
    | PopVlan
    | Conjunction
    | Goto
)


@cache
def goto(table: Table) -> Goto:
    """Go on in a later table; always the last action."""
    return Goto(table)


@cache
def resubmit(table: Table) -> Resubmit:
    """Look up in `table` and come back."""
    return Resubmit(table)


@dataclass(frozen=True, slots=True, eq=False)
class GroupKind:
    """A family of groups: ids from `base`, and what their buckets may set, resubmit to and hand on to.

    A group gives every bucket a copy (OFPGT_ALL); one that `chooses` gives a packet to one bucket, and all packets of a
    connection, in one direction, to the same (OFPGT_SELECT); one that `fails_over`, to the first whose port is alive
    (OFPGT_FF).
    """

    name: str
    base: int
    purpose: str
    sets: frozenset[Field[Any]] = frozenset()
    nexts: frozenset[str] = frozenset()
    groups: frozenset[GroupKind] = frozenset()
    chooses: bool = False
    fails_over: bool = False

    def id(self, number: int) -> int:
        """The group id for a tag."""
        return self.base | number

    def __repr__(self) -> str:
        return self.name.upper()


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A table: its place in the pipeline and everything its flows may do.

    `priorities` names each reason to have a flow here, with its OpenFlow priority. `tracks` are the tables in which a
    packet goes on that was looked up in conntrack here, `commits` what its connection may be remembered with; only
    where one `translates` it may have other addresses behind that.
    """

    number: int
    name: str
    purpose: str
    priorities: Mapping[str, int]
    matches: frozenset[Field[Any]] = frozenset()
    sets: frozenset[Field[Any]] = frozenset()
    nexts: frozenset[str] = frozenset()
    groups: frozenset[GroupKind] = frozenset()
    tracks: frozenset[str] = frozenset()
    commits: frozenset[Field[Any]] = frozenset()
    translates: bool = False
    outputs: bool = False

    def __repr__(self) -> str:
        return self.name.upper()


def actions_text(actions: Sequence[Action]) -> str:
    """Actions as ovs-ofctl(8) reads them."""
    return ",".join(map(str, actions)) or "drop"
