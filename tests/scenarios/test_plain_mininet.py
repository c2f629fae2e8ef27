"""`weft serve --no-ovsdb`: the one switch of a plain Mininet, whose interfaces are ports by their names."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from controller.model.bindings import interface_name
from mininet_scenarios.frames import BROADCAST, token
from mininet_scenarios.hosts import Guest
from mininet_scenarios.lab import Network
from mininet_scenarios.plain_mininet import PlainLab, build, questions


@pytest.fixture(scope="module")
def lab() -> Iterator[PlainLab]:
    """The topology of `plain_mininet`."""
    with PlainLab() as lab:
        yield lab


@pytest.fixture(scope="module", autouse=True)
def red(lab: PlainLab) -> Network:
    """The red network, with its guests; the blue one is there too."""
    return build(lab)["red"]


def status(lab: PlainLab, port_id: str) -> object:
    return lab.api.get(f"/v2.0/ports/{port_id}")["port"]["status"]


def heard_of(lab: PlainLab, guest: Guest) -> dict[str, int]:
    """Who hears what a guest sends to everybody."""
    mark = token()
    with lab.sniff() as heard:
        guest.tells(BROADCAST, mark)
    return heard.copies(mark)


def test_two_tenants_with_the_same_addresses_on_one_switch_never_meet(lab: PlainLab) -> None:
    assert [row for row in questions(lab) if not row.right] == []
    lab.settles()


def test_the_chassis_is_called_by_its_datapath_id(lab: PlainLab) -> None:
    chassis = lab.chassis()
    assert chassis.keys() == {"0000000000000001"}
    row = chassis["0000000000000001"]
    assert (row["datapath_id"], row["connected"], row["state"], row["problem"]) == (row["name"], True, "in step", "")
    assert "0000000000000001" in lab.controller.weft("chassis", "list")
    lab.settles()


def test_a_port_may_be_made_before_or_after_its_interface(lab: PlainLab, red: Network) -> None:
    red1, held = lab.guests["red1"], lab.bridge.holds()
    late = lab.machine("late", network=red, on=lab.bridge.dpid, ip="10.0.0.20", mac="02:00:00:00:00:20")
    lab.bridge.plug(late.tap)
    assert heard_of(lab, late) == {}, "it is nobody's yet"
    port = lab.port("late", network=red, ip=late.ip, mac=late.mac)
    assert status(lab, port["id"]) == "DOWN"
    late.port_id, before = port["id"], late.tap
    late.tap = interface_name(late.port_id)
    lab.bridge.rename(before, late.tap)
    late.plugged = True
    lab.converged()
    assert red1.pings(late)

    early = lab.connect("early", red, 21)
    lab.converged()
    assert early.pings(late)
    assert heard_of(lab, early) == {"red1": 1, "red2": 1, "late": 1}
    lab.dismiss(early)
    lab.dismiss(late)
    assert lab.bridge.holds() == held
    lab.settles()


def test_an_interface_that_is_unplugged_or_renamed_is_its_ports_no_more(lab: PlainLab) -> None:
    red1, red2 = lab.guests["red1"], lab.guests["red2"]
    tap, flows = red2.tap, len(lab.bridge.flows())
    lab.bridge.rename(tap, "elsewhere")
    red2.plugged = False
    lab.converged()
    assert status(lab, red2.port_id) == "DOWN"
    assert heard_of(lab, red2) == {}
    assert heard_of(lab, red1) == {}
    assert not red1.pings(red2, count=1)
    lab.settles()

    lab.bridge.rename("elsewhere", tap)
    red2.plugged = True
    lab.converged()
    assert red1.pings(red2)
    red2.unplug()
    lab.converged()
    assert not red1.pings(red2, count=1)
    red2.plug()
    lab.converged()
    assert red1.pings(red2)
    assert len(lab.bridge.flows()) == flows
    lab.settles()


def test_a_controller_that_goes_and_comes_costs_no_packet_and_sends_no_flow(lab: PlainLab) -> None:
    red1, red2 = lab.guests["red1"], lab.guests["red2"]
    assert red1.pings(red2)
    ages = lab.bridge.flows()
    pings = red1.ping(red2, interval_s=0.02)
    lab.controller.kill()
    time.sleep(1.0)
    with lab.bridge.openflow() as said:
        lab.controller.start()
        lab.converged()
    assert pings.stop().lost == 0
    assert said["OFPT_HELLO"] == 1, "the messages were really logged"
    assert [kind for kind in said if "MOD" in kind or "BUNDLE" in kind] == []
    assert lab.chassis()["0000000000000001"]["flow_mods"] == 0
    now = lab.bridge.flows()
    assert now.keys() == ages.keys()
    assert [flow for flow in now if now[flow] < ages[flow] + 1.0] == []
    lab.settles()


def test_a_trace_tells_how_to_ask_this_bridge(lab: PlainLab) -> None:
    said = lab.controller.weft("trace", "--ofproto", "--from", "red1", "--to", "red2").splitlines()
    asks = [line for line in said if "ofproto/trace-packet-out" in line]
    assert [line.split()[3] for line in asks] == [lab.bridge.name] * len(asks) != []
    assert lab.chassis()[lab.bridge.dpid]["bridge"] == lab.bridge.name


def test_every_flow_on_the_switch_is_explained(lab: PlainLab) -> None:
    dump = lab.directory / "s1.flows"
    dump.write_text(lab.bridge.ofctl("dump-flows", lab.bridge.name))
    count = len(lab.bridge.flows())
    assert lab.controller.weft("explain", str(dump)).splitlines()[-1] == f"{count} flows, {count} explained, 0 foreign"
