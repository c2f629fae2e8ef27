"""A hypervisor whose settings are missing or senseless is told so in one sentence, and harms nobody else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from mininet_scenarios.hosts import Guest
from mininet_scenarios.lab import Lab
from mininet_scenarios.machines import Hypervisor

# the keys that `join()` does not set by itself, unset
GOOD = {"weft-bridge-mappings": None, "weft-gateway-priority": None}


@pytest.fixture(scope="module")
def pair(lab: Lab) -> tuple[Guest, Guest]:
    """Two guests on the two hypervisors that are well."""
    red = lab.network("red", cidr="10.0.0.0/24", project="a")
    vm1 = lab.guest("vm1", network=red, on="hv1", ip="10.0.0.11", mac="02:00:00:00:00:11")
    vm2 = lab.guest("vm2", network=red, on="hv2", ip="10.0.0.12", mac="02:00:00:00:00:12")
    lab.converged()
    return vm1, vm2


@pytest.fixture(scope="module")
def third(lab: Lab, pair: tuple[Guest, Guest]) -> Hypervisor:
    """A third hypervisor."""
    return lab.hypervisor("hv3")


@pytest.fixture
def hv3(lab: Lab, third: Hypervisor) -> Iterator[Hypervisor]:
    """The third hypervisor, which has joined as it should, and does so again at the end."""
    third.join(GOOD)
    lab.converged()
    yield third
    third.join(GOOD)


def complaints(lab: Lab, name: str) -> list[str]:
    """What the controller has to say against a hypervisor, or against one that it cannot name."""
    answer = lab.api.get("/v1/chassis")
    said = [row["problem"] for row in answer["chassis"] if row["name"] == name and row["problem"]]
    return said + [row["reason"] for row in answer["strangers"]]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("weft-encap-ip", None),
        ("weft-encap-ip", ""),
        ("weft-encap-ip", "hv3.example"),
        ("weft-encap-ip", "224.0.0.1"),
        ("weft-encap-ip", "192.0.2.11"),  # hv1 has it
        ("weft-encap-type", None),
        ("weft-encap-type", "pigeon"),
        ("weft-datapath-type", "quantum"),
        ("weft-bridge-mappings", "physnet1"),
        ("weft-gateway-priority", "high"),
        ("system-id", None),
        ("system-id", ""),
        ("system-id", "hv1"),
    ],
)
def test_a_mistake_is_told_in_one_sentence_and_stays_where_it_is(
    lab: Lab, pair: tuple[Guest, Guest], hv3: Hypervisor, key: str, value: str | None
) -> None:
    vm1, vm2 = pair
    hv3.join({key: value})
    lab.eventually(f"a sentence about {key}", lambda: any(key in said for said in complaints(lab, "hv3")), 10)
    told = [said for said in complaints(lab, "hv3") if key in said]
    assert len(told) == 1
    assert not re.search(r"\w\. [A-Z]", told[0]), "one sentence"
    assert vm1.pings(vm2)
    lab.api.get("/healthz")
    lab.api.get("/readyz")
    assert "Traceback" not in lab.controller.log.read_text()

    hv3.join(GOOD)
    lab.settles()


def test_an_old_open_vswitch_is_told_of_and_works(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    """ovs-ctl(8) writes the version into the database; the lab, which starts the daemons itself, does not."""
    vm1, vm2 = pair
    vm1.hypervisor.vsctl("--no-wait", "set", "Open_vSwitch", ".", "ovs_version=3.1.0")
    lab.eventually("a piece of advice", lambda: "Open vSwitch 3.1.0" in lab.chassis()["hv1"]["advice"], 5)
    lab.converged()
    assert "upgrade it to" in lab.controller.weft("chassis", "list", "--wait", "15")
    assert vm1.pings(vm2)
    vm1.hypervisor.vsctl("--no-wait", "clear", "Open_vSwitch", ".", "ovs_version")
    lab.settles()


def test_a_manager_that_is_in_band_is_told_of_until_the_command_that_is_advised_has_run(lab: Lab) -> None:
    """Nothing is, as the lab joins hypervisors; the hidden flows come and go with it."""
    hv1 = lab.hypervisors["hv1"]
    target = hv1.vsctl("get-manager").strip()
    assert "manager" not in lab.chassis()["hv1"]["advice"]
    assert "priority=18000" not in hv1.appctl("bridge/dump-flows", "br-phy")
    hv1.vsctl("clear", "manager", target, "connection_mode")
    assert "priority=18000" in hv1.appctl("bridge/dump-flows", "br-phy")
    lab.eventually("a piece of advice", lambda: "manager" in lab.chassis()["hv1"]["advice"], 5)
    advised = re.findall("`ovs-vsctl (.*?)`", str(lab.chassis()["hv1"]["advice"]))[-1]
    hv1.vsctl(*advised.split())
    assert "priority=18000" not in hv1.appctl("bridge/dump-flows", "br-phy")
    lab.eventually("no advice", lambda: "manager" not in lab.chassis()["hv1"]["advice"], 5)
    lab.settles()


def test_what_flows_of_others_do_is_proven(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    """Planted with ovs-ofctl on a hypervisor, each is found by a live proof, with a packet and the flow to blame."""
    vm1, vm2 = pair
    blue = lab.network("blue", cidr="10.0.0.0/24", project="b")
    other = lab.guest("other", network=blue, on="hv1", ip="10.0.0.11", mac="02:00:00:00:00:11")
    lab.converged()
    bridge, here, there = vm1.hypervisor.bridge, number(vm1), number(other)
    assert "proven (" in lab.controller.weft("prove")
    for flow, claim, named in (
        (f"table=0,priority=65535,in_port={here} actions=NORMAL", "isolation", other.port_id),
        (f"table=4,priority=999,in_port={here} actions=goto_table:8", "spoofing", vm1.port_id),
        (f"table=20,priority=999,in_port={here} actions=output:{there}", "isolation", other.port_id),
        ("table=20,priority=999,dl_dst=02:00:00:00:00:12 actions=drop", "missing", vm2.port_id),
    ):
        vm1.hypervisor.ofctl("-OOpenFlow14", "add-flow", bridge, f"cookie=0x77,{flow}")
        found = json.loads(lab.controller.weft("prove", "--json", codes=(1,)))["violations"]
        against = [each for each in found if each["claim"] == claim]
        assert any(named in (each["sender_port"], each["receiver_port"]) for each in against), (flow, found)
        if claim != "missing":
            assert any(met["cookie"] == f"{0x77:#018x}" for each in against for met in each["way"]), (flow, against)
        vm1.hypervisor.ofctl("-OOpenFlow14", "del-flows", bridge, "cookie=0x77/-1")
    assert "proven (" in lab.controller.weft("prove")
    lab.settles()


def number(guest: Guest) -> int:
    """The OpenFlow port of a guest's interface."""
    return int(guest.hypervisor.vsctl("get", "Interface", guest.tap, "ofport"))
