"""The connections of the API's clients: how long one may take to ask, and how many there are.

    socket ──> Visit ──> aiohttp ──> `Visits.attend` (the outermost middleware) ──> the API

Who connects has `HEAD_S` for the head of a request, from its first byte on, and is told 408 then; who sends nothing is
told nothing. A body has `BODY_S`. When there are `MOST` connections, the one that has been silent longest goes; if all
are being served, the new one is told 503. So strangers who hold connections open hold nobody up, and leave file
descriptors for hypervisors.
"""

from __future__ import annotations

import asyncio
import logging
from typing import cast

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from northbound import faults

HEAD_S = 20.0
BODY_S = 60.0
KEPT_S, LINGER_S = 75.0, 0.5
"""How long aiohttp keeps a connection: for another request, and for the rest of a body that nobody waits for."""
MOST = 512
REFUSED_S = 1.0
"""How long a connection that is refused may take to say anything, and to read why."""

log = logging.getLogger(__name__)


class Visits:
    """All connections; those that nothing is asked by come in the order in which they fell silent."""

    def __init__(self, head_s: float = HEAD_S, body_s: float = BODY_S, most: int = MOST) -> None:
        self.head_s, self.body_s, self.most = head_s, body_s, most
        self.silent: dict[Visit, None] = {}
        self.served: set[Visit] = set()
        self._listeners: list[asyncio.Server] = []
        self.by_protocol: dict[asyncio.BaseProtocol, Visit] = {}

    async def listen(self, runner: web.AppRunner, host: str, port: int) -> asyncio.Server:
        """Serve what `runner` has there. Raises OSError."""
        logging.getLogger("aiohttp.server").addFilter(terse)

        def come() -> asyncio.Protocol:
            assert runner.server is not None, "the runner is set up"
            protocol = runner.server()
            return Visit(self, protocol)

        listener = await asyncio.get_running_loop().create_server(come, host, port)
        self._listeners.append(listener)
        return listener

    async def close(self, _: web.Application) -> None:
        """Let nobody else come."""
        for listener in self._listeners:
            listener.close()

    @property
    def attend(self) -> Middleware:
        """The middleware. Raises HTTPRequestTimeout, HTTPRequestEntityTooLarge, inside what makes answers of them."""

        @web.middleware
        async def attend(request: web.Request, handler: Handler) -> web.StreamResponse:
            visit = self.by_protocol.get(request.protocol)
            if visit is not None:
                visit.asks()
            try:
                return await handler(request)
            finally:
                if visit is not None:
                    visit.asked()

        return attend

    async def body(self, request: web.Request) -> None:
        """Wait for the body of a request, which can be read at once then. Raises HTTPRequestTimeout."""
        if request.content.is_eof():  # as nearly all of them are, which came with their heads
            await request.read()
            return
        try:
            async with asyncio.timeout(self.body_s):
                await request.read()
        except TimeoutError:
            raise web.HTTPRequestTimeout from None

    def full(self) -> bool:
        """Whether there is no room for one more, after whoever has been silent longest has gone."""
        if len(self.silent) + len(self.served) < self.most:
            return False
        if not self.silent:
            return True
        next(iter(self.silent)).leave("too many connections, and this one is silent")
        return False


class Visit(asyncio.Protocol):
    """One connection, handed on to aiohttp."""

    def __init__(self, visits: Visits, protocol: web.RequestHandler) -> None:
        self._visits, self._protocol = visits, protocol
        self._transport: asyncio.Transport | None = None
        self._begun = self._refused = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._visits.by_protocol[self._protocol] = self
        self._protocol.connection_made(transport)
        self._refused = self._visits.full()
        if self._refused:
            self._tell(503)
            self._transport.write_eof()
            self._wait(REFUSED_S)
        else:
            self._visits.silent[self] = None
            self._wait(self._visits.head_s)

    def data_received(self, data: bytes) -> None:
        if self._refused:  # closing before it came would have torn down what was told
            self.leave("too many connections, all of them in use")
            return
        if self in self._visits.silent and not self._begun:
            self._begun = True
            self._wait(self._visits.head_s)
        self._protocol.data_received(data)

    def eof_received(self) -> None:
        self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._quit()
        del self._visits.by_protocol[self._protocol]
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    def asks(self) -> None:
        """The head of a request is there."""
        self._stop()
        if self in self._visits.silent:
            del self._visits.silent[self]
            self._visits.served.add(self)

    def asked(self) -> None:
        """Its answer is there, or the request came to nothing."""
        if self in self._visits.served:
            self._visits.served.remove(self)
            self._visits.silent[self] = None
            self._begun = False

    def leave(self, reason: str) -> None:
        """Close the connection."""
        log.debug("connection closed reason=%s", reason)
        self._quit()
        if self._transport is not None:
            self._transport.close()

    def _wait(self, seconds: float) -> None:
        self._stop()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._late)

    def _late(self) -> None:
        if self._begun:
            self._tell(408)
        self.leave("no request came in time")

    def _tell(self, status: int) -> None:
        """Answer what has not been read, as far as there is anybody to tell."""
        body = faults.plain(status)
        head = (
            f"HTTP/1.1 {status} {faults.phrase(status)}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(head.encode() + body)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _quit(self) -> None:
        self._stop()
        self._visits.silent.pop(self, None)
        self._visits.served.discard(self)


def terse(record: logging.LogRecord) -> bool:
    """What strangers send that is no HTTP is no error of ours: a line, and no traceback."""
    if record.exc_info:
        record.msg, record.args = f"{record.getMessage()}: {record.exc_info[1]}", ()
        record.exc_info, record.levelno, record.levelname = None, logging.INFO, "INFO"
    return True
