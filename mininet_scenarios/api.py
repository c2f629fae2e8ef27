"""A client of the northbound API: plain HTTP and JSON, no SDK, so that a scenario depends on nothing but the wire."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from mininet_scenarios.errors import Refused

Json = dict[str, Any]


class Api:
    """One controller's API; raises Refused for every error status, OSError when nobody listens.

    `place` leads to where it listens, for as long as it is asked: another network namespace, for instance.
    """

    def __init__(
        self, url: str, timeout_s: float = 10.0, place: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> None:
        self.url, self.timeout_s, self._place = url, timeout_s, place
        # Without a proxy handler: the environment's proxies are not in this network.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(self, path: str) -> Json:
        """The answer to a GET, {} when it is not JSON."""
        return self._ask("GET", path)

    def post(self, path: str, body: Json | None = None) -> Json:
        """The answer to a POST."""
        return self._ask("POST", path, {} if body is None else body)

    def put(self, path: str, body: Json) -> Json:
        """The answer to a PUT."""
        return self._ask("PUT", path, body)

    def delete(self, path: str) -> None:
        """Delete what is at a path."""
        self._ask("DELETE", path)

    def _ask(self, method: str, path: str, body: Json | None = None) -> Json:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, method=method)
        if data is not None:
            request.add_header("Content-Type", "application/json")
        try:
            with self._place(), self._opener.open(request, timeout=self.timeout_s) as response:
                text = response.read().decode()
                is_json = response.headers.get_content_type() == "application/json"
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(method, path, error.code, error.read().decode(errors="replace")) from error
        answer: Json = json.loads(text) if text and is_json else {}
        return answer
