"""Opens clients of S3, SQS and CloudWatch, and a resource of DynamoDB: botocore's own, which make a single attempt."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from asyncrep.aws.session import MOST_CONNECTIONS, Means, opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import aioboto3
    from types_aiobotocore_cloudwatch import CloudWatchClient
    from types_aiobotocore_dynamodb import DynamoDBServiceResource
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_sqs import SQSClient

    from asyncrep.location import TableRef
    from asyncrep.options import S3Access


@asynccontextmanager
async def open_s3_client(
    place: str, access: S3Access, *, session: aioboto3.Session | None = None
) -> AsyncIterator[S3Client]:
    """Open an S3 client, with the same means as ``open_client``; botocore finds the bucket's Region.

    Args:
        place: what is opened, for messages.
        access: with which profile, role, endpoint and Region.
        session: the caller's session, instead of a profile.

    Raises:
        UsageError: the role or the endpoint is malformed.
        CredentialsError: the profile does not exist, or the role cannot be assumed.
    """
    endpoint = access.endpoint_url
    elsewhere = endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    settings = {
        "max_pool_connections": MOST_CONNECTIONS,
        # BUCKET.localhost is a name that not every system knows.
        "s3": {"addressing_style": "path"} if elsewhere else None,
    }
    means = Means(session, access.profile, access.role_arn)
    async with opened("s3", place, means, access.region, endpoint, settings) as client:
        yield client


@asynccontextmanager
async def open_cloudwatch_client(
    place: str,
    *,
    region: str | None = None,
    session: aioboto3.Session | None = None,
    endpoint_url: str | None = None,
    profile: str | None = None,
    role_arn: str | None = None,
) -> AsyncIterator[CloudWatchClient]:
    """Open a CloudWatch client, with the same means as ``open_client``; it waits for an answer only shortly.

    Args:
        place: what is opened, for messages.
        region: where the metrics are kept; by default the session's Region.
        session: the caller's session.
        endpoint_url: another endpoint than the Region's or the environment's.
        profile: a profile of the AWS config files, instead of ``session``.
        role_arn: a role to assume with those credentials.

    Raises:
        UsageError: the role or the endpoint is malformed.
        CredentialsError: the profile does not exist, or the role cannot be assumed.
    """
    means = Means(session, profile, role_arn)
    settings = {"connect_timeout": 3.0, "read_timeout": 5.0}
    async with opened("cloudwatch", place, means, region, endpoint_url, settings) as client:
        yield client


@asynccontextmanager
async def open_sqs_client(
    place: str,
    *,
    region: str | None = None,
    endpoint_url: str | None = None,
    session: aioboto3.Session | None = None,
    profile: str | None = None,
    role_arn: str | None = None,
) -> AsyncIterator[SQSClient]:
    """Open an SQS client, with the same means as ``open_client``.

    Args:
        place: the queue, for messages.
        region: the queue's Region; by default the environment's.
        endpoint_url: another endpoint than the Region's or the environment's.
        session: the caller's session.
        profile: a profile of the AWS config files, instead of ``session``.
        role_arn: a role to assume with those credentials.

    Raises:
        UsageError: the role or the endpoint is malformed.
        CredentialsError: the profile does not exist, or the role cannot be assumed.
    """
    means = Means(session, profile, role_arn)
    async with opened("sqs", place, means, region, endpoint_url, {}) as client:
        yield client


@asynccontextmanager
async def open_resource(
    ref: TableRef, *, session: aioboto3.Session | None = None, role_arn: str | None = None
) -> AsyncIterator[DynamoDBServiceResource]:
    """Open aioboto3's DynamoDB resource, whose calls take and return values of Python.

    Args:
        ref: where the table is that it is opened for.
        session: the caller's session.
        role_arn: a role to assume with its credentials.

    Raises:
        UsageError: the role or the endpoint is malformed.
        CredentialsError: there are no credentials, or the role cannot be assumed.
    """
    means = Means(session, None, role_arn)
    settings = {"max_pool_connections": MOST_CONNECTIONS}
    async with opened(
        "dynamodb", str(ref), means, ref.region, ref.endpoint_url, settings, kind="resource"
    ) as resource:
        yield resource
