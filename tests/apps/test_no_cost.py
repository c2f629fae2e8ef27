"""What a change costs: the cells that read it, and only bytes that differ."""

from __future__ import annotations

from dataclasses import replace

from controller.model.records import Mac, Port
from tests.cloud import Cloud, hypervisor, port


def test_a_new_name_runs_no_cell_and_sends_nothing_to_any_switch(cloud: Cloud) -> None:
    cloud.commit(lambda tx: tx.put(replace(tx.need(Port, "vm1"), name="web", description="front", tags=("a",))))
    assert (cloud.engine.log, cloud.delta) == ([], {})
    cloud.commit(lambda tx: tx.put(replace(tx.need(Port, "vm1"), name="db", mac_address=Mac("02:00:00:00:00:09"))))
    assert "classify.guest[vm1]" in cloud.engine.log, "what is not for people alone counts, beside a name, too"


def test_a_new_port_runs_only_the_cells_that_read_it(cloud: Cloud) -> None:
    cloud.commit(hypervisor(2, "vm3", "vm4"))
    assert cloud.engine.log == []
    cloud.commit(port("vm4", "red", "02:00:00:00:00:04", "10.0.0.4"))
    assert cloud.engine.log == [
        "arp.neighbour[vm4]",
        "arp.own_address[vm4]",
        "classify.guest[vm4]",
        "delivery.deliver[vm4]",
        "l2_population.copies[red]@hv2",
        "l2_population.local[vm4]",
        "l2_population.remote[vm4]",
        "port_security.guest[vm4]",
        "security_groups.guest[vm4]",
    ]


def test_a_port_that_is_plugged_in_nowhere_runs_no_cell_at_all(cloud: Cloud) -> None:
    cloud.commit(port("vm4", "red", "02:00:00:00:00:04", "10.0.0.4"))
    assert (cloud.engine.log, cloud.delta) == ([], {})


def test_a_new_port_costs_another_hypervisor_two_flows(cloud: Cloud) -> None:
    cloud.commit(hypervisor(2, "vm3", "vm4"))
    cloud.commit(port("vm4", "red", "02:00:00:00:00:04", "10.0.0.4"))
    assert len(cloud.delta["hv1"]) == 2


def test_a_database_that_says_the_same_again_changes_nothing(cloud: Cloud) -> None:
    cloud.commit(hypervisor(1, "vm1", "vm2"))
    assert cloud.engine.log == []
    assert cloud.delta == {}
