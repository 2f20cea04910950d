"""Keep DynamoDB tables replicated, prove that a replica is right, and repair it.

Example:
    >>> async with (
    ...     open_table("us-east-1/orders") as primary,
    ...     open_table("eu-west-1/orders") as replica,
    ... ):
    ...     report = await repair(primary, replica, limits=Limits(segments=16))
    ...     print(report.repaired, "of", report.drift)
"""

from asyncrep.aws.table import Table, open_table
from asyncrep.diff.pipeline import Discrepancies, diff
from asyncrep.errors import (
    AsyncrepError,
    BudgetExhaustedError,
    ConditionFailedError,
    CredentialsError,
    IncompleteRunError,
    KeyFormatError,
    LocationError,
    PermissionDeniedError,
    RejectedError,
    ServiceError,
    TableNotFoundError,
    ThrottledError,
    UnreachableError,
    UsageError,
)
from asyncrep.flow.clock import Clock, SystemClock, VirtualClock
from asyncrep.flow.retry import RetryPolicy
from asyncrep.items.equality import same_item
from asyncrep.location import TableRef
from asyncrep.model import (
    Destination,
    Different,
    Discrepancy,
    Extraneous,
    KeyAttribute,
    KeyedImage,
    KeySchema,
    Missing,
    Page,
    Segment,
    Source,
    State,
    TableSettings,
)
from asyncrep.options import Comparison, Limits, Sample, Strategy
from asyncrep.progress import Advanced, Event, Found, Note, Observer, PassEnded, PassStarted, RunStarted
from asyncrep.repair.backfill import backfill
from asyncrep.repair.record import AttributePair, RecordDiff, diff_record, replicate_record
from asyncrep.repair.rules import Rules
from asyncrep.repair.runner import repair
from asyncrep.report import Report, Sampled
from asyncrep.version import __version__

__all__ = [
    "Advanced",
    "AsyncrepError",
    "AttributePair",
    "BudgetExhaustedError",
    "Clock",
    "Comparison",
    "ConditionFailedError",
    "CredentialsError",
    "Destination",
    "Different",
    "Discrepancies",
    "Discrepancy",
    "Event",
    "Extraneous",
    "Found",
    "IncompleteRunError",
    "KeyAttribute",
    "KeyFormatError",
    "KeySchema",
    "KeyedImage",
    "Limits",
    "LocationError",
    "Missing",
    "Note",
    "Observer",
    "Page",
    "PassEnded",
    "PassStarted",
    "PermissionDeniedError",
    "RecordDiff",
    "RejectedError",
    "Report",
    "RetryPolicy",
    "Rules",
    "RunStarted",
    "Sample",
    "Sampled",
    "Segment",
    "ServiceError",
    "Source",
    "State",
    "Strategy",
    "SystemClock",
    "Table",
    "TableNotFoundError",
    "TableRef",
    "TableSettings",
    "ThrottledError",
    "UnreachableError",
    "UsageError",
    "VirtualClock",
    "__version__",
    "backfill",
    "diff",
    "diff_record",
    "open_table",
    "repair",
    "replicate_record",
    "same_item",
]
