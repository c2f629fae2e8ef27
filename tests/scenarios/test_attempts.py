"""`weft prove --live`: packets that are against a claim are really sent, and what became of them is seen."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from mininet_scenarios.hosts import Guest
from mininet_scenarios.lab import Lab

PROBES = "cookie=0x5745465400000000/0xffffffffffffff00"


@dataclass(frozen=True, slots=True)
class Cast:
    """Of tenant red vm1 and vm2 on hv1, vm3 on hv2, which let in TCP 80 alone; of blue b1 and b2 on hv1, unguarded."""

    lab: Lab
    vm1: Guest
    vm2: Guest
    vm3: Guest
    b1: Guest
    b2: Guest

    @property
    def guests(self) -> list[Guest]:
        """All of them."""
        return [self.vm1, self.vm2, self.vm3, self.b1, self.b2]

    def proven(self, code: int) -> dict[str, Any]:
        """What is proven, and sent."""
        answer: dict[str, Any] = json.loads(self.lab.controller.weft("prove", "--live", "--json", codes=(code,)))
        return answer

    @contextmanager
    def planted(self, *flows: str) -> Iterator[None]:
        """Flows of somebody else on hv1."""
        hv1 = self.lab.hypervisors["hv1"]
        for flow in flows:
            hv1.ofctl("add-flow", hv1.bridge, f"cookie=0x77,{flow}")
        yield
        hv1.ofctl("del-flows", hv1.bridge, "cookie=0x77/-1")

    def number(self, guest: Guest) -> str:
        """The OpenFlow port of a guest."""
        return guest.hypervisor.vsctl("get", "interface", guest.tap, "ofport").strip()

    def key(self, guest: Guest) -> tuple[str, str]:
        """The keys of a guest of hv1, and of its network."""
        classified = (
            rf"in_port={self.number(guest)},vlan_tci=\S+ actions=load:(\w+)->NXM_NX_REG1..,load:(\w+)->NXM_NX_REG6"
        )
        found = re.search(classified, "\n".join(guest.hypervisor.flows()))
        assert found
        return found[1], found[2]


@pytest.fixture(scope="module")
def cast(lab: Lab) -> Cast:
    guests: dict[str, Guest] = {}
    group = lab.group("web", project="red")
    lab.rule(group, protocol="tcp", ports=80)
    guarded = {"security_groups": [group["id"]]}
    for tenant, names in (("red", "vm1 vm2 vm3"), ("blue", "b1 b2")):
        network = lab.network(tenant, cidr="10.0.0.0/24", project=tenant)
        for name in names.split():
            at = len(guests) + 11
            guests[name] = lab.guest(
                name, network=network, on="hv2" if name == "vm3" else "hv1", ip=f"10.0.0.{at}",
                mac=f"02:00:00:00:00:{at}", **guarded if tenant == "red" else {"port_security_enabled": False},
            )  # fmt: skip
    lab.converged()
    return Cast(lab, **guests)


def of(answer: dict[str, Any], claim: str, receiver: Guest) -> dict[str, Any]:
    """What became of the one packet that is against a claim at a port."""
    (found,) = (
        each for each in answer["violations"] if (each["claim"], each["receiver_port"]) == (claim, receiver.port_id)
    )
    live: dict[str, Any] = found["live"]
    return live


def test_nothing_is_sent_in_a_sound_cloud(lab: Lab, cast: Cast) -> None:
    with lab.hypervisors["hv1"].openflow() as said:
        answer = cast.proven(0)
    assert (answer["proven"], answer["live"]) == (True, {"sent": 0, "real": 0, "unreal": 0})
    assert said["OFPT_FLOW_MOD"] == 0 < said["OFPST_FLOW"], said


def test_what_a_tenant_can_send_to_another_is_sent_and_seen_to_arrive(lab: Lab, cast: Cast) -> None:
    """One packet each: where a flow of somebody else's sends it, and to the last table of what lets too much in."""
    (vm1, red), (vm2, _) = cast.key(cast.vm1), cast.key(cast.vm2)
    here = f"table=36,priority=300,reg1={vm1},reg6={red}"
    with (
        cast.planted(
            f"{here},dl_dst={cast.b1.mac},actions=output:{cast.number(cast.b1)}",
            f"{here},dl_dst={cast.vm2.mac},actions=set_field:{vm2}->reg2,resubmit(,50)",
        ),
        lab.sniff(*cast.guests) as heard,
    ):
        answer = cast.proven(1)
        told = lab.controller.weft("diff", codes=(1,)).splitlines()
    assert [line.split(",")[:3] for line in told[:-1]] == [["hv1 foreign cookie=0x77", "table=36", "priority=300"]] * 2
    found = of(answer, "isolation", cast.b1)
    assert (found["sent"], found["real"], found["seen"]) == (True, True, [])
    bytes = found["left"]["frame_bytes"]
    assert found["left"] == {
        "chassis": "hv1", "interface": cast.b1.tap, "packets": 1, "bytes": bytes, "frame_bytes": bytes,
    }  # fmt: skip
    found = of(answer, "excess", cast.vm2)
    assert [(end["chassis"], end["table"], end["words"]) for end in found["seen"]] == [
        ("hv1", "deliver", f'for port "vm2" {cast.vm2.port_id}')
    ]
    assert (found["real"], found["left"]["packets"]) == (True, 0)
    assert answer["live"] == {"sent": 2, "real": 2, "unreal": 0}
    assert heard.copies(b"weft") == {"b1": 1}
    lab.settles()


def test_what_is_healed_meanwhile_is_said_to_be_so_no_more(lab: Lab, cast: Cast) -> None:
    """A mirror in the last table, which goes while the first packet is sent: the second one does not arrive."""
    hv1 = lab.hypervisors["hv1"]
    asked = f"table=50,priority=300,tcp,dl_dst={cast.vm2.mac},reg1={cast.key(cast.vm1)[0]},reg2={cast.key(cast.vm2)[0]}"
    ports = [cast.number(each) for each in (cast.vm2, cast.b1, cast.b2)]
    taps = (cast.b1.tap, cast.b2.tap)
    done = threading.Event()

    def heal() -> None:
        while not done.wait(0.05):
            if "table=62" in hv1.ofctl("dump-flows", hv1.bridge, PROBES):
                hv1.ofctl("del-flows", hv1.bridge, "cookie=0x77/-1")
                return

    healing = threading.Thread(target=heal)
    with cast.planted(f"{asked},actions={','.join(f'output:{each}' for each in ports)}"):
        healing.start()
        try:
            told = lab.controller.weft("prove", "--live", codes=(1,)).splitlines()
        finally:
            done.set()
            healing.join()
    lives = [line.strip() for line in told if line.startswith("  live    ")]
    silent = [f"live    sent: found at no end, and not left hv1 by {tap}: NOT so, or no more" for tap in taps]
    assert len(lives) == 2
    assert lives[1] in silent  # which of the two is asked first is for their ids to say
    assert told[-2].startswith("2 sent: ")
    assert told[-1].startswith("violated: 2 against it; ")
    lab.settles()
