"""What `weft bundle` keeps answers as the controller did: the file by itself, its commands, and files that are none."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps import APPS
from controller.errors import BadArchive, NotFound
from controller.flows.engine import Engine
from controller.flows.flow import Flow
from controller.flows.pipeline import CLASSIFY, DROP, WHY, Why
from controller.model.records import KINDS, Binding, Port, Tag
from controller.model.store import MemoryJournal, Model, Store
from controller.southbound.counts import Count
from controller.southbound.dumps import Dump, Remembered
from controller.southbound.fleet import Fleet
from controller.southbound.messages import Meter, PortDesc
from controller.southbound.openflow import EncodedFlow, encode_flow, encode_group
from controller.southbound.oxm import encode_match
from controller.southbound.reconcile import Installed
from northbound import archive, cli, past, v1
from northbound.archive import Archive
from northbound.client import Unanswered
from tests.apps.outside import add_outside
from tests.cloud import Cloud, egress, group, hypervisor, ingress, network, port, subnet

FOREIGN = EncodedFlow.of(0, 5, bytes.fromhex("0001000a80000a0208060000 00000000"), b"", 0x77)
"""ARP is dropped: somebody else's flow."""
IN_STEP = Remembered(
    datapath_id=1,
    connected=True,
    database=True,
    revision=9,
    applied_revision=9,
    flow_mods=3,
    mods_bytes=300,
    trouble="",
    refused={},
)


def cloud() -> Cloud:
    made = Cloud()
    made.commit(hypervisor(1, "a"), hypervisor(2, "b"), network("red", 100), subnet("red-subnet", "red", "10.0.0.0/24"))
    made.commit(group("web", egress(), ingress("icmp")))
    for number, name in enumerate("ab", 1):
        made.commit(
            port(name, "red", f"02:00:00:00:00:0{number}", f"10.0.0.{number}", groups=["web"], name=f"vm {name}")
        )
    return made


def held(made: Cloud, chassis: str) -> Dump:
    """What the switch of a chassis would tell if it held what it should, and somebody else's flow."""
    entries = made.engine.desired(chassis).values()
    flows = [encode_flow(each.item, each.app) for each in entries if isinstance(each.item, Flow)]
    groups = [encode_group(each.item) for each in entries if not isinstance(each.item, Flow)]
    return Dump(
        Installed({flow.key: flow for flow in (*flows, FOREIGN)}, {each.id: each for each in groups}),
        tuple(Count(flow.table, flow.priority, flow.match, flow.cookie, 7, 700) for flow in flows),
        (Meter(1, 5, bytes(16)),),
        (PortDesc(10, "tap-a", "02:00:00:00:00:01", 0, 4),),
    )


def file(path: Path, dumps: Mapping[str, Dump], made: Cloud, said: Remembered = IN_STEP) -> Path:
    """An archive of a cloud and these dumps."""
    fleet = Fleet(Store(MemoryJournal(), made.model), made.engine)
    for name in ("hv1", "hv2"):
        fleet.remember(name, replace(said, datapath_id=int(name[2:])), dumps.get(name))
    routes = v1.Routes(fleet)
    gathered = asyncio.run(archive.gather(fleet, None, routes.statuses))
    path.write_bytes(archive.packed(archive.members(gathered, v1.explanation)))
    return path


@pytest.fixture
def made() -> Cloud:
    return cloud()


@pytest.fixture
def bundle(tmp_path: Path, made: Cloud) -> Path:
    return file(tmp_path / "yesterday", {name: held(made, name) for name in ("hv1", "hv2")}, made)


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return file(tmp_path_factory.mktemp("archive") / "whole", {"hv1": held(cloud(), "hv1")}, cloud()).read_bytes()


def test_what_is_kept_is_read_back_equal(bundle: Path, made: Cloud) -> None:
    found = archive.read(bundle)
    assert set(found.records) == {record for kind in KINDS for record in made.model.all(kind)}
    assert found.manifest["revision"] == made.model.revision
    assert found.chassis == ("hv1", "hv2")
    for name in found.chassis:
        assert found.dump(name) == held(made, name)
    cookies = {f"{flow.cookie:#018x}" for name in found.chassis for flow in held(made, name).installed.flows.values()}
    assert cookies - found.dictionary.keys() == {f"{FOREIGN.cookie:#018x}"}
    with pytest.raises(NotFound, match="no dump of hv3"):
        found.dump("hv3")


def test_an_archive_computes_what_the_controller_computed(bundle: Path, made: Cloud) -> None:
    store = Store(MemoryJournal(), Model(0, archive.read(bundle).records))
    engine = Engine(store.model, APPS)
    assert {name: engine.desired(name) for name in ("hv1", "hv2")} == {
        name: made.engine.desired(name) for name in ("hv1", "hv2")
    }


def weft(capsys: pytest.CaptureFixture[str], bundle: Path, *words: str) -> tuple[int, list[str]]:
    """A command over an archive: its exit code, and what it says."""
    code = cli.main([*words, "--bundle", str(bundle), "--url", "http://nobody.invalid"])
    return code, capsys.readouterr().out.splitlines()


def test_every_command_that_asks_takes_an_archive(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = weft(capsys, bundle, "chassis", "list")
    assert (code, [line.split()[0] for line in lines]) == (0, ["NAME", "hv1", "hv2"])
    assert [line.endswith("in step") for line in lines[1:]] == [True, True]
    code, lines = weft(capsys, bundle, "diff")
    assert (code, len(lines)) == (1, 3)
    assert lines[0] == "hv1 foreign cookie=0x77,table=0,priority=5,eth_type=0x0806"
    assert weft(capsys, bundle, "trace", "--from", "vm a", "--to", "10.0.0.2")[1][-1] == "delivered"
    code, lines = weft(capsys, bundle, "trace", "--from", "a", "--to", "b", "--proto", "tcp", "--dport", "80")
    assert (code, lines[-1].split(" ")[:2]) == (1, ["dropped:", "INGRESS_DENIED"])
    lines = weft(capsys, bundle, "trace", "--live", "--from", "a", "--to", "b")[1]
    assert lines[-2:] == ["live: not sent: hv1 is disconnected: its switch is not connected.", "delivered"]
    assert weft(capsys, bundle, "why", "a", "b")[1] == ["delivered"]
    assert weft(capsys, bundle, "why-down", "a") == (0, ["port a is ACTIVE"])
    assert weft(capsys, bundle, "cost", "a")[0] == 0
    code, lines = weft(capsys, bundle, "drops")
    assert (code, lines[-1].split(" ")[1:4]) == (0, ["packets", "dropped", "by"])
    assert int(lines[-1].split(" ")[0]) > 0
    code, lines = weft(capsys, bundle, "flows", "hv1", "--counts")
    assert [line for line in lines if line.startswith("# 7 packets, 700 bytes: ")]
    assert weft(capsys, bundle, "export")[0] == 0


def test_only_flows_that_drop_are_said_to_drop(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not those that allow, nor those that tell the controller something and let the packet go on."""
    dropped = json.loads("\n".join(weft(capsys, bundle, "drops", "--json")[1]))["drops"]
    assert len(dropped) > 20
    for each in dropped:
        flow = each["flow"]
        assert flow["text"].endswith((",goto_table:62", ",goto_table:60")) or flow["table"] in ("drop", "trap"), flow
    assert {each["reason"] for each in dropped}.isdisjoint({"TOLD", "TOO_BIG", "TRANSIT_TOO_BIG"})


def test_no_flow_is_said_to_drop_more_than_was_dropped_for_its_reason(
    tmp_path: Path, made: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    """BFD, and other frames that Open vSwitch takes, are counted by the flow that they come to, and go no further."""
    dump, here = held(made, "hv1"), {CLASSIFY.number: 400, DROP.number: 0}
    ends = {encode_match(WHY(Why.UNKNOWN_PORT)): 3, encode_match(WHY(Why.NO_GATEWAY)): 5}
    counts = (replace(each, packets=ends.get(each.match, here.get(each.table, 0))) for each in dump.counted)
    path = file(tmp_path / "file", {"hv1": replace(dump, counted=tuple(counts))}, made)
    assert weft(capsys, path, "drops", "hv1") == (
        0,
        [
            f"hv1         5 NO_GATEWAY        {Why.NO_GATEWAY.sentence}",
            f"hv1         3 UNKNOWN_PORT      {Why.UNKNOWN_PORT.sentence}",
            "8 packets dropped by 2 flows",
        ],
    )


def test_a_difference_is_that_of_the_switch_as_it_was(
    tmp_path: Path, made: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    dump = held(made, "hv1")
    gone = next(key for key, flow in dump.installed.flows.items() if flow.table == 1)
    flows = {key: flow for key, flow in dump.installed.flows.items() if key not in (gone, FOREIGN.key)}
    path = file(tmp_path / "file", {"hv1": replace(dump, installed=Installed(flows, {}))}, made)
    code, lines = weft(capsys, path, "diff", "--json")
    answer = json.loads("\n".join(lines))
    (found,) = answer["chassis"]
    assert code == 1
    assert [text.split(",")[0] for text in found["missing"] if text.startswith("table")] == ["table=1"]
    assert [text for text in found["missing"] if text.startswith("group_id")]
    assert (found["unwanted"], found["altered"], answer["unreachable"]) == ([], [], ["hv2"])


@pytest.mark.parametrize(("there", "others", "code"), [("hv1", False, 2), ("hv1 hv2", False, 0), ("hv1", True, 1)])
def test_what_could_not_be_compared_is_not_taken_to_be_without_difference(
    there: str, others: bool, code: int, tmp_path: Path, made: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script sees it by the exit code; a difference elsewhere weighs more."""
    dumps = {name: held(made, name) for name in there.split()}
    if not others:
        ours = {
            name: {key: flow for key, flow in dump.installed.flows.items() if flow is not FOREIGN}
            for name, dump in dumps.items()
        }
        dumps = {
            name: replace(dump, installed=replace(dump.installed, flows=ours[name])) for name, dump in dumps.items()
        }
    told, lines = weft(capsys, file(tmp_path / "file", dumps, made), "diff")
    assert told == code
    away = "hv2" not in dumps
    assert ("hv2 ? not connected, so not compared" in lines) is away
    said = f"{len(dumps)} hypervisors compared, {'they differ' if others else 'no difference'}"
    assert lines[-1] == said + ("; 1 not compared" if away else "")


def test_what_open_vswitch_takes_itself_is_no_drop(
    tmp_path: Path, made: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    """BFD of the ports that watch gateways is counted at the miss of CLASSIFY, and never comes to DROP."""
    dump = held(made, "hv1")
    counted = [
        replace(each, packets=300, bytes=19800) if (each.table, each.priority) == (0, 0) else each
        for each in dump.counted
    ]
    code, lines = weft(
        capsys, file(tmp_path / "file", {"hv1": replace(dump, counted=tuple(counted))}, made), "drops", "--top", "999"
    )
    assert code == 0
    assert {line.split()[1] for line in lines if "UNKNOWN_PORT" in line} == {"7"}


def altered(flow: EncodedFlow, instructions: bytes) -> EncodedFlow:
    return EncodedFlow.of(flow.table, flow.priority, flow.match, instructions, flow.cookie)


def test_a_packet_is_traced_through_what_switches_held(
    tmp_path: Path, made: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    """A flow that is missing is a hole; one that is altered, or somebody else's, is where the trace ends."""
    dumps = {name: held(made, name) for name in ("hv1", "hv2")}
    flows = dict(dumps["hv1"].installed.flows)

    def ends(change: Mapping[tuple[int, int, bytes], EncodedFlow | None], *more: str) -> str:
        now = {key: flow for key, flow in {**flows, **change}.items() if flow is not None}
        groups = dumps["hv1"].installed.groups
        path = file(tmp_path / "file", {**dumps, "hv1": Dump(Installed(now, groups))}, made)
        return weft(capsys, path, "trace", "--installed", "--from", "a", "--to", "b", *more)[1][-1]

    assert ends({}) == "delivered"
    tunnel = next(key for key, flow in flows.items() if flow.table == 53 and flow.priority == 100)
    security = next(key for key, flow in flows.items() if flow.table == 4 and flow.priority == 100)
    miss = next(key for key, flow in flows.items() if flow.table == 4 and flow.priority == 0)
    assert ends({security: None}).startswith("dropped: SPOOFED_MAC ")
    assert ends({security: None, miss: None}) == (
        "dropped: LOST matched nothing, and nobody dropped it: a hole in the flows"
    )
    strange = (
        "dropped: STRANGE met what is somebody else's, or is not as it should be: what that does is not followed: "
    )
    said = ends({tunnel: altered(flows[tunnel], b"")})
    assert said.startswith(strange)
    assert said.endswith(" actions=drop")
    wide = EncodedFlow.of(36, 40000, bytes.fromhex("0001000400000000"), b"", 0x99)
    assert ends({wide.key: wide}) == f"{strange}cookie=0x99, table=36, priority=40000 actions=drop"
    for priority, eth_type, is_met in ((101, "0800", True), (99, "0800", False), (101, "86dd", False)):
        other = EncodedFlow.of(5, priority, bytes.fromhex(f"0001000a80000a02{eth_type}000000000000"), b"", 0x99)
        assert ends({other.key: other}).startswith(strange) is is_met, (priority, eth_type)


def test_a_packet_is_traced_among_the_connections_that_there_were(
    bundle: Path, made: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    """An answer passes, where it would not begin anything; unless it was judged by another policy."""
    asked = ("trace", "--installed", "--from", "b", "--to", "a", "--proto", "tcp", "--sport", "80", "--dport", "4000")
    assert weft(capsys, bundle, *asked)[1][-1].startswith("dropped: INGRESS_DENIED ")
    zones = {binding.port_id: binding.zone for binding in made.model.all(Binding)}
    policy = next(tag.number for tag in made.model.where(Tag, space="policy", number=1))
    line = (
        "tcp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=4000,dport=80),reply=(src=10.0.0.2,dst=10.0.0.1,sport=80,dport=4000),"
        "zone={},labels={:#x},protoinfo=(state=ESTABLISHED)\n"
    )
    for label, fate in ((policy << 32 | 1, True), (policy + 7 << 32 | 1, False)):
        texts = {name: line.format(zones[port], label) for name, port in (("hv1", "a"), ("hv2", "b"))}
        bundle.write_bytes(archive.packed(archive.with_conntrack(archive.read(bundle).members, texts)))
        assert (weft(capsys, bundle, *asked)[1][-1] == "delivered") is fate


def test_a_refused_flow_stays_a_refused_one(tmp_path: Path, made: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    dump = held(made, "hv1")
    refused = min((e.item for e in made.engine.desired("hv1").values() if isinstance(e.item, Flow)), key=str)
    flows = {key: flow for key, flow in dump.installed.flows.items() if key != encode_flow(refused, 1).key}
    said = replace(IN_STEP, refused={str(refused): "OFPBAC_BAD_TYPE"}, trouble="It is on fire.")
    path = file(tmp_path / "file", {"hv1": replace(dump, installed=replace(dump.installed, flows=flows))}, made, said)
    _, lines = weft(capsys, path, "diff")
    assert f"hv1 refused {refused}: OFPBAC_BAD_TYPE" in lines
    assert not [line for line in lines if line.startswith("hv1 -")]
    code, lines = weft(capsys, path, "chassis", "list")
    assert (code, lines[2].strip()) == (1, "It is on fire.")


def test_an_archive_cannot_be_changed(bundle: Path) -> None:
    with past.opened(bundle) as client:
        assert [port["id"] for port in client.get("/v2.0/ports")["ports"]] == ["a", "b"]
        with pytest.raises(Unanswered, match="an archive is only read"):
            client.put("/v2.0/ports/a", {"port": {"name": "other"}})
        assert client.get("/v2.0/ports/a")["port"]["name"] == "vm a"


def test_dumps_are_explained_by_the_dictionary_alone(
    bundle: Path, made: Cloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the model, which another release may have written otherwise."""
    members = dict(archive.read(bundle).members)
    members["records.jsonl"] = b'{"kind": "Novelty", "value": {"id": "x"}}\n'
    bundle.write_bytes(archive.packed(members))
    flow = encode_flow(
        next(each.item for each in made.engine.desired("hv1").values() if isinstance(each.item, Flow)), 1
    )
    cookie = next(iter(held(made, "hv1").installed.flows.values())).cookie
    dump = tmp_path / "dump"
    dump.write_text(f" cookie={cookie:#x}, table={flow.table}, actions=drop\n cookie=0x0, table=0, actions=NORMAL\n")
    code, lines = weft(capsys, bundle, "explain", str(dump))
    assert (code, lines[-1]) == (0, "2 flows, 1 explained, 1 foreign")
    assert cli.main(["trace", "--from", "a", "--to", "b", "--bundle", str(bundle)]) == 2
    assert capsys.readouterr().err == (
        f"weft: {bundle} cannot be used: records.jsonl: Novelty x cannot be read: the kind is unknown, a newer Weft "
        "wrote it.\n"
    )


def test_connections_are_kept_beside(bundle: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    line = "tcp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=3,dport=80),reply=(src=10.0.0.2,dst=10.0.0.1,sport=80,dport=3),zone=9"
    assert cli.main(["conn", "hv1", "--bundle", str(bundle)]) == 2
    assert "`weft bundle --conntrack` adds them" in capsys.readouterr().err
    bundle.write_bytes(archive.packed(archive.with_conntrack(archive.read(bundle).members, {"hv1": f"{line}\n"})))
    code, lines = weft(capsys, bundle, "conn", "hv1")
    assert (code, lines[0], lines[-1]) == (0, line, "1 connections, 0 explained, 1 foreign")


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", gzip.compress(b"hello"), archive.packed({}), archive.packed({"manifest.json": b"{}"})],
    ids=["empty", "text", "no tar", "no manifest", "an empty manifest"],
)
def test_a_file_that_is_no_archive_is_told_in_one_sentence(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert cli.main(["diff", "--bundle", str(path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"weft: {path} cannot be used: ")
    assert said.count("\n") == 1


def test_an_archive_of_a_newer_format_is_refused_by_name(bundle: Path) -> None:
    members = dict(archive.read(bundle).members)
    manifest = {**json.loads(members["manifest.json"]), "format": 2, "weft": "9.9"}
    with pytest.raises(BadArchive, match=r"Weft 9\.9 made it"):
        Archive("file", {**members, "manifest.json": json.dumps(manifest).encode()})


@given(data=st.data())
def test_no_damage_is_more_than_a_sentence(data: st.DataObject, content: bytes) -> None:
    """Neither of the file, nor of what is in it."""
    at = data.draw(st.integers(0, len(content) - 1))
    harmed = bytearray(content)
    harmed[at] ^= data.draw(st.integers(1, 255))
    _use(bytes(harmed[: data.draw(st.sampled_from([len(harmed), at]))]))
    whole = archive.opened("file", io.BytesIO(content)).members
    name = data.draw(st.sampled_from(sorted(whole)))
    line = data.draw(
        st.sampled_from([b"", b"null\n", b"[]\n", b"{}\n", b"7", b'{"kind": "Port", "value": {}}\n', b"\xff"])
    )
    _use(archive.packed({**whole, name: line}))


def _use(content: bytes) -> None:
    try:
        found = archive.opened("file", io.BytesIO(content))
        past.restored(found)
        assert found.dictionary is not None
    except (BadArchive, NotFound):
        pass


def test_switches_and_model_fit_together_though_both_go_on(made: Cloud) -> None:
    """What a switch should hold changes while it is dumped: it is dumped again."""
    fleet = Fleet(Store(MemoryJournal(), made.model), made.engine)
    turns: Iterator[int] = iter(range(2))

    class Changing(Dump):
        async def whole(self) -> Dump:
            if next(turns, None) is not None:
                made.commit(port("c", "red", "02:00:00:00:00:03", "10.0.0.3", name=f"{next(turns, 0)}"))
                fleet.remember("hv1", replace(IN_STEP, revision=made.model.revision), self)
            return held(made, "hv1")

    fleet.remember("hv1", replace(IN_STEP, revision=1), Changing(Installed({}, {})))
    gathered = asyncio.run(archive.gather(fleet, ["hv1"], lambda: {"chassis": []}))
    assert gathered.moved == ()
    assert Port in {type(record) for record in gathered.records if record.id == "c"}
    assert gathered.dumps["hv1"] == held(made, "hv1")
    with pytest.raises(NotFound):
        asyncio.run(archive.gather(fleet, ["hv9"], lambda: None))


def test_gateways_that_were_connected_are_so_in_an_archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What comes from outside is answered for by them alone."""
    made = Cloud()
    add_outside(made)
    asked = ("trace", "--from", "172.24.0.77", "--to", "172.24.0.10")
    path = file(tmp_path / "file", {}, made)
    assert weft(capsys, path, *asked)[1][-1] == "delivered to physical network phys"
    path = file(tmp_path / "file", {}, made, replace(IN_STEP, connected=False))
    assert weft(capsys, path, *asked)[1][-1].startswith("dropped: NO_ANSWER ")
