"""Describes one backup by its listing and its manifest: dump, snapshot or export. Used by ``catalog.py``."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from asyncrep.backup.export import FILES, OURS, STARTED, SUMMARY
from asyncrep.backup.layout import (
    MANIFEST,
    SEGMENT,
    DumpManifest,
    SegmentManifest,
    TableDescription,
    moment,
    read_dump_manifest,
    read_segment_manifest,
    segment_manifest_name,
    segment_of_manifest,
)
from asyncrep.backup.listed import VERIFICATION, Listed, digest, read_verification
from asyncrep.errors import BackupError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asyncrep.storage import Entry, Storage

_OURS = f"{OURS}/"
_EXPORTED = re.compile(r"data/(?:0|[1-9][0-9]{0,6})\.json\.gz", re.ASCII)
"""The objects of an export that asyncrep has made."""

_TICK = timedelta(seconds=1)
"""S3 tells whole seconds."""


# ── Dumps ───────────────────────────────────────────────────────────────────────────────────────────


async def described_dump(storage: Storage, name: str, entries: Sequence[Entry]) -> Listed:
    """Describe a dump by what lies in its folder, which ``storage`` is.

    Raises:
        ServiceError, StorageError: a manifest could not be read.
    """
    by_name = {each.name: each for each in entries}
    manifest = await _dump_manifest(storage, by_name)
    if isinstance(manifest, DumpManifest):
        found = _whole_dump(name, manifest, by_name)
    elif isinstance(manifest, SegmentManifest):
        found = _incomplete_dump(name, manifest, by_name)
    else:
        found = _unknown_dump(name, by_name, manifest)
    return await _with_verification(storage, replace(found, note=VERIFICATION), by_name)


async def _dump_manifest(
    storage: Storage, by_name: Mapping[str, Entry], part: re.Pattern[str] = SEGMENT
) -> DumpManifest | SegmentManifest | BackupError | None:
    """Read the manifest of a dump, or else of one of its segments; the error if it is none."""
    try:
        if MANIFEST in by_name and (read := await storage.get(MANIFEST)):
            return manifest_of_dump(read[0], storage.name_of(MANIFEST), part)
        for each in by_name:
            if segment_of_manifest(each) is not None and (read := await storage.get(each)):
                return read_segment_manifest(read[0], storage.name_of(each))
    except BackupError as error:
        return error
    return None


def manifest_of_dump(document: bytes, label: str, part: re.Pattern[str] = SEGMENT) -> DumpManifest:
    """Read a manifest that names objects of a dump and nothing else; a removal goes by it.

    Args:
        document: what its object holds.
        label: how people call it.
        part: how the objects of such a dump are named.

    Raises:
        BackupError: it is none, or tells no time.
    """
    manifest = read_dump_manifest(document, label)
    names = [each.name for each in manifest.parts]
    if not all(map(part.fullmatch, names)) or len(set(names)) < len(names):
        raise BackupError(f"{label} names objects that are no segments of a dump.")
    return _timed(manifest, label)


def _timed(manifest: DumpManifest, name: str) -> DumpManifest:
    try:
        moment(manifest.begun), moment(manifest.ended)
    except ValueError as error:
        raise BackupError(f"{name} does not tell when the dump was made: {error}.") from error
    return manifest


def _whole_dump(name: str, manifest: DumpManifest, by_name: Mapping[str, Entry]) -> Listed:
    parts = {each.name: each.stored_bytes for each in manifest.parts}
    segments = [segment_manifest_name(int(each)) for each in parts]
    found = _listed(name, "dump", by_name, list(parts), [*segments, MANIFEST])
    return replace(_judged(found, parts, by_name), **_told(manifest))


def _told(manifest: DumpManifest) -> dict[str, Any]:
    return {
        "source": source_of(manifest.table) or manifest.source,
        "begun": moment(manifest.begun),
        "ended": moment(manifest.ended),
        "items": manifest.items,
    }


def _judged(found: Listed, parts: Mapping[str, int], by_name: Mapping[str, Entry]) -> Listed:
    """Return a backup with what its listing says about the objects that its manifest names."""
    missing = [each for each in parts if each not in by_name]
    resized = [each for each in parts if each in by_name and by_name[each].size != parts[each]]
    if missing:
        problem = f"{len(missing):,} of {len(parts):,} objects are missing, {_named(missing)} among them."
    elif resized:
        problem = (
            f"{len(resized):,} of {len(parts):,} objects are of another size, {_named(resized)} among them."
        )
    else:
        return found
    return replace(found, state="damaged", problem=problem)


def _named(names: Sequence[str]) -> str:
    return f'"{names[0]}"'


def _incomplete_dump(name: str, one: SegmentManifest, by_name: Mapping[str, Entry]) -> Listed:
    names = [str(each) for each in range(one.segments) if str(each) in by_name]
    manifests = [segment_manifest_name(each) for each in range(one.segments)]
    whole = [each for each in names if f"{each}.{MANIFEST}" in by_name]
    problem = f"{len(whole):,} of {one.segments:,} segments are whole."
    if len(whole) == one.segments:
        problem = f"All {one.segments:,} segments are whole, but {MANIFEST} is missing."
    found = _listed(name, "dump", by_name, names, manifests)
    begun = found.begun
    try:
        begun = moment(one.begun)
    except ValueError:
        problem = f"{segment_manifest_name(one.segment)} does not tell when the dump was made."
    return replace(found, state="incomplete", source=source_of(one.table), begun=begun, problem=problem)


def _unknown_dump(name: str, by_name: Mapping[str, Entry], error: BackupError | None) -> Listed:
    """Describe a dump without any manifest, or with one that cannot be read."""
    names = [each for each in by_name if SEGMENT.fullmatch(each)]
    manifests = [each for each in by_name if each == MANIFEST or segment_of_manifest(each) is not None]
    found = _listed(name, "dump", by_name, names, manifests)
    if error is not None:
        return replace(found, state="damaged", problem=str(error))
    return replace(found, state="unproven", problem="Nothing tells whether it is whole.")


# ── Snapshots and exports ───────────────────────────────────────────────────────────────────────────


async def described_snapshot(storage: Storage, name: str, by_name: Mapping[str, Entry]) -> Listed:
    """Describe a snapshot, which is a file of a place and its manifest beside it.

    Raises:
        ServiceError, StorageError: the manifest could not be read.
    """
    manifest_name, note = f"{name}.{MANIFEST}", f"{name}.{VERIFICATION}"
    own = {each: by_name[each] for each in (name, manifest_name, note) if each in by_name}
    found = _listed(name, "snapshot", own, [name], [manifest_name])
    found = replace(found, note=note)
    read = await storage.get(manifest_name)
    try:
        manifest = manifest_of_snapshot(read[0] if read else b"", storage.name_of(manifest_name), name)
    except BackupError as error:
        return replace(found, state="damaged", problem=str(error))
    found = replace(_judged(found, {name: manifest.stored_bytes}, own), **_told(manifest))
    return await _with_verification(storage, found, own)


def manifest_of_snapshot(document: bytes, label: str, name: str) -> DumpManifest:
    """Read the manifest of the snapshot of this name; see ``manifest_of_dump``."""
    manifest = read_dump_manifest(document, label)
    if [each.name for each in manifest.parts] != [name]:
        raise BackupError(f"{label} is not the manifest of {name}.")
    return _timed(manifest, label)


# ── Exports ─────────────────────────────────────────────────────────────────────────────────────────


async def described_export(storage: Storage, name: str, entries: Sequence[Entry]) -> Listed | None:
    """Describe an export in AWS's layout by what lies in its folder; None if it is none.

    Raises:
        ServiceError, StorageError: its manifest could not be read.
    """
    by_name = {each.name: each for each in entries}
    if not {SUMMARY, FILES, STARTED} & by_name.keys() and not any(
        each.startswith("data/") for each in by_name
    ):
        return None
    ours = {each.removeprefix(_OURS): by_name[each] for each in by_name if each.startswith(_OURS)}
    try:
        found = await _export(storage, name, by_name, ours)
    except BackupError as error:
        found = _foreign_export(name, by_name)
        return replace(found, state="damaged", problem=str(error), is_ours=bool(ours))
    return await _with_verification(storage, replace(found, note=VERIFICATION), by_name)


async def _export(
    storage: Storage, name: str, by_name: Mapping[str, Entry], ours: Mapping[str, Entry]
) -> Listed:
    """Describe an export; of one that asyncrep has made its own manifests tell more.

    Raises:
        BackupError: its manifest is none.
    """
    manifest = await _dump_manifest(storage.under(_OURS.rstrip("/")), ours, _EXPORTED)
    if isinstance(manifest, BackupError):
        raise manifest
    if isinstance(manifest, DumpManifest):
        parts = {each.name: each.stored_bytes for each in manifest.parts}
        found = _judged(_own_export(name, list(parts), by_name), parts, by_name)
        found = replace(found, **_told(manifest))
    elif isinstance(manifest, SegmentManifest):
        names = [f"data/{each}.json.gz" for each in range(manifest.segments)]
        found = replace(_own_export(name, names, by_name), source=source_of(manifest.table))
    else:
        found = replace(_foreign_export(name, by_name), **await _summary(storage, by_name))
    missing = [each for each in (SUMMARY, FILES) if each not in by_name]
    if missing and found.state == "whole":
        return replace(found, state="incomplete", problem=f"There is no {missing[0]}.")
    return found


def _own_export(name: str, data: Sequence[str], by_name: Mapping[str, Entry]) -> Listed:
    """Return an export that asyncrep has made: only what it has made of it, in the order in which it may be removed."""
    segments = [each for each in by_name if each.startswith(_OURS)]
    sums = [
        f"{each.removesuffix('.json')}.{kind}" for each in (FILES, SUMMARY) for kind in ("md5", "checksum")
    ]
    return _listed(name, "export", by_name, data, [*segments, STARTED, *sums, FILES, SUMMARY])


def _foreign_export(name: str, by_name: Mapping[str, Entry]) -> Listed:
    data = [each for each in by_name if each.startswith("data/")]
    manifests = [each for each in by_name if each not in {*data, VERIFICATION}]
    return replace(_listed(name, "export", by_name, data, manifests), is_ours=False)


async def _summary(storage: Storage, by_name: Mapping[str, Entry]) -> dict[str, Any]:
    """Return what an export's summary tells; as of a dump, it is from when it was begun.

    Raises:
        BackupError: it is none.
    """
    read = await storage.get(SUMMARY) if SUMMARY in by_name else None
    if read is None:
        return {}
    try:
        summary = msgspec.json.decode(read[0])
        told = [summary.get(each) for each in ("exportTime", "exportToTime", "startTime")]
        begun: Any = next((each for each in told if each is not None), None)
        return {
            "source": str(summary["tableArn"]),
            "begun": moment(begun),
            "ended": moment(summary.get("endTime") or begun),
            "items": int(summary["itemCount"]),
            "continues": summary.get("exportFromTime") is not None,
        }
    except (
        msgspec.MsgspecError,
        UnicodeDecodeError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
    ) as error:
        raise BackupError(f"{storage.name_of(SUMMARY)} is not the summary of an export.") from error


# ── What all have in common ─────────────────────────────────────────────────────────────────────────


def _listed(
    name: str, kind: Any, by_name: Mapping[str, Entry], data: Sequence[str], manifests: Sequence[str]
) -> Listed:
    """Return a backup with these objects, as far as they are there."""
    data = [each for each in data if each in by_name]
    manifests = [each for each in manifests if each in by_name]
    own = {*data, *manifests}
    times = [by_name[each].modified for each in own]
    return Listed(
        name,
        kind,
        "whole",
        begun=datetime.fromtimestamp(min(times), UTC) if times else None,
        ended=datetime.fromtimestamp(max(times), UTC) if times else None,
        changed=datetime.fromtimestamp(max(times), UTC) if times else None,
        stored_bytes=sum(by_name[each].size for each in data),
        data=tuple(data),
        manifests=tuple(manifests),
        objects=digest(by_name[each] for each in own),
        strangers=len(by_name.keys() - own - {VERIFICATION, f"{name}.{VERIFICATION}"}),
    )


async def _with_verification(storage: Storage, found: Listed, by_name: Mapping[str, Entry]) -> Listed:
    """Return a backup with what a check found, if it is about these very objects."""
    read = await storage.get(found.note) if found.note in by_name else None
    kept = read_verification(read[0]) if read else None
    if kept is None:
        return found
    if kept.removing:
        # What was written since is no rest of a removal: it may be a dump that has just been given the same name.
        marked = datetime.fromtimestamp(by_name[found.note].modified, UTC)
        is_newer = found.changed is not None and found.changed - marked >= _TICK
        return found if is_newer or found.state == "whole" else replace(found, state="removing")
    return replace(found, verification=kept) if kept.objects == found.objects else found


def source_of(table: TableDescription | None) -> str:
    """Return what names the table of a dump beyond doubt: its ARN, where that is known."""
    return "" if table is None else table.arn or table.name
