"""Who asks: a `Caller` from the headers of a request, by one of three ways (`weft serve --auth`).

    none                    everybody is an administrator, and names the project that owns what is made
    tokens FILE             tokens that the operator gave out; the file holds their SHA-256 alone
    keystone                tokens of OpenStack's identity service (identity API v3)

What a caller may do is `northbound.policy`.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from controller.errors import IdentityUnavailable, Invalid, Unauthorized

log = logging.getLogger(__name__)

IMPLIED: Mapping[str, tuple[str, ...]] = {
    "admin": ("manager", "member", "reader"),
    "manager": ("member", "reader"),
    "member": ("reader",),
}
"""The roles that a role brings with it (keystone, "Default Roles")."""

TOKEN = "X-Auth-Token"
KEPT_S = 300.0
"""How long Keystone's word on a token is believed: as long does a revoked one still work (keystonemiddleware, too)."""
MOST_KEPT = 10_000
IDENTITY_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Caller:
    """The project a request speaks for ("" when it names none) and the roles its sender has there."""

    project_id: str = ""
    roles: frozenset[str] = frozenset()
    user: str = ""

    @property
    def is_admin(self) -> bool:
        """Whether the caller may see and change everything."""
        return "admin" in self.roles

    def speaks_for(self, project_id: str) -> bool:
        """Whether that is the caller's project; what belongs to nobody is nobody's."""
        return project_id == self.project_id != ""


def caller(project_id: str, roles: Iterable[str], user: str = "") -> Caller:
    """A caller with the roles that its roles imply."""
    named = frozenset(role.lower() for role in roles)
    return Caller(project_id, named.union(*(IMPLIED.get(role, ()) for role in named)), user)


class Identity(Protocol):
    """Knows callers by what they show."""

    def known(self, headers: Mapping[str, str]) -> Caller | None:
        """The caller, if that can be said without asking anybody. Raises Unauthorized when nothing is shown."""

    async def ask(self, headers: Mapping[str, str]) -> Caller:
        """The caller, if it was not known. Raises Unauthorized, IdentityUnavailable."""

    async def close(self) -> None:
        """Let go of what it holds."""


def shown(headers: Mapping[str, str]) -> str:
    """The token of a request: `X-Auth-Token`, or a bearer token (RFC 6750). Raises Unauthorized."""
    token = headers.get(TOKEN, "")
    if not token:
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        token = token.strip() if scheme.lower() == "bearer" else ""
    if not token:
        raise Unauthorized
    return token


def digest(token: str) -> str:
    """What is kept of a token: its SHA-256, in hexadecimal. Tokens are random and long, so it needs no salt."""
    return hashlib.sha256(token.encode()).hexdigest()


class Open:
    """`--auth none`: whoever comes is an administrator; `X-Project-Id` (or the old `X-Tenant-Id`) is believed."""

    def known(self, headers: Mapping[str, str]) -> Caller | None:
        """Everybody is."""
        return caller(headers.get("X-Project-Id") or headers.get("X-Tenant-Id") or "", ("admin",))

    async def ask(self, headers: Mapping[str, str]) -> Caller:
        """Nobody is asked."""
        raise Unauthorized

    async def close(self) -> None:
        """Nothing is held."""


class Tokens:
    """`--auth tokens FILE`: a TOML file of `[[token]]` tables with `sha256`, `project`, `roles` and perhaps `user`.

    It is read anew when it changes; a change that cannot be read is logged, and what held before holds on.
    """

    def __init__(self, path: Path) -> None:
        """Raises Invalid."""
        self._path = path
        self._callers, self._read = read_tokens(path), _version(path)

    def known(self, headers: Mapping[str, str]) -> Caller | None:
        """Who has the token that is shown. Raises Unauthorized."""
        token = shown(headers)
        self._refresh()
        return self._callers.get(digest(token))

    async def ask(self, headers: Mapping[str, str]) -> Caller:
        """The file has all there are."""
        raise Unauthorized

    async def close(self) -> None:
        """Nothing is held."""

    def _refresh(self) -> None:
        version = _version(self._path)
        if version == self._read:
            return
        self._read = version
        try:
            self._callers = read_tokens(self._path)
            log.info("tokens read file=%s tokens=%d", self._path, len(self._callers))
        except Invalid as error:
            log.error("tokens stay as they were: %s", error)


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def read_tokens(path: Path) -> Mapping[str, Caller]:
    """Who has which token, by its SHA-256. Raises Invalid, naming the file and the entry."""
    try:
        tables = tomllib.loads(path.read_text()).get("token", [])
    except (OSError, ValueError) as error:
        raise Invalid("auth", f"{path} cannot be read: {error}") from error
    if not isinstance(tables, list):
        raise Invalid("auth", f"{path} needs [[token]] tables; `weft token` writes one")
    return dict(_entry(path, number, table) for number, table in enumerate(tables, 1))


def _entry(path: Path, number: int, table: object) -> tuple[str, Caller]:
    match table:
        case {"sha256": str(hashed), "project": str(project), "roles": list(roles), **more} if (
            len(hashed) == 64 and set(hashed.lower()) <= set("0123456789abcdef") and all(map(_is_text, roles))
        ):
            return hashed.lower(), caller(project, roles, str(more.get("user", "")))
    raise Invalid(
        "auth",
        f"token {number} of {path} needs sha256 (64 hexadecimal digits), project and roles (a list); "
        "`weft token` writes one",
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str)


@dataclass(frozen=True, slots=True)
class Service:
    """Where Keystone is (`url` ends in /v3), and as whom we ask it about tokens."""

    url: str
    user: str
    password: str = field(repr=False)
    project: str
    domain: str = "Default"


@dataclass(frozen=True, slots=True)
class _Kept:
    caller: Caller
    until: float


class Keystone:
    """`--auth keystone`: tokens are shown to Keystone, whose answer is kept for `KEPT_S`, and no longer than the token.

    Our own token is taken when it is first needed, and again when Keystone no longer takes it. `now` are seconds since
    the epoch.
    """

    def __init__(self, service: Service, now: Callable[[], float]) -> None:
        self._service, self._now = service, now
        self._own = ""
        self._kept: dict[str, _Kept] = {}
        self._asking: dict[str, asyncio.Task[Caller]] = {}
        self._http: aiohttp.ClientSession | None = None

    def known(self, headers: Mapping[str, str]) -> Caller | None:
        """Whom Keystone named before. Raises Unauthorized."""
        kept = self._kept.get(digest(shown(headers)))
        return kept.caller if kept is not None and self._now() < kept.until else None

    async def ask(self, headers: Mapping[str, str]) -> Caller:
        """Whom Keystone names; several that ask about one token wait for one answer."""
        token = shown(headers)
        key = digest(token)
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.create_task(self._ask(key, token))
            asking.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(asking)

    async def close(self) -> None:
        """Close the connections to Keystone."""
        if self._http is not None:
            await self._http.close()

    async def _ask(self, key: str, token: str) -> Caller:
        self._kept.pop(key, None)
        status, body = await self._validate(token)
        if status == 401:
            self._own = ""
            status, body = await self._validate(token)
        if status == 404:
            raise Unauthorized
        if status != 200:
            raise IdentityUnavailable(f"Keystone at {self._service.url} answered {status} when asked about a token")
        found, expires = _of_token(body, self._service.url)
        if expires <= self._now():
            raise Unauthorized
        if len(self._kept) >= MOST_KEPT:
            self._kept.pop(next(iter(self._kept)))
        self._kept[key] = _Kept(found, min(expires, self._now() + KEPT_S))
        return found

    async def _validate(self, token: str) -> tuple[int, Any]:
        if not self._own:
            self._own = await self._log_in()
        return await self._send("GET", {TOKEN: self._own, "X-Subject-Token": token})

    async def _log_in(self) -> str:
        service, domain = self._service, {"name": self._service.domain}
        user = {"name": service.user, "domain": domain, "password": service.password}
        asked = {
            "auth": {
                "identity": {"methods": ["password"], "password": {"user": user}},
                "scope": {"project": {"name": service.project, "domain": domain}},
            }
        }
        token: list[str] = []
        status, _ = await self._send("POST", {}, asked, token)
        if status != 201 or not token:
            raise IdentityUnavailable(
                f"Keystone at {service.url} does not let user {service.user} of project {service.project} in "
                f"(it answered {status}); see the options --keystone-*"
            )
        return token[0]

    async def _send(
        self, method: str, headers: Mapping[str, str], body: object = None, token: list[str] | None = None
    ) -> tuple[int, Any]:
        """What Keystone answers at /auth/tokens; the token that it gives goes into `token`."""
        if self._http is None:
            self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=IDENTITY_TIMEOUT_S))
        url = f"{self._service.url.rstrip('/')}/auth/tokens"
        try:
            async with self._http.request(method, url, headers=headers, json=body) as answer:
                if token is not None and "X-Subject-Token" in answer.headers:
                    token.append(answer.headers["X-Subject-Token"])
                return answer.status, await answer.json(content_type=None) if answer.status < 300 else None
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise IdentityUnavailable(f"Keystone at {self._service.url} does not answer: {reason}") from error


def _of_token(body: Any, url: str) -> tuple[Caller, float]:
    """Who has a token, and until when, by Keystone's answer (identity API v3, "Validate and show token").

    Raises IdentityUnavailable when it makes no sense.
    """
    try:
        token = body["token"]
        project = token.get("project") or {"id": ""}
        roles = [str(role["name"]) for role in token.get("roles") or ()]
        until = datetime.fromisoformat(token["expires_at"]).timestamp()
        return caller(str(project["id"]), roles, str(token["user"]["id"])), until
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        said = f"what answers at {url} does not speak of tokens as the identity API v3 does"
        raise IdentityUnavailable(said) from error
