"""Who may import whom, as docs/architecture.md draws it; read from the source, so no module is run."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("controller", "apps", "northbound", "mininet_scenarios", "tests")

MODEL = ("controller.errors", "controller.measures", "controller.model")
FLOWS = (*MODEL, "controller.flows")
NETWORKING = (*MODEL, "northbound")
FLEET = tuple(f"controller.southbound.{module}" for module in ("fleet", "told", "explained", "differences"))

# What a module may import of ours; the longest name that covers the module decides.
ALLOWED = {
    "controller": (),
    "controller.errors": ("controller.errors",),
    "controller.model": MODEL,
    "controller.flows": FLOWS,
    "controller.prove": (*FLOWS, "controller.prove"),
    "controller.southbound": (*FLOWS, "controller.southbound"),
    "northbound": ("controller", "northbound"),
    "northbound.resources": NETWORKING,
    "northbound.api": NETWORKING,
    "northbound.faults": NETWORKING,
    "northbound.auth": NETWORKING,
    "northbound.v1": (*NETWORKING, "controller.southbound.counts", *FLEET),
    "northbound.why": ("controller", "northbound"),
    "northbound.metrics": (*NETWORKING, *FLEET),
    "northbound.daemon": ("controller", "northbound", "apps"),
    "northbound.past": ("controller", "northbound", "apps"),
    "mininet_scenarios": ("controller", "northbound", "mininet_scenarios"),
}
# What an app may import at all: values and what is worked out from them, nothing that reaches out of the process or
# remembers. The list of apps, `apps/__init__.py`, imports the apps as well.
APP = [f"controller.model.{module}" for module in ("addresses", "protocols", "records", "view")]
APP += [
    f"controller.flows.{module}"
    for module in ("action", "app", "attachment", "fields", "flow", "frames", "holding", "hops", "match", "pipeline")
]
APP += [f"controller.flows.{module}" for module in ("presence", "punted", "ways_out")]
APP += ["__future__", "collections", "dataclasses", "enum", "functools", "hashlib", "ipaddress", "itertools", "math"]
APP += ["operator", "struct", "typing"]


def within(name: str, *places: str) -> bool:
    return any(f"{name}.".startswith(f"{place}.") for place in places)


def allowed(module: str, name: str) -> bool:
    if within(module, "apps"):
        return within(name, *APP) or (module == "apps" and within(name, "apps"))
    if within(name, "os_ken.ofproto"):
        return module == "controller.southbound.openflow"
    nearest = max((place for place in ALLOWED if within(module, place)), key=len)
    return within(name, *ALLOWED[nearest]) or not within(name, *OURS)


def imported(source: str) -> Iterator[str]:
    """Every import of a module, wherever it stands: `from a import b` is `a.b`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"a relative import hides whom it names: {ast.unparse(node)}"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def read(root: Path) -> dict[str, list[str]]:
    """The modules of a tree, each with what it imports; tests may import everything."""
    tree = {}
    for path in sorted(path for place in OURS for path in (root / place).rglob("*.py")):
        module = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        if not within(module, "tests"):
            tree[module] = [*imported(path.read_text())]
    return tree


def trespasses(tree: dict[str, list[str]]) -> list[str]:
    found = [(module, name) for module in tree for name in tree[module] if not allowed(module, name)]
    return [f"{module} imports {name}" for module, name in found]


def circle(tree: dict[str, list[str]]) -> list[str]:
    """Modules that import one another in a ring, if there are any; the name of a class leads to its module."""
    nearest = {m: {n if n in tree else n.rpartition(".")[0] for n in tree[m]} & tree.keys() for m in tree}
    try:
        TopologicalSorter(nearest).prepare()
    except CycleError as error:
        ring: list[str] = error.args[1]
        return ring
    return []


def test_every_import_points_the_way_the_architecture_says() -> None:
    tree = read(ROOT)
    assert "controller.model.records" in tree
    assert trespasses(tree) == []


def test_no_modules_import_one_another_in_a_circle() -> None:
    assert circle(read(ROOT)) == []


def test_errors_are_imported_from_their_package_and_from_none_of_its_modules() -> None:
    modules = [f"controller.errors.{path.stem}" for path in (ROOT / "controller/errors").glob("[a-z]*.py")]
    assert "controller.errors.base" in modules
    tree = {module: names for module, names in read(ROOT).items() if not within(module, "controller.errors")}
    assert [(module, name) for module in tree for name in tree[module] if within(name, *modules)] == []


def planted(root: Path, path: str, line: str) -> dict[str, list[str]]:
    """A tree of one module that holds one line, read like the real one."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(f"def late() -> None:\n    {line}\n")
    return read(root)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("apps/l2.py", "import os_ken.lib.packet.packet"),
        ("apps/l2.py", "import msgpack"),
        ("apps/l2.py", "import socket"),
        ("apps/l2.py", "from time import monotonic"),
        ("apps/l2.py", "import random"),
        ("apps/l2.py", "from controller import errors"),
        ("apps/l2.py", "from controller import model"),
        ("apps/l2.py", "from controller.model import Port"),
        ("apps/l2.py", "from controller.model.store import Store"),
        ("apps/l2.py", "from controller.flows import engine"),
        ("apps/l2.py", "import controller.southbound.fleet"),
        ("apps/l2.py", "from northbound import api"),
        ("apps/l2.py", "from apps import arp"),
        ("northbound/resources/network.py", "from controller.flows.flow import Flow"),
        ("northbound/resources/network.py", "import controller.southbound.fleet"),
        ("northbound/api.py", "from controller.southbound.fleet import Fleet"),
        ("northbound/api.py", "from controller.flows import trace"),
        ("northbound/faults.py", "import controller.southbound"),
        ("northbound/faults.py", "import controller.flows.engine"),
        ("northbound/auth.py", "from controller import southbound"),
        ("northbound/auth.py", "from controller import flows"),
        ("northbound/v1.py", "from controller.southbound.switch import Switch"),
        ("northbound/v1/chassis.py", "from controller.southbound import reconcile"),
        ("northbound/cli.py", "import apps"),
        ("northbound/api.py", "from apps import l2"),
        ("controller/flows/engine.py", "from apps import APPS"),
        ("controller/southbound/fleet.py", "import apps.l2"),
        ("mininet_scenarios/lab.py", "import apps"),
        ("controller/errors/base.py", "from controller.model.records import Port"),
        ("controller/model/store.py", "from controller.flows import flow"),
        ("controller/model/store.py", "from controller.southbound import fleet"),
        ("controller/flows/engine.py", "import controller.southbound.switch"),
        ("controller/southbound/fleet.py", "from northbound import faults"),
        ("controller/model/ipam.py", "from tests import oracle"),
        ("controller/southbound/switch.py", "from os_ken.ofproto import ofproto_v1_4"),
        ("controller/southbound/switch.py", "from os_ken import ofproto"),
        ("northbound/daemon.py", "import os_ken.ofproto.ofproto_v1_4_parser"),
    ],
)
def test_an_import_that_points_another_way_is_found(tmp_path: Path, path: str, line: str) -> None:
    assert len(trespasses(planted(tmp_path, path, line))) == 1


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("apps/__init__.py", "from apps import arp, l2"),
        ("apps/l2.py", "import ipaddress, struct"),
        ("apps/l2.py", "from controller.model.addresses import packed"),
        ("apps/l2.py", "from controller.flows import app, flow, pipeline, presence"),
        ("apps/l2.py", "from controller.model.records import Network, Port"),
        ("northbound/api.py", "from controller import errors"),
        ("northbound/api.py", "import controller.model.store"),
        ("northbound/v1.py", "from controller.southbound.fleet import Fleet"),
        ("northbound/daemon.py", "import apps, controller.southbound.ovsdb"),
        ("controller/flows/engine.py", "from controller.model import view"),
        ("controller/southbound/openflow.py", "from os_ken.ofproto import ofproto_v1_4"),
        ("controller/southbound/packet_in.py", "from os_ken.lib.packet import arp"),
    ],
)
def test_an_import_that_points_the_right_way_is_not(tmp_path: Path, path: str, line: str) -> None:
    assert trespasses(planted(tmp_path, path, line)) == []


def test_a_circle_is_found(tmp_path: Path) -> None:
    planted(tmp_path, "controller/flows/flow.py", "from controller.flows.app import App")
    planted(tmp_path, "controller/flows/app.py", "from controller.flows import pipeline")
    tree = planted(tmp_path, "controller/flows/pipeline.py", "import controller.flows.flow")
    assert {*circle(tree)} == {"controller.flows.flow", "controller.flows.app", "controller.flows.pipeline"}
