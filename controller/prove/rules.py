"""Flows and groups as Open vSwitch tells them, of whoever they are (ovs-fields(7), ovs-actions(7)): lines of a dump as
tests of slots and actions on them.

What a line says that nobody here knows is kept as such: a `Rule` whose tests are not `certain` may match less than it
seems to, and `Unknown` is an action that may do anything.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

from controller.errors import BadDump
from controller.flows.pipeline import OWNER
from controller.prove.sets import WIDTHS


class Test(NamedTuple):
    """A slot, and what it must be in the bits of `mask`."""

    slot: str
    value: int
    mask: int


class Span(NamedTuple):
    """Some bits of a slot."""

    slot: str
    shift: int
    bits: int


@dataclass(frozen=True, slots=True)
class Write:
    """Write values into the bits of the masks."""

    tests: tuple[Test, ...]


@dataclass(frozen=True, slots=True)
class Copy:
    """Copy bits, span by span."""

    spans: tuple[tuple[Span, Span], ...]


@dataclass(frozen=True, slots=True)
class Out:
    """Send the packet: out of a port by number or name, out of every port (`None`), back (`in_port`)."""

    port: int | str | None
    back: bool = False


@dataclass(frozen=True, slots=True)
class Punt:
    """Hand the packet to the controller."""


@dataclass(frozen=True, slots=True)
class ToGroup:
    """Hand the packet to a group."""

    id: int


@dataclass(frozen=True, slots=True)
class Resubmit:
    """Look up in another table (in this one if it is None) and come back."""

    table: int | None


@dataclass(frozen=True, slots=True)
class Goto:
    """Go on in a later table."""

    table: int


@dataclass(frozen=True, slots=True)
class Track:
    """To conntrack, and on in `table`, if any, with what is known; `nat` is what is written at a connection's start:
    "" of a translation that begins nothing, None without any."""

    zone: int | Span
    table: int | None
    commit: bool
    nat: str | None
    exec: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Apart:
    """Do this with a copy."""

    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Untrack:
    """Forget what conntrack said."""


@dataclass(frozen=True, slots=True)
class DecrementTtl:
    """One hop less."""


@dataclass(frozen=True, slots=True)
class Measure:
    """Write a bit that hangs on the size of the packet."""

    target: Span


@dataclass(frozen=True, slots=True)
class Conjunction:
    """A part of a conjunctive match."""

    id: int
    k: int
    n: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """An action that nobody here knows."""

    text: str


Action = (
    Write
    | Copy
    | Out
    | Punt
    | ToGroup
    | Resubmit
    | Goto
    | Track
    | Apart
    | Untrack
    | DecrementTtl
    | Measure
    | Conjunction
    | Unknown
)


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A flow. `conj_id` is the conjunction that it is the verdict of."""

    line: str
    table: int
    priority: int
    tests: tuple[Test, ...]
    actions: tuple[Action, ...]
    certain: bool = True
    conj_id: int | None = None
    cookie: int | None = None

    @property
    def foreign(self) -> bool:
        """Is it known to be somebody else's?"""
        return self.cookie is not None and self.cookie >> 56 != OWNER

    @property
    def shares(self) -> tuple[Conjunction, ...]:
        """The conjunctions that it is a part of."""
        return tuple(each for each in self.actions if isinstance(each, Conjunction))


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """A group; `every` bucket has a copy, or one of them the packet."""

    line: str
    id: int
    every: bool
    buckets: tuple[tuple[Action, ...], ...]


# ---- fields ---------------------------------------------------------------------------------------------------

_SYNONYMS: Final[Mapping[str, str]] = {
    "dl_src": "eth_src", "dl_dst": "eth_dst", "dl_type": "eth_type", "ip_src": "nw_src", "ip_dst": "nw_dst",
    "arp_spa": "nw_src", "arp_tpa": "nw_dst", "arp_op": "nw_proto", "ip_proto": "nw_proto", "nw_frag": "ip_frag",
    "nd_sll": "arp_sha", "nd_tll": "arp_tha", "icmp_type": "tp_src", "icmp_code": "tp_dst", "icmpv6_type": "tp_src",
    "icmpv6_code": "tp_dst", "tunnel_id": "tun_id", "ct_nw_tos": "nw_tos",
    "tun_ipv4_src": "tun_src", "tun_ipv4_dst": "tun_dst", "ip_ttl": "nw_ttl",
    **{f"{proto}_{end}": f"tp_{end}" for proto in ("tcp", "udp", "sctp") for end in ("src", "dst")},
    }  # fmt: skip
_NAMES: Final[Mapping[str, str]] = {
    "eth_src": "eth_src", "eth_dst": "eth_dst", "eth_type": "eth_type", "ip_src": "nw_src", "ip_dst": "nw_dst",
    "ip_ttl": "nw_ttl", "ip_tos": "nw_tos", "in_port": "in_port", "vlan_tci": "vlan_tci", "ip_proto": "nw_proto",
    "arp_op": "nw_proto", "icmpv6_type": "tp_src", "icmp_type": "tp_src", "icmpv6_nd_reserved": "nd_reserved",
    "icmpv6_nd_options_type": "nd_options_type",
}  # fmt: skip
"""What NXM_OF_*, NXM_NX_*, OXM_OF_* and ERICOXM_OF_* call slots otherwise than their fields."""

_PARTS: Final = {"ip_dscp": Span("nw_tos", 2, 6), "ip_ecn": Span("nw_tos", 0, 2), "nw_ecn": Span("nw_tos", 0, 2)}
"""The fields that are some bits of another."""

_WORDS: Final[Mapping[str, tuple[int, int | None]]] = {
    "ip": (0x0800, None), "ipv6": (0x86DD, None), "arp": (0x0806, None), "rarp": (0x8035, None),
    "tcp": (0x0800, 6), "udp": (0x0800, 17), "sctp": (0x0800, 132), "icmp": (0x0800, 1), "tcp6": (0x86DD, 6),
    "udp6": (0x86DD, 17), "sctp6": (0x86DD, 132), "icmp6": (0x86DD, 58),
}  # fmt: skip
"""What a word alone stands for: eth_type, and the protocol (ovs-ofctl(8))."""
_QUARTERS: Final = {"reg12": 96, "reg13": 64, "reg14": 32, "reg15": 0}
"""The registers that are xxreg3 together, and where: Open vSwitch tells them one by one."""
_FLAGGED: Final[Mapping[str, Mapping[str, int]]] = {
    name: {flag: at for at, flag in enumerate(flags)}
    for name, flags in {
        "ct_state": ("new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"),
        "tcp_flags": ("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns"),
    }.items()
}
"""The fields whose bits have names (ovs-fields(7))."""
_FRAGMENTS: Final = {"no": (0, 3), "yes": (1, 1), "first": (1, 3), "later": (3, 3), "not_later": (0, 2)}
_TOLD: Final = frozenset({
    "cookie", "duration", "n_packets", "n_bytes", "idle_age", "hard_age", "idle_timeout", "hard_timeout", "importance",
})  # fmt: skip
"""What a dump says of a flow that is no test; so are the words of `_FLAGS`."""
_FLAGS: Final = frozenset({"send_flow_rem", "reset_counts", "no_packet_counts", "no_byte_counts", "check_overlap"})
_MAC: Final = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}$")


def span(slot: str) -> tuple[Span, ...]:
    """A field by its name in a match: its slots, the most significant first; none if nobody here knows it."""
    name = _SYNONYMS.get(slot, slot)
    if name in _PARTS:
        return (_PARTS[name],)
    if name in _QUARTERS:
        return (Span("xxreg3", _QUARTERS[name], 32),)
    return (Span(name, 0, WIDTHS[name]),) if name in WIDTHS else ()


@cache
def _register(text: str) -> tuple[Span, ...]:
    """`NXM_NX_REG0[14..15]`, `reg0[14]`, `NXM_OF_ETH_DST[]`: some bits of a field."""
    found = re.fullmatch(r"(?:NXM_OF_|NXM_NX_|OXM_OF_|ERICOXM_OF_)?(\w+)(?:\[(?:(\d+)(?:\.\.(\d+))?)?\])?", text)
    if found is None:
        return ()
    name = found[1].lower()
    parts = span(_NAMES.get(name, name))
    if found[2] is None or not parts:
        return parts
    first = int(found[2])
    count = int(found[3]) - first + 1 if found[3] else 1
    return tuple(_within(parts, first, count))


def _within(parts: tuple[Span, ...], first: int, count: int) -> Iterator[Span]:
    """Bits of a value that several slots hold, the most significant slot first."""
    below = sum(part.bits for part in parts)
    for slot, _, width in parts:
        below -= width
        low, high = max(first, below), min(first + count, below + width)
        if low < high:
            yield Span(slot, low - below, high - low)


def number(text: str, width: int = 0) -> int:
    """A value as `ovs-ofctl` writes it. Raises ValueError."""
    if _MAC.match(text):
        return int(text.replace(":", ""), 16)
    if ":" in text:
        return int.from_bytes(socket.inet_pton(socket.AF_INET6, text))
    if text.count(".") == 3:
        return int.from_bytes(socket.inet_aton(text))
    return int(text, 0)


def _tests(name: str, text: str, ports: Mapping[str, int]) -> list[Test] | None:
    """What one word of a match tests; None if nobody here knows."""
    if name in _FLAGGED:
        return _flags(name, text)
    if name in ("ip_frag", "nw_frag") and text in _FRAGMENTS:
        return [Test("ip_frag", *_FRAGMENTS[text])]
    if name == "nw_tos":  # of which ECN is not tested (ovs-fields(7), "IPv4/v6 TOS/DSCP Field")
        return [Test(name, number(text) & 0xFC, 0xFC)]
    if name in ("dl_vlan", "vlan_vid"):
        value = int(text.partition("/")[0], 0)
        return [Test("vlan_tci", 0, 0xFFFF)] if value == 0xFFFF else [Test("vlan_tci", 0x1000 | value & 0xFFF, 0x1FFF)]
    if name == "in_port":
        text = text.strip('"')
        return [Test("in_port", ports[text] if text in ports else _ports(text), 0xFFFFFFFF)]
    parts = span(name)
    if not parts:
        return None
    shown, _, masked = text.partition("/")
    width = sum(part.bits for part in parts)
    value = number(shown)
    mask = _mask(masked, width) if masked else (1 << width) - 1
    return [*_split(parts, value & mask, mask)]


def _known_tests(name: str, text: str, ports: Mapping[str, int]) -> list[Test] | None:
    """The same, and None of a value that nobody here can read."""
    try:
        return _tests(name, text, ports)
    except (ValueError, KeyError, OSError):
        return None


def _ports(text: str) -> int:
    return {"LOCAL": 0xFFFFFFFE, "CONTROLLER": 0xFFFFFFFD}.get(text.upper()) or int(text, 0)


def _split(parts: tuple[Span, ...], value: int, mask: int) -> Iterator[Test]:
    below = sum(part.bits for part in parts)
    for slot, shift, width in parts:
        below -= width
        full = (1 << width) - 1
        if (wanted := mask >> below & full) or mask == 0:
            yield Test(slot, (value >> below & full) << shift, wanted << shift)


def _mask(text: str, width: int) -> int:
    """A mask, or the length of a prefix."""
    if text.isdigit() and width in (32, 128):
        return (1 << width) - (1 << width - int(text))
    return number(text)


def _flags(name: str, text: str) -> list[Test]:
    """`+trk-inv`, `trk|new`, or numbers."""
    places, full = _FLAGGED[name], (1 << WIDTHS[name]) - 1
    if text[:1].isdigit():
        shown, _, masked = text.partition("/")
        return [Test(name, int(shown, 0), int(masked, 0) & full if masked else full)]
    value = mask = 0
    for sign, flag in re.findall(r"([+-]?)([a-z]+)", text):
        mask |= 1 << places[flag]
        value |= (sign != "-") << places[flag]
    return [Test(name, value, mask)]


# ---- flows ----------------------------------------------------------------------------------------------------


def rule(line: str, ports: Mapping[str, int]) -> Rule:
    """A line of `dump-flows`, or of a file for `add-flows`; `ports` are numbers by name. Raises BadDump."""
    head, found, tail = line.partition("actions=")
    if not found:
        raise BadDump(line, "it has no actions")
    try:
        return _rule(line.strip(), head, tail.strip(), ports)
    except (ValueError, KeyError, OSError, IndexError) as error:
        raise BadDump(line, str(error)) from error


def _rule(line: str, head: str, tail: str, ports: Mapping[str, int]) -> Rule:
    table, priority, conj_id, cookie, certain = 0, 0x8000, None, None, True
    tests: dict[str, Test] = {}
    for word in re.split(r"[,\s]+", head.strip()):
        name, _, text = word.partition("=")
        if not text and name in _WORDS:
            ethertype, proto = _WORDS[name]
            found: list[Test] | None = [Test("eth_type", ethertype, 0xFFFF)]
            found = [*(found or ()), *([] if proto is None else [Test("nw_proto", proto, 0xFF)])]
        elif name == "table":
            table, found = int(text), []
        elif name == "priority":
            priority, found = int(text), []
        elif name == "cookie":
            cookie, found = int(text.partition("/")[0], 0), []
        elif name == "conj_id":
            conj_id, found = int(text, 0), []
        elif not name or name in _TOLD or name in _FLAGS:
            found = []
        else:
            found = _known_tests(name, text, ports)
        certain &= found is not None
        for test in found or ():
            old = tests.get(test.slot, Test(test.slot, 0, 0))
            tests[test.slot] = Test(test.slot, old.value | test.value, old.mask | test.mask)
    kept = tuple(test for test in tests.values() if test.mask)
    return Rule(line, table, priority, kept, actions(tail, ports), certain, conj_id, cookie)


def group(line: str, ports: Mapping[str, int]) -> Group:
    """A line of `dump-groups`, or of a file for `add-groups`. Raises BadDump."""
    try:
        head, *rest = line.strip().split("bucket=")
        words = dict(word.partition("=")[::2] for word in head.strip(", ").split(","))
        buckets = []
        for text in rest:
            _, found, tail = text.rstrip(", ").partition("actions=")
            buckets.append(actions(tail if found else _bare(text), ports))
        id, type = words["group_id"], words.get("type", "all")
        return Group(line.strip(), int(id, 0), type in ("all", "indirect"), tuple(buckets))
    except (ValueError, KeyError, OSError) as error:
        raise BadDump(line, f"{type_name(error)} {error}") from error


def type_name(error: Exception) -> str:
    """What kind of error it is."""
    return type(error).__name__


def _bare(text: str) -> str:
    """A bucket without the word `actions`: what else there is of it are weights and ports to watch."""
    return ",".join(word for word in _words(text.rstrip(", ")) if not re.match(r"(bucket_id|weight|watch_\w+):", word))


# ---- actions --------------------------------------------------------------------------------------------------


def _words(text: str) -> Iterator[str]:
    """What commas part that are in no brackets."""
    depth = start = 0
    for at, letter in enumerate(text):
        if letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
        elif letter == "," and not depth:
            yield text[start:at].strip()
            start = at + 1
    if text[start:].strip():
        yield text[start:].strip()


@cache
def _plain(text: str) -> tuple[Action, ...]:
    return tuple(_action(word, {}) for word in _words(text) if word.lower() != "drop")


def actions(text: str, ports: Mapping[str, int]) -> tuple[Action, ...]:
    """Actions as a dump tells them."""
    if ports and '"' in text:
        return tuple(_action(word, ports) for word in _words(text) if word.lower() != "drop")
    return _plain(text)


def _action(word: str, ports: Mapping[str, int]) -> Action:
    try:
        return _known(word, ports) or Unknown(word)
    except (ValueError, KeyError, OSError, IndexError):
        return Unknown(word)


def _known(word: str, ports: Mapping[str, int]) -> Action | None:
    verb, _, rest = word.partition(":")
    name = re.match(r"[a-zA-Z_]*", word)[0].lower() if word else ""  # type: ignore[index]  # it always matches
    inner = word[word.index("(") + 1 : -1] if word.endswith(")") and "(" in word else ""
    if verb in ("set_field", "load"):
        return _written(rest)
    match name:
        case "move":
            source, _, target = rest.partition("->")
            return Copy(tuple(_paired(_register(source), _register(target))))
        case "output":
            return Out(_port(rest, ports)) if re.fullmatch(r'"?[\w.-]+"?', rest) else Out(None)
        case "in_port":
            return Out(None, back=True)
        case "normal" | "flood" | "all":
            return Out(None)
        case "local":
            return Out(0xFFFFFFFE)
        case "controller":
            return Punt()
        case "group":
            return ToGroup(int(rest, 0))
        case "resubmit":
            return _resubmit(word, inner, rest)
        case "goto_table":
            return Goto(int(rest))
        case "ct":
            return _track(inner, ports)
        case "ct_clear":
            return Untrack()
        case "clone":
            return Apart(actions(inner, ports))
        case "dec_ttl":
            return DecrementTtl()
        case "check_pkt_larger":
            (target_span,) = _register(word.partition("->")[2])
            return Measure(target_span)
        case "conjunction":
            id, share = inner.split(",")
            return Conjunction(int(id, 0), *(int(part) for part in share.split("/")))
        case _:
            return _older(verb, rest, ports)


def _older(verb: str, rest: str, ports: Mapping[str, int]) -> Action | None:
    """What the older ways of saying it mean, and a port by its bare number or name."""
    old = {"mod_dl_src": "eth_src", "mod_dl_dst": "eth_dst", "mod_nw_src": "nw_src", "mod_nw_dst": "nw_dst",
           "mod_tp_src": "tp_src", "mod_tp_dst": "tp_dst", "set_tunnel": "tun_id", "set_tunnel64": "tun_id",
           "mod_nw_ttl": "nw_ttl"}  # fmt: skip
    if verb in old:
        return Write((Test(old[verb], number(rest), (1 << WIDTHS[old[verb]]) - 1),))
    if verb == "mod_vlan_vid":
        return Write((Test("vlan_tci", 0x1000 | int(rest, 0), 0x1FFF),))
    if verb == "push_vlan":
        return Write((Test("vlan_tci", 0x1000, 0xFFFF),))
    if verb in ("pop_vlan", "strip_vlan"):
        return Write((Test("vlan_tci", 0, 0xFFFF),))
    if verb in ("note", "set_queue", "pop_queue", "set_tunnel_ttl"):
        return Apart(())
    if verb.strip('"') in ports or verb.isdigit():
        return Out(_port(verb, ports))
    return None


def _port(text: str, ports: Mapping[str, int]) -> int | str | None:
    text = text.strip('"')
    if text in ports:
        return ports[text]
    if text.upper() in ("NORMAL", "FLOOD", "ALL"):
        return None
    return _ports(text) if text.isdigit() or text.upper() == "LOCAL" else text


def _written(rest: str) -> Action | None:
    shown, _, target = rest.rpartition("->")
    parts = _register(target)
    value, _, masked = shown.partition("/")
    if target in ("vlan_vid",):
        return Write((Test("vlan_tci", 0x1000 | number(value) & 0xFFF, 0x1FFF),))
    if not parts:
        return None
    width = sum(part.bits for part in parts)
    mask = number(masked) if masked else (1 << width) - 1
    return Write(tuple(_split(parts, number(value) & mask, mask)))


def _paired(source: tuple[Span, ...], target: tuple[Span, ...]) -> Iterator[tuple[Span, Span]]:
    """The bits of one, each with those of the other; both in parts, the most significant first."""
    if not source or sum(part.bits for part in source) != sum(part.bits for part in target):
        raise ValueError("unequal spans")
    left, right = [*source[::-1]], [*target[::-1]]
    while left:
        mine, theirs = left[0], right[0]
        size = min(mine.bits, theirs.bits)
        yield mine._replace(bits=size), theirs._replace(bits=size)
        for parts, each in ((left, mine), (right, theirs)):
            if each.bits == size:
                parts.pop(0)
            else:
                parts[0] = Span(each.slot, each.shift + size, each.bits - size)


def _resubmit(word: str, inner: str, rest: str) -> Action | None:
    if not inner:
        return None if not rest else Resubmit(None)
    port, _, table = inner.partition(",")
    return Resubmit(int(table.partition(",")[0])) if table and not port else Resubmit(int(table)) if table else None


def _track(inner: str, ports: Mapping[str, int]) -> Action:
    zone: int | Span = 0
    table, commit, nat = None, False, None
    exec: tuple[Action, ...] = ()
    for word in _words(inner):
        name, found, text = word.partition("=")
        if word == "commit":
            commit = True
        elif name == "table" and found:
            table = int(text)
        elif name == "zone" and found:
            zone = int(text, 0) if re.fullmatch(r"\w+", text) and text[0].isdigit() else _register(text)[0]
        elif word.startswith("nat"):
            nat = word[4:-1] if word.endswith(")") else ""
        elif word.startswith("exec("):
            exec = actions(word[5:-1], ports)
    return Track(zone, table, commit, nat, exec)
