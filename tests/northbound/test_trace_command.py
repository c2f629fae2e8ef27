"""`weft trace` against a controller whose hypervisors have all left: exit codes, JSON, and what it says to mistakes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest
from aiohttp import web

from apps import APPS
from controller.flows.engine import Engine
from controller.model.store import MemoryJournal, Store
from controller.southbound.fleet import Fleet
from northbound import api, cli, v1
from tests.cloud import Work, egress, group, hypervisor, ingress, network, port, subnet

CLOUD: tuple[Work, ...] = (
    network("red", 100),
    subnet("red-subnet", "red", "10.0.0.0/24"),
    group("web", egress(), ingress("icmp")),
    port("a", "red", "02:00:00:00:00:01", "10.0.0.1", groups=["web"], name="vm"),
    port("b", "red", "02:00:00:00:00:02", "10.0.0.2", groups=["web"], name="twin"),
    port("c", "red", "02:00:00:00:00:03", "10.0.0.3", name="twin"),
    hypervisor(1, "a"),
    hypervisor(2, "b"),
)

Weft = Callable[..., int]


@pytest.fixture
def weft() -> Weft:
    """`weft trace` with some options, against a controller of its own."""

    async def ask(*options: str) -> int:
        store = await Store.open(MemoryJournal())
        fleet = Fleet(store, Engine(store.model, APPS))
        store.follow(fleet.follow)
        app = api.application(store, fleet.readiness, api.Settings())
        v1.add_routes(app, fleet)
        task = asyncio.create_task(store.run())
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            for work in CLOUD:
                await store.commit(work)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            return await asyncio.to_thread(cli.main, ["trace", "--url", url, *options])
        finally:
            await runner.cleanup()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await store.close()

    return lambda *options: asyncio.run(ask(*options))


def test_a_packet_that_arrives_ends_0_and_its_fate_is_the_last_line(
    weft: Weft, capsys: pytest.CaptureFixture[str]
) -> None:
    assert weft("--from", "vm", "--to", "10.0.0.2") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'hv1 classify         port "vm" a on network red asks by ARP who has 10.0.0.2'
    waits = "waits for its database: ovsdb-server must run, and ovs-vsctl get-manager must name the controller"
    assert lines[-4:] == [
        'hv2 deliver          out of tap-b: port "twin" b',
        f"hv1 may not hold all of this: {waits}",
        f"hv2 may not hold all of this: {waits}",
        "delivered",
    ]


def test_a_packet_that_is_dropped_ends_1(weft: Weft, capsys: pytest.CaptureFixture[str]) -> None:
    assert weft("--from", "a", "--to", "b", "--proto", "tcp", "--sport", "7", "--dport", "80") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "dropped: INGRESS_DENIED no ingress rule of the receiving port's security groups allows"
    assert "sends tcp 7 > 80 from" in lines[2]


def test_for_machines_it_is_json(weft: Weft, capsys: pytest.CaptureFixture[str]) -> None:
    assert weft("--from", "a", "--to", "10.0.0.9", "--json") == 1
    answer = json.loads(capsys.readouterr().out)
    assert (answer["fate"], answer["reason"]) == ("dropped", "ARP_UNKNOWN")
    assert answer["sentence"] == "asked by ARP for an address that no attached port of the network holds"
    assert answer["hops"][-1] == {
        "chassis": "hv1",
        "table": "neigh_reply",
        "words": "nobody who is attached to network red has 10.0.0.9",
        "port": None,
        "network": "red",
        "router": None,
        "rules": [],
        "nat": None,
        "mtu": None,
    }
    assert [*answer["behind"]] == ["hv1"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--from", "nosuch", "--to", "b"), "weft: Port nosuch could not be found.\n"),
        (("--from", "a", "--to", "twin"), "weft: 2 ports are named twin: b, c; say which by its id.\n"),
        (
            ("--from", "c", "--to", "a"),
            "weft: Port c sends nothing: no hypervisor has an interface with this port's id as iface-id.\n",
        ),
        (
            ("--from", "a", "--to", "b", "--proto", "udp"),
            "weft: Invalid input for dport. Reason: udp needs a destination port.\n",
        ),
    ],
)
def test_what_cannot_be_asked_ends_2(
    weft: Weft, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], says: str
) -> None:
    assert weft(*options) == 2
    assert capsys.readouterr().err == says
