"""What a machine's processes took of it: CPU time, memory, and the share that went to others."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_TICK = os.sysconf("SC_CLK_TCK")
_CORES = os.cpu_count() or 1


def cpu_s(pid: int) -> float:
    """The CPU time of all threads of a process so far, in seconds (clock_getcpuclockid(3)); 0 when it is gone."""
    with suppress(OSError):
        return time.clock_gettime(~pid << 3 | 2)
    return 0.0


def rss_mb(pid: int) -> float:
    """VmRSS of a process (proc(5)), in MB of 2**20 bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def busy_s() -> float:
    """The CPU time of the whole machine so far, in seconds, but for what it was idle or waited for a disk."""
    user, nice, system, _idle, _waiting, *rest = map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:])
    return (user + nice + system + sum(rest[:3])) / _TICK


def family_s(root: int) -> float:
    """The CPU time of a process and all that it started, of those that have ended, too."""
    parents, took = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # it has just ended
                words = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(words[1])
                took[int(entry.name)] = sum(map(int, words[11:15])) / _TICK
    return sum(took[pid] for pid in _descendants(root, parents))


def _descendants(root: int, parents: dict[int, int]) -> Iterable[int]:
    family = {root}
    for pid in parents:
        line = []
        while pid and pid not in family:
            line.append(pid)
            pid = parents.get(pid, 0)
        if pid in family:
            family.update(line)
    return family & parents.keys()


class Watch:
    """How long something took, and what share of the machine meanwhile went to others than this process and its own.

    Whatever somebody else takes makes times longer: above a fifth they mean little.
    """

    seconds = others = 0.0

    def __enter__(self) -> Self:
        self._family, self._busy, self._began = family_s(os.getpid()), busy_s(), time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.seconds = time.monotonic() - self._began
        foreign = busy_s() - self._busy - (family_s(os.getpid()) - self._family)
        self.others = max(0.0, foreign / self.seconds / _CORES)
