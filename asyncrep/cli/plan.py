"""``plan``: what a full check of two tables would cost, before anything is spent."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path  # noqa: TC003 - Typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from asyncrep.cli.common_options import Verbose
from asyncrep.cli.options import PlaceOptions, spread_options
from asyncrep.cli.places import find_pair
from asyncrep.cli.runtime import exit_codes, run_async
from asyncrep.errors import UsageError
from asyncrep.options import Limits

if TYPE_CHECKING:
    import random

    from asyncrep.aws.place import Place
    from asyncrep.aws.table import Table
    from asyncrep.cost.plan import Plan
    from asyncrep.cost.tables import PlannedTable

HELP = """
Tell what a full check of REPLICA against PRIMARY would take, with either strategy: read units, data
transfer, dollars and time, with the drift that is assumed and in the worst case.

The sums go by the counts and sizes that DescribeTable tells, and by a look into both tables: at most
five pages of each are read, which is all that plan itself costs. Nothing is ever written.
"""
EPILOG = """
[bold]Examples[/bold]

  asyncrep plan us-east-1/orders eu-west-1/orders

  asyncrep plan us-east-1/orders eu-west-1/orders --read-percent 25

  asyncrep plan --drift 0.2 --prices ours.toml   [dim](tables from asyncrep.toml)[/dim]

[bold]Prices[/bold]

  A file of prices replaces single ones of those that come along, in USD per million units and per GB:

  [dim]as_of = 2026-01-31[/dim]

  [dim]\\[regions.eu-west-1][/dim]

  [dim]read = 0.11[/dim]
"""

_PANEL = "Planning"
_AWS_HOST = re.compile(r"\.(?:amazonaws\.com(?:\.cn)?|api\.aws)(?=[:/]|$)")


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What is assumed, and how the plan is told."""

    drift: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="Share of the items that is assumed to have drifted, 0 to 1.",
            rich_help_panel=_PANEL,
        ),
    ] = 0.01
    segments: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Scan in N segments at once. [dim]Default: by the table's size.[/dim]",
            rich_help_panel=_PANEL,
        ),
    ] = None
    read_units: Annotated[
        float | None,
        typer.Option(
            metavar="UNITS",
            help="Read units per second, at most, of each table. [dim]Default: all it can do.[/dim]",
            rich_help_panel=_PANEL,
        ),
    ] = None
    read_percent: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            help="Read units, at most, in percent of what each table can do.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    prices: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Prices of your own, as TOML. [dim]Default: ASYNCREP_PRICES.[/dim]",
            rich_help_panel=_PANEL,
        ),
    ] = None
    json: Annotated[
        bool,
        typer.Option("--json", help="The plan as one JSON object on stdout.", rich_help_panel="Output"),
    ] = False
    verbose: Verbose = False

    def limits(self) -> Limits:
        """Return the limits, and refuse a drift that is none.

        Raises:
            UsageError: one of them is not within its range.
        """
        if not 0 <= self.drift <= 1:
            raise UsageError(
                f"--drift is a share from 0 to 1, as 0.01 for one item in a hundred, not {self.drift:g}."
            )
        return Limits(self.segments, read_units=self.read_units, read_percent=self.read_percent)


@spread_options
def plan(
    places: PlaceOptions,
    options: PlanOptions,
    primary: Annotated[
        str | None, typer.Argument(metavar="PRIMARY", help="The table that is right.", show_default=False)
    ] = None,
    replica: Annotated[
        str | None,
        typer.Argument(metavar="REPLICA", help="The table that would be checked.", show_default=False),
    ] = None,
) -> None:
    """Tell what a full check would cost."""
    with exit_codes(verbose=options.verbose):
        made = run_async(_make(find_pair(primary, replica, places), options))
        if options.json:
            from asyncrep.cli.output import print_json  # noqa: PLC0415

            print_json(made.as_dict())
        else:
            from asyncrep.cli.plan_table import show_plan  # noqa: PLC0415 - rich, only when it is needed
            from asyncrep.cli.render import result_console  # noqa: PLC0415

            show_plan(result_console(), made)


async def _make(places: tuple[Place, Place], options: PlanOptions) -> Plan:
    """Look into both tables at once and work out the plan; bad input is refused before."""
    import random  # noqa: PLC0415

    from asyncrep.cost.plan import plan as work_out  # noqa: PLC0415
    from asyncrep.cost.prices import load_prices  # noqa: PLC0415
    from asyncrep.diff.run import check_comparable, sensible_segments  # noqa: PLC0415
    from asyncrep.flow.tasks import side_by_side  # noqa: PLC0415

    limits = options.limits()
    prices = load_prices(options.prices)
    async with places[0].open() as primary, places[1].open() as replica:
        check_comparable(primary, replica)
        chance = random.Random()
        ours, theirs = await side_by_side(_look(table, limits, chance) for table in (primary, replica))
        counted = replace(primary.settings, item_count=ours.count, size_bytes=round(ours.size_bytes))
        limits = replace(limits, segments=limits.segments or sensible_segments(counted))
        return work_out(ours, theirs, prices, limits=limits, drift=options.drift)


async def _look(table: Table, limits: Limits, chance: random.Random) -> PlannedTable:
    from asyncrep.cost.sample import sampled  # noqa: PLC0415
    from asyncrep.cost.tables import PlannedTable  # noqa: PLC0415

    endpoint = table.ref.endpoint_url
    local = endpoint is not None and not _AWS_HOST.search(endpoint)
    described = PlannedTable.described(table.settings, table.label, table.region, local=local)
    return await sampled(described, table, chance, limits)
