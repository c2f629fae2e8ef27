"""A controller in a process of its own, which has a network of its own, and does one step after the other."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Concatenate, ParamSpec, Self

from tests.benchmarks.peers.driver import Peer
from tests.benchmarks.peers.ovn import Ovn
from tests.benchmarks.peers.steps import Line
from tests.benchmarks.peers.weft import Weft

P = ParamSpec("P")
Step = Callable[Concatenate[Peer, P], list[Line]]

PEERS: dict[str, Callable[[], Peer]] = {"ovn": Ovn, "weft": Weft}
"""In the order in which they take turns: whoever is second has the load of the first, idle, beside it."""
STEP_S = 400.0
"""No step takes longer."""

_stack = ExitStack()
_peers: list[Peer] = []


class Remote:
    """A controller of its own process; use it as a context manager."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))

    def __enter__(self) -> Self:
        try:
            self._pool.submit(_begin, self.name).result(STEP_S)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        try:
            self._pool.submit(_end).result(STEP_S)
        finally:
            self._pool.shutdown(cancel_futures=True)

    def do(self, step: Step[P], *args: P.args, **kwargs: P.kwargs) -> list[Line]:
        """Do a step there, and wait for it."""
        return self._pool.submit(partial(_do, step, *args, **kwargs)).result(STEP_S)


def _begin(name: str) -> None:
    peer = PEERS[name]()
    _stack.enter_context(peer.lab)
    peer.begin()
    _peers.append(peer)


def _do(step: Step[P], *args: P.args, **kwargs: P.kwargs) -> list[Line]:
    return step(_peers[0], *args, **kwargs)


def _end() -> None:
    _stack.close()
