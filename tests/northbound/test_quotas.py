"""Quotas: how much projects may have, counted where it is made."""

from __future__ import annotations

import asyncio

import pytest

from controller.model.records import Port
from northbound.api import Settings
from tests.northbound.served import Answer, Client, serving

DEFAULTS = {
    "network": 100,
    "subnet": 100,
    "subnetpool": -1,
    "port": 500,
    "router": 10,
    "router_route": 30,
    "floatingip": 50,
    "security_group": 10,
    "security_group_rule": 100,
    "rbac_policy": 10,
}
OVER = "Quota exceeded for resources: ['{}']."


def limits(answer: dict[str, dict[str, int]]) -> dict[str, int]:
    return {name: limit for name, limit in answer["quota"].items() if not name.endswith("_id")}


def test_a_project_that_nobody_heard_of_has_the_defaults(api: Client) -> None:
    for path in ("/v2.0/quotas/p", "/v2.0/quotas/p/default"):
        assert limits(api.get(path)) == DEFAULTS
    assert api.get("/v2.0/quotas") == {"quotas": []}
    assert api.delete("quota", "p").fault == (404, "TenantQuotaNotFound", "Quota for project p could not be found.")


def test_limits_are_set_and_fall_back(api: Client) -> None:
    set_ = api.put("quota", "p", network=5, port="-1").body
    assert limits(set_) == limits(api.get("/v2.0/quotas/p")) == {**DEFAULTS, "network": 5, "port": -1}
    assert limits(api.put("quota", "p", network=6).body)["port"] == -1
    assert limits(api.put("quota", "p").body)["network"] == 6
    (listed,) = api.get("/v2.0/quotas")["quotas"]
    assert (listed["project_id"], listed["tenant_id"], listed["network"]) == ("p", "p", 6)
    assert limits(api.get("/v2.0/quotas/p/default")) == limits(api.get("/v2.0/quotas/q")) == DEFAULTS
    assert api.delete("quota", "p").status == 204
    assert limits(api.get("/v2.0/quotas/p")) == DEFAULTS


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"network": -2}, ("HTTPBadRequest", "Invalid input for network. Reason: '-2' is too small - must be at")),
        ({"network": 2**31}, ("HTTPBadRequest", "Invalid input for network. Reason: '2147483648' is too large - must")),
        ({"network": "x"}, ("InvalidInput", "Invalid input for operation: 'x' is not an integer.")),
        ({"network": None}, ("InvalidInput", "Invalid input for operation: 'None' is not an integer.")),
        ({"foo": 1}, ("HTTPBadRequest", "Unrecognized attribute(s) 'foo'")),
    ],
)
def test_what_is_no_limit_is_refused(api: Client, given: dict[str, object], fault: tuple[str, str]) -> None:
    status, kind, said = api.put("quota", "p", **given).fault
    assert (status, kind, said[: len(fault[1])]) == (400, *fault)
    assert api.get("/v2.0/quotas") == {"quotas": []}
    assert api.ask("POST", "/v2.0/quotas", {"quota": {}}).status == 405


def test_who_asks_is_told_its_own_project(api: Client) -> None:
    for name in ("tenant", "project"):
        told = api.get(f"/v2.0/quotas/{name}", X_Project_Id="mine")
        assert told == {name: {f"{name}_id": "mine"}}
        refused = (400, "QuotaMissingTenant", "Tenant-id was missing from quota request.")
        assert api.ask("GET", f"/v2.0/quotas/{name}").fault == refused


def test_a_quota_below_what_is_there_must_be_forced(api: Client) -> None:
    for _ in range(2):
        api.make("network", project_id="p")
    said = "Quota limit 1 for network must be greater than or equal to already used 2"
    for more in ({}, {"check_limit": True}, {"force": "true"}):
        assert api.put("quota", "p", network=1, **more).fault == (400, "HTTPBadRequest", said)
    assert limits(api.put("quota", "p", network=2).body)["network"] == 2
    assert limits(api.put("quota", "p", network=1, force=True).body)["network"] == 1
    assert api.post("network", project_id="p").fault == (409, "OverQuota", OVER.format("network"))


def test_details_tell_what_is_used(api: Client) -> None:
    network = api.make("network", project_id="p")["id"]
    api.make("subnet", network_id=network, ip_version=4, cidr="10.0.0.0/24", project_id="p")
    api.ask("POST", "/v2.0/ports", {"ports": [{"network_id": network, "project_id": "p"}] * 3})
    api.make("port", network_id=network, project_id="q")
    api.put("quota", "p", port=7)
    for path in ("/v2.0/quotas/p/details", "/v2.0/quotas/p/details.json"):
        found = api.get(path)["quota"]
        assert found.keys() == DEFAULTS.keys()
        assert found["port"] == {"limit": 7, "used": 3, "reserved": 0}
        assert found["network"] == {"limit": 100, "used": 1, "reserved": 0}
        assert found["security_group_rule"]["used"] == 4, "of the default group"
        assert found["router_route"] == {"limit": 30, "used": 0, "reserved": 0}


def test_every_counted_resource_stops_at_its_limit(api: Client) -> None:
    network = api.make("network", project_id="other")["id"]
    group = api.make("security_group", project_id="other")["id"]
    outside = api.make("network", **{"router:external": True})["id"]
    api.make("subnet", network_id=outside, ip_version=4, cidr="203.0.113.0/24")
    bodies: dict[str, dict[str, object]] = {
        "floatingip": {"floating_network_id": outside},
        "network": {},
        "subnet": {"network_id": network, "ip_version": 4, "cidr": "10.0.0.0/24"},
        "subnetpool": {"name": "x", "prefixes": ["10.0.0.0/8"]},
        "port": {"network_id": network},
        "router": {},
        "security_group": {},
        "security_group_rule": {"security_group_id": group, "direction": "ingress"},
        "rbac_policy": {
            "object_type": "network",
            "object_id": network,
            "action": "access_as_shared",
            "target_tenant": "*",
        },
    }
    assert bodies.keys() == DEFAULTS.keys() - {"router_route"}
    for kind, body in bodies.items():
        api.put("quota", "p", **{kind: 0}, force=True)
        full = (409, "OverQuota", OVER.format(kind))
        assert api.post(kind, **body, project_id="p").fault == full
        assert api.post(kind, **body, project_id="p2").status == 201, "another project's is its own"
        api.put("quota", "p", **{kind: -1})


def test_a_group_is_not_made_without_room_for_the_rules_it_is_born_with(api: Client) -> None:
    api.make("security_group", project_id="p")
    used = api.get("/v2.0/quotas/p/details")["quota"]["security_group_rule"]["used"]
    for limit, status in ((used + 1, 409), (used + 2, 201)):
        assert api.put("quota", "p", security_group_rule=limit).status == 200
        assert api.post("security_group", project_id="p").status == status


def test_a_bulk_request_is_within_the_quota_or_makes_nothing(api: Client) -> None:
    network = api.make("network", project_id="p")["id"]
    api.put("quota", "p", port=3)

    def ports(*projects: str) -> Answer:
        return api.ask("POST", "/v2.0/ports", {"ports": [{"network_id": network, "project_id": p} for p in projects]})

    assert ports("p", "p", "p", "p").fault == (409, "OverQuota", OVER.format("port"))
    assert api.get("/v2.0/ports")["ports"] == []
    assert ports("p", "q", "p", "q", "p").status == 201
    assert ports("q").status == 201
    assert ports("p").status == 409
    assert api.delete("port", api.get("/v2.0/ports?project_id=p")["ports"][0]["id"]).status == 204
    assert ports("p").status == 201


def test_what_belongs_to_nobody_is_not_counted(api: Client) -> None:
    network = api.make("network")["id"]
    many = [{"network_id": network} for _ in range(501)]
    assert api.ask("POST", "/v2.0/ports", {"ports": many}).status == 201


def test_a_router_has_so_many_routes_as_its_project_says(api: Client) -> None:
    network = api.make("network")["id"]
    subnet = api.make("subnet", network_id=network, ip_version=4, cidr="10.0.0.0/24")["id"]
    router = api.make("router", project_id="p")["id"]
    api.ask("PUT", f"/v2.0/routers/{router}/add_router_interface", {"subnet_id": subnet})
    routes = [{"destination": f"10.{n}.0.0/16", "nexthop": "10.0.0.9"} for n in range(1, 4)]
    api.put("quota", "p", router_route=2)
    assert api.put("router", router, routes=routes).fault == (409, "OverQuota", OVER.format("router_route"))
    assert api.put("router", router, routes=routes[:2]).status == 200
    api.put("quota", "p", router_route=-1)
    assert api.put("router", router, routes=routes).status == 200


def test_an_operator_chooses_the_defaults() -> None:
    with serving(Settings(quotas={"network": 1, "router": -1})) as api:
        assert limits(api.get("/v2.0/quotas/p")) == {**DEFAULTS, "network": 1, "router": -1}
        assert api.post("network", project_id="p").status == 201
        assert api.post("network", project_id="p").status == 409
        assert api.put("quota", "p", network=2).status == 200
        assert api.post("network", project_id="p").status == 201


def test_parallel_writers_never_exceed_a_quota(api: Client) -> None:
    network = api.make("network")["id"]
    api.put("quota", "p", port=25)

    async def all_at_once() -> list[Answer]:
        body = {"ports": [{"network_id": network, "project_id": "p"}] * 2}
        return await asyncio.gather(*(asyncio.to_thread(api.ask, "POST", "/v2.0/ports", body) for _ in range(30)))

    answers = asyncio.run(all_at_once())
    assert sorted(answer.status for answer in answers) == [201] * 12 + [409] * 18
    assert api.store.model.count(Port, project_id="p") == 24
