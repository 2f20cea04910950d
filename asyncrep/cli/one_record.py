"""What the commands about one record share: their arguments, the forms of a key, both tables open."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from asyncrep.cli.places import find_pair
from asyncrep.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncrep.aws.place import Place
    from asyncrep.aws.table import Table
    from asyncrep.cli.options import PlaceOptions

KEY_FORMS = """
KEY is one JSON object, plain ([bold]{"id":"abc","n":5}[/bold]) or in wire form
([bold]{"id":{"S":"abc"},"n":{"N":"5"}}[/bold]); binary attributes are base64 text.
"""

RecordArguments = Annotated[
    list[str],
    typer.Argument(
        metavar="[PRIMARY REPLICA] KEY", help="The tables and the record's key.", show_default=False
    ),
]


def find_record(arguments: list[str], places: PlaceOptions) -> tuple[tuple[Place, Place], str]:
    """Return the two tables and the key as it was typed.

    Raises:
        UsageError: there are too many or too few arguments, or no tables are configured.
    """
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
async def opened(pair: tuple[Place, Place]) -> AsyncIterator[tuple[Table, Table]]:
    """Open both tables; raises what ``open_table`` raises."""
    async with pair[0].open() as primary, pair[1].open() as replica:
        yield primary, replica
