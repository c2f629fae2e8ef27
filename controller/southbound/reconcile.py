"""What to send to a switch so that it holds what it should: only the differences, in an order that is always safe.

Compared are bytes: the encoder writes what Open vSwitch reads back, so a flow altered by hand is seen although its
cookie stayed. A changed flow is added again, not modified: OFPFC_MODIFY would keep the old cookie (OpenFlow 1.4.1
section 6.4). Entries of others (another owner byte, another class of group ids) are kept, unless they are to be removed
too; one whose very key we need is replaced, and the plan says so. An entry that cannot be encoded is refused here; the
others go on.

Pure: values in, values out. Sending them is `switch`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final, TypeAlias

from controller.errors import FlowError, Oversized
from controller.flows.action import Conjunction
from controller.flows.flow import Entry, Flow, FlowKey, GroupKey, Key
from controller.flows.match import match_text
from controller.flows.pipeline import CLASSIFY, GROUP_KINDS, OWNER, PROBE_COOKIE
from controller.model.records import Address
from controller.southbound import openflow
from controller.southbound.messages import bundle_add
from controller.southbound.openflow import EncodedFlow, EncodedGroup, encode_flow, encode_group
from controller.southbound.oxm import encode_match
from controller.southbound.paths import leading

WireKey: TypeAlias = tuple[int, int, bytes]
"""Table, priority and match of a flow that is known from a dump alone."""

PART: Final = 10_000
"""How many messages one bundle of a first programming may hold: about 0.2 s in which a switch does nothing else."""

_OWN_CLASSES: Final = frozenset(kind.base >> 28 for kind in GROUP_KINDS)


def own_flow(flow: EncodedFlow) -> bool:
    """Does its cookie say that we put it there?"""
    return flow.cookie >> 56 == OWNER


def passing(cookie: int) -> bool:
    """Is it of a flow that catches a probe (`probes`)? It is neither ours nor somebody else's, and gone in seconds."""
    return cookie & ~0xFF == PROBE_COOKIE


def own_group(group: EncodedGroup) -> bool:
    """Is it ours?"""
    return own_group_id(group.id)


def own_group_id(id: int) -> bool:
    """Is the id of a group of a class that only we give out? Groups have no cookie."""
    return id >> 28 in _OWN_CLASSES


def wanted_at(keys: Set[WireKey], desired: Iterable[Entry]) -> bool:
    """Is there a flow among `desired` that has one of these keys?"""
    places = {key[:2] for key in keys}
    return any(
        isinstance(encoded := _encoded(entry)[0], EncodedFlow) and encoded.key in keys
        for entry in desired
        if isinstance(entry.item, Flow) and (entry.item.table.number, entry.item.priority) in places
    )


@dataclass(frozen=True, slots=True)
class Installed:
    """What a dump showed: flows by key, groups by id, ours and others'."""

    flows: Mapping[WireKey, EncodedFlow]
    groups: Mapping[int, EncodedGroup]

    @property
    def foreign(self) -> tuple[EncodedFlow, ...]:
        """The flows that are not ours."""
        return tuple(flow for flow in self.flows.values() if not own_flow(flow))

    @property
    def dark(self) -> bool:
        """Does no flow of ours let a frame into the pipeline?"""
        return not any(key[0] == CLASSIFY.number and own_flow(flow) for key, flow in self.flows.items())

    @property
    def foreign_groups(self) -> tuple[EncodedGroup, ...]:
        """The groups that are not ours."""
        return tuple(group for group in self.groups.values() if not own_group(group))


# ---- one message each -----------------------------------------------------------------------------------------


def _wire() -> bytes:
    """Of a step that several switches are told: the message in a bundle, whose numbers each gets its own of."""
    return field(default=b"", init=False, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class PutGroup:
    """Make a group what `entry` says, whether it is there or not."""

    entry: Entry
    group: EncodedGroup
    wire: bytes = _wire()

    @property
    def key(self) -> Key:
        return self.entry.key

    @property
    def rank(self) -> int:
        return -257 - self.group.id

    @property
    def text(self) -> str:
        return str(self.entry.item)

    def message(self, xid: int) -> bytes:
        return openflow.group_put(xid, self.group)


@dataclass(frozen=True, slots=True)
class AddFlow:
    """Add the flow of `entry`, in the place of one with its key."""

    entry: Entry
    flow: EncodedFlow
    wire: bytes = _wire()

    @property
    def key(self) -> Key:
        return self.entry.key

    @property
    def rank(self) -> int:
        return -1 - self.flow.table

    @property
    def text(self) -> str:
        return str(self.entry.item)

    def message(self, xid: int) -> bytes:
        return openflow.flow_add(xid, self.flow)


@dataclass(frozen=True, slots=True)
class RemoveFlow:
    """Remove the one flow with this key: an entry's, or only a dump's."""

    key: FlowKey | WireKey
    match: bytes
    wire: bytes = _wire()

    @property
    def rank(self) -> int:
        return self.key[0]

    @property
    def text(self) -> str:
        table, priority, match = self.key
        tests = f"match={match.hex()}" if isinstance(match, bytes) else match_text(match)
        return f"removal of table={table},priority={priority}{',' if tests else ''}{tests}"

    def message(self, xid: int) -> bytes:
        return openflow.flow_delete(xid, self.key[0], self.key[1], self.match)


@dataclass(frozen=True, slots=True)
class RemoveGroup:
    """Remove a group."""

    key: GroupKey
    wire: bytes = _wire()

    @property
    def rank(self) -> int:
        return 256 + self.key[1]

    @property
    def text(self) -> str:
        return f"removal of group_id={self.key[1]}"

    def message(self, xid: int) -> bytes:
        return openflow.group_delete(xid, self.key[1])


Step: TypeAlias = PutGroup | AddFlow | RemoveFlow | RemoveGroup
"""One message: `key` and `text` name what it is about, `rank` is its place (see `order`), `message(xid)` its bytes."""


def bundled(step: Step) -> bytes:
    """The message in a bundle, without its numbers (see `messages.bundle_adds`)."""
    return step.wire or bundle_add(0, 0, step.message(0))


@dataclass(frozen=True, slots=True)
class Refusal:
    """An entry that a switch does not hold as it should, and why.

    `type` and `code` are the switch's (OpenFlow 1.4.1 section 7.5.4), or None when nothing could be sent.
    """

    key: Key | WireKey
    what: str
    error: str
    type: int | None = None
    code: int | None = None


# ---- plans ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send, in order.

    `refusals` are entries that cannot be encoded, `replaced` foreign flows whose key is ours. `dark`: no flow of ours
    lets a frame into the pipeline yet, so that only this plan may be applied piece by piece.
    """

    steps: tuple[Step, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    replaced: tuple[EncodedFlow, ...] = ()
    dark: bool = False

    def parts(self, limit: int = PART) -> Iterator[tuple[Step, ...]]:
        """The bundles of this plan: one; or, of a long first programming, several, with CLASSIFY in the last."""
        ready = 0
        if self.dark and len(self.steps) > limit:
            ready = next((at for at, step in enumerate(self.steps) if _opens(step)), len(self.steps))
            for start in range(0, ready, limit):
                yield self.steps[start : min(start + limit, ready)]
        if ready < len(self.steps):
            yield self.steps[ready:]


def _opens(step: Step) -> bool:
    """Is this the first of the steps that belong together: CLASSIFY, and what is removed afterwards?"""
    if isinstance(step, AddFlow):
        return step.flow.table == CLASSIFY.number
    return not isinstance(step, PutGroup)


def order(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Whoever is pointed to exists before whoever points: no prefix of this sends a frame where nothing awaits it.

    First come groups, from the highest class, `pipeline.PART`, which groups point to: who points to a group needs it
    to be there, and modifying one in use is fine. Then flows, from the last table to the first: who receives is ready
    before who sends, and CLASSIFY, which lets frames in, is last. Flows are removed in reverse: nobody is let in, then
    nobody is sent on, then the receivers go. At the end go groups: one takes the flows that point to it along (section
    6.7), and by now none of ours does.
    """
    return tuple(sorted(steps, key=_rank))


_rank = attrgetter("rank")


class Comparison:
    """Works out, a slice at a time, what makes what is desired of `installed`; others' entries are kept or removed."""

    def __init__(self, installed: Installed, *, keep_foreign: bool = True) -> None:
        self._installed, self._keep_foreign = installed, keep_foreign
        self._stale, self._stale_groups = dict(installed.flows), dict(installed.groups)
        self._puts: list[PutGroup] = []
        self._adds: list[AddFlow] = []
        self._refusals: list[Refusal] = []
        self._replaced: list[EncodedFlow] = []

    def take(self, desired: Iterable[Entry]) -> None:
        """Compare some of what is desired."""
        for entry in desired:
            encoded, refusal = _encoded(entry)
            if refusal is not None:
                self._refusals.append(refusal)
            match encoded:
                case EncodedFlow() as flow:
                    found = self._stale.pop(flow.key, None)
                    if found != flow:
                        self._adds.append(AddFlow(entry, flow))
                        if found is not None and not own_flow(found):
                            self._replaced.append(found)
                case EncodedGroup() as group:
                    if self._stale_groups.pop(group.id, None) != group:
                        self._puts.append(PutGroup(entry, group))

    def plan(self) -> Plan:
        """What to send, once all that is desired was taken."""
        removed = (
            RemoveFlow(key, flow.match) for key, flow in self._stale.items() if not self._keep_foreign or own_flow(flow)
        )
        removed_groups = (
            RemoveGroup(("group", id))
            for id, group in self._stale_groups.items()
            if not self._keep_foreign or own_group(group)
        )
        steps = order((*self._puts, *self._adds, *removed, *removed_groups))
        return Plan(steps, tuple(self._refusals), tuple(self._replaced), self._installed.dark)

    def additions(self) -> Plan:
        """What to send so that all that was taken stands; whatever else there is stays as it is."""
        return Plan(order((*self._puts, *self._adds)), tuple(self._refusals), tuple(self._replaced))


def full(desired: Iterable[Entry], installed: Installed, *, keep_foreign: bool = True) -> Plan:
    """What makes `desired` of `installed`, others' entries kept or removed."""
    comparison = Comparison(installed, keep_foreign=keep_foreign)
    comparison.take(desired)
    return comparison.plan()


@dataclass(slots=True, eq=False)
class Pending:
    """What is to become of one key, on all switches that are to be told so; None removes what is there.

    It is encoded when the first of them is told, and never if none is. `leads` are the tunnel endpoints that it then
    sends to.
    """

    key: Key
    entry: Entry | None
    leads: tuple[Address, ...] = ()
    _steps: tuple[Step, ...] | None = None
    _refusal: Refusal | None = None

    def steps(self) -> tuple[tuple[Step, ...], Refusal | None]:
        """The one step that brings it about, or none, and what was refused."""
        if self._steps is None:
            step, self._refusal = _brought_about(self.key, self.entry)
            if step is not None:
                object.__setattr__(step, "wire", bundled(step))
            self._steps = () if step is None else (step,)
            self.leads = tuple(dict.fromkeys(leading([self.entry.item]))) if self.entry else ()
        return self._steps, self._refusal


def _brought_about(key: Key, entry: Entry | None) -> tuple[Step | None, Refusal | None]:
    refusal: Refusal | None = None
    if entry is not None:
        encoded, refusal = _encoded(entry)
        match encoded:
            case EncodedFlow() as flow:
                return AddFlow(entry, flow), refusal
            case EncodedGroup() as group:
                return PutGroup(entry, group), refusal
    return (RemoveGroup(key) if len(key) == 2 else _removal(key)), refusal


def brought(pending: Iterable[Pending]) -> Plan:
    """What brings this about on a switch that held what it should."""
    steps: list[Step] = []
    refusals: list[Refusal] = []
    for each in pending:
        some, refusal = each.steps()
        steps += some
        if refusal is not None:
            refusals.append(refusal)
    return Plan(order(steps), tuple(refusals))


def partial(changes: Mapping[Key, Entry | None]) -> Plan:
    """What brings about `changes` on a switch that held what it should: None removes."""
    return brought(Pending(key, entry) for key, entry in changes.items())


def _encoded(entry: Entry) -> tuple[EncodedFlow | EncodedGroup | None, Refusal | None]:
    """The bytes of an entry, and what was refused. One that cannot be encoded is not wanted either: better nothing than
    half. But the shares of a conjunctive flow are of many tenants, and each stands for itself: as many are sent as fit.
    """
    item = entry.item
    try:
        return (encode_flow(item, entry.app) if isinstance(item, Flow) else encode_group(item)), None
    except Oversized as error:
        refusal = Refusal(entry.key, str(item), str(error))
        if not isinstance(item, Flow) or not all(isinstance(action, Conjunction) for action in item.actions):
            return None, refusal
        fitting = Flow(item.table, item.reason, item.match, item.actions[: error.fit])
        return encode_flow(fitting, entry.app), refusal
    except FlowError as error:
        return None, Refusal(entry.key, str(item), str(error))


def _removal(key: FlowKey) -> RemoveFlow | None:
    """The step that removes a flow, unless its match cannot be encoded: then no switch holds it."""
    try:
        return RemoveFlow(key, encode_match(key[2]))
    except FlowError:
        return None
