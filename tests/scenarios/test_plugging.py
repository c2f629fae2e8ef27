"""Where an interface is plugged, there its port is; when port or interface goes, nothing of it remains."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from mininet_scenarios.frames import BROADCAST, token
from mininet_scenarios.hosts import Guest
from mininet_scenarios.lab import Lab, Network
from mininet_scenarios.machines import BRIDGE
from mininet_scenarios.two_networks import build, first_reply


@pytest.fixture(scope="module")
def red(lab: Lab) -> Network:
    """The red network of `two_networks`, with its guests."""
    return build(lab)["red"]


@pytest.fixture
def red1(lab: Lab, red: Network) -> Guest:
    """A guest that is always there, on hv1."""
    return lab.guests["red1"]


@pytest.fixture
def guest(lab: Lab, red: Network) -> Iterator[Guest]:
    """A guest on hv2 with a port of its own; unplugged, and its port deleted, at the end."""
    guest = lab.guest("guest", network=red, on="hv2", ip="10.0.0.20", mac="02:00:00:00:00:20", plug=False)
    lab.converged()  # plugged or not, its address is one of its group's
    yield guest
    lab.dismiss(guest)


def flows(lab: Lab) -> dict[str, set[str]]:
    """The flows and groups of every hypervisor, to be compared."""
    return {name: hypervisor.holds() for name, hypervisor in lab.hypervisors.items()}


def test_nothing_of_a_deleted_port_remains(lab: Lab, red1: Guest, guest: Guest) -> None:
    before = flows(lab)
    guest.plug()
    lab.converged()
    assert red1.pings(guest)
    assert flows(lab) != before

    lab.api.delete(f"/v2.0/ports/{guest.port_id}")
    lab.converged()
    a_member = f"ct_nw_src={guest.ip},"  # of its group, plugged or not, as long as the port was there
    assert flows(lab) == {name: {flow for flow in held if a_member not in flow} for name, held in before.items()}
    red1.knows(guest.ip, guest.mac)
    mark = token()
    with lab.sniff() as heard:
        assert not red1.pings(guest)
        guest.tells(BROADCAST, mark)
        guest.tells(red1.mac, mark)
    assert heard.copies(mark) == {}
    assert heard.at(guest) == []
    lab.settles()


def test_an_interface_that_is_unplugged_is_gone_and_plugged_again_is_back(lab: Lab, red1: Guest, guest: Guest) -> None:
    before = flows(lab)
    for _ in range(2):
        guest.plug()
        lab.converged()
        assert red1.pings(guest)
        guest.unplug()
        lab.converged()
        assert flows(lab) == before
        assert lab.api.get(f"/v2.0/ports/{guest.port_id}")["port"]["status"] == "DOWN"
        assert not red1.pings(guest, count=1)
    lab.settles()


def test_an_interface_without_a_port_is_heard_by_nobody_until_it_has_one(
    lab: Lab, red: Network, red1: Guest, guest: Guest
) -> None:
    before, mark = flows(lab), token()
    guest.hypervisor.plug_for(guest.tap, str(uuid.uuid4()), guest.mac)
    with lab.sniff() as heard:
        guest.tells(BROADCAST, mark)
        guest.tells(red1.mac, mark)
        assert not guest.pings(red1)
    assert heard.copies(mark) == {}
    assert flows(lab) == before
    guest.claim(guest.port_id)
    lab.converged()
    assert red1.pings(guest)
    lab.settles()


def test_a_guest_that_waits_on_the_bridge_for_its_port_is_wired_when_it_is_made(lab: Lab, red: Network) -> None:
    took = first_reply(lab, red)
    assert took.replied_s < 5
    lab.converged()
    lab.settles()


def test_a_guest_plugged_before_its_hypervisor_joins_is_wired_when_it_does(lab: Lab, red: Network, red1: Guest) -> None:
    hv3 = lab.hypervisor("hv3")
    hv3.vsctl("add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "datapath_type=netdev")
    early = lab.guest("early", network=red, on="hv3", ip="10.0.0.30", mac="02:00:00:00:00:30")
    hv3.join()
    lab.converged()
    assert red1.pings(early)
    assert lab.guests["red3"].pings(early)
    assert hv3.vsctl("get-fail-mode", BRIDGE).strip() == "secure"
    lab.settles()


def test_renaming_a_port_sends_nothing_to_any_switch(lab: Lab, red1: Guest) -> None:
    before = {name: (row["flow_mods"], row["mods_bytes"]) for name, row in lab.chassis().items()}
    with lab.hypervisors["hv1"].openflow() as said:
        lab.api.put(f"/v2.0/ports/{red1.port_id}", {"port": {"name": "another"}})
        lab.converged()
    assert {name: (row["flow_mods"], row["mods_bytes"]) for name, row in lab.chassis().items()} == before
    assert [kind for kind in said if "MOD" in kind or "BUNDLE" in kind] == []
    lab.settles()


def test_every_flow_on_the_switches_is_explained(lab: Lab, red: Network) -> None:
    for hypervisor in lab.hypervisors.values():
        dump = lab.directory / f"{hypervisor.name}.flows"
        dump.write_text(hypervisor.ofctl("dump-flows", BRIDGE))
        count = len(hypervisor.flows())
        last = lab.controller.weft("explain", str(dump)).splitlines()[-1]
        assert last == f"{count} flows, {count} explained, 0 foreign"
