"""The outside: guests reach it by their routers' gateways and by floating IPs, and are reached by these alone.

            hv1             hv2            hv3           physnet1 (flat)
net a       a1 .11, a4 .14  a2 .12         a3 .13        outside 172.24.0.1, the next hop of all
net b       b1 .11                                         └ far 203.0.113.9
gateways    -               1st            2nd

Networks a and b are of two tenants and have the same addresses.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mininet_scenarios.lab import Lab

pytestmark = pytest.mark.scenario

OUTSIDE, OUTSIDE_MAC = "172.24.0.1", "02:00:00:00:0e:01"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """The topology above; every group lets everybody in."""
    with Lab(hypervisors=3, serve=("--flat-networks", "physnet1")) as lab:
        wire = lab.physical("physnet1")
        lab.gateways(None, 20, 10)
        lab.host("outside", on=wire, ip=f"{OUTSIDE}/24", mac=OUTSIDE_MAC)
        external = lab.external("ext", physical=wire, cidr="172.24.0.0/24")
        for project, last, where in (("a", 10, {"a1": 1, "a4": 1, "a2": 2, "a3": 3}), ("b", 20, {"b1": 1})):
            network = lab.network(project, cidr="10.0.0.0/24", project=project, gateways=True)
            router = lab.router(project, network, project=project)
            lab.way_out(router, external, f"172.24.0.{last}")
            lab.rule(lab.default_group(project))
            for name, host in where.items():
                number = 10 + int(name[1])
                mac = f"02:00:00:00:{project}0:{number}"
                lab.guest(name, network=network, on=f"hv{host}", ip=f"10.0.0.{number}", mac=mac)
        lab.converged()
        yield lab


def test_a_guest_without_a_floating_ip_goes_out_under_its_routers_address(lab: Lab) -> None:
    import time
    time.sleep(3)
    for name in ("a1", "a2", "a3", "b1"):
        print(name, lab.guests[name].ping(OUTSIDE, count=3).wait())
    for h in lab.hypervisors.values():
        print(h, h.drops(), h.appctl("bfd/show")[:1] and h.appctl("bfd/show").count("Forwarding: true"))
        print(h.groups())
    print(lab.controller.tail()[-3000:])
    assert 0
