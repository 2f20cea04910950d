"""What ``backup-table`` and snapshots leave behind, as the catalog, a check and a removal see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asyncrep import Segment
from asyncrep.backup.catalog import find_backups
from asyncrep.backup.folder_reading import open_folder
from asyncrep.backup.local import LocalFolder
from asyncrep.backup.opening import open_backup
from asyncrep.backup.prune import remove_backups
from asyncrep.backup.retention import Rules, decide
from asyncrep.backup.snapshot import snapshot
from asyncrep.backup.verify import verify
from asyncrep.errors import BackupError
from asyncrep.flow.clock import VirtualClock
from asyncrep.items.incremental import object_name
from asyncrep.progress import Silent
from tests.support.dumps import Dumps
from tests.support.made_backups import names
from tests.support.scenario import NAME, PRIMARY, items

if TYPE_CHECKING:
    from pathlib import Path

    from asyncrep.backup.listed import Listed
    from asyncrep.backup.report import BackupFormat
    from tests.support.scripted import ScriptedDynamo

every_format = pytest.mark.parametrize("form", ["jsonl", "export"])


@pytest.fixture
def dumps(endpoint: ScriptedDynamo, tmp_path: Path) -> Dumps:
    return Dumps(endpoint, endpoint.create_table(NAME, PRIMARY, items=items(40)), LocalFolder(tmp_path))


async def only(dumps: Dumps) -> Listed:
    [found] = await find_backups(dumps.storage)
    return found


async def outcome(dumps: Dumps, *backups: Listed) -> list[str]:
    found = await verify(dumps.storage, backups, observer=Silent(), clock=VirtualClock())
    return [each.outcome for each in found]


@every_format
async def test_a_dump_is_whole_and_sound_and_goes_without_a_trace(
    dumps: Dumps, form: BackupFormat, tmp_path: Path
) -> None:
    report = await dumps(format=form)
    found = await only(dumps)
    assert (found.name, found.kind) == (report.job_id, "dump" if form == "jsonl" else "export")
    assert (found.state, found.items, found.stored_bytes) == ("whole", 40, report.stored_bytes)
    assert (found.is_ours, found.strangers, len(found.data)) == (True, 0, 2)
    assert found.source.endswith(f":table/{NAME}")
    assert await outcome(dumps, found) == ["sound"]
    assert (await only(dumps)).status == "verified"
    await remove_backups(dumps.storage, [await only(dumps)], clock=VirtualClock())
    assert names(tmp_path) == set()


@every_format
async def test_a_dump_that_lacks_a_segment_is_incomplete(
    dumps: Dumps, form: BackupFormat, tmp_path: Path
) -> None:
    job_id = "one" if form == "jsonl" else "01700000000000-abcdef01"
    await dumps(format=form, job_id=job_id, segment=Segment(1, 2))
    found = await only(dumps)
    assert (found.state, found.is_ours, found.source.endswith(f":table/{NAME}")) == ("incomplete", True, True)
    assert await outcome(dumps, found) == ["damaged"]
    await dumps(format=form, job_id=job_id, segment=Segment(0, 2))
    assert (await only(dumps)).state == "whole"
    await dumps(format=form)
    [lacking] = [each for each in await find_backups(dumps.storage) if each.name == job_id]
    (tmp_path / lacking.folder / lacking.data[0]).unlink()
    [lacking] = [each for each in await find_backups(dumps.storage) if each.name == job_id]
    assert (lacking.state, await outcome(dumps, lacking)) == ("damaged", ["damaged"])


async def test_exports_are_pruned_like_dumps_and_counted_by_themselves(dumps: Dumps) -> None:
    for _ in range(2):
        for form in ("jsonl", "export"):
            await dumps.clock.sleep(86_400)
            await dumps(format=form)
    found = await find_backups(dumps.storage)
    now = max(each.begun for each in found if each.begun is not None)
    verdicts = decide(found, Rules(last=1), now)
    kept = [each.backup.kind for each in verdicts if each.keeps]
    assert sorted(kept) == ["dump", "export"]


async def test_a_snapshot_is_found_verified_and_removed(tmp_path: Path) -> None:
    folder, place = LocalFolder(tmp_path / "incr"), LocalFolder(tmp_path / "snaps")
    for number in range(20):
        key = f'{{"id":{{"S":"{number}"}}}}'.encode()
        await folder.put(object_name(key), key)
    await snapshot(await open_folder(folder), place, "orders.gz", clock=VirtualClock())
    [found] = await find_backups(place)
    assert (found.name, found.kind, found.state, found.items) == ("orders.gz", "snapshot", "whole", 20)
    assert found.source == str(tmp_path / "incr")
    [verified] = await verify(place, [found], observer=Silent(), clock=VirtualClock())
    assert verified.outcome == "sound"
    await remove_backups(place, await find_backups(place), clock=VirtualClock())
    assert names(tmp_path / "snaps") == set()


async def test_a_verified_dump_still_opens(dumps: Dumps, tmp_path: Path) -> None:
    for form in ("jsonl", "export"):
        await dumps(format=form)
    found = await find_backups(dumps.storage)
    assert await outcome(dumps, *found) == ["sound", "sound"]
    for each in found:
        async with open_backup(str(tmp_path / each.folder)) as backup:
            assert backup.items == 40


async def test_an_export_that_lost_its_end_does_not_open(dumps: Dumps, tmp_path: Path) -> None:
    await dumps(format="export")
    found = await only(dumps)
    (tmp_path / found.folder / found.manifests[-1]).unlink()
    assert (await only(dumps)).problem == "There is no manifest-summary.json."
    with pytest.raises(BackupError):
        async with open_backup(str(tmp_path / found.folder)):
            raise AssertionError("it was opened")
