"""The model and what switches hold, kept in a file."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlencode

from northbound.commands import connections
from northbound.commands.asking import Add, command, controller


def add_bundle(add: Add) -> None:
    """`weft bundle`."""
    kept = command(add("bundle", help="keep the model and what switches hold in a file"), _bundle, asks=False)
    kept.add_argument("file", metavar="FILE|-", help="what to write (docs/debugging.md has the format)")
    kept.add_argument(
        "--chassis", action="append", metavar="NAME", help="dump this one; default: all that are connected"
    )
    kept.add_argument("--no-dumps", action="store_true", help="the model and the dictionary of flows alone")
    kept.add_argument(
        "--conntrack",
        action="append",
        default=[],
        metavar="CHASSIS[=FILE]",
        help=f"add the connections of a hypervisor: {connections.TEXT}",
    )


def _bundle(options: argparse.Namespace) -> int:
    from northbound import archive

    given = dict(connections.named(each) for each in options.conntrack)
    asked = [("chassis", name) for name in options.chassis or ()] + [("dumps", "false")] * options.no_dumps
    content = controller(options).fetch(f"/v1/bundle?{urlencode(asked)}")
    made = archive.opened("what the controller sent", io.BytesIO(content))
    if given:
        content = archive.packed(archive.with_conntrack(made.members, given))
    if options.file == "-":
        sys.stdout.buffer.write(content)
    else:
        keep(Path(options.file), content)
    manifest = made.manifest
    if options.json:
        print(json.dumps(manifest, indent=2), file=sys.stderr if options.file == "-" else sys.stdout)
    for name, reason in manifest["unreachable"].items():
        print(f"weft: without a dump of {name}: {reason}", file=sys.stderr)
    for name in manifest["moved"]:
        print(f"weft: {name} kept changing: its dump may be a little older than the model", file=sys.stderr)
    return 1 if manifest["unreachable"] else 0


def keep(path: Path, content: bytes) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    made = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
        made.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error  # of which the name means something to people
    finally:
        with suppress(OSError):
            made.unlink(missing_ok=True)
