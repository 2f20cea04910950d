"""IAM policies: turns what a command needs into statements on exact ARNs, one policy for each identity."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from asyncrep.cli.permissions import PUT_METRICS, SEND_MESSAGE, InCloudWatch, InQueue, InS3, Permission
from asyncrep.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from asyncrep.aws.place import Place
    from asyncrep.aws.queues import QueueRef
    from asyncrep.cli.permissions import Elsewhere, Grant

CALLER = "default credentials"
"""The identity of a command that is told of no profile and no role."""

ACCOUNT = re.compile(r"[0-9]{12}")
_ROLE = re.compile(r"arn:(?:aws|aws-[a-z-]+):iam::([0-9]{12}):role/[A-Za-z0-9_+=,.@/-]+")
_ACCOUNT_HOST = re.compile(r"https://([0-9]{12})\.ddb\.")
_PARTITIONS = {
    "cn-": "aws-cn",
    "us-gov-": "aws-us-gov",
    "us-iso-": "aws-iso",
    "us-isob-": "aws-iso-b",
    "eu-isoe-": "aws-iso-e",
    "us-isof-": "aws-iso-f",
    "eusc-": "aws-eusc",
}
_ASSUME = Permission("sts:AssumeRole", "Acts as the role that the command line names.")


@dataclass(frozen=True, slots=True)
class Home:
    """A table's place with what its ARN and the identity of its calls are made of.

    Attributes:
        region: the Region its requests are signed for.
        account: of the table.
    """

    place: Place
    region: str
    account: str

    @property
    def table(self) -> str:
        """The table's ARN."""
        ref = self.place.ref
        return ref.arn or (
            f"arn:{partition_of(self.region)}:dynamodb:{self.region}:{self.account}:table/{ref.table}"
        )

    @property
    def global_table(self) -> str:
        """The ARN of the global table of version 2017.11.29 that the table may be a member of.

        It is asked for by its name, which means the account of whoever asks.
        """
        return f"arn:{partition_of(self.region)}:dynamodb::{self.caller_account}:global-table/{self.place.ref.table}"

    @property
    def caller_account(self) -> str:
        """The account of whoever calls the table, as far as it is known."""
        return _role_account(self.place) or self.account

    @property
    def source(self) -> str:
        """The identity that the command begins with."""
        return f"profile {self.place.profile}" if self.place.profile else CALLER

    @property
    def identity(self) -> str:
        """The identity that calls the table."""
        return self.place.role_arn or self.source


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a policy.

    Attributes:
        identity: whose policy it belongs to.
        listed: for listing a bucket, the names that may be listed; None for all of them.
        namespace: for publishing metrics, in which namespace: they have no ARN to name.
    """

    sid: str
    identity: str
    permissions: tuple[Permission, ...]
    resource: str
    listed: str | None = None
    namespace: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as IAM reads it."""
        condition: dict[str, Any] = {}
        if self.listed:
            condition["StringLike"] = {"s3:prefix": self.listed}
        if self.namespace:
            condition["StringEquals"] = {"cloudwatch:namespace": self.namespace}
        return {
            "Sid": self.sid,
            "Effect": "Allow",
            "Action": sorted({permission.action for permission in self.permissions}),
            "Resource": self.resource,
            **({"Condition": condition} if condition else {}),
        }


def partition_of(region: str) -> str:
    """Return the partition of a Region, as ``aws-cn``."""
    return next((name for start, name in _PARTITIONS.items() if region.startswith(start)), "aws")


def known_account(place: Place) -> str | None:
    """Return the account of a place's table where its location or its role tells it.

    Raises:
        UsageError: the role is none; as a resource of a policy it could name more than one.
    """
    role = _role_account(place)
    if place.ref.arn:
        return place.ref.arn.split(":")[4]
    host = _ACCOUNT_HOST.match(place.ref.endpoint_url or "")
    return host[1] if host else role


def _role_account(place: Place) -> str | None:
    if place.role_arn is None:
        return None
    found = _ROLE.fullmatch(place.role_arn)
    if found is None:
        raise UsageError(
            f'"{place.role_arn}" is not a role; it looks like arn:aws:iam::123456789012:role/NAME.'
        )
    return found[1]


@dataclass(frozen=True, slots=True)
class Needs:
    """What a command needs: on its tables, and elsewhere.

    Attributes:
        places: its tables, by the names that its grants call them.
        account: of the tables, where something else than their locations tells it.
    """

    places: Mapping[str, Place]
    grants: Sequence[Grant]
    elsewhere: Sequence[Elsewhere] = ()
    account: str | None = None


def statements(
    grants: Sequence[Grant],
    homes: Mapping[str, Home],
    elsewhere: Sequence[Elsewhere] = (),
    partition: str = "aws",
) -> list[Statement]:
    """Return the statements of all identities that a command acts as, those of the caller first.

    Args:
        grants: what it needs on its tables.
        homes: where these are.
        elsewhere: what it needs on anything else.
        partition: of the buckets that the caller keeps something in.
    """
    made = [*_assumed_roles(homes), *(each for grant in grants for each in _of(grant, homes[grant.table]))]
    made += [each for other in elsewhere for each in _beside(other, homes, partition)]
    return sorted(_distinct(made), key=lambda each: each.identity != CALLER)


def _distinct(made: Iterable[Statement]) -> Iterator[Statement]:
    """Yield each statement once, and number those of one Sid in one policy."""
    contents = set()
    sids: Counter[tuple[str, str]] = Counter()
    for statement in made:
        content = replace(statement, sid="")
        if content in contents:
            continue
        contents.add(content)
        sids[statement.identity, statement.sid] += 1
        number = sids[statement.identity, statement.sid]
        yield statement if number == 1 else replace(statement, sid=f"{statement.sid}{number}")


def _of(grant: Grant, home: Home) -> Iterator[Statement]:
    for on, sid, resource in (
        ("table", f"{grant.purpose}{grant.table.title()}", home.table),
        ("stream", f"{grant.purpose}Stream", f"{home.table}/stream/*"),
        ("global-table", f"{grant.purpose}GlobalTable", home.global_table),
    ):
        permissions = tuple(each for each in grant.permissions if each.on == on)
        if permissions:
            yield Statement(sid, home.identity, permissions, resource)


def _beside(other: Elsewhere, homes: Mapping[str, Home], partition: str) -> Iterator[Statement]:
    home = homes[other.acting] if other.acting else None
    identity = home.identity if home else CALLER
    match other:
        case InCloudWatch(namespace):
            yield Statement("Metrics", identity, (PUT_METRICS,), "*", namespace=namespace)
        case InQueue(queue):
            assert home is not None
            yield Statement("SendDeadLetters", identity, (SEND_MESSAGE,), _queue_arn(queue, home))
        case InS3():
            yield from _kept(other, identity, partition_of(home.region) if home else partition)


def _queue_arn(queue: QueueRef, home: Home) -> str:
    """Return the ARN of a queue; what its URL leaves open follows from who sends to it."""
    from asyncrep.aws.identity import environment_region  # noqa: PLC0415

    region = queue.region or environment_region(home.place.profile)
    account = queue.account or home.caller_account
    return f"arn:{partition_of(region)}:sqs:{region}:{account}:{queue.name}"


def _kept(keeping: InS3, identity: str, partition: str) -> Iterator[Statement]:
    bucket = f"arn:{partition}:s3:::{keeping.place.bucket}"
    under = _literal(keeping.place.under("")) + "*"
    for on, sid, resource, listed in (
        ("objects", f"{keeping.what}Objects", f"{bucket}/{under}", None),
        ("bucket", f"{keeping.what}Names", bucket, None if under == "*" else under),
    ):
        permissions = tuple(each for each in keeping.permissions if each.on == on)
        if permissions:
            yield Statement(sid, identity, permissions, resource, listed)


def _literal(text: str) -> str:
    """Spell text so that nothing in it is a wildcard or a variable to IAM."""
    return re.sub(r"[*?$]", lambda found: f"${{{found[0]}}}", text)


def _assumed_roles(homes: Mapping[str, Home]) -> Iterator[Statement]:
    for table, home in homes.items():
        role = home.place.role_arn
        if role is not None:
            yield Statement(f"Assume{table.title()}Role", home.source, (_ASSUME,), role)


def policies(made: Sequence[Statement]) -> dict[str, dict[str, Any]]:
    """Return the policy of each identity."""
    identities = dict.fromkeys(statement.identity for statement in made)
    return {
        identity: {
            "Version": "2012-10-17",
            "Statement": [each.as_dict() for each in made if each.identity == identity],
        }
        for identity in identities
    }
