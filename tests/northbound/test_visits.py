"""Clients that are slow, silent or many: each is told why, if it said anything, and the others are served."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from northbound.auth import Tokens
from northbound.visits import Visits
from tests.northbound.identity import tokens
from tests.northbound.served import Client, serving

HEAD_S, BODY_S, MOST = 0.3, 0.5, 8
POST = b"POST /v2.0/networks HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nX-Auth-Token: red\r\n\r\n"


@pytest.fixture
def visits() -> Visits:
    return Visits(HEAD_S, BODY_S, MOST)


@pytest.fixture
def api(tmp_path: Path, visits: Visits) -> Iterator[Client]:
    file = tokens(tmp_path / "tokens.toml", red=("p-red", ["member"]))
    with serving(identity=Tokens(file), visits=visits) as client:
        yield client


def connected(api: Client, stack: ExitStack | None = None) -> socket.socket:
    found = socket.create_connection(("127.0.0.1", api.port), timeout=10)
    return stack.enter_context(found) if stack else found


def heard(client: socket.socket) -> tuple[int, str]:
    """The status and the type of the error that a connection ends with; (0, "") if it ends in silence."""
    text = b""
    while part := client.recv(65536):
        text += part
    if not text:
        return 0, ""
    head, _, body = text.partition(b"\r\n\r\n")
    assert b"connection: close" in head.lower()
    return int(head.split()[1]), json.loads(body)["NeutronError"]["type"]


def well(api: Client) -> bool:
    return api.ask("GET", "/v2.0/networks", X_Auth_Token="red").status == 200


def test_the_head_of_a_request_comes_in_time_or_is_not_waited_for(api: Client) -> None:
    with connected(api) as client:
        began = time.monotonic()
        for part in (b"GET /v2.0/networks", b" HTTP/1.1\r\n", b"X-Slow: "):
            client.sendall(part)
            time.sleep(HEAD_S / 4)
        assert heard(client) == (408, "HTTPRequestTimeout")
        assert time.monotonic() - began < HEAD_S + 2
    assert well(api)


def test_who_says_nothing_is_told_nothing(api: Client) -> None:
    with connected(api) as client:
        assert heard(client) == (0, "")


def test_a_body_comes_in_time_or_is_not_waited_for(api: Client) -> None:
    with connected(api) as client:
        client.sendall(POST)
        client.sendall(b'{"network"')
        time.sleep(HEAD_S)
        client.sendall(b":")
        assert heard(client) == (408, "HTTPRequestTimeout")
    assert api.changes == []


def test_a_strangers_body_is_not_waited_for(api: Client) -> None:
    with connected(api) as client:
        began = time.monotonic()
        client.sendall(POST.replace(b"red", b"who"))
        assert client.recv(65536).startswith(b"HTTP/1.1 401")
        assert time.monotonic() - began < BODY_S


def test_a_connection_is_used_again_and_again(api: Client) -> None:
    asked = b"GET /v2.0/networks HTTP/1.1\r\nHost: x\r\nX-Auth-Token: red\r\n\r\n"
    with connected(api) as client:
        for _ in range(2):
            client.sendall(asked)
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
            time.sleep(HEAD_S + 0.1)
        client.sendall(asked[:20])
        assert heard(client) == (408, "HTTPRequestTimeout")


def test_silent_connections_make_room_for_others(api: Client) -> None:
    with ExitStack() as stack:
        crowd = [connected(api, stack) for _ in range(MOST)]
        assert well(api)
        assert heard(crowd[0]) == (0, ""), "the one that has been silent longest went"


def test_when_all_are_served_another_is_told_so(api: Client, visits: Visits) -> None:
    visits.body_s = 1.0  # the other one comes before anybody is given up
    with ExitStack() as stack:
        crowd = [connected(api, stack) for _ in range(MOST)]
        for each in crowd:
            each.sendall(POST)
        deadline = time.monotonic() + 5
        while len(visits.served) < MOST:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        late = connected(api, stack)
        late.sendall(b"GET /v2.0/networks HTTP/1.1\r\n\r\n")
        assert heard(late) == (503, "ServiceUnavailable")
        assert [heard(each)[0] for each in crowd] == [408] * MOST
    assert well(api)


def test_what_is_no_http_is_refused_and_leaves_one_line_in_the_log(
    api: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="aiohttp.server")
    for sent in (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"x" * 9000 + b"\r\n\r\n"):
        with connected(api) as client:
            client.sendall(sent)
            assert b" 400 Bad Request" in client.recv(65536)
    assert all(each.levelno <= logging.INFO and not each.exc_info for each in caplog.records), caplog.text
    assert well(api)
