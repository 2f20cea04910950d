"""How a command reaches its one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from asyncrep.aws.place import Place
from asyncrep.cli.places import checked_endpoint
from asyncrep.location import TableRef

TABLE = "Table"
"""The heading of these options in a command's help."""


@dataclass(frozen=True, slots=True)
class TableOptions:
    """How to reach the table."""

    endpoint_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Endpoint of the table.", rich_help_panel=TABLE)
    ] = None
    profile: Annotated[
        str | None, typer.Option(metavar="NAME", help="AWS profile for the table.", rich_help_panel=TABLE)
    ] = None
    role_arn: Annotated[
        str | None, typer.Option(metavar="ARN", help="Role to assume for the table.", rich_help_panel=TABLE)
    ] = None

    def place(self, location: str) -> Place:
        """Return a table and how to reach it.

        Raises:
            UsageError: its location or the endpoint has no known form.
        """
        ref = TableRef.parse(location, endpoint_url=checked_endpoint(self.endpoint_url))
        return Place(ref, self.profile, self.role_arn)
