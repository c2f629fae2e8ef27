"""Wherever flows lead, a frame is sent ahead: at once, a few times more, and again before anybody forgets."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from controller.flows.action import Output, goto, resubmit
from controller.flows.fields import TUN_DST, TUN_ID, tunnel_to
from controller.flows.flow import Bucket, Flow, Group
from controller.flows.pipeline import DST, FLOOD, L2_LOOKUP, NET, TUN_OUT
from controller.model.records import Address
from controller.southbound.paths import AGAIN_S, FRAME, REFRESH_S, Paths, Rate, Way, leading, way
from tests.cloud import Cloud, hypervisor, network, port
from tests.controller.southbound.switches import until

HV2, HV3 = Address("192.0.2.2"), Address("192.0.2.3")


@dataclass
class Caller:
    """Who calls by a clock that stands still, and is told what became of it."""

    now: float = 100.0
    answers: dict[Address, Way] = field(default_factory=dict)
    called: list[tuple[float, Address]] = field(default_factory=list)

    def __call__(self, vtep: Address) -> Way:
        self.called.append((round(self.now, 3), vtep))
        return self.answers.get(vtep, Way.CALLED)

    def paths(self, rate: Rate | None = None) -> Paths:
        return Paths(self, rate or Rate(1000.0, 200.0), lambda: self.now)

    def pass_time(self, paths: Paths, seconds: float) -> None:
        """Let so much time pass, with a call whenever it is time for one."""
        until = self.now + seconds
        while (wait_s := paths.call_due()) is not None and self.now + wait_s <= until:
            self.now += wait_s
        self.now = until


def test_a_way_is_called_on_at_once_a_few_times_more_and_before_it_is_forgotten() -> None:
    caller = Caller()
    paths = caller.paths()
    paths.lead([HV2])
    paths.lead([HV2, HV2])
    caller.pass_time(paths, sum(AGAIN_S) + 2.5 * REFRESH_S)
    firsts = [100.0 + sum(AGAIN_S[:n]) for n in range(len(AGAIN_S) + 1)]
    later = [firsts[-1] + n * REFRESH_S for n in (1, 2)]
    assert [at for at, _ in caller.called] == pytest.approx(firsts + later)
    assert REFRESH_S < 600, "Open vSwitch forgets after 900 s, and a call may get lost"


def test_an_address_that_no_hypervisor_has_any_more_is_let_go_and_called_on_when_it_is_back() -> None:
    caller = Caller(answers={HV2: Way.GONE})
    paths = caller.paths()
    paths.lead([HV2, HV3])
    caller.pass_time(paths, 2 * REFRESH_S)
    assert [vtep for _, vtep in caller.called].count(HV2) == 1
    caller.answers.clear()
    paths.lead([HV2])
    assert caller.called[-1] == (caller.now, HV2)


def test_what_has_no_tunnel_port_yet_is_called_on_with_the_next_change() -> None:
    caller = Caller(answers={HV2: Way.NOT_YET})
    paths = caller.paths()
    paths.lead([HV2])
    caller.pass_time(paths, REFRESH_S)
    assert len(caller.called) == 1
    caller.answers.clear()
    paths.lead([])
    assert caller.called[1:] == [(caller.now, HV2)]


def test_many_ways_are_called_on_one_after_the_other_at_the_rate_that_all_switches_share() -> None:
    caller, rate = Caller(), Rate(per_second=10.0, burst=2.0)
    one, other = caller.paths(rate), caller.paths(rate)
    one.lead([HV2, HV3])
    other.lead([HV2])
    one.lead([Address("192.0.2.4")])
    assert len(caller.called) == 2
    assert other.call_due() == pytest.approx(0.1)
    assert one.call_due() == pytest.approx(0.1), "one of the first again, when it was not its turn"
    caller.now += 0.11
    other.call_due()
    assert len(caller.called) == 3
    for _ in range(200):
        caller.now += 0.01
        one.call_due()
        other.call_due()
    assert len(caller.called) <= 2 + 10 * 2.2 + 1
    assert {vtep for _, vtep in caller.called} == {HV2, HV3, Address("192.0.2.4")}


def test_calls_go_on_by_themselves() -> None:
    async def story() -> None:
        caller = Caller()
        paths = Paths(caller, Rate(1000.0, 200.0), asyncio.get_running_loop().time)
        task = asyncio.ensure_future(paths.run())
        await asyncio.sleep(0)
        paths.lead([HV2])
        await until(lambda: len(caller.called) == 3)
        task.cancel()

    asyncio.run(asyncio.wait_for(story(), 5))


# ---- where flows lead, and how to get there -------------------------------------------------------------------------


@pytest.fixture
def cloud() -> Cloud:
    """A network with a port on each of two hypervisors."""
    made = Cloud()
    made.commit(network("red", 100), *(port(f"vm{n}", "red", f"02:00:00:00:00:0{n}") for n in (1, 2)))
    made.commit(*(hypervisor(n, f"vm{n}") for n in (1, 2)))
    return made


def test_flows_lead_to_the_hypervisors_that_share_a_network_and_to_no_others(cloud: Cloud) -> None:
    cloud.commit(network("blue", 200), port("far", "blue", "02:00:00:00:00:09"), hypervisor(3, "far"))
    assert [*leading(entry.item for entry in cloud.engine.desired("hv3").values())] == []
    assert {*leading(entry.item for entry in cloud.engine.desired("hv1").values())} == {HV2}
    assert {*leading(entry.item for entry in cloud.engine.desired("hv2").values())} == {Address("192.0.2.1")}


def test_the_way_is_by_an_encapsulation_that_both_ends_have(cloud: Cloud) -> None:
    cloud.commit(hypervisor(3, encaps=("geneve",)))
    by = {vtep: way(cloud.model, "hv1", vtep) for vtep in (HV2, HV3)}
    assert by == {
        HV2: (TUN_ID.set(0), TUN_DST.set(HV2), Output(1)),
        HV3: (TUN_ID.set(0), TUN_DST.set(HV3), Output(2)),
    }


def test_there_is_no_way_without_a_common_encapsulation_or_to_nobody(cloud: Cloud) -> None:
    cloud.commit(hypervisor(3, encaps=("gre",)))
    assert way(cloud.model, "hv1", HV3) is Way.NOT_YET
    assert way(cloud.model, "hv1", Address("192.0.2.9")) is Way.GONE
    assert way(cloud.model, "hv9", HV2) is Way.GONE


def test_flows_and_groups_lead_to_addresses_of_either_version() -> None:
    flow = Flow(L2_LOOKUP, "remote", NET(1), (tunnel_to(Address("fd00::2")), goto(TUN_OUT)))
    group = Group(FLOOD, 1, (Bucket((DST.set(1),)), Bucket((tunnel_to(HV2), resubmit(TUN_OUT)))))
    assert [*leading([flow, group])] == ["fd00::2", HV2]


def test_what_is_sent_ahead_is_a_whole_frame_of_no_guests_kind() -> None:
    assert (len(FRAME), FRAME[12:14]) == (60, b"\x88\xb5")
