"""A repair among other writers, faults and limits: nothing unread is overwritten, every claim was checked."""

from __future__ import annotations

import math

import pytest

from asyncrep import (
    Comparison,
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
from tests.support.scenario import LIMITS, NAME, PRIMARY, REPLICA, item, items, key, opened, scene
from tests.support.values import Item, equal

pytestmark = pytest.mark.usefixtures("strategy")


ALL = Rules(max_delete=1000)


def strong(region):
    """The strongly consistent reads of one side."""
    return {"region": region, "when": lambda body: body["RequestItems"][NAME]["ConsistentRead"]}


def change(table, id="a", **attributes) -> None:
    """Set attributes of an item that is there, as another writer's UpdateItem would."""
    table.put({**table.items[id], **item(id, **attributes)})


def strong_reads(endpoint, region):
    return sum(
        call.body["RequestItems"][NAME]["ConsistentRead"]
        for call in endpoint.requests("BatchGetItem", region=region)
    )


# What is written


async def test_a_patch_touches_only_the_attributes_that_differ(endpoint):
    play = scene(endpoint, [item(v=1, w=1, more=1)], [item(v=1, w=2, less=2)])
    report = await play.repair()
    (update,) = endpoint.requests("UpdateItem")
    named = set(update.body["ExpressionAttributeNames"].values())
    assert named == {"id", "w", "more", "less"}
    assert play.writes() == ["UpdateItem"]
    assert play.converged
    assert report.repaired == 1


async def test_every_write_is_conditional_and_asks_for_the_old_image(endpoint):
    play = scene(endpoint, [item("b"), item("c", v=1)], [item("c", v=2), item("d"), item("e")])
    await play.repair(rules=ALL)
    assert sorted(play.writes()) == ["DeleteItem", "DeleteItem", "PutItem", "UpdateItem"]
    for operation in ("PutItem", "UpdateItem", "DeleteItem"):
        for call in endpoint.requests(operation):
            assert call.region == REPLICA
            assert call.body["ConditionExpression"]
            assert call.body["ReturnValues"] == "ALL_OLD"


async def test_a_record_is_repaired_once_the_primary_was_read_again_after_the_write(endpoint):
    play = scene(endpoint, [item(v=1)], [item(v=2)])
    await play.repair()
    order = [call.operation for call in endpoint.calls if call.operation in ("BatchGetItem", "UpdateItem")]
    assert order[order.index("UpdateItem") + 1] == "BatchGetItem"
    assert strong_reads(endpoint, PRIMARY) == 3


async def test_system_attributes_are_neither_copied_nor_removed(endpoint):
    system = {"aws:rep:updatetime": {"N": "1"}}
    play = scene(endpoint, [item("a", v=1) | system, item("b", v=1) | system], [item("a", v=2)])
    report = await play.repair()
    assert report.repaired == 2
    assert play.replica.items == {"a": item("a", v=1), "b": item("b", v=1)}


async def test_system_attributes_of_the_replica_survive_even_when_all_others_change(endpoint):
    system = {"aws:rep:updatetime": {"N": "1"}}
    many = {f"a{number}": 1 for number in range(400)}
    play = scene(endpoint, [item(**many)], [item(**dict.fromkeys(many, 2)) | system])
    await play.repair()
    assert play.replica.items["a"] == item(**many) | system


async def test_ignored_attributes_survive_even_when_all_others_change(endpoint):
    many = {f"a{number}": 1 for number in range(400)}
    play = scene(endpoint, [item(**many, seen=1)], [item(**dict.fromkeys(many, 2), seen=2)])
    await play.repair(comparison=Comparison(frozenset({"seen"})))
    assert equal(play.replica.items["a"], item(**many, seen=2))


# Other writers on the replica


async def test_an_attribute_added_to_the_replica_before_the_write_survives(endpoint):
    play = scene(endpoint, [item(v=1)], [item(v=2)])
    endpoint.before("UpdateItem", lambda _: change(play.replica, added="by somebody"))
    report = await play.repair()
    assert play.replica.items["a"] == item(v=1, added="by somebody")
    assert report.repaired == 1


async def test_an_attribute_added_before_one_of_many_patches_survives_and_is_told(endpoint):
    many = {f"a{number}": 1 for number in range(400)}
    play = scene(endpoint, [item(**many)], [item(**dict.fromkeys(many, 2))])
    endpoint.before("UpdateItem", lambda _: change(play.replica, added="by somebody"))
    report = await play.repair()
    assert report.repaired == 1
    assert play.replica.items["a"] == item(**many, added="by somebody")
    reason = play.log.records[key()].reason or ""
    assert "Meanwhile somebody changed other attributes" in reason
    assert reason.endswith(": added.")
    assert play.writes() == ["UpdateItem"] * 4


async def test_an_attribute_of_a_later_patch_that_changed_meanwhile_is_not_overwritten_unseen(endpoint):
    many = {f"a{number}": 1 for number in range(400)}
    play = scene(endpoint, [item(**many)], [item(**dict.fromkeys(many, 2))])
    endpoint.before("UpdateItem", lambda _: change(play.replica, a399="by somebody"))
    report = await play.repair()
    assert report.repaired == 1
    assert play.converged
    # The patch that holds it is refused; the record is confirmed again, and what is left is patched.
    values = [
        call.body.get("ExpressionAttributeValues", {}).values() for call in endpoint.requests("UpdateItem")
    ]
    guarded = [{"S": "by somebody"} in each for each in values]
    assert guarded == [False] * (len(values) - 1) + [True]
    assert len(values) > 4
    assert endpoint.count("PutItem") == 0


async def test_an_item_changed_by_somebody_is_confirmed_again_and_then_repaired(endpoint):
    play = scene(endpoint, [item(v=1)], [item(v=2)])
    endpoint.before("UpdateItem", lambda _: change(play.replica, v=3))
    report = await play.repair()
    assert play.converged
    assert report.repaired == 1
    assert endpoint.count("UpdateItem") == 2
    assert strong_reads(endpoint, REPLICA) == 2


async def test_an_item_somebody_keeps_changing_is_contested_and_keeps_their_value(endpoint):
    play = scene(endpoint, [item(v=1), item("b", v=1)], [item(v=2), item("b", v=2)])
    counter = iter(range(3, 100))
    mine = {"when": lambda body: body["Key"] == item()}
    endpoint.before("UpdateItem", lambda _: change(play.replica, v=next(counter)), times=None, **mine)
    report = await play.repair()
    found = play.log.records[key()]
    assert found.state is State.CONTESTED
    assert "Somebody else" in (found.reason or "")
    assert play.replica.items["a"] == item(v=next(counter) - 1)
    assert play.replica.items["b"] == item("b", v=1)
    assert (report.different, report.repaired, report.contested, report.remaining) == (2, 1, 1, 1)
    assert report.complete


async def test_an_item_somebody_put_where_one_was_missing_is_not_overwritten_unread(endpoint):
    play = scene(endpoint, [item(v=1, w=1)], [])
    endpoint.before("PutItem", lambda _: play.replica.put(item(v=9, w=1)))
    report = await play.repair()
    assert play.writes() == ["PutItem", "UpdateItem"]
    assert play.converged
    assert (report.missing, report.different, report.repaired) == (1, 0, 1)


async def test_an_item_somebody_deleted_before_it_was_patched_is_put(endpoint):
    play = scene(endpoint, [item(v=1)], [item(v=2)])
    endpoint.before("UpdateItem", lambda _: play.replica.delete("a"))
    report = await play.repair()
    assert play.writes() == ["UpdateItem", "PutItem"]
    assert play.converged
    assert (report.different, report.missing, report.repaired) == (1, 0, 1)


async def test_a_failed_condition_on_what_is_equal_by_now_is_a_repaired_record(endpoint):
    play = scene(endpoint, [item(v=1)], [item(v=2)])
    endpoint.before("UpdateItem", lambda _: change(play.replica, v=1))
    report = await play.repair()
    assert play.writes() == ["UpdateItem"]
    assert (report.repaired, report.contested) == (1, 0)


async def test_an_extraneous_item_changed_before_its_deletion_is_confirmed_again(endpoint):
    play = scene(endpoint, items(3), [*items(3), item("extra", v=1)])
    endpoint.before("DeleteItem", lambda _: change(play.replica, "extra", v=2))
    report = await play.repair()
    assert play.writes() == ["DeleteItem", "DeleteItem"]
    assert play.converged
    assert report.repaired == 1


async def test_attributes_a_deleted_item_had_gained_are_told(endpoint):
    play = scene(endpoint, items(3), [*items(3), item("extra", v=1)])
    endpoint.before("DeleteItem", lambda _: change(play.replica, "extra", gained=1))
    await play.repair()
    assert "gained attributes since it was read: gained" in (play.log.records[key("extra")].reason or "")


async def test_attributes_a_deleted_item_had_gained_are_told_when_the_primary_moves_too(endpoint):
    play = scene(endpoint, items(3), [*items(3), item("extra", v=1)])
    endpoint.before("DeleteItem", lambda _: change(play.replica, "extra", gained=1))
    endpoint.after("DeleteItem", lambda _: play.primary.put(item("extra", v=2)))
    await play.repair()
    assert play.converged
    assert "gained" in (play.log.records[key("extra")].reason or "")


# The primary moves


async def test_a_primary_that_moved_after_the_write_means_another_round(endpoint):
    play = scene(endpoint, [item(v=1)], [item(v=0)])
    endpoint.after("UpdateItem", lambda _: play.primary.put(item(v=2)))
    report = await play.repair()
    assert endpoint.count("UpdateItem") == 2
    assert play.replica.items["a"] == item(v=2)
    assert (report.different, report.repaired) == (1, 1)


async def test_a_primary_that_moves_after_every_write_is_contested(endpoint):
    play = scene(endpoint, [item(v=1)], [item(v=0)])
    counter = iter(range(2, 100))
    endpoint.after("UpdateItem", lambda _: play.primary.put(item(v=next(counter))), times=None)
    report = await play.repair()
    assert (report.repaired, report.contested) == (0, 1)
    assert next(counter) < 10, "the rounds are bounded"


async def test_a_missing_item_deleted_from_the_primary_after_it_was_put_is_deleted_again(endpoint):
    play = scene(endpoint, items(4), items(3))
    endpoint.after("PutItem", lambda _: play.primary.delete("k003"))
    report = await play.repair()
    assert play.converged
    assert play.writes() == ["PutItem", "DeleteItem"]
    assert report.compared == 4, "the pair was counted once"


async def test_a_different_item_deleted_from_the_primary_while_it_is_patched_is_deleted(endpoint):
    play = scene(endpoint, items(4, v=1), [*items(3, v=1), item("k003", v=2)])
    endpoint.before("UpdateItem", lambda _: play.primary.delete("k003"))
    await play.repair()
    assert play.converged
    assert play.writes() == ["UpdateItem", "DeleteItem"]


async def test_a_different_item_deleted_from_the_primary_while_it_is_patched_is_told_and_counted_once(
    endpoint,
):
    play = scene(endpoint, items(4, v=1), [*items(3, v=1), item("k003", v=2)])
    endpoint.before("UpdateItem", lambda _: play.primary.delete("k003"))
    report = await play.repair()
    assert play.log.records
    assert report.compared == 4


async def test_what_the_primary_lost_meanwhile_stays_when_deletions_are_off(endpoint):
    play = scene(endpoint, items(4, v=1), [*items(3, v=1), item("k003", v=2)])
    endpoint.before("UpdateItem", lambda _: play.primary.delete("k003"))
    await play.repair(rules=Rules(delete_extraneous=False))
    assert "DeleteItem" not in play.writes()
    assert "k003" in play.replica.items


async def test_an_extraneous_item_the_primary_gets_before_the_deletions_is_kept(endpoint):
    play = scene(endpoint, items(3), [*items(3), item("extra", v=1)])
    # The strong reads of the replica's walk come first, those before the deletion after it.
    endpoint.before(
        "BatchGetItem", lambda _: play.primary.put(item("extra", v=1)), after=2, **strong(PRIMARY)
    )
    report = await play.repair()
    assert play.writes() == []
    assert play.converged
    assert (report.extraneous, report.settled) == (0, 1)


async def test_an_extraneous_item_the_primary_gets_after_its_deletion_is_put_back(endpoint):
    play = scene(endpoint, items(3), [*items(3), item("extra", v=1)])
    endpoint.after("DeleteItem", lambda _: play.primary.put(item("extra", v=2)))
    report = await play.repair()
    assert play.writes() == ["DeleteItem", "PutItem"]
    assert play.converged
    assert (report.extraneous, report.repaired) == (1, 1)


async def test_what_ttl_has_given_up_is_neither_resurrected_nor_deleted(endpoint):
    play = scene(endpoint, items(3), items(3), ttl="until")
    past = int(play.clock.now()) - 60
    play.primary.put(item("gone there", until=past))
    play.replica.put(item("gone here", until=past))
    report = await play.repair(rules=ALL)
    assert play.writes() == []
    assert (report.expired, report.drift) == (2, 0)


# Answers that get lost


@pytest.mark.parametrize("lost", ["reset", "hung up", "server error"])
@pytest.mark.parametrize("operation", ["PutItem", "UpdateItem", "DeleteItem"])
async def test_a_write_that_landed_without_an_answer_is_repaired(endpoint, operation, lost):
    play = scene(
        endpoint,
        [*items(3), item("different", v=1), item("missing")],
        [*items(3), item("different", v=2), item("extra")],
    )
    statement = endpoint.on(operation)
    match lost:
        case "reset":
            statement.land_then_reset()
        case "hung up":
            statement.hang_up(landed=True)
        case _:
            statement.error("InternalServerError", 500, landed=True)
    report = await play.repair()
    assert play.converged
    assert (report.drift, report.repaired, report.failed) == (3, 3, 0)
    assert endpoint.count(operation) == 2


async def test_a_primary_that_cannot_be_read_after_the_write_makes_the_run_incomplete(endpoint):
    play = scene(endpoint, [item(v=1)], [item(v=2)])
    endpoint.on("BatchGetItem", after=2, **strong(PRIMARY)).error("AccessDeniedException")
    with pytest.raises(IncompleteRunError) as caught:
        await play.repair()
    assert caught.value.report.repaired == 0, "a write that nobody verified is not called repaired"


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
