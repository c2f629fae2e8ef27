"""Clouds for proofs: what their switches should hold, and faults in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from controller.flows.flow import Flow
from controller.model.records import KINDS, Chassis, Link
from controller.prove.cloud import Cloud as Proved
from controller.prove.cloud import Held
from controller.prove.intent import Intent
from controller.prove.promise import Promise
from controller.prove.proof import AT_ONCE, Answer, Question, prove
from controller.prove.sets import Unforeseen
from controller.prove.witness import witness
from tests.cloud import (
    Cloud,
    egress,
    floating_ip,
    forwarding,
    gateway,
    group,
    heard,
    hypervisor,
    ingress,
    interface,
    network,
    port,
    router,
    subnet,
)

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


def ways_out() -> Cloud:
    """Of one tenant, vm1 (hv1), vm2 (hv2) and vm3 (hv3) on red, whose router r translates, on the wire ext: vm1 has the
    floating IP f1 where it is, vm3 has f3 at the gateways, hv2 and then hv4, and ports of f2 are vm2's. Of another, b1
    (hv1) on blue, with the addresses of vm1, whose router has no gateway. A host of the wire, 172.24.0.1, leads on."""
    made = Cloud()
    made.commit(lambda tx: tx.tag("physical", "phys"))
    made.commit(network("red", 100), network("blue", 200))
    made.commit(network("ext", None, "flat", physical_network="phys", external=True, mtu=1500))
    made.commit(subnet("red4", "red", "10.0.0.0/24", "10.0.0.254"), subnet("blue4", "blue", "10.0.0.0/24"))
    made.commit(subnet("ext4", "ext", "172.24.0.0/24", "172.24.0.1"))
    made.commit(group("web", ingress("tcp", 80), egress()))
    made.commit(
        *(port(f"vm{n}", "red", f"02:00:00:00:00:0{n}", on={"red4": f"10.0.0.{n}"}, groups=["web"]) for n in (1, 2, 3)),
        port("b1", "blue", "02:00:00:00:00:01", on={"blue4": "10.0.0.1"}, groups=["web"]),
        router("r", external_network_id="ext"),
        router("rb"),
        interface("r-red", "r", "red", "02:00:00:00:0a:01", red4="10.0.0.254"),
        interface("rb-blue", "rb", "blue", "02:00:00:00:0b:01", blue4="10.0.0.254"),
        gateway("r-ext", "r", "ext", "02:00:00:00:0e:10", ext4="172.24.0.10"),
        heard("ext", "172.24.0.1", "02:00:00:00:0f:01", ""),
    )
    made.commit(
        hypervisor(1, "vm1", "b1", physical=("phys",), watches=(2, 4)),
        hypervisor(2, "vm2", physical=("phys",), priority=20),
        hypervisor(3, "vm3", watches=(2, 4)),
        hypervisor(4, physical=("phys",), priority=10, watches=(2,)),
    )
    made.commit(
        floating_ip("f1", "ext", "02:00:00:00:0e:01", "172.24.0.101", "r", "vm1", "10.0.0.1"),
        floating_ip("f2", "ext", "02:00:00:00:0e:02", "172.24.0.102", "r"),
        floating_ip("f3", "ext", "02:00:00:00:0e:03", "172.24.0.103", "r", "vm3", "10.0.0.3"),
        forwarding("p1", "f2", "tcp", (8080, 8080), "vm2", "10.0.0.2", (80, 80)),
    )
    return made


def several() -> Cloud:
    """Of one tenant, vm1 on red (hv1), whose router r knows three guests on red, a1 (hv1), a2 and a3 (hv2), and two
    routers, r1 and r2, on mid, as next hops: to 10.9.0.0/16 a1 and a2, to pink, where vm4 is (hv2), r1 and r2. r3 is on
    mid and pink, too, and no route leads over it."""
    made = Cloud()
    made.commit(network("red", 100), network("mid", 110), network("pink", 150))
    made.commit(subnet("red4", "red", "10.0.0.0/24"), subnet("mid4", "mid", "10.8.0.0/24"))
    made.commit(subnet("pink4", "pink", "10.1.0.0/24"))
    made.commit(
        port("vm1", "red", "02:00:00:00:00:01", on={"red4": "10.0.0.1"}, guarded=False),
        *(port(f"a{n}", "red", f"02:00:00:00:00:1{n}", on={"red4": f"10.0.0.1{n}"}, guarded=False) for n in (1, 2, 3)),
        port("vm4", "pink", "02:00:00:00:00:04", on={"pink4": "10.1.0.4"}, guarded=False),
        router(
            "r",
            ("10.9.0.0/16", "10.0.0.11"),
            ("10.9.0.0/16", "10.0.0.12"),
            ("10.1.0.0/24", "10.8.0.1"),
            ("10.1.0.0/24", "10.8.0.2"),
        ),
        interface("r-red", "r", "red", "02:00:00:00:0a:01", red4="10.0.0.254"),
        interface("r-mid", "r", "mid", "02:00:00:00:0a:02", mid4="10.8.0.254"),
    )
    for n in (1, 2, 3):
        made.commit(
            router(f"r{n}"),
            interface(f"r{n}-mid", f"r{n}", "mid", f"02:00:00:00:0b:0{n}", mid4=f"10.8.0.{n}"),
            interface(f"r{n}-pink", f"r{n}", "pink", f"02:00:00:00:0c:0{n}", pink4=f"10.1.0.25{n}"),
        )
    made.commit(hypervisor(1, "vm1", "a1"), hypervisor(2, "a2", "a3", "vm4"))
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


@dataclass(frozen=True, slots=True)
class Told:
    """What should arrive and does not, or the other way round: a packet, and its sender."""

    claim: str
    sentence: str
    sender: str
    packet: str


def intended(
    made: Cloud, faults: Mapping[str, Fault] | None = None, unjudged: dict[tuple[str, str], None] | None = None
) -> list[Told]:
    """What first packets of connections alone say of the claims that are about nothing else; what is not judged is
    added."""
    proof, found = Proved(made.model, held(made, **(faults or {}))), []
    for crowd in sorted({origin.crowd for origin in proof.origins}):
        more: dict[str, set[int]] = {}
        while True:
            part = proof.focused([crowd], more)
            try:
                survey = part.survey(crowds=[crowd], first=True)
                break
            except Unforeseen as lacking:
                more.setdefault(lacking.sort, set()).update(lacking.numbers)
        intent = Intent(part, Promise(part))
        for each in intent.compared(survey, [crowd]):
            alone = witness(part, each, followed=False)
            found.append(Told(each.claim, each.sentence, alone.sender.words, alone.fields))
        if unjudged is not None:
            unjudged.update(dict.fromkeys(intent.unjudged))
    return found


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
