"""What dynamodb-replicator has left is restored, compared and gone on with; what is written here it can read."""

from __future__ import annotations

import gzip
import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.backup_ordeal import DUMP, INCREMENTAL, BackupOrdeal
from tests.support.restores import foreign_dump

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.engines import Engine
    from tests.support.values import Item

QUIET = ("--json", "--quiet")
on_moto = pytest.mark.parametrize("engine", ["moto"], indirect=True)
range_key_first = pytest.mark.parametrize("seed", [1], indirect=True)
"""The seed of a table whose range key comes before its hash key in the alphabet."""

hash_key_first = pytest.mark.parametrize("seed", [5], indirect=True)


@pytest.fixture
def ordeal(engine: Engine, moto_url: str, tmp_path: Path, seed: int) -> Iterator[BackupOrdeal]:
    """A table, and a bucket that nothing goes wrong with."""
    with BackupOrdeal.of(engine, moto_url, tmp_path, seed, 30) as ordeal:
        yield ordeal


def stringified(value: Any) -> bytes:
    """What JSON.stringify makes of it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def their_name(ordeal: BackupOrdeal, made: Item) -> str:
    """The name that dynamodb-replicator gives the object of an item: by the names of its key, sorted."""
    names = sorted(name for name, _ in ordeal.keys)
    return hashlib.sha256(stringified({name: made[name] for name in names})).hexdigest()


def shuffled(made: Item) -> Item:
    """An item whose attributes come in another order."""
    return dict(reversed(made.items()))


@on_moto
def test_a_dump_of_dynamodb_replicator_is_compared_and_restored(ordeal: BackupOrdeal) -> None:
    items = [shuffled(made) for made in ordeal.truth.values()]
    for name, stored in foreign_dump([items[:10], [], items[10:]]).items():
        ordeal.bucket.put(f"{DUMP}/0123/{name}", stored)
    place, target = ordeal.place(f"{DUMP}/0123"), ordeal.new_table()
    runs = ordeal.each(
        ("diff-backup", place, ordeal.source, "--settle", "0", *QUIET),
        ("restore", place, f"us-east-1/{target}", *QUIET),
    )
    assert [(ran.code, ran.stderr) for ran in runs] == [(0, "")] * 2
    ordeal.assert_holds(ordeal.items(target))


@on_moto
@range_key_first
def test_a_folder_of_dynamodb_replicator_is_compared_restored_and_gone_on_with(ordeal: BackupOrdeal) -> None:
    assert list(ordeal.keys) != sorted(ordeal.keys)
    prefix = f"{INCREMENTAL}/{ordeal.table}"
    missing, *kept = ordeal.truth.values()
    for made in kept:
        ordeal.bucket.put(f"{prefix}/{their_name(ordeal, made)}", stringified(shuffled(made)))
    target, table = ordeal.new_table(), ordeal.source
    runs = ordeal.each(
        ("diff-backup", ordeal.place(prefix), table, "--settle", "0", *QUIET),
        ("incremental-backfill", table, ordeal.place(INCREMENTAL), *QUIET),
        ("diff-backup", ordeal.place(prefix), table, "--settle", "0", *QUIET),
        ("restore", ordeal.place(prefix), f"us-east-1/{target}", *QUIET),
    )
    assert [(ran.code, ran.stderr) for ran in runs] == [(1, ""), (0, ""), (0, ""), (0, "")]
    assert (runs[0].summary["extraneous"], runs[1].summary["repaired"]) == (1, 1)
    ordeal.assert_holds(ordeal.items(target))
    found = [json.loads(ordeal.bucket.body(name)) for name in ordeal.names]
    ordeal.assert_holds(ordeal.by_key(found))  # no record has two objects
    assert ordeal.key(missing) in ordeal.by_key(found)


@on_moto
@hash_key_first
def test_what_is_written_here_is_what_dynamodb_replicator_reads(ordeal: BackupOrdeal) -> None:
    options = ("--jobid", "0123", "--segments", "3", *QUIET)
    runs = ordeal.each(
        ("backup-table", ordeal.source, ordeal.place(DUMP), *options),
        ("incremental-backfill", ordeal.source, ordeal.place(INCREMENTAL), *QUIET),
    )
    assert [(ran.code, ran.stderr) for ran in runs] == [(0, "")] * 2
    dumped: list[Item] = []
    for segment in range(3):
        text = gzip.decompress(ordeal.bucket.body(f"{DUMP}/0123/{segment}")).decode()
        dumped += [json.loads(line) for line in text.split("\n") if line]
    ordeal.assert_holds(ordeal.by_key(dumped))
    prefix = f"{INCREMENTAL}/{ordeal.table}"
    assert list(ordeal.keys) == sorted(ordeal.keys)
    kept = []
    for made in ordeal.truth.values():
        body = ordeal.bucket.body(f"{prefix}/{their_name(ordeal, made)}")
        assert b"\n" not in body  # their snapshots are these bodies, a line each
        kept.append(json.loads(body))
    ordeal.assert_holds(ordeal.by_key(kept))
