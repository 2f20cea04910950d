"""Which incremental folder a command is about: ``TABLE S3URL`` means the folder of that table within the place."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asyncrep.cli.places import find_places
from asyncrep.errors import UsageError
from asyncrep.location import S3Place, parse_storage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from asyncrep.aws.place import Place
    from asyncrep.cli.options import PlaceOptions
    from asyncrep.cli.storage_options import S3Options
    from asyncrep.cli.table_options import TableOptions
    from asyncrep.flow.clock import Clock
    from asyncrep.options import S3Access
    from asyncrep.storage import Storage

TableArgument = Annotated[
    str, typer.Argument(metavar="TABLE", help="The table, as us-east-1/orders.", show_default=False)
]
FolderArgument = Annotated[
    str,
    typer.Argument(
        metavar="S3URL",
        help="Where its incremental backup is: s3://BUCKET/PREFIX or a path; the table's name is added.",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True)
class FolderPlace:
    """The incremental folder of one table, and how to reach it.

    Attributes:
        place: the folder itself: PREFIX/TABLE.
        access: how S3 is reached.
    """

    place: Path | S3Place
    access: S3Access

    def __str__(self) -> str:
        """Return the folder as people call it."""
        return str(self.place)

    @asynccontextmanager
    async def open(self, *, clock: Clock | None = None) -> AsyncIterator[Storage]:
        """Open it; nothing is asked or made yet."""
        from asyncrep.backup.places import open_storage  # noqa: PLC0415 - commands start without the AWS libraries

        async with open_storage(self.place, self.access, clock=clock) as storage:
            yield storage


def folder_of(text: str, table: str, access: S3Access) -> FolderPlace:
    """Return the folder of a table within a place.

    Args:
        text: the place: ``s3://BUCKET/PREFIX``, ``file:///PATH`` or a path.
        table: the table's name.
        access: how S3 is reached.

    Raises:
        LocationError: it is no place.
    """
    place = parse_storage(text)
    if isinstance(place, Path):
        return FolderPlace(place.absolute() / table, access)
    return FolderPlace(S3Place(place.bucket, place.under(table)), access)


def find_folder(
    table: str, folder: str, tables: TableOptions, storing: S3Options
) -> tuple[Place, FolderPlace]:
    """Return the table that a command is about, and its incremental folder.

    Raises:
        UsageError: one of them has no known form.
    """
    place = tables.place(table)
    return place, folder_of(folder, place.ref.table, storing.access(place.profile, place.role_arn))


def is_folder(text: str) -> bool:
    """Tell a place of a backup from a table: tables are written without a scheme of these, and never as a path."""
    return text.lower().startswith(("s3:", "file:")) or text.startswith(("/", "./", "../", "~"))


def find_destinations(
    arguments: Sequence[str], options: PlaceOptions, storing: S3Options
) -> tuple[Place, list[Place | FolderPlace]]:
    """Return the table that is followed, and the tables and incremental folders that follow it, in order.

    Args:
        arguments: the source and its destinations, or nothing; see ``find_places``.
        options: how the tables are reached.
        storing: how S3 is reached; without a profile or role of its own as the source.

    Raises:
        UsageError: one of them has no known form, or they do not go together.
    """
    if arguments and is_folder(arguments[0]):
        raise UsageError(f"{arguments[0]} is no table: only a table has a stream to follow.")
    folders = [text for text in arguments if is_folder(text)]
    source, tables = find_places(
        [text for text in arguments if not is_folder(text)], options, beside=bool(folders)
    )
    access = storing.access(source.profile, source.role_arn)
    left = iter(tables)
    if not arguments:
        return source, [*tables]
    return source, [
        folder_of(text, source.ref.table, access) if is_folder(text) else next(left) for text in arguments[1:]
    ]
