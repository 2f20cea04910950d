"""No run costs more than its budget, and what it did with the money is told."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import IncompleteRunError, Limits, Report, UsageError, diff
from asyncrep.cost.prices import load_prices
from asyncrep.diff import run as diff_run
from asyncrep.flow.purse import Purse
from asyncrep.model import State
from tests.support.drift import Drift
from tests.support.scenario import LIMITS, PRIMARY, WRITES, Scene, item, items, key, scene

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.script import Call, Statement
    from tests.support.scripted import Answer, ScriptedDynamo

PROVISIONED = {
    "BillingModeSummary": {"BillingMode": "PROVISIONED"},
    "ProvisionedThroughput": {"ReadCapacityUnits": 100, "WriteCapacityUnits": 100},
}
NOT_BILLED = "Requests to a provisioned table are not billed one by one: the budget does not count them."
EURO_PAGE = 178 * 0.1415e-6
"""What the first page of the replica can cost."""

AMPLE = 10.0
"""Dollars; far more than anything here costs."""


@dataclass
class Bill:
    """What the endpoint charges, by what it did: also for answers that got lost on the way."""

    free: set[str] = field(default_factory=set)
    dollars: float = 0.0

    @classmethod
    def of(cls, endpoint: ScriptedDynamo) -> Bill:
        """A bill of everything that the endpoint is asked from now on."""
        bill, perform = cls(), endpoint._perform

        def billed(call: Call, statement: Statement) -> Answer:
            answer = perform(call, statement)
            bill._add(call, answer)
            return answer

        endpoint._perform = billed  # type: ignore[method-assign]
        return bill

    def _add(self, call: Call, answer: Answer) -> None:
        consumed: Any = answer.get("ConsumedCapacity", []) if isinstance(answer, dict) else []
        entries = consumed if isinstance(consumed, list) else [consumed]
        rates = load_prices().rates(call.region)
        price = rates.write if call.operation in WRITES else rates.read
        if call.region not in self.free:
            self.dollars += sum(entry["CapacityUnits"] for entry in entries) * price / 1e6


@pytest.fixture
def bill(endpoint: ScriptedDynamo) -> Bill:
    return Bill.of(endpoint)


def drifted(endpoint: ScriptedDynamo, count: int = 120) -> tuple[Scene, Drift]:
    """Items of 20 KB: a page takes some units, and six in a hundred have drifted."""
    drift = Drift.of(count, every=50, blob="x" * 20_000)
    played = scene(endpoint, drift.primary, drift.replica)
    played.primary.page_items = played.replica.page_items = 10
    return played, drift


def limits(dollars: float | None, **others: Any) -> Limits:
    return replace(LIMITS, max_cost=dollars, **others)


def assert_kept(report: Report, bill: Bill, budget: float) -> None:
    """The endpoint charged no more than the budget, and the report tells what it charged.

    What was under way when a run ended early has been charged as well, and nobody heard of it.
    """
    assert bill.dollars <= budget
    assert report.cost_usd <= bill.dollars * (1 + 1e-9)
    if report.complete:
        assert report.cost_usd == pytest.approx(bill.dollars)


async def ended(run: Any) -> tuple[Report, str]:
    """The report of a run, and the sentence it ended with if it ended early."""
    try:
        result = await run
    except IncompleteRunError as error:
        return error.report, str(error)
    return (result if isinstance(result, Report) else result[1]), ""


@pytest.mark.usefixtures("strategy")
async def test_a_run_with_enough_budget_is_not_disturbed(endpoint: ScriptedDynamo, bill: Bill) -> None:
    played, drift = drifted(endpoint)
    _, free = await played.diff(limits=limits(None))
    cost, calls = bill.dollars, len(endpoint.calls)
    found, report = await played.diff(limits=limits(AMPLE))
    drift.assert_exact(found, report)
    assert report.cost_usd == pytest.approx(free.cost_usd) == pytest.approx(cost)
    assert bill.dollars == pytest.approx(2 * cost)
    assert len(endpoint.calls) == 2 * calls


@pytest.mark.usefixtures("strategy")
@pytest.mark.parametrize("concurrency", [1, 8])
async def test_whatever_the_budget_a_diff_never_costs_more(
    endpoint: ScriptedDynamo, bill: Bill, concurrency: int
) -> None:
    played, drift = drifted(endpoint)
    whole = (await played.diff(limits=limits(AMPLE)))[1].cost_usd
    reports = []
    for share in (0.4, 0.6, 0.8, 0.9, 0.99, 1.0, 1.1, 1.5, 2, 4, 8):
        bill.dollars = 0.0
        report, sentence = await ended(
            played.diff(limits=limits(whole * share, concurrency=concurrency, segments=4))
        )
        assert_kept(report, bill, whole * share)
        assert report.complete == (not sentence)
        if sentence:
            assert sentence.startswith("The next request could pass the budget of $0.0")
            assert sentence.endswith(
                f" {report.scanned_primary:,} items of the primary and {report.scanned_replica:,} of the "
                "replica were seen."
            )
        reports.append(report)
    assert (reports[0].complete, reports[-1].complete) == (False, True)
    assert reports[-1].matched == drift.pairs - len(drift.kinds)


@pytest.mark.usefixtures("strategy")
async def test_throttles_and_unprocessed_keys_neither_pass_the_budget_nor_use_it_up(
    endpoint: ScriptedDynamo, bill: Bill
) -> None:
    played, drift = drifted(endpoint)
    whole = (await played.diff(limits=limits(AMPLE)))[1].cost_usd
    reports = []
    for share in (0.5, 1.0, 8):
        endpoint.on("Scan", times=8).throttle()
        endpoint.on("BatchGetItem", times=2).throttle()
        endpoint.on("BatchGetItem", times=3, after=2).unprocessed(0.5)
        bill.dollars = 0.0
        report, _ = await ended(played.diff(limits=limits(whole * share)))
        assert_kept(report, bill, whole * share)
        reports.append(report)
    assert [report.complete for report in reports] == [False, False, True]
    assert all(report.throttled for report in reports)
    assert reports[-1].matched == drift.pairs - len(drift.kinds)


@pytest.mark.usefixtures("strategy")
async def test_what_failed_calls_had_put_aside_comes_back(endpoint: ScriptedDynamo) -> None:
    played = scene(endpoint, items(1), items(1))
    endpoint.on("Scan", times=3).throttle()
    endpoint.on("Scan", times=2, after=3).reset()
    endpoint.on("Scan", times=2, after=5).error("InternalServerError", 500)
    report, sentence = await ended(played.diff(limits=limits(EURO_PAGE * 1.2, segments=4)))
    assert (report.complete, sentence) == (True, "")


@pytest.mark.usefixtures("strategy")
async def test_a_budget_smaller_than_a_page_is_refused_before_anything_is_read(
    endpoint: ScriptedDynamo,
) -> None:
    played = scene(endpoint, items(3), items(3))
    for task in (played.diff, played.repair, played.backfill):
        with pytest.raises(
            UsageError, match=r"A budget of \$0\.00002518 is too small: the first page of a scan"
        ):
            await task(limits=limits(EURO_PAGE * 0.9999))
    assert {call.operation for call in endpoint.calls} <= {
        "DescribeTable",
        "DescribeTimeToLive",
        "DescribeGlobalTable",
    }


async def test_a_budget_that_is_accepted_lets_at_least_a_page_be_read(endpoint: ScriptedDynamo) -> None:
    played = scene(endpoint, items(3), items(3))
    report, _ = await ended(played.diff(limits=limits(EURO_PAGE, segments=1)))
    assert report.scanned_primary + report.scanned_replica > 0
    assert report.cost_usd > 0


@pytest.mark.usefixtures("strategy")
async def test_each_table_s_units_have_their_own_price(
    endpoint: ScriptedDynamo, bill: Bill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text("[regions.us-east-1]\nread = 1000\n[regions.eu-west-1]\nread = 10\nwrite = 70000\n")
    monkeypatch.setenv("ASYNCREP_PRICES", str(prices))
    played = scene(endpoint, [*items(20), item("m")], items(20))
    report = await played.repair()
    assert report.cost_usd == pytest.approx(bill.dollars)
    assert (report.write_units, report.repaired) == (1, 1)
    assert 0.07 + report.read_units * 10e-6 < report.cost_usd < 0.07 + report.read_units * 1000e-6


@pytest.mark.usefixtures("strategy")
async def test_the_dearer_prices_are_the_sooner_a_run_ends(
    endpoint: ScriptedDynamo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played, _ = drifted(endpoint)
    whole = (await played.diff(limits=limits(AMPLE)))[1].cost_usd
    assert (await ended(played.diff(limits=limits(whole * 8))))[0].complete
    prices = tmp_path / "prices.toml"
    prices.write_text("[regions.us-east-1]\nread = 1.25\n[regions.eu-west-1]\nread = 1.415\n")
    monkeypatch.setenv("ASYNCREP_PRICES", str(prices))
    assert not (await ended(played.diff(limits=limits(whole * 8))))[0].complete


@pytest.mark.usefixtures("strategy")
async def test_provisioned_tables_are_not_billed_by_request(endpoint: ScriptedDynamo) -> None:
    played, drift = drifted(endpoint)
    played.primary.description = played.replica.description = PROVISIONED
    found, report = await played.diff(limits=limits(1e-9))
    drift.assert_exact(found, report)
    assert (report.cost_usd, report.read_units > 0) == (0, True)
    assert NOT_BILLED in played.log.notes


@pytest.mark.usefixtures("strategy")
async def test_beside_a_provisioned_table_only_the_other_counts(endpoint: ScriptedDynamo, bill: Bill) -> None:
    played, _ = drifted(endpoint)
    played.primary.description = PROVISIONED
    bill.free = {PRIMARY}
    whole = (await played.diff(limits=limits(AMPLE)))[1].cost_usd
    assert NOT_BILLED in played.log.notes
    assert whole == pytest.approx(bill.dollars)
    bill.dollars = 0.0
    report, _ = await ended(played.diff(limits=limits(whole * 0.7)))
    assert not report.complete
    assert bill.dollars <= whole * 0.7


async def test_without_a_budget_nothing_is_said_of_provisioned_tables(endpoint: ScriptedDynamo) -> None:
    played = scene(endpoint, items(1), items(1))
    played.primary.description = PROVISIONED
    await played.diff()
    assert NOT_BILLED not in played.log.notes


async def test_leaving_a_run_with_a_budget_ends_it(endpoint: ScriptedDynamo, bill: Bill) -> None:
    played, _ = drifted(endpoint)
    whole = (await played.diff(limits=limits(AMPLE)))[1].cost_usd
    bill.dollars = 0.0
    async with (
        played.open() as tables,
        diff(*tables, limits=limits(whole * 4), clock=played.clock) as found,
    ):
        async for _ in found:
            break
    assert not found.report.complete
    assert bill.dollars <= whole * 4


# ── Repairs ─────────────────────────────────────────────────────────────────────────────────────────


def written(before: dict[Any, Any], after: dict[Any, Any]) -> set[bytes]:
    """The keys under which two states of a table differ."""
    return {key(name) for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


@pytest.mark.usefixtures("strategy")
async def test_whatever_the_budget_of_a_repair_its_writes_are_told_and_deletions_come_last(
    endpoint: ScriptedDynamo, bill: Bill
) -> None:
    drift = Drift.of(120, every=15, blob="x" * 20_000)
    ends = set()
    probe = scene(endpoint, drift.primary, drift.replica)
    whole = (await probe.repair(limits=limits(AMPLE))).cost_usd
    for share in (0.3, 0.6, 0.8, 0.9, 1, 1.2, 1.4, 1.6, 1.8, 2, 3, 8):
        played = scene(endpoint, drift.primary, drift.replica)
        before = dict(played.replica.items)
        bill.dollars, calls = 0.0, len(endpoint.calls)
        report, _ = await ended(played.repair(limits=limits(whole * share)))
        assert_kept(report, bill, whole * share)
        told = played.log.records
        changed = written(before, played.replica.items)
        assert {name for name, found in told.items() if found.state is State.REPAIRED} <= changed
        assert changed <= told.keys()
        assert {told[name].state for name in changed} <= {State.REPAIRED, State.FAILED}
        assert {name for name, found in told.items() if found.state is State.FAILED} <= changed
        deletes = [call for call in endpoint.calls[calls:] if call.operation == "DeleteItem"]
        if deletes:  # both walks were complete; the replica's may have met what was written meanwhile
            assert report.scanned_primary == len(drift.primary)
            assert report.scanned_replica >= len(drift.replica)
        assert played.converged == report.complete
        ends.add((report.complete, bool(changed), bool(deletes)))
    assert (True, True, True) in ends  # with enough
    assert (False, False, False) in ends  # before anything was written
    assert (False, True, False) in ends  # among the writes


@pytest.fixture
def purses(monkeypatch: pytest.MonkeyPatch) -> list[Purse]:
    """The purses of all runs that begin."""
    made: list[Purse] = []

    class Watched(Purse):
        def __init__(self, limit: float | None = None) -> None:
            super().__init__(limit)
            made.append(self)

    monkeypatch.setattr(diff_run, "Purse", Watched)
    return made


async def test_a_write_that_may_have_landed_when_the_money_ran_out_is_told(
    endpoint: ScriptedDynamo, purses: list[Purse]
) -> None:
    played = scene(endpoint, [item("m")], [])
    endpoint.on("PutItem").land_then_reset()
    endpoint.after("PutItem", lambda _: purses[-1].spend(AMPLE))
    report, sentence = await ended(played.repair(limits=limits(AMPLE)))
    assert sentence.startswith("The next request could pass the budget of $10.00")
    told = played.log.records[key("m")]
    assert (told.state, told.kind, report.failed) == (State.FAILED, "missing", 1)
    assert told.reason == "Whether the write landed is not known: the run ended while it was under way."
    assert "m" in played.replica.items


async def test_a_record_that_was_patched_in_part_when_the_money_ran_out_is_told(
    endpoint: ScriptedDynamo, purses: list[Purse]
) -> None:
    ours, theirs = (
        item("d", **{f"a{number:03}": value for number in range(150)}) for value in ("ours", "theirs")
    )
    played = scene(endpoint, [ours], [theirs])
    endpoint.after("UpdateItem", lambda _: purses[-1].spend(AMPLE))
    await ended(played.repair(limits=limits(AMPLE)))
    assert played.replica.items["d"] not in (ours, theirs)
    assert played.log.records[key("d")].state is State.FAILED


async def test_a_write_for_which_there_was_no_money_is_not_told_as_sent(
    endpoint: ScriptedDynamo, purses: list[Purse]
) -> None:
    played = scene(endpoint, [item("m")], [])
    endpoint.on("PutItem").throttle()
    endpoint.before("PutItem", lambda _: purses[-1].spend(AMPLE))
    report, _ = await ended(played.repair(limits=limits(AMPLE)))
    assert (report.failed, played.log.records, played.replica.items) == (0, {}, {})


async def test_what_was_written_and_could_not_be_verified_is_told(
    endpoint: ScriptedDynamo, purses: list[Purse]
) -> None:
    played = scene(endpoint, [item("m")], [])
    endpoint.after("PutItem", lambda _: purses[-1].spend(AMPLE))
    await ended(played.repair(limits=limits(AMPLE)))
    told = played.log.records[key("m")]
    assert told.state is State.FAILED
    assert told.reason == "It was written, but the run ended before that could be verified."


@pytest.mark.usefixtures("strategy")
async def test_a_repair_whose_money_ends_in_the_last_scan_deletes_nothing(
    endpoint: ScriptedDynamo, purses: list[Purse]
) -> None:
    played = scene(endpoint, items(10), [*items(10), item("x")])
    played.replica.page_items = 1
    last = {"batch-get": "BatchGetItem", "dual-scan": "Scan"}[played.strategy]
    endpoint.after(last, lambda _: purses[-1].spend(AMPLE), after=2)
    report, _ = await ended(played.repair(limits=limits(AMPLE)))
    assert not report.complete
    assert endpoint.count("DeleteItem") == 0
    assert "x" in played.replica.items


@pytest.mark.parametrize("share", [0.5, 1, 2, 40])
async def test_a_backfill_keeps_its_budget(endpoint: ScriptedDynamo, bill: Bill, share: float) -> None:
    filled = items(60, blob="x" * 20_000)
    whole = (await scene(endpoint, filled).backfill(limits=limits(AMPLE))).cost_usd
    played = scene(endpoint, filled)
    bill.dollars = 0.0
    report, sentence = await ended(played.backfill(limits=limits(whole * share)))
    assert_kept(report, bill, whole * share)
    assert report.complete == (not sentence) == (share == 40)
    assert report.repaired == len(played.replica.items)
