"""What all commands that ask a controller have in common: whom they ask, how they print, what they read."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path
from typing import Protocol

from northbound.client import Client

DEFAULT_URL = "http://127.0.0.1:9696"
CHASSIS = "its name, as in `weft chassis list`"


class Add(Protocol):
    """Adds a command, by its name, to those of `weft`."""

    def __call__(self, name: str, *, help: str) -> argparse.ArgumentParser: ...


def command(
    parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], int], *, asks: bool = True
) -> argparse.ArgumentParser:
    """A command that speaks to a controller; one that `asks` and changes nothing may ask an archive instead."""
    url = os.environ.get("WEFT_URL", DEFAULT_URL)
    parser.add_argument("--url", default=url, help=f"the controller's API (WEFT_URL, default {DEFAULT_URL})")
    token = os.environ.get("WEFT_TOKEN") or os.environ.get("OS_TOKEN", "")
    parser.add_argument("--token", default=token, help="an administrator's token (WEFT_TOKEN, OS_TOKEN)")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    if asks:
        parser.add_argument("--bundle", metavar="FILE", help="ask what `weft bundle` kept in this file instead")
    parser.set_defaults(run=run, bundle=None)
    return parser


def controller(options: argparse.Namespace) -> Client:
    """Whom a command asks."""
    if not options.bundle:
        return Client(options.url, options.token)
    from northbound import past  # which loads all that the controller is made of

    opened: Client = options.opened.enter_context(past.opened(Path(options.bundle)))
    return opened


def print_json(answer: object) -> None:
    """Print an answer as it is."""
    print(json.dumps(answer, indent=2))


def at_least_one(said: str) -> int:
    """How many, of an option. Raises ArgumentTypeError."""
    if not (said.isascii() and said.isdigit() and int(said)):
        raise argparse.ArgumentTypeError(f"'{said}' is no number of at least 1")
    return int(said)


def read_text(name: str) -> str:
    """What a file holds, or what comes in."""
    if name == "-":
        given = sys.stdin
        return given.buffer.read().decode("utf-8", "replace") if isinstance(given, TextIOWrapper) else given.read()
    with open(name, encoding="utf-8", errors="replace") as file:
        return file.read()
