"""A task tells itself from others, and refuses what does not fit before anything is made."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import Following, Policy, Task, UsageError, open_table, open_task
from tests.support.scenario import item, session
from tests.support.workers import NAME, RETRY, until_true

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.scripted import ScriptedDynamo

SOURCE, REPLICA = f"us-east-1/{NAME}", f"eu-west-1/{NAME}"


@asynccontextmanager
async def opened(endpoint: ScriptedDynamo, destination: str, **options: Any) -> AsyncIterator[Task]:
    """A task from the source's stream to these tables."""
    means: dict[str, Any] = {"session": session(), "endpoint_url": endpoint.url, "retry": RETRY}
    following = Following(poll=0.1, failover=3.0)
    async with (
        open_table(SOURCE, **means) as source,
        open_table(destination, **means) as first,
        open_task(source, [first], session=session(), following=following, **options) as task,
    ):
        yield task


@pytest.fixture
def tables(endpoint: ScriptedDynamo) -> ScriptedDynamo:
    """Source and replica."""
    endpoint.create_table(NAME, "us-east-1", stream="NEW_AND_OLD_IMAGES")
    endpoint.create_table(NAME, "eu-west-1")
    return endpoint


async def test_a_task_follows_until_it_is_told_to_stop(tables: ScriptedDynamo) -> None:
    source, replica = tables.table(NAME, "us-east-1"), tables.table(NAME, "eu-west-1")
    source.put(item("a"))
    async with opened(tables, REPLICA) as task:
        worker = await task.worker()
        running = asyncio.ensure_future(worker.run())
        await until_true(lambda: replica.items == source.items)
        worker.stop()
        await running
    assert worker.figures.written == 1


async def test_a_table_of_the_same_name_in_another_account_is_another_task(tables: ScriptedDynamo) -> None:
    async with opened(tables, REPLICA) as task:
        assert task.tables == (SOURCE, REPLICA)
        await task.worker()
    arn = "arn:aws:dynamodb:eu-west-1:999999999999:table/" + NAME
    tables.table(NAME, "eu-west-1").description["TableArn"] = arn
    async with opened(tables, REPLICA) as task:
        assert task.tables == (SOURCE, arn)
        with pytest.raises(UsageError, match="give this one a name of its own"):
            await task.worker()


async def test_a_guard_that_does_not_fit_is_refused_before_anything_is_made(tables: ScriptedDynamo) -> None:
    tables.create_table("wrong", "eu-west-1")
    made = set(tables._tables)
    for policy in (
        Policy(guard="sequence", guard_table=NAME),
        Policy(guard="version", version_attribute="id"),
    ):
        async with opened(tables, REPLICA, policy=policy) as task:
            with pytest.raises(UsageError):
                await task.check()
            with pytest.raises(UsageError):
                await task.worker()
    assert set(tables._tables) == made


async def test_a_task_that_a_worker_is_at_is_not_forgotten(tables: ScriptedDynamo) -> None:
    async with opened(tables, REPLICA) as task, opened(tables, REPLICA) as other:
        worker = await task.worker()
        running = asyncio.ensure_future(worker.run())
        await until_true(lambda: worker.figures.shards)
        with pytest.raises(UsageError, match="stop it first"):
            await other.forget()
        worker.stop()
        await running
        await other.forget()
        assert not tables.table(task.name, "us-east-1").items
