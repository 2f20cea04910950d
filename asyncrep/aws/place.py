"""One table and how to reach it: what a command or another process needs to know to open it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asyncrep.location import TableRef  # noqa: TC001 - messages between processes need it at run time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncrep.aws.table import Table


@dataclass(frozen=True, slots=True)
class Place:
    """One table and how to reach it."""

    ref: TableRef
    profile: str | None = None
    role_arn: str | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Table]:
        """Open the table; raises what ``open_table`` raises."""
        from asyncrep.aws.table import open_table  # noqa: PLC0415 - commands start without the AWS libraries

        async with open_table(self.ref, profile=self.profile, role_arn=self.role_arn) as table:
            yield table
