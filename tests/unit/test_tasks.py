"""Side by side: results in order, one error as it is, and nobody left behind."""

import asyncio
import threading

import pytest

from asyncrep.flow.tasks import beside, in_thread, side_by_side, task_group, to_its_end


def others():
    return asyncio.all_tasks() - {asyncio.current_task()}


async def after(turns, result):
    for _ in range(turns):
        await asyncio.sleep(0)
    if isinstance(result, BaseException):
        raise result
    return result


class Sleeper:
    def __init__(self):
        self.cancelled = False
        self.cleaned = False

    async def sleep(self):
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            self.cancelled = True
            await asyncio.sleep(0)
            self.cleaned = True
            raise


async def test_results_come_in_the_order_of_the_coroutines():
    assert await side_by_side(after(turns, turns) for turns in (5, 1, 3, 0)) == [5, 1, 3, 0]
    assert await side_by_side([]) == []
    assert not others()


async def test_all_run_at_once():
    barrier = asyncio.Barrier(5)

    async def meet():
        await barrier.wait()

    await asyncio.wait_for(side_by_side(meet() for _ in range(5)), 5)


async def test_the_first_error_is_raised_as_it_is_and_the_others_are_cancelled_and_waited_for():
    sleepers = [Sleeper(), Sleeper()]
    failure = LookupError("first")
    with pytest.raises(LookupError) as caught:
        await side_by_side(
            [sleepers[0].sleep(), after(2, failure), sleepers[1].sleep(), after(9, KeyError("late"))]
        )
    assert caught.value is failure
    assert all(sleeper.cancelled and sleeper.cleaned for sleeper in sleepers)
    assert not others()


async def test_of_errors_at_the_same_time_one_is_raised():
    with pytest.raises((ValueError, KeyError)) as caught:
        await side_by_side([after(1, ValueError("a")), after(1, KeyError("b"))])
    assert not isinstance(caught.value, BaseExceptionGroup)


async def test_an_error_of_nested_tasks_is_raised_as_it_is_too():
    with pytest.raises(ValueError, match="deep"):
        await side_by_side([side_by_side([side_by_side([after(1, ValueError("deep"))])]), after(3, 1)])

    async def grouped():
        async with asyncio.TaskGroup() as group:
            group.create_task(after(1, ValueError("grouped")))

    with pytest.raises(ValueError, match="grouped"):
        await side_by_side([grouped()])
    assert not others()


async def test_an_error_keeps_its_cause_and_its_place():
    async def fail():
        raise ValueError("effect") from KeyError("cause")

    with pytest.raises(ValueError, match="effect") as caught:
        await side_by_side([fail()])
    assert isinstance(caught.value.__cause__, KeyError)
    assert "fail" in [entry.name for entry in caught.traceback]


async def test_cancelling_the_whole_cancels_every_part():
    sleepers = [Sleeper(), Sleeper()]
    running = asyncio.ensure_future(side_by_side(sleeper.sleep() for sleeper in sleepers))
    for _ in range(3):
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert all(sleeper.cleaned for sleeper in sleepers)
    assert not others()


async def test_a_time_limit_around_it_works():
    sleeper = Sleeper()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await side_by_side([sleeper.sleep()])
    assert sleeper.cleaned
    assert not others()


async def test_what_runs_beside_a_block_ends_with_it():
    sleeper = Sleeper()
    async with beside(sleeper.sleep()):
        await asyncio.sleep(0)
        assert not sleeper.cancelled
    assert sleeper.cleaned
    assert not others()


async def test_an_error_of_the_block_is_raised_as_it_is_and_ends_what_runs_beside():
    sleeper, failure = Sleeper(), LookupError("block")

    async def whole():
        async with beside(sleeper.sleep()):
            await asyncio.sleep(0)
            raise failure

    with pytest.raises(LookupError) as caught:
        await whole()
    assert caught.value is failure
    assert sleeper.cleaned
    assert not others()


async def test_an_error_beside_ends_the_block_and_is_raised_as_it_is():
    block = Sleeper()

    async def whole():
        async with beside(after(2, ValueError("beside"))):
            await block.sleep()

    with pytest.raises(ValueError, match="beside"):
        await whole()
    assert block.cleaned
    await asyncio.sleep(0)  # whoever waited for it was not cancelled


async def test_what_ends_beside_by_itself_leaves_the_block_alone():
    async with beside(after(1, None)):
        for _ in range(4):
            await asyncio.sleep(0)
    assert not others()


async def test_a_cancelled_block_cancels_what_runs_beside_and_stays_cancelled():
    block, beneath = Sleeper(), Sleeper()

    async def whole():
        async with beside(beneath.sleep()):
            await block.sleep()

    running = asyncio.ensure_future(whole())
    for _ in range(3):
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert block.cleaned
    assert beneath.cleaned
    assert running.cancelled()
    assert not others()


async def test_a_cancelled_block_with_a_failing_side_stays_cancelled_or_fails_as_it_is():
    async def fail_when_cancelled():
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            raise ValueError("late") from None

    async def whole():
        async with beside(fail_when_cancelled()):
            await asyncio.sleep(3600)

    running = asyncio.ensure_future(whole())
    for _ in range(3):
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises((asyncio.CancelledError, ValueError)) as caught:
        await running
    assert not isinstance(caught.value, BaseExceptionGroup)
    assert not others()


async def test_a_group_fails_as_its_first_task_or_its_block_does():
    async with task_group() as group:
        group.create_task(after(1, "fine"))
    sleeper = Sleeper()

    async def grouped(task, block):
        async with task_group() as group:
            group.create_task(task)
            await block

    with pytest.raises(ValueError, match="task"):
        await grouped(after(1, ValueError("task")), asyncio.sleep(3600))
    with pytest.raises(KeyError, match="block"):
        await grouped(sleeper.sleep(), after(2, KeyError("block")))
    assert sleeper.cleaned
    assert not others()


async def test_what_runs_to_its_end_ends_although_it_is_cancelled_again_and_again():
    begun, go, ended = asyncio.Event(), asyncio.Event(), []

    async def work():
        begun.set()
        await go.wait()
        ended.append(True)

    running = asyncio.ensure_future(to_its_end(work()))
    await begun.wait()
    for _ in range(3):
        running.cancel()
        await asyncio.sleep(0)
        assert not running.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended == [True]
    assert not others()


async def test_what_does_not_end_in_time_is_cancelled_as_well():
    sleeper = Sleeper()
    running = asyncio.ensure_future(to_its_end(sleeper.sleep(), 0.01))
    for _ in range(3):
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert sleeper.cleaned
    assert not others()


async def test_to_its_end_returns_and_raises_as_it_is():
    assert await to_its_end(after(2, "fine")) == "fine"
    with pytest.raises(ValueError, match="wrong"):
        await to_its_end(after(2, ValueError("wrong")))


async def test_a_thread_ends_before_its_cancellation_is_seen():
    begun, go, ended = asyncio.Event(), threading.Event(), []
    loop = asyncio.get_running_loop()

    def work(result):
        loop.call_soon_threadsafe(begun.set)
        go.wait(30)
        ended.append(result)

    running = asyncio.ensure_future(in_thread(work, "done"))
    await begun.wait()
    running.cancel()
    for _ in range(3):
        await asyncio.sleep(0)
    assert not running.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended == ["done"]
