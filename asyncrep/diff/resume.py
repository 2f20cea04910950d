"""Takes up what a run before this one left undecided, or wrote and did not tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncrep.diff.confirm import Candidate, confirm
from asyncrep.diff.owners import mended_before
from asyncrep.diff.probe import BATCH, Met, probe_primary, probe_replica
from asyncrep.model import Extraneous

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from asyncrep.diff.run import Run
    from asyncrep.jobs.mark import Undecided
    from asyncrep.model import Discrepancy


def in_groups(undecided: Sequence[Undecided]) -> Iterable[Sequence[Undecided]]:
    """Cut records into groups that one probe takes."""
    return (undecided[start : start + BATCH] for start in range(0, len(undecided), BATCH))


async def look_again(run: Run[Any], group: Sequence[Undecided]) -> list[Candidate]:
    """Ask both sides for records; count those that are equal and return what has to be confirmed.

    A record that a journal tells of is always confirmed: whoever wrote it has not told it.
    """
    candidates = [_candidate(entry) for entry in group]
    unsaid = [candidate for candidate in candidates if candidate.key in run.track.written]
    others = [candidate for candidate in candidates if candidate.key not in run.track.written]
    ours = [candidate for candidate in others if candidate.met_on != "replica"]
    theirs = [candidate for candidate in others if candidate.met_on == "replica"]
    return unsaid + await _look_for_ours(run, ours) + await _look_for_theirs(run, theirs)


def _candidate(entry: Undecided) -> Candidate:
    return Candidate(entry.key.encode(), entry.segment, entry.size, entry.met_on)


async def _look_for_ours(run: Run[Any], candidates: Sequence[Candidate]) -> list[Candidate]:
    if not candidates:
        return []
    images = await run.primary.get([candidate.key for candidate in candidates], consistent=False)
    records = [Met(each.key, images[each.key], each.segment) for each in candidates if each.key in images]
    different, _ = await probe_replica(run, records)
    run.report.matched += len(records) - len(different)
    still = {candidate.key for candidate in different} | {
        each.key for each in candidates if each.key not in images
    }
    return _still_open(run, candidates, still)


async def _look_for_theirs(run: Run[Any], candidates: Sequence[Candidate]) -> list[Candidate]:
    if not candidates:
        return []
    extraneous, _ = await probe_primary(run, [Met(each.key, each.key, each.segment) for each in candidates])
    return _still_open(run, candidates, {candidate.key for candidate in extraneous})


def _still_open(run: Run[Any], candidates: Sequence[Candidate], keys: Iterable[bytes]) -> list[Candidate]:
    """Close all candidates but those of the given keys; return these."""
    left = []
    for candidate in candidates:
        if candidate.key in keys:
            left.append(candidate)
        else:
            run.track.close(candidate.key, candidate.met_on)
    return left


async def mended_unseen(run: Run[Any]) -> list[Discrepancy]:
    """Return what a run before this one has written behind the place that its mark had reached.

    The walk has met these records again, found both sides equal and counted them as such; they are
    discrepancies that nobody has told. They are confirmed before that is said of them: somebody may have
    written to them since. What only the replica has by now is left to the walk of that side.
    """
    told: list[Discrepancy] = []
    unsaid = run.track.unsaid()
    for start in range(0, len(unsaid), BATCH):
        group = [
            Candidate(written.key, written.segment, 0, "both") for written in unsaid[start : start + BATCH]
        ]
        for verdict in await confirm(run, group):
            found = verdict.discrepancy or mended_before(run, verdict)
            if found is not None and not isinstance(found, Extraneous):
                run.report.matched -= 1
                run.track.hand_over(verdict.candidate)
                told.append(found)
    return told
