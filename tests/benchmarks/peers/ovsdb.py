"""A client of an ovsdb-server (RFC 7047): transactions, and what is monitored as it changes, each with its time.

It speaks from the thread that calls it, and hears from one of its own, so that the time of an update is when it came
and not when somebody looked. What cannot be done is an exception; a server that does not answer, `Late`.
"""

from __future__ import annotations

import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from mininet_scenarios.errors import Late

Json: TypeAlias = dict[str, Any]
Operation: TypeAlias = Json
Heard: TypeAlias = Callable[[Json, float], None]
"""Called with the tables of an update, and when it came (`time.monotonic`)."""

ANSWER_S = 110.0
BATCH = 500
"""So many rows are written in one transaction."""


class OvsdbRefused(Exception):
    """Raised when a server refuses a transaction."""


class Database:
    """A connection to one database of a server."""

    def __init__(self, path: Path, name: str) -> None:
        self._name = name
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._ids = itertools.count(1)
        self._answers: dict[int, Json] = {}
        self._monitors: list[Heard] = []
        self._changed = threading.Condition()
        self._sending = threading.Lock()
        self._over = False
        threading.Thread(target=self._listen, name=f"ovsdb {name}", daemon=True).start()

    def transact(self, *operations: Operation) -> list[Json]:
        """What each operation answers. Raises OvsdbRefused."""
        answers: list[Json] = self._call("transact", [self._name, *operations])
        for answer in answers:
            if answer and "error" in answer:
                raise OvsdbRefused(json.dumps(answer))
        return answers

    def select(self, table: str, column: str, value: object, wanted: str = "_uuid") -> Any:
        """A column of the one row of a table that has a value in another column."""
        where = {"op": "select", "table": table, "where": [[column, "==", value]], "columns": [wanted]}
        (row,) = self.transact(where)[0]["rows"]
        return row[wanted]

    def monitor(self, table: str, columns: list[str], heard: Heard) -> None:
        """Have a table's rows told, as they are and as they change."""
        self._monitors.append(heard)
        found = self._call("monitor", [self._name, f"{table} {next(self._ids)}", {table: [{"columns": columns}]}])
        heard(found, time.monotonic())

    def wait(self, what: str, true: Callable[[], object], timeout_s: float) -> None:
        """Wait until something is true that updates make true. Raises Late."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._over or true(), timeout_s) or not true():
                raise Late(what, timeout_s, "it never was")

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def _call(self, method: str, parameters: object) -> Any:
        number = next(self._ids)
        self._send({"id": number, "method": method, "params": parameters})
        self.wait(f"An answer of {self._name}", lambda: number in self._answers, ANSWER_S)
        answer = self._answers.pop(number)
        if answer.get("error"):
            raise OvsdbRefused(json.dumps(answer["error"]))
        return answer["result"]

    def _send(self, message: Json) -> None:
        with self._sending:
            self._socket.sendall(json.dumps(message).encode())

    def _listen(self) -> None:
        decoder, text = json.JSONDecoder(), ""
        while data := self._received():
            text += data
            while text:
                try:
                    message, end = decoder.raw_decode(text)
                except ValueError:  # the rest is still to come
                    break
                text = text[end:].lstrip()
                self._take(message, time.monotonic())
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _received(self) -> str:
        try:
            return self._socket.recv(1 << 20).decode()
        except OSError:
            return ""

    def _take(self, message: Json, at: float) -> None:
        if message.get("method") == "echo":
            self._send({"id": message["id"], "result": message["params"], "error": None})
            return
        with self._changed:
            if message.get("method") == "update":
                for heard in self._monitors:
                    heard(message["params"][1], at)
            else:
                self._answers[message["id"]] = message
            self._changed.notify_all()


# ---- what the protocol calls values ---------------------------------------------------------------------------------


def mapping(values: Mapping[str, str]) -> list[object]:
    """A map (RFC 7047 section 5.1)."""
    return ["map", [[key, value] for key, value in values.items()]]


def several(values: Iterable[object]) -> list[object]:
    """A set."""
    return ["set", [*values]]


def new(name: str) -> list[object]:
    """A row of this transaction, by the name that its insertion has."""
    return ["named-uuid", name]


def insert(table: str, called: str = "", /, **row: object) -> Operation:
    """Insert a row, which this transaction may call by a name."""
    return {"op": "insert", "table": table, "row": row, **({"uuid-name": called} if called else {})}


def mutate(table: str, column: str, value: object, *mutations: list[object]) -> Operation:
    """Mutate the rows of a table that have a value in a column."""
    return {"op": "mutate", "table": table, "where": [[column, "==", value]], "mutations": [*mutations]}
