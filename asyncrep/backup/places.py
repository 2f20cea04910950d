"""Opens where backups are kept: a place in S3, or a local folder."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from asyncrep.backup.local import LocalFolder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import aioboto3

    from asyncrep.flow.clock import Clock
    from asyncrep.location import S3Place
    from asyncrep.options import S3Access
    from asyncrep.storage import Storage


@asynccontextmanager
async def open_storage(
    place: Path | S3Place,
    access: S3Access | None = None,
    *,
    session: aioboto3.Session | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Storage]:
    """Open a place; nothing is asked or made yet.

    Args:
        place: where the objects are; ``asyncrep.location.parse_storage`` reads what people write.
        access: how S3 is reached; by default as the environment says.
        session: an aioboto3 session of the caller's, instead of the profile of ``access``.
        clock: where time comes from.

    Raises:
        UsageError: the role or the endpoint is malformed.
        CredentialsError: the profile does not exist, or the role cannot be assumed.
    """
    if isinstance(place, Path):
        yield LocalFolder(place)
        return
    from asyncrep.aws.objects import open_objects  # noqa: PLC0415 - a folder needs no S3

    async with open_objects(place, access=access, session=session, clock=clock) as objects:
        yield objects
