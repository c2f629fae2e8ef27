"""The console at `/console`: a page that shows what the API says, and asks nothing else of anybody."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from aiohttp import web

HERE: Final = Path(__file__).parent
TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
POLICY: Final = "default-src 'self'; style-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'"
"""The page loads nothing from elsewhere, and runs nothing that is not its own (Content Security Policy, level 3)."""


def add_routes(app: web.Application) -> None:
    """Serve the page's files."""
    app.router.add_get("/console", _moved)
    app.router.add_get("/console/", _file)
    app.router.add_get("/console/{name}", _file)


async def _moved(_: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": "/console/"})


async def _file(request: web.Request) -> web.Response:
    path = HERE / request.match_info.get("name", "index.html")
    if path.parent != HERE or path.suffix not in TYPES or not path.is_file():
        raise web.HTTPNotFound
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    return web.Response(body=path.read_bytes(), content_type=TYPES[path.suffix], charset="utf-8", headers=headers)
