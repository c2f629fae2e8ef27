"""Packets that switches hand over: each goes to the app that answers for its reason, and the answers go back.

Answers are pure functions beside the apps. What flows of others hand over is none of ours. What comes faster than
`PER_SECOND` from one switch is let go: Open vSwitch itself sends no more than its controller's `controller_rate_limit`,
shared out fairly among its ports.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

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


@dataclass(slots=True)
class Bucket:
    """How many packets of one switch are answered: `PER_SECOND` in the long run, `BURST` at once."""

    left: float = BURST
    at: float = 0.0
    dropped: int = 0

    def take(self, now: float) -> bool:
        """Whether one more is answered."""
        self.left = min(BURST, self.left + (now - self.at) * PER_SECOND)
        self.at = now
        if self.left < 1:
            self.dropped += 1
            return False
        self.left -= 1
        return True


@dataclass(slots=True)
class Answerer:
    """Answers what one switch hands over."""

    answers: Mapping[Why, Answer]
    rows: Callable[[], Rows]
    clock: Callable[[], float]
    bucket: Bucket = field(default_factory=Bucket)

    def __call__(self, packet: PacketIn) -> Iterable[Reply]:
        """What to send in answer; nothing when nobody answers for it, or there were too many."""
        punted = _punted(packet)
        answer = self.answers.get(punted.why) if punted else None
        if punted is None or answer is None or not self.bucket.take(self.clock()):
            return ()
        try:
            return [*answer(View(self.rows()), punted)]
        except Exception:  # a packet's own doing: the switch and all others go on
            log.exception("answer failed why=%s frame=%s", punted.why.name, punted.frame[:64].hex())
            return ()


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
