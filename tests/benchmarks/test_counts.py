"""What changes cost is what was recorded, to the cell and to the byte."""

from __future__ import annotations

import os
import sys

import pytest

from tests.benchmarks.counts import COLUMNS, RECORDED, SIZES, kept, text

BYTES = COLUMNS.index("bytes")
GROWING = ("a hypervisor more",)
"""What concerns every tenant."""


def test_golden_what_changes_cost() -> None:
    found = text()
    if os.environ.get("WEFT_GOLDEN") == "write":
        RECORDED.write_text(found)
    assert found == RECORDED.read_text()


def test_what_was_recorded_costs_no_more_in_a_larger_cloud() -> None:
    """But for bytes: a flow that all tenants share has a share of each."""
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in RECORDED.read_text().splitlines()[2:]]
    small, large = ([line for line in lines if line[1] == str(size)] for size in SIZES)
    assert len(small) == len(large) > 10
    for one, other in zip(small, large, strict=True):
        if one[0] not in GROWING:
            assert one[2:BYTES] == other[2:BYTES], one[0]


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="every version of Python counts otherwise")
def test_a_bound_port_is_kept_in_so_many_blocks_of_memory() -> None:
    assert kept() < 600
