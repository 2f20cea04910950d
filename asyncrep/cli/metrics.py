"""``--metric`` of ``diff-tables``: what came of a check, published in CloudWatch for an alarm to watch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asyncrep.cli.runtime import FAILED, Interrupted, complain, run_async
from asyncrep.errors import AsyncrepError, UsageError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from asyncrep.aws.metrics import Statistics, Value
    from asyncrep.aws.place import Place
    from asyncrep.cli.check import Check
    from asyncrep.cli.options import OutputOptions
    from asyncrep.report import Report

MetricNamespace = Annotated[
    str | None,
    typer.Option(
        "--metric",
        metavar="NAMESPACE",
        help="Publish Discrepancies, Repaired and Complete in CloudWatch, in the primary's Region.",
        rich_help_panel="Output",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True)
class Metric:
    """Where a check publishes what came of it: in the primary's Region, as whoever reads the primary."""

    namespace: str
    primary: Place
    replica: Place

    @classmethod
    def of(cls, namespace: str | None, pair: tuple[Place, Place]) -> Metric | None:
        """Return where to publish, None when nothing is to be published.

        Raises:
            UsageError: there can be no such namespace.
        """
        if namespace is None:
            return None
        from asyncrep.aws.metrics import check_namespace  # noqa: PLC0415 - only where something is published

        check_namespace(namespace)
        return cls(namespace, *pair)

    async def publish(self, report: Report | None, *, complete: bool) -> None:
        """Publish what is known of a run; raises what ``open_metrics`` and ``Metrics.put`` raise."""
        from asyncrep.aws.identity import region_of  # noqa: PLC0415 - only where something is published
        from asyncrep.aws.metrics import Value, open_metrics  # noqa: PLC0415

        values: dict[str, Value | Statistics] = {"Complete": Value(float(complete))}
        if report is not None:
            values |= {"Discrepancies": Value(report.drift), "Repaired": Value(report.repaired)}
        async with open_metrics(
            self.namespace,
            region=region_of(self.primary),
            dimensions={"Primary": dimension(self.primary), "Replica": dimension(self.replica)},
            profile=self.primary.profile,
            role_arn=self.primary.role_arn,
        ) as metrics:
            await metrics.put(values)


def dimension(place: Place) -> str:
    """Return how a table is called in metrics: REGION/TABLE, or HOST:PORT/TABLE. No account is told."""
    ref = place.ref
    return f"{ref.region}/{ref.table}" if ref.region else str(ref)


def run_and_publish(check: Check, telling: OutputOptions, metric: Metric | None) -> int:
    """Run a check and publish what came of it, also of a run that fails or is interrupted.

    Returns:
        The exit code: the check's own, but FAILED when publishing failed.

    Raises:
        AsyncrepError: the run failed; that counts as incomplete.
        Interrupted: a signal ended it; likewise.
    """
    if metric is None:
        return check.run(telling)
    try:
        code = check.run(telling)
    except UsageError:
        raise  # nothing was done
    except (Exception, KeyboardInterrupt):
        published(metric.publish(check.report, complete=False))
        raise
    assert check.report is not None
    is_told = published(metric.publish(check.report, complete=check.report.complete))
    return code if is_told else FAILED


def published(publishing: Coroutine[Any, Any, None]) -> bool:
    """Publish, or say why not."""
    try:
        run_async(publishing)
    except AsyncrepError as error:
        complain(f"Error: The metrics of this run could not be published: {error}")
        return False
    except (Interrupted, KeyboardInterrupt):
        complain("Error: The metrics of this run may not have been published: it was interrupted.")
        return False
    return True
