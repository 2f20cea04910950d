"""A stock client of the scripted endpoint, and a table to read with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import aioboto3
import pytest
from botocore.config import Config

if TYPE_CHECKING:
    from tests.support.scripted import ScriptedDynamo
    from tests.support.tables import ScriptedTable

Connect = Callable[..., Any]


@pytest.fixture
def connect(endpoint: ScriptedDynamo) -> Connect:
    """Open a stock client; one attempt a call unless told otherwise, so that faults are seen."""

    def open_client(region: str = "us-east-1", attempts: int = 1, read_timeout: float = 5) -> Any:
        config = Config(retries={"mode": "legacy", "total_max_attempts": attempts}, read_timeout=read_timeout)
        return aioboto3.Session().client(
            "dynamodb", region_name=region, endpoint_url=endpoint.url, config=config
        )

    return open_client


@pytest.fixture
async def client(connect: Connect) -> AsyncIterator[Any]:
    async with connect() as client:
        yield client


@pytest.fixture
def table(endpoint: ScriptedDynamo) -> ScriptedTable:
    return endpoint.create_table("t", items=[{"id": {"S": f"k{number}"}} for number in range(10)])
