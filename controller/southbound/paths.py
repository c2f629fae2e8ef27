"""The way to every peer, found before a guest needs it.

In user space Open vSwitch drops the first packet to a tunnel endpoint whose MAC address it has yet to ask for, and
forgets one that was idle for 15 minutes (lib/tnl-neigh-cache.c). So wherever the flows and groups of a switch lead, a
frame is sent ahead once they stand: on `NO_SEGMENT`, which no network can have, so that its receiver drops it
(`Why.PATH`) and no guest hears it. The receiver learns the sender's MAC address from it, too. The kernel's datapath
keeps such packets instead of dropping them, and is not harmed.

    a plan is acknowledged ─> lead(where it leads) ─> now, four times in 5 s, then every 4 minutes

A `Rate`, which all switches share, bounds it. A path is called on as long as any hypervisor has the address,
though the last flow that led there may be gone: that costs a frame in 4 minutes, until the switch connects anew.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple, NoReturn

from controller.flows.action import Action, Output
from controller.flows.fields import TUN_DST, TUN_ID, TUN_IPV6_DST, tunnel_to
from controller.flows.flow import Flow, Group
from controller.flows.match import Set
from controller.flows.pipeline import ENCAPS, NO_SEGMENT, TUNNEL_PORTS
from controller.model.records import Address, Chassis, Link
from controller.model.store import Rows

AGAIN_S: Final = (0.1, 0.3, 1.0, 3.0)
"""So long after each of the first calls another: an end may be up later than its address is known."""
REFRESH_S: Final = 240.0
"""Then so often: before anybody forgets."""
FRAME: Final = bytes.fromhex("020000000001 020000000002 88b5") + b"Weft: is there a way?".ljust(46, b"\0")
"""From and to nobody, of a local experimental type (IEEE 802, clause 9.2.4): whoever gets it by mistake ignores it."""


@dataclass(slots=True)
class Rate:
    """So many a second in the long run, `burst` at once; whoever asks for one more waits behind all who did before."""

    per_second: float
    burst: float
    left: float = field(init=False)
    at: float = 0.0

    def __post_init__(self) -> None:
        self.left = self.burst

    def reserve(self, now: float) -> float:
        """Take one, which may be had so many seconds from now."""
        self.left = min(self.burst, self.left + (now - self.at) * self.per_second) - 1
        self.at = now
        return max(0.0, -self.left / self.per_second)


class Way(Enum):
    """What became of a call."""

    CALLED = "called"
    NOT_YET = "no tunnel port that both ends have"
    GONE = "no hypervisor has the address"


def leading(items: Iterable[Flow | Group]) -> Iterator[Address]:
    """The tunnel endpoints that these send to, some more than once."""
    for item in items:
        if isinstance(item, Flow):
            if any(kind is TUN_DST or kind is TUN_IPV6_DST for kind in item.form.kinds):
                yield from _targets(item.actions)
        else:
            for bucket in item.buckets:
                yield from _targets(bucket.actions)


def _targets(actions: tuple[Action, ...]) -> Iterator[Address]:
    for action in actions:
        if isinstance(action, Set) and action.field in (TUN_DST, TUN_IPV6_DST):
            yield Address(action.field.show(action.value))


def way(rows: Rows, chassis: str, vtep: Address) -> tuple[Action, ...] | Way:
    """What takes a frame from a hypervisor to a tunnel endpoint, by the first encapsulation that both ends have."""
    here, there = rows.get(Chassis, chassis), rows.where(Chassis, encap_ip=vtep)
    if here is None or not there:
        return Way.GONE
    for encap in ENCAPS:
        link = rows.get(Link, f"{chassis}/{TUNNEL_PORTS[encap]}")
        if link and encap in here.encap_types and any(encap in peer.encap_types for peer in there):
            return (TUN_ID.set(NO_SEGMENT), tunnel_to(vtep), Output(link.ofport))
    return Way.NOT_YET


class Paths:
    """The ways that one connected switch uses; `call` sends a frame ahead on one of them."""

    def __init__(self, call: Callable[[Address], Way], rate: Rate, clock: Callable[[], float]) -> None:
        self._call, self._rate, self._clock = call, rate, clock
        self._known: set[Address] = set()
        self._waiting: set[Address] = set()
        self._due: list[_Due] = []
        self._more = asyncio.Event()

    def lead(self, vteps: Iterable[Address]) -> None:
        """Flows lead there, too: call on those that are new, and on those that could not be called on yet."""
        fresh = {*vteps} - self._known | self._waiting
        self._known |= fresh
        self._waiting.clear()
        for vtep in sorted(fresh):
            heapq.heappush(self._due, _Due(self._clock(), vtep))
        self.call_due()
        self._more.set()

    def call_due(self) -> float | None:
        """Call on all whose time has come; how many seconds from now that of the next will have, if there is one."""
        now = self._clock()
        while self._due and self._due[0].at <= now:
            due = heapq.heappop(self._due)
            if not due.reserved and (wait_s := self._rate.reserve(now)):
                heapq.heappush(self._due, due._replace(at=now + wait_s, reserved=True))
            else:
                self._take(due.vtep, due.turn, now)
        return self._due[0].at - now if self._due else None

    def _take(self, vtep: Address, turn: int, now: float) -> None:
        match self._call(vtep):
            case Way.CALLED:
                after_s = AGAIN_S[turn] if turn < len(AGAIN_S) else REFRESH_S
                heapq.heappush(self._due, _Due(now + after_s, vtep, turn + 1))
            case Way.NOT_YET:
                self._waiting.add(vtep)
            case Way.GONE:
                self._known.discard(vtep)

    async def run(self) -> NoReturn:
        """Call whenever it is time to, until cancelled."""
        while True:
            self._more.clear()
            try:
                async with asyncio.timeout(self.call_due()):
                    await self._more.wait()
            except TimeoutError:
                pass


class _Due(NamedTuple):
    """When to call on whom, and how many calls there were before; `reserved`: its part of the rate is taken already."""

    at: float
    vtep: Address
    turn: int = 0
    reserved: bool = False
