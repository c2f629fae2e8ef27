"""What is asked of a switch, and waits for its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from controller.southbound.patience import Deadline

Part: TypeAlias = Callable[[bytes, bool], None]
"""Takes the payload of one part of a multipart reply, and whether more follow."""


@dataclass(slots=True, eq=False)
class Question:
    """What an xid waits for: a message of type `kind`, or all parts of a multipart reply."""

    xid: int
    what: str
    kind: int
    part: Part | None
    answer: asyncio.Future[bytes]
    deadline: Deadline | None = None
    taken_bytes: int = 0

    def resolve(self, body: bytes) -> None:
        """It is answered, unless nobody waits for it any more."""
        if not self.answer.done():
            self.answer.set_result(body)

    def fail(self, error: Exception) -> None:
        """It never will be."""
        if not self.answer.done():
            self.answer.set_exception(error)
            self.answer.exception()  # or asyncio complains when nobody is left to ask
