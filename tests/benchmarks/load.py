"""Clients that ask a controller so many times a second, however long its answers take.

They live in a process of their own, so that what they cost is not the controller's; requests are bytes before they are
needed, and of an answer only its status, its end and an id are looked at. What is due while all connections wait for
an answer waits, and how long it did counts.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Final, cast

import uvloop

from tests.benchmarks.beside import Beside

CONNECTIONS: Final = 64
"""How many requests are under way at once at the most."""
TICK_S: Final = 0.002
"""How often it is looked what is due."""
PATIENCE_S: Final = 60.0
"""For so long what is under way when the time is over is waited for."""

_STATUS: Final = slice(9, 12)
_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_ID: Final = re.compile(rb'"id": *"([^"]+)"')
_MAKES: Final = b"POST "
OLDEST: Final = b""
"""Instead of a request: delete the port that was made first of those that are there."""


def request(method: str, path: str, body: bytes = b"") -> bytes:
    """A whole request."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


@dataclass(slots=True)
class Answered:
    """What became of what was due: how much of it was answered by when the time was over, and by which statuses.

    `waits_s` are from when each was due until it was answered, the shortest first; `late` were under way when the
    time was over, and are among `statuses`; what was not even sent then never is. `cpu_s` is the clients' own.
    """

    due: int = 0
    in_time: int = 0
    late: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    waits_s: list[float] = field(default_factory=list)
    cpu_s: float = 0.0


class Clients(Beside):
    """A process full of clients of one controller; use it as a context manager."""

    def __init__(self, port: int) -> None:
        super().__init__(_main, port)

    def begin(self, requests: Sequence[bytes], per_second: float) -> None:
        """Ask for these one after the other, so many a second, from now on."""
        self._pipe.send((list(requests), per_second))

    def end(self) -> Answered:
        """Wait until that is over: what became of it."""
        answer = self._pipe.recv()
        if not isinstance(answer, Answered):
            raise TypeError(answer)
        return answer


# The process -------------------------------------------------------------------------------------------------------


class _Client(asyncio.Protocol):
    """One connection: one request at a time."""

    def __init__(self, crowd: _Crowd) -> None:
        self._crowd = crowd
        self._transport: asyncio.WriteTransport
        self._request, self._due = b"", 0.0
        self._seen = b""
        self._length = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        self._crowd.free.append(self)

    def connection_lost(self, _: Exception | None) -> None:
        self._crowd.broke()

    def ask(self, request: bytes, due: float) -> None:
        self._request, self._due = request, due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._seen = self._seen + data if self._seen else data
        if not self._length:
            end = self._seen.find(b"\r\n\r\n")
            if end < 0:
                return
            found = _LENGTH.search(self._seen, 0, end)
            self._length = end + 4 + (int(found[1]) if found else 0)
        if len(self._seen) < self._length:
            return
        seen, self._seen, self._length = self._seen, b"", 0
        self._crowd.answered(self, self._request, self._due, seen)


class _Crowd:
    """All connections, what is due and what was answered."""

    def __init__(self, made: deque[bytes]) -> None:
        self.free: list[_Client] = []
        self._due: deque[tuple[float, bytes]] = deque()
        self._made = made
        self._end = float("inf")
        self._done = Answered()
        self._under_way = 0
        self._idle = asyncio.Event()
        self._broken = False

    async def offer(self, requests: Sequence[bytes], per_second: float) -> Answered:
        """Ask for all of these at their time. Raises ConnectionError, and TimeoutError after `PATIENCE_S`."""
        self._done, cpu_s, began = Answered(), time.process_time(), time.monotonic()
        self._end = began + len(requests) / per_second
        offered = 0
        while offered < len(requests):
            now = time.monotonic()
            while offered < min(len(requests), (now - began) * per_second):
                self._due.append((began + offered / per_second, requests[offered]))
                offered += 1
            self._send()
            await asyncio.sleep(TICK_S)
        await asyncio.sleep(self._end - time.monotonic())
        self._due.clear()
        self._idle.clear()
        if self._under_way:
            async with asyncio.timeout(PATIENCE_S):
                await self._idle.wait()
        if self._broken:
            raise ConnectionError("the controller hung up")
        self._done.due = len(requests)
        self._done.cpu_s = time.process_time() - cpu_s
        self._done.waits_s.sort()
        return self._done

    def _send(self) -> None:
        while self._due and self.free:
            due, asked = self._due[0]
            if asked == OLDEST:
                if not self._made:
                    return  # it will be there soon
                asked = request("DELETE", f"/v2.0/ports/{self._made.popleft().decode()}")
            self._due.popleft()
            self._under_way += 1
            self.free.pop().ask(asked, due)

    def answered(self, client: _Client, asked: bytes, due: float, answer: bytes) -> None:
        """A request was answered."""
        now = time.monotonic()
        status = int(answer[_STATUS])
        self._done.statuses[status] += 1
        self._done.waits_s.append(now - due)
        if now <= self._end:
            self._done.in_time += 1
        else:
            self._done.late += 1
        if asked.startswith(_MAKES) and status == 201 and (found := _ID.search(answer)):
            self._made.append(found[1])
        self._under_way -= 1
        self.free.append(client)
        if not self._under_way:
            self._idle.set()
        self._send()

    def broke(self) -> None:
        """A connection ended before its time: whoever waits for it would wait for ever."""
        self._broken = True
        self._idle.set()


def _main(pipe: Connection, port: int) -> None:
    """The process: it ends when the pipe does."""
    uvloop.run(_serve(pipe, port))


async def _serve(pipe: Connection, port: int) -> None:
    made: deque[bytes] = deque()
    while True:
        try:
            requests, per_second = await asyncio.to_thread(pipe.recv)
        except EOFError:
            return
        try:
            pipe.send(await _offered(requests, per_second, port, made))
        except Exception as error:  # whoever asked is told
            pipe.send(repr(error))


async def _offered(requests: Sequence[bytes], per_second: float, port: int, made: deque[bytes]) -> Answered:
    """Over connections of its own: an idle one would be closed some day. `made` are the ports that are there."""
    crowd = _Crowd(made)
    loop = asyncio.get_running_loop()
    several = [await loop.create_connection(lambda: _Client(crowd), "127.0.0.1", port) for _ in range(CONNECTIONS)]
    try:
        return await crowd.offer(requests, per_second)
    finally:
        for transport, _ in several:
            transport.abort()
