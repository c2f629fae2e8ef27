"""External networks, and the gateways that routers have there."""

from __future__ import annotations

from typing import Any

import pytest

from controller.model.records import GATEWAY, Port, Tag
from tests.northbound.clouds import act, add, addresses, inside, join, on, outside, port, subnet, via
from tests.northbound.served import NOBODY, Client


def gateway_of(api: Client, router: str) -> Any:
    """The port that holds the addresses of a router's gateway."""
    (found,) = api.get(f"/v2.0/ports?device_id={router}&device_owner={GATEWAY}")["ports"]
    return found


def info(api: Client, router: str) -> Any:
    return api.get(f"/v2.0/routers/{router}")["router"]["external_gateway_info"]


def held(shown: Any) -> list[str]:
    return [ip["ip_address"] for ip in shown["external_fixed_ips"]]


# ---- networks -------------------------------------------------------------------------------------------------


def test_a_network_is_external_when_it_is_asked_to_be(api: Client) -> None:
    plain, out = api.make("network", name="plain"), api.make("network", name="out", **{"router:external": "true"})
    assert (plain["router:external"], out["router:external"]) == (False, True)
    four = subnet(api, out["id"], "203.0.113.0/24")
    assert api.get(f"/v2.0/subnets/{four}")["subnet"]["router:external"] is True
    for flag, expected in (("True", [out["id"]]), ("False", [plain["id"]]), ("0", [plain["id"]])):
        found = api.get(f"/v2.0/networks?router%3Aexternal={flag}")["networks"]
        assert [each["id"] for each in found] == expected
    assert [each["id"] for each in api.get("/v2.0/subnets?router:external=True")["subnets"]] == [four]
    assert api.put("network", plain["id"], **{"router:external": True}).body["network"]["router:external"] is True
    assert api.put("network", plain["id"], **{"router:external": False}).body["network"]["router:external"] is False


def test_one_external_network_is_the_default(api: Client) -> None:
    one = api.make("network", **{"router:external": True, "is_default": True})
    two = api.make("network", **{"router:external": True})
    plain = api.make("network", is_default=True)
    assert (one["is_default"], two["is_default"], plain["is_default"]) == (True, False, False)
    taken = (409, "DefaultExternalNetworkExists", f"A default external network already exists: {one['id']}.")
    assert api.put("network", two["id"], is_default=True).fault == taken
    assert api.post("network", **{"router:external": True, "is_default": True}).fault == taken
    assert api.put("network", one["id"], is_default=True).status == 200
    assert [each["id"] for each in api.get("/v2.0/networks?is_default=true")["networks"]] == [one["id"]]
    assert api.put("network", one["id"], **{"router:external": False}).body["network"]["is_default"] is False
    assert api.put("network", two["id"], is_default=True).status == 200


def test_a_network_stays_external_while_routers_or_floating_ips_need_it(api: Client) -> None:
    out = outside(api)
    router = api.make("router", external_gateway_info={"network_id": out})["id"]
    stays = (
        409,
        "ExternalNetworkInUse",
        f"External network {out} cannot be updated to be made non-external, since it has existing gateway ports.",
    )
    assert api.put("network", out, **{"router:external": False}).fault == stays
    assert api.put("router", router, external_gateway_info=None).status == 200
    floating = api.make("floatingip", floating_network_id=out)["id"]
    assert api.put("network", out, **{"router:external": False}).fault == stays
    assert api.delete("floatingip", floating).status == 204
    assert api.put("network", out, **{"router:external": False}).status == 200


def test_an_external_network_takes_unused_floating_ips_along_but_no_gateway(api: Client) -> None:
    out = outside(api)
    router = api.make("router", external_gateway_info={"network_id": out})["id"]
    floating = api.make("floatingip", floating_network_id=out)["id"]
    assert api.delete("network", out).fault[:2] == (409, "NetworkInUse")
    assert api.get(f"/v2.0/floatingips/{floating}")["floatingip"]["id"] == floating, "a refusal changes nothing"
    assert api.delete("router", router).status == 204
    assert api.delete("network", out).status == 204
    assert api.ask("GET", f"/v2.0/floatingips/{floating}").status == 404
    assert api.get("/v2.0/ports")["ports"] == []
    assert api.store.model.all(Tag) == ()


# ---- gateways -------------------------------------------------------------------------------------------------


def test_a_gateway_has_an_address_of_each_ip_version(api: Client) -> None:
    out = outside(api, "203.0.113.0/24", "198.51.100.0/24", "2001:db8:f::/64")
    made = api.make("router", project_id="p1", external_gateway_info={"network_id": out})
    shown = made["external_gateway_info"]
    assert (shown["network_id"], shown["enable_snat"]) == (out, True)
    four, six = held(shown)
    assert four.startswith("203.0.113.")
    assert six.startswith("2001:db8:f::")
    port = gateway_of(api, made["id"])
    assert (port["project_id"], port["name"], port["admin_state_up"]) == ("", "", True)
    assert (port["port_security_enabled"], port["security_groups"], port["network_id"]) == (False, [], out)
    assert addresses(port) == [four, six]
    assert api.get(f"/v2.0/routers/{made['id']}")["router"] == made


def test_a_gateway_has_the_addresses_that_were_asked_for(api: Client) -> None:
    out = outside(api, "203.0.113.0/24", "198.51.100.0/24", "2001:db8:f::/64")
    first, second = on(api, out, "203.0.113.0/24"), on(api, out, "198.51.100.0/24")
    wanted = [{"ip_address": "203.0.113.9"}, {"subnet_id": second}, {"ip_address": "2001:db8:f::9"}]
    router = api.make("router", external_gateway_info={"network_id": out, "external_fixed_ips": wanted})["id"]
    assert {"203.0.113.9", "2001:db8:f::9"} < set(held(info(api, router)))
    assert [ip["subnet_id"] for ip in info(api, router)["external_fixed_ips"]].count(second) == 1
    assert len(held(info(api, router))) == 3
    mac = gateway_of(api, router)["mac_address"]
    one = {"network_id": out, "external_fixed_ips": [{"ip_address": "203.0.113.10", "subnet_id": first}]}
    changed = api.put("router", router, external_gateway_info=one).body["router"]
    assert held(changed["external_gateway_info"]) == ["203.0.113.10"]
    assert changed["revision_number"] == 2
    again = api.put("router", router, external_gateway_info={"network_id": out}).body["router"]
    assert again == changed, "without addresses it keeps those it has"
    assert api.put("router", router, external_gateway_info={}).body["router"]["external_gateway_info"] is None
    assert api.put("router", router, external_gateway_info={"network_id": out}).status == 200
    assert gateway_of(api, router)["mac_address"] == mac, "neighbours remember it"


def test_a_gateway_translates_unless_it_is_told_not_to(api: Client) -> None:
    out = outside(api)
    way = {"network_id": out}
    router = api.make("router", external_gateway_info={**way, "enable_snat": "no"})["id"]
    assert info(api, router)["enable_snat"] is False
    before = held(info(api, router))
    for asked, expected in (({"enable_snat": True}, True), ({"enable_snat": False}, False), ({}, True)):
        changed = api.put("router", router, external_gateway_info={**way, **asked}).body["router"]
        assert changed["external_gateway_info"]["enable_snat"] is expected
        assert held(changed["external_gateway_info"]) == before


def test_a_gateway_moves_to_another_network(api: Client) -> None:
    one, two = outside(api), outside(api, "198.51.100.0/24")
    router = api.make("router", external_gateway_info={"network_id": one})["id"]
    changed = api.put("router", router, external_gateway_info={"network_id": two}).body["router"]
    assert changed["external_gateway_info"]["network_id"] == two
    assert gateway_of(api, router)["network_id"] == two
    assert api.put("router", router, external_gateway_info=None).status == 200
    assert api.get("/v2.0/ports")["ports"] == []
    assert api.delete("router", router).status == 204


def test_a_router_can_have_its_gateway_before_the_network_has_addresses(api: Client) -> None:
    out = str(api.make("network", **{"router:external": True})["id"])
    router = api.make("router", external_gateway_info={"network_id": out})["id"]
    assert held(info(api, router)) == []
    subnet(api, out, "203.0.113.0/24")
    (four,) = held(info(api, router))
    subnet(api, out, "198.51.100.0/24")
    assert held(info(api, router)) == [four], "one address of each version is enough"
    subnet(api, out, "2001:db8:f::/64")
    assert len(held(info(api, router))) == 2
    automatic = subnet(api, out, "2001:db8:e::/64", ipv6_ra_mode="slaac", ipv6_address_mode="slaac")
    assert automatic in {ip["subnet_id"] for ip in info(api, router)["external_fixed_ips"]}
    assert len(held(info(api, router))) == 3


def test_a_gateway_leaves_out_new_subnets_that_it_cannot_keep_apart(api: Client) -> None:
    out = str(api.make("network", **{"router:external": True})["id"])
    router = api.make("router", external_gateway_info={"network_id": out})["id"]
    for cidr in ("10.0.0.0/24", "2001:db8::/64"):
        join(api, router, subnet_id=inside(api, cidr)[1])
    subnet(api, out, "10.0.0.128/25")
    automatic = subnet(api, out, "2001:db8::/64", ipv6_ra_mode="slaac", ipv6_address_mode="slaac")
    four = subnet(api, out, "203.0.113.0/24")
    assert held(info(api, router)) == [], "it cannot have an address without the automatic one"
    way = {"network_id": out, "external_fixed_ips": [{"subnet_id": four}]}
    assert f"of subnet {automatic} overlaps" in api.put("router", router, external_gateway_info=way).fault[2]
    assert api.delete("subnet", automatic).status == 204
    assert len(held(api.put("router", router, external_gateway_info=way).body["router"]["external_gateway_info"])) == 1


def test_gateways_that_a_new_subnet_has_no_address_for_stay_without(api: Client) -> None:
    out = str(api.make("network", **{"router:external": True})["id"])
    routers = [api.make("router", external_gateway_info={"network_id": out})["id"] for _ in range(2)]
    subnet(api, out, "203.0.113.0/30")
    assert sorted(held(info(api, router)) for router in routers) == [[], ["203.0.113.2"]]


@pytest.mark.parametrize(
    ("asked", "fault"),
    [
        (
            {"network_id": NOBODY},
            (404, "NetworkNotFound", f"Network {NOBODY} could not be found."),
        ),
        (
            {"network_id": "PLAIN"},
            (400, "BadRequest", "Bad router request: Network PLAIN is not an external network."),
        ),
        (
            {"network_id": "OUT", "external_fixed_ips": [{"ip_address": "203.0.113.1"}]},
            (400, "BadRequest", "Bad router request: External IP 203.0.113.1 is the same as the gateway IP."),
        ),
        (
            {"network_id": "OUT", "external_fixed_ips": [{"ip_address": "192.0.2.1"}]},
            (
                400,
                "InvalidIpForNetwork",
                "IP address 192.0.2.1 is not a valid IP for any of the subnets on the specified network.",
            ),
        ),
        (
            {"network_id": "OUT", "external_fixed_ips": [{"ip_address": "203.0.113.77"}]},
            (
                409,
                "IpAddressAlreadyAllocated",
                "IP address 203.0.113.77 already allocated in subnet THERE",
            ),
        ),
        (
            {"network_id": "OUT", "external_fixed_ips": [{"subnet_id": "INSIDE"}]},
            (
                400,
                "InvalidInput",
                "Invalid input for operation: Failed to create port on network OUT, because fixed_ips included invalid "
                "subnet INSIDE.",
            ),
        ),
        (
            {"enable_snat": True},
            (
                400,
                "HTTPBadRequest",
                "Invalid input for external_gateway_info. Reason: Validation of dictionary's keys failed. Expected "
                "keys: {'network_id'} Provided keys: {'enable_snat'}.",
            ),
        ),
        (
            {"network_id": "OUT", "qos_policy_id": NOBODY},
            (
                400,
                "HTTPBadRequest",
                "Invalid input for external_gateway_info. Reason: Unexpected keys supplied: qos_policy_id.",
            ),
        ),
        (
            {"network_id": "out"},
            (400, "HTTPBadRequest", "Invalid input for external_gateway_info. Reason: 'out' is not a valid UUID."),
        ),
        (
            {"network_id": "OUT", "enable_snat": "maybe"},
            (400, "InvalidInput", "Invalid input for operation: 'maybe' cannot be converted to boolean."),
        ),
        (
            "out",
            (400, "HTTPBadRequest", "Invalid input for external_gateway_info. Reason: 'out' is not a dictionary."),
        ),
    ],
)
def test_a_gateway_that_cannot_be_is_refused(api: Client, asked: Any, fault: tuple[int, str, str]) -> None:
    out = outside(api)
    api.make("port", network_id=out, fixed_ips=[{"ip_address": "203.0.113.77"}])
    plain, four = inside(api)
    (there,) = api.get(f"/v2.0/networks/{out}")["network"]["subnets"]
    known = {"OUT": out, "PLAIN": plain, "INSIDE": four, "THERE": there}

    def named(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: named(each) for key, each in value.items()}
        return [named(each) for each in value] if isinstance(value, list) else known.get(value, value)

    status, kind, message = fault
    for short, long in known.items():
        message = message.replace(short, long)
    assert api.post("router", external_gateway_info=named(asked)).fault == (status, kind, message)
    assert api.get("/v2.0/routers")["routers"] == [], "it is not made without its gateway"
    router = api.make("router")["id"]
    assert api.put("router", router, external_gateway_info=named(asked)).fault == (status, kind, message)
    assert info(api, router) is None


def test_a_router_keeps_its_gateway_apart_from_what_it_joins(api: Client) -> None:
    out = outside(api, "203.0.113.0/24", "198.51.100.0/24")
    other, four = inside(api, "198.51.100.128/25")
    router = api.make("router", external_gateway_info={"network_id": out})["id"]
    beyond = on(api, out, "198.51.100.0/24")
    overlap = (
        f"Bad router request: Cidr 198.51.100.128/25 of subnet {four} overlaps with cidr 198.51.100.0/24 "
        f"of subnet {beyond}."
    )
    assert add(api, router, subnet_id=four).fault == (400, "BadRequest", overlap)
    made = api.make("port", network_id=other)["id"]
    assert add(api, router, port_id=made).fault == (400, "BadRequest", overlap)
    mine = info(api, router)["external_fixed_ips"][0]["subnet_id"]
    assert add(api, router, subnet_id=mine).fault[2] == (
        f"Bad router request: Router already has a port on subnet {mine}."
    )
    assert api.put("router", router, external_gateway_info={}).status == 200
    join(api, router, subnet_id=four)
    assert api.put("router", router, external_gateway_info={"network_id": out}).fault == (
        400,
        "BadRequest",
        f"Bad router request: Cidr 198.51.100.0/24 of subnet {beyond} overlaps with cidr 198.51.100.128/25 "
        f"of subnet {four}.",
    )


def test_a_router_is_not_on_a_network_twice(api: Client) -> None:
    out = outside(api)
    (four,) = api.get(f"/v2.0/networks/{out}")["network"]["subnets"]
    router = api.make("router")["id"]
    join(api, router, subnet_id=four)
    assert api.put("router", router, external_gateway_info={"network_id": out}).fault == (
        400,
        "BadRequest",
        f"Bad router request: Router already has a port on subnet {four}.",
    )


def test_routes_go_by_the_gateway_and_hold_it(api: Client) -> None:
    out = outside(api)
    router = api.make("router", external_gateway_info={"network_id": out})["id"]
    (own,) = held(info(api, router))
    assert api.put("router", router, routes=via("192.0.2.0/24>203.0.113.99")).status == 200
    assert api.put("router", router, routes=via(f"192.0.2.0/24>{own}")).fault[1] == "InvalidRoutes"
    status, kind, message = api.put("router", router, external_gateway_info=None).fault
    assert (status, kind) == (400, "InvalidRoutes")
    assert message.endswith("the nexthop is not connected with router")
    taken = {"network_id": out, "external_fixed_ips": [{"ip_address": "203.0.113.99"}]}
    assert api.put("router", router, external_gateway_info=taken).fault[2].endswith("the nexthop is used by router")
    assert held(info(api, router)) == [own]
    assert api.put("router", router, external_gateway_info=None, routes=[]).status == 200
    assert act(api, router, "add_extraroutes", router={"routes": via("192.0.2.0/24>203.0.113.99")}).status == 400


def test_a_gateway_port_belongs_to_its_router_alone(api: Client) -> None:
    out = outside(api)
    router = api.make("router", external_gateway_info={"network_id": out})["id"]
    held_by = gateway_of(api, router)
    assert api.delete("port", held_by["id"]).fault == (
        409,
        "ServicePortInUse",
        f"Port {held_by['id']} cannot be deleted directly via the port API: has device owner {GATEWAY}.",
    )
    for change in ({"device_id": ""}, {"device_owner": ""}, {"mac_address": "02:00:00:00:00:01"}):
        assert api.put("port", held_by["id"], **change).fault[:2] == (409, "UnsupportedPortDeviceOwner")
    taken = api.put("port", held_by["id"], fixed_ips=[{"ip_address": "203.0.113.1"}])
    assert taken.fault[2] == "Bad router request: External IP 203.0.113.1 is the same as the gateway IP."
    assert api.put("port", held_by["id"], fixed_ips=[{"ip_address": "203.0.113.5"}]).status == 200
    assert held(info(api, router)) == ["203.0.113.5"]
    assert act(api, router, "remove_router_interface", port_id=held_by["id"]).fault[:2] == (
        404,
        "RouterInterfaceNotFound",
    )
    assert port(api, held_by["id"])["binding:vif_type"] == "distributed"
    for owner in (GATEWAY, "network:floatingip"):
        made = api.post("port", network_id=out, device_owner=owner, device_id=router)
        assert made.status == (409 if owner == GATEWAY else 201)
    free = api.make("port", network_id=out)["id"]
    assert api.put("port", free, device_owner=GATEWAY, device_id=router).fault[:2] == (
        409,
        "DeviceIDNotOwnedByTenant",
    )


def test_a_gateway_does_not_keep_a_router_but_its_interfaces_do(api: Client) -> None:
    out = outside(api)
    router = api.make("router", external_gateway_info={"network_id": out})["id"]
    join(api, router, subnet_id=inside(api)[1])
    assert api.delete("router", router).fault[:2] == (409, "RouterInUse")
    assert len(held(info(api, router))) == 1
    (door,) = [each for each in api.store.model.where(Port, device_id=router) if each.device_owner != GATEWAY]
    assert act(api, router, "remove_router_interface", port_id=door.id).status == 200
    assert api.delete("router", router).status == 204
    assert api.get("/v2.0/ports")["ports"] == []


def test_a_subnet_stays_while_a_gateway_has_an_address_of_it(api: Client) -> None:
    out = outside(api)
    (four,) = api.get(f"/v2.0/networks/{out}")["network"]["subnets"]
    router = api.make("router", external_gateway_info={"network_id": out})["id"]
    assert api.delete("subnet", four).fault[:2] == (409, "SubnetInUse")
    assert api.put("router", router, external_gateway_info=None).status == 200
    assert api.delete("subnet", four).status == 204


def test_the_extensions_of_external_networks_are_offered(api: Client) -> None:
    offered = {each["alias"] for each in api.get("/v2.0/extensions")["extensions"]}
    assert {"external-net", "subnet-external-network", "ext-gw-mode", "router"} <= offered
    assert api.ask("GET", "/v2.0/extensions/external-gateway-multihoming").status == 404
