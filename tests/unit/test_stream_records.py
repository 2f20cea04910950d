"""Records of a stream are read alike, whoever hands them on, and what is odd about one is said."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asyncrep.change import Change, ChangeKind, Unreadable
from asyncrep.items.keys import KeyReader
from asyncrep.model import KeyAttribute, KeySchema
from asyncrep.replicate.records import read_decoded_record, read_record, table_arn

KEYS = KeyReader(KeySchema(KeyAttribute("id", "S"), KeyAttribute("n", "N")))
TABLE = "arn:aws:dynamodb:us-east-1:123456789012:table/orders"
NUMBER = "111111111111111111111111111111111111111"


def record(**changed: Any) -> dict[str, Any]:
    """A record as GetRecords answers it; `dynamodb` members by keyword, None leaves one out."""
    outer = {name: changed.pop(name) for name in list(changed) if name.startswith(("event", "user"))}
    images = {
        "ApproximateCreationDateTime": 1_700_000_000,
        "Keys": {"n": {"N": "1.0"}, "id": {"S": "a"}},
        "NewImage": {"id": {"S": "a"}, "n": {"N": "1"}, "b": {"B": "AAE="}, "big": {"N": "1E+125"}},
        "OldImage": {"id": {"S": "a"}, "n": {"N": "1"}},
        "SequenceNumber": NUMBER,
        "SizeBytes": 10,
        "StreamViewType": "NEW_AND_OLD_IMAGES",
    } | changed
    return {
        "eventID": "1",
        "eventName": "MODIFY",
        "awsRegion": "us-east-1",
        "dynamodb": {name: value for name, value in images.items() if value is not None},
    } | outer


def read(made: Any, origin: str = TABLE) -> Change:
    change = read_record(json.dumps(made).encode(), KEYS, origin)
    assert isinstance(change, Change), change
    return change


def odd(made: Any) -> Unreadable:
    found = read_record(made if isinstance(made, bytes) else json.dumps(made).encode(), KEYS)
    assert isinstance(found, Unreadable)
    return found


def test_a_record_becomes_a_change() -> None:
    change = read(record())
    assert change.key == b'{"id":{"S":"a"},"n":{"N":"1"}}'
    assert change.kind is ChangeKind.MODIFY
    assert change.sequence == int(NUMBER)
    assert change.new == json.dumps(record()["dynamodb"]["NewImage"]).encode()
    assert change.old == json.dumps(record()["dynamodb"]["OldImage"]).encode()
    assert (change.origin, change.created, change.by_ttl) == (TABLE, 1_700_000_000.0, False)
    assert json.loads(change.record) == record()


def test_lambda_s_decoded_records_are_the_same_changes() -> None:
    there = record(
        eventSourceARN=f"{TABLE}/stream/2026-01-01T00:00:00.000", ApproximateCreationDateTime=1_700_000_000.25
    )
    change = read_decoded_record(there, KEYS)
    assert isinstance(change, Change)
    plain = read(record())
    assert (change.key, change.kind, change.sequence, change.origin) == (
        plain.key, plain.kind, plain.sequence, TABLE
    )  # fmt: skip
    assert change.created == 1_700_000_000.25
    assert json.loads(change.new or b"") == json.loads(plain.new or b"")


@pytest.mark.parametrize(
    ("identity", "by_ttl"),
    [
        ({"type": "Service", "principalId": "dynamodb.amazonaws.com"}, True),
        ({"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"}, True),
        ({"type": "Service", "principalId": "other.amazonaws.com"}, False),
        ({"type": "User", "principalId": "dynamodb.amazonaws.com"}, False),
        ({}, False),
        (None, False),
    ],
)
def test_deletions_by_ttl_are_told_from_others_in_both_spellings(identity: Any, by_ttl: bool) -> None:
    gone = record(eventName="REMOVE", NewImage=None, userIdentity=identity)
    assert read(gone).by_ttl is by_ttl


@pytest.mark.parametrize(
    ("view", "old", "new"),
    [("KEYS_ONLY", False, False), ("OLD_IMAGE", True, False), ("NEW_IMAGE", False, True)],
)
def test_images_that_the_view_leaves_out_are_none(view: str, old: bool, new: bool) -> None:
    images = record()["dynamodb"]
    change = read(
        record(
            StreamViewType=view,
            OldImage=images["OldImage"] if old else None,
            NewImage=images["NewImage"] if new else None,
        )
    )
    assert (change.old is not None, change.new is not None) == (old, new)


def test_bytes_and_numbers_of_an_image_stay_as_they_came() -> None:
    raw = b'{"eventName":"INSERT","dynamodb":{"Keys":{"id":{"S":"a"},"n":{"N":"1"}},"SequenceNumber":"7","NewImage": {"id":{"S":"\\u0061"},"n":{"N":"01.50"}} }}'
    change = read_record(raw, KEYS)
    assert isinstance(change, Change)
    assert change.new == b'{"id":{"S":"\\u0061"},"n":{"N":"01.50"}}'


@pytest.mark.parametrize(
    ("made", "sequence", "reason"),
    [
        (record(eventName="TRUNCATE"), int(NUMBER), 'Its event is "TRUNCATE", not INSERT, MODIFY or REMOVE.'),
        (record(Keys=None), int(NUMBER), "It has no key."),
        (record(Keys={"id": {"S": "a"}}), int(NUMBER), "has not the key"),
        (record(Keys={"id": {"N": "1"}, "n": {"N": "1"}}), int(NUMBER), "not of type S"),
        (record(SequenceNumber=None), None, "It has no sequence number."),
        (record(SequenceNumber="12x"), None, "It has no sequence number."),
        (record(SequenceNumber="-1"), None, "It has no sequence number."),
        (record(SequenceNumber="1" * 41), None, "It has no sequence number."),
        ({"eventName": "INSERT", "dynamodb": 5}, None, "It is no record of a stream"),
        ({"eventName": 5, "dynamodb": {"SequenceNumber": "5"}}, 5, "It is no record of a stream"),
        ({"eventName": "INSERT"}, None, "It is no record of a stream"),
        ([], None, "It is no record of a stream"),
        (b"{", None, "It is no record of a stream"),
        (b'{"\xff":1}', None, "It is no record of a stream"),
    ],
)
def test_of_an_odd_record_one_sentence_and_its_number_remain(
    made: Any, sequence: int | None, reason: str
) -> None:
    found = odd(made)
    assert found.sequence == sequence
    assert reason in found.reason
    assert found.record == (made if isinstance(made, bytes) else json.dumps(made).encode())


@pytest.mark.parametrize("made", [{"dynamodb": object()}, {"dynamodb": {"NewImage": {"a": {"S": "\ud800"}}}}])
def test_decoded_records_that_no_json_ever_was_are_odd(made: Any) -> None:
    found = read_decoded_record(made, KEYS)
    assert isinstance(found, Unreadable)
    assert "It is no record of a stream" in found.reason


def test_an_odd_time_is_no_time() -> None:
    assert read(record(ApproximateCreationDateTime="yesterday")).created is None
    assert read(record(ApproximateCreationDateTime=None)).created is None


def test_the_table_s_arn_is_cut_out_of_its_stream_s() -> None:
    assert table_arn(f"{TABLE}/stream/2026-01-01T00:00:00.000") == TABLE
    assert table_arn(TABLE) == TABLE
    assert table_arn("") == ""
