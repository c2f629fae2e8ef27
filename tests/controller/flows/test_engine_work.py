"""What a change costs: counted in cells and in bytecode instructions, which no other program on the machine disturbs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from controller.flows.action import Table
from controller.flows.app import App, present, remotes
from controller.flows.attachment import HOMES, MEMBER_ADDRESSES
from controller.flows.flow import Clause, Flow
from controller.flows.pipeline import NET, SRC
from controller.model.records import Network
from controller.model.store import Change, Transaction
from controller.model.view import View
from northbound import tracing
from northbound.sending import question
from tests.benchmarks.instructions import instructions
from tests.cloud import Cloud, Work, egress, group, hypervisor, ingress, network, no_port, port, subnet

TESTED = Table(99, "test", "", {"shared": 2, "address": 1}, frozenset({NET, SRC}))


# ---- one flow that all tenants share, each on hypervisors of its own ---------------------------------------------


def service(view: View, network: Network) -> Iterator[Clause]:
    """Every network has the same match, and a share of its flow: as the rules of all tenants have `tcp dport 80`."""
    yield Clause(TESTED, "shared", SRC(80), 1000 * view.tag("network", network.id) + len(network.dns_domain), 1, 2)


def _tenants(count: int) -> Cloud:
    """So many networks, each with one port on a hypervisor of its own; a hypervisor more has none."""
    cloud = Cloud([App("service", 1, (present(Network, service),))])
    works = [hypervisor(count + 1)]
    for each in range(1, count + 1):
        works += [network(f"net{each}", each), port(f"port{each}", f"net{each}", f"02:00:00:00:00:{each:02x}")]
        works += [hypervisor(each, f"port{each}")]
    cloud.commit(*works)
    return cloud


def _named() -> Work:
    return lambda tx: tx.put(replace(tx.need(Network, "net1"), dns_domain="another"))


def _unplugged() -> Work:
    return hypervisor(1)


def _plugged_more() -> Work:
    def work(tx: Transaction) -> None:
        port("more", "net2", "02:00:00:00:01:01")(tx)
        hypervisor(1, "port1", "more")(tx)

    return work


CHANGES = (_named, _unplugged, _plugged_more)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_under_a_key_of_all_tenants_costs_what_stands_where_it_is_made(
    change: Callable[[], Work],
) -> None:
    few, many = (_tenants(count) for count in (5, 100))
    small, large = (instructions(lambda: cloud.commit(change())) for cloud in (few, many))  # noqa: B023
    assert few.delta.keys() == many.delta.keys() == {"hv1"}
    assert few.sent("hv1") == many.sent("hv1") != []
    assert large <= 1.1 * small


def test_telling_every_entry_costs_what_stands_though_all_are_under_one_key() -> None:
    few, many = (_tenants(count) for count in (5, 100))
    small, large = (instructions(lambda: list(cloud.engine.entries())) for cloud in (few, many))  # noqa: B023
    assert large <= 20 * 1.1 * small


def test_what_the_start_left_behind_is_not_looked_through_at_every_change() -> None:
    """A set that shrank is as slow to take from as it ever was large, which no count of instructions shows."""
    cloud = _tenants(100)
    cloud.commit(_named())
    assert sys.getsizeof(cloud.engine._unread) == sys.getsizeof(set())


def test_what_is_gathered_otherwise_than_before_is_said_and_nothing_else() -> None:
    cloud = _tenants(3)
    cloud.commit(_named())
    assert cloud.engine.turned == set()
    cloud.commit(_unplugged())
    assert {key for relation, key in cloud.engine.turned if relation is HOMES} == {"net1"}
    cloud.commit(port("more", "net2", "02:00:00:00:01:01"), hypervisor(2, "port2", "more"))
    assert HOMES not in {relation for relation, _ in cloud.engine.turned}, "the network was there already"


# ---- one cell for each address of a group's members ----------------------------------------------------------------


def address(view: View, bundle: str, address: str) -> Iterator[Flow]:
    """One flow for an address that a bundle is about."""
    yield Flow(TESTED, "address", SRC(int(address.rpartition(".")[2])) & NET(view.tag("bundle", bundle)))


def _member(number: int, *more: str) -> Work:
    """A member of `app` at 10.0.0.`number`, and at the addresses of its address pairs."""
    mac = f"02:00:00:00:00:{number:02x}"
    return port(f"app{number}", "red", mac, f"10.0.0.{number}", groups=["app"], pairs=[(mac, each) for each in more])


def _guarded(*members: Work) -> Cloud:
    """A port in `web` on hv1, which members of `app` may reach; these are plugged in nowhere."""
    cloud = Cloud([App("test", 1, (remotes(MEMBER_ADDRESSES, address),))])
    groups = group("app"), group("web", ingress(remote_group_id="app"))
    guarded = port("web1", "red", "02:00:00:00:00:ff", "10.0.0.250", groups=["web"])
    cloud.commit(network("red", 100), *groups, guarded, hypervisor(1, "web1"), *members)
    return cloud


def _flow(last: int) -> str:
    return f"table=99,priority=1,reg1={last:#x},reg6=0x1 actions=drop"


@pytest.mark.parametrize("members", [1, 50])
def test_one_member_more_is_one_cell_however_many_there_are(members: int) -> None:
    cloud = _guarded(*(_member(number) for number in range(1, members + 1)))
    cloud.commit(_member(60))
    assert cloud.engine.log == ["test.address[web/ingress/IPv4/all/app 10.0.0.60]"]
    assert cloud.sent("hv1") == [_flow(60)]
    cloud.commit(no_port("app60"))
    assert cloud.engine.log == []
    assert cloud.sent("hv1") == ["- 99"]


def test_an_address_of_two_members_is_one_cell_and_goes_with_the_second() -> None:
    cloud = _guarded(_member(1, "10.0.0.9"))
    assert cloud.sent("hv1") == [_flow(1), _flow(9)]
    cloud.commit(_member(2, "10.0.0.9"))
    assert cloud.engine.log == ["test.address[web/ingress/IPv4/all/app 10.0.0.2]"]
    cloud.commit(no_port("app1"))
    assert cloud.sent("hv1") == ["- 99"]
    cloud.commit(no_port("app2"))
    assert cloud.sent("hv1") == ["- 99", "- 99"]
    assert cloud.engine.desired("hv1") == {}


@pytest.mark.parametrize(("old", "new"), [(1, 2), (2, 1)])
def test_an_address_that_moves_to_another_member_in_one_change_moves_no_flow(old: int, new: int) -> None:
    cloud = _guarded(_member(old, "10.0.0.9"), _member(new))
    cloud.commit(_member(old), _member(new, "10.0.0.9"))
    assert cloud.delta == {}
    assert len(cloud.engine.desired("hv1")) == 3
    cloud.commit(_member(new))
    assert cloud.sent("hv1") == ["- 99"]


def test_an_address_that_comes_and_goes_in_one_update_is_as_if_it_had_never_been() -> None:
    cloud = _guarded(_member(1))
    changes = []
    for work in (_member(1, "10.0.0.9"), _member(1)):
        tx = Transaction(cloud.model)
        work(tx)
        changes.append(Change(cloud.model.revision + 1, "req-test", tx.writes()))
        cloud.model.apply(changes[-1])
    assert cloud.engine.update(changes) == {}


def test_a_group_nobody_on_a_hypervisor_is_in_costs_it_nothing() -> None:
    cloud = _guarded(_member(1))
    cloud.commit(hypervisor(1))
    assert cloud.sent("hv1") == ["- 99"]
    cloud.commit(_member(2))
    assert cloud.delta == {}
    cloud.commit(hypervisor(1, "web1"))
    assert cloud.sent("hv1") == [_flow(1), _flow(2)]


def test_a_record_that_a_fact_needs_may_go_with_the_fact() -> None:
    cloud = _guarded(_member(1))
    cloud.commit(group("web"))
    assert cloud.sent("hv1") == ["- 99"]
    assert cloud.engine.failures == {}
    assert cloud.engine.log == []


# ---- a packet that is traced --------------------------------------------------------------------------------------


def _network(ports: int) -> Cloud:
    """One network with so many ports under one group, ten on each hypervisor."""
    cloud, names = Cloud(), [f"vm{number}" for number in range(ports)]
    works = [network("red", 100), subnet("red-subnet", "red", "10.0.0.0/16"), group("web", egress(), ingress())]
    for number, name in enumerate(names):
        ip, mac = f"10.0.{number >> 8}.{number & 255}", f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"
        works.append(port(name, "red", mac, ip, groups=["web"]))
    works += [hypervisor(at // 10 + 1, *names[at : at + 10]) for at in range(0, ports, 10)]
    cloud.commit(*works)
    return cloud


def test_to_trace_a_packet_costs_what_it_meets_and_not_what_a_switch_holds() -> None:
    def cost(cloud: Cloud) -> int:
        asked = question({"from": "vm1", "to": "vm12", "proto": "tcp", "dport": 80})
        return instructions(lambda: tracing.trace(cloud.model, cloud.standing, asked))

    few, many = _network(20), _network(520)
    assert len(many.flows("hv1")) > 3 * len(few.flows("hv1"))
    assert cost(many) < 1.3 * cost(few)
