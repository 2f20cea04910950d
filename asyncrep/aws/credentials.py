"""Sessions of our own: of a profile, of keys, of an assumed role. They read what botocore knows of AWS once."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from asyncrep.errors import CredentialsError, UsageError

if TYPE_CHECKING:
    import aioboto3
    from aiobotocore.session import AioSession
    from botocore.loaders import Loader

_ROLE_ARN = re.compile(r"arn:(?:aws|aws-[a-z-]+):iam::[0-9]{12}:role/\S+")


@cache
def _loader(data_path: str | None) -> Loader:
    """Return what reads the models of services and their endpoints from files, and keeps them.

    Each session of botocore's has one of its own, and reading takes 70 of the 75 ms of CPU in which a client is made.
    """
    from botocore.loaders import create_loader  # noqa: PLC0415

    return create_loader(data_path)


def _core(profile: str | None = None) -> AioSession:
    from aiobotocore.session import get_session  # noqa: PLC0415 - takes longer to import than a whole --help may

    core = get_session()
    if profile is not None:
        core.set_config_variable("profile", profile)
    return core


def _session(core: AioSession, **keys: str) -> aioboto3.Session:
    """Return a session on top of aiobotocore's, which shares what all of ours have read."""
    import aioboto3  # noqa: PLC0415

    loader = _loader(core.get_config_variable("data_path"))
    core.register_component("data_loader", loader)
    session = aioboto3.Session(botocore_session=core, **keys)
    loader.search_paths[:] = dict.fromkeys(loader.search_paths)  # each session has added boto3's once more
    return session


def session_of_profile(profile: str | None) -> aioboto3.Session:
    """Return a session of a profile of the AWS config files, or else of the environment.

    Raises:
        botocore.exceptions.ProfileNotFound: there is no such profile.
    """
    return _session(_core(profile))


def session_of_keys(access_key_id: str, secret_access_key: str) -> aioboto3.Session:
    """Return a session with a user's own keys, whatever the environment holds."""
    return _session(_core(), aws_access_key_id=access_key_id, aws_secret_access_key=secret_access_key)


def check_role(role_arn: str) -> None:
    """Refuse what is not the ARN of a role.

    Raises:
        UsageError: with how it looks.
    """
    if not _ROLE_ARN.fullmatch(role_arn):
        raise UsageError(f'"{role_arn}" is not a role; it looks like arn:aws:iam::123456789012:role/NAME.')


async def assume_role(base: aioboto3.Session, role_arn: str, region: str) -> aioboto3.Session:
    """Return a session that acts as ``role_arn`` and renews its credentials before they expire.

    Raises:
        CredentialsError: there are no credentials to assume it with.
    """
    from aiobotocore.credentials import (  # noqa: PLC0415
        AioAssumeRoleCredentialFetcher,
        AioDeferredRefreshableCredentials,
    )

    def make_client(service: str, **credentials: Any) -> Any:
        return base.client(service, region_name=region, **credentials)

    source = await base.get_credentials()
    if source is None:
        raise CredentialsError(f"There are no AWS credentials with which to assume {role_arn}.")
    fetcher = AioAssumeRoleCredentialFetcher(
        client_creator=make_client,
        source_credentials=source,
        role_arn=role_arn,
        extra_args={"RoleSessionName": "asyncrep"},
    )
    credentials = AioDeferredRefreshableCredentials(
        method="assume-role", refresh_using=fetcher.fetch_credentials
    )
    await credentials.get_frozen_credentials()
    profile = base.profile_name  # it may also hold FIPS, proxy, CA and endpoint settings
    core = _core(None if profile == "default" else profile)
    core.register_component("credential_provider", _Fixed(credentials))
    return _session(core)


class _Fixed:
    """A credential provider that always provides the same, self-renewing credentials."""

    def __init__(self, credentials: Any) -> None:
        self._credentials = credentials

    async def load_credentials(self) -> Any:
        return self._credentials
