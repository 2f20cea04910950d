"""A dump that ends early leaves the segments that are whole, and nothing that looks whole and is not."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import Limits, Segment
from asyncrep.backup.local import LocalFolder
from asyncrep.backup.places import open_storage
from asyncrep.errors import (
    BudgetExhaustedError,
    ConditionFailedError,
    IncompleteBackupError,
)
from asyncrep.location import S3Place
from asyncrep.options import S3Access
from tests.support.dumps import Dumps, by_text
from tests.support.s3_proxy import Lose, Refuse, S3Proxy
from tests.support.scenario import NAME, PRIMARY, item, items, session
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from tests.support.buckets import Bucket
    from tests.support.scripted import ScriptedDynamo
    from tests.support.values import Item

LARGE = [item(f"l{number}", v=os.urandom(290_000)) for number in range(60)]
"""Items that do not compress: two parts of an upload for each of two segments."""


def table_of(endpoint: ScriptedDynamo, some: Sequence[Item], *, page: int = 3) -> None:
    table = endpoint.create_table(NAME, PRIMARY, items=some)
    table.page_items = page


@pytest.fixture
async def proxy(moto_url: str) -> AsyncIterator[S3Proxy]:
    async with S3Proxy(moto_url) as proxy:
        yield proxy


@pytest.fixture(params=["s3", "folder"])
async def dumps(
    request: pytest.FixtureRequest, endpoint: ScriptedDynamo, tmp_path: Path
) -> AsyncIterator[Dumps]:
    table_of(endpoint, items(40))
    if request.param == "folder":
        yield Dumps(endpoint, endpoint.table(NAME), LocalFolder(tmp_path))
        return
    bucket: Bucket = request.getfixturevalue("bucket")
    async with open_storage(S3Place(bucket.name), S3Access(), session=session()) as storage:
        yield Dumps(endpoint, endpoint.table(NAME), storage)


@pytest.fixture
async def in_s3(endpoint: ScriptedDynamo, bucket: Bucket, proxy: S3Proxy) -> AsyncIterator[Dumps]:
    """Large items, dumped to S3 through a proxy."""
    table_of(endpoint, LARGE)
    endpoint.table(NAME).segment_of = lambda plain, total: int(plain[1:]) % total
    access = S3Access(endpoint_url=proxy.url)
    async with open_storage(S3Place(bucket.name, "p"), access, session=session()) as storage:
        yield Dumps(endpoint, endpoint.table(NAME), storage)


def open_uploads(bucket: Bucket) -> int:
    return len(bucket.s3.list_multipart_uploads(Bucket=bucket.name).get("Uploads", []))


def fail_at_page(endpoint: ScriptedDynamo, segment: int, page: int) -> None:
    endpoint.on("Scan", after=page, when=lambda body: body["Segment"] == segment).error(
        "AccessDeniedException"
    )


async def test_a_scan_that_fails_leaves_whole_segments_and_no_manifest_of_the_dump(dumps: Dumps) -> None:
    fail_at_page(dumps.endpoint, 1, 2)
    dumps.endpoint.on("Scan", when=lambda body: body["Segment"] == 1).delay(0.3)
    report = await dumps.ending_early(job_id="x")
    assert await dumps.names() == ["x/0", "x/0.manifest.json"]
    whole = await dumps.json("x/0.manifest.json")
    assert not report.complete
    assert report.objects == 1
    assert report.items == whole["items"] < 40
    assert report.stored_bytes == whole["stored_bytes"]


async def test_an_export_that_fails_has_no_summary(dumps: Dumps) -> None:
    fail_at_page(dumps.endpoint, 1, 2)
    with pytest.raises(IncompleteBackupError):
        await dumps(job_id="x", format="export")
    names = await dumps.names("AWSDynamoDB/x/")
    assert not any("manifest-" in name for name in names)
    assert "AWSDynamoDB/x/data/1.json.gz" not in names


async def test_a_dump_that_is_cancelled_leaves_nothing_half(
    in_s3: Dumps, bucket: Bucket, proxy: S3Proxy
) -> None:
    in_s3.endpoint.on("Scan", after=16).delay(60).forever()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(in_s3(job_id="x"))
        await until(lambda: proxy.seen["UploadPart"] == 2)
        running.cancel()
    assert running.cancelled()
    assert await in_s3.names() == []
    assert proxy.seen["CreateMultipartUpload"] == proxy.seen["AbortMultipartUpload"] > 0
    assert open_uploads(bucket) == 0


async def test_large_segments_are_sent_in_parts(in_s3: Dumps, bucket: Bucket, proxy: S3Proxy) -> None:
    report = await in_s3(job_id="x")
    assert proxy.seen["UploadPart"] >= 4
    assert open_uploads(bucket) == 0
    assert report.stored_bytes > 10_000_000
    assert by_text(await in_s3.items("x")) == by_text(LARGE)


async def test_a_scan_that_fails_aborts_the_uploads(in_s3: Dumps, bucket: Bucket, proxy: S3Proxy) -> None:
    fail_at_page(in_s3.endpoint, 1, 6)
    with pytest.raises(IncompleteBackupError):
        await in_s3(job_id="x")
    assert proxy.seen["CreateMultipartUpload"] > 0
    assert open_uploads(bucket) == 0
    assert "x/1" not in await in_s3.names()


async def test_parts_that_get_lost_or_are_slowed_down_are_sent_again(in_s3: Dumps, proxy: S3Proxy) -> None:
    proxy.next("UploadPart", Refuse(503, "SlowDown"), Lose(carried_out=False), Refuse(500, "InternalError"))
    proxy.next("CompleteMultipartUpload", Lose())
    proxy.next("PutObject", Lose())
    report = await in_s3(job_id="x")
    assert report.complete
    assert by_text(await in_s3.items("x")) == by_text(LARGE)


async def test_without_permission_to_put_there_is_nothing(
    in_s3: Dumps, bucket: Bucket, proxy: S3Proxy
) -> None:
    proxy.next("UploadPart", *[Refuse(403, "AccessDenied")] * 10)
    with pytest.raises(IncompleteBackupError, match="UploadPart"):
        await in_s3(job_id="x")
    assert await in_s3.names() == []
    assert open_uploads(bucket) == 0


async def test_a_budget_ends_a_dump_early(dumps: Dumps) -> None:
    dumps.table.page_items = None
    for each in [item(f"m{number}", v="x" * 300_000) for number in range(30)]:
        dumps.table.put(each)
    with pytest.raises(IncompleteBackupError) as failure:
        await dumps(job_id="x", limits=Limits(segments=2, max_cost=0.00009))
    assert isinstance(failure.value.__cause__, BudgetExhaustedError)
    assert 0 < failure.value.report.cost_usd <= 0.00009
    assert "x/manifest.json" not in await dumps.names()


async def test_of_two_processes_with_one_segment_only_one_writes_it(dumps: Dumps) -> None:
    async def one() -> object:
        try:
            return (await dumps(job_id="x")).complete
        except IncompleteBackupError as error:
            return type(error.__cause__)

    async with asyncio.TaskGroup() as group:
        runs = [group.create_task(one()) for _ in range(2)]
    outcomes = [run.result() for run in runs]
    assert ConditionFailedError in outcomes
    names = await dumps.names()
    for name in {"x/0", "x/1"} & set(names):
        await dumps.lines(name)  # is whole, also where the run ended before it could say so
    for name in {"x/0.manifest.json", "x/1.manifest.json"} & set(names):
        told = (await dumps.json(name))["stored_bytes"]
        assert told == len(await dumps.body(name.removesuffix(".manifest.json")))


async def test_segments_of_different_cuts_make_no_dump(endpoint: ScriptedDynamo, tmp_path: Path) -> None:
    """Processes that begin at the same time do not see each other's cut before they end."""
    table_of(endpoint, items(40))
    ours, others = (Dumps(endpoint, endpoint.table(NAME), LocalFolder(tmp_path / name)) for name in "ab")
    await others(job_id="x", segment=Segment(1, 3))

    def end_meanwhile(_: ScriptedDynamo) -> None:
        (tmp_path / "a" / "x").mkdir(parents=True, exist_ok=True)
        for name in ("1", "1.manifest.json"):
            (tmp_path / "a" / "x" / name).write_bytes((tmp_path / "b" / "x" / name).read_bytes())

    endpoint.before("Scan", end_meanwhile)
    with pytest.raises(IncompleteBackupError, match="The segments of the dump x do not belong together"):
        await ours(job_id="x", segment=Segment(0, 2))
    assert "x/manifest.json" not in await ours.names()


async def test_a_dump_of_which_a_segment_was_removed_meanwhile_is_not_called_whole(dumps: Dumps) -> None:
    await dumps(job_id="x", segment=Segment(1, 2))
    await dumps.storage.delete("x/1")
    with pytest.raises(IncompleteBackupError, match=r"x/1 is missing, or not of the size"):
        await dumps(job_id="x", segment=Segment(0, 2))
    assert await dumps.names() == ["x/0", "x/0.manifest.json", "x/1.manifest.json"]


class Pruned(LocalFolder):
    """A folder in which somebody removes what is old, as soon as there is something else."""

    def under(self, name: str) -> Pruned:
        return Pruned(super().under(name).path)

    async def put(self, name: str, data: bytes, **conditions: Any) -> str:
        etag = await super().put(name, data, **conditions)
        if len(list(self.path.glob("*.manifest.json"))) == 2:
            (self.path / "0").unlink(missing_ok=True)
        return etag


async def test_neither_is_one_whose_first_segment_was_removed_while_it_ran(
    endpoint: ScriptedDynamo, tmp_path: Path
) -> None:
    table_of(endpoint, items(40))
    dumps = Dumps(endpoint, endpoint.table(NAME), Pruned(tmp_path))
    with pytest.raises(IncompleteBackupError, match="x/0 is missing"):
        await dumps(job_id="x")
    assert "x/manifest.json" not in await dumps.names()


async def test_segments_of_tables_of_one_name_in_two_regions_make_no_dump(dumps: Dumps) -> None:
    await dumps(job_id="x", segment=Segment(2, 3))
    await dumps(job_id="x", segment=Segment(1, 3))
    other = (await dumps.body("x/2.manifest.json")).replace(
        b'"arn": "arn', b'"arn": "elsewhere", "was": "arn'
    )
    await dumps.storage.put("x/2.manifest.json", other)
    with pytest.raises(IncompleteBackupError, match="do not belong together"):
        await dumps(job_id="x", segment=Segment(0, 3))
    assert "x/manifest.json" not in await dumps.names()
