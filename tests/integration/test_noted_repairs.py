"""A repair and an undo among faults and other writers: nothing is sent before it is noted, nothing told before its outcome is."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import (
    Found,
    IncompleteRunError,
    IncompleteUndoError,
    JournalError,
    Limits,
    Note,
    Rules,
    State,
    Undone,
    UndoState,
    open_journal,
    repair,
    replicate_record,
    undo,
)
from asyncrep.jobs.entries import Entry, Intent, Settled
from asyncrep.jobs.history import read_journal
from asyncrep.mutation import Outcome
from tests.support.scenario import NAME, REPLICA, Log, change, item, items, key, scene
from tests.support.values import equal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from asyncrep import Event, Journal, Table, UndoReport
    from tests.support.scenario import Scene
    from tests.support.scripted import ScriptedDynamo

ALL = Rules(max_delete=1000)
WRITES = ("PutItem", "UpdateItem", "DeleteItem")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "j.jsonl"


@asynccontextmanager
async def noting(play: Scene, path: Path, **options: Any) -> AsyncIterator[tuple[Table, Table, Journal]]:
    """Both tables and a journal, open."""
    async with play.open() as (primary, replica):
        given: dict[str, Any] = {"primary": primary.label, "clock": play.clock} | options
        async with open_journal(path, replica, **given) as journal:
            yield primary, replica, journal


async def repaired(play: Scene, path: Path, **options: Any) -> Any:
    async with noting(play, path) as (primary, replica, journal):
        given: dict[str, Any] = {
            "limits": Limits(segments=1),
            "clock": play.clock,
            "observer": play.log,
            "rules": ALL,
        } | options
        return await repair(primary, replica, journal=journal, **given)


async def undone(
    play: Scene, path: Path, **options: Any
) -> tuple[UndoReport, dict[bytes, Undone], list[str]]:
    told: list[Undone] = []
    log = Log()
    into = path.with_name("u.jsonl")
    async with noting(play, into, undoes=str(path)) as (_, replica, journal):
        report = await undo(
            path, replica, journal=journal, observer=log, told=told.append, clock=play.clock, **options
        )
    return report, {each.key: each for each in told}, log.notes


async def entries(path: Path) -> dict[bytes, Entry]:
    intents: dict[tuple[str, int], Intent] = {}
    settled: dict[tuple[str, int], Settled] = {}
    async with read_journal(path) as records:
        async for record in records:
            if isinstance(record, Intent):
                intents[record.by, record.n] = record
            elif isinstance(record, Settled):
                settled[record.by, record.n] = record
    return {each.key: Entry.of(each, settled.get(id)) for id, each in intents.items()}


def in_the_file(path: Path, member: str) -> list[dict[str, Any]]:
    """The lines with this member that are in the file at this moment."""
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    return [line for line in map(json.loads, filter(None, lines)) if member in line]


def edit(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Write a file anew, with its lines changed."""
    path.write_bytes(b"\n".join(change(path.read_bytes().split(b"\n"))))


# ── What is noted, and when ─────────────────────────────────────────────────────────────────────────


async def test_every_write_is_in_the_file_before_it_is_sent(endpoint: ScriptedDynamo, path: Path) -> None:
    play = scene(endpoint, items(60, v=1), [*items(30, v=2), item("x"), item("y")])
    late: list[Any] = []

    def look(operation: str, _: object) -> None:
        call = endpoint.calls[-1]
        wanted = call.body.get("Key") or {"id": call.body["Item"]["id"]}
        if wanted not in [line["key"] for line in in_the_file(path, "kind")]:
            late.append((operation, wanted))

    for operation in WRITES:
        endpoint.before(operation, partial(look, operation), times=None)
    report = await repaired(play, path)
    assert (report.repaired, late) == (62, [])
    assert play.converged


async def test_a_record_is_told_as_repaired_only_when_its_outcome_is_in_the_file(
    endpoint: ScriptedDynamo, path: Path
) -> None:
    play = scene(endpoint, items(60, v=1), [*items(30, v=2), item("x")])
    early: list[bytes] = []

    class Watching:
        def notice(self, event: Event) -> None:
            if isinstance(event, Found) and event.discrepancy.state is State.REPAIRED:
                applied = {
                    (line["by"], line["n"]) for line in in_the_file(path, "applied") if line["applied"]
                }
                noted = {json.dumps(line["key"], separators=(",", ":")).encode(): (line["by"], line["n"])
                         for line in in_the_file(path, "kind")}  # fmt: skip
                if noted[event.discrepancy.key] not in applied:
                    early.append(event.discrepancy.key)

    report = await repaired(play, path, observer=Watching())
    assert (report.repaired, early) == (61, [])


async def test_the_image_before_and_what_replaced_it_are_noted_with_why(
    endpoint: ScriptedDynamo, path: Path
) -> None:
    play = scene(
        endpoint, [item("new", v=1), item("old", v=2, x=1)], [item("old", v=1, y=1), item("gone", v=3)]
    )
    await repaired(play, path)
    noted = {line["key"]["id"]["S"]: line for line in in_the_file(path, "kind")}
    assert {name: line["kind"] for name, line in noted.items()} == {
        "new": "missing", "old": "different", "gone": "extraneous",
    }  # fmt: skip
    assert (noted["new"]["replica"], noted["new"]["put"]) == (None, item("new", v=1))
    assert noted["old"]["replica"] == item("old", v=1, y=1)
    assert noted["old"]["patch"] == {"set": {"v": {"N": "2"}, "x": {"N": "1"}}, "remove": ["y"]}
    assert (noted["gone"]["replica"], noted["gone"]["delete"]) == (item("gone", v=3), True)
    assert noted["new"]["cause"] == "missed_put"
    assert all(line["at"].startswith("2023-11-14T22:13") for line in noted.values())
    old = {name: in_the_file(path, "applied") for name in noted}
    assert {json.dumps(line["old"]) for line in old["new"]} == {
        json.dumps(each) for each in (None, item("old", v=1, y=1), item("gone", v=3))
    }


async def test_what_an_item_gained_before_the_write_is_in_the_old_image_and_comes_back(
    endpoint: ScriptedDynamo, path: Path
) -> None:
    play = scene(endpoint, [], [item("a", v=1)])
    endpoint.before("DeleteItem", lambda _: change(play.replica, gained=7))
    await repaired(play, path)
    assert play.replica.items == {}
    await undone(play, path)
    assert equal(play.replica.items["a"], item("a", v=1, gained=7))


async def test_a_single_record_is_noted_too(endpoint: ScriptedDynamo, path: Path) -> None:
    play = scene(endpoint, [item("a", v=1)], [item("a", v=2)])
    async with noting(play, path) as (primary, replica, journal):
        await replicate_record(primary, replica, key("a"), clock=play.clock, journal=journal)
    assert (await entries(path))[key("a")].outcome == Outcome(
        applied=True, old=json.dumps(item("a", v=2), separators=(",", ":")).encode()
    )


# ── What is not known ───────────────────────────────────────────────────────────────────────────────


async def test_a_write_that_lands_and_loses_its_answer_is_never_taken_back(
    endpoint: ScriptedDynamo, path: Path
) -> None:
    play = scene(endpoint, [item("a", v=1), item("b", v=1)], [item("a", v=2), item("b", v=2)])
    endpoint.on("UpdateItem", when=lambda body: body["Key"] == item("a")).land_then_reset()
    report = await repaired(play, path)
    assert report.repaired == 2
    noted = await entries(path)
    assert noted[key("a")].outcome is None
    taken, told, _ = await undone(play, path)
    assert (taken.unknown, taken.taken_back, taken.remaining) == (1, 1, 1)
    assert "looks as if it had landed" in (told[key("a")].reason or "")
    assert equal(play.replica.items["a"], item("a", v=1))
    assert equal(play.replica.items["b"], item("b", v=2))


async def test_a_write_that_was_refused_is_noted_so_and_is_nothing_to_be_taken_back(
    endpoint: ScriptedDynamo, path: Path
) -> None:
    play = scene(endpoint, [item("a", v=1)], [item("a", v=2)])
    endpoint.on("UpdateItem").error("ValidationException", message="poison")
    assert (await repaired(play, path)).failed == 1
    entry = (await entries(path))[key("a")]
    assert entry.outcome == Outcome(applied=False)
    assert "poison" in (entry.error or "")
    report, told, _ = await undone(play, path)
    assert (report.records, told, report.remaining) == (0, {}, 0)


async def test_an_interrupted_write_is_noted_as_not_known(endpoint: ScriptedDynamo, path: Path) -> None:
    play = scene(endpoint, [item("a", v=1)], [item("a", v=2)])
    arrived = asyncio.Event()
    endpoint.on("UpdateItem").delay(60)
    endpoint.before("UpdateItem", lambda _: arrived.set())
    running = asyncio.ensure_future(repaired(play, path))
    await arrived.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    entry = (await entries(path))[key("a")]
    assert entry.outcome is None
    assert "ended while the write was under way" in (entry.error or "")
    [record] = play.log.records.values()
    assert record.state is State.FAILED


async def test_a_journal_that_cannot_be_written_stops_the_repair_before_its_writes(
    endpoint: ScriptedDynamo, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play = scene(endpoint, items(5, v=1), items(5, v=2))

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("asyncrep.jobs.media.FileStore._append", full)
    with pytest.raises(IncompleteRunError, match="No space left on device") as ended:
        await repaired(play, path)
    assert isinstance(ended.value.__cause__, JournalError)
    assert play.writes() == []
    assert ended.value.report.failed == 0  # nothing was under way


async def test_a_torn_journal_takes_back_what_it_tells_and_says_what_it_cannot(
    endpoint: ScriptedDynamo, path: Path
) -> None:
    play = scene(endpoint, items(3, v=1), items(3, v=2))
    await repaired(play, path)
    edit(path, lambda lines: [lines[0], lines[1][:50], *lines[2:]])
    report, _, notes = await undone(play, path)
    assert (report.damaged, report.taken_back, report.remaining) == (1, 2, 1)
    assert notes[0].startswith(f"Line 2 of {path} cannot be read, and is not taken back: ")


async def test_outcomes_without_their_intents_are_told(endpoint: ScriptedDynamo, path: Path) -> None:
    play = scene(endpoint, items(3, v=1), items(3, v=2))
    await repaired(play, path)
    edit(path, lambda lines: [lines[0], *lines[2:]])
    report, _, notes = await undone(play, path)
    assert (report.damaged, report.taken_back) == (1, 2)
    assert notes == ["The journal has 1 outcomes whose intents are missing."]


# ── An undo among others ────────────────────────────────────────────────────────────────────────────


async def test_what_changes_while_it_is_taken_back_is_left_alone(
    endpoint: ScriptedDynamo, path: Path
) -> None:
    play = scene(endpoint, [item("a", v=1), item("b", v=1)], [item("a", v=2), item("b", v=2)])
    await repaired(play, path)
    endpoint.before(
        "UpdateItem", lambda _: change(play.replica, "a", v=3), when=lambda body: body["Key"] == item("a")
    )
    report, told, _ = await undone(play, path)
    assert (told[key("a")].state, told[key("a")].reason) == (
        UndoState.CHANGED,
        "Attributes changed since: v.",
    )
    assert equal(play.replica.items["a"], item("a", v=3))
    assert report.taken_back == 1


async def test_a_put_item_that_gains_an_attribute_meanwhile_is_looked_at_again(
    endpoint: ScriptedDynamo, path: Path
) -> None:
    play = scene(endpoint, [item("a", v=1, w=1)], [])
    await repaired(play, path)
    endpoint.before("DeleteItem", lambda _: change(play.replica, "a", w=2))
    report, told, _ = await undone(play, path)
    assert told[key("a")].reason == "Attributes changed since: w."
    assert equal(play.replica.items["a"], item("a", v=1, w=2))
    assert report.changed == 1


async def test_an_undo_whose_answer_is_lost_is_found_to_have_landed(
    endpoint: ScriptedDynamo, path: Path
) -> None:
    play = scene(endpoint, [item("a", v=1)], [item("a", v=2)])
    await repaired(play, path)
    endpoint.on("UpdateItem").land_then_reset()
    report, told, _ = await undone(play, path)
    assert report.taken_back == 1
    assert told[key("a")].reason == "The answer to the write that took it back was lost."
    assert equal(play.replica.items["a"], item("a", v=2))


async def test_an_undo_that_ends_early_carries_its_report_and_goes_on_when_run_again(
    endpoint: ScriptedDynamo, path: Path
) -> None:
    play = scene(endpoint, items(30, v=1), items(30, v=2))
    await repaired(play, path)
    endpoint.on("UpdateItem", after=10, times=None).error("AccessDeniedException")
    with pytest.raises(IncompleteUndoError, match="AccessDeniedException") as ended:
        await undone(play, path)
    report = ended.value.report
    assert (report.taken_back, report.complete, report.failed) == (10, False, 0)
    endpoint._statements.clear()
    report, _, _ = await undone(play, path)
    assert (report.already, report.taken_back, report.complete) == (10, 20, True)
    assert all(equal(each, item(each["id"]["S"], v=2)) for each in play.replica.items.values())


async def test_a_poison_item_does_not_stop_its_neighbours(endpoint: ScriptedDynamo, path: Path) -> None:
    play = scene(endpoint, items(3, v=1), items(3, v=2))
    await repaired(play, path)
    endpoint.on("UpdateItem", when=lambda body: body["Key"] == item("k001")).error("ValidationException")
    report, told, _ = await undone(play, path)
    assert (report.taken_back, report.failed, report.complete) == (2, 1, True)
    assert told[key("k001")].state is UndoState.FAILED


async def test_items_too_large_for_one_condition_are_read_again_and_said_to_be_so(
    endpoint: ScriptedDynamo, path: Path
) -> None:
    large = item("a", **{f"a{number:03}": number for number in range(400)})
    play = scene(endpoint, [large], [])
    await repaired(play, path)
    reads = endpoint.count("BatchGetItem")
    report, told, _ = await undone(play, path)
    assert report.taken_back == 1
    assert endpoint.count("BatchGetItem") == reads + 2
    assert "too large for one condition" in (told[key("a")].reason or "")


async def test_a_long_journal_is_taken_back_in_bounded_groups(endpoint: ScriptedDynamo, path: Path) -> None:
    play = scene(endpoint, items(450, v=1), items(450, v=2))
    await repaired(play, path)
    before = endpoint.count("BatchGetItem", region=REPLICA)
    report, _, _ = await undone(play, path)
    assert report.taken_back == 450
    assert endpoint.count("BatchGetItem", region=REPLICA) - before == 5
    assert NAME in report.replica
    assert not [each for each in play.log.of(Note) if "cannot" in each.message]
