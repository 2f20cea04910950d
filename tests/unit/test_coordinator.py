"""Workers of one task share its shards evenly, take over from the dead, and are never two at one shard."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from asyncrep.errors import PermissionDeniedError, UsageError
from tests.support.task import FAILOVER, Task, Weather


def play(task, story):
    task.run(story(task))


def test_a_worker_follows_all_shards_and_their_children_at_once():
    async def story(task):
        worker = task.hire()
        await asyncio.sleep(5)
        assert task.loads == [4]
        task.split(task.open[0])
        await asyncio.sleep(3)  # long before the shards are listed anyway
        assert task.loads == [5]
        assert task.row("shard-000")["checkpoint"] == {"S": "SHARD_END"}
        assert "leaseOwner" not in task.row("shard-000")
        await worker.stop()

    play(Task(), story)


def test_shards_are_shared_evenly():
    async def story(task):
        for _ in range(4):
            task.hire()
        await asyncio.sleep(20 * FAILOVER)
        assert sorted(task.loads) == [2, 2, 3, 3]
        task.hire()
        await asyncio.sleep(10 * FAILOVER)
        assert sorted(task.loads) == [2, 2, 2, 2, 2]

    play(Task(shards=10), story)


def test_shards_of_a_dead_worker_are_taken_within_the_failover_time_and_one_round():
    async def story(task):
        workers = [task.hire() for _ in range(3)]
        await asyncio.sleep(20 * FAILOVER)
        orphans = set(workers[0].following)
        assert len(orphans) == 3
        workers[0].crash()
        await asyncio.sleep(FAILOVER * (1 + 2 / 3) + 1)
        assert orphans <= set(workers[1].following) | set(workers[2].following)

    play(Task(shards=9), story)


def test_shards_of_a_worker_that_stops_are_taken_in_the_next_round():
    async def story(task):
        workers = [task.hire() for _ in range(2)]
        await asyncio.sleep(10 * FAILOVER)
        assert task.loads == [2, 2]
        await workers[0].stop()
        assert not workers[0].following
        assert sum("leaseOwner" in row for row in task.table.items.values()) == 2
        await asyncio.sleep(FAILOVER * 2 / 3 + 1)
        assert task.loads == [4]

    play(Task(), story)


def test_a_worker_that_stands_still_gives_up_by_itself_and_comes_back():
    async def story(task):
        workers = [task.hire() for _ in range(2)]
        await asyncio.sleep(10 * FAILOVER)
        held = list(workers[0].following.values())
        assert len(held) == 2
        workers[0].pause(3 * FAILOVER)
        await asyncio.sleep(0.9 * FAILOVER + 0.1)
        assert not any(lease.is_mine for lease in held)
        await asyncio.sleep(FAILOVER)
        assert len(workers[1].following) == 4
        await asyncio.sleep(10 * FAILOVER)
        assert all(lease.lost.is_set() for lease in held)
        assert task.loads == [2, 2]

    play(Task(), story)


def test_a_table_that_lets_nothing_through_stops_everybody_until_it_does():
    async def story(task):
        workers = [task.hire() for _ in range(2)]
        await asyncio.sleep(10 * FAILOVER)
        task.weather = Weather(throttled=1.0)
        await asyncio.sleep(FAILOVER)
        assert task.loads == [0, 0]
        assert "throttled" in str(workers[0].coordinator.trouble)
        task.weather = Weather()
        await asyncio.sleep(3 * FAILOVER)
        assert sum(task.loads) == 4
        assert workers[0].coordinator.trouble is None

    play(Task(), story)


def test_a_lease_that_somebody_removes_is_lost():
    async def story(task):
        worker = task.hire()
        await asyncio.sleep(5)
        held = worker.following["shard-000"]
        task.table.delete("shard-000")
        await asyncio.sleep(FAILOVER)
        assert held.lost.is_set()
        await asyncio.sleep(40)  # the next listing finds the shard again
        assert task.loads == [4]

    play(Task(), story)


def test_a_lease_that_was_taken_without_knowing_is_not_followed_before_its_owner_must_know():
    async def story(task):
        first, second = task.hire(), task.worker()
        await asyncio.sleep(FAILOVER)
        second.is_deaf = True
        second.start()
        while not any(  # noqa: ASYNC110 - the table is no event
            row.get("leaseOwner") == {"S": second.name} for row in task.table.items.values()
        ):
            await asyncio.sleep(0.01)
        first.pause(0.8 * FAILOVER)
        await asyncio.sleep(1)
        second.is_deaf = False
        second.coordinator.sync_soon()
        await asyncio.sleep(2)
        assert len(first.following) == 4
        assert not second.following
        await asyncio.sleep(FAILOVER)
        assert sum(task.loads) == 4
        assert second.following

    play(Task(), story)


def test_a_lease_that_was_stolen_and_not_begun_is_not_set_free_while_its_owner_may_be_at_it():
    async def story(task):
        task.hire()
        await asyncio.sleep(FAILOVER)
        thief = task.hire()
        while not any(  # noqa: ASYNC110 - the table is no event
            row.get("leaseOwner") == {"S": thief.name} for row in task.table.items.values()
        ):
            await asyncio.sleep(0.01)
        assert not thief.following
        await thief.stop()
        task.hire()
        task.workers[0].pause(0.5 * FAILOVER)  # it does not hear of the theft
        await asyncio.sleep(10 * FAILOVER)  # a witness looks that no two follow a shard
        assert sum(task.loads) == 4

    play(Task(), story)


async def stirred(task, chance):
    """Workers come and go, crash and stand still while records come and shards split; then it all calms down."""
    for _ in range(chance.randint(1, 3)):
        task.hire()
    async with asyncio.TaskGroup() as group:
        writer = group.create_task(task.write(150, splits=0.1))
        while not writer.done():
            await asyncio.sleep(chance.uniform(1, 25))
            stir(task, chance)
    task.weather = Weather()
    task.hire()
    await task.caught_up(400)


def stir(task, chance):
    running = [worker for worker in task.workers if worker.runs]
    worker = chance.choice(running or [task.hire()])
    match chance.choice(("crash", "pause", "pause", "hire", "stop", "weather", "weather")):
        case "crash":
            worker.crash()
        case "pause":
            worker.pause(chance.uniform(0.5, 30))
        case "hire" if len(running) < 5:
            task.hire()
        case "stop":
            worker.ask_to_stop()
        case "weather":
            shares = (0.0, 0.0, 0.05, 0.3, 0.9)
            task.weather = Weather(
                chance.choice((0.01, 0.1, 1.0)), chance.choice(shares), chance.choice(shares)
            )


@pytest.mark.parametrize("seed", range(24))
def test_nothing_is_followed_twice_at_once_or_left_out_whatever_happens(seed):
    chance = Random(seed)
    play(Task(seed, shards=chance.randint(1, 6)), lambda task: stirred(task, chance))


@pytest.mark.parametrize("attribute", ["source", "destinations"])
def test_the_task_of_other_tables_is_refused_and_nothing_is_written(attribute):
    async def story(task):
        await task.worker().coordinator.prepare()
        row = task.row("shard-000")
        assert (row["source"], row["destinations"]) == ({"S": "s"}, {"S": "d"})
        for other in task.table.items.values():
            other[attribute] = {"S": "other"}
        task.split(task.open[0])
        before = dict(task.table.items)
        with pytest.raises(UsageError, match="give this one a name of its own"):
            await task.worker().coordinator.prepare()
        assert task.table.items == before

    play(Task(), story)


def test_preparing_makes_leases_and_takes_none():
    async def story(task):
        await task.worker().coordinator.prepare()
        assert len(task.table.items) == 4
        assert not any("leaseOwner" in row for row in task.table.items.values())

    play(Task(), story)


def test_rows_of_kcl_are_taken_over_with_their_checkpoints():
    async def story(task):
        task.stretches["shard-000"].records = task.stretches["shard-000"].applied = 5
        task.table.put(
            {
                "leaseKey": {"S": "shard-000"},
                "leaseCounter": {"N": "77"},
                "leaseOwner": {"S": "java"},
                "checkpoint": {"S": "000000000000000000005"},
                "checkpointSubSequenceNumber": {"N": "0"},
                "ownerSwitchesSinceCheckpoint": {"N": "0"},
            }
        )
        worker = task.hire()
        await asyncio.sleep(FAILOVER / 2)
        assert len(worker.following) == 2  # as many as the other may still have
        assert "shard-000" not in worker.following
        await asyncio.sleep(FAILOVER)
        assert worker.following["shard-000"].lease.sequence == 5
        assert task.row("shard-000")["source"] == {"S": "s"}
        assert task.row("shard-000")["ownerSwitchesSinceCheckpoint"] == {"N": "1"}

    play(Task(), story)


def test_others_see_how_far_behind_a_shard_is():
    async def story(task):
        worker = task.hire()
        task.open[0].records = 3
        await asyncio.sleep(5)
        assert task.row("shard-000")["millisBehindLatest"] == {"N": "3"}
        worker.following["shard-000"].millis_behind = 0
        await asyncio.sleep(FAILOVER / 2)
        assert task.row("shard-000")["millisBehindLatest"] == {"N": "0"}

    play(Task(), story)


def test_an_incomplete_listing_is_asked_for_again():
    async def story(task):
        task.split(task.open[0])
        whole = task.stretches
        listings = 0

        async def listed():
            nonlocal listings
            listings += 1
            shown = [each for each in whole.values() if listings > 2 or each.parent is None]
            return [each.shard for each in shown]

        await task.worker(listed).coordinator.prepare()
        assert listings > 2
        assert set(task.table.items) == set(whole)

    play(Task(), story)


def test_a_stream_that_is_switched_off_is_listed_again_only_once():
    async def story(task):
        for stretch in task.open:
            stretch.closed = True
        listings = []

        async def listed():
            listings.append(task.loop.time())
            return [each.shard for each in task.stretches.values()]

        await task.worker(listed).coordinator.prepare()
        assert len(listings) == 4
        worker = task.hire()
        await task.caught_up(60)
        assert worker.runs

    play(Task(), story)


def test_an_error_that_lasts_ends_the_run():
    async def story(task):
        worker = task.worker()
        await worker.coordinator.prepare()

        async def listed():
            raise PermissionDeniedError("no")

        worker.coordinator._shards = listed
        worker.coordinator.sync_soon()
        with pytest.raises(PermissionDeniedError):
            await worker.coordinator.run(worker._follow)

    play(Task(), story)


def test_what_a_follower_raises_ends_the_run():
    async def story(task):
        worker = task.worker()
        await worker.coordinator.prepare()

        async def fail(held):
            raise ZeroDivisionError(held.key)

        with pytest.raises(ZeroDivisionError):
            await worker.coordinator.run(fail)

    play(Task(), story)


def test_a_follower_that_returns_sets_its_lease_free():
    async def story(task):
        worker = task.worker()
        await worker.coordinator.prepare()
        begun = []

        async def give_up(held):
            begun.append(held.key)
            if len(begun) == 4:
                worker.coordinator.stop()

        await worker.coordinator.run(give_up)
        assert sorted(begun) == sorted(task.stretches)
        assert not any("leaseOwner" in row for row in task.table.items.values())
        assert not worker.coordinator.held

    play(Task(), story)
