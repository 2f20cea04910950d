"""``undo``: take back what a journal records."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import msgspec
import typer

from asyncrep.aws.place import Place
from asyncrep.cli.common_options import OUTPUT, Json, Quiet, Verbose
from asyncrep.cli.journals import chosen_journal
from asyncrep.cli.limits import LimitOptions
from asyncrep.cli.options import spread_options
from asyncrep.cli.places import checked_endpoint
from asyncrep.cli.runtime import AGREE, DISCREPANCIES, FAILED, Interrupted, exit_codes, run_async
from asyncrep.cli.storage_options import S3Options
from asyncrep.errors import IncompleteUndoError, UsageError
from asyncrep.location import TableRef, parse_storage
from asyncrep.progress import Event, UndoStarted

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncrep.jobs.entries import Header
    from asyncrep.location import S3Place
    from asyncrep.model import Discrepancy
    from asyncrep.options import Limits, S3Access
    from asyncrep.progress import Observer
    from asyncrep.repair.undo import Undone
    from asyncrep.report import UndoReport

_REPLICA = "Replica"
_UNDOING = "Undoing"
_STDOUT = Path("-")

HELP = """
Take back what a repair wrote, record by record, as far as nobody wrote to it since.

JOURNAL is the file or s3://BUCKET/PREFIX that a repair by [bold]diff-tables[/bold], [bold]repair[/bold] or
[bold]replicate-record[/bold] named in the end. What is recorded as applied is taken back, the newest write first, each under a
condition: an item that was put is deleted if it is still equal to what was put, patched attributes get their
old values back if they still have the new ones, a deleted item is put again if there is none. What was
changed since is left as it is and listed; so are writes of which the journal does not tell whether they
landed. The undo has a journal of its own, so that it can be undone.

The replica is the one that the journal names.
"""
EPILOG = """
[bold]Examples[/bold]

  asyncrep undo repair.jsonl --dry-run

  asyncrep undo repair.jsonl

  asyncrep undo repair.jsonl --key '{"id":"abc"}'

  asyncrep undo s3://my-bucket/journals/orders --write-units 100 --output undone.jsonl

  asyncrep undo repair.jsonl --replica-profile admin

[bold]Exit codes[/bold]

    0  everything is as it was before

    1  some could not be taken back: changed since, or not known

    2  wrong usage, no journal, or another table; nothing was done

    3  the undo failed or is incomplete; run it again to go on

  130  interrupted
"""


@dataclass(frozen=True, slots=True)
class ReplicaOptions:
    """Where the replica is, if not where the journal says."""

    replica: Annotated[
        str | None,
        typer.Option(metavar="TABLE", help="Another way to the same table.", rich_help_panel=_REPLICA),
    ] = None
    endpoint_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Its endpoint.", rich_help_panel=_REPLICA)
    ] = None
    replica_endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="The same.", rich_help_panel=_REPLICA)
    ] = None
    replica_profile: Annotated[
        str | None, typer.Option(metavar="NAME", help="AWS profile.", rich_help_panel=_REPLICA)
    ] = None
    replica_role_arn: Annotated[
        str | None, typer.Option(metavar="ARN", help="Role to assume.", rich_help_panel=_REPLICA)
    ] = None

    def place(self, header: Header) -> Place:
        """Return where the replica is; what is not given is as the journal has it.

        Raises:
            UsageError: a location or an endpoint is malformed.
        """
        there = header.replica
        endpoint = checked_endpoint(self.replica_endpoint or self.endpoint_url)
        if self.replica is None:
            endpoint = endpoint or there.endpoint_url
        ref = TableRef.parse(self.replica or there.location, endpoint_url=endpoint)
        profile = there.profile if self.replica_profile is None else self.replica_profile
        role = there.role_arn if self.replica_role_arn is None else self.replica_role_arn
        return Place(ref, profile or None, role or None)


@dataclass(frozen=True, slots=True)
class UndoOptions:
    """What is taken back."""

    key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Only this record, one JSON object.", rich_help_panel=_UNDOING),
    ] = None
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Write nothing, tell what would be done.", rich_help_panel=_UNDOING),
    ] = False
    journal: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|s3://…",
            help="Note every write here, to undo the undo. [dim]Default: a file in the state folder.[/dim]",
            rich_help_panel=_UNDOING,
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class UndoOutputOptions:
    """What is told, and where."""

    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|-", help="What became of each record, as JSON lines.", rich_help_panel=OUTPUT
        ),
    ] = None
    json: Json = False
    quiet: Quiet = False
    verbose: Verbose = False

    @property
    def stdout_is_taken(self) -> bool:
        """Whether stdout holds results for programs."""
        return self.json or self.output == _STDOUT


@spread_options
def undo(
    undoes: Annotated[
        str, typer.Argument(metavar="JOURNAL", help="The journal, a file or s3://…", show_default=False)
    ],
    reaching: ReplicaOptions,
    undoing: UndoOptions,
    pace: LimitOptions,
    telling: UndoOutputOptions,
    storing: S3Options,
) -> None:
    """Take back what a journal records."""
    with exit_codes(verbose=telling.verbose):
        place = parse_storage(undoes)
        _check_combination(place, undoing, telling)
        storing.check_used(place, undoing.journal)
        place = place.absolute() if isinstance(place, Path) else place
        run = Undo(place, reaching, undoing, pace.limits(), storing.access())
        raise typer.Exit(run.run(telling))


def _check_combination(place: Path | S3Place, undoing: UndoOptions, telling: UndoOutputOptions) -> None:
    """Refuse options that would have no effect, or a result that would cost the journal.

    Raises:
        UsageError: with the options that do not go together.
    """
    if telling.json and telling.output == _STDOUT:
        raise UsageError("Only one of --output - and --json can have stdout.")
    if undoing.dry_run and undoing.journal is not None:
        raise UsageError("--journal has no effect with --dry-run, which writes nothing.")
    if undoing.journal is not None:
        parse_storage(undoing.journal)
    if isinstance(place, Path) and telling.output is not None and telling.output.resolve() == place.resolve():
        raise UsageError(f"--output would overwrite the journal that is to be taken back, {place}.")


class Undo:
    """One run of ``undo``, with what it is to do and what the user is to be told."""

    def __init__(
        self,
        place: Path | S3Place,
        reaching: ReplicaOptions,
        undoing: UndoOptions,
        limits: Limits,
        access: S3Access,
    ) -> None:
        self._place = place
        self._reaching = reaching
        self._undoing = undoing
        self._limits = limits
        self._access = access
        self._report: UndoReport | None = None
        self._shown: list[Undone] = []

    def run(self, telling: UndoOutputOptions) -> int:
        """Run to the end, tell the results, and return the exit code.

        Raises:
            AsyncrepError: it could not begin.
            Interrupted: a signal ended it; what was done is told.
        """
        from asyncrep.cli.undo_view import undo_progress  # noqa: PLC0415

        try:
            with undo_progress(quiet=telling.quiet) as shown:
                run_async(self._undo(telling, shown))
        except (IncompleteUndoError, Interrupted):
            self._tell(telling)
            raise
        self._tell(telling)
        assert self._report is not None
        if self._report.failed:
            return FAILED
        return DISCREPANCIES if self._report.remaining else AGREE

    async def _undo(self, telling: UndoOutputOptions, shown: Observer) -> None:
        from asyncrep.cli.output import opened  # noqa: PLC0415
        from asyncrep.jobs.history import read_header  # noqa: PLC0415
        from asyncrep.jobs.journal import open_journal  # noqa: PLC0415
        from asyncrep.repair.undo import undo as take_back  # noqa: PLC0415

        header = await read_header(self._place, access=self._access)
        reached = self._reaching.place(header)
        async with AsyncExitStack() as stack:
            replica = await stack.enter_async_context(reached.open())
            key = None if self._undoing.key is None else replica.keys.parse(self._undoing.key)
            journal = None
            if not self._undoing.dry_run:
                noting = open_journal(
                    chosen_journal(self._undoing.journal, reached.ref.table),
                    replica,
                    primary=header.primary,
                    profile=reached.profile,
                    role_arn=reached.role_arn,
                    undoes=str(self._place),
                    access=self._access,
                )
                journal = await stack.enter_async_context(noting)
            line = cast("Callable[[Discrepancy], bytes]", _line)
            write = stack.enter_context(opened(telling.output, line))
            report = await take_back(
                self._place,
                replica,
                key=key,
                dry_run=self._undoing.dry_run,
                limits=self._limits,
                journal=journal,
                access=self._access,
                observer=_Listener(self, shown),
                told=lambda record: self._note(record, cast("Callable[[Undone], None]", write)),
            )
            if key is not None and not report.records:
                raise UsageError(f"The journal holds no write to {key.decode()} that could be taken back.")

    def begun(self, report: UndoReport) -> None:
        """Keep the live report."""
        self._report = report

    def _note(self, record: Undone, write: Callable[[Undone], None]) -> None:
        from asyncrep.cli.undo_view import SHOWN, is_worth_showing  # noqa: PLC0415

        write(record)
        if len(self._shown) < SHOWN and is_worth_showing(record):
            self._shown.append(record)

    def _tell(self, telling: UndoOutputOptions) -> None:
        """Print the results: one JSON object for programs, or the summary for people."""
        from asyncrep.cli.output import print_json  # noqa: PLC0415
        from asyncrep.cli.undo_view import show_undo  # noqa: PLC0415

        if self._report is None:
            return
        if telling.json:
            print_json(self._report.as_dict())
        elif not telling.quiet:
            show_undo(self._report, self._shown, stdout_is_taken=telling.stdout_is_taken, access=self._access)


def _line(record: Undone) -> bytes:
    from asyncrep.cli.output import harmless  # noqa: PLC0415

    return harmless(msgspec.json.encode(record.as_dict())) + b"\n"


class _Listener:
    """Keeps the report, and hands every event on."""

    def __init__(self, run: Undo, shown: Observer) -> None:
        self._run = run
        self._shown = shown

    def notice(self, event: Event) -> None:
        """Pass an event on."""
        if isinstance(event, UndoStarted):
            self._run.begun(event.report)
        self._shown.notice(event)
