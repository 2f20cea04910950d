"""What a plan assumes, and what its reader should know about the figures: one sentence each (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncrep.cost.prices import HOME_REGION
from asyncrep.cost.tables import count_surplus

if TYPE_CHECKING:
    from asyncrep.cost.prices import Prices
    from asyncrep.cost.sums import Check
    from asyncrep.cost.tables import PlannedTable
    from asyncrep.model import Side


def notes_on(check: Check, prices: Prices) -> list[str]:
    """Return the notes on a plan, those on both tables first."""
    sides: tuple[tuple[Side, PlannedTable], ...] = (("primary", check.primary), ("replica", check.replica))
    notes = [note for side, table in sides for note in _on_table(side, table)]
    notes += _on_prices(check, prices)
    if surplus := count_surplus(check.primary, check.replica):
        where = "missing from the replica" if surplus > 0 else "extraneous in it"
        notes.append(f"The counts differ: {abs(surplus):,} items are taken to be {where}, besides the drift.")
    if check.crosses_regions:
        notes.append(
            f"asyncrep is taken to run in {check.primary.region}, where the primary is: "
            "what the replica answers is transferred."
        )
    if check.replica.indexes:
        notes.append("The replica's secondary indexes take write units of their own, which are not counted.")
    return notes


def _on_table(side: Side, table: PlannedTable) -> list[str]:
    notes = []
    if table.capacity.billing == "provisioned":
        notes.append(
            f"The {side} is provisioned: its units take capacity that is paid for by the hour, "
            "and no request dollars."
        )
    if table.local:
        notes.append(f"The {side} is not on AWS: nothing is billed there, it is priced as in {table.region}.")
    if table.items is None:
        notes.append(f"Nobody tells how many items the {side} has, and the sample met none.")
    elif table.rough:
        notes.append(
            f"Nobody tells how many items the {side} has: {table.items:,} is a rough guess from the sample."
        )
    return notes


def _on_prices(check: Check, prices: Prices) -> list[str]:
    """Say which prices in use are another Region's."""
    assumed: dict[str, dict[str, None]] = {}
    for table, used in (
        (check.primary, {"read"}),
        (check.replica, {"read", "write", *({"transfer"} if check.crosses_regions else ())}),
    ):
        if table.capacity.billing == "provisioned":
            used -= {"read", "write"}
        rates = prices.rates(table.region, table.capacity.table_class)
        for name in rates.assumed:
            if name in used:
                assumed.setdefault(table.region, {})[name] = None
    return [
        f"Not all prices of {region} are known: those of {HOME_REGION} stand in ({', '.join(names)})."
        for region, names in assumed.items()
    ]
