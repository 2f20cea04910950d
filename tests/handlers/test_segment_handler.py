"""A function checks or repairs one segment; when its time is up, its answer is the next event."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import zlib
from collections import Counter
from types import SimpleNamespace

import boto3
import pytest

from asyncrep import JobError, UsageError
from asyncrep.flow.clock import SystemClock
from asyncrep.handlers import segment, segment_handler
from asyncrep.handlers.continuation import Documents
from tests.support.cli import Cli
from tests.support.lambdas import Context
from tests.support.scenario import PRIMARY, REPLICA, item, items, same_items
from tests.support.threads import PATIENCE_SECONDS

SMALL_PAGES = {"read_units": 6}
"""A rate so low that a page holds a few items."""


_QUIET_LOOKS = 16


class HurriedClock(SystemClock):
    """The real time, a hundred times as fast: what keeps to a rate takes a moment."""

    def monotonic(self):
        return 100 * super().monotonic()

    async def sleep(self, seconds):
        await super().sleep(seconds / 100)


@pytest.fixture
def tables(served):
    """A primary and a replica with drift of every kind."""
    ours = items(60, v=1)
    theirs = [*items(50, v=1)[5:], *(item(f"x{number}", v=1) for number in range(6))]
    for number in (7, 8, 9):
        theirs[number] = item(f"k{number + 5:03}", v=0)
    return (
        served.create_table("orders", PRIMARY, items=ours),
        served.create_table("orders", REPLICA, items=theirs),
    )


@pytest.fixture
def handler(container):
    return segment_handler(container=container, clock=HurriedClock())


@pytest.fixture
def event(served, tables):  # noqa: ARG001 - they are what it names
    """Make an event for these tables."""

    def event(segment=0, segments=1, **more):
        base = {
            "primary": f"{PRIMARY}/orders",
            "replica": f"{REPLICA}/orders",
            "primary_endpoint": served.url,
            "replica_endpoint": served.url,
            "segment": segment,
            "segments": segments,
            "settle": 0,
        }
        return base | more

    return event


def when_quiet(served, silent):
    """A timeout that comes when a call gets no answer and all others have got theirs."""
    loop, limit = asyncio.get_running_loop(), asyncio.timeout(PATIENCE_SECONDS)
    seen: list[int] = []

    def look():
        seen.append(len(served.calls) if silent.fired else -len(seen))
        if len(set(seen[-_QUIET_LOOKS:])) == 1 and len(seen) >= _QUIET_LOOKS:
            limit.reschedule(loop.time())
        else:
            loop.call_later(0.05, look)

    loop.call_later(0.05, look)
    return limit


@pytest.fixture
def stopped(handler, served, monkeypatch):
    """Let the time of an invocation be up when its second scan, or another one, gets no answer."""

    def stopped(event, after=1):
        silent = served.on("Scan", after=after).delay(PATIENCE_SECONDS)
        with monkeypatch.context() as patch:
            patch.setattr(segment, "asyncio", SimpleNamespace(timeout=lambda _: when_quiet(served, silent)))
            answer = json.loads(json.dumps(handler(event, Context())))
        assert not answer["done"]
        return answer

    return stopped


def counts(report):
    return [
        report[name]
        for name in ("missing", "different", "extraneous", "matched", "settled", "repaired", "deleted")
    ]


def test_a_check_tells_its_report_and_writes_nothing(handler, event, served):
    answer = handler(event(), Context())
    assert answer["done"]
    assert answer["continuation"] is None
    assert answer["report"]["complete"]
    assert counts(answer["report"]) == [15, 3, 6, 42, 0, 0, 0]
    assert not [call for call in served.calls if call.operation in ("PutItem", "DeleteItem", "UpdateItem")]


def test_segments_add_up(handler, event):
    answers = [handler(event(segment, 4), Context()) for segment in range(4)]
    total = [sum(each) for each in zip(*(counts(answer["report"]) for answer in answers), strict=True)]
    assert total == [15, 3, 6, 42, 0, 0, 0]


def test_a_repair_mends_and_deletes_what_its_own_walks_have_seen(handler, event, tables):
    primary, replica = tables
    answer = handler(event(repair=True, journal=False), Context())
    assert counts(answer["report"]) == [15, 3, 6, 42, 0, 24, 6]
    assert same_items(primary.items.values(), replica.items.values())


@pytest.mark.parametrize("strategy", ["batch-get", "dual-scan"])
def test_a_check_goes_on_where_its_time_was_up_and_tells_nothing_twice(handler, event, stopped, strategy):
    scans = 1 if strategy == "batch-get" else 3
    first = stopped(event(strategy=strategy, **SMALL_PAGES), scans)
    second = stopped(first, scans)
    # What was scanned beyond the place that both sides have reached is scanned again, and counts anew.
    assert min(each["report"]["scanned_primary"] for each in (first, second)) > 0
    answer = handler(second, Context())
    assert answer["done"]
    assert counts(answer["report"]) == [15, 3, 6, 42, 0, 0, 0]
    assert answer["report"]["scanned_primary"] == 60
    assert answer["continuation"] is None


def test_a_repair_goes_on_and_deletes_only_in_the_end(handler, event, stopped, tables, served):
    primary, replica = tables
    request = event(repair=True, journal=False, strategy="batch-get", **SMALL_PAGES)
    answer = handler(stopped(stopped(request)), Context())
    assert answer["done"]
    assert same_items(primary.items.values(), replica.items.values())
    report = answer["report"]
    # Without a journal a write that the time cut off is found to be there, and counts as settled.
    assert report["missing"] + report["different"] + report["extraneous"] + report["settled"] == 24
    assert report["repaired"] + report["settled"] == 24
    last_scan = max(place for place, call in enumerate(served.calls) if call.operation == "Scan")
    first_deletion = min(place for place, call in enumerate(served.calls) if call.operation == "DeleteItem")
    assert last_scan < first_deletion


def test_an_interrupted_walk_deletes_nothing(event, stopped, tables):
    _, replica = tables
    answer = stopped(event(repair=True, journal=False, strategy="dual-scan", **SMALL_PAGES), after=4)
    assert not answer["report"]["complete"]
    assert {f"x{number}" for number in range(6)} < set(replica.items)


def test_more_than_half_of_a_segment_needs_an_explicit_word(handler, event, tables):
    primary, replica = tables
    for plain in list(primary.items)[3:]:
        primary.delete(plain)
    answer = handler(event(repair=True, journal=False), Context())
    assert answer["report"]["skipped"] == answer["report"]["extraneous"] > 0
    answer = handler(event(repair=True, journal=False, max_delete=100), Context())
    assert answer["report"]["skipped"] == 0
    assert same_items(primary.items.values(), replica.items.values())


def test_tables_stay_open_between_invocations(handler, event, served):
    for number in range(3):
        handler(event(number, 3), Context())
    assert served.count("DescribeTable") == 2


def test_too_little_time_for_anything_is_said_and_does_not_go_round_for_ever(handler, event):
    with pytest.raises(JobError, match="give the function a longer timeout"):
        handler(event(), Context(0.0))


def test_time_in_which_nothing_gets_on_is_said(handler, event, stopped, served):
    first = stopped(event(**SMALL_PAGES), after=3)
    for operation in ("Scan", "BatchGetItem"):
        served.on(operation, times=None).throttle()
    with pytest.raises(JobError, match="before anything was done"):
        handler(first, Context(0.6))


def test_a_continuation_of_another_run_is_refused(handler, event, stopped):
    first = stopped(event(**SMALL_PAGES), after=3)
    with pytest.raises(UsageError, match=r"of a run with --settle 0.*not 2"):
        handler(first | {"settle": 2}, Context())


@pytest.mark.parametrize("text", ["", "x", "{}", "~~~~", "c$}{8" * 10])
def test_what_is_no_continuation_is_refused(handler, event, text):
    with pytest.raises(UsageError, match="continuation in the event cannot be read"):
        handler(event(continuation=text), Context())


def test_a_continuation_that_is_too_large_is_refused_and_names_the_way_out():
    documents = Documents({"state.json": random.Random(1).randbytes(300_000).hex().encode()})
    with pytest.raises(JobError, match=r"keep it in S3 \(\"job\""):
        documents.text()


def test_a_continuation_that_unpacks_into_far_too_much_is_refused():
    bomb = base64.b85encode(zlib.compress(b"0" * 100_000_000, 9)).decode()
    with pytest.raises(UsageError, match="far too large"):
        Documents.of(bomb)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"segment": 1}, "segment"),
        ({"segments": "4"}, "Expected `int`"),
        ({"primary": None}, "Expected `str`"),
        ({"repair": True}, "A repair notes what it writes"),
        ({"job": "s3://bucket/x", "continuation": "x"}, "a job and a continuation"),
        ({"job": "/tmp/x"}, "not a place in S3"),
        ({"replica": "nowhere"}, "is not a table location"),
        ({"stratagem": "x"}, "unknown field `stratagem`"),
        ({"settle": -1}, "Settle"),
        ({"read_units": 0}, "above zero"),
    ],
)
def test_a_wrong_event_is_refused_in_one_sentence(handler, event, served, change, sentence):
    with pytest.raises(UsageError, match=sentence):
        handler(event(**change), Context())
    assert not Counter(call.operation for call in served.calls)["PutItem"]


def test_what_is_no_event_is_refused(handler):
    with pytest.raises(UsageError, match="no object"):
        handler(None, Context())


# ── Kept in S3 ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def bucket(moto_url, monkeypatch):
    """A bucket for jobs and journals."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto_url)
    client = boto3.client("s3", region_name="us-east-1", endpoint_url=moto_url)
    client.create_bucket(Bucket="jobs")
    yield client
    for entry in client.list_objects_v2(Bucket="jobs").get("Contents", []):
        client.delete_object(Bucket="jobs", Key=entry["Key"])
    client.delete_bucket(Bucket="jobs")


def names(client):
    return [entry["Key"] for entry in client.list_objects_v2(Bucket="jobs").get("Contents", [])]


@pytest.mark.parametrize("kept", [{"job": "s3://jobs/nightly"}, {"journal": "s3://jobs/journals"}])
def test_with_a_journal_every_write_is_told_exactly_once(handler, event, stopped, tables, bucket, kept):
    primary, replica = tables
    request = event(repair=True, strategy="batch-get", **SMALL_PAGES, **kept)
    first = stopped(request)
    assert (first["continuation"] is None) == ("job" in kept)
    answer = handler(stopped(first), Context())
    assert answer["done"]
    assert counts(answer["report"]) == [15, 3, 6, 42, 0, 24, 6]
    assert same_items(primary.items.values(), replica.items.values())
    journal = answer["report"]["journal"]
    place = journal.removeprefix("s3://jobs/")
    assert len([name for name in names(bucket) if name.startswith(f"{place}/")]) > 1


def test_segments_of_one_job_keep_apart_and_are_merged_by_the_command_line(
    handler, event, bucket, moto_url, tmp_path
):
    for number in range(3):
        answer = handler(event(number, 3, repair=True, job="s3://jobs/nightly"), Context())
        assert answer["report"]["journal"].startswith(f"s3://jobs/nightly/segment-{number}/journal-")
    assert {f"nightly/segment-{segment}/state.json" for segment in range(3)} < set(names(bucket))
    run = Cli(tmp_path, {"AWS_ENDPOINT_URL_S3": moto_url})
    merged = run("jobs", "merge", *(f"s3://jobs/nightly/segment-{segment}" for segment in range(3)), "--json")
    report = json.loads(merged.stdout)
    assert counts(report) == [15, 3, 6, 42, 0, 24, 6]
    assert report["missing_segments"] == report["unfinished_segments"] == []


def test_an_invocation_that_lambda_ended_is_gone_on_from_its_last_save(
    handler, event, stopped, tables, bucket, served
):
    primary, replica = tables
    request = event(repair=True, job="s3://jobs/nightly", strategy="batch-get", **SMALL_PAGES)
    stopped(request)
    place = {"Bucket": "jobs", "Key": "nightly/segment-0/state.json"}
    saved = []
    served.before("PutItem", lambda _: saved.append(bucket.get_object(**place)["Body"].read()))
    stopped(request, 3)
    bucket.put_object(**place, Body=saved[0])  # what was saved after the first write is lost
    answer = handler(request, Context())
    assert counts(answer["report"]) == [15, 3, 6, 42, 0, 24, 6]
    assert same_items(primary.items.values(), replica.items.values())
