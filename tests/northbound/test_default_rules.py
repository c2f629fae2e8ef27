"""Default security group rules: what new groups are born with."""

from __future__ import annotations

from typing import Any

import pytest

from controller.model.records import DefaultSecurityGroupRule
from tests.northbound.served import NOBODY, Client

PATH = "/v2.0/default-security-group-rules"
BOTH = {"used_in_default_sg": True, "used_in_non_default_sg": True}
OTHERS = {"used_in_default_sg": False, "used_in_non_default_sg": True}


def born_with(api: Client, name: str, project: str) -> set[tuple[str, ...]]:
    """What the rules of a project's group say."""
    if name != "default":
        api.make("security_group", name=name, project_id=project)
    (group,) = api.get(f"/v2.0/security-groups?name={name}&project_id={project}")["security_groups"]
    return {
        (
            rule["direction"],
            rule["ethertype"],
            str(rule["protocol"]),
            "itself" if rule["remote_group_id"] == group["id"] else str(rule["remote_group_id"]),
        )
        for rule in group["security_group_rules"]
    }


EGRESS = {("egress", "IPv4", "None", "None"), ("egress", "IPv6", "None", "None")}
AMONG = {("ingress", "IPv4", "None", "itself"), ("ingress", "IPv6", "None", "itself")}


def listed(api: Client, query: str = "") -> list[Any]:
    return list(api.get(f"{PATH}?{query}")["default_security_group_rules"])


def test_until_somebody_changes_them_they_are_neutrons_and_in_no_store(api: Client) -> None:
    found = listed(api)
    assert {(each["direction"], each["ethertype"], str(each["remote_group_id"])) for each in found} == {
        ("egress", "IPv4", "None"),
        ("egress", "IPv6", "None"),
        ("ingress", "IPv4", "PARENT"),
        ("ingress", "IPv6", "PARENT"),
    }
    assert api.get(f"{PATH}/{found[0]['id']}") == {"default_security_group_rule": found[0]}
    assert len(listed(api, "used_in_non_default_sg=true")) == 2
    assert born_with(api, "default", "p") == EGRESS | AMONG
    assert born_with(api, "web", "p") == EGRESS
    assert api.store.model.all(DefaultSecurityGroupRule) == ()


def test_groups_are_born_with_what_is_there_then(api: Client) -> None:
    before = born_with(api, "old", "p")
    ids = {each["id"] for each in listed(api)}
    ssh = api.make(
        "default_security_group_rule",
        direction="ingress",
        protocol="tcp",
        port_range_min=22,
        port_range_max=22,
        remote_ip_prefix="192.0.2.1/24",
        description="from the office",
        **OTHERS,
    )
    assert ssh == {
        "id": ssh["id"],
        "description": "from the office",
        "direction": "ingress",
        "ethertype": "IPv4",
        "protocol": "tcp",
        "port_range_min": 22,
        "port_range_max": 22,
        "remote_ip_prefix": "192.0.2.1/24",
        "remote_group_id": None,
        "remote_address_group_id": None,
        **OTHERS,
    }
    assert {each["id"] for each in listed(api)} == ids | {ssh["id"]}, "the others keep their ids"
    tcp = ("ingress", "IPv4", "tcp", "None")
    assert born_with(api, "new", "p") == EGRESS | {tcp}
    assert born_with(api, "default", "q") == EGRESS | AMONG
    for id in ids:
        assert api.delete("default_security_group_rule", id).status == 204
    assert born_with(api, "newer", "p") == {tcp}
    assert born_with(api, "default", "r") == set()
    (old,) = api.get("/v2.0/security-groups?name=old")["security_groups"]
    assert len(old["security_group_rules"]) == len(before), "a group that is there stays as it is"
    assert api.delete("default_security_group_rule", ssh["id"]).status == 204
    assert listed(api) == []


def test_a_template_may_name_a_group_while_that_is_there(api: Client) -> None:
    friends = api.make("security_group", name="friends", project_id="p")["id"]
    api.make("default_security_group_rule", direction="ingress", remote_group_id=friends, **OTHERS)
    assert ("ingress", "IPv4", "None", friends) in born_with(api, "web", "p")
    assert api.delete("security_group", friends).status == 204
    assert born_with(api, "later", "p") == EGRESS


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({}, (400, "HTTPBadRequest", "Failed to parse request. Required attribute 'direction' not specified")),
        (
            {"direction": "ingress"},
            (400, "HTTPBadRequest", "Failed to parse request. Required attribute 'used_in_default_sg' not specified"),
        ),
        ({"direction": "ingress", "protocol": "foo", **BOTH}, (400, "SecurityGroupRuleInvalidProtocol", None)),
        (
            {"direction": "egress", "remote_group_id": "PARENT", "remote_ip_prefix": "10.0.0.0/8", **BOTH},
            (
                400,
                "SecurityGroupMultipleRemoteEntites",
                "Only one of remote_ip_prefix or remote_group_id or remote_address_group_id may be provided.",
            ),
        ),
        (
            {"direction": "egress", "remote_group_id": NOBODY, **BOTH},
            (404, "SecurityGroupNotFound", f"Security group {NOBODY} does not exist"),
        ),
        ({"direction": "egress", "remote_address_group_id": NOBODY, **BOTH}, (404, "AddressGroupNotFound", None)),
        ({"direction": "egress", **OTHERS}, (409, "DefaultSecurityGroupRuleExists", None)),
    ],
)
def test_what_is_no_template_is_refused(
    api: Client, given: dict[str, object], fault: tuple[int, str, str | None]
) -> None:
    refused = api.post("default_security_group_rule", **given).fault
    assert refused[:2] == fault[:2]
    assert fault[2] in (None, refused[2])


def test_a_template_does_not_change(api: Client) -> None:
    id = listed(api)[0]["id"]
    assert api.put("default_security_group_rule", id, description="x").status == 405
    for method in ("GET", "DELETE"):
        assert api.ask(method, f"{PATH}/x").fault == (
            404,
            "DefaultSecurityGroupRuleNotFound",
            "Default Security Group rule x does not exist",
        )
