"""``explain``: the story of one record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from asyncrep.cli.common_options import OUTPUT
from asyncrep.cli.one_record import KEY_FORMS, RecordArguments, find_record, opened
from asyncrep.cli.options import CompareOptions, MessageOptions, PlaceOptions, spread_options
from asyncrep.cli.runtime import AGREE, DISCREPANCIES, exit_codes, run_async
from asyncrep.cli.storage_options import S3Options
from asyncrep.errors import UsageError
from asyncrep.model import State

if TYPE_CHECKING:
    from asyncrep.aws.place import Place
    from asyncrep.options import Comparison, S3Access
    from asyncrep.repair.explain import Explanation

HELP = f"""
Tell the story of one record: both items, where they differ down into maps and lists, the likely cause and what it
rests on, when TTL expires them, what in the tables' settings could explain it, what a journal tells of it, and what
replicate-record would do.

Nothing is written. The record is read strongly consistently, the primary twice, so that one that is being written
to is told as such.
{KEY_FORMS}
"""
EPILOG = """
[bold]Examples[/bold]

  asyncrep explain us-east-1/orders eu-west-1/orders '{"id":"abc","n":5}'

  asyncrep explain us-east-1/orders eu-west-1/orders '{"id":"abc"}' --json

  asyncrep explain us-east-1/orders eu-west-1/orders '{"id":"abc"}' --journal repair.jsonl

  asyncrep explain '{"id":"abc"}'   [dim](tables from the environment or asyncrep.toml)[/dim]

[bold]Exit codes[/bold]

  0  the sides agree, or TTL has given the item up

  1  they differ

  2  wrong usage

  3  the record could not be read
"""


@spread_options
def explain(
    arguments: RecordArguments,
    places: PlaceOptions,
    comparing: CompareOptions,
    telling: MessageOptions,
    storing: S3Options,
    journal: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|s3://…",
            help="Tell also what repairs did to it, from their journal (or an undo's).",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    json: Annotated[
        bool,
        typer.Option("--json", help="All of it as one JSON object on stdout.", rich_help_panel=OUTPUT),
    ] = False,
) -> None:
    """Tell the story of one record."""
    with exit_codes(verbose=telling.verbose):
        if json and telling.quiet:
            raise UsageError("--json and --quiet do not go together: the one prints, the other forbids it.")
        pair, key = find_record(arguments, places)
        storing.check_used(journal)
        told = run_async(_explain(pair, key, comparing.comparison(), journal, storing.access()))
        if json:
            from asyncrep.cli.output import print_json  # noqa: PLC0415

            print_json(told.as_dict())
        elif not telling.quiet:
            from asyncrep.cli.render import result_console  # noqa: PLC0415
            from asyncrep.cli.story import show_story  # noqa: PLC0415

            show_story(result_console(), told)
        found = told.discrepancy
        raise typer.Exit(AGREE if found is None or found.state is State.EXPIRED else DISCREPANCIES)


async def _explain(
    pair: tuple[Place, Place], key: str, comparison: Comparison, journal: str | None, access: S3Access
) -> Explanation:
    from asyncrep.repair.explain import explain as tell  # noqa: PLC0415

    async with opened(pair) as (primary, replica):
        return await tell(
            primary,
            replica,
            primary.keys.parse(key),
            comparison=comparison,
            journal=journal,
            access=access,
        )
