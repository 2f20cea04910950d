"""Stages: everything passes exactly once, within bounds, and nothing is left open or running."""

import asyncio

import pytest
from aiostream import stream
from hypothesis import given
from hypothesis import strategies as st

from asyncrep.flow import stages
from asyncrep.flow.clock import VirtualClock
from asyncrep.flow.stages import Gathering
from tests.support.strategies import thoroughly


def others():
    return asyncio.all_tasks() - {asyncio.current_task()}


async def settle(turns=100):
    for _ in range(turns):
        await asyncio.sleep(0)


async def everything(source):
    async with source.stream() as elements:
        return [element async for element in elements]


class Sources:
    """Numbered sources that count what they produced, and which of them are open."""

    def __init__(self, length=10**9, fail_at=None, pause=0.0):
        self.length = length
        self.pause = pause
        self.fail_at = fail_at
        self.opened = []
        self.open = set()
        self.most_open = 0
        self.produced = 0

    async def pages(self, index):
        self.opened.append(index)
        self.open.add(index)
        self.most_open = max(self.most_open, len(self.open))
        try:
            for number in range(self.length):
                await asyncio.sleep(self.pause)
                if self.fail_at == (index, number):
                    raise LookupError("broken")
                self.produced += 1
                yield (index, number)
        finally:
            self.open.discard(index)


async def passed_on(element):
    await asyncio.sleep(0)
    return element


# ── Merging ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("at_once", [1, 3, 7, 8, 100])
async def test_every_element_of_every_source_comes_once_and_each_source_in_order(at_once):
    sources = Sources(length=5)
    met = await everything(stages.merged(range(8), sources.pages, at_once))
    assert sorted(met) == [(index, number) for index in range(8) for number in range(5)]
    for index in range(8):
        assert [number for source, number in met if source == index] == list(range(5))
    assert sorted(sources.opened) == list(range(8))
    assert not others()


@pytest.mark.parametrize("at_once", [1, 2, 5])
async def test_no_more_sources_are_open_than_allowed_and_no_fewer(at_once):
    sources = Sources(length=3, pause=0.002)
    await everything(stages.merged(range(12), sources.pages, at_once))
    assert sources.most_open == at_once
    assert not sources.open


async def test_sources_that_fit_are_all_open_at_once():
    sources = Sources(length=3, pause=0.002)
    await everything(stages.merged(range(12), sources.pages, 12))
    assert sources.most_open == 12


async def test_many_sources_are_opened_in_a_mixed_order_that_can_be_repeated():
    orders = []
    for _ in range(2):
        sources = Sources(length=1)
        await everything(stages.merged(range(50), sources.pages, 4))
        orders.append(sources.opened)
    assert orders[0] == orders[1]
    assert orders[0] != list(range(50))


@pytest.mark.parametrize("length", [0, 1])
async def test_sources_may_be_empty(length):
    assert len(await everything(stages.merged([7], Sources(length).pages, 4))) == length
    assert len(await everything(stages.merged(range(9), Sources(length).pages, 4))) == length * 9


# ── Mapping and splitting ───────────────────────────────────────────────────────────────────────────


async def test_a_function_is_applied_to_every_element_once_and_so_many_at_once():
    running, most = 0, 0

    async def double(number):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001 * (1 + number % 3))
        running -= 1
        return number * 2

    assert sorted(await everything(stages.mapped(stream.range(40), double, 6))) == [n * 2 for n in range(40)]
    assert most == 6


async def test_results_come_as_they_are_done():
    async def turns(number):
        await settle(number)
        return number

    assert await everything(stages.mapped(stream.iterate([50, 1, 20]), turns, 3)) == [1, 20, 50]


@thoroughly
@given(st.lists(st.lists(st.integers(), max_size=5), max_size=8))
async def test_splitting_passes_every_piece_in_order(lists):
    pieces = await everything(
        stages.split(stream.iterate(lists), lambda element: [[each] for each in element])
    )
    assert pieces == [[each] for element in lists for each in element]


# ── Gathering ───────────────────────────────────────────────────────────────────────────────────────


def gathering(most=10, heaviest=1e9, linger=1e9):
    return Gathering(most=most, heaviest=heaviest, weigh=float, linger=linger)


@thoroughly
@given(
    st.lists(st.lists(st.integers(0, 20), max_size=12), max_size=8),
    st.integers(1, 10),
    st.integers(1, 60),
)
async def test_groups_are_full_in_number_or_weight_and_nothing_is_lost(lists, most, heaviest):
    source = stages.gathered(stream.iterate(lists), gathering(most, heaviest), VirtualClock())
    groups = await everything(source)
    assert [weight for group in groups for weight in group] == [weight for each in lists for weight in each]
    for group in groups:
        assert 1 <= len(group) <= most
        assert sum(group[:-1]) < heaviest
    for group in groups[:-1]:
        assert len(group) == most or sum(group) >= heaviest


async def lists_at(clock, *moments):
    for seconds, elements in moments:
        await clock.sleep(seconds - clock.monotonic())
        yield elements


async def test_a_group_waits_for_company_no_longer_than_it_lingers():
    clock = VirtualClock()
    source = stream.iterate(lists_at(clock, (0, [1]), (0.5, [2]), (0.9, []), (1.0, []), (1.5, [3]), (9, [4])))
    async with stages.gathered(source, gathering(linger=1.0), clock).stream() as gathered:
        groups = [(clock.monotonic(), group) async for group in gathered]
    assert groups == [(1.0, [1, 2]), (9.0, [3, 4])]


async def test_lingering_counts_from_the_first_element_of_the_group():
    clock = VirtualClock()
    source = stream.iterate(lists_at(clock, (0, [1, 2, 3]), (0.9, [4]), (1.2, []), (1.9, [])))
    async with stages.gathered(source, gathering(most=3, linger=1.0), clock).stream() as gathered:
        groups = [(clock.monotonic(), group) async for group in gathered]
    assert groups == [(0.0, [1, 2, 3]), (1.9, [4])]


async def test_empty_lists_make_no_groups():
    clock = VirtualClock()
    source = stream.iterate(lists_at(clock, (0, []), (5, []), (10, [])))
    assert await everything(stages.gathered(source, gathering(linger=1.0), clock)) == []


async def test_a_group_passed_on_does_not_change_afterwards():
    source = stages.gathered(stream.iterate([[1, 2, 3], [4]]), gathering(most=2), VirtualClock())
    groups = await everything(source)
    assert groups == [[1, 2], [3, 4]]
    assert len({id(group) for group in groups}) == 2


# ── The whole pipeline ──────────────────────────────────────────────────────────────────────────────


def pipeline(sources, segments=4, at_once=3, open_at_once=64, function=passed_on):
    pages = stages.merged(range(segments), sources.pages, open_at_once)
    pieces = stages.split(pages, lambda page: [[page]])
    groups = stages.gathered(pieces, Gathering(1, 1e9, lambda _: 1.0, 1e9), VirtualClock())
    return stages.mapped(groups, function, at_once)


@pytest.mark.parametrize(
    ("segments", "at_once", "open_at_once"), [(1, 1, 64), (4, 3, 64), (16, 8, 64), (20, 2, 5)]
)
async def test_a_slow_consumer_slows_the_sources(segments, at_once, open_at_once):
    sources = Sources()
    ahead = []
    async with pipeline(sources, segments, at_once, open_at_once).stream() as elements:
        taken = 0
        async for _ in elements:
            taken += 1
            await settle(200)
            ahead.append(sources.produced - taken)
            if taken == 10:
                break
    assert max(ahead) <= min(segments, open_at_once) + at_once
    assert not sources.open


@pytest.mark.parametrize("at_once", [1, 3])
async def test_a_slow_stage_slows_the_sources(at_once):
    sources = Sources()

    async def stuck(_):
        await asyncio.sleep(3600)

    running = asyncio.ensure_future(everything(pipeline(sources, 4, at_once, function=stuck)))
    await settle(300)
    assert sources.produced <= 4 + at_once + 1
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not sources.open
    assert not others()


@pytest.mark.parametrize("open_at_once", [2, 64])
async def test_leaving_early_closes_every_source_and_every_task(open_at_once):
    sources = Sources()
    async with pipeline(sources, 6, 3, open_at_once).stream() as elements:
        async for _ in elements:
            break
    assert sources.opened
    assert not sources.open
    assert not others()


@pytest.mark.parametrize("open_at_once", [2, 64])
async def test_an_error_of_a_source_ends_everything_and_is_raised_as_it_is(open_at_once):
    sources = Sources(fail_at=(2, 3), length=50)
    with pytest.raises(LookupError, match="broken"):
        await everything(pipeline(sources, 6, 3, open_at_once))
    assert not sources.open
    assert not others()


@pytest.mark.parametrize("open_at_once", [2, 64])
async def test_an_error_of_a_function_ends_everything_and_is_raised_as_it_is(open_at_once):
    sources = Sources()
    failure = LookupError("refused")

    async def fail(group):
        await asyncio.sleep(0)
        if group[0][1] == 4:
            raise failure
        return group

    with pytest.raises(LookupError) as caught:
        await everything(pipeline(sources, 6, 3, open_at_once, fail))
    assert caught.value is failure
    assert not sources.open
    assert not others()


@pytest.mark.parametrize("open_at_once", [2, 64])
async def test_an_error_of_the_consumer_ends_everything(open_at_once):
    sources = Sources()

    async def consume():
        async with pipeline(sources, 6, 3, open_at_once).stream() as elements:
            async for _ in elements:
                raise KeyError

    with pytest.raises(KeyError):
        await consume()
    assert sources.opened
    assert not sources.open
    assert not others()


@pytest.mark.parametrize("open_at_once", [2, 64])
@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 13, 40])
async def test_cancelling_at_any_moment_leaves_nothing_open_or_running(turns, open_at_once):
    sources = Sources()
    running = asyncio.ensure_future(everything(pipeline(sources, 6, 3, open_at_once)))
    await settle(turns)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not sources.open
    assert not others()
