"""One record is compared attribute by attribute, and brought in line under the same guards as a table."""

from __future__ import annotations

import pytest

from asyncrep import (
    Comparison,
    Different,
    Extraneous,
    Missing,
    PermissionDeniedError,
    State,
    UsageError,
    VirtualClock,
    diff_record,
    replicate_record,
)
from tests.support.engines import REGION
from tests.support.scenario import (
    PRIMARY,
    REPLICA,
    decoded,
    item,
    items,
    key,
    opened,
    scene,
    strong,
    wire,
)

STILL = Comparison(settle=0)


async def compared(play, id="a", **options):
    async with play.open() as (primary, replica):
        return await diff_record(primary, replica, key(id), clock=play.clock, **options)


async def replicated(play, id="a", **options):
    async with play.open() as (primary, replica):
        return await replicate_record(primary, replica, key(id), clock=play.clock, **options)


# On every engine


async def test_a_record_is_compared_attribute_by_attribute(engine):
    primary = engine.create_table(items=[item(v=1, w="x", l=[1], more=None)])
    replica = engine.create_table(items=[item(v=2, w="x", l=[1], less=True)])
    clock = VirtualClock()
    async with opened(f"{REGION}/{primary}", f"{REGION}/{replica}", engine.url, clock) as tables:
        found = await diff_record(*tables, tables[0].keys.parse('{"id":"a"}'), clock=clock)
    assert isinstance(found.discrepancy, Different)
    assert [(each.name, each.equal) for each in found.attributes] == [
        ("id", True),
        ("l", True),
        ("less", False),
        ("more", False),
        ("v", False),
        ("w", True),
    ]
    pairs = {each.name: (each.primary, each.replica) for each in found.attributes}
    assert pairs["v"] == (wire(1), wire(2))
    assert pairs["less"] == (None, wire(True))
    assert pairs["more"] == (wire(None), None)


@pytest.mark.parametrize("keys", [{"hash": ("id", "N")}, {"hash": ("id", "B")}], ids=["N", "B"])
async def test_a_record_with_another_type_of_key_is_replicated_and_deleted(engine, keys):
    name, typed = (123, '{"id":123.0}') if keys["hash"][1] == "N" else (b"\xff\x00", '{"id":"/wA="}')
    primary = engine.create_table(items=[item(name, v=1)], **keys)
    replica = engine.create_table(**keys)
    clock = VirtualClock()
    async with opened(f"{REGION}/{primary}", f"{REGION}/{replica}", engine.url, clock) as tables:
        record = tables[0].keys.parse(typed)
        done = await replicate_record(*tables, record, comparison=STILL, clock=clock)
        assert isinstance(done, Missing)
        assert done.state is State.REPAIRED
        assert engine.items(replica) == [item(name, v=1)]
        engine.delete(primary, [item(name)])
        done = await replicate_record(*tables, record, comparison=STILL, clock=clock)
        assert isinstance(done, Extraneous)
        assert done.state is State.REPAIRED
        assert engine.items(replica) == []
        assert await replicate_record(*tables, record, comparison=STILL, clock=clock) is None


# diff_record


async def test_equal_records_have_no_discrepancy(endpoint):
    play = scene(endpoint, [item(v=1)], [item(v=1)])
    found = await compared(play)
    assert found.discrepancy is None
    assert found.exists
    assert [each.name for each in found.attributes] == ["id", "v"]


async def test_a_record_on_neither_side_does_not_exist(endpoint):
    found = await compared(scene(endpoint), "nobody")
    assert found.discrepancy is None
    assert not found.exists


@pytest.mark.parametrize(
    ("ours", "theirs", "kind"), [([item(v=1)], [], Missing), ([], [item(v=1)], Extraneous)]
)
async def test_a_record_on_one_side_only_is_told(endpoint, ours, theirs, kind):
    found = await compared(scene(endpoint, ours, theirs))
    assert isinstance(found.discrepancy, kind)
    assert not any(each.equal for each in found.attributes)


async def test_what_is_ignored_is_shown_as_each_side_has_it(endpoint):
    system = "aws:rep:updatetime"
    play = scene(endpoint, [item(v=1, seen=1, **{system: 1})], [item(v=1, seen=2, mine=3)])
    found = await compared(play, comparison=Comparison(frozenset({"seen", "mine"})))
    assert found.discrepancy is None
    shown = {each.name: (each.primary, each.replica, each.compared, each.equal) for each in found.attributes}
    assert shown["v"] == (wire(1), wire(1), True, True)
    assert shown["seen"] == (wire(1), wire(2), False, False)
    assert shown["mine"] == (None, wire(3), False, False)
    assert shown[system] == (wire(1), None, False, False)


async def test_ignored_attributes_of_a_different_record_are_marked_so(endpoint):
    play = scene(endpoint, [item(v=1, seen=1)], [item(v=2, seen=2)])
    found = await compared(play, comparison=Comparison(frozenset({"seen"})))
    assert {each.name: each.compared for each in found.attributes} == {"id": True, "v": True, "seen": False}


async def test_a_replica_that_catches_up_while_it_is_given_time_is_equal(endpoint):
    play = scene(endpoint, [item(v=2)], [item(v=1)])
    endpoint.before("BatchGetItem", lambda _: play.replica.put(item(v=2)), **strong(REPLICA))
    assert (await compared(play)).discrepancy is None


async def test_a_record_that_never_stops_changing_is_in_flight(endpoint):
    play = scene(endpoint, [item(v=1)], [item(v=0)])
    counter = iter(range(2, 100))
    endpoint.before(
        "BatchGetItem", lambda _: play.primary.put(item(v=next(counter))), times=None, **strong(REPLICA)
    )
    found = await compared(play)
    assert found.discrepancy is not None
    assert found.discrepancy.state is State.IN_FLIGHT


async def test_a_record_diff_writes_nothing(endpoint):
    play = scene(endpoint, [item(v=1)], [item(v=0)])
    await compared(play)
    assert play.writes() == []
    assert endpoint.count("Scan") == 0


# replicate_record


@pytest.mark.parametrize(
    ("ours", "theirs", "operation"),
    [
        ([item(v=1)], [], "PutItem"),
        ([item(v=1)], [item(v=2, mine=1)], "UpdateItem"),
        ([], [item(v=2)], "DeleteItem"),
    ],
    ids=["put", "patch", "delete"],
)
async def test_one_record_is_brought_in_line_and_no_other(endpoint, ours, theirs, operation):
    play = scene(endpoint, [*ours, item("other", v=1)], [*theirs, item("other", v=2)])
    done = await replicated(play)
    assert done is not None
    assert done.state is State.REPAIRED
    assert play.writes() == [operation]
    assert play.replica.items.get("a") == play.primary.items.get("a")
    assert play.replica.items["other"] == item("other", v=2)


async def test_a_record_that_agrees_is_not_written(endpoint):
    play = scene(endpoint, [item(v=1)], [item(v=1)])
    assert await replicated(play) is None
    assert play.writes() == []


async def test_ignored_attributes_survive(endpoint):
    play = scene(endpoint, [item(v=1, seen=1)], [item(v=2, seen=2)])
    await replicated(play, comparison=Comparison(frozenset({"seen"})))
    assert play.replica.items["a"] == item(v=1, seen=2)


async def test_the_only_item_of_a_replica_may_be_deleted_by_name(endpoint):
    play = scene(endpoint, items(3), [item()])
    done = await replicated(play)
    assert isinstance(done, Extraneous)
    assert play.replica.items == {}


async def test_a_primary_deleted_while_its_record_is_patched_is_deleted_from_the_replica(endpoint):
    play = scene(endpoint, [item(v=1)], [item(v=2)])
    endpoint.before("UpdateItem", lambda _: play.primary.delete("a"))
    done = await replicated(play)
    assert done is not None
    assert done.state is State.REPAIRED
    assert play.replica.items == {}
    assert play.writes() == ["UpdateItem", "DeleteItem"]


async def test_a_primary_that_moves_after_the_write_means_another_round(endpoint):
    play = scene(endpoint, [item(v=1)], [item(v=0)])
    endpoint.after("UpdateItem", lambda _: play.primary.put(item(v=2)))
    done = await replicated(play)
    assert done is not None
    assert done.state is State.REPAIRED
    assert play.replica.items["a"] == item(v=2)


async def test_a_record_somebody_changes_meanwhile_is_confirmed_again(endpoint):
    play = scene(endpoint, [item(v=1)], [item(v=0)])
    endpoint.before("UpdateItem", lambda _: play.replica.put(item(v="theirs", added=1)))
    done = await replicated(play)
    assert done is not None
    assert done.state is State.REPAIRED
    assert endpoint.count("UpdateItem") == 2
    assert play.replica.items["a"] == item(v=1)


async def test_a_record_somebody_keeps_changing_is_contested(endpoint):
    play = scene(endpoint, [item(v=1)], [item(v=0)])
    counter = iter(range(2, 100))
    endpoint.before("UpdateItem", lambda _: play.replica.put(item(v=next(counter))), times=None)
    done = await replicated(play)
    assert done is not None
    assert done.state is State.CONTESTED
    assert decoded(done.primary) == item(v=1)
    assert play.replica.items["a"] == item(v=next(counter) - 1)


async def test_a_write_that_landed_without_an_answer_is_repaired(endpoint):
    play = scene(endpoint, [item(v=1)], [item(v=0)])
    endpoint.on("UpdateItem").hang_up(landed=True)
    done = await replicated(play)
    assert done is not None
    assert done.state is State.REPAIRED


async def test_a_record_the_replica_refuses_fails_with_the_reason(endpoint):
    play = scene(endpoint, [item(v=1)], [])
    endpoint.on("PutItem", times=None).error("ValidationException", message="No such thing")
    done = await replicated(play)
    assert done is not None
    assert done.state is State.FAILED
    assert "No such thing" in (done.reason or "")


async def test_an_expired_record_is_left_alone(endpoint):
    play = scene(endpoint, [], [], ttl="until")
    play.primary.put(item(until=int(play.clock.now()) - 60))
    done = await replicated(play)
    assert done is not None
    assert done.state is State.EXPIRED
    assert play.writes() == []


async def test_a_missing_permission_is_an_error(endpoint):
    play = scene(endpoint, [item(v=1)], [])
    endpoint.on("PutItem").error("AccessDeniedException")
    with pytest.raises(PermissionDeniedError):
        await replicated(play)


async def test_a_record_is_refused_where_a_repair_is(endpoint):
    play = scene(endpoint, [item(v=1)], [])
    play.replica.description["Replicas"] = [{"RegionName": PRIMARY}]
    with pytest.raises(UsageError, match="global table"):
        await replicated(play)
    async with play.open() as (primary, _):
        with pytest.raises(UsageError, match="the same table"):
            await replicate_record(primary, primary, key())
    assert play.writes() == []
    assert await replicated(play, force=True) is not None
