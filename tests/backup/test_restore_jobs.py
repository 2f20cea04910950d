"""A restore that was ended goes on where it was, with another process and without doing all of it again."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrep.backup.reading import BackupFile
from asyncrep.backup.report import RestoreReport
from asyncrep.backup.restore_progress import Done, Progress
from asyncrep.errors import IncompleteBackupError, UsageError
from asyncrep.flow.clock import SystemClock
from asyncrep.items.incremental import object_name
from asyncrep.jobs.job import open_job
from tests.support.restores import Restoring, changed, export, foreign_dump, jsonl, our_dump, put
from tests.support.scenario import NAME, PRIMARY, item, items, key

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from asyncrep.backup.reading import Backup, BackupKind
    from tests.support.scripted import ScriptedDynamo

STOCK = items(300, n=1)


@pytest.fixture
def restoring(endpoint: ScriptedDynamo) -> Restoring:
    """An empty table."""
    return Restoring(endpoint, endpoint.create_table(NAME, PRIMARY))


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    """A dump of three segments."""
    return put(tmp_path / "dump", our_dump([STOCK[:120], STOCK[120:240], STOCK[240:]]))


async def run(restoring: Restoring, dump: Path, job: Path, **options: Any) -> RestoreReport:
    """One process's part of a job."""
    # Virtual time passes whenever something waits, and with it the time for the next save.
    async with open_job(job, {"COMMAND": "restore"}) as opened:
        await opened.begin()
        return await restoring(dump, job=opened, clock=SystemClock(), **options)


async def broken_off(
    restoring: Restoring, dump: Path, job: Path, *, after: int, **options: Any
) -> RestoreReport:
    """A run that the service ends after some calls."""
    stopped = restoring.endpoint.on("BatchWriteItem", after=after, times=None).error("AccessDeniedException")
    with pytest.raises(IncompleteBackupError) as caught:
        await run(restoring, dump, job, **options)
    stopped.times = 0
    report = caught.value.report
    assert isinstance(report, RestoreReport)
    return report


async def test_what_is_done_is_not_done_again(restoring: Restoring, dump: Path, tmp_path: Path) -> None:
    before = await broken_off(restoring, dump, tmp_path / "job", after=6)
    assert 0 < before.written < 300
    calls = restoring.endpoint.count("BatchWriteItem")
    report = await run(restoring, dump, tmp_path / "job")
    assert restoring.items == STOCK
    assert report.complete
    assert (report.items, report.written) == (300, 300)
    assert restoring.endpoint.count("BatchWriteItem") - calls < 12
    assert report.write_units >= 300


async def test_the_table_is_asked_and_the_backup_checked_only_once(
    restoring: Restoring, dump: Path, tmp_path: Path
) -> None:
    await broken_off(restoring, dump, tmp_path / "job", after=6)
    scans = restoring.endpoint.count("Scan")
    restoring.log.events.clear()
    await run(restoring, dump, tmp_path / "job")
    assert restoring.endpoint.count("Scan") == scans
    assert "check" not in {getattr(event, "name", "") for event in restoring.log.events}


async def test_a_process_that_was_killed_between_two_saves_loses_nothing(
    restoring: Restoring, dump: Path, tmp_path: Path
) -> None:
    slow = restoring.endpoint.on("BatchWriteItem", after=5, times=None).delay(30.0)
    begun = asyncio.Event()
    restoring.endpoint.before("BatchWriteItem", lambda _: begun.set(), after=5)
    task = asyncio.ensure_future(run(restoring, dump, tmp_path / "job"))
    await begun.wait()
    state = next((tmp_path / "job").glob("*.json"))
    saved = state.read_bytes()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    state.write_bytes(saved)  # what a killed process leaves
    slow.times = 0
    report = await run(restoring, dump, tmp_path / "job")
    assert restoring.items == STOCK
    assert report.complete


async def test_refused_items_of_the_run_before_are_still_told_in_the_end(
    restoring: Restoring, tmp_path: Path
) -> None:
    stock = [item("bad") | {"n": {"N": "x"}}, *STOCK]
    dump = put(tmp_path / "dump", foreign_dump([stock]))
    await broken_off(restoring, dump, tmp_path / "job", after=18)
    report = await run(restoring, dump, tmp_path / "job")
    assert restoring.items == STOCK
    assert [(each.line, each.key) for each in report.refused] == [(1, b'{"id":{"S":"bad"}}')]
    assert (report.failed, report.complete) == (1, False)
    assert report.as_dict()["refused"][0]["key"] == {"id": {"S": "bad"}}


async def test_a_backup_that_has_changed_meanwhile_is_refused(
    restoring: Restoring, dump: Path, tmp_path: Path
) -> None:
    await broken_off(restoring, dump, tmp_path / "job", after=6)
    put(dump, our_dump([STOCK[:10]]))
    with pytest.raises(UsageError, match="is not what it was when the job was begun"):
        await run(restoring, dump, tmp_path / "job")


async def test_a_job_that_is_no_restore_is_refused(restoring: Restoring, dump: Path, tmp_path: Path) -> None:
    async with open_job(tmp_path / "job", {"COMMAND": "restore"}) as job:
        await job.save_work({"segments": 4})
    with pytest.raises(UsageError, match="The job holds no restore that can be read"):
        await run(restoring, dump, tmp_path / "job")


async def test_a_job_that_is_done_says_so(restoring: Restoring, dump: Path, tmp_path: Path) -> None:
    await run(restoring, dump, tmp_path / "job")
    state = json.loads(next((tmp_path / "job").glob("*.json")).read_bytes())
    assert (state["done"], state["work"]["items"], state["work"]["whole"]) == (True, 300, ["0", "1", "2"])


async def test_only_what_is_missing_is_gone_on_with_too(
    restoring: Restoring, dump: Path, tmp_path: Path
) -> None:
    restoring.table.put(item("k000", n=5))
    stopped = restoring.endpoint.on("PutItem", after=100, times=None).error("AccessDeniedException")
    with pytest.raises(IncompleteBackupError):
        await run(restoring, dump, tmp_path / "job", mode="only-missing")
    stopped.times = 0
    report = await run(restoring, dump, tmp_path / "job", mode="only-missing")
    assert restoring.items == [item("k000", n=5), *STOCK[1:]]
    assert report.complete
    assert report.written + report.present == report.items


class FakeBackup:
    """A backup of one file, as far as progress looks at it."""

    kind: BackupKind = "dump"
    files: Sequence[BackupFile] = (BackupFile("0", 1),)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=12), st.randoms(), st.data())
def test_only_lines_that_follow_each_other_from_the_first_count_as_done(
    sizes: list[int], chance: Any, data: st.DataObject
) -> None:
    begins = [sum(sizes[:number]) for number in range(len(sizes))]
    batches = list(zip(begins, [*begins[1:], sum(sizes)], strict=True))
    chance.shuffle(batches)
    done = batches[: data.draw(st.integers(0, len(batches)))]
    backup: Backup = FakeBackup()  # type: ignore[assignment]
    progress = Progress(backup, unit="line")
    read_after = data.draw(st.integers(0, len(done)))
    for number, (begin, end) in enumerate(done):
        if number == read_after:
            progress.read("0", sum(sizes))
        progress.close("0", begin, end, Done(items=end - begin))
    covered = {line for begin, end in done for line in range(begin, end)}
    contiguous = next(line for line in range(sum(sizes) + 1) if line not in covered)
    report = RestoreReport("", "", items=len(covered))
    again, going_on = Progress(backup, unit="line"), RestoreReport("", "")
    again.go_on(progress.work(report), going_on)
    assert going_on.items == contiguous
    [file] = backup.files
    if read_after < len(done) and contiguous == sum(sizes):
        assert again.is_whole(file)
    else:
        assert not again.is_whole(file)
        assert again.lines(file) == contiguous


async def test_a_folder_is_gone_on_with_by_ranges_and_nothing_counts_twice(
    restoring: Restoring, tmp_path: Path
) -> None:
    stock = items(80, n=1)
    folder = put(tmp_path / NAME, {object_name(key(each["id"]["S"])): jsonl([each])[:-1] for each in stock})
    put(folder, {"f" * 64: b"no item"})
    await broken_off(restoring, folder, tmp_path / "job", after=2)
    report = await run(restoring, folder, tmp_path / "job")
    assert restoring.items == stock
    assert (report.items, report.written, report.failed) == (81, 80, 1)


async def test_a_folded_chain_begins_anew_and_finds_what_is_done_in_the_table(
    restoring: Restoring, tmp_path: Path
) -> None:
    stock = items(60, n=1)
    source = tmp_path / "exports"
    put(source, export("1", [{"Item": each} for each in stock], time="2026-01-01T00:00:00Z"))
    put(source, export("2", [changed(item("z"))], since="2026-01-01T00:00:00Z", time="2026-01-02T00:00:00Z"))
    stopped = restoring.endpoint.on("PutItem", after=20, times=None).error("AccessDeniedException")
    with pytest.raises(IncompleteBackupError):
        await run(restoring, source, tmp_path / "job", mode="only-missing")
    stopped.times = 0
    report = await run(restoring, source, tmp_path / "job", mode="only-missing")
    assert restoring.items == [*stock, item("z")]
    assert (report.items, report.complete) == (61, True)
    assert report.written + report.present == 61
