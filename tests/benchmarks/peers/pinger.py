"""ICMP echo requests from a guest, each with its time and that of its answer."""

from __future__ import annotations

import itertools
import os
import select
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from typing import Self

from mininet_scenarios.frames import icmp
from mininet_scenarios.hosts import Host
from mininet_scenarios.processes import inside

ECHO, ECHO_REPLY = 8, 0
OFTEN_S = 0.002
"""How far apart requests are while the first answer is waited for."""
LINGER_S = 0.5
_ids = itertools.count(os.getpid() * 16)


@dataclass(slots=True)
class Pinger:
    """Requests to one address, in a thread of one's own or not; `sent` and `came` are times by number."""

    source: Host
    address: str
    sent: dict[int, float] = field(default_factory=dict)
    came: dict[int, float] = field(default_factory=dict)
    _id: int = field(default_factory=lambda: next(_ids) & 0xFFFF)
    _socket: socket.socket = field(init=False)

    def __enter__(self) -> Self:
        with inside(self.source.pid):
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self._socket.setblocking(False)
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def lost(self) -> list[int]:
        """The numbers of those that nobody answered."""
        return [number for number in self.sent if number not in self.came]

    def first_reply(self, timeout_s: float) -> float | None:
        """Ask often until an answer comes; when it came (`time.monotonic`), or None."""
        until = time.monotonic() + timeout_s
        while not self.came and (now := time.monotonic()) < until:
            self._send()
            self._receive(now + OFTEN_S, until_first=True)
        return min(self.came.values(), default=None)

    def run(self, interval_s: float, over: threading.Event) -> None:
        """Ask at fixed times until it is over, and wait for the last answers."""
        due = time.monotonic()
        while not over.is_set():
            self._send()
            due += interval_s
            self._receive(due)
        self._receive(time.monotonic() + LINGER_S)

    def outage_s(self) -> float:
        """From the first to the last that nobody answered."""
        times = [self.sent[number] for number in self.lost]
        return max(times) - min(times) if times else 0.0

    def answered_after(self, moment: float) -> float | None:
        """When the first answer came to a request that was sent after a moment."""
        return min((at for number, at in [*self.came.items()] if self.sent[number] > moment), default=None)

    def _send(self) -> None:
        number = len(self.sent) & 0xFFFF
        self.sent[number] = time.monotonic()
        try:
            self._socket.sendto(icmp(ECHO, 0, struct.pack("!HH", self._id, number) + bytes(32)), (self.address, 0))
        except OSError:  # nobody answers for the address: that request is lost
            return

    def _receive(self, until: float, *, until_first: bool = False) -> None:
        while (left_s := until - time.monotonic()) > 0:
            if not select.select([self._socket], [], [], left_s)[0]:
                return
            data = self._socket.recv(2048)
            kind, id, number = struct.unpack_from("!BxxxHH", data, (data[0] & 15) * 4)
            if kind == ECHO_REPLY and id == self._id:
                self.came.setdefault(number, time.monotonic())
                if until_first:
                    return
