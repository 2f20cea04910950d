"""What a repair may not do, cannot do, or does in steps: deletions, refusals, large items."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from asyncrep import (
    IncompleteRunError,
    Limits,
    Note,
    PassStarted,
    PermissionDeniedError,
    RetryPolicy,
    Rules,
    State,
    TableNotFoundError,
    UsageError,
    repair,
)
from tests.support.scenario import (
    LIMITS,
    NAME,
    PRIMARY,
    REPLICA,
    item,
    items,
    key,
    opened,
    scene,
)

if TYPE_CHECKING:
    from tests.support.values import Item

pytestmark = pytest.mark.usefixtures("strategy")


ALL = Rules(max_delete=1000)


# Deletions


async def test_deletions_wait_until_both_walks_are_complete(endpoint):
    play = scene(endpoint, items(60, v=1), [*items(55, v=2), *(item(f"x{number}") for number in range(9))])
    play.primary.page_items = play.replica.page_items = 5
    await play.repair(limits=Limits(segments=3))
    operations = [call.operation for call in endpoint.calls]
    first_delete = operations.index("DeleteItem")
    assert "Scan" not in operations[first_delete:]
    assert operations.count("DeleteItem") == 9
    assert [event.name for event in play.log.of(PassStarted)] == ["primary", "replica", "delete"]
    assert play.converged


@pytest.mark.parametrize("region", [PRIMARY, REPLICA])
async def test_an_incomplete_run_deletes_nothing(endpoint, region):
    play = scene(endpoint, items(20), [*items(20), item("extra")])
    play.primary.page_items = play.replica.page_items = 3
    endpoint.on("Scan", region=region, after=5).error("ResourceNotFoundException")
    with pytest.raises(IncompleteRunError) as caught:
        await play.repair()
    assert isinstance(caught.value.__cause__, TableNotFoundError)
    assert endpoint.count("DeleteItem") == 0
    assert not caught.value.report.complete


async def test_deletions_stop_before_the_one_too_many(endpoint):
    extra = [item(f"x{number}") for number in range(5)]
    play = scene(endpoint, items(10), [*items(10), *extra])
    report = await play.repair(rules=Rules(max_delete=3))
    assert endpoint.count("DeleteItem") == 3
    assert (report.extraneous, report.repaired, report.skipped) == (5, 3, 2)
    skipped = [found for found in play.log.records.values() if found.state is State.SKIPPED]
    assert all("limit of 3 deletions" in (found.reason or "") for found in skipped)
    assert len(play.replica.items) == 12


async def test_no_deletion_is_allowed_by_a_limit_of_zero(endpoint):
    play = scene(endpoint, items(10), [*items(10), item("extra")])
    report = await play.repair(rules=Rules(max_delete=0))
    assert endpoint.count("DeleteItem") == 0
    assert report.skipped == 1


@pytest.mark.parametrize(("extra", "deleted"), [(10, 10), (11, 0)])
async def test_more_than_half_of_the_replica_is_deleted_only_on_an_explicit_word(endpoint, extra, deleted):
    play = scene(endpoint, items(10), [*items(10), *(item(f"x{number}") for number in range(extra))])
    report = await play.repair()
    assert endpoint.count("DeleteItem") == deleted
    assert report.skipped == extra - deleted
    assert bool(play.log.of(Note)) == (deleted == 0)
    if not deleted:
        assert "more than half of the replica" in play.log.notes[0]
        report = await play.repair(rules=Rules(max_delete=extra), observer=None)
        assert report.repaired == extra
    assert play.converged


async def test_an_empty_primary_does_not_empty_the_replica_by_itself(endpoint):
    play = scene(endpoint, [], items(5))
    await play.repair()
    assert len(play.replica.items) == 5


async def test_extraneous_items_are_kept_when_deletions_are_off(endpoint):
    play = scene(endpoint, items(3), [*items(2), item("extra")])
    report = await play.repair(delete_extraneous=False)
    assert endpoint.count("DeleteItem") == 0
    assert "extra" in play.replica.items
    assert (report.repaired, report.skipped, report.remaining) == (1, 1, 1)
    assert play.log.records[key("extra")].reason == "Deletions are turned off."


async def test_a_dry_run_writes_nothing_and_tells_what_it_would_repair(endpoint):
    play = scene(endpoint, [item("b"), item("c", v=1)], [item("c", v=2), item("d")])
    report = await play.repair(rules=Rules(dry_run=True, max_delete=9))
    assert play.writes() == []
    assert {found.kind for found in play.log.records.values()} == {"missing", "different", "extraneous"}
    assert {found.state for found in play.log.records.values()} == {State.FOUND}
    assert (report.drift, report.repaired, report.remaining, report.write_units) == (3, 0, 3, 0)


# What is refused


async def test_a_table_is_not_repaired_from_itself(endpoint):
    play = scene(endpoint, items(3), items(3))
    async with play.open() as (primary, _):
        with pytest.raises(UsageError, match="are the same table"):
            await repair(primary, primary)
    assert play.writes() == []


async def test_a_table_under_another_name_of_its_host_is_still_itself(endpoint):
    play = scene(endpoint, items(3), items(2))
    play.primary.description["TableId"] = "11111111-2222-3333-4444-555555555555"
    port = endpoint.url.rpartition(":")[2]
    places = (f"127.0.0.1:{port}/{NAME}", f"localhost:{port}/{NAME}")
    async with opened(*places, endpoint.url, play.clock) as tables:
        with pytest.raises(UsageError, match="are the same table"):
            await repair(*tables)
    assert play.writes() == []


async def test_a_member_of_the_primary_s_global_table_is_refused_unless_forced(endpoint):
    play = scene(endpoint, items(3), items(2))
    play.replica.description["Replicas"] = [{"RegionName": PRIMARY, "ReplicaStatus": "ACTIVE"}]
    with pytest.raises(UsageError, match="global table"):
        await play.repair()
    assert play.writes() == []
    report = await play.repair(rules=Rules(force=True))
    assert report.repaired == 1


async def test_a_member_of_a_global_table_of_2017_is_refused_unless_forced(endpoint):
    play = scene(endpoint, items(3), items(2))
    play.replica.global_regions = [PRIMARY, REPLICA]
    with pytest.raises(UsageError, match="global table"):
        await play.repair()
    assert play.writes() == []
    report = await play.repair(rules=Rules(force=True))
    assert report.repaired == 1


@pytest.mark.parametrize("fault", ["throttle", "server error"])
async def test_failing_to_ask_for_a_moment_does_not_let_a_global_table_through(endpoint, fault):
    play = scene(endpoint, items(3), items(2))
    play.replica.global_regions = [PRIMARY, REPLICA]
    statement = endpoint.on("DescribeGlobalTable", times=2)
    if fault == "throttle":
        statement.throttle()
    else:
        statement.error("InternalServerError", 500)
    with pytest.raises(UsageError, match="global table"):
        await play.repair()
    assert play.writes() == []


async def test_an_endpoint_without_global_tables_can_be_repaired(endpoint):
    play = scene(endpoint, items(3), items(2))
    endpoint.on("DescribeGlobalTable", times=None).error("UnknownOperationException")
    report = await play.repair()
    assert report.repaired == 1


async def test_different_keys_are_refused_before_anything_is_read(endpoint):
    play = scene(endpoint, items(3))
    endpoint.create_table(NAME, REPLICA, hash=("id", "N"))
    with pytest.raises(UsageError, match="different keys"):
        await play.repair()
    assert endpoint.count("Scan") == 0


# What cannot be written


async def test_a_record_the_replica_refuses_fails_and_its_neighbours_are_repaired(endpoint):
    play = scene(endpoint, items(30, v=1), items(10, v=2))
    poison = item("k015")["id"]
    endpoint.on("PutItem", times=None, when=lambda body: body["Item"]["id"] == poison).error(
        "ValidationException", message="One or more parameter values were invalid"
    )
    report = await play.repair()
    assert (report.drift, report.repaired, report.failed, report.remaining) == (30, 29, 1, 1)
    found = play.log.records[key("k015")]
    assert found.state is State.FAILED
    assert "ValidationException: One or more parameter values were invalid" in (found.reason or "")
    assert play.replica.items.keys() == play.primary.items.keys() - {"k015"}


async def test_a_record_whose_write_is_throttled_for_good_fails_and_its_neighbours_are_repaired(endpoint):
    play = scene(endpoint, items(5), [])
    play.retry = RetryPolicy(attempts=3, patience=1.0)
    hot = item("k003")["id"]
    endpoint.on("PutItem", times=None, when=lambda body: body["Item"]["id"] == hot).throttle()
    report = await play.repair()
    assert (report.repaired, report.failed) == (4, 1)
    assert "throttled" in (play.log.records[key("k003")].reason or "")
    tries = [call for call in endpoint.requests("PutItem") if call.body["Item"]["id"] == hot]
    assert report.throttled == len(tries) > 1


@pytest.mark.parametrize("operation", ["PutItem", "UpdateItem", "DeleteItem"])
async def test_a_permission_lost_in_the_middle_makes_the_run_incomplete(endpoint, operation):
    play = scene(
        endpoint,
        [*items(30, v=1), item("m0"), item("m1")],
        [*items(28, v=1), *items(3, v=2)[:2], item("x0"), item("x1")],
    )
    endpoint.on(operation, times=None).error("AccessDeniedException")
    with pytest.raises(IncompleteRunError) as caught:
        await play.repair()
    assert isinstance(caught.value.__cause__, PermissionDeniedError)
    assert not caught.value.report.complete
    if operation != "DeleteItem":
        assert endpoint.count("DeleteItem") == 0


# What is large


@pytest.mark.parametrize("differing", [100, 101, 149, 150, 299, 300, 301, 600])
async def test_any_number_of_differing_attributes_is_repaired(endpoint, differing):
    ours = {f"attribute {number:04}": number for number in range(differing)}
    play = scene(endpoint, [item(**ours)], [item(**dict.fromkeys(ours, "old"))])
    report = await play.repair()
    assert (report.repaired, report.failed) == (1, 0)
    assert play.converged
    assert play.log.records[key()].reason is None
    assert play.writes() == ["UpdateItem"] * math.ceil(differing / 100)


async def test_an_extraneous_item_of_400_attributes_is_deleted_with_a_caveat(endpoint):
    play = scene(
        endpoint, items(2), [*items(2), item("extra", **{f"a{number}": number for number in range(400)})]
    )
    report = await play.repair()
    assert report.repaired == 1
    assert "of 4" in (play.log.records[key("extra")].reason or "")


async def test_few_differences_among_400_attributes_are_patched(endpoint):
    many = {f"a{number}": number for number in range(400)}
    play = scene(endpoint, [item(**many)], [item(**many | {"a7": "old"})])
    await play.repair()
    assert play.writes() == ["UpdateItem"]
    assert play.log.records[key()].reason is None


async def test_values_and_names_of_25_000_bytes_are_patched(endpoint):
    def large(letter) -> Item:
        values = {f"value {number}": letter * 25_000 for number in range(7)}
        return item(**values, **{letter * 25_000 + str(number): 1 for number in range(6)})

    play = scene(endpoint, [large("x")], [large("y")])
    report = await play.repair()
    assert report.repaired == 1
    assert play.converged
    assert play.writes() == ["UpdateItem"]


async def test_an_item_of_390_kb_is_put_patched_and_deleted(endpoint):
    play = scene(
        endpoint,
        [item("missing", v="x" * 390_000), item("different", v="x" * 390_000), item("same")],
        [item("different", v="\x01" * 390_000), item("extra", v="x" * 390_000), item("same")],
    )
    report = await play.repair(rules=ALL)
    assert report.repaired == 3
    assert play.converged


async def test_more_differences_than_fit_in_one_answer_are_repaired(endpoint):
    # 60 items of 300 KB: more than the 16 MB of one BatchGetItem.
    play = scene(endpoint, items(60, v="x" * 300_000), items(60, v="y" * 10), ttl=None)
    report = await play.repair(limits=LIMITS)
    assert report.repaired == 60
    assert play.converged
