"""What a switch says against messages that nobody waits for: the first of it line by line, then a count a second.

A switch that answers every message with an error, or is made to by whoever has it, neither fills a disk nor hides what
others have to say. How many there were, and the newest, is kept for `/v1/chassis`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final, NoReturn

from controller.southbound import messages as of

log = logging.getLogger(__name__)

LINES: Final = 10
"""So many in a row are told one by one; after a second without any, again."""
GATHER_S: Final = 1.0


class Complaints:
    """The unexpected errors of one connection, of a switch whose `datapath_id` is 0 until it is known.

    `count` is how many there were, `newest` the newest by name, "" if there was none.
    """

    def __init__(self) -> None:
        self.datapath_id = 0
        self.count = 0
        self.newest = ""
        self._heard = asyncio.Event()
        self._left = LINES
        self._untold = 0

    def take(self, xid: int, error: of.ErrorMessage) -> None:
        """Count one, and tell it if it is among the first."""
        self.count += 1
        self.newest = of.error_name(error.type, error.code)
        self._heard.set()
        if self._left:
            self._left -= 1
            log.error("error unexpected switch=%016x xid=%d error=%s", self.datapath_id, xid, self.newest)
        else:
            self._untold += 1

    def tell(self) -> bool:
        """Tell how many were not told since the last time; whether there were any."""
        untold, self._untold = self._untold, 0
        if untold:
            log.error("errors unexpected switch=%016x more=%d newest=%s", self.datapath_id, untold, self.newest)
        return untold > 0

    async def gather(self) -> NoReturn:
        """Tell, once a second, what was not told one by one."""
        while True:
            await self._heard.wait()
            self._heard.clear()
            await asyncio.sleep(GATHER_S)
            if not self.tell() and not self._heard.is_set():
                self._left = LINES
