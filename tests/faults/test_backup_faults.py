"""Backups and restores through faults of DynamoDB and S3: what is told to be whole is what the table holds."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support.backup_ordeal import DUMP, INCREMENTAL, BackupOrdeal, lines_of
from tests.support.s3_faults import EVERY, WRITES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.cli import Ran
    from tests.support.engines import Engine

pytestmark = pytest.mark.timeout(180)

long = partial(pytest.param, marks=pytest.mark.long)
on_moto = pytest.mark.parametrize("engine", ["moto"], indirect=True)
JOB = "0123"
CALLS = ("Scan", "BatchWriteItem", "BatchGetItem", "DescribeTable")
"""Not the question for a global table: that moto does not know it shows in an answer that must not get lost."""


@pytest.fixture
def ordeal(engine: Engine, moto_url: str, tmp_path: Path, seed: int) -> Iterator[BackupOrdeal]:
    """A table, a bucket and proxies without faults as yet."""
    with BackupOrdeal.of(engine, moto_url, tmp_path, seed, 20) as ordeal:
        yield ordeal


@pytest.fixture
def large(engine: Engine, moto_url: str, tmp_path: Path, seed: int) -> Iterator[BackupOrdeal]:
    """The same with more than one part of an upload holds."""
    with BackupOrdeal.of(engine, moto_url, tmp_path, seed, 20, megabytes=8) as ordeal:
        yield ordeal


def backup(ordeal: BackupOrdeal, *options: str) -> tuple[str, ...]:
    given = ("--jobid", JOB, "--segments", ordeal.segments, "--json", "--quiet")
    return ("backup-table", ordeal.source, ordeal.place(DUMP), *given, *options)


def restore(ordeal: BackupOrdeal, table: str, *options: str) -> tuple[str, ...]:
    return (
        "restore", ordeal.place(f"{DUMP}/{JOB}"), f"us-east-1/{table}", "--json", "--quiet", *options
    )  # fmt: skip


def verify(ordeal: BackupOrdeal) -> tuple[str, ...]:
    return ("backups", "verify", ordeal.place(DUMP), JOB, "--json", "--quiet")


def compare(ordeal: BackupOrdeal, table: str) -> tuple[str, ...]:
    return ("diff-tables", ordeal.source, f"us-east-1/{table}", "--settle", "0", "--json", "--quiet")


def endure(ordeal: BackupOrdeal, *options: str) -> None:
    """Dump, verify, restore and compare, all through the faults; nothing of them may show."""
    target = ordeal.new_table()
    commands = (backup(ordeal, *options), verify(ordeal), restore(ordeal, target), compare(ordeal, target))
    runs = ordeal.each(*commands)
    assert [(ran.code, ran.stderr) for ran in runs] == [(0, "")] * 4
    ordeal.assert_dumped(JOB)
    ordeal.assert_holds(ordeal.items(target))
    dumped, verified, restored, compared = (ran.summary for ran in runs)
    count = len(ordeal.truth)
    assert (dumped["items"], dumped["complete"]) == (count, True)
    assert [each["items"] for each in verified["backups"]] == [count]
    assert (restored["items"], restored["written"], restored["failed"]) == (count, count, 0)
    assert compared["matched"] == count


def beset(ordeal: BackupOrdeal) -> None:
    """Let faults come on both sides, often, and of all kinds that pass."""
    ordeal.s3.befall(0.3)
    ordeal.dynamo.cut(0.1, *CALLS)
    ordeal.dynamo.lose(0.1, *CALLS)
    ordeal.dynamo.leave_unprocessed(0.1)


def assert_not_whole(ordeal: BackupOrdeal, ran: Ran) -> None:
    """The dump failed and says so; nobody takes it for a whole one, and nothing of it is kept unseen."""
    assert ran.code == 3
    assert ran.sentence
    assert ran.summary["complete"] is False
    ordeal.dynamo.mend()
    ordeal.s3.forget()
    target = ordeal.new_table()
    verified, restored = ordeal.each(verify(ordeal), restore(ordeal, target))
    assert (verified.code in (1, 2, 3), restored.code) == (True, 2)
    assert ordeal.items(target) == {}
    assert ordeal.uploads() == []
    for name in ordeal.names:  # what is there of it is whole
        if name.rpartition("/")[2].isdigit():
            ordeal.assert_part(ordeal.by_key(lines_of(ordeal.bucket.body(name))))


@on_moto
def test_a_dump_and_its_restore_go_through_faults_on_both_sides(ordeal: BackupOrdeal) -> None:
    beset(ordeal)
    endure(ordeal)
    assert ordeal.s3.struck.total() > 0
    assert ordeal.dynamo.struck.keys() == {"cut", "lose", "leave"}


@pytest.mark.long
@pytest.mark.parametrize("seed", range(70, 76), indirect=True)
def test_dumps_go_through_many_faults(ordeal: BackupOrdeal) -> None:
    beset(ordeal)
    endure(ordeal, "--segments", "7")


@pytest.mark.long
@pytest.mark.parametrize("seed", range(76, 79), indirect=True)
@on_moto
def test_large_dumps_go_through_many_faults(large: BackupOrdeal) -> None:
    beset(large)
    endure(large)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(76, 79), indirect=True)
@on_moto
def test_exports_go_through_many_faults(large: BackupOrdeal) -> None:
    beset(large)
    target = large.new_table()
    restoring = ("restore", large.place(DUMP), f"us-east-1/{target}", "--json", "--quiet")
    runs = large.each(backup(large, "--format", "export"), restoring, compare(large, target))
    assert [(ran.code, ran.stderr) for ran in runs] == [(0, "")] * 3
    large.assert_holds(large.items(target))
    assert large.uploads() == []


@pytest.mark.long
@pytest.mark.parametrize("fault", EVERY)
@on_moto
def test_each_fault_of_s3_passes(large: BackupOrdeal, fault: str) -> None:
    large.s3.befall(0.5, fault)
    endure(large)
    assert large.s3.struck[fault] > 0


@on_moto
def test_what_was_written_and_got_no_answer_is_written_once(large: BackupOrdeal) -> None:
    large.s3.befall(1.0, "lost answer", operations=WRITES, tries=1)
    large.dynamo.lose(1.0, "BatchWriteItem", tries=1)
    endure(large)
    assert large.s3.carried_out["CompleteMultipartUpload"] == 2
    assert large.s3.struck["lost answer"] == 6  # two parts, their completion, two manifests, a proof
    assert large.dynamo.struck["lose"] >= 2


@pytest.mark.parametrize(
    ("code", "status", "operation"),
    [
        ("AccessDenied", 403, "UploadPart"),
        long("InternalError", 500, "UploadPart"),
        long("AccessDenied", 403, "CreateMultipartUpload"),
        long("AccessDenied", 403, "CompleteMultipartUpload"),
        long("InternalError", 500, "CompleteMultipartUpload"),
        long("AccessDenied", 403, "PutObject"),
        long("InternalError", 500, "PutObject"),
    ],
)
@on_moto
def test_a_dump_that_s3_does_not_take_leaves_nothing_that_looks_whole(
    large: BackupOrdeal, code: str, status: int, operation: str
) -> None:
    large.s3.refuse(status, code, operation)
    assert_not_whole(large, large.run(*backup(large)))


@pytest.mark.long
@pytest.mark.parametrize("call", [1, 2, 3, 5, 6])
@on_moto
def test_a_dump_whose_table_cannot_be_read_any_more_leaves_nothing_that_looks_whole(
    large: BackupOrdeal, call: int
) -> None:
    dynamo = large.dynamo
    dynamo.at(call, lambda: dynamo.refuse("ExpiredTokenException", "The token has expired"), "Scan")
    assert_not_whole(large, large.run(*backup(large)))
    again = large.run(*backup(large, "--jobid", "again"))
    assert (again.code, again.stderr) == (0, "")
    large.assert_holds(large.dump("again"))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(80, 86), indirect=True)
@on_moto
def test_what_is_damaged_on_its_way_is_told_or_read_again(large: BackupOrdeal) -> None:
    assert large.run(*backup(large)).code == 0
    large.s3.befall(0.6, "damaged download", tries=2)
    target = large.new_table()
    verified, restored = large.each(verify(large), restore(large, target))
    assert large.s3.struck["damaged download"] > 0
    assert (verified.code in (0, 1, 3), restored.code in (0, 2, 3)) == (True, True)
    if restored.code == 0:
        large.assert_holds(large.items(target))


@pytest.mark.parametrize("seed", [1, *(long(seed) for seed in range(90, 96))], indirect=True)
@on_moto
def test_an_incremental_folder_and_its_snapshot_go_through_faults(ordeal: BackupOrdeal) -> None:
    beset(ordeal)
    folder = ordeal.place(f"{INCREMENTAL}/{ordeal.table}")
    shot, again = ordeal.place("snapshots/one.gz"), ordeal.place("snapshots/two.gz")
    table = ordeal.new_table()
    quiet = ("--json", "--quiet")
    runs = ordeal.each(
        ("incremental-backfill", ordeal.source, ordeal.place(INCREMENTAL), *quiet),
        ("incremental-backfill", ordeal.source, ordeal.place(INCREMENTAL), *quiet),
        ("incremental-snapshot", folder, shot, *quiet),
        ("incremental-snapshot", folder, again, *quiet),
        ("restore", shot, f"us-east-1/{table}", *quiet),
        ("diff-backup", folder, ordeal.source, "--settle", "0", *quiet),
        ("diff-backup", shot, folder, *quiet),
    )
    assert [(ran.code, ran.stderr) for ran in runs] == [(0, "")] * len(runs)
    ordeal.assert_holds(ordeal.folder())
    stored = [ordeal.bucket.body(f"snapshots/{name}.gz") for name in ("one", "two")]
    assert stored[0] == stored[1]
    ordeal.assert_holds(ordeal.by_key(lines_of(stored[0])))
    ordeal.assert_holds(ordeal.items(table))
    first, second = runs[0].summary, runs[1].summary
    count = len(ordeal.truth)
    assert (first["repaired"], second["repaired"], second["matched"] + second["settled"]) == (count, 0, count)
    assert ordeal.uploads() == []
