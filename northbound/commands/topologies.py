"""Files of topologies, made true, and made of what there is."""

from __future__ import annotations

import argparse

from northbound.client import Client
from northbound.commands.asking import Add, command, controller, print_json


def add_apply(add: Add) -> None:
    """`weft apply`."""
    applied = command(add("apply", help="make a topology in a file true"), _apply, asks=False)
    applied.add_argument("file", metavar="FILE|-", help="a topology, in YAML (docs/topologies.md)")
    applied.add_argument("--dry-run", action="store_true", help="show the difference alone; ends 1 if there is one")
    applied.add_argument("--project", default="", metavar="ID", help="whose resources these are")


def _apply(options: argparse.Namespace) -> int:
    from northbound import apply  # which loads all resources

    return apply.run(options, Client(options.url, options.token, options.project))


def add_export(add: Add) -> None:
    """`weft export`."""
    exported = command(add("export", help="what there is, as a topology for apply"), _export)
    exported.add_argument("name", nargs="?", default="exported", help="the topology's name (default: exported)")
    exported.add_argument("--project", default="", metavar="ID", help="of this project alone")


def _export(options: argparse.Namespace) -> int:
    from northbound import apply

    topology = apply.export(controller(options), options.name, options.project)
    if options.json:
        print_json(topology)
    else:
        print(apply.text(topology), end="")
    return 0
