"""A dump that is kept as a job goes on where a run before it ended: whole segments are not read again."""

from __future__ import annotations

import asyncio
import hashlib
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import Limits, Segment, UsageError
from asyncrep.backup.local import LocalFolder
from asyncrep.backup.places import open_storage
from asyncrep.errors import IncompleteBackupError, JobError
from asyncrep.jobs.job import open_job
from asyncrep.location import S3Place
from asyncrep.options import S3Access
from tests.support.dumps import Dumps, by_text
from tests.support.scenario import NAME, PRIMARY, items, session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from asyncrep.backup.report import BackupReport
    from asyncrep.jobs.job import Job
    from tests.support.buckets import Bucket
    from tests.support.scripted import ScriptedDynamo

FOUR = Limits(segments=4)


@pytest.fixture(params=["s3", "folder"])
async def dumps(
    request: pytest.FixtureRequest, endpoint: ScriptedDynamo, tmp_path: Path
) -> AsyncIterator[Dumps]:
    table = endpoint.create_table(NAME, PRIMARY, items=items(40))
    table.page_items = 3
    if request.param == "folder":
        yield Dumps(endpoint, table, LocalFolder(tmp_path / "d"))
        return
    bucket: Bucket = request.getfixturevalue("bucket")
    async with open_storage(S3Place(bucket.name, "p"), S3Access(), session=session()) as storage:
        yield Dumps(endpoint, table, storage)


@asynccontextmanager
async def a_job(folder: Path, **options: Any) -> AsyncIterator[Job]:
    async with open_job(folder / "job", {"COMMAND": "backup-table"} | options) as job:
        await job.begin()
        yield job


async def run(dumps: Dumps, folder: Path, **options: Any) -> BackupReport:
    async with a_job(folder) as job:
        return await dumps(job=job, **({"limits": FOUR} | options))


async def failed(dumps: Dumps, folder: Path) -> None:
    """A run of the dump x that comes to nothing."""
    refusing = dumps.endpoint.on("Scan").error("AccessDeniedException").forever()
    with pytest.raises(IncompleteBackupError):
        await run(dumps, folder, job_id="x")
    refusing.fault = None


async def interrupted(dumps: Dumps, folder: Path, **options: Any) -> BackupReport:
    """A run whose scan of the last segment fails, when the others are whole."""

    def is_of_last(body: dict[str, Any]) -> bool:
        return bool(body["Segment"] == 3)

    dumps.endpoint.on("Scan", when=is_of_last).delay(0.3)
    dumps.endpoint.on("Scan", after=1, when=is_of_last).error("AccessDeniedException")
    async with a_job(folder) as job:
        report = await dumps.ending_early(job=job, **({"limits": FOUR} | options))
    assert report.objects == 3
    return report


@pytest.mark.parametrize("format", ["jsonl", "export"])
async def test_whole_segments_are_not_read_again(dumps: Dumps, tmp_path: Path, format: str) -> None:
    before = await interrupted(dumps, tmp_path, format=format)
    scans = len(dumps.endpoint.requests("Scan"))
    report = await run(dumps, tmp_path, format=format)
    again = dumps.endpoint.requests("Scan")[scans:]
    assert {call.body["Segment"] for call in again} == {3}
    assert (report.job_id, report.segments) == (before.job_id, 4)
    assert (report.complete, report.objects) == (True, 1)
    assert (report.skipped, report.skipped_bytes) == (before.items, before.stored_bytes)
    assert report.items + report.skipped == 40
    assert report.read_units > before.read_units > 0


async def test_a_dump_in_two_runs_holds_every_item(dumps: Dumps, tmp_path: Path) -> None:
    await interrupted(dumps, tmp_path)
    report = await run(dumps, tmp_path)
    assert by_text(await dumps.items(str(report.job_id))) == by_text(list(dumps.table.items.values()))


async def test_the_cut_is_that_of_the_run_before(dumps: Dumps, tmp_path: Path) -> None:
    before = await interrupted(dumps, tmp_path)
    report = await run(dumps, tmp_path, limits=Limits())
    assert (report.segments, report.job_id) == (4, before.job_id)


async def test_the_job_tells_how_far_it_is(dumps: Dumps, tmp_path: Path) -> None:
    before = await interrupted(dumps, tmp_path)
    async with open_job(tmp_path / "job", {"COMMAND": "backup-table"}) as job:
        work = job.work
        assert work is not None
        assert (work["segments"], work["segments_done"], work["items"]) == (4, 3, before.items)
        assert not job.state.done
        assert not job.state.working
    await run(dumps, tmp_path)
    async with open_job(tmp_path / "job", {"COMMAND": "backup-table"}) as job:
        assert job.note is not None
        assert "it begins anew" in job.note


async def test_a_job_that_is_done_begins_another_dump(dumps: Dumps, tmp_path: Path) -> None:
    first, second = await run(dumps, tmp_path), await run(dumps, tmp_path)
    assert first.job_id != second.job_id
    assert (second.items, second.skipped) == (40, 0)


async def test_what_was_replaced_since_is_dumped_again(dumps: Dumps, tmp_path: Path) -> None:
    before = await interrupted(dumps, tmp_path)
    await dumps.storage.put(f"{before.job_id}/0", b"cut")
    await dumps.storage.delete(f"{before.job_id}/1")
    await dumps.storage.delete(f"{before.job_id}/2.manifest.json")
    report = await run(dumps, tmp_path)
    assert (report.items, report.skipped, report.objects) == (40, 0, 4)
    assert len(await dumps.items(str(report.job_id))) == 40


@pytest.mark.parametrize("format", ["jsonl", "export"])
async def test_a_manifest_of_what_was_replaced_since_does_not_stay(
    dumps: Dumps, tmp_path: Path, format: str
) -> None:
    await interrupted(dumps, tmp_path, job_id="x", format=format)
    await dumps(job_id="x", format=format, segment=Segment(3, 4))
    folder, name, ours = (
        ("x/", "3", "") if format == "jsonl" else ("AWSDynamoDB/x/", "data/3.json.gz", "asyncrep/")
    )
    before = await dumps.json(f"{folder}{ours}manifest.json")
    await dumps.storage.delete(f"{folder}{name}")
    dumps.table.items.clear()
    await run(dumps, tmp_path, job_id="x", format=format)
    (told,) = [
        part for part in (await dumps.json(f"{folder}{ours}manifest.json"))["parts"] if part["name"] == name
    ]
    stored = await dumps.body(f"{folder}{name}")
    assert told not in before["parts"]
    assert (told["items"], told["stored_bytes"]) == (0, len(stored))
    assert told["sha256"] == hashlib.sha256(stored).hexdigest()


async def test_of_a_segment_apart_nothing_else_is_dumped(dumps: Dumps, tmp_path: Path) -> None:
    dumps.endpoint.on("Scan", after=1).error("AccessDeniedException")
    with pytest.raises(IncompleteBackupError):
        await run(dumps, tmp_path, job_id="x", segment=Segment(1, 4))
    report = await run(dumps, tmp_path, job_id="x", segment=Segment(1, 4))
    assert (report.complete, report.segment) == (True, 1)
    assert await dumps.names() == ["x/1", "x/1.manifest.json"]


async def test_uploads_that_a_killed_run_left_are_aborted(
    endpoint: ScriptedDynamo, tmp_path: Path, bucket: Bucket
) -> None:
    table = endpoint.create_table(NAME, PRIMARY, items=items(10))
    async with open_storage(S3Place(bucket.name, "p"), S3Access(), session=session()) as storage:
        dumps = Dumps(endpoint, table, storage)
        await failed(dumps, tmp_path)
        for name in ("p/x/0", "p/x/3", "p/x/33", "p/y/0"):
            bucket.s3.create_multipart_upload(Bucket=bucket.name, Key=name)
        await run(dumps, tmp_path, job_id="x")
    left = bucket.s3.list_multipart_uploads(Bucket=bucket.name)["Uploads"]
    assert sorted(each["Key"] for each in left) == ["p/x/33", "p/y/0"]
    assert dumps.log.notes[-1] == "What a run before this one left unfinished was removed: 2 uploads."


async def test_drafts_that_a_killed_run_left_are_removed(endpoint: ScriptedDynamo, tmp_path: Path) -> None:
    table = endpoint.create_table(NAME, PRIMARY, items=items(10))
    dumps = Dumps(endpoint, table, LocalFolder(tmp_path / "d"))
    await failed(dumps, tmp_path)
    drafts = [tmp_path / "d" / "x" / f".{name}.{os.urandom(6).hex()}.part" for name in ("0", "3", "33")]
    for draft in drafts:
        draft.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(b"half")
    await run(dumps, tmp_path, job_id="x")
    assert [draft.exists() for draft in drafts] == [False, False, True]


async def test_a_table_made_anew_is_another_one(dumps: Dumps, tmp_path: Path) -> None:
    dumps.table.description = {"TableId": "first"}
    await interrupted(dumps, tmp_path)
    dumps.table.description = {"TableId": "second"}
    with pytest.raises(UsageError, match="was created anew since the job began"):
        await run(dumps, tmp_path)


async def test_work_that_is_none_is_refused(dumps: Dumps, tmp_path: Path) -> None:
    async with a_job(tmp_path) as job:
        await job.save_work({"jobid": "x", "total": 0}, last=True)
    with pytest.raises(UsageError, match="is damaged: The number of segments must be 1 to 1,000,000"):
        await run(dumps, tmp_path)


async def test_a_job_that_cannot_be_saved_ends_the_run(
    dumps: Dumps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_job(tmp_path) as job:

        async def fail(*_: object, **__: object) -> None:
            await asyncio.sleep(0)
            raise JobError("full")

        monkeypatch.setattr(job, "save_work", fail)
        with pytest.raises(IncompleteBackupError, match="full"):
            await dumps(job=job)
    assert await dumps.names() == []
