"""What security groups must stand, as `python -m mininet_scenarios.guarded` shows it, in small numbers."""

from __future__ import annotations

import pytest

from mininet_scenarios import guarded
from mininet_scenarios.guarded import Cast
from mininet_scenarios.lab import Lab


@pytest.fixture(scope="module")
def cast(lab: Lab) -> Cast:
    """Four guests, each in group `out`."""
    return guarded.gather(lab)


def test_changes_of_groups_neither_lose_what_is_allowed_nor_let_through_what_is_denied(lab: Lab, cast: Cast) -> None:
    """Case SG51."""
    seen = guarded.update(cast, 100)
    assert (seen.lost, seen.passed) == (0, 0)
    assert seen.heard > 400
    assert seen.denied > 400
    lab.settles()


def test_no_connection_notices_that_the_controller_is_killed(lab: Lab, cast: Cast) -> None:
    """Case SG10."""
    seen = guarded.restart(cast, restarts=1, streams=5)
    assert (seen.connections, seen.broken, seen.mods) == (20, 0, {})
    assert seen.silence_s < 1
    lab.settles()


def test_a_thousand_connections_come_and_go_by_the_same_ports(lab: Lab, cast: Cast) -> None:
    """Each by a 5-tuple that conntrack still remembers, ended in either way."""
    switches = [hypervisor.switch.pid for hypervisor in lab.hypervisors.values()]
    assert guarded.connect(cast, 1000) == 1000
    for hypervisor in lab.hypervisors.values():
        hypervisor.must_run()
    assert [hypervisor.switch.pid for hypervisor in lab.hypervisors.values()] == switches
    lab.settles()
