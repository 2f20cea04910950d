"""What a job keeps of a dump, so that another process goes on with the same name, cut and table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from asyncrep.errors import UsageError
from asyncrep.model import Segment

if TYPE_CHECKING:
    from asyncrep.jobs.job import Job
    from asyncrep.model import Source


class Done(msgspec.Struct):
    """What a job keeps of a dump: ``asyncrep.jobs.job.State.work``.

    Attributes:
        jobid: the dump's name.
        total: into how many segments the table is cut.
        segments: how many the job is to dump.
        segments_done: how many are whole.
        items: that these hold.
        table_id: the table's, where the service tells it.
    """

    jobid: str
    total: int
    segments: int = 0
    segments_done: int = 0
    items: int = 0
    table_id: str | None = None
    read_units: float = 0.0
    cost_usd: float = 0.0
    throttled: int = 0
    seconds: float = 0.0


def done_before(job: Job | None, table: Source) -> Done | None:
    """Return what runs before this one have done; None for the first.

    Raises:
        UsageError: what the job keeps is damaged, or the table is another one by now.
    """
    if job is None or job.work is None:
        return None
    try:
        done = msgspec.convert(job.work, Done)
        Segment(0, done.total)
    except (msgspec.ValidationError, UsageError) as error:
        raise UsageError(f"The job in {job.name} is damaged: {error}.") from error
    now = table.settings.table_id
    if done.table_id is not None and now is not None and done.table_id != now:
        raise UsageError(
            f"{table.label} was created anew since the job began: remove the job, or choose another name."
        )
    return done
