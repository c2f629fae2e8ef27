"""A hypervisor's Open vSwitch dies and comes back under traffic: what is lost, for how long, and who hears what.

The topology is that of `two_networks`. All guests ping a mate of theirs all the time, each with a mark of its tenant,
and everybody listens: whatever dies, no guest may hear a mark of the other tenant, whose addresses are its own.

    python -m mininet_scenarios.hypervisor_restart [--type vxlan|geneve]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mininet_scenarios.frames import token
from mininet_scenarios.lab import Lab
from mininet_scenarios.pings import Replies
from mininet_scenarios.rows import Row, concluded, show
from mininet_scenarios.two_networks import MEMBERS, TENANTS, build

BACK_WITHIN_S = 2.0
INTERVAL_S = 0.01
_DEAD_S = 0.5  # how long what was killed stays dead
_TENANT = {member.name: member.tenant for member in MEMBERS}


@dataclass(frozen=True, slots=True)
class Fault:
    """What is killed on a hypervisor."""

    name: str
    switch: bool
    database: bool

    def __str__(self) -> str:
        return self.name


FAULTS = (
    Fault("ovs-vswitchd", switch=True, database=False),
    Fault("ovsdb-server", switch=False, database=True),
    Fault("both", switch=True, database=True),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a restart cost: `replies` by the guest that pinged, `heard` by tenant that sent and guest that heard.

    `up` is when Open vSwitch was up again (`Hypervisor.revive`); `renewed` are the flows that were put since the crash.
    """

    up: float
    replies: dict[str, Replies]
    heard: dict[str, dict[str, int]]
    renewed: int

    def back_after_s(self, name: str) -> float:
        """How long after its ovs-vswitchd was up a guest's pings were answered again."""
        return min((at for at in self.replies[name].at.values() if at >= self.up), default=float("inf")) - self.up

    @property
    def strangers(self) -> dict[str, dict[str, int]]:
        """Who heard a tenant, and is none of its guests."""
        wrong = {
            tenant: {name: count for name, count in copies.items() if _TENANT.get(name, tenant) != tenant}
            for tenant, copies in self.heard.items()
        }
        return {tenant: copies for tenant, copies in wrong.items() if copies}


def restart(lab: Lab, fault: Fault, on: str = "hv1") -> Outcome:
    """Kill daemons of a hypervisor while all ping, start them again, and wait until all is as it should be."""
    hypervisor = lab.hypervisors[on]
    marks = {tenant: token() for tenant in TENANTS}
    with lab.sniff(lab.underlay, *lab.guests.values()) as heard:
        pings = {
            member.name: lab.guests[member.name].ping(
                member.mates[-1].ip, interval_s=INTERVAL_S, mark=marks[member.tenant]
            )
            for member in MEMBERS
        }
        for ping in pings.values():
            ping.first_reply(5)
        crashed = time.time()
        hypervisor.crash(switch=fault.switch, database=fault.database)
        time.sleep(_DEAD_S)
        up = hypervisor.revive()
        lab.eventually(f"the databases of {on}", lambda: lab.chassis()[on]["database_connected"], 20)
        lab.converged()
        time.sleep(max(0.0, up + BACK_WITHIN_S + 0.5 - time.time()))
        replies = {name: ping.stop() for name, ping in pings.items()}
    since_s = time.time() - crashed
    renewed = sum(age < since_s for age in hypervisor.flows().values())
    return Outcome(up, replies, {tenant: heard.copies(mark) for tenant, mark in marks.items()}, renewed)


def judge(fault: Fault, outcome: Outcome) -> Iterator[Row]:
    """What had to be seen of a restart, and what was."""
    what = f"{fault} of hv1 killed"
    mates = {tenant: [member.name for member in MEMBERS if member.tenant == tenant] for tenant in TENANTS}
    deaf = [name for tenant in TENANTS for name in mates[tenant] if not outcome.heard[tenant].get(name)]
    seen = str(outcome.strangers or "nobody") + "".join(f"; {name} heard nothing at all" for name in deaf)
    yield Row(f"{what}: who hears the other tenant", "nobody", seen, seen == "nobody")
    for member in MEMBERS:
        name, replies = member.name, outcome.replies[member.name]
        if "hv1" not in (member.on, member.mates[-1].on):
            yield Row.equal(f"{what}: {name}'s pings, elsewhere", "0 lost", f"{replies.lost} lost")
            continue
        back_s = outcome.back_after_s(name)
        doubled = f", {replies.duplicates} answered twice" if replies.duplicates else ""
        seen = f"back after {back_s:.2f} s, {replies.lost} of {replies.sent} lost in all{doubled}"
        right = back_s < BACK_WITHIN_S and not doubled
        yield Row(f"{what}: {name}'s pings", f"back within {BACK_WITHIN_S:g} s", seen, right)
    if not fault.switch:
        yield Row.equal(f"{what}: flows put anew", "0", f"{outcome.renewed}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the topology, kill what can be killed, and end with 1 when something was wrong."""
    parser = argparse.ArgumentParser(prog="hypervisor_restart", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--type", choices=("vxlan", "geneve"), default="vxlan", help="encapsulation (vxlan)")
    options = parser.parse_args(arguments)

    def play() -> list[Row]:
        rows: list[Row] = []
        with Lab(hypervisors=2) as lab:
            build(lab, options.type)
            for fault in FAULTS:
                rows += judge(fault, restart(lab, fault))
                lab.settles()
            print(show(rows))
        return rows

    return concluded(play)


if __name__ == "__main__":
    sys.exit(main())
