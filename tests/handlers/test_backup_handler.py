"""A function keeps every change that streams tell of in S3, and says which records have to come again."""

from __future__ import annotations

import json
import logging

import pytest

from asyncrep import TableNotFoundError, UsageError
from asyncrep.errors import BucketNotFoundError
from asyncrep.handlers import BackupSettings, backup_handler
from asyncrep.handlers.stream import NothingAppliedError
from asyncrep.items.incremental import object_name
from tests.support import engines
from tests.support.buckets import GONE, bucket_on
from tests.support.lambdas import SUCCESS, Context, event, failed_from, put, remove
from tests.support.scenario import item, key


@pytest.fixture
def bucket(moto_url, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)
    with bucket_on(moto_url) as bucket:
        yield bucket


@pytest.fixture
def engine(moto_url):
    """Where the tables are whose streams come."""
    engine = engines.moto(moto_url)
    yield engine
    engine.delete_tables()


@pytest.fixture
def table(engine):
    return engine.create_table()


@pytest.fixture
def make(bucket, container):
    """Make a handler that writes to the bucket, with these settings besides."""

    def make(**environment):
        base = {"BackupBucket": bucket.name, "BackupPrefix": "incr"}
        return backup_handler(BackupSettings.from_environment(base | environment), container=container)

    return make


def name_of(table, id, prefix="incr/"):
    return f"{prefix}{table}/{object_name(key(id))}"


def test_every_change_is_kept_in_the_folder_of_its_table(make, bucket, table):
    records = [
        put(item("a", n=1), 1, table=table),
        put(item("b"), 2, table=table),
        put(item("a", n=2), 3, table=table, old=item("a", n=1)),
        remove(item("b"), 4, table=table),
    ]
    assert make()(event(*records), Context()) == SUCCESS
    assert bucket.history(name_of(table, "a")) == [item("a", n=1), item("a", n=2)]
    assert bucket.history(name_of(table, "b")) == [item("b"), GONE]


def test_one_function_serves_many_tables_each_with_its_key(make, bucket, engine, table):
    other = engine.create_table(hash=("z", "S"), range=("a", "N"))
    record = put({"id": {"S": "x"}}, 2, table=other)
    image = {"a": {"N": "7"}, "z": {"S": "x"}}  # the record has the range first
    record["dynamodb"] |= {"Keys": image, "NewImage": image}
    assert make()(event(put(item("a"), 1, table=table), record), Context()) == SUCCESS
    assert set(bucket.names()) == {
        name_of(table, "a"),
        f"incr/{other}/" + object_name(b'{"z":{"S":"x"},"a":{"N":"7"}}'),
    }


def test_the_order_of_the_key_can_be_told_and_no_table_is_asked(make, bucket, caplog):
    record = put({"id": {"S": "x"}}, 1, table="is-gone")
    image = {"a": {"N": "7"}, "z": {"B": "AAEC/w=="}}
    record["dynamodb"] |= {"Keys": image, "NewImage": image}
    assert make(BackupKeyOrder="z,a")(event(record), Context()) == SUCCESS
    assert bucket.names() == ["incr/is-gone/" + object_name(b'{"z":{"B":"AAEC/w=="},"a":{"N":"7"}}')]
    with pytest.raises(UsageError, match="BackupKeyOrder is id, sort, and the records have another key"):
        make(BackupKeyOrder="id,sort")(event(record), Context())
    assert json.loads(caplog.messages[-1])["event"] == "failed"


def test_a_table_that_cannot_be_asked_fails_the_function_and_says_what_helps(make, bucket):
    with pytest.raises(TableNotFoundError, match="BackupKeyOrder=HASH,RANGE can tell it instead"):
        make()(event(put(item("a"), table="is-gone")), Context())
    assert bucket.names() == []


def test_a_table_is_asked_once(make, bucket, engine, table):
    handler = make()
    handler(event(put(item("a"), 1, table=table)), Context())
    engine.delete_table(table)
    assert handler(event(put(item("b"), 2, table=table)), Context()) == SUCCESS
    assert len(bucket.names()) == 2


def test_a_batch_that_comes_again_adds_nothing_to_the_history(make, bucket, table, caplog):
    caplog.set_level(logging.INFO, "asyncrep.handlers")
    handler = make()
    records = [put(item("a", n=n), n, table=table) for n in range(5)]
    assert handler(event(*records), Context()) == handler(event(*records), Context()) == SUCCESS
    assert bucket.history(name_of(table, "a")) == [item("a", n=n) for n in range(5)]
    first, second = map(json.loads, caplog.messages)
    assert (first["event"], first["written"], first["squashed"], first["superseded"]) == (
        "backed up",
        5,
        0,
        0,
    )
    assert (second["written"], second["superseded"]) == (0, 5)


def test_without_a_prefix_the_folder_is_at_the_top(make, bucket, table):
    assert make(BackupPrefix="/")(event(put(item("a"), table=table)), Context()) == SUCCESS
    assert bucket.names() == [name_of(table, "a", prefix="")]


def test_poison_has_to_come_again_without_a_place_for_it_and_its_neighbours_are_kept(make, bucket, table):
    records = [put(item(f"k{n}"), n, table=table) for n in range(4)]
    del records[2]["dynamodb"]["NewImage"]
    assert make()(event(*records), Context()) == failed_from(2)
    assert len(bucket.names()) == 3


def test_poison_is_put_aside_where_there_is_a_place(make, bucket, table):
    record = put(item("a"), 1, table=table)
    del record["dynamodb"]["NewImage"]
    handler = make(DeadLetter=f"s3://{bucket.name}/letters")
    assert handler(event(record, put(item("b"), 2, table=table)), Context()) == SUCCESS
    [letter] = [name for name in bucket.names() if name.startswith("letters/")]
    kept = json.loads(bucket.body(letter))
    assert (kept["destination"], kept["record"]) == (f"s3://{bucket.name}/incr/{table}", record)


def test_a_bucket_that_is_not_there_fails_the_function(make, table, caplog):
    with pytest.raises(BucketNotFoundError):
        make(BackupBucket="no-such-bucket-here")(event(remove(item("a"), table=table)), Context())
    assert json.loads(caplog.messages[-1])["event"] == "failed"


def test_a_record_that_names_no_table_cannot_be_kept(make):
    record = put(item("a"))
    del record["eventSourceARN"]
    with pytest.raises(UsageError, match="does not name its stream"):
        make()(event(record), Context())


def test_a_record_without_a_number_fails_the_batch(make, bucket, table):
    record = put(item("a"), table=table)
    del record["dynamodb"]["SequenceNumber"]
    with pytest.raises(NothingAppliedError, match="no sequence number"):
        make()(event(record, put(item("b"), 1, table=table)), Context())
    assert bucket.names() == [name_of(table, "b")]


def test_a_turnover_is_taken_by_one_side_only(make, bucket, table):
    at = str(int(1777593600.0 * 1000))
    record = put(item("a"), table=table)
    assert make(TurnoverRole="BEFORE", TurnoverAt=at)(event(record), Context()) == SUCCESS
    assert bucket.names() == []
    assert make(TurnoverRole="AFTER", TurnoverAt=at)(event(record), Context()) == SUCCESS
    assert bucket.names() == [name_of(table, "a")]


def test_when_the_time_is_up_the_rest_has_to_come_again(make, bucket, table):
    assert make()(event(put(item("a"), 3, table=table)), Context(seconds=0.0)) == failed_from(3)
    assert bucket.names() == []


@pytest.mark.parametrize("nothing", [{}, {"Records": []}, None])
def test_an_event_without_records_is_a_success(make, nothing):
    assert make()(nothing, Context()) == SUCCESS


def test_records_with_another_key_are_refused_and_the_table_is_asked_anew(make, bucket, table):
    handler = make()
    handler(event(put(item("a"), 1, table=table)), Context())
    odd = put(item("a"), 2, table=table)
    odd["dynamodb"]["Keys"] = {"other": {"S": "a"}}
    with pytest.raises(UsageError, match=r"has the key id \(S\), and the records have another: other"):
        handler(event(odd), Context())
    assert handler(event(put(item("a", n=2), 3, table=table)), Context()) == SUCCESS
    assert len(bucket.history(name_of(table, "a"))) == 2
