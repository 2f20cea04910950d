"""Records that can never be applied are kept whole, where people find them, before they are passed over."""

from __future__ import annotations

import asyncio
import json
import stat

import boto3
import pytest

from asyncrep import LocationError, ServiceError, UsageError, VirtualClock
from asyncrep.aws.queues import QueueRef
from asyncrep.change import Unreadable
from asyncrep.handlers import ReplicaSettings, replicate_handler
from asyncrep.items.keys import KeyReader
from asyncrep.model import KeyAttribute, KeySchema
from asyncrep.replicate.dead_letters import open_dead_letters, parse_dead_letters
from asyncrep.replicate.records import read_decoded_record
from tests.support.lambdas import FIRST, INVALID, SUCCESS, Context, event, failed_from, put
from tests.support.scenario import REPLICA, item

REGION = "us-east-1"
RECORD = put({**item("a"), "n": INVALID, "odd": {"S": "line\nend \u2028 \ufffe \x01"}}, 3)


def change():
    return read_decoded_record(RECORD, KeyReader(KeySchema(KeyAttribute("id", "S"), None)))


async def keep(place, record=None, **options):
    async with open_dead_letters(place, clock=VirtualClock(), **options) as letters:
        await letters.keep(record or change(), destination="eu-west-1/orders", reason="It is invalid.")
        return letters.place


@pytest.fixture
def queue(moto_url):
    """The URL of a queue, and what makes its messages known."""
    client = boto3.client("sqs", region_name=REGION, endpoint_url=moto_url)

    class Queue:
        def make(self, name, **attributes):
            self.url = client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
            return self.url

        def messages(self):
            answer = client.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10)
            return [json.loads(message["Body"]) for message in answer.get("Messages", [])]

    made = Queue()
    yield made
    client.delete_queue(QueueUrl=made.url)


@pytest.fixture
def bucket(moto_url, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto_url)
    client = boto3.client("s3", region_name=REGION, endpoint_url=moto_url)
    client.create_bucket(Bucket="letters")
    yield client
    for entry in client.list_objects_v2(Bucket="letters").get("Contents", []):
        client.delete_object(Bucket="letters", Key=entry["Key"])
    client.delete_bucket(Bucket="letters")


def objects(client):
    listed = client.list_objects_v2(Bucket="letters").get("Contents", [])
    return {
        entry["Key"]: json.loads(client.get_object(Bucket="letters", Key=entry["Key"])["Body"].read())
        for entry in listed
    }


# ── Places ──────────────────────────────────────────────────────────────────────────────────────────


async def test_a_file_holds_whole_records_a_line_each_for_its_owner_only(tmp_path):
    path = tmp_path / "new" / "letters.jsonl"
    for _ in range(2):
        assert await keep(str(path), task="orders") == str(path)
    lines = path.read_bytes().split(b"\n")
    assert (len(lines), lines[2]) == (3, b"")
    assert json.loads(lines[0]) == {
        "time": "2023-11-14T22:13:20.000000Z",
        "task": "orders",
        "destination": "eu-west-1/orders",
        "reason": "It is invalid.",
        "record": RECORD,
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_a_line_that_a_full_disk_has_torn_does_not_spoil_the_next(tmp_path):
    path = tmp_path / "letters.jsonl"
    path.write_bytes(b'{"time": "2026')
    await keep(str(path))
    torn, whole, rest = path.read_bytes().split(b"\n")
    assert (torn, json.loads(whole)["record"], rest) == (b'{"time": "2026', RECORD, b"")


async def test_a_file_that_cannot_be_written_is_refused_at_once(tmp_path):
    with pytest.raises(UsageError, match="it is no file"):
        await keep(str(tmp_path))
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="Not a directory"):
        await keep(str(tmp_path / "file" / "letters"))


async def test_a_disk_that_fails_later_is_no_success(tmp_path):
    path = tmp_path / "letters.jsonl"
    async with open_dead_letters(str(path)) as letters:
        path.mkdir()
        with pytest.raises(ServiceError, match="could not be written to"):
            await letters.keep(change(), destination=None, reason="It is invalid.")


async def test_an_object_in_s3_is_named_by_the_sequence_number_and_written_once(bucket):
    for _ in range(2):
        await keep("s3://letters/of/mine", function="replicator")
    [(name, letter)] = objects(bucket).items()
    assert name.startswith(f"of/mine/{FIRST + 3:040}-")
    assert (letter["record"], letter["function"]) == (RECORD, "replicator")


async def test_a_record_without_a_number_has_an_object_of_its_own_too(bucket):
    for number in range(2):
        odd = Unreadable(sequence=None, reason="It is odd.", record=b'{"odd": %d}' % number)
        await keep("s3://letters", odd)
    assert sorted(letter["record"]["odd"] for letter in objects(bucket).values()) == [0, 1]


async def test_a_bucket_that_is_not_there_is_no_success(bucket):
    with pytest.raises(ServiceError, match="no S3 bucket"):
        await keep("s3://no-such-bucket/x")
    assert not objects(bucket)


async def test_a_queue_gets_the_whole_record(queue):
    place = await keep(queue.make("letters"), function="replicator")
    assert place == queue.url
    [letter] = queue.messages()
    assert letter["record"] == RECORD
    assert letter["function"] == "replicator"


async def test_a_fifo_queue_gets_the_same_letter_once(queue):
    url = queue.make("letters.fifo", FifoQueue="true")
    for _ in range(2):
        await keep(url)
    assert len(queue.messages()) == 1


async def test_what_is_too_large_for_any_queue_is_not_sent_in_part(queue):
    url = queue.make("letters")
    large = Unreadable(sequence=1, reason="It is odd.", record=b'{"a": "%b"}' % (b"x" * 1024 * 1024))
    with pytest.raises(ServiceError, match="a queue takes 1,048,576 at most: a place in S3 takes any"):
        await keep(url, large)
    assert not queue.messages()


async def test_what_is_too_large_for_this_queue_is_no_success(queue):
    url = queue.make("letters", MaximumMessageSize="1024")
    large = Unreadable(sequence=1, reason="It is odd.", record=b'{"a": "%b"}' % (b"x" * 2000))
    with pytest.raises(ServiceError, match="SendMessage on"):
        await keep(url, large)
    assert not queue.messages()


async def test_a_queue_that_is_not_there_is_no_success(queue):
    url = queue.make("letters")
    with pytest.raises(ServiceError, match="SendMessage on"):
        await keep(url + "x")


@pytest.mark.parametrize(
    ("url", "region", "endpoint"),
    [
        ("https://sqs.eu-west-1.amazonaws.com/123456789012/q", "eu-west-1", None),
        ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/q.fifo", "cn-north-1", None),
        ("https://eu-west-1.queue.amazonaws.com/123456789012/q", "eu-west-1", None),
        ("https://queue.amazonaws.com/123456789012/q", "us-east-1", None),
        ("http://127.0.0.1:5000/123456789012/q", None, "http://127.0.0.1:5000"),
    ],
)
def test_the_url_of_a_queue_tells_where_it_is(url, region, endpoint):
    assert parse_dead_letters(url) == QueueRef(url, region, endpoint)


@pytest.mark.parametrize(
    "text", ["https://user:pw@sqs.eu-west-1.amazonaws.com/123456789012/q", "http://[", "ftp://x/y", "s3://"]
)
def test_what_is_no_place_is_refused(text):
    with pytest.raises(LocationError) as refused:
        parse_dead_letters(text)
    assert "pw@" not in str(refused.value)


# ── A function's dead letters ───────────────────────────────────────────────────────────────────────


@pytest.fixture
def make(served, container):
    """Make a handler whose dead letters go to moto."""
    replica = served.create_table("orders", REPLICA)

    def make(place):
        settings = ReplicaSettings.from_environment(
            {"ReplicaRegion": REPLICA, "ReplicaEndpoint": served.url, "DeadLetter": place}
        )
        return replicate_handler(settings, container=container), replica

    return make


def test_the_batch_succeeds_once_its_poison_is_in_the_queue(make, queue):
    handler, replica = make(queue.make("letters"))
    odd = put(item("z"), 5) | {"eventName": "EXPLODE"}
    nameless = put(item("y"), 6)
    del nameless["dynamodb"]["SequenceNumber"]
    assert handler(event(put(item("b")), RECORD, odd, nameless, put(item("c"), 7)), Context()) == SUCCESS
    assert set(replica.items) == {"b", "c"}
    kept = queue.messages()
    assert [letter["record"] in (RECORD, odd, nameless) for letter in kept] == [True] * 3
    assert {letter["function"] for letter in kept} == {"replicator"}
    assert all(letter["reason"] for letter in kept)


def test_poison_that_cannot_be_kept_has_to_come_again(make, queue, caplog):
    handler, replica = make(queue.make("letters") + "-gone")
    assert handler(event(put(item("b")), RECORD, put(item("c"), 7)), Context()) == failed_from(3)
    assert set(replica.items) == {"b", "c"}
    assert "could not be put aside" in caplog.text


def test_half_a_surrogate_pair_is_kept_as_it_can_be_written(make, bucket):
    handler, _ = make("s3://letters/x")
    broken = put(item("a"), 1)
    broken["dynamodb"]["NewImage"]["odd"] = {"S": "\ud800"}
    assert handler(event(broken), Context()) == SUCCESS
    [letter] = objects(bucket).values()
    assert letter["record"] == broken


async def test_letters_side_by_side_all_arrive(bucket):
    async with open_dead_letters("s3://letters/many") as letters, asyncio.TaskGroup() as group:
        for number in range(40):
            odd = Unreadable(sequence=number, reason="It is odd.", record=b"{}")
            group.create_task(letters.keep(odd, destination=None, reason=odd.reason))
    assert len(objects(bucket)) == 40
