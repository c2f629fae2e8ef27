"""Packets that switches hand over: each goes to the app that answers for its reason, and the answers go back.

Answers are pure functions beside the apps. What flows of others hand over is none of ours. What comes faster than
`PER_SECOND` from one switch, or `PORT_PER_SECOND` from one of its ports, is let go: Open vSwitch sends no more than its
controller's `controller_rate_limit`, shared out among its ports, but that is more than is answered here, and one port's
flood must not use up what others are answered.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from controller import measures
from controller.flows.app import Answer, App
from controller.flows.flow import Field
from controller.flows.pipeline import NET, NET_IN, OWNER, RTR, SRC, WHY, Why
from controller.flows.punted import Punted, Reply
from controller.model.store import Rows
from controller.model.view import View
from controller.southbound.messages import PacketIn

log = logging.getLogger(__name__)

PER_SECOND = 200.0
BURST = 100.0
PORT_PER_SECOND = 20.0
PORT_BURST = 20.0


@dataclass(slots=True)
class Bucket:
    """How many packets are answered: `per_second` in the long run, `burst` at once."""

    per_second: float = PER_SECOND
    burst: float = BURST
    left: float = field(init=False)
    at: float = 0.0
    dropped: int = 0

    def __post_init__(self) -> None:
        self.left = self.burst

    def take(self, now: float) -> bool:
        """Whether one more is answered."""
        self.left = min(self.burst, self.left + (now - self.at) * self.per_second)
        self.at = now
        if self.left < 1:
            self.dropped += 1
            return False
        self.left -= 1
        return True


@dataclass(slots=True)
class Answerer:
    """Answers what one switch hands over; `shares` are its ports' parts of that."""

    answers: Mapping[Why, Answer]
    rows: Callable[[], Rows]
    clock: Callable[[], float]
    bucket: Bucket = field(default_factory=Bucket)
    shares: dict[int, Bucket] = field(default_factory=dict)

    def __call__(self, packet: PacketIn) -> Iterable[Reply]:
        """What to send in answer; nothing when nobody answers for it, or there were too many."""
        punted = _punted(packet)
        answer = self.answers.get(punted.why) if punted else None
        if punted is None or answer is None:
            return ()
        measures.HANDED_OVER.labels(punted.why.name).inc()
        if not self._in_turn(packet.in_port):
            measures.UNANSWERED.labels(punted.why.name).inc()
            return ()
        try:
            return [*answer(View(self.rows()), punted)]
        except Exception:  # a packet's own doing: the switch and all others go on
            log.exception("answer failed why=%s frame=%s", punted.why.name, punted.frame[:64].hex())
            return ()

    def _in_turn(self, port: int) -> bool:
        now = self.clock()
        share = self.shares.get(port)
        if share is None:
            share = self.shares[port] = Bucket(PORT_PER_SECOND, PORT_BURST)
        return share.take(now) and self.bucket.take(now)


def answers_of(apps: Iterable[App]) -> Mapping[Why, Answer]:
    """Who answers for what."""
    return {why: answer for app in apps for why, answer in app.answers.items()}


def _punted(packet: PacketIn) -> Punted | None:
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
    )


_REASONS = frozenset(map(int, Why))


def _register(packet: PacketIn, field: Field[int]) -> int:
    return packet.registers.get(int(field.wire.removeprefix("reg")), 0)
