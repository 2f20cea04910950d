"""The canned stream is one that a table could have had, and is read as what it says it is."""

import msgspec
import pytest

from asyncrep.change import Change, ChangeKind
from asyncrep.items.keys import KeyReader
from asyncrep.model import KeyAttribute, KeySchema
from asyncrep.replicate.facts import version_in
from asyncrep.replicate.records import read_record
from benchmarks.items import wire_size
from benchmarks.stream import VERSION, Stream

KEYS = KeyReader(KeySchema(KeyAttribute("id", "S")))
SHARDS = 3


def pages(stream: Stream, shard: int, limit: int = 1000) -> list[list[Change]]:
    read, place = [], 0
    while not stream.is_end(place):
        page = stream.page(shard, place, limit)
        raws = msgspec.json.decode(b"[%b]" % page.encoded, type=list[msgspec.Raw])
        changes = [read_record(raw, KEYS) for raw in raws]
        read.append([change for change in changes if isinstance(change, Change)])
        assert len(read[-1]) == page.records == page.behind - place
        place = page.behind
    return read


@pytest.mark.parametrize("repeats", [True, False])
def test_its_counts_are_those_of_its_records_and_of_their_last_states_page_by_page(repeats):
    stream = Stream(6_000, SHARDS, repeats=repeats)
    read = [page for shard in range(SHARDS) for page in pages(stream, shard)]
    assert sum(map(len, read)) == stream.counts["records"] == 6_000
    assert sum(len({change.key for change in page}) for page in read) == stream.counts["items"]
    assert stream.counts["items"] == (5_400 if repeats else 6_000)


@pytest.mark.parametrize("limit", [1000, 7])
def test_each_change_goes_on_from_the_one_before_and_versions_only_grow(limit):
    stream = Stream(600, SHARDS, repeats=True)
    images: dict[bytes, bytes | None] = {}
    for shard in range(SHARDS):
        changes = [change for page in pages(stream, shard, limit) for change in page]
        first, last = stream.ends(shard)
        assert [change.sequence for change in changes] == list(range(first, last + 1))
        for change in changes:
            assert images.get(change.key, change.old) == change.old
            assert (change.old is None) is (change.kind is ChangeKind.INSERT)
            assert (change.new is None) is (change.kind is ChangeKind.REMOVE)
            if change.old is not None and change.new is not None:
                before, after = version_in(change.old, VERSION), version_in(change.new, VERSION)
                assert before is not None
                assert after is not None
                assert after.rank > before.rank
            images[change.key] = change.new


def test_sizes_are_as_dynamodb_counts_them():
    stream = Stream(30, SHARDS, repeats=True)
    for raw in msgspec.json.decode(b"[%b]" % stream.page(0, 0, 10).encoded):
        record = raw["dynamodb"]
        images = (record.get(name, {}) for name in ("Keys", "NewImage", "OldImage"))
        assert record["SizeBytes"] == sum(map(wire_size, images))
