"""Four guarded guests on two hypervisors: `a` and `b` on the first, `c` and `d` on the second, IPv4 and IPv6."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mininet_scenarios.api import Json
from mininet_scenarios.lab import Lab
from mininet_scenarios.nodes import Guest, Hypervisor

PLACES = {"a": "hv1", "b": "hv1", "c": "hv2", "d": "hv2"}


@dataclass(frozen=True, slots=True)
class Cast:
    """The guests; and a group whose ports may send anything, by the rules it is born with, and hear answers only."""

    lab: Lab
    a: Guest
    b: Guest
    c: Guest
    d: Guest
    out: Json

    def __iter__(self) -> Iterator[Guest]:
        yield from (self.a, self.b, self.c, self.d)

    def under(self, **groups: Json | Iterable[Json]) -> None:
        """Put guests into these groups, by name, those that are not named into `out`; and wait until it is so."""
        for guest in self:
            wanted = groups.get(guest.name, self.out)
            self.lab.regroup(guest, *([wanted] if isinstance(wanted, dict) else wanted))
        self.lab.converged()


def gather(lab: Lab) -> Cast:
    """Start the four."""
    network = lab.network("red", cidr=["10.0.0.0/24", "fd00::/64"], project="red")
    out = lab.group("out", project="red")
    a, b, c, d = (
        lab.guest(
            name,
            network=network,
            on=on,
            ip=[f"10.0.0.{n}", f"fd00::{n}"],
            mac=f"02:00:00:00:00:0{n}",
            security_groups=[out["id"]],
        )
        for n, (name, on) in enumerate(PLACES.items(), 1)
    )
    lab.converged()
    return Cast(lab, a, b, c, d, out)


def allow_both(lab: Lab, group: Json, direction: str = "ingress", **rule: object) -> list[Json]:
    """The same rule for both IP versions."""
    return [lab.rule(group, direction, ethertype=ethertype, **rule) for ethertype in ("IPv4", "IPv6")]  # type: ignore[arg-type]


def zones(hypervisor: Hypervisor, *guests: Guest) -> Counter[int]:
    """How many connections between addresses of these guests each conntrack zone holds."""
    addresses = {address for guest in guests for address in guest.ips}
    found: Counter[int] = Counter()
    for line in hypervisor.connections():
        ends = set(re.findall(r"orig=\(src=([^,]+),dst=([^,]+)", line)[0])
        if ends <= addresses:
            zone = re.search(r"zone=(\d+)", line)
            found[int(zone[1]) if zone else 0] += 1
    return found
