"""Changes that happen whole or not: atomic ordered bundles, without what a switch refuses.

A message that the switch refuses is left out and reported, the others still happen:

    OPEN, ADD..., COMMIT, BARRIER ──done──> committed, all but what an error about an ADD named
              ^         │
              │         └─ errors (each names its message by xid): nothing happened
              └── the rest ───┘            no name, or too many in a row: the two halves apart

All of it goes out at once, if it is short: each time a switch hears something it looks at all that it has.
Sections are those of the OpenFlow 1.4.1 specification.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final, Protocol

from controller.errors import Rejected
from controller.southbound import messages as of
from controller.southbound.questions import Question
from controller.southbound.reconcile import Refusal, Step, bundled

log = logging.getLogger(__name__)

ATTEMPTS: Final = 8
"""How often a bundle is tried again without what was refused, before its halves are tried apart."""
WRITE_BYTES: Final = 64 << 10
"""After this much output every other task gets its turn: some 500 modifications, 2 ms."""


class Wire(Protocol):
    """What bundles need of a connection."""

    datapath_id: int

    def xids(self, count: int) -> int:
        """The first of so many numbers in a row, for the next messages."""

    def committed(self, steps: Sequence[Step]) -> None:
        """The switch applied a bundle of these."""

    def put(self, modifications: bytearray) -> None:
        """Send messages that modify something, together with what is sent before the next `await`."""

    async def push(self, modifications: bytearray) -> None:
        """The same, as fast as the switch takes them."""

    def post(self, what: str, kind: int, build: Callable[[int], bytes]) -> Question:
        """Send a request now; its answer is of type `kind`."""

    async def answer(self, question: Question) -> bytes:
        """The body of an answer. Raises Rejected when it is an error."""

    async def barrier(self) -> None:
        """Wait until the switch has done everything it was told."""


@dataclass(slots=True, eq=False)
class Offer:
    """One bundle: the messages in it, whose xids begin with `xid`, and what the switch said against which of them."""

    id: int
    steps: Sequence[Step]
    xid: int
    errors: dict[int, of.ErrorMessage] = field(default_factory=dict)
    committed: bool = False
    failure: Rejected | None = None


class Bundles:
    """The bundles of one connection, one after the other. Whose they are is told each time: who has them needs no one
    to free both from each other."""

    def __init__(self) -> None:
        self._ids = count(1)
        self._offer: Offer | None = None

    def take_error(self, xid: int, error: of.ErrorMessage) -> bool:
        """Note an error, if it is about a message in the bundle that is under way; whether it is."""
        if self._offer is None:
            return False
        at = xid - self._offer.xid & 0xFFFFFFFF
        if at >= len(self._offer.steps):
            return False
        self._offer.errors[at] = error
        return True

    async def settle(self, wire: Wire, steps: Sequence[Step], refusals: list[Refusal]) -> None:
        """Commit all of `steps` but those that the switch refuses: together if that can be, else in order."""
        attempts = ATTEMPTS
        while steps:
            offer = await self._propose(wire, steps)
            for at, error in offer.errors.items():
                refusals.append(_refusal(steps[at], error.type, error.code))
            if offer.errors:
                steps = [step for at, step in enumerate(steps) if at not in offer.errors]
            if offer.committed:
                wire.committed(steps)
                return
            attempts -= 1
            if offer.errors and attempts:
                continue
            if not offer.errors and len(steps) == 1 and offer.failure is not None:
                refusals.append(_refusal(steps[0], offer.failure.type, offer.failure.code))
                return
            half = (len(steps) + 1) // 2
            log.warning("bundle halved switch=%016x messages=%d", wire.datapath_id, len(steps))
            await self.settle(wire, steps[:half], refusals)
            await self.settle(wire, steps[half:], refusals)
            return

    async def _propose(self, wire: Wire, steps: Sequence[Step]) -> Offer:
        """Put `steps` into one bundle, and commit what the switch took of them (section 6.8).

        An error about a message in a bundle comes by itself, and does not fail the commit; one about a message that
        cannot be applied does.
        """
        offer = self._offer = Offer(next(self._ids), steps, wire.xids(len(steps)))
        try:
            opened = _control(wire, "a bundle", of.bundle_open, offer)
            await _fill(wire, offer)
            committed = _control(wire, "to commit a bundle", of.bundle_commit, offer)
            await wire.barrier()
            try:
                await wire.answer(committed)
                offer.committed = True
            except Rejected as failure:  # nothing of the bundle happened, and the bundle is gone
                offer.failure = failure
            await wire.answer(opened)
            return offer
        finally:
            self._offer = None


async def _fill(wire: Wire, offer: Offer) -> None:
    """Does not pause when there is little to send."""
    added: list[bytes] = []
    xid = offer.xid
    size = 0
    for step in offer.steps:
        message = bundled(step)
        added.append(message)
        size += len(message)
        if size >= WRITE_BYTES:
            await wire.push(of.bundle_adds(xid, offer.id, added))
            xid = xid + len(added) & 0xFFFFFFFF
            added, size = [], 0
    wire.put(of.bundle_adds(xid, offer.id, added))


def _control(wire: Wire, what: str, build: Callable[[int, int], bytes], offer: Offer) -> Question:
    return wire.post(what, of.OFPT_BUNDLE_CONTROL, lambda xid: build(xid, offer.id))


def _refusal(step: Step, type: int, code: int) -> Refusal:
    return Refusal(step.key, step.text, of.error_name(type, code), type, code)
