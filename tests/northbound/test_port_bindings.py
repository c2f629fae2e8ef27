"""Several bindings of one port: where its guest is, and where it may go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from controller.model import bindings
from controller.model.bindings import Claim, Hypervisor
from controller.model.records import Address, Port, PortBinding
from tests.northbound.served import Answer, Client, serving

NOBODY = "11111111-1111-1111-1111-111111111111"


@pytest.fixture
def api() -> Iterator[Client]:
    with serving() as client:
        for host in ("h1", "h2", "h3"):
            plug(client, host)
        yield client


def plug(api: Client, host: str, *ports: str) -> None:
    """What a hypervisor says of itself: the interfaces of these ports are there."""
    seen = Hypervisor(
        system_id=f"id-{host}",
        hostname=host,
        encap_ip=Address(f"192.0.2.{host[1:]}"),
        encap_types=("vxlan",),
        bridge="br-int",
        datapath_type="system",
        bridge_mappings=(),
        gateway_priority=None,
        datapath_id=int(host[1:]),
        claims=tuple(Claim(f"tap{port[:11]}", port) for port in ports),
    )
    api.commit(lambda tx: bindings.observe(tx, seen))


def guest(api: Client, **attributes: Any) -> str:
    network = api.make("network")["id"]
    return str(api.make("port", network_id=network, **{"device_owner": "compute:nova", **attributes})["id"])


def bind(api: Client, port: str, host: str, **attributes: Any) -> Answer:
    return api.ask("POST", f"/v2.0/ports/{port}/bindings", {"binding": {"host": host, **attributes}})


def listed(api: Client, port: str, query: str = "") -> list[tuple[str, str]]:
    found = api.get(f"/v2.0/ports/{port}/bindings?{query}")["bindings"]
    return [(each["host"], each["status"]) for each in found]


def activate(api: Client, port: str, host: str, body: object = None) -> Answer:
    return api.ask("PUT", f"/v2.0/ports/{port}/bindings/{host}/activate", body)


def placed(api: Client, port: str) -> str | None:
    """The hypervisor that has the port."""
    record = api.store.model.get(Port, port)
    assert record is not None
    found = bindings.place(api.store.model, record)
    return found.chassis if isinstance(found, bindings.Placed) else None


def test_a_port_that_is_nowhere_has_one_binding_to_no_host(api: Client) -> None:
    port = guest(api)
    assert api.get(f"/v2.0/ports/{port}/bindings")["bindings"] == [
        {
            "host": "",
            "vif_type": "unbound",
            "vif_details": {},
            "vnic_type": "normal",
            "profile": {},
            "status": "ACTIVE",
        }
    ]


def test_a_binding_waits_and_says_how_the_guest_would_be_plugged(api: Client) -> None:
    port = guest(api, **{"binding:host_id": "h1"})
    answer = bind(api, port, "h2", profile={"migrating_to": "h2"})
    assert answer.status == 201
    assert answer.body["binding"] == {
        "host": "h2",
        "vif_type": "ovs",
        "vif_details": {
            "port_filter": True,
            "connectivity": "l2",
            "ovs_hybrid_plug": False,
            "datapath_type": "system",
            "bridge_name": "br-int",
        },
        "vnic_type": "normal",
        "profile": {"migrating_to": "h2"},
        "status": "INACTIVE",
    }
    assert api.get(f"/v2.0/ports/{port}/bindings/h2")["binding"] == answer.body["binding"]
    assert api.get(f"/v2.0/ports/{port}/bindings/h2?fields=host")["binding"] == {"host": "h2"}
    assert api.get(f"/v2.0/ports/{port}")["port"]["binding:host_id"] == "h1"
    assert listed(api, port) == [("h1", "ACTIVE"), ("h2", "INACTIVE")]
    assert listed(api, port, "status=INACTIVE") == listed(api, port, "host=h2") == [("h2", "INACTIVE")]
    assert listed(api, port, "limit=1&marker=h1") == [("h2", "INACTIVE")]


def test_a_guest_moves_with_its_binding_and_back(api: Client) -> None:
    """A live migration: the port is plugged on both hosts, and is where the active binding says."""
    port = guest(api, **{"binding:host_id": "h1", "binding:profile": {"a": 1}})
    plug(api, "h1", port)
    bind(api, port, "h2")
    plug(api, "h2", port)
    assert placed(api, port) == "id-h1"
    before = api.get(f"/v2.0/ports/{port}")["port"]["revision_number"]
    moved = activate(api, port, "h2", {})
    assert (moved.status, moved.body["host"], moved.body["status"]) == (200, "h2", "ACTIVE"), "it bears no name"
    assert placed(api, port) == "id-h2"
    shown = api.get(f"/v2.0/ports/{port}")["port"]
    assert (shown["binding:host_id"], shown["binding:profile"]) == ("h2", {})
    assert shown["revision_number"] > before
    assert listed(api, port) == [("h1", "INACTIVE"), ("h2", "ACTIVE")]
    assert api.get(f"/v2.0/ports/{port}/bindings/h1")["binding"]["profile"] == {"a": 1}
    assert activate(api, port, "h1").status == 200
    assert placed(api, port) == "id-h1"
    assert api.get(f"/v2.0/ports/{port}")["port"]["binding:profile"] == {"a": 1}
    assert api.ask("DELETE", f"/v2.0/ports/{port}/bindings/h2").status == 204
    assert listed(api, port) == [("h1", "ACTIVE")]


def test_a_port_that_was_only_plugged_can_go_elsewhere_too(api: Client) -> None:
    port = guest(api)
    plug(api, "h1", port)
    assert listed(api, port) == [("id-h1", "ACTIVE")]
    bind(api, port, "h2")
    activate(api, port, "h2")
    plug(api, "h2", port)
    assert placed(api, port) == "id-h2"
    assert listed(api, port) == [("h2", "ACTIVE"), ("id-h1", "INACTIVE")]


def test_bindings_change_and_the_active_one_is_the_ports(api: Client) -> None:
    port = guest(api, **{"binding:host_id": "h1"})
    bind(api, port, "h2", profile={"a": 1})
    path = f"/v2.0/ports/{port}/bindings"
    assert api.ask("PUT", f"{path}/h2", {"binding": {"profile": {"b": 2}}}).body["binding"]["profile"] == {"b": 2}
    assert api.ask("PUT", f"{path}/h2", {"binding": {}}).body["binding"]["profile"] == {}
    assert api.ask("PUT", f"{path}/h2", {"binding": {"host": "h3"}}).body["binding"]["host"] == "h3"
    assert listed(api, port) == [("h1", "ACTIVE"), ("h3", "INACTIVE")]
    assert api.ask("PUT", f"{path}/h3", {"binding": {"host": "h1"}}).fault == (
        409,
        "PortBindingAlreadyExists",
        f"Binding for port {port} on host h1 already exists.",
    )
    api.ask("PUT", f"{path}/h1", {"binding": {"host": "h2", "profile": {"c": 3}}})
    shown = api.get(f"/v2.0/ports/{port}")["port"]
    assert (shown["binding:host_id"], shown["binding:profile"]) == ("h2", {"c": 3})
    api.put("port", port, **{"binding:host_id": "h3"})
    assert listed(api, port) == [("h3", "ACTIVE")], "where the port goes nothing waits any more"


def test_without_its_active_binding_a_port_is_nowhere(api: Client) -> None:
    port = guest(api, **{"binding:host_id": "h1"})
    plug(api, "h1", port)
    bind(api, port, "h2")
    assert api.ask("DELETE", f"/v2.0/ports/{port}/bindings/h1").status == 204
    assert placed(api, port) is None
    assert listed(api, port) == [("", "ACTIVE"), ("h2", "INACTIVE")]
    activate(api, port, "h2")
    assert listed(api, port) == [("h2", "ACTIVE")]


def test_what_waits_goes_with_the_port(api: Client) -> None:
    port = guest(api, **{"binding:host_id": "h1"})
    bind(api, port, "h2")
    api.delete("port", port)
    assert [*api.store.model.all(PortBinding)] == []


def test_what_cannot_be_is_refused(api: Client) -> None:
    port = guest(api, **{"binding:host_id": "h1"})
    bind(api, port, "h2")
    exists = "Binding for port {} on host {} already exists."
    for host in ("h1", "h2"):
        assert bind(api, port, host).fault == (409, "PortBindingAlreadyExists", exists.format(port, host))
    assert bind(api, port, "h9").fault == (
        409,
        "PortBindingError",
        f"Binding for port {port} on host h9 could not be created or updated.",
    )
    assert activate(api, port, "h1").fault == (
        409,
        "PortBindingAlreadyActive",
        f"Binding for port {port} on host h1 is already active.",
    )
    absent = (404, "PortBindingNotFound", f"Binding for port {port} for host h9 could not be found.")
    path = f"/v2.0/ports/{port}/bindings/h9"
    for answer in (
        api.ask("GET", path),
        api.ask("PUT", path, {"binding": {}}),
        api.ask("DELETE", path),
        activate(api, port, "h9"),
    ):
        assert answer.fault == absent
    for attributes, told in (
        ({"vif_type": "ovs"}, "Attribute 'vif_type' not allowed in POST"),
        ({"vnic_type": "foo"}, "Invalid input for vnic_type. Reason: foo is not in valid_values."),
        ({"profile": 5}, "Invalid input for profile. Reason: '5' is not a dictionary."),
    ):
        assert bind(api, port, "h3", **attributes).fault == (400, "HTTPBadRequest", told)
    assert api.ask("POST", f"/v2.0/ports/{port}/bindings", {"binding": {}}).fault == (
        400,
        "HTTPBadRequest",
        "Failed to parse request. Required attribute 'host' not specified",
    )


@pytest.mark.parametrize(
    ("owner", "told"),
    [
        ("", (400, "BadRequest", "Bad port request: Invalid port {}. Operation only valid on compute and shared "
              "filesystem ports.")),
        (None, (404, "PortNotFound", "Port {} could not be found.")),
    ],
)  # fmt: skip
def test_only_guests_have_several(api: Client, owner: str | None, told: tuple[int, str, str]) -> None:
    port = NOBODY if owner is None else guest(api, device_owner=owner)
    path = f"/v2.0/ports/{port}/bindings"
    for answer in (
        api.ask("GET", path),
        bind(api, port, "h1"),
        api.ask("GET", f"{path}/h1"),
        api.ask("PUT", f"{path}/h1", {"binding": {}}),
        activate(api, port, "h1"),
        api.ask("DELETE", f"{path}/h1"),
    ):
        assert answer.fault == (told[0], told[1], told[2].format(port))
