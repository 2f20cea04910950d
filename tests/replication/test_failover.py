"""Real worker processes of one task: whatever becomes of one, the others see to all of its work, in order."""

from __future__ import annotations

import random
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import PATIENCE_SECONDS, ended
from tests.support.fleet import DESTINATION, FAILOVER, OTHER, SOURCE, Fleet, Load, Process, fleet

if TYPE_CHECKING:
    from pathlib import Path

GUARDED = ("--guard", "sequence")
SLOW_SECONDS = 0.2


def three(stack: ExitStack, running: Fleet) -> list[Process]:
    """Start three workers, and wait until each follows a shard."""
    workers = [stack.enter_context(running.worker()) for _ in range(3)]
    running.wait_until(lambda: all(worker.told("shard_taken") for worker in workers))
    return workers


def loaded(running: Fleet, load: Load, count: int) -> None:
    """Let so many more writes happen."""
    before = load.written
    running.wait_until(lambda: load.written >= before + count)


def end_all(running: Fleet, workers: list[Process]) -> None:
    """Ask workers to end, all at once, which they do cleanly once they have begun."""
    running.wait_until(lambda: all(worker.told("started") for worker in workers))
    for worker in workers:
        worker.process.terminate()
    assert [worker.process.wait(PATIENCE_SECONDS) for worker in workers] == [0] * len(workers)


def test_a_killed_workers_shards_are_taken_over_and_every_key_goes_on_in_order(tmp_path: Path) -> None:
    with fleet(tmp_path, *GUARDED) as running, ExitStack() as stack:
        load = Load(running.endpoint, SOURCE, seed=1)
        with load.running():
            workers = three(stack, running)
            dead = running.held_by(workers[0])
            assert dead
            workers[0].kill()
            seconds = running.takeover(dead, time.monotonic())
        print(f"takeover {seconds:.1f} s after SIGKILL, with a failover of {FAILOVER} s")  # noqa: T201
        running.wait_until_equal()
        assert running.setbacks() == {}
        end_all(running, workers[1:])
    assert seconds < FAILOVER + 15


@pytest.mark.long
def test_without_a_guard_a_takeover_ends_in_the_sources_state(tmp_path: Path) -> None:
    with fleet(tmp_path) as running, ExitStack() as stack:
        load = Load(running.endpoint, SOURCE, seed=2)
        with load.running():
            workers = three(stack, running)
            loaded(running, load, 600)
            dead = running.held_by(workers[1])
            assert dead
            workers[1].kill()
            seconds = running.takeover(dead, time.monotonic())
        print(f"takeover {seconds:.1f} s after SIGKILL, with a failover of {FAILOVER} s")  # noqa: T201
        running.wait_until_equal()
        # At least once: what was written and not noted may come again, and nothing else.
        assert running.inventions() == {}
        print(f"{len(running.setbacks())} keys went back for a moment")  # noqa: T201
        end_all(running, [workers[0], workers[2]])


def test_sigterm_in_mid_load_finishes_what_is_under_way_and_sets_the_leases_free(tmp_path: Path) -> None:
    with fleet(tmp_path) as running:
        load = Load(running.endpoint, SOURCE, seed=3)
        with load.running():
            with running.worker() as first:
                running.wait_until(lambda: running.items(DESTINATION))
                loaded(running, load, 200)
                assert first.end() == 0
            assert first.log[-1]["event"] == "stopped"
            assert {lease.get("leaseOwner") for lease in running.leases().values()} == {None}
            with running.worker() as second:
                running.wait_until(lambda: second.told("shard_taken"))
                loaded(running, load, 200)
                assert second.end() == 0
        with running.worker():
            running.wait_until_equal()
        # Its leases were free: nothing was left to be done twice.
        assert running.setbacks() == {}
        counted = [worker.log[-1]["records"] for worker in (first, second)]
        assert all(counted)


def test_a_second_signal_ends_a_worker_that_cannot_finish_at_once(tmp_path: Path) -> None:
    with fleet(tmp_path) as running, running.worker() as worker:
        running.endpoint.tell("fault", operation="BatchWriteItem", fault="delay", arguments=[60], times=None)
        Load(running.endpoint, SOURCE, seed=4).write(20)
        running.wait_until(lambda: running.endpoint.tell("count", operation="BatchWriteItem"))
        worker.process.terminate()
        with pytest.raises(TimeoutError):
            running.wait_until(lambda: worker.process.poll() is not None, 1.0)
        worker.process.terminate()
        assert worker.process.wait(5) == 130


@pytest.mark.long
def test_a_worker_with_other_tables_is_refused_while_those_of_the_task_go_on(tmp_path: Path) -> None:
    with fleet(tmp_path) as running, running.worker() as worker:
        load = Load(running.endpoint, SOURCE, seed=5)
        load.write(50)
        running.wait_until_equal()
        other = running.command(*GUARDED)
        before = running.endpoint.tell("tables")
        with running.cli.start("replicate", SOURCE, OTHER, *other[3:]) as process:
            refused = ended(process, PATIENCE_SECONDS)
        assert refused.code == 2
        assert "give this one a name of its own" in refused.sentence
        assert running.endpoint.tell("tables") == before
        load.write(50)
        running.wait_until_equal()
        assert worker.end() == 0


@pytest.mark.long
@pytest.mark.parametrize("guard", [(), GUARDED], ids=["unguarded", "guarded"])
def test_a_worker_that_stood_still_for_too_long_writes_nothing_more(
    tmp_path: Path, guard: tuple[str, ...]
) -> None:
    with fleet(tmp_path, "--concurrency", "4", *guard) as running, ExitStack() as stack:
        load = Load(running.endpoint, SOURCE, seed=6, keys=600)
        for operation in ("BatchWriteItem", "TransactWriteItems"):
            running.endpoint.tell(
                "fault", operation=operation, fault="delay", arguments=[SLOW_SECONDS], times=None
            )
        load.write(5_000)
        paused = stack.enter_context(running.worker())
        # Stopped with most of a page still to be written, and some of it on its way.
        running.wait_until(lambda: running.items(DESTINATION))
        paused.pause()
        stale = running.held_by(paused)
        running.endpoint.tell("forgive")
        other = stack.enter_context(running.worker())
        running.wait_until(lambda: running.held_by(other).keys() == stale.keys())
        load.write(2_000)
        running.wait_until_equal()
        paused.go_on()
        running.wait_until(lambda: len(paused.told("shard_left")) == len(stale))
        assert {line["reason"] for line in paused.told("shard_left")} == {"another worker has it"}
        with load.running():
            running.wait_until(lambda: len(paused.told("shard_taken")) > len(stale))
        running.wait_until_equal()
        assert running.setbacks() == {}
        end_all(running, [paused, other])


@pytest.mark.long
@pytest.mark.parametrize("guard", [(), GUARDED], ids=["unguarded", "guarded"])
@pytest.mark.parametrize("seed", range(2))
def test_workers_that_come_and_go_in_every_way_lose_nothing(
    tmp_path: Path, seed: int, guard: tuple[str, ...]
) -> None:
    chance = random.Random(seed)
    with fleet(tmp_path, *guard) as running, ExitStack() as stack:
        load = Load(running.endpoint, SOURCE, seed)
        workers = [stack.enter_context(running.worker()) for _ in range(2)]
        with load.running():
            for _ in range(6):
                loaded(running, load, chance.randrange(100, 1500))
                workers.append(stack.enter_context(running.worker()))
                leaving = workers.pop(chance.randrange(len(workers)))
                match chance.choice(("kill", "pause", "term")):
                    case "kill":
                        leaving.kill()
                    case "term":
                        running.wait_until(lambda: leaving.told("started"))  # noqa: B023
                        assert leaving.end() == 0
                    case "pause":
                        leaving.pause()
                        loaded(running, load, chance.randrange(100, 3000))
                        leaving.go_on()
                        workers.append(leaving)
        running.wait_until_equal()
        assert running.inventions() == {}
        if guard:
            assert running.setbacks() == {}
        end_all(running, workers)
