"""Metrics arrive in CloudWatch as they were meant, within its limits, and an outage of it is bounded."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import CredentialsError, SystemClock, UnreachableError, UsageError, VirtualClock
from asyncrep.aws import metrics as module
from asyncrep.aws.metrics import Statistics, Value, check_namespace, open_metrics
from tests.support.scenario import PRIMARY, session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HOUR = timedelta(hours=1)


@pytest.fixture
def namespace() -> str:
    """One that no other test publishes in."""
    return f"Test/{uuid.uuid4().hex}"


@pytest.fixture
async def cloudwatch(moto_url: str) -> AsyncIterator[Any]:
    """A client of the test's own."""
    async with session().client("cloudwatch", region_name=PRIMARY, endpoint_url=moto_url) as client:
        yield client


async def statistics(cloudwatch: Any, namespace: str, name: str) -> dict[str, Any]:
    now = datetime.now(UTC)
    answer = await cloudwatch.get_metric_statistics(
        Namespace=namespace, MetricName=name, StartTime=now - HOUR, EndTime=now + HOUR, Period=7200,
        Statistics=["Sum", "Minimum", "Maximum", "SampleCount"],
    )  # fmt: skip
    [point] = answer["Datapoints"]
    found: dict[str, Any] = point
    return found


async def test_values_arrive_with_their_units_and_dimensions(
    cloudwatch: Any, moto_url: str, namespace: str
) -> None:
    async with open_metrics(
        namespace, region=PRIMARY, dimensions={"Task": "night · ly"}, session=session(), endpoint_url=moto_url
    ) as metrics:
        await metrics.put({"Written": Value(3), "Lag": Statistics(4, 100.0, 10.0, 40.0, "Milliseconds")})
        await metrics.put({"Written": Value(2)})
    listed = (await cloudwatch.list_metrics(Namespace=namespace))["Metrics"]
    assert {each["MetricName"]: each["Dimensions"] for each in listed} == {
        "Written": [{"Name": "Task", "Value": "night \\xb7 ly"}],
        "Lag": [{"Name": "Task", "Value": "night \\xb7 ly"}],
    }
    written = await statistics(cloudwatch, namespace, "Written")
    assert (written["Sum"], written["Unit"]) == (5.0, "Count")
    lag = await statistics(cloudwatch, namespace, "Lag")
    assert (lag["SampleCount"], lag["Sum"], lag["Minimum"], lag["Maximum"]) == (4.0, 100.0, 10.0, 40.0)
    assert lag["Unit"] == "Milliseconds"


async def test_many_metrics_are_sent_in_calls_that_cloudwatch_takes(
    cloudwatch: Any, moto_url: str, namespace: str
) -> None:
    bodies: list[int] = []
    dimensions = {"A": "é" * 300, "B": "ü" * 300}
    async with open_metrics(
        namespace, region=PRIMARY, dimensions=dimensions, session=session(), endpoint_url=moto_url
    ) as metrics:
        events: Any = metrics._client.meta.events
        events.register("before-send.cloudwatch", lambda request, **_: bodies.append(len(request.body)))
        await metrics.put({f"{'M' * 240}{number}": Value(number) for number in range(1500)})
    assert len(bodies) > 2
    assert max(bodies) <= 1_000_000
    names: set[str] = set()
    token: dict[str, str] = {}
    while True:
        answer = await cloudwatch.list_metrics(Namespace=namespace, **token)
        names |= {each["MetricName"] for each in answer["Metrics"]}
        if "NextToken" not in answer:
            break
        token = {"NextToken": answer["NextToken"]}
    assert len(names) == 1500


async def test_an_outage_is_told_after_a_few_tries(unused_tcp_port: int) -> None:
    clock = VirtualClock()
    url = f"http://127.0.0.1:{unused_tcp_port}"
    async with open_metrics(
        "Mine", region=PRIMARY, session=session(), endpoint_url=url, clock=clock
    ) as metrics:
        with pytest.raises(UnreachableError, match="PutMetricData on namespace Mine"):
            await metrics.put({"Written": Value(1)})
    assert len(clock.slept) == 1


async def test_a_cloudwatch_that_never_answers_takes_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONGEST_SECONDS", 0.1)
    served: list[asyncio.StreamWriter] = []

    async def say_nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(writer)

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    clock = SystemClock()
    began = clock.monotonic()
    async with open_metrics("Mine", region=PRIMARY, session=session(), endpoint_url=url) as metrics:
        with pytest.raises(UnreachableError, match="took more than"):
            await metrics.put({"Written": Value(1)})
    assert clock.monotonic() - began < 3.0
    assert served
    for writer in served:
        writer.close()
    server.close()
    await server.wait_closed()


async def test_missing_credentials_are_told(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    async with open_metrics("Mine", region=PRIMARY, endpoint_url=moto_url) as metrics:
        with pytest.raises(CredentialsError, match="namespace Mine"):
            await metrics.put({"Written": Value(1)})


@pytest.mark.parametrize("namespace", ["Replicas", "my app/replicas#1:a", "a" * 255, "aws"])
def test_a_namespace_of_one_s_own_is_one(namespace: str) -> None:
    check_namespace(namespace)


@pytest.mark.parametrize(
    "namespace", ["", " ", "AWS/DynamoDB", ":a", "a" * 256, "a\nb", "ä", 'a"', "a\x1b[2J", "a&b"]
)
async def test_what_is_no_namespace_is_refused_before_anything_is_opened(namespace: str) -> None:
    with pytest.raises(UsageError, match="is no namespace for metrics"):
        async with open_metrics(namespace):
            pass
