"""Pings that are sent and counted beside all else, from a place in a lab."""

from __future__ import annotations

import itertools
import os
import select
import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from mininet_scenarios.captures import SO_TIMESTAMPNS
from mininet_scenarios.errors import Late
from mininet_scenarios.frames import icmp, token
from mininet_scenarios.processes import inside, wait_until

_SOL_RAW, _ICMP_FILTER, _ICMP6_FILTER = 255, 1, 1  # linux/icmp.h, linux/icmpv6.h: the types that are not heard
_ECHO, _ECHO_REPLY, _ECHO6, _ECHO_REPLY6 = 8, 0, 128, 129
_BYTES, _WAKES_S = 56, 0.05
_FIRST_S = 0.02  # as long as ping(8) takes to begin: what a switch has acknowledged, its caches follow by then
_IDS = itertools.count(os.getpid())


@dataclass(frozen=True, slots=True)
class Replies:
    """The outcome of a run of pings; `at` has the time of each answered sequence number."""

    sent: int
    lost: int
    duplicates: int
    at: dict[int, float]

    @property
    def received(self) -> int:
        """How many replies came, duplicates included."""
        return len(self.at) + self.duplicates

    def between(self, start: float, end: float) -> int:
        """How many were answered between two times (seconds since the epoch)."""
        return sum(start <= at <= end for at in self.at.values())


class Ping:
    """Echo requests that a thread sends and counts, from the network namespace of process `pid`, or a `source` there.

    Each is waited for alike, for `patience_s`: ping(8) gives the last of several only 50 ms, or twice as long as an
    earlier one took (`schedule_exit` of iputils' ping_common.c), and, when it is stopped, nothing to those in the air.
    """

    def __init__(
        self,
        pid: int,
        target: str,
        *,
        count: int | None = None,
        interval_s: float = 0.05,
        patience_s: float = 1.0,
        mark: bytes = b"",
        source: str = "",
    ) -> None:
        self.target, self.count = target, count
        self._interval_s, self._patience_s = interval_s, patience_s
        self._id, self._data = next(_IDS) & 0xFFFF, ((mark or token()) * _BYTES)[:_BYTES]
        self._sent: list[float] = []
        self._at: dict[int, float] = {}
        self._duplicates = 0
        self._failure: BaseException | None = None
        self._over = threading.Event()
        self._sending = True
        self._family: socket.AddressFamily
        self._peer: tuple[Any, ...]
        with inside(pid):
            (self._family, _, _, _, self._peer), *_ = socket.getaddrinfo(target, 1025, type=socket.SOCK_DGRAM)
            with socket.socket(self._family, socket.SOCK_DGRAM) as probe:
                probe.connect(self._peer)  # fails at once if there is no way
            self._socket = self._open()
            if source:
                self._socket.bind((source, 0))
        self._thread = threading.Thread(target=self._run, name=f"ping {target}", daemon=True)
        self._thread.start()

    def _open(self) -> socket.socket:
        """A raw socket that hears echo replies, in the private namespace of the caller."""
        if self._family == socket.AF_INET6:
            own = socket.socket(self._family, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
            blocked = [0xFFFFFFFF] * 8
            blocked[_ECHO_REPLY6 >> 5] ^= 1 << (_ECHO_REPLY6 & 31)
            own.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("8I", *blocked))
        else:
            own = socket.socket(self._family, socket.SOCK_RAW, socket.IPPROTO_ICMP)
            own.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("I", 0xFFFFFFFF ^ 1 << _ECHO_REPLY))
        own.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        own.setblocking(False)
        return own

    def wait(self) -> Replies:
        """Wait until the last of `count` pings is answered, or is lost."""
        return self._end(10 + self._patience_s + self._interval_s * (self.count or 0))

    def stop(self) -> Replies:
        """Send no more, and wait for what is in the air."""
        self._sending = False
        return self._end(10 + self._patience_s)

    def abandon(self) -> None:
        """End it, if it still runs; nobody wants its outcome."""
        self._over.set()
        self._thread.join()

    def first_reply(self, timeout_s: float) -> float:
        """Wait for the first reply and return its time (seconds since the epoch)."""
        wait_until(f"A reply from {self.target}", lambda: "" if self._at else "none so far", timeout_s, 0.002)
        return min([*self._at.values()])

    def _end(self, timeout_s: float) -> Replies:
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            raise Late(f"The end of the pings to {self.target}", timeout_s, f"{len(self._sent)} were sent")
        if self._failure is not None:
            raise self._failure
        return Replies(len(self._sent), len(self._sent) - len(self._at), self._duplicates, dict(self._at))

    def _run(self) -> None:
        try:
            with self._socket:
                self._send_and_hear()
        except BaseException as error:  # for the thread that waits
            self._failure = error

    def _send_and_hear(self) -> None:
        due = time.monotonic() + _FIRST_S
        while not self._over.is_set():
            now = time.monotonic()
            if self._sending and now >= due:
                self._send(now)
                due = max(due + self._interval_s, now)
                if len(self._sent) == self.count:
                    self._sending = False
            left = (due if self._sending else self._given_up()) - time.monotonic()
            if left < 0 and not self._sending:
                return
            if select.select([self._socket], [], [], min(max(left, 0.0), _WAKES_S))[0]:
                self._hear()

    def _given_up(self) -> float:
        """When the last that is not answered is lost, by the monotonic clock; 0 if all are answered."""
        unanswered = (number for number in range(len(self._sent), 0, -1) if number not in self._at)
        number = next(unanswered, 0)
        return self._sent[number - 1] + self._patience_s if number else 0.0

    def _send(self, now: float) -> None:
        self._sent.append(now)
        request = struct.pack("!HH", self._id, len(self._sent) & 0xFFFF) + self._data
        six = self._family == socket.AF_INET6  # the kernel puts in that checksum
        message = bytes((_ECHO6, 0, 0, 0)) + request if six else icmp(_ECHO, 0, request)
        with suppress(OSError):  # what the sender's own kernel refuses is lost
            self._socket.sendto(message, (*self._peer[:1], 0, *self._peer[2:]))

    def _hear(self) -> None:
        while True:
            try:
                raw, ancillary, _flags, peer = self._socket.recvmsg(65536, 64)
            except BlockingIOError:
                return
            message = raw if self._family == socket.AF_INET6 else raw[(raw[0] & 0xF) * 4 :]
            id, low = struct.unpack_from("!HH", message, 4)
            if id != self._id or peer[0].partition("%")[0] != self._peer[0].partition("%")[0]:
                continue
            number = len(self._sent) - (len(self._sent) - low & 0xFFFF)
            if number in self._at:
                self._duplicates += 1
            elif message[8:] == self._data:
                seconds, nanoseconds = struct.unpack("ll", ancillary[0][2])
                self._at[number] = seconds + nanoseconds / 1e9
