"""`python -m tests.benchmarks.peers [SCENE...]`: measure Weft beside OVN; lines as JSON, and a Markdown table of them.

Scenes are NUMBER-few, NUMBER-all, and plane; all of them if none is named. What does not fit into --minutes is left out,
and said to be. An exit code of 1 says that something could not be measured.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from mininet_scenarios.processes import end_on_sigterm
from tests.benchmarks.peers import steps
from tests.benchmarks.peers.plane import PATHS, forward, idle
from tests.benchmarks.peers.steps import Line
from tests.benchmarks.peers.table import put, tables
from tests.benchmarks.peers.worker import PEERS, P, Remote, Step


@dataclass(frozen=True, slots=True)
class Scene:
    """So many ports, all of them bound or but a few; how often changes are made, and what is killed in the end."""

    ports: int
    bound: bool
    rounds: int = 5
    controller: int = 0
    switch: int = 0

    def __str__(self) -> str:
        return f"{self.ports}-{'all' if self.bound else 'few'}"


SCENES = {
    str(scene): scene
    for scene in (
        Scene(100, bound=False),
        Scene(100, bound=True, controller=3, switch=2),
        Scene(3000, bound=True, rounds=3, controller=1),
        Scene(1000, bound=True, controller=2, switch=2),
        Scene(3000, bound=False, rounds=3),
        Scene(1000, bound=False),
    )
}
"""In this order: if there is not time for all, what matters most is there."""
PLANE = "plane"
TIMES, PLANE_S = 3, 200
"""So many of its rounds are one of the others', as long as there is time."""
NAMES = (*list(SCENES)[:4], PLANE, *list(SCENES)[4:])
FEWEST = 100


class Run:
    """One run: the lines that it found, written as they come, and the time that it has."""

    def __init__(self, file: Path, minutes: float, rounds: int) -> None:
        self._rounds = rounds
        self._file = file.open("w")
        self._until = time.monotonic() + 60 * minutes
        self.lines: list[Line] = []
        self.failed: list[str] = []

    @property
    def over(self) -> bool:
        """Whether there is no time left for more."""
        return time.monotonic() > self._until

    def take(self, lines: Iterable[Line]) -> None:
        """Keep lines, and show them."""
        for line in lines:
            self.lines.append(line)
            print(json.dumps(asdict(line)), file=self._file, flush=True)
            shown = " ".join(f"{value:.4g} {name}" for name, value in line.figures.items() if name.count(" ") < 2)
            where = f"{line.ports}-{line.mode} {line.peer}: {line.what}"
            print(f"{where}: {shown} (others {line.others:.0%})", file=sys.stderr, flush=True)

    def turn(self, remotes: Sequence[Remote], step: Step[P], *args: P.args, **kwargs: P.kwargs) -> None:
        """Have each controller do a step, in turn; one that cannot does not keep the others from it."""
        for remote in remotes:
            try:
                self.take(remote.do(step, *args, **kwargs))
            except Exception as error:
                traceback.print_exc()
                self.failed.append(f"{remote.name}: {step.__name__}: {error}")

    def one(self, name: str, peers: Sequence[str]) -> None:
        """One scene, unless there is no time left."""
        if self.over:
            self.failed.append(f"{name}: no time was left")
            return
        try:
            if name == PLANE:
                self._plane(peers)
            else:
                self._scene(SCENES[name], peers)
        except Exception as error:  # the others still run
            traceback.print_exc()
            self.failed.append(f"{name}: {error}")

    def _scene(self, scene: Scene, names: Sequence[str]) -> None:
        """One size of cloud, asked of all controllers."""
        with ExitStack() as stack:
            remotes = [stack.enter_context(Remote(name)) for name in names]
            self.turn(remotes, steps.bulk, scene.ports, scene.bound)
            self.turn(remotes, steps.first_pings)
            for round in range(min(scene.rounds, self._rounds)):
                if not self.over:
                    self.turn(remotes, steps.port_up, round)
                    self.turn(remotes, steps.changes, round)
            faults: list[Callable[..., list[Line]]] = []
            faults += [steps.controller_restart] * scene.controller
            faults += [steps.switch_restart] * scene.switch
            for fault in faults:
                if not self.over:
                    self.turn(remotes, fault)

    def _plane(self, names: Sequence[str]) -> None:
        """What forwarding costs. Built anew after half of the rounds: two that are made alike differ, for whatever cause."""
        rounds = range(TIMES * self._rounds)
        for some in (rounds[::2], rounds[1::2]):
            with ExitStack() as stack:
                remotes = [stack.enter_context(Remote(name)) for name in names]
                self.turn(remotes, steps.bulk, FEWEST, bound=False)
                self.turn(remotes, steps.first_pings)
                self.turn(remotes, idle)
                turns = [(each, False) for each in remotes] + [(each, True) for each in remotes if each.name == "weft"]
                until = time.monotonic() + PLANE_S / 2
                for round in some:
                    if self.over or time.monotonic() > until:
                        break
                    turns.reverse()  # whoever comes behind another finds the machine as that one left it
                    for path in PATHS:
                        for remote, bare in turns:
                            self.turn([remote], forward, path, bare=bare, round=round)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.peers", description="Measure Weft beside OVN.")
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=f"any of {', '.join(NAMES)}; all of them if none")
    parser.add_argument("--peers", default=",".join(PEERS), help="whom to measure, with commas (default %(default)s)")
    parser.add_argument("--minutes", type=float, default=25, help="begin nothing later than this (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="no more than so many (default %(default)s)")
    parser.add_argument("--lines", type=Path, default=Path("peers.jsonl"), help="where lines go (default %(default)s)")
    parser.add_argument("--page", type=Path, help="a page that has marks for the tables")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.scenes if name not in NAMES]:
        parser.error(f"no scene is called {unknown[0]}; there are {', '.join(NAMES)}")
    end_on_sigterm()
    run = Run(options.lines, options.minutes, options.rounds)
    for name in options.scenes or NAMES:
        run.one(name, options.peers.split(","))
    text = tables(run.lines, run.failed)
    print(text)
    if options.page:
        put(text, options.page)
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main())
