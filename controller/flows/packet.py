"""Packets as values: what a switch sees of one, by the names of ovs-fields(7), registers and metadata included."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from controller.flows import fields
from controller.flows.action import Move
from controller.flows.match import Field, Match, Set

_PARTS: Final[Mapping[str, tuple[str, ...]]] = {"xxreg3": ("reg12", "reg13", "reg14", "reg15")}
"""Registers that are others put together, the first the most significant (ovs-fields(7), Registers)."""

CONNTRACK: Final = frozenset({
    "ct_state", "ct_zone", "ct_mark", "ct_label", "ct_nw_src", "ct_nw_dst", "ct_ipv6_src", "ct_ipv6_dst", "ct_nw_proto",
    "ct_tp_src", "ct_tp_dst",
})  # fmt: skip
"""What a packet has behind conntrack only."""

TUNNEL: Final = frozenset({"tun_id", "tun_src", "tun_dst", "tun_ipv6_src", "tun_ipv6_dst"})
_LOCAL: Final = CONNTRACK | TUNNEL | {"in_port", "conj_id"} | {f"reg{number}" for number in range(16)}

_FIELDS: Final[Mapping[str, Field[Any]]] = {
    field.wire: field
    for field in sorted(
        (each for each in vars(fields).values() if isinstance(each, Field)), key=lambda each: each.order, reverse=True
    )
}
"""The fields that have a form of their own to be written in; of one name the first that was declared."""


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet and its metadata: `values` by the names of whole fields; what is not there is 0.

    `length` is that of the frame, in bytes. `str()` is what `ovs-appctl ofproto/trace` reads.
    """

    values: Mapping[str, int]
    length: int = 0

    def __str__(self) -> str:
        return ",".join(f"{wire}={_text(wire, self.values[wire])}" for wire in sorted(self.values, key=_order))

    def __getitem__(self, field: Field[Any]) -> int:
        return self.whole(field.wire) >> field.shift & field.full

    def whole(self, wire: str) -> int:
        """The value of a whole field."""
        value = 0
        for part in _PARTS.get(wire, (wire,)):
            value = value << 32 | self.values.get(part, 0)
        return value

    def put(self, field: Field[Any], value: int) -> Packet:
        """The same packet with another value in one field, or in some bits of it."""
        kept = self.whole(field.wire) & ~(field.full << field.shift)
        return self.put_whole(field.wire, kept | value << field.shift)

    def put_whole(self, wire: str, value: int) -> Packet:
        """The same packet with another value in a whole field."""
        changed = dict(self.values)
        parts = _PARTS.get(wire)
        for at, part in enumerate(reversed(parts or ())):
            changed[part] = value >> 32 * at & 0xFFFFFFFF
        if parts is None:
            changed[wire] = value
        return Packet({name: number for name, number in changed.items() if number}, self.length)

    def without(self, wires: frozenset[str]) -> Packet:
        """The same packet with 0 in some fields."""
        return Packet({wire: value for wire, value in self.values.items() if wire not in wires}, self.length)

    def written(self, writes: Iterable[Set | Move]) -> Packet:
        """The packet once the actions are done."""
        made = self
        for write in writes:
            made = (
                made.put(write.field, write.value)
                if isinstance(write, Set)
                else made.put(write.target, made[write.source])
            )
        return made

    @property
    def bare(self) -> Packet:
        """What leaves a switch: no registers, no metadata."""
        return self.without(_LOCAL)


def _order(wire: str) -> tuple[bool, int, str]:
    """What others hang on comes first (ovs-fields(7), Prerequisites), registers last."""
    return (wire not in _FIELDS, _FIELDS[wire].order if wire in _FIELDS else 0, wire)


def _text(wire: str, value: int) -> str:
    field = _FIELDS.get(wire)
    if wire == "ct_state":
        return fields.ct_state_text(value, value).strip("+").replace("+", "|")
    if field is None:
        return f"{value:#x}"
    return field.words(value, 3) if field.words else field.show(value)


def packet(*matches: Match) -> Packet:
    """The packet that has the values which the matches ask for, and 0 in all else."""
    made = Packet({})
    for match in matches:
        for test in match.tests:
            made = made.put(test.field, test.value)
    return made
