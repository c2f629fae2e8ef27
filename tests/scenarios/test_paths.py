"""The way from one hypervisor to another is known before a guest needs it: not even the first packet is lost."""

from __future__ import annotations

import pytest

from controller.flows.pipeline import Why
from mininet_scenarios.captures import Frame
from mininet_scenarios.hosts import Guest
from mininet_scenarios.lab import Lab
from mininet_scenarios.machines import Hypervisor


def called_on(hypervisor: Hypervisor) -> bool:
    """Did it drop a frame that another hypervisor sent ahead?"""
    return hypervisor.drops()[Why.PATH] > 0


def ahead(frame: Frame) -> bool:
    """Is this such a frame?"""
    return b"Weft: is there a way?" in frame.raw


@pytest.fixture(scope="module")
def pair(lab: Lab) -> tuple[Guest, Guest]:
    """Two guests on two hypervisors that never spoke with each other."""
    red = lab.network("red", cidr="10.0.0.0/24", project="a")
    made = [lab.port(f"vm{n}", network=red, ip=f"10.0.0.{n}", mac=f"02:00:00:00:00:0{n}") for n in (1, 2)]
    guests = [
        lab.guest(
            f"vm{n}", network=red, on=f"hv{n}", ip=f"10.0.0.{n}", mac=f"02:00:00:00:00:0{n}", port=each, plug=False
        )
        for n, each in zip((1, 2), made, strict=True)
    ]
    return guests[0], guests[1]


def test_the_first_packet_between_two_hypervisors_arrives(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    vm1, vm2 = pair
    assert all("192.0.2." not in hv.appctl("tnl/neigh/show") for hv in lab.hypervisors.values())
    with lab.sniff() as heard:
        vm1.plug()
        vm2.plug()
        lab.converged()
        assert vm1.pings(vm2, count=1)
        assert vm2.pings(vm1, count=1)
        lab.eventually("what is sent ahead arrives", lambda: all(map(called_on, lab.hypervisors.values())), 5)
    assert heard.copies(ahead).keys() == {"underlay"}, "no guest hears it"
    lab.settles()


def test_a_switch_that_restarts_is_told_the_ways_it_forgot(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    vm1, vm2 = pair
    hv1, hv2 = lab.hypervisors["hv1"], lab.hypervisors["hv2"]
    flows = hv1.flows().keys()
    hv1.restart_switch()
    lab.eventually("all flows on hv1", lambda: hv1.flows().keys() == flows, 10)
    lab.converged()
    lab.eventually("the way to hv2, though no guest asked", lambda: hv2.vtep in hv1.appctl("tnl/neigh/show"), 5)
    assert vm1.pings(vm2, count=1)
    lab.settles()
