"""`/metrics`: the fleet, the model and the switches' own drop counters, as Prometheus reads them.

What the controller times itself is in `controller.measures`; the rest is read from the fleet when it is asked for. The
drop counters are fetched from all switches then, for one scrape at a time; a switch that does not answer within
`PATIENCE_S` is left out, and the log says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from controller.errors import SouthboundError
from controller.southbound.fleet import Fleet
from controller.southbound.told import Dropped, Status

log = logging.getLogger(__name__)

PATIENCE_S = 3.0


class Metrics:
    """The handler of `/metrics`."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._one = asyncio.Lock()

    async def get(self, request: web.Request) -> web.Response:
        """GET /metrics."""
        async with self._one:
            drops = await self._drops()
        registry = CollectorRegistry()
        registry.register(_Snapshot(self._fleet, drops))
        text = generate_latest(REGISTRY) + generate_latest(registry)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _drops(self) -> Mapping[str, Iterable[Dropped]]:
        names = [status.chassis.id for status in self._fleet.statuses() if status.member.switch is not None]
        found = await asyncio.gather(*map(self._dropped, names))
        return {name: drops for name, drops in zip(names, found, strict=True) if drops is not None}

    async def _dropped(self, name: str) -> Iterable[Dropped] | None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self._fleet.inspection.dropped(name)
        except TimeoutError:
            log.info("drops not read chassis=%s: no answer within %g s", name, PATIENCE_S)
        except SouthboundError as error:
            log.info("drops not read chassis=%s: %s", name, error)
        return None


class _Snapshot(Collector):
    """One scrape."""

    def __init__(self, fleet: Fleet, drops: Mapping[str, Iterable[Dropped]]) -> None:
        self._fleet, self._drops = fleet, drops

    def collect(self) -> Iterator[Metric]:
        """As prometheus_client asks for them."""
        statuses = self._fleet.statuses()
        for name, help, value in GAUGES:
            gauge = GaugeMetricFamily(f"weft_chassis_{name}", help, labels=["chassis"])
            for status in statuses:
                gauge.add_metric([status.chassis.id], value(status))
            yield gauge
        for name, help, value in COUNTERS:
            counter = CounterMetricFamily(f"weft_chassis_{name}", help, labels=["chassis"])
            for status in statuses:
                counter.add_metric([status.chassis.id], value(status))
            yield counter
        for unit, help in (("packets", "Packets dropped"), ("bytes", "Bytes dropped")):
            family = CounterMetricFamily(
                f"weft_dropped_{unit}",
                f"{help} by a switch, by its own count, by reason.",
                labels=["chassis", "reason"],
            )
            for chassis, drops in self._drops.items():
                for drop in drops:
                    family.add_metric([chassis, drop.why.name], getattr(drop, unit))
            yield family
        yield GaugeMetricFamily("weft_strangers", "Who connected and is no hypervisor.", len(self._fleet.strangers()))
        yield GaugeMetricFamily("weft_failed_cells", "What could not be computed.", len(self._fleet.failures()))
        yield GaugeMetricFamily("weft_store_failing", "Whether the store cannot write.", bool(self._fleet.problem()))
        records = GaugeMetricFamily("weft_records", "Records of the model, by kind.", labels=["kind"])
        for kind, count in self._fleet.counts().items():
            records.add_metric([kind], count)
        yield records


def _lag(status: Status) -> float:
    """How many revisions that concern it a hypervisor has yet to acknowledge: 0 or more, 1 for all it never had."""
    applied = status.member.applied_revision
    return 1 if applied is None else max(0, status.member.revision - applied)


def _errors(status: Status) -> float:
    """What a switch said against messages that nobody waits for; what it refuses is `refused_flows`."""
    return status.member.complaints.count if status.member.complaints else 0


_Read = Callable[[Status], float]
GAUGES: tuple[tuple[str, str, _Read], ...] = (
    ("connected", "Whether its switch is connected.", lambda each: each.member.switch is not None),
    ("database_connected", "Whether its database is connected.", lambda each: each.member.database),
    ("lag_revisions", "Revisions between what concerns it and what it acknowledged.", _lag),
    ("flows", "Flows and groups that it should hold.", lambda each: each.flows),
    ("foreign_flows", "Flows of others on its integration bridge.", lambda each: len(each.member.foreign)),
    ("refused_flows", "Flows that its switch refuses.", lambda each: len(each.member.refusals)),
    (
        "reconcile_seconds",
        "How long it took last to dump its switch and put it right.",
        lambda each: each.member.reconcile_s,
    ),
    ("problem", "Whether it cannot do its work; /v1/chassis says why.", lambda each: bool(each.problem)),
)

COUNTERS: tuple[tuple[str, str, _Read], ...] = (
    ("flow_mods", "Flows added or removed since the controller started.", lambda each: each.member.flow_mods),
    ("mods_bytes", "Bytes of modifications sent to it.", lambda each: each.member.mods_bytes),
    ("errors", "Errors that its switch answered unasked, of this connection.", _errors),
)
