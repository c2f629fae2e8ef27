"""Whatever a client sends, it gets an answer, and what is refused leaves no trace."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.model.records import KINDS, Network, Port, Resource, Subnet, Tag
from controller.model.store import Model
from northbound.resources import COLLECTIONS
from tests.northbound.served import Client, serving

MANGLED = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["10.0.0.0/24", "2001:db8::/64", "10.0.0.1", "::", "fa:16:3e:00:00:01", "slaac", "True"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=4) | st.sampled_from(["subnet_id", "ip_address", "start"]), inner, max_size=3
        )
    ),
    max_leaves=5,
)


HOSTS = st.integers(0, 15).map(lambda last: f"10.0.0.{last}")
V6 = st.integers(0, 3).map(lambda last: f"2001:db8::{last:x}")
ADDRESSES = HOSTS | V6
NAMES = st.sampled_from(["", "a", "b"])
IDS = st.integers(0, 3).map("id-{}".format)
"""Stands for the id of something that exists."""

SANE: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "network": {
        "name": NAMES,
        "admin_state_up": st.booleans(),
        "shared": st.booleans(),
        "mtu": st.sampled_from([0, 68, 1279, 1280, 1450, 9000]),
        "provider:network_type": st.sampled_from(["vxlan", "geneve", "vlan"]),
        "provider:segmentation_id": st.integers(0, 4),
        "project_id": NAMES,
    },
    "subnet": {
        "network_id": IDS,
        "cidr": st.sampled_from(["10.0.0.0/28", "10.0.0.0/30", "10.0.0.16/28", "2001:db8::/64", "2001:db8:1::/120"]),
        "gateway_ip": st.none() | ADDRESSES,
        "allocation_pools": st.lists(st.fixed_dictionaries({"start": ADDRESSES, "end": ADDRESSES}), max_size=2),
        "enable_dhcp": st.booleans(),
        "ipv6_ra_mode": st.sampled_from(["slaac", "dhcpv6-stateful"]),
        "ipv6_address_mode": st.sampled_from(["slaac", "dhcpv6-stateless"]),
        "dns_nameservers": st.lists(ADDRESSES, max_size=2),
        "host_routes": st.lists(
            st.fixed_dictionaries({"destination": st.just("10.9.0.0/16"), "nexthop": ADDRESSES}), max_size=1
        ),
    },
    "port": {
        "network_id": IDS,
        "mac_address": st.none() | st.integers(0, 3).map("02:00:00:00:00:{:02x}".format),
        "fixed_ips": st.lists(
            st.fixed_dictionaries({}, optional={"ip_address": ADDRESSES, "subnet_id": IDS}), max_size=3
        ),
        "device_owner": st.sampled_from(["", "compute:nova", "network:dhcp", "network:router_interface"]),
        "binding:host_id": st.none() | NAMES,
        "binding:profile": st.dictionaries(st.text(max_size=3), st.integers(), max_size=1),
        "name": NAMES,
    },
}
KIND = {each.name: each.kind for each in COLLECTIONS}


@st.composite
def bodies(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    """A body that makes sense, or one attribute of which does not."""
    required = {"network_id", "cidr"} & SANE[kind].keys()
    names = draw(st.sets(st.sampled_from(sorted(SANE[kind].keys() - required)), max_size=2)) | required
    body = {name: draw(SANE[kind][name]) for name in sorted(names)}
    if "cidr" in body:
        body["ip_version"] = 6 if ":" in body["cidr"] else 4
    if draw(st.integers(0, 7)) == 7:
        body[draw(st.sampled_from(sorted(SANE[kind])) | st.text(max_size=5))] = draw(MANGLED)
    return body


@st.composite
def steps(draw: st.DrawFn) -> tuple[str, str, int, Any]:
    """A verb, a kind, which of its resources, and a body."""
    verb = draw(st.sampled_from(["create", "create", "create", "bulk", "update", "update", "delete"]))
    kind = draw(st.sampled_from(sorted(SANE)))
    place = draw(st.integers(0, 30))
    if verb == "bulk":
        return verb, kind, place, draw(st.lists(bodies(kind), min_size=1, max_size=4))
    body = draw(bodies(kind))
    if verb == "update":
        body = {name: value for name, value in body.items() if name not in ("network_id", "ip_version", "cidr")}
    return verb, kind, place, body


def picture(model: Model) -> str:
    """Everything there is."""
    return repr([model.all(kind) for kind in KINDS])


def check(model: Model) -> None:
    """What must be true of every cloud."""
    for port in model.all(Port):
        assert model.get(Network, port.network_id) is not None
        assert model.get(Tag, f"port/{port.id}") is not None
        for ip in port.fixed_ips:
            subnet = model.get(Subnet, ip.subnet_id)
            assert subnet is not None
            assert subnet.network_id == port.network_id
    reserved = [each for port in model.all(Port) for each in port.reservations]
    assert len(reserved) == len(set(reserved)) == sum(len(port.fixed_ips) for port in model.all(Port))
    assert all(model.get(Network, subnet.network_id) for subnet in model.all(Subnet))
    assert len(model.all(Tag)) == len(model.all(Port)) + len(model.all(Network))


@pytest.fixture(scope="module")
def api() -> Iterator[Client]:
    with serving() as client:
        yield client


def ids(model: Model, kind: type[Resource]) -> list[str]:
    return [each.id for each in model.all(kind)]


def real(value: Any, key: str, network: list[str], subnet: list[str]) -> Any:
    """The body with ids of what exists in place of what stands for them."""
    if isinstance(value, dict):
        return {name: real(each, name, network, subnet) for name, each in value.items()}
    if isinstance(value, list):
        return [real(each, key, network, subnet) for each in value]
    pool = subnet if key == "subnet_id" else network
    if isinstance(value, str) and value.startswith("id-") and pool:
        return pool[int(value[3:]) % len(pool)]
    return value


@given(st.lists(steps(), min_size=5, max_size=25))
def test_no_history_breaks_the_cloud(api: Client, history: list[tuple[str, str, int, Any]]) -> None:
    model = api.store.model
    for kind in ("port", "subnet", "network"):
        for id in ids(model, KIND[kind]):
            assert api.delete(kind, id).status == 204
    for cidr, version in (("10.0.0.0/28", 4), ("2001:db8::/64", 6)):
        network = api.make("network")["id"]
        api.make("subnet", network_id=network, cidr=cidr, ip_version=version)
    for verb, kind, place, sketch in history:
        before = picture(model)
        body = real(sketch, "", ids(model, Network), ids(model, Subnet))
        known = ids(model, KIND[kind])
        path = f"/v2.0/{kind}s" + (
            f"/{known[place % len(known)] if known else 'x'}" if verb in ("update", "delete") else ""
        )
        method = {"create": "POST", "bulk": "POST", "update": "PUT", "delete": "DELETE"}[verb]
        sent = None if verb == "delete" else {f"{kind}s" if verb == "bulk" else kind: body}
        answer = api.ask(method, path, sent)
        assert answer.status in (200, 201, 204, 400, 404, 409), answer.text
        if answer.status >= 400:
            assert answer.body["NeutronError"].keys() == {"type", "message", "detail"}
            assert picture(model) == before, "a refusal left a trace"
        elif answer.status == 201:
            made = answer.body[f"{kind}s"] if verb == "bulk" else [answer.body[kind]]
            for each in made:
                assert api.get(f"/v2.0/{kind}s/{each['id']}")[kind] == each | (
                    {"revision_number": each["revision_number"]} if kind != "port" else {}
                )
        check(model)


@given(
    st.sampled_from(sorted(SANE)),
    st.one_of(
        MANGLED.map(json.dumps),
        st.text(max_size=20),
        st.dictionaries(st.sampled_from(["network", "port", "subnet", "ports", "networks"]), MANGLED).map(json.dumps),
    ),
    st.sampled_from(["POST", "PUT"]),
)
def test_no_body_is_too_strange_for_an_answer(api: Client, kind: str, body: str, method: str) -> None:
    path = f"/v2.0/{kind}s" + ("/x" if method == "PUT" else "")
    answer = api.ask(method, path, body.encode("utf-8", "surrogatepass"))
    assert answer.status < 500, answer.text


@given(
    st.sampled_from(sorted(SANE)),
    st.lists(
        st.tuples(
            st.sampled_from(
                [*(name for each in COLLECTIONS for name in each.table), "limit", "marker", "sort_key", "sort_dir"]
            ),
            st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
            | st.sampled_from(["1", "asc", "name", "true"]),
        ),
        max_size=4,
    ),
)
def test_no_query_is_too_strange_for_an_answer(api: Client, kind: str, pairs: list[tuple[str, str]]) -> None:
    answer = api.ask("GET", f"/v2.0/{kind}s?{urlencode(pairs)}")
    assert answer.status < 500, answer.text
