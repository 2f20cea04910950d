"""What ``replicate`` calls on each of its tables and elsewhere, by the options of its command line."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from asyncrep.change import ChangeKind
from asyncrep.cli.folder_arguments import FolderPlace
from asyncrep.cli.permissions import (
    BULK,
    CHECK,
    DELETE,
    DESCRIBE,
    EXPIRING,
    EXPIRY,
    GET_OBJECT,
    LIST_OBJECTS,
    MEMBERS,
    NEW_TABLE,
    PATCH,
    PLACE_IN_SHARD,
    PUT,
    PUT_OBJECT,
    READ,
    READ_LEASE,
    RECORDS,
    REMOVE_OBJECT,
    SCAN,
    SHARDS,
    Grant,
    InCloudWatch,
    InQueue,
    InS3,
)
from asyncrep.cli.policy import Needs
from asyncrep.location import S3Place, TableRef

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncrep.aws.place import Place
    from asyncrep.cli.permissions import Elsewhere, Permission
    from asyncrep.cli.replication import Replication
    from asyncrep.replicate.policy import Policy

_OPENED = (
    replace(DESCRIBE, why="Reads the key schema, and which stream the table has."),
    replace(
        EXPIRY,
        why="Is asked of every table that is opened.",
        without="Nothing is missed: only --bootstrap uses the answer, and only that of the source.",
    ),
)
_COPIED = (_OPENED[0], EXPIRY)

_ALL = replace(SCAN, why="Reads every item, to copy it.")
_PRESENT = replace(READ, why="Reads items that were touched while --bootstrap copied, as they are by now.")
_PRESENT_OF_OTHERS = replace(
    _PRESENT,
    why="Reads items that were touched while another worker's --bootstrap copied, as they are by now.",
    without="A shard that such a worker left to be caught up with is held while this one has it, and it says so.",
)

_EMPTY = replace(SCAN, why="Finds out whether the destination is empty.")
_THERE = replace(READ, why="Compares items that are there already when --bootstrap copies them.")
_FILL = replace(BULK, why="Copies items in bulk into a destination that was found empty.")
_IF_ABSENT = replace(
    PUT, why="Copies items one by one where the destination is not empty or refuses a batch."
)

_IN_BULK = replace(BULK, why="Writes the changes, in bulk.")
_PUT_GUARDED = replace(PUT, why="Puts an item, in one transaction with its row of the guard table.")
_DELETE_GUARDED = replace(DELETE, why="Deletes an item, in one transaction with its row of the guard table.")
_HIGHER = replace(CHECK, why="Looks whether a higher version is there, when a deletion below it is noted.")

_GUARD = (
    replace(DESCRIBE, why="Finds the guard table and reads its key schema."),
    replace(
        EXPIRY,
        why="Sees that rows of deleted items expire.",
        without="Whether they do is not checked, nor seen to where the guard table is new.",
    ),
    NEW_TABLE,
    EXPIRING,
)
_NOT_BURIED = replace(CHECK, why="Sees that an item was not deleted at its version or a higher one.")
_BURY = replace(PATCH, why="Notes at which version an item was deleted.")
_ADVANCE = replace(PATCH, why="Notes which change of an item was applied last.")

_LOOKED_AT = (
    replace(DESCRIBE, why="Finds the lease table and reads its key schema."),
    replace(SCAN, why="Reads who follows which shard, and how far."),
)
_SHARED = (
    *_LOOKED_AT,
    NEW_TABLE,
    READ_LEASE,
    replace(PATCH, why="Takes, renews and sets free leases, and notes how far shards are read."),
    replace(DELETE, why="Removes the leases of shards that are gone, and with --restart all of them."),
)


_OBJECTS = (
    replace(PUT_OBJECT, why="Puts an object for each item, and a version of it for each change."),
    replace(REMOVE_OBJECT, why="Deletes the objects of items that are deleted."),
    replace(GET_OBJECT, why="Looks which change an object holds already."),
    replace(LIST_OBJECTS, why="Finds out whether there is such an object."),
)


def replicating(replication: Replication) -> Needs:
    """Return what a worker needs, or with --status the look at its task."""
    places: dict[str, Place] = {"source": replication.source, "leases": _leases(replication)}
    grants = [_of_source(replication)]
    guards: dict[Place, str] = {}
    tables = [each for each in replication.destinations if not isinstance(each, FolderPlace)]
    for number, destination in enumerate(tables, 1):
        name = _numbered("destination", number)
        places[name] = destination
        grants += _of_destination(replication, name, destination)
        if replication.policy.guard != "none" and not replication.task.status:
            guards.setdefault(_guard(replication.policy, destination), _numbered("guard", len(guards) + 1))
    places |= {name: guard for guard, name in guards.items()}
    grants += [Grant("Write", name, (*_GUARD, *_rows(replication.policy))) for name in guards.values()]
    if replication.task.status:
        return Needs(places, [*grants, Grant("Read", "leases", _LOOKED_AT)])
    return Needs(places, [*grants, Grant("Share", "leases", _SHARED)], list(_elsewhere(replication)))


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}{number}"


def _of_source(replication: Replication) -> Grant:
    if replication.task.status:
        return Grant("Read", "source", (*_OPENED, SHARDS))
    reads: tuple[Permission, ...] = (*_OPENED, _PRESENT_OF_OTHERS)
    if replication.start.bootstrap:
        reads = (*_COPIED, _ALL, _PRESENT)
    elif not _may_catch_up(replication):
        reads = _OPENED
    return Grant("Read", "source", (*reads, SHARDS, PLACE_IN_SHARD, RECORDS))


def _may_catch_up(replication: Replication) -> bool:
    """Return whether another worker of the task may have copied: not with options that do not go with that."""
    is_new = replication.start.restart or replication.following.begin == "latest"
    return not is_new and replication.policy.selection.events == frozenset(ChangeKind)


def _of_destination(replication: Replication, name: str, place: Place) -> Iterator[Grant]:
    only_looks = replication.task.status
    copying = replication.start.bootstrap and not only_looks
    same_names = place.ref.table == replication.source.ref.table
    members = (MEMBERS,) if same_names and not replication.force else ()
    yield Grant("Read", name, (*_OPENED, *((_EMPTY, _THERE) if copying else ()), *members))
    if not only_looks:
        yield Grant("Write", name, (*((_FILL, _IF_ABSENT) if copying else ()), *_items(replication.policy)))


def _items(policy: Policy) -> tuple[Permission, ...]:
    """Return what applying changes needs on the items themselves."""
    if policy.guard == "none":
        return (_IN_BULK,)
    puts, deletes = _does(policy)
    higher = (_HIGHER,) if policy.guard == "version" else ()
    return (*((_PUT_GUARDED,) if puts else ()), *((_DELETE_GUARDED, *higher) if deletes else ()))


def _rows(policy: Policy) -> tuple[Permission, ...]:
    """Return what applying changes needs on the rows of the guard table."""
    if policy.guard == "sequence":
        return (_ADVANCE,)
    puts, deletes = _does(policy)
    return (*((_NOT_BURIED,) if puts else ()), *((_BURY,) if deletes else ()))


def _does(policy: Policy) -> tuple[bool, bool]:
    """Return whether items are ever put, and whether any is ever deleted: also one that is not selected any more."""
    events = policy.selection.events
    puts = bool(events - {ChangeKind.REMOVE})
    return puts, ChangeKind.REMOVE in events or bool(policy.selection.where)


def _guard(policy: Policy, destination: Place) -> Place:
    """Return where the guard table of a destination is."""
    from asyncrep.aws.identity import region_of  # noqa: PLC0415 - commands start without the AWS libraries
    from asyncrep.replicate.guard import guard_location  # noqa: PLC0415

    ref = guard_location(destination.ref, region_of(destination), policy.guard_table)
    return replace(destination, ref=ref)


def _leases(replication: Replication) -> Place:
    """Return where the lease table is."""
    from asyncrep.aws.identity import region_of  # noqa: PLC0415 - as above
    from asyncrep.aws.leases import default_task_table  # noqa: PLC0415

    task, source = replication.task, replication.source
    name = default_task_table(
        region_of(source),
        source.ref.table,
        [
            ("", str(place)) if isinstance(place, FolderPlace) else (region_of(place), place.ref.table)
            for place in replication.destinations
        ],
        task.task_name,
    )
    region = task.lease_table_region or region_of(source)
    endpoint = task.lease_table_endpoint or source.ref.endpoint_url
    return replace(source, ref=TableRef(name, region, endpoint))


def _folders(replication: Replication) -> Iterator[InS3]:
    """Yield what is needed on the destinations that are in S3, by whoever S3 is reached as."""
    places = [each for each in replication.destinations if isinstance(each, FolderPlace)]
    for number, folder in enumerate(places, 1):
        if isinstance(folder.place, S3Place):
            yield InS3(_numbered("Backup", number), folder.place, _OBJECTS, access=folder.access)


def _elsewhere(replication: Replication) -> Iterator[Elsewhere]:
    """Yield where dead letters and metrics go, by the identity that reads the source; and backups."""
    from asyncrep.aws.queues import QueueRef  # noqa: PLC0415 - as above
    from asyncrep.replicate.dead_letters import parse_dead_letters  # noqa: PLC0415

    yield from _folders(replication)
    if replication.dead_letter is not None:
        match parse_dead_letters(replication.dead_letter):
            case QueueRef() as queue:
                yield InQueue(queue, "source")
            case S3Place() as place:
                letters = replace(PUT_OBJECT, why="Keeps records that can never be applied.")
                yield InS3("DeadLetter", place, (letters,), "source", replication.access)
            case _:
                pass  # a file
    if replication.telling.metric is not None:
        yield InCloudWatch(replication.telling.metric, "source")
