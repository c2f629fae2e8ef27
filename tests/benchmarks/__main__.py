"""`python -m tests.benchmarks [NAME...]`: run all benchmarks, or those named; one table; 1 when a limit is missed.

Nothing is left behind: what a benchmark runs (Open vSwitch, controllers, fake hypervisors) stands in a temporary
directory, talks over loopback and unix sockets, and is stopped by its process id.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence

from tests.benchmarks import api, bulk, counts, encoder, engine, fleet, plane, prove, push
from tests.benchmarks.report import Figure, table

BENCHMARKS: Mapping[str, Callable[[], Iterator[Figure]]] = {
    "counts": counts.run,
    "engine": engine.run,
    "encoder": encoder.run,
    "push": push.run,
    "api": api.run,
    "bulk": bulk.run,
    "fleet": fleet.run,
    "plane": plane.run,
    "prove": prove.run,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Measure Weft.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(BENCHMARKS)}; all of them if none")
    names: list[str] = parser.parse_args(arguments).names or [*BENCHMARKS]
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"no benchmark is called {unknown[0]}; there are {', '.join(BENCHMARKS)}")
    rows: list[tuple[str, ...]] = []
    bad = [name for name in names if not _run(name, rows)]
    print(table(rows))
    return 1 if bad else 0


def _run(name: str, rows: list[tuple[str, ...]]) -> bool:
    """Run one benchmark, saying each figure as it is found; whether it ran to its end within its limits."""
    began, good = time.monotonic(), True
    try:
        for figure in BENCHMARKS[name]():
            rows.append(figure.row(name))
            print(" ".join(rows[-1]).rstrip(), file=sys.stderr)
            good = good and not figure.missed
    except Exception:  # the others still run
        traceback.print_exc()
        rows.append((name, "did not end", "", "", "**FAILED**"))
        good = False
    print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    gc.collect()  # what it built is nothing to the next one
    return good


if __name__ == "__main__":
    sys.exit(main())
