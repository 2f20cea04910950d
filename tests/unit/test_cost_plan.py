"""The sums of a plan, worked out by hand; and what holds for every pair of tables."""

from __future__ import annotations

import dataclasses
import datetime
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrep.cost.plan import choose, plan, usd
from asyncrep.cost.prices import Prices
from asyncrep.cost.tables import Drift, PlannedTable, assumed_drift, total_divergence
from asyncrep.errors import UsageError
from asyncrep.model import Capacity, KeyAttribute, KeySchema, TableSettings
from asyncrep.options import Limits
from tests.support.strategies import thoroughly

PRICES = Prices(
    datetime.date(2026, 1, 31),
    {
        "us-east-1": {
            "read": 1.0, "write": 5.0, "infrequent-read": 2.0, "infrequent-write": 10.0, "transfer": 0.02,
        },
        "eu-west-1": {"read": 3.0, "write": 15.0, "transfer": 0.1},
    },
)  # fmt: skip
"""Round numbers, so that the sums can be followed."""


def table(
    items: int | None = 1000, item_size: float = 500, region: str = "us-east-1", **more: Any
) -> PlannedTable:
    settings = {"capacity": Capacity(), "wire_size": item_size, **more}
    return PlannedTable("a table", region, items=items, item_size=item_size, **settings)


def planned(
    primary: PlannedTable, replica: PlannedTable, drift: float = 0.0, **limits: Any
) -> dict[str, Any]:
    """The plan as a dictionary; its strategies are the members batch and dual besides."""
    made = plan(primary, replica, PRICES, limits=Limits(**{"segments": 1, **limits}), drift=drift).as_dict()
    return made | {"batch": made["strategies"]["batch-get"], "dual": made["strategies"]["dual-scan"]}


# ── Units ───────────────────────────────────────────────────────────────────────────────────────────


def test_equal_tables_of_small_items() -> None:
    """100,000 items of 500 bytes: 50 MB a table, 12,208 pieces of 4 KB, half a unit each; 0.5 a probe."""
    made = planned(table(100_000), table(100_000))
    assert made["dual"]["expected"]["primary"] == {"scan": 6104.0, "probes": 0.0, "confirmation": 0.0}
    assert made["dual"]["expected"]["read_units"] == 12_208
    assert made["batch"]["expected"]["replica"] == {"scan": 6104.0, "probes": 50_000.0, "confirmation": 0.0}
    assert made["batch"]["expected"]["read_units"] == 112_208
    assert made["strategy"] == "dual-scan"
    assert made["reason"] == (
        "dual-scan needs 12,208 read units, batch-get 112,208: it probes for every item, "
        "and each probe is rounded up to 4 KB."
    )


def test_drift_is_probed_and_confirmed() -> None:
    """3,000 items of 5,000 bytes (2 units) on both sides, a tenth of them drift: 100 of each kind."""
    made = planned(table(3000, 5000), table(3000, 5000), drift=0.1)
    assert made["drift"] == pytest.approx({"missing": 100, "different": 100, "extraneous": 100})
    scan = 0.5 * math.ceil(15_000_000 / 4096)
    # The primary is read twice: 100 missing and 100 different at 2 units, 100 it has not at 1 unit.
    # The replica is read once: 100 different and 100 extraneous at 2 units, 100 it has not at 1 unit.
    confirmed = {"primary": 2 * (400 + 100), "replica": 400 + 100}
    for side in ("primary", "replica"):
        assert made["dual"]["expected"][side] == pytest.approx(
            {"scan": scan, "probes": 0.5 * 100, "confirmation": confirmed[side]}
        )
        # 2,900 items are found, half of 2 units each; 100 are not.
        assert made["batch"]["expected"][side] == pytest.approx(
            {"scan": scan, "probes": 2900 + 0.5 * 100, "confirmation": confirmed[side]}
        )


def test_tables_with_nothing_in_common() -> None:
    made = planned(table(1000, 5000), table(500, 1000))
    worst = made["dual"]["worst"]
    assert worst["primary"]["probes"] == 0.5 * 500
    assert worst["replica"]["probes"] == 0.5 * 1000
    assert worst["primary"]["confirmation"] == 2 * (1000 * 2 + 500 * 1)
    assert worst["replica"]["confirmation"] == 1000 * 1 + 500 * 1
    assert made["batch"]["worst"]["read_units"] == worst["read_units"]


def test_each_segment_takes_at_least_half_a_unit() -> None:
    for items in (0, 1, 8):
        made = planned(table(items), table(items), segments=4)
        assert made["dual"]["expected"]["primary"]["scan"] == 2.0
    assert planned(table(9), table(9), segments=1)["dual"]["expected"]["primary"]["scan"] == 1.0


def test_repair_writes_what_drifted() -> None:
    """300 of each kind; the primary's items take 2 write units, the replica's 1, an update the larger."""
    made = planned(table(9000, 1500), table(9000, 1000), drift=0.1)
    assert made["dual"]["expected"]["write_units"] == pytest.approx(300 * 2 + 300 * 2 + 300 * 1)
    assert made["dual"]["expected"]["write_dollars"] == pytest.approx(1500 * 5 / 1e6)
    assert made["batch"]["worst"]["write_units"] == 9000 * 2 + 9000


def test_empty_tables_take_no_more_than_a_look() -> None:
    made = planned(table(0, 0), table(0, 0), drift=1)
    assert made["dual"]["expected"]["read_units"] == made["batch"]["expected"]["read_units"] == 1.0
    assert made["drift"] == {"missing": 0, "different": 0, "extraneous": 0}
    assert made["strategy"] == "dual-scan"


# ── Drift ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_surplus_of_items_is_drift_besides() -> None:
    assert assumed_drift(table(1000), table(700), 0.3) == Drift(70 + 300, 70, 70)
    assert assumed_drift(table(700), table(1000), 0) == Drift(0, 0, 300)
    assert assumed_drift(table(1000), table(0), 0.5) == Drift(1000, 0, 0)
    assert (
        "1,000 items are taken to be missing from the replica" in planned(table(1000), table(0))["notes"][0]
    )


def test_a_rough_count_tells_no_surplus_unless_a_table_is_empty() -> None:
    assert assumed_drift(table(1000, rough=True), table(700), 0) == Drift(0, 0, 0)
    assert assumed_drift(table(1000, rough=True), table(0), 0) == Drift(1000, 0, 0)


@pytest.mark.parametrize("share", [-0.01, 1.01, math.nan, math.inf])
def test_the_drift_is_a_share(share: float) -> None:
    with pytest.raises(UsageError, match="within 0 and 1, not"):
        plan(table(), table(), PRICES, drift=share)
    with pytest.raises(UsageError, match="within 0 and 1, not"):
        choose(table(), table(), drift=share)


# ── Dollars ─────────────────────────────────────────────────────────────────────────────────────────


def test_units_are_paid_at_the_prices_of_each_tables_region_and_class() -> None:
    rare = Capacity(table_class="STANDARD_INFREQUENT_ACCESS")
    made = planned(table(8192, 1000, capacity=rare), table(8192, 1000, "eu-west-1"))
    assert made["dual"]["expected"]["read_dollars"] == pytest.approx(1000 * 2 / 1e6 + 1000 * 3 / 1e6)


def test_a_provisioned_table_takes_units_and_time_and_no_dollars() -> None:
    paid = table(8192, 1000, capacity=Capacity("provisioned", provisioned_read_units=10))
    one = planned(paid, table(8192, 1000))["dual"]["expected"]
    assert (one["read_units"], one["read_dollars"]) == (2000, pytest.approx(1000 / 1e6))
    both = planned(paid, paid, drift=0.3)
    assert both["dual"]["expected"]["dollars"] == both["dual"]["expected"]["write_dollars"] == 0
    assert both["dual"]["expected"]["bound"] == "primary"
    assert both["strategy"] == "dual-scan"
    for side in ("primary", "replica"):
        assert any(note.startswith(f"The {side} is provisioned") for note in both["notes"])


def test_nothing_is_transferred_within_a_region() -> None:
    assert planned(table(), table())["batch"]["expected"]["transfer_bytes"] == 0


def test_what_the_replica_answers_is_transferred() -> None:
    """3,000 items of 500 bytes, 1,000 as JSON; a tenth drift: 100 different and 100 extraneous are read again."""
    made = planned(table(3000), table(3000, region="eu-west-1", wire_size=1000), drift=0.1)
    confirmed = 200 * 1000
    assert made["dual"]["expected"]["transfer_bytes"] == pytest.approx(3000 * 1000 + confirmed)
    # 2,900 items are found by probes; the replica's own walk reads keys, which are taken to have 60 bytes.
    assert made["batch"]["expected"]["transfer_bytes"] == pytest.approx(2900 * 1000 + 3000 * 60 + confirmed)
    assert made["dual"]["expected"]["transfer_dollars"] == pytest.approx(3.2e6 * 0.1 / 1e9)
    assert any("taken to run in us-east-1" in note for note in made["notes"])


def test_a_replica_full_of_strangers_may_be_walked_by_key() -> None:
    """Its large items need not cross to be found missing here: the one case where batch-get is cheaper."""
    made = planned(table(0, 0), table(100_000, 4096, "eu-west-1"))
    assert made["strategy"] == "batch-get"
    assert "less of the replica crosses" in made["reason"]


def test_amounts_of_dollars() -> None:
    assert [usd(each) for each in (0, 0.00001, 0.0001, 0.0426, 0.5, 1, 1234.567)] == [
        "$0.00", "< $0.0001", "$0.0001", "$0.0426", "$0.5000", "$1.00", "$1,234.57",
    ]  # fmt: skip


# ── Time ────────────────────────────────────────────────────────────────────────────────────────────


def test_dual_scan_waits_for_the_slower_table() -> None:
    """8,192,000 bytes take 1,000 units."""
    slow = Capacity("provisioned", provisioned_read_units=50)
    made = planned(
        table(8192, 1000, capacity=Capacity(warm_read_units=100)), table(8192, 1000, capacity=slow)
    )
    assert made["dual"]["expected"]["seconds"] == pytest.approx(20)
    assert made["dual"]["expected"]["bound"] == "replica"


def test_batch_get_walks_one_table_after_the_other() -> None:
    """Each walk scans 1,000 units here while it probes 4,096 there."""
    capacity = Capacity(warm_read_units=64)
    made = planned(table(8192, 1000, capacity=capacity), table(8192, 1000, capacity=capacity))
    assert made["batch"]["expected"]["seconds"] == pytest.approx(2 * 4096 / 64)


def test_limits_count_before_what_a_table_can_serve() -> None:
    either = table(8192, 1000, capacity=Capacity("provisioned", provisioned_read_units=1000))
    for made in (planned(either, either, read_units=10), planned(either, either, read_percent=1)):
        assert made["dual"]["expected"]["seconds"] == pytest.approx(100)


def test_this_computer_is_a_bound_too() -> None:
    quick = table(9_000_000, 10, capacity=Capacity(warm_read_units=10**9))
    made = planned(quick, quick)
    assert (made["dual"]["expected"]["bound"], made["batch"]["expected"]["bound"]) == ("client", "client")
    assert made["dual"]["expected"]["seconds"] == pytest.approx(36)
    assert made["batch"]["expected"]["seconds"] == pytest.approx(400)


# ── Choosing ────────────────────────────────────────────────────────────────────────────────────────

SETTINGS = TableSettings(
    name="orders",
    arn="arn:aws:dynamodb:eu-west-1:123456789012:table/orders",
    table_id=None,
    schema=KeySchema(KeyAttribute("id", "S")),
    item_count=0,
    size_bytes=0,
    indexes=frozenset({"by-day"}),
    ttl_attribute=None,
    stream_view=None,
)


def test_a_table_as_described() -> None:
    settings = dataclasses.replace(SETTINGS, item_count=10, size_bytes=5000)
    made = PlannedTable.described(settings, "eu-west-1/orders")
    assert (made.region, made.items, made.item_size, made.indexes) == ("eu-west-1", 10, 500, 1)
    assert PlannedTable.described(dataclasses.replace(settings, arn=""), "x").region == "us-east-1"
    assert PlannedTable.described(settings, "x", "us-west-2").region == "us-west-2"


def test_choosing_by_what_describe_table_tells() -> None:
    settings = dataclasses.replace(SETTINGS, item_count=100_000, size_bytes=50_000_000)
    described = PlannedTable.described(settings, "x")
    for prices in (PRICES, None):
        choice = choose(described, described, prices, limits=Limits(segments=1))
        assert choice.strategy == "dual-scan"
        assert choice.reason.startswith("dual-scan needs 15,")


def test_choosing_without_knowing_how_large_the_tables_are() -> None:
    unknown = PlannedTable.described(SETTINGS, "x")
    assert unknown.items is None
    for pair in ((unknown, unknown), (unknown, table(10**6, 4096)), (table(10**6, 4096), unknown)):
        choice = choose(*pair, PRICES)
        assert choice.strategy == "dual-scan"
        assert "nobody tells how large" in choice.reason


def test_a_tie_goes_to_dual_scan() -> None:
    choice = choose(table(0), table(1000), limits=Limits(segments=1))
    assert choice.strategy == "dual-scan"
    assert "as many read units as batch-get" in choice.reason


# ── Notes ───────────────────────────────────────────────────────────────────────────────────────────


def test_unknown_prices_are_told_once_for_each_region() -> None:
    far = table(region="mx-central-1")
    assert planned(far, far)["notes"] == [
        "Not all prices of mx-central-1 are known: those of us-east-1 stand in (read, write)."
    ]
    crossing = planned(table(), far)["notes"]
    assert (
        "Not all prices of mx-central-1 are known: those of us-east-1 stand in (read, write, transfer)."
        in crossing
    )


def test_prices_that_are_not_used_need_not_be_known() -> None:
    capacity = Capacity("provisioned", provisioned_read_units=5)
    far = table(region="mx-central-1", capacity=capacity)
    assert not any("known" in note for note in planned(far, far)["notes"])


def test_notes_on_tables() -> None:
    notes = planned(table(local=True), table(rough=True, indexes=2))["notes"]
    assert notes == [
        "The primary is not on AWS: nothing is billed there, it is priced as in us-east-1.",
        "Nobody tells how many items the replica has: 1,000 is a rough guess from the sample.",
        "The replica's secondary indexes take write units of their own, which are not counted.",
    ]
    assert planned(table(None), table())["notes"][0] == (
        "Nobody tells how many items the primary has, and the sample met none."
    )


# ── What holds for every pair ───────────────────────────────────────────────────────────────────────

tables = st.builds(
    table,
    items=st.none() | st.integers(0, 10**9),
    item_size=st.floats(1, 400_000),
    region=st.sampled_from(["us-east-1", "eu-west-1", "mx-central-1"]),
    rough=st.booleans(),
    capacity=st.builds(
        Capacity,
        billing=st.sampled_from(["provisioned", "on-demand"]),
        provisioned_read_units=st.integers(1, 40_000),
        warm_read_units=st.none() | st.integers(1, 10**6),
        table_class=st.sampled_from(["STANDARD", "STANDARD_INFREQUENT_ACCESS"]),
    ),
)
shares = st.floats(0, 1)


@thoroughly
@given(tables, tables, shares, st.integers(1, 1000))
def test_dual_scan_never_needs_more_units_than_batch_get(
    primary: PlannedTable, replica: PlannedTable, share: float, segments: int
) -> None:
    made = planned(primary, replica, share, segments=segments)
    for case in ("expected", "worst"):
        for side in ("primary", "replica"):
            for what in ("scan", "probes", "confirmation"):
                dual, batch = made["dual"][case][side][what], made["batch"][case][side][what]
                assert dual <= batch or dual == pytest.approx(batch)


@thoroughly
@given(tables, tables, shares)
def test_the_choice_is_the_cheaper_one_and_the_same_without_a_plan(
    primary: PlannedTable, replica: PlannedTable, share: float
) -> None:
    made = plan(primary, replica, PRICES, drift=share)
    assert made.choice == choose(primary, replica, PRICES, drift=share)
    dollars = {each.strategy: each.expected.dollars for each in made.estimates}
    if primary.items is not None and replica.items is not None:
        assert dollars[made.choice.strategy] == pytest.approx(min(dollars.values()), abs=1e-8)
    assert made.choice.reason.startswith(made.choice.strategy)


@thoroughly
@given(tables, tables, shares)
def test_every_sum_is_a_number_and_none_is_negative(
    primary: PlannedTable, replica: PlannedTable, share: float
) -> None:
    made = plan(primary, replica, PRICES, drift=share)
    for estimate in made.estimates:
        for sums in (estimate.expected, estimate.worst):
            for number in (
                sums.read_units, sums.dollars, sums.write_units, sums.write_dollars, sums.transfer_bytes, sums.seconds,
            ):  # fmt: skip
                assert 0 <= number < math.inf


@thoroughly
@given(tables, tables, shares, shares)
def test_more_drift_never_takes_less_of_dual_scan(
    primary: PlannedTable, replica: PlannedTable, one: float, other: float
) -> None:
    less, more = (plan(primary, replica, PRICES, drift=share).estimates[1] for share in sorted((one, other)))
    assert less.expected.read_units <= more.expected.read_units * (1 + 1e-9)
    assert less.worst == more.worst


def test_total_divergence() -> None:
    assert total_divergence(table(5), table(None)) == Drift(missing=5, extraneous=0)
