"""Options that many commands have in the same words, each declared once."""

from __future__ import annotations

from typing import Annotated

import typer

from asyncrep.cli.limits import PACE

OUTPUT = "Output"
"""The heading, in a command's help, of what it tells and where."""

Segments = Annotated[
    int | None,
    typer.Option(
        "--segments",
        metavar="N",
        help="Scan in N segments at once. [dim]Default: by the table's size.[/dim]",
        rich_help_panel=PACE,
    ),
]
OneSegment = Annotated[
    int | None,
    typer.Option(
        "--segment", metavar="K", help="Only segment K (from 0) of --segments N.", rich_help_panel=PACE
    ),
]
JobPlace = Annotated[
    str | None,
    typer.Option(
        "--job",
        metavar="NAME|PATH|s3://…",
        help="Keep how far the run is, so that the same command goes on after an interruption.",
        rich_help_panel="Job",
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="The summary as one JSON object on stdout.", rich_help_panel=OUTPUT)
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress, notes or summary.", rich_help_panel=OUTPUT)
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Show tracebacks of errors.", rich_help_panel=OUTPUT)
]
