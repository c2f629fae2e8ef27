"""History, blame and the time machine, over HTTP: who changed what, who made a flow, and what all was before."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from controller.model.sqlite import SqliteJournal
from northbound import annals, archive, cli
from tests.apps.outside import add_floating, add_outside
from tests.cloud import Cloud, hypervisor
from tests.northbound.served import Client, serving

P = {"X-Project-Id": "p"}


@pytest.fixture
def api() -> Iterator[Client]:
    with serving(own=True) as client:
        yield client


def make(api: Client, kind: str, **attributes: object) -> dict[str, str]:
    answer = api.ask("POST", api.path(kind), {kind: attributes}, **P)
    assert answer.status == 201, answer.text
    made: dict[str, str] = answer.body[kind]
    return made


def wired(api: Client) -> tuple[dict[str, str], dict[str, str]]:
    """A network and a port, plugged into hv1."""
    network = make(api, "network", name="red")
    make(api, "subnet", network_id=network["id"], ip_version=4, cidr="10.0.0.0/24")
    port = make(api, "port", network_id=network["id"], name="vm1")
    api.commit(hypervisor(1, port["id"]))
    return network, port


def events(api: Client, called: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = api.get(f"/v1/history?object={quote(called)}")["events"]
    return found


def test_a_change_tells_on_whose_behalf_it_was_and_what_became_of_what(api: Client) -> None:
    _, port = wired(api)
    answer = api.ask("PUT", api.path("port", port["id"]), {"port": {"name": "vm2"}}, **P)
    renamed, plugged, made = events(api, port["id"])
    assert renamed["request"] == answer.headers["X-Openstack-Request-Id"]
    assert (renamed["user"], renamed["project"], renamed["chassis"]) == ("", "p", "")
    assert renamed["changes"] == [
        {"kind": "port", "id": port["id"], "name": "vm2", "what": "changed", "attributes": {"name": ["vm1", "vm2"]}}
    ]
    assert {(each["kind"], each["what"]) for each in plugged["changes"]} >= {("binding", "created")}  # type: ignore[attr-defined]
    assert {(each["kind"], each["what"]) for each in made["changes"]} >= {("port", "created")}  # type: ignore[attr-defined]
    assert events(api, "vm2") == events(api, port["id"])
    assert events(api, "vm1") == []


def test_what_is_gone_still_has_its_history(api: Client) -> None:
    _, port = wired(api)
    assert api.delete("port", port["id"]).status == 204
    assert "deleted" in str(events(api, port["id"])[0]["changes"])
    assert api.get("/v1/history?limit=1")["events"] == events(api, port["id"])[:1]
    before = api.get("/v1/history?limit=1")["events"][0]["revision"]
    assert api.get(f"/v1/history?before={before}&limit=1")["events"][0]["revision"] < before


def flow(api: Client, words: str) -> dict[str, str]:
    """The flow of hv1 of which the text has these words."""
    found = [each for each in api.get("/v1/flows/hv1")["flows"] if words in each["text"]]
    assert len(found) == 1, found
    one: dict[str, str] = found[0]
    return one


def test_a_flow_is_blamed_on_the_change_that_made_it_what_it_is(api: Client) -> None:
    """Not on the newest of its objects, nor on the one that made those."""
    network, port = wired(api)
    own = f"table=4,priority=100,eth_src={port['mac_address']}"
    plugged = api.get(f"/v1/blame?cookie={flow(api, own)['cookie']}")
    assert [each["kind"] for each in plugged["event"]["changes"]].count("binding") == 1
    changed = api.ask("PUT", api.path("port", port["id"]), {"port": {"mac_address": "02:00:00:00:00:77"}}, **P)
    api.ask("PUT", api.path("port", port["id"]), {"port": {"name": "other"}}, **P)
    api.ask("PUT", api.path("network", network["id"]), {"network": {"name": "blue"}}, **P)
    blamed = api.get(
        f"/v1/blame?cookie={flow(api, 'table=4,priority=100,eth_src=02:00:00:00:00:77')['cookie']}&chassis=hv1"
    )
    assert blamed["event"]["request"] == changed.headers["X-Openstack-Request-Id"]
    assert blamed["chassis"] == "hv1"
    assert [each["id"] for each in blamed["flow"]["objects"]] == [port["id"]]
    short = f"/v1/blame?cookie={blamed['flow']['cookie']}&most=1"
    assert api.get(short)["event"] is None


def test_what_no_switch_should_hold_is_blamed_on_nobody(api: Client) -> None:
    wired(api)
    for path, status in (("cookie=0xa700000000000000", 404), ("cookie=7", 400), ("", 400)):
        assert api.ask("GET", f"/v1/blame?{path}").status == status
    known = api.get("/v1/flows/hv1")["flows"][0]["cookie"]
    assert api.ask("GET", f"/v1/blame?cookie={known}&chassis=hv9").status == 404


def test_the_past_is_what_it_was(api: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, port = wired(api)
    flows = api.get("/v1/flows/hv1")["flows"]
    then = time.time()
    revision = api.get("/v1/history?limit=1")["events"][0]["revision"]
    api.delete("port", port["id"])
    assert api.get("/v1/flows/hv1")["flows"] != flows
    told = api.get(f"/v1/at?time={then}")
    assert told["records"]["port"] == 1
    assert told["since"]["changes"][0]["what"] == "deleted"
    assert api.get(f"/v1/at?time={time.time() + 1}")["since"] is None
    file = tmp_path / "then"
    then_flows = ["at", "--url", api.url, "--save", str(file), f"r{revision}", "flows", "hv1", "--plain"]
    assert cli.main(then_flows) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed == [f"cookie={each['cookie']},{each['text']}" for each in flows]
    assert archive.read(file).chassis == ()
    assert cli.main(["at", "--url", api.url, f"r{revision}", "trace", "--from", "vm1", "--to", "10.0.0.99"]) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("dropped: ")


def test_what_is_not_remembered_is_said(api: Client) -> None:
    wired(api)
    answer = api.ask("GET", "/v1/at?time=1000000000")
    assert answer.status == 404
    assert "What was at 2001-09-09T01:46:40.000+00:00 is not remembered: the history begins " in answer.text
    for query in ("time=x", "time=inf", "revision=-1", ""):
        assert api.ask("GET", f"/v1/at?{query}").status == 400


def test_the_commands_tell_it_in_lines(api: Client, capsys: pytest.CaptureFixture[str]) -> None:
    _, port = wired(api)
    assert cli.main(["history", "vm1", "--url", api.url]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f'    port "vm1" {port["id"]} created' in lines
    assert [line for line in lines if line.endswith(" project p")]
    line = flow(api, f"table=4,priority=100,eth_src={port['mac_address']}")
    assert cli.main(["blame", f" cookie={line['cookie']}, table=4", "--url", api.url]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == [line["text"], f'    # port_security: port_security own_mac -> port "vm1" {port["id"]}']
    assert said[3].startswith("    chassis ") or said[3].startswith("    binding ")
    assert cli.main(["at", "yesterday", "--url", api.url]) == 2
    assert "is no time like 2026-11-26T10:30, 10:30, 15m or r41" in capsys.readouterr().err


def test_a_name_that_several_have_is_not_guessed(api: Client) -> None:
    make(api, "network", name="red")
    make(api, "network", name="red")
    assert api.ask("GET", "/v1/history?object=red").status == 409


def test_a_floating_ip_is_found_by_its_address() -> None:
    made = Cloud()
    add_outside(made)
    add_floating(made)
    assert annals.find(made.model, "172.24.0.100") == "f"
    assert annals.find(made.model, "172.24.0.101") == "172.24.0.101"


def test_history_outlives_the_controller(tmp_path: Path) -> None:
    path = tmp_path / "weft.db"
    with serving(own=True, journal=SqliteJournal(path)) as api:
        _, port = wired(api)
        before = events(api, port["id"])
    with serving(own=True, journal=SqliteJournal(path)) as api:
        assert events(api, port["id"]) == before
        assert len(before) == 2
        assert annals.find(api.store.model, "vm1") == port["id"]
        api.delete("port", port["id"])
        assert len(events(api, port["id"])) == 3
        assert api.get(f"/v1/at?revision={before[0]['revision']}")["records"]["port"] == 1


def test_what_is_yet_to_come_is_not_told(api: Client, capsys: pytest.CaptureFixture[str]) -> None:
    wired(api)
    revision = api.store.model.revision
    assert api.ask("GET", f"/v1/at?revision={revision}").status == 200
    assert api.ask("GET", f"/v1/at?revision={revision + 1}").fault == (
        404, "HistoryNotFound", f"revision {revision + 1} is yet to come: it is revision {revision} now."
    )  # fmt: skip
    assert api.ask("GET", f"/v1/at?time={time.time() + 600}").status == 404
    assert cli.main(["at", "2999-01-01T10:30", "--url", api.url]) == 2
    assert capsys.readouterr().err.startswith("weft: 2999-01-01T10:30 is yet to come; say the day, like ")


def test_who_asked_is_not_told_to_be_the_controller(api: Client, capsys: pytest.CaptureFixture[str]) -> None:
    answer = api.ask("POST", api.path("network"), {"network": {"name": "red"}})
    wired(api)
    assert cli.main(["history", answer.body["network"]["id"], "--url", api.url]) == 0
    assert f"{answer.headers['X-Openstack-Request-Id']} by whoever may ask\n" in capsys.readouterr().out


def test_an_archive_remembers_what_the_controller_did(
    api: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """History, blame and the time machine say the same of it, also of an archive of an earlier time."""
    _, port = wired(api)
    revision = api.store.model.revision
    api.ask("PUT", api.path("port", port["id"]), {"port": {"mac_address": "02:00:00:00:00:77"}}, **P)
    cookie = flow(api, "table=4,priority=100,eth_src=02:00:00:00:00:77")["cookie"]
    now, then = str(tmp_path / "now"), str(tmp_path / "then")
    assert cli.main(["bundle", "--no-dumps", now, "--url", api.url]) == 0
    assert cli.main(["at", "--save", then, "--url", api.url, f"r{revision}"]) == 0
    capsys.readouterr()

    def said(*words: str) -> tuple[int, str]:
        return cli.main([*words]), capsys.readouterr().out

    for words in (["history"], ["history", "vm1"], ["history", "--limit", "1", "--json"], ["blame", cookie]):
        assert said(*words, "--bundle", now) == said(*words, "--url", api.url)
    for words in ([f"r{revision}"], ["r1"], [f"r{revision}", "flows", "hv1"]):
        assert said("at", "--bundle", now, *words) == said("at", "--url", api.url, *words)
    older = json.loads(said("history", "--json", "--bundle", then)[1])["events"]
    assert older == api.get(f"/v1/history?before={revision + 1}")["events"]
    assert said("blame", cookie, "--bundle", then)[0] == 2
    assert cli.main(["at", "--bundle", now, "3d"]) == 2
    assert "is not remembered" in capsys.readouterr().err
    members = archive.read(Path(now)).members
    for damage in (b"{}\n", b"no JSON\n", members["history.jsonl"].replace(b'"Port"', b'"Newer"')):
        Path(then).write_bytes(archive.packed({**members, "history.jsonl": damage}))
        assert cli.main(["history", "--bundle", then]) == 2
        assert capsys.readouterr().err.startswith(f"weft: {then} cannot be used: history.jsonl ")
        assert said("flows", "hv1", "--bundle", then) == said("flows", "hv1", "--bundle", now)
