"""Hypervisors as agents, and their availability zones."""

from __future__ import annotations

from typing import Any

import pytest

from controller.model import bindings
from controller.model.bindings import Attendance, Hypervisor
from controller.model.records import Address, AgentNote, Chassis, Drained
from tests.northbound.served import Client


def join(api: Client, name: str, zone: str = "nova", priority: int | None = None, alive: bool = True) -> None:
    hypervisor = Hypervisor(
        system_id=name,
        hostname=f"{name}.example.org",
        encap_ip=Address("192.0.2.1"),
        encap_types=("geneve", "vxlan"),
        bridge="br-int",
        datapath_type="netdev",
        bridge_mappings=(("physnet1", "br-ex"),),
        gateway_priority=priority,
        datapath_id=1,
        claims=(),
        availability_zone=zone,
    )
    api.commit(lambda tx: bindings.observe(tx, hypervisor))
    if alive:
        api.wires.seen[name] = Attendance(True, 1_600_000_000, 1_600_000_060)


def agents(api: Client, query: str = "") -> list[Any]:
    return list(api.get(f"/v2.0/agents?{query}")["agents"])


def test_a_hypervisor_is_two_agents(api: Client) -> None:
    join(api, "hv1", "east", priority=10)
    wires, routes = sorted(agents(api), key=lambda each: str(each["binary"]), reverse=True)
    assert {name: wires[name] for name in wires if name != "id"} == {
        "agent_type": "Open vSwitch agent",
        "binary": "neutron-openvswitch-agent",
        "topic": "N/A",
        "host": "hv1.example.org",
        "admin_state_up": True,
        "created_at": "2020-09-13 12:26:40",
        "started_at": "2020-09-13 12:26:40",
        "heartbeat_timestamp": "2020-09-13 12:27:40",
        "alive": True,
        "description": "",
        "configurations": {
            "bridge_mappings": {"physnet1": "br-ex"},
            "datapath_type": "netdev",
            "integration_bridge": "br-int",
            "tunnel_types": ["geneve", "vxlan"],
            "tunneling_ip": "192.0.2.1",
        },
        "availability_zone": "east",
    }
    assert (routes["agent_type"], routes["binary"]) == ("L3 agent", "neutron-l3-agent")
    assert routes["configurations"] == {"agent_mode": "dvr_snat"}
    assert api.get(f"/v2.0/agents/{wires['id']}") == {"agent": wires}
    join(api, "hv1", "east")
    assert {each["id"] for each in agents(api)} == {wires["id"], routes["id"]}, "ids are stable"
    assert agents(api, "agent_type=L3%20agent")[0]["configurations"] == {"agent_mode": "dvr"}


def test_agents_are_found_by_what_they_are(api: Client) -> None:
    join(api, "hv1", "east")
    join(api, "hv2", "west", alive=False)
    assert len(agents(api)) == 4
    for query in ("alive=true", "host=hv1.example.org", "availability_zone=east"):
        assert {each["host"] for each in agents(api, query)} == {"hv1.example.org"}
    dead = agents(api, "alive=false&binary=neutron-l3-agent")
    assert [(each["host"], each["started_at"]) for each in dead] == [("hv2.example.org", None)]
    assert len(agents(api, "sort_key=host&sort_dir=desc&limit=3")) == 3
    assert api.ask("GET", "/v2.0/agents/x").fault == (404, "AgentNotFound", "Agent x could not be found.")
    assert api.ask("POST", "/v2.0/agents", {"agent": {}}).status == 405


def test_a_router_agent_that_is_down_drains_its_hypervisor(api: Client) -> None:
    join(api, "hv1")
    (routes,) = agents(api, "agent_type=L3%20agent")
    down = api.put("agent", routes["id"], admin_state_up=False).body["agent"]
    assert down["admin_state_up"] is False
    assert [each.id for each in api.store.model.all(Drained)] == ["hv1"]
    api.put("agent", routes["id"], description="to be mended")
    (seen,) = agents(api, "agent_type=L3%20agent")
    assert (seen["admin_state_up"], seen["description"]) == (False, "to be mended")
    assert api.put("agent", routes["id"], admin_state_up=True).body["agent"]["admin_state_up"] is True
    assert api.store.model.all(Drained) == ()
    (wires,) = agents(api, "agent_type=Open%20vSwitch%20agent")
    assert api.put("agent", wires["id"], admin_state_up=False).body["agent"]["admin_state_up"] is False
    assert api.store.model.all(Drained) == ()
    assert api.put("agent", wires["id"], host="x").fault == (
        400,
        "HTTPBadRequest",
        "Cannot update read-only attribute host",
    )


def test_a_hypervisor_that_is_gone_is_forgotten_by_any_of_its_agents(api: Client) -> None:
    join(api, "hv1")
    id = agents(api)[0]["id"]
    api.put("agent", id, description="x")
    status, kind, said = api.delete("agent", id).fault
    assert (status, kind) == (409, "AgentInUse")
    assert "hypervisor hv1 is connected" in said
    api.wires.seen.clear()
    assert api.delete("agent", id).status == 204
    assert agents(api) == []
    assert [*api.store.model.all(Chassis), *api.store.model.all(AgentNote)] == []


def test_zones_are_where_hypervisors_say_they_are(api: Client) -> None:
    join(api, "hv1", "east")
    join(api, "hv2", "west", alive=False)
    join(api, "hv3", "east", alive=False)

    def zones(query: str = "") -> list[tuple[str, str, str]]:
        found = api.get(f"/v2.0/availability_zones?{query}")["availability_zones"]
        return [(each["name"], each["resource"], each["state"]) for each in found]

    east = [("east", "network", "available"), ("east", "router", "available")]
    west = [("west", "network", "unavailable"), ("west", "router", "unavailable")]
    assert zones() == [*east, *west]
    assert zones("name=east") == zones("state=available") == east
    assert zones("resource=router&state=unavailable") == west[1:]
    unknown = "['foo'] is invalid attribute for filtering"
    assert api.ask("GET", "/v2.0/availability_zones?foo=1").fault == (400, "HTTPBadRequest", unknown)


@pytest.mark.parametrize("kind", ["network", "router"])
def test_networks_and_routers_may_be_meant_for_zones(api: Client, kind: str) -> None:
    assert api.make(kind)["availability_zones"] == []
    join(api, "hv1", "east")
    join(api, "hv2", "west")
    meant = api.make(kind, availability_zone_hints=["west"])
    assert (meant["availability_zone_hints"], meant["availability_zones"]) == (["west"], ["west"])
    free = api.make(kind)
    assert (free["availability_zone_hints"], free["availability_zones"]) == ([], ["east", "west"])
    stays = (400, "HTTPBadRequest", "Cannot update read-only attribute availability_zone_hints")
    assert api.put(kind, free["id"], availability_zone_hints=["west"]).fault == stays
    for hints, fault in (
        (["north"], (404, "AvailabilityZoneNotFound", "AvailabilityZone north could not be found.")),
        ("west", (400, "HTTPBadRequest", "Invalid input for availability_zone_hints. Reason: 'west' is not a list.")),
        (["west", "west"], (400, "HTTPBadRequest", None)),
        (["x" * 255], (400, "InvalidInput", None)),
    ):
        refused = api.post(kind, availability_zone_hints=hints).fault
        assert refused[:2] == fault[:2]
        assert fault[2] in (None, refused[2])
