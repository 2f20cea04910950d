"""Backups held against their manifests: what is sound, and a sentence for each damage."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep.backup.catalog import find_backups
from asyncrep.backup.local import LocalFolder
from asyncrep.backup.places import open_storage
from asyncrep.backup.verify import verify
from asyncrep.errors import PermissionDeniedError, StorageError
from asyncrep.flow.clock import VirtualClock
from asyncrep.location import S3Place
from asyncrep.progress import Advanced, Note, PassEnded, PassStarted
from tests.support.made_backups import DAY, aws_export, dump, lines, names, snapshot, upload, write

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from asyncrep.backup.verify import Verified
    from asyncrep.progress import Event
    from asyncrep.storage import Storage
    from tests.support.buckets import Bucket


class Heard:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def notice(self, event: Event) -> None:
        self.events.append(event)

    @property
    def notes(self) -> list[str]:
        return [each.message for each in self.events if isinstance(each, Note)]


async def verified_in(storage: Storage, heard: Heard | None = None) -> dict[str, Verified]:
    """Verify everything that lies under a place."""
    backups = [each for each in await find_backups(storage) if each.kind != "folder"]
    found = await verify(storage, backups, observer=heard or Heard(), clock=VirtualClock())
    return {each.backup.name: each for each in found}


async def verified(folder: Path, made: dict[str, bytes], heard: Heard | None = None) -> dict[str, Verified]:
    write(folder, made)
    return await verified_in(LocalFolder(folder), heard)


async def problems(folder: Path, made: dict[str, bytes]) -> list[str]:
    """What is wrong with the only backup of a place, without where that is."""
    [found] = (await verified(folder, made)).values()
    assert found.outcome == ("damaged" if found.problems else "sound")
    return [each.replace(f"{folder}/", "") for each in found.problems]


def everything() -> dict[str, bytes]:
    return {
        **dump("nightly", segments=3),
        **snapshot("orders.gz"),
        **aws_export("01700000000000-abcdef01"),
        **aws_export("01700000000001-abcdef01", since=DAY - timedelta(days=1), items=7),
    }


SOUND = {
    "nightly": ("sound", 30, 3),
    "orders.gz": ("sound", 10, 1),
    "01700000000000-abcdef01": ("sound", 20, 2),
    "01700000000001-abcdef01": ("sound", 14, 2),
}


def told(found: dict[str, Verified]) -> dict[str, tuple[object, ...]]:
    return {name: (each.outcome, each.items, each.objects) for name, each in found.items()}


async def test_what_is_as_it_was_written_is_sound_and_that_is_kept(tmp_path: Path) -> None:
    heard = Heard()
    assert told(await verified(tmp_path, everything(), heard)) == SOUND
    assert heard.events[0] == PassStarted("verify", 74)
    assert heard.events[-1] == PassEnded("verify")
    assert sum(each.items for each in heard.events if isinstance(each, Advanced)) == 74
    statuses = {each.name: each.status for each in await find_backups(LocalFolder(tmp_path))}
    assert statuses == dict.fromkeys(SOUND, "verified")


async def test_s3_is_verified_like_a_folder(bucket: Bucket) -> None:
    upload(bucket, "kept", everything())
    async with open_storage(S3Place(bucket.name, "kept")) as storage:
        assert told(await verified_in(storage)) == SOUND
        assert {each.status for each in await find_backups(storage)} == {"verified"}
        bucket.put(
            "kept/nightly/1", dump("nightly")["nightly/1"]
        )  # the same again: S3 tells it by its content
        bucket.put("kept/orders.gz", b"x" * len(everything()["orders.gz"]))
        statuses = {each.name: each.status for each in await find_backups(storage)}
        assert (statuses["nightly"], statuses["orders.gz"]) == ("verified", "whole")


# ── Damages


def flipped(stored: bytes, at: int) -> bytes:
    return stored[:at] + bytes([stored[at] ^ 1]) + stored[at + 1 :]


async def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    made = dump("j")
    digest, gzipped = await problems(tmp_path, made | {"j/1": flipped(made["j/1"], 40)})
    assert digest == "j/1 is not what was written: its digest is not the one in the manifest."
    assert gzipped.startswith("j/1 is damaged before its first line ends: ")


async def test_other_content_of_the_same_size_and_count_is_found(tmp_path: Path) -> None:
    made = dump("j")
    other = gzip.compress(lines(10, 1).replace(b'"9"', b'"8"'), mtime=0)
    changed = made | {"j/1": other + b"\0" * (len(made["j/1"]) - len(other))}
    assert len(changed["j/1"]) == len(made["j/1"])
    assert await problems(tmp_path, changed) == [
        "j/1 is not what was written: its digest is not the one in the manifest."
    ]


async def test_a_missing_a_cut_and_a_grown_object_are_one_sentence_each(tmp_path: Path) -> None:
    made = dump("j", segments=4)
    size = len(made["j/1"])
    changed = {name: stored for name, stored in made.items() if name != "j/0"} | {
        "j/1": made["j/1"][:-9],
        "j/2": made["j/2"] + made["j/2"],
    }
    assert sorted(await problems(tmp_path, changed)) == [
        "j/0 is missing.",
        f"j/1 has {size - 9} bytes; its manifest says {size}.",
        f"j/2 has {2 * size} bytes; its manifest says {size}.",
    ]


async def test_counts_are_held_against_the_manifest(tmp_path: Path) -> None:
    made = dump("j")
    manifest = json.loads(made["j/manifest.json"])
    manifest["parts"][1]["items"] = 11
    changed = made | {"j/manifest.json": json.dumps(manifest).encode()}
    assert await problems(tmp_path, changed) == ["j/1 has 10 items; its manifest says 11."]


async def test_the_sum_is_held_against_the_manifest(tmp_path: Path) -> None:
    made = dump("j")
    manifest = json.loads(made["j/manifest.json"]) | {"items": 21}
    changed = made | {"j/manifest.json": json.dumps(manifest).encode()}
    assert await problems(tmp_path, changed) == ["j has 20 items in all; its manifest says 21."]


async def test_an_incomplete_dump_is_damaged_and_its_whole_segments_are_read(tmp_path: Path) -> None:
    made = dump("j", segments=3)
    left = {name: made[name] for name in ("j/0", "j/1", "j/2", "j/0.manifest.json", "j/1.manifest.json")}
    assert await problems(tmp_path, left) == ["j is incomplete: 2 of 3 segments are whole."]
    (tmp_path / "j/1").unlink()
    assert await problems(tmp_path, {}) == ["j is incomplete: 1 of 3 segments are whole.", "j/1 is missing."]


async def test_a_manifest_that_cannot_be_read_is_one_damage(tmp_path: Path) -> None:
    [problem] = await problems(tmp_path, dump("j") | {"j/manifest.json": b"{"})
    assert problem.startswith("j/manifest.json is not the manifest of a dump")


async def test_a_manifest_that_claims_other_objects_is_a_damage(tmp_path: Path) -> None:
    made = dump("j")
    manifest = json.loads(made["j/manifest.json"])
    manifest["parts"] = manifest["parts"][:1]
    manifest |= {"items": 10}
    manifest["parts"].append(manifest["parts"][0] | {"items": 0})
    [problem] = await problems(tmp_path, made | {"j/manifest.json": json.dumps(manifest).encode()})
    assert problem == "j/manifest.json names objects that are no segments of a dump."


EXPORT = "AWSDynamoDB/e"


@pytest.mark.parametrize(
    ("file", "change", "expected"),
    [
        ("data/f0.json.gz", None, "data/f0.json.gz is missing."),
        (
            "data/f0.json.gz",
            lambda stored: gzip.compress(gzip.decompress(stored), 1),
            "data/f0.json.gz is not what was written: its digest is not the one in the manifest.",
        ),
        ("manifest-files.json", lambda _: b"{}\n", "manifest-files.json is not the list of an export's files"),
        ("manifest-files.md5", lambda _: b"AAAA", "manifest-files.json is not what was written: its digest is another."),
        ("manifest-summary.md5", lambda _: b"", "manifest-summary.json is not what was written: its digest is another."),
    ],
)  # fmt: skip
async def test_exports_are_held_against_their_lists(
    tmp_path: Path, file: str, change: Any, expected: str
) -> None:
    made = aws_export("e")
    stored = made.pop(f"{EXPORT}/{file}")
    if change is not None:
        made[f"{EXPORT}/{file}"] = change(stored)
    [problem] = await problems(tmp_path, made)
    assert problem.startswith(f"{EXPORT}/{expected}")


# ── What cannot be checked, and what is not kept


async def test_a_dump_without_manifest_is_read_and_called_unproven(tmp_path: Path) -> None:
    made = dump("j")
    found = await verified(tmp_path, {name: made[name] for name in ("j/0", "j/1")})
    assert told(found) == {"j": ("unproven", 20, 2)}
    (tmp_path / "j/1").write_bytes(made["j/1"][:-4])
    [problem] = (await verified(tmp_path, {}))["j"].problems
    assert problem == f"{tmp_path}/j/1 breaks off after line 10: its gzip has no end."
    assert names(tmp_path) == {"j/0", "j/1"}


class Forbidding(LocalFolder):
    """A folder in which some files may not be read, and some not be written."""

    async def read(self, name: str) -> AsyncGenerator[bytes, None]:
        if name == "j/1":
            raise StorageError("j/1 cannot be read: Permission denied.")
        async for piece in super().read(name):
            yield piece

    async def put(self, name: str, data: bytes, **conditions: Any) -> str:
        if name.startswith("k/"):
            raise PermissionDeniedError("PutObject: no.")
        return await super().put(name, data, **conditions)


async def test_what_may_not_be_read_has_failed_and_what_may_not_be_kept_is_a_note(tmp_path: Path) -> None:
    write(tmp_path, dump("j") | dump("k"))
    heard = Heard()
    forbidding: Any = Forbidding(tmp_path)
    found = await verified_in(forbidding, heard)
    assert {name: each.outcome for name, each in found.items()} == {"j": "failed", "k": "sound"}
    assert found["j"].failures == ["j/1 cannot be read: Permission denied."]
    assert heard.notes == ["That k was verified could not be kept: the credentials may not write there."]
    assert not {name for name in names(tmp_path) if "verification" in name}


async def test_a_damage_is_kept_so_that_a_listing_tells_it(tmp_path: Path) -> None:
    made = dump("j")
    await verified(tmp_path, made | {"j/1": flipped(made["j/1"], 40)})
    [backup] = await find_backups(LocalFolder(tmp_path))
    assert backup.status == "damaged"
    assert "its digest is not the one" in str(backup.as_dict()["problem"])


async def test_an_object_of_any_size_is_read_in_bounded_memory(tmp_path: Path) -> None:
    made = dump("j", segments=1)
    plain = b'{"id":{"S":"a"},"t":{"S":"' + b"x" * 300_000 + b'"}}\n'
    stored = gzip.compress(plain * 200, mtime=0)  # 60 MB of almost nothing
    write(tmp_path, made | {"j/0": stored})
    backups = await find_backups(LocalFolder(tmp_path))
    tracemalloc.start()
    try:
        [found] = await verify(LocalFolder(tmp_path), backups, observer=Heard(), clock=VirtualClock())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.items == 200
    assert peak < 12_000_000
