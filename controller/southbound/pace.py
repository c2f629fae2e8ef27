"""How often a switch is healed: at once, and ever later while somebody keeps undoing it.

Who does is named to an operator.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

HEALING_S = (0.2, 3.0)
"""How far apart two healings of a switch are: at first, and when somebody keeps undoing them; 5 s are promised."""
CALM_S = 6.0
"""After so long without one, the next healing is the first again."""
QUARREL = 5
"""So many healings in a row are no accident: an operator is told."""


@dataclass(slots=True, eq=False)
class Pace:
    """How often a switch was healed in a row, so that who keeps tampering with it does not keep us busy."""

    in_a_row: int = 0
    last: float = float("-inf")
    waiting: bool = False

    async def wait(self) -> None:
        """Until the next healing may be."""
        self.waiting = (wait_s := self.wait_s()) > 0
        try:
            await asyncio.sleep(wait_s)
        finally:
            self.waiting = False

    def wait_s(self) -> float:
        """How long the next healing has to wait."""
        first, longest = HEALING_S
        apart = min(first * 2.0 ** min(self.in_a_row - 1, 10), longest)
        return self.last + apart - time.monotonic() if self.in_a_row else 0.0

    def healed(self) -> None:
        """Count a healing."""
        self.in_a_row = 1 if self.calm else self.in_a_row + 1
        self.last = time.monotonic()

    @property
    def calm(self) -> bool:
        """Was there none lately?"""
        return time.monotonic() > self.last + CALM_S

    @property
    def problem(self) -> str:
        """What an operator should know, or ""."""
        if self.calm or self.in_a_row < QUARREL:
            return "Somebody else changed its flows again: they will be healed." if self.waiting else ""
        return f"Somebody else keeps changing its flows: they were healed {self.in_a_row} times in a row."
