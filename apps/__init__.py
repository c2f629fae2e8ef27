"""The one list of apps. A feature is one module here, its test, and one line below."""

from __future__ import annotations

from apps import (
    announcements,
    arp,
    classify,
    delivery,
    drops,
    floating_ips,
    gateways,
    l2_population,
    nd,
    neighbours,
    physical,
    port_forwardings,
    port_security,
    router_errors,
    routing,
    security_groups,
    snat,
    tunnels,
    wire,
)
from controller.flows.app import App

APPS: tuple[App, ...] = (
    drops.APP,
    classify.APP,
    port_security.APP,
    security_groups.APP,
    tunnels.APP,
    physical.APP,
    arp.APP,
    nd.APP,
    l2_population.APP,
    routing.APP,
    neighbours.APP,
    router_errors.APP,
    gateways.APP,
    snat.APP,
    floating_ips.APP,
    port_forwardings.APP,
    announcements.APP,
    wire.APP,
    delivery.APP,
)
