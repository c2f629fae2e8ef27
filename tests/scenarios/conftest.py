"""A scenario runs in a lab: real Open vSwitch, a real controller, guests in namespaces, in a network of its own.

The lab puts the thread that makes it into a private network namespace and takes it out again, so a scenario needs
root and nothing else: no wrapper, and no care for the tests before and after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mininet_scenarios.errors import LabError
from mininet_scenarios.lab import Lab


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark whatever uses a lab: everything below this directory is collected with it."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and "lab" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.scenario)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Two hypervisors that have joined, without guests; one lab for the scenarios of a module."""
    with Lab(hypervisors=2) as lab:
        yield lab


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many packets went the way in Open vSwitch that Weft had foretold, and how often all was proven."""
    if Lab.compared["packets"]:
        told = "{packets} packets traced alike by Weft and by Open vSwitch, in {stages} stages and {milliseconds} ms"
        terminalreporter.write_line(told.format(**Lab.compared))
    if Lab.compared["proofs"]:
        terminalreporter.write_line(f"{Lab.compared['proofs']} times all was proven of what switches hold")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Show, below a failed scenario, what the controller said and what the switches hold."""
    report = yield
    lab = getattr(item, "funcargs", {}).get("lab")
    if isinstance(lab, Lab) and report.when == "call" and report.failed:  # type: ignore[attr-defined]
        add = report.sections.append  # type: ignore[attr-defined]
        add(("the controller's log", lab.controller.tail()))
        for name, hypervisor in lab.hypervisors.items():
            try:
                add((f"flows of {name}", "\n".join(hypervisor.flows())))
            except LabError as error:
                add((f"flows of {name}", str(error)))
    return report
