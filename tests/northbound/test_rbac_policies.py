"""RBAC policies: which projects may use an object of another, and that it stays theirs while they do."""

from __future__ import annotations

from typing import Any

import pytest

from controller.model import sharing
from controller.model.records import Network, Port, RbacPolicy, SecurityGroup, Subnet
from tests.northbound.served import Client

MINE = "11111111-1111-1111-1111-111111111111"
THEIRS = "22222222-2222-2222-2222-222222222222"
NOBODY = "99999999-9999-9999-9999-999999999999"


NEEDS: dict[str, dict[str, object]] = {"address_scope": {"ip_version": 4}, "subnetpool": {"prefixes": ["10.0.0.0/8"]}}


def one(api: Client, kind: str) -> str:
    return str(api.make(kind, name="x", project_id=MINE, **NEEDS.get(kind, {}))["id"])


def allow(api: Client, kind: str, id: str, target: str = THEIRS) -> Any:
    return api.make(
        "rbac_policy", object_type=kind, object_id=id, action="access_as_shared", target_tenant=target, project_id=MINE
    )


def shared(api: Client, kind: str, id: str, project: str) -> bool:
    """Whether an object is shared with a project, by each way to ask."""
    found = sharing.is_shared(api.store.model, id, project)
    if kind != "address_group":
        assert api.get(api.path(kind, id), X_Project_Id=project)[kind]["shared"] is found
        (listed,) = api.get(f"{api.path(kind)}?shared=true", X_Project_Id=project).values()
        assert [each["id"] for each in listed] == [id] * found
    return found


def use(api: Client, kind: str, id: str) -> tuple[str, str]:
    """Something of theirs that needs the object: its kind and id."""
    if kind == "network":
        return "port", api.make("port", network_id=id, project_id=THEIRS)["id"]
    if kind == "security_group":
        network = api.make("network")["id"]
        return "port", api.make("port", network_id=network, project_id=THEIRS, security_groups=[id])["id"]
    if kind == "address_group":
        group = api.make("security_group", project_id=THEIRS)["id"]
        rule = {"security_group_id": group, "direction": "ingress", "remote_address_group_id": id}
        return "security_group_rule", api.make("security_group_rule", **rule, project_id=THEIRS)["id"]
    if kind == "address_scope":
        pool = api.make("subnetpool", name="p", prefixes=["10.0.0.0/8"], address_scope_id=id, project_id=THEIRS)
        return "subnetpool", pool["id"]
    network = api.make("network")["id"]
    four = {"network_id": network, "ip_version": 4, "subnetpool_id": id, "prefixlen": 24}
    return "subnet", api.make("subnet", **four, project_id=THEIRS)["id"]


@pytest.mark.parametrize("kind", sharing.SHAREABLE)
def test_an_object_is_shared_with_a_project_until_nobody_there_needs_it(api: Client, kind: str) -> None:
    id = one(api, kind)
    policy = allow(api, kind, id)
    assert policy == {
        "id": policy["id"],
        "object_type": kind,
        "object_id": id,
        "action": "access_as_shared",
        "target_tenant": THEIRS,
        "project_id": MINE,
        "tenant_id": MINE,
    }
    assert api.get(f"/v2.0/rbac-policies/{policy['id']}") == {"rbac_policy": policy}
    for project, is_shared in ((THEIRS, True), (MINE, False), (NOBODY, False)):
        assert shared(api, kind, id, project) is is_shared
    user, user_id = use(api, kind, id)
    needed = f"RBAC policy on object {id} cannot be removed because other objects depend on it.\nDetails: "
    for answer in (
        api.delete("rbac_policy", policy["id"]),
        api.put("rbac_policy", policy["id"], target_tenant=NOBODY),
    ):
        status, fault, said = answer.fault
        assert (status, fault, said[: len(needed)]) == (409, "RbacPolicyInUse", needed)
    second = allow(api, kind, id, "*")
    assert shared(api, kind, id, NOBODY)
    assert api.delete("rbac_policy", policy["id"]).status == 204, "everybody has it"
    assert api.delete("rbac_policy", second["id"]).fault[:2] == (409, "RbacPolicyInUse")
    assert api.put("rbac_policy", second["id"], target_tenant=NOBODY).fault[:2] == (409, "RbacPolicyInUse")
    assert api.put("rbac_policy", second["id"], target_tenant=THEIRS).body["rbac_policy"]["target_tenant"] == THEIRS
    assert api.put("rbac_policy", second["id"], target_tenant="*").status == 200, "nobody loses by that"
    assert api.delete(user, user_id).status == 204
    assert api.delete("rbac_policy", second["id"]).status == 204
    assert not shared(api, kind, id, THEIRS)


@pytest.mark.parametrize("kind", sharing.SHAREABLE)
def test_the_policies_of_an_object_go_with_it(api: Client, kind: str) -> None:
    id = one(api, kind)
    allow(api, kind, id)
    assert api.delete(kind, id).status == 204
    assert api.get("/v2.0/rbac-policies") == {"rbac_policies": []}


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (
            {"action": "foo"},
            (
                400,
                "InvalidActionForType",
                "Invalid action 'foo' for object type 'network'. Valid actions: ('access_as_shared', "
                "'access_as_external')",
            ),
        ),
        (
            {"object_type": "foo"},
            (400, "InvalidInput", "Invalid input for operation: 'foo' is not a valid RBAC object type."),
        ),
        (
            {"target_tenant": "foo"},
            (
                400,
                "InvalidInput",
                "Invalid input for operation: 'foo' is not a valid target project ID; expected a UUID or '*'.",
            ),
        ),
        ({"target_tenant": None}, (400, "InvalidInput", None)),
        ({"object_id": "x"}, (400, "HTTPBadRequest", "Invalid input for object_id. Reason: 'x' is not a valid UUID.")),
        ({"object_id": NOBODY}, (404, "NetworkNotFound", f"Network {NOBODY} could not be found.")),
        ({"target_project": "*"}, (400, "HTTPBadRequest", "Unrecognized attribute(s) 'target_project'")),
    ],
)
def test_what_is_no_policy_is_refused(
    api: Client, given: dict[str, object], fault: tuple[int, str, str | None]
) -> None:
    id = one(api, "network")
    body = {"object_type": " Network", "object_id": id, "action": "access_as_shared", "target_tenant": THEIRS}
    status, kind, said = api.post("rbac_policy", **{**body, **given}).fault
    assert (status, kind) == fault[:2]
    assert fault[2] in (None, said)
    for name in body:
        lacking = {each: body[each] for each in body if each != name}
        missing = f"Failed to parse request. Required attribute '{name}' not specified"
        assert api.post("rbac_policy", **lacking).fault == (400, "HTTPBadRequest", missing)
    assert api.post("rbac_policy", **body).status == 201
    exists = (409, "DuplicateRbacPolicy", "An RBAC policy already exists with those values.")
    assert api.post("rbac_policy", **body).fault == exists
    other = api.post("rbac_policy", **{**body, "target_tenant": "*"}).body["rbac_policy"]["id"]
    assert api.put("rbac_policy", other, target_tenant=THEIRS).fault == exists
    assert api.put("rbac_policy", other, action="x").fault[:2] == (400, "HTTPBadRequest")


def test_whom_a_network_is_shared_with_counts_as_a_change_of_it(api: Client) -> None:
    id = api.make("network")["id"]
    asked = {"object_type": "network", "object_id": id, "action": "access_as_shared"}

    def revision() -> int:
        return int(api.get(f"/v2.0/networks/{id}")["network"]["revision_number"])

    policy = api.make("rbac_policy", **asked, target_tenant=THEIRS)["id"]
    assert revision() == 2
    assert api.put("rbac_policy", policy, target_tenant="*").status == 200
    assert revision() == 3
    assert api.put("rbac_policy", policy, target_tenant="*").status == 200
    assert revision() == 3
    assert api.delete("rbac_policy", policy).status == 204
    assert revision() == 4


def test_a_network_is_shared_with_all_by_its_attribute(api: Client) -> None:
    id = api.make("network", shared=True, project_id=MINE, name="red")["id"]
    (policy,) = api.get("/v2.0/rbac-policies?target_tenant=*")["rbac_policies"]
    assert (policy["object_id"], policy["project_id"]) == (id, MINE)
    assert api.put("network", id, shared=True).status == 200
    port = api.make("port", network_id=id, project_id=THEIRS)["id"]
    multiple = "Unable to reconfigure sharing settings for network red. Multiple projects are using it."
    assert api.put("network", id, shared=False).fault == (409, "InvalidSharedSetting", multiple)
    allow(api, "network", id)
    assert api.put("network", id, shared=False).body["network"]["shared"] is False
    assert len(api.get("/v2.0/rbac-policies")["rbac_policies"]) == 1
    assert api.delete("port", port).status == 204


def test_who_may_have_gateways_on_a_network_is_a_matter_of_policies(api: Client) -> None:
    network = api.make("network", project_id=MINE)["id"]
    api.make("subnet", network_id=network, ip_version=4, cidr="203.0.113.0/24", project_id=MINE)
    body = {"object_type": "network", "object_id": network, "action": "access_as_external", "target_tenant": THEIRS}
    path = f"/v2.0/networks/{network}"

    def is_external() -> bool:
        found: bool = api.get(path)["network"]["router:external"]
        return found

    assert api.post("rbac_policy", **{**body, "object_type": "security_group"}).fault == (
        400,
        "InvalidActionForType",
        "Invalid action 'access_as_external' for object type 'security_group'. Valid actions: ('access_as_shared',)",
    )
    policy = api.make("rbac_policy", **body)["id"]
    assert is_external(), "the first policy makes a network external"
    rows = api.store.model
    assert [sharing.leads_outside(rows, network, project) for project in (THEIRS, NOBODY)] == [True, False]
    router = api.make("router", external_gateway_info={"network_id": network}, project_id=THEIRS)["id"]
    in_use = (
        409,
        "RbacPolicyInUse",
        f"RBAC policy on object {network} cannot be removed because other objects depend on it.\nDetails: "
        "There are routers attached to this network that depend on this policy for access.",
    )
    assert api.delete("rbac_policy", policy).fault == in_use
    assert api.put("rbac_policy", policy, target_tenant=NOBODY).fault == in_use
    assert api.delete("router", router).status == 204
    assert api.delete("rbac_policy", policy).status == 204
    assert not is_external(), "and the last one takes that with it"
    assert api.put("network", network, **{"router:external": True, "is_default": True}).status == 200
    (wildcard,) = api.get("/v2.0/rbac-policies")["rbac_policies"]
    assert (wildcard["action"], wildcard["target_tenant"]) == ("access_as_external", "*")
    status, kind, said = api.delete("rbac_policy", wildcard["id"]).fault
    assert (status, kind) == (409, "RbacPolicyInUse")
    assert said.endswith("Details: Default external networks must be shared to everyone.")
    assert api.put("network", network, **{"router:external": False}).status == 200
    assert api.get("/v2.0/rbac-policies") == {"rbac_policies": []}


def test_a_pool_is_not_shared_without_its_scope(api: Client) -> None:
    scope = one(api, "address_scope")
    pool = api.make("subnetpool", name="p", prefixes=["10.0.0.0/8"], address_scope_id=scope, project_id=MINE)["id"]
    body = {"object_type": "subnetpool", "object_id": pool, "action": "access_as_shared", "target_tenant": THEIRS}
    status, kind, said = api.post("rbac_policy", **body).fault
    assert (status, kind) == (400, "InvalidInput")
    assert "target project doesn't have access to associated address scope" in said
    allow(api, "address_scope", scope)
    assert api.post("rbac_policy", **body).status == 201


def test_who_sees_what(api: Client) -> None:
    network = api.make("network", project_id=MINE)["id"]
    subnet = api.make("subnet", network_id=network, ip_version=4, cidr="10.0.0.0/24", project_id=MINE)["id"]
    port = api.make("port", network_id=network, project_id=NOBODY)["id"]
    group = api.make("security_group", project_id=MINE)["id"]
    rows = api.store.model

    def seen(project: str) -> list[bool]:
        records = (rows.get(Network, network), rows.get(Subnet, subnet), rows.get(Port, port))
        found = [*records, rows.get(SecurityGroup, group)]
        return [each is not None and sharing.visible(rows, project, each) for each in found]

    assert seen(MINE) == [True, True, True, True], "ports of others on a network of one's own, too"
    assert seen(THEIRS) == seen("") == [False, False, False, False]
    assert seen(NOBODY) == [False, False, True, False]
    for kind, id in (("network", network), ("security_group", group)):
        allow(api, kind, id)
    assert seen(THEIRS) == [True, True, False, True]
    assert seen("") == [False, False, False, False]
    assert len(rows.all(RbacPolicy)) == 2
