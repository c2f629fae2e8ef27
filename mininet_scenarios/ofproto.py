"""What `ofproto/trace` of Open vSwitch tells, as values: tables visited, what came of a packet, what it was at last.

It cannot know what conntrack would say: it is asked for one translation at a time, from any table, with registers and
conntrack's fields preset, and what it tells of the next ones is not read. Nor does it know a packet's length: of one
that is measured it shows both ways, of which that of its length is read.
"""

from __future__ import annotations

import ipaddress
import json
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

Effect = tuple[str, tuple[int, ...]]
"""output: port; punt: bytes; track: zone; commit: zone, mark, its mask, label, its mask.

Of a translation that is the same, and the name says which, as ovs-actions(7) writes it: `nat(src=192.0.2.1)`.
"""
Visit = tuple[int, int | None]
"""A table, and the priority of the flow that was met there; None is a miss."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What Open vSwitch did in one translation: tables visited with the priority met, what came of it, the end.

    `effects` are those of the datapath, of all bridges; `outputs` those of this bridge, as `output:5` and `IN_PORT`.
    `buckets` are those it chose, by group.
    """

    visits: tuple[Visit, ...]
    effects: tuple[Effect, ...]
    outputs: tuple[str, ...]
    packet: Mapping[str, int]
    buckets: Mapping[int, int]
    text: str


class Control:
    """A connection to an ovs-vswitchd, for what ovs-appctl(8) would ask: one process fewer a question."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream

    def ask(self, method: str, *params: str) -> str:
        """One command (ovs-vswitchd(8), Runtime Management Commands: JSON-RPC with no handshake). Raises ValueError."""
        self._stream.sendall(json.dumps({"id": 1, "method": method, "params": params}).encode())
        heard = b""
        while True:
            more = self._stream.recv(1 << 20)
            if not more:
                raise ConnectionError(f"ovs-vswitchd hung up on {method}")
            heard += more
            try:
                answer = json.loads(heard)
            except ValueError:
                continue
            if answer["error"] is not None:
                raise ValueError(f"{method} {' '.join(params)}: {answer['error']}")
            return str(answer["result"])


@contextmanager
def controlled(path: Path, patience_s: float) -> Iterator[Control]:
    """The control socket of an ovs-vswitchd."""
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(patience_s)
        stream.connect(str(path))
        yield Control(stream)


def read(text: str, length: int, bridge: str) -> Seen:
    """What is told of a bridge, and of a packet of this length. Raises ValueError."""
    first, _, _ = text.partition("\n=====")
    found = re.search(r"^Final flow: (.*)\n(?:.*\n)*?Datapath actions: (.*)$", first, re.MULTILINE)
    final = found if found is None or found[1] != "unchanged" else re.search(r"^Flow: (.*)$", first, re.MULTILINE)
    if found is None or final is None:
        raise ValueError(f"no answer of ofproto/trace: {text}")
    way = "\n".join(_way([*_of(bridge, first.splitlines())], length))
    visits = re.findall(r"^ *(\d+)\. (?:No match|.*?priority (\d+))", way, re.MULTILINE)
    chosen = re.findall(r"^ *group:(\d+)\n *-> using bucket (\d+)$", way, re.MULTILINE)
    outputs = re.findall(r"^ *(output:\d+|IN_PORT)$(?!\n *>> skipping output to input port)", way, re.MULTILINE)
    return Seen(
        tuple((int(at), int(priority) if priority else None) for at, priority in visits),
        tuple(_effects(found[2], length)),
        tuple(outputs),
        numbers(final[1]),
        {int(id): int(bucket) for id, bucket in chosen},
        text,
    )


def _of(bridge: str, lines: Sequence[str]) -> Iterator[str]:
    """The lines about one bridge: what goes into a tunnel, or over a patch port, goes through another one, too.

    What happens there stands below its name, further in than what follows in the bridge that it came from
    (ofproto-dpif-trace.c, `oftrace_node_print_details`).
    """
    within: list[tuple[int, str]] = []
    begun = ""
    for line in lines:
        depth = (len(line) - len(line.lstrip())) // 4
        if head := re.fullmatch(r' *bridge\("(.*)"\)', line):
            begun = head[1]
        elif begun and line.strip().startswith("---"):
            continue
        elif begun and line.strip():
            within.append((depth, begun))
            begun = ""
        while len(within) > 1 and not begun and line.strip() and depth < within[-1][0]:
            within.pop()
        if within and not begun and within[-1][1] == bridge:
            yield line


def _way(lines: Sequence[str], length: int) -> list[str]:
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
    return kept


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
_UNUSED = frozenset({"nw_tos", "nw_ecn", "tcp_flags", "ipv6_label", "dl_vlan", "dl_vlan_pcp", "vlan_tci1",
                     "recirc_id", "skb_priority", "eth", "tun_tos", "tun_ttl", "tun_flags", "tun_gbp_id",
                     "tun_gbp_flags", "tun_erspan_ver", "gtpu_flags", "gtpu_msgtype"})  # fmt: skip
TAG_PRESENT = 0x1000
"""What vlan_tci has beside the tag when there is one (ovs-fields(7), vlan_tci)."""


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
