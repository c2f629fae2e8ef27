"""Tags: words on resources, to find them by."""

from __future__ import annotations

import pytest

from tests.northbound.served import Client

TAGGED = ("network", "subnet", "port", "router", "security_group")


def one(api: Client, kind: str) -> str:
    """A resource of a kind, and what it needs."""
    if kind in ("subnet", "port"):
        network = api.make("network")["id"]
        more = {"cidr": "10.0.0.0/24", "ip_version": 4} if kind == "subnet" else {}
        return str(api.make(kind, network_id=network, **more)["id"])
    return str(api.make(kind)["id"])


@pytest.mark.parametrize("kind", TAGGED)
def test_a_resource_is_tagged_as_a_whole_and_one_by_one(api: Client, kind: str) -> None:
    path = api.path(kind, one(api, kind))
    assert api.get(path)[kind]["tags"] == []
    answer = api.ask("PUT", f"{path}/tags", {"tags": ["b", "a"]})
    assert (answer.status, answer.body) == (200, {"tags": ["b", "a"]})
    assert api.get(f"{path}/tags") == {"tags": ["a", "b"]}
    for _ in range(2):
        assert (added := api.ask("PUT", f"{path}/tags/c%20d")).status == 201
        assert added.body is None
    assert api.ask("GET", f"{path}/tags/c%20d").status == 204
    assert api.ask("POST", f"{path}/tags", {"tags": ["x", "a"]}).body == {"tags": ["x", "a"]}
    assert api.get(path)[kind]["tags"] == ["a", "b", "c d", "x"]
    assert api.ask("DELETE", f"{path}/tags/b").status == 204
    for method in ("GET", "DELETE"):
        assert api.ask(method, f"{path}/tags/b").fault == (404, "TagNotFound", "Tag b could not be found.")
    assert api.get(f"{path}/tags") == {"tags": ["a", "c d", "x"]}
    assert api.ask("DELETE", f"{path}/tags").status == 204
    assert api.get(path)[kind]["tags"] == []


def test_a_tag_is_a_change_of_its_resource_and_the_same_tag_is_none(api: Client) -> None:
    path = api.path("network", one(api, "network"))
    for _ in range(2):
        api.ask("PUT", f"{path}/tags/a")
        assert api.get(path)["network"]["revision_number"] == 2
    assert api.ask("PUT", f"{path}/tags/b", If_Match="revision_number=1").status == 412
    assert api.ask("PUT", f"{path}/tags/b", '"{}"', If_Match="revision_number=2").status == 201, "no body is read"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"tags": ["b", "a", "b"]}, "Duplicate items in the list: 'b'"),
        ({"tags": "b"}, "'b' is not a list"),
        ({"tags": None}, "'None' is not a list"),
        ({"tags": [1]}, "'1' is not a valid string"),
        ({"tags": ["x" * 256]}, f"'{'x' * 255}' exceeds maximum length of 255"),
        ({"tag": []}, "Invalid tags body"),
        ({}, "Invalid tags body"),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_what_are_no_tags_is_refused(api: Client, method: str, body: object, said: str) -> None:
    path = api.path("network", one(api, "network"))
    refused = api.ask(method, f"{path}/tags", body)
    assert refused.fault == (400, "InvalidInput", f"Invalid input for operation: {said}.")
    assert api.get(f"{path}/tags") == {"tags": []}


def test_a_resource_has_fifty_tags_at_the_most(api: Client) -> None:
    path = api.path("security_group", one(api, "security_group"))
    many = [f"t{place}" for place in range(51)]
    too_many = (
        400,
        "BadRequest",
        "Bad security_groups request: The number of tags exceed the per-resource limit of 50.",
    )
    assert api.ask("PUT", f"{path}/tags", {"tags": many}).fault == too_many
    assert api.ask("PUT", f"{path}/tags", {"tags": many[:50]}).status == 200
    assert api.ask("PUT", f"{path}/tags/one-more").fault == too_many
    assert api.ask("POST", f"{path}/tags", {"tags": ["one-more"]}).fault == too_many
    assert api.ask("PUT", f"{path}/tags/t3").status == 201


def test_tags_are_given_at_birth_to_ports_alone(api: Client) -> None:
    network = one(api, "network")
    ports = [{"network_id": network, "tags": tags} for tags in (["b", "a"], [])]
    made = api.ask("POST", "/v2.0/ports", {"ports": ports}).body["ports"]
    assert [port["tags"] for port in made] == [["a", "b"], []]
    refused = (400, "HTTPBadRequest", "Attribute 'tags' not allowed in POST")
    assert api.post("network", tags=["a"]).fault == refused
    for kind, id in (("network", network), ("port", made[0]["id"])):
        refused = (400, "HTTPBadRequest", "Cannot update read-only attribute tags")
        assert api.put(kind, id, tags=["x"]).fault == refused


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("tags=red", ["r", "rb"]),
        ("tags=red,blue", ["rb"]),
        ("tags=red&tags=blue", ["rb"]),
        ("tags-any=red,blue", ["b", "r", "rb"]),
        ("not-tags=red,blue", ["", "b", "r"]),
        ("not-tags-any=red,blue", [""]),
        ("tags=red&not-tags=blue", ["r"]),
        ("tags=nothing", []),
    ],
)
def test_lists_are_narrowed_by_tags(api: Client, query: str, found: list[str]) -> None:
    for name, tags in (("", []), ("r", ["red"]), ("b", ["blue"]), ("rb", ["blue", "red"])):
        network = api.make("network", name=name)["id"]
        api.ask("PUT", f"/v2.0/networks/{network}/tags", {"tags": tags})
    listed = api.get(f"/v2.0/networks?{query}&fields=name&fields=tags")["networks"]
    assert sorted(each["name"] for each in listed) == found


def test_what_has_no_tags_and_what_does_not_exist_is_not_found(api: Client) -> None:
    assert api.ask("GET", "/v2.0/address-groups/x/tags").fault[:2] == (404, "HTTPNotFound")
    assert api.ask("PUT", "/v2.0/networks/x/tags/a").fault[:2] == (404, "NetworkNotFound")
