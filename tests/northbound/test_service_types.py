"""Subnets for ports of some owners alone."""

from __future__ import annotations

import pytest

from tests.northbound.served import Client


@pytest.fixture
def red(api: Client) -> str:
    return str(api.make("network")["id"])


def subnet(api: Client, network: str, third: int, *types: str) -> str:
    cidr = f"10.0.{third}.0/24"
    return str(api.make("subnet", network_id=network, ip_version=4, cidr=cidr, service_types=[*types])["id"])


def drawn(api: Client, network: str, owner: str = "", **more: object) -> str:
    """The subnet that a new port gets its address of."""
    port = api.make("port", network_id=network, device_owner=owner, **more)
    return str(port["fixed_ips"][0]["subnet_id"])


def test_a_port_draws_from_the_subnet_for_its_owner_and_else_from_one_for_all(api: Client, red: str) -> None:
    every = subnet(api, red, 0)
    nova = subnet(api, red, 1, "compute:nova", "network:router_gateway")
    assert api.get(f"/v2.0/subnets/{nova}")["subnet"]["service_types"] == ["compute:nova", "network:router_gateway"]
    assert drawn(api, red, "compute:nova") == drawn(api, red, "network:router_gateway") == nova
    assert drawn(api, red) == drawn(api, red, "compute:other") == every
    assert drawn(api, red, "network:dhcp") == nova, "DHCP serves every subnet"
    assert api.put("subnet", nova, service_types=[]).body["subnet"]["service_types"] == []
    assert drawn(api, red, "compute:other", fixed_ips=[{"subnet_id": nova}]) == nova


def test_no_port_of_another_owner_gets_an_address_there(api: Client, red: str) -> None:
    nova = subnet(api, red, 1, "compute:nova")
    assert api.post("port", network_id=red, device_owner="compute:x").fault == (
        409,
        "IpAddressGenerationFailureNoMatchingSubnet",
        f"No valid service subnet for the given device owner, network {red}, service type compute:x.",
    )
    subnet(api, red, 0)
    asked = {"network_id": red, "device_owner": "compute:x"}
    assert api.post("port", **asked, fixed_ips=[{"subnet_id": nova}]).fault[:2] == (400, "InvalidInput")
    assert api.post("port", **asked, fixed_ips=[{"ip_address": "10.0.1.9"}]).fault[:2] == (400, "InvalidIpForNetwork")


def test_addresses_stay_when_a_subnet_is_for_others(api: Client, red: str) -> None:
    only = subnet(api, red, 0)
    port = api.make("port", network_id=red)
    assert api.put("subnet", only, service_types=["compute:nova"]).status == 200
    assert api.put("port", port["id"], name="x", mac_address="02:00:00:00:00:01").status == 200
    kept = api.put("port", port["id"], fixed_ips=port["fixed_ips"])
    assert kept.body["port"]["fixed_ips"] == port["fixed_ips"]


def test_a_guest_that_a_slaac_subnet_is_not_for_forms_no_address_there(api: Client, red: str) -> None:
    guests = [api.make("port", network_id=red, device_owner=owner)["id"] for owner in ("compute:nova", "compute:x")]
    slaac = {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}
    given = {"network_id": red, "ip_version": 6, "cidr": "2001:db8::/64", "service_types": ["compute:nova"], **slaac}
    api.make("subnet", **given)
    api.make("subnet", network_id=red, ip_version=4, cidr="10.0.0.0/24")
    guests += [api.make("port", network_id=red, device_owner=owner)["id"] for owner in ("compute:nova", "compute:x")]
    addresses = [api.get(f"/v2.0/ports/{id}")["port"]["fixed_ips"] for id in guests]
    assert [any(":" in ip["ip_address"] for ip in each) for each in addresses] == [True, False, True, False]


def test_a_type_may_begin_with_any_letter_of_compute(api: Client, red: str) -> None:
    """As a test of Neutron's API has it."""
    given = {"network_id": red, "ip_version": 4, "cidr": "10.7.0.0/24", "service_types": ["test:type_1"]}
    assert api.make("subnet", **given)["service_types"] == ["test:type_1"]


@pytest.mark.parametrize(
    ("types", "fault"),
    [
        ("x", ("HTTPBadRequest", "Subnet service types must be a list.")),
        (["x"], ("InvalidSubnetServiceType", "Subnet service type x does not correspond to a valid device owner.")),
        ([1], ("InvalidInputSubnetServiceType", "Subnet service type 1 is not a string.")),
    ],
)
def test_what_is_no_service_type_is_refused(api: Client, red: str, types: object, fault: tuple[str, str]) -> None:
    given = {"network_id": red, "ip_version": 4, "cidr": "10.0.0.0/24"}
    assert api.post("subnet", **given, service_types=types).fault == (400, *fault)
    made = api.make("subnet", **given, service_types=None)
    assert made["service_types"] == []
    assert api.put("subnet", made["id"], service_types=types).fault == (400, *fault)
