"""Faults that pass: every count, line and item is as it would be without them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.ordeal import OUTPUT, Ordeal

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.engines import Engine
    from tests.support.fault_proxy import FaultProxy
    from tests.support.microburst import Microburst

pytestmark = pytest.mark.timeout(180)  # a table that throttles whatever it is asked is asked ever more slowly

ITEMS = 400
FEW_ITEMS = 120
WRITES = ("PutItem", "UpdateItem", "DeleteItem")
MICROBURST: dict[str, dict[str, Any]] = {
    "throttles": {"probability": 0.3, "error": {"code": "ProvisionedThroughputExceededException"}},
    "server errors": {"probability": 0.2, "error": {"code": "InternalServerError", "status": 500}},
    "resets": {"probability": 0.2, "reset": True},
    "stalls": {"probability": 0.1, "latency": 2000},
    "answers cut off": {"probability": 0.2, "response": {"abort_frac": 0.5}},
    "answers cut short": {"probability": 0.2, "response": {"truncate_frac": 0.5}},
    "answers that are no text": {"probability": 0.2, "response": {"corrupt_bytes": 3}},
}


def endure(ordeal: Ordeal, url: str, *options: str) -> None:
    """Check two tables, repair them, and check them again, in both strategies and all through the faults."""
    checked = ordeal.run(url, "--output", OUTPUT, "--strategy", "dual-scan", *options)
    assert (checked.code, checked.stderr) == (1, "")
    ordeal.assert_counts(checked.summary)
    ordeal.assert_told("found")
    ordeal.assert_untouched()

    repaired = ordeal.run(url, "--repair", "--output", OUTPUT, "--strategy", "batch-get", *options)
    assert (repaired.code, repaired.stderr) == (0, "")
    ordeal.assert_counts(repaired.summary)
    assert repaired.summary["repaired"] == ordeal.mixture.counts.total()
    ordeal.assert_told("repaired")
    ordeal.assert_equal()

    again = ordeal.run(url, "--output", OUTPUT, "--strategy", "batch-get", *options)
    assert (again.code, again.stderr, again.summary["matched"]) == (0, "", len(ordeal.mixture.primary))
    assert ordeal.found == []


@pytest.mark.long
@pytest.mark.parametrize("fault", MICROBURST)
def test_faults_on_the_way_change_nothing(
    engine: Engine, microburst: Microburst, tmp_path: Path, seed: int, fault: str
) -> None:
    ordeal = Ordeal.of(engine, tmp_path, seed, ITEMS)
    microburst.state(MICROBURST[fault])
    endure(ordeal, microburst.url, "--segments", "4")
    assert microburst.fired() > 0


def test_a_table_that_throttles_is_repaired_all_the_same(
    engine: Engine, microburst: Microburst, tmp_path: Path, seed: int
) -> None:
    ordeal = Ordeal.of(engine, tmp_path, seed, FEW_ITEMS)
    microburst.state(MICROBURST["throttles"])
    ran = ordeal.run(microburst.url, "--repair", "--output", OUTPUT)
    assert (ran.code, ran.stderr) == (0, "")
    ordeal.assert_counts(ran.summary)
    ordeal.assert_told("repaired")
    ordeal.assert_equal()
    assert microburst.fired() > 0


@pytest.mark.long
@pytest.mark.parametrize("seed", [10, 11], indirect=True)
@pytest.mark.parametrize("fault", ["cut", "flip", "lose"])
def test_damaged_and_lost_answers_change_nothing(
    engine: Engine, proxy: FaultProxy, tmp_path: Path, seed: int, fault: str
) -> None:
    ordeal = Ordeal.of(engine, tmp_path, seed, ITEMS)
    getattr(proxy, fault)(0.25)
    endure(ordeal, proxy.url, "--segments", "4")
    assert proxy.struck[fault] > 0


def test_a_few_damaged_answers_change_nothing(
    engine: Engine, proxy: FaultProxy, tmp_path: Path, seed: int
) -> None:
    ordeal = Ordeal.of(engine, tmp_path, seed, FEW_ITEMS)
    proxy.cut(0.15)
    proxy.flip(0.15)
    endure(ordeal, proxy.url, "--segments", "2")
    assert proxy.struck["cut"] > 0
    assert proxy.struck["flip"] > 0


@pytest.mark.parametrize("fault", ["cut", pytest.param("lose", marks=pytest.mark.long)])
def test_a_write_that_landed_and_lost_its_answer_is_repaired(
    engine: Engine, proxy: FaultProxy, tmp_path: Path, seed: int, fault: str
) -> None:
    ordeal = Ordeal.of(engine, tmp_path, seed, FEW_ITEMS)
    getattr(proxy, fault)(1.0, *WRITES, tries=1)
    ran = ordeal.run(proxy.url, "--repair", "--output", OUTPUT)
    assert (ran.code, ran.stderr) == (0, "")
    ordeal.assert_counts(ran.summary)
    assert ran.summary["repaired"] == ordeal.mixture.counts.total() == proxy.struck[fault]
    ordeal.assert_told("repaired")
    ordeal.assert_equal()
    assert sum(proxy.carried_out[write] for write in WRITES) == 2 * ordeal.mixture.counts.total()


@pytest.mark.long
def test_what_stays_unprocessed_is_asked_for_until_it_is_done(
    engine: Engine, proxy: FaultProxy, tmp_path: Path, seed: int
) -> None:
    ordeal = Ordeal.of(engine, tmp_path, seed, ITEMS)
    proxy.leave_unprocessed(0.6, batches=40)
    endure(ordeal, proxy.url, "--segments", "4")
    assert proxy.struck["leave"] > 0


@pytest.mark.long
@pytest.mark.parametrize("fault", ["cut", "flip", "lose", "leave_unprocessed"])
def test_a_backfill_copies_everything_through_faults(
    engine: Engine, proxy: FaultProxy, tmp_path: Path, seed: int, fault: str
) -> None:
    ordeal = Ordeal.of(engine, tmp_path, seed, ITEMS, empty_replica=True)
    getattr(proxy, fault)(0.6 if fault == "leave_unprocessed" else 0.25)
    ran = ordeal.run(proxy.url, "--backfill", "--repair", "--segments", "4")
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.summary["scanned_primary"] == ran.summary["repaired"] == len(ordeal.mixture.primary)
    assert (ran.summary["complete"], ran.summary["failed"], ran.summary["present"]) == (True, 0, 0)
    assert proxy.struck.total() > 0
    ordeal.assert_equal()


@pytest.mark.long
def test_several_processes_lose_nothing_to_faults(
    engine: Engine, proxy: FaultProxy, tmp_path: Path, seed: int
) -> None:
    ordeal = Ordeal.of(engine, tmp_path, seed, ITEMS)
    proxy.cut(0.15)
    proxy.lose(0.1)
    endure(ordeal, proxy.url, "--segments", "8", "--processes", "2")
    assert proxy.struck["cut"] > 0
    assert proxy.struck["lose"] > 0
