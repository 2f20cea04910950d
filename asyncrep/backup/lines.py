"""The lines of a backup: compact JSON, ended by a line feed, usually within gzip. Pure.

What gzip holds may be several members, one after the other, as ``cat`` makes of several files; plain text is
read as well. Only a line feed ends a line (U+2028 and its like stay within one), and a carriage return
before it belongs to the end.
"""

from __future__ import annotations

import base64
import hashlib
from itertools import chain
from typing import TYPE_CHECKING

import msgspec
from isal import isal_zlib

from asyncrep.errors import BackupError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from msgspec import Raw

LONGEST_LINE = 16 * 1024 * 1024
"""Bytes a line may have. An item of 400 KB can be 3 MB of JSON, and an export's line holds two of it."""

_LEVEL = 2  # of isal: about a gigabyte a second; level 3 takes many times as long for a little less
_WINDOW_GZIP = 31
_MAGIC = b"\x1f\x8b"
_HEADER_BYTES = 10
_MARKED_HEADER = b"\x1f\x8b\x08\x10\0\0\0\0\0\xffasyncrep\0"  # RFC 1952: with a comment, which readers skip
_PIECE = 1024 * 1024  # inflated at once: gzip may hold a thousand times what it is


def compact_lines(images: Sequence[Raw | bytes], *, one_writer: bool = False) -> bytes:
    """Return images as lines, without the white space that they may have between their members.

    Args:
        images: wire JSON of items. What they hold stays as it was spelled.
        one_writer: all of them were formatted by the same program, as those of one answer are: then
            looking at the first tells of the others whether they are compact.
    """
    return b"\n".join(chain(_compact(images, one_writer=one_writer), (b"",))) if images else b""


def export_lines(images: Sequence[Raw | bytes], *, one_writer: bool = False) -> bytes:
    """Return images as lines of an export, ``{"Item":{…}}``; see ``compact_lines``."""
    if not images:
        return b""
    return b'{"Item":' + b'}\n{"Item":'.join(_compact(images, one_writer=one_writer)) + b"}\n"


def _compact(images: Sequence[Raw | bytes], *, one_writer: bool) -> Sequence[Raw | bytes]:
    joined = b",".join(images)
    sample = bytes(images[0]) if one_writer else joined
    # Compact is for size and for comparing bytes; that no line feed is within a line is for life and death.
    if b"\n" in joined or b'": ' in sample or b'", ' in sample:
        return [msgspec.json.format(bytes(image), indent=-1) for image in images]
    return images


def is_marked(begin: bytes) -> bool:
    """Tell by its first bytes whether a file was written here: then there is to be a manifest of it, too."""
    return begin.startswith(_MARKED_HEADER)


class Deflater:
    """Makes gzip of what is added, and checksums of that. Its header tells who wrote it.

    Args:
        md5: also the one that AWS's exports have; those have no mark, as they are for readers of all kinds.

    Attributes:
        bytes: that were added.
        stored_bytes: that came out.
    """

    def __init__(self, *, md5: bool = False) -> None:
        self.bytes = 0
        self.stored_bytes = 0
        self._deflate = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _WINDOW_GZIP)
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False) if md5 else None

    def add(self, data: bytes) -> bytes:
        """Return what is to be stored next; often nothing yet."""
        self.bytes += len(data)
        return self._stored(self._deflate.compress(data))

    def finish(self) -> bytes:
        """Return the last of it."""
        return self._stored(self._deflate.flush())

    @property
    def sha256(self) -> str:
        """The checksum of everything that came out, in hexadecimal digits."""
        return self._sha256.hexdigest()

    @property
    def md5(self) -> str | None:
        """The other checksum in Base64; None where nobody asked for it."""
        return None if self._md5 is None else base64.b64encode(self._md5.digest()).decode()

    def _stored(self, data: bytes) -> bytes:
        if data and not self.stored_bytes and self._md5 is None:
            data = _MARKED_HEADER + data[_HEADER_BYTES:]
        self.stored_bytes += len(data)
        self._sha256.update(data)
        if self._md5 is not None:
            self._md5.update(data)
        return data


class LineReader:
    """Cuts what is read of a file into its lines. Feed it piece by piece, and end it.

    Attributes:
        name: the file, as errors call it.
        number: of the last line that was yielded; the first is 1.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.number = 0
        self._opening: bytes | None = b""  # what came before it is known what it is
        self._inflate: _Inflater | None = None
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield the lines that another piece completes, with their numbers; blank ones only count.

        All of them must be taken before the next piece is fed.

        Raises:
            BackupError: the gzip is damaged, or a line is longer than anything that could be an item.
        """
        if self._opening is not None:
            data = self._opening + data
            if len(data) < len(_MAGIC):
                self._opening = data
                return
            self._opening = None
            if data.startswith(_MAGIC):
                self._inflate = _Inflater()
        for piece in self._plain(data):
            yield from self._cut(piece)

    def end(self) -> Iterator[tuple[int, bytes]]:
        """Yield the last line if no line feed ends it; all pieces have been fed.

        Raises:
            BackupError: the file breaks off in the middle of its gzip.
        """
        if self._inflate is not None and not self._inflate.is_whole:
            raise BackupError(f"{self.name} breaks off {self._where}: its gzip has no end.")
        if self._opening:
            self._rest, self._opening = self._opening, None
        yield from self._cut(b"\n" if self._rest else b"")

    def _plain(self, data: bytes) -> Iterator[bytes]:
        if self._inflate is None:
            yield data
            return
        try:
            yield from self._inflate.feed(data)
        except isal_zlib.IsalError as error:  # type: ignore[misc]  # its stub calls the class an instance
            raise BackupError(
                f"{self.name} is damaged {self._where}: its gzip cannot be read ({error})."
            ) from error

    def _cut(self, piece: bytes) -> Iterator[tuple[int, bytes]]:
        *lines, rest = (self._rest + piece if self._rest else piece).split(b"\n")
        self._rest = b""
        for line in lines:
            self.number += 1
            if line.endswith(b"\r"):
                line = line[:-1]  # noqa: PLW2901 - what ends a line on other systems
            if len(line) > LONGEST_LINE:
                raise self._too_long(self.number)
            if line:
                yield self.number, line
        if len(rest) > LONGEST_LINE:
            raise self._too_long(self.number + 1)
        self._rest = rest

    @property
    def _where(self) -> str:
        return f"after line {self.number}" if self.number else "before its first line ends"

    def _too_long(self, number: int) -> BackupError:
        return BackupError(
            f"{self.name}, line {number}: the line is longer than {LONGEST_LINE:,} bytes, which no item is."
        )


class _Inflater:
    """Reads gzip of any number of members, in pieces of bounded size.

    Attributes:
        is_whole: what was fed ends where a member ends.
    """

    def __init__(self) -> None:
        self.is_whole = False
        self._member = isal_zlib.decompressobj(_WINDOW_GZIP)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what another piece holds.

        Raises:
            isal_zlib.IsalError: it is no gzip.
        """
        while data:
            if self._member.eof:
                data = data.lstrip(b"\0")  # padding, which gzip itself overlooks
                if not data:
                    return
                self._member = isal_zlib.decompressobj(_WINDOW_GZIP)
                self.is_whole = False
            yield self._member.decompress(data, _PIECE)
            self.is_whole = self._member.eof
            data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
        if not self._member.eof:
            yield from self._held_back()

    def _held_back(self) -> Iterator[bytes]:
        """Yield what the member has read and not handed out yet."""
        while piece := self._member.decompress(b"", _PIECE):
            yield piece
        self.is_whole = self._member.eof
