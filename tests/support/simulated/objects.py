"""S3 as far as the journal and the job need it: objects under conditions, whose answers may get lost."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from asyncrep.errors import ConditionFailedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from asyncrep.location import S3Place
    from asyncrep.options import S3Access
    from tests.support.simulated.world import Process


class SimulatedObjects:
    """The objects under one place, as one process reaches them; see ``asyncrep.aws.objects.Objects``."""

    def __init__(self, process: Process, place: S3Place) -> None:
        self.place = place
        self._process = process
        self._stored = process.world.objects

    async def put(
        self, name: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None
    ) -> str:
        process, full = self._process, str(self.place.under(name))
        try:
            await process.travel()
        except asyncio.CancelledError:
            if process.happens(0.5) and self._allowed(full, if_absent=if_absent, if_match=if_match):
                self._store(full, data)  # it was on its way, and nobody waits for the answer
            raise
        process.may_fail(0.3)
        if not self._allowed(full, if_absent=if_absent, if_match=if_match):
            raise ConditionFailedError("The object is not as the condition says.")
        tag = self._store(full, data)
        await process.travel()
        if process.happens(process.faults):  # the answer got lost, and the call was tried again
            await process.travel()
            if not self._allowed(full, if_absent=if_absent, if_match=if_match):
                error = ConditionFailedError("The object is not as the condition says.")
                error.maybe_done = True
                raise error
            tag = self._store(full, data)
        process.may_fail(0.3, maybe_done=True)
        return tag

    def _allowed(self, full: str, *, if_absent: bool, if_match: str | None) -> bool:
        there = self._stored.get(full)
        if if_absent:
            return there is None
        return if_match is None or (there is not None and there[1] == if_match)

    def _store(self, full: str, data: bytes) -> str:
        world = self._process.world
        tag = str(world.tick())
        self._stored[full] = data, tag
        world.witness.see_object(full, data)
        return tag

    async def get(self, name: str) -> tuple[bytes, str] | None:
        await self._process.travel()
        self._process.may_fail(0.3)
        found = self._stored.get(self.place.under(name))
        await self._process.travel()
        return found

    async def names(self, prefix: str = "") -> AsyncIterator[str]:
        await self._process.travel()
        root = self.place.under("")
        for full in sorted(self._stored):
            if full.startswith(root + prefix):
                yield full.removeprefix(root)

    async def remove(self, names: Sequence[str]) -> None:
        await self._process.travel()
        for name in names:
            self._stored.pop(self.place.under(name), None)


@asynccontextmanager
async def open_simulated_objects(
    place: S3Place, *, access: S3Access | None = None
) -> AsyncIterator[SimulatedObjects]:
    """Stand in for ``asyncrep.aws.objects.open_objects`` inside a simulated process."""
    from tests.support.simulated.world import PROCESS  # noqa: PLC0415 - the two know each other

    del access
    yield SimulatedObjects(PROCESS.get(), place)
