"""A member of the fleet: what is known of one chassis, its database and its switch, and how far it has got."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from controller.errors import Disconnected
from controller.flows.flow import Key
from controller.flows.pipeline import Why
from controller.model.bindings import Claim
from controller.model.store import MOST_AT_ONCE
from controller.southbound.complaints import Complaints
from controller.southbound.dumps import Dump
from controller.southbound.openflow import EncodedFlow
from controller.southbound.pace import Pace
from controller.southbound.packet_in import Answerer, Tally
from controller.southbound.paths import Paths
from controller.southbound.reconcile import Pending, Refusal, WireKey
from controller.southbound.switch import Switch

REQUESTS = 100
"""How many request ids the log line of a bundle names at the most."""
OWED = 10_000
"""For so many spans of revisions it is told when a switch had them at last, if it did not for long."""


@dataclass(slots=True, eq=False)
class Member:
    """One chassis and its switch.

    `revision` is the newest model revision that changed what this switch should hold, `applied_revision` the newest
    it acknowledged by barrier. `pending` is what changed since all that the switch should hold was `drawn`. `claims`
    and `links` are what was recorded last of the connected database's claims and the connected switch's ports.
    `foreign` are the flows of others, as its switch tells them or, once it is gone, told them last; `complaints` are
    likewise of its connection or of the last. `emptied` is when zones in quarantine first were (`zones`). Counters
    count since the controller started, `handed` what the switch has handed over; `reconcile_s` is how long it took last
    to dump the switch and put it right. In an archive `kept` is what its switch held, and `trouble` what was wrong.
    """

    name: str
    datapath_id: int | None = None
    database: bool = False
    switch: Switch | None = None
    answerer: Answerer | None = None
    since: float | None = None
    seen: float | None = None
    revision: int = 0
    applied_revision: int | None = None
    drawn: bool = False
    pending: dict[Key, Pending] = field(default_factory=dict)
    claims: Sequence[Claim] | None = None
    links: Mapping[str, int] | None = None
    requests: deque[str] = field(default_factory=lambda: deque(maxlen=REQUESTS))
    owed: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=OWED))
    recording: asyncio.Lock = field(default_factory=asyncio.Lock)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    quarantined: asyncio.Event = field(default_factory=asyncio.Event)
    severed: asyncio.Event = field(default_factory=asyncio.Event)
    emptied: dict[int, float] = field(default_factory=dict)
    foreign: Mapping[WireKey, EncodedFlow] = field(default_factory=dict)
    complaints: Complaints | None = None
    paths: Paths | None = None
    pace: Pace = field(default_factory=Pace)
    refusals: dict[Key | WireKey, Refusal] = field(default_factory=dict)
    flow_mods: int = 0
    mods_bytes: int = 0
    reconcile_s: float = 0.0
    handed: dict[Why, Tally] = field(default_factory=dict)
    kept: Dump | None = None
    was_connected: bool = False
    trouble: str = ""

    @property
    def connected(self) -> bool:
        """Is its switch connected, or was it when an archive was made?"""
        return self.switch is not None or self.was_connected

    @property
    def source(self) -> Switch | Dump | None:
        """Who tells what its switch holds: the switch, or what is kept of one in an archive."""
        return self.switch or self.kept

    def reached(self) -> Switch | Dump:
        """Who tells what its switch holds. Raises Disconnected."""
        if self.source is None:
            raise Disconnected(self.name, "its switch is not connected")
        return self.source

    def owe(self, first: int, last: int) -> None:
        """Note that its switch is to have these revisions, the newest that there are."""
        if self.owed and self.owed[-1][1] + 1 == first and last - self.owed[-1][0] < MOST_AT_ONCE:
            first, _ = self.owed.pop()
        self.owed.append((first, last))

    def had(self, revision: int) -> Iterator[tuple[int, int]]:
        """Take the revisions up to one out of those that its switch was to have."""
        while self.owed and self.owed[0][0] <= revision:
            first, last = self.owed.popleft()
            yield first, min(last, revision)
            if last > revision:
                self.owed.appendleft((revision + 1, last))


class Members(dict[str, Member]):
    """All of them, by name; `revision` is the model's."""

    def __init__(self, revision: Callable[[], int]) -> None:
        super().__init__()
        self._revision = revision

    def of(self, name: str) -> Member:
        """The member of a name, from now on if there was none."""
        member = self.get(name)
        if member is None:
            member = self[name] = Member(name, revision=self._revision())
        return member
