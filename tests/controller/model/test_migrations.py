"""A store of an older release is what today's requests would have made of the same cloud."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgpack
import pytest

from controller.model.records import (
    KINDS,
    Binding,
    Bundle,
    Network,
    Policy,
    Port,
    Quarantine,
    RbacPolicy,
    SecurityGroup,
    SecurityGroupRule,
    Tag,
)
from controller.model.sqlite import SqliteJournal
from controller.model.store import Model

OWNED = {"description": "", "revision_number": 3, "created_at": 7, "updated_at": 9}
NETWORK = {
    **OWNED, "id": "red", "name": "red", "project_id": "p", "network_type": "vxlan", "segmentation_id": 1,
    "physical_network": None, "admin_state_up": True, "shared": False, "mtu": 1450,
}  # fmt: skip
SHARED = {**NETWORK, "id": "blue", "segmentation_id": 2, "shared": True, "external": True, "project_id": "q"}
PORT = {
    **OWNED, "name": "", "project_id": "p", "network_id": "red", "admin_state_up": True, "device_id": "",
    "device_owner": "", "host": None, "vnic_type": "normal", "profile": "{}",
}  # fmt: skip
CLAIM = {"chassis": "hv1", "attached_mac": "", "sequence": 1, "superseded": False}


def port(id: str, last: int, **more: object) -> tuple[str, dict[str, object]]:
    """A row of a port, as schema 1 packed it."""
    ips = ({"subnet_id": "four", "ip_address": f"10.0.0.{last}"},)
    return "Port", {**PORT, "id": id, "mac_address": f"02:00:00:00:00:{last:02x}", "fixed_ips": ips, **more}


ROWS: tuple[tuple[str, dict[str, object]], ...] = (
    ("Network", NETWORK),
    ("Network", SHARED),
    port("p1", 1),
    port("p2", 2),
    port("q1", 3, project_id="q", device_owner="compute:nova"),
    port("nobodys", 4, project_id=""),
    port("dhcp", 5, device_owner="network:dhcp"),
    port("gateway", 6, device_owner="network:router_gateway", device_id="r1"),
    port("floating", 7, device_owner="network:floatingip", device_id="f1"),
    port("door", 8, device_owner="network:router_interface", device_id="r1"),
    ("Binding", {**CLAIM, "id": "hv1/tap1", "interface": "tap1", "port_id": "p1"}),
    ("Binding", {**CLAIM, "id": "hv1/tap2", "interface": "tap2", "port_id": "p2"}),
    ("Binding", {**CLAIM, "id": "hv2/tap1", "chassis": "hv2", "interface": "tap1", "port_id": "gone"}),
    ("Tag", {"id": "port/p1", "space": "port", "number": 5}),
    ("Counter", {"id": "tag/port", "value": 5}),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file as the first release left it."""
    path = tmp_path / "weft.db"
    with sqlite3.connect(path) as db:
        db.execute(
            "CREATE TABLE records (kind TEXT, id TEXT, value BLOB NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID"
        )
        db.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID")
        db.execute("INSERT INTO meta VALUES ('schema', 1), ('revision', 42)")
        rows = [(kind, row["id"], msgpack.packb(row)) for kind, row in ROWS]
        db.executemany("INSERT INTO records VALUES (?, ?, ?)", rows)
    db.close()
    return path


def load(path: Path) -> Model:
    journal = SqliteJournal(path)
    try:
        return Model(*journal.load())
    finally:
        journal.close()


def default(model: Model, project: str) -> str:
    (found,) = model.where(SecurityGroup, default_of=project)
    return found.id


def test_ports_are_in_the_default_group_of_their_project_or_trusted(path: Path) -> None:
    model = load(path)
    assert model.revision == 42
    assert {port.id: (port.port_security_enabled, port.security_groups) for port in model.all(Port)} == {
        "p1": (True, (default(model, "p"),)),
        "p2": (True, (default(model, "p"),)),
        "q1": (True, (default(model, "q"),)),
        "nobodys": (True, (default(model, ""),)),
        "dhcp": (False, ()),
        "gateway": (False, ()),
        "floating": (False, ()),
        "door": (False, ()),
    }
    assert [network.port_security_enabled for network in model.all(Network)] == [True, True]
    p1 = model.get(Port, "p1")
    assert p1 is not None
    assert (p1.revision_number, p1.updated_at, p1.fixed_ips[0].ip_address) == (3, 9, "10.0.0.1")


def test_the_default_groups_are_whole(path: Path) -> None:
    model = load(path)
    groups = {default(model, project) for project in ("p", "q", "")}
    assert {group.id for group in model.all(SecurityGroup)} == groups
    for group in groups:
        assert len(model.where(SecurityGroupRule, security_group_id=group)) == 4
    tags: dict[str, set[str]] = {}
    for tag in model.all(Tag):
        tags.setdefault(tag.space, set()).add(tag.id.removeprefix(f"{tag.space}/"))
    assert tags == {
        "port": {"p1"},
        "bundle": {bundle.id for bundle in model.all(Bundle)},
        "policy": groups,
    }
    assert {policy.id: policy.groups for policy in model.all(Policy)} == {group: (group,) for group in groups}
    assert len(tags["bundle"]) == 12


def test_a_network_is_shared_and_leads_outside_by_policies(path: Path) -> None:
    policies = load(path).all(RbacPolicy)
    assert {(each.project_id, each.object_type, each.object_id) for each in policies} == {("q", "network", "blue")}
    assert sorted((each.action, each.target_project) for each in policies) == [
        ("access_as_external", "*"),
        ("access_as_shared", "*"),
    ]


def test_a_store_of_schema_2_needs_no_more_than_its_own_migrations(path: Path) -> None:
    before = load(path).all(Port)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE meta SET value = 2 WHERE key = 'schema'")
        db.execute("DELETE FROM records WHERE kind = 'RbacPolicy'")
        db.execute("UPDATE records SET value = ? WHERE id = 'blue'", (msgpack.packb(SHARED),))
    db.close()
    model = load(path)
    assert [policy.object_id for policy in model.all(RbacPolicy)] == ["blue", "blue"]
    assert model.all(Port) == before


def test_every_claim_has_a_zone(path: Path) -> None:
    model = load(path)
    assert {binding.id: binding.zone for binding in model.all(Binding)} == {"hv1/tap1": 1, "hv1/tap2": 2, "hv2/tap1": 1}
    assert model.all(Quarantine) == ()


def test_a_second_start_changes_nothing(path: Path) -> None:
    first, second = load(path), load(path)
    assert [first.all(kind) for kind in KINDS] == [second.all(kind) for kind in KINDS]
    assert path.with_name("weft.db.schema1").exists(), "the file as it was is kept"


def test_a_store_that_is_empty_gets_nothing(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM records")
    db.close()
    model = load(path)
    assert [record for kind in KINDS for record in model.all(kind)] == []


def test_a_port_that_a_client_called_a_gateway_is_no_routers(path: Path) -> None:
    model = load(path)
    assert {port.id: port.device_id for port in model.all(Port) if port.device_owner.startswith("network:")} == {
        "dhcp": "",
        "door": "r1",
        "floating": "",
        "gateway": "",
    }
