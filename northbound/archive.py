"""The file that `weft bundle` writes: what the controller knew and what switches held, to be asked later (`past`).

A gzipped tar archive of JSON; of what there is several times, one object a line. `docs/debugging.md` has the format.

    weft-bundle/manifest.json                 format, version of Weft, time, revision, what is in it and what is not
                records.jsonl                 the model: {"kind", "value"}
                dictionary.jsonl              every flow that should be anywhere, by cookie: app, reason, API objects
                status.json                   as GET /v1/chassis answered
                history.jsonl                 the newest changes, the newest first (`chronicle`)
                chassis/NAME/flows.jsonl      what its switch held, with counts; groups, meters, ports likewise
                chassis/NAME/database.json    what its database said of it
                chassis/NAME/conntrack.txt    the text of ovs-appctl dpctl/dump-conntrack

Nothing of it is a secret: no token, no password, no option of `weft serve`. What is read is parsed when it is asked
for, so that a part which a newer Weft wrote keeps nobody from the others.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, Final, TypeVar
from urllib.parse import quote, unquote

from controller.errors import BadArchive, NotFound, SouthboundError, Unavailable
from controller.model.packing import pack, pack_row, unpack, unpack_row
from controller.model.records import KINDS, Record
from controller.model.sqlite import SCHEMA
from controller.model.store import Event
from controller.southbound.counts import Count
from controller.southbound.dumps import Dump
from controller.southbound.explained import Explanation
from controller.southbound.fleet import Fleet
from controller.southbound.messages import Meter, PortDesc
from controller.southbound.openflow import EncodedFlow, EncodedGroup
from controller.southbound.reconcile import Installed
from controller.southbound.spoken import flow_text, group_text
from northbound import chronicle
from northbound.explain import group_key

FORMAT: Final = 1
"""What this writes, and the newest that it reads."""
ROOT: Final = "weft-bundle/"
ROUNDS: Final = 5
"""So often are switches dumped again of which the model wanted something else meanwhile."""
MOST_BYTES: Final = 4 << 30
"""An archive holds no more than this: a small file may claim to be anything."""

Members = Mapping[str, bytes]
"""What is in an archive, by path below `ROOT`."""
Entry = Mapping[str, Any]
"""A line of the dictionary, as `/v1/explain` answers it."""

T = TypeVar("T")


# ---- made ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Gathered:
    """What an archive is made of, as values that do not change any more.

    `moved` are those whose switch was not asked again although the model went on: they may differ from the records.
    """

    revision: int
    ovsdb: bool
    records: Sequence[Record]
    dictionary: Sequence[Explanation]
    status: Any
    dumps: Mapping[str, Dump]
    databases: Mapping[str, object]
    unreachable: Mapping[str, str] = field(default_factory=dict)
    moved: tuple[str, ...] = ()
    history: Sequence[Event] = ()


async def gather(fleet: Fleet, names: Sequence[str] | None, status: Callable[[], Any]) -> Gathered:
    """Everything, with dumps of these chassis, or of all that are connected (those that are not are `unreachable`);
    `status` is asked at the same moment.

    Switches and model fit together: who got something else to hold meanwhile is dumped again. Raises NotFound.
    """
    everybody = {each.chassis.id: each.member.source is not None for each in fleet.statuses()}
    wanted = [name for name, connected in everybody.items() if connected] if names is None else [*names]
    found: dict[str, tuple[int, Dump]] = {}
    lost: dict[str, str] = {}
    if names is None:
        lost.update((name, "its switch is not connected") for name, connected in everybody.items() if not connected)
    for name in wanted:
        fleet.status(name)
    for _ in range(ROUNDS):
        await fleet.explained.looked_up()
        behind = [*_behind(fleet, wanted, found, lost)]
        if not behind:
            break
        for name in behind:
            try:
                found[name] = await fleet.inspection.dumped(name)
            except (SouthboundError, NotFound) as error:
                found.pop(name, None)
                lost[name] = str(error)
    return Gathered(
        revision=fleet.revision,
        ovsdb=fleet.ovsdb,
        records=[record for kind in KINDS for record in fleet.rows.all(kind)],
        dictionary=(*(known := fleet.explained.dictionary()).flows.values(), *known.groups.values()),
        status=status(),
        dumps={name: dump for name, (_, dump) in found.items()},
        databases={name: asdict(seen) for name in found if (seen := fleet.reported(name))},
        unreachable=lost,
        moved=tuple(_behind(fleet, wanted, found, lost)),
    )


def _behind(
    fleet: Fleet, names: Iterable[str], found: Mapping[str, tuple[int, Dump]], lost: Mapping[str, str]
) -> Iterator[str]:
    """Those that are to be dumped, or dumped again."""
    for name in names:
        if name not in lost and (name not in found or found[name][0] != fleet.wanted_revision(name)):
            yield name


def members(made: Gathered, entry: Callable[[Explanation], Entry]) -> dict[str, bytes]:
    """What goes into the file; `entry` shows an explanation as `/v1` does. Takes its time: let a thread do it."""
    manifest = {
        "format": FORMAT,
        "weft": version("weft"),
        "schema": SCHEMA,
        "made_at": int(time.time()),
        "revision": made.revision,
        "ovsdb": made.ovsdb,
        "chassis": sorted(made.dumps),
        "unreachable": dict(made.unreachable),
        "moved": list(made.moved),
    }
    found = {
        "manifest.json": _json(manifest),
        "records.jsonl": _lines(map(_record, made.records)),
        "dictionary.jsonl": _lines(map(entry, made.dictionary)),
        "status.json": _json(made.status),
        "history.jsonl": _lines(map(chronicle.line, made.history)),
    }
    for name, dump in made.dumps.items():
        below = f"chassis/{quote(name, safe='')}"
        found[f"{below}/flows.jsonl"] = _lines(_flows(dump))
        found[f"{below}/groups.jsonl"] = _lines(_groups(dump))
        found[f"{below}/meters.jsonl"] = _lines(_meters(dump))
        found[f"{below}/ports.jsonl"] = _lines(map(asdict, dump.described))
        if name in made.databases:
            found[f"{below}/database.json"] = _json(made.databases[name])
    return found


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1).encode() + b"\n"


def _lines(values: Iterable[object]) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def _record(record: Record) -> Entry:
    kind = type(record).__name__
    return {"kind": kind, "value": unpack_row(kind, record.id, pack(record))}


def _flows(dump: Dump) -> Iterator[Entry]:
    counts = {(count.table, count.priority, count.match): count for count in dump.counted}
    for flow in dump.installed.flows.values():
        count = counts.get(flow.key)
        yield {
            "cookie": f"{flow.cookie:#018x}",
            "table": flow.table,
            "priority": flow.priority,
            "match": flow.match.hex(),
            "instructions": flow.instructions.hex(),
            "packets": count.packets if count else None,
            "bytes": count.bytes if count else None,
            "text": flow_text(flow),
        }


def _groups(dump: Dump) -> Iterator[Entry]:
    for group in dump.installed.groups.values():
        buckets = group.buckets.hex()
        yield {"id": group.id, "type": group.type, "buckets": buckets, "text": group_text(group)}


def _meters(dump: Dump) -> Iterator[Entry]:
    for meter in dump.meters:
        yield {"id": meter.id, "flags": meter.flags, "bands": meter.bands.hex()}


def packed(found: Members) -> bytes:
    """The file."""
    out = io.BytesIO()
    now = int(time.time())
    with (
        gzip.GzipFile(fileobj=out, mode="wb", compresslevel=6) as compressed,
        tarfile.open(fileobj=compressed, mode="w|") as tar,
    ):
        for name, content in found.items():
            info = tarfile.TarInfo(ROOT + name)
            info.size, info.mtime, info.mode = len(content), now, 0o644
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


# ---- read ---------------------------------------------------------------------------------------------------------


def read(path: Path) -> Archive:
    """The archive in a file. Raises BadArchive, and OSError when there is no such file."""
    with path.open("rb") as file:
        return opened(str(path), file)


def opened(called: str, file: IO[bytes]) -> Archive:
    """The archive that a file holds. Raises BadArchive."""
    try:
        return Archive(called, _members(file))
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, ValueError) as error:
        raise BadArchive(called, f"it is no file of `weft bundle`, or only a part of one ({error})") from error


def _members(file: IO[bytes]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    left = MOST_BYTES
    with tarfile.open(fileobj=file, mode="r|gz") as tar:
        for info in tar:
            content = tar.extractfile(info) if info.isreg() and info.name.startswith(ROOT) else None
            if content is None:
                continue
            left -= info.size
            if left < 0:
                raise ValueError(f"more than {MOST_BYTES} bytes")
            found[info.name.removeprefix(ROOT)] = content.read()
    if "manifest.json" not in found:
        raise ValueError("without a manifest")
    return found


@dataclass(frozen=True)
class Archive:
    """A file of `weft bundle`, by its members; each property raises BadArchive when its part cannot be read."""

    path: str
    members: Members

    def __post_init__(self) -> None:
        if self.manifest["format"] > FORMAT:
            raise BadArchive(self.path, f"Weft {self.manifest['weft']} made it, and this is {version('weft')}: too old")

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        """Its own description."""

        def read(found: Mapping[str, Any]) -> Mapping[str, Any]:
            for name, kind in _MANIFEST.items():
                if not isinstance(found[name], kind):
                    raise TypeError(name)
            return found

        return self._parsed("manifest.json", lambda content: read(json.loads(content)))

    @property
    def chassis(self) -> tuple[str, ...]:
        """Those of which there are dumps."""
        return tuple(self.manifest["chassis"])

    @cached_property
    def dictionary(self) -> Mapping[str, Entry]:
        """Why each flow that should be anywhere is there, and each group, by what `explain.Line.key` is of it."""

        def key(entry: Entry) -> str:
            return str(entry["cookie"] or group_key(entry["group"]))

        return self._parsed("dictionary.jsonl", lambda content: {key(each): each for each in _read_lines(content)})

    @cached_property
    def status(self) -> Mapping[str, Any]:
        """What `GET /v1/chassis` answered, by name of the chassis."""
        return self._parsed(
            "status.json", lambda content: {each["name"]: each for each in json.loads(content)["chassis"]}
        )

    @cached_property
    def records(self) -> tuple[Record, ...]:
        """The model at `manifest["revision"]`."""
        if self.manifest["schema"] != SCHEMA:
            raise BadArchive(
                self.path,
                f"its records are those of Weft {self.manifest['weft']}, which this one does not compute with; "
                f"`weft explain` reads it nevertheless",
            )
        return self._parsed("records.jsonl", lambda content: tuple(map(_read_record, _read_lines(content))))

    @cached_property
    def history(self) -> tuple[Event, ...]:
        """What changed of late, the newest first; nothing in archives of before they had it."""
        if "history.jsonl" not in self.members:
            return ()
        return self._parsed("history.jsonl", lambda content: tuple(map(chronicle.read, _read_lines(content))))

    def dump(self, chassis: str) -> Dump:
        """What a switch held. Raises NotFound when there is no dump of it."""
        if chassis not in self.chassis:
            raise NotFound("Chassis", chassis, f"There is no dump of {chassis} in {self.path}.")
        below = f"chassis/{quote(chassis, safe='')}"
        flows = self._parsed(f"{below}/flows.jsonl", lambda content: [*map(_read_flow, _read_lines(content))])
        groups = self._parsed(f"{below}/groups.jsonl", lambda content: [*map(_read_group, _read_lines(content))])
        meters = self._parsed(f"{below}/meters.jsonl", lambda content: [*map(_read_meter, _read_lines(content))])
        ports = self._parsed(f"{below}/ports.jsonl", lambda content: [PortDesc(**one) for one in _read_lines(content)])
        return Dump(
            Installed({flow.key: flow for flow, _ in flows}, {group.id: group for group in groups}),
            tuple(count for _, count in flows if count),
            tuple(meters),
            tuple(ports),
        )

    @property
    def conntrack(self) -> Mapping[str, str]:
        """The text of each conntrack dump, by chassis."""
        return {
            unquote(name.split("/")[1]): content.decode(errors="replace")
            for name, content in self.members.items()
            if name.startswith("chassis/") and name.endswith("/conntrack.txt")
        }

    def database(self, chassis: str) -> Any:
        """What the database of a hypervisor said of it; None if it was not connected."""
        name = f"chassis/{quote(chassis, safe='')}/database.json"
        return self._parsed(name, json.loads) if name in self.members else None

    def _parsed(self, name: str, parse: Callable[[bytes], T]) -> T:
        try:
            return parse(self.members[name])
        except KeyError as error:
            raise BadArchive(self.path, f"{name} is missing, or lacks {error}") from error
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise BadArchive(self.path, f"{name} cannot be read ({error})") from error
        except Unavailable as error:
            raise BadArchive(self.path, f"{name}: {error.reason}") from error


_MANIFEST: Final[Mapping[str, type]] = {
    "format": int,
    "weft": str,
    "schema": int,
    "made_at": int,
    "revision": int,
    "ovsdb": bool,
    "chassis": list,
    "unreachable": dict,
    "moved": list,
}


def with_conntrack(found: Members, dumps: Mapping[str, str]) -> Members:
    """The same with the text of conntrack dumps, by chassis."""
    texts = {f"chassis/{quote(name, safe='')}/conntrack.txt": text.encode() for name, text in dumps.items()}
    return {**found, **texts}


def _read_lines(content: bytes) -> Iterator[Mapping[str, Any]]:
    return (json.loads(line) for line in content.splitlines())


def _read_record(line: Entry) -> Record:
    row = line["value"]
    return unpack(line["kind"], row["id"], pack_row(row))


def _read_flow(line: Entry) -> tuple[EncodedFlow, Count | None]:
    table, priority, cookie = int(line["table"]), int(line["priority"]), int(line["cookie"], 16)
    match, instructions = bytes.fromhex(line["match"]), bytes.fromhex(line["instructions"])
    flow = EncodedFlow.of(table, priority, match, instructions, cookie)
    if line["packets"] is None:
        return flow, None
    return flow, Count(table, priority, match, cookie, int(line["packets"]), int(line["bytes"]))


def _read_group(line: Entry) -> EncodedGroup:
    return EncodedGroup(int(line["id"]), int(line["type"]), bytes.fromhex(line["buckets"]))


def _read_meter(line: Entry) -> Meter:
    return Meter(int(line["id"]), int(line["flags"]), bytes.fromhex(line["bands"]))
