"""What was found, as tables: medians of all rounds, and what Weft's is of OVN's, beside what it should be.

`python -m tests.benchmarks.peers.table LINES... [PAGE]`: put the tables into a page, between its two marks.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import comb
from pathlib import Path
from statistics import median

from tests.benchmarks.peers.steps import PAIRS, Line
from tests.benchmarks.report import shown

MARKS = ("<!-- measured -->", "<!-- end -->")
SIZES = ("100-few", "100-all", "1000-few", "1000-all", "3000-few", "3000-all")
CHANGES = tuple(name for pair in PAIRS for name in (pair.there, pair.back))


@dataclass(frozen=True, slots=True)
class Row:
    """A figure of a step, by its name, and the most that Weft's may be of OVN's in some sizes of cloud."""

    step: str
    what: str
    figure: str
    limits: Mapping[str, float]

    @property
    def title(self) -> str:
        """What it is called."""
        return f"{self.what}, {self.figure}"


ROWS = (
    Row("bulk", "bulk", "s", {"100-few": 1, "100-all": 1, "3000-few": 1 / 5, "3000-all": 1 / 5}),
    Row("bulk", "bulk", "CPU s", {"3000-few": 1 / 5, "3000-all": 1 / 5}),
    Row("bulk", "bulk", "MB", {"3000-few": 1 / 4, "3000-all": 1 / 4}),
    Row("bulk", "bulk", "flows", {"3000-few": 1 / 4, "3000-all": 1 / 4}),
    Row("idle", "idle", "CPU ms/s", {}),
    *(
        Row("port-up", what, "ms", {"100-few": 1 / 2, "100-all": 1 / 2, "3000-few": 1 / 20, "3000-all": 1 / 20})
        for what in ("port asked for", "port plugged")
    ),
    *(Row("change", what, "ms", {"3000-all": 1 / 20}) for what in CHANGES),
    Row("fault", "controller killed", "lost", {"100-all": 0, "1000-all": 0, "3000-all": 0}),
    Row("fault", "controller killed", "s", {"3000-all": 1 / 5}),
    Row("fault", "vswitchd killed", "s", {"1000-all": 1 / 3}),
)
BEYOND = 1.5
"""So much longer may a change take beside 3,000 bound ports than beside 100."""
COSTS = {
    "CPU s/GB": (1.0, 1.05),
    "CPU µs a packet": (1.0, 1.05),
    "passes hv1": (1.01, 1.01),
    "passes hv2": (1.01, 1.01),
    "CPU ms a connection": (1.0, 1.05),
    "connections/s": (1.0, 0.95),
}
"""What forwarding is compared by: how much of OVN's it may be, and of the bare pipeline's; of what is done a second,
how much it must be."""
RATE = "connections/s"
ROUND, SURE = "round", 0.95


class Found:
    """All lines, to be asked for medians."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._lines = lines

    def of(self, step: str, what: str, peer: str, size: str) -> list[Line]:
        """The lines of one thing."""
        return [
            each
            for each in self._lines
            if (each.step, each.what, each.peer, f"{each.ports}-{each.mode}") == (step, what, peer, size)
        ]

    def median(self, step: str, what: str, figure: str, peer: str, size: str) -> float | None:
        """The median of a figure, if anybody found it."""
        values = [each.figures[figure] for each in self.of(step, what, peer, size) if figure in each.figures]
        return median(values) if values else None

    def quotients(self, what: str, figure: str, peer: str, other: str, size: str) -> list[float]:
        """What a figure of forwarding was of another's in the same round, in order."""
        of = {each.figures[ROUND]: each.figures for each in self.of("plane", what, other, size)}
        pairs = ((each.figures, of.get(each.figures[ROUND], {})) for each in self.of("plane", what, peer, size))
        return sorted(one[figure] / two[figure] for one, two in pairs if figure in one and figure in two)

    def others(self, step: str, what: str, size: str, *peers: str) -> str:
        """What others took of the machine meanwhile, by the median, of each controller's lines."""
        shares = [[each.others for each in self.of(step, what, peer, size)] for peer in peers]
        return " / ".join(f"{100 * median(each):.0f}" for each in shares if each) + " %"

    @property
    def paths(self) -> list[tuple[str, str]]:
        """What was forwarded over, and beside how large a cloud."""
        found = ((each.what, f"{each.ports}-{each.mode}") for each in self._lines if each.step == "plane")
        return [*dict.fromkeys(found)]


def tables(lines: Sequence[Line], missing: Sequence[str]) -> str:
    """All tables, and what could not be measured."""
    found = Found(lines)
    parts = [
        _table("ports", "measured", "OVN", "Weft", "Weft/OVN", "wanted", "", "others", rows=_control(found)),
        _table("one change", "Weft, 100 ports", "Weft, 3,000", "times", "wanted", "", rows=_growth(found)),
        _table(
            "path",
            "measured",
            "OVN",
            "Weft",
            "bare",
            "Weft/OVN",
            "Weft/bare",
            "wanted",
            "",
            "others",
            rows=_plane(found),
        ),
        "".join(f"* Not measured: {each}\n" for each in missing),
    ]
    return "\n".join(part for part in parts if part)


def _table(*head: str, rows: Iterator[tuple[str, ...]]) -> str:
    lines = [head, *rows]
    if len(lines) == 1:
        return ""
    lines.insert(1, tuple("---" for _ in head))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _control(found: Found) -> Iterator[tuple[str, ...]]:
    for size in SIZES:
        for row in ROWS:
            ovn, weft = (found.median(row.step, row.what, row.figure, peer, size) for peer in ("ovn", "weft"))
            if ovn is None or weft is None:
                continue
            others = found.others(row.step, row.what, size, "ovn", "weft")
            wanted = _wanted(row, size, ovn, weft)
            yield (size.replace("-", " "), row.title, shown(ovn), shown(weft), _share(weft, ovn), *wanted, others)


def _wanted(row: Row, size: str, ovn: float, weft: float) -> tuple[str, str]:
    limit = row.limits.get(size)
    if limit is None:
        return "", ""
    if limit == 0:
        return "0", _verdict(weft == 0)
    return f"≤ {_fraction(limit)}", _verdict(weft <= limit * ovn)


def _verdict(good: bool) -> str:
    return "yes" if good else "**no**"


def _fraction(value: float) -> str:
    return f"1/{1 / value:.0f}" if value < 1 else f"{value:.3g}"


def _share(part: float, whole: float) -> str:
    if not part or not whole:
        return ""
    return f"1/{whole / part:.3g}" if part < whole else f"{part / whole:.3g}"


def _growth(found: Found) -> Iterator[tuple[str, ...]]:
    for what in CHANGES:
        few, many = (found.median("change", what, "ms", "weft", size) for size in ("100-all", "3000-all"))
        if few is not None and many is not None:
            good = _verdict(many <= BEYOND * few)
            yield what, f"{shown(few)} ms", f"{shown(many)} ms", f"{many / few:.3g}", f"≤ {BEYOND}", good


def _plane(found: Found) -> Iterator[tuple[str, ...]]:
    for path, size in found.paths:
        for figure, limits in COSTS.items():
            values = [found.median("plane", path, figure, peer, size) for peer in ("ovn", "weft", "bare")]
            shares = [found.quotients(path, figure, "weft", peer, size) for peer in ("ovn", "bare")]
            if None in values or not all(shares):
                continue
            sign = "≥" if figure == RATE else "≤"
            wanted = f"{sign} {limits[0]:.3g}, {sign} {limits[1]:.3g}"
            others = found.others("plane", path, size, "ovn", "weft", "bare")
            yield (
                path,
                figure,
                *(shown(value or 0.0) for value in values),
                *map(_quotient, shares),
                wanted,
                _judged(shares, limits, more=figure == RATE),
                others,
            )


def within(values: Sequence[float]) -> tuple[float, float]:
    """Between what the median of such values lies, at least as surely as SURE, or as all of them tell; they are in order.

    Each value is on either side of the median as a coin falls, so that six are the fewest that are as sure.
    """
    count, skipped, beyond = len(values), 0, 0.0
    while skipped < (count - 1) // 2:
        beyond += 2 * comb(count, skipped) / 2**count
        if beyond > 1 - SURE:
            break
        skipped += 1
    at = max(0, skipped - 1)
    return values[at], values[count - 1 - at]


def _quotient(values: Sequence[float]) -> str:
    low, high = within(values)
    return f"{median(values):.2f} ({low:.2f} to {high:.2f})"


def _judged(shares: Sequence[Sequence[float]], limits: Sequence[float], *, more: bool) -> str:
    """Whether medians are within limits; if they are not, whether they can be told from what is."""
    pairs = [(each, limit) for each, limit in zip(shares, limits, strict=True)]
    if all(median(each) >= limit if more else median(each) <= limit for each, limit in pairs):
        return "yes"
    sure = [(each, limit) for each, limit in pairs if 2 / 2 ** len(each) <= 1 - SURE]
    told = any(within(each)[1] < limit if more else within(each)[0] > limit for each, limit in sure)
    return "**no**" if told else "open"


def put(text: str, page: Path) -> None:
    """Put tables into a page, between its marks."""
    before, _, rest = page.read_text().partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    page.write_text(f"{before}{MARKS[0]}\n\n{text}\n{MARKS[1]}{after}")


def read(file: Path) -> list[Line]:
    """The lines of a file."""
    return [Line(**json.loads(text)) for text in file.read_text().splitlines()]


def main(arguments: Sequence[str]) -> None:
    """Tables of files of lines, printed or put into a page."""
    pages = [Path(each) for each in arguments if each.endswith(".md")]
    lines = [line for each in arguments if not each.endswith(".md") for line in read(Path(each))]
    text = tables(lines, [])
    for page in pages:
        put(text, page)
    if not pages:
        print(text)


if __name__ == "__main__":
    main(sys.argv[1:])
