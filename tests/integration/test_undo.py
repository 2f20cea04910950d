"""What a repair wrote can be taken back, on every engine there is; and what took it back as well."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import Comparison, Rules, UsageError, VirtualClock, repair
from asyncrep.jobs.history import read_header
from asyncrep.jobs.journal import open_journal
from asyncrep.repair.undo import Undone, undo
from tests.support.drift import Drift, name
from tests.support.engines import REGION, Engine
from tests.support.scenario import LIMITS, Log, item, key, opened, same_items

if TYPE_CHECKING:
    from pathlib import Path

    from asyncrep.report import UndoReport
    from tests.support.values import Item

STILL = Comparison(settle=0)
EVERYTHING = Rules(max_delete=1000)


class Tables:
    """A primary and a replica on an engine, and where journals are."""

    def __init__(self, engine: Engine, primary: list[Item], replica: list[Item], folder: Path) -> None:
        self.engine = engine
        self.folder = folder
        self.primary, self.replica = (engine.create_table(items=items) for items in (primary, replica))

    def path(self, journal: str) -> Path:
        return self.folder / journal

    def opened(self) -> Any:
        clock = VirtualClock()
        return opened(f"{REGION}/{self.primary}", f"{REGION}/{self.replica}", self.engine.url, clock)

    async def repair(self, journal: str = "repair.jsonl", **options: Any) -> None:
        async with (
            self.opened() as (primary, replica),
            open_journal(self.path(journal), replica, primary=primary.label) as noted,
        ):
            given: dict[str, Any] = {"limits": LIMITS, "comparison": STILL, "rules": EVERYTHING} | options
            report = await repair(primary, replica, journal=noted, **given)
        assert report.remaining == 0
        assert report.journal == (str(self.path(journal)) if report.drift else None)

    async def undo(
        self, journal: str = "repair.jsonl", into: str = "undo.jsonl", **options: Any
    ) -> tuple[UndoReport, dict[bytes, Undone]]:
        told: list[Undone] = []
        async with (
            self.opened() as (primary, replica),
            open_journal(
                self.path(into), replica, primary=primary.label, undoes=str(self.path(journal))
            ) as noted,
        ):
            report = await undo(
                self.path(journal), replica, journal=noted, limits=LIMITS, told=told.append, **options
            )
        assert report.complete
        assert report.records == len(told) == len({each.key for each in told})
        return report, {each.key: each for each in told}

    @property
    def items(self) -> list[Item]:
        return self.engine.items(self.replica)


async def test_undoing_a_repair_leaves_the_replica_as_it_was(engine: Engine, tmp_path: Path) -> None:
    drift = Drift.of(120, every=20, text="x")
    tables = Tables(engine, drift.primary, drift.replica, tmp_path)
    await tables.repair()
    assert same_items(tables.items, drift.primary)
    report, told = await tables.undo()
    assert same_items(tables.items, drift.replica)
    assert {key: each.deeds for key, each in told.items()} == {
        key: ({"missing": "delete", "different": "patch", "extraneous": "put"}[kind],)
        for key, kind in drift.kinds.items()
    }
    assert (report.taken_back, report.remaining) == (len(drift.kinds), 0)
    assert report.journal == str(tables.path("undo.jsonl"))


async def test_an_undo_can_be_undone_and_that_as_well(engine: Engine, tmp_path: Path) -> None:
    drift = Drift.of(60, every=20)
    tables = Tables(engine, drift.primary, drift.replica, tmp_path)
    await tables.repair()
    await tables.undo()
    await tables.undo("undo.jsonl", "again.jsonl")
    assert same_items(tables.items, drift.primary)
    assert (await read_header(tables.path("again.jsonl"))).undoes == str(tables.path("undo.jsonl"))
    await tables.undo("again.jsonl", "last.jsonl")
    assert same_items(tables.items, drift.replica)


async def test_undoing_twice_finds_everything_taken_back_and_writes_nothing(
    engine: Engine, tmp_path: Path
) -> None:
    drift = Drift.of(60, every=20)
    tables = Tables(engine, drift.primary, drift.replica, tmp_path)
    await tables.repair()
    await tables.undo()
    report, _ = await tables.undo(into="second.jsonl")
    assert (report.already, report.taken_back, report.remaining) == (len(drift.kinds), 0, 0)
    assert report.journal is None
    assert not tables.path("second.jsonl").exists()


async def test_a_dry_run_writes_nothing_and_tells_what_it_would(engine: Engine, tmp_path: Path) -> None:
    drift = Drift.of(60, every=20)
    tables = Tables(engine, drift.primary, drift.replica, tmp_path)
    await tables.repair()
    report, told = await tables.undo(dry_run=True)
    assert same_items(tables.items, drift.primary)
    assert (report.pending, report.remaining, report.write_units) == (len(drift.kinds), 0, 0)
    assert {each.state for each in told.values()} == {"pending"}
    assert not tables.path("undo.jsonl").exists()


async def test_only_one_record_may_be_taken_back(engine: Engine, tmp_path: Path) -> None:
    drift = Drift.of(40, every=20)
    tables = Tables(engine, drift.primary, drift.replica, tmp_path)
    await tables.repair()
    report, told = await tables.undo(key=key(name(7)))
    assert set(told) == {key(name(7))}
    assert (report.records, report.taken_back) == (1, 1)
    assert same_items(tables.items, [each for each in drift.primary if each["id"] != {"S": name(7)}])


async def test_what_somebody_wrote_since_is_left_alone_and_told(engine: Engine, tmp_path: Path) -> None:
    old = [item("changed", v=1, w=1), item("other", v=1, w=1), item("gone", v=1), item("came", v=1)]
    new = [item("changed", v=2, w=1), item("other", v=2, w=1), item("gone", v=2), item("put", v=2)]
    tables = Tables(engine, new, old, tmp_path)
    await tables.repair()
    since = [item("changed", v=3, w=1), item("other", v=2, w=9), item("came", v=7), item("put", v=2, x=1)]
    engine.put(tables.replica, since)
    engine.delete(tables.replica, [item("gone")])
    report, told = await tables.undo()
    reasons = {each.key: each.reason for each in told.values() if each.state == "changed"}
    assert reasons == {
        key("changed"): "Attributes changed since: v.",
        key("gone"): "The item was deleted since.",
        key("came"): "There is an item under the key again.",
        key("put"): "Attributes changed since: x.",
    }
    assert told[key("other")].state == "taken_back"  # what changed there is none of the repair's
    assert (report.changed, report.taken_back, report.remaining) == (4, 1, 4)
    expected = [each for each in since if each["id"] != {"S": "other"}]
    assert same_items(tables.items, [*expected, item("other", v=1, w=9)])


async def test_several_repairs_in_one_journal_are_taken_back_from_the_last_to_the_first(
    engine: Engine, tmp_path: Path
) -> None:
    before = [item("a", v=0, w=0), item("c", v=0), item("d", v=0)]
    tables = Tables(engine, [item("a", v=1, w=0), item("b", v=1), item("d", v=1)], before, tmp_path)
    await tables.repair()
    engine.put(tables.primary, [item("a", v=1, w=2, x=3), item("b", v=2), item("c", v=9)])
    await tables.repair()
    engine.delete(tables.primary, [item("a"), item("b")])
    await tables.repair()
    _, told = await tables.undo()
    assert same_items(tables.items, before)
    assert told[key("a")].deeds == ("put", "patch")
    assert told[key("b")].deeds == ("put", "patch", "delete")
    assert told[key("c")].deeds == ("delete", "put")
    report, _ = await tables.undo(into="second.jsonl")
    assert report.already == report.records == 4


async def test_more_differing_attributes_than_one_write_can_change_are_all_taken_back(
    engine: Engine, tmp_path: Path
) -> None:
    one, other = ({f"a{number:03}": side for number in range(250)} for side in "xy")
    tables = Tables(engine, [item("a", **one, both=1)], [item("a", **other, extra=1)], tmp_path)
    await tables.repair()
    report, _ = await tables.undo()
    assert (report.taken_back, report.records) == (1, 1)
    assert same_items(tables.items, [item("a", **other, extra=1)])


async def test_the_journal_of_another_table_is_refused(engine: Engine, tmp_path: Path) -> None:
    tables = Tables(engine, [item("a")], [], tmp_path)
    await tables.repair()
    other = Tables(engine, [], [item("a")], tmp_path)
    async with other.opened() as (_, replica):
        with pytest.raises(UsageError, match="The journal is of another table"):
            await undo(tables.path("repair.jsonl"), replica)
    assert same_items(other.items, [item("a")])


async def test_a_table_made_anew_since_is_remarked_on(engine: Engine, tmp_path: Path) -> None:
    tables = Tables(engine, [item("a")], [], tmp_path)
    await tables.repair()
    async with tables.opened() as (_, replica):
        there = replica.settings.table_id
    replace_in(tables.path("repair.jsonl"), f'"table_id":{json.dumps(there)}', '"table_id":"of before"')
    log = Log()
    async with tables.opened() as (_, replica):
        report = await undo(tables.path("repair.jsonl"), replica, observer=log, dry_run=True)
    assert report.pending == 1
    remark = "The table was deleted and made anew since the journal was written."
    assert log.notes == ([remark] if there else [])


def replace_in(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
