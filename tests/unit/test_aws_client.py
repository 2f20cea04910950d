"""A call to DynamoDB is tried again while that can help, and no damaged answer is believed."""

from __future__ import annotations

import pytest

from asyncrep import (
    CredentialsError,
    PermissionDeniedError,
    RejectedError,
    RetryPolicy,
    Segment,
    TableNotFoundError,
    ThrottledError,
    UnreachableError,
    VirtualClock,
    open_table,
)
from asyncrep.mutation import ItemAbsent, Put
from tests.support.engines import free_port
from tests.support.scenario import PRIMARY, item, items, key

WHERE = f"{PRIMARY}/orders"


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
async def table(endpoint, clock):
    endpoint.create_table("orders", items=items(10, v="text"))
    async with open_table(
        WHERE, endpoint_url=endpoint.url, clock=clock, retry=RetryPolicy(attempts=4)
    ) as table:
        yield table


async def scanned(table) -> int:
    return sum([len(page.images) async for page in table.pages(Segment(0, 1))])


async def test_throttles_are_waited_out_and_counted(endpoint, table, clock):
    endpoint.on("Scan", times=3).throttle()
    assert await scanned(table) == 10
    assert endpoint.count("Scan") == 4
    assert len(clock.slept) == 3
    assert table.meter.throttled == 3
    assert table.meter.requests == 1


async def test_a_throttle_that_never_ends_is_an_error_that_says_so(endpoint, clock):
    endpoint.create_table("orders")
    endpoint.on("Scan", times=None).throttle()
    # Patience bounds it, not the number of attempts.
    retry = RetryPolicy(attempts=1, patience=20.0, longest=2.0)
    async with open_table(WHERE, endpoint_url=endpoint.url, clock=clock, retry=retry) as table:
        began = clock.monotonic()
        with pytest.raises(ThrottledError, match=r"Scan on us-east-1/orders .* throttled") as caught:
            await scanned(table)
        assert 20.0 <= clock.monotonic() - began <= 22.0
        assert table.meter.throttled == endpoint.count("Scan") > 10
    assert caught.value.code == "ProvisionedThroughputExceededException"


def server_error(statement):
    statement.error("InternalServerError", 500)


def unavailable(statement):
    statement.error("ServiceUnavailable", 503)


def reset(statement):
    statement.reset()


def hung_up(statement):
    statement.hang_up()


def cut(statement):
    statement.cut()


def corrupted(statement):
    statement.corrupt()


FAULTS = [server_error, unavailable, reset, hung_up, cut, corrupted]


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_goes_wrong_on_the_way_is_tried_again(endpoint, table, fault):
    fault(endpoint.on("Scan", times=2))
    assert await scanned(table) == 10
    assert endpoint.count("Scan") == 3
    assert table.meter.throttled == 0


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_always_goes_wrong_on_the_way_is_unreachable(endpoint, table, fault):
    fault(endpoint.on("BatchGetItem", times=None))
    with pytest.raises(UnreachableError, match="BatchGetItem on us-east-1/orders"):
        await table.get([key("k001")], consistent=True)
    assert endpoint.count("BatchGetItem") == 4


async def test_a_wrong_checksum_is_named(endpoint, table):
    endpoint.on("Scan", times=None).corrupt()
    with pytest.raises(UnreachableError, match="CRC-32"):
        await scanned(table)


async def test_the_checksum_of_a_refusal_is_checked_too(endpoint, table):
    endpoint.create_table("orders", items=[item("k001", v="held")])
    endpoint.on("PutItem").corrupt()
    outcome = await table.apply(Put(key("k001"), b'{"id":{"S":"k001"}}', ItemAbsent()))
    assert not outcome.applied
    assert endpoint.count("PutItem") == 2


async def test_the_delays_grow_and_are_jittered(endpoint, clock):
    endpoint.create_table("orders")
    endpoint.on("Scan", times=7).throttle()
    retry = RetryPolicy(attempts=8, first=1.0, longest=10.0)
    async with open_table(WHERE, endpoint_url=endpoint.url, clock=clock, retry=retry) as table:
        await scanned(table)
    assert len(clock.slept) == 7
    for slept, ceiling in zip(clock.slept, (1, 2, 4, 8, 10, 10, 10), strict=True):
        assert 0 <= slept <= ceiling
    assert len(set(clock.slept)) == 7


@pytest.mark.parametrize(
    ("code", "raised"),
    [
        ("AccessDeniedException", PermissionDeniedError),
        ("UnrecognizedClientException", CredentialsError),
        ("ExpiredTokenException", CredentialsError),
        ("ResourceNotFoundException", TableNotFoundError),
        ("ValidationException", RejectedError),
    ],
)
async def test_what_retrying_cannot_cure_is_raised_at_once(endpoint, table, clock, code, raised):
    endpoint.on("Scan").error(code)
    with pytest.raises(raised) as caught:
        await scanned(table)
    assert caught.value.code == code
    assert endpoint.count("Scan") == 1
    assert clock.slept == []


async def test_a_table_is_opened_in_spite_of_several_failures(endpoint, clock):
    endpoint.create_table("orders")
    for statement in [endpoint.on("DescribeTable") for _ in range(3)]:
        statement.corrupt()
    endpoint.on("DescribeTable", times=2).error("InternalServerError", 500)
    endpoint.on("DescribeTable", times=2).reset()
    async with open_table(WHERE, endpoint_url=endpoint.url, clock=clock) as table:
        assert table.settings.name == "orders"
    assert endpoint.count("DescribeTable") == 8


async def test_an_endpoint_that_does_not_answer_is_given_up_soon(clock):
    with pytest.raises(UnreachableError):
        async with open_table(WHERE, endpoint_url=f"http://127.0.0.1:{free_port()}", clock=clock):
            pass
    assert len(clock.slept) == 2
