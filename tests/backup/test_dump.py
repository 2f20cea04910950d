"""What a dump is: an object for each segment with all of its items, and manifests that say so."""

from __future__ import annotations

import gzip
import hashlib
import json
from base64 import b64encode
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from asyncrep import Limits, Segment
from asyncrep.backup.local import LocalFolder
from asyncrep.backup.places import open_storage
from asyncrep.flow.tasks import side_by_side
from asyncrep.location import S3Place
from asyncrep.options import S3Access
from asyncrep.progress import Advanced, BackupStarted, PassEnded, PassStarted
from tests.support.dumps import Dumps, by_text
from tests.support.scenario import NAME, PRIMARY, item, items, session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from asyncrep.storage import Storage
    from tests.support.buckets import Bucket
    from tests.support.scripted import ScriptedDynamo

EVERY_TYPE = [
    item("text", v='a\u2028b\u2029\x85\r\n\0"": , é🦄', w=""),
    item("__proto__", __proto__="x", constructor={"__proto__": 1}),
    item("number", v=12345678901234567890123456789012345678, w=Decimal("-1E-130")),
    item("binary", v=b"\0\xff", w={b"a", b""}),
    item("sets", v={"b", "a"}, w={1, 2, Decimal("1.5")}),
    item("nested", v=[1, None, {"a": [True, b"x"]}], w={}),
    item("large", v="x" * 399_000),
    item("é\u2029", v=1),
]


@pytest.fixture(params=["s3", "folder"])
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Storage]:
    if request.param == "folder":
        yield LocalFolder(tmp_path / "made" / "on demand")
        return
    bucket: Bucket = request.getfixturevalue("bucket")
    place = S3Place(bucket.name, "made/on demand")
    async with open_storage(place, S3Access(), session=session()) as storage:
        yield storage


@pytest.fixture
def dumps(endpoint: ScriptedDynamo, storage: Storage) -> Dumps:
    table = endpoint.create_table(NAME, PRIMARY, items=[*EVERY_TYPE, *items(40)])
    table.page_items = 7
    return Dumps(endpoint, table, storage)


async def test_a_dump_holds_every_item_as_it_was_spelled(dumps: Dumps) -> None:
    report = await dumps(job_id="0123", limits=Limits(segments=3))
    assert by_text(await dumps.items("0123")) == by_text(list(dumps.table.items.values()))
    assert await dumps.names() == [
        "0123/0", "0123/0.manifest.json", "0123/1", "0123/1.manifest.json", "0123/2", "0123/2.manifest.json",
        "0123/manifest.json",
    ]  # fmt: skip
    assert report.complete
    assert (report.job_id, report.segments, report.segment) == ("0123", 3, None)
    assert (report.items, report.objects, report.skipped) == (48, 3, 0)
    assert report.destination == dumps.storage.under("0123").label


async def test_the_manifests_tell_what_is_stored(dumps: Dumps) -> None:
    report = await dumps(job_id="0123")
    whole = await dumps.json("0123/manifest.json")
    for part in whole["parts"]:
        body = await dumps.body(f"0123/{part['name']}")
        lines = gzip.decompress(body)
        told = {
            "items": lines.count(b"\n"),
            "bytes": len(lines),
            "stored_bytes": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
        }
        assert part == {"name": part["name"], **told}
        own = await dumps.json(f"0123/{part['name']}.manifest.json")
        assert own.items() >= told.items()
        assert (own["job"], own["segments"], own["table"]) == ("0123", 2, whole["table"])
        assert "md5" not in own
    assert [part["name"] for part in whole["parts"]] == ["0", "1"]
    assert whole["items"] == report.items == 48
    assert whole["bytes"] == report.bytes
    assert whole["stored_bytes"] == report.stored_bytes
    assert whole["source"] == f"{PRIMARY}/{NAME}"


async def test_the_table_is_described_so_that_it_can_be_made_again(
    dumps: Dumps, endpoint: ScriptedDynamo
) -> None:
    endpoint.create_table(NAME, PRIMARY, range=("r", "N"), ttl="expires", items=[item("a", r=1)])
    await dumps(job_id="x")
    table = (await dumps.json("x/manifest.json"))["table"]
    assert (table["name"], table["ttl_attribute"]) == (NAME, "expires")
    assert table["create"]["KeySchema"] == [
        {"AttributeName": "id", "KeyType": "HASH"},
        {"AttributeName": "r", "KeyType": "RANGE"},
    ]
    assert not {"TableName", "TableArn", "ItemCount"} & table["create"].keys()


async def test_an_empty_table_is_a_dump_without_items(dumps: Dumps) -> None:
    dumps.table.items.clear()
    report = await dumps(job_id="x")
    assert (report.complete, report.items, report.objects) == (True, 0, 2)
    assert await dumps.items("x") == []
    assert gzip.decompress(await dumps.body("x/0")) == b""


async def test_without_a_name_the_time_is_one(dumps: Dumps) -> None:
    first, second = await dumps(), await dumps()
    assert first.job_id is not None
    assert first.job_id != second.job_id
    assert first.job_id[:16].startswith("20")
    assert len(await dumps.storage.folders()) == 2


async def test_progress_is_told(dumps: Dumps) -> None:
    report = await dumps()
    assert [event.report for event in dumps.log.of(BackupStarted)] == [report]
    assert [event.name for event in dumps.log.of(PassStarted)] == ["backup"]
    assert sum(event.items for event in dumps.log.of(Advanced)) == 48
    assert len(dumps.log.of(PassEnded)) == 1
    assert dumps.log.notes == []
    assert report.read_units > 0
    assert report.cost_usd > 0


async def test_segments_can_be_dumped_apart_and_the_last_one_makes_the_dump_whole(dumps: Dumps) -> None:
    for index in (2, 0):
        report = await dumps(job_id="0123", segment=Segment(index, 3))
        assert (report.complete, report.segment, report.objects) == (True, index, 1)
        assert "0123/manifest.json" not in await dumps.names()
    assert dumps.log.notes[-1] == "So far the dump has 2 of its 3 segments; the last adds its manifest."
    await dumps(job_id="0123", segment=Segment(1, 3))
    assert by_text(await dumps.items("0123")) == by_text(list(dumps.table.items.values()))


async def test_processes_that_end_at_the_same_time_make_one_manifest(dumps: Dumps) -> None:
    await side_by_side(dumps(job_id="0123", segment=Segment(index, 6)) for index in range(6))
    assert by_text(await dumps.items("0123")) == by_text(list(dumps.table.items.values()))
    assert len(await dumps.names()) == 13


async def test_an_export_has_the_layout_of_aws(dumps: Dumps) -> None:
    report = await dumps(format="export", limits=Limits(segments=2))
    folder = f"AWSDynamoDB/{report.job_id}"
    summary = await dumps.json(f"{folder}/manifest-summary.json")
    files = [json.loads(line) for line in (await dumps.body(f"{folder}/manifest-files.json")).splitlines()]
    root = "made/on demand/" if isinstance(summary["s3Bucket"], str) and summary["s3Bucket"] else ""
    assert await dumps.names() == [
        f"{folder}/{name}"
        for name in (
            "_started", "asyncrep/0.manifest.json", "asyncrep/1.manifest.json", "asyncrep/manifest.json",
            "data/0.json.gz", "data/1.json.gz", "manifest-files.checksum", "manifest-files.json",
            "manifest-files.md5", "manifest-summary.checksum", "manifest-summary.json", "manifest-summary.md5",
        )
    ]  # fmt: skip
    assert [each["dataFileS3Key"] for each in files] == [
        f"{root}{folder}/data/{index}.json.gz" for index in (0, 1)
    ]
    found = []
    for index, each in enumerate(files):
        body = await dumps.body(f"{folder}/data/{index}.json.gz")
        assert each["md5Checksum"] == b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        assert each["etag"].strip('"') == each["etag"] != ""
        lines = [json.loads(line) for line in await dumps.lines(f"{folder}/data/{index}.json.gz")]
        assert each["itemCount"] == len(lines)
        assert all(line.keys() == {"Item"} for line in lines)
        found += [line["Item"] for line in lines]
    assert by_text(found) == by_text(list(dumps.table.items.values()))
    assert summary["itemCount"] == 48
    assert summary["outputFormat"] == "DYNAMODB_JSON"
    assert summary["manifestFilesS3Key"] == f"{root}{folder}/manifest-files.json"
    assert summary["s3Prefix"] == (root.rstrip("/") or None)


async def test_the_manifests_of_an_export_have_their_checksums(dumps: Dumps) -> None:
    await dumps(format="export", job_id="x")
    for name in ("files", "summary"):
        body = await dumps.body(f"AWSDynamoDB/x/manifest-{name}.json")
        checksum = b64encode(hashlib.md5(body, usedforsecurity=False).digest())
        for kind in ("md5", "checksum"):
            assert await dumps.body(f"AWSDynamoDB/x/manifest-{name}.{kind}") == checksum


async def test_the_segments_of_an_export_can_be_dumped_apart(dumps: Dumps) -> None:
    await dumps(format="export", job_id="x", segment=Segment(1, 2))
    assert "AWSDynamoDB/x/manifest-summary.json" not in await dumps.names()
    await dumps(format="export", job_id="x", segment=Segment(0, 2))
    assert (await dumps.json("AWSDynamoDB/x/manifest-summary.json"))["itemCount"] == 48


async def test_a_throttled_dump_goes_on(dumps: Dumps) -> None:
    dumps.endpoint.on("Scan", times=3).throttle()
    report = await dumps(job_id="x")
    assert report.throttled == 3
    assert len(await dumps.items("x")) == 48
