"""Three tiers under security groups: who may reach whom follows from the rules, also while these change."""

from __future__ import annotations

import pytest

from mininet_scenarios import security_groups
from mininet_scenarios.lab import Lab
from mininet_scenarios.security_groups import MEMBERS, Tiers


@pytest.fixture(scope="module")
def tiers(lab: Lab) -> Tiers:
    """The topology, on Geneve: the command line has VXLAN."""
    return security_groups.build(lab, "geneve")


def test_each_guest_reaches_what_a_rule_allows_and_nothing_else(lab: Lab, tiers: Tiers) -> None:
    rows = list(security_groups.reachability(lab))
    assert len(rows) == len(MEMBERS)
    assert [row for row in rows if not row.right] == []
    lab.settles()


def test_rules_and_members_that_change_cut_and_let_in_what_they_say(lab: Lab, tiers: Tiers) -> None:
    assert [row for row in security_groups.changes(lab, tiers) if not row.right] == []
    lab.settles()
