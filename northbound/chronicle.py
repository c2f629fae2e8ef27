"""The event log in an archive: the newest changes, each with its records before and after, and who had it when."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from controller.model.packing import pack, pack_row, unpack, unpack_row
from controller.model.records import KINDS, Record
from controller.model.store import MOST_EVENTS, Ack, Author, Change, Event, MemoryJournal, Write
from controller.southbound.fleet import Fleet

MOST_WRITES: Final = 50_000
"""Of so many records the changes are kept, and `MOST_EVENTS` changes, at the most: an archive is to be sent around."""
_PAGE: Final = 500


async def newest(fleet: Fleet, revision: int) -> list[Event]:
    """The newest changes up to a revision, the newest first: without a gap. Raises Unavailable."""
    found: list[Event] = []
    before, writes = revision + 1, 0
    while len(found) < MOST_EVENTS and (page := await fleet.events(before=before, limit=_PAGE)):
        for event in page:
            writes += len(event.change.writes)
            if writes > MOST_WRITES or len(found) == MOST_EVENTS:
                return found
            found.append(event)
        before = page[-1].change.revision
    return found


def line(event: Event) -> Mapping[str, Any]:
    """An event, as JSON."""
    change = event.change
    return {
        "revision": change.revision,
        "request": change.request,
        "user": change.by.user,
        "project": change.by.project,
        "chassis": change.by.chassis,
        "at": change.at,
        "acknowledged": dict(event.acknowledged),
        "writes": [
            {"kind": write.kind.__name__, "id": write.id, "old": _values(write.old), "new": _values(write.new)}
            for write in change.writes
        ],
    }


def _values(record: Record | None) -> Mapping[str, Any] | None:
    return None if record is None else unpack_row(type(record).__name__, record.id, pack(record))


def read(line: Mapping[str, Any]) -> Event:
    """The event of a line. Raises KeyError, ValueError, TypeError, Unavailable when it is none."""
    by = Author(str(line["user"]), str(line["project"]), str(line["chassis"]))
    change = Change(int(line["revision"]), str(line["request"]), tuple(_writes(line["writes"])), by, float(line["at"]))
    return Event(change, {str(name): float(at) for name, at in line["acknowledged"].items()})


def _writes(lines: Sequence[Mapping[str, Any]]) -> Iterator[Write]:
    for each in lines:
        kind, id = _KINDS[each["kind"]], str(each["id"])
        yield Write(kind, id, *(_record(kind, id, each[name]) for name in ("old", "new")))


_KINDS: Final = {kind.__name__: kind for kind in KINDS}


def _record(kind: type[Record], id: str, values: Mapping[str, Any] | None) -> Record | None:
    return None if values is None else unpack(kind.__name__, id, pack_row(values))


class Kept(MemoryJournal):
    """A journal that remembers what is read when it is first asked, of which the newest is first, and nothing else."""

    def __init__(self, read: Callable[[], Sequence[Event]]) -> None:
        super().__init__()
        self._read = read

    def events(self, about: str, before: int, limit: int) -> list[Event]:
        """As the protocol says. Raises whatever the reading does."""
        found, self._read = self._read(), tuple
        self.append([event.change for event in reversed(found)])
        self.note([Ack(each.change.revision, name, at) for each in found for name, at in each.acknowledged.items()])
        return super().events(about, before, limit)
