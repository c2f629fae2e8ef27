"""A network that a project has because it asks."""

from __future__ import annotations

from controller.model.records import AutoTopology
from tests.northbound.served import Answer, Client

PATH = "/v2.0/auto-allocated-topology"
REFUSED = "AutoAllocationFailure"


def lead_outside(api: Client) -> str:
    outside = api.make("network", **{"router:external": True, "is_default": True})["id"]
    api.make("subnet", network_id=outside, ip_version=4, cidr="203.0.113.0/24")
    return str(outside)


def have_pools(api: Client) -> list[str]:
    common = {"is_default": True, "shared": True}
    four = api.make("subnetpool", name="four", prefixes=["10.0.0.0/16"], default_prefixlen=26, **common)
    six = api.make("subnetpool", name="six", prefixes=["2001:db8::/48"], default_prefixlen=64, **common)
    return [four["id"], six["id"]]


def ask(api: Client, project: str, query: str = "") -> Answer:
    return api.ask("GET", f"{PATH}/{project}{query}")


def test_a_project_gets_a_network_that_leads_outside(api: Client) -> None:
    outside, pools = lead_outside(api), have_pools(api)
    answer = ask(api, "p1")
    network = answer.body["auto_allocated_topology"]["id"]
    assert answer.body == {"auto_allocated_topology": {"id": network, "project_id": "p1", "tenant_id": "p1"}}
    assert ask(api, "p1").body == answer.body, "it is made once"
    shown = api.get(f"/v2.0/networks/{network}")["network"]
    assert (shown["name"], shown["admin_state_up"], shown["project_id"]) == ("auto_allocated_network", True, "p1")
    subnets = api.get(f"/v2.0/subnets?network_id={network}&sort_key=ip_version&sort_dir=asc")["subnets"]
    assert [each["name"] for each in subnets] == ["auto_allocated_subnet_v4", "auto_allocated_subnet_v6"]
    assert [each["subnetpool_id"] for each in subnets] == pools
    (router,) = api.get("/v2.0/routers?project_id=p1")["routers"]
    assert (router["name"], router["external_gateway_info"]["network_id"]) == ("auto_allocated_router", outside)
    ports = api.get(f"/v2.0/ports?device_id={router['id']}&network_id={network}")["ports"]
    assert {ip["ip_address"] for port in ports for ip in port["fixed_ips"]} == {each["gateway_ip"] for each in subnets}
    assert api.get(f"{PATH}")["auto_allocated_topologies"] == [answer.body["auto_allocated_topology"]]


def test_it_goes_as_a_whole_and_only_when_nobody_uses_it(api: Client) -> None:
    lead_outside(api)
    have_pools(api)
    network = ask(api, "p1").body["auto_allocated_topology"]["id"]
    guest = api.make("port", network_id=network, project_id="p1")["id"]
    assert api.ask("DELETE", f"{PATH}/p1").fault[:2] == (409, "NetworkInUse")
    assert len(api.get("/v2.0/routers?project_id=p1")["routers"]) == 1, "nothing went"
    api.delete("port", guest)
    assert api.ask("DELETE", f"{PATH}/p1").status == 204
    for kind in ("networks", "subnets", "ports", "routers"):
        assert api.get(f"/v2.0/{kind}?project_id=p1")[kind] == []
    assert [*api.store.model.all(AutoTopology)] == []
    assert api.ask("DELETE", f"{PATH}/p1").status == 204, "of none nothing goes"


def test_it_is_made_anew_when_its_network_has_gone(api: Client) -> None:
    lead_outside(api)
    have_pools(api)
    network = ask(api, "p1").body["auto_allocated_topology"]["id"]
    (router,) = api.get("/v2.0/routers?project_id=p1")["routers"]
    for subnet in api.get(f"/v2.0/networks/{network}")["network"]["subnets"]:
        path = f"/v2.0/routers/{router['id']}/remove_router_interface"
        assert api.ask("PUT", path, {"subnet_id": subnet}).status == 200
    assert api.delete("router", router["id"]).status == 204
    assert api.delete("network", network).status == 204
    assert ask(api, "p1").body["auto_allocated_topology"]["id"] != network


def test_it_can_be_asked_whether_it_could_be(api: Client) -> None:
    dry, told = "?fields=dry-run", "Deployment error: {}."
    no_way_out = (409, REFUSED, told.format("No default router:external network"))
    assert ask(api, "p1").fault == ask(api, "p1", dry).fault == no_way_out
    lead_outside(api)
    assert ask(api, "p1", dry).fault == (409, REFUSED, told.format("No default subnetpools defined"))
    assert ask(api, "p1").fault == (409, REFUSED, told.format("Unable to provide project private network"))
    assert api.get("/v2.0/networks?project_id=p1")["networks"] == [], "nothing is left of the attempt"
    have_pools(api)
    passed = {"auto_allocated_topology": {"id": "dry-run=pass", "project_id": "p1"}}
    assert ask(api, "p1", dry).body == passed
    assert api.get("/v2.0/networks?project_id=p1")["networks"] == []
    assert ask(api, "p1", "?fields=id").fault == (400, "BadRequest", "Bad auto_allocate request: Unrecognized field.")


def test_nobody_has_none(api: Client) -> None:
    """`None` is the project that asks, which is nobody's without authentication."""
    lead_outside(api)
    have_pools(api)
    assert ask(api, "None").fault == (400, "BadRequest", "Bad auto_allocate request: No project.")


def test_a_pool_without_room_is_a_refusal_and_leaves_nothing(api: Client) -> None:
    lead_outside(api)
    pool = api.make("subnetpool", name="four", prefixes=["10.0.0.0/26"], default_prefixlen=26, is_default=True)
    used = api.make("network")["id"]
    api.make("subnet", network_id=used, ip_version=4, subnetpool_id=pool["id"])
    before = api.store.model.revision
    assert ask(api, "p1").fault == (409, REFUSED, "Deployment error: Unable to provide project private network.")
    assert api.store.model.revision == before
