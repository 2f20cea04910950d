"""``--metric`` of backups: BackupSize and BackupRecordCount in CloudWatch, or BackupErrors, under the table's name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asyncrep.cli.metrics import published
from asyncrep.cli.runtime import FAILED
from asyncrep.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncrep.aws.metrics import Statistics, Value
    from asyncrep.backup.report import BackupReport


@dataclass(frozen=True, slots=True)
class BackupMetric:
    """Where a backup publishes what came of it.

    Attributes:
        region: in which Region; None leaves it to the environment.
        table: what the dimension ``TableName`` says.
        profile, role_arn: as whom.

    Raises:
        UsageError: there can be no such namespace.
    """

    namespace: str
    region: str | None
    table: str
    profile: str | None = None
    role_arn: str | None = None

    def __post_init__(self) -> None:
        from asyncrep.aws.metrics import check_namespace  # noqa: PLC0415 - only where something is published

        check_namespace(self.namespace)

    async def publish(self, report: BackupReport | None) -> None:
        """Publish what is known of a backup; raises what ``open_metrics`` and ``Metrics.put`` raise."""
        from asyncrep.aws.metrics import Value, open_metrics  # noqa: PLC0415 - as above

        values: dict[str, Value | Statistics] = {"BackupErrors": Value(1.0)}
        if report is not None and report.complete and not report.failed:
            values = {
                "BackupSize": Value(float(report.stored_bytes + report.skipped_bytes), "Bytes"),
                "BackupRecordCount": Value(float(report.items + report.skipped)),
            }
        async with open_metrics(
            self.namespace,
            region=self.region,
            dimensions={"TableName": self.table},
            profile=self.profile,
            role_arn=self.role_arn,
        ) as metrics:
            await metrics.put(values)


def run_and_publish(
    run: Callable[[], int], report: Callable[[], BackupReport | None], metric: BackupMetric | None
) -> int:
    """Run a backup and publish what came of it, also of one that fails or is interrupted.

    Returns:
        The exit code: the backup's own, but FAILED when publishing failed.

    Raises:
        AsyncrepError: the backup failed.
        Interrupted: a signal ended it.
    """
    if metric is None:
        return run()
    try:
        code = run()
    except UsageError:
        raise  # nothing was done
    except (Exception, KeyboardInterrupt):
        published(metric.publish(None))
        raise
    return code if published(metric.publish(report())) else FAILED
