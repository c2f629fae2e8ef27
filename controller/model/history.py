"""The event log: what changed, when, on whose behalf, and when each hypervisor had it.

An event is a change that lasts, with every record that it wrote as it was before and after. So the model of an earlier
time is that of now with the events since then undone, the newest first. Kinds that do not last (OpenFlow port numbers)
are in no event: of these an earlier model has what there is now.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from controller.model.records import Record
from controller.model.store import Change, Event, Write


def undone(records: Iterable[Record], events: Sequence[Event]) -> Iterator[Record]:
    """The records as they were before these events, of which the newest is first."""
    found = {(type(record), record.id): record for record in records}
    for event in events:
        for write in event.change.writes:
            if write.old is None:
                found.pop((write.kind, write.id), None)
            else:
                found[write.kind, write.id] = write.old
    return iter(found.values())


def backwards(event: Event) -> Change:
    """The change that undoes an event."""
    change = event.change
    writes = tuple(Write(write.kind, write.id, write.new, write.old) for write in change.writes)
    return replace(change, revision=change.revision - 1, writes=writes)


@dataclass(frozen=True, slots=True)
class Moment:
    """A time in seconds since the epoch, or right after a revision."""

    at: float | None = None
    revision: int | None = None

    def is_after(self, event: Event) -> bool:
        """Had it happened by then?"""
        if self.revision is not None:
            return event.change.revision <= self.revision
        return self.at is not None and event.change.at <= self.at

    def __str__(self) -> str:
        return told_time(self.at) if self.at is not None else f"revision {self.revision}"


def told_time(at: float) -> str:
    """A time as ISO 8601 writes it, in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
