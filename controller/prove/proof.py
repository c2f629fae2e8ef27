"""A proof as a whole: from what switches hold and what the model says to what is proven, or the packets against it.

    answer = prove(Claim(rows, held))

Isolation, anti-spoofing, no loop and no hole are about everything that anybody could send; that what the model wants is
what arrives, about first packets of connections between guests (`intent`).
"""

from __future__ import annotations

import gc
import os
import pickle
import resource
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NoReturn

from controller.model.records import Network, Record
from controller.model.store import Model
from controller.prove.claims import Suspicion, reaching, suspicions
from controller.prove.cloud import Cloud, Held, Origin, Survey
from controller.prove.intent import Intent
from controller.prove.promise import Promise
from controller.prove.sets import Set, Unforeseen
from controller.prove.witness import Witness, witness

TOLD: Final = 200
"""So many violations are told, each with a packet."""
WORTH_SHARING: Final = 100
"""From so many senders on the work is shared among processes."""
AT_ONCE: Final = 100
"""So many senders, or one crowd of more, are followed in variables of their own."""
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
    at_once: int = AT_ONCE


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
    meets.

    `ofport` is that of the sender, `end` that on `chassis` by which it leaves, or should; `values`, `rounds`,
    `reached` and `marked` are a `Witness`'s, `how` is a `Suspicion`'s.
    """

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
    ofport: int
    end: int | None
    values: Mapping[str, int]
    rounds: bool | None
    reached: tuple[str, ...]
    marked: bool
    how: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What is against the claims, of `count` in all; what could not be told; and what it took.

    `unjudged` says about what `missing` and `excess` ask nothing here, and of how many objects.
    """

    violations: tuple[Violation, ...]
    count: int
    notes: tuple[str, ...]
    seconds: float
    peak_bytes: int
    flows: int
    senders: int
    chassis: tuple[str, ...] = field(default=())
    unjudged: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Share:
    """What one process found about some crowds."""

    violations: tuple[Violation, ...]
    count: int
    notes: tuple[str, ...]
    peak_bytes: int
    unjudged: tuple[tuple[str, str], ...]


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
        unjudged=Counter(sorted(why for why, _ in {each for share in shares for each in share.unjudged})),
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
    gc.disable()  # of all that is made here little is in circles, and nothing lasts
    try:
        with open(writer, "wb") as pipe:
            pipe.write(pickle.dumps(_share(question, cloud, crowds)))
        code = 0
    finally:
        os._exit(code)


def _share(question: Question, cloud: Cloud, crowds: Sequence[str]) -> _Share:
    """What is found of some crowds: of as many at once as are worth variables of their own."""
    shown: list[Violation] = []
    notes: dict[str, None] = {}
    unjudged: dict[tuple[str, str], None] = {}
    count = 0
    for batch in _batches(cloud, crowds, question.at_once):
        part, survey, found = _followed(question, cloud, batch, unjudged)
        notes.update(survey.notes)
        for against in found[: TOLD - len(shown)]:
            shown.append(_shown(against, survey, part, followed=len(shown) < question.followed))
        count += len(found)
    return _Share(tuple(shown), count, tuple(notes), _peak_bytes(), tuple(unjudged))


def _batches(cloud: Cloud, crowds: Sequence[str], most: int) -> Iterator[list[str]]:
    """Crowds together, of so many senders at the most, or one of more."""
    sizes = Counter(origin.crowd for origin in cloud.origins)
    batch: list[str] = []
    for crowd in crowds:
        if batch and sizes[crowd] + sum(sizes[each] for each in batch) > most:
            yield batch
            batch = []
        batch.append(crowd)
    if batch:
        yield batch


def _followed(
    question: Question, cloud: Cloud, crowds: Sequence[str], unjudged: dict[tuple[str, str], None]
) -> tuple[Cloud, Survey, list[Suspicion]]:
    """What becomes of what some crowds send, and what is against that; what is not judged is added."""
    more: dict[str, set[int]] = {}
    while True:
        part = cloud.focused(crowds, more)
        try:
            promise = Promise(part)
            part.stand_for(_told_apart(question, part, promise))
            survey = part.survey(crowds=crowds)
            return part, survey, [*_against(question, part, promise, survey, crowds, unjudged)]
        except Unforeseen as lacking:
            more.setdefault(lacking.sort, set()).update(lacking.numbers)


def _told_apart(question: Question, cloud: Cloud, promise: Promise) -> Iterator[Set]:
    """What is asked of packets as they were sent."""
    if question.reaches:
        yield cloud.senders(_only(question, cloud))
        return
    yield promise.forged
    yield from (promise.allowed(network.id) for network in cloud.rows.all(Network))


def _only(question: Question, cloud: Cloud) -> list[Origin]:
    ids = (question.reaches, *question.only)
    return [cloud.by_port[id] for id in ids if id in cloud.by_port]


def _against(
    question: Question,
    cloud: Cloud,
    promise: Promise,
    survey: Survey,
    crowds: Sequence[str],
    unjudged: dict[tuple[str, str], None],
) -> Iterator[Suspicion]:
    if question.reaches:
        yield from reaching(cloud, survey, cloud.by_port[question.reaches], _only(question, cloud))
        return
    yield from suspicions(cloud, promise, survey)
    intent = Intent(cloud, promise)
    yield from intent.compared(survey, crowds)
    unjudged.update(dict.fromkeys(intent.unjudged))


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _shown(against: Suspicion, survey: Survey, cloud: Cloud, *, followed: bool) -> Violation:
    """With a packet; if only stand-ins send what is against it, one that is followed to where it should not be, if any
    of those is that somebody may have sent for them."""
    tried = [replace(against, packets=each) for each in cloud.sent_for(against.packets, survey)]
    for each in tried if followed else ():
        told = _plausible(each, survey.left, cloud)
        found = witness(cloud, told)
        if found.way or len(tried) == 1:
            return _violation(cloud, told, found)
    told = _plausible(tried[0], survey.left, cloud)
    return _violation(cloud, told, witness(cloud, told, followed=followed))


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
        ofport=found.sender.ofport,
        end=against.end,
        values=found.values,
        rounds=found.rounds,
        reached=found.reached,
        marked=found.marked,
        how=against.how,
    )
