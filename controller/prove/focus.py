"""The keys that packets of some senders can come to have: what is written to registers by flows that they may meet.

It is a guess by the flows' own numbers, so that few are told apart where few matter. A number that it lacks is found
when somebody is to have it (`Unforeseen`), and then it is asked for again with that: nothing hangs on the guess.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from controller.prove.atoms import SORTS
from controller.prove.rules import Action, Apart, Group, Rule, Test, ToGroup, Track, Write
from controller.prove.sets import WIDTHS

NARROWED: Final = ("key", "in_port")
"""The sorts of numbers that packets have only if somebody wrote them."""


Key = tuple[str, int]
"""A number in a register, or a segment; registers in which ports stand are one to each other."""
_PORTS: Final = ("reg1", "reg2", "reg10")


@dataclass(frozen=True, slots=True)
class Writer:
    """What flows of a switch write that test the same: by which port packets came (None: any), and which keys they
    have."""

    in_port: int | None
    keys: frozenset[Key]
    written: frozenset[Key]


def writers(rules: Iterable[Rule], groups: Mapping[int, Group]) -> frozenset[Writer]:
    """All that write keys."""
    found = set()
    for rule in rules:
        written = frozenset(_written(rule.actions, groups))
        if written:
            ports = [test.value for test in rule.tests if test.slot == "in_port"]
            keys = [_key(test) for test in rule.tests if _is_key(test.slot, test.mask)]
            found.add(Writer(ports[0] if ports else None, frozenset(keys), written))
    return frozenset(found)


def _is_key(slot: str, mask: int) -> bool:
    full = (1 << WIDTHS[slot]) - 1
    return SORTS.get(slot) in ("key", "segment") and mask & full == full


def _key(test: Test) -> Key:
    return "port" if test.slot in _PORTS else test.slot, test.value


def _written(actions: Iterable[Action], groups: Mapping[int, Group]) -> Iterator[Key]:
    for each in actions:
        if isinstance(each, Write):
            yield from (_key(test) for test in each.tests if _is_key(test.slot, test.mask))
        elif isinstance(each, Apart):
            yield from _written(each.actions, groups)
        elif isinstance(each, Track):
            yield from _written(each.exec, groups)
        elif isinstance(each, ToGroup) and each.id in groups:
            for bucket in groups[each.id].buckets:
                yield from _written(bucket, {})


def reached(switches: Iterable[tuple[Collection[Writer], Collection[int]]]) -> set[int]:
    """The keys that packets come to have which come by some ports of each switch."""
    known: set[Key] = set()
    left = [(each, ports) for found, ports in switches for each in found]
    grown = True
    while grown:
        before = len(known)
        waiting = []
        for each, ports in left:
            if all(value == 0 or (slot, value) in known for slot, value in each.keys):
                if each.in_port is None or each.in_port in ports:
                    known |= each.written
            else:
                waiting.append((each, ports))
        left = waiting
        grown = len(known) > before
    return {0, *(value for slot, value in known if slot != "tun_id")}
