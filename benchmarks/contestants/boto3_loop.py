"""The loop people write: a boto3 table resource, page after page, 100 keys at a time, dicts compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3

from benchmarks.contestants import contest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_BATCH_KEYS = 100


def pages(table: Any) -> Iterator[Sequence[Mapping[str, Any]]]:
    """Items of a table, a page at a time."""
    page = table.scan()
    yield page["Items"]
    while "LastEvaluatedKey" in page:
        page = table.scan(ExclusiveStartKey=page["LastEvaluatedKey"])
        yield page["Items"]


def batch_get(resource: Any, table: str, keys: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Items of up to 100 keys, unprocessed ones asked for again."""
    wanted: Any = {table: {"Keys": keys}}
    while wanted:
        answer = resource.batch_get_item(RequestItems=wanted)
        yield from answer["Responses"].get(table, ())
        wanted = answer["UnprocessedKeys"]


def main() -> None:
    options = contest.arguments(__doc__).parse_args()
    resource = boto3.resource("dynamodb", endpoint_url=options.url, **contest.CREDENTIALS)
    table = resource.Table("primary")
    names = [element["AttributeName"] for element in table.key_schema]
    compared = missing = different = 0
    for page in pages(table):
        for start in range(0, len(page), _BATCH_KEYS):
            batch = page[start : start + _BATCH_KEYS]
            keys = [{name: item[name] for name in names} for item in batch]
            replicas = {
                tuple(item[name] for name in names): item for item in batch_get(resource, "replica", keys)
            }
            for item in batch:
                replica = replicas.get(tuple(item[name] for name in names))
                compared += 1
                missing += replica is None
                different += replica is not None and replica != item
    contest.finished(compared, missing=missing, different=different)


if __name__ == "__main__":
    main()
