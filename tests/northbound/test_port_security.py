"""Port security: which groups a port is in, and what it may use beside its own addresses."""

from __future__ import annotations

import pytest

from controller.errors import NotFound
from controller.model.records import Policy, SecurityGroup
from controller.model.store import Transaction
from northbound.resources import ports
from northbound.resources.attributes import Ask, Settings, read_body
from northbound.resources.ports import PORTS
from tests.northbound.served import NOBODY, Client

MAC = "02:00:00:00:00:01"

NEEDS_SECURITY = (
    400,
    "PortSecurityAndIPRequiredForSecurityGroups",
    "Port security must be enabled and port must have an IP address in order to use security groups.",
)
PAIRS_NEED_SECURITY = (
    409,
    "AddressPairAndPortSecurityRequired",
    "Port Security must be enabled in order to have allowed address pairs on a port.",
)


@pytest.fixture
def red(api: Client) -> str:
    return str(api.make("network", name="red", project_id="p")["id"])


def group(api: Client, **attributes: object) -> str:
    return str(api.make("security_group", **{"project_id": "p", **attributes})["id"])


def default(api: Client, project: str = "p") -> str:
    (found,) = api.store.model.where(SecurityGroup, default_of=project)
    return found.id


def policies(api: Client) -> list[str]:
    return [policy.id for policy in api.store.model.all(Policy)]


# --- groups


def test_a_port_is_in_the_default_group_of_its_project_unless_it_says_more(api: Client, red: str) -> None:
    web, db = group(api), group(api)
    for given, groups in (
        ({"project_id": "p"}, [default(api)]),
        ({"project_id": "p", "security_groups": [web, db]}, [web, db]),
        ({"project_id": "p", "security_groups": []}, []),
        ({"project_id": "p", "security_groups": None}, []),
    ):
        port = api.make("port", network_id=red, **given)
        assert (port["security_groups"], port["port_security_enabled"]) == (groups, True)
    other = api.make("port", network_id=red, project_id="q")
    assert other["security_groups"] == [default(api, "q")]
    assert default(api, "q") != default(api)
    nameless = api.make("port", network_id=red)
    assert nameless["security_groups"] == [default(api, "")]


def test_a_list_replaces_the_groups_of_a_port(api: Client, red: str) -> None:
    web, db = sorted((group(api), group(api)))
    id = api.make("port", network_id=red, project_id="p")["id"]
    assert policies(api) == [default(api)]
    for groups, policy in (([db, web], f"{web},{db}"), ([web], web), ([], "none"), ([db], db)):
        changed = api.put("port", id, security_groups=groups).body["port"]
        assert changed["security_groups"] == groups
        assert policies(api) == [policy]
    assert changed["revision_number"] == 5
    assert api.put("port", id, name="n").body["port"]["security_groups"] == [db]
    assert api.delete("port", id).status == 204
    assert policies(api) == []


def test_ports_are_found_by_their_groups_and_their_security(api: Client, red: str) -> None:
    web, db = group(api), group(api)
    both = api.make("port", network_id=red, security_groups=[web, db])["id"]
    one = api.make("port", network_id=red, security_groups=[web])["id"]
    free = api.make("port", network_id=red, port_security_enabled=False)["id"]
    for query, found in (
        (f"security_groups={web}", {both, one}),
        (f"security_groups={db}", {both}),
        (f"security_groups={db}&security_groups={web}", {both, one}),
        (f"security_groups={NOBODY}", set()),
        (f"security_groups={web}&port_security_enabled=true&id={one}", {one}),
        ("port_security_enabled=false", {free}),
    ):
        assert {each["id"] for each in api.get(f"/v2.0/ports?{query}")["ports"]} == found, query


@pytest.mark.parametrize(
    ("groups", "fault"),
    [
        ([NOBODY], (404, "SecurityGroupNotFound", f"Security group {NOBODY} does not exist")),
        (
            ["web"],
            (400, "HTTPBadRequest", "Invalid input for security_groups. Reason: 'web' is not a valid UUID."),
        ),
        (
            NOBODY,
            (400, "HTTPBadRequest", f"Invalid input for security_groups. Reason: '{NOBODY}' is not a list."),
        ),
        (
            [NOBODY, NOBODY],
            (
                400,
                "HTTPBadRequest",
                f"Invalid input for security_groups. Reason: Duplicate items in the list: '{NOBODY}'.",
            ),
        ),
    ],
)
def test_groups_that_cannot_be_are_refused(api: Client, red: str, groups: object, fault: tuple[int, str, str]) -> None:
    port = api.make("port", network_id=red)
    assert api.post("port", network_id=red, security_groups=groups).fault == fault
    assert api.put("port", port["id"], security_groups=groups).fault == fault
    assert api.get(f"/v2.0/ports/{port['id']}")["port"] == port


def test_stateful_and_stateless_groups_do_not_mix(api: Client, red: str) -> None:
    web, raw = group(api), group(api, stateful=False)
    fault = (
        409,
        "SecurityGroupConflict",
        "Error Cannot apply both stateful and stateless security groups on the same port at the same time while "
        "attempting the operation.",
    )
    assert api.post("port", network_id=red, security_groups=[web, raw]).fault == fault
    id = api.make("port", network_id=red, security_groups=[raw])["id"]
    assert api.put("port", id, security_groups=[web, raw]).fault == fault
    assert api.put("port", id, security_groups=[web]).status == 200


@pytest.mark.parametrize("is_admin", [True, False])
def test_an_admin_alone_uses_the_groups_of_another_project(api: Client, red: str, is_admin: bool) -> None:
    theirs = group(api, project_id="q")
    body = read_body(PORTS, {"network_id": red, "security_groups": [theirs]}, True, "p")
    tx = Transaction(api.store.model)
    ask = Ask(NOBODY, "p", is_admin, 0, Settings())
    if is_admin:
        assert ports.create(tx, body, ask).security_groups == (theirs,)
    else:
        with pytest.raises(NotFound, match=f"Security group {theirs} does not exist"):
            ports.create(tx, body, ask)


# --- port security


def test_what_neutron_itself_would_own_is_trusted(api: Client, red: str) -> None:
    several: tuple[dict[str, object], ...] = ({}, {"port_security_enabled": True}, {"security_groups": []})
    for more in several:
        port = api.make("port", network_id=red, device_owner="network:dhcp", **more)
        assert (port["port_security_enabled"], port["security_groups"]) == (False, [])
    trusted = api.post("port", network_id=red, device_owner="network:dhcp", security_groups=[group(api)])
    assert trusted.fault == NEEDS_SECURITY
    assert policies(api) == []


def test_a_port_without_port_security_has_neither_groups_nor_pairs(api: Client, red: str) -> None:
    web, pairs = group(api), [{"ip_address": "10.0.0.9"}]
    free = api.make("port", network_id=red, port_security_enabled=False)
    assert (free["port_security_enabled"], free["security_groups"]) == (False, [])
    off = {"network_id": red, "port_security_enabled": False}
    assert api.post("port", **off, security_groups=[web]).fault == NEEDS_SECURITY
    assert api.post("port", **off, allowed_address_pairs=pairs).fault == PAIRS_NEED_SECURITY
    assert api.put("port", free["id"], security_groups=[web]).fault == NEEDS_SECURITY
    assert api.put("port", free["id"], allowed_address_pairs=pairs).fault == PAIRS_NEED_SECURITY
    on = api.put("port", free["id"], port_security_enabled=True).body["port"]
    assert (on["port_security_enabled"], on["security_groups"]) == (True, [])
    assert policies(api) == ["none"]


def test_port_security_goes_after_the_groups_and_pairs(api: Client, red: str) -> None:
    web = group(api)
    id = api.make("port", network_id=red, security_groups=[web], allowed_address_pairs=[{"ip_address": "10.0.0.9"}])[
        "id"
    ]
    assert api.put("port", id, port_security_enabled=False).fault == PAIRS_NEED_SECURITY
    assert api.put("port", id, port_security_enabled=False, allowed_address_pairs=[]).fault == (
        409,
        "PortSecurityPortHasSecurityGroup",
        "Port has security group associated. Cannot disable port security or IP address until security group is "
        "removed.",
    )
    both: dict[str, object] = {"security_groups": [], "allowed_address_pairs": None}
    off = api.put("port", id, port_security_enabled=False, **both).body["port"]
    assert (off["port_security_enabled"], off["security_groups"], off["allowed_address_pairs"]) == (False, [], [])
    assert policies(api) == []


# --- address pairs


def test_a_pair_takes_the_ports_mac_address_as_it_is_when_the_pair_is_made(api: Client, red: str) -> None:
    asked = [
        {"ip_address": "10.0.0.9"},
        {"ip_address": "10.1.0.0/16", "mac_address": "02-00-00-00-00-AA"},
        {"ip_address": "2001:DB8::1"},
    ]
    port = api.make("port", network_id=red, mac_address=MAC, allowed_address_pairs=asked)
    pairs = [
        {"ip_address": "10.0.0.9", "mac_address": MAC},
        {"ip_address": "10.1.0.0/16", "mac_address": "02:00:00:00:00:aa"},
        {"ip_address": "2001:db8::1", "mac_address": MAC},
    ]
    assert port["allowed_address_pairs"] == pairs
    moved = api.put("port", port["id"], mac_address="02:00:00:00:00:02").body["port"]
    assert moved["allowed_address_pairs"] == pairs
    both = api.put(
        "port", port["id"], mac_address="02:00:00:00:00:03", allowed_address_pairs=[{"ip_address": "0.0.0.0/0"}]
    ).body["port"]
    assert both["allowed_address_pairs"] == [{"ip_address": "0.0.0.0/0", "mac_address": "02:00:00:00:00:03"}]


def test_a_pair_may_be_the_ports_own_addresses(api: Client, red: str) -> None:
    api.make("subnet", network_id=red, ip_version=4, cidr="10.0.0.0/24")
    own = {"ip_address": "10.0.0.2", "mac_address": MAC}
    port = api.make("port", network_id=red, mac_address=MAC, allowed_address_pairs=[own])
    assert port["fixed_ips"][0]["ip_address"] == "10.0.0.2"
    assert port["allowed_address_pairs"] == [own]


@pytest.mark.parametrize(
    ("pairs", "fault"),
    [
        ("10.0.0.9", (400, "HTTPBadRequest", "Allowed address pairs must be a list.")),
        (
            ["10.0.0.9"],
            (
                400,
                "HTTPBadRequest",
                "Invalid input for allowed_address_pairs. Reason: '10.0.0.9' is not a dictionary.",
            ),
        ),
        (
            [{"mac_address": MAC}],
            (400, "AllowedAddressPairsMissingIP", "AllowedAddressPair must contain ip_address"),
        ),
        (
            [{"ip_address": "10.0.0.9", "port": 5}],
            (400, "HTTPBadRequest", "Unrecognized attribute(s) 'port'"),
        ),
        ([{"ip_address": "10.0.0.256"}], (400, "HTTPBadRequest", "'10.0.0.256' is not a valid IP address.")),
        ([{"ip_address": "10.0.0.0/33"}], (400, "HTTPBadRequest", "'10.0.0.0/33' is not a valid IP subnet.")),
        ([{"ip_address": None}], (400, "HTTPBadRequest", "'None' is not a valid IP address.")),
        (
            [{"ip_address": "10.0.0.9", "mac_address": "x"}],
            (400, "HTTPBadRequest", "'x' is not a valid MAC address."),
        ),
        (
            [{"ip_address": "224.0.0.1"}],
            (400, "HTTPBadRequest", "IP 224.0.0.1 is a multicast address, which is not supported."),
        ),
        (
            [{"ip_address": "192.0.0.0/2"}],
            (
                400,
                "HTTPBadRequest",
                "Subnet 192.0.0.0/2 overlaps with multicast range 224.0.0.0/4, which is not supported.",
            ),
        ),
        (
            [{"ip_address": "::/0"}],
            (400, "HTTPBadRequest", "Subnet ::/0 overlaps with multicast range ff00::/8, which is not supported."),
        ),
        (
            [{"ip_address": "10.0.0.9"}, {"ip_address": "10.0.0.9"}],
            (
                400,
                "DuplicateAddressPairInRequest",
                "Request contains duplicate address pair: mac_address None ip_address 10.0.0.9.",
            ),
        ),
        (
            [{"ip_address": "10.0.0.9"}, {"ip_address": "10.0.0.9", "mac_address": MAC}],
            (
                400,
                "DuplicateAddressPairInRequest",
                f"Request contains duplicate address pair: mac_address {MAC} ip_address 10.0.0.9.",
            ),
        ),
        (
            [{"ip_address": f"10.0.0.{last}"} for last in range(11)],
            (400, "AllowedAddressPairExhausted", "The number of allowed address pair exceeds the maximum 10."),
        ),
    ],
)
def test_pairs_that_cannot_be_are_refused(api: Client, red: str, pairs: object, fault: tuple[int, str, str]) -> None:
    port = api.make("port", network_id=red, mac_address=MAC)
    assert api.put("port", port["id"], allowed_address_pairs=pairs).fault == fault
    blue = api.make("network")["id"]
    assert api.post("port", network_id=blue, mac_address=MAC, allowed_address_pairs=pairs).fault == fault
    assert api.get("/v2.0/ports")["ports"] == [port]
