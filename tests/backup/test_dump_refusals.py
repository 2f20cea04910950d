"""What would spoil a dump that is there, or cannot be a dump at all, is refused before anything is read or written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import Limits, Segment, UsageError
from asyncrep.backup.local import LocalFolder
from asyncrep.backup.places import open_storage
from asyncrep.errors import BackupError, BucketNotFoundError, StorageError
from asyncrep.location import S3Place
from asyncrep.options import S3Access
from tests.support.dumps import Dumps
from tests.support.scenario import NAME, PRIMARY, items, session

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.scripted import ScriptedDynamo


@pytest.fixture
def dumps(endpoint: ScriptedDynamo, tmp_path: Path) -> Dumps:
    return Dumps(endpoint, endpoint.create_table(NAME, PRIMARY, items=items(20)), LocalFolder(tmp_path / "d"))


async def refused(dumps: Dumps, error: type[Exception] = UsageError, **options: Any) -> str:
    """Dump in vain: nothing may have been read of the table or changed in the place."""
    before = {name: await dumps.body(name) for name in await dumps.names()}
    scans = dumps.endpoint.count("Scan")
    with pytest.raises(error) as refusal:
        await dumps(**options)
    assert dumps.endpoint.count("Scan") == scans
    assert {name: await dumps.body(name) for name in await dumps.names()} == before
    assert type(refusal.value) is error
    return str(refusal.value)


async def test_a_dump_that_is_there_is_not_written_over(dumps: Dumps) -> None:
    await dumps(job_id="x")
    label = dumps.storage.under("x").label
    expected = f"There is a whole dump x in {label} already: choose another name."
    assert await refused(dumps, job_id="x") == expected
    assert await refused(dumps, job_id="x", segment=Segment(0, 2)) == expected


async def test_an_export_that_is_there_is_not_written_over(dumps: Dumps) -> None:
    await dumps(job_id="x", format="export")
    assert "There is a whole dump x in" in await refused(dumps, job_id="x", format="export")


async def test_neither_is_a_segment(dumps: Dumps) -> None:
    await dumps(job_id="x", segment=Segment(1, 2))
    label = dumps.storage.under("x").label
    expected = f"Segment 1 of the dump x is in {label} already: choose another name, or go on with the job that began it."
    assert await refused(dumps, job_id="x", segment=Segment(1, 2)) == expected
    assert await refused(dumps, job_id="x") == expected


async def test_an_object_without_manifest_may_be_somebody_elses_dump(dumps: Dumps) -> None:
    await dumps.storage.put("x/0", b"written by dynamodb-replicator")
    assert "Segment 0 of the dump x is in" in await refused(dumps, job_id="x")


async def test_all_segments_of_a_dump_are_of_one_cut(dumps: Dumps) -> None:
    await dumps(job_id="x", segment=Segment(1, 2))
    assert await refused(dumps, job_id="x", segment=Segment(2, 3)) == (
        f"The dump in {dumps.storage.under('x').label} is cut into 2 segments, not 3: give the same number for all "
        "of its segments, or choose another name."
    )


async def test_all_segments_of_a_dump_are_of_one_table(dumps: Dumps) -> None:
    await dumps(job_id="x", segment=Segment(1, 2))
    name = "x/1.manifest.json"
    other = (await dumps.body(name)).replace(f'"name": "{NAME}"'.encode(), b'"name": "other"')
    await dumps.storage.put(name, other.replace(b'"arn": "arn', b'"arn": "", "was": "arn'))
    assert "is of the table other: choose another name" in await refused(
        dumps, job_id="x", segment=Segment(0, 2)
    )


async def test_what_is_no_manifest_is_named(dumps: Dumps) -> None:
    await dumps.storage.put("x/1.manifest.json", b"{}")
    label = dumps.storage.under("x").name_of("1.manifest.json")
    assert (await refused(dumps, BackupError, job_id="x", segment=Segment(0, 2))).startswith(
        f"{label} is not the manifest of a segment:"
    )


@pytest.mark.parametrize("job_id", ["", "a/b", "..", "a b", "AWSDynamoDB", "x\n", "é", "x" * 201])
async def test_a_name_must_be_one_everywhere(dumps: Dumps, job_id: str) -> None:
    assert "cannot name a dump" in await refused(dumps, job_id=job_id)


async def test_a_budget_that_buys_no_page_is_refused(dumps: Dumps) -> None:
    assert "is too small" in await refused(dumps, limits=Limits(max_cost=1e-9))


async def test_a_place_that_cannot_be_a_folder_is_told_before_the_table_is_read(
    dumps: Dumps, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    dumps.storage = LocalFolder(tmp_path / "file" / "within")
    with pytest.raises(StorageError, match="Not a directory"):
        await dumps(job_id="x")
    assert not dumps.endpoint.count("Scan")


async def test_a_bucket_that_is_not_there_is_told_before_the_table_is_read(
    dumps: Dumps, moto_url: str
) -> None:
    place = S3Place("no-such-bucket", "x")
    async with open_storage(place, S3Access(endpoint_url=moto_url), session=session()) as storage:
        dumps.storage = storage
        with pytest.raises(BucketNotFoundError):
            await dumps(job_id="x")
    assert not dumps.endpoint.count("Scan")
