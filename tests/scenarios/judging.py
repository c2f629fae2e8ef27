"""What judges of real packets have in common: worlds by number, the model that the controller has, and who hears what.

`make test` tries the same few worlds every time; `make soak` new ones for some minutes. WEFT_JUDGED_SEED=N tries one.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from random import SystemRandom
from tempfile import TemporaryDirectory

from controller.flows.pipeline import Why
from controller.model.sqlite import SqliteJournal
from controller.model.store import Model
from mininet_scenarios.captures import Frame
from mininet_scenarios.errors import Late
from mininet_scenarios.hosts import Guest
from mininet_scenarios.lab import Lab
from mininet_scenarios.processes import wait_until

UNHEARD_S = 0.25
"""How long after the last packet that had to arrive another one is waited for."""


def is_one() -> bool:
    """Is one world tried, by its number?"""
    return "WEFT_JUDGED_SEED" in os.environ


def seeds(usual: Sequence[int], soak_s: float) -> Iterator[int]:
    """Which worlds to try: the usual ones, or new ones for so long."""
    if is_one():
        yield int(os.environ["WEFT_JUDGED_SEED"])
    elif os.environ.get("WEFT_HYPOTHESIS_PROFILE") != "soak":
        yield from usual
    else:
        end = time.monotonic() + soak_s
        while time.monotonic() < end:
            yield SystemRandom().randrange(1 << 32)


def model(lab: Lab) -> Model:
    """The model the controller has: a copy of its store, read as it would be at a restart."""
    with TemporaryDirectory(dir=lab.directory) as directory:
        path = Path(directory, "copy.sqlite")
        with closing(sqlite3.connect(lab.directory / "weft.sqlite")) as store, closing(sqlite3.connect(path)) as copy:
            store.backup(copy)
        journal = SqliteJournal(path)
        try:
            return Model(*journal.load())
        finally:
            journal.close()


def drops(lab: Lab) -> Counter[str]:
    """How many frames the switches have dropped, or handed to the controller, by reason; also those that no flow drops."""
    counts: Counter[str] = Counter()
    for each in lab.hypervisors.values():
        counts.update({Why(why).name: count for why, count in each.drops().items()})
        counts.update(each.datapath_drops())
    return counts


def hear(
    guests: Collection[Guest], sent: Mapping[Guest, Sequence[bytes]], marks: Collection[bytes], expected: int
) -> Mapping[bytes, list[tuple[str, Frame]]]:
    """Send frames, and listen at every guest: who heard which mark, and in what. `expected` marks must be heard."""
    heard: dict[bytes, list[tuple[str, Frame]]] = {}
    with ExitStack() as stack:
        ears = [stack.enter_context(closing(guest.ear())) for guest in guests]

        def listen() -> str:
            for ear in ears:
                for frame in ear.frames():
                    for mark in marks:
                        if mark in frame.raw:
                            heard.setdefault(mark, []).append((ear.place, frame))
            return "" if len(heard) >= expected else f"{expected - len(heard)} of {len(marks)} packets"

        for guest, frames in sent.items():
            guest.sends(*frames)
        with suppress(Late):  # what lacks is a disagreement
            wait_until("What is to arrive", listen, 10)
        time.sleep(UNHEARD_S)
        listen()
    return heard
