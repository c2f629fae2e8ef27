"""What was: who changed an object, who made a flow what it is, and the whole model of another time.

The log (`controller.model.history`) has every change with the records before and after it. A flow is traced to its
change by going back from now, change by change, in an engine beside the controller's own, until the flow becomes
another one. All that is computed is computed in a thread; the controller goes on meanwhile, slower.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from controller.errors import Ambiguous, NotFound
from controller.flows.engine import Engine
from controller.flows.flow import Key
from controller.model.history import Moment, backwards, told_time, undone
from controller.model.records import KINDS, Counter, FloatingIp, Released, Resource, Tag
from controller.model.store import Event, MemoryJournal, Model, Rows, Store, Write
from controller.southbound.dumps import Remembered
from controller.southbound.explained import Explanation
from controller.southbound.fleet import Fleet

PAGE: Final = 200
"""So many events are read at a time."""
MOST: Final = 5_000
"""So many changes are gone back for one flow, unless it is said otherwise."""
SLACK_S: Final = 60.0
"""So much later the clock of whoever asks may be."""
INTERNAL: Final = frozenset({Counter, Tag, Released})
"""Kinds whose changes tell a person nothing."""
QUIET: Final = frozenset({"id", "revision_number", "updated_at", "created_at"})


def find(rows: Rows, called: str) -> str:
    """The id of an object that is called so: by id, by name, or a floating IP by its address; of what is gone, what was
    said. Raises Ambiguous."""
    if is_there(rows, called):
        return called
    named = [
        (kind.__name__.lower(), record.id)
        for kind in KINDS
        if issubclass(kind, Resource) and ("name",) in kind.INDEXES
        for record in rows.where(kind, name=called)
    ]
    named += [("floatingip", each.id) for each in rows.where(FloatingIp, floating_ip_address=called)]
    if len(named) > 1:
        raise Ambiguous("Object", called, tuple(f"{kind} {id}" for kind, id in named))
    return named[0][1] if named else called


def is_there(rows: Rows, id: str) -> bool:
    """Is there an object of this id?"""
    return any(rows.get(kind, id) for kind in KINDS)


@dataclass(frozen=True, slots=True)
class Blame:
    """A flow, the chassis it was looked at on, and the event that made it what it is: None if it is older."""

    flow: Explanation
    chassis: str
    event: Event | None


async def blame(fleet: Fleet, cookie: int, chassis: str | None, most: int = MOST) -> Blame:
    """Which event made a flow. Raises NotFound when no switch, or not that one, should hold it; Unavailable."""
    await fleet.explained.looked_up()
    flow, found = fleet.explained.dictionary().flows.get(cookie), fleet.standing_at(cookie)
    where = [name for name in found[1] if chassis in (None, name)] if found else []
    if flow is None or found is None or not where:
        who = f"hypervisor {chassis}" if chassis else "hypervisor"
        raise NotFound("Flow", f"{cookie:#018x}", f"No {who} should hold a flow with the cookie {cookie:#018x}.")
    model = fleet.copied()
    before, left = model.revision + 1, most
    engine = await asyncio.to_thread(Engine, model, fleet.apps)
    while left > 0 and (page := await fleet.events(before=before, limit=min(PAGE, left))):
        made = await asyncio.to_thread(_made, engine, page, where[0], found[0].key)
        if made is not None:
            return Blame(flow, where[0], made)
        before, left = page[-1].change.revision, left - len(page)
    return Blame(flow, where[0], None)


def _made(engine: Engine, events: Sequence[Event], chassis: str, key: Key) -> Event | None:
    """Go back event by event until what stands under a key on a chassis is something else: which event made it."""
    for event in events:
        change = backwards(event)
        engine.model.apply(change)
        if key in engine.update([change]).get(chassis, {}):
            return event
    return None


async def at(fleet: Fleet, moment: Moment) -> tuple[Fleet, Event | None]:
    """The fleet as it was, all in step, and the first event since.

    Raises NotFound if that is not remembered, or yet to come.
    """
    model = fleet.copied()
    if (moment.revision or 0) > model.revision or (moment.at or 0.0) > time.time() + SLACK_S:
        raise NotFound("History", str(moment), f"{moment} is yet to come: it is revision {model.revision} now.")
    since = await _since(fleet, moment, model.revision + 1)
    revision = since[-1].change.revision - 1 if since else model.revision
    records = [*undone((record for kind in KINDS for record in model.all(kind)), since)]
    then = await asyncio.to_thread(_computed, fleet, Model(revision, records))
    for status in then.statuses():
        then.remember(status.chassis.id, _in_step(revision), None)
    return then, since[-1] if since else None


def _computed(fleet: Fleet, model: Model) -> Fleet:
    store = Store(MemoryJournal(), model, sealed="what was cannot be changed")
    return Fleet(store, Engine(model, fleet.apps), ovsdb=fleet.ovsdb)


def _in_step(revision: int) -> Remembered:
    """Whether switches had what they should is not asked: what they should have had is."""
    return Remembered(
        datapath_id=None, connected=True, database=True, revision=revision, applied_revision=revision, flow_mods=0,
        mods_bytes=0, trouble="", refused={},
    )  # fmt: skip


async def _since(fleet: Fleet, moment: Moment, before: int) -> list[Event]:
    """All events since then, the newest first. Raises NotFound when some are not remembered."""
    found: list[Event] = []
    while page := await fleet.events(before=before, limit=PAGE):
        for event in page:
            if moment.is_after(event):
                return found
            found.append(event)
        before = page[-1].change.revision
    began = found[-1].change.at if found else time.time()
    raise NotFound(
        "History", str(moment), f"What was at {moment} is not remembered: the history begins {told_time(began)}."
    )


# ---- for machines and people --------------------------------------------------------------------------------------


def as_json(event: Event) -> dict[str, Any]:
    """An event for machines: times are ISO 8601, in UTC; of a change what an attribute was and became."""
    change = event.change
    return {
        "revision": change.revision,
        "at": told_time(change.at),
        "request": change.request,
        **asdict(change.by),
        "changes": [_write(write) for write in change.writes if write.kind not in INTERNAL],
        "acknowledged": {name: told_time(at) for name, at in event.acknowledged.items()},
    }


def _write(write: Write) -> dict[str, Any]:
    record = write.new or write.old
    name = record.name if isinstance(record, Resource) else ""
    what = "created" if write.old is None else "deleted" if write.new is None else "changed"
    return {
        "kind": write.kind.__name__.lower(),
        "id": write.id,
        "name": name,
        "what": what,
        "attributes": _attributes(write),
    }


def _attributes(write: Write) -> dict[str, list[Any]]:
    """What differs, before and after."""
    found = {}
    for each in fields(write.kind):
        old, new = (getattr(record, each.name, None) for record in (write.old, write.new))
        if old != new and each.name not in QUIET:
            found[each.name] = [_plain(old), _plain(new)]
    return found


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value


def text(event: Mapping[str, Any]) -> Iterator[str]:
    """A line for the event, one a record, and one for when hypervisors had it."""
    who = [f"{word} {event[word]}" for word in ("user", "project", "chassis") if event[word]]
    nobody = "by whoever may ask" if event["request"] else "by the controller"
    yield " ".join((event["at"], f"revision {event['revision']}", event["request"] or "-", *(who or [nobody])))
    for each in event["changes"]:
        name = f'"{each["name"]}" ' if each["name"] else ""
        changed = ", ".join(f"{key} {_short(old)} -> {_short(new)}" for key, (old, new) in each["attributes"].items())
        tail = f": {changed}" if each["what"] == "changed" and changed else ""
        yield f"    {each['kind']} {name}{each['id']} {each['what']}{tail}"
    if event["acknowledged"]:
        yield "    had by " + ", ".join(f"{name} {at[11:23]}" for name, at in sorted(event["acknowledged"].items()))


def _short(value: Any) -> str:
    said = str(value)
    return said if len(said) <= 60 else f"{said[:57]}..."
