"""Conversations that go on: TCP connections, or datagrams, whose both ends say what they heard, and when.

A `Talk` is one end, a process in a guest: it listens, or it calls a listener as many times as wanted. Every
`interval_s` an end that is not `mute` says its next number, 0, 1, 2, ..., in each of its conversations; a mute caller
of UDP says the first. What an end hears it writes down: the conversation (the caller's port), the number, the time. So
a scenario can say when the last one came through, in which direction, and that none was lost.

    python -m mininet_scenarios.talk listen|call PROTOCOL ADDRESS PORT INTERVAL_S speak|mute COUNT FROM_PORT
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import FrameType

from mininet_scenarios.processes import Daemon, wait_until

KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
_WORD = struct.Struct("!I")


class Talk:
    """One end of conversations, in the namespaces of process `pid`."""

    def __init__(self, pid: int, *arguments: str, directory: Path, interval_s: float) -> None:
        handle, name = tempfile.mkstemp(prefix="talk-", dir=directory)
        os.close(handle)
        self.interval_s = interval_s
        program = (sys.executable, "-m", "mininet_scenarios.talk")
        self._process = Daemon(f"talk {' '.join(arguments)}", *program, *arguments, within=pid, log=Path(name))

    def _lines(self, kind: str) -> Iterator[list[str]]:
        text = self._process.log.read_text()
        for line in text[: text.rfind("\n") + 1].splitlines():
            head, *rest = line.split()
            if head == kind:
                yield rest

    def heard(self, *conversations: int) -> dict[int, dict[int, float]]:
        """When each number came, in seconds since the epoch, by conversation: the caller's port.

        Here and below, only of these conversations, if any is named.
        """
        heard: dict[int, dict[int, float]] = {}
        for conversation, number, at in self._lines("heard"):
            if not conversations or int(conversation) in conversations:
                heard.setdefault(int(conversation), {})[int(number)] = float(at)
        return heard

    def ended(self) -> dict[int, str]:
        """Which conversations ended, and of what error; "" is an orderly end."""
        return {int(conversation): " ".join(why) for conversation, *why in self._lines("ended")}

    def between(self, start: float, end: float = float("inf")) -> int:
        """How many numbers came between two times."""
        return sum(start < at <= end for numbers in self.heard().values() for at in numbers.values())

    def last(self, *conversations: int) -> float:
        """When the last one came; 0 if none has."""
        heard = self.heard(*conversations).values()
        return max((at for numbers in heard for at in numbers.values()), default=0.0)

    def lost(self, *conversations: int) -> dict[int, int]:
        """How many numbers are missing among those heard, by conversation, where any is."""
        heard = self.heard(*conversations).items()
        missing = {each: max(numbers) + 1 - len(numbers) for each, numbers in heard}
        return {each: count for each, count in missing.items() if count}

    def longest_silence(self) -> float:
        """The longest time, in seconds, between two numbers of one conversation."""
        times = [sorted(numbers.values()) for numbers in self.heard().values()]
        return max((b - a for each in times for a, b in pairwise(each)), default=0.0)

    def listening(self) -> None:
        """Wait until callers may call."""
        self._until("A listener", lambda: "" if [*self._lines("listening")] else "it does not listen yet", 5)

    def flows(self, *conversations: int, count: int = 1, timeout_s: float = 5.0) -> None:
        """Wait until `count` conversations have heard something that was not there when this was called."""
        start = time.time()

        def lacking() -> str:
            live = sum(max(numbers.values()) > start for numbers in self.heard(*conversations).values())
            return "" if live >= count else f"{live} of {count} hear anything"

        self._until(f"Words to {self._process.name}", lacking, timeout_s)

    def _until(self, what: str, lacking: Callable[[], str], timeout_s: float) -> None:
        def missing() -> str:
            self._process.must_run()
            return lacking()

        wait_until(what, missing, timeout_s, 0.05)

    def stop(self) -> None:
        """End it, and with it its conversations."""
        if self._process.running:
            self._process.stop()

    def abandon(self) -> None:
        """End it at once; nobody wants its outcome."""
        self._process.kill()


# ---- the program ----------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Conversation:
    """One of an end's conversations; `peer` is set where datagrams of many come to one socket."""

    key: int
    socket: socket.socket
    peer: tuple[str | int, ...] | None = None
    next: int = 0
    unread: bytes = b""

    def say(self) -> None:
        """Say the next number, unless the connection takes no more for now."""
        word = _WORD.pack(self.next)
        try:
            if self.peer is None:
                self.socket.send(word)
            else:
                self.socket.sendto(word, self.peer)
        except (BlockingIOError, ConnectionRefusedError):
            return
        self.next += 1

    def hear(self, data: bytes) -> None:
        """Write down the numbers that came."""
        self.unread += data
        while len(self.unread) >= _WORD.size:
            (number,) = _WORD.unpack_from(self.unread)
            self.unread = self.unread[_WORD.size :]
            print("heard", self.key, number, f"{time.time():.4f}")


class _End:
    """A listener, or a caller, until SIGTERM."""

    def __init__(self, protocol: str, address: str, port: int) -> None:
        self.kind = KINDS[protocol]
        self.family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.address, self.port = address, port
        self.conversations: dict[int, _Conversation] = {}
        self.selector = selectors.DefaultSelector()
        self.going = True
        signal.signal(signal.SIGTERM, self._leave)

    def _leave(self, _number: int, _frame: FrameType | None) -> None:
        self.going = False

    def _socket(self) -> socket.socket:
        made = socket.socket(self.family, self.kind)
        if self.kind == socket.SOCK_STREAM:  # datagram sockets that allow this are given each other's ports (socket(7))
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return made

    def listen(self) -> None:
        """Take whoever calls."""
        own = self._socket()
        own.bind((self.address, self.port))
        own.setblocking(False)
        if self.kind == socket.SOCK_STREAM:
            own.listen(1024)
            self.selector.register(own, selectors.EVENT_READ, self._accept)
        else:
            self.selector.register(own, selectors.EVENT_READ, self._receive)
        print("listening")

    def _accept(self, own: socket.socket) -> None:
        connection, peer = own.accept()
        self._begin(_Conversation(peer[1], connection))

    def _receive(self, own: socket.socket) -> None:
        data, peer = own.recvfrom(65536)
        found = self.conversations.setdefault(peer[1], _Conversation(peer[1], own, peer))
        found.hear(data)

    def call(self, count: int, from_port: int, mute: bool) -> None:
        """Call a listener `count` times, from ports that follow one another if the first is given."""
        for nth in range(count):
            own = self._socket()
            own.bind(("", from_port + nth if from_port else 0))
            own.connect((self.address, self.port))
            conversation = _Conversation(own.getsockname()[1], own)
            self._begin(conversation)
            if mute and self.kind == socket.SOCK_DGRAM:
                conversation.say()

    def _begin(self, conversation: _Conversation) -> None:
        self.conversations[conversation.key] = conversation
        conversation.socket.setblocking(False)
        if self.kind == socket.SOCK_STREAM:
            conversation.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.selector.register(conversation.socket, selectors.EVENT_READ, conversation)

    def _read(self, conversation: _Conversation) -> None:
        try:
            data = conversation.socket.recv(65536)
        except ConnectionRefusedError:  # a datagram's port was closed, for now
            return
        except OSError as error:
            self._end(conversation, os.strerror(error.errno or 0))
            return
        if data:
            conversation.hear(data)
        elif self.kind == socket.SOCK_STREAM:
            self._end(conversation, "")

    def _end(self, conversation: _Conversation, why: str) -> None:
        print("ended", conversation.key, why)
        self.selector.unregister(conversation.socket)
        del self.conversations[conversation.key]

    def run(self, interval_s: float, mute: bool) -> None:
        """Say and hear until SIGTERM."""
        due = time.monotonic()
        while self.going:
            for key, _events in self.selector.select(max(0.0, due - time.monotonic())):
                if isinstance(key.data, _Conversation):
                    self._read(key.data)
                else:
                    key.data(key.fileobj)
            if time.monotonic() >= due:
                due += interval_s
                self._speak(mute)
            sys.stdout.flush()

    def _speak(self, mute: bool) -> None:
        for conversation in () if mute else [*self.conversations.values()]:
            try:
                conversation.say()
            except OSError as error:
                self._end(conversation, os.strerror(error.errno or 0))


def main(arguments: list[str]) -> None:
    """Be one end of conversations until SIGTERM."""
    role, protocol, address, port, interval_s, manner, count, from_port = arguments
    end, mute = _End(protocol, address, int(port)), manner == "mute"
    if role == "listen":
        end.listen()
    else:
        end.call(int(count), int(from_port), mute)
    end.run(float(interval_s), mute)


if __name__ == "__main__":
    main(sys.argv[1:])
