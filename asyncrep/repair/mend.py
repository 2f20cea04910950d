"""Mends a batch of discrepancies: guarded writes, verified against the primary, bounded tries."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from asyncrep.diff.confirm import Candidate, confirm, read_strongly, same_side
from asyncrep.errors import RejectedError, ThrottledError, UnreachableError
from asyncrep.flow.tasks import side_by_side
from asyncrep.items.equality import decode_image, differing_attributes
from asyncrep.model import Extraneous, State
from asyncrep.repair.plan import plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncrep.diff.run import Run
    from asyncrep.model import Destination, Discrepancy, Mutation, Outcome

ROUNDS = 4
"""How often a record is written, verified and confirmed again before it is ``contested``."""

_DELETED_MEANWHILE = (
    "The primary's item was deleted while it was being repaired; what is left waits for the deletions."
)


class Mended(NamedTuple):
    """What became of a batch.

    Attributes:
        records: every discrepancy of the batch in its final state.
        leftovers: records that the primary lost meanwhile and the replica still has.
    """

    records: list[Discrepancy]
    leftovers: list[Candidate]


async def mend(run: Run[Destination], batch: Sequence[Discrepancy], *, deleting: bool = False) -> Mended:
    """Write what mends each discrepancy and see to it that the result is right.

    A round writes every record under its precondition, then reads the primary strongly once more. A
    record is done when its write was applied and the primary has not moved. All others are confirmed
    again: equal now, it was repaired (maybe by a write whose answer got lost); still drift, it goes
    into the next round.

    Args:
        run: the run.
        batch: confirmed discrepancies of distinct keys, in state found.
        deleting: both walks are complete, so that items may be deleted.

    Raises:
        ServiceError: what fails every record alike, as lost permissions or a deleted table.
    """
    original = {found.key: found for found in batch}
    pending = {found.key: found for found in batch}
    done: dict[bytes, Discrepancy] = {}
    leftovers: list[Candidate] = []
    for _ in range(ROUNDS):
        verified, again = await _round(run, list(pending.values()))
        done |= {found.key: original[found.key].moved(found.state, found.reason) for found in verified}
        pending = {}
        if not again:
            break
        for verdict in await confirm(run, [Candidate(key, original[key].segment, 0) for key in again]):
            key, found = verdict.candidate.key, verdict.discrepancy
            if found is None:
                done[key] = original[key].moved(State.REPAIRED)
            elif found.state is not State.FOUND:
                done[key] = original[key].moved(State.CONTESTED, found.reason)
            elif isinstance(found, Extraneous) and not deleting:
                done[key] = original[key].moved(State.CONTESTED, _DELETED_MEANWHILE)
                leftovers.append(verdict.candidate)
            else:
                pending[key] = found
        if not pending:
            break
    reason = f"Somebody else kept changing the record during {ROUNDS} attempts to repair it."
    done |= {key: original[key].moved(State.CONTESTED, reason) for key in pending}
    return Mended([done[key] for key in original], leftovers)


async def _round(run: Run[Destination], batch: list[Discrepancy]) -> tuple[list[Discrepancy], list[bytes]]:
    """Write a batch once and verify it; return what is done with and the keys to look at again."""
    done: list[Discrepancy] = []
    again: list[bytes] = []
    applied: dict[bytes, tuple[Discrepancy, str | None]] = {}
    for found, result in zip(batch, await side_by_side(_write(run, found) for found in batch), strict=True):
        if isinstance(result, str):
            done.append(found.moved(State.FAILED, result))
        elif result.applied:
            applied[found.key] = (found, _remark(found, result))
        else:
            again.append(found.key)
    if applied:
        now = await read_strongly(run, run.primary, list(applied))
        for key, (found, remark) in applied.items():
            if same_side(run, found.primary, now.get(key)):
                done.append(found.moved(State.REPAIRED, remark))
            else:
                again.append(key)
    return done, again


async def _write(run: Run[Destination], found: Discrepancy) -> Outcome | str:
    """Send the mutation that mends one discrepancy; return a sentence when this record cannot be written."""
    mutation: Mutation = plan(found, run.replica.settings.schema, run.comparison.ignore)
    try:
        async with run.slots:
            return await run.replica.apply(mutation)
    except (RejectedError, ThrottledError, UnreachableError) as error:
        return str(error)


def _remark(found: Discrepancy, outcome: Outcome) -> str | None:
    """Say what the precondition could not check: too large an item, attributes that came meanwhile."""
    if not isinstance(found, Extraneous) or outcome.old is None:
        return outcome.caveat
    grown = differing_attributes(decode_image(found.replica), decode_image(outcome.old))
    if not grown:
        return outcome.caveat
    return f"The deleted item had gained attributes since it was read: {', '.join(grown)}."
