"""All that one switch holds at a moment, as it told it: to be kept, and asked again when the switch is not there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controller.southbound.counts import EVERY_TABLE, Count
from controller.southbound.messages import Meter, PortDesc
from controller.southbound.reconcile import Installed


@dataclass(frozen=True, slots=True)
class Dump:
    """Flows and groups, what the flows had counted, meters, ports; of others, too.

    It answers what a `Switch` is asked by those who change nothing.
    """

    installed: Installed
    counted: tuple[Count, ...] = ()
    meters: tuple[Meter, ...] = ()
    described: tuple[PortDesc, ...] = ()

    async def whole(self) -> Dump:
        """Itself."""
        return self

    async def dump(self) -> Installed:
        """All flows and groups."""
        return self.installed

    async def counts(self, table: int = EVERY_TABLE) -> list[Count]:
        """What the flows of a table, or of all, had counted."""
        return [count for count in self.counted if table in (EVERY_TABLE, count.table)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """How far a chassis had got, and what was wrong with it, as `/v1/chassis` told; `refused` are errors by flow."""

    datapath_id: int | None
    connected: bool
    database: bool
    revision: int
    applied_revision: int | None
    flow_mods: int
    mods_bytes: int
    trouble: str
    refused: Mapping[str, str]
