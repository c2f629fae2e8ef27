"""What an operator sees, and says, of the hypervisors that are gateways (`/v1`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.model import bindings
from controller.model.bindings import Hypervisor
from controller.model.records import Address
from controller.model.sqlite import SqliteJournal
from northbound import cli
from tests.northbound.served import Answer, Client, serving


@pytest.fixture
def api() -> Iterator[Client]:
    with serving(own=True) as client:
        yield client


def hypervisor(api: Client, name: str, priority: int | None) -> None:
    """One connects, whose database says that it is a gateway of a priority."""
    seen = Hypervisor(
        system_id=name, hostname=name, encap_ip=Address("192.0.2.1"), encap_types=("vxlan",), bridge="br-int",
        datapath_type="netdev", bridge_mappings=(("physnet1", "br-ex"),), gateway_priority=priority, datapath_id=1,
        claims=(),
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
