"""`weft prove` on what `weft bundle` kept: exit codes, words and JSON, and what it says to mistakes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from controller.flows.flow import Flow
from controller.model.records import Link
from controller.model.store import MemoryJournal, Store
from controller.southbound.dumps import Dump, Remembered
from controller.southbound.fleet import Fleet
from controller.southbound.messages import PortDesc
from controller.southbound.openflow import EncodedFlow, encode_flow, encode_group
from controller.southbound.reconcile import Installed
from controller.southbound.spoken import flow_text, group_text
from northbound import archive, cli, past, v1, verdict
from northbound.client import Unanswered
from tests.cloud import Cloud, hypervisor, network, port
from tests.controller.prove.clouds import cloud

NORMAL = EncodedFlow.of(
    0,
    0xFFFF,
    bytes.fromhex("0001000c 80000004 0000000b 00000000"),
    bytes.fromhex("00040018 00000000 00000010 fffffffa 0000 000000000000"),
    0x77,
)
"""What comes from port 11 is for everybody: somebody else's flow."""
IN_STEP = Remembered(
    datapath_id=1, connected=True, database=True, revision=9, applied_revision=9, flow_mods=0, mods_bytes=0, trouble="",
    refused={},
)  # fmt: skip


def dump(made: Cloud, chassis: str, *more: EncodedFlow) -> Dump:
    """What a switch would tell that holds what it should, and somebody else's flows."""
    entries = made.engine.desired(chassis).values()
    flows = [encode_flow(each.item, each.app) for each in entries if isinstance(each.item, Flow)]
    groups = [encode_group(each.item) for each in entries if not isinstance(each.item, Flow)]
    links = made.model.where(Link, chassis=chassis)
    return Dump(
        Installed({flow.key: flow for flow in (*flows, *more)}, {each.id: each for each in groups}),
        described=tuple(PortDesc(link.ofport, link.interface, "02:00:00:00:00:ff", 0, 4) for link in links),
    )


def file(path: Path, made: Cloud, **dumps: Dump) -> str:
    """An archive of a cloud and these dumps."""
    fleet = Fleet(Store(MemoryJournal(), made.model), made.engine)
    for number, name in enumerate(("hv1", "hv2"), 1):
        known = name in dumps
        fleet.remember(name, replace(IN_STEP, datapath_id=number, connected=known), dumps.get(name))
    gathered = asyncio.run(archive.gather(fleet, [*dumps], v1.Routes(fleet).statuses))
    path.write_bytes(archive.packed(archive.members(gathered, v1.explanation)))
    return str(path)


def test_what_is_as_it_should_be_is_proven(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = cloud()
    kept = file(tmp_path / "kept", made, hv1=dump(made, "hv1"), hv2=dump(made, "hv2"))
    assert cli.main(["prove", "--bundle", kept]) == 0
    assert capsys.readouterr().out.startswith("proven (isolation, spoofing, loop, hole, ")
    assert cli.main(["prove", "--bundle", kept, "--reaches", "vm1", "--only", "vm2,vm3"]) == 0
    assert capsys.readouterr().out.startswith("proven (reaches)")
    assert cli.main(["prove", "--bundle", kept, "--reaches", "vm1", "--only", "vm2", "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    (violation,) = answer["violations"]
    assert (violation["sender_port"], violation["receiver_port"], answer["proven"]) == ("vm3", "vm1", False)


def test_a_foreign_flow_that_joins_tenants_is_told_with_a_packet_and_both_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = cloud()
    kept = file(tmp_path / "kept", made, hv1=dump(made, "hv1", NORMAL), hv2=dump(made, "hv2"))
    assert cli.main(["prove", "--bundle", kept]) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "isolation: it reaches port b1 of network blue, which nothing joins to its sender"
    assert told[1:3] == ["  from    port vm2 of network red", "  to      port b1 of network blue"]
    assert told[3].startswith("  packet  in_port=11,eth_src=")
    assert "  hv1 cookie=0x77, table=0, priority=65535,in_port=11 actions=NORMAL" in told
    assert "      # foreign: no flow of this model" in told
    assert told[-1].startswith("violated: ")


def test_nothing_is_proven_of_who_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = cloud()
    kept = file(tmp_path / "kept", made, hv1=dump(made, "hv1"))
    assert cli.main(["prove", "--bundle", kept]) == 2
    assert "hv2 ? nothing is proven of it: its switch is not connected" in capsys.readouterr().out.splitlines()


def test_a_proof_ends_with_all_its_processes_when_its_client_goes(tmp_path: Path) -> None:
    """And the next need not wait for it."""
    made = crowded(60)
    fleet = Fleet(Store(MemoryJournal(), made.model), made.engine)
    fleet.remember("hv1", IN_STEP, dump(made, "hv1"))

    async def run() -> tuple[set[int], set[int]]:
        app = web.Application()
        v1.add_routes(app, fleet)
        server = TestServer(app)
        await server.start_server()
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"POST /v1/prove HTTP/1.1\r\nHost: weft\r\nContent-Length: 0\r\n\r\n")
        working = await until(lambda found: len(found) >= SHARED)
        for each in working:
            os.kill(each, signal.SIGSTOP)  # or it may be done before it is killed
        writer.close()
        left = await until(lambda found: not found)
        for each in left:
            os.kill(each, signal.SIGKILL)
        await server.close()
        return working, left

    working, left = asyncio.run(asyncio.wait_for(run(), 60))
    assert len(working) >= SHARED
    assert not left


async def until(enough: Callable[[set[int]], bool]) -> set[int]:
    """The processes that prove, when they are enough, or after some seconds."""
    for _ in range(400):
        if enough(found := provers()):
            return found
        await asyncio.sleep(0.02)
    return provers()


SHARED = 2 if (os.cpu_count() or 1) > 1 else 1
"""So many processes at least prove for more than a hundred senders."""


def provers() -> set[int]:
    """The processes that prove for this one, by number."""
    mine, found = {os.getpid()}, set[int]()
    for _ in range(2):
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it may have ended meanwhile
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if parent in mine and b"controller.prove" in (entry / "cmdline").read_bytes():
                    found.add(int(entry.name))
        mine |= found
    return found


def crowded(size: int) -> Cloud:
    """As many guests on each of two networks, all on one hypervisor."""
    made = Cloud()
    made.commit(network("red", 100), network("blue", 200))
    ids = [(name, f"{name}{n}", n + 1) for name in ("red", "blue") for n in range(size)]
    made.commit(*(port(id, name, f"02:00:00:00:01:{n:02x}", f"10.0.1.{n}") for name, id, n in ids))
    made.commit(hypervisor(1, *(id for _, id, _ in ids)))
    return made


def test_mistakes_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = cloud()
    kept = file(tmp_path / "kept", made, hv1=dump(made, "hv1"), hv2=dump(made, "hv2"))
    for options, words in (
        (["--reaches", "nobody"], "nobody"),
        (["--only", "vm1"], "say which, as reaches"),
        (["--live"], "--live sends packets, and a file has no switches to send them: leave out one of the two"),
    ):
        assert cli.main(["prove", "--bundle", kept, *options]) == 2
        assert words in capsys.readouterr().err


def test_what_is_against_a_claim_is_not_sent_by_switches_that_are_not_there(tmp_path: Path) -> None:
    made = cloud()
    kept = file(tmp_path / "kept", made, hv1=dump(made, "hv1", NORMAL), hv2=dump(made, "hv2"))
    with past.opened(Path(kept)) as yesterday:
        answer = yesterday.post("/v1/prove", {"live": True}, 60)
        with pytest.raises(Unanswered, match="neither true nor false"):
            yesterday.post("/v1/prove", {"live": 1})
    assert answer["live"] == {"sent": 0, "real": 0, "unreal": 0}
    assert {each["live"]["sent"] for each in answer["violations"]} == {False}
    said = [*verdict.text(answer)]
    assert "  live    not sent: hv1 is disconnected: its switch is not connected." in said
    assert said[-2] == "0 sent: 0 as proven, 0 not so, or no more"


def test_flows_are_said_as_open_vswitch_says_them() -> None:
    made = cloud()
    for chassis in ("hv1", "hv2"):
        for entry in made.engine.desired(chassis).values():
            item = entry.item
            said = flow_text(encode_flow(item, entry.app)) if isinstance(item, Flow) else group_text(encode_group(item))
            assert meaning(said) == meaning(str(item))


def meaning(line: str) -> object:
    """What a line says, however it is written."""
    from controller.prove.rules import group, rule

    if line.startswith("group_id"):
        found = group(line, {})
        return found.id, found.every, found.buckets
    flow = rule(line, {})
    return flow.table, flow.priority, sorted(flow.tests), flow.actions, flow.conj_id, flow.certain
