"""What a worker tells and a lease table holds, for what shows it."""

from __future__ import annotations

from asyncrep.aws.lease import Lease
from asyncrep.change import Change, ChangeKind
from asyncrep.replicate.events import ShardFigures, WorkerFigures

SECRET = "item-value-of-no-one-else's-business"
"""What stands in the images of all changes."""


def shard_id(number: int) -> str:
    """An id as DynamoDB makes them."""
    return f"shardId-{1_414_576_573_621 + number:020d}-{number:08x}"


def change(number: int, key: bytes | None = None) -> Change:
    """A change of an item with values that are nobody's business."""
    image = b'{"id":{"S":"a"},"v":{"S":"' + SECRET.encode() + b'"}}'
    return Change(
        key=key or b'{"id":{"S":"order-%d"}}' % number,
        kind=ChangeKind.MODIFY,
        sequence=111_000_000_000_000_000_000_000 + number,
        old=image,
        new=image,
        record=image,
    )


def lease(number: int, owner: str | None = None, checkpoint: str = "TRIM_HORIZON", **more: object) -> Lease:
    """The lease of a shard."""
    return Lease(key=shard_id(number), owner=owner, checkpoint=checkpoint, **more)  # type: ignore[arg-type]


def reading(*shards: ShardFigures) -> WorkerFigures:
    """The figures of a worker that has these shards."""
    return WorkerFigures(
        read=sum(shard.records for shard in shards), shards={shard.shard: shard for shard in shards}
    )
