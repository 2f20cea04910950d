"""Keep DynamoDB tables replicated, prove that a replica is right, repair it, and keep backups that can be restored.

Example:
    >>> async with (
    ...     open_table("us-east-1/orders") as primary,
    ...     open_table("eu-west-1/orders") as replica,
    ... ):
    ...     report = await repair(primary, replica, limits=Limits(segments=16))
    ...     print(report.repaired, "of", report.drift)
"""

from asyncrep.aws.table import Table, open_table
from asyncrep.backup.check import diff_backup
from asyncrep.backup.dump import backup_table
from asyncrep.backup.layout import TableDescription
from asyncrep.backup.opening import open_backup
from asyncrep.backup.places import open_storage
from asyncrep.backup.reading import Backup, BackupFile, Chunk, Line
from asyncrep.backup.report import BackupReport, Refused, RestoreReport
from asyncrep.backup.restore import restore
from asyncrep.backup.snapshot import snapshot
from asyncrep.backup.soundness import check_backup
from asyncrep.change import Applied, Applier, Change, ChangeKind, Fate, Unreadable, Unwritten
from asyncrep.diff.pipeline import Discrepancies, check, diff
from asyncrep.errors import (
    AsyncrepError,
    BackupError,
    BucketNotFoundError,
    BudgetExhaustedError,
    ConditionFailedError,
    CredentialsError,
    DataTrimmedError,
    IncompleteBackupError,
    IncompleteRunError,
    IncompleteUndoError,
    IteratorExpiredError,
    JobError,
    JournalError,
    KeyFormatError,
    LeaseLostError,
    LocationError,
    PermissionDeniedError,
    RejectedError,
    ServiceError,
    StorageError,
    StreamNotFoundError,
    TableNotFoundError,
    ThrottledError,
    UnreachableError,
    UsageError,
)
from asyncrep.flow.clock import Clock, SystemClock, VirtualClock
from asyncrep.flow.retry import RetryPolicy
from asyncrep.items.changes import Changes, PathChange
from asyncrep.items.equality import same_item
from asyncrep.jobs.history import read_journal
from asyncrep.jobs.job import Job, open_job
from asyncrep.jobs.journal import Journal, open_journal
from asyncrep.location import S3Place, TableRef
from asyncrep.model import (
    Cause,
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
from asyncrep.options import Comparison, Following, Limits, S3Access, Sample, Strategy
from asyncrep.progress import (
    Advanced,
    BackupStarted,
    Event,
    Found,
    Note,
    Observer,
    PassEnded,
    PassStarted,
    RunStarted,
    UndoStarted,
)
from asyncrep.repair.backfill import backfill
from asyncrep.repair.explain import Explanation, SideOfRecord, explain
from asyncrep.repair.record import AttributePair, RecordDiff, diff_record, replicate_record
from asyncrep.repair.rules import Rules
from asyncrep.repair.runner import repair
from asyncrep.repair.stored import repair_stored
from asyncrep.repair.take_back import UndoState
from asyncrep.repair.undo import Undone, undo
from asyncrep.replicate.apply import Replicated, replicate_records
from asyncrep.replicate.dead_letters import DeadLetters, open_dead_letters
from asyncrep.replicate.one_way import OneWay
from asyncrep.replicate.policy import Policy
from asyncrep.replicate.selection import Selection
from asyncrep.replicate.sequences import SequenceGuarded
from asyncrep.replicate.task import Task, open_task
from asyncrep.replicate.versions import VersionGuarded
from asyncrep.replicate.worker import Worker
from asyncrep.report import Report, Sampled, UndoReport
from asyncrep.split.table import SplitTable, open_split_table
from asyncrep.storage import Entry, ObjectHead, Storage, Upload, Version
from asyncrep.version import __version__

__all__ = [
    "Advanced",
    "Applied",
    "Applier",
    "AsyncrepError",
    "AttributePair",
    "Backup",
    "BackupError",
    "BackupFile",
    "BackupReport",
    "BackupStarted",
    "BucketNotFoundError",
    "BudgetExhaustedError",
    "Cause",
    "Change",
    "ChangeKind",
    "Changes",
    "Chunk",
    "Clock",
    "Comparison",
    "ConditionFailedError",
    "CredentialsError",
    "DataTrimmedError",
    "DeadLetters",
    "Destination",
    "Different",
    "Discrepancies",
    "Discrepancy",
    "Entry",
    "Event",
    "Explanation",
    "Extraneous",
    "Fate",
    "Following",
    "Found",
    "IncompleteBackupError",
    "IncompleteRunError",
    "IncompleteUndoError",
    "IteratorExpiredError",
    "Job",
    "JobError",
    "Journal",
    "JournalError",
    "KeyAttribute",
    "KeyFormatError",
    "KeySchema",
    "KeyedImage",
    "LeaseLostError",
    "Limits",
    "Line",
    "LocationError",
    "Missing",
    "Note",
    "ObjectHead",
    "Observer",
    "OneWay",
    "Page",
    "PassEnded",
    "PassStarted",
    "PathChange",
    "PermissionDeniedError",
    "Policy",
    "RecordDiff",
    "Refused",
    "RejectedError",
    "Replicated",
    "Report",
    "RestoreReport",
    "RetryPolicy",
    "Rules",
    "RunStarted",
    "S3Access",
    "S3Place",
    "Sample",
    "Sampled",
    "Segment",
    "Selection",
    "SequenceGuarded",
    "ServiceError",
    "SideOfRecord",
    "Source",
    "SplitTable",
    "State",
    "Storage",
    "StorageError",
    "Strategy",
    "StreamNotFoundError",
    "SystemClock",
    "Table",
    "TableDescription",
    "TableNotFoundError",
    "TableRef",
    "TableSettings",
    "Task",
    "ThrottledError",
    "UndoReport",
    "UndoStarted",
    "UndoState",
    "Undone",
    "UnreachableError",
    "Unreadable",
    "Unwritten",
    "Upload",
    "UsageError",
    "Version",
    "VersionGuarded",
    "VirtualClock",
    "Worker",
    "__version__",
    "backfill",
    "backup_table",
    "check",
    "check_backup",
    "diff",
    "diff_backup",
    "diff_record",
    "explain",
    "open_backup",
    "open_dead_letters",
    "open_job",
    "open_journal",
    "open_split_table",
    "open_storage",
    "open_table",
    "open_task",
    "read_journal",
    "repair",
    "repair_stored",
    "replicate_record",
    "replicate_records",
    "restore",
    "same_item",
    "snapshot",
    "undo",
]
