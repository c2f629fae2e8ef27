"""Clouds for proofs: what their switches should hold, and faults in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from controller.flows.flow import Flow
from controller.model.records import KINDS, Chassis, Link
from controller.prove.cloud import Held
from controller.prove.proof import AT_ONCE, Answer, Question, prove
from tests.cloud import Cloud, egress, group, hypervisor, ingress, interface, network, port, router, subnet

Lines = list[str]
Fault = Callable[[Lines], Lines]
"""What somebody did to the flows and groups of a switch."""


def cloud() -> Cloud:
    """Two tenants. Of the first, vm1 and vm2 (hv1) and vm3 (hv2) on red; web lets in TCP 80 alone. Of the second, with the
    same addresses, b1 (hv1) and b2 (hv2), which has no port security, on blue."""
    made = Cloud()
    made.commit(network("red", 100), network("blue", 200))
    made.commit(group("web", ingress("tcp", 80), egress(), egress(ethertype="IPv6")))
    made.commit(
        *(port(f"vm{n}", "red", f"02:00:00:00:00:0{n}", f"10.0.0.{n}", groups=["web"]) for n in (1, 2, 3)),
        port("b1", "blue", "02:00:00:00:00:01", "10.0.0.1", groups=["web"]),
        port("b2", "blue", "02:00:00:00:00:05", "10.0.0.5", guarded=False),
    )
    made.commit(hypervisor(1, "vm1", "vm2", "b1"), hypervisor(2, "vm3", "b2"))
    return made


def routed() -> Cloud:
    """Of one tenant, vm1 on red (hv1) and vm4 on pink (hv2), which a router joins."""
    made = Cloud()
    made.commit(network("red", 100), network("pink", 150))
    made.commit(subnet("red4", "red", "10.0.0.0/24"), subnet("pink4", "pink", "10.1.0.0/24"))
    made.commit(group("web", ingress("tcp", 80), egress()))
    made.commit(
        port("vm1", "red", "02:00:00:00:00:01", "10.0.0.1", groups=["web"]),
        port("vm4", "pink", "02:00:00:00:00:04", "10.1.0.4", groups=["web"]),
        router("r"),
        interface("r-red", "r", "red", "02:00:00:00:0a:01", red4="10.0.0.254"),
        interface("r-pink", "r", "pink", "02:00:00:00:0a:02", pink4="10.1.0.254"),
    )
    made.commit(hypervisor(1, "vm1"), hypervisor(2, "vm4"))
    return made


def held(made: Cloud, **faults: Fault) -> dict[str, Held]:
    """What switches hold: what they should, but for the faults by chassis."""
    found = {}
    for chassis in made.model.all(Chassis):
        items = [entry.item for entry in made.engine.desired(chassis.id).values()]
        lines = [str(item) for item in items]
        lines = faults[chassis.id](lines) if chassis.id in faults else lines
        ports = {link.ofport: link.interface for link in made.model.where(Link, chassis=chassis.id)}
        flows, groups = ([line for line in lines if line.startswith("group_id") is one] for one in (False, True))
        found[chassis.id] = Held(flows, groups, ports)
    assert all(isinstance(item, Flow) or str(item).startswith("group_id") for item in items)
    return found


def proven(
    made: Cloud, reaches: str = "", only: Iterable[str] = (), followed: int = 0, at_once: int = AT_ONCE, **faults: Fault
) -> Answer:
    """What is proven of a cloud with these faults."""
    records = [record for kind in KINDS for record in made.model.all(kind)]
    return prove(Question(records, held(made, **faults), reaches, tuple(only), followed=followed, at_once=at_once))


def added(*lines: str) -> Fault:
    """Somebody added these."""
    return lambda found: [*found, *lines]


def removed(*words: str) -> Fault:
    """Somebody removed what has all of these words."""

    def change(found: Lines) -> Lines:
        left = [line for line in found if not all(word in line for word in words)]
        assert len(left) < len(found), words
        return left

    return change


def altered(old: str, new: str, *words: str) -> Fault:
    """Somebody changed what has all of these words."""

    def change(found: Lines) -> Lines:
        made = [line.replace(old, new) if all(word in line for word in words) else line for line in found]
        assert made != found, (old, words)
        return made

    return change


def both(*faults: Fault) -> Fault:
    """One behind the other."""

    def change(found: Lines) -> Lines:
        for fault in faults:
            found = fault(found)
        return found

    return change
