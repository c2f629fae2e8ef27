"""What is made and deleted again leaves nothing behind: no container of the controller is longer afterwards."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from controller.model.records import Quarantine
from controller.model.sqlite import SqliteJournal
from controller.model.store import Transaction
from northbound.api import Settings
from tests.census import remembered
from tests.cloud import hypervisor
from tests.northbound.served import Client, serving

SETTINGS = Settings(flat_networks=frozenset({"physnet1"}))
ROUNDS = 5
SETTLED_S = 10.0


def tenant_comes_and_goes(api: Client, turn: int) -> None:
    """All that a tenant may have, with names and numbers of its own, on two hypervisors; then none of it."""
    mine = {"project_id": "p1"}
    out = api.make("network", **{"router:external": True, "provider:network_type": "flat"}, **physical())
    api.make("subnet", network_id=out["id"], ip_version=4, cidr=f"203.0.{turn}.0/24", enable_dhcp=False)
    router = api.make("router", name=f"router{turn}", external_gateway_info={"network_id": out["id"]}, **mine)
    network = api.make("network", name=f"net{turn}", **mine)
    subnet = api.make("subnet", name=f"sub{turn}", network_id=network["id"], ip_version=4, cidr=f"10.{turn}.0.0/24")
    act(api, router["id"], "add_router_interface", subnet["id"])
    remote = api.make("address_group", name=f"hosts{turn}", addresses=[f"192.0.2.{turn}/32"], **mine)
    group = api.make("security_group", name=f"group{turn}", **mine)
    for allowed in ({"remote_ip_prefix": f"198.51.{turn}.0/24"}, {"remote_address_group_id": remote["id"]}):
        rule = {"direction": "ingress", "protocol": "tcp", "port_range_min": 80, "port_range_max": 80}
        api.make("security_group_rule", security_group_id=group["id"], **rule, **allowed, **mine)
    ports = [
        api.make("port", name=f"port{turn}-{each}", network_id=network["id"], security_groups=[group["id"]], **mine)
        for each in range(3)
    ]
    for number, port in enumerate(ports[:2], start=1):
        api.commit(hypervisor(number, port["id"], physical=("physnet1",), priority=10))
    address = api.make("floatingip", floating_network_id=out["id"], port_id=ports[0]["id"], **mine)
    assert api.put("port", ports[1]["id"], name=f"other{turn}", admin_state_up=False).status == 200
    assert api.put("port", ports[2]["id"], **{"binding:host_id": "hv1"}).status == 200
    assert api.get(f"/v2.0/ports?name=port{turn}-0&fields=status")["ports"] == [{"status": "DOWN"}]

    for number in (1, 2):
        api.commit(hypervisor(number, physical=("physnet1",), priority=10))
    api.commit(released)
    gone = [("floatingip", address), *(("port", port) for port in ports), ("security_group", group)]
    for kind, made in (*gone, ("address_group", remote)):
        assert api.delete(kind, made["id"]).status == 204
    act(api, router["id"], "remove_router_interface", subnet["id"])
    for kind, made in (("router", router), ("network", network), ("network", out)):
        assert api.delete(kind, made["id"]).status == 204


def released(tx: Transaction) -> None:
    """What waits in quarantine until its switch has forgotten connections has done so."""
    for zone in tx.all(Quarantine):
        tx.delete(Quarantine, zone.id)


def physical() -> dict[str, object]:
    return {"provider:physical_network": "physnet1"}


def act(api: Client, router: str, action: str, subnet: str) -> None:
    assert api.ask("PUT", f"/v2.0/routers/{router}/{action}", {"subnet_id": subnet}).status == 200


def kept(before: Counter[str]) -> Counter[str]:
    """What is remembered that was not; connections that were closed may take a moment to be forgotten."""
    until = time.monotonic() + SETTLED_S
    while (more := remembered() - before) and time.monotonic() < until:
        time.sleep(0.1)
    return more


def test_tenants_that_come_and_go_leave_nothing_behind(tmp_path: Path) -> None:
    with serving(SETTINGS, SqliteJournal(tmp_path / "weft.sqlite"), own=True) as api:
        for turn in range(2):
            tenant_comes_and_goes(api, turn)
        api.heard.clear()
        before = remembered()
        for turn in range(2, 2 + ROUNDS):
            tenant_comes_and_goes(api, turn)
        api.heard.clear()
        assert kept(before) == Counter()
