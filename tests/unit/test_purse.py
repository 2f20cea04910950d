"""A budget is never passed, nobody waits for nobody, and what was put aside comes back."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import Limits, VirtualClock
from asyncrep.aws.capacity import Budget
from asyncrep.errors import BudgetExhaustedError
from asyncrep.flow.purse import Account, Purse, in_dollars
from asyncrep.flow.tasks import side_by_side

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from asyncrep.aws.capacity import Direction

PATIENCE_SECONDS = 5.0


def lose_connection() -> None:
    raise ConnectionError


async def waits(purse: Purse, dollars: float) -> bool:
    """Whether a reservation has to wait; it is given up then."""
    try:
        async with asyncio.timeout(0.01):
            await purse.reserve(dollars)
    except TimeoutError:
        return True
    return False


async def test_without_a_limit_nobody_waits_and_all_is_counted() -> None:
    purse = Purse()
    for _ in range(3):
        await purse.reserve(1e9)
        purse.spend(0.5)
    assert (purse.is_limited, purse.spent) == (False, 1.5)


async def test_what_was_spent_and_put_aside_stays_within_the_limit() -> None:
    purse = Purse(8)
    purse.spend(2)
    await purse.reserve(4)
    await purse.reserve(2)
    assert await waits(purse, 1)
    purse.give_back(2)
    assert not await waits(purse, 1)
    assert await waits(purse, 2)


async def test_the_limit_itself_may_be_spent() -> None:
    purse = Purse(8)
    await purse.reserve(8)
    purse.give_back(8)
    purse.spend(4)
    assert not await waits(purse, 4)


async def test_a_call_that_does_not_fit_and_has_nobody_to_wait_for_is_refused() -> None:
    purse = Purse(0.0001)
    purse.spend(0.00003125)
    with pytest.raises(BudgetExhaustedError) as refused:
        await purse.reserve(0.0001)
    assert str(refused.value) == (
        "The next request could pass the budget of $0.0001000: $0.00003125 is spent."
    )


async def test_a_smaller_call_may_still_go_after_a_larger_one_was_refused() -> None:
    purse = Purse(8)
    with pytest.raises(BudgetExhaustedError):
        await purse.reserve(9)
    assert not await waits(purse, 8)


async def test_all_who_wait_are_refused_when_nobody_is_left_to_give_back() -> None:
    purse = Purse(8)
    await purse.reserve(6)

    async def refused() -> bool:
        with pytest.raises(BudgetExhaustedError):
            await purse.reserve(4)
        return True

    async def holder() -> bool:
        await asyncio.sleep(0)
        purse.give_back(6)
        purse.spend(5)
        return True

    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await side_by_side([refused(), refused(), refused(), holder()]) == [True] * 4


async def test_sums_that_do_not_come_out_even_leave_nobody_waiting() -> None:
    purse = Purse(0.35)
    await purse.reserve(0.1)
    await purse.reserve(0.2)
    purse.give_back(0.1)
    purse.give_back(0.2)  # 0.1 + 0.2 - 0.1 - 0.2 is more than zero in floats
    purse.spend(0.3)
    async with asyncio.timeout(PATIENCE_SECONDS):
        with pytest.raises(BudgetExhaustedError):
            await purse.reserve(0.2)


async def test_who_stops_waiting_leaves_nothing_behind() -> None:
    purse = Purse(8)
    await purse.reserve(8)
    assert await waits(purse, 8)
    purse.give_back(8)
    assert not await waits(purse, 8)


async def test_what_is_forfeited_is_nobody_else_s() -> None:
    purse = Purse(8)
    await purse.reserve(6)
    purse.forfeit(6)
    assert purse.spent == 0
    assert not await waits(purse, 2)
    purse.give_back(2)
    async with asyncio.timeout(PATIENCE_SECONDS):
        with pytest.raises(BudgetExhaustedError, match=r"the budget of \$8\.00: \$0\.00 is spent"):
            await purse.reserve(4)


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        (0, "$0.00"),
        (12.3, "$12.30"),
        (1234.5, "$1,234.50"),
        (0.42, "$0.4200"),
        (0.00002225, "$0.00002225"),
        (1e-9, "$0.000000001000"),
    ],
)
def test_amounts_are_written_without_exponents(amount: float, words: str) -> None:
    assert in_dollars(amount) == words


# ── Seen from a table's requests ────────────────────────────────────────────────────────────────────


def budget(purse: Purse, **account: float) -> Budget:
    prices = {"read": 1.0, "write": 5.0} | account
    return Budget(Limits(), VirtualClock(), Account(purse, **prices))  # type: ignore[arg-type]


async def test_reads_and_writes_are_put_aside_at_their_own_prices() -> None:
    purse = Purse(10)
    table = budget(purse)
    async with table.reserved("read", 3):
        assert not await waits(purse, 7)
        purse.give_back(7)
        async with table.reserved("write", 1):
            assert await waits(purse, 2.5)
    assert not await waits(purse, 10)


async def test_both_tables_share_one_purse() -> None:
    purse = Purse(10)
    async with budget(purse).reserved("read", 8):
        with suppress(TimeoutError):
            async with asyncio.timeout(0.01), budget(purse).reserved("read", 4):
                pytest.fail("both were let in")


async def test_every_secondary_index_is_written_twice_at_worst() -> None:
    purse = Purse(100)
    async with budget(purse, indexes=2).reserved("write", 4):
        assert await waits(purse, 1)
    async with budget(purse, indexes=2).reserved("read", 4):
        assert not await waits(purse, 96)


async def test_a_failed_call_gives_its_reservation_back() -> None:
    purse = Purse(10)
    for _ in range(3):
        with pytest.raises(ConnectionError):
            async with budget(purse).reserved("read", 10):
                raise ConnectionError
    assert not await waits(purse, 10)


async def test_a_cancelled_call_may_have_cost_what_it_put_aside() -> None:
    purse = Purse(10)

    async def call() -> None:
        async with budget(purse).reserved("read", 6):
            await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await call()
    assert not await waits(purse, 4)
    purse.give_back(4)
    with pytest.raises(BudgetExhaustedError):
        await purse.reserve(6)


async def test_requests_that_are_not_billed_go_on_when_all_is_spent() -> None:
    purse = Purse(10)
    purse.spend(11)
    async with asyncio.timeout(PATIENCE_SECONDS):
        async with budget(purse, read=0.0).reserved("read", 1_000):
            pass
        with pytest.raises(BudgetExhaustedError):
            async with budget(purse).reserved("read", 1):
                pass


def test_charges_count_in_units_and_in_dollars() -> None:
    purse = Purse()
    ours, theirs = budget(purse), budget(purse, read=2.0)
    ours.charge("read", 3, 0)
    ours.charge("write", 2, 0)
    theirs.charge("read", 1.5, 0)
    assert (ours.meter.read_units, ours.meter.write_units, ours.meter.dollars) == (3, 2, 13)
    assert (theirs.meter.dollars, purse.spent) == (3, 16)


async def turns(number: int) -> None:
    """Let the others have some turns of the loop."""
    for _ in range(number):
        await asyncio.sleep(0)


async def cancelled_after(number: int, coroutine: Coroutine[Any, Any, str]) -> str:
    """What comes of a call that nobody waits for longer than so many turns."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(coroutine)
        await turns(number)
        task.cancel()
    return "cancelled" if task.cancelled() else task.result()


@pytest.mark.parametrize("seed", range(30))
async def test_whatever_is_under_way_the_limit_holds_and_everybody_ends(seed: int) -> None:
    source = random.Random(seed)
    limit = source.uniform(0.5, 3)
    purse = Purse(limit)
    table = budget(purse, read=source.uniform(1e-3, 1e-2), write=source.uniform(1e-3, 1e-2))
    billed = 0.0  # by the service, also for calls whose answers nobody waited for

    async def call() -> str:
        nonlocal billed
        direction: Direction = source.choice(("read", "write"))
        price = table._price(direction)
        most = source.choice((0.1, 1 / 3, 7.7, 50))
        await turns(source.randrange(200))
        try:
            async with table.reserved(direction, most):
                await turns(source.randrange(4))
                if source.random() < 0.2:
                    lose_connection()
                units = most * source.choice((0.01, 0.5, 1))
                billed += units * price
                await turns(source.randrange(4))
        except ConnectionError:
            return "failed"
        except BudgetExhaustedError:
            return "refused"
        table.charge(direction, units, 0)
        assert purse.spent <= limit + 1e-9
        return "done"

    async with asyncio.timeout(PATIENCE_SECONDS):
        ends = await side_by_side(
            [
                cancelled_after(source.randrange(300), call()) if number % 7 == 0 else call()
                for number in range(300)
            ]
        )
    assert {"done", "refused", "cancelled"} <= set(ends)
    assert purse.spent - 1e-9 <= billed <= limit + 1e-9
