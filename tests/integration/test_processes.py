"""A run in several processes comes to what one process comes to, whichever of its workers die on the way."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import Advanced, Comparison, Found, IncompleteRunError, Limits, Report, Rules, UsageError
from asyncrep.aws.place import Place
from asyncrep.location import TableRef
from asyncrep.model import State
from asyncrep.parallel import lead, pool
from asyncrep.parallel.lead import run_in_processes
from tests.support.engines import REGION
from tests.support.scenario import NAME, PRIMARY, REPLICA, Log, Scene, item, same_items, scene
from tests.support.tables import position_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from asyncrep.options import Strategy
    from tests.support.engines import Engine
    from tests.support.scripted import ScriptedDynamo
    from tests.support.values import Item


@pytest.fixture(autouse=True)
def two_shares_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small tables have one share for each worker; here each has two, as of large ones it may have more."""
    for module in (pool, lead):
        monkeypatch.setattr(
            module, "number_of_shares", lambda run, processes: min(2 * processes, len(run.segments))
        )


SEGMENTS = 4
PATIENCE_SECONDS = 8.0
DIED = "A worker process died (exit code -9); its segments are done again."
COUNTS = (
    "scanned_primary", "scanned_replica", "matched", "missing", "different", "extraneous", "settled",
    "in_flight", "expired", "repaired", "contested", "failed", "skipped", "present",
)  # fmt: skip


@pytest.fixture
def stage(endpoint: ScriptedDynamo, monkeypatch: pytest.MonkeyPatch) -> ScriptedDynamo:
    """The scripted endpoint, where workers find it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint.url)
    return endpoint


def place(location: str) -> Place:
    return Place(TableRef.parse(location))


async def spread(task: Any, log: Log, **options: Any) -> Report:
    """A run over the tables of the stage."""
    given: dict[str, Any] = {
        "processes": 2,
        "limits": Limits(segments=SEGMENTS),
        "comparison": Comparison(settle=0),
        "observer": log,
    }
    places = place(f"{PRIMARY}/{NAME}"), place(f"{REPLICA}/{NAME}")
    return await run_in_processes(task, *places, **given | options)


def counts(report: Report) -> dict[str, int]:
    """What has to be the same, however the work was spread."""
    return {name: getattr(report, name) for name in COUNTS if getattr(report, name)}


def workers() -> list[int]:
    """The worker processes that this process has, also dead ones that nobody has waited for."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in children if is_worker(Path(f"/proc/{pid}/cmdline"))]


def is_worker(command: Path) -> bool:
    try:
        arguments = command.read_bytes()
    except FileNotFoundError:
        return False
    return not arguments or b"parallel/start.py" in arguments


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - of another process's doing
            await asyncio.sleep(0.01)


async def dying(run: Coroutine[Any, Any, Report], *conditions: Callable[[], object]) -> Report:
    """A run whose workers are killed each time the next condition has come true; then they are others."""
    killed: set[int] = set()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(run)
        for condition in conditions:
            await until(lambda: set(workers()) - killed and condition())  # noqa: B023 - called at once
            for pid in workers():
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
    return running.result()


def drifted(primary: int = 1000) -> tuple[list[Item], list[Item]]:
    """Two sides: every other record is missing or different, and for ten of them there is an extraneous one."""
    names = [f"k{number:04}" for number in range(primary)]
    replica = [item(name, v=0 if index % 4 == 2 else 1) for index, name in enumerate(names) if index % 4]
    extraneous = [item(f"x{number:04}") for number in range(primary // 10)]
    return [item(name, v=1) for name in names], [*replica, *extraneous]


DRIFT = {
    "scanned_primary": 1000, "scanned_replica": 850, "matched": 500, "missing": 250, "different": 250,
    "extraneous": 100,
}  # fmt: skip
"""What `drifted` comes to."""


def hold(endpoint: ScriptedDynamo, segment: int, times: int = 1) -> Callable[[], bool]:
    """Hold the second page of one of the primary's segments back; return whether that has begun."""
    statement = endpoint.on(
        "Scan",
        region=PRIMARY,
        times=times,
        when=lambda body: body.get("Segment") == segment and "ExclusiveStartKey" in body,
    ).delay(600)
    return lambda: statement.fired > 0


def in_pages(tables: Scene, items: int = 40) -> Scene:
    tables.primary.page_items = tables.replica.page_items = items
    return tables


# ── What it comes to ────────────────────────────────────────────────────────────────────────────────


async def test_a_diff_comes_to_the_same_as_in_one_process(stage: ScriptedDynamo) -> None:
    """The command line's tests do the same with batch-get."""
    strategy: Strategy = "dual-scan"
    tables = scene(stage, *drifted())
    alone, report = await tables.diff(
        strategy=strategy, comparison=Comparison(settle=0), limits=Limits(segments=SEGMENTS)
    )
    log = Log()
    merged = await spread("diff", log, strategy=strategy)
    assert log.records == alone
    assert counts(merged) == counts(report) == DRIFT
    for same in ("strategy", "segments", "segment", "read_units", "write_units", "complete"):
        assert getattr(merged, same) == getattr(report, same), same
    assert workers() == []


async def test_engines_are_repaired_by_several_processes(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    primary, replica = drifted(60)
    ours, theirs = engine.create_table(items=primary), engine.create_table(items=replica)
    monkeypatch.setenv("AWS_ENDPOINT_URL", engine.url)
    log = Log()
    report = await run_in_processes(
        "repair",
        place(f"{REGION}/{ours}"),
        place(f"{REGION}/{theirs}"),
        processes=2,
        limits=Limits(segments=SEGMENTS),
        comparison=Comparison(settle=0),
        observer=log,
    )
    assert (report.missing, report.different, report.extraneous, report.repaired) == (15, 15, 6, 36)
    assert {found.state for found in log.records.values()} == {State.REPAIRED}
    assert same_items(engine.items(ours), engine.items(theirs))


# ── Workers that die ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("strategy")
async def test_a_diff_tells_every_record_once_when_a_worker_is_killed(
    stage: ScriptedDynamo, strategy: Strategy
) -> None:
    in_pages(scene(stage, *drifted()))
    log, held = Log(), hold(stage, 2)
    told_before = 0

    def in_the_middle() -> bool:
        nonlocal told_before
        told_before = len(log.of(Found))
        return held() and told_before > 0

    report = await dying(spread("diff", log, strategy=strategy, processes=1), in_the_middle)
    assert 0 < told_before < 600
    assert counts(report) == DRIFT
    assert len(log.records) == 600
    assert (log.notes, report.complete) == ([DIED], True)
    moved = log.of(Advanced)
    shown = {name: sum(each.items for each in moved if each.name == name) for name in ("primary", "replica")}
    assert shown == {"primary": DRIFT["scanned_primary"], "replica": DRIFT["scanned_replica"]}


async def test_a_repair_counts_what_the_dead_had_repaired(stage: ScriptedDynamo) -> None:
    tables = in_pages(scene(stage, *drifted()))
    deleted = []
    stage.after("Scan", lambda _: deleted.append(stage.count("DeleteItem")), region=PRIMARY, times=None)
    log, held = Log(), hold(stage, 2)
    report = await dying(
        spread("repair", log, processes=1),
        lambda: held() and len(log.of(Found)) >= 25,
    )
    # What was written and not told by the one who died is found equal.
    silent = 500 - report.missing - report.different
    assert counts(report) == DRIFT | {
        "scanned_replica": report.scanned_replica,
        "matched": 500 + silent,
        "missing": report.missing,
        "different": report.different,
        "repaired": 600 - silent,
    }
    assert len(log.records) == 600 - silent
    assert {found.state for found in log.records.values()} == {State.REPAIRED}
    assert tables.converged
    # Deletions wait for all shares.
    assert (set(deleted), stage.count("DeleteItem")) == ({0}, 100)


async def test_records_that_stay_are_told_once(stage: ScriptedDynamo) -> None:
    tables = in_pages(scene(stage, *drifted()), 20)
    # The walk of the replica comes second: by then what it has more than the primary is being told.
    held = stage.on(
        "Scan", region=REPLICA, when=lambda body: body["Segment"] == 3 and "ExclusiveStartKey" in body
    )
    held.delay(600)
    log = Log()

    def some_extraneous_told() -> bool:
        return bool(held.fired) and any(found.kind == "extraneous" for found in log.records.values())

    rules = Rules(delete_extraneous=False)
    report = await dying(
        spread("repair", log, processes=1, rules=rules, strategy="batch-get"), some_extraneous_told
    )
    assert (report.extraneous, report.skipped, report.repaired) == (100, 100, 500)
    assert report.matched + report.missing + report.different == 1000
    assert len(log.records) == 600
    assert stage.count("DeleteItem") == 0
    assert len(tables.replica.items) == 1100


async def test_a_backfill_of_an_empty_replica_counts_every_copy_once(stage: ScriptedDynamo) -> None:
    tables = in_pages(scene(stage, drifted()[0]))
    log, held = Log(), hold(stage, 2)
    report = await dying(
        spread("backfill", log, processes=1), lambda: held() and len(tables.replica.items) > 40
    )
    copied = {"scanned_primary": 1000, "missing": 1000, "repaired": 1000}
    assert (counts(report), report.strategy) == (copied, "backfill")
    assert tables.converged


async def test_a_backfill_done_again_overwrites_nothing(stage: ScriptedDynamo) -> None:
    """The replica was empty, and somebody writes to it between a worker's death and the next one's work."""
    tables = in_pages(scene(stage, drifted()[0]))
    held = hold(stage, 2)
    newer = [item(name, v=2) for name in tables.primary.items if position_of(name) * SEGMENTS >> 64 == 2]

    def write() -> None:
        for each in newer:
            tables.replica.put(each)

    def somebody_writes_next() -> bool:
        if held():
            stage.before("DescribeTable", lambda _: write())
        return held()

    report = await dying(spread("backfill", Log(), processes=1), somebody_writes_next)
    assert all(tables.replica.get(each["id"]["S"]) == each for each in newer)
    assert counts(report) == {
        "scanned_primary": 1000,
        "missing": 1000 - len(newer),
        "repaired": 1000 - len(newer),
        "present": len(newer),
    }


async def test_a_backfill_of_a_filled_replica_keeps_what_the_dead_had_copied(stage: ScriptedDynamo) -> None:
    primary, replica = drifted()
    tables = in_pages(scene(stage, primary, replica[:300]))
    log, held = Log(), hold(stage, 2)

    def some_copied() -> bool:
        return held() and any(each.items for each in log.of(Advanced))

    report = await dying(spread("backfill", log, processes=1), some_copied)
    assert report.missing == report.repaired
    # The replica's 300: every third of them is an older one.
    assert (report.present, report.matched + report.repaired) == (100, 900)
    assert (report.complete, len(tables.replica.items)) == (True, 1000)


async def test_workers_that_die_at_different_shares_are_all_replaced(stage: ScriptedDynamo) -> None:
    in_pages(scene(stage, *drifted()))
    first, second = hold(stage, 0), hold(stage, 3)
    log = Log()
    report = await dying(spread("diff", log), first, second)
    assert counts(report) == DRIFT
    assert len(log.records) == 600
    assert log.notes == [DIED] * len(log.notes)
    assert workers() == []


async def test_a_budget_is_that_of_all_workers_together(stage: ScriptedDynamo) -> None:
    in_pages(scene(stage, *drifted()))
    limits = Limits(segments=SEGMENTS, max_cost=0.01)
    report = await spread("diff", Log(), limits=limits)
    assert report.complete
    assert 0 < report.cost_usd < 0.01
    little = Limits(segments=SEGMENTS, max_cost=1e-9)
    with pytest.raises(UsageError, match="too small"):
        await spread("diff", Log(), limits=little)


# ── Runs that end early ─────────────────────────────────────────────────────────────────────────────


async def test_an_error_that_no_worker_can_cure_ends_all(stage: ScriptedDynamo) -> None:
    in_pages(scene(stage, *drifted()))
    refused = stage.on("Scan", region=REPLICA, after=3)
    refused.error("AccessDeniedException", message="no dynamodb:Scan for you").forever()
    log = Log()
    with pytest.raises(IncompleteRunError, match="dynamodb:Scan") as failure:
        await spread("repair", log)
    assert not failure.value.report.complete
    assert (log.notes, workers(), stage.count("DeleteItem")) == ([], [], 0)


async def test_one_segment_and_no_process_are_refused(stage: ScriptedDynamo) -> None:
    with pytest.raises(UsageError, match="must be one or more, not 0"):
        await spread("diff", Log(), processes=0)
    assert stage.calls == []


# ── The process itself ──────────────────────────────────────────────────────────────────────────────


async def test_what_a_library_prints_does_not_garble_the_news(
    stage: ScriptedDynamo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also: a worker imports what the leading process would, and nothing of the folder it works in."""
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    for folder in (here, elsewhere):
        folder.mkdir()
    for name in ("msgspec", "signal", "asyncrep"):
        (here / f"{name}.py").write_text("raise SystemExit('the wrong module')")
    (elsewhere / "uvloop.py").write_text(
        "import importlib, os, sys\n"
        "print('noise' * 50_000, flush=True)\n"
        "os.write(1, b'more noise')\n"
        "sys.path.remove(os.path.dirname(__file__))\n"
        "del sys.modules['uvloop']\n"
        "importlib.import_module('uvloop')\n"
    )
    scene(stage, *drifted())
    with monkeypatch.context() as patch:
        patch.chdir(here)
        patch.setattr(sys, "path", [str(elsewhere), *filter(None, sys.path)])
        log = Log()
        report = await spread("diff", log)
    assert counts(report) == DRIFT
    assert len(log.records) == 600
