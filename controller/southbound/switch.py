"""One switch on one OpenFlow 1.4 connection: greeting, liveness, ports, dumps, changes that happen whole or not, and
what others change.

A connection ends for one reason, and everybody who waits on it is told that reason: `Disconnected` when the peer is
silent or does not read, `Malformed` when it breaks the protocol. Others are not affected. A plan is applied by bundles
(`bundles`); what others change is noticed (`watch`):

    watch ─> dump ─> FLOW_UPDATE..., REQUESTFORWARD... ─> 0.2 s ─> one Tampering, and no other until it is dealt with

Limits: no TLS, no auxiliary connections, no roles. What should be
on a switch, and which hypervisor it belongs to, is `fleet`'s. Sections are those of the OpenFlow 1.4.1 specification.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import sub
from typing import Final, NoReturn, TypeAlias, cast

from controller.errors import Disconnected, Malformed, Rejected
from controller.flows.action import Action, Output
from controller.flows.punted import Outgoing, Reply, Resumed, Said
from controller.southbound import messages as of
from controller.southbound.actions import encode_actions
from controller.southbound.bundles import Bundles
from controller.southbound.complaints import Complaints
from controller.southbound.counts import EVERY_TABLE, Count, counts_request, skim_counts
from controller.southbound.dumps import Dump
from controller.southbound.endings import let_go
from controller.southbound.openflow import (
    EncodedFlow,
    EncodedGroup,
    flow_dump_request,
    group_desc_request,
    skim_flows,
    skim_groups,
)
from controller.southbound.patience import Clock, Deadline
from controller.southbound.questions import Part, Question
from controller.southbound.reconcile import (
    AddFlow,
    Installed,
    Plan,
    Refusal,
    RemoveFlow,
    Step,
    WireKey,
    own_flow,
    passing,
)
from controller.southbound.watch import Tampering, Watch

log = logging.getLogger(__name__)

BACKLOG: Final = 4096
"""How many connections may wait to be accepted: when the controller is back, so are all switches at once."""
READ_BYTES: Final = 64 << 10
"""After this much input every other task gets its turn."""
HIGH_WATER_BYTES: Final = 1 << 20
"""Modifications wait while this much is unsent."""
CHOKED_BYTES: Final = 4 << 20
"""Nobody waits to answer an echo; but a switch that leaves this much unread is given up."""
ANSWER_BYTES: Final = 256 << 20
"""No multipart reply may be longer: a dump of about a million flows."""

SETTLE_S: Final = 0.2
"""How long others' changes are gathered, from the first on, before they are reported: most come in bursts."""
_MONITOR: Final = 1
_NONE: Final = -1
"""The type of the answer to what is only answered by an error, if at all: the barrier after it says that it is done."""
COPIES: Final = 2000
"""How many copies one message asks for: an OpenFlow message of 64 KiB holds some 4,000 beside a frame."""
PROBE_S: Final = 2.0
"""How long a connection has to prove that it is alive when another one claims to be its switch."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long to wait, in seconds of a `Clock`.

    `handshake_s`: from the connection to the features. `echo_s`: silence before an echo request. `dead_s`: silence, or
    no byte taken, before the end. `answer_s`: for one answer, or one part of a long one, of a switch that is alive.
    """

    handshake_s: float = 10.0
    echo_s: float = 5.0
    dead_s: float = 15.0
    answer_s: float = 60.0


@dataclass(slots=True)
class Counters:
    """What one connection did. `flow_mods` and `group_mods` are committed ones; `mods_bytes` were sent for any."""

    flow_mods: int = 0
    group_mods: int = 0
    bundles: int = 0
    mods_bytes: int = 0
    bytes_sent: int = 0
    errors: int = 0
    dumps: int = 0

    @property
    def modifications(self) -> tuple[int, int, int, int]:
        """Those of them that `Applied` tells, too."""
        return self.flow_mods, self.group_mods, self.bundles, self.mods_bytes


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a plan that the switch has acknowledged by barrier."""

    refusals: tuple[Refusal, ...] = ()
    flow_mods: int = 0
    group_mods: int = 0
    bundles: int = 0
    mods_bytes: int = 0


Ended: TypeAlias = Disconnected | Malformed | Rejected
"""Why a connection is over."""
PortsReport: TypeAlias = Callable[[Mapping[str, int]], Awaitable[None]]


TamperingReport: TypeAlias = Callable[[Tampering], Awaitable[None]]
Attend: TypeAlias = "Callable[[Switch], Awaitable[None]]"


class Switch:
    """One connected switch. Its methods raise Disconnected or Malformed once the connection is over."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timing: Timing, clock: Clock
    ) -> None:
        self.peer = _address(writer.get_extra_info("peername"))
        self.timing, self._clock = timing, clock
        self.counters = Counters()
        self.complaints = Complaints()
        self.datapath_id = 0
        self._reader, self._writer = reader, writer
        self._input = bytearray()
        self._heard = clock.now
        self._version: int | None = None
        self._xid = 1
        self._questions: dict[int, Question] = {}
        self._bundles = Bundles()
        self._applying = asyncio.Lock()
        self._ports: dict[int, str] | None = None
        self._ports_changed = asyncio.Event()
        self._report: PortsReport | None = None
        self._watch = Watch()
        self._tampered: TamperingReport | None = None
        self._answer_packet: Callable[[of.PacketIn], Iterable[Outgoing]] | None = None
        self._ended: Ended | None = None
        writer.transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        _tune(writer)

    @property
    def name(self) -> str:
        """The switch in a sentence."""
        return f"Switch {self.datapath_id:016x} at {self.peer}" if self.datapath_id else f"Switch at {self.peer}"

    async def run(self, attend: Attend) -> None:
        """Greet the switch, then `attend` it; the connection ends with that, or that with the connection.

        Raises Disconnected, Malformed, or Rejected if `attend` leaves that to us; what else it raises comes in a group.
        """
        try:
            async with Deadline(self._clock, self.timing.handshake_s) as deadline:
                await self._greet()
                await self._converse(attend, deadline)
        except TimeoutError:
            reason = f"no handshake within {self.timing.handshake_s:g} s"
            raise self._end(Disconnected(self.name, reason)) from None
        except (Disconnected, Malformed, Rejected) as error:
            raise self._end(error) from None
        finally:
            self._end(Disconnected(self.name, "closed by the controller"))
            self._forget()

    async def _converse(self, attend: Attend, deadline: Deadline) -> None:
        try:
            await self._attended(attend, deadline)
        except BaseExceptionGroup as group:
            ended, others = group.split((Disconnected, Malformed, Rejected))
            if others is not None:
                raise
            if ended is not None:
                self._end(_first(cast("BaseExceptionGroup[Ended]", ended)))
                let_go(ended)
            let_go(group)
        if self._ended is not None:
            raise self._ended

    async def _attended(self, attend: Attend, deadline: Deadline) -> None:
        async with asyncio.TaskGroup() as tasks:
            all_chores = (self._listen, self._keep_alive, self._tell_ports, self._tell_tampering, self._tell_complaints)
            chores = [tasks.create_task(chore()) for chore in all_chores]
            body = await self._ask("the features", of.OFPT_FEATURES_REPLY, of.features_request)
            features = of.decode_features(body)
            if features.auxiliary_id:
                raise Disconnected(self.name, "auxiliary connections are not taken")
            self.datapath_id = self.complaints.datapath_id = features.datapath_id
            self._send(of.read_first_fragments(self.xid()))
            deadline.extend(None)
            await attend(self)
            for chore in chores:
                chore.cancel()

    # ---- what others ask ------------------------------------------------------------------------------------------

    def on_packets(self, answer: Callable[[of.PacketIn], Iterable[Outgoing]]) -> None:
        """Have `answer` say what is sent for each packet that the switch hands over."""
        self._answer_packet = answer

    def emit(self, outgoing: Outgoing | Said) -> None:
        """Have the switch send a packet, without waiting until it has."""
        match outgoing:
            case Reply(port, frame):
                self.treat((Output(port),), frame)
            case Resumed(in_port, actions, frame):
                self.treat(actions, frame, in_port)
            case Said(_, ports, frame):
                for at in range(0, len(ports), COPIES):
                    self.treat(map(Output, ports[at : at + COPIES]), frame)

    def treat(self, actions: Iterable[Action], frame: bytes, in_port: int = of.OFPP_CONTROLLER) -> None:
        """Have the switch do this with a frame, as if it had come by a port, without waiting until it has."""
        self._send(of.packet_out(self.xid(), encode_actions(actions), frame, in_port))

    def on_ports(self, report: PortsReport) -> None:
        """Have `report` told all ports whenever one changed, one call at a time, once `ports` has been asked."""
        self._report = report

    async def ports(self) -> dict[str, int]:
        """The OpenFlow port of every interface, by its name (section 7.3.5.7)."""
        found: dict[int, str] = {}

        def take(payload: bytes, more: bool) -> None:
            found.update((port.number, port.name) for port in of.decode_ports(payload))
            if not more:  # at once, so that a status that follows changes this and not the older one
                self._ports = found

        await self._ask("the ports", of.OFPMP_PORT_DESC, of.port_desc_request, take)
        return {name: number for number, name in found.items()}

    def on_tampered(self, report: TamperingReport) -> None:
        """Have `report` told what others do, one call at a time, once `watch` was asked to."""
        self._tampered = report

    @property
    def foreign(self) -> Mapping[WireKey, EncodedFlow]:
        """The flows that others have here, as the newest dump and the monitor since then say."""
        return self._watch.foreign

    async def watch(self) -> bool:
        """Have the switch tell what others do to it; a dump that is asked for after this misses nothing.

        Whether it can: Open vSwitch has the flow monitors of OpenFlow 1.4 since 3.0.
        """
        self._send(of.forward_group_mods(self.xid()))
        try:
            await self._ask("to watch its flows", of.OFPMP_FLOW_MONITOR, self._monitor, self._take_updates)
        except Rejected as refused:
            name = of.error_name(refused.type, refused.code)
            log.warning("switch tells no changes of others switch=%016x error=%s", self.datapath_id, name)
            return False
        return True

    def _monitor(self, xid: int) -> bytes:
        return of.flow_monitor_request(xid, _MONITOR)

    async def dump(self) -> Installed:
        """All flows and groups (sections 7.3.5.2 and 7.3.5.5)."""
        self.counters.dumps += 1
        flows: dict[WireKey, EncodedFlow] = {}
        groups: dict[int, EncodedGroup] = {}

        def take_groups(payload: bytes, _more: bool) -> None:
            groups.update((group.id, group) for group in skim_groups(payload))

        def take_flows(payload: bytes, more: bool) -> None:
            flows.update((flow.key, flow) for flow in skim_flows(payload) if not passing(flow.cookie))
            if not more:  # at once, so that an update that follows changes this and not the older one
                self._watch.foreign.clear()
                self._watch.foreign.update((key, flow) for key, flow in flows.items() if not own_flow(flow))

        asked = self.post("a dump of groups", of.OFPMP_GROUP_DESC, group_desc_request, take_groups)
        await self._ask("a dump of flows", of.OFPMP_FLOW, flow_dump_request, take_flows)
        await self.answer(asked)
        return Installed(flows, groups)

    async def counts(self, table: int = EVERY_TABLE) -> list[Count]:
        """What its flows have counted, those of others too."""
        found: list[Count] = []
        request = partial(counts_request, table=table)
        await self._ask("its counters", of.OFPMP_FLOW, request, lambda payload, _: found.extend(skim_counts(payload)))
        return found

    async def transmitted(self, port: int) -> of.Transmitted:
        """What it has sent out of a port. Raises Rejected if there is none."""
        found: dict[int, of.Transmitted] = {}
        request = partial(of.port_stats_request, port=port)
        await self._ask(
            "the counters of a port",
            of.OFPMP_PORT_STATS,
            request,
            lambda payload, _: found.update(of.decode_port_stats(payload)),
        )
        return found.get(port, of.Transmitted(0, 0))

    async def whole(self) -> Dump:
        """Flows with their counts, groups, meters and ports, asked for one behind the other."""
        installed, counts = await self.dump(), await self.counts()
        meters: list[of.Meter] = []
        ports: list[of.PortDesc] = []
        with contextlib.suppress(Rejected):  # a datapath without meters
            await self._ask(
                "its meters",
                of.OFPMP_METER_CONFIG,
                of.meter_config_request,
                lambda payload, _: meters.extend(of.decode_meters(payload)),
            )
        await self._ask(
            "its ports",
            of.OFPMP_PORT_DESC,
            of.port_desc_request,
            lambda payload, _: ports.extend(of.decode_ports(payload)),
        )
        return Dump(installed, tuple(counts), tuple(meters), tuple(ports))

    async def alive(self) -> bool:
        """Whether the switch answers within `PROBE_S`."""
        try:
            async with Deadline(self._clock, PROBE_S):
                await self.barrier()
        except (TimeoutError, Disconnected, Malformed):
            return False
        return True

    def close(self, reason: str) -> None:
        """End the connection."""
        self._end(Disconnected(self.name, reason))

    async def barrier(self) -> None:
        """Wait until the switch has done everything it was told (section 7.3.7)."""
        await self._ask("a barrier", of.OFPT_BARRIER_REPLY, of.barrier_request)

    async def empty_zones(self, zones: Iterable[int]) -> None:
        """Have the switch forget all connections in some conntrack zones. Raises Rejected when it refuses."""
        await self._do("to empty a conntrack zone", [partial(of.ct_flush_zone, zone=zone) for zone in zones])

    async def sever(self, zone: int, protocol: int, address: bytes, ports: Iterable[int]) -> None:
        """Have the switch forget the connections of a conntrack zone that began to ports of an IPv4 address.

        Raises Rejected when it refuses.
        """
        to = partial(of.ct_flush, zone=zone, protocol=protocol, address=address)
        await self._do("to forget connections", [partial(to, port=port) for port in ports])

    async def _do(self, what: str, requests: Iterable[Callable[[int], bytes]]) -> None:
        """Have it do what is answered only when it is refused. Raises Rejected then."""
        told = [self.post(what, _NONE, request) for request in requests]
        try:
            await self.barrier()
            for question in told:
                if question.answer.done():
                    await question.answer
        finally:
            for question in told:
                self._questions.pop(question.xid, None)

    async def apply(self, plan: Plan) -> Applied:
        """Make the switch do what `plan` says, but for what it refuses; return when it has acknowledged that.

        An empty plan sends nothing. Who knows whose flows they are logs the refusals. Raises Rejected when the switch
        takes no bundles at all.
        """
        async with self._applying:
            before = self.counters.modifications
            refusals = [*plan.refusals]
            for part in plan.parts():
                await self._bundles.settle(self, part, refusals)
            return Applied(tuple(refusals), *map(sub, self.counters.modifications, before))

    def put(self, modifications: bytearray) -> None:
        """Send messages that modify something."""
        self._send(modifications)
        self.counters.mods_bytes += len(modifications)

    async def push(self, modifications: bytearray) -> None:
        """The same, as fast as the switch takes them."""
        self.put(modifications)
        await self._drain()
        await asyncio.sleep(0)  # `drain` does not pause while there is room

    def committed(self, steps: Sequence[Step]) -> None:
        """The switch applied a bundle of these."""
        kinds = Counter(map(type, steps))
        flows = kinds[AddFlow] + kinds[RemoveFlow]
        self.counters.flow_mods += flows
        self.counters.group_mods += len(steps) - flows
        self.counters.bundles += 1
        self._watch.forget(steps)

    # ---- questions and answers ------------------------------------------------------------------------------------

    async def _ask(self, what: str, kind: int, build: Callable[[int], bytes], part: Part | None = None) -> bytes:
        return await self.answer(self.post(what, kind, build, part))

    def post(self, what: str, kind: int, build: Callable[[int], bytes], part: Part | None = None) -> Question:
        """Send a request now; its answer is of type `kind` (of multipart type `kind`, when `part` takes it)."""
        xid = self.xid()
        self._send(build(xid))
        question = Question(xid, what, kind, part, asyncio.get_running_loop().create_future())
        self._questions[xid] = question
        return question

    async def answer(self, question: Question) -> bytes:
        """The body of the answer. Raises Rejected when it is an error."""
        await self._drain()
        if question.answer.done():  # as with what was asked before something that was answered
            return question.answer.result()
        try:
            async with Deadline(self._clock, self.timing.answer_s) as question.deadline:
                return await question.answer
        except TimeoutError:
            reason = f"no answer to {question.what} within {self.timing.answer_s:g} s"
            raise self._end(Disconnected(self.name, reason)) from None

    def xid(self) -> int:
        """A number for the next message."""
        return self.xids(1)

    def xids(self, count: int) -> int:
        """The first of so many numbers in a row, for the next messages."""
        first, self._xid = self._xid, self._xid + count & 0xFFFFFFFF
        return first

    def _send(self, data: bytes | bytearray) -> None:
        if self._ended is not None:
            raise self._ended
        if self._unsent() > CHOKED_BYTES:
            raise self._end(Disconnected(self.name, "it does not read what it is sent"))
        self._writer.write(data)
        self.counters.bytes_sent += len(data)

    def _unsent(self) -> int:
        """How many bytes wait to be sent. Ask before a write: uvloop raises RuntimeError once the peer is gone."""
        transport = self._writer.transport
        if transport.is_closing():
            raise self._end(Disconnected(self.name, "the connection broke"))
        return transport.get_write_buffer_size()

    async def _drain(self) -> None:
        """Wait while too much is unsent, as long as the switch takes some of it now and then."""
        unsent = self._unsent()
        if not unsent:  # as nearly always: short messages are taken as they are written
            return None
        while True:
            try:
                async with Deadline(self._clock, self.timing.dead_s):
                    return await self._writer.drain()
            except TimeoutError:
                before, unsent = unsent, self._unsent()
                if unsent >= before:
                    reason = f"it read nothing of what it was sent for {self.timing.dead_s:g} s"
                    raise self._end(Disconnected(self.name, reason)) from None
            except OSError:
                raise self._end(Disconnected(self.name, "the connection broke")) from None

    def _end(self, error: Ended) -> Ended:
        """Close the connection for good and tell everybody why; the first reason counts."""
        if self._ended is None:
            # A decoder does not know whom it reads.
            self._ended = Malformed(self.name, error.reason) if isinstance(error, Malformed) else error
            for question in self._questions.values():
                question.fail(self._ended)
            self._questions.clear()
            self._writer.transport.abort()
        return self._ended

    def _forget(self) -> None:
        """Hold nothing of what the switch said, nor of who listened, any more."""
        self._input, self._watch, self._ports = bytearray(), Watch(), None
        self._report, self._tampered, self._answer_packet = None, None, None

    # ---- what the switch says -------------------------------------------------------------------------------------

    async def _greet(self) -> None:
        """Agree on OpenFlow 1.4 (section 6.3.1). A peer without a bitmap offers all versions up to its header's."""
        self._send(of.hello(self.xid()))
        head, body = await self._message()
        offered = of.hello_versions(body) or frozenset(range(1, head.version + 1))
        if of.VERSION not in offered:
            said = ", ".join(f"1.{version - 1}" for version in sorted(offered) if version)
            reason = f"it offers OpenFlow {said or 'of no known version'}, and Weft speaks 1.4 alone"
            self._send(of.message(of.OFPT_ERROR, head.xid, bytes(4) + reason.encode()))  # HELLO_FAILED/INCOMPATIBLE
            raise Disconnected(self.name, reason)
        self._version = of.VERSION

    async def _listen(self) -> NoReturn:
        """Take every message as it comes."""
        try:
            while True:
                self._take(*await self._message())
        except (Disconnected, Malformed) as error:
            raise self._end(error) from None

    async def _message(self) -> tuple[of.Header, bytes]:
        """The next message: its header, and its body."""
        waiting = self._input
        while True:
            if len(waiting) >= 8:
                head = self._expected(of.header(bytes(waiting[:8])))
                if len(waiting) >= head.length:
                    body = bytes(waiting[8 : head.length])
                    del waiting[: head.length]
                    return head, body
            try:
                data = await self._reader.read(READ_BYTES)
            except OSError as error:
                raise Disconnected(self.name, error.strerror or "the connection broke") from None
            if not data:
                raise self._ended or Disconnected(self.name, "it closed the connection")
            waiting += data
            self._heard = self._clock.now
            await asyncio.sleep(0)  # `read` does not pause while there is input

    def _expected(self, head: of.Header) -> of.Header:
        """A header that may stand here: nobody waits for the rest of a message that may not."""
        if self._version is None and head.type != of.OFPT_HELLO:
            raise Malformed(self.name, f"a message of type {head.type} instead of a greeting")
        if self._version not in (None, head.version):
            raise Malformed(self.name, f"a message of version {head.version} after 1.4 was agreed on")
        return head

    def _take(self, head: of.Header, body: bytes) -> None:
        match head.type:
            case of.OFPT_ECHO_REQUEST:
                self._send(of.echo_reply(head.xid, body))
            case of.OFPT_ECHO_REPLY:
                pass
            case of.OFPT_ERROR:
                self._take_error(head.xid, of.decode_error(body))
            case of.OFPT_PACKET_IN:
                self._take_packet(of.decode_packet_in(body))
            case of.OFPT_PORT_STATUS:
                self._take_port(*of.decode_port_status(body))
            case of.OFPT_MULTIPART_REPLY:
                self._take_part(head, of.decode_multipart(body))
            case of.OFPT_REQUESTFORWARD:
                self._watch.take_group(of.decode_request_forward(body))
            case _:
                question = self._questions.get(head.xid)
                if question is not None and question.part is None and question.kind == head.type:
                    del self._questions[head.xid]
                    question.resolve(body)
                else:
                    log.debug("message ignored switch=%016x type=%d xid=%d", self.datapath_id, head.type, head.xid)

    def _take_packet(self, packet: of.PacketIn) -> None:
        """Section 7.4.1. What is answered goes out at once; a switch that does not read is given up elsewhere."""
        for outgoing in self._answer_packet(packet) if self._answer_packet else ():
            self.emit(outgoing)

    def _take_error(self, xid: int, error: of.ErrorMessage) -> None:
        """An error carries the xid of what it is about; in a bundle, that of the message in it."""
        self.counters.errors += 1
        if self._bundles.take_error(xid, error):
            return
        if question := self._questions.pop(xid, None):
            question.fail(Rejected(question.what, error.type, error.code))
        else:
            self.complaints.take(xid, error)

    def _take_part(self, head: of.Header, found: of.Multipart) -> None:
        question = self._questions.get(head.xid)
        if question is None or question.part is None or question.kind != found.type:
            if found.type == of.OFPMP_FLOW_MONITOR:
                self._take_updates(found.payload, found.more)
                return
            log.debug("part ignored switch=%016x multipart=%d xid=%d", self.datapath_id, found.type, head.xid)
            return
        question.taken_bytes += head.length
        if question.taken_bytes > ANSWER_BYTES:
            raise Malformed(self.name, f"an answer of more than {ANSWER_BYTES} bytes")
        question.part(found.payload, found.more)
        if not found.more:
            del self._questions[head.xid]
            question.resolve(b"")
        elif question.deadline is not None and not question.answer.done():
            question.deadline.extend(self.timing.answer_s)

    def _take_port(self, reason: int, port: of.PortDesc) -> None:
        """Section 7.4.3. Before the ports were asked for, it is in what that answer will say."""
        if self._ports is None:
            return
        known = dict(self._ports)
        if reason == of.OFPPR_DELETE:
            self._ports.pop(port.number, None)
        else:
            self._ports[port.number] = port.name
        if self._ports != known:
            self._ports_changed.set()

    async def _tell_ports(self) -> NoReturn:
        """Its own task: who is told may take its time, and then hears of all that happened meanwhile at once."""
        while True:
            await self._ports_changed.wait()
            self._ports_changed.clear()
            if self._report is not None and self._ports is not None:
                await self._report({name: number for number, name in self._ports.items()})

    def _take_updates(self, payload: bytes, _more: bool) -> None:
        for update in of.decode_flow_updates(payload):
            self._watch.take_update(update)

    async def _tell_tampering(self) -> NoReturn:
        """Its own task: who is told heals, which takes its time and waits for answers."""
        while True:
            await self._watch.noticed.wait()
            await asyncio.sleep(SETTLE_S)
            seen = self._watch.report()
            if self._tampered is not None:
                await self._tampered(seen)

    async def _tell_complaints(self) -> NoReturn:
        try:
            await self.complaints.gather()
        finally:
            self.complaints.tell()

    async def _keep_alive(self) -> NoReturn:
        """Ask a silent switch whether it is there, and give up one that stays silent (section 7.5.2)."""
        asked = self._heard
        while True:
            now = self._clock.now
            if now >= self._heard + self.timing.dead_s:
                raise self._end(Disconnected(self.name, f"silent for {self.timing.dead_s:g} s"))
            if now >= max(self._heard, asked) + self.timing.echo_s:
                self._send(of.echo_request(self.xid()))
                asked = now
            next_s = min(self._heard + self.timing.dead_s, max(self._heard, asked) + self.timing.echo_s)
            await asyncio.sleep(next_s - now)


def _first(group: BaseExceptionGroup[Ended]) -> Ended:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _address(peername: object) -> str:
    match peername:
        case (str(host), int(port), *_):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return "unknown"


class OpenflowListener:
    """Where switches connect. `port` is known once `ready` is set."""

    def __init__(self, timing: Timing | None = None) -> None:
        self.timing = timing or Timing()
        self.ready = asyncio.Event()
        self.port = 0

    async def serve(self, host: str, port: int, on_switch: Attend) -> None:
        """Accept switches until cancelled. `on_switch` runs from a switch's handshake until the connection ends.

        Raises OSError when the address cannot be listened on.
        """
        clock = Clock()
        async with asyncio.TaskGroup() as connections:

            def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                if server.is_serving():
                    connections.create_task(self._connection(Switch(reader, writer, self.timing, clock), on_switch))
                else:
                    writer.transport.abort()

            server = await asyncio.start_server(accepted, host, port, limit=READ_BYTES, backlog=BACKLOG)
            connections.create_task(clock.run())
            try:
                self.port = server.sockets[0].getsockname()[1]
                self.ready.set()
                await server.serve_forever()
            finally:
                server.close()

    async def _connection(self, switch: Switch, on_switch: Attend) -> None:
        """One connection, whose end, however it comes, is nobody else's."""
        try:
            await switch.run(on_switch)
        except (Malformed, Rejected) as error:
            log.error("switch dropped peer=%s datapath=%016x: %s", switch.peer, switch.datapath_id, error)
            let_go(error)
        except Disconnected as error:
            log.warning("switch lost peer=%s datapath=%016x: %s", switch.peer, switch.datapath_id, error)
            let_go(error)
        except Exception as error:
            log.exception("switch session failed peer=%s datapath=%016x", switch.peer, switch.datapath_id)
            let_go(error)


def _tune(writer: asyncio.StreamWriter) -> None:
    """A small message goes at once; a peer that vanished is noticed by the kernel too."""
    connection = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
