"""The encoder against os-ken: the same flows into the same bytes, in turns within one run.

The flows are those that one hypervisor of a cloud is sent, in that order, each a `Flow` that was never encoded before, so
that no memory of earlier ones helps. What either works on was made before the first round: neither finds it in the
CPU's caches. os-ken encodes in two steps, and needs both: its constructors turn each field into bytes, `serialize()`
joins them. It is given plain keyword arguments, and the cookie that Weft has to hash. Templates of forms, which Weft
finds once for all flows of a form, are found beforehand, as what os-ken imports is. Times are CPU time.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import median
from time import process_time
from typing import Any

from os_ken.ofproto import ofproto_protocol

from controller.flows.action import Action, Goto, Output, ToGroup
from controller.flows.flow import Flow, Form
from controller.flows.match import Set
from controller.southbound.forms import template
from controller.southbound.messages import OFPP_ANY, VERSION
from controller.southbound.openflow import EncodedFlow, encode_flow, flow_add
from controller.southbound.oxm import WIRES
from tests.benchmarks.report import Figure, at_least
from tests.benchmarks.shape import Cloud, Shape

SHAPE = Shape(networks=20, size=100, homes=2, chassis=2)
ROUNDS = 9
ROUND = 1_000
"""How many flows a round encodes, each once by either."""

OSKEN = ofproto_protocol.ProtocolDesc(VERSION)
NAMES = {
    "vlan_tci": "vlan_vid",
    "nw_src": "ipv4_src",
    "nw_dst": "ipv4_dst",
    "nw_proto": "ip_proto",
    "nd_target": "ipv6_nd_target",
    "nd_sll": "ipv6_nd_sll",
    "nd_tll": "ipv6_nd_tll",
    "tun_id": "tunnel_id",
    "tun_src": "tun_ipv4_src",
    "tun_dst": "tun_ipv4_dst",
}
"""How os-ken calls what ovs-fields(7) calls otherwise."""
KNOWN = frozenset(field.name for field in OSKEN.ofproto.oxm_types)
"""The fields that os-ken can test."""


class Differs(Exception):
    """Raised when the two disagree about a flow: then comparing their speed means nothing."""


@dataclass(frozen=True, slots=True)
class _Spelled:
    """A flow in os-ken's words: a class name and arguments for each action."""

    head: dict[str, int]
    match: dict[str, object]
    actions: list[tuple[str, dict[str, object]]]
    goto: int | None


def _again(flow: Flow) -> Flow:
    """The same flow, never encoded."""
    return Flow(flow.table, flow.reason, flow.match, flow.actions)


def run() -> Iterator[Figure]:
    """The figures of the encoder."""
    flows = _flows(ROUNDS * ROUND)
    spelled = [_spell(flow, encode_flow(_again(flow), app)) for flow, app in flows]
    gc.collect()  # the engine that made them
    weft: list[float] = []
    built: list[float] = []
    made: list[float] = []
    joined: list[float] = []
    for start in range(0, len(flows), ROUND):
        some = flows[start : start + ROUND]
        weft_s, encoded = _weft(some)
        made_s, joined_s, messages = _osken(spelled[start : start + ROUND])
        _check(encoded, messages)
        weft.append(weft_s)
        built.append(_built(some))
        made.append(made_s)
        joined.append(joined_s)
    both = [one + other for one, other in zip(made, joined, strict=True)]
    yield Figure("Weft: flow to flow-mod", ROUND / median(weft), "flows/s")
    yield Figure("os-ken: OFPFlowMod made and serialised", ROUND / median(both), "flows/s")
    yield Figure("os-ken: the serialize() of it alone", ROUND / median(joined), "flows/s")
    yield Figure("Weft against os-ken", _times(both, weft), "times", at_least(30))
    yield Figure("Weft against os-ken's serialize() alone", _times(joined, weft), "times")
    yield Figure("Weft: the same flows built once more", ROUND / median(built), "flows/s")
    forms = {flow.form for flow, _ in flows}
    yield Figure(f"Weft: the templates of {len(forms)} forms, once a process", 1000 * _templates(forms), "CPU ms")


def _check(encoded: Sequence[EncodedFlow], messages: Sequence[bytes]) -> None:
    """The same bytes, but that os-ken writes the fields of a match in another order than Open vSwitch does."""
    for one, other in zip(encoded, messages, strict=True):
        if sorted(flow_add(0, one)) != sorted(other):
            raise Differs(one.text)


def _times(theirs: Sequence[float], ours: Sequence[float]) -> float:
    return median(their / our for their, our in zip(theirs, ours, strict=True))


def _flows(count: int) -> list[tuple[Flow, int]]:
    """So many different flows, each with its app's number: those that os-ken can write, without moves and subroutines."""
    entries = Cloud(SHAPE).engine().desired("hv1").values()
    flows = ((entry.item, entry.app) for entry in entries if isinstance(entry.item, Flow))
    return [*islice(((flow, app) for flow, app in flows if _spellable(flow)), count)]


def _spellable(flow: Flow) -> bool:
    known = all(NAMES.get(test.field.wire, test.field.wire) in KNOWN for test in flow.match.tests)
    return known and all(isinstance(each, _SPELLED) for each in flow.actions)


def _weft(flows: Sequence[tuple[Flow, int]]) -> tuple[float, list[EncodedFlow]]:
    """How long the whole message takes; and the flows, for os-ken to have their cookies."""
    began = process_time()
    for flow, app in flows:
        flow_add(0, encode_flow(flow, app))
    seconds = process_time() - began
    return seconds, [encode_flow(flow, app) for flow, app in flows]


def _built(flows: Sequence[tuple[Flow, int]]) -> float:
    """How long it takes to build these flows of what they test and do; finding their forms is in that."""
    parts = [(flow.table, flow.reason, flow.match, flow.actions) for flow, _ in flows]
    began = process_time()
    for table, reason, match, actions in parts:
        Flow(table, reason, match, actions)
    return process_time() - began


def _templates(forms: Iterable[Form]) -> float:
    """How long it takes to find the templates of these forms."""
    for form in forms:
        object.__setattr__(form, "memo", None)
    began = process_time()
    for form in forms:
        template(form)
    return process_time() - began


def _osken(flows: Sequence[_Spelled]) -> tuple[float, float, list[bytes]]:
    """How long the constructors take, and `serialize()`; and the messages."""
    began = process_time()
    mods = [_make(flow) for flow in flows]
    made = process_time()
    for mod in mods:
        mod.set_xid(0)
        mod.serialize()
    joined = process_time()
    return made - began, joined - made, [bytes(mod.buf) for mod in mods]


def _make(flow: _Spelled) -> Any:
    parser = OSKEN.ofproto_parser
    actions = [getattr(parser, name)(**arguments) for name, arguments in flow.actions]
    instructions = []
    if actions:
        instructions.append(parser.OFPInstructionActions(OSKEN.ofproto.OFPIT_APPLY_ACTIONS, actions))
    if flow.goto is not None:
        instructions.append(parser.OFPInstructionGotoTable(flow.goto))
    match = parser.OFPMatch(**flow.match)
    return parser.OFPFlowMod(OSKEN, match=match, instructions=instructions, **flow.head)


_SPELLED = Set | Goto | Output | ToGroup


def _spell(flow: Flow, encoded: EncodedFlow) -> _Spelled:
    head = {"cookie": encoded.cookie, "table_id": flow.table.number, "priority": flow.priority}
    shows = {test.field.wire: test.field.show for test in flow.match.tests}
    match: dict[str, object] = {}
    for wire, value, mask, _ in flow.match.whole():
        exact = mask == WIRES[wire].full
        shown = _value(shows[wire](value), value)
        match[NAMES.get(wire, wire)] = shown if exact else (shown, _value(shows[wire](mask), mask))
    goto = next((each.table.number for each in flow.actions if isinstance(each, Goto)), None)
    actions = [_action(each) for each in flow.actions if not isinstance(each, Goto)]
    return _Spelled(head | {"out_port": OFPP_ANY, "out_group": OFPP_ANY}, match, actions, goto)


def _value(text: str, number: int) -> object:
    """os-ken takes addresses as text."""
    return text if ":" in text or "." in text else number


def _action(action: Action) -> tuple[str, dict[str, object]]:
    match action:
        case Set(field, value) if field.partial:
            span = field.shift << 6 | field.bits - 1
            return "NXActionRegLoad", {"ofs_nbits": span, "dst": NAMES.get(field.wire, field.wire), "value": value}
        case Set(field, value):
            return "OFPActionSetField", {NAMES.get(field.wire, field.wire): _value(field.show(value), value)}
        case Output(port):
            return "OFPActionOutput", {"port": port, "max_len": 0}
        case ToGroup(id, _):
            return "OFPActionGroup", {"group_id": id}
    raise Differs(str(action))
