"""Every exception asyncrep raises, and when.

    AsyncrepError
    ├── UsageError                what was asked for cannot be done as asked; nothing was written
    │   ├── LocationError         a table location has no known form
    │   ├── KeyFormatError        a record key is not JSON, or does not fit the table's key schema
    │   └── BackupError           a backup is damaged, or is none; names the file and, in it, the line
    ├── ServiceError              AWS, or the way to it, said no
    │   ├── CredentialsError      no credentials, or AWS refused them
    │   ├── PermissionDeniedError the credentials lack a permission
    │   ├── TableNotFoundError    no table (any more) by that name
    │   ├── StreamNotFoundError   no such stream, or no such shard in it (any more)
    │   ├── IteratorExpiredError  a place in a shard was kept for too long; take a new one
    │   ├── DataTrimmedError      the records asked for are older than what the stream keeps
    │   ├── BucketNotFoundError   no S3 bucket by that name
    │   ├── UnreachableError      no connection, time-outs, answers broken on the way; retried before
    │   ├── ThrottledError        still throttled after every retry
    │   ├── ConditionFailedError  a guarded write found something else than it expected
    │   └── RejectedError         the service refused this request as invalid; retrying cannot help
    ├── BudgetExhaustedError      the next request could pass the budget of the run
    ├── LeaseLostError            another worker follows the shard now
    ├── StorageError              a local file of a backup could not be read or written
    ├── JobError                  the state of a job could not be saved, or another process works on it
    ├── JournalError              what is about to be written could not be journalled, so it was not written
    ├── IncompleteUndoError       an undo ended before it had seen everything; carries its report
    ├── IncompleteBackupError     a backup or a restore ended before it had done everything; carries its report
    └── IncompleteRunError        a run ended before it had seen everything; carries its report

botocore's and aiohttp's exceptions are translated into these once, in ``asyncrep.aws.errors``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncrep.backup.report import BackupReport, RestoreReport
    from asyncrep.report import Report, UndoReport


class AsyncrepError(Exception):
    """The root of everything asyncrep raises on purpose."""


class UsageError(AsyncrepError):
    """What was asked for cannot be done as asked; raised before anything is written."""


class LocationError(UsageError):
    """A table location is of none of the known forms."""


class KeyFormatError(UsageError):
    """A record key is not JSON, misses a key attribute, or has one of the wrong type."""


class BackupError(UsageError):
    """What is meant to be a backup is none, or is damaged; the sentence names the file and the line in it."""


class ServiceError(AsyncrepError):
    """AWS answered with an error that retrying did not, or could not, cure.

    Attributes:
        code: the service's error code, as ``ValidationException``; empty when there was no answer.
        maybe_done: a try of the call got no answer, so that it may have been carried out all the same.
    """

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.maybe_done = False


class CredentialsError(ServiceError):
    """There are no credentials, or AWS does not accept them (unknown, expired, wrong signature)."""


class PermissionDeniedError(ServiceError):
    """The credentials are valid and lack a permission; the message names the action."""


class TableNotFoundError(ServiceError):
    """The table does not exist, or does no longer: it may be deleted in the middle of a run."""


class StreamNotFoundError(ServiceError):
    """There is no such stream, or no such shard in it: it was never there, or has been trimmed away."""


class IteratorExpiredError(ServiceError):
    """An iterator of a shard is older than fifteen minutes; reading goes on with a new one."""


class DataTrimmedError(ServiceError):
    """The records asked for are older than the 24 hours that a stream keeps: they are lost to this reader."""


class BucketNotFoundError(ServiceError):
    """There is no S3 bucket by that name, or not in this partition."""


class UnreachableError(ServiceError):
    """No connection, a time-out, a server error or a damaged answer, and retries did not help."""


class ThrottledError(ServiceError):
    """The service was still throttling after the last retry."""


class ConditionFailedError(ServiceError):
    """A conditional write was refused, because the item is not what the condition says."""


class RejectedError(ServiceError):
    """The service calls this very request invalid (a poison item, a limit passed)."""


class BudgetExhaustedError(AsyncrepError):
    """The next request could cost more than is left of the run's budget; it was not sent."""


class LeaseLostError(AsyncrepError):
    """Another worker has the lease of a shard, or may have it; whoever follows the shard must stop."""


class StorageError(AsyncrepError):
    """A local file or folder that holds a backup, or is to hold one, could not be read or written."""


class JobError(AsyncrepError):
    """The state of a job could not be saved, or another process has begun to work on it."""


class JournalError(AsyncrepError):
    """The journal could not be written; what it could not hold was not written to the table either."""


class IncompleteUndoError(AsyncrepError):
    """An undo stopped before it had seen to every record.

    Attributes:
        report: what had been done until then, with ``complete`` false. The cause is chained.
    """

    def __init__(self, message: str, report: UndoReport) -> None:
        super().__init__(message)
        self.report = report


class IncompleteRunError(AsyncrepError):
    """A run stopped before it had seen every segment to its end.

    Attributes:
        report: what had been done until then, with ``complete`` false. The cause is chained.
    """

    def __init__(self, message: str, report: Report) -> None:
        super().__init__(message)
        self.report = report


class IncompleteBackupError(AsyncrepError):
    """A backup, a snapshot or a restore ended before it had done all it was meant to.

    Attributes:
        report: what had been done until then, with ``complete`` false. The cause is chained.
    """

    def __init__(self, message: str, report: BackupReport | RestoreReport) -> None:
        super().__init__(message)
        self.report = report
