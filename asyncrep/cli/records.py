"""``diff-record`` and ``replicate-record``: one record, shown side by side or brought in line."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from asyncrep.cli.options import CompareOptions, MessageOptions, PlaceOptions, spread_options
from asyncrep.cli.places import find_pair
from asyncrep.cli.runtime import AGREE, DISCREPANCIES, FAILED, complain, exit_codes, run_async
from asyncrep.errors import UsageError
from asyncrep.model import State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncrep.aws.place import Place
    from asyncrep.aws.table import Table
    from asyncrep.model import Discrepancy
    from asyncrep.options import Comparison
    from asyncrep.repair.record import RecordDiff

_KEY_FORMS = """
KEY is one JSON object, plain ([bold]{"id":"abc","n":5}[/bold]) or in wire form
([bold]{"id":{"S":"abc"},"n":{"N":"5"}}[/bold]); binary attributes are base64 text.
"""
DIFF_HELP = f"""
Compare one record of PRIMARY and REPLICA, attribute by attribute, by strongly consistent reads.
{_KEY_FORMS}
"""
DIFF_EPILOG = """
[bold]Examples[/bold]

  asyncrep diff-record us-east-1/orders eu-west-1/orders '{"id":"abc","n":5}'

  asyncrep diff-record '{"id":"abc"}'   [dim](tables from the environment or asyncrep.toml)[/dim]
"""
REPLICATE_HELP = f"""
Bring one record of REPLICA in line with PRIMARY: put, patch or delete it, guarded and verified.
{_KEY_FORMS}
"""
REPLICATE_EPILOG = """
[bold]Examples[/bold]

  asyncrep replicate-record us-east-1/orders eu-west-1/orders '{"id":"abc","n":5}'
"""

_Arguments = Annotated[
    list[str],
    typer.Argument(
        metavar="[PRIMARY REPLICA] KEY", help="The tables and the record's key.", show_default=False
    ),
]


@spread_options
def diff_record(
    arguments: _Arguments, places: PlaceOptions, comparing: CompareOptions, telling: MessageOptions
) -> None:
    """Compare one record."""
    with exit_codes(verbose=telling.verbose):
        pair, key = _split(arguments, places)
        record = run_async(_compare(pair, key, comparing.comparison()))
        if not telling.quiet:
            from asyncrep.cli.render import result_console, show_record  # noqa: PLC0415

            show_record(result_console(), record)
        found = record.discrepancy
        raise typer.Exit(AGREE if found is None or found.state is State.EXPIRED else DISCREPANCIES)


@spread_options
def replicate_record(
    arguments: _Arguments,
    places: PlaceOptions,
    comparing: CompareOptions,
    telling: MessageOptions,
    force_global_table: Annotated[
        bool, typer.Option("--force-global-table", help="Write even to a member of a global table.")
    ] = False,
) -> None:
    """Bring one record in line."""
    with exit_codes(verbose=telling.verbose):
        pair, key = _split(arguments, places)
        found, exists = run_async(_replicate(pair, key, comparing.comparison(), force=force_global_table))
        if not telling.quiet:
            _tell(found, exists=exists)
        raise typer.Exit(_exit_code(found))


def _split(arguments: list[str], places: PlaceOptions) -> tuple[tuple[Place, Place], str]:
    match arguments:
        case [key]:
            return find_pair(None, None, places), key
        case [primary, replica, key]:
            return find_pair(primary, replica, places), key
        case _:
            raise UsageError(
                f"Give PRIMARY, REPLICA and KEY, or KEY alone: {len(arguments)} arguments fit neither."
            )


@asynccontextmanager
async def _opened(pair: tuple[Place, Place]) -> AsyncIterator[tuple[Table, Table]]:
    async with pair[0].open() as primary, pair[1].open() as replica:
        yield primary, replica


async def _compare(pair: tuple[Place, Place], key: str, comparison: Comparison) -> RecordDiff:
    from asyncrep.repair.record import diff_record as compare  # noqa: PLC0415

    async with _opened(pair) as (primary, replica):
        return await compare(primary, replica, primary.keys.parse(key), comparison=comparison)


async def _replicate(
    pair: tuple[Place, Place], key: str, comparison: Comparison, *, force: bool
) -> tuple[Discrepancy | None, bool]:
    """Return what became of the record, and whether there is one at all."""
    from asyncrep.repair.record import replicate_record as replicate  # noqa: PLC0415

    async with _opened(pair) as (primary, replica):
        parsed = primary.keys.parse(key)
        found = await replicate(primary, replica, parsed, comparison=comparison, force=force)
        return found, found is not None or bool(await primary.get([parsed], consistent=True))


def _tell(found: Discrepancy | None, *, exists: bool) -> None:
    from asyncrep.cli.render import result_console, say  # noqa: PLC0415

    if found is not None and found.state is State.FAILED:
        complain(f"Error: The record could not be written: {found.reason}")
    else:
        nobody = "Neither side has this record; nothing was written."
        say(result_console(), _sentence(found) if exists else nobody)


def _sentence(found: Discrepancy | None) -> str:
    if found is None:
        return "The record is the same on both sides; nothing was written."
    if found.state is State.REPAIRED:
        done = {"missing": "put", "different": "patched", "extraneous": "deleted"}[found.kind]
        return f"The record was {done} in the replica and verified." + (
            f" {found.reason}" if found.reason else ""
        )
    return (
        f"Nothing more was done: the record is {found.state.replace('_', ' ')}. {found.reason or ''}".strip()
    )


def _exit_code(found: Discrepancy | None) -> int:
    if found is None or found.state in {State.REPAIRED, State.EXPIRED}:
        return AGREE
    return FAILED if found.state is State.FAILED else DISCREPANCIES
