"""Whatever tells a discrepancy tells its likely cause: diffs, repairs, single records, several processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import (
    Cause,
    Comparison,
    Limits,
    Rules,
    State,
    VirtualClock,
    diff,
    diff_record,
    replicate_record,
)
from asyncrep.aws.place import Place
from asyncrep.location import TableRef
from asyncrep.parallel.lead import run_in_processes
from tests.support.engines import REGION
from tests.support.scenario import NAME, PRIMARY, REPLICA, Log, Scene, item, items, key, opened, scene, strong

if TYPE_CHECKING:
    from tests.support.engines import Engine
    from tests.support.scripted import ScriptedDynamo

NOW = int(VirtualClock().now())
STILL = Comparison(settle=0)
CAUSES = {
    key("put"): Cause.MISSED_PUT,
    key("delete"): Cause.MISSED_DELETE,
    key("ttl"): Cause.MISSED_TTL_DELETE,
    key("older"): Cause.OLDER_VERSION,
    key("newer"): Cause.NEWER_VERSION,
    key("attribute"): Cause.ATTRIBUTE_CHANGE,
    key("expired"): Cause.EXPIRED,
}
COUNTS = {cause.value: 1 for cause in CAUSES.values()}


def drifted(endpoint: ScriptedDynamo) -> Scene:
    """One discrepancy of each cause that does not take two reads; only the primary expires items."""
    play = scene(
        endpoint,
        [
            *items(20),
            item("put"),
            item("older", version=10, v=1),
            item("newer", updatedAt="2025-01-01", v=1),
            item("attribute", version=1, v=1),
            item("expired", until=NOW - 60),
        ],
        [
            *items(20),
            item("delete", until=NOW + 9_999),
            item("ttl", until=NOW - 60),
            item("older", version=9, v=2),
            item("newer", updatedAt="2025-01-02", v=2),
            item("attribute", version=1, v=2),
        ],
    )
    play.primary.ttl = "until"
    return play


@pytest.mark.usefixtures("strategy")
async def test_a_diff_tells_the_cause_of_each(endpoint: ScriptedDynamo) -> None:
    found, report = await drifted(endpoint).diff(comparison=STILL)
    assert {name: each.cause for name, each in found.items()} == CAUSES
    assert report.causes == report.as_dict()["causes"] == COUNTS


@pytest.mark.usefixtures("strategy")
@pytest.mark.parametrize(
    "rules", [Rules(), Rules(dry_run=True), Rules(delete_extraneous=False), Rules(max_delete=0)], ids=str
)
async def test_a_repair_tells_the_cause_of_each_whatever_it_does(
    endpoint: ScriptedDynamo, rules: Rules
) -> None:
    play = drifted(endpoint)
    report = await play.repair(comparison=STILL, rules=rules)
    assert {name: each.cause for name, each in play.log.records.items()} == CAUSES
    assert report.causes == COUNTS


async def test_what_is_left_because_more_than_half_would_go_has_a_cause(endpoint: ScriptedDynamo) -> None:
    play = scene(endpoint, [], [item("a"), item("b", until=NOW - 60)])
    play.primary.ttl = "until"
    report = await play.repair(comparison=STILL)
    assert {each.state for each in play.log.records.values()} == {State.SKIPPED}
    assert report.causes == {"missed_delete": 1, "missed_ttl_delete": 1}


async def test_what_keeps_changing_is_in_flight_whatever_its_versions_say(endpoint: ScriptedDynamo) -> None:
    play = scene(endpoint, [item(version=1)], [item(version=0)])
    versions = iter(range(2, 100))
    endpoint.before(
        "BatchGetItem",
        lambda _: play.primary.put(item(version=next(versions))),
        times=None,
        **strong(REPLICA),
    )
    found, report = await play.diff(comparison=STILL)
    assert found[key()].cause is Cause.IN_FLIGHT
    assert report.causes == {"in_flight": 1}


async def test_an_item_that_expires_while_it_is_mended_is_expired(endpoint: ScriptedDynamo) -> None:
    play = scene(endpoint, [item(v=1, until=NOW + 60)], [item(v=2, until=NOW + 60)], ttl="until")

    def expire(_: Any) -> None:
        play.primary.put(item(v=3, until=NOW - 60))

    endpoint.before("UpdateItem", expire)
    report = await play.repair(comparison=STILL)
    assert play.log.records[key()].cause is Cause.EXPIRED
    assert (report.expired, report.causes) == (1, {"expired": 1})


async def test_an_ignored_version_is_no_evidence(endpoint: ScriptedDynamo) -> None:
    play = scene(endpoint, [item(version=2, v=1)], [item(version=1, v=2)])
    found, _ = await play.diff(comparison=Comparison(frozenset({"version"}), settle=0))
    assert found[key()].cause is Cause.ATTRIBUTE_CHANGE


async def test_single_records_have_a_cause(endpoint: ScriptedDynamo) -> None:
    play = drifted(endpoint)
    async with play.open() as tables:
        shown = await diff_record(*tables, key("older"), comparison=STILL, clock=play.clock)
        assert shown.discrepancy is not None
        assert shown.discrepancy.cause is Cause.OLDER_VERSION
        done = await replicate_record(*tables, key("ttl"), comparison=STILL, clock=play.clock)
    assert done is not None
    assert (done.state, done.cause) == (State.REPAIRED, Cause.MISSED_TTL_DELETE)


@pytest.mark.parametrize("task", ["diff", "repair"])
async def test_several_processes_tell_the_causes_that_one_does(
    endpoint: ScriptedDynamo, monkeypatch: pytest.MonkeyPatch, task: Any
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint.url)
    older = [item(f"o{number:02}", version=1) for number in range(20)]
    newer = [item(f"o{number:02}", version=2) for number in range(20)]
    scene(endpoint, [*newer, *items(30), item("put")], [*older, *items(30), item("delete"), item("delete2")])
    log = Log()
    places = [Place(TableRef.parse(f"{region}/{NAME}")) for region in (PRIMARY, REPLICA)]
    report = await run_in_processes(
        task, *places, processes=2, limits=Limits(segments=4), comparison=STILL, observer=log
    )
    assert report.causes == {"older_version": 20, "missed_put": 1, "missed_delete": 2}
    assert log.records[key("o07")].cause is Cause.OLDER_VERSION


async def test_causes_on_every_engine(engine: Engine) -> None:
    primary = engine.create_table(items=[item("o", version=3), item("a", v=1), item("p")])
    replica = engine.create_table(items=[item("o", version=2), item("a", v=2), item("d")])
    clock = VirtualClock()
    async with (
        opened(f"{REGION}/{primary}", f"{REGION}/{replica}", engine.url, clock) as tables,
        diff(*tables, comparison=STILL, limits=Limits(segments=2), clock=clock) as run,
    ):
        found = {each.key: each.cause async for each in run}
    assert found == {
        key("o"): Cause.OLDER_VERSION,
        key("a"): Cause.ATTRIBUTE_CHANGE,
        key("p"): Cause.MISSED_PUT,
        key("d"): Cause.MISSED_DELETE,
    }
