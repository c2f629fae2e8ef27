"""One marked packet, sent as if it had come by a port, and where it is found: the southbound of `weft trace --live`.

Wherever a packet may end (`ENDS`) on the hypervisors on its way, a flow of nobody's catches what bears the mark and one
of its tuples, and hands it to us instead of sending it on: so a guest gets nothing of it. A guest's own packet, if
so marked, is sent on. The flows go after at most `LIFE_S` by themselves, and no dump tells of them
(`reconcile.passing`).

Limit: Open vSwitch acknowledges flows before its cached decisions follow; `SETTLE_S` is waited for that.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from struct import Struct
from typing import Final, Protocol

from controller.errors import SouthboundError
from controller.flows.action import Action, Punt, Resubmit
from controller.flows.match import Match
from controller.flows.packet import Packet
from controller.flows.pipeline import CLASSIFY, DELIVER, DROP, PHYSICAL, PROBE_COOKIE, TRAP
from controller.flows.probe import DSCP, MARK, MARK_BYTES
from controller.flows.punted import Outgoing
from controller.southbound.actions import encode_actions
from controller.southbound.messages import OFPT_FLOW_MOD, PacketIn, message
from controller.southbound.openflow import flow_delete
from controller.southbound.oxm import encode_match

log = logging.getLogger(__name__)

ENDS: Final = (DELIVER, PHYSICAL, TRAP, DROP)
"""Where a packet may end, or leave the cloud."""
_EVERYWHERE: Final = tuple(table.number for table in ENDS)
LIFE_S: Final = 10
SETTLE_S: Final = 0.6
PATIENCE_S: Final = 2.0
GRACE_S: Final = 0.2
"""For so long after its first end another one of a copy is waited for."""
_PRIORITY: Final = 0xFFFF
_WHOLE: Final = 0xFFFF

_FLOW_ADD: Final = Struct("!QQBBHHHIIIHH")
_APPLY: Final = Struct("!HH4x")
_OFPIT_APPLY_ACTIONS: Final = 4
_OXM_IP_DSCP: Final = (0x80001001).to_bytes(4) + bytes((DSCP,))
_NO_BUFFER = _ANY = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A frame with a mark in it, sent as if it had come by a port of a chassis, and how it is found.

    It is caught `on` these chassis, by any of `catches`, in all of `ENDS`, or of a chassis in those tables that `ends`
    says. It is waited for until it was found `expected` times, or for so long.
    """

    chassis: str
    in_port: int
    frame: bytes
    on: Collection[str]
    catches: Sequence[Match]
    expected: int = 1
    ends: Mapping[str, Collection[int]] | None = None
    patience_s: float = PATIENCE_S

    def tables(self, chassis: str) -> Collection[int]:
        """Where it is caught."""
        return _EVERYWHERE if self.ends is None else self.ends.get(chassis, ())


@dataclass(frozen=True, slots=True)
class Caught:
    """Where the probe was found: the registers and the frame as they were there, and so many seconds after it was
    sent."""

    chassis: str
    table: int
    registers: Packet
    frame: bytes
    after_s: float


class Prober(Protocol):
    """A switch, as far as a probe goes."""

    def xid(self) -> int: ...
    def treat(self, actions: Iterable[Action], frame: bytes, in_port: int) -> None: ...
    async def push(self, modifications: bytearray) -> None: ...
    async def barrier(self) -> None: ...


Restored = Callable[[str, int, Packet, bytes], Sequence[Outgoing]]
"""What to do with a packet of somebody else that was caught: by chassis, table, registers, frame."""


@dataclass(slots=True)
class Probes:
    """One probe at a time."""

    restored: Restored
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)
    _mark: bytes = b""
    _sent_at: float = 0.0
    _caught: list[Caught] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, switches: Mapping[str, Prober], probe: Probe) -> list[Caught]:
        """Where a frame ends on any of these switches, by chassis.

        Returns a little after it was found as often as expected, or when it was not. Raises Disconnected.
        """
        async with self._one:
            self._mark, self._caught = _mark_in(probe.frame), []
            matches = [_caught_by(match) for match in probe.catches]
            bodies = {name: [(table, match) for table in probe.tables(name) for match in matches] for name in switches}
            try:
                for name, switch in switches.items():
                    adds = (add(switch.xid(), table, match) for table, match in bodies[name])
                    await switch.push(bytearray(b"".join(adds)))
                await asyncio.gather(*(switch.barrier() for switch in switches.values()))
                await asyncio.sleep(SETTLE_S)
                self._sent_at = time.monotonic()
                switches[probe.chassis].treat((Resubmit(CLASSIFY),), probe.frame, probe.in_port)
                await self._found(max(1, probe.expected), probe.patience_s)
            finally:
                self._mark = b""
                for name, switch in switches.items():
                    gone = (flow_delete(switch.xid(), table, _PRIORITY, match) for table, match in bodies[name])
                    try:
                        await switch.push(bytearray(b"".join(gone)))
                    except SouthboundError as error:  # they go by themselves
                        log.info("probe left flows behind chassis=%s for_s=%d: %s", name, LIFE_S, error)
            return self._caught

    async def _found(self, expected: int, patience_s: float) -> None:
        try:
            async with asyncio.timeout(patience_s):
                while len(self._caught) < expected:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return
        await asyncio.sleep(GRACE_S)

    def take(self, chassis: str, packet: PacketIn) -> Sequence[Outgoing]:
        """What to do with a packet that was caught."""
        table = packet.cookie & 0xFF
        registers = Packet({f"reg{number}": value for number, value in packet.registers.items()})
        mark = _mark_in(packet.frame)
        if not mark:
            return self.restored(chassis, table, registers, packet.frame)
        if mark == self._mark:
            self._caught.append(Caught(chassis, table, registers, packet.frame, time.monotonic() - self._sent_at))
            self._news.set()
        return ()


def caught(packet: PacketIn) -> bool:
    """Was it caught by a flow of ours for probes?"""
    return packet.cookie & ~0xFF == PROBE_COOKIE


def _mark_in(frame: bytes) -> bytes:
    """The mark of a frame, b"" if it has none."""
    at = frame.find(MARK)
    return frame[at : at + MARK_BYTES] if at >= 0 else b""


def _caught_by(match: Match) -> bytes:
    """A match as bytes, with the mark."""
    bare = encode_match(match)
    length = int.from_bytes(bare[2:4])
    whole = bare[:2] + (length + len(_OXM_IP_DSCP)).to_bytes(2) + bare[4:length] + _OXM_IP_DSCP
    return whole + bytes(-len(whole) % 8)


def add(xid: int, table: int, match: bytes) -> bytes:
    """The message that catches what matches in a table, for a while (OpenFlow 1.4.1 section 7.3.4.2)."""
    actions = encode_actions((Punt(_WHOLE),))
    head = _FLOW_ADD.pack(PROBE_COOKIE | table, 0, table, 0, 0, LIFE_S, _PRIORITY, _NO_BUFFER, _ANY, _ANY, 0, 0)
    return message(OFPT_FLOW_MOD, xid, head + match + _APPLY.pack(_OFPIT_APPLY_ACTIONS, 8 + len(actions)) + actions)
