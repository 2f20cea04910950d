"""Finds out what of a dump is there before a run adds to it, and refuses what would spoil it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiostream import stream

from asyncrep.backup.layout import read_segment_manifest
from asyncrep.errors import BackupError, UsageError
from asyncrep.flow import stages

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from asyncrep.backup.forms import Form
    from asyncrep.backup.layout import SegmentManifest, TableDescription
    from asyncrep.model import Segment
    from asyncrep.storage import Storage

_AT_ONCE = 16


async def find_existing(
    place: Storage,
    form: Form,
    job_id: str,
    segments: Sequence[Segment],
    table: TableDescription,
    *,
    is_resumed: bool,
) -> list[SegmentManifest]:
    """Look at what is there of a dump, and make sure that a run may add the segments it is to dump.

    Args:
        place: the dump's folder.
        form: how it is written.
        job_id: how it is called.
        segments: what the run is to dump.
        table: of which table.
        is_resumed: a run before this one has begun with them; what is whole is left as it is.

    Returns:
        The manifests of those segments that are whole already.

    Raises:
        UsageError: they are there, or the dump is of another table or cut in another way.
        ServiceError, StorageError: it could not be looked at.
    """
    sizes = {entry.name: entry.size async for entry in place.entries()}
    manifests = {index for name in sizes if (index := form.segment_of(name)) is not None}
    ours = {each.index for each in segments}
    if not is_resumed:
        _refuse_existing(place, form, job_id, ours, manifests, sizes)
    wanted = manifests & ours if is_resumed else set(sorted(manifests)[:1])
    found = await read_manifests(place, form, wanted)
    for manifest in found:
        _check_belongs(manifest, segments[0].total, table, place)
    return [each for each in found if each.segment in ours and _is_stored(form, each, sizes)]


def _refuse_existing(
    place: Storage, form: Form, job_id: str, ours: set[int], manifests: set[int], names: Iterable[str]
) -> None:
    if form.last_name in names:
        raise UsageError(f"There is a whole dump {job_id} in {place.label} already: choose another name.")
    objects = {form.object_name(index): index for index in ours}
    there = {objects[name] for name in names if name in objects} | (manifests & ours)
    if there:
        raise UsageError(
            f"Segment {min(there)} of the dump {job_id} is in {place.label} already: choose another name, or go "
            "on with the job that began it."
        )


def _check_belongs(manifest: SegmentManifest, total: int, table: TableDescription, place: Storage) -> None:
    if (manifest.table.name, manifest.table.arn) != (table.name, table.arn):
        raise UsageError(
            f"The dump in {place.label} is of the table {manifest.table.arn or manifest.table.name}: choose "
            "another name for this one."
        )
    if manifest.segments != total:
        raise UsageError(
            f"The dump in {place.label} is cut into {manifest.segments} segments, not {total}: give the same "
            "number for all of its segments, or choose another name."
        )


async def check_objects(
    place: Storage, form: Form, segments: Iterable[SegmentManifest], sizes: Mapping[str, int]
) -> None:
    """Make sure that segments are as their manifests say, whoever has dumped them, and may have removed them since.

    Args:
        place: the dump's folder.
        form: how it is written.
        segments: their manifests.
        sizes: of the objects, as a listing told them; it may have passed one by just before it was written.

    Raises:
        BackupError: the object of one is gone, or of another size.
        ServiceError, StorageError: it could not be looked at.
    """
    for each in sorted(segments, key=lambda each: each.segment):
        name = form.object_name(each.segment)
        if _is_stored(form, each, sizes):
            continue
        head = await place.head(name)
        if head is None or head.size != each.stored_bytes:
            raise BackupError(
                f"{place.name_of(name)} is missing, or not of the size that its manifest says: dump it again."
            )


def _is_stored(form: Form, manifest: SegmentManifest, sizes: Mapping[str, int]) -> bool:
    return sizes.get(form.object_name(manifest.segment)) == manifest.stored_bytes


async def read_manifests(place: Storage, form: Form, segments: Iterable[int]) -> list[SegmentManifest]:
    """Read the manifests of some segments, in any order.

    Raises:
        BackupError: one of them is gone, or is none.
    """

    async def read(index: int) -> SegmentManifest:
        name = form.manifest_name(index)
        found = await place.get(name)
        if found is None:
            raise BackupError(f"{place.name_of(name)} is gone.")
        manifest = read_segment_manifest(found[0], place.name_of(name))
        if manifest.segment != index:
            raise BackupError(f"{place.name_of(name)} is the manifest of segment {manifest.segment}.")
        return manifest

    found: list[SegmentManifest] = []
    async with stages.mapped(stream.iterate(list(segments)), read, _AT_ONCE).stream() as manifests:
        async for manifest in manifests:
            found.append(manifest)  # noqa: PERF401 - not returned from within: mypy takes the block for one that may end
    return found
