"""What the requests of a run cost, by table; and budgets with which nothing can be done."""

from __future__ import annotations

import datetime
from dataclasses import replace

import pytest

from asyncrep.cost.account import check_budget, open_account
from asyncrep.cost.prices import Prices, load_prices
from asyncrep.errors import UsageError
from asyncrep.flow.purse import Account, Purse
from asyncrep.model import Capacity, KeyAttribute, KeySchema, TableSettings

SETTINGS = TableSettings(
    name="orders",
    arn="arn:aws:dynamodb:eu-west-1:123456789012:table/orders",
    table_id=None,
    schema=KeySchema(KeyAttribute("id", "S")),
    item_count=0,
    size_bytes=0,
    indexes=frozenset(),
    ttl_attribute=None,
    stream_view=None,
)
PRICES = Prices(
    datetime.date(2026, 1, 1),
    {
        "us-east-1": {"read": 1, "write": 5, "infrequent-read": 2, "infrequent-write": 10, "transfer": 0.5},
        "eu-west-1": {"read": 3, "write": 15},
    },
)
PURSE = Purse()


def account(read: float) -> Account:
    return Account(PURSE, read, 5 * read)


def test_a_unit_costs_what_it_costs_in_the_table_s_region() -> None:
    assert open_account(SETTINGS, PRICES, PURSE) == Account(PURSE, 3e-6, 15e-6)


@pytest.mark.parametrize("arn", ["", "arn:aws:dynamodb:ap-east-9:1:table/orders", "table/orders"])
def test_where_the_price_is_not_known_us_east_1_stands_in(arn: str) -> None:
    assert open_account(replace(SETTINGS, arn=arn), PRICES, PURSE) == Account(PURSE, 1e-6, 5e-6)


def test_the_table_class_has_prices_of_its_own() -> None:
    settings = replace(SETTINGS, arn="", capacity=Capacity(table_class="STANDARD_INFREQUENT_ACCESS"))
    assert open_account(settings, PRICES, PURSE) == Account(PURSE, 2e-6, 10e-6)


def test_requests_to_a_provisioned_table_cost_nothing() -> None:
    settings = replace(SETTINGS, capacity=Capacity("provisioned", 70, 30))
    assert open_account(settings, PRICES, PURSE) == Account(PURSE, 0.0, 0.0)


def test_an_account_knows_how_many_indexes_a_write_may_go_to() -> None:
    settings = replace(SETTINGS, indexes=frozenset({"by-name", "by-date"}))
    assert open_account(settings, PRICES, PURSE).indexes == 2


def test_the_prices_that_come_along_are_per_million_units() -> None:
    opened = open_account(replace(SETTINGS, arn="arn:aws:dynamodb:us-east-1:1:table/t"), load_prices(), PURSE)
    assert 1e-8 < opened.read < opened.write < 1e-5


def test_without_a_budget_there_is_nothing_to_say() -> None:
    assert check_budget(None, [account(1), account(0)]) == []


@pytest.mark.parametrize("reads", [(1e-6, 2e-6), (2e-6, 1e-6)])
def test_a_budget_must_do_for_a_page_of_either_table(reads: tuple[float, float]) -> None:
    accounts = [account(read) for read in reads]
    page = 178 * 2e-6  # 1 MB and an item of 400 KB, half a unit for each 4 KB
    assert check_budget(page, accounts) == []
    with pytest.raises(UsageError) as refused:
        check_budget(page * 0.999, accounts)
    assert str(refused.value) == (
        "A budget of $0.0003556 is too small: the first page of a scan alone can cost $0.0003560."
    )


async def test_a_budget_that_is_not_refused_lets_the_first_page_be_read() -> None:
    page = 178 * 3e-6
    check_budget(page, [account(3e-6)])
    await Purse(page).reserve(178 * 3e-6)


def test_of_a_provisioned_table_it_is_said_that_the_budget_does_not_count_it() -> None:
    note = "Requests to a provisioned table are not billed one by one: the budget does not count them."
    assert check_budget(1, [account(1e-6), account(0)]) == [note]
    assert check_budget(1e-12, [account(0), account(0)]) == [note]
    with pytest.raises(UsageError):
        check_budget(1e-12, [account(1e-6), account(0)])
