"""`weft prove`: what switches hold, proven against the model, or the packets that are against it.

The proof runs in a process of its own, so that the controller goes on meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from controller.errors import Disconnected, Invalid, Unproven
from controller.model.bindings import Unplaced, place
from controller.model.records import Chassis
from controller.model.store import Rows
from controller.prove.cloud import Held
from controller.prove.proof import Answer, Question, Violation
from controller.southbound.dumps import Dump
from controller.southbound.explained import Explanation
from controller.southbound.fleet import Fleet
from controller.southbound.probes import ENDS
from northbound import archive, attempts
from northbound.explain import sentence
from northbound.sending import find_port
from northbound.verdict import CLAIMS

_NONE: Final = 0xFFFFFF00
"""OpenFlow port numbers from here on are no ports (section 7.2.1), but for the bridge's own (LOCAL)."""
LOCAL: Final = 0xFFFFFFFE
_INNER: Final = frozenset({"ofport", "end", "values", "rounds", "reached", "marked", "how"})
"""What a violation has for `attempts` alone."""


async def proven(fleet: Fleet, asked: Mapping[str, object]) -> dict[str, Any]:
    """The answer of POST /v1/prove; what is against a claim is sent if `live` is asked for.

    Raises Invalid, NotFound, Ambiguous, Unplugged, Unproven.
    """
    reaches, only, sent = _asked(fleet, asked)
    made = await archive.gather(fleet, None, lambda: None)
    held = {name: _held(fleet, name, dump) for name, dump in made.dumps.items()}
    unreachable = dict(made.unreachable)
    ends = {name: fleet.inspection.unaltered(name, dump.installed, ENDS) for name, dump in made.dumps.items() if sent}
    if not held:
        raise Unproven("no hypervisor tells what it holds, so there is nothing to prove")
    answer = await _elsewhere(Question(tuple(made.records), held, reaches, only))
    known = fleet.explained.dictionary().flows
    violations = [_violation(each, fleet.rows, known) for each in answer.violations]
    tried = {}
    if sent:
        told = await attempts.made(fleet, answer.violations, ends)
        violations = [{**each, "live": found} for each, found in zip(violations, told, strict=True)]
        tried = {"live": attempts.summed(told)}
    return {
        "proven": not answer.count and not unreachable and not answer.notes,
        "claims": ["reaches"] if reaches else [name for name in CLAIMS if name != "reaches"],
        "violations": violations,
        **tried,
        "count": answer.count,
        "notes": [*answer.notes],
        "unjudged": dict(answer.unjudged),
        "unreachable": unreachable,
        "chassis": [*answer.chassis],
        "flows": answer.flows,
        "senders": answer.senders,
        "seconds": round(answer.seconds, 3),
        "peak_bytes": answer.peak_bytes,
    }


def _asked(fleet: Fleet, asked: Mapping[str, object]) -> tuple[str, tuple[str, ...], bool]:
    unknown = sorted(asked.keys() - {"reaches", "only", "live"})
    if unknown:
        raise Invalid(unknown[0], "it is neither reaches nor only nor live")
    target, only, sent = asked.get("reaches"), asked.get("only", []), asked.get("live", False)
    if not isinstance(sent, bool):
        raise Invalid("live", f"{sent!r} is neither true nor false")
    if not isinstance(only, list) or not all(isinstance(each, str) for each in only):
        raise Invalid("only", "a list of ports is needed")
    if target is None:
        if only:
            raise Invalid("only", "it says who may reach a port: say which, as reaches")
        return "", (), sent
    if not isinstance(target, str):
        raise Invalid("reaches", "a port by id or name is needed")
    port = find_port(fleet.rows, target)
    placed = place(fleet.rows, port)
    if isinstance(placed, Unplaced):
        raise Invalid("reaches", f"port {target} is plugged in nowhere: {placed.reason}")
    if fleet.status(placed.chassis).member.source is None:
        raise Disconnected(placed.chassis, "its switch is not connected")
    return port.id, tuple(find_port(fleet.rows, each).id for each in only), sent


def _held(fleet: Fleet, name: str, dump: Dump) -> Held:
    flows, groups = fleet.inspection.lines(name, dump.installed)
    ports = {port.number: port.name for port in dump.described if port.number < _NONE or port.number == LOCAL}
    return Held(tuple(flows), tuple(groups), ports)


async def _elsewhere(question: Question) -> Answer:
    """In another process. Raises Unproven."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "controller.prove"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        out, _ = await child.communicate(await asyncio.to_thread(pickle.dumps, question))
    except asyncio.CancelledError:
        os.killpg(child.pid, signal.SIGKILL)  # it shares its work among children
        await child.wait()
        raise
    answer = await asyncio.to_thread(pickle.loads, out) if out else f"the proof ended with {child.returncode}"
    if not isinstance(answer, Answer):
        raise Unproven(str(answer))
    return answer


def _violation(each: Violation, rows: Rows, known: Mapping[int, Explanation]) -> dict[str, Any]:
    shown = {name: value for name, value in asdict(each).items() if name not in _INNER}
    chassis = rows.get(Chassis, each.sender_chassis)
    way = [_met(asdict(met), known.get(met.cookie or 0)) for met in each.way]
    return {**shown, "sender_bridge": chassis.bridge if chassis else "", "way": way, "claimed": CLAIMS[each.claim]}


def _met(met: dict[str, Any], why: Explanation | None) -> dict[str, Any]:
    cookie = met.pop("cookie")
    objects = [{"kind": one.kind, "id": one.id, "name": one.name} for one in why.objects] if why else []
    words = (
        None
        if why is None
        else sentence({"app": why.app, "table": why.table, "reason": why.reason, "objects": objects})
    )
    return {**met, "cookie": None if cookie is None else f"{cookie:#018x}", "why": words, "objects": objects}
