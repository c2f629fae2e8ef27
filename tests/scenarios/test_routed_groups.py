"""Security groups between networks: rules judge routed packets by who sent them, whichever router they pass."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mininet_scenarios.captures import sent_by
from mininet_scenarios.guarded import allow_both
from mininet_scenarios.hosts import Guest
from mininet_scenarios.lab import Lab

pytestmark = pytest.mark.scenario

VERSIONS = (4, 6)


@pytest.fixture(scope="module")
def routed() -> Iterator[Lab]:
    """red1, red2 on network red and blue1 on blue, dual stack: red leaves by router `there`, blue by router `back`."""
    with Lab(hypervisors=2) as lab:
        red, blue = (
            lab.network(name, cidr=(f"10.0.{n}.0/24", f"fd00:{n}::/64"), project="a", gateways=True)
            for n, name in enumerate(("red", "blue"), 1)
        )
        lab.router("there", red, project="a")
        lab.router("back", blue, project="a")
        for router, network, last in (("there", blue, 2), ("back", red, 2)):
            (made,) = lab.api.get(f"/v2.0/routers?name={router}")["routers"]
            for subnet in network.subnets:
                address = f"{subnet.cidr.partition('/')[0].removesuffix('0')}{last}"
                fixed = [{"subnet_id": subnet.id, "ip_address": address}]
                body = {"port": {"network_id": network.id, "fixed_ips": fixed, "project_id": "a"}}
                port = lab.api.post("/v2.0/ports", body)["port"]
                lab.api.put(f"/v2.0/routers/{made['id']}/add_router_interface", {"port_id": port["id"]})
        out = lab.group("out", project="a")
        for name, network, host, n, at in (("red1", red, 1, 1, 11), ("red2", red, 1, 1, 12), ("blue1", blue, 2, 2, 11)):
            lab.guest(
                name,
                network=network,
                on=f"hv{host}",
                ip=(f"10.0.{n}.{at}", f"fd00:{n}::{at}"),
                mac=f"02:00:00:00:0{n}:{at}",
                security_groups=[out["id"]],
            )
        lab.converged()
        yield lab


@pytest.fixture
def red1(routed: Lab) -> Guest:
    return routed.guests["red1"]


@pytest.fixture
def red2(routed: Lab) -> Guest:
    return routed.guests["red2"]


@pytest.fixture
def blue1(routed: Lab) -> Guest:
    return routed.guests["blue1"]


def test_a_rule_for_a_group_lets_its_members_in_from_other_networks(
    routed: Lab, red1: Guest, red2: Guest, blue1: Guest
) -> None:
    """Case SG18, too: what goes by one router comes back by the other, and is one connection at either end."""
    out = next(
        row for row in routed.api.get("/v2.0/security-groups?project_id=a")["security_groups"] if row["name"] == "out"
    )
    clients, web = routed.group("clients", project="a"), routed.group("web", project="a")
    rules = allow_both(routed, web, protocol="tcp", ports=80, remote=clients)
    routed.regroup(red1, clients)
    routed.regroup(blue1, web)
    routed.converged()
    for version in VERSIONS:
        assert red1.reaches(blue1, "tcp", 80, 81, version=version) == {80}
        with routed.sniff(blue1) as heard:
            assert red2.reaches(blue1, "tcp", 80, version=version) == set(), "no member"
        assert heard.copies(sent_by(red2)) == {}
    for rule in rules:
        routed.remove(rule)
    routed.converged()
    for version in VERSIONS:
        assert red1.reaches(blue1, "tcp", 80, version=version) == set()
    routed.regroup(red1, out)
    routed.regroup(blue1, out)
    routed.settles()


def test_a_routers_answers_need_no_rule_and_are_of_the_connection(routed: Lab, red1: Guest, blue1: Guest) -> None:
    """Case SG55: a guest that hears answers alone hears its gateway, and what the gateway tells of its connections."""
    assert red1.pings("10.0.1.1")
    assert red1.pings("fd00:1::1")
    said = red1.run("ping", "-n", "-c", "1", "-W", "2", "-t", "1", blue1.ip, codes=(1,))
    assert "From 10.0.1.1 icmp_seq=1 Time to live exceeded" in said
    assert not red1.pings(blue1), "blue1 lets nobody in"
    assert not blue1.pings(red1)
    routed.settles()
