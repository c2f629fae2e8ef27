"""What was acknowledged is in the file, whatever happens to the process, to the disk or to the file."""

import asyncio
import itertools
import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import Invalid, Unavailable
from controller.model import sqlite
from controller.model.records import KINDS, Counter, Link, Network, Record
from controller.model.sqlite import MIGRATIONS, SqliteJournal, parse_url
from controller.model.store import MOST_AT_ONCE, Ack, Author, Change, Event, MemoryJournal, Store, Write
from tests.controller.model.test_packing import records
from tests.controller.model.test_store import network, put, serving, together

ROOT = Path(__file__).parents[3]
NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weft.db"


def contents(path: Path) -> tuple[int, list[Record]]:
    """What a controller that starts now finds."""
    journal = SqliteJournal(path)
    try:
        return journal.load()
    finally:
        journal.close()


def change(revision: int, *found: Record) -> Change:
    return Change(revision, "", tuple(Write(type(record), record.id, None, record) for record in found))


def refusal(path: Path) -> str:
    """Why a controller cannot start on that file."""
    with pytest.raises(Unavailable) as refused:
        contents(path)
    return refused.value.reason


def child(function: str, *arguments: object) -> subprocess.Popen[str]:
    """Another process that runs a function of this module."""
    code = f"import sys; from {__name__} import {function}; {function}(*sys.argv[1:])"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


# --- what is written is found again


@given(st.lists(records(*(kind for kind in KINDS if kind.DURABLE)), max_size=8), st.integers(1, 1 << 40))
def test_what_was_committed_is_there_after_a_restart(written: list[Record], revision: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        journal = SqliteJournal(Path(directory, "weft.db"))
        assert journal.load() == (0, [])
        journal.append([change(revision, *written)])
        journal.close()
        found = contents(journal.path)
        assert found[0] == revision
        last = {(type(record), record.id): record for record in written}
        assert {(type(record), record.id): record for record in found[1]} == last


def test_of_several_writes_in_a_batch_the_last_one_stays(path: Path) -> None:
    async def scenario() -> None:
        async with serving(SqliteJournal(path)) as store:
            await together(
                store,
                put(network("red"), network("blue", 2), network("grey", 3)),
                put(network("red", name="crimson")),
                lambda tx: tx.delete(Network, "blue"),
                lambda tx: tx.delete(Network, "grey"),
                put(network("grey", 4)),
            )

    asyncio.run(scenario())
    assert contents(path) == (5, [network("grey", 4), network("red", name="crimson")])


def test_what_hypervisors_report_anew_is_never_written_but_followed(path: Path) -> None:
    tap = Link(id="hv1/tap", chassis="hv1", interface="tap", ofport=5)

    async def scenario() -> None:
        async with serving(SqliteJournal(path)) as store:
            heard: list[Change] = []
            store.follow(heard.extend)
            await store.commit(put(tap))
            await store.commit(put(network("red"), Link(id="hv1/eth", chassis="hv1", interface="eth", ofport=1)))
            assert [len(change.writes) for change in heard] == [1, 2]
            assert store.model.get(Link, "hv1/tap") == tap

    asyncio.run(scenario())
    assert contents(path) == (2, [network("red")])
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT kind, id FROM records").fetchall() == [("Network", "red")]


def test_every_transaction_is_synced_to_the_disk(path: Path) -> None:
    journal = SqliteJournal(path)
    journal.load()
    assert journal._db is not None
    # FULL is 2 (sqlite.org, "PRAGMA synchronous"); only the connection itself can tell, and a test cannot cut the power.
    assert journal._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert journal._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    journal.close()


def test_others_see_nothing_of_a_store(path: Path) -> None:
    contents(path)
    assert len([*path.parent.iterdir()]) > 1
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) & 0o137 == 0, file


def test_a_missing_directory_is_a_slip_and_not_made(tmp_path: Path) -> None:
    path = tmp_path / "lib" / "weft" / "weft.db"
    assert refusal(path) == f"there is no directory {path.parent}; make it, or name another --store"
    assert [*tmp_path.iterdir()] == []


# --- the process dies


def commit_until_killed(path: str, first: str) -> None:
    """Five clients commit a network and a counter in one request each, and print what was acknowledged."""

    async def scenario() -> None:
        numbers = itertools.count(int(first))

        async def client(store: Store) -> None:
            for number in numbers:
                await store.commit(put(network(f"n{number}", number), Counter(id=f"n{number}", value=number)))
                print(number, flush=True)

        async with serving(SqliteJournal(Path(path))) as store:
            await asyncio.gather(*(client(store) for _ in range(5)))

    asyncio.run(scenario())


def test_no_acknowledged_commit_is_lost_and_none_is_half_there_after_kill_9(path: Path) -> None:
    acknowledged: set[str] = set()
    for start in range(0, 500_000, 100_000):
        with child("commit_until_killed", path, start) as process:
            assert process.stdout is not None
            acknowledged.update(f"n{line.strip()}" for line in itertools.islice(process.stdout, 200))
            process.kill()
            acknowledged.update(f"n{line.strip()}" for line in process.stdout if line.endswith("\n"))
        assert process.returncode == -signal.SIGKILL
    revision, found = contents(path)
    networks = {record.id for record in found if isinstance(record, Network)}
    assert len(acknowledged) >= 1000
    assert acknowledged <= networks
    assert networks == {record.id for record in found if isinstance(record, Counter)}
    assert revision == len(networks)


# --- one controller at a time


def hold(path: str) -> None:
    SqliteJournal(Path(path)).load()
    print("ready", flush=True)
    signal.pause()


def test_a_second_controller_is_refused_until_the_first_one_is_dead(path: Path) -> None:
    with child("hold", path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert refusal(path) == f"{path} is in use by another controller, process {process.pid}"
        process.kill()
    assert contents(path) == (0, [])


def test_a_running_controllers_file_can_be_read_and_copied(path: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(SqliteJournal(path)) as store:
            await store.commit(put(network("red")))
            with sqlite3.connect(path) as source, sqlite3.connect(tmp_path / "copy.db") as copy:
                source.backup(copy)
                await store.commit(put(network("blue", 2)))

    asyncio.run(scenario())
    assert contents(tmp_path / "copy.db") == (1, [network("red")])


# --- files that are not what they should be


def test_a_newer_layout_is_refused_in_one_sentence_and_left_alone(path: Path) -> None:
    contents(path)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (len(MIGRATIONS) + 2,))
    db.close()
    before = path.read_bytes()
    assert refusal(path) == f"{path} has schema version 4, written by a newer Weft; this one knows 3"
    assert path.read_bytes() == before


def test_a_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE bookmarks (url TEXT)")
    db.close()
    before = path.read_bytes()
    assert refusal(path) == f"{path} is a database of another program"
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.write_text("[store]\nurl = 'sqlite:///weft.db'\n" * 100)
    before = path.read_bytes()
    assert refusal(path) == f"{path}: file is not a database (SQLITE_NOTADB)"
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", [b"\0" * 512, b"weft" * 128])
def test_a_damaged_file_is_refused(path: Path, damage: bytes) -> None:
    journal = SqliteJournal(path)
    journal.load()
    journal.append([change(1, *(network(f"n{i}", i) for i in range(500)))])
    journal.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        for at in range(8192, size, 4096):
            file.seek(at)
            file.write(damage)
    assert str(path) in refusal(path)


def test_a_row_that_cannot_be_read_is_named(path: Path) -> None:
    contents(path)
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO records VALUES ('Network', 'red', x'c1')")
    db.close()
    assert refusal(path).startswith("Network red cannot be read: ")


@pytest.mark.parametrize("statement", ["DELETE FROM meta", "UPDATE meta SET value = 'x'"])
def test_a_file_without_its_version_is_refused(path: Path, statement: str) -> None:
    contents(path)
    with sqlite3.connect(path) as db:
        db.execute(statement)
    db.close()
    assert refusal(path).startswith("the store's schema is ")


def test_a_directory_is_no_store(path: Path) -> None:
    path.mkdir()
    assert refusal(path) == f"{path}: Is a directory"


# --- files that cannot be written


@contextmanager
def unprivileged() -> Iterator[None]:
    """As a user whom permissions bind."""
    user = os.geteuid()
    os.seteuid(NOBODY if user == 0 else user)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_directory_or_file_without_permission_is_refused_until_it_is_given() -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "weft.db")
        path.parent.chmod(0o555)
        with unprivileged():
            assert refusal(path) == f"{path}.lock: Permission denied"
        path.parent.chmod(0o777)
        with unprivileged():
            contents(path)
            path.chmod(0o444)
            assert refusal(path) == f"{path}: Permission denied"
            path.chmod(0o644)
            contents(path)


def fill_the_disk(path: str) -> None:
    """Commit until files may not grow, then until they may again; print what was acknowledged."""

    async def scenario() -> None:
        limit = 150_000
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]

        async with serving(SqliteJournal(Path(path))) as store:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            with pytest.raises(Unavailable, match="disk I/O error"):  # noqa: PT012 - which one fails is the disk's choice
                for number in itertools.count():
                    await store.commit(put(network(f"n{number}", number), Counter(id=f"n{number}", value=number)))
                    print(f"n{number}")
            assert store.problem.startswith(f"{path}: disk I/O error")
            revision, networks = store.model.revision, store.model.all(Network)
            assert revision == len(networks) == number

            heard: list[Sequence[Change]] = []
            store.follow(heard.append)
            refused = await together(
                store, *(put(network(f"r{i}", 1000 + i, description="x" * 99)) for i in range(100))
            )
            assert {type(answer) for answer in refused} == {Unavailable}
            assert (store.model.revision, store.model.all(Network), heard) == (revision, networks, [])

            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            await store.commit(put(network("after", 999), Counter(id="after", value=999)))
            print("after")
            assert store.problem == ""
            assert store.model.revision == revision + 1

    asyncio.run(scenario())


def test_a_full_disk_refuses_whole_commits_and_later_ones_work_again(path: Path) -> None:
    with child("fill_the_disk", path) as process:
        assert process.stdout is not None
        acknowledged = process.stdout.read().split()
    assert process.returncode == 0
    revision, found = contents(path)
    assert len(acknowledged) > 5
    assert {record.id for record in found if isinstance(record, Network)} == set(acknowledged)
    assert {record.id for record in found if isinstance(record, Counter)} == set(acknowledged)
    assert revision == len(acknowledged)


@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_a_file_that_was_moved_away_takes_no_writes_until_it_is_back(path: Path, suffix: str) -> None:
    async def scenario() -> None:
        async with serving(SqliteJournal(path)) as store:
            await store.commit(put(network("red")))
            file, away = path.with_name(path.name + suffix), path.with_name("away")
            file.rename(away)
            with pytest.raises(Unavailable, match="was moved, removed or replaced while in use"):
                await store.commit(put(network("blue", 2)))
            assert store.model.all(Network) == (network("red"),)
            away.rename(file)
            await store.commit(put(network("grey", 3)))

    asyncio.run(scenario())
    assert contents(path) == (2, [network("grey", 3), network("red")])


def test_an_operators_lock_refuses_commits_while_it_lasts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_S", 0.01)

    async def scenario() -> None:
        async with serving(SqliteJournal(path)) as store:
            shell = sqlite3.connect(path, isolation_level=None)
            shell.execute("BEGIN IMMEDIATE")
            with pytest.raises(Unavailable, match="database is locked"):
                await store.commit(put(network("red")))
            shell.execute("ROLLBACK")
            shell.close()
            await store.commit(put(network("blue", 2)))

    asyncio.run(scenario())
    assert contents(path) == (1, [network("blue", 2)])


def test_nobody_is_refused_for_what_a_neighbour_failed_to_write(path: Path) -> None:
    async def scenario() -> None:
        async with serving(SqliteJournal(path)) as store:
            os.rename(path, path.with_name("away"))
            answers = await together(store, put(network("red", 5)), put(network("blue", 5)))
            assert [type(answer) for answer in answers] == [Unavailable, Unavailable]

    asyncio.run(scenario())


def test_a_value_that_cannot_be_packed_is_refused_and_the_store_goes_on(path: Path) -> None:
    async def scenario() -> None:
        async with serving(SqliteJournal(path)) as store:
            with pytest.raises(Unavailable, match="Network red cannot be written: Integer value out of range"):
                await store.commit(put(network("red", mtu=1 << 64)))
            await store.commit(put(network("blue", 2)))

    asyncio.run(scenario())
    assert contents(path) == (1, [network("blue", 2)])


def test_a_closed_journal_takes_no_writes(path: Path) -> None:
    journal = SqliteJournal(path)
    with pytest.raises(Unavailable, match="is not open"):
        journal.append([change(1, network("red"))])


# --- stopping


def test_a_commit_that_is_being_written_while_the_store_stops_ends_and_is_whole_or_nothing(path: Path) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(5):
            store = await Store.open(SqliteJournal(path))
            served = asyncio.create_task(store.run())
            writing = asyncio.create_task(store.commit(put(network("red"), Counter(id="c", value=1))))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            served.cancel()
            with pytest.raises(asyncio.CancelledError):
                await writing
            await store.close()

    asyncio.run(scenario())
    assert contents(path) in ((0, []), (1, [Counter(id="c", value=1), network("red")]))


# --- the option


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///weft.db", Path.cwd() / "weft.db"),
        ("sqlite:///state/weft.db", Path.cwd() / "state" / "weft.db"),
        ("sqlite:////var/lib/weft/weft.db", Path("/var/lib/weft/weft.db")),
    ],
)
def test_three_slashes_are_a_relative_path_and_four_an_absolute_one(url: str, path: Path) -> None:
    assert parse_url(url) == SqliteJournal(path)


def test_a_store_may_be_memory_alone() -> None:
    assert isinstance(parse_url("memory://"), MemoryJournal)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("etcd://10.0.0.1:2379", "etcd:// is not in this release"),
        ("sqlite://weft.db", "is none of sqlite:///RELATIVE, sqlite:////ABSOLUTE and memory://"),
        ("sqlite:///", "is none of"),
        ("sqlite:///weft.db?mode=ro", "is none of"),
        ("sqlite:///state/", "is none of"),
        ("memory", "is none of"),
        ("memory://x", "is none of"),
        ("/var/lib/weft.db", "is none of"),
        ("postgresql://db/weft", "is none of"),
    ],
)
def test_a_store_that_does_not_exist_is_refused(url: str, reason: str) -> None:
    with pytest.raises(Invalid, match=f"Invalid input for store. Reason: .*{reason}"):
        parse_url(url)


# migrations


def _renamed(db: sqlite3.Connection) -> None:
    db.execute("UPDATE records SET id = id || '-migrated' WHERE kind = 'Counter'")


def _fails(db: sqlite3.Connection) -> None:
    _renamed(db)
    raise sqlite3.OperationalError("a migration that cannot be")


def _counters(path: Path) -> dict[str, str]:
    with sqlite3.connect(path) as db:
        return dict(db.execute("SELECT kind, id FROM records"))


def test_an_older_file_is_migrated_when_it_is_loaded_and_a_copy_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "weft.db"
    old = SqliteJournal(path, migrations=())
    old.load()
    old.append([Change(7, "", (Write(Counter, "a", None, Counter(id="a", value=1)),))])
    old.close()
    new = SqliteJournal(path, migrations=(_renamed,))
    revision, _ = new.load()
    new.close()
    assert revision == 7
    assert _counters(path) == {"Counter": "a-migrated"}
    assert _counters(tmp_path / "weft.db.schema1") == {"Counter": "a"}
    again = SqliteJournal(path, migrations=(_renamed,))
    again.load()
    again.close()
    assert _counters(path) == {"Counter": "a-migrated"}
    with pytest.raises(Unavailable, match="written by a newer Weft"):
        SqliteJournal(path, migrations=()).load()


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "weft.db"
    old = SqliteJournal(path, migrations=())
    old.load()
    old.append([Change(7, "", (Write(Counter, "a", None, Counter(id="a", value=1)),))])
    old.close()
    with pytest.raises(Unavailable, match="cannot be"):
        SqliteJournal(path, migrations=(_renamed, _fails)).load()
    assert _counters(path) == {"Counter": "a"}
    kept = SqliteJournal(path, migrations=())
    assert kept.load()[0] == 7
    kept.close()


# the log


def logged(number: int, at: float, *records: Record) -> Change:
    """A change that makes records, some seconds after the epoch."""
    writes = tuple(Write(type(each), each.id, None, each) for each in records)
    return Change(number, f"req-{number}", writes, Author("ann", "p"), at)


def test_the_log_has_what_was_changed_and_when_who_had_it(path: Path) -> None:
    journal = SqliteJournal(path)
    journal.load()
    now = time.time()
    odd = network("red\udce9", 1, description="before")
    made = [logged(1, now, odd), logged(3, now, network("blue", 2)), logged(4, now, Counter(id="x", value=2))]
    journal.append(made[:1])
    journal.append(made[1:])
    journal.note([Ack(3, "hv1", now + 1), Ack(3, "hv2", now + 2), Ack(3, "hv1", now + 9)])
    changed = Change(
        5, "", (Write(Network, odd.id, odd, replace(odd, description="after")),), Author(chassis="hv\udce9"), now
    )
    gone = Change(6, "", (Write(Network, "blue", network("blue", 2), None),), at=now)
    journal.append([changed, gone])
    assert [event.change for event in journal.events("", 100, 9)] == [gone, changed, *reversed(made)]
    assert [event.change for event in journal.events("", 5, 2)] == [made[2], made[1]]
    assert [event.change for event in journal.events(odd.id, 100, 9)] == [changed, made[0]]
    assert journal.events("blue", 6, 9) == [Event(made[1], {"hv1": now + 1, "hv2": now + 2})]
    assert journal.events("nobody", 100, 9) == []
    journal.close()
    again = SqliteJournal(path)
    again.load()
    assert len(again.events("", 100, 9)) == 5
    again.close()


@pytest.mark.parametrize("kind", ["sqlite", "memory"])
def test_who_had_many_changes_at_once_had_each_of_them(path: Path, kind: str) -> None:
    journal = SqliteJournal(path) if kind == "sqlite" else MemoryJournal()
    journal.load()
    journal.append([logged(number, time.time(), network(f"n{number}", number)) for number in range(1, 8)])
    journal.note([Ack(2, "hv1", 2.0), Ack(5, "hv1", 5.0, since=3), Ack(6, "hv2", 6.0, since=1), Ack(7, "hv1", 7.0)])
    journal.note([Ack(2 + MOST_AT_ONCE, "hv3", 9.0, since=3)])
    assert {event.change.revision: event.acknowledged for event in journal.events("", 100, 9)} == {
        7: {"hv1": 7.0, "hv3": 9.0},
        6: {"hv2": 6.0, "hv3": 9.0},
        5: {"hv1": 5.0, "hv2": 6.0, "hv3": 9.0},
        4: {"hv1": 5.0, "hv2": 6.0, "hv3": 9.0},
        3: {"hv1": 5.0, "hv2": 6.0, "hv3": 9.0},
        2: {"hv1": 2.0, "hv2": 6.0},
        1: {"hv2": 6.0},
    }
    journal.close()


def test_a_log_in_which_changes_are_missing_is_begun_anew(path: Path) -> None:
    """A Weft that knows no log wrote meanwhile."""
    journal = SqliteJournal(path)
    journal.load()
    journal.append([logged(1, time.time(), network("red"))])
    journal.close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE meta SET value = 2 WHERE key = 'revision'")
    journal.load()
    assert journal.events("", 100, 9) == journal.events("red", 100, 9) == []
    journal.append([logged(3, time.time(), network("blue", 2))])
    assert [event.change.revision for event in journal.events("", 100, 9)] == [3]
    journal.close()


def test_a_log_that_does_not_say_what_it_is_about_is_begun_anew(path: Path) -> None:
    """A Weft that had an index of it wrote meanwhile."""
    journal = SqliteJournal(path)
    journal.load()
    journal.append([logged(1, time.time(), network("red")), logged(2, time.time(), network("blue", 2))])
    journal.close()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE touched (id, revision)")
        db.execute("DELETE FROM about WHERE revision = 2")
    journal.load()
    assert journal.events("", 100, 9) == []
    journal.close()


def test_whose_mark_is_anothers_too_is_not_taken_for_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_mark", lambda _: b"same")
    journal = SqliteJournal(path)
    journal.load()
    journal.append([logged(number, time.time(), network(f"n{number}", number)) for number in range(1, 9)])
    assert [event.change.revision for event in journal.events("n3", 100, 1)] == [3]
    journal.close()


def test_a_file_of_before_there_was_a_log_gets_one(path: Path) -> None:
    journal = SqliteJournal(path)
    journal.load()
    journal.append([logged(1, time.time(), network("red"))])
    journal.close()
    with sqlite3.connect(path) as db:
        for table in ("events", "about", "acks", "spans"):
            db.execute(f"DROP TABLE {table}")
    assert journal.load() == (1, [network("red")])
    assert journal.events("", 100, 9) == []
    journal.close()


def test_what_is_older_is_forgotten_a_little_at_a_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_TRIM_EVERY", 2)
    monkeypatch.setattr(sqlite, "_TRIM", 3)
    journal = SqliteJournal(path, keep_s=1000)
    journal.load()
    now = time.time()
    journal.append([logged(number, now - 5000, network(f"n{number}", number)) for number in range(1, 9)])
    journal.note([Ack(1, "hv1", now), Ack(9, "hv1", now), Ack(8, "hv1", now, since=7), Ack(12, "hv1", now, since=10)])
    for number in range(9, 15):
        journal.append([logged(number, now, network(f"n{number}", number))])
    assert [event.change.revision for event in journal.events("", 100, 99)] == [*range(14, 8, -1)]
    assert journal.events("n1", 100, 9) == []
    assert journal.events("n9", 100, 9)[0].acknowledged == {"hv1": now}
    with sqlite3.connect(path) as db:
        assert [db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("about", "acks", "spans")] == [
            6,
            1,
            1,
        ]
    journal.close()


def test_no_log_is_kept_if_none_is_wanted(path: Path) -> None:
    journal = SqliteJournal(path, keep_s=0)
    journal.load()
    journal.append([logged(1, time.time(), network("red"))])
    journal.note([Ack(1, "hv1", 1.0)])
    assert journal.events("", 100, 9) == []
    journal.close()


def test_who_had_a_change_is_kept_when_the_store_is_closed(path: Path) -> None:
    async def scenario() -> None:
        async with serving(SqliteJournal(path)) as store:
            await store.commit(put(network("red")), by=Author("ann", "p"))
            store.acknowledge("hv1", [(1, 1)])

    asyncio.run(scenario())
    journal = SqliteJournal(path)
    journal.load()
    (event,) = journal.events("red", 2, 9)
    journal.close()
    assert event.acknowledged.keys() == {"hv1"}
    assert (event.change.by, event.change.at > 1e9) == (Author("ann", "p"), True)
