"""What is said of flows, of every app, as a reviewer reads it. `make golden` rewrites it; the difference is reviewed."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from apps import APPS
from controller.flows.app import App
from controller.flows.engine import Engine
from controller.model.records import INCIDENTAL, KINDS, Address, PortForwarding, Resource, differ_incidentally
from controller.model.store import MemoryJournal, Model, Store
from controller.southbound.explained import Explanation
from controller.southbound.fleet import Fleet
from northbound import explain, v1
from tests.apps.outside import add_floating, add_outside
from tests.cloud import Cloud, floating_ip, group, heard, ingress, interface, network, port, router, subnet, wire

WITH_FLOWS = [app for app in APPS if app.rules]
GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.fixture(scope="module")
def cloud() -> Cloud:
    """One in which every app has something to do."""
    cloud = Cloud()
    add_outside(cloud)
    cloud.commit(
        wire("dmz", 120, "phys"), subnet("dmz4", "dmz", "10.9.0.0/24"), network("thin", 300, "geneve", mtu=1300)
    )
    cloud.commit(
        subnet("thin6", "thin", "fd00::/64"), group("web", ingress("tcp", 80), ingress("icmp", remote_group_id="web"))
    )
    cloud.commit(
        port("vm1", "red", "02:00:00:00:00:01", "10.0.0.1", groups=["web"], pairs=[("02:00:00:00:00:01", "10.0.0.77")]),
        interface("r-dmz", "r", "dmz", "02:00:00:00:0a:02", dmz4="10.9.0.254"),
        interface("r-thin", "r", "thin", "02:00:00:00:0a:03", thin6="fd00::1"),
        router("r", ("10.7.0.0/16", "10.0.0.2"), ("10.7.0.0/16", "10.0.0.1"), external_network_id="ext"),
        heard("red", "10.0.0.77", "02:00:00:00:00:01", "vm1"),
    )
    add_floating(cloud)
    cloud.commit(floating_ip("g", "ext", "02:00:00:00:0e:65", "172.24.0.101", "r"))
    forwarding = PortForwarding(
        id="pf", floatingip_id="g", protocol="tcp", external_port_first=8080, external_port_last=8080,
        internal_port_first=80, internal_port_last=80, internal_port_id="vm2", internal_ip_address=Address("10.0.0.2"),
    )  # fmt: skip
    cloud.commit(lambda tx: tx.put(forwarding))
    return cloud


def test_nothing_that_is_for_people_alone_shows_in_any_flow(cloud: Cloud) -> None:
    """What the engine takes for granted of INCIDENTAL, of every app."""
    records = [record for kind in KINDS for record in cloud.model.all(kind)]
    others: dict[str, Any] = {
        "name": "another",
        "description": "x",
        "tags": ("a",),
        "revision_number": 77,
        "updated_at": 88,
    }
    assert others.keys() == INCIDENTAL
    changed = [replace(record, **others) if isinstance(record, Resource) else record for record in records]
    assert sum(map(differ_incidentally, records, changed)) > 20
    anew = Engine(Model(cloud.model.revision, changed), APPS)
    assert all(anew.desired(name) == cloud.engine.desired(name) for name in ("hv1", "hv2"))


@pytest.fixture(scope="module")
def known(cloud: Cloud) -> list[Explanation]:
    """Why there is what there is in it."""
    fleet = Fleet(Store(MemoryJournal(), cloud.model), cloud.engine)
    found = fleet.explained.dictionary()
    return sorted((*found.flows.values(), *found.groups.values()), key=lambda each: (each.app, each.place, each.text))


def told(entries: list[Explanation]) -> list[str]:
    """One of each sort, with its reason."""
    sorts = groupby(entries, key=lambda each: (each.app, each.table, each.reason))
    firsts = [next(each) for _, each in sorts]
    dump = [f" cookie={each.cookie:#x}, {each.text}" if each.cookie else f" {each.text}" for each in firsts]
    reasons = {
        str(shown["cookie"] or explain.group_key(shown["group"])): shown for shown in map(v1.explanation, firsts)
    }
    return [_brief(line) for line in explain.text(explain.explain(explain.read(dump), reasons))]


def _brief(line: str) -> str:
    """A line without what other goldens show: of a flow its table and priority, of a group its id and type."""
    return re.sub(r"^ (?:cookie=\w+, )?(\w+=\w+,\w+=\w+)\b.*", r" \1 ...", line)


@pytest.mark.parametrize("app", WITH_FLOWS, ids=[app.name for app in WITH_FLOWS])
def test_golden_explained(known: list[Explanation], app: App) -> None:
    golden = GOLDEN / "explained" / f"{app.name}.txt"
    text = "\n".join([*told([each for each in known if each.app == app.name]), ""])
    if os.environ.get("WEFT_GOLDEN") == "write":
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)
    assert text == golden.read_text()
    assert text.endswith(" 0 foreign\n")
    assert not text.startswith("0 ")


def test_every_flow_is_explained_by_objects_that_there_are(known: list[Explanation], cloud: Cloud) -> None:
    kinds = {kind.__name__.lower(): kind for kind in KINDS}
    named = [each for entry in known for each in entry.objects if each.kind != "address"]
    assert [each for each in named if cloud.model.get(kinds[each.kind], each.id) is None] == []
    assert {"network", "port", "router", "chassis", "floatingip", "policy"} <= {each.kind for each in named}
