"""Sets of packets, as binary decision diagrams (Bryant 1986) over what a switch sees of a packet.

A slot is a field as Open vSwitch keeps it (ovs-fields(7); struct flow of `include/openvswitch/flow.h`): ports of TCP,
UDP and SCTP, and type and code of ICMP, are one pair of slots; so are the addresses of ARP and of IPv4, and the
link-layer addresses of ARP and of neighbour discovery. Most slots hold the number of an atom (`atoms`), few their bits.
Each has several blocks of variables: block 0 of a header is the packet as it was sent, which nothing overwrites, so
that a set that arrives somewhere still says what was sent; the others take what is written later.

Where the library has its C part (`dd.cudd`, in the wheels for Linux) millions of nodes are no matter; without it
`dd.autoref` gives the same answers, some hundred times slower.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from importlib import import_module
from typing import Final, NamedTuple, Protocol, cast

from controller.prove.atoms import SORTS, Atoms, Gathered


class Set(Protocol):
    """A set of packets; two are equal if and only if they hold the same."""

    def __and__(self, other: Set) -> Set: ...
    def __or__(self, other: Set) -> Set: ...
    def __invert__(self) -> Set: ...


class _Library(Protocol):
    """What is used of `dd`."""

    true: Set
    false: Set

    def declare(self, *names: str) -> None: ...
    def var(self, name: str) -> Set: ...
    def exist(self, names: Iterable[str], over: Set) -> Set: ...
    def let(self, definitions: Mapping[str, str], over: Set) -> Set: ...
    def pick(self, of: Set) -> Mapping[str, bool] | None: ...
    def configure(self, **options: object) -> object: ...


Refs = tuple[int, ...]
"""The bits of a number, the least significant first: a variable, or `ZERO`, or `ONE`."""
ZERO: Final = -1
ONE: Final = -2


class Maybe(NamedTuple):
    """What nobody knows, but for the bits of `mask`: every test may pass, and may not."""

    value: int
    mask: int


Value = int | Refs | Maybe
"""What a slot holds: a number, or variables, or what nobody knows."""
UNKNOWN: Final = Maybe(0, 0)

_HEADERS: Final = {
    "eth_dst": 48, "eth_src": 48, "eth_type": 16, "vlan_tci": 16, "ip_frag": 2, "nw_proto": 8, "nw_ttl": 8, "nw_tos": 8,
    "nw_src": 32, "nw_dst": 32, "ipv6_src": 128, "ipv6_dst": 128, "tp_src": 16, "tp_dst": 16, "nd_target": 128,
    "arp_sha": 48, "arp_tha": 48, "tcp_flags": 12, "ipv6_label": 20,
}  # fmt: skip
"""What is in the packet itself; nd_sll and nd_tll are arp_sha and arp_tha."""
_LOCALS: Final = {
    "acted": 1, "believed": 2, "host": 20, "tun_id": 64, "tun_src": 32, "tun_dst": 32, "tun_ipv6_src": 128,
    "tun_ipv6_dst": 128, "in_port": 32, "origin": 20, "metadata": 64, "nd_reserved": 32, "nd_options_type": 8,
    "ct_state": 8, "ct_zone": 16, "ct_mark": 32, "ct_label": 128, "ct_nw_src": 32, "ct_nw_dst": 32, "ct_ipv6_src": 128,
    "ct_ipv6_dst": 128, "ct_nw_proto": 8, "ct_tp_src": 16, "ct_tp_dst": 16, "xxreg3": 128,
    **{f"reg{n}": 32 for n in range(12)},
}  # fmt: skip
"""What is known of it besides; all of that is 0, or written, so none of it has a block that nothing overwrites."""
WIDTHS: Final[Mapping[str, int]] = {**_HEADERS, **_LOCALS}

_ORDER: Final = (
    "acted", "reg0", "reg8", "ct_state", "reg6", "reg7", "reg9", "reg2", "reg3", "eth_dst", "nw_dst", "ipv6_dst",
    "tun_dst", "tun_ipv6_dst", "host", "eth_type", "reg11", "reg10", "reg5", "tun_id", "tun_src", "tun_ipv6_src",
    "reg1", "origin", "in_port", "eth_src", "nw_src", "ipv6_src", "nd_target", "arp_sha", "arp_tha", "ip_frag",
    "nw_proto", "tp_dst", "tp_src", "tcp_flags", "vlan_tci", "nw_ttl", "reg4", "xxreg3",
)  # fmt: skip
"""Where variables stand: what is decided of packets on the way above what tells receivers apart, and that above what
tells senders apart, so that what all senders of a network may send is kept once for all receivers. Where packets are
stands between the two: it follows from either. What rules ask of packets is below, for it is the same for many."""
BLOCKS: Final = 4
_REMEMBERED: Final = 1 << 18
"""So many operations are remembered, which fit in the caches of processors, and from so many nodes (`_NODES`) on those
that nobody has any more are given back first: both is faster than it is to have as much memory as there is."""
_NODES: Final = 1 << 20


def is_header(slot: str) -> bool:
    """Is it a part of the packet, of which block 0 is kept?"""
    return slot in _HEADERS


class Unforeseen(Exception):
    """Raised where a slot is to have a number that no atom of its sort stands for."""

    def __init__(self, sort: str, numbers: frozenset[int]) -> None:
        super().__init__(f"{sort}: {sorted(numbers)}")
        self.sort, self.numbers = sort, numbers


class Space:
    """The variables, and sets made of them."""

    def __init__(
        self, gathered: Mapping[str, Gathered], origins: int, hosts: int, narrowed: Collection[str] = ()
    ) -> None:
        """For the values that were gathered by sort, and so many senders and hypervisors. Of `narrowed` sorts there are
        no others."""
        self._narrowed = narrowed
        self._dd = _library()
        self.nothing, self.everything = self._dd.false, self._dd.true
        self.atoms = {sort: Atoms(each) for sort, each in gathered.items()}
        self._counted = {"origin": max(1, (origins - 1).bit_length()), "host": max(1, (hosts - 1).bit_length())}
        self._names: list[str] = []
        self._blocks: dict[tuple[str, int], Refs] = {}
        self._literals: list[tuple[Set, Set]] = []
        self._tests: dict[tuple[str, Refs, int, int], Set] = {}
        self._less_one: dict[tuple[Refs, Refs], Set] = {}
        for slot in (*_ORDER, *(each for each in WIDTHS if each not in _ORDER)):
            self._declare(slot)

    def _declare(self, slot: str) -> None:
        """Blocks bit by bit, the most significant first, so that one that equals another costs little."""
        bits: list[list[int]] = [[] for _ in range(BLOCKS)]
        for bit in reversed(range(self.size(slot))):
            for block in range(BLOCKS):
                name = f"{slot}.{block}.{bit}"
                self._dd.declare(name)
                bits[block].append(len(self._names))
                self._names.append(name)
                variable = self._dd.var(name)
                self._literals.append((~variable, variable))
        for block, found in enumerate(bits):
            self._blocks[slot, block] = tuple(reversed(found))

    def size(self, slot: str) -> int:
        """How many variables stand for a slot."""
        if slot in self._counted:
            return self._counted[slot]
        return self.atoms[SORTS[slot]].bits if slot in SORTS else WIDTHS[slot]

    def block(self, slot: str, block: int = 0) -> Refs:
        """The variables of a slot."""
        return self._blocks[slot, block]

    def refs(self, slot: str, value: int) -> Refs:
        """A number as the bits that stand for it. Raises Unforeseen."""
        self.foresee(slot, [value])
        number = self.atoms[SORTS[slot]].number(value) if slot in SORTS else value
        return tuple(ONE if number >> at & 1 else ZERO for at in range(self.size(slot)))

    def lacks(self, slot: str, number: int) -> bool:
        """Is there no atom for a number of a slot, though it may be somebody's?"""
        sort = SORTS.get(slot, "")
        return sort in self._narrowed and bool(self.atoms[sort].lacking([number]))

    def foresee(self, slot: str, numbers: Iterable[int]) -> None:
        """Make sure that a slot can have these numbers. Raises Unforeseen."""
        sort = SORTS.get(slot, "")
        if sort in self._narrowed and (lacking := self.atoms[sort].lacking(numbers)):
            raise Unforeseen(sort, lacking)

    def test(self, slot: str, refs: Refs, value: int, mask: int = -1) -> Set:
        """The packets whose slot, which these variables stand for, is `value` in the bits of `mask`."""
        sort = SORTS.get(slot, "")
        key = (sort, refs, value, mask)
        found = self._tests.get(key)
        if found is None:
            found = self.nothing if sort else self._bits(refs, value, mask)
            for first, last in self.atoms[sort].of(value, mask) if sort else ():
                found = found | self._between(refs, first, last)
            self._tests[key] = found
        return found

    def is_(self, slot: str, value: int, mask: int = -1) -> Set:
        """The packets that were sent with this."""
        return self.test(slot, self.block(slot), value, mask)

    def _bits(self, refs: Refs, value: int, mask: int) -> Set:
        made = self.everything
        for at, ref in enumerate(refs):
            if mask >> at & 1:
                wanted = value >> at & 1
                if ref < 0:
                    if (ref == ONE) != bool(wanted):
                        return self.nothing
                else:
                    made = made & self._literals[ref][wanted]
        return made

    def _between(self, refs: Refs, first: int, last: int) -> Set:
        if first == last:
            return self._bits(refs, first, -1)
        above, below = self.everything, self.everything
        for at, ref in enumerate(refs):
            no, yes = self._literals[ref] if ref >= 0 else self._constant(ref == ONE)
            above = above & yes if first >> at & 1 else above | yes
            below = no | below if last >> at & 1 else no & below
        return above & below

    def _constant(self, one: bool) -> tuple[Set, Set]:
        return (self.nothing, self.everything) if one else (self.everything, self.nothing)

    def literal(self, ref: int, one: bool) -> Set:
        """The packets whose bit is 1, or 0."""
        return self._literals[ref][one]

    def less_one(self, new: Refs, old: Refs) -> Set:
        """The packets in which one number, bit by bit, is one less than another, which is not 0."""
        made = self._less_one.get((new, old))
        if made is None:
            made = self.nothing
            for value in range(1, 1 << len(old)):
                made = made | (self._bits(old, value, -1) & self._bits(new, value - 1, -1))
            self._less_one[new, old] = made
        return made

    def forget(self, over: Set, refs: Iterable[int]) -> Set:
        """The same, whatever these variables are."""
        return self._dd.exist([self._names[ref] for ref in refs if ref >= 0], over)

    def renamed(self, over: Set, moved: Mapping[int, int]) -> Set:
        """The same in other variables, of which it knows none."""
        return self._dd.let({self._names[ref]: self._names[to] for ref, to in moved.items()}, over)

    def one(self, of: Set) -> Mapping[int, bool]:
        """One packet of a set that is not empty, by variables; what is not said may be either."""
        picked = self._dd.pick(of) or {}
        places = {name: at for at, name in enumerate(self._names)} if picked else {}
        return {places[name]: value for name, value in picked.items()}

    def number(self, slot: str, refs: Refs, chosen: Mapping[int, bool]) -> int:
        """The value of a slot in one packet."""
        number = sum(1 << at for at, ref in enumerate(refs) if (chosen.get(ref, False) if ref >= 0 else ref == ONE))
        if slot not in SORTS:
            return number
        values = self.atoms[SORTS[slot]].values
        return values[min(number, len(values) - 1)]

    def real(self, slot: str, refs: Refs) -> Set:
        """The packets in which variables stand for an atom that there is."""
        if slot not in SORTS:
            return self.everything
        return self._between(refs, 0, len(self.atoms[SORTS[slot]].values) - 1)


def union(sets: Iterable[Set], nothing: Set) -> Set:
    """All of them together, in pairs, so that none grows early."""
    left = list(sets)
    while len(left) > 1:
        left = [one | other for one, other in zip(left[::2], left[1::2], strict=False)] + left[len(left) & ~1 :]
    return left[0] if left else nothing


def whole(refs: Refs) -> int | Refs:
    """The number that bits are, if none is a variable."""
    if any(ref >= 0 for ref in refs):
        return refs
    return sum(1 << at for at, ref in enumerate(refs) if ref == ONE)


def _library() -> _Library:
    try:
        made = import_module("dd.cudd").BDD(memory_estimate=1 << 32)
        made.configure(max_cache_hard=_REMEMBERED, loose_up_to=_NODES)
    except ImportError:
        made = import_module("dd.autoref").BDD()
    made.configure(reordering=False)
    return cast("_Library", made)


def digits(number: int) -> Iterator[int]:
    """The places of the bits that are 1."""
    while number:
        low = number & -number
        yield low.bit_length() - 1
        number ^= low
