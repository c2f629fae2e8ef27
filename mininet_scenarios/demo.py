"""Weft's main job, shown: `make demo`.

The topology and the questions are those of `two_networks`; the model is made by the stock `openstack` client, as
an operator would make it. Ends with 0 when all that was seen is what had to be, with 1 when something differs, with 2
when the demo could not run.
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
from mininet_scenarios.errors import LabError
from mininet_scenarios.lab import Lab, Network
from mininet_scenarios.nodes import BRIDGE
from mininet_scenarios.processes import beside_python, end_on_sigterm, run
from mininet_scenarios.two_networks import CIDR, MEMBERS, TENANTS, Row, first_reply, questions, show

_ANSWERED_WITHIN_S = 1.0  # a new port; a bound that only a broken controller breaks, not a claim


def openstack(url: str, *arguments: str) -> Json:
    """Run the stock `openstack` client, without an identity service, and return what it shows."""
    settings = {"OS_AUTH_TYPE": "none", "OS_ENDPOINT": url}
    shown = run(beside_python("openstack"), *arguments, "-f", "json", env=settings, timeout_s=60)
    answer: Json = json.loads(shown)
    return answer


def model(lab: Lab, tenant: str, type: str) -> tuple[Network, dict[str, Json]]:
    """Make a tenant's network, subnet and ports with the `openstack` client."""
    owner = f"type=str,name=project_id,value=project-{tenant}"  # `--project` would ask an identity service

    def make(*arguments: str) -> Json:
        line = (*arguments, "--extra-property", owner)
        made = openstack(lab.api.url, *line)
        print(f"$ openstack {shlex.join(line)}", flush=True)
        return made

    network = make("network", "create", tenant, "--provider-network-type", type)
    where = ("--network", tenant, "--subnet-range", CIDR, "--gateway", "none", "--no-dhcp")
    subnet = make("subnet", "create", tenant, *where)
    ports = {}
    for member in MEMBERS:
        if member.tenant == tenant:
            address = ("--fixed-ip", f"subnet={tenant},ip-address={member.ip}", "--mac-address", member.mac)
            ports[member.name] = make("port", "create", member.name, "--network", tenant, *address)
    return lab.adopt(network, subnet), ports


def build(lab: Lab, type: str) -> dict[str, Network]:
    """Make both tenants' models side by side, then start and plug the guests."""
    with ThreadPoolExecutor(len(TENANTS)) as pool:
        made = dict(zip(TENANTS, pool.map(lambda tenant: model(lab, tenant, type), TENANTS), strict=True))
    for member in MEMBERS:
        network, ports = made[member.tenant]
        port = ports[member.name]
        lab.guest(member.name, network=network, on=member.on, ip=member.ip, mac=member.mac, port=port)
    lab.converged()
    return {tenant: network for tenant, (network, _ports) in made.items()}


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
    end_on_sigterm()
    start = time.monotonic()
    try:
        with Lab(hypervisors=2) as lab:
            print(
                f"controller and {len(lab.hypervisors)} hypervisors after {time.monotonic() - start:.1f} s", flush=True
            )
            networks = build(lab, options.type)
            rows = [*questions(lab), *figures(lab, networks["red"])]
            print(show(rows))
            lab.settles()
            print("installed flows are the desired ones, and a recompute from scratch changes none")
    except LabError as error:
        print(error, file=sys.stderr)
        return 2
    wrong = sum(not row.right for row in rows)
    print(f"{len(rows)} questions, {wrong} wrong answers, {time.monotonic() - start:.1f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
