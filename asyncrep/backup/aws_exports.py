"""Opens AWS's exports to S3, full ones and those of changes, and ours in the same layout.

    PREFIX/AWSDynamoDB/EXPORT/manifest-summary.json   what it is of, and from which time to which
    PREFIX/AWSDynamoDB/EXPORT/manifest-files.json     a JSON object a line: a file, its items, its MD5
    PREFIX/AWSDynamoDB/EXPORT/data/….json.gz          {"Item":…} a line
    PREFIX/AWSDynamoDB/data/….json.gz                 of incremental ones: {"Metadata":…,"Keys":…,"NewImage":…}

An export may have been copied elsewhere, so files are found by the end of their names.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import Raw

from asyncrep.backup.entries import source_of
from asyncrep.backup.export_chain import Span, continued, spelled
from asyncrep.backup.file_lines import FileBackup
from asyncrep.backup.layout import MANIFEST, as_of, read_dump_manifest
from asyncrep.backup.reading import BackupFile, Line
from asyncrep.errors import BackupError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asyncrep.backup.layout import DumpManifest
    from asyncrep.storage import Entry, Storage

ROOT = "AWSDynamoDB"
SUMMARY = "manifest-summary.json"
FILES = "manifest-files.json"
STARTED = "_started"
OURS = f"asyncrep/{MANIFEST}"
"""Which our exports have, and AWS's do not: a manifest of a dump, with the table's description."""


class _Summary(msgspec.Struct, rename="camel"):
    table_arn: str = ""
    export_type: str = "FULL_EXPORT"
    export_time: str | None = None
    export_from_time: str | None = None
    export_to_time: str | None = None
    item_count: int = 0
    output_format: str = "DYNAMODB_JSON"


class _FileOf(msgspec.Struct):
    dataFileS3Key: str
    itemCount: int
    md5Checksum: str | None = None


class _ExportLine(msgspec.Struct):
    Item: Raw = Raw(b"")
    Keys: Raw = Raw(b"")
    NewImage: Raw = Raw(b"")


class _LoneLine(msgspec.Struct, forbid_unknown_fields=True):
    Item: Raw


class _Export(NamedTuple):
    """One export that has come to its end.

    Attributes:
        source: what it is of: the table's ARN; of an incremental folder, whose table nobody was asked for, the folder.
    """

    name: str
    label: str
    summary: _Summary
    span: Span
    source: str


_read_summary = msgspec.json.Decoder(_Summary).decode
_read_file = msgspec.json.Decoder(_FileOf).decode
_read_line = msgspec.json.Decoder(_ExportLine).decode
_read_lone = msgspec.json.Decoder(_LoneLine).decode
_read_members = msgspec.json.Decoder(dict[str, Raw]).decode
_decode = msgspec.json.Decoder().decode

_ITEM = b'{"Item"'
_TYPES = frozenset({"S", "N", "B", "SS", "NS", "BS", "M", "L", "BOOL", "NULL"})


async def open_export(root: Storage, name: str) -> FileBackup:
    """Open one export.

    Args:
        root: the place that it lies in, ``PREFIX/AWSDynamoDB``.
        name: the export's own, within it.

    Raises:
        BackupError: it is damaged, or in a format that cannot be read.
    """
    export = await _export(root, name)
    if export is None:
        raise BackupError(f"{root.name_of(name)} is no export that has ended: it has no {SUMMARY}.")
    notes = []
    if not export.span.is_full:
        notes.append(f"{export.label} holds only what changed {export.span.told}.")
    return await _opened(root, [export], export.label, notes)


async def open_exports(root: Storage, label: str) -> FileBackup:
    """Open all exports of a place as one backup: the last full one, and what was exported incrementally since.

    Args:
        root: ``PREFIX/AWSDynamoDB``.
        label: the place as people call it.

    Raises:
        BackupError: there is none, they are of several tables, or something is missing between two of them.
    """
    names = [name for name in await root.folders() if name != "data"]
    exports = []
    unfinished = []
    for name in names:
        export = await _export(root, name)
        if export is None:
            unfinished.append(name)
        else:
            exports.append(export)
    if not exports:
        raise BackupError(f"There is no export in {label} that has ended: none has a {SUMMARY}.")
    _check_one_source(exports, label)
    chosen = continued([export.span for export in exports], label)
    notes = [f"{root.name_of(name)} has no {SUMMARY}: it is left out." for name in unfinished]
    if len(chosen) > 1:
        last = chosen[-1]
        notes.append(
            f"{chosen[0].label} is continued by {len(chosen) - 1} incremental exports, up to {spelled(last.end)}."
        )
    by_span = {export.span: export for export in exports}
    return await _opened(root, [by_span[span] for span in chosen], label, notes)


def _check_one_source(exports: Sequence[_Export], label: str) -> None:
    sources = sorted({export.source for export in exports})
    if len(sources) > 1:
        arns = [source for source in sources if source.startswith("arn:")]
        tables = [arn.rpartition("/")[2] for arn in arns]
        if len(set(tables)) < len(tables):  # in several Regions or accounts
            tables = arns
        others = [source or "one that is not told" for source in sources if source not in arns]
        what = "tables or folders" if others else "tables"
        raise BackupError(
            f"{label} holds exports of several {what} ({', '.join([*tables, *others])}): name one of its exports."
        )


async def _export(root: Storage, name: str) -> _Export | None:
    found = await root.get(f"{name}/{SUMMARY}")
    if found is None:
        return None
    where = root.name_of(f"{name}/{SUMMARY}")
    try:
        summary = _read_summary(found[0])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BackupError(f"{where} is not the manifest of an export: {error}.") from error
    if summary.output_format != "DYNAMODB_JSON":
        raise BackupError(
            f"{root.name_of(name)} is in the format {summary.output_format}; only DYNAMODB_JSON can be read."
        )
    span = _span(root.name_of(name), summary, where)
    source = summary.table_arn or await _our_source(root, name)
    return _Export(name, root.name_of(name), summary, span, source)


def _span(label: str, summary: _Summary, where: str) -> Span:
    if summary.export_type == "INCREMENTAL_EXPORT" or summary.export_from_time is not None:
        return Span(label, _moment(summary.export_from_time, where), _moment(summary.export_to_time, where))
    return Span(label, None, _moment(summary.export_time, where))


def _moment(text: str | None, where: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError as error:
        raise BackupError(f"{where} does not tell which time the export is of.") from error
    if moment.tzinfo is None:
        raise BackupError(f"{where} tells the time {text}, which has no zone.")
    return moment


async def _opened(root: Storage, exports: Sequence[_Export], label: str, notes: list[str]) -> FileBackup:
    files: list[BackupFile] = []
    for phase, export in enumerate(exports):
        files += await _files(root, export, phase)
    ours = await _our_manifest(root, exports[0].name)
    return FileBackup(
        root,
        "export",
        files,
        label=label,
        description=None if ours is None else ours.table,
        as_of=as_of(ours) if ours is not None and len(exports) == 1 else exports[-1].span.end.timestamp(),
        items=sum(file.items or 0 for file in files),
        notes=notes,
        unwrap=unwrap_export_line,
        only_changes=not exports[0].span.is_full,
    )


async def _files(root: Storage, export: _Export, phase: int) -> list[BackupFile]:
    where = root.name_of(f"{export.name}/{FILES}")
    found = await root.get(f"{export.name}/{FILES}")
    if found is None:
        raise BackupError(f"{where} is missing, which tells the files of the export.")
    stored = {
        entry.name: entry
        async for entry in root.entries(f"{export.name}/data/" if export.span.is_full else "data/")
    }
    files = []
    for number, line in enumerate(found[0].split(b"\n"), 1):
        if line.strip():
            files.append(_file(root, export, phase, line, f"{where}, line {number}", stored))
    told = sum(file.items or 0 for file in files)
    if told != export.summary.item_count:
        raise BackupError(
            f"{where} does not fit {SUMMARY}: its files have {told:,} items, not {export.summary.item_count:,}."
        )
    return files


def _file(
    root: Storage, export: _Export, phase: int, line: bytes, where: str, stored: Mapping[str, Entry]
) -> BackupFile:
    try:
        told = _read_file(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BackupError(f"{where}: it does not tell a file of an export: {error}.") from error
    _, separator, name = told.dataFileS3Key.rpartition("/data/")
    if not separator or not name or "/" in name:
        raise BackupError(f"{where}: {told.dataFileS3Key!r} is not where an export has its files.")
    relative = f"{export.name}/data/{name}" if export.span.is_full else f"data/{name}"
    entry = stored.get(relative)
    if entry is None:
        raise BackupError(
            f"{root.name_of(relative)} is missing, which is a part of the export by its manifest."
        )
    return BackupFile(
        relative, entry.size, told.itemCount, phase=phase, md5=told.md5Checksum, etag=entry.etag
    )


async def _our_source(root: Storage, export: str) -> str:
    ours = await _our_manifest(root, export)
    return "" if ours is None else source_of(ours.table) or ours.source


async def _our_manifest(root: Storage, export: str) -> DumpManifest | None:
    name = f"{export}/{OURS}"
    found = await root.get(name)
    return None if found is None else read_dump_manifest(found[0], root.name_of(name))


def unwrap_export_line(number: int, text: bytes, file: str) -> Line:
    """Return the item, or the deletion, that a line of an export tells.

    Raises:
        BackupError: it is no line of an export.
    """
    try:
        line = _read_line(text)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BackupError(f"{file}, line {number}: it is no line of an export: {error}.") from error
    if image := bytes(line.Item) or bytes(line.NewImage):
        return Line(number, image)
    if key := bytes(line.Keys):
        return Line(number, key, is_deletion=True)
    raise BackupError(f"{file}, line {number}: it has neither an Item nor Keys, as lines of exports have.")


def unwrap_lone_line(number: int, text: bytes, file: str) -> Line:  # noqa: ARG001 - see file_lines.Unwrap
    """Return a line of a file of which nothing tells what it is: an item, or a full export's ``{"Item": …}`` of one.

    An item may have an attribute of the name ``Item``: then a type and its value stand there, and no attributes.
    """
    if text.startswith(_ITEM):
        try:
            image = _read_lone(text).Item
            if not _is_value(_read_members(image)):
                return Line(number, bytes(image))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass  # whoever looks at the line says what is wrong with it
    return Line(number, text)


def _is_value(value: dict[str, Raw]) -> bool:
    """Tell whether this is an attribute's value: one type, and what that has. Only a map has an object there."""
    if len(value) != 1:
        return False
    ((name, content),) = value.items()
    held = _decode(content)
    if name == "M" and isinstance(held, dict):
        return all(isinstance(each, dict) for each in held.values())
    return name in _TYPES and not isinstance(held, dict)
