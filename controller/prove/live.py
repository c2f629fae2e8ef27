"""Which bits of a packet's registers somebody may still ask for, table by table.

What nobody asks for any more is forgotten on the way (liveness, as compilers know it: Kildall, "A unified approach to
global program optimization", 1973). It tells no packets apart, and ways that differ in it alone are one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from controller.flows.pipeline import CHECKED, ZONE
from controller.prove.rules import (
    Action,
    Apart,
    Copy,
    Goto,
    Group,
    Out,
    Resubmit,
    Rule,
    Span,
    Test,
    ToGroup,
    Track,
    Unknown,
    Untrack,
    Write,
)
from controller.prove.sets import WIDTHS, is_header

Live = Mapping[str, int]
"""By slot, the bits that are asked for. The packet itself always is, and stands in none."""
NOTHING: Final[Live] = {}
CONNTRACK: Final = (
    "ct_state", "ct_zone", "ct_mark", "ct_label", "ct_nw_src", "ct_nw_dst", "ct_ipv6_src", "ct_ipv6_dst", "ct_nw_proto",
    "ct_tp_src", "ct_tp_dst",
)  # fmt: skip
_FORGET: Final = Write(tuple(Test(slot, 0, -1) for slot in CONNTRACK))
_LEAVING: Final[Live] = {slot: (1 << WIDTHS[slot]) - 1 for slot in ("in_port", "tun_id", "tun_dst", "tun_ipv6_dst")}
_LOOKED_UP: Final[Live] = {CHECKED.wire: CHECKED.full, ZONE.wire: ZONE.full}
"""What the claim about zones asks of packets that go to conntrack."""


def both(one: Live, other: Live) -> Live:
    """What either asks for."""
    if one is other or not other:
        return one
    made = dict(one)
    for slot, mask in other.items():
        made[slot] = made.get(slot, 0) | mask
    return made


class Liveness:
    """What each table of some flows, and all that it leads to, asks for."""

    def __init__(self, rules: Iterable[Rule], groups: Iterable[Group]) -> None:
        self._groups: dict[int, list[Group]] = defaultdict(list)
        for each in groups:
            self._groups[each.id].append(each)
        self._tables: dict[int, Live] = {}
        shapes: dict[int, set[tuple[Action, ...]]] = defaultdict(set)
        tested: dict[int, dict[str, int]] = defaultdict(dict)
        for rule in rules:
            masks = tested[rule.table]
            for test in rule.tests:
                if not is_header(test.slot):
                    masks[test.slot] = masks.get(test.slot, 0) | test.mask
            shapes[rule.table].add(_shape(rule.actions))
        self._tables.update(tested)
        grown = True
        while grown:
            grown = False
            for table in sorted(shapes, reverse=True):
                old = made = self._tables.get(table, NOTHING)
                for actions in shapes[table]:
                    made = both(made, self.before(actions, table, NOTHING))
                if made != old:
                    self._tables[table] = made
                    grown = True

    def at(self, table: int) -> Live:
        """What is asked for of packets that come to a table, until they come back."""
        return self._tables.get(table, NOTHING)

    def before(self, actions: Sequence[Action], table: int, behind: Live) -> Live:
        """What is asked for of packets that actions are done with in a table, and of which `behind` is when they are
        done."""
        for action in reversed(actions):
            match action:
                case Goto(other):
                    behind = both(self.at(other), behind)
                case Resubmit(other):
                    behind = both(self.at(table if other is None else other), behind)
                case Write(tests):
                    behind = _without(behind, ((test.slot, test.mask) for test in tests))
                case Copy(spans):
                    asked = [source for source, target in spans if _is_asked(behind, target)]
                    behind = _without(behind, ((target.slot, _mask(target)) for _, target in spans))
                    behind = both(behind, _spans(asked))
                case Out() | Unknown():
                    behind = both(behind, _LEAVING)
                case ToGroup(id):
                    for group in self._groups.get(id, ()):
                        for bucket in group.buckets:
                            behind = both(behind, self.before(bucket, table, NOTHING))
                case Track(zone, onward, _, _, exec):
                    behind = self.before([_FORGET], table, behind)
                    tracked = self.before([_FORGET, *exec], table, self.at(onward) if onward is not None else NOTHING)
                    behind = both(both(behind, tracked), _LOOKED_UP)
                    behind = both(behind, _spans([zone]) if isinstance(zone, Span) else NOTHING)
                case Apart(inner):
                    behind = both(behind, self.before(inner, table, NOTHING))
                case Untrack():
                    behind = self.before([_FORGET], table, behind)
        return behind


def _shape(actions: tuple[Action, ...]) -> tuple[Action, ...]:
    """The same but for the numbers that are written, and ports."""
    return tuple(
        Write(tuple(test._replace(value=0) for test in each.tests))
        if isinstance(each, Write)
        else Out(None)
        if isinstance(each, Out)
        else each
        for each in actions
    )


def _mask(span: Span) -> int:
    return (1 << span.bits) - 1 << span.shift


def _is_asked(live: Live, span: Span) -> bool:
    return is_header(span.slot) or bool(live.get(span.slot, 0) & _mask(span))


def _spans(spans: Iterable[Span]) -> Live:
    made: dict[str, int] = {}
    for span in spans:
        if not is_header(span.slot):
            made[span.slot] = made.get(span.slot, 0) | _mask(span)
    return made


def _without(live: Live, written: Iterable[tuple[str, int]]) -> Live:
    made = dict(live)
    for slot, mask in written:
        if left := made.get(slot, 0) & ~mask:
            made[slot] = left
        else:
            made.pop(slot, None)
    return made
