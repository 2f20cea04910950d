"""What DescribeTable tells of a table's billing and throughput, and what follows from it."""

from __future__ import annotations

from typing import Any

import pytest

from asyncrep.aws.describe import _capacity
from asyncrep.model import Capacity

ON_DEMAND = {"BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"}}
ZEROS = {"ProvisionedThroughput": {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0}}
PROVISIONED = {"ProvisionedThroughput": {"ReadCapacityUnits": 70, "WriteCapacityUnits": 30}}


@pytest.mark.parametrize(
    "table",
    [{}, ON_DEMAND, ON_DEMAND | ZEROS, ZEROS, ON_DEMAND | PROVISIONED, {"BillingModeSummary": None}],
)
def test_an_on_demand_table_serves_what_a_new_one_does(table: dict[str, Any]) -> None:
    capacity = _capacity(table)
    assert capacity == Capacity()
    assert (capacity.read_units, capacity.write_units) == (12_000, 4_000)


@pytest.mark.parametrize(
    "table", [PROVISIONED, PROVISIONED | {"BillingModeSummary": {"BillingMode": "PROVISIONED"}}]
)
def test_a_provisioned_table_serves_what_is_provisioned(table: dict[str, Any]) -> None:
    warm = {"WarmThroughput": {"ReadUnitsPerSecond": 9000, "WriteUnitsPerSecond": 8000}}
    capacity = _capacity(table | warm)
    assert capacity.billing == "provisioned"
    assert (capacity.read_units, capacity.write_units) == (70, 30)


def test_warm_throughput_counts_on_demand() -> None:
    warm = {"WarmThroughput": {"ReadUnitsPerSecond": 30_000, "WriteUnitsPerSecond": 5_000}}
    capacity = _capacity(ON_DEMAND | warm)
    assert (capacity.read_units, capacity.write_units) == (30_000, 5_000)


def test_a_configured_maximum_counts_before_warm_throughput() -> None:
    table = ON_DEMAND | {
        "OnDemandThroughput": {"MaxReadRequestUnits": 100, "MaxWriteRequestUnits": -1},
        "WarmThroughput": {"ReadUnitsPerSecond": 30_000, "WriteUnitsPerSecond": 5_000},
    }
    capacity = _capacity(table)
    assert (capacity.on_demand_read_max, capacity.on_demand_write_max) == (100, None)
    assert (capacity.read_units, capacity.write_units) == (100, 5_000)
    assert Capacity(on_demand_read_max=-1, on_demand_write_max=-1).read_units == 12_000


def test_a_provisioned_table_of_an_emulator_without_figures_can_still_be_read() -> None:
    capacity = _capacity({"BillingModeSummary": {"BillingMode": "PROVISIONED"}})
    assert (capacity.billing, capacity.read_units, capacity.write_units) == ("provisioned", 12_000, 4_000)


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ({}, "STANDARD"),
        ({"TableClassSummary": {"TableClass": "STANDARD"}}, "STANDARD"),
        ({"TableClassSummary": {"TableClass": "STANDARD_INFREQUENT_ACCESS"}}, "STANDARD_INFREQUENT_ACCESS"),
    ],
)
def test_the_table_class(told: dict[str, Any], meant: str) -> None:
    assert _capacity(ON_DEMAND | told).table_class == meant
