"""The story of one record: told from strong reads, complete, and without writing anything."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import (
    Cause,
    Comparison,
    Explanation,
    State,
    UsageError,
    VirtualClock,
    explain,
)
from asyncrep.repair import story
from tests.support.engines import REGION
from tests.support.scenario import REPLICA, Scene, item, key, opened, scene, strong, wire

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.engines import Engine
    from tests.support.scripted import ScriptedDynamo

NOW = int(VirtualClock().now())
DAY = 24 * 3600
STILL = Comparison(settle=0)


async def told(play: Scene, id: Any = "a", **options: Any) -> Explanation:
    given: dict[str, Any] = {"comparison": STILL, "clock": play.clock} | options
    async with play.open() as (primary, replica):
        return await explain(primary, replica, key(id), **given)


def words(explanation: Explanation) -> str:
    """All its sentences."""
    chapters = (story.cause, story.movement, story.times_to_live, story.sizes, story.past, story.remedy)
    sentences = [story.verdict(explanation), *explanation.settings]
    return "\n".join([*sentences, *(sentence for chapter in chapters for sentence in chapter(explanation))])


async def test_the_story_of_a_record_that_differs(engine: Engine) -> None:
    ours = item(version=7, address={"city": "Bern", "zip": [1, {"x": 1}]}, codes={"a", "b"}, new=1)
    theirs = item(version=5, address={"city": "Basel", "zip": [1, {"x": 2}]}, codes={"b", "c"}, old=1)
    primary, replica = engine.create_table(items=[ours]), engine.create_table(items=[theirs])
    clock = VirtualClock()
    async with opened(f"{REGION}/{primary}", f"{REGION}/{replica}", engine.url, clock) as tables:
        explanation = await explain(
            *tables, tables[0].keys.parse('{"id":"a"}'), comparison=STILL, clock=clock
        )
    assert explanation.cause is Cause.OLDER_VERSION
    assert explanation.names is not None
    assert set(explanation.names.changed) == {"version", "address", "codes"}
    assert (explanation.names.missing, explanation.names.extra) == (["new"], ["old"])
    differences = {each.spelled: (each.primary, each.replica) for each in explanation.differences}
    assert differences == {
        "version": (wire(7), wire(5)),
        "address.city": (wire("Bern"), wire("Basel")),
        "address.zip[1].x": (wire(1), wire(2)),
        "codes": (wire({"a"}), wire({"c"})),
        "new": (wire(1), None),
        "old": (None, wire(1)),
    }
    text = words(explanation)
    assert "Likely cause: the replica holds an older state of the primary's item." in text
    assert '"version" is 5 in the replica and 7 in the primary.' in text
    assert "TTL is off on both sides." in text
    assert "The primary's stream is off" in text
    assert "replicate-record would patch the replica's item: set " in text
    assert " and remove old, on condition that these attributes still hold what was read." in text
    assert engine.items(replica) == [theirs]


async def test_a_story_writes_and_scans_nothing(endpoint: ScriptedDynamo) -> None:
    play = scene(endpoint, [item(v=1)], [item(v=2)])
    await told(play)
    assert {call.operation for call in endpoint.calls} == {
        "DescribeTable",
        "DescribeTimeToLive",
        "BatchGetItem",
    }


@pytest.mark.parametrize(
    ("ours", "theirs", "cause", "sentence"),
    [
        ([item(v=1)], [], Cause.MISSED_PUT,
         "put the primary's item, on condition that the replica still has none."),
        ([], [item(v=1)], Cause.MISSED_DELETE,
         "delete the replica's item, on condition that each of its attributes still is what was read."),
        ([item(v=1)], [item(v=2)], Cause.ATTRIBUTE_CHANGE,
         "patch the replica's item: set v, on condition that this attribute still holds what was read."),
        ([item()], [item(v=2)], Cause.ATTRIBUTE_CHANGE,
         "patch the replica's item: remove v, on condition that this attribute still holds what was read."),
    ],
    ids=["put", "delete", "set", "remove"],
)  # fmt: skip
async def test_it_says_what_a_repair_would_write(
    endpoint: ScriptedDynamo, ours: Any, theirs: Any, cause: Cause, sentence: str
) -> None:
    explanation = await told(scene(endpoint, ours, theirs))
    assert explanation.cause is cause
    assert f"replicate-record would {sentence}" in words(explanation)
    assert len(explanation.mutations) == 1


async def test_an_item_too_large_for_one_condition_is_said_to_be(endpoint: ScriptedDynamo) -> None:
    many = {f"attribute{number:04}": number for number in range(400)}
    explanation = await told(scene(endpoint, [], [item(**many)]))
    assert not explanation.guarded_whole
    assert "too large for one condition" in words(explanation)
    explanation = await told(scene(endpoint, [item(**many)], [item()]))
    assert len(explanation.mutations) == 4
    assert "and 80 more" in words(explanation)


async def test_sides_that_agree_have_no_cause_and_need_no_repair(endpoint: ScriptedDynamo) -> None:
    play = scene(endpoint, [item(v=1, until=NOW + DAY, seen=1)], [item(v=1, until=NOW + DAY)], ttl="until")
    explanation = await told(play, comparison=Comparison(frozenset({"seen"}), settle=0))
    assert (explanation.discrepancy, explanation.cause, explanation.settings) == (None, None, ())
    text = words(explanation)
    assert text.startswith("The record is the same on both sides.\n")
    assert "replicate-record" not in text
    assert text.count("in 1 day") == 2


async def test_a_record_that_nobody_has_is_one_sentence(endpoint: ScriptedDynamo) -> None:
    assert words(await told(scene(endpoint, ttl="until"))) == "Neither side has this record."


@pytest.mark.parametrize(
    ("until", "sentence"),
    [
        (NOW + 3 * 3600, "expires 2023-11-15 01:13:20 UTC, in 3 hours"),
        (NOW + 90, "expires 2023-11-14 22:14:50 UTC, in 1 minute"),
        (NOW, "expires 2023-11-14 22:13:20 UTC, in 0 seconds"),
        (NOW + 9_000 * DAY, "expires 2048-07-05 22:13:20 UTC, in 9,000 days"),
        (10**30, "never expires: its TTL attribute \"until\" holds no time that a calendar has"),
        (-(10**30), "never expires: its TTL attribute \"until\" holds no time that a calendar has"),
        (5, "never expires: 1970-01-01 00:00:05 UTC, in \"until\", is more than five years past"),
        ("soon", "never expires: it has no number in its TTL attribute \"until\""),
    ],
)  # fmt: skip
async def test_it_says_when_items_expire(endpoint: ScriptedDynamo, until: Any, sentence: str) -> None:
    play = scene(endpoint, [item(until=until)], [item(until=until, v=1)])
    play.primary.ttl = "until"
    explanation = await told(play)
    assert f"The primary's item {sentence}" in words(explanation)
    assert "The replica has TTL off." in words(explanation)
    assert json.dumps(explanation.as_dict())


async def test_an_expired_item_is_left_to_dynamodb(endpoint: ScriptedDynamo) -> None:
    explanation = await told(scene(endpoint, [item(until=NOW - 2 * DAY)], [], ttl="until"))
    assert explanation.discrepancy is not None
    assert explanation.discrepancy.state is State.EXPIRED
    assert explanation.primary.expires_at == datetime.fromtimestamp(NOW - 2 * DAY, UTC)
    text = words(explanation)
    assert "The primary's item expired 2023-11-12 22:13:20 UTC, 2 days ago" in text
    assert "That is no drift." in text
    assert "replicate-record would write nothing" in text
    assert explanation.mutations == ()


async def test_a_delete_that_only_the_primary_s_ttl_does_is_explained(endpoint: ScriptedDynamo) -> None:
    play = scene(endpoint, [], [item(until=NOW - 3600)])
    play.primary.ttl = "until"
    explanation = await told(play)
    assert explanation.cause is Cause.MISSED_TTL_DELETE
    text = words(explanation)
    assert (
        "By the primary's TTL attribute \"until\" the replica's item expired 2023-11-14 21:13:20 UTC, 1 hour"
        in text
    )
    assert 'The replica does not expire items by "until" as the primary does' in text


async def test_a_replica_that_expires_what_the_primary_keeps_is_explained(endpoint: ScriptedDynamo) -> None:
    play = scene(endpoint, [item(until=NOW - 3600)], [])
    play.replica.ttl = "until"
    explanation = await told(play)
    assert explanation.cause is Cause.MISSED_PUT
    assert "the replica may have deleted it, and would do so again." in words(explanation)


async def test_ttl_that_may_not_be_asked_for_is_said_to_be_unknown(endpoint: ScriptedDynamo) -> None:
    play = scene(endpoint, [item(until=NOW - 1)], [], ttl="until")
    endpoint.on("DescribeTimeToLive", times=None).error("AccessDeniedException")
    assert "may not read the TTL settings of the primary" in words(await told(play))


@pytest.mark.parametrize(
    ("stream", "sentence"),
    [
        (None, "The primary's stream is off"),
        ("KEYS_ONLY", "carries only keys (KEYS_ONLY)"),
        ("OLD_IMAGE", "carries only old images (OLD_IMAGE)"),
        ("NEW_IMAGE", None),
        ("NEW_AND_OLD_IMAGES", None),
    ],
)
async def test_a_stream_that_cannot_replicate_is_named(
    endpoint: ScriptedDynamo, stream: str | None, sentence: str | None
) -> None:
    play = scene(endpoint, [item(v=1)], [])
    if stream:
        play.primary.description["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": stream}
    settings = (await told(play)).settings
    assert (sentence in settings[0]) if sentence else (settings == [])


async def test_a_primary_that_moved_and_stopped_is_told(endpoint: ScriptedDynamo) -> None:
    play = scene(endpoint, [item(v=1)], [item(v=0)])
    endpoint.before("BatchGetItem", lambda _: play.primary.put(item(v=2)), **strong(REPLICA))
    explanation = await told(play)
    assert explanation.looks == 2
    assert "The primary's record changed during the first look at it, and not during the last." in words(
        explanation
    )
    still = await told(play)
    assert "The primary's record did not change while it was looked at." in words(still)


async def test_a_primary_that_keeps_moving_is_in_flight(endpoint: ScriptedDynamo) -> None:
    play = scene(endpoint, [item(version=1)], [item(version=0)])
    versions = iter(range(2, 100))
    endpoint.before(
        "BatchGetItem",
        lambda _: play.primary.put(item(version=next(versions))),
        times=None,
        **strong(REPLICA),
    )
    explanation = await told(play)
    assert (explanation.cause, explanation.version, explanation.looks) == (Cause.IN_FLIGHT, None, 3)
    text = words(explanation)
    assert "changed during each of 3 looks" in text
    assert "replicate-record would write nothing as long as the primary's item keeps changing." in text


async def test_differences_without_end_are_counted(endpoint: ScriptedDynamo) -> None:
    play = scene(endpoint, [item(l=list(range(1000)))], [item(l=list(range(1, 1001)))])
    explanation = await told(play)
    assert (len(explanation.differences), explanation.more_differences) == (100, 900)


async def test_what_is_ignored_is_no_difference(endpoint: ScriptedDynamo) -> None:
    play = scene(endpoint, [item(v=1, seen=1)], [item(v=2, seen=2)])
    explanation = await told(play, comparison=Comparison(frozenset({"seen"}), settle=0))
    assert [each.path for each in explanation.differences] == [("v",)]
    assert "seen" not in words(explanation)


async def test_tables_that_cannot_be_compared_are_refused(endpoint: ScriptedDynamo) -> None:
    play = scene(endpoint, [item()], [item()])
    async with play.open() as (primary, _):
        with pytest.raises(UsageError, match="the same table"):
            await explain(primary, primary, key())


# ── What a journal tells ────────────────────────────────────────────────────────────────────────────


HEADER: dict[str, Any] = {
    "journal": 1, "asyncrep": "1", "at": "2025-01-01T00:00:00Z", "primary": "p",
    "replica": {"location": "eu-west-1/other", "endpoint_url": None, "profile": None, "role_arn": None, "arn": "",
                "table_id": None},
}  # fmt: skip


def journal(path: Path, *lines: dict[str, Any], **header: Any) -> Path:
    """A journal's file with these lines, each by one writer."""
    first = HEADER | header
    path.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in (first, *lines)))
    return path


def intent(n: int, id: str = "a", **members: Any) -> dict[str, Any]:
    return {"by": "w", "n": n, "at": f"2025-01-0{n}T00:00:00Z", "key": item(id), "segment": 0} | members


def outcome(n: int, **members: Any) -> dict[str, Any]:
    return {"by": "w", "n": n, "at": f"2025-01-0{n}T00:00:01Z"} | members


PATCH: dict[str, Any] = {
    "kind": "different", "replica": item(v=1, w=1), "patch": {"set": {"v": wire(2)}, "remove": ["w"]},
}  # fmt: skip


async def test_what_a_journal_tells_of_the_record_is_told(endpoint: ScriptedDynamo, tmp_path: Path) -> None:
    place = journal(
        tmp_path / "j.jsonl",
        intent(1, kind="missing", cause="missed_put", replica=None, put=item(v=1)),
        intent(2, "b", kind="missing", replica=None, put=item("b")),
        outcome(2, applied=True, old=None),
        outcome(1, applied=True, old=None),
        intent(3, **PATCH),
        outcome(3, applied=False, old=None),
        intent(4, **PATCH),
        outcome(4, error="The line was cut."),
        intent(5, kind="extraneous", replica=item(v=1), delete=True),
        intent(6, **PATCH),
        outcome(6, applied=False, old=None, error="It was refused."),
    )
    play = scene(endpoint, [item(v=1)], [item(v=2)])
    explanation = await told(play, journal=place)
    assert explanation.past is not None
    assert [(write.deed, write.applied) for write in explanation.past.writes] == [
        ("put", True),
        ("patch", False),
        ("patch", None),
        ("delete", None),
        ("patch", False),
    ]
    assert explanation.past.writes[0].cause == "missed_put"
    patching = "a repair was about to patch the item (v, w)"
    assert story.past(explanation) == [
        "2025-01-01T00:00:00Z: a repair put the item.",
        f"2025-01-03T00:00:00Z: {patching}, and nothing was written: the item was not any more what had been read.",
        f"2025-01-04T00:00:00Z: {patching}; whether that landed is not known: The line was cut.",
        "2025-01-05T00:00:00Z: a repair was about to delete the item; whether that landed is not known.",
        f"2025-01-06T00:00:00Z: {patching}, and nothing was written: It was refused.",
    ]
    assert len(explanation.as_dict()["journal"]) == 5


async def test_an_undo_s_journal_says_so(endpoint: ScriptedDynamo, tmp_path: Path) -> None:
    place = journal(tmp_path / "j", intent(1, **PATCH), outcome(1, applied=True, old=item()), undoes="other")
    explanation = await told(scene(endpoint, [item(v=1)], [item(v=2)]), journal=str(place))
    assert story.past(explanation) == ["2025-01-01T00:00:00Z: an undo patched the item (v, w)."]


async def test_a_journal_that_does_not_know_the_record_and_is_damaged(
    endpoint: ScriptedDynamo, tmp_path: Path
) -> None:
    place = journal(tmp_path / "j", {"torn": True})
    explanation = await told(scene(endpoint, [item(v=1)], [item(v=2)]), journal=place)
    assert story.past(explanation) == [
        "The journal does not mention this record.",
        "1 line of the journal cannot be read, and may tell more.",
    ]
    assert explanation.as_dict()["journal_damaged"] == 1


async def test_a_journal_of_another_table_is_refused(endpoint: ScriptedDynamo, tmp_path: Path) -> None:
    place = journal(
        tmp_path / "j", replica=HEADER["replica"] | {"arn": "arn:aws:dynamodb:eu-west-1:1:table/other"}
    )
    with pytest.raises(UsageError, match="is about eu-west-1/other, and not about eu-west-1/orders"):
        await told(scene(endpoint, [item(v=1)], []), journal=place)
    with pytest.raises(UsageError, match="There is no journal"):
        await told(scene(endpoint, [item(v=1)], []), journal=tmp_path / "nothing")
    assert endpoint.count("BatchGetItem") == 0
