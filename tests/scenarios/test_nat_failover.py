"""Gateways die and come back, with the controller dead or alive: who is behind them hardly notices.

a1 is on hv1, without a floating IP, a4 beside it has one; hv2 is the gateway, hv3 stands by. A gateway is killed with
its ovs-vswitchd and its wires. Figures are printed.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator

import pytest

from controller.flows.pipeline import Why
from mininet_scenarios.captures import Frame, advertises, answers_for, asks_for
from mininet_scenarios.frames import REQUEST, arp, solicitation, token
from mininet_scenarios.hosts import Guest, Host
from mininet_scenarios.lab import Lab
from mininet_scenarios.machines import Hypervisor

pytestmark = pytest.mark.scenario

OUTSIDE, GATEWAY, FLOATING = "172.24.0.1", "172.24.0.10", "172.24.0.104"
OUTSIDE6, GATEWAY6 = "fd00:e::1", "fd00:e::10"
HOLD_S = 4
FEW = 4
"""How many questions, one each 50 ms, may have two answers or none when the gateway changes."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """The topology above; gateways that come back wait for 4 s."""
    with Lab(hypervisors=3, serve=("--flat-networks", "physnet1", "--gateway-hold", str(HOLD_S))) as lab:
        wire = lab.physical("physnet1")
        lab.gateways(None, 20, 10)
        both = (f"{OUTSIDE}/24", f"{OUTSIDE6}/64")
        outside = lab.host("outside", on=wire, ip=both, mac="02:00:00:00:0e:01", mtu=1450)
        outside.ip_batch(f"route add fd00:a::/64 via {GATEWAY6}")
        external = lab.external("ext", physical=wire, cidr=("172.24.0.0/24", "fd00:e::/64"))
        network = lab.network("a", cidr=("10.0.0.0/24", "fd00:a::/64"), project="a", gateways=True)
        lab.way_out(lab.router("a", network, project="a"), external, GATEWAY, GATEWAY6)
        for ethertype in ("IPv4", "IPv6"):
            lab.rule(lab.default_group("a"), ethertype=ethertype)
        for number in (11, 14):
            mac = f"02:00:00:00:0a:{number}"
            ips = (f"10.0.0.{number}", f"fd00:a::{number}")
            lab.guest(f"a{number % 10}", network=network, on="hv1", ip=ips, mac=mac)
        lab.floating_ip(external, FLOATING, lab.guests["a4"])
        lab.converged()
        lab.gateways_alive()
        yield lab


def first_answer(guest: Guest, host: Host, port: int, version: int = 4) -> float:
    """When the first of many new connections was answered, in seconds since the epoch."""
    deadline = time.time() + 10
    while time.time() < deadline:
        if guest.reaches(host, "udp", port, version=version, patience_s=0.03):
            return time.time()
    raise AssertionError("nothing was answered any more")


def die(hypervisor: Hypervisor) -> float:
    """It loses power: its switch and its wires are gone at once. When, in seconds since the epoch."""
    at = time.time()
    hypervisor.ip_batch("link set phy0 down", "link set ext0 down")
    hypervisor.crash()
    hypervisor.away = True
    return at


def live(hypervisor: Hypervisor) -> None:
    """It is back, with empty tables."""
    hypervisor.ip_batch("link set phy0 up", "link set ext0 up")
    hypervisor.revive()


class Asking:
    """The outside asks for the gateway's address by ARP all the time; who answers which question, and when."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.outside = lab, lab.hosts["outside"]
        wire = lab.physicals["physnet1"]
        self.questions = wire.at(self.outside).ear("arp")
        self.answers = {name: wire.at(each).ear("arp") for name, each in lab.hypervisors.items()}
        self.heard: dict[str, list[Frame]] = {name: [] for name in self.answers}
        self.announced: dict[str, list[float]] = {}

    def ask(self) -> None:
        self.outside.sends(arp(REQUEST, self.outside.mac, self.outside.ip, GATEWAY))

    def answered(self) -> dict[str, list[float]]:
        """When whose wire brought an answer so far."""
        for name, ear in self.answers.items():
            self.heard[name] += ear.frames()
        told = {name: [each.at for each in frames if is_answer(each)] for name, frames in self.heard.items()}
        return {name: times for name, times in told.items() if times}

    def told(self) -> tuple[list[float], dict[str, list[float]]]:
        """When it asked, and when whose wire brought an answer."""
        asked, answered = [frame.at for frame in self.questions.frames() if asks_for(GATEWAY)(frame)], self.answered()
        self.announced = {name: times for name, frames in self.heard.items() if (times := announced(frames))}
        for ear in (self.questions, *self.answers.values()):
            ear.close()
        return asked, answered


def is_answer(frame: Frame) -> bool:
    """Is it an answer for the gateway's address?"""
    return answers_for(GATEWAY)(frame)


def announced(frames: list[Frame]) -> list[float]:
    """When the gateway's address was announced (RFC 5227 section 3)."""
    asked = ((frame.at, frame.arp) for frame in frames if asks_for(GATEWAY)(frame))
    return [at for at, arp in asked if arp is not None and arp.sender_ip == GATEWAY]


def ask_while(lab: Lab, seconds: float, asking: Asking | None = None) -> tuple[list[float], dict[str, list[float]]]:
    """Ask every 50 ms for some time."""
    asking = asking or Asking(lab)
    end = time.time() + seconds
    while time.time() < end:
        asking.ask()
        time.sleep(0.05)
    time.sleep(0.2)
    return asking.told()


def ask_until_back(lab: Lab, name: str, asking: Asking) -> tuple[list[float], dict[str, list[float]]]:
    """The same until a hypervisor answers, and as long as it announces itself.

    An ovs-vswitchd that began while the controller was dead waits up to 8 s between two attempts to reach it (seen with
    3.1.0: `max_backoff` of its controller counts from the first change of its configuration).
    """
    deadline = time.time() + 40
    while name not in asking.answered():
        assert time.time() < deadline, f"{name} is the gateway no more"
        asking.ask()
        time.sleep(0.05)
    return ask_while(lab, 3.0, asking)


def test_what_asks_whether_gateways_are_alive_is_no_drop(lab: Lab) -> None:
    """Open vSwitch takes BFD itself, and counts it at the first flow that it would have met all the same."""
    hv1 = lab.hypervisors["hv1"]

    def asked() -> int:
        met = re.search(r"n_packets=(\d+),.* priority=0 ", hv1.ofctl("dump-flows", hv1.bridge, "table=0"))
        assert met
        return int(met[1]) - hv1.drops()[Why.UNKNOWN_PORT]

    lab.eventually("questions are counted", lambda: asked() > 10, 10)
    told = json.loads(lab.controller.weft("drops", "hv1", "--json"))["drops"]
    said = sum(each["packets"] for each in told if each["reason"] == Why.UNKNOWN_PORT.name)
    assert said <= hv1.drops()[Why.UNKNOWN_PORT]


def test_a_gateway_that_dies_with_the_controller_is_replaced_within_a_second(lab: Lab) -> None:
    a1, outside, hv2 = lab.guests["a1"], lab.hosts["outside"], lab.hypervisors["hv2"]
    assert a1.pings(outside)
    floating = outside.ping(FLOATING, interval_s=0.02)
    floating.first_reply(5)
    lab.controller.kill()
    died = die(hv2)
    took = first_answer(a1, outside, 5001) - died
    took6 = first_answer(a1, outside, 5001, 6) - died
    asked, told = ask_while(lab, 2.0)
    kept = floating.stop()
    print(f"a new connection went out {took * 1000:.0f} ms after the gateway's death, by IPv6 {took6 * 1000:.0f} ms")
    print(f"of {len(asked)} ARP requests {[(name, len(times)) for name, times in told.items()]} were answered")
    assert took < took6 < 1
    with lab.sniff(*(lab.physicals["physnet1"].at(each) for each in lab.hypervisors.values())) as heard:
        outside.sends(*(solicitation(outside.mac, OUTSIDE6, GATEWAY6, b"") for _ in range(5)))
        time.sleep(0.2)
    answered6 = heard.copies(lambda frame: advertises(GATEWAY6)(frame) and frame.dst == outside.mac)
    assert answered6 == {"physnet1 from hv3": 5}
    assert outside.pings(a1.address(6)), "from outside, too"
    assert told.keys() == {"hv3"}
    assert len(told["hv3"]) == len(asked), "exactly one answer to each"
    assert kept.lost == 0, "a floating IP needs no gateway"

    live(hv2)  # the controller is dead: its tables stay empty, and nobody falls back on it
    mark, stream = token(), a1.ping(outside, interval_s=0.02, mark=token())
    asked, told = ask_while(lab, 3.0)
    assert stream.stop().lost == 0
    assert told.keys() == {"hv3"}
    assert len(told["hv3"]) == len(asked)

    back = time.time()
    lab.controller.start()
    stream = a1.ping(outside, interval_s=0.02, mark=mark)
    asking = Asking(lab)
    asked, told = ask_until_back(lab, "hv2", asking)
    lost = stream.stop()
    lab.converged()
    answered = sum(map(len, told.values()))
    changed = min(told["hv2"]) - back
    print(
        f"it was the gateway again {changed:.1f} s after the controller was back: {answered} of {len(asked)} answered"
    )
    print(f"meanwhile {lost.lost} of {lost.sent} echo requests were lost")
    assert told.keys() == {"hv2", "hv3"}
    both = [at for at in told["hv3"] if at > min(told["hv2"])]
    assert len(both) <= FEW, "it changes once, and back never: two switches are not told at the same moment"
    assert changed > HOLD_S
    late = {name: times for name, times in asking.announced.items() if max(times) > min(told["hv2"]) - 0.5}
    assert late.keys() == {"hv2"}, "it says so itself, when it is the gateway again"
    assert len(late["hv2"]) == 3
    assert abs(answered - len(asked)) <= FEW
    lab.settles()
