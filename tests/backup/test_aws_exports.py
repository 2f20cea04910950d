"""AWS's exports are read as AWS lays them out; a chain of them only where it has no gap."""

from __future__ import annotations

import gzip
import itertools
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from asyncrep.backup.aws_exports import unwrap_export_line, unwrap_lone_line
from asyncrep.backup.export_chain import Span, continued
from asyncrep.backup.opening import open_backup
from asyncrep.errors import BackupError
from tests.support.restores import changed, export, jsonl, lines_of, put
from tests.support.scenario import item, items
from tests.support.strategies import items as items_of_any_kind
from tests.support.strategies import values

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.values import Item, Value

DAYS = [f"2026-01-{day:02}T00:00:00.000Z" for day in range(1, 10)]
FULL = [{"Item": each} for each in items(4, n=0)]


def chain(*spans: tuple[int, int]) -> dict[str, bytes]:
    """A full export of day 0, and an incremental one for each pair of days."""
    objects = export("0-full", FULL, time=DAYS[0])
    for number, (begin, end) in enumerate(spans, 1):
        line = changed(item("k001", n=number))
        objects |= export(f"{number}-incremental", [line], since=DAYS[begin], time=DAYS[end])
    return objects


async def phases_of(folder: Path) -> list[tuple[int, str]]:
    async with open_backup(str(folder)) as backup:
        return [(file.phase, file.name) for file in backup.files]


async def test_the_last_full_export_and_all_that_follow_it_are_one_backup(tmp_path: Path) -> None:
    put(tmp_path, chain((1, 2), (0, 1)) | export("old", FULL, time="2025-01-01T00:00:00.000Z"))
    assert await phases_of(tmp_path) == [
        (0, "0-full/data/data.json.gz"), (1, "data/2-incremental-data.json.gz"), (2, "data/1-incremental-data.json.gz"),
    ]  # fmt: skip
    async with open_backup(str(tmp_path)) as backup:
        assert (backup.kind, backup.phases, backup.items, backup.description) == ("export", 3, 6, None)
        assert backup.notes == [
            f"{tmp_path}/AWSDynamoDB/0-full is continued by 2 incremental exports, up to 2026-01-03T00:00:00Z."
        ]


async def test_a_gap_in_the_chain_is_refused(tmp_path: Path) -> None:
    put(tmp_path, chain((0, 1), (2, 3)))
    with pytest.raises(
        BackupError,
        match=r"2-incremental holds what changed from 2026-01-03T00:00:00Z to .*1-incremental ends at ",
    ):
        await phases_of(tmp_path)


async def test_incremental_exports_without_a_full_one_are_refused(tmp_path: Path) -> None:
    put(tmp_path, export("1", [changed(item("a"))], since=DAYS[0], time=DAYS[1]))
    with pytest.raises(BackupError, match="holds incremental exports only"):
        await phases_of(tmp_path)


async def test_one_export_can_be_named_among_others(tmp_path: Path) -> None:
    put(tmp_path, chain((0, 1)))
    assert await lines_of(tmp_path / "AWSDynamoDB" / "0-full") == items(4, n=0)
    async with open_backup(str(tmp_path / "AWSDynamoDB" / "1-incremental")) as backup:
        assert "holds only what changed" in backup.notes[0]


async def test_an_export_that_was_copied_elsewhere_is_read(tmp_path: Path) -> None:
    objects = {name.removeprefix("AWSDynamoDB/"): data for name, data in export("1", FULL).items()}
    put(tmp_path, objects)
    assert await lines_of(tmp_path / "1") == items(4, n=0)


async def test_exports_of_several_tables_are_refused_by_name(tmp_path: Path) -> None:
    put(tmp_path, export("1", FULL) | export("2", FULL, table="users"))
    with pytest.raises(BackupError, match=r"several tables \(orders, users\)"):
        await phases_of(tmp_path)


async def test_tables_of_one_name_and_an_export_that_names_none_are_told_apart(tmp_path: Path) -> None:
    elsewhere = "arn:aws:dynamodb:eu-west-1:123456789012:table/orders"
    put(tmp_path, export("1", FULL) | export("2", FULL, tableArn=elsewhere) | export("3", FULL, tableArn=""))
    told = rf"several tables or folders \({elsewhere}, arn:aws:.*us-east-1.*/orders, one that is not told\)"
    with pytest.raises(BackupError, match=told):
        await phases_of(tmp_path)


async def test_an_export_that_has_not_ended_is_refused_alone_and_left_out_among_others(
    tmp_path: Path,
) -> None:
    put(
        tmp_path,
        export("1", FULL) | {"AWSDynamoDB/2/_started": b"", "AWSDynamoDB/2/manifest-files.json": b""},
    )
    with pytest.raises(BackupError, match=r"2 is no export that has ended: it has no manifest-summary.json"):
        await phases_of(tmp_path / "AWSDynamoDB" / "2")
    async with open_backup(str(tmp_path)) as backup:
        assert backup.notes == [f"{tmp_path}/AWSDynamoDB/2 has no manifest-summary.json: it is left out."]


async def test_a_format_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    put(tmp_path, export("1", FULL, outputFormat="ION"))
    with pytest.raises(BackupError, match="in the format ION; only DYNAMODB_JSON"):
        await phases_of(tmp_path)


async def test_data_that_is_missing_or_changed_is_found(tmp_path: Path) -> None:
    objects = export("1", FULL)
    data = "AWSDynamoDB/1/data/data.json.gz"
    put(tmp_path, objects | {data: gzip.compress(jsonl(FULL), 1, mtime=5)})
    with pytest.raises(BackupError, match="it has the MD5"):
        await lines_of(tmp_path)
    (tmp_path / data).unlink()
    with pytest.raises(BackupError, match=r"data.json.gz is missing, which is a part of the export"):
        await lines_of(tmp_path)


async def test_manifests_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    put(tmp_path, export("1", FULL, itemCount=5))
    with pytest.raises(BackupError, match="its files have 4 items, not 5"):
        await lines_of(tmp_path)


@pytest.mark.parametrize(
    ("name", "document", "sentence"),
    [
        ("manifest-summary.json", b"{", "is not the manifest of an export"),
        ("manifest-summary.json", b'{"itemCount":4}', "does not tell which time"),
        ("manifest-files.json", b"{}\n", "line 1: it does not tell a file"),
        (
            "manifest-files.json",
            b'{"itemCount":1,"dataFileS3Key":"x"}\n',
            "is not where an export has its files",
        ),
        ("manifest-files.json", b'{"itemCount":1,"dataFileS3Key":"1/data/.."}\n', "is missing"),
    ],
)
async def test_a_damaged_manifest_is_refused(
    tmp_path: Path, name: str, document: bytes, sentence: str
) -> None:
    put(tmp_path, export("1", FULL) | {f"AWSDynamoDB/1/{name}": document})
    with pytest.raises(BackupError, match=sentence):
        await lines_of(tmp_path)


@pytest.mark.parametrize("line", [b"{}", b"[]", b'{"id":{"S":"a"}}', b'{"Item"'])
def test_what_is_no_line_of_an_export_is_refused_with_its_number(line: bytes) -> None:
    with pytest.raises(BackupError, match="file, line 7: it"):
        unwrap_export_line(7, line, "file")


def test_lines_tell_items_new_images_and_deletions() -> None:
    new = jsonl([changed(item("a", n=2), old=item("a", n=1))])
    gone = jsonl([changed(None, item("a"), old=item("a", n=1))])
    assert unwrap_export_line(1, new, "")[1:3] == (jsonl([item("a", n=2)])[:-1], False)
    assert unwrap_export_line(1, gone, "")[1:3] == (jsonl([item("a")])[:-1], True)


@given(exported=items_of_any_kind(min_size=1))
def test_a_line_of_a_full_export_is_known_where_nothing_tells_of_it(exported: Item) -> None:
    assume(not (exported.keys() == {"M"} and all("M" in each for each in exported.values())))
    [line] = jsonl([{"Item": exported}]).splitlines()
    assert unwrap_lone_line(1, line, "").image == jsonl([exported])[:-1]


@given(values(), items_of_any_kind())
def test_an_item_whose_attribute_is_called_item_stays_what_it_is(value: Value, others: Item) -> None:
    [line] = jsonl([{"Item": value} | others]).splitlines()
    assert unwrap_lone_line(1, line, "").image == line


@pytest.mark.parametrize(
    "line",
    [b'{"Item":{"id":{"S":"a"}},"x":{"S":"b"}}', b'{"Item":"x"}', b'{"Item"', b'{"Item":[]}', b'{"id":{}}'],
)
def test_what_is_no_line_of_a_full_export_is_left_to_whoever_reads_it(line: bytes) -> None:
    assert unwrap_lone_line(3, line, "").image == line


async def test_a_single_file_of_an_export_is_read(tmp_path: Path) -> None:
    (tmp_path / "data.json.gz").write_bytes(gzip.compress(jsonl(FULL)))
    assert await lines_of(tmp_path / "data.json.gz") == items(4, n=0)


moments = st.integers(0, 8)


@given(st.lists(st.tuples(moments, moments).filter(lambda span: span[0] < span[1]), max_size=6), moments)
def test_a_chain_is_found_exactly_where_no_moment_is_missing(spans: list[tuple[int, int]], full: int) -> None:
    def moment(hour: int) -> datetime:
        return datetime(2026, 1, 1, hour, tzinfo=UTC)

    given_spans = [Span(str(number), moment(begin), moment(end)) for number, (begin, end) in enumerate(spans)]
    last = max([full, *(end for _, end in spans)])
    whole = all(any(begin <= hour < end for begin, end in spans) for hour in range(full, last))
    try:
        found = continued([Span("full", None, moment(full)), *given_spans], "place")
    except BackupError:
        assert not whole
        return
    assert whole
    assert found[-1].end == moment(last)
    for before, after in itertools.pairwise(found):
        assert after.begin is not None
        assert after.begin <= before.end < after.end
