"""Three tiers and a client under security groups, on two hypervisors: who may reach whom, and what a removed rule cuts.

              hv1                         hv2
        web1 .11    db .14       web2 .12    app .13    client .15       10.0.0.0/24, one project

    group web      from anywhere: TCP 80, ICMP
    group app      from group web: TCP 8080
    group db       from group app: TCP 5432
    group client   nothing from anywhere

All may send anything, as a new group lets its ports. What must be seen follows from `RULES` alone.

    python -m mininet_scenarios.security_groups [--type vxlan|geneve] [--cli]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mininet_scenarios.api import Json
from mininet_scenarios.hosts import Guest
from mininet_scenarios.lab import Lab
from mininet_scenarios.machines import BRIDGE, open_cli
from mininet_scenarios.rows import Row, concluded, show

CUT_WITHIN_S = 1.0
_PATIENCE_S = 0.5  # how long an answer may take that is not there at once
_SILENCE_S = 1.5


@dataclass(frozen=True, slots=True)
class Member:
    """A guest of the topology; its group is called as its tier."""

    name: str
    tier: str
    on: str
    last: int


MEMBERS = (
    Member("web1", "web", "hv1", 11),
    Member("web2", "web", "hv2", 12),
    Member("app", "app", "hv2", 13),
    Member("db", "db", "hv1", 14),
    Member("client", "client", "hv2", 15),
)
RULES = (("web", None, 80), ("app", "web", 8080), ("db", "app", 5432))
"""A tier, from which tier, None for anywhere, and to which TCP port of it."""
PINGED = "web"
PORTS = tuple(port for _, _, port in RULES)


@dataclass(frozen=True, slots=True)
class Tiers:
    """The topology as it was built: groups and rules by tier."""

    groups: dict[str, Json]
    rules: dict[str, Json]


def build(lab: Lab, type: str = "vxlan") -> Tiers:
    """Make network, groups and rules over HTTP, start and plug the guests, and wait until all is wired."""
    project = "project-tiers"
    network = lab.network("tiers", cidr="10.0.0.0/24", project=project, type=type)
    groups = {member.tier: lab.group(member.tier, project=project) for member in MEMBERS}
    rules = {
        tier: lab.rule(groups[tier], protocol="tcp", ports=port, remote=groups[source] if source else None)
        for tier, source, port in RULES
    }
    lab.rule(groups[PINGED], protocol="icmp")
    for member in MEMBERS:
        ip, mac, group = f"10.0.0.{member.last}", f"02:00:00:00:00:{member.last}", groups[member.tier]["id"]
        lab.guest(member.name, network=network, on=member.on, ip=ip, mac=mac, security_groups=[group])
    lab.converged()
    return Tiers(groups, rules)


def may(sender: str, target: str) -> list[str]:
    """What of a guest of a tier one of another, or of the same, may reach."""
    ports = [str(port) for tier, source, port in RULES if tier == target and source in (None, sender)]
    return ports + ["ping"] * (target == PINGED)


def reachability(lab: Lab) -> Iterator[Row]:
    """Every guest tries every service of every other one, where somebody listens at all of them, and pings it."""
    for sender in MEMBERS:
        expected, seen = [], []
        for target in (target for target in MEMBERS if target != sender):
            expected.append(_told(target.name, may(sender.tier, target.tier)))
            caller, called = lab.guests[sender.name], lab.guests[target.name]
            reached = [str(port) for port in sorted(caller.reaches(called, "tcp", *PORTS, patience_s=_PATIENCE_S))]
            answered = caller.ping(called, count=1, patience_s=_PATIENCE_S).wait().received
            seen.append(_told(target.name, reached + ["ping"] * answered))
        yield Row.equal(f"{sender.name} reaches", ", ".join(expected), ", ".join(seen))


def _told(target: str, services: Sequence[str]) -> str:
    return f"{target} {'+'.join(services) or '-'}"


def cut(lab: Lab, rule: Json, caller: Guest, server: Guest, port: int) -> Iterator[Row]:
    """Two ends talk all the time by a rule, which is removed: neither hears the other any more."""
    listener = server.listens(port)
    talk = caller.talks(server, port)
    talk.flows()
    listener.flows()
    removed = time.time()
    lab.remove(rule)
    lab.converged()
    time.sleep(_SILENCE_S)
    for end, name in ((talk, caller), (listener, server)):
        last_s = end.last() - removed
        seen = f"nothing later than {max(0.0, last_s):.2f} s"
        question = f"the rule by which {caller} and {server} talk is removed: {name} hears"
        yield Row(question, f"nothing later than {CUT_WITHIN_S:g} s", seen, last_s < CUT_WITHIN_S)
        end.stop()
    again = "some" if caller.reaches(server, "tcp", port, patience_s=_PATIENCE_S) else "none"
    yield Row.equal(f"new connections from {caller} to {server}", "none", again)


def changes(lab: Lab, tiers: Tiers) -> Iterator[Row]:
    """Rules and members change under traffic: what they cut is cut, what they let in is let in, the rest goes on."""
    client, web1, app, db = (lab.guests[name] for name in ("client", "web1", "app", "db"))
    listener = web1.listens(80)
    others = client.talks(web1, 80)
    others.flows()
    yield from cut(lab, tiers.rules["db"], app, db, 5432)
    lab.rule(tiers.groups["db"], protocol="tcp", ports=5432, remote=tiers.groups["app"])
    lab.converged()
    back = bool(app.reaches(db, "tcp", 5432))
    yield Row.equal("the rule is back: new connections from app to db", "some", "some" if back else "none")
    lab.regroup(client, tiers.groups["web"])
    lab.converged()
    yield Row.equal("client joins group web: app answers it at", "{8080}", str(client.reaches(app, "tcp", *PORTS)))
    lab.regroup(client, tiers.groups["client"])
    lab.converged()
    left = client.reaches(app, "tcp", 8080, patience_s=_PATIENCE_S)
    yield Row.equal("client leaves it: app answers it at", "set()", str(left))
    others.flows()
    pause_s = max(others.longest_silence(), listener.longest_silence())
    told = f"{sum(others.lost().values()) + sum(listener.lost().values())} lost, no pause of a second"
    told = told if pause_s < CUT_WITHIN_S else f"a pause of {pause_s:.2f} s"
    yield Row.equal("meanwhile client and web1 talk", "0 lost, no pause of a second", told)
    others.stop()
    listener.stop()


def figures(lab: Lab) -> Iterator[Row]:
    """Flows per hypervisor, desired and as Open vSwitch counts them."""
    for name, hypervisor in lab.hypervisors.items():
        desired = lab.api.get(f"/v1/flows/{name}")["flows"]
        yield Row.equal(f"flows of {BRIDGE} on {name}", f"{len(desired)}", f"{len(hypervisor.flows())}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the topology, ask everything (or open Mininet's CLI), and end with 1 when something was wrong."""
    parser = argparse.ArgumentParser(prog="security_groups", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--type", choices=("vxlan", "geneve"), default="vxlan", help="encapsulation (vxlan)")
    parser.add_argument("--cli", action="store_true", help="open Mininet's CLI instead of asking")
    options = parser.parse_args(arguments)

    def play() -> list[Row]:
        with Lab(hypervisors=2) as lab:
            tiers = build(lab, options.type)
            if options.cli:
                open_cli(lab.net)
                return []
            rows = [*reachability(lab), *changes(lab, tiers), *figures(lab)]
            print(show(rows))
            lab.settles()
            return rows

    return concluded(play)


if __name__ == "__main__":
    sys.exit(main())
