"""How a stored diff is read: every line is checked, memory stays bounded, and of a key the later line counts."""

from __future__ import annotations

import io
import json
import os
import threading
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrep.cli.output import json_line
from asyncrep.errors import AsyncrepError, UsageError
from asyncrep.items.keys import KeyReader
from asyncrep.model import KeyAttribute, KeySchema, Missing, State, discrepancy
from asyncrep.repair import stored_diff
from asyncrep.repair.stored_diff import Entries, StoredDiff, Task, read_line
from tests.support.strategies import items as wire_items
from tests.support.strategies import respell, seeds, thoroughly

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = KeySchema(KeyAttribute("id", "S"))
KEYS = KeyReader(SCHEMA)


def entry(**members):
    """A line of a different item `a`, with some members replaced; None leaves one out."""
    line = {
        "kind": "different",
        "key": {"id": {"S": "a"}},
        "primary": {"id": {"S": "a"}, "v": {"N": "1"}},
        "replica": {"id": {"S": "a"}, "v": {"N": "2"}},
        "segment": 3,
        "state": "found",
        "reason": None,
    }
    return json.dumps(line | members).encode() + b"\n"


def missing(number, **members):
    key = {"id": {"S": f"k{number}"}}
    return entry(**{"kind": "missing", "key": key, "primary": key, "replica": None} | members)


def stored(*lines):
    return StoredDiff("d.jsonl", io.BytesIO(b"".join(lines)))


async def names(diff, task=Task.CHANGE):
    with Entries(diff, SCHEMA) as entries:
        await entries.check()
        return [
            json.loads(found.key)["id"]["S"] for group in entries.groups(task, 3, 10**9) for found in group
        ]


# A line


@thoroughly
@given(ours=wire_items(), theirs=wire_items(), which=st.sampled_from(["missing", "different", "extraneous"]))
def test_what_was_written_is_read_as_it_was(ours, theirs, which):
    primary, replica = (
        json.dumps({**side, "id": {"S": "a"}, "side": {"S": name}}).encode()
        for side, name in ((ours, "primary"), (theirs, "replica"))
    )
    sides = {"missing": (primary, None), "different": (primary, replica), "extraneous": (None, replica)}[
        which
    ]
    found = discrepancy(b'{"id":{"S":"a"}}', *sides, segment=7).moved(State.SKIPPED)
    assert read_line(json_line(found), KEYS) == found


@thoroughly
@given(ours=wire_items(), source=seeds())
def test_an_image_may_be_spelled_in_any_way(ours, source):
    image = respell({**ours, "id": {"S": "a"}}, source).replace(b"\n", b" ")
    line = b'{"primary":%b,"key":%b,"kind":"missing"}' % (image, respell({"id": {"S": "a"}}, source))
    assert read_line(line, KEYS) == Missing(key=b'{"id":{"S":"a"}}', primary=image)


BAD = {
    "truncated": (entry()[:-20], "This is not one whole JSON object (Input data was truncated); each"),
    "malformed": (entry().replace(b":", b"=", 1), "This is not one whole JSON object (JSON is malformed"),
    "two": (entry()[:-1] + entry(), "This is not one whole JSON object"),
    "an opening": (b"{\n", "This is not one whole JSON object (Input data was truncated); each"),
    "a number": (b"7\n", "This is no discrepancy as diff-tables --output writes it: Expected `object`"),
    "another object": (b'{"id":{"S":"a"}}', "missing required field `kind`"),
    "latin-1": (entry(reason="x").replace(b'"x"', b'"\xe9"'), "This is not UTF-8 text."),
    "gzip": (b"\x1f\x8b\x08\x00\xff", "This is not UTF-8 text."),
    "deep": (
        entry(primary=None).replace(b'"primary": null', b'"primary":' + b"[" * 100_000),
        "nested too deeply",
    ),
    "kind": (entry(kind="odd"), 'There is no kind "odd"; it is missing, different or extraneous.'),
    "state": (entry(state="done"), "Invalid enum value 'done' - at `$.state`"),
    "segment": (entry(segment="x"), "Expected `int`, got `str` - at `$.segment`"),
    "no primary": (entry(primary=None), "It is called different and has no item of the primary."),
    "too much": (entry(kind="missing"), "It is called missing and has an item of the replica."),
    "too little": (
        entry(kind="extraneous", primary=None, replica=None),
        "It is called extraneous and has no item",
    ),
    "equal": (
        entry(replica={"v": {"N": "1.0"}, "id": {"S": "a"}}),
        "It is called different and its two items are equal.",
    ),
    "key type": (entry(key={"id": {"N": "1"}}), 'Key attribute "id" must be {"S": "…"}'),
    "key name": (entry(key={"di": {"S": "a"}}), '"di" is not part of the table\'s key'),
    "key extra": (entry(key={"id": {"S": "a"}, "v": {"N": "1"}}), '"v" is not part of the table\'s key'),
    "key empty": (entry(key={"id": {"S": ""}}), 'Key attribute "id" must not be empty.'),
    "no key": (entry(key=None), "The key must be a JSON object"),
    "other key": (entry(key={"id": {"S": "b"}}), 'The primary\'s item has another key than "key" says.'),
    "other image": (
        entry(replica={"id": {"S": "b"}}),
        'The replica\'s item has another key than "key" says.',
    ),
    "image without key": (
        entry(replica={"v": {"N": "1"}}),
        "The replica's item: An item has not the key id (S)",
    ),
    "plain image": (entry(primary={"id": "a"}), "Expected `object`, got `str` - at `$[...]`"),
    "type": (entry(primary={"id": {"S": "a"}, "v": {"Q": "1"}}), "unknown field `Q` - at `$[...]`"),
    "no type": (entry(primary={"id": {"S": "a"}, "v": {}}), "a value has one type, not 0 - at `$[...]`"),
    "types": (entry(primary={"id": {"S": "a"}, "v": {"S": "", "N": "1"}}), "a value has one type, not 2"),
    "nested": (
        entry(primary={"id": {"S": "a"}, "v": {"L": [{"M": {"x": {"N": 1}}}]}}),
        "Expected `str`, got `int` - at `$[...].L[0].M[...].N`",
    ),
    "array": (entry(primary=[]), "Expected `object`, got `array`"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_line_that_is_no_discrepancy_of_these_tables_is_refused_with_a_sentence(name):
    line, said = BAD[name]
    with pytest.raises(UsageError) as refusal:
        read_line(line, KEYS)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_an_attribute_that_was_ignored_has_to_be_ignored_again():
    primary, replica = (
        json.dumps({"id": {"S": "a"}, "v": {"N": side}, "seen": {"S": side}}).encode() for side in "12"
    )
    line = json_line(discrepancy(b'{"id":{"S":"a"}}', primary, replica), {"seen"})
    with pytest.raises(UsageError) as refusal:
        read_line(line, KEYS)
    assert str(refusal.value) == (
        'Its items differ in seen too, which "attributes" does not name: '
        "give --ignore-attribute seen as when the diff was made."
    )
    assert read_line(line, KEYS, {"seen"}).kind == "different"
    assert read_line(line, KEYS, {"seen", "v"}).kind == "different"
    unnamed = json.loads(line)
    for attributes in (None, 7, ["v"], {"v": "changed"}):
        assert read_line(json.dumps(unnamed | {"attributes": attributes}).encode(), KEYS).kind == "different"


# A file


async def test_the_sentence_names_the_file_and_the_line_blank_lines_counted():
    with pytest.raises(UsageError, match=r"^d\.jsonl, line 4: This is not one whole JSON object"):
        await names(stored(b"\n", missing(1), b" \t\r\n", missing(2)[:-9]))


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c", "\r"])
async def test_only_a_line_feed_ends_a_line(separator):
    if separator.isprintable() or separator > "\x7f":
        key = {"id": {"S": f"k{separator}1"}}
        text = json.dumps({"kind": "missing", "key": key, "primary": key}, ensure_ascii=False)
        assert await names(stored(text.encode() + b"\n", missing(2))) == [f"k{separator}1", "k2"]
    else:
        joined = missing(1)[:-1] + separator.encode() + missing(2)
        with pytest.raises(UsageError, match="line 1:"):
            await names(stored(joined))


async def test_the_last_line_needs_no_end_and_the_first_may_have_a_mark():
    assert await names(stored(b"\xef\xbb\xbf", missing(1), missing(2)[:-1])) == ["k1", "k2"]


async def test_records_come_in_the_files_order_by_task():
    lines = [
        missing(5),
        entry(kind="extraneous", primary=None),
        missing(1, state="repaired"),
        missing(3),
        missing(4, state="changed"),
        missing(0, state="failed"),
    ]
    assert await names(stored(*lines)) == ["k5", "k3", "k4", "k0"]
    assert await names(stored(*lines), Task.DELETE) == ["a"]
    assert await names(stored(*lines), Task.NOTHING) == ["k1"]


async def test_of_a_key_that_comes_again_the_later_line_counts():
    again = missing(1, primary={"id": {"S": "k1"}, "v": {"N": "2"}})
    with Entries(stored(missing(1), missing(2), again), SCHEMA) as entries:
        await entries.check()
        [group] = entries.groups(Task.CHANGE, 100, 10**9)
        assert (entries.read, entries.repeated, entries.count(Task.CHANGE)) == (3, 1, 2)
    assert [b'"v"' in (found.primary or b"") for found in group] == [False, True]


async def test_groups_are_bounded_by_records_and_by_bytes():
    with Entries(stored(*map(missing, range(10))), SCHEMA) as entries:
        await entries.check()
        assert [len(group) for group in entries.groups(Task.CHANGE, 4, 10**9)] == [4, 4, 2]
        assert [len(group) for group in entries.groups(Task.CHANGE, 100, 2 * len(missing(0)))] == [2] * 5


async def test_a_line_longer_than_any_discrepancy_is_refused(monkeypatch):
    monkeypatch.setattr(stored_diff, "_LONGEST_LINE", 1000)
    with pytest.raises(UsageError, match=r"^d\.jsonl, line 2: This is longer than any discrepancy\.$"):
        await names(stored(missing(1), b"x" * 5000))


@pytest.mark.parametrize("missing_path", ["nowhere.jsonl", "", "a\x00b"])
def test_what_cannot_be_read_is_refused(tmp_path: Path, missing_path: str):
    with pytest.raises(UsageError, match=r"^Cannot read .*"), StoredDiff.opened(f"{tmp_path}/{missing_path}"):
        pass


async def test_a_pipe_is_read_to_its_end_and_kept_for_its_owner_alone(tmp_path: Path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    content = b"".join(map(missing, range(5_000)))
    writer = threading.Thread(target=path.write_bytes, args=(content,))
    writer.start()
    with StoredDiff.opened(path) as diff:
        writer.join()
        assert os.fstat(diff.file.fileno()).st_mode & 0o777 == 0o600
        assert os.fstat(diff.file.fileno()).st_nlink == 0
        assert len(await names(diff)) == 5_000


async def test_a_file_that_is_cut_off_after_the_check_is_noticed(tmp_path: Path):
    path = tmp_path / "d.jsonl"
    path.write_bytes(b"".join(map(missing, range(2000))))
    with StoredDiff.opened(path) as diff, Entries(diff, SCHEMA) as entries:
        await entries.check()
        os.truncate(path, 100_000)
        with pytest.raises(
            AsyncrepError, match=r"d\.jsonl was changed while it was in use: line \d+ is not what"
        ):
            list(entries.groups(Task.CHANGE, 100, 10**9))


async def test_memory_does_not_grow_with_the_file(tmp_path: Path):
    path = tmp_path / "d.jsonl"
    with path.open("wb") as file:
        for number in range(20_000):
            file.write(missing(number, replica=None, reason="r" * 200))
    tracemalloc.start()
    try:
        with StoredDiff.opened(path) as diff, Entries(diff, SCHEMA) as entries:
            await entries.check()
            assert sum(map(len, entries.groups(Task.CHANGE, 100, 10**6))) == 20_000
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 1.5 * 1024 * 1024  # the file has 10 MB; a set of digests would take 2
