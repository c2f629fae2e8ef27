"""What conntrack would say of a packet: a small model of it, for tracing.

A connection is new until it is committed and answered; from then on it is established, both ways. It is remembered for
ever. Without `sctp_ports`, all SCTP between two addresses is one connection. One that is translated is found by its
answers as they come: from whom, and to whom, it seems to be. Limits: TCP has no states, so whatever comes may begin a
connection; a packet's payload is not modelled, so nothing is an error about another connection (`+rel`); a fragment but
the first is of any connection that agrees in all but the ports; echo requests have no identifiers, so that translation
never fails for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from controller.flows.action import Move, Translate
from controller.flows.fields import (
    CT_STATE,
    CT_TP_DST,
    CT_TP_SRC,
    ETH_TYPE,
    FRAGMENT,
    ICMP4,
    ICMP6,
    IPV4_FRAG,
    ORIGINAL4,
    ORIGINAL6,
    PACKET4,
    PACKET6,
    SCTP,
    TCP,
    UDP,
    Headers,
    ct_state,
    ipv4_number,
)
from controller.flows.match import Set
from controller.flows.packet import CONNTRACK, Packet
from controller.flows.pipeline import CT_GEN, CT_POLICY


def _state(words: str) -> int:
    (test,) = ct_state(words).tests
    return test.value


NEW: Final = _state("+trk+new")
ESTABLISHED: Final = _state("+trk+est")
ANSWER: Final = _state("+trk+est+rpl")
SNAT, DNAT = _state("+snat"), _state("+dnat")
INVALID: Final = _state("+trk+inv")

ANSWERS: Final[Mapping[int, Mapping[int, int]]] = {ICMP4: {8: 0, 13: 14, 15: 16}, ICMP6: {128: 129}}
"""By protocol: the ICMP types that begin something, and those that answer. Others are invalid by themselves
(Open vSwitch, conntrack.c, extract_l4_icmp and extract_l4_icmp6)."""

_FAMILIES: Final[Mapping[int, tuple[Headers, Headers]]] = {0x0800: (PACKET4, ORIGINAL4), 0x86DD: (PACKET6, ORIGINAL6)}


class Ends(NamedTuple):
    """What tells a connection from others, in one direction; of ICMP the ports are type and code.

    `later` are fragments but the first, which have none.
    """

    family: int
    source: int
    destination: int
    proto: int
    low: int
    high: int
    later: bool

    def back(self) -> Ends:
        """The other direction."""
        low, high = self.high, self.low
        if self.proto in ANSWERS:
            asked = {answer: type for type, answer in ANSWERS[self.proto].items()}
            low, high = asked.get(self.low, -1), self.high
        return self._replace(source=self.destination, destination=self.source, low=low, high=high)

    def agrees(self, other: Ends) -> bool:
        """Equal but for ports?"""
        return self[:4] == other[:4]

    @property
    def may_begin(self) -> bool:
        """May a connection begin with this?"""
        return self.later or self.proto not in ANSWERS or self.low in ANSWERS[self.proto]


def ends(packet: Packet) -> Ends | None:
    """The ends of a packet; None of what conntrack cannot follow."""
    family = packet[ETH_TYPE]
    if family not in _FAMILIES:
        return None
    headers, _ = _FAMILIES[family]
    proto, later = packet[headers.proto], packet[IPV4_FRAG] == FRAGMENT
    low, high = (0 if later or proto not in of else packet[of[proto]] for of in (headers.low, headers.high))
    if not later and proto in ANSWERS and not any(low in pair for pair in ANSWERS[proto].items()):
        return None
    return Ends(family, packet[headers.source], packet[headers.destination], proto, low, high, later)


@dataclass(frozen=True, slots=True)
class Connection:
    """One that was committed: how it began, how the other side sees it, what it is remembered with, and whether anybody
    answered."""

    began: Ends
    seen: Ends
    mark: int = 0
    label: int = 0
    answered: bool = False


class Connections:
    """The connections of one hypervisor, by zone.

    A kernel's conntrack reads `sctp_ports`, that of user space does not.
    """

    def __init__(self, *, sctp_ports: bool = True) -> None:
        self._zones: dict[int, dict[Ends, Connection]] = {}
        self._seen: dict[tuple[int, Ends], Ends] = {}
        self._sctp_ports = sctp_ports

    def remember(self, zone: int, known: Connection) -> None:
        """Know a connection, as if it had been committed here."""
        self._keep(zone, known)

    def look(self, zone: int, packet: Packet) -> Packet:
        """The packet with what conntrack says of it; who sees an answer knows that there was one."""
        plain = packet.without(CONNTRACK).put_whole("ct_zone", zone)
        at = self._ends(packet)
        if at is None:
            return plain.put(CT_STATE, INVALID)
        known = self._find(zone, at)
        if known is None:
            return _told(plain, NEW, at) if at.may_begin else plain.put(CT_STATE, INVALID)
        answer = known.seen.back().agrees(at) if at.later else known.began != at
        if answer and not known.answered:
            known = self._zones[zone][known.began] = replace(known, answered=True)
        state = ANSWER if answer else ESTABLISHED if known.answered else NEW
        began = known.began._replace(low=0, high=0) if at.later else known.began
        return _remembered(_told(plain, state, began), known)

    def commit(self, zone: int, packet: Packet, writes: Iterable[Set | Move]) -> Packet:
        """Remember the packet's connection, with what is written to its mark and label; the packet as it comes back.

        A later fragment comes back with its datagram, of whose connection all that is written then is.
        """
        at = self._ends(packet)
        known = at and self._find(zone, at)
        if at is None or (known is None and (at.later or not at.may_begin)):
            told = self.look(zone, packet)
            return told.written(writes) if at is not None and at.later else told
        known = known or Connection(at, at)
        made = _remembered(packet, known).written(writes)
        self._keep(zone, replace(known, mark=made.whole(CT_GEN.wire), label=made.whole(CT_POLICY.wire)))
        return self.look(zone, packet)

    def translate(self, zone: int, packet: Packet, how: Translate) -> Packet:
        """The packet as it is behind conntrack that translates: its connection's addresses, and what is said of it.

        A connection that finds no port of its own is not translated, nor remembered.
        """
        at = self._ends(packet)
        if at is None:
            return self.look(zone, packet)
        known = self._find(zone, at)
        if known is None and how.begins and at.may_begin and not at.later:
            seen = self._told_apart(zone, at, how)
            if seen is not None:
                self._keep(zone, Connection(at, seen))
                self.commit(zone, packet, how.writes)
                known = self._find(zone, at)
        told = self.look(zone, packet)
        return told if known is None else _translated(told, at, known, ports=self._reads_ports(at.proto))

    def _told_apart(self, zone: int, began: Ends, how: Translate) -> Ends | None:
        """A connection as the other side is to see it: by ports that no other one has, its own if they are free."""
        made = began
        if how.source is not None:
            made = made._replace(source=ipv4_number(how.source))
        if how.destination is not None:
            made = made._replace(destination=ipv4_number(how.destination))
        if began.proto in ANSWERS:
            return made
        if not self._reads_ports(began.proto):
            return None if (zone, made) in self._seen else made
        own = began.low if how.source is not None else began.high
        first, last = how.ports or ((1024, 0xFFFF) if how.source is not None else (own, own))
        for port in (*([own] if first <= own <= last else ()), *range(first, last + 1)):
            tried = made._replace(low=port) if how.source is not None else made._replace(high=port)
            if (zone, tried) not in self._seen:
                return tried
        return None

    def _keep(self, zone: int, known: Connection) -> None:
        self._zones.setdefault(zone, {})[known.began] = known
        self._seen[zone, known.seen] = known.began

    def _reads_ports(self, proto: int) -> bool:
        return proto in (TCP, UDP) or (proto == SCTP and self._sctp_ports)

    def _ends(self, packet: Packet) -> Ends | None:
        at = ends(packet)
        return at._replace(low=0, high=0) if at and at.proto == SCTP and not self._sctp_ports else at

    def _find(self, zone: int, at: Ends) -> Connection | None:
        known = self._zones.get(zone, {})
        if at.later:
            same = (each for each in known.values() if each.began.agrees(at) or each.seen.back().agrees(at))
            return next(same, None)
        return known.get(at) or known.get(self._seen.get((zone, at.back()), at))


def _told(packet: Packet, state: int, began: Ends) -> Packet:
    _, original = _FAMILIES[began.family]
    told = packet.put(CT_STATE, state).put(original.source, began.source).put(original.destination, began.destination)
    return told.put(original.proto, began.proto).put(CT_TP_SRC, began.low).put(CT_TP_DST, began.high)


def _translated(packet: Packet, at: Ends, known: Connection, *, ports: bool) -> Packet:
    """Both ways: an answer is from whom the connection was begun to, and to who began it."""
    answer = bool(packet[CT_STATE] & ANSWER & ~ESTABLISHED)
    to = known.began.back() if answer else known.seen
    headers, _ = _FAMILIES[at.family]
    told = packet
    for mine, wanted, field, flag in (
        (at.source, to.source, headers.source, SNAT), (at.destination, to.destination, headers.destination, DNAT),
    ):  # fmt: skip
        if mine != wanted:
            told = told.put(field, wanted).put(CT_STATE, told[CT_STATE] | flag)
    if at.later or not ports:
        return told
    return told.put(headers.low[at.proto], to.low).put(headers.high[at.proto], to.high)


def _remembered(packet: Packet, known: Connection) -> Packet:
    return packet.put_whole(CT_GEN.wire, known.mark).put_whole(CT_POLICY.wire, known.label)
