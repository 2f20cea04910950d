"""The lines of a backup: what is written is what is read, however the file is cut, and damage is told with its line."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
from base64 import b64encode
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from asyncrep.backup.lines import (
    LONGEST_LINE,
    Deflater,
    LineReader,
    compact_lines,
    export_lines,
    is_marked,
)
from asyncrep.errors import BackupError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDE = {
    "id": {"S": "__proto__"},
    "__proto__": {"S": ""},
    "n": {"N": "12345678901234567890123456789012345678"},
    "tiny": {"N": "-0.00000000000000000000000000000000000000000000000000000000000000000000000000000001"},
    "text": {"S": 'a\u2028b\u2029c\x85\x0bd": ", \\n\r\n\t\0'},
    "b": {"B": "AAEC/w=="},
    "sets": {"M": {"s": {"SS": ["", "b"]}, "n": {"NS": ["1", "1e10"]}, "b": {"BS": ["AA=="]}}},
    "l": {"L": [{"NULL": True}, {"BOOL": False}, {"L": []}, {"M": {}}]},
}
LARGE = {"id": {"S": "large"}, "l": {"L": [{"NULL": True}] * 200_000}}

texts = some.text(max_size=12)
values = some.recursive(
    some.builds(lambda text: {"S": text}, texts)
    | some.builds(lambda number: {"N": str(number)}, some.integers(-(10**38), 10**38))
    | some.builds(lambda data: {"B": b64encode(data).decode()}, some.binary(max_size=6)),
    lambda inner: some.builds(lambda members: {"L": members}, some.lists(inner, max_size=3)),
    max_leaves=4,
)
items = some.dictionaries(texts, values, min_size=1, max_size=4)


def image(item: object, *, ascii: bool = False, indent: int | None = None, spaced: bool = False) -> bytes:
    separators = (", ", ": ") if spaced else (",", ":")
    return json.dumps(item, ensure_ascii=ascii, indent=indent, separators=separators).encode(
        errors="surrogatepass"
    )


def read(pieces: Iterable[bytes], name: str = "s3://b/0") -> list[tuple[int, bytes]]:
    reader = LineReader(name)
    lines = [line for piece in pieces for line in reader.feed(piece)]
    return lines + list(reader.end())


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """The data in pieces that end at these places."""
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[begin:end] for begin, end in pairwise(ends)]


def deflated(lines: Sequence[bytes]) -> bytes:
    deflater = Deflater()
    return b"".join([*map(deflater.add, lines), deflater.finish()])


@given(some.lists(items, max_size=6), some.booleans(), some.lists(some.integers(0, 10_000), max_size=5))
@example([WIDE], True, [1])
@example([], False, [])
@example([{"id": {"S": "\n"}}], False, [1, 2, 3])
def test_whatever_is_written_is_read_again(written: list[object], spaced: bool, places: list[int]) -> None:
    images = [image(item, spaced=spaced) for item in written]
    stored = deflated([compact_lines(images)])
    lines = read(cut(stored, places))
    assert [number for number, _ in lines] == list(range(1, len(written) + 1))
    assert [line for _, line in lines] == [image(item) for item in written]
    assert [line.decode() for line in gzip.decompress(stored).split(b"\n")[:-1]] == [
        image(item).decode() for item in written
    ]


@given(some.lists(items, min_size=1, max_size=4), some.sampled_from([None, 0, 2]))
def test_lines_are_compact_and_hold_no_line_feed_however_their_writer_formats(
    written: list[object], indent: int | None
) -> None:
    images = [image(item, indent=indent, spaced=True, ascii=True) for item in written]
    wanted = [image(item, ascii=True) for item in written]
    assert compact_lines(images, one_writer=True) == b"".join(each + b"\n" for each in wanted)
    assert export_lines(images) == b"".join(b'{"Item":' + each + b"}\n" for each in wanted)


def test_formatting_leaves_the_spelling_of_numbers_and_text_as_it_was() -> None:
    odd = b'{ "n": {"N": "1.50"}, "__proto__": {"S": "\\u2028\xe2\x80\xa8\\/"}, "n": {"N": "007"} }'
    assert compact_lines([odd]) == (
        b'{"n":{"N":"1.50"},"__proto__":{"S":"\\u2028\xe2\x80\xa8\\/"},"n":{"N":"007"}}\n'
    )


def test_images_of_several_writers_are_each_made_compact() -> None:
    mixed = [b'{"a":{"N":"1"}}', b'{"a": {"N": "2"}}']
    assert compact_lines(mixed) == b'{"a":{"N":"1"}}\n{"a":{"N":"2"}}\n'
    assert compact_lines([]) == export_lines([]) == b""


def test_an_item_of_400_kilobytes_that_is_megabytes_of_json_comes_back() -> None:
    large = image(LARGE)
    assert len(large) > 2_500_000
    stored = deflated([compact_lines([large, image(WIDE)])])
    assert read(cut(stored, range(0, len(stored), 1000))) == [(1, large), (2, image(WIDE))]


@pytest.mark.parametrize("lines", [[], [b"one\n"], [b"x" * 3_000_000, b"\n"]])
def test_what_is_written_here_is_known_by_its_first_bytes(lines: list[bytes]) -> None:
    stored = deflated(lines)
    assert is_marked(stored)
    assert gzip.decompress(stored) == b"".join(lines)
    export = Deflater(md5=True)
    assert not is_marked(export.add(b"one\n") + export.finish())
    assert not is_marked(gzip.compress(b"one\n"))


def test_checksums_and_sizes_are_those_of_what_is_stored() -> None:
    deflater = Deflater(md5=True)
    stored = b"".join([deflater.add(b"one\n"), deflater.add(b"two\n"), deflater.finish()])
    assert (deflater.bytes, deflater.stored_bytes) == (8, len(stored))
    assert deflater.sha256 == hashlib.sha256(stored).hexdigest()
    assert deflater.md5 == b64encode(hashlib.md5(stored, usedforsecurity=False).digest()).decode()
    assert Deflater().md5 is None


@given(some.lists(some.integers(0, 200), max_size=6))
def test_several_members_of_gzip_are_one_file(places: list[int]) -> None:
    stored = gzip.compress(b"one\ntw") + gzip.compress(b"") + gzip.compress(b"o\nthree\n") + b"\0" * 9
    assert read(cut(stored, places)) == [(1, b"one"), (2, b"two"), (3, b"three")]


@given(some.lists(some.integers(0, 60), max_size=8))
def test_plain_text_is_read_with_either_end_of_a_line(places: list[int]) -> None:
    text = '{"a":{"S":"é\u2028"}}\r\n\n{"b":{"S":"\x85"}}\n\r\n{"c":1}\r'.encode()
    assert read(cut(text, places)) == [
        (1, '{"a":{"S":"é\u2028"}}'.encode()),
        (3, '{"b":{"S":"\x85"}}'.encode()),
        (5, b'{"c":1}'),
    ]


@pytest.mark.parametrize("text", [b"", b"\n", b"\r\n\n"])
def test_what_holds_nothing_has_no_lines(text: bytes) -> None:
    assert read([text]) == []
    assert read([gzip.compress(text)]) == []


@pytest.mark.parametrize("text", [b"x", b"\x1f", b"[]"])
def test_the_shortest_files_are_one_line(text: bytes) -> None:
    assert read([text]) == [(1, text)]


PLACE = r"(after line [1-9]\d*|before its first line ends)"


@given(some.integers(2, 100_000), some.lists(some.integers(0, 100_000), max_size=3))
def test_a_file_that_breaks_off_is_told(length: int, places: list[int]) -> None:
    stored = deflated([compact_lines([image({"id": {"S": os.urandom(40).hex()}}) for _ in range(400)])])
    broken = stored[: min(length, len(stored) - 1)]
    with pytest.raises(BackupError, match=rf"^s3://b/0 breaks off {PLACE}: its gzip has no end\.$"):
        read(cut(broken, places))


def test_a_file_that_breaks_off_between_two_members_is_not_told_apart_from_a_whole_one() -> None:
    assert read([gzip.compress(b"one\n")]) == [(1, b"one")]
    with pytest.raises(BackupError, match="breaks off after line 1"):
        read([gzip.compress(b"one\n") + gzip.compress(b"two\n")[:12]])


@given(some.integers(10, 100_000), some.integers(0, 7))
@example(954, 0)
def test_a_bit_that_flips_is_told_or_changes_nothing(place: int, bit: int) -> None:
    written = [image({"id": {"S": f"{n:x}" * 9}}) for n in range(500)]
    stored = bytearray(deflated([compact_lines(written)]))
    place = 10 + place % (len(stored) - 10)  # the header holds times and names, which nothing checks
    stored[place] ^= 1 << bit
    try:
        lines = read([bytes(stored)])
    except BackupError as error:
        assert re.match(rf"s3://b/0 (is damaged|breaks off) {PLACE}: its gzip", str(error))  # noqa: PT017 - or not
    else:  # it is one of the bits that fill up the last byte
        assert [line for _, line in lines] == written


def test_what_follows_gzip_and_is_none_is_damage() -> None:
    with pytest.raises(BackupError, match=r"is damaged after line 1: its gzip cannot be read"):
        read([gzip.compress(b"one\n") + b"two\n" * 9])


def test_a_line_that_no_item_can_be_is_refused_before_it_fills_memory() -> None:
    endless = gzip.compress(b"{}\n" + b"\0" * (LONGEST_LINE + 2_000_000))
    with pytest.raises(BackupError, match=r"^s3://b/0, line 2: the line is longer than 16,777,216 bytes"):
        read([endless])
    with pytest.raises(BackupError, match="line 1: the line is longer"):
        read([b" " * (LONGEST_LINE + 1) + b"\n"])
