"""What an established connection costs: one look-up in conntrack a guarded guest, and datapath flows that all may share.

A frame's way is read from the datapath's own flows (ovs-appctl dpctl/dump-flows): each look-up recirculates the frame,
and what a flow does not match, it has not asked. Nothing here bears an L4 port, or the address of a peer: the sender's
own address is port security's, and stands in the first flow of its way alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import pytest

from mininet_scenarios.hosts import Guest
from mininet_scenarios.lab import Lab
from mininet_scenarios.machines import Hypervisor

PORT = 5001
VXLAN = "vxlan_sys_4789"
JUDGED = "ct_state/0x31 ct_mark/0xfffffff ct_label/0xffffffff00000000"
"""What a known connection is asked: its state, and under which generation and policy it was allowed."""
THROUGH = "tunnel.tun_id=0x1 tunnel.src=192.0.2.11 tunnel.dst=192.0.2.12 tunnel.flags=-df-csum+key"
ALWAYS = {"recirc_id", "in_port", "packet_type.ns", "packet_type.id", "eth_type", "ipv4.frag"}
"""What every datapath flow for IPv4 matches (xlate_wc_init() of ofproto/ofproto-dpif-xlate.c)."""


@dataclass(frozen=True, slots=True)
class Megaflow:
    """A datapath flow: what it matches, by name, and its actions."""

    fields: dict[str, str]
    actions: str

    @classmethod
    def of(cls, line: str) -> Self:
        """Read a line of `dump-flows -m`: `eth(src=02:..,dst=02:../00:..),recirc_id(0), packets:1, ..., actions:...`"""
        match, _, rest = line.partition(", packets:")
        fields = {}
        for name, body in re.findall(r"(\w+)\(((?:[^()]|\([^()]*\))*)\)", match):
            for key, value in re.findall(r"(?:(\w+)[=(])?([^,()=]+)", body):
                fields[f"{name}.{key}" if key else name] = value
        return cls(fields, rest.partition("actions:")[2].partition(", dp-extra-info")[0])

    @property
    def asks(self) -> str:
        """What it matches beside what all match: values that are matched whole, else masks."""
        return " ".join(self._asked())

    def _asked(self) -> Iterator[str]:
        for name, said in self.fields.items():
            value, masked, mask = said.partition("/")
            if name not in ALWAYS and (not masked or mask.strip("0x:.")):
                yield f"{name}/{mask}" if masked else f"{name}={value}"


def asks(flows: list[Megaflow]) -> list[str]:
    """What each of some datapath flows matches."""
    return [flow.asks for flow in flows]


def lookups(flows: list[Megaflow]) -> list[str]:
    """The zones in which conntrack is asked, in order; each is a recirculation."""
    return [zone for flow in flows for zone in re.findall(r"ct\(zone=(\d+)\),recirc", flow.actions)]


def megaflows(hypervisor: Hypervisor) -> list[Megaflow]:
    """The datapath flows of a hypervisor for IPv4."""
    dump = hypervisor.appctl("dpctl/dump-flows", "-m").splitlines()
    flows = [Megaflow.of(line) for line in dump if line.startswith("ufid:")]
    return [flow for flow in flows if flow.fields["eth_type"] == "0x0800"]


def way(hypervisor: Hypervisor, in_port: str) -> list[Megaflow]:
    """The datapath flows that frames from a port pass, one after the other."""
    flows, found, recirculated = megaflows(hypervisor), [], "0"
    while recirculated:
        (flow,) = (
            flow for flow in flows if (flow.fields["in_port"], flow.fields["recirc_id"]) == (in_port, recirculated)
        )
        found.append(flow)
        recirculated = flow.actions.partition("recirc(")[2].rstrip(")")
    return found


def established(lab: Lab, source: Guest, target: Guest) -> list[list[Megaflow]]:
    """The way of an established connection's frames from its caller, on each hypervisor that they pass."""
    listener, caller = target.listens(PORT), source.talks(target, PORT)
    listener.flows()
    for hypervisor in lab.hypervisors.values():
        hypervisor.appctl("revalidator/purge")
    for _ in range(2):  # what is heard first may have been on its way when the datapath was emptied
        listener.flows()
    ways = [way(source.hypervisor, source.tap)]
    if target.hypervisor is not source.hypervisor:
        ways.append(way(target.hypervisor, VXLAN))
    caller.stop()
    listener.stop()
    return ways


@pytest.fixture(scope="module")
def guests(lab: Lab) -> dict[str, Guest]:
    """Guarded and unguarded, two on hv1 and one on hv2 each."""
    red = lab.network("red", cidr="10.0.0.0/24", project="a")
    default = lab.default_group("a")
    lab.rule(default, protocol="tcp", ports=PORT, remote=default)
    for guarded, name, on, last in (
        (True, "vm1", "hv1", 11),
        (True, "vm2", "hv1", 12),
        (True, "vm3", "hv2", 13),
        (False, "open1", "hv1", 21),
        (False, "open2", "hv1", 22),
        (False, "open3", "hv2", 23),
    ):
        ip, mac = f"10.0.0.{last}", f"02:00:00:00:00:{last}"
        lab.guest(name, network=red, on=on, ip=ip, mac=mac, port_security_enabled=guarded)
    lab.converged()
    return lab.guests


def test_between_guarded_guests_of_one_hypervisor_a_frame_is_recirculated_twice(
    lab: Lab, guests: dict[str, Guest]
) -> None:
    [here] = established(lab, guests["vm1"], guests["vm2"])
    assert asks(here) == [
        "ct_state/0x20 eth.src=02:00:00:00:00:11 ipv4.src=10.0.0.11 ipv4.proto=6",
        f"{JUDGED} eth.dst=02:00:00:00:00:12 ipv4.proto=6",
        JUDGED,
    ]
    assert len(set(lookups(here))) == len(lookups(here)) == 2
    assert here[-1].actions == guests["vm2"].tap
    lab.settles()


def test_between_guarded_guests_of_two_hypervisors_it_is_recirculated_once_on_each(
    lab: Lab, guests: dict[str, Guest]
) -> None:
    here, there = established(lab, guests["vm1"], guests["vm3"])
    assert asks(here) == [
        "ct_state/0x20 eth.src=02:00:00:00:00:11 ipv4.src=10.0.0.11 ipv4.proto=6",
        f"{JUDGED} eth.dst=02:00:00:00:00:13 ipv4.tos/0x3",  # the tunnel's header takes over ECN (RFC 6040)
    ]
    assert asks(there) == [
        f"{THROUGH} ct_state/0x20 eth.dst=02:00:00:00:00:13 ipv4.proto=6",
        f"{THROUGH} {JUDGED}",
    ]
    assert (len(lookups(here)), len(lookups(there))) == (1, 1)
    assert here[-1].actions.startswith(f"tnl_push(tnl_port({VXLAN}),")
    assert there[-1].actions == guests["vm3"].tap
    lab.settles()


def test_between_unguarded_guests_it_is_never_recirculated(lab: Lab, guests: dict[str, Guest]) -> None:
    [here] = established(lab, guests["open1"], guests["open2"])
    assert asks(here) == ["ct_state/0x20 eth.dst=02:00:00:00:00:22"]
    assert here[-1].actions == guests["open2"].tap
    here, there = established(lab, guests["open1"], guests["open3"])
    assert asks(here) == ["ct_state/0x20 eth.dst=02:00:00:00:00:23 ipv4.tos/0x3"]
    assert asks(there) == [f"{THROUGH} ct_state/0x20 eth.dst=02:00:00:00:00:23"]
    assert there[-1].actions == guests["open3"].tap
    lab.settles()
