"""What is not as it was reviewed is left alone, whoever changed it and whenever."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import pytest

from asyncrep import Comparison, State, VirtualClock
from asyncrep.cli.output import json_line
from tests.support.scenario import PRIMARY, change, item, key, scene, strong
from tests.support.stored import applied, drifted, lines_of
from tests.support.strategies import respell

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "d.jsonl"


# What is stale


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda play: change(play.primary, v=3), "The primary's item changed since: attribute v."),
        (lambda play: change(play.replica, v=3), "The replica's item changed since: attribute v."),
        (lambda play: change(play.replica, w=3, u=1), "The replica's item changed since: attributes w, u."),
        (lambda play: play.primary.delete("a"), "The primary has lost the item since."),
        (lambda play: play.replica.delete("a"), "The replica has lost the item since."),
        (lambda play: change(play.replica, v=1), "The sides agree by now."),
        (
            lambda play: [table.items.pop("a") for table in (play.primary, play.replica)],
            "The sides agree by now.",
        ),
    ],
)
async def test_a_different_record_that_changed_since_is_left_alone(endpoint, path, prepare, reason):
    play = scene(endpoint, [item(v=1)], [item(v=2)])
    lines = await lines_of(play)
    prepare(play)
    before = dict(play.replica.items)
    report = await applied(play, path, lines)
    assert play.writes() == []
    assert play.replica.items == before
    [found] = play.log.records.values()
    assert (found.state, found.reason) == (State.CHANGED, reason)
    assert (report.changed, report.skipped, report.repaired) == (1, 0, 0)
    assert report.remaining == (0 if "agree" in reason else 1)


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda play: change(play.primary, v=3), "The primary's item changed since: attribute v."),
        (lambda play: play.primary.delete("a"), "The sides agree by now."),
        (lambda play: play.replica.put(item(v=2)), "The replica has got an item since."),
        (lambda play: play.replica.put(item(v=1)), "The sides agree by now."),
    ],
)
async def test_a_missing_record_that_changed_since_is_left_alone(endpoint, path, prepare, reason):
    play = scene(endpoint, [item(v=1)], [])
    lines = await lines_of(play)
    prepare(play)
    await applied(play, path, lines)
    assert play.writes() == []
    assert play.log.records[key()].reason == reason


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda play: change(play.replica, v=3), "The replica's item changed since: attribute v."),
        (lambda play: play.primary.put(item(v=3)), "The primary has got an item since."),
        (lambda play: play.replica.delete("a"), "The sides agree by now."),
    ],
)
async def test_an_extraneous_record_that_changed_since_is_not_deleted(endpoint, path, prepare, reason):
    play = scene(endpoint, [], [item(v=1)])
    lines = await lines_of(play)
    prepare(play)
    await applied(play, path, lines)
    assert play.writes() == []
    assert play.log.records[key()].reason == reason


async def test_what_changed_is_told_as_it_is_now_so_that_it_can_be_reviewed_again(endpoint, path):
    play = scene(endpoint, [item(v=1)], [item(v=2)])
    lines = await lines_of(play)
    change(play.primary, v=3)
    await applied(play, path, lines)
    again = [json_line(each) for each in play.log.records.values()]
    report = await applied(play, path, again)
    assert (report.repaired, play.converged) == (1, True)


async def test_an_edited_image_is_never_written(endpoint, path):
    play = scene(endpoint, [item(v=1)], [item(v=2)])
    [line] = await lines_of(play)
    report = await applied(
        play,
        path,
        [line.replace(b'"primary":{"id":{"S":"a"},"v":{"N":"1"', b'"primary":{"id":{"S":"a"},"v":{"N":"7"')],
    )
    assert play.writes() == []
    assert report.changed == 1


async def test_attributes_that_are_ignored_may_have_changed(endpoint, path):
    play = scene(endpoint, [item(v=1, seen=1)], [item(v=2, seen=2)])
    lines = await lines_of(play)
    change(play.primary, seen=3)
    change(play.replica, seen=4)
    report = await applied(play, path, lines, comparison=Comparison(frozenset({"seen"})))
    assert report.repaired == 1
    assert play.replica.items["a"] == item(v=1, seen=4)


async def test_items_are_compared_by_value_and_not_by_spelling(endpoint, path):
    play = scene(endpoint, [item(v=1, w={"a", "b"}, z=[1, {"m": b"x"}])], [item(v=2)])
    [line] = await lines_of(play)
    source = random.Random(5)
    entry = json.loads(line)
    spelled = b'{"reason":null,"replica":%b , "primary":%b,"key":%b,"cause":[1],"kind":"different"}\r\n' % (
        respell(entry["replica"], source).replace(b"\n", b" "),
        respell(entry["primary"], source).replace(b"\n", b" "),
        respell(entry["key"], source).replace(b"\n", b" "),
    )
    report = await applied(play, path, [b"\xef\xbb\xbf \n\n", spelled, b"\n \t\r\n"])
    assert (report.repaired, play.converged) == (1, True)


async def test_a_key_may_be_spelled_in_another_way(endpoint, path):
    play = scene(
        endpoint,
        [{"id": {"N": "10"}, "v": {"S": "\u2028"}}],
        [{"id": {"N": "10"}}],
        hash=("id", "N"),
    )
    [line] = [line.replace(rb"\u2028", "\u2028".encode()) for line in await lines_of(play)]  # as jq writes it
    assert "\u2028".encode() in line
    for spelled in (b'{"id":{"N":"1.0E1"}}', b'{ "id" : 10.0 }'):
        play.replica.put({"id": {"N": "10"}})
        report = await applied(play, path, [line.replace(b'"key":{"id":{"N":"10"}}', b'"key":' + spelled)])
        assert (report.repaired, play.converged) == (1, True)


# Races while it is applied


async def test_a_replica_that_changes_before_the_write_is_left_alone(endpoint, path):
    play = scene(endpoint, [item(v=1)], [item(v=2)])
    lines = await lines_of(play)
    endpoint.before("UpdateItem", lambda _: change(play.replica, v=3))
    report = await applied(play, path, lines)
    assert play.replica.items["a"] == item(v=3)
    assert endpoint.count("UpdateItem") == 1
    assert report.changed == report.remaining == 1
    assert play.log.records[key()].reason == "The replica's item changed since: attribute v."


async def test_a_replica_that_gets_the_item_before_the_put_is_left_alone(endpoint, path):
    play = scene(endpoint, [item(v=1)], [])
    lines = await lines_of(play)
    endpoint.before("PutItem", lambda _: play.replica.put(item(v=9)))
    await applied(play, path, lines)
    assert play.replica.items["a"] == item(v=9)
    assert play.log.records[key()].reason == "The replica has got an item since."


async def test_an_extraneous_item_that_changes_before_the_delete_stays(endpoint, path):
    play = scene(endpoint, [], [item(v=1)])
    lines = await lines_of(play)
    endpoint.before("DeleteItem", lambda _: change(play.replica, v=2))
    await applied(play, path, lines)
    assert play.replica.items["a"] == item(v=2)
    assert endpoint.count("DeleteItem") == 1
    assert play.log.records[key()].state is State.CHANGED


async def test_a_primary_that_gets_the_item_back_after_the_delete_is_told_and_not_put(endpoint, path):
    play = scene(endpoint, [], [item(v=1)])
    lines = await lines_of(play)
    endpoint.after("DeleteItem", lambda _: play.primary.put(item(v=5)))
    await applied(play, path, lines)
    assert play.writes() == ["DeleteItem"]
    found = play.log.records[key()]
    assert (found.kind, found.state) == ("missing", State.CHANGED)
    assert found.reason == (
        "The primary has got an item since. What was reviewed had been written before that was seen."
    )


async def test_a_primary_that_changes_after_the_write_is_told_and_not_followed(endpoint, path):
    play = scene(endpoint, [item(v=1, w=1)], [item(v=2, w=1)])
    lines = await lines_of(play)
    endpoint.after("UpdateItem", lambda _: change(play.primary, w=7))
    await applied(play, path, lines)
    assert play.replica.items["a"] == item(v=1, w=1)
    assert play.writes() == ["UpdateItem"]
    assert play.log.records[key()].reason == (
        "The primary's item changed since: attribute w. What was reviewed had been written before that was seen."
    )


async def test_a_copy_is_taken_back_when_the_primary_deletes_its_item_meanwhile(endpoint, path):
    play = scene(endpoint, [item(v=1)], [])
    lines = await lines_of(play)
    endpoint.after("PutItem", lambda _: play.primary.delete("a"))
    report = await applied(play, path, lines)
    assert play.replica.items == {}
    assert "deleted again" in (play.log.records[key()].reason or "")
    assert report.repaired == 1


async def test_an_item_that_the_primary_deletes_meanwhile_is_not_deleted_in_the_replica(endpoint, path):
    play = scene(endpoint, [item(v=1)], [item(v=2)])
    lines = await lines_of(play)
    endpoint.before("UpdateItem", lambda _: play.primary.delete("a"))
    endpoint.before("UpdateItem", lambda _: change(play.replica, v=3))
    report = await applied(play, path, lines)
    assert play.replica.items["a"] == item(v=3)
    found = play.log.records[key()]
    assert (found.kind, found.state, report.changed) == ("extraneous", State.CHANGED, 1)
    assert found.reason == (
        "The primary has lost the item since. The replica's item changed since: attribute v."
    )


async def test_a_patched_item_that_the_primary_deletes_meanwhile_is_not_deleted_in_the_replica(
    endpoint, path
):
    play = scene(endpoint, [item(v=1)], [item(v=2)])
    lines = await lines_of(play)
    endpoint.after("UpdateItem", lambda _: play.primary.delete("a"))
    await applied(play, path, lines)
    assert play.replica.items["a"] == item(v=1)
    found = play.log.records[key()]
    assert (found.state, found.reason) == (State.CHANGED, "The primary has lost the item since.")


async def test_a_write_whose_answer_is_lost_is_repaired(endpoint, path):
    play = drifted(endpoint)
    lines = await lines_of(play)
    for operation in ("PutItem", "UpdateItem", "DeleteItem"):
        endpoint.on(operation).land_then_reset()
    report = await applied(play, path, lines)
    assert (report.repaired, play.converged) == (4, True)


async def test_a_large_record_goes_on_after_a_part_of_it_was_patched_and_its_answer_lost(endpoint, path):
    many = {f"a{number}": 1 for number in range(400)}
    play = scene(endpoint, [item(**many)], [item(**dict.fromkeys(many, 2))])
    lines = await lines_of(play)
    endpoint.on("UpdateItem").land_then_reset()
    report = await applied(play, path, lines)
    assert (report.repaired, play.converged) == (1, True)


async def test_a_primary_that_keeps_changing_is_in_flight(endpoint, path):
    play = scene(endpoint, [item(v=1)], [item(v=2)])
    lines = await lines_of(play)
    counter = iter(range(10, 100))
    endpoint.before(
        "BatchGetItem", lambda _: change(play.primary, v=next(counter)), times=None, **strong(PRIMARY)
    )
    report = await applied(play, path, lines)
    assert (report.in_flight, report.changed, report.remaining) == (1, 0, 0)
    assert play.writes() == []


async def test_an_item_that_expired_since_is_left_to_its_ttl(endpoint, path):
    clock = VirtualClock()
    until = int(clock.now()) + 100
    play = scene(endpoint, [item(until=until, v=1)], [item(until=until, v=2)], ttl="until")
    play.clock = clock
    lines = await lines_of(play)
    await clock.sleep(200)
    report = await applied(play, path, lines)
    assert (report.expired, report.remaining) == (1, 0)
    assert play.writes() == []
