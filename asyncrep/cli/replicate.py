"""``replicate``: follows a table's stream and applies its changes elsewhere, until it is told to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from asyncrep.cli.folder_arguments import find_destinations
from asyncrep.cli.options import PlaceOptions, spread_options
from asyncrep.cli.replicate_options import (
    ApplyOptions,
    FollowPaceOptions,
    SelectOptions,
    StartOptions,
    TaskOptions,
    TellOptions,
)
from asyncrep.cli.replication import GRACE_SECONDS, Replication
from asyncrep.cli.runtime import AGREE, FAILED, Ending, complain, exit_codes, run_async
from asyncrep.cli.storage_options import S3Options

if TYPE_CHECKING:
    from asyncrep.cli.replicate_status import Status

HELP = """
Follow the stream of SOURCE and apply its changes to every DEST, until told to stop.

A DEST in S3, or a path, is an incremental backup: an object for each item under PREFIX/TABLE-NAME, and in a bucket that
keeps versions each change of it a version. [bold]asyncrep incremental-record-history[/bold] shows them.

Any number of workers with the same tables (or the same --task-name) share the shards of the stream; what one that dies has not
finished another takes over. How far they are is kept in a lease table that is made in DynamoDB.

Ctrl-C or SIGTERM ends a worker cleanly: what is being applied is finished and noted, and its shards are set free.
On a terminal it shows what it does, else it logs JSON lines to stderr.
"""
EPILOG = """
[bold]Examples[/bold]

  asyncrep replicate us-east-1/orders eu-west-1/orders

  asyncrep replicate us-east-1/orders eu-west-1/orders ap-south-1/orders --bootstrap --dead-letter poison.jsonl

  asyncrep replicate eu-west-1/orders us-east-1/orders --guard version   [dim](one of the two directions)[/dim]

  asyncrep replicate us-east-1/orders eu-west-1/orders --where status=active --without-attribute secret

  asyncrep replicate us-east-1/orders s3://my-bucket/incr --bootstrap

  asyncrep replicate us-east-1/orders eu-west-1/orders --status
"""

_Tables = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SOURCE DEST…]",
        help="The tables; a DEST may be s3://BUCKET/PREFIX or a path. [dim]Default: those of the environment or asyncrep.toml.[/dim]",
        show_default=False,
    ),
]


@spread_options
def replicate(
    tables: _Tables = None,
    *,
    task: TaskOptions,
    start: StartOptions,
    applying: ApplyOptions,
    selecting: SelectOptions,
    pace: FollowPaceOptions,
    places: PlaceOptions,
    storing: S3Options,
    telling: TellOptions,
) -> None:
    """Follow a stream."""
    with exit_codes(verbose=telling.verbose):
        source, destinations = find_destinations(tables or [], places, storing)
        replication = Replication.of(
            source, destinations, task, start, applying, selecting, pace, telling, storing
        )
        if task.status:
            _tell_status(run_async(replication.look()), json=telling.json)
            raise typer.Exit(AGREE)
        ending = Ending()
        clean = run_async(replication.run(ending), ending)
        if not clean:
            complain(
                f"Not everything under way was finished within {GRACE_SECONDS:.0f} seconds; it comes again."
            )
        raise typer.Exit(AGREE if clean else FAILED)


def _tell_status(shown: Status, *, json: bool) -> None:
    from asyncrep.cli.output import print_json  # noqa: PLC0415 - rich, only when it is needed
    from asyncrep.cli.render import result_console  # noqa: PLC0415
    from asyncrep.cli.replicate_status import show_status  # noqa: PLC0415

    if json:
        print_json(shown.as_dict())
    else:
        show_status(result_console(), shown)
