"""What a backup is to hold, object by object, as its manifests say. Used by ``verify.py``."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
from aiostream import stream

from asyncrep.backup.entries import manifest_of_dump, manifest_of_snapshot
from asyncrep.backup.export import EXPORTS, FILES, SUMMARY
from asyncrep.backup.gauge import Promised
from asyncrep.backup.layout import (
    MANIFEST,
    read_segment_manifest,
    segment_of_manifest,
)
from asyncrep.errors import BackupError, StorageError
from asyncrep.flow import stages

if TYPE_CHECKING:
    from asyncrep.backup.listed import Listed
    from asyncrep.storage import Storage

_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Promises:
    """What a backup is to hold.

    Attributes:
        objects: its data objects.
        items: in all of them; None where nothing tells.
        problems: what is wrong with the manifests, one sentence each.
    """

    objects: list[Promised]
    items: int | None = None
    problems: list[str] = field(default_factory=list)


async def promised(storage: Storage, backup: Listed) -> Promises:
    """Read what a backup is to hold.

    Args:
        storage: the place that it lies under.
        backup: which.

    Raises:
        BackupError: a manifest cannot be read.
        ServiceError, StorageError: the place cannot.
    """
    if backup.kind == "export" and backup.state == "incomplete":
        return Promises([])
    if backup.kind == "export":
        return await _of_export(storage, backup)
    manifest = next((each for each in backup.manifests if each.endswith(MANIFEST) and _is_of_all(each)), None)
    if manifest is not None:
        return await _of_dump(storage, backup, manifest)
    if backup.state == "unproven":
        return Promises([Promised(backup.folder + each) for each in backup.data])
    return await _of_segments(storage, backup)


def _is_of_all(manifest: str) -> bool:
    return segment_of_manifest(manifest) is None


async def _of_dump(storage: Storage, backup: Listed, manifest_name: str) -> Promises:
    name = backup.folder + manifest_name
    document, label = await _get(storage, name), storage.name_of(name)
    if backup.kind == "snapshot":
        manifest = manifest_of_snapshot(document, label, backup.name)
    else:
        manifest = manifest_of_dump(document, label)
    objects = [
        Promised(backup.folder + each.name, each.items, each.stored_bytes, each.sha256)
        for each in manifest.parts
    ]
    return Promises(objects, manifest.items)


async def _of_segments(storage: Storage, backup: Listed) -> Promises:
    """Return what the segments are to hold that are whole; of the others nothing is known."""

    async def read(manifest_name: str) -> Promised:
        name = backup.folder + manifest_name
        manifest = read_segment_manifest(await _get(storage, name), storage.name_of(name))
        told = manifest.items, manifest.stored_bytes, manifest.sha256
        return Promised(f"{backup.folder}{segment_of_manifest(manifest_name)}", *told)

    segments = stages.mapped(stream.iterate(backup.manifests), read, _AT_ONCE)
    async with segments.stream() as read_ones:
        found = [each async for each in read_ones]
    return Promises(sorted(found))


# ── Exports ─────────────────────────────────────────────────────────────────────────────────────────


class _File(msgspec.Struct, frozen=True):
    """A line of an export's list of files; the names are AWS's."""

    itemCount: int
    dataFileS3Key: str
    md5Checksum: str | None = None


_read_files = msgspec.json.Decoder(_File).decode_lines


async def _of_export(storage: Storage, backup: Listed) -> Promises:
    name = backup.folder + FILES
    document = await _get(storage, name)
    try:
        files = _read_files(document)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BackupError(
            f"{storage.name_of(name)} is not the list of an export's files: {error}."
        ) from error
    objects = [
        Promised(_within(backup, each.dataFileS3Key), each.itemCount, None, None, each.md5Checksum)
        for each in files
    ]
    problems = [each for one in (SUMMARY, FILES) for each in await _companion(storage, backup, one)]
    return Promises(objects, backup.items, problems)


def _within(backup: Listed, key: str) -> str:
    """Return where a file of an export lies within the place, wherever the export lay when it was made.

    Raises:
        StorageError: the place is the export itself, and the file lies beside it, as those of an incremental one do.
    """
    below = key.rpartition(f"{EXPORTS}/")[2]
    if backup.name:
        return f"{EXPORTS}/{below}"
    export, _, name = below.partition("/")
    if export == "data":
        raise StorageError(f"The data of this export lies beside it: give the place that holds {EXPORTS}.")
    return name


async def _companion(storage: Storage, backup: Listed, manifest: str) -> list[str]:
    """Hold a manifest of an export against the digest that is kept beside it, if there is one."""
    digest = f"{manifest.removesuffix('.json')}.md5"
    if digest not in backup.manifests:
        return []
    told = await _get(storage, backup.folder + digest)
    document = await _get(storage, backup.folder + manifest)
    expected: Any = base64.b64encode(hashlib.md5(document, usedforsecurity=False).digest())
    if told.strip() == expected:
        return []
    return [f"{storage.name_of(backup.folder + manifest)} is not what was written: its digest is another."]


async def _get(storage: Storage, name: str) -> bytes:
    read = await storage.get(name)
    if read is None:
        raise BackupError(f"{storage.name_of(name)} is missing.")
    return read[0]
