"""How much a process of ours remembers: the lengths of all containers, and of caches without a bound, by their names.

Exact, unlike memory: what is made and deleted again, however often, leaves all of them as they were.
"""

from __future__ import annotations

import functools
import gc
import sys
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakValueDictionary

OURS: Final = ("apps", "controller", "northbound", "prometheus_client")
DEPTH: Final = 4
"""Containers in containers are looked into so deep."""


def remembered() -> Counter[str]:
    """How many elements there are, by the class and attribute, or module and name, that hold them."""
    gc.collect()
    found: Counter[str] = Counter()
    for each in gc.get_objects():
        if isinstance(each, functools._lru_cache_wrapper):
            if is_ours(each.__module__) and each.cache_info().maxsize is None:
                found[f"{each.__module__}.{each.__qualname__}"] += each.cache_info().currsize
        elif not isinstance(each, type) and is_ours(type(each).__module__):
            for name, value in _attributes(each):
                found[f"{type(each).__module__}.{type(each).__qualname__}.{name}"] += _length(value)
    for name, module in [*sys.modules.items()]:
        if is_ours(name):
            for variable, value in vars(module).items():
                found[f"{name}.{variable}"] += _length(value)
    return +found


def is_ours(module: object) -> bool:
    """Whether a module's name is one of the controller's."""
    return isinstance(module, str) and module.partition(".")[0] in OURS


def _attributes(of: object) -> Iterator[tuple[str, Any]]:
    yield from getattr(of, "__dict__", {}).items()
    for kind in type(of).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if not name.startswith("__") and hasattr(of, name):
                yield name, getattr(of, name)


def _length(of: object, depth: int = DEPTH) -> int:
    """Of a container with all that are in it; 0 of anything else, and of what forgets by itself."""
    if isinstance(of, deque) and of.maxlen is not None:
        return 0
    if isinstance(of, Mapping | WeakKeyDictionary | WeakValueDictionary):
        return len(of) + (sum(_length(each, depth - 1) for each in [*of.values()]) if depth else 0)
    if isinstance(of, list | set | deque):
        return len(of) + (sum(_length(each, depth - 1) for each in of) if depth else 0)
    return 0
