"""What looks different is confirmed: a backup stays as it is, a table is read strongly, a folder follows its table."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import BackupError, Cause, Comparison, Note, State
from asyncrep.backup.check import diff_backup
from asyncrep.backup.point_in_time import open_folder_at
from tests.support.backup_checks import Checking, between, objects
from tests.support.folders import START, FolderScene
from tests.support.restores import jsonl, our_dump, put
from tests.support.scenario import NAME, PRIMARY, decoded, item, items, key, strong, weak

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.buckets import Bucket
    from tests.support.scripted import ScriptedDynamo

STRONG = strong(PRIMARY)
HOUR = 3600


def strongly_read(endpoint: ScriptedDynamo) -> list[Any]:
    """The keys that strong reads have named, call by call."""
    reads = [call.body["RequestItems"][NAME] for call in endpoint.requests("BatchGetItem")]
    assert all(read["ConsistentRead"] for read in reads)
    return [[each["id"]["S"] for each in read["Keys"]] for read in reads]


# ── A backup that is fixed ──────────────────────────────────────────────────────────────────────────


async def test_each_record_that_looks_different_is_read_once_and_nothing_waits(
    endpoint: ScriptedDynamo, tmp_path: Path
) -> None:
    put(tmp_path, our_dump([[*items(5), item("d", v=1), item("m")]]))
    check = Checking.of(endpoint, [*items(5), item("d", v=2), item("x")])
    began = check.held.clock.now()
    found, _ = await check(tmp_path, comparison=Comparison(settle=100))
    assert [sorted(keys) for keys in strongly_read(endpoint)] == [["d", "m", "x"]]
    assert {each.kind for each in found.values()} == {"missing", "different", "extraneous"}
    assert check.held.clock.now() - began < 100


async def test_what_only_a_stale_scan_saw_otherwise_settles(endpoint: ScriptedDynamo, tmp_path: Path) -> None:
    put(tmp_path, our_dump([items(5, v=2)]))
    check = Checking.of(endpoint, items(5, v=2))
    check.held.table.stale |= {"k001": item("k001", v=1), "k002": None}
    found, report = await check(tmp_path)
    assert found == {}
    assert (report.matched, report.settled, report.compared) == (3, 2, 5)


async def test_an_item_that_only_a_stale_scan_saw_is_not_extraneous(
    endpoint: ScriptedDynamo, tmp_path: Path
) -> None:
    put(tmp_path, our_dump([items(5)]))
    check = Checking.of(endpoint, [*items(5), item("x")])
    endpoint.before("BatchGetItem", lambda _: check.held.table.delete("x"), **STRONG)
    found, report = await check(tmp_path)
    assert (found, report.drift) == ({}, 0)


async def test_a_table_that_keeps_changing_is_judged_by_what_it_is_when_it_is_read(
    endpoint: ScriptedDynamo, tmp_path: Path
) -> None:
    put(tmp_path, our_dump([[item(v=1)]]))
    check = Checking.of(endpoint, [item(v=2)])
    endpoint.before("BatchGetItem", lambda _: check.held.table.put(item(v=3)), **STRONG)
    endpoint.after("BatchGetItem", lambda _: check.held.table.put(item(v=4)), **STRONG)
    found, report = await check(tmp_path)
    assert found[key()].state is State.FOUND
    assert decoded(found[key()].replica) == item(v=3)
    assert (report.different, report.in_flight) == (1, 0)


async def test_between_two_backups_nothing_is_asked_and_nothing_waits(tmp_path: Path) -> None:
    put(tmp_path / "ours", our_dump([[item(v=1)]]))
    put(tmp_path / "theirs", our_dump([[item(v=2)]]))
    (found, report), _ = await between(
        tmp_path / "ours", tmp_path / "theirs", comparison=Comparison(settle=60)
    )
    assert (found[key()].state, report.read_units, report.cost_usd) == (State.FOUND, 0, 0)
    assert report.seconds < 60


# ── What it is called ───────────────────────────────────────────────────────────────────────────────


async def test_only_versions_tell_a_cause(endpoint: ScriptedDynamo, tmp_path: Path) -> None:
    put(tmp_path, our_dump([[item("m"), item("o", version=5), item("n", version=5), item("d", v=1)]]))
    check = Checking.of(endpoint, [item("x"), item("o", version=4), item("n", version=6), item("d", v=2)])
    found, report = await check(tmp_path)
    assert {each: record.cause for each, record in found.items()} == {
        key("m"): None, key("x"): None, key("d"): Cause.ATTRIBUTE_CHANGE,
        key("o"): Cause.OLDER_VERSION, key("n"): Cause.NEWER_VERSION,
    }  # fmt: skip
    assert report.causes == {"older_version": 1, "newer_version": 1, "attribute_change": 1}


@pytest.mark.parametrize("told_by", ["the table", "the backup"])
async def test_what_ttl_has_deleted_since_is_expired_and_not_missing(
    endpoint: ScriptedDynamo, tmp_path: Path, told_by: str
) -> None:
    ttl = "until"
    options: dict[str, Any] = {"ttl": ttl} if told_by == "the table" else {}
    check = Checking.of(endpoint, **options)
    past = int(check.held.clock.now()) - HOUR
    described: dict[str, Any] = {"ttl_attribute": ttl} if told_by == "the backup" else {}
    put(tmp_path, our_dump([[item("gone", until=past), item("lost", until=past + 2 * HOUR)]], **described))
    found, report = await check(tmp_path)
    assert {each: record.state for each, record in found.items()} == {
        key("gone"): State.EXPIRED, key("lost"): State.FOUND
    }  # fmt: skip
    assert (report.expired, report.missing) == (1, 1)


async def test_an_item_whose_life_was_prolonged_in_the_table_since_is_different_and_not_expired(
    endpoint: ScriptedDynamo, tmp_path: Path
) -> None:
    check = Checking.of(endpoint, ttl="until")
    past = int(check.held.clock.now()) - HOUR
    for name, until in (("prolonged", past + 2 * HOUR), ("over", past + 1)):
        check.held.table.put(item(name, v=2, until=until))
    put(tmp_path, our_dump([[item("prolonged", v=1, until=past), item("over", v=1, until=past)]]))
    found, report = await check(tmp_path)
    assert {each: record.state for each, record in found.items()} == {
        key("prolonged"): State.FOUND, key("over"): State.EXPIRED
    }  # fmt: skip
    assert (report.expired, report.different) == (1, 1)


async def test_a_key_that_is_not_the_whole_key_is_found_out(tmp_path: Path) -> None:
    """Else of all items that share it only the last would be compared."""
    for place, v in (("ours", 1), ("theirs", 2)):
        (tmp_path / place).write_bytes(jsonl([item("a", n=1, v=v), item("a", n=2, v=1), item("b", n=1)]))
    with pytest.raises(
        BackupError,
        match=r"^One line of .*ours has the key of another one, and something else in it: id \(S\) is not the",
    ):
        await between(tmp_path / "ours", tmp_path / "theirs", ["id"])
    (found, report), log = await between(tmp_path / "ours", tmp_path / "theirs", ["id", "n"])
    assert (len(found), report.matched, log.of(Note)) == (1, 2, [])


async def test_lines_that_another_one_of_their_key_replaces_are_told(
    endpoint: ScriptedDynamo, tmp_path: Path
) -> None:
    twice = [item("a", v=1), item("b", v=1), item("b", v=1), item("a", v=2), item("a", v=3)]
    put(tmp_path, our_dump([twice]))
    check = Checking.of(endpoint, [item("a", v=3), item("b", v=1)])
    found, report = await check(tmp_path)
    assert (found, report.matched) == ({}, 2)
    assert Note(
        f"2 lines of {tmp_path} count for nothing: others of the same keys say something else."
    ) in check.log.of(Note)


async def test_between_two_backups_what_has_no_time_left_counts_by_the_time_that_they_tell_of(
    tmp_path: Path,
) -> None:
    """Both are years old: what has expired since, they were to have."""
    days = [int(datetime(2024, 3, day, tzinfo=UTC).timestamp()) for day in range(1, 6)]
    ours = [item("over", until=days[1]), item("lost", until=days[3])]
    theirs = [item("new", until=days[3]), item("left", until=days[0])]
    both = [("over too", days[0], State.EXPIRED), ("changed", days[3], State.FOUND)]
    for place, some, ended in (
        ("ours", ours, "2024-03-02T12:00:00Z"),
        ("theirs", theirs, "2024-03-03T12:00:00Z"),
    ):
        stored = [*some, *(item(name, v=len(place), until=until) for name, until, _ in both)]
        put(tmp_path / place, our_dump([stored], ended=ended, ttl_attribute="until"))
    (found, report), _ = await between(tmp_path / "ours", tmp_path / "theirs")
    assert {each: record.state for each, record in found.items()} == {
        key("over"): State.EXPIRED, key("lost"): State.FOUND, key("new"): State.FOUND, key("left"): State.EXPIRED,
        **{key(name): state for name, _, state in both},
    }  # fmt: skip
    assert (report.drift, report.expired) == (3, 3)


@pytest.mark.parametrize(
    ("ours", "theirs", "state"),
    [("2024-03-01", "2030-01-01", State.FOUND), ("2030-01-01", "2024-03-01", State.FOUND), ("2024-03-01", "2024-03-02", State.EXPIRED)],
)  # fmt: skip
async def test_of_two_backups_that_have_an_item_both_must_be_about_to_lose_it(
    tmp_path: Path, ours: str, theirs: str, state: State
) -> None:
    for place, until in (("ours", ours), ("theirs", theirs)):
        made = item(until=int(datetime.fromisoformat(f"{until}T00:00Z").timestamp()))
        put(tmp_path / place, our_dump([[made]], ended="2024-03-05T00:00:00Z", ttl_attribute="until"))
    (found, _), _ = await between(tmp_path / "ours", tmp_path / "theirs")
    assert found[key()].state is state


@pytest.mark.parametrize(
    ("told", "state"), [("2024-03-01T00:00:00Z", State.FOUND), ("long ago", State.EXPIRED)]
)
async def test_a_backup_that_does_not_tell_its_time_is_of_now(
    tmp_path: Path, told: str, state: State
) -> None:
    until = int(datetime(2024, 3, 2, tzinfo=UTC).timestamp())
    put(tmp_path / "ours", our_dump([[item(until=until)]], ttl_attribute="until"))
    put(tmp_path / "theirs", our_dump([[item("other")]], ttl_attribute="until", ended=told))
    (found, _), _ = await between(tmp_path / "ours", tmp_path / "theirs")
    assert found[key()].state is state


# ── A folder that follows its table ─────────────────────────────────────────────────────────────────


async def test_a_folder_that_catches_up_while_it_is_given_time_settles(
    endpoint: ScriptedDynamo, tmp_path: Path
) -> None:
    put(tmp_path, objects([*items(5, v=1), item("old")]))
    check = Checking.of(endpoint, [*items(5, v=2), item("new")])

    def catch_up(_: object) -> None:
        for path in tmp_path.iterdir():
            path.unlink()
        put(tmp_path, objects(check.held.table.items.values()))

    endpoint.after("BatchGetItem", catch_up, **STRONG)
    found, report = await check(tmp_path, comparison=Comparison(settle=3))
    assert found == {}
    assert report.settled == 7
    assert check.held.clock.monotonic() >= 3


async def test_a_folder_that_has_lost_changes_differs(endpoint: ScriptedDynamo, tmp_path: Path) -> None:
    put(tmp_path, objects([*items(3), item("d", v=1), item("m")]))
    check = Checking.of(endpoint, [*items(3), item("d", v=2), item("x")])
    found, report = await check(tmp_path)
    assert {each: record.kind for each, record in found.items()} == {
        key("d"): "different", key("m"): "missing", key("x"): "extraneous"
    }  # fmt: skip
    assert (report.matched, report.compared, report.complete) == (3, 6, True)
    assert len(strongly_read(endpoint)) == 2, "before and after the folder"


async def test_a_folder_as_it_was_is_fixed(endpoint: ScriptedDynamo, bucket: Bucket) -> None:
    folder = FolderScene(bucket)
    folder.put(item(v=1), at=10)
    folder.put(item("b", v=1), at=10)
    folder.put(item(v=2), at=20)
    check = Checking.of(endpoint, [item(v=2), item("b", v=1)])
    async with check.held.open() as table, folder.open() as objects:
        report = await diff_backup(await open_folder_at(objects, START + 15), table, clock=check.held.clock)
    assert (report.different, report.matched, report.complete) == (1, 1, True)
    assert strongly_read(endpoint) == [["a"]]


async def test_an_item_of_the_table_that_changes_at_every_look_is_in_flight(
    endpoint: ScriptedDynamo, tmp_path: Path
) -> None:
    put(tmp_path, objects([item(v=0)]))
    check = Checking.of(endpoint, [item(v=1)])
    versions = iter(range(2, 100))
    endpoint.before(
        "BatchGetItem", lambda _: check.held.table.put(item(v=next(versions))), **STRONG, times=None
    )
    found, report = await check(tmp_path, comparison=replace(Comparison(), tries=2))
    assert found[key()].state is State.IN_FLIGHT
    assert found[key()].reason == "The replica's item changed during each of 2 looks at it."
    assert (report.in_flight, report.drift) == (1, 0)
    assert len(strongly_read(endpoint)) == 4


async def test_nothing_is_read_weakly_but_the_scan(endpoint: ScriptedDynamo, tmp_path: Path) -> None:
    put(tmp_path, objects([item(v=0)]))
    endpoint.on("BatchGetItem", **weak(PRIMARY), times=None).error("ValidationException")
    found, report = await Checking.of(endpoint, [item(v=1)])(tmp_path)
    assert (len(found), report.complete) == (1, True)
