"""Keeps track of what a run has begun and not decided, so that at any moment it can be said how far it is.

A record that a scan has passed is *open* from the moment it leaves the scan until it is counted as equal,
or has been handed to somebody as a discrepancy; then it is *owned* until that one has concluded it, or has
put it aside. Each of these steps happens together with the count that belongs to it, without an ``await``
in between: that is why counts and undecided records always add up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from asyncrep.diff.spool import Spool
from asyncrep.jobs.mark import Mark, Reached, Undecided

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from asyncrep.diff.confirm import Candidate
    from asyncrep.jobs.mark import MetOn, Written
    from asyncrep.model import Page, Side


class _Opened(NamedTuple):
    """A batch that is being looked up: whose scan has delivered it, and how its keys are read."""

    side: Side
    batch: Page
    key_of: Callable[..., bytes]


@dataclass(slots=True)
class Resumed:
    """From where a run goes on.

    Attributes:
        mark: how far the run before had come.
        written: what its journal tells and its report does not, by key.
        writes: by journal writer, the number of the last intent that the journal holds.
        spools: what its spools held.
    """

    mark: Mark
    written: Mapping[bytes, Written] = field(default_factory=dict)
    writes: Mapping[str, int] = field(default_factory=dict)
    spools: Mapping[str, Spool] = field(default_factory=dict)


class Track:
    """What one run has begun and not decided.

    Args:
        resumed: from where it goes on, None for a run that begins.

    Attributes:
        window: tells what waits in the window of a join; set by whoever has one.
        ahead: tells how many items of a side were delivered and lie behind the place reached.
        deletions: how many of the records put aside are being deleted, or are; None before that began.
        to_delete: how many there were when it began.
        filled_empty: a backfill found the replica empty when it began: what is there, it has copied.
        written: what a journal tells of and no report, by key, of runs before this one.
        writes: by journal writer, the number of its last intent.
    """

    def __init__(self, resumed: Resumed | None = None) -> None:
        before = resumed.mark if resumed else Mark()
        self._reached = {side: dict(segments) for side, segments in before.reached.items()}
        self._before = {(entry.key.encode(), entry.met_on): entry for entry in before.undecided}
        self._open: dict[tuple[bytes, MetOn], Undecided] = {}
        self._owned: dict[bytes, Undecided] = {}
        self._batches: dict[int, _Opened] = {}
        self._spools = dict(resumed.spools) if resumed else {}
        self.written = dict(resumed.written) if resumed else {}
        self.writes = dict(resumed.writes) if resumed else {}
        self.deletions = before.deletions
        self.to_delete = before.to_delete
        self.filled_empty = before.filled_empty
        self.window: Callable[[], Iterable[Undecided]] = tuple
        self.ahead: Callable[[Side], int] = lambda _side: 0

    # ── Scans ───────────────────────────────────────────────────────────────────────────────────────

    def at(self, side: Side, segment: int) -> Reached:
        """Return where the scan of a segment begins, or how far it is."""
        return self._reached.setdefault(side, {}).setdefault(segment, Reached())

    def move(self, side: Side, segment: int, key: bytes) -> None:
        """Take note of the last item of a segment that has left the scan."""
        self.at(side, segment).key = key.decode()

    def end(self, side: Side, segment: int) -> None:
        """Take note that a segment holds nothing more."""
        self.at(side, segment).ended = True

    # ── Records ─────────────────────────────────────────────────────────────────────────────────────

    def open_batch(self, side: Side, batch: Page, key_of: Callable[..., bytes]) -> None:
        """Take note of a batch that is looked up as a whole."""
        self._batches[id(batch)] = _Opened(side, batch, key_of)
        self.move(side, batch.segment, key_of(batch.images[-1]))

    def close_batch(self, batch: Page, candidates: Iterable[Candidate] = ()) -> None:
        """Take note that all of a batch is counted but for these candidates."""
        del self._batches[id(batch)]
        self.open(candidates)

    def open(self, candidates: Iterable[Candidate]) -> None:
        """Take note of records whose fate is open."""
        for key, segment, size, met_on, _ in candidates:
            self._open[key, met_on] = Undecided(key.decode(), met_on, segment, size)

    def close(self, key: bytes, met_on: MetOn) -> None:
        """Take note that a record is counted, or told by somebody else."""
        self._open.pop((key, met_on), None)
        self._before.pop((key, met_on), None)

    def hand_over(self, candidate: Candidate) -> None:
        """Take note that a record is told: it is open until ``concluded``."""
        key, segment, size, met_on, _ = candidate
        self.close(key, met_on)
        self._owned[key] = Undecided(key.decode(), met_on, segment, size)

    def put_aside(self, key: bytes) -> None:
        """Take note that a record waits in a spool; what a journal tells of it is still to be told."""
        self._owned.pop(key, None)

    def concluded(self, key: bytes) -> None:
        """Take note that a record has reached its final state."""
        self._owned.pop(key, None)
        self.written.pop(key, None)

    def take_up(self, sides: Iterable[Side]) -> list[Undecided]:
        """Return what a run before this one left undecided on these sides."""
        wanted = {"both", *sides} if "primary" in sides else set(sides)
        return [entry for entry in self._before.values() if entry.met_on in wanted]

    def unsaid(self) -> list[Written]:
        """Return what a run before this one wrote and did not tell, and this one has not met as a candidate.

        Deletions are left out: they are met again when the deletions go on.
        """
        met = {key for key, _ in (*self._before, *self._open)} | self._owned.keys()
        return [
            written
            for key, written in self.written.items()
            if written.kind != "extraneous" and key not in met
        ]

    def unsaid_deletions(self) -> set[bytes]:
        """Return the keys that a run before this one may have deleted, and nobody has told since."""
        return {key for key, written in self.written.items() if written.kind == "extraneous"}

    # ── What is put aside ───────────────────────────────────────────────────────────────────────────

    def spool(self, name: str) -> Spool:
        """Return the run's spool of this name, with what the run before had in it."""
        if name not in self._spools:
            self._spools[name] = Spool()
        return self._spools[name]

    @property
    def spools(self) -> Mapping[str, Spool]:
        """All spools that were asked for, by name."""
        return self._spools

    def release(self) -> None:
        """Forget the spools."""
        for spool in self._spools.values():
            spool.close()

    # ── The mark ────────────────────────────────────────────────────────────────────────────────────

    def mark(self) -> Mark:
        """Say how far the scans are and what is undecided; the counts are the run's to add."""
        return Mark(
            reached={
                side: {number: Reached(reached.key, reached.ended) for number, reached in segments.items()}
                for side, segments in self._reached.items()
            },
            undecided=[*self._undecided().values()],
            deletions=self.deletions,
            to_delete=self.to_delete,
            filled_empty=self.filled_empty,
            writes=dict(self.writes),
            unsaid=[key.decode() for key in self.written.keys() | self._owned.keys()],
        )

    def _undecided(self) -> dict[tuple[bytes, MetOn], Undecided]:
        undecided = dict(self._before)
        for side, batch, key_of in self._batches.values():
            for image in batch.images:
                key = key_of(image)
                undecided[key, side] = Undecided(key.decode(), side, batch.segment, len(image))
        for entry in self.window():
            undecided[entry.key.encode(), entry.met_on] = entry
        undecided |= self._open
        undecided |= {(key, entry.met_on): entry for key, entry in self._owned.items()}
        return undecided
