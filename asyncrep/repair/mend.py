"""Mends a batch of discrepancies: guarded writes, verified against the primary, bounded tries."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from asyncrep.aws.guard import is_whole
from asyncrep.diff.confirm import Candidate, confirm, read_strongly, same_side
from asyncrep.errors import (
    AsyncrepError,
    ServiceError,
)
from asyncrep.flow.tasks import side_by_side
from asyncrep.items.equality import decode_image, differing_attributes, same_item
from asyncrep.jobs.journal import apply_noted, was_refused
from asyncrep.model import Extraneous, State
from asyncrep.mutation import Delete, Put
from asyncrep.repair.plan import plan
from asyncrep.repair.review import changed_since
from asyncrep.repair.rules import ENDS_THE_RUN

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from asyncrep.diff.confirm import Verdict
    from asyncrep.diff.run import Run
    from asyncrep.model import Destination, Discrepancy
    from asyncrep.mutation import Mutation, Outcome

ROUNDS = 4
"""How often a record is written, verified and confirmed again before it is ``contested``."""

_CONTESTED = f"Somebody else kept changing the record during {ROUNDS} attempts to repair it."
_DELETED_AGAIN = "The primary's item was deleted meanwhile, so the copy just made was deleted again."
_FOUND_GONE = "It was gone when it was looked at again; what it held last is not known."
_WRITTEN_BEFORE = "What was reviewed had been written before that was seen."


class _Unsettled(StrEnum):
    """What is known of a record that is written and not verified; its value says it."""

    UNKNOWN = "Whether the write landed is not known: the run ended while it was under way."
    UNVERIFIED = "It was written, but the run ended before that could be verified."


async def mend(
    run: Run[Destination],
    batch: Sequence[Discrepancy],
    *,
    deleting: bool = False,
    as_reviewed: bool = False,
) -> list[Extraneous]:
    """Write what mends each discrepancy and see to it that the result is right.

    A round writes every record under its precondition, then reads the primary strongly once more. A
    record is done when its write was applied and the primary has not moved. All others are confirmed
    again: equal now, it was repaired (maybe by a write whose answer got lost); still drift, it goes
    into the next round. Each record is concluded as soon as its fate is known; when the run ends
    early, also those that were written and not verified.

    Args:
        run: the run.
        batch: confirmed discrepancies of distinct keys, in state found.
        deleting: both walks are complete, so that items may be deleted.
        as_reviewed: somebody reviewed ``batch``; a record that is not as there any more gets no further
            round and is concluded as changed.

    Returns:
        Records that the primary lost meanwhile and the replica still has. They are not concluded.

    Raises:
        ServiceError: what fails every record alike, as lost permissions or a deleted table.
    """
    mending = _Mending(run, batch, as_reviewed=as_reviewed)
    pending = list(batch)
    try:
        for _ in range(ROUNDS):
            again = await mending.write_and_verify(pending)
            if not again:
                break
            pending = await mending.look_again(again, deleting=deleting)
        mending.conclude_rest(State.CONTESTED, _CONTESTED)
    finally:
        mending.abandon()
    return mending.leftovers


class _Mending:
    """One batch on its way.

    Attributes:
        leftovers: records that the primary lost meanwhile and the replica still has.
    """

    def __init__(self, run: Run[Destination], batch: Sequence[Discrepancy], *, as_reviewed: bool) -> None:
        self.leftovers: list[Extraneous] = []
        self._run = run
        self._as_reviewed = as_reviewed
        self._open = {found.key: found for found in batch}
        self._remarks: dict[bytes, list[str]] = {}
        self._put: dict[bytes, bytes] = {}
        self._taking_back: set[bytes] = set()
        self._unsettled: dict[bytes, _Unsettled] = {}

    async def write_and_verify(self, batch: Sequence[Discrepancy]) -> list[bytes]:
        """Write a batch once and verify it; return the keys that have to be looked at again."""
        results = await side_by_side(self._write(found) for found in batch)
        again = [found.key for found, applied in zip(batch, results, strict=True) if applied is False]
        applied = [found for found, result in zip(batch, results, strict=True) if result is True]
        if applied:
            if self._run.journal is not None:
                await self._run.journal.sync()  # what is concluded may be counted on to be undoable
            now = await read_strongly(self._run.primary, [found.key for found in applied])
            for found in applied:
                if same_side(self._run, found.primary, now.get(found.key)):
                    self._conclude(found.key, State.REPAIRED)
                else:
                    again.append(found.key)
        fatal = next((result for result in results if isinstance(result, AsyncrepError)), None)
        if fatal is not None:
            raise fatal
        return again

    async def look_again(self, keys: Sequence[bytes], *, deleting: bool) -> list[Discrepancy]:
        """Confirm records again; conclude what is decided and return what needs another round."""
        candidates = [Candidate(key, self._open[key].segment, 0, "primary") for key in keys]
        pending = []
        for verdict in await confirm(self._run, candidates):
            found = self._undecided(verdict, deleting=deleting)
            if found is not None:
                pending.append(found)
        return pending

    def _undecided(self, verdict: Verdict, *, deleting: bool) -> Discrepancy | None:
        """Return what another round is to mend, None when the record is decided."""
        key, found = verdict.candidate.key, verdict.discrepancy
        if found is None:
            if isinstance(self._open[key], Extraneous):
                self._remark(key, _FOUND_GONE)
            self._conclude(key, State.REPAIRED)
        elif found.state is not State.FOUND:
            state = State.CONTESTED if found.state is State.IN_FLIGHT else found.state
            self._conclude(key, state, found.reason)
        elif isinstance(found, Extraneous) and not deleting:
            ours = self._put.get(key)
            if ours is not None and same_item(ours, found.replica):
                self._taking_back.add(key)  # taking our own write back is no deletion of theirs
                return found
            self._forget(key)
            self.leftovers.append(found)
        elif self._as_reviewed and (change := self._change(found)):
            self._conclude_changed(found, change)
        else:
            return found
        return None

    def _change(self, found: Discrepancy) -> str | None:
        """Say what of a record is not as it was reviewed, our own writes to it aside."""
        return changed_since(self._open[found.key], found, self._run.comparison.ignore, written=True)

    def _conclude_changed(self, found: Discrepancy, change: str) -> None:
        """Conclude a record as it is now, not as it was reviewed."""
        if self._unsettled.get(found.key) is _Unsettled.UNVERIFIED:
            self._remark(found.key, _WRITTEN_BEFORE)
        sentences = [change, *self._remarks.get(found.key, [])]
        self._forget(found.key)
        self._run.conclude(found.moved(State.CHANGED, " ".join(sentences)))

    def conclude_rest(self, state: State, reason: str) -> None:
        """Conclude every record that is still open."""
        for key in list(self._open):
            self._conclude(key, state, reason)

    def abandon(self) -> None:
        """Conclude what was written, or may have been, and could not be verified; nothing else is known.

        Where another process can go on with the run, it finds out.
        """
        if self._run.resumable:
            return
        for key, reason in list(self._unsettled.items()):
            if key in self._open:
                self._conclude(key, State.FAILED, reason)

    async def _write(self, found: Discrepancy) -> bool | AsyncrepError | None:
        """Send the mutations that mend one record.

        Returns:
            Whether all were applied; None when this record cannot be written, which is concluded; the
            error when no record can.
        """
        try:
            whole = self._run.replica.settings.is_folder
            for mutation in plan(found, self._run.comparison.ignore, whole=whole):
                if not await self._apply(found, mutation):
                    return False
        except ENDS_THE_RUN as error:
            if was_refused(error) and self._unsettled.get(found.key) is _Unsettled.UNKNOWN:
                self._unsettled.pop(found.key)
            return error
        except ServiceError as error:
            self._conclude(found.key, State.FAILED, str(error))
            return None
        return True

    async def _apply(self, found: Discrepancy, mutation: Mutation) -> bool:
        """Send one mutation and note what came of it."""
        key, replica = found.key, self._run.replica
        if not is_whole(mutation, replica.settings.schema):
            # What the condition has no room for is checked by a read, as late as can be.
            now = (await read_strongly(replica, [key])).get(key)
            if not same_side(self._run, found.replica, now):
                return False
        outcome = await apply_noted(
            self._run.journal,
            replica,
            found,
            mutation,
            sending=lambda: self._unsettled.setdefault(key, _Unsettled.UNKNOWN),
        )
        if not outcome.applied:
            return False
        self._unsettled[key] = _Unsettled.UNVERIFIED
        if isinstance(mutation, Put):
            self._put[key] = mutation.image
        elif isinstance(mutation, Delete) and key in self._taking_back:
            self._remark(key, _DELETED_AGAIN)
        for remark in remarks(found, outcome, self._run.comparison.ignore):
            self._remark(key, remark)
        return True

    def _remark(self, key: bytes, remark: str) -> None:
        remarks = self._remarks.setdefault(key, [])
        if remark not in remarks:
            remarks.append(remark)

    def _conclude(self, key: bytes, state: State, reason: str | None = None) -> None:
        sentences = [*([reason] if reason else []), *self._remarks.get(key, [])]
        self._run.conclude(self._forget(key).moved(state, " ".join(sentences) or None))

    def _forget(self, key: bytes) -> Discrepancy:
        self._unsettled.pop(key, None)
        return self._open.pop(key)


def remarks(found: Discrepancy, outcome: Outcome, ignored: Collection[str]) -> list[str]:
    """Say what the old image tells that the precondition could not check."""
    said = [outcome.caveat] if outcome.caveat else []
    if found.replica is None or outcome.old is None:
        return said
    read, old = decode_image(found.replica), decode_image(outcome.old)
    if isinstance(found, Extraneous):
        moved = differing_attributes(read, old)
        gained = [name for name in moved if name not in read]
        others = [name for name in moved if name in read]
        if gained:
            said.append(f"The deleted item had gained attributes since it was read: {', '.join(gained)}.")
        if others:
            said.append(f"Attributes of the deleted item had changed since it was read: {', '.join(others)}.")
        return said
    primary = decode_image(found.primary or b"{}")
    mended = set(differing_attributes(primary, read, ignored))
    kept = [name for name in differing_attributes(read, old, ignored) if name not in mended]
    if kept:
        said.append(
            f"Meanwhile somebody changed other attributes; they were left as they are: {', '.join(kept)}."
        )
    return said
