"""A repair among other writers, faults and limits: nothing unread is overwritten, every claim was checked."""

from __future__ import annotations

import pytest

from asyncrep import (
    Comparison,
    IncompleteRunError,
    Rules,
    State,
)
from tests.support.scenario import (
    NAME,
    PRIMARY,
    REPLICA,
    change,
    item,
    items,
    key,
    scene,
    strong,
)
from tests.support.values import equal

pytestmark = pytest.mark.usefixtures("strategy")


ALL = Rules(max_delete=1000)


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
