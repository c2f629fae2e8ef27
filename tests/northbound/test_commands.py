"""Mistakes at the command line: one sentence that says what to do, and the exit code of the contract."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path

import pytest

from mininet_scenarios.processes import beside_python
from northbound import cli
from tests.cloud import hypervisor
from tests.northbound.served import serving

COST_OF_A_GROUP = [["policy", "5"], ["protocol", "4"], ["remote", "1"], ["verdict", "2"]]


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """The URL of something that says this to whoever connects first."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            stream, _ = server.accept()
            with stream:
                stream.recv(1 << 16)
                stream.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize(
    "answer",
    [b"\x06\x00\x00\x08\x00\x00\x00\x01", b"HTTP/1.0 200 OK\r\n\r\n<html>", b""],
    ids=["OpenFlow", "another page", "nothing"],
)
def test_what_is_no_weft_api_is_told_apart(answer: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    with answering(answer) as url:
        assert cli.main(["chassis", "list", "--url", url]) == 2
    said = capsys.readouterr().err
    assert said.startswith("weft: ")
    assert url in said


@pytest.mark.parametrize("url", ["http://[::1", "localhost:9696", ""])
def test_what_is_no_url_is_told(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["chassis", "list", "--url", url]) == 2
    assert "say --url http://HOST:PORT" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_told_by_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = str(tmp_path / "missing")
    assert cli.main(["explain", missing]) == 2
    assert capsys.readouterr().err == f"weft: {missing}: No such file or directory\n"


def test_the_version_is_that_of_what_is_installed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        cli.main(["--version"])
    assert ending.value.code == 0
    assert capsys.readouterr().out == f"weft {version('weft')}\n"


@pytest.mark.parametrize(
    ("option", "host", "reason"),
    [
        ("api", "127.0.0.1", "another program does; stop it, or name another port"),
        ("openflow", "127.0.0.1", "another program does; stop it, or name another port"),
        ("ovsdb", "192.0.2.77", "this machine does not have that address"),
    ],
)
def test_where_nobody_can_listen_is_told_with_the_option_that_says_so(option: str, host: str, reason: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"{host}:{taken.getsockname()[1]}"
        others = [f"--{each}=127.0.0.1:0" for each in ("api", "openflow", "ovsdb") if each != option]
        command = [beside_python("weft"), "serve", "--store=memory://", "--insecure", f"--{option}={where}", *others]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1] == f"weft: Weft cannot listen on {where} (option --{option}): {reason}."
    assert "Traceback" not in ended.stderr


def test_who_reads_no_further_ends_a_command_without_a_word() -> None:
    page = b'{"flows": [' + b",".join(b'{"cookie": "", "text": "drop"}' for _ in range(50_000)) + b'], "groups": []}'
    head = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(page)
    with answering(head + page) as url:
        command = [beside_python("weft"), "flows", "hv1", "--plain", "--url", url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as weft:
            assert weft.stdout is not None
            assert weft.stderr is not None
            assert weft.stdout.readline() == b"drop\n"
            weft.stdout.close()
            assert weft.stderr.read() == b""
    assert weft.returncode == cli.READER_GONE


@pytest.mark.parametrize(
    ("controller", "target"),
    [
        ("192.0.2.1", "tcp:192.0.2.1:6640"),
        ("192.0.2.1:7000", "tcp:192.0.2.1:7000"),
        ("weft.example", "tcp:weft.example:6640"),
        ("2001:db8::1", "tcp:[2001:db8::1]:6640"),
        ("[2001:db8::1]", "tcp:[2001:db8::1]:6640"),
        ("[2001:db8::1]:7000", "tcp:[2001:db8::1]:7000"),
    ],
)
def test_attach_names_the_controller_as_ovsdb_server_reads_it(
    controller: str, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["attach", controller, "--encap-ip", "192.0.2.11"]) == 0
    words = shlex.split(capsys.readouterr().out)
    assert words[words.index("set-manager") + 1] == words[words.index("manager") + 1] == target


@pytest.mark.parametrize(
    "options",
    [
        ("192.0.2.1:99999", "--encap-ip", "192.0.2.11"),
        ("192.0.2.1:x", "--encap-ip", "192.0.2.11"),
        (":6640", "--encap-ip", "192.0.2.11"),
        ("192.0.2.1", "--encap-ip", "bogus"),
        ("192.0.2.1", "--encap-ip", "192.0.2.11", "--encap-type", "foo"),
        ("192.0.2.1", "--encap-ip", "192.0.2.11", "--encap-type", ""),
    ],
)
def test_attach_refuses_what_no_hypervisor_could_join_with(
    options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["attach", *options]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("weft: Invalid input for ")


def test_connections_are_not_read_where_the_hypervisor_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["conn", "no such hypervisor", "--url", "http://127.0.0.1:1"]) == 2
    assert "pipe its dump in: `ovs-appctl dpctl/dump-conntrack | weft conn" in capsys.readouterr().err


def test_a_hypervisor_that_is_not_connected_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    """By every command that asks its switch, and not as an error of the controller's."""
    with serving(own=True) as api:
        assert cli.main(["diff", "--url", api.url]) == 0
        api.commit(hypervisor(1))
        for command in (["repair", "--chassis", "hv1"], ["drops", "hv1"], ["flows", "hv1", "--counts"]):
            assert cli.main([*command, "--url", api.url]) == 2
            assert capsys.readouterr().err == "weft: hv1 is disconnected: its switch is not connected.\n"
        assert cli.main(["repair", "--url", api.url]) == 2
        capsys.readouterr()
        assert cli.main(["drops", "--url", api.url]) == 2
        assert capsys.readouterr().out == "hv1 ? not connected, so not asked\n0 packets dropped by 0 flows\n"
        assert cli.main(["diff", "--url", api.url]) == 2


@pytest.mark.parametrize(("refused", "code"), [(404, 0), (503, 2), (401, 2)])
def test_repair_of_an_object_goes_on_only_where_nothing_is_of_it(
    capsys: pytest.CaptureFixture[str], refused: int, code: int
) -> None:
    """Of two hypervisors: the first refuses. A switch that went away, or a token that ended, is told."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(200, {"chassis": [{"name": name, "connected": True} for name in ("hv1", "hv2")]})

        def do_POST(self) -> None:
            first = self.path.startswith("/v1/repair/hv1?")
            self.answer(refused if first else 200, {"flow_mods": 3, "group_mods": 0})

        def answer(self, status: int, body: object) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_address[1]}"
            assert cli.main(["repair", "--object", "vm1", "--url", url]) == code
        finally:
            server.shutdown()
            thread.join()
    assert capsys.readouterr().out == ("" if code else "hv2: 3 flows and 0 groups put right\n")


def test_a_file_without_the_dump_of_a_hypervisor_that_is_away_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = str(tmp_path / "kept")
    with serving(own=True) as api:
        assert cli.main(["bundle", kept, "--url", api.url]) == 0
        api.commit(hypervisor(1))
        assert cli.main(["bundle", kept, "--url", api.url]) == 1
        assert capsys.readouterr().err == "weft: without a dump of hv1: its switch is not connected\n"
        assert cli.main(["bundle", "--no-dumps", kept, "--url", api.url]) == 0
        assert cli.main(["bundle", f"{kept}/none", "--url", api.url, "--no-dumps"]) == 2
        assert capsys.readouterr().err == f"weft: {kept}/none: Not a directory\n"
    assert cli.main(["flows", "hv1", "--bundle", kept]) == 0


def test_what_keeps_a_port_down_is_no_good_answer_whatever_a_packet_would_meet(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with serving(own=True) as api:
        network = api.make("network", name="red")["id"]
        api.make("subnet", network_id=network, ip_version=4, cidr="10.0.0.0/24")
        ports = [api.make("port", name=name, network_id=network, port_security_enabled=False) for name in "ab"]
        api.commit(hypervisor(1, *(port["id"] for port in ports)))
        assert cli.main(["why", "a", "b", "--url", api.url]) == 1
        lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("a: Hypervisor hv1 waits for its database")
    assert lines[-1] == "delivered"


def test_connections_of_a_hypervisor_that_there_is_not_are_an_error() -> None:
    with serving(own=True) as api:
        answer = api.ask("POST", "/v1/trace", {"from": "a", "to": "b", "conntrack": {"hv9": ""}})
        assert answer.fault == (404, "ChassisNotFound", "Chassis hv9 could not be found.")


@pytest.mark.parametrize(
    ("given", "code", "printed", "said"),
    [
        (b" \xc3\xa9\n\xff\n", 0, b" \\xe9\n\\ufffd\n0 flows, 0 explained, 0 foreign\n", b""),
        (b" cookie=0x0, \xff\n", 2, b"", b"weft: no controller answers at http://127.0.0.1:1"),
    ],
    ids=["passed through", "asked about"],
)
def test_what_is_no_text_is_read_and_printed_all_the_same(given: bytes, code: int, printed: bytes, said: bytes) -> None:
    """A dump that a terminal, or a locale, cannot show: no command ends in a traceback for that."""
    told = {"PYTHONIOENCODING": "ascii", "WEFT_URL": "http://127.0.0.1:1"}
    done = subprocess.run(
        [beside_python("weft"), "explain", "-"], input=given, capture_output=True, env={**os.environ, **told},
        timeout=20, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (code, printed)
    assert done.stderr.startswith(said)


def test_options_stand_where_one_says_them(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    dump = tmp_path / "dump"
    dump.write_text(
        "udp,orig=(src=192.0.2.1,dst=192.0.2.2,sport=1,dport=2),reply=(src=192.0.2.2,dst=192.0.2.1),zone=9\n"
    )
    with serving(own=True) as api:
        api.commit(hypervisor(1))
        at = ("--url", api.url)
        for words in (["--json", "hv1", str(dump)], ["hv1", "--json", str(dump)], ["hv1", str(dump), "--json"]):
            assert cli.main(["conn", *at, *words]) == 0
            assert len(json.loads(capsys.readouterr().out)["connections"]) == 1
        for words in (["--json", "r1"], ["r1", "--json"]):
            assert cli.main(["at", *at, *words]) == 0
            assert json.loads(capsys.readouterr().out)["revision"] == 1
        assert cli.main(["at", *at, "r1", "--save", "file"]) == 2
        assert capsys.readouterr().err == "weft: say options of weft at before the time: weft at --save ... r1\n"
        with pytest.raises(SystemExit):
            cli.main(["conn", *at, "hv1", "--jsn", str(dump)])


def test_what_an_object_costs_is_told_by_its_name_too(capsys: pytest.CaptureFixture[str]) -> None:
    """A security group with what its rules and members have; whoever shares a name is asked about by id."""
    with serving(own=True) as api:
        network = api.make("network", name="red")
        api.make("subnet", network_id=network["id"], ip_version=4, cidr="10.0.0.0/24")
        group = api.make("security_group", name="web")
        for more in ({}, {"remote_group_id": group["id"]}):
            rule = {"direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "port_range_min": 80, **more}
            api.make("security_group_rule", security_group_id=group["id"], port_range_max=80, **rule)
        port = api.make("port", name="vm", network_id=network["id"], security_groups=[group["id"]])
        api.commit(hypervisor(1, port["id"]))
        assert cli.main(["cost", "web", "--url", api.url]) == 0
        said = capsys.readouterr().out.splitlines()
        assert cli.main(["cost", group["id"], "--url", api.url]) == 0
        assert capsys.readouterr().out.splitlines() == said
        assert [line.split()[1:3] for line in said[:-1]] == COST_OF_A_GROUP
        flows = api.get(f"/v1/flows/hv1?object={group['id']}")["flows"]
        assert said[-1] == f"{len(flows) + 2} flows and groups in all"  # two are shared among its rules
        assert api.get("/v1/flows/hv1?object=web")["flows"] == flows
        assert cli.main(["flows", "hv1", "--object", "wbe", "--url", api.url]) == 2
        assert capsys.readouterr().err == "weft: Object wbe could not be found.\n"
        other = api.make("network", name="web")
        assert cli.main(["cost", "web", "--url", api.url]) == 2
        which = f"network {other['id']}, securitygroup {group['id']}"
        assert capsys.readouterr().err == f"weft: 2 objects are named web: {which}; say which by its id.\n"
        with pytest.raises(SystemExit):
            cli.main(["drops", "--top", "-1", "--url", api.url])
        assert "'-1' is no number of at least 1" in capsys.readouterr().err
