"""Peers that are no proper database, or no living one, are dealt with, and harm nobody."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from controller.southbound import ovsdb
from controller.southbound.jsonrpc import MESSAGE_BYTES, Splitter
from controller.southbound.ovsdb import OvsdbListener
from tests.controller.southbound.hypervisors import Watcher, eventually, play


class Impostor:
    """The far end of a connection, which says what a test wants it to say."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._splitter = Splitter("controller")
        self._arrived: list[dict[str, Any]] = []

    @classmethod
    async def connect(cls, listener: OvsdbListener, host: str = "127.0.0.1") -> "Impostor":
        return cls(*await asyncio.open_connection(host, listener.port))

    def say(self, message: Any) -> None:
        self.writer.write(message if isinstance(message, bytes) else json.dumps(message).encode())

    async def hear(self) -> dict[str, Any]:
        while not self._arrived:
            data = await self.reader.read(65536)
            assert data, "the controller closed the connection"
            self._arrived += self._splitter.feed(data)
        return self._arrived.pop(0)

    async def be(self, name: str, **keys: str) -> None:
        """Answer the monitor with a database that holds only keys."""
        asked = await self.hear()
        assert asked["method"] == "monitor_cond"
        pairs = [["system-id", name], *([key.replace("_", "-"), value] for key, value in keys.items())]
        root = {"new": {"external_ids": ["map", pairs]}}
        self.say({"id": asked["id"], "result": {"Open_vSwitch": {"r": root}}, "error": None})

    async def closed(self) -> bool:
        """Whether the controller ends the connection."""
        try:
            async with asyncio.timeout(10):
                while await self.reader.read(65536):
                    pass
        except TimeoutError:
            return False
        except ConnectionError:
            pass
        return True

    def leave(self) -> None:
        self.writer.close()


def beside_a_good_one(deed: Callable[[OvsdbListener, Watcher], Awaitable[None]]) -> Watcher:
    """Do something while a good hypervisor is connected; it notices nothing."""

    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        good = await Impostor.connect(listener)
        await good.be("good")
        await eventually(lambda: "good" in listener.sessions)
        await deed(listener, watcher)
        good.say({"id": 1, "method": "echo", "params": []})
        assert await good.hear() == {"id": 1, "result": [], "error": None}
        assert "good" in listener.sessions
        good.leave()

    return play(scene)


NONSENSE = {
    "garbage": bytes(range(256)) * 100,
    "another protocol": b"GET / HTTP/1.1\r\n\r\n",
    "an OpenFlow hello": b"\x05\x00\x00\x08\x00\x00\x00\x01",
    "a bomb": b'{"id":null,"method":"update","params":' + b"[" * 1_000_000,
    "a huge message": b'{"id":"' + b"x" * (MESSAGE_BYTES + 1),
    "half a character": b'{"id":null,"method":"\xe2\x82","params":[]}',
    "an update of a strange shape": b'{"id":null,"method":"update","params":["weft",{"Bridge":{"u":{"new":{"name":["map",[1]]}}}}]}',
    "an update of a strange table": b'{"id":null,"method":"update","params":["weft",{"Nothing":{}}]}',
}


@pytest.mark.parametrize("said", NONSENSE.values(), ids=NONSENSE)
@pytest.mark.parametrize("named", [False, True], ids=["at once", "after joining"])
def test_a_peer_that_talks_nonsense_is_closed_with_one_line_and_harms_nobody(
    named: bool, said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def deed(listener: OvsdbListener, watcher: Watcher) -> None:
        bad = await Impostor.connect(listener)
        if named:
            await bad.be("bad")
            await eventually(lambda: "bad" in listener.sessions)
        with contextlib.suppress(ConnectionError):
            bad.say(said)
            await bad.writer.drain()
        assert await bad.closed()
        await eventually(lambda: "bad" not in listener.sessions)
        bad.leave()

    watcher = beside_a_good_one(deed)
    lines = [record for record in caplog.records if "disconnected" in record.message and "good" not in record.message]
    assert len(lines) == 1
    assert "cannot be read" in lines[0].message
    assert len(lines[0].message) < 400
    assert not [record for record in caplog.records if record.exc_info]
    assert ("lost bad" in watcher.heard) == named


def test_a_peer_that_is_another_kind_of_database_is_closed_with_one_line(caplog: pytest.LogCaptureFixture) -> None:
    async def deed(listener: OvsdbListener, watcher: Watcher) -> None:
        other = await Impostor.connect(listener)
        asked = await other.hear()
        other.say(
            {"id": asked["id"], "result": None, "error": {"error": "unknown database", "details": "hardware_vtep"}}
        )
        assert await other.closed()
        other.leave()

    beside_a_good_one(deed)
    [line] = [record.message for record in caplog.records if "disconnected" in record.message]
    assert "unknown database (hardware_vtep)" in line


def test_a_name_in_many_scripts_split_across_packets_arrives_whole() -> None:
    async def deed(listener: OvsdbListener, watcher: Watcher) -> None:
        peer = await Impostor.connect(listener)
        asked = await peer.hear()
        keys = ["map", [["system-id", "hv1"], ["hostname", "zürich-漢字"]]]
        result = {"Open_vSwitch": {"r": {"new": {"external_ids": keys}}}}
        text = json.dumps({"id": asked["id"], "result": result, "error": None}, ensure_ascii=False).encode()
        for at in range(len(text)):
            peer.say(text[at : at + 1])
            await asyncio.sleep(0)
        await eventually(lambda: watcher.last.hostname == "zürich-漢字")
        peer.leave()

    beside_a_good_one(deed)


def test_a_silent_peer_is_given_up() -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        peer = await Impostor.connect(listener)
        await peer.be("hv1")
        await eventually(lambda: "hv1" in listener.sessions)
        assert await peer.closed()
        await eventually(lambda: watcher.heard[-1] == "lost hv1")
        peer.leave()

    play(scene, probe_s=0.1)


def test_three_that_claim_one_dead_name_leave_one_of_them_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ovsdb, "TAKEOVER_PROBE_S", 0.5)

    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        dead = await Impostor.connect(listener)
        await dead.be("hv1", hostname="dead")
        await eventually(lambda: "hv1" in listener.sessions)
        claimants = [await Impostor.connect(listener) for _ in range(3)]
        for number, claimant in enumerate(claimants):
            await claimant.be("hv1", hostname=str(number))
        await eventually(lambda: watcher.last.hostname != "dead", within_s=5)

        async def answer(claimant: Impostor) -> None:
            with contextlib.suppress(AssertionError, ConnectionError):
                while message := await claimant.hear():
                    claimant.say({"id": message["id"], "result": [], "error": None})

        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            tasks = [group.create_task(answer(claimant)) for claimant in claimants]
            await eventually(lambda: sum(task.done() for task in tasks) == 2)
            await asyncio.sleep(0.5)
            assert sum(task.done() for task in tasks) == 2
            for task in tasks:
                task.cancel()
        assert listener.sessions["hv1"].seen == watcher.last
        for each in (dead, *claimants):
            each.leave()

    watcher = play(scene)
    assert watcher.heard.count("lost hv1") == 1


def test_the_list_of_the_refused_is_bounded_and_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ovsdb, "SHOWN", 3)
    monkeypatch.setattr(ovsdb, "REFUSED_S", 0.5)

    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        holders = [await Impostor.connect(listener) for _ in range(5)]
        for number, holder in enumerate(holders):
            await holder.be(f"hv{number}")
        await eventually(lambda: len(listener.sessions) == 5)
        for number, holder in enumerate(holders):
            second = await Impostor.connect(listener)
            await second.be(f"hv{number}")
            probe = await holder.hear()
            holder.say({"id": probe["id"], "result": [], "error": None})
            assert await second.closed()
            second.leave()
        assert [each.system_id for each in listener.refused] == ["hv2", "hv3", "hv4"]
        await eventually(lambda: listener.refused == ())
        for holder in holders:
            holder.leave()

    play(scene)


GOOD = {"weft_encap_ip": "192.0.2.11", "weft_encap_type": "vxlan"}


def test_a_transaction_that_came_too_late_is_no_trouble_and_is_made_again(caplog: pytest.LogCaptureFixture) -> None:
    async def deed(listener: OvsdbListener, watcher: Watcher) -> None:
        peer = await Impostor.connect(listener)
        await peer.be("hv1", **GOOD)
        for _ in range(3):
            asked = await peer.hear()
            assert [operation["op"] for operation in asked["params"][1:3]] == ["wait", "insert"]
            late = {"error": "timed out", "details": '"where" clause test failed'}
            peer.say({"id": asked["id"], "result": [late], "error": None})
        assert listener.sessions["hv1"].trouble == ""
        peer.leave()

    beside_a_good_one(deed)
    assert not [record for record in caplog.records if "in trouble" in record.message]


def test_a_hypervisor_that_connects_over_ipv6_gets_an_ipv6_controller() -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        peer = await Impostor.connect(listener, "::1")
        await peer.be("hv1", **GOOD)
        asked = await peer.hear()
        [target] = [each["row"]["target"] for each in asked["params"][1:] if each.get("table") == "Controller"]
        assert target == "tcp:[::1]:6653"
        assert listener.sessions["hv1"].address.startswith("[::1]:")
        peer.leave()

    play(scene, host="::1")


def test_a_burst_of_connections_that_vanish_harms_nobody() -> None:
    async def deed(listener: OvsdbListener, watcher: Watcher) -> None:
        for _ in range(200):
            peer = await Impostor.connect(listener)
            peer.writer.transport.abort()
        await asyncio.sleep(0.1)
        assert listener.unidentified == ()

    beside_a_good_one(deed)
