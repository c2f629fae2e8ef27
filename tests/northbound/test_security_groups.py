"""Security groups and their rules: what each project has, what a rule may say, and what goes with what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.model.protocols import NUMBERS
from controller.model.records import Bundle, SecurityGroup, SecurityGroupRule, Tag
from northbound.resources.security_group_rules import SECURITY_GROUP_RULES
from tests.northbound.served import NOBODY, Answer, Client, serving

NAMES = (
    "(None, 'any', 'ah', 'dccp', 'egp', 'esp', 'gre', 'hopopt', 'icmp', 'igmp', 'ip', 'ipip', 'ipv6-encap', "
    "'ipv6-frag', 'ipv6-icmp', 'icmpv6', 'ipv6-nonxt', 'ipv6-opts', 'ipv6-route', 'ospf', 'pgm', 'rsvp', 'sctp', "
    "'tcp', 'udp', 'udplite', 'vrrp')"
)


@pytest.fixture
def web(api: Client) -> str:
    return str(api.make("security_group", name="web", project_id="p")["id"])


def rule(api: Client, group: str, **said: object) -> Answer:
    return api.post("security_group_rule", **{"security_group_id": group, "direction": "ingress", **said})


def made(api: Client, group: str, **said: object) -> Any:
    answer = rule(api, group, **said)
    assert answer.status == 201, answer.text
    return answer.body["security_group_rule"]


def show(api: Client, group: str) -> Any:
    return api.get(f"/v2.0/security-groups/{group}")["security_group"]


def said(rules: list[dict[str, Any]]) -> list[tuple[str, str, str | None]]:
    return sorted((each["direction"], each["ethertype"], each["remote_group_id"]) for each in rules)


# --- groups


def test_a_group_is_born_with_rules_that_let_its_ports_send(api: Client) -> None:
    group = api.make("security_group", name="web", description="d", project_id="p")
    rules = group.pop("security_group_rules")
    assert {name: group[name] for name in group if name not in ("id", "created_at", "updated_at")} == {
        "name": "web",
        "description": "d",
        "project_id": "p",
        "tenant_id": "p",
        "stateful": True,
        "shared": False,
        "revision_number": 1,
        "tags": [],
    }
    assert said(rules) == [("egress", "IPv4", None), ("egress", "IPv6", None)]
    first = next(each for each in rules if each["ethertype"] == "IPv4")
    assert first == {
        "id": first["id"],
        "security_group_id": group["id"],
        "direction": "egress",
        "ethertype": "IPv4",
        "protocol": None,
        "port_range_min": None,
        "port_range_max": None,
        "remote_ip_prefix": None,
        "normalized_cidr": None,
        "remote_group_id": None,
        "remote_address_group_id": None,
        "belongs_to_default_sg": False,
        "description": "",
        "project_id": "p",
        "tenant_id": "p",
        "revision_number": 1,
        "created_at": group["created_at"],
        "updated_at": group["created_at"],
    }
    assert api.get(f"/v2.0/security-group-rules/{first['id']}")["security_group_rule"] == first
    assert show(api, group["id"]) == {**group, "security_group_rules": rules}


def test_a_project_finds_its_default_group_in_its_first_list(api: Client) -> None:
    assert api.get("/v2.0/security-groups") == {"security_groups": []}
    (group,) = api.get("/v2.0/security-groups", X_Project_Id="p")["security_groups"]
    assert (group["name"], group["description"], group["project_id"]) == ("default", "Default security group", "p")
    assert said(group["security_group_rules"]) == [
        ("egress", "IPv4", None),
        ("egress", "IPv6", None),
        ("ingress", "IPv4", group["id"]),
        ("ingress", "IPv6", group["id"]),
    ]
    assert {each["belongs_to_default_sg"] for each in group["security_group_rules"]} == {True}
    assert len(api.changes) == 1
    assert api.get("/v2.0/security-groups", X_Project_Id="p")["security_groups"] == [group]
    assert len(api.changes) == 1, "a list that finds what it needs writes nothing"
    for query in ("security-groups?project_id=q", "security-group-rules?tenant_id=r"):
        (found,) = api.get(f"/v2.0/{query}").values()
        assert found != []
    assert {each.project_id for each in api.store.model.all(SecurityGroup)} == {"p", "q", "r"}


def test_a_projects_first_group_brings_the_default_one(api: Client, web: str) -> None:
    assert {each.name for each in api.store.model.all(SecurityGroup)} == {"default", "web"}


def test_the_default_group_keeps_its_name(api: Client) -> None:
    (group,) = api.get("/v2.0/security-groups?project_id=p")["security_groups"]
    id = group["id"]
    assert api.put("security_group", id, name="x").fault == (
        409,
        "SecurityGroupCannotUpdateDefault",
        "Updating default security group not allowed.",
    )
    assert api.put("security_group", id, description="x").body["security_group"]["description"] == "x"
    for name in ("default", "DEFAULT"):
        exists = (409, "SecurityGroupDefaultAlreadyExists", "Default security group already exists.")
        assert api.post("security_group", name=name).fault == exists
        assert api.put("security_group", id, name=name).fault == exists


def test_groups_are_found_by_what_they_are(api: Client, web: str) -> None:
    stateless = api.make("security_group", name="stateless", stateful="no", project_id="p")["id"]
    for query, found in (
        ("name=web", [web]),
        ("stateful=false", [stateless]),
        (f"shared=false&id={web}", [web]),
        ("shared=true", []),
    ):
        assert [each["id"] for each in api.get(f"/v2.0/security-groups?{query}")["security_groups"]] == found, query
    listed = api.get("/v2.0/security-groups?fields=name&sort_key=name&sort_dir=desc")["security_groups"]
    assert listed == [{"name": "web"}, {"name": "stateless"}, {"name": "default"}]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"name": 5}, (400, "HTTPBadRequest", "Invalid input for name. Reason: '5' is not a valid string.")),
        ({"stateful": "x"}, (400, "InvalidInput", "Invalid input for operation: 'x' cannot be converted to boolean.")),
        ({"shared": True}, (400, "HTTPBadRequest", "Attribute 'shared' not allowed in POST")),
        ({"security_group_rules": []}, (400, "HTTPBadRequest", "Attribute 'security_group_rules' not allowed in POST")),
    ],
)
def test_a_group_that_cannot_be_is_refused(api: Client, given: dict[str, object], fault: object) -> None:
    assert api.post("security_group", **given).fault == fault
    assert api.changes == []


def test_a_group_with_ports_stays_and_stays_stateful(api: Client, web: str) -> None:
    network = api.make("network")["id"]
    port = api.make("port", network_id=network, security_groups=[web])["id"]
    fault = (409, "SecurityGroupInUse", f"Security Group {web} in use.")
    assert api.delete("security_group", web).fault == fault
    assert api.put("security_group", web, stateful=False).fault == fault
    assert api.put("security_group", web, stateful=True, name="w").body["security_group"]["name"] == "w"
    assert api.delete("port", port).status == 204
    assert api.put("security_group", web, stateful=False).body["security_group"]["stateful"] is False
    assert api.delete("security_group", web).status == 204


def test_with_a_group_go_its_rules_and_those_that_name_it(api: Client, web: str) -> None:
    db = api.make("security_group", name="db", project_id="p")
    named = made(api, db["id"], remote_group_id=web, protocol="tcp")
    made(api, web, remote_group_id=web)
    revision = show(api, db["id"])["revision_number"]
    assert api.delete("security_group", web).status == 204
    left = show(api, db["id"])
    assert (said(left["security_group_rules"]), left["revision_number"]) == (
        [("egress", "IPv4", None), ("egress", "IPv6", None)],
        revision + 1,
    )
    assert api.ask("GET", f"/v2.0/security-group-rules/{named['id']}").status == 404
    model = api.store.model
    assert not [each for each in model.all(SecurityGroupRule) if web in (each.security_group_id, each.remote_group_id)]
    assert {tag.id for tag in model.all(Tag) if tag.space == "bundle"} == {f"bundle/{b.id}" for b in model.all(Bundle)}


# --- rules


def test_a_change_of_the_rules_is_a_new_revision_of_their_group(api: Client, web: str) -> None:
    assert show(api, web)["revision_number"] == 1
    id = made(api, web, protocol="tcp")["id"]
    assert show(api, web)["revision_number"] == 2
    described = api.put("security_group_rule", id, description="ssh").body["security_group_rule"]
    assert (described["description"], described["revision_number"]) == ("ssh", 2)
    assert api.put("security_group_rule", id, protocol="udp").fault == (
        400,
        "HTTPBadRequest",
        "Cannot update read-only attribute protocol",
    )
    assert api.delete("security_group_rule", id).status == 204
    assert show(api, web)["revision_number"] == 3
    assert len(show(api, web)["security_group_rules"]) == 2


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({}, {"ethertype": "IPv4", "protocol": None}),
        ({"protocol": "any"}, {"protocol": None}),
        ({"protocol": "ANY"}, {"protocol": None}),
        ({"protocol": None, "ethertype": "ipv6"}, {"protocol": None, "ethertype": "IPv6"}),
        ({"protocol": "TCP"}, {"protocol": "tcp"}),
        ({"protocol": 6}, {"protocol": "6"}),
        ({"protocol": "255"}, {"protocol": "255"}),
        ({"protocol": "0"}, {"protocol": "0"}),
        ({"protocol": "vrrp"}, {"protocol": "vrrp"}),
        ({"protocol": "icmp", "ethertype": "IPv6"}, {"protocol": "ipv6-icmp"}),
        ({"protocol": "icmpv6", "ethertype": "IPv6"}, {"protocol": "ipv6-icmp"}),
        ({"protocol": "1", "ethertype": "IPv6"}, {"protocol": "58"}),
        ({"protocol": "icmp", "port_range_min": 8}, {"port_range_min": 8, "port_range_max": None}),
        ({"protocol": "icmp", "port_range_min": 0, "port_range_max": 0}, {"port_range_min": 0, "port_range_max": 0}),
        ({"protocol": "udp", "port_range_min": "53", "port_range_max": 53}, {"port_range_min": 53}),
        ({"protocol": "136", "port_range_min": 1, "port_range_max": 2}, {"port_range_min": 1, "port_range_max": 2}),
        ({"protocol": "tcp", "port_range_min": 1, "port_range_max": 65535}, {"port_range_min": None}),
        ({"port_range_min": 1, "port_range_max": 65535}, {"port_range_min": None, "port_range_max": None}),
        (
            {"remote_ip_prefix": "10.0.0.5/24"},
            {"remote_ip_prefix": "10.0.0.5/24", "normalized_cidr": "10.0.0.0/24"},
        ),
        ({"remote_ip_prefix": "10.0.0.5"}, {"remote_ip_prefix": "10.0.0.5/32", "normalized_cidr": "10.0.0.5/32"}),
        ({"remote_ip_prefix": "0.0.0.0/0"}, {"remote_ip_prefix": "0.0.0.0/0", "normalized_cidr": "0.0.0.0/0"}),
        ({"remote_ip_prefix": "2001:DB8::/32", "ethertype": "IPv6"}, {"remote_ip_prefix": "2001:db8::/32"}),
        ({"remote_ip_prefix": ""}, {"remote_ip_prefix": None, "normalized_cidr": None}),
        ({"remote_group_id": None, "remote_address_group_id": ""}, {"remote_address_group_id": None}),
    ],
)
def test_a_rule_is_shown_as_it_was_meant(
    api: Client, web: str, given: dict[str, object], shown: dict[str, object]
) -> None:
    found = made(api, web, **given)
    assert {name: found[name] for name in shown} == shown


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (
            {"protocol": "tpc"},
            (
                "SecurityGroupRuleInvalidProtocol",
                f"Security group rule protocol tpc not supported. Only protocol values {NAMES} and integer "
                "representations [0 to 255] are supported.",
            ),
        ),
        ({"protocol": 256}, ("SecurityGroupRuleInvalidProtocol", None)),
        ({"protocol": -1}, ("SecurityGroupRuleInvalidProtocol", None)),
        ({"protocol": ""}, ("SecurityGroupRuleInvalidProtocol", None)),
        ({"protocol": True}, ("SecurityGroupRuleInvalidProtocol", None)),
        ({"protocol": ["tcp"]}, ("SecurityGroupRuleInvalidProtocol", None)),
        (
            {"ethertype": "IPv5"},
            (
                "SecurityGroupRuleInvalidEtherType",
                "Security group rule for ethertype 'IPv5' not supported. Allowed values are ['IPv4', 'IPv6'].",
            ),
        ),
        ({"ethertype": None}, ("SecurityGroupRuleInvalidEtherType", None)),
        (
            {"direction": "in"},
            ("HTTPBadRequest", "Invalid input for direction. Reason: in is not in valid_values."),
        ),
        ({"direction": None}, ("HTTPBadRequest", None)),
        (
            {"protocol": "tcp", "port_range_min": 90, "port_range_max": 80},
            ("SecurityGroupInvalidPortRange", "For TCP/UDP protocols, port_range_min must be <= port_range_max"),
        ),
        ({"protocol": "tcp", "port_range_min": 90}, ("SecurityGroupInvalidPortRange", None)),
        ({"protocol": "sctp", "port_range_max": 90}, ("SecurityGroupInvalidPortRange", None)),
        (
            {"protocol": "udp", "port_range_min": 0, "port_range_max": 5},
            ("SecurityGroupInvalidPortValue", "Invalid value for port 0"),
        ),
        (
            {"protocol": "tcp", "port_range_min": 1, "port_range_max": 65536},
            ("SecurityGroupInvalidPortValue", "Invalid value for port 65536"),
        ),
        ({"protocol": "tcp", "port_range_min": "x"}, ("SecurityGroupInvalidPortValue", "Invalid value for port x")),
        ({"protocol": "tcp", "port_range_min": []}, ("SecurityGroupInvalidPortValue", None)),
        (
            {"port_range_min": 80, "port_range_max": 80},
            ("SecurityGroupProtocolRequiredWithPorts", "Must also specify protocol if port range is given."),
        ),
        (
            {"protocol": "gre", "port_range_min": 80, "port_range_max": 80},
            (
                "SecurityGroupInvalidProtocolForPort",
                "Ports cannot be specified for protocol 47. Ports are only supported for DCCP, SCTP, TCP, UDP, "
                "UDPLITE.",
            ),
        ),
        (
            {"protocol": "icmp", "port_range_min": 256},
            (
                "SecurityGroupInvalidIcmpValue",
                "Invalid value for ICMP type (port_range_min) 256. It must be 0 to 255.",
            ),
        ),
        (
            {"protocol": "icmp", "port_range_min": 8, "port_range_max": 300},
            (
                "SecurityGroupInvalidIcmpValue",
                "Invalid value for ICMP code (port_range_max) 300. It must be 0 to 255.",
            ),
        ),
        (
            {"protocol": "1", "port_range_max": 0},
            (
                "SecurityGroupMissingIcmpType",
                "ICMP code (port-range-max) 0 is provided but ICMP type (port-range-min) is missing.",
            ),
        ),
        (
            {"protocol": "ipv6-icmp"},
            ("SecurityGroupEthertypeConflictWithProtocol", "Invalid ethertype IPv4 for protocol ipv6-icmp."),
        ),
        ({"protocol": "icmpv6"}, ("SecurityGroupEthertypeConflictWithProtocol", None)),
        ({"protocol": "44"}, ("SecurityGroupEthertypeConflictWithProtocol", None)),
        ({"remote_ip_prefix": "10.0.0.0/33"}, ("InvalidCIDR", "Invalid CIDR 10.0.0.0/33 given as IP prefix.")),
        ({"remote_ip_prefix": 7}, ("InvalidCIDR", None)),
        (
            {"remote_ip_prefix": "2001:db8::/32"},
            ("SecurityGroupRuleParameterConflict", "Conflicting value ethertype IPv4 for CIDR 2001:db8::/32"),
        ),
        (
            {"remote_ip_prefix": "10.0.0.0/8", "remote_group_id": NOBODY},
            (
                "SecurityGroupMultipleRemoteEntites",
                "Only one of remote_ip_prefix or remote_group_id or remote_address_group_id may be provided.",
            ),
        ),
        (
            {"remote_address_group_id": NOBODY, "remote_group_id": NOBODY},
            ("SecurityGroupMultipleRemoteEntites", None),
        ),
        ({"security_group_id": None}, ("HTTPBadRequest", None)),
        ({"normalized_cidr": "10.0.0.0/8"}, ("HTTPBadRequest", None)),
    ],
)
def test_a_rule_that_means_nothing_is_refused(
    api: Client, web: str, given: dict[str, object], fault: tuple[str, str | None]
) -> None:
    before = len(api.changes)
    status, kind, message = rule(api, web, **given).fault
    assert (status, kind) == (400, fault[0])
    assert fault[1] in (None, message)
    assert len(api.changes) == before


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"security_group_id": NOBODY}, ("SecurityGroupNotFound", f"Security group {NOBODY} does not exist")),
        ({"remote_group_id": NOBODY}, ("SecurityGroupNotFound", f"Security group {NOBODY} does not exist")),
        (
            {"remote_address_group_id": NOBODY},
            ("AddressGroupNotFound", f"Address group {NOBODY} could not be found."),
        ),
    ],
)
def test_a_rule_about_nobody_is_refused(
    api: Client, web: str, given: dict[str, object], fault: tuple[str, str]
) -> None:
    assert rule(api, web, **given).fault == (404, *fault)


def test_a_direction_and_a_group_must_be_said(api: Client, web: str) -> None:
    message = "Failed to parse request. Required attribute 'direction' not specified"
    assert api.post("security_group_rule", security_group_id=web).fault == (400, "HTTPBadRequest", message)
    assert api.post("security_group_rule", direction="ingress").fault[0] == 400


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"protocol": "tcp"}, {"protocol": "6", "description": "x"}),
        ({"protocol": "icmp", "ethertype": "IPv6"}, {"protocol": "58", "ethertype": "IPv6"}),
        ({"protocol": "tcp"}, {"protocol": "tcp", "port_range_min": 1, "port_range_max": 65535}),
        ({}, {"remote_ip_prefix": "0.0.0.0/0"}),
        ({"ethertype": "IPv6", "remote_ip_prefix": "::/0"}, {"ethertype": "IPv6", "protocol": "any"}),
        ({"remote_ip_prefix": "10.0.0.1"}, {"remote_ip_prefix": "10.0.0.1/32"}),
    ],
)
def test_a_rule_exists_once_however_it_is_said(
    api: Client, web: str, one: dict[str, object], other: dict[str, object]
) -> None:
    first = made(api, web, **one)
    exists = f"Security group rule already exists. Rule id is {first['id']}."
    assert rule(api, web, **other).fault == (409, "SecurityGroupRuleExists", exists)
    bodies = [{"security_group_id": web, "direction": "ingress", **each} for each in (one, other)]
    twice = api.ask("POST", "/v2.0/security-group-rules", {"security_group_rules": bodies})
    assert twice.fault == (409, "DuplicateSecurityGroupRuleInPost", "Duplicate Security Group Rule in POST.")


def test_rules_that_differ_a_little_live_side_by_side(api: Client, web: str) -> None:
    for each in (
        {"direction": "egress", "protocol": "tcp"},
        {"protocol": "tcp", "port_range_min": 80, "port_range_max": 80},
        {"protocol": "tcp", "port_range_min": 80, "port_range_max": 81},
        {"protocol": "udp", "port_range_min": 80, "port_range_max": 80},
        {"protocol": "tcp", "remote_group_id": web},
        {"protocol": "tcp", "remote_ip_prefix": "10.0.0.0/24"},
        {"protocol": "tcp", "remote_ip_prefix": "10.0.0.0/25"},
        {"protocol": "tcp", "ethertype": "IPv6"},
    ):
        made(api, web, **each)
    assert len(show(api, web)["security_group_rules"]) == 10


def test_the_rules_of_one_request_are_of_one_group_and_one_project(api: Client, web: str) -> None:
    db = api.make("security_group", name="db")["id"]

    def both(**second: object) -> Answer:
        first = {"security_group_id": web, "direction": "ingress", "protocol": "tcp"}
        rules = [first, {**first, "protocol": "udp", **second}]
        return api.ask("POST", "/v2.0/security-group-rules", {"security_group_rules": rules})

    assert both(security_group_id=db).fault == (
        400,
        "SecurityGroupNotSingleGroupRules",
        "Only allowed to update rules for one security profile at a time",
    )
    assert both(project_id="q").fault == (
        400,
        "SecurityGroupRulesNotSingleProject",
        "Multiple project_ids in bulk security group rule create not allowed",
    )
    assert [each["protocol"] for each in both().body["security_group_rules"]] == ["tcp", "udp"]


def test_rules_are_found_by_what_they_say(api: Client, web: str) -> None:
    pool = api.make("address_group", addresses=["10.9.0.0/16"])["id"]
    http = made(api, web, protocol="tcp", port_range_min=80, port_range_max=80)["id"]
    named = made(api, web, remote_group_id=web, protocol="17")["id"]
    block = made(api, web, remote_ip_prefix="10.0.0.5/24")["id"]
    from_pool = made(api, web, remote_address_group_id=pool)["id"]
    for query, found in (
        ("protocol=TCP", {http}),
        ("protocol=17", {named}),
        ("port_range_min=80&port_range_max=80", {http}),
        (f"remote_group_id={web}", {named}),
        (f"remote_address_group_id={pool}", {from_pool}),
        ("remote_ip_prefix=10.0.0.5/24", {block}),
        ("normalized_cidr=10.0.0.0/24", {block}),
        (f"security_group_id={web}&direction=ingress", {http, named, block, from_pool}),
        (f"security_group_id={NOBODY}", set()),
        (f"security_group_id={web}&ethertype=ipv6&belongs_to_default_sg=false&direction=ingress", set()),
    ):
        rules = api.get(f"/v2.0/security-group-rules?{query}")["security_group_rules"]
        assert {each["id"] for each in rules} == found, query
    refused = api.ask("GET", "/v2.0/security-group-rules?port_range_min=x")
    assert refused.fault == (400, "SecurityGroupInvalidPortValue", "Invalid value for port x")


# --- anything


ANY_PORT = st.none() | st.sampled_from([0, 1, 8, 80, 255, 256, 65535, 65536, "22"])
ANY_RULE = st.fixed_dictionaries(
    {
        "ethertype": st.sampled_from(["IPv4", "IPv6", "ipv6"]),
        "protocol": st.none() | st.sampled_from([*NUMBERS, "any", "TCP"]) | st.integers(-1, 260) | st.text(max_size=4),
        "port_range_min": ANY_PORT,
        "port_range_max": ANY_PORT,
        "remote_ip_prefix": st.none()
        | st.sampled_from(["10.0.0.9/8", "0.0.0.0/0", "1.2.3.4/0", "::/0", "2001:db8::1/64", "::ffff:1.2.3.4"])
        | st.text(st.sampled_from("0123456789abcdef.:/%- "), max_size=12),
    }
)


@pytest.fixture(scope="module")
def shared() -> Iterator[Client]:
    with serving() as client:
        yield client


@given(st.lists(ANY_RULE, max_size=8))
def test_whatever_is_said_is_refused_for_a_reason_or_shown_again_the_same(
    shared: Client, rules: list[dict[str, object]]
) -> None:
    group = str(shared.make("security_group")["id"])
    kept = 0
    for each in rules:
        answer = rule(shared, group, **each)
        assert answer.status in (201, 400, 409), answer.text
        if answer.status == 201:
            kept += 1
            shown = answer.body["security_group_rule"]
            again = {name: shown[name] for name in each}
            assert rule(shared, group, **again).fault[1] == "SecurityGroupRuleExists"
    assert len(show(shared, group)["security_group_rules"]) == kept + 2
    assert shared.delete("security_group", group).status == 204


def test_every_attribute_of_a_rule_is_one_of_neutrons() -> None:
    assert {each.name for each in SECURITY_GROUP_RULES.attributes if not each.hidden} == {
        "id", "project_id", "tenant_id", "description", "revision_number", "created_at", "updated_at",
        "security_group_id", "direction", "ethertype", "protocol", "port_range_min", "port_range_max",
        "remote_ip_prefix", "normalized_cidr", "remote_group_id", "remote_address_group_id", "belongs_to_default_sg",
    }  # fmt: skip
