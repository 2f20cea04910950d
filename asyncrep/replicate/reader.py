"""Reads one shard of a stream, page after page, to its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asyncrep.aws.streams import At, Latest, TrimHorizon
from asyncrep.change import Unreadable
from asyncrep.errors import DataTrimmedError, IteratorExpiredError, ServiceError, StreamNotFoundError
from asyncrep.replicate.records import read_record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from msgspec import Raw

    from asyncrep.aws.streams import Start, Streams
    from asyncrep.change import Change
    from asyncrep.flow.clock import Clock
    from asyncrep.items.keys import KeyReader

_QUIET_PAGES = 3
"""A shard is taken to be at its tip after so many pages without records: one alone may come anywhere."""

_TIP_MILLIS = 2000
"""A shard whose records are read so soon after they were made is at its tip."""

_CLOCK_SECONDS = 5.0
"""By how much the time the service stamps, in whole seconds, may differ from what is known of its clock."""


@dataclass(frozen=True, slots=True)
class ShardPage:
    """What one call told of a shard.

    Attributes:
        changes: in order.
        unreadable: records that no change can be made of.
        sequence: the highest sequence number among them; None when there are none.
        millis_behind: how old the last record is; zero without one.
        is_at_tip: nothing was waiting behind these, as far as can be told.
        is_last: the shard has ended with these.
        lost: why records before these are lost; empty when none are.
    """

    changes: tuple[Change, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    sequence: int | None = None
    millis_behind: int = 0
    is_at_tip: bool = False
    is_last: bool = False
    lost: str = ""

    @property
    def records(self) -> int:
        """How many records it has."""
        return len(self.changes) + len(self.unreadable)


class ShardReader:
    """Reads a shard from a checkpoint on; every record behind it comes exactly once.

    Args:
        streams: the client.
        stream_arn: which stream.
        shard: which of its shards.
        start: where to begin.
        keys: reads the keys of the table's items.
        limit: records a page.
        poll: seconds to wait after a page without records.
        clock: passes the time.
        not_before: leave out records that are older, in the service's seconds since the epoch; None for none.
    """

    def __init__(
        self,
        streams: Streams,
        stream_arn: str,
        shard: str,
        start: Start,
        keys: KeyReader,
        *,
        limit: int,
        poll: float,
        clock: Clock,
        not_before: float | None = None,
    ) -> None:
        self._streams = streams
        self._stream_arn = stream_arn
        self._shard = shard
        self._position = start
        self._done = start.sequence if isinstance(start, At) else -1
        self._keys = keys
        self._limit = limit
        self._poll = poll
        self._clock = clock
        self._iterator: str | None = None
        self._quiet = 0
        if isinstance(start, Latest):
            not_before = streams.now()
        self._not_before = None if not_before is None else not_before - _CLOCK_SECONDS

    def now(self) -> float:
        """Return the time of the clock that stamps the records, in seconds since the epoch."""
        return self._streams.now()

    async def next(self) -> ShardPage:
        """Return the next page, possibly without records; after the last one there is none to ask for.

        Raises:
            ServiceError: the stream could not be read.
        """
        if self._quiet:
            await self._clock.sleep(self._poll)
        while True:
            try:
                if self._iterator is None:
                    self._iterator = await self._streams.iterator(
                        self._stream_arn, self._shard, self._position
                    )
                page = await self._streams.records(self._iterator, self._limit)
            except IteratorExpiredError:
                self._renew()
            except DataTrimmedError:
                return self._lost(f"the stream has trimmed records of {self._shard} before they were read")
            except StreamNotFoundError:
                return await self._gone()
            else:
                self._iterator = page.next
                return self._read(page.records, is_last=page.next is None)

    def _renew(self) -> None:
        """Ask for another iterator where the expired one was."""
        self._iterator = None
        if isinstance(self._position, Latest):
            # Another iterator at the tip would pass over what has come meanwhile.
            self._position = TrimHorizon()

    def _lost(self, reason: str) -> ShardPage:
        """Go on with what is still there."""
        self._iterator = None
        self._position = TrimHorizon()
        return ShardPage(lost=reason)

    async def _gone(self) -> ShardPage:
        """A shard is not there any more: all of it was trimmed, or the whole stream is gone, which raises."""
        description = await self._streams.describe(self._stream_arn)
        if any(shard.id == self._shard for shard in description.shards):
            # It was not there for a moment.
            await self._clock.sleep(self._poll)
            return ShardPage()
        if description.is_off:
            # Its workers may have gone on to the table's next stream already, of which the shard would be.
            raise ServiceError(f"The stream is switched off, and {self._shard} is not among its shards.")
        return ShardPage(lost=f"the stream has trimmed {self._shard} before its end was read", is_last=True)

    def _read(self, records: Iterable[Raw], *, is_last: bool) -> ShardPage:
        changes: list[Change] = []
        unreadable: list[Unreadable] = []
        before = self._done
        for raw in records:
            record = read_record(raw, self._keys, self._stream_arn)
            if record.sequence is not None:
                if record.sequence <= self._done:
                    continue  # reading begins at the checkpoint's own record
                self._done = record.sequence
            if isinstance(record, Unreadable):
                unreadable.append(record)
            elif not self._is_too_old(record):
                changes.append(record)
        if self._done > before:
            self._position = At(self._done)
        self._quiet = 0 if changes or unreadable else self._quiet + 1
        behind = self._millis_behind(changes)
        return ShardPage(
            tuple(changes),
            tuple(unreadable),
            sequence=self._done if self._done > before else None,
            millis_behind=behind,
            is_at_tip=behind <= _TIP_MILLIS if changes else self._quiet >= _QUIET_PAGES,
            is_last=is_last,
        )

    def _is_too_old(self, change: Change) -> bool:
        return (
            self._not_before is not None and change.created is not None and change.created < self._not_before
        )

    def _millis_behind(self, changes: list[Change]) -> int:
        if not changes or (created := changes[-1].created) is None:
            return 0
        return max(int((self.now() - created) * 1000), 0)
