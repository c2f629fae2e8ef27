"""The table of what was found: a row a measurement, medians, and what Weft's is of OVN's."""

from __future__ import annotations

from collections.abc import Sequence

from tests.benchmarks.peers.steps import Line


def page(lines: Sequence[Line], failed: Sequence[str]) -> str:
    return f"{len(lines)} lines, {failed}"
