"""Finds in a journal what runs wrote and did not tell before they were interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from asyncrep.errors import UsageError
from asyncrep.jobs.entries import Intent
from asyncrep.jobs.history import read_journal
from asyncrep.jobs.mark import Written

if TYPE_CHECKING:
    from asyncrep.jobs.mark import Mark
    from asyncrep.location import S3Place
    from asyncrep.options import S3Access


async def unsaid_writes(
    place: Path | S3Place, mark: Mark, access: S3Access | None = None
) -> tuple[dict[bytes, Written], dict[str, int]]:
    """Return what a journal tells and the report of a mark does not, by key, and each writer's last number.

    Only writers that the mark knows are the job's: others may share its journal. A write that was noted after
    the mark was made is untold; one noted before it is untold only where the mark says so of its record. Of
    several writes that were to mend the same discrepancy the first counts, as it knows what was there before;
    of several discrepancies the last.

    Raises:
        UsageError: it cannot be read, or there is none although something was noted.
    """
    unsaid = set(mark.unsaid)
    written: dict[bytes, Written] = {}
    last: dict[str, int] = {}
    try:
        async with read_journal(place, access=access) as records:
            async for record in records:
                if not isinstance(record, Intent) or record.by not in mark.writes:
                    continue
                last[record.by] = max(last.get(record.by, 0), record.n)
                if record.n > mark.writes[record.by] or record.key.decode() in unsaid:
                    found = Written(record.key, record.kind, record.segment, record.replica, record.cause)
                    before = written.setdefault(record.key, found)
                    if before.kind != found.kind:
                        written[record.key] = found
    except UsageError:
        if any(mark.writes.values()) or _exists(place):
            raise
        return {}, {}  # it is made with the first write
    return written, last


def _exists(place: Path | S3Place) -> bool:
    return isinstance(place, Path) and place.exists()
