"""Connections that are to be forgotten alone, in a conntrack zone that others have connections in, too (`Severed`).

    a port forwarding goes ─> Severed ─> its flows are gone ─> forgotten ─> 2 s ─> forgotten again ─> Severed is deleted

The second time is for what came in between, by cached flows of the datapath; unless the ports are forwarded anew by
then, whose connections are not ours to cut. A switch that refuses (`NXT_CT_FLUSH` came with Open vSwitch 3.1) keeps
them until their time is over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn, TypeAlias

from controller.errors import Rejected, Unavailable
from controller.model.records import FloatingIp, PortForwarding, Severed
from controller.model.store import Store, Transaction
from controller.southbound.messages import error_name

log = logging.getLogger(__name__)

AGAIN_S: Final = 2.0
"""After so long no cached flow of the datapath is left from before."""
RETRY_S: Final = 5.0
"""How long to wait before it is written again that they are forgotten when the store could not."""

Forget: TypeAlias = Callable[[Sequence[Severed]], Awaitable[None]]
"""Has a switch do all that it was told, then forget these connections, and waits until it has."""


@dataclass(slots=True, eq=False)
class Severing:
    """What one hypervisor is to forget, while its switch is connected; `changed` says to look again."""

    store: Store
    chassis: str
    forget: Forget
    changed: asyncio.Event
    again_s: float = AGAIN_S

    async def run(self) -> NoReturn:
        """Have forgotten what is there, and what comes, until cancelled. Raises what `forget` raises, but Rejected."""
        able = True
        while True:
            self.changed.clear()
            found = self.store.model.where(Severed, chassis=self.chassis)
            if not found:
                await self.changed.wait()
                continue
            if able:
                able = await self._forget(found)
            await self._done(found)

    async def _forget(self, found: Sequence[Severed]) -> bool:
        """Whether the switch could."""
        try:
            await self.forget(found)
            await asyncio.sleep(self.again_s)
            await self.forget([each for each in found if not self._is_forwarded(each)])
        except Rejected as refused:
            error = error_name(refused.type, refused.code)
            log.warning("connections are kept until their time is over chassis=%s error=%s", self.chassis, error)
            return False
        log.info("connections forgotten chassis=%s of=%s", self.chassis, ",".join(map(_said, found)))
        return True

    def _is_forwarded(self, severed: Severed) -> bool:
        """Are there port forwardings of these ports?"""
        return any(
            each.protocol == severed.protocol
            and each.external_port_first <= severed.port_last
            and severed.port_first <= each.external_port_last
            for floating_ip in self.store.model.where(FloatingIp, floating_ip_address=severed.address)
            for each in self.store.model.where(PortForwarding, floatingip_id=floating_ip.id)
        )

    async def _done(self, found: Sequence[Severed]) -> None:
        def work(tx: Transaction) -> None:
            for each in found:
                tx.discard(Severed, each.id)

        while True:
            try:
                await self.store.commit(work)
            except Unavailable:  # the store says so itself
                await asyncio.sleep(RETRY_S)
            else:
                return


def _said(each: Severed) -> str:
    return f"{each.zone}/{each.protocol}/{each.address}:{each.port_first}-{each.port_last}"
