"""Saves how far a run is into its job: at the start, now and then, and when it ends, however it does."""

from __future__ import annotations

from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from asyncrep.diff.spool import Spool
from asyncrep.diff.track import Resumed
from asyncrep.errors import AsyncrepError, JobError
from asyncrep.flow.tasks import beside
from asyncrep.progress import Note

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncrep.diff.run import Run
    from asyncrep.jobs.job import Job

_FIRST_SECONDS = 1.0
"""Until the first save; each of the next ones waits twice as long as the one before it."""

_SECONDS = 10.0
"""Between two saves, once the run has gone on for a while."""

_SHARE = 50
"""So many times as long as a save takes passes until the next, so that saving takes two percent of a run."""


async def resumed_from(job: Job | None) -> Resumed | None:
    """Return from where a run goes on, None when it begins.

    Raises:
        UsageError: a part of the job is gone.
        ServiceError: S3 could not be asked.
    """
    if job is None or job.mark is None:
        return None
    with ExitStack() as opened:
        spools = {}
        for name in job.state.parts:
            spools[name] = opened.enter_context(Spool())
            async for lines in job.piled(name):
                spools[name].extend(lines)
        opened.pop_all()  # they are the run's now, which closes them
    return Resumed(job.mark, job.written, job.writes, spools)


@asynccontextmanager
async def saved(run: Run[Any], job: Job | None) -> AsyncIterator[None]:
    """Keep a job up to date with the run that is made in the block; without a job do nothing.

    Raises:
        JobError: the state could not be saved; the run ends there.
    """
    if job is None:
        yield
        return
    run.resumable = True
    await _save(run, job)
    try:
        async with beside(_now_and_then(run, job)):
            yield
    except BaseException as error:
        await _save_after(error, run, job)
        raise
    await _save(run, job, done=True, last=True)


async def _save_after(ended_by: BaseException, run: Run[Any], job: Job) -> None:
    """Save how far a run came that an error has ended; what this one meets with must not take its place."""
    try:
        await _save(run, job, last=True)
    except AsyncrepError as error:
        if not isinstance(ended_by, JobError):  # that says it already
            run.observer.notice(Note(f"How far the run came could not be saved: {error}"))


async def _save(run: Run[Any], job: Job, *, done: bool = False, last: bool = False) -> None:
    await job.save(run.mark(), run.track.spools, done=done, last=last)


async def _now_and_then(run: Run[Any], job: Job) -> None:
    clock, pause = run.clock, _FIRST_SECONDS
    while True:
        await clock.sleep(pause)
        begun = clock.monotonic()
        await _save(run, job)
        pause = max(min(2 * pause, _SECONDS), _SHARE * (clock.monotonic() - begun))
