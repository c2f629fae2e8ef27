"""Lists: what a filter finds, which fields are shown, in what order and on which page."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.northbound.served import Client, serving

NETWORKS = [
    {"name": "a", "admin_state_up": True, "mtu": 1300, "project_id": "p1"},
    {"name": "b", "admin_state_up": False, "mtu": 1400, "project_id": "p1", "description": "second"},
    {"name": "b", "admin_state_up": True, "mtu": 1300, "project_id": "p2", "shared": True},
    {"name": "", "provider:network_type": "geneve", "provider:segmentation_id": 77, "project_id": "p2"},
]


@pytest.fixture(scope="module")
def api() -> Iterator[Client]:
    with serving() as client:
        for each in NETWORKS:
            client.make("network", **each)
        network = client.get("/v2.0/networks?name=a")["networks"][0]["id"]
        other = client.get("/v2.0/networks?mtu=1400")["networks"][0]["id"]
        for cidr in ("10.0.0.0/24", "10.0.1.0/24"):
            client.make("subnet", network_id=network, ip_version=4, cidr=cidr, name=cidr[:6])
        client.make("subnet", network_id=network, ip_version=6, cidr="2001:db8::/64", name="six")
        for place in range(6):
            client.make("port", network_id=network, name=f"p{place}", device_id=f"vm{place % 2}")
        client.make(
            "port", network_id=network, mac_address="02:00:00:00:00:0a", fixed_ips=[{"ip_address": "10.0.1.77"}]
        )
        client.make("port", network_id=other, name="bare")
        yield client


def rows(api: Client, path: str) -> list[dict[str, Any]]:
    kind = urlsplit(path).path
    found: list[dict[str, Any]] = api.get(f"/v2.0/{path}")[kind]
    return found


def names(api: Client, path: str) -> list[str]:
    return sorted(each["name"] for each in rows(api, path))


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("networks", ["", "a", "b", "b"]),
        ("networks?name=a", ["a"]),
        ("networks?name=A", []),
        ("networks?name=a&name=b", ["a", "b", "b"]),
        ("networks?name=b&admin_state_up=True", ["b"]),
        ("networks?name=", [""]),
        ("networks?admin_state_up=false", ["b"]),
        ("networks?mtu=1300", ["a", "b"]),
        ("networks?mtu=1300&mtu=1400", ["a", "b", "b"]),
        ("networks?project_id=p1", ["a", "b"]),
        ("networks?tenant_id=p1&name=b", ["b"]),
        ("networks?description=second", ["b"]),
        ("networks?shared=1", ["b"]),
        ("networks?router%3Aexternal=True", []),
        ("networks?router%3Aexternal=False", ["", "a", "b", "b"]),
        ("networks?status=ACTIVE&provider:network_type=geneve", [""]),
        ("networks?provider:segmentation_id=77", [""]),
        ("networks?revision_number=1&name=b", ["b", "b"]),
        ("networks?changed_since=2020-01-01T00:00:00Z&name=a", ["a"]),
        ("networks?changed_since=2999-01-01T00:00:00Z", []),
        ("networks?id=red", []),
        ("subnets?ip_version=6", ["six"]),
        ("subnets?cidr=2001:0db8::/64", ["six"]),
        ("subnets?gateway_ip=2001:0db8:0::1", ["six"]),
        ("subnets?gateway_ip=x", []),
        ("ports?device_id=vm1", ["p1", "p3", "p5"]),
        ("ports?device_id=vm1&name=p3&name=p2", ["p3"]),
        ("ports?mac_address=02-00-00-00-00-0A", [""]),
        ("ports?mac_address=x", []),
        ("ports?fixed_ips=ip_address%3D10.0.0.3", ["p1"]),
        ("ports?fixed_ips=ip_address%3D10.0.0.3&fixed_ips=ip_address%3D10.0.0.4", ["p1", "p2"]),
        ("ports?fixed_ips=ip_address%3D2001:0db8::3", ["p1"]),
        ("ports?fixed_ips=ip_address%3Dx", []),
        ("ports?fixed_ips=ip_address_substr%3D.1.", [""]),
        ("ports?binding:vif_type=unbound&name=bare", ["bare"]),
        ("ports?status=ACTIVE", []),
    ],
)
def test_a_filter_finds_what_it_says(api: Client, path: str, found: list[str]) -> None:
    assert names(api, path) == found


def test_ports_are_found_by_subnet_and_address_together(api: Client) -> None:
    (subnet,) = rows(api, "subnets?cidr=10.0.1.0/24")
    by_subnet = f"ports?fixed_ips=subnet_id%3D{subnet['id']}"
    assert names(api, by_subnet) == [""]
    assert names(api, f"{by_subnet}&fixed_ips=ip_address%3D10.0.1.77") == [""]
    assert names(api, f"{by_subnet}&fixed_ips=ip_address%3D10.0.0.3") == []
    (a,) = rows(api, "networks?name=a")
    assert len(rows(api, f"ports?network_id={a['id']}")) == 7
    assert names(api, f"ports?network_id={a['id']}&id={a['id']}") == []


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("bogus=1", "['bogus'] is invalid attribute for filtering"),
        ("bogus=1&name=a&subnets=x", "['bogus', 'subnets'] is invalid attribute for filtering"),
        ("admin_state_up=maybe", "Invalid input for operation: 'maybe' cannot be converted to boolean."),
        ("mtu=x", "Invalid input for operation: 'x' is not an integer."),
        ("changed_since=yesterday", None),
        ("limit=x", "Bad limit request: Limit must be an integer 0 or greater and not 'x'."),
        ("limit=-1", "Bad limit request: Limit must be an integer 0 or greater and not '-1'."),
        ("sort_key=name", "The number of sort_keys and sort_dirs must be same"),
        ("sort_key=subnets&sort_dir=asc", "['subnets'] is invalid attribute for sort_keys"),
        ("sort_key=name&sort_dir=up", None),
    ],
)
def test_a_query_that_cannot_be_answered_is_refused(api: Client, query: str, said: str | None) -> None:
    status, kind, message = api.ask("GET", f"/v2.0/networks?{query}").fault
    assert status == 400
    assert said in (None, message)
    assert (kind == "BadRequest") == query.startswith("limit")


def test_a_limit_beyond_all_there_is_limits_nothing(api: Client) -> None:
    assert rows(api, f"networks?limit={'9' * 30}") == rows(api, "networks")


def test_a_port_filter_without_a_key_is_refused(api: Client) -> None:
    assert api.ask("GET", "/v2.0/ports?fixed_ips=10.0.0.5").fault == (
        400,
        "InvalidInput",
        "Invalid input for operation: '10.0.0.5' is not of the form <key>=[value].",
    )


def test_only_the_fields_that_were_asked_for_are_shown(api: Client) -> None:
    assert all(each.keys() == {"id", "name"} for each in rows(api, "networks?fields=id&fields=name&fields=x"))
    (a,) = rows(api, "networks?name=a")
    assert api.get(f"/v2.0/networks/{a['id']}?fields=name&fields=subnets")["network"] == {
        "name": "a",
        "subnets": a["subnets"],
    }
    assert rows(api, "ports?fields=binding:vif_type&fields=&name=bare") == [{"binding:vif_type": "unbound"}]


def test_lists_are_sorted_by_several_keys_and_null_comes_first(api: Client) -> None:
    found = rows(api, "networks?sort_key=name&sort_dir=desc&sort_key=mtu&sort_dir=asc")
    assert [(each["name"], each["mtu"]) for each in found] == [
        ("b", 1300),
        ("b", 1400),
        ("a", 1300),
        ("", 1450),
    ]
    modes = rows(api, "subnets?sort_key=ipv6_ra_mode&sort_dir=asc&sort_key=cidr&sort_dir=desc")
    assert [each["cidr"] for each in modes] == ["2001:db8::/64", "10.0.1.0/24", "10.0.0.0/24"]


def test_without_keys_lists_are_in_the_order_of_ids(api: Client) -> None:
    ids = [each["id"] for each in rows(api, "ports")]
    assert ids == sorted(ids)


def test_a_marker_that_does_not_exist_is_not_found(api: Client) -> None:
    assert api.ask("GET", "/v2.0/networks?limit=1&marker=x").fault[:2] == (404, "NetworkNotFound")
    assert len(rows(api, "networks?marker=x")) == 4, "without a limit there are no pages"


def test_pages_link_to_one_another(api: Client) -> None:
    body = api.get("/v2.0/ports?limit=3&fields=name&sort_key=name&sort_dir=asc&device_id=vm0&device_id=vm1")
    assert [each["name"] for each in body["ports"]] == ["p0", "p1", "p2"]
    links = {link["rel"]: link["href"] for link in body["ports_links"]}
    assert links.keys() == {"next", "previous"}
    assert links["next"].startswith(f"{api.url}/v2.0/ports?")
    assert dict(parse_qsl(urlsplit(links["previous"]).query))["page_reverse"] == "True"
    after = api.get(links["next"].removeprefix(api.url))
    assert [each["name"] for each in after["ports"]] == ["p3", "p4", "p5"]
    links = {link["rel"]: link["href"] for link in after["ports_links"]}
    back = api.get(links["previous"].removeprefix(api.url))
    assert [each["name"] for each in back["ports"]] == ["p0", "p1", "p2"]
    end = api.get(links["next"].removeprefix(api.url))
    assert end["ports"] == []
    assert [link["rel"] for link in end["ports_links"]] == ["previous"]


def test_a_long_list_lets_others_be_served_meanwhile(api: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = api.get("/v2.0/ports?limit=100")
    turns = 0
    sleep = asyncio.sleep

    async def counted(delay: float) -> None:
        nonlocal turns
        turns += 1
        await sleep(delay)

    monkeypatch.setattr("northbound.api.BREATH", 3)
    monkeypatch.setattr("northbound.api.asyncio.sleep", counted)
    assert api.get("/v2.0/ports?limit=100") == whole
    assert turns == 2, "eight ports, three at a time"


@given(
    st.integers(1, 9),
    st.sampled_from(["", "device_id", "name", "status"]),
    st.sampled_from(["asc", "desc"]),
    st.booleans(),
)
def test_the_pages_of_a_list_are_the_list(api: Client, limit: int, key: str, direction: str, backwards: bool) -> None:
    order = f"sort_key={quote(key)}&sort_dir={direction}&" if key else ""
    whole = [each["id"] for each in rows(api, f"ports?{order}fields=id")]
    path = f"ports?{order}limit={limit}" + ("&page_reverse=True" if backwards else "")
    paged: list[str] = []
    marker = ""
    while page := [each["id"] for each in rows(api, path + marker)]:
        paged = [*page, *paged] if backwards else [*paged, *page]
        marker = f"&marker={page[0] if backwards else page[-1]}"
        assert len(paged) <= len(whole)
    assert paged == whole
