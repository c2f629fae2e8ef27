"""Port forwardings: which ports of a floating IP stand for which of whom."""

from __future__ import annotations

from typing import Any

import pytest

from controller.model.records import Severed
from controller.model.store import Transaction
from controller.model.translations import FIRST, allot
from tests.northbound.clouds import (
    Cloud,
    act,
    floating,
    guest,
    inside,
    join,
    on,
    outside,
    shown,
    stands_for,
    subnet,
    with_a_way_out,
)
from tests.northbound.served import NOBODY, Answer, Client


@pytest.fixture
def cloud(api: Client) -> Cloud:
    return with_a_way_out(api)


@pytest.fixture
def vm(api: Client, cloud: Cloud) -> str:
    return guest(api, cloud, "10.0.0.9")


@pytest.fixture
def door(api: Client, cloud: Cloud) -> str:
    """A floating IP."""
    return str(floating(api, cloud, project_id="p1")["id"])


def path(floating_ip: str, id: str = "") -> str:
    return f"/v2.0/floatingips/{floating_ip}/port_forwardings" + (f"/{id}" if id else "")


def ask(api: Client, floating_ip: str, port: str, **given: object) -> Answer:
    """One from TCP port 2222 to 22 of 10.0.0.9, unless something else is asked for."""
    asked = {"protocol": "tcp", "internal_port_id": port, "internal_ip_address": "10.0.0.9", **given}
    if not given.keys() & {"external_port", "external_port_range"}:
        asked["external_port"] = 2222
    if not given.keys() & {"internal_port", "internal_port_range"}:
        asked["internal_port"] = 22
    return api.ask("POST", path(floating_ip), {"port_forwarding": asked})


def forward(api: Client, floating_ip: str, port: str, **given: object) -> Any:
    answer = ask(api, floating_ip, port, **given)
    assert answer.status == 201, answer.text
    return answer.body["port_forwarding"]


def change(api: Client, floating_ip: str, id: str, **given: object) -> Answer:
    return api.ask("PUT", path(floating_ip, id), {"port_forwarding": given})


def listed(api: Client, floating_ip: str, query: str = "") -> list[Any]:
    return list(api.get(f"{path(floating_ip)}?{query}")["port_forwardings"])


def senseless(reason: str) -> tuple[int, str, str]:
    return 400, "BadRequest", f"Bad port_forwarding request: {reason}."


# ---- the resource ---------------------------------------------------------------------------------------------


def test_a_port_forwarding_is_what_was_asked_for(api: Client, cloud: Cloud, vm: str, door: str) -> None:
    made = forward(api, door, vm, description="ssh")
    assert made == {
        "id": made["id"],
        "description": "ssh",
        "protocol": "tcp",
        "external_port": 2222,
        "external_port_range": "2222:2222",
        "internal_port": 22,
        "internal_port_range": "22:22",
        "internal_ip_address": "10.0.0.9",
        "internal_port_id": vm,
    }
    assert api.get(path(door, made["id"]))["port_forwarding"] == made
    assert listed(api, door) == [made]
    held = shown(api, door)
    assert (stands_for(held), held["revision_number"]) == ((cloud.router, None, None), 2)
    assert held["port_forwardings"] == [
        {
            "id": made["id"],
            "protocol": "tcp",
            "external_port": 2222,
            "internal_port": 22,
            "internal_ip_address": "10.0.0.9",
            "internal_port_id": vm,
        }
    ]
    assert api.ask("DELETE", path(door, made["id"])).status == 204
    assert stands_for(shown(api, door)) == (None, None, None)
    assert api.ask("GET", path(door, made["id"])).fault == (
        404,
        "PortForwardingNotFound",
        f"Port Forwarding {made['id']} could not be found.",
    )


def test_ranges_of_ports_stand_for_ranges_or_for_one(api: Client, cloud: Cloud, vm: str, door: str) -> None:
    many = forward(api, door, vm, external_port_range="8000:8009", internal_port_range="80:89")
    one = forward(api, door, vm, external_port_range="9000:9009", internal_port="443")
    single = forward(api, door, vm, external_port_range="53", internal_port_range="53:53", protocol="udp")
    ports = ("external_port", "external_port_range", "internal_port", "internal_port_range")
    assert [[each[name] for name in ports] for each in (many, one, single)] == [
        [None, "8000:8009", None, "80:89"],
        [None, "9000:9009", 443, "443:443"],
        [53, "53:53", 53, "53:53"],
    ]
    assert "external_port" not in next(
        each for each in shown(api, door)["port_forwardings"] if each["id"] == many["id"]
    )


def test_port_forwardings_are_found_by_what_they_are(api: Client, cloud: Cloud, vm: str, door: str) -> None:
    one = forward(api, door, vm, description="ssh")
    two = forward(api, door, vm, external_port_range="8000:8009", internal_port_range="80:89", protocol="udp")
    elsewhere = floating(api, cloud)["id"]
    forward(api, elsewhere, vm, internal_port=23)
    for query, expected in (
        ("external_port=2222", [one]),
        ("external_port_range=2222", [one]),
        ("external_port_range=8000:8009", [two]),
        ("protocol=udp", [two]),
        (f"internal_port_id={vm}&description=ssh", [one]),
        (f"id={two['id']}", [two]),
        ("sort_key=external_port_range&sort_dir=desc", [two, one]),
        ("sort_key=protocol&sort_dir=asc&limit=1", [one]),
        ("external_port_range=nonsense", []),
    ):
        assert listed(api, door, query) == expected, query
    assert listed(api, door, "fields=external_port&protocol=tcp") == [{"external_port": 2222}]
    assert api.ask("GET", path(door) + "?internal_port=22").status == 400
    first = api.get(path(door) + "?limit=1&sort_key=protocol&sort_dir=asc")
    (following,) = [link["href"] for link in first["port_forwardings_links"] if link["rel"] == "next"]
    assert following.startswith(f"{api.url}{path(door)}?")


def test_a_port_forwarding_is_found_at_its_floating_ip_alone(api: Client, cloud: Cloud, vm: str, door: str) -> None:
    made, other = forward(api, door, vm)["id"], floating(api, cloud)["id"]
    nowhere = (404, "FloatingIPNotFound", f"Floating IP {NOBODY} could not be found")
    absent = (404, "PortForwardingNotFound", f"Port Forwarding {made} could not be found.")
    assert api.ask("GET", path(NOBODY)).fault == nowhere
    assert ask(api, NOBODY, vm).fault == nowhere
    for method, body in (("GET", None), ("PUT", {"port_forwarding": {}}), ("DELETE", None)):
        assert api.ask(method, path(other, made), body).fault == absent
        assert api.ask(method, path(NOBODY, made), body).fault == nowhere
    assert api.get("/v2.0/")["resources"] != []
    assert "port_forwardings" not in {each["collection"] for each in api.get("/v2.0/")["resources"]}


def test_several_port_forwardings_are_made_at_once_or_none(api: Client, cloud: Cloud, vm: str, door: str) -> None:
    one = {"protocol": "tcp", "internal_port_id": vm, "internal_ip_address": "10.0.0.9", "internal_port": 22}
    two = {**one, "internal_port": 23, "external_port": 2223}
    both = {"port_forwardings": [{**one, "external_port": 2222}, two]}
    assert len(api.ask("POST", path(door), both).body["port_forwardings"]) == 2
    again = {"port_forwardings": [{**one, "internal_port": 24, "external_port": 2224}, two]}
    assert api.ask("POST", path(door), again).status == 400
    assert len(listed(api, door)) == 2


@pytest.mark.parametrize(
    ("given", "refusal"),
    [
        (
            {"protocol": "icmp"},
            (400, "HTTPBadRequest", "Invalid input for protocol. Reason: icmp is not in valid_values."),
        ),
        (
            {"external_port": 0},
            (
                400,
                "HTTPBadRequest",
                "Invalid input for external_port. Reason: '0' is too small - must be at least '1'.",
            ),
        ),
        (
            {"internal_port": 65536},
            (
                400,
                "HTTPBadRequest",
                "Invalid input for internal_port. Reason: '65536' is too large - must be no larger than '65535'.",
            ),
        ),
        (
            {"external_port": "ssh"},
            (400, "HTTPBadRequest", "Invalid input for external_port. Reason: 'ssh' is not an integer."),
        ),
        (
            {"external_port_range": "1:2:3"},
            (
                400,
                "HTTPBadRequest",
                "Invalid input for external_port_range. Reason: Port range must be two integers separated by a colon.",
            ),
        ),
        (
            {"external_port_range": "9:8"},
            (
                400,
                "HTTPBadRequest",
                "Invalid input for external_port_range. Reason: First port in a port range must be lower than the "
                "second port.",
            ),
        ),
        (
            {"external_port_range": "1:70000"},
            (400, "HTTPBadRequest", "Invalid input for external_port_range. Reason: Invalid port: 70000."),
        ),
        (
            {"external_port_range": "0:1"},
            (
                400,
                "HTTPBadRequest",
                "Invalid input for external_port_range. Reason: Invalid port: 0, the port must be in the range "
                "[1, 65535].",
            ),
        ),
        (
            {"external_port": 2222, "external_port_range": "2222:2223"},
            senseless("external_port 2222 is not the external_port_range 2222:2223"),
        ),
        ({"external_port": None}, senseless("Either external_port or external_port_range must be specified")),
        ({"internal_port": None}, senseless("Either internal_port or internal_port_range must be specified")),
        (
            {"internal_port_range": "22:24", "external_port_range": "2222:2223"},
            senseless(
                "Invalid ranges of internal and/or external ports. The relation between internal and external ports "
                "must be N-N or 1-N"
            ),
        ),
        ({"internal_port_id": NOBODY}, (404, "PortNotFound", f"Port {NOBODY} could not be found.")),
        (
            {"internal_ip_address": None},
            (400, "HTTPBadRequest", "Invalid input for internal_ip_address. Reason: 'None' is not a valid IP address."),
        ),
        ({"router_id": NOBODY}, (400, "HTTPBadRequest", "Unrecognized attribute(s) 'router_id'")),
    ],
)
def test_a_port_forwarding_that_cannot_be_is_refused(
    api: Client, cloud: Cloud, vm: str, door: str, given: dict[str, object], refusal: tuple[int, str, str]
) -> None:
    assert ask(api, door, vm, **given).fault == refusal
    assert (listed(api, door), stands_for(shown(api, door))) == ([], (None, None, None))
    made = forward(api, door, vm)
    if None not in given.values():
        assert change(api, door, made["id"], **given).fault == refusal
        assert listed(api, door) == [made]


@pytest.mark.parametrize("missing", ["protocol", "internal_port_id", "internal_ip_address"])
def test_a_port_forwarding_needs_to_know_whom(api: Client, cloud: Cloud, vm: str, door: str, missing: str) -> None:
    asked = {"protocol": "tcp", "internal_port_id": vm, "internal_ip_address": "10.0.0.9"}
    body = {**asked, "internal_port": 22, "external_port": 2222}
    del body[missing]
    assert api.ask("POST", path(door), {"port_forwarding": body}).fault == (
        400,
        "HTTPBadRequest",
        f"Failed to parse request. Required attribute '{missing}' not specified",
    )


# ---- who stands for whom --------------------------------------------------------------------------------------


def test_a_port_stands_for_one_thing_and_one_for_it(api: Client, cloud: Cloud, vm: str, door: str) -> None:
    forward(api, door, vm, external_port_range="2000:2009", internal_port_range="20:29")
    for external in ("2005:2014", "1990:2000", "2003:2004", "1:65535"):
        low, high = map(int, external.split(":"))
        internal = "30000" if high - low > 20_000 else f"30000:{30_000 + high - low}"
        assert ask(api, door, vm, external_port_range=external, internal_port_range=internal).fault == senseless(
            f"There is a port collision with the external_port_range. The following ranges collide: 2000:2009 and "
            f"{external}"
        )
    elsewhere = floating(api, cloud)["id"]
    assert ask(api, elsewhere, vm, internal_port=25).fault == senseless(
        "There is a port collision with the internal_port_range. The following ranges collide: 20:29 and 25:25"
    )
    forward(api, door, vm, external_port=2010, internal_port=30)
    forward(api, door, vm, external_port=2000, internal_port=20, protocol="udp")
    beside = guest(api, cloud, "10.0.0.8")
    forward(api, door, beside, external_port=2011, internal_port=25, internal_ip_address="10.0.0.8")


def test_a_floating_ip_forwards_or_stands_for_one_port(api: Client, cloud: Cloud, vm: str, door: str) -> None:
    other = guest(api, cloud, "10.0.0.10")
    taken = floating(api, cloud, port_id=other)
    assert ask(api, taken["id"], vm).fault == (
        409,
        "FloatingIPPortAlreadyAssociated",
        f"Cannot associate floating IP {taken['floating_ip_address']} ({taken['id']}) with port {vm} using fixed IP "
        f"10.0.0.9, as that fixed IP already has a floating IP on external network {cloud.out}.",
    )
    forward(api, door, vm)
    held = (409, "FipInUseByPortForwarding", f"Floating IP {door} in use by Port Forwarding resources.")
    assert api.put("floatingip", door, port_id=guest(api, cloud)).fault == held
    assert api.delete("floatingip", door).fault == held
    for harmless in ({"port_id": None}, {"description": "d"}):
        assert stands_for(api.put("floatingip", door, **harmless).body["floatingip"]) == (cloud.router, None, None)


def test_a_port_is_forwarded_to_or_has_a_floating_ip(api: Client, cloud: Cloud, vm: str, door: str) -> None:
    made = forward(api, door, vm)
    other = floating(api, cloud)
    both = (
        400,
        "PortHasPortForwarding",
        f"Cannot associate floating IP to port {vm} because it already has a Port Forwarding binding.",
    )
    assert api.put("floatingip", other["id"], port_id=vm).fault == both
    assert api.post("floatingip", floating_network_id=cloud.out, port_id=vm).fault == both
    two = guest(api, cloud, "10.0.0.10")
    assert api.put("floatingip", other["id"], port_id=two).status == 200
    reached = (
        409,
        "PortHasBindingFloatingIP",
        f"Cannot create port forwarding to floating IP {other['floating_ip_address']} ({other['id']}) with port {two} "
        "using fixed IP 10.0.0.10, as that port already has a binding floating IP.",
    )
    to_two = {"internal_ip_address": "10.0.0.10", "internal_port_id": two}
    assert ask(api, door, vm, external_port=23, **to_two).fault == reached
    assert change(api, door, made["id"], **to_two).fault == reached


def test_a_port_forwarding_leads_to_an_address_of_its_port(api: Client, cloud: Cloud, vm: str, door: str) -> None:
    subnet(api, cloud.network, "2001:db8::/64")
    assert ask(api, door, vm, internal_ip_address="10.0.0.77").fault == senseless(
        f"Requested internal IP address 10.0.0.77 is not suitable for internal neutron port {vm}, as its fixed_ips are "
        f"[{{'subnet_id': '{cloud.subnet}', 'ip_address': '10.0.0.9'}}]"
    )
    six = guest(api, cloud, "2001:db8::7")
    assert ask(api, door, six, internal_ip_address="2001:db8::7").fault == senseless(
        f"Requested internal port {six} must allocate an IPv4 address at least"
    )


def test_a_port_forwarding_needs_one_router_for_all(api: Client, cloud: Cloud, vm: str, door: str) -> None:
    lonely, four = inside(api, "10.9.0.0/24")
    far = api.make("port", network_id=lonely, fixed_ips=[{"ip_address": "10.9.0.9"}])["id"]
    to_far = {"internal_ip_address": "10.9.0.9"}
    assert ask(api, door, far, **to_far).fault == senseless(
        f"External network {cloud.out} is not reachable from subnet {four}. Cannot set Port forwarding for port {far} "
        f"with Floating IP {door}"
    )
    second = api.make("router", external_gateway_info={"network_id": cloud.out})["id"]
    join(api, second, subnet_id=four)
    forward(api, door, vm)
    assert ask(api, door, far, external_port=23, **to_far).fault == senseless(
        f"The Floating IP {door} had been set on router {cloud.router}, the internal Neutron port {far} can not reach it"
    )
    join(api, cloud.router, port_id=api.make("port", network_id=lonely, fixed_ips=[{"ip_address": "10.9.0.2"}])["id"])
    assert ask(api, door, far, external_port=23, **to_far).status == 400, "its gateway is the other router"


def test_a_port_forwarding_changes(api: Client, cloud: Cloud, vm: str, door: str) -> None:
    made = forward(api, door, vm)
    two = guest(api, cloud, "10.0.0.10")
    steps: list[tuple[dict[str, object], dict[str, object]]] = [
        ({}, {}),
        ({"description": "d"}, {"description": "d"}),
        ({"external_port": 23}, {"external_port": 23, "external_port_range": "23:23"}),
        (
            {"external_port_range": "8000:8009"},
            {"external_port": None, "external_port_range": "8000:8009"},
        ),
        (
            {"internal_port_range": "80:89"},
            {"internal_port": None, "internal_port_range": "80:89"},
        ),
        ({"protocol": "udp"}, {"protocol": "udp"}),
        ({"internal_port_id": two}, {"internal_port_id": two, "internal_ip_address": "10.0.0.10"}),
        (
            {"internal_port_id": vm, "internal_ip_address": "10.0.0.9"},
            {"internal_port_id": vm, "internal_ip_address": "10.0.0.9"},
        ),
        (
            {"external_port": 7, "internal_port": 7},
            {"external_port": 7, "external_port_range": "7:7", "internal_port": 7, "internal_port_range": "7:7"},
        ),
    ]
    for asked, expected in steps:
        made |= expected
        assert change(api, door, made["id"], **asked).body["port_forwarding"] == made, asked
        assert api.get(path(door, made["id"]))["port_forwarding"] == made
    assert change(api, door, made["id"], internal_ip_address="10.0.0.10").status == 400
    assert shown(api, door)["revision_number"] == 2 + len(steps) - 1


# ---- what has to stay -----------------------------------------------------------------------------------------


def test_a_port_that_goes_takes_its_port_forwardings_along(api: Client, cloud: Cloud, vm: str, door: str) -> None:
    two = guest(api, cloud, "10.0.0.10")
    forward(api, door, vm)
    kept = forward(api, door, two, external_port=23, internal_ip_address="10.0.0.10")
    assert api.delete("port", vm).status == 204
    assert listed(api, door) == [kept]
    assert shown(api, door)["router_id"] == cloud.router
    assert api.delete("port", two).status == 204
    assert (listed(api, door), shown(api, door)["router_id"]) == ([], None)


def test_port_forwardings_to_an_address_go_with_it(api: Client, cloud: Cloud, door: str) -> None:
    vm = guest(api, cloud, "10.0.0.9", "10.0.0.10")
    gone = forward(api, door, vm)
    kept = forward(api, door, vm, external_port=23, internal_ip_address="10.0.0.10")
    assert [each["id"] for each in listed(api, door, "sort_key=external_port&sort_dir=desc")] == [
        gone["id"],
        kept["id"],
    ]
    assert api.put("port", vm, fixed_ips=[{"ip_address": "10.0.0.10"}]).status == 200
    assert listed(api, door) == [kept]


def test_a_router_keeps_what_its_port_forwardings_go_by(api: Client, cloud: Cloud, vm: str, door: str) -> None:
    made = forward(api, door, vm)["id"]
    leave = act(api, cloud.router, "remove_router_interface", subnet_id=cloud.subnet)
    assert leave.fault[:2] == (409, "RouterInterfaceInUseByFloatingIP")
    assert api.put("router", cloud.router, external_gateway_info=None).fault[:2] == (
        409,
        "RouterExternalGatewayInUseByFloatingIp",
    )
    assert api.ask("DELETE", path(door, made)).status == 204
    assert api.put("router", cloud.router, external_gateway_info=None).status == 200


def test_an_external_network_does_not_go_with_port_forwardings(api: Client, cloud: Cloud, vm: str, door: str) -> None:
    forward(api, door, vm)
    assert api.delete("network", cloud.out).fault[:2] == (409, "NetworkInUse")


def test_pools_are_where_floating_ips_come_from(api: Client) -> None:
    out = outside(api, "203.0.113.0/24", "2001:db8:f::/64")
    inside(api)
    assert api.get("/v2.0/floatingip_pools", X_Project_Id="p1")["floatingip_pools"] == [
        {
            "subnet_id": on(api, out, "203.0.113.0/24"),
            "subnet_name": "",
            "network_id": out,
            "cidr": "203.0.113.0/24",
            "project_id": "p1",
        }
    ]
    assert api.get("/v2.0/floatingip_pools?fields=cidr")["floatingip_pools"] == [{"cidr": "203.0.113.0/24"}]
    assert api.ask("POST", "/v2.0/floatingip_pools", {"floatingip_pool": {}}).status == 405


def test_the_extensions_of_floating_ips_are_offered(api: Client) -> None:
    offered = {each["alias"] for each in api.get("/v2.0/extensions")["extensions"]}
    assert offered >= {
        "expose-port-forwarding-in-fip",
        "fip-port-details",
        "floating-ip-port-forwarding",
        "floating-ip-port-forwarding-description",
        "floating-ip-port-forwarding-detail",
        "floating-ip-port-forwarding-port-ranges",
        "floating-ip-router-writable",
        "floatingip-pools",
    }
    assert not offered & {"qos-fip", "floating-ip-distributed"}


# ---- what hypervisors are to forget ---------------------------------------------------------------------------


def test_what_a_port_forwarding_does_no_more_is_to_be_forgotten_at_its_routers_gateways(
    api: Client, cloud: Cloud, vm: str, door: str
) -> None:
    for chassis, router in (("hv1", cloud.router), ("hv2", cloud.router), ("hv3", "another")):
        api.commit(lambda tx: allot(tx, chassis, f"router/{router}/203.0.113.2"))  # noqa: B023
    address = shown(api, door)["floating_ip_address"]

    def severed() -> set[tuple[str, int, str, str, int, int]]:
        found = api.store.model.all(Severed)

        def clear(tx: Transaction) -> None:
            for each in found:
                tx.delete(Severed, each.id)

        api.commit(clear)
        return {(e.chassis, e.zone, e.protocol, e.address, e.port_first, e.port_last) for e in found}

    def of(first: int, last: int) -> set[tuple[str, int, str, str, int, int]]:
        return {(chassis, FIRST, "tcp", address, first, last) for chassis in ("hv1", "hv2")}

    made = forward(api, door, vm)
    change(api, door, made["id"], description="ssh")
    assert severed() == set()
    change(api, door, made["id"], external_port=2223)
    assert severed() == of(2222, 2222)
    assert api.ask("DELETE", path(door, made["id"])).status == 204
    assert severed() == of(2223, 2223)
    for ports, expected in (((1000, 1255), of(1000, 1255)), ((1000, 1256), set())):
        made = forward(api, door, vm, external_port_range="{}:{}".format(*ports))
        assert api.ask("DELETE", path(door, made["id"])).status == 204
        assert severed() == expected, "of more ports they go when their time is over"
    forward(api, door, vm)
    api.delete("port", vm)
    assert severed() == of(2222, 2222)
