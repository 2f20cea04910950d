"""Finds the backups that lie under a place: what they are of, from when, how large, and whether they look whole.

Listings and manifests are read, no items. Next to each other may lie dumps (a folder each), snapshots (a file and
its manifest), exports (all under ``AWSDynamoDB/``) and incremental folders; a place may be a single dump itself.
What is none of these is passed over.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from aiostream import streamcontext

from asyncrep.backup.entries import described_dump, described_export, described_snapshot
from asyncrep.backup.export import EXPORTS, SUMMARY
from asyncrep.backup.layout import MANIFEST, SEGMENT, segment_of_manifest
from asyncrep.backup.listed import VERIFICATION, Listed
from asyncrep.flow.tasks import side_by_side

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncrep.storage import Entry, Storage

_AT_ONCE = 16  # folders that are looked into at the same time
_GIVE_UP_AFTER = 1000
"""Objects of a folder after which it is no dump, if none of them belongs to one: a page of a listing."""

_ITEM = re.compile(r"[0-9a-f]{64}", re.ASCII)
_LAST = "\U0010ffff"  # sorts behind everything that people name an object
_SNAPSHOT_MANIFEST = f".{MANIFEST}"


async def find_backups(storage: Storage) -> list[Listed]:
    """Find all backups that lie directly under a place, by name; or the one that the place is itself.

    Raises:
        ServiceError, StorageError: it could not be read.
    """
    folders = sorted(
        (each for each in await storage.folders() if each),
        key=lambda each: f"{each}/".encode(errors="surrogateescape"),
    )
    looking = asyncio.Semaphore(_AT_ONCE)

    async def between(after: str | None, before: str | None) -> list[Entry]:
        async with looking:
            return await _files_between(storage, after, before)

    async def within(folder: str) -> list[Listed]:
        async with looking:
            if folder != EXPORTS:
                return await _folder(storage, folder)
        return await _exports(storage.under(EXPORTS), looking)

    gaps = zip([None, *folders], [*folders, None], strict=True)
    files = [each for some in await side_by_side(between(*gap) for gap in gaps) for each in some]
    found = [each for some in await side_by_side(map(within, folders)) for each in some]
    found += await _of_files(storage, files)
    return sorted(found, key=lambda each: each.name)


async def _files_between(storage: Storage, after: str | None, before: str | None) -> list[Entry]:
    """Return the objects that lie directly in a place, between two of its folders that follow each other.

    The folders may hold millions, and are not listed for it.
    """
    found: list[Entry] = []
    async with streamcontext(storage.entries(after="" if after is None else f"{after}/{_LAST}")) as entries:
        async for entry in entries:
            if "/" not in entry.name:
                found.append(entry)
            elif before is not None and entry.name.startswith(f"{before}/"):
                break
    return found


async def _folder(storage: Storage, name: str) -> list[Listed]:
    """Look into a folder; nothing, if it is no backup."""
    inner = storage.under(name)
    entries: list[Entry] = []
    belongs = False
    async with streamcontext(inner.entries()) as listed:
        async for entry in listed:
            if not entries and _ITEM.fullmatch(entry.name):
                return [Listed(name, "folder", "whole", source=name)]
            entries.append(entry)
            belongs = belongs or _is_of_dump(entry.name)
            if not belongs and len(entries) >= _GIVE_UP_AFTER:
                return []
    return [await described_dump(inner, name, entries)] if belongs else []


def _is_of_dump(name: str) -> bool:
    return (
        name in {MANIFEST, VERIFICATION}
        or SEGMENT.fullmatch(name) is not None
        or segment_of_manifest(name) is not None
    )


async def _exports(storage: Storage, looking: asyncio.Semaphore) -> list[Listed]:
    async def within(name: str) -> Listed | None:
        async with looking:
            entries = [each async for each in storage.under(name).entries()]
            return await described_export(storage.under(name), name, entries)

    names = [each for each in await storage.folders() if each and each != "data"]
    return [each for each in await side_by_side(map(within, names)) if each is not None]


async def _of_files(storage: Storage, files: Sequence[Entry]) -> list[Listed]:
    """Return the snapshots among the files of a place, or the single dump or export that they are."""
    names = {each.name for each in files}
    if any(map(_is_of_dump, names)):
        return [await described_dump(storage, "", files)]
    if SUMMARY in names:
        inner = [each async for each in storage.entries()]
        export = await described_export(storage, "", inner)
        return [] if export is None else [export]
    snapshots = [name.removesuffix(_SNAPSHOT_MANIFEST) for name in names if name.endswith(_SNAPSHOT_MANIFEST)]
    by_name = {each.name: each for each in files}
    return await side_by_side(described_snapshot(storage, name, by_name) for name in snapshots)
