"""Who asks, in tests: a file of tokens, and an identity service that knows those it was told (Identity API v3)."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from northbound.auth import digest

PASSWORD = "secret"
SERVICE = "neutron"
"""The user by whom the Networking API asks."""


def tokens(path: Path, **owners: tuple[str, list[str]]) -> Path:
    """A file with a token for each owner, called as the owner is."""
    tables = (
        f'[[token]]\nsha256 = "{digest(name)}"\nproject = "{project}"\nroles = {json.dumps(roles)}\n'
        for name, (project, roles) in owners.items()
    )
    path.write_text("\n".join(tables))
    return path


@dataclass
class Identity:
    """An identity service of the tokens it was told, over HTTP. `asked` are the tokens it was asked about."""

    users: dict[str, dict[str, Any]] = field(default_factory=dict)
    services: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    logins: int = 0
    broken: int = 0
    """The status of all answers about tokens, while it is not 0."""
    url: str = ""
    network: str = ""
    """Where the catalog says that the Networking API is."""

    def add(self, token: str, project: str, *roles: str, seconds: float = 3600) -> None:
        """Know a token, for so long."""
        expires = datetime.fromtimestamp(time.time() + seconds, UTC).isoformat().replace("+00:00", "Z")
        self.users[token] = {
            "methods": ["password"],
            "user": {"id": f"u-{token}", "name": token, "domain": {"id": "default", "name": "Default"}},
            "project": {"id": project, "name": project, "domain": {"id": "default", "name": "Default"}},
            "roles": [{"id": role, "name": role} for role in roles],
            "expires_at": expires,
        }

    def catalog(self) -> list[dict[str, Any]]:
        """The services of the cloud, and where each is."""
        where = {"network": self.network, "identity": self.url}
        return [
            {
                "id": type,
                "name": type,
                "type": type,
                "endpoints": [{"id": type, "interface": "public", "region": "r", "region_id": "r", "url": url}],
            }
            for type, url in where.items()
        ]

    @contextmanager
    def running(self) -> Iterator[Identity]:
        """Serve on loopback while the block runs; `url` says where."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Answers, self))
        self.url = f"http://127.0.0.1:{server.server_address[1]}/v3"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, identity: Identity, *arguments: Any) -> None:
        self.identity = identity
        super().__init__(*arguments)  # which answers

    def log_message(self, format: str, *arguments: object) -> None: ...

    def answer(self, status: int, body: object, **headers: str) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_POST(self) -> None:
        """A token for a password."""
        identity, asked = self.identity, json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        user = asked["auth"]["identity"]["password"]["user"]
        if self.path != "/v3/auth/tokens" or user["password"] != PASSWORD:
            return self.answer(401, {})
        if user["name"] in identity.users:
            shown = {**identity.users[user["name"]], "catalog": identity.catalog()}
            return self.answer(201, {"token": shown}, X_Subject_Token=user["name"])
        if user["name"] != SERVICE:
            return self.answer(401, {})
        identity.logins += 1
        token = f"service-{identity.logins}"
        identity.services.add(token)
        return self.answer(201, {"token": {}}, X_Subject_Token=token)

    def do_GET(self) -> None:
        """Whose a token is; a project; or which API this is."""
        identity = self.identity
        if self.path.startswith("/v3/projects/"):
            id = self.path.rpartition("/")[2]
            return self.answer(200, {"project": {"id": id, "name": id, "domain_id": "default", "links": {}}})
        if self.path != "/v3/auth/tokens":
            link = {"rel": "self", "href": f"{identity.url}/"}
            return self.answer(200, {"version": {"id": "v3.14", "status": "stable", "links": [link]}})
        subject = self.headers["X-Subject-Token"]
        identity.asked.append(subject)
        if identity.broken:
            return self.answer(identity.broken, {})
        if self.headers["X-Auth-Token"] not in identity.services:
            return self.answer(401, {})
        if subject not in identity.users:
            return self.answer(404, {})
        return self.answer(200, {"token": identity.users[subject]})
