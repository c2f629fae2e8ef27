"""The stream of a database is cut into messages, and a session over it survives what peers do."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import Disconnected, Malformed, OvsdbError
from controller.southbound.jsonrpc import MESSAGE_DEPTH, Peer, Replica, Row, Splitter
from controller.southbound.patience import Clock

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.lists(st.dictionaries(st.text(), JSON, max_size=4), max_size=5)
SPACE = st.text(" \t\r\n", max_size=3)


def split(chunks: list[bytes], limit_bytes: int = 1 << 20) -> list[Any]:
    """The messages of a stream; a last "malformed" stands for the error that ended it."""
    splitter = Splitter("peer", limit_bytes)
    found: list[Any] = []
    try:
        for chunk in chunks:
            for message in splitter.feed(chunk):
                found.append(message)
    except Malformed:
        found.append("malformed")
    return found


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


@given(OBJECTS, SPACE, st.booleans(), st.lists(st.integers(0, 10_000), max_size=30))
def test_any_chunking_of_a_stream_gives_the_same_messages(
    objects: list[Any], space: str, ascii: bool, places: list[int]
) -> None:
    stream = "".join(space + json.dumps(each, ensure_ascii=ascii) for each in objects).encode()
    assert split(cut(stream, places)) == objects


@given(OBJECTS, st.binary(max_size=20), st.integers(0, 200), st.lists(st.integers(0, 10_000), max_size=30))
def test_any_chunking_of_a_damaged_stream_gives_the_same_messages_before_the_error(
    objects: list[Any], damage: bytes, place: int, places: list[int]
) -> None:
    stream = "".join(map(json.dumps, objects)).encode()
    place %= len(stream) + 1
    stream = stream[:place] + damage + stream[place:]
    assert split(cut(stream, places), 60) == split([stream], 60)


def test_a_character_split_across_reads_stays_whole() -> None:
    stream = '{"hostname":"zürich-漢字-🛰"}'.encode()
    assert split([stream[at : at + 1] for at in range(len(stream))]) == [{"hostname": "zürich-漢字-🛰"}]


@pytest.mark.parametrize(
    "stream",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"[1]",
        b'{"a":1]',
        b'{"a":NaN}',
        b'{"a":"\xff"}',
        rb'{"a":"\ud800"}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":' + b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a":"' + b"x" * 2_000_000,
        b'{"a":"' + b"x" * 2_000_000 + b'"}',
        b'{"a":' + b" " * 2_000_000,
    ],
    ids=lambda stream: repr(stream[:20]),
)
def test_a_stream_of_something_else_is_refused(stream: bytes) -> None:
    assert split(cut(stream, list(range(0, len(stream), 65_536)))) == ["malformed"]


def test_nesting_is_allowed_up_to_the_limit() -> None:
    inner = MESSAGE_DEPTH - 1
    assert split([b'{"a":' + b"[" * inner + b"]" * inner + b"}"]) != ["malformed"]
    assert split([b'{"a":' + b"[" * (inner + 1) + b"]" * (inner + 1) + b"}"]) == ["malformed"]


@given(JSON)
def test_whatever_an_update_holds_it_is_taken_in_or_malformed(updates: Any) -> None:
    replica = Replica({"Bridge": ("name",)})
    shapes: tuple[Any, ...] = (
        updates,
        {"Bridge": updates},
        {"Bridge": {"u": updates}},
        {"Bridge": {"u": {"new": {"name": updates}}}},
    )
    for shape in shapes:
        try:
            replica.apply(shape)
            for row in replica.rows("Bridge").values():
                row.text("name")
                row.map("name")
        except Malformed:
            pass


def test_a_replica_follows_inserts_changes_and_deletions() -> None:
    replica = Replica({"Bridge": ("name", "ports", "other_config")})
    new: dict[str, Any] = {
        "name": "br-int",
        "ports": ["set", [["uuid", "p1"], ["uuid", "p2"]]],
        "other_config": ["map", [["a", "b"]]],
    }
    replica.apply({"Bridge": {"u1": {"new": new}}})
    row = replica.rows("Bridge")["u1"]
    assert (row.text("name"), row.texts("ports"), row.map("other_config")) == ("br-int", ("p1", "p2"), {"a": "b"})
    replica.apply({"Bridge": {"u1": {"old": {"name": "br-int"}, "new": {**new, "ports": ["uuid", "p1"]}}}})
    assert replica.rows("Bridge")["u1"].texts("ports") == ("p1",)
    replica.apply({"Bridge": {"u1": {"old": new}}})
    assert not replica.rows("Bridge")


def test_what_is_made_of_rows_is_made_of_those_that_changed_alone() -> None:
    replica, asked = Replica({"Port": ("name",), "Interface": ("name",)}), list[str]()

    def name(row: Row) -> str | None:
        asked.append(row.uuid)
        return row.text("name") or None

    def names(database: Replica, mark: str) -> list[str]:
        asked.append(mark)
        return [mark + each for each in database.column("Port", name).values()]

    def told(table: str, uuid: str, value: str | None) -> list[str]:
        replica.apply({table: {uuid: {"old": {}} if value is None else {"new": {"name": value}}}})
        return replica.once(names, ("Port",), "a ")

    assert told("Port", "u1", "one") == ["a one"]
    assert told("Port", "u2", "two") == ["a one", "a two"]
    assert told("Port", "u1", "") == ["a two"]
    assert told("Interface", "u1", "one") == ["a two"]
    assert told("Port", "u2", None) == []
    assert asked == ["a ", "u1", "u2", "a ", "u1", "a ", "a "]


def test_an_empty_or_unwatched_column_reads_as_empty() -> None:
    row = Row("u", {"fail_mode": (), "other_config": {}})
    assert (row.text("fail_mode"), row.map("other_config"), row.text("tag"), row.map("tag")) == ("", {}, "", {})


Talk = Callable[[Peer, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def converse(
    talk: Talk, notified: Callable[[str, list[Any]], None] = lambda method, params: None, probe_s: float = 5.0
) -> str:
    """Run a session against the far end that `talk` plays; answers why the session ended."""

    async def main() -> str:
        peers: asyncio.Queue[Peer] = asyncio.Queue()
        ended: asyncio.Queue[str] = asyncio.Queue()
        clock = Clock()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peer = Peer(reader, writer, "far end", notified, clock, probe_s=probe_s)
            peers.put_nowait(peer)
            try:
                await peer.run()
            except (Disconnected, Malformed) as error:
                ended.put_nowait(str(error))

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            ticking = group.create_task(clock.run())
            await talk(await peers.get(), reader, writer)
            writer.close()
            reason = await ended.get()
            ticking.cancel()
        server.close()
        return reason

    return asyncio.run(main())


async def receive(reader: asyncio.StreamReader) -> Any:
    splitter = Splitter("near end")
    while True:
        for message in splitter.feed(await reader.read(1)):
            return message


def test_a_probe_is_answered() -> None:
    async def talk(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'{"id":"echo","method":"echo","params":["x"]}')
        assert await receive(reader) == {"id": "echo", "result": ["x"], "error": None}

    assert "closed" in converse(talk)


def test_a_method_nobody_knows_is_refused_and_the_session_goes_on() -> None:
    async def talk(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'{"id":7,"method":"steal","params":[]}{"id":8,"method":"echo","params":[]}')
        assert await receive(reader) == {"id": 7, "result": None, "error": "unknown method"}
        assert (await receive(reader))["id"] == 8

    converse(talk)


def test_a_silent_peer_is_probed_then_given_up() -> None:
    async def talk(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert (await receive(reader))["method"] == "echo"
        assert (await receive(reader))["method"] == "echo"
        await reader.read()

    assert "silent for 0.15 s" in converse(talk, probe_s=0.05)


def test_a_peer_that_answers_probes_is_kept() -> None:
    async def talk(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(8):
            probe = await receive(reader)
            writer.write(json.dumps({"id": probe["id"], "result": [], "error": None}).encode())

    assert "closed" in converse(talk, probe_s=0.05)


def test_a_peer_that_asks_and_never_reads_is_given_up() -> None:
    async def talk(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        question = json.dumps({"id": 1, "method": "echo", "params": ["x" * 1_000_000]}).encode()
        try:
            for _ in range(100):
                writer.write(question)
                await writer.drain()
        except OSError:
            pass

    assert "does not read" in converse(talk, probe_s=0.1)


def test_a_call_ends_with_the_session() -> None:
    async def talk(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        call = asyncio.ensure_future(peer.call("monitor", []))
        await receive(reader)
        peer.close("replaced")
        with pytest.raises(Disconnected, match="replaced"):
            await call
        with pytest.raises(Disconnected, match="replaced"):
            await peer.call("monitor", [])

    assert "replaced" in converse(talk)


def test_a_call_that_is_not_answered_ends_by_itself_and_a_late_answer_harms_nothing() -> None:
    async def talk(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with pytest.raises(Disconnected, match="no answer to monitor"):
            await peer.call("monitor", [], within_s=0.05)
        asked = await receive(reader)
        writer.write(json.dumps({"id": asked["id"], "result": {}, "error": None}).encode())
        writer.write(b'{"id":8,"method":"echo","params":[]}')
        assert (await receive(reader))["id"] == 8

    converse(talk)


@pytest.mark.parametrize(
    ("result", "operation", "details"),
    [
        ([{}, {"error": "constraint violation", "details": "two\nlines"}], "insert", "two lines"),
        ([{}, {}, {"error": "referential integrity violation"}], "commit", ""),
    ],
)
def test_a_refused_transaction_names_the_operation(result: list[Any], operation: str, details: str) -> None:
    async def talk(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        transaction = asyncio.ensure_future(peer.transact("Open_vSwitch", [{"op": "wait"}, {"op": "insert"}]))
        asked = await receive(reader)
        assert asked["params"] == ["Open_vSwitch", {"op": "wait"}, {"op": "insert"}]
        writer.write(json.dumps({"id": asked["id"], "result": result, "error": None}).encode())
        with pytest.raises(OvsdbError) as refused:
            await transaction
        assert (refused.value.operation, refused.value.details) == (operation, details)

    converse(talk)


def test_a_refused_call_says_why() -> None:
    async def talk(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        call = asyncio.ensure_future(peer.call("monitor", []))
        asked = await receive(reader)
        error = {"error": "unknown database", "details": "no database named Open_vSwitch"}
        writer.write(json.dumps({"id": asked["id"], "result": None, "error": error}).encode())
        with pytest.raises(OvsdbError, match="unknown database"):
            await call

    converse(talk)


def test_updates_that_arrive_with_the_answer_to_monitor_come_after_it() -> None:
    order: list[str] = []

    async def talk(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        call = asyncio.ensure_future(peer.call("monitor", [], take=lambda _: order.append("initial")))
        asked = await receive(reader)
        answer = json.dumps({"id": asked["id"], "result": {}, "error": None})
        writer.write((answer + '{"id":null,"method":"update","params":["weft",{}]}').encode())
        await call

    converse(talk, notified=lambda method, params: order.append(method))
    assert order == ["initial", "update"]


@pytest.mark.parametrize(
    "message",
    [{}, {"id": 1}, {"result": 1}, {"method": 1, "params": []}, {"method": "update"}, {"method": "x", "params": {}}],
)
def test_a_message_that_is_no_message_ends_the_session(message: Any) -> None:
    async def talk(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(json.dumps(message).encode())
        assert await reader.read() == b""

    assert "cannot be read" in converse(talk)
