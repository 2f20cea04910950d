"""How a command reaches S3: the options that every command has that reads or writes something there."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated

import typer

from asyncrep.errors import UsageError
from asyncrep.location import S3Place, parse_storage
from asyncrep.options import S3Access

if TYPE_CHECKING:
    from pathlib import Path

S3 = "S3"
"""The heading of these options in a command's help."""


@dataclass(frozen=True, slots=True)
class S3Options:
    """How S3 is reached, and how what is put there is encrypted."""

    s3_endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="Endpoint of S3.", rich_help_panel=S3)
    ] = None
    s3_profile: Annotated[
        str | None, typer.Option(metavar="NAME", help="AWS profile for S3.", rich_help_panel=S3)
    ] = None
    s3_role_arn: Annotated[
        str | None, typer.Option(metavar="ARN", help="Role to assume for S3.", rich_help_panel=S3)
    ] = None
    s3_region: Annotated[
        str | None, typer.Option(metavar="REGION", help="Region of the bucket.", rich_help_panel=S3)
    ] = None
    kms_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="KMS key that encrypts what is put: its id, alias/NAME or ARN. [dim]Default: as the bucket says.[/dim]",
            rich_help_panel=S3,
        ),
    ] = None
    bucket_owner: Annotated[
        str | None,
        typer.Option(metavar="ACCOUNT", help="Account that must own the bucket.", rich_help_panel=S3),
    ] = None

    def check_used(self, *places: str | Path | S3Place | None) -> None:
        """Refuse these options when nothing is in S3: whoever gives them expects an effect.

        Args:
            *places: all that the command reads or writes, as far as it is given.

        Raises:
            UsageError: with one of the options.
            LocationError: one of the places is none.
        """
        given = [_OPTIONS[each.name] for each in fields(self) if getattr(self, each.name) is not None]
        if given and not any(_is_in_s3(place) for place in places):
            raise UsageError(f"{given[0]} has an effect only on what is kept in S3, and nothing is.")

    def access(self, profile: str | None = None, role_arn: str | None = None) -> S3Access:
        """Return how S3 is reached.

        Args:
            profile: the table's profile, which counts for S3 as well unless S3 has a profile or role of its own.
            role_arn: the table's role, likewise.

        Raises:
            UsageError: one of the options has no possible form.
        """
        if self.s3_profile is not None or self.s3_role_arn is not None:
            profile, role_arn = self.s3_profile, self.s3_role_arn
        return S3Access(
            profile=profile,
            role_arn=role_arn,
            endpoint_url=self.s3_endpoint,
            region=self.s3_region,
            kms_key=self.kms_key,
            bucket_owner=self.bucket_owner,
        )


_OPTIONS = {each.name: f"--{each.name.replace('_', '-')}" for each in fields(S3Options)}


def _is_in_s3(place: str | Path | S3Place | None) -> bool:
    if isinstance(place, str):
        place = parse_storage(place)
    return isinstance(place, S3Place)


def s3_arguments(access: S3Access | None) -> list[str]:
    """Return the options that reach S3 in this way again, for a command that is shown to people."""
    if access is None:
        return []
    options = {
        "--s3-endpoint": access.endpoint_url,
        "--s3-profile": access.profile,
        "--s3-role-arn": access.role_arn,
        "--s3-region": access.region,
        "--kms-key": access.kms_key,
        "--bucket-owner": access.bucket_owner,
    }
    return [word for option, value in options.items() if value is not None for word in (option, value)]
