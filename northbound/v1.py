"""Weft's own operations under `/v1`, and the probes of whoever keeps it running. Reads the fleet; decides nothing.

What answers the questions of people is loaded when the first one is asked: a tenth of a start, and 4 MB.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Coroutine, Mapping
from dataclasses import asdict
from typing import Any, Final, TypeVar

from aiohttp import web

from controller.errors import Disconnected, Invalid, NotFound
from controller.model.history import Moment, told_time
from controller.southbound.counts import Count
from controller.southbound.differences import Difference
from controller.southbound.explained import Explanation
from controller.southbound.fleet import Fleet
from controller.southbound.told import Culprit, State, Status
from northbound import annals
from northbound.metrics import Metrics

_COOKIE = re.compile(r"0x[0-9a-f]{1,16}")
_MAX_COOKIES = 1_000_000
_MAX_EVENTS = 1_000
_LOOKS_S: Final = 0.5
"""How often it is seen whether whoever waits for long work is there."""

T = TypeVar("T")


def add_routes(app: web.Application, fleet: Fleet) -> None:
    """Serve `/v1`, `/healthz` and `/readyz` on an application."""
    routes = Routes(fleet)
    app.router.add_get("/v1/chassis", routes.chassis_list)
    app.router.add_get("/v1/chassis/{name}", routes.chassis)
    app.router.add_put("/v1/chassis/{name}", routes.change)
    app.router.add_delete("/v1/chassis/{name}", routes.forget)
    app.router.add_get("/v1/routers/{id}", routes.router)
    app.router.add_get("/v1/floatingips/{id}", routes.floating_ip)
    app.router.add_get("/v1/flows/{name}", routes.flows)
    app.router.add_get("/v1/diff", routes.diff)
    app.router.add_post("/v1/explain", routes.explain)
    app.router.add_post("/v1/conn/{name}", routes.conn)
    app.router.add_post("/v1/datapath/{name}", routes.datapath)
    app.router.add_post("/v1/trace", routes.trace)
    app.router.add_post("/v1/prove", routes.prove)
    app.router.add_post("/v1/recompute", routes.recompute)
    app.router.add_get("/v1/drops", routes.drops)
    app.router.add_get("/v1/why-down/{port}", routes.why_down)
    app.router.add_post("/v1/why", routes.why)
    app.router.add_get("/v1/cost/{id}", routes.cost)
    app.router.add_post("/v1/repair/{name}", routes.repair)
    app.router.add_get("/v1/bundle", routes.bundle)
    app.router.add_get("/v1/history", routes.history)
    app.router.add_get("/v1/blame", routes.blame)
    app.router.add_get("/v1/at", routes.at)
    app.router.add_get("/metrics", Metrics(fleet).get)
    app.router.add_get("/healthz", routes.health)
    app.router.add_get("/readyz", routes.ready)


class Routes:
    """The handlers, over one fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._proof = asyncio.Lock()

    async def chassis_list(self, request: web.Request) -> web.Response:
        """GET /v1/chassis: every hypervisor, and whoever connected without being one."""
        return web.json_response(self.statuses())

    def statuses(self) -> dict[str, Any]:
        strangers = ({"address": each.address, "reason": each.reason} for each in self._fleet.strangers())
        return {"chassis": [_status(status) for status in self._fleet.statuses()], "strangers": [*strangers]}

    async def chassis(self, request: web.Request) -> web.Response:
        """GET /v1/chassis/NAME."""
        return web.json_response({"chassis": _status(self._fleet.status(request.match_info["name"]))})

    async def change(self, request: web.Request) -> web.Response:
        """PUT /v1/chassis/NAME `{"gateway": false}`: no router's gateway shall be active there; `true` lets them."""
        name, asked = request.match_info["name"], _object(await request.read())
        if asked.keys() != {"gateway"} or not isinstance(asked["gateway"], bool):
            raise Invalid("chassis", '{"gateway": true} or {"gateway": false} is needed')
        await self._fleet.drain(name, drained=not asked["gateway"])
        return web.json_response({"chassis": _status(self._fleet.status(name))})

    async def forget(self, request: web.Request) -> web.Response:
        """DELETE /v1/chassis/NAME: for a hypervisor that is gone for good."""
        await self._fleet.forget(request.match_info["name"])
        return web.Response(status=204)

    async def router(self, request: web.Request) -> web.Response:
        """GET /v1/routers/ID: the hypervisors that are its gateways, the best first, and the one that is active."""
        id = request.match_info["id"]
        outside = self._fleet.readiness.gateways(id)
        return web.json_response({"router": {"id": id, "gateways": [*outside.chassis], "active": outside.active}})

    async def floating_ip(self, request: web.Request) -> web.Response:
        """GET /v1/floatingips/ID: where it is translated, on its guest's own hypervisor or at its router's gateways."""
        id = request.match_info["id"]
        outside = self._fleet.readiness.translated(id)
        binding = ("distributed" if outside.distributed else "centralized") if outside.chassis else None
        found = {"id": id, "binding": binding, "chassis": [*outside.chassis], "active": outside.active}
        return web.json_response({"floatingip": found})

    async def flows(self, request: web.Request) -> web.Response:
        """GET /v1/flows/NAME[?object=ID|NAME][&counts=true]: what the switch should hold, and why.

        `object` narrows it to what one object wants; `counts` adds what the switch has counted.
        """
        name, called = request.match_info["name"], request.query.get("object")
        explanations = self._fleet.inspection.flows(name)
        if called:
            wanted = annals.find(self._fleet.rows, called)
            explanations = [each for each in explanations if any(one.id == wanted for one in each.objects)]
            if not explanations and not annals.is_there(self._fleet.rows, wanted):
                raise NotFound("Object", called)
        counts = await self._fleet.inspection.counted(name) if request.query.get("counts") == "true" else {}
        found = [explanation(each, counts.get(each.cookie)) for each in explanations]
        return web.json_response(
            {
                "flows": [each for each in found if each["cookie"]],
                "groups": [each for each in found if not each["cookie"]],
            }
        )

    async def diff(self, request: web.Request) -> web.Response:
        """GET /v1/diff: dump every connected switch and compare; `why` is whose each line is that is, or was, ours."""
        differences, unreachable = await self._fleet.inspection.diff()
        return web.json_response(
            {
                "chassis": [_difference(each) for each in differences],
                "unreachable": list(unreachable),
                "failures": dict(self._fleet.failures()),
            }
        )

    async def explain(self, request: web.Request) -> web.Response:
        """POST /v1/explain `{"cookies": ["0x..."], "groups": [ID]}`: the flows of ours among them, and the groups."""
        asked = _object(await request.read())
        cookies, groups = _cookies(asked), _groups(asked)
        known = await self._fleet.explained.looked_up()
        return web.json_response(
            {
                "flows": {text: explanation(known.flows[c]) for text, c in cookies if c in known.flows},
                "groups": {str(id): explanation(known.groups[id]) for id in groups if id in known.groups},
            }
        )

    async def datapath(self, request: web.Request) -> web.Response:
        """POST /v1/datapath/NAME `{"dump": "..."}`: that chassis's datapath flows, in logical words."""
        from northbound import datapath

        name = request.match_info["name"]
        self._fleet.status(name)
        dump = _dump(await request.read(), "ovs-appctl dpctl/dump-flows -m")
        known = (await self._fleet.explained.looked_up()).flows
        found = datapath.told(self._fleet.rows, name, dump, lambda cookie: known.get(cookie))
        return web.json_response({"flows": [{"text": text, "words": words or None} for text, words in found]})

    async def conn(self, request: web.Request) -> web.Response:
        """POST /v1/conn/NAME `{"dump": "..."}`: that chassis's conntrack dump, joined with ports and rules."""
        from northbound import conn

        name = request.match_info["name"]
        self._fleet.status(name)
        found = conn.join(
            self._fleet.rows, name, conn.read(_dump(await request.read(), "ovs-appctl dpctl/dump-conntrack"))
        )
        return web.json_response({"connections": [conn.as_json(each) for each in found]})

    async def trace(self, request: web.Request) -> web.Response:
        """POST /v1/trace `{"from": PORT|ADDRESS, "to": ADDRESS|PORT, ...}`: one packet to its fate, by desired flows.

        `behind` are the hypervisors on its way that do not hold what they should, and how far they have got. With
        `"live": true` it is really sent, and `live` is where it was found, and whether that `agrees`. With
        `"installed": true` it goes through what switches hold; `"conntrack": {NAME: DUMP}` are the connections there.
        With `"ofproto": true`, `ofproto` is what ofproto/trace on each hypervisor is asked, and should show (`stages`).
        """
        from northbound import live, remembered, stages, tracing

        asked, way = live.question(_object(await request.read()))
        for name in way.conntrack:
            self._fleet.status(name)
        known = {name: [*remembered.read(text.splitlines())] for name, text in way.conntrack.items()}
        switch = await self._fleet.inspection.held() if way.installed else self._fleet.inspection.standing
        answer = tracing.trace(self._fleet.rows, switch, asked, self._fleet.away(), known, whole=way.ofproto)
        states = {name: self._fleet.status(name).state for name in answer.chassis}
        behind = {name: state.value for name, state in states.items() if state is not State.IN_STEP}
        happened = {"live": await live.live(self._fleet, asked, answer)} if way.sent else {}
        asks = {"ofproto": [*stages.asks(self._fleet.rows, answer)]} if way.ofproto else {}
        return web.json_response({**tracing.as_json(answer), "behind": behind, **asks, **happened})

    async def prove(self, request: web.Request) -> web.Response:
        """POST /v1/prove `{["reaches": PORT, "only": [PORT...]]}`: a proof over what connected switches hold, or
        packets. With `"live": true` these are really sent, and `live` of each is what became of it.

        `proven` is false, too, when a hypervisor could not be asked (`unreachable`), or something not be told
        (`notes`). One proof at a time: each takes a gigabyte, and all processors; it ends when its client goes.
        """
        asked = _object(await request.read() or b"{}")
        return web.json_response(await _while_there(request, self._proven(asked)))

    async def _proven(self, asked: Mapping[str, object]) -> dict[str, Any]:
        from northbound import proving

        async with self._proof:
            return await proving.proven(self._fleet, asked)

    async def drops(self, request: web.Request) -> web.Response:
        """GET /v1/drops[?chassis=NAME]: the flows that decided that packets are dropped, most packets first.

        `chassis` are those that were asked, `unreachable` those that are not connected.
        """
        asked = dict.fromkeys(request.query.getall("chassis", ()))
        names, unreachable = [], []
        found: list[tuple[str, Culprit]] = []
        for name in asked or [each.chassis.id for each in self._fleet.statuses()]:
            try:
                found += [(name, culprit) for culprit in await self._fleet.inspection.culprits(name)]
                names.append(name)
            except (Disconnected, NotFound):
                if asked:
                    raise
                unreachable.append(name)
        found.sort(key=lambda each: -each[1].packets)
        return web.json_response(
            {
                "drops": [_culprit(name, culprit) for name, culprit in found],
                "chassis": names,
                "unreachable": unreachable,
            }
        )

    async def why_down(self, request: web.Request) -> web.Response:
        """GET /v1/why-down/PORT: every reason for which a port is not ACTIVE."""
        from northbound import why

        port, reasons = why.why_down(self._fleet, request.match_info["port"])
        return web.json_response(
            {"port": port.id, "status": self._fleet.readiness.port_status(port), "reasons": reasons}
        )

    async def why(self, request: web.Request) -> web.Response:
        """POST /v1/why, as /v1/trace: what is wrong with the two ports, and the fate of the packet."""
        from northbound import sending, why

        return web.json_response(why.why(self._fleet, sending.question(_object(await request.read()))))

    async def cost(self, request: web.Request) -> web.Response:
        """GET /v1/cost/ID|NAME: flows and groups that an object has on switches, by app and rule."""
        found = self._fleet.cost(annals.find(self._fleet.rows, request.match_info["id"]))
        total = sum(each.flows * each.hosts for each in found)
        return web.json_response({"cost": [asdict(each) for each in found], "total": total})

    async def repair(self, request: web.Request) -> web.Response:
        """POST /v1/repair/NAME[?object=ID|NAME]: dump that switch, and put right what is not as it should be.

        Of one object, only what that wants there.
        """
        called = request.query.get("object", "")
        about = annals.find(self._fleet.rows, called) if called else ""
        applied = await self._fleet.repair(request.match_info["name"], about)
        return web.json_response({"flow_mods": applied.flow_mods, "group_mods": applied.group_mods})

    async def bundle(self, request: web.Request) -> web.Response:
        """GET /v1/bundle[?chassis=NAME...][&dumps=false]: the archive of `weft bundle` (docs/debugging.md).

        With dumps of these hypervisors, by default of all that are connected, or of none. `?time=SECONDS` since the
        epoch, or `?revision=N`: without dumps, and as all was then.
        """
        from northbound import archive, chronicle

        names = request.query.getall("chassis", None)
        if (moment := _moment(request.query)) is not None:
            fleet, _ = await annals.at(self._fleet, moment)
            made = await archive.gather(fleet, (), Routes(fleet).statuses)
        else:
            asked = () if request.query.get("dumps") == "false" else names
            made = await archive.gather(self._fleet, asked, self.statuses)
        made.history = await chronicle.newest(self._fleet, made.revision)
        content = await asyncio.to_thread(lambda: archive.packed(archive.members(made, explanation)))
        return web.Response(body=content, content_type="application/gzip")

    async def history(self, request: web.Request) -> web.Response:
        """GET /v1/history[?object=ID|NAME][&before=REVISION][&limit=N]: what changed, the newest first."""
        called = request.query.get("object", "")
        about = annals.find(self._fleet.rows, called) if called else ""
        limit = min(_count(request.query, "limit", 20), _MAX_EVENTS)
        before = _count(request.query, "before", 0) or None
        events = await self._fleet.events(about, before, limit)
        return web.json_response({"object": about or None, "events": [annals.as_json(each) for each in events]})

    async def blame(self, request: web.Request) -> web.Response:
        """GET /v1/blame?cookie=0x...[&chassis=NAME][&most=N]: which change made a flow what it is.

        `event` is null when it is older than `most` changes, or than what is remembered.
        """
        cookie = request.query.get("cookie", "")
        if not _COOKIE.fullmatch(cookie):
            raise Invalid("cookie", f"'{cookie}' is no cookie like 0xa7...")
        most = _count(request.query, "most", annals.MOST)
        found = await annals.blame(self._fleet, int(cookie, 16), request.query.get("chassis"), most)
        event = annals.as_json(found.event) if found.event else None
        return web.json_response({"flow": explanation(found.flow), "chassis": found.chassis, "event": event})

    async def at(self, request: web.Request) -> web.Response:
        """GET /v1/at?time=SECONDS|revision=N: the revision then, and the first event since, or null."""
        moment = _moment(request.query)
        if moment is None:
            raise Invalid("time", "a time or a revision is needed")
        fleet, since = await annals.at(self._fleet, moment)
        counts = fleet.counts()
        told = annals.as_json(since) if since else None
        return web.json_response({"revision": fleet.revision, "records": counts, "since": told})

    async def recompute(self, request: web.Request) -> web.Response:
        """POST /v1/recompute: compute everything from scratch; how many entries come out otherwise (always 0)."""
        return web.json_response({"changed": self._fleet.recompute()})

    async def health(self, request: web.Request) -> web.Response:
        """GET /healthz: the process runs."""
        return web.json_response({"status": "ok"})

    async def ready(self, request: web.Request) -> web.Response:
        """GET /readyz: the model is loaded, and the store can write."""
        problem = self._fleet.problem()
        return web.json_response({"status": problem or "ok"}, status=503 if problem else 200)


def _object(body: bytes) -> dict[str, object]:
    """A JSON object. Raises Invalid."""
    try:
        given = json.loads(body)
    except ValueError as error:
        raise Invalid("body", "it is no JSON") from error
    if not isinstance(given, dict):
        raise Invalid("body", "it is no JSON object")
    return given


def _dump(body: bytes, command: str) -> list[str]:
    dump = _object(body).get("dump")
    if not isinstance(dump, str):
        raise Invalid("dump", f"the text of {command} is needed")
    return dump.splitlines()


def _groups(asked: Mapping[str, object]) -> list[int]:
    groups = asked.get("groups", [])
    if not isinstance(groups, list) or len(groups) > _MAX_COOKIES or any(type(each) is not int for each in groups):
        raise Invalid("groups", "a list of numbers is needed")
    return groups


def _cookies(asked: Mapping[str, object]) -> list[tuple[str, int]]:
    cookies = asked.get("cookies")
    if not isinstance(cookies, list) or len(cookies) > _MAX_COOKIES:
        raise Invalid("cookies", "a list of cookies is needed")
    for cookie in cookies:
        if not isinstance(cookie, str) or not _COOKIE.fullmatch(cookie):
            raise Invalid("cookies", f"{cookie!r} is no cookie like 0xa7...")
    return [(cookie, int(cookie, 16)) for cookie in cookies]


def _count(query: Mapping[str, str], name: str, default: int) -> int:
    """A number of a query. Raises Invalid."""
    given = query.get(name, "")
    if given and not (given.isascii() and given.isdigit() and len(given) < 19):
        raise Invalid(name, f"'{given}' is no number")
    return int(given) if given else default


def _moment(query: Mapping[str, str]) -> Moment | None:
    """The time that a query is about; None is now. Raises Invalid."""
    if "revision" in query:
        return Moment(revision=_count(query, "revision", 0))
    if "time" not in query:
        return None
    try:
        at = float(query["time"])
        told_time(at)
    except (ValueError, OverflowError, OSError) as error:
        raise Invalid("time", f"'{query['time']}' are no seconds since the epoch") from error
    return Moment(at=at)


def _status(status: Status) -> dict[str, Any]:
    chassis, member = status.chassis, status.member
    datapath = member.datapath_id
    return {
        "name": chassis.id,
        "hostname": chassis.hostname,
        "connected": member.connected,
        "database_connected": member.database,
        "revision": member.revision,
        "applied_revision": member.applied_revision,
        "state": status.state.value,
        "problem": status.problem,
        "advice": chassis.advice,
        "encap_ip": chassis.encap_ip,
        "encap_types": list(chassis.encap_types),
        "bridge": chassis.bridge,
        "datapath_id": None if datapath is None else f"{datapath:016x}",
        "datapath_type": chassis.datapath_type,
        "bridge_mappings": dict(chassis.bridge_mappings),
        "gateway_priority": chassis.gateway_priority,
        "availability_zone": chassis.availability_zone,
        "gateway": chassis.gateway_priority is not None and not status.drained,
        "drained": status.drained,
        "recovering": status.recovering,
        "flows": status.flows,
        "foreign_flows": len(member.foreign),
        "refused_flows": [{"flow": refusal.what, "error": refusal.error} for refusal in member.refusals.values()],
        "unexpected_errors": member.complaints.count if member.complaints else 0,
        "newest_error": member.complaints.newest if member.complaints else "",
        "flow_mods": member.flow_mods,
        "mods_bytes": member.mods_bytes,
    }


async def _while_there(request: web.Request, working: Coroutine[Any, Any, T]) -> T:
    """What long work comes to; it is given up when nobody is there any more to be told."""
    task = asyncio.ensure_future(working)
    try:
        while not task.done():
            await asyncio.wait([task], timeout=_LOOKS_S)
            if request.transport is None:
                break
    finally:
        task.cancel()
    return await task


def explanation(each: Explanation, count: Count | None = None) -> Mapping[str, Any]:
    return {
        **({"packets": count.packets, "bytes": count.bytes} if count else {}),
        "cookie": f"{each.cookie:#018x}" if each.cookie else None,
        **({} if each.group is None else {"group": each.group}),
        "app": each.app,
        "table": each.table,
        "reason": each.reason,
        "text": each.text,
        "objects": [{"kind": one.kind, "id": one.id, "name": one.name} for one in each.objects],
    }


def _culprit(chassis: str, each: Culprit) -> dict[str, Any]:
    counted = {
        "reason": each.why.name, "sentence": each.why.sentence, "packets": each.packets, "bytes": each.bytes
    }  # fmt: skip
    return {"chassis": chassis, **counted, "flow": explanation(each.flow)}


def _difference(each: Difference) -> dict[str, Any]:
    return {
        "name": each.chassis,
        "missing": list(each.missing),
        "unwanted": list(each.unwanted),
        "altered": list(each.altered),
        "foreign": list(each.foreign),
        "refused": list(each.refused),
        "conflicts": list(each.conflicts),
        "why": {text: explanation(why) for text, why in each.why.items()},
    }
