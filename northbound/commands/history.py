"""What changed, who made a flow what it is, and the model and the flows as they were."""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlencode

from northbound import explain
from northbound.client import Unanswered
from northbound.commands.asking import Add, at_least_one, command, controller, print_json
from northbound.commands.bundle import keep

Main: TypeAlias = Callable[[Sequence[str]], int]
"""Runs a command line; its exit code."""


def add_history(add: Add) -> None:
    """`weft history`."""
    changed = command(
        add("history", help="what changed, when, on whose behalf, and when hypervisors had it"),
        _history,
    )
    changed.add_argument("object", nargs="?", default="", help="an object by id or name (default: everything)")
    changed.add_argument("--limit", type=at_least_one, default=20, metavar="N", help="so many changes (default: 20)")


def _history(options: argparse.Namespace) -> int:
    query = urlencode({"object": options.object, "limit": options.limit})
    answer = controller(options).get(f"/v1/history?{query}")
    if options.json:
        print_json(answer)
        return 0
    from northbound import annals

    for event in answer["events"]:
        print("\n".join(annals.text(event)))
    if not answer["events"]:
        print(f"no change of {options.object or 'anything'} is remembered")
    return 0


def add_blame(add: Add) -> None:
    """`weft blame`."""
    who = command(add("blame", help="which change made a flow what it is"), _blame)
    who.add_argument("flow", metavar="COOKIE|LINE", help="its cookie, or its line of a dump")
    who.add_argument("--chassis", metavar="NAME", help="on this hypervisor (default: any)")
    who.add_argument("--most", type=at_least_one, metavar="N", help="go back so many changes at the most")


def _blame(options: argparse.Namespace) -> int:
    found = re.search(r"0x[0-9a-fA-F]{1,16}", options.flow)
    if found is None:
        raise Unanswered(f"'{options.flow}' has no cookie like 0xa7...")
    asked = {"cookie": found[0].lower(), "chassis": options.chassis, "most": options.most}
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    answer = controller(options).get(f"/v1/blame?{query}")
    if options.json:
        print_json(answer)
        return 0
    from northbound import annals

    print(answer["flow"]["text"])
    print(f"    # {explain.sentence(answer['flow'])}")
    if answer["event"]:
        print("\n".join(annals.text(answer["event"])))
    else:
        print("it is older than what is remembered, or than was looked at (--most)")
    return 0


def add_at(add: Add, main: Main) -> None:
    """`weft at`, which runs another command."""
    then = command(add("at", help="the model and the flows as they were"), partial(_at, main))
    then.add_argument(
        "time", metavar="TIME", help="like 2026-11-26T10:30 or 10:30 (local), 15m, 2h or 3d (ago), or r41 (a revision)"
    )
    then.add_argument("--save", metavar="FILE", help="keep it, as a file for --bundle")
    then.add_argument("command", nargs=argparse.REMAINDER, help="any command that takes --bundle, asked of that time")


def _at(main: Main, options: argparse.Namespace) -> int:
    when = urlencode(_moment(options.time))
    if options.command == ["--json"]:
        options.json, options.command = True, []
    elif options.command and options.command[0].startswith("-"):
        raise Unanswered(f"say options of weft at before the time: weft at {options.command[0]} ... {options.time}")
    client = controller(options)
    if options.save or options.command:
        with tempfile.TemporaryDirectory() as directory:
            file = Path(options.save or f"{directory}/then")
            keep(file, client.fetch(f"/v1/bundle?{when}"))
            return main([*options.command, "--bundle", str(file)]) if options.command else 0
    answer = client.get(f"/v1/at?{when}")
    if options.json:
        print_json(answer)
        return 0
    from northbound import annals

    print(f"revision {answer['revision']}: " + ", ".join(f"{n} {kind}" for kind, n in answer["records"].items() if n))
    print("\n".join(annals.text(answer["since"])) if answer["since"] else "nothing changed since")
    return 0


_AGO = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def _moment(said: str) -> Mapping[str, Any]:
    """A time, as `/v1` takes it. Raises Unanswered."""
    if ago := re.fullmatch(r"(\d+)([smhd])", said):
        return {"time": time.time() - int(ago[1]) * _AGO[ago[2]]}
    if revision := re.fullmatch(r"r(\d+)", said):
        return {"revision": int(revision[1])}
    try:
        if re.fullmatch(r"\d?\d:\d\d(:\d\d(\.\d+)?)?", said):
            said = f"{datetime.now().date()}T{said.rjust(5, '0')}"
        at = datetime.fromisoformat(said).timestamp()
    except ValueError:
        raise Unanswered(f"'{said}' is no time like 2026-11-26T10:30, 10:30, 15m or r41") from None
    if at > time.time():
        raise Unanswered(f"{said} is yet to come; say the day, like 2026-11-26T10:30, or 15m, 2h or 3d for ago")
    return {"time": at}
