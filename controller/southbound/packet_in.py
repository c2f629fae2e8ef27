"""Packets that switches hand over: each goes to the apps that answer for its reason, and the answers go back.

Answers are pure functions beside the apps. What flows of others hand over is none of ours. What comes faster than
`PER_SECOND` from one switch, or `PORT_PER_SECOND` from one of its ports, is let go: Open vSwitch sends no more than its
controller's `controller_rate_limit`, shared out among its ports, but that is more than is answered here, and one port's
flood must not use up what others are answered: who sends much leaves the last `RESERVE` of a switch's share to others.
What a guest tells (`Why.TOLD`) is counted apart from what it wants.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from controller import measures
from controller.flows.app import Answer, App
from controller.flows.match import Field
from controller.flows.pipeline import NET, NET_IN, OWNER, RTR, SRC, WHY, Why
from controller.flows.punted import Announced, Heard, Outgoing, Punted, Sought
from controller.model.view import View
from controller.southbound.messages import PacketIn

log = logging.getLogger(__name__)

PER_SECOND = 200.0
BURST = 100.0
PORT_PER_SECOND = 20.0
PORT_BURST = 20.0
RESERVE, QUIET = BURST / 2, PORT_BURST * 3 / 4
"""What of a switch's burst is for ports that have so much left of their own."""


class Found(Protocol):
    """Who is told what guests seek and say (`controller.southbound.neighbours`)."""

    def seek(self, chassis: str, port: int, sought: Sought, otherwise: Sequence[Outgoing]) -> Sequence[Outgoing]:
        """Have a packet of a port wait for an address. What it answers is to be sent at once."""

    def hear(self, heard: Heard) -> None:
        """A guest said that it holds an address, and may."""

    def announce(self, announced: Announced) -> None:
        """A guest said where an address is that the model gives it."""


@dataclass(slots=True)
class Bucket:
    """How many packets are answered: `per_second` in the long run, `burst` at once."""

    per_second: float = PER_SECOND
    burst: float = BURST
    left: float = field(init=False)
    at: float = 0.0
    dropped: int = 0
    dropped_at: float = float("-inf")

    def __post_init__(self) -> None:
        self.left = self.burst

    def take(self, now: float, leave: float = 0.0) -> bool:
        """Whether one more is answered, with so much left to others."""
        self.left = min(self.burst, self.left + (now - self.at) * self.per_second)
        self.at = now
        if self.left < 1 + leave:
            self.dropped += 1
            self.dropped_at = now
            return False
        self.left -= 1
        return True


@dataclass(slots=True)
class Tally:
    """How much there was of something."""

    packets: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Answerer:
    """Answers what one switch hands over; `shares` are parts of that, by port and whether it told something.

    `handed` counts what is handed over, by why.
    """

    chassis: str
    answers: Mapping[Why, Sequence[Answer]]
    view: Callable[[], View]
    clock: Callable[[], float]
    found: Found
    bucket: Bucket = field(default_factory=Bucket)
    shares: dict[tuple[int, bool], Bucket] = field(default_factory=dict)
    handed: dict[Why, Tally] = field(default_factory=dict)

    def __call__(self, packet: PacketIn) -> Iterable[Outgoing]:
        """What to send in answer; nothing when nobody answers for it, or there were too many."""
        punted = _punted(packet, self.chassis)
        answers = self.answers.get(punted.why, ()) if punted else ()
        if punted is None or not answers:
            return ()
        apps = ",".join(dict.fromkeys(answer.__module__.rpartition(".")[2] for answer in answers))
        measures.HANDED_OVER.labels(apps, punted.why.name).inc()
        tally = self.handed.setdefault(punted.why, Tally())
        tally.packets, tally.bytes = tally.packets + 1, tally.bytes + packet.length
        if not self._in_turn(packet.in_port, punted.why is Why.TOLD):
            measures.UNANSWERED.labels(apps, punted.why.name).inc()
            return ()
        try:
            return self._outgoing(punted, answers)
        except Exception:  # a packet's own doing: the switch and all others go on
            log.exception("answer failed why=%s frame=%s", punted.why.name, punted.frame[:64].hex())
            return ()

    def _outgoing(self, punted: Punted, answers: Sequence[Answer]) -> Sequence[Outgoing]:
        """What is sent at once: nothing while something is sought."""
        outgoing: list[Outgoing] = []
        sought: list[Sought] = []
        view = self.view()
        for outcome in (outcome for answer in answers for outcome in answer(view, punted)):
            match outcome:
                case Sought():
                    sought.append(outcome)
                case Heard():
                    self.found.hear(outcome)
                case Announced():
                    self.found.announce(outcome)
                case _:
                    outgoing.append(outcome)
        return self.found.seek(self.chassis, punted.in_port, sought[0], outgoing) if sought else outgoing

    def _in_turn(self, port: int, tells: bool) -> bool:
        now = self.clock()
        share = self.shares.get((port, tells))
        if share is None:
            share = self.shares[port, tells] = Bucket(PORT_PER_SECOND, PORT_BURST)
        return share.take(now) and self.bucket.take(now, 0 if share.left >= QUIET else RESERVE)

    def keep(self, ports: Collection[int]) -> None:
        """Forget the shares of all other ports: an OpenFlow port has a number of its own each time that it comes."""
        for key in [key for key in self.shares if key[0] not in ports]:
            del self.shares[key]

    def overrun(self, port: int, since: float) -> bool:
        """Was anything of a port let go since then?"""
        found = (self.shares.get((port, tells)) for tells in (True, False))
        return any(share is not None and share.dropped_at >= since for share in found)


def answers_of(apps: Iterable[App]) -> Mapping[Why, Sequence[Answer]]:
    """Who answers for what, in the order of the apps."""
    found: dict[Why, list[Answer]] = {}
    for app in apps:
        for why, answer in app.answers.items():
            found.setdefault(why, []).append(answer)
    return found


def _punted(packet: PacketIn, chassis: str) -> Punted | None:
    why = _register(packet, WHY)
    if packet.cookie >> 56 != OWNER or why not in _REASONS:
        return None
    return Punted(
        why=Why(why),
        in_port=packet.in_port,
        source=_register(packet, SRC),
        router=_register(packet, RTR),
        net_in=_register(packet, NET_IN),
        net=_register(packet, NET),
        frame=packet.frame,
        registers=packet.registers,
        chassis=chassis,
    )


_REASONS = frozenset(map(int, Why))


def _register(packet: PacketIn, field: Field[int]) -> int:
    return packet.registers.get(int(field.wire.removeprefix("reg")), 0)
