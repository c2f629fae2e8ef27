"""What a commit promises: all or nothing, in order, with its indexes right, whatever its neighbours do."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from controller.errors import Conflict, Exhausted, Exists, NotFound, StaleRevision, Unavailable
from controller.model import store as store_module
from controller.model.records import Address, Binding, FixedIp, Index, Link, Mac, Network, Port, Record, Tag
from controller.model.store import BATCH_WRITES, Change, Journal, MemoryJournal, Model, Read, Store, Transaction, Write

Work = Callable[[Transaction], object]


@asynccontextmanager
async def serving(journal: Journal | None = None) -> AsyncIterator[Store]:
    """A store that serves commits until the block ends."""
    store = await Store.open(journal or MemoryJournal())
    try:
        async with asyncio.TaskGroup() as group:
            served = group.create_task(store.run())
            yield store
            served.cancel()
    finally:
        await store.close()


async def together(store: Store, *works: Work) -> list[object]:
    """The answers of commits that are asked for at one time; an error is an answer."""
    return await asyncio.gather(*map(store.commit, works), return_exceptions=True)


def network(id: str, segment: int = 1, **attributes: Any) -> Network:
    return Network(id=id, network_type="vxlan", segmentation_id=segment, **attributes)


def port(id: str, mac: int, *ips: str, on: str = "red", **attributes: Any) -> Port:
    fixed_ips = tuple(FixedIp("s1", Address(ip)) for ip in ips)
    return Port(id=id, network_id=on, mac_address=Mac(f"fa:16:3e:00:00:{mac:02x}"), fixed_ips=fixed_ips, **attributes)


def put(*records: Record) -> Work:
    def work(tx: Transaction) -> None:
        for record in records:
            tx.put(record)

    return work


# --- one commit


def test_a_commit_answers_what_its_work_returns_when_the_model_has_it() -> None:
    async def scenario() -> None:
        async with serving() as store:
            red = await store.commit(lambda tx: tx.insert(network("red")))
            assert store.model.get(Network, "red") is red
            assert store.model.revision == 1

    asyncio.run(scenario())


def test_a_transaction_reads_its_own_writes_and_nobody_else_does() -> None:
    model = Model(0, [port("p1", 1, "10.0.0.1"), port("p2", 2, "10.0.0.2")])
    before = model.all(Port)
    tx = Transaction(model)
    tx.delete(Port, "p1")
    moved = tx.put(port("p2", 2, "10.0.0.1", on="red", device_id="vm"))
    new = tx.insert(port("p0", 3, "10.0.0.2"))
    assert tx.get(Port, "p1") is None
    assert tx.all(Port) == (new, moved) == tx.where(Port, network_id="red")
    assert tx.where(Port, reservations=("red", "10.0.0.1")) == (moved,)
    assert tx.where(Port, device_id="vm") == (moved,)
    assert tx.where(Port, device_id="") == (new,)
    assert model.all(Port) == before


def test_whether_there_is_any_record_is_known_without_reading_all() -> None:
    model = Model(0, [port("p1", 1, device_id="vm"), port("p2", 2)])
    batch = Transaction(model)
    tx = Transaction(batch)
    assert tx.holds(Port, device_id="vm")
    tx.delete(Port, "p1")
    assert not tx.holds(Port, device_id="vm")
    batch.put(port("p2", 2, device_id="vm"))
    assert tx.holds(Port, device_id="vm")
    tx.put(port("p2", 2, device_id="host"))
    assert not tx.holds(Port, device_id="vm")
    assert sorted(tx.ids(Port, network_id="red")) == ["p2"]
    assert sorted(batch.ids(Port, network_id="red")) == ["p1", "p2"]


def test_what_ends_as_it_began_is_no_write() -> None:
    model = Model(0, [network("red")])
    tx = Transaction(model)
    tx.put(network("red", name="crimson"))
    tx.put(network("red"))
    tx.insert(network("blue", 2))
    tx.delete(Network, "blue")
    assert tx.writes() == ()


def test_a_commit_without_writes_is_no_revision_and_wakes_nobody() -> None:
    async def scenario() -> None:
        async with serving() as store:
            heard: list[Sequence[Change]] = []
            store.follow(heard.append)
            assert await store.commit(lambda tx: tx.all(Network)) == ()
            assert store.model.revision == 0
            assert heard == []

    asyncio.run(scenario())


def test_a_record_that_is_not_there_is_not_found() -> None:
    tx = Transaction(Model())
    for work in (
        lambda: tx.need(Port, "p1"),
        lambda: tx.delete(Port, "p1"),
        lambda: tx.expect(Port, "p1", 0),
    ):
        with pytest.raises(NotFound, match=r"Port p1 could not be found\."):
            work()


def test_an_edit_of_a_version_that_is_gone_is_refused() -> None:
    tx = Transaction(Model(0, [network("red", revision_number=4)]))
    tx.expect(Network, "red", 4)
    tx.put(network("red", revision_number=5))
    with pytest.raises(StaleRevision, match=r"Network red is at revision 5, not at 4\."):
        tx.expect(Network, "red", 4)


def test_an_attribute_without_an_index_cannot_be_searched_by() -> None:
    with pytest.raises(LookupError, match="Port has no index"):
        Transaction(Model()).where(Port, vnic_type="normal")


# --- unique values


def test_a_unique_value_is_held_by_one_record() -> None:
    tx = Transaction(Model(0, [network("red", 5)]))
    with pytest.raises(Exists, match=r"segmentation_id 5 exists already: red\."):
        tx.insert(network("blue", 5))
    with pytest.raises(Exists, match=r"id red exists already: red\."):
        tx.insert(network("red", 6))
    tx.put(network("red", 7))
    tx.insert(network("blue", 5))


def test_no_two_ports_of_a_network_hold_one_address() -> None:
    tx = Transaction(Model(0, [port("p1", 1, "10.0.0.1", "10.0.0.2")]))
    with pytest.raises(Exists, match="exists already: p1"):
        tx.put(port("p2", 2, "10.0.0.3", "10.0.0.2"))
    assert tx.get(Port, "p2") is None
    assert tx.where(Port, reservations=("red", "10.0.0.3")) == ()
    tx.put(port("p2", 1, "10.0.0.2", on="blue"))
    tx.put(port("p1", 1, "10.0.0.1"))
    tx.put(port("p3", 3, "10.0.0.2"))


# --- tags and counters


def test_a_tag_stays_with_its_id() -> None:
    tx = Transaction(Model())
    assert [tx.tag("network", id) for id in ("red", "blue", "red")] == [1, 2, 1]
    assert tx.tag("port", "red") == 1


def test_a_freed_tag_is_not_used_again_before_all_others_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "TAG_BITS", 3)
    tx = Transaction(Model())
    assert [tx.tag("network", f"n{i}") for i in range(1, 4)] == [1, 2, 3]
    tx.untag("network", "n2")
    tx.untag("network", "n2")
    assert [tx.tag("network", f"n{i}") for i in range(4, 9)] == [4, 5, 6, 7, 2]


def test_tags_run_out_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "TAG_BITS", 3)
    tx = Transaction(Model())
    for i in range(7):
        tx.tag("network", f"n{i}")
    with pytest.raises(Exhausted, match=r"No more tags available in network\."):
        tx.tag("network", "n7")
    assert tx.get(Tag, "network/n7") is None
    tx.untag("network", "n3")
    assert tx.tag("network", "n7") == 4


def test_a_sequence_does_not_repeat_after_a_commit_that_failed() -> None:
    async def scenario() -> None:
        def refused(tx: Transaction) -> None:
            tx.next("claim")
            raise NotFound("Port", "p1")

        async with serving() as store:
            answers = await together(store, lambda tx: tx.next("claim"), refused, lambda tx: tx.next("claim"))
            assert (answers[0], answers[2]) == (1, 2)

    asyncio.run(scenario())


# --- many commits


def test_concurrent_commits_share_few_writes_and_have_a_revision_each() -> None:
    async def scenario() -> None:
        async with serving() as store:
            batches: list[Sequence[Change]] = []
            store.follow(batches.append)
            await together(store, *(put(network(f"n{i}", i)) for i in range(500)))
            assert len(batches) <= 500 / BATCH_WRITES + 2
            assert max(sum(len(change.writes) for change in batch) for batch in batches) <= BATCH_WRITES
            assert [change.revision for batch in batches for change in batch] == list(range(1, 501))

    asyncio.run(scenario())


def test_a_work_that_fails_leaves_nothing_and_does_not_disturb_its_neighbours() -> None:
    async def scenario() -> None:
        def half(tx: Transaction) -> None:
            tx.insert(network("half", 9))
            tx.delete(Network, "red")
            raise ZeroDivisionError

        def after(tx: Transaction) -> tuple[Network, ...]:
            tx.insert(network("blue", 9))
            return tx.all(Network)

        async with serving() as store:
            answers = await together(store, put(network("red")), half, after)
            assert isinstance(answers[1], ZeroDivisionError)
            assert answers[2] == (network("blue", 9), network("red")) == store.model.all(Network)
            assert store.model.revision == 2

    asyncio.run(scenario())


def test_neighbours_of_one_batch_see_each_other() -> None:
    async def scenario() -> None:
        async with serving() as store:
            answers = await together(store, put(network("red", 5)), put(network("blue", 5)))
            assert answers[0] is None
            assert isinstance(answers[1], Exists)
            assert store.model.all(Network) == (network("red", 5),)

    asyncio.run(scenario())


def test_what_neighbours_put_and_delete_is_gone_for_the_next_one() -> None:
    async def scenario() -> None:
        def delete_both(tx: Transaction) -> None:
            tx.delete(Network, "red")
            tx.delete(Network, "blue")

        async with serving() as store:
            await store.commit(put(network("red")))
            answers = await together(
                store,
                put(network("red", 2), network("blue", 3)),
                delete_both,
                lambda tx: (tx.all(Network), tx.where(Network, project_id=""), tx.get(Network, "red")),
                put(network("grey", 3)),
            )
            assert answers[2:] == [((), (), None), None]
            assert store.model.all(Network) == (network("grey", 3),)

    asyncio.run(scenario())


def test_a_work_that_ends_a_loop_by_mistake_fails_alone() -> None:
    async def scenario() -> None:
        async with serving() as store:
            answers = await together(store, lambda tx: next(iter(tx.all(Port))), put(network("red")))
            assert isinstance(answers[0], RuntimeError)
            assert isinstance(answers[0].__cause__, StopIteration)
            assert answers[1] is None

    asyncio.run(scenario())


def test_a_caller_that_goes_away_stops_nobody() -> None:
    async def scenario() -> None:
        async with serving() as store:
            gone = asyncio.create_task(store.commit(put(network("red"))))
            await asyncio.sleep(0)
            gone.cancel()
            await store.commit(put(network("blue", 2)))
            with pytest.raises(asyncio.CancelledError):
                await gone

    asyncio.run(scenario())


def test_a_commit_that_waits_while_the_store_stops_is_refused() -> None:
    async def scenario() -> None:
        async with asyncio.timeout(5):
            store = await Store.open(MemoryJournal())
            served = asyncio.create_task(store.run())
            waiting = asyncio.create_task(store.commit(put(network("red"))))
            await asyncio.sleep(0)
            served.cancel()
            await asyncio.wait([served])
            with pytest.raises(Unavailable, match="stopping"):
                await waiting
            with pytest.raises(Unavailable, match="stopping"):
                await store.commit(put(network("blue", 2)))
            await store.close()

    asyncio.run(scenario())


# --- followers


def test_who_asks_at_once_is_answered_before_followers_hear_and_others_after() -> None:
    async def scenario() -> None:
        order: list[str] = []

        async with serving() as store:

            async def ask(name: str, segment: int, *, at_once: bool) -> None:
                await store.commit(put(network(name, segment)), at_once=at_once)
                assert store.model.get(Network, name) is not None
                order.append(name)

            store.follow(lambda changes: order.append(f"{len(changes)} heard"))
            await asyncio.gather(ask("patient", 1, at_once=False), ask("hasty", 2, at_once=True))
        assert order == ["hasty", "2 heard", "patient"]

    asyncio.run(scenario())


def test_followers_hear_of_one_batch_while_the_next_is_written() -> None:
    class Watched(MemoryJournal):
        """Tells when it writes the second batch."""

        def __init__(self) -> None:
            super().__init__()
            self.written, self.second = 0, threading.Event()

        def append(self, changes: Sequence[Change]) -> None:
            super().append(changes)
            self.written += 1
            if self.written == 2:
                self.second.set()

    def whole(tx: Transaction) -> None:
        for segment in range(BATCH_WRITES):
            tx.put(network(f"n{segment}", segment))

    async def scenario() -> None:
        journal, heard = Watched(), list[int]()

        async with serving(journal) as store:

            def follower(changes: Sequence[Change]) -> None:
                assert journal.second.wait(10)
                assert store.model.revision == changes[-1].revision
                heard.extend(change.revision for change in changes)

            store.follow(follower)
            await asyncio.gather(store.commit(whole), store.commit(put(network("next", BATCH_WRITES))))
            assert heard == [1, 2]

    asyncio.run(scenario())


def test_followers_that_are_told_early_hear_everything_once() -> None:
    async def scenario() -> None:
        heard: list[int] = []

        async with serving() as store:
            store.follow(lambda changes: heard.extend(change.revision for change in changes))
            for revision, segment in ((1, 5), (2, 6)):
                await store.commit(put(network("red", segment)), at_once=True)
                assert heard == [*range(1, revision)]
                store.tell()
                store.tell()
                assert heard == [*range(1, revision + 1)]
        assert heard == [1, 2]

    asyncio.run(scenario())


def test_the_store_ends_by_a_follower_that_fails_whoever_had_it_told() -> None:
    async def scenario() -> None:
        def fails(_: Sequence[Change]) -> None:
            raise ZeroDivisionError

        store = await Store.open(MemoryJournal())
        store.follow(fails)
        served = asyncio.create_task(store.run())
        await store.commit(put(network("red")), at_once=True)
        with pytest.raises(ZeroDivisionError):
            store.tell()
        with pytest.raises(ZeroDivisionError):
            await served
        await store.close()

    asyncio.run(scenario())


def test_followers_hear_every_change_in_order_when_the_model_is_there() -> None:
    async def scenario() -> None:
        heard: list[tuple[int, str, tuple[Write, ...]]] = []

        async with serving() as store:

            def follower(changes: Sequence[Change]) -> None:
                assert store.model.revision == changes[-1].revision
                heard.extend((change.revision, change.request, change.writes) for change in changes)

            store.follow(follower)
            red, crimson = network("red"), network("red", name="crimson")
            first = store.commit(put(red), request="req-1")
            second = store.commit(put(crimson, network("blue", 2)), request="req-2")
            await asyncio.gather(first, second)
            await store.commit(lambda tx: tx.delete(Network, "red"), request="req-3")
        assert heard == [
            (1, "req-1", (Write(Network, "red", None, red),)),
            (
                2,
                "req-2",
                (Write(Network, "red", red, crimson), Write(Network, "blue", None, network("blue", 2))),
            ),
            (3, "req-3", (Write(Network, "red", crimson, None),)),
        ]

    asyncio.run(scenario())


# --- any history


def entries(record: Record, index: Index) -> set[tuple[Hashable, ...]]:
    """What `record` is found by, said once more."""
    values = [getattr(record, name) for name in index]
    return {(each,) for each in values[0]} if isinstance(values[0], frozenset) else {tuple(values)}


Truth = dict[tuple[type[Record], str], Record]

NETWORKS = st.builds(network, st.sampled_from("abc"), st.integers(1, 3), name=st.sampled_from(["", "red"]))
PORTS = st.builds(
    lambda id, mac, ips, on: port(id, mac, *ips, on=on),
    st.sampled_from("abcd"),
    st.integers(1, 3),
    st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3"]), unique=True, max_size=2),
    st.sampled_from(["red", "blue"]),
)
BINDINGS = st.builds(
    lambda chassis, port_id: Binding(id=f"{chassis}/tap", chassis=chassis, interface="tap", port_id=port_id),
    st.sampled_from(["hv1", "hv2"]),
    st.sampled_from("abcd"),
)
LINKS = st.builds(
    lambda chassis, ofport: Link(id=f"{chassis}/tap", chassis=chassis, interface="tap", ofport=ofport),
    st.sampled_from(["hv1", "hv2"]),
    st.integers(1, 2),
)
KINDS = (Network, Port, Binding, Link)
WRITES = st.one_of(NETWORKS, PORTS, BINDINGS, LINKS)
DELETES = st.tuples(st.sampled_from(KINDS), st.sampled_from(["a", "b", "c", "d", "hv1/tap", "hv2/tap"]))
WORKS = st.tuples(st.lists(WRITES | DELETES, max_size=5), st.booleans())


def attempt(truth: Truth, step: Record | tuple[type[Record], str]) -> Truth | None:
    """The truth after a write or a deletion; None when it must be refused."""
    if not isinstance(step, Record):
        return {key: record for key, record in truth.items() if key != step} if step in truth else None
    kind = type(step)
    for (other_kind, id), other in truth.items():
        if other_kind is kind and id != step.id and any(entries(other, u) & entries(step, u) for u in kind.UNIQUE):
            return None
    return truth | {(kind, step.id): step}


def scan(truth: Truth, kind: type[Record], index: Index, values: tuple[Hashable, ...]) -> tuple[Record, ...]:
    return tuple(record for record in rows(truth, kind) if values in entries(record, index))


def rows(truth: Truth, kind: type[Record]) -> tuple[Record, ...]:
    return tuple(truth[key] for key in sorted(truth, key=lambda key: key[1]) if key[0] is kind)


def answers(truth: Truth, reads: set[Read]) -> dict[Read, object]:
    found: dict[Read, object] = {}
    for read in reads:
        match read:
            case (kind,):
                found[read] = rows(truth, kind)
            case (kind, id):
                found[read] = truth.get((kind, id))
            case (kind, index, values):
                found[read] = scan(truth, kind, index, values)
    return found


def possible_reads(*truths: Truth) -> set[Read]:
    """Every question that some record of the truths is an answer to."""
    return {
        read
        for truth in truths
        for (kind, id), record in truth.items()
        for read in (
            (kind,),
            (kind, id),
            *((kind, i, values) for i in (*kind.INDEXES, *kind.UNIQUE) for values in entries(record, i)),
        )
    }


def ask(model: Model | Transaction, read: Read) -> object:
    match read:
        case (kind,):
            return model.all(kind)
        case (kind, id):
            return model.get(kind, id)
        case _:
            kind, index, values = read
            return model.where(kind, **dict(zip(index, values, strict=True)))


class AnyHistory(RuleBasedStateMachine):
    """Batches of transactions, some of which fail, against a dictionary that is scanned for every question."""

    def __init__(self) -> None:
        super().__init__()
        self.truth: Truth = {}
        self.heard: list[Change] = []
        self.runner = asyncio.Runner()
        self.store = self.runner.run(Store.open(MemoryJournal()))
        self.store.follow(self.heard.extend)
        self.served = self.runner.get_loop().create_task(self.store.run())

    def teardown(self) -> None:
        self.served.cancel()
        self.runner.run(self.store.close())
        self.runner.close()

    @rule(works=st.lists(WORKS, min_size=1, max_size=3))
    def commit_together(self, works: list[tuple[list[Record | tuple[type[Record], str]], bool]]) -> None:
        before, self.heard[:] = self.truth, []
        ends = self.runner.run(together(self.store, *(self.work(steps, fails) for steps, fails in works)))
        for end, (_, fails) in zip(ends, works, strict=True):
            if isinstance(end, BaseException) and not (fails and isinstance(end, ZeroDivisionError)):
                raise end
        touched = {read for change in self.heard for write in change.writes for read in write.touches()}
        reads = possible_reads(before, self.truth)
        old, new = answers(before, reads), answers(self.truth, reads)
        assert {read for read in reads if old[read] != new[read]} <= touched

    def work(self, steps: list[Record | tuple[type[Record], str]], fails: bool) -> Work:
        def work(tx: Transaction) -> None:
            truth = self.truth
            for step in steps:
                after = attempt(truth, step)
                try:
                    tx.put(step) if isinstance(step, Record) else tx.delete(*step)
                except (Conflict, NotFound):
                    assert after is None
                else:
                    assert after is not None
                    truth = after
                reads = possible_reads(self.truth, truth)
                assert {read: ask(tx, read) for read in reads} == answers(truth, reads)
            if fails:
                raise ZeroDivisionError
            self.truth = truth

        return work

    @invariant()
    def the_model_answers_as_a_scan_does(self) -> None:
        reads = possible_reads(self.truth)
        assert {read: ask(self.store.model, read) for read in reads} == answers(self.truth, reads)
        assert {kind: self.store.model.all(kind) for kind in KINDS} == {kind: rows(self.truth, kind) for kind in KINDS}

    @invariant()
    def history_leaves_no_trace_in_the_indexes(self) -> None:
        model, fresh = self.store.model, Model(self.store.model.revision, self.truth.values())
        for kind in KINDS:
            for index in (*kind.INDEXES, *kind.UNIQUE):
                assert model._entries.get((kind, index), {}) == fresh._entries.get((kind, index), {})


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(report_multiple_bugs=False)
