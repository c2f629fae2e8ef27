"""A real Open vSwitch as a judge: it holds our flows, as our encoder writes them, and traces packets through them.

One ovsdb-server and one ovs-vswitchd without kernel or network (a dummy datapath), with one bridge. `ofproto/trace`
cannot know what conntrack would say (it takes every connection for new, and gives it no tuple), so it is asked for one
translation at a time, from any table, with registers and conntrack's fields preset (`mininet_scenarios.ofproto`). A
packet that may come to a group that chooses needs a `dp_hash`: without one it would first have to go round for it.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from controller.flows.action import Table
from controller.flows.conntrack import Connections
from controller.flows.flow import Flow, Group, Key
from controller.flows.packet import TUNNEL, Packet
from controller.flows.pipeline import CLASSIFY, CT_BUNDLE, WHY
from controller.flows.trace import Committed, Effect, End, Fate, Switch, Tracked, Translation, translate
from controller.southbound import messages, openflow
from controller.southbound.counts import EVERY_TABLE, Count, counts_request, skim_counts
from controller.southbound.dumps import Dump
from controller.southbound.openflow import EncodedFlow, EncodedGroup, encode_flow, encode_group
from controller.southbound.reconcile import Installed
from mininet_scenarios import ofproto
from northbound import stages

PATIENCE_S = 20.0
APP = 1


class Choosing(Switch):
    """A switch of which the groups that choose take these buckets, and the first where none is said."""

    def __init__(self, switch: Switch, buckets: Mapping[int, int]) -> None:
        super().__init__(())
        self.switch, self.buckets = switch, buckets

    def alike(self, table: Table, packet: Packet) -> Sequence[Flow]:
        """The flows of a table of which a packet meets any."""
        return self.switch.alike(table, packet)

    def group(self, id: int) -> Group | None:
        """The group, with one bucket if it chooses."""
        found = self.switch.group(id)
        if found is None or not found.kind.chooses:
            return found
        return replace(found, buckets=(found.buckets[self.buckets.get(id, 0)],))


class OpenVSwitch:
    """One bridge, br0, with a dummy interface for each of the OpenFlow ports, in a directory of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._env = {**os.environ, "OVS_RUNDIR": str(home), "OVS_LOGDIR": str(home), "OVS_DBDIR": str(home)}
        self._held: dict[Key, EncodedFlow | EncodedGroup] = {}
        self._dead: frozenset[int] = frozenset()

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, env=self._env, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert done.returncode == 0, (command, done.stderr)

    @contextmanager
    def _daemon(self, program: str, *arguments: str) -> Iterator[None]:
        control = f"{self.home}/{program}.ctl"
        self._run(program, *arguments, f"--unixctl={control}", "--detach", "--no-chdir", "--pidfile", "--log-file")
        try:
            yield
        finally:
            self._run("ovs-appctl", f"--target={control}", "exit")

    @contextmanager
    def running(self, ports: Iterable[int]) -> Iterator[OpenVSwitch]:
        """Both daemons and the bridge."""
        database, remote = f"{self.home}/conf.db", f"unix:{self.home}/db.sock"
        self._run("ovsdb-tool", "create", database, "/usr/share/openvswitch/vswitch.ovsschema")
        added = [
            word
            for port in ports
            for word in ("--", "add-port", "br0", f"p{port}", "--", "set", "interface", f"p{port}", "type=dummy",
                         f"ofport_request={port}")
        ]  # fmt: skip
        with ExitStack() as stack:
            stack.enter_context(self._daemon("ovsdb-server", database, f"--remote=p{remote}"))
            stack.enter_context(self._daemon("ovs-vswitchd", remote, "--disable-system", "--enable-dummy"))
            vsctl = ("ovs-vsctl", f"--db={remote}", f"--timeout={PATIENCE_S:.0f}")
            self._run(*vsctl, "--no-wait", "init")
            bridge = ("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=dummy", "fail_mode=secure",
                      "protocols=OpenFlow14")  # fmt: skip
            self._run(*vsctl, *bridge, *added)
            self._control = stack.enter_context(ofproto.controlled(self.home / "ovs-vswitchd.ctl", PATIENCE_S))
            self._tell(messages.read_first_fragments(1))
            yield self

    def load(self, items: Iterable[Flow | Group]) -> None:
        """Hold exactly these."""
        self.hold((item, APP) for item in items)

    def hold(self, entries: Iterable[tuple[Flow | Group, int]]) -> None:
        """Hold exactly these, each with the number of its app."""
        wanted = {
            item.key: encode_group(item) if isinstance(item, Group) else encode_flow(item, app) for item, app in entries
        }
        news = [item for key, item in wanted.items() if self._held.get(key) != item]
        gone = [item for key, item in self._held.items() if key not in wanted]
        changes = [openflow.group_put(1, group) for group in news if isinstance(group, EncodedGroup)]
        changes += [openflow.flow_add(1, flow) for flow in news if isinstance(flow, EncodedFlow)]
        changes += [openflow.flow_delete(1, *flow.key) for flow in gone if isinstance(flow, EncodedFlow)]
        changes += [openflow.group_delete(1, group.id) for group in gone if isinstance(group, EncodedGroup)]
        self._tell(*changes)
        self._held = wanted

    def begin_anew(self) -> None:
        """Hold nothing, whoever added it."""
        for command in ("del-flows", "del-groups"):
            self.ofctl(command)
        self._held = {}

    def ofctl(self, command: str, *arguments: str) -> None:
        """What somebody with root does by hand; options stand before the command."""
        self._run("ovs-ofctl", "-O", "OpenFlow14", *command.split(), f"unix:{self.home}/br0.mgmt", *arguments)

    def receive(self, port: int, *frames: bytes) -> None:
        """Frames come by a port; what they meet has counted them afterwards, and no decision on them is kept.

        A frame waits for the next turn of the main loop, and the next question may come before that. A decision that
        somebody looks at is left out of a purge (ofproto/ofproto-dpif-upcall.c, `revalidator_sweep__`): frames to come
        would be counted by it, and in the end by flows that are not there any more.
        """
        due = self._taken() + len(frames)
        for frame in frames:
            self._ask("netdev-dummy/receive", f"p{port}", frame.hex())
        deadline = time.monotonic() + PATIENCE_S
        while self._taken() < due:
            assert time.monotonic() < deadline
        self._ask("revalidator/purge")
        while self._ask("dpctl/dump-flows").strip():
            assert time.monotonic() < deadline
            self._ask("revalidator/purge")

    def _taken(self) -> int:
        """How many frames its datapath has done with: it answers questions only between them."""
        return sum(map(int, re.findall(r"packets received: (\d+)", self._ask("dpif-netdev/pmd-stats-show"))))

    def dumped(self) -> Dump:
        """What it tells of itself over OpenFlow, as `Switch.whole` has it, but for meters and ports."""
        flows: list[EncodedFlow] = []
        groups: list[EncodedGroup] = []
        counts: list[Count] = []
        asked = (openflow.flow_dump_request(1), openflow.group_desc_request(2), counts_request(3, EVERY_TABLE))
        with _connected(f"{self.home}/br0.mgmt") as switch:
            switch.sendall(b"".join((messages.hello(0), *asked, messages.barrier_request(4))))
            while (answer := _received(switch))[0].type != messages.OFPT_BARRIER_REPLY:
                head, body = answer
                if head.type == messages.OFPT_MULTIPART_REPLY:
                    payload = messages.decode_multipart(body).payload
                    flows += openflow.skim_flows(payload) if head.xid == 1 else ()
                    groups += openflow.skim_groups(payload) if head.xid == 2 else ()
                    counts += skim_counts(payload) if head.xid == 3 else ()
        return Dump(Installed({flow.key: flow for flow in flows}, {group.id: group for group in groups}), tuple(counts))

    def kill(self, ports: Set[int]) -> None:
        """Have exactly these ports be dead. Groups follow a little later, as does the action `bundle`: that is seen."""
        for port in ports ^ self._dead:
            self._ask("netdev-dummy/set-admin-state", f"p{port}", "down" if port in ports else "up")
            deadline = time.monotonic() + PATIENCE_S
            while self._is_alive(port) == (port in ports):
                assert time.monotonic() < deadline, port
        self._dead = frozenset(ports)

    def _is_alive(self, port: int) -> bool:
        to_the_first_alive = f"bundle(eth_src,0,active_backup,ofport,members:{port})"
        return "Datapath actions: drop" not in self._ask(
            "ofproto/trace-packet-out", "br0", "in_port=1", to_the_first_alive
        )

    def _tell(self, *sent: bytes) -> None:
        """Over a connection of its own: Open vSwitch ends one that answers no echo request for a minute."""
        with _connected(f"{self.home}/br0.mgmt") as switch:
            switch.sendall(b"".join((messages.hello(0), *sent, messages.barrier_request(2))))
            greeting, _ = _received(switch)
            assert greeting.type == messages.OFPT_HELLO, greeting
            head, body = _received(switch)
            assert head.type == messages.OFPT_BARRIER_REPLY, (head, body)

    def trace(self, packet: Packet, table: Table) -> ofproto.Seen:
        """What becomes of a packet from a table on, until it ends or goes to conntrack."""
        actions = f"resubmit(,{table.number})"
        text = self._ask("ofproto/trace-packet-out", "br0", str(packet), actions)
        return ofproto.read(text, packet.length, "br0")

    def _ask(self, method: str, *params: str) -> str:
        return self._control.ask(method, *params)


@contextmanager
def _connected(path: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(PATIENCE_S)
        stream.connect(path)
        yield stream


def _received(stream: socket.socket) -> tuple[messages.Header, bytes]:
    head = messages.header(stream.recv(8, socket.MSG_WAITALL))
    return head, stream.recv(head.length - 8, socket.MSG_WAITALL) if head.length > 8 else b""


_UNSEEN = TUNNEL | {"nd_reserved", "nd_options_type"}
"""What Open vSwitch does not always print: of a tunnel either the addresses or the id."""


# ---- ours and theirs ------------------------------------------------------------------------------------------


def same(
    judge: OpenVSwitch,
    switch: Switch,
    packet: Packet,
    table: Table,
    either: Set[int] = frozenset(),
    dead: frozenset[int] = frozenset(),
) -> Translation:
    """One translation by our interpreter, once Open vSwitch has agreed to every table, effect and bit of it.

    `either` are values of WHY of which any will do: of several conjunctions that match, each takes one.
    """
    seen = judge.trace(packet, table)
    done = translate(Choosing(switch, seen.buckets), packet, table, dead)
    visits = tuple(
        (hop.table.number, hop.met and hop.met.priority) for hop in done.hops if not isinstance(hop.met, Group)
    )
    told = f"\n{packet}\n{seen.text}"
    assert visits == seen.visits, told
    ours = [*_did(done.effects)]
    assert [_either(effect, either) for effect in ours] == [_either(effect, either) for effect in seen.effects], told
    theirs = dict(seen.packet)
    mine = dict(stages.last(done).without(_UNSEEN - theirs.keys()).values)
    if {mine.get(WHY.wire), theirs.get(WHY.wire)} <= either:
        theirs[WHY.wire] = mine[WHY.wire]
    assert mine == theirs, told
    return done


def same_throughout(
    judge: OpenVSwitch,
    switch: Switch,
    packet: Packet,
    known: Connections,
    table: Table = CLASSIFY,
    either: Set[int] = frozenset(),
    dead: frozenset[int] = frozenset(),
) -> bool:
    """Open vSwitch agrees to every translation of a packet, when told what `known` says of its connection.

    `dead` are the ports that are not alive (`OpenVSwitch.kill`). Whether it chose: then it may come to something else by another hash.
    """
    done = same(judge, switch, packet, table, either, dead)
    chose = any(isinstance(hop.met, Group) and hop.met.kind.chooses for hop in done.hops)
    for effect in done.effects:
        match effect:
            case Committed(at, zone, writes, onward):
                chose |= same_throughout(judge, switch, known.commit(zone, at, writes), known, onward, either, dead)
            case Tracked(at, zone, onward, how):
                told = known.look(zone, at) if how is None else known.translate(zone, at, how)
                chose |= same_throughout(judge, switch, told, known, onward, either, dead)
    return chose


def _did(effects: Iterable[Effect]) -> Iterator[ofproto.Effect]:
    for effect in effects:
        if isinstance(effect, End) and effect.fate in (Fate.SENT, Fate.ANSWERED) and effect.port is not None:
            yield "output", (effect.port,)
        yield from stages.effects((effect,))


def _either(effect: ofproto.Effect, either: Set[int]) -> ofproto.Effect:
    """A commit without the bundle in it, if any bundle will do."""
    kind, (zone, *written) = effect
    if kind == "commit" and written[2] & CT_BUNDLE.full in either:
        written[2] &= ~CT_BUNDLE.full
    return kind, (zone, *written)
