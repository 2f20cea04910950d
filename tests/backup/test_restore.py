"""Restores into a table: what is written, what is refused, and what happens when something goes wrong."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import TYPE_CHECKING

import pytest

from asyncrep import Advanced, Limits, PassEnded, PassStarted
from asyncrep.backup.report import RestoreReport
from asyncrep.errors import BackupError, IncompleteBackupError, UsageError
from tests.support.restores import Restoring, changed, export, foreign_dump, jsonl, our_dump, put
from tests.support.scenario import NAME, PRIMARY, item, items

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.scripted import ScriptedDynamo


@pytest.fixture
def restoring(endpoint: ScriptedDynamo) -> Restoring:
    """An empty table."""
    return Restoring(endpoint, endpoint.create_table(NAME, PRIMARY))


async def test_every_item_of_a_dump_is_written_in_batches_of_25(restoring: Restoring, tmp_path: Path) -> None:
    stock = items(110, n=1)
    put(tmp_path, our_dump([stock[:60], stock[60:]]))
    report = await restoring(tmp_path)
    assert restoring.items == stock
    assert (report.items, report.written, report.failed, report.complete) == (110, 110, 0, True)
    assert report.bytes == len(jsonl(stock)) - 110
    assert restoring.endpoint.count("BatchWriteItem") == 5
    assert report.write_units == 110


async def test_the_backup_is_read_to_its_end_before_anything_is_written(
    restoring: Restoring, tmp_path: Path
) -> None:
    put(tmp_path, our_dump([items(30)]))
    await restoring(tmp_path)
    told = [
        (type(event).__name__, event.name)
        for event in restoring.log.events
        if isinstance(event, PassStarted | PassEnded)
    ]
    assert told == [
        ("PassStarted", "check"), ("PassEnded", "check"), ("PassStarted", "restore"), ("PassEnded", "restore")
    ]  # fmt: skip
    for name in ("check", "restore"):
        assert sum(event.items for event in restoring.log.of(Advanced) if event.name == name) == 30


async def test_a_dump_of_another_tool_is_restored_and_its_lack_of_a_manifest_told(
    restoring: Restoring, tmp_path: Path
) -> None:
    backwards = [dict(reversed(each.items())) for each in items(3, n=1, text="\u2028")]
    put(tmp_path, foreign_dump([backwards[:2], backwards[2:]]))
    report = await restoring(tmp_path)
    assert report.complete
    assert restoring.items == sorted(backwards, key=json.dumps)
    assert "no manifest" in restoring.log.notes[0]


async def test_a_table_that_is_not_empty_is_refused(restoring: Restoring, tmp_path: Path) -> None:
    restoring.table.put(item("there"))
    put(tmp_path, foreign_dump([items(3)]))
    with pytest.raises(UsageError, match="is not empty: --overwrite writes over"):
        await restoring(tmp_path)
    assert restoring.writes == 0


async def test_overwriting_replaces_items_of_the_same_keys_and_leaves_all_others(
    restoring: Restoring, tmp_path: Path
) -> None:
    restoring.table.put(item("k001", n=2, more="x"))
    restoring.table.put(item("z"))
    put(tmp_path, foreign_dump([items(3, n=1)]))
    report = await restoring(tmp_path, mode="overwrite")
    assert restoring.items == [*items(3, n=1), item("z")]
    assert (report.written, report.present, report.complete) == (3, 0, True)


async def test_only_what_is_missing_is_written_when_that_is_asked_for(
    restoring: Restoring, tmp_path: Path
) -> None:
    restoring.table.put(item("k000", n=1))
    restoring.table.put(item("k001", n=2))
    put(tmp_path, foreign_dump([items(60, n=1)]))
    report = await restoring(tmp_path, mode="only-missing")
    assert (report.written, report.present, report.complete) == (58, 2, True)
    assert item("k001", n=2) in restoring.items
    assert len(restoring.items) == 60


async def test_an_item_that_the_service_refuses_is_told_with_its_line_and_the_rest_goes_in(
    restoring: Restoring, tmp_path: Path
) -> None:
    stock = items(60, n=1)
    stock[7] = item("k007", n=1) | {"bad": {"N": "x"}}
    stock[40] = item("k040", blob="x" * 500_000)
    put(tmp_path, foreign_dump([stock]))
    report = await restoring(tmp_path)
    assert (report.written, report.failed, report.complete) == (58, 2, False)
    assert restoring.items == [each for number, each in enumerate(stock) if number not in {7, 40}]
    told = sorted(restoring.refused, key=lambda each: each.line)
    assert [(each.file, each.line, each.key) for each in told] == [
        (str(tmp_path / "0"), 8, b'{"id":{"S":"k007"}}'),
        (str(tmp_path / "0"), 41, b'{"id":{"S":"k040"}}'),
    ]
    assert all("ValidationException" in each.reason for each in told)
    assert report.refused == restoring.refused


async def test_without_a_check_lines_that_are_no_items_are_told_and_the_rest_goes_in(
    restoring: Restoring, tmp_path: Path
) -> None:
    text = jsonl(items(2)) + b'{"id"\n{"n":{"N":"1"}}\n{"id":{"N":"1"}}\n\n[1]\n' + jsonl([item("z")])
    put(tmp_path, {"dump": text})
    report = await restoring(tmp_path / "dump", check_first=False)
    assert restoring.items == [*items(2), item("z")]
    assert (report.items, report.written, report.failed) == (7, 3, 4)
    reasons = {each.line: each.reason for each in restoring.refused}
    assert set(reasons) == {3, 4, 5, 7}
    assert reasons[3].startswith("It is not JSON")
    assert reasons[4] == "The item has no 'id', which is part of the key id (S)."
    assert reasons[5] == "The item's 'id' is of type N; the key is id (S)."


async def test_a_line_cannot_smuggle_requests_into_a_batch(restoring: Restoring, tmp_path: Path) -> None:
    hostile = b'{"id":{"S":"a"}}}},{"DeleteRequest":{"Key":{"id":{"S":"k000"}}}},{"PutRequest":{"Item":{"id":{"S":"b"}}\n'
    put(tmp_path, {"dump": jsonl(items(1)) + hostile})
    report = await restoring(tmp_path / "dump", check_first=False)
    assert restoring.items == items(1)
    assert report.failed == 1


async def test_of_two_lines_of_one_key_the_later_one_counts(restoring: Restoring, tmp_path: Path) -> None:
    lines = [item("a", n=number) for number in range(10)]
    mixed = [each for number, line in enumerate(lines) for each in (line, item(f"k{number:03}"))]
    put(tmp_path, {"dump": jsonl(mixed)})
    restoring.endpoint.on("BatchWriteItem", times=9).delay(0.02)  # the last would overtake those before it
    report = await restoring(tmp_path / "dump")
    assert report.written == 20
    assert item("a", n=9) in restoring.items
    sent = [call for call in restoring.endpoint.calls if call.operation == "BatchWriteItem"]
    assert len(sent) == 10


async def test_numbers_of_javascript_are_written_plainly(restoring: Restoring, tmp_path: Path) -> None:
    strange = item("a") | {"n": {"N": "1e+21"}, "s": {"NS": ["1e-7", "5"]}, "t": {"S": '"N":"1e+21"'}}
    put(tmp_path, foreign_dump([[strange]]))
    await restoring(tmp_path)
    [written] = restoring.items
    assert written["n"] == {"N": "1" + "0" * 21}
    assert written["s"] == {"NS": ["0.0000001", "5"]}
    assert written["t"] == strange["t"]


async def test_attributes_of_global_tables_are_never_written(restoring: Restoring, tmp_path: Path) -> None:
    put(tmp_path, foreign_dump([[item("a", n=1) | {"aws:rep:updatetime": {"N": "1"}}]]))
    await restoring(tmp_path)
    assert restoring.items == [item("a", n=1)]


async def test_what_is_left_unprocessed_and_throttled_is_sent_again(
    restoring: Restoring, tmp_path: Path
) -> None:
    put(tmp_path, foreign_dump([items(50, n=1)]))
    restoring.endpoint.on("BatchWriteItem", times=2).unprocessed(10)
    restoring.endpoint.on("BatchWriteItem", times=2).throttle()
    report = await restoring(tmp_path)
    assert restoring.items == items(50, n=1)
    assert (report.written, report.complete) == (50, True)
    assert report.throttled >= 2


async def test_damage_found_by_the_check_keeps_everything_from_being_written(
    restoring: Restoring, tmp_path: Path
) -> None:
    objects = our_dump([items(50, n=1), items(50, n=2)])
    put(tmp_path, objects | {"1": objects["0"]})
    with pytest.raises(BackupError, match="1 is not what its manifest says: it has the SHA-256"):
        await restoring(tmp_path)
    assert restoring.writes == 0


async def test_damage_that_is_found_while_writing_makes_the_restore_incomplete(
    restoring: Restoring, tmp_path: Path
) -> None:
    whole = gzip.compress(jsonl(items(200, text="x" * 100)))
    put(tmp_path, {"0": whole[: len(whole) - 40]})
    with pytest.raises(IncompleteBackupError, match=r"0 breaks off after line \d+") as caught:
        await restoring(tmp_path, check_first=False)
    assert not caught.value.report.complete


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"id":{"S":"\xff"}}', "It is not JSON: 'utf-8'"),
        (b'{"id":{"S":"\xff\\n"}}', "It is not JSON: 'utf-8'"),
        (b'{"id":{"S":"a"},"more":{"S":"\xc3"}}', "It is not JSON: 'utf-8'"),
        (
            b'{"id":{"S":"a"},"more":' + b'{"L":[' * 5000 + b"]}" * 5000 + b"}",
            "It is not JSON: maximum recursion",
        ),
    ],
)
async def test_a_line_that_was_not_checked_and_cannot_be_sent_is_told_and_the_rest_goes_in(
    restoring: Restoring, tmp_path: Path, line: bytes, reason: str
) -> None:
    put(tmp_path, {"lines": line + b"\n" + jsonl([item("b")])})
    report = await restoring(tmp_path / "lines", check_first=False)
    assert (restoring.items, report.written, report.failed) == ([item("b")], 1, 1)
    [refused] = report.as_dict()["refused"]
    assert refused["line"] == 1
    assert refused["reason"].startswith(reason)


async def test_a_table_with_another_key_than_the_dump_describes_is_refused(
    restoring: Restoring, tmp_path: Path
) -> None:
    create = {
        "AttributeDefinitions": [{"AttributeName": "name", "AttributeType": "N"}],
        "KeySchema": [{"AttributeName": "name", "KeyType": "HASH"}],
    }
    put(tmp_path, our_dump([[]], create))
    with pytest.raises(
        UsageError, match=r"has the key id \(S\), and .* is of a table with the key name \(N\)"
    ):
        await restoring(tmp_path)


async def test_the_service_s_no_ends_the_restore_and_says_how_far_it_came(
    restoring: Restoring, tmp_path: Path
) -> None:
    put(tmp_path, foreign_dump([items(100)]))
    restoring.endpoint.on("BatchWriteItem", after=2, times=None).error("AccessDeniedException")
    with pytest.raises(IncompleteBackupError) as caught:
        await restoring(tmp_path)
    report = caught.value.report
    assert isinstance(report, RestoreReport)
    assert not report.complete
    assert len(restoring.items) >= report.written


async def test_phases_are_applied_in_order_with_their_deletions(restoring: Restoring, tmp_path: Path) -> None:
    full = [{"Item": each} for each in items(60, n=0)]
    first = [changed(item("k001", n=1)), changed(None, item("k002")), changed(item("new", n=1))]
    second = [changed(item("k002", n=2)), changed(None, item("new"))]
    put(tmp_path, export("1-full", full, time="2026-01-01T00:00:00.000Z"))
    put(tmp_path, export("2-a", first, since="2026-01-01T00:00:00.000Z", time="2026-01-02T00:00:00.000Z"))
    put(tmp_path, export("3-b", second, since="2026-01-02T00:00:00.000Z", time="2026-01-03T00:00:00.000Z"))
    report = await restoring(tmp_path)
    stock = items(60, n=0)
    stock[1], stock[2] = item("k001", n=1), item("k002", n=2)
    assert restoring.items == stock
    assert (report.items, report.written, report.deleted) == (65, 63, 2)


async def test_only_the_last_state_of_a_chain_is_put_where_something_is_missing(
    restoring: Restoring, tmp_path: Path
) -> None:
    full = [{"Item": each} for each in items(5, n=0)]
    later = [changed(item("k001", n=1)), changed(None, item("k002")), changed(item("k003", n=1))]
    put(tmp_path, export("1-full", full, time="2026-01-01T00:00:00.000Z"))
    put(tmp_path, export("2-a", later, since="2026-01-01T00:00:00.000Z", time="2026-01-02T00:00:00.000Z"))
    restoring.table.put(item("k003", n=9))
    report = await restoring(tmp_path, mode="only-missing")
    assert restoring.items == [item("k000", n=0), item("k001", n=1), item("k003", n=9), item("k004", n=0)]
    assert (report.written, report.present, report.deleted) == (3, 1, 0)


async def test_a_budget_that_is_used_up_ends_the_restore(restoring: Restoring, tmp_path: Path) -> None:
    put(tmp_path, foreign_dump([items(100)]))
    with pytest.raises(IncompleteBackupError, match="budget"):
        await restoring(tmp_path, limits=Limits(max_cost=0.00001))
    assert restoring.writes == 0


async def test_a_member_of_a_global_table_is_written_to_only_when_forced(
    restoring: Restoring, tmp_path: Path
) -> None:
    put(tmp_path, foreign_dump([items(3)]))
    restoring.table.description["Replicas"] = [{"RegionName": "eu-west-1"}]
    with pytest.raises(UsageError, match=r"is a member of a global table: .* \(--force-global-table\)"):
        await restoring(tmp_path)
    del restoring.table.description["Replicas"]
    restoring.table.global_regions = [PRIMARY, "eu-west-1"]  # as those of 2017 tell
    with pytest.raises(UsageError, match="is a member of a global table"):
        await restoring(tmp_path)
    assert restoring.writes == 0
    assert (await restoring(tmp_path, force=True)).written == 3


async def test_a_put_that_landed_and_lost_its_answer_counts_as_written(
    restoring: Restoring, tmp_path: Path
) -> None:
    put(tmp_path, foreign_dump([items(3)]))
    restoring.endpoint.on("PutItem").land_then_reset()
    report = await restoring(tmp_path, mode="only-missing")
    assert (report.written, report.present, report.complete) == (3, 0, True)


async def test_an_interrupted_restore_leaves_no_task_and_no_open_file(
    restoring: Restoring, tmp_path: Path
) -> None:
    put(tmp_path, foreign_dump([items(300), items(300, n=1)]))
    restoring.endpoint.on("BatchWriteItem", after=3, times=None).delay(30.0)
    begun = asyncio.Event()
    restoring.endpoint.before("BatchWriteItem", lambda _: begun.set(), after=3)
    before = asyncio.all_tasks()
    task = asyncio.ensure_future(restoring(tmp_path, mode="overwrite"))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    left = asyncio.all_tasks() - before
    assert not [each for each in left if "asyncrep" in repr(each.get_coro())]
