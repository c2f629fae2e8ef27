"""Routers: what they join, what they refuse, and what their ports may not do without them."""

from __future__ import annotations

import pytest

from controller.model.records import Counter, Tag
from tests.northbound.clouds import act, add, addresses, join, port, subnet, via
from tests.northbound.served import NOBODY, Answer, Client


@pytest.fixture
def router(api: Client) -> str:
    return str(api.make("router", name="r1", project_id="p1")["id"])


def remove(api: Client, router: str, **body: object) -> Answer:
    return act(api, router, "remove_router_interface", **body)


# ---- the resource ---------------------------------------------------------------------------------------------


def test_a_router_is_what_was_asked_for_and_the_rest_is_default(api: Client) -> None:
    made = api.make("router", name="r1", external_gateway_info=None, availability_zone_hints=[])
    assert {name: value for name, value in made.items() if name not in ("id", "created_at", "updated_at")} == {
        "name": "r1",
        "description": "",
        "project_id": "",
        "tenant_id": "",
        "revision_number": 1,
        "tags": [],
        "admin_state_up": True,
        "status": "ACTIVE",
        "external_gateway_info": None,
        "distributed": False,
        "ha": False,
        "routes": [],
        "availability_zone_hints": [],
        "availability_zones": [],
    }
    assert api.store.model.get(Tag, f"router/{made['id']}") is not None
    assert api.delete("router", made["id"]).status == 204
    assert api.store.model.get(Tag, f"router/{made['id']}") is None
    assert api.ask("GET", f"/v2.0/routers/{made['id']}").fault == (
        404,
        "RouterNotFound",
        f"Router {made['id']} could not be found",
    )


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (
            {"routes": []},
            (400, "HTTPBadRequest", "Attribute 'routes' not allowed in POST"),
        ),
        ({"status": "DOWN"}, (400, "HTTPBadRequest", "Attribute 'status' not allowed in POST")),
        (
            {"availability_zone_hints": ["nova"]},
            (404, "AvailabilityZoneNotFound", "AvailabilityZone nova could not be found."),
        ),
        (
            {"ha": "perhaps"},
            (400, "InvalidInput", "Invalid input for operation: 'perhaps' cannot be converted to boolean."),
        ),
        ({"flavor_id": NOBODY}, (400, "HTTPBadRequest", "Unrecognized attribute(s) 'flavor_id'")),
    ],
)
def test_a_router_that_cannot_be_is_refused(api: Client, given: dict[str, object], fault: tuple[int, str, str]) -> None:
    assert api.post("router", **given).fault == fault
    assert api.changes == []


def test_routers_are_found_sorted_and_shown_in_part(api: Client) -> None:
    api.make("router", name="b", distributed=True)
    api.make("router", name="a", ha=True, admin_state_up=False)
    api.make("router", name="c", project_id="p1")

    def names(query: str) -> list[str]:
        return [each["name"] for each in api.get(f"/v2.0/routers?{query}")["routers"]]

    assert names("sort_key=name&sort_dir=desc") == ["c", "b", "a"]
    assert names("distributed=True") == ["b"]
    assert names("ha=true") == ["a"]
    assert names("admin_state_up=False") == ["a"]
    assert names("project_id=p1") == names("tenant_id=p1") == names("name=c") == ["c"]
    assert api.get("/v2.0/routers?name=b&fields=name&fields=distributed") == {
        "routers": [{"name": "b", "distributed": True}]
    }


def test_a_router_is_another_sort_only_after_it_is_down(api: Client, router: str, red: str) -> None:
    held = join(api, router, subnet_id=subnet(api, red))
    assert port(api, held)["device_owner"] == "network:router_interface"
    for given, what in (({"distributed": True}, "the 'distributed' attribute"), ({"ha": True}, "HA attribute")):
        assert api.put("router", router, **given).fault == (
            400,
            "BadRequest",
            f"Bad router request: Cannot change {what} of active routers. "
            "Please set router admin_state_up to False prior to upgrade.",
        )
    assert api.put("router", router, distributed=True, admin_state_up=False).fault[1] == "BadRequest"
    assert api.put("router", router, distributed=False, ha=None).status == 200, "nothing would change"
    assert api.put("router", router, ha=True, admin_state_up=False).body["router"]["ha"] is True
    assert port(api, held)["device_owner"] == "network:ha_router_replicated_interface"
    both = api.put("router", router, distributed=True).body["router"]
    assert (both["distributed"], both["ha"]) == (True, True)
    assert port(api, held)["device_owner"] == "network:router_interface_distributed"
    other = join(api, router, subnet_id=subnet(api, red, "10.0.1.0/24"))
    assert port(api, other)["device_owner"] == "network:router_interface_distributed"
    assert remove(api, router, port_id=held).status == 200


def test_a_router_with_interfaces_stays(api: Client, router: str, red: str) -> None:
    held = join(api, router, subnet_id=subnet(api, red))
    assert api.delete("router", router).fault == (
        409,
        "RouterInUse",
        f"Router {router} has ports still attached: {held}",
    )
    assert remove(api, router, port_id=held).status == 200
    assert api.delete("router", router).status == 204


def test_a_change_can_ask_for_the_revision_it_knows(api: Client, router: str, red: str) -> None:
    body = {"subnet_id": subnet(api, red)}
    path = f"/v2.0/routers/{router}/add_router_interface"
    assert api.ask("PUT", path, body, If_Match="revision_number=7").fault[:2] == (412, "RevisionNumberConstraintFailed")
    assert api.ask("PUT", path, body, If_Match="revision_number=1").status == 200
    assert api.get(f"/v2.0/routers/{router}")["router"]["revision_number"] == 2
    assert remove(api, router, **body).status == 200
    assert api.get(f"/v2.0/routers/{router}")["router"]["revision_number"] == 3


# ---- interfaces -----------------------------------------------------------------------------------------------


def test_a_router_joins_a_subnet_by_its_gateway_address(api: Client, router: str, red: str) -> None:
    four = subnet(api, red)
    done = add(api, router, subnet_id=four)
    made = port(api, done.body["port_id"])
    told = {
        "id": router,
        "project_id": "p1",
        "tenant_id": "p1",
        "port_id": made["id"],
        "network_id": red,
        "subnet_id": four,
        "subnet_ids": [four],
    }
    assert (done.status, done.body) == (200, told)
    shown = ("name", "project_id", "network_id", "device_id", "device_owner", "fixed_ips", "port_security_enabled")
    assert {name: made[name] for name in (*shown, "security_groups", "admin_state_up")} == {
        "name": "",
        "project_id": "p1",
        "network_id": red,
        "device_id": router,
        "device_owner": "network:router_interface",
        "fixed_ips": [{"subnet_id": four, "ip_address": "10.0.0.1"}],
        "port_security_enabled": False,
        "security_groups": [],
        "admin_state_up": True,
    }
    assert (made["binding:vif_type"], made["binding:host_id"], made["binding:vif_details"]) == ("distributed", "", {})
    assert api.get(f"/v2.0/ports?device_id={router}")["ports"] == [made]
    gone = remove(api, router, subnet_id=four)
    assert (gone.status, gone.body) == (200, told)
    assert api.get("/v2.0/ports")["ports"] == []


def test_a_router_takes_a_port_that_somebody_made(api: Client, router: str, red: str) -> None:
    four, six = subnet(api, red), subnet(api, red, "2001:db8::/64")
    made = api.make(
        "port",
        network_id=red,
        name="door",
        project_id="p2",
        fixed_ips=[{"ip_address": "10.0.0.9"}, {"ip_address": "2001:db8::9"}],
        allowed_address_pairs=[{"ip_address": "10.0.0.77"}],
    )
    told = {
        "id": router,
        "project_id": "p2",
        "tenant_id": "p2",
        "port_id": made["id"],
        "network_id": red,
        "subnet_id": six,
        "subnet_ids": [four, six],
    }
    done = add(api, router, port_id=made["id"])
    assert (done.status, done.body) == (200, told)
    taken = port(api, made["id"])
    assert (taken["name"], taken["device_id"], taken["device_owner"]) == ("door", router, "network:router_interface")
    assert addresses(taken) == ["10.0.0.9", "2001:db8::9"]
    assert (taken["port_security_enabled"], taken["security_groups"], taken["allowed_address_pairs"]) == (False, [], [])
    gone = remove(api, router, port_id=made["id"], subnet_id=six)
    assert (gone.status, gone.body) == (200, {**told, "subnet_id": four}), "the port goes, with all that it was on"
    assert api.ask("GET", f"/v2.0/ports/{made['id']}").status == 404


def test_several_ipv4_subnets_of_a_network_are_several_interfaces(api: Client, router: str, red: str) -> None:
    first, second = subnet(api, red), subnet(api, red, "10.0.1.0/24")
    one, other = join(api, router, subnet_id=first), join(api, router, subnet_id=second)
    assert addresses(port(api, one)) == ["10.0.0.1"]
    assert addresses(port(api, other)) == ["10.0.1.1"]
    assert remove(api, router, subnet_id=first).body["port_id"] == one
    assert [each["id"] for each in api.get("/v2.0/ports")["ports"]] == [other]


def test_the_ipv6_subnets_of_a_network_are_one_interface(api: Client, router: str, red: str) -> None:
    first = subnet(api, red, "2001:db8::/64", ipv6_ra_mode="slaac", ipv6_address_mode="slaac")
    second = subnet(api, red, "2001:db8:1::/64")
    one = add(api, router, subnet_id=first).body
    more = add(api, router, subnet_id=second).body
    assert (more["port_id"], more["subnet_id"], more["subnet_ids"]) == (one["port_id"], second, [second])
    assert addresses(port(api, one["port_id"])) == ["2001:db8::1", "2001:db8:1::1"]
    assert join(api, router, subnet_id=subnet(api, red)) != one["port_id"], "IPv4 has a port of its own"
    late = subnet(api, red, "2001:db8:2::/64", ipv6_ra_mode="slaac", ipv6_address_mode="slaac")
    assert len(port(api, one["port_id"])["fixed_ips"]) == 2, "a router forms no address on a new SLAAC subnet"
    less = remove(api, router, subnet_id=first).body
    assert (less["port_id"], less["subnet_ids"]) == (one["port_id"], [first])
    assert addresses(port(api, one["port_id"])) == ["2001:db8:1::1"]
    assert remove(api, router, subnet_id=late).fault[1] == "RouterInterfaceNotFoundForSubnet"
    assert remove(api, router, subnet_id=second).status == 200
    assert api.ask("GET", f"/v2.0/ports/{one['port_id']}").status == 404


def test_an_ipv6_port_beside_another_of_its_network_is_refused(api: Client, router: str, red: str) -> None:
    subnet(api, red, "2001:db8:1::/64")
    held = join(api, router, subnet_id=subnet(api, red, "2001:db8::/64"))
    other = api.make("port", network_id=red, fixed_ips=[{"ip_address": "2001:db8:1::1"}])["id"]
    assert add(api, router, port_id=other).fault == (
        400,
        "BadRequest",
        f"Bad router request: Router already contains IPv6 port {held} belonging to network id {red}. Only one IPv6 "
        "port from the same network subnet can be connected to a router..",
    )


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "Either subnet_id or port_id must be specified"),
        ({"subnet": NOBODY}, "Either subnet_id or port_id must be specified"),
        ({"port_id": NOBODY, "subnet_id": NOBODY}, "Cannot specify both subnet-id and port-id"),
        ({"port_id": "x"}, "'x' is not a valid UUID"),
        ({"subnet_id": None}, "'None' is not a valid UUID"),
    ],
)
def test_an_interface_is_one_port_or_one_subnet(api: Client, router: str, body: dict[str, object], said: str) -> None:
    assert add(api, router, **body).fault == (400, "BadRequest", f"Bad router request: {said}.")


def test_what_does_not_exist_is_not_joined(api: Client, router: str) -> None:
    assert add(api, router, subnet_id=NOBODY).fault == (
        404,
        "SubnetNotFound",
        f"Subnet {NOBODY} could not be found.",
    )
    assert add(api, router, port_id=NOBODY).fault == (404, "PortNotFound", f"Port {NOBODY} could not be found.")
    assert add(api, NOBODY, subnet_id=NOBODY).fault == (
        404,
        "RouterNotFound",
        f"Router {NOBODY} could not be found",
    )
    assert act(api, router, "add_router_something").status == 404
    assert api.ask("POST", f"/v2.0/routers/{router}/add_router_interface", {}).status == 405


def test_a_subnet_that_cannot_be_joined_is_refused(api: Client, router: str, red: str) -> None:
    alone = subnet(api, red, "10.9.0.0/24", gateway_ip=None)
    foreign = subnet(api, api.make("network")["id"], "2001:db8::/64", ipv6_address_mode="slaac")
    four = subnet(api, red)
    holder = api.make("port", network_id=red, fixed_ips=[{"ip_address": "10.0.0.1"}])["id"]
    before = len(api.changes)
    assert add(api, router, subnet_id=alone).fault == (
        400,
        "BadRequest",
        "Bad router request: Subnet for router interface must have a gateway IP.",
    )
    assert add(api, router, subnet_id=foreign).fault == (
        400,
        "BadRequest",
        f"Bad router request: IPv6 subnet {foreign} configured to receive RAs from an external router "
        "cannot be added to Neutron Router.",
    )
    assert add(api, router, subnet_id=four).fault == (
        409,
        "IpAddressAlreadyAllocated",
        f"IP address 10.0.0.1 already allocated in subnet {four}",
    )
    assert len(api.changes) == before
    assert add(api, router, port_id=holder).status == 200, "but the port that holds it can be the router's"


def test_subnets_of_a_router_share_no_address(api: Client, router: str, red: str) -> None:
    four = subnet(api, red)
    join(api, router, subnet_id=four)
    assert add(api, router, subnet_id=four).fault == (
        400,
        "BadRequest",
        f"Bad router request: Router already has a port on subnet {four}.",
    )
    blue = api.make("network")["id"]
    wider = subnet(api, blue, "10.0.0.0/16", gateway_ip="10.0.9.1")
    said = f"Bad router request: Cidr 10.0.0.0/16 of subnet {wider} overlaps with cidr 10.0.0.0/24 of subnet {four}."
    assert add(api, router, subnet_id=wider).fault == (400, "BadRequest", said)
    door = api.make("port", network_id=blue, fixed_ips=[{"ip_address": "10.0.9.9"}])["id"]
    assert add(api, router, port_id=door).fault == (400, "BadRequest", said)
    other = api.make("router")["id"]
    assert add(api, other, port_id=door).status == 200, "another router may"


def test_a_port_that_cannot_be_an_interface_is_refused(api: Client, router: str, red: str) -> None:
    bare = api.make("port", network_id=red)["id"]
    assert add(api, router, port_id=bare).fault == (
        400,
        "BadRequest",
        "Bad router request: Router port must have at least one fixed IP.",
    )
    first, second = subnet(api, red), subnet(api, red, "10.0.1.0/24")
    many = "Bad router request: Cannot have multiple IPv4 subnets on router port."
    for subnets in ([first, second], [first, first]):
        both = api.make("port", network_id=red, fixed_ips=[{"subnet_id": id} for id in subnets])["id"]
        assert add(api, router, port_id=both).fault == (400, "BadRequest", many)
    guest = api.make("port", network_id=red, device_id="vm1", device_owner="compute:nova")["id"]
    assert add(api, router, port_id=guest).fault == (
        409,
        "PortInUse",
        f"Unable to complete operation on port {guest} for network {red}. Port already has an attached device vm1.",
    )


def test_only_what_is_joined_can_be_left(api: Client, router: str, red: str) -> None:
    four, guest = subnet(api, red), api.make("port", network_id=red)["id"]
    other = subnet(api, red, "10.0.1.0/24")
    assert remove(api, router, subnet_id=four).fault == (
        404,
        "RouterInterfaceNotFoundForSubnet",
        f"Router {router} has no interface on subnet {four}",
    )
    assert remove(api, router, port_id=guest).fault == (
        404,
        "RouterInterfaceNotFound",
        f"Router {router} does not have an interface with id {guest}",
    )
    held = join(api, router, subnet_id=four)
    assert remove(api, router, port_id=held, subnet_id=other).fault == (
        400,
        "SubnetMismatchForPort",
        f"Subnet on port {held} does not match the requested subnet {other}.",
    )
    assert remove(api, router, subnet_id=NOBODY).fault[1] == "SubnetNotFound"
    assert remove(api, router).fault[1] == "BadRequest"
    elsewhere = api.make("router")["id"]
    assert remove(api, elsewhere, port_id=held).fault[1] == "RouterInterfaceNotFound"


# ---- what others may do to an interface -------------------------------------------------------------------------


def test_an_interface_is_not_deleted_as_a_port(api: Client, router: str, red: str) -> None:
    four = subnet(api, red)
    held = join(api, router, subnet_id=four)
    assert api.delete("port", held).fault == (
        409,
        "ServicePortInUse",
        f"Port {held} cannot be deleted directly via the port API: has device owner network:router_interface.",
    )
    assert api.delete("subnet", four).fault == (
        409,
        "SubnetInUse",
        f"Unable to complete operation on subnet {four}: One or more ports have an IP allocation from this subnet.",
    )
    assert api.delete("network", red).fault == (
        409,
        "NetworkInUse",
        f"Unable to complete operation on network {red}. There are one or more ports still in use on the network, "
        f"id for these ports is: {held}.",
    )


def test_an_automatic_subnet_with_a_router_stays(api: Client, router: str, red: str) -> None:
    six = subnet(api, red, "2001:db8::/64", ipv6_ra_mode="slaac", ipv6_address_mode="slaac")
    api.make("port", network_id=red)
    join(api, router, subnet_id=six)
    assert api.delete("subnet", six).fault[1] == "SubnetInUse"
    assert remove(api, router, subnet_id=six).status == 200
    assert api.delete("subnet", six).status == 204


def test_a_gateway_that_a_router_has_stays(api: Client, router: str, red: str) -> None:
    four = subnet(api, red)
    held = join(api, router, subnet_id=four)
    for gateway in ("10.0.0.254", None):
        assert api.put("subnet", four, gateway_ip=gateway, allocation_pools=[]).fault == (
            409,
            "GatewayIpInUse",
            f"Current gateway ip 10.0.0.1 already in use by port {held}. Unable to update.",
        )
    assert api.put("subnet", four, gateway_ip="10.0.0.1", name="n").status == 200
    assert remove(api, router, port_id=held).status == 200
    assert api.put("subnet", four, gateway_ip=None).status == 200


def test_a_gateway_that_a_guest_has_may_change(api: Client, red: str) -> None:
    four = subnet(api, red)
    api.make("port", network_id=red, fixed_ips=[{"ip_address": "10.0.0.1"}])
    assert api.put("subnet", four, gateway_ip=None).status == 200


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (
            {"device_id": ""},
            (
                409,
                "UnsupportedPortDeviceOwner",
                "Operation device_id update is not supported for device_owner network:router_interface on port {}.",
            ),
        ),
        (
            {"device_owner": "compute:nova"},
            (
                409,
                "UnsupportedPortDeviceOwner",
                "Operation device_owner update is not supported for device_owner network:router_interface on port {}.",
            ),
        ),
        (
            {"mac_address": "02:00:00:00:00:01"},
            (
                409,
                "UnsupportedPortDeviceOwner",
                "Operation mac address update is not supported for device_owner network:router_interface on port {}.",
            ),
        ),
        (
            {"fixed_ips": [{"ip_address": "10.0.0.7"}]},
            (400, "IPAddressChangeNotAllowed", "IP updates for port {} are not allowed"),
        ),
        (
            {"fixed_ips": []},
            (400, "IPAddressChangeNotAllowed", "IP updates for port {} are not allowed"),
        ),
        (
            {"fixed_ips": [{"ip_address": "10.0.0.1"}, {"ip_address": "10.0.0.2"}]},
            (400, "IPAddressChangeNotAllowed", "IP updates for port {} are not allowed"),
        ),
    ],
)
def test_an_interface_stays_what_it_is(
    api: Client, router: str, red: str, given: dict[str, object], fault: tuple[int, str, str]
) -> None:
    held = join(api, router, subnet_id=subnet(api, red))
    before = port(api, held)
    status, kind, said = fault
    assert api.put("port", held, **given).fault == (status, kind, said.format(held))
    assert port(api, held) == before


def test_the_rest_of_an_interface_may_change(api: Client, router: str, red: str) -> None:
    held = join(api, router, subnet_id=subnet(api, red))
    same = {name: port(api, held)[name] for name in ("device_id", "device_owner", "mac_address", "fixed_ips")}
    changed = api.put("port", held, name="door", description="d", admin_state_up=False, **same).body["port"]
    assert (changed["name"], changed["description"], changed["admin_state_up"]) == ("door", "d", False)
    assert {name: changed[name] for name in same} == same


def test_the_ipv6_addresses_of_an_interface_change_within_what_a_router_can_be(
    api: Client, router: str, red: str
) -> None:
    first, second = subnet(api, red, "2001:db8::/64"), subnet(api, red, "2001:db8:1::/64")
    blue = api.make("network")["id"]
    join(api, router, subnet_id=subnet(api, blue, "2001:db8:1::/48"))
    held = join(api, router, subnet_id=first)
    assert addresses(api.put("port", held, fixed_ips=[{"ip_address": "2001:db8::7"}]).body["port"]) == ["2001:db8::7"]
    moved = api.put("port", held, fixed_ips=[{"subnet_id": second}])
    assert moved.fault[:2] == (400, "BadRequest")
    assert f"Cidr 2001:db8:1::/64 of subnet {second} overlaps" in moved.fault[2]
    assert api.put("port", held, fixed_ips=[]).fault == (
        400,
        "BadRequest",
        "Bad router request: Router port must have at least one fixed IP.",
    )
    third = subnet(api, red, "2001:db8:fff0::/64")
    assert act(api, router, "add_extraroutes", router={"routes": via("2001:db8:9::/64>2001:db8::9")}).status == 200
    assert api.put("port", held, fixed_ips=[{"subnet_id": third}]).fault[1] == "RouterInterfaceInUseByRoute"
    both = api.put("port", held, fixed_ips=[{"subnet_id": first}, {"subnet_id": third}]).body["port"]
    assert addresses(both) == ["2001:db8::7", "2001:db8:fff0::2"]


def test_a_port_becomes_an_interface_by_its_router_alone(api: Client, router: str, red: str) -> None:
    subnet(api, red)
    given = {"device_id": router, "device_owner": "network:router_interface"}
    fault = (
        409,
        "DeviceIDNotOwnedByTenant",
        f"The following device_id {router} is not owned by your project or matches another project router.",
    )
    assert api.post("port", network_id=red, **given).fault == fault
    guest = api.make("port", network_id=red)["id"]
    assert api.put("port", guest, **given).fault == fault
    assert api.put("port", guest, device_owner="network:router_interface").status == 200, "it is nobody's"
    assert api.put("port", guest, device_id=router).fault == fault
    assert api.delete("port", guest).status == 204


# ---- routes ---------------------------------------------------------------------------------------------------


@pytest.fixture
def joined(api: Client, router: str, red: str) -> str:
    """A router on 10.0.0.0/24 and 10.0.1.0/24."""
    for cidr in ("10.0.0.0/24", "10.0.1.0/24"):
        join(api, router, subnet_id=subnet(api, red, cidr))
    return router


def test_routes_are_replaced_added_and_taken(api: Client, joined: str) -> None:
    first, second, third = "192.0.2.0/24>10.0.0.9", "192.0.2.0/24>10.0.1.9", "0.0.0.0/0>10.0.0.9"

    def changed(action: str, *routes: str) -> list[dict[str, str]]:
        answer = act(api, joined, action, router={"routes": via(*routes)})
        assert answer.status == 200, answer.text
        assert answer.body["router"].keys() == api.get(f"/v2.0/routers/{joined}")["router"].keys()
        return list(answer.body["router"]["routes"])

    assert api.put("router", joined, routes=via(first)).body["router"]["routes"] == via(first)
    assert changed("add_extraroutes", third, first) == via(first, third)
    assert changed("add_extraroutes", second) == via(first, third, second), "several ways to one destination"
    assert changed("remove_extraroutes", first, "198.51.100.0/24>10.0.0.9") == via(third, second)
    assert api.put("router", joined, name="n").body["router"]["routes"] == via(third, second)
    assert api.put("router", joined, routes=None).body["router"]["routes"] == []


def test_a_route_that_leads_nowhere_is_refused(api: Client, joined: str) -> None:
    shown = "[{'destination': '192.0.2.0/24', 'nexthop': '%s'}]"
    for hop, reason in (
        ("10.9.9.9", "the nexthop is not connected with router"),
        ("10.0.1.1", "the nexthop is used by router"),
    ):
        fault = (400, "InvalidRoutes", f"Invalid format for routes: {shown % hop}, {reason}")
        routes = via(f"192.0.2.0/24>{hop}")
        assert api.put("router", joined, routes=routes).fault == fault
        assert act(api, joined, "add_extraroutes", router={"routes": routes}).fault == fault
    assert api.get(f"/v2.0/routers/{joined}")["router"]["routes"] == []


@pytest.mark.parametrize(
    ("routes", "said"),
    [
        ("x", "Invalid data format for hostroute: 'x'"),
        (via("192.0.2.1/24>10.0.0.9"), "'192.0.2.1/24' is not a valid CIDR"),
        (via("192.0.2.0/24>10.0.0"), "'10.0.0' is not a valid IP address"),
        (
            via("192.0.2.0/24>10.0.0.9", "192.0.2.0/24>10.0.0.9"),
            "Duplicate hostroute '192.0.2.0/24 via 10.0.0.9'",
        ),
        (
            [{"destination": "192.0.2.0/24"}],
            "Validation of dictionary's keys failed. Expected keys: ['destination', 'nexthop'] "
            "Provided keys: ['destination']",
        ),
    ],
)
def test_what_is_no_route_is_refused(api: Client, joined: str, routes: object, said: str) -> None:
    fault = (400, "HTTPBadRequest", f"Invalid input for routes. Reason: {said}.")
    assert api.put("router", joined, routes=routes).fault == fault
    for action in ("add_extraroutes", "remove_extraroutes"):
        assert act(api, joined, action, router={"routes": routes}).fault == fault


def test_routes_are_asked_for_by_name(api: Client, joined: str) -> None:
    bodies: list[dict[str, object]] = [{}, {"router": {}}, {"router": None}, {"routes": []}]
    for body in bodies:
        assert act(api, joined, "add_extraroutes", **body).fault == (
            400,
            "BadRequest",
            "Bad router request: Missing 'routes' in the request body.",
        )


def test_a_router_has_so_many_routes_and_no_more(api: Client, joined: str) -> None:
    routes = via(*(f"192.0.{place}.0/24>10.0.0.9" for place in range(31)))
    most = api.put("router", joined, routes=routes[:30])
    assert (most.status, len(most.body["router"]["routes"])) == (200, 30)
    fault = (409, "OverQuota", "Quota exceeded for resources: ['router_route'].")
    assert act(api, joined, "add_extraroutes", router={"routes": routes[30:]}).fault == fault
    assert api.put("router", joined, routes=routes).fault == fault
    assert act(api, joined, "add_extraroutes", router={"routes": routes[:5]}).status == 200, "they are there already"


def test_an_interface_that_a_route_goes_by_stays(api: Client, joined: str, red: str) -> None:
    api.put("router", joined, routes=via("192.0.2.0/24>10.0.1.9"))
    ports = {addresses(each)[0]: each for each in api.get(f"/v2.0/ports?device_id={joined}")["ports"]}
    needed = ports["10.0.1.1"]
    on = needed["fixed_ips"][0]["subnet_id"]
    fault = (
        409,
        "RouterInterfaceInUseByRoute",
        f"Router interface for subnet {on} on router {joined} cannot be deleted, "
        "as it is required by one or more routes.",
    )
    assert remove(api, joined, subnet_id=on).fault == fault
    assert remove(api, joined, port_id=needed["id"]).fault == fault
    assert remove(api, joined, port_id=ports["10.0.0.1"]["id"]).status == 200
    assert api.put("router", joined, routes=[]).status == 200
    assert remove(api, joined, subnet_id=on).status == 200


def test_what_a_router_leaves_can_be_given_to_others(api: Client, router: str, red: str) -> None:
    six = subnet(api, red, "2001:db8::/126", allocation_pools=[{"start": "2001:db8::2", "end": "2001:db8::2"}])
    other = subnet(api, red, "2001:db8:1::/64")
    join(api, router, subnet_id=other)
    held = join(api, router, subnet_id=six)
    api.put("port", held, fixed_ips=[{"subnet_id": other}, {"subnet_id": six}, {"ip_address": "2001:db8::2"}])
    assert api.post("port", network_id=red, fixed_ips=[{"subnet_id": six}]).fault[1] == "IpAddressGenerationFailure"
    assert remove(api, router, subnet_id=six).status == 200
    guest = api.make("port", network_id=red, fixed_ips=[{"subnet_id": six}])
    assert addresses(guest) == ["2001:db8::2"]
    assert api.store.model.get(Counter, f"ipam/{six}") is not None


def test_the_extensions_of_routers_are_offered(api: Client) -> None:
    offered = {each["alias"] for each in api.get("/v2.0/extensions")["extensions"]}
    assert offered >= {
        "dvr",
        "extraroute",
        "extraroute-atomic",
        "l3-ha",
        "l3-port-ip-change-not-allowed",
        "router",
        "router-admin-state-down-before-update",
        "router_availability_zone",
    }
    assert not offered & {"ecmp_routes", "l3-flavors"}
