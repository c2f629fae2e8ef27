"""A proof as a whole: from what switches hold and what the model says to what is proven, or the packets against it.

    answer = prove(Claim(rows, held))

Isolation, anti-spoofing, no loop and no hole are about everything that anybody could send; that what the model wants is
what arrives, about first packets of connections between guests (`intent`).
"""

from __future__ import annotations

import os
import pickle
import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NoReturn

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
WORTH_SHARING: Final = 100
"""From so many senders on the work is shared among processes."""
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


@dataclass(frozen=True, slots=True)
class _Share:
    """What one process found about some crowds."""

    violations: tuple[Violation, ...]
    count: int
    notes: tuple[str, ...]
    peak_bytes: int


def prove(question: Question) -> Answer:
    """Prove, or find what is against it. Raises BadDump."""
    began = time.perf_counter()
    cloud = Cloud(Model(0, question.records), question.held)
    crowds = sorted({origin.crowd for origin in cloud.origins})
    shares = _shared(question, cloud, crowds)
    return Answer(
        violations=tuple(each for share in shares for each in share.violations)[:TOLD],
        count=sum(share.count for share in shares),
        notes=tuple(dict.fromkeys(note for share in shares for note in share.notes)),
        seconds=time.perf_counter() - began,
        peak_bytes=_peak_bytes() + sum(share.peak_bytes for share in shares),
        flows=sum(len(held.flows) for held in question.held.values()),
        senders=len(cloud.origins),
        chassis=tuple(cloud.hosts),
    )


def _shared(question: Question, cloud: Cloud, crowds: Sequence[str]) -> list[_Share]:
    """What is found, by as many processes as there are processors, if it is worth it: crowds hang on nothing of each
    other's."""
    workers = min(len(crowds), os.cpu_count() or 1)
    if len(cloud.origins) < WORTH_SHARING or workers < 2:
        return [_share(question, cloud, crowds)]
    children = []
    for number in range(workers):
        reader, writer = os.pipe()
        if (child := os.fork()) == 0:
            _tell(writer, question, cloud, crowds[number::workers])
        os.close(writer)
        children.append((child, reader))
    found = []
    for child, reader in children:
        with open(reader, "rb") as pipe:
            content = pipe.read()
        os.waitpid(child, 0)
        found.append(pickle.loads(content))
    return found


def _tell(writer: int, question: Question, cloud: Cloud, crowds: Sequence[str]) -> NoReturn:
    """A share of the work, in a process that ends with it."""
    code = 1
    try:
        with open(writer, "wb") as pipe:
            pipe.write(pickle.dumps(_share(question, cloud, crowds)))
        code = 0
    finally:
        os._exit(code)


def _share(question: Question, cloud: Cloud, crowds: Sequence[str]) -> _Share:
    survey = cloud.survey(crowds=frozenset(crowds))
    if question.reaches:
        target = cloud.by_port[question.reaches]
        senders = [cloud.by_port[id] for id in question.only if id in cloud.by_port]
        found = [*reaching(cloud, survey, target, [target, *senders])]
    else:
        promise = Promise(cloud)
        compared = Intent(cloud, promise).compared(survey, frozenset(crowds))
        found = [*suspicions(cloud, promise, survey), *compared]
    left = [*survey.left.values()]
    told = [_plausible(each, left, cloud) for each in found[:TOLD]]
    shown = [
        _violation(cloud, each, witness(cloud, each, followed=place < question.followed))
        for place, each in enumerate(told)
    ]
    return _Share(tuple(shown), len(found), tuple(survey.notes), _peak_bytes())


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


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
