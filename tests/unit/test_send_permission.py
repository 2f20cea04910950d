"""What is sent is asked about right before: who stood still meanwhile sends nothing that is too old."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asyncrep import Limits, open_table
from asyncrep.errors import LeaseLostError
from asyncrep.flow.permission import permitted_by
from asyncrep.flow.tasks import side_by_side
from asyncrep.mutation import ItemState
from tests.support.scenario import session

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.scripted import ScriptedDynamo

NAME, REGION = "orders", "us-east-1"


def only(times: int) -> Callable[[], None]:
    """A permission for so many requests."""
    left = times

    def check() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise LeaseLostError("It is another's now.")

    return check


def states(batch: int) -> list[ItemState]:
    """A batch of items to be written."""
    keys = [b'{"id":{"S":"k%d"}}' % number for number in range(batch * 25, batch * 25 + 25)]
    return [ItemState(key, key) for key in keys]


async def test_what_waits_for_its_turn_is_not_sent_when_the_permission_is_gone(
    endpoint: ScriptedDynamo,
) -> None:
    table = endpoint.create_table(NAME)
    async with open_table(f"{REGION}/{NAME}", session=session(), endpoint_url=endpoint.url) as opened:
        limited = opened.limited(Limits(concurrency=1))
        with permitted_by(only(2)), pytest.raises(LeaseLostError):
            await side_by_side(limited.write_all(states(batch)) for batch in range(4))
        assert endpoint.count("BatchWriteItem") == 2
        await limited.write_all(states(4))
    assert {"k0", "k100"} <= table.items.keys()
    assert len(table.items) == 75


async def test_each_try_of_a_call_is_asked_about(endpoint: ScriptedDynamo) -> None:
    endpoint.create_table(NAME)
    endpoint.on("BatchWriteItem", times=5).throttle()
    async with open_table(f"{REGION}/{NAME}", session=session(), endpoint_url=endpoint.url) as opened:
        with permitted_by(only(2)), pytest.raises(LeaseLostError):
            await opened.write_all(states(0))
    assert endpoint.count("BatchWriteItem") == 2
