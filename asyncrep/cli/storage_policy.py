"""What a policy says about a place in S3: its objects, its names, and the key that encrypts it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from asyncrep.cli.permissions import DECRYPT, GENERATE_KEY, PUT_OBJECT
from asyncrep.cli.statement import ASSUME, CALLER, Condition, Statement, partition_of, role_account
from asyncrep.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncrep.cli.permissions import InS3, Permission
    from asyncrep.cli.policy import Home
    from asyncrep.options import S3Access

_KEY_ARN = re.compile(r"arn:([^:]+):kms:([^:]+):([0-9]{12}):(key/.+|alias/.+)")


def identity_of(access: S3Access | None) -> str:
    """Return the identity that reaches S3."""
    return (access.role_arn if access else None) or _source(access)


def _source(access: S3Access | None) -> str:
    return f"profile {access.profile}" if access is not None and access.profile else CALLER


def in_s3(kept: InS3, home: Home | None, partition: str, account: str | None) -> Iterator[Statement]:
    """Yield the statements on a place in S3.

    Args:
        kept: what is needed there.
        home: the table whose identity does it, if it is one's; where ``access`` tells another, the table near by.
        partition: of buckets whose Region nothing tells.
        account: of keys whose account nothing tells.

    Raises:
        UsageError: a role is none, or the account of a KMS key is not known.
    """
    access = kept.access
    identity = home.identity if home and access is None else identity_of(access)
    if access is not None and access.role_arn is not None:
        role_account(access.role_arn)
        yield Statement("AssumeStorageRole", _source(access), (ASSUME,), access.role_arn)
    region = (access.region if access else None) or (home.region if home else None)
    bucket = f"arn:{partition_of(region) if region else partition}:s3:::{kept.place.bucket}"
    names = _names(kept)
    listed = None if "*" in names else Condition("StringLike", "s3:prefix", names)
    objects = tuple(f"{bucket}/{name}" for name in names)
    for on, sid, resource, condition in (
        ("objects", f"{kept.what}Objects", objects[0] if len(objects) == 1 else objects, None),
        ("bucket", f"{kept.what}Names", bucket, listed),
        ("uploads", f"{kept.what}Uploads", bucket, None),
    ):
        permissions = tuple(each for each in kept.permissions if each.on == on)
        if permissions:
            yield Statement(sid, identity, permissions, resource, condition)
    if access is not None and access.kms_key is not None:
        yield _key(kept, identity, access.kms_key, region, account)


def _names(kept: InS3) -> tuple[str, ...]:
    """Return the patterns of the names of a place's objects; all of a bucket need but one."""
    if not kept.place.prefix:
        return ("*",)
    return tuple(_literal(kept.place.prefix) + end for end in kept.ends)


def _literal(text: str) -> str:
    """Spell text so that nothing in it is a wildcard or a variable to IAM."""
    return re.sub(r"[*?$]", lambda found: f"${{{found[0]}}}", text)


def _key(kept: InS3, identity: str, key: str, region: str | None, account: str | None) -> Statement:
    """Return what S3 may do with a key for whoever writes, or reads; a multipart upload needs both.

    The ARN of an alias grants nothing: it is named by a condition, on all keys of its account and Region.
    """
    partition, region, account, name = _key_parts(key, region, account)
    writes = any(each.action == PUT_OBJECT.action for each in kept.permissions)
    permissions: tuple[Permission, ...] = (GENERATE_KEY, DECRYPT) if writes else (DECRYPT,)
    arn = f"arn:{partition}:kms:{region}:{account}"
    if name.startswith("alias/"):
        condition = Condition("ForAnyValue:StringEquals", "kms:ResourceAliases", (name,))
        return Statement(f"{kept.what}Key", identity, permissions, f"{arn}:key/*", condition)
    return Statement(f"{kept.what}Key", identity, permissions, f"{arn}:{name}")


def _key_parts(key: str, region: str | None, account: str | None) -> tuple[str, str, str, str]:
    found = _KEY_ARN.fullmatch(key)
    if found is not None:
        partition, region, account, name = found.groups()
        return partition, region, account, name
    if account is None:
        raise UsageError(f"The account of the key {key} is not known: name one with --account.")
    if region is None:
        from asyncrep.aws.identity import environment_region  # noqa: PLC0415 - only where nothing else tells

        region = environment_region()
    name = key if key.startswith("alias/") else f"key/{key}"
    return partition_of(region), region, account, name
