"""Packets on their way through a switch: a set of them, and where each slot's bits are found.

What is written is first a constant of the `State`, and what is copied an alias of the other slot's bits: neither costs
anything. Only where ways meet, constants that differ become variables, and the sets one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from controller.prove.atoms import SORTS
from controller.prove.live import Live
from controller.prove.rules import Rule, Span, Test
from controller.prove.sets import (
    BLOCKS,
    ONE,
    UNKNOWN,
    WIDTHS,
    ZERO,
    Maybe,
    Refs,
    Set,
    Space,
    Value,
    digits,
    is_header,
    union,
    whole,
)

KEPT: Final = "origin"
"""The slot whose variables say for ever who sent a packet; so do blocks 0 of headers for what it was."""

HOST: Final = "host"
"""The slot that says on which hypervisor a packet is: all are followed at once."""
_OF_SENDERS: Final = ("eth_src", "arp_sha", "arp_tha", "nd_target")
"""What says no more of a sender than who it is."""
APART: Final = frozenset({"believed"})
"""The slots of which states that differ are never joined."""


_LASTING: Final = frozenset({KEPT, HOST, "acted", *APART})
"""The slots that are never forgotten on the way."""


class Step(NamedTuple):
    """A flow that packets met on a chassis."""

    chassis: str
    rule: Rule


OWN: Final = "own"
"""The kind of what can be joined in variables of the slot's own."""
_NOWHERE: Final = ("", 0)
"""No block of any slot."""
ACTED: Final = Test("acted", 1, 1)
"""What is written to packets of which something came."""


@dataclass(frozen=True, slots=True)
class State:
    """Packets that have come to one place; `trail` are the flows that they met, where ways are told apart."""

    values: Mapping[str, Value]
    packets: Set
    trail: tuple[Step, ...] = ()


def _asked(slot: str, value: Value, mask: int) -> Value:
    """A value, 0 in the bits that nobody asks for; of atoms in all or in none."""
    if mask == 0:
        return 0
    if slot in SORTS:
        return value
    if isinstance(value, int):
        return value & mask
    if isinstance(value, Maybe):
        return Maybe(value.value & mask, value.mask | (1 << WIDTHS[slot]) - 1 & ~mask)
    return whole(tuple([ref if mask >> at & 1 else ZERO for at, ref in enumerate(value)]))


def refs_of(value: Value) -> Refs:
    """The variables in a value."""
    return value if type(value) is tuple else ()


class Algebra:
    """What is done to states."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.homes = {
            ref: (slot, block) for slot in WIDTHS for block in range(BLOCKS) for ref in space.block(slot, block)
        }
        self._defaults: dict[str, Value] = {slot: space.block(slot) if is_header(slot) else 0 for slot in WIDTHS}
        self._defaults[KEPT] = space.block(KEPT)
        self.stand_ins: list[tuple[Set, Set]] = []
        """Parts of all that is sent, and what stands for one (`Cloud.stand_for`)."""
        self._found: dict[Refs, frozenset[tuple[str, int]]] = {}
        self._lies: dict[tuple[str, Refs], tuple[str, int]] = {}
        self._standing: dict[tuple[frozenset[int], Refs], Set] = {}
        self._senders = [ref for slot in (KEPT, *_OF_SENDERS) for ref in space.block(slot)]
        self._kept = {
            ref for ref, (slot, block) in self.homes.items() if slot == KEPT or (is_header(slot) and not block)
        }

    def blocks_of(self, refs: Refs) -> frozenset[tuple[str, int]]:
        """The slots, and blocks of them, whose variables are among some."""
        known = self._found.get(refs)
        if known is None:
            known = self._found[refs] = frozenset(self.homes[ref] for ref in refs if ref >= 0)
        return known

    def value(self, state: State, slot: str) -> Value:
        """What a slot holds."""
        return state.values.get(slot, self._defaults[slot])

    def tested(self, state: State, test: Test) -> tuple[Set, Set]:
        """The packets, of all there are, that may pass a test where this state has their bits; and that may not."""
        value = self.value(state, test.slot)
        if isinstance(value, int):
            passes = value & test.mask == test.value & test.mask
        elif isinstance(value, Maybe):
            common = value.mask & test.mask
            passes = (value.value ^ test.value) & common == 0
            if passes and common != test.mask:
                return self.space.everything, self.space.everything
        else:
            found = self.space.test(test.slot, value, test.value, test.mask)
            return found, ~found
        return (self.space.everything, self.space.nothing) if passes else (self.space.nothing, self.space.everything)

    def standing(self, state: State, hosts: frozenset[int] | None) -> Set:
        """The packets, of all there are, that are on some hypervisors (None: any) where this state says so."""
        if hosts is None:
            return self.space.everything
        value = self.value(state, HOST)
        if isinstance(value, int):
            return self.space.everything if value in hosts else self.space.nothing
        known = self._standing.get((hosts, refs_of(value)))
        if known is None:
            tests = [self.space.test(HOST, refs_of(value), host) for host in hosts]
            known = self._standing[hosts, refs_of(value)] = union(tests, self.space.nothing)
        return known

    def narrowed(self, state: State, *tests: Test) -> State:
        """Those that may pass."""
        packets = state.packets
        for test in tests:
            packets = packets & self.tested(state, test)[0]
        return State(state.values, packets, state.trail)

    def less(self, state: State, test: Test) -> State:
        """Those that may not."""
        return State(state.values, state.packets & self.tested(state, test)[1], state.trail)

    # ---- writing ----------------------------------------------------------------------------------------------

    def written(self, state: State, test: Test) -> State:
        """With a number in some bits of a slot."""
        slot, value, mask = test
        full = (1 << WIDTHS[slot]) - 1
        if mask & full == full:
            return self.put(state, slot, value & full)
        old = self.value(state, slot)
        if isinstance(old, int):
            return self.put(state, slot, old & ~mask | value & mask)
        if isinstance(old, Maybe):
            return self.put(state, slot, Maybe(old.value & ~mask | value & mask, old.mask | mask))
        if slot in SORTS:
            return self.put(state, slot, Maybe(value & mask, mask))
        made = [*old]
        for at in digits(mask & full):
            made[at] = ONE if value >> at & 1 else ZERO
        return self.put(state, slot, whole(tuple(made)))

    def copied(self, state: State, source: Span, target: Span) -> State:
        """With the bits of one slot in another."""
        given = self.value(state, source.slot)
        if isinstance(given, int):
            number = given >> source.shift & (1 << source.bits) - 1
            return self.written(
                state, Test(target.slot, number << target.shift, (1 << target.bits) - 1 << target.shift)
            )
        alike = SORTS.get(source.slot) == SORTS.get(target.slot) and WIDTHS[source.slot] == WIDTHS[target.slot]
        if alike and source.bits == WIDTHS[source.slot] and source.bits == target.bits:
            return self.put(state, target.slot, given)
        old = self.value(state, target.slot)
        if SORTS.get(source.slot) or SORTS.get(target.slot) or isinstance(given, Maybe) or isinstance(old, Maybe):
            return self.put(state, target.slot, self._unsure(old, target))
        made = [*(self.space.refs(target.slot, old) if isinstance(old, int) else old)]
        made[target.shift : target.shift + target.bits] = given[source.shift : source.shift + source.bits]
        return self.put(state, target.slot, whole(tuple(made)))

    @staticmethod
    def _unsure(old: Value, target: Span) -> Value:
        """What is known of a slot of which some bits are not any more."""
        lost = (1 << target.bits) - 1 << target.shift
        if isinstance(old, int):
            left = (1 << WIDTHS[target.slot]) - 1 & ~lost
            return Maybe(old & left, left)
        return Maybe(old.value & ~lost, old.mask & ~lost) if isinstance(old, Maybe) else UNKNOWN

    def put(self, state: State, slot: str, value: Value) -> State:
        """With another value in a slot."""
        old = self.value(state, slot)
        values = {**state.values, slot: value}
        return State(values, self._cleaned(state.packets, old, values), state.trail)

    def _cleaned(self, packets: Set, old: Value, values: Mapping[str, Value]) -> Set:
        """Without what nobody refers to any more."""
        return self._unheld(packets, [old], values)

    def _unheld(self, packets: Set, old: Iterable[Value], values: Mapping[str, Value]) -> Set:
        """Without what these values refer to alone, which are no more among others."""
        gone = {ref for value in old for ref in refs_of(value) if ref >= 0 and ref not in self._kept}
        if not gone:
            return packets
        blocks = {self.homes[ref] for ref in gone}
        for value in values.values():
            if type(value) is tuple and not blocks.isdisjoint(self.blocks_of(value)):
                gone.difference_update(value)
        return self.space.forget(packets, gone) if gone else packets

    def anything(self, state: State, slots: Sequence[str]) -> State:
        """With whatever in some slots."""
        values = {**state.values, **dict.fromkeys(slots, 0)}
        packets = self._unheld(state.packets, (self.value(state, slot) for slot in slots), values)
        for slot in slots:
            refs = values[slot] = self.space.block(slot, self._free(values, slot))
            packets = packets & self.space.real(slot, refs)
        return replace(state, values=values, packets=packets)

    def loosened(self, state: State, slot: str, mask: int) -> State:
        """With whatever in some bits of a slot that has no atoms."""
        old = self.value(state, slot)
        if isinstance(old, Maybe):
            return self.put(state, slot, Maybe(old.value & ~mask, old.mask & ~mask))
        state = self.written(state, Test(slot, 0, mask))
        value = self.value(state, slot)
        held = self.space.refs(slot, value) if isinstance(value, int) else refs_of(value)
        blocks = {self.homes[ref] for ref in held if ref >= 0}
        used = {ref for each in state.values.values() for ref in refs_of(each)}
        ((_, block),) = blocks if len(blocks) == 1 else ((slot, self._free(state.values, slot)),)
        fresh = self.space.block(slot, block)
        if any(fresh[at] in used for at in digits(mask)) or blocks - {(slot, block)}:
            fresh = self.space.block(slot, self._free(state.values, slot))
        made = [*held]
        for at in digits(mask):
            made[at] = fresh[at]
        return replace(state, values={**state.values, slot: tuple(made)})

    def told(self, state: State, slot: str, parts: Iterable[tuple[Set, int]]) -> State:
        """With a number in a slot for each part of the packets, which are told apart by what is known by now; others
        are gone."""
        old, parts = self.value(state, slot), [*parts]
        if len({number for _, number in parts}) == 1:
            packets = state.packets & union((part for part, _ in parts), self.space.nothing)
            return self.put(replace(state, packets=packets), slot, parts[0][1])
        refs = self.space.block(slot, self._free(state.values, slot))
        sets = [part & self.space.test(slot, refs, number) for part, number in parts]
        packets = state.packets & union(sets, self.space.nothing)
        values = {**state.values, slot: refs}
        return replace(state, values=values, packets=self._cleaned(packets, old, values))

    def one_of(self, state: State, slot: str, parts: Iterable[tuple[State, Iterable[int]]]) -> State:
        """With a slot of which the packets of each part have any of some numbers."""
        made = self.put(state, slot, 0)
        refs = self.space.block(slot, self._free(made.values, slot))
        found = []
        for part, numbers in parts:
            told = union((self.space.test(slot, refs, number) for number in numbers), self.space.nothing)
            found.append(self.put(part, slot, 0).packets & told)
        return replace(made, values={**made.values, slot: refs}, packets=union(found, self.space.nothing))

    def one_hop_less(self, state: State) -> State:
        """Of what has hops left."""
        old = self.value(state, "nw_ttl")
        if isinstance(old, int):
            return self.put(state, "nw_ttl", max(0, old - 1))
        if isinstance(old, Maybe):
            return self.put(state, "nw_ttl", UNKNOWN)
        new = self.space.block("nw_ttl", self._free(state.values, "nw_ttl"))
        state = replace(state, packets=state.packets & self.space.less_one(new, old))
        return self.put(state, "nw_ttl", new)

    def stripped(self, state: State, kept: Iterable[str]) -> State:
        """As it leaves a switch: without what is no part of the packet, but for where it is, and these slots."""
        stays = {
            slot: value
            for slot, value in state.values.items()
            if is_header(slot) or slot in (*kept, KEPT, HOST, *APART)
        }
        old = [value for slot, value in state.values.items() if slot not in stays]
        return replace(state, values=stays, packets=self._unheld(state.packets, old, stays))

    def without(self, state: State, live: Live) -> State:
        """Without what nobody asks for any more."""
        changed: dict[str, Value] = {}
        for slot, value in state.values.items():
            if slot in _LASTING or is_header(slot):
                continue
            made = _asked(slot, value, live.get(slot, 0))
            if made != value:
                changed[slot] = made
        if not changed:
            return state
        values = {slot: changed.get(slot, value) for slot, value in state.values.items() if changed.get(slot) != 0}
        packets = self._unheld(state.packets, [state.values[slot] for slot in changed], values)
        return replace(state, values=values, packets=packets)

    def forgotten(self, packets: Set) -> Set:
        """Packets without who sent them, of what only that says: MAC addresses of senders."""
        return self.space.forget(packets, self._senders)

    def as_now(self, packets: Set, slots: Iterable[str]) -> Set:
        """What was sent with what is now in some slots of packets for whose senders others stand (`stood`), where that
        was not written since."""
        moved = {
            now: then
            for slot in slots
            for now, then in zip(self.space.block(slot, 1), self.space.block(slot), strict=True)
        }
        return self.space.renamed(self.space.forget(packets, self.homes.keys() - moved.keys()), moved)

    def as_sent(self, state: State) -> Set:
        """The packets as somebody sent them: whatever became of them since."""
        gone = {ref for value in state.values.values() for ref in refs_of(value) if ref >= 0 and ref not in self._kept}
        return self.space.forget(state.packets, gone) if gone else state.packets

    def stood(self, state: State) -> list[State]:
        """Of each part of what was sent it is forgotten who sent what: others stand for it. What is in the packets now
        is found elsewhere then. What is in no part stays as it is."""
        values = {**{slot: value for slot, value in self._defaults.items() if is_header(slot)}, **state.values}
        asked = {ref for value in values.values() for ref in refs_of(value) if ref in self._kept}
        moved: dict[int, int] = {}
        for slot in {self.homes[ref][0] for ref in asked}:
            fresh = self.space.block(slot, self._free(values, slot))
            moved.update({ref: fresh[at] for at, ref in enumerate(self.space.block(slot)) if ref in asked})
        gone, left, found = self._kept - asked, state.packets, []
        for sent, stand_in in self.stand_ins:
            mine = left & sent
            if mine != self.space.nothing:
                left = left & ~sent
                found.append(self.space.renamed(self.space.forget(mine, gone), moved) & stand_in)
        if not found:
            return [state]
        others = {
            slot: tuple([moved.get(ref, ref) for ref in refs_of(value)]) if refs_of(value) else value
            for slot, value in values.items()
        }
        made = [State(others, union(found, self.space.nothing), state.trail)]
        return made if left == self.space.nothing else [*made, replace(state, packets=left)]

    def _free(self, values: Mapping[str, Value], slot: str) -> int:
        """A block of a slot's own that nobody refers to."""
        used = {at for each in values.values() if type(each) is tuple for at in self.blocks_of(each)}
        first = 1 if is_header(slot) else 0
        return next(block for block in range(first, BLOCKS) if (slot, block) not in used)

    def spare(self, state: State, slot: str) -> int:
        """A block of a slot's own that a state does not use."""
        return self._free(state.values, slot)

    def given(self, state: State, slot: str, mask: int, refs: Refs) -> State:
        """With the numbers that variables, which the packets know already, say in some bits of a slot."""
        full = (1 << WIDTHS[slot]) - 1
        if mask & full == full:
            return self.put(state, slot, refs)
        old = self.value(state, slot)
        made = [*(self.space.refs(slot, old) if isinstance(old, int) else refs_of(old))]
        for at in digits(mask & full):
            made[at] = refs[at]
        return self.put(state, slot, tuple(made))

    def settled(self, state: State, slot: str, fresh: Refs) -> State:
        """With what variables say in those that are free by now and in which merging keeps it (`_kind`)."""
        others: set[int] = set()
        for name, value in state.values.items():
            if name != slot:
                others.update(refs_of(value))
        value = self.value(state, slot)
        if not isinstance(value, tuple) or any(ref in others for ref in fresh):
            return state
        taken = {self.homes[ref][1] for ref in others if ref >= 0 and self.homes[ref][0] == slot}
        first = 1 if is_header(slot) else 0
        better = self.space.block(slot, next(block for block in range(first, BLOCKS) if block not in taken))
        moved = {ref: better[at] for at, ref in enumerate(value) if ref >= 0 and ref == fresh[at] != better[at]}
        if not moved:
            return state
        made = tuple([moved.get(ref, ref) for ref in value])
        return State({**state.values, slot: made}, self.space.renamed(state.packets, moved), state.trail)

    # ---- where packets come again -----------------------------------------------------------------------------

    def homed(self, state: State) -> State:
        """The same with each slot, if no other refers to its variables, in the first free ones of its own."""
        for slot, value in state.values.items():
            refs = refs_of(value)
            blocks = self.blocks_of(refs)
            if len(blocks) != 1 or any(ref in self._kept for ref in refs):
                continue
            others = {at for name, each in state.values.items() if name != slot for at in self.blocks_of(refs_of(each))}
            ((owner, block),) = blocks
            alike = owner == slot or (SORTS.get(owner, "") == SORTS.get(slot) and slot in SORTS)
            first = 1 if is_header(slot) else 0
            better = next(at for at in range(first, BLOCKS) if (slot, at) not in others)
            if not alike or (owner, block) in others or (owner, block) == (slot, better):
                continue
            own = self.space.block(slot, better)
            moved = {ref: own[at] for at, ref in enumerate(refs) if ref >= 0 and ref != own[at]}
            made = tuple([moved.get(ref, ref) for ref in refs])
            state = State({**state.values, slot: made}, self.space.renamed(state.packets, moved), state.trail)
        return state

    def spread(self, state: State, live: Live) -> State:
        """The same with variables for all numbers that are asked for, so that states of equal shape are comparable."""
        values, packets = dict(state.values), state.packets
        for slot in sorted({*live, *filter(is_header, values)} - _LASTING):
            value = values.get(slot, 0)
            if isinstance(value, Maybe):
                continue
            refs = self.space.refs(slot, value) if isinstance(value, int) else value
            asked = live.get(slot, -1)
            fixed = [at for at, ref in enumerate(refs) if ref < 0 and (slot in SORTS or asked >> at & 1)]
            if not fixed:
                continue
            blocks = self.blocks_of(refs)
            own = self.space.block(slot, self._free(values, slot) if not blocks else min(block for _, block in blocks))
            used = {ref for each in values.values() for ref in refs_of(each)} if blocks else set()
            if (blocks and {name for name, _ in blocks} != {slot}) or any(own[at] in used for at in fixed):
                continue
            told = self._fixed(own, refs, fixed)
            packets = packets if told is None else packets & told
            values[slot] = tuple([own[at] if at in fixed else ref for at, ref in enumerate(refs)])
        return State(values, packets, state.trail)

    def fresh(self, state: State, live: Live, place: object, been: dict[object, Set]) -> State:
        """Of packets that come to a place those that have not been there, which is remembered."""
        told = self.spread(state, live)
        key = (place, frozenset(told.values.items()))
        before = been.get(key, self.space.nothing)
        been[key] = before | told.packets
        return replace(told, packets=told.packets & ~before) if before & told.packets != self.space.nothing else state

    # ---- where ways meet --------------------------------------------------------------------------------------

    def merged(self, states: Sequence[State]) -> list[State]:
        """As few states as say the same."""
        alive = [state for state in states if state.packets != self.space.nothing]
        if len(alive) < 2:
            return alive
        same: dict[frozenset[tuple[str, Value]], list[State]] = {}
        for state in alive:
            same.setdefault(frozenset(state.values.items()), []).append(state)
        alive = [self._united(group) for group in same.values()]
        slots = sorted({slot for state in alive for slot in state.values})
        alike: dict[tuple[object, ...], list[State]] = defaultdict(list)
        for state in alive:
            alike[self._kinds(state, slots)].append(state)
        return [self._joined(slots, kinds, group) for kinds, group in alike.items()]

    def _united(self, group: Sequence[State]) -> State:
        """States of which the same is known, as one."""
        first = group[0]
        return (
            first
            if len(group) == 1
            else State(first.values, union((each.packets for each in group), self.space.nothing))
        )

    def _kinds(self, state: State, slots: Sequence[str]) -> tuple[object, ...]:
        """States can be joined if each slot's kinds are equal: `OWN` of a number, or of bits in a block of its own
        that no other slot uses, or the very bits."""
        used: dict[tuple[str, int], str] = {}
        values = state.values
        for slot, value in values.items():
            if type(value) is tuple:
                for each in self.blocks_of(value):
                    used[each] = slot if used.get(each, slot) == slot else ""
        kinds: list[object] = []
        for slot in slots:
            value = values.get(slot, self._defaults[slot])
            if slot in APART:
                kinds.append(("apart", value))
            elif isinstance(value, int):
                kinds.append(OWN)
            else:
                own = type(value) is tuple and used.get(self._lying(slot, value)) == slot
                kinds.append(OWN if own else value)
        return tuple(kinds)

    def _lying(self, slot: str, refs: Refs) -> tuple[str, int]:
        """The block of a slot's own in which some of its bits are, each in its place, and others are numbers; "" of a
        slot is none. What is as it was sent is not the slot's own."""
        known = self._lies.get((slot, refs))
        if known is None:
            known = _NOWHERE
            blocks = self.blocks_of(refs)
            ((owner, block),) = blocks if len(blocks) == 1 else (_NOWHERE,)
            if owner == slot and block >= is_header(slot):
                own = self.space.block(slot, block)
                if all(ref < 0 or ref == mine for ref, mine in zip(refs, own, strict=True)):
                    known = (slot, block)
            self._lies[slot, refs] = known
        return known

    def _joined(self, slots: Sequence[str], kinds: Sequence[object], group: Sequence[State]) -> State:
        if len(group) == 1:
            return group[0]
        values: dict[str, Value] = {}
        sets = [state.packets for state in group]
        others = {
            self.homes[ref]
            for slot, kind in zip(slots, kinds, strict=True)
            if kind is not OWN
            for ref in refs_of(self.value(group[0], slot))
            if ref >= 0
        }
        for slot in slots:
            held = [self.value(state, slot) for state in group]
            if all(each == held[0] for each in held):
                values[slot] = held[0]
                continue
            first = 1 if is_header(slot) else 0
            own = self.space.block(slot, next(at for at in range(first, BLOCKS) if (slot, at) not in others))
            for place, each in enumerate(held):
                moved = {ref: own[at] for at, ref in enumerate(refs_of(each)) if ref >= 0 and ref != own[at]}
                if moved:
                    sets[place] = self.space.renamed(sets[place], moved)
                    held[place] = tuple([moved.get(ref, ref) for ref in refs_of(each)])
            values[slot] = self._told(slot, own, held, sets)
        return State(values, union(sets, self.space.nothing))

    def _told(self, slot: str, own: Refs, held: Sequence[Value], sets: list[Set]) -> Value:
        """What a slot is in states that are one: where they differ its own variables, in which each of `sets` says
        what it was."""
        known: dict[Value, Refs] = {}
        for each in held:
            if each not in known:
                known[each] = self.space.refs(slot, each) if isinstance(each, int) else refs_of(each)
        first = known[held[0]]
        differ = [
            at for at in range(len(own)) if slot in SORTS or any(each[at] != first[at] for each in known.values())
        ]
        made = [*first]
        for at in differ:
            made[at] = own[at]
        fixed: dict[Value, Set | None] = {each: self._fixed(own, refs, differ) for each, refs in known.items()}
        for place, each in enumerate(held):
            if (told := fixed[each]) is not None:
                sets[place] = sets[place] & told
        return tuple(made)

    def _fixed(self, own: Refs, refs: Refs, differ: Sequence[int]) -> Set | None:
        """What it takes to say in variables of its own which constants a slot's bits were."""
        made = None
        for at in differ:
            if refs[at] < 0:
                literal = self.space.literal(own[at], refs[at] == ONE)
                made = literal if made is None else made & literal
        return made
