"""Subnets: which blocks, pools and gateways go together."""

from __future__ import annotations

import pytest

from controller.model.records import Released
from tests.northbound.served import Client

MAC = "fa:16:3e:00:00:01"
AUTOMATIC = "2001:db8::f816:3eff:fe00:1"


def test_a_subnet_is_what_was_asked_for_and_the_rest_is_default(api: Client, red: str) -> None:
    made = api.make("subnet", network_id=red.upper(), ip_version="4", cidr="10.0.0.77/24")
    assert {name: made[name] for name in made if name not in ("id", "created_at", "updated_at")} == {
        "name": "",
        "description": "",
        "project_id": "",
        "tenant_id": "",
        "network_id": red,
        "ip_version": 4,
        "cidr": "10.0.0.0/24",
        "gateway_ip": "10.0.0.1",
        "allocation_pools": [{"start": "10.0.0.2", "end": "10.0.0.254"}],
        "enable_dhcp": True,
        "dns_nameservers": [],
        "host_routes": [],
        "ipv6_ra_mode": None,
        "ipv6_address_mode": None,
        "subnetpool_id": None,
        "service_types": [],
        "dns_publish_fixed_ip": False,
        "router:external": False,
        "revision_number": 1,
        "tags": [],
    }
    assert api.get(f"/v2.0/subnets/{made['id']}")["subnet"] == made


def test_everything_of_a_subnet_can_be_said(api: Client, red: str) -> None:
    given = {
        "name": "six",
        "cidr": "2001:db8:0:1::/64",
        "ip_version": 6,
        "gateway_ip": "2001:db8:0:1::ff",
        "allocation_pools": [{"start": "2001:db8:0:1::1000", "end": "2001:db8:0:1::2000"}],
        "dns_nameservers": ["2001:db8::53", "2001:db8::54"],
        "host_routes": [{"destination": "2001:db8:2::/48", "nexthop": "2001:db8:0:1::5"}],
        "ipv6_ra_mode": "dhcpv6-stateful",
        "ipv6_address_mode": "dhcpv6-stateful",
    }
    made = api.make("subnet", network_id=red, **given)
    assert {name: made[name] for name in given} == given
    port = api.make("port", network_id=red)
    assert [ip["ip_address"] for ip in port["fixed_ips"]] == ["2001:db8:0:1::1000"]


def test_addresses_are_shown_in_one_form(api: Client, red: str) -> None:
    made = api.make(
        "subnet",
        network_id=red,
        ip_version=6,
        cidr="2001:0DB8:0:0:0::/64",
        gateway_ip="2001:DB8::00FE",
        allocation_pools=[{"start": "2001:db8::0:10", "end": "2001:db8::0020"}],
    )
    assert made["cidr"] == "2001:db8::/64"
    assert made["gateway_ip"] == "2001:db8::fe"
    assert made["allocation_pools"] == [{"start": "2001:db8::10", "end": "2001:db8::20"}]


V4 = {"ip_version": 4, "cidr": "10.0.0.0/24"}
V6 = {"ip_version": 6, "cidr": "2001:db8::/64"}


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (
            {"cidr": "10.0.0.0/24"},
            (
                400,
                "HTTPBadRequest",
                "Failed to parse request. Required attribute 'ip_version' not specified",
            ),
        ),
        (
            {"ip_version": 5, "cidr": "10.0.0.0/24"},
            (400, "HTTPBadRequest", "Invalid input for ip_version. Reason: 5 is not in valid_values."),
        ),
        (
            {"ip_version": 4},
            (400, "BadRequest", "Bad subnets request: a subnetpool must be specified in the absence of a cidr."),
        ),
        (
            {"ip_version": 4, "cidr": "10.0.0.0/33"},
            (400, "InvalidInput", "Invalid input for operation: 10.0.0.0/33 is not in a CIDR format."),
        ),
        ({"ip_version": 4, "cidr": None}, (400, "BadRequest", None)),
        ({"ip_version": 4, "cidr": "fe80::1%eth0/64"}, (400, "InvalidInput", None)),
        ({"ip_version": 4, "cidr": 167772160}, (400, "InvalidInput", None)),
        (
            {"ip_version": 6, "cidr": "10.0.0.0/24"},
            (
                400,
                "InvalidInput",
                "Invalid input for operation: cidr '10.0.0.0/24' does not match the ip_version '6'.",
            ),
        ),
        (
            {"ip_version": 4, "cidr": "0.0.0.0/0"},
            (400, "InvalidInput", "Invalid input for operation: 0 is not allowed as CIDR prefix length."),
        ),
        (
            {"ip_version": 6, "cidr": "::/64"},
            (400, "InvalidInput", "Invalid input for operation: IPv6 subnet '::' is not supported."),
        ),
        ({"ip_version": 4, "cidr": "10.0.0.0/31"}, (400, "InvalidInput", None)),
        ({"ip_version": 4, "cidr": "224.0.0.0/24"}, (400, "InvalidInput", None)),
        ({"ip_version": 4, "cidr": "127.0.0.0/24"}, (400, "InvalidInput", None)),
        ({"ip_version": 4, "cidr": "0.0.0.0/24"}, (400, "InvalidInput", None)),
        (
            {**V4, "network_id": "red"},
            (400, "HTTPBadRequest", "Invalid input for network_id. Reason: 'red' is not a valid UUID."),
        ),
        (
            {**V4, "network_id": "11111111-2222-3333-4444-555555555555"},
            (
                404,
                "NetworkNotFound",
                "Network 11111111-2222-3333-4444-555555555555 could not be found.",
            ),
        ),
        (
            {**V4, "gateway_ip": "10.0.0.0"},
            (400, "InvalidInput", "Invalid input for operation: Gateway is not valid on subnet."),
        ),
        ({**V4, "gateway_ip": "10.0.0.255"}, (400, "InvalidInput", None)),
        (
            {**V4, "gateway_ip": "2001:db8::1"},
            (
                400,
                "InvalidInput",
                "Invalid input for operation: gateway_ip '2001:db8::1' does not match the ip_version '4'.",
            ),
        ),
        (
            {**V4, "gateway_ip": "x"},
            (400, "HTTPBadRequest", "Invalid input for gateway_ip. Reason: 'x' is not a valid IP address."),
        ),
        (
            {
                **V4,
                "gateway_ip": "10.0.0.5",
                "allocation_pools": [{"start": "10.0.0.2", "end": "10.0.0.9"}],
            },
            (
                409,
                "GatewayConflictWithAllocationPools",
                "Gateway ip 10.0.0.5 conflicts with allocation pool 10.0.0.2-10.0.0.9.",
            ),
        ),
        (
            {**V4, "allocation_pools": [{"start": "10.0.0.1", "end": "10.0.0.9"}]},
            (409, "GatewayConflictWithAllocationPools", None),
        ),
        (
            {**V4, "allocation_pools": [{"start": "10.0.0.2", "end": "10.0.1.9"}]},
            (
                400,
                "OutOfBoundsAllocationPool",
                "The allocation pool 10.0.0.2-10.0.1.9 spans beyond the subnet cidr 10.0.0.0/24.",
            ),
        ),
        (
            {**V4, "allocation_pools": [{"start": "10.0.0.2", "end": "10.0.0.255"}]},
            (400, "OutOfBoundsAllocationPool", None),
        ),
        (
            {
                **V4,
                "allocation_pools": [
                    {"start": "10.0.0.8", "end": "10.0.0.20"},
                    {"start": "10.0.0.2", "end": "10.0.0.8"},
                ],
            },
            (
                409,
                "OverlappingAllocationPools",
                "Found overlapping allocation pools: 10.0.0.2-10.0.0.8 10.0.0.8-10.0.0.20 for subnet 10.0.0.0/24.",
            ),
        ),
        (
            {**V4, "allocation_pools": [{"start": "10.0.0.9", "end": "10.0.0.2"}]},
            (400, "InvalidAllocationPool", "The allocation pool 10.0.0.9-10.0.0.2 is not valid."),
        ),
        (
            {**V4, "allocation_pools": [{"start": "2001:db8::1", "end": "2001:db8::2"}]},
            (400, "InvalidAllocationPool", None),
        ),
        (
            {**V4, "allocation_pools": [{"start": "10.0.0.2"}]},
            (
                400,
                "HTTPBadRequest",
                "Invalid input for allocation_pools. Reason: Validation of dictionary's keys failed. "
                "Expected keys: ['start', 'end'] Provided keys: ['start'].",
            ),
        ),
        ({**V4, "allocation_pools": "all"}, (400, "HTTPBadRequest", None)),
        ({**V4, "allocation_pools": [7]}, (400, "HTTPBadRequest", None)),
        ({**V4, "dns_nameservers": ["2001:db8::53"]}, (400, "InvalidInput", None)),
        (
            {**V4, "dns_nameservers": ["dns"]},
            (
                400,
                "HTTPBadRequest",
                "Invalid input for dns_nameservers. Reason: 'dns' is not a valid nameserver. "
                "'dns' is not a valid IP address.",
            ),
        ),
        (
            {**V4, "dns_nameservers": ["10.0.0.5", "10.0.0.5"]},
            (
                400,
                "HTTPBadRequest",
                "Invalid input for dns_nameservers. Reason: Duplicate nameserver '10.0.0.5'.",
            ),
        ),
        (
            {**V4, "host_routes": [{"destination": "10.1.0.1/16", "nexthop": "10.0.0.9"}]},
            (
                400,
                "HTTPBadRequest",
                "Invalid input for host_routes. Reason: '10.1.0.1/16' is not a valid CIDR.",
            ),
        ),
        (
            {**V4, "host_routes": [{"destination": "10.1.0.0/16", "nexthop": "2001:db8::1"}]},
            (400, "InvalidInput", None),
        ),
        (
            {**V4, "ipv6_ra_mode": "slaac"},
            (
                400,
                "InvalidInput",
                "Invalid input for operation: ipv6_ra_mode is not valid when ip_version is 4.",
            ),
        ),
        ({**V6, "ipv6_ra_mode": "ra"}, (400, "HTTPBadRequest", None)),
        (
            {**V6, "ipv6_ra_mode": "slaac", "ipv6_address_mode": "dhcpv6-stateful"},
            (400, "InvalidInput", None),
        ),
        ({**V6, "ipv6_ra_mode": "slaac", "enable_dhcp": False}, (400, "InvalidInput", None)),
        (
            {"ip_version": 6, "cidr": "2001:db8::/96", "ipv6_address_mode": "slaac"},
            (400, "InvalidInput", None),
        ),
        (
            {**V4, "subnetpool_id": "11111111-2222-3333-4444-555555555555"},
            (404, "SubnetPoolNotFound", "Subnet pool 11111111-2222-3333-4444-555555555555 could not be found."),
        ),
    ],
)
def test_a_subnet_that_cannot_be_is_refused(
    api: Client, red: str, given: dict[str, object], fault: tuple[int, str, str | None]
) -> None:
    before = len(api.changes)
    status, kind, said = api.post("subnet", **{"network_id": red, **given}).fault
    assert (status, kind) == fault[:2]
    assert fault[2] in (None, said)
    assert len(api.changes) == before


def test_subnets_of_one_network_lie_apart_and_those_of_two_need_not(api: Client, red: str) -> None:
    api.make("subnet", network_id=red, **V4)
    api.make("subnet", network_id=red, **V6)
    for cidr in ("10.0.0.0/24", "10.0.0.128/25", "10.0.0.0/8"):
        assert api.post("subnet", network_id=red, ip_version=4, cidr=cidr).fault == (
            400,
            "InvalidInput",
            f"Invalid input for operation: Requested subnet with cidr: {cidr} for network: {red} "
            "overlaps with another subnet.",
        )
    api.make("subnet", network_id=red, ip_version=4, cidr="10.0.1.0/24")
    blue = api.make("network", name="blue")["id"]
    api.make("subnet", network_id=blue, **V4)


def test_small_subnets_work_without_dhcp(api: Client, red: str) -> None:
    pair = api.make("subnet", network_id=red, ip_version=4, cidr="10.0.0.0/31", enable_dhcp=False)
    assert (pair["gateway_ip"], pair["allocation_pools"]) == (
        "10.0.0.1",
        [{"start": "10.0.0.0", "end": "10.0.0.0"}],
    )
    one = api.make("subnet", network_id=red, ip_version=4, cidr="10.0.1.5/32", enable_dhcp=False)
    assert (one["gateway_ip"], one["allocation_pools"]) == (
        None,
        [{"start": "10.0.1.5", "end": "10.0.1.5"}],
    )
    assert api.put("subnet", one["id"], enable_dhcp=True).status == 400


def test_a_subnet_can_be_changed(api: Client, red: str) -> None:
    made = api.make("subnet", network_id=red, **V4)
    given = {
        "name": "n",
        "description": "d",
        "gateway_ip": "10.0.0.254",
        "allocation_pools": [{"start": "10.0.0.50", "end": "10.0.0.60"}],
        "dns_nameservers": ["10.0.0.53"],
        "host_routes": [{"destination": "10.9.0.0/16", "nexthop": "10.0.0.9"}],
        "enable_dhcp": False,
    }
    changed = api.put("subnet", made["id"], **given).body["subnet"]
    assert {name: changed[name] for name in given} == given
    assert changed["revision_number"] == 2
    cleared = api.put("subnet", made["id"], gateway_ip=None, dns_nameservers=None, host_routes=[])
    assert [cleared.body["subnet"][name] for name in ("gateway_ip", "dns_nameservers", "host_routes")] == [
        None,
        [],
        [],
    ]
    port = api.make("port", network_id=red)
    assert port["fixed_ips"][0]["ip_address"] == "10.0.0.50"
    for name, value in (("cidr", "10.0.0.0/16"), ("ip_version", 4), ("network_id", red)):
        assert api.put("subnet", made["id"], **{name: value}).fault == (
            400,
            "HTTPBadRequest",
            f"Cannot update read-only attribute {name}",
        )
    assert api.put("subnet", made["id"], gateway_ip="10.0.0.55").fault[1] == "GatewayConflictWithAllocationPools"


def test_new_pools_give_new_addresses_and_never_a_held_one(api: Client, red: str) -> None:
    made = api.make("subnet", network_id=red, **V4)
    held = [api.make("port", network_id=red)["id"] for _ in range(3)]
    api.delete("port", held[0])
    assert len(api.store.model.all(Released)) == 1
    api.put("subnet", made["id"], allocation_pools=[{"start": "10.0.0.2", "end": "10.0.0.5"}])
    assert api.store.model.all(Released) == ()
    found = [api.make("port", network_id=red)["fixed_ips"][0]["ip_address"] for _ in range(2)]
    assert found == ["10.0.0.2", "10.0.0.5"]
    assert api.post("port", network_id=red).fault == (
        409,
        "IpAddressGenerationFailure",
        f"No more IP addresses available on network {red}.",
    )


def test_a_subnet_stays_while_a_port_holds_an_address_of_it(api: Client, red: str) -> None:
    made = api.make("subnet", network_id=red, **V4)["id"]
    port = api.make("port", network_id=red)["id"]
    assert api.delete("subnet", made).fault == (
        409,
        "SubnetInUse",
        f"Unable to complete operation on subnet {made}: One or more ports have an IP allocation from this subnet.",
    )
    assert api.put("port", port, fixed_ips=[]).body["port"]["fixed_ips"] == []
    assert api.delete("subnet", made).status == 204


def test_addresses_of_a_slaac_subnet_come_and_go_with_it(api: Client, red: str) -> None:
    port = api.make("port", network_id=red, mac_address=MAC)
    assert port["fixed_ips"] == []
    made = api.make("subnet", network_id=red, **V6, ipv6_ra_mode="slaac", ipv6_address_mode="slaac")["id"]
    path = f"/v2.0/ports/{port['id']}"
    assert api.get(path)["port"]["fixed_ips"] == [{"subnet_id": made, "ip_address": AUTOMATIC}]
    assert api.get(path)["port"]["revision_number"] == 2
    assert api.put("subnet", made, enable_dhcp=False).status == 400
    assert api.delete("subnet", made).status == 204
    assert api.get(path)["port"]["fixed_ips"] == []


def test_a_subnet_tells_guests_of_only_so_much(api: Client) -> None:
    red = api.make("network")["id"]
    cidr = {"network_id": red, "ip_version": 4, "cidr": "10.0.0.0/24"}
    servers = [f"192.0.2.{place}" for place in range(6)]
    routes = [{"destination": f"10.{place}.0.0/16", "nexthop": "10.0.0.9"} for place in range(1, 22)]
    few = api.make("subnet", **cidr, dns_nameservers=servers[:5], host_routes=routes[:20])["id"]
    for attributes, kind, what in (
        ({"dns_nameservers": servers}, "DNSNameServersExhausted", "The number of DNS nameservers exceeds the limit 5."),
        ({"host_routes": routes}, "HostRoutesExhausted", "The number of host routes exceeds the limit 20."),
    ):
        assert api.put("subnet", few, **attributes).fault == (
            400,
            kind,
            f"Unable to complete operation for {few}. {what}",
        )
        refused = api.post("subnet", **{**cidr, "cidr": "10.0.9.0/24"}, **attributes)
        assert refused.fault == (400, kind, f"Unable to complete operation for new subnet. {what}")


def test_no_pools_are_the_default_ones_for_a_new_subnet_and_none_for_an_old_one(api: Client) -> None:
    red = api.make("network")["id"]
    made = api.make("subnet", network_id=red, ip_version=4, cidr="10.0.0.0/24", allocation_pools=[])
    assert made["allocation_pools"] == [{"start": "10.0.0.2", "end": "10.0.0.254"}]
    assert api.put("subnet", made["id"], allocation_pools=[]).body["subnet"]["allocation_pools"] == []
