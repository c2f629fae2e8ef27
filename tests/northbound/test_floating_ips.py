"""Floating IPs: what they stand for, who says so, and what has to stay meanwhile."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from controller.errors import AssociatedByOthers, Senseless
from controller.model.records import FLOATING, FloatingIp, Port, Tag
from controller.model.store import Transaction
from northbound.api import Settings
from northbound.faults import fault
from northbound.resources import floating_ips, ports
from northbound.resources.attributes import Ask, read_body
from northbound.resources.floating_ips import FLOATING_IPS
from tests.northbound.clouds import (
    Cloud,
    act,
    add,
    floating,
    guest,
    inside,
    join,
    on,
    outside,
    port,
    shown,
    stands_for,
    subnet,
    with_a_way_out,
)
from tests.northbound.served import NOBODY, Client


@pytest.fixture
def cloud(api: Client) -> Cloud:
    return with_a_way_out(api)


# ---- the resource ---------------------------------------------------------------------------------------------


def test_a_floating_ip_is_what_was_asked_for_and_the_rest_is_default(api: Client, cloud: Cloud) -> None:
    made = floating(api, cloud, project_id="p1", description="web")
    address = made["floating_ip_address"]
    assert address.startswith("203.0.113.")
    assert {name: value for name, value in made.items() if name not in ("id", "created_at", "updated_at")} == {
        "description": "web",
        "project_id": "p1",
        "tenant_id": "p1",
        "revision_number": 1,
        "floating_network_id": cloud.out,
        "floating_ip_address": address,
        "router_id": None,
        "port_id": None,
        "fixed_ip_address": None,
        "status": "DOWN",
        "port_details": None,
        "port_forwardings": [],
        "dns_name": "",
        "dns_domain": "",
        "tags": [],
    }
    assert shown(api, made["id"]) == made
    assert api.store.model.get(Tag, f"floatingip/{made['id']}") is not None
    (hidden,) = api.get(f"/v2.0/ports?device_owner={FLOATING}")["ports"]
    assert (hidden["device_id"], hidden["project_id"], hidden["network_id"]) == (made["id"], "", cloud.out)
    assert [ip["ip_address"] for ip in hidden["fixed_ips"]] == [address]
    assert (hidden["port_security_enabled"], hidden["binding:vif_type"]) == (False, "unbound")
    assert api.delete("floatingip", made["id"]).status == 204
    assert api.get(f"/v2.0/ports?device_owner={FLOATING}")["ports"] == []
    assert [tag.id for tag in api.store.model.all(Tag) if tag.space == "floatingip"] == []
    assert api.ask("GET", f"/v2.0/floatingips/{made['id']}").fault == (
        404,
        "FloatingIPNotFound",
        f"Floating IP {made['id']} could not be found",
    )


def test_a_floating_ip_has_the_address_that_was_asked_for(api: Client) -> None:
    out = outside(api, "203.0.113.0/24", "198.51.100.0/24", "2001:db8:f::/64")
    second = on(api, out, "198.51.100.0/24")
    one = api.make("floatingip", floating_network_id=out, floating_ip_address="203.0.113.77")
    two = api.make("floatingip", floating_network_id=out, subnet_id=second)
    three = api.make("floatingip", floating_network_id=out, subnet_id=second, floating_ip_address="198.51.100.7")
    assert one["floating_ip_address"] == "203.0.113.77"
    assert two["floating_ip_address"].startswith("198.51.100.")
    assert three["floating_ip_address"] == "198.51.100.7"
    for each in api.get(f"/v2.0/ports?device_owner={FLOATING}")["ports"]:
        assert len(each["fixed_ips"]) == 1, "an IPv6 address would serve nobody"


@pytest.mark.parametrize(
    ("given", "refusal"),
    [
        ({"floating_network_id": NOBODY}, (404, "NetworkNotFound", f"Network {NOBODY} could not be found.")),
        (
            {"floating_network_id": "PLAIN"},
            (400, "BadRequest", "Bad floatingip request: Network PLAIN is not a valid external network."),
        ),
        (
            {"floating_network_id": "BARE"},
            (400, "BadRequest", "Bad floatingip request: Network BARE does not contain any IPv4 subnet."),
        ),
        (
            {"floating_ip_address": "192.0.2.1"},
            (
                400,
                "InvalidIpForNetwork",
                "IP address 192.0.2.1 is not a valid IP for any of the subnets on the specified network.",
            ),
        ),
        (
            {"floating_ip_address": "192.0.2.1", "subnet_id": "FOUR"},
            (400, "InvalidIpForSubnet", "IP address 192.0.2.1 is not a valid IP for the specified subnet."),
        ),
        (
            {"floating_ip_address": "203.0.113.77"},
            (
                409,
                "IpAddressAlreadyAllocated",
                "IP address 203.0.113.77 already allocated in subnet FOUR",
            ),
        ),
        (
            {"floating_ip_address": "2001:db8:f::9"},
            (400, "ExternalIpAddressExhausted", "Unable to find any IP address on external network OUT."),
        ),
        (
            {"fixed_ip_address": "10.0.0.9"},
            (400, "BadRequest", "Bad floatingip request: fixed_ip_address cannot be specified without a port_id."),
        ),
        ({"port_id": NOBODY}, (404, "PortNotFound", f"Port {NOBODY} could not be found.")),
        (
            {"port_id": "vm1"},
            (400, "HTTPBadRequest", "Invalid input for port_id. Reason: 'vm1' is not a valid UUID."),
        ),
        ({"qos_policy_id": NOBODY}, (400, "HTTPBadRequest", "Unrecognized attribute(s) 'qos_policy_id'")),
        (
            {"router_id": NOBODY},
            (400, "BadRequest", "Bad floatingip request: router_id cannot be specified without a port_id."),
        ),
    ],
)
def test_a_floating_ip_that_cannot_be_is_refused(
    api: Client, given: dict[str, object], refusal: tuple[int, str, str]
) -> None:
    out = outside(api, "203.0.113.0/24", "2001:db8:f::/64")
    bare = outside(api, "2001:db8:e::/64")
    api.make("port", network_id=out, fixed_ips=[{"ip_address": "203.0.113.77"}])
    known = {"OUT": out, "PLAIN": inside(api)[0], "BARE": bare, "FOUR": on(api, out, "203.0.113.0/24")}
    asked = {name: known.get(str(value), value) for name, value in {"floating_network_id": "OUT", **given}.items()}
    status, kind, message = refusal
    for short, long in known.items():
        message = message.replace(short, long)
    before = len(api.get("/v2.0/ports")["ports"])
    assert api.post("floatingip", **asked).fault == (status, kind, message)
    assert len(api.get("/v2.0/ports")["ports"]) == before


def test_floating_ips_run_out(api: Client) -> None:
    out = outside(api, "203.0.113.0/30")
    assert api.make("floatingip", floating_network_id=out)["floating_ip_address"] == "203.0.113.2"
    assert api.post("floatingip", floating_network_id=out).fault == (
        409,
        "IpAddressGenerationFailure",
        f"No more IP addresses available on network {out}.",
    )


def test_several_floating_ips_are_made_at_once_or_none(api: Client, cloud: Cloud) -> None:
    one = {"floating_network_id": cloud.out}
    made = api.ask("POST", "/v2.0/floatingips", {"floatingips": [one, one]}).body["floatingips"]
    assert len({each["floating_ip_address"] for each in made}) == 2
    vm = guest(api, cloud)
    both = [{**one, "port_id": vm}, {**one, "port_id": vm}]
    assert api.ask("POST", "/v2.0/floatingips", {"floatingips": both}).status == 409
    assert len(api.get("/v2.0/floatingips")["floatingips"]) == 2


def test_floating_ips_are_found_by_what_they_are(api: Client, cloud: Cloud) -> None:
    vm = guest(api, cloud, "10.0.0.9")
    one = floating(api, cloud, port_id=vm, project_id="p1", floating_ip_address="203.0.113.50")
    two = floating(api, cloud, project_id="p2", description="spare")
    api.wires.active.add(one["id"])
    for query, expected in (
        ("floating_ip_address=203.0.113.50", [one]),
        (f"floating_network_id={cloud.out}&project_id=p2", [two]),
        (f"router_id={cloud.router}", [one]),
        (f"port_id={vm}", [one]),
        ("fixed_ip_address=10.0.0.9", [one]),
        ("status=DOWN", [two]),
        ("tenant_id=p1", [one]),
        ("description=spare", [two]),
        (f"id={two['id']}", [two]),
        ("floating_ip_address=nonsense", []),
    ):
        found = api.get(f"/v2.0/floatingips?{query}&fields=id")["floatingips"]
        assert [each["id"] for each in found] == [each["id"] for each in expected], query
    ordered = api.get("/v2.0/floatingips?sort_key=fixed_ip_address&sort_dir=desc&limit=1")["floatingips"]
    assert [each["id"] for each in ordered] == [one["id"]]
    assert api.ask("GET", "/v2.0/floatingips?subnet_id=x").status == 400


# ---- what it stands for ---------------------------------------------------------------------------------------


def test_a_floating_ip_stands_for_a_port(api: Client, cloud: Cloud) -> None:
    vm = guest(api, cloud, "10.0.0.9", name="vm1", device_id="i-1", device_owner="compute:nova")
    made = floating(api, cloud, port_id=vm)
    assert stands_for(made) == (cloud.router, vm, "10.0.0.9")
    assert made["port_details"] == {
        "name": "vm1",
        "network_id": cloud.network,
        "mac_address": port(api, vm)["mac_address"],
        "admin_state_up": True,
        "status": "DOWN",
        "device_id": "i-1",
        "device_owner": "compute:nova",
    }
    api.wires.active.update((vm, made["id"]))
    assert (shown(api, made["id"])["status"], shown(api, made["id"])["port_details"]["status"]) == ("ACTIVE", "ACTIVE")


def test_a_floating_ip_that_is_to_change_nothing_lets_go_of_its_port(api: Client, cloud: Cloud) -> None:
    """As a test of Neutron's API has it: once there was nothing else to change."""
    id = floating(api, cloud, port_id=guest(api, cloud))["id"]
    assert api.put("floatingip", id, description="d").body["floatingip"]["port_id"] is not None
    assert api.put("floatingip", id).body["floatingip"]["port_id"] is None


def test_a_floating_ip_goes_from_port_to_port(api: Client, cloud: Cloud) -> None:
    one, two = guest(api, cloud, "10.0.0.9"), guest(api, cloud, "10.0.0.10")
    id = floating(api, cloud)["id"]
    steps: list[tuple[dict[str, object], tuple[str | None, str | None, str | None], int]] = [
        ({"port_id": one}, (cloud.router, one, "10.0.0.9"), 2),
        ({"port_id": one}, (cloud.router, one, "10.0.0.9"), 2),
        ({"description": "web"}, (cloud.router, one, "10.0.0.9"), 3),
        ({"port_id": two}, (cloud.router, two, "10.0.0.10"), 4),
        ({"port_id": None}, (None, None, None), 5),
        ({"port_id": two, "fixed_ip_address": "10.0.0.10"}, (cloud.router, two, "10.0.0.10"), 6),
        ({"port_id": None, "fixed_ip_address": None}, (None, None, None), 7),
    ]
    for change, expected, revision in steps:
        changed = api.put("floatingip", id, **change).body["floatingip"]
        assert (stands_for(changed), changed["revision_number"]) == (expected, revision), change
    for fixed in ("floating_ip_address", "floating_network_id", "project_id"):
        assert api.put("floatingip", id, **{fixed: NOBODY}).fault == (
            400,
            "HTTPBadRequest",
            f"Cannot update read-only attribute {fixed}",
        )


def test_a_port_with_several_addresses_has_a_floating_ip_for_each(api: Client, cloud: Cloud) -> None:
    vm = guest(api, cloud, "10.0.0.9", "10.0.0.10")
    assert api.post("floatingip", floating_network_id=cloud.out, port_id=vm).fault == (
        400,
        "BadRequest",
        f"Bad floatingip request: Port {vm} has multiple fixed IPv4 addresses.  Must provide a specific IPv4 address "
        "when assigning a floating IP.",
    )
    one = floating(api, cloud, port_id=vm, fixed_ip_address="10.0.0.9")
    two = floating(api, cloud, port_id=vm, fixed_ip_address="10.0.0.10")
    assert (stands_for(one)[2], stands_for(two)[2]) == ("10.0.0.9", "10.0.0.10")
    assert api.put("floatingip", one["id"], description="d").body["floatingip"]["fixed_ip_address"] == "10.0.0.9"
    assert api.put("floatingip", one["id"], port_id=vm, fixed_ip_address="10.0.0.10").fault == (
        409,
        "FloatingIPPortAlreadyAssociated",
        f"Cannot associate floating IP {one['floating_ip_address']} ({one['id']}) with port {vm} using fixed IP "
        f"10.0.0.10, as that fixed IP already has a floating IP on external network {cloud.out}.",
    )
    assert api.delete("floatingip", two["id"]).status == 204
    moved = api.put("floatingip", one["id"], port_id=vm, fixed_ip_address="10.0.0.10").body["floatingip"]
    assert stands_for(moved) == (cloud.router, vm, "10.0.0.10")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"fixed_ip_address": "10.0.0.77"},
            "Port VM does not have fixed ip 10.0.0.77",
        ),
        (
            {"fixed_ip_address": "2001:db8::9"},
            "Cannot process floating IP association with 2001:db8::9, since that is not an IPv4 address",
        ),
        (
            {"port_id": "SIX"},
            "Cannot add floating IP to port SIX that has no fixed IPv4 addresses",
        ),
        (
            {"port_id": "SERVER"},
            "Port SERVER is unable to be assigned a floating IP",
        ),
        (
            {"port_id": None, "fixed_ip_address": "10.0.0.9"},
            "fixed_ip_address cannot be specified without a port_id",
        ),
    ],
)
def test_what_a_floating_ip_cannot_stand_for_is_refused(
    api: Client, cloud: Cloud, given: dict[str, object], message: str
) -> None:
    subnet(api, cloud.network, "2001:db8::/64")
    known = {
        "VM": guest(api, cloud, "10.0.0.9"),
        "SIX": guest(api, cloud, "2001:db8::7"),
        "SERVER": guest(api, cloud, "10.0.0.8", device_owner="network:dhcp"),
    }
    asked = {name: known.get(str(value), value) for name, value in {"port_id": "VM", **given}.items()}
    for short, long in known.items():
        message = message.replace(short, long)
    refused = (400, "BadRequest", f"Bad floatingip request: {message}.")
    assert api.post("floatingip", floating_network_id=cloud.out, **asked).fault == refused
    id = floating(api, cloud)["id"]
    assert api.put("floatingip", id, **asked).fault == refused
    assert stands_for(shown(api, id)) == (None, None, None)


def test_a_floating_ip_needs_a_router_between_its_network_and_the_port(api: Client, cloud: Cloud) -> None:
    lonely, four = inside(api, "10.9.0.0/24")
    vm = api.make("port", network_id=lonely)["id"]
    unreachable = (
        404,
        "ExternalGatewayForFloatingIPNotFound",
        f"External network {cloud.out} is not reachable from subnet {four}.  Therefore, cannot associate Port {vm} "
        "with a Floating IP.",
    )
    assert api.post("floatingip", floating_network_id=cloud.out, port_id=vm).fault == unreachable
    id = floating(api, cloud)["id"]
    assert api.put("floatingip", id, port_id=vm).fault == unreachable
    elsewhere = api.make("router", external_gateway_info={"network_id": outside(api, "198.51.100.0/24")})["id"]
    join(api, elsewhere, subnet_id=four)
    assert api.put("floatingip", id, port_id=vm).fault == unreachable
    assert api.put("router", elsewhere, external_gateway_info={"network_id": cloud.out}).status == 200
    assert api.put("floatingip", id, port_id=vm).body["floatingip"]["router_id"] == elsewhere


def test_a_floating_ip_is_at_the_router_that_was_chosen_behind_others_too(api: Client, cloud: Cloud) -> None:
    """What a test of Neutron's API calls an indirect floating IP."""
    hidden, four = inside(api)
    inner, vm = api.make("router")["id"], api.make("port", network_id=hidden)["id"]
    join(api, inner, subnet_id=four)
    assert api.post("floatingip", floating_network_id=cloud.out, port_id=vm).fault[1] == (
        "ExternalGatewayForFloatingIPNotFound"
    )
    asked = {"floating_network_id": cloud.out, "port_id": vm}
    made = api.make("floatingip", **asked, router_id=cloud.router)
    assert made["router_id"] == cloud.router
    refused = api.put("floatingip", made["id"], router_id=inner)
    said = f"Router {inner} has no gateway on external network {cloud.out}, where the floating IP is."
    assert refused.fault == (409, "FloatingIPRouterConflict", said)
    assert api.put("floatingip", made["id"], router_id=None).fault[1] == "ExternalGatewayForFloatingIPNotFound"
    assert api.put("floatingip", made["id"], router_id=NOBODY).fault[:2] == (404, "RouterNotFound")
    assert stands_for(shown(api, made["id"])) == (cloud.router, vm, made["fixed_ip_address"])
    second = api.make("router", external_gateway_info={"network_id": cloud.out})["id"]
    assert api.put("floatingip", made["id"], router_id=second).body["floatingip"]["router_id"] == second
    assert api.put("router", second, external_gateway_info=None).fault[1] == "RouterExternalGatewayInUseByFloatingIp"
    direct = api.put("floatingip", made["id"], port_id=guest(api, cloud)).body["floatingip"]
    assert direct["router_id"] == cloud.router, "of one that nobody chose it follows from the port"
    alone = api.put("floatingip", made["id"], port_id=None).body["floatingip"]
    assert stands_for(alone) == (None, None, None)
    assert api.put("floatingip", made["id"], router_id=second).fault[1] == "BadRequest"


def test_a_router_that_only_joins_an_external_network_is_no_way_to_it(api: Client, cloud: Cloud) -> None:
    second = outside(api, "198.51.100.0/24")
    assert add(api, cloud.router, subnet_id=on(api, second, "198.51.100.0/24")).status == 200
    vm = guest(api, cloud)
    assert api.post("floatingip", floating_network_id=second, port_id=vm).fault[:2] == (
        404,
        "ExternalGatewayForFloatingIPNotFound",
    )


def test_of_two_routers_the_gateway_of_the_subnet_translates(api: Client, cloud: Cloud) -> None:
    second = api.make("router", external_gateway_info={"network_id": cloud.out})["id"]
    network, four = inside(api, "10.5.0.0/24", gateway_ip="10.5.0.9")
    door = api.make("port", network_id=network, fixed_ips=[{"ip_address": "10.5.0.2"}])["id"]
    join(api, cloud.router, port_id=door)
    vm = api.make("port", network_id=network)["id"]
    id = floating(api, cloud)["id"]
    assert api.put("floatingip", id, port_id=vm).body["floatingip"]["router_id"] == cloud.router
    join(api, second, subnet_id=four)
    assert shown(api, id)["router_id"] == cloud.router, "until it is associated anew"
    assert api.put("floatingip", id, port_id=vm).body["floatingip"]["router_id"] == second


def test_a_port_has_a_floating_ip_of_every_external_network(api: Client, cloud: Cloud) -> None:
    second = outside(api, "198.51.100.0/24")
    door = guest(api, cloud, "10.0.0.2")
    other = api.make("router", external_gateway_info={"network_id": second})["id"]
    join(api, other, port_id=door)
    vm = guest(api, cloud, "10.0.0.9")
    one = floating(api, cloud, port_id=vm)
    two = api.make("floatingip", floating_network_id=second, port_id=vm)
    assert (one["router_id"], two["router_id"]) == (cloud.router, other)


# ---- what has to stay -----------------------------------------------------------------------------------------


def test_a_port_that_goes_leaves_its_floating_ip_alone(api: Client, cloud: Cloud) -> None:
    vm = guest(api, cloud, "10.0.0.9", "10.0.0.10")
    made = [floating(api, cloud, port_id=vm, fixed_ip_address=address) for address in ("10.0.0.9", "10.0.0.10")]
    assert api.delete("port", vm).status == 204
    for each in made:
        left = shown(api, each["id"])
        assert (stands_for(left), left["port_details"], left["revision_number"]) == ((None, None, None), None, 2)


def test_a_port_keeps_the_address_that_has_a_floating_ip(api: Client, cloud: Cloud) -> None:
    vm = guest(api, cloud, "10.0.0.9")
    id = floating(api, cloud, port_id=vm)["id"]
    stays = (
        400,
        "BadRequest",
        f"Bad port request: Cannot update the fixed_ips of the port {vm}, because its original fixed_ip has been "
        "associated to a floating ip.",
    )
    for asked in ([{"ip_address": "10.0.0.10"}], []):
        assert api.put("port", vm, fixed_ips=asked).fault == stays
    more = [{"ip_address": "10.0.0.10"}, {"ip_address": "10.0.0.9"}]
    assert api.put("port", vm, fixed_ips=more).status == 200
    assert api.put("port", vm, name="renamed").status == 200
    assert api.put("floatingip", id, port_id=None).status == 200
    assert api.put("port", vm, fixed_ips=[{"ip_address": "10.0.0.11"}]).status == 200


def test_a_router_keeps_what_its_floating_ips_go_by(api: Client, cloud: Cloud) -> None:
    vm = guest(api, cloud)
    id = floating(api, cloud, port_id=vm)["id"]
    (door,) = [
        each
        for each in api.get(f"/v2.0/ports?device_id={cloud.router}")["ports"]
        if "interface" in each["device_owner"]
    ]
    interface_stays = (
        409,
        "RouterInterfaceInUseByFloatingIP",
        f"Router interface for subnet {cloud.subnet} on router {cloud.router} cannot be deleted, as it is required "
        "by one or more floating IPs.",
    )
    for end in ({"subnet_id": cloud.subnet}, {"port_id": door["id"]}):
        assert act(api, cloud.router, "remove_router_interface", **end).fault == interface_stays
    gateway_stays = (
        409,
        "RouterExternalGatewayInUseByFloatingIp",
        f"Gateway cannot be updated for router {cloud.router}, since a gateway to external network {cloud.out} is "
        "required by one or more floating IPs.",
    )
    elsewhere = {"network_id": outside(api, "198.51.100.0/24")}
    for way in (None, {}, elsewhere):
        assert api.put("router", cloud.router, external_gateway_info=way).fault == gateway_stays
    same = {"network_id": cloud.out, "enable_snat": False, "external_fixed_ips": [{"ip_address": "203.0.113.99"}]}
    assert api.put("router", cloud.router, external_gateway_info=same).status == 200
    assert api.put("floatingip", id, port_id=None).status == 200
    assert act(api, cloud.router, "remove_router_interface", subnet_id=cloud.subnet).status == 200
    assert api.put("router", cloud.router, external_gateway_info=elsewhere).status == 200


def test_a_router_leaves_a_subnet_that_no_floating_ip_of_it_is_about(api: Client, cloud: Cloud) -> None:
    _, beside = inside(api, "10.7.0.0/24")
    join(api, cloud.router, subnet_id=beside)
    floating(api, cloud, port_id=guest(api, cloud))
    assert act(api, cloud.router, "remove_router_interface", subnet_id=beside).status == 200


def test_the_port_of_a_floating_ip_belongs_to_it_alone(api: Client, cloud: Cloud) -> None:
    made = floating(api, cloud)
    (hidden,) = api.get(f"/v2.0/ports?device_owner={FLOATING}")["ports"]
    assert api.delete("port", hidden["id"]).fault == (
        409,
        "ServicePortInUse",
        f"Port {hidden['id']} cannot be deleted directly via the port API: has device owner {FLOATING}.",
    )
    for name, value in (("device_id", ""), ("device_owner", ""), ("fixed_ips", [])):
        assert api.put("port", hidden["id"], **{name: value}).fault[:2] == (409, "UnsupportedPortDeviceOwner")
    assert api.put("port", hidden["id"], name="vip").status == 200
    foreign = api.post("port", network_id=cloud.network, device_owner=FLOATING, device_id=made["id"])
    assert foreign.fault[:2] == (409, "DeviceIDNotOwnedByTenant")


@pytest.mark.parametrize("is_admin", [True, False])
def test_an_admin_alone_mixes_projects(api: Client, cloud: Cloud, is_admin: bool) -> None:
    vm = guest(api, cloud, project_id="p1")
    own, theirs = floating(api, cloud, project_id="p1")["id"], floating(api, cloud, project_id="p2")["id"]
    to_vm, ask = read_body(FLOATING_IPS, {"port_id": vm}, False, ""), Ask("x", "p1", is_admin, 0, Settings())
    refused = nullcontext() if is_admin else pytest.raises(Senseless, match="port is owned by a different project")
    tx = Transaction(api.store.model)
    floating_ips.update(tx, tx.need(FloatingIp, own), tx.need(FloatingIp, own), to_vm, ask)
    ports.delete(tx, tx.need(Port, vm), ask)
    assert tx.need(FloatingIp, own).port_id == "", "its own one goes with a port"
    tx = Transaction(api.store.model)
    with refused:
        floating_ips.update(tx, tx.need(FloatingIp, theirs), tx.need(FloatingIp, theirs), to_vm, ask)


def test_a_port_stays_while_it_has_the_floating_ip_of_another_project(api: Client, cloud: Cloud) -> None:
    vm = guest(api, cloud, project_id="p1")
    id = floating(api, cloud, project_id="p2", port_id=vm)["id"]
    tx = Transaction(api.store.model)
    with pytest.raises(AssociatedByOthers) as refusal:
        ports.delete(tx, tx.need(Port, vm), Ask("x", "p1", False, 0, Settings()))
    assert fault(refusal.value)[0] == 409
    assert b"FipAssociated" in fault(refusal.value)[1]
    assert api.delete("port", vm).status == 204, "an administrator decides for both"
    assert shown(api, id)["port_id"] is None
