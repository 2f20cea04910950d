"""IAM policies: turns what a command needs into statements on exact ARNs, one policy for each identity."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from asyncrep.cli.permissions import PUT_METRICS, SEND_MESSAGE, InCloudWatch, InQueue, InS3
from asyncrep.cli.statement import ASSUME, CALLER, Condition, Statement, partition_of, role_account
from asyncrep.cli.storage_policy import identity_of, in_s3

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from asyncrep.aws.place import Place
    from asyncrep.aws.queues import QueueRef
    from asyncrep.cli.permissions import Elsewhere, Grant

_ACCOUNT_HOST = re.compile(r"https://([0-9]{12})\.ddb\.")


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
        return role_account(self.place.role_arn) or self.account

    @property
    def source(self) -> str:
        """The identity that the command begins with."""
        return f"profile {self.place.profile}" if self.place.profile else CALLER

    @property
    def identity(self) -> str:
        """The identity that calls the table."""
        return self.place.role_arn or self.source


def known_account(place: Place) -> str | None:
    """Return the account of a place's table where its location or its role tells it.

    Raises:
        UsageError: the role is none; as a resource of a policy it could name more than one.
    """
    role = role_account(place.role_arn)
    if place.ref.arn:
        return place.ref.arn.split(":")[4]
    host = _ACCOUNT_HOST.match(place.ref.endpoint_url or "")
    return host[1] if host else role


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
    account: str | None = None,
) -> list[Statement]:
    """Return the statements of all identities that a command acts as, those of the caller first.

    Args:
        grants: what it needs on its tables.
        homes: where these are.
        elsewhere: what it needs on anything else.
        partition: of the buckets that the caller keeps something in.
        account: of what nothing else tells the account of.

    Raises:
        UsageError: the account of a KMS key is not known.
    """
    made = [*_assumed_roles(homes), *(each for grant in grants for each in _of(grant, homes[grant.table]))]
    made += [each for other in elsewhere for each in _beside(other, homes, partition, account)]
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


def _beside(
    other: Elsewhere, homes: Mapping[str, Home], partition: str, account: str | None
) -> Iterator[Statement]:
    home = homes[other.acting] if other.acting else None
    match other:
        case InCloudWatch(namespace, _, access):
            identity = home.identity if home else identity_of(access)
            condition = Condition("StringEquals", "cloudwatch:namespace", (namespace,))
            yield Statement("Metrics", identity, (PUT_METRICS,), "*", condition)
        case InQueue(queue):
            assert home is not None
            yield Statement("SendDeadLetters", home.identity, (SEND_MESSAGE,), _queue_arn(queue, home))
        case InS3():
            yield from in_s3(other, home, partition, account)


def _queue_arn(queue: QueueRef, home: Home) -> str:
    """Return the ARN of a queue; what its URL leaves open follows from who sends to it."""
    from asyncrep.aws.identity import environment_region  # noqa: PLC0415

    region = queue.region or environment_region(home.place.profile)
    account = queue.account or home.caller_account
    return f"arn:{partition_of(region)}:sqs:{region}:{account}:{queue.name}"


def _assumed_roles(homes: Mapping[str, Home]) -> Iterator[Statement]:
    for table, home in homes.items():
        role = home.place.role_arn
        if role is not None:
            yield Statement(f"Assume{table.title()}Role", home.source, (ASSUME,), role)


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
