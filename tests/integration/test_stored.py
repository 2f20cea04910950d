"""A stored diff is applied to what it lists and to nothing else; deletions come last and within the rules."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncrep import (
    Advanced,
    PassEnded,
    PassStarted,
    Rules,
    RunStarted,
    State,
    UsageError,
    VirtualClock,
    diff,
    repair_stored,
)
from asyncrep.cli.output import json_line
from asyncrep.items.keys import KeyReader
from asyncrep.model import KeyAttribute, KeySchema
from tests.support.engines import REGION
from tests.support.scenario import (
    LIMITS,
    PRIMARY,
    REPLICA,
    change,
    item,
    items,
    key,
    opened,
    same_items,
    scene,
)
from tests.support.scripted import ScriptedDynamo
from tests.support.stored import ALL, applied, drifted, lines_of
from tests.support.strategies import respell

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "d.jsonl"


_SCHEMA = KeySchema(KeyAttribute("id", "S"))

# What is done


async def test_everything_is_repaired_and_deletions_come_last(endpoint, path):
    play = drifted(endpoint)
    report = await applied(play, path, await lines_of(play), rules=None)
    assert play.converged
    assert sorted(play.writes()[:2]) == ["PutItem", "UpdateItem"]
    assert play.writes()[2:] == ["DeleteItem", "DeleteItem"]
    assert (report.missing, report.different, report.extraneous, report.repaired) == (1, 1, 2, 4)
    assert (report.strategy, report.segments, report.compared) == ("stored diff", 0, 4)
    assert (report.remaining, report.changed, report.skipped) == (0, 0, 0)
    assert report.complete
    assert endpoint.count("Scan") > 0
    assert {found.state for found in play.log.records.values()} == {State.REPAIRED}


async def test_nothing_is_scanned_and_only_what_is_listed_is_read(endpoint, path):
    play = drifted(endpoint)
    lines = [line for line in await lines_of(play) if b'"kind":"missing"' in line]
    endpoint.calls.clear()
    await applied(play, path, lines)
    assert endpoint.count("Scan") == 0
    assert play.writes() == ["PutItem"]
    assert set(play.replica.items) - {f"k{number:03}" for number in range(5)} == {"m", "d", "x", "y"}
    read = {
        json.dumps(each)
        for call in endpoint.requests("BatchGetItem")
        for each in call.body["RequestItems"]["orders"]["Keys"]
    }
    assert read == {json.dumps(item("m"))}


async def test_each_write_is_verified_against_the_primary(endpoint, path):
    play = scene(endpoint, [item(v=1)], [item(v=2)])
    lines = await lines_of(play)
    endpoint.calls.clear()
    await applied(play, path, lines)
    order = [(call.operation, call.region) for call in endpoint.calls if call.operation != "DescribeTable"]
    reads = [("BatchGetItem", region) for region in (PRIMARY, REPLICA, PRIMARY)]
    assert order[-5:] == [*reads, ("UpdateItem", REPLICA), ("BatchGetItem", PRIMARY)]


async def test_applying_it_again_does_nothing_and_nothing_remains(endpoint, path):
    play = drifted(endpoint)
    lines = await lines_of(play)
    await applied(play, path, lines)
    endpoint.calls.clear()
    report = await applied(play, path)
    assert play.writes() == []
    assert (report.changed, report.settled, report.drift, report.remaining) == (4, 4, 0, 0)
    assert report.compared == 4
    assert {(each.state, each.reason) for each in play.log.records.values()} == {
        (State.CHANGED, "The sides agree by now.")
    }


async def test_a_dry_run_confirms_and_writes_nothing(endpoint, path):
    play = drifted(endpoint)
    lines = await lines_of(play)
    change(play.replica, "d", v=3)
    report = await applied(play, path, lines, rules=Rules(dry_run=True, max_delete=1))
    assert play.writes() == []
    assert (report.repaired, report.changed, report.skipped, report.remaining) == (0, 1, 1, 4)
    records = play.log.records
    assert records[key("m")].reason == "Dry run: it would be put."
    assert {records[key("x")].reason, records[key("y")].reason} == {
        "Dry run: it would be deleted.",
        "The limit of 1 deletions was reached.",
    }


async def test_the_observer_sees_a_pass_for_changes_and_one_for_deletions(endpoint, path):
    play = drifted(endpoint)
    await applied(play, path, await lines_of(play))
    told = [event for event in play.log.events if isinstance(event, PassStarted | Advanced | PassEnded)]
    assert isinstance(play.log.events[0], RunStarted)
    assert told == [
        PassStarted("repair", 2), Advanced("repair", 2), PassEnded("repair"),
        PassStarted("delete", 2), Advanced("delete", 2), PassEnded("delete"),
    ]  # fmt: skip


async def test_more_than_a_batch_is_done(endpoint, path):
    play = scene(endpoint, items(250), [item(f"x{number}") for number in range(120)])
    report = await applied(play, path, await lines_of(play))
    assert (report.repaired, report.remaining) == (370, 0)
    assert play.converged


# Rules


async def test_deletions_can_be_turned_off(endpoint, path):
    play = drifted(endpoint)
    lines = await lines_of(play)
    play.replica.delete("y")
    report = await applied(play, path, lines, rules=Rules(delete_extraneous=False))
    assert (report.repaired, report.skipped, report.changed, report.remaining) == (2, 1, 1, 1)
    assert play.log.records[key("x")].reason == "Deletions are turned off."
    assert "DeleteItem" not in play.writes()


@pytest.mark.parametrize("most", [0, 1, 2, 3])
async def test_no_more_than_max_delete_are_deleted(endpoint, path, most):
    play = drifted(endpoint)
    report = await applied(play, path, await lines_of(play), rules=Rules(max_delete=most))
    assert play.writes().count("DeleteItem") == min(most, 2)
    assert report.skipped == max(0, 2 - most)


async def test_more_than_half_of_the_replica_needs_an_explicit_limit(endpoint, path):
    play = scene(endpoint, [item("s")], [item("s"), item("x"), item("y")])
    play.replica.description["ItemCount"] = 3
    lines = await lines_of(play)
    refused = await applied(play, path, lines, rules=None)
    assert (refused.skipped, refused.remaining, play.writes()) == (2, 2, [])
    assert (
        "Deleting 2 of 3 items is more than half of the replica: if that is meant, allow it (--max-delete 2)."
        in play.log.notes
    )
    allowed = await applied(play, path, rules=Rules(max_delete=2))
    assert (allowed.repaired, play.converged) == (2, True)


async def test_how_much_half_of_the_replica_is_may_be_unknown(endpoint, path):
    play = scene(endpoint, [item("s")], [item("s"), item("x"), item("y")])
    play.replica.description["ItemCount"] = 0
    report = await applied(play, path, await lines_of(play), rules=None)
    assert (report.repaired, play.converged) == (2, True)


async def test_a_member_of_a_global_table_is_refused_unless_forced(endpoint, path):
    play = drifted(endpoint)
    lines = await lines_of(play)
    members = [{"RegionName": PRIMARY}, {"RegionName": REPLICA}]
    play.primary.description["Replicas"] = play.replica.description["Replicas"] = members
    with pytest.raises(UsageError, match="members of one global table"):
        await applied(play, path, lines)
    assert play.writes() == []
    await applied(play, path, rules=Rules(max_delete=9, force=True))
    assert play.converged


# What is passed over, and what comes twice


@pytest.mark.parametrize("state", State)
async def test_only_what_is_still_to_be_done_is_done(endpoint, path, state):
    play = scene(endpoint, [item(v=1)], [item(v=2)])
    [line] = await lines_of(play)
    report = await applied(play, path, [line.replace(b'"state":"found"', b'"state":"%b"' % state.encode())])
    passed = state in {State.REPAIRED, State.IN_FLIGHT, State.EXPIRED}
    assert report.repaired == (0 if passed else 1)
    assert report.remaining == 0
    said = "Passed over, as repaired, in flight or expired when the diff was stored: 1 record."
    assert (said in play.log.notes) == passed


async def test_of_a_key_that_comes_twice_the_later_line_counts(endpoint, path):
    play = scene(endpoint, [item(v=1), item("b", v=1)], [item(v=2), item("b", v=2)])
    lines = await lines_of(play)
    change(play.replica, v=3)
    later = await lines_of(play)
    report = await applied(play, path, [*lines, *later])
    assert (report.repaired, report.changed, play.converged) == (2, 0, True)
    assert "Lines whose key comes again later, which count no more: 2." in play.log.notes


async def test_a_later_line_may_say_that_nothing_is_to_be_done_any_more(endpoint, path):
    play = scene(endpoint, [item(v=1)], [item(v=2)])
    [line] = await lines_of(play)
    report = await applied(play, path, [line, line.replace(b'"found"', b'"repaired"')])
    assert (report.compared, play.writes()) == (0, [])


async def test_an_empty_file_is_nothing_to_do(endpoint, path):
    play = drifted(endpoint)
    report = await applied(play, path, [b"\n"])
    assert report.complete
    assert (report.compared, report.remaining) == (0, 0)
    assert play.log.notes == [f"{path} holds no discrepancies."]
    assert play.writes() == []


# Real engines


async def test_a_round_trip_on_a_real_engine(engine, path):
    same = items(20, v=1)
    primary = engine.create_table(items=[*same, *(item(f"m{n}", v=n) for n in range(5)), *(item(f"d{n}", v=n) for n in range(5))])  # fmt: skip
    replica = engine.create_table(items=[*same, *(item(f"d{n}", v=-1 - n) for n in range(5)), *(item(f"x{n}") for n in range(5))])  # fmt: skip
    clock = VirtualClock()
    async with opened(f"{REGION}/{primary}", f"{REGION}/{replica}", engine.url, clock) as tables:
        async with diff(*tables, limits=LIMITS, clock=clock) as found:
            lines = [json_line(each) async for each in found]
        engine.put(replica, [item("d0", v=99)])
        path.write_bytes(b"".join(lines))
        report = await repair_stored(*tables, path, rules=ALL, clock=clock)
        assert (report.repaired, report.changed, report.remaining) == (14, 1, 1)
        async with diff(*tables, limits=LIMITS, clock=clock) as found:
            assert [each.key async for each in found] == [key("d0")]
        path.write_bytes(b"".join(json_line(each) for each in [each async for each in _again(tables, clock)]))
        report = await repair_stored(*tables, path, clock=clock)
        assert (report.repaired, report.remaining) == (1, 0)
    assert same_items(engine.items(replica), engine.items(primary))


async def _again(tables, clock):
    async with diff(*tables, limits=LIMITS, clock=clock) as found:
        async for each in found:
            yield each


# Any part in any order


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_any_part_of_the_lines_in_any_order_repairs_exactly_those(tmp_path, data):
    async with ScriptedDynamo() as endpoint:
        play = scene(
            endpoint,
            [item(f"m{n}", v=n) for n in range(4)] + [item(f"d{n}", v=n) for n in range(4)],
            [item(f"d{n}", v=-1 - n) for n in range(4)] + [item(f"x{n}") for n in range(4)],
        )
        lines = await lines_of(play)
        chosen = data.draw(st.lists(st.sampled_from(lines), max_size=20))
        source = random.Random(data.draw(st.integers(0, 1000)))
        before = {side: dict(table.items) for side, table in (("p", play.primary), ("r", play.replica))}
        spelled = [_spelled(line, source) for line in chosen]
        report = await applied(play, tmp_path / "d.jsonl", spelled)
        keys = {KeyReader(_SCHEMA).parse(json.dumps(json.loads(line)["key"])) for line in chosen}
        names = {json.loads(each)["id"]["S"] for each in keys}
        assert play.log.records.keys() == keys
        assert report.repaired == len(keys)
        assert play.primary.items == before["p"]
        for name in before["p"].keys() | before["r"].keys():
            expected = before["p" if name in names else "r"].get(name)
            assert play.replica.items.get(name) == expected


def _spelled(line: bytes, source: random.Random) -> bytes:
    """The same line with its members in another order, and in other words."""
    entry = json.loads(line)
    members = list(entry.items())
    source.shuffle(members)
    told = {name: respell(value, source).decode() if name in {"key", "primary", "replica"} and value else json.dumps(value) for name, value in members}  # fmt: skip
    text = "{" + ",".join(f'"{name}":{value}' for name, value in told.items()) + "}"
    return text.replace("\n", " ").encode() + source.choice([b"\n", b"\n\n", b" \r\n"])
