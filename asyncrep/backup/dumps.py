"""Opens dumps, with manifests and without, and snapshots: one file, which may be a segment of a dump."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, cast

from asyncrep.backup.aws_exports import unwrap_lone_line
from asyncrep.backup.file_lines import FileBackup
from asyncrep.backup.layout import (
    MANIFEST,
    SEGMENT,
    as_of,
    read_dump_manifest,
    read_segment_manifest,
    segment_manifest_name,
    segment_of_manifest,
)
from asyncrep.backup.lines import is_marked
from asyncrep.backup.reading import BackupFile
from asyncrep.errors import BackupError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence

    from asyncrep.backup.layout import DumpManifest, Part, SegmentManifest
    from asyncrep.storage import Entry, ObjectHead, Storage

_NAMED = 5
"""How many numbers a sentence lists."""


def looks_like_dump(names: Iterable[str]) -> bool:
    """Tell whether these names are those of a dump's objects, or some of them."""
    return any(
        name == MANIFEST or SEGMENT.fullmatch(name) or segment_of_manifest(name) is not None for name in names
    )


async def open_dump(storage: Storage) -> FileBackup:
    """Open the dump that is in a place, ours or dynamodb-replicator's.

    Raises:
        BackupError: it is not whole, or not what its manifest says.
    """
    entries = {entry.name: entry async for entry in storage.entries() if "/" not in entry.name}
    found = await storage.get(MANIFEST) if MANIFEST in entries else None
    if found is not None:
        manifest = read_dump_manifest(found[0], storage.name_of(MANIFEST))
        return _with_manifest(storage, manifest, entries)
    segments = sorted(int(name) for name in entries if SEGMENT.fullmatch(name))
    known = {name: number for name in entries if (number := segment_of_manifest(name)) is not None}
    if known:
        await _tell_what_is_missing(storage, known, segments)
    for number in segments:
        _check_not_empty(storage.name_of(str(number)), entries[str(number)].size)
    if segments:
        await _check_is_not_ours(storage, str(segments[0]))
    files = [
        BackupFile(str(number), entries[str(number)].size, etag=entries[str(number)].etag)
        for number in segments
    ]
    written = max((entries[str(number)].modified for number in segments), default=None)
    return FileBackup(storage, "dump", files, as_of=written, notes=_notes(storage, segments))


def _with_manifest(storage: Storage, manifest: DumpManifest, entries: Mapping[str, Entry]) -> FileBackup:
    files = [_part(storage, part, entries.get(part.name)) for part in manifest.parts]
    named = [int(file.name) for file in files]
    if len(set(named)) < len(named):
        raise BackupError(f"{storage.name_of(MANIFEST)} names a segment twice.")
    others = sorted({int(name) for name in entries if SEGMENT.fullmatch(name)} - set(named))
    notes = [f"{storage.name_of(MANIFEST)} does not name {_listed(others)}: left out."] if others else []
    return FileBackup(
        storage,
        "dump",
        files,
        description=manifest.table,
        as_of=as_of(manifest),
        items=manifest.items,
        notes=notes,
    )


def _part(storage: Storage, part: Part, entry: Entry | None) -> BackupFile:
    if not SEGMENT.fullmatch(part.name):
        raise BackupError(f"{storage.name_of(MANIFEST)} names {part.name!r}, which is no segment.")
    if entry is None:
        raise BackupError(
            f"{storage.name_of(part.name)} is missing, which is a part of the dump by its manifest."
        )
    if entry.size != part.stored_bytes:
        raise BackupError(
            f"{storage.name_of(part.name)} is not what its manifest says: it has {entry.size:,} bytes, not "
            f"{part.stored_bytes:,}."
        )
    return BackupFile(part.name, part.stored_bytes, part.items, part.sha256, etag=entry.etag)


async def _tell_what_is_missing(storage: Storage, known: Mapping[str, int], segments: list[int]) -> None:
    """Say why a dump of ours that has no manifest as a whole cannot be relied on.

    Raises:
        BackupError: always.
    """
    name = min(known)
    found = await storage.get(name)
    total = 0 if found is None else read_segment_manifest(found[0], storage.name_of(name)).segments
    whole = set(known.values()) & set(segments)
    missing = [number for number in range(total) if number not in whole]
    if not missing:
        raise BackupError(
            f"The dump {storage.label} has all of its {total} segments and no {MANIFEST}: the command that makes "
            "it has not ended well."
        )
    raise BackupError(
        f"The dump {storage.label} is not whole: of its {total} segments there {_is_are(missing)} missing. A single "
        "segment can be restored by its own name."
    )


async def _check_is_not_ours(storage: Storage, name: str) -> None:
    """Refuse a dump that backup-table has made and that has no manifests: it was ended before the first of them.

    Raises:
        BackupError: it is one.
    """
    pieces = cast("AsyncGenerator[bytes, None]", storage.read(name))
    async with aclosing(pieces):
        begin = await anext(pieces, b"")
    if is_marked(begin):
        raise BackupError(
            f"The dump {storage.label} is not whole: asyncrep has made it, and there is no manifest of any of its "
            "segments. A single segment can be restored by its own name."
        )


def _is_are(numbers: list[int]) -> str:
    return f"{'is' if len(numbers) == 1 else 'are'} {_listed(numbers)}"


def _notes(storage: Storage, segments: list[int]) -> list[str]:
    note = f"{storage.label} has no manifest, as dumps of dynamodb-replicator: nothing tells whether it is whole."
    missing = sorted(set(range(segments[-1] + 1)) - set(segments)) if segments else []
    if not missing:
        return [note]
    return [note, f"Its objects go up to {segments[-1]}, and between them there {_is_are(missing)} missing."]


def _listed(numbers: list[int]) -> str:
    named = ", ".join(map(str, numbers[:_NAMED]))
    more = len(numbers) - _NAMED
    return f"{named} and {more:,} more" if more > 0 else named


async def open_snapshot(storage: Storage, name: str, head: ObjectHead) -> FileBackup:
    """Open a single object with an item a line; the manifest beside it counts, if there is one.

    Raises:
        BackupError: the manifest is none.
    """
    label = storage.name_of(name)
    manifest_name = f"{name}.{MANIFEST}"
    found = await storage.get(manifest_name)
    if found is None:
        _check_not_empty(label, head.size)
        file = BackupFile(name, head.size, etag=head.etag)
        return FileBackup(
            storage, "snapshot", [file], label=label, as_of=head.modified, unwrap=unwrap_lone_line
        )
    if SEGMENT.fullmatch(name) and manifest_name == segment_manifest_name(int(name)):
        return _segment(storage, name, head, found[0])
    manifest = read_dump_manifest(found[0], storage.name_of(manifest_name))
    if len(manifest.parts) != 1:
        raise BackupError(f"{storage.name_of(manifest_name)} is not the manifest of one file.")
    return _single(storage, name, head, manifest, manifest.parts[0])


def _check_not_empty(label: str, size: int) -> None:
    """Refuse what nobody can have meant as a backup, where no manifest says what it is to be.

    Raises:
        BackupError: it is what a full disk, or a command that failed, leaves behind.
    """
    if not size:
        raise BackupError(f"{label} is empty: not even gzip is in it, as in a backup of no items.")


def _segment(storage: Storage, name: str, head: ObjectHead, document: bytes) -> FileBackup:
    manifest = read_segment_manifest(document, storage.name_of(segment_manifest_name(int(name))))
    note = (
        f"{storage.name_of(name)} is one of the {manifest.segments} segments of a dump, not all of the table."
    )
    return _single(storage, name, head, manifest, manifest, [note] if manifest.segments > 1 else ())


def _single(
    storage: Storage,
    name: str,
    head: ObjectHead,
    manifest: DumpManifest | SegmentManifest,
    part: Part | SegmentManifest,
    notes: Sequence[str] = (),
) -> FileBackup:
    """Return a single file that a manifest tells of, as a backup."""
    return FileBackup(
        storage,
        "snapshot",
        [BackupFile(name, part.stored_bytes, part.items, part.sha256, etag=head.etag)],
        label=storage.name_of(name),
        description=manifest.table,
        as_of=as_of(manifest),
        items=manifest.items,
        notes=notes,
    )
