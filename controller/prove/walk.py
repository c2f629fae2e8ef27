"""What switches do with sets of packets: all their flows, whoever made them, run as Open vSwitch runs them.

It differs from `controller.flows.trace`, which runs one packet through flows of ours, in that it takes every way that
is possible: every bucket of a group that chooses or fails over, every flow of those that match alike. Of conntrack it
takes two answers, and keeps them apart (`BELIEVED`): that each packet begins a connection, and that conntrack may say
and remember anything, and translate to anything. Of sizes likewise: all packets fit, or any may be too large.

What an unknown action does nobody can tell: it is taken to send the packet out of every port.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from controller.prove.conntrack import BELIEVED, TRANSLATED, tracked
from controller.prove.live import CONNTRACK, NOTHING, Live, both
from controller.prove.rules import (
    Action,
    Apart,
    Conjunction,
    Copy,
    DecrementTtl,
    Goto,
    Group,
    Measure,
    Out,
    Punt,
    Resubmit,
    Test,
    ToGroup,
    Track,
    Unknown,
    Untrack,
    Write,
)
from controller.prove.sets import Maybe, Set
from controller.prove.states import ACTED, HOST, Algebra, State, Step
from controller.prove.tables import DROPPED, Hosts, Tables

MAX_DEPTH: Final = 64
"""How deep lookups in the same or an earlier table may be nested (Open vSwitch, ofproto-dpif-xlate.c)."""
MAX_VISITS: Final = 4096
"""How many tables one translation may go through (the same); here of all packets together, so that it is never less."""
MAX_RECIRCULATIONS: Final = 6
"""How many translations may follow one another (Open vSwitch, dpif-netdev.c)."""

_IPS: Final = (0x0800, 0x86DD)


@dataclass(frozen=True)
class Machine:
    """All switches to walk through, by number: their names, flows, ports by number, and what is peculiar to their
    conntrack.

    They are walked through at once: on which one packets are, a slot of theirs says (`HOST`).
    """

    names: Sequence[str]
    tables: Tables
    ports: Sequence[Mapping[int, str]]
    sides: Mapping[int, frozenset[int]]
    """The ports to tunnels and wires, and where they are."""
    sctp_ports: frozenset[int]
    """The switches whose conntrack reads ports of SCTP."""

    @cached_property
    def numbers(self) -> Mapping[int, frozenset[int]]:
        """By port, the switches that have it."""
        found: dict[int, set[int]] = {}
        for number, ports in enumerate(self.ports):
            for port in ports:
                found.setdefault(port, set()).add(number)
        return {port: frozenset(hosts) for port, hosts in found.items()}

    def called(self, name: str) -> Mapping[int, frozenset[int]]:
        """The ports of a name, and where they are."""
        found: dict[int, set[int]] = {}
        for number, ports in enumerate(self.ports):
            for port, each in ports.items():
                if each == name:
                    found.setdefault(port, set()).add(number)
        return {port: frozenset(hosts) for port, hosts in found.items()}


@dataclass(slots=True)
class Outcome:
    """What became of the packets that came: what left, by port; what met no flow, by table.

    `tracked` are the packets that went to conntrack. `notes` are what nobody could tell.
    """

    sent: dict[int, list[State]] = field(default_factory=dict)
    lost: dict[int, list[State]] = field(default_factory=dict)
    looped: list[State] = field(default_factory=list)
    tracked: list[State] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)


class Walk:
    """Packets under way in switches, until they leave them."""

    def __init__(self, algebra: Algebra, machine: Machine, *, apart: bool = False, first: bool = False) -> None:
        """`apart` keeps ways apart where they meet, and remembers each: for few packets. `first` is about first packets
        of connections alone."""
        self.algebra, self.machine, self._first = algebra, machine, first
        self.outcome = Outcome()
        self._apart = apart
        self._behind: dict[int, list[State]] = {}
        self._copied: dict[int, list[State]] = {}
        self._been: dict[object, Set] = {}
        self._visits = self._depth = 0
        self._asked: Live = NOTHING
        """What is asked for of packets when they come back from where they are."""

    def run(self, states: Iterable[State], table: int = 0, been: dict[object, Set] | None = None) -> Outcome:
        """All that becomes of them, conntrack included; of what was translated only where it has not `been` before."""
        self._behind = {table: list(states)}
        self._been = {} if been is None else been
        been = {}
        for turn in range(2 * MAX_RECIRCULATIONS + 1):
            behind, self._behind = self._behind, {}
            for place in sorted(behind):
                self._translate(place, behind[place])
            self._behind = {place: self._anew(place, come, been, turn) for place, come in self._behind.items()}
            if not any(self._behind.values()):
                break
        for states in self._behind.values():
            self.outcome.looped += states
        return self.outcome

    def _anew(self, table: int, states: Iterable[State], been: dict[object, Set], turn: int) -> list[State]:
        """Those that go on. Open vSwitch gives up what comes back from conntrack too often; but nothing goes round for
        ever because conntrack might say, each time, what sends it round once more: of such, what has not been here."""
        found = []
        algebra, live = self.algebra, self.machine.tables.live.at(table)
        come = self._met(table, states)
        for state in come if self._apart else algebra.merged([algebra.homed(each) for each in come]):
            if self._doubtful(state):  # of what was translated `_frame` sees to that, but where ways are kept apart
                if self._apart or algebra.value(state, BELIEVED) != TRANSLATED:
                    state = algebra.fresh(state, live, table, been)
            elif turn >= MAX_RECIRCULATIONS:
                self.outcome.looped.append(state)
                continue
            if state.packets != algebra.space.nothing:
                found.append(state)
        return found

    def _doubtful(self, state: State) -> bool:
        """Might conntrack have said another thing of these, or remember another?"""
        kept = (self.algebra.value(state, slot) for slot in ("ct_mark", "ct_label"))
        return self.algebra.value(state, BELIEVED) != 0 or any(isinstance(each, Maybe) for each in kept)

    def _translate(self, table: int, states: Iterable[State]) -> None:
        self._visits, self._copied = 0, {table: list(states)}
        for _ in range(MAX_DEPTH):
            copied, self._copied = self._copied, {}
            for place, found in sorted(copied.items()):
                fresh = [self.algebra.written(state, Test("acted", 0, 1)) for state in found]
                for last, state in self._frame(place, fresh, back=False):
                    self._lose(last, state)
        for found in self._copied.values():
            self.outcome.looped += found

    def _lose(self, table: int, state: State) -> None:
        """Of what has come to its end, that of which nothing has come is lost."""
        lost = self.algebra.less(state, ACTED)
        if lost.packets != self.algebra.space.nothing:
            self.outcome.lost.setdefault(table, []).append(lost)

    def _frame(self, table: int, states: Sequence[State], *, back: bool = True) -> list[tuple[int, State]]:
        """A table and those that it goes to; every packet comes back, with the last table where it was. Where nothing
        is asked for when it is `back`, what was translated does not go on where the same has been."""
        pending: dict[int, list[State]] = {table: [*states]}
        done: list[tuple[int, State]] = []
        while pending:
            place = min(pending)
            come = pending.pop(place)
            for state in self._met(place, come):
                if not (back or self._apart) and self.algebra.value(state, BELIEVED) == TRANSLATED:
                    state = self.algebra.fresh(state, self.machine.tables.live.at(place), place, self._been)
                    if state.packets == self.algebra.space.nothing:
                        continue
                for following, after in self._visit(place, state):
                    if following is None:
                        done.append((place, after))
                    else:
                        pending.setdefault(following, []).append(after)
        return done

    def _met(self, table: int, states: Iterable[State]) -> Iterable[State]:
        """Packets that come to a table by several ways, as few states as may be."""
        tables = self.machine.tables
        if self._apart or table in tables.drops:
            return states
        live = both(tables.live.at(table), self._asked)
        return self.algebra.merged([self.algebra.without(each, live) for each in states])

    def _visit(self, table: int, state: State) -> Iterator[tuple[int | None, State]]:
        """What the flows of a table do with packets: on to a table, or to the end."""
        self._visits += 1
        if self._visits > MAX_VISITS or self._depth >= MAX_DEPTH:
            self.outcome.looped.append(state)
            return
        algebra, tables = self.algebra, self.machine.tables
        if self._apart:
            hits, left = tables.met(algebra, table, state)
            for rule, packets in hits:
                trail = (*state.trail, *(Step(name, rule) for name, _ in self.places(state)))
                yield from self._act(rule.actions, State(state.values, packets, trail), table)
        else:
            if table in tables.drops and tables.left(algebra, table, state) == algebra.space.nothing:
                yield None, algebra.written(state, ACTED)
                return
            moved, left = tables.moved(algebra, table, state)
            together: dict[tuple[Action, ...], list[State]] = {}
            for rest, met in moved:
                together.setdefault(rest, []).append(met)
            for actions, states in together.items():
                goes_on = not actions or isinstance(actions[0], Goto)
                yield from self._ended(actions, states if goes_on else algebra.merged(states), table)
        if left != algebra.space.nothing:
            yield None, replace(state, packets=left)

    def _act(self, actions: Sequence[Action], state: State, table: int) -> Iterator[tuple[int | None, State]]:
        """What actions do with packets: on to a table, or to the end."""
        return self._ended(actions or (DROPPED,), [state], table)

    def _ended(
        self, actions: Sequence[Action], states: Sequence[State], table: int
    ) -> Iterator[tuple[int | None, State]]:  # fmt: skip
        for at, action in enumerate(actions, start=1):
            if isinstance(action, Goto):
                yield from ((action.table, each) for each in states)
                return
            if isinstance(action, Resubmit):
                states = self._resubmit(action, states, table, actions[at:])
            else:
                states = [after for each in states for after in self._do(action, each, table)]
        yield from ((None, each) for each in states)

    def _do(self, action: Action, state: State, table: int) -> list[State]:
        """The packets behind an action."""
        algebra = self.algebra
        match action:
            case Write(tests):
                for test in tests:
                    state = algebra.written(state, test)
            case Copy(spans):
                for source, target in spans:
                    state = algebra.copied(state, source, target)
            case Out(port, back):
                return [self._send(port, back, state)]
            case Punt():
                return [algebra.written(state, ACTED)]
            case ToGroup(id):
                return [self._copies(id, state, table)]
            case Resubmit():
                raise AssertionError(f"{action} is done with all states together")
            case Track():
                return [self._track(action, state, table)]
            case Apart(inner):
                ends = [after for _, after in self._act(inner, state, table)]
                acted = any(after.values.get("acted") for after in ends)
                return [algebra.written(state, ACTED) if acted else state]
            case Untrack():
                for slot in CONNTRACK:
                    state = algebra.put(state, slot, 0)
            case DecrementTtl():
                return self._hop(state)
            case Measure(target):
                fits, bit = algebra.written(state, Test(target.slot, 0, 1 << target.shift)), 1 << target.shift
                return [fits, algebra.put(algebra.written(state, Test(target.slot, bit, bit)), BELIEVED, 1)]
            case Conjunction():
                pass
            case Goto():
                pass
            case Unknown(text):
                self._note(state, f"action {text} is not known here: taken to send packets out of every port")
                return [self._send(None, False, state)]
        return [state]

    # ---- out ------------------------------------------------------------------------------------------------------

    def _send(self, port: int | str | None, back: bool, state: State) -> State:
        """A port sends nothing back to where it came from, unless it is told to."""
        if back:
            self._return(state)
        elif isinstance(port, int):
            self._leave({port: None}, state)
        elif port is None:
            self._leave(self.machine.numbers, state)
        else:
            there = self.machine.called(port)
            lacking = frozenset(range(len(self.machine.names))).difference(*there.values())
            self._note(self._on(state, lacking), f"port {port} is not there: nothing leaves by it")
            self._leave(there, state)
        return self.algebra.written(state, ACTED)

    def _on(self, state: State, hosts: Hosts) -> State:
        """What of a state is on some switches."""
        return State(state.values, state.packets & self.algebra.standing(state, hosts), state.trail)

    def places(self, state: State) -> Iterator[tuple[str, State]]:
        """A state by the names of the switches that it is on."""
        for number, name in enumerate(self.machine.names):
            here = self._on(state, frozenset([number]))
            if here.packets != self.algebra.space.nothing:
                yield name, self.algebra.put(here, HOST, number)

    def _note(self, state: State, text: str) -> None:
        self.outcome.notes.update({f"{name}: {text}": None for name, _ in self.places(state)})

    def _return(self, state: State) -> None:
        """Back to where it came from: of guests, that is nowhere else."""
        for port, hosts in self.machine.sides.items():
            came = Test("in_port", port, 0xFFFFFFFF)
            there = self.algebra.narrowed(self._on(state, hosts), came)
            if there.packets != self.algebra.space.nothing:
                self.outcome.sent.setdefault(port, []).append(there)

    def _leave(self, ports: Mapping[int, Hosts], state: State) -> None:
        for port, hosts in ports.items():
            left = self.algebra.less(self._on(state, hosts), Test("in_port", port, 0xFFFFFFFF))
            if left.packets != self.algebra.space.nothing:
                self.outcome.sent.setdefault(port, []).append(left)

    def _copies(self, id: int, state: State, table: int) -> State:
        """A copy a bucket, whether each has one or any may have the packet. Copies that go to a table wait until the
        packet is done with, and go there together."""
        lacking = state
        for group, hosts in self.machine.tables.groups.get(id, ()):
            lacking = replace(lacking, packets=lacking.packets & ~self.algebra.standing(state, hosts))
            here = self._on(state, hosts)
            if here.packets != self.algebra.space.nothing:
                self._bucketed(group, here, table)
        if lacking.packets != self.algebra.space.nothing:
            self._note(lacking, f"group {id} is not there: what is for it is lost")
            self.outcome.lost.setdefault(table, []).append(lacking)
        return self.algebra.written(state, ACTED)

    def _bucketed(self, group: Group, state: State, table: int) -> None:
        for bucket in group.buckets:
            copy = self.algebra.written(state, Test("acted", 0, 1))
            last = bucket[-1] if bucket else None
            if isinstance(last, Resubmit) and last.table is not None:
                for _, after in self._ended(bucket[:-1], [copy], table):
                    self._copied.setdefault(last.table, []).append(after)
            else:
                for _, after in self._act(bucket, copy, table):
                    self._lose(table, after)

    def _resubmit(
        self, action: Resubmit, states: Sequence[State], table: int, rest: Sequence[Action]
    ) -> Sequence[State]:
        """Through another table, and back for the rest of the actions."""
        other = table if action.table is None else action.table
        deeper, asked = other <= table, self._asked
        self._asked = behind = self.machine.tables.live.before(rest, table, asked)
        self._depth += deeper
        back = [after for _, after in self._frame(other, states)]
        self._depth -= deeper
        self._asked = asked
        return back if self._apart else self.algebra.merged([self.algebra.without(each, behind) for each in back])

    def _hop(self, state: State) -> list[State]:
        """What has no hop left stays where it is, and goes no further."""
        made = [
            self.algebra.less(state, Test("eth_type", _IPS[0], 0xFFFF)),
            *(self.algebra.narrowed(state, Test("eth_type", each, 0xFFFF)) for each in _IPS),
        ]
        others = self.algebra.less(made[0], Test("eth_type", _IPS[1], 0xFFFF))
        found = [] if others.packets == self.algebra.space.nothing else [others]
        for each in made[1:]:
            alive = self.algebra.less(each, Test("nw_ttl", 0, 0xFE))
            if alive.packets != self.algebra.space.nothing:
                found.append(self.algebra.one_hop_less(alive))
        return found

    # ---- conntrack ------------------------------------------------------------------------------------------------

    def _track(self, action: Track, state: State, table: int) -> State:
        self.outcome.tracked.append(state)
        if action.table is not None:
            behind = self._behind.setdefault(action.table, [])
            sctp_ports = self.algebra.standing(state, self.machine.sctp_ports)
            behind += tracked(self.algebra, action, state, sctp_ports, self._do, first=self._first, apart=self._apart)
        for slot in CONNTRACK:
            state = self.algebra.put(state, slot, 0)
        return self.algebra.written(state, ACTED)
