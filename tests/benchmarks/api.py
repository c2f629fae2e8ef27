"""The Networking API of real controllers, one with no port and one with 20,000, beside bare commits to SQLite, in turns.

A turn makes a port at the one, a port at the other, and commits the same bytes to a file of its own, as durably as the
store does (write-ahead log, `synchronous=FULL`): what comes in between slows all three. The ports are deleted again,
which does not count. One client asks, over one connection to each.
"""

from __future__ import annotations

import http.client
import json
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from mininet_scenarios.processes import Daemon, beside_python, wait_until
from tests.benchmarks.fleet import free_ports
from tests.benchmarks.report import Figure, at_most

TURNS = 300
WARM = 40
LISTS = 30
FILLERS = 63
FILLER = 300
LONG, SHORT = 1_000, 100
PORTS = LONG + SHORT + FILLERS * FILLER
ROW = os.urandom(900)
"""About what a port and what comes with it weigh in the store."""


class Api:
    """A controller, and a connection to it that stays."""

    def __init__(self, directory: Path, name: str, stack: ExitStack) -> None:
        port, openflow, ovsdb = free_ports(3)
        options = (
            f"--store=sqlite:///{directory}/{name}.db",
            f"--api=127.0.0.1:{port}",
            f"--openflow=127.0.0.1:{openflow}",
            f"--ovsdb=127.0.0.1:{ovsdb}",
            "--log-level=warning",
        )
        daemon = Daemon(name, beside_python("weft"), "serve", *options, log=directory / f"{name}.log")
        stack.callback(daemon.stop)
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        stack.callback(self._connection.close)
        wait_until("the API", self._silence, 20)
        self.network = self.make("network", {"name": name})["id"]
        self.make("subnet", {"network_id": self.network, "ip_version": 4, "cidr": "10.0.0.0/16"})

    def _silence(self) -> str:
        try:
            self.ask("GET", "/")
        except OSError as error:
            self._connection.close()
            return str(error)
        return ""

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """What is answered; a refusal raises ValueError."""
        sent = None if body is None else json.dumps(body)
        self._connection.request(method, path, sent, {"Content-Type": "application/json"} if sent else {})
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise ValueError(f"{method} {path}: {answer.status} {text[:300]!r}")
        return json.loads(text) if text else None

    def make(self, kind: str, attributes: object) -> Any:
        """Make one resource."""
        return self.ask("POST", f"/v2.0/{kind}s", {kind: attributes})[kind]

    def fill(self, ports: int) -> str:
        """Make a network with so many ports; its id."""
        network = str(self.make("network", {})["id"])
        self.make("subnet", {"network_id": network, "ip_version": 4, "cidr": "10.0.0.0/16"})
        body = {"ports": [{"network_id": network, "name": f"vm{each}"} for each in range(ports)]}
        self.ask("POST", "/v2.0/ports", body)
        return network

    def port(self) -> float:
        """Make a port, and delete it; seconds that the first took."""
        body = {"port": {"network_id": self.network, "name": "vm"}}
        began = time.perf_counter()
        made = self.ask("POST", "/v2.0/ports", body)
        took = time.perf_counter() - began
        self.ask("DELETE", f"/v2.0/ports/{made['port']['id']}")
        return took


class Bare:
    """Commits of one row, with nothing around them."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self._db = sqlite3.connect(directory / "bare.db", isolation_level=None)
        stack.callback(self._db.close)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("CREATE TABLE records (id INTEGER PRIMARY KEY, value BLOB)")

    def commit(self) -> float:
        """One; the seconds."""
        began = time.perf_counter()
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute("INSERT INTO records (value) VALUES (?)", (ROW,))
        self._db.execute("COMMIT")
        return time.perf_counter() - began


def run() -> Iterator[Figure]:
    """The figures of the API."""
    with tempfile.TemporaryDirectory(prefix="weft-api-") as place, ExitStack() as stack:
        directory = Path(place)
        empty, full, bare = Api(directory, "empty", stack), Api(directory, "full", stack), Bare(directory, stack)
        long, short = full.fill(LONG), full.fill(SHORT)
        for _ in range(FILLERS):
            full.fill(FILLER)
        turns = [(empty.port(), full.port(), bare.commit()) for _ in range(WARM + TURNS)][WARM:]
        none, many, commits = zip(*turns, strict=True)
        yield Figure("a port made at 0 ports, p50", median(none) * 1e3, "ms")
        yield Figure("a port made at 0 ports, p99", _p99(none) * 1e3, "ms")
        yield Figure(f"a port made at {PORTS:,} ports, p50", median(many) * 1e3, "ms")
        yield Figure(f"a port made at {PORTS:,} ports, p99", _p99(many) * 1e3, "ms")
        yield Figure("a bare commit, p50", median(commits) * 1e3, "ms")
        yield Figure(f"p50 at {PORTS:,} ports against 0", median(many) / median(none), "times", at_most(1.5))
        yield Figure(f"p99 at {PORTS:,} ports against 0", _p99(many) / _p99(none), "times", at_most(1.5))
        more = max(median(none), median(many)) - median(commits)
        yield Figure("p50 of a port made, beyond that of a bare commit", more * 1e3, "ms", at_most(3))
        for network, count in ((long, LONG), (short, SHORT)):
            yield from _lists(full, network, count)


def _lists(api: Api, network: str, count: int) -> Iterator[Figure]:
    queries = {
        "": f"network_id={network}",
        ", by three filters": f"network_id={network}&admin_state_up=true&status=DOWN",
        ", some fields of it": f"network_id={network}&fields=id&fields=name&fields=fixed_ips",
    }
    for what, query in queries.items():
        took = [_listed(api, query, count) for _ in range(LISTS)]
        yield Figure(f"a list of {count:,} ports of {PORTS:,}{what}, p50", median(took) * 1e3, "ms")


def _listed(api: Api, query: str, count: int) -> float:
    """List ports, which must be so many; the seconds."""
    began = time.perf_counter()
    found = len(api.ask("GET", f"/v2.0/ports?{query}")["ports"])
    took = time.perf_counter() - began
    if found != count:
        raise ValueError(f"{query}: {found} ports, not {count}")
    return took


def _p99(times: Sequence[float]) -> float:
    return quantiles(times, n=100)[98]
