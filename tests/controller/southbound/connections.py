"""One bridge of a real Open vSwitch, without kernel or network, and the OpenFlow connection that it has to us.

The bridge connects to us as to any controller, over a Unix socket in a directory of its own.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from controller.southbound import messages, openflow
from controller.southbound.openflow import EncodedFlow, EncodedGroup

BARRIER = 0xFFFFFFFF
PATIENCE_S = 20.0


class Connection:
    """Our end of one OpenFlow connection; `statuses` are what it said of its ports, unasked."""

    def __init__(self, stream: socket.socket) -> None:
        stream.settimeout(PATIENCE_S)
        self._stream, self._input = stream, stream.makefile("rb")
        self.statuses: list[tuple[int, messages.PortDesc]] = []
        self.send(messages.hello(0))
        greeting, body = self.receive()
        assert greeting.type == messages.OFPT_HELLO
        assert messages.VERSION in (messages.hello_versions(body) or range(greeting.version + 1))

    def send(self, *sent: bytes) -> None:
        self._stream.sendall(b"".join(sent))

    def receive(self) -> tuple[messages.Header, bytes]:
        head = messages.header(self._input.read(8))
        return head, self._input.read(head.length - 8)

    def ask(self, *sent: bytes) -> list[tuple[messages.Header, bytes]]:
        """Everything the switch said to it until it had done all that was sent."""
        self.send(*sent, messages.barrier_request(BARRIER))
        heard = []
        while (received := self.receive())[0].type != messages.OFPT_BARRIER_REPLY:
            if received[0].type == messages.OFPT_PORT_STATUS:
                self.statuses.append(messages.decode_port_status(received[1]))
            else:
                heard.append(received)
        return heard

    def do(self, *sent: bytes) -> None:
        """What the switch must not refuse."""
        assert [refusal(*received) for received in self.ask(*sent)] == []

    def _dump(self, request: bytes) -> Iterator[bytes]:
        for head, body in self.ask(request):
            assert head.type == messages.OFPT_MULTIPART_REPLY
            yield messages.decode_multipart(body).payload

    def flows(self) -> set[EncodedFlow]:
        return {flow for part in self._dump(openflow.flow_dump_request(1)) for flow in openflow.skim_flows(part)}

    def groups(self) -> set[EncodedGroup]:
        return {group for part in self._dump(openflow.group_desc_request(1)) for group in openflow.skim_groups(part)}

    def clear(self) -> None:
        self.do(*(openflow.flow_delete(1, *flow.key) for flow in self.flows()))
        self.do(*(openflow.group_delete(1, group.id) for group in self.groups()))
        assert (self.flows(), self.groups()) == (set(), set())


def refusal(head: messages.Header, body: bytes) -> tuple[int, str]:
    """The xid and the name of an error."""
    assert head.type == messages.OFPT_ERROR
    error = messages.decode_error(body)
    return head.xid, messages.error_name(error.type, error.code)


class Ovs:
    """Open vSwitch with one bridge, br0, in a directory of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.bridge = f"unix:{home}/br0.mgmt"
        self._env = {**os.environ, "OVS_RUNDIR": str(home), "OVS_LOGDIR": str(home), "OVS_DBDIR": str(home)}

    def run(self, *command: str, given: str = "") -> str:
        done = subprocess.run(
            command, input=given, env=self._env, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        assert done.returncode == 0, (command, done.stderr)
        return done.stdout

    def vsctl(self, *arguments: str) -> str:
        return self.run("ovs-vsctl", f"--db=unix:{self.home}/db.sock", f"--timeout={PATIENCE_S:.0f}", *arguments)

    def ofctl(self, command: str, *arguments: str, given: str = "") -> str:
        return self.run("ovs-ofctl", "--protocols=OpenFlow14", command, *arguments, given=given)

    @contextmanager
    def daemon(self, program: str, *arguments: str) -> Iterator[None]:
        """A daemon; `--detach` returns when it is ready."""
        control = f"{self.home}/{program}.ctl"
        self.run(program, *arguments, f"--unixctl={control}", "--detach", "--no-chdir", "--pidfile", "--log-file")
        try:
            yield
        finally:
            self.run("ovs-appctl", f"--target={control}", "exit")

    @contextmanager
    def running(self) -> Iterator[Connection]:
        """Both daemons, and the bridge's connection to us."""
        database, remote = f"{self.home}/conf.db", f"unix:{self.home}/db.sock"
        self.run("ovsdb-tool", "create", database, "/usr/share/openvswitch/vswitch.ovsschema")
        with (
            self.daemon("ovsdb-server", database, f"--remote=p{remote}"),
            self.daemon("ovs-vswitchd", remote, "--disable-system", "--enable-dummy"),
            socket.socket(socket.AF_UNIX) as listener,
        ):
            # The one Unix socket that ovs-vswitchd accepts as a controller's: its bridge's, in its own directory.
            listener.bind(f"{self.home}/br0.controller")
            listener.listen()
            listener.settimeout(PATIENCE_S)
            self.vsctl("--no-wait", "init")
            self.vsctl(
                "add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=dummy", "fail_mode=secure",
                "--", "set-controller", "br0", f"unix:{self.home}/br0.controller",
                "--", "set", "controller", "br0", "inactivity_probe=0",
            )  # fmt: skip
            with listener.accept()[0] as stream:
                yield Connection(stream)
