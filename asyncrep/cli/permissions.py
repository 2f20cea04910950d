"""Which AWS actions each command calls, on what, and why: the one table that ``iam-policy`` prints from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from asyncrep.aws.queues import QueueRef
    from asyncrep.location import S3Place
    from asyncrep.options import S3Access

On = Literal[
    "table", "stream", "global-table", "objects", "bucket", "uploads", "key", "metrics", "queue"
]  # fmt: skip
"""``uploads`` is a bucket as well, but IAM knows no condition on which of its names are meant."""


@dataclass(frozen=True, slots=True)
class Permission:
    """One action on one kind of resource.

    Attributes:
        action: as IAM names it, ``dynamodb:Scan``.
        why: what a command calls it for; a sentence.
        without: what becomes of a command that may not call it; empty where it fails.
        on: what it is called on.
    """

    action: str
    why: str
    without: str = ""
    on: On = "table"

    @property
    def is_optional(self) -> bool:
        """Whether the command does its work without it."""
        return bool(self.without)


@dataclass(frozen=True, slots=True)
class Grant:
    """The permissions that a command needs on one table for one purpose: a statement of the policy.

    Attributes:
        purpose: what they are for, the first word of the statement's Sid.
        table: which of the command's tables, as ``primary``; the other words of the Sid.
    """

    purpose: Literal["Read", "Write", "Share"]
    table: str
    permissions: tuple[Permission, ...]


@dataclass(frozen=True, slots=True)
class InS3:
    """The permissions that a command needs on one place in S3 where it keeps something.

    Attributes:
        what: what is kept, the first words of the statements' Sids.
        acting: the table whose identity does it; None for the caller's own, or that of ``access``.
        access: how S3 is reached, where that is told by itself: as whom, and with which key for encryption.
        ends: what follows the place in the names of the objects; a wildcard is one.
    """

    what: str
    place: S3Place
    permissions: tuple[Permission, ...]
    acting: str | None = None
    access: S3Access | None = None
    ends: tuple[str, ...] = ("/*",)


@dataclass(frozen=True, slots=True)
class InQueue:
    """A queue that a command sends messages to.

    Attributes:
        acting: the table whose identity does it.
    """

    queue: QueueRef
    acting: str


@dataclass(frozen=True, slots=True)
class InCloudWatch:
    """A namespace in which a command publishes metrics.

    Attributes:
        acting: the table whose identity does it; None for that of ``access``.
        access: the identity that reaches S3.
    """

    namespace: str
    acting: str | None
    access: S3Access | None = None


Elsewhere = InS3 | InQueue | InCloudWatch
"""What a command needs on anything but tables."""


DESCRIBE = Permission("dynamodb:DescribeTable", "Reads the key schema, the size and the indexes.")
EXPIRY = Permission(
    "dynamodb:DescribeTimeToLive",
    "Reads which attribute holds the time at which items expire.",
    without="No item counts as expired, and the run says so.",
)
SCAN = Permission("dynamodb:Scan", "Reads every item.")
READ = Permission("dynamodb:BatchGetItem", "Looks records up by key, and confirms what looks different.")
MEMBERS = Permission(
    "dynamodb:DescribeGlobalTable",
    "Asks whether both tables are members of one global table of version 2017.11.29.",
    without="None is assumed, and the run says so.",
    on="global-table",
)
PUT = Permission("dynamodb:PutItem", "Puts what is missing, on condition that it still is.")
PATCH = Permission(
    "dynamodb:UpdateItem", "Patches attributes that differ, on condition that they are as they were read."
)
DELETE = Permission(
    "dynamodb:DeleteItem", "Deletes what only the replica has, on condition that it is as it was read."
)
BULK = Permission("dynamodb:BatchWriteItem", "Fills a replica in bulk that was found empty.")

SHARDS = Permission("dynamodb:DescribeStream", "Finds the shards of the stream.", on="stream")
PLACE_IN_SHARD = Permission(
    "dynamodb:GetShardIterator", "Finds a place in a shard to read from.", on="stream"
)
RECORDS = Permission("dynamodb:GetRecords", "Reads the changes that a shard holds.", on="stream")

NEW_TABLE = Permission(
    "dynamodb:CreateTable",
    "Makes the table if there is none yet.",
    without="The table must have been made before.",
)
EXPIRING = Permission(
    "dynamodb:UpdateTimeToLive",
    "Switches TTL on where it is off.",
    without="TTL must have been switched on before.",
)
CHECK = Permission("dynamodb:ConditionCheckItem", "Looks at an item in the transaction that writes another.")
READ_LEASE = Permission("dynamodb:GetItem", "Looks at a lease again that was not found as it was.")

GET_OBJECT = Permission("s3:GetObject", "Reads what is kept there.", on="objects")
PUT_OBJECT = Permission("s3:PutObject", "Writes what is to be kept there.", on="objects")
REMOVE_OBJECT = Permission("s3:DeleteObject", "Removes what was kept there.", on="objects")
LIST_OBJECTS = Permission("s3:ListBucket", "Finds out what is kept there, and that nothing is.", on="bucket")

ABORT_UPLOAD = Permission(
    "s3:AbortMultipartUpload", "Takes back what was sent of an object that is not finished.", on="objects"
)
LIST_UPLOADS = Permission(
    "s3:ListBucketMultipartUploads",
    "Finds what a run of the job that was killed has left unfinished.",
    without="It is left to the bucket's lifecycle rules, and the run says so.",
    on="uploads",
)
GET_VERSION = Permission("s3:GetObjectVersion", "Reads what was kept there at another time.", on="objects")
LIST_VERSIONS = Permission("s3:ListBucketVersions", "Finds out what was kept there, and when.", on="bucket")
GENERATE_KEY = Permission("kms:GenerateDataKey", "Has S3 encrypt what is written with the key.", on="key")
DECRYPT = Permission("kms:Decrypt", "Has S3 decrypt what was written with the key.", on="key")

SEND_MESSAGE = Permission(
    "sqs:SendMessage", "Keeps records that can never be applied in a queue.", on="queue"
)

PUT_METRICS = Permission("cloudwatch:PutMetricData", "Publishes the metrics of the run.", on="metrics")

_TAKE_BACK = replace(DELETE, why="Takes back its own copy of an item that the primary lost meanwhile.")
_EMPTY = replace(SCAN, why="Finds out whether the replica is empty.")
_LOOK = replace(SCAN, why="Looks into the table, five pages at the most, for the size of its items.")
_RECORD = replace(READ, why="Reads the record.")
_TAKE_UP = replace(READ, why="Reads what a run before this one had begun to copy.")
_PRESENT = replace(READ, why="Compares items that are there already.")

_OPEN = (DESCRIBE, EXPIRY)


@dataclass(frozen=True, slots=True)
class Writing:
    """What a command may write to the replica.

    Attributes:
        same_names: whether the tables have one name, as the members of a global table do.
        force: whether it does so without asking for global tables.
        dry_run: whether it only says what it would write.
        deletes: whether it deletes what only the replica has.
    """

    same_names: bool
    force: bool = False
    dry_run: bool = False
    deletes: bool = True

    def checked(self, *permissions: Permission) -> tuple[Permission, ...]:
        """Return the permissions and, unless forced or out of the question, the check before writing."""
        return (*permissions, MEMBERS) if self.same_names and not self.force else permissions


def checking() -> list[Grant]:
    """Return what ``diff-tables`` needs without --repair, with either strategy."""
    return [_read("primary", SCAN, READ), _read("replica", SCAN, READ)]


def repairing(writing: Writing) -> list[Grant]:
    """Return what ``diff-tables --repair`` needs."""
    reads = [_read("primary", SCAN, READ), _read("replica", *writing.checked(SCAN, READ))]
    return reads if writing.dry_run else [*reads, _guarded_writes(writing)]


def backfilling(writing: Writing, *, job: bool = False) -> list[Grant]:
    """Return what ``diff-tables --backfill`` needs; a job also takes up what an interrupted run had begun."""
    primary = _read("primary", SCAN, *([_TAKE_UP] if job and not writing.dry_run else []))
    if writing.dry_run:
        return [primary, _read("replica", *writing.checked(_EMPTY))]
    if_absent = replace(PUT, why="Puts items one by one where the replica is not empty or refuses a batch.")
    return [
        primary,
        _read("replica", *writing.checked(_EMPTY, _PRESENT)),
        Grant("Write", "replica", (BULK, if_absent)),
    ]


def planning() -> list[Grant]:
    """Return what ``plan`` needs."""
    return [_read("primary", _LOOK), _read("replica", _LOOK)]


def comparing_record() -> list[Grant]:
    """Return what commands need that read one record."""
    return [_read("primary", _RECORD), _read("replica", _RECORD)]


def mending_records(writing: Writing) -> list[Grant]:
    """Return what commands need that bring single records in line."""
    return [
        _read("primary", _RECORD),
        _read("replica", *writing.checked(_RECORD)),
        *([] if writing.dry_run else [_guarded_writes(writing)]),
    ]


def _read(table: str, *permissions: Permission) -> Grant:
    return Grant("Read", table, (*_OPEN, *permissions))


def _guarded_writes(writing: Writing) -> Grant:
    return Grant("Write", "replica", (PUT, PATCH, DELETE if writing.deletes else _TAKE_BACK))


def undoing(*, dry_run: bool) -> list[Grant]:
    """Return what ``undo`` needs; the primary has no part in it."""
    reads = _read("replica", replace(READ, why="Reads the records that are to be taken back."))
    back = (
        replace(DELETE, why="Deletes what was put, on condition that it is as it was put."),
        replace(
            PATCH, why="Gives patched attributes their old values, on condition that they are as patched."
        ),
        replace(PUT, why="Puts again what was deleted, on condition that there is nothing."),
    )
    return [reads] if dry_run else [reads, Grant("Write", "replica", back)]


def reading(what: str, place: S3Place) -> InS3:
    """Return what commands need that read what is kept in S3."""
    return InS3(what, place, (GET_OBJECT, LIST_OBJECTS))


def keeping(what: str, place: S3Place) -> InS3:
    """Return what commands need that keep something in S3."""
    return InS3(what, place, (GET_OBJECT, LIST_OBJECTS, PUT_OBJECT))


def removing(what: str, place: S3Place) -> InS3:
    """Return what commands need that remove what is kept in S3."""
    return InS3(what, place, (GET_OBJECT, LIST_OBJECTS, REMOVE_OBJECT))
