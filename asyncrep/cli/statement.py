"""One statement of an IAM policy, and what the ARNs in it are made of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from asyncrep.cli.permissions import Permission
from asyncrep.errors import UsageError

CALLER = "default credentials"
"""The identity of a command that is told of no profile and no role."""

ACCOUNT = re.compile(r"[0-9]{12}")
_ROLE = re.compile(r"arn:(?:aws|aws-[a-z-]+):iam::([0-9]{12}):role/[A-Za-z0-9_+=,.@/-]+")
_PARTITIONS = {
    "cn-": "aws-cn",
    "us-gov-": "aws-us-gov",
    "us-iso-": "aws-iso",
    "us-isob-": "aws-iso-b",
    "eu-isoe-": "aws-iso-e",
    "us-isof-": "aws-iso-f",
    "eusc-": "aws-eusc",
}
ASSUME = Permission("sts:AssumeRole", "Acts as the role that the command line names.")


class Condition(NamedTuple):
    """On which condition a statement holds."""

    operator: str
    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a policy.

    Attributes:
        identity: whose policy it belongs to.
        resource: on what; several where they are one thing to a person.
        condition: on top of that, as IAM reads it: an operator, a condition key and its values.
    """

    sid: str
    identity: str
    permissions: tuple[Permission, ...]
    resource: str | tuple[str, ...]
    condition: Condition | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as IAM reads it."""
        condition = self.condition
        return {
            "Sid": self.sid,
            "Effect": "Allow",
            "Action": sorted({permission.action for permission in self.permissions}),
            "Resource": _one_or_list(self.resource),
            **(
                {"Condition": {condition.operator: {condition.key: _one_or_list(condition.values)}}}
                if condition
                else {}
            ),
        }


def _one_or_list(values: str | tuple[str, ...]) -> str | list[str]:
    if isinstance(values, str):
        return values
    return values[0] if len(values) == 1 else list(values)


def partition_of(region: str) -> str:
    """Return the partition of a Region, as ``aws-cn``."""
    return next((name for start, name in _PARTITIONS.items() if region.startswith(start)), "aws")


def role_account(role_arn: str | None) -> str | None:
    """Return the account of a role; None for no role.

    Raises:
        UsageError: it is none; as a resource of a policy it could name more than one.
    """
    if role_arn is None:
        return None
    found = _ROLE.fullmatch(role_arn)
    if found is None:
        raise UsageError(f'"{role_arn}" is not a role; it looks like arn:aws:iam::123456789012:role/NAME.')
    return found[1]
