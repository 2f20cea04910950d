"""Watches whether the stream that is followed is still the table's, so that none is followed in silence that is dead.

A stream that is switched off ends for good: switched on again, or made anew, the table has another one, and what
is written meanwhile is in neither. Workers that run go on to the end of what they follow, and say what is to be
done then; workers that start find the new stream, and say that there is a gap.

What is not covered: when a worker starts with the new stream before the shards of the old one are done with, it
takes them for trimmed. That is told as data lost, and mended in the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncrep.errors import TableNotFoundError
from asyncrep.replicate.events import STREAM, DataLost, Remark

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from asyncrep.aws.streams import Shard
    from asyncrep.replicate.events import Tell
    from asyncrep.replicate.worker import StreamOf


class StreamWatch:
    """Lists a stream's shards, and sees by the way whether it still is what is to be followed.

    Args:
        stream: the stream.
        tell: takes note of events.

    Attributes:
        trouble: why it is not, and what to do; empty while it is.
    """

    def __init__(self, stream: StreamOf, tell: Tell) -> None:
        self.trouble = ""
        self._stream = stream
        self._tell = tell
        self._listed: frozenset[str] = frozenset()

    async def shards(self) -> Sequence[Shard]:
        """List the shards whose leases may be needed.

        Those of a dead stream are not listed once the table has another. Workers of that one remove the leases of
        the dead one's, and were these made again, old records would be written over newer ones.

        Raises:
            ServiceError: the stream, or the table, could not be looked at.
        """
        description = await self._stream.streams.describe(self._stream.arn)
        self._listed = frozenset(shard.id for shard in description.shards)
        if not description.is_off:
            return description.shards
        if not self.trouble:
            self.trouble = (
                f"The stream of {self._stream.table.label} was switched off, and what is written from then on never "
                "reaches this worker: when it has no shard any more, see that the table has a stream, start the "
                "worker again, which finds it, and run diff-tables --repair."
            )
            self._tell(Remark(self.trouble, serious=True))
        return () if await self._has_successor() else description.shards

    def follows_nothing_of(self, leases: Collection[str]) -> bool:
        """Tell whether a task's leases are all of shards that were not in the last listing; that is told as a gap."""
        is_gap = bool(leases) and not self._listed.intersection(leases)
        if is_gap:
            reason = (
                f"the stream of {self._stream.table.label} has none of the shards that the task knows: it was "
                "switched off and on, its table was made anew, or nobody followed it for a day; what was written "
                "meanwhile is lost, and only diff-tables --repair brings the tables in line"
            )
            self._tell(DataLost(STREAM, reason))
        return is_gap

    async def _has_successor(self) -> bool:
        try:
            present = await self._stream.table.stream_now()
        except TableNotFoundError:
            return False
        return present is not None and present != self._stream.arn
