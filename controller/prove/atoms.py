"""Values that nobody tells apart, as one (atomic predicates: Yang and Lam, "Real-time verification of network
properties using atomic predicates", 2013).

A MAC address has 48 bits, and a cloud some thousands of them: what matters of one is only which tests it passes. All
values of a sort that pass the same tests are an atom, and an atom is a number of some twelve bits. Atoms are numbered
in the order of their values, so that a block of addresses is a range of numbers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

SORTS: Final = {
    "eth_src": "mac", "eth_dst": "mac", "arp_sha": "mac", "arp_tha": "mac",
    "nw_src": "ip4", "nw_dst": "ip4", "reg4": "ip4", "ct_nw_src": "ip4", "ct_nw_dst": "ip4",
    "ipv6_src": "ip6", "ipv6_dst": "ip6", "nd_target": "ip6", "xxreg3": "ip6", "ct_ipv6_src": "ip6",
    "ct_ipv6_dst": "ip6",
    "tun_src": "vtep4", "tun_dst": "vtep4", "tun_ipv6_src": "vtep6", "tun_ipv6_dst": "vtep6", "tun_id": "segment",
    "eth_type": "type", "nw_proto": "protocol", "ct_nw_proto": "protocol",
    "tp_src": "port", "tp_dst": "port", "ct_tp_src": "port", "ct_tp_dst": "port",
    "reg8": "why", "reg5": "generation", "metadata": "metadata", "in_port": "in_port", "nw_tos": "tos",
    "tcp_flags": "flags", "ipv6_label": "label", "nd_reserved": "reserved", "nd_options_type": "option",
    **{f"reg{n}": "key" for n in (1, 2, 6, 7, 9, 10, 11)},
}  # fmt: skip
"""Slots of whose values only atoms are told apart; those of one sort may be copied into each other. Others are kept bit
by bit."""


@dataclass(slots=True, eq=False)
class Gathered:
    """The values of a sort that are tested for or written, and the masks that others are tested with."""

    width: int
    exact: set[int] = field(default_factory=lambda: {0})
    blocks: set[tuple[int, int]] = field(default_factory=set)

    def take(self, value: int, mask: int) -> None:
        """One more test, or a value that is written."""
        full = (1 << self.width) - 1
        if mask & full == full:
            self.exact.add(value & full)
        elif mask & full:
            self.blocks.add((value & mask, mask & full))


class Atoms:
    """The atoms of a sort. `values` has one value of each, in order."""

    def __init__(self, gathered: Gathered) -> None:
        self.width = gathered.width
        self._blocks = sorted(gathered.blocks)
        self._masks = sorted({mask for _, mask in self._blocks})
        self._exact = gathered.exact
        self.values: tuple[int, ...] = tuple(sorted({*gathered.exact, *self._others(gathered)}))
        self._places = {value: at for at, value in enumerate(self.values)}
        self._kinds = {self._kind(value): value for value in self.values if value not in gathered.exact}

    @cached_property
    def bits(self) -> int:
        """How many bits a number of an atom has."""
        return max(1, (len(self.values) - 1).bit_length())

    def lacking(self, values: Iterable[int]) -> frozenset[int]:
        """Those that are no atom's own."""
        return frozenset(value for value in values if value not in self._places)

    def number(self, value: int) -> int:
        """The atom of a value."""
        known = self._places.get(value)
        if known is not None:
            return known
        return self._places[self._kinds[self._kind(value)]]

    def of(self, value: int, mask: int) -> list[tuple[int, int]]:
        """The atoms that a test is about, as ranges of numbers, both ends included."""
        full = (1 << self.width) - 1
        mask &= full
        if mask == full:
            place = self._places.get(value)
            return [] if place is None else [(place, place)]
        if mask == full ^ (full >> mask.bit_count()):  # a prefix, of which all values are next to each other
            first = bisect_left(self.values, value & mask)
            last = bisect_left(self.values, (value & mask | full ^ mask) + 1) - 1
            return [(first, last)] if first <= last else []
        return [*_ranges(at for at, each in enumerate(self.values) if each & mask == value & mask)]

    def _kind(self, value: int) -> tuple[int, ...]:
        """What tells a value that is not tested for alone from others."""
        wanted = self._wanted
        return tuple(value & mask if value & mask in wanted[mask] else -1 for mask in self._masks)

    @cached_property
    def _wanted(self) -> dict[int, set[int]]:
        found: dict[int, set[int]] = {mask: set() for mask in self._masks}
        for value, mask in self._blocks:
            found[mask].add(value)
        return found

    def _others(self, gathered: Gathered) -> Iterable[int]:
        """For each set of tests that only values pass which are not tested for alone, one of those.

        Each block, and each two that overlap, has one somewhere inside; where, is tried.
        """
        found: dict[tuple[int, ...], int] = {}
        cubes = {(0, 0), *self._blocks}
        odd = [(value, mask) for value, mask in self._blocks if mask != _prefix(mask, self.width)]
        for value, mask in self._blocks if len(odd) < 64 else ():
            for other, others in odd:
                if (value ^ other) & mask & others == 0:
                    cubes.add((value | other, mask | others))
        full = (1 << self.width) - 1
        for value, mask in sorted(cubes):
            for tried in _samples(value, full ^ mask):
                if tried not in gathered.exact and (kind := self._kind(tried)) not in found:
                    found[kind] = tried
        return found.values()


def _prefix(mask: int, width: int) -> int:
    full = (1 << width) - 1
    return full ^ (full >> mask.bit_count())


_TRIES: Final = 48


def _samples(value: int, free: int) -> Iterable[int]:
    """Some values of a cube, spread over it: its ends and, of its free bits, one, all but one, and mixtures."""
    yield value | free
    yield value
    bit = 0
    places = [at for at in range(free.bit_length()) if free >> at & 1]
    for place in places:
        yield value | 1 << place
        yield value | free ^ 1 << place
    mixed = 0x9E3779B97F4A7C15
    for _ in range(_TRIES):
        mixed = mixed * 0xD1342543DE82EF95 + 0x632BE59BD9B4E019 & (1 << 128) - 1
        yield value | mixed >> bit & free


def _ranges(numbers: Iterable[int]) -> Iterable[tuple[int, int]]:
    first = last = None
    for number in numbers:
        if first is None or last is None:
            first = last = number
        elif number == last + 1:
            last = number
        else:
            yield first, last
            first = last = number
    if first is not None and last is not None:
        yield first, last
