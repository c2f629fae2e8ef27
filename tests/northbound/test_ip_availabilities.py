"""How many addresses networks have, and how many are held."""

from __future__ import annotations

from typing import Any

from tests.northbound.served import Client

PATH = "/v2.0/network-ip-availabilities"


def counts(found: Any) -> tuple[int, ...]:
    details = found["ip_availability_details"]
    return (found["used_ips"], found["total_ips"], *details.values())


def test_addresses_are_counted_by_subnet_and_in_all(api: Client) -> None:
    red = api.make("network", name="red", project_id="p")["id"]
    empty = {"network_id": red, "network_name": "red", "project_id": "p", "tenant_id": "p"}
    shown = api.get(f"{PATH}/{red}")["network_ip_availability"]
    assert {name: shown[name] for name in empty} == empty
    assert (shown["subnet_ip_availability"], counts(shown)) == ([], (0, 0, 0, 0, 0, 0))
    api.make("subnet", network_id=red, ip_version=4, cidr="10.0.0.0/28", name="s4")
    pools = [{"start": "10.1.0.10", "end": "10.1.0.19"}, {"start": "10.1.0.30", "end": "10.1.0.30"}]
    api.make("subnet", network_id=red, ip_version=4, cidr="10.1.0.0/24", allocation_pools=pools)
    api.make("subnet", network_id=red, ip_version=6, cidr="2001:db8::/64")
    api.make("port", network_id=red)
    api.make("port", network_id=red, fixed_ips=[{"ip_address": "10.1.0.99"}])
    shown = api.get(f"{PATH}/{red}")["network_ip_availability"]
    by_cidr = {each["cidr"]: each for each in shown["subnet_ip_availability"]}
    assert {name: by_cidr["10.0.0.0/28"][name] for name in ("subnet_name", "ip_version")} == {
        "subnet_name": "s4",
        "ip_version": 4,
    }
    assert {cidr: counts(each) for cidr, each in by_cidr.items()} == {
        "10.0.0.0/28": (1, 13, 14, 13, 1, 1),
        "10.1.0.0/24": (1, 11, 254, 11, 1, 0),
        "2001:db8::/64": (1, 2**64 - 2, 2**64, 2**64 - 2, 1, 1),
    }
    assert counts(shown) == (3, 2**64 + 22, 2**64 + 268, 2**64 + 22, 3, 2)


def test_lists_may_ask_for_a_version(api: Client) -> None:
    red, blue = (api.make("network", name=name)["id"] for name in ("red", "blue"))
    api.make("subnet", network_id=red, ip_version=4, cidr="10.0.0.0/29")
    api.make("subnet", network_id=red, ip_version=6, cidr="2001:db8::/126")
    api.make("subnet", network_id=blue, ip_version=4, cidr="10.0.0.0/30")

    def listed(query: str) -> dict[str, int]:
        found = api.get(f"{PATH}?{query}")["network_ip_availabilities"]
        return {each["network_name"]: each["total_ips"] for each in found}

    assert listed("") == {"red": 7, "blue": 1}
    assert listed("ip_version=4") == {"red": 5, "blue": 1}
    assert listed("ip_version=6") == {"red": 2}
    assert listed(f"network_id={blue}") == listed("network_name=blue") == {"blue": 1}
    assert listed("ip_version=5") == listed("ip_version=4&project_id=nobody") == {}
    assert api.ask("GET", f"{PATH}?ip_version=x").fault[:2] == (400, "InvalidInput")
    assert api.ask("GET", f"{PATH}/x").fault == (404, "NetworkNotFound", "Network x could not be found.")
    assert api.ask("DELETE", f"{PATH}/{red}").status == 405
