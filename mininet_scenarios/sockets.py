"""One question of one guest to another, asked and answered by sockets in their namespaces, without a process.

A socket belongs to the network namespace in which it was opened, so both ends can be held here: the kernel of the guest
takes connections for a socket that listens, and what came as datagrams is sent back from here.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum

from mininet_scenarios.processes import inside
from mininet_scenarios.talk import KINDS

CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Transfer:
    """How so many bytes came over TCP: in how long, and the longest time in which none did."""

    bytes: int
    seconds: float
    longest_stall_s: float


class Outcome(Enum):
    """What becomes of a connection."""

    CONNECTED = "connected"
    REFUSED = "refused"
    SILENT = "silent"


def family(address: str) -> socket.AddressFamily:
    """That of an address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def call(pid: int, address: str, port: int, patience_s: float) -> Outcome:
    """What becomes of a TCP connection, called from the network namespace of process `pid`."""
    with inside(pid), socket.socket(family(address), socket.SOCK_STREAM) as caller:
        caller.settimeout(patience_s)
        try:
            caller.connect((address, port))
        except TimeoutError:
            return Outcome.SILENT
        except ConnectionRefusedError:
            return Outcome.REFUSED
        return Outcome.CONNECTED


def transfer(places: tuple[int, int], address: str, port: int, size: int, patience_s: float) -> Transfer:
    """Send `size` bytes over TCP; `places` are processes in the namespaces of who sends and who listens.

    What had not come in time is not in the outcome.
    """
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        listener, caller = (stack.enter_context(_opened(pid, address)) for pid in reversed(places))
        listener.bind((address, port))
        listener.listen()
        selector.register(listener, selectors.EVENT_READ)
        start = last = time.monotonic()
        caller.connect_ex((address, port))
        selector.register(caller, selectors.EVENT_WRITE)
        sent = came = 0
        longest = 0.0
        for ready in _ready(selector, start + patience_s):
            if ready is listener:
                taken, _ = listener.accept()
                selector.register(stack.enter_context(taken), selectors.EVENT_READ)
            elif ready is caller:
                sent += caller.send(bytes(min(CHUNK, size - sent)))
                if sent == size:
                    selector.unregister(caller)
            else:
                came += len(taken.recv(CHUNK))
                longest, last = max(longest, time.monotonic() - last), time.monotonic()
                if came >= size:
                    break
        return Transfer(came, last - start, max(longest, time.monotonic() - last))


def _ready(selector: selectors.BaseSelector, deadline: float) -> Iterator[object]:
    """The sockets as they become ready, until the deadline by the monotonic clock."""
    while (left := deadline - time.monotonic()) > 0:
        for key, _events in selector.select(left):
            yield key.fileobj


def _opened(pid: int, address: str) -> socket.socket:
    with inside(pid):
        own = socket.socket(family(address), socket.SOCK_STREAM)
    own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    own.setblocking(False)
    return own


def reopened(
    places: tuple[int, int],
    address: str,
    port: int,
    own: tuple[str, int],
    from_port: int,
    *,
    both: bool,
    patience_s: float = 5.0,
) -> float | None:
    """Connect, let the caller forget the connection, or `both` ends, without a word to anybody, as machines do that
    lose power; connect again from the same port. In how many seconds words passed both ways; None when they never did.

    `places` are processes in the namespaces of who calls and who listens at `own`, which is known as `address`, `port`.
    """
    with ExitStack() as stack:
        listener = stack.enter_context(_opened(places[1], address))
        listener.bind(own)
        listener.listen()
        for start in (None, time.monotonic()):
            caller = stack.enter_context(_opened(places[0], address))
            for each in (listener, caller):
                each.settimeout(patience_s)
            caller.bind(("", from_port))
            try:
                caller.connect((address, port))
                called, _ = listener.accept()
                for speaker, hearer in ((caller, called), (called, caller)):
                    speaker.sendall(bytes(1000))
                    hearer.settimeout(patience_s)
                    hearer.recv(1000, socket.MSG_WAITALL)
            except TimeoutError:
                return None
            if start is not None:
                called.close()
                return time.monotonic() - start
            for end in (caller, called) if both else (caller,):
                end.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
                end.close()
            if not both:
                stack.enter_context(called)
            time.sleep(_AWAY_S)
    raise AssertionError("it ends with the second connection")


_AWAY_S = 0.1
"""In so long, initial sequence numbers grow by more than the window of a connection that has just begun (RFC 6528)."""
_TCP_REPAIR = 19
"""While this is set, a socket says nothing when it is closed (linux/tcp.h)."""


def refused(pid: int, address: str, port: int, size: int, patience_s: float = 2.0) -> bool:
    """Whether an ICMP error comes back for a datagram, as the kernel tells its sender."""
    with inside(pid), socket.socket(family(address), socket.SOCK_DGRAM) as sender:
        sender.settimeout(patience_s)
        sender.connect((address, port))
        sender.send(bytes(size))
        try:
            sender.recv(1)
        except ConnectionRefusedError:
            return True
        except TimeoutError:
            return False
    return False


def reached(
    places: tuple[int, int],
    protocol: str,
    address: str,
    own_address: str,
    ports: Sequence[int],
    size: int,
    options: Mapping[int, bytes],
    patience_s: float,
    higher: int = 0,
) -> set[int]:
    """From which ports an answer comes; `places` are processes in the namespaces of who asks and who answers.

    Who answers does at its `own_address`, whichever `address` it is known by, and at ports so much lower than asked.
    """
    callers, listeners = places
    with ExitStack() as stack, selectors.DefaultSelector() as selector:

        def opened() -> socket.socket:
            own = stack.enter_context(socket.socket(family(address), KINDS[protocol]))
            own.setblocking(False)
            return own

        with inside(listeners):
            for port in ports:
                _answer(opened(), (own_address, port), selector)
        with inside(callers):
            for port in ports:
                own = opened()
                _ask(own, (address, port + higher), size, options)
                event = selectors.EVENT_WRITE if own.type == socket.SOCK_STREAM else selectors.EVENT_READ
                selector.register(own, event, port)
        return _await(selector, len(ports), patience_s)


def _ask(own: socket.socket, target: tuple[str, int], size: int, options: Mapping[int, bytes]) -> None:
    for option, value in options.items():
        own.setsockopt(socket.IPPROTO_IPV6, option, value)
    if own.type == socket.SOCK_DGRAM:
        own.connect(target)
        own.send(bytes(size))
    else:
        own.connect_ex(target)


def _answer(own: socket.socket, address: tuple[str, int], selector: selectors.BaseSelector) -> None:
    """A connection is answered by the kernel, a datagram from here."""
    own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    own.bind(address)
    if own.type == socket.SOCK_DGRAM:
        selector.register(own, selectors.EVENT_READ, None)
    else:
        own.listen()


def _await(selector: selectors.BaseSelector, count: int, patience_s: float) -> set[int]:
    answered: set[int] = set()
    deadline = time.monotonic() + patience_s
    while len(answered) < count and (left := deadline - time.monotonic()) > 0:
        for key, _events in selector.select(left):
            own = key.fileobj
            assert isinstance(own, socket.socket)
            if key.data is None:
                data, peer = own.recvfrom(65536)
                own.sendto(data, peer)
                continue
            selector.unregister(own)
            if _is_answer(own):
                answered.add(key.data)
    return answered


def _is_answer(own: socket.socket) -> bool:
    """Did it connect, or hear its datagram again? Or was it an error?"""
    if own.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        return False
    return own.type == socket.SOCK_STREAM or bool(own.recv(65536))


def send_raw(pid: int, address: str, protocol: int, payload: bytes) -> None:
    """Send a packet of an IP protocol by its number from the namespace of process `pid`; the kernel adds the header."""
    with inside(pid), socket.socket(family(address), socket.SOCK_RAW, protocol) as own:
        own.sendto(payload, (address, 0))


def send_datagram(pid: int, address: str, port: int, payload: bytes) -> None:
    """Send a UDP datagram from the namespace of process `pid`, and hear no answer."""
    with inside(pid), socket.socket(family(address), socket.SOCK_DGRAM) as own:
        own.sendto(payload, (address, port))
