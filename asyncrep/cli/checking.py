"""What commands that find discrepancies have in common: where results go, and what is told of a run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

from asyncrep.cli.runtime import Interrupted, complain, exit_code, run_async
from asyncrep.errors import IncompleteRunError
from asyncrep.progress import Event, Found, RunStarted

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from rich.console import Console

    from asyncrep.cli.options import OutputOptions
    from asyncrep.cli.output import Result
    from asyncrep.model import Discrepancy
    from asyncrep.progress import Observer
    from asyncrep.report import Report


class Checking(ABC):
    """One run that finds discrepancies, and what the user is to be told of it.

    Args:
        ignored: attributes that are not compared.
    """

    def __init__(self, ignored: Collection[str]) -> None:
        self._ignored = ignored
        self._report: Report | None = None
        self._shown: list[Discrepancy] = []

    @property
    def report(self) -> Report | None:
        """The counts of the run, None before it has begun."""
        return self._report

    def run(self, telling: OutputOptions) -> int:
        """Run to the end, tell the results, and return the exit code.

        Raises:
            AsyncrepError: the run could not begin.
            Interrupted: a signal ended it; what was done is told.
        """
        from asyncrep.cli.bars import progress  # noqa: PLC0415
        from asyncrep.cli.render import message_console  # noqa: PLC0415

        try:
            with progress(message_console(), quiet=telling.quiet) as bars:
                run_async(self._check(telling, bars))
        except IncompleteRunError as error:
            self._tell(telling, error.report)
            self._say_how_to_go_on()
            raise
        except Interrupted:
            if self._report is not None:
                self._tell(telling, self._report)
            self._say_how_to_go_on()
            raise
        assert self._report is not None
        self._tell(telling, self._report)
        return exit_code(self._report)

    async def _check(self, telling: OutputOptions, bars: Observer) -> None:
        async with AsyncExitStack() as stack:
            results = self._open_results(stack, telling, {})
            await self._work(self._listener(results, bars))

    def _open_results(
        self, stack: AsyncExitStack, telling: OutputOptions, kept: Mapping[str, int]
    ) -> dict[str, Result]:
        """Open the files of discrepancies; ``kept`` are the bytes of each that a run before has written."""
        from asyncrep.cli.output import combined_line, json_line, opened  # noqa: PLC0415

        line = partial(json_line, ignored=self._ignored)
        return {
            "--output": stack.enter_context(opened(telling.output, line, kept.get("--output"))),
            "--combined": stack.enter_context(
                opened(telling.combined, combined_line, kept.get("--combined"))
            ),
        }

    def _listener(self, results: Mapping[str, Result], bars: Observer) -> Observer:
        return _Listener(self, list(results.values()), bars)

    @abstractmethod
    async def _work(self, observer: Observer) -> None:
        """Do what the command is for."""

    def _say_how_to_go_on(self) -> None:  # noqa: B027 - most runs cannot be: nothing is said then
        """Say how a run that was ended can be taken up."""

    def note(self, event: Event) -> None:
        """Keep what the results will be made of."""
        from asyncrep.cli.render import SHOWN  # noqa: PLC0415

        if isinstance(event, RunStarted):
            self._report = event.report
        elif isinstance(event, Found) and len(self._shown) < SHOWN:
            self._shown.append(event.discrepancy)

    def _tell(self, telling: OutputOptions, report: Report) -> None:
        """Print the results: one JSON object for programs, or the summary for people."""
        from asyncrep.cli.output import print_json  # noqa: PLC0415
        from asyncrep.cli.render import result_console  # noqa: PLC0415

        if telling.json:
            print_json(report.as_dict())
        elif not telling.quiet:
            self._summarize(result_console(stdout_is_taken=telling.stdout_is_taken), report)
        if telling.quiet and report.failed and report.complete:
            complain(f"{report.failed} of the discrepancies could not be repaired.")

    @abstractmethod
    def _summarize(self, console: Console, report: Report) -> None:
        """Print the summary for people."""


class _Listener:
    """Hands the events of a run to everybody who wants them."""

    def __init__(self, check: Checking, results: Sequence[Result], bars: Observer) -> None:
        self._check = check
        self._results = results
        self._bars = bars

    def notice(self, event: Event) -> None:
        """Pass an event on; a discrepancy is also written to the results."""
        self._check.note(event)
        self._bars.notice(event)
        if isinstance(event, Found):
            for write in self._results:
                write(event.discrepancy)
