"""What people read of a plan: both tables, both strategies side by side, and which one to take."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from asyncrep.cli.render import plural, printable, say, spelled_size
from asyncrep.cost.plan import usd

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from asyncrep.cost.plan import Plan
    from asyncrep.cost.prices import Rates
    from asyncrep.cost.sums import Sums
    from asyncrep.cost.tables import PlannedTable

_BOUNDS = {"primary": "the primary", "replica": "the replica", "client": "this computer"}


class _Row(NamedTuple):
    """One line of the strategies: what it tells, and how it is read from the sums."""

    title: str
    value: Callable[[Sums], str]
    worst: bool = False
    style: str = ""


def show_plan(console: Console, plan: Plan) -> None:
    """Print a plan."""
    for table in (_tables(plan), _strategies(plan)):
        console.print()
        console.print(table)
    console.print()
    strategy, reason = plan.choice.strategy, printable(plan.choice.reason).removeprefix(plan.choice.strategy)
    say(console, Text.assemble((strategy, "bold green"), reason))
    console.print()
    for line in (_sampling(plan), _pricing(plan), *plan.notes):
        say(console, line, "dim")


def _tables(plan: Plan) -> Table:
    """Return the two tables side by side."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, header_style="bold")
    table.add_column("")
    for side, each in (("primary", plan.primary), ("replica", plan.replica)):
        heading = Text(f"{side}\n{printable(each.label)}")  # a plain str would be read as rich's markup
        table.add_column(heading, justify="right", overflow="fold")
    rows: list[tuple[str, Callable[[PlannedTable], str]]] = [
        ("Region", lambda each: each.region),
        ("items", _count),
        ("average item", lambda each: spelled_size(each.item_size)),
        ("billing", _billing),
        ("read units per second", lambda each: f"{each.capacity.read_units:,}"),
    ]
    for title, value in rows:
        table.add_row(title, *(Text(printable(value(each))) for each in (plan.primary, plan.replica)))
    return table


def _strategies(plan: Plan) -> Table:
    """Return the strategies side by side; the one to take is marked."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, header_style="bold")
    table.add_column(f"a full check, {_share(plan.drift_share)} drift")
    for estimate in plan.estimates:
        chosen = estimate.strategy == plan.choice.strategy
        heading = Text(estimate.strategy, "bold green" if chosen else "bold")
        table.add_column(heading, justify="right", style="" if chosen else "dim")
    for group in _GROUPS:
        for row in group:
            values = [row.value(each.worst if row.worst else each.expected) for each in plan.estimates]
            table.add_row(row.title, *values, style=row.style, end_section=row is group[-1])
    return table


_GROUPS: tuple[tuple[_Row, ...], ...] = (
    (
        _Row("read units, primary", lambda sums: _number(sums.primary.total)),
        _Row("read units, replica", lambda sums: _number(sums.replica.total)),
        _Row(
            "  confirming drift, of these",
            lambda sums: _number(sums.primary.confirmation + sums.replica.confirmation),
        ),
        _Row("data between Regions", lambda sums: spelled_size(sums.transfer_bytes)),
        _Row("dollars", lambda sums: usd(sums.dollars), style="bold"),
        _Row("time, at least", lambda sums: _time(sums.seconds), style="bold"),
        _Row("  it waits for", lambda sums: _BOUNDS[sums.bound]),
    ),
    (
        _Row("nothing in common: read units", lambda sums: _number(sums.read_units), worst=True),
        _Row("nothing in common: dollars", lambda sums: usd(sums.dollars), worst=True),
    ),
    (
        _Row("repair of the drift: write units", lambda sums: _number(sums.write_units)),
        _Row("repair of the drift: dollars", lambda sums: usd(sums.write_dollars)),
    ),
)


def _sampling(plan: Plan) -> str:
    samples = [each.sample for each in (plan.primary, plan.replica) if each.sample is not None]
    pages = sum(sample.pages for sample in samples)
    items = sum(sample.items for sample in samples)
    units = sum(sample.read_units for sample in samples)
    return (
        f"Looked at {plural(items, 'item')} on {plural(pages, 'page')}, which took {units:,.1f} read units."
    )


def _pricing(plan: Plan) -> str:
    source = f", with those of {plan.prices_from}" if plan.prices_from else ""
    rates = dict.fromkeys(plan.rates)  # the same Region and table class need not be told twice
    told = "; ".join(_rates(each) for each in rates)
    return f"Prices of {plan.prices_as_of}{source}: {told}."


def _rates(rates: Rates) -> str:
    return (
        f"{rates.region} ${rates.read:g} a million read units, ${rates.write:g} write, "
        f"${rates.transfer:g} a GB out"
    )


def _count(table: PlannedTable) -> str:
    if table.items is None:
        return "unknown"
    return f"about {table.items:,}" if table.rough else f"{table.items:,}"


def _billing(table: PlannedTable) -> str:
    rare = ", infrequent access" if table.capacity.table_class != "STANDARD" else ""
    return f"{table.capacity.billing}{rare}"


def _number(value: float) -> str:
    return f"{value:,.1f}" if value < 10 and value != int(value) else f"{value:,.0f}"


def _share(share: float) -> str:
    return f"{share * 100:g} %"


def _time(seconds: float) -> str:
    """Return a time in the unit that tells most."""
    if seconds < 1:
        return "less than 1 s"
    for limit, length, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds / 86_400:,.1f} d"
