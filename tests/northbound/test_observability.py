"""The dashboard and the alerts ask for metrics that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path

from prometheus_client import REGISTRY

from controller import measures
from northbound import metrics
from tests.northbound.served import serving

DOCS = Path(__file__).parents[2] / "docs" / "observability"


def known() -> set[str]:
    """The names of all metrics, as a query names them."""
    timed = {sample.name for family in REGISTRY.collect() for sample in family.samples}
    labelled = (measures.HEALED, measures.HANDED_OVER, measures.UNANSWERED, measures.REQUEST)
    families = [family for each in labelled for family in each.describe()]
    counted = {f"{family.name}_{part}" for family in families for part in ("total", "bucket", "count", "sum")}
    gauges = {f"weft_chassis_{name}" for name, *_ in metrics.GAUGES}
    counters = {f"weft_chassis_{name}_total" for name, *_ in metrics.COUNTERS}
    scraped = {"weft_dropped_packets_total", "weft_dropped_bytes_total", "weft_strangers", "weft_failed_cells"}
    return timed | counted | gauges | counters | scraped | {"weft_store_failing", "weft_records"}


def test_what_clients_make_up_is_no_name_of_a_metric() -> None:
    """Methods, paths and ids: else whoever may ask could fill Prometheus."""
    with serving(own=True) as api:
        for path in ("/made/up", "/v1/chassis/made-up", "/v2.0/made-up", "/v2.0/networks/made-up", "/%6dade-up"):
            for method in ("GET", "PURGE", "MADEUP"):
                api.ask(method, path)
        text = api.ask("GET", "/metrics").text
    assert 'resource="none"' in text
    assert re.findall("made|MADE|PURGE", text) == []


def asked(text: str) -> set[str]:
    return set(re.findall(r"weft_[a-z_]+", text))


def test_the_dashboard_asks_for_what_there_is() -> None:
    panels = json.loads((DOCS / "dashboard.json").read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    assert len(queries) == len(panels) > 10
    assert asked(" ".join(queries)) - known() == set()


def test_the_alerts_ask_for_what_there_is() -> None:
    expressions = re.findall(r"expr: (.*)", (DOCS / "alerts.yaml").read_text())
    assert len(expressions) >= 10
    assert asked(" ".join(expressions)) - known() == set()
