"""``repair``: apply a stored diff."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asyncrep.cli.check import Check, Keeping, Manner
from asyncrep.cli.limits import LimitOptions
from asyncrep.cli.options import (
    CompareOptions,
    ForceGlobalTable,
    JournalPlace,
    MaxDelete,
    NoDelete,
    OutputOptions,
    PlaceOptions,
    RepairOptions,
    spread_options,
)
from asyncrep.cli.places import find_pair
from asyncrep.cli.runtime import exit_codes
from asyncrep.cli.storage_options import S3Options
from asyncrep.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncrep.aws.place import Place
    from asyncrep.options import Comparison, Limits
    from asyncrep.progress import Observer
    from asyncrep.repair.stored_diff import StoredDiff

_STDIN = Path("-")
_REPAIRING = "Repairing"

HELP = """
Repair what a stored diff lists, after it was reviewed, filtered or edited; nothing else is touched.

FILE holds discrepancies as [bold]diff-tables --output[/bold] writes them, one JSON object a line. The whole file
is checked before anything is written. Then each record is read again, strongly consistent: if both sides are
what the diff says they were, it is repaired, conditionally and verified; if not, or if the sides agree by
now, it is left alone and reported as changed. What was repaired, in flight or expired when the diff was
stored is passed over. Deletions come last.

Tables are named as for [bold]asyncrep diff-tables[/bold].
"""
EPILOG = """
[bold]Examples[/bold]

  asyncrep diff-tables us-east-1/orders eu-west-1/orders --output d.jsonl

  asyncrep repair d.jsonl us-east-1/orders eu-west-1/orders --dry-run

  asyncrep repair d.jsonl us-east-1/orders eu-west-1/orders

  jq -c 'select(.kind == "missing")' d.jsonl | asyncrep repair - us-east-1/orders eu-west-1/orders

  asyncrep repair d.jsonl --max-delete 100   [dim](tables from asyncrep.toml)[/dim]

[bold]Exit codes[/bold]

    0  everything was repaired and verified, or is equal by now

    1  discrepancies remain: changed since, skipped or contested

    2  wrong usage, or a line that is no discrepancy of these tables; nothing was done

    3  the run failed or is incomplete

  130  interrupted
"""


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """What may be written to the replica."""

    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Write nothing, report what would be done.", rich_help_panel=_REPAIRING
        ),
    ] = False
    no_delete: NoDelete = False
    max_delete: MaxDelete = None
    force_global_table: ForceGlobalTable = False
    journal: JournalPlace = None

    def repairing(self) -> RepairOptions:
        """Return the options of a ``diff-tables --repair`` that may write the same."""
        return RepairOptions(
            repair=True,
            dry_run=self.dry_run,
            no_delete=self.no_delete,
            max_delete=self.max_delete,
            force_global_table=self.force_global_table,
            journal=self.journal,
        )


@spread_options
def repair(
    file: Annotated[Path, typer.Argument(metavar="FILE|-", help="The stored diff; - is standard input.")],
    places: PlaceOptions,
    pace: LimitOptions,
    comparing: CompareOptions,
    writing: WriteOptions,
    telling: OutputOptions,
    storing: S3Options,
    primary: Annotated[
        str | None, typer.Argument(metavar="PRIMARY", help="The table that is right.", show_default=False)
    ] = None,
    replica: Annotated[
        str | None, typer.Argument(metavar="REPLICA", help="The table that is repaired.", show_default=False)
    ] = None,
) -> None:
    """Apply a stored diff."""
    with exit_codes(verbose=telling.verbose):
        telling.check_files()
        if writing.dry_run and writing.journal is not None:
            raise UsageError("--journal has no effect with --dry-run, which writes nothing.")
        storing.check_used(writing.journal)
        keeping = Keeping(access=storing.access())
        pair, limits, comparison = (
            find_pair(primary, replica, places),
            pace.limits(),
            comparing.comparison(),
        )
        writing.repairing().rules()  # refused here, and not once stdin was read to its end
        with _opened(file, telling) as stored:
            run = StoredRepair(stored, pair, limits, comparison, writing.repairing(), keeping)
            raise typer.Exit(run.run(telling))


class StoredRepair(Check):
    """One run of ``repair``: told as a run of ``diff-tables`` is."""

    def __init__(
        self,
        stored: StoredDiff,
        places: tuple[Place, Place],
        limits: Limits,
        comparison: Comparison,
        repairing: RepairOptions,
        keeping: Keeping,
    ) -> None:
        super().__init__(places, limits, Manner(), comparison, repairing, keeping)
        self._stored = stored

    async def _work(self, observer: Observer) -> None:
        from asyncrep.jobs.journal import open_journal_if  # noqa: PLC0415
        from asyncrep.repair.stored import repair_stored  # noqa: PLC0415

        ours, theirs = self._places
        async with (
            ours.open() as primary,
            theirs.open() as replica,
            open_journal_if(self._journal(), primary, replica, theirs, self._keeping.access) as journal,
        ):
            await repair_stored(
                primary,
                replica,
                self._stored,
                limits=self._limits,
                comparison=self._comparison,
                rules=self._repairing.rules(),
                observer=observer,
                journal=journal,
            )


@contextmanager
def _opened(path: Path, telling: OutputOptions) -> Iterator[StoredDiff]:
    """Open the diff; what comes through a pipe is read to its end, where Ctrl-C is still heard.

    Raises:
        UsageError: it cannot be read, or a result would be written over it.
    """
    from asyncrep.repair.stored_diff import StoredDiff  # noqa: PLC0415

    if path == _STDIN and sys.stdin is None:
        raise UsageError("There is no standard input to read the diff from.")
    _check_results(path, telling)
    opening = StoredDiff.spooled("stdin", sys.stdin.buffer) if path == _STDIN else StoredDiff.opened(path)
    with opening as stored:
        yield stored


def _check_results(path: Path, telling: OutputOptions) -> None:
    """Refuse to write a result over the diff that it is about."""
    for option, result in (("--output", telling.output), ("--combined", telling.combined)):
        if result is None or result == _STDIN:
            continue
        try:
            source = os.fstat(sys.stdin.fileno()) if path == _STDIN else path.stat()
            same = stat.S_ISREG(source.st_mode) and os.path.samestat(source, result.stat())
        except (OSError, ValueError):  # one of the two is not there: whoever opens it says so
            continue
        if same:
            raise UsageError(f"{option} would overwrite the diff that is to be applied, {result}.")
