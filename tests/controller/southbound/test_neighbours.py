"""Neighbours over time: sought, heard, held, proved and forgotten; beside a real store and a real engine.

The switches of the stage do nothing but remember what they were told to send; the tests answer for the guests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import pytest

from apps import APPS
from controller.flows.attachment import audience
from controller.flows.engine import Engine
from controller.flows.frames import Question, Statement, announcement, read
from controller.flows.punted import Announced, Heard, Outgoing, Reply, Said, Sought
from controller.model import neighbours as records
from controller.model.records import Address, Drained, Mac, Neighbour, Recovering
from controller.model.store import Change, MemoryJournal, Store
from controller.model.view import View
from controller.southbound import neighbours
from controller.southbound.neighbours import Neighbours
from tests.cloud import Work, gateway, heard, hypervisor, interface, network, no_port, port, router, subnet
from tests.controller.southbound.switches import until

VIP, VIRTUAL = Address("10.0.0.100"), Mac("00:00:5e:00:01:01")
SHARED = [(VIRTUAL, VIP)]
KEY = f"red/{VIP}"
UNREACHABLE = Reply(10, b"unreachable")


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds become fractions of them."""
    for name in ("TRY_S", "PROVE_S", "LIFE_S", "FAILED_S", "FRESH_S", "HOLD_S", "RETRY_S", "TICK_S"):
        monkeypatch.setattr(neighbours, name, getattr(neighbours, name) / (100 if name == "FRESH_S" else 20))


@pytest.fixture
def patient(hurry: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where answers come at once: a busy machine is not taken for one that keeps silent."""
    for name in ("TRY_S", "LIFE_S", "FRESH_S"):
        monkeypatch.setattr(neighbours, name, 30.0)


ASKING = b"who has it?"


@dataclass(slots=True)
class Stage:
    """vm1 and vm2 of red, which share a virtual address, and vm3 without port security; all on hv1, ports 10 to 12."""

    store: Store = field(default_factory=lambda: Store(MemoryJournal()))
    said: list[Said] = field(default_factory=list)
    sent: list[tuple[str, Outgoing | Said]] = field(default_factory=list)
    answers: Callable[[Said], None] | None = None
    there: bool = True
    drowned: bool = False
    engine: Engine = field(init=False)
    neighbours: Neighbours = field(init=False)

    def __post_init__(self) -> None:
        self.engine = Engine(self.store.model, APPS)
        self.neighbours = Neighbours(self.store, self, APPS)
        self.store.follow(self._follow)

    def _follow(self, changes: Sequence[Change]) -> None:
        self.engine.update(changes)
        self.neighbours.follow(changes)

    async def commit(self, *works: Work) -> None:
        """Make one change."""
        await self.store.commit(lambda tx: [work(tx) for work in works])

    def view(self) -> View:
        return self.engine.view()

    def say(self, said: Said) -> bool:
        self.said.append(said)
        if self.there and self.answers is not None:
            asyncio.get_running_loop().call_soon(self.answers, said)
        return self.there

    async def send(self, chassis: str, outgoing: Sequence[Outgoing | Said]) -> bool:
        self.sent += [(chassis, each) for each in outgoing]
        return True

    def overrun(self, chassis: str, port: int, since: float) -> bool:
        return self.drowned

    def asked(self) -> int:
        """How many questions there were for somebody who seeks; whoever was known before is proved at any time, too."""
        return len([said for said in self.said if said.frame == ASKING])

    def known(self, key: str = KEY) -> str | None:
        """The port that is known to hold an address."""
        found = self.store.model.get(Neighbour, key)
        return found.port_id if found else None

    def hears(self, who: str, *, unasked: bool = True, address: Address = VIP, frame: bytes = b"") -> None:
        """A port says that it has an address."""
        self.neighbours.hear(Heard("red", address, VIRTUAL, who, unasked, frame))

    def seeks(self, number: int = 0, *, address: Address = VIP, port: int = 10, anew: bool = False) -> list[Outgoing]:
        """A packet wants an address; what is sent at once."""
        questions = (Said("hv1", (10, 11), ASKING),)
        sought = Sought("red", address, questions, lambda mac: Reply(10, f"{number} to {mac}".encode()), anew)
        return [*self.neighbours.seek("hv1", port, sought, [UNREACHABLE])]


def vm(number: int, **more: object) -> Work:
    """vmN of red at 10.0.0.N."""
    return port(f"vm{number}", "red", f"02:00:00:00:00:0{number}", f"10.0.0.{number}", **more)  # type: ignore[arg-type]


def play(scene: Callable[[Stage], Awaitable[None]], *before: Work) -> None:
    """A scene on a stage, with what was known before the controller started."""

    async def run() -> None:
        stage = Stage()
        works = [network("red", 100), vm(1, pairs=SHARED), vm(2, pairs=SHARED), vm(3, guarded=False)]
        async with asyncio.TaskGroup() as tasks:
            store = tasks.create_task(stage.store.run())
            await stage.commit(*works, hypervisor(1, "vm1", "vm2", "vm3"), *before)
            chores = tasks.create_task(stage.neighbours.run())
            await asyncio.sleep(0)
            await scene(stage)
            chores.cancel()
            store.cancel()

    asyncio.run(run())


def test_what_a_guest_announces_of_itself_all_others_hear_once_a_second() -> None:
    async def scene(stage: Stage) -> None:
        frames = [announcement(Address(f"10.0.0.{number}"), VIRTUAL) for number in (1, 3)]
        for _ in range(5):
            stage.neighbours.announce(Announced("red", Address("10.0.0.1"), "vm1", frames[0]))
            stage.neighbours.announce(Announced("red", Address("10.0.0.3"), "vm3", frames[1]))
        await until(lambda: len(stage.sent) == 2)
        await asyncio.sleep(0.05)
        assert stage.sent == [("hv1", Said("hv1", (11, 12), frames[0])), ("hv1", Said("hv1", (10, 11), frames[1]))]

    play(scene)


def test_an_announcement_is_repeated_while_it_is_true_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen with real packets: whoever had handed a gateway's address over went on to announce it, and took it back."""
    monkeypatch.setattr(neighbours, "AGAIN_S", 0.2)
    gate = Mac("fa:16:3e:00:00:0e")
    outside: list[Work] = [
        lambda tx: tx.tag("physical", "phys"),
        network("ext", None, "flat", physical_network="phys", external=True, mtu=1500),
        subnet("ext4", "ext", "172.24.0.0/24", "172.24.0.1"),
        hypervisor(2, physical=("phys",), priority=20),
        hypervisor(3, physical=("phys",), priority=10),
        router("r", external_network_id="ext"),
        gateway("r-ext", "r", "ext", gate, ext4="172.24.0.10"),
    ]

    async def scene(stage: Stage) -> None:
        def told() -> list[str]:
            """Who announced it, in order: first when something changed, then again."""
            return [said.chassis for said in stage.said if said.frame == announcement(Address("172.24.0.10"), gate)]

        for each in stage.store.model.all(Recovering):
            await stage.commit(lambda tx, id=each.id: tx.delete(Recovering, id))  # type: ignore[misc]
        await asyncio.sleep(1)
        stage.said.clear()
        stage.sent.clear()
        await stage.commit(lambda tx: tx.put(Drained(id="hv2")))
        await until(lambda: told() == ["hv3"])
        await stage.commit(lambda tx: tx.delete(Drained, "hv2"))
        await until(lambda: told().count("hv2") == 2)
        assert [name for name, _ in stage.sent] == ["hv3", "hv2"]
        assert told() == ["hv3", "hv2", "hv2"]

    play(scene, *outside)


# ---- sought ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("patient")
def test_what_waits_goes_on_when_somebody_answers() -> None:
    async def scene(stage: Stage) -> None:
        assert stage.seeks(1) == stage.seeks(2) == []
        stage.hears("vm2", unasked=False)
        await until(lambda: len(stage.sent) == 2)
        assert stage.sent == [("hv1", Reply(10, f"{n} to {VIRTUAL}".encode())) for n in (1, 2)]
        assert (stage.known(), len(stage.said)) == ("vm2", 1)
        assert stage.seeks(3) == []
        await until(lambda: len(stage.sent) == 3)
        assert len(stage.said) == 1, "known: nobody is asked"

    play(scene)


def test_nobody_is_asked_more_than_three_times_and_then_who_waited_is_told() -> None:
    async def scene(stage: Stage) -> None:
        assert stage.seeks() == stage.seeks() == []
        await until(lambda: len(stage.sent) == 2)
        assert stage.sent == [("hv1", UNREACHABLE)] * 2
        assert len(stage.said) == 3
        assert stage.seeks() == [UNREACHABLE], "at once, for some time"
        await asyncio.sleep(neighbours.FAILED_S)
        assert stage.seeks() == []

    play(scene)


@pytest.mark.usefixtures("patient")
def test_of_many_packets_the_newest_few_wait_and_no_old_one_goes_on() -> None:
    async def scene(stage: Stage) -> None:
        for number in range(10):
            stage.seeks(number)
        stage.hears("vm1")
        await until(lambda: len(stage.sent) == neighbours.WAITING)
        assert [reply.frame[:1] for _, reply in stage.sent] == [b"6", b"7", b"8", b"9"]

    play(scene)


def test_what_waited_too_long_does_not_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "TRY_S", 30.0)
    monkeypatch.setattr(neighbours, "LIFE_S", 0.3)

    async def scene(stage: Stage) -> None:
        stage.seeks(1)
        await asyncio.sleep(neighbours.LIFE_S * 2)
        stage.seeks(2)
        stage.hears("vm1")
        await until(lambda: stage.sent)
        assert stage.sent == [("hv1", Reply(10, f"2 to {VIRTUAL}".encode()))]

    play(scene)


def test_who_scans_a_network_keeps_no_others_waiting() -> None:
    async def scene(stage: Stage) -> None:
        addresses = [Address(f"10.0.1.{number}") for number in range(20)]
        refused = [stage.seeks(address=address, port=12) for address in addresses]
        assert refused == [[]] * 8 + [[UNREACHABLE]] * 12
        assert stage.seeks() == []
        many = [stage.seeks(address=Address(f"10.0.2.{number}"), port=100 + number) for number in range(100)]
        assert many.count([]) == 64 - 8 - 1
        await until(lambda: len(stage.sent) == 64)
        assert stage.seeks(address=Address("10.0.3.1"), port=12) == []

    play(scene)


def test_who_would_take_an_address_that_its_holder_keeps_silent_about_may() -> None:
    async def scene(stage: Stage) -> None:
        assert stage.seeks(anew=True) == []
        await until(lambda: stage.known() is None)
        assert (stage.asked(), stage.sent) == (3, []), "and nobody is told that it is taken"

    play(scene, heard("red", VIP, VIRTUAL, "vm2"))


@pytest.mark.usefixtures("patient")
def test_and_may_not_when_the_holder_answers() -> None:
    async def scene(stage: Stage) -> None:
        stage.answers = lambda _: stage.hears("vm2", unasked=False)
        assert stage.seeks(anew=True) == []
        await until(lambda: stage.sent)
        assert stage.sent == [("hv1", Reply(10, f"0 to {VIRTUAL}".encode()))]
        assert (stage.known(), stage.asked()) == ("vm2", 1)

    play(scene, heard("red", VIP, VIRTUAL, "vm2"))


# ---- heard ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("patient")
def test_the_newest_announcement_counts_and_an_address_that_moved_stays_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(neighbours, "HOLD_S", 0.3)

    async def scene(stage: Stage) -> None:
        moves = list[str | None]()
        stage.store.follow(lambda changes: moves.append(stage.known()))
        for who in ("vm1", "vm2", "vm1", "vm2", "vm2", "vm1", "vm2"):
            stage.hears(who)
            await asyncio.sleep(0)
        await until(lambda: stage.known() == "vm2")
        await asyncio.sleep(2 * neighbours.HOLD_S)
        assert stage.known() == "vm2"
        assert len(moves) <= 2, "many moves at once are one or two"

    play(scene)


def test_who_was_only_asked_moves_nothing() -> None:
    async def scene(stage: Stage) -> None:
        stage.hears("vm1")
        await until(lambda: stage.known() == "vm1")
        stage.hears("vm2", unasked=False)
        await asyncio.sleep(2 * neighbours.HOLD_S)
        assert stage.known() == "vm1"
        stage.hears("vm2")
        await until(lambda: stage.known() == "vm2")

    play(scene)


@pytest.mark.usefixtures("patient")
def test_of_two_who_answer_the_first_is_believed() -> None:
    async def scene(stage: Stage) -> None:
        stage.seeks()
        stage.hears("vm1", unasked=False)
        stage.hears("vm2", unasked=False)
        await until(lambda: stage.known())
        await asyncio.sleep(2 * neighbours.HOLD_S)
        assert stage.known() == "vm1"

    play(scene)


def test_news_is_told_to_all_the_network_but_who_told_it() -> None:
    async def scene(stage: Stage) -> None:
        frame = announcement(VIP, VIRTUAL)
        stage.hears("vm1", frame=frame)
        await until(lambda: stage.sent)
        assert stage.sent == [("hv1", Said("hv1", (11, 12), frame))]
        stage.hears("vm1", frame=frame)
        await asyncio.sleep(2 * neighbours.HOLD_S)
        assert len(stage.sent) == 1, "no news"

    play(scene)


@pytest.mark.usefixtures("patient")
def test_one_port_is_not_believed_to_hold_more_than_so_many(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(records, "MOST", 2)
    addresses = [Address(f"10.0.1.{number}") for number in range(4)]

    async def scene(stage: Stage) -> None:
        for address in addresses:
            stage.hears("vm3", address=address)
        await until(lambda: stage.known(f"red/{addresses[1]}"))
        assert [stage.known(f"red/{address}") for address in addresses] == ["vm3", "vm3", None, None]
        assert stage.seeks(address=addresses[3]) == []
        stage.hears("vm3", address=addresses[3], unasked=False)
        await until(lambda: stage.sent)
        assert stage.sent == [("hv1", UNREACHABLE)], "at once"
        assert len(stage.said) == 1

    play(scene)
    assert len([record for record in caplog.records if "too many addresses" in record.getMessage()]) == 1


@pytest.mark.parametrize(
    "change",
    [no_port("vm2"), vm(2), vm(2, pairs=SHARED, admin_state_up=False), hypervisor(1, "vm1"), network("red", 100, admin_state_up=False)],
    ids=["deleted", "no pair", "down", "unplugged", "network down"],
)  # fmt: skip
def test_who_cannot_hold_an_address_any_more_is_forgotten(change: Work) -> None:
    async def scene(stage: Stage) -> None:
        await asyncio.sleep(0.01)
        assert stage.known() == "vm2"
        await stage.commit(change)
        await until(lambda: stage.known() is None)

    play(scene, heard("red", VIP, VIRTUAL, "vm2"))


def test_who_could_not_even_before_the_controller_started_is_forgotten() -> None:
    async def scene(stage: Stage) -> None:
        await until(lambda: stage.known() is None)

    play(scene, heard("red", VIP, VIRTUAL, "vm2"), vm(2))


# ---- proved ---------------------------------------------------------------------------------------------------


def test_who_answers_stays_known_and_is_asked_again_and_again() -> None:
    async def scene(stage: Stage) -> None:
        stage.answers = lambda _: stage.hears("vm2", unasked=False)
        await until(lambda: len(stage.said) > 3)
        assert stage.known() == "vm2"
        for said in stage.said:
            asked = read(said.frame)
            assert (said.chassis, said.ports) == ("hv1", (11,))
            assert isinstance(asked, Question)
            assert asked.address == VIP

    play(scene, heard("red", VIP, VIRTUAL, "vm2"))


def test_who_keeps_silent_is_forgotten() -> None:
    async def scene(stage: Stage) -> None:
        await until(lambda: stage.known() is None)
        assert len(stage.said) == 3

    play(scene, heard("red", VIP, VIRTUAL, "vm2"))


def test_nobody_is_forgotten_whose_switch_is_away_or_whose_answers_may_be_lost() -> None:
    async def scene(stage: Stage) -> None:
        stage.there = False
        await asyncio.sleep(2 * neighbours.FRESH_S)
        assert stage.known() == "vm2"
        stage.there, stage.drowned = True, True
        count = len(stage.said)
        await until(lambda: len(stage.said) >= count + 6)
        assert stage.known() == "vm2"
        stage.drowned = False
        await until(lambda: stage.known() is None)

    play(scene, heard("red", VIP, VIRTUAL, "vm2"))


# ---- told -----------------------------------------------------------------------------------------------------


def test_guests_are_told_once_of_the_interface_of_a_router() -> None:
    async def scene(stage: Stage) -> None:
        gate = interface("gate", "r", "red", "02:00:00:00:0a:01", red4="10.0.0.254")
        await stage.commit(router("r"), subnet("red4", "red", "10.0.0.0/24"), gate)
        await until(lambda: stage.sent)
        await stage.commit(vm(1, pairs=SHARED, name="another"), router("r", name="another"))
        await asyncio.sleep(0.05)
        ((_, said),) = stage.sent
        assert isinstance(said, Said)
        assert read(said.frame) == Statement(Address("10.0.0.254"), Mac("02:00:00:00:0a:01"), unasked=True)
        assert [(said.chassis, said.ports)] == audience(stage.view(), "red") == [("hv1", (10, 11, 12))]

    play(scene)


def test_what_goes_wrong_with_one_address_is_no_others_matter(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(stage: Stage) -> None:
        def fail(mac: Mac) -> Outgoing:
            raise ValueError("bad")

        stage.neighbours.seek("hv1", 10, Sought("red", Address("10.0.1.1"), (), fail), [])
        stage.seeks(1)
        stage.hears("vm3", address=Address("10.0.1.1"))
        stage.hears("vm1")
        await until(lambda: stage.sent)
        assert stage.sent == [("hv1", Reply(10, f"1 to {VIRTUAL}".encode()))]

    play(scene)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        "a neighbour's task failed"
    ]
