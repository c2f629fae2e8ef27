"""What the controller times and counts of its own work; `/metrics` shows it, with what it knows of the fleet beside it.

Kept by Prometheus's client library, in its one registry: a process has one controller. Seconds are wall time.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Histogram

_FAST: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

COMMIT: Final = Histogram(
    "weft_commit_seconds", "From a change that was asked for to its being durable and answered.", buckets=_FAST
)
RECOMPUTE: Final = Histogram(
    "weft_recompute_seconds", "Computing what follows from the changes of one commit.", buckets=_FAST
)
CELLS: Final = Counter("weft_cells_run", "Cells that were run because something they read had changed.")
APPLY: Final = Histogram(
    "weft_apply_seconds", "One change of one switch, from the first byte to the barrier.", buckets=_FAST
)
RECONCILE: Final = Histogram(
    "weft_reconcile_seconds", "A switch brought in step: dumped, compared, put right.", buckets=(*_FAST, 30.0, 60.0)
)
HEALED: Final = Counter("weft_healed", "Times that changes of others were undone.", ["chassis"])
HANDED_OVER: Final = Counter(
    "weft_packet_ins",
    "Packets that switches handed over, by why, and by which apps answer for that.",
    ["app", "reason"],
)
UNANSWERED: Final = Counter(
    "weft_packet_ins_unanswered",
    "Those that were let go because too many came (see southbound.packet_in).",
    ["app", "reason"],
)
REQUEST: Final = Histogram(
    "weft_api_request_seconds", "Requests to the API.", ["method", "resource", "status"], buckets=_FAST
)
