"""Runs a command that shows its progress, and tells what was done however it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncrep.cli.runtime import Interrupted, complain, run_async
from asyncrep.errors import IncompleteBackupError, IncompleteRunError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from asyncrep.jobs.job import Job
    from asyncrep.progress import Event, Observer


def shown_run(
    work: Callable[[Observer], Coroutine[Any, Any, None]],
    hear: Callable[[Event], None],
    tell: Callable[[bool], None],
    *,
    quiet: bool,
) -> None:
    """Run a command's coroutine to its end, and tell its results, also of one that ended early.

    Args:
        work: does what the command is for; is handed who is to be told how it goes.
        hear: is told the same, before it is shown.
        tell: tells the results; is handed whether the run came to its end by itself.
        quiet: no progress is shown.

    Raises:
        AsyncrepError: it could not begin, or ended early.
        Interrupted: a signal ended it.
    """
    from asyncrep.cli.bars import progress  # noqa: PLC0415 - rich, only when something is run
    from asyncrep.cli.render import message_console  # noqa: PLC0415

    try:
        with progress(message_console(), quiet=quiet) as bars:
            run_async(work(_Hearing(hear, bars)))
    except (IncompleteBackupError, IncompleteRunError, Interrupted):
        tell(False)
        raise
    tell(True)


def say_how_to_go_on(job: Job | None) -> None:
    """Say how a run that was ended can be taken up, if a job is kept of it."""
    if job is not None:
        complain(f"The same command goes on with the job, which is kept in {job.name}.")


class _Hearing:
    """Hands every event to who keeps something of it, and then to who shows it."""

    def __init__(self, hear: Callable[[Event], None], shown: Observer) -> None:
        self._hear = hear
        self._shown = shown

    def notice(self, event: Event) -> None:
        """Pass an event on."""
        self._hear(event)
        self._shown.notice(event)
