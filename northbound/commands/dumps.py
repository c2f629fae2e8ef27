"""What Open vSwitch prints, in words: dumps of flows, groups, connections, the datapath; traces."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from northbound import conn, explain
from northbound.client import Client, Unanswered
from northbound.commands import connections
from northbound.commands.asking import CHASSIS, Add, command, controller, print_json, read_text

LINES = 2_000
"""Connections of a dump that are asked about at once: the controller serves switches, too."""
DECISIONS = 500
"""Flows of a datapath that are asked about at once: a line of these takes four times as long."""


def add_explain(add: Add) -> None:
    """`weft explain`."""
    what = command(add("explain", help="annotate what Open vSwitch prints"), _explain)
    what.add_argument(
        "file",
        metavar="FILE|-",
        help="what ovs-ofctl dump-flows, dump-groups, or ovs-appctl ofproto/trace, dpctl/dump-flows -m, "
        "dpctl/dump-conntrack printed",
    )
    what.add_argument("--chassis", metavar="NAME", help="whose datapath or connections these are, if there are several")


def _explain(options: argparse.Namespace) -> int:
    found = explain.read(read_text(options.file).splitlines())
    known = {**_dictionary(options, found), **_joined(options, found)}
    explained = explain.explain(found, known)
    if options.json:
        print_json(explain.as_json(explained))
    else:
        for line in explain.text(explained):
            print(line)
    return 0


def _dictionary(options: argparse.Namespace, lines: Sequence[explain.Line]) -> Mapping[str, Any]:
    """Why there are these flows and groups. Raises Unanswered, BadArchive."""
    cookies, groups = explain.cookies(lines), explain.groups(lines)
    if not cookies and not groups:
        return {}
    if options.bundle:
        from northbound import archive

        return archive.read(Path(options.bundle)).dictionary
    answer = controller(options).post("/v1/explain", {"cookies": cookies, "groups": groups})
    return {**answer["flows"], **{explain.group_key(int(id)): entry for id, entry in answer["groups"].items()}}


def _joined(options: argparse.Namespace, lines: Sequence[explain.Line]) -> Mapping[str, str]:
    """Whose the connections and the flows of a datapath are, in words. Raises Unanswered, BadArchive."""
    flowing, decisions = (explain.of(lines, sort) for sort in (explain.Sort.CONNECTION, explain.Sort.DATAPATH))
    if not flowing and not decisions:
        return {}
    client = controller(options)
    name = quote(options.chassis or _only_chassis(client), safe="")
    known: dict[str, str] = {}
    for start in range(0, len(flowing), LINES):
        dump = "\n".join(flowing[start : start + LINES])
        found = client.post(f"/v1/conn/{name}", {"dump": dump})["connections"]
        known.update((each["text"], conn.sentence(each)) for each in found if conn.is_known(each))
    for start in range(0, len(decisions), DECISIONS):
        dump = "\n".join(decisions[start : start + DECISIONS])
        flows = client.post(f"/v1/datapath/{name}", {"dump": dump})["flows"]
        known.update((each["text"], each["words"]) for each in flows if each["words"])
    return known


def _only_chassis(client: Client) -> str:
    """Raises Unanswered when there are several."""
    names = [each["name"] for each in client.get("/v1/chassis")["chassis"]]
    if len(names) != 1:
        raise Unanswered(f"say whose dump it is: --chassis NAME, one of {', '.join(names) or 'none'}")
    return str(names[0])


def add_conn(add: Add) -> None:
    """`weft conn`."""
    whose = command(add("conn", help="whose connections a hypervisor has, and what allows them"), _conn)
    whose.add_argument("chassis", help=CHASSIS)
    whose.add_argument("file", metavar="FILE|-", nargs="?", help=connections.TEXT)


def _conn(options: argparse.Namespace) -> int:
    client, path = controller(options), f"/v1/conn/{quote(options.chassis, safe='')}"
    lines = connections.of(options).splitlines()
    found: list[Mapping[str, Any]] = []
    for start in range(0, max(1, len(lines)), LINES):
        found += client.post(path, {"dump": "\n".join(lines[start : start + LINES])})["connections"]
    if options.json:
        print_json({"connections": found})
    else:
        for line in conn.text(found):
            print(line)
    return 0
