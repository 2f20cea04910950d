"""``incremental-record-history``: every version of one record in an incremental folder."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated

import typer

from asyncrep.cli.common_options import Verbose
from asyncrep.cli.folder_arguments import FolderArgument, TableArgument, find_folder
from asyncrep.cli.one_record import KEY_FORMS
from asyncrep.cli.options import spread_options
from asyncrep.cli.runtime import AGREE, exit_codes, run_async
from asyncrep.cli.storage_options import S3Options
from asyncrep.cli.table_options import TableOptions
from asyncrep.errors import TableNotFoundError, UsageError

if TYPE_CHECKING:
    from asyncrep.aws.place import Place
    from asyncrep.cli.folder_arguments import FolderPlace
    from asyncrep.items.keys import KeyReader

HELP = f"""
Show the history of one record in the incremental backup of TABLE: every version that S3 keeps of its object, the newest
first, each with what it changed; deletions are shown, and versions that are archived.

S3 tells when it received a version, in whole seconds. A bucket that keeps no versions, and a local folder, have the
present state alone. A version without changes was written again, as when a Lambda function was tried again.
{KEY_FORMS}
The table tells the key's types. If it is there no more, give the key in wire form.
"""
EPILOG = """
[bold]Examples[/bold]

  asyncrep incremental-record-history us-east-1/orders s3://my-bucket/incr '{"id":"abc","n":5}'

  asyncrep incremental-record-history us-east-1/orders s3://my-bucket/incr '{"id":"abc"}' --last 10

  asyncrep incremental-record-history us-east-1/orders s3://my-bucket/incr '{"id":{"S":"abc"}}' --json

[bold]Exit codes[/bold]

    0  the history was shown, also if there is none

    2  wrong usage

    3  it could not be read

  130  interrupted
"""


@spread_options
def incremental_record_history(
    table: TableArgument,
    folder: FolderArgument,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The record's key.", show_default=False)],
    tables: TableOptions,
    storing: S3Options,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No notes.", rich_help_panel="Output")] = False,
    verbose: Verbose = False,
    last: Annotated[
        int | None,
        typer.Option(
            "--last",
            metavar="N",
            help="Only the N newest versions. [dim]Default: all.[/dim]",
            rich_help_panel="Output",
        ),
    ] = None,
    json: Annotated[
        bool,
        typer.Option("--json", help="Each version as one line of JSON on stdout.", rich_help_panel="Output"),
    ] = False,
) -> None:
    """Show every version of one record."""
    with exit_codes(verbose=verbose):
        if last is not None and last < 1:
            raise UsageError(f"--last must be 1 or more, not {last}.")
        place, where = find_folder(table, folder, tables, storing)
        run_async(_show(place, where, key, last, as_json=json, quiet=quiet))
        raise typer.Exit(AGREE)


async def _show(
    place: Place, folder: FolderPlace, text: str, last: int | None, *, as_json: bool, quiet: bool
) -> None:
    from asyncrep.backup.history import names_of, record_history  # noqa: PLC0415
    from asyncrep.cli.history_view import History  # noqa: PLC0415

    keys, key = await _read_key(place, text, quiet=quiet)
    async with folder.open() as storage, aclosing(record_history(storage, key, keys)) as steps:
        view = History(str(folder), key, names_of(key, keys), as_json=as_json, quiet=quiet)
        async for step in steps:
            view.show(step)
            if view.shown == last:
                break
        if not view.shown:
            await storage.check()
        view.end(is_cut=view.shown == last)


async def _read_key(place: Place, text: str, *, quiet: bool) -> tuple[KeyReader, bytes]:
    """Return what reads the keys of the table, and the key, which may be of a table that is there no more.

    Raises:
        KeyFormatError: the text is no key of the table.
        ServiceError: the table could not be asked.
    """
    from asyncrep.backup.history import key_in_wire_form  # noqa: PLC0415
    from asyncrep.cli.render import message_console, say  # noqa: PLC0415

    try:
        async with place.open() as table:
            return table.keys, table.keys.parse(text)
    except TableNotFoundError:
        known = key_in_wire_form(text)
        if known is None:
            raise
    if not quiet:
        say(
            message_console(),
            f"Note: There is no table {place.ref}: the key is taken as it was typed.",
            "dim",
        )
    return known
