"""What the client commands need of HTTP."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any

TIMEOUT_S = 60


class Unanswered(Exception):
    """Raised when the controller cannot be reached, or refuses; `str()` says what to do."""


class NotThere(Unanswered):
    """Raised when the controller knows nothing of what it is asked about."""


class Client:
    """A controller by the URL of its API."""

    def __init__(
        self, url: str, token: str = "", project: str = "", opener: urllib.request.OpenerDirector | None = None
    ) -> None:
        self._url, self._token, self._project = url.rstrip("/"), token, project
        self._open = opener.open if opener else urllib.request.urlopen

    def get(self, path: str) -> Any:
        """The JSON that GET answers. Raises Unanswered."""
        return self._ask("GET", path)

    def post(self, path: str, body: object, timeout_s: float = TIMEOUT_S) -> Any:
        """The JSON that POST answers. Raises Unanswered."""
        return self._ask("POST", path, json.dumps(body).encode(), timeout_s)

    def put(self, path: str, body: object) -> Any:
        """The JSON that PUT answers. Raises Unanswered."""
        return self._ask("PUT", path, json.dumps(body).encode())

    def send(self, method: str, path: str, body: object = None) -> Any:
        """The JSON that is answered, if any. Raises Unanswered."""
        return self._ask(method, path, None if body is None else json.dumps(body).encode())

    def delete(self, path: str) -> None:
        """DELETE. Raises Unanswered."""
        self._ask("DELETE", path)

    def fetch(self, path: str) -> bytes:
        """What GET answers, whatever it is. Raises Unanswered."""
        return self._fetch("GET", path)

    def _ask(self, method: str, path: str, body: bytes | None = None, timeout_s: float = TIMEOUT_S) -> Any:
        content = self._fetch(method, path, body, timeout_s)
        try:
            return json.loads(content) if content else None
        except ValueError as error:
            raise self._stranger() from error

    def _stranger(self) -> Unanswered:
        return Unanswered(f"what answers at {self._url} is no Weft API; say --url http://HOST:PORT")

    def _fetch(self, method: str, path: str, body: bytes | None = None, timeout_s: float = TIMEOUT_S) -> bytes:
        if not self._url.startswith(("http://", "https://")):
            raise Unanswered(f"'{self._url}' is no URL; say --url http://HOST:PORT")
        try:
            headers = {"Content-Type": "application/json"}
            if self._token:
                headers["X-Auth-Token"] = self._token
            if self._project:
                headers["X-Project-Id"] = self._project
            request = urllib.request.Request(self._url + path, body, headers, method=method)
            with self._open(request, timeout=timeout_s) as answer:
                content: bytes = answer.read()
            return content
        except urllib.error.HTTPError as error:
            raise (NotThere if error.code == 404 else Unanswered)(_refusal(error)) from error
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise Unanswered(f"no controller answers at {self._url}: {reason}; is `weft serve` running?") from error
        except (HTTPException, ValueError) as error:
            raise self._stranger() from error


def _refusal(error: urllib.error.HTTPError) -> str:
    if error.code == 401:
        return "the controller wants a token: say --token, or set WEFT_TOKEN or OS_TOKEN"
    try:
        return str(json.loads(error.read())["NeutronError"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"the controller answered {error.code} {error.reason}"
