"""How hard a command may push: the options that every command has that reads or writes many records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from asyncrep.options import Limits

PACE = "Pace"
"""The heading of these options in a command's help."""


@dataclass(frozen=True, slots=True)
class ReadLimitOptions:
    """How hard to read one table."""

    read_units: Annotated[
        float | None,
        typer.Option(metavar="UNITS", help="Read units per second, at most.", rich_help_panel=PACE),
    ] = None
    read_percent: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            help="Read units, at most, in percent of what the table can do.",
            rich_help_panel=PACE,
        ),
    ] = None
    max_cost: Annotated[
        float | None,
        typer.Option(
            metavar="USD",
            help="Stop before the requests to the table cost more. [dim]Those to S3 are not counted.[/dim]",
            rich_help_panel=PACE,
        ),
    ] = None

    def limits(self) -> Limits:
        """Return the limits.

        Raises:
            UsageError: one of them is zero or below, or a share above 100 percent.
        """
        return Limits(read_units=self.read_units, read_percent=self.read_percent, max_cost=self.max_cost)


@dataclass(frozen=True, slots=True)
class LimitOptions:
    """How hard to push."""

    concurrency: Annotated[
        int,
        typer.Option(
            metavar="N", help="Requests under way at once, besides the scans.", rich_help_panel=PACE
        ),
    ] = 32
    read_units: Annotated[
        float | None,
        typer.Option(
            metavar="UNITS", help="Read units per second, at most, of each table.", rich_help_panel=PACE
        ),
    ] = None
    write_units: Annotated[
        float | None,
        typer.Option(metavar="UNITS", help="Write units per second, at most.", rich_help_panel=PACE),
    ] = None
    read_percent: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            help="Read units, at most, in percent of what each table can do.",
            rich_help_panel=PACE,
        ),
    ] = None
    write_percent: Annotated[
        float | None,
        typer.Option(
            metavar="P", help="Write units, at most, in percent of what it can do.", rich_help_panel=PACE
        ),
    ] = None

    max_cost: Annotated[
        float | None,
        typer.Option(
            metavar="USD",
            help="Stop before the requests cost more. [dim]Prices: asyncrep plan.[/dim]",
            rich_help_panel=PACE,
        ),
    ] = None

    def limits(self) -> Limits:
        """Return the limits.

        Raises:
            UsageError: one of them is zero or below, or a share above 100 percent.
        """
        return Limits(
            concurrency=self.concurrency,
            read_units=self.read_units,
            write_units=self.write_units,
            read_percent=self.read_percent,
            write_percent=self.write_percent,
            max_cost=self.max_cost,
        )
