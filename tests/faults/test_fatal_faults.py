"""Faults that end a run: exit code 3, one sentence, nothing lost, and another run finishes the work."""

from __future__ import annotations

import json
import random
import shlex
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support.ordeal import OUTPUT, REGIONS, Ordeal

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli import Ran
    from tests.support.engines import Engine
    from tests.support.fault_proxy import FaultProxy

long = partial(pytest.param, marks=pytest.mark.long)

ITEMS = 200
LARGE = 600
JOURNAL = "journal.jsonl"
STAGES = ["PutItem", *(long(stage) for stage in ("Scan", "BatchGetItem", "UpdateItem", "DeleteItem"))]
_KINDS = {"PutItem": "missing", "UpdateItem": "different", "DeleteItem": "extraneous"}
_EXPIRED = "The security token included in the request is expired"


def moment(ordeal: Ordeal, stage: str, seed: int) -> int:
    """The number of a call of this operation that a repair is sure to make."""
    most = ordeal.mixture.counts[_KINDS[stage]] if stage in _KINDS else 3
    return random.Random(f"{seed}/{stage}").randint(1, most)


def assert_failed(ordeal: Ordeal, ran: Ran, proxy: FaultProxy, *, stage: str) -> None:
    """The run said that it failed and why, and had done no harm until then."""
    assert ran.code == 3
    assert ran.sentence
    assert ran.summary["complete"] is False
    deleting = stage == "DeleteItem"
    if not deleting:
        assert proxy.carried_out["DeleteItem"] == 0
    ordeal.assert_half_way(deletions=deleting)
    ordeal.assert_honest(ordeal.found)


def assert_finished_by_another_run(ordeal: Ordeal) -> None:
    ran = ordeal.run(ordeal.engine.url, "--repair")
    assert (ran.code, ran.stderr) == (0, "")
    ordeal.assert_equal()


def with_small_files(ordeal: Ordeal, *options: str) -> Ran:
    """Run the check where no file may become larger than a few KB, and see it fail."""
    ordeal.cli.environment["AWS_ENDPOINT_URL"] = ordeal.engine.url
    command = shlex.join(["asyncrep", *ordeal.command, "--segments", "4", *options])
    ran = ordeal.cli.shell(f"ulimit -f 4; exec {command}")  # blocks of 512 or 1,024 bytes
    assert ran.code == 3
    return ran


@pytest.mark.parametrize("stage", STAGES)
def test_credentials_that_expire_end_the_run(
    engine: Engine, proxy: FaultProxy, tmp_path: Path, seed: int, stage: str
) -> None:
    ordeal = Ordeal.of(engine, tmp_path, seed, ITEMS)
    proxy.at(moment(ordeal, stage, seed), lambda: proxy.refuse("ExpiredTokenException", _EXPIRED), stage)
    ran = ordeal.run(proxy.url, "--repair", "--output", OUTPUT, "--segments", "2")
    assert_failed(ordeal, ran, proxy, stage=stage)
    assert ran.sentence.endswith(f": ExpiredTokenException: {_EXPIRED}")
    assert_finished_by_another_run(ordeal)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("stage", ["Scan", long("PutItem")])
def test_a_table_that_is_deleted_ends_the_run_and_takes_nothing_along(
    engine: Engine, proxy: FaultProxy, tmp_path: Path, seed: int, stage: str, side: int
) -> None:
    ordeal = Ordeal.of(engine, tmp_path, seed, ITEMS)
    table = ordeal.names[side], REGIONS[side]
    proxy.at(moment(ordeal, stage, seed), lambda: engine.delete_table(*table), stage)
    ran = ordeal.run(proxy.url, "--repair", "--output", OUTPUT, "--segments", "2")
    assert (ran.code, ran.summary["complete"]) == (3, False)
    assert ran.sentence == f"There is no table {table[1]}/{table[0]} (any more)."
    assert proxy.carried_out["DeleteItem"] == 0
    if side == 1:
        assert len(ordeal.items(0)) == len(ordeal.mixture.primary)
    else:
        extraneous = {key for key, kind in ordeal.mixture.kinds.items() if kind == "extraneous"}
        assert extraneous <= ordeal.mixture.by_identity(ordeal.items(1)).keys()


@pytest.mark.parametrize("option", ["--output", long("--combined")])
@pytest.mark.parametrize("repair", [("--repair",), long(())])
def test_a_full_disk_ends_the_run(
    engine: Engine, tmp_path: Path, seed: int, option: str, repair: tuple[str, ...]
) -> None:
    ordeal = Ordeal.of(engine, tmp_path, seed, ITEMS)
    ran = ordeal.run(engine.url, option, "/dev/full", *repair)
    assert ran.code == 3
    assert ran.sentence == "Cannot write to /dev/full: No space left on device."
    if repair:
        assert_finished_by_another_run(ordeal)
    else:
        ordeal.assert_untouched()


@pytest.mark.long
def test_a_full_disk_behind_stdout_ends_the_run(engine: Engine, tmp_path: Path, seed: int) -> None:
    ordeal = Ordeal.of(engine, tmp_path, seed, ITEMS)
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        ran = ordeal.run(engine.url, stdout=full)
    assert ran.code == 3
    assert ran.sentence == "Cannot write to stdout: [Errno 28] No space left on device"


@pytest.mark.long
def test_an_output_that_may_not_grow_ends_the_run_in_its_middle(
    engine: Engine, tmp_path: Path, seed: int
) -> None:
    ordeal = Ordeal.of(engine, tmp_path, seed, LARGE)
    ran = with_small_files(ordeal, "--output", OUTPUT)
    assert ran.sentence == f"Cannot write to {OUTPUT}: File too large."
    ordeal.assert_untouched()


@pytest.mark.parametrize("items", [ITEMS, long(LARGE)])
def test_a_journal_that_may_not_grow_ends_the_repair_before_it_writes_more(
    engine: Engine, tmp_path: Path, seed: int, items: int
) -> None:
    ordeal = Ordeal.of(engine, tmp_path, seed, items)
    ran = with_small_files(ordeal, "--repair", "--journal", JOURNAL)
    assert ran.sentence == (
        f"The journal {JOURNAL} could not be written, so nothing more was written to the table: "
        "File too large."
    )
    assert ran.summary["complete"] is False
    ordeal.assert_half_way(deletions=True)
    *whole, _torn = (tmp_path / JOURNAL).read_text().split("\n")
    lines = [json.loads(line) for line in whole]
    assert ordeal.changed <= {ordeal.mixture.identity(line["key"]) for line in lines if "key" in line}
    assert_finished_by_another_run(ordeal)
