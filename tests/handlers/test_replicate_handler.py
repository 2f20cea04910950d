"""A function brings the records of a stream to the replica, and says which have to come again."""

from __future__ import annotations

import json
import logging

import pytest

from asyncrep import RetryPolicy, TableNotFoundError, UsageError
from asyncrep.handlers import ReplicaSettings, replicate_handler
from asyncrep.handlers.stream import NothingAppliedError
from tests.support.lambdas import FIRST, INVALID, SUCCESS, Context, event, failed_from, put, remove, stream_of
from tests.support.scenario import REPLICA, item

WRITES = ("BatchWriteItem", "PutItem", "DeleteItem", "TransactWriteItems")


@pytest.fixture
def replica(served):
    return served.create_table("orders", REPLICA)


@pytest.fixture
def make(served, container):
    """Make a handler that replicates to the endpoint, with these settings besides."""

    def make(**environment):
        base = {"ReplicaRegion": REPLICA, "ReplicaEndpoint": served.url}
        settings = ReplicaSettings.from_environment(base | environment)
        return replicate_handler(settings, container=container)

    return make


def written(endpoint):
    return [call.operation for call in endpoint.calls if call.operation in WRITES]


def test_puts_and_deletions_reach_the_table_of_the_same_name(make, replica):
    replica.put(item("b"))
    answer = make()(event(put(item("a", n=1), 1), remove(item("b"), 2)), Context())
    assert answer == SUCCESS
    assert replica.items == {"a": item("a", n=1)}


def test_one_function_serves_several_tables(make, replica, served):
    others = served.create_table("customers", REPLICA)
    answer = make()(event(put(item("a"), 1), put(item("c"), 2, table="customers")), Context())
    assert (answer, set(replica.items), set(others.items)) == (SUCCESS, {"a"}, {"c"})


def test_a_table_that_is_named_gets_the_records_whatever_their_source(make, served):
    chosen = served.create_table("copies", REPLICA)
    make(ReplicaTable="copies")(event(put(item("a")), put(item("c"), 1, table="customers")), Context())
    assert set(chosen.items) == {"a", "c"}


def test_only_the_last_change_of_an_item_is_written(make, replica, served):
    records = [put(item("a", n=number), number) for number in range(20)]
    assert make()(event(*records), Context()) == SUCCESS
    assert replica.items == {"a": item("a", n=19)}
    assert written(served) == ["BatchWriteItem"]


@pytest.mark.parametrize("nothing", [{}, {"Records": []}, {"Records": None}, None, []])
def test_an_event_without_records_is_a_success_and_asks_nobody(make, served, nothing):
    assert make()(nothing, Context()) == SUCCESS
    assert not served.calls


def test_the_list_of_records_that_a_pipe_hands_on_is_an_event(make, replica):
    assert make()([put(item("a"))], Context()) == SUCCESS
    assert set(replica.items) == {"a"}


def test_an_event_of_another_kind_fails(make):
    with pytest.raises(UsageError, match="no records of a stream"):
        make()({"Records": {"a": 1}}, Context())


def test_unprocessed_writes_are_sent_again_until_all_are_taken(make, replica, served):
    served.on("BatchWriteItem", times=3).unprocessed(0.5)
    assert make()(event(*(put(item(f"k{n}"), n) for n in range(10))), Context()) == SUCCESS
    assert len(replica.items) == 10


# ── Poison ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_poison_record_keeps_none_of_its_neighbours_back(make, replica):
    records = [put(item(f"k{n:02}"), n) for n in range(40)]
    records[7] = put({**item("k07"), "n": INVALID}, 7)
    assert make()(event(*records), Context()) == failed_from(7)
    assert set(replica.items) == {f"k{n:02}" for n in range(40)} - {"k07"}


def test_of_several_failed_records_the_lowest_number_is_answered_as_a_number(make, replica):
    low, high = put({**item("a"), "n": INVALID}), put({**item("b"), "n": INVALID})
    low["dynamodb"]["SequenceNumber"], high["dynamodb"]["SequenceNumber"] = "999", "1000"
    answer = make()(event(high, low), Context())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "999"}]}
    assert not replica.items


def test_the_number_is_given_back_exactly_as_it_came(make, replica):
    bad = put({**item("a"), "n": INVALID})
    bad["dynamodb"]["SequenceNumber"] = "000123"
    assert make()(event(bad), Context()) == {"batchItemFailures": [{"itemIdentifier": "000123"}]}
    assert not replica.items


def test_an_unknown_event_is_poison_and_no_crash(make, replica):
    odd = put(item("a"), 1) | {"eventName": "EXPLODE"}
    assert make()(event(put(item("b")), odd), Context()) == failed_from(1)
    assert set(replica.items) == {"b"}


def test_a_record_without_a_new_image_is_poison(make, replica, caplog):
    keys_only = put(item("a", n=1))
    del keys_only["dynamodb"]["NewImage"]
    assert make()(event(keys_only), Context()) == failed_from(0)
    assert "NEW_AND_OLD_IMAGES" in caplog.text
    assert not replica.items


def test_a_record_without_a_number_fails_the_batch_when_there_is_no_place_for_it(make, replica):
    odd = put(item("a"), 1)
    del odd["dynamodb"]["SequenceNumber"]
    with pytest.raises(NothingAppliedError, match="no sequence number"):
        make()(event(put(item("b")), odd), Context())
    assert set(replica.items) == {"b"}


@pytest.mark.parametrize("odd", [None, 5, "record", {}, {"dynamodb": None}, {"dynamodb": {"Keys": 5}}])
def test_what_is_no_record_at_all_fails_the_batch_in_order(make, served, odd):
    served.create_table("copies", REPLICA)
    with pytest.raises(NothingAppliedError):
        make(ReplicaTable="copies")([odd], Context())


# ── What is not poison ──────────────────────────────────────────────────────────────────────────────


def test_a_destination_that_is_gone_fails_the_function(make, served, caplog):
    with pytest.raises(TableNotFoundError):
        make()(event(put(item("a"))), Context())
    assert json.loads(caplog.messages[-1])["event"] == "failed"
    served.create_table("orders", REPLICA)


def test_a_table_that_is_made_anew_is_opened_anew(make, served, replica):
    handler = make()
    assert not replica.items
    handler(event(put(item("a"))), Context())
    del served._tables[REPLICA, "orders"]
    with pytest.raises(TableNotFoundError):
        handler(event(put(item("b"))), Context())
    again = served.create_table("orders", REPLICA, hash=("key", "S"))
    with pytest.raises(UsageError, match=r"has the key key \(S\), and the records have another: id"):
        handler(event(put(item("b"))), Context())
    assert not again.items


def test_a_destination_with_another_key_is_not_taken_for_poison(make, served):
    other = served.create_table("orders", REPLICA, hash=("id", "S"), range=("at", "N"))
    with pytest.raises(UsageError, match="the records have another: id"):
        make()(event(put(item("a"))), Context())
    assert not other.items


def test_a_table_is_never_replicated_to_itself(served, container):
    source = served.create_table("orders", "us-east-1")
    settings = ReplicaSettings(region="us-east-1", endpoint_url=served.url)
    record = put(item("a")) | {"eventSourceARN": f"{source.arn}/stream/2026"}
    with pytest.raises(UsageError, match="replicated to itself"):
        replicate_handler(settings, container=container)(event(record), Context())
    assert not source.items


def test_a_record_of_no_named_stream_needs_a_named_table(make):
    record = put(item("a"))
    del record["eventSourceARN"]
    with pytest.raises(UsageError, match="set ReplicaTable"):
        make()(event(record), Context())


# ── Time ────────────────────────────────────────────────────────────────────────────────────────────


def test_when_the_time_is_up_the_rest_has_to_come_again_and_nothing_goes_on(make, served, replica):
    handler = make()
    assert handler(event(put(item("a"))), Context()) == SUCCESS
    throttled = served.on("BatchWriteItem", times=None).throttle()
    records = [put(item(f"k{n}"), n) for n in range(3)]
    assert handler(event(*records), Context(seconds=0.5)) == failed_from(0)
    throttled.times = throttled.fired  # throttles nobody any more
    calls = len(served.calls)
    assert handler({}, Context()) == SUCCESS
    assert (len(served.calls), set(replica.items)) == (calls, {"a"})
    assert handler(event(*records), Context()) == SUCCESS
    assert set(replica.items) == {"a", "k0", "k1", "k2"}


def test_what_was_applied_before_the_time_was_up_does_not_come_again(make, served, replica):
    handler = make()
    handler(event(put(item("a"))), Context())
    served.on("BatchWriteItem", after=1, times=None).throttle()
    records = [put(item(f"k{n:03}"), n) for n in range(100)]
    assert handler(event(*records), Context(seconds=2.5)) == failed_from(25)
    assert {f"k{n:03}" for n in range(25)} < set(replica.items)


def test_without_time_nothing_is_begun(make, served):
    assert make()(event(put(item("a"), 3), put(item("b"), 2)), Context(seconds=0.0)) == failed_from(2)
    assert not written(served)


def test_without_a_context_there_is_no_deadline(make, replica):
    assert make()(event(put(item("a"))), None) == SUCCESS
    assert set(replica.items) == {"a"}


def test_an_item_gets_no_later_change_before_a_failed_one(make, served, replica, monkeypatch):
    monkeypatch.setattr("asyncrep.aws.table.RetryPolicy", _impatient)
    handler = make()
    handler(event(put(item("a", n=0))), Context())
    served.on("BatchWriteItem", times=4).throttle()
    records = [put(item(f"k{n:03}"), n) for n in range(25)] + [put(item("k000", n=1), 25)]
    assert handler(event(*records), Context()) == failed_from(0)
    assert replica.items == {"a": item("a", n=0)}
    assert handler(event(*records), Context()) == SUCCESS
    assert replica.items["k000"] == item("k000", n=1)


def test_what_fails_and_then_is_poison_lets_the_change_before_it_through(make, served, replica, monkeypatch):
    monkeypatch.setattr("asyncrep.aws.table.RetryPolicy", _impatient)
    handler = make()
    handler(event(put(item("b"))), Context())
    served.on("BatchWriteItem", times=2).error("InternalServerError", 500)
    records = [put(item("a", n=1), 4), put({**item("a"), "n": INVALID}, 5)]
    assert handler(event(*records), Context()) == failed_from(4)
    assert handler(event(*records), Context()) == failed_from(5)
    assert replica.items == {"a": item("a", n=1), "b": item("b")}


def _impatient():
    return RetryPolicy(attempts=2, patience=0.001, first=0.001)


# ── What is kept, and what is told ──────────────────────────────────────────────────────────────────


def test_a_warm_function_opens_nothing_again(make, served, replica):
    handler = make()
    for number in range(5):
        assert handler(event(put(item(f"k{number}"), number)), Context()) == SUCCESS
    assert served.count("DescribeTable") == 1
    assert served.count("BatchWriteItem") == 5
    assert len(replica.items) == 5


def test_one_line_is_logged_and_it_holds_no_value(make, replica, caplog):
    caplog.set_level(logging.INFO, "asyncrep.handlers")
    make(ReplicaAccessKeyId="AKIDREPLICA", ReplicaSecretAccessKey="the-secret")(
        event(put(item("a-private-key", n="a-private-value")), remove(item("b"), 1)), Context()
    )
    [line] = caplog.messages
    told = json.loads(line)
    assert (told["event"], told["records"], told["written"], told["failed"]) == ("replicated", 2, 2, 0)
    assert not any(word in caplog.text for word in ("private", "secret", "AKIDREPLICA"))
    assert len(replica.items) == 1


def test_a_failure_is_logged_with_its_number_and_reason(make, replica, caplog):
    make()(event(put({**item("a"), "n": INVALID})), Context())
    [line] = caplog.messages
    told = json.loads(line)
    assert (told["event"], told["from"], told["failed"]) == ("replicated in part", str(FIRST), 1)
    assert "38 significant digits" in told["reason"]
    assert INVALID["N"] not in line
    assert not replica.items


def test_own_keys_sign_the_requests_to_the_destination(make, served, replica, monkeypatch):
    signed = []
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-the-function")
    read = served._answer

    async def noting(request, *rest):
        signed.append((request.headers["Authorization"], request.headers.get("X-Amz-Security-Token")))
        return await read(request, *rest)

    monkeypatch.setattr(served, "_answer", noting)
    make(ReplicaAccessKeyId="AKIDREPLICA", ReplicaSecretAccessKey="s")(event(put(item("a"))), Context())
    assert signed
    assert all("AKIDREPLICA" in who and token is None for who, token in signed)
    assert set(replica.items) == {"a"}


def test_what_is_selected_is_replicated_and_nothing_else(make, replica):
    handler = make(Where="status=active", WithoutAttributes="secret", Rename="n=count", TtlDeletes="false")
    replica.put(item("gone"))
    expired = remove(item("gone", status="active"), 3)
    expired["userIdentity"] = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    answer = handler(
        event(
            put(item("a", status="active", secret="x", n=1), 1), put(item("b", status="closed"), 2), expired
        ),
        Context(),
    )
    assert answer == SUCCESS
    assert replica.items == {"a": item("a", status="active", count=1), "gone": item("gone")}


def test_a_turnover_is_taken_by_one_side_only(make, replica):
    at = str(int(1777593600.0 * 1000))
    assert make(TurnoverRole="BEFORE", TurnoverAt=at)(event(put(item("a"))), Context()) == SUCCESS
    assert not replica.items
    assert make(TurnoverRole="AFTER", TurnoverAt=at)(event(put(item("a"))), Context()) == SUCCESS
    assert set(replica.items) == {"a"}


def test_the_stream_that_a_table_is_known_by_is_not_part_of_its_name(make, served):
    dotted = served.create_table("a.b-c_d", REPLICA)
    record = put(item("a")) | {"eventSourceARN": stream_of("a.b-c_d")}
    make()(event(record), Context())
    assert set(dotted.items) == {"a"}
