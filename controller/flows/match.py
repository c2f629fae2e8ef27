"""What a packet must be: fields, and matches of them.

A field called is a test, a field's `set` is an action, and `&` puts tests together:

    NET(7) & ETH_DST(mac)

Prerequisites travel with a field (`ARP_TPA` brings `eth_type=0x0806`). Matches are many and their sorts are few: a
match is a `Pattern`, one object for all matches of it, and the numbers that it has of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache, reduce
from itertools import count
from operator import and_
from typing import Any, Generic, NamedTuple, TypeVar
from weakref import WeakValueDictionary

from controller.errors import ConflictingMatch, Undeclared

T = TypeVar("T")


def _same(value: int) -> int:
    return value


@dataclass(frozen=True, slots=True, eq=False)
class Field(Generic[T]):
    """A header field, or some bits of a register, that holds a `T`.

    `wire` names the whole field as ovs-fields(7) does; the value stands in `bits` bits from `shift` up, of `width`.
    `words`, if any, is how ovs-ofctl(8) writes a test of it, a function of value and mask. `few` says that it takes few
    values, mostly those that the code names: they are no numbers of a flow's own, but a part of its form; so is what
    other fields require of it. `order` is the order of declaration, in which tests are written.
    """

    name: str
    wire: str
    width: int
    parse: Callable[[T], int]
    show: Callable[[int], str]
    shift: int = 0
    bits: int = 0
    requires: tuple[Test, ...] = ()
    words: Callable[[int, int], str] | None = None
    few: bool = False
    order: int = field(default_factory=count().__next__)
    full: int = field(init=False)
    """The mask of all this field's bits, counted from 0; one object for all tests, which so are found alike sooner."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "full", (1 << (self.bits or self.width)) - 1)

    @property
    def partial(self) -> bool:
        """Is this field a part of its wire field?"""
        return bool(self.bits) and self.bits != self.width

    def __call__(self, value: T, mask: int | None = None) -> Match:
        """The packets whose field equals `value`, in the bits of `mask` if given."""
        wanted, number = self.full, self._checked(value)
        if mask is not None:
            if not 0 <= mask <= self.full:
                raise Undeclared(f"Field {self.name}", "mask", hex(mask))
            wanted, number = mask, number & mask
        if self.few:
            return Match(_tested(self, wanted, number))
        return Match(_tested(self, wanted), (number,))

    def set(self, value: T) -> Set:
        """The action that writes `value`."""
        return Set(self, self._checked(value))

    def _checked(self, value: T) -> int:
        number = self.parse(value)
        if not 0 <= number <= self.full:
            raise Undeclared(f"Field {self.name}", "value", str(value))
        return number

    def __repr__(self) -> str:
        return self.name.upper()


def register(name: str, wire: str, shift: int = 0, bits: int = 32, *, few: bool = False) -> Field[int]:
    """`bits` bits of a 32-bit register (ovs-fields(7), Registers)."""
    return Field(name, wire, 32, _same, hex, shift, bits, few=few or bits <= 4)


class Test(NamedTuple):
    """One field and what it must be, in the bits of `mask`."""

    field: Field[Any]
    value: int
    mask: int


class Part(NamedTuple):
    """One field of a pattern, and the bits of it that are tested: for `value`, or for a number of the match's own."""

    field: Field[Any]
    mask: int
    value: int | None


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Pattern:
    """What matches have in common that differ in nothing but numbers; `_pattern` makes one object for all of them.

    It goes with the last of them.
    """

    parts: tuple[Part, ...]


_patterns: WeakValueDictionary[tuple[Part, ...], Pattern] = WeakValueDictionary()


def _pattern(parts: tuple[Part, ...]) -> Pattern:
    found = _patterns.get(parts)
    if found is None:
        found = _patterns[parts] = Pattern(parts)
    return found


class Match(NamedTuple):
    """The packets that pass every test; `&` narrows."""

    pattern: Pattern = _pattern(())
    numbers: tuple[int, ...] = ()

    def __and__(self, other: Match) -> Match:
        """The packets that pass both. Raises ConflictingMatch when one field is tested for two values."""
        union = _union(self.pattern, other.pattern)
        numbers = self.numbers + other.numbers
        if union is None or (union.alike and any(numbers[one] != numbers[two] for one, two in union.alike)):
            raise _conflict(self, other)
        return Match(union.pattern, numbers if union.order is None else tuple([numbers[at] for at in union.order]))

    @property
    def tests(self) -> tuple[Test, ...]:
        """Each field that is tested, in the order of declaration."""
        left = iter(self.numbers)
        return tuple(
            [Test(field, next(left) if value is None else value, mask) for field, mask, value in self.pattern.parts]
        )

    def whole(self) -> Iterator[tuple[str, int, int, int]]:
        """(wire field, value, mask, width) with the parts of one register put together."""
        parts: dict[str, tuple[int, int, int]] = {}
        for test in self.tests:
            at = test.field.wire
            value, mask, _ = parts.get(at, (0, 0, 0))
            shift = test.field.shift
            parts[at] = (value | test.value << shift, mask | test.mask << shift, test.field.width)
        for at, (value, mask, width) in parts.items():
            yield at, value, mask, width


ANY = Match()


def matching(*tests: Test) -> Match:
    """The packets that pass these tests, whatever those require. Raises ConflictingMatch as `&` does."""
    return reduce(and_, [_alone(*test) for test in tests], ANY)


def _alone(field: Field[Any], value: int, mask: int) -> Match:
    part = Part(field, mask, value if field.few else None)
    return Match(_pattern((part,)), () if field.few else (value,))


@cache
def _tested(field: Field[Any], mask: int, value: int | None = None) -> Pattern:
    """One test and what it requires."""
    pattern, numbers = matching(*field.requires)
    if numbers:
        raise Undeclared(f"Field {field.name}", "a requirement with a number", str(numbers[0]))
    return _pattern(tuple(sorted((*pattern.parts, Part(field, mask, value)), key=_part_order)))


def _part_order(part: Part) -> int:
    return part.field.order


UNIONS = 1 << 12
"""So many are remembered; a cloud of tenants with like rules has a few hundred."""


class _Union(NamedTuple):
    """How two matches become one: the pattern of both, and the places of its numbers among those of one and the other.

    `order` is None when that is one after the other; `alike` are the places of what both test, in pairs.
    """

    pattern: Pattern
    order: tuple[int, ...] | None
    alike: tuple[tuple[int, int], ...]


@lru_cache(UNIONS)
def _union(one: Pattern, other: Pattern) -> _Union | None:
    """None when there is a field that the two test for different values, or in different bits."""
    parts: dict[Field[Any], Part] = {}
    places: dict[Field[Any], int] = {}
    alike = []
    numbers = count()
    for part in (*one.parts, *other.parts):
        if parts.setdefault(part.field, part) != part:
            return None
        if part.value is None:
            at = next(numbers)
            if (first := places.setdefault(part.field, at)) != at:
                alike.append((first, at))
    ordered = sorted(parts.values(), key=_part_order)
    order = tuple(places[part.field] for part in ordered if part.value is None)
    as_they_come = order == tuple(range(next(numbers)))
    return _Union(_pattern(tuple(ordered)), None if as_they_come else order, tuple(alike))


def _conflict(one: Match, other: Match) -> ConflictingMatch:
    """What two matches do not agree about."""
    tests = {test.field: test for test in one.tests}
    mine, test = next((mine, test) for test in other.tests if (mine := tests.get(test.field, test)) != test)
    return ConflictingMatch(test.field.name, mine.field.show(mine.value), test.field.show(test.value))


@dataclass(frozen=True, slots=True)
class Set:
    """Write a value into a field."""

    field: Field[Any]
    value: int

    def __str__(self) -> str:
        if self.field.partial:
            return f"load:{self.value:#x}->{span(self.field)}"
        return f"set_field:{self.field.show(self.value)}->{self.field.wire}"


_ETH_TYPES = {0x0800: "ip", 0x0806: "arp", 0x86DD: "ipv6"}


def match_text(match: Match) -> str:
    """A match as ovs-ofctl(8) reads it."""
    shows = {test.field.wire: test.field.show for test in match.tests}
    worded = {test.field.wire: test.field.words for test in match.tests if test.field.words}
    words = []
    for wire, value, mask, width in match.whole():
        exact = mask == (1 << width) - 1
        if wire in worded:
            words.append(f"{wire}={worded[wire](value, mask)}")
        elif wire == "eth_type" and exact and value in _ETH_TYPES:
            words.append(_ETH_TYPES[value])
        elif exact:
            words.append(f"{wire}={shows[wire](value)}")
        else:
            words.append(f"{wire}={shows[wire](value)}/{shows[wire](mask)}")
    return ",".join(words)


_NXM = {
    "eth_src": "NXM_OF_ETH_SRC",
    "eth_dst": "NXM_OF_ETH_DST",
    "nw_src": "NXM_OF_IP_SRC",
    "nw_dst": "NXM_OF_IP_DST",
    "tcp_src": "NXM_OF_TCP_SRC",
    "tcp_dst": "NXM_OF_TCP_DST",
    "udp_src": "NXM_OF_UDP_SRC",
    "udp_dst": "NXM_OF_UDP_DST",
    "sctp_src": "OXM_OF_SCTP_SRC",
    "sctp_dst": "OXM_OF_SCTP_DST",
    "icmp_type": "NXM_OF_ICMP_TYPE",
    "icmp_code": "NXM_OF_ICMP_CODE",
    "arp_op": "NXM_OF_ARP_OP",
    "arp_spa": "NXM_OF_ARP_SPA",
    "arp_tpa": "NXM_OF_ARP_TPA",
    "arp_sha": "NXM_NX_ARP_SHA",
    "arp_tha": "NXM_NX_ARP_THA",
    "ipv6_src": "NXM_NX_IPV6_SRC",
    "ipv6_dst": "NXM_NX_IPV6_DST",
    "nw_ttl": "NXM_NX_IP_TTL",
    "nd_target": "NXM_NX_ND_TARGET",
    "nd_tll": "NXM_NX_ND_TLL",
    "nd_reserved": "ERICOXM_OF_ICMPV6_ND_RESERVED",
    "nd_options_type": "ERICOXM_OF_ICMPV6_ND_OPTIONS_TYPE",
    "tun_id": "NXM_NX_TUN_ID",
    "tun_src": "NXM_NX_TUN_IPV4_SRC",
    "tun_dst": "NXM_NX_TUN_IPV4_DST",
    "vlan_tci": "NXM_OF_VLAN_TCI",
}


def span(field: Field[Any]) -> str:
    """A field, or the bits of one, as ovs-actions(7) writes what is loaded and moved."""
    name = _NXM.get(field.wire) or f"NXM_NX_{field.wire.upper()}"
    if not field.partial:
        return f"{name}[]"
    end = field.shift + field.bits - 1
    return f"{name}[{field.shift}]" if field.bits == 1 else f"{name}[{field.shift}..{end}]"
