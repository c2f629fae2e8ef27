"""The door of the API: who asks is found out before anything else, and strangers cannot ask at any rate.

Discovery (`/`, `/v2.0/`, `/openapi.json`), the console and the probes (`/healthz`, `/readyz`) are for everybody; `/v1`
and `/metrics` are an administrator's; the rest is for every caller that is known. Between processes nothing is shared:
a restart forgets who was refused.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from controller.errors import Forbidden, Throttled, Unauthorized
from northbound.auth import Caller, Identity

CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)
"""Whom a request is of."""

ANYBODY = frozenset({"/", "/v2.0", "/v2.0/", "/openapi.json", "/healthz", "/readyz"})
"""The paths that need no token."""

CONSOLE = "/console"
"""The page itself tells nothing: it asks the API with the token that its user gives it."""

PER_SECOND = 5.0
BURST = 50.0
"""How many requests without a known token are looked at, in the long run and at once, from one address."""

MOST_ADDRESSES = 10_000


@dataclass(slots=True)
class Refusals:
    """How often each address was refused lately; the one that was quiet longest is forgotten first."""

    clock: Callable[[], float] = time.monotonic
    left: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def check(self, address: str) -> None:
        """Raises Throttled when nothing more from the address is looked at."""
        left = self._left(address)
        if left < 1:
            raise Throttled(math.ceil((1 - left) / PER_SECOND))

    def add(self, address: str) -> None:
        """One more was refused."""
        left = self._left(address)
        self.left[address] = (left - 1, self.clock())
        self.left.move_to_end(address)
        if len(self.left) > MOST_ADDRESSES:
            self.left.popitem(last=False)

    def _left(self, address: str) -> float:
        left, at = self.left.get(address, (BURST, 0.0))
        return min(BURST, left + (self.clock() - at) * PER_SECOND)


@dataclass(frozen=True, slots=True)
class Gate:
    """Lets requests in, each with its caller."""

    identity: Identity
    arrival: Callable[[web.Request], Awaitable[None]]
    """Waits for the body of a request: of callers that are known alone."""
    refusals: Refusals = field(default_factory=Refusals)

    @property
    def admit(self) -> Middleware:
        """The middleware. Raises Unauthorized, Throttled, Forbidden, IdentityUnavailable, HTTPRequestTimeout."""

        @web.middleware
        async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path not in ANYBODY and not request.path.startswith(CONSOLE):
                request[CALLER] = caller = await self._caller(request)
                if not request.path.startswith("/v2.0") and not caller.is_admin:
                    raise Forbidden(("admin_only",))
                await self.arrival(request)
            return await handler(request)

        return admit

    async def _caller(self, request: web.Request) -> Caller:
        """A caller that is known is never held up by others at its address who are not."""
        address = request.remote or ""
        try:
            known = self.identity.known(request.headers)
            if known is not None:
                return known
            self.refusals.check(address)
            return await self.identity.ask(request.headers)
        except Unauthorized:
            self.refusals.check(address)
            self.refusals.add(address)
            raise
