"""Sorts any number of records into partitions on disk, by key, so that two sides can be joined in bounded memory.

A partition is a file of blocks; a block is some records, deflated. Nobody needs the records in an order, only that
equal keys come into partitions of one number. What comes later under a key replaces what came before, and a
deletion removes it: so a chain of incremental exports is folded while it is read back.
"""

from __future__ import annotations

import errno
import os
import struct
import tempfile
from array import array
from contextlib import contextmanager
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Self
from zlib import crc32

from isal import isal_zlib

from asyncrep.errors import StorageError
from asyncrep.items.equality import NO_ITEM, same_item

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

LEAST_PARTITIONS = 16
MOST_PARTITIONS = 512
"""Each has a buffer while it is filled; more of them would make the buffers too small to be worth deflating."""

LOADED_BYTES = 8 * 1024 * 1024
"""What a partition is to weigh when it is read back; both sides of one are in memory at once."""

OVERHEAD = 250
"""Bytes that a record takes in memory besides its key and image: two objects and its place in a dictionary."""

_OVERSIZE = 2 * LOADED_BYTES
_BUFFERS = 8 * 1024 * 1024
_BLOCK = range(16 * 1024, 256 * 1024)
_DIVISION = 16
_LEVEL = 1  # of isal: twice as fast as writing what it saves
_HEADER = struct.Struct("<II")
_LENGTH = "I"
_BITS = 32
_MIX = 0x9E3779B1
_MASK = 0xFFFFFFFF

Record = tuple[bytes, bytes]
"""A key and the item under it; an empty image says that the item is deleted."""

DELETED = b""


def sensible_partitions(weight: int) -> int:
    """Return into how many partitions records of this weight, in memory, are best sorted."""
    wanted = max(-(-weight // LOADED_BYTES), LEAST_PARTITIONS)
    return min(1 << (wanted - 1).bit_length(), MOST_PARTITIONS)


@contextmanager
def spill_folder() -> Iterator[Path]:
    """Make a folder for spills that only its owner can read; it is gone when the block ends, however it does.

    Raises:
        StorageError: there is no place for it.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix="asyncrep-", ignore_cleanup_errors=True)
    except OSError as error:
        raise _not_kept(Path(tempfile.gettempdir()), error) from error
    with folder as path:
        yield Path(path)


class Spill:
    """Records of one side, by partition. Add them, seal it, read it back.

    Args:
        folder: where its files go; it is made if it is not there.
        partitions: how many, a power of two.
        used_bits: of the keys' hashes, that all of these records have in common.

    Attributes:
        partitions: how many.
        length: records that were added.
    """

    def __init__(self, folder: Path, partitions: int, used_bits: int = 0) -> None:
        self.partitions = partitions
        self.length = 0
        self._folder = folder
        self._used_bits = used_bits + partitions.bit_length() - 1
        self._shift = max(_BITS - self._used_bits, 0)
        self._block = min(max(_BUFFERS // partitions, _BLOCK.start), _BLOCK.stop)
        self._buffers = [_Buffer() for _ in range(partitions)]
        self._weights = [0] * partitions
        self._inner: dict[int, Spill] = {}
        self._repeated: dict[int, int] = {}
        with self._kept():
            folder.mkdir(mode=0o700, exist_ok=True)

    def add(self, records: Iterable[Record]) -> None:
        """Add records; each replaces those of its key that were added before.

        Raises:
            StorageError: there is no room on the disk.
        """
        buffers, shift, last, block = self._buffers, self._shift, self.partitions - 1, self._block
        for record in records:
            key, image = record
            number = ((crc32(key) * _MIX & _MASK) >> shift) & last
            buffer = buffers[number]
            buffer.records.append(record)
            buffer.weight += len(key) + len(image) + OVERHEAD
            if buffer.weight >= block:
                self._write(number)

    def seal(self) -> Self:
        """Write what is still in memory.

        Raises:
            StorageError: there is no room on the disk.
        """
        for number in range(self.partitions):
            self._write(number)
        return self

    def weight(self, partition: int) -> int:
        """Return about how much a partition takes in memory; less, where a key was added several times."""
        return self._weights[partition]

    def load(self, partition: int) -> dict[bytes, bytes]:
        """Return what a partition holds in the end, by key.

        Raises:
            StorageError: it could not be read.
        """
        loaded: dict[bytes, bytes] = {}
        has_deletions = False
        records = 0
        for keys, images in self._blocks(partition):
            loaded.update(zip(keys, images, strict=True))
            has_deletions = has_deletions or DELETED in images
            records += len(keys)
        if records > len(loaded):
            self._repeated[partition] = self._count_replaced(partition, loaded)
        return {key: image for key, image in loaded.items() if image} if has_deletions else loaded

    @property
    def repeated(self) -> int:
        """Of the records that were loaded, how many another one of their key has replaced that was not the same."""
        return sum(self._repeated.values()) + sum(inner.repeated for inner in self._inner.values())

    def _count_replaced(self, partition: int, loaded: Mapping[bytes, bytes]) -> int:
        return sum(
            not _is_same(loaded[key], image)
            for keys, images in self._blocks(partition)
            for key, image in zip(keys, images, strict=True)
        )

    def part(self, partition: int) -> Iterator[dict[bytes, bytes]]:
        """Yield what a partition holds, in pieces that fit into memory, always in the same order."""
        if self._is_divisible(partition):
            divided = self._divided(partition)
            for number in range(divided.partitions):
                yield from divided.part(number)
        else:
            yield self.load(partition)

    def get(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """Return what is there of these keys; each partition that one of them is in is read for it."""
        wanted: dict[int, list[bytes]] = {}
        for key in keys:
            wanted.setdefault(self._partition_of(key), []).append(key)
        return {
            key: piece[key]
            for partition, group in wanted.items()
            for piece in self.part(partition)
            for key in group
            if key in piece
        }

    def beside(self, other: Spill) -> Iterator[tuple[dict[bytes, bytes], dict[bytes, bytes]]]:
        """Yield both sides, in parts that fit into memory: a key is in the same part of both.

        Raises:
            StorageError: one of them could not be read, or there is no room on the disk.
        """
        for partition in range(self.partitions):
            if self._is_divisible(partition) or other._is_divisible(partition):
                yield from self._divided(partition).beside(other._divided(partition))
            else:
                yield self.load(partition), other.load(partition)

    def _partition_of(self, key: bytes) -> int:
        return ((crc32(key) * _MIX & _MASK) >> self._shift) & (self.partitions - 1)

    def _is_divisible(self, partition: int) -> bool:
        """Whether a partition is too large for memory, and the rest of the hashes can tell its keys apart."""
        is_oversize = self._weights[partition] > _OVERSIZE and self._used_bits < _BITS
        return is_oversize or partition in self._inner

    def _divided(self, partition: int) -> Spill:
        """Sort a partition once more, by what its keys' hashes have not in common; its file is gone then."""
        if partition not in self._inner:
            divided = Spill(self._folder / f"{partition}-divided", _DIVISION, self._used_bits)
            for keys, images in self._blocks(partition):
                divided.add(zip(keys, images, strict=True))
            self._inner[partition] = divided.seal()
            self._file(partition).unlink(missing_ok=True)
        return self._inner[partition]

    def _write(self, number: int) -> None:
        buffer = self._buffers[number]
        if not buffer.records:
            return
        keys, images = zip(*buffer.records, strict=True)
        lengths = array(_LENGTH, map(len, (*keys, *images)))
        block = isal_zlib.compress(b"".join((lengths.tobytes(), *keys, *images)), _LEVEL)
        with self._kept(), self._file(number).open("ab") as file:
            file.write(_HEADER.pack(len(block), len(keys)) + block)
        self.length += len(keys)
        self._weights[number] += buffer.weight
        self._buffers[number] = _Buffer()

    def _blocks(self, number: int) -> Iterator[tuple[list[bytes], list[bytes]]]:
        """Yield the keys and the images of each block of a partition, in the order they were added."""
        if not self._weights[number]:
            return
        with self._kept(), self._file(number).open("rb") as file:
            while header := file.read(_HEADER.size):
                size, records = _HEADER.unpack(header)
                yield _taken_apart(isal_zlib.decompress(file.read(size)), records)

    def _file(self, number: int) -> Path:
        return self._folder / str(number)

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise _not_kept(self._folder, error) from error


def _is_same(left: bytes, right: bytes) -> bool:
    try:
        return same_item(left, right)
    except NO_ITEM:
        return False


class _Buffer:
    """Records of one partition that are not on disk yet."""

    __slots__ = ("records", "weight")

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.weight = 0


def _taken_apart(block: bytes, records: int) -> tuple[list[bytes], list[bytes]]:
    lengths = array(_LENGTH)
    begin = 2 * records * lengths.itemsize
    lengths.frombytes(block[:begin])
    pieces = [block[start:end] for start, end in pairwise(accumulate(lengths, initial=begin))]
    return pieces[:records], pieces[records:]


def _not_kept(folder: Path, error: OSError) -> StorageError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return StorageError(
            f"There is no room left in {tempfile.gettempdir()}, where items are kept while they are compared: "
            "let TMPDIR name a larger place."
        )
    return StorageError(
        f"Items cannot be kept in {folder} while they are compared: {os.strerror(error.errno or 0)}."
    )
