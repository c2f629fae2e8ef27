"""Who holds an address: what the model says, and what guests said where it does not; where routers meet the outside."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.flows.fields import link_local, mac_of
from controller.flows.holding import LAPSED, holder, holder_of_mac
from controller.flows.presence import servant
from controller.flows.ways_out import gateways
from controller.model.records import Address, Drained, Mac, Neighbour
from controller.model.view import View
from tests.cloud import (
    Cloud,
    Work,
    gateway,
    heard,
    hypervisor,
    interface,
    network,
    no_port,
    port,
    router,
    subnet,
    turned,
    wire,
)

VIP, VIRTUAL = "10.0.0.100", "00:00:5e:00:01:01"
SHARED = [(VIRTUAL, VIP)]


@pytest.fixture
def cloud() -> Cloud:
    """vm1 and vm2 of network red on hv1, vm3 on hv2."""
    made = Cloud()
    made.commit(network("red", 100), *(vm(number) for number in (1, 2, 3)))
    made.commit(hypervisor(1, "vm1", "vm2"), hypervisor(2, "vm3"))
    return made


def holds(cloud: Cloud, address: str) -> str | None:
    """The port that holds an address of red, from the engine's memory as from scratch."""
    views = (View(cloud.model, cloud.engine), View(cloud.model))
    found, afresh = (holder(view, "red", Address(address)) for view in views)
    assert found == afresh
    return found.id if found else None


def lapsed(cloud: Cloud) -> frozenset[str]:
    """The neighbours that are none any more."""
    return cloud.engine.gather(LAPSED, "")


def vm(number: int, **more: object) -> Work:
    """vmN of red at 10.0.0.N."""
    return port(f"vm{number}", "red", f"02:00:00:00:00:0{number}", f"10.0.0.{number}", **more)  # type: ignore[arg-type]


def test_a_fixed_address_is_its_ports_while_that_is_attached(cloud: Cloud) -> None:
    assert holds(cloud, "10.0.0.3") == "vm3"
    cloud.commit(vm(3, admin_state_up=False))
    assert holds(cloud, "10.0.0.3") is None


def test_a_pair_of_one_port_alone_is_that_ports(cloud: Cloud) -> None:
    cloud.commit(vm(1, pairs=SHARED))
    assert holds(cloud, VIP) == "vm1"


def test_of_several_ports_with_one_pair_that_holds_it_which_said_so(cloud: Cloud) -> None:
    cloud.commit(vm(1, pairs=SHARED), vm(2, pairs=SHARED))
    assert holds(cloud, VIP) is None
    for number in (2, 1, 2):
        cloud.commit(heard("red", VIP, VIRTUAL, f"vm{number}"))
        assert holds(cloud, VIP) == f"vm{number}"
    cloud.commit(vm(2))
    assert holds(cloud, VIP) == "vm1", "alone"
    assert lapsed(cloud) == {f"red/{VIP}"}


def test_a_port_that_nobody_plugged_in_leaves_its_address_to_those_with_a_pair_for_it(cloud: Cloud) -> None:
    """As Octavia and others reserve a virtual address: by a port that is nowhere."""
    cloud.commit(port("reserved", "red", "02:00:00:00:00:aa", VIP), vm(1, pairs=SHARED), vm(2, pairs=SHARED))
    cloud.commit(heard("red", VIP, VIRTUAL, "vm2"))
    assert holds(cloud, VIP) == "vm2"
    cloud.commit(hypervisor(1, "vm1", "vm2", "reserved"))
    assert holds(cloud, VIP) == "reserved"
    assert lapsed(cloud) == {f"red/{VIP}"}


@pytest.mark.parametrize(
    "undone",
    [
        vm(1, admin_state_up=False),
        no_port("vm1"),
        hypervisor(1, "vm2"),
        network("red", 100, admin_state_up=False),
        vm(1, pairs=[(VIRTUAL, "10.0.0.101")]),
        vm(1, pairs=[("00:00:5e:00:01:02", "10.0.0.0/24")]),
        port("vm4", "red", VIRTUAL, "10.0.0.4"),
    ],
    ids=[
        "down",
        "deleted",
        "unplugged",
        "network down",
        "another pair",
        "another MAC",
        "a port's MAC",
    ],
)
def test_who_may_not_hold_an_address_any_more_does_not(cloud: Cloud, undone: Work) -> None:
    cloud.commit(vm(1, pairs=[(VIRTUAL, "10.0.0.96/28")]), heard("red", VIP, VIRTUAL, "vm1"))
    assert (holds(cloud, VIP), lapsed(cloud)) == ("vm1", frozenset())
    cloud.commit(undone)
    assert holds(cloud, VIP) != "vm1"
    assert lapsed(cloud) == {f"red/{VIP}"}


def test_who_has_a_pair_alone_comes_before_who_has_a_block_and_said_so(cloud: Cloud) -> None:
    cloud.commit(vm(1, pairs=[(VIRTUAL, "10.0.0.96/28")]), heard("red", VIP, VIRTUAL, "vm1"), vm(2, pairs=SHARED))
    assert (holds(cloud, VIP), lapsed(cloud)) == ("vm2", frozenset())
    cloud.commit(vm(3, pairs=SHARED))
    assert holds(cloud, VIP) == "vm1"


def test_without_port_security_a_port_holds_what_it_says_but_nothing_that_is_anothers(cloud: Cloud) -> None:
    cloud.commit(vm(1, guarded=False), router("r"), subnet("red4", "red", "10.0.0.0/24"))
    cloud.commit(interface("gate", "r", "red", "02:00:00:00:0a:01", red4="10.0.0.254"), vm(2, pairs=SHARED))
    for address, mac, who in (
        ("10.9.0.9", "02:00:00:00:00:01", "vm1"),
        ("10.9.0.9", "02:99:00:00:00:99", "vm1"),
        ("fd00::9", "02:99:00:00:00:99", "vm1"),
        ("10.9.0.9", "02:00:00:00:00:03", None),
        ("10.9.0.9", "02:00:00:00:0a:01", None),
        ("10.0.0.3", "02:00:00:00:00:01", "vm3"),
        ("fe80::ff:fe00:3", "02:00:00:00:00:01", None),
        ("fe80::ff:fe00:a01", "02:00:00:00:00:01", None),
        ("fe80::77", "02:00:00:00:00:01", "vm1"),
        ("10.0.0.254", "02:00:00:00:00:01", None),
        (VIP, "02:00:00:00:00:01", "vm2"),
    ):
        cloud.commit(heard("red", address, mac, "vm1"))
        assert holds(cloud, address) == who, (address, mac)
        assert (f"red/{address}" in lapsed(cloud)) == (who != "vm1")


def test_of_two_addresses_at_one_mac_the_newest_says_where_that_is(cloud: Cloud) -> None:
    pairs = [(VIRTUAL, VIP), (VIRTUAL, "fd00::100")]
    cloud.commit(vm(1, pairs=pairs), vm(2, pairs=pairs))

    def at() -> str | None:
        return holder_of_mac(View(cloud.model, cloud.engine), "red", Mac(VIRTUAL))

    seen = []
    for address, who in ((VIP, "vm1"), ("fd00::100", "vm1"), (VIP, "vm2"), ("fd00::100", "vm2")):
        cloud.commit(heard("red", address, VIRTUAL, who))
        seen.append(at())
    assert seen == ["vm1", "vm1", "vm2", "vm2"]
    cloud.commit(lambda tx: tx.delete(Neighbour, f"red/{VIP}"))
    assert at() == "vm2"
    cloud.commit(hypervisor(1, "vm1"))
    assert at() is None


# ---- where things of routers are ------------------------------------------------------------------------------


@pytest.fixture
def wired() -> Cloud:
    """Router r between red, a VLAN, and ext, a flat network, both of one wire; hv1 to hv4 are on it, as hv5 is not.

    hv1 and hv2 are of zone east, hv3 and hv4 of west; hv5 is of west, too.
    """
    made = Cloud()
    made.commit(wire("red", 101, "phys"), wire("ext", None, "phys", external=True))
    made.commit(subnet("red4", "red", "10.0.0.0/24", "10.0.0.254"), subnet("ext4", "ext", "172.24.0.0/24"))
    made.commit(*(exit(number) for number in range(1, 6)))
    made.commit(
        router("r", external_network_id="ext"), gateway("g", "r", "ext", "02:00:00:00:0e:01", ext4="172.24.0.9")
    )
    made.commit(interface("i", "r", "red", "02:00:00:00:0a:01", red4="10.0.0.254"))
    return made


def exit(number: int, priority: int | None = None, **more: object) -> Work:
    """hvN, which may be a gateway by a priority of its own: the higher the number, the better."""
    zone, physical = ("east" if number < 3 else "west"), ("phys",) if number < 5 else ()
    wanted = {"zone": zone, "physical": physical, "priority": priority or number, **more}
    return hypervisor(number, **wanted)  # type: ignore[arg-type]


def ranked(cloud: Cloud) -> tuple[str, ...]:
    """The gateways of r, from the engine's memory as from scratch."""
    found, afresh = (view.derive(gateways, "r") for view in (View(cloud.model, cloud.engine), View(cloud.model)))
    assert found == afresh
    return found


def test_gateways_are_on_the_wire_of_the_outside_and_ranked_by_priority(wired: Cloud) -> None:
    assert ranked(wired) == ("hv4", "hv3", "hv2", "hv1")
    wired.commit(exit(1, 9))
    assert ranked(wired) == ("hv1", "hv4", "hv3", "hv2")
    wired.commit(lambda tx: tx.put(Drained(id="hv1")))
    assert ranked(wired) == ("hv4", "hv3", "hv2")


def test_a_router_meant_for_zones_has_its_gateways_in_these_alone(wired: Cloud) -> None:
    for hints, expected in (
        (("east",), ("hv2", "hv1")),
        (("west",), ("hv4", "hv3")),
        (("west", "east"), ("hv4", "hv3", "hv2", "hv1")),
        (("north",), ()),
        ((), ("hv4", "hv3", "hv2", "hv1")),
    ):
        wired.commit(router("r", external_network_id="ext", availability_zone_hints=hints))
        assert ranked(wired) == expected, hints
    wired.commit(router("r", external_network_id="ext", availability_zone_hints=("east",)), exit(4, zone="east"))
    assert ranked(wired) == ("hv4", "hv2", "hv1"), "a hypervisor that moves to the zone"


def test_a_router_in_a_zone_keeps_out_of_the_flows_of_gateways_elsewhere(wired: Cloud) -> None:
    def at_gates() -> set[str]:
        return {name for name in ("hv1", "hv2", "hv3", "hv4") if [*wired.flows(name, "gateways")] != common}

    common = wired.flows("hv5", "gateways")
    wired.commit(router("r", external_network_id="ext", availability_zone_hints=("east",)))
    assert at_gates() == {"hv1", "hv2", "hv4"}, "hv4 serves red's physical hosts"


def served_by(cloud: Cloud) -> str | None:
    """The servant of red, from the engine's memory as from scratch."""
    found, afresh = (view.derive(servant, "red") for view in (View(cloud.model, cloud.engine), View(cloud.model)))
    assert found == afresh
    return found


def test_the_best_hypervisor_on_a_wire_serves_its_physical_hosts(wired: Cloud) -> None:
    assert served_by(wired) == "hv4"
    wired.commit(exit(2, 9))
    assert served_by(wired) == "hv2"
    wired.commit(exit(2, 9, physical=()))
    assert served_by(wired) == "hv4", "one that is not on the wire serves nobody there"


def test_a_drained_hypervisor_serves_only_when_there_is_no_other(wired: Cloud) -> None:
    def drain(number: int) -> Work:
        return lambda tx: tx.put(Drained(id=f"hv{number}"))

    for number, expected in ((4, "hv3"), (2, "hv3"), (3, "hv1"), (1, "hv4")):
        wired.commit(drain(number))
        assert served_by(wired) == expected
    wired.commit(lambda tx: tx.delete(Drained, "hv2"))
    assert served_by(wired) == "hv2"


def test_of_hypervisors_alike_each_network_has_another(wired: Cloud) -> None:
    wired.commit(*(exit(number, 7) for number in (1, 2, 3, 4)))
    first = served_by(wired)
    seen = set()
    for vlan in range(110, 140):
        id = f"net{vlan}"
        wired.commit(wire(id, vlan, "phys"), subnet(f"{id}-4", id, f"10.{vlan}.0.0/24"))
        wired.commit(interface(f"i-{id}", "r", id, f"02:00:00:00:0b:{vlan - 100}", **{f"{id}-4": f"10.{vlan}.0.1"}))
        seen.add(View(wired.model, wired.engine).derive(servant, id))
    assert seen == {"hv1", "hv2", "hv3", "hv4"}
    assert served_by(wired) == first, "and keeps it"


@pytest.mark.parametrize(
    "undone",
    [
        turned("i", up=False),
        router("r", external_network_id="ext", admin_state_up=False),
        wire("red", 101, "phys", admin_state_up=False),
        network("red", 101),
    ],
    ids=["interface down", "router down", "network down", "an overlay"],
)
def test_a_wire_that_no_router_is_on_is_served_by_nobody(wired: Cloud, undone: Work) -> None:
    wired.commit(undone)
    assert served_by(wired) is None


@given(st.binary(min_size=6, max_size=6))
def test_a_link_local_address_tells_the_mac_that_gave_it(octets: bytes) -> None:
    mac = Mac(octets.hex(":"))
    assert mac_of(link_local(mac)) == mac


def test_other_addresses_tell_none() -> None:
    for address in ("10.0.0.1", "fe80::1", "fd00::ff:fe00:1", "fe80:0:0:1:0:ff:fe00:1", "::"):
        assert mac_of(address) is None
