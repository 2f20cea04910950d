"""Metrics in CloudWatch: what a command or a worker publishes, and within which bounds of time and size."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Literal

from asyncrep.aws.attempts import retried
from asyncrep.aws.openers import open_cloudwatch_client
from asyncrep.errors import UnreachableError, UsageError
from asyncrep.flow.clock import SystemClock
from asyncrep.flow.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    import aioboto3
    from types_aiobotocore_cloudwatch import CloudWatchClient
    from types_aiobotocore_cloudwatch.type_defs import DimensionTypeDef, MetricDatumTypeDef

    from asyncrep.flow.clock import Clock

Unit = Literal["Bytes", "Count", "Milliseconds", "None"]

_NAMESPACE = re.compile(r"[A-Za-z0-9._/#: -]{1,255}")
_METRICS_PER_CALL = 1000
_BYTES_PER_CALL = 1_000_000
_BYTES_PER_METRIC = 1_200  # names as they are spelled in a form, every character as three, and six numbers
_LONGEST_DIMENSION = 1024
_RETRY = RetryPolicy(attempts=3, silences=2, patience=5.0, first=0.2, longest=2.0)
_LONGEST_SECONDS = 20.0
"""How long publishing takes at most: also finding credentials may take its time."""


@dataclass(frozen=True, slots=True)
class Value:
    """One measurement, as of now."""

    value: float
    unit: Unit = "Count"


@dataclass(frozen=True, slots=True)
class Statistics:
    """Several measurements of the last while, as their sum and their bounds.

    Attributes:
        samples: how many they are; at least one.
    """

    samples: int
    total: float
    least: float
    most: float
    unit: Unit = "Count"


class Metrics:
    """One namespace of metrics with fixed dimensions. Make one with ``open_metrics``.

    Attributes:
        namespace: where they are.
    """

    def __init__(
        self,
        client: CloudWatchClient,
        namespace: str,
        dimensions: Mapping[str, str],
        retry: RetryPolicy,
        clock: Clock,
    ) -> None:
        self.namespace = namespace
        self._client = client
        self._dimensions = _spelled(dimensions)
        self._retry = retry
        self._clock = clock

    async def put(self, values: Mapping[str, Value | Statistics]) -> None:
        """Publish values by the names of their metrics, as of now.

        Takes twenty seconds at the most, also when CloudWatch does not answer. Calls that failed may have
        been carried out all the same.

        Raises:
            PermissionDeniedError, CredentialsError, ThrottledError, UnreachableError: as they say.
        """
        now = datetime.fromtimestamp(self._clock.now(), UTC)
        data = [self._datum(name, value, now) for name, value in values.items()]
        try:
            async with asyncio.timeout(_LONGEST_SECONDS):
                for some in self._calls(data):
                    await self._send(some)
        except TimeoutError as error:
            raise UnreachableError(
                f"PutMetricData in {self.namespace} took more than {_LONGEST_SECONDS:.0f} seconds."
            ) from error

    async def _send(self, data: Sequence[MetricDatumTypeDef]) -> None:
        async def attempt() -> object:
            return await self._client.put_metric_data(Namespace=self.namespace, MetricData=data)

        await retried("PutMetricData", f"namespace {self.namespace}", attempt, self._retry, self._clock)

    def _calls(self, data: Sequence[MetricDatumTypeDef]) -> Iterator[Sequence[MetricDatumTypeDef]]:
        each = _BYTES_PER_METRIC + sum(
            3 * len(entry["Name"] + entry["Value"]) + 100 for entry in self._dimensions
        )
        most = max(1, min(_METRICS_PER_CALL, _BYTES_PER_CALL // each))
        left = iter(data)
        while some := list(islice(left, most)):
            yield some

    def _datum(self, name: str, value: Value | Statistics, now: datetime) -> MetricDatumTypeDef:
        datum: MetricDatumTypeDef = {
            "MetricName": name,
            "Dimensions": self._dimensions,
            "Timestamp": now,
            "Unit": value.unit,
        }
        if isinstance(value, Value):
            datum["Value"] = value.value
        else:
            datum["StatisticValues"] = {
                "SampleCount": value.samples,
                "Sum": value.total,
                "Minimum": value.least,
                "Maximum": value.most,
            }
        return datum


def check_namespace(namespace: str) -> None:
    """Refuse a namespace that CloudWatch would refuse, or keeps for AWS's own services.

    Raises:
        UsageError: with one sentence that says why.
    """
    if namespace.startswith("AWS/"):
        raise UsageError(
            f"\"{namespace}\" is no namespace for metrics of one's own: AWS/ is reserved for AWS's services."
        )
    if not _NAMESPACE.fullmatch(namespace) or not namespace.strip() or namespace.startswith(":"):
        raise UsageError(
            f'"{namespace[:80]}" is no namespace for metrics: 1 to 255 letters, digits, blanks and . - _ / # : are '
            "allowed, with no colon at the beginning."
        )


def _spelled(dimensions: Mapping[str, str]) -> list[DimensionTypeDef]:
    """Return the dimensions in the ASCII that CloudWatch takes."""
    return [
        {"Name": name, "Value": value.encode("ascii", "backslashreplace").decode()[:_LONGEST_DIMENSION]}
        for name, value in dimensions.items()
    ]


@asynccontextmanager
async def open_metrics(
    namespace: str,
    *,
    region: str | None = None,
    dimensions: Mapping[str, str] | None = None,
    session: aioboto3.Session | None = None,
    endpoint_url: str | None = None,
    profile: str | None = None,
    role_arn: str | None = None,
    retry: RetryPolicy | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Metrics]:
    """Open a namespace of metrics; nothing is asked yet.

    Args:
        namespace: where CloudWatch keeps them.
        region: in which Region; by default the session's.
        dimensions: what tells these metrics from others of their names, the same for all of them.
        session: an aioboto3 session of the caller's.
        endpoint_url: the endpoint; by default the environment's (AWS_ENDPOINT_URL_CLOUDWATCH) or AWS's own.
        profile: a profile of the AWS config files, when no session is given.
        role_arn: a role to assume first.
        retry: how failed calls are tried again.
        clock: where time comes from.

    Raises:
        UsageError: there can be no such namespace, or the role or the endpoint is malformed.
        CredentialsError: the profile does not exist, or the role cannot be assumed.
    """
    check_namespace(namespace)
    async with open_cloudwatch_client(
        f"namespace {namespace}",
        region=region,
        session=session,
        endpoint_url=endpoint_url,
        profile=profile,
        role_arn=role_arn,
    ) as client:
        yield Metrics(client, namespace, dimensions or {}, retry or _RETRY, clock or SystemClock())
