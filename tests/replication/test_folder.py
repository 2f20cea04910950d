"""A folder in S3 gets every change of every item, in order, and never goes back."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import S3Place
from asyncrep.aws.objects import open_objects
from asyncrep.change import Applied, Change, Fate
from asyncrep.errors import BucketNotFoundError, LeaseLostError, PermissionDeniedError, UsageError
from asyncrep.flow.permission import permitted_by
from asyncrep.flow.retry import RetryPolicy
from asyncrep.items.incremental import object_name
from asyncrep.replicate.folder import Folder
from asyncrep.replicate.records import read_decoded_record
from asyncrep.replicate.selection import Selection
from tests.support import lambdas
from tests.support.buckets import GONE, Bucket, bucket_on
from tests.support.mirrors import KEYS
from tests.support.scenario import item, key, session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from asyncrep.aws.objects import Objects
    from tests.support.values import Item

A = f"backups/orders/{object_name(key('a'))}"
RETRY = RetryPolicy(attempts=2, first=0.001)


@pytest.fixture
def bucket(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)
    with bucket_on(moto_url) as bucket:
        yield bucket


@asynccontextmanager
async def opened(place: S3Place) -> AsyncIterator[Objects]:
    async with open_objects(place, session=session(), retry=RETRY) as objects:
        yield objects


@pytest.fixture
async def objects(bucket: Bucket) -> AsyncIterator[Objects]:
    async with opened(S3Place(bucket.name, "backups/orders")) as objects:
        yield objects


@pytest.fixture
def folder(objects: Objects) -> Folder:
    return Folder(objects)


def change(record: dict[str, Any]) -> Change:
    read = read_decoded_record(record, KEYS)
    assert isinstance(read, Change)
    return read


def put(number: int, made: Item | None = None, **more: Any) -> Change:
    """A change of an item that was there before."""
    new = made or item("a", n=number)
    return change(lambdas.put(new, number, old=new, **more))


def insert(number: int, made: Item | None = None, **more: Any) -> Change:
    return change(lambdas.put(made or item("a", n=number), number, **more))


def remove(number: int, made: Item | None = None, **more: Any) -> Change:
    return change(lambdas.remove(made or item("a"), number, **more))


def numbers(history: list[Any]) -> list[Any]:
    return [each if each == GONE else int(each["n"]["N"]) for each in history]


def told(result: Applied) -> list[tuple[int, Fate]]:
    return [(each.change.sequence - lambdas.FIRST, each.fate) for each in result.unwritten]


def events_of(objects: Objects) -> Any:
    """Botocore's events of every call: a header that it does not know leaves all of them to it."""
    objects._bucket.calls._routes.clear()
    events: Any = objects._bucket.client.meta.events
    events.register("before-sign.s3", lambda request, **_: request.headers.add_header("X-Test", "1"))
    return events


class Calls:
    """The calls that go to S3; and what happens in between."""

    def __init__(self, objects: Objects) -> None:
        self._events = events_of(objects)
        self._events.register("before-call.s3", self._note)
        self.names: list[str] = []

    def _note(self, model: Any, **_: object) -> None:
        self.names.append(model.name)

    def before(self, operation: str, act: Callable[[], None]) -> None:
        """Let something happen right before the next call of an operation is sent."""
        self._once(f"before-call.s3.{operation}", act)

    def lose_answer(self, operation: str) -> None:
        """Lose the next answer of an operation that was carried out."""

        def lose() -> None:
            raise ConnectionResetError("the answer got lost")

        self._once(f"before-parse.s3.{operation}", lose)

    def _once(self, event: str, act: Callable[[], None]) -> None:
        def handle(**_: object) -> None:
            self._events.unregister(event, handle)
            act()

        self._events.register(event, handle)


# ── Every change, in order ──────────────────────────────────────────────────────────────────────────


async def test_every_change_is_a_version_and_a_deletion_a_mark(folder: Folder, bucket: Bucket) -> None:
    changes = [insert(0), *(put(number) for number in range(1, 20)), remove(20), insert(21)]
    assert await folder.apply(changes) == Applied(22, 0, [])
    assert numbers(bucket.history(A)) == [*range(20), GONE, 21]
    assert bucket.names() == [A]


async def test_items_are_written_side_by_side_and_each_in_its_order(folder: Folder, bucket: Bucket) -> None:
    changes = [put(number, item(f"k{number % 150:03}", n=number)) for number in range(450)]
    assert (await folder.apply(changes)).written == 450
    names = bucket.names()
    assert len(names) == 150
    for name in names:
        first, second, third = numbers(bucket.history(name))
        assert (second, third) == (first + 150, first + 300)


async def test_an_object_holds_its_item_to_the_letter_and_the_number_of_the_change(
    folder: Folder, bucket: Bucket
) -> None:
    made: Item = {
        "id": {"S": "a"},
        "__proto__": {"M": {"__proto__": {"N": "1"}}},
        "exact": {"N": "12345678901234567890123456789012345678"},
        "trailing": {"N": "1.50"},
        "tiny": {"N": "-1E-130"},
        "bytes": {"B": "AAEC/w=="},
        "line": {"S": "a\u2028b\u2029c\x85d\ne\u0000"},
        "aws:rep:updatetime": {"N": "1.5"},
        "empty": {"L": []},
    }
    await folder.apply([insert(3, made)])
    assert bucket.body(A) == json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode()
    assert bucket.metadata(A) == {
        "asyncrep-stream": lambdas.stream_of("orders"),
        "asyncrep-sequence": f"{lambdas.FIRST + 3:040}",
    }


async def test_a_bucket_that_keeps_no_versions_holds_the_last_state(moto_url: str, bucket: Bucket) -> None:
    with bucket_on(moto_url, versioned=False) as plain:
        async with opened(S3Place.parse(f"s3://{plain.name}/backups/orders")) as objects:
            folder = Folder(objects)
            await folder.apply([insert(1), put(2), insert(3, item("b")), remove(4, item("b"))])
            assert numbers(plain.history(A)) == [2]
            assert plain.names() == [A]
    assert bucket.names() == []


@pytest.mark.parametrize(("prefix", "expected"), [("", ""), ("/", ""), ("/a/b/", "a/b/"), ("/ü /", "ü /")])
async def test_slashes_never_make_another_place(bucket: Bucket, prefix: str, expected: str) -> None:
    async with opened(S3Place.parse(f"s3://{bucket.name}{prefix}")) as whole:
        folder = Folder(whole.under("orders"))
        assert folder.label == f"s3://{bucket.name}/{expected}orders"
        await folder.apply([insert(1)])
    assert bucket.names() == [f"{expected}orders/{object_name(key('a'))}"]


# ── Late and repeated changes ───────────────────────────────────────────────────────────────────────


async def test_what_comes_again_is_not_written_again(folder: Folder, bucket: Bucket) -> None:
    changes = [insert(1), put(2), put(3)]
    await folder.apply(changes)
    again = await folder.apply([*changes, put(4)])
    assert (again.written, told(again)) == (1, [(number, Fate.SUPERSEDED) for number in (1, 2, 3)])
    assert numbers(bucket.history(A)) == [1, 2, 3, 4]


@pytest.mark.parametrize("late", [insert(4), put(4), remove(4), put(5), remove(5)])
async def test_a_late_change_never_takes_the_place_of_a_newer_one(
    folder: Folder, bucket: Bucket, late: Change
) -> None:
    await folder.apply([put(5)])
    result = await folder.apply([late])
    assert (result.written, [each.fate for each in result.unwritten]) == (0, [Fate.SUPERSEDED])
    assert numbers(bucket.history(A)) == [5]


async def test_a_deletion_that_comes_again_leaves_no_second_mark(folder: Folder, bucket: Bucket) -> None:
    await folder.apply([insert(1), remove(2)])
    assert told(await folder.apply([remove(2)])) == [(2, Fate.SUPERSEDED)]
    assert numbers(bucket.history(A)) == [1, GONE]


async def test_a_batch_that_comes_again_as_a_whole_ends_as_it_ended(folder: Folder, bucket: Bucket) -> None:
    changes = [insert(1), put(2), remove(3)]
    await folder.apply(changes)
    await folder.apply(changes)
    assert bucket.names() == []
    assert numbers(bucket.history(A)) == [1, 2, GONE, 1, 2, GONE]  # a deletion forgets what came before it


async def test_what_has_no_number_gives_way(folder: Folder, bucket: Bucket) -> None:
    bucket.put(A, b'{"id":{"S":"a"},"n":{"N":"0"}}')
    assert (await folder.apply([insert(1)])).written == 1
    bucket.put(A, b'{"id":{"S":"a"},"n":{"N":"0"}}', {"asyncrep-sequence": "none"})
    assert (await folder.apply([put(1), put(2)])).written == 2
    assert numbers(bucket.history(A)) == [0, 1, 0, 1, 2]


@pytest.mark.parametrize(
    ("other", "number", "is_written"),
    [
        ("arn:aws:dynamodb:us-east-1:123456789012:table/orders/stream/2026-06-01T00:00:00.000", 1, True),
        ("arn:aws:dynamodb:us-east-1:123456789012:table/orders/stream/2026-04-01T00:00:00.000", 9, False),
        ("arn:aws:dynamodb:eu-west-1:123456789012:table/orders/stream/2026-04-01T00:00:00.000", 1, True),
    ],
    ids=["a later stream of the table", "an earlier one", "another Region's table"],
)
async def test_numbers_are_compared_within_a_stream_and_streams_by_their_age(
    folder: Folder, bucket: Bucket, other: str, number: int, is_written: bool
) -> None:
    await folder.apply([put(5)])
    await folder.apply([put(number, eventSourceARN=other)])
    assert numbers(bucket.history(A)) == ([5, number] if is_written else [5])


async def test_two_who_write_the_same_at_once_write_it_once(objects: Objects, bucket: Bucket) -> None:
    changes = [insert(0), *(put(number) for number in range(1, 8))]
    both = await asyncio.wait_for(_both(Folder(objects), Folder(objects), changes), 20)
    assert sum(each.written for each in both) == 8
    assert numbers(bucket.history(A)) == list(range(8))


async def _both(first: Folder, second: Folder, changes: list[Change]) -> list[Applied]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each.apply(changes)) for each in (first, second)]
    return [task.result() for task in tasks]


async def test_an_object_that_changed_since_it_was_looked_at_is_looked_at_again(
    folder: Folder, objects: Objects, bucket: Bucket
) -> None:
    await folder.apply([insert(1)])
    calls = Calls(objects)
    newer = {"asyncrep-stream": lambdas.stream_of("orders"), "asyncrep-sequence": f"{lambdas.FIRST + 9:040}"}
    calls.before("PutObject", lambda: bucket.put(A, b'{"id":{"S":"a"},"n":{"N":"9"}}', newer))
    assert told(await folder.apply([put(2)])) == [(2, Fate.SUPERSEDED)]
    calls.before("DeleteObject", lambda: bucket.put(A, b'{"id":{"S":"a"},"n":{"N":"11"}}'))
    assert (await folder.apply([remove(10)])).written == 1  # what was put there has no number
    assert numbers(bucket.history(A)) == [1, 9, 11, GONE]


async def test_an_object_that_went_since_it_was_looked_at_is_put_anew(
    folder: Folder, objects: Objects, bucket: Bucket
) -> None:
    await folder.apply([insert(1)])
    Calls(objects).before("PutObject", lambda: bucket.delete(A))
    assert (await folder.apply([put(2)])).written == 1
    assert numbers(bucket.history(A)) == [1, GONE, 2]


async def test_an_object_that_others_keep_writing_fails_and_ends(
    folder: Folder, objects: Objects, bucket: Bucket
) -> None:
    bucket.put(A, json.dumps(item("a", n=0)).encode())
    events = events_of(objects)
    events.register(
        "before-call.s3.PutObject", lambda **_: bucket.put(A, json.dumps(item("a", n=len(bucket.history(A)))).encode())
    )  # fmt: skip
    result = await folder.apply([put(2), put(3)])
    assert told(result) == [(2, Fate.FAILED), (3, Fate.FAILED)]
    assert "Others keep writing" in result.unwritten[0].reason


# ── Lost answers and refusals ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("operation", "last"), [("PutObject", put(2)), ("DeleteObject", remove(2))])
async def test_a_write_whose_answer_got_lost_is_done_once_and_counted(
    folder: Folder, objects: Objects, bucket: Bucket, operation: str, last: Change
) -> None:
    await folder.apply([insert(1)])
    Calls(objects).lose_answer(operation)
    assert await folder.apply([last]) == Applied(1, 0, [])
    assert numbers(bucket.history(A)) == [1, 2 if operation == "PutObject" else GONE]


async def test_after_a_failed_change_no_later_one_of_the_item_is_tried(
    folder: Folder, objects: Objects, bucket: Bucket
) -> None:
    calls = Calls(objects)
    lost = 0

    def lose(**_: object) -> None:
        nonlocal lost
        lost += 1
        raise ConnectionResetError("nobody answers")

    events = events_of(objects)
    events.register("before-call.s3.HeadObject", lose)
    result = await folder.apply([insert(1, item("b")), put(2), put(3)])
    assert (result.written, told(result)) == (1, [(2, Fate.FAILED), (3, Fate.FAILED)])
    assert (lost, calls.names) == (RETRY.attempts, ["PutObject"])
    assert len(bucket.names()) == 1


@pytest.mark.parametrize("first", [insert(1), put(1), remove(1)])
async def test_a_bucket_that_is_not_there_is_an_error_whatever_the_change(
    bucket: Bucket, first: Change
) -> None:
    async with opened(S3Place(f"no-such-{bucket.name}", "x")) as nowhere:
        with pytest.raises(BucketNotFoundError, match="There is no S3 bucket for"):
            await Folder(nowhere).apply([first])


@pytest.mark.parametrize("first", [insert(1), put(1), remove(1)])
async def test_a_missing_permission_is_an_error_and_no_missing_object(
    folder: Folder, objects: Objects, bucket: Bucket, first: Change
) -> None:
    bucket.put(A, b"{}")
    events = events_of(objects)
    events.register("after-call.s3", _as_forbidden)
    with pytest.raises(PermissionDeniedError):
        await folder.apply([first])


def _as_forbidden(http_response: Any, parsed: dict[str, Any], model: Any, **_: object) -> None:
    if model.name in {"HeadObject", "PutObject"}:
        http_response.status_code = 403
        code = "403" if model.name == "HeadObject" else "AccessDenied"
        parsed.clear()
        parsed.update(Error={"Code": code, "Message": ""}, ResponseMetadata={"HTTPStatusCode": 403})


@pytest.mark.parametrize(("first", "written"), [(put(1), 1), (remove(1), 0)])
async def test_who_may_not_list_the_bucket_is_told_403_of_a_missing_object(
    folder: Folder, objects: Objects, bucket: Bucket, first: Change, written: int
) -> None:
    bucket.put(f"{A}-other", b"{}")
    calls = Calls(objects)
    events_of(objects).register("after-call.s3.HeadObject", _as_forbidden)
    result = await folder.apply([first])
    assert (result.written, told(result)) == (written, [] if written else [(1, Fate.SUPERSEDED)])
    assert calls.names[:2] == ["HeadObject", "ListObjectsV2"]


async def test_a_worker_that_lost_its_lease_sends_nothing_more(folder: Folder, bucket: Bucket) -> None:
    def refuse() -> None:
        raise LeaseLostError("The lease was not renewed in time.")

    with permitted_by(refuse), pytest.raises(LeaseLostError):
        await folder.apply([insert(1)])
    assert bucket.names() == []


# ── What is kept ────────────────────────────────────────────────────────────────────────────────────


async def test_a_change_without_a_new_image_is_poison_and_its_neighbours_are_written(
    folder: Folder, bucket: Bucket
) -> None:
    record = lambdas.put(item("a"), 2)
    del record["dynamodb"]["NewImage"]
    result = await folder.apply([insert(1), change(record), put(3)])
    assert (result.written, told(result)) == (2, [(2, Fate.POISON)])
    assert "NEW_AND_OLD_IMAGES" in result.unwritten[0].reason
    assert numbers(bucket.history(A)) == [1, 3]


async def test_an_item_that_is_not_selected_any_more_is_deleted(objects: Objects, bucket: Bucket) -> None:
    folder = Folder(objects, Selection.from_texts(where=["n<=2"], ttl_deletes=False))
    expired = lambdas.remove(item("a", n=2), 4)
    expired["userIdentity"] = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    await folder.apply([insert(1), put(2), change(expired)])
    assert numbers(bucket.history(A)) == [1, 2]
    before = item("a", n=2)
    await folder.apply([change(lambdas.put(item("a", n=5), 5, old=before)), insert(6, item("b", n=6))])
    assert numbers(bucket.history(A)) == [1, 2, GONE]
    assert bucket.names() == []


async def test_parts_of_items_are_no_backup(objects: Objects) -> None:
    with pytest.raises(UsageError, match="A backup holds whole items"):
        Folder(objects, Selection.from_texts(without=["secret"]))


async def test_requests_are_as_few_as_there_can_be(folder: Folder, objects: Objects, bucket: Bucket) -> None:
    calls = Calls(objects)
    await folder.apply([insert(1), put(2), put(3)])
    assert calls.names == ["PutObject"] * 3
    calls.names.clear()
    await folder.apply([put(4), put(5), remove(6)])
    assert calls.names == ["HeadObject", "PutObject", "PutObject", "DeleteObject"]
    assert bucket.names() == []
