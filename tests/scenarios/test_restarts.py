"""No crash, restart or stop of the controller interrupts traffic that was allowed; a switch that lost all gets it back."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from mininet_scenarios.frames import BROADCAST, token
from mininet_scenarios.hosts import Guest
from mininet_scenarios.lab import Lab
from mininet_scenarios.nodes import Controller

INTERVAL_S = 0.01
DEAD_S = 3.0


@pytest.fixture(scope="module")
def pair(lab: Lab) -> tuple[Guest, Guest]:
    """Two guests on two hypervisors."""
    red = lab.network("red", cidr="10.0.0.0/24", project="a")
    vm1 = lab.guest("vm1", network=red, on="hv1", ip="10.0.0.11", mac="02:00:00:00:00:11")
    vm2 = lab.guest("vm2", network=red, on="hv2", ip="10.0.0.12", mac="02:00:00:00:00:12")
    lab.converged()
    return vm1, vm2


@pytest.mark.parametrize("end", [Controller.kill, Controller.stop], ids=["killed", "stopped"])
def test_a_controller_that_goes_and_comes_costs_no_packet_and_sends_no_flow(
    lab: Lab, pair: tuple[Guest, Guest], end: Callable[[Controller], None]
) -> None:
    vm1, vm2 = pair
    hv1, hv2 = lab.hypervisors.values()
    assert vm1.pings(vm2)
    before = {hv.name: (hv.flows(), hv.groups(), time.time()) for hv in (hv1, hv2)}
    pings = vm1.ping(vm2, interval_s=INTERVAL_S)
    time.sleep(0.5)
    end(lab.controller)
    dead_at = time.time()
    time.sleep(DEAD_S)
    with hv1.openflow() as to_hv1, hv2.openflow() as to_hv2:
        back_at = time.time()
        lab.controller.start()
        lab.converged()
        time.sleep(1.0)
    replies = pings.stop()

    assert replies.lost == 0
    assert replies.between(dead_at, back_at) > 90 * DEAD_S, "it was really pinging while nobody was there"
    assert {name: row["flow_mods"] for name, row in lab.chassis().items()} == {"hv1": 0, "hv2": 0}
    for said in (to_hv1, to_hv2):
        assert said["OFPT_HELLO"] == 1, "the messages were really logged"
        assert [kind for kind in said if "MOD" in kind or "BUNDLE" in kind] == []
    for hv in (hv1, hv2):
        ages, groups, then = before[hv.name]
        now = hv.flows()
        assert now.keys() == ages.keys()
        assert [flow for flow in now if now[flow] < ages[flow] + DEAD_S] == [], f"put anew since {then}"
        assert hv.groups() == groups
    lab.settles()


def test_a_new_connection_can_begin_while_the_controller_is_dead(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    vm1, vm2 = pair
    lab.controller.kill()
    vm1.forgets()
    vm2.forgets()
    assert vm1.pings(vm2)
    assert not vm1.finds_free(vm2.ip)
    mark = token()
    with lab.sniff() as heard:
        vm1.tells("02:00:00:00:00:99", mark)
        vm1.tells(BROADCAST, mark)
    assert heard.copies(mark) == {"vm2": 1, "underlay": 1}
    lab.controller.start()
    lab.settles()


def test_what_changed_while_the_controller_was_dead_is_right_after_its_start(
    lab: Lab, pair: tuple[Guest, Guest]
) -> None:
    vm1, vm2 = pair
    lab.controller.kill()
    vm2.unplug()
    hv1 = lab.hypervisors["hv1"]
    flows = hv1.flows()
    hv1.ofctl("-O", "OpenFlow14", "del-flows", "br-int", "table=0")
    lab.controller.start()
    lab.converged()
    assert hv1.flows().keys() < flows.keys(), "what was deleted is back, what concerned vm2 is gone"
    assert not vm1.pings(vm2)
    vm2.plug()
    lab.converged()
    assert hv1.flows().keys() == flows.keys()
    assert vm1.pings(vm2)
    lab.settles()


def test_a_switch_that_restarts_gets_all_its_flows_back(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    vm1, vm2 = pair
    hv1 = lab.hypervisors["hv1"]
    flows = hv1.flows()
    hv1.restart_switch()
    lab.eventually("all flows on hv1", lambda: hv1.flows().keys() == flows.keys(), 10)
    lab.converged()
    assert vm1.pings(vm2)
    lab.settles()


@pytest.mark.parametrize("harm", [("del-flows",), ("mod-flows", "actions=drop")], ids=["deleted", "altered"])
def test_flows_that_somebody_harms_are_healed_within_5_s(
    lab: Lab, pair: tuple[Guest, Guest], harm: tuple[str, ...]
) -> None:
    vm1, vm2 = pair
    hv1 = lab.hypervisors["hv1"]
    flows = hv1.flows().keys()
    verb, *actions = harm
    hv1.ofctl("-O", "OpenFlow14", verb, "br-int", ",".join(["table=0", *actions]))
    lab.eventually("the flows are right again", lambda: hv1.flows().keys() == flows, 5)
    assert vm1.pings(vm2)
    lab.settles()


def test_foreign_flows_are_kept_and_told(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    hv1 = lab.hypervisors["hv1"]
    hv1.ofctl("-O", "OpenFlow14", "add-flow", "br-int", "cookie=0x1,table=0,priority=7,in_port=77,actions=drop")
    lab.controller.kill()
    lab.controller.start()
    lab.settles()
    assert any("in_port=77" in flow for flow in hv1.flows())
    assert "hv1 foreign cookie=0x1,table=0,priority=7," in lab.controller.weft("diff", codes=(1,))
    hv1.ofctl("-O", "OpenFlow14", "del-flows", "br-int", "cookie=0x1/-1")
    lab.controller.weft("diff")
    lab.settles()
