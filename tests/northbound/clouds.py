"""Clouds made by the API, for its tests: routers and what they join, ways out, floating IPs; and how they are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.northbound.served import Answer, Client

# ---- routers --------------------------------------------------------------------------------------------------


def subnet(api: Client, network: str, cidr: str = "10.0.0.0/24", **more: object) -> str:
    """A subnet of a network."""
    made = api.make("subnet", network_id=network, ip_version=6 if ":" in cidr else 4, cidr=cidr, **more)
    return str(made["id"])


def act(api: Client, id: str, action: str, **body: object) -> Answer:
    """Ask for an action of a router."""
    return api.ask("PUT", f"/v2.0/routers/{id}/{action}", body)


def add(api: Client, router: str, **body: object) -> Answer:
    """Ask for an interface."""
    return act(api, router, "add_router_interface", **body)


def join(api: Client, router: str, **body: object) -> str:
    """The port by which a router joins what a body names."""
    done = add(api, router, **body)
    assert done.status == 200, done.text
    return str(done.body["port_id"])


def port(api: Client, id: str) -> Any:
    """A port, as it is shown."""
    return api.get(f"/v2.0/ports/{id}")["port"]


def addresses(port: Any) -> list[str]:
    """The fixed addresses of a port that was shown."""
    return [ip["ip_address"] for ip in port["fixed_ips"]]


def via(*hops: str) -> list[dict[str, str]]:
    """Routes, each as `DESTINATION>NEXTHOP`."""
    return [dict(zip(("destination", "nexthop"), hop.split(">"), strict=True)) for hop in hops]


# ---- ways out -------------------------------------------------------------------------------------------------


def outside(api: Client, *cidrs: str, **more: object) -> str:
    """An external network with these subnets, 203.0.113.0/24 if none is named."""
    made = api.make("network", **{"router:external": True}, **more)
    for cidr in cidrs or ("203.0.113.0/24",):
        subnet(api, made["id"], cidr)
    return str(made["id"])


def inside(api: Client, cidr: str = "10.0.0.0/24", **more: object) -> tuple[str, str]:
    """A network and its subnet."""
    network = str(api.make("network")["id"])
    return network, subnet(api, network, cidr, **more)


def on(api: Client, network: str, cidr: str) -> str:
    """The subnet of a network that has a CIDR."""
    (found,) = api.get(f"/v2.0/subnets?network_id={network}&cidr={cidr}")["subnets"]
    return str(found["id"])


# ---- floating IPs ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cloud:
    """An external network, a router with its gateway there, and a network and subnet that it joins."""

    out: str
    router: str
    network: str
    subnet: str


def with_a_way_out(api: Client) -> Cloud:
    """Make such a cloud."""
    out = outside(api)
    router = str(api.make("router", external_gateway_info={"network_id": out})["id"])
    network, four = inside(api)
    join(api, router, subnet_id=four)
    return Cloud(out, router, network, four)


def guest(api: Client, cloud: Cloud, *addresses: str, **more: object) -> str:
    """A port, with these addresses if any are named."""
    fixed = {"fixed_ips": [{"ip_address": address} for address in addresses]} if addresses else {}
    return str(api.make("port", network_id=cloud.network, **fixed, **more)["id"])


def floating(api: Client, cloud: Cloud, **more: object) -> Any:
    """A floating IP, as it is shown."""
    return api.make("floatingip", floating_network_id=cloud.out, **more)


def shown(api: Client, id: str) -> Any:
    """The same, as it is shown now."""
    return api.get(f"/v2.0/floatingips/{id}")["floatingip"]


def stands_for(floating_ip: Any) -> tuple[str | None, str | None, str | None]:
    """The router, the port and the address that a floating IP that was shown is associated with."""
    return floating_ip["router_id"], floating_ip["port_id"], floating_ip["fixed_ip_address"]
