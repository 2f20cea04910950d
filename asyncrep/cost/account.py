"""What a run's requests cost: opens the accounts of its two tables, and checks that a budget can do anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncrep.aws.scan import LARGEST_PAGE_UNITS
from asyncrep.cost.tables import region_of
from asyncrep.errors import UsageError
from asyncrep.flow.purse import Account, in_dollars

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncrep.cost.prices import Prices
    from asyncrep.flow.purse import Purse
    from asyncrep.model import TableSettings

_MILLION = 1e6


def open_account(settings: TableSettings, prices: Prices, purse: Purse) -> Account:
    """Return the account of one table. Requests to provisioned tables are not billed one by one."""
    if settings.capacity.billing == "provisioned":
        return Account(purse)
    rates = prices.rates(region_of(settings.arn), settings.capacity.table_class)
    return Account(purse, rates.read / _MILLION, rates.write / _MILLION, len(settings.indexes))


def check_budget(dollars: float | None, accounts: Sequence[Account]) -> list[str]:
    """Refuse a budget that is too small for a page of each table; return what the user should know about it.

    Raises:
        UsageError: with what a page can cost.
    """
    if dollars is None:
        return []
    page = max(account.read for account in accounts) * LARGEST_PAGE_UNITS
    if dollars < page:
        raise UsageError(
            f"A budget of {in_dollars(dollars)} is too small: the first page of a scan alone can cost "
            f"{in_dollars(page)}."
        )
    if all(account.read for account in accounts):
        return []
    return ["Requests to a provisioned table are not billed one by one: the budget does not count them."]
