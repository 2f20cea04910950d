"""A sample is exact within its segments, leaves all others alone, and says what it proves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from asyncrep import IncompleteRunError, Limits, Segment, UsageError
from asyncrep.cost.plan import Choice
from asyncrep.diff import run as diff_run
from asyncrep.diff.sample import most_drifted, sampled_segments
from asyncrep.model import State
from asyncrep.options import Sample
from tests.support.drift import Drift
from tests.support.scenario import PRIMARY, REPLICA, Scene, item, items, scene
from tests.support.values import plain

if TYPE_CHECKING:
    from asyncrep import Discrepancy
    from asyncrep.cost.tables import PlannedTable
    from tests.support.scripted import ScriptedDynamo

SEGMENTS = 50
LIMITS = Limits(segments=SEGMENTS)
QUARTER = Sample(0.25, seed=4)
CHOSEN = {segment.index for segment in sampled_segments(QUARTER, SEGMENTS)}


def drifted(endpoint: ScriptedDynamo, every: int = 15) -> tuple[Scene, Drift]:
    drift = Drift.of(400, every=every)
    return scene(endpoint, drift.primary, drift.replica), drift


def segment_of(played: Scene, key: bytes) -> int:
    return played.primary.segment_of(plain(msgspec.json.decode(key)["id"]), SEGMENTS)


def within(played: Scene, drift: Drift) -> dict[bytes, str]:
    """The drift in the chosen segments."""
    return {key: kind for key, kind in drift.kinds.items() if segment_of(played, key) in CHOSEN}


def kinds(found: dict[bytes, Discrepancy]) -> dict[bytes, str]:
    return {key: each.kind for key, each in found.items()}


@pytest.mark.usefixtures("strategy")
async def test_a_sample_is_exact_within_its_segments_and_reads_no_others(endpoint: ScriptedDynamo) -> None:
    played, drift = drifted(endpoint)
    found, report = await played.diff(limits=LIMITS, sample=QUARTER)
    expected = within(played, drift)
    assert kinds(found) == expected
    assert 0 < len(expected) < len(drift.kinds)
    for region in (PRIMARY, REPLICA):
        scans = endpoint.requests("Scan", region=region)
        assert {call.body["Segment"] for call in scans} == CHOSEN
        assert {call.body["TotalSegments"] for call in scans} == {SEGMENTS}
    holding = {segment_of(played, key) for key in expected}
    assert {each.segment for each in found.values()} == holding
    assert report.complete
    assert report.as_dict()["sampled"] == {
        "segments": len(CHOSEN),
        "of": SEGMENTS,
        "drifted": len(holding),
        "at_most": most_drifted(len(holding), len(CHOSEN), SEGMENTS) / SEGMENTS,
    }
    assert report.matched + len(expected) == report.compared < 400


@pytest.mark.usefixtures("strategy")
async def test_the_bound_is_true_of_the_tables(endpoint: ScriptedDynamo) -> None:
    played, drift = drifted(endpoint, every=60)
    holding = len({segment_of(played, key) for key in drift.kinds}) / SEGMENTS
    bounds = []
    for seed in range(20):
        _, report = await played.diff(limits=LIMITS, sample=Sample(0.3, seed=seed))
        assert report.sampled is not None
        assert report.sampled.at_most is not None
        bounds.append(report.sampled.at_most)
    assert sum(holding <= bound for bound in bounds) >= 18  # of 20, 19 are promised on average
    assert min(bounds) < 1


@pytest.mark.usefixtures("strategy")
async def test_a_sample_of_everything_is_a_whole_check(endpoint: ScriptedDynamo) -> None:
    played, drift = drifted(endpoint)
    found, report = await played.diff(limits=LIMITS, sample=Sample(1))
    drift.assert_exact(found, report)
    holding = len({segment_of(played, key) for key in drift.kinds})
    assert report.sampled is not None
    assert (report.sampled.segments, report.sampled.of) == (SEGMENTS, SEGMENTS)
    assert (report.sampled.drifted, report.sampled.at_most) == (holding, holding / SEGMENTS)


@pytest.mark.usefixtures("strategy")
async def test_tables_that_agree_prove_that_little_has_drifted(endpoint: ScriptedDynamo) -> None:
    played = scene(endpoint, items(30), items(30))
    found, report = await played.diff(sample=Sample(0.05), limits=Limits())
    assert found == {}
    assert report.as_dict()["sampled"] == {
        "segments": 100,
        "of": 2_000,
        "drifted": 0,
        "at_most": most_drifted(0, 100, 2_000) / 2_000,
    }


@pytest.mark.usefixtures("strategy")
@pytest.mark.parametrize("stored", [[], [item("a")]])
async def test_tables_with_hardly_anything_in_them_can_be_sampled(
    endpoint: ScriptedDynamo, stored: list[Any]
) -> None:
    _, report = await scene(endpoint, stored, stored).diff(sample=Sample(0.001), limits=Limits())
    assert report.complete
    assert report.sampled is not None
    assert (report.sampled.segments, report.sampled.drifted) == (2, 0)


@pytest.mark.usefixtures("strategy")
async def test_a_whole_check_says_nothing_of_samples(endpoint: ScriptedDynamo) -> None:
    _, report = await scene(endpoint, items(2), items(2)).diff()
    assert report.as_dict()["sampled"] is None


@pytest.mark.usefixtures("strategy")
async def test_a_repair_of_a_sample_mends_what_is_in_it_and_leaves_the_rest(endpoint: ScriptedDynamo) -> None:
    played, drift = drifted(endpoint)
    before = dict(played.replica.items)
    report = await played.repair(limits=LIMITS, sample=QUARTER)
    expected = within(played, drift)
    assert kinds(played.log.records) == expected
    assert {found.state for found in played.log.records.values()} == {State.REPAIRED}
    assert set(expected.values()) == {"missing", "different", "extraneous"}
    for name in before.keys() | played.primary.items.keys():
        is_within = played.primary.segment_of(name, SEGMENTS) in CHOSEN
        right = played.primary.items if is_within else before
        assert played.replica.items.get(name) == right.get(name)
    assert report.sampled is not None
    assert report.sampled.drifted == len({segment_of(played, key) for key in expected})


@pytest.mark.usefixtures("strategy")
async def test_records_that_are_no_drift_make_no_segment_drifted(endpoint: ScriptedDynamo) -> None:
    gone = [item(f"e{number}", ttl=1_600_000_000) for number in range(60)]
    played = scene(endpoint, [*items(20), *gone], items(20), ttl="ttl")
    found, report = await played.diff(limits=LIMITS, sample=QUARTER)
    assert {each.state for each in found.values()} == {State.EXPIRED}
    assert report.sampled is not None
    assert report.sampled.drifted == 0


async def test_the_segments_drift_was_found_in_are_counted_also_when_a_run_ends_early(
    endpoint: ScriptedDynamo,
) -> None:
    drift = Drift.all("missing", 40)
    played = scene(endpoint, drift.primary, drift.replica)
    endpoint.on("Scan", region=REPLICA).error("AccessDeniedException").forever()
    with pytest.raises(IncompleteRunError) as ended:
        await played.diff(
            limits=LIMITS, sample=Sample(1), strategy="batch-get"
        )  # the primary is walked first
    report = ended.value.report
    assert report.missing == 40
    assert report.as_dict()["sampled"] == {
        "segments": SEGMENTS,
        "of": SEGMENTS,
        "drifted": len({segment_of(played, key) for key in drift.kinds}),
        "at_most": None,
    }


async def test_a_sample_and_a_segment_do_not_go_together(endpoint: ScriptedDynamo) -> None:
    played = scene(endpoint, items(3), items(3))
    for task in (played.diff, played.repair):
        with pytest.raises(UsageError, match="A sample chooses the segments itself"):
            await task(segment=Segment(0, 4), sample=Sample(0.5))
    assert endpoint.count("Scan") == 0


async def test_one_segment_cannot_be_sampled(endpoint: ScriptedDynamo) -> None:
    played = scene(endpoint, items(3), items(3))
    with pytest.raises(UsageError, match="A sample is a share of many segments"):
        await played.diff(limits=Limits(segments=1), sample=Sample(0.5))
    assert endpoint.count("Scan") == 0


async def test_who_names_no_seed_gets_another_sample_each_time(endpoint: ScriptedDynamo) -> None:
    played = scene(endpoint)
    choices = set()
    for _ in range(3):
        before = len(endpoint.calls)
        await played.diff(sample=Sample(0.005), limits=Limits())
        scans = [call for call in endpoint.calls[before:] if call.operation == "Scan"]
        choices.add(frozenset(call.body["Segment"] for call in scans))
    assert len(choices) == 3


# ── Strategies ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("strategy", ["batch-get", "dual-scan"])
async def test_a_strategy_can_be_named(endpoint: ScriptedDynamo, strategy: Any) -> None:
    played = scene(endpoint, [*items(20), item("m")], items(20))
    _, report = await played.diff(strategy=strategy)
    assert report.strategy == strategy
    assert (await played.repair(strategy=strategy)).strategy == strategy
    probes = [
        call
        for call in endpoint.requests("BatchGetItem")
        if len(call.body["RequestItems"]["orders"]["Keys"]) > 1
    ]
    assert bool(probes) == (strategy == "batch-get")


async def test_there_is_no_other_strategy(endpoint: ScriptedDynamo) -> None:
    played = scene(endpoint, items(3), items(3))
    for task in (played.diff, played.repair):
        with pytest.raises(UsageError) as refused:
            await task(strategy="scan")
        assert str(refused.value) == ('There is no strategy "scan"; it is one of auto, batch-get, dual-scan.')
    assert endpoint.count("Scan") == 0


@pytest.mark.parametrize("strategy", ["batch-get", "dual-scan"])
async def test_auto_goes_by_what_the_tables_are_told_to_be(
    endpoint: ScriptedDynamo, monkeypatch: pytest.MonkeyPatch, strategy: Any
) -> None:
    asked = []

    def chosen(*tables: PlannedTable, **_: Any) -> Choice:
        asked.append([(table.region, table.items) for table in tables[:2]])
        return Choice(strategy, "By the script.")

    monkeypatch.setattr(diff_run, "choose", chosen)
    played = scene(endpoint, items(7), items(5))
    _, checked = await played.diff(strategy="auto")
    repaired = await played.repair(strategy="auto")
    assert (checked.strategy, repaired.strategy) == (strategy, strategy)
    assert asked == [[(PRIMARY, 7), (REPLICA, 5)]] * 2


async def test_auto_scans_both_sides_of_small_items(endpoint: ScriptedDynamo) -> None:
    _, report = await scene(endpoint, items(40), items(40)).diff(strategy="auto")
    assert report.strategy == "dual-scan"


async def test_a_sample_that_takes_more_than_everything_says_so(endpoint):
    play = scene(endpoint, items(50), items(50))
    for table in (play.primary, play.replica):
        table.description = {"ItemCount": 50, "TableSizeBytes": 5_000}
    await play.diff(sample=Sample(0.01), limits=Limits())
    assert [note for note in play.log.notes if note.startswith("The tables are small")]


async def test_a_sample_of_large_tables_needs_no_such_word(endpoint):
    play = scene(endpoint, items(50), items(50))
    for table in (play.primary, play.replica):
        table.description = {"ItemCount": 10_000_000, "TableSizeBytes": 4_000_000_000}
    await play.diff(sample=Sample(0.001), limits=Limits())
    assert not [note for note in play.log.notes if note.startswith("The tables are small")]
