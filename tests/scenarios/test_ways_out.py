"""The outside by the API: what a client asks for is what packets do, and what the API says of it is so.

    hv1  near .11    on the wire           world 203.0.113.1, on the wire, is where all default routes lead
    hv2              on the wire, gateway (priority 20)
    hv3  far .13     on the wire, gateway (priority 10)
    hv4  away .14    not on the wire
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from mininet_scenarios.api import Json
from mininet_scenarios.lab import Lab
from mininet_scenarios.nodes import Guest, Host
from mininet_scenarios.probe import token

WHERE = {"near": "hv1", "far": "hv3", "away": "hv4"}
PRIORITIES = {"hv2": 20, "hv3": 10}
OWN, FLOATING = "203.0.113.9", "203.0.113.50"
ACTIVE_S = 5.0


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """The topology above; whoever is outside may come in, if a floating IP leads there."""
    with Lab(hypervisors=4) as lab:
        physical = lab.physical("physnet1", on=("hv1", "hv2", "hv3"))
        for name, priority in PRIORITIES.items():
            key = f"external_ids:weft-gateway-priority={priority}"
            lab.hypervisors[name].vsctl("set", "Open_vSwitch", ".", key)
        out = lab.network(
            "out",
            cidr="203.0.113.0/24",
            project="",
            type="flat",
            gateways=True,
            **{"provider:physical_network": "physnet1", "router:external": True},
        )
        red = lab.network("red", cidr="10.0.0.0/24", project="a", gateways=True)
        way = {"network_id": out.id, "external_fixed_ips": [{"ip_address": OWN}]}
        lab.router("edge", red, project="a", external_gateway_info=way)
        for number, (name, on) in zip((11, 13, 14), WHERE.items(), strict=True):
            lab.guest(name, network=red, on=on, ip=f"10.0.0.{number}", mac=f"02:00:00:00:00:{number}")
        lab.host("world", on=physical, ip="203.0.113.1/24", mac="02:00:00:00:00:01")
        lab.rule(lab.default_group("a"), prefix="0.0.0.0/0")
        lab.converged()
        yield lab


@pytest.fixture
def floating(lab: Lab) -> Iterator[str]:
    """The id of a floating IP that stands for nobody yet."""
    (out,) = lab.api.get("/v2.0/networks?name=out")["networks"]
    wanted = {"floating_network_id": out["id"], "floating_ip_address": FLOATING, "project_id": "a"}
    id = lab.api.post("/v2.0/floatingips", {"floatingip": wanted})["floatingip"]["id"]
    yield id
    lab.api.delete(f"/v2.0/floatingips/{id}")


def associate(lab: Lab, floating: str, guest: Guest | None) -> None:
    """Let it stand for a guest, or for nobody, until the API says that it does."""
    change = {"floatingip": {"port_id": guest.port_id if guest else None}}
    lab.api.put(f"/v2.0/floatingips/{floating}", change)
    lab.converged()
    expected = "ACTIVE" if guest else "DOWN"
    lab.eventually(f"A floating IP that is {expected}", lambda: status(lab, floating) == expected, ACTIVE_S)


def status(lab: Lab, floating: str) -> str:
    return str(lab.api.get(f"/v2.0/floatingips/{floating}")["floatingip"]["status"])


def edge(lab: Lab) -> Json:
    (router,) = lab.api.get("/v2.0/routers?name=edge")["routers"]
    return lab.api.get(f"/v1/routers/{router['id']}")["router"]


def sources(lab: Lab, asker: Host, target: Host) -> set[str]:
    """Whom a machine is, to those whom it asks."""
    mark = token()
    with lab.sniff(target) as heard:
        assert asker.ping(target.ip, count=1, mark=mark).wait().lost == 0
    seen = {socket.inet_ntoa(frame.raw[26:30]) for frame in heard.at(target) if mark in frame.raw}
    return seen - {target.ip}


def test_guests_go_out_under_the_address_of_their_router(lab: Lab) -> None:
    world = lab.hosts["world"]
    for guest in lab.guests.values():
        assert sources(lab, guest, world) == {OWN}, str(guest)
        assert not world.pings(guest.ip), "nobody comes in unasked"
    assert (edge(lab)["gateways"], edge(lab)["active"]) == (["hv2", "hv3"], "hv2")
    lab.settles()
