"""What conntrack says of sets of packets, as far as it is believed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from controller.flows.conntrack import ANSWER, ANSWERS, ESTABLISHED, INVALID, NEW
from controller.flows.fields import ICMP4, ICMP6, SCTP, TCP
from controller.flows.pipeline import HOPS
from controller.prove.rules import Action, Span, Test, Track
from controller.prove.sets import UNKNOWN, WIDTHS, Set, union
from controller.prove.states import Algebra, State

BELIEVED: Final = "believed"
"""The slot that is 1 in packets of which conntrack may have said anything, of any connection; else each packet that it
was asked about begins a connection, or is of none."""

RELATED: Final = 1 << 5 | 1 << 2
_SNAT, _DNAT = 1 << 6, 1 << 7
TRANSLATED: Final = 2
"""What it is in those of them that conntrack may have translated to anything."""
_INVALID: Final = Test("ct_state", 1 << 4, 1 << 4)
_SECOND: Final = Test("tcp_flags", 0x12, 0x12)
_LATER: Final = Test("ip_frag", 3, 3)
_FAMILIES: Final = {0x0800: ICMP4, 0x86DD: ICMP6}
_ORIGINAL: Final = (
    ("nw_src", "ct_nw_src"), ("nw_dst", "ct_nw_dst"), ("ipv6_src", "ct_ipv6_src"), ("ipv6_dst", "ct_ipv6_dst"),
    ("nw_proto", "ct_nw_proto"), ("tp_src", "ct_tp_src"), ("tp_dst", "ct_tp_dst"),
)  # fmt: skip
_TRANSLATED: Final = ("nw_src", "nw_dst", "ipv6_src", "ipv6_dst", "tp_src", "tp_dst", "nw_ttl")
"""What may be anything in a packet that was translated: how far it came already is not told, or each router more would
be another packet."""
Do = Callable[[Action, State, int], list[State]]


def tracked(
    algebra: Algebra, how: Track, state: State, sctp_ports: Set, do: Do, *, first: bool = False, apart: bool = False
) -> Iterator[State]:
    """The packets as they come out of conntrack: both as each would that begins a connection, and, unless it is about
    the `first` packets of these alone, as any might, whoever sent them (`Algebra.stood`), but where they are kept
    `apart`."""
    if not first:
        any = algebra.put(state, BELIEVED, algebra.value(state, BELIEVED) or 1)
        for each in [any] if apart else algebra.stood(any):
            yield from _believed(algebra, how, each)
    if algebra.value(state, BELIEVED) != 0:
        return
    begins, others = _parted(algebra, state)
    for told, ones in ((NEW, begins), (INVALID, others)):
        for each in ones:
            made = algebra.put(_zoned(algebra, how, each), "ct_state", told)
            for source, target in _ORIGINAL:
                made = algebra.copied(made, Span(source, 0, WIDTHS[source]), Span(target, 0, WIDTHS[target]))
            if told == NEW:
                made = _remembered(algebra, how, made, do)
                yield from _sctp(algebra, made, sctp_ports)
            else:
                yield made


def _zoned(algebra: Algebra, how: Track, state: State) -> State:
    if isinstance(how.zone, int):
        return algebra.put(state, "ct_zone", how.zone)
    return algebra.copied(state, how.zone, Span("ct_zone", 0, 16))


def _parted(algebra: Algebra, state: State) -> tuple[list[State], list[State]]:
    """What may begin a connection, and of what conntrack makes nothing: ICMP that answers, and what is not IP."""
    begins: list[State] = []
    others: list[State] = []
    left = state
    for family, icmp in _FAMILIES.items():
        mine = algebra.narrowed(left, Test("eth_type", family, 0xFFFF))
        left = algebra.less(left, Test("eth_type", family, 0xFFFF))
        messages = algebra.narrowed(mine, Test("nw_proto", icmp, 0xFF))
        for each, may_begin in _begun(algebra, algebra.less(mine, Test("nw_proto", icmp, 0xFF))):
            (begins if may_begin else others).append(each)
        begins.append(algebra.narrowed(messages, _LATER))
        messages = algebra.less(messages, _LATER)
        for type in ANSWERS[icmp]:
            begins.append(algebra.narrowed(messages, Test("tp_src", type, 0xFFFF)))
            messages = algebra.less(messages, Test("tp_src", type, 0xFFFF))
        others.append(messages)
    others.append(left)
    return _together(algebra, begins), _together(algebra, others)


def _together(algebra: Algebra, parts: list[State]) -> list[State]:
    """Parts of one state, as one; none if nothing is in them."""
    packets = union((part.packets for part in parts), algebra.space.nothing)
    return [] if packets == algebra.space.nothing else [replace(parts[0], packets=packets)]


def _remembered(algebra: Algebra, how: Track, state: State, do: Do) -> State:
    """Translated as it begins, and with what is written to its mark and label."""
    if how.commit:
        for action in how.exec:
            (state,) = do(action, state, 0)
    if not how.nat:
        return state
    way, _, where = how.nat.partition("=")
    address = where.partition(":")[0].partition("-")[0]
    parts = address.split(".")
    if len(parts) != 4 or way not in ("src", "dst"):
        return state
    number = sum(int(part) << 8 * (3 - at) for at, part in enumerate(parts))
    state = algebra.put(state, f"nw_{way}", number)
    ports = where.rpartition(":")[2] if ":" in where else ""
    if ports and way == "dst":
        state = algebra.put(state, "tp_dst", int(ports.partition("-")[0]))
    flag = _SNAT if way == "src" else _DNAT
    return algebra.written(state, Test("ct_state", flag, flag))


def _sctp(algebra: Algebra, state: State, sctp_ports: Set) -> Iterator[State]:
    """In user space conntrack reads no ports of SCTP: on other switches than those of `sctp_ports`."""
    association = algebra.narrowed(state, Test("nw_proto", SCTP, 0xFF))
    unread = replace(association, packets=association.packets & ~sctp_ports)
    if unread.packets == algebra.space.nothing:
        yield state
        return
    yield algebra.put(algebra.put(unread, "ct_tp_src", 0), "ct_tp_dst", 0)
    others = replace(state, packets=state.packets & ~unread.packets)
    if others.packets != algebra.space.nothing:
        yield others


_SAID: Final = (NEW, ESTABLISHED, ANSWER, RELATED, RELATED | NEW, RELATED | ANSWER & ~ESTABLISHED, INVALID)
"""What conntrack may say: of a connection that begins, goes on or is answered, of errors about it, and of nothing."""


def _believed(algebra: Algebra, how: Track, state: State) -> Iterator[State]:
    """What conntrack may say of what it was not told to remember: anything. Of what it can make something of, and
    remembers, not that it can make nothing of it; and of the rest that, or that it begins a connection. None begins
    with the second packet of TCP (Open vSwitch, conntrack-tcp.c, tcp_valid_new; Linux, nf_conntrack_proto_tcp.c)."""
    cases: list[tuple[State, tuple[int, ...]]] = [(state, _SAID)]
    if how.commit:
        cases = [(algebra.less(state, _INVALID), _SAID[:-1]), (algebra.narrowed(state, _INVALID), (NEW, INVALID))]
    flags = (0, _SNAT, _DNAT, _SNAT | _DNAT) if how.nat is not None else (0,)
    told = [
        (each, [one | flag for one in said if may_begin or not one & 1 for flag in flags])
        for case, said in cases
        for each, may_begin in _begun(algebra, case)
    ]
    made = algebra.one_of(state, "ct_state", told)
    if made.packets != algebra.space.nothing:
        yield _anything(algebra, how, _zoned(algebra, how, made))


def _begun(algebra: Algebra, state: State) -> list[tuple[State, bool]]:
    """Packets apart by whether a connection may begin with them."""
    tcp = algebra.narrowed(state, Test("nw_proto", TCP, 0xFF))
    second = algebra.narrowed(tcp, _SECOND)
    others = [algebra.less(tcp, _SECOND), algebra.less(state, Test("nw_proto", TCP, 0xFF))]
    return [(second, False), *((each, True) for each in _together(algebra, others))]


def _anything(algebra: Algebra, how: Track, state: State) -> State:
    for slot in ("ct_mark", "ct_label", *(target for _, target in _ORIGINAL)):
        state = algebra.put(state, slot, UNKNOWN)
    if how.nat is not None:
        state = algebra.put(state, BELIEVED, TRANSLATED)
        state = algebra.anything(state, _TRANSLATED)
        state = algebra.loosened(state, HOPS.wire, HOPS.full << HOPS.shift)
    return state
