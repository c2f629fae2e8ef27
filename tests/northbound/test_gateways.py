"""What an operator sees, and says, of the hypervisors that are gateways (`/v1`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.model import bindings
from controller.model.bindings import Claim, Hypervisor
from controller.model.records import Address
from controller.model.sqlite import SqliteJournal
from northbound import cli
from tests.northbound.served import Answer, Client, serving


@pytest.fixture
def api() -> Iterator[Client]:
    with serving(own=True) as client:
        yield client


PHYSNET = {"provider:physical_network": "physnet1"}
MAPPED = (("physnet1", "br-ex"),)


def hypervisor(
    api: Client, name: str, priority: int | None, *ports: str, mappings: tuple[tuple[str, str], ...] = MAPPED
) -> None:
    """One connects, whose database says that it is a gateway of a priority."""
    seen = Hypervisor(
        system_id=name, hostname=name, encap_ip=Address(f"192.0.2.{name[2:]}"), encap_types=("vxlan",), bridge="br-int",
        datapath_type="netdev", bridge_mappings=mappings, gateway_priority=priority, datapath_id=1,
        claims=tuple(Claim("tap", port) for port in ports),
    )  # fmt: skip
    api.commit(lambda tx: bindings.observe(tx, seen))


def drain(api: Client, name: str, body: object) -> Answer:
    return api.ask("PUT", f"/v1/chassis/{name}", body)


def seen(api: Client, name: str) -> Any:
    chassis = api.get(f"/v1/chassis/{name}")["chassis"]
    return chassis["gateway_priority"], chassis["gateway"], chassis["drained"]


def test_a_hypervisor_is_a_gateway_by_its_priority_until_it_is_drained(api: Client) -> None:
    hypervisor(api, "hv1", 10)
    hypervisor(api, "hv2", None)
    assert (seen(api, "hv1"), seen(api, "hv2")) == ((10, True, False), (None, False, False))
    assert drain(api, "hv1", {"gateway": False}).body["chassis"]["drained"] is True
    assert seen(api, "hv1") == (10, False, True)
    assert drain(api, "hv1", {"gateway": False}).status == 200
    hypervisor(api, "hv1", 20)
    assert seen(api, "hv1") == (20, False, True), "it stays drained while it comes and goes"
    assert drain(api, "hv1", {"gateway": True}).status == 200
    assert seen(api, "hv1") == (20, True, False)


def test_a_hypervisor_stays_drained_when_the_controller_starts_again(tmp_path: Path) -> None:
    file = tmp_path / "weft.db"
    with serving(own=True, journal=SqliteJournal(file)) as api:
        hypervisor(api, "hv1", 10)
        assert drain(api, "hv1", {"gateway": False}).status == 200
    with serving(own=True, journal=SqliteJournal(file)) as api:
        assert seen(api, "hv1") == (10, False, True)
        assert api.ask("DELETE", "/v1/chassis/hv1").status == 204
        hypervisor(api, "hv1", 10)
        assert seen(api, "hv1") == (10, True, False), "another hypervisor of that name is another one"


@pytest.mark.parametrize("body", [{}, {"gateway": 0}, {"gateway": None}, {"gateway": True, "name": "x"}, [], "no json"])
def test_what_no_hypervisor_can_be_is_refused(api: Client, body: object) -> None:
    hypervisor(api, "hv1", 10)
    assert drain(api, "hv1", body).fault[0] == 400
    assert seen(api, "hv1") == (10, True, False)


def test_a_hypervisor_that_is_not_there_cannot_be_drained(api: Client) -> None:
    assert drain(api, "hv9", {"gateway": False}).fault == (404, "ChassisNotFound", "Chassis hv9 could not be found.")


def test_the_command_drains_a_hypervisor(api: Client, capsys: pytest.CaptureFixture[str]) -> None:
    hypervisor(api, "hv1", 10)
    hypervisor(api, "hv2", None)
    assert cli.main(["chassis", "drain", "hv1", "--url", api.url]) == 0
    assert (capsys.readouterr().out, seen(api, "hv1")) == ("", (10, False, True))
    assert cli.main(["chassis", "drain", "hv1", "--undo", "--url", api.url]) == 0
    assert seen(api, "hv1") == (10, True, False)
    assert cli.main(["chassis", "drain", "hv2", "--url", api.url]) == 0
    assert capsys.readouterr().out == "hv2 has no weft-gateway-priority: it is no gateway anyway\n"
    assert cli.main(["chassis", "drain", "hv9", "--url", api.url]) == 2
    assert "Chassis hv9 could not be found" in capsys.readouterr().err


def test_the_gateways_of_a_router_are_ranked_by_priority_without_those_that_are_drained(api: Client) -> None:
    for name, priority in (("hv1", 10), ("hv2", 30), ("hv3", 20), ("hv4", None)):
        hypervisor(api, name, priority)
    out = api.make("network", **{"router:external": True, "provider:network_type": "flat"}, **PHYSNET)["id"]
    api.make("subnet", network_id=out, ip_version=4, cidr="203.0.113.0/24")
    router = api.make("router")["id"]

    def ranked() -> list[str]:
        shown = api.get(f"/v1/routers/{router}")["router"]
        assert (shown["id"], shown["active"]) == (router, None), "none of them is connected"
        return list(shown["gateways"])

    assert ranked() == []
    assert api.put("router", router, external_gateway_info={"network_id": out}).status == 200
    assert ranked() == ["hv2", "hv3", "hv1"]
    drain(api, "hv2", {"gateway": False})
    assert ranked() == ["hv3", "hv1"]
    drain(api, "hv2", {"gateway": True})
    assert ranked() == ["hv2", "hv3", "hv1"]
    assert api.ask("GET", "/v1/routers/nobody").fault == (404, "RouterNotFound", "Router nobody could not be found")


def test_a_floating_ip_is_at_the_gateways_unless_its_guest_is_on_the_wire(api: Client) -> None:
    hypervisor(api, "hv1", 10)
    out = api.make("network", **{"router:external": True, "provider:network_type": "flat"}, **PHYSNET)["id"]
    api.make("subnet", network_id=out, ip_version=4, cidr="203.0.113.0/24")
    red = api.make("network")["id"]
    four = api.make("subnet", network_id=red, ip_version=4, cidr="10.0.0.0/24")["id"]
    router = api.make("router", external_gateway_info={"network_id": out})["id"]
    assert api.ask("PUT", f"/v2.0/routers/{router}/add_router_interface", {"subnet_id": four}).status == 200
    vm = api.make("port", network_id=red)["id"]
    floating = api.make("floatingip", floating_network_id=out, port_id=vm)["id"]

    def where() -> tuple[str | None, list[str]]:
        shown = api.get(f"/v1/floatingips/{floating}")["floatingip"]
        return shown["binding"], shown["chassis"]

    assert where() == (None, []), "its guest is nowhere"
    hypervisor(api, "hv2", None, vm, mappings=())
    assert where() == ("centralized", ["hv1"])
    hypervisor(api, "hv2", None, vm)
    assert where() == ("distributed", ["hv2"])
    assert api.put("floatingip", floating, port_id=None).status == 200
    assert where() == (None, [])
    assert api.ask("GET", "/v1/floatingips/nothing").fault[:2] == (404, "FloatingIPNotFound")
