"""An incremental folder is read by key and written to under preconditions, like a table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import KeyAttribute, KeySchema, S3Place, Segment, TableSettings
from asyncrep.aws.objects import open_objects
from asyncrep.backup.item_folder import ItemFolder
from asyncrep.backup.local import LocalFolder
from asyncrep.items.incremental import object_name
from asyncrep.items.keys import KeyReader
from asyncrep.model import KeyedImage
from asyncrep.mutation import AttributesAre, Delete, ItemAbsent, ItemState, Outcome, Patch, Put
from tests.support.hooked import Hooked
from tests.support.scenario import item, key, session, wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from asyncrep.storage import Storage
    from tests.support.buckets import Bucket
    from tests.support.values import Item

BY_ID = KeySchema(KeyAttribute("id", "S"))
BY_ID_AND_N = KeySchema(KeyAttribute("id", "S"), KeyAttribute("n", "N"))
BY_Z_AND_A = KeySchema(KeyAttribute("z", "S"), KeyAttribute("a", "B"))


@pytest.fixture(params=["s3", "folder"])
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Storage]:
    if request.param == "folder":
        yield LocalFolder(tmp_path / "backups" / "orders")
        return
    bucket: Bucket = request.getfixturevalue("bucket")
    async with open_objects(S3Place(bucket.name, "backups/orders"), session=session()) as objects:
        yield objects


def folder(storage: Any, schema: KeySchema = BY_ID, **options: Any) -> ItemFolder:
    settings = TableSettings("orders", "", None, schema, 0, 0, frozenset(), None, None, is_folder=True)
    return ItemFolder(storage, settings, **options)


def image(made: Item) -> bytes:
    return json.dumps(made, separators=(",", ":")).encode()


def put(made: Item, precondition: Any = None, schema: KeySchema = BY_ID) -> Put:
    return Put(KeyReader(schema).key(image(made)), image(made), precondition or ItemAbsent())


async def held(folder: ItemFolder, *keys: bytes) -> dict[bytes, Any]:
    found = await folder.get(keys, consistent=True)
    return {key: json.loads(bytes(image)) for key, image in found.items()}


async def all_of(folder: ItemFolder, segments: int = 1, **options: Any) -> list[bytes]:
    return [
        bytes(image)
        for index in range(segments)
        async for page in folder.pages(Segment(index, segments), **options)
        for image in page.images
    ]


# ── Reading ─────────────────────────────────────────────────────────────────────────────────────────


async def test_what_is_put_is_an_object_of_the_compact_item_under_the_digest_of_its_key(
    storage: Storage,
) -> None:
    made = item("a", text="x y\u2028", n=5)
    spaced = json.dumps(made).encode()
    await folder(storage).apply(Put(key("a"), spaced, ItemAbsent()))
    assert await storage.get(object_name(key("a"))) is not None
    body, _ = await storage.get(object_name(key("a"))) or (b"", "")
    assert b'": ' not in body
    assert json.loads(body) == made


async def test_items_are_found_by_their_keys_and_others_are_not(storage: Storage) -> None:
    ours = folder(storage)
    for name in "ab":
        await ours.apply(put(item(name, v=1)))
    assert await held(ours, key("a"), key("c"), key("b")) == {
        key("a"): item("a", v=1),
        key("b"): item("b", v=1),
    }
    found = await ours.get([key("a")], consistent=True, keys_only=True)
    assert bytes(found[key("a")]) == key("a")


@pytest.mark.parametrize(
    ("schema", "made"),
    [
        (KeySchema(KeyAttribute("id", "N")), {"id": {"N": "12345678901234567890123456789012345678"}}),
        (KeySchema(KeyAttribute("id", "B")), {"id": wire(b"\0\xff")}),
        (BY_ID_AND_N, {"n": {"N": "-0.5"}, "id": {"S": 'quo"te\\'}}),
        (BY_Z_AND_A, {"a": wire(b"x"), "z": {"S": "__proto__"}}),
        (KeySchema(KeyAttribute("a.b", "S"), KeyAttribute("🦄", "S")), {"🦄": {"S": ""}, "a.b": {"S": "é"}}),
    ],
)
async def test_keys_of_every_type_and_name_are_found_again(
    tmp_path: Path, schema: KeySchema, made: Item
) -> None:
    storage = LocalFolder(tmp_path)
    ours = folder(storage, schema)
    mutation = put(made, schema=schema)
    assert await ours.apply(mutation) == Outcome(applied=True)
    assert await held(ours, mutation.key) == {mutation.key: made}
    assert [object_name(mutation.key)] == [entry.name async for entry in storage.entries()]


async def test_a_number_is_found_however_a_key_spells_it(tmp_path: Path) -> None:
    ours = folder(LocalFolder(tmp_path), KeySchema(KeyAttribute("id", "N")))
    await ours.apply(put({"id": {"N": "1.50"}}, schema=KeySchema(KeyAttribute("id", "N"))))
    assert await held(ours, b'{"id":{"N":"1.5"}}') == {b'{"id":{"N":"1.5"}}': {"id": {"N": "1.50"}}}


async def test_an_object_that_another_tool_named_is_found(storage: Storage) -> None:
    made = {"z": {"S": "z"}, "a": wire(b"a")}
    await storage.put(object_name(image({"a": wire(b"a"), "z": {"S": "z"}})), image(made))
    ours = folder(storage, BY_Z_AND_A)
    canonical = ours.key(image(made))
    assert await held(ours, canonical) == {canonical: made}
    assert await all_of(ours) == [image(made)]


@pytest.mark.parametrize(
    "content", [b"", b"no item", b'{"id":"plain"}', b'{"id":{"S":"b"}}', b"\xff", b'{"v":{"S":"no key"}}']
)
async def test_an_object_that_holds_no_item_counts_as_none_and_is_named(
    tmp_path: Path, content: bytes
) -> None:
    storage = LocalFolder(tmp_path)
    await storage.put(object_name(key("a")), content)
    ours = folder(storage)
    assert await held(ours, key("a")) == {}
    assert await all_of(ours) == []
    assert list(ours.unreadable) == [object_name(key("a"))]


async def test_segments_are_ranges_of_names_that_hold_every_item_once(tmp_path: Path) -> None:
    ours = folder(LocalFolder(tmp_path))
    await ours.write_all([KeyedImage(key(f"k{n}"), image(item(f"k{n}"))) for n in range(700)])
    everything = {image(item(f"k{n}")) for n in range(700)}
    for segments in (1, 7, 16):
        found = await all_of(ours, segments)
        assert len(found) == 700
        assert set(found) == everything
    whole = await all_of(ours, keys_only=True)
    assert sorted(whole, key=object_name) == whole
    assert await all_of(ours, keys_only=True, after=whole[300]) == whole[301:]


async def test_what_is_named_otherwise_is_no_part_of_a_folder(storage: Storage) -> None:
    ours = folder(storage)
    assert await ours.is_empty()
    for name in ("manifest.json", "A" * 64, "0" * 63, f"within/{'0' * 64}"):
        await storage.put(name, image(item()))
    assert await ours.is_empty()
    assert await all_of(ours) == []
    await ours.apply(put(item()))
    assert not await ours.is_empty()


async def test_requests_under_way_are_bounded(tmp_path: Path) -> None:
    hooked = Hooked(LocalFolder(tmp_path))
    ours = folder(hooked, at_once=8)
    await ours.write_all([KeyedImage(key(f"k{n}"), image(item(f"k{n}"))) for n in range(50)])
    await ours.limited(None).get([key(f"k{n}") for n in range(50)], consistent=True)  # type: ignore[arg-type]
    assert hooked.most_under_way == 8


# ── Writing ─────────────────────────────────────────────────────────────────────────────────────────


async def test_a_put_of_what_is_to_be_absent_leaves_alone_what_is_there(storage: Storage) -> None:
    ours = folder(storage)
    assert (await ours.apply(put(item("a", v=1)))).applied
    assert await ours.apply(put(item("a", v=2))) == Outcome(applied=False)
    assert await held(ours, key("a")) == {key("a"): item("a", v=1)}


async def test_a_put_takes_the_place_of_an_object_that_was_seen_to_hold_no_item(storage: Storage) -> None:
    ours = folder(storage)
    await storage.put(object_name(key("a")), b"no item")
    assert await held(ours, key("a")) == {}
    assert (await ours.apply(put(item("a")))).applied
    assert await held(ours, key("a")) == {key("a"): item("a")}


async def test_a_put_whose_answer_got_lost_is_known_by_what_is_there(storage: Storage) -> None:
    hooked = Hooked(storage)
    hooked.lose("put")
    assert (await folder(hooked).apply(put(item("a", v=1)))).applied


async def test_a_put_whose_answer_got_lost_is_not_taken_for_somebody_elses(storage: Storage) -> None:
    hooked = Hooked(storage)
    hooked.before("put", lambda: storage.put(object_name(key("a")), image(item("a", v=9))))
    hooked.lose("put")
    hooked.before("get", lambda: storage.put(object_name(key("a")), image(item("a", v=9))))
    outcome = await folder(hooked).apply(
        Put(key("a"), image(item("a", v=1)), AttributesAre({"id": wire("a")}))
    )
    assert not outcome.applied


async def test_a_patch_changes_the_attributes_it_names_if_they_are_as_expected(storage: Storage) -> None:
    ours = folder(storage)
    await ours.apply(put(item("a", v=1, w=1, x=1)))
    patch = Patch(key("a"), {"v": wire(2)}, ["w"], AttributesAre({"v": {"N": "1.0"}, "y": None}))
    outcome = await ours.apply(patch)
    assert outcome.applied
    assert json.loads(outcome.old or b"{}") == item("a", v=1, w=1, x=1)
    assert await held(ours, key("a")) == {key("a"): item("a", v=2, x=1)}
    assert await ours.apply(patch) == Outcome(applied=False)


@pytest.mark.parametrize("there", [item("a", v=2), item("a"), item("a", v=1, more=1), None])
async def test_a_put_or_deletion_is_refused_where_the_item_is_another(
    storage: Storage, there: Item | None
) -> None:
    ours = folder(storage)
    if there is not None:
        await ours.apply(put(there))
    expected = AttributesAre(item("a", v=1))
    for mutation in (put(item("a", v=3), expected), Delete(key("a"), expected)):
        assert await ours.apply(mutation) == Outcome(applied=False)
    assert await held(ours, key("a")) == ({} if there is None else {key("a"): there})


async def test_a_deletion_removes_both_objects_of_an_item(storage: Storage) -> None:
    made = {"z": {"S": "z"}, "a": wire(b"a")}
    ours = folder(storage, BY_Z_AND_A)
    canonical = ours.key(image(made))
    other = object_name(image({"a": wire(b"a"), "z": {"S": "z"}}))
    await storage.put(object_name(canonical), image(made))
    await storage.put(other, image(made))
    assert (await ours.apply(Delete(canonical, AttributesAre(made)))).applied
    assert [entry.name async for entry in storage.entries()] == []


async def test_a_change_of_an_object_that_another_tool_named_is_written_under_our_name(
    storage: Storage,
) -> None:
    made = {"z": {"S": "z"}, "a": wire(b"a")}
    ours = folder(storage, BY_Z_AND_A)
    canonical = ours.key(image(made))
    await storage.put(object_name(image({"a": wire(b"a"), "z": {"S": "z"}})), image(made))
    mutation = Put(canonical, image({**made, "v": wire(1)}), AttributesAre(made))
    assert (await ours.apply(mutation)).applied
    assert await held(ours, canonical) == {canonical: {**made, "v": wire(1)}}
    assert await storage.get(object_name(canonical)) is not None


async def test_an_object_that_changed_since_it_was_read_is_not_overwritten(storage: Storage) -> None:
    await folder(storage).apply(put(item("a", v=1)))
    hooked = Hooked(storage)
    hooked.before("put", lambda: storage.put(object_name(key("a")), image(item("a", v=9))))
    outcome = await folder(hooked).apply(put(item("a", v=2), AttributesAre(item("a", v=1))))
    assert not outcome.applied
    assert await held(folder(storage), key("a")) == {key("a"): item("a", v=9)}


async def test_an_object_that_changed_since_it_was_read_is_not_deleted(storage: Storage) -> None:
    await folder(storage).apply(put(item("a", v=1)))
    hooked = Hooked(storage)
    hooked.before("delete", lambda: storage.put(object_name(key("a")), image(item("a", v=9))))
    outcome = await folder(hooked).apply(Delete(key("a"), AttributesAre(item("a", v=1))))
    assert not outcome.applied
    assert await held(folder(storage), key("a")) == {key("a"): item("a", v=9)}


async def test_the_mark_of_a_change_stays_with_an_object_that_is_brought_up_to_date(bucket: Bucket) -> None:
    mark = {"asyncrep-stream": "arn:x", "asyncrep-sequence": f"{7:040}"}
    name = f"backups/orders/{object_name(key('a'))}"
    bucket.put(name, image(item("a", v=1)), mark)
    async with open_objects(S3Place(bucket.name, "backups/orders"), session=session()) as objects:
        assert (await folder(objects).apply(put(item("a", v=2), AttributesAre(item("a", v=1))))).applied
    assert json.loads(bucket.body(name)) == item("a", v=2)
    assert bucket.metadata(name) == mark


async def test_all_of_a_batch_is_put_and_deleted_and_the_last_of_a_key_counts(storage: Storage) -> None:
    ours = folder(storage)
    await ours.write_all([
        KeyedImage(key("a"), image(item("a", v=1))),
        KeyedImage(key("b"), image(item("b"))),
        KeyedImage(key("a"), image(item("a", v=2))),
    ])  # fmt: skip
    await ours.write_all([ItemState(key("b"), None), ItemState(key("c"), None)])
    assert await held(ours, key("a"), key("b"), key("c")) == {key("a"): item("a", v=2)}


async def test_deleting_what_is_not_there_leaves_no_mark_of_a_deletion(bucket: Bucket) -> None:
    async with open_objects(S3Place(bucket.name, "backups/orders"), session=session()) as objects:
        await folder(objects).write_all([ItemState(key("a"), None)])
    told = bucket.s3.list_object_versions(Bucket=bucket.name)
    assert "DeleteMarkers" not in told
