"""A real Open vSwitch as a judge: it holds our flows, as our encoder writes them, and traces packets through them.

One ovsdb-server and one ovs-vswitchd without kernel or network (a dummy datapath), with one bridge. `ofproto/trace`
cannot know what conntrack would say (it takes every connection for new, and gives it no tuple), so it is asked for one
translation at a time, from any table, with registers and conntrack's fields preset. Of a packet that is measured it
shows both ways, of which that of its length is read. A packet that may come to a group that chooses needs a `dp_hash`:
without one it would first have to go round for it.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from controller.flows.action import Measure, Move, Table, Translate
from controller.flows.conntrack import Connections
from controller.flows.flow import Flow, Group, Key
from controller.flows.match import Set as Set_
from controller.flows.packet import TUNNEL, Packet
from controller.flows.pipeline import CLASSIFY, CT_BUNDLE, TRAP_BYTES, WHY
from controller.flows.trace import TAG_PRESENT, Committed, End, Fate, Switch, Tracked, Translation, translate
from controller.southbound import messages, openflow
from controller.southbound.openflow import EncodedFlow, EncodedGroup, encode_flow, encode_group

PATIENCE_S = 20.0
APP = 1

Effect = tuple[str, tuple[int, ...]]
"""output: port; punt: bytes; track: zone; commit: zone, mark, its mask, label, its mask.

Of a translation that is the same, and the name says which, as ovs-actions(7) writes it: `nat(src=192.0.2.1)`.
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """What Open vSwitch did in one translation: tables visited with the priority met, what came of it, the end.

    `buckets` are those it chose, by group.
    """

    visits: tuple[tuple[int, int | None], ...]
    effects: tuple[Effect, ...]
    packet: Mapping[str, int]
    buckets: Mapping[int, int]
    text: str


class Choosing(Switch):
    """A switch of which the groups that choose take these buckets, and the first where none is said."""

    def __init__(self, switch: Switch, buckets: Mapping[int, int]) -> None:
        super().__init__(())
        self.switch, self.buckets = switch, buckets

    def match(self, table: Table, packet: Packet) -> Flow | None:
        """The flow of a table that a packet meets."""
        return self.switch.match(table, packet)

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
            self._control = stack.enter_context(_connected(f"{self.home}/ovs-vswitchd.ctl"))
            self._tell(messages.read_first_fragments(1))
            yield self

    def load(self, items: Iterable[Flow | Group]) -> None:
        """Hold exactly these."""
        wanted = {item.key: encode_group(item) if isinstance(item, Group) else encode_flow(item, APP) for item in items}
        news = [item for key, item in wanted.items() if self._held.get(key) != item]
        gone = [item for key, item in self._held.items() if key not in wanted]
        changes = [openflow.group_put(1, group) for group in news if isinstance(group, EncodedGroup)]
        changes += [openflow.flow_add(1, flow) for flow in news if isinstance(flow, EncodedFlow)]
        changes += [openflow.flow_delete(1, *flow.key) for flow in gone if isinstance(flow, EncodedFlow)]
        changes += [openflow.group_delete(1, group.id) for group in gone if isinstance(group, EncodedGroup)]
        self._tell(*changes)
        self._held = wanted

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

    def trace(self, packet: Packet, table: Table) -> Seen:
        """What becomes of a packet from a table on, until it ends or goes to conntrack."""
        actions = f"resubmit(,{table.number})"
        text = self._ask("ofproto/trace-packet-out", "br0", str(packet), actions)
        first, _, _ = text.partition("\n=====")
        found = re.search(r"^Final flow: (.*)\n(?:.*\n)*?Datapath actions: (.*)$", first, re.MULTILINE)
        assert found is not None, text
        final = re.search(r"^Flow: (.*)$", first, re.MULTILINE) if found[1] == "unchanged" else found
        assert final is not None
        way = _way(first.splitlines(), packet.length)
        visits = re.findall(r"^ *(\d+)\. (?:No match|.*?priority (\d+))", way, re.MULTILINE)
        chosen = re.findall(r"^ *group:(\d+)\n *-> using bucket (\d+)$", way, re.MULTILINE)
        return Seen(
            tuple((int(at), int(priority) if priority else None) for at, priority in visits),
            tuple(_effects(found[2], packet.length)),
            numbers(final[1]),
            {int(id): int(bucket) for id, bucket in chosen},
            text,
        )

    def _ask(self, method: str, *params: str) -> str:
        """One command of ovs-appctl (ovs-vswitchd's unixctl.man: JSON-RPC without its handshake)."""
        self._control.sendall(json.dumps({"id": 1, "method": method, "params": params}).encode())
        heard = ""
        while True:
            heard += self._control.recv(1 << 20).decode()
            try:
                answer = json.loads(heard)
            except ValueError:
                continue
            assert answer["error"] is None, (method, params, answer["error"])
            return str(answer["result"])


@contextmanager
def _connected(path: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(PATIENCE_S)
        stream.connect(path)
        yield stream


def _received(stream: socket.socket) -> tuple[messages.Header, bytes]:
    head = messages.header(stream.recv(8, socket.MSG_WAITALL))
    return head, stream.recv(head.length - 8, socket.MSG_WAITALL) if head.length > 8 else b""


def _way(lines: Sequence[str], length: int) -> str:
    """The way of a packet of this length: what is too large stands below `check_pkt_larger` and what it goes to.

    That is there twice, and what is not too large goes on behind the second.
    """
    kept: list[str] = []
    while lines:
        line, *lines = lines
        kept.append(line)
        measured = re.match(r" *check_pkt_larger\((\d+)\)", line)
        if measured is not None:
            onward, *behind = lines
            second = behind.index(onward)
            lines = behind[:second] if length > int(measured[1]) else behind[second + 1 :]
    return "\n".join(kept)


def _effects(actions: str, length: int) -> Iterator[Effect]:
    """Outputs, visits to the controller and to conntrack among datapath actions, for a packet of this length."""
    for action in _split(actions):
        if action.isdecimal():
            yield "output", (int(action),)
        elif action.startswith("userspace("):
            yield "punt", (int(action.partition("max_len=")[2].partition(")")[0]),)
        elif action.startswith("clone("):
            yield from _effects(action[6:-1], length)
        elif action.startswith("check_pkt_len("):
            size, *ways = _split(action[len("check_pkt_len(") : -1])
            way = next(each for each in ways if each.startswith("gt(" if length > int(size[5:]) else "le("))
            yield from _effects(way[3:-1], length)
        elif action.startswith("ct("):
            said = dict(word.partition("=")[::2] for word in _split(action[3:-1]))
            zone = int(said["zone"])
            nat = next((word for word in _split(action[3:-1]) if word.startswith("nat")), None)
            if nat is not None:
                yield nat, (zone, *_masked(said.get("label", "0/0")))
            elif "commit" in said:
                yield "commit", (zone, *_masked(said.get("mark", "0/0")), *_masked(said.get("label", "0/0")))
            else:
                yield "track", (zone,)


def _split(words: str) -> Sequence[str]:
    """Words between commas, but not those inside parentheses."""
    depth, found = 0, [""]
    for letter in words:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and not depth:
            found.append("")
        else:
            found[-1] += letter
    return [word for word in found if word]


def _masked(word: str) -> tuple[int, int]:
    value, _, mask = word.partition("/")
    return int(value, 0), int(mask, 0)


_PROTOCOLS: Mapping[str, tuple[int, int]] = {
    "ip": (0x0800, 0), "icmp": (0x0800, 1), "tcp": (0x0800, 6), "udp": (0x0800, 17), "sctp": (0x0800, 132),
    "ipv6": (0x86DD, 0), "icmp6": (0x86DD, 58), "tcp6": (0x86DD, 6), "udp6": (0x86DD, 17), "sctp6": (0x86DD, 132),
    "arp": (0x0806, 0),
}  # fmt: skip
_NAMES: Mapping[str, str] = {"dl_src": "eth_src", "dl_dst": "eth_dst", "dl_type": "eth_type", "nw_frag": "ip_frag"}
_PORTS: Mapping[int, str] = {6: "tcp", 17: "udp", 132: "sctp"}
_STATES = ("new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat")
_FRAGMENTS = {"no": 0, "first": 1, "later": 3}
_UNUSED = frozenset({"nw_tos", "nw_ecn", "tcp_flags", "ipv6_label", "vlan_tci", "dl_vlan", "dl_vlan_pcp", "vlan_tci1",
                     "recirc_id", "skb_priority", "eth"})  # fmt: skip
_UNSEEN = TUNNEL | {"nd_reserved", "nd_options_type"}
"""What Open vSwitch does not always print: of a tunnel either the addresses or the id."""


def numbers(flow: str) -> dict[str, int]:
    """A flow as Open vSwitch prints it, by our names; what is 0 is left out, and so is what we have no name for."""
    said = dict(word.partition("=")[::2] for word in flow.split(","))
    kind = next((word for word in said if word in _PROTOCOLS), None)
    family, proto = _PROTOCOLS[kind] if kind else (0, 0)
    proto = proto or int(said.get("nw_proto", 0))
    found: dict[str, int] = {"eth_type": family, "nw_proto": proto}
    if "dl_vlan" in said:
        found["vlan_tci"] = int(said["dl_vlan_pcp"]) << 13 | TAG_PRESENT | int(said["dl_vlan"])
    for name, text in said.items():
        if name in _UNUSED or name == kind:
            continue
        at = _NAMES.get(name, name)
        if name in ("tp_src", "tp_dst"):
            at = f"{_PORTS[proto]}_{name[3:]}"
        if name in ("icmp_type", "icmp_code") and proto == 58:
            at = name.replace("icmp", "icmpv6")
        found.update(_registers(at, _number(name, text)))
    return {name: value for name, value in found.items() if value}


def _registers(name: str, value: int) -> dict[str, int]:
    """`xxreg3` is reg12 to reg15, `xreg7` is reg14 and reg15 (ovs-fields(7), Registers)."""
    wide = re.fullmatch(r"(x+)reg(\d+)", name)
    if wide is None:
        return {name: value}
    count = 2 ** len(wide[1])
    first = int(wide[2]) * count
    return {f"reg{first + at}": value >> 32 * (count - 1 - at) & 0xFFFFFFFF for at in range(count)}


def _number(name: str, text: str) -> int:
    if text == "ANY":  # in_port, once it is 0
        return 0
    if name == "nw_frag":
        return _FRAGMENTS[text]
    if name == "ct_state":
        return sum(1 << _STATES.index(word) for word in text.split("|"))
    if re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", text):
        return int(text.replace(":", ""), 16)
    if "." in text or ":" in text:
        return int(ipaddress.ip_address(text))
    return int(text, 0)


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
    mine = dict(_kept(done).without(_UNSEEN - theirs.keys()).values)
    if {mine.get(WHY.wire), theirs.get(WHY.wire)} <= either:
        theirs[WHY.wire] = mine[WHY.wire]
    assert mine == theirs, told
    return done


def _kept(done: Translation) -> Packet:
    """What Open vSwitch prints at the end: of a packet that was measured, and in no group before, what came to that."""
    for hop in done.hops:
        if isinstance(hop.met, Group):
            break
        if hop.met is not None and any(isinstance(action, Measure) for action in hop.met.actions):
            return hop.packet
    return done.packet


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


def _did(effects: Iterable[End | Tracked | Committed]) -> Iterator[Effect]:
    for effect in effects:
        match effect:
            case End(fate=Fate.SENT | Fate.ANSWERED, port=int(port)):
                yield "output", (port,)
            case End(fate=Fate.PUNTED):
                yield "punt", (TRAP_BYTES,)
            case Tracked(packet, zone, _, Translate() as how):
                _, label = _remembered(packet, how.writes)
                nat = re.search(r"\bnat(\(.*?\))?", str(how))
                assert nat is not None
                yield nat[0], (zone, *label)
            case Tracked(_, zone, _):
                yield "track", (zone,)
            case Committed(packet, zone, writes, _):
                mark, label = _remembered(packet, writes)
                yield "commit", (zone, *mark, *label)


def _remembered(packet: Packet, writes: Iterable[Set_ | Move]) -> tuple[tuple[int, int], tuple[int, int]]:
    """What is written to the mark and the label of a connection, each with its mask."""
    made, written = packet.written(writes), Packet({})
    for write in writes:
        target = write.target if isinstance(write, Move) else write.field
        written = written.put(target, target.full)
    mark, label = ((made.whole(at) & written.whole(at), written.whole(at)) for at in ("ct_mark", "ct_label"))
    return mark, label


def _either(effect: Effect, either: Set[int]) -> Effect:
    """A commit without the bundle in it, if any bundle will do."""
    kind, (zone, *written) = effect
    if kind == "commit" and written[2] & CT_BUNDLE.full in either:
        written[2] &= ~CT_BUNDLE.full
    return kind, (zone, *written)
