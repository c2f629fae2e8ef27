"""Delivery: a frame for a port that is plugged in here leaves by its interface."""

from __future__ import annotations

from collections.abc import Iterator

from controller.flows.action import Output
from controller.flows.app import app, host
from controller.flows.attachment import attached, ofport
from controller.flows.flow import Flow
from controller.flows.pipeline import DELIVER, DST
from controller.model.records import Port
from controller.model.view import View


def deliver(view: View, port: Port) -> Iterator[Flow]:
    """Out of the port's interface."""
    number = ofport(view, port.id)
    if number is not None and attached(view, port.id):
        yield Flow(DELIVER, "port", DST(view.tag("port", port.id)), (Output(number),))


APP = app("delivery", host(Port, deliver))
