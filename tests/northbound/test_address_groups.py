"""Address groups: blocks of addresses that rules may name, and that change by actions."""

from __future__ import annotations

import pytest

from controller.model.records import AddressGroup
from tests.northbound.served import NOBODY, Answer, Client


def act(api: Client, id: str, action: str, addresses: object, **headers: str) -> Answer:
    return api.ask("PUT", f"/v2.0/address-groups/{id}/{action}", {"addresses": addresses}, **headers)


def narrowed(api: Client, id: str) -> int:
    group = api.store.model.get(AddressGroup, id)
    assert group is not None
    return group.narrowed


def test_a_group_is_what_was_asked_for_in_canonical_form(api: Client) -> None:
    group = api.make(
        "address_group",
        name="office",
        description="d",
        project_id="p",
        addresses=["10.0.0.5/24", "2001:DB8::/32", "0.0.0.0/0"],
    )
    assert {name: group[name] for name in group if name not in ("id", "created_at", "updated_at")} == {
        "name": "office",
        "description": "d",
        "project_id": "p",
        "tenant_id": "p",
        "addresses": ["10.0.0.0/24", "2001:db8::/32", "0.0.0.0/0"],
        "revision_number": 1,
    }
    assert api.get(f"/v2.0/address-groups/{group['id']}")["address_group"] == group
    assert api.get("/v2.0/address-groups?name=office&project_id=p")["address_groups"] == [group]
    assert api.make("address_group")["addresses"] == []
    assert api.make("address_group", addresses=None)["addresses"] == []
    assert api.make("address_group", addresses=["10.0.0.0/24", "10.0.0.1/24"])["addresses"] == ["10.0.0.0/24"]


@pytest.mark.parametrize(
    ("addresses", "reason"),
    [
        ("10.0.0.0/24", "'10.0.0.0/24' is not a list"),
        (["10.0.0.0"], "'10.0.0.0' is not a valid IP subnet"),
        (["10.0.0.0/33"], "'10.0.0.0/33' is not a valid IP subnet"),
        (["10.0.0.0/255.255.255.0"], "'10.0.0.0/255.255.255.0' is not a valid IP subnet"),
        (["fe80::1%eth0/64"], "'fe80::1%eth0/64' is not a valid IP subnet"),
        ([None], "'None' is not a valid IP subnet"),
        (["10.0.0.0/24", "10.0.0.0/24"], "Duplicate items in the list: '10.0.0.0/24'"),
    ],
)
def test_what_is_no_list_of_blocks_is_refused(api: Client, addresses: object, reason: str) -> None:
    fault = (400, "HTTPBadRequest", f"Invalid input for addresses. Reason: {reason}.")
    assert api.post("address_group", addresses=addresses).fault == fault


def test_actions_take_addresses_of_their_own_and_the_same_one_twice(api: Client) -> None:
    id = api.make("address_group", addresses=["10.0.0.0/24"])["id"]
    added = act(api, id, "add_addresses", ["192.0.2.9", "192.0.2.9/32", "2001:db8::9"]).body["address_group"]
    assert added["addresses"] == ["10.0.0.0/24", "192.0.2.9/32", "2001:db8::9/128"]
    assert act(api, id, "remove_addresses", ["10.0.0.0"]).fault[:2] == (404, "AddressesNotFound")
    wrong: list[object] = ["10.0.0.0/24", ["10.0.0.0/33"], ["no address"], [None], [{}]]
    for given in wrong:
        assert act(api, id, "add_addresses", given).fault[:2] == (400, "HTTPBadRequest")
    assert api.get(f"/v2.0/address-groups/{id}")["address_group"] == added


def test_addresses_come_and_go_by_actions(api: Client) -> None:
    id = api.make("address_group", addresses=["10.0.0.0/24"])["id"]
    added = act(api, id, "add_addresses", ["10.0.1.0/24", "2001:db8::/32"])
    assert added.status == 200
    assert added.body["address_group"]["addresses"] == ["10.0.0.0/24", "10.0.1.0/24", "2001:db8::/32"]
    assert added.body["address_group"]["revision_number"] == 2
    assert narrowed(api, id) == 0
    removed = act(api, id, "remove_addresses", ["10.0.0.9/24", "2001:db8::/32"]).body["address_group"]
    assert (removed["addresses"], removed["revision_number"]) == (["10.0.1.0/24"], 3)
    assert narrowed(api, id) == 1
    assert api.get(f"/v2.0/address-groups/{id}")["address_group"] == removed
    before = len(api.changes)
    assert act(api, id, "add_addresses", []).body["address_group"] == removed
    assert len(api.changes) == before


def test_addresses_that_are_there_or_not_there_already_are_refused(api: Client) -> None:
    id = api.make("address_group", addresses=["10.0.0.0/24"])["id"]
    assert act(api, id, "add_addresses", ["10.0.1.0/24", "10.0.0.0/24"]).fault == (
        400,
        "AddressesAlreadyExist",
        f"Addresses ['10.0.0.0/24'] already exist in the address group {id}.",
    )
    assert act(api, id, "remove_addresses", ["10.0.0.0/24", "10.0.1.0/24"]).fault == (
        404,
        "AddressesNotFound",
        f"Addresses ['10.0.1.0/24'] not found in the address group {id}.",
    )
    assert api.get(f"/v2.0/address-groups/{id}")["address_group"]["revision_number"] == 1


def test_an_action_is_a_put_with_addresses_on_a_group_that_exists(api: Client) -> None:
    id = api.make("address_group")["id"]
    path = f"/v2.0/address-groups/{id}/add_addresses"
    assert act(api, NOBODY, "add_addresses", []).fault[:2] == (404, "AddressGroupNotFound")
    assert api.ask("PUT", path, {}).fault[2] == "Failed to parse request. Required attribute 'addresses' not specified"
    assert api.ask("PUT", path, {"addresses": [], "x": 1}).fault[2] == "Unrecognized attribute(s) 'x'"
    assert api.ask("PUT", path, "[]").fault[2] == "Body contains invalid data"
    assert api.ask("POST", path, {"addresses": []}).fault[0] == 405
    assert act(api, id, "drop_addresses", []).fault[0] == 404
    assert act(api, id, "add_addresses", [], If_Match="revision_number=7").fault[0] == 412
    refused = api.put("address_group", id, addresses=["10.0.0.0/8"])
    assert refused.fault == (400, "HTTPBadRequest", "Cannot update read-only attribute addresses")
    assert api.put("address_group", id, name="n").body["address_group"]["name"] == "n"


def test_a_group_that_rules_name_stays(api: Client) -> None:
    id = api.make("address_group", addresses=["10.0.0.0/24"])["id"]
    group = api.make("security_group")["id"]
    named = {"security_group_id": group, "direction": "egress", "remote_address_group_id": id}
    rule = api.make("security_group_rule", **named)
    assert rule["remote_address_group_id"] == id
    assert api.delete("address_group", id).fault == (
        409,
        "AddressGroupInUse",
        f"Address group {id} is in use on one or more security group rules.",
    )
    assert api.delete("security_group_rule", rule["id"]).status == 204
    assert api.delete("address_group", id).status == 204
    assert api.store.model.all(AddressGroup) == ()
