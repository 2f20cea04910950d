"""Jobs that are killed at random moments and begun again: in the end they are as if nobody had touched them."""

from __future__ import annotations

import json
import random
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cli import ended, json_lines, wait_until
from tests.support.ordeal import OUTPUT, Ordeal

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Hashable
    from pathlib import Path

    from tests.support.cli import Ran
    from tests.support.engines import Engine
    from tests.support.fault_proxy import FaultProxy

pytestmark = pytest.mark.timeout(120)

ITEMS = 250
SAVE_WAITS = 4
JOURNAL = "journal.jsonl"
JOB = "job"
OPTIONS = ("--segments", "16", "--output", OUTPUT, "--job", f"./{JOB}")
REPAIR = ("--repair", "--journal", JOURNAL)
WRITES = {"PutItem": "missing", "UpdateItem": "different", "DeleteItem": "extraneous"}
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


class JobRuns:
    """The runs of one job, of which all but the last are ended from outside.

    Attributes:
        ran: those that have ended.
    """

    def __init__(self, ordeal: Ordeal, proxy: FaultProxy, *options: str) -> None:
        self.ran: list[Ran] = []
        self._ordeal = ordeal
        self._proxy = proxy
        self._command = (*ordeal.command, *OPTIONS, *options)
        ordeal.cli.environment["AWS_ENDPOINT_URL"] = proxy.url

    def run(self, number: signal.Signals, call: int, *operations: str, landed: bool = False) -> Ran:
        """Run it until the nth call of these operations, or until its end, should that come first."""
        processes: list[subprocess.Popen[str]] = []
        self._proxy.forget()
        self._proxy.at(call, lambda: processes[0].send_signal(number), *operations, landed=landed)
        with self._ordeal.cli.start(*self._command) as process:
            processes.append(process)
            self.ran.append(ended(process))
        wait_until(lambda: self._proxy.under_way == 0)
        return self.ran[-1]

    def kill_after_a_save(self, *pace: str) -> Ran:
        """Run it, at a pace of its own, until it has saved how far it is, other than at the start."""
        self._proxy.forget()
        with self._ordeal.cli.start(*self._command, *pace) as process:
            first = self._wait_for_a_save(other_than=None)
            self._wait_for_a_save(other_than=first)
            process.kill()
            self.ran.append(ended(process))
        wait_until(lambda: self._proxy.under_way == 0)
        return self.ran[-1]

    def _wait_for_a_save(self, *, other_than: str | None) -> str | None:
        path = self._ordeal.cli.folder / JOB / "state.json"

        def mark() -> str | None:
            state = json.loads(path.read_text()) if path.exists() else {"mark": None}
            return state["mark"] and json.dumps(state["mark"])

        for _ in range(SAVE_WAITS):
            with suppress(TimeoutError):
                wait_until(lambda: mark() not in (None, other_than))
                return mark()
        raise TimeoutError

    def finish(self) -> Ran:
        """Run it to its end."""
        self._proxy.forget()
        with self._ordeal.cli.start(*self._command) as process:
            self.ran.append(ended(process))
        return self.ran[-1]


def outcomes(ordeal: Ordeal) -> dict[Hashable, list[bool | None]]:
    """What the journal tells of each record's writes: applied, refused, or nothing (None)."""
    path = ordeal.cli.folder / JOURNAL
    lines: list[dict[str, Any]] = json_lines(path.read_text())
    settled = {(line["by"], line["n"]): line["applied"] for line in lines if "applied" in line}
    told: dict[Hashable, list[bool | None]] = {}
    for line in lines:
        if "key" in line:
            told.setdefault(ordeal.mixture.identity(line["key"]), []).append(
                settled.get((line["by"], line["n"]))
            )
    return told


def assert_as_if_untouched(ordeal: Ordeal, proxy: FaultProxy, last: Ran, *, repaired: bool) -> None:
    assert (last.code, last.stderr) == (0 if repaired else 1, "")
    ordeal.assert_counts(last.summary)
    ordeal.assert_told("repaired" if repaired else "found")
    if not repaired:
        ordeal.assert_untouched()
        return
    assert last.summary["repaired"] == ordeal.mixture.counts.total()
    ordeal.assert_equal()
    # Nothing was written that is not in the journal, which cannot know the fate of what was under way.
    assert outcomes(ordeal).keys() == ordeal.mixture.kinds.keys()
    counts = ordeal.mixture.counts
    assert {write: proxy.carried_out[write] for write in WRITES} == {
        write: counts[kind] for write, kind in WRITES.items()
    }


def interrupted_at_random(ordeal: Ordeal, proxy: FaultProxy, seed: int, *options: str) -> JobRuns:
    """End several runs of a job at random calls, in random ways, and then let it finish."""
    chance = random.Random(seed)
    runs = JobRuns(ordeal, proxy, *options)
    for _ in range(chance.randint(2, 4)):
        call, landed = chance.randint(5, 36), chance.random() < 0.5
        ran = runs.run(chance.choice(SIGNALS), call, landed=landed)
        ordeal.assert_half_way(deletions=True)
        ordeal.assert_honest([] if ran.code < 0 else ordeal.found)
        if ran.code in (0, 1):  # it was done before
            return runs
        assert ran.code in (130, -signal.SIGKILL), ran.stderr
    runs.finish()
    return runs


@pytest.mark.long
@pytest.mark.parametrize("seed", range(40, 46), indirect=True)
@pytest.mark.parametrize("options", [(), REPAIR], ids=["check", "repair"])
def test_a_job_that_is_ended_again_and_again_ends_like_one_run(
    engine: Engine, proxy: FaultProxy, tmp_path: Path, seed: int, options: tuple[str, ...]
) -> None:
    ordeal = Ordeal.of(engine, tmp_path, seed, ITEMS)
    runs = interrupted_at_random(ordeal, proxy, seed, *options)
    assert len(runs.ran) > 1
    assert_as_if_untouched(ordeal, proxy, runs.ran[-1], repaired=bool(options))


@pytest.mark.long
@pytest.mark.parametrize("seed", [60, 61], indirect=True)
def test_a_job_survives_faults_and_signals_together(
    engine: Engine, proxy: FaultProxy, tmp_path: Path, seed: int
) -> None:
    ordeal = Ordeal.of(engine, tmp_path, seed, ITEMS)
    proxy.lose(0.15)
    proxy.cut(0.1)
    last = interrupted_at_random(ordeal, proxy, seed, *REPAIR).ran[-1]
    assert (last.code, last.stderr) == (0, "")
    ordeal.assert_counts(last.summary)
    ordeal.assert_told("repaired")
    ordeal.assert_equal()
    assert outcomes(ordeal).keys() == ordeal.mixture.kinds.keys()


def test_a_job_that_is_killed_among_its_writes_counts_each_repair_once(
    engine: Engine, proxy: FaultProxy, tmp_path: Path, seed: int
) -> None:
    ordeal = Ordeal.of(engine, tmp_path, seed, 120)
    runs = JobRuns(ordeal, proxy, *REPAIR)
    assert runs.run(signal.SIGKILL, 5, *WRITES, landed=True).code == -signal.SIGKILL
    assert_as_if_untouched(ordeal, proxy, runs.finish(), repaired=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.long)])
def test_a_job_deletes_no_more_than_allowed_in_all_its_runs(
    engine: Engine, proxy: FaultProxy, tmp_path: Path, seed: int, number: signal.Signals
) -> None:
    ordeal = Ordeal.of(engine, tmp_path, seed, ITEMS)
    extraneous = ordeal.mixture.counts["extraneous"]
    runs = JobRuns(ordeal, proxy, *REPAIR, "--max-delete", "4")
    assert extraneous > 8
    assert runs.run(number, 3, "DeleteItem", landed=True).code in (130, -number)
    last = runs.finish()
    assert (last.code, last.summary["complete"]) == (1, True)
    assert proxy.carried_out["DeleteItem"] == 4
    assert (last.summary["deleted"], last.summary["skipped"]) == (4, extraneous - 4)
    assert last.summary["repaired"] == ordeal.mixture.counts.total() - last.summary["skipped"]
    ordeal.assert_honest(ordeal.found)


@pytest.mark.long
@pytest.mark.parametrize("seed", [50, 51], indirect=True)
def test_a_killed_job_goes_on_from_its_last_save(
    engine: Engine, proxy: FaultProxy, tmp_path: Path, seed: int
) -> None:
    ordeal = Ordeal.of(engine, tmp_path, seed, ITEMS)
    # Slow enough for a save in the middle, which comes every ten seconds.
    runs = JobRuns(ordeal, proxy, *REPAIR)
    assert runs.kill_after_a_save("--write-units", "2").code == -signal.SIGKILL
    assert_as_if_untouched(ordeal, proxy, runs.finish(), repaired=True)
