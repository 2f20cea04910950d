"""``diff-record`` and ``replicate-record``: one record, shown side by side or brought in line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from asyncrep.cli.journals import chosen_journal, where_noted
from asyncrep.cli.one_record import KEY_FORMS, RecordArguments, find_record, opened
from asyncrep.cli.options import CompareOptions, MessageOptions, PlaceOptions, spread_options
from asyncrep.cli.runtime import AGREE, DISCREPANCIES, FAILED, complain, exit_codes, run_async
from asyncrep.cli.storage_options import S3Options
from asyncrep.errors import UsageError
from asyncrep.model import State

if TYPE_CHECKING:
    from asyncrep.aws.place import Place
    from asyncrep.model import Discrepancy
    from asyncrep.options import Comparison, S3Access
    from asyncrep.repair.record import RecordDiff

DIFF_HELP = f"""
Compare one record of PRIMARY and REPLICA, attribute by attribute, by strongly consistent reads.
{KEY_FORMS}
"""
DIFF_EPILOG = """
[bold]Examples[/bold]

  asyncrep diff-record us-east-1/orders eu-west-1/orders '{"id":"abc","n":5}'

  asyncrep diff-record '{"id":"abc"}'   [dim](tables from the environment or asyncrep.toml)[/dim]
"""
REPLICATE_HELP = f"""
Bring one record of REPLICA in line with PRIMARY: put, patch or delete it, guarded and verified.
{KEY_FORMS}
"""
REPLICATE_EPILOG = """
[bold]Examples[/bold]

  asyncrep replicate-record us-east-1/orders eu-west-1/orders '{"id":"abc","n":5}'
"""


@spread_options
def diff_record(
    arguments: RecordArguments, places: PlaceOptions, comparing: CompareOptions, telling: MessageOptions
) -> None:
    """Compare one record."""
    with exit_codes(verbose=telling.verbose):
        pair, key = find_record(arguments, places)
        record = run_async(_compare(pair, key, comparing.comparison()))
        if not telling.quiet:
            from asyncrep.cli.render import result_console, show_record  # noqa: PLC0415

            show_record(result_console(), record)
        found = record.discrepancy
        raise typer.Exit(AGREE if found is None or found.state is State.EXPIRED else DISCREPANCIES)


@spread_options
def replicate_record(
    arguments: RecordArguments,
    places: PlaceOptions,
    comparing: CompareOptions,
    telling: MessageOptions,
    storing: S3Options,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing; say what would be done.")
    ] = False,
    force_global_table: Annotated[
        bool, typer.Option("--force-global-table", help="Write even to a member of a global table.")
    ] = False,
    journal: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|s3://…",
            help="Note the write here, for asyncrep undo. [dim]Default: a file in the state folder.[/dim]",
        ),
    ] = None,
) -> None:
    """Bring one record in line."""
    with exit_codes(verbose=telling.verbose):
        pair, key = find_record(arguments, places)
        if dry_run and journal is not None:
            raise UsageError("--journal has no effect with --dry-run, which writes nothing.")
        storing.check_used(journal)
        place = None if dry_run else chosen_journal(journal, pair[1].ref.table)
        access = storing.access()
        found, exists, noted = run_async(
            _replicate(pair, key, comparing.comparison(), place, access, force=force_global_table)
        )
        if not telling.quiet:
            _tell(found, exists=exists)
            _tell_journal(noted, access)
        raise typer.Exit(_exit_code(found))


async def _compare(pair: tuple[Place, Place], key: str, comparison: Comparison) -> RecordDiff:
    from asyncrep.repair.record import diff_record as compare  # noqa: PLC0415

    async with opened(pair) as (primary, replica):
        return await compare(primary, replica, primary.keys.parse(key), comparison=comparison)


async def _replicate(
    pair: tuple[Place, Place],
    key: str,
    comparison: Comparison,
    place: str | None,
    access: S3Access,
    *,
    force: bool,
) -> tuple[Discrepancy | None, bool, str | None]:
    """Return what became of the record, whether there is one at all, and where it is noted what was written.

    Without a place for a journal it is a dry run.
    """
    from asyncrep.jobs.journal import open_journal_if  # noqa: PLC0415
    from asyncrep.repair.record import replicate_record as replicate  # noqa: PLC0415

    async with (
        opened(pair) as (primary, replica),
        open_journal_if(place, primary, replica, pair[1], access) as journal,
    ):
        parsed = primary.keys.parse(key)
        found = await replicate(
            primary,
            replica,
            parsed,
            comparison=comparison,
            force=force,
            dry_run=journal is None,
            journal=journal,
        )
        exists = found is not None or bool(await primary.get([parsed], consistent=True))
        return found, exists, journal.place if journal is not None and journal.n else None


def _tell(found: Discrepancy | None, *, exists: bool) -> None:
    from asyncrep.cli.render import result_console, say  # noqa: PLC0415

    if found is not None and found.state is State.FAILED:
        complain(f"Error: The record could not be written: {found.reason}")
    else:
        nobody = "Neither side has this record; nothing was written."
        say(result_console(), _sentence(found) if exists else nobody)


def _tell_journal(journal: str | None, access: S3Access) -> None:
    from asyncrep.cli.render import message_console, say  # noqa: PLC0415

    if journal is not None:
        say(message_console(), where_noted(journal, access=access), "dim")


def _sentence(found: Discrepancy | None) -> str:
    if found is None:
        return "The record is the same on both sides; nothing was written."
    if found.state is State.REPAIRED:
        done = {"missing": "put", "different": "patched", "extraneous": "deleted"}[found.kind]
        return f"The record was {done} in the replica and verified." + (
            f" {found.reason}" if found.reason else ""
        )
    if found.state is State.FOUND:
        return f"The record is {found.kind}. {found.reason}"
    return (
        f"Nothing more was done: the record is {found.state.replace('_', ' ')}. {found.reason or ''}".strip()
    )


def _exit_code(found: Discrepancy | None) -> int:
    if found is None or found.state in {State.REPAIRED, State.EXPIRED}:
        return AGREE
    return FAILED if found.state is State.FAILED else DISCREPANCIES
