"""A port or a network that is administratively down is silent, and is as before when it is up again."""

from __future__ import annotations

import pytest

from mininet_scenarios.frames import BROADCAST, token
from mininet_scenarios.hosts import Guest
from mininet_scenarios.lab import Lab


@pytest.fixture(scope="module", params=["vxlan", "geneve"])
def trio(request: pytest.FixtureRequest, lab: Lab) -> tuple[Guest, Guest, Guest]:
    """Two guests on one hypervisor and a third on the other."""
    name = request.param
    network = lab.network(name, cidr="10.0.0.0/24", project="a", type=name)
    places = enumerate(("hv1", "hv1", "hv2"), 1)
    guests = [
        lab.guest(f"{name}{n}", network=network, on=on, ip=f"10.0.0.{n}", mac=f"02:00:00:00:00:0{n}")
        for n, on in places
    ]
    lab.converged()
    one, two, three = guests
    return one, two, three


def set_up(lab: Lab, path: str, up: bool) -> None:
    """Set an admin state, and wait until every switch has it."""
    kind = path.split("/")[0].removesuffix("s")
    lab.api.put(f"/v2.0/{path}", {kind: {"admin_state_up": up}})
    lab.converged()


def test_a_port_that_is_down_neither_sends_nor_hears(lab: Lab, trio: tuple[Guest, Guest, Guest]) -> None:
    near, guest, far = trio
    set_up(lab, f"ports/{guest.port_id}", up=False)
    assert lab.api.get(f"/v2.0/ports/{guest.port_id}")["port"]["status"] == "DOWN"

    to_it, from_it, aside = token(), token(), token()
    for other in (near, far):
        other.knows(guest.ip, guest.mac)
        assert not other.pings(guest)
    with lab.sniff() as heard:
        guest.tells(BROADCAST, from_it)
        guest.tells(near.mac, from_it)
        far.tells(guest.mac, to_it)
        far.tells(BROADCAST, aside)
    assert heard.copies(from_it) == {}
    assert heard.copies(to_it) == {}
    assert heard.copies(aside) == {str(near): 1, "underlay": 1}
    assert near.pings(far)
    assert near.finds_free(guest.ip), "nobody speaks for a port that is down"
    lab.settles()

    set_up(lab, f"ports/{guest.port_id}", up=True)
    assert near.pings(guest)
    assert far.pings(guest)
    lab.settles()


def test_a_network_that_is_down_carries_nothing(lab: Lab, trio: tuple[Guest, Guest, Guest]) -> None:
    near, guest, far = trio
    set_up(lab, f"networks/{guest.network_id}", up=False)
    mark = token()
    with lab.sniff() as heard:
        for one, other in ((near, guest), (guest, far), (far, near)):
            one.knows(other.ip, other.mac)
            one.tells(BROADCAST, mark)
            one.tells(other.mac, mark)
            assert not one.pings(other, count=2)
    assert heard.copies(mark) == {}
    assert heard.frames == []
    lab.settles()

    set_up(lab, f"networks/{guest.network_id}", up=True)
    assert near.pings(guest)
    assert guest.pings(far)
    lab.settles()
