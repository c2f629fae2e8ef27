"""Fifty clients at once, and the controller killed while it serves them: nothing is given out twice, no answer is
broken, and what was acknowledged is there."""

from __future__ import annotations

import http.client
import json
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CLIENTS = 50
OPERATIONS = 40
"""Of each client: 2,000 in all."""
PATIENCE_S = 30.0


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@dataclass
class Controller:
    """`weft serve` on a store in a directory, at the same ports after every start."""

    directory: Path
    ports: list[int] = field(default_factory=lambda: free_ports(3))
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        api, openflow, ovsdb = (f"127.0.0.1:{port}" for port in self.ports)
        store = f"sqlite:///{self.directory}/weft.db"
        command = [str(Path(sys.executable).with_name("weft")), "serve", "--api", api, "--openflow", openflow]
        with open(self.directory / "log", "ab") as log:
            self.process = subprocess.Popen(
                [*command, "--ovsdb", ovsdb, "--store", store, "--log-level", "warning"], stderr=log
            )
        deadline = time.monotonic() + PATIENCE_S
        while self.ask("GET", "/readyz")[0] != 200:
            assert time.monotonic() < deadline, (self.directory / "log").read_text()
            time.sleep(0.05)

    def stop(self, how: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(how)
        self.process.wait(PATIENCE_S)

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        """The status and the answer; 0 when there was none: nobody knows what became of it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[0], timeout=PATIENCE_S)
        sent = None if body is None else json.dumps(body)
        try:
            connection.request(method, path, sent, {"Content-Type": "application/json", **headers})
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None
        except (OSError, http.client.HTTPException):
            return 0, None
        finally:
            connection.close()

    def everything(self) -> dict[str, list[Any]]:
        """Every list that there is."""
        found = {}
        for resource in self.ask("GET", "/v2.0/")[1]["resources"]:
            status, body = self.ask("GET", f"/v2.0/{resource['collection']}")
            assert status == 200 or resource["name"] == "auto_allocated_topology", resource
            found[resource["collection"]] = body.get(resource["collection"], [])
        return found


@contextmanager
def serving(directory: Path) -> Iterator[Controller]:
    controller = Controller(directory)
    controller.start()
    try:
        yield controller
    finally:
        controller.stop(signal.SIGKILL)


@dataclass
class Person:
    """One client, at work on what all share and on what it made; it knows what it was told."""

    controller: Controller
    number: int
    network: str
    external: str
    counter: str
    kept: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    counted: int = 0

    def work(self) -> None:
        dice = random.Random(self.number)
        for _ in range(OPERATIONS):
            dice.choice(
                (self.make_port, self.make_port, self.make_network, self.make_floating_ip, self.remove, self.count)
            )(dice)

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        for _ in range(200):  # the controller is away for a moment: go on when it is back
            status, answer = self.controller.ask(method, path, body, **headers)
            self.statuses[status] += 1
            if status or method != "GET":
                return status, answer
            time.sleep(0.05)
        raise AssertionError("the controller did not come back")

    def made(self, kind: str, status: int, answer: Any) -> None:
        assert status in (0, 201), answer
        if status == 201:
            self.kept[answer[kind]["id"]] = f"{kind}s"

    def make_port(self, dice: random.Random) -> None:
        self.made("port", *self.ask("POST", "/v2.0/ports", {"port": {"network_id": self.network}}))

    def make_network(self, dice: random.Random) -> None:
        self.made("network", *self.ask("POST", "/v2.0/networks", {"network": {"name": f"n{self.number}"}}))

    def make_floating_ip(self, dice: random.Random) -> None:
        asked = {"floatingip": {"floating_network_id": self.external}}
        self.made("floatingip", *self.ask("POST", "/v2.0/floatingips", asked))

    def remove(self, dice: random.Random) -> None:
        if not self.kept:
            return
        id = dice.choice(sorted(self.kept))
        kind = self.kept.pop(id)
        status, answer = self.ask("DELETE", f"/v2.0/{kind}/{id}")
        assert status in (0, 204), answer
        if status == 204:
            self.gone.add(id)

    def count(self, dice: random.Random) -> None:
        """One more in the description of what everybody counts in, unless somebody else was first."""
        status, answer = self.ask("GET", f"/v2.0/networks/{self.counter}")
        assert status == 200
        found = answer["network"]
        more = {"network": {"description": str(int(found["description"] or 0) + 1)}}
        match = f"revision_number={found['revision_number']}"
        status, answer = self.ask("PUT", f"/v2.0/networks/{self.counter}", more, **{"If-Match": match})
        assert status in (0, 200, 412), answer
        self.counted += status == 200


def test_fifty_clients_and_a_crash_lose_nothing_and_get_nothing_twice(tmp_path: Path) -> None:
    with serving(tmp_path) as controller:
        shared, external, counter = (
            controller.ask("POST", "/v2.0/networks", {"network": network})[1]["network"]["id"]
            for network in ({}, {"router:external": True}, {"name": "counter"})
        )
        for network, cidr in ((shared, "10.0.0.0/16"), (external, "198.18.0.0/20")):
            subnet = {"network_id": network, "cidr": cidr, "ip_version": 4}
            assert controller.ask("POST", "/v2.0/subnets", {"subnet": subnet})[0] == 201
        people = [Person(controller, number, shared, external, counter) for number in range(CLIENTS)]
        failures: list[BaseException] = []

        def work(person: Person) -> None:
            try:
                person.work()
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(person,)) for person in people]
        for thread in threads:
            thread.start()
        time.sleep(1.0)
        controller.stop(signal.SIGKILL)
        controller.start()
        for thread in threads:
            thread.join(PATIENCE_S * 4)
        assert failures == []
        statuses = sum((person.statuses for person in people), Counter[int]())
        assert {status for status in statuses if status >= 500} == set()
        assert statuses[0] > 0, "nobody was interrupted"
        assert sum(statuses.values()) >= CLIENTS * OPERATIONS * 0.8

        found = controller.everything()
        ids = {each["id"] for kind in ("ports", "networks", "floatingips") for each in found[kind]}
        lost = [id for person in people for id in person.kept if id not in ids]
        returned = [id for person in people for id in person.gone if id in ids]
        assert (lost, returned) == ([], [])
        assert (
            twice((port["network_id"], ip["ip_address"]) for port in found["ports"] for ip in port["fixed_ips"]) == []
        )
        assert twice((port["network_id"], port["mac_address"]) for port in found["ports"]) == []
        assert (
            twice((each["provider:network_type"], each["provider:segmentation_id"]) for each in found["networks"]) == []
        )
        assert twice(each["floating_ip_address"] for each in found["floatingips"]) == []
        halves = Counter(port["device_id"] for port in found["ports"] if port["device_owner"] == "network:floatingip")
        assert halves == Counter(each["id"] for each in found["floatingips"]), "each has its port, and no port is left"
        counted = int(next(each["description"] for each in found["networks"] if each["id"] == counter) or 0)
        unknown = sum(person.statuses[0] for person in people)
        assert sum(person.counted for person in people) <= counted <= sum(person.counted for person in people) + unknown

        controller.stop(signal.SIGTERM)
        controller.start()
        assert controller.everything() == found


def twice(values: Iterator[Any]) -> list[Any]:
    """What is there more than once."""
    return [value for value, times in Counter(values).items() if times > 1]
