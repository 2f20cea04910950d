"""What the commands about backups call on their table, in S3 and elsewhere, by the options of their command lines."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from asyncrep.backup.export import FILES, SUMMARY
from asyncrep.backup.layout import MANIFEST
from asyncrep.cli import permissions
from asyncrep.cli.backup_table import DumpOptions
from asyncrep.cli.diff_backup import table_of
from asyncrep.cli.folder_arguments import folder_of
from asyncrep.cli.incremental_snapshot import metric_place
from asyncrep.cli.permissions import (
    ABORT_UPLOAD,
    BULK,
    DESCRIBE,
    EXPIRING,
    EXPIRY,
    GET_OBJECT,
    GET_VERSION,
    LIST_OBJECTS,
    LIST_UPLOADS,
    LIST_VERSIONS,
    MEMBERS,
    NEW_TABLE,
    PUT,
    PUT_OBJECT,
    READ,
    REMOVE_OBJECT,
    SCAN,
    Grant,
    InCloudWatch,
    InS3,
)
from asyncrep.cli.policy import Needs
from asyncrep.cli.restore import RestoreOptions
from asyncrep.cli.storage_options import S3Options
from asyncrep.cli.table_options import TableOptions
from asyncrep.jobs.place import job_place
from asyncrep.location import S3Place, parse_storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from asyncrep.aws.place import Place
    from asyncrep.cli.iam_policy import Asked
    from asyncrep.cli.permissions import Elsewhere, Permission
    from asyncrep.options import S3Access

_OPENED = (
    replace(DESCRIBE, why="Reads the key schema, the size, and what it takes to make the table again."),
    replace(EXPIRY, without="The backup does not tell which attribute it is, and the run says so."),
)
_EXPIRY_UNUSED = replace(
    EXPIRY, why="Is asked of every table that is opened.", without="Nothing is missed: it is not used."
)
_REACHED = (_OPENED[0], _EXPIRY_UNUSED)
_RECORD = replace(READ, why="Reads the record.")

_READS = (
    replace(GET_OBJECT, why="Reads the backup."),
    replace(LIST_OBJECTS, why="Finds out which objects the backup has."),
)
_READS_THEN = (
    replace(GET_VERSION, why="Reads the backup as it was at that moment."),
    replace(LIST_VERSIONS, why="Finds out which objects the backup had at that moment."),
)
_LOOKS = (
    replace(GET_OBJECT, why="Looks at what it has written where S3 gave no answer, and reads manifests."),
    replace(LIST_OBJECTS, why="Sees that there is no dump of that name, and which segments of it are whole."),
)
_WRITES = (
    replace(PUT_OBJECT, why="Writes the data and the manifests."),
    replace(ABORT_UPLOAD, why="Takes back what was sent of an object when the run fails."),
)
_OF_SNAPSHOT = ("", f".{MANIFEST}")
"""What follows the name of a snapshot in the names of its objects."""


def _dump(asked: Asked) -> Needs:
    table, access = _table(asked, "table")
    dumping = asked.group(DumpOptions)
    dumping.one_segment(), dumping.chosen_format()
    place = parse_storage(asked.parameters["place"])
    written = (*_LOOKS, *_WRITES, *((LIST_UPLOADS,) if dumping.job is not None else ()))
    grants = [Grant("Read", "table", (*_OPENED, SCAN))]
    elsewhere = [*_in_s3("Backup", place, access, written), *_job(dumping.job, access)]
    if asked.parameters["metric"] is not None:
        elsewhere.append(InCloudWatch(_namespace(asked.parameters["metric"]), "table"))
    return Needs({"table": table}, grants, elsewhere)


def _namespace(namespace: str) -> str:
    from asyncrep.aws.metrics import check_namespace  # noqa: PLC0415 - commands start without the AWS libraries

    check_namespace(namespace)
    return namespace


def _restore(asked: Asked) -> Needs:
    table, access = _table(asked, "table")
    restoring = asked.group(RestoreOptions)
    source = _source(asked.parameters["source"], access, at=asked.parameters["at"])
    grants = [Grant("Read", "table", _read_for(restoring))]
    if not restoring.dry_run:
        grants.append(Grant("Write", "table", _written_by(restoring)))
    return Needs({"table": table}, grants, [*source, *_job(restoring.job, access)])


def _read_for(restoring: RestoreOptions) -> tuple[Permission, ...]:
    if restoring.dry_run:
        return (*_REACHED, SCAN, READ)
    reads: tuple[Permission, ...] = _REACHED
    if restoring.mode == "empty":
        reads = (*reads, replace(SCAN, why="Makes sure that the table is empty."))
    if restoring.mode == "only-missing":
        reads = (*reads, replace(READ, why="Looks at what it has written where there was no answer."))
    return reads if restoring.force_global_table else (*reads, MEMBERS)


def _written_by(restoring: RestoreOptions) -> tuple[Permission, ...]:
    if restoring.mode == "only-missing":
        return (replace(PUT, why="Puts items, on condition that there is none."),)
    bulk = replace(BULK, why="Writes the items, in bulk.")
    made = (
        replace(NEW_TABLE, why="Makes the table.", without=""),
        replace(
            EXPIRING,
            why="Switches TTL on, where the backup describes it.",
            without="The run says that it is off.",
        ),
    )
    return (bulk, *(made if restoring.create else ()))


def _diff(asked: Asked) -> Needs:
    given = asked.parameters
    tables = asked.group(TableOptions)
    table = table_of(given["other"], tables)
    access = asked.group(S3Options).access(tables.profile, tables.role_arn)
    if table is None:
        sources = _source(given["source"], access, at=given["at"], near=None)
        return Needs({}, [], [*sources, *_source(given["other"], access, what="Other", near=None)])
    sources = _source(given["source"], access, at=given["at"])
    return Needs({"table": table}, [Grant("Read", "table", (*_REACHED, SCAN, READ))], sources)


# ── Incremental folders


def _snapshot(asked: Asked) -> Needs:
    given, access = asked.parameters, _access(asked, None)
    folder, file = parse_storage(given["folder"]), parse_storage(given["file"])
    reads = (*_READS_THEN, _READS[1]) if given["at"] is not None else _READS
    is_file = given["format"] != "export"
    removed = (replace(REMOVE_OBJECT, why="Removes the manifest of the snapshot that is replaced."),)
    written = (*_LOOKS, *_WRITES, *(removed if is_file else ()))
    ends = _OF_SNAPSHOT if is_file else ("/*",)
    elsewhere: list[Elsewhere] = [
        *_in_s3("Folder", folder, access, reads, near=None),
        *_in_s3("Snapshot", file, access, written, near=None, ends=ends),
    ]
    if given["metric"] is not None:
        elsewhere.append(InCloudWatch(metric_place(given["metric"], access).namespace, None, access))
    return Needs({}, [], elsewhere)


def _history(asked: Asked) -> Needs:
    versions = (
        replace(GET_VERSION, why="Reads the versions of the record."),
        replace(LIST_VERSIONS, why="Finds out which versions of the record are kept."),
        replace(LIST_OBJECTS, why="Sees that the folder may be read where no version is kept."),
    )
    return _of_folder(asked, (), *versions)


def _of_folder(asked: Asked, on_table: tuple[Permission, ...], *on_objects: Permission) -> Needs:
    table, access = _table(asked, "table")
    place = folder_of(asked.parameters["folder"], table.ref.table, access).place
    kept = _in_s3("Folder", place, access, on_objects)
    job = asked.parameters.get("job")
    grants = [Grant("Read", "table", (*_REACHED, *on_table))]
    return Needs({"table": table}, grants, [*kept, *_job(job, access)])


_OBJECT = (
    replace(GET_OBJECT, why="Reads the record's object."),
    replace(LIST_OBJECTS, why="Finds out whether there is such an object."),
)
_WRITES_OBJECT = (
    replace(PUT_OBJECT, why="Puts the record's object, on condition that it is as it was read."),
    replace(REMOVE_OBJECT, why="Deletes the object of a record that the table has no more."),
)


# ── Retention


def _backups(asked: Asked) -> Needs:
    place, access = parse_storage(asked.parameters["place"]), _access(asked, None)
    looks = (
        replace(GET_OBJECT, why="Reads manifests."),
        replace(LIST_OBJECTS, why="Finds the backups and their objects."),
    )
    more: tuple[Permission, ...] = ()
    if asked.name == "backups verify":
        looks = (replace(GET_OBJECT, why="Reads the backups and their manifests."), looks[1])
        without = "What was verified is not kept, so prune does not know of it, and the run says so."
        more = (replace(PUT_OBJECT, why="Keeps beside each backup what was found.", without=without),)
    elif asked.name == "backups prune" and asked.parameters["yes"]:
        more = (
            replace(REMOVE_OBJECT, why="Removes the backups that no rule keeps."),
            replace(PUT_OBJECT, why="Marks a backup as about to go before anything of it is removed."),
        )
    return Needs({}, [], _in_s3("Backups", place, access, (*looks, *more), near=None))


# ── What all have in common


def _table(asked: Asked, argument: str) -> tuple[Place, S3Access]:
    """Return the table, and how S3 is reached, as the command does it."""
    table = asked.group(TableOptions).place(asked.parameters[argument])
    return table, _access(asked, table)


def _access(asked: Asked, table: Place | None) -> S3Access:
    options = asked.group(S3Options)
    return options.access() if table is None else options.access(table.profile, table.role_arn)


def _in_s3(
    what: str,
    place: Path | S3Place,
    access: S3Access,
    needed: tuple[Permission, ...],
    *,
    near: str | None = "table",
    ends: tuple[str, ...] = ("/*",),
) -> list[Elsewhere]:
    """Return what is needed on a place, if it is in S3; its bucket is taken to be where the command's table is."""
    return [InS3(what, place, needed, near, access, ends)] if isinstance(place, S3Place) else []


def _source(
    text: str, access: S3Access, *, at: str | None = None, what: str = "Backup", near: str | None = "table"
) -> list[Elsewhere]:
    """Return what reading a backup needs: it may be one file, or all that lies under its name."""
    place = parse_storage(text)
    if not isinstance(place, S3Place):
        return []
    above, _, name = place.prefix.rpartition("/")
    if name in {MANIFEST, SUMMARY, FILES}:  # naming a manifest means what it is the manifest of
        place = S3Place(place.bucket, above)
    needed = _READS if at is None else (*_READS, *_READS_THEN)
    return _in_s3(what, place, access, needed, near=near, ends=(*_OF_SNAPSHOT, "/*"))


def _job(job: str | None, access: S3Access) -> Iterator[Elsewhere]:
    place = job_place(job)
    if isinstance(place, S3Place):
        yield replace(permissions.keeping("Job", place), access=access, acting="table")


BACKUP_NEEDS: dict[str, Callable[[Asked], Needs]] = {
    "backup-table": _dump,
    "backups list": _backups,
    "backups prune": _backups,
    "backups verify": _backups,
    "diff-backup": _diff,
    "incremental-backfill": lambda asked: _of_folder(
        asked,
        (SCAN, replace(READ, why="Reads what differs once more, as it is by now.")),
        *_OBJECT,
        *_WRITES_OBJECT,
    ),
    "incremental-backup-record": lambda asked: _of_folder(
        asked, (_RECORD,), *_OBJECT, *(() if asked.parameters["dry_run"] else _WRITES_OBJECT)
    ),
    "incremental-diff-record": lambda asked: _of_folder(asked, (_RECORD,), *_OBJECT),
    "incremental-record-history": _history,
    "incremental-snapshot": _snapshot,
    "restore": _restore,
}
"""What each command about backups needs."""
