"""A proof as a whole: from what switches hold and what the model says to what is proven, or the packets against it.

    answer = prove(Claim(rows, held))

Isolation, anti-spoofing, no loop and no hole are about everything that anybody could send; that what the model wants is
what arrives, about first packets of connections between guests (`intent`).
"""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from controller.model.records import Record
from controller.model.store import Model
from controller.prove.claims import Suspicion, reaching, suspicions
from controller.prove.cloud import Cloud, Held
from controller.prove.intent import Intent
from controller.prove.promise import Promise
from controller.prove.sets import Set
from controller.prove.witness import Witness, witness

TOLD: Final = 200
"""So many violations are told, each with a packet."""
FOLLOWED: Final = 20
"""For so many of them the packet's way is worked out."""


@dataclass(frozen=True, slots=True)
class Question:
    """A model, what switches hold, and what is asked: everything, or who reaches a port beside `only` these."""

    records: Sequence[Record]
    held: Mapping[str, Held]
    reaches: str = ""
    only: tuple[str, ...] = ()
    followed: int = FOLLOWED


@dataclass(frozen=True, slots=True)
class Met:
    """A flow that a packet meets."""

    chassis: str
    table: int
    flow: str
    cookie: int | None


@dataclass(frozen=True, slots=True)
class Violation:
    """What is against a claim: a packet, its sender, who gets it (ids of ports, "" of others), and the flows it
    meets."""

    claim: str
    sentence: str
    chassis: str
    sender: str
    sender_port: str
    sender_network: str
    sender_chassis: str
    receiver_port: str
    receiver_network: str
    packet: str
    way: tuple[Met, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What is against the claims, of `count` in all; what could not be told; and what it took."""

    violations: tuple[Violation, ...]
    count: int
    notes: tuple[str, ...]
    seconds: float
    peak_bytes: int
    flows: int
    senders: int
    chassis: tuple[str, ...] = field(default=())


def prove(question: Question) -> Answer:
    """Prove, or find what is against it. Raises BadDump, NotFound."""
    began = time.perf_counter()
    rows = Model(0, question.records)
    cloud = Cloud(rows, question.held)
    survey = cloud.survey()
    if question.reaches:
        target = cloud.by_port[question.reaches]
        senders = [cloud.by_port[id] for id in question.only if id in cloud.by_port]
        found = list(reaching(cloud, survey, target, [target, *senders]))
    else:
        promise = Promise(cloud)
        found = [*suspicions(cloud, promise, survey), *Intent(cloud, promise).compared(survey)]
    left = [*survey.left.values()]
    found = [_plausible(each, left, cloud) for each in found[:TOLD]] + found[TOLD:]
    shown = [
        _violation(cloud, each, witness(cloud, each, followed=place < question.followed))
        for place, each in enumerate(found[:TOLD])
    ]
    return Answer(
        violations=tuple(shown),
        count=len(found),
        notes=tuple(survey.notes),
        seconds=time.perf_counter() - began,
        peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        flows=sum(len(held.flows) for held in question.held.values()),
        senders=len(cloud.origins),
        chassis=tuple(cloud.hosts),
    )


def _plausible(against: Suspicion, left: Sequence[Set], cloud: Cloud) -> Suspicion:
    """The same of packets that somebody sent indeed, for all that is known: whose MAC address is the sender's."""
    for sent in left:
        if (packets := against.packets & sent) != cloud.space.nothing:
            return replace(against, packets=packets)
    return against


def _violation(cloud: Cloud, against: Suspicion, found: Witness) -> Violation:
    receiver = against.receiver
    return Violation(
        claim=against.claim,
        sentence=against.sentence,
        chassis=against.chassis,
        sender=found.sender.words,
        sender_port=found.sender.port_id,
        sender_network=found.sender.network_id,
        sender_chassis=found.sender.chassis,
        receiver_port=receiver.port_id if receiver else "",
        receiver_network=receiver.network_id if receiver else "",
        packet=found.fields,
        way=tuple(Met(step.chassis, step.rule.table, step.rule.line, step.rule.cookie) for step in found.way),
    )
