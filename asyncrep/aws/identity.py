"""Who a place's calls are made by, and in which Region: what the location of a table may leave open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncrep.aws.credentials import session_of_profile
from asyncrep.aws.errors import raise_translated, translate
from asyncrep.aws.session import DEFAULT_REGION
from asyncrep.errors import CredentialsError

if TYPE_CHECKING:
    from asyncrep.aws.place import Place

_CONNECT_SECONDS = 5.0
_READ_SECONDS = 10.0


def region_of(place: Place) -> str:
    """Return the Region that a place's requests are signed for. Nothing is asked of AWS.

    Raises:
        CredentialsError: the profile does not exist.
    """
    return place.ref.region or _session_region(place.profile, str(place.ref))


def environment_region(profile: str | None = None) -> str:
    """Return the Region that calls are signed for when nothing but the environment or a profile tells one."""
    return _session_region(profile, "the environment")


def _session_region(profile: str | None, label: str) -> str:
    try:
        return session_of_profile(profile).region_name or DEFAULT_REGION
    except Exception as error:  # noqa: BLE001 - translated or raised as it is
        raise_translated(error, "Opening a session", label)


async def ask_account(place: Place) -> str:
    """Return the number of the account that a place's credentials belong to, as STS tells it.

    The one call, GetCallerIdentity, needs no permission.

    Raises:
        CredentialsError: there are no credentials, or STS cannot be asked with them.
    """
    from aiobotocore.config import AioConfig  # noqa: PLC0415 - commands start without the AWS libraries

    config = AioConfig(connect_timeout=_CONNECT_SECONDS, read_timeout=_READ_SECONDS)
    try:
        session = session_of_profile(place.profile)
        async with session.client("sts", region_name=region_of(place), config=config) as client:
            answer = await client.get_caller_identity()
    except Exception as error:
        translated = translate(error, "GetCallerIdentity", str(place.ref))
        if translated is None:
            raise
        raise CredentialsError(str(translated)) from error
    account: str = answer["Account"]
    return account
