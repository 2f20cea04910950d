"""A backup and a table, or two backups, are joined whatever order they come in: found is exactly what there is."""

from __future__ import annotations

import gzip
import json
import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrep import Comparison, Limits
from asyncrep.backup import spill
from asyncrep.items.incremental import object_name
from asyncrep.items.keys import KeyReader
from asyncrep.progress import Advanced, PassEnded, PassStarted
from tests.support.backup_checks import Checking, between, objects
from tests.support.drift import Drift
from tests.support.restores import changed, export, foreign_dump, jsonl, our_dump, put
from tests.support.scenario import item, items, key
from tests.support.strategies import briefly, keyed_items, respell, schemas, seeds

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.scripted import ScriptedDynamo
    from tests.support.values import Item

SHAPES = {
    "identical": Drift.all(None, 300),
    "disjoint": Drift.disjoint(300),
    "backup empty": Drift.all("extraneous", 300),
    "table empty": Drift.all("missing", 300),
    "both empty": Drift.all(None, 0),
    "every item different": Drift.all("different", 300),
    "some of everything": Drift.of(300),
}


def shuffled(stock: list[Item], parts: int = 3) -> list[list[Item]]:
    """The items in another order, in so many files."""
    mixed = random.Random(len(stock)).sample(stock, len(stock))
    return [mixed[part::parts] for part in range(parts)]


# ── What is found ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_dump_against_a_table(endpoint: ScriptedDynamo, tmp_path: Path, shape: str) -> None:
    drift = SHAPES[shape]
    put(tmp_path, our_dump(shuffled(drift.primary)))
    check = Checking.of(endpoint, drift.replica)
    drift.assert_exact(*await check(tmp_path))


@pytest.mark.parametrize("shape", SHAPES)
async def test_two_backups(tmp_path: Path, shape: str) -> None:
    drift = SHAPES[shape]
    put(tmp_path / "ours", our_dump(shuffled(drift.primary)))
    put(tmp_path / "theirs", our_dump(shuffled(drift.replica, 2)))
    (found, report), _ = await between(tmp_path / "ours", tmp_path / "theirs")
    drift.assert_exact(found, report)
    assert (report.strategy, report.read_units) == ("hash-join", 0)


@pytest.mark.parametrize("shape", ["identical", "some of everything"])
async def test_a_folder_of_objects_against_a_dump(tmp_path: Path, shape: str) -> None:
    drift = SHAPES[shape]
    put(tmp_path / "folder", objects(drift.primary))
    put(tmp_path / "dump", foreign_dump([drift.replica]))
    (found, report), _ = await between(tmp_path / "folder", tmp_path / "dump")
    drift.assert_exact(found, report)


@pytest.mark.parametrize("turned", [False, True])
async def test_two_folders_agree_though_their_objects_are_named_by_another_order_of_the_key(
    tmp_path: Path, turned: bool
) -> None:
    stock = [{"z": {"S": f"z{number}"}, "a": {"N": str(number)}, "v": {"S": "v"}} for number in range(20)]
    for folder, attributes, held in (("schema", ("z", "a"), stock), ("sorted", ("a", "z"), stock[1:])):
        keys = [{name: each[name] for name in attributes} for each in held]
        names = [object_name(jsonl([each])[:-1]) for each in keys]
        put(tmp_path / folder, {name: jsonl([each]) for name, each in zip(names, held, strict=True)})
    sides = [tmp_path / "schema", tmp_path / "sorted"]
    (found, report), _ = await between(*(reversed(sides) if turned else sides))
    assert (report.matched, len(found), report.complete) == (19, 1, True)


async def test_partitions_that_are_too_large_change_nothing(
    endpoint: ScriptedDynamo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spill, "_OVERSIZE", 1500)
    monkeypatch.setattr(spill, "_BLOCK", range(1, 400))
    drift = SHAPES["some of everything"]
    put(tmp_path, our_dump(shuffled(drift.primary)))
    drift.assert_exact(*await Checking.of(endpoint, drift.replica)(tmp_path))


async def test_a_single_file_is_a_backup_as_well(endpoint: ScriptedDynamo, tmp_path: Path) -> None:
    drift = Drift.of(60)
    snapshot = tmp_path / "orders.gz"
    snapshot.write_bytes(gzip.compress(jsonl(drift.primary)))
    drift.assert_exact(*await Checking.of(endpoint, drift.replica)(snapshot))


async def test_a_chain_of_exports_is_what_it_comes_to(endpoint: ScriptedDynamo, tmp_path: Path) -> None:
    first, second, third = (f"2026-01-0{day}T03:00:00.000Z" for day in (2, 3, 4))
    put(tmp_path, export("01", [{"Item": each} for each in items(6, v=1)], time=first))
    put(tmp_path, export("02", [
        changed(item("k000", v=2)), changed(None, item("k001")), changed(item("new", v=2)), changed(item("k002", v=2)),
    ], since=first, time=second))  # fmt: skip
    put(tmp_path, export("03", [
        changed(None, item("new")), changed(item("k001", v=3)), changed(None, item("k003")),
    ], since=second, time=third))  # fmt: skip
    now = [item("k000", v=2), item("k001", v=3), item("k002", v=2), item("k004", v=1), item("k005", v=1)]
    check = Checking.of(endpoint, now)
    found, report = await check(tmp_path)
    assert (found, report.matched, report.complete) == ({}, 5, True)
    check.held.table.put(item("new", v=2))
    check.held.table.put(item("k003", v=1))
    found, report = await check(tmp_path)
    assert {each.kind for each in found.values()} == {"extraneous"}
    assert found.keys() == {key("new"), key("k003")}


# ── What counts as equal ────────────────────────────────────────────────────────────────────────────


@given(random_=seeds(), data=st.data())
@briefly
async def test_items_are_equal_however_they_are_spelled(
    tmp_path_factory: pytest.TempPathFactory, random_: random.Random, data: st.DataObject
) -> None:
    schema = data.draw(schemas())
    keys = KeyReader(schema)
    items = st.lists(
        keyed_items(schema), min_size=1, max_size=4, unique_by=lambda made: keys.key(jsonl([made]))
    )
    stock = data.draw(items)
    folder = tmp_path_factory.mktemp("spelled")
    for name in ("ours", "theirs"):
        lines = b"".join(respell(each, random_).replace(b"\n", b" ") + b"\n" for each in stock)
        put(folder / name, {"0": gzip.compress(lines)})
    names = [attribute.name for attribute in schema.attributes]
    (found, report), _ = await between(folder / "ours", folder / "theirs", names)
    assert (found, report.complete) == ({}, True)
    assert report.matched >= 1


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"SS": ["a", "b"]}, {"SS": ["b", "a"]}),
        ({"NS": ["1", "2.50"]}, {"NS": ["2.5", "1.0"]}),
        (
            {"N": "12345678901234567890123456789012345678"},
            {"N": "1.2345678901234567890123456789012345678E37"},
        ),
        ({"N": "1e+21"}, {"N": "1000000000000000000000"}),
        ({"M": {"a": {"N": "1"}, "b": {"NULL": True}}}, {"M": {"b": {"NULL": True}, "a": {"N": "1"}}}),
    ],
)
async def test_values_are_equal_as_dynamodb_sees_them(
    tmp_path: Path, ours: dict[str, Any], theirs: dict[str, Any]
) -> None:
    put(tmp_path / "ours", our_dump([[{"id": {"S": "a"}, "v": ours}]]))
    put(tmp_path / "theirs", our_dump([[{"v": theirs, "id": {"S": "a"}}]]))
    (found, report), _ = await between(tmp_path / "ours", tmp_path / "theirs")
    assert (found, report.matched) == ({}, 1)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"N": "12345678901234567890123456789012345678"}, {"N": "12345678901234567890123456789012345679"}),
        ({"L": [{"S": "a"}, {"S": "b"}]}, {"L": [{"S": "b"}, {"S": "a"}]}),
        ({"S": "1"}, {"N": "1"}),
        ({"S": "x" * 400_000}, {"S": "x" * 399_999 + "y"}),
    ],
)
async def test_values_differ_as_dynamodb_sees_them(
    tmp_path: Path, ours: dict[str, Any], theirs: dict[str, Any]
) -> None:
    put(tmp_path / "ours", our_dump([[{"id": {"S": "a"}, "v": ours}]]))
    put(tmp_path / "theirs", our_dump([[{"v": theirs, "id": {"S": "a"}}]]))
    (found, report), _ = await between(tmp_path / "ours", tmp_path / "theirs")
    assert (found[key()].kind, report.different) == ("different", 1)
    (found, report), _ = await between(
        tmp_path / "ours", tmp_path / "theirs", comparison=Comparison(ignore=frozenset({"v"}))
    )
    assert (found, report.matched) == ({}, 1)


async def test_what_global_tables_add_is_not_compared(endpoint: ScriptedDynamo, tmp_path: Path) -> None:
    put(tmp_path, our_dump([[item(**{"aws:rep:updateregion": "us-east-1"}, v=1)]]))
    found, report = await Checking.of(endpoint, [item(v=1)])(tmp_path)
    assert (found, report.matched) == ({}, 1)


async def test_a_key_that_a_backup_has_twice_counts_once(endpoint: ScriptedDynamo, tmp_path: Path) -> None:
    put(tmp_path, our_dump([[item(v=1), item(v=2)]]))
    found, report = await Checking.of(endpoint, [item(v=2)])(tmp_path)
    assert (found, report.matched, report.scanned_primary) == ({}, 1, 2)


# ── How it is told ──────────────────────────────────────────────────────────────────────────────────


async def test_each_side_is_a_pass_the_table_after_the_backup(
    endpoint: ScriptedDynamo, tmp_path: Path
) -> None:
    put(tmp_path, our_dump([items(40)]))
    check = Checking.of(endpoint, items(30))
    await check(tmp_path)
    told = [
        (type(event).__name__, event.name)
        for event in check.log.events
        if isinstance(event, PassStarted | PassEnded)
    ]
    assert told == [
        ("PassStarted", "primary"), ("PassEnded", "primary"), ("PassStarted", "replica"), ("PassEnded", "replica"),
    ]  # fmt: skip
    assert check.log.of(PassStarted)[0].estimate == 40
    for name, count in (("primary", 40), ("replica", 30)):
        assert sum(event.items for event in check.log.of(Advanced) if event.name == name) == count


async def test_the_report_says_how_it_was_done(endpoint: ScriptedDynamo, tmp_path: Path) -> None:
    put(tmp_path, our_dump([items(40)]))
    _, report = await Checking.of(endpoint, items(40))(tmp_path, limits=Limits(segments=3))
    assert (report.strategy, report.segments, report.segment) == ("hash-join", 3, None)
    assert (report.primary, report.replica) == (str(tmp_path), "us-east-1/orders")
    assert json.dumps(report.as_dict())
    assert {call.body["TotalSegments"] for call in endpoint.requests("Scan")} == {3}
    assert report.read_units > 0
