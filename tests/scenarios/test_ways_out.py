"""What the API says of ways out is what packets do.

hv1  near .11    on the wire           world 203.0.113.1, on the wire
hv2              on the wire, the best gateway
hv3              on the wire, the next best
hv4  away .14    not on the wire
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import partial

import pytest

from mininet_scenarios.api import Json
from mininet_scenarios.lab import Lab
from mininet_scenarios.nodes import Guest, Host
from mininet_scenarios.probe import token

OWN, FLOATING = "203.0.113.9", "203.0.113.50"
SOON_S = 5.0


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """The topology above; a guest lets everybody in."""
    with Lab(hypervisors=4, serve=("--flat-networks", "physnet1", "--gateway-hold", "1")) as lab:
        physical = lab.physical("physnet1", on=("hv1", "hv2", "hv3"))
        lab.gateways(None, 20, 10, None)
        lab.host("world", on=physical, ip="203.0.113.1/24", mac="02:00:00:00:0e:01")
        out = lab.external("out", physical=physical, cidr="203.0.113.0/24")
        red = lab.network("red", cidr="10.0.0.0/24", project="a", gateways=True)
        lab.way_out(lab.router("edge", red, project="a"), out, OWN)
        lab.floating_ip(out, FLOATING, project_id="a")
        for name, on, last in (("near", "hv1", 11), ("away", "hv4", 14)):
            lab.guest(name, network=red, on=on, ip=f"10.0.0.{last}", mac=f"02:00:00:00:00:{last}")
        lab.rule(lab.default_group("a"))
        lab.converged()
        lab.gateways_alive()
        yield lab


def floating(lab: Lab) -> Json:
    found: Json = lab.api.get(f"/v2.0/floatingips?floating_ip_address={FLOATING}")["floatingips"][0]
    return found


def associated(lab: Lab, guest: Guest | None) -> Json:
    """Let the floating IP stand for a guest until the API says that it does; where it is translated then."""
    lab.associate(floating(lab), guest)
    expected = "ACTIVE" if guest else "DOWN"
    lab.eventually(f"A floating IP that is {expected}", lambda: floating(lab)["status"] == expected, SOON_S)
    found: Json = lab.api.get(f"/v1/floatingips/{floating(lab)['id']}")["floatingip"]
    return found


def ranked(lab: Lab) -> tuple[list[str], str | None]:
    """The gateways of the router, and the one that is active."""
    router = lab.api.get(f"/v1/routers/{lab.api.get('/v2.0/routers?name=edge')['routers'][0]['id']}")["router"]
    return router["gateways"], router["active"]


def known_as(lab: Lab, guest: Guest) -> set[str]:
    """Who a guest is to those whom it asks outside, all three times."""
    world, mark = lab.hosts["world"], token()
    with lab.sniff(world) as heard:
        assert guest.ping(world.ip, count=3, mark=mark).wait().lost == 0
    return {socket.inet_ntoa(frame.raw[26:30]) for frame in heard.at(world) if mark in frame.raw} - {world.ip}


def reached(lab: Lab) -> set[str]:
    """Who hears what is sent to the floating IP from outside."""
    world: Host = lab.hosts["world"]
    mark = token()
    with lab.sniff(*lab.guests.values()) as heard:
        world.ping(FLOATING, count=2, mark=mark).wait()
    return set(heard.copies(mark))


def only(lab: Lab, guest: Guest) -> bool:
    """Is that guest the one who hears it?"""
    return reached(lab) == {guest.name}


def test_a_floating_ip_is_where_the_api_says_and_reaches_whom_it_stands_for_once_it_is_active(lab: Lab) -> None:
    near, away = lab.guests["near"], lab.guests["away"]
    for guest, binding, chassis in ((near, "distributed", ["hv1"]), (away, "centralized", ["hv2", "hv3"])):
        where = associated(lab, guest)
        assert (where["binding"], where["chassis"], where["active"]) == (binding, chassis, chassis[0])
        lab.eventually(f"{guest.name} that is reached alone", partial(only, lab, guest), SOON_S)
        assert known_as(lab, guest) == {FLOATING}
        other = away if guest is near else near
        assert known_as(lab, other) == {OWN}
    where = associated(lab, None)
    assert (where["binding"], where["chassis"], where["active"]) == (None, [], None)
    assert reached(lab) == set()
    assert known_as(lab, away) == {OWN}
    lab.settles()


def test_a_hypervisor_that_is_drained_passes_nothing_to_the_outside(lab: Lab) -> None:
    near, world = lab.guests["near"], lab.hosts["world"]
    assert ranked(lab) == (["hv2", "hv3"], "hv2")
    for drained, expected in ((True, ["hv3"]), (False, ["hv2", "hv3"])):
        lab.api.put("/v1/chassis/hv2", {"gateway": not drained})
        lab.converged()
        lab.gateways_alive()
        assert ranked(lab) == (expected, expected[0])
        lab.eventually("A way out", lambda: near.ping(world.ip, count=1).wait().lost == 0, SOON_S)
        mark = token()
        with lab.sniff(lab.underlay) as heard:
            assert near.ping(world.ip, count=3, mark=mark).wait().lost == 0
        ends = {frame.outer[30:34] for frame in heard.at(lab.underlay) if mark in frame.raw}
        assert lab.hypervisors[expected[0]].vtep in {socket.inet_ntoa(end) for end in ends}
        assert len(ends) == 2, "there and back by one gateway"
    lab.settles()
