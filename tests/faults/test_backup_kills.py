"""Backups and restores that are ended at any moment: nothing looks whole that is not, and another run goes on."""

from __future__ import annotations

import json
import random
import signal
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.support.backup_ordeal import DUMP, INCREMENTAL, BackupOrdeal, lines_of
from tests.support.restores import our_dump

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.cli import Ran
    from tests.support.engines import Engine

pytestmark = pytest.mark.timeout(180)

on_moto = pytest.mark.parametrize("engine", ["moto"], indirect=True)
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
many_seeds = pytest.mark.parametrize("seed", range(21, 27), indirect=True)

JOBID = "0123"
JOB = ("--job", "./job")
QUIET = ("--json", "--quiet")


class End(NamedTuple):
    """When a command is ended: at some call, before it is carried out or before it is answered."""

    side: str
    operation: str
    most: int


DUMPING = (End("dynamo", "Scan", 2), End("s3", "PutObject", 4), End("s3", "ListObjectsV2", 2))
LARGE = (
    End("dynamo", "Scan", 4),
    End("s3", "CreateMultipartUpload", 1),
    End("s3", "UploadPart", 2),
    End("s3", "CompleteMultipartUpload", 1),
    End("s3", "PutObject", 2),
)
RESTORING = (End("dynamo", "BatchWriteItem", 3), End("s3", "GetObject", 3), End("dynamo", "Scan", 1))
FILLING = (End("s3", "PutObject", 35), End("dynamo", "Scan", 2))
SHOOTING = (End("s3", "GetObject", 35), End("s3", "PutObject", 2), End("s3", "ListObjectsV2", 2))


@pytest.fixture
def ordeal(engine: Engine, moto_url: str, tmp_path: Path, seed: int) -> Iterator[BackupOrdeal]:
    """A table, a bucket and proxies without faults as yet."""
    with BackupOrdeal.of(engine, moto_url, tmp_path, seed, 40) as ordeal:
        yield ordeal


@pytest.fixture
def large(engine: Engine, moto_url: str, tmp_path: Path, seed: int) -> Iterator[BackupOrdeal]:
    """The same with more than one part of an upload holds."""
    with BackupOrdeal.of(engine, moto_url, tmp_path, seed, 20, megabytes=8) as ordeal:
        yield ordeal


def run_until(
    ordeal: BackupOrdeal, number: signal.Signals, seed: int, ends: tuple[End, ...], *command: str
) -> Ran:
    """Run a command until a signal at a moment that the seed decides."""
    chance = random.Random(f"{seed}/{command[0]}")
    end = chance.choice(ends)
    call, landed = chance.randint(1, end.most), chance.random() < 0.5
    print(number.name, end, call, landed)  # noqa: T201 - shown when a test fails
    side = ordeal.dynamo if end.side == "dynamo" else ordeal.s3
    ran = ordeal.run_until(number, side, call, end.operation, landed=landed, command=command)
    if ran.code == 0:  # it was done by then
        return ran
    if number is signal.SIGKILL:
        assert (ran.code, ran.stdout, ran.stderr) == (-number, "", "")
    else:
        assert ran.code == 130
        assert ran.stderr.endswith("Interrupted.\n")
        assert ordeal.uploads() == []
    return ran


def backup(ordeal: BackupOrdeal, place: str | None = None) -> tuple[str, ...]:
    options = ("--jobid", JOBID, "--segments", ordeal.segments, *JOB, *QUIET)
    return ("backup-table", ordeal.source, place or ordeal.place(DUMP), *options)


def survive_a_dump(ordeal: BackupOrdeal, number: signal.Signals, seed: int) -> None:
    ran = run_until(ordeal, number, seed, LARGE if ordeal.segments == "1" else DUMPING, *backup(ordeal))
    is_told_whole = f"{DUMP}/{JOBID}/manifest.json" in ordeal.names
    assert is_told_whole or ran.code != 0
    if is_told_whole:
        ordeal.assert_dumped(JOBID)
    if ran.code == 0:
        return
    again = ordeal.run(*backup(ordeal))
    if is_told_whole and again.code == 2:  # all had been done, and its job had ended, when the signal came
        assert again.sentence.startswith(f"There is a whole dump {JOBID} in ")
        return
    assert (again.code, again.stderr) == (0, "")
    assert again.summary["items"] + again.summary["skipped"] == len(ordeal.truth)
    ordeal.assert_dumped(JOBID)


def put_dump(ordeal: BackupOrdeal, **described: str) -> None:
    """Put a dump into the bucket, made without asyncrep."""
    items = list(ordeal.truth.values())
    segments = [items[:9], items[9:20], items[20:]]
    for name, stored in our_dump(segments, create=ordeal.description, **described).items():
        ordeal.bucket.put(f"{DUMP}/{JOBID}/{name}", stored)


def survive_a_restore(ordeal: BackupOrdeal, number: signal.Signals, seed: int) -> None:
    target = ordeal.new_table()
    command = ("restore", ordeal.place(f"{DUMP}/{JOBID}"), f"us-east-1/{target}", *JOB, *QUIET)
    put_dump(ordeal)
    run_until(ordeal, number, seed, RESTORING, *command)
    ordeal.assert_part(ordeal.items(target))
    again = ordeal.run(*command)
    assert (again.code, again.stderr) == (0, "")
    assert (again.summary["items"], again.summary["written"]) == (len(ordeal.truth),) * 2
    ordeal.assert_holds(ordeal.items(target))


def survive_a_backfill(ordeal: BackupOrdeal, number: signal.Signals, seed: int) -> None:
    command = ("incremental-backfill", ordeal.source, ordeal.place(INCREMENTAL), *JOB, *QUIET)
    run_until(ordeal, number, seed, FILLING, *command)
    ordeal.assert_part(ordeal.folder())
    again = ordeal.run(*command)
    assert (again.code, again.stderr) == (0, "")
    ordeal.assert_holds(ordeal.folder())


def survive_a_snapshot(ordeal: BackupOrdeal, number: signal.Signals, seed: int) -> None:
    for made in ordeal.truth.values():
        ordeal.keep(made)
    folder = ordeal.place(f"{INCREMENTAL}/{ordeal.table}")
    command = ("incremental-snapshot", folder, ordeal.place("snapshots/one.gz"), *QUIET)
    run_until(ordeal, number, seed, SHOOTING, *command)
    if "snapshots/one.gz" in ordeal.names:
        ordeal.assert_holds(ordeal.by_key(lines_of(ordeal.bucket.body("snapshots/one.gz"))))
    again = ordeal.run(*command)
    assert (again.code, again.stderr) == (0, "")
    ordeal.assert_holds(ordeal.by_key(lines_of(ordeal.bucket.body("snapshots/one.gz"))))
    manifest = json.loads(ordeal.bucket.body("snapshots/one.gz.manifest.json"))
    assert manifest["items"] == len(ordeal.truth)
    assert ordeal.uploads() == []


SURVIVALS = {
    "restore": survive_a_restore,
    "backfill": survive_a_backfill,
    "snapshot": survive_a_snapshot,
    "dump": survive_a_dump,
}


@on_moto
def test_a_dump_that_is_killed_is_finished_by_the_same_command(large: BackupOrdeal, seed: int) -> None:
    survive_a_dump(large, signal.SIGKILL, seed)


@on_moto
def test_a_restore_that_is_killed_is_finished_by_the_same_command(ordeal: BackupOrdeal, seed: int) -> None:
    survive_a_restore(ordeal, signal.SIGKILL, seed)


@on_moto
@pytest.mark.parametrize(
    ("operation", "landed"),
    [("CreateTable", False), ("CreateTable", True), ("UpdateTimeToLive", True)],
    ids=["before CreateTable", "after CreateTable", "after UpdateTimeToLive"],
)
def test_a_table_that_a_killed_restore_was_making_is_made_and_filled_by_the_same_command(
    ordeal: BackupOrdeal, operation: str, *, landed: bool
) -> None:
    put_dump(ordeal, ttl_attribute="expires")
    name = ordeal.new_table()
    ordeal.engine.call("DeleteTable", {"TableName": name})
    command = ("restore", ordeal.place(f"{DUMP}/{JOBID}"), f"us-east-1/{name}", "--create")
    ran = ordeal.run_until(
        signal.SIGKILL, ordeal.dynamo, 1, operation, landed=landed, command=(*command, *JOB, *QUIET)
    )
    assert ran.code == -signal.SIGKILL
    assert "It was making the table; nothing is restored yet." in ordeal.run("jobs", "show", "./job").stdout
    again = ordeal.run(*command, *JOB, *QUIET)
    assert (again.code, again.stderr) == (0, "")
    ordeal.assert_holds(ordeal.items(name))
    ttl = ordeal.engine.call("DescribeTimeToLive", {"TableName": name})["TimeToLiveDescription"]
    assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires"}
    other = ordeal.run(*command, *QUIET)
    assert (other.code, other.sentence) == (
        2, f"There is a table us-east-1/{name} already: leave out --create, or choose another name."
    )  # fmt: skip


@on_moto
def test_what_was_damaged_after_the_table_was_made_is_not_restored_in_part(ordeal: BackupOrdeal) -> None:
    put_dump(ordeal)
    name = ordeal.new_table()
    ordeal.engine.call("DeleteTable", {"TableName": name})
    command = ("restore", ordeal.place(f"{DUMP}/{JOBID}"), f"us-east-1/{name}", "--create", *JOB, *QUIET)
    ordeal.run_until(signal.SIGKILL, ordeal.dynamo, 1, "CreateTable", landed=True, command=command)
    whole = ordeal.bucket.body(f"{DUMP}/{JOBID}/1")
    ordeal.bucket.put(f"{DUMP}/{JOBID}/1", whole[:-20] + bytes(20))
    damaged = ordeal.run(*command)
    assert (damaged.code, damaged.stdout) == (2, "")
    assert ordeal.items(name) == {}
    ordeal.bucket.put(f"{DUMP}/{JOBID}/1", whole)
    assert ordeal.run(*command).code == 0
    ordeal.assert_holds(ordeal.items(name))


@on_moto
def test_a_dump_that_is_interrupted_takes_back_what_it_sent(large: BackupOrdeal) -> None:
    ran = large.run_until(
        signal.SIGTERM, large.s3, 1, "UploadPart", landed=True, command=backup(large)
    )  # fmt: skip
    assert ran.code == 130
    assert ran.summary["complete"] is False
    assert (large.names, large.uploads()) == ([], [])


@pytest.mark.long
@many_seeds
@on_moto
def test_large_dumps_that_end_at_any_moment(large: BackupOrdeal, seed: int) -> None:
    survive_a_dump(large, SIGNALS[seed % 3], seed)


@pytest.mark.long
@many_seeds
@pytest.mark.parametrize("work", SURVIVALS)
def test_whatever_ends_at_any_moment_is_finished_by_the_same_command(
    ordeal: BackupOrdeal, seed: int, work: str
) -> None:
    SURVIVALS[work](ordeal, SIGNALS[seed % 3], seed)


@pytest.mark.long
@many_seeds
@on_moto
def test_a_dump_into_a_folder_leaves_no_half_of_a_file(large: BackupOrdeal, seed: int) -> None:
    dumps = large.cli.folder / DUMP
    run_until(large, SIGNALS[seed % 3], seed, LARGE[:1], *backup(large, str(dumps)))
    seen = {each.name for each in dumps.rglob("*") if each.is_file() and not each.name.startswith(".")}
    assert "manifest.json" not in seen or "0" in seen
    again = large.run(*backup(large, str(dumps)))
    assert (again.code, again.stderr) == (0, "")
    whole = {each.name for each in dumps.rglob("*") if each.is_file()}
    assert whole == {"0", "0.manifest.json", "manifest.json"}
    large.assert_holds(large.by_key(lines_of((dumps / JOBID / "0").read_bytes())))


@pytest.mark.long
@many_seeds
@on_moto
def test_a_restore_survives_faults_and_signals_together(ordeal: BackupOrdeal, seed: int) -> None:
    """Runs that are ended one after the other, beset by faults as well, come to what one quiet run would."""
    target = ordeal.new_table()
    put_dump(ordeal)
    command = ("restore", ordeal.place(f"{DUMP}/{JOBID}"), f"us-east-1/{target}", *JOB, *QUIET)
    for attempt in range(3):
        ordeal.dynamo.lose(0.2, "BatchWriteItem")
        ordeal.dynamo.leave_unprocessed(0.3, batches=20)
        ordeal.s3.befall(0.3)
        run_until(ordeal, signal.SIGKILL, seed + attempt, RESTORING[:1], *command)
        ordeal.assert_part(ordeal.items(target))
    again = ordeal.run(*command)
    assert (again.code, again.stderr) == (0, "")
    assert again.summary["items"] == len(ordeal.truth)
    ordeal.assert_holds(ordeal.items(target))
