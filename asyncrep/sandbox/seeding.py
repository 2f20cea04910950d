"""Fills the embedded AWS: the table `airports` in one region, its drifted replica in another, and an empty bucket."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from asyncrep.errors import UsageError
from asyncrep.sandbox.airports import DEFAULT_COUNT, HASH_KEY, RANGE_KEY, Item, select
from asyncrep.sandbox.drift import Drift, drift
from asyncrep.sandbox.server import ACCESS_KEY, INSTALL_DEMO, PRIMARY_REGION, REPLICA_REGION, EmbeddedAws

TABLE = "airports"
BUCKET = "sandbox"
# The most BatchWriteItem takes; moto would take more, DynamoDB does not.
BATCH = 25


@dataclass(frozen=True, slots=True)
class Seeded:
    """What was put where."""

    primary: str
    replica: str
    items: int
    """How many items the primary holds."""
    drift: Drift
    bucket: str = BUCKET
    """A bucket that keeps versions, in the primary's region."""


def seed(aws: EmbeddedAws, *, airports: int | None = None) -> Seeded:
    """Create both tables, with streams, and load them; and a bucket that keeps versions.

    Args:
        aws: a running embedded AWS, in which there are no such tables yet.
        airports: how many the primary shall hold, at least 200; 4,000 when not given.

    Raises:
        UsageError: too many or too few airports, or the extra `demo` is not installed.
    """
    chosen = select(DEFAULT_COUNT if airports is None else airports)
    drifted = drift(chosen.items, chosen.others)
    for region, items in ((PRIMARY_REGION, chosen.items), (REPLICA_REGION, drifted.replica_items)):
        client = _client(aws, region)
        try:
            _create_table(client)
            _load(client, items)
        finally:
            client.close()
    _create_bucket(aws)
    return Seeded(f"{PRIMARY_REGION}/{TABLE}", f"{REPLICA_REGION}/{TABLE}", len(chosen.items), drifted)


def _create_bucket(aws: EmbeddedAws) -> None:
    client = _client(aws, PRIMARY_REGION, "s3")
    try:
        client.create_bucket(Bucket=BUCKET)
        client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    finally:
        client.close()


def _client(aws: EmbeddedAws, region: str, service: str = "dynamodb") -> Any:
    """A client for this server whatever the machine's AWS settings: profile, endpoints and proxies."""
    try:
        import boto3  # noqa: PLC0415 - slow to import, and only wanted here
        import botocore.session  # noqa: PLC0415
        from botocore.config import Config  # noqa: PLC0415
    except ImportError as error:
        raise UsageError(INSTALL_DEMO) from error
    # An AWS_PROFILE that does not exist fails even where no profile is needed.
    no_profile = botocore.session.Session(session_vars={"profile": (None, None, None, None)})
    return boto3.session.Session(botocore_session=no_profile).client(
        service,
        region_name=region,
        endpoint_url=aws.endpoint_url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=ACCESS_KEY,
        # The items are right by construction; checking their shape again doubles the time.
        config=Config(parameter_validation=False, proxies={}),
    )


def _create_table(client: Any) -> None:
    client.create_table(
        TableName=TABLE,
        KeySchema=[
            {"AttributeName": HASH_KEY, "KeyType": "HASH"},
            {"AttributeName": RANGE_KEY, "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": HASH_KEY, "AttributeType": "S"},
            {"AttributeName": RANGE_KEY, "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )


def _load(client: Any, items: Sequence[Item]) -> None:
    """Write all items, batch by batch; what a batch leaves unprocessed goes with the next."""
    waiting = list(items)
    while waiting:
        batch, waiting = waiting[:BATCH], waiting[BATCH:]
        response = client.batch_write_item(
            RequestItems={TABLE: [{"PutRequest": {"Item": item}} for item in batch]}
        )
        left_over = response.get("UnprocessedItems", {}).get(TABLE, [])
        waiting.extend(request["PutRequest"]["Item"] for request in left_over)
