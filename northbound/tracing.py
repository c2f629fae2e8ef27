"""One packet through the flows that hypervisors should hold, told in logical words, to its fate.

    answer = trace(rows, switch, Question(sender="vm1", target="10.0.0.2"))

First the sender asks for the MAC that it needs, and a switch answers or does not; then it sends. The packet is the
first of its connection: conntrack knows nothing of it. What switches hold in fact may differ (`weft diff`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from controller.flows.fields import ETH_DST, ETH_SRC
from controller.flows.journey import Journey, follow, hosts
from controller.flows.trace import End, Fate, Switch
from controller.model.store import Rows
from northbound.narration import Step, narrate
from northbound.sending import Question, check_size, message, request, sender_of, way_of

UNSENT: Final = ("NO_GATEWAY", "was for an address on none of the sender's subnets, and none of them has a gateway")
ASTRAY: Final = ("NO_TUNNEL_END", "went into a tunnel of which no hypervisor of this cloud has the other end")
"""Why a packet ends that no switch drops: a name and a sentence, as those of `Why`."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a packet, step by step; `reason` and `sentence` say why it was dropped, else both are empty."""

    steps: tuple[Step, ...]
    reason: str = ""
    sentence: str = ""

    @property
    def delivered(self) -> bool:
        """Did it arrive, or was it answered by a router?"""
        return not self.reason

    @property
    def chassis(self) -> tuple[str, ...]:
        """The hypervisors it came to, in order."""
        return tuple(dict.fromkeys(step.chassis for step in self.steps))


def trace(rows: Rows, switch: Callable[[str], Switch], asked: Question) -> Answer:
    """What becomes of a packet; `switch` is what a hypervisor's should be.

    Raises BadRequest, NotFound, Ambiguous, Unplugged.
    """
    sender = sender_of(rows, asked.sender)
    way = way_of(rows, sender.port, asked)
    check_size(rows, sender.port, asked)
    sent = message(sender, way, asked)
    if way.neighbour is None:
        return Answer((), *UNSENT)
    question = follow(hosts(rows, switch), sender.chassis, request(sender, way, way.neighbour))
    steps = [*narrate(rows, question)]
    answer = next((end for end in _ends(question) if end.fate is Fate.ANSWERED), None)
    if answer is None:
        return Answer(tuple(steps), *_reason(question))
    journey = follow(hosts(rows, switch), sender.chassis, sent.put(ETH_DST, answer.packet[ETH_SRC]))
    steps += narrate(rows, journey)
    if journey.arrivals:
        return Answer(tuple(steps))
    return Answer(tuple(steps), *_reason(journey))


def _ends(journey: Journey) -> Iterator[End]:
    return (end for leg in journey.legs for end in leg.trace.ends)


def _reason(journey: Journey) -> tuple[str, str]:
    """Why nothing of a packet arrived: a packet to one receiver ends once."""
    if any(end.fate is Fate.LOST for end in journey.lost):
        return ASTRAY
    end = next((end for end in _ends(journey) if end.fate is not Fate.SENT), None) or journey.lost[0]
    return (end.why.name, end.why.sentence) if end.why else (end.fate.name, end.fate.value)


def as_json(answer: Answer) -> dict[str, Any]:
    """The answer for machines; a delivered packet has neither reason nor sentence."""
    return {
        "fate": "delivered" if answer.delivered else "dropped",
        "reason": answer.reason or None,
        "sentence": answer.sentence or None,
        "hops": [{"chassis": step.chassis, "table": step.table, "words": step.words} for step in answer.steps],
    }


def text(answer: Mapping[str, Any]) -> Iterator[str]:
    """A line a hop, one for each hypervisor that may not hold all this yet, and at last the fate."""
    width = max((len(hop["chassis"]) for hop in answer["hops"]), default=0)
    for hop in answer["hops"]:
        yield f"{hop['chassis']:<{width}} {hop['table']:<16} {hop['words']}"
    for name, state in answer.get("behind", {}).items():
        yield f"{name} may not hold all of this: {state}"
    yield "delivered" if answer["fate"] == "delivered" else f"dropped: {answer['reason']} {answer['sentence']}"
