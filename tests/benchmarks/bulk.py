"""A cloud at once: from a model over HTTP to all flows on two hypervisors, every port bound, as the OVN figures were taken.

So many tenants, each with a router, two networks of 25 ports, a gateway, a distributed floating IP and a security group of
four rules. A client makes one tenant after the other; its interfaces are plugged in as soon as it knows their ids.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from mininet_scenarios.api import Json
from mininet_scenarios.processes import wait_until
from tests.benchmarks.fakes import Guest, Spec
from tests.benchmarks.fleet import CONVERGED_S, Controller
from tests.benchmarks.report import Figure

SIZES: Final = (100, 1_000, 3_000)
"""Bound ports."""
EACH: Final = 50
"""How many a tenant has, on two networks."""
HYPERVISORS: Final = ("hv1", "hv2")
MIB: Final = 1 << 20


def run() -> Iterator[Figure]:
    """The figures of a whole model."""
    for size in SIZES:
        with tempfile.TemporaryDirectory(prefix="weft-bulk-") as place, ExitStack() as stack:
            yield from _measured(size, Path(place), stack)


def _measured(size: int, directory: Path, stack: ExitStack) -> Iterator[Figure]:
    controller = Controller(directory, stack)
    fakes = controller.fakes
    specs = [Spec(name, f"198.18.0.{at}", (), physical=True) for at, name in enumerate(HYPERVISORS, 1)]
    fakes.join(specs, controller.ovsdb)
    wait_until(
        "Two switches", lambda: "" if fakes.tally().connected == len(specs) else "they are not there", CONVERGED_S
    )
    outside = _outside(controller)
    time.sleep(1)
    cpu_s, began = controller.cpu_s(), time.monotonic()
    for tenant in range(size // EACH):
        _tenant(controller, outside, tenant)
    asked_s = time.monotonic() - began
    controller.settled(HYPERVISORS)
    tally = fakes.tally()
    of = f"{size:,} ports"
    yield Figure(f"{of}: asked for over HTTP", asked_s, "s")
    yield Figure(f"{of}: from the first request until {tally.flows:,} flows are acknowledged", tally.last - began, "s")
    yield Figure(f"{of}: CPU time of the controller for that", controller.asked_at_cpu_s - cpu_s, "s")
    yield Figure(f"{of}: bundles", tally.bundles, "")
    yield Figure(f"{of}: flow-mods sent for each flow held", tally.flow_mods / tally.flows, "")
    yield Figure(f"{of}: memory of the controller", controller.memory_bytes("VmRSS") / MIB, "MiB")
    controller.kill()
    fakes.mark()
    began = time.monotonic()
    controller.start()
    ready_s = time.monotonic() - began
    controller.settled(HYPERVISORS)
    tally = fakes.tally()
    yield Figure(f"{of}: kill -9, until it is ready again", ready_s, "s")
    yield Figure(f"{of}: kill -9, until every switch was found right", tally.last - began, "s")
    yield Figure(f"{of}: kill -9, CPU time for that", controller.asked_at_cpu_s, "s")
    yield Figure(f"{of}: kill -9, flow-mods sent", tally.flow_mods, "")


def _outside(controller: Controller) -> str:
    """The external network."""
    api = controller.api
    body: Json = {"name": "outside", "router:external": True, "provider:network_type": "flat"}
    body["provider:physical_network"] = "physnet1"
    network = str(api.post("/v2.0/networks", {"network": body})["network"]["id"])
    pool: Json = {"network_id": network, "ip_version": 4, "cidr": "172.24.0.0/16", "gateway_ip": "172.24.0.1"}
    api.post("/v2.0/subnets", {"subnet": {**pool, "enable_dhcp": False}})
    return network


RULES: Final[tuple[Json, ...]] = (
    {"direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "port_range_min": 22, "port_range_max": 22,
     "remote_ip_prefix": "172.24.0.0/16"},
    {"direction": "ingress", "ethertype": "IPv4", "protocol": "icmp"},
)  # fmt: skip


def _tenant(controller: Controller, outside: str, number: int) -> None:
    api, project = controller.api, {"project_id": f"{number:032x}"}
    group = api.post("/v2.0/security-groups", {"security_group": {"name": "guests", **project}})["security_group"]["id"]
    remote: Json = {"direction": "ingress", "ethertype": "IPv4", "remote_group_id": group}
    rules = [{"security_group_id": group, **rule, **project} for rule in (*RULES, remote)]
    api.post("/v2.0/security-group-rules", {"security_group_rules": rules})
    names = [{"name": f"t{number}-n{each}", **project} for each in range(2)]
    networks = [each["id"] for each in api.post("/v2.0/networks", {"networks": names})["networks"]]
    bodies: list[Json] = [
        {"network_id": id, "ip_version": 4, "cidr": f"10.0.{at}.0/24", **project} for at, id in enumerate(networks)
    ]
    subnets = [each["id"] for each in api.post("/v2.0/subnets", {"subnets": bodies})["subnets"]]
    gateway = {"network_id": outside, "enable_snat": True}
    router = api.post("/v2.0/routers", {"router": {"name": "r", "external_gateway_info": gateway, **project}})["router"]
    for subnet in subnets:
        api.put(f"/v2.0/routers/{router['id']}/add_router_interface", {"subnet_id": subnet})
    bodies = [
        {"network_id": networks[at % 2], "name": f"vm{at}", "security_groups": [group], **project} for at in range(EACH)
    ]
    ports = [each["id"] for each in api.post("/v2.0/ports", {"ports": bodies})["ports"]]
    api.post("/v2.0/floatingips", {"floatingip": {"floating_network_id": outside, "port_id": ports[0], **project}})
    for at, name in enumerate(HYPERVISORS):
        controller.fakes.plug(name, *(Guest(f"tap{id[:11]}", id) for id in ports[at :: len(HYPERVISORS)]))
