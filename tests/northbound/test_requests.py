"""What every request has in common: discovery, bodies, refusals, ids, revisions, all or nothing."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import re
from collections.abc import Iterator, Sequence

import pytest

from controller.errors import BadArchive, BadDump, CannotListen, FlowError, Unavailable, WeftError
from controller.model.records import Network, Policy, Port, Subnet, Tag
from controller.model.store import Change, MemoryJournal
from northbound.faults import fault
from northbound.resources import COLLECTIONS
from northbound.resources.extensions import EXTENSIONS
from tests.northbound.served import Client, serving

BAD = 400


def test_who_asks_for_a_name_where_an_id_should_be_is_no_news(api: Client, caplog: pytest.LogCaptureFixture) -> None:
    def told(method: str) -> list[str]:
        caplog.clear()
        assert api.ask(method, "/v2.0/networks/red").status == 404
        return [record.message for record in caplog.records if record.name == "northbound.api"]

    caplog.set_level(logging.INFO)
    assert told("GET") == []
    refused, served = told("DELETE")
    assert refused.startswith("request refused ")
    assert "red could not be found" in refused
    assert "status=404" in served


def test_discovery_leads_from_the_root_to_every_resource(api: Client) -> None:
    (version,) = api.get("/")["versions"]
    assert version == {
        "id": "v2.0",
        "status": "CURRENT",
        "links": [{"rel": "self", "href": f"{api.url}/v2.0/"}],
    }
    for path in ("/v2.0", "/v2.0/"):
        body = api.get(path)
        assert body["version"] == version
        found = {each["collection"]: each["links"] for each in body["resources"]}
        assert {name: [link["href"].removeprefix(api.url) for link in links] for name, links in found.items()} == {
            "networks": ["/v2.0/networks"],
            "subnets": ["/v2.0/subnets"],
            "ports": ["/v2.0/ports"],
            "security_groups": ["/v2.0/security-groups"],
            "security_group_rules": ["/v2.0/security-group-rules"],
            "address_groups": ["/v2.0/address-groups"],
            "routers": ["/v2.0/routers"],
            "subnetpools": ["/v2.0/subnetpools"],
            "address_scopes": ["/v2.0/address-scopes"],
            "rbac_policies": ["/v2.0/rbac-policies"],
            "auto_allocated_topologies": ["/v2.0/auto-allocated-topology"],
            "quotas": ["/v2.0/quotas"],
            "agents": ["/v2.0/agents"],
            "availability_zones": ["/v2.0/availability_zones"],
            "default_security_group_rules": ["/v2.0/default-security-group-rules"],
            "network_segment_ranges": ["/v2.0/network-segment-ranges"],
            "network_ip_availabilities": ["/v2.0/network-ip-availabilities"],
            "floatingips": ["/v2.0/floatingips"],
            "floatingip_pools": ["/v2.0/floatingip_pools"],
        }
        for name, ((link),) in found.items():
            assert link["rel"] == "self"
            listed = api.get(link["href"].removeprefix(api.url))
            assert [*listed] == [name]
            assert bool(listed[name]) == (name in ("default_security_group_rules", "network_segment_ranges"))


def test_links_speak_the_scheme_and_name_that_the_client_used(api: Client) -> None:
    answer = api.get("/", Host="cloud.example:443", X_Forwarded_Proto="https")
    assert answer["versions"][0]["links"][0]["href"] == "https://cloud.example:443/v2.0/"


def test_extensions_are_listed_and_shown(api: Client) -> None:
    listed = api.get("/v2.0/extensions")["extensions"]
    assert {"binding", "provider", "net-mtu", "revision-if-match", "sorting", "pagination"} <= EXTENSIONS.keys()
    assert [each["alias"] for each in listed] == [*EXTENSIONS]
    for each in listed:
        assert each.keys() == {"alias", "name", "description", "updated", "links"}
        assert api.get(f"/v2.0/extensions/{each['alias']}") == {"extension": each}


PAGE = """<html>
 <head>
  <title>404 Not Found</title>
 </head>
 <body>
  <h1>404 Not Found</h1>
  The resource could not be found.<br /><br />
Extension with alias {} does not exist


 </body>
</html>"""
"""What WebOb makes of what Neutron raises."""


def test_an_extension_that_is_not_here_is_answered_in_html_as_by_neutron(api: Client) -> None:
    answer = api.ask("GET", "/v2.0/extensions/qos")
    assert (answer.status, answer.headers["Content-Type"]) == (404, "text/html; charset=UTF-8")
    assert answer.text == PAGE.format("qos")
    assert api.ask("GET", "/v2.0/extensions/%3Cb%3E").text == PAGE.format("&lt;b&gt;")
    answer = api.ask("GET", "/v2.0/extensions/qos", Accept="application/json")
    assert (answer.status, answer.body) == (
        404,
        {
            "message": "The resource could not be found.<br /><br />\nExtension with alias qos does not exist\n\n",
            "code": "404 Not Found",
            "title": "Not Found",
        },
    )


def test_every_answer_carries_an_id_of_its_own(api: Client) -> None:
    ids = [
        api.ask(method, path).headers["X-Openstack-Request-Id"]
        for method, path in [
            ("GET", "/"),
            ("GET", "/nowhere"),
            ("GET", "/v2.0/ports/x"),
            ("PATCH", "/v2.0/ports"),
        ]
    ]
    assert len(set(ids)) == 4
    for id in ids:
        assert re.fullmatch(r"req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", id)


def test_a_change_carries_the_id_of_its_request(api: Client) -> None:
    answer = api.post("network", name="red")
    assert api.changes[-1].request == answer.headers["X-Openstack-Request-Id"]


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/v2.0/nothings", 404, "HTTPNotFound"),
        ("GET", "/v3", 404, "HTTPNotFound"),
        ("GET", "/v2.0/networks/x/qos", 404, "HTTPNotFound"),
        ("GET", "/v2.0/qos/policies", 404, "HTTPNotFound"),
        ("PATCH", "/v2.0/networks", 405, "HTTPMethodNotAllowed"),
        ("DELETE", "/v2.0/networks", 405, "HTTPMethodNotAllowed"),
        ("POST", "/v2.0/networks/x", 405, "HTTPMethodNotAllowed"),
        ("POST", "/", 405, "HTTPMethodNotAllowed"),
    ],
)
def test_what_is_not_there_is_refused_in_the_same_words(
    api: Client, method: str, path: str, status: int, kind: str
) -> None:
    assert api.ask(method, path).fault[:2] == (status, kind)


ABSENT = {
    "network": ("NetworkNotFound", "Network red could not be found."),
    "subnet": ("SubnetNotFound", "Subnet red could not be found."),
    "port": ("PortNotFound", "Port red could not be found."),
    "security_group": ("SecurityGroupNotFound", "Security group red does not exist"),
    "security_group_rule": ("SecurityGroupRuleNotFound", "Security group rule red does not exist"),
    "address_group": ("AddressGroupNotFound", "Address group red could not be found."),
    "router": ("RouterNotFound", "Router red could not be found"),
    "subnetpool": ("SubnetPoolNotFound", "Subnet pool red could not be found."),
    "address_scope": ("AddressScopeNotFound", "Address scope red could not be found."),
    "network_segment_range": ("NetworkSegmentRangeNotFound", "Network Segment Range red could not be found."),
    "rbac_policy": ("RbacPolicyNotFound", "RBAC policy of type unknown with ID red not found"),
    "floatingip": ("FloatingIPNotFound", "Floating IP red could not be found"),
}


def test_every_resource_that_may_be_absent_is_among_these() -> None:
    assert {each.name for each in COLLECTIONS if each.delete and not each.whole} - ABSENT.keys() == {
        "quota",
        "agent",
        "auto_allocated_topology",
        "default_security_group_rule",
    }


@pytest.mark.parametrize("kind", ABSENT)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_an_unknown_id_is_not_found(api: Client, kind: str, method: str) -> None:
    change = {"rbac_policy": {"target_tenant": "*"}, "address_scope": {"name": "x"}}.get(kind, {"description": "x"})
    answer = api.ask(method, api.path(kind, "red"), {kind: change} if method == "PUT" else None)
    assert answer.fault == (404, *ABSENT[kind])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "Unable to find 'network' in request body"),
        ("{}", "Unable to find 'network' in request body"),
        ('{"network": null}', "Unable to find 'network' in request body"),
        ('{"port": {}}', "Unable to find 'network' in request body"),
        ('{"network": []}', "Object 'network' contains invalid data"),
        ('{"network": "red"}', "Object 'network' contains invalid data"),
        ('{"network": {}', "Body contains invalid data"),
        ("[]", "Body contains invalid data"),
        ("null", "Body contains invalid data"),
        ("\udcff\udcfe", "Body contains invalid data"),
        ('{"network": {"mtu": NaN}}', "Body contains invalid data"),
        ("[" * 100_000, "Body contains invalid data"),
        ('{"network": {"mtu": ' + "1" * 5000 + "}}", "Body contains invalid data"),
        ('{"networks": []}', "Resources required"),
        ('{"networks": null}', "Resources required"),
        ('{"networks": {"name": "x"}}', "Body contains invalid data"),
        ('{"networks": [null]}', "Unable to find 'network' in request body"),
        ('{"networks": ["x"]}', "Object 'network' contains invalid data"),
        ('{"network": {"foo": 1, "bar": 2}}', "Unrecognized attribute(s) 'foo, bar'"),
        ('{"network": {"id": "x"}}', "Attribute 'id' not allowed in POST"),
        ('{"network": {"status": "DOWN"}}', "Attribute 'status' not allowed in POST"),
        ('{"network": {"name": 5}}', "Invalid input for name. Reason: '5' is not a valid string."),
        ('{"network": {"name": null}}', "Invalid input for name. Reason: 'None' is not a valid string."),
        ('{"network": {"name": "a\\u0000"}}', None),
        ('{"network": {"name": " a"}}', "Invalid input for name. Reason: ' a' is not a valid string."),
        ('{"network": {"description": "\\ud800"}}', None),
        ('{"network": {"project_id": "a", "tenant_id": "b"}}', "'project_id' and 'tenant_id' do not match"),
        ('{"network": {"project_id": {}}}', None),
    ],
)
def test_a_body_that_is_not_a_network_is_refused(api: Client, body: str, message: str | None) -> None:
    answer = api.ask("POST", "/v2.0/networks", body.encode("utf-8", "surrogateescape"))
    status, kind, said = answer.fault
    assert (status, kind) == (BAD, "HTTPBadRequest")
    assert message in (None, said)
    assert api.changes == []


def test_a_name_may_be_long_but_not_endless(api: Client) -> None:
    assert api.make("network", name="x" * 255)["name"] == "x" * 255
    status, _, said = api.post("network", name="x" * 256).fault
    assert status == BAD
    assert said == f"Invalid input for name. Reason: '{'x' * 255}' exceeds maximum length of 255."


def test_a_body_is_json_whatever_it_is_called(api: Client) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "", "application/json; charset=utf-8"):
        answer = api.ask("POST", "/v2.0/networks", '{"network": {}}', Content_Type=content_type)
        assert answer.status == 201
    assert (
        api.ask("POST", "/v2.0/networks", "network=x", Content_Type="application/x-www-form-urlencoded").status == BAD
    )


def test_a_page_of_another_site_makes_nothing(api: Client) -> None:
    """A browser sends these for any page, without asking; `Origin` is always there, and JSON is asked about first."""
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        answer = api.ask(
            "POST", "/v2.0/networks", '{"network": {}}', Content_Type=content_type, Origin="https://evil.example"
        )
        assert answer.fault[:2] == (415, "HTTPUnsupportedMediaType")
    assert api.changes == []
    assert api.ask("POST", "/v2.0/networks", {"network": {}}, Origin=api.url).status == 201


def test_collections_go_by_dashes_and_underscores(api: Client) -> None:
    for one, other in (("security_groups", "security-groups"), ("floatingip-pools", "floatingip_pools")):
        assert api.get(f"/v2.0/{one}") == api.get(f"/v2.0/{other}")
    network = api.make("network")["id"]
    made = api.ask(
        "POST",
        "/v2.0/rbac_policies",
        {
            "rbac_policy": {
                "object_type": "network",
                "object_id": network,
                "action": "access_as_shared",
                "target_tenant": "*",
            }
        },
    )
    assert api.ask("DELETE", f"/v2.0/rbac_policies/{made.body['rbac_policy']['id']}").status == 204


def test_a_body_that_is_too_large_is_refused(api: Client) -> None:
    answer = api.ask("POST", "/v2.0/networks", b" " * (9 << 20))
    assert answer.fault[:2] == (413, "HTTPRequestEntityTooLarge")


def test_a_delete_has_no_body(api: Client) -> None:
    network = api.make("network")
    assert api.ask("DELETE", f"/v2.0/networks/{network['id']}", "{}").status == BAD
    assert api.delete("network", network["id"]).text == ""
    assert api.get("/v2.0/networks")["networks"] == []


def test_the_owner_is_who_asks_unless_the_body_says_who(api: Client) -> None:
    asked = api.ask("POST", "/v2.0/networks", {"network": {}}, X_Project_Id="mine").body["network"]
    assert (asked["project_id"], asked["tenant_id"]) == ("mine", "mine")
    for name in ("project_id", "tenant_id"):
        said = api.ask("POST", "/v2.0/networks", {"network": {name: "theirs"}}, X_Project_Id="mine").body
        assert (said["network"]["project_id"], said["network"]["tenant_id"]) == ("theirs", "theirs")
        refused = api.put("network", asked["id"], **{name: "theirs"})
        assert refused.fault == (BAD, "HTTPBadRequest", f"Cannot update read-only attribute {name}")
    assert len(api.get("/v2.0/networks?tenant_id=theirs")["networks"]) == 2


def test_many_are_made_in_one_change_or_not_at_all(api: Client) -> None:
    answer = api.ask("POST", "/v2.0/networks", {"networks": [{"name": "a"}, {"network": {"name": "b"}}]})
    assert answer.status == 201
    assert [each["name"] for each in answer.body["networks"]] == ["a", "b"]
    assert len(api.changes) == 1
    network = answer.body["networks"][0]["id"]
    api.make("subnet", network_id=network, ip_version=4, cidr="10.0.0.0/29")
    before = len(api.changes)
    ports = [{"network_id": network} for _ in range(6)]
    assert api.ask("POST", "/v2.0/ports", {"ports": ports}).fault[:2] == (409, "IpAddressGenerationFailure")
    ports[2]["bad"] = "x"
    assert api.ask("POST", "/v2.0/ports", {"ports": ports[:4]}).fault[0] == BAD
    assert len(api.changes) == before
    assert api.get("/v2.0/ports")["ports"] == []
    assert [tag.space for tag in api.store.model.all(Tag)] == ["network", "network"]
    assert api.ask("POST", "/v2.0/ports", {"ports": ports[3:] + ports[:2]}).status == 201
    assert api.ask("PUT", f"/v2.0/networks/{network}", {"networks": []}).fault[0] == BAD


def test_a_revision_counts_the_changes_of_its_resource(api: Client) -> None:
    network = api.make("network", name="a")
    assert network["revision_number"] == 1
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", network["created_at"])
    changed = api.put("network", network["id"], name="b").body["network"]
    assert (changed["name"], changed["revision_number"]) == ("b", 2)
    same = api.put("network", network["id"], name="b").body["network"]
    assert same == changed
    assert len(api.changes) == 2, "what changes nothing is not written"
    assert api.put("network", network["id"]).body["network"] == changed


def test_a_change_may_be_tied_to_a_revision(api: Client) -> None:
    id = api.make("network")["id"]
    path = f"/v2.0/networks/{id}"
    for tag, status in [
        ("revision_number=1", 200),
        ("revision_number=1", 412),
        ('"revision_number=2"', 200),
        ("revision_number=x", BAD),
        ("revision_number=2,revision_number=3", BAD),
        ("some-etag", 200),
    ]:
        before = api.get(path)["network"]["revision_number"]
        answer = api.ask("PUT", path, {"network": {"name": f"n{before}"}}, If_Match=tag)
        assert answer.status == status, tag
    stale = api.ask("DELETE", path, If_Match="revision_number=1")
    assert stale.fault == (
        412,
        "RevisionNumberConstraintFailed",
        "Constrained to 1, but current revision is 4",
    )
    assert api.ask("DELETE", path, If_Match="revision_number=4").status == 204


def kinds(base: type[WeftError]) -> Iterator[type[WeftError]]:
    for kind in base.__subclasses__():
        yield kind
        yield from kinds(kind)


@pytest.mark.parametrize("kind", [*kinds(WeftError)], ids=lambda kind: kind.__name__)
def test_every_refusal_has_a_status_and_what_is_no_refusal_is_our_fault(kind: type[WeftError]) -> None:
    given = inspect.signature(kind.__init__).parameters.values()
    wanted = [each for each in given if each.kind == each.POSITIONAL_OR_KEYWORD and each.default is each.empty]
    status, body = fault(kind(*("1" for _ in wanted[1:])))
    assert json.loads(body)["NeutronError"]["type"]
    assert (status == 500) == issubclass(kind, FlowError | CannotListen | BadArchive | BadDump)


class Broken(MemoryJournal):
    """A disk that is full when a test says so."""

    full = False

    def append(self, changes: Sequence[Change]) -> None:
        if self.full:
            raise Unavailable("no space left on device")


def test_a_store_that_cannot_write_says_why_and_recovers() -> None:
    disk = Broken()
    with serving(journal=disk) as api:
        disk.full = True
        assert api.post("network", name="a").fault == (
            503,
            "ServiceUnavailable",
            "The store is unavailable: no space left on device.",
        )
        assert api.get("/v2.0/networks")["networks"] == []
        disk.full = False
        assert api.make("network", name="a")["provider:segmentation_id"] == 1


def test_what_nobody_foresaw_is_told_to_the_log_and_not_to_the_client(
    api: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = api.make("network")
    api.make("port", network_id=network["id"])

    def broken(port: Port) -> str:
        raise RuntimeError("a secret")

    monkeypatch.setattr(api.wires, "port_status", broken)
    with caplog.at_level(logging.ERROR):
        answer = api.ask("GET", "/v2.0/ports")
    assert answer.fault == (
        500,
        "HTTPInternalServerError",
        "Request Failed: internal server error while processing your request.",
    )
    assert "a secret" in caplog.text
    assert answer.headers["X-Openstack-Request-Id"] in caplog.text


def test_parallel_writers_never_share_an_address_a_segment_or_a_mac(api: Client) -> None:
    network = api.make("network")["id"]
    api.make("subnet", network_id=network, ip_version=4, cidr="10.0.0.0/24")

    async def both() -> list[int]:
        calls = [
            asyncio.to_thread(api.post, "port", network_id=network, mac_address="02:00:00:00:00:01"),
            *(asyncio.to_thread(api.post, "port", network_id=network) for _ in range(20)),
            asyncio.to_thread(api.post, "port", network_id=network, mac_address="02:00:00:00:00:01"),
            *(asyncio.to_thread(api.post, "network") for _ in range(10)),
        ]
        return [answer.status for answer in await asyncio.gather(*calls)]

    assert sorted(asyncio.run(both())) == [201] * 31 + [409]
    ports = api.get("/v2.0/ports")["ports"]
    assert len({port["fixed_ips"][0]["ip_address"] for port in ports}) == len(ports) == 21
    assert len({each["provider:segmentation_id"] for each in api.get("/v2.0/networks")["networks"]}) == 11


def test_a_deleted_cloud_leaves_nothing_but_counters(api: Client) -> None:
    for round in range(2):
        network = api.make("network", name=f"n{round}")["id"]
        subnet = api.make("subnet", network_id=network, ip_version=4, cidr="10.0.0.0/24")["id"]
        ports = [api.make("port", network_id=network)["id"] for _ in range(3)]
        for id in ports:
            assert api.delete("port", id).status == 204
        assert api.delete("subnet", subnet).status == 204
        assert api.delete("network", network).status == 204
    model = api.store.model
    assert not any(model.all(kind) for kind in (Network, Subnet, Port, Policy))
    assert {tag.space for tag in model.all(Tag)} == {"bundle"}, "of the default security group, which stays"
