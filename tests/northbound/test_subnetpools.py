"""Subnet pools and address scopes: subnets are cut from prefixes, and prefixes of a scope are apart."""

from __future__ import annotations

import asyncio
from ipaddress import ip_network
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import NoPrefix
from controller.model import prefixes
from controller.model.records import Cidr, Subnet, SubnetPool
from controller.model.store import Model, Transaction
from tests.northbound.served import NOBODY, Answer, Client

BAD, CONFLICT = 400, 409


def pool(api: Client, *prefixes: str, **more: object) -> Any:
    return api.make("subnetpool", name="p", prefixes=[*prefixes] or ["10.0.0.0/23"], **more)


def cut(api: Client, network: str, pool: str, **more: object) -> Answer:
    return api.post("subnet", **{"network_id": network, "ip_version": 4, "subnetpool_id": pool, **more})


def test_a_pool_is_what_was_asked_for_and_the_rest_is_default(api: Client) -> None:
    made = pool(api, "10.0.1.0/24", "10.0.0.1/24", project_id="p", description="d")
    assert {name: made[name] for name in made if name not in ("id", "created_at", "updated_at")} == {
        "name": "p",
        "description": "d",
        "project_id": "p",
        "tenant_id": "p",
        "prefixes": ["10.0.0.0/23"],
        "ip_version": 4,
        "min_prefixlen": "8",
        "max_prefixlen": "32",
        "default_prefixlen": "8",
        "default_quota": None,
        "address_scope_id": None,
        "is_default": False,
        "shared": False,
        "revision_number": 1,
        "tags": [],
    }
    assert api.get(f"/v2.0/subnetpools/{made['id']}") == {"subnetpool": made}
    six = pool(api, "2001:db8::/32")
    assert [six[f"{name}_prefixlen"] for name in ("min", "max", "default")] == ["64", "128", "64"]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"name": ""}, ("HTTPBadRequest", "Invalid input for name. Reason: '' Blank strings are not permitted.")),
        ({"prefixes": []}, ("EmptySubnetPoolPrefixList", "Empty subnet pool prefix list.")),
        (
            {"prefixes": ["10.0.0.0/8", "2001:db8::/32"]},
            ("PrefixVersionMismatch", "Cannot mix IPv4 and IPv6 prefixes in a subnet pool."),
        ),
        (
            {"prefixes": ["10.0.0.0/8", "10.0.0.0/8"]},
            ("HTTPBadRequest", "Invalid input for prefixes. Reason: Duplicate items in the list: '10.0.0.0/8'."),
        ),
        ({"prefixes": None}, ("HTTPBadRequest", "Invalid input for prefixes. Reason: 'None' is not a list.")),
        ({"prefixes": ["x"]}, ("HTTPBadRequest", "Invalid input for prefixes. Reason: 'x' is not a valid IP subnet.")),
        (
            {"min_prefixlen": 30, "max_prefixlen": 20},
            (
                "IllegalSubnetPoolPrefixBounds",
                "Illegal prefix bounds: min_prefixlen=30, max_prefixlen=20.",
            ),
        ),
        (
            {"max_prefixlen": 40},
            ("IllegalSubnetPoolPrefixBounds", "Illegal prefix bounds: max_prefixlen=40, ip_version_max=32."),
        ),
        (
            {"default_prefixlen": 4},
            ("IllegalSubnetPoolPrefixBounds", "Illegal prefix bounds: default_prefixlen=4, min_prefixlen=8."),
        ),
        (
            {"default_prefixlen": 30, "max_prefixlen": 29},
            ("IllegalSubnetPoolPrefixBounds", "Illegal prefix bounds: default_prefixlen=30, max_prefixlen=29."),
        ),
        (
            {"min_prefixlen": -1},
            ("HTTPBadRequest", "Invalid input for min_prefixlen. Reason: '-1' should be non-negative."),
        ),
        ({"default_quota": None}, ("InvalidInput", "Invalid input for operation: 'None' is not an integer.")),
        ({"ip_version": 4}, ("HTTPBadRequest", "Attribute 'ip_version' not allowed in POST")),
    ],
)
def test_a_pool_that_cannot_be_is_refused(api: Client, given: dict[str, object], fault: tuple[str, str]) -> None:
    assert api.post("subnetpool", **{"name": "p", "prefixes": ["10.0.0.0/8"], **given}).fault == (BAD, *fault)
    assert api.changes == []


def test_subnets_are_cut_from_their_pool(api: Client, red: str) -> None:
    id = pool(api, default_prefixlen=26)["id"]
    first = cut(api, red, id).body["subnet"]
    assert (first["cidr"], first["gateway_ip"], first["subnetpool_id"]) == ("10.0.0.0/26", "10.0.0.1", id)
    assert first["allocation_pools"] == [{"start": "10.0.0.2", "end": "10.0.0.62"}]
    small = cut(api, red, id, prefixlen=28, gateway_ip=None).body["subnet"]
    assert (small["cidr"], small["gateway_ip"]) == ("10.0.0.64/28", None)
    around = cut(api, red, id, prefixlen="28", gateway_ip="10.0.0.200").body["subnet"]
    assert around["cidr"] == "10.0.0.192/28"
    assert around["allocation_pools"] == [
        {"start": "10.0.0.193", "end": "10.0.0.199"},
        {"start": "10.0.0.201", "end": "10.0.0.206"},
    ]
    wanted = cut(api, red, id, cidr="10.0.1.16/28", allocation_pools=[{"start": "10.0.1.20", "end": "10.0.1.25"}])
    assert wanted.body["subnet"]["cidr"] == "10.0.1.16/28"
    listed = api.get(f"/v2.0/subnets?subnetpool_id={id}&fields=cidr")["subnets"]
    assert len(listed) == 4
    assert api.delete("subnet", first["id"]).status == 204
    assert cut(api, red, id).body["subnet"]["cidr"] == "10.0.0.0/26"
    assert api.get(f"/v2.0/networks/{red}")["network"]["revision_number"] == 7


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (
            {"prefixlen": 20},
            (CONFLICT, "SubnetAllocationError", "Insufficient prefix space to allocate subnet size /20."),
        ),
        (
            {"cidr": "10.0.0.0/25"},
            (CONFLICT, "SubnetAllocationError", "Cannot allocate requested subnet from the available set of prefixes."),
        ),
        (
            {"cidr": "10.9.0.0/26"},
            (CONFLICT, "SubnetAllocationError", "Cannot allocate requested subnet from the available set of prefixes."),
        ),
        (
            {"prefixlen": 7},
            (
                BAD,
                "MinPrefixSubnetAllocationError",
                "Unable to allocate subnet with prefix length 7, minimum allowed prefix is 8.",
            ),
        ),
        (
            {"prefixlen": 33},
            (
                BAD,
                "MaxPrefixSubnetAllocationError",
                "Unable to allocate subnet with prefix length 33, maximum allowed prefix is 32.",
            ),
        ),
        (
            {"ip_version": 6},
            (BAD, "BadRequest", "Bad subnets request: Cannot allocate IPv6 subnet from IPv4 subnet pool."),
        ),
        (
            {"prefixlen": 28, "allocation_pools": []},
            (BAD, "BadRequest", "Bad subnets request: allocation_pools allowed only for specific subnet requests.."),
        ),
        (
            {"prefixlen": 24, "cidr": "10.0.1.0/24"},
            (BAD, "BadRequest", "Bad subnets request: cidr and prefixlen must not be supplied together."),
        ),
        (
            {"use_default_subnetpool": True},
            (
                BAD,
                "BadRequest",
                "Bad subnets request: subnetpool_id and use_default_subnetpool cannot both be specified.",
            ),
        ),
        (
            {"subnetpool_id": None, "use_default_subnetpool": True},
            (BAD, "BadRequest", "Bad subnets request: No default subnetpool found for IPv4."),
        ),
        (
            {"subnetpool_id": None, "cidr": "10.9.0.0/24"},
            (
                BAD,
                "NetworkSubnetPoolAffinityError",
                "Subnets hosted on the same network must be allocated from the same subnet pool.",
            ),
        ),
        ({"subnetpool_id": NOBODY}, (404, "SubnetPoolNotFound", f"Subnet pool {NOBODY} could not be found.")),
        ({"prefixlen": -1}, (BAD, "HTTPBadRequest", None)),
    ],
)
def test_a_subnet_that_a_pool_does_not_give_is_refused(
    api: Client, red: str, given: dict[str, object], fault: tuple[int, str, str | None]
) -> None:
    id = pool(api, default_prefixlen=26)["id"]
    assert cut(api, red, id).status == 201
    before = len(api.changes)
    status, kind, said = cut(api, red, id, **given).fault
    assert (status, kind) == fault[:2]
    assert fault[2] in (None, said, said.removeprefix("Failed to allocate subnet: "))
    assert len(api.changes) == before


def test_one_pool_of_each_version_is_the_default(api: Client, red: str) -> None:
    four = pool(api, is_default=True, default_prefixlen=25)["id"]
    six = pool(api, "2001:db8::/48", is_default=True)["id"]
    other = pool(api, "10.1.0.0/24")["id"]
    refused = (
        BAD,
        "InvalidInput",
        "Invalid input for operation: A default subnetpool for this IP family has already been set. "
        "Only one default may exist per IP family.",
    )
    assert api.post("subnetpool", name="x", prefixes=["10.2.0.0/16"], is_default=True).fault == refused
    assert api.put("subnetpool", other, is_default=True).fault == refused
    assert api.put("subnetpool", four, is_default=True).status == 200
    for version, cidr, id in ((4, "10.0.0.0/25", four), (6, "2001:db8::/64", six)):
        made = api.make("subnet", network_id=red, ip_version=version, use_default_subnetpool=True)
        assert (made["cidr"], made["subnetpool_id"]) == (cidr, id)
    assert api.put("subnetpool", four, is_default=False).status == 200
    assert api.put("subnetpool", other, is_default=True).status == 200


def test_a_project_has_no_more_of_a_pool_than_its_quota(api: Client, red: str) -> None:
    id = pool(api, default_quota=48, default_prefixlen=28)["id"]
    assert cut(api, red, id, prefixlen=27, project_id="a").status == 201
    over = (CONFLICT, "SubnetPoolQuotaExceeded", "Per-project subnet pool prefix quota exceeded.")
    assert cut(api, red, id, prefixlen=27, project_id="a").fault == over
    assert cut(api, red, id, project_id="a").status == 201
    assert cut(api, red, id, project_id="a").fault == over
    assert cut(api, red, id, prefixlen=27, project_id="b").status == 201
    assert api.put("subnetpool", id, default_quota=0).status == 200
    assert cut(api, red, id, project_id="a").status == 201


def test_a_pool_grows_and_loses_what_no_subnet_has(api: Client, red: str) -> None:
    id = pool(api, "10.0.0.0/24", "10.0.2.0/24", default_prefixlen=28)["id"]
    path = f"/v2.0/subnetpools/{id}"

    def act(action: str, *prefixes: str) -> Answer:
        return api.ask("PUT", f"{path}/{action}", {"prefixes": [*prefixes]})

    stays = "Illegal update to prefixes: Existing prefixes must be a subset of the new prefixes."
    for fewer in (["10.0.0.0/24"], []):
        assert api.put("subnetpool", id, prefixes=fewer).fault == (BAD, "IllegalSubnetPoolPrefixUpdate", stays)
    grown = api.put("subnetpool", id, prefixes=["10.0.0.0/22"]).body["subnetpool"]
    assert grown["prefixes"] == ["10.0.0.0/22"]
    assert act("add_prefixes", "10.0.4.1/24", "10.0.0.0/24").body == {"prefixes": ["10.0.0.0/22", "10.0.4.0/24"]}
    assert act("add_prefixes", "2001:db8::/32").fault[1] == "PrefixVersionMismatch"
    for action in ("add_prefixes", "remove_prefixes"):
        assert act(action).fault == (BAD, "HTTPBadRequest", "Request body contains invalid data")
        assert act(action, "x").fault[:2] == (BAD, "HTTPBadRequest")
    assert cut(api, red, id).body["subnet"]["cidr"] == "10.0.4.0/28"
    assert act("remove_prefixes", "10.0.4.0/25").fault == (
        BAD,
        "IllegalSubnetPoolPrefixUpdate",
        "Illegal update to prefixes: One or more the prefixes to be removed is in use by a subnet..",
    )
    left = ["10.0.0.0/25", "10.0.1.0/24", "10.0.2.0/23", "10.0.4.0/24"]
    assert act("remove_prefixes", "10.0.0.128/25", "192.0.2.0/24").body == {"prefixes": left}
    assert act("remove_prefixes", "192.0.2.0/24").body == {"prefixes": left}
    assert api.get(path)["subnetpool"]["prefixes"] == left
    for name, length in (("default", 40), ("min", 29), ("max", 27)):
        refused = api.put("subnetpool", id, **{f"{name}_prefixlen": length})
        assert refused.fault[:2] == (BAD, "IllegalSubnetPoolPrefixBounds")


def test_the_subnets_of_a_network_are_taken_into_a_pool(api: Client, red: str) -> None:
    id = pool(api)["id"]
    path = f"/v2.0/subnetpools/{id}/onboard_network_subnets"
    four = api.make("subnet", network_id=red, ip_version=4, cidr="192.0.2.0/24")["id"]
    six = api.make("subnet", network_id=red, ip_version=6, cidr="2001:db8::/64")["id"]
    assert api.ask("PUT", path, {"network_id": red}).body == [{"id": four, "cidr": "192.0.2.0/24"}]
    assert api.get(f"/v2.0/subnetpools/{id}")["subnetpool"]["prefixes"] == ["10.0.0.0/23", "192.0.2.0/24"]
    assert api.get(f"/v2.0/subnets/{four}")["subnet"]["subnetpool_id"] == id
    assert api.get(f"/v2.0/subnets/{six}")["subnet"]["subnetpool_id"] is None
    taken = f"{four}: 192.0.2.0/24 conflicts with allocated prefixes in subnet pool {id}."
    assert api.ask("PUT", path, {"network_id": red}).fault == (
        BAD,
        "IllegalSubnetPoolUpdate",
        f"Illegal subnetpool update : Onboarding subnet {taken}",
    )
    missing = "Invalid input for operation: network_id must be specified.."
    assert api.ask("PUT", path, {}).fault == (BAD, "InvalidInput", missing)
    assert api.ask("PUT", path, {"network_id": NOBODY}).fault[:2] == (404, "NetworkNotFound")


def test_a_pool_stays_while_it_has_subnets_and_a_scope_while_it_has_pools(api: Client, red: str) -> None:
    scope = api.make("address_scope", ip_version=4)["id"]
    id = pool(api, address_scope_id=scope)["id"]
    subnet = cut(api, red, id, prefixlen=24).body["subnet"]["id"]
    assert api.delete("subnetpool", id).fault == (
        BAD,
        "SubnetPoolDeleteError",
        "Unable to delete subnet pool: Subnet pool has existing allocations.",
    )
    in_use = f"Unable to complete operation on address scope {scope}. There are one or more subnet pools in use on"
    assert api.delete("address_scope", scope).fault == (
        CONFLICT,
        "AddressScopeInUse",
        f"{in_use} the address scope.",
    )
    for kind, each in (("subnet", subnet), ("subnetpool", id), ("address_scope", scope)):
        assert api.delete(kind, each).status == 204


def test_an_address_scope_is_what_was_asked_for(api: Client) -> None:
    made = api.make("address_scope", name="s", ip_version="4", project_id="p")
    assert made == {
        "id": made["id"],
        "name": "s",
        "ip_version": 4,
        "shared": False,
        "project_id": "p",
        "tenant_id": "p",
    }
    id = made["id"]
    assert api.put("address_scope", id, shared=True, name="t").body["address_scope"]["shared"] is True
    assert api.put("address_scope", id, shared=True).status == 200
    assert api.put("address_scope", id, shared=False).fault == (
        BAD,
        "AddressScopeUpdateError",
        f"Unable to update address scope {id} : Shared address scope can't be unshared.",
    )
    assert api.get("/v2.0/address-scopes?shared=true&ip_version=4")["address_scopes"][0]["name"] == "t"
    for wrong, said in (
        ({"ip_version": 5}, "Invalid input for ip_version. Reason: 5 is not in valid_values."),
        ({}, "Failed to parse request. Required attribute 'ip_version' not specified"),
        ({"ip_version": 4, "description": "x"}, "Unrecognized attribute(s) 'description'"),
    ):
        assert api.post("address_scope", **wrong).fault == (BAD, "HTTPBadRequest", said)


def test_the_pools_of_a_scope_are_apart_and_of_its_version(api: Client) -> None:
    scope = api.make("address_scope", ip_version=4)["id"]
    pool(api, "10.0.0.0/16", address_scope_id=scope)
    beside = pool(api, "10.0.0.0/8")["id"]
    apart = "Failed to associate address scope: subnetpools within an address scope must have unique prefixes."
    overlaps = (CONFLICT, "AddressScopePrefixConflict", apart)
    assert api.put("subnetpool", beside, address_scope_id=scope).fault == overlaps
    assert api.post("subnetpool", name="x", prefixes=["10.0.1.0/28"], address_scope_id=scope).fault == overlaps
    third = pool(api, "10.1.0.0/16", address_scope_id=scope)["id"]
    assert api.put("subnetpool", third, prefixes=["10.0.0.0/15"]).fault == overlaps
    added = api.ask("PUT", f"/v2.0/subnetpools/{third}/add_prefixes", {"prefixes": ["10.0.9.0/24"]})
    assert added.fault == overlaps
    six = pool(api, "2001:db8::/32")["id"]
    assert api.put("subnetpool", six, address_scope_id=scope).fault == (
        BAD,
        "IllegalSubnetPoolIpVersionAssociationToAddressScope",
        f"Illegal subnetpool association: subnetpool {six} cannot associate with address scope {scope} because "
        "subnetpool ip_version is not 4.",
    )
    assert api.put("subnetpool", six, address_scope_id=NOBODY).fault[:2] == (404, "AddressScopeNotFound")


def test_the_subnets_of_a_network_are_of_one_scope(api: Client, red: str) -> None:
    scope, other = (api.make("address_scope", ip_version=4)["id"] for _ in range(2))
    one, two = (pool(api, f"10.{n}.0.0/16", address_scope_id=scope, default_prefixlen=24)["id"] for n in (0, 1))
    apart = pool(api, "10.0.0.0/16", address_scope_id=other, default_prefixlen=24)["id"]
    assert cut(api, red, one).status == 201
    assert cut(api, red, two).status == 201, "pools of one scope may meet on a network"
    shown = api.get(f"/v2.0/networks/{red}")["network"]
    assert (shown["ipv4_address_scope"], shown["ipv6_address_scope"]) == (scope, None)
    said = "Subnets of the same address family hosted on the same network must all participate in the same address"
    affinity = (BAD, "NetworkAddressScopeAffinityError", f"{said} scope.")
    assert cut(api, red, apart, cidr="10.0.9.0/24").fault == affinity
    assert api.put("subnetpool", one, address_scope_id=None).status == 200, "a pool may leave its scope"
    assert api.put("subnetpool", one, address_scope_id=scope).fault == affinity, "but not come back to half a network"


def test_parallel_requests_never_get_overlapping_prefixes(api: Client, red: str) -> None:
    id = pool(api, "10.0.0.0/24", default_prefixlen=28)["id"]
    networks = [api.make("network")["id"] for _ in range(20)]

    async def all_at_once() -> list[Answer]:
        return await asyncio.gather(*(asyncio.to_thread(cut, api, network, id) for network in networks))

    answers = asyncio.run(all_at_once())
    made = [ip_network(answer.body["subnet"]["cidr"]) for answer in answers if answer.status == 201]
    assert sorted(answer.status for answer in answers) == [201] * 16 + [CONFLICT] * 4
    assert not any(one.overlaps(other) for one, other in combinations(made, 2))


BLOCKS = st.integers(0, 255).flatmap(
    lambda at: st.integers(24, 32).map(lambda length: Cidr(str(ip_network(f"10.0.0.{at}/{length}", strict=False))))
)


@given(st.lists(BLOCKS, min_size=1, max_size=6), st.lists(BLOCKS, max_size=6))
def test_what_is_left_of_prefixes_is_each_address_once(whole: list[Cidr], gone: list[Cidr]) -> None:
    def addresses(blocks: list[Cidr]) -> set[int]:
        return {int(each) for block in blocks for each in ip_network(block)}

    left = [*prefixes.without(prefixes.merged(whole), gone)]
    assert addresses(left) == addresses(whole) - addresses(gone)
    assert sum(ip_network(each).num_addresses for each in left) == len(addresses(left))
    assert not left or [*prefixes.merged(left)] == left, "in as few blocks as can be, in order"


@given(st.lists(st.integers(26, 30), max_size=12))
def test_a_pool_gives_apart_prefixes_until_nothing_fits(lengths: list[int]) -> None:
    tx = Transaction(Model())
    whole = SubnetPool(
        id="p",
        ip_version=4,
        prefixes=(Cidr("10.0.0.0/26"), Cidr("10.0.1.0/26")),
        min_prefixlen=8,
        max_prefixlen=32,
        default_prefixlen=26,
    )
    for place, length in enumerate(lengths):
        try:
            cidr = prefixes.allocate(tx, whole, "", length, None, None)
        except NoPrefix:
            taken = [each.cidr for each in tx.all(Subnet)]
            assert all(ip_network(each).prefixlen > length for each in prefixes.without(whole.prefixes, taken))
            continue
        assert ip_network(cidr).prefixlen == length
        assert prefixes.without([cidr], whole.prefixes) == ()
        assert not prefixes.overlap([cidr], [each.cidr for each in tx.all(Subnet)])
        tx.put(
            Subnet(
                id=f"s{place}",
                network_id="n",
                ip_version=4,
                cidr=cidr,
                gateway_ip=None,
                allocation_pools=(),
                subnetpool_id="p",
            )
        )
