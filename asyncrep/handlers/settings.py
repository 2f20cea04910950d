"""Reads the settings of a function of a stream from its environment, as dynamodb-replicator names them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from asyncrep.aws.credentials import check_role
from asyncrep.errors import UsageError
from asyncrep.location import S3Place, TableRef
from asyncrep.options import Guard, S3Access
from asyncrep.replicate.conditions import parse_name
from asyncrep.replicate.dead_letters import parse_dead_letters
from asyncrep.replicate.policy import Policy
from asyncrep.replicate.selection import Selection, read_list

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from asyncrep.aws.queues import QueueRef

_SWITCHES = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_LISTS = {"Where": "where", "Events": "events", "Attributes": "attributes", "WithoutAttributes": "without", "Rename": "rename"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ReplicaSettings:
    """Where a function replicates to, and how.

    Attributes:
        table: the destination's name or ARN; None for the name of each record's own table.
        region: its Region, None for the function's own.
        endpoint_url: another endpoint than the Region's.
        access_key_id, secret_access_key: keys of the destination's account, both or neither.
        role_arn: a role to assume for the destination.
        policy: what is replicated, and what keeps late records from being written.
        dead_letters: where records go that can never be applied; without it they are tried again and again.

    Raises:
        UsageError: they contradict each other.
    """

    table: str | None = None
    region: str | None = None
    endpoint_url: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    role_arn: str | None = None
    policy: Policy = field(default_factory=Policy)
    dead_letters: S3Place | QueueRef | None = None

    def __post_init__(self) -> None:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            present, missing = "ReplicaAccessKeyId", "ReplicaSecretAccessKey"
            if self.access_key_id is None:
                present, missing = missing, present
            raise UsageError(f"{present} is set and {missing} is not: set both or neither.")
        if self.policy.guard == "version" and not self.policy.selection.copies_whole_items:
            raise UsageError(
                "Guard=version copies items whole: it does not go with Attributes, WithoutAttributes or Rename."
            )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> ReplicaSettings:
        """Read the settings; a variable that is empty is not set.

        Raises:
            UsageError: with one sentence that names the variable.
        """
        given = {name: value.strip() for name, value in environment.items() if value.strip()}
        return cls(
            table=_read(given, "ReplicaTable", _table),
            region=_read(given, "ReplicaRegion", _region),
            endpoint_url=_read(given, "ReplicaEndpoint", _endpoint),
            access_key_id=given.get("ReplicaAccessKeyId"),
            secret_access_key=given.get("ReplicaSecretAccessKey"),
            role_arn=_read(given, "ReplicaRoleArn", _role),
            policy=_policy(given),
            dead_letters=_read(given, "DeadLetter", _dead_letters),
        )

    def destination(self, source: str) -> TableRef:
        """Return where the records of a table go, by the source table's name.

        Raises:
            UsageError: the destination has the name of the source table, and there is no such name.
        """
        if self.table is None and not source:
            raise UsageError(
                "A record does not name its stream (eventSourceARN): set ReplicaTable to say where it goes."
            )
        name = self.table or source
        if name.startswith("arn:"):
            return TableRef.parse(name, endpoint_url=self.endpoint_url)
        return TableRef(name, self.region, self.endpoint_url)


@dataclass(frozen=True, slots=True)
class BackupSettings:
    """Where a function keeps incremental backups, and of what.

    Attributes:
        place: each table has a folder of its name under it.
        access: the bucket's Region, its owner, and the key that encrypts what is put there.
        key_order: the names of the key's attributes, HASH and then RANGE, which saves asking the table. All
            tables whose records come must have this key. None asks each table once.
        selection: what is kept, of whole items.
        dead_letters: where records go that can never be applied; without it they are tried again and again.

    Raises:
        UsageError: only parts of items were to be kept.
    """

    place: S3Place
    access: S3Access = field(default_factory=S3Access)
    key_order: tuple[str, ...] | None = None
    selection: Selection = field(default_factory=Selection)
    dead_letters: S3Place | QueueRef | None = None

    def __post_init__(self) -> None:
        if not self.selection.copies_whole_items:
            raise UsageError(
                "A backup holds whole items: Attributes, WithoutAttributes and Rename cannot be set."
            )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> BackupSettings:
        """Read the settings; a variable that is empty is not set.

        Raises:
            UsageError: with one sentence that names the variable.
        """
        given = {name: value.strip() for name, value in environment.items() if value.strip()}
        if "BackupBucket" not in given:
            raise UsageError("BackupBucket is not set: it names the bucket that backups are kept in.")
        bucket: S3Place = _read(given, "BackupBucket", _bucket)
        return cls(
            place=S3Place(bucket.bucket, given.get("BackupPrefix", "").strip("/")),
            access=S3Access(
                region=_read(given, "BackupRegion", _region),
                kms_key=_read(given, "BackupKmsKey", _kms_key),
                bucket_owner=_read(given, "BackupBucketOwner", _account),
            ),
            key_order=_read(given, "BackupKeyOrder", _key_order),
            selection=_selection(given),
            dead_letters=_read(given, "DeadLetter", _dead_letters),
        )


def _read(given: Mapping[str, str], variable: str, read: Callable[[str], Any]) -> Any:
    if variable not in given:
        return None
    try:
        return read(given[variable])
    except UsageError as error:
        raise UsageError(f"{variable}: {error}") from error


def _table(text: str) -> str:
    TableRef.parse(text if text.startswith("arn:") else f"us-east-1/{text}")
    return text


def _region(text: str) -> str:
    TableRef.parse(f"{text}/some-table")
    return text


def _endpoint(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise UsageError(f'the endpoint "{text}" must begin with http:// or https://.')
    return text


def _bucket(text: str) -> S3Place:
    place = S3Place.parse(f"s3://{text}")
    if "/" in text:
        raise UsageError(f'"{text}" is more than the name of a bucket; the rest belongs into BackupPrefix.')
    return place


def _key_order(text: str) -> tuple[str, ...]:
    names = tuple(map(parse_name, read_list(text)))
    if not 1 <= len(names) == len(set(names)) <= 2:
        raise UsageError(
            f'"{text}" is not a key; name its hash attribute or, with a comma between them, hash and range.'
        )
    return names


def _role(text: str) -> str:
    check_role(text)
    return text


def _kms_key(text: str) -> str:
    S3Access(kms_key=text)
    return text


def _account(text: str) -> str:
    S3Access(bucket_owner=text)
    return text


def _guard(text: str) -> str:
    if text not in get_args(Guard):
        raise UsageError(f'there is no guard "{text}"; it is one of {", ".join(get_args(Guard))}.')
    return text


def _dead_letters(text: str) -> S3Place | QueueRef:
    place = parse_dead_letters(text)
    if isinstance(place, Path):
        raise UsageError(
            "a function's own files are gone with it; name a queue by its URL, or s3://BUCKET/PREFIX."
        )
    return place


def _switch(text: str) -> bool:
    if text.lower() not in _SWITCHES:
        raise UsageError(f'"{text}" is neither true nor false.')
    return _SWITCHES[text.lower()]


def _policy(given: Mapping[str, str]) -> Policy:
    guard: Guard = _read(given, "Guard", _guard) or "none"
    if "GuardTable" in given and guard == "none":
        raise UsageError("GuardTable is set and Guard is not: set it to version or sequence.")
    if "VersionAttribute" in given and guard != "version":
        raise UsageError("VersionAttribute is set and Guard is not version.")
    named = {
        field_name: given[variable]
        for variable, field_name in (("VersionAttribute", "version_attribute"), ("GuardTable", "guard_table"))
        if variable in given
    }
    return Policy(guard=guard, selection=_selection(given), **named)


def _selection(given: Mapping[str, str]) -> Selection:
    """Read what is replicated; each list alone first, so that a mistake is told with its variable."""
    parts: dict[str, Any] = {}
    for variable, name in _LISTS.items():
        if variable in given:
            parts[name] = read_list(given[variable])
            _read(given, variable, partial(_check_list, name))
    parts["ttl_deletes"] = _read(given, "TtlDeletes", _switch) is not False
    try:
        return Selection.from_texts(
            **parts, turnover_role=given.get("TurnoverRole"), turnover_at=given.get("TurnoverAt")
        )
    except UsageError as error:
        variables = [name for name in (*_LISTS, "TurnoverRole", "TurnoverAt") if name in given]
        raise UsageError(f"{', '.join(variables)}: {error}") from error


def _check_list(name: str, text: str) -> None:
    lists: dict[str, Any] = {name: read_list(text)}
    Selection.from_texts(**lists)
