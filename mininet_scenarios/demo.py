"""Weft's main job, shown: `make demo`.

The topology and the questions are those of `two_networks`, and a security group; the model is made by the stock
`openstack` client, as an operator would make it. Ends with 0 when all that was seen is what had to be, with 1 when
something differs, with 2 when the demo could not run.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from mininet_scenarios.api import Json
from mininet_scenarios.lab import Lab, Network
from mininet_scenarios.machines import BRIDGE
from mininet_scenarios.processes import beside_python, run
from mininet_scenarios.rows import Row, concluded, show
from mininet_scenarios.security_groups import cut
from mininet_scenarios.two_networks import CIDR, MEMBERS, TENANTS, first_reply, questions

_SERVICE, _PATIENCE_S = 5432, 0.5
_ANSWERED_WITHIN_S = 1.0  # a new port; a bound that only a broken controller breaks, not a claim


def openstack(url: str, *arguments: str) -> Json:
    """Run the stock `openstack` client, without an identity service, and return what it shows."""
    settings = {"OS_AUTH_TYPE": "none", "OS_ENDPOINT": url}
    shown = run(beside_python("openstack"), *arguments, "-f", "json", env=settings, timeout_s=60)
    answer: Json = json.loads(shown)
    return answer


def made(lab: Lab, tenant: str, *arguments: str) -> Json:
    """Make something of a tenant's with the `openstack` client, and say so."""
    owner = f"type=str,name=project_id,value=project-{tenant}"  # `--project` would ask an identity service
    line = (*arguments, "--extra-property", owner)
    answer = openstack(lab.api.url, *line)
    print(f"$ openstack {shlex.join(line)}", flush=True)
    return answer


def model(lab: Lab, tenant: str, type: str) -> tuple[Network, dict[str, Json]]:
    """Make a tenant's network, subnet and ports with the `openstack` client."""
    network = made(lab, tenant, "network", "create", tenant, "--provider-network-type", type)
    where = ("--network", tenant, "--subnet-range", CIDR, "--gateway", "none", "--no-dhcp")
    subnet = made(lab, tenant, "subnet", "create", tenant, *where)
    ports = {}
    for member in MEMBERS:
        if member.tenant == tenant:
            address = ("--fixed-ip", f"subnet={tenant},ip-address={member.ip}", "--mac-address", member.mac)
            ports[member.name] = made(lab, tenant, "port", "create", member.name, "--network", tenant, *address)
    return lab.adopt(network, subnet), ports


def build(lab: Lab, type: str) -> dict[str, Network]:
    """Make both tenants' models side by side, then start and plug the guests."""
    with ThreadPoolExecutor(len(TENANTS)) as pool:
        models = dict(zip(TENANTS, pool.map(lambda tenant: model(lab, tenant, type), TENANTS), strict=True))
    for member in MEMBERS:
        network, ports = models[member.tenant]
        port = ports[member.name]
        lab.guest(member.name, network=network, on=member.on, ip=member.ip, mac=member.mac, port=port)
    lab.converged()
    return {tenant: network for tenant, (network, _ports) in models.items()}


def guarded(lab: Lab) -> Iterator[Row]:
    """A group with one rule: it lets in what it says, and once it is removed nothing, not even what was begun."""
    red1, red2, red3 = (lab.guests[name] for name in ("red1", "red2", "red3"))
    made(lab, "red", "security", "group", "create", "db")
    allowed = ("--protocol", "tcp", "--dst-port", str(_SERVICE), "--remote-ip", f"{red1.ip}/32")
    rule = made(lab, "red", "security", "group", "rule", "create", *allowed, "db")
    lab.regroup(red3, {"id": rule["security_group_id"]})
    lab.converged()
    for caller, ports in ((red1, {_SERVICE}), (red2, set[int]())):
        answered = caller.reaches(red3, "tcp", _SERVICE - 1, _SERVICE, patience_s=_PATIENCE_S)
        question = f"group db lets red1 in at {_SERVICE}: {caller} reaches red3 at"
        yield Row.equal(question, str(ports or "nothing"), str(answered or "nothing"))
    yield from cut(lab, rule, red1, red3, _SERVICE)


def figures(lab: Lab, network: Network) -> Iterator[Row]:
    """Flows per hypervisor, desired and as Open vSwitch counts them; and how soon a new port is of use."""
    for name, hypervisor in lab.hypervisors.items():
        desired = lab.api.get(f"/v1/flows/{name}")["flows"]
        yield Row.equal(f"flows of {BRIDGE} on {name}", f"{len(desired)}", f"{len(hypervisor.flows())}")
    took = first_reply(lab, network)
    told = f"made {took.created_s * 1000:.0f} ms, first reply {took.replied_s * 1000:.0f} ms after the API call"
    within = f"first reply within {_ANSWERED_WITHIN_S:g} s"
    yield Row("a new port on hv2 pings red1 on hv1", within, told, took.replied_s < _ANSWERED_WITHIN_S)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; see the module."""
    parser = argparse.ArgumentParser(prog="demo", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--type", choices=("vxlan", "geneve"), default="vxlan", help="encapsulation (vxlan)")
    options = parser.parse_args(arguments)
    start = time.monotonic()

    def play() -> list[Row]:
        with Lab(hypervisors=2) as lab:
            print(
                f"controller and {len(lab.hypervisors)} hypervisors after {time.monotonic() - start:.1f} s", flush=True
            )
            networks = build(lab, options.type)
            rows = [*questions(lab), *guarded(lab), *figures(lab, networks["red"])]
            print(show(rows))
            lab.settles()
            print("installed flows are the desired ones, and a recompute from scratch changes none")
        wrong = sum(not row.right for row in rows)
        print(f"{len(rows)} questions, {wrong} wrong answers, {time.monotonic() - start:.1f} s")
        return rows

    return concluded(play)


if __name__ == "__main__":
    sys.exit(main())
