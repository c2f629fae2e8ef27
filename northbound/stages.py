"""What asks Open vSwitch the same as a trace (`weft trace --ofproto`), and what it should answer, stage by stage.

`ofproto/trace` cannot know what conntrack would say, so a way is asked for from one visit to conntrack to the next,
from any table, with registers and conntrack's fields preset.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from controller.flows.action import Measure, Move, Translate
from controller.flows.flow import Group
from controller.flows.match import Set
from controller.flows.packet import Packet
from controller.flows.pipeline import TRAP_BYTES
from controller.flows.trace import Effect, End, Fate, Tracked, Translation
from controller.model.records import Chassis
from controller.model.store import Rows
from northbound.tracing import Answer

Told = tuple[str, tuple[int, ...]]
"""An effect in numbers. punt: bytes; track: zone; commit: zone, mark, its mask, label, its mask.

Of a translation that is zone, label and its mask, and the name says which, as ovs-actions(7): `nat(src=192.0.2.1)`.
"""


def asks(rows: Rows, answer: Answer) -> Iterator[dict[str, Any]]:
    """Each stage of a trace: chassis, bridge, the command of ovs-appctl, and what it should show (`shown`)."""
    for leg in (leg for journey in answer.journeys for leg in journey.legs):
        chassis = rows.get(Chassis, leg.chassis)
        for stage in leg.trace.stages if chassis else ():
            first = stage.hops[0]
            bridge = chassis.bridge if chassis else ""
            command = ("ofproto/trace-packet-out", bridge, str(first.packet), f"resubmit(,{first.table.number})")
            yield {"chassis": leg.chassis, "bridge": bridge, "command": command, **shown(stage)}


def shown(stage: Translation) -> dict[str, Any]:
    """What Open vSwitch should show of a stage, for machines.

    `visits` are tables, each with the priority of the flow that is met (null is a miss), `outputs` as `output:5` and
    `IN_PORT`, `effects` the other ones, with hexadecimal numbers; `packet` is what it is at last, `length` that of its
    frame. `buckets` are those taken, by group, where not all of them are; another one may be taken in fact, by hash or
    because a gateway is dead. Where several rules admit alike (`alike`), registers and the label may name another one.
    """
    groups = [hop for hop in stage.hops if isinstance(hop.met, Group)]
    return {
        "visits": [
            (hop.table.number, hop.met and hop.met.priority) for hop in stage.hops if not isinstance(hop.met, Group)
        ],
        "outputs": [*_outputs(stage.effects)],
        "effects": [[kind, *map(hex, numbers)] for kind, numbers in effects(stage.effects)],
        "packet": str(last(stage)),
        "length": stage.packet.length,
        "buckets": {
            str(hop.met.id): hop.buckets[0]
            for hop in groups
            if isinstance(hop.met, Group) and hop.buckets and (hop.met.kind.chooses or hop.met.kind.fails_over)
        },
        "alike": any(hop.others for hop in stage.hops),
    }


def last(stage: Translation) -> Packet:
    """What Open vSwitch prints at the end: of a packet that was measured, and in no group before, what came to that."""
    for hop in stage.hops:
        if isinstance(hop.met, Group):
            break
        if hop.met is not None and any(isinstance(action, Measure) for action in hop.met.actions):
            return hop.packet
    return stage.packet


def _outputs(found: Iterable[Effect]) -> Iterator[str]:
    for effect in found:
        match effect:
            case End(fate=Fate.SENT, port=port):
                yield f"output:{port}"
            case End(fate=Fate.ANSWERED):
                yield "IN_PORT"


def effects(found: Iterable[Effect]) -> Iterator[Told]:
    """What becomes of a packet that does not leave by a port."""
    for effect in found:
        match effect:
            case End(fate=Fate.PUNTED):
                yield "punt", (TRAP_BYTES,)
            case Tracked(packet, zone, _, Translate() as how):
                _, label = _remembered(packet, how.writes)
                nat = re.search(r"\bnat(\(.*?\))?", str(how))
                yield nat[0] if nat else "", (zone, *label)
            case Tracked(_, zone, _):
                yield "track", (zone,)
            case End():
                pass
            case _:
                mark, label = _remembered(effect.packet, effect.writes)
                yield "commit", (effect.zone, *mark, *label)


def _remembered(packet: Packet, writes: Iterable[Set | Move]) -> tuple[tuple[int, int], tuple[int, int]]:
    """What is written to the mark and the label of a connection, each with its mask."""
    made, written = packet.written(writes), Packet({})
    for write in writes:
        target = write.target if isinstance(write, Move) else write.field
        written = written.put(target, target.full)
    mark, label = ((made.whole(at) & written.whole(at), written.whole(at)) for at in ("ct_mark", "ct_label"))
    return mark, label
