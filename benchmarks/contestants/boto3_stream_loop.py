"""The loops people write to follow a stream with boto3: a put_item or delete_item for each record, or batch_writer.

Shard after shard and page after page. The first is the body of most handlers and workers there are; it hands
on what it reads as it is. The second is as quick as the documented helpers of boto3 get: batch_writer, which
needs values of Python, and keeps the last of several changes of an item within a batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
from boto3.dynamodb.types import TypeDeserializer

from benchmarks.contestants import contest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Records = Sequence[Mapping[str, Any]]


def pages(url: str) -> Iterator[Records]:
    """Records of the primary's stream, a page at a time."""
    client = boto3.client("dynamodbstreams", endpoint_url=url, **contest.CREDENTIALS)
    table = boto3.client("dynamodb", endpoint_url=url, **contest.CREDENTIALS).describe_table(
        TableName="primary"
    )
    arn = table["Table"]["LatestStreamArn"]
    for shard in client.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
        iterator = client.get_shard_iterator(
            StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        ).get("ShardIterator")
        while iterator:
            page = client.get_records(ShardIterator=iterator, Limit=1000)
            yield page["Records"]
            iterator = page.get("NextShardIterator")


def one_by_one(url: str) -> Callable[[Records], None]:
    """Writes each record by itself."""
    client = boto3.client("dynamodb", endpoint_url=url, **contest.CREDENTIALS)

    def apply(records: Records) -> None:
        for record in records:
            change = record["dynamodb"]
            if record["eventName"] == "REMOVE":
                client.delete_item(TableName="copy", Key=change["Keys"])
            else:
                client.put_item(TableName="copy", Item=change["NewImage"])

    return apply


def in_batches(url: str) -> Callable[[Records], None]:
    """Writes 25 at once."""
    table = boto3.resource("dynamodb", endpoint_url=url, **contest.CREDENTIALS).Table("copy")
    deserialize = TypeDeserializer().deserialize

    def plain(image: Mapping[str, Any]) -> dict[str, Any]:
        return {name: deserialize(value) for name, value in image.items()}

    def apply(records: Records) -> None:
        with table.batch_writer(overwrite_by_pkeys=["id"]) as batch:
            for record in records:
                change = record["dynamodb"]
                if record["eventName"] == "REMOVE":
                    batch.delete_item(Key=plain(change["Keys"]))
                else:
                    batch.put_item(Item=plain(change["NewImage"]))

    return apply


def main() -> None:
    parser = contest.arguments(__doc__)
    parser.add_argument("--batches", action="store_true")
    options = parser.parse_args()
    apply = in_batches(options.url) if options.batches else one_by_one(options.url)
    read = 0
    for records in pages(options.url):
        apply(records)
        read += len(records)
    contest.finished(read)


if __name__ == "__main__":
    main()
