"""What somebody with root on a hypervisor does to its switch is undone within 5 s; what is only theirs is kept and told.

Traffic between two hypervisors runs meanwhile, and is never interrupted for longer.
"""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle

import pytest

from mininet_scenarios.hosts import Guest
from mininet_scenarios.lab import Lab
from mininet_scenarios.machines import BRIDGE, Hypervisor

HEALED_S = 5.0
OF14 = ("-O", "OpenFlow14")
BY_TURNS = ("hv1", "hv2")
"""Who is harmed again and again is healed ever later, and has a problem until it is left in peace for some seconds."""


@pytest.fixture(scope="module")
def pair(lab: Lab) -> tuple[Guest, Guest]:
    """Two guests on two hypervisors."""
    red = lab.network("red", cidr="10.0.0.0/24", project="a")
    vm1 = lab.guest("vm1", network=red, on="hv1", ip="10.0.0.11", mac="02:00:00:00:00:11")
    vm2 = lab.guest("vm2", network=red, on="hv2", ip="10.0.0.12", mac="02:00:00:00:00:12")
    lab.converged()
    assert vm1.pings(vm2)
    return vm1, vm2


def state(hypervisor: Hypervisor) -> tuple[frozenset[str], str]:
    """Every flow and every group."""
    return frozenset(hypervisor.flows()), hypervisor.groups()


def foreign(lab: Lab, name: str = "hv1") -> int:
    """How many flows of others the controller says are on a hypervisor."""
    count: int = lab.chassis()[name]["foreign_flows"]
    return count


def healings(lab: Lab) -> list[str]:
    """What the controller's log says of them."""
    return re.findall(r"healed chassis=.*", lab.controller.log.read_text())


@contextmanager
def traffic(one: Guest, other: Guest) -> Iterator[None]:
    """Ping while the block runs; no two replies are further apart than a healing may take."""
    pings = one.ping(other)
    pings.first_reply(5)
    yield
    time.sleep(0.5)
    replies = pings.stop()
    times = sorted(replies.at.values())
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert max(gaps) < HEALED_S
    assert replies.duplicates == 0


def a_flow(hypervisor: Hypervisor, table: int) -> str:
    """The key of a flow of a table that sends frames on, as ovs-ofctl reads it."""
    texts = (re.match(rf"\S+ table={table} (priority=100,\S+) actions=(?!drop)", text) for text in hypervisor.flows())
    return f"table={table}," + next(found[1] for found in texts if found)


def a_group(hypervisor: Hypervisor) -> str:
    """The id of a group, as ovs-ofctl reads it."""
    found = re.search(r"group_id=\d+", hypervisor.groups())
    assert found
    return found[0]


def ofctl(hypervisor: Hypervisor, command: str, *words: str) -> None:
    hypervisor.ofctl(*OF14, command, BRIDGE, *words)


# ---- flows and groups --------------------------------------------------------------------------------------------

HARM: dict[str, Callable[[Hypervisor], None]] = {
    "all flows deleted": lambda hv: ofctl(hv, "del-flows"),
    "a flow deleted": lambda hv: ofctl(hv, "del-flows", "--strict", a_flow(hv, 50)),
    "a flow altered": lambda hv: ofctl(hv, "mod-flows", "--strict", f"{a_flow(hv, 50)},actions=drop"),
    "a flow replaced": lambda hv: ofctl(hv, "add-flow", f"cookie=0x77,{a_flow(hv, 0)},actions=drop"),
    "a flow replaced and deleted": lambda hv: ofctl(
        hv, "add-flows", _file(hv, f"add cookie=0x77,{a_flow(hv, 0)},actions=drop", "delete cookie=0x77/-1")
    ),
    "flows added under our cookie": lambda hv: ofctl(
        hv, "add-flow", "cookie=0xa700000000000001,priority=9,actions=drop"
    ),
    "a group deleted": lambda hv: ofctl(hv, "del-groups", a_group(hv)),
    "all groups deleted": lambda hv: ofctl(hv, "del-groups"),
    "a group altered": lambda hv: ofctl(hv, "mod-group", f"{a_group(hv)},type=all"),
    "a group added under our number": lambda hv: ofctl(hv, "add-group", f"group_id={3 << 28 | 0xFFFF},type=all"),
}


def _file(hypervisor: Hypervisor, *lines: str) -> str:
    file = hypervisor.directory / "commands"
    file.write_text("\n".join(lines))
    return str(file)


@pytest.mark.parametrize(("harm", "on"), [*zip(HARM.values(), cycle(BY_TURNS), strict=False)], ids=HARM)
def test_flows_and_groups_that_somebody_harms_are_healed(
    lab: Lab, pair: tuple[Guest, Guest], on: str, harm: Callable[[Hypervisor], None]
) -> None:
    vm1, vm2 = pair
    hypervisor = lab.hypervisors[on]
    before, told = state(hypervisor), len(healings(lab))
    with traffic(vm1, vm2):
        harm(hypervisor)
        lab.eventually("the log tells of a healing", lambda: len(healings(lab)) > told, HEALED_S)
        lab.eventually("flows and groups as they were", lambda: state(hypervisor) == before, HEALED_S)
    assert vm1.pings(vm2)
    assert foreign(lab, on) == 0
    lab.settles()


def test_one_harmed_flow_costs_one_flow(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    hv1 = lab.hypervisors["hv1"]
    before, told = lab.chassis()["hv1"]["flow_mods"], len(healings(lab))
    HARM["a flow altered"](hv1)
    lab.eventually("a healing", lambda: len(healings(lab)) > told, HEALED_S)
    assert healings(lab)[-1].startswith("healed chassis=hv1 flows=1 groups=0")
    assert lab.chassis()["hv1"]["flow_mods"] == before + 1
    lab.settles()


def test_harm_done_while_the_model_changes_is_healed_to_what_it_says_now(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    vm1, vm2 = pair
    hv1, stop = lab.hypervisors["hv1"], threading.Event()

    def harms() -> None:
        while not stop.wait(0.15):
            ofctl(hv1, "del-flows", "table=36")
            ofctl(hv1, "del-groups")

    harming = threading.Thread(target=harms)
    harming.start()
    try:
        for number in range(20):
            lab.api.put(f"/v2.0/ports/{vm2.port_id}", {"port": {"admin_state_up": bool(number % 2)}})
            time.sleep(0.1)
    finally:
        stop.set()
        harming.join()
    lab.eventually("a calm switch", lambda: not lab.chassis()["hv1"]["problem"], 20)
    lab.settles()
    assert vm1.pings(vm2)


def test_who_keeps_deleting_is_answered_ever_later_and_named(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    hv1, stop = lab.hypervisors["hv1"], threading.Event()
    before = state(hv1)

    def deletes() -> None:
        while not stop.wait(0.05):
            ofctl(hv1, "del-flows", "table=50")

    deleting = threading.Thread(target=deletes)
    with hv1.openflow() as told:
        deleting.start()
        try:
            lab.eventually("a problem", lambda: "keeps changing its flows" in lab.chassis()["hv1"]["problem"], 20)
            assert "keeps changing its flows" in lab.controller.weft("chassis", "list", codes=(1,))
            time.sleep(6)
        finally:
            stop.set()
            deleting.join()
        lab.eventually("flows as they were", lambda: state(hv1) == before, HEALED_S)
    assert told["OFPST_FLOW"] <= 20, "the switch is not dumped for every deletion"
    lab.eventually("nothing to complain of", lambda: not lab.chassis()["hv1"]["problem"], 20)
    lab.settles()


# ---- the database ------------------------------------------------------------------------------------------------


def test_a_deleted_tunnel_port_is_back_and_carries_traffic(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    vm1, vm2 = pair
    hv1 = lab.hypervisors["hv1"]
    with traffic(vm1, vm2):
        hv1.vsctl("del-port", BRIDGE, "weft-vxlan")
        lab.eventually("the tunnel port", lambda: "weft-vxlan" in hv1.vsctl("list-ports", BRIDGE).split(), HEALED_S)
        lab.eventually("traffic through it", lambda: vm1.ping(vm2, count=1).wait().lost == 0, HEALED_S)
    lab.settles()


SETTINGS = {
    "tunnel type": ("interface", "weft-vxlan", "type", "gre"),
    "tunnel options": ("interface", "weft-vxlan", "options:key", "7"),
    "fail mode": ("bridge", BRIDGE, "fail_mode", "standalone"),
    "OpenFlow versions": ("bridge", BRIDGE, "protocols", "OpenFlow13"),
    "inactivity probe": ("controller", BRIDGE, "inactivity_probe", "60000"),
    "backoff": ("controller", BRIDGE, "max_backoff", "8000"),
}


@pytest.mark.parametrize(("setting", "on"), [*zip(SETTINGS.values(), cycle(BY_TURNS), strict=False)], ids=SETTINGS)
def test_settings_that_somebody_changes_are_healed(
    lab: Lab, pair: tuple[Guest, Guest], on: str, setting: tuple[str, str, str, str]
) -> None:
    vm1, vm2 = pair
    hypervisor = lab.hypervisors[on]
    table, row, column, wrong = setting
    before = hypervisor.vsctl("get", table, row, column)
    with traffic(vm1, vm2):
        hypervisor.vsctl("--no-wait", "set", table, row, f"{column}={wrong}")
        lab.eventually("the setting", lambda: hypervisor.vsctl("get", table, row, column) == before, HEALED_S)
        lab.eventually("traffic", lambda: vm1.ping(vm2, count=1).wait().lost == 0, HEALED_S)
    lab.settles()


def test_a_bridge_whose_controller_somebody_removes_gets_it_back(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    vm1, vm2 = pair
    hv1 = lab.hypervisors["hv1"]
    before = state(hv1)
    with traffic(vm1, vm2):
        hv1.vsctl("--no-wait", "del-controller", BRIDGE)
        lab.eventually("the controller", lambda: hv1.vsctl("get-controller", BRIDGE).strip(), HEALED_S)
        lab.eventually("flows and groups as they were", lambda: state(hv1) == before, HEALED_S)
    lab.settles()


# ---- what is of others -------------------------------------------------------------------------------------------


def test_flows_and_groups_of_others_are_kept_and_told(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    vm1, vm2 = pair
    hv1 = lab.hypervisors["hv1"]
    told = len(healings(lab))
    ofctl(hv1, "add-group", "group_id=9,type=all")
    ofctl(hv1, "add-flow", "cookie=0x1,table=0,priority=7,in_port=77,actions=group:9")
    lab.eventually("one flow of others", lambda: foreign(lab) == 1, HEALED_S)
    said = lab.controller.weft("diff", codes=(1,))
    assert "hv1 foreign cookie=0x1,table=0,priority=7,in_port=" in said
    assert "hv1 foreign group_id=9" in said
    HARM["a flow deleted"](hv1)
    lab.eventually("a healing", lambda: len(healings(lab)) > told, HEALED_S)
    assert vm1.pings(vm2)
    assert foreign(lab) == 1
    assert any("in_port=77" in flow for flow in hv1.flows())
    lab.settles()
    ofctl(hv1, "del-groups", "group_id=9")
    lab.eventually("no flow of others", lambda: foreign(lab) == 0, HEALED_S)
    lab.controller.weft("diff")
    lab.settles()


def test_a_thousand_flows_of_others_are_counted_without_a_single_dump(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    vm1, vm2 = pair
    hv1 = lab.hypervisors["hv1"]
    lines = [f"cookie={n + 1},table={n % 60},priority={n % 9},reg1={n},actions=drop" for n in range(1_000)]
    mods = lab.chassis()["hv1"]["flow_mods"]
    with traffic(vm1, vm2), hv1.openflow() as said:
        hv1.ofctl(*OF14, "add-flows", BRIDGE, _file(hv1, *lines))
        lab.eventually("1,000 flows of others", lambda: foreign(lab) == 1_000, HEALED_S)
        time.sleep(1)
        for cookie in range(1, 1_001, 100):
            ofctl(hv1, "del-flows", f"cookie={cookie}/-1")
        lab.eventually("10 fewer", lambda: foreign(lab) == 990, HEALED_S)
        ofctl(hv1, "del-flows", "cookie=0/0xff00000000000000")
        lab.eventually("none left", lambda: foreign(lab) == 0, HEALED_S)
        time.sleep(1)
    assert said["OFPST_FLOW"] == 0
    assert lab.chassis()["hv1"]["flow_mods"] == mods
    lab.settles()


@pytest.fixture
def strict() -> Iterator[Lab]:
    """A lab whose controller removes what is of others."""
    with Lab(hypervisors=1, serve=("--foreign-flows", "remove")) as lab:
        yield lab


@pytest.mark.scenario
def test_flows_and_groups_of_others_are_removed_when_that_is_asked_for(strict: Lab) -> None:
    hv1 = strict.hypervisors["hv1"]
    red = strict.network("red", cidr="10.0.0.0/24", project="a")
    vm1, vm2 = (
        strict.guest(f"vm{n}", network=red, on="hv1", ip=f"10.0.0.{n}", mac=f"02:00:00:00:00:0{n}") for n in (1, 2)
    )
    strict.converged()
    before = state(hv1)

    def theirs() -> None:
        ofctl(hv1, "add-group", "group_id=9,type=all")
        ofctl(hv1, "add-flow", "cookie=0x1,table=0,priority=7,in_port=77,actions=group:9")
        ofctl(hv1, "add-flow", "cookie=0x2,table=99,priority=7,ipv6,actions=drop")

    def gone() -> bool:
        return state(hv1) == before and foreign(strict) == 0

    with traffic(vm1, vm2):
        theirs()
        strict.eventually("they are gone", gone, HEALED_S)
        ofctl(hv1, "add-group", "group_id=10,type=all")
        strict.eventually("a group alone is gone", gone, HEALED_S)
        strict.controller.kill()
        theirs()
        strict.controller.start()
        strict.eventually("those of the meantime are gone", gone, HEALED_S)
    strict.controller.weft("diff")
    strict.settles()
