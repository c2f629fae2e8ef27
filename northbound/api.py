"""The Networking API v2.0 over HTTP: one handler for all resources, which knows none of them.

    request ──> request id ──> read_body ──> store.commit(collection.create ...) ──> durable ──> Renderer ──> answer

Reads are answered from the store's replica, writes when they are durable. Every answer carries
`X-Openstack-Request-Id`; the same id is on the change in the store and on the log line. Refusals become answers in
one place (`_guarded`), in Neutron's words (`northbound.faults`).
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from typing import Any, Generic, TypeVar
from uuid import uuid4

from aiohttp import web

from controller import measures
from controller.errors import StaleRevision, Throttled, Unauthorized, Unreadable, WeftError
from controller.model import quotas
from controller.model.records import Resource
from controller.model.store import Author, Rows, Store, Transaction
from northbound import faults
from northbound.auth import Caller, Identity, Open
from northbound.gate import CALLER, Gate
from northbound.openapi import document
from northbound.policy import Policy
from northbound.resources import COLLECTIONS
from northbound.resources.attributes import (
    Ask,
    Body,
    Collection,
    Create,
    Delete,
    Operation,
    R,
    Renderer,
    Scene,
    Settings,
    Update,
    Wiring,
    need,
    read_body,
)
from northbound.resources.extensions import EXTENSIONS
from northbound.resources.query import Query, find, links, read_query
from northbound.resources.tags import Tags
from northbound.resources.values import Json
from northbound.visits import Visits

__all__ = ["Settings", "Wiring", "application"]

log = logging.getLogger(__name__)

BODY_LIMIT = 8 << 20
"""The largest body in bytes: some ten thousand ports at once."""

BREATH = 250
"""How many records of a list are shown at a time: a few milliseconds, so that no switch waits for a long list."""

BULK_LIMIT = 5_000
"""How many resources one request makes: they are made at once, and meanwhile nobody else is served."""

REQUEST_ID = "X-Openstack-Request-Id"

REQUEST: ContextVar[str] = ContextVar("request")
"""The id of the request that the current task serves."""

T = TypeVar("T")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(
    store: Store,
    wiring: Wiring,
    settings: Settings,
    identity: Identity | None = None,
    visits: Visits | None = None,
    policy: Policy | None = None,
) -> web.Application:
    """The API as an application, for the daemon to add to and to serve by `visits`; without `identity` all are
    administrators."""
    identity, visits, policy = identity or Open(), visits or Visits(), policy or Policy()
    middlewares = [visits.attend, _guarded, Gate(identity, visits.body).admit]
    app = web.Application(middlewares=middlewares, client_max_size=BODY_LIMIT)

    async def close(_: web.Application) -> None:
        await identity.close()

    app.on_shutdown.append(visits.close)
    app.on_cleanup.append(close)
    route = app.router
    route.add_get("/", _versions, allow_head=False)
    route.add_get("/v2.0", _resources, allow_head=False)
    route.add_get("/v2.0/", _resources, allow_head=False)
    route.add_get("/openapi.json", _openapi, allow_head=False)
    route.add_get("/v2.0/extensions", _extensions, allow_head=False)
    route.add_get("/v2.0/extensions/{alias}", _extension, allow_head=False)
    for collection in COLLECTIONS:
        _Served(collection, Renderer(collection), store, wiring, settings, policy).add_routes(route)
    return app


@web.middleware
async def _guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give a request its id, and make an answer of whatever is raised."""
    request_id = f"req-{uuid4()}"
    REQUEST.set(request_id)
    began = time.perf_counter()
    try:
        answer = await handler(request)
    except web.HTTPException as refusal:
        answer = _json(refusal.status, faults.plain(refusal.status))
        if "Allow" in refusal.headers:
            answer.headers["Allow"] = refusal.headers["Allow"]
        if refusal.status == HTTPStatus.REQUEST_TIMEOUT:
            answer.force_close()
    except Unauthorized:
        answer = _json(401, faults.unauthorized())
        answer.headers["WWW-Authenticate"] = f'Keystone uri="{_root(request)}"'
    except WeftError as error:
        status, body = faults.fault(error)
        answer = _json(status, body)
        # Clients ask for an id that may be a name, and then for the name: nobody need know of the first.
        quiet = status == HTTPStatus.NOT_FOUND and request.method == "GET"
        log.log(logging.DEBUG if quiet else logging.INFO, "request refused id=%s reason=%s", request_id, error)
        if isinstance(error, Throttled):
            answer.headers["Retry-After"] = str(error.wait)
    except RecursionError:  # JSON that is nested as deep as Python just so reads, and cannot write
        answer = _json(*faults.fault(Unreadable("Body contains invalid data")))
        log.info("request refused id=%s reason=nested too deep", request_id)
    except Exception:
        answer = _json(500, faults.internal())
        log.exception("request failed id=%s method=%s path=%s", request_id, request.method, request.path)
    answer.headers[REQUEST_ID] = request_id
    took = time.perf_counter() - began
    method = request.method if request.method in _METHODS else "other"
    measures.REQUEST.labels(method, _resource(request), answer.status).observe(took)
    log.log(
        logging.DEBUG if request.method == "GET" else logging.INFO,
        "request served id=%s method=%s path=%s status=%d ms=%.1f",
        request_id,
        request.method,
        request.path,
        answer.status,
        took * 1e3,
    )
    return answer


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Those that are told apart in `/metrics`: a client can make up any number of others."""


def _resource(request: web.Request) -> str:
    """What kind of path is asked for: one of few, whatever ids there are."""
    found = request.match_info.route.resource
    return found.canonical if found is not None else "none"


class _Once(web.Response):
    """An answer that lets go of its body once it is sent: a client that stays connected keeps the last answer alive."""

    async def write_eof(self, data: bytes = b"") -> None:
        await super().write_eof(data)
        self.body = None


def _json(status: int, body: bytes) -> web.Response:
    return _Once(status=status, body=body, content_type="application/json")


def _answer(body: Json, status: int = 200) -> web.Response:
    return _json(status, _dumps(body).encode())


def _dumps(body: object) -> str:
    return json.dumps(body, separators=(",", ":"))


def _root(request: web.Request) -> str:
    """Where the client found us, by its own words."""
    return f"{request.headers.get('X-Forwarded-Proto', request.scheme)}://{request.host}"


def _version(request: web.Request) -> Json:
    self: Json = {"rel": "self", "href": f"{_root(request)}/v2.0/"}
    return {"id": "v2.0", "status": "CURRENT", "links": [self]}


async def _versions(request: web.Request) -> web.Response:
    return _answer({"versions": [_version(request)]})


async def _resources(request: web.Request) -> web.Response:
    """The resources; the version, too, for clients whose endpoint ends in `/v2.0` (keystoneauth discovery)."""
    found: list[Json] = [
        {
            "name": each.name,
            "collection": each.plural,
            "links": [{"rel": "self", "href": f"{_root(request)}/v2.0/{each.path}"}],
        }
        for each in COLLECTIONS
        if not each.is_part
    ]
    return _answer({"resources": found, "version": _version(request)})


async def _openapi(request: web.Request) -> web.Response:
    return _answer(document(COLLECTIONS, _root(request)))


async def _extensions(_: web.Request) -> web.Response:
    return _answer({"extensions": [*EXTENSIONS.values()]})


async def _extension(request: web.Request) -> web.Response:
    found = EXTENSIONS.get(alias := request.match_info["alias"])
    if found is None:
        kind, body = faults.no_extension(alias, request.headers.get("Accept", ""))
        return web.Response(status=404, body=body, headers={"Content-Type": kind})
    return _answer({"extension": found})


@dataclass(frozen=True, slots=True)
class _Served(Generic[R]):
    """The verbs and the operations on one collection."""

    collection: Collection[R]
    renderer: Renderer[R]
    store: Store
    wiring: Wiring
    settings: Settings
    policy: Policy

    def add_routes(self, route: web.UrlDispatcher) -> None:
        """Serve what the collection has."""
        for spelling in dict.fromkeys((self.collection.path, *_spellings(self.collection.path))):
            self._add_routes(route, f"/v2.0/{spelling}")

    def _add_routes(self, route: web.UrlDispatcher, path: str) -> None:
        collection = self.collection
        for list_path in (path, f"{path}/"):
            route.add_get(list_path, self.list, allow_head=False)
            if collection.create:
                route.add_post(list_path, partial(self.create, collection.create))
        for name, answer in collection.answers.items():
            route.add_get(f"{path}/{name}", partial(self.tell, answer), allow_head=False)
        route.add_get(f"{path}/{{id}}", self.show, allow_head=False)
        if collection.update:
            route.add_put(f"{path}/{{id}}", partial(self.update, collection.update))
        if collection.delete:
            route.add_delete(f"{path}/{{id}}", partial(self.delete, collection.delete))
        tagging = Tags(collection.plural).operations() if "tags" in collection.table else ()
        for operation in (*collection.operations, *tagging):
            route.add_route(operation.method, f"{path}/{{id}}/{operation.path}", partial(self.operate, operation))

    async def create(self, create: Create[R], request: web.Request) -> web.Response:
        """One resource, or several: then all or none."""
        caller, collection = request[CALLER], self.collection
        given = await _object(request)
        if (several := collection.plural in given) and not given[collection.plural]:
            raise Unreadable("Resources required")
        items = given[collection.plural] if several else [given.get(collection.name)]
        if not isinstance(items, list):
            raise Unreadable("Body contains invalid data")
        if len(items) > BULK_LIMIT:
            raise Unreadable(f"Bulk requests may have {BULK_LIMIT} resources, not {len(items)}")
        bodies = [self._body(item, caller, several) for item in items]
        asks = [self._ask(request, caller) for _ in bodies]
        collection.together(bodies)

        def work(tx: Transaction) -> list[R]:
            self._check_whole(caller, tx, request)
            for item, body in zip(items, bodies, strict=True):
                self.policy.check_create(caller, collection, tx, body, item)
            for project, more in Counter(body.fields.get("project_id", "") for body in bodies).items():
                quotas.check(tx, project, collection.name, more, self.settings.quotas)
            return [create(tx, body, ask) for body, ask in zip(bodies, asks, strict=True)]

        made = await self._commit(caller, work)
        scene = self._scene(caller)
        shown: list[Json] = [self.renderer.all(scene, record) for record in made]
        return _answer({collection.plural: shown} if several else {collection.name: shown[0]}, 201)

    def _body(self, item: Json, caller: Caller, several: bool) -> Body:
        if several and isinstance(item, dict) and self.collection.name in item:
            item = item[self.collection.name]
        return read_body(self.collection, item, True, caller.project_id)

    def _ask(self, request: web.Request, caller: Caller) -> Ask:
        return Ask(
            id=str(uuid4()),
            project_id=caller.project_id,
            is_admin=caller.is_admin,
            now=int(time.time()),
            settings=self.settings,
            within=request.match_info.get("within", ""),
            alive=lambda chassis: self.wiring.attendance(chassis).alive,
        )

    async def list(self, request: web.Request) -> web.Response:
        """Those that pass the query."""
        pairs = [*request.query.items()]
        query = read_query(self.collection, pairs)
        caller = request[CALLER]
        ask = self._ask(request, caller)
        self._check_whole(caller, self.store.model, request)
        await self._prepare(caller, ask, query)
        scene = replace(self._scene(caller), filters=query.filters)
        records = find(self.collection, scene, query, ask.within)
        keys = [self.renderer.key(scene, record) for record in records]
        found = links(_root(request) + request.path, pairs, query, keys)
        return _json(200, await self._listed(scene, records, query.fields, found))

    async def _prepare(self, caller: Caller, ask: Ask, query: Query) -> None:
        """Make what the project must find."""
        prepare = self.collection.prepare
        owner = query.filters.get("project_id", query.filters.get("tenant_id", [ask.project_id]))[0]
        if caller.is_admin or caller.speaks_for(owner):
            await self._written(caller, lambda tx: prepare(tx, owner, ask))

    async def _commit(self, caller: Caller, work: Callable[[Transaction], T]) -> T:
        """Have it written, on behalf of a caller and of this request; what switches must do for it comes after."""
        by = Author(caller.user, caller.project_id)
        return await self.store.commit(work, request=REQUEST.get(), by=by, at_once=True)

    async def _written(self, caller: Caller, work: Callable[[Transaction], T]) -> T:
        """What a reader needs to be there; tried on the replica first, since nearly always it is."""
        trial = Transaction(self.store.model)
        done = work(trial)
        return await self._commit(caller, work) if trial.writes() else done

    async def _listed(self, scene: Scene, records: Sequence[R], fields: tuple[str, ...], pages: Json) -> bytes:
        """A list as JSON, with a breath for everybody else after every `BREATH` records."""
        parts = []
        for start in range(0, len(records), BREATH):
            if start:
                await asyncio.sleep(0)
            shown = [self._shown(scene, record, fields) for record in records[start : start + BREATH]]
            parts.append(_dumps(shown)[1:-1])
        tail = f',"{self.collection.plural}_links":{_dumps(pages)}' if pages else ""
        return f'{{"{self.collection.plural}":[{",".join(parts)}]{tail}}}'.encode()

    async def show(self, request: web.Request) -> web.Response:
        """One of them."""
        caller, provide = request[CALLER], self.collection.provide
        record = self._need(self.store.model, request)
        self.policy.check_seen(caller, self.collection, self.store.model, record)
        fields = tuple(name for name in request.query.getall("fields", ()) if name)
        if provide is not None:
            ask = replace(self._ask(request, caller), fields=fields)
            told = await self._written(caller, lambda tx: provide(tx, self._need(tx, request), ask))
            if told is not None:
                return _answer({self.collection.name: told})
            record = self._need(self.store.model, request)
        return _answer({self.collection.name: self._shown(self._scene(caller), record, fields)})

    async def tell(self, answer: Callable[[Ask], Json], request: web.Request) -> web.Response:
        """What is no resource."""
        return _answer(answer(self._ask(request, request[CALLER])))

    async def update(self, update: Update[R], request: web.Request) -> web.Response:
        """Change what the body names, and nothing else."""
        caller, collection = request[CALLER], self.collection
        given = await _object(request)
        if collection.plural in given:
            raise Unreadable("Bulk operation not supported")
        body = read_body(collection, given.get(collection.name), False, caller.project_id)
        expected, ask = _expected(request), self._ask(request, caller)

        def work(tx: Transaction) -> R:
            old = self._need(tx, request)
            self.policy.check_update(caller, collection, tx, old, body, given.get(collection.name))
            return update(tx, _as_expected(old, expected), _with(old, body), body, ask)

        record = await self._commit(caller, work)
        return _answer({collection.name: self.renderer.all(self._scene(caller), record)})

    async def operate(self, operation: Operation[R], request: web.Request) -> web.Response:
        """Change it, or look at it, by one of its operations."""
        caller, reads = request[CALLER], operation.method == "GET"
        given = await _object(request) if operation.takes else {}
        change = operation.ask(request.match_info.get("item", ""), given)
        expected, ask = _expected(request), self._ask(request, caller)

        def work(tx: Transaction) -> R | Json:
            old = self._need(tx, request)
            self.policy.check_operation(caller, self.collection, tx, old, operation, given)
            return change(tx, _as_expected(old, expected), ask)

        done = work(Transaction(self.store.model)) if reads else await self._commit(caller, work)
        if operation.status == 204:
            return web.Response(status=204)
        if isinstance(done, Resource):
            shown: Json = self.renderer.all(self._scene(caller), done)
            done = shown if operation.bare else {self.collection.name: shown}
        return _answer(done, operation.status)

    async def delete(self, delete: Delete[R], request: web.Request) -> web.Response:
        """Remove it."""
        if await request.read():
            raise Unreadable("Request body is not supported in DELETE.")
        caller = request[CALLER]
        expected, ask = _expected(request), self._ask(request, caller)

        def work(tx: Transaction) -> None:
            old = self._need(tx, request)
            self.policy.check_delete(caller, self.collection, tx, old)
            delete(tx, _as_expected(old, expected), ask)

        await self._commit(caller, work)
        return web.Response(status=204)

    def _check_whole(self, caller: Caller, rows: Rows, request: web.Request) -> None:
        """What they are part of is there. Raises NotFound."""
        if self.collection.whole:
            whole = need(rows, self.collection.whole, request.match_info["within"])
            self.policy.check_named(caller, rows, type(whole), whole.id)

    def _need(self, rows: Rows, request: web.Request) -> R:
        """What the path names. Raises NotFound."""
        id = request.match_info["id"]
        if id == self.collection.mine:
            id = request[CALLER].project_id
        return self.collection.source.need(rows, request.match_info.get("within", ""), id)

    def _scene(self, caller: Caller) -> Scene:
        rows, collection = self.store.model, self.collection
        return Scene(
            rows,
            self.wiring,
            self.settings,
            lambda record: self.policy.sees(caller, collection, rows, record),
            self.policy.hidden(caller, collection, rows),
            caller.project_id,
        )

    def _shown(self, scene: Scene, record: R, fields: tuple[str, ...]) -> Json:
        return self.renderer.some(scene, record, fields) if fields else self.renderer.all(scene, record)


def _spellings(path: str) -> tuple[str, str]:
    """The names of a collection in paths: Neutron takes `-` for `_`, and `_` for `-`."""
    return path.replace("_", "-"), path.replace("-", "_")


def _with(record: R, body: Body) -> R:
    return replace(record, **body.fields)


def _as_expected(record: R, revision: int | None) -> R:
    """The record, if it is what the client thinks it is. Raises StaleRevision."""
    if revision is not None and record.revision_number != revision:
        raise StaleRevision(type(record).__name__, record.id, revision, record.revision_number)
    return record


async def _object(request: web.Request) -> dict[str, Json]:
    """The body, which must be a JSON object. Raises Unreadable.

    It may be called anything, or nothing, as many clients do; but not by a browser, which asks nobody whether a page of
    another site may send what it does not call JSON (Fetch, "CORS-safelisted request-header").
    """
    text = await request.read()
    if text and request.content_type != "application/json" and "Origin" in request.headers:
        raise web.HTTPUnsupportedMediaType
    try:
        found: Any = json.loads(text or b"{}", parse_constant=_no_number)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Unreadable("Body contains invalid data")
    return found


def _no_number(name: str) -> float:
    """NaN and the infinities are not JSON (RFC 8259, section 6)."""
    raise ValueError(name)


def _expected(request: web.Request) -> int | None:
    """The revision that `If-Match: revision_number=N` constrains to. Raises Unreadable."""
    numbers = [
        tag.strip().strip('"').removeprefix("revision_number=")
        for tag in request.headers.get("If-Match", "").split(",")
        if tag.strip().strip('"').startswith("revision_number=")
    ]
    if not numbers:
        return None
    if len(numbers) > 1:
        raise Unreadable("Bad if-match request: Multiple revision_number etags are not supported.")
    if not (numbers[0].isascii() and numbers[0].isdigit() and len(numbers[0]) < 19):
        raise Unreadable("Bad if-match request: Revision number etag must be in the format of revision_number=<int>.")
    return int(numbers[0])
